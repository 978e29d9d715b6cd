import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("XEP-0077 In-Band Registration")
struct InBandRegistrationTests {
    private static func settings(_ offer: RegistrationSettings.Offer = .open, _ change: (inout RegistrationSettings) -> Void = { _ in }) -> RegistrationSettings {
        var settings = RegistrationSettings()
        settings.offer = offer
        settings.reservedNames = ["admin"]
        change(&settings)
        return settings
    }

    /// What was recorded.
    private final class Record: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
        var all: [AuditEvent] { events.withLock { $0 } }
    }

    private func wish(_ name: String, _ password: String) -> String {
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>\(name)</username><password>\(password)</password></query></iq>"
    }

    /// The condition of a refusal, or that there was none.
    private func outcome(_ answer: RegistrationAnswer?) -> String {
        switch answer {
        case nil: "nobody listens"
        case .form: "form"
        case .admitted: "admitted"
        case .registered: "registered"
        case .refused(let error): error.condition.rawValue
        }
    }

    private func isPassword(_ password: String, of name: String, on server: TestServer) -> Bool? {
        let address = server.address(name)
        guard let prepared = PreparedPassword(password) else { return nil }
        return server.wait { [store = server.store] in
            guard let keys = try? await store.credentials(of: address)?.credentials.first else { return false }
            return keys.verify(prepared)
        }
    }

    private func exists(_ name: String, on server: TestServer) -> Bool? {
        let address = server.address(name)
        return server.wait { [store = server.store] in (try? await store.credentials(of: address)) != nil }
    }

    @Test("who has logged in while the password changed is told so and gets no session, neither a new one nor an earlier one; the audit log says so")
    func changedMeanwhile() throws {
        let record = Record()
        let server = TestServer(audit: record)
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(juliet.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        juliet.breakConnection()
        let moment = server.router.credentials.now
        let (router, mailbox, address) = (server.router, server.context.mailbox, server.address("juliet"))
        _ = server.wait { try? await router.setCredentials(of: address, [], by: "test", on: mailbox) }
        #expect(server.client("juliet/phone", authenticatedAt: moment).closing?.condition == .notAuthorized)
        #expect(server.resume("juliet", previous: id, handled: 0, authenticatedAt: moment).session == nil)
        let refusals = record.all.compactMap { if case .refused(let refusal) = $0 { refusal } else { nil } }
        #expect(refusals.map(\.actor) == ["juliet@capulet.example", "juliet@capulet.example"])
        #expect(refusals.allSatisfy { $0.action.hasPrefix("begin a session from ") && $0.reason == "the account was changed after the log-in" })
        #expect(server.client("juliet/phone", authenticatedAt: server.router.credentials.now).session != nil)
    }

    // MARK: Before log-in

    @Test("nobody listens to strangers unless registration is open")
    func closed() {
        #expect(outcome(TestServer().stranger(wish("juliet", "secret"))) == "nobody listens")
        #expect(outcome(TestServer(registration: Self.settings(.closed)).stranger(wish("juliet", "secret"))) == "nobody listens")
    }

    @Test("what is asked for is told by a form, and by elements for clients that know none (§3.1, §4)")
    func form() throws {
        let server = TestServer(registration: Self.settings())
        let answer = server.stranger("<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>")
        guard case .form(let payload) = answer else {
            Issue.record("no form: \(outcome(answer))")
            return
        }
        let query = try parseElement(payload, limits: .authenticated)
        #expect(query.children.map(\.localName) == ["instructions", "username", "password", "x"])
        let form = try DataForm(try #require(query.firstChild("x", .dataForms)))
        #expect(form.type == "jabber:iq:register" && form.fields.filter(\.isRequired).map(\.name) == ["username", "password"])
    }

    @Test("no account is made that no password lets in, and that is said whether there is one of that name or not")
    func passwordless() throws {
        let record = Record()
        let server = TestServer(audit: record, registration: Self.settings())
        server.createAccount("nurse")
        var rule = LoginRule(number: 1)
        rule.isStrong = true
        rule.accounts = [server.address("juliet"), server.address("nurse")]
        for name in ["juliet", "nurse"] { #expect(outcome(server.stranger(wish(name, "a good password"), [rule])) == "not-allowed") }
        #expect(exists("juliet", on: server) == false)
        let refusals = record.all.filter { if case .refused(let refusal) = $0 { refusal.reason == "no password lets it in" } else { false } }
        #expect(refusals.count == 2)
        #expect(outcome(server.stranger(wish("rosaline", "a good password"), [rule])) == "registered")
        rule.accounts = []
        #expect(outcome(server.stranger(wish("tybalt", "a good password"), [rule])) == "not-allowed")
    }

    @Test("whoever has sent a name and a password has an account, by elements or by the form")
    func registered() {
        let record = Record()
        let server = TestServer(audit: record, registration: Self.settings())
        #expect(outcome(server.stranger(wish("Juliet", "secret"))) == "registered")
        #expect(isPassword("secret", of: "juliet", on: server) == true)
        let form = """
            <iq type='set' id='r'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>jabber:iq:register</value></field>\
            <field var='username'><value>romeo</value></field><field var='password'><value>other</value></field></x></query></iq>
            """
        #expect(outcome(server.stranger(form)) == "registered")
        #expect(isPassword("other", of: "romeo", on: server) == true)
        #expect(record.all == ["juliet", "romeo"].map { .accountCreated(server.address($0), by: "registration from 192.0.2.1") })
    }

    @Test("a name that was asked after before it was registered is there at once")
    func rememberedAbsence() {
        let server = TestServer(registration: Self.settings())
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat' id='1'><body>Hi</body></message>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        #expect(outcome(server.stranger(wish("juliet", "secret"))) == "registered")
        romeo.send("<message to='juliet@capulet.example' type='chat' id='2'><body>Hi</body></message>")
        #expect(romeo.received().isEmpty)
    }

    @Test("names that are taken, kept or none, and passwords that are none, are refused", arguments: [
        ("romeo", "secret", "conflict"), ("ROMEO", "secret", "conflict"), ("admin", "secret", "conflict"), ("Admin", "secret", "conflict"),
        ("", "secret", "not-acceptable"), ("ju liet", "secret", "not-acceptable"), ("ju@liet", "secret", "not-acceptable"),
        (String(repeating: "a", count: 1_023), "secret", "registered"), (String(repeating: "a", count: 1_024), "secret", "not-acceptable"),
        ("juliet", "", "not-acceptable"), ("juliet", "a\tb", "not-acceptable"),
        ("juliet", String(repeating: "a", count: PreparedPassword.bytesMax), "registered"),
        ("juliet", String(repeating: "a", count: PreparedPassword.bytesMax + 1), "not-acceptable"),
    ])
    func refused(name: String, password: String, expected: String) {
        let server = TestServer(registration: Self.settings())
        server.createAccount("romeo")
        #expect(outcome(server.stranger(wish(name, password))) == expected)
    }

    @Test("a stranger removes nothing (§3.2), and a submission of another form is none")
    func malformed() {
        let server = TestServer(registration: Self.settings())
        #expect(outcome(server.stranger("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>")) == "unexpected-request")
        let form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>other</value></field></x>"
        #expect(outcome(server.stranger("<iq type='set' id='r'><query xmlns='jabber:iq:register'>\(form)</query></iq>")) == "bad-request")
        #expect(outcome(server.stranger("<iq type='set' id='r'><preauth xmlns='urn:xmpp:pars:0' token='x'/></iq>")) == "item-not-found")
    }

    @Test("an account that the disk does not take is not there")
    func fullDisk() {
        let server = TestServer(registration: Self.settings())
        server.store.failSubmits(with: .full)
        #expect(outcome(server.stranger(wish("juliet", "secret"))) == "resource-constraint")
    }

    // MARK: Passwords

    @Test("who asks learns his name, never his password (§3.1)", arguments: [nil, "capulet.example"])
    func current(to: String?) {
        let server = TestServer()
        let juliet = server.client("juliet/balcony")
        juliet.send("<iq type='get' id='g'\(to.map { " to='\($0)'" } ?? "")><query xmlns='jabber:iq:register'/></iq>")
        let query = juliet.received().first?.child("query")
        #expect(query?.children.map(\.localName) == ["registered", "username", "password"])
        #expect(query?.children.map(\.text) == ["", "juliet", ""])
    }

    @Test("a new password ends the account's other sessions, and not the one that set it (§3.3)", arguments: [nil, "capulet.example"])
    func passwordChange(to: String?) {
        let record = Record()
        let server = TestServer(audit: record)
        let (juliet, phone) = (server.online("juliet/balcony"), server.online("juliet/phone"))
        juliet.forget()
        juliet.send(wish("juliet", "new").replacing("type='set'", with: "type='set'" + (to.map { " to='\($0)'" } ?? "")))
        #expect(juliet.receivedBesidesPresence().map { $0.element.attribute("type") } == ["result"])
        #expect(!juliet.isClosed && phone.isClosed && phone.closing?.condition == .reset)
        #expect(isPassword("new", of: "juliet", on: server) == true)
        #expect(record.all.contains(.passwordChanged(server.address("juliet"), by: "juliet@capulet.example")))
    }

    @Test("nobody sets another's password, and none that is none (§3.3)")
    func refusedPasswords() {
        let server = TestServer()
        server.createAccount("romeo")
        let juliet = server.client("juliet/balcony")
        juliet.send(wish("romeo", "new"))
        juliet.send(wish("juliet", ""))
        juliet.send(wish("juliet", "a\tb"))
        juliet.send("<iq type='set' id='r' to='romeo@capulet.example'><query xmlns='jabber:iq:register'><username>romeo</username><password>x</password></query></iq>")
        #expect(juliet.received().map(\.error) == ["cancel/not-allowed", "modify/bad-request", "modify/not-acceptable", "cancel/service-unavailable"])
        #expect(isPassword("new", of: "romeo", on: server) == false)
    }

    @Test("an account of another domain changes nothing here")
    func otherDomain() {
        let server = TestServer(domains: ["capulet.example", "montague.example"])
        let romeo = server.client("juliet@montague.example/orchard")
        romeo.send(wish("juliet", "new").replacing("type='set'", with: "type='set' to='capulet.example'"))
        #expect(romeo.received().map(\.error) == ["cancel/not-allowed"])
    }

    @Test("the operator may switch off passwords, and all of it")
    func switchedOff() {
        let server = TestServer(registration: Self.settings(.open) { $0.changesPasswords = false })
        let juliet = server.client("juliet/balcony")
        juliet.send(wish("juliet", "new"))
        #expect(juliet.received().map(\.error) == ["cancel/not-allowed"])
        let nothing = TestServer(registration: Self.settings(.closed) { $0.changesPasswords = false })
        let romeo = nothing.client("romeo/orchard")
        romeo.send(wish("romeo", "new"))
        romeo.send("<iq type='get' id='d' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let answers = romeo.received()
        #expect(answers.first?.error == "cancel/service-unavailable")
        #expect(answers.last?.description.contains("jabber:iq:register") == false)
    }

    @Test("a password that breaks a rule is refused with the rule, for a new account as for an old one (§3.1, §3.3)")
    func rules() throws {
        let refused = try #require(RefusedPasswords(lines: Array("12345678".utf8)))
        let server = TestServer(registration: Self.settings { $0.passwords = PasswordRules(charactersMin: 8, refused: refused) })
        for password in ["1234567", "12345678", "newcomer"] { #expect(outcome(server.stranger(wish("newcomer", password))) == "not-acceptable") }
        #expect(exists("newcomer", on: server) == false)
        #expect(outcome(server.stranger(wish("newcomer", "12345679"))) == "registered")
        let juliet = server.client("juliet/balcony")
        juliet.send("<iq type='set' id='p'><query xmlns='jabber:iq:register'><username>juliet</username><password>1234567</password></query></iq>")
        let answer = juliet.received().last
        #expect(answer?.error == "modify/not-acceptable")
        #expect(answer?.description.contains("at least 8 characters") == true)
    }

    // MARK: Removal

    private let removal = "<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>"

    @Test("who removes his account is answered before his session ends; his other sessions end, and his contacts hear it (§3.2)")
    func removed() {
        let record = Record()
        let server = TestServer(audit: record, registration: Self.settings(.closed) { $0.removesAccounts = true })
        server.befriend("juliet", "romeo")
        let (juliet, phone, romeo) = (server.online("juliet/balcony"), server.online("juliet/phone"), server.online("romeo/orchard"))
        for client in [juliet, phone, romeo] { client.forget() }
        juliet.send(removal)
        #expect(juliet.receivedBesidesPresence() == ["<iq type='result' id='x' to='juliet@capulet.example/balcony'/>"])
        #expect(juliet.closing?.condition == .notAuthorized && phone.closing?.condition == .notAuthorized)
        let heard = romeo.received().filter { $0.element.localName == "presence" }.compactMap { $0.element.attribute("type") }
        #expect(heard.contains("unsubscribed") && heard.contains("unsubscribe") && heard.contains("unavailable"))
        #expect(isPassword("secret", of: "juliet", on: server) == false)
        #expect(record.all.contains(.accountDeleted(server.address("juliet"), by: "juliet@capulet.example")))
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("the files of an account go with it at once, whoever deletes it, and nobody else's", arguments: [true, false])
    func removedFiles(byItsClient isOwn: Bool) throws {
        let server = TestServer(registration: Self.settings(.closed) { $0.removesAccounts = true })
        let (juliet, store) = (server.online("juliet/balcony"), server.store)
        _ = server.online("romeo/orchard")
        let addresses = [server.address("juliet"), server.address("romeo")]
        let ids = try #require(server.wait { () -> [AccountID] in
            var ids: [AccountID] = []
            for address in addresses { if let id = try? await store.credentials(of: address)?.id { ids.append(id) } }
            return ids
        })
        let keys = ids.map { FileKey(owner: $0, name: "00112233445566778899aabbccddeeff") }
        for key in keys { server.files.set(key, ByteBuffer(string: "soft!")) }
        let (router, mailbox) = (server.router, server.context.mailbox)
        if isOwn {
            juliet.send(removal)
        } else {
            _ = server.wait { try? await router.delete(addresses[0], by: "operator", on: mailbox) }
        }
        let files = server.files
        #expect(server.wait { try? await files.owners() } == [ids[1]])
    }

    @Test("whoever is in 'from', only the account's own sessions change and remove it (§3.2, §3.3)", arguments: [
        "<remove/>", "<username>juliet</username><password>stolen</password>",
    ])
    func notBySession(_ content: String) {
        let server = TestServer(registration: Self.settings(.closed) { $0.removesAccounts = true; $0.changesPasswords = true })
        server.createAccount("juliet")
        // What every other check has missed.
        let peer = TestPeer(server, ["capulet.example": "capulet.example"])
        peer.send("<iq from='juliet@capulet.example/x' to='capulet.example' id='x' type='set'><query xmlns='jabber:iq:register'>\(content)</query></iq>")
        #expect(isPassword("stolen", of: "juliet", on: server) == false && exists("juliet", on: server) == true)
    }

    @Test("a component may remove an account in its name where the operator lets it (XEP-0356)")
    func removedInName() throws {
        var component = ComponentSettings(try BareJID(parsing: "steward.capulet.example"), domain: try BareJID(parsing: "capulet.example"), secret: [1])
        component.powers.domains = [component.domain]
        component.powers.privileges.requests = ["jabber:iq:register": .set]
        let server = TestServer(registration: Self.settings(.closed) { $0.removesAccounts = true }, components: [component])
        server.createAccount("juliet")
        TestComponent(server, "steward.capulet.example").send("""
            <iq from='steward.capulet.example' to='juliet@capulet.example' id='1' type='set'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
            <iq xmlns='jabber:client' id='p' type='set'><query xmlns='jabber:iq:register'><remove/></query></iq></privileged_iq></iq>
            """)
        #expect(exists("juliet", on: server) == false)
    }

    @Test("removal is off unless the operator allows it, and goes with nothing else (§3.2)")
    func refusedRemoval() {
        let server = TestServer()
        let juliet = server.client("juliet/balcony")
        juliet.send(removal)
        #expect(juliet.received().map(\.error) == ["cancel/not-allowed"] && !juliet.isClosed)
        let other = TestServer(registration: Self.settings(.closed) { $0.removesAccounts = true })
        let romeo = other.client("romeo/orchard")
        romeo.send(removal.replacing("<remove/>", with: "<remove/><username>romeo</username>"))
        #expect(romeo.received().map(\.error) == ["modify/bad-request"] && !romeo.isClosed)
    }
}
