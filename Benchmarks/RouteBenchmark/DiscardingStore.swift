import MartletCore
import MartletXMPP
import NIOCore
import Synchronization

/// A store that settles the messages it is given when it is told to, and keeps none of them: what is measured is the way to the store.
///
/// Everything else goes to a store in memory. Its writes are settled when they are submitted, hence the ticket for nothing.
final class DiscardingStore: Store {
    private let accounts: InMemoryStore
    private let issued = Atomic<UInt64>(0)
    private let settledSequence = Atomic<UInt64>(0)
    private let expected = Atomic<UInt64>(0)
    private let handlers = Mutex<[@Sendable () -> Void]>([])

    init(accounts: InMemoryStore) { self.accounts = accounts }

    /// What was submitted is on disk.
    func commit() {
        let before = settledSequence.exchange(issued.load(ordering: .relaxed), ordering: .relaxed)
        guard expected.load(ordering: .relaxed) > before else { return }
        for handler in handlers.withLock({ $0 }) { handler() }
    }

    /// Messages that were submitted.
    var messageCount: Int { Int(issued.load(ordering: .relaxed)) }

    func submit(_ writes: [Write]) -> CommitTicket {
        guard case .log? = writes.first else {
            accounts.submit(writes)
            return .none
        }
        return CommitTicket(sequence: issued.add(1, ordering: .relaxed).newValue)
    }
    func submit(_ writes: [Write], _ done: @escaping @Sendable (Result<Void, StoreError>) -> Void) { accounts.submit(writes, done) }
    var settled: CommitTicket { CommitTicket(sequence: settledSequence.load(ordering: .relaxed)) }
    func outcome(of ticket: CommitTicket) -> Result<Void, StoreError> { .success(()) }
    func onSettled(_ handler: @escaping @Sendable () -> Void) { handlers.withLock { $0.append(handler) } }
    func expectSettlement(of ticket: CommitTicket) { _ = expected.max(ticket.sequence, ordering: .relaxed) }

    func loadAccount(_ address: BareJID, _ done: @escaping @Sendable (Result<StoredAccount?, StoreError>) -> Void) {
        accounts.loadAccount(address, done)
    }
    func messages(of account: AccountID, after: UInt64, limit: Int, _ done: @escaping @Sendable (Result<[LoggedMessage], StoreError>) -> Void) {
        accounts.messages(of: account, after: after, limit: limit, done)
    }
    func queues() async throws(StoreError) -> [StoredQueue] { [] }
    func handled(on stream: UInt64, of account: AccountID, _ done: @escaping @Sendable (Result<UInt32?, StoreError>) -> Void) {
        accounts.handled(on: stream, of: account, done)
    }
    func loadRoom(_ address: BareJID, history: Int, _ done: @escaping @Sendable (Result<StoredRoom?, StoreError>) -> Void) {
        accounts.loadRoom(address, history: history, done)
    }
    func rooms(_ request: RoomListRequest) async throws(StoreError) -> RoomPage { RoomPage(rooms: [], isComplete: true) }
    func roomCount(domain: String, isPublic: Bool?) async throws(StoreError) -> Int { 0 }
    func archive(of account: AccountID, _ request: ArchiveRequest) async throws(StoreError) -> ArchivePage? { nil }
    func archiveEnds(of account: AccountID) async throws(StoreError) -> ArchiveEnds? { nil }
    func loadGrantors(to account: BareJID, _ done: @escaping @Sendable (Result<Set<BareJID>, StoreError>) -> Void) {
        accounts.loadGrantors(to: account, done)
    }
    func invitation(_ key: InvitationKey) async throws(StoreError) -> StoredInvitation? { nil }
    func invitation(reserving address: BareJID, now: Int64) async throws(StoreError) -> StoredInvitation? { nil }
    func invitations(domain: String?, after: InvitationKey?, limit: Int) async throws(StoreError) -> [StoredInvitation] { [] }
    func loadNodes(of owner: NodeOwner, _ done: @escaping @Sendable (Result<[StoredNode], StoreError>) -> Void) {
        accounts.loadNodes(of: owner, done)
    }
    func loadMarks(of node: NodeID, _ done: @escaping @Sendable (Result<[NodeItemMark], StoreError>) -> Void) { accounts.loadMarks(of: node, done) }
    func items(of node: NodeID, _ request: NodeItemsRequest) async throws(StoreError) -> [NodeItem] { [] }
    func items(of node: NodeID, named names: [String]) async throws(StoreError) -> [NodeItem] { [] }
    func loadLastItems(of nodes: [NodeID], _ done: @escaping @Sendable (Result<[NodeID: NodeItem], StoreError>) -> Void) {
        accounts.loadLastItems(of: nodes, done)
    }
    func upload(named name: String) async throws(StoreError) -> StoredUpload? { nil }
    func uploads(of account: AccountID?, after: String, limit: Int) async throws(StoreError) -> [StoredUpload] { [] }
    func uploadOwners() async throws(StoreError) -> [AccountID] { [] }
    func uploadUsage(of scope: UploadScope, now: Int64, since: Int64) async throws(StoreError) -> UploadUsage { UploadUsage() }
    func cards(_ search: CardSearch) async throws(StoreError) -> [FoundCard] { [] }
    func reports(before: Int64?, limit: Int) async throws(StoreError) -> [StoredReport] { [] }
    func report(_ id: Int64) async throws(StoreError) -> StoredReport? { nil }
    func devices(of account: AccountID) async throws(StoreError) -> [StoredDevice] { [] }
    func device(_ id: DeviceID, of account: AccountID) async throws(StoreError) -> StoredDevice? { nil }
    func linkedAccounts(after: BareJID?, limit: Int) async throws(StoreError) -> [LinkedAccount] { [] }
    func directoryLink(of account: BareJID) async throws(StoreError) -> DirectoryLink? { nil }
    func rosterNotes(domain: String, after: UInt64, limit: Int) async throws(StoreError) -> [RosterNote] { [] }
    func rosterNotes(of account: BareJID) async throws(StoreError) -> [RosterNote] { [] }
    func rosterNoteCount(domain: String) async throws(StoreError) -> Int { 0 }
    func onRosterNote(_ handler: @escaping @Sendable () -> Void) {}
    func certificates(of account: AccountID) async throws(StoreError) -> [AccountCertificate] { [] }
    func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) async throws(StoreError) -> [BareJID] { [] }
    func sharedLists() async throws(StoreError) -> [StoredSharedList] { [] }
    func document(_ account: AccountID, _ key: DocumentKey) async throws(StoreError) -> ByteBuffer? { nil }
    func credentials(of address: BareJID) async throws(StoreError) -> StoredIdentity? { nil }
    func credentials(of address: BareJID, with device: DeviceID) async throws(StoreError) -> (identity: StoredIdentity?, device: StoredDevice?) { (nil, nil) }
    func accounts(domain: String?, after: BareJID?, limit: Int) async throws(StoreError) -> [AccountSummary] { [] }
    func latestMessages(limit: Int) async throws(StoreError) -> [LoggedMessage] { [] }
    func idCeiling() async throws(StoreError) -> UInt64 { 0 }
}
