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
    /// The latest millisecond that a name began with.
    private let latest = Atomic<UInt64>(0)
    /// The bits of a name below its millisecond.
    package static let countMask: UInt64 = (1 << 20) - 1

    /// - Parameter floor: the ceiling found on disk at start.
    package init(floor: UInt64) {
        self.floor = floor
        ceiling = Atomic(floor)
    }

    /// The ceiling to write next, if it is time to: half of the reservation is used up.
    package func ceilingToReserve(wallMilliseconds: Int64) -> UInt64? {
        let now = max(UInt64(clamping: wallMilliseconds) << 20, floor, latest.load(ordering: .relaxed))
        let reservation = Self.reservationMilliseconds << 20
        guard now + reservation / 2 > ceiling.load(ordering: .relaxed) else { return nil }
        return now + reservation
    }

    /// `newCeiling` is on disk.
    package func reserved(_ newCeiling: UInt64) {
        _ = ceiling.max(newCeiling, ordering: .relaxed)
    }

    /// No name above this one was given. An account that comes back into memory begins beyond it: nobody remembers the names of
    /// messages that were delivered and not stored, and the clock may have gone back since.
    package var used: UInt64 { latest.load(ordering: .relaxed) | Self.countMask }

    /// The last name that can have been given to a message before a point in time, in milliseconds since 1970, by a clock that was right.
    package func last(before milliseconds: Int64) -> UInt64 { UInt64(clamping: min(milliseconds, Int64.max >> 20)) << 20 &- 1 }

    /// The last name that can have been given at all.
    package func last(wallMilliseconds: Int64) -> UInt64 {
        max(used, floor, UInt64(clamping: wallMilliseconds) << 20 | Self.countMask)
    }

    /// The next name in a view whose last one was `last`. Called under the account's shard lock.
    package func next(after last: UInt64, wallMilliseconds: Int64) -> UInt64 {
        let ceiling = ceiling.load(ordering: .relaxed)
        let now = min(max(UInt64(clamping: wallMilliseconds) << 20, floor), ceiling &- (1 << 20))
        let name = max(last + 1, now)
        if name & ~Self.countMask > latest.load(ordering: .relaxed) { _ = latest.max(name & ~Self.countMask, ordering: .relaxed) }
        return name
    }
}
