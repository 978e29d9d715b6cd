import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"

@Suite("XEP-0060 §6.5: items are read")
struct NodeItemsTests {
    private func paper(_ count: Int, _ change: (inout PubSubSettings) -> Void = { _ in }) -> NodesOnPaper {
        var paper = NodesOnPaper.service(change)
        paper.create("n", ["max_items": "max"])
        for number in 0..<count { paper.publish("i\(number)", at: "n") }
        paper.reload()
        paper.forget()
        return paper
    }
    private func page(_ content: String) -> String { "<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>" }
    private func set(in answer: TestStanza) -> [String: String] {
        guard let set = answer.child("pubsub")?.firstChild("set", .resultSets) else { return [:] }
        return Dictionary(set.children.map { ($0.localName, $0.text) }, uniquingKeysWith: { first, _ in first })
            .merging(["index": set.firstChild("first", .resultSets)?.attribute("index") ?? ""]) { first, _ in first }
    }

    @Test("all of them, in the order of publication, without a page that nobody asked for (§6.5.2, §6.5.3)")
    func all() {
        var paper = paper(3)
        let answer = paper.get("<items node='n'/>", by: francisco)
        #expect(paper.names(in: answer) == ["i0", "i1", "i2"] && set(in: answer).isEmpty && paper.loads == 0)
        #expect(answer.answer?.firstChild?.firstChild?.isNamed("entry", "urn:example") == true)
        var empty = self.paper(0)
        #expect(
            empty.get("<items node='n'/>", by: francisco)
                == "<iq type='result' to='\(francisco)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub></iq>")
    }

    @Test("the latest of them, still in order (§6.5.7)")
    func latest() {
        var paper = paper(5)
        for (count, names) in [(1, ["i4"]), (2, ["i3", "i4"]), (9, ["i0", "i1", "i2", "i3", "i4"])] {
            let answer = paper.get("<items node='n' max_items='\(count)'/>", by: francisco)
            #expect(paper.names(in: answer) == names && set(in: answer).isEmpty)
        }
        for count in ["0", "-1", "x"] { #expect(paper.get("<items node='n' max_items='\(count)'/>", by: francisco).refusal == "modify/bad-request") }
    }

    @Test("by name; those that there are not are left out (§6.5.6, §6.5.8, §6.5.9.12)")
    func byName() {
        var paper = paper(5)
        let answer = paper.get("<items node='n'><item id='i3'/><item id='i1'/><item id='x'/></items>", by: francisco)
        #expect(paper.names(in: answer) == ["i1", "i3"] && set(in: answer).isEmpty)
        #expect(paper.names(in: paper.get("<items node='n'><item id='x'/></items>", by: francisco)).isEmpty)
        #expect(paper.get("<items node='n'><item/></items>", by: francisco).refusal == "modify/bad-request item-required")
    }

    @Test("so many names may be asked for, both sides")
    func nameCount() {
        var paper = paper(1) { $0.pageItemsMax = 2 }
        #expect(paper.get("<items node='n'><item id='a'/><item id='b'/></items>", by: francisco).error == nil)
        #expect(paper.get("<items node='n'><item id='a'/><item id='b'/><item id='c'/></items>", by: francisco).refusal == "modify/policy-violation")
    }

    @Test("page by page, forwards and backwards, by names of items (XEP-0059)")
    func pages() {
        var paper = paper(5)
        var answer = paper.get(page("<max>2</max>"), by: francisco)
        #expect(paper.names(in: answer) == ["i0", "i1"])
        #expect(set(in: answer) == ["first": "i0", "last": "i1", "count": "5", "index": "0"])
        answer = paper.get(page("<max>2</max><after>i1</after>"), by: francisco)
        #expect(paper.names(in: answer) == ["i2", "i3"] && set(in: answer)["index"] == "2")
        answer = paper.get(page("<max>2</max><after>i3</after>"), by: francisco)
        #expect(paper.names(in: answer) == ["i4"])
        answer = paper.get(page("<max>2</max><after>i4</after>"), by: francisco)
        #expect(paper.names(in: answer).isEmpty && set(in: answer)["count"] == "5" && set(in: answer)["first"] == nil)
        answer = paper.get(page("<max>2</max><before/>"), by: francisco)
        #expect(paper.names(in: answer) == ["i3", "i4"])
        answer = paper.get(page("<max>2</max><before>i3</before>"), by: francisco)
        #expect(paper.names(in: answer) == ["i1", "i2"] && set(in: answer)["index"] == "1")
        answer = paper.get(page("<max>2</max><index>3</index>"), by: francisco)
        #expect(paper.names(in: answer) == ["i3", "i4"])
        #expect(paper.names(in: paper.get(page("<index>5</index>"), by: francisco)).isEmpty)
        #expect(paper.names(in: paper.get(page("<index>6</index>"), by: francisco)).isEmpty)
        answer = paper.get(page("<max>0</max>"), by: francisco)
        #expect(paper.names(in: answer).isEmpty && set(in: answer)["count"] == "5")
        #expect(paper.get(page("<after>x</after>"), by: francisco).refusal == "cancel/item-not-found")
        #expect(paper.loads == 1)
    }

    @Test("an answer that would be too long says that it is a page (§6.5.4); both sides")
    func longAnswers() {
        for (most, isPage) in [(5, false), (4, true)] {
            var paper = paper(5) { $0.pageItemsMax = most }
            let answer = paper.get("<items node='n'/>", by: francisco)
            #expect(paper.names(in: answer).count == most && set(in: answer).isEmpty != isPage)
            if isPage { #expect(set(in: answer)["count"] == "5" && set(in: answer)["last"] == "i3") }
        }
        let bytes = "<entry xmlns='urn:example'>i0</entry>".utf8.count + 2 + 64
        for (most, count) in [(5 * bytes, 5), (5 * bytes - 1, 4), (1, 1)] {
            var paper = paper(5) { $0.pageBytesMax = most }
            let forwards = paper.get("<items node='n'/>", by: francisco)
            #expect(paper.names(in: forwards) == (0..<count).map { "i\($0)" } && set(in: forwards).isEmpty == (count == 5))
            let backwards = paper.get(page("<before/>"), by: francisco)
            #expect(paper.names(in: backwards) == (5 - count..<5).map { "i\($0)" })
            let latest = paper.get("<items node='n' max_items='5'/>", by: francisco)
            #expect(paper.names(in: latest).count == count && set(in: latest).isEmpty == (count == 5))
            let named = paper.get("<items node='n'><item id='i0'/><item id='i1'/><item id='i2'/><item id='i3'/><item id='i4'/></items>", by: francisco)
            #expect(paper.names(in: named).count == count && set(in: named).isEmpty == (count == 5))
        }
    }

    @Test("who may, by access model and affiliation (§4.1, §4.5, §6.5.1, §6.5.9)")
    func access() {
        let refusals = [
            "open": nil, "presence": "auth/not-authorized presence-subscription-required", "roster": "auth/not-authorized not-in-roster-group",
            "authorize": "auth/not-authorized not-subscribed", "whitelist": "cancel/not-allowed closed-node",
        ] as [String: String?]
        for (model, refusal) in refusals {
            var paper = NodesOnPaper.personal()
            paper.publish("a", at: "n", by: juliet, options: ["access_model": model, "roster_groups_allowed": "Servants"])
            func read(_ who: String) -> String? { paper.get("<items node='n'/>", by: who).refusal }
            #expect(read(juliet) == nil, "\(model)")
            #expect(read("benvolio@montague.lit/x") == refusal, "\(model)")
            #expect((read("romeo@montague.lit/x") == nil) == ["open", "presence"].contains(model), "\(model)")
            #expect((read("nurse@capulet.lit/x") == nil) == ["open", "presence", "roster"].contains(model), "\(model)")
            for (affiliation, isAllowed) in [("member", true), ("publisher", true), ("owner", true), ("outcast", false), ("publish-only", false)] {
                paper.affiliate("nurse@capulet.lit", affiliation, at: "n", by: juliet)
                #expect(read("nurse@capulet.lit/x") == (isAllowed ? nil : "auth/forbidden"), "\(model) \(affiliation)")
            }
        }
    }

    @Test("somebody in the group who does not see the owner's presence is not let in (§6.5.1)")
    func groupWithoutPresence() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet, options: ["access_model": "roster", "roster_groups_allowed": "Servants"])
        paper.audience.seers.remove("nurse@capulet.lit")
        #expect(paper.get("<items node='n'/>", by: "nurse@capulet.lit/x").refusal == "auth/not-authorized not-in-roster-group")
    }

    @Test("of a node where owners approve, items are for subscribers, and not for those who wait (§6.5.9.3)")
    func approved() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "authorize"])
        paper.publish("a", at: "n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        #expect(paper.get("<items node='n'/>", by: francisco).refusal == "auth/not-authorized not-subscribed")
        paper.ownerSet("<subscriptions node='n'><subscription jid='francisco@denmark.lit' subscription='subscribed'/></subscriptions>", by: hamlet)
        #expect(paper.names(in: paper.get("<items node='n'/>", by: francisco)) == ["a"])
    }

    @Test("a subscription that is named is one's own (§6.5.9.2); nodes there are not (§6.5.9.11)")
    func otherErrors() {
        var paper = paper(1)
        #expect(paper.get("<items node='x'/>", by: francisco).refusal == "cancel/item-not-found")
        #expect(paper.get("<items node='n' subid='x'/>", by: francisco).refusal == "modify/not-acceptable invalid-subid")
        let id = paper.subscribe("francisco@denmark.lit", to: "n", by: francisco).answer?.attribute("subid") ?? ""
        #expect(paper.get("<items node='n' subid='\(id)'/>", by: francisco).error == nil)
        #expect(paper.get("<items node='n' subid='\(id)'/>", by: hamlet).refusal == "modify/not-acceptable invalid-subid")
    }

    @Test("items that are too old are not there, whether or not the store has taken them away (`pubsub#item_expire`)")
    func expiry() {
        for isSingle in [false, true] {
            var paper = NodesOnPaper.service()
            paper.create("n", ["item_expire": "60", "max_items": isSingle ? "1" : "10"])
            paper.publish("a", at: "n")
            paper.now += 60_000
            #expect(paper.items(of: "n") == ["a"])
            paper.now += 1
            #expect(paper.items(of: "n").isEmpty)
            #expect(paper.names(in: paper.get("<items node='n'><item id='a'/></items>", by: francisco)).isEmpty)
            #expect(paper.set("<retract node='n'><item id='a'/></retract>", by: hamlet).refusal == "cancel/item-not-found")
            #expect(paper.nodes.byteCount == 0)
            paper.reload()
            let answer = paper.get(page(""), by: francisco)
            #expect(paper.names(in: answer).isEmpty && set(in: answer)["count"] == "0")
            paper.publish("b", at: "n")
            #expect(paper.items(of: "n") == ["b"])
        }
    }

    @Test("who comes online is sent the last item of nodes that he wants to know of, and may (XEP-0163 §4.3.4)")
    func lastItems() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "tune", by: juliet)
        paper.publish("b", at: "secret", by: juliet, options: ["access_model": "whitelist"])
        paper.publish("c", at: "quiet", by: juliet, options: ["send_last_published_item": "never"])
        paper.publish("d", at: "other", by: juliet)
        paper.set("<create node='empty'/>", by: juliet)
        func names(_ who: String) -> [String] {
            guard case .full(let session) = RoomOnPaper.jid(who) else { return [] }
            return paper.nodes.lastItems(for: session, paper.audience, paper.moment) { $0 != "other" }.map(\.name).sorted()
        }
        #expect(names("romeo@montague.lit/orchard") == ["tune"])
        #expect(names("juliet@capulet.lit/chamber") == ["secret", "tune"])
        #expect(names("benvolio@montague.lit/x").isEmpty)
        paper.affiliate("romeo@montague.lit", "outcast", at: "tune", by: juliet)
        #expect(names("romeo@montague.lit/orchard").isEmpty)
    }

    @Test("a node that is full stays as full as it may be")
    func manyItems() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["max_items": "100"])
        for number in 0..<300 { paper.publish("i\(number)", at: "n") }
        #expect(paper.items(of: "n") == (200..<300).map { "i\($0)" })
        #expect(paper.nodes.byteCount == 100 * "<entry xmlns='urn:example'>i200</entry>".utf8.count)
    }
}
