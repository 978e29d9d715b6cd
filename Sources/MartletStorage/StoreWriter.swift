internal import Dispatch
internal import Logging
internal import MartletCore
internal import MartletXMPP
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Synchronization

/// The one thread that writes: takes what has arrived during the last commit as the next transaction.
///
/// Alone, a submit is committed at once. From one commit to the next ``commitInterval`` passes, so that in a steady stream of submits each
/// commit carries what has come in the meantime, under load hundreds. The state below `// On the thread only` belongs to the thread; the
/// rest is atomic or behind a lock, hence `@unchecked`.
final class StoreWriter: @unchecked Sendable {
    /// Submits that go into one transaction at most; the rest waits for the next.
    static let batchMax = 8_192
    /// From the beginning of a commit to that of the next, unless somebody of the control plane waits. A commit of one message takes some
    /// 80 µs of processor time: 3,000 messages a second with archives took 143 µs each, most of it for 1,400 commits a second.
    static let commitInterval = TimeAmount.milliseconds(2)

    struct Limits: Sendable {
        /// Submits that may wait; one more is refused.
        var submitsMax: Int
        /// Bytes of stanzas and documents that may wait.
        var bytesMax: Int
    }

    private struct Submit {
        var sequence: UInt64
        var writes: [Write]
        var bytes: Int
        var done: (@Sendable (Result<Void, StoreError>) -> Void)?
    }

    private enum Phase { case open, closing, closed }

    private struct Queue {
        var submits: [Submit] = []
        var bytes = 0
        var issued: UInt64 = 0
        /// Completions of submits that were refused without waiting.
        var refusals: [@Sendable () -> Void] = []
        var jobs: [@Sendable (StoreWriter) -> Void] = []
        var runsHandlers = false
        var phase = Phase.open
        /// Somebody waits who does so for each single submit.
        var isUrgent = false
        var threadWaits = false
        /// The thread waits until the interval has passed.
        var threadRests = false

        var cannotWait: Bool { isUrgent || runsHandlers || !refusals.isEmpty || phase != .open }
    }

    /// What the thread does between two looks at the queue.
    private struct Turn {
        var submits: [Submit]
        var settles: UInt64
        var refusals: [@Sendable () -> Void]
        var jobs: [@Sendable (StoreWriter) -> Void]
        var runsHandlers: Bool
        var isLast: Bool
    }

    private let queue = Monitor(Queue())
    private let issuedSequence = Atomic<UInt64>(0)
    private let settledSequence = Atomic<UInt64>(0)
    /// The latest ticket that somebody waits for.
    private let expectedSequence = Atomic<UInt64>(0)
    private let refused = NIOLockedValueBox<[UInt64: StoreError]>([:])
    private let hasRefused = Atomic<Bool>(false)
    private let handlers = NIOLockedValueBox<[@Sendable () -> Void]>([])
    private let noteHandlers = NIOLockedValueBox<[@Sendable () -> Void]>([])
    private let limits: Limits
    private let time: any TimeSource
    private let logger: Logger
    private let onSettled: @Sendable (UInt64) -> Void
    private let onCommit: @Sendable (Int, TimeAmount) -> Void
    private let onFatal: @Sendable (StoreError) -> Void
    private let thread = NIOLockedValueBox<WorkerThread?>(nil)

    // On the thread only.
    private let connection: any SQLConnection
    private let statements: WriteStatements
    private let index: LogIndex
    private var failure: StoreError?
    private var isFull = false
    /// Something was noted of which nobody was told yet.
    private var hasRosterNotes = false
    private var lastCommit = NIODeadline.distantPast
    /// An array whose submits are settled: the next ones to arrive find room in it.
    private var spare: [Submit] = []
    /// The last step of the index failed; it is tried again after the next commit that succeeds.
    private var indexRests = false

    /// - Parameters:
    ///   - onSettled: called on the writer's thread after each commit, before anybody hears of it.
    ///   - onCommit: called on the writer's thread after each commit that succeeded.
    ///   - onFatal: called once, on the writer's thread, before any refusal is told: what is on the disk is unknown.
    init(
        _ connection: any SQLConnection, index: LogIndex, limits: Limits, time: any TimeSource, logger: Logger,
        onSettled: @escaping @Sendable (UInt64) -> Void, onCommit: @escaping @Sendable (Int, TimeAmount) -> Void,
        onFatal: @escaping @Sendable (StoreError) -> Void
    ) throws(SQLError) {
        self.connection = connection
        self.index = index
        self.limits = limits
        self.time = time
        self.logger = logger
        self.onSettled = onSettled
        self.onCommit = onCommit
        self.onFatal = onFatal
        statements = try WriteStatements(connection, replacement: index.replacement, cards: index.cards)
    }

    func start() {
        thread.withLockedValue { $0 = WorkerThread { self.run() } }
    }

    /// Commits what is queued, ends the thread and closes the connection. Blocks.
    func close() {
        queue.withLock { if $0.phase == .open { $0.phase = .closing } }
        queue.wakeAll()
        thread.withLockedValue { thread in
            thread?.join()
            thread = nil
        }
    }

    // MARK: Callers' side

    /// Everything that was submitted before has a ticket up to this one.
    var issued: UInt64 { issuedSequence.load(ordering: .sequentiallyConsistent) }
    var settled: UInt64 { settledSequence.load(ordering: .sequentiallyConsistent) }

    var queuedSubmits: Int { queue.withLock { $0.submits.count } }

    func submit(_ writes: [Write], _ done: (@Sendable (Result<Void, StoreError>) -> Void)?) -> CommitTicket {
        let bytes = writes.reduce(0) { $0 + $1.footprint }
        let (sequence, wakes) = queue.withLock { queue in
            queue.issued += 1
            let sequence = queue.issued
            if let refusal = refusal(of: bytes, queue) {
                remember(refusal, sequence)
                if let done { refuse(done, with: refusal, &queue) }
            } else {
                queue.submits.append(Submit(sequence: sequence, writes: writes, bytes: bytes, done: done))
                queue.bytes += bytes
                if done != nil { queue.isUrgent = true }
            }
            issuedSequence.store(sequence, ordering: .sequentiallyConsistent)
            if queue.phase == .closed { settledSequence.store(sequence, ordering: .sequentiallyConsistent) }
            return (sequence, takeWaiting(&queue))
        }
        if wakes { queue.wakeAll() }
        return CommitTicket(sequence: sequence)
    }

    private func refusal(of bytes: Int, _ queue: Queue) -> StoreError? {
        guard queue.phase == .open else { return .unavailable("the store is closed") }
        guard queue.submits.count < limits.submitsMax, queue.bytes + bytes <= limits.bytesMax else {
            return .unavailable("too many writes are waiting for the disk")
        }
        return nil
    }

    private func refuse(_ done: @escaping @Sendable (Result<Void, StoreError>) -> Void, with error: StoreError, _ queue: inout Queue) {
        guard queue.phase == .closed else { return queue.refusals.append { done(.failure(error)) } }
        // The writer's thread is gone, and the caller may hold locks that `done` takes.
        DispatchQueue.global().async { done(.failure(error)) }
    }

    func outcome(of ticket: CommitTicket) -> Result<Void, StoreError> {
        guard hasRefused.load(ordering: .acquiring) else { return .success(()) }
        return refused.withLockedValue { $0[ticket.sequence].map(Result.failure) ?? .success(()) }
    }

    func addHandler(_ handler: @escaping @Sendable () -> Void) { handlers.withLockedValue { $0.append(handler) } }
    /// Of who wants to know of notes about rosters.
    func addNoteHandler(_ handler: @escaping @Sendable () -> Void) { noteHandlers.withLockedValue { $0.append(handler) } }

    /// The thread publishes what is settled and then looks at what is expected; here it is the other way round. So one of
    /// the two sees the other's.
    func expectSettlement(of ticket: CommitTicket) {
        expectedSequence.max(ticket.sequence, ordering: .sequentiallyConsistent)
        guard settled >= ticket.sequence else { return }
        let wakes = queue.withLock { queue in
            queue.runsHandlers = true
            return takeWaiting(&queue)
        }
        if wakes { queue.wakeAll() }
    }

    /// Runs `job` on the writer's thread, after what was submitted before. Not run if the store is closed.
    func perform(_ job: @escaping @Sendable (StoreWriter) -> Void) -> Bool {
        let (isAccepted, wakes) = queue.withLock { queue in
            guard queue.phase == .open else { return (false, false) }
            queue.jobs.append(job)
            queue.isUrgent = true
            return (true, takeWaiting(&queue))
        }
        if wakes { queue.wakeAll() }
        return isAccepted
    }

    private func takeWaiting(_ queue: inout Queue) -> Bool {
        let wakes = queue.threadWaits || (queue.threadRests && (queue.cannotWait || queue.submits.count >= Self.batchMax))
        if wakes { (queue.threadWaits, queue.threadRests) = (false, false) }
        return wakes
    }

    private func remember(_ error: StoreError, _ sequence: UInt64) {
        refused.withLockedValue { refused in
            refused[sequence] = error
            guard refused.count >= 2 * Int(StoreContents.outcomesKept) else { return }
            refused = refused.filter { $0.key + StoreContents.outcomesKept > sequence }
        }
        hasRefused.store(true, ordering: .releasing)
    }

    // MARK: The thread

    private func run() {
        while true {
            var turn = queue.proceed { queue, isLate in nextTurn(&queue, isLate: isLate) }
            let outcomes = commit(turn.submits)
            settle(turn, outcomes)
            turn.jobs.forEach { $0(self) }
            let isIdle = turn.submits.isEmpty
            turn.submits.removeAll(keepingCapacity: turn.submits.count <= Self.batchMax)
            spare = turn.submits
            keepHouse(isIdle: isIdle)
            if turn.isLast { break }
        }
        connection.close()
        refuseFromNowOn()
    }

    private func refuseFromNowOn() {
        let refusals = queue.withLock { queue in
            queue.phase = .closed
            settledSequence.store(queue.issued, ordering: .sequentiallyConsistent)
            defer { queue.refusals = [] }
            return queue.refusals
        }
        refusals.forEach { $0() }
    }

    private func nextTurn(_ queue: inout Queue, isLate: Bool) -> Monitor<Queue>.Step<Turn> {
        (queue.threadWaits, queue.threadRests) = (false, false)
        let count = min(queue.submits.count, Self.batchMax)
        let isComplete = count == queue.submits.count
        let turn = Turn(
            submits: isComplete ? queue.submits : Array(queue.submits.prefix(count)),
            settles: isComplete ? queue.issued : queue.submits[count - 1].sequence,
            refusals: queue.refusals, jobs: isComplete ? queue.jobs : [], runsHandlers: queue.runsHandlers,
            isLast: isComplete && queue.phase == .closing)
        let isNeeded = count > 0 || turn.settles > settled || !turn.refusals.isEmpty || !turn.jobs.isEmpty || turn.runsHandlers
            || turn.isLast || (failure == nil && !indexRests && index.hasWork)
        guard isNeeded else {
            queue.threadWaits = true
            return .wait
        }
        if !isLate, let rest = restBeforeCommit(of: count, queue) {
            queue.threadRests = true
            return .waitAtMost(rest)
        }
        if isComplete {
            queue.submits = spare
            spare = []
            queue.bytes = 0
        } else {
            queue.submits.removeFirst(count)
            queue.bytes -= turn.submits.reduce(0) { $0 + $1.bytes }
        }
        queue.refusals = []
        if isComplete { queue.jobs = [] }
        queue.runsHandlers = false
        queue.isUrgent = false
        return .give(turn)
    }

    /// How long others may still join the next commit; `nil` where nobody is to wait for them.
    private func restBeforeCommit(of count: Int, _ queue: Queue) -> TimeAmount? {
        guard count > 0, count < Self.batchMax, !queue.cannotWait, failure == nil, indexRests || !index.isDue else { return nil }
        let rest = lastCommit + Self.commitInterval - .now()
        return rest > .zero ? rest : nil
    }

    private func settle(_ turn: Turn, _ outcomes: [Result<Void, StoreError>]) {
        for (submit, outcome) in zip(turn.submits, outcomes) {
            if case .failure(let error) = outcome { remember(error, submit.sequence) }
        }
        let before = settledSequence.load(ordering: .sequentiallyConsistent)
        if turn.settles > before { settledSequence.store(turn.settles, ordering: .sequentiallyConsistent) }
        onSettled(turn.settles)
        let isExpected = turn.settles > before && expectedSequence.load(ordering: .sequentiallyConsistent) > before
        if isExpected || turn.runsHandlers { handlers.withLockedValue { $0 }.forEach { $0() } }
        if hasRosterNotes { noteHandlers.withLockedValue { $0 }.forEach { $0() } }
        hasRosterNotes = false
        for (submit, outcome) in zip(turn.submits, outcomes) { submit.done?(outcome) }
        turn.refusals.forEach { $0() }
    }

    // MARK: Committing

    private func commit(_ submits: [Submit]) -> [Result<Void, StoreError>] {
        guard !submits.isEmpty else { return [] }
        lastCommit = .now()
        let start = time.monotonic
        if let failure { return Array(repeating: .failure(failure), count: submits.count) }
        do throws(SQLError) {
            do throws(SQLError) {
                try commitTogether(submits)
                return succeeded(submits.map { _ in .success(()) }, since: start)
            } catch where error.kind == .constraint {
                return succeeded(try commitSeparately(submits), since: start)
            }
        } catch {
            let error = refuse(error)
            return Array(repeating: .failure(error), count: submits.count)
        }
    }

    private func commitTogether(_ submits: [Submit]) throws(SQLError) {
        let now = time.wallMilliseconds
        var effects = CommitEffects(lastEntry: index.lastEntry)
        try connection.transaction { () throws(SQLError) in
            for submit in submits {
                for write in submit.writes { try statements.apply(write, now: now, &effects) }
            }
        }
        take(effects)
    }

    /// One transaction as well, but what one submit is refused for does not touch the others.
    private func commitSeparately(_ submits: [Submit]) throws(SQLError) -> [Result<Void, StoreError>] {
        let now = time.wallMilliseconds
        var effects = CommitEffects(lastEntry: index.lastEntry)
        var outcomes: [Result<Void, StoreError>] = []
        try connection.transaction { () throws(SQLError) in
            for submit in submits {
                let before = effects
                try connection.execute("SAVEPOINT submit")
                do throws(SQLError) {
                    for write in submit.writes { try statements.apply(write, now: now, &effects) }
                    outcomes.append(.success(()))
                } catch where error.kind == .constraint {
                    effects = before
                    outcomes.append(.failure(.constraint(error.message)))
                    try connection.execute("ROLLBACK TO SAVEPOINT submit")
                }
                try connection.execute("RELEASE SAVEPOINT submit")
            }
        }
        take(effects)
        return outcomes
    }

    private func take(_ effects: CommitEffects) {
        index.committed(effects.postings, effects.positions, lastEntry: effects.lastEntry)
        if let floor = effects.archiveFloor { index.archiveFloorRaised(to: floor) }
        for owner in effects.movedCursors { index.cursorMoved(of: owner) }
        if effects.deletesOwners { index.ownerDeleted() }
        if effects.deletedWords > 0 { index.wordsReplaced(effects.deletedWords) }
        hasRosterNotes = hasRosterNotes || effects.hasRosterNotes
    }

    private func succeeded(_ outcomes: [Result<Void, StoreError>], since start: NIODeadline) -> [Result<Void, StoreError>] {
        onCommit(outcomes.count, time.monotonic - start)
        if isFull { logger.notice("the disk takes writes again") }
        isFull = false
        indexRests = false
        return outcomes
    }

    /// What becomes of writes that the database did not take, and what the operator hears.
    private func refuse(_ error: SQLError) -> StoreError {
        let refusal = StoreError(error)
        switch error.kind {
        case .full:
            if !isFull { logger.error("the disk is full; nothing is acknowledged until there is space") }
            isFull = true
        case .io, .corrupt, .notADatabase: fail(refusal, error)
        case .constraint, .busy, .cannotOpen, .readOnly, .other:
            logger.error("the database refuses writes", metadata: ["error": "\(error.message)", "code": "\(error.code)"])
        }
        return refusal
    }

    /// A write or an fsync failed, or the database contradicts itself: an fsync is never tried again, since the kernel may
    /// have dropped the pages.
    private func fail(_ refusal: StoreError, _ error: SQLError) {
        failure = refusal
        logger.critical("the database failed", metadata: ["error": "\(error.message)", "code": "\(error.code)"])
        onFatal(refusal)
    }

    // MARK: Between commits

    private func keepHouse(isIdle: Bool) {
        guard failure == nil else { return }
        do throws(SQLError) {
            try connection.tidy()
            guard !indexRests, index.isDue || (isIdle && index.hasWork) else { return }
            try index.step()
            guard let count = index.cards.takeNews() else { return }
            let metadata: Logger.Metadata = ["accounts": "\(count)", "remain": "\(index.cards.hasUnread)"]
            logger.info("accounts were read, so that searches find them", metadata: metadata)
        } catch {
            indexRests = true
            _ = refuse(error)
        }
    }

    /// Merges and purges all there is. On the writer's thread.
    func finishIndex() -> Result<Void, StoreError> {
        if let failure { return .failure(failure) }
        do throws(SQLError) {
            try index.finish()
            try connection.tidy()
            return .success(())
        } catch {
            return .failure(refuse(error))
        }
    }

    /// Statements for tests and tools. On the writer's thread.
    func execute(_ sql: String) -> Result<Void, StoreError> {
        Result { () throws(StoreError) in
            do throws(SQLError) { try connection.execute(sql) } catch { throw StoreError(error) }
        }
    }
}

extension StoreError {
    init(_ error: SQLError) {
        switch error.kind {
        case .constraint: self = .constraint(error.message)
        case .full: self = .full
        case .busy, .cannotOpen, .readOnly, .other: self = .unavailable(error.message)
        case .io, .corrupt, .notADatabase: self = .corrupt(error.message)
        }
    }
}

extension Write {
    /// Bytes of memory that a write holds while it waits, roughly.
    fileprivate var footprint: Int {
        let row = 256
        return switch self {
        case .log(let entry): row + entry.stanza.bytes.readableBytes + EncodedViews.viewBytesMax * entry.views.count
        case .document(_, _, let content), .unchanged(_, _, let content): row + (content?.readableBytes ?? 0)
        case .replaceStanza(_, _, let stanza): row + stanza.bytes.readableBytes
        case .room(.create(_, let record, let affiliations, _)):
            row + record.content.readableBytes + affiliations.reduce(0) { $0 + row + ($1.details?.readableBytes ?? 0) }
        case .room(.setRecord(_, let record)): row + record.content.readableBytes
        case .room(.setAffiliation(_, let affiliation)): row + (affiliation.details?.readableBytes ?? 0)
        case .node(let change): row + change.footprint
        case .rosterItem(_, let item): row + (item.request?.bytes.readableBytes ?? 0)
        case .report(.add(let report, _)): row + report.content.readableBytes
        case .certificate(.add(_, let certificate, _)): row + certificate.content.count
        case .sharedList(.replace(let list)): row + row * list.entries.count
        case .sharedList(.change(_, let added, let removed, _)): row + row * (added.count + removed.count)
        case .rosterCopy(.domains(let domains)): row + row * domains.count
        case .rosterCopy(.settled), .report(.remove), .sharedList(.forget),
            .rosterRemoval, .cursor, .archiveFloor, .archiveFloors, .lastActivity, .idCeiling, .account, .invitation, .upload,
            .device, .certificate(.remove), .room(.removeAffiliation), .room(.delete): row
        }
    }
}

extension NodeChange {
    /// Beyond that of the write itself.
    fileprivate var footprint: Int {
        let row = 256
        return switch self {
        case .create(_, let node):
            node.record.content.readableBytes + row * node.affiliations.count + node.subscriptions.reduce(0) { $0 + row + $1.content.readableBytes }
        case .setRecord(_, let record): record.content.readableBytes
        case .setSubscription(_, let subscription): subscription.content.readableBytes
        case .publish(_, let item): row + item.payload.readableBytes
        case .retract(_, let names): names.reduce(0) { $0 + $1.utf8.count }
        case .delete, .setAffiliation, .removeSubscription, .forget, .expire: 0
        }
    }
}
