import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// Knows three tokens, and takes whatever name is not `taken`.
private final class Desk: RegisteringStage {
    static let specification = Specification.xep(77, "In-Band Registration", version: "2.4")
    let takesStrangers = true
    private let made = NIOLockedValueBox<[String]>([])
    /// Names and passwords, with the token and where they came from.
    var all: [String] { made.withLockedValue { $0 } }

    func writeOffer(to writer: inout XMLWriter) { writer.element("register", "http://jabber.org/features/iq-register") }

    func answer(_ request: StrangersRequest, _ router: Router, on mailbox: LoopMailbox) async -> RegistrationAnswer {
        request.kind == .get ? .form(ByteBuffer(string: "<query xmlns='jabber:iq:register'/>")) : .registered
    }

    func offer(of token: String, _ router: Router) async throws(StoreError) -> InvitationOffer? {
        guard let domain = try? BareJID(parsing: "verona.example"), let romeo = try? BareJID(parsing: "romeo@verona.example") else { return nil }
        switch token {
        case "friend": return InvitationOffer(domain: domain, inviter: romeo, localpart: nil, makesAccounts: true, uri: "xmpp:romeo?roster;preauth=friend")
        case "named": return InvitationOffer(domain: domain, inviter: nil, localpart: "juliet", makesAccounts: true, uri: "xmpp:x?register;preauth=named")
        case "contact": return InvitationOffer(domain: domain, inviter: romeo, localpart: nil, makesAccounts: false, uri: "xmpp:romeo?roster;preauth=contact")
        case "broken": throw .unavailable("gone")
        default: return nil
        }
    }

    func register(
        _ name: String, _ password: String, by token: String, at domain: BareJID, _ ways: WaysIn, from remoteAddress: String, _ router: Router,
        on mailbox: LoopMailbox
    ) async -> RegistrationAnswer {
        if name == "taken" { return .refused(StanzaError(.conflict)) }
        guard (try? BareJID(localpart: name, domainpart: domain.domainpart)).map(ways.takePassword) == true else { return .refused(.notAllowed) }
        made.withLockedValue { $0.append("\(name) \(password) \(token) \(remoteAddress)") }
        return .registered
    }
}

@Suite("The page of an invitation (XEP-0401 §4.2)")
struct InvitationPageTests {
    private func with(
        _ settings: NetworkSettings = .test, _ listener: ListenerConfiguration = .http, _ certificates: ClientCertificateSettings = .init(),
        _ body: (Desk, TestClient) async throws -> Void
    ) async throws {
        let desk = Desk()
        let server = try await TestServer([listener], settings: settings, features: [desk], clientCertificates: ClientCertificates(certificates, nil))
        let result: Result<Void, any Error>
        do {
            let client = try await TestClient.connect(to: try #require(server.service.ports.first))
            try await body(desk, client)
            try await client.close()
            result = .success(())
        } catch { result = .failure(error) }
        try await server.stop()
        try result.get()
    }

    private func get(_ path: String) -> String { WebListenerTests.request(path) }
    private func post(_ path: String, _ body: String) -> String {
        WebListenerTests.request(path, "POST", ["Content-Type: application/x-www-form-urlencoded", "Content-Length: \(body.utf8.count)"]) + body
    }

    @Test("who follows the link sees who invites, what to do with it, and a form; nothing runs, and nothing is told to others")
    func page() async throws {
        try await with { _, client in
            let page = try await client.say(get("/invite/friend"), hear: "</html>\n")
            #expect(page.hasPrefix("HTTP/1.1 200 OK") && page.contains("Content-Type: text/html; charset=utf-8"))
            #expect(page.contains("<h1>romeo@verona.example invites you to chat</h1>"))
            #expect(page.contains("href=\"xmpp:romeo?roster;preauth=friend\"") && page.contains("<form method=\"post\""))
            #expect(page.contains("Content-Security-Policy: default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n"))
            #expect(page.contains("Referrer-Policy: no-referrer\r\n") && page.contains("Cache-Control: no-store\r\n"))
            #expect(!page.contains("Access-Control") && !page.contains("<script"))
            let named = try await client.say(get("/invite/named"), hear: "</html>\n")
            #expect(named.contains("name=\"username\" value=\"juliet\" required readonly"))
            let contact = try await client.say(get("/invite/contact"), hear: "</html>\n")
            #expect(!contact.contains("<form"))
            _ = try await client.say(get("/invite.css"), hear: "main {")
        }
    }

    @Test("a token that is none is not found, and what cannot be one is not looked for", arguments: [
        "/invite/other", "/invite/", "/invite", "/invite/a/b", "/invite/%41", "/invite/" + String(repeating: "a", count: 64),
        "/invite/" + String(repeating: "a", count: 65),
    ])
    func unknown(path: String) async throws {
        try await with { _, client in
            let answer = try await client.say(get(path), hear: "\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 404 "))
        }
    }

    @Test("what cannot be asked now is not what is gone")
    func unavailable() async throws {
        try await with { _, client in _ = try await client.say(get("/invite/broken"), hear: "503 Service Unavailable") }
    }

    @Test("a form that is sent makes an account, with the name and the password as they were typed, and says what the account is called")
    func registered() async throws {
        try await with { desk, client in
            let page = try await client.say(post("/invite/friend", "username=juliet&password=a+b%26%C3%A9&again=a+b%26%C3%A9"), hear: "</html>\n")
            #expect(page.contains("<strong>juliet@verona.example</strong>"))
            let named = try await client.say(post("/invite/named", "username=other&password=x&again=x"), hear: "</html>\n")
            #expect(named.contains("<strong>juliet@verona.example</strong>"))
            let capitals = try await client.say(post("/invite/friend", "username=Mercutio&password=x&again=x"), hear: "</html>\n")
            #expect(capitals.contains("<strong>mercutio@verona.example</strong>"))
            #expect(desk.all == ["juliet a b&é friend 127.0.0.1", "juliet x named 127.0.0.1", "Mercutio x friend 127.0.0.1"])
        }
    }

    @Test("what is not taken comes back with the reason, and the name but not the password")
    func refused() async throws {
        try await with { desk, client in
            let taken = try await client.say(post("/invite/friend", "username=taken&password=s3cret&again=s3cret"), hear: "</html>\n")
            #expect(taken.hasPrefix("HTTP/1.1 422 ") && taken.contains("That name is taken.") && taken.contains("value=\"taken\"") && !taken.contains("s3cret"))
            let different = try await client.say(post("/invite/friend", "username=%22%3E%3Cb&password=a&again=b"), hear: "</html>\n")
            #expect(different.contains("not the same") && different.contains("value=\"&quot;&gt;&lt;b\""))
            _ = try await client.say(post("/invite/contact", "username=juliet&password=a&again=a"), hear: "200 OK")
            #expect(desk.all.isEmpty)
        }
    }

    /// Rules that leave no password, and by whose token.
    private static let strong: [(change: @Sendable (inout LoginRule) -> Void, token: String)] = [
        ({ _ in }, "friend"), ({ _ in }, "named"), ({ $0.domains = ["verona.example"] }, "friend"),
        ({ $0.accounts = Set([try? BareJID(parsing: "juliet@verona.example")].compactMap(\.self)) }, "named"),
    ]

    @Test("where no password lets the new account in the page says so, has no form, and makes none", arguments: strong)
    func passwordless(change: @Sendable (inout LoginRule) -> Void, token: String) async throws {
        var rule = LoginRule(number: 1)
        rule.isStrong = true
        change(&rule)
        var settings = NetworkSettings.test
        settings.policy.rules = [rule]
        try await with(settings) { desk, client in
            let page = try await client.say(get("/invite/\(token)"), hear: "</html>\n")
            #expect(page.hasPrefix("HTTP/1.1 200 ") && page.contains("nobody logs in to it with a password") && !page.contains("<form"))
            let answer = try await client.say(post("/invite/\(token)", "username=juliet&password=pencil&again=pencil"), hear: "</html>\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("nobody logs in to it with a password"))
            // Who has an account becomes a contact.
            let contact = try await client.say(get("/invite/contact"), hear: "</html>\n")
            #expect(contact.contains("Open the invitation") && !contact.contains("with a password"))
            #expect(desk.all.isEmpty)
        }
    }

    @Test("a rule that names accounts decides when the name is known, and one about other places not at all")
    func named() async throws {
        var juliet = LoginRule(number: 1)
        juliet.isStrong = true
        juliet.accounts = [try BareJID(parsing: "juliet@verona.example")]
        var elsewhere = LoginRule(number: 2)
        elsewhere.isStrong = true
        elsewhere.networks = [LoginNetwork([192, 0, 2, 0], prefix: 24)].compactMap(\.self)
        var settings = NetworkSettings.test
        settings.policy.rules = [juliet, elsewhere]
        try await with(settings) { desk, client in
            #expect(try await client.say(get("/invite/friend"), hear: "</html>\n").contains("<form"))
            _ = try await client.say(post("/invite/friend", "username=juliet&password=pencil&again=pencil"), hear: "422 ")
            _ = try await client.hear("</html>\n")
            #expect(desk.all.isEmpty)
            _ = try await client.say(post("/invite/friend", "username=rosaline&password=pencil&again=pencil"), hear: "Welcome")
            #expect(desk.all.count == 1)
        }
    }

    @Test("a domain that lets nobody in without a certificate makes nobody an account with a password")
    func certificatesRequired() async throws {
        var certificates = ClientCertificateSettings()
        certificates.demands = ["verona.example": .require]
        try await with(.test, .http, certificates) { desk, client in
            for token in ["friend", "named"] {
                #expect(!(try await client.say(get("/invite/\(token)"), hear: "</html>\n")).contains("<form"))
                _ = try await client.say(post("/invite/\(token)", "username=rosaline&password=pencil&again=pencil"), hear: "403 ")
                _ = try await client.hear("</html>\n")
            }
            #expect(desk.all.isEmpty)
        }
    }

    @Test("what is no form is refused", arguments: [
        "", "username=a", "username=a&password=b", "username=a&username=b&password=c&again=c", "username=%zz&password=c&again=c",
        "username=%ff&password=c&again=c", "username&password=c&again=c",
    ])
    func malformed(body: String) async throws {
        try await with { desk, client in
            _ = try await client.say(post("/invite/friend", body), hear: "400 Bad Request")
            #expect(desk.all.isEmpty)
        }
    }

    @Test("a network sends so many forms in an hour, whatever comes of them")
    func throttled() async throws {
        var settings = NetworkSettings.test
        settings.registrations.perNetworkMax = 2
        try await with(settings) { desk, client in
            for name in ["taken", "juliet"] { _ = try await client.say(post("/invite/friend", "username=\(name)&password=a&again=a"), hear: "</html>\n") }
            _ = try await client.say(post("/invite/friend", "username=rosaline&password=a&again=a"), hear: "429 Too Many Requests")
            #expect(desk.all.count == 1)
            _ = try await client.say(get("/invite/friend"), hear: "200 OK")
        }
    }

    @Test("a client asks for a form and an account before it logs in, so often as its network may (XEP-0077)")
    func beforeLogin() async throws {
        var settings = NetworkSettings.test
        settings.registrations.perNetworkMax = 1
        try await with(settings, .plain) { _, client in
            let header = "<stream:stream to='verona.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            _ = try await client.say(header, hear: "<register xmlns='http://jabber.org/features/iq-register'/></stream:features>")
            _ = try await client.say("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", hear: "<iq type='result' id='1'><query")
            let wish = "<query xmlns='jabber:iq:register'><username>a</username><password>b</password></query></iq>"
            _ = try await client.say("<iq type='set' id='2'>" + wish, hear: "<iq type='result' id='2'/>")
            _ = try await client.say("<iq type='set' id='3'>" + wish, hear: "<resource-constraint")
        }
    }
}
