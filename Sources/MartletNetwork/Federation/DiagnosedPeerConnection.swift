import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A stream to another server that tells what it goes through.
final class DiagnosedPeerConnection: OutgoingPeerConnection {
    enum End {
        case done
        case failed(PeerCallFailure)
        /// A ping.
        case unanswered
    }

    private let say: (DiagnosisStep.Topic, DiagnosisStep.Verdict, String) -> Void
    private let pings: Bool
    private let ownPolicy: PeerPolicy
    private var ended: ((End) -> Void)?
    private var timer: Scheduled<Void>?
    private var isOffering = false
    private var shown: [[UInt8]] = []
    private let onShown: ([[UInt8]]) -> Void

    /// On the loop.
    ///
    /// - Parameters:
    ///   - records: what DNS says about the host's certificate, if that counts.
    ///   - shown: told which certificates the other server shows.
    ///   - pings: whether a ping is sent, and its answer awaited, at the end.
    ///   - ended: told once.
    static func begin(
        _ service: FederationService, _ loop: NetworkLoop, _ pair: DomainPair, _ purpose: OutgoingPeerMachine.Purpose, _ policy: PeerPolicy,
        _ dialled: Dialled, _ records: DANE?, _ say: @escaping (DiagnosisStep.Topic, DiagnosisStep.Verdict, String) -> Void,
        shown: @escaping ([[UInt8]]) -> Void, pings: Bool, _ ended: @escaping (End) -> Void
    ) {
        // Nobody was told if it has been closed meanwhile.
        guard dialled.channel.isActive else { return ended(.failed(.network("the other server closed the connection"))) }
        let connection = DiagnosedPeerConnection(service, loop, pair, purpose, policy, dialled.target, records, say, shown, pings, ended)
        connection.onReady = { _ in connection.ready() }
        connection.onEnd = { _, failure, _ in connection.finish(.failed(failure)) }
        let deadline = service.settings.callDeadline
        connection.timer = loop.loop.assumeIsolated().scheduleTask(in: deadline) { connection.finish(.failed(.timedOut)) }
        do {
            try PeerCall.install(connection, on: dialled.channel)
        } catch {
            dialled.channel.close(promise: nil)
            connection.finish(.failed(.network("\(error)")))
        }
    }

    private init(
        _ service: FederationService, _ loop: NetworkLoop, _ pair: DomainPair, _ purpose: OutgoingPeerMachine.Purpose, _ policy: PeerPolicy,
        _ target: DialTarget, _ records: DANE?, _ say: @escaping (DiagnosisStep.Topic, DiagnosisStep.Verdict, String) -> Void,
        _ onShown: @escaping ([[UInt8]]) -> Void, _ pings: Bool, _ ended: @escaping (End) -> Void
    ) {
        self.say = say
        self.onShown = onShown
        ownPolicy = policy
        self.pings = pings
        self.ended = ended
        super.init(service, loop, pair, purpose, to: target, records)
    }

    override var usualPolicy: PeerPolicy { ownPolicy }

    private func finish(_ end: End) {
        let told = ended
        ended = nil
        timer?.cancel()
        (onReady, onEnd) = (nil, nil)
        close(nil)
        told?(end)
        loop.context.flushSoon()
    }

    // MARK: What it goes through

    override func showed(_ chain: [[UInt8]]) {
        shown = chain
        onShown(chain)
    }

    override func secured() {
        say(.tls, .good, tlsVersion.map { "TLS \($0)" } ?? "TLS")
        sayCertificate()
        super.secured()
    }

    private func sayCertificate() {
        if let first = shown.first {
            do throws(CertificateFault) {
                say(.certificate, .neutral, try Self.words(first, more: shown.count - 1))
            } catch {
                say(.certificate, .bad, "\(error)")
            }
        }
        if let (verdict, words) = revocation(for: pair.remote).words { say(.certificate, verdict, words) }
        let verdict = certificate(for: pair.remote)
        // What ends the stream is told at its end.
        guard verdict == .valid || policy.authentication == .dialback else { return }
        switch verdict {
        case .valid: say(.certificate, .good, "accepted: \(reason)")
        case .absent: say(.certificate, .neutral, "none; dialback will do")
        case .invalid(let why): say(.certificate, .neutral, "not accepted: \(why); dialback will do")
        }
    }

    /// Why its certificate is accepted.
    private var reason: String {
        if service.proof(of: pair.remote)?.isDecisive == true { return "it is what the configuration says of \(pair.remote) (peers)" }
        if dane != nil { return "the TLSA records allow it" }
        let isListed = (try? BareJID(parsing: pair.remote)).map { presented?.isListed(for: $0) == true } ?? false
        return isListed ? "the web server of \(pair.remote) allows it (POSH)" : "it is for \(pair.remote) and leads to an authority that is trusted here"
    }

    /// Names, issuer and end of a certificate.
    static func words(_ certificate: [UInt8], more: Int) throws(CertificateFault) -> String {
        let parsed = try PeerCertificate.parsed(certificate)
        let names = PeerCertificate(parsed).names.map(\.description).joined(separator: ", ")
        let chain = more == 0 ? "" : "; \(more) more in the chain"
        return "for \(names.isEmpty ? "nobody" : names); issued by \(PeerCertificate.Name.printable("\(parsed.issuer)")); valid until \(parsed.notValidAfter)\(chain)"
    }

    override func received(_ element: FlatElement) {
        if element.root.isNamed("features", .streams) {
            let features = PeerFeatures(element)
            say(.offer, .neutral, features.words)
        }
        super.received(element)
    }

    override func perform(_ action: OutgoingPeerMachine.Action) {
        switch action {
        case .authenticate: say(.authentication, .neutral, "our certificate is shown (SASL EXTERNAL)")
        case .restart: say(.authentication, .good, "our certificate is accepted")
        case .sendKey: say(.authentication, .neutral, "a dialback key is sent, about which \(pair.remote) asks whoever it finds by the name \(pair.local)")
        case .begin(.dialback, _): say(.authentication, .good, "our dialback key is accepted")
        case .wait, .open, .startTLS, .handshake, .begin(.certificate, _), .ask, .answered, .answer, .manage, .deliver, .fail: break
        }
        super.perform(action)
    }

    // MARK: Ping (XEP-0199)

    private func ready() {
        guard pings, let from = try? JID(pair.local), let to = try? JID(pair.remote) else { return finish(.done) }
        let id = loop.context.random.token()
        let began = NIODeadline.now()
        timer?.cancel()
        timer = loop.loop.assumeIsolated().scheduleTask(in: PeerDiagnosis.pingDeadline) { [self] in
            service.pings.forget(id)
            finish(.unanswered)
        }
        let bound = NIOLoopBound(self, eventLoop: loop.loop)
        let home = loop.loop
        service.pings.await(id, pair) { answer in home.execute { bound.value.heard(answer, after: .now() - began) } }
        write(StanzaBuilder.iq(.get, from: from, to: to, id: id) { $0.element("ping", .ping) }.bytes)
    }

    private func heard(_ answer: PeerPings.Answer, after time: TimeAmount) {
        let tenths = time.nanoseconds / 100_000
        say(.ping, .good, "answered after \(tenths / 10).\(tenths % 10) ms" + (answer == .error ? ", with an error" : ""))
        finish(.done)
    }
}

extension RevocationFinding {
    /// For people; a fault that ends the stream is told at its end.
    var words: (DiagnosisStep.Verdict, String)? {
        switch self {
        case .notAsked: nil
        case .good(let source): (.good, "not revoked, says \(source)")
        case .revoked(let subject, let source): (.bad, "revoked: that of \(subject), says \(source)")
        case .unsaid(let subject): (.neutral, "the certificate of \(subject) says nowhere who would know whether it is revoked, and no list here has it")
        case .unknown(let subject, let why): (.neutral, "it cannot be found out whether the certificate of \(subject) is revoked: \(why)")
        }
    }
}

extension PeerFeatures {
    /// What is offered, for people.
    var words: String {
        let offers = [
            startTLS == .absent ? nil : startTLS == .required ? "STARTTLS (required)" : "STARTTLS", external ? "authentication by certificate" : nil,
            dialback ? "dialback" : nil, bidirectional ? "streams for both directions" : nil, management ? "stream management" : nil,
            limits.map { "elements of up to \($0.bytesMax) bytes" },
        ].compactMap { $0 }
        return offers.isEmpty ? "nothing" : offers.joined(separator: ", ")
    }
}

extension Namespace {
    /// XEP-0199.
    fileprivate static let ping: Namespace = "urn:xmpp:ping"
}
