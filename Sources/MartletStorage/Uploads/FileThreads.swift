internal import NIOCore

/// A few threads on which files are read and written, so that no event loop waits for the disk.
final class FileThreads: Sendable {
    private struct Queue {
        var jobs = CircularBuffer<@Sendable () -> Void>()
        var threads: [WorkerThread] = []
        var isClosed = false
    }

    private let queue = Monitor(Queue())
    private let count: Int

    /// - Parameter count: how many threads; they are started when there is something to do.
    init(count: Int) { self.count = count }

    /// Jobs are begun in order. One that comes after the end is done by whoever brings it, so that nobody waits for ever.
    func run(_ job: @escaping @Sendable () -> Void) {
        let isTaken = queue.withLock { queue in
            guard !queue.isClosed else { return false }
            queue.jobs.append(job)
            if queue.threads.isEmpty { queue.threads = (0..<count).map { _ in WorkerThread { self.work() } } }
            return true
        }
        if isTaken { queue.wakeOne() } else { job() }
    }

    private func work() {
        while let job = nextJob() { job() }
    }

    private func nextJob() -> (@Sendable () -> Void)? {
        queue.wait { queue in
            if let job = queue.jobs.popFirst() { return .some(job) }
            return queue.isClosed ? .some(nil) : nil
        }
    }

    /// Does what there is to do and ends the threads. Blocks.
    func close() {
        let threads = queue.withLock { queue in
            queue.isClosed = true
            defer { queue.threads = [] }
            return queue.threads
        }
        queue.wakeAll()
        for thread in threads { thread.join() }
    }
}
