import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0402 PEP Native Bookmarks, and clients that know XEP-0048")
struct BookmarksTests {
    private let server = TestServer()

    private func result(_ client: TestClient) -> TestStanza? { client.receivedBesidesPresence().first { $0.element.localName == "iq" } }

    private func set(_ list: String, _ client: TestClient) -> TestStanza? {
        client.send("<iq type='set' id='s'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>\(list)</storage></query></iq>")
        return result(client)
    }

    private func list(_ client: TestClient) -> String? {
        client.send("<iq type='get' id='g'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query></iq>")
        return result(client)?.element.root.firstChild?.firstChild.map { String(decoding: $0.rawBytes.readableBytesView, as: UTF8.self) }
    }

    private func items(_ client: TestClient) -> [String] {
        client.send("<iq type='get' id='i'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>")
        let items = result(client)?.element.root.firstChild?.firstChild
        return items?.children.map { String(decoding: $0.rawBytes.readableBytesView, as: UTF8.self) } ?? []
    }

    private static let play = "<conference jid='theplay@conference.capulet.example' name='The Play&apos;s the Thing' autojoin='true'><nick>JC</nick></conference>"

    @Test("what an older client puts into private storage, a newer one finds as items, and the node is for nobody else")
    func fromOlder() {
        let balcony = server.online("juliet/balcony")
        #expect(set(Self.play + "<url url='http://x' name='x'/>", balcony)?.error == nil)
        #expect(items(balcony) == [
            """
            <item id='theplay@conference.capulet.example'><conference xmlns='urn:xmpp:bookmarks:1' name='The Play&apos;s the Thing' autojoin='true'>\
            <nick>JC</nick></conference></item>
            """
        ])
        server.befriend("juliet", "romeo")
        let orchard = server.online("romeo/orchard")
        orchard.send("""
            <iq type='get' id='i' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/>\
            </pubsub></iq>
            """)
        #expect(result(orchard)?.element.attribute("type") == "error")
    }

    @Test("and the other way round; what the older one does not know stays when it writes the list again")
    func both() {
        let balcony = server.online("juliet/balcony")
        balcony.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>\
            <item id='orchard@conference.capulet.example'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='1'><extensions><state xmlns='x'/>\
            </extensions></conference></item></publish></pubsub></iq>
            """)
        balcony.forget()
        let shown = list(balcony) ?? ""
        #expect(shown.contains("<conference jid='orchard@conference.capulet.example' autojoin='true'>"))
        _ = set("<conference jid='orchard@conference.capulet.example' name='Orchard'/>", balcony)
        let item = items(balcony).first ?? ""
        #expect(item.contains("name='Orchard'") && item.contains("<state xmlns='x'/>") && !item.contains("autojoin"))
    }

    @Test("what is no longer in the list goes, and what is as it was is not published again")
    func differences() {
        let balcony = server.online("juliet/balcony")
        let other = "<conference jid='other@conference.capulet.example'/>"
        _ = set(Self.play + other, balcony)
        #expect(items(balcony).count == 2)
        _ = set(Self.play, balcony)
        #expect(items(balcony).map { $0.contains("theplay") } == [true])
        _ = set("", balcony)
        #expect(items(balcony) == [])
        #expect(list(balcony) == "<storage xmlns='storage:bookmarks'/>")
    }

    @Test("a node that others may read is closed before there are bookmarks in it")
    func closed() {
        server.befriend("juliet", "romeo")
        let balcony = server.online("juliet/balcony")
        balcony.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='a@b'>\
            <conference xmlns='urn:xmpp:bookmarks:1'/></item></publish></pubsub></iq>
            """)
        balcony.forget()
        #expect(set(Self.play + "<conference jid='other@conference.capulet.example'/>", balcony)?.error == nil)
        #expect(items(balcony).count == 2)
        let orchard = server.online("romeo/orchard")
        orchard.send("""
            <iq type='get' id='i' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/>\
            </pubsub></iq>
            """)
        #expect(result(orchard)?.element.attribute("type") == "error")
    }

    @Test("a list has as many bookmarks as a node has items", arguments: [(1_000, nil), (1_001, "modify/policy-violation")] as [(Int, String?)])
    func many(count: Int, error: String?) {
        let balcony = server.online("juliet/balcony")
        let answer = set((0..<count).map { "<conference jid='r\($0)@x.example'/>" }.joined(), balcony)
        #expect(answer?.error == error)
    }

    @Test("who has no bookmarks has an empty list, and other private data is where it was")
    func none() {
        let balcony = server.online("juliet/balcony")
        #expect(list(balcony) == "<storage xmlns='storage:bookmarks'/>")
        balcony.send("<iq type='set' id='s'><query xmlns='jabber:iq:private'><notes xmlns='storage:rosternotes'><note/></notes></query></iq>")
        balcony.forget()
        balcony.send("<iq type='get' id='g'><query xmlns='jabber:iq:private'><notes xmlns='storage:rosternotes'/></query></iq>")
        #expect(result(balcony)?.description.contains("<note/>") == true)
    }

    @Test("clients learn that they need keep bookmarks in the newer form only, whatever the older ones know (§5.3, XEP-0411 §2)", arguments: [
        "urn:xmpp:bookmarks:1#compat", "urn:xmpp:bookmarks:1#compat-pep", "urn:xmpp:bookmarks-conversion:0",
        "http://jabber.org/protocol/pubsub#config-node-max", "http://jabber.org/protocol/pubsub#publish-options",
    ])
    func announced(feature: String) {
        let balcony = server.online("juliet/balcony")
        balcony.send("<iq type='get' id='d' to='juliet@capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(result(balcony)?.description.contains("<feature var='\(feature)'/>") == true)
    }

    private func older(_ content: String, _ type: String, _ client: TestClient) -> TestStanza? {
        client.send("<iq type='\(type)' id='o'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\(content)</pubsub></iq>")
        return result(client)
    }

    @Test("the node of the older kind is the same list, read and written (XEP-0411)")
    func olderNode() {
        let balcony = server.online("juliet/balcony")
        let publication = "<publish node='storage:bookmarks'><item id='current'><storage xmlns='storage:bookmarks'>\(Self.play)</storage></item></publish>"
        #expect(older(publication, "set", balcony)?.error == nil)
        #expect(items(balcony).count == 1 && items(balcony).first?.contains("theplay@") == true)
        #expect(list(balcony)?.contains(Self.play) == true)
        let read = older("<items node='storage:bookmarks'/>", "get", balcony)?.element.root.firstChild?.firstChild
        let item = read?.firstChild.map { String(decoding: $0.rawBytes.readableBytesView, as: UTF8.self) }
        #expect(item == "<item id='current'><storage xmlns='storage:bookmarks'>\(Self.play)</storage></item>")
        #expect(older("<publish node='storage:bookmarks'><item><x xmlns='x'/></item></publish>", "set", balcony)?.error == "modify/bad-request")
        #expect(older("<publish node='storage:bookmarks'><item/></publish>", "set", balcony)?.error == "modify/bad-request")
        #expect(items(balcony).count == 1)
    }

    @Test("and nobody else reads it")
    func olderNodeOfOthers() {
        server.befriend("juliet", "romeo")
        #expect(set(Self.play, server.online("juliet/balcony"))?.error == nil)
        let orchard = server.online("romeo/orchard")
        orchard.send("""
            <iq type='get' id='i' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='storage:bookmarks'/></pubsub></iq>
            """)
        #expect(result(orchard)?.error == "cancel/item-not-found")
    }
}
