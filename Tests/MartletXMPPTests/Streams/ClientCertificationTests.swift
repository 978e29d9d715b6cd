import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Client certificates in streams (XEP-0178 §3)")
struct ClientCertificationTests {
    let alice: BareJID

    init() throws { alice = try BareJID(parsing: "alice@verona.example") }

    /// A stream on a connection that has begun with TLS, up to its features.
    func opened(_ certification: ClientCertification, bindings: [ChannelBinding]? = []) throws -> (ClientStreamMachine, Surroundings, ClientStreamMachine.Action) {
        var server = Surroundings()
        server.certification = certification
        server.openDomains = ["verona.example"]
        var machine = bindings.map { ClientStreamMachine(bindings: $0) } ?? ClientStreamMachine()
        let action = machine.opened(try StreamEvent.header("verona.example"), server)
        return (machine, server, action)
    }

    func offer(_ certification: ClientCertification, bindings: [ChannelBinding]? = []) throws -> (mechanisms: [String], offersRegistration: Bool)? {
        guard case .open(_, .negotiation(_, let mechanisms, _, let offersRegistration, _, _)) = try opened(certification, bindings: bindings).2 else { return nil }
        return (mechanisms.map(\.name), offersRegistration)
    }

    static func auth(_ payload: String) throws -> FlatElement {
        try StreamEvent.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>\(payload)</auth>")
    }

    @Test("EXTERNAL is offered, first, where a certificate stands for an account")
    func offered() throws {
        #expect(try offer(.none)?.mechanisms == ["SCRAM-SHA-256", "PLAIN"])
        #expect(try offer(.optional(alice))?.mechanisms == ["EXTERNAL", "SCRAM-SHA-256", "PLAIN"])
        #expect(try offer(.optional(alice))?.offersRegistration == true)
    }

    @Test("where a certificate is required, nothing else is offered, and nobody makes an account")
    func required() throws {
        let offer = try offer(.required(alice))
        #expect(offer?.mechanisms == ["EXTERNAL"] && offer?.offersRegistration == false)
    }

    @Test("one that stands for several accounts is offered, and keeps passwords out where one is required")
    func several() throws {
        #expect(try offer(.several(isRequired: false))?.mechanisms == ["EXTERNAL", "SCRAM-SHA-256", "PLAIN"])
        #expect(try offer(.several(isRequired: true))?.mechanisms == ["EXTERNAL"])
        let (stream, server, _) = try opened(.several(isRequired: true))
        var machine = stream
        let unnamed = machine.received(try Self.auth("="), server)
        guard case .fail(let failure, _) = unnamed else { Issue.record("\(unnamed)"); return }
        #expect(failure.condition == .invalidAuthzid)
        let action = machine.received(try Self.auth(Base64.encode("bob@verona.example".utf8)), server)
        guard case .lookUp(.external, let identity, .certificate) = action else { Issue.record("\(action)"); return }
        #expect(identity.account.localpart == "bob")
    }

    @Test("where one is required and none stands for an account, the stream ends")
    func missing() throws {
        guard case .close(let error?, _?) = try opened(.required(nil)).2 else { Issue.record("it goes on"); return }
        #expect(error.condition == .policyViolation)
    }

    @Test("before TLS nothing is asked for but TLS")
    func clear() throws {
        let offer = try offer(.required(nil), bindings: nil)
        #expect(offer?.mechanisms == [] && offer?.offersRegistration == false)
        #expect(try self.offer(.optional(alice), bindings: nil)?.mechanisms == [])
    }

    @Test("the certificate is asked about when the client uses it")
    func asked() throws {
        let (stream, server, _) = try opened(.optional(alice))
        var machine = stream
        let action = machine.received(try Self.auth("="), server)
        guard case .lookUp(.external, let identity, .certificate) = action else { Issue.record("\(action)"); return }
        #expect(identity.account == alice && machine.isWaiting)
        let outcome = machine.answered(.certificateVerdict(alice))
        #expect(outcome == .succeed(alice, additionalData: nil))
    }

    private static func authenticate(_ mechanism: String, _ response: String) throws -> FlatElement {
        try StreamEvent.element(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='\(mechanism)'><initial-response>\(response)</initial-response></authenticate>")
    }

    @Test("inside a log-in of XEP-0388 it is the same: no passwords where a certificate is required, nobody else's address, and it is asked about")
    func inline() throws {
        let (stream, server, _) = try opened(.required(alice))
        var machine = stream
        let password = machine.received(try Self.authenticate("PLAIN", Base64.encode("\0alice\0pencil".utf8)), server)
        #expect(password == .fail(.invalidMechanism, .sasl2))
        let other = machine.received(try Self.authenticate("EXTERNAL", Base64.encode("bob@verona.example".utf8)), server)
        guard case .fail(let failure, .sasl2) = other else { Issue.record("\(other)"); return }
        #expect(failure.condition == .invalidAuthzid)
        let action = machine.received(try Self.authenticate("EXTERNAL", ""), server)
        guard case .lookUp(.external, let identity, .certificate) = action else { Issue.record("\(action)"); return }
        #expect(identity.account == alice && machine.isWaiting && !machine.isAuthenticated)
        let outcome = machine.answered(.certificateVerdict(alice))
        #expect(outcome == .admit(alice, nil))
        let done = machine.admitted()
        #expect(done == .complete(InlineSuccess(alice)))
    }

    @Test("EXTERNAL that was not offered is refused")
    func notOffered() throws {
        let (stream, server, _) = try opened(.none)
        var machine = stream
        let action = machine.received(try Self.auth("="), server)
        #expect(action == .fail(.invalidMechanism))
    }

    @Test("another's address is refused, and counts as an attempt")
    func otherAddress() throws {
        let (stream, server, _) = try opened(.required(alice))
        var machine = stream
        let payload = Base64.encode("bob@verona.example".utf8)
        for number in 1...server.policy.attemptsMax {
            let action = machine.received(try Self.auth(payload), server)
            switch action {
            case .fail(let failure, _): #expect(failure.condition == .invalidAuthzid && number < server.policy.attemptsMax)
            case .failFinally(let failure, _, _): #expect(failure.condition == .invalidAuthzid && number == server.policy.attemptsMax)
            default: Issue.record("\(action)")
            }
        }
    }

    @Test("passwords are refused where a certificate is required")
    func noPasswords() throws {
        let (stream, server, _) = try opened(.required(alice))
        var machine = stream
        let action = machine.received(try StreamEvent.element(StreamEvent.plainText), server)
        #expect(action == .fail(.invalidMechanism))
    }
}
