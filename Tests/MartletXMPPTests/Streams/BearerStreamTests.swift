import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("tokens of an authorization server in streams (RFC 7628, XEP-0493)")
struct BearerStreamTests {
    let juliet: BareJID
    static let token = BearerToken("abc")

    init() throws { juliet = try BareJID(parsing: "juliet@verona.example") }

    /// A stream on a connection that has begun with TLS, or in clear, up to its features.
    func opened(
        _ bearer: BearerOffer? = BearerExchangeTests.offer, isSecure: Bool = true, from: String = "", _ certification: ClientCertification = .none
    ) throws -> (ClientStreamMachine, Surroundings, [String]) {
        var server = Surroundings()
        server.bearer = bearer
        server.certification = certification
        server.policy.allowsPlaintext = true
        server.policy.offersTokens = true
        var machine = isSecure ? ClientStreamMachine(bindings: []) : ClientStreamMachine()
        let action = machine.opened(try StreamEvent.header("verona.example", from: from), server)
        guard case .open(_, .negotiation(_, let mechanisms, _, _, _, _)) = action else { throw SASLFailure.aborted }
        return (machine, server, mechanisms.map(\.name))
    }

    static func auth(_ token: String = "abc") throws -> FlatElement {
        try StreamEvent.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='OAUTHBEARER'>\(Base64.encode(BearerMessage.bytes(token: token)))</auth>")
    }

    static func authenticate(_ children: String = "") throws -> FlatElement {
        let response = Base64.encode(BearerMessage.bytes(token: "abc"))
        return try StreamEvent.element(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='OAUTHBEARER'><initial-response>\(response)</initial-response>\(children)</authenticate>")
    }

    @Test("it is offered inside TLS, at domains that believe an authorization server, and not as a way around a certificate")
    func offered() throws {
        #expect(try opened().2 == ["SCRAM-SHA-256", "OAUTHBEARER", "PLAIN"])
        #expect(try opened(nil).2 == ["SCRAM-SHA-256", "PLAIN"])
        #expect(try opened(isSecure: false).2 == ["SCRAM-SHA-256", "PLAIN"])
        #expect(try opened(.required(juliet)).2 == ["EXTERNAL"])
        var (machine, server, _) = try opened(nil)
        #expect(machine.received(try Self.auth(), server) == .fail(.invalidMechanism, .rfc6120))
    }

    func opened(_ certification: ClientCertification) throws -> (ClientStreamMachine, Surroundings, [String]) {
        try opened(BearerExchangeTests.offer, isSecure: true, certification)
    }

    @Test("somebody else is asked about the token, and who it is comes out by that")
    func asked() throws {
        var (machine, server, _) = try opened()
        let action = machine.received(try Self.auth(), server)
        #expect(action == .consult(.oauthBearer, .bearerToken(try #require(Self.token), domain: "verona.example")) && machine.isWaiting)
        let outcome = machine.answered(.bearerVerdict(.account(juliet)))
        #expect(outcome == .succeed(juliet, additionalData: nil))
    }

    @Test("a token that is not accepted leads to a message, its answer, and a failure that counts once")
    func refused() throws {
        var (machine, server, _) = try opened()
        _ = machine.received(try Self.auth(), server)
        guard case .challenge(_, .rfc6120) = machine.answered(.bearerVerdict(.refused(.invalidToken))) else { Issue.record("nothing is said"); return }
        let response = try StreamEvent.element("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AQ==</response>")
        let failed = machine.received(response, server)
        #expect(failed == .fail(.notAuthorized, .rfc6120))
        let again = machine.received(try Self.auth(""), server)
        guard case .challenge = again else { Issue.record("\(again)"); return }
        let aborted = machine.received(try StreamEvent.element("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), server)
        #expect(aborted == .fail(.aborted, .rfc6120))
    }

    @Test("a message may be as long as its mechanism says, and no longer")
    func length() throws {
        let rest = BearerMessage.bytes(token: "").count
        var (machine, server, _) = try opened()
        let long = machine.received(try Self.auth(String(repeating: "a", count: BearerMessage.bytesMax - rest + 3)), server)
        guard case .fail(let failure, .rfc6120) = long else { Issue.record("\(long)"); return }
        #expect(failure.condition == .malformedRequest)
        let longest = machine.received(try Self.auth(String(repeating: "a", count: BearerMessage.bytesMax - rest)), server)
        guard case .consult = longest else { Issue.record("\(longest)"); return }
    }

    @Test("inside a log-in of XEP-0388 the account has to be the one that the stream is from")
    func from() throws {
        var (machine, server, _) = try opened(from: "from='romeo@verona.example'")
        _ = machine.received(try Self.authenticate(), server)
        guard case .fail(let failure, .sasl2) = machine.answered(.bearerVerdict(.account(juliet))) else { Issue.record("somebody else came in"); return }
        #expect(failure.condition == .invalidAuthzid)
        var (other, _, _) = try opened(from: "from='juliet@verona.example'")
        _ = other.received(try Self.authenticate(), server)
        let outcome = other.answered(.bearerVerdict(.account(juliet)))
        #expect(outcome == .admit(juliet, nil))
    }

    @Test("whoever comes in by somebody else's token gets one of ours only where that is said (XEP-0484)", arguments: [true, false])
    func ownTokens(givesTokens: Bool) throws {
        var offer = BearerExchangeTests.offer
        offer.givesTokens = givesTokens
        var (machine, server, _) = try opened(offer)
        let children =
            "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
        _ = machine.received(try Self.authenticate(children), server)
        let action = machine.answered(.bearerVerdict(.account(juliet)))
        guard givesTokens else {
            guard case .admit = action else { Issue.record("\(action)"); return }
            return
        }
        guard case .conclude(let login) = action else { Issue.record("\(action)"); return }
        #expect(login.request.wanted == HashedTokenMechanism.none && login.accepted == nil)
    }
}
