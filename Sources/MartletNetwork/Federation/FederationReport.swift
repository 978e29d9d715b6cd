import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// What there is between this server and others at one moment, as operators see it.
package struct FederationReport: Codable, Hashable, Sendable {
    package enum Direction: String, Codable, Hashable, Sendable {
        /// This server has called.
        case outgoing
        /// The other server has.
        case incoming
    }

    /// A stream, for one pair of domains: one that is authenticated for several is there several times.
    package struct Stream: Codable, Hashable, Sendable {
        /// The other server's domain; empty as long as it has not said who it is.
        package var peer: String
        /// Ours; empty as long as nothing is proved.
        package var domain: String
        package var direction: Direction
        /// The other end of the connection, with its port.
        package var address: String
        /// `1.2` or `1.3`; absent without TLS.
        package var tls: String?
        /// `certificate` or `dialback`; absent as long as nothing is proved.
        package var method: String?
        /// Milliseconds since 1970.
        package var since: Int64
        /// Whether it serves for both directions (XEP-0288).
        package var isBidirectional: Bool
        /// Whether what goes over it is acknowledged (XEP-0198).
        package var isManaged: Bool
        /// Stanzas of all pairs of the stream.
        package var sent: Int
        package var received: Int
        /// What was given for it and is not sent, or not acknowledged.
        package var waitingStanzas: Int
        package var waitingBytes: Int

        package init(
            peer: String, domain: String, _ direction: Direction, address: String, tls: String? = nil, method: String? = nil, since: Int64,
            isBidirectional: Bool = false, isManaged: Bool = false, sent: Int = 0, received: Int = 0, waitingStanzas: Int = 0, waitingBytes: Int = 0
        ) {
            self.peer = peer
            self.domain = domain
            self.direction = direction
            self.address = address
            self.tls = tls
            self.method = method
            self.since = since
            self.isBidirectional = isBidirectional
            self.isManaged = isManaged
            self.sent = sent
            self.received = received
            self.waitingStanzas = waitingStanzas
            self.waitingBytes = waitingBytes
        }
    }

    /// A server that is being called because something waits for it.
    package struct Call: Codable, Hashable, Sendable {
        package var peer: String
        package var domain: String
        package var waitingStanzas: Int
        package var waitingBytes: Int

        package init(peer: String, domain: String, waitingStanzas: Int, waitingBytes: Int) {
            self.peer = peer
            self.domain = domain
            self.waitingStanzas = waitingStanzas
            self.waitingBytes = waitingBytes
        }
    }

    /// A server that could not be reached lately.
    package struct Failure: Codable, Hashable, Sendable {
        package var peer: String
        package var domain: String
        package var why: String
        /// In a row.
        package var failures: Int
        /// For so many more milliseconds the server is left alone; 0: it may be called again.
        package var restMilliseconds: Int64
        /// Messages that wait for it in the log.
        package var kept: Int

        package init(peer: String, domain: String, why: String, failures: Int, restMilliseconds: Int64, kept: Int = 0) {
            self.kept = kept
            self.peer = peer
            self.domain = domain
            self.why = why
            self.failures = failures
            self.restMilliseconds = restMilliseconds
        }
    }

    package var streams: [Stream]
    package var calls: [Call]
    package var failures: [Failure]

    /// In the order of the other servers' domains.
    package init(streams: [Stream] = [], calls: [Call] = [], failures: [Failure] = []) {
        self.streams = streams.sorted { ($0.peer, $0.domain, $0.direction.rawValue, $0.since) < ($1.peer, $1.domain, $1.direction.rawValue, $1.since) }
        self.calls = calls.sorted { ($0.peer, $0.domain) < ($1.peer, $1.domain) }
        self.failures = failures.sorted { ($0.peer, $0.domain) < ($1.peer, $1.domain) }
    }

    package var isEmpty: Bool { streams.isEmpty && calls.isEmpty && failures.isEmpty }

    /// What is about a server and the domains below it.
    package func about(_ peer: String) -> FederationReport {
        FederationReport(
            streams: streams.filter { Self.isWithin($0.peer, peer) }, calls: calls.filter { Self.isWithin($0.peer, peer) },
            failures: failures.filter { Self.isWithin($0.peer, peer) })
    }

    /// How long after its rest a server that could not be reached is still spoken of.
    static let failureAgeMax = TimeAmount.hours(1)

    /// Whether it is the domain or one below it.
    static func isWithin(_ domain: String, _ other: String) -> Bool { domain == other || domain.hasSuffix(".\(other)") }
}

extension FederationService {
    /// Looks at every stream on its loop, one loop after the other.
    package func report() async -> FederationReport {
        let inventory = inventory()
        var (streams, calls): ([FederationReport.Stream], [FederationReport.Call]) = ([], [])
        for loop in inventory.loops {
            let (more, called) = await on(loop) { inventory.report(on: loop) }
            streams += more
            calls += called
        }
        let now = NIODeadline.now()
        let kept = Dictionary(inventory.links.map { ($0.link.pair, $0.kept) }) { $1 }
        let failures = inventory.rests.filter { $0.until > now - FederationReport.failureAgeMax }.map { rest in
            FederationReport.Failure(
                peer: rest.pair.remote, domain: rest.pair.local, why: "\(rest.failure)", failures: rest.failures,
                restMilliseconds: max(0, (rest.until - now).nanoseconds / 1_000_000), kept: kept[rest.pair] ?? 0)
        }
        return FederationReport(streams: streams, calls: calls, failures: failures)
    }

    /// Ends all streams with a server and the domains below it, in order, and forgets that they could not be reached. What waits for them goes
    /// by a new stream.
    ///
    /// - Returns: how many streams there were.
    package func close(_ peer: String) async -> Int {
        let inventory = inventory()
        let isMeant: @Sendable (String) -> Bool = { FederationReport.isWithin($0, peer) }
        var count = 0
        for loop in inventory.loops { count += await on(loop) { inventory.close(on: loop, isMeant).count } }
        forgetFailures(of: isMeant)
        return count
    }

    func on<Value: Sendable>(_ loop: NetworkLoop, _ act: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in loop.context.mailbox.run { _ in continuation.resume(returning: act()) } }
    }
}

extension FederationService.Inventory {
    /// On that loop.
    fileprivate func report(on loop: NetworkLoop) -> ([FederationReport.Stream], [FederationReport.Call]) {
        var (streams, calls): ([FederationReport.Stream], [FederationReport.Call]) = ([], [])
        var waiting: [DomainPair: (stanzas: Int, bytes: Int)] = [:]
        for (link, inMemory, bytes, kept) in links where link.loop === loop {
            let stanzas = max(inMemory, kept)
            switch link.connection {
            case let connection as OutgoingPeerConnection: streams.append(.init(connection, stanzas, bytes))
            case nil where stanzas > 0:
                calls.append(.init(peer: link.pair.remote, domain: link.pair.local, waitingStanzas: stanzas, waitingBytes: bytes))
            default: waiting[link.pair] = (stanzas, bytes)
            }
        }
        for connection in connections(on: loop) {
            if connection.pairs.isEmpty { streams.append(.init(connection, nil, (0, 0))) }
            streams += connection.pairs.map { .init(connection, $0, waiting[$0] ?? (0, 0)) }
        }
        return (streams, calls)
    }

    /// On that loop.
    ///
    /// - Returns: for each stream, when its connection is gone.
    func close(on loop: NetworkLoop, _ isMeant: (String) -> Bool) -> [EventLoopFuture<Void>] {
        var ends: [EventLoopFuture<Void>] = []
        for connection in connections(on: loop) where isMeant(connection.remote ?? "") || connection.pairs.contains(where: { isMeant($0.remote) }) {
            ends.append(connection.closeFuture)
            connection.close(nil)
        }
        for (link, _, _, _) in links where link.loop === loop && isMeant(link.pair.remote) {
            if let connection = link.connection as? OutgoingPeerConnection { ends.append(connection.closeFuture) }
            link.close()
        }
        return ends
    }

    private func connections(on loop: NetworkLoop) -> [IncomingPeerConnection] {
        // Whose loop it is can be asked anywhere, what is bound to it only there.
        incoming.filter { $0.eventLoop === loop.loop }.map(\.value).filter { !$0.isGone && !$0.isEnding }
    }
}

extension FederationReport.Stream {
    fileprivate init(_ connection: OutgoingPeerConnection, _ stanzas: Int, _ bytes: Int) {
        self.init(
            peer: connection.pair.remote, domain: connection.pair.local, .outgoing, address: connection.remoteAddress, tls: connection.tlsVersion,
            method: connection.method?.rawValue, since: connection.since, isBidirectional: connection.isBidirectional,
            isManaged: connection.isManaged, sent: connection.sentCount, received: connection.receivedCount, waitingStanzas: stanzas,
            waitingBytes: bytes)
    }

    fileprivate init(_ connection: IncomingPeerConnection, _ pair: DomainPair?, _ waiting: (stanzas: Int, bytes: Int)) {
        self.init(
            peer: pair?.remote ?? connection.remote ?? "", domain: pair?.local ?? "", .incoming, address: connection.remoteAddress,
            tls: connection.tlsVersion, method: pair.flatMap { connection.method(of: $0)?.rawValue }, since: connection.since,
            isBidirectional: connection.isBidirectional, isManaged: connection.isManaged, sent: connection.sentCount,
            received: connection.receivedCount, waitingStanzas: waiting.stanzas, waitingBytes: waiting.bytes)
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
        let incoming = incoming.withLockedValue { Array($0.values) }
        return links.withLockedValue { links in
            Inventory(
                links: links.entries.values.map { ($0.link, $0.stanzas, $0.bytes, $0.keptStanzas) }, incoming: incoming,
                rests: links.rests.filter { $0.value.failures > 0 }.map { ($0.key, $0.value.failure, $0.value.failures, $0.value.until) },
                loops: links.pool?.loops ?? [])
        }
    }

    /// These servers may be called again at once.
    func forgetFailures(of isMeant: (String) -> Bool) {
        links.withLockedValue { links in
            for pair in links.rests.keys where isMeant(pair.remote) { links.forgetFailures(pair) }
        }
    }
}
