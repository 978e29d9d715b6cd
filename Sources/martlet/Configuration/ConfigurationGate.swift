package import NIOCore

/// When changes in a directory are looked at: when nothing has changed for a while, or at once when whoever makes them says that he has finished, by raising
/// `martletConfigVersion`. What is half done is no configuration.
package struct ConfigurationGate: Hashable, Sendable {
    /// How long nothing may change.
    package static let quietTime = TimeAmount.seconds(2)
    /// How long changes may go on before they are looked at all the same: longer than an import takes, so that nothing half done is.
    package static let patience = TimeAmount.minutes(10)

    private enum State: Hashable {
        case settled
        case waiting(since: NIODeadline, until: NIODeadline)
    }

    private var state = State.settled
    /// Of what was looked at last.
    private var version: Int64?

    package init(version: Int64? = nil) { self.version = version }

    /// When to look; `nil` if there is nothing new.
    package var due: NIODeadline? {
        guard case .waiting(_, let due) = state else { return nil }
        return due
    }

    package mutating func changed(version new: Int64?, at now: NIODeadline) {
        let since = if case .waiting(let since, _) = state { since } else { now }
        let isFinished = new.map { new in version.map { new > $0 } ?? false } ?? false
        state = .waiting(since: since, until: isFinished ? now : min(now + Self.quietTime, since + Self.patience))
    }

    /// What there is has been looked at.
    package mutating func settle(version: Int64?) {
        state = .settled
        self.version = version
    }
}
