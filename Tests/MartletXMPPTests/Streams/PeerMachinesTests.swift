import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// The receiving side: Capulet, which has a certificate.
private struct Capulet: IncomingPeerEnvironment {
    var peer = PeerPolicy()
    /// What Montague has shown, once there is TLS.
    var shown: CertificateVerdict = .valid
    var hasCertificate = true
    /// What is found out about it beyond that, if it is looked.
    var found: CertificateVerdict?
    var defaultDomain: String { "capulet.example" }
    var offersManagement: Bool { true }
    var limits: PeerFeatures.Limits { .init(bytesMax: 262_144, idleSeconds: 600) }
    func serves(_ domain: String) -> Bool { ["capulet.example", "conference.capulet.example"].contains(domain) }
    func canStartTLS(for domain: String) -> Bool { hasCertificate }
    func streamID() -> String { "in-1" }
    func policy(of remote: String) -> PeerPolicy { remote == "blocked.example" ? PeerPolicy(refusal: "not welcome here") : peer }
    func certificate(for remote: String) -> CertificateVerdict { remote == "montague.example" ? shown : .invalid("for another name") }
    func isWorthLooking(for remote: String) -> Bool { found != nil }
    func isOurs(_ request: DialbackElement) -> Bool { request.key == "ours" }
}

/// The initiating side: Montague.
private struct Montague: OutgoingPeerEnvironment {
    var policy = PeerPolicy(bidirection: .ask)
    var hasCertificate = true
    var certificate: CertificateVerdict = .valid
}

/// The two on one wire. What they say goes through writer and parser.
private final class Wire {
    var montague: OutgoingPeerMachine
    var capulet: IncomingPeerMachine
    var here: Montague
    var there: Capulet
    private var toCapulet = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
    private var toMontague = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
    /// What each side was told to do, but for what both do on the wire.
    private(set) var story: [String] = []
    /// What is to be asked elsewhere.
    private(set) var question: DialbackElement?

    init(_ here: Montague = Montague(), _ there: Capulet = Capulet(), isSecure: Bool = false, purpose: OutgoingPeerMachine.Purpose = .stanzas) {
        (self.here, self.there) = (here, there)
        montague = OutgoingPeerMachine(DomainPair(remote: "capulet.example", local: "montague.example"), purpose, isSecure: isSecure)
        capulet = IncomingPeerMachine(isSecure: isSecure)
        say { montague.header.write(to: &$0) }
    }

    /// Montague says something.
    func say(_ write: (inout XMLWriter) -> Void) {
        var writer = XMLWriter()
        write(&writer)
        var bytes = writer.buffer
        while let event = try? toCapulet.next(from: &bytes) {
            switch event {
            case .opened(let header): perform(capulet.opened(header, there))
            case .element(let element): perform(capulet.received(element, there))
            case .closed: perform(capulet.peerClosed())
            }
        }
    }

    /// Capulet says something.
    func reply(_ write: (inout XMLWriter) -> Void) {
        var writer = XMLWriter()
        write(&writer)
        var bytes = writer.buffer
        while let event = try? toMontague.next(from: &bytes) {
            switch event {
            case .opened(let header): perform(montague.opened(header, here))
            case .element(let element): perform(montague.received(element, here))
            case .closed: perform(montague.peerClosed())
            }
        }
    }

    func perform(_ action: IncomingPeerMachine.Action) {
        switch action {
        case .wait: return
        case .succeed(let pair), .accept(let pair, _): story.append("capulet takes \(pair.remote) to \(pair.local)")
        case .verify(let request, let id):
            story.append("capulet asks about \(request.key ?? "") of \(id)")
            question = request
        case .look(let domain):
            story.append("capulet looks for \(domain)")
            there.shown = there.found ?? there.shown
            return perform(capulet.looked(there))
        case .goBothWays: story.append("both ways")
        case .deliver: story.append("capulet delivers")
        case .manage: story.append("capulet manages")
        case .answered(let answer): story.append("capulet hears \(answer)")
        case .close(let error?, _): story.append("capulet ends with \(error.condition.rawValue)")
        case .fail(let failure), .failFinally(let failure, _): story.append("capulet refuses: \(failure.condition.rawValue)")
        case .open, .proceed, .refuseTLS, .answer, .close, .finish: break
        }
        if case .succeed = action { toCapulet.restart() }
        reply { action.write(to: &$0) }
    }

    func perform(_ action: OutgoingPeerMachine.Action) {
        switch action {
        case .wait: return
        case .handshake:
            story.append("TLS")
            capulet.secured()
            toCapulet.restart()
            toMontague.restart()
            return perform(montague.secured())
        case .restart: toMontague.restart()
        case .sendKey(let id, _):
            say { action.write(to: &$0) }
            return say { DialbackElement(.result, from: "montague.example", to: "capulet.example", key: "key of \(id)").write(to: &$0) }
        case .begin(let method, let isManaged): story.append("montague begins by \(method.rawValue)\(isManaged ? ", managed" : "")")
        case .ask: story.append("montague asks")
        case .answered(let answer): story.append("montague hears \(answer.outcome.map { "\($0)" } ?? "")")
        case .deliver: story.append("montague delivers")
        case .manage: story.append("montague manages")
        case .fail(let failure, _): story.append("montague gives up: \(failure)")
        case .open, .startTLS, .authenticate, .answer: break
        }
        say { action.write(to: &$0) }
    }

    /// What was asked elsewhere is answered.
    func verified(_ outcome: DialbackElement.Outcome) {
        guard let question else { return }
        perform(capulet.verified(question, outcome))
    }

    func clear() { story = [] }
}

@Suite("Streams between two servers (RFC 6120 §4, XEP-0178, XEP-0220)")
struct PeerMachinesTests {
    private let taken = "capulet takes montague.example to capulet.example"

    @Test("with certificates on both sides: STARTTLS, EXTERNAL, stream management")
    func certificates() {
        let wire = Wire()
        #expect(wire.story == ["TLS", "both ways", taken, "montague begins by certificate, managed"])
        #expect(wire.capulet.pairs == [DomainPair(remote: "montague.example", local: "capulet.example")])
        #expect(wire.capulet.isBidirectional && wire.montague.isBidirectional)
    }

    @Test("on a connection that begins with TLS (XEP-0368)")
    func directTLS() {
        #expect(Wire(isSecure: true).story == ["both ways", taken, "montague begins by certificate, managed"])
    }

    @Test("one direction where either side wants no more (XEP-0288)", arguments: [true, false])
    func oneWay(_ isHere: Bool) {
        // Who has called does not ask for more unless he is told to.
        let one = PeerPolicy(bidirection: isHere ? .accept : .off)
        let wire = isHere ? Wire(Montague(policy: one)) : Wire(Montague(), Capulet(peer: one))
        #expect(wire.story == ["TLS", taken, "montague begins by certificate, managed"])
        #expect(!wire.capulet.isBidirectional && !wire.montague.isBidirectional)
    }

    @Test("without a certificate of Montague's: by dialback, where Capulet believes DNS")
    func dialback() {
        let wire = Wire(Montague(hasCertificate: false), Capulet(peer: PeerPolicy(authentication: .dialback), shown: .absent))
        #expect(wire.story == ["TLS", "both ways", "capulet asks about keyofin-1 of in-1"])
        wire.clear()
        wire.verified(.valid)
        #expect(wire.story == [taken, "montague begins by dialback"])
    }

    @Test("whom no authority vouches for DNS may, with STARTTLS or TLS from the first byte; it is looked before features", arguments: [false, true])
    func looking(_ isSecure: Bool) {
        let wire = Wire(Montague(), Capulet(shown: .invalid("self-signed"), found: .valid), isSecure: isSecure)
        let tls = isSecure ? [] : ["TLS"]
        #expect(wire.story == tls + ["capulet looks for montague.example", "both ways", taken, "montague begins by certificate, managed"])
    }

    @Test("if DNS says nothing it is as if it had not been looked; who shows nothing, or enough, is not looked up")
    func needlessLooking() {
        let refused = Wire(Montague(), Capulet(shown: .invalid("self-signed"), found: .invalid("self-signed")))
        #expect(refused.story.prefix(3) == ["TLS", "capulet looks for montague.example", "both ways"])
        #expect(refused.capulet.pairs.isEmpty)
        for shown in [CertificateVerdict.absent, .valid] {
            let wire = Wire(Montague(), Capulet(shown: shown, found: .valid))
            #expect(!wire.story.contains { $0.hasPrefix("capulet looks") })
        }
    }

    @Test("what the domain says about the key decides", arguments: [
        (DialbackElement.Outcome.invalid, "montague gives up: invalidKey"),
        (.error(.remoteServerNotFound), "montague gives up: dialback(MartletXMPP.StanzaError.Condition.remoteServerNotFound)"),
    ])
    func refusedKey(_ outcome: DialbackElement.Outcome, _ end: String) {
        let wire = Wire(Montague(hasCertificate: false), Capulet(peer: PeerPolicy(authentication: .dialback), shown: .absent))
        wire.clear()
        wire.verified(outcome)
        #expect(wire.story.first == end)
        #expect(wire.capulet.pairs.isEmpty)
    }

    @Test("where Capulet wants certificates a key is asked about nowhere")
    func keyWithoutCertificate() {
        let wire = Wire(Montague(hasCertificate: false), Capulet(shown: .invalid("expired")))
        #expect(wire.story.prefix(3) == ["TLS", "both ways", "montague gives up: dialback(MartletXMPP.StanzaError.Condition.notAuthorized)"])
        #expect(wire.question == nil)
    }

    @Test("who has a valid certificate and sends a key all the same is asked nothing")
    func needlessKey() {
        let wire = Wire(Montague(hasCertificate: false))
        #expect(wire.story == ["TLS", "both ways", taken, "montague begins by dialback"])
    }

    @Test("Montague wants to see a certificate that is good for Capulet", arguments: [CertificateVerdict.absent, .invalid("it has expired")])
    func badCertificate(_ verdict: CertificateVerdict) {
        let wire = Wire(Montague(certificate: verdict))
        #expect(wire.story.first == "TLS")
        #expect(wire.story.contains { $0.hasPrefix("montague gives up: certificate") })
        #expect(wire.capulet.pairs.isEmpty)
    }

    @Test("Montague sends nothing in clear unless it may")
    func noTLS() {
        let clear = PeerPolicy(requiresEncryption: false, authentication: .dialback)
        var wire = Wire(Montague(), Capulet(peer: clear, shown: .absent, hasCertificate: false))
        #expect(wire.story.first == "montague gives up: noTLS")
        wire = Wire(Montague(policy: clear), Capulet(peer: clear, shown: .absent, hasCertificate: false))
        #expect(wire.story == ["capulet asks about keyofin-1 of in-1"])
    }

    @Test("asking about keys proves nothing and takes nothing")
    func verification() {
        let wire = Wire(purpose: .verification)
        #expect(wire.story == ["TLS", "montague asks"])
        wire.clear()
        wire.say { DialbackElement(.verify, from: "montague.example", to: "capulet.example", id: "x", key: "ours").write(to: &$0) }
        wire.say { DialbackElement(.verify, from: "montague.example", to: "capulet.example", id: "x", key: "theirs").write(to: &$0) }
        wire.say { DialbackElement(.verify, from: "montague.example", to: "elsewhere.example", id: "x", key: "ours").write(to: &$0) }
        #expect(wire.story == ["montague hears valid", "montague hears invalid", "montague hears error(MartletXMPP.StanzaError.Condition.itemNotFound)"])
        wire.clear()
        wire.say { $0.element("message", .client, ["from": "montague.example", "to": "capulet.example"]) }
        #expect(wire.story.first == "capulet ends with not-authorized")
    }

    @Test("further pairs of domains are proved by dialback on a stream that stands")
    func morePairs() {
        let wire = Wire(Montague(), Capulet(peer: PeerPolicy(authentication: .dialback)))
        wire.clear()
        wire.say { DialbackElement(.result, from: "montague.example", to: "conference.capulet.example", key: "k").write(to: &$0) }
        #expect(wire.story == ["capulet takes montague.example to conference.capulet.example"])
        wire.say { DialbackElement(.result, from: "chat.montague.example", to: "capulet.example", key: "k").write(to: &$0) }
        #expect(wire.question?.from == "chat.montague.example")
        wire.verified(.valid)
        #expect(wire.capulet.pairs.count == 3)
    }

    @Test("answers that nobody asked for prove nothing (CVE-2012-3525)")
    func unsolicited() {
        let wire = Wire(Montague(hasCertificate: false), Capulet(peer: PeerPolicy(authentication: .dialback), shown: .absent))
        wire.clear()
        wire.reply { DialbackElement(.result, from: "evil.example", to: "montague.example", outcome: .valid).write(to: &$0) }
        wire.reply { DialbackElement(.result, from: "capulet.example", to: "other.example", outcome: .valid).write(to: &$0) }
        #expect(wire.story == [])
        wire.say { DialbackElement(.result, from: "montague.example", to: "capulet.example", outcome: .valid).write(to: &$0) }
        wire.perform(wire.capulet.verified(DialbackElement(.result, from: "tybalt.example", to: "capulet.example", key: "k"), .valid))
        #expect(wire.capulet.pairs.isEmpty)
    }

    @Test("limits of one stream: keys asked about at a time, pairs, and failures", arguments: [true, false])
    func limits(_ isAtLimit: Bool) {
        let wire = Wire(Montague(), Capulet(peer: PeerPolicy(authentication: .dialback)))
        let count = IncomingPeerMachine.askedMax + (isAtLimit ? 0 : 1)
        for number in 1...count {
            wire.clear()
            wire.say { DialbackElement(.result, from: "d\(number).example", to: "capulet.example", key: "k").write(to: &$0) }
        }
        #expect(wire.story.contains { $0.hasPrefix("capulet asks") } == isAtLimit)
    }
}

@Suite("What an incoming stream is refused for")
struct IncomingPeerMachineTests {
    private func opened(_ attributes: String) throws -> IncomingPeerMachine.Action {
        var machine = IncomingPeerMachine(isSecure: false)
        return machine.opened(try Self.header(attributes), Capulet())
    }

    fileprivate static func header(_ attributes: String, content: String = "jabber:server") throws -> FlatElement {
        var parser = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
        var bytes = ByteBuffer(string: "<stream:stream xmlns='\(content)' xmlns:stream='http://etherx.jabber.org/streams' \(attributes)>")
        guard case .opened(let element)? = try parser.next(from: &bytes) else { throw StreamError(.badFormat) }
        return element
    }

    private func condition(_ action: IncomingPeerMachine.Action) -> StreamError.Condition? {
        if case .close(let error, _) = action { error?.condition } else { nil }
    }

    @Test("headers", arguments: [
        ("to='capulet.example' from='montague.example' version='1.0'", nil),
        ("to='capulet.example' version='1.0'", nil), ("to='capulet.example' from='montague.example'", nil),
        ("to='elsewhere.example' from='montague.example' version='1.0'", StreamError.Condition.hostUnknown),
        ("to='capulet.example' from='capulet.example' version='1.0'", .invalidFrom),
        ("to='capulet.example' from='blocked.example' version='1.0'", .policyViolation),
        ("to='juliet@capulet.example' from='montague.example' version='1.0'", .improperAddressing),
        ("to='capulet.example' from='montague.example' version='0.9'", .unsupportedVersion),
    ])
    func headers(_ attributes: String, _ expected: StreamError.Condition?) throws {
        #expect(condition(try opened(attributes)) == expected)
    }

    @Test("a client's namespace is not for servers")
    func namespace() throws {
        var machine = IncomingPeerMachine(isSecure: false)
        #expect(condition(machine.opened(try Self.header("to='capulet.example' version='1.0'", content: "jabber:client"), Capulet())) == .invalidNamespace)
    }

    @Test("an identity that is not that of the header is refused (finding 1 of reliability.md)", arguments: [
        ("montague.example", true), ("", true), ("MONTAGUE.example", true), ("capulet.example", false), ("romeo@montague.example", false), ("\0", false),
    ])
    func identity(_ name: String, _ isTaken: Bool) throws {
        var machine = IncomingPeerMachine(isSecure: true)
        _ = machine.opened(try Self.header("to='capulet.example' from='montague.example' version='1.0'"), Capulet())
        let text = name.isEmpty ? "=" : Base64.encode(name.utf8)
        let auth = try parseElement(
            ByteBuffer(string: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>\(text)</auth>"), limits: .authenticated)
        let action = machine.received(auth, Capulet())
        if isTaken {
            #expect(action == .succeed(DomainPair(remote: "montague.example", local: "capulet.example")))
        } else {
            guard case .fail(let failure) = action else { return #expect(Bool(false), "\(action)") }
            #expect(failure.condition == .invalidAuthzid)
        }
    }

    @Test("EXTERNAL is offered to whose certificate is good for the domain, and to nobody else", arguments: [CertificateVerdict.valid, .absent, .invalid("no")])
    func offer(_ verdict: CertificateVerdict) throws {
        var machine = IncomingPeerMachine(isSecure: true)
        let action = machine.opened(try Self.header("to='capulet.example' from='montague.example' version='1.0'"), Capulet(shown: verdict))
        guard case .open(_, let features?) = action else { return #expect(Bool(false), "\(action)") }
        #expect(features.external == (verdict == .valid))
    }

    /// A stream that waits for what is looked up.
    private func looking() throws -> IncomingPeerMachine {
        var machine = IncomingPeerMachine(isSecure: true)
        let action = machine.opened(try Self.header("to='capulet.example' from='montague.example' version='1.0'"), Self.suspicious)
        #expect(action == .look(domain: "montague.example"))
        #expect(machine.isWaiting && !machine.isEnding && machine.pairs.isEmpty && machine.remote == "montague.example")
        return machine
    }

    private static let suspicious = Capulet(shown: .invalid("self-signed"), found: .valid)

    @Test("while it is looked nothing is read; what ends the stream comes behind our header")
    func whileLooking() throws {
        let header = try Self.header("to='capulet.example' from='montague.example' version='1.0'")
        let auth = try parseElement(ByteBuffer(string: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"), limits: .authenticated)
        let ours = PeerStreamHeader(from: "capulet.example", to: "montague.example", id: "in-1")
        var machine = try looking()
        #expect(machine.received(auth, Self.suspicious) == .close(StreamError(.policyViolation, "An answer is to come first."), ours))
        machine = try looking()
        #expect(machine.opened(header, Self.suspicious) == .close(StreamError(.badFormat, "A stream has one header."), ours))
        machine = try looking()
        #expect(machine.end(nil, Self.suspicious) == .close(nil, ours) && machine.isEnding)
        // It comes too late.
        #expect(machine.looked(Self.suspicious) == .wait && machine.isEnding)
        machine = try looking()
        #expect(machine.peerClosed() == .finish(sendsEnd: true))
        var fresh = IncomingPeerMachine(isSecure: true)
        #expect(fresh.looked(Self.suspicious) == .wait)
    }

    @Test("nobody is looked up without TLS, or without a name")
    func notLooked() throws {
        for (isSecure, from) in [(false, "from='montague.example'"), (true, "")] {
            var machine = IncomingPeerMachine(isSecure: isSecure)
            guard case .open = machine.opened(try Self.header("to='capulet.example' \(from) version='1.0'"), Self.suspicious) else {
                return #expect(Bool(false), "\(isSecure)")
            }
        }
    }

    @Test("so many attempts may fail, and the last ends the stream", arguments: [true, false])
    func attempts(_ isLast: Bool) throws {
        var machine = IncomingPeerMachine(isSecure: true)
        _ = machine.opened(try Self.header("to='capulet.example' from='montague.example' version='1.0'"), Capulet())
        let auth = try parseElement(ByteBuffer(string: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"), limits: .authenticated)
        for _ in 0..<(IncomingPeerMachine.failuresMax - (isLast ? 1 : 2)) { _ = machine.received(auth, Capulet()) }
        let action = machine.received(auth, Capulet())
        if case .failFinally = action { #expect(isLast) } else { #expect(!isLast) }
    }
}

@Suite("Dialback keys and elements (XEP-0185, XEP-0220)")
struct DialbackTests {
    @Test("the example of XEP-0185")
    func example() {
        let secret = DialbackSecret(Array("s3cr3tf0rd14lb4ck".utf8))
        let key = secret.key(receiving: "xmpp.example.com", originating: "example.org", streamID: "D60000229F")
        #expect(key == "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643")
        var request = DialbackElement(.verify, from: "xmpp.example.com", to: "example.org", id: "D60000229F", key: key)
        #expect(secret.isOurs(request))
        request.id = "D60000229E"
        #expect(!secret.isOurs(request))
        request.key = String(key.dropLast())
        #expect(!secret.isOurs(request))
    }

    @Test("elements are written with the prefix of the header, and read back")
    func elements() throws {
        let all = [
            DialbackElement(.result, from: "a.example", to: "b.example", key: "k"), DialbackElement(.verify, from: "a.example", to: "b.example", id: "x", key: "k"),
            DialbackElement(.result, from: "a.example", to: "b.example", outcome: .valid),
            DialbackElement(.verify, from: "a.example", to: "b.example", id: "x", outcome: .error(.itemNotFound)),
        ]
        for element in all {
            var writer = XMLWriter()
            PeerStreamHeader(from: "a.example", to: "b.example").write(to: &writer)
            element.write(to: &writer)
            #expect(String(buffer: writer.buffer).contains("<db:"))
            var parser = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
            var bytes = writer.buffer
            _ = try parser.next(from: &bytes)
            guard case .element(let read)? = try parser.next(from: &bytes) else { return #expect(Bool(false)) }
            #expect(try DialbackElement(read) == element)
        }
    }

    @Test("what makes no sense is none", arguments: [
        "<db:result from='a.example' to='b.example'/>", "<db:verify from='a.example' to='b.example'>k</db:verify>", "<db:other from='a.example' to='b.example'>k</db:other>",
    ])
    func nonsense(_ xml: String) throws {
        let element = try parseElement(ByteBuffer(string: xml.replacing(" from=", with: " xmlns:db='jabber:server:dialback' from=")), limits: .authenticated)
        #expect(try DialbackElement(element) == nil)
    }

    @Test("it is between domains", arguments: ["juliet@capulet.example", "", "capulet.example/balcony"])
    func addresses(_ from: String) throws {
        let xml = "<db:result xmlns:db='jabber:server:dialback' from='\(from)' to='b.example'>k</db:result>"
        let element = try parseElement(ByteBuffer(string: xml), limits: .authenticated)
        #expect(throws: StreamError.self) { try DialbackElement(element) }
    }
}
