import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("Log-ins by tokens, on connections (XEP-0484)")
struct TokenLoginTests {
    private static let agentID = "d4565fa7-4d72-4749-b3d3-740edbf87770"
    private static let headerEnd = "</stream:features>"
    private static let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>balcony</tag></bind>"
    private static let day: Int64 = 24

    private struct World {
        let server: TestServer
        let port: Int
        let time: TestClock
        let juliet: BareJID

        /// Inside TLS; what is offered there is heard.
        func connect() async throws -> TestClient {
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            let features = try await client.say(TestClient.header(), hear: headerEnd)
            #expect(features.contains(
                "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>"))
            return client
        }

        var device: StoredDevice? {
            get async throws {
                let id = try #require(try await server.store.credentials(of: juliet)?.id)
                return try await server.store.device(DeviceID(userAgent: agentID), of: id)
            }
        }
    }

    private static func with(audit: any AuditSink = NoAudit(), _ body: (World) async throws -> Void) async throws {
        let time = TestClock()
        let server = try await TestServer(
            [.directTLS], audit: audit, tokenSecret: [UInt8](0..<32), tokenTime: time)
        let result: Result<Void, any Error>
        do {
            let port = try #require(server.service.ports.first)
            result = .success(try await body(World(server: server, port: port, time: time, juliet: try BareJID(parsing: "juliet@verona.example"))))
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        try result.get()
    }

    private static func agent(_ id: String = agentID) -> String { "<user-agent id='\(id)'><software>AwesomeXMPP</software></user-agent>" }

    private static func wish(_ mechanism: HashedTokenMechanism) -> String {
        "<request-token xmlns='urn:xmpp:fast:0' mechanism='\(mechanism.name)'/>"
    }

    private static func password(_ inline: String, password: String = "pencil") -> String {
        let response = Base64.encode("\0juliet\0\(password)".utf8)
        return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(response)</initial-response>\(agent())\(inline)</authenticate>"
    }

    private static func token(
        _ token: HashedToken, _ mechanism: HashedTokenMechanism = .none, binding: [UInt8] = [], attributes: String = "", agent id: String = agentID,
        inline: String = bind
    ) -> String {
        let response = Base64.encode(Array("juliet\0".utf8) + token.initiatorProof(binding))
        return """
            <authenticate xmlns='urn:xmpp:sasl:2' mechanism='\(mechanism.name)'><initial-response>\(response)</initial-response>\(agent(id))\
            <fast xmlns='urn:xmpp:fast:0' \(attributes)/>\(inline)</authenticate>
            """
    }

    /// The token in a success.
    private static func given(in text: String) -> HashedToken? {
        guard let element = text.firstRange(of: "<token xmlns='urn:xmpp:fast:0'"), let begin = text[element.upperBound...].firstRange(of: " token='")
        else { return nil }
        return HashedToken(String(text[begin.upperBound...].prefix { $0 != "'" }))
    }

    /// A first token, by password.
    private static func first(_ world: World, _ mechanism: HashedTokenMechanism = .none) async throws -> HashedToken {
        let client = try await world.connect()
        let success = try await client.say(password(wish(mechanism) + bind), hear: headerEnd)
        await #expect(throws: Never.self) { try await client.close() }
        return try #require(given(in: success))
    }

    private static func failure(_ client: TestClient, _ text: String) async throws -> String {
        let failure = try await client.say(text, hear: "</failure>")
        return String(try #require(failure.firstRange(of: "<failure xmlns='urn:xmpp:sasl:2'><").map { failure[$0.upperBound...].prefix { $0 != " " } }))
    }

    @Test("who logs in by the password of an application has a session that says so, no token, and is remembered with its name")
    func application() async throws {
        let record = RecordedLogins()
        try await Self.with(audit: record) { world in
            let keys = try [TestAccounts.keys(.sha256)].remade(of: try #require(PreparedPassword("eraser")))
            let password = StoredApplicationPassword(name: "mail", keys: keys, created: 0)
            try await world.server.store.commit([.account(.addApplicationPassword(world.juliet, password))])
            let client = try await world.connect()
            let success = try await client.say(Self.password(Self.wish(.none) + Self.bind, password: "eraser"), hear: Self.headerEnd)
            #expect(success.contains("<bound ") && Self.given(in: success) == nil)
            let device = try #require(try await world.device)
            #expect(device.applicationPasswords.latest == "mail" && device.proofs == [] && device.tokens == [:])
            #expect(world.server.router.sessions(of: world.juliet).map(\.application) == ["mail"])
            #expect(record.lines == ["PLAIN of mail"])
            try await client.close()
        }
    }

    // MARK: The ordinary way

    @Test("a client logs in by its password, is given a token, and logs in by that in one round trip, bound to its connection", arguments: HashedTokenMechanism.allCases)
    func logIn(mechanism: HashedTokenMechanism) async throws {
        try await Self.with { world in
            let token = try await Self.first(world, mechanism)
            #expect(try await world.device?.tokens.keys.sorted { $0.rawValue < $1.rawValue } == [.new])
            let client = try await TestClient.connect(to: world.port)
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            let binding: [UInt8]
            switch mechanism {
            case .none: binding = []
            case .exporter: binding = try #require(client.exporter).data
            case .serverEndPoint: binding = try #require(world.server.certificates.certificate(of: "verona.example")?.bindings.first).data
            }
            try await client.send(TestClient.header() + Self.token(token, mechanism, binding: binding) + "<iq type='get' id='q1'><query xmlns='urn:example:q'/></iq>")
            _ = try await client.hear(Self.headerEnd)
            let success = try await client.hear(Self.headerEnd)
            #expect(success.contains("<additional-data>\(Base64.encode(token.responderProof(binding)))</additional-data>"))
            #expect(success.contains("<authorization-identifier>juliet@verona.example/balcony/") && success.contains("<bound "))
            #expect(Self.given(in: success) == nil)
            #expect(try await client.hear("</iq>").contains("id='q1'"))
            let device = try #require(try await world.device)
            #expect(device.tokens.keys.map(\.rawValue) == [TokenSlot.current.rawValue])
            #expect(device.software == "AwesomeXMPP" && device.proofs == .password)
            #expect(world.server.router.connectedDevices(of: world.juliet) == [DeviceID(userAgent: Self.agentID)])
        }
    }

    @Test("a token that is a day old is followed by another in the success, and both are good until that is used (§3.5)")
    func rotation() async throws {
        try await Self.with { world in
            let old = try await Self.first(world)
            world.time.pass(hours: Self.day + 1)
            let new = try #require(Self.given(in: try await world.connect().say(Self.token(old), hear: Self.headerEnd)))
            _ = try await world.connect().say(Self.token(old), hear: "<success")
            // The one that was never used has given way to another.
            #expect(try await Self.failure(world.connect(), Self.token(new)) == "not-authorized")
            _ = try await world.connect().say(Self.token(old), hear: "<success")
        }
    }

    @Test("a token that is asked for beside one replaces it once it is used")
    func replaced() async throws {
        try await Self.with { world in
            let old = try await Self.first(world)
            let new = try #require(Self.given(in: try await world.connect().say(Self.token(old, inline: Self.wish(.none) + Self.bind), hear: Self.headerEnd)))
            _ = try await world.connect().say(Self.token(new), hear: "<success")
            #expect(try await Self.failure(world.connect(), Self.token(old)) == "not-authorized")
        }
    }

    @Test("whoever logs out by its token is let in for the last time (§3.6)")
    func invalidated() async throws {
        try await Self.with { world in
            let token = try await Self.first(world)
            let success = try await world.connect().say(Self.token(token, attributes: "invalidate='true'"), hear: Self.headerEnd)
            #expect(success.contains("<success") && Self.given(in: success) == nil)
            #expect(try await Self.failure(world.connect(), Self.token(token)) == "not-authorized")
        }
    }

    // MARK: What does not let in

    @Test("a token that is too old says so, and the password lets in on the same stream (§4.2)")
    func expired() async throws {
        try await Self.with { world in
            let token = try await Self.first(world)
            world.time.pass(hours: 21 * Self.day)
            let client = try await world.connect()
            #expect(try await Self.failure(client, Self.token(token)) == "credentials-expired")
            let success = try await client.say(Self.password(Self.wish(.none) + Self.bind), hear: Self.headerEnd)
            #expect(Self.given(in: success) != nil)
        }
    }

    @Test("a count that was used before is refused, the next one is not (§3.4)")
    func replayed() async throws {
        try await Self.with { world in
            let token = try await Self.first(world)
            _ = try await world.connect().say(Self.token(token, attributes: "count='1'"), hear: "<success")
            let client = try await world.connect()
            #expect(try await Self.failure(client, Self.token(token, attributes: "count='1'")) == "not-authorized")
            _ = try await client.say(Self.token(token, attributes: "count='2'"), hear: "<success")
        }
    }

    @Test("a token is for one device, one mechanism and one connection (§3.4, §8)")
    func bound() async throws {
        try await Self.with { world in
            let token = try await Self.first(world, .exporter)
            let client = try await world.connect()
            #expect(try await Self.failure(client, Self.token(token, .none)) == "not-authorized")
            let elsewhere = [UInt8](0..<32)
            #expect(try await Self.failure(client, Self.token(token, .exporter, binding: elsewhere)) == "not-authorized")
            let binding = try #require(client.exporter).data
            let other = "e4565fa7-4d72-4749-b3d3-740edbf87770"
            #expect(try await Self.failure(client, Self.token(token, .exporter, binding: binding, agent: other)) == "not-authorized")
            _ = try await client.say(Self.token(token, .exporter, binding: binding), hear: "<success")
        }
    }

    @Test("a device that is revoked logs in by no token; a new password ends the tokens of all")
    func revoked() async throws {
        try await Self.with { world in
            let token = try await Self.first(world)
            #expect(try await world.server.router.revoke(DeviceID(userAgent: Self.agentID), of: world.juliet, by: "test") == .passwordRemains)
            #expect(try await Self.failure(world.connect(), Self.token(token)) == "not-authorized")
            let second = try await Self.first(world)
            let mailbox = world.server.pool.loops[0].context.mailbox
            try await world.server.router.setCredentials(of: world.juliet, [TestAccounts.keys(.sha256)], by: "test", on: mailbox)
            #expect(try await Self.failure(world.connect(), Self.token(second)) == "not-authorized")
        }
    }

    @Test("an account without such a device, and one that is not there, answer alike (rule 13)")
    func strangers() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            let nobody = Base64.encode(Array("nobody\0".utf8) + HashedToken("x").initiatorProof())
            let text = """
                <authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>\(nobody)</initial-response>\(Self.agent())\
                <fast xmlns='urn:xmpp:fast:0'/></authenticate>
                """
            let unknown = try await client.say(text, hear: "</failure>")
            #expect(try await client.say(Self.token(HashedToken("x")), hear: "</failure>") == unknown)
        }
    }

    @Test("a failed log-in by a token is counted and recorded as one with a password, and so is one that is refused late")
    func recorded() async throws {
        let audit = RecordedLogins()
        try await Self.with(audit: audit) { world in
            let token = try await Self.first(world)
            let client = try await world.connect()
            #expect(try await Self.failure(client, Self.token(HashedToken("x"))) == "not-authorized")
            _ = try await world.connect().say(Self.token(token, attributes: "count='1'"), hear: "<success")
            #expect(try await Self.failure(client, Self.token(token, attributes: "count='1'")) == "not-authorized")
            #expect(audit.lines == ["PLAIN", "HT-SHA-256-NONE badCredentials", "HT-SHA-256-NONE", "HT-SHA-256-NONE badCredentials"])
        }
    }

    @Test("where tokens are not given any more, none is taken, and what is said of them is passed over")
    func off() async throws {
        var settings = NetworkSettings.test
        settings.tokens = nil
        let server = try await TestServer([.directTLS], settings: settings, tokenSecret: [UInt8](0..<32), tokenTime: TestClock())
        let port = try #require(server.service.ports.first)
        let client = try await TestClient.connect(to: port)
        try await client.startTLS("verona.example", trust: "verona.example.pem")
        #expect(!(try await client.say(TestClient.header(), hear: Self.headerEnd).contains("urn:xmpp:fast:0")))
        #expect(try await Self.failure(client, Self.token(HashedToken("x"))) == "invalid-mechanism")
        let success = try await client.say(Self.password(Self.wish(.none) + Self.bind), hear: Self.headerEnd)
        #expect(success.contains("<bound ") && Self.given(in: success) == nil)
        try await server.stop()
    }
}

/// By which mechanism log-ins succeeded, and by which application's password, or failed and why.
private final class RecordedLogins: AuditSink {
    private let all = NIOLockedValueBox<[String]>([])
    var lines: [String] { all.withLockedValue { $0 } }

    func record(_ event: AuditEvent) {
        switch event {
        case .loginSucceeded(_, let mechanism, _, let application): all.withLockedValue { $0.append(mechanism + (application.map { " of \($0)" } ?? "")) }
        case .loginFailed(_, let mechanism, _, let verdict): all.withLockedValue { $0.append("\(mechanism) \(verdict)") }
        default: break
        }
    }
}
