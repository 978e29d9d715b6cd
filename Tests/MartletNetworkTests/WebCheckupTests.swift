import MartletCore
import MartletNetwork
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@Suite("What a check-up sees by HTTP")
struct WebCheckupTests {
    /// Always the same key, so that what is to be accepted is known: the example of RFC 6455 §1.3 has the accepting value of another.
    private struct Key: RandomSource { func bytes(_ count: Int) -> [UInt8] { Array("the sample nonce".utf8.prefix(count)) } }

    private static let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: xmpp\r\n"
        + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    private static let terminated = "<body type='terminate' condition='item-not-found' xmlns='http://jabber.org/protocol/httpbind'/>"

    private static func refused(_ more: String = "") -> String { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\(more)\r\n" }

    /// What a server of ours answers; `change` says what is otherwise.
    private func checkUp(
        uploads: Bool = true, host: String = "verona.example", _ change: @escaping @Sendable (_ path: Substring, _ port: UInt16) -> String? = { _, _ in nil }
    ) async throws -> (isWell: Bool, steps: [DiagnosisStep], requests: [String]) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let ports = NIOLockedValueBox<UInt16>(0)
        let server = try await ScriptedHTTPServer(on: group, domain: "verona.example") { request in
            let (path, port) = (request.split(separator: " ")[1], ports.withLockedValue { $0 })
            if let other = change(path, port) { return (other, true) }
            switch path {
            case "/.well-known/host-meta.json":
                let links = #"{"links":[{"rel":"urn:xmpp:alt-connections:websocket","href":"wss://verona.example:\#(port)/xmpp-websocket"},"#
                    + #"{"rel":"urn:xmpp:alt-connections:xbosh","href":"https://verona.example:\#(port)/http-bind"},{"rel":"other","href":"https://verona.example/"}]}"#
                return HTTPFetchTests.ok(links)
            case "/xmpp-websocket": return (Self.accepted, true)
            case "/http-bind": return HTTPFetchTests.ok(Self.terminated)
            default: return (Self.refused("Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; sandbox\r\n"), true)
            }
        }
        ports.withLockedValue { $0 = server.port }
        let place = "https://\(host):\(server.port)"
        let steps = NIOLockedValueBox<[DiagnosisStep]>([])
        let subject = WebCheckup.Subject(domain: host, places: [place], uploads: uploads ? place : nil)
        let isWell = await WebCheckup(try HTTPFetchTests.fetch(on: group), subject, random: Key()) { step in steps.withLockedValue { $0.append(step) } }.run()
        let requests = server.requests
        try await server.stop()
        try await group.shutdownGracefully()
        return (isWell, steps.withLockedValue { $0 }, requests)
    }

    @Test("what host-meta names answers, and files are taken; that nothing is at port 443 is no fault")
    func well() async throws {
        let (isWell, steps, requests) = try await checkUp()
        #expect(isWell && !steps.contains { $0.verdict == .bad }, "\(steps)")
        #expect(steps.first?.topic == .web && steps.first?.verdict == .neutral)
        #expect(steps.contains { $0.topic == .certificate && $0.verdict == .good })
        for words in ["names 2 places", "opens a WebSocket", "speaks BOSH", "takes files"] { #expect(steps.contains { $0.verdict == .good && $0.text.hasSuffix(words) }) }
        #expect(requests.count == 4 && requests[1].contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==") && requests[1].contains("Connection: Upgrade"))
        let without = try await checkUp(uploads: false)
        #expect(without.isWell && without.requests.count == 3)
    }

    @Test("what answers otherwise than it should is wrong, and the next line says what to do", arguments: [
        ("/.well-known/host-meta.json", WebCheckupTests.refused(), "status 404"), ("/.well-known/host-meta.json", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no host-meta.json"),
        ("/xmpp-websocket", WebCheckupTests.refused(), "status 404"), ("/xmpp-websocket", WebCheckupTests.accepted.replacing("s3pP", with: "s3pQ"), "no WebSocket for XMPP"),
        ("/xmpp-websocket", WebCheckupTests.accepted.replacing(": xmpp", with: ": chat"), "no WebSocket for XMPP"), ("/http-bind", WebCheckupTests.refused(), "status 404"),
        ("/http-bind", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<body/>", "not BOSH"), ("/upload/", WebCheckupTests.refused(), "as this server does not"),
        ("/upload/", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "something else"),
    ])
    func wrong(path: String, answer: String, words: String) async throws {
        let (isWell, steps, _) = try await checkUp { asked, _ in asked.hasPrefix(path) ? answer : nil }
        #expect(!isWell)
        let index = try #require(steps.firstIndex { $0.verdict == .bad }, "\(steps)")
        #expect(steps[index].text.contains(words), "\(steps[index].text)")
        #expect(steps.count > index + 1 && steps[index + 1].topic == .advice && steps[index + 1].verdict == .bad)
    }

    @Test("a certificate for another name is told of, with what to do")
    func certificate() async throws {
        let (isWell, steps, _) = try await checkUp(host: "mantua.example")
        #expect(!isWell && steps.contains { $0.verdict == .bad && $0.text.contains("its certificate is for another name") })
        #expect(steps.contains { $0.topic == .advice && $0.text.contains("give the domain a certificate") })
    }
}
