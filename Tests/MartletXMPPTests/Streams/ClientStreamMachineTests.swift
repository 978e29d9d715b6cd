import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// A server around the machine: Verona has a certificate, Mantua none.
struct Surroundings: ClientStreamEnvironment {
    var policy = ClientStreamPolicy(mechanisms: [.plain, .scram(.sha256)], attemptsMax: 3)
    /// Where strangers may ask for an account.
    var openDomains: Set<String> = []
    /// What the client has shown is good for.
    var certification = ClientCertification.none
    func certification(at domain: String) -> ClientCertification { certification }
    /// Where clients get tokens.
    var bearer: BearerOffer?
    func bearerOffer(at domain: String) -> BearerOffer? { bearer }
    /// Whose tickets are good.
    var kerberos: KerberosOffer?
    func kerberos(at domain: String) -> KerberosOffer? { kerberos }
    var defaultDomain: String { "verona.example" }
    func takesRegistrations(at domain: String) -> Bool { openDomains.contains(domain) }
    func serves(_ domain: String) -> Bool { ["verona.example", "mantua.example"].contains(domain) }
    func canStartTLS(for domain: String) -> Bool { domain == "verona.example" }
    func streamID() -> String { "id" }
    func nonce() -> ScramNonce { ScramNonce(random: [UInt8](0..<18)) }
}

/// What can happen to a stream.
enum StreamEvent: CaseIterable, Sendable {
    case header, foreignHeader
    case startTLS, plain, weakMechanism, response, abort, bindRequest, bindQuery, sessionRequest, presence, nonza, streamError
    case xmlError, end, secured, rightPassword, wrongPassword, noAnswer, bound, refusedBind, serverEnds, transportLost
    case authenticate, authenticateInline, weakAuthenticate, response2, abort2, next2, admitted
    case enable, acknowledge, badAcknowledge, resume, resumed, refusedResumption, inactive, active, otherState

    static func element(_ text: String) throws -> FlatElement {
        try parseElement(ByteBuffer(string: text), limits: .authenticated)
    }

    static let plainText = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(Base64.encode("\0juliet\0pencil".utf8))</auth>"

    /// `<authenticate/>` of XEP-0388 with a right user name and password.
    static func authenticateText(_ inline: String = "", name: String = "juliet") -> String {
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(Base64.encode("\0\(name)\0pencil".utf8))</initial-response>\(inline)</authenticate>"
    }

    static let resumeAndBind = "<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/><bind xmlns='urn:xmpp:bind:0'/>"

    func happen(to machine: inout ClientStreamMachine, _ server: Surroundings = Surroundings()) throws -> ClientStreamMachine.Action {
        switch self {
        case .header: machine.opened(try Self.header("verona.example"), server)
        case .foreignHeader: machine.opened(try Self.header("padua.example"), server)
        case .startTLS: machine.received(try Self.element("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), server)
        case .plain: machine.received(try Self.element(Self.plainText), server)
        case .weakMechanism: machine.received(try Self.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='DIGEST-MD5'/>"), server)
        case .response: machine.received(try Self.element("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>"), server)
        case .abort: machine.received(try Self.element("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), server)
        case .bindRequest: machine.received(try Self.element("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"), server)
        case .bindQuery: machine.received(try Self.element("<iq type='get' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"), server)
        case .sessionRequest: machine.received(try Self.element("<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"), server)
        case .presence: machine.received(try Self.element("<presence/>"), server)
        case .nonza: machine.received(try Self.element("<r xmlns='urn:example:nonza'/>"), server)
        case .streamError: machine.received(try Self.element("<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>"), server)
        case .xmlError: machine.failed(.notWellFormed, server)
        case .end: machine.peerClosed()
        case .secured: machine.secured([Verona.endPoint], version: .tls13)
        case .rightPassword: machine.answered(.passwordVerdict(true))
        case .wrongPassword: machine.answered(.passwordVerdict(false))
        case .noAnswer: machine.answered(.refused(.temporaryAuthFailure))
        case .bound: machine.bound(try FullJID(parsing: "juliet@verona.example/balcony"))
        case .refusedBind: machine.refusedBind(StanzaError(.conflict))
        case .serverEnds: machine.end(StreamError(.systemShutdown), server)
        case .authenticate: machine.received(try Self.element(Self.authenticateText()), server)
        case .authenticateInline: machine.received(try Self.element(Self.authenticateText(Self.resumeAndBind)), server)
        case .weakAuthenticate: machine.received(try Self.element("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='DIGEST-MD5'/>"), server)
        case .response2: machine.received(try Self.element("<response xmlns='urn:xmpp:sasl:2'/>"), server)
        case .abort2: machine.received(try Self.element("<abort xmlns='urn:xmpp:sasl:2'><text>enough</text></abort>"), server)
        case .next2: machine.received(try Self.element("<next xmlns='urn:xmpp:sasl:2' task='TOTP'/>"), server)
        case .admitted: machine.admitted()
        case .enable: machine.received(try Self.element("<enable xmlns='urn:xmpp:sm:3'/>"), server)
        case .acknowledge: machine.received(try Self.element("<a xmlns='urn:xmpp:sm:3' h='1'/>"), server)
        case .badAcknowledge: machine.received(try Self.element("<a xmlns='urn:xmpp:sm:3'/>"), server)
        case .resume: machine.received(try Self.element("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>"), server)
        case .resumed: machine.resumed(try FullJID(parsing: "juliet@verona.example/balcony"), previous: "x", handled: 2)
        case .refusedResumption: machine.refusedResumption(.itemNotFound, handled: nil)
        case .inactive: machine.received(try Self.element("<inactive xmlns='urn:xmpp:csi:0'/>"), server)
        case .active: machine.received(try Self.element("<active xmlns='urn:xmpp:csi:0'/>"), server)
        case .otherState: machine.received(try Self.element("<asleep xmlns='urn:xmpp:csi:0'/>"), server)
        case .transportLost:
            {
                machine.transportLost()
                return .wait
            }()
        }
    }

    var isOfSASL2: Bool { [.authenticate, .authenticateInline, .weakAuthenticate, .response2, .abort2, .next2].contains(self) }

    static func header(_ domain: String, from: String = "") throws -> FlatElement {
        try StreamHeaderTests.opened("<stream:stream to='\(domain)' \(from) version='1.0' \(StreamHeaderTests.usual)>")
    }
}

/// An action in a few words, for tables.
extension ClientStreamMachine.Action {
    var summary: String {
        switch self {
        case .wait: "wait"
        case .open(_, .negotiation(let startTLS, let mechanisms, _, _, _, _)): "offer TLS \(startTLS), \(mechanisms.map(\.name).joined(separator: " "))"
        case .open(_, .binding): "offer bind"
        case .open(_, .bound): "offer nothing to bind"
        case .proceed: "proceed"
        case .refuseTLS: "refuse TLS"
        case .lookUp: "ask"
        case .consult(let mechanism, _): "consult \(mechanism.name)"
        case .lookUpTokens(let mechanism, _, _): "ask \(mechanism.name)"
        case .seekUpgrades: "seek upgrades"
        case .requestUpgrade(let hash, _): "request \(hash.mechanismName)"
        case .describeUpgrade(let upgrade): "describe \(upgrade.hash.mechanismName)"
        case .upgrade: "upgrade"
        case .conclude: "conclude"
        case .challenge(_, let profile): "\(profile.mark)challenge"
        case .succeed(let account, _): "succeed \(account)"
        case .fail(let failure, let profile): "\(profile.mark)fail \(failure.condition.rawValue)"
        case .failFinally(let failure, let error, let profile): "\(profile.mark)fail \(failure.condition.rawValue), end \(error.condition.rawValue)"
        case .admit(let account, let agent): "admit \(account)\(agent.map { ", \($0.software ?? "?")" } ?? "")"
        case .bindInline(_, let bind): "bind inline \(bind.tag ?? "any")"
        case .complete(let success): success.summary
        case .bind(_, let resource): "bind \(resource ?? "any")"
        case .confirmBind: "confirm"
        case .answer(_, let error): error.map { "refuse \($0.condition.rawValue)" } ?? "result"
        case .register(let domain, let token): "register \(domain) \(token ?? "-")"
        case .answerStranger: "form"
        case .resume(_, let previous, let handled): "resume \(previous) \(handled)"
        case .manage: "manage"
        case .indicate(let indication): "\(indication)"
        case .managed(.resumed(let previous, let handled)): "resumed \(previous) \(handled)"
        case .managed(.failed(let condition, _)): "failed \(condition.rawValue)"
        case .managed: "managed"
        case .deliver: "deliver"
        case .close(let error, let header): "\(header == nil ? "" : "header, ")end\(error.map { " \($0.condition.rawValue)" } ?? "")"
        case .finish(let sendsEnd): sendsEnd ? "end and close" : "close"
        }
    }
}

extension SASLProfile {
    fileprivate var mark: String {
        switch self {
        case .rfc6120: ""
        case .sasl2: "2 "
        }
    }
}

extension InlineSuccess {
    fileprivate var summary: String {
        let end =
            switch session {
            case .none: "\(account)"
            case .bound(let address, _): "bound \(address)"
            case .resumed(let address): "resumed \(address)"
            }
        return "complete \(end)\(resumption.map { ", \(ClientStreamMachine.Action.managed($0).summary)" } ?? "")"
    }
}

@Suite struct ClientStreamMachineTests {
    /// Every state, by what leads there.
    enum Place: CaseIterable, Sendable {
        case new, offeredTLS, startingTLS, secured, offeredSASL, challenged, asked, loggedIn, offeredBind, binding, resuming, bound, closing, closed
        /// The same by XEP-0388.
        case challenged2, asked2, admitting, resuming2, binding2, offeredBind2, bound2

        func machine() throws -> ClientStreamMachine {
            var machine = ClientStreamMachine()
            for event in path { _ = try event.happen(to: &machine) }
            return machine
        }

        /// The state by XEP-0388 is one that there is by RFC 6120 as well.
        var likeness: Place {
            switch self {
            case .offeredBind2: .offeredBind
            case .bound2: .bound
            case .asked2, .admitting, .resuming2, .binding2: .asked
            default: self
            }
        }

        private var path: [StreamEvent] {
            switch self {
            case .new: []
            case .offeredTLS: [.header]
            case .startingTLS: [.header, .startTLS]
            case .secured: [.header, .startTLS, .secured]
            case .offeredSASL: [.header, .startTLS, .secured, .header]
            case .challenged: [.header, .startTLS, .secured, .header]
            case .asked: [.header, .startTLS, .secured, .header, .plain]
            case .loggedIn: [.header, .startTLS, .secured, .header, .plain, .rightPassword]
            case .offeredBind: [.header, .startTLS, .secured, .header, .plain, .rightPassword, .header]
            case .binding: [.header, .startTLS, .secured, .header, .plain, .rightPassword, .header, .bindRequest]
            case .resuming: [.header, .startTLS, .secured, .header, .plain, .rightPassword, .header, .resume]
            case .bound: [.header, .startTLS, .secured, .header, .plain, .rightPassword, .header, .bindRequest, .bound]
            case .challenged2: [.header, .startTLS, .secured, .header]
            case .asked2: [.header, .startTLS, .secured, .header, .authenticateInline]
            case .admitting: [.header, .startTLS, .secured, .header, .authenticateInline, .rightPassword]
            case .resuming2: [.header, .startTLS, .secured, .header, .authenticateInline, .rightPassword, .admitted]
            case .binding2: [.header, .startTLS, .secured, .header, .authenticateInline, .rightPassword, .admitted, .refusedResumption]
            case .offeredBind2: [.header, .startTLS, .secured, .header, .authenticate, .rightPassword, .admitted]
            case .bound2: [.header, .startTLS, .secured, .header, .authenticateInline, .rightPassword, .admitted, .refusedResumption, .bound]
            case .closing: [.header, .serverEnds]
            case .closed: [.transportLost]
            }
        }
    }

    static let offer = "offer TLS absent, SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"

    /// What every event does in every state. What is not named: an answer that nobody awaits, and whatever comes in the end, is waited through.
    static func expected(_ place: Place, _ event: StreamEvent) -> String {
        if let row = expectedInline(place, event) { return row }
        return switch (place.likeness, event) {
        case (_, .transportLost): "wait"
        case (.closing, .end): "close"
        case (.closing, _), (.closed, _): "wait"
        // Nothing of ours can be read between <proceed/> and TLS.
        case (.startingTLS, .serverEnds), (.startingTLS, .xmlError): "close"
        case (.startingTLS, .secured): "wait"
        case (_, .end): "end and close"
        case (.new, .serverEnds), (.secured, .serverEnds), (.loggedIn, .serverEnds): "header, end system-shutdown"
        case (_, .serverEnds): "end system-shutdown"
        case (.new, .xmlError), (.secured, .xmlError), (.loggedIn, .xmlError): "header, end not-well-formed"
        case (_, .xmlError): "end not-well-formed"
        case (_, .streamError): "end"
        case (.new, .header): "offer TLS required, "
        case (.secured, .header): offer
        case (.loggedIn, .header): "offer bind"
        case (.new, .foreignHeader), (.secured, .foreignHeader), (.loggedIn, .foreignHeader): "header, end host-unknown"
        case (_, .header), (_, .foreignHeader): "end bad-format"
        case (.asked, .rightPassword): "succeed juliet@verona.example"
        case (.asked, .wrongPassword): "fail not-authorized"
        case (.asked, .noAnswer): "fail temporary-auth-failure"
        case (.binding, .bound): "confirm"
        case (.binding, .refusedBind): "refuse conflict"
        case (.resuming, .resumed): "resumed x 2"
        case (.resuming, .refusedResumption): "failed item-not-found"
        case (_, .secured), (_, .rightPassword), (_, .wrongPassword), (_, .noAnswer), (_, .bound), (_, .refusedBind), (_, .resumed),
            (_, .refusedResumption), (_, .admitted):
            "wait"
        case (.new, _), (.secured, _), (.loggedIn, _): "header, end bad-format"
        case (.offeredTLS, .startTLS): "proceed"
        case (.offeredTLS, .plain), (.offeredTLS, .weakMechanism): "fail encryption-required"
        case (.offeredTLS, .response), (.offeredTLS, .abort), (.offeredSASL, .response), (.offeredSASL, .abort): "fail malformed-request"
        case (.offeredSASL, .startTLS): "refuse TLS"
        case (.offeredSASL, .plain): "ask"
        case (.offeredSASL, .weakMechanism): "fail invalid-mechanism"
        case (.challenged, .plain), (.challenged, .weakMechanism), (.challenged, .response): "fail malformed-request"
        case (.challenged, .abort): "fail aborted"
        // Whoever runs the machine gives it nothing while it waits.
        case (.startingTLS, _), (.asked, _), (.binding, _), (.resuming, _): "end policy-violation"
        case (.offeredBind, .resume): "resume x 1"
        case (.offeredBind, .enable), (.offeredBind, .acknowledge): "failed unexpected-request"
        case (.offeredBind, .badAcknowledge), (.bound, .badAcknowledge): "failed bad-request"
        case (.bound, .enable), (.bound, .acknowledge): "manage"
        case (.bound, .resume): "failed unexpected-request"
        // Before there is a session there is nothing to hold back.
        case (.offeredBind, .inactive), (.offeredBind, .active): "wait"
        case (.bound, .inactive): "inactive"
        case (.bound, .active): "active"
        case (.offeredBind, .bindRequest): "bind any"
        case (.offeredBind, .bindQuery): "refuse bad-request"
        case (.offeredTLS, _), (.offeredSASL, _), (.challenged, _), (.challenged2, _), (.offeredBind, _): "end not-authorized"
        case (.bound, .sessionRequest): "result"
        case (.bound, .bindRequest): "refuse not-allowed"
        case (.bound, .presence), (.bound, .bindQuery): "deliver"
        // Of (.bound, _): there is no other likeness.
        default: "end unsupported-stanza-type"
        }
    }

    /// What XEP-0388 adds to that.
    static func expectedInline(_ place: Place, _ event: StreamEvent) -> String? {
        switch (place, event) {
        case (.asked2, .rightPassword): "admit juliet@verona.example"
        case (.asked2, .wrongPassword): "2 fail not-authorized"
        case (.asked2, .noAnswer): "2 fail temporary-auth-failure"
        case (.admitting, .admitted): "resume x 1"
        case (.resuming2, .resumed): "complete resumed juliet@verona.example/balcony, resumed x 2"
        case (.resuming2, .refusedResumption): "bind inline any"
        case (.binding2, .bound): "complete bound juliet@verona.example/balcony, failed item-not-found"
        case (.binding2, .refusedBind): "complete juliet@verona.example, failed item-not-found"
        case (.admitting, _), (.resuming2, _), (.binding2, _): [.rightPassword, .wrongPassword, .noAnswer].contains(event) ? "wait" : nil
        case (.offeredTLS, .authenticate), (.offeredTLS, .authenticateInline), (.offeredTLS, .weakAuthenticate): "2 fail encryption-required"
        case (.offeredTLS, .response2), (.offeredTLS, .abort2), (.offeredSASL, .response2), (.offeredSASL, .abort2): "2 fail malformed-request"
        case (.offeredSASL, .authenticate), (.offeredSASL, .authenticateInline): "ask"
        case (.offeredSASL, .weakAuthenticate): "2 fail invalid-mechanism"
        // Nothing else is taken during an exchange, and least of all what belongs to the other profile (§2.4): that is in the table.
        case (.challenged2, .response2): "2 fail malformed-request"
        case (.challenged2, .abort2): "2 fail aborted"
        case (.offeredBind, _), (.offeredBind2, _), (.bound, _), (.bound2, _): event.isOfSASL2 ? again : nil
        default: nil
        }
    }

    /// Who has logged in has logged in (XEP-0388 §4.8).
    private static let again = "end policy-violation"

    @Test("every event in every state does what the table says (RFC 6120 §4 to §7)", arguments: Place.allCases)
    func table(place: Place) throws {
        for event in StreamEvent.allCases {
            var machine = try place.machine()
            if place == .challenged {
                let action = machine.received(
                    try StreamEvent.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"), Surroundings())
                #expect(action == .challenge([]))
            }
            if place == .challenged2 {
                let action = machine.received(try StreamEvent.element("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"), Surroundings())
                #expect(action == .challenge([], .sasl2))
            }
            let action = try event.happen(to: &machine)
            #expect(action.summary == Self.expected(place, event), "\(place) \(event)")
        }
    }

    @Test("after the end nothing more is done, whatever ended the stream", arguments: StreamEvent.allCases)
    func nothingAfterTheEnd(event: StreamEvent) throws {
        for place in Place.allCases {
            var machine = try place.machine()
            _ = machine.end(nil, Surroundings())
            _ = machine.peerClosed()
            #expect(machine.isClosed)
            #expect(try event.happen(to: &machine) == .wait)
        }
    }

    @Test("what waits and what does not: nothing of the client is looked at before the answer")
    func waiting() throws {
        for place in Place.allCases {
            let machine = try place.machine()
            #expect(machine.isWaiting == [.startingTLS, .asked, .binding, .resuming, .asked2, .admitting, .resuming2, .binding2].contains(place), "\(place)")
            let authenticated: [Place] = [
                .loggedIn, .offeredBind, .binding, .resuming, .bound, .admitting, .resuming2, .binding2, .offeredBind2, .bound2,
            ]
            #expect(machine.isAuthenticated == authenticated.contains(place), "\(place)")
            #expect(machine.isEnding == [.closing, .closed].contains(place), "\(place)")
        }
    }

    @Test("attempts are counted over all mechanisms and faults; the last one ends the stream (reliability rule 14)")
    func attempts() throws {
        var machine = try Place.offeredSASL.machine()
        #expect(try StreamEvent.weakMechanism.happen(to: &machine).summary == "fail invalid-mechanism")
        #expect(try StreamEvent.plain.happen(to: &machine).summary == "ask")
        #expect(try StreamEvent.wrongPassword.happen(to: &machine).summary == "fail not-authorized")
        #expect(try StreamEvent.abort.happen(to: &machine).summary == "fail malformed-request, end policy-violation")
        #expect(machine.isEnding)
    }

    @Test("an answer that comes after the stream ended changes nothing")
    func lateAnswers() throws {
        var asked = try Place.asked.machine()
        _ = asked.end(StreamError(.connectionTimeout), Surroundings())
        #expect(try StreamEvent.rightPassword.happen(to: &asked) == .wait)
        #expect(!asked.isAuthenticated)
        var binding = try Place.binding.machine()
        binding.transportLost()
        #expect(try StreamEvent.bound.happen(to: &binding) == .wait)
    }

    @Test("mechanisms are offered by what protects the connection and what the policy allows")
    func offers() throws {
        func offered(_ policy: ClientStreamPolicy, _ bindings: [ChannelBinding]?, domain: String = "verona.example") throws -> String {
            var machine = bindings.map { ClientStreamMachine(bindings: $0) } ?? ClientStreamMachine()
            return machine.opened(try StreamEvent.header(domain), Surroundings(policy: policy)).summary
        }
        var policy = ClientStreamPolicy(mechanisms: [.scram(.sha1), .plain, .scram(.sha512)])
        #expect(try offered(policy, nil) == "offer TLS required, ")
        #expect(try offered(policy, nil, domain: "mantua.example") == "offer TLS absent, ")
        #expect(try offered(policy, []) == "offer TLS absent, SCRAM-SHA-512 SCRAM-SHA-1 PLAIN")
        #expect(try offered(policy, [Verona.endPoint]) == "offer TLS absent, SCRAM-SHA-512-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 SCRAM-SHA-1 PLAIN")
        policy.offersChannelBinding = false
        #expect(try offered(policy, [Verona.endPoint]) == "offer TLS absent, SCRAM-SHA-512 SCRAM-SHA-1 PLAIN")
        policy.allowsPlaintext = true
        #expect(try offered(policy, nil) == "offer TLS offered, SCRAM-SHA-512 SCRAM-SHA-1 PLAIN")
        // Tokens are for those who know of them (XEP-0484), whatever the operator lists.
        policy.mechanisms = [.hashedToken(.none), .hashedToken(.exporter), .plain]
        #expect(try offered(policy, nil) == "offer TLS offered, PLAIN")
    }

    @Test("a stream stays with the domain whose certificate was shown, and with the account that logged in")
    func sameDomain() throws {
        var secured = try Place.secured.machine()
        #expect(secured.opened(try StreamEvent.header("mantua.example"), Surroundings()).summary == "header, end improper-addressing")
        var loggedIn = try Place.loggedIn.machine()
        #expect(loggedIn.opened(try StreamEvent.header("mantua.example"), Surroundings()).summary == "header, end improper-addressing")
        var other = try Place.loggedIn.machine()
        #expect(other.opened(try StreamEvent.header("verona.example", from: "from='romeo@verona.example'"), Surroundings()).summary == "header, end invalid-from")
        var same = try Place.loggedIn.machine()
        #expect(same.opened(try StreamEvent.header("verona.example", from: "from='juliet@verona.example'"), Surroundings()).summary == "offer bind")
    }

    @Test("a resource is asked for, an empty one is not; a refused one may be followed by another (RFC 6120 §7)")
    func resources() throws {
        var machine = try Place.offeredBind.machine()
        func request(_ resource: String) throws -> FlatElement {
            try StreamEvent.element("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\(resource)</resource></bind></iq>")
        }
        #expect(machine.received(try request("balcony"), Surroundings()).summary == "bind balcony")
        #expect(try StreamEvent.refusedBind.happen(to: &machine).summary == "refuse conflict")
        #expect(machine.received(try request(""), Surroundings()).summary == "bind any")
        #expect(try StreamEvent.bound.happen(to: &machine).summary == "confirm")
    }

    @Test("requests about the stream that are for somebody else are stanzas like others")
    func forOthers() throws {
        var machine = try Place.bound.machine()
        let other = try StreamEvent.element("<iq type='set' id='1' to='romeo@verona.example'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
        #expect(machine.received(other, Surroundings()) == .deliver)
        let server = try StreamEvent.element("<iq type='set' id='1' to='verona.example'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
        #expect(machine.received(server, Surroundings()) == .answer(id: "1", nil))
    }
}

@Suite struct ClientStreamActionTests {
    static func written(_ action: ClientStreamMachine.Action) -> String {
        var writer = XMLWriter()
        action.write(to: &writer) { $0.element("c", "http://jabber.org/protocol/caps") }
        return String(buffer: writer.buffer)
    }

    @Test("features name what is offered: STARTTLS, mechanisms, bindings, and after login bind and what hosts add (RFC 6120 §4.3.2, XEP-0440)")
    func features() throws {
        let header = ServerStreamHeader(from: "verona.example", to: try BareJID(parsing: "juliet@verona.example"), id: "x'y")
        let first = Self.written(.open(header, .negotiation(startTLS: .required, mechanisms: [], bindings: [])))
        #expect(first.hasPrefix("<?xml version='1.0'?><stream:stream "))
        for part in ["from='verona.example'", "to='juliet@verona.example'", "id='x&apos;y'", "version='1.0'", "xml:lang='en'", "xmlns='jabber:client'"] {
            #expect(first.contains(part))
        }
        #expect(first.hasSuffix("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"))
        let second = Self.written(.open(header, .negotiation(startTLS: .absent, mechanisms: [.scramPlus(.sha256), .plain], bindings: [.tlsServerEndPoint])))
        #expect(
            second.hasSuffix(
                "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>PLAIN</mechanism></mechanisms>"
                    + "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>PLAIN</mechanism>"
                    + "<inline><bind xmlns='urn:xmpp:bind:0'/></inline></authentication>"
                    + "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-server-end-point'/></sasl-channel-binding></stream:features>"))
        let third = Self.written(.open(header, .binding))
        #expect(third.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"))
        #expect(third.contains("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>"))
        #expect(third.contains("<c xmlns='http://jabber.org/protocol/caps'/></stream:features>"))
    }

    @Test("what ends a stream is a header if there was none, the error and the end tag (RFC 6120 §4.9.1)")
    func ends() {
        #expect(Self.written(.close(StreamError(.conflict), nil)).hasSuffix("</stream:error></stream:stream>"))
        #expect(Self.written(.close(nil, ServerStreamHeader(from: "verona.example", id: "1"))).hasSuffix("xml:lang='en'></stream:stream>"))
        #expect(Self.written(.finish(sendsEnd: true)) == "</stream:stream>")
        #expect(Self.written(.finish(sendsEnd: false)) == "")
        #expect(Self.written(.refuseTLS) == "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
    }

    @Test("a success says nothing, an equals sign, or base64 (RFC 6120 §6.4.6)")
    func successes() throws {
        let juliet = try BareJID(parsing: "juliet@verona.example")
        #expect(Self.written(.succeed(juliet, additionalData: nil)) == "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        #expect(Self.written(.succeed(juliet, additionalData: [1])) == "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AQ==</success>")
        #expect(Self.written(.challenge([])) == "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</challenge>")
        #expect(Self.written(.fail(.notAuthorized)) == "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
    }
}
