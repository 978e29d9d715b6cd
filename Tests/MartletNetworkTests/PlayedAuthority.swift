import Crypto
import Foundation
import MartletNetwork
import NIOConcurrencyHelpers
import NIOCore

/// An authority that speaks ACME as a test says (RFC 8555): for each request that is understood it has an answer, which a test may replace. It checks
/// signatures, nonces and URLs, and issues nothing but a text.
final class PlayedAuthority: Sendable {
    struct Answer: Sendable {
        var status = 200
        var headers: [(String, String)] = []
        var body = ""

        var text: String {
            let fields = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
            return "HTTP/1.1 \(status) Words\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
        }
    }

    struct Request: Sendable {
        var path: String
        /// JSON.
        var header: [String: String] = [:]
        var payload = ""
        /// Whether the signature is one, by the key that the account was made with.
        var isSigned = false
    }

    private struct State {
        var nonces = 0
        var isProved = false
        var isFinal = false
        var key: P256.Signing.PublicKey?
        var requests: [Request] = []
    }

    /// Of a request that is understood; `nil`: the ordinary answer.
    typealias Change = @Sendable (_ request: Request, _ place: String, _ count: Int) -> Answer?

    static let token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
    static let chain = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"

    private let state = NIOLockedValueBox(State())
    private let change: Change
    /// Looks whether a name is ours.
    private let looks: @Sendable (String) -> Bool
    private let server = NIOLockedValueBox<ScriptedHTTPServer?>(nil)

    init(on group: any EventLoopGroup, looks: @escaping @Sendable (String) -> Bool = { _ in true }, _ change: @escaping Change = { _, _, _ in nil }) async throws {
        (self.change, self.looks) = (change, looks)
        let started = try await ScriptedHTTPServer(on: group, domain: "verona.example") { [unowned self] text in (answer(to: text).text, true) }
        server.withLockedValue { $0 = started }
    }

    func stop() async throws { try await server.withLockedValue { $0 }?.stop() }

    var base: String { "https://verona.example:\(server.withLockedValue { $0?.port ?? 0 })" }
    var requests: [Request] { state.withLockedValue { $0.requests } }
    func requests(at path: String) -> [Request] { requests.filter { $0.path == path } }

    private func answer(to text: String) -> Answer {
        let request = understood(text)
        let count = state.withLockedValue { state in
            state.requests.append(request)
            return state.requests.count { $0.path == request.path }
        }
        var answer = change(request, base, count) ?? ordinary(request)
        if !answer.headers.contains(where: { $0.0 == "Replay-Nonce" }) { answer.headers.append(("Replay-Nonce", nextNonce())) }
        return answer
    }

    private func nextNonce() -> String {
        state.withLockedValue { state in
            state.nonces += 1
            return "nonce\(state.nonces)"
        }
    }

    private func ordinary(_ request: Request) -> Answer {
        let base = base
        let order = { (status: String, more: String) in
            "{\"status\":\"\(status)\",\"authorizations\":[\"\(base)/authorization\"],\"finalize\":\"\(base)/finalize\"\(more)}"
        }
        let (isProved, isFinal) = state.withLockedValue { ($0.isProved, $0.isFinal) }
        switch request.path {
        case "/directory":
            return Answer(body: "{\"newNonce\":\"\(base)/nonce\",\"newAccount\":\"\(base)/accounts\",\"newOrder\":\"\(base)/orders\"}")
        case "/nonce": return Answer(status: 204)
        case "/accounts": return Answer(status: 201, headers: [("Location", "\(base)/account/1")], body: "{\"status\":\"valid\"}")
        case "/orders": return Answer(status: 201, headers: [("Location", "\(base)/order")], body: order("pending", ""))
        case "/authorization":
            let challenge = "{\"type\":\"http-01\",\"url\":\"\(base)/challenge\",\"token\":\"\(Self.token)\"}"
            let other = "{\"type\":\"dns-01\",\"url\":\"\(base)/other\",\"token\":\"x\"}"
            return Answer(
                body: """
                    {"status":"\(isProved ? "valid" : "pending")","identifier":{"type":"dns","value":"verona.example"},"challenges":[\(other),\(challenge)]}
                    """)
        case "/challenge":
            let isOurs = looks(Self.token)
            state.withLockedValue { $0.isProved = isOurs }
            return Answer(body: "{}")
        case "/order": return Answer(body: isFinal ? order("valid", ",\"certificate\":\"\(base)/certificate\"") : order(isProved ? "ready" : "pending", ""))
        case "/finalize":
            state.withLockedValue { $0.isFinal = true }
            return Answer(body: order("processing", ""))
        case "/certificate": return Answer(body: Self.chain)
        default: return Answer(status: 404, body: "{\"detail\":\"there is nothing here\"}")
        }
    }

    /// Reads a JWS (RFC 7515 §7.2.2).
    private func understood(_ text: String) -> Request {
        var request = Request(path: String(text.split(separator: " ")[1]))
        guard text.hasPrefix("POST "), let body = text.components(separatedBy: "\r\n\r\n").dropFirst().first,
            let message = try? JSONDecoder().decode([String: String].self, from: Data(body.utf8)), let header = message["protected"].flatMap(Self.bytes),
            let payload = message["payload"].flatMap(Self.bytes), let signature = message["signature"].flatMap(Self.bytes)
        else { return request }
        request.payload = String(decoding: payload, as: UTF8.self)
        let members = (try? JSONSerialization.jsonObject(with: header) as? [String: Any]) ?? [:]
        request.header = members.compactMapValues { $0 as? String }
        if let jwk = members["jwk"] as? [String: String], let x = jwk["x"].flatMap(Self.bytes), let y = jwk["y"].flatMap(Self.bytes) {
            state.withLockedValue { $0.key = try? P256.Signing.PublicKey(rawRepresentation: x + y) }
            request.header["jwk"] = "\(jwk.keys.sorted())"
        }
        let signed = Data("\(message["protected"] ?? "").\(message["payload"] ?? "")".utf8)
        let key = state.withLockedValue { $0.key }
        request.isSigned = (try? P256.Signing.ECDSASignature(rawRepresentation: signature)).map { key?.isValidSignature($0, for: signed) == true } ?? false
        return request
    }

    static func bytes(_ text: String) -> Data? {
        guard !text.contains("=") else { return nil }
        let digits = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: digits + String(repeating: "=", count: (4 - digits.count % 4) % 4))
    }
}
