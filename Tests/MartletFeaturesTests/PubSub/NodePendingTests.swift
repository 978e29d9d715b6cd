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

@Suite("XEP-0060 §8.7: which requests to subscribe wait for an owner")
struct NodePendingTests {
    /// Two nodes of Hamlet's where owners approve, and one of Horatio's; somebody waits at `a` and at Horatio's.
    private func paper(_ change: (inout PubSubSettings) -> Void = { _ in }) -> NodesOnPaper {
        var paper = NodesOnPaper.service(change)
        for name in ["a", "b"] { paper.create(name, ["access_model": "authorize"]) }
        paper.create("c", by: horatio, ["access_model": "authorize"])
        for node in ["a", "c"] { paper.subscribe("francisco@denmark.lit", to: node, by: francisco) }
        paper.forget()
        return paper
    }
    private func options(_ answer: TestStanza) -> [String] {
        let field = answer.child("command")?.firstChild("x", .dataForms)?.children.first { $0.attribute("var") == "pubsub#node" }
        return field?.children.filter { $0.localName == "option" }.map { $0.firstChild?.text ?? "" } ?? []
    }
    private func form(_ node: String) -> String { "<x xmlns='jabber:x:data' type='submit'>\(NodesOnPaper.field("pubsub#node", node))</x>" }
    private func session(_ answer: TestStanza) -> String { answer.child("command")?.attribute("sessionid") ?? "" }
    private func status(_ answer: TestStanza) -> String { answer.child("command")?.attribute("status") ?? "" }

    @Test("an owner is asked at which of his nodes, and then about each request as when it came, and nobody else is")
    func asked() {
        var paper = paper()
        paper.affiliate("horatio@denmark.lit", "owner", at: "a")
        let question = paper.command(by: hamlet)
        #expect(status(question) == "executing" && options(question) == ["a"])
        let answer = paper.command(form("a"), session: session(question), by: hamlet)
        #expect(status(answer) == "completed")
        #expect(paper.approvals.map(\.owners) == [[RoomOnPaper.bare("hamlet@denmark.lit")]])
        let request = TestStanza(stringLiteral: paper.approvals.first.map { String(buffer: $0.form) } ?? "<none/>")
        #expect(request.description.contains("<field label='Who wants to subscribe' type='jid-single' var='pubsub#subscriber_jid'><value>francisco@denmark.lit</value>"))
        #expect(paper.answerApproval(["node": "a", "subscriber_jid": "francisco@denmark.lit", "allow": "1"], by: hamlet) == "taken")
        #expect(status(paper.command(by: hamlet)) == "completed")
        #expect(options(paper.command(by: horatio)) == ["c"])
    }

    @Test("whoever knows the form sends it at once, with its type or without")
    func atOnce() {
        var paper = paper()
        let type = NodesOnPaper.field("FORM_TYPE", "http://jabber.org/protocol/pubsub#subscribe_authorization")
        for content in [form("a"), "<x xmlns='jabber:x:data' type='submit'>\(type)\(NodesOnPaper.field("pubsub#node", "a"))</x>"] {
            #expect(status(paper.command(content, by: hamlet)) == "completed" && paper.approvals.count == 1)
            paper.forget()
        }
        #expect(status(paper.command(form("b"), by: hamlet)) == "completed" && paper.approvals.isEmpty)
    }

    @Test("it is for owners, of nodes that there are (§8.7.3)")
    func refused() {
        var paper = paper()
        #expect(paper.command(by: francisco).error == "auth/forbidden")
        #expect(paper.command(form("c"), by: hamlet).error == "auth/forbidden")
        #expect(paper.command(form("x"), by: hamlet).error == "cancel/item-not-found")
        #expect(paper.command("<x xmlns='jabber:x:data' type='submit'/>", by: hamlet).error == "modify/bad-request")
        #expect(paper.command(form("a"), session: "x", by: hamlet).error == "cancel/not-allowed")
        #expect(paper.command(node: "http://jabber.org/protocol/admin#add-user", by: hamlet).error == "cancel/item-not-found")
        #expect(paper.approvals.isEmpty)
        let question = paper.command(by: hamlet)
        #expect(status(paper.command(session: session(question), action: "cancel", by: hamlet)) == "canceled")
    }

    @Test("administrators own every node of a service, and an account its own")
    func others() {
        var service = paper()
        service.audience.isAdmin = true
        #expect(options(service.command(by: francisco)) == ["a", "c"])
        var own = NodesOnPaper.personal()
        own.publish("x", at: "n", by: "juliet@capulet.lit/balcony", options: ["access_model": "authorize"])
        own.subscribe("romeo@montague.lit", to: "n")
        #expect(options(own.command(by: "juliet@capulet.lit/balcony")) == ["n"])
        #expect(own.command(by: "romeo@montague.lit/x").error == "auth/forbidden")
    }

    @Test("so many are asked about at a time; both sides")
    func many() {
        for (most, note) in [(3, false), (2, true)] {
            var paper = paper { $0.approvalsMax = most }
            for name in ["x", "y"] { paper.subscribe("\(name)@denmark.lit", to: "a") }
            paper.forget()
            let answer = paper.command(form("a"), by: hamlet)
            #expect(paper.approvals.count == most && (answer.child("command")?.hasChild("note", .commands) == true) == note)
        }
    }

    @Test("the command is listed for owners, and for nobody else (XEP-0050 §2.2, §2.3)")
    func listed() throws {
        let paper = paper()
        let query = TestStanza(stringLiteral: "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>").element.root
        for (actor, isListed) in [(hamlet, true), (francisco, false)] {
            let actor = RoomOnPaper.jid(actor)
            var effects = NodeEffects()
            try? paper.nodes.items(of: "http://jabber.org/protocol/commands", for: actor, paper.audience, query, &effects)
            guard case .reply(let reply) = effects.answer else { preconditionFailure("nothing is read") }
            #expect(reply.payload.map { String(buffer: $0).contains("pubsub#get-pending") } ?? false == isListed)
            for node in ["http://jabber.org/protocol/commands", "http://jabber.org/protocol/pubsub#get-pending"] {
                let info = try? paper.nodes.answer(toInfoOf: node, for: actor, paper.audience)
                #expect((info != nil) == isListed)
            }
        }
    }
}
