import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("Log-ins by tokens of an authorization server, on connections (RFC 7628, XEP-0493)")
struct BearerLoginTests {
    private static let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"

    private struct World {
        let server: TestServer
        let issuer: PlayedIssuer
        let events: Events

        /// Inside TLS; what is offered there is heard.
        func connect(to domain: String = "verona.example") async throws -> TestClient {
            let client = try await TestClient.connect(to: try #require(server.service.ports.first))
            try await client.startTLS(domain, trust: "\(domain).pem")
            let features = try await client.say(TestClient.header(domain), hear: "</stream:features>")
            #expect(features.contains("<mechanism>OAUTHBEARER</mechanism>") == (domain == "verona.example"))
            return client
        }
    }

    /// What is told to whoever wants to know afterwards.
    private final class Events: AuditSink {
        private let all = NIOLockedValueBox<[AuditEvent]>([])
        var logins: [String] {
            all.withLockedValue { $0 }.compactMap { event in
                switch event {
                case .loginSucceeded(let account, let mechanism, _, _): "\(account) \(mechanism)"
                case .loginFailed(let claimed, let mechanism, _, let verdict): "\(claimed.isEmpty ? "-" : claimed) \(mechanism) \(verdict)"
                default: nil
                }
            }
        }
        func record(_ event: AuditEvent) { all.withLockedValue { $0.append(event) } }
    }

    private static func with(
        isReachable: Bool = true, accounts: TestAccounts = TestAccounts(), _ change: (inout TokenIssuerSettings) -> Void = { _ in },
        _ body: (World) async throws -> Void
    ) async throws {
        let (played, events) = (PlayedIssuer(), Events())
        var settings = try PlayedIssuer.settings()
        change(&settings)
        played.state.withLockedValue { $0.isReachable = isReachable }
        let server = try await TestServer([.directTLS], accounts: accounts, audit: events, issuers: TokenIssuers([(settings, played.fetch)]))
        let result: Result<Void, any Error>
        do { result = .success(try await body(World(server: server, issuer: played, events: events))) } catch { result = .failure(error) }
        try await server.stop()
        try result.get()
    }

    private static func auth(_ token: BearerToken, authzid: String? = nil) -> String {
        "<auth \(sasl) mechanism='OAUTHBEARER'>\(Base64.encode(BearerMessage.bytes(authzid: authzid, token: token.text)))</auth>"
    }

    @Test("a client with a good token has a session as any other, and it is noted how it came in")
    func logIn() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            _ = try await client.say(Self.auth(try world.issuer.token(), authzid: "juliet@verona.example"), hear: "<success \(Self.sasl)/>")
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await client.say(TestClient.bind, hear: "</iq>").contains("juliet@verona.example/balcony"))
            #expect(world.events.logins == ["juliet@verona.example OAUTHBEARER"])
        }
    }

    @Test("the same in one round trip (XEP-0388)")
    func inline() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            let response = Base64.encode(BearerMessage.bytes(token: try world.issuer.token().text))
            let success = try await client.say(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='OAUTHBEARER'><initial-response>\(response)</initial-response><bind xmlns='urn:xmpp:bind:0'/></authenticate>",
                hear: "</success>")
            #expect(success.contains("<authorization-identifier>juliet@verona.example/"))
        }
    }

    @Test("whose token is no good hears where to get one, answers, and may try again; so does who has none")
    func refused() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            for token in ["", try world.issuer.token(PlayedIssuer.claims(["aud": "\"mail\""])).text] {
                let auth = "<auth \(Self.sasl) mechanism='OAUTHBEARER'>\(Base64.encode(BearerMessage.bytes(token: token)))</auth>"
                let challenge = try await client.say(auth, hear: "</challenge>")
                let text = try #require(TestClient.content(challenge))
                #expect(String(decoding: text, as: UTF8.self) == #"{"status":"invalid_token","openid-configuration":"\#(PlayedIssuer.discovery)"}"#)
                _ = try await client.say("<response \(Self.sasl)>AQ==</response>", hear: "<not-authorized/></failure>")
            }
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<success \(Self.sasl)/>")
            #expect(world.events.logins == ["- OAUTHBEARER badCredentials", "juliet@verona.example OAUTHBEARER"])
        }
    }

    @Test("somebody else's address is no authorization identity, and who has no account hears what everybody does")
    func others() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            _ = try await client.say(Self.auth(try world.issuer.token(), authzid: "romeo@verona.example"), hear: "<invalid-authzid/>")
            _ = try await client.hear("</failure>")
            _ = try await client.say(Self.auth(try world.issuer.token(PlayedIssuer.claims(["preferred_username": "\"nobody\""]))), hear: "</challenge>")
        }
    }

    @Test("what cannot be found out is a temporary failure: of keys, and of accounts")
    func unavailable() async throws {
        try await Self.with(isReachable: false) { world in
            let client = try await world.connect()
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<temporary-auth-failure/>")
        }
        var accounts = TestAccounts()
        accounts.isAvailable = false
        try await Self.with(accounts: accounts) { world in
            let client = try await world.connect()
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<temporary-auth-failure/>")
        }
    }

    @Test("a domain that believes nobody offers nothing and takes nothing")
    func otherDomain() async throws {
        try await Self.with { world in
            let client = try await world.connect(to: "mantua.example")
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<invalid-mechanism/>")
        }
    }

    @Test("a session ends with its token where the operator wants that", arguments: [true, false])
    func end(endsSessions: Bool) async throws {
        try await Self.with({ $0.endsSessions = endsSessions }) { world in
            let client = try await world.connect()
            // It has ended already, but not by more than the clocks may differ.
            let token = try world.issuer.token(PlayedIssuer.claims(["exp": "\(PlayedIssuer.now - 1)"]))
            try await client.send(Self.auth(token))
            guard endsSessions else {
                _ = try await client.hear("<success \(Self.sasl)/>")
                _ = try await client.say(TestClient.header(), hear: "</stream:features>")
                _ = try await client.say(TestClient.bind, hear: "</iq>")
                return
            }
            _ = try await client.hear("<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
        }
    }

    @Test("a session knows when its token ends, where it is to end with that: without a connection it ends then, too", arguments: [true, false])
    func knownEnd(endsSessions: Bool) async throws {
        try await Self.with({ $0.endsSessions = endsSessions }) { world in
            let client = try await world.connect()
            let end = PlayedIssuer.now + 600
            _ = try await client.say(Self.auth(try world.issuer.token(PlayedIssuer.claims(["exp": "\(end)"]))), hear: "<success \(Self.sasl)/>")
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            _ = try await client.say(TestClient.bind, hear: "</iq>")
            let proof = try #require(world.server.router.proof(of: try JID("juliet@verona.example/balcony")))
            #expect(proof.hasGrant && !proof.isCertified && proof.ends == (endsSessions ? Int64(end) * 1_000 : nil))
        }
    }

    @Test("a reload takes an issuer away and puts it back, also for streams that are there")
    func reload() async throws {
        try await Self.with { world in
            let client = try await world.connect()
            world.server.service.apply([])
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<temporary-auth-failure/>")
            _ = try await client.hear("</failure>")
            world.server.service.apply([(try PlayedIssuer.settings(), world.issuer.fetch)])
            _ = try await client.say(Self.auth(try world.issuer.token()), hear: "<success \(Self.sasl)/>")
        }
    }
}
