import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite("the ports on which components connect (XEP-0114)")
struct ComponentListenerTests {
    private static func settings() throws -> ComponentSettings {
        ComponentSettings(try BareJID(parsing: "irc.verona.example"), domain: try BareJID(parsing: "verona.example"), secret: Array("secret".utf8))
    }

    private static func with(
        _ kind: ListenerConfiguration.Kind = .component, settings: NetworkSettings = .test, limits: ComponentService.Limits = .init(),
        holdsTime: Bool = false, _ body: (TestServer, Int) async throws -> Void
    ) async throws {
        let server = try await TestServer([], settings: settings, components: [try Self.settings()], holdsTime: holdsTime)
        let service = ComponentService(
            server.components, router: server.router, certificates: server.certificates, settings: settings, limits: limits,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let listener = ComponentListenerService([ListenerConfiguration(kind: kind, addresses: ["127.0.0.1"], port: 0)], service, on: server.pool)
        let result: Result<Void, any Error>
        do {
            try await listener.start()
            result = .success(try await body(server, try #require(listener.ports.first)))
        } catch {
            result = .failure(error)
        }
        await listener.stopAccepting()
        try await server.stop()
        try result.get()
    }

    private static func header(_ name: String = "irc.verona.example") -> String {
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='\(name)'>"
    }

    /// Opens the stream and proves it.
    private static func logIn(_ client: TestClient, secret: String = "secret", hear: String = "<handshake/>") async throws {
        let answer = try await client.say(header(), hear: ">")
        let rest = answer.contains("<stream:stream") ? answer : try await client.hear(">")
        let id = try #require(rest.components(after: "id='")?.prefix { $0 != "'" })
        let proof = ComponentHandshake.proof(streamID: String(id), secret: Array(secret.utf8))
        _ = try await client.say("<handshake>\(proof)</handshake>", hear: hear)
    }

    @Test("a component connects, proves who it is, is asked and answers")
    func connects() async throws {
        try await Self.with { server, port in
            let client = try await TestClient.connect(to: port)
            try await Self.logIn(client)
            let report = try #require(server.components.reports.first)
            #expect(report.address?.hasPrefix("127.0.0.1:") == true && report.since != nil)
            _ = try await client.say("<message from='irc.verona.example' to='nobody@verona.example' id='m'><body>b</body></message>", hear: "service-unavailable")
            _ = try await client.say("</stream:stream>", hear: "</stream:stream>")
        }
    }

    @Test("the same with TLS from the first byte")
    func tls() async throws {
        try await Self.with(.componentTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            try await Self.logIn(client)
        }
    }

    @Test("a wrong secret ends the stream with not-authorized, an unknown name with host-unknown")
    func refused() async throws {
        try await Self.with { server, port in
            let client = try await TestClient.connect(to: port)
            try await Self.logIn(client, secret: "wrong", hear: "<not-authorized")
            let other = try await TestClient.connect(to: port)
            _ = try await other.say(Self.header("sms.verona.example"), hear: "<host-unknown")
            #expect(server.components.reports.first?.address == nil)
        }
    }

    @Test("who proves nothing in time is closed, and one that is idle gets white space")
    func deadlines() async throws {
        var settings = NetworkSettings.test
        settings.loginDeadline = .seconds(30)
        settings.pingAfter = .seconds(60)
        try await Self.with(settings: settings, holdsTime: true) { server, port in
            let idle = try await TestClient.connect(to: port)
            try await Self.logIn(idle)
            let silent = try await TestClient.connect(to: port)
            _ = try await silent.say(Self.header(), hear: "id=")
            try await server.pass(seconds: 30)
            _ = try await silent.hear("<connection-timeout")
            try await server.pass(seconds: 60)
            #expect(try await idle.hear(" ") == " ")
        }
    }

    @Test("so many connections may be there that have proved nothing, and no more")
    func unauthenticated() async throws {
        var limits = ComponentService.Limits()
        limits.unauthenticatedMax = 1
        try await Self.with(limits: limits) { _, port in
            let first = try await TestClient.connect(to: port)
            _ = try await first.say(Self.header(), hear: "id=")
            let second = try await TestClient.connect(to: port)
            #expect(try await second.hearEnd() == "")
        }
    }

    @Test("of two connections the newer one counts")
    func conflict() async throws {
        try await Self.with { server, port in
            let first = try await TestClient.connect(to: port)
            try await Self.logIn(first)
            let second = try await TestClient.connect(to: port)
            try await Self.logIn(second)
            _ = try await first.hear("<conflict")
            _ = try await second.say("<message from='irc.verona.example' to='nobody@verona.example' id='m'><body>b</body></message>", hear: "service-unavailable")
            #expect(server.components.reports.first?.address != nil)
        }
    }

    @Test("the server says that it stops")
    func stops() async throws {
        try await Self.with { server, port in
            let client = try await TestClient.connect(to: port)
            try await Self.logIn(client)
            async let stopped: Void = server.service.stop()
            _ = try await client.hear("<system-shutdown")
            // It may have been closed by then.
            try? await client.send("</stream:stream>")
            await stopped
        }
    }
}

extension String {
    fileprivate func components(after mark: String) -> Substring? {
        var rest = self[...]
        while !rest.isEmpty {
            if rest.hasPrefix(mark) { return rest.dropFirst(mark.count) }
            rest = rest.dropFirst()
        }
        return nil
    }
}
