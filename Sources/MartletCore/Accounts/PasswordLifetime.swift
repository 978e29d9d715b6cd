internal import Synchronization

/// For how long passwords are good after they were set. One for the server; a reload changes it.
package final class PasswordLifetime: Sendable {
    private let time: any TimeSource
    // Read once for each log-in, from whatever thread.
    private let milliseconds: Atomic<Int64>

    /// - Parameter milliseconds: 0: for ever.
    package init(milliseconds: Int64, time: any TimeSource) {
        self.time = time
        self.milliseconds = Atomic(milliseconds)
    }

    package func set(milliseconds: Int64) { self.milliseconds.store(milliseconds, ordering: .relaxed) }

    /// Whether passwords have an end.
    package var isLimited: Bool { milliseconds.load(ordering: .relaxed) > 0 }

    /// Until when one is good that was set at a time, both in milliseconds since 1970; `nil`: for ever.
    package func end(ofPasswordSetAt time: Int64) -> Int64? {
        let lifetime = milliseconds.load(ordering: .relaxed)
        guard lifetime > 0 else { return nil }
        let (end, overflows) = time.addingReportingOverflow(lifetime)
        return overflows ? nil : end
    }

    package func isOver(_ identity: StoredIdentity) -> Bool { isOver(passwordSetAt: identity.passwordSet) }

    package func isOver(passwordSetAt set: Int64) -> Bool { end(ofPasswordSetAt: set).map { $0 <= time.wallMilliseconds } ?? false }
}
