package import MartletXML
package import MartletXMPP
package import NIOCore

/// The connection below a component's stream. Called on its event loop only.
package protocol ComponentTransport: AnyObject {
    /// Stops or resumes taking stanzas from the component (back-pressure).
    func setReading(_ isReading: Bool)
    /// Whether the network takes more at once.
    var isWritable: Bool { get }
    func write(_ bytes: ByteBuffer)
    /// Sends the stream error and the end of the stream, and closes within a bounded time.
    func close(_ error: StreamError?)
    /// The component's address for logs.
    var remoteAddress: String { get }
}

/// The address of a ``ComponentSession`` that any thread may hold. They hold each other until the stream is gone, which every connection sees
/// to.
package final class ComponentRef: RemoteLink, @unchecked Sendable {
    package let mailbox: LoopMailbox
    private let component: Component
    private let router: Router
    /// Touched on the mailbox's loop only.
    @exclusivity(unchecked) package internal(set) var session: ComponentSession?

    init(mailbox: LoopMailbox, _ component: Component, _ router: Router) {
        self.mailbox = mailbox
        self.component = component
        self.router = router
    }

    package func take(_ item: PeerQueue.Item, _ context: LoopContext) {
        if let session { session.take(item.stanza) } else { handBack(item.stanza, context) }
    }

    /// It could not be written: the component's next connection gets it, or its sender hears of it.
    func handBack(_ stanza: EncodedStanza, _ context: LoopContext) {
        context.after { [component, router] context in
            if let error = component.deliver(stanza, context) { router.returnUndelivered(stanza, error, context) }
        }
    }
}

/// A stream of a component that has proved who it is, as the router sees it. It lives on one event loop.
///
/// Every stanza is from the component's own domain, or the stream ends.
package final class ComponentSession {
    package let ref: ComponentRef
    package let component: Component
    package let router: Router
    package let context: LoopContext
    private weak var transport: (any ComponentTransport)?
    private var ledger = InboundLedger()
    /// What the network does not take at the moment.
    private var waiting = CircularBuffer<EncodedStanza>()
    private var isReading = true
    private var isEnded = false
    private var awaitsDisk = false
    /// Inbound stanzas that may be unfinished before no more are read. Reading goes on at half of it.
    package static let openStanzasMax = 256

    /// The component is connected. An earlier connection of its ends with `conflict`: whoever knows the secret and comes later is the program
    /// that was started anew, or whose old connection has died unnoticed.
    package init(_ component: Component, _ transport: any ComponentTransport, router: Router, context: LoopContext) {
        self.component = component
        self.transport = transport
        self.router = router
        self.context = context
        ref = ComponentRef(mailbox: context.mailbox, component, router)
        ref.session = self
        let old = component.connected(ref, address: transport.remoteAddress, at: context.time.wallMilliseconds)
        guard let old else { return }
        context.post(.run { _ in old.session?.end(StreamError(.conflict, "Another connection of this component has come.")) }, to: old.mailbox)
    }

    /// Stanzas that somebody holds and has not dealt with.
    package var unfinishedCount: Int { ledger.pendingCount }

    private var host: Host? { component.settings.flatMap { context.hosts.host(of: $0.domain) } }

    /// Tells the component what it may do.
    ///
    /// - Parameter former: what it has been told before.
    package func greet(replacing former: ComponentPowers = ComponentPowers()) {
        for stage in host?.componentStages ?? [] { stage.greet(self, replacing: former) }
    }

    // MARK: From the component

    /// Takes one stanza. The caller calls ``LoopContext/flushSoon()`` once after a read burst.
    ///
    /// - Throws: what ends the stream: no stanza, or one that is from somewhere else.
    package func receive(_ element: FlatElement) throws(StreamError) {
        guard !isEnded else { return }
        ledger.record(try route(element, Completion(component: ref, sequence: ledger.nextSequence)))
        context.runEffects()
        if ledger.openCount >= Self.openStanzasMax { settle() }
    }

    private func route(_ element: FlatElement, _ completion: Completion) throws(StreamError) -> Progress {
        let root = element.root
        guard let kind = try StanzaKind(of: root) else { return .done }
        component.received()
        // Without 'from' it is the component itself, as Prosody has it: XEP-0114 wants one, and some programs leave it out.
        let from = try root.attribute("from").map { text throws(StreamError) in try sender(text) } ?? .bare(component.name)
        var stanza = Stanza(element, kind: kind, from: from, to: host.map { .bare($0.domain) })
        guard let text = root.attribute("to"), !text.isEmpty else { return refuse(stanza, .badRequest("a stanza of a component has a 'to'")) }
        guard let to = try? JID(text) else { return refuse(stanza, .jidMalformed) }
        stanza.to = to
        if let error = PeerSession.flaw(of: stanza) { return refuse(stanza, error) }
        for stage in host?.componentStages ?? [] {
            if let progress = stage.take(stanza, to: to, of: self, completion) { return progress }
        }
        return router.receive(ofComponent: stanza, to: to, completion, context)
    }

    private func sender(_ text: String) throws(StreamError) -> JID {
        guard let from = try? JID(text), component.serves(from.bare, context.hosts) else {
            throw StreamError(.invalidFrom, "Stanzas of this component are from \(component.name.domainpart).")
        }
        return from
    }

    /// Answers a stanza with an error, unless it is an answer itself.
    @discardableResult
    package func refuse(_ stanza: Stanza, _ error: StanzaError) -> Progress {
        if stanza.isAnswerable { send(StanzaBuilder.error(error, answering: stanza)) }
        return .done
    }

    // MARK: To the component

    /// Something of the server's own for the component, behind what waits for it.
    package func send(_ stanza: EncodedStanza) { _ = component.deliver(stanza, context) }

    func take(_ stanza: EncodedStanza) {
        waiting.append(stanza)
        drain()
    }

    /// Writes what the network takes.
    package func drain() {
        guard !isEnded, let transport else { return }
        var (count, bytes) = (0, 0)
        while transport.isWritable, let stanza = waiting.popFirst() {
            transport.write(stanza.bytes)
            count += 1
            bytes += stanza.bytes.readableBytes
        }
        guard count > 0 else { return }
        component.sent(count)
        component.release(count, bytes: bytes, by: ref)
    }

    // MARK: Order

    func completed(_ sequence: UInt32, _ ticket: CommitTicket) {
        ledger.completed(sequence, ticket)
        settle()
    }

    private func settle() {
        guard !isEnded else { return }
        _ = ledger.advance(settled: context.settled)
        let shouldRead = ledger.openCount < (isReading ? Self.openStanzasMax : Self.openStanzasMax / 2)
        if shouldRead != isReading {
            isReading = shouldRead
            transport?.setReading(shouldRead)
        }
        if !isReading, let ticket = ledger.awaitedTicket { awaitDisk(ticket) }
    }

    private func awaitDisk(_ ticket: CommitTicket) {
        guard !awaitsDisk else { return }
        awaitsDisk = true
        context.afterCommit(ticket) { [weak self] _, _ in
            self?.awaitsDisk = false
            self?.settle()
        }
    }

    // MARK: End

    /// The server ends the stream.
    package func end(_ error: StreamError?) {
        let transport = transport
        ended()
        transport?.close(error)
        context.runEffects()
    }

    /// The stream is gone, or nothing more is taken from it: what waits goes back, and whoever the component had said is there, is not.
    package func ended() {
        guard !isEnded else { return }
        isEnded = true
        ref.session = nil
        let unanswered = component.disconnected(ref)
        for stanza in waiting { ref.handBack(stanza, context) }
        waiting.removeAll()
        guard let unanswered else { return }
        router.forgetRequests(unanswered, context)
        let hosts = context.hosts
        context.after { [router, component] context in
            for host in hosts.hosts { router.vanished(context, from: host.domain.domainpart) { component.serves($0, hosts) } }
        }
    }
}

extension Component {
    /// Whether an address is its to speak for: one to which stanzas are routed by it. A domain below its own that is somebody else's, this server's or
    /// another component's, is not, whatever the operator says of those below (`reliability.md` rules 18, 22).
    package func serves(_ address: BareJID, _ hosts: HostTable) -> Bool {
        if address.domainpart == name.domainpart { return true }
        return hosts.host(of: address) == nil && (hosts.service(of: address)?.service as? Component) === self
    }
}
