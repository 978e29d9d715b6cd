internal import MartletCore
internal import NIOConcurrencyHelpers
internal import NIOCore

/// Threads that read, each with a connection of its own, so that no event loop waits for the disk.
///
/// A read waits, without a thread, until what was submitted before it is settled.
final class StoreReaders: Sendable {
    /// Reads that may wait; one more is refused.
    static let waitingMax = 65_536

    /// What is read, on which thread; or why it is not.
    typealias Job = @Sendable (Result<ReadStatements, StoreError>) -> Void

    private struct Queue {
        /// Reads that wait for the writer, with the ticket they wait for.
        var parked: [(sequence: UInt64, job: Job)] = []
        var ready = CircularBuffer<Job>()
        var isClosed = false
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
    func read(_ job: @escaping Job) {
        let sequence = issued()
        let isClosed = queue.withLock { queue in
            guard !queue.isClosed else { return true }
            if queue.parked.count + queue.ready.count >= Self.waitingMax {
                queue.ready.append { _ in job(.failure(.unavailable("too many reads are waiting"))) }
            } else if settled() >= sequence {
                queue.ready.append(job)
            } else {
                queue.parked.append((sequence, job))
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
            queue.ready.append(contentsOf: ready.map(\.job))
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
