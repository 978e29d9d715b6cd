package import MartletXMPP
import Synchronization

/// What the server holds of an account that is in use: its sessions, presence, roster and block list.
///
/// Every decision about the account is taken here and nowhere else, under the lock of its shard: memory only, no I/O, no
/// call-outs. What comes of it is posted to mailboxes and queued for the writer under the lock, which fixes the order;
/// everything else happens after the lock was released (``LoopContext/after(_:)``). The lock is what keeps accesses exclusive: what a
/// stanza's way touches is not checked for that at run time.
package final class AccountHome {
    /// What arrives while the account is not ready waits here, in order.
    typealias Work = @Sendable (AccountHome, LoopContext) -> Void

    enum Stage {
        /// The account's state is being read from the store.
        case loading
        /// There is no such account. Remembered for a while, so that nobody can make the store look it up again and again.
        case absent
        case resident
        /// In memory, but perhaps not as it is on disk: it is being read anew. The account's sessions hear and are heard as before;
        /// what must be decided by the account's state waits.
        case stale
        /// The store could not be asked. What waited was refused; the next who asks tries again.
        case failed
    }

    package let address: BareJID
    unowned let shard: Shard
    @exclusivity(unchecked) var stage: Stage = .loading
    /// Not empty exactly while the account is being read.
    @exclusivity(unchecked) var parked = WaitingWork()
    /// Something was changed while the account was being read: what comes of that is not the last word.
    var mustBeReadAgain = false

    @exclusivity(unchecked) package internal(set) var id = AccountID(raw: 0)
    package internal(set) var isEnabled = false
    /// Was given the admin role when it was made (``AccessPolicy``).
    package internal(set) var isAdmin = false
    @exclusivity(unchecked) package var sessions: [SessionEntry] = []
    @exclusivity(unchecked) package var roster = Roster()
    @exclusivity(unchecked) package var blockList = BlockList() {
        didSet {
            for entry in sessions { entry.ref.isScreened.store(!blockList.isEmpty, ordering: .relaxed) }
        }
    }
    package var lastActivity: LastActivity?
    /// What the store has of its devices.
    var devices = NotedDevices()
    /// That was changed by others while the account was being read.
    private var isBehindOnDevices = false
    /// Some of its messages may come again (``ResentMessages``).
    @exclusivity(unchecked) var mayResend = false
    /// The highest name given to a message in this account's view.
    @exclusivity(unchecked) var lastViewID: UInt64 = 0
    @exclusivity(unchecked) var offline = OfflineQueue()
    /// Names that were given to messages of the account which are on their way to the log. In order.
    @exclusivity(unchecked) var openViews: [UInt64] = []
    /// Documents that decide about stanzas (``DocumentKey/resident``).
    @exclusivity(unchecked) package var documents = ResidentDocuments()
    /// Contacts at other servers, as far as sessions have been told that they are there.
    package var remotePresences = RemotePresences()
    /// What sessions are to be told once it is on disk, in order.
    var tellings: [(ticket: CommitTicket, Telling)] = []
    /// The last ticket of the account's writes: until it is settled, the state here is ahead of the disk.
    @exclusivity(unchecked) package internal(set) var lastTicket = CommitTicket.none

    init(_ address: BareJID, shard: Shard) {
        self.address = address
        self.shard = shard
    }

    /// Whether the account exists and its state is in memory, to decide by it.
    package var isResident: Bool { stage == .resident }
    /// Whether it is known that there is no such account.
    package var isAbsent: Bool { stage == .absent }
    /// The same, but good enough only for what its sessions are told.
    var isInMemory: Bool { stage == .resident || stage == .stale }
    package var hasAvailableSession: Bool { sessions.contains { $0.isAvailable } }

    // By index: walking over the entries would copy each of them.
    package func index(of ref: SessionRef) -> Int? { sessions.indices.first { sessions[$0].ref === ref } }
    package func index(of address: FullJID) -> Int? { sessions.indices.first { sessions[$0].address == address } }

    /// The slots of its sessions.
    var slots: SessionSlots { slots(of: SessionSet(rawValue: .max)) }
    /// The slots of some of them.
    func slots(of set: SessionSet) -> SessionSlots {
        var slots: SessionSlots = []
        for index in sessions.indices where set.contains(index: index) { slots.insert(sessions[index].slots) }
        return slots
    }

    /// Takes over what is on disk. What only memory knows, sessions and a replay that is under way, stays.
    ///
    /// - Parameters:
    ///   - usedNames: up to here names may have been given to messages of the account that were never stored.
    ///   - shared: what groups put into the roster of an account that was not in memory. Of what changes there while it is, its sessions are told
    ///     (``Router/sharingChanged(of:_:)``).
    func install(_ stored: StoredAccount, usedNames: UInt64, shared: () -> SharedRoster?) {
        let former = id == stored.id && stage == .stale ? roster : nil
        if id != stored.id { lastActivity = nil }
        // Of an account that is read anew memory knows more: who has what in hand.
        if id != stored.id || stage != .stale {
            offline.deliveries = Deliveries(cursor: stored.deliveredUpTo, count: stored.undelivered, bytes: stored.undeliveredBytes)
            offline.storedCursor = stored.deliveredUpTo
        }
        id = stored.id
        isEnabled = stored.isEnabled
        isAdmin = stored.isAdmin
        roster = Roster(stored, shared: former == nil ? shared() : nil)
        if let former { roster.keepSharing(of: former) }
        blockList = BlockList(stored.blocked)
        lastActivity = [lastActivity, stored.lastActivity].compactMap(\.self).max { $0.time < $1.time }
        lastViewID = max(lastViewID, stored.lastViewID, stage == .stale ? 0 : usedNames)
        documents = ResidentDocuments(stored.documents)
        devices = isBehindOnDevices ? NotedDevices() : NotedDevices(stored.devices)
        isBehindOnDevices = false
        stage = .resident
    }

    /// The store may have something else of its devices now, also while that is being read.
    func forgetDevices() {
        devices = NotedDevices()
        isBehindOnDevices = !parked.isEmpty
    }
}

/// What an account has not yet taken delivery of: a reader of the message log with a cursor (XEP-0160).
struct OfflineQueue {
    enum Delivery: Equatable {
        /// Nobody takes messages; new ones are added to the log.
        case idle
        /// The log is being read to `session`; what arrives meanwhile waits behind it in `held`.
        case replaying(to: SessionRef)
    }
    var delivery = Delivery.idle
    var deliveries = Deliveries()
    /// The cursor as it is on disk or on its way there.
    var storedCursor: UInt64 = 0
    /// The loop of some session will store the cursor soon.
    var isStoringDue = false
    /// Live messages that arrived during a replay.
    var held = WaitingWork()
}

/// What waits in an account's home, in order. Bounded by `HostLimits.parkedMax` and `HostLimits.parkedBytesMax`.
struct WaitingWork {
    private var items: [(work: AccountHome.Work, bytes: Int)] = []
    private var bytes = 0

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    func hasRoom(forBytes new: Int, _ limits: HostLimits?) -> Bool {
        guard let limits else { return false }
        return items.count < limits.parkedMax && bytes + new <= limits.parkedBytesMax
    }

    /// - Parameter bytes: of the stanza that the work holds.
    mutating func append(bytes: Int = 0, _ work: @escaping AccountHome.Work) {
        items.append((work, bytes))
        self.bytes += bytes
    }

    mutating func append(_ others: WaitingWork) {
        items += others.items
        bytes += others.bytes
    }

    mutating func prepend(_ others: WaitingWork) {
        items = others.items + items
        bytes += others.bytes
    }

    /// Does everything in order, as far as it goes: `body` says whether to go on.
    ///
    /// - Returns: what is left.
    consuming func run(_ body: (AccountHome.Work) -> Bool) -> WaitingWork {
        var rest = WaitingWork()
        var goesOn = true
        for item in items {
            if goesOn { goesOn = body(item.work) } else { rest.append(bytes: item.bytes, item.work) }
        }
        return rest
    }
}
