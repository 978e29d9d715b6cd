import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Registration before authentication (XEP-0077, XEP-0445)")
struct RegistrationStreamTests {
    private static let query = "<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>"
    private static let token = "<iq type='set' id='r2'><preauth xmlns='urn:xmpp:pars:0' token='T'/></iq>"
    private let server = Surroundings(openDomains: ["verona.example"])

    /// A stream that has been opened for a domain, inside TLS or in clear.
    private func stream(_ domain: String = "verona.example", isSecure: Bool = true) throws -> ClientStreamMachine {
        var machine = isSecure ? ClientStreamMachine(bindings: []) : ClientStreamMachine()
        _ = machine.opened(try StreamEvent.header(domain), server)
        return machine
    }

    private func send(_ text: String, _ machine: inout ClientStreamMachine) throws -> ClientStreamMachine.Action {
        machine.received(try StreamEvent.element(text), server)
    }

    @Test("the offer is among the features where strangers are taken, and only inside TLS")
    func offer() throws {
        for (domain, isSecure, isOffered) in [("verona.example", true, true), ("mantua.example", true, false), ("verona.example", false, false)] {
            var machine = isSecure ? ClientStreamMachine(bindings: []) : ClientStreamMachine()
            guard case .open(_, let features) = machine.opened(try StreamEvent.header(domain), server) else {
                Issue.record("not opened")
                return
            }
            var writer = XMLWriter()
            features.write(to: &writer) { $0.element("register", "http://jabber.org/features/iq-register") }
            #expect(String(buffer: writer.buffer).contains("iq-register") == isOffered)
        }
    }

    @Test("a request is answered, and authentication goes on after it")
    func answered() throws {
        var machine = try stream()
        #expect(try send(Self.query, &machine) == .register(domain: "verona.example", token: nil))
        #expect(machine.isWaiting && !machine.isAuthenticated && !machine.isEnding)
        let form = ByteBuffer(string: "<query xmlns='jabber:iq:register'/>")
        #expect(machine.registered(.form(form)) == .answerStranger(id: "r1", from: nil, .form(form)))
        #expect(!machine.isWaiting)
        _ = try send(Self.query, &machine)
        #expect(machine.registered(.registered) == .answerStranger(id: "r1", from: nil, .registered))
        if case .lookUp = try send(StreamEvent.plainText, &machine) {} else { Issue.record("no authentication") }
    }

    @Test("a token that was taken goes with what follows on the stream (XEP-0445 §4)")
    func tokens() throws {
        var machine = try stream()
        #expect(try send(Self.token, &machine) == .register(domain: "verona.example", token: nil))
        #expect(machine.registered(.admitted(token: "T")) == .answerStranger(id: "r2", from: nil, .admitted(token: "T")))
        #expect(try send(Self.query, &machine) == .register(domain: "verona.example", token: "T"))
    }

    @Test("an answer comes from where the request was sent to, and from nobody if it was sent to nobody", arguments: [nil, "verona.example"])
    func sender(to: String?) throws {
        var machine = try stream()
        let from = to.map { "from='\($0)' " } ?? ""
        let answers: [(RegistrationAnswer, String)] = [
            (.form(ByteBuffer(string: "<query xmlns='jabber:iq:register'/>")), "<iq \(from)type='result' id='r1'><query xmlns='jabber:iq:register'/></iq>"),
            (.registered, "<iq \(from)type='result' id='r1'/>"),
            (.refused(StanzaError(.conflict)), "<iq \(from)type='error' id='r1'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"),
        ]
        for (answer, expected) in answers {
            _ = try send(Self.query.replacing("type='get'", with: "type='get'" + (to.map { " to='\($0)'" } ?? "")), &machine)
            var writer = XMLWriter()
            machine.registered(answer).write(to: &writer)
            #expect(String(buffer: writer.buffer) == expected)
        }
    }

    @Test("anything else before authentication ends the stream, and so does a request where none is taken", arguments: [
        "<iq type='get' id='r1'><query xmlns='jabber:iq:roster'/></iq>", "<iq type='result' id='r1'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get'><query xmlns='jabber:iq:register'/></iq>", "<iq type='get' id='r1' to='mantua.example'><query xmlns='jabber:iq:register'/></iq>",
        "<iq type='get' id='r1'/>", "<message><query xmlns='jabber:iq:register'/></message>",
    ])
    func others(text: String) throws {
        var machine = try stream()
        #expect(try send(text, &machine) == .close(StreamError(.notAuthorized), nil))
        var closed = try stream("mantua.example")
        #expect(try send(Self.query, &closed) == .close(StreamError(.notAuthorized), nil))
        var clear = try stream(isSecure: false)
        #expect(try send(Self.query, &clear) == .close(StreamError(.notAuthorized), nil))
    }

    @Test("refusals count as failed authentications do: the last one ends the stream")
    func refused() throws {
        var machine = try stream()
        for _ in 1..<server.policy.attemptsMax {
            _ = try send(Self.query, &machine)
            let refused = RegistrationAnswer.refused(StanzaError(.conflict))
            #expect(machine.registered(refused) == .answerStranger(id: "r1", from: nil, refused))
        }
        _ = try send(Self.query, &machine)
        #expect(machine.registered(.refused(StanzaError(.conflict))).summary == "end policy-violation")
    }

    @Test("an answer that comes when the stream has ended is passed over")
    func late() throws {
        var machine = try stream()
        _ = try send(Self.query, &machine)
        _ = machine.peerClosed()
        #expect(machine.registered(.registered) == .wait)
    }
}
