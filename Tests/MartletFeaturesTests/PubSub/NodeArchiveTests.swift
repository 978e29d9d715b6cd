import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"

@Suite("XEP-0442 Pubsub Message Archive Management")
struct NodeArchiveTests {
    /// Items i0 to i4, a minute apart.
    private func paper(_ change: (inout PubSubSettings) -> Void = { _ in }) -> NodesOnPaper {
        var paper = NodesOnPaper.service(change)
        paper.create("n", ["max_items": "max"])
        for number in 0..<5 {
            paper.publish("i\(number)", at: "n")
            paper.now += 60_000
        }
        paper.reload()
        paper.forget()
        return paper
    }
    private func form(_ fields: (String, String)...) -> String {
        let type = NodesOnPaper.field("FORM_TYPE", "urn:xmpp:mam:2")
        return "<x xmlns='jabber:x:data' type='submit'>\(type)\(fields.map { NodesOnPaper.field($0.0, $0.1) }.joined())</x>"
    }
    private func page(_ content: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>" }
    private func results(_ stanzas: [TestStanza]) -> [ElementView] { stanzas.compactMap { $0.child("result") } }
    private func items(_ stanzas: [TestStanza]) -> [String] {
        results(stanzas).compactMap { result in
            let message = result.firstChild?.children.first { $0.localName == "message" }
            return message?.firstChild?.firstChild?.firstChild?.attribute("id")
        }
    }
    private func names(_ stanzas: [TestStanza]) -> [String] { results(stanzas).compactMap { $0.attribute("id") } }
    private func fin(_ stanzas: [TestStanza]) -> [String: String] {
        guard let fin = stanzas.last?.child("fin"), let set = fin.firstChild("set", .resultSets) else { return [:] }
        var values = Dictionary(set.children.map { ($0.localName, $0.text) }) { first, _ in first }
        values["complete"] = fin.attribute("complete")
        return values
    }

    @Test("each item is in it as the message that told of it, one in each (§2, §3)")
    func whole() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.publish("i0", at: "n")
        let time = DateTime.text(milliseconds: paper.now)
        let event = paper.news().first?.message.description ?? ""
        let answer = paper.archive("n", attributes: "queryid='f28'")
        let id = names(answer).first ?? ""
        #expect(
            answer.first == TestStanza(stringLiteral: """
                <message from='pubsub.shakespeare.lit' to='\(francisco)'><result xmlns='urn:xmpp:mam:2' queryid='f28' id='\(id)'>\
                <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='\(time)'/>\
                \(event.replacing("<message ", with: "<message xmlns='jabber:client' from='pubsub.shakespeare.lit' "))</forwarded></result></message>
                """))
        #expect(fin(answer) == ["first": id, "last": id, "count": "1", "complete": "true"])
    }

    @Test("by pages, forwards and backwards (XEP-0313 §4.3)")
    func pages() {
        var paper = paper()
        let all = paper.archive("n")
        #expect(items(all) == ["i0", "i1", "i2", "i3", "i4"] && fin(all)["complete"] == "true" && fin(all)["count"] == "5")
        let names = names(all)
        var answer = paper.archive("n", page("<max>2</max>"))
        #expect(items(answer) == ["i0", "i1"] && fin(answer) == ["first": names[0], "last": names[1], "count": "5"])
        answer = paper.archive("n", page("<max>3</max><after>\(names[1])</after>"))
        #expect(items(answer) == ["i2", "i3", "i4"] && fin(answer)["complete"] == "true" && fin(answer)["count"] == "5")
        answer = paper.archive("n", page("<max>2</max><before/>"))
        #expect(items(answer) == ["i3", "i4"] && fin(answer)["complete"] == nil)
        answer = paper.archive("n", page("<max>2</max><before>\(names[1])</before>"))
        #expect(items(answer) == ["i0"] && fin(answer)["complete"] == "true")
        answer = paper.archive("n", page("<max>2</max>") + "<flip-page/>")
        #expect(items(answer) == ["i1", "i0"] && fin(answer)["first"] == names[0])
        answer = paper.archive("n", page("<max>0</max>"))
        #expect(items(answer).isEmpty && fin(answer) == ["count": "5"])
        #expect(paper.archive("n", page("<after>1</after>")).last?.refusal == "cancel/item-not-found")
        #expect(paper.archive("n", page("<after>x</after>")).last?.refusal == "cancel/item-not-found")
        #expect(paper.archive("n", page("<index>1</index>")).last?.refusal == "cancel/feature-not-implemented")
        #expect(paper.loads == 1)
    }

    @Test("by time and by names (XEP-0313 §4.1)")
    func filters() {
        var paper = paper()
        func time(_ number: Int64) -> String { DateTime.text(milliseconds: ManualTime.start + number * 60_000) }
        let names = names(paper.archive("n"))
        var answer = paper.archive("n", form(("start", time(1)), ("end", time(3))))
        #expect(items(answer) == ["i1", "i2", "i3"] && fin(answer)["count"] == "3" && fin(answer)["complete"] == "true")
        #expect(items(paper.archive("n", form(("start", time(5))))).isEmpty)
        answer = paper.archive("n", form(("start", time(1))) + page("<max>2</max><before/>"))
        #expect(items(answer) == ["i3", "i4"] && fin(answer)["count"] == "4")
        #expect(items(paper.archive("n", form(("after-id", names[0]), ("before-id", names[3])))) == ["i1", "i2"])
        #expect(items(paper.archive("n", form(("ids", names[4])))) == ["i4"])
        #expect(paper.archive("n", form(("ids", "1"))).last?.refusal == "cancel/item-not-found")
        for field in ["with", "include-groupchat", "{urn:xmpp:fulltext:0}fulltext", "x"] {
            let value = field == "include-groupchat" ? "1" : "a"
            #expect(paper.archive("n", form((field, value))).last?.refusal == "cancel/feature-not-implemented", "\(field)")
        }
    }

    @Test("what was published anew is where it was published last")
    func anew() {
        var paper = paper()
        paper.publish("i0", at: "n")
        #expect(items(paper.archive("n")) == ["i1", "i2", "i3", "i4", "i0"])
        paper.set("<retract node='n'><item id='i2'/></retract>", by: hamlet)
        #expect(items(paper.archive("n")) == ["i1", "i3", "i4", "i0"])
    }

    @Test("a page that would be too long is shorter; both sides")
    func long() {
        let bytes = "<entry xmlns='urn:example'>i0</entry>".utf8.count
        for (most, count) in [(5 * bytes, 5), (5 * bytes - 1, 4), (1, 1)] {
            var paper = paper { $0.pageBytesMax = most }
            let forwards = paper.archive("n")
            #expect(items(forwards) == (0..<count).map { "i\($0)" } && (fin(forwards)["complete"] == "true") == (count == 5))
            #expect(items(paper.archive("n", page("<before/>"))) == (5 - count..<5).map { "i\($0)" })
        }
    }

    @Test("who may is who may read the items (XEP-0060 §6.5)")
    func access() {
        for (model, people) in [("open", 3), ("presence", 2), ("roster", 1), ("whitelist", 0), ("authorize", 0)] {
            var paper = NodesOnPaper.personal()
            paper.publish("a", at: "n", by: juliet, options: ["access_model": model, "roster_groups_allowed": "Servants"])
            #expect(items(paper.archive("n", by: juliet)) == ["a"])
            for (index, person) in ["nurse@capulet.lit/x", "romeo@montague.lit/x", "benvolio@montague.lit/x"].enumerated() {
                let isAllowed = index < people
                #expect((paper.archive("n", by: person).last?.error == nil) == isAllowed, "\(model) \(person)")
                #expect((paper.archive("n", kind: .get, by: person).last?.error == nil) == isAllowed, "\(model) \(person)")
            }
        }
    }

    @Test("of a node that keeps nothing, of none, and for who has no resource there is no archive")
    func none() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["persist_items": "0"])
        paper.create("m")
        #expect(paper.archive("n").last?.refusal == "cancel/feature-not-implemented unsupported persistent-items")
        #expect(paper.archive("x").last?.refusal == "cancel/item-not-found")
        #expect(paper.archive("").last?.refusal == "cancel/service-unavailable")
        #expect(paper.archive("m", by: "francisco@denmark.lit").last?.refusal == "modify/bad-request")
    }

    @Test("the form says what can be asked (XEP-0313 §4.1.5)")
    func fields() {
        var paper = paper()
        let answer = paper.archive("n", kind: .get).last
        let fields = answer?.child("query")?.firstChild("x", .dataForms)?.children.compactMap { $0.attribute("var") }
        #expect(fields == ["FORM_TYPE", "start", "end", "before-id", "after-id", "ids"])
    }

    @Test("a node that keeps items says that it has an archive")
    func announced() throws {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.create("m", ["persist_items": "0"])
        let features = try ["n", "m"].map { try paper.nodes.info(of: $0, for: RoomOnPaper.jid(francisco), paper.audience).features.contains("urn:xmpp:mam:2") }
        #expect(features == [true, false])
    }
}

@Suite("XEP-0442 Pubsub Message Archive Management: at a server")
struct NodeArchiveServiceTests {
    private func results(_ client: TestClient, _ content: String, to address: String?, id: String = "q") -> (items: Int, answer: TestStanza?) {
        let to = address.map { "to='\($0)'" } ?? ""
        client.send("<iq type='set' id='\(id)' \(to)>\(content)</iq>")
        let received = client.receivedBesidesPresence()
        return (received.count { $0.child("result") != nil }, received.first { $0.id == id })
    }
    private let query = "<query xmlns='urn:xmpp:mam:2' node='blog'/>"
    private func publication(_ model: String) -> String {
        let options = NodesOnPaper.form("publish-options", ["access_model": model])
        return "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='blog'><item id='1'><entry xmlns='e'/></item></publish>"
            + "<publish-options>\(options)</publish-options></pubsub>"
    }

    @Test("an account asks its own nodes, and others ask where they may; a stranger learns nothing")
    func accounts() {
        let server = TestServer()
        let (balcony, orchard) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        _ = results(balcony, publication("open"), to: nil)
        for own in [nil, "juliet@capulet.example"] {
            let found = results(balcony, query, to: own)
            #expect(found.items == 1 && found.answer?.child("fin") != nil)
        }
        #expect(results(orchard, query, to: "juliet@capulet.example").items == 1)
        #expect(results(orchard, "<query xmlns='urn:xmpp:mam:2'/>", to: "juliet@capulet.example").answer?.error == "cancel/service-unavailable")
        let missing = query.replacing("blog", with: "secret")
        #expect(results(orchard, missing, to: "juliet@capulet.example").answer?.error == "cancel/service-unavailable")
        #expect(results(orchard, query, to: "nobody@capulet.example").answer?.error == "cancel/service-unavailable")
        // Its messages are asked as before.
        #expect(results(balcony, "<query xmlns='urn:xmpp:mam:2'/>", to: nil).answer?.child("fin") != nil)
    }

    @Test("a service says that its nodes have archives, and has none itself")
    func service() {
        let server = TestServer(pubsub: PubSubService.Settings())
        let orchard = server.online("romeo/orchard")
        _ = results(orchard, "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='blog'/></pubsub>", to: "pubsub.capulet.example")
        _ = results(orchard, publication("open"), to: "pubsub.capulet.example")
        #expect(results(orchard, query, to: "pubsub.capulet.example").items == 1)
        #expect(results(orchard, "<query xmlns='urn:xmpp:mam:2'/>", to: "pubsub.capulet.example").answer?.error == "cancel/service-unavailable")
        orchard.send("<iq type='get' id='d' to='pubsub.capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(orchard.receivedBesidesPresence().first?.description.contains("<feature var='urn:xmpp:mam:2'/>") == true)
    }
}
