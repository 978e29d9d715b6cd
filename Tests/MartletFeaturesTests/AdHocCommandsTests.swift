import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// The protocol, with a command that asks for a service, then for a mode, and is done.
@Suite("XEP-0050 Ad-Hoc Commands")
struct AdHocCommandsTests {
    private static let requester = RoomOnPaper.jid("requester@domain.example/desk")

    private struct Responder {
        var sessions = CommandSessions()
        var now: Int64 = 0
        let random = SeededRandom(seed: 3)
        /// What the command was carried out with.
        var done: [[String]] = []

        /// - Returns: the reply, or the condition of the error with its application's.
        mutating func receive(_ attributes: String, _ value: String? = nil, by requester: JID = AdHocCommandsTests.requester, type: String = "submit") -> TestStanza {
            let form = value.map { "<x xmlns='jabber:x:data' type='\(type)'><field var='value'><value>\($0)</value></field></x>" } ?? ""
            let text = "<command xmlns='http://jabber.org/protocol/commands' \(attributes)>\(form)</command>"
            do throws(StanzaError) {
                guard let element = try? parseElement(ByteBuffer(string: text), limits: .authenticated) else { preconditionFailure("no command") }
                switch try sessions.take(try CommandRequest(element.root), by: requester, now: now) {
                case .canceled(let reply): return Self.parsed(reply)
                case .stage(let stage): return Self.parsed(sessions.conclude(stage, decide(stage.answers), by: requester, now: now, random))
                }
            } catch { return TestStanza(stringLiteral: "<error>\(error.condition.rawValue) \(error.application?.local ?? "-")</error>") }
        }

        private mutating func decide(_ answers: [DataForm]) -> CommandStep {
            let values = answers.compactMap { $0.fields.first?.values.first }
            switch answers.count {
            case 0, 1: return .ask(DataForm(.form, title: "\(answers.count)"), isLast: answers.count == 1)
            default:
                done.append(values)
                return .done(notes: [CommandNote(.info, "done")])
            }
        }

        private static func parsed(_ reply: IQReply) -> TestStanza { TestStanza(stringLiteral: String(buffer: reply.payload ?? ByteBuffer())) }
    }

    private func id(_ reply: TestStanza) -> String { reply.element.attribute("sessionid") ?? "" }
    private func status(_ reply: TestStanza) -> String? { reply.element.attribute("status") }
    private func title(_ reply: TestStanza) -> String? { reply.child("x")?.firstChild?.text }
    private func actions(_ reply: TestStanza) -> [String] { (reply.child("actions")?.children.map(\.localName) ?? []) + [reply.child("actions")?.attribute("execute") ?? ""] }
    private func error(_ reply: TestStanza) -> String { reply.element.root.text }

    @Test("a command leads through its stages, and each says what may be done there (§2.4.2)")
    func stages() {
        var responder = Responder()
        let first = responder.receive("node='config' action='execute'")
        #expect(status(first) == "executing" && title(first) == "0" && actions(first) == ["next", "next"])
        let second = responder.receive("node='config' sessionid='\(id(first))'", "httpd")
        #expect(id(second) == id(first) && title(second) == "1" && actions(second) == ["prev", "complete", "complete"])
        let last = responder.receive("node='config' sessionid='\(id(first))' action='complete'", "on")
        #expect(status(last) == "completed" && last.child("note")?.text == "done" && responder.done == [["httpd", "on"]])
        #expect(error(responder.receive("node='config' sessionid='\(id(first))'", "off")) == "not-allowed session-expired")
        #expect(responder.sessions.count == 0)
    }

    @Test("prev goes back to the stage before, whose answer is given anew")
    func back() {
        var responder = Responder()
        let session = id(responder.receive("node='config'"))
        _ = responder.receive("node='config' sessionid='\(session)' action='next'", "httpd")
        #expect(title(responder.receive("node='config' sessionid='\(session)' action='prev'")) == "0")
        #expect(error(responder.receive("node='config' sessionid='\(session)' action='prev'")) == "bad-request bad-action")
        _ = responder.receive("node='config' sessionid='\(session)'", "jabberd")
        _ = responder.receive("node='config' sessionid='\(session)'", "on")
        #expect(responder.done == [["jabberd", "on"]])
    }

    @Test("cancel ends a command at any stage (§2.4.3)")
    func cancel() {
        var responder = Responder()
        let session = id(responder.receive("node='config'"))
        #expect(status(responder.receive("node='config' sessionid='\(session)' action='cancel'")) == "canceled")
        #expect(error(responder.receive("node='config' sessionid='\(session)'", "httpd")) == "not-allowed session-expired")
        #expect(responder.done.isEmpty)
    }

    @Test("a first request with a form is the answer to the first stage; a form of type cancel counts as submitted (§3.5.1)")
    func atOnce() {
        var responder = Responder()
        let second = responder.receive("node='config'", "httpd")
        #expect(title(second) == "1")
        _ = responder.receive("node='config' sessionid='\(id(second))'", "on", type: "cancel")
        #expect(responder.done == [["httpd", "on"]])
    }

    @Test("what is out of place is refused, and the command is where it was (§4.4)")
    func refused() {
        var responder = Responder()
        let session = id(responder.receive("node='config'"))
        #expect(error(responder.receive("node='config' action='dance'")) == "bad-request malformed-action")
        #expect(error(responder.receive("node='config' action='prev'")) == "bad-request bad-action")
        #expect(error(responder.receive("node='config' action='cancel'")) == "bad-request bad-action")
        #expect(error(responder.receive("node='config' sessionid='\(session)' action='complete'", "httpd")) == "bad-request bad-action")
        #expect(error(responder.receive("node='config' sessionid='\(session)'")) == "bad-request bad-payload")
        #expect(error(responder.receive("node='config' sessionid='\(session)'", "httpd", type: "result")) == "bad-request bad-payload")
        #expect(error(responder.receive("node='other' sessionid='\(session)'", "httpd")) == "bad-request bad-sessionid")
        #expect(title(responder.receive("node='config' sessionid='\(session)'", "httpd")) == "1")
        #expect(error(responder.receive("node='config' sessionid='\(session)' action='next'", "on")) == "bad-request bad-action")
        #expect(responder.done.isEmpty)
    }

    @Test("only the session that began a command goes on with it, or ends it")
    func requester() {
        var responder = Responder()
        let session = id(responder.receive("node='config'"))
        for other in ["requester@domain.example/phone", "thief@domain.example/desk"] {
            let other = RoomOnPaper.jid(other)
            #expect(error(responder.receive("node='config' sessionid='\(session)'", "httpd", by: other)) == "bad-request bad-sessionid")
            #expect(error(responder.receive("node='config' sessionid='\(session)' action='cancel'", by: other)) == "bad-request bad-sessionid")
        }
        #expect(title(responder.receive("node='config' sessionid='\(session)'", "httpd")) == "1")
    }

    @Test("a command waits so long for an answer, counted from the last one, and no longer")
    func lifetime() {
        var responder = Responder()
        let session = id(responder.receive("node='config'"))
        responder.now = CommandSessions.lifetime - 1
        #expect(title(responder.receive("node='config' sessionid='\(session)'", "httpd")) == "1")
        responder.now += CommandSessions.lifetime
        #expect(error(responder.receive("node='config' sessionid='\(session)'", "on")) == "not-allowed session-expired")
    }

    @Test("an account has so many commands under way, and one more ends its oldest")
    func accountMax() {
        var responder = Responder()
        let sessions = (0..<CommandSessions.accountMax).map { _ in id(responder.receive("node='config'")) }
        #expect(title(responder.receive("node='config' sessionid='\(sessions[0])'", "httpd")) == "1")
        _ = responder.receive("node='config'")
        #expect(responder.sessions.count == CommandSessions.accountMax)
        #expect(error(responder.receive("node='config' sessionid='\(sessions[1])'", "httpd")) == "not-allowed session-expired")
        #expect(title(responder.receive("node='config' sessionid='\(sessions[2])'", "httpd")) == "1")
    }

    @Test("there are so many commands under way in all, and one more ends the oldest")
    func countMax() {
        var responder = Responder()
        let sessions = (0..<CommandSessions.countMax).map { id(responder.receive("node='config'", by: RoomOnPaper.jid("a\($0)@domain.example/desk"))) }
        #expect(responder.sessions.count == CommandSessions.countMax && Set(sessions).count == CommandSessions.countMax)
        _ = responder.receive("node='config'")
        #expect(responder.sessions.count == CommandSessions.countMax)
        let (first, second) = (RoomOnPaper.jid("a0@domain.example/desk"), RoomOnPaper.jid("a1@domain.example/desk"))
        #expect(error(responder.receive("node='config' sessionid='\(sessions[0])'", "httpd", by: first)) == "not-allowed session-expired")
        #expect(title(responder.receive("node='config' sessionid='\(sessions[1])'", "httpd", by: second)) == "1")
    }
}
