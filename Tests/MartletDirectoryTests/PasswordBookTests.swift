import MartletCore
import MartletDirectory
import MartletFeatures
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("Passwords that people change in a directory (XEP-0077 §3.3, RFC 3062)")
struct PasswordBookTests {
    private let clock = StoppedClock(1_000_000)
    private let book: PasswordBook
    private let passwords = ScriptedPasswords()
    private let server: TestServer

    init() {
        book = PasswordBook(time: clock)
        var registration = RegistrationSettings()
        (registration.accountsAreElsewhere, registration.passwordsElsewhere) = (true, book)
        server = TestServer(domains: ["example.org"], registration: registration)
    }

    private func add(_ way: PasswordBook.Way? = .proxied, isLive: Bool = true) {
        let people = PeopleDirectory(mirroredPeople(), time: clock)
        _ = people.take([.search(.everything), .change(.entry(.number(1), person("alice")))] + (isLive ? [.refreshed(RefreshEnd())] : []), isLive: isLive)
        book.add(jid("alice").domain, .init(people, way, passwords, server.router, on: server.context.mailbox, log: TestDirectory.log))
    }

    private func change(_ client: TestClient, _ content: String = "<username>alice</username><password>pencil</password>") -> String {
        client.forget()
        client.send("<iq type='set' id='c' to='example.org'><query xmlns='jabber:iq:register'>\(content)</query></iq>")
        for _ in 0..<20 { server.run() }
        return client.receivedBesidesPresence().first { $0.id == "c" }?.description ?? ""
    }

    @Test("the directory changes it, other sessions end, and the one that asked goes on")
    func changed() {
        add()
        let (phone, tablet) = (server.online("alice/phone"), server.online("alice/tablet"))
        #expect(change(phone).contains("type='result'"))
        #expect(passwords.changes == [.init(password: "pencil", old: nil, name: "uid=alice,ou=people", way: .proxied)])
        #expect(tablet.isClosed && !phone.isClosed)
    }

    @Test("the old password goes along where it is said (§3.3)")
    func oldPassword() {
        add(.asService)
        let form = { (old: String) in
            """
            <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>jabber:iq:register:changepassword</value></field>\
            <field var='username'><value>alice</value></field><field var='password'><value>pencil</value></field>\(old)</x>
            """
        }
        let phone = server.online("alice/phone")
        #expect(change(phone, form("<field var='old_password'><value>stylus</value></field>")).contains("type='result'"))
        #expect(change(phone, form("")).contains("type='result'"))
        #expect(passwords.changes.map(\.old) == ["stylus", nil] && passwords.changes.allSatisfy { $0.way == .asService })
    }

    @Test("what the directory's policy says against a password is told", arguments: [
        (PasswordPolicyResponseControl.Fault.passwordTooShort, "<not-acceptable"), (.insufficientPasswordQuality, "<not-acceptable"),
        (.passwordInHistory, "<not-acceptable"), (.passwordTooYoung, "<not-allowed"), (.passwordModNotAllowed, "<not-allowed"),
        (.mustSupplyOldPassword, "<not-authorized"),
    ])
    func policy(fault: PasswordPolicyResponseControl.Fault, condition: String) {
        add()
        passwords.refusal = PasswordRefusal(.refused(LDAPResult(.constraintViolation)), fault)
        let (phone, tablet) = (server.online("alice/phone"), server.online("alice/tablet"))
        #expect(change(phone).contains(condition))
        #expect(!tablet.isClosed)
    }

    @Test("a directory that is away is no refusal", arguments: [true, false])
    func away(wasThere: Bool) {
        add(isLive: wasThere)
        passwords.refusal = PasswordRefusal(.resting)
        #expect(change(server.online("alice/phone")).contains("<resource-constraint"))
    }

    @Test("where people change no passwords nothing is asked")
    func off() {
        add(nil)
        #expect(change(server.online("alice/phone")).contains("<not-allowed"))
        #expect(passwords.changes == [])
    }

    @Test("the server's own rules hold as well")
    func rules() {
        add()
        #expect(change(server.online("alice/phone"), "<username>alice</username><password>alice</password>").contains("<not-acceptable"))
        #expect(passwords.changes == [])
    }
}

/// A directory's passwords that a test plays.
final class ScriptedPasswords: DirectoryPasswords {
    struct Change: Hashable {
        var password: String
        var old: String?
        var name: String
        var way: PasswordBook.Way
    }

    private struct State {
        var changes: [Change] = []
        var refusal: PasswordRefusal?
    }

    // A lock: it is asked from tasks.
    private let state = Mutex(State())

    var changes: [Change] { state.withLock { $0.changes } }
    var refusal: PasswordRefusal? {
        get { state.withLock { $0.refusal } }
        set { state.withLock { $0.refusal = newValue } }
    }

    func setPassword(
        _ password: PreparedPassword, replacing old: PreparedPassword?, at name: String, _ way: PasswordBook.Way
    ) async throws(PasswordRefusal) {
        if let refusal { throw refusal }
        func text(_ password: PreparedPassword) -> String { String(decoding: password.bytes, as: UTF8.self) }
        state.withLock { $0.changes.append(Change(password: text(password), old: old.map(text), name: name, way: way)) }
    }
}
