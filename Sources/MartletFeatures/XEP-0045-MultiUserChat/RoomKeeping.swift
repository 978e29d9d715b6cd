package import MartletCore
import MartletXMPP

/// What a server does for its rooms from time to time. Once an hour archives forget what is older than their rooms want, and temporary rooms that
/// nobody has come back to go, a page of the list at a time, so that nobody waits for it; once a minute ghosts are looked for, room by room. It
/// ends early where its task is cancelled.
package struct RoomKeeping: Sendable {
    /// Rooms that are looked at together.
    package static let pageMax = 200
    /// For how long a temporary room is there that nobody enters: after a crash those who were in it find it, with what was said.
    package static let forsakenAfter = Duration.seconds(3_600)

    private let router: Router
    private let mailbox: LoopMailbox

    /// - Parameter mailbox: of the loop on which rooms are destroyed.
    package init(_ router: Router, _ mailbox: LoopMailbox) {
        self.router = router
        self.mailbox = mailbox
    }

    /// The archives of rooms that keep messages for fewer days than the server does (`muc#roomconfig_archive_days`) forget.
    ///
    /// - Parameters:
    ///   - domain: of the rooms.
    ///   - retention: the server's own; zero is for ever.
    ///   - floor: the last name of what is older than that; `nil` if there is none.
    package func cutArchives(of domain: String, keeping retention: Duration, floor: (Duration) -> UInt64?) async throws(StoreError) {
        try await forEachPage(RoomListRequest(domain: domain, limit: Self.pageMax)) { rooms throws(StoreError) in
            let floors = rooms.compactMap { room -> (room: RoomSummary, upTo: UInt64)? in
                let age = Duration.seconds(RoomConfiguration(stored: room.content).archiveDays * 86_400)
                guard age > .zero, retention == .zero || age < retention, let floor = floor(age) else { return nil }
                return (room, floor)
            }
            guard !floors.isEmpty else { return }
            try await router.store.commit(floors.map { .archiveFloor($0.room.id, upTo: $0.upTo) })
            for (room, floor) in floors { MultiUserChat.forgetHistory(of: room.address, upTo: floor, router) }
        }
    }

    /// Temporary rooms go that nobody is in.
    ///
    /// - Parameters:
    ///   - domain: of the rooms.
    ///   - time: only those that were made before, in milliseconds since 1970 (``lastCreation(wall:up:)``).
    /// - Returns: how many went.
    package func destroyForsaken(of domain: String, createdBefore time: Int64) async throws(StoreError) -> Int {
        var count = 0
        try await forEachPage(RoomListRequest(domain: domain, isPersistent: false, limit: Self.pageMax)) { rooms throws(StoreError) in
            for room in rooms where room.created < time && MultiUserChat.occupantCount(of: room.address, router) == 0 {
                if Task.isCancelled { return }
                if await destroyIfForsaken(room.address) { count += 1 }
            }
        }
        return count
    }

    /// When temporary rooms that nobody is in were made at the latest to go now; `nil` as long as those who were in them may come back.
    ///
    /// - Parameters:
    ///   - wall: milliseconds since 1970.
    ///   - up: since the start of the server.
    package static func lastCreation(wall: Int64, up: Duration) -> Int64? {
        up >= forsakenAfter ? wall - forsakenAfter.components.seconds * 1_000 : nil
    }

    /// Occupants of other servers who say nothing are asked whether they are there, and leave if they are not (``RoomLimits/pingAfter``).
    package func lookForGhosts() async {
        for address in MultiUserChat.roomsWithRemoteOccupants(router) {
            if Task.isCancelled { return }
            _ = await inRoom(address, ()) { room, moment, effects in room.lookForGhosts(moment, &effects) }
        }
    }

    /// Nobody is asked who came in the meantime: that is seen under the room's lock.
    private func destroyIfForsaken(_ address: BareJID) async -> Bool {
        await inRoom(address, false) { room, _, effects in room.destroyIfForsaken(&effects) }
    }

    /// - Parameter otherwise: what is answered where there is no such room any more.
    private func inRoom<Value: Sendable>(
        _ address: BareJID, _ otherwise: Value,
        _ work: @escaping @Sendable (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value
    ) async -> Value {
        await withCheckedContinuation { continuation in
            mailbox.run { [router] context in
                guard let rooms = context.hosts.service(of: address)?.service as? MultiUserChat else { return continuation.resume(returning: otherwise) }
                rooms.withRoom(address, router, context, work) { outcome in continuation.resume(returning: (try? outcome.get()) ?? otherwise) }
            }
        }
    }

    private func forEachPage(_ first: RoomListRequest, _ body: ([RoomSummary]) async throws(StoreError) -> Void) async throws(StoreError) {
        var request = first
        while !Task.isCancelled {
            let page = try await router.store.rooms(request)
            try await body(page.rooms)
            guard !page.isComplete, let last = page.rooms.last else { return }
            request.after = last.address
        }
    }
}

extension MultiUserChat {
    /// What new occupants are shown does not go back further than the archives of all rooms do.
    package static func forgetHistories(upTo name: UInt64, _ router: Router) {
        router.placement.forEachShard { shard in
            shard.withLock {
                for case let home as RoomHome in shard.allServiceHomes() { home.room?.history.forget(upTo: name) }
            }
        }
    }

    /// The same of one room.
    static func forgetHistory(of address: BareJID, upTo name: UInt64, _ router: Router) {
        let shard = router.shard(of: address)
        shard.withLock { (shard.serviceHome(address) as? RoomHome)?.room?.history.forget(upTo: name) }
    }
}
