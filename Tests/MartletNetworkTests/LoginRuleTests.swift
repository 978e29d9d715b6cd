import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("Rules about log-ins on connections")
struct LoginRuleTests {
    /// Juliet, and whoever is called nobody, log in by certificates alone, if the rest holds.
    private static func rule(_ change: (inout LoginRule) -> Void = { _ in }) throws -> LoginRule {
        var rule = LoginRule(number: 1)
        rule.accounts = Set(try ["juliet", "nobody"].map { try BareJID(localpart: $0, domainpart: "verona.example") })
        rule.isStrong = true
        change(&rule)
        return rule
    }

    private static func settings(_ rules: [LoginRule]) -> NetworkSettings {
        var settings = NetworkSettings.test
        settings.policy.rules = rules
        return settings
    }

    /// What is heard of a log-in by PLAIN.
    private static func attempt(_ name: String, _ password: String, _ port: Int) async throws -> String {
        let client = try await TestClient.connect(to: port)
        _ = try await client.say(TestClient.header(), hear: "</stream:features>")
        let isRight = try await client.say(TestClient.plain(name, password: password), hear: "/>")
        try await client.close()
        return isRight
    }

    @Test("right and wrong passwords are refused alike, and the audit log has the verdict")
    func alike() async throws {
        let audit = RecordedVerdicts()
        let server = try await TestServer([.plain], settings: Self.settings([try Self.rule()]), audit: audit)
        let port = try #require(server.service.ports.first)
        let answers = [
            try await Self.attempt("juliet", "pencil", port), try await Self.attempt("juliet", "crayon", port), try await Self.attempt("nobody", "crayon", port),
        ]
        #expect(answers.allSatisfy { $0 == answers[0] } && answers[0].contains("<mechanism-too-weak/>"))
        #expect(try await Self.attempt("romeo", "pencil", port).contains("<success"))
        #expect(audit.lines == Array(repeating: "PLAIN mechanismTooWeak", count: 3) + ["PLAIN"])
        try await server.stop()
    }

    @Test("no keys are made of a right password that is not good enough, which would take time (XEP-0480)")
    func noKeys() async throws {
        let audit = RecordedVerdicts()
        var settings = Self.settings([try Self.rule()])
        settings.policy.upgrades = [.sha512]
        let server = try await TestServer([.plain], settings: settings, accounts: TestAccounts(upgrades: TestUpgrades([.sha512])), audit: audit)
        let port = try #require(server.service.ports.first)
        for name in ["juliet", "romeo"] { _ = try await Self.attempt(name, "pencil", port) }
        #expect(audit.lines == ["PLAIN mechanismTooWeak", "keys of romeo", "PLAIN"])
        try await server.stop()
    }

    @Test("they count as failures of the account and of the address, right or wrong")
    func throttled() async throws {
        let server = try await TestServer([.plain], settings: Self.settings([try Self.rule()]))
        let port = try #require(server.service.ports.first)
        let juliet = try BareJID(parsing: "juliet@verona.example")
        for _ in 0..<10 { _ = try await Self.attempt("juliet", "pencil", port) }
        #expect(server.service.loginDelays(nil, juliet).account > .zero && server.service.loginDelays(nil, juliet).address == .zero)
        try await server.stop()
    }

    private static let places: [(change: @Sendable (inout LoginRule) -> Void, isStrong: Bool)] = [
        ({ $0.networks = [LoginNetwork([127, 0, 0, 0], prefix: 8)].compactMap(\.self) }, true),
        ({ $0.networks = [LoginNetwork([192, 0, 2, 0], prefix: 24)].compactMap(\.self) }, false),
        ({ $0.listeners = [LoginListener(kind: "client")] }, true), ({ $0.listeners = [LoginListener(kind: "https")] }, false),
        ({ $0.domains = ["verona.example"] }, true), ({ $0.domains = ["mantua.example"] }, false),
    ]

    @Test("a rule holds where the client comes from, and where it connects", arguments: places)
    func place(change: @Sendable (inout LoginRule) -> Void, isStrong: Bool) async throws {
        try await TestServer.with(settings: Self.settings([try Self.rule(change)])) { _, port in
            let answer = try await Self.attempt("juliet", "pencil", port)
            #expect(answer.contains(isStrong ? "<mechanism-too-weak/>" : "<success"))
        }
    }

    @Test("a reload ends the sessions that its rules would not let in, and no other")
    func reload() async throws {
        try await TestServer.with { server, port in
            let (juliet, romeo) = (try await TestClient.connect(to: port), try await TestClient.connect(to: port))
            try await juliet.logIn("juliet")
            try await romeo.logIn("romeo")
            server.service.apply(Self.settings([try Self.rule()]))
            let heard = try await juliet.hear("</stream:stream>")
            #expect(heard.contains("<not-authorized"))
            _ = try await romeo.say("<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: "s1")
        }
    }

    @Test("a client that was connected before a reload is held to the rules after it")
    func connectedBefore() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            server.service.apply(Self.settings([try Self.rule()]))
            let heard = try await client.say(TestClient.plain("juliet"), hear: "</stream:stream>")
            #expect(heard.contains("<not-authorized"))
        }
    }

    @Test("where a rule leaves nothing the stream ends inside TLS")
    func closed() async throws {
        let nothing = try Self.rule { $0.accounts = [] }
        try await TestServer.with(.directTLS, settings: Self.settings([nothing])) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            let heard = try await client.say(TestClient.header(), hear: "</stream:stream>")
            #expect(heard.contains("<policy-violation"))
        }
    }

    @Test("listeners are called what the configuration calls them")
    func names() {
        let kinds: [(ListenerConfiguration.Kind, String)] = [(.client, "client"), (.clientTLS, "client-tls"), (.https, "https"), (.http, "http")]
        for (kind, name) in kinds { #expect(ListenerConfiguration(kind: kind, port: 7).name == LoginListener(kind: name, port: 7)) }
    }

    @Test("an address is sixteen octets to rules, IPv4 as IPv6 has it")
    func octets() throws {
        let four = try #require(NetworkAddress("192.0.2.7"))
        #expect(four.octets == [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 7])
        let six = try #require(NetworkAddress("2001:db8::7"))
        #expect(six.octets == [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7])
    }
}

/// By which mechanism log-ins succeeded, or failed and why.
private final class RecordedVerdicts: AuditSink {
    private let all = NIOLockedValueBox<[String]>([])
    var lines: [String] { all.withLockedValue { $0 } }

    func record(_ event: AuditEvent) {
        switch event {
        case .loginSucceeded(_, let mechanism, _, _): all.withLockedValue { $0.append(mechanism) }
        case .loginFailed(_, let mechanism, _, let verdict): all.withLockedValue { $0.append("\(mechanism) \(verdict)") }
        case .keysAdded(let account, _): all.withLockedValue { $0.append("keys of \(account.localpart ?? "")") }
        default: break
        }
    }
}
