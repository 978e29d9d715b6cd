import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// A way for a client's elements to come in and for what it is told to go out: a connection that carries a stream, or what stands for one.
///
/// It knows nothing of log-in, sessions and deadlines, which are the ``ClientStream``'s.
protocol ClientCarrier: SessionTransport {
    /// The peer, once it is known.
    var peer: NetworkAddress? { get }
    /// Puts on the wire what an action says. Not flushed.
    func send(_ action: ClientStreamMachine.Action, extras: (inout XMLWriter) -> Void)
    /// `<proceed/>`: TLS begins with the certificate of the domain.
    func startTLS(_ domain: String, _ action: ClientStreamMachine.Action)
    /// The client has logged in: more is taken of it.
    func setLimits(_ limits: XMLLimits)
    /// A new header is to come.
    func restart()
    /// An answer came from elsewhere: goes on where the client was kept waiting.
    func resume()
    /// Nothing more is looked at.
    func failInput()
    func closeAfterFlush()
    /// The tick in which something last arrived.
    var lastActivity: Int { get }
    /// Asks for ``ClientStream/deadlinePassed()`` in that tick.
    func lookAgain(at tick: Int)
}

/// The stream of one client, whatever carries it: events to the stream machine, its actions to the carrier and to the session.
///
/// It decides nothing about stanzas and little about the stream: that is ``ClientStreamMachine``'s. Everything happens on its loop.
final class ClientStream {
    /// What the next deadline is for, in ticks of the loop.
    enum Phase {
        case login(until: Int)
        case idle
        case pinged(at: Int, until: Int)
        case closing(until: Int)
    }

    /// An authentication that is not decided yet.
    struct LoginAttempt {
        /// Who the client says that it is, if it says so before it has shown it.
        let account: BareJID?
        let mechanism: SASLMechanism
        /// Whom it has turned out to be, if it did not say so.
        var shown: BareJID?
    }

    let listener: ClientListener
    let loop: NetworkLoop
    /// From its beginning until it is gone.
    @exclusivity(unchecked) var carrier: (any ClientCarrier)?
    @exclusivity(unchecked) var machine: ClientStreamMachine
    @exclusivity(unchecked) var session: ClientSession?
    var login: LoginAttempt?
    /// Who has logged in.
    var account: BareJID?
    /// By what.
    var mechanism: SASLMechanism?
    /// What the client has said of itself as it did.
    var userAgent: UserAgent?
    /// What the client has shown in the handshake, as far as it is believed.
    var certificate: ClientCertificate?
    /// It is being looked at: nothing of the client is taken meanwhile.
    @exclusivity(unchecked) var isExamining = false
    /// The client has logged in with it.
    var isCertified = false
    /// The session that goes on without the stream, which has let it in by a certificate.
    var detached: ClientSession?
    /// When the token ends by which it is logging in, in seconds since 1970, if its session is to end then.
    var tokenEnd: Int?
    /// Of the exchange that is under way, if it is one of Kerberos.
    var securityContext: KerberosContext?
    /// On what its client runs, if it has said which one it is as it logged in (XEP-0388).
    var device: DeviceSighting?
    /// What it has shown.
    var proofs = DeviceProofs.password
    /// When the account source was asked last.
    var authenticatedAt = CredentialMoment.latest
    var phase: Phase
    /// Whether it has been given more time to log in, because somebody fills in a form meanwhile.
    var isFillingIn = false
    /// Why the session ends, for the log.
    var endReason = "the connection was lost"
    /// What the client is counted as.
    var count = ConnectionCount()

    init(_ listener: ClientListener, _ loop: NetworkLoop, _ machine: ClientStreamMachine) {
        self.listener = listener
        self.loop = loop
        self.machine = machine
        phase = .login(until: loop.now + NetworkLoop.ticks(listener.service.settings.loginDeadline))
    }

    var service: ClientService { listener.service }
    var surroundings: ClientSurroundings {
        ClientSurroundings(listener: listener, context: loop.context, certificate: certificate, peer: carrier?.peer)
    }
    var remoteAddress: String { carrier?.remoteAddress ?? "unknown" }
    var lastActivity: Int { carrier?.lastActivity ?? loop.now }

    func hang(until tick: Int) { carrier?.lookAgain(at: tick) }
    func drop() { carrier?.drop() }

    /// The client is there, and has a bounded time to log in.
    func begin() {
        if case .login(let until) = phase { hang(until: until) }
    }

    /// The carrier is gone. Everything that counted or named the client forgets it.
    func lost() {
        machine.transportLost()
        loseSession()
        count.leave(service.admission)
        securityContext = nil
        carrier = nil
    }
}

// MARK: From the client

extension ClientStream {
    /// The header in its usual form, or why it is none.
    func opened(_ header: FlatElement) { perform(machine.opened(header, surroundings)) }

    /// The same in the form of WebSocket (RFC 7395 §3.4).
    func openedWebSocket(_ header: FlatElement) {
        perform(machine.opened(surroundings) { () throws(StreamError) in try StreamHeader(open: header) })
    }

    /// The same in the form of BOSH (XEP-0206 §3).
    func openedBOSH(_ body: FlatElement) {
        perform(machine.opened(surroundings) { () throws(StreamError) in try StreamHeader(body: body) })
    }

    /// An element directly under the header.
    func received(_ element: FlatElement) {
        guard let session else { return receivedBeforeBinding(element) }
        let action = machine.receivedBound(element)
        if case .manage(let request) = action { return manage(request, session) }
        if case .indicate(let indication) = action { return session.indicate(indication) }
        if case .answer = action {
            var writer = XMLWriter()
            action.write(to: &writer)
            return session.noteAnswered(EncodedStanza(writer.buffer))
        }
        guard case .deliver = action else { return perform(action) }
        do throws(StreamError) {
            try session.receive(element)
        } catch {
            perform(machine.end(error, surroundings))
        }
    }

    private func receivedBeforeBinding(_ element: FlatElement) {
        let action = machine.received(element, surroundings)
        guard case .register(let domain, let token) = action else { return perform(action) }
        answerStranger(element, at: domain, token)
    }

    func peerClosed() {
        endReason = "the client closed the stream"
        perform(machine.peerClosed())
    }

    /// What arrived is no XML that is taken.
    func failed(_ error: XMLError) { perform(machine.failed(error, surroundings)) }

    /// What a client that has not logged in has sent and was not taken is counted, and ends its stream if there is no room for that.
    ///
    /// - Parameter bytes: memory that is held for it.
    func holds(_ bytes: Int) {
        if count.hold(bytes + machine.heldByteCount, service.admission) == nil { return }
        carrier?.failInput()
        carrier?.close(StreamError(.resourceConstraint, "too much waits of clients that have not logged in"))
    }

    private func manage(_ request: StreamManagementRequest, _ session: ClientSession) {
        do throws(StreamError) {
            try session.manage(request)
        } catch {
            perform(machine.end(error, surroundings))
        }
    }
}

// MARK: To the client

extension ClientStream {
    /// Does what the machine says.
    func perform(_ action: ClientStreamMachine.Action) {
        switch action {
        case .wait, .deliver, .manage, .indicate, .register: break
        case .open, .challenge, .requestUpgrade, .describeUpgrade, .confirmBind, .managed, .answer, .answerStranger, .complete: send(action)
        case .proceed(let domain): carrier?.startTLS(domain, action)
        case .lookUp(let mechanism, let identity, let question): ask(mechanism, identity, question)
        case .consult(let mechanism, let consultation): consult(mechanism, consultation)
        case .lookUpTokens(let mechanism, let identity, let userAgent): ask(mechanism, identity, userAgent)
        case .seekUpgrades(let account, let proved, let hashes): seekUpgrades(account, proved, hashes)
        case .upgrade(let account, let keys, let proved): upgrade(account, keys, proved)
        case .conclude(let login): conclude(login)
        case .succeed(let account, _):
            send(action)
            loggedIn(as: account)
            carrier?.restart()
        case .admit(let account, let userAgent):
            self.userAgent = userAgent
            loggedIn(as: account)
            if userAgent?.id != nil { device = sighting(nil) }
            perform(machine.admitted())
        case .fail(let failure, _):
            send(action)
            loginFailed(failure)
        case .failFinally(let failure, _, _):
            send(action)
            loginFailed(failure)
            beginClosing()
        case .bind(let account, let resource): bind(account, resource)
        case .bindInline(let account, let request): bind(account, request)
        case .resume(let account, let previous, let handled): resumeSession(of: account, previous, handled)
        case .refuseTLS:
            send(action)
            carrier?.closeAfterFlush()
        case .close(let error, _):
            if let error { endReason = error.text ?? error.condition.rawValue }
            deliverAnswers()
            endSession { $0.transportClosed() }
            send(action)
            beginClosing()
        case .finish:
            deliverAnswers()
            endSession { $0.streamClosed() }
            send(action)
            carrier?.closeAfterFlush()
        }
    }

    func send(_ action: ClientStreamMachine.Action) {
        carrier?.send(action) { writer in
            // What the features of the host announce to those who have logged in, and to those who have no account yet.
            if let account {
                loop.context.hosts.writeStreamFeatures(for: account, to: &writer)
            } else if case .open(let header, _) = action {
                loop.context.hosts.host(ofDomain: header.from)?.registering?.writeOffer(to: &writer)
            }
        }
    }

    /// The server ends the stream.
    func close(_ error: StreamError?) {
        endReason = "closed by the server"
        perform(machine.end(error, surroundings))
    }

    /// What came in the same read as the end of the stream may have been answered: that waits for the end of the loop's turn, when there is no
    /// session any more.
    private func deliverAnswers() {
        if session != nil { loop.context.flush() }
    }

    private func beginClosing() {
        carrier?.flush()
        awaitEnd()
    }

    /// The client's end is awaited for a bounded time.
    func awaitEnd() {
        let until = loop.now + NetworkLoop.ticks(service.settings.closingDeadline)
        phase = .closing(until: until)
        hang(until: until)
    }

    /// The stream is closed: so is its session.
    private func endSession(_ end: (ClientSession) -> Void) {
        guard let session else { return }
        self.session = nil
        end(session)
        service.router.audit.record(.sessionEnded(session.address, reason: endReason))
    }

    /// The connection broke: its session may go on without it (XEP-0198 §5).
    func loseSession() {
        guard let session else { return }
        self.session = nil
        let goesOn = session.connectionLost() || session.isSaved
        if isCertified, session.isDetached { stayBehind(session) }
        service.router.audit.record(
            goesOn ? .sessionDetached(session.address, reason: endReason) : .sessionEnded(session.address, reason: endReason))
    }
}
