import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0060 Publish-Subscribe: a service of a domain's")
struct PubSubServiceTests {
    private let wire = TestWire()
    private let server: TestServer

    init() throws {
        var settings = PubSubService.Settings()
        settings.operators = [try BareJID(parsing: "admin@capulet.example")]
        server = TestServer(remote: wire, pubsub: settings)
    }

    private func ask(_ type: String, _ content: String, _ client: TestClient, owner: Bool = false) -> TestStanza? {
        client.send("<iq type='\(type)' id='q' to='pubsub.capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub\(owner ? "#owner" : "")'>\(content)</pubsub></iq>")
        return client.receivedBesidesPresence().first { $0.id == "q" }
    }

    private func items(_ client: TestClient) -> [String] {
        client.receivedBesidesPresence().flatMap { stanza in
            stanza.element.firstChild("event", .pubsubEvent)?.firstChild?.children.compactMap { $0.attribute("id") } ?? []
        }
    }

    @Test("one creates and publishes, another subscribes and hears, here and elsewhere (§6.1, §7.1)")
    func published() {
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        #expect(ask("set", "<create node='blog'/>", orchard)?.error == nil)
        #expect(ask("set", "<subscribe node='blog' jid='juliet@capulet.example'/>", balcony)?.error == nil)
        let peer = TestPeer(server, ["montague.example": "pubsub.capulet.example"])
        peer.send("""
            <iq from='benvolio@montague.example/street' to='pubsub.capulet.example' type='set' id='q'>\
            <pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='blog' jid='benvolio@montague.example'/></pubsub></iq>
            """)
        _ = wire.take()
        balcony.forget()
        #expect(ask("set", "<publish node='blog'><item id='1'><entry xmlns='e'/></item></publish>", orchard)?.error == nil)
        #expect(items(balcony) == ["1"])
        #expect(wire.take().map { $0.root.attribute("to") } == ["benvolio@montague.example"])
    }

    @Test("accounts of other servers create nothing, and only owners and operators configure")
    func rights() {
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        let admin = server.online("admin/desk")
        _ = ask("set", "<create node='blog'/>", orchard)
        #expect(ask("get", "<configure node='blog'/>", balcony, owner: true)?.error == "auth/forbidden")
        #expect(ask("get", "<configure node='blog'/>", admin, owner: true)?.error == nil)
        let peer = TestPeer(server, ["montague.example": "pubsub.capulet.example"])
        peer.send("""
            <iq from='benvolio@montague.example/street' to='pubsub.capulet.example' type='set' id='q'>\
            <pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='spam'/></pubsub></iq>
            """)
        #expect(wire.take().first?.root.firstChild("error", .client)?.hasChild("forbidden", .stanzaErrors) == true)
    }

    @Test("an owner is asked whether somebody may subscribe, and answers (§8.6)")
    func approval() {
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        let form = "<configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>"
            + "<field var='pubsub#access_model'><value>authorize</value></field></x></configure>"
        #expect(ask("set", "<create node='diary'/>\(form)", orchard)?.error == nil)
        orchard.forget()
        #expect(ask("set", "<subscribe node='diary' jid='juliet@capulet.example'/>", balcony)?.description.contains("subscription='pending'") == true)
        let question = orchard.receivedBesidesPresence().first { $0.element.localName == "message" }
        let id = question?.child("x")?.children.first { $0.attribute("var") == "pubsub#subid" }?.firstChild?.text ?? ""
        orchard.send("""
            <message to='pubsub.capulet.example'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
            <value>http://jabber.org/protocol/pubsub#subscribe_authorization</value></field><field var='pubsub#subid'><value>\(id)</value></field>\
            <field var='pubsub#node'><value>diary</value></field><field var='pubsub#subscriber_jid'><value>juliet@capulet.example</value></field>\
            <field var='pubsub#allow'><value>true</value></field></x></message>
            """)
        balcony.forget()
        _ = ask("set", "<publish node='diary'><item id='1'><entry xmlns='e'/></item></publish>", orchard)
        #expect(items(balcony) == ["1"])
    }

    @Test("the service says what it is and which nodes it has (§5.1, §5.2)")
    func discovery() {
        let orchard = server.online("romeo/orchard")
        _ = ask("set", "<create node='blog'/>", orchard)
        for (query, expected) in [
            ("<query xmlns='http://jabber.org/protocol/disco#info'/>", "<identity category='pubsub' name='Publishing' type='service'/>"),
            ("<query xmlns='http://jabber.org/protocol/disco#items'/>", "<item jid='pubsub.capulet.example' node='blog'/>"),
            ("<query xmlns='http://jabber.org/protocol/disco#info' node='blog'/>", "<identity category='pubsub' type='leaf'/>"),
        ] {
            orchard.send("<iq type='get' id='d' to='pubsub.capulet.example'>\(query)</iq>")
            let answer = orchard.receivedBesidesPresence().first?.description ?? ""
            #expect(answer.contains(expected), "\(answer)")
        }
    }

    @Test("nodes are there after a restart")
    func lasting() {
        let orchard = server.online("romeo/orchard")
        _ = ask("set", "<create node='blog'/>", orchard)
        _ = ask("set", "<publish node='blog'><item id='1'><entry xmlns='e'/></item></publish>", orchard)
        let next = server.restarted()
        let again = next.online("romeo/orchard")
        #expect(ask("get", "<items node='blog'/>", again)?.description.contains("<item id='1'>") == true)
    }
}
