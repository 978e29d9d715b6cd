import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

private let coven = jid("coven@chat.shakespeare.example")
private let heath = jid("heath@chat.shakespeare.example")
private let record = RoomRecord(isPersistent: true, isPublic: true, name: "A Dark Cave")

private func message(_ text: String) -> EncodedStanza {
    stanza("<message from='coven@chat.shakespeare.example/first' to='coven@chat.shakespeare.example' type='groupchat'><body>\(text)</body></message>")
}

private func said(_ text: String, _ views: (AccountID, UInt64)..., awaitsDelivery: Bool = false) -> Write {
    let mark = ArchiveMark(with: coven, isSent: false)
    let views = views.map { LogEntry.View(owner: $0.0, id: $0.1, awaitsDelivery: awaitsDelivery, archived: mark) }
    return .log(LogEntry(stanza: message(text), views: views, time: 1))
}

/// Rooms in the embedded store: what only SQLite has.
@Suite("The tables of rooms")
struct RoomTablesTests {
    private let folder = TemporaryFolder()

    private func open(_ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: folder.path, options: options(FatalErrors(), change))
    }

    private func read(_ sql: String) throws -> [Int64] {
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        return try reader.rows(sql) { $0.integer(0) }
    }

    private func count(_ table: String) throws -> Int64 { try read("SELECT COUNT(*) FROM \(table)")[0] }
    private func remains() throws -> Int64 { try read("SELECT value FROM meta WHERE name = 'text_remains'")[0] }
    private func problems() throws -> [String] { try SQLiteStore.verify(folder: folder.path).problems }

    private func room(_ store: SQLiteStore, _ address: BareJID = coven, history: Int = 0) async throws -> StoredRoom? {
        try await withCheckedContinuation { continuation in
            store.loadRoom(address, history: history) { continuation.resume(returning: $0) }
        }.get()
    }

    private func create(_ store: SQLiteStore, _ address: BareJID = coven) async throws -> AccountID {
        try await store.commit([.room(.create(address, record, []))])
        return try #require(try await room(store, address)).id
    }

    private func views(_ store: SQLiteStore, _ owner: AccountID, text: String? = nil) async throws -> [UInt64] {
        var request = ArchiveRequest(limit: 10_000)
        request.text = text
        return try #require(try await store.archive(of: owner, request)).messages.map(\.view)
    }

    /// Whether bytes of the text are anywhere in the folder's files.
    private func isOnDisk(_ text: String) -> Bool {
        files(in: folder.path).contains { name in
            guard let file = fopen(folder.path + "/" + name, "r") else { return false }
            defer { fclose(file) }
            var (bytes, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
            while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
            return String(decoding: bytes, as: Unicode.ASCII.self).contains(text)
        }
    }

    // MARK: Archives

    @Test("a room's archive goes with it, merged or not, and nothing of the room stays", arguments: [false, true])
    func deletion(_ mergesFirst: Bool) async throws {
        let store = try open()
        let (id, other) = (try await create(store), try await create(store, heath))
        try await store.commit((1...3_000).map { said("own", (id, $0)) } + [said("shared", (id, 4_000), (other, 1))])
        try await store.commit([
            .document(id, DocumentKey(namespace: "n"), ByteBuffer()), .room(.setAffiliation(id, StoredAffiliation(address: .bare(juliet), affiliation: 1))),
        ])
        if mergesFirst { try await store.finishIndex() }
        try await store.commit([.room(.delete(id))])
        // Somebody may have said it at the same moment.
        try await store.commit([said("late", (id, 5_000))])
        try await store.finishIndex()
        #expect(try count("log") == 1 && count("archive") == 1 && count("archive_account") == 1 && count("purge") == 0)
        #expect(try count("room") == 1 && count("room_affiliation") == 0 && count("room_document") == 0)
        #expect(try read("SELECT COUNT(*) FROM archive_text WHERE archive_text MATCH 'own'") == [0])
        store.close()
        #expect(try problems() == [])
    }

    @Test("a room that is deleted just before the server ends is cleared after the next start")
    func purgeLater() async throws {
        var store = try open()
        let id = try await create(store)
        try await store.commit((1...100).map { said("own", (id, $0)) })
        try await store.finishIndex()
        try await store.commit([.room(.delete(id))])
        store.close()
        store = try open()
        try await store.finishIndex()
        store.close()
        #expect(try count("log") == 0 && count("archive") == 0 && problems() == [])
    }

    @Test("an entry goes when a room's archive has forgotten it, whatever its view says of delivery", arguments: [false, true])
    func forgetting(_ isForAll: Bool) async throws {
        let store = try open()
        let id = try await create(store)
        try await store.commit((1...100).map { said("m", (id, $0), awaitsDelivery: true) } + [entry("never kept", (id, 200))])
        try await store.finishIndex()
        #expect(try count("log") == 100 && count("posting") == 0)
        try await store.commit([isForAll ? .archiveFloors(upTo: 90) : .archiveFloor(id, upTo: 90)])
        try await store.finishIndex()
        #expect(try await views(store, id) == Array(91...100))
        #expect(try count("log") == 10)
        store.close()
        #expect(try problems() == [])
    }

    @Test("a room's archive holds as many messages as an archive may", arguments: [100, 101])
    func quota(_ messages: UInt64) async throws {
        let store = try open { $0.archiveMessagesMax = 100 }
        let id = try await create(store)
        try await store.commit((1...messages).map { said("m", (id, $0)) })
        try await store.finishIndex()
        #expect(try await views(store, id) == Array(messages - 99...messages))
        store.close()
        #expect(try problems() == [])
    }

    @Test("the last name of a room is known after a restart, merged or not, also when retention has taken its message", arguments: [false, true], [false, true])
    func lastName(_ mergesFirst: Bool, _ mergesLast: Bool) async throws {
        var store = try open()
        let id = try await create(store)
        try await store.commit([said("m", (id, 7))])
        if mergesFirst { try await store.finishIndex() }
        try await store.commit([.archiveFloors(upTo: 9)])
        if mergesLast { try await store.finishIndex() }
        store.close()
        store = try open()
        #expect(try await room(store, history: 1)?.lastViewID == 7)
        try await store.finishIndex()
        #expect(try await room(store, history: 1)?.lastViewID == 7)
        #expect(try count("log") == 0)
        store.close()
        #expect(try problems() == [])
    }

    @Test("history is the same before and after the merge, and half merged")
    func history() async throws {
        let store = try open()
        let id = try await create(store)
        try await store.commit((1...10).map { said("m", (id, $0 * 2)) })
        try await store.finishIndex()
        try await store.commit([said("m", (id, 19)), said("m", (id, 21))])
        for _ in 0..<2 {
            #expect(try await room(store, history: 4)?.history.map(\.view) == [18, 19, 20, 21])
            #expect(try await room(store, history: 100)?.history.map(\.view) == [2, 4, 6, 8, 10, 12, 14, 16, 18, 19, 20, 21])
            try await store.finishIndex()
        }
        store.close()
    }

    // MARK: Replaced messages

    enum Moment: CaseIterable { case inTail, afterRestart, inTable }

    @Test("nothing of a replaced message stays on the disk: neither its bytes nor its words (XEP-0425)", arguments: Moment.allCases)
    func replacement(_ moment: Moment) async throws {
        var store = try open()
        let id = try await create(store)
        let long = String(repeating: "zanzibar ", count: 2_000)
        try await store.commit((1...50).map { said($0 % 10 == 0 ? long : "elsewhere \($0)", (id, $0)) } + [said("zanzibar", (id, 51))])
        if moment == .inTable { try await store.finishIndex() }
        if moment == .afterRestart {
            store.close()
            store = try open()
        }
        try await store.commit([10, 20, 30, 40, 50, 51].map { .replaceStanza(id, view: $0, message("nothing to see")) })
        #expect(try await views(store, id, text: "zanzibar") == [])
        #expect(try await views(store, id, text: "see nothing") == [10, 20, 30, 40, 50, 51])
        try await store.finishIndex()
        #expect(try remains() == 0)
        #expect(try await views(store, id, text: "see nothing") == [10, 20, 30, 40, 50, 51])
        #expect(try await views(store, id).count == 51)
        try await store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store.close()
        #expect(!isOnDisk("zanzibar") && isOnDisk("elsewhere"))
        #expect(try problems() == [])
    }

    @Test("a replaced message is forgotten like any other, with the words it has now")
    func forgettingReplaced() async throws {
        let store = try open()
        let id = try await create(store)
        try await store.commit((1...10).map { said("toil \($0)", (id, $0)) })
        try await store.finishIndex()
        try await store.commit([.replaceStanza(id, view: 3, message("gone")), .replaceStanza(id, view: 4, stanza("<presence/>"))])
        try await store.commit([.replaceStanza(id, view: 4, message("again"))])
        #expect(try await views(store, id, text: "again") == [4])
        try await store.commit([.archiveFloor(id, upTo: 5)])
        try await store.finishIndex()
        #expect(try count("log") == 5)
        #expect(try read("SELECT COUNT(*) FROM archive_text WHERE archive_text MATCH 'gone OR again'") == [0])
        store.close()
        #expect(try problems() == [])
    }

    @Test("a replacement that is refused with its submit leaves the words as they were")
    func refusal() async throws {
        let store = try open()
        let id = try await create(store)
        try await store.commit([said("toil", (id, 1))])
        try await store.finishIndex()
        await #expect(throws: StoreError.self) {
            try await store.commit([.replaceStanza(id, view: 1, message("gone")), .room(.create(coven, record, []))])
        }
        #expect(try await views(store, id, text: "toil") == [1])
        #expect(try remains() == 0)
        try await store.finishIndex()
        store.close()
        #expect(try problems() == [])
    }

    @Test("a process that dies between any two steps after messages were replaced shows none of them", arguments: 1...12)
    func crash(_ commit: Int) async throws {
        let faults = FaultyDriver.Faults()
        var store = try open { $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) } }
        let id = try await create(store)
        try await store.commit((1...3_000).map { said($0 % 100 == 0 ? "zanzibar" : "elsewhere", (id, $0)) })
        if commit > 6 { try await store.finishIndex() }
        try await store.commit((1...30).map { .replaceStanza(id, view: $0 * 100, message("gone")) })
        try await store.commit([.archiveFloor(id, upTo: 1_000)])
        faults.fail(with: SQLError(.io, "dies"), at: commit > 6 ? commit - 6 : commit)
        try? await store.finishIndex()
        store.close()
        store = try open()
        let expected = (11...30).map { UInt64($0) * 100 }
        #expect(try await views(store, id, text: "gone") == expected)
        #expect(try await views(store, id, text: "zanzibar") == [])
        try await store.finishIndex()
        #expect(try await views(store, id, text: "gone") == expected)
        #expect(try count("log") == 2_000)
        store.close()
        #expect(try problems() == [])
    }

    // MARK: The database

    @Test("lists of rooms are read from an index in their order")
    func plans() throws {
        try open().close()
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        let select = "SELECT domainpart, localpart, id, persistent, public, name, description, created FROM room WHERE domainpart = 'x' AND localpart > 'a' AND localpart < 'b'"
        for (filter, index) in [("", "sqlite_autoindex_room_1"), ("AND public = 1", "room_public"), ("AND persistent = 0", "room_temporary")] {
            for order in ["", "DESC"] {
                let plan = try reader.rows("EXPLAIN QUERY PLAN \(select) \(filter) ORDER BY localpart \(order) LIMIT 5") { $0.text(3) }
                #expect(plan.count == 1 && plan[0].contains("\(index) (domainpart=? AND localpart>? AND localpart<?)"), "\(plan)")
            }
        }
    }

    @Test("how many rooms somebody has created is counted by the index")
    func creatorIndex() throws {
        try open().close()
        let connection = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { connection.close() }
        let plan = try connection.rows("EXPLAIN QUERY PLAN SELECT COUNT(*) FROM (SELECT 1 FROM room WHERE creator = 'x' LIMIT 2) AS created") { $0.text(3) }
        #expect(plan.contains { $0.contains("room_creator (creator=?)") }, "\(plan)")
    }

    @Test("a database of before there were rooms is read on, and its next room has the next number")
    func migration() async throws {
        let driver = SQLiteDriver(file: folder.path + "/martlet.db")
        let connection = try driver.openWriter()
        try Schema.migrate(connection, dialect: driver.dialect, by: Array(Schema.migrations.prefix(4)))
        try connection.execute(
            """
            INSERT INTO account VALUES (1, 'capulet.example', 'juliet', 0, 1, 0); UPDATE meta SET value = 2 WHERE name = 'last_account';
            INSERT INTO log VALUES (1, 1, x'01000000000000000100000000000000050200000001', CAST('<message/>' AS BLOB)),
                (2, 1, x'01000000000000000100000000000000060200000001', CAST('<message/>' AS BLOB));
            INSERT INTO archive VALUES (1, 5, 1, 10, 1, 0); INSERT INTO archive_account SELECT 1, 0, 1, 10;
            INSERT INTO document VALUES (1, 'n', '', x'01'); UPDATE meta SET value = 1 WHERE name = 'indexed_up_to'
            """)
        connection.close()
        let store = try open()
        #expect(files(in: folder.path).contains("martlet.db.schema-4"))
        let account = try #require(try await store.load(juliet)).id
        #expect(try await views(store, account) == [5, 6])
        #expect(try await store.document(account, DocumentKey(namespace: "n")) == ByteBuffer(bytes: [1]))
        let id = try await create(store)
        #expect(id == AccountID(raw: 3))
        try await store.commit([said("m", (id, 1))])
        try await store.finishIndex()
        #expect(try await views(store, account) == [5, 6])
        store.close()
        #expect(try problems() == [])
    }

    @Test(
        "the check finds what is wrong with rooms",
        arguments: [
            "UPDATE room SET domainpart = 'Chat.Example'", "UPDATE room SET localpart = '' WHERE id = 1", "UPDATE room_affiliation SET address = 'a b@x.example'",
            "UPDATE room_affiliation SET affiliation = 256", "UPDATE meta SET value = 1 WHERE name = 'last_account'",
            "INSERT INTO account VALUES (1, 'x.example', 'a', 0, 1, 0, 0)", "PRAGMA foreign_keys = OFF; INSERT INTO room_document VALUES (99, 'n', '', x'')",
            "DELETE FROM log WHERE id = 1", "DELETE FROM archive; DELETE FROM archive_account", "INSERT INTO archive VALUES (2, 9, 999, 1, 1, 0)",
        ])
    func damage(_ sql: String) async throws {
        let store = try open()
        let id = try await create(store)
        _ = try await create(store, heath)
        try await store.commit([said("one", (id, 1)), .room(.setAffiliation(id, StoredAffiliation(address: .bare(juliet), affiliation: 1)))])
        try await store.finishIndex()
        #expect(try problems() == [])
        try await store.execute(sql)
        store.close()
        #expect(try problems().isEmpty == false)
    }
}
