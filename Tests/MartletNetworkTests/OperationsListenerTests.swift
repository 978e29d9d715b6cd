import MartletNetwork
import NIOCore
import NIOPosix
import Testing

@Suite struct OperationsListenerTests {
    static func with(isReady: Bool = true, _ body: (Int) async throws -> Void) async throws {
        let answers = OperationsListener.Answers(
            metrics: { "martlet_sessions 3\n# EOF\n" }, health: { OperationsStatus(isGood: true, text: "serving") },
            readiness: { OperationsStatus(isGood: isReady, text: isReady ? "ready" : "loading") })
        let listener = OperationsListener(answers, on: MultiThreadedEventLoopGroup.singleton)
        try await listener.start(address: "127.0.0.1", port: 0)
        let result: Result<Void, any Error>
        do { result = .success(try await body(try #require(listener.port))) } catch { result = .failure(error) }
        await listener.stop()
        try result.get()
    }

    static func ask(_ request: String, _ port: Int) async throws -> String {
        let client = try await TestClient.connect(to: port)
        try await client.send(request)
        return try await client.hearEnd()
    }

    @Test("metrics, health and readiness are answered, one request per connection")
    func answers() async throws {
        try await Self.with { port in
            let metrics = try await Self.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", port)
            #expect(metrics.hasPrefix("HTTP/1.1 200 OK\r\n") && metrics.hasSuffix("\r\n\r\nmartlet_sessions 3\n# EOF\n"))
            #expect(metrics.contains("application/openmetrics-text"))
            #expect(try await Self.ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", port).hasSuffix("serving\n"))
            #expect(try await Self.ask("HEAD /ready HTTP/1.1\r\nHost: x\r\n\r\n", port).hasSuffix("\r\n\r\n"))
            #expect(try await Self.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n", port).hasPrefix("HTTP/1.1 404"))
            #expect(try await Self.ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", port).hasPrefix("HTTP/1.1 405"))
        }
        try await Self.with(isReady: false) { port in
            let answer = try await Self.ask("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", port)
            #expect(answer.hasPrefix("HTTP/1.1 503"))
        }
    }

    @Test("what is no request is turned away, and a long one is cut off")
    func bad() async throws {
        try await Self.with { port in
            let nonsense = try await Self.ask("no HTTP at all\r\n\r\n", port)
            #expect(!nonsense.contains("200"))
            let long = "GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: OperationsListener.requestBytesMax) + "\r\n\r\n"
            let cut = try await Self.ask(long, port)
            #expect(!cut.contains("200"))
        }
    }
}
