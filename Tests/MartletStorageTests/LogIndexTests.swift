import MartletCore
import MartletStorage
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

/// The index of the message log: made later, made again after a crash, and cleared of what is delivered.
@Suite("The index of the message log")
struct LogIndexTests {
    private func count(_ table: String, _ folder: String) throws -> Int {
        let reader = try SQLiteDriver(file: folder + "/martlet.db").openReader()
        defer { reader.close() }
        return try reader.rows("SELECT COUNT(*) FROM \(table)") { Int($0.integer(0)) }[0]
    }

    private func open(_ folder: TemporaryFolder, _ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: folder.path, options: options(FatalErrors(), change))
    }

    @Test("views read the same before and after they are merged, and half merged")
    func merging() async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        defer { store.close() }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...50).map { entry("m\($0)", (a, $0), (b, 100 - $0)) })
        #expect(try count("posting", folder.path) == 0)
        try await store.finishIndex()
        #expect(try count("posting", folder.path) == 100)
        try await store.commit((51...90).map { entry("m\($0)", (a, $0), (b, 100 - $0)) })
        #expect(try await store.messages(of: a).map(\.view) == Array(1...90))
        #expect(try await store.messages(of: b).map(\.view) == Array(10...99))
        #expect(try await store.messages(of: b, after: 30, limit: 40).map(\.view) == Array(31...70))
        let account = try #require(try await store.load(romeo))
        #expect(account.undelivered == 90 && account.lastViewID == 99)
    }

    @Test("how far a stream has come is known before and after the merge, after a restart, and longer than its messages", arguments: [false, true])
    func positions(_ merges: Bool) async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        let stream = StreamPosition.stream(named: "a token")
        for handled in [1, 2, 3] as [UInt32] {
            let view = LogEntry.View(owner: b, id: UInt64(handled))
            let stanza = entry("m\(handled)", (b, UInt64(handled)))
            guard case .log(var logged) = stanza else { continue }
            logged.views = [view]
            logged.position = StreamPosition(account: a, stream: stream, handled: handled)
            try await store.commit([.log(logged)])
        }
        #expect(try await handled(stream, a, store) == 3)
        #expect(try await handled(stream, b, store) == nil)
        #expect(try await handled(stream &+ 1, a, store) == nil)
        #expect(try await store.messages(of: b).map(\.view) == [1, 2, 3])
        try await store.commit([.cursor(b, upTo: 3)])
        if merges { try await store.finishIndex() }
        store.close()
        store = try open(folder)
        #expect(try await handled(stream, a, store) == 3)
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 0)
        #expect(try await handled(stream, a, store) == 3)
        try await store.commit([.account(.delete(juliet))])
        try await store.finishIndex()
        #expect(try count("stream_position", folder.path) == 0)
        store.close()
    }

    @Test("how far a stream has come is known for a day, and no longer", arguments: [0, 1])
    func positionAge(_ milliseconds: Int64) async throws {
        let folder = TemporaryFolder()
        let time = ManualTime()
        let store = try open(folder) { $0.time = time }
        defer { store.close() }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        func come(_ stream: UInt64) async throws {
            var logged = LogEntry(stanza: stanza("<message/>"), views: [LogEntry.View(owner: b, id: stream)], time: 1)
            logged.position = StreamPosition(account: a, stream: stream, handled: 7)
            try await store.commit([.log(logged)])
            try await store.finishIndex()
        }
        try await come(1)
        #expect(StreamPosition.ageMax == 86_400_000)
        time.advance(by: (StreamPosition.ageMax + milliseconds) * 1_000_000)
        try await come(2)
        #expect(try await handled(1, a, store) == (milliseconds == 0 ? 7 : nil))
        #expect(try await handled(2, a, store) == 7)
    }

    private func handled(_ stream: UInt64, _ account: AccountID, _ store: SQLiteStore) async throws -> UInt32? {
        try await withCheckedThrowingContinuation { continuation in
            store.handled(on: stream, of: account) { continuation.resume(with: $0.mapError { $0 as any Error }) }
        }
    }

    @Test("streams are named by the same numbers in every process")
    func streams() {
        #expect(StreamPosition.stream(named: "") == 0xcbf2_9ce4_8422_2325)
        #expect(StreamPosition.stream(named: "a") == 0xaf63_dc4c_8601_ec8c)
    }

    @Test("an entry goes when everyone in it has taken delivery, merged or not", arguments: [false, true])
    func purging(_ mergesFirst: Bool) async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        defer { store.close() }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...5_000).map { entry("m", (a, $0), (b, $0)) })
        if mergesFirst { try await store.finishIndex() }
        try await store.commit([.cursor(a, upTo: 4_000)])
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 5_000)
        #expect(try count("posting", folder.path) == 6_000)
        try await store.commit([.cursor(b, upTo: 4_990)])
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 1_000)
        try await store.commit([.cursor(a, upTo: 5_000)])
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 10)
        #expect(try count("posting", folder.path) == 10)
        #expect(try await store.messages(of: b).map(\.view) == Array(4_991...5_000))
    }

    @Test("a deleted account takes its messages with it, but not those that others wait for", arguments: [false, true])
    func deletion(_ mergesFirst: Bool) async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        defer { store.close() }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...3_000).map { entry("own", (a, $0)) } + [entry("shared", (a, 5_000), (b, 1))])
        if mergesFirst { try await store.finishIndex() }
        try await store.delete(juliet)
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 1)
        #expect(try count("posting", folder.path) == 1)
        #expect(try count("purge", folder.path) == 0)
        #expect(try await store.messages(of: b).map(\.text) == ["shared"])
    }

    @Test("delivered messages of before a restart are cleared after it")
    func sweep() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let id = try await store.create(juliet)
        try await store.commit((1...100).map { entry("m", (id, $0)) })
        try await store.finishIndex()
        try await store.commit([.cursor(id, upTo: 90)])
        store.close()
        #expect(try count("posting", folder.path) == 100)
        store = try open(folder)
        defer { store.close() }
        try await store.finishIndex()
        #expect(try count("posting", folder.path) == 10)
        #expect(try count("log", folder.path) == 10)
    }

    @Test("what was not indexed is read from the log's end at start")
    func restart() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...10).map { entry("m\($0)", (a, $0)) })
        try await store.finishIndex()
        try await store.commit((11...20).map { entry("m\($0)", (a, $0), (b, $0)) })
        for _ in 0..<3 {
            store.close()
            store = try open(folder)
            #expect(try await store.messages(of: a).map(\.view) == Array(1...20))
            #expect(try await store.load(romeo)?.undelivered == 10)
        }
        try await store.commit([entry("m21", (a, 21))])
        #expect(try await store.messages(of: a).map(\.text).last == "m21")
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("entries are numbered on after everything was delivered and forgotten")
    func numbering() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let id = try await store.create(juliet)
        try await store.commit((1...10).map { entry("m", (id, $0)) })
        try await store.commit([.cursor(id, upTo: 10)])
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 0)
        store.close()
        store = try open(folder)
        try await store.commit([entry("later", (id, 11))])
        store.close()
        store = try open(folder)
        defer { store.close() }
        #expect(try await store.messages(of: id).map(\.text) == ["later"])
    }

    @Test("a process that dies between any two steps of a merge or purge loses nothing", arguments: 1...14)
    func crash(_ commit: Int) async throws {
        let (folder, faults) = (TemporaryFolder(), FaultyDriver.Faults())
        let driver: @Sendable (String) -> any SQLDriver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) }
        var store = try open(folder) { $0.driver = driver }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...5_000).map { entry("m", (a, $0), (b, $0)) })
        try await store.commit([.cursor(a, upTo: 4_900), .cursor(b, upTo: 2_000)])
        faults.fail(with: SQLError(.io, "dies"), at: commit)
        try? await store.finishIndex()
        store.close()
        faults.clear()

        store = try open(folder)
        #expect(try await store.messages(of: a, limit: 9_000).map(\.view) == Array(4_901...5_000))
        #expect(try await store.messages(of: b, limit: 9_000).map(\.view) == Array(2_001...5_000))
        #expect(try await store.load(juliet)?.undelivered == 100)
        try await store.finishIndex()
        #expect(try count("log", folder.path) == 3_000)
        #expect(try count("posting", folder.path) == 3_100)
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("a merge goes on between commits while writes keep coming")
    func underLoad() async throws {
        let folder = TemporaryFolder()
        let store = try open(folder) { $0.indexThreshold = 100 }
        let id = try await store.create(juliet)
        for view in 1...20_000 as ClosedRange<UInt64> {
            store.submit([entry("m", (id, view))])
            if view % 20 == 0, view > 250 { store.submit([.cursor(id, upTo: view - 250)]) }
            if view % 997 == 0 {
                let account = try #require(try await store.load(juliet))
                #expect(account.lastViewID == view && account.undelivered == Int(view - account.deliveredUpTo))
            }
        }
        #expect(try await store.messages(of: id, limit: 1_000).map(\.view) == Array(19_751...20_000))
        store.close()
        #expect(try count("log", folder.path) < 10_000)
    }
}
