import Crypto
import MartletXMPP

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The key of an account at an authority (RFC 8555 §6.2): ECDSA with P-256, which all of them take (ES256, RFC 7518 §3.4).
package struct ACMEKey: Sendable {
    private let key: P256.Signing.PrivateKey

    /// A new one.
    package init() { key = P256.Signing.PrivateKey() }

    /// One that is there; `nil` if this is none.
    package init?(pem: String) {
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: pem) else { return nil }
        self.key = key
    }

    package var pem: String { key.pemRepresentation + "\n" }

    /// As a JSON Web Key, its members in the order in which a thumbprint wants them (RFC 7638 §3.2).
    package var jwk: String {
        let point = Array(key.publicKey.rawRepresentation)
        return """
            {"crv":"P-256","kty":"EC","x":"\(Base64URL.encoded(point.prefix(32)))","y":"\(Base64URL.encoded(point.suffix(32)))"}
            """
    }

    /// What is to be found at a challenge's place (RFC 8555 §8.1).
    package func authorization(of token: String) -> String { "\(token).\(Base64URL.encoded(SHA256.hash(data: Array(jwk.utf8))))" }

    /// Who signs: an account by its URL, or whoever has this key.
    enum Signer {
        case account(String)
        case bearer
    }

    /// A request (RFC 7515 §7.2.2, RFC 8555 §6.2).
    ///
    /// - Parameter payload: JSON; empty for a POST-as-GET.
    func signed(_ payload: String, to url: HTTPURL, nonce: String, by signer: Signer) throws -> [UInt8] {
        let who =
            switch signer {
            case .account(let url): "\"kid\":\(JSONText.quoted(url))"
            case .bearer: "\"jwk\":\(jwk)"
            }
        let header = "{\"alg\":\"ES256\",\"nonce\":\(JSONText.quoted(nonce)),\"url\":\(JSONText.quoted(url.description)),\(who)}"
        return Array(try Self.message(header, payload) { Array(try key.signature(for: $0).rawRepresentation) }.utf8)
    }

    /// That somebody who is known to the authority has this key (RFC 8555 §7.3.4).
    func bound(to binding: ACMEBinding, at url: HTTPURL) -> String {
        let header = "{\"alg\":\"HS256\",\"kid\":\(JSONText.quoted(binding.identifier)),\"url\":\(JSONText.quoted(url.description))}"
        return Self.message(header, jwk) { Array(HMAC<SHA256>.authenticationCode(for: $0, using: SymmetricKey(data: binding.key))) }
    }

    private static func message(_ header: String, _ payload: String, _ sign: ([UInt8]) throws -> [UInt8]) rethrows -> String {
        let (header, payload) = (Base64URL.encoded(Array(header.utf8)), Base64URL.encoded(Array(payload.utf8)))
        let signature = Base64URL.encoded(try sign(Array("\(header).\(payload)".utf8)))
        return "{\"protected\":\"\(header)\",\"payload\":\"\(payload)\",\"signature\":\"\(signature)\"}"
    }
}

/// What an authority has given to somebody who is a customer of it already.
package struct ACMEBinding: Hashable, Sendable {
    package var identifier: String
    package var key: [UInt8]

    package init(identifier: String, key: [UInt8]) { (self.identifier, self.key) = (identifier, key) }

    /// - Parameter text: the key in Base64, of either alphabet. `nil` if it is none.
    package init?(identifier: String, text: String) {
        guard let key = Base64URL.decoded(text), !key.isEmpty else { return nil }
        self.init(identifier: identifier, key: key)
    }
}

/// Base64 for URLs, without padding (RFC 4648 §5, RFC 7515 §2).
enum Base64URL {
    static func encoded(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// Also what is in the other alphabet, or padded.
    static func decoded(_ text: String) -> [UInt8]? {
        let digits = text.replacing("-", with: "+").replacing("_", with: "/").replacing("=", with: "")
        return Data(base64Encoded: digits + String(repeating: "=", count: (4 - digits.utf8.count % 4) % 4)).map(Array.init)
    }
}

/// Strings of JSON (RFC 8259 §7).
enum JSONText {
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": quoted += "\\\(scalar)"
            case "\u{0}"..."\u{1F}": quoted += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }

    static func list(_ texts: [String]) -> String { "[\(texts.map(quoted).joined(separator: ","))]" }
}
