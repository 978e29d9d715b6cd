import Synchronization

/// How many rooms are in memory, and how many occupants are in them. Counted as they come and go, and read from anywhere.
package final class RoomCounters: Sendable {
    private let roomCount = Atomic<Int>(0)
    private let occupantCount = Atomic<Int>(0)

    package init() {}

    package var rooms: Int { roomCount.load(ordering: .relaxed) }
    package var occupants: Int { occupantCount.load(ordering: .relaxed) }

    fileprivate func add(rooms: Int, occupants: Int) {
        if rooms != 0 { roomCount.wrappingAdd(rooms, ordering: .relaxed) }
        if occupants != 0 { occupantCount.wrappingAdd(occupants, ordering: .relaxed) }
    }
}

/// What one room counts for. It takes that back when its home leaves memory.
struct RoomTally: ~Copyable {
    private let counters: RoomCounters
    private var isThere = false
    private var occupants = 0

    init(_ counters: RoomCounters) { self.counters = counters }

    /// Two comparisons where nothing has changed, as with most stanzas.
    mutating func count(isThere: Bool, occupants: Int) {
        guard isThere != self.isThere || occupants != self.occupants else { return }
        counters.add(rooms: (isThere ? 1 : 0) - (self.isThere ? 1 : 0), occupants: occupants - self.occupants)
        (self.isThere, self.occupants) = (isThere, occupants)
    }

    deinit { counters.add(rooms: isThere ? -1 : 0, occupants: -occupants) }
}

extension RoomEffects.Action {
    /// How many sessions it gives something to, and how much: for the metrics.
    var deliveryCount: Int {
        switch self {
        case .send, .deliver, .notify, .pass: 1
        case .sendAll(let stanzas, _): stanzas.count
        case .multicast(_, let audience): audience.count
        case .answer, .refuse: 0
        }
    }
}
