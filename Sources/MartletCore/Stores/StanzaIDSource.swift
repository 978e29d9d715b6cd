import Synchronization

/// Gives the names that accounts give to messages: they sort by time, also across restarts and clock jumps, never repeat, and cannot be
/// guessed (XEP-0313 §3, XEP-0359 §3).
///
/// A name is `milliseconds since 1970 << 20` and ``beginBits`` random bits, or goes on from the account's last one, where that is greater, by
/// a step of ``stepBits`` random bits. No name is given at or above a ceiling that is on disk; after a restart names begin at the ceiling. So a
/// name whose message was lost in a crash is never given again (`reliability.md`, P20). When a message came can be read from its name; those
/// who see the name see the message.
package final class StanzaIDSource: Sendable {
    /// Half of what there is below a millisecond: there is room for further names.
    static let beginBits: UInt64 = 19
    /// Of messages that come at once. After some thirty in one millisecond an account's names run ahead of the clock, which they may.
    static let stepBits: UInt64 = 16
    /// How far ahead the ceiling is reserved, in milliseconds.
    package static let reservationMilliseconds: UInt64 = 600_000

    private let floor: UInt64
    private let ceiling: Atomic<UInt64>
    /// The latest millisecond that a name began with.
    private let latest = Atomic<UInt64>(0)
    /// Nobody knows the secret, so nobody knows what it makes of a count.
    private let secret: UInt64
    private let count = Atomic<UInt64>(0)
    /// The bits of a name below its millisecond.
    package static let countMask: UInt64 = (1 << 20) - 1

    /// - Parameters:
    ///   - floor: the ceiling found on disk at start.
    ///   - secret: that nobody can guess; makes the random bits.
    package init(floor: UInt64, secret: UInt64 = .random(in: .min ... .max)) {
        self.floor = floor
        self.secret = secret
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
        let end = ceiling.load(ordering: .relaxed) &- (1 << 20)
        let now = min(max(UInt64(clamping: wallMilliseconds) << 20, floor), end)
        let name = now > last ? now | random(Self.beginBits) : step(after: last, before: end)
        if name & ~Self.countMask > latest.load(ordering: .relaxed) { _ = latest.max(name & ~Self.countMask, ordering: .relaxed) }
        return name
    }

    /// What is left before the ceiling is for counting.
    private func step(after last: UInt64, before end: UInt64) -> UInt64 {
        let name = last + 1 + random(Self.stepBits)
        return name < end ? name : last + 1
    }

    /// From SipHash, which is what `Hasher` is: a tenth of the time that the system takes for a random number.
    private func random(_ bits: UInt64) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(secret)
        hasher.combine(count.wrappingAdd(1, ordering: .relaxed).oldValue)
        return UInt64(truncatingIfNeeded: hasher.finalize()) & ((1 << bits) - 1)
    }
}
