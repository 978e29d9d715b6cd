import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let horatio = "horatio@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"

@Suite("XEP-0060 §8.8, §8.9: owners decide about others")
struct NodeOwnershipTests {
    private func list(_ paper: inout NodesOnPaper, _ what: String, by actor: String = hamlet) -> [String] {
        let name: StaticString = what == "affiliations" ? "affiliation" : "subscription"
        let answer = paper.ownerGet("<\(what) node='n'/>", by: actor)
        return answer.answer?.children.map { "\($0.attribute("jid") ?? "") \($0.attribute(name) ?? "")" } ?? [answer.refusal ?? ""]
    }

    // MARK: Affiliations

    @Test("the list is of all who have an affiliation, and for owners (§8.9.1)")
    func affiliations() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for (address, affiliation) in [("polonius@denmark.lit", "outcast"), ("bard@shakespeare.lit", "publisher"), ("a@b", "member"), ("c@d", "publish-only")] {
            #expect(paper.affiliate(address, affiliation, at: "n").error == nil)
        }
        let all = ["a@b member", "bard@shakespeare.lit publisher", "c@d publish-only", "hamlet@denmark.lit owner", "polonius@denmark.lit outcast"]
        #expect(list(&paper, "affiliations") == all)
        paper.reload()
        #expect(list(&paper, "affiliations") == all)
        paper.affiliate("a@b", "none", at: "n")
        #expect(list(&paper, "affiliations").count == 4)
        paper.reload()
        #expect(list(&paper, "affiliations").count == 4)
        #expect(list(&paper, "affiliations", by: "bard@shakespeare.lit/x") == ["auth/forbidden"])
        #expect(paper.affiliate("a@b", "owner", at: "n", by: "bard@shakespeare.lit/x").refusal == "auth/forbidden")
        #expect(paper.affiliate("a@b", "owner", at: "x").refusal == "cancel/item-not-found")
        #expect(paper.affiliate("a@b", "king", at: "n").refusal == "modify/bad-request")
    }

    @Test("somebody is always an owner; what is refused changes nothing and goes back as it is (§8.9.2.4)")
    func lastOwner() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        let request = """
            <affiliations node='n'><affiliation jid='hamlet@denmark.lit' affiliation='none'/>\
            <affiliation jid='bard@shakespeare.lit' affiliation='publisher'/></affiliations>
            """
        #expect(
            paper.ownerSet(request, by: hamlet) == """
                <iq type='error' to='\(hamlet)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='n'>\
                <affiliation jid='hamlet@denmark.lit' affiliation='owner'/><affiliation jid='bard@shakespeare.lit' affiliation='none'/>\
                </affiliations></pubsub><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
                """)
        #expect(list(&paper, "affiliations") == ["hamlet@denmark.lit owner"])
        #expect(paper.affiliate("hamlet@denmark.lit", "outcast", at: "n").refusal == "modify/not-acceptable")
        paper.affiliate("horatio@denmark.lit", "owner", at: "n")
        #expect(paper.affiliate("hamlet@denmark.lit", "none", at: "n").error == nil)
        #expect(list(&paper, "affiliations", by: horatio) == ["horatio@denmark.lit owner"])
    }

    @Test("owners resign themselves; nobody takes it from them but an administrator, or the account (§4.1, table 2)")
    func otherOwners() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.affiliate("horatio@denmark.lit", "owner", at: "n")
        #expect(paper.affiliate("hamlet@denmark.lit", "outcast", at: "n", by: horatio).refusal == "modify/not-acceptable")
        paper.audience.isAdmin = true
        #expect(paper.affiliate("hamlet@denmark.lit", "outcast", at: "n", by: "admin@denmark.lit/x").error == nil)
        var own = NodesOnPaper.personal()
        own.set("<create node='n'/>", by: juliet)
        own.affiliate("nurse@capulet.lit", "owner", at: "n", by: juliet)
        #expect(own.affiliate("juliet@capulet.lit", "none", at: "n", by: "nurse@capulet.lit/x").refusal == "modify/not-acceptable")
        #expect(own.affiliate("nurse@capulet.lit", "none", at: "n", by: juliet).error == nil)
        #expect(own.affiliate("juliet@capulet.lit", "member", at: "n", by: juliet).refusal == "modify/not-acceptable")
        #expect(own.affiliate("juliet@capulet.lit", "owner", at: "n", by: juliet).error == nil)
        #expect(list(&own, "affiliations", by: juliet) == ["juliet@capulet.lit owner"])
        own.affiliate("nurse@capulet.lit", "owner", at: "n", by: juliet)
        #expect(own.ownerSet("<delete node='n'/>", by: "nurse@capulet.lit/x").error == nil)
    }

    @Test("an affiliation that is not said stays (§8.9.2.1)")
    func unsaid() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.affiliate("a@b", "member", at: "n")
        paper.forget()
        #expect(paper.ownerSet("<affiliations node='n'><affiliation jid='a@b'/></affiliations>", by: hamlet).error == nil)
        #expect(paper.affiliate("a@b", "member", at: "n").error == nil)
        #expect(paper.writes.isEmpty)
        #expect(list(&paper, "affiliations") == ["a@b member", "hamlet@denmark.lit owner"])
    }

    @Test("a node has so many affiliations, and a request so many changes; both sides")
    func limits() {
        var paper = NodesOnPaper.service { ($0.affiliationsMax, $0.changesMax) = (3, 2) }
        paper.create("n")
        func changes(_ names: [String]) -> String {
            "<affiliations node='n'>" + names.map { "<affiliation jid='\($0)' affiliation='member'/>" }.joined() + "</affiliations>"
        }
        #expect(paper.ownerSet(changes(["a@x", "b@x", "c@x"]), by: hamlet).refusal == "modify/policy-violation")
        #expect(paper.ownerSet(changes(["a@x", "b@x"]), by: hamlet).error == nil)
        #expect(paper.ownerSet(changes(["c@x"]), by: hamlet).refusal == "wait/resource-constraint")
        #expect(paper.affiliate("a@x", "outcast", at: "n").error == nil)
    }

    @Test("a service's node goes with the account of its last owner, which its subscribers are told; one that has another owner stays")
    func orphaned() {
        var paper = NodesOnPaper.service()
        for name in ["gone", "n"] {
            paper.create(name, ["access_model": "open"])
            paper.publish("a", at: name)
            paper.subscribe("francisco@denmark.lit", to: name, by: francisco)
        }
        paper.affiliate("horatio@denmark.lit", "owner", at: "n")
        paper.affiliate("horatio@denmark.lit", "publisher", at: "gone")
        paper.forget()
        paper.withdraw("hamlet@denmark.lit")
        let told = paper.news()
        #expect(told.map(\.to) == [["francisco@denmark.lit"]])
        #expect(told.first?.message.child("event")?.firstChild?.localName == "delete")
        for _ in 0..<2 {
            #expect(paper.get("<items node='gone'/>", by: francisco).refusal == "cancel/item-not-found")
            #expect(paper.get("<items node='n'/>", by: francisco).error == nil)
            #expect(list(&paper, "affiliations", by: horatio) == ["horatio@denmark.lit owner"])
            paper.reload()
        }
        // Nothing of it is left for whoever makes it anew.
        paper.create("gone", by: horatio)
        let anew = paper.get("<items node='gone'/>", by: horatio)
        #expect(anew.answer != nil && anew.answer?.firstChild == nil)
    }

    @Test("an account's own nodes stay when somebody goes who had been made an owner")
    func personal() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet)
        paper.affiliate("nurse@capulet.lit", "owner", at: "n", by: juliet)
        paper.withdraw("nurse@capulet.lit")
        paper.reload()
        #expect(list(&paper, "affiliations", by: juliet) == ["juliet@capulet.lit owner"])
    }

    @Test("who is banned, may only publish, or is no member where others are not let in, is subscribed no longer and told so (§8.9.4)")
    func lostAccess() {
        for (model, affiliations) in [("open", ["outcast", "publish-only"]), ("whitelist", ["outcast", "publish-only", "none"])] {
            for affiliation in affiliations {
                var paper = NodesOnPaper.service()
                paper.create("n", ["access_model": model])
                paper.affiliate("francisco@denmark.lit", "member", at: "n")
                paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
                paper.subscribe(francisco, to: "n")
                _ = paper.news()
                paper.affiliate("francisco@denmark.lit", affiliation, at: "n")
                let told = paper.news()
                #expect(told.map(\.to) == [["francisco@denmark.lit"], [francisco]], "\(model) \(affiliation)")
                #expect(told.first?.message.child("event")?.firstChild?.attribute("subscription") == "none")
                paper.reload()
                paper.publish("a", at: "n")
                #expect(paper.news().map(\.to) == [[]])
            }
        }
    }

    @Test("long lists come by pages (XEP-0059)")
    func pages() {
        var paper = NodesOnPaper.service { $0.pageEntriesMax = 2 }
        paper.create("n")
        paper.affiliate("a@x", "member", at: "n")
        #expect(paper.ownerGet("<affiliations node='n'/>", by: hamlet).child("pubsub")?.hasChild("set", .resultSets) == false)
        paper.affiliate("b@x", "member", at: "n")
        let first = paper.ownerGet("<affiliations node='n'/>", by: hamlet)
        #expect(first.answer?.children.compactMap { $0.attribute("jid") } == ["a@x", "b@x"])
        #expect(first.child("pubsub")?.firstChild("set", .resultSets)?.firstChild("count", .resultSets)?.text == "3")
        let second = paper.ownerGet("<affiliations node='n'/><set xmlns='http://jabber.org/protocol/rsm'><after>b@x</after></set>", by: hamlet)
        #expect(second.answer?.children.compactMap { $0.attribute("jid") } == ["hamlet@denmark.lit"])
    }

    // MARK: Subscriptions

    @Test("the list has those who are subscribed, not those who wait, and is for owners (§8.8.1)")
    func subscriptions() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "authorize"])
        paper.affiliate("horatio@denmark.lit", "member", at: "n")
        paper.subscribe("horatio@denmark.lit", to: "n", by: horatio)
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        #expect(list(&paper, "subscriptions") == ["horatio@denmark.lit subscribed"])
        #expect(list(&paper, "subscriptions", by: horatio) == ["auth/forbidden"])
    }

    @Test("an owner adds, approves and removes subscribers, who are told (§8.8.2 to §8.8.4)")
    func changes() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "authorize"])
        paper.publish("a", at: "n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        paper.forget()
        func set(_ entries: String, by actor: String = hamlet) -> String? {
            paper.ownerSet("<subscriptions node='n'>\(entries)</subscriptions>", by: actor).refusal
        }
        let bard = "<subscription jid='bard@shakespeare.lit' subscription='subscribed'/>"
        #expect(set(bard, by: francisco) == "auth/forbidden")
        #expect(set(bard + "<subscription jid='francisco@denmark.lit' subscription='subscribed'/>") == nil)
        #expect(paper.news().map(\.to) == [["bard@shakespeare.lit"], ["francisco@denmark.lit"]])
        #expect(paper.lastItems.count == 2)
        #expect(list(&paper, "subscriptions") == ["bard@shakespeare.lit subscribed", "francisco@denmark.lit subscribed"])
        #expect(set("<subscription jid='bard@shakespeare.lit' subscription='none'/><subscription jid='francisco@denmark.lit'/>") == nil)
        #expect(paper.news().map(\.to) == [["bard@shakespeare.lit"]])
        paper.reload()
        #expect(list(&paper, "subscriptions") == ["francisco@denmark.lit subscribed"])
        #expect(set("<subscription jid='bard@shakespeare.lit' subscription='none'/>") == nil)
        #expect(set("<subscription jid='bard@shakespeare.lit' subscription='pending'/>") == "modify/not-acceptable")
        #expect(set("<subscription subscription='none'/>") == "modify/bad-request jid-required")
    }

    @Test("nobody is subscribed by an owner to what he may not know")
    func addedWithoutAccess() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet)
        for (contact, isAllowed) in [("romeo@montague.lit", true), ("benvolio@montague.lit", false)] {
            let entry = "<subscription jid='\(contact)' subscription='subscribed'/>"
            let refusal = paper.ownerSet("<subscriptions node='n'>\(entry)</subscriptions>", by: juliet).refusal
            #expect(refusal == (isAllowed ? nil : "modify/not-acceptable"), "\(contact)")
        }
    }

    @Test("what cannot be changed goes back as it is, and nothing is changed (§8.8.2.4)")
    func unchanged() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.affiliate("bard@shakespeare.lit", "outcast", at: "n")
        let id = paper.subscribe("francisco@denmark.lit", to: "n", by: francisco).answer?.attribute("subid") ?? ""
        _ = paper.news()
        let request = """
            <subscriptions node='n'><subscription jid='francisco@denmark.lit' subscription='none'/>\
            <subscription jid='bard@shakespeare.lit' subscription='subscribed'/></subscriptions>
            """
        #expect(
            paper.ownerSet(request, by: hamlet) == """
                <iq type='error' to='\(hamlet)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><subscriptions node='n'>\
                <subscription jid='francisco@denmark.lit' subid='\(id)' subscription='subscribed'/>\
                <subscription jid='bard@shakespeare.lit' subscription='none'/></subscriptions></pubsub>\
                <error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
                """)
        #expect(list(&paper, "subscriptions") == ["francisco@denmark.lit subscribed"])
        #expect(paper.news().isEmpty)
        #expect(
            paper.ownerSet("<subscriptions node='n'><subscription jid='francisco@denmark.lit' subid='x' subscription='none'/></subscriptions>", by: hamlet)
                .refusal == "modify/not-acceptable")
    }
}
