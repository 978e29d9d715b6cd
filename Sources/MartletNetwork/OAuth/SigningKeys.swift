import JWTKit
package import MartletXMPP

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Algorithms by which tokens may be signed (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2): with a key of the issuer's that nobody else has. With a secret that
/// both have (HS256), whoever can check a token could make one; and none is not signed.
enum SigningAlgorithm: String, CaseIterable, Sendable {
    case rs256 = "RS256", rs384 = "RS384", rs512 = "RS512"
    case ps256 = "PS256", ps384 = "PS384", ps512 = "PS512"
    case es256 = "ES256", es384 = "ES384"
    /// Ed25519, by its older name and by its newer.
    case edDSA = "EdDSA", ed25519 = "Ed25519"

    /// What the library calls it.
    fileprivate var name: String { self == .ed25519 ? "EdDSA" : rawValue }
}

/// The keys with which an issuer signs (RFC 7517 §5).
package struct SigningKeys: Sendable {
    /// Most bytes of a set.
    package static let bytesMax = 131_072
    /// Most keys of it that are looked at.
    package static let keysMax = 32
    /// Longest name of a key, in bytes.
    static let nameBytesMax = 512

    private struct Name: Hashable {
        let key: String?
        let algorithm: SigningAlgorithm
    }

    /// A key is for one algorithm each time: what a token says chooses among them, and changes none.
    private let keys: [Name: any JWTAlgorithm]

    /// Keys that are for something else, or of a kind that is not known here, are passed over. `nil` if the bytes are no set.
    package init?(_ bytes: [UInt8]) async {
        guard bytes.count <= Self.bytesMax, let set = try? JSONDecoder().decode(Written.self, from: Data(bytes)) else { return nil }
        var keys: [Name: any JWTAlgorithm] = [:]
        for case .signing(let key) in set.keys.prefix(Self.keysMax) {
            for algorithm in SigningAlgorithm.allCases where key.algorithm == nil || key.algorithm == algorithm.rawValue {
                guard let usable = await Self.usable(key, algorithm) else { continue }
                keys[Name(key: key.name, algorithm: algorithm)] = usable
            }
        }
        self.keys = keys
    }

    /// `nil` if it is no good for that: of another kind, too short, or no point of its curve.
    private static func usable(_ key: Written.Signing, _ algorithm: SigningAlgorithm) async -> (any JWTAlgorithm)? {
        let name: JWKIdentifier = "key"
        let collection = JWTKeyCollection()
        guard let key = key.key(for: algorithm, name), (try? await collection.add(jwk: key)) != nil,
            let usable = try? await collection.getKey(for: name, alg: algorithm.name)
        else { return nil }
        return usable.name == algorithm.name ? usable : nil
    }

    package var isEmpty: Bool { keys.isEmpty }

    /// What a token says, if one of the keys has signed it (RFC 7515 §5.2). Of a token that names no key it may be any of them, or one that is not known.
    package func claims(of token: SignedToken) throws(TokenFault) -> TokenClaims {
        if let name = token.keyName {
            guard let key = keys[Name(key: name, algorithm: token.algorithm)] else { throw .unknownKey }
            guard token.isSigned(by: key) else { throw .signature }
        } else {
            guard keys.contains(where: { $0.key.algorithm == token.algorithm && token.isSigned(by: $0.value) }) else { throw .unknownKey }
        }
        guard let claims = TokenClaims(token.payload) else { throw .malformed }
        return claims
    }

    /// As it is in JSON. One key that is not understood does not spoil the others.
    private struct Written: Decodable {
        enum Key: Decodable {
            case signing(Signing)
            case other

            init(from decoder: any Decoder) throws {
                guard let key = try? Signing(from: decoder), key.isToVerify else {
                    self = .other
                    return
                }
                self = .signing(key)
            }
        }

        struct Signing: Decodable {
            enum CodingKeys: String, CodingKey {
                case kind = "kty"
                case algorithm = "alg"
                case name = "kid"
                case use, x, y
                case operations = "key_ops"
                case curve = "crv"
                case modulus = "n"
                case exponent = "e"
                case secret = "d"
            }
            var kind: String
            var algorithm: String?
            var name: String?
            var use: String?
            var operations: [String]?
            var curve: String?
            var x: String?
            var y: String?
            var modulus: String?
            var exponent: String?
            /// Who publishes this has no secret any more.
            var secret: String?

            var isToVerify: Bool {
                use ?? "sig" == "sig" && operations?.contains("verify") ?? true && secret == nil && name?.utf8.count ?? 0 <= nameBytesMax
            }

            /// The kind of key decides what it may sign, and not what a token says of itself (RFC 8725 §3.1).
            func key(for algorithm: SigningAlgorithm, _ name: JWKIdentifier) -> JWK? {
                switch (algorithm, kind, curve) {
                case (.rs256, "RSA", _), (.rs384, "RSA", _), (.rs512, "RSA", _), (.ps256, "RSA", _), (.ps384, "RSA", _), (.ps512, "RSA", _):
                    .rsa(JWK.Algorithm(rawValue: algorithm.name), identifier: name, modulus: modulus, exponent: exponent)
                case (.es256, "EC", "P-256"): .ecdsa(.es256, identifier: name, x: x, y: y, curve: .p256)
                case (.es384, "EC", "P-384"): .ecdsa(.es384, identifier: name, x: x, y: y, curve: .p384)
                case (.edDSA, "OKP", "Ed25519"), (.ed25519, "OKP", "Ed25519"): .octetKeyPair(.eddsa, identifier: name, x: x, y: nil, curve: .ed25519)
                default: nil
                }
            }
        }

        var keys: [Key]
    }
}

/// A token that says something and is signed (RFC 7515 §3.1), before anybody has looked whether the signature is right.
package struct SignedToken: Sendable {
    let algorithm: SigningAlgorithm
    /// `kid`, if it says which key it was.
    let keyName: String?
    /// What the signature is over.
    let signed: [UInt8]
    let payload: [UInt8]
    let signature: [UInt8]

    private struct Header: Decodable {
        var alg: String
        var kid: String?
        var typ: String?
        var crit: [String]?
        /// Another form of the payload (RFC 7797).
        var b64: Bool?
    }

    package init(_ token: BearerToken) throws(TokenFault) {
        let parts = token.text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Self.decoded(parts[0]), let payload = Self.decoded(parts[1]), let signature = Self.decoded(parts[2]),
            let header = try? JSONDecoder().decode(Header.self, from: Data(bytes))
        else { throw .malformed }
        guard header.crit == nil, header.b64 ?? true else { throw .critical }
        guard Self.isForAccess(header.typ) else { throw .otherKind }
        guard let algorithm = SigningAlgorithm(rawValue: header.alg), !signature.isEmpty else { throw .algorithm }
        self.algorithm = algorithm
        keyName = header.kid
        signed = Array("\(parts[0]).\(parts[1])".utf8)
        self.payload = payload
        self.signature = signature
    }

    /// Whether it is a token for access, or does not say: others are signed by the same keys, for other ends (RFC 8725 §3.11, RFC 9068 §2.1).
    private static func isForAccess(_ type: String?) -> Bool {
        guard var type = type?.lowercased() else { return true }
        if type.hasPrefix("application/") { type.removeFirst("application/".count) }
        return ["jwt", "at+jwt"].contains(type)
    }

    fileprivate func isSigned(by key: any JWTAlgorithm) -> Bool { (try? key.verify(signature, signs: signed)) == true }

    /// Without padding, and of no other alphabet (RFC 7515 §2).
    private static func decoded(_ part: Substring) -> [UInt8]? {
        guard part.utf8.allSatisfy({ $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "/") }) else { return nil }
        return Base64URL.decoded(String(part))
    }
}
