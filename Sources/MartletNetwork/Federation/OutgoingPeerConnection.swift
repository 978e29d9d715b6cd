import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import NIOSSL

/// A connection that this server has made to another (RFC 6120 §4).
///
/// It decides nothing about the stream, which is ``OutgoingPeerMachine``'s.
class OutgoingPeerConnection: PeerConnection {
    private(set) var machine: OutgoingPeerMachine
    let pair: DomainPair
    let target: DialTarget
    private let records: DANE?
    /// Told once, when stanzas may be sent or keys asked about.
    var onReady: ((OutgoingPeerConnection) -> Void)?
    /// Told once, when the connection is of no use any more: why, and what was sent and not acknowledged.
    var onEnd: ((OutgoingPeerConnection, PeerCallFailure, [PeerQueue.Item]) -> Void)?
    var onDrained: (() -> Void)?
    private(set) var method: OutgoingPeerMachine.Method?
    private var failure: PeerCallFailure?
    /// The stream that this one is to go on with (XEP-0198 §5), and what the other server said about that.
    private let previous: InterruptedStream?
    private(set) var continuation: Continuation?
    private var awaitsContinuation = false
    /// By what another connection can go on with the stream, and for how long after this one is lost.
    private var resumption: StreamManagementAnswer.Resumption?
    /// Once the connection is lost: what another one can go on with.
    private(set) var interrupted: InterruptedStream?
    private lazy var session: PeerSession = {
        let session = PeerSession(self, router: service.router, context: loop.context)
        session.pairs = [pair]
        return session
    }()
    private var questions: [DialbackElement: (DialbackElement.Outcome) -> Void] = [:]

    enum Continuation {
        case resumed(handled: UInt32)
        /// The stream is over. `handled`: if the other server still knows that.
        case failed(handled: UInt32?)

        var isResumed: Bool { if case .resumed = self { true } else { false } }

        var handled: UInt32? {
            switch self {
            case .resumed(let handled): handled
            case .failed(let handled): handled
            }
        }
    }

    init(
        _ service: FederationService, _ loop: NetworkLoop, _ pair: DomainPair, _ purpose: OutgoingPeerMachine.Purpose, to target: DialTarget,
        _ records: DANE?, resuming previous: InterruptedStream? = nil
    ) {
        self.previous = previous
        self.target = target
        self.records = records
        self.pair = pair
        machine = OutgoingPeerMachine(pair, purpose, isSecure: target.tls == .direct)
        super.init(service, loop)
    }

    /// What is expected of the other server, as far as DNS has nothing to say.
    var usualPolicy: PeerPolicy { service.policy(of: pair.remote) }

    /// What is expected of the other server.
    var policy: PeerPolicy {
        var policy = usualPolicy
        // Who says in DNS which certificate is his is not believed without it (RFC 7671 §2.1, RFC 7673 §3).
        if dane != nil { (policy.requiresEncryption, policy.authentication) = (true, .certificate) }
        return policy
    }
    private var surroundings: Surroundings { Surroundings(connection: self) }
    override var dane: DANE? { records }
    override var called: String? { pair.remote }
    override var stanzaBytesMax: Int? { machine.limits?.bytesMax }
    var isManaged: Bool { management != nil }
    var isBidirectional: Bool { machine.isBidirectional }

    // MARK: Connection

    override func began() {
        hang(until: loop.now + settings.idleTicks)
        switch target.tls {
        case .direct: handshake()
        case .startTLS: write { machine.header.write(to: &$0) }
        }
    }

    private func handshake() {
        guard let tls = service.clientTLS(for: pair) else { return fail(.network("TLS cannot be used")) }
        let name = try? BareJID(parsing: pair.remote)
        installClientTLS(tls, calling: name.flatMap { $0.addressDomainpart == nil ? $0.asciiDomainpart : nil })
    }

    override func secured() {
        switch target.tls {
        case .direct: write { machine.header.write(to: &$0) }
        case .startTLS: perform(machine.secured())
        }
    }

    /// RFC 6120 §13.7.2.3. Where something is still to be sent there will be another call, in vain until there is another certificate.
    override func askedAgain() {
        guard policy.authentication == .certificate, isRevoked(for: pair.remote) else { return }
        log(.notice, "another server's certificate has been revoked", ["peer": "\(pair.remote)"])
        close(nil)
        loop.context.flushSoon()
    }

    override var isWaiting: Bool { machine.isWaiting }
    override var isEnding: Bool { machine.isEnding }
    override func networkFailed(_ error: any Error) { if failure == nil { failure = .network(Self.describe(error)) } }

    private static func describe(_ error: any Error) -> String {
        if let error = error as? IOError { return FileContents.describe(error.errnoCode) }
        if case NIOSSLError.uncleanShutdown = error { return "the other server closed it without a word" }
        return "\(error)"
    }

    override func lost() {
        super.lost()
        machine.transportLost()
        tellEnd(failure ?? .network("the other server closed the connection"))
    }

    private func fail(_ failure: PeerCallFailure) {
        self.failure = failure
        drop()
    }

    private func tellEnd(_ failure: PeerCallFailure) {
        if machine.isBidirectional { session.end() }
        for answered in questions.values { answered(.error(.remoteServerTimeout)) }
        questions = [:]
        let unacknowledged = management.map { $0.unacknowledged.map(\.item) } ?? []
        // A stream that was closed is over (§5).
        if case .network = failure, let management, let resumption {
            interrupted = InterruptedStream(
                id: resumption.id, seconds: resumption.seconds, until: loop.context.time.monotonic + .seconds(Int64(resumption.seconds)), acknowledged: management.acknowledged,
                items: unacknowledged)
        }
        management = nil
        let told = onEnd
        (onReady, onEnd, onDrained) = (nil, nil, nil)
        told?(self, failure, unacknowledged)
    }

    override func deadlinePassed() {
        if machine.isEnding { return drop() }
        if let until = acknowledgementDue {
            guard loop.now < until else { return fail(.network("it does not acknowledge what it is sent")) }
            return hang(until: until)
        }
        let due = max(lastActivity, lastSent) + settings.idleTicks
        if loop.now >= due { close(nil) } else { hang(until: due) }
    }

    override func close(_ error: StreamError?) {
        guard !isSecuring else { return drop() }
        perform(machine.end())
    }

    // MARK: From the other server

    override func opened(_ header: FlatElement) { perform(machine.opened(header, surroundings)) }
    override func peerClosed() { perform(machine.peerClosed()) }
    override func failed(_ error: XMLError) { perform(machine.failed(error)) }

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
        service.pings.hear(element, [pair])
        do throws(StreamError) { try session.receive(element) } catch {
            write { error.write(to: &$0) }
            perform(machine.end())
        }
    }

    func perform(_ action: OutgoingPeerMachine.Action) {
        switch action {
        case .wait, .deliver, .manage: break
        case .open, .startTLS, .authenticate, .answer: write { action.write(to: &$0) }
        case .restart:
            restartStream()
            write { action.write(to: &$0) }
        case .handshake:
            flush()
            guard discardClearText() else { return fail(.network("something was said behind <proceed/>")) }
            handshake()
        case .sendKey(let id, _):
            write { action.write(to: &$0) }
            let key = service.secret.key(receiving: pair.remote, originating: pair.local, streamID: id)
            write { DialbackElement(.result, from: pair.local, to: pair.remote, key: key).write(to: &$0) }
        case .begin(let method, let isManaged): begin(method, isManaged: isManaged)
        case .ask:
            admitLargerStanzas()
            tellReady()
        case .answered(let answer): answered(answer)
        case .fail(let failure, _):
            self.failure = self.failure ?? .stream(failure)
            write { action.write(to: &$0) }
            flush()
            hang(until: loop.now + NetworkLoop.ticks(settings.closingDeadline))
            tellEnd(.stream(failure))
            closeAfterFlush()
        }
    }

    private func begin(_ method: OutgoingPeerMachine.Method, isManaged: Bool) {
        self.method = method
        admitLargerStanzas()
        guard isManaged else { return tellReady() }
        if let previous, !machine.isBidirectional {
            awaitsContinuation = true
            return write { $0.element("resume", .streamManagement, ["previd": previous.id, "h": "0"]) }
        }
        enableManagement()
    }

    private func enableManagement() {
        // Where both send there are two counts, and only one of them is known here: such a stream ends with its connection.
        write { $0.element("enable", .streamManagement, ["resume": machine.isBidirectional ? nil : "true"]) }
        management = OutgoingManagement()
        tellReady()
    }

    private func tellReady() {
        let told = onReady
        onReady = nil
        told?(self)
    }

    // MARK: Stanzas

    override func drained() { onDrained?() }

    override func willFlush() { askForAcknowledgement() }

    private func manage(_ element: FlatElement) {
        if element.isNamed("enabled", .streamManagement) { return enabled(element) }
        if element.isNamed("resumed", .streamManagement) { return resumed(element) }
        if element.isNamed("failed", .streamManagement) { return managementFailed(element) }
        switch StreamManagementRequest(element) {
        case .acknowledge(let handled):
            do throws(StreamError) { try take(acknowledgement: handled) } catch {
                write { error.write(to: &$0) }
                perform(machine.end())
            }
        case .request where machine.isBidirectional && session.isManaged: answerRequest(session)
        case .enable, .request, .resume, nil: break
        }
    }

    private func enabled(_ element: FlatElement) {
        if machine.isBidirectional { return session.enableManagement() }
        guard ["true", "1"].contains(element.attribute("resume")), let id = element.attribute("id"), !id.isEmpty,
            id.utf8.count <= StreamManagementRequest.identifierBytesMax
        else { return }
        let seconds = element.attribute("max").flatMap { UInt32($0) }.map(Int.init) ?? Self.resumableSeconds
        resumption = .init(id: id, seconds: seconds)
    }

    /// Where the other server does not say for how long.
    private static let resumableSeconds = 300

    private func resumed(_ element: FlatElement) {
        guard awaitsContinuation, let previous, element.attribute("previd") == previous.id, let handled = Self.handled(element) else { return }
        awaitsContinuation = false
        continuation = .resumed(handled: handled)
        resumption = .init(id: previous.id, seconds: previous.seconds)
        management = OutgoingManagement(after: handled)
        tellReady()
    }

    private func managementFailed(_ element: FlatElement) {
        guard awaitsContinuation else {
            // It said that it could. What was sent was handed over all the same.
            return endManagement()
        }
        awaitsContinuation = false
        continuation = .failed(handled: Self.handled(element))
        enableManagement()
    }

    private static func handled(_ element: FlatElement) -> UInt32? { element.attribute("h").flatMap { UInt32($0) } }

    // MARK: Questions (XEP-0220 §2.1.2)

    /// Asks whether a key is the other server's.
    func ask(_ question: DialbackElement, _ answered: @escaping (DialbackElement.Outcome) -> Void) {
        questions[question.answer(.valid)] = answered
        write { question.write(to: &$0) }
    }

    private func answered(_ answer: DialbackElement) {
        guard let outcome = answer.outcome else { return }
        var key = answer
        key.outcome = .valid
        questions.removeValue(forKey: key)?(outcome)
    }
}

extension OutgoingPeerConnection: PeerTransport {
    func handled(_ count: UInt32) { acknowledge(count, of: session) }
}

private struct Surroundings: OutgoingPeerEnvironment {
    unowned let connection: OutgoingPeerConnection
    private var service: FederationService { connection.service }

    init(connection: OutgoingPeerConnection) { self.connection = connection }

    var policy: PeerPolicy { connection.policy }
    var hasCertificate: Bool { service.certificates.certificate(of: connection.pair.local) != nil }
    var certificate: CertificateVerdict { connection.certificate(for: connection.pair.remote) }
}
