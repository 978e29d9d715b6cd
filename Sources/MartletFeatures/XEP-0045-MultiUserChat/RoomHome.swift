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
    var room: Room?
    /// Somebody has entered since it was read: a room that is not to stay goes when he leaves, and not because somebody asks about it.
    var wasOccupied = false
    var parked: [Arrival] = []
    var parkedBytes = 0
    /// What waits for the disk, and what must not be told before it.
    var tellings: [Telling] = []
    var lastTicket = CommitTicket.none

    struct Telling {
        let ticket: CommitTicket
        let actions: [RoomEffects.Action]
        let arrival: Arrival?
    }

    init(_ address: BareJID, shard: Shard) {
        self.address = address
        self.shard = shard
    }

    func isIdle(settled: CommitTicket) -> Bool {
        room?.occupants.isEmpty != false && parked.isEmpty && tellings.isEmpty && lastTicket <= settled && stage == .ready
    }
}
