package import MartletXMPP
import NIOConcurrencyHelpers

/// One of 4096 parts of everything that has a home, by hash of the bare JID, behind one short lock (0.1 µs where an actor's
/// hop costs 25 µs). It is also the unit that moves between nodes, later.
///
/// `@unchecked`: everything in it, the homes included, is touched with the lock held only. A `Mutex` around the state would not
/// do: what is decided about a home reaches into it from many functions, between ``lock()`` and ``unlock()``.
package final class Shard: @unchecked Sendable {
    /// Homes that nobody uses and that stay in memory, so that a burst of messages to somebody offline reads the store once.
    static let idleHomesMax = 8

    private let mutex = NIOLock()
    @exclusivity(unchecked) private var homes: [BareJID: AccountHome] = [:]
    /// With the lock held.
    var changedCredentials = RecentCredentialChanges()
    /// Oldest first.
    private var idle: [BareJID] = []
    /// Addresses of services that are in use.
    @exclusivity(unchecked) private var serviceHomes: [BareJID: any ServiceHome] = [:]
    private var idleServiceHomes: [BareJID] = []
    /// Who wants to hear of the presence of addresses whose home is here, whether they are in memory or not. With the lock held.
    @exclusivity(unchecked) var watchedPresences: [BareJID: [ChangedPresences]] = [:]
    /// What is asked in the name of addresses whose home is here. With the lock held.
    var awaited = AwaitedAnswers()

    @inline(__always) func lock() { mutex.lock() }
    @inline(__always) func unlock() { mutex.unlock() }
    @inline(__always) package func withLock<Result>(_ body: () -> Result) -> Result {
        mutex.lock()
        defer { mutex.unlock() }
        return body()
    }

    /// The account's home if it is in memory, in whatever stage. Call with the lock held.
    func home(_ address: BareJID) -> AccountHome? { homes[address] }

    /// A new home in stage `loading`. Call with the lock held, when there is none.
    func makeHome(_ address: BareJID) -> AccountHome {
        let home = AccountHome(address, shard: self)
        homes[address] = home
        return home
    }

    /// Forgets a home. Call with the lock held.
    func drop(_ home: AccountHome) {
        if homes[home.address] === home { homes[home.address] = nil }
        idle.removeAll { $0 == home.address }
    }

    /// Called with the lock held when a home may have become idle: the oldest idle ones leave memory, but none whose writes
    /// are not settled, because what the store would read for it is still behind.
    func noteIdle(_ home: AccountHome, settled: CommitTicket) {
        guard home.sessions.isEmpty, homes[home.address] === home else { return }
        idle.removeAll { $0 == home.address }
        idle.append(home.address)
        while idle.count > Self.idleHomesMax, let index = idle.firstIndex(where: { isEvictable($0, settled) }) {
            homes[idle.remove(at: index)] = nil
        }
    }

    /// A home is no longer idle. Call with the lock held.
    func noteUse(_ home: AccountHome) { idle.removeAll { $0 == home.address } }

    private func isEvictable(_ address: BareJID, _ settled: CommitTicket) -> Bool {
        guard let home = homes[address] else { return true }
        return home.sessions.isEmpty && home.parked.isEmpty && home.offline.held.isEmpty && home.tellings.isEmpty && home.stage != .loading
            && !home.offline.isStoringDue && home.openViews.isEmpty && !awaited.isAsking(address)
            && home.lastTicket <= settled
    }

    /// The account, if its state is in memory, to decide by it. Call with the lock held.
    package func residentAccount(_ address: BareJID) -> AccountHome? { homes[address].flatMap { $0.isResident ? $0 : nil } }

    // MARK: Services

    /// The home of a service's address, if it is in memory. Call with the lock held.
    package func serviceHome(_ address: BareJID) -> (any ServiceHome)? { serviceHomes[address] }

    /// Call with the lock held, when there is none.
    package func insert(_ home: any ServiceHome) { serviceHomes[home.address] = home }

    /// Forgets a home. Call with the lock held.
    package func remove(_ home: any ServiceHome) {
        if serviceHomes[home.address] === home { serviceHomes[home.address] = nil }
        idleServiceHomes.removeAll { $0 == home.address }
    }

    /// Called with the lock held when a home may have become idle: the oldest idle ones leave memory.
    package func noteIdle(_ home: any ServiceHome, settled: CommitTicket) {
        guard serviceHomes[home.address] === home else { return }
        idleServiceHomes.removeAll { $0 == home.address }
        idleServiceHomes.append(home.address)
        while idleServiceHomes.count > Self.idleHomesMax, let index = idleServiceHomes.firstIndex(where: { serviceHomes[$0]?.isIdle(settled: settled) ?? true }) {
            serviceHomes[idleServiceHomes.remove(at: index)] = nil
        }
    }

    /// A home is no longer idle. Call with the lock held.
    package func noteUse(_ home: any ServiceHome) { idleServiceHomes.removeAll { $0 == home.address } }

    /// Every home of services. Call with the lock held; for administration only.
    package func allServiceHomes() -> [any ServiceHome] { Array(serviceHomes.values) }

    /// Everybody in this shard who has sessions. Call with the lock held; for administration only.
    func occupied() -> [AccountHome] { homes.values.filter { !$0.sessions.isEmpty } }
}

/// Who is home of a bare JID. On a single node always a shard of this process (`cluster.md` §5).
package final class Placement: Sendable {
    package static let shardCount = 4096
    private let shards: [Shard]

    package init() { shards = (0..<Self.shardCount).map { _ in Shard() } }

    package enum Home { case here(Shard) }

    package func home(of address: BareJID) -> Home { .here(shard(of: address)) }

    func shard(of address: BareJID) -> Shard { shards[Int(address.shardHash & UInt32(Self.shardCount - 1))] }

    func shard(at index: Int) -> Shard { shards[index] }

    /// For administration only.
    package func forEachShard(_ body: (Shard) -> Void) { shards.forEach(body) }
}
