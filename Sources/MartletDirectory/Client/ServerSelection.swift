package import NIOCore

/// Which of the directory's servers is asked: the first that is well. Pure; the order is the operator's.
///
/// A server that cannot be reached is left alone for a while, twice as long after each failure. One that can, but does not answer, is as good as gone after
/// so many timeouts in a row (a circuit breaker): everybody is refused at once instead of waiting. After the rest one attempt is made (half-open).
package struct ServerSelection: Sendable {
    package struct Settings: Hashable, Sendable {
        /// Timeouts in a row after which a server is left alone.
        package var timeoutsMax = 3
        /// For how long it is, then.
        package var openTime = TimeAmount.seconds(10)
        /// After the first failure to reach it.
        package var restMin = TimeAmount.seconds(1)
        /// After many: one that is back is used again so soon.
        package var restMax = TimeAmount.seconds(30)
        /// For how long the one attempt may take before another is made.
        package var attemptTimeout = TimeAmount.seconds(10)

        package init() {}
    }

    private enum Health: Hashable, Sendable {
        case well(timeouts: Int)
        case resting(until: NIODeadline, failures: Int)
        /// Somebody looks whether it is back.
        case attempted(until: NIODeadline, failures: Int)
    }

    package let settings: Settings
    private var health: [Health]

    package init(servers: Int, _ settings: Settings = Settings()) {
        precondition(servers > 0, "a directory has a server")
        self.settings = settings
        health = Array(repeating: .well(timeouts: 0), count: servers)
    }

    package var servers: Range<Int> { health.indices }

    /// Whether nothing is known against the server.
    package func isWell(_ server: Int) -> Bool { if case .well = health[server] { true } else { false } }

    /// Whether it may be connected to now. Who is let in has to say what came of it.
    package mutating func admits(_ server: Int, at now: NIODeadline) -> Bool {
        switch health[server] {
        case .well: return true
        case .resting(let until, let failures), .attempted(let until, let failures):
            guard now >= until else { return false }
            health[server] = .attempted(until: now + settings.attemptTimeout, failures: failures)
            return true
        }
    }

    /// It has answered: an operation, not only the system's handshake, which a program that hangs still makes.
    package mutating func answered(_ server: Int) { health[server] = .well(timeouts: 0) }

    /// It could not be reached, or what it says is not to be believed.
    ///
    /// - Parameter jitter: from 0 to 1: up to a half less, so that not all nodes come back at once.
    package mutating func failed(_ server: Int, at now: NIODeadline, jitter: Double) {
        let failures: Int
        switch health[server] {
        case .well: failures = 1
        case .attempted(_, let before): failures = before + 1
        // Said by who was let in before that.
        case .resting: return
        }
        let doubled = failures > 16 ? settings.restMax.nanoseconds : min(settings.restMin.nanoseconds << Int64(failures - 1), settings.restMax.nanoseconds)
        let rest = TimeAmount.nanoseconds(doubled - Int64(Double(doubled / 2) * jitter))
        health[server] = .resting(until: now + rest, failures: failures)
    }

    /// It does not let us in, which more attempts do not change: they may lock the account.
    package mutating func refused(_ server: Int, at now: NIODeadline) { health[server] = .resting(until: now + settings.restMax, failures: 1) }

    /// It has not answered in time.
    ///
    /// - Returns: whether it is left alone, so that a connection to it is of no use any more.
    package mutating func timedOut(_ server: Int, at now: NIODeadline) -> Bool {
        switch health[server] {
        case .well(let timeouts) where timeouts + 1 < settings.timeoutsMax:
            health[server] = .well(timeouts: timeouts + 1)
            return false
        case .well:
            health[server] = .resting(until: now + settings.openTime, failures: 1)
            return true
        case .attempted(_, let failures):
            health[server] = .resting(until: now + settings.openTime, failures: failures + 1)
            return true
        case .resting: return true
        }
    }
}
