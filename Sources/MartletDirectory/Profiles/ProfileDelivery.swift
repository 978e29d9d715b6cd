package import Logging
package import MartletCore
package import MartletXMPP
package import NIOCore

/// Brings what a directory says of people into their cards: beside whoever follows the directory, so that neither waits for the other, and so many at a time.
///
/// Nothing is remembered of what was brought: each card says of which profile it is (``ProfileStage``), so that after a start all are looked at and none is
/// written that is as it should be.
package actor ProfileDelivery {
    /// People whose profiles are in memory at a time.
    static let batchMax = 500
    /// How long it is waited after a failure, in seconds: longer after each, up to the last.
    private static let pauses: [Int64] = [10, 60, 600, 3_600]

    private let domain: BareJID
    private let book: ProfileBook
    private let router: Router
    private let mailbox: LoopMailbox
    private let timers: any EventLoop
    private let log: Logger

    /// In the order in which they were noted; the set is the same.
    private var waiting: [BareJID] = []
    private var noted: Set<BareJID> = []
    private var run: Task<Void, Never>?
    private var retry: Scheduled<Void>?
    private var failures = 0
    private var isClosed = false

    /// - Parameters:
    ///   - mailbox: of any loop.
    ///   - timers: whose timers are used.
    package init(_ domain: BareJID, _ book: ProfileBook, _ router: Router, on mailbox: LoopMailbox, timers: any EventLoop, log: Logger) {
        (self.domain, self.book, self.router, self.mailbox, self.timers, self.log) = (domain, book, router, mailbox, timers, log)
    }

    /// The directory says something of them that it has not said before, as far as is known.
    package func note(_ accounts: [BareJID]) {
        waiting += accounts.filter { noted.insert($0).inserted }
        guard run == nil, !isClosed, !waiting.isEmpty else { return }
        run = Task(executorPreference: router.executor) { await self.bring() }
    }

    package func stop() async {
        isClosed = true
        retry?.cancel()
        await run?.value
    }

    private func bring() async {
        defer { run = nil }
        let stage = await stage
        while !isClosed, !waiting.isEmpty {
            let batch = Array(waiting.prefix(Self.batchMax))
            waiting.removeFirst(batch.count)
            noted.subtract(batch)
            // Whoever is gone meanwhile keeps his card for as long as his account is kept.
            let profiles = batch.filter { book.knows($0) }.map { (account: $0, profile: book.profile(of: $0)) }
            do throws(StoreError) {
                try await stage?.put(profiles, router, on: mailbox)
            } catch {
                log.warning("what the directory says of people cannot be written to their cards", metadata: ["domain": "\(domain)", "reason": "\(error)"])
                return again(batch)
            }
        }
        let lacking = book.takeLacking(at: domain)
        if lacking.isEmpty { failures = 0 } else { again(lacking) }
    }

    private func again(_ accounts: [BareJID]) {
        guard !isClosed else { return }
        let pause = Self.pauses[min(failures, Self.pauses.count - 1)]
        failures += 1
        retry?.cancel()
        waiting += accounts.filter { noted.insert($0).inserted }
        retry = timers.scheduleTask(in: .seconds(pause)) { Task(executorPreference: self.router.executor) { await self.note([]) } }
    }

    /// As the configuration is now.
    private var stage: (any ProfileStage)? {
        get async {
            let domain = domain
            return await withCheckedContinuation { continuation in
                mailbox.run { context in continuation.resume(returning: context.hosts.host(of: domain)?.profiling) }
            }
        }
    }
}
