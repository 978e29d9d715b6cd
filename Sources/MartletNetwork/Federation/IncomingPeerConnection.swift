import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// A connection that another server has made to us (RFC 6120 §4).
///
/// It decides nothing about the stream, which is ``IncomingPeerMachine``'s, nor about stanzas, which are the ``PeerSession``'s.
package final class IncomingPeerConnection: PeerConnection {
    private var machine: IncomingPeerMachine
    private let begins: TLSStart
    private let tlsProfile: TLSProfile
    private lazy var session = PeerSession(self, router: service.router, context: loop.context)
    /// Links by which this server sends back on the same stream (XEP-0288).
    private var links: [PeerLink] = []
    /// How each pair was proved.
    private var methods: [DomainPair: OutgoingPeerMachine.Method] = [:]
    private var deadline = Deadline.negotiation(until: 0)
    private var countsAsUnauthenticated = false
    private var countedAddress: NetworkAddress?
    /// Once it is gone: whether either side had said so.
    private(set) var endedInOrder = false
    /// By what the other server can go on with the stream on another connection (XEP-0198 §5).
    private var resumption: String?
    private var isResuming = false
    private var recent: (domain: String, messages: RecentMessages)?
    /// It has gone on with it.
    private var isSuperseded = false
    /// In DER, for as long as somebody may want to know more about it.
    private var shown: [[UInt8]] = []
    private var inquiry: CertificateInquiry?

    package enum TLSStart: Hashable, Sendable { case inStream, atOnce }
    private enum Deadline { case negotiation(until: Int), idle, closing(until: Int) }

    init(_ service: FederationService, _ loop: NetworkLoop, begins: TLSStart, _ tlsProfile: TLSProfile) {
        self.begins = begins
        self.tlsProfile = tlsProfile
        machine = IncomingPeerMachine(isSecure: begins == .atOnce)
        super.init(service, loop)
    }

    private var surroundings: Surroundings { Surroundings(connection: self) }

    // MARK: Connection

    override func began() {
        if let refusal = service.admission.admit() { return refuse(refusal) }
        countsAsUnauthenticated = true
        if let address = context?.channel.remoteAddress.flatMap({ NetworkAddress($0) }) {
            if let refusal = service.admission.admit(address) { return refuse(refusal) }
            countedAddress = address
        }
        let until = loop.now + NetworkLoop.ticks(settings.negotiationDeadline)
        deadline = .negotiation(until: until)
        hang(until: until)
        service.came(self)
        if begins == .atOnce { installServerTLS(tlsProfile) { [service] in service.certificates.certificate(forServerName: $0) } }
    }

    private func refuse(_ refusal: Admission.Refusal) {
        log(.debug, "connection refused", ["reason": "\(refusal)"])
        drop()
    }

    override func showed(_ chain: [[UInt8]]) { shown = chain }
    override func secured() { machine.secured() }
    override var isWaiting: Bool { machine.isWaiting || isResuming }
    override var isEnding: Bool { machine.isEnding }

    override func lost() {
        super.lost()
        let pairs = session.pairs
        endedInOrder = machine.isEnding
        machine.transportLost()
        inquiry?.cancel()
        inquiry = nil
        leaveSession()
        let unacknowledged = Self.byLink(management?.unacknowledged ?? [])
        management = nil
        for link in links { link.lost(self, unacknowledged.first { $0.link === link }?.items ?? []) }
        links = []
        leaveUnauthenticated()
        if let countedAddress { service.admission.leave(countedAddress) }
        countedAddress = nil
        service.went(self)
        if !endedInOrder, !isSuperseded { service.check(pairs) }
        if let pair = pairs.first { log(.info, "another server's stream has ended", ["peer": "\(pair.remote)"]) }
    }

    /// A stream that was not closed may go on on another connection.
    private func leaveSession() {
        // Whoever goes on with the stream ends the session when it has dealt with everything.
        if isSuperseded { return }
        guard let resumption else { return session.end() }
        if endedInOrder {
            service.resumable.forget(resumption)
            session.end()
        } else {
            service.resumable.awaitResumption(of: resumption, session, on: loop, for: service.settings.resumableFor)
        }
    }

    /// The other server goes on with the stream on another connection: this one is dead, whether we know it or not.
    func supersede() {
        isSuperseded = true
        drop()
    }

    /// RFC 6120 §13.7.2.3: whoever has been believed by a certificate that is revoked now has to show another one.
    override func askedAgain() {
        guard let pair = pairs.first(where: { methods[$0] == .certificate && isRevoked(for: $0.remote) }) else { return }
        log(.notice, "another server's certificate has been revoked", ["peer": "\(pair.remote)"])
        close(StreamError(.reset, "The certificate has been revoked."))
        loop.context.flushSoon()
    }

    private func leaveUnauthenticated() {
        if countsAsUnauthenticated { service.admission.leaveUnauthenticated(holding: 0) }
        countsAsUnauthenticated = false
    }

    override func willFlush() { askForAcknowledgement() }
    override func drained() { for link in links { link.drain() } }
    override func networkFailed(_ error: any Error) {
        guard let why = ShownCertificateFault(error)?.why else { return log(.debug, "connection failed", ["error": "\(error)"]) }
        log(.info, "the certificate that a server shows ends its handshake", ["why": "\(why)"])
    }

    override func deadlinePassed() {
        switch deadline {
        case .negotiation(let until):
            guard loop.now >= until else { return hang(until: until) }
            close(StreamError(.connectionTimeout, "The negotiation took too long."))
        case .idle:
            if let until = acknowledgementDue { return loop.now >= until ? drop() : hang(until: until) }
            let due = lastActivity + settings.idleTicks
            if loop.now >= due { close(nil) } else { hang(until: due) }
        case .closing(let until):
            if loop.now >= until { drop() } else { hang(until: until) }
        }
    }

    override func close(_ error: StreamError?) {
        // What is said now would be said in clear, or into a handshake.
        guard !isSecuring else { return drop() }
        perform(machine.end(error, surroundings))
    }

    // MARK: From the other server

    override func opened(_ header: FlatElement) { perform(machine.opened(header, surroundings)) }
    override func peerClosed() { perform(machine.peerClosed()) }
    override func failed(_ error: XMLError) { perform(machine.failed(error, surroundings)) }

    override func received(_ element: FlatElement) {
        let action = machine.received(element, surroundings)
        switch action {
        case .deliver: deliver(element)
        case .manage: manage(element)
        default: perform(action)
        }
    }

    private func deliver(_ element: FlatElement) {
        service.counters.received()
        receivedCount += 1
        service.pings.hear(element, session.pairs)
        do throws(StreamError) { try session.receive(element) } catch { perform(machine.end(error, surroundings)) }
    }

    /// XEP-0198: what was taken is acknowledged, and what was not comes again on another connection.
    private func manage(_ element: FlatElement) {
        switch StreamManagementRequest(element) {
        case .enable(let resumes, _):
            guard !session.isManaged, !isResuming else { return say(.failed(.unexpectedRequest, handled: nil)) }
            enableManagement(resumes: resumes)
        case .request:
            guard session.isManaged else { return say(.failed(.unexpectedRequest, handled: nil)) }
            answerRequest(session)
        case .acknowledge(let handled):
            do throws(StreamError) { try take(acknowledgement: handled) } catch { perform(machine.end(error, surroundings)) }
        case .resume(let previous, _):
            guard !session.isManaged, !isResuming, !machine.isBidirectional, let remote = machine.remote else {
                return say(.failed(.unexpectedRequest, handled: nil))
            }
            isResuming = true
            service.resumable.resume(previous, of: remote, machine.pairs, on: loop) { [weak self] handled, isOver in
                self?.goOn(with: previous, of: remote, after: handled, isOver: isOver)
            }
        case nil: say(.failed(.badRequest, handled: nil))
        }
    }

    private func enableManagement(resumes: Bool) {
        if machine.isBidirectional {
            management = OutgoingManagement()
        } else if resumes, let remote = machine.remote, let id = service.resumable.name(self, session, most: settings.resumableMax) {
            resumption = id
            session.enableManagement(named: id, of: remote)
            return say(.enabled(resumption: .init(id: id, seconds: Int(settings.resumableFor.nanoseconds / 1_000_000_000))))
        }
        session.enableManagement()
        say(.enabled(resumption: nil))
    }

    /// - Parameters:
    ///   - handled: so many stanzas of the earlier stream are handled; `nil` if nobody knows.
    ///   - isOver: whether the stream is over all the same.
    private func goOn(with previous: String, of remote: String, after handled: UInt32?, isOver: Bool) {
        isResuming = false
        guard !isGone else { return }
        if let handled, !isOver {
            session.enableManagement(named: previous, of: remote, after: handled)
            handledCount = handled
            resumption = previous
            service.resumable.keep(previous, of: self, session)
            say(.resumed(previous: previous, handled: handled))
        } else {
            say(.failed(.itemNotFound, handled: handled))
        }
        resume()
        loop.context.flushSoon()
    }

    private func perform(_ action: IncomingPeerMachine.Action) {
        switch action {
        case .wait, .deliver, .manage, .answered: break
        case .goBothWays: break
        case .open:
            write { action.write(to: &$0) }
            goBothWays()
        case .answer: write { action.write(to: &$0) }
        case .proceed(let domain): startTLS(domain, action)
        case .succeed(let pair):
            write { action.write(to: &$0) }
            restartStream()
            admit(pair, by: .certificate)
        case .accept(let pair, _):
            write { action.write(to: &$0) }
            admit(pair, by: .dialback)
        case .look(let domain): look(for: domain)
        case .verify(let request, let id): verify(request, id)
        case .fail(let failure):
            write { action.write(to: &$0) }
            log(.info, "another server was not authenticated", ["peer": "\(machine.remote ?? "")", "reason": "\(failure.condition.rawValue)"])
        case .failFinally: end(action)
        case .refuseTLS, .finish:
            endSession()
            write { action.write(to: &$0) }
            closeAfterFlush()
        case .close(let error, _):
            // Strangers do not fill the log.
            if let error {
                let reason = error.condition.rawValue + (error.text.map { ": \($0)" } ?? "")
                log(methods.isEmpty ? .debug : .info, "another server's stream is ended", ["peer": "\(machine.remote ?? "")", "reason": "\(reason)"])
            }
            end(action)
        }
    }

    /// A stream that is closed cannot be gone on with (XEP-0198 §5).
    private func endSession() {
        if let resumption { service.resumable.forget(resumption) }
        resumption = nil
        session.end()
    }

    private func end(_ action: IncomingPeerMachine.Action) {
        endSession()
        write { action.write(to: &$0) }
        flush()
        let until = loop.now + NetworkLoop.ticks(settings.closingDeadline)
        deadline = .closing(until: until)
        hang(until: until)
    }

    private func startTLS(_ domain: String, _ action: IncomingPeerMachine.Action) {
        guard let certificate = service.certificates.certificate(of: domain) else { return drop() }
        guard discardClearText() else {
            log(.notice, "bytes behind <starttls/>: connection dropped")
            return drop()
        }
        write { action.write(to: &$0) }
        flush()
        installServerTLS(tlsProfile) { _ in certificate }
    }

    // MARK: Authentication

    private func look(for domain: String) {
        let inquiry = CertificateInquiry(service, loop, shown, of: domain) { [weak self] isAllowed in
            guard let self, !isGone else { return }
            self.inquiry = nil
            if isAllowed, let address = try? BareJID(parsing: domain) { allowPresented(for: address) }
            perform(machine.looked(surroundings))
            resume()
            flushSoon()
            loop.context.flushSoon()
        }
        self.inquiry = inquiry
        inquiry.begin()
    }

    private func admit(_ pair: DomainPair, by method: OutgoingPeerMachine.Method) {
        leaveUnauthenticated()
        admitLargerStanzas()
        shown = []
        session.pairs = machine.pairs
        session.recentMessages = { [weak self] in self?.recentMessages($0) }
        methods[pair] = method
        if case .negotiation = deadline {
            deadline = .idle
            hang(until: loop.now + settings.idleTicks)
        }
        log(.info, "another server is authenticated", ["peer": "\(pair.remote)", "domain": "\(pair.local)", "by": "\(method.rawValue)"])
        // After EXTERNAL another header comes, and nothing is said before the answer to that (RFC 6120 §6.3.2).
        if method == .dialback { goBothWays(pair) }
    }

    private func goBothWays() {
        for pair in methods.keys { goBothWays(pair) }
    }

    private func goBothWays(_ pair: DomainPair) {
        guard machine.isBidirectional, !links.contains(where: { $0.pair == pair }), let link = service.adopt(self, pair) else {
            return service.heard(pair)
        }
        links.append(link)
    }

    /// As the last stanza's, mostly: there is one server at the other end.
    private func recentMessages(_ domain: String) -> RecentMessages {
        if let recent, recent.domain == domain { return recent.messages }
        let messages = service.recentMessages(of: domain)
        recent = (domain, messages)
        return messages
    }

    private func verify(_ request: DialbackElement, _ streamID: String) {
        var question = DialbackElement(.verify, from: request.to, to: request.from, id: streamID, key: request.key)
        question.outcome = nil
        service.ask(question, on: loop) { [weak self, counters = service.counters] outcome in
            counters.verified(outcome)
            guard let self, !isGone else { return }
            if outcome != .valid {
                log(.info, "a dialback key was not confirmed", ["peer": "\(request.from)", "domain": "\(request.to)", "outcome": "\(outcome)"])
            }
            perform(machine.verified(request, outcome))
            flushSoon()
            loop.context.flushSoon()
        }
    }

    // MARK: What operators see

    /// Who has proved what on this stream.
    var pairs: Set<DomainPair> { machine.pairs }
    func method(of pair: DomainPair) -> OutgoingPeerMachine.Method? { methods[pair] }
    var remote: String? { machine.remote }
    var isManaged: Bool { session.isManaged }
    var isBidirectional: Bool { machine.isBidirectional }
}

extension IncomingPeerConnection: PeerTransport {
    package func handled(_ count: UInt32) { acknowledge(count, of: session) }
}

/// What a stream asks of the server, as its loop sees it.
private struct Surroundings: IncomingPeerEnvironment {
    unowned let connection: IncomingPeerConnection
    private var hosts: HostTable { connection.loop.context.hosts }
    private var service: FederationService { connection.service }

    init(connection: IncomingPeerConnection) { self.connection = connection }

    var defaultDomain: String { hosts.hosts.map(\.domain.domainpart).min() ?? "" }
    var offersManagement: Bool { true }
    var limits: PeerFeatures.Limits {
        .init(bytesMax: connection.settings.limits.stanzaBytesMax, idleSeconds: connection.settings.idleTicks)
    }
    func serves(_ domain: String) -> Bool { (try? BareJID(parsing: domain)).map { hosts.isOurs($0) } ?? false }
    func canStartTLS(for domain: String) -> Bool { service.certificates.certificate(of: domain) != nil }
    func streamID() -> String { connection.loop.context.random.token() }
    func policy(of remote: String) -> PeerPolicy {
        var policy = service.policy(of: remote)
        if policy.refusal == nil, !connection.isAsAsked(of: remote) { policy.refusal = "This server speaks with \(remote) by TLS 1.3 only." }
        return policy
    }
    func certificate(for remote: String) -> CertificateVerdict { connection.certificate(for: remote) }
    /// Beside the operator's own word that of others does not count, nor has anybody a say about a certificate that its authority has revoked.
    func isWorthLooking(for remote: String) -> Bool {
        service.proof(of: remote)?.isDecisive != true && !connection.isRefusedAsRevoked(for: remote)
    }
    func isOurs(_ request: DialbackElement) -> Bool { service.secret.isOurs(request) }
}
