package import Logging
package import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore
import NIOSSL

/// Streams to and from other servers (RFC 6120). One for the process; its connections live on the loops.
package final class FederationService: Sendable {
    // Read once per connection and call, swapped by a reload.
    private let current: NIOLockedValueBox<FederationSettings>
    let network: NetworkSettings
    let certificates: CertificateStore
    let trust: PeerTrust
    let resolver: any Resolver
    package let dialler: Dialler
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

    /// Streams to other servers, and what waits for them.
    let links = NIOLockedValueBox(PeerLinks())
    let incoming = NIOLockedValueBox<[ObjectIdentifier: NIOLoopBound<IncomingPeerConnection>]>([:])
    private let recent = NIOLockedValueBox<[String: RecentMessages]>([:])
    let resumable = ResumableStreams()
    // What was known of revoked certificates when the streams were last looked at.
    let revocationChanges = NIOLockedValueBox(0)
    private let strangerLines = NIOLockedValueBox(LineLimit())
    // Held while it is made: once.
    private let posh: NIOLockedValueBox<POSH?>

    /// Most servers whose last messages are remembered: 1 000. One more takes the place of any of them, of which a message may then arrive twice
    /// that it sends again after a crash.
    package static let recentMax = 1_000

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
        links.withLockedValue { links in
            links.router = router
            links.pool = pool
        }
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

    var router: Router { links.withLockedValue { $0.servingRouter } }

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

    /// Asks whoever is found by the name of a domain whether a key is its own (XEP-0220 §2.1.2).
    func ask(_ question: DialbackElement, on loop: NetworkLoop, _ answered: @escaping (DialbackElement.Outcome) -> Void) {
        let pair = DomainPair(remote: question.to, local: question.from)
        let link = links.withLockedValue { $0.entries[pair]?.link }
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

    /// A server that there was no stream with before could not be reached.
    ///
    /// - Returns: how many before it are not in the log; `nil` if it is not to be either.
    func countStranger(at time: Int64) -> Int? { strangerLines.withLockedValue { $0.take(at: time) } }

    /// How this server shows who it is where it calls.
    func clientTLS(for pair: DomainPair) -> NIOSSLContext? {
        let profile = settings.ownTLSProfile(of: pair.remote) ?? settings.tlsProfile
        return (certificates.certificate(of: pair.local)?.peerClients ?? CertificateStore.anonymousPeerClients)[profile]
    }
}

// MARK: Incoming

extension FederationService {
    func came(_ connection: IncomingPeerConnection) {
        let bound = NIOLoopBound(connection, eventLoop: connection.loop.loop)
        incoming.withLockedValue { $0[ObjectIdentifier(connection)] = bound }
    }

    func went(_ connection: IncomingPeerConnection) {
        incoming.withLockedValue { $0[ObjectIdentifier(connection)] = nil }
    }

    /// What a server has sent lately.
    package func recentMessages(of domain: String) -> RecentMessages {
        recent.withLockedValue { recent in
            if let messages = recent[domain] { return messages }
            if recent.count >= Self.recentMax { recent.remove(at: recent.startIndex) }
            let messages = RecentMessages()
            recent[domain] = messages
            return messages
        }
    }

    package var incomingCount: Int { incoming.withLockedValue { $0.count } }
    package var outgoingCount: Int { links.withLockedValue { $0.entries.values.count { $0.isOpen } } }
    /// Messages that are in the log for other servers.
    package var keptCount: Int { links.withLockedValue { $0.entries.values.reduce(0) { $0 + $1.keptStanzas } } }
    package var queuedBytes: Int { links.withLockedValue { $0.bytes } }
}
