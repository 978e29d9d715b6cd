package import NIOCore

/// Which addresses of a host are tried when, and which connection is taken: happy eyeballs (RFC 8305). Pure: what has happened goes in,
/// what is to be done comes out.
///
/// IPv6 comes first and the families take turns. While an attempt is under way the next begins after a delay, or at once when it fails. The
/// first connection is the one; the other attempts are given up.
package struct DialRace: Sendable {
    package struct Settings: Hashable, Sendable {
        /// How long IPv4 waits for IPv6 addresses that are still being looked up (RFC 8305 §3).
        package var resolutionDelay = TimeAmount.milliseconds(50)
        /// From one attempt to the next, unless the first fails before (RFC 8305 §5).
        package var attemptDelay = TimeAmount.milliseconds(250)
        /// Addresses of a family that are tried; others are as if they were not there.
        package var addressesMax = 4

        package init() {}
    }

    package enum Family: Hashable, Sendable { case ipv4, ipv6 }

    package enum Event: Hashable, Sendable {
        /// A family's addresses are known, once for each; there may be none.
        case found(Family, [NetworkAddress])
        case failed(NetworkAddress)
        case connected(NetworkAddress)
        /// The one timer has run out.
        case timer
        /// The time for all of it is over.
        case deadline
    }

    package enum Action: Hashable, Sendable {
        case connect(NetworkAddress)
        /// Runs instead of the one that is running.
        case startTimer(TimeAmount)
        case abandon(NetworkAddress)
        /// This connection is taken. Nothing comes after that, but ``abandon(_:)`` of another that is there too late.
        case win(NetworkAddress)
        /// There is none. Nothing comes after that.
        case lose
    }

    private enum Phase {
        /// Nothing has been tried.
        case resolving
        /// IPv4 addresses are there; the timer runs for the others.
        case holdingBack
        /// The timer runs until the next may begin.
        case racing
        /// The next may begin, and there is none yet.
        case idle
        case over
    }

    private let settings: Settings
    private var phase = Phase.resolving
    private var sought: Set<Family> = [.ipv4, .ipv6]
    private var queues: [Family: [NetworkAddress]] = [:]
    private var known: Set<NetworkAddress> = []
    private var underWay: [NetworkAddress] = []
    private var turn = Family.ipv6

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    package mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .found(let family, let addresses): found(family, addresses)
        case .failed(let address): failed(address)
        case .connected(let address): connected(address)
        case .timer: timerRanOut()
        case .deadline: end(.lose)
        }
    }

    private mutating func found(_ family: Family, _ addresses: [NetworkAddress]) -> [Action] {
        sought.remove(family)
        // An IPv4-mapped one may have been found in both.
        queues[family] = Array(addresses.filter { known.insert($0).inserted }.prefix(settings.addressesMax))
        switch phase {
        case .resolving where family == .ipv4 && hasNext && sought.contains(.ipv6):
            phase = .holdingBack
            return [.startTimer(settings.resolutionDelay)]
        case .resolving, .holdingBack, .idle: return proceed()
        case .racing, .over: return []
        }
    }

    private mutating func failed(_ address: NetworkAddress) -> [Action] {
        guard let index = underWay.firstIndex(of: address) else { return [] }
        underWay.remove(at: index)
        return proceed()
    }

    private mutating func connected(_ address: NetworkAddress) -> [Action] {
        guard let index = underWay.firstIndex(of: address) else { return [.abandon(address)] }
        underWay.remove(at: index)
        return end(.win(address))
    }

    private mutating func timerRanOut() -> [Action] {
        switch phase {
        case .holdingBack, .racing: proceed()
        case .resolving, .idle, .over: []
        }
    }

    private mutating func end(_ action: Action) -> [Action] {
        guard phase != .over else { return [] }
        phase = .over
        defer { underWay = [] }
        return underWay.map { .abandon($0) } + [action]
    }

    // MARK: The next attempt

    private var hasNext: Bool { queues.values.contains { !$0.isEmpty } }

    /// Begins the next attempt, or waits for what may still come, or gives up.
    private mutating func proceed() -> [Action] {
        guard let address = takeNext() else {
            if underWay.isEmpty, sought.isEmpty { return end(.lose) }
            if phase != .resolving { phase = .idle }
            return []
        }
        phase = .racing
        underWay.append(address)
        return [.startTimer(settings.attemptDelay), .connect(address)]
    }

    private mutating func takeNext() -> NetworkAddress? {
        let other = turn == .ipv6 ? Family.ipv4 : .ipv6
        guard let family = [turn, other].first(where: { queues[$0]?.isEmpty == false }) else { return nil }
        turn = family == .ipv6 ? .ipv4 : .ipv6
        return queues[family]?.removeFirst()
    }
}
