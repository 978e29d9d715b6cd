package import Logging
package import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore
import NIOSSL

/// Streams to and from other servers (RFC 6120). One for the process; its connections live on the loops.
package final class FederationService: RemoteDelivery, Sendable {
    // Read once per connection and call, swapped by a reload.
    private let current: NIOLockedValueBox<FederationSettings>
    let network: NetworkSettings
    let certificates: CertificateStore
    let trust: PeerTrust
    let resolver: any Resolver
    let dialler: Dialler
    let revocation: RevocationChecker
    let secret: DialbackSecret
    let admission: Admission
    let calls: CallQueue
    /// Calls to servers that there has been no stream with.
    let firstCalls: CallQueue
    /// Calls that only ask about keys, because some stranger has sent one, and inquiries about strangers' certificates: they are not in the
    /// way of the others.
    package let verifications: CallQueue
    let log: Logger
    package let counters = FederationCounters()
    let pings = PeerPings()

    /// What waits in a link, and since when nobody is called for it.
    private struct Entry {
        let link: PeerLink
        /// In memory, or sent and not acknowledged.
        var stanzas = 0
        var bytes = 0
        /// Messages that the log keeps, whether they are in memory as well or not.
        var keptStanzas = 0
        var keptBytes = 0
        /// The last view that was given to a message that is kept.
        var lastView: UInt64
        /// Messages that are kept are in the log only (``PeerQueue/isBehind``).
        var isBehind = false
        /// Whether there is a stream that this server has opened.
        var isOpen = false
    }
    /// What comes of a call that has failed.
    struct Consequence {
        /// For how long the other server is left alone.
        let rest: TimeAmount
        /// Whether it has vanished just now: there were streams with it before.
        let hasVanished: Bool
        /// Whether there were.
        let isKnown: Bool
        /// Messages that the log keeps for it.
        let kept: Int
    }
    private struct Rest {
        var until: NIODeadline
        var failure: PeerCallFailure
        var failures: Int
    }
    private struct Farewell {
        let stanza: EncodedStanza
        let from: BareJID
        let to: BareJID
    }
    private struct State {
        var router: Router?
        var pool: LoopPool?
        var links: [DomainPair: Entry] = [:]
        /// Servers that could not be reached lately.
        var rests: [DomainPair: Rest] = [:]
        /// With whom there has been a stream: what happens to them matters to somebody here.
        var known: Set<DomainPair> = []
        /// What servers were not told that could not be reached: that somebody has left. By sender and recipient.
        var farewells: [DomainPair: [String: Farewell]] = [:]
        var bytes = 0
        var turn = 0
        /// What was known of revoked certificates when the streams were last looked at.
        var revocationChanges = 0
        var incoming: [ObjectIdentifier: NIOLoopBound<IncomingPeerConnection>] = [:]
        var resumable: [String: ResumableStream] = [:]
        var recent: [String: RecentMessages] = [:]
    }
    // Held for look-ups and counts; on the way of every stanza to another server, 0.1 µs.
    private let state = NIOLockedValueBox(State())
    // Held while it is made: once.
    private let posh: NIOLockedValueBox<POSH?>

    /// Most failures that are remembered, and most servers that there has been a stream with.
    private static let restsMax = 10_000
    /// Most servers whose last messages are remembered.
    private static let recentMax = 1_000
    /// Most farewells that are kept for one pair of domains.
    static let farewellsMax = 1_000

    package struct Parts: Sendable {
        package var certificates: CertificateStore
        package var trust: PeerTrust
        package var resolver: any Resolver
        package var dialler: Dialler
        package var secret: DialbackSecret
        /// How web servers are asked; over HTTPS by the dialler, unless given.
        package var fetch: POSH.Fetch?
        package init(
            certificates: CertificateStore, trust: PeerTrust, resolver: any Resolver, dialler: Dialler, secret: DialbackSecret,
            fetch: POSH.Fetch? = nil
        ) {
            self.certificates = certificates
            self.trust = trust
            self.resolver = resolver
            self.dialler = dialler
            self.secret = secret
            self.fetch = fetch
        }
    }

    package init(_ settings: FederationSettings, _ network: NetworkSettings, _ parts: Parts, log: Logger) {
        current = NIOLockedValueBox(settings)
        self.network = network
        certificates = parts.certificates
        trust = parts.trust
        resolver = parts.resolver
        dialler = parts.dialler
        revocation = RevocationChecker(settings.revocation, parts.dialler, settings.revocationFiles)
        secret = parts.secret
        posh = NIOLockedValueBox(parts.fetch.map { POSH($0) })
        admission = Admission(settings.admission)
        calls = CallQueue(runningMax: settings.callsMax, waitingMax: settings.callsWaitingMax)
        firstCalls = CallQueue(runningMax: max(1, settings.callsMax / 2), waitingMax: settings.callsWaitingMax)
        verifications = CallQueue(runningMax: settings.verificationsMax, waitingMax: settings.callsWaitingMax)
        self.log = log
    }

    package var settings: FederationSettings { current.withLockedValue { $0 } }
    var lookup: ServiceLookup { ServiceLookup(resolver, overrides: settings.overrides) }

    /// Puts other settings in force, for streams that come from now on.
    package func apply(_ settings: FederationSettings) {
        current.withLockedValue { $0 = settings }
        admission.apply(settings.admission)
        revocation.apply(settings.revocation, settings.revocationFiles)
    }

    /// Begins to serve: before, whatever is given is refused.
    package func begin(_ router: Router, on pool: LoopPool) {
        if let loop = pool.loops.first { keepUp(on: loop) }
        state.withLockedValue { state in
            state.router = router
            state.pool = pool
        }
    }

    /// Goes on with what waits in the log for other servers since before the start.
    ///
    /// - Parameter isOurs: whether we still serve a domain.
    /// - Returns: how many messages wait.
    package func resume(_ queues: [StoredQueue], isOurs: (BareJID) -> Bool) -> Int {
        var count = 0
        for queue in queues {
            guard let pair = Self.pair(of: queue), (try? BareJID(parsing: pair.local)).map(isOurs) ?? false else {
                log.notice("messages for another server are not sent: their sender is no longer served here", metadata: ["count": "\(queue.count)"])
                continue
            }
            count += queue.count
            let link: PeerLink? = state.withLockedValue { state in
                if state.known.count < Self.restsMax { state.known.insert(pair) }
                guard let link = Self.link(for: pair, of: self, in: &state, cursor: queue.first.view - 1) else { return nil }
                guard var entry = state.links[pair] else { return nil }
                (entry.keptStanzas, entry.keptBytes) = (queue.count, queue.bytes)
                entry.lastView = max(entry.lastView, queue.lastView)
                entry.isBehind = true
                state.links[pair] = entry
                return link
            }
            link?.mailbox.run { _ in
                link?.fallBehind()
                link?.awaken(after: .zero)
            }
        }
        return count
    }

    /// Whose it is, which the messages in it say.
    private static func pair(of queue: StoredQueue) -> DomainPair? {
        guard let stanza = Stanza(sent: queue.first.stanza), let to = stanza.to else { return nil }
        let pair = DomainPair(remote: to.bare.domainpart, local: stanza.from.bare.domainpart)
        return AccountID(queueFor: pair) == queue.id ? pair : nil
    }

    /// The server stops in order: streams are closed, and what other servers have acknowledged by then is not sent again.
    ///
    /// - Parameter patience: for other servers to close their ends.
    package func stop(within patience: TimeAmount = .seconds(1)) async {
        let inventory = inventory()
        for loop in inventory.loops {
            let ends = await on(loop) { inventory.close(on: loop) { _ in true } }
            await Self.wait(for: ends, on: loop, atMost: patience)
            await on(loop) { for (link, _, _, _) in inventory.links where link.loop === loop { link.storeCursor() } }
        }
    }

    private static func wait(for ends: [EventLoopFuture<Void>], on loop: NetworkLoop, atMost patience: TimeAmount) async {
        let done = loop.loop.makePromise(of: Void.self)
        let late = loop.loop.scheduleTask(in: patience) { done.succeed() }
        EventLoopFuture.andAllComplete(ends, on: loop.loop).whenComplete { _ in
            late.cancel()
            done.succeed()
        }
        try? await done.futureResult.get()
    }

    var router: Router { state.withLockedValue { router(in: $0) } }

    private func router(in state: State) -> Router {
        guard let router = state.router else { preconditionFailure("streams before the service has begun") }
        return router
    }

    func policy(of remote: String) -> PeerPolicy { settings.policy(of: remote) }
    func proof(of remote: String) -> PeerProof? { settings.proof(of: remote) }

    /// What asks web servers, over connections on the loop of whoever wanted to know first.
    func posh(on loop: NetworkLoop) -> POSH {
        posh.withLockedValue { posh in
            if let posh { return posh }
            let fetch = HTTPFetch(dialler, on: loop.loop)
            let made = POSH { request throws(HTTPFetchError) in try await fetch.answer(to: request) }
            posh = made
            return made
        }
    }

    /// How this server shows who it is where it calls.
    func clientTLS(for local: String) -> NIOSSLContext? { certificates.certificate(of: local)?.peerClient ?? CertificateStore.anonymousPeerClient }
}

// MARK: Outgoing

extension FederationService {
    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        let pair = DomainPair(remote: to.domainpart, local: from.domainpart)
        let settings = settings
        let acceptance = state.withLockedValue { state in
            var restLeft = TimeAmount.zero
            if let rest = state.rests[pair], context.time.monotonic < rest.until {
                let isAwaited = kept != nil && settings.keptFor > .zero && state.known.contains(pair) && !rest.failure.isFinal
                guard isAwaited else { return Acceptance.refused(rest.failure.stanzaError) }
                restLeft = rest.until - context.time.monotonic
            }
            guard Self.link(for: pair, of: self, in: &state) != nil, var entry = state.links.removeValue(forKey: pair) else {
                return .refused(.serviceUnavailable)
            }
            defer { state.links[pair] = entry }
            let bytes = stanza.bytes.readableBytes
            let hasRoom = Self.hasRoom(for: bytes, entry, state, settings)
            if let kept, kept.isPromised || !entry.isOpen || entry.isBehind || !hasRoom {
                return keep(kept.entry, for: restLeft, in: &entry, &state, settings, context)
            }
            guard hasRoom else { return .refused(Self.tooMuch(for: pair)) }
            post(PeerQueue.Item(stanza, after: entry.lastView), in: &entry, &state, context)
            return .accepted(.none)
        }
        if case .refused = acceptance { keepFarewell(stanza, pair) }
        return acceptance
    }

    private static func hasRoom(for bytes: Int, _ entry: Entry, _ state: State, _ settings: FederationSettings) -> Bool {
        entry.stanzas < settings.queueStanzasMax && entry.bytes + bytes <= settings.queueBytesMax && state.bytes + bytes <= settings.queueBytesTotalMax
    }

    private static func tooMuch(for pair: DomainPair) -> StanzaError {
        StanzaError(.resourceConstraint, .wait, text: "too much waits for \(pair.remote)")
    }

    /// Puts a message into the log, and into the link's memory if there is room and the other server is not left alone for a while.
    private func keep(
        _ entryToKeep: LogEntry, for rest: TimeAmount, in entry: inout Entry, _ state: inout State, _ settings: FederationSettings, _ context: LoopContext
    ) -> Acceptance {
        var kept = entryToKeep
        let (pair, bytes) = (entry.link.pair, kept.stanza.bytes.readableBytes)
        guard entry.keptStanzas < settings.keptStanzasMax, entry.keptBytes + bytes <= settings.keptBytesMax else { return .refused(Self.tooMuch(for: pair)) }
        let view = router(in: state).ids.next(after: entry.lastView, wallMilliseconds: context.wallMilliseconds)
        kept.views.append(.init(owner: AccountID(queueFor: pair), id: view))
        entry.lastView = view
        entry.keptStanzas += 1
        entry.keptBytes += bytes
        let ticket = context.store.submit([.log(kept)])
        let link = entry.link
        if !entry.isBehind, rest > .zero || !Self.hasRoom(for: bytes, entry, state, settings) {
            entry.isBehind = true
            context.post(.run { _ in link.fallBehind() }, to: link.mailbox)
        }
        if !entry.isBehind {
            post(PeerQueue.Item(kept.stanza, view: view, after: view), in: &entry, &state, context)
        } else if entry.keptStanzas == 1 {
            context.post(.run { _ in link.awaken(after: rest) }, to: link.mailbox)
        }
        return .accepted(ticket)
    }

    /// Under the lock, which fixes the order.
    private func post(_ item: PeerQueue.Item, in entry: inout Entry, _ state: inout State, _ context: LoopContext) {
        entry.stanzas += 1
        entry.bytes += item.byteCount
        state.bytes += item.byteCount
        context.post(.forward(item, to: entry.link), to: entry.link.mailbox)
    }

    /// That somebody has left, a server that cannot be reached hears when it can be reached again.
    func keepFarewell(_ encoded: EncodedStanza, _ pair: DomainPair) {
        guard encoded.isPresence, let stanza = Stanza(sent: encoded), case .presence(.unavailable) = stanza.kind, let to = stanza.to else { return }
        state.withLockedValue { state in
            guard state.known.contains(pair), state.farewells[pair]?.count ?? 0 < Self.farewellsMax else { return }
            state.farewells[pair, default: [:]]["\(stanza.from) \(to)"] = Farewell(stanza: encoded, from: stanza.from.bare, to: to.bare)
        }
    }

    private static func link(for pair: DomainPair, of service: FederationService, in state: inout State, cursor: UInt64? = nil) -> PeerLink? {
        if let entry = state.links[pair] { return entry.link }
        guard let loops = state.pool?.loops, !loops.isEmpty else { return nil }
        state.turn = (state.turn + 1) % loops.count
        return newLink(for: pair, of: service, on: loops[state.turn], in: &state, cursor: cursor)
    }

    private static func newLink(
        for pair: DomainPair, of service: FederationService, on loop: NetworkLoop, in state: inout State, cursor: UInt64? = nil
    ) -> PeerLink {
        let used = service.router(in: state).ids.used
        let link = PeerLink(pair, service, on: loop, cursor: cursor ?? used)
        state.links[pair] = Entry(link: link, lastView: used)
        return link
    }

    /// Stanzas are in memory no more.
    func release(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        count(items, of: link, by: -1)
    }

    /// Messages were read from the log.
    func charge(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        count(items, of: link, by: 1)
    }

    private func count(_ items: [PeerQueue.Item], of link: PeerLink, by sign: Int) {
        guard !items.isEmpty else { return }
        let bytes = sign * items.reduce(0) { $0 + $1.byteCount }
        state.withLockedValue { state in
            state.bytes += bytes
            guard state.links[link.pair]?.link === link else { return }
            state.links[link.pair]?.stanzas += sign * items.count
            state.links[link.pair]?.bytes += bytes
        }
    }

    /// The log need not keep these any more.
    func settled(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        state.withLockedValue { state in
            guard var entry = state.links[link.pair], entry.link === link else { return }
            for item in items where item.isKept {
                entry.keptStanzas -= 1
                entry.keptBytes -= item.byteCount
            }
            state.links[link.pair] = entry
        }
    }

    /// The last view that was given to a message for the other server.
    func lastView(of link: PeerLink) -> UInt64 {
        state.withLockedValue { $0.links[link.pair]?.lastView ?? 0 }
    }

    /// Whether the log has nothing beyond `view`; then messages go through memory from here on.
    func caughtUp(_ link: PeerLink, upTo view: UInt64) -> Bool {
        state.withLockedValue { state in
            guard let entry = state.links[link.pair], entry.link === link, entry.lastView <= view else { return false }
            state.links[link.pair]?.isBehind = false
            return true
        }
    }

    /// Whether there has been a stream with the other server since the start, or the operator has said where it is.
    func isKnown(_ pair: DomainPair) -> Bool {
        if let domain = try? BareJID(parsing: pair.remote), settings.overrides[domain] != nil { return true }
        return state.withLockedValue { $0.known.contains(pair) }
    }

    func hasKept(_ link: PeerLink) -> Bool {
        state.withLockedValue { $0.links[link.pair]?.keptStanzas ?? 0 > 0 }
    }

    /// The link has no stream. It goes if nothing is on its way to it.
    func retire(_ link: PeerLink) {
        state.withLockedValue { state in
            if let entry = state.links[link.pair], entry.link === link, entry.stanzas == 0, entry.keptStanzas == 0 { state.links[link.pair] = nil }
        }
    }

    /// It is not waited for any more: what its users were not told is forgotten. If it comes back, all are told anew how everybody is.
    func giveUp(_ link: PeerLink) {
        state.withLockedValue { state in
            state.known.remove(link.pair)
            state.farewells[link.pair] = nil
        }
        retire(link)
    }

    /// - Returns: whether the other server could not be reached before.
    func opened(_ link: PeerLink) -> Bool {
        state.withLockedValue { state in
            if state.links[link.pair]?.link === link { state.links[link.pair]?.isOpen = true }
            if state.known.count < Self.restsMax { state.known.insert(link.pair) }
            return state.rests.removeValue(forKey: link.pair) != nil
        }
    }

    /// Both sides tell each other anew how everybody is.
    func repair(_ link: PeerLink) {
        let (context, pair) = (link.loop.context, link.pair)
        let farewells = state.withLockedValue { $0.farewells.removeValue(forKey: pair) } ?? [:]
        for farewell in farewells.values { _ = deliver(farewell.stanza, from: farewell.from, to: farewell.to, context) }
        router.peerReturned(pair.remote, to: pair.local, context)
    }

    /// A stream of another server's has broken off: it is looked whether the server is still there.
    func check(_ pairs: Set<DomainPair>) {
        for pair in pairs {
            let link: PeerLink? = state.withLockedValue { state in
                if state.known.count < Self.restsMax { state.known.insert(pair) }
                return Self.link(for: pair, of: self, in: &state)
            }
            guard let link else { continue }
            link.mailbox.run { _ in link.check() }
        }
    }

    /// Another server that could not be reached has come by itself.
    func heard(_ pair: DomainPair) {
        let link: PeerLink? = state.withLockedValue { state in
            if state.known.count < Self.restsMax { state.known.insert(pair) }
            guard state.rests[pair] != nil else { return nil }
            state.rests[pair]?.until = .uptimeNanoseconds(0)
            return Self.link(for: pair, of: self, in: &state)
        }
        if let link { link.mailbox.run { _ in link.callNow() } }
    }

    func closed(_ link: PeerLink) {
        state.withLockedValue { state in
            if state.links[link.pair]?.link === link { state.links[link.pair]?.isOpen = false }
        }
    }

    /// The other server is left alone for a while.
    ///
    func failed(_ link: PeerLink, _ failure: PeerCallFailure) -> Consequence {
        counters.failed()
        let now = link.loop.context.time.monotonic
        return state.withLockedValue { state in
            if state.rests.count >= Self.restsMax { state.rests = state.rests.filter { $0.value.until > now } }
            let failures = (state.rests[link.pair]?.failures ?? 0) + 1
            let rest = rest(after: failures)
            if state.rests.count < Self.restsMax { state.rests[link.pair] = Rest(until: now + rest, failure: failure, failures: failures) }
            let isKnown = state.known.contains(link.pair)
            state.links[link.pair]?.isBehind = true
            return Consequence(
                rest: rest, hasVanished: isKnown && failures == 1, isKnown: isKnown, kept: state.links[link.pair]?.keptStanzas ?? 0)
        }
    }

    /// Twice as long after each failure, less up to a half, so that not all come back at once.
    private func rest(after failures: Int) -> TimeAmount {
        let settings = settings
        let (least, most) = (settings.restMin.nanoseconds, settings.restMax.nanoseconds)
        let doubled = failures > 16 ? most : min(least << Int64(failures - 1), most)
        return .nanoseconds(doubled / 2 + Int64.random(in: 0...max(doubled / 2, 1)))
    }

    /// Asks whoever is found by the name of a domain whether a key is its own (XEP-0220 §2.1.2).
    func ask(_ question: DialbackElement, on loop: NetworkLoop, _ answered: @escaping (DialbackElement.Outcome) -> Void) {
        let pair = DomainPair(remote: question.to, local: question.from)
        let link = state.withLockedValue { $0.links[pair]?.link }
        if let link, link.loop === loop, link.ask(question, answered) { return }
        let deadline = settings.verificationDeadline
        PeerCall(self, loop, pair, .verification, within: deadline) { result in
            switch result {
            case .failure(let failure): answered(.error(failure.stanzaError.condition))
            case .success(let connection):
                connection.onEnd = { _, _, _ in }
                connection.ask(question) { outcome in
                    answered(outcome)
                    connection.close(nil)
                }
                _ = loop.loop.assumeIsolated().scheduleTask(in: deadline) { connection.drop() }
            }
        }.begin()
    }
}

// MARK: Incoming

extension FederationService {
    func came(_ connection: IncomingPeerConnection) {
        let bound = NIOLoopBound(connection, eventLoop: connection.loop.loop)
        state.withLockedValue { $0.incoming[ObjectIdentifier(connection)] = bound }
    }

    func went(_ connection: IncomingPeerConnection) {
        state.withLockedValue { $0.incoming[ObjectIdentifier(connection)] = nil }
    }

    /// A stream that another server has opened serves for the way back as well (XEP-0288), unless there is a stream for that already.
    func adopt(_ connection: IncomingPeerConnection, _ pair: DomainPair) -> PeerLink? {
        let (link, wasUnreachable): (PeerLink?, Bool) = state.withLockedValue { state in
            guard state.links[pair] == nil else { return (nil, false) }
            let link = Self.newLink(for: pair, of: self, on: connection.loop, in: &state)
            if state.known.count < Self.restsMax { state.known.insert(pair) }
            return (link, state.rests.removeValue(forKey: pair) != nil)
        }
        link?.adopt(connection)
        if wasUnreachable, let link { repair(link) }
        return link
    }

    /// What a server has sent lately.
    func recentMessages(of domain: String) -> RecentMessages {
        state.withLockedValue { state in
            if let recent = state.recent[domain] { return recent }
            if state.recent.count >= Self.recentMax { state.recent.remove(at: state.recent.startIndex) }
            let recent = RecentMessages()
            state.recent[domain] = recent
            return recent
        }
    }

    package var incomingCount: Int { state.withLockedValue { $0.incoming.count } }
    package var outgoingCount: Int { state.withLockedValue { $0.links.values.count { $0.isOpen } } }
    /// Messages that are in the log for other servers.
    package var keptCount: Int { state.withLockedValue { $0.links.values.reduce(0) { $0 + $1.keptStanzas } } }
    package var queuedBytes: Int { state.withLockedValue { $0.bytes } }
}

// MARK: Streams that go on (XEP-0198 §5)

/// A stream of another server's, which it can go on with on another connection.
private struct ResumableStream: Sendable {
    let loop: NetworkLoop
    let session: NIOLoopBound<PeerSession>
    /// `nil` once it is lost.
    var connection: NIOLoopBound<IncomingPeerConnection>?
    /// What the other server has proved on it.
    let pairs: Set<DomainPair>
}

extension FederationService {
    /// - Returns: by what the stream can be gone on with; `nil` if there are too many.
    func nameStream(of connection: IncomingPeerConnection, _ session: PeerSession) -> String? {
        guard state.withLockedValue({ $0.resumable.count }) < settings.resumableMax else { return nil }
        let id = connection.loop.context.random.token()
        keepStream(id, of: connection, session)
        return id
    }

    func keepStream(_ id: String, of connection: IncomingPeerConnection, _ session: PeerSession) {
        let eventLoop = connection.loop.loop
        let stream = ResumableStream(
            loop: connection.loop, session: NIOLoopBound(session, eventLoop: eventLoop), connection: NIOLoopBound(connection, eventLoop: eventLoop),
            pairs: session.pairs)
        state.withLockedValue { $0.resumable[id] = stream }
    }

    func forgetStream(_ id: String) { state.withLockedValue { $0.resumable[id] = nil } }

    /// The connection is lost. On its loop.
    func awaitResumption(of id: String, _ session: PeerSession, on loop: NetworkLoop) {
        state.withLockedValue { $0.resumable[id]?.connection = nil }
        _ = loop.loop.assumeIsolated().scheduleTask(in: settings.resumableFor) { [self] in
            let isThis = state.withLockedValue { state in
                guard let stream = state.resumable[id], stream.loop === loop, stream.session.value === session else { return false }
                state.resumable[id] = nil
                return true
            }
            if isThis { session.end() }
        }
    }

    /// Another server wants to go on with a stream.
    ///
    /// - Parameters:
    ///   - pairs: what it has proved on the new connection.
    ///   - done: runs on `loop`, with how many stanzas are handled, if somebody knows, and whether the stream is over.
    func resume(
        _ id: String, of remote: String, _ pairs: Set<DomainPair>, on loop: NetworkLoop, _ done: @escaping (_ handled: UInt32?, _ isOver: Bool) -> Void
    ) {
        let done = NIOLoopBound(done, eventLoop: loop.loop)
        let stream: ResumableStream? = state.withLockedValue { state in
            guard let stream = state.resumable[id], !stream.pairs.isDisjoint(with: pairs) else { return nil }
            state.resumable[id] = nil
            return stream
        }
        guard let stream else {
            // A server that was started since knows only what is in the log.
            return PeerSession.handled(on: id, of: remote, loop.context.store) { handled in loop.context.mailbox.run { _ in done.value(handled, true) } }
        }
        stream.loop.context.mailbox.run { _ in
            stream.connection?.value.supersede()
            let session = stream.session.value
            session.handOver { handled in
                session.end()
                loop.context.mailbox.run { _ in done.value(handled, false) }
            }
        }
    }
}

// MARK: Revoked certificates

extension FederationService {
    /// How often files are looked at, and what will be out of date is fetched.
    private static let revocationInterval = TimeAmount.minutes(1)

    /// For as long as the loop runs.
    private func keepUp(on loop: NetworkLoop) {
        loop.loop.scheduleRepeatedTask(initialDelay: Self.revocationInterval, delay: Self.revocationInterval) { [self] _ in
            let now = Int(loop.context.time.wallMilliseconds / 1_000)
            // A task on the system's threads, since files are read.
            Task { await keepUpRevocation(now: now, on: loop.loop) }
        }
    }

    /// Reads files that have changed, fetches what will be out of date, and ends streams of servers whose certificates are revoked by now.
    package func keepUpRevocation(now: Int, on loop: any EventLoop) async {
        for error in await revocation.keepUp(now: now, on: loop) {
            log.warning("a list of revoked certificates cannot be used", metadata: ["why": "\(error)"])
        }
        let changes = revocation.changes
        let isNew = state.withLockedValue { state in
            defer { state.revocationChanges = changes }
            return state.revocationChanges != changes
        }
        guard isNew else { return }
        let inventory = inventory()
        for connection in inventory.incoming { connection.eventLoop.execute { connection.value.askAgain() } }
        for (link, _, _, _) in inventory.links { link.mailbox.run { _ in link.askAgain() } }
    }

    /// What was found out about a certificate that another server has shown.
    func noticed(_ finding: RevocationFinding, of address: String) {
        switch finding {
        case .notAsked, .good, .unsaid: break
        case .revoked(let subject, let source):
            counters.sawRevoked()
            log.notice("another server's certificate is revoked", metadata: ["address": "\(address)", "subject": "\(subject)", "by": "\(source)"])
        case .unknown(let subject, let why):
            counters.sawUnknown()
            log.notice(
                "it is not known whether another server's certificate is revoked",
                metadata: ["address": "\(address)", "subject": "\(subject)", "why": "\(why)"])
        }
    }
}

// MARK: What operators see

extension FederationService {
    /// What there is, to be looked at on the loops on which it lives.
    struct Inventory: Sendable {
        var links: [(link: PeerLink, stanzas: Int, bytes: Int, kept: Int)] = []
        var incoming: [NIOLoopBound<IncomingPeerConnection>] = []
        var rests: [(pair: DomainPair, failure: PeerCallFailure, failures: Int, until: NIODeadline)] = []
        var loops: [NetworkLoop] = []
    }

    func inventory() -> Inventory {
        state.withLockedValue { state in
            Inventory(
                links: state.links.values.map { ($0.link, $0.stanzas, $0.bytes, $0.keptStanzas) }, incoming: Array(state.incoming.values),
                rests: state.rests.map { ($0.key, $0.value.failure, $0.value.failures, $0.value.until) }, loops: state.pool?.loops ?? [])
        }
    }

    /// These servers may be called again at once.
    func forgetFailures(of isMeant: (String) -> Bool) {
        state.withLockedValue { state in
            for pair in state.rests.keys where isMeant(pair.remote) { state.rests[pair] = nil }
        }
    }
}
