import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"

@Suite("XEP-0060: requests that are none")
struct PubSubRequestTests {
    @Test("a request without a node is refused with nodeid-required, but for lists, defaults and instant nodes (§7.2.3.3, §8.2.3.3)")
    func withoutNode() {
        var paper = NodesOnPaper.service()
        for request in ["<subscribe jid='\(francisco)'/>", "<publish/>", "<retract><item id='1'/></retract>", "<unsubscribe node='' jid='\(francisco)'/>"] {
            #expect(paper.set(request, by: francisco).refusal == "modify/bad-request nodeid-required", "\(request)")
        }
        for request in ["<items/>", "<options jid='\(francisco)'/>"] {
            #expect(paper.get(request, by: francisco).refusal == "modify/bad-request nodeid-required", "\(request)")
        }
        for request in ["<configure/>", "<affiliations/>", "<subscriptions/>"] {
            #expect(paper.ownerGet(request, by: francisco).refusal == "modify/bad-request nodeid-required", "\(request)")
        }
        for request in ["<delete/>", "<purge/>"] {
            #expect(paper.ownerSet(request, by: francisco).refusal == "modify/bad-request nodeid-required", "\(request)")
        }
        for request in ["<subscriptions/>", "<affiliations/>", "<default/>"] { #expect(paper.get(request, by: francisco).error == nil, "\(request)") }
        #expect(paper.set("<create/>", by: hamlet).error == nil)
    }

    @Test("what nobody knows is not implemented, and what is asked in the wrong namespace is a bad request")
    func unknown() {
        var paper = NodesOnPaper.service()
        #expect(paper.set("<dance node='n'/>", by: hamlet).refusal == "cancel/feature-not-implemented")
        #expect(paper.get("<publish node='n'/>", by: hamlet).refusal == "cancel/feature-not-implemented")
        #expect(paper.set("", by: hamlet).refusal == "modify/bad-request")
        #expect(paper.set("<delete xmlns='http://jabber.org/protocol/pubsub#owner' node='n'/>", by: hamlet).refusal == "modify/bad-request")
        #expect(paper.ownerGet("<default type='collection'/>", by: hamlet).refusal == "cancel/feature-not-implemented unsupported collections")
    }

    @Test("addresses that are none, and are missing (§6.1.3.1, §6.3.4.3)")
    func addresses() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        #expect(paper.set("<subscribe node='n' jid='@@'/>", by: francisco).refusal == "modify/bad-request invalid-jid")
        #expect(paper.set("<subscribe node='n'/>", by: francisco).refusal == "modify/bad-request invalid-jid")
        #expect(paper.get("<options node='n'/>", by: francisco).refusal == "modify/bad-request jid-required")
    }

    @Test("somebody or something is in a list once (§8.9.2.4)")
    func twice() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        let twice = "<affiliation jid='a@b' affiliation='member'/>"
        #expect(paper.ownerSet("<affiliations node='n'>\(twice)\(twice)</affiliations>", by: hamlet).refusal == "modify/bad-request")
        #expect(paper.set("<retract node='n'><item id='1'/><item id='1'/></retract>", by: hamlet).refusal == "modify/bad-request")
        #expect(paper.set("<publish node='n'><item id='1'/><item id='1'/></publish>", by: hamlet).refusal == "modify/bad-request")
    }

    @Test("a configuration beside create, and options beside subscribe, name no node (§6.3.7, §8.1.3)")
    func beside() {
        var paper = NodesOnPaper.service()
        #expect(paper.set("<create node='n'/><configure node='n'/>", by: hamlet).refusal == "modify/bad-request")
        paper.create("n")
        let form = NodesOnPaper.form("subscribe_options", ["deliver": "1"])
        #expect(paper.set("<subscribe node='n' jid='\(francisco)'/><options node='n'>\(form)</options>", by: francisco).refusal == "modify/bad-request")
        #expect(paper.set("<subscribe node='n' jid='\(francisco)'/><options jid='\(francisco)'>\(form)</options>", by: francisco).refusal == "modify/bad-request")
    }

    @Test("errors are written as the XEP has them (§6.5.9.4, §7.1.5)")
    func written() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["persist_items": "0"])
        #expect(
            paper.get("<items node='n'/>", by: francisco) == """
                <iq type='error' to='\(francisco)' id='1'><error type='cancel'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                <unsupported xmlns='http://jabber.org/protocol/pubsub#errors' feature='persistent-items'/></error></iq>
                """)
    }
}
