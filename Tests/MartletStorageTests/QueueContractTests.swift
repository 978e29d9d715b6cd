import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

/// What waits for other servers (P10): views of the log whose owner is nothing but a number below zero.
@Suite("Queues for other servers")
struct QueueContractTests {
    private let verona = AccountID(queueFor: DomainPair(remote: "verona.example", local: "capulet.example"))
    private let mantua = AccountID(queueFor: DomainPair(remote: "mantua.example", local: "capulet.example"))

    @Test("a pair of domains has a number of its own, the same in every process")
    func numbers() {
        #expect(verona.raw == -1_249_537_692_884_209_572 && verona.isQueue && !AccountID(raw: 1).isQueue)
        let turned = AccountID(queueFor: DomainPair(remote: "capulet.example", local: "verona.example"))
        #expect(Set([verona, mantua, turned]).count == 3)
    }

    @Test("what is logged for a queue waits in it, in order, beside the sender's archive", arguments: StoreKind.allCases)
    func waiting(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let sender = try await store.create(juliet)
            let archived = LogEntry.View(
                owner: sender, id: 5, awaitsDelivery: false, archived: ArchiveMark(with: jid("romeo@verona.example"), isSent: true))
            let both = LogEntry(stanza: stanza("one"), views: [archived, .init(owner: verona, id: 1)], time: 7)
            try await store.commit([.log(both), entry("two", (verona, 2)), entry("other", (mantua, 9))])
            #expect(try await store.messages(of: verona).map(\.text) == ["one", "two"])
            #expect(try await store.messages(of: verona, after: 1).map(\.text) == ["two"])
            let queues = try await store.queues().sorted { $0.lastView < $1.lastView }
            #expect(queues.map(\.id) == [verona, mantua] && queues.map(\.count) == [2, 1] && queues.map(\.bytes) == [6, 5])
            #expect(queues.map(\.lastView) == [2, 9] && queues.map(\.first.text) == ["one", "other"] && queues[0].first.time == 7)
        }
    }

    @Test("what was handed over is gone, and the cursor never goes back", arguments: StoreKind.allCases)
    func cursor(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([entry("one", (verona, 1)), entry("two", (verona, 2)), entry("three", (verona, 3))])
            try await store.commit([.cursor(verona, upTo: 2)])
            #expect(try await store.messages(of: verona).map(\.text) == ["three"])
            try await store.commit([.cursor(verona, upTo: 1), entry("again", (verona, 2))])
            #expect(try await store.messages(of: verona).map(\.text) == ["three"])
            try await store.commit([.cursor(verona, upTo: 3)])
            #expect(try await store.messages(of: verona).isEmpty)
            #expect(try await store.queues().isEmpty)
        }
    }

    @Test("a refused submit leaves a queue as it was", arguments: StoreKind.allCases)
    func refused(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([entry("one", (verona, 1))])
            let refused: [Write] = [.cursor(verona, upTo: 1), entry("two", (verona, 2)), .account(.setEnabled(romeo, true))]
            await #expect(throws: StoreError.self) { try await store.commit(refused) }
            #expect(try await store.messages(of: verona).map(\.text) == ["one"])
        }
    }

    @Test("streams of other servers say how far they have come", arguments: StoreKind.allCases)
    func positions(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let account = try await store.create(juliet)
            let position = StreamPosition(account: verona, stream: 77, handled: 3)
            try await store.commit([.log(LogEntry(stanza: stanza("one"), views: [.init(owner: account, id: 1)], time: 1, position: position))])
            func handled(_ stream: UInt64, _ owner: AccountID) async throws -> UInt32? {
                try await withCheckedContinuation { continuation in
                    store.handled(on: stream, of: owner) { continuation.resume(returning: $0) }
                }.get()
            }
            #expect(try await handled(77, verona) == 3)
            #expect(try await handled(77, mantua) == nil)
        }
    }

    @Test("the last messages of the log are those for other servers as well", arguments: StoreKind.allCases)
    func latest(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([entry("one", (verona, 1))])
            #expect(try await store.latestMessages(limit: 10).map(\.text) == ["one"])
        }
    }

    @Test("what waits is there after a restart, an empty queue is forgotten, and its old messages do not come back")
    func restart() async throws {
        let folder = TemporaryFolder()
        var store = try SQLiteStore.open(folder: folder.path + "/data", options: options { $0.indexThreshold = 1 })
        try await store.commit([entry("one", (verona, 1)), entry("two", (verona, 2)), entry("other", (mantua, 9))])
        try await store.finishIndex()
        try await store.commit([.cursor(verona, upTo: 1), .cursor(mantua, upTo: 9)])
        store.close()

        store = try SQLiteStore.open(folder: folder.path + "/data", options: options())
        #expect(try await store.messages(of: verona).map(\.text) == ["two"])
        #expect(try await store.queues().map(\.id) == [verona])
        // In the tail: only the cursor knows that it was handed over.
        try await store.commit([entry("late", (mantua, 10)), .cursor(mantua, upTo: 10), .cursor(verona, upTo: 2)])
        store.close()

        store = try SQLiteStore.open(folder: folder.path + "/data", options: options())
        #expect(try await store.queues().isEmpty)
        try await store.finishIndex()
        store.close()

        store = try SQLiteStore.open(folder: folder.path + "/data", options: options())
        #expect(try await store.queues().isEmpty)
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path + "/data").problems == [])
        let connection = try SQLiteDriver(file: folder.path + "/data/martlet.db").openReader()
        #expect(try connection.rows("SELECT COUNT(*) FROM cursor") { $0.integer(0) } == [0])
        #expect(try connection.rows("SELECT COUNT(*) FROM log") { $0.integer(0) } == [0])
        connection.close()
        withExtendedLifetime(folder) {}
    }
}
