import Logging
import MartletCore
import MartletXMPP
import NIOCore

/// What one domain of ours has for one of another server, and the stream by which it goes. It lives on one loop; how much waits in it is
/// counted by the service.
///
/// `@unchecked Sendable`: everything but what is constant is touched on its loop only.
final class PeerLink: RemoteLink, @unchecked Sendable {
    private enum State {
        case idle
        /// The other server is called again when some time has passed.
        case watching(Scheduled<Void>)
        case calling(PeerCall)
        case open(PeerConnection)
    }

    let pair: DomainPair
    let loop: NetworkLoop
    let service: FederationService
    private let sender: BareJID?
    private var state = State.idle
    var queue: PeerQueue
    /// When the stream was opened, in ticks, and how often one has ended soon after that.
    private var openedAt = 0
    /// Since when the other server is not there, if it was before.
    private var goneSince: NIODeadline?
    /// What was said last may not have arrived.
    private var isDoubtful = false
    /// How many streams in a row have ended without anything having been acknowledged.
    private var fruitless = 0
    /// Messages that nobody keeps and that may have arrived, with their places among those of ``interrupted``: what becomes of them is known when
    /// the other server has said what it has handled.
    private var uncertain: [(place: Int, item: PeerQueue.Item)] = []
    /// What the other server may still go on with.
    private var interrupted: InterruptedStream?
    /// The log is being read, to send what is in it or to return it.
    private var isReading = false
    var isReturning = false
    /// The other server is to be called as soon as that is done.
    private var isCallDue = false
    private var isStoringDue = false
    /// Sent, and not acknowledged.
    private var unacknowledgedCount = 0
    /// Kept messages that came back by themselves, as far as the cursor has not passed them: they are neither sent nor returned.
    private(set) var refused: Set<UInt64> = []
    /// Those that are about to.
    var goingBack: Set<UInt64> = []
    /// A stream that ends within so many ticks is a short one.
    private static let soon = 10
    /// Streams in a row that may end without anything having been acknowledged. After one more the other server is left alone for a while, like one
    /// that cannot be reached.
    private static let fruitlessMax = 2
    /// The same before what is sent is to blame. After one more, if that was a short one, the first stanza that was not acknowledged comes back to
    /// its sender.
    private static let poisonedAfter = 5
    /// Messages that are read from the log at a time, to be sent or returned.
    static let pageMax = 100
    /// As long as so many stanzas are not acknowledged, no more are read from the log.
    private static let unacknowledgedMax = 1_000

    /// - Parameters:
    ///   - sender: who wants it first.
    ///   - cursor: what the log has up to here was handed over before.
    init(_ pair: DomainPair, _ service: FederationService, on loop: NetworkLoop, by sender: BareJID?, cursor: UInt64) {
        self.pair = pair
        self.loop = loop
        self.sender = sender
        self.service = service
        queue = PeerQueue(cursor: cursor)
    }

    var mailbox: LoopMailbox { loop.context.mailbox }
    var owner: AccountID { AccountID(queueFor: pair) }

    // MARK: Stanzas

    func take(_ item: PeerQueue.Item, _ context: LoopContext) {
        if !queue.append(item) { service.release(self, [item]) }
        switch state {
        case .idle, .watching: if !isReturning { callNow() }
        case .calling: break
        case .open: drain()
        }
    }

    /// A message is in the log, and there may be nobody who waits for the other server.
    func awaken(after rest: TimeAmount) {
        guard case .idle = state, !isReturning else { return }
        if rest > .zero { call(in: rest) } else { call() }
    }

    /// From here on messages that are kept are in the log only.
    func fallBehind() {
        queue.fallBehind()
        drain()
    }

    /// Hands on what waits, as long as the network takes it.
    func drain() {
        guard case .open(let sender) = state else { return }
        var sent: [PeerQueue.Item] = []
        while sender.isWritable, let item = queue.next() {
            if let most = sender.stanzaBytesMax, item.byteCount > most {
                refuse(item, most)
                continue
            }
            if sender.send(item, for: self) { unacknowledgedCount += 1 } else { sent.append(item) }
        }
        handedOver(sent)
        if queue.wantsPage, sender.isWritable, unacknowledgedCount < Self.unacknowledgedMax { readOn() }
    }

    /// The other server has said that it would not take it (XEP-0478 §3).
    private func refuse(_ item: PeerQueue.Item, _ most: Int) {
        let error = StanzaError(.policyViolation, text: "\(pair.remote) takes no stanzas of more than \(most) bytes")
        service.release(self, [item])
        returnAlone(item, error) { [self] in
            service.settled(self, [item])
            refused.insert(item.view)
            passRefused()
        }
    }

    /// The cursor goes past what was refused only when nothing before that is unacknowledged: it would be lost.
    private func passRefused() {
        guard case .open = state, unacknowledgedCount == 0, queue.isEmpty, let last = refused.max() else { return }
        refused = []
        moveCursor([PeerQueue.Item(EncodedStanza(ByteBuffer()), view: last, after: last)])
    }

    func acknowledged(_ items: [PeerQueue.Item]) {
        unacknowledgedCount -= items.count
        handedOver(items)
        drain()
        passRefused()
    }

    private func handedOver(_ items: [PeerQueue.Item]) {
        guard !items.isEmpty else { return }
        service.release(self, items)
        settle(items)
    }

    /// These are dealt with: they need not be sent after a restart.
    func settle(_ items: [PeerQueue.Item]) {
        service.settled(self, items)
        moveCursor(items)
    }

    private func moveCursor(_ items: [PeerQueue.Item]) {
        guard queue.deliver(items), !isStoringDue else { return }
        isStoringDue = true
        _ = loop.loop.assumeIsolated().scheduleTask(in: Self.storeCursorAfter) { [self] in storeCursor() }
    }

    /// What was handed over less than that before the process dies is sent again.
    private static let storeCursorAfter = TimeAmount.milliseconds(200)

    /// Many acknowledgements are one write.
    func storeCursor() {
        guard isStoringDue else { return }
        isStoringDue = false
        _ = loop.context.store.submit([.cursor(owner, upTo: queue.cursor)])
    }

    // MARK: What is kept

    /// Reads the next messages from the log, to send them.
    private func readOn() {
        guard !isReading, !isReturning else { return }
        isReading = true
        let last = service.lastView(of: self)
        loop.context.store.messages(of: owner, after: queue.readUpTo, limit: Self.pageMax) { [self] result in
            mailbox.run { [self] context in
                isReading = false
                switch result {
                case .success(let messages): read(messages, upTo: last, context)
                case .failure: readLater()
                }
            }
        }
    }

    private func read(_ messages: [LoggedMessage], upTo last: UInt64, _ context: LoopContext) {
        // There may have been a failure since, after which it is read from the beginning.
        guard case .open = state, queue.wantsPage else { return }
        let wanted = messages.filter { $0.view > queue.readUpTo && !isBack($0.view) }
        let items = wanted.map { PeerQueue.Item(service.router.late($0, context), view: $0.view, after: $0.view) }
        service.charge(self, items)
        queue.add(items, end: messages.count < Self.pageMax ? last : nil)
        if messages.count < Self.pageMax, service.caughtUp(self, upTo: queue.readUpTo) { queue.catchUp() }
        drain()
    }

    private func readLater() {
        _ = loop.loop.assumeIsolated().scheduleTask(in: Self.readAgainAfter) { [self] in drain() }
    }

    /// When the store did not answer.
    private static let readAgainAfter = TimeAmount.seconds(2)

    // MARK: Streams

    /// Calls the other server, unless that is being done or there is a stream.
    func callNow() {
        switch state {
        case .idle: call()
        case .watching(let timer):
            timer.cancel()
            call()
        case .calling, .open: break
        }
    }

    /// A stream has broken off: it is looked whether the other server is still there. If it has opened another one already, what has come on
    /// the old one since may be old news.
    func check() {
        switch state {
        case .idle:
            isDoubtful = true
            call(in: service.settings.checkAfter)
        case .watching, .calling: isDoubtful = true
        case .open: service.repair(self)
        }
    }

    private func call(in delay: TimeAmount) {
        state = .watching(loop.loop.assumeIsolated().scheduleTask(in: delay) { [self] in
            state = .idle
            call()
            loop.context.flushSoon()
        })
    }

    private func call() {
        if let stream = interrupted, stream.until < loop.context.time.monotonic {
            interrupted = nil
            returnUncertain(PeerCallFailure.timedOut.stanzaError)
        }
        let call = PeerCall(service, loop, pair, .stanzas, within: service.settings.callDeadline, for: sender, resuming: interrupted) { [self] result in
            switch result {
            case .success(let connection): open(connection)
            case .failure(let failure): failed(failure)
            }
        }
        state = .calling(call)
        call.begin()
    }

    private func open(_ connection: OutgoingPeerConnection) {
        connection.onEnd = { [self] connection, failure, unacknowledged in lost(connection, failure, unacknowledged) }
        connection.onDrained = { [self] in drain() }
        let wasUnreachable = service.opened(self)
        goOn(connection.continuation)
        interrupted = nil
        connection.log(
            .info, "stream to another server",
            ["peer": "\(pair.remote)", "domain": "\(pair.local)", "by": "\(connection.method?.rawValue ?? "")", "tls": "\(connection.tlsVersion ?? "none")"])
        attach(connection)
        // Who goes on with the stream has not lost what was said on it.
        if wasUnreachable || (isDoubtful && connection.continuation?.isResumed != true) { service.repair(self) }
        (goneSince, isDoubtful) = (nil, false)
    }

    /// The other server has said what it has handled of what was sent before the last connection broke off: that does not go again.
    private func goOn(_ continuation: OutgoingPeerConnection.Continuation?) {
        let handled = continuation?.handled.flatMap { handled in interrupted.map { Int(handled &- $0.acknowledged) } } ?? 0
        let count = handled <= interrupted?.items.count ?? 0 ? handled : 0
        service.release(self, uncertain.filter { $0.place < count }.map(\.item))
        queue.putBack(uncertain.filter { $0.place >= count }.map(\.item))
        uncertain = []
        guard let interrupted, count > 0 else { return }
        fruitless = 0
        let done = Array(interrupted.items.prefix(count))
        if interrupted.areQueued {
            queue.removeFirst(count)
            service.release(self, done)
        }
        // Some may have been returned meanwhile.
        settle(done.filter { $0.view > queue.cursor })
    }

    private func attach(_ sender: PeerConnection) {
        state = .open(sender)
        openedAt = loop.now
        drain()
    }

    /// The other server wants to be sent stanzas on the stream that it has opened (XEP-0288). On the loop, before anything was given to the link.
    func adopt(_ connection: IncomingPeerConnection) { attach(connection) }

    /// A stream for both directions has ended.
    func lost(_ connection: IncomingPeerConnection, _ unacknowledged: [PeerQueue.Item]) {
        guard case .open(let sender) = state, sender === connection else { return }
        queue.putBack(unacknowledged)
        unacknowledgedCount = 0
        goOn(isOrderly: connection.endedInOrder)
    }

    private func lost(_ connection: OutgoingPeerConnection, _ failure: PeerCallFailure, _ unacknowledged: [PeerQueue.Item]) {
        service.closed(self)
        connection.log(.info, "stream to another server has ended", ["peer": "\(pair.remote)", "domain": "\(pair.local)", "why": "\(failure)"])
        // What was not acknowledged goes again, before what came later.
        queue.putBack(unacknowledged)
        if let stream = connection.interrupted { interrupted = stream }
        unacknowledgedCount = 0
        let isShort = loop.now - openedAt < Self.soon
        let isFruitless = unacknowledged.isEmpty ? isShort && !queue.isEmpty : connection.acknowledgedCount == 0
        fruitless = isFruitless ? fruitless + 1 : 0
        guard fruitless > Self.fruitlessMax else { return goOn(isOrderly: failure == .stream(.ended(nil))) }
        if isShort, fruitless > Self.poisonedAfter, let first = unacknowledged.first { skip(first, failure) }
        failed(failure)
    }

    /// Something that the other server is sent makes it end the stream, again and again: it does not get that, but what is behind it.
    private func skip(_ first: PeerQueue.Item, _ failure: PeerCallFailure) {
        fruitless = 0
        queue.removeFirst(1)
        service.release(self, [first])
        interrupted?.giveUpFirst()
        returnAlone(first, failure.stanzaError) { [self] in settle([first]) }
    }

    private func goOn(isOrderly: Bool) {
        state = .idle
        if !queue.isEmpty || queue.isBehind {
            isDoubtful = isDoubtful || !isOrderly
            call()
        } else if isOrderly {
            retire()
        } else {
            check()
        }
    }

    private func retire() {
        storeCursor()
        service.retire(self)
    }

    /// There is no stream: who has sent something is told, once, and the other server is left alone for a while. Messages that are kept wait for
    /// it, if it was there before.
    private func failed(_ failure: PeerCallFailure) {
        state = .idle
        let consequence = service.failed(self, failure)
        let items = certain(of: queue.fail())
        let isOver = failure.isFinal || !consequence.isKnown
        if isOver { returnUncertain(failure.stanzaError) }
        note(failure, consequence, returned: items.count { isOver || !$0.isKept }, kept: isOver ? 0 : consequence.kept)
        service.release(self, items)
        let error = failure.stanzaError
        isReturning = consequence.kept > 0
        for item in items where !item.isKept { service.keepFarewell(item.stanza, pair) }
        giveBack(items.filter { isOver || !$0.isKept }, error) { [self] settled in
            settle(settled)
            guard consequence.kept > 0 else { return watch(consequence) }
            let moment = isOver ? .max : loop.context.wallMilliseconds - service.settings.keptFor.nanoseconds / 1_000_000
            returnKept(after: queue.cursor, before: moment, error) { [self] in watch(consequence) }
        }
        if consequence.hasVanished { service.router.peerVanished(pair.remote, from: pair.local, loop.context) }
    }

    /// Puts aside those that may have arrived.
    private func certain(of items: [PeerQueue.Item]) -> [PeerQueue.Item] {
        guard let stream = interrupted, stream.areQueued else { return items }
        interrupted?.areQueued = false
        var certain: [PeerQueue.Item] = []
        for (place, item) in items.enumerated() {
            if place < stream.items.count, !item.isKept, item.stanza.isMessage { uncertain.append((place, item)) } else { certain.append(item) }
        }
        return certain
    }

    private func returnUncertain(_ error: StanzaError) {
        let items = uncertain.map(\.item)
        uncertain = []
        service.release(self, items)
        giveBack(items, error) { _ in }
    }

    /// A server that was there before is called again, for a while; one that messages are kept for until they have waited too long.
    private func watch(_ consequence: FederationService.Consequence) {
        guard case .idle = state else { return }
        let now = loop.context.time.monotonic
        let since = goneSince ?? now
        let isAwaited = consequence.isKnown && now - since < service.settings.watchedFor
        guard isAwaited || service.hasKept(self) else {
            goneSince = nil
            returnUncertain(PeerCallFailure.timedOut.stanzaError)
            return consequence.isKnown ? service.giveUp(self) : retire()
        }
        goneSince = since
        call(in: isCallDue ? .zero : consequence.rest)
        isCallDue = false
    }

    /// Gives up the stream, and whatever it was waiting for.
    func close() {
        switch state {
        case .idle:
            // What was kept just now may not have got here yet: it is not to wait for as long as was said before this.
            if !isReturning, service.hasKept(self) { call() } else { isCallDue = isReturning }
        case .watching(let timer):
            timer.cancel()
            state = .idle
            if service.hasKept(self) { call() } else { retire() }
        case .calling(let call):
            call.cancel()
            failed(.network("closed by the operator"))
        case .open(let sender): sender.close(nil)
        }
    }

    /// Looks whether the other server's certificate has been revoked. What it has called itself on is looked at as such.
    func askAgain() { if case .open(let sender as OutgoingPeerConnection) = state { sender.askAgain() } }

    /// The connection of its stream, if there is one. For operators.
    var connection: (PeerConnection)? { if case .open(let sender) = state { sender } else { nil } }

    /// Asks whether a key is the other server's, if there is a stream on which that can be asked.
    func ask(_ question: DialbackElement, _ answered: @escaping (DialbackElement.Outcome) -> Void) -> Bool {
        guard case .open(let sender as OutgoingPeerConnection) = state, sender.machine.canAsk else { return false }
        sender.ask(question, answered)
        return true
    }
}

// MARK: The log

extension PeerLink {
    /// Strangers may be called in great numbers: most of them are only counted then.
    private func note(_ failure: PeerCallFailure, _ consequence: FederationService.Consequence, returned: Int, kept: Int) {
        guard let unsaid = consequence.isKnown ? 0 : service.countStranger(at: loop.context.wallMilliseconds) else { return }
        var metadata: Logger.Metadata = [
            "peer": "\(pair.remote)", "domain": "\(pair.local)", "why": "\(failure)", "returned": "\(returned)", "kept": "\(kept)",
        ]
        if unsaid > 0 { metadata["and-others"] = "\(unsaid)" }
        service.log.notice("another server cannot be reached", metadata: metadata)
    }
}
