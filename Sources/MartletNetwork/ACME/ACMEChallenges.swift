import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1

/// What an authority is to find under `/.well-known/acme-challenge/` while it looks whether a name is ours (RFC 8555 §8.3).
package final class ACMEChallenges: Sendable {
    static let prefix = "/.well-known/acme-challenge/"
    /// Challenges that are open at a time: one for each name of an order.
    static let openMax = 128
    /// Longest token, in bytes.
    static let tokenBytesMax = 256

    // Once for each name of an order, and once for each request there.
    private let authorizations = NIOLockedValueBox<[String: String]>([:])

    package init() {}

    /// - Returns: whether the token is one, and there is room for it.
    func open(_ token: String, _ authorization: String) -> Bool {
        guard Self.isToken(token) else { return false }
        return authorizations.withLockedValue { all in
            guard all.count < Self.openMax || all[token] != nil else { return false }
            all[token] = authorization
            return true
        }
    }

    func close(_ token: String) { authorizations.withLockedValue { $0[token] = nil } }
    func authorization(of token: some StringProtocol) -> String? { authorizations.withLockedValue { $0[String(token)] } }
    package var openCount: Int { authorizations.withLockedValue { $0.count } }

    /// Base64 for URLs, of which there may be something.
    private static func isToken(_ token: String) -> Bool {
        (1...tokenBytesMax).contains(token.utf8.count)
            && token.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

/// Answers at the place of a challenge, and says nothing about whether there are others.
struct ACMEChallengeResource: WebResource {
    let challenges: ACMEChallenges
    let methods = [HTTPMethod.GET]
    let bodyBytesMax = 0
    let isForScripts = false

    func answer(_ request: WebRequest, on connection: WebConnection) {
        guard let authorization = challenges.authorization(of: request.path.dropFirst(ACMEChallenges.prefix.count)) else {
            return connection.answer(WebAnswer(.notFound, "there is nothing here"))
        }
        connection.answer(WebAnswer(.ok, type: "application/octet-stream", ByteBuffer(string: authorization), ["Cache-Control": "no-store"]))
    }
}
