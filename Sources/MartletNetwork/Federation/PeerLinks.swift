import MartletCore
import MartletXMPP
import NIOCore

/// What the service knows of each pair of a domain here and one of another server. A value behind the service's lock, which is held for
/// look-ups and counts; on the way of every stanza to another server that is 0.1 µs.
struct PeerLinks {
    /// What waits in a link, and where.
    struct Entry {
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
    /// A server that could not be reached lately is left alone until a moment.
    struct Rest {
        var until: NIODeadline
        var failure: PeerCallFailure
        /// In a row, since the operator has had them forgotten.
        var failures: Int

        mutating func forget() { (until, failures) = (.uptimeNanoseconds(0), 0) }
    }
    /// What a server was not told that could not be reached: that somebody has left.
    struct Farewell {
        let stanza: EncodedStanza
        let from: BareJID
        let to: BareJID
    }

    var router: Router?
    var pool: LoopPool?
    var entries: [DomainPair: Entry] = [:]
    var rests: [DomainPair: Rest] = [:]
    /// With whom there has been a stream: what happens to them matters to somebody here.
    private(set) var known: Set<DomainPair> = []
    /// By sender and recipient.
    private var farewells: [DomainPair: [String: Farewell]] = [:]
    /// In all links.
    var bytes = 0
    private var turn = 0

    /// Most failures that are remembered, and most servers that there has been a stream with.
    static let restsMax = 10_000
    /// Most farewells that are kept for one pair of domains: 1 000. Of further ones the other server does not hear; it is told who is there when it
    /// is back (``Router/peerReturned(_:to:_:)``), and takes others for gone.
    static let farewellsMax = 1_000

    var servingRouter: Router {
        guard let router else { preconditionFailure("streams before the service has begun") }
        return router
    }

    // MARK: Links

    /// - Parameters:
    ///   - sender: for a new link: who wants it first.
    ///   - cursor: for a new link: what the log has up to here was handed over before. Everything so far, if `nil`.
    /// - Returns: `nil` before the service has begun.
    mutating func link(for pair: DomainPair, of service: FederationService, by sender: BareJID? = nil, cursor: UInt64? = nil) -> PeerLink? {
        if let entry = entries[pair] { return entry.link }
        guard let loops = pool?.loops, !loops.isEmpty else { return nil }
        turn = (turn + 1) % loops.count
        return newLink(for: pair, of: service, on: loops[turn], by: sender, cursor: cursor)
    }

    mutating func newLink(
        for pair: DomainPair, of service: FederationService, on loop: NetworkLoop, by sender: BareJID? = nil, cursor: UInt64? = nil
    ) -> PeerLink {
        let used = servingRouter.ids.used
        let link = PeerLink(pair, service, on: loop, by: sender, cursor: cursor ?? used)
        entries[pair] = Entry(link: link, lastView: used)
        return link
    }

    /// Changes the entry of a link, unless another has taken its place.
    mutating func change(_ link: PeerLink, _ change: (inout Entry) -> Void) {
        guard var entry = entries[link.pair], entry.link === link else { return }
        change(&entry)
        entries[link.pair] = entry
    }

    // MARK: Who has been there

    mutating func know(_ pair: DomainPair) { if known.count < Self.restsMax { known.insert(pair) } }

    mutating func forget(_ pair: DomainPair) {
        known.remove(pair)
        farewells[pair] = nil
    }

    mutating func keepFarewell(_ farewell: Farewell, key: String, _ pair: DomainPair) {
        guard known.contains(pair), farewells[pair]?.count ?? 0 < Self.farewellsMax else { return }
        farewells[pair, default: [:]][key] = farewell
    }

    /// The server may be called again at once. One that there has been a stream with is still to be told then what it has missed.
    mutating func forgetFailures(_ pair: DomainPair) {
        if known.contains(pair) { rests[pair]?.forget() } else { rests[pair] = nil }
    }

    mutating func takeFarewells(_ pair: DomainPair) -> [Farewell] { farewells.removeValue(forKey: pair).map { Array($0.values) } ?? [] }
}
