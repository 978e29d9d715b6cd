package import MartletXML
package import MartletXMPP
package import NIOCore
import Synchronization

/// The connection below a session, as far as the session needs one: TCP with TLS, a WebSocket, a test.
///
/// Called on the session's event loop only.
package protocol SessionTransport: AnyObject {
    func write(_ bytes: ByteBuffer)
    /// A stanza that others get too, as the session gets it.
    func write(_ stanza: SharedStanza, to recipient: FullJID)
    func flush()
    /// Sends the stream error, if any, and the end of the stream, and closes within a bounded time.
    func close(_ error: StreamError?)
    /// Stops or resumes taking stanzas from the peer (back-pressure).
    func setReading(_ isReading: Bool)
    /// Bytes written and not yet taken by the network. A few that it will take at once need not be counted.
    var pendingBytes: Int { get }
    /// Whether the network has taken everything, to the last byte.
    var hasDrained: Bool { get }
    /// Closes the connection without a word: to the client it breaks.
    func drop()
    /// The peer's address for logs, such as `192.0.2.1:40000`.
    var remoteAddress: String { get }
}

extension SessionTransport {
    package var hasDrained: Bool { pendingBytes == 0 }
    package func write(_ stanza: SharedStanza, to recipient: FullJID) { write(stanza.addressed(to: recipient).bytes) }
    package func drop() { close(nil) }
}

/// A bound client session. It lives on one event loop from bind to end and is not `Sendable`, so that the compiler refuses
/// to carry it to another loop or into a task. It checks and counts what comes in and hands out what is posted to it; who
/// gets what is decided in the account's home.
///
/// It is entered by its loop only, and never while it is inside itself with a property in hand: what a stanza's way touches has no check of
/// that at run time (`@exclusivity(unchecked)`), of which there would be some forty for a message.
package final class ClientSession {
    package let address: FullJID
    package let ref: SessionRef
    package let context: LoopContext
    package let router: Router
    let home: AccountHome
    /// What carries the session's stanzas.
    enum Link {
        case attached(any SessionTransport)
        /// The server stops: nothing more is taken from the connection or written to it. What comes is for the stream as it goes on.
        case leaving(any SessionTransport)
        /// What the earlier session had is on its way (XEP-0198 §5).
        case inheriting(Inheritance)
        /// The connection is lost, and another one may take over.
        case hibernating
    }
    @exclusivity(unchecked) var link: Link
    @exclusivity(unchecked) var ledger = InboundLedger()
    /// Once the client has enabled stream management.
    @exclusivity(unchecked) var management: SessionManagement?
    /// What waits for the client; `nil` unless it is inactive (XEP-0352) or has no connection.
    @exclusivity(unchecked) var held: HeldStanzas?
    @exclusivity(unchecked) private var isDirty = false
    /// What was written waits for ``LoopContext/patience``.
    @exclusivity(unchecked) private var isPatient = false
    @exclusivity(unchecked) private(set) var isEnded = false
    /// Messages of the log that a client without stream management was sent.
    @exclusivity(unchecked) var unproven = UnprovenDeliveries()
    /// Stanzas of this session that must wait for a `.suspending` request (RFC 6120 §10.1).
    @exclusivity(unchecked) private var suspended: [FlatElement]?
    @exclusivity(unchecked) private var isReading = true
    @exclusivity(unchecked) private var isLedgerFull = false
    private var isStopping = false
    /// Goes on in the server that is started after this one.
    package private(set) var isSaved = false
    private var awaitsDisk = false
    /// Stanzas that an earlier session took and has not finished count here.
    var awaitsInheritedStanzas = false
    /// Bytes of stored messages that were written and that the network may not have taken yet.
    @exclusivity(unchecked) private var storedBytes = 0
    /// Inbound stanzas that may be unfinished before no more are read. Reading goes on at half of it. As many may wait behind a
    /// request that suspends: a transport that delivers more although it was told to stop loses its stream.
    package static let openStanzasMax = 256

    init(address: FullJID, ref: SessionRef, home: AccountHome, router: Router, context: LoopContext, transport: any SessionTransport) {
        self.address = address
        self.ref = ref
        self.home = home
        self.router = router
        self.context = context
        link = .attached(transport)
        remoteAddress = transport.remoteAddress
    }

    /// A session of a server that has stopped (`SessionRestart.swift`).
    init(_ saved: SavedSession, ref: SessionRef, home: AccountHome, router: Router, context: LoopContext, secondsLeft: Int) {
        address = saved.address
        self.ref = ref
        self.home = home
        self.router = router
        self.context = context
        link = .hibernating
        remoteAddress = ""
        ledger = InboundLedger(firstOpen: saved.handled)
        management = SessionManagement(saved)
        awaitResumption(for: secondsLeft, saved.proof)
    }

    package let remoteAddress: String
    /// Stanzas that somebody holds and has not dealt with. When nothing goes on any more there is none: one that is forgotten would
    /// hold back all later acknowledgements.
    package var unfinishedCount: Int { ledger.pendingCount }
    /// The names this session's stanza errors and results come from when `to` was left out.
    package var account: BareJID { address.bare }

    // MARK: From the client

    /// Takes one stanza. The caller calls ``LoopContext/flushSoon()`` once after a read burst.
    ///
    /// - Throws: what ends the stream: not a stanza, or one that claims another's address.
    package func receive(_ element: FlatElement) throws(StreamError) {
        guard !isEnded else { return }
        if let suspended { return try wait(element, behind: suspended.count) }
        if !unproven.isEmpty { router.delivered(unproven.takeAll(), to: self) }
        let sequence = ledger.nextSequence
        let progress = try route(element, Completion(session: ref, sequence: sequence))
        ledger.record(progress)
        context.runEffects()
        if ledger.openCount >= Self.openStanzasMax { settleLedger() }
    }

    private func wait(_ element: FlatElement, behind count: Int) throws(StreamError) {
        guard count < Self.openStanzasMax else { throw StreamError(.resourceConstraint, "too many stanzas wait for an answer") }
        suspended?.append(element)
    }

    private func route(_ element: FlatElement, _ completion: Completion) throws(StreamError) -> Progress {
        let root = element.root
        try checkFrom(root)
        if root.isNamed("message", .client) { return message(element, completion) }
        if root.isNamed("presence", .client) { return presence(element, completion) }
        if root.isNamed("iq", .client) { return iq(element, completion) }
        throw StreamError(.unsupportedStanzaType)
    }

    /// RFC 6120 §8.1.2.1: a client may write its own full or bare JID into `from`, and nothing else.
    private func checkFrom(_ root: ElementView) throws(StreamError) {
        guard let matches = root.withAttribute("from", { [address] span in
            span.withUnsafeBytes { bytes in
                // Nearly always as the server wrote it: that needs no preparation.
                if address.isSpelled(bytes) { return true }
                guard let from = try? JID(parsing: bytes) else { return false }
                return from == .full(address) || from == .bare(address.bare)
            }
        }) else { return }
        if !matches { throw StreamError(.invalidFrom) }
    }

    private enum Addressee { case nobody, somebody(JID), malformed }

    private func addressee(of root: ElementView) -> Addressee {
        root.withAttribute("to") { span in
            (try? span.withUnsafeBytes { try context.addresses.jid($0) }).map { Addressee.somebody($0) } ?? .malformed
        } ?? .nobody
    }

    private func message(_ element: FlatElement, _ completion: Completion) -> Progress {
        context.counters.receivedMessage()
        let type = MessageType(of: element.root)
        let to: JID
        switch addressee(of: element.root) {
        case .malformed: return refuse(Stanza(element, kind: .message(type), from: .full(address), to: nil), .jidMalformed)
        case .nobody: to = .bare(address.bare)
        case .somebody(let somebody): to = somebody
        }
        let stanza = Stanza(element, kind: .message(type), from: .full(address), to: to)
        if element.isTooLongRewritten { return refuse(stanza, .tooLongRewritten) }
        return router.message(stanza, type, to: to, from: self, completion)
    }

    private func presence(_ element: FlatElement, _ completion: Completion) -> Progress {
        context.counters.receivedPresence()
        guard let type = PresenceType(of: element.root) else {
            return refuse(Stanza(element, kind: .presence(.available), from: .full(address), to: nil), .badRequest("unknown type of presence"))
        }
        var stanza = Stanza(element, kind: .presence(type), from: .full(address), to: nil)
        switch addressee(of: element.root) {
        case .malformed: return refuse(stanza, .jidMalformed)
        case .nobody: break
        case .somebody(let to): stanza.to = to
        }
        if element.isTooLongRewritten { return refuse(stanza, .tooLongRewritten) }
        return router.presence(stanza, type, from: self, completion)
    }

    private func iq(_ element: FlatElement, _ completion: Completion) -> Progress {
        context.counters.receivedIQ()
        let type = IQType(of: element.root)
        var stanza = Stanza(element, kind: .iq(type ?? .get), from: .full(address), to: nil)
        switch addressee(of: element.root) {
        case .malformed: return refuse(stanza, .jidMalformed)
        case .nobody: break
        case .somebody(let to): stanza.to = to
        }
        guard let type else { return refuse(stanza, .badRequest("an iq has a type of get, set, result or error")) }
        guard let id = stanza.id, !id.isEmpty else { return refuse(stanza, .badRequest("an iq has an id")) }
        if element.isTooLongRewritten { return refuse(stanza, .tooLongRewritten) }
        return router.iq(stanza, type, from: self, completion)
    }

    /// Answers a stanza with an error, unless it is itself an answer (RFC 6120 §8.3.1).
    func refuse(_ stanza: Stanza, _ error: StanzaError) -> Progress {
        switch stanza.kind {
        case .iq(.result), .iq(.error), .message(.error), .presence(.error): break
        case .iq, .message, .presence: context.post(StanzaBuilder.error(error, answering: stanza), to: ref)
        }
        return .done
    }

    // MARK: To the client

    /// A stanza of the connection's own, such as a ping: the client counts it like any other.
    package func say(_ stanza: EncodedStanza) { deliver(stanza) }

    /// A request about the stream was answered before it came here: both count (XEP-0198 §4).
    package func noteAnswered(_ answer: EncodedStanza) {
        guard !isEnded else { return }
        ledger.record(.done)
        deliver(answer)
    }

    /// - Parameters:
    ///   - view: under which the message log has it; 0 for what is not there.
    ///   - isStored: whether it was read from there.
    ///   - isPatient: whether it may be flushed a little later.
    func deliver(_ stanza: EncodedStanza, view: UInt64 = 0, isStored: Bool = false, isPatient: Bool = false) {
        guard !isEnded else { return }
        if case .inheriting = link { return inherit(stanza, view: view, isStored: isStored) }
        if let held, holdsBack(stanza, view: view, held) { return }
        context.counters.sent(stanza.bytes)
        if management != nil {
            guard keep(stanza, view: view, isStored: isStored) else {
                return end(StreamError(.resourceConstraint, "the client does not acknowledge what it is sent"))
            }
        } else if Post.awaitsDelivery(view) {
            let old = unproven.append(view, at: context.time.monotonic)
            if !old.isEmpty { router.delivered(old, to: self) }
        }
        guard case .attached(let transport) = link else { return }
        transport.write(stanza.bytes)
        didWrite(to: transport, isPatient)
    }

    private func didWrite(to transport: any SessionTransport, _ isPatient: Bool) {
        let excess = transport.pendingBytes - router.settings.outboundBytesMax
        if excess > storedBytes { return end(StreamError(.resourceConstraint, "the client does not read what it is sent")) }
        if isPatient { waitPatiently() } else { markDirty() }
    }

    /// What comes past the account's home meets its block list here (XEP-0191 §3.3).
    ///
    /// - Parameter isPatient: whether it may be flushed a little later.
    func deliver(_ stanza: SharedStanza, isPatient: Bool) {
        guard !isEnded else { return }
        if ref.isScreened.load(ordering: .relaxed), home.shard.withLock({ home.blocks(stanza.from) }) { return }
        guard management == nil, held == nil, case .attached(let transport) = link else { return deliver(stanza.addressed(to: address), isPatient: isPatient) }
        context.counters.sent(stanza.bytes)
        transport.write(stanza, to: address)
        didWrite(to: transport, isPatient)
    }

    private func waitPatiently() {
        guard !isPatient, !isDirty else { return }
        isPatient = true
        context.flushLater(self)
    }

    /// What was written and not flushed since goes out now.
    func endPatience() {
        if isPatient { markDirty() }
    }

    /// Delivers a message from the log. They all come at once, and an account may keep more than a client may be behind with: what
    /// bounds them is the account's limit (`offlineBytesMax`). A slow client could otherwise never take delivery of them.
    func deliverStored(_ stanza: EncodedStanza, view: UInt64) {
        allowForStored(stanza.bytes.readableBytes)
        deliver(stanza, view: view, isStored: true)
    }

    func allowForStored(_ bytes: Int) { storedBytes += bytes }

    /// Says something about the stream that is no stanza (XEP-0198).
    func say(_ answer: StreamManagementAnswer) {
        guard case .attached(let transport) = link else { return }
        var writer = XMLWriter()
        answer.write(to: &writer)
        transport.write(writer.buffer)
        markDirty()
    }

    /// The transport is flushed with the others.
    package func markDirty() {
        guard !isDirty else { return }
        isDirty = true
        context.markDirty(self)
    }

    func flush() {
        askForAcknowledgement()
        (isDirty, isPatient) = (false, false)
        guard case .attached(let transport) = link else { return }
        transport.flush()
        // The network has taken everything.
        if storedBytes > 0, transport.hasDrained { storedBytes = 0 }
    }

    // MARK: Order

    /// The sequence number of the stanza that comes next.
    var nextSequence: UInt32 { ledger.nextSequence }

    func completed(_ completion: Completion, _ ticket: CommitTicket) {
        // Not one that the client has sent again since, because this session stopped waiting for it.
        guard completion.source.isSession(ref) || awaitsInheritedStanzas else { return }
        ledger.completed(completion.sequence, ticket)
        settleLedger()
    }

    func settleLedger() {
        let handled = ledger.advance(settled: context.settled)
        if ledger.openCount >= Self.openStanzasMax { isLedgerFull = true }
        if ledger.openCount < Self.openStanzasMax / 2 { isLedgerFull = false }
        updateReading()
        let isAwaited = isLedgerFull || isInheriting || management?.owed != nil
        let ticket = isAwaited ? ledger.awaitedTicket : nil
        if let ticket { awaitDisk(ticket) }
        tellHandled(handled, waitsForDisk: ticket != nil)
        if isInheriting, ledger.openCount == 0 { finishInheriting() }
    }

    private var isInheriting: Bool {
        if case .inheriting = link { true } else { false }
    }

    private func updateReading() {
        let shouldRead = !isLedgerFull && suspended == nil && !isStopping
        guard shouldRead != isReading, !isEnded, case .attached(let transport) = link else { return }
        isReading = shouldRead
        transport.setReading(shouldRead)
    }

    /// The server stops: nothing more is taken from the client, and nothing is said to it before it resumes its stream.
    func beginLeaving() {
        isStopping = true
        updateReading()
        guard case .attached(let transport) = link else { return }
        flush()
        link = .leaving(transport)
    }

    /// Nobody reports that a stanza which is done but for the disk has reached it: a session that waits for that asks.
    private func awaitDisk(_ ticket: CommitTicket) {
        guard !awaitsDisk, !isEnded else { return }
        awaitsDisk = true
        context.afterCommit(ticket) { [weak self] context, _ in
            self?.awaitsDisk = false
            // Not before everybody has been told who waited for the disk: a refusal comes before the acknowledgement.
            context.after { _ in self?.settleLedger() }
        }
    }

    /// Runs `work` off the loop and takes no further stanza until it has answered (RFC 6120 §10.1).
    func suspend(_ request: IQRequest, _ completion: Completion, _ work: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply) {
        suspended = []
        updateReading()
        router.answer(request, Asker(origin: ref, completion), on: context.mailbox, work) { session in session.resume() }
    }

    private func resume() {
        guard let waiting = suspended, !isEnded else { return }
        suspended = nil
        for (index, element) in waiting.enumerated() {
            do { try receive(element) } catch { return end(error) }
            if suspended != nil {
                suspended?.append(contentsOf: waiting[(index + 1)...])
                return
            }
        }
        updateReading()
    }

    // MARK: End

    /// The client has closed its stream, which shows as well as a stanza that it has read what it was sent.
    package func streamClosed() {
        if !isEnded {
            if !unproven.isEmpty { router.delivered(unproven.takeAll(), to: self) }
            acknowledgeFinally()
        }
        transportClosed()
    }

    /// The stream was closed by the server, or its connection is gone for good: the session ends, and its contacts learn of it.
    package func transportClosed() {
        guard !isEnded else { return }
        if case .inheriting(let inheritance) = link { keepEarly(inheritance) }
        let read = unproven.takeOld(at: context.time.monotonic)
        if !read.isEmpty { router.delivered(read, to: self) }
        leave(to: nil)
        router.sessionEnded(self)
        context.runEffects()
    }

    /// The server ends the session.
    package func end(_ error: StreamError?) {
        guard !isEnded else { return }
        let ended = link
        transportClosed()
        switch ended {
        case .attached(let transport), .leaving(let transport): transport.close(error)
        case .inheriting(let inheritance): inheritance.refuse()
        case .hibernating: router.audit.record(.sessionEnded(address, reason: error?.text ?? "ended by the server"))
        }
    }

    /// The session ends here without a word to anybody: another server goes on with it.
    func drop() {
        let ended = link
        isSaved = true
        leave(to: nil)
        switch ended {
        case .attached(let transport), .leaving(let transport): transport.drop()
        case .inheriting, .hibernating: break
        }
    }

    /// Nothing reaches this session any more; what is posted to it goes to its heir, if there is one.
    func leave(to heir: SessionRef?) {
        isEnded = true
        suspended = nil
        ref.session = nil
        ref.successor = heir
        if heir == nil { ref.remains = SessionRemains(router: router, home: home) }
    }
}
