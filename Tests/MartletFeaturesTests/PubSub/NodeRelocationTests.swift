import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"
private let elsewhere = "xmpp:hamlet@denmark.lit?;node=blog"

@Suite("XEP-0060 §8.4.1, §6.1.3.10: nodes that are elsewhere now")
struct NodeRelocationTests {
    private func move(_ node: String, to address: String = elsewhere, _ paper: inout NodesOnPaper, by owner: String = hamlet) -> String? {
        paper.ownerSet("<delete node='\(node)'><redirect uri='\(address)'/></delete>", by: owner).refusal
    }

    @Test("whatever is asked of one is answered with where it is, also after a restart")
    func gone() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.publish("a", at: "n")
        #expect(move("n", &paper) == nil)
        for _ in 0..<2 {
            #expect(
                paper.subscribe("francisco@denmark.lit", to: "n", by: francisco) == """
                    <iq type='error' to='\(francisco)' id='1'><error type='modify'>\
                    <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>\(elsewhere)</gone></error></iq>
                    """)
            for request in ["<items node='n'/>", "<affiliations node='n'/>", "<subscriptions node='n'/>", "<default node='n'/>"] {
                #expect(paper.get(request, by: francisco).refusal == "modify/gone", "\(request)")
            }
            #expect(paper.publish("b", at: "n").refusal == "modify/gone")
            #expect(paper.ownerGet("<configure node='n'/>", by: hamlet).refusal == "modify/gone")
            #expect(paper.archive("n").last?.refusal == "modify/gone")
            let info = { (paper: NodesOnPaper) in try paper.nodes.answer(toInfoOf: "n", for: RoomOnPaper.jid(francisco), paper.audience) }
            #expect { try info(paper) } throws: { ($0 as? PubSubError)?.stanza.alternative == elsewhere }
            #expect(paper.get("<subscriptions/>", by: francisco).error == nil && paper.nodes.nodeCount == 0)
            paper.reload()
        }
    }

    @Test("until there is a node of its name again, which is another one")
    func again() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.publish("a", at: "n")
        #expect(move("n", &paper) == nil)
        paper.create("n", by: "horatio@denmark.lit/x")
        for _ in 0..<2 {
            #expect(paper.items(of: "n").isEmpty && paper.get("<items node='n'/>", by: francisco).error == nil)
            #expect(paper.ownerSet("<purge node='n'/>", by: hamlet).refusal == "auth/forbidden")
            paper.reload()
        }
        #expect(paper.ownerSet("<delete node='n'/>", by: "horatio@denmark.lit/x").error == nil)
        #expect(paper.get("<items node='n'/>", by: francisco).refusal == "cancel/item-not-found")
    }

    @Test("an account makes a node of its name by publishing, and others do not (XEP-0163)")
    func published() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet, options: ["access_model": "open"])
        #expect(move("n", &paper, by: juliet) == nil)
        #expect(paper.publish("b", at: "n", by: "romeo@montague.lit/x").refusal == "modify/gone")
        #expect(paper.publish("b", at: "n", by: juliet).error == nil)
        #expect(paper.items(of: "n", by: juliet) == ["b"])
    }

    @Test("only those hear of it who might have known of the node")
    func hidden() {
        var paper = NodesOnPaper.personal()
        let people = ["nurse@capulet.lit/x", "romeo@montague.lit/x", "benvolio@montague.lit/x"]
        for (model, knowing) in [("open", 3), ("authorize", 3), ("presence", 2), ("roster", 1), ("whitelist", 0)] {
            paper.publish("a", at: model, by: juliet, options: ["access_model": model, "roster_groups_allowed": "Servants"])
            #expect(move(model, &paper, by: juliet) == nil)
            paper.reload()
            for (index, person) in people.enumerated() {
                let refusal = paper.get("<items node='\(model)'/>", by: person).refusal
                #expect(refusal == (index < knowing ? "modify/gone" : "cancel/item-not-found"), "\(model) \(person)")
            }
            #expect(paper.get("<items node='\(model)'/>", by: juliet).refusal == "modify/gone")
        }
        paper.publish("a", at: "list", by: juliet, options: ["access_model": "whitelist"])
        paper.affiliate("nurse@capulet.lit", "member", at: "list", by: juliet)
        #expect(move("list", &paper, by: juliet) == nil)
        paper.reload()
        #expect(paper.get("<items node='list'/>", by: "nurse@capulet.lit/x").refusal == "modify/gone")
        paper.withdraw("nurse@capulet.lit")
        for _ in 0..<2 {
            #expect(paper.get("<items node='list'/>", by: "nurse@capulet.lit/x").refusal == "cancel/item-not-found")
            paper.reload()
        }
    }

    @Test("so many are remembered, the latest; both sides")
    func many() {
        var paper = NodesOnPaper.service { $0.movedMax = 2 }
        for name in ["a", "b", "c"] {
            paper.create(name)
            #expect(move(name, &paper) == nil)
            if name == "b" { #expect(paper.get("<items node='a'/>", by: francisco).refusal == "modify/gone") }
        }
        for _ in 0..<2 {
            #expect(["a", "b", "c"].map { paper.get("<items node='\($0)'/>", by: francisco).refusal } == ["cancel/item-not-found", "modify/gone", "modify/gone"])
            paper.reload()
        }
    }

    @Test("an address that is empty is none")
    func empty() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        #expect(move("n", to: "", &paper) == nil)
        #expect(paper.get("<items node='n'/>", by: francisco).refusal == "cancel/item-not-found")
    }
}
