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
        #expect(set(Self.play, balcony)?.error == nil)
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
        // What the session has not been told of in the older form stays.
        #expect(items(balcony).count == 3)
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

    // MARK: All or nothing

    @Test("a list that is refused takes nothing away")
    func refused() {
        let balcony = server.online("juliet/balcony")
        _ = set(Self.play, balcony)
        // Longer than the name of an item may be.
        let long = String(repeating: "r", count: 1_000) + "@" + String(repeating: "long.", count: 20) + "example"
        #expect(set("<conference jid='other@conference.capulet.example'/><conference jid='\(long)'/>", balcony)?.error == "modify/not-acceptable")
        #expect(list(balcony)?.contains(Self.play) == true)
        #expect(items(balcony).count == 1)
    }

    @Test("a list is replaced in one commit: after a crash there is the old one or the new one")
    func crash() {
        let server = TestServer(commits: .manual)
        func settle() {
            repeat { server.run() } while server.store.commit() > 0
            server.run()
        }
        server.createAccount("juliet")
        settle()
        let balcony = server.client("juliet/balcony")
        balcony.send("<presence/>")
        settle()
        func send(_ list: String) {
            balcony.send("<iq type='set' id='s'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>\(list)</storage></query></iq>")
        }
        send("<conference jid='old1@x.example'/><conference jid='old2@x.example'/><url url='http://old.example'/>")
        settle()
        send("<conference jid='new1@x.example'/><conference jid='new2@x.example'/><url url='http://new.example'/>")
        server.run()
        server.store.commit(1)
        let next = TestServer(after: server)
        let shown = list(next.client("juliet/chamber")) ?? ""
        func has(_ parts: [String]) -> [Bool] { parts.map { shown.contains($0) } }
        let (old, new) = (has(["old1@", "old2@", "http://old.example"]), has(["new1@", "new2@", "http://new.example"]))
        #expect(old != new && Set(old).count == 1 && Set(new).count == 1)
    }

    // MARK: What only the older list can say

    @Test("addresses of pages, and whatever else a client puts into the list, stay there (XEP-0048 §2.2, XEP-0049 §2)", arguments: [
        "<url name='Wiki' url='http://example.org/'/>", "<conference jid='no address@@' name='MUC'/>", "<group xmlns='urn:example'><a/></group>",
        "<conference jid='room@x.example'><nick>n</nick><x xmlns='urn:example'>1</x></conference>",
        "<conference minimize='1' jid='room@x.example' name='R'/>",
        "<conference jid='room@x.example'><nick>a</nick></conference><conference jid='room@x.example'><nick>b</nick></conference>",
    ])
    func kept(element: String) {
        let balcony = server.online("juliet/balcony")
        #expect(set(Self.play + element, balcony)?.error == nil)
        #expect(list(balcony) == "<storage xmlns='storage:bookmarks'>\(Self.play)\(element)</storage>")
        #expect(items(balcony).count == (element.contains("room@") ? 2 : 1))
        let next = server.restarted()
        #expect(list(next.client("juliet/chamber")) == "<storage xmlns='storage:bookmarks'>\(Self.play)\(element)</storage>")
    }

    @Test("what a client said of a room in the older form stays with what a newer one says, and goes with the bookmark")
    func merged() {
        let balcony = server.online("juliet/balcony")
        _ = set("<conference jid='room@x.example' minimize='1' name='R'><x xmlns='urn:example'/></conference>", balcony)
        publish("room@x.example", "<conference xmlns='urn:xmpp:bookmarks:1' name='New'><nick>n</nick></conference>", balcony)
        let shown = list(balcony) ?? ""
        #expect(shown.contains("minimize='1'") && shown.contains("name='New'") && shown.contains("<nick>n</nick><x xmlns='urn:example'/></conference>"))
        retract("room@x.example", balcony)
        #expect(list(balcony) == "<storage xmlns='storage:bookmarks'/>")
    }

    @Test("and it has its bound", arguments: [(128 * 1024, nil), (128 * 1024 + 1, "wait/resource-constraint")] as [(Int, String?)])
    func bound(bytes: Int, error: String?) {
        let balcony = server.online("juliet/balcony")
        let frame = "<storage xmlns='storage:bookmarks'><note></note></storage>".utf8.count
        #expect(set("<note>\(String(repeating: "n", count: bytes - frame))</note>", balcony)?.error == error)
    }

    // MARK: Lists that are out of date (§5.3.2)

    private func publish(_ room: String, _ payload: String, _ client: TestClient) {
        client.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='\(room)'>\(payload)</item>\
            </publish><publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
            <value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#max_items'><value>max</value></field>\
            <field var='pubsub#access_model'><value>whitelist</value></field><field var='pubsub#send_last_published_item'><value>never</value></field>\
            </x></publish-options></pubsub></iq>
            """)
        #expect(result(client)?.error == nil)
    }

    private func retract(_ room: String, _ client: TestClient) {
        client.send("""
            <iq type='set' id='r'><pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:bookmarks:1' notify='1'><item id='\(room)'/>\
            </retract></pubsub></iq>
            """)
        #expect(result(client)?.error == nil)
    }

    private static let empty = "<conference xmlns='urn:xmpp:bookmarks:1'/>"
    private func names(_ client: TestClient) -> [String] { items(client).compactMap { $0.split(separator: "'").dropFirst().first.map(String.init) } }

    @Test("a whole list takes away only what who sends it has seen: what another client has added meanwhile stays")
    func outOfDate() {
        let balcony = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        publish("seen@x.example", Self.empty, chamber)
        _ = list(balcony)
        publish("unseen@x.example", Self.empty, chamber)
        #expect(set("<conference jid='own@x.example'/>", balcony)?.error == nil)
        #expect(names(balcony).sorted() == ["own@x.example", "unseen@x.example"])
        // Still not seen: its own list is all that it knows.
        _ = set("", balcony)
        #expect(names(balcony) == ["unseen@x.example"])
        _ = list(balcony)
        _ = set("", balcony)
        #expect(names(balcony) == [])
    }

    @Test("nor does one of a client that has not seen any take anything away, or what somebody else keeps besides rooms")
    func unseen() {
        let chamber = server.online("juliet/chamber")
        _ = set(Self.play + "<url url='http://a.example'/>", chamber)
        let balcony = server.online("juliet/balcony")
        _ = set("<url url='http://b.example'/>", balcony)
        let shown = list(chamber) ?? ""
        #expect(shown.contains(Self.play) && shown.contains("http://a.example") && shown.contains("http://b.example"))
        _ = set("<url url='http://b.example'/>", chamber)
        #expect(list(chamber) == "<storage xmlns='storage:bookmarks'><url url='http://b.example'/></storage>")
    }

    @Test("by the older node as well")
    func olderNodeOutOfDate() {
        let balcony = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        publish("seen@x.example", Self.empty, chamber)
        _ = older("<items node='storage:bookmarks'/>", "get", balcony)
        publish("unseen@x.example", Self.empty, chamber)
        _ = older("<publish node='storage:bookmarks'><item id='current'><storage xmlns='storage:bookmarks'/></item></publish>", "set", balcony)
        #expect(names(balcony) == ["unseen@x.example"])
    }

    // MARK: Events of the older node (XEP-0411 §3)

    private func listener(_ name: String) -> TestClient {
        let client = server.online(name)
        let content = "<identity category='client' type='pc' name='Lute'/><feature var='storage:bookmarks+notify'/>"
        guard let query = try? parseElement(
            ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query>"), limits: .authenticated),
            let info = DiscoInfo(query.root)
        else { return client }
        let digest = EntityCapabilities.verificationString(of: info)
        client.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>")
        let question = client.received().first { $0.element.attribute("type") == "get" }?.id
        // Another client with the same digest may have answered before.
        if let question {
            client.send("<iq type='result' id='\(question)' to='\(client.address.bare)'><query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query></iq>")
        }
        server.run()
        return client
    }

    private func told(_ client: TestClient) -> [String] {
        server.run()
        return client.received().compactMap { stanza in
            guard let items = stanza.element.firstChild("event", .pubsubEvent)?.firstChild, items.attributeEquals("node", "storage:bookmarks") else { return nil }
            return items.firstChild?.firstChild.map { String(decoding: $0.rawBytes.readableBytesView, as: UTF8.self) }
        }
    }

    @Test("who wants to hear of the older node is told of the whole list as it changes, by whichever protocol, and others are not")
    func events() {
        server.befriend("juliet", "romeo")
        let balcony = listener("juliet/balcony")
        let orchard = listener("romeo/orchard")
        let chamber = server.online("juliet/chamber")
        for client in [balcony, orchard, chamber] { client.forget() }
        publish("room@x.example", Self.empty, chamber)
        #expect(told(balcony) == ["<storage xmlns='storage:bookmarks'><conference jid='room@x.example'/></storage>"])
        _ = set("<conference jid='other@x.example'/>", chamber)
        #expect(told(balcony).last?.contains("other@x.example") == true)
        retract("room@x.example", chamber)
        #expect(told(balcony) == ["<storage xmlns='storage:bookmarks'><conference jid='other@x.example'/></storage>"])
        #expect(told(orchard) == [] && told(chamber) == [])
    }

    @Test("and as it comes online, if there are any; then it has seen them, and its list takes away what it leaves out")
    func eventsAtLogIn() {
        let first = listener("juliet/balcony")
        #expect(told(first) == [])
        publish("room@x.example", Self.empty, server.online("juliet/chamber"))
        let orchard = listener("juliet/orchard")
        // What it heard as it came is among what has come since.
        _ = set("<conference jid='own@x.example'/>", orchard)
        #expect(names(orchard) == ["own@x.example"])
    }
}
