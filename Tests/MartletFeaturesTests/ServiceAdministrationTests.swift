import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("XEP-0133 Service Administration")
struct ServiceAdministrationTests {
    /// What was recorded.
    private final class Record: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
        var all: [AuditEvent] { events.withLock { $0 } }
    }

    private let record = Record()
    private let server: TestServer
    private let admin: TestClient

    init() throws {
        let chief = try BareJID(parsing: "chief@capulet.example")
        let other = try BareJID(parsing: "other@capulet.example")
        server = TestServer(policy: AccessPolicy(admins: [chief], elsewhere: [chief, other], audit: record), audit: record)
        admin = server.online("chief/desk")
    }

    private static let type = "http://jabber.org/protocol/admin"

    private func command(_ node: String, _ fields: [(String, [String])]? = nil, session: String? = nil, action: String = "execute") -> String {
        let form = fields.map { fields in
            let inner = fields.map { name, values in "<field var='\(name)'>\(values.map { "<value>\($0)</value>" }.joined())</field>" }.joined()
            return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>\(Self.type)</value></field>\(inner)</x>"
        }
        let session = session.map { " sessionid='\($0)'" } ?? ""
        return """
            <iq type='set' id='c' to='capulet.example'><command xmlns='http://jabber.org/protocol/commands' node='\(Self.type)#\(node)' action='\(action)'\(session)>\
            \(form ?? "")</command></iq>
            """
    }

    /// Answers a command's form at once, as whoever knows it may.
    private func execute(_ node: String, _ fields: [(String, [String])], by client: TestClient? = nil) -> TestStanza? {
        let client = client ?? admin
        client.forget()
        client.send(command(node, fields))
        return client.received().last { $0.element.localName == "iq" }
    }

    private func notes(_ answer: TestStanza?) -> [String] {
        answer?.child("command")?.children.filter { $0.localName == "note" }.map { "\($0.attribute("type") ?? ""): \($0.text)" } ?? []
    }

    private func values(_ field: String, in answer: TestStanza?) -> [String]? {
        let x = answer?.child("command")?.firstChild("x", .dataForms)
        return x?.children.first { $0.attribute("var") == field }?.children.map(\.text)
    }

    /// Whether an account may log in; `nil` if there is none.
    private func isEnabled(_ name: String) -> Bool? {
        let address = server.address(name)
        return server.wait { [store = server.store] in (try? await store.credentials(of: address))?.isEnabled } ?? nil
    }

    // MARK: Who may

    @Test("only administrators see the commands and are let (§7)")
    func audience() {
        let juliet = server.online("juliet/balcony")
        let list = "<iq type='get' id='l' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>"
        for (client, isAdmin) in [(admin, true), (juliet, false)] {
            client.forget()
            client.send(list)
            let nodes = client.received().first?.child("query")?.children.compactMap { $0.attribute("node") } ?? []
            #expect(nodes.contains("\(Self.type)#add-user") == isAdmin)
            client.send("<iq type='get' id='i' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info' node='\(Self.type)#add-user'/></iq>")
            #expect(client.received().map(\.error) == [isAdmin ? nil : "auth/forbidden"])
        }
        juliet.send(command("add-user"))
        #expect(juliet.received().map(\.error) == ["auth/forbidden"])
        #expect(record.all.contains { if case .refused(let refusal) = $0 { refusal.actor == "juliet@capulet.example" } else { false } })
        admin.send(command("no-such-thing"))
        #expect(admin.received().map(\.error) == ["cancel/item-not-found"])
    }

    @Test("an account that was made with the admin role is an administrator's, one of another domain is not")
    func marked() {
        server.createAccount("marked", isAdmin: true)
        let marked = server.online("marked/desk")
        marked.send(command("add-user"))
        #expect(marked.received().map(\.error) == [nil])
        let two = TestServer(domains: ["capulet.example", "montague.example"])
        two.createAccount("chief@montague.example", isAdmin: true)
        let stranger = two.client("chief@montague.example/desk")
        stranger.send(command("add-user"))
        #expect(stranger.received().map(\.error) == ["auth/forbidden"])
    }

    // MARK: Accounts

    @Test("a command asks by a form, and does what was filled in (§4.1)")
    func addUser() throws {
        admin.send(command("add-user"))
        let asked = try #require(admin.received().first?.child("command"))
        let form = try DataForm(try #require(asked.firstChild("x", .dataForms)))
        #expect(asked.attribute("status") == "executing" && form.type == Self.type)
        #expect(form.fields.compactMap(\.name) == ["FORM_TYPE", "accountjid", "password", "password-verify"])
        let fields = [("accountjid", ["juliet@capulet.example"]), ("password", ["secret"]), ("password-verify", ["secret"])]
        admin.send(command("add-user", fields, session: asked.attribute("sessionid"), action: "complete"))
        let done = admin.received().first
        #expect(done?.child("command")?.attribute("status") == "completed" && notes(done) == ["info: juliet@capulet.example has an account now"])
        #expect(isEnabled("juliet") == true)
        #expect(record.all.contains(.accountCreated(server.address("juliet"), by: "chief@capulet.example")))
    }

    @Test("an account that is there, elsewhere, or has no good password is not made", arguments: [
        ("romeo@capulet.example", "secret", "secret", "cancel/conflict"), ("juliet@capulet.example", "secret", "other", "modify/bad-request"),
        ("juliet@montague.example", "secret", "secret", "cancel/not-allowed"), ("capulet.example", "secret", "secret", "cancel/not-allowed"),
        ("juliet@capulet.example", "a\tb", "a\tb", "modify/not-acceptable"), ("@", "secret", "secret", "modify/jid-malformed"),
    ])
    func refusedUsers(address: String, password: String, again: String, error: String) {
        server.createAccount("romeo")
        #expect(execute("add-user", [("accountjid", [address]), ("password", [password]), ("password-verify", [again])])?.error == error)
    }

    @Test("users are disabled and enabled again, and their sessions end (§4.3, §4.4)")
    func disabled() {
        let juliet = server.online("juliet/balcony")
        #expect(notes(execute("disable-user", [("accountjids", ["juliet@capulet.example"])])) == ["info: juliet@capulet.example is disabled"])
        #expect(juliet.closing?.condition == .notAuthorized)
        #expect(isEnabled("juliet") == false)
        #expect(values("disabledusersnum", in: execute("get-disabled-users-num", [])) == ["1"])
        #expect(notes(execute("reenable-user", [("accountjids", ["juliet@capulet.example"])])) == ["info: juliet@capulet.example is enabled"])
        #expect(isEnabled("juliet") == true)
    }

    @Test("of several users each is told of, and what cannot be done keeps nothing else from being done (§4.2)")
    func deleted() {
        server.createAccount("juliet")
        server.createAccount("romeo")
        let answer = execute("delete-user", [("accountjids", ["juliet@capulet.example", "nobody@capulet.example", "romeo@capulet.example"])])
        #expect(notes(answer).map { $0.prefix(5) } == ["info:", "error", "info:"])
        #expect(isEnabled("juliet") == nil && isEnabled("romeo") == nil)
        #expect(record.all.contains(.accountDeleted(server.address("romeo"), by: "chief@capulet.example")))
    }

    @Test("so many users at once, and no more")
    func accountsMax() {
        let names = (0...ServiceAdministration.accountsMax).map { "nobody\($0)@capulet.example" }
        #expect(notes(execute("delete-user", [("accountjids", Array(names.dropLast()))])).count == ServiceAdministration.accountsMax)
        #expect(execute("delete-user", [("accountjids", names)])?.error == "modify/not-acceptable")
        #expect(execute("delete-user", [("accountjids", [])])?.error == "modify/bad-request")
    }

    @Test("nobody changes the account of an administrator, of this domain or another, from a client", arguments: ["chief", "other", "marked"])
    func administrators(name: String) {
        server.createAccount("other")
        server.createAccount("marked", isAdmin: true)
        let address = "\(name)@capulet.example"
        for node in ["delete-user", "disable-user", "reenable-user"] {
            #expect(notes(execute(node, [("accountjids", [address])])).map { $0.prefix(5) } == ["error"])
        }
        #expect(execute("change-user-password", [("accountjid", [address]), ("password", ["new"])])?.error == "cancel/not-allowed")
        #expect(isEnabled(name) == true)
    }

    @Test("a user's password is changed, and all its sessions end (§4.6)")
    func password() {
        let juliet = server.online("juliet/balcony")
        #expect(execute("change-user-password", [("accountjid", ["juliet@capulet.example"]), ("password", ["new"])])?.error == nil)
        #expect(juliet.closing?.condition == .reset)
        #expect(record.all.contains(.passwordChanged(server.address("juliet"), by: "chief@capulet.example")))
    }

    // MARK: Sessions, numbers, lists

    @Test("sessions end that are named, or all of an account that is (§4.5)")
    func endSessions() {
        let (one, two, three) = (server.online("juliet/one"), server.online("juliet/two"), server.online("romeo/three"))
        _ = execute("end-user-session", [("accountjids", ["juliet@capulet.example/one"])])
        #expect(one.isClosed && !two.isClosed && !three.isClosed)
        #expect(notes(execute("end-user-session", [("accountjids", ["juliet@capulet.example"])])) == ["info: sessions that are told to end: 1"])
        #expect(two.closing?.condition == .policyViolation && !three.isClosed)
        #expect(record.all.contains(.sessionClosed(one.address, by: "chief@capulet.example")))
    }

    @Test("numbers and lists are of the domain's accounts (§4.13–§4.22)")
    func numbers() {
        _ = server.online("juliet/balcony")
        _ = server.client("romeo/orchard")
        server.createAccount("tybalt")
        #expect(values("registeredusersnum", in: execute("get-registered-users-num", [])) == ["4"])
        #expect(values("onlineusersnum", in: execute("get-online-users-num", [])) == ["3"])
        #expect(values("activeusersnum", in: execute("get-active-users-num", [])) == ["2"])
        #expect(values("registereduserjids", in: execute("get-registered-users-list", [("max_items", ["2"])])) == ["chief@capulet.example", "juliet@capulet.example"])
        #expect(values("onlineuserjids", in: execute("get-online-users-list", [("max_items", ["none"])]))?.count == 3)
        #expect(execute("get-online-users-list", [("max_items", ["\(ServiceAdministration.listedMax + 1)"])])?.error == "modify/not-acceptable")
    }

    @Test("when somebody was last online, and by which sessions he is (§4.9, §4.10)")
    func statistics() {
        let juliet = server.online("juliet/balcony")
        server.createAccount("romeo")
        #expect(values("onlineresources", in: execute("user-stats", [("accountjid", ["juliet@capulet.example"])])) == ["balcony"])
        #expect(values("lastlogin", in: execute("get-user-lastlogin", [("accountjids", ["juliet@capulet.example", "romeo@capulet.example"])])) == ["online", "never"])
        juliet.disconnect()
        #expect(values("lastlogin", in: execute("get-user-lastlogin", [("accountjids", ["juliet@capulet.example"])]))?.first?.hasSuffix("Z") == true)
        #expect(execute("user-stats", [("accountjid", ["nobody@capulet.example"])])?.error == "cancel/item-not-found")
    }

    // MARK: Announcements

    @Test("an announcement reaches everybody who is available, and nobody else (§4.23)")
    func announced() {
        let (juliet, romeo) = (server.online("juliet/balcony"), server.client("romeo/orchard"))
        juliet.forget()
        let answer = execute("announce", [("subject", ["Tonight"]), ("announcement", ["The server", "rests."])])
        #expect(notes(answer) == ["info: sessions that it goes to: 2"])
        #expect(juliet.received() == [
            "<message type='headline' from='capulet.example' to='juliet@capulet.example/balcony'><subject>Tonight</subject><body>The server\nrests.</body></message>"
        ])
        #expect(romeo.received().isEmpty)
        #expect(record.all.contains(.announced(server.domain, sessions: 2, by: "chief@capulet.example")))
    }

    @Test("an announcement has a text, of so many bytes")
    func announcementBytes() {
        let text = String(repeating: "a", count: ServiceAdministration.announcementBytesMax)
        #expect(execute("announce", [("announcement", [text])])?.error == nil)
        #expect(execute("announce", [("announcement", [text + "a"])])?.error == "modify/not-acceptable")
        #expect(execute("announce", [("announcement", [""])])?.error == "modify/bad-request")
    }

    @Test("a form of another type, and a session of somebody else, are refused as XEP-0050 says (§4.4)")
    func foreign() {
        admin.send(command("add-user").replacing("</command>", with: "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>x</value></field></x></command>"))
        #expect(admin.received().map(\.error) == ["modify/bad-request"])
        admin.send(command("add-user", [], session: "none", action: "complete"))
        #expect(admin.received().map(\.error) == ["cancel/not-allowed"])
    }
}
