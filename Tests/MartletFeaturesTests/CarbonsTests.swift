import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0280 Message Carbons, XEP-0297 Stanza Forwarding")
struct CarbonsTests {
    private let server = TestServer()
    private let enable = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"

    private func copying(_ name: String, priority: Int = 0) -> TestClient {
        let client = server.online(name, priority: priority)
        client.send(enable)
        client.forget()
        return client
    }

    /// Direction and `id` of copies, `id` of the rest.
    private func names(_ client: TestClient) -> [String] {
        client.receivedBesidesPresence().map { stanza in
            let wrapper = stanza.element.children.first { $0.isIn("urn:xmpp:carbons:2") && !$0.isNamed("private", "urn:xmpp:carbons:2") }
            guard let wrapper else { return stanza.id ?? "" }
            let message = wrapper.firstChild("forwarded", "urn:xmpp:forward:0")?.firstChild
            return "\(wrapper.localName) \(message?.attribute("id") ?? "")"
        }
    }

    @Test("what one session sends and gets is copied to the others that want it (§7, §8)")
    func copies() {
        let orchard = copying("romeo/orchard")
        let garden = copying("romeo/garden")
        let street = server.online("romeo/street")
        let balcony = copying("juliet/balcony", priority: 5)
        let chamber = copying("juliet/chamber")
        for client in [orchard, garden, balcony] { client.forget() }
        orchard.send("<message to='juliet@capulet.example/balcony' type='chat' id='m1'><body>&lt;one&gt;</body></message>")
        #expect(names(orchard) == [])
        #expect(names(street) == [])
        #expect(names(balcony) == ["m1"])
        let copies = garden.receivedBesidesPresence()
        let name = copies.first?.element.children.first { $0.isNamed("sent", "urn:xmpp:carbons:2") }?.firstChild("forwarded", "urn:xmpp:forward:0")?
            .firstChild?.firstChild("stanza-id", "urn:xmpp:sid:0")?.attribute("id") ?? ""
        #expect(copies == [
            """
            <message from='romeo@capulet.example' to='romeo@capulet.example/garden' type='chat'><sent xmlns='urn:xmpp:carbons:2'>\
            <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='romeo@capulet.example/orchard' \
            to='juliet@capulet.example/balcony' type='chat' id='m1'><body>&lt;one&gt;</body>\
            <stanza-id xmlns='urn:xmpp:sid:0' id='\(name)' by='romeo@capulet.example'/></message></forwarded></sent></message>
            """
        ])
        #expect(names(chamber) == ["received m1"])
    }

    @Test("who enables twice gets one copy, who disables gets none (§10)")
    func disable() {
        server.createAccount("juliet")
        let orchard = copying("romeo/orchard")
        let garden = copying("romeo/garden")
        garden.send(enable)
        garden.forget()
        orchard.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>one</body></message>")
        #expect(names(garden) == ["sent m1"])
        for _ in 0..<2 { garden.send("<iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>") }
        orchard.send("<message to='juliet@capulet.example' type='chat' id='m2'><body>two</body></message>")
        #expect(names(garden) == ["d", "d"])
    }

    @Test(
        "which messages are copied (§6.1, announced as carbons:rules:0)",
        arguments: [
            ("type='chat'", "<x xmlns='urn:example'/>", true), ("", "<body>b</body>", true), ("", "<x xmlns='urn:example'/>", false),
            ("", "<received xmlns='urn:xmpp:receipts' id='m'/>", true), ("", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>", true),
            ("", "<active xmlns='http://jabber.org/protocol/chatstates'/>", true), ("type='headline'", "<body>b</body>", false),
            ("type='groupchat'", "<body>b</body>", false), ("", "<x xmlns='jabber:x:conference' jid='r@c.example'/>", true),
            ("", "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b.example'/></x>", true),
            ("type='chat'", "<body>b</body><x xmlns='http://jabber.org/protocol/muc#user'/>", false),
            ("type='chat'", "<body>b</body><private xmlns='urn:xmpp:carbons:2'/>", false),
            ("type='chat'", "<body>b</body><no-copy xmlns='urn:xmpp:hints'/>", false),
        ])
    func eligible(type: String, payload: String, isCopied: Bool) {
        let romeo = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        let chamber = copying("juliet/chamber")
        romeo.send("<message to='juliet@capulet.example/balcony' id='m1' \(type)>\(payload)</message>")
        #expect(names(balcony) == ["m1"])
        #expect(names(chamber) == (isCopied ? ["received m1"] : []))
    }

    @Test("what comes back is copied to those who got a copy of what was sent (§6.1)")
    func bounces() {
        let balcony = server.online("juliet/balcony")
        let chamber = copying("juliet/chamber")
        balcony.forget()
        balcony.send("<message to='nobody@capulet.example/street' type='chat' id='m1'><body>one</body></message>")
        balcony.send("<message to='nobody@capulet.example' type='headline' id='m2'><body>two</body></message>")
        #expect(names(balcony) == ["m1", "m2"])
        #expect(names(chamber) == ["sent m1", "received m1"])
    }

    @Test("an error that another sends is copied if it is from an account, where most conversation goes (§6.1)")
    func errors() {
        let romeo = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        let chamber = copying("juliet/chamber")
        balcony.forget()
        romeo.send("<message to='juliet@capulet.example/balcony' type='error' id='m1'><error type='cancel'/></message>")
        #expect(names(balcony) == ["m1"])
        #expect(names(chamber) == [])
    }

    @Test("a message to the own account reaches every session once, and not the one that sent it as a copy")
    func toOneself() {
        let balcony = copying("juliet/balcony", priority: 1)
        let chamber = copying("juliet/chamber")
        let cell = server.online("juliet/cell")
        chamber.forget()
        balcony.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>one</body></message>")
        chamber.send("<message to='juliet@capulet.example/cell' type='chat' id='m2'><body>two</body></message>")
        chamber.send("<message to='juliet@capulet.example' type='chat' id='m3'><body>three</body></message>")
        #expect(names(balcony) == ["m1", "received m2", "m3"])
        #expect(names(chamber) == ["received m1"])
        #expect(names(cell) == ["m2"])
    }

    @Test("a copy has the account's name for the message, as the message itself does")
    func stanzaID() {
        let romeo = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        let chamber = copying("juliet/chamber")
        balcony.forget()
        romeo.send("<message to='juliet@capulet.example/balcony' type='chat' id='m1'><body>one</body></message>")
        let copy = chamber.received().first?.child("received")?.firstChild?.firstChild
        let id = copy?.firstChild("stanza-id", "urn:xmpp:sid:0")?.attribute("id")
        #expect(id != nil)
        #expect(id == balcony.received().first?.child("stanza-id")?.attribute("id"))
    }

    @Test("nobody enables copies for another account")
    func others() {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<iq type='set' id='c' to='juliet@capulet.example'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
    }
}
