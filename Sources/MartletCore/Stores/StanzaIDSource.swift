import Synchronization

/// Gives the names that accounts give to messages: they sort by time, also across restarts and clock jumps, and never repeat.
///
/// A name is `milliseconds since 1970 << 20`, or the account's last one + 1 where that is greater. No name is given at or above
/// a ceiling that is on disk; after a restart names begin at the ceiling. So a name whose message was lost in a crash is
/// never given again (`reliability.md`, P20).
package final class StanzaIDSource: Sendable {
    /// How far ahead the ceiling is reserved, in milliseconds.
    package static let reservationMilliseconds: UInt64 = 600_000

    private let floor: UInt64
    private let ceiling: Atomic<UInt64>

    /// - Parameter floor: the ceiling found on disk at start.
    package init(floor: UInt64) {
        self.floor = floor
        ceiling = Atomic(floor)
    }

    /// The ceiling to write next, if it is time to: half of the reservation is used up.
    package func ceilingToReserve(wallMilliseconds: Int64) -> UInt64? {
        let now = max(UInt64(clamping: wallMilliseconds) << 20, floor)
        let reservation = Self.reservationMilliseconds << 20
        guard now + reservation / 2 > ceiling.load(ordering: .relaxed) else { return nil }
        return now + reservation
    }

    /// `newCeiling` is on disk.
    package func reserved(_ newCeiling: UInt64) {
        _ = ceiling.max(newCeiling, ordering: .relaxed)
    }

    /// The next name in a view whose last one was `last`. Called under the account's shard lock.
    package func next(after last: UInt64, wallMilliseconds: Int64) -> UInt64 {
        let ceiling = ceiling.load(ordering: .relaxed)
        let now = min(max(UInt64(clamping: wallMilliseconds) << 20, floor), ceiling &- (1 << 20))
        return max(last + 1, now)
    }
}
