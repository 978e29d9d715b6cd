import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

/// Remembers what was decided.
private final class Record: AuditSink {
    private let events = NIOLockedValueBox<[AuditEvent]>([])
    var all: [AuditEvent] { events.withLockedValue { $0 } }
    func record(_ event: AuditEvent) { events.withLockedValue { $0.append(event) } }
}

@Suite("The white pages")
struct PeoplePageTests {
    private static let photo: [UInt8] = [0xFF, 0xD8, 0xFF, 1, 2, 3]
    private static let card = """
        <vCard xmlns='vcard-temp'><FN>Romeo &lt;Montague></FN><TITLE>Heir</TITLE><TEL><NUMBER>+1 2</NUMBER></TEL>\
        <PHOTO><TYPE>image/svg+xml</TYPE><BINVAL>\(Base64.encode(photo))</BINVAL></PHOTO></vCard>
        """

    /// Romeo has a card, and Juliet sees his presence.
    private func with(
        _ access: PeopleAccess? = .organisation, accounts: TestAccounts = TestAccounts(), holdsTime: Bool = false, audit: any AuditSink = NoAudit(),
        _ change: (inout NetworkSettings) -> Void = { _ in }, _ body: (TestServer, TestClient) async throws -> Void
    ) async throws {
        var settings = NetworkSettings.test
        settings.web.people.access["verona.example"] = access
        change(&settings)
        let server = try await TestServer([.http, .plain], settings: settings, accounts: accounts, audit: audit, holdsTime: holdsTime)
        let result: Result<Void, any Error>
        do {
            let romeo = try #require(try await server.store.credentials(of: BareJID(parsing: "romeo@verona.example"))).id
            let friends = SubscriptionState(to: true, from: true, isInRoster: true)
            let juliet = try BareJID(parsing: "juliet@verona.example")
            let julietID = try #require(try await server.store.credentials(of: juliet)).id
            _ = server.store.submit([
                .document(romeo, .vCard, ByteBuffer(string: Self.card)),
                .rosterItem(romeo, RosterItem(contact: juliet, subscription: friends, version: 1)),
                .rosterItem(julietID, RosterItem(contact: try BareJID(parsing: "romeo@verona.example"), subscription: friends, version: 1)),
            ])
            let client = try await TestClient.connect(to: try #require(server.service.ports.first))
            try await body(server, client)
            try await client.close()
            result = .success(())
        } catch { result = .failure(error) }
        try await server.stop()
        try result.get()
    }

    private static func get(_ path: String, _ more: String...) -> String { WebListenerTests.request(path, "GET", more) }

    private static func post(_ path: String, _ body: String, _ more: String...) -> String {
        WebListenerTests.request(path, "POST", more + ["Content-Type: application/x-www-form-urlencoded", "Content-Length: \(body.utf8.count)"]) + body
    }

    /// The value of a cookie that an answer sets.
    private static func cookie(_ name: String, in answer: String) throws -> String {
        let start = try #require(answer.firstRange(of: "Set-Cookie: \(name)=")).upperBound
        return "\(name)=" + answer[start...].prefix { $0 != ";" }
    }

    /// - Returns: what a browser shows again that has logged in.
    private static func logIn(_ name: String, _ client: TestClient) async throws -> String {
        let page = try await client.say(get("/people"), hear: "</html>\n")
        let form = try cookie("__Host-martlet-form", in: page)
        let body = "form=\(form.dropFirst("__Host-martlet-form=".count))&username=\(name)&password=pencil"
        let answer = try await client.say(post("/people/login", body, "Cookie: \(form)"), hear: "go on at /people\n")
        #expect(answer.hasPrefix("HTTP/1.1 303 ") && answer.contains("Location: /people\r\n"))
        return "Cookie: " + (try cookie("__Host-martlet-people", in: answer))
    }

    /// Juliet's.
    private static func changePassword(_ server: TestServer) async throws {
        let (juliet, keys, router) = (try BareJID(parsing: "juliet@verona.example"), try TestAccounts.keys(.sha256), server.router)
        let mailbox = try #require(server.pool.loops.first).context.mailbox
        await withCheckedContinuation { continuation in
            mailbox.run { context in
                router.changeAccount(juliet, .setCredentials(juliet, [keys]), ending: StreamError(.notAuthorized), context) { _ in continuation.resume() }
            }
        }
    }

    // MARK: Who may look

    @Test("where nobody wants white pages there are none: not for the domain, nor for the server", arguments: ["/people", "/people.js", "/people/photo/a/b/c", "/people/events?ids=a"])
    func off(path: String) async throws {
        try await with(nil) { _, client in _ = try await client.say(Self.get(path), hear: "HTTP/1.1 404 Not Found") }
    }

    @Test("a domain without them has none where another one has; nor has a name that is no domain's")
    func otherDomain() async throws {
        try await with { _, client in
            for host in ["mantua.example", "chat.example", "127.0.0.1"] {
                _ = try await client.say(WebListenerTests.request("/people", host: host), hear: "HTTP/1.1 404 Not Found")
                _ = try await client.hear("there is nothing here\n")
            }
        }
    }

    @Test("the public name of the server leads to the only domain that has them")
    func publicName() async throws {
        try await with(.everyone) { $0.web.url = "https://chat.example:8443" } _: { _, client in
            let page = try await client.say(WebListenerTests.request("/people", host: "chat.example"), hear: "</html>\n")
            #expect(page.contains("People at verona.example"))
        }
    }

    @Test("people of the organisation log in, and nobody else is shown anything")
    func organisation() async throws {
        try await with { _, client in
            let page = try await client.say(Self.get("/people?q=romeo"), hear: "</html>\n")
            #expect(page.hasPrefix("HTTP/1.1 200 ") && page.contains("type=\"password\"") && !page.contains("Montague"))
            #expect(page.contains("Cache-Control: no-store\r\n") && page.contains("Referrer-Policy: no-referrer\r\n") && !page.contains("Access-Control"))
            #expect(page.contains("Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "))
            let form = try #require(page.firstRange(of: "Set-Cookie: __Host-martlet-form=").map { page[$0.upperBound...].prefix { $0 != "\r\n" } })
            #expect(form.hasSuffix("; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict"))
            _ = try await client.say(Self.get("/people/events?ids=romeo"), hear: "HTTP/1.1 403 ")
            _ = try await client.hear("logged in\n")
            let cookie = try await Self.logIn("juliet", client)
            let found = try await client.say(Self.get("/people?q=romeo", cookie), hear: "</html>\n")
            #expect(found.contains("<bdi>Romeo &lt;Montague&gt;</bdi>") && found.contains("href=\"tel:+12\"") && found.contains("juliet@verona.example"))
            let letter = try await client.say(Self.get("/people?letter=M", cookie), hear: "</html>\n")
            #expect(letter.contains("Montague"))
            let nobody = try await client.say(Self.get("/people?letter=z", cookie), hear: "</html>\n")
            #expect(nobody.contains("Nobody was found."))
            _ = try await client.say(Self.get("/people?page=0", cookie), hear: "400 Bad Request")
        }
    }

    @Test("everybody sees people where the operator wants that, and nobody's presence")
    func everyone() async throws {
        try await with(.everyone) { server, client in
            let romeo = try await TestClient.connect(to: try #require(server.service.ports.last))
            try await romeo.logIn("romeo")
            _ = try await romeo.say("<presence><status>here</status></presence><iq type='get' id='p'><x xmlns='y'/></iq>", hear: "id='p'")
            let found = try await client.say(Self.get("/people?q=romeo"), hear: "</html>\n")
            #expect(found.contains("Montague") && found.contains("presence unknown") && !found.contains("here</bdi>"))
            _ = try await client.say(Self.get("/people/events?ids=romeo"), hear: "HTTP/1.1 204 ")
            try await romeo.close()
        }
    }

    // MARK: Log-in

    @Test("a wrong password, a name of another domain and no name at all are refused alike, and are in the audit log")
    func wrong() async throws {
        let record = Record()
        try await with(audit: record) { _, client in
            let page = try await client.say(Self.get("/people/login"), hear: "</html>\n")
            let form = try Self.cookie("__Host-martlet-form", in: page)
            let token = form.dropFirst("__Host-martlet-form=".count)
            for name in ["juliet", "juliet%40mantua.example", "%40", "verona.example"] {
                let body = "form=\(token)&username=\(name)&password=guess"
                let answer = try await client.say(Self.post("/people/login", body, "Cookie: \(form)"), hear: "</html>\n")
                #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("The name or the password is wrong.") && !answer.contains("guess"))
                #expect(!answer.contains("__Host-martlet-people"))
            }
        }
        let juliet = AuditEvent.loginFailed(claimed: "juliet@verona.example", mechanism: "people-page", address: "127.0.0.1", .badCredentials)
        #expect(record.all.count == 4 && record.all.first == juliet)
    }

    @Test("a form that is not ours logs nobody in: without the cookie, with another one's token, or from another site", arguments: [
        ("", "", ""), ("__Host-martlet-form=\(String(repeating: "a", count: 43))", String(repeating: "b", count: 43), ""),
        ("__Host-martlet-form=\(String(repeating: "a", count: 43))", String(repeating: "a", count: 43), "cross-site"),
        ("__Host-martlet-form=\(String(repeating: "a", count: 43))", String(repeating: "a", count: 43), "same-site"), ("__Host-martlet-form=x", "x", ""),
    ])
    func forged(cookie: String, token: String, site: String) async throws {
        try await with { _, client in
            var headers = cookie.isEmpty ? [] : ["Cookie: \(cookie)"]
            if !site.isEmpty { headers.append("Sec-Fetch-Site: \(site)") }
            let body = "form=\(token)&username=juliet&password=pencil"
            let request = WebListenerTests.request("/people/login", "POST", headers + ["Content-Length: \(body.utf8.count)"]) + body
            let answer = try await client.say(request, hear: "</html>\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("too old") && !answer.contains("__Host-martlet-people"))
        }
    }

    @Test("where rules, or the mechanisms, leave an account no password, it logs in by none here, whether it is right or wrong", arguments: ["pencil", "guess"])
    func tooWeak(password: String) async throws {
        try await with { $0.policy.mechanisms = [.scram(.sha256)] } _: { _, client in
            let page = try await client.say(Self.get("/people/login"), hear: "</html>\n")
            let form = try Self.cookie("__Host-martlet-form", in: page)
            let body = "form=\(form.dropFirst("__Host-martlet-form=".count))&username=juliet&password=\(password)"
            let answer = try await client.say(Self.post("/people/login", body, "Cookie: \(form)"), hear: "</html>\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("You cannot log in here with a password."))
        }
    }

    @Test("accounts that cannot be asked about are no wrong passwords")
    func unavailable() async throws {
        try await with(accounts: TestAccounts(isAvailable: false)) { _, client in
            let page = try await client.say(Self.get("/people/login"), hear: "</html>\n")
            let form = try Self.cookie("__Host-martlet-form", in: page)
            let body = "form=\(form.dropFirst("__Host-martlet-form=".count))&username=juliet&password=pencil"
            _ = try await client.say(Self.post("/people/login", body, "Cookie: \(form)"), hear: "HTTP/1.1 503 ")
            _ = try await client.hear("Nobody can log in at the moment.")
        }
    }

    @Test("who logs out is out, if the page says so and not another site")
    func logOut() async throws {
        try await with { _, client in
            let cookie = try await Self.logIn("juliet%40verona.example", client)
            let page = try await client.say(Self.get("/people", cookie), hear: "</html>\n")
            let start = try #require(page.firstRange(of: "name=\"form\" value=\"")).upperBound
            let token = page[start...].prefix { $0 != "\"" }
            _ = try await client.say(Self.post("/people/logout", "form=x", cookie), hear: "HTTP/1.1 403 ")
            _ = try await client.hear("</html>\n")
            let out = try await client.say(Self.post("/people/logout", "form=\(token)", cookie), hear: "go on at /people\n")
            #expect(out.contains("Set-Cookie: __Host-martlet-people=; Path=/; Max-Age=0; "))
            let after = try await client.say(Self.get("/people", cookie), hear: "</html>\n")
            #expect(after.contains("type=\"password\""))
        }
    }

    @Test("a session is over when the account's credentials are other ones")
    func changedCredentials() async throws {
        try await with { server, client in
            let cookie = try await Self.logIn("juliet", client)
            let before = try await client.say(Self.get("/people", cookie), hear: "</html>\n")
            #expect(!before.contains("type=\"password\""))
            try await Self.changePassword(server)
            let after = try await client.say(Self.get("/people", cookie), hear: "</html>\n")
            #expect(after.contains("type=\"password\""))
        }
    }

    // MARK: Photos

    @Test("a photo is given to whom its address was shown, as what it is")
    func photo() async throws {
        try await with { _, client in
            let cookie = try await Self.logIn("juliet", client)
            let page = try await client.say(Self.get("/people?q=romeo", cookie), hear: "</html>\n")
            let start = try #require(page.firstRange(of: "<img src=\"")).upperBound
            let path = String(page[start...].prefix { $0 != "\"" })
            let head = try await client.say(WebListenerTests.request(path, "HEAD", [cookie]), hear: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 200 ") && head.contains("Content-Type: image/jpeg\r\n") && head.contains("Content-Length: \(Self.photo.count)\r\n"))
            #expect(head.contains("Cache-Control: private, max-age=604800, immutable\r\n") && head.contains("X-Content-Type-Options: nosniff\r\n"))
            for (path, cookie) in [(path + "x", cookie), (path.replacing("/romeo", with: "/juliet"), cookie), (path, "X: y"), (path, try await Self.logIn("romeo", client))] {
                _ = try await client.say(Self.get(path, cookie), hear: "HTTP/1.1 404 ")
                _ = try await client.hear("there is nothing here\n")
            }
        }
    }

    // MARK: Presence

    @Test("whoever may see a presence sees it as it is, and what becomes of it, without asking again; nothing of those whom he may not see")
    func presence() async throws {
        try await with { server, client in
            let cookie = try await Self.logIn("juliet", client)
            let page = try await client.say(Self.get("/people?q=romeo", cookie), hear: "</html>\n")
            #expect(page.contains("presence offline"))
            let events = try await client.say(Self.get("/people/events?ids=romeo,stranger", cookie), hear: "\"id\":\"stranger\",\"show\":\"unknown\",\"text\":\"\"}")
            #expect(events.hasPrefix("HTTP/1.1 200 ") && events.contains("Content-Type: text/event-stream; charset=utf-8\r\n"))
            #expect(events.contains("data: {\"id\":\"romeo\",\"show\":\"offline\",\"text\":\"offline\"}"))
            let romeo = try await TestClient.connect(to: try #require(server.service.ports.last))
            try await romeo.logIn("romeo")
            try await romeo.send("<presence><show>dnd</show><status>In a &lt;b>meeting</status></presence>")
            _ = try await client.hear("data: {\"id\":\"romeo\",\"show\":\"dnd\",\"text\":\"In a <b>meeting\"}\n\n")
            try await romeo.send("</stream:stream>")
            _ = try await client.hear("\"id\":\"romeo\",\"show\":\"offline\"")
            try await romeo.close()
        }
    }

    @Test("so many pages of a network are kept up, and places are free again when browsers go", arguments: [true, false])
    func streams(isOfNetwork: Bool) async throws {
        try await with {
            if isOfNetwork { $0.web.people.streamsPerNetworkMax = 1 } else { $0.web.people.streamsMax = 1 }
            $0.web.people.requestsBurst = 1_000_000
        } _: { server, client in
            let cookie = try await Self.logIn("juliet", client)
            let port = try #require(server.service.ports.first)
            let first = try await TestClient.connect(to: port)
            _ = try await first.say(Self.get("/people/events?ids=romeo", cookie), hear: "\"id\":\"romeo\"")
            _ = try await client.say(Self.get("/people/events?ids=romeo", cookie), hear: "HTTP/1.1 429 ")
            _ = try await client.hear("too many pages are kept up\n")
            try await first.close()
            // The server hears of it when its loop comes to it.
            while try await !client.say(Self.get("/people/events?ids=romeo", cookie), hear: "\r\n\r\n").hasPrefix("HTTP/1.1 200 ") {
                _ = try await client.hear("too many pages are kept up\n")
            }
            _ = try await client.hear("\"id\":\"romeo\"")
        }
    }

    @Test("so many are asked for, and not more")
    func ids() async throws {
        try await with { _, client in
            let cookie = try await Self.logIn("juliet", client)
            let most = (1...PeopleEvents.peopleMax).map { "a\($0)" }.joined(separator: ",")
            _ = try await client.say(Self.get("/people/events?ids=\(most),more", cookie), hear: "HTTP/1.1 400 ")
            _ = try await client.hear("each once\n")
            _ = try await client.say(Self.get("/people/events?ids=\(most)", cookie), hear: "HTTP/1.1 200 ")
            _ = try await client.hear("\"id\":\"a200\"")
        }
    }

    @Test("a stream says something now and then, and ends when its time is over, and when who looks is out")
    func ends() async throws {
        try await with { $0.web.people.heartbeat = .milliseconds(50) } _: { server, client in
            let cookie = try await Self.logIn("juliet", client)
            _ = try await client.say(Self.get("/people/events?ids=romeo", cookie), hear: "\r\n:\n\n")
            try await Self.changePassword(server)
            _ = try await client.hear("0\r\n\r\n")
        }
        try await with {
            $0.web.people.heartbeat = .milliseconds(50)
            $0.web.people.streamLifetime = .milliseconds(100)
        } _: { _, client in
            let cookie = try await Self.logIn("juliet", client)
            _ = try await client.say(Self.get("/people/events?ids=romeo", cookie), hear: "0\r\n\r\n")
        }
    }

    @Test("a network asks so often at once, and not more")
    func tooOften() async throws {
        try await with {
            $0.web.people.requestsBurst = 3
            $0.web.people.requestRecovery = .hours(1)
        } _: { _, client in
            for _ in 0..<3 { _ = try await client.say(Self.get("/people/login"), hear: "200 OK") }
            _ = try await client.say(Self.get("/people/login"), hear: "HTTP/1.1 429 ")
        }
    }
}
