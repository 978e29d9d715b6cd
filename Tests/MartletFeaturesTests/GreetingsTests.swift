import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("XEP-0133 Greetings")
struct GreetingsTests {
    private final class Record: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
        var all: [AuditEvent] { events.withLock { $0 } }
    }

    private let record = Record()
    private let server: TestServer
    private let admin: TestClient
    private static let type = "http://jabber.org/protocol/admin"

    init() throws {
        let chief = try BareJID(parsing: "chief@capulet.example")
        server = TestServer(policy: AccessPolicy(admins: [chief], audit: record), audit: record)
        admin = server.online("chief/desk")
    }

    private func execute(_ node: String, _ field: String? = nil, _ lines: [String] = [], by client: TestClient? = nil) -> TestStanza? {
        let client = client ?? admin
        let form = field.map { field in
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>\(Self.type)</value></field><field var='\(field)'>"
                + lines.map { "<value>\($0)</value>" }.joined() + "</field></x>"
        }
        client.send(
            "<iq type='set' id='c' to='capulet.example'><command xmlns='http://jabber.org/protocol/commands' node='\(Self.type)#\(node)'>\(form ?? "")</command></iq>")
        return client.received().last { $0.element.localName == "iq" }
    }

    /// What a domain has told a client, with the types of the messages.
    private func told(_ client: TestClient) -> [String] {
        client.received().filter { $0.element.localName == "message" && $0.element.attribute("from") == "capulet.example" }.map {
            "\($0.element.attribute("type") ?? "normal"): \($0.child("body")?.text ?? "")"
        }
    }

    /// Comes online and goes again.
    private func visit(_ name: String, on server: TestServer? = nil) -> [String] {
        let client = (server ?? self.server).client(name)
        client.send("<presence/>")
        defer { client.disconnect() }
        return told(client)
    }

    // MARK: The message of the day

    @Test("a message of the day reaches those who are there, and each other account once, when it comes (§4.24)")
    func motd() {
        let juliet = server.online("juliet/balcony")
        let done = execute("set-motd", "motd", ["The Globe", "opens"])
        #expect(done?.child("command")?.attribute("status") == "completed")
        #expect(told(juliet) == ["headline: The Globe\nopens"])
        juliet.disconnect()
        #expect(visit("juliet/balcony") == [])
        #expect(visit("romeo/orchard") == ["headline: The Globe\nopens"])
        #expect(visit("romeo/garden") == [])
        #expect(record.all.contains(.greetingSet(server.domain, "motd", isSet: true, by: "chief@capulet.example")))
    }

    @Test("every session that is there hears it, and no session that takes no messages")
    func sessions() {
        let (one, other, low) = (server.online("juliet/balcony"), server.online("juliet/chamber"), server.online("juliet/attic", priority: -1))
        let absent = server.client("tybalt/street")
        _ = execute("set-motd", "motd", ["x"])
        #expect([one, other, low, absent].map { told($0).count } == [1, 1, 0, 0])
        absent.send("<presence><priority>-1</priority></presence>")
        #expect(told(absent).isEmpty)
        absent.send("<presence/>")
        #expect(told(absent) == ["headline: x"])
    }

    @Test("a new one is told to everybody; one that is corrected only to those who have not been told (§4.25)")
    func edited() {
        _ = execute("set-motd", "motd", ["first"])
        #expect(visit("juliet/balcony") == ["headline: first"])
        _ = execute("edit-motd", "motd", ["furst"])
        #expect(visit("juliet/balcony") == [])
        #expect(visit("romeo/orchard") == ["headline: furst"])
        _ = execute("set-motd", "motd", ["second"])
        #expect(visit("juliet/balcony") == ["headline: second"])
        #expect(visit("romeo/orchard") == ["headline: second"])
    }

    @Test("one that is deleted is told to nobody any more, and cannot be edited (§4.26)")
    func deleted() {
        #expect(execute("delete-motd")?.error == "cancel/item-not-found")
        #expect(execute("edit-motd")?.error == "cancel/item-not-found")
        _ = execute("set-motd", "motd", ["first"])
        #expect(execute("delete-motd")?.child("command")?.attribute("status") == "completed")
        #expect(visit("romeo/orchard") == [])
        #expect(execute("edit-motd", "motd", ["second"])?.error == "cancel/item-not-found")
        #expect(record.all.contains(.greetingSet(server.domain, "motd", isSet: false, by: "chief@capulet.example")))
    }

    /// A server with what this one keeps of its domain, which has read nothing of it yet.
    private func started() -> TestServer {
        let next = TestServer()
        let nodes = server.store.contents.nodes
        for node in nodes.nodes(of: .service("capulet.example")) {
            let new = StoredNode(id: node.id, name: node.name, created: node.created, record: node.record)
            next.store.submit([.node(.create(.service("capulet.example"), new))])
            for item in nodes.items(of: node.id, NodeItemsRequest(limit: 10)) { next.store.submit([.node(.publish(node.id, item))]) }
        }
        return next
    }

    @Test("it is kept, and so is who was told")
    func kept() {
        _ = execute("set-motd", "motd", ["first"])
        #expect(visit("juliet/balcony") == ["headline: first"])
        let restarted = server.restarted()
        #expect(visit("juliet/balcony", on: restarted) == [] && visit("romeo/orchard", on: restarted) == ["headline: first"])
        let started = started()
        // The first one comes before it is read.
        #expect(visit("juliet/balcony", on: started) == ["headline: first"] && visit("juliet/balcony", on: started) == [])
        #expect(visit("romeo/orchard", on: started) == ["headline: first"])
    }

    @Test("the form has what there is (§4.25, §4.27)")
    func forms() throws {
        func values(_ node: String, _ field: String) throws -> [String]? {
            let x = try #require(execute(node)?.child("command")?.firstChild("x", .dataForms))
            return try DataForm(x).fields.first { $0.name == field }?.values
        }
        #expect(try values("set-motd", "motd") == [])
        #expect(try values("set-welcome", "welcome") == [])
        _ = execute("set-motd", "motd", ["one", "two"])
        _ = execute("set-welcome", "welcome", ["three"])
        #expect(try values("set-motd", "motd") == [])
        #expect(try values("edit-motd", "motd") == ["one", "two"])
        #expect(try values("set-welcome", "welcome") == ["three"])
    }

    @Test("a text has so many bytes, and is none without any", arguments: ["set-motd motd", "set-welcome welcome"])
    func limits(command: String) {
        let parts = command.split(separator: " ").map(String.init)
        #expect(execute(parts[0], parts[1], [""])?.error == "modify/bad-request")
        #expect(execute(parts[0], parts[1], [String(repeating: "x", count: ServiceAdministration.announcementBytesMax)])?.error == nil)
        #expect(execute(parts[0], parts[1], [String(repeating: "x", count: ServiceAdministration.announcementBytesMax + 1)])?.error == "modify/not-acceptable")
    }

    @Test("nobody else sets it (§7)", arguments: ["set-motd", "edit-motd", "delete-motd", "set-welcome", "delete-welcome"])
    func forbidden(node: String) {
        #expect(execute(node, by: server.online("juliet/balcony"))?.error == "auth/forbidden")
    }

    // MARK: The welcome

    @Test("an account is welcomed when it comes for the first time, and not again (§4.27)")
    func welcome() {
        #expect(visit("juliet/balcony") == [])
        _ = execute("set-welcome", "welcome", ["Welcome!"])
        #expect(visit("juliet/balcony") == [], "it has been here before")
        #expect(visit("romeo/orchard") == ["normal: Welcome!"])
        #expect(visit("romeo/orchard") == [])
        _ = execute("set-welcome", "welcome", ["Hello!"])
        #expect(visit("romeo/orchard") == [])
        _ = execute("set-motd", "motd", ["Today"])
        #expect(visit("tybalt/street") == ["normal: Hello!", "headline: Today"])
        #expect(execute("delete-welcome")?.error == nil)
        #expect(visit("mercutio/street") == ["headline: Today"])
        #expect(execute("delete-welcome")?.error == "cancel/item-not-found")
    }

    @Test("a domain's greetings are for its own accounts")
    func domains() throws {
        let chief = try BareJID(parsing: "chief@capulet.example")
        let two = TestServer(domains: ["capulet.example", "montague.example"], policy: AccessPolicy(admins: [chief]))
        _ = execute("set-motd", "motd", ["x"], by: two.online("chief/desk"))
        let romeo = two.client("romeo@montague.example/orchard")
        romeo.send("<presence/>")
        #expect(romeo.received().allSatisfy { $0.element.localName == "presence" })
    }

    @Test("who comes while the texts cannot be read is told when they can")
    func unreadable() {
        _ = execute("set-motd", "motd", ["x"])
        let next = started()
        let romeo = next.client("romeo/orchard")
        next.store.failReads(with: .unavailable("later"))
        romeo.send("<presence/>")
        #expect(told(romeo) == [])
        next.store.failReads(with: nil)
        #expect(visit("juliet/balcony", on: next) == ["headline: x"])
        romeo.send("<presence type='unavailable'/>")
        romeo.send("<presence/>")
        #expect(told(romeo) == ["headline: x"])
    }

    @Test("what administrators change at once is changed one after the other, and nobody is refused")
    func atOnce() throws {
        let chiefs = try ["chief@capulet.example", "deputy@capulet.example"].map { try BareJID(parsing: $0) }
        let server = TestServer(commits: .manual, policy: AccessPolicy(admins: NamedAccounts(chiefs)))
        func settle() {
            repeat { server.run() } while server.store.commit() > 0
            server.run()
        }
        for name in ["chief", "deputy"] { server.createAccount(name) }
        settle()
        let admins = [server.client("chief/desk"), server.client("deputy/desk")]
        settle()
        for (index, admin) in admins.enumerated() {
            let form = """
                <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>\(Self.type)</value></field>\
                <field var='motd'><value>\(index)</value></field></x>
                """
            admin.send("""
                <iq type='set' id='c' to='capulet.example'>\
                <command xmlns='http://jabber.org/protocol/commands' node='\(Self.type)#set-motd'>\(form)</command></iq>
                """)
        }
        settle()
        #expect(admins.map { $0.received().last { $0.id == "c" }?.child("command")?.attribute("status") } == ["completed", "completed"])
    }
}
