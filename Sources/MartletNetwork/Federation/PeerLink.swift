import Logging
import MartletCore
import MartletXMPP
import NIOCore

/// What sends stanzas to another server: a connection of either direction.
protocol PeerSender: PeerConnection {
    /// - Returns: whether the other server will acknowledge it.
    func send(_ stanza: EncodedStanza) -> Bool
}

extension OutgoingPeerConnection: PeerSender {}
extension IncomingPeerConnection: PeerSender {
    func send(_ stanza: EncodedStanza) -> Bool {
        service.counters.sent()
        sentCount += 1
        write(stanza.bytes)
        return false
    }
}

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
        case open(any PeerSender)
    }

    let pair: DomainPair
    let loop: NetworkLoop
    private let service: FederationService
    private var state = State.idle
    private var waiting = CircularBuffer<EncodedStanza>()
    /// When the stream was opened, in ticks, and how often one has ended soon after that.
    private var openedAt = 0
    /// Since when the other server is not there, if it was before.
    private var goneSince: NIODeadline?
    /// What was said last may not have arrived.
    private var isDoubtful = false
    private var shortLived = 0
    /// In ticks.
    private static let soon = 10
    private static let shortLivedMax = 3

    init(_ pair: DomainPair, _ service: FederationService, on loop: NetworkLoop) {
        self.pair = pair
        self.loop = loop
        self.service = service
    }

    var mailbox: LoopMailbox { loop.context.mailbox }

    // MARK: Stanzas

    func take(_ stanza: EncodedStanza, _ context: LoopContext) {
        waiting.append(stanza)
        switch state {
        case .idle, .watching: callNow()
        case .calling: break
        case .open: drain()
        }
    }

    /// Hands on what waits, as long as the network takes it.
    func drain() {
        guard case .open(let sender) = state else { return }
        var released: [EncodedStanza] = []
        while sender.isWritable, let stanza = waiting.popFirst() {
            if !sender.send(stanza) { released.append(stanza) }
        }
        release(released)
    }

    private func release(_ stanzas: [EncodedStanza]) {
        if !stanzas.isEmpty { service.release(self, count: stanzas.count, bytes: stanzas.reduce(0) { $0 + $1.bytes.readableBytes }) }
    }

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

    /// A stream has broken off: it is looked whether the other server is still there.
    func check() {
        guard case .idle = state else { return }
        isDoubtful = true
        call(in: service.settings.checkAfter)
    }

    private func call(in delay: TimeAmount) {
        state = .watching(loop.loop.assumeIsolated().scheduleTask(in: delay) { [self] in
            state = .idle
            call()
            loop.context.flushSoon()
        })
    }

    private func call() {
        let call = PeerCall(service, loop, pair, .stanzas, within: service.settings.callDeadline) { [self] result in
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
        connection.onAcknowledged = { [self] in release($0) }
        connection.onDrained = { [self] in drain() }
        let wasUnreachable = service.opened(self)
        connection.log(
            .info, "stream to another server",
            ["peer": "\(pair.remote)", "domain": "\(pair.local)", "by": "\(connection.method?.rawValue ?? "")", "tls": "\(connection.tlsVersion ?? "none")"])
        attach(connection)
        if wasUnreachable || isDoubtful { service.repair(self) }
        (goneSince, isDoubtful) = (nil, false)
    }

    private func attach(_ sender: any PeerSender) {
        state = .open(sender)
        openedAt = loop.now
        drain()
    }

    /// The other server wants to be sent stanzas on the stream that it has opened (XEP-0288). On the loop, before anything was given to the link.
    func adopt(_ connection: IncomingPeerConnection) { attach(connection) }

    /// A stream for both directions has ended.
    func lost(_ connection: IncomingPeerConnection) {
        guard case .open(let sender) = state, sender === connection else { return }
        goOn(isOrderly: connection.endedInOrder)
    }

    private func lost(_ connection: OutgoingPeerConnection, _ failure: PeerCallFailure, _ unacknowledged: [EncodedStanza]) {
        service.closed(self)
        connection.log(.info, "stream to another server has ended", ["peer": "\(pair.remote)", "domain": "\(pair.local)", "why": "\(failure)"])
        // What was not acknowledged goes again, before what came later.
        for stanza in unacknowledged.reversed() { waiting.prepend(stanza) }
        shortLived = loop.now - openedAt < Self.soon ? shortLived + 1 : 0
        // Something that it is sent makes it end the stream, again and again.
        if shortLived > Self.shortLivedMax, !waiting.isEmpty {
            shortLived = 0
            return failed(failure)
        }
        goOn(isOrderly: failure == .stream(.ended(nil)))
    }

    private func goOn(isOrderly: Bool) {
        state = .idle
        if !waiting.isEmpty {
            isDoubtful = isDoubtful || !isOrderly
            call()
        } else if isOrderly {
            service.retire(self)
        } else {
            check()
        }
    }

    /// There is no stream: who has sent something is told, once, and the other server is left alone for a while.
    private func failed(_ failure: PeerCallFailure) {
        state = .idle
        let stanzas = waiting
        waiting = CircularBuffer()
        let consequence = service.failed(self, failure)
        loop.context.log(service.log, pair, failure, stanzas.count)
        release(Array(stanzas))
        for stanza in stanzas {
            service.keepFarewell(stanza, pair)
            service.router.returnUndelivered(stanza, failure.stanzaError, loop.context)
        }
        if consequence.hasVanished { service.router.peerVanished(pair.remote, from: pair.local, loop.context) }
        watch(consequence.isKnown, consequence.rest)
    }

    /// A server that was there before is called again, for a while.
    private func watch(_ isKnown: Bool, _ rest: TimeAmount) {
        let now = loop.context.time.monotonic
        let since = goneSince ?? now
        guard isKnown, now - since < service.settings.watchedFor else {
            goneSince = nil
            return isKnown ? service.giveUp(self) : service.retire(self)
        }
        goneSince = since
        call(in: rest)
    }

    /// Gives up the stream, and whatever it was waiting for.
    func close() {
        switch state {
        case .idle: break
        case .watching(let timer):
            timer.cancel()
            state = .idle
            service.retire(self)
        case .calling(let call):
            call.cancel()
            failed(.network("closed by the operator"))
        case .open(let sender): sender.close(nil)
        }
    }

    /// Looks whether the other server's certificate has been revoked. What it has called itself on is looked at as such.
    func askAgain() { if case .open(let sender as OutgoingPeerConnection) = state { sender.askAgain() } }

    /// The connection of its stream, if there is one. For operators.
    var sender: (any PeerSender)? { if case .open(let sender) = state { sender } else { nil } }

    /// Asks whether a key is the other server's, if there is a stream on which that can be asked.
    func ask(_ question: DialbackElement, _ answered: @escaping (DialbackElement.Outcome) -> Void) -> Bool {
        guard case .open(let sender as OutgoingPeerConnection) = state, sender.machine.canAsk else { return false }
        sender.ask(question, answered)
        return true
    }
}

extension LoopContext {
    fileprivate func log(_ log: Logger, _ pair: DomainPair, _ failure: PeerCallFailure, _ count: Int) {
        log.notice(
            "another server cannot be reached",
            metadata: ["peer": "\(pair.remote)", "domain": "\(pair.local)", "why": "\(failure)", "returned": "\(count)"])
    }
}
