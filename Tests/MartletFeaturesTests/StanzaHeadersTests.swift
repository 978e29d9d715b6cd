import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let francisco = "francisco@denmark.lit/barracks"

@Suite("XEP-0131 Stanza Headers: of nodes (XEP-0060 §7.1.2.4)")
struct StanzaHeadersTests {
    private func named(_ paper: inout NodesOnPaper) -> [String: Bool] {
        Dictionary(paper.news().last?.notice.recipients.map { ($0.address.description, $0.subscriptionID != nil) } ?? []) { first, _ in first }
    }

    @Test("who has several subscriptions is told with each which one it is; who has one is not")
    func several() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["max_items": "max"])
        let answer = paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        paper.subscribe("horatio@denmark.lit", to: "n")
        paper.forget()
        paper.publish("a", at: "n")
        #expect(named(&paper) == ["francisco@denmark.lit": false, "horatio@denmark.lit": false])
        paper.subscribe(francisco, to: "n")
        paper.publish("b", at: "n")
        let recipients = paper.news().last?.notice.recipients ?? []
        let bare = recipients.first { $0.address.description == "francisco@denmark.lit" }
        #expect(bare?.subscriptionID == answer.answer?.attribute("subid") && bare?.subscriptionID != nil)
        #expect(Set(recipients.compactMap(\.subscriptionID)).count == 2 && recipients.count == 3)
        paper.set("<retract node='n' notify='1'><item id='b'/></retract>", by: "hamlet@denmark.lit/elsinore")
        #expect(named(&paper) == ["francisco@denmark.lit": true, francisco: true, "horatio@denmark.lit": false])
    }

    @Test("what is not about items is the same for all subscriptions (XEP-0060 §12.16)")
    func others() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["notify_config": "1"])
        for address in ["francisco@denmark.lit", francisco] { paper.subscribe(address, to: "n", by: francisco) }
        paper.forget()
        _ = paper.configure("n", ["title": "N"])
        #expect(named(&paper) == ["francisco@denmark.lit": false, francisco: false])
        paper.ownerSet("<purge node='n'/>", by: "hamlet@denmark.lit/elsinore")
        #expect(named(&paper) == ["francisco@denmark.lit": false, francisco: false])
    }

    @Test("a service says which headers it writes (§2.2), and writes them behind the event")
    func service() {
        let server = TestServer(pubsub: PubSubService.Settings())
        let (orchard, balcony) = (server.online("romeo/orchard"), server.online("juliet/balcony"))
        func ask(_ client: TestClient, _ type: String, _ content: String) -> TestStanza? {
            client.send("<iq type='\(type)' id='q' to='pubsub.capulet.example'>\(content)</iq>")
            return client.receivedBesidesPresence().first { $0.id == "q" }
        }
        let pubsub = { (content: String) in "<pubsub xmlns='http://jabber.org/protocol/pubsub'>\(content)</pubsub>" }
        let info = ask(balcony, "get", "<query xmlns='http://jabber.org/protocol/disco#info' node='http://jabber.org/protocol/shim'/>")
        #expect(info?.description.contains("<feature var='http://jabber.org/protocol/shim#SubID'/>") == true)
        _ = ask(orchard, "set", pubsub("<create node='blog'/>"))
        for address in ["juliet@capulet.example", "juliet@capulet.example/balcony"] {
            #expect(ask(balcony, "set", pubsub("<subscribe node='blog' jid='\(address)'/>"))?.error == nil)
        }
        _ = ask(orchard, "set", pubsub("<publish node='blog'><item id='1'><entry xmlns='e'/></item></publish>"))
        let events = balcony.receivedBesidesPresence().filter { $0.element.localName == "message" }
        #expect(events.count == 2)
        #expect(Set(events.compactMap { $0.child("headers")?.firstChild?.text }).count == 2)
        #expect(events.allSatisfy { $0.element.root.children.map(\.localName).suffix(2) == ["event", "headers"] })
    }
}
