import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("RFC 6121 §2 Managing the roster")
struct RosterManagementTests {
    private let server = TestServer()
    private let get = "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>"

    private func set(_ item: String) -> String { "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>\(item)</query></iq>" }

    /// The item of a push or of a roster with one item.
    private func item(_ stanza: TestStanza?) -> ElementView? { stanza?.child("query")?.firstChild("item", .roster) }

    @Test("a set is answered and pushed to those who asked for the roster, and to no others (§2.1.6)")
    func pushes() {
        let balcony = server.client("juliet/balcony")
        let chamber = server.client("juliet/chamber")
        let cell = server.client("juliet/cell")
        for client in [balcony, chamber] { client.send(get) }
        for client in [balcony, chamber] { client.forget() }
        balcony.send(set("<item jid='romeo@montague.example' name='Romeo' subscription='both'><group>Friends</group></item>"))
        let answers = balcony.received()
        #expect(answers.first == "<iq type='result' id='s' to='juliet@capulet.example/balcony'/>")
        for push in [answers.last, chamber.received().first] {
            #expect(push?.element.attribute("type") == "set")
            #expect(push?.element.attribute("from") == nil)
            #expect(item(push)?.attribute("jid") == "romeo@montague.example")
            #expect(item(push)?.attribute("name") == "Romeo")
            #expect(item(push)?.attribute("subscription") == "none")
            #expect(item(push)?.children.map(\.text) == ["Friends"])
        }
        #expect(cell.received() == [])
    }

    @Test("nothing is answered or pushed before it is on disk (P7)")
    func disk() {
        let server = TestServer(commits: .manual)
        server.store.submit([.account(.create(server.address("juliet"), credentials: [], isAdmin: false))])
        server.store.commit()
        let juliet = server.client("juliet/balcony")
        juliet.send(get)
        juliet.forget()
        juliet.send(set("<item jid='romeo@montague.example'/>"))
        #expect(juliet.received() == [])
        server.store.commit()
        server.run()
        #expect(juliet.received().map { $0.element.attribute("type") } == ["result", "set"])
    }

    @Test("what the disk refuses is not in the roster")
    func refusedByDisk() {
        let juliet = server.client("juliet/balcony")
        juliet.send(get)
        juliet.forget()
        server.store.failSubmits(with: .full, next: 1)
        juliet.send(set("<item jid='romeo@montague.example'/>"))
        #expect(juliet.received().map(\.error) == ["wait/resource-constraint"])
        juliet.send(get)
        #expect(item(juliet.received().first) == nil)
    }

    @Test("a client that has the current version gets an empty result, one with an older one what changed (§2.6.3)")
    func versioning() {
        let juliet = server.client("juliet/balcony")
        juliet.send(get)
        let empty = juliet.received().first?.child("query")?.attribute("ver") ?? ""
        juliet.send(set("<item jid='romeo@montague.example'/>"))
        juliet.send(set("<item jid='paris@verona.example'/>"))
        juliet.send(set("<item jid='paris@verona.example' subscription='remove'/>"))
        let current = juliet.received().last?.child("query")?.attribute("ver") ?? ""
        juliet.send("<iq type='get' id='v1'><query xmlns='jabber:iq:roster' ver='\(current)'/></iq>")
        #expect(juliet.received() == ["<iq type='result' id='v1' to='juliet@capulet.example/balcony'/>"])
        juliet.send("<iq type='get' id='v2'><query xmlns='jabber:iq:roster' ver='\(empty)'/></iq>")
        let changes = juliet.received()
        #expect(changes.first == "<iq type='result' id='v2' to='juliet@capulet.example/balcony'/>")
        #expect(changes.dropFirst().map { item($0)?.attribute("jid") } == ["romeo@montague.example", "paris@verona.example"])
        #expect(changes.dropFirst().map { item($0)?.attribute("subscription") } == ["none", "remove"])
        #expect(changes.last?.child("query")?.attribute("ver") == current)
        juliet.send("<iq type='get' id='v3'><query xmlns='jabber:iq:roster' ver='never-had'/></iq>")
        #expect(item(juliet.received().first)?.attribute("jid") == "romeo@montague.example")
    }

    @Test("who is removed sees the account go and is told, in this order (§2.5.2)")
    func remove() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        juliet.forget()
        juliet.send(set("<item jid='romeo@capulet.example' subscription='remove'/>"))
        #expect(romeo.received().filter { $0.element.localName == "presence" }.map { $0.element.attribute("type") } == [
            "unavailable", "unsubscribe", "unsubscribed",
        ])
        romeo.send(get)
        #expect(item(romeo.received().first)?.attribute("subscription") == "none")
        juliet.forget()
        juliet.send(get)
        #expect(item(juliet.received().first) == nil)
    }

    @Test(
        "what is no roster set is refused (§2.3.3, §2.5.3)",
        arguments: [
            ("", "modify/bad-request"), ("<item/>", "modify/bad-request"), ("<item jid='@'/>", "modify/jid-malformed"),
            ("<item jid='romeo@montague.example/orchard'/>", "modify/bad-request"),
            ("<item jid='a@montague.example'/><item jid='b@montague.example'/>", "modify/bad-request"),
            ("<item jid='juliet@capulet.example'/>", "cancel/not-allowed"),
            ("<item jid='romeo@montague.example'><group/></item>", "modify/not-acceptable"),
            ("<item jid='nobody@montague.example' subscription='remove'/>", "cancel/item-not-found"),
        ])
    func refused(item: String, error: String) {
        let juliet = server.client("juliet/balcony")
        juliet.send(set(item))
        #expect(juliet.received().map(\.error) == [error])
    }

    @Test("nobody reads or changes the roster of another, whether there is one or not (§2.1.5)")
    func others() {
        server.befriend("juliet", "romeo")
        let romeo = server.client("romeo/orchard")
        for to in ["juliet@capulet.example", "nobody@capulet.example"] {
            romeo.send("<iq type='get' id='g' to='\(to)'><query xmlns='jabber:iq:roster'/></iq>")
            romeo.send("<iq type='set' id='s' to='\(to)'><query xmlns='jabber:iq:roster'><item jid='a@b.example'/></query></iq>")
        }
        #expect(romeo.received().map(\.error) == Array(repeating: "cancel/service-unavailable", count: 4))
    }
}
