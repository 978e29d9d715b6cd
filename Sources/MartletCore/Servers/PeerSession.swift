package import MartletXML
package import MartletXMPP
import NIOCore

/// The connection below a stream from another server. Called on its event loop only.
package protocol PeerTransport: AnyObject {
    /// Stops or resumes taking stanzas from the other server (back-pressure).
    func setReading(_ isReading: Bool)
    /// Everything up to the given count of stanzas has been dealt with and is on disk.
    func handled(_ count: UInt32)
}

/// The address of a ``PeerSession`` that any thread may hold. They hold each other until the stream is gone, which every connection sees to.
package final class PeerRef: @unchecked Sendable {
    package let mailbox: LoopMailbox
    /// Touched on the mailbox's loop only.
    @exclusivity(unchecked) var session: PeerSession?

    init(mailbox: LoopMailbox) { self.mailbox = mailbox }
}

/// A stream on which another server sends us stanzas, as the router sees it. It lives on one event loop.
///
/// It lets nothing through that the other server has not proved to be its own: every stanza is between a pair of domains of ``pairs``
/// (`reliability.md` rule 18).
package final class PeerSession {
    package let ref: PeerRef
    private let router: Router
    private let context: LoopContext
    /// `nil` once the connection is lost of a stream that can be resumed.
    private weak var transport: (any PeerTransport)?
    private var ledger = InboundLedger()
    /// What the other server may send. Changes as it proves more, or takes something back.
    package var pairs: Set<DomainPair> = []
    /// Whether the other server is told what was handled (XEP-0198).
    package var isManaged: Bool { base != nil }
    /// The stanzas before this one came before that and do not count.
    private var base: UInt32?
    /// What had been handled before on the stream that this one goes on with.
    private var inherited: UInt32 = 0
    /// By what the log names the stream, if it can be resumed.
    private var stream: (owner: AccountID, number: UInt64)?
    private var onFinished: ((UInt32) -> Void)?
    /// What a domain has sent lately.
    package var recentMessages: (_ domain: String) -> RecentMessages? = { _ in nil }
    private var isReading = true
    private var isEnded = false
    private var awaitsDisk = false
    /// Inbound stanzas that may be unfinished before no more are read. Reading goes on at half of it.
    package static let openStanzasMax = 256

    package init(_ transport: any PeerTransport, router: Router, context: LoopContext) {
        self.transport = transport
        self.router = router
        self.context = context
        ref = PeerRef(mailbox: context.mailbox)
        ref.session = self
    }

    /// Stanzas that somebody holds and has not dealt with.
    package var unfinishedCount: Int { ledger.pendingCount }

    /// Whether something is not dealt with, or not on disk.
    package var hasUnfinished: Bool { ledger.openCount > 0 }

    /// The stream is gone.
    package func end() {
        isEnded = true
        ref.session = nil
        onFinished = nil
    }

    /// The connection is gone, and another will go on with the stream (XEP-0198 §5): what was taken is dealt with to the end, and nothing more
    /// is taken.
    ///
    /// - Parameter finished: told how many stanzas were handled, at once or later.
    package func handOver(_ finished: @escaping (_ handled: UInt32) -> Void) {
        // A stream that was closed is over: nobody waits for what it has left.
        guard !isEnded else { return finished(inherited &+ (ledger.firstOpen &- (base ?? ledger.firstOpen))) }
        transport = nil
        onFinished = finished
        settle()
    }

    // MARK: From the other server

    /// Takes one stanza. The caller calls ``LoopContext/flushSoon()`` once after a read burst.
    ///
    /// - Throws: what ends the stream: no stanza, or one that is not between a pair of domains that was proved.
    package func receive(_ element: FlatElement) throws(StreamError) {
        guard !isEnded else { return }
        let progress = try route(element, Completion(peer: ref, sequence: ledger.nextSequence))
        ledger.record(progress)
        context.runEffects()
        if ledger.openCount >= Self.openStanzasMax || isManaged { settle() }
    }

    private func route(_ element: FlatElement, _ completion: Completion) throws(StreamError) -> Progress {
        let root = element.root
        guard let kind = try StanzaKind(of: root) else { return .done }
        guard let sender = root.attribute("from"), let recipient = root.attribute("to"), !sender.isEmpty, !recipient.isEmpty else {
            throw StreamError(.improperAddressing, "A stanza between servers has a 'from' and a 'to'.")
        }
        // An address that is none for us may be one for a server that prepares addresses by older rules: it costs its stanza, not the stream.
        guard let from = try? JID(sender) else { return .done }
        try check(from)
        guard let to = try? JID(recipient) else {
            let domain = pairs.first { $0.remote == from.bare.domainpart }.flatMap { try? JID($0.local) }
            refuse(Stanza(element, kind: kind, from: from, to: domain), .jidMalformed)
            return .done
        }
        try check(from, to)
        let stanza = Stanza(element, kind: kind, from: from, to: to)
        count(kind)
        if case .message = kind, recentMessages(from.bare.domainpart)?.isRepeated(stanza) == true { return .done }
        if let error = Self.flaw(of: stanza) {
            refuse(stanza, error)
            return .done
        }
        return router.receive(stanza, to: to, completion, isPromised: isManaged, position: position(with: completion.sequence), context)
    }

    private func check(_ from: JID) throws(StreamError) {
        let domain = from.bare.domainpart
        guard pairs.contains(where: { $0.remote == domain }) else {
            throw StreamError(.invalidFrom, "This stream is not authenticated for \(domain).")
        }
    }

    private func check(_ from: JID, _ to: JID) throws(StreamError) {
        guard !pairs.contains(DomainPair(remote: from.bare.domainpart, local: to.bare.domainpart)) else { return }
        guard context.hosts.isOurs(to.bare) else { throw StreamError(.hostUnknown, "\(to.bare.domainpart) is not served here.") }
        throw StreamError(.notAuthorized, "This stream is not authenticated from \(from.bare.domainpart) to \(to.bare.domainpart).")
    }

    private func count(_ kind: StanzaKind) {
        switch kind {
        case .message: context.counters.receivedMessage()
        case .presence: context.counters.receivedPresence()
        case .iq: context.counters.receivedIQ()
        }
    }

    static func flaw(of stanza: Stanza) -> StanzaError? {
        if stanza.element.isTooLongRewritten { return .tooLongRewritten }
        guard case .iq = stanza.kind else { return nil }
        if IQType(of: stanza.element.root) == nil { return .badRequest("an iq has a type of get, set, result or error") }
        return stanza.id?.isEmpty ?? true ? .badRequest("an iq has an id") : nil
    }

    private func refuse(_ stanza: Stanza, _ error: StanzaError) { router.bounce(stanza, error, nil, context) }

    // MARK: Acknowledging (XEP-0198)

    /// The other server has enabled stream management: stanzas count from here.
    package func enableManagement() {
        base = ledger.nextSequence
    }

    /// The same for a stream that can be resumed; or is, from another one on which so many were handled.
    package func enableManagement(named identifier: String, of domain: String, after handled: UInt32 = 0) {
        enableManagement()
        inherited = handled
        stream = (Self.owner(of: domain), StreamPosition.stream(named: identifier))
    }

    /// Under which the log has how far streams of another server have come.
    private static func owner(of domain: String) -> AccountID { AccountID(queueFor: DomainPair(remote: domain, local: "")) }

    /// What a message that has brought this about says in the log, if everything before it is dealt with. After a crash it is told to the other
    /// server, which then sends only what came after.
    private func position(with sequence: UInt32) -> StreamPosition? {
        guard let stream, let base, ledger.pendingCount == 0 else { return nil }
        return StreamPosition(account: stream.owner, stream: stream.number, handled: inherited &+ (sequence &+ 1 &- base))
    }

    /// How many stanzas of a stream had been handled when the server died, as far as the log knows.
    package static func handled(
        on identifier: String, of domain: String, _ store: any Store, _ done: @escaping @Sendable (UInt32?) -> Void
    ) {
        store.handled(on: StreamPosition.stream(named: identifier), of: owner(of: domain)) { done(try? $0.get()) }
    }

    func completed(_ sequence: UInt32, _ ticket: CommitTicket) {
        ledger.completed(sequence, ticket)
        settle()
    }

    /// Tells the transport what has been dealt with; slows the other server down if too much has not.
    package func settle() {
        guard !isEnded else { return }
        let handled = ledger.advance(settled: context.settled)
        updateReading()
        if let base, Int32(bitPattern: handled &- base) >= 0 {
            transport?.handled(inherited &+ (handled &- base))
            if ledger.openCount == 0, let told = onFinished {
                onFinished = nil
                told(inherited &+ (handled &- base))
            }
        }
        if let ticket = ledger.awaitedTicket { awaitDisk(ticket) }
    }

    private func updateReading() {
        let shouldRead = ledger.openCount < (isReading ? Self.openStanzasMax : Self.openStanzasMax / 2)
        guard shouldRead != isReading else { return }
        isReading = shouldRead
        transport?.setReading(shouldRead)
    }

    private func awaitDisk(_ ticket: CommitTicket) {
        guard !awaitsDisk else { return }
        awaitsDisk = true
        context.afterCommit(ticket) { [weak self] context, _ in
            self?.awaitsDisk = false
            // Not before everybody has been told who waited for the disk: a refusal comes before the acknowledgement.
            context.after { _ in self?.settle() }
        }
    }
}

extension StanzaError {
    /// What comes within the limits leaves within them too, or it is not taken: a namespace that a prefix stands for is written out.
    static var tooLongRewritten: StanzaError { .policyViolation("with its namespaces written out the stanza is too long") }
}

extension StanzaKind {
    /// - Throws: what a stream ends with that carries something else than stanzas.
    /// - Returns: `nil` for a presence of a type that nobody knows, which is ignored.
    init?(of root: ElementView) throws(StreamError) {
        if root.isNamed("message", .client) {
            self = .message(MessageType(of: root))
        } else if root.isNamed("iq", .client) {
            self = .iq(IQType(of: root) ?? .get)
        } else if root.isNamed("presence", .client) {
            guard let type = PresenceType(of: root) else { return nil }
            self = .presence(type)
        } else {
            throw StreamError(.unsupportedStanzaType)
        }
    }
}
