import MartletXMPP
import Synchronization

/// Where stanzas go. Shared by all loops; what it decides by is the loop's own (``LoopContext``) or behind a shard's lock.
///
/// The files beside this one hold one kind of stanza each: `MessageRouting`, `PresenceRouting`, `SubscriptionRouting`,
/// `IQRouting`; `SessionLifecycle` begins and ends sessions, `AccountLoading` brings accounts into memory.
package final class Router: Sendable {
    package let placement = Placement()
    package let store: any Store
    package let ids: StanzaIDSource
    package let remote: any RemoteDelivery
    package let audit: any AuditSink
    package let settings: RouterSettings
    package let credentials = CredentialChanges()
    /// What groups do to rosters.
    let sharing = SharingChanges()
    /// Requests of all shards that wait for an answer (``AwaitedAnswers``).
    let awaitedCount = Atomic<Int>(0)
    /// Presences that are followed by those who are not there by XMPP (``PresenceWatch``).
    let presenceWatchCount = Atomic<Int>(0)
    /// What clients may send again that was logged before the start.
    let resent: ResentMessages
    /// Whose bytes go with an account.
    let uploads: Uploads?
    /// Where requests that wait are answered; `nil` is the process's own pool. Tests run them where they want.
    package let executor: (any TaskExecutor)?
    private let sessionCount = Atomic<UInt64>(0)

    package init(
        store: any Store, ids: StanzaIDSource, remote: any RemoteDelivery, audit: any AuditSink, settings: RouterSettings = RouterSettings(),
        resent: ResentMessages = ResentMessages(), uploads: Uploads? = nil, executor: (any TaskExecutor)? = nil
    ) {
        self.resent = resent
        self.uploads = uploads
        self.executor = executor
        self.store = store
        self.ids = ids
        self.remote = ComponentsFirst(others: remote)
        self.audit = audit
        self.settings = settings
    }

    func nextSessionID() -> UInt64 { sessionCount.wrappingAdd(1, ordering: .relaxed).newValue }
}

package struct RouterSettings: Hashable, Sendable {
    /// Bytes that may wait for one client to read them; past it the session ends.
    package var outboundBytesMax = 4 * 1024 * 1024
    /// Messages read from the log at a time when an account comes back.
    package var replayPage = 100
    /// For how long a session can be resumed whose connection is lost (XEP-0198 §5); 0: not at all.
    package var resumptionSeconds = 600
    /// Stanzas that a client may leave unacknowledged, besides those that come from the message log; past it the session ends.
    package var unacknowledgedStanzasMax = 10_000
    /// The same in bytes.
    package var unacknowledgedBytesMax = 4 * 1024 * 1024
    /// What may wait for an inactive client (XEP-0352), or one without a connection; past it everything that waits is sent.
    package var held = ClientStateQueue.Limits()
    /// Whether it is remembered of devices what they and their clients are called (XEP-0494 §7).
    package var keepsDeviceNames = true
    package init() {}
}

/// Where an address leads, decided from the address alone (RFC 6120 §10.3–10.5).
enum Destination {
    case host(Host)
    case account(Host)
    case service(Host)
    case remote

    init(_ address: JID, _ context: LoopContext) {
        let bare = address.bare
        guard let host = context.hosts.host(of: bare) else {
            self = context.hosts.service(of: bare).map(Destination.service) ?? .remote
            return
        }
        self = bare.isDomain ? .host(host) : .account(host)
    }
}

extension Router {
    /// Answers a stanza with an error, once: errors and results are never answered (RFC 6120 §8.3.1).
    func bounce(_ stanza: Stanza, _ error: StanzaError, _ origin: SessionRef?, _ context: LoopContext) {
        bounce(stanza, error, origin, context) { context.post($0, to: $1) }
    }

    /// Answers a stanza that the disk refused, before any acknowledgement that counts it as handled (P19). With no lock held.
    func bounceRefused(_ stanza: Stanza, _ error: StoreError, _ origin: SessionRef?, _ context: LoopContext) {
        bounce(stanza, StanzaError(refusal: error), origin, context) { context.deliverNow($0, to: $1) }
    }

    private func bounce(
        _ stanza: Stanza, _ error: StanzaError, _ origin: SessionRef?, _ context: LoopContext, by handing: (EncodedStanza, SessionRef) -> Void
    ) {
        guard stanza.isAnswerable else { return }
        let answer = StanzaBuilder.error(error, answering: stanza)
        guard let origin else { return bounceToSender(answer, of: stanza, context) }
        handing(answer, origin)
        if case .message = stanza.kind { context.after { [self] in copyBounce(answer, of: stanza, origin, $0) } }
    }
}

extension Stanza {
    /// Whether whoever sent it is told that it did not arrive: answers are never answered, nor is what goes to everybody.
    var isAnswerable: Bool {
        switch kind {
        case .message(.error), .iq(.result), .iq(.error), .presence(.error), .presence(.unavailable), .presence(.probe): false
        // Contacts are told at their bare addresses. Who tells one session, or enters a room, wants to know.
        case .presence(.available): if case .full? = to { true } else { false }
        case .message, .iq, .presence: true
        }
    }
}
