import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

/// What the writer does when the database refuses, and how the queue is bounded.
@Suite("The writer of the embedded store")
struct SQLiteWriterTests {
    private func withFaults(
        _ change: (inout SQLiteStore.Options) -> Void = { _ in },
        _ body: (SQLiteStore, FaultyDriver.Faults, FatalErrors, AccountID) async throws -> Void
    ) async throws {
        let (folder, faults, fatal) = (TemporaryFolder(), FaultyDriver.Faults(), FatalErrors())
        let store = try SQLiteStore.open(
            folder: folder.path,
            options: options(fatal) {
                $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) }
                change(&$0)
            })
        defer { store.close() }
        try await body(store, faults, fatal, try await store.create(juliet))
        withExtendedLifetime(folder) {}
    }

    @Test("a ticket is not settled before its commit is on disk")
    func settlement() async throws {
        try await withFaults { store, faults, _, id in
            let before = store.settled
            faults.holds = true
            let ticket = store.submit([entry("m", (id, 1))])
            for _ in 0..<1_000 { #expect(store.settled == before) }
            faults.holds = false
            let messages = try await store.messages(of: id)
            #expect(messages.count == 1 && store.settled >= ticket)
        }
    }

    @Test("what arrives during a commit is the next one, however much it is")
    func groupCommit() async throws {
        try await withFaults { store, faults, _, id in
            faults.holds = true
            for view in 1...1_000 as ClosedRange<UInt64> { store.submit([entry("m", (id, view))]) }
            let before = faults.commits
            faults.holds = false
            let messages = try await store.messages(of: id, limit: 2_000)
            #expect(messages.count == 1_000)
            #expect(faults.commits - before <= 3)
        }
    }

    @Test("from one commit to the next an interval passes")
    func interval() async throws {
        // Of one that does not wait for the disk, each commit takes less than the interval by itself.
        let faults = FaultyDriver.Faults()
        try await withFaults({ $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0, synchronous: .normal), faults: faults) } }) { store, _, _, id in
            let (begin, before) = (NIODeadline.now(), faults.commits)
            for view in 1...40 as ClosedRange<UInt64> {
                let ticket = store.submit([entry("m", (id, view))])
                while store.settled < ticket { await Task.yield() }
            }
            let intervals = (NIODeadline.now() - begin).nanoseconds / SQLiteStore.commitInterval.nanoseconds
            #expect(faults.commits - before <= Int(intervals) + 2)
        }
    }

    @Test("a full disk refuses what does not fit, and takes writes again without a restart (P19)")
    func full() async throws {
        try await withFaults { store, faults, fatal, id in
            faults.fail(with: SQLError(.full, "no space"))
            let refused = (1...10).map { store.submit([entry("m", (id, $0))]) }
            await #expect(throws: StoreError.full) { try await store.commit([entry("m", (id, 11))]) }
            for ticket in refused { #expect(throws: StoreError.full) { try store.outcome(of: ticket).get() } }
            #expect(try await store.load(juliet)?.undelivered == 0)
            faults.clear()
            try await store.commit([entry("m", (id, 12))])
            #expect(try await store.messages(of: id).map(\.view) == [12])
            #expect(fatal.all.isEmpty)
        }
    }

    @Test("a failed write or fsync ends all writing: nothing is acknowledged after it (P19)")
    func fatalError() async throws {
        try await withFaults { store, faults, fatal, id in
            faults.fail(with: SQLError(.io, code: 1034, "disk I/O error"))
            await #expect(throws: StoreError.corrupt("disk I/O error")) { try await store.commit([entry("m", (id, 1))]) }
            #expect(fatal.all == [.corrupt("disk I/O error")])
            faults.clear()
            let ticket = store.submit([entry("m", (id, 2))])
            await #expect(throws: StoreError.corrupt("disk I/O error")) { try await store.commit([]) }
            #expect(throws: StoreError.corrupt("disk I/O error")) { try store.outcome(of: ticket).get() }
            #expect(fatal.all.count == 1)
        }
    }

    @Test("a busy database refuses for now")
    func busy() async throws {
        try await withFaults { store, faults, fatal, id in
            faults.fail(with: SQLError(.busy, "database is locked"))
            await #expect(throws: StoreError.unavailable("database is locked")) { try await store.commit([entry("m", (id, 1))]) }
            faults.clear()
            try await store.commit([entry("m", (id, 1))])
            #expect(fatal.all.isEmpty)
        }
    }

    @Test("submits beyond the queue's bound are refused, in order with the others", arguments: [0, 1])
    func boundedCount(_ extra: Int) async throws {
        try await withFaults({ $0.queuedSubmitsMax = 100 }) { store, faults, _, id in
            try await fillFirst(store, faults)
            let tickets = (1...UInt64(100 + extra)).map { store.submit([entry("m", (id, $0))]) }
            faults.holds = false
            #expect(try await store.messages(of: id, limit: 200).count == 100)
            let refused = tickets.filter { if case .failure = store.outcome(of: $0) { true } else { false } }
            #expect(refused == Array(tickets.dropFirst(100)))
            #expect(tickets.allSatisfy { $0 <= store.settled })
            try await store.commit([entry("m", (id, 1_000))])
        }
    }

    @Test("bytes that wait for the disk are bounded as well", arguments: [3, 4])
    func boundedBytes(_ count: UInt64) async throws {
        try await withFaults({ $0.queuedBytesMax = 4_000 }) { store, faults, _, id in
            try await fillFirst(store, faults)
            let long = String(repeating: "x", count: 1_000)
            let tickets = (1...count).map { store.submit([entry(long, (id, $0))]) }
            faults.holds = false
            #expect(try await store.messages(of: id).count == 3)
            let refused = tickets.filter { if case .failure(.unavailable) = store.outcome(of: $0) { true } else { false } }
            #expect(refused.count == Int(count) - 3)
        }
    }

    /// Holds the writer in a commit, so that what follows waits.
    private func fillFirst(_ store: SQLiteStore, _ faults: FaultyDriver.Faults) async throws {
        faults.holds = true
        store.submit([.idCeiling(1)])
        // A job runs between commits: the writer is in the commit, or before it with only this submit.
        while store.queuedSubmits > 0 { await Task.yield() }
    }

    @Test("a closed store commits what was submitted and refuses what comes later")
    func closing() async throws {
        let folder = TemporaryFolder()
        var store = try SQLiteStore.open(folder: folder.path, options: options())
        let id = try await store.create(juliet)
        for view in 1...500 as ClosedRange<UInt64> { store.submit([entry("m", (id, view))]) }
        store.close()
        store.close()
        await #expect(throws: StoreError.unavailable("the store is closed")) { try await store.commit([]) }
        await #expect(throws: StoreError.unavailable("the store is closed")) { try await store.load(juliet) }
        await #expect(throws: StoreError.unavailable("the store is closed")) { try await store.finishIndex() }
        #expect(store.submit([]) <= store.settled)
        store = try SQLiteStore.open(folder: folder.path, options: options())
        defer { store.close() }
        #expect(try await store.messages(of: id, limit: 1_000).count == 500)
    }

    @Test("the promise of a commit is read back and can be shown")
    func promise() async throws {
        try await withSQLite { store in #expect(store.promise.hasSuffix("WAL, synchronous=FULL")) }
    }

    @Test("10,000 accounts with two credentials each are imported in seconds")
    func importing() async throws {
        try await withSQLite { store in
            let clock = ContinuousClock()
            let keys = [credentials(.sha1), credentials(.sha256)]
            let time = try await clock.measure {
                let tickets = (0..<10_000).map { place in
                    store.submit([.account(.create(jid("account\(place)@capulet.example"), credentials: keys, isAdmin: false))])
                }
                _ = try await store.idCeiling()
                #expect(tickets.allSatisfy { if case .success = store.outcome(of: $0) { true } else { false } })
            }
            #expect(try await store.accounts(domain: nil, after: nil, limit: 20_000).count == 10_000)
            print("imported 10,000 accounts with two credentials each in \(time)")
        }
    }
}
