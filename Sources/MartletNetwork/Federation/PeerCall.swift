import MartletCore
import MartletXMPP
import NIOCore

/// One attempt to have a stream to another server: find it, dial it, come to terms with it. Everything is done on one loop.
///
/// `@unchecked Sendable`: touched on that loop only; closures that others want sendable come back to it.
final class PeerCall: @unchecked Sendable {
    private let service: FederationService
    private let loop: NetworkLoop
    private let pair: DomainPair
    private let purpose: OutgoingPeerMachine.Purpose
    private let deadline: TimeAmount
    private let resuming: InterruptedStream?
    private let ended: (Result<OutgoingPeerConnection, PeerCallFailure>) -> Void
    private let party: BareJID?
    /// Who is called for the first time does not stand in the way of those who are known.
    private lazy var calls = purpose == .verification ? service.verifications : service.isKnown(pair) ? service.calls : service.firstCalls
    private var timer: Scheduled<Void>?
    private var dial: Dial?
    /// A connection that nothing is said on before it is known what DNS says about its certificate.
    private var reserved: (any Channel)?
    private var connection: OutgoingPeerConnection?
    private var isDone = false
    private var holdsPlace = false

    /// - Parameters:
    ///   - party: who has wanted it first, in whose share of calls to strangers it is.
    ///   - ended: told once, on the loop, and never before this returns.
    init(
        _ service: FederationService, _ loop: NetworkLoop, _ pair: DomainPair, _ purpose: OutgoingPeerMachine.Purpose, within deadline: TimeAmount,
        for party: BareJID? = nil, resuming: InterruptedStream? = nil, _ ended: @escaping (Result<OutgoingPeerConnection, PeerCallFailure>) -> Void
    ) {
        self.service = service
        self.loop = loop
        self.pair = pair
        self.purpose = purpose
        self.deadline = deadline
        self.party = party
        self.resuming = resuming
        self.ended = ended
    }

    func begin() {
        timer = loop.loop.scheduleTask(in: deadline) { [self] in finish(.failure(.timedOut)) }
        if let refusal = service.policy(of: pair.remote).refusal { return later(.refused(refusal)) }
        let isAdmitted = calls.enter(for: party) { [self] in loop.loop.execute { [self] in admitted() } }
        if !isAdmitted { later(.tooManyCalls) }
    }

    private func later(_ failure: PeerCallFailure) { loop.loop.execute { [self] in finish(.failure(failure)) } }

    private func admitted() {
        guard !isDone else { return calls.leave(for: party) }
        holdsPlace = true
        let (lookup, remote) = (service.lookup, pair.remote)
        Task {
            let found: Result<[DialTarget], ServiceLookupError>
            do throws(ServiceLookupError) {
                guard let domain = try? BareJID(parsing: remote) else { throw .notAHost }
                found = .success(try await lookup.targets(of: domain))
            } catch {
                found = .failure(error)
            }
            loop.loop.execute { [self] in
                switch found {
                case .success(let targets): call(targets)
                case .failure(let error): finish(.failure(.lookup(error)))
                }
            }
        }
    }

    private func call(_ targets: [DialTarget]) {
        guard !isDone else { return }
        let dial = service.dialler.dial(targets, on: loop.loop)
        self.dial = dial
        dial.result.assumeIsolated().whenComplete { [self] result in
            self.dial = nil
            switch result {
            case .success(let dialled): reached(dialled, besides: Self.rest(of: targets, after: dialled.target))
            case .failure(let error as DialError): finish(.failure(.dial(error)))
            case .failure(let error): finish(.failure(.network("\(error)")))
            }
        }
    }

    private static func rest(of targets: [DialTarget], after target: DialTarget) -> [DialTarget] {
        targets.firstIndex(of: target).map { Array(targets[($0 + 1)...]) } ?? []
    }

    private func reached(_ dialled: Dialled, besides others: [DialTarget]) {
        guard !isDone else { return dialled.channel.close(promise: nil) }
        guard service.askingAboutCertificate(of: pair.remote, dialled) == .yes, let domain = try? BareJID(parsing: pair.remote) else {
            return begin(dialled, nil, besides: others)
        }
        reserved = dialled.channel
        let lookup = service.lookup
        // A task, since the answer comes from another thread in its own time; it ends with the resolver's timeout.
        Task {
            let found: Result<DANE?, DNSError>
            do throws(DNSError) {
                found = .success(try await lookup.certificates(of: dialled.target, leadingTo: dialled.canonicalHost, for: domain)?.dane)
            } catch {
                found = .failure(error)
            }
            loop.loop.execute { [self] in lookedUp(found, dialled, besides: others) }
        }
    }

    private func lookedUp(_ found: Result<DANE?, DNSError>, _ dialled: Dialled, besides others: [DialTarget]) {
        guard !isDone else { return }
        reserved = nil
        switch found {
        case .success(let records):
            // Nobody was told if it has been closed meanwhile.
            guard dialled.channel.isActive else { return next(others, .network("the other server closed the connection")) }
            begin(dialled, records, besides: others)
        case .failure(let error):
            dialled.channel.close(promise: nil)
            next(others, .unproved(dialled.target, error))
        }
    }

    /// Another of its hosts may do better.
    private func next(_ others: [DialTarget], _ failure: PeerCallFailure) {
        if others.isEmpty { finish(.failure(failure)) } else { call(others) }
    }

    private func begin(_ dialled: Dialled, _ records: DANE?, besides others: [DialTarget]) {
        let connection = OutgoingPeerConnection(service, loop, pair, purpose, to: dialled.target, records, resuming: resuming)
        connection.onReady = { [self] connection in finish(.success(connection)) }
        connection.onEnd = { [self] _, failure, _ in
            self.connection = nil
            // Where this one broke off; what it said itself counts for all of its hosts.
            if failure.isOfOneHost { next(others, failure) } else { finish(.failure(failure)) }
        }
        self.connection = connection
        do {
            try Self.install(connection, on: dialled.channel)
        } catch {
            connection.onEnd = nil
            dialled.channel.close(promise: nil)
            finish(.failure(.network("\(error)")))
        }
    }

    /// From here on the connection hears what comes.
    static func install(_ connection: OutgoingPeerConnection, on channel: any Channel) throws {
        let network = connection.service.network
        try ListeningSocket.setUserTimeout(network.tcpUserTimeout, on: channel)
        try channel.syncOptions?.setOption(.recvAllocator, value: ReceiveBuffers(bytes: network.receiveBytes))
        try channel.pipeline.syncOperations.addHandler(connection)
        try channel.syncOptions?.setOption(.autoRead, value: true)
    }

    private func finish(_ result: Result<OutgoingPeerConnection, PeerCallFailure>) {
        guard !isDone else { return }
        isDone = true
        timer?.cancel()
        dial?.cancel()
        reserved?.close(promise: nil)
        if case .failure = result, let connection {
            connection.onEnd = nil
            connection.onReady = nil
            connection.drop()
        }
        connection = nil
        if holdsPlace { calls.leave(for: party) }
        ended(result)
        loop.context.flushSoon()
    }

    /// Gives up without a word.
    func cancel() {
        guard !isDone else { return }
        isDone = true
        timer?.cancel()
        dial?.cancel()
        reserved?.close(promise: nil)
        connection?.onEnd = nil
        connection?.drop()
        connection = nil
        if holdsPlace { calls.leave(for: party) }
    }
}

extension FederationService {
    /// Whether DNS is asked about the certificate of a host.
    enum CertificateQuestion {
        case yes
        /// Beside the operator's own word that of DNS does not count.
        case decided
        /// Signatures do not prove that the host serves the domain (RFC 7673 §3.1).
        case unproved
    }

    func askingAboutCertificate(of remote: String, _ dialled: Dialled) -> CertificateQuestion {
        if proof(of: remote)?.isDecisive == true { return .decided }
        return dialled.isSecure ? .yes : .unproved
    }
}
