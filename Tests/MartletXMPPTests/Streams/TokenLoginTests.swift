import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Log-ins by tokens in streams (XEP-0484)")
struct TokenLoginTests {
    private static let agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
    private static let fast = "<fast xmlns='urn:xmpp:fast:0'/>"
    private static let wish = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
    private static let token = HashedToken("WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm")
    private static let both = [Verona.exporter, Verona.endPoint]

    private let juliet: BareJID

    init() throws { juliet = try BareJID(parsing: "juliet@verona.example") }

    private static func server(
        bindsChannel: Bool = true, _ certification: ClientCertification = .none, mechanisms: [SASLMechanism] = [.scram(.sha256), .plain]
    ) -> Surroundings {
        var server = Surroundings()
        server.policy = ClientStreamPolicy(mechanisms: mechanisms, offersChannelBinding: bindsChannel, offersTokens: true, attemptsMax: 3)
        server.certification = certification
        return server
    }

    /// A stream inside TLS, up to its features; `nil` bindings: a stream in clear.
    private static func opened(
        _ server: Surroundings = server(), bindings: [ChannelBinding]? = both
    ) throws -> (machine: ClientStreamMachine, offer: [HashedTokenMechanism]?) {
        var machine = bindings.map { ClientStreamMachine(bindings: $0) } ?? ClientStreamMachine()
        guard case .open(_, .negotiation(_, _, _, _, let inline, _)) = machine.opened(try StreamEvent.header("verona.example"), server) else {
            return (machine, nil)
        }
        return (machine, inline.tokens)
    }

    /// A log-in by the token.
    private static func authenticate(
        _ mechanism: HashedTokenMechanism, _ children: String = agent + fast, binding: [UInt8] = [], token: HashedToken = token
    ) throws -> FlatElement {
        let response = Base64.encode(Array("juliet\0".utf8) + token.initiatorProof(binding))
        return try StreamEvent.element(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='\(mechanism.name)'><initial-response>\(response)</initial-response>\(children)</authenticate>")
    }

    private static func candidate(refusal: SASLFailure? = nil) -> SASLAnswer {
        .hashedTokens([HashedTokenCandidate(token, .new, refusal: refusal)])
    }

    // MARK: What is offered

    @Test("tokens are offered inside TLS, bound to the connection only where channel binding is offered (§3.1, §8)")
    func offered() throws {
        #expect(try Self.opened().offer == [.exporter, .serverEndPoint, .none])
        #expect(try Self.opened(bindings: [Verona.endPoint]).offer == [.serverEndPoint, .none])
        #expect(try Self.opened(bindings: []).offer == [HashedTokenMechanism.none])
        #expect(try Self.opened(Self.server(bindsChannel: false)).offer == [HashedTokenMechanism.none])
        #expect(try Self.opened(Self.server(mechanisms: [.plain])).offer == [HashedTokenMechanism.none])
        #expect(try Self.opened(bindings: nil).offer == [])
        #expect(try Self.opened(Surroundings()).offer == [])
    }

    @Test("a token is no way around a certificate that is required, and is one around a certificate that is not")
    func certificates() throws {
        let (machine, offer) = try Self.opened(Self.server(.required(juliet)))
        #expect(offer == [])
        var stream = machine
        #expect(stream.received(try Self.authenticate(.none), Self.server(.required(juliet))).summary == "2 fail invalid-mechanism")
        #expect(try Self.opened(Self.server(.optional(juliet))).offer == [.exporter, .serverEndPoint, .none])
    }

    @Test("mechanisms of tokens are in neither list of mechanisms, and stand among what may be asked for inside a log-in (§3.1)")
    func features() throws {
        var machine = ClientStreamMachine(bindings: [])
        let text = ClientStreamActionTests.written(machine.opened(try StreamEvent.header("verona.example"), Self.server()))
        let inline = "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>"
        #expect(text.contains(inline))
        #expect(text.ranges(of: "HT-SHA-256").count == 1)
    }

    @Test("the profile of RFC 6120 knows no tokens")
    func oldProfile() throws {
        var (machine, _) = try Self.opened()
        let response = Base64.encode(Array("juliet\0".utf8) + Self.token.initiatorProof())
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='HT-SHA-256-NONE'>\(response)</auth>"
        #expect(machine.received(try StreamEvent.element(auth), Self.server()).summary == "fail invalid-mechanism")
    }

    // MARK: What is asked for

    private static let requests: [(children: String, does: String)] = [
        ("\(agent)\(fast)", "ask HT-SHA-256-NONE"), (fast, "2 fail malformed-request"), ("<user-agent/>\(fast)", "2 fail malformed-request"),
        (agent, "2 fail malformed-request"), ("\(agent)\(fast)\(fast)", "2 fail malformed-request"),
        ("\(agent)<fast xmlns='urn:xmpp:fast:0' count='0'/>", "2 fail malformed-request"), ("\(agent)\(fast)\(wish)", "ask HT-SHA-256-NONE"),
        ("\(agent)\(fast)\(wish)\(wish)", "2 fail malformed-request"),
    ]

    @Test("what is said of tokens has to fit together, and needs a client that says which one it is (§3.2, §3.4, §4.1)", arguments: requests)
    func request(children: String, does: String) throws {
        var (machine, _) = try Self.opened()
        #expect(machine.received(try Self.authenticate(.none, children), Self.server()).summary == does)
    }

    private static let passwordRequests: [(children: String, offers: Bool, steps: [String])] = [
        ("\(wish)\(agent)", true, ["ask", "conclude"]), (wish, true, ["2 fail malformed-request", "wait"]),
        ("\(fast)\(agent)", true, ["2 fail malformed-request", "wait"]),
        ("<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-512-NONE'/>\(agent)", true, ["2 fail malformed-request", "wait"]),
        (agent, true, ["ask", "admit juliet@verona.example, ?"]), (wish, false, ["ask", "admit juliet@verona.example"]),
        (fast, false, ["ask", "admit juliet@verona.example"]),
    ]

    @Test("so has what is said of them with a password; where there are none it is passed over", arguments: passwordRequests)
    func withPassword(children: String, offers: Bool, steps: [String]) throws {
        var server = Self.server()
        server.policy.offersTokens = offers
        var (machine, _) = try Self.opened(server)
        let first = machine.received(try StreamEvent.element(StreamEvent.authenticateText(children)), server)
        let second = machine.answered(.passwordVerdict(true))
        #expect([first.summary, second.summary] == steps)
    }

    @Test("whoever logs in with a certificate is given no token, which would outlive it")
    func noneBesideCertificates() throws {
        let server = Self.server(.optional(juliet))
        var (machine, _) = try Self.opened(server)
        let text = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response/>\(Self.agent)\(Self.wish)</authenticate>"
        #expect(machine.received(try StreamEvent.element(text), server).summary == "ask")
        #expect(machine.answered(.certificateVerdict(juliet)).summary == "admit juliet@verona.example, ?")
    }

    // MARK: What comes of it

    @Test("a client that has proved to have a token is let in once what that means for it is written (§3.4)", arguments: HashedTokenMechanism.allCases)
    func logIn(mechanism: HashedTokenMechanism) throws {
        var (machine, _) = try Self.opened()
        let binding = Self.both.first { $0.kind == mechanism.binding }?.data ?? []
        let asked = machine.received(try Self.authenticate(mechanism, binding: binding), Self.server())
        guard case .lookUpTokens(mechanism, let identity, let agent) = asked else { Issue.record("\(asked)"); return }
        #expect(identity.account == juliet && agent.id == "d4565fa7-4d72-4749-b3d3-740edbf87770")
        guard case .conclude(let login) = machine.answered(Self.candidate()) else { Issue.record("it is not concluded"); return }
        #expect(login.account == juliet && login.accepted?.token == Self.token && login.request.use != nil)
        #expect(machine.isWaiting && !machine.isAuthenticated)
        let admission = machine.concluded(.success(nil))
        #expect(admission.summary == "admit juliet@verona.example, ?")
        guard case .complete(let success) = machine.admitted() else { Issue.record("it is not completed"); return }
        #expect(success.additionalData == Self.token.responderProof(binding) && success.token == nil)
    }

    @Test("a token that is given is in the success, and nowhere else (§3.3, §3.5)")
    func given() throws {
        var (machine, _) = try Self.opened()
        _ = machine.received(try Self.authenticate(.none), Self.server())
        _ = machine.answered(Self.candidate())
        let given = IssuedToken(token: HashedToken("R3VyIHpiZmcgbnl2aXIgdmYgZ3VyIGp2eXFyZmcu"), expires: 1_585_665_375_000)
        _ = machine.concluded(.success(given))
        let text = ClientStreamActionTests.written(machine.admitted())
        #expect(text.contains("<token xmlns='urn:xmpp:fast:0' expiry='2020-03-31T14:36:15Z' token='R3VyIHpiZmcgbnl2aXIgdmYgZ3VyIGp2eXFyZmcu'/></success>"))
    }

    @Test("a failed log-in counts as others do, and the password may follow on the same stream (§4.1)")
    func failed() throws {
        var (machine, _) = try Self.opened()
        _ = machine.received(try Self.authenticate(.none, token: HashedToken("another")), Self.server())
        let wrong = machine.answered(Self.candidate())
        #expect(wrong.summary == "2 fail not-authorized")
        _ = machine.received(try Self.authenticate(.none), Self.server())
        let expired = machine.answered(Self.candidate(refusal: .credentialsExpired))
        #expect(expired.summary == "2 fail credentials-expired")
        #expect(machine.received(try StreamEvent.element(StreamEvent.authenticateText()), Self.server()).summary == "ask")
        let last = machine.answered(.passwordVerdict(false))
        #expect(last.summary == "2 fail not-authorized, end policy-violation")
    }

    @Test("whoever is refused as the log-in is concluded has failed as well, and nothing of what was asked for is done")
    func refusedLate() throws {
        var (machine, _) = try Self.opened()
        let request = try Self.authenticate(.none, Self.agent + Self.fast + StreamEvent.resumeAndBind)
        _ = machine.received(request, Self.server())
        _ = machine.answered(Self.candidate())
        #expect(machine.heldByteCount == request.byteCount)
        let refusal = machine.concluded(.failure(.notAuthorized))
        #expect(refusal.summary == "2 fail not-authorized")
        #expect(machine.admitted() == .wait && machine.heldByteCount == 0)
        #expect(machine.received(try StreamEvent.element(StreamEvent.authenticateText()), Self.server()).summary == "ask")
    }

    @Test("a proof for one connection is none on another (§8)")
    func otherConnection() throws {
        var (machine, _) = try Self.opened()
        _ = machine.received(try Self.authenticate(.exporter, binding: [UInt8](0..<32)), Self.server())
        let answer = machine.answered(Self.candidate())
        #expect(answer.summary == "2 fail not-authorized")
    }

    @Test("a stream that ends while it is concluded lets nobody in", arguments: [false, true])
    func endsMeanwhile(isLost: Bool) throws {
        var (machine, _) = try Self.opened()
        _ = machine.received(try Self.authenticate(.none), Self.server())
        _ = machine.answered(Self.candidate())
        if isLost { machine.transportLost() } else { _ = machine.end(StreamError(.connectionTimeout), Self.server()) }
        let answer = machine.concluded(.success(nil))
        #expect(answer == .wait)
    }
}
