import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("Requests in the name of a domain")
struct DomainRequestTests {
    private let wire = TestWire()
    private let server: TestServer
    private let peer: TestPeer
    private let montague: BareJID

    init() throws {
        server = TestServer(remote: wire)
        peer = TestPeer(server, ["montague.example": "capulet.example", "mantua.example": "capulet.example"])
        montague = try BareJID(parsing: "montague.example")
    }

    /// What has come of a request: nothing yet, no answer, or one.
    private final class Outcome: Sendable {
        private let value = Mutex<String>("waiting")
        func set(_ answer: Stanza?) { value.withLock { $0 = answer.map { $0.element.root.firstChild?.localName ?? "empty" } ?? "nothing" } }
        var text: String { value.withLock { $0 } }
    }

    private func ask(_ address: BareJID? = nil, by domain: BareJID? = nil) -> Outcome {
        let (router, mailbox, domain, address) = (server.router, server.context.mailbox, domain ?? server.domain, address ?? montague)
        let outcome = Outcome()
        Task(executorPreference: router.executor) {
            outcome.set(await router.ask(address, by: domain, ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'/>"), on: mailbox))
        }
        server.run()
        return outcome
    }

    private func answer(_ id: String, type: String = "result", from: String = "montague.example") {
        peer.send("<iq type='\(type)' id='\(id)' from='\(from)' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        server.run()
    }

    @Test("an answer reaches who has asked, once")
    func answered() throws {
        let outcome = ask()
        let request = try #require(wire.take().first?.root)
        #expect(request.attribute("from") == "capulet.example" && request.attribute("to") == "montague.example" && request.attribute("type") == "get")
        #expect(outcome.text == "waiting")
        answer(try #require(request.attribute("id")))
        #expect(outcome.text == "query")
        answer(try #require(request.attribute("id")))
        #expect(wire.take().isEmpty)
    }

    @Test("it counts only from whom was asked, and under the request's identifier (CVE-2024-46957)")
    func others() throws {
        let outcome = ask()
        let id = try #require(wire.take().first?.root.attribute("id"))
        answer(id, from: "mantua.example")
        answer(id, from: "romeo@montague.example")
        answer("x")
        #expect(outcome.text == "waiting")
        answer(id)
        #expect(outcome.text == "query")
    }

    @Test("an error is no answer, and neither is silence, for so long; both sides")
    func errors() throws {
        let refused = ask()
        answer(try #require(wire.take().first?.root.attribute("id")), type: "error")
        #expect(refused.text == "nothing")
        let silent = ask()
        server.advance(by: .seconds(29))
        #expect(silent.text == "waiting")
        server.advance(by: .seconds(1))
        #expect(silent.text == "nothing")
    }

    @Test("who cannot be reached, and who is ourselves, is not waited for")
    func unreachable() throws {
        wire.refuse(StanzaError(.remoteServerNotFound))
        #expect(ask().text == "nothing")
        wire.refuse(nil)
        #expect(ask(server.domain).text == "nothing" && wire.take().isEmpty)
    }

    @Test("so many wait at a time in the name of one domain, and as many of another; both sides")
    func many() throws {
        #expect(AwaitedAnswers.countMax == 64)
        let outcomes = (0..<65).map { _ in ask() }
        #expect(outcomes.prefix(64).allSatisfy { $0.text == "waiting" } && outcomes.last?.text == "nothing")
        let other = ask(by: try BareJID(parsing: "verona.example"))
        #expect(wire.take().count == 65 && other.text == "waiting")
        server.advance(by: .seconds(30))
        #expect(outcomes.allSatisfy { $0.text == "nothing" })
    }
}
