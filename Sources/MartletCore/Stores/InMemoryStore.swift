internal import Dispatch
package import MartletXMPP
internal import NIOConcurrencyHelpers
package import NIOCore
internal import Synchronization

/// The reference meaning of ``Store``: what the others do, without a disk.
///
/// Tests choose when it commits, on which thread it answers, and what it refuses. A read is answered, as by every store,
/// once all that was submitted before it is settled: with ``Commits/manual`` that is after the test's next ``commit(_:)``.
package final class InMemoryStore: Store {
    /// When submitted writes are settled.
    package enum Commits: Hashable, Sendable {
        /// Within `submit`.
        case automatic
        /// By ``InMemoryStore/commit(_:)``.
        case manual
    }

    /// Where completions and handlers run. Never within a call to the store: its callers hold locks.
    package enum Callbacks: Hashable, Sendable {
        /// On a thread of the store's own, in order.
        case thread
        /// On the thread that calls ``InMemoryStore/runCallbacks()``.
        case queued
    }

    private let commits: Commits
    private let callbacks: Callbacks
    private let time: (any TimeSource)?
    private let thread = DispatchQueue(label: "martlet.store.memory")
    /// Read by loops after every burst, hence no lock.
    private let settledSequence = Atomic<UInt64>(0)
    private let state = NIOLockedValueBox(State())

    /// - Parameter time: says when accounts were created; without one that is 0.
    package init(commits: Commits = .automatic, callbacks: Callbacks = .thread, time: (any TimeSource)? = nil) {
        self.commits = commits
        self.callbacks = callbacks
        self.time = time
    }

    /// The disk of a server that has crashed: what was settled is on it, and nothing else.
    package func afterCrash() -> InMemoryStore {
        let store = InMemoryStore(commits: commits, callbacks: callbacks, time: time)
        let contents = contents
        store.state.withLockedValue { $0.contents = contents }
        return store
    }

    /// What is on disk.
    package var contents: StoreContents { state.withLockedValue { $0.contents } }

    private struct State {
        var contents = StoreContents()
        var issued: UInt64 = 0
        var queue: [Submit] = []
        var reads: [Read] = []
        var refused: [UInt64: StoreError] = [:]
        var handlers: [@Sendable () -> Void] = []
        /// Of who wants to know of notes about rosters, and the last one that they know of.
        var noteHandlers: [@Sendable () -> Void] = []
        var notedSequence: UInt64 = 0
        /// The latest ticket that somebody waits for.
        var expected: UInt64 = 0
        var submitFailure: (error: StoreError, remaining: Int)?
        var readFailure: StoreError?
        var callbacks: [@Sendable () -> Void] = []
    }

    private struct Submit {
        var sequence: UInt64
        var writes: [Write]
        var done: (@Sendable (Result<Void, StoreError>) -> Void)?
    }

    private struct Read {
        /// Answered once this is settled.
        var sequence: UInt64
        /// Gives what there is to do outside the lock.
        var answer: @Sendable (Result<StoreContents, StoreError>) -> Callback
    }

    /// What is left to do when the lock is released.
    private enum Callback {
        /// Takes locks, so it runs where ``Callbacks`` says.
        case handler(@Sendable () -> Void)
        /// Only schedules a task, so it runs at once.
        case continuation(@Sendable () -> Void)
    }

    // MARK: Writing

    @discardableResult
    package func submit(_ writes: [Write]) -> CommitTicket { enqueue(writes, nil) }

    package func submit(_ writes: [Write], _ done: @escaping @Sendable (Result<Void, StoreError>) -> Void) {
        _ = enqueue(writes, done)
    }

    private func enqueue(_ writes: [Write], _ done: (@Sendable (Result<Void, StoreError>) -> Void)?) -> CommitTicket {
        let ticket = state.withLockedValue { state in
            state.issued += 1
            state.queue.append(Submit(sequence: state.issued, writes: writes, done: done))
            return CommitTicket(sequence: state.issued)
        }
        if commits == .automatic { commit() }
        return ticket
    }

    /// Settles the oldest submits, at most `count`, as one commit.
    /// - Returns: how many it settled.
    @discardableResult
    package func commit(_ count: Int = .max) -> Int {
        var settled = 0
        let pending = state.withLockedValue { state in
            let batch = state.queue.prefix(count)
            state.queue.removeFirst(batch.count)
            settled = batch.count
            var pending = batch.compactMap { settle($0, &state) }
            pending += handlersAfter(batch.last?.sequence, &state)
            pending += noteHandlers(&state)
            pending += answers(&state)
            return pending
        }
        perform(pending)
        return settled
    }

    private func settle(_ submit: Submit, _ state: inout State) -> Callback? {
        let outcome = Result { () throws(StoreError) in
            try takeInjectedFailure(&state)
            try state.contents.apply(submit.writes, now: time?.wallMilliseconds ?? 0)
        }
        if case .failure(let error) = outcome { state.refused[submit.sequence] = error }
        if let oldest = submit.sequence.subtractingChecked(StoreContents.outcomesKept) { state.refused[oldest] = nil }
        return submit.done.map { done in .handler { done(outcome) } }
    }

    private func takeInjectedFailure(_ state: inout State) throws(StoreError) {
        guard let failure = state.submitFailure else { return }
        state.submitFailure = failure.remaining > 1 ? (failure.error, failure.remaining - 1) : nil
        throw failure.error
    }

    private func handlersAfter(_ sequence: UInt64?, _ state: inout State) -> [Callback] {
        guard let sequence else { return [] }
        let before = settledSequence.exchange(sequence, ordering: .sequentiallyConsistent)
        return state.expected > before ? state.handlers.map(Callback.handler) : []
    }

    private func noteHandlers(_ state: inout State) -> [Callback] {
        guard state.contents.rosterNotes.sequence > state.notedSequence else { return [] }
        state.notedSequence = state.contents.rosterNotes.sequence
        return state.noteHandlers.map(Callback.handler)
    }

    package func onRosterNote(_ handler: @escaping @Sendable () -> Void) {
        state.withLockedValue { $0.noteHandlers.append(handler) }
    }

    package var settled: CommitTicket { CommitTicket(sequence: settledSequence.load(ordering: .sequentiallyConsistent)) }

    package func outcome(of ticket: CommitTicket) -> Result<Void, StoreError> {
        state.withLockedValue { state in state.refused[ticket.sequence].map(Result.failure) ?? .success(()) }
    }

    package func onSettled(_ handler: @escaping @Sendable () -> Void) {
        state.withLockedValue { $0.handlers.append(handler) }
    }

    package func expectSettlement(of ticket: CommitTicket) {
        let pending: [Callback] = state.withLockedValue { state in
            state.expected = max(state.expected, ticket.sequence)
            return ticket <= settled ? state.handlers.map(Callback.handler) : []
        }
        perform(pending)
    }

    // MARK: Reading

    package func loadAccount(_ address: BareJID, _ done: @escaping @Sendable (Result<StoredAccount?, StoreError>) -> Void) {
        read({ contents throws(StoreError) in try contents[address]?.stored() }, done)
    }

    package func messages(
        of account: AccountID, after: UInt64, limit: Int, _ done: @escaping @Sendable (Result<[LoggedMessage], StoreError>) -> Void
    ) {
        read({ $0.messages(of: account, after: after, limit: limit) }, done)
    }

    package func queues() async throws(StoreError) -> [StoredQueue] {
        try await read { $0.storedQueues() }
    }

    package func handled(
        on stream: UInt64, of account: AccountID, _ done: @escaping @Sendable (Result<UInt32?, StoreError>) -> Void
    ) {
        read({ $0.handled(on: stream, of: account) }, done)
    }

    package func loadRoom(_ address: BareJID, history: Int, _ done: @escaping @Sendable (Result<StoredRoom?, StoreError>) -> Void) {
        read({ $0[room: address]?.stored(history: history) }, done)
    }

    package func rooms(_ request: RoomListRequest) async throws(StoreError) -> RoomPage {
        try await read { $0.page(request) }
    }

    package func roomCount(domain: String, isPublic: Bool?) async throws(StoreError) -> Int {
        try await read { $0.roomCount(domain: domain, isPublic: isPublic) }
    }

    package func archive(of account: AccountID, _ request: ArchiveRequest) async throws(StoreError) -> ArchivePage? {
        try await read { contents throws(StoreError) in (contents.archive(of: account) ?? StoredArchive()).page(request) }
    }

    package func archiveEnds(of account: AccountID) async throws(StoreError) -> ArchiveEnds? {
        try await read { $0.archive(of: account)?.ends }
    }

    package func loadGrantors(to account: BareJID, _ done: @escaping @Sendable (Result<Set<BareJID>, StoreError>) -> Void) {
        read({ $0.grantors(to: account) }, done)
    }

    package func loadNodes(of owner: NodeOwner, _ done: @escaping @Sendable (Result<[StoredNode], StoreError>) -> Void) {
        read({ $0.nodes.nodes(of: owner) }, done)
    }

    package func loadMarks(of node: NodeID, _ done: @escaping @Sendable (Result<[NodeItemMark], StoreError>) -> Void) {
        read({ $0.nodes.marks(of: node) }, done)
    }

    package func items(of node: NodeID, _ request: NodeItemsRequest) async throws(StoreError) -> [NodeItem] {
        try await read { $0.nodes.items(of: node, request) }
    }

    package func items(of node: NodeID, named names: [String]) async throws(StoreError) -> [NodeItem] {
        try await read { $0.nodes.items(of: node, named: names) }
    }

    package func loadLastItems(of nodes: [NodeID], _ done: @escaping @Sendable (Result<[NodeID: NodeItem], StoreError>) -> Void) {
        read({ $0.nodes.lastItems(of: nodes) }, done)
    }

    package func invitation(_ key: InvitationKey) async throws(StoreError) -> StoredInvitation? {
        try await read { $0.invitations.all[key] }
    }

    package func invitation(reserving address: BareJID, now: Int64) async throws(StoreError) -> StoredInvitation? {
        try await read { $0.invitations.reserving(address, now: now) }
    }

    package func invitations(domain: String?, after: InvitationKey?, limit: Int) async throws(StoreError) -> [StoredInvitation] {
        try await read { $0.invitations.page(domain: domain, after: after, limit: limit) }
    }

    package func upload(named name: String) async throws(StoreError) -> StoredUpload? {
        try await read { $0.uploads[name] }
    }

    package func uploads(of account: AccountID?, after: String, limit: Int) async throws(StoreError) -> [StoredUpload] {
        try await read { $0.uploads.uploads(of: account, after: after, limit: limit) }
    }

    package func uploadOwners() async throws(StoreError) -> [AccountID] {
        try await read { $0.uploads.owners }
    }

    package func uploadUsage(of scope: UploadScope, now: Int64, since: Int64) async throws(StoreError) -> UploadUsage {
        try await read { $0.uploads.usage(of: scope, now: now, since: since) }
    }

    package func cards(_ search: CardSearch) async throws(StoreError) -> [FoundCard] {
        try await read { $0.cards(search) }
    }

    package func reports(before: Int64?, limit: Int) async throws(StoreError) -> [StoredReport] {
        try await read { $0.reports.page(before: before, limit: limit) }
    }

    package func report(_ id: Int64) async throws(StoreError) -> StoredReport? {
        try await read { $0.reports[id] }
    }

    package func sharedLists() async throws(StoreError) -> [StoredSharedList] {
        try await read { Array($0.sharedLists.all.values) }
    }

    package func devices(of account: AccountID) async throws(StoreError) -> [StoredDevice] {
        try await read { $0[account]?.devices.devices ?? [] }
    }

    package func device(_ id: DeviceID, of account: AccountID) async throws(StoreError) -> StoredDevice? {
        try await read { $0[account]?.devices[id] }
    }

    package func certificates(of account: AccountID) async throws(StoreError) -> [AccountCertificate] {
        try await read { $0[account]?.certificates.all ?? [] }
    }

    package func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) async throws(StoreError) -> [BareJID] {
        try await read { $0.holders(of: certificate, domain: domain, limit: limit) }
    }

    package func document(_ account: AccountID, _ key: DocumentKey) async throws(StoreError) -> ByteBuffer? {
        try await read { $0.document(account, key) }
    }

    package func linkedAccounts(after: BareJID?, limit: Int) async throws(StoreError) -> [LinkedAccount] {
        try await read { $0.linkedAccounts(after: after, limit: limit) }
    }

    package func directoryLink(of account: BareJID) async throws(StoreError) -> DirectoryLink? {
        try await read { $0[account]?.link }
    }

    package func rosterNotes(domain: String, after: UInt64, limit: Int) async throws(StoreError) -> [RosterNote] {
        try await read { $0.rosterNotes.notes(domain: domain, after: after, limit: limit) }
    }

    package func rosterNotes(of account: BareJID) async throws(StoreError) -> [RosterNote] {
        try await read { $0.rosterNotes.notes(of: account) }
    }

    package func rosterNoteCount(domain: String) async throws(StoreError) -> Int {
        try await read { $0.rosterNotes.count(domain: domain) }
    }

    package func credentials(of address: BareJID) async throws(StoreError) -> StoredIdentity? {
        try await read { $0[address]?.identity }
    }

    package func credentials(of address: BareJID, with device: DeviceID) async throws(StoreError) -> (identity: StoredIdentity?, device: StoredDevice?) {
        try await read { ($0[address]?.identity, $0[address]?.devices[device]) }
    }

    package func accounts(domain: String?, after: BareJID?, limit: Int) async throws(StoreError) -> [AccountSummary] {
        try await read { $0.summaries(domain: domain, after: after, limit: limit) }
    }

    package func latestMessages(limit: Int) async throws(StoreError) -> [LoggedMessage] {
        try await read { $0.latestMessages(limit: limit) }
    }

    package func idCeiling() async throws(StoreError) -> UInt64 {
        try await read { $0.idCeiling }
    }

    private func read<Value: Sendable>(
        _ question: @escaping @Sendable (StoreContents) throws(StoreError) -> Value, _ done: @escaping @Sendable (Result<Value, StoreError>) -> Void
    ) {
        enqueue { contents in
            let answer = Result { () throws(StoreError) in try question(try contents.get()) }
            return .handler { done(answer) }
        }
    }

    private func read<Value: Sendable>(_ question: @escaping @Sendable (StoreContents) throws(StoreError) -> Value) async throws(StoreError) -> Value {
        let answer: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            enqueue { contents in
                let answer = Result { () throws(StoreError) in try question(try contents.get()) }
                return .continuation { continuation.resume(returning: answer) }
            }
        }
        return try answer.get()
    }

    private func enqueue(_ answer: @escaping @Sendable (Result<StoreContents, StoreError>) -> Callback) {
        let pending = state.withLockedValue { state in
            state.reads.append(Read(sequence: state.issued, answer: answer))
            return answers(&state)
        }
        perform(pending)
    }

    /// Answers the reads that wait for nothing any more.
    private func answers(_ state: inout State) -> [Callback] {
        let settled = settledSequence.load(ordering: .sequentiallyConsistent)
        let ready = state.reads.prefix { $0.sequence <= settled }
        state.reads.removeFirst(ready.count)
        let contents = state.readFailure.map(Result.failure) ?? .success(state.contents)
        return ready.map { $0.answer(contents) }
    }

    // MARK: What tests do with it

    /// Refuses the next `count` submits with `error`; `nil` accepts again.
    package func failSubmits(with error: StoreError?, next count: Int = .max) {
        state.withLockedValue { $0.submitFailure = error.map { ($0, count) } }
    }

    /// Answers every read with `error`; `nil` reads again.
    package func failReads(with error: StoreError?) {
        state.withLockedValue { $0.readFailure = error }
    }

    /// Submits that were ever taken.
    package var submitCount: Int { state.withLockedValue { Int($0.issued) } }

    /// Submits that wait for a commit.
    package var queuedSubmits: Int { state.withLockedValue { $0.queue.count } }

    /// Runs what ``Callbacks/queued`` has collected, and what that causes.
    /// - Returns: how many completions and handlers ran.
    @discardableResult
    package func runCallbacks() -> Int {
        var count = 0
        while let callback = state.withLockedValue({ $0.callbacks.isEmpty ? nil : $0.callbacks.removeFirst() }) {
            callback()
            count += 1
        }
        return count
    }

    private func perform(_ pending: [Callback]) {
        for callback in pending {
            switch (callback, callbacks) {
            case (.continuation(let resume), _): resume()
            case (.handler(let handler), .thread): thread.async(execute: handler)
            case (.handler(let handler), .queued): state.withLockedValue { $0.callbacks.append(handler) }
            }
        }
    }
}

extension UInt64 {
    fileprivate func subtractingChecked(_ other: UInt64) -> UInt64? { self > other ? self - other : nil }
}
