import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

private let hamlet = "hamlet@denmark.lit/elsinore"
private let horatio = "horatio@denmark.lit/elsinore"
private let francisco = "francisco@denmark.lit/barracks"
private let juliet = "juliet@capulet.lit/balcony"
private let event = "xmlns='http://jabber.org/protocol/pubsub#event'"

@Suite("XEP-0060 §6.1 to §6.4, §8.6: subscriptions")
struct NodeSubscriptionTests {
    private func id(_ answer: TestStanza) -> String { answer.answer?.attribute("subid") ?? "" }

    // MARK: Subscribing

    @Test("of one's own addresses, bare and full, each by itself (§6.1.1, §6.1.2, §6.1.6)")
    func subscribing() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        let answer = paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        #expect(
            answer == """
                <iq type='result' to='\(francisco)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                <subscription node='n' jid='francisco@denmark.lit' subid='\(id(answer))' subscription='subscribed'/></pubsub></iq>
                """)
        #expect(id(paper.subscribe(francisco, to: "n")) != id(answer))
        paper.reload()
        #expect(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco) == answer)
        paper.publish("a", at: "n")
        #expect(paper.news().map(\.to) == [["francisco@denmark.lit", francisco]])
    }

    @Test("but not of anybody else's (§6.1.3.1)")
    func others() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        #expect(paper.subscribe("horatio@denmark.lit", to: "n", by: francisco).refusal == "modify/bad-request invalid-jid")
        #expect(paper.subscribe("horatio@denmark.lit", to: "n", by: hamlet).refusal == "modify/bad-request invalid-jid")
    }

    @Test("not where there is no node, none for others, or no access (§6.1.3)")
    func refusals() {
        var paper = NodesOnPaper.personal()
        let benvolio = "benvolio@montague.lit"
        #expect(paper.subscribe(benvolio, to: "n").refusal == "cancel/item-not-found")
        for (model, refusal) in [
            ("presence", "auth/not-authorized presence-subscription-required"), ("roster", "auth/not-authorized not-in-roster-group"),
            ("whitelist", "cancel/not-allowed closed-node"), ("open", nil),
        ] as [(String, String?)] {
            paper.publish("a", at: model, by: juliet, options: ["access_model": model, "roster_groups_allowed": "Servants"])
            #expect(paper.subscribe(benvolio, to: model).refusal == refusal, "\(model)")
            #expect((paper.subscribe("romeo@montague.lit", to: model).refusal == nil) == ["presence", "open"].contains(model), "\(model)")
            #expect((paper.subscribe("nurse@capulet.lit", to: model).refusal == nil) == (model != "whitelist"), "\(model)")
            paper.affiliate(benvolio, "member", at: model, by: juliet)
            #expect(paper.subscribe(benvolio, to: model).error == nil, "\(model)")
            for affiliation in ["outcast", "publish-only"] {
                paper.affiliate(benvolio, affiliation, at: model, by: juliet)
                #expect(paper.subscribe(benvolio, to: model).refusal == "auth/forbidden", "\(model) \(affiliation)")
            }
        }
        _ = paper.configure("open", by: juliet, ["subscribe": "0"])
        #expect(paper.subscribe("tybalt@capulet.lit", to: "open").refusal == "cancel/feature-not-implemented unsupported subscribe")
    }

    @Test("there are so many subscriptions to a node, and so many of one account; both sides (§6.1.3.9)")
    func limits() {
        var paper = NodesOnPaper.service { ($0.subscriptionsMax, $0.subscriptionsPerAccountMax) = (3, 2) }
        paper.create("n")
        #expect(paper.subscribe("francisco@denmark.lit/a", to: "n").error == nil)
        #expect(paper.subscribe("francisco@denmark.lit/b", to: "n").error == nil)
        #expect(paper.subscribe("francisco@denmark.lit/c", to: "n").refusal == "wait/policy-violation too-many-subscriptions")
        #expect(paper.subscribe("bernardo@denmark.lit", to: "n").error == nil)
        #expect(paper.subscribe("marcellus@denmark.lit", to: "n").refusal == "wait/policy-violation too-many-subscriptions")
        #expect(paper.subscribe("bernardo@denmark.lit", to: "n").error == nil)
        paper.set("<unsubscribe node='n' jid='bernardo@denmark.lit'/>", by: "bernardo@denmark.lit/x")
        #expect(paper.subscribe("marcellus@denmark.lit", to: "n").error == nil)
    }

    @Test("who subscribes is sent the last item, with its time, unless never (§6.1.7)")
    func lastItem() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.subscribe("bernardo@denmark.lit", to: "n")
        #expect(paper.lastItems.isEmpty)
        paper.publish("a", at: "n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        let stamp = "stamp='\(DateTime.text(milliseconds: paper.now))'"
        #expect(
            paper.lastItems == [
                "francisco@denmark.lit <event \(event)><items node='n'><item id='a'><entry xmlns='urn:example'>a</entry></item></items></event>"
                    + "<delay xmlns='urn:xmpp:delay' \(stamp)/>"
            ])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        #expect(paper.lastItems.count == 1)
        _ = paper.configure("n", ["send_last_published_item": "never"])
        paper.subscribe("horatio@denmark.lit", to: "n", by: horatio)
        #expect(paper.lastItems.count == 1)
    }

    @Test("owners who want to know are told who comes and goes (`pubsub#notify_sub`)")
    func ownersAreTold() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["notify_sub": "1"])
        let id = id(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco))
        paper.set("<unsubscribe node='n' jid='francisco@denmark.lit'/>", by: francisco)
        let told = paper.news()
        #expect(told.map(\.to) == [["hamlet@denmark.lit"], ["hamlet@denmark.lit"]])
        for (one, state) in zip(told, ["subscribed", "none"]) {
            #expect(
                one.message == """
                    <message type='headline'><event \(event)><subscription node='n' jid='francisco@denmark.lit' subid='\(id)' \
                    subscription='\(state)'/></event></message>
                    """)
        }
    }

    // MARK: Unsubscribing

    @Test("ends one's own subscription (§6.2)")
    func unsubscribing() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        let id = id(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco))
        paper.reload()
        #expect(paper.set("<unsubscribe node='n' jid='francisco@denmark.lit'/>", by: horatio).refusal == "auth/forbidden")
        #expect(paper.set("<unsubscribe node='n' jid='\(francisco)'/>", by: francisco).refusal == "cancel/unexpected-request not-subscribed")
        #expect(paper.set("<unsubscribe node='n' jid='francisco@denmark.lit' subid='x'/>", by: francisco).refusal == "modify/not-acceptable invalid-subid")
        #expect(paper.set("<unsubscribe node='x' jid='francisco@denmark.lit'/>", by: francisco).refusal == "cancel/item-not-found")
        #expect(
            paper.set("<unsubscribe node='n' jid='francisco@denmark.lit' subid='\(id)'/>", by: francisco) == """
                <iq type='result' to='\(francisco)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                <subscription node='n' jid='francisco@denmark.lit' subid='\(id)' subscription='none'/></pubsub></iq>
                """)
        paper.reload()
        paper.publish("a", at: "n")
        #expect(paper.news().map(\.to) == [[]])
    }

    // MARK: Options

    @Test("are shown, set and kept (§6.3)")
    func options() {
        var paper = NodesOnPaper.service()
        paper.create("n", ["presence_based_delivery": "1"])
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        func set(_ fields: String) -> TestStanza {
            let type = NodesOnPaper.field("FORM_TYPE", "http://jabber.org/protocol/pubsub#subscribe_options")
            return paper.set("<options node='n' jid='francisco@denmark.lit'><x xmlns='jabber:x:data' type='submit'>\(type)\(fields)</x></options>", by: francisco)
        }
        let shows = "<field var='pubsub#show-values'><value>chat</value><value>online</value></field>"
        #expect(set(NodesOnPaper.field("pubsub#include_body", "1") + shows).error == nil)
        paper.reload()
        let form = paper.get("<options node='n' jid='francisco@denmark.lit'/>", by: francisco).form
        #expect(form["pubsub#deliver"] == ["1"] && form["pubsub#include_body"] == ["1"] && form["pubsub#show-values"] == ["chat", "online"])
        paper.publish("a", at: "n")
        var recipient = NodeRecipient(RoomOnPaper.jid("francisco@denmark.lit"))
        (recipient.includesBody, recipient.isOnlyIfAvailable, recipient.shows) = (true, true, [.chat, .online])
        #expect(paper.news().map(\.notice.recipients) == [[recipient]])
        #expect(set(NodesOnPaper.field("pubsub#deliver", "0")).error == nil)
        paper.publish("b", at: "n")
        #expect(paper.news().map(\.to) == [[]])
    }

    @Test("that are none are refused, and digests are not supported (§6.3.6.2)")
    func wrongOptions() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        func set(_ name: String, _ value: String, _ type: String = "subscribe_options") -> String? {
            paper.set("<options node='n' jid='francisco@denmark.lit'>\(NodesOnPaper.form(type, [name: value]))</options>", by: francisco).refusal
        }
        let invalid = "modify/bad-request invalid-options"
        #expect(set("deliver", "perhaps") == invalid && set("show-values", "drunk") == invalid && set("deliver", "1", "node_config") == invalid)
        #expect(set("expire", "tomorrow") == invalid && set("expire", "presence") == invalid && set("expire", "2006-03-31T23:59:59Z") == invalid)
        #expect(set("digest", "1") == "cancel/feature-not-implemented unsupported digest" && set("digest", "0") == nil)
        #expect(paper.set("<options node='n' jid='francisco@denmark.lit'/>", by: francisco).refusal == invalid)
        for request in ["<options node='n' jid='francisco@denmark.lit'/>"] {
            #expect(paper.get(request, by: horatio).refusal == "auth/forbidden")
        }
        #expect(paper.get("<options node='n' jid='\(francisco)'/>", by: francisco).refusal == "modify/unexpected-request not-subscribed")
        #expect(paper.get("<options node='n' jid='francisco@denmark.lit' subid='x'/>", by: francisco).refusal == "modify/not-acceptable invalid-subid")
        #expect(paper.get("<options node='x' jid='francisco@denmark.lit'/>", by: francisco).refusal == "cancel/item-not-found")
    }

    @Test("may come with the subscription, which is not made if they are wrong (§6.3.7)")
    func subscribeAndConfigure() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        func subscribe(_ value: String) -> TestStanza {
            let form = NodesOnPaper.form("subscribe_options", ["deliver": value])
            return paper.set("<subscribe node='n' jid='francisco@denmark.lit'/><options>\(form)</options>", by: francisco)
        }
        #expect(subscribe("maybe").refusal == "modify/bad-request invalid-options")
        #expect(paper.get("<subscriptions/>", by: francisco).answer?.firstChild == nil)
        let answer = subscribe("0")
        #expect(answer.child("pubsub")?.firstChild("options", .pubsub)?.firstChild?.attributeEquals("type", "result") == true)
        paper.publish("a", at: "n")
        #expect(paper.news().map(\.to) == [[]])
    }

    @Test("as they are by default, of a node or of all (§6.4)")
    func defaultOptions() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        for request in ["<default/>", "<default node='n'/>"] { #expect(paper.get(request, by: francisco).form["pubsub#deliver"] == ["1"]) }
        #expect(paper.get("<default node='x'/>", by: francisco).refusal == "cancel/item-not-found")
    }

    @Test("a subscription ends by itself when it says so (§12.21)")
    func leases() {
        var paper = NodesOnPaper.service()
        paper.create("n")
        paper.subscribe("francisco@denmark.lit", to: "n", by: francisco)
        let end = NodesOnPaper.form("subscribe_options", ["expire": DateTime.text(milliseconds: paper.now + 60_000)])
        paper.set("<options node='n' jid='francisco@denmark.lit'>\(end)</options>", by: francisco)
        paper.reload()
        paper.now += 59_999
        paper.publish("a", at: "n")
        #expect(paper.news().map(\.to) == [["francisco@denmark.lit"]])
        paper.now += 1
        paper.publish("b", at: "n")
        #expect(paper.news().map(\.to) == [[]])
        #expect(paper.disk.stored.allSatisfy { $0.subscriptions.isEmpty })
    }

    // MARK: Lists

    @Test("of one's own subscriptions and affiliations, at all nodes or one (§5.6, §5.7)")
    func lists() {
        var paper = NodesOnPaper.service()
        paper.create("b")
        paper.create("a", by: horatio)
        paper.create("c")
        paper.affiliate("horatio@denmark.lit", "outcast", at: "b")
        paper.subscribe("horatio@denmark.lit", to: "a", by: horatio)
        paper.subscribe(horatio, to: "c")
        func entries(_ request: String, _ name: StaticString) -> [String] {
            paper.get(request, by: horatio).answer?.children.map { "\($0.attribute("node") ?? "") \($0.attribute(name) ?? "")" } ?? ["none"]
        }
        #expect(entries("<affiliations/>", "affiliation") == ["a owner", "b outcast"])
        #expect(entries("<affiliations node='b'/>", "affiliation") == ["b outcast"])
        #expect(entries("<subscriptions/>", "jid") == ["a horatio@denmark.lit", "c \(horatio)"])
        #expect(entries("<subscriptions node='c'/>", "subscription") == ["c subscribed"])
        #expect(entries("<subscriptions node='b'/>", "jid").isEmpty)
        #expect(paper.get("<subscriptions node='x'/>", by: horatio).refusal == "cancel/item-not-found")
        #expect(entries("<affiliations/><set xmlns='http://jabber.org/protocol/rsm'><max>1</max><after>a</after></set>", "node") == ["b b"])
        #expect(
            paper.get("<affiliations/>", by: francisco)
                == "<iq type='result' to='\(francisco)' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><affiliations/></pubsub></iq>")
    }

    // MARK: Approval

    private func pending() -> NodesOnPaper {
        var paper = NodesOnPaper.service()
        paper.create("n", ["access_model": "authorize"])
        paper.publish("a", at: "n")
        #expect(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco).answer?.attribute("subscription") == "pending")
        _ = paper.news()
        return paper
    }

    @Test("owners are asked, and nobody is told of anything before one of them agrees (§6.1.4, §8.6)")
    func asking() {
        var paper = pending()
        #expect(paper.approvals.map(\.owners) == [[RoomOnPaper.bare("hamlet@denmark.lit")]])
        let form = paper.approvals.first.flatMap { try? DataForm(TestStanza(stringLiteral: String(buffer: $0.form)).element.root) }
        #expect(form?.kind == .form && form?.type == "http://jabber.org/protocol/pubsub#subscribe_authorization")
        #expect(form?.fields.compactMap(\.name) == ["FORM_TYPE", "pubsub#subid", "pubsub#node", "pubsub#subscriber_jid", "pubsub#allow"])
        #expect(paper.lastItems.isEmpty)
        paper.publish("b", at: "n")
        #expect(paper.news().map(\.to) == [[]])
        #expect(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco).refusal == "auth/not-authorized pending-subscription")
        paper.reload()
        #expect(paper.subscribe("francisco@denmark.lit", to: "n", by: francisco).refusal == "auth/not-authorized pending-subscription")
    }

    @Test("an owner agrees: the subscriber is told, and sent the last item (§8.6)")
    func agreeing() {
        var paper = pending()
        let fields = ["node": "n", "subscriber_jid": "francisco@denmark.lit", "allow": "true"]
        #expect(paper.answerApproval(fields, by: hamlet) == "taken")
        let told = paper.news()
        #expect(told.map(\.to) == [["francisco@denmark.lit"]])
        #expect(told.first?.message.child("event")?.firstChild?.attribute("subscription") == "subscribed")
        #expect(paper.lastItems.count == 1)
        #expect(paper.answerApproval(fields, by: hamlet) == "item-not-found")
        paper.reload()
        #expect(paper.names(in: paper.get("<items node='n'/>", by: francisco)) == ["a"])
    }

    @Test("an owner does not agree, or decides nothing (§8.6)")
    func disagreeing() {
        var paper = pending()
        #expect(paper.answerApproval([:], type: "cancel", by: hamlet) == "taken")
        #expect(paper.news().isEmpty)
        #expect(paper.answerApproval(["node": "n", "subscriber_jid": "francisco@denmark.lit", "allow": "0"], by: hamlet) == "taken")
        #expect(paper.news().first?.message.child("event")?.firstChild?.attribute("subscription") == "none")
        #expect(paper.get("<subscriptions/>", by: francisco).answer?.firstChild == nil)
    }

    @Test("nobody else decides, not even who waits (§8.6)")
    func strangersApproving() {
        var paper = pending()
        let fields = ["node": "n", "subscriber_jid": "francisco@denmark.lit", "allow": "1"]
        #expect(paper.answerApproval(fields, by: francisco) == "forbidden")
        #expect(paper.answerApproval(fields.merging(["node": "x"]) { $1 }, by: hamlet) == "item-not-found")
        #expect(paper.answerApproval(fields.merging(["subid": "x"]) { $1 }, by: hamlet) == "not-acceptable")
        #expect(paper.answerApproval(fields.merging(["subscriber_jid": "bernardo@denmark.lit"]) { $1 }, by: hamlet) == "item-not-found")
        #expect(paper.answerApproval(["node": "n"], by: hamlet) == "bad-request")
        #expect(paper.answerApproval(fields, type: "form", by: hamlet) == "left")
        #expect(paper.get("<items node='n'/>", by: francisco).refusal == "auth/not-authorized not-subscribed")
    }

    @Test("members and publishers need no approval (§6.1.4); who becomes one, and all where a node is opened, have it (§8.7.4)")
    func withoutApproval() {
        var paper = pending()
        paper.affiliate("horatio@denmark.lit", "member", at: "n")
        #expect(paper.subscribe("horatio@denmark.lit", to: "n", by: horatio).answer?.attribute("subscription") == "subscribed")
        paper.affiliate("francisco@denmark.lit", "publisher", at: "n")
        #expect(paper.news().last?.message.child("event")?.firstChild?.attribute("subscription") == "subscribed")
        paper = pending()
        paper.affiliate("francisco@denmark.lit", "outcast", at: "n")
        #expect(paper.news().last?.message.child("event")?.firstChild?.attribute("subscription") == "none")
        paper = pending()
        _ = paper.configure("n", ["access_model": "open"])
        #expect(paper.news().last?.message.child("event")?.firstChild?.attribute("subscription") == "subscribed")
    }

    // MARK: Access that is lost

    @Test("who may not know any more is subscribed no longer, and told so (XEP-0163 §6.1)")
    func lostPresence() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet)
        paper.subscribe("romeo@montague.lit", to: "n")
        _ = paper.news()
        paper.review("romeo@montague.lit")
        #expect(paper.news().isEmpty)
        paper.audience.seers.remove("romeo@montague.lit")
        paper.review("romeo@montague.lit")
        let told = paper.news()
        #expect(told.map(\.to) == [["romeo@montague.lit"]])
        #expect(told.first?.message.child("event")?.firstChild?.attribute("subscription") == "none")
        paper.reload()
        paper.publish("b", at: "n", by: juliet)
        #expect(paper.news().map(\.to) == [[]])
    }

    @Test("the same where the node is closed, or the groups are others")
    func closedNode() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet, options: ["access_model": "open"])
        for contact in ["romeo@montague.lit", "nurse@capulet.lit", "benvolio@montague.lit", "juliet@capulet.lit"] { paper.subscribe(contact, to: "n") }
        func left() -> [String] {
            paper.forget()
            paper.publish("b", at: "n", by: juliet)
            return paper.news().first?.to ?? []
        }
        _ = paper.configure("n", by: juliet, ["access_model": "presence"])
        #expect(left() == ["juliet@capulet.lit", "nurse@capulet.lit", "romeo@montague.lit"])
        _ = paper.configure("n", by: juliet, ["access_model": "roster", "roster_groups_allowed": "Servants"])
        #expect(left() == ["juliet@capulet.lit", "nurse@capulet.lit"])
        _ = paper.configure("n", by: juliet, ["roster_groups_allowed": "Friends"])
        #expect(left() == ["juliet@capulet.lit"])
        _ = paper.configure("n", by: juliet, ["access_model": "whitelist"])
        #expect(left() == ["juliet@capulet.lit"])
    }

    @Test("an account's notice says who may be told without having subscribed, as it was then (§9.1)")
    func implicitSubscribers() {
        var paper = NodesOnPaper.personal()
        paper.publish("a", at: "n", by: juliet)
        paper.publish("b", at: "w", by: juliet, options: ["access_model": "whitelist"])
        paper.affiliate("nurse@capulet.lit", "member", at: "w", by: juliet)
        paper.affiliate("nurse@capulet.lit", "outcast", at: "n", by: juliet)
        paper.publish("c", at: "w", by: juliet)
        paper.publish("d", at: "n", by: juliet)
        paper.ownerSet("<delete node='n'/>", by: juliet)
        let told = paper.news()
        func may(_ contact: String) -> [Bool] {
            told.map { $0.notice.implicit?.mayReceive(RoomOnPaper.bare(contact), paper.audience) ?? false }
        }
        #expect(told.map(\.notice.name) == ["n", "w", "w", "n", "n"])
        #expect(may("romeo@montague.lit") == [true, false, false, true, true])
        #expect(may("nurse@capulet.lit") == [true, false, true, false, false])
        #expect(may("benvolio@montague.lit") == [false, false, false, false, false])
        #expect(may("juliet@capulet.lit") == [true, true, true, true, true])
    }
}
