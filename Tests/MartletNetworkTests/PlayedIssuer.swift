import Crypto
import CryptoExtras
import Foundation
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import Testing

/// An authorization server of which a test says every word: it has keys, signs what it is told to, and answers what is asked of it.
final class PlayedIssuer: Sendable {
    static let name = "https://id.verona.example"
    static let discovery = "\(name)/.well-known/openid-configuration"
    /// 2027, as the tests' servers have it.
    static let now = 1_800_000_000

    /// What it signs with, by the names of its keys.
    struct Key: Sendable {
        let algorithm: String
        /// Its public half (RFC 7517), without a name.
        let members: String
        let sign: @Sendable ([UInt8]) throws -> [UInt8]

        static func p256() -> Key {
            let key = P256.Signing.PrivateKey()
            let point = Array(key.publicKey.rawRepresentation)
            let members = #""kty":"EC","crv":"P-256","x":"\#(PlayedIssuer.url(point.prefix(32)))","y":"\#(PlayedIssuer.url(point.suffix(32)))""#
            return Key(algorithm: "ES256", members: members) { Array(try key.signature(for: $0).rawRepresentation) }
        }

        static func p384() -> Key {
            let key = P384.Signing.PrivateKey()
            let point = Array(key.publicKey.rawRepresentation)
            let members = #""kty":"EC","crv":"P-384","x":"\#(PlayedIssuer.url(point.prefix(48)))","y":"\#(PlayedIssuer.url(point.suffix(48)))""#
            return Key(algorithm: "ES384", members: members) { Array(try key.signature(for: $0).rawRepresentation) }
        }

        static func ed25519(_ algorithm: String = "EdDSA") -> Key {
            let key = Curve25519.Signing.PrivateKey()
            let members = #""kty":"OKP","crv":"Ed25519","x":"\#(PlayedIssuer.url(Array(key.publicKey.rawRepresentation)))""#
            return Key(algorithm: algorithm, members: members) { Array(try key.signature(for: $0)) }
        }

        static func rsa(_ algorithm: String = "RS256") throws -> Key {
            let key = try _RSA.Signing.PrivateKey(keySize: .bits2048)
            let numbers = try key.publicKey.getKeyPrimitives()
            let members = #""kty":"RSA","n":"\#(PlayedIssuer.url(Array(numbers.modulus)))","e":"\#(PlayedIssuer.url(Array(numbers.publicExponent)))""#
            let padding: _RSA.Signing.Padding = algorithm.hasPrefix("PS") ? .PSS : .insecurePKCS1v1_5
            return Key(algorithm: algorithm, members: members) { Array(try key.signature(for: SHA256.hash(data: $0), padding: padding).rawRepresentation) }
        }
    }

    struct State: Sendable {
        var keys: [String: Key]
        /// What it says when it is asked about a token (RFC 7662).
        var says = #"{"active":false}"#
        var isReachable = true
        var requests: [HTTPRequest] = []
    }

    let state: NIOLockedValueBox<State>

    init(_ keys: [String: Key] = ["first": .p256()]) { state = NIOLockedValueBox(State(keys: keys)) }

    var fetch: TokenIssuerFetch {
        let answer: TokenIssuerFetch.Fetch = { [self] request throws(HTTPFetchError) in
            let content: String? = state.withLockedValue { state in
                state.requests.append(request)
                guard state.isReachable else { return nil }
                switch request.url.target {
                case "/keys": return "{\"keys\":[\(state.keys.map { "{\"kid\":\"\($0)\",\($1.members)}" }.joined(separator: ","))]}"
                case "/introspect": return state.says
                default: return "{\"issuer\":\"\(Self.name)\",\"jwks_uri\":\"\(Self.name)/keys\"}"
                }
            }
            guard let content else { throw .timedOut(request.deadline) }
            return HTTPAnswer(url: request.url, type: "application/json", bytes: Array(content.utf8))
        }
        return TokenIssuerFetch(named: answer, found: answer)
    }

    /// How often its keys have been fetched.
    var keyFetches: Int { state.withLockedValue { $0.requests.count { $0.url.target == "/keys" } } }
    var questions: [HTTPRequest] { state.withLockedValue { $0.requests.filter { $0.url.target == "/introspect" } } }

    // MARK: Tokens

    /// What an ordinary token says, with something else in places.
    static func claims(_ changes: [String: String?] = [:]) -> String {
        var claims: [String: String?] = [
            "iss": "\"\(name)\"", "aud": "\"xmpp\"", "sub": "\"5f2c\"", "preferred_username": "\"juliet\"", "exp": "\(now + 300)", "iat": "\(now)",
            "scope": "\"openid chat\"",
        ]
        claims.merge(changes) { $1 }
        return "{\(claims.compactMap { key, value in value.map { "\"\(key)\":\($0)" } }.joined(separator: ","))}"
    }

    /// A token that is signed by one of the keys.
    func token(_ claims: String = PlayedIssuer.claims(), by name: String = "first", header: String? = nil) throws -> BearerToken {
        let key = try #require(state.withLockedValue { $0.keys[name] })
        let header = header ?? "{\"alg\":\"\(key.algorithm)\",\"kid\":\"\(name)\"}"
        let signed = "\(Self.url(Array(header.utf8))).\(Self.url(Array(claims.utf8)))"
        return try #require(BearerToken("\(signed).\(Self.url(try key.sign(Array(signed.utf8))))"))
    }

    static func url(_ bytes: some Sequence<UInt8>) -> String {
        Base64.encode(Array(bytes)).replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func settings(_ proof: TokenIssuerSettings.Proof = .signature(keys: nil)) throws -> TokenIssuerSettings {
        TokenIssuerSettings(
            domains: ["verona.example"], issuer: name, audience: "xmpp", discovery: try #require(HTTPURL(discovery)), proof: proof,
            accountClaim: "preferred_username")
    }

    static func introspection(rememberedFor seconds: Int = 30) throws -> TokenIssuerSettings.Proof {
        .introspection(
            .init(url: try #require(HTTPURL("\(name)/introspect")), clientID: "martlet", secret: ClientSecret("s:cret"), rememberedFor: seconds))
    }
}
