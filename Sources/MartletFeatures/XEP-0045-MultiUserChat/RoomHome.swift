import MartletCore
import MartletXMPP

/// A room that is in use, in its shard: what waits while it is read, and what is told once it is on disk.
///
/// `@unchecked`: touched with its shard's lock held only.
final class RoomHome: ServiceHome, @unchecked Sendable {
    enum Stage {
        /// It is being read; arrivals wait. A room that is in memory already was ahead of the disk.
        case reading
        case ready
    }
    let address: BareJID
    unowned let shard: Shard
    var stage = Stage.reading
    var room: Room? {
        didSet {
            let occupants = room?.occupants.count ?? 0
            if occupants > 0 { wasOccupied = true }
            tally.count(isThere: room != nil, occupants: occupants)
        }
    }
    /// Somebody has entered since it was read, or is about to enter a new one: a room that is not to stay goes when he leaves, and not because
    /// somebody asks about it.
    private(set) var wasOccupied = false
    var parked: [Arrival] = []
    var parkedBytes = 0
    /// What operators want of it, while it is read.
    var orders: [WaitingOrder] = []
    private var tally: RoomTally
    /// What waits for the disk, and what must not be told before it.
    var tellings: [Telling] = []
    var lastTicket = CommitTicket.none
    /// The last of the messages that were taken back are being looked up in the archive: whoever reads that waits for it.
    var burial: Task<Void, Never>?

    struct Telling {
        let ticket: CommitTicket
        let actions: [RoomEffects.Action]
        let arrival: Arrival?
        let audits: [AuditEvent]
    }

    init(_ address: BareJID, shard: Shard, _ counters: RoomCounters) {
        self.address = address
        tally = RoomTally(counters)
        self.shard = shard
    }

    /// Whether somebody waits for it to be read.
    var isAwaited: Bool { !parked.isEmpty || !orders.isEmpty }

    /// Somebody creates it, in order to enter.
    func willBeEntered() { wasOccupied = true }

    func isIdle(settled: CommitTicket) -> Bool {
        room?.occupants.isEmpty != false && !isAwaited && tellings.isEmpty && lastTicket <= settled && stage == .ready
    }
}
