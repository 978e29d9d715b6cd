internal import MartletCore
internal import NIOConcurrencyHelpers
internal import NIOCore

/// Threads that read, each with a connection of its own, so that no event loop waits for the disk.
///
/// A read waits, without a thread, until what was submitted before it is settled. Those that need not wait any more have a thread in turns:
/// one of an account's, one of the next account's.
final class StoreReaders: Sendable {
    /// Reads that may wait; one more is refused.
    static let waitingMax = 65_536
    /// Reads of one account that may wait for its turns; one more is refused. Each session asks one thing at a time, and goes on with what it
    /// asked even if it has ended. Lists of rooms count together, as one account's.
    static let waitingOfAccountMax = 256

    /// What is read, on which thread; or why it is not.
    typealias Job = @Sendable (Result<ReadStatements, StoreError>) -> Void

    private struct Queue {
        /// Reads that wait for the writer, with the ticket they wait for.
        var parked: [(sequence: UInt64, account: AccountID?, job: Job)] = []
        /// What is of no account has turns like one.
        var ready = TurnQueue<AccountID?, Job>(lineMax: StoreReaders.waitingOfAccountMax)
        var isClosed = false

        func isFull(for account: AccountID?) -> Bool {
            if parked.count + ready.count >= StoreReaders.waitingMax { return true }
            return account != nil && !ready.hasRoom(for: account)
        }
    }

    private let queue = Monitor(Queue())
    private let threads = NIOLockedValueBox<[WorkerThread]>([])
    private let issued: @Sendable () -> UInt64
    private let settled: @Sendable () -> UInt64

    init(issued: @escaping @Sendable () -> UInt64, settled: @escaping @Sendable () -> UInt64) {
        self.issued = issued
        self.settled = settled
    }

    func start(_ statements: sending [ReadStatements]) {
        for connection in statements.map(Unchecked.init) {
            let thread = WorkerThread { self.run(connection.statements) }
            threads.withLockedValue { $0.append(thread) }
        }
    }

    /// `@unchecked`: hands a connection to the thread that is its own from then on.
    private struct Unchecked: @unchecked Sendable {
        let statements: ReadStatements
    }

    /// Answers what waits and ends the threads. Blocks.
    func close() {
        let parked = queue.withLock { queue in
            queue.isClosed = true
            defer { queue.parked = [] }
            return queue.parked
        }
        queue.wakeAll()
        for read in parked { read.job(.failure(Self.closed)) }
        threads.withLockedValue { threads in
            threads.forEach { $0.join() }
            threads = []
        }
    }

    private static let closed = StoreError.unavailable("the store is closed")

    /// Runs `job` on a reader's thread once everything submitted before is settled. A read that is refused is told so on the
    /// next reader's turn or, once the store is closed, on the caller's thread.
    ///
    /// - Parameters:
    ///   - account: whose turn it is; `nil` for reads that take no turns.
    ///   - goesOn: the read is a further part of one that has waited for what was submitted.
    func read(of account: AccountID? = nil, goesOn: Bool = false, _ job: @escaping Job) {
        let sequence = goesOn ? 0 : issued()
        let isClosed = queue.withLock { queue in
            guard !queue.isClosed else { return true }
            if !goesOn, queue.isFull(for: account) {
                queue.ready.append({ _ in job(.failure(.unavailable("too many reads are waiting"))) }, of: nil)
            } else if settled() >= sequence {
                queue.ready.append(job, of: account)
            } else {
                queue.parked.append((sequence, account, job))
            }
            return false
        }
        if isClosed { job(.failure(Self.closed)) } else { queue.wakeOne() }
    }

    /// The writer has settled everything up to there.
    func settled(upTo sequence: UInt64) {
        let count = queue.withLock { queue in
            let ready = queue.parked.filter { $0.sequence <= sequence }
            guard !ready.isEmpty else { return 0 }
            queue.parked.removeAll { $0.sequence <= sequence }
            for read in ready { queue.ready.append(read.job, of: read.account) }
            return ready.count
        }
        if count == 1 { queue.wakeOne() } else if count > 1 { queue.wakeAll() }
    }

    private func run(_ statements: ReadStatements) {
        while let job = nextJob() { job(.success(statements)) }
        statements.close()
    }

    private func nextJob() -> Job? {
        queue.wait { queue in
            if let job = queue.ready.popFirst() { return .some(job) }
            return queue.isClosed ? .some(nil) : nil
        }
    }
}
