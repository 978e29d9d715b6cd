import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import Testing

@Suite("Keys that clients make up as they log in, on connections (XEP-0480)")
struct SASLUpgradeTests {
    private static let wish = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>"
    private static let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>balcony</tag></bind>"
    private static let next = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>"
    private static let headerEnd = "</stream:features>"

    /// Inside TLS, against a server whose accounts lack keys of SHA-512.
    private static func with(
        _ upgrades: TestUpgrades, audit: any AuditSink = NoAudit(), isOn: Bool = true, holdsTime: Bool = false,
        _ body: (TestServer, TestClient, _ features: String) async throws -> Void
    ) async throws {
        var settings = NetworkSettings.test
        settings.policy.upgrades = isOn ? [.sha512, .sha256] : []
        let server = try await TestServer(
            [.directTLS], settings: settings, accounts: TestAccounts(upgrades: upgrades), audit: audit, holdsTime: holdsTime)
        let result: Result<Void, any Error>
        do {
            let client = try await TestClient.connect(to: try #require(server.service.ports.first))
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            result = .success(try await body(server, client, try await client.say(TestClient.header(), hear: headerEnd)))
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        try result.get()
    }

    /// A log-in by SCRAM-SHA-1, up to the answer to its proof.
    private static func prove(_ client: TestClient, _ inline: String, hear end: String) async throws -> String {
        let password = try #require(PreparedPassword("pencil"))
        var scram = ScramClient(hash: .sha1, username: "juliet", password: password, nonce: ScramNonce(random: [UInt8](0..<18)))
        let first = "<initial-response>\(Base64.encode(scram.first()))</initial-response>"
        let answer = try await client.say(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'>\(first)\(inline)</authenticate>", hear: "</challenge>")
        let begin = try #require(answer.firstRange(of: "<challenge xmlns='urn:xmpp:sasl:2'>")?.upperBound)
        let challenge = try #require(Base64.decode(answer[begin...].prefix { $0 != "<" }))
        let final = Base64.encode(try scram.final(answering: challenge))
        return try await client.say("<response xmlns='urn:xmpp:sasl:2'>\(final)</response>", hear: end)
    }

    private static func hash() throws -> String {
        let password = try #require(PreparedPassword("pencil"))
        let salt = [UInt8](repeating: 7, count: ScramKeys.saltBytesDefault)
        let salted = Base64.encode(try #require(ScramHash.sha512.saltedPassword(password, salt: salt, iterations: 4096)))
        return "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>\(salted)</hash></task-data>"
    }

    @Test("a client computes what its account lacks, and then gets what it asked for inline (§3)")
    func upgrade() async throws {
        let (upgrades, audit) = (TestUpgrades([.sha512]), AddedKeys())
        try await Self.with(upgrades, audit: audit) { _, client, features in
            #expect(features.contains("UPGR-SCRAM-SHA-512</upgrade>") && features.contains("UPGR-SCRAM-SHA-256</upgrade>"))
            let request = try await Self.prove(client, Self.wish + Self.bind, hear: "</continue>")
            #expect(request.contains("<task>UPGR-SCRAM-SHA-512</task>") && !request.contains("<success"))
            let description = try await client.say(Self.next, hear: "</task-data>")
            #expect(description.contains("iterations='4096'>BwcHBwcHBwcHBwcHBwcHBw==</salt>"))
            #expect(upgrades.added.withLockedValue { $0 }.isEmpty)
            let success = try await client.say(try Self.hash(), hear: Self.headerEnd)
            #expect(success.contains("<bound ") && !success.contains("<additional-data>"))
            let password = try #require(PreparedPassword("pencil"))
            let added = upgrades.added.withLockedValue { $0 }
            #expect(added.map(\.hash) == [.sha512] && added.allSatisfy { $0.verify(password) })
            #expect(audit.lines == ["juliet@verona.example SCRAM-SHA-512"])
        }
    }

    @Test("where the account has the keys, the client is asked for nothing")
    func nothingMissing() async throws {
        try await Self.with(TestUpgrades([])) { _, client, _ in
            let success = try await Self.prove(client, Self.wish + Self.bind, hear: Self.headerEnd)
            #expect(success.contains("<additional-data>") && success.contains("<bound ") && !success.contains("<continue"))
        }
    }

    @Test("where no keys are made up, no task is offered, and the wish for one is passed over")
    func off() async throws {
        try await Self.with(TestUpgrades([.sha512]), isOn: false) { _, client, features in
            #expect(!features.contains("urn:xmpp:sasl:upgrade:0"))
            let success = try await Self.prove(client, Self.wish + Self.bind, hear: Self.headerEnd)
            #expect(success.contains("<bound "))
        }
    }

    private static let refusals: [(AccountVerdict, String)] = [(.badCredentials, "<not-authorized "), (.unavailable, "<temporary-auth-failure ")]

    @Test("keys that are not written let nobody in, and the stream ends", arguments: refusals)
    func refused(verdict: AccountVerdict, condition: String) async throws {
        let audit = AddedKeys()
        try await Self.with(TestUpgrades([.sha512], verdict: verdict), audit: audit) { _, client, _ in
            _ = try await Self.prove(client, Self.wish, hear: "</continue>")
            _ = try await client.say(Self.next, hear: "</task-data>")
            let failure = try await client.say(try Self.hash(), hear: "</stream:stream>")
            #expect(failure.contains("<failure xmlns='urn:xmpp:sasl:2'>\(condition)") && failure.contains("<policy-violation "))
            #expect(audit.lines.isEmpty)
        }
    }

    @Test("a client that never computes is not waited for longer than for any log-in (reliability.md rule 10)")
    func deadline() async throws {
        try await Self.with(TestUpgrades([.sha512]), holdsTime: true) { server, client, _ in
            _ = try await Self.prove(client, Self.wish, hear: "</continue>")
            _ = try await client.say(Self.next, hear: "</task-data>")
            try await server.pass(seconds: 32)
            #expect(try await client.hear("</stream:stream>").contains("<connection-timeout"))
        }
    }

    @Test("of a password that is told the server makes the keys itself, and says so in the record")
    func byPassword() async throws {
        let audit = AddedKeys()
        try await Self.with(TestUpgrades([.sha512]), audit: audit) { _, client, _ in
            let response = Base64.encode("\0juliet\0pencil".utf8)
            let authenticate = """
                <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(response)</initial-response>\(Self.wish)\(Self.bind)</authenticate>
                """
            let success = try await client.say(authenticate, hear: Self.headerEnd)
            #expect(success.contains("<bound "))
            #expect(audit.lines == ["juliet@verona.example SCRAM-SHA-512"])
        }
    }
}

/// To which accounts keys of which mechanisms were added.
private final class AddedKeys: AuditSink {
    private let all = NIOLockedValueBox<[String]>([])
    var lines: [String] { all.withLockedValue { $0 } }

    func record(_ event: AuditEvent) {
        guard case .keysAdded(let account, let hashes) = event else { return }
        all.withLockedValue { $0.append("\(account) \(hashes.map(\.mechanismName).joined(separator: " "))") }
    }
}
