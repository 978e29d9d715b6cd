/// Something that wants to be looked at when some time has passed.
package protocol DeadlineWheelMember: AnyObject {
    /// Where it hangs in the wheel; kept by the wheel.
    var wheelPlace: DeadlineWheelPlace? { get set }
}

package struct DeadlineWheelPlace: Hashable, Sendable {
    fileprivate var slot: Int
    fileprivate var index: Int
}

/// The deadlines of a loop's connections, in steps of one tick. Pure: ticks are counted by whoever turns it.
///
/// A member hangs in one slot. When its turn comes it is handed out, and hangs itself up again if it has been active meanwhile: so
/// activity costs nothing here, and there is no timer per connection. Everything is O(1) per member.
package struct DeadlineWheel<Member: DeadlineWheelMember> {
    /// A member that is due later than this many ticks ahead is looked at earlier, and hangs itself up again.
    package static var ticksMax: Int { 512 }

    private var slots: [[Member]]
    /// The last tick that was handed out.
    package private(set) var now = 0
    package private(set) var count = 0

    package init() { slots = Array(repeating: [], count: Self.ticksMax) }

    /// Hangs a member up for `tick`, or as far ahead as the wheel reaches; a past tick is the next one. It hangs nowhere before.
    package mutating func insert(_ member: Member, at tick: Int) {
        precondition(member.wheelPlace == nil, "a member hangs in one place")
        let slot = min(max(tick, now + 1), now + Self.ticksMax - 1) % Self.ticksMax
        member.wheelPlace = DeadlineWheelPlace(slot: slot, index: slots[slot].count)
        slots[slot].append(member)
        count += 1
    }

    package mutating func remove(_ member: Member) {
        guard let place = member.wheelPlace else { return }
        member.wheelPlace = nil
        count -= 1
        let last = slots[place.slot].removeLast()
        guard last !== member else { return }
        slots[place.slot][place.index] = last
        last.wheelPlace = place
    }

    /// Turns the wheel by one tick. - Returns: whoever hung there; they hang nowhere now.
    package mutating func turn() -> [Member] {
        now += 1
        let slot = now % Self.ticksMax
        let due = slots[slot]
        slots[slot] = []
        count -= due.count
        for member in due { member.wheelPlace = nil }
        return due
    }

    package var members: [Member] { slots.flatMap { $0 } }
}
