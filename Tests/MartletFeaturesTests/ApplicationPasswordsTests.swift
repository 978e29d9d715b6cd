import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Passwords for applications, by commands of the domain (XEP-0050)")
struct ApplicationPasswordsTests {
    private static let commands = "http://jabber.org/protocol/commands"
    private static let node = "urn:x-martlet:application-passwords"
    private let server: TestServer
    private let own: [ScramKeys]

    init() throws {
        let chief = try BareJID(parsing: "chief@capulet.example")
        var registration = RegistrationSettings()
        registration.removesAccounts = true
        server = TestServer(policy: AccessPolicy(admins: [chief]), registration: registration)
        let password = try #require(PreparedPassword("pencil"))
        own = try KeyPolicy(hashes: [.sha256], iterations: ScramKeys.iterationRange.lowerBound).keys(of: password)
        for name in ["juliet", "chief"] { server.createAccount(name, credentials: own) }
    }

    private func ask(_ kind: String, _ payload: String, to: String = "capulet.example", by client: TestClient) -> TestStanza? {
        client.forget()
        client.send("<iq type='\(kind)' id='c' to='\(to)'>\(payload)</iq>")
        return client.received().last { $0.element.localName == "iq" }
    }

    private func execute(_ action: String, name: String? = nil, by client: TestClient) -> TestStanza? {
        let form = name.map { name in
            """
            <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\(Self.node)</value></field>\
            <field var='name'><value>\(name)</value></field></x>
            """
        }
        return ask("set", "<command xmlns='\(Self.commands)' node='\(Self.node)#\(action)' action='execute'>\(form ?? "")</command>", by: client)
    }

    private func value(_ field: String, in answer: TestStanza?) -> [String] {
        let form = answer?.child("command")?.firstChild("x", .dataForms)
        return form?.children.first { $0.attribute("var") == field }?.children.map(\.text) ?? []
    }

    private func text(_ answer: TestStanza?) -> String { answer?.description ?? "nothing" }

    private func stored() -> [StoredApplicationPassword] { server.store.contents[server.address("juliet")]?.applicationPasswords.passwords ?? [] }

    @Test("the server makes one and tells it once; it is kept as keys with the account's own salt")
    func add() throws {
        let juliet = server.client("juliet/balcony")
        #expect(text(execute("add", by: juliet)).contains("<required/>"))
        let answer = execute("add", name: "mail program", by: juliet)
        let password = try #require(value("password", in: answer).first)
        #expect(password.split(separator: "-").map(\.count) == Array(repeating: 4, count: 7))
        let kept = try #require(stored().first)
        #expect(kept.name == "mail program" && kept.created == server.context.wallMilliseconds && kept.lastUsed == nil)
        #expect(kept.keys == (try own.remade(of: try #require(PreparedPassword(password)))))
        let list = text(execute("list", by: juliet))
        #expect(list.contains("mail program: made on 2020-09-13, never used") && !list.contains(password))
    }

    @Test("a name that is there, one that is none, and one too many are refused")
    func refused() {
        let juliet = server.client("juliet/balcony")
        _ = execute("add", name: "mail", by: juliet)
        #expect(text(execute("add", name: "mail", by: juliet)).contains("<conflict"))
        for name in ["", "   ", String(repeating: "x", count: StoredApplicationPassword.nameBytesMax + 1)] {
            #expect(text(execute("add", name: name, by: juliet)).contains("<bad-request"))
        }
        _ = execute("add", name: String(repeating: "x", count: StoredApplicationPassword.nameBytesMax), by: juliet)
        for number in 2..<StoredApplicationPassword.perAccountMax { _ = execute("add", name: "\(number)", by: juliet) }
        #expect(stored().count == StoredApplicationPassword.perAccountMax)
        #expect(text(execute("add", name: "more", by: juliet)).contains("<conflict"))
        #expect(text(execute("revoke", name: "other", by: juliet)).contains("<conflict"))
    }

    @Test("revoking one ends the sessions that came in by it, and no others")
    func revoke() {
        let juliet = server.client("juliet/balcony")
        #expect(text(execute("revoke", by: juliet)).contains("no passwords"))
        for name in ["mail", "phone"] { _ = execute("add", name: name, by: juliet) }
        let mail = server.client("juliet/mail", application: "mail")
        let phone = server.client("juliet/phone", application: "phone")
        #expect(text(execute("revoke", by: juliet)).contains("<value>phone</value>"))
        #expect(text(execute("revoke", name: "mail", by: juliet)).contains("completed"))
        #expect(mail.closing?.condition == .notAuthorized)
        #expect(phone.closing == nil && juliet.closing == nil)
        #expect(stored().map(\.name) == ["phone"])
    }

    @Test("who has come in by one and has no session yet when it is revoked gets none")
    func race() {
        let moment = server.router.credentials.now
        let juliet = server.client("juliet/balcony")
        _ = execute("add", name: "mail", by: juliet)
        _ = execute("revoke", name: "mail", by: juliet)
        #expect(server.client("juliet/mail", authenticatedAt: moment, application: "mail").session == nil)
    }

    @Test("who has come in by one makes and revokes none, and does not see how")
    func noCommands() {
        _ = execute("add", name: "mail", by: server.client("juliet/balcony"))
        let mail = server.client("juliet/mail", application: "mail")
        for action in ["add", "list", "revoke"] { #expect(text(execute(action, name: "mail", by: mail)).contains("<forbidden")) }
        let query = "<query xmlns='http://jabber.org/protocol/disco#items' node='\(Self.commands)'/>"
        #expect(!text(ask("get", query, by: mail)).contains(Self.node))
        #expect(text(ask("get", query, by: server.client("juliet/balcony"))).contains("\(Self.node)#add"))
        #expect(stored().map(\.name) == ["mail"])
    }

    @Test("who has come in by one does not change the password, nor remove the account (XEP-0077 §3.2, §3.3)")
    func noRegistration() {
        let mail = server.client("juliet/mail", application: "mail")
        let change = "<query xmlns='jabber:iq:register'><username>juliet</username><password>another password</password></query>"
        #expect(text(ask("set", change, by: mail)).contains("<forbidden"))
        #expect(text(ask("set", "<query xmlns='jabber:iq:register'><remove/></query>", by: mail)).contains("<forbidden"))
        #expect(server.store.contents[server.address("juliet")]?.credentials == own)
        #expect(text(ask("set", change, by: server.client("juliet/balcony"))).contains("type='result'"))
    }

    /// By what somebody may come in that others can take back, or that is not the account's own.
    enum Means: String, CaseIterable, Sendable { case certificate, grant, application }

    private func session(by means: Means) -> TestClient {
        switch means {
        case .certificate: return server.client("juliet/phone", by: CertificateFingerprint(of: [0x30]))
        case .grant:
            let sighting = DeviceSighting(DeviceID(resource: "phone"), name: "phone", by: .grant, at: server.context.wallMilliseconds)
            return server.client("juliet/phone", device: sighting)
        case .application: return server.client("juliet/phone", application: "mail")
        }
    }

    @Test("who can be shut out again makes no password that lasts, and does not remove the account (XEP-0077 §3.2)", arguments: Means.allCases)
    func guards(means: Means) {
        let phone = session(by: means)
        let answer = text(execute("add", name: "for later", by: phone))
        #expect(answer.contains("<forbidden") && !answer.contains("var='password'"))
        let removal = "<query xmlns='jabber:iq:register'><remove/></query>"
        for address in ["capulet.example", "juliet@capulet.example"] {
            #expect(text(ask("set", removal, to: address, by: phone)).contains(means == .certificate ? "<not-authorized" : "<forbidden"))
        }
        #expect(stored().isEmpty && phone.closing == nil && server.store.contents[server.address("juliet")] != nil)
        // Whoever knows the password may do both.
        let juliet = server.client("juliet/balcony")
        #expect(text(execute("add", name: "for later", by: juliet)).contains("completed"))
        #expect(text(ask("set", removal, by: juliet)).contains("type='result'"))
        #expect(server.store.contents[server.address("juliet")] == nil)
    }

    @Test("who is let in again by what can be taken back may no more than that, whatever his session could before (XEP-0198 §5)")
    func resumedByGrant() throws {
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(juliet.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        juliet.breakConnection()
        var proof = SessionProof()
        proof.hasGrant = true
        let resumed = server.resume("juliet", previous: id, handled: 0, by: proof)
        #expect(text(execute("add", name: "for later", by: resumed)).contains("<forbidden"))
    }

    @Test("who has come in by one neither sees devices nor revokes them (XEP-0494 §5)")
    func noDevices() {
        let mail = server.client("juliet/mail", application: "mail")
        #expect(text(ask("get", "<list xmlns='urn:xmpp:cam:0'/>", to: "juliet@capulet.example", by: mail)).contains("<forbidden"))
        let revoke = "<revoke xmlns='urn:xmpp:cam:0' id='2eb1c5fa7cbacdef'/>"
        #expect(text(ask("set", revoke, to: "juliet@capulet.example", by: mail)).contains("<forbidden"))
    }

    @Test("who has come in by one has not the account's admin role (XEP-0133)")
    func noAdministration() {
        func number(_ client: TestClient) -> String {
            text(ask("set", "<command xmlns='\(Self.commands)' node='http://jabber.org/protocol/admin#get-registered-users-num'/>", by: client))
        }
        #expect(number(server.client("chief/mail", application: "mail")).contains("<forbidden"))
        #expect(number(server.client("chief/office")).contains("completed"))
    }

    @Test("a session that is resumed may do what the log-in may that resumes it (XEP-0198 §5)")
    func resumption() throws {
        let revoke = "<revoke xmlns='urn:xmpp:cam:0' id='2eb1c5fa7cbacdef'/>"
        func mayRevoke(_ client: TestClient) -> Bool { !text(ask("set", revoke, to: "juliet@capulet.example", by: client)).contains("<forbidden") }
        let juliet = server.client("juliet/balcony")
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(juliet.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        #expect(mayRevoke(juliet))
        juliet.breakConnection()
        let limited = server.resume("juliet", previous: id, handled: 0, application: "mail")
        #expect(limited.session != nil && !mayRevoke(limited))
        limited.breakConnection()
        #expect(mayRevoke(server.resume("juliet", previous: id, handled: 0)))
    }

    @Test("a device that has come in by one is shown with its name, and revoking it ends the password (XEP-0494 §3)")
    func devices() {
        let juliet = server.client("juliet/balcony")
        _ = execute("add", name: "mail", by: juliet)
        var sighting = DeviceSighting(DeviceID(resource: "mail"), name: "mail", by: [], at: server.context.wallMilliseconds)
        sighting.applicationPassword = "mail"
        let mail = server.client("juliet/mail", device: sighting, application: "mail")
        let list = text(ask("get", "<list xmlns='urn:xmpp:cam:0'/>", to: "juliet@capulet.example", by: juliet))
        #expect(list.contains("<grant/>") && list.contains(">mail</application-password>"))
        #expect(stored().first?.lastUsed == StoredApplicationPassword.day(of: server.context.wallMilliseconds))
        let id = DeviceID(resource: "mail").text
        #expect(text(ask("set", "<revoke xmlns='urn:xmpp:cam:0' id='\(id)'/>", to: "juliet@capulet.example", by: juliet)).contains("type='result'"))
        #expect(mail.closing != nil && stored().isEmpty)
    }

    @Test("revoking a device ends all that it was the last to use, and none that another device has used since (XEP-0494 §3.2)")
    func severalOfOneDevice() {
        let juliet = server.client("juliet/balcony")
        for name in ["first", "second", "shared"] { _ = execute("add", name: name, by: juliet) }
        func logIn(_ resource: String, by name: String) -> TestClient {
            var sighting = DeviceSighting(DeviceID(resource: resource), name: resource, by: [], at: server.context.wallMilliseconds)
            sighting.applicationPassword = name
            return server.client("juliet/\(resource)", device: sighting, application: name)
        }
        for name in ["shared", "first", "second"] { logIn("mail", by: name).disconnect() }
        let tablet = logIn("tablet", by: "shared")
        let list = text(ask("get", "<list xmlns='urn:xmpp:cam:0'/>", to: "juliet@capulet.example", by: juliet))
        for name in ["first", "second", "shared"] { #expect(list.contains(">\(name)</application-password>")) }
        let id = DeviceID(resource: "mail").text
        #expect(text(ask("set", "<revoke xmlns='urn:xmpp:cam:0' id='\(id)'/>", to: "juliet@capulet.example", by: juliet)).contains("type='result'"))
        #expect(stored().map(\.name) == ["shared"] && tablet.closing == nil)
    }

    @Test("a new password of the account ends them all")
    func newPassword() {
        let juliet = server.client("juliet/balcony")
        _ = execute("add", name: "mail", by: juliet)
        let mail = server.client("juliet/mail", application: "mail")
        let change = "<query xmlns='jabber:iq:register'><username>juliet</username><password>another password</password></query>"
        #expect(text(ask("set", change, by: juliet)).contains("type='result'"))
        #expect(stored().isEmpty && mail.closing != nil)
    }
}
