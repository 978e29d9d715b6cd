import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Synchronization
import Testing

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// A message from romeo that the archive keeps.
private func said(_ text: String, _ views: (AccountID, UInt64)..., from sender: String = "romeo@montague.example/orchard") -> Write {
    let message = stanza("<message from='\(sender)' to='juliet@capulet.example' type='chat'><body>\(text)</body></message>")
    let peer = jid(String(sender.prefix { $0 != "/" }))
    let views = views.map { LogEntry.View(owner: $0.0, id: $0.1, awaitsDelivery: false, archived: ArchiveMark(with: peer, isSent: false)) }
    return .log(LogEntry(stanza: message, views: views, time: 1))
}

extension Store {
    fileprivate func found(
        _ text: String?, in account: AccountID, limit: Int = 100, _ change: (inout ArchiveRequest) -> Void = { _ in }
    ) async throws -> [UInt64] {
        var request = ArchiveRequest(limit: limit)
        request.text = text
        change(&request)
        return try #require(try await archive(of: account, request)).messages.map(\.view)
    }
}

/// What every store has to find, asked of each.
@Suite("The contract of a store: words and weights of archives")
struct ArchiveTextContractTests {
    @Test("all words of a search have to be there, however they are written", arguments: StoreKind.allCases)
    func words(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([
                said("But, soft! what light through yonder window breaks?", (id, 1)), said("Crème brûlée by the window", (id, 2)),
                said("東京タワー", (id, 3)), said("京の東", (id, 4)), said("", (id, 5)), said("NOT near", (id, 6)),
            ])
            #expect(try await store.found("window", in: id) == [1, 2])
            #expect(try await store.found("WINDOW  light!", in: id) == [1])
            #expect(try await store.found("creme BRULEE", in: id) == [2])
            #expect(try await store.found("wind", in: id) == [])
            #expect(try await store.found("東京", in: id) == [3, 4])
            #expect(try await store.found("東京タ", in: id) == [3])
            #expect(try await store.found(nil, in: id) == [1, 2, 3, 4, 5, 6])
        }
    }

    @Test("nothing in a search is an operator, and a search without words finds nothing", arguments: StoreKind.allCases)
    func syntax(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([said("one two near not", (id, 1)), said("one", (id, 2)), said("_1 words", (id, 3))])
            for text in ["one OR two", "one AND two", "one -two", "one NOT three", "on*", "words:one three", "NEAR(one, three)", "^one ^two ^three", "\"one three\""] {
                let expected: [UInt64] = text == "one -two" ? [1] : []
                #expect(try await store.found(text, in: id) == expected, "\(text)")
            }
            for text in ["\"one\"", "'one' (near)", "one + two", "{one}", "one:", "one;--"] {
                #expect(try await store.found(text, in: id).contains(1), "\(text)")
            }
            for text in ["", " ", "!?", "\"", "*", "\u{301}", "_"] { #expect(try await store.found(text, in: id) == [], "\(text)") }
            #expect(try await store.found("_1", in: id) == [3])
        }
    }

    @Test("a search of more words than the index is asked for still wants all", arguments: StoreKind.allCases)
    func manyWords(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let words = (100...140).map { "w\($0)" }
            try await store.commit([said(words.joined(separator: " "), (id, 1)), said(words.dropLast().joined(separator: " "), (id, 2))])
            #expect(try await store.found(words.joined(separator: " "), in: id) == [1])
            #expect(try await store.found(words.dropLast().joined(separator: " "), in: id) == [1, 2])
        }
    }

    @Test("a search is one filter among the others, and comes in pages", arguments: StoreKind.allCases)
    func filters(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit((1...600 as ClosedRange<UInt64>).map { name in
                said(name % 100 == 0 ? "rare word" : "word", (id, name), from: name % 200 == 0 ? "nurse@capulet.example" : "romeo@montague.example/orchard")
            })
            #expect(try await store.found("rare", in: id) == [100, 200, 300, 400, 500, 600])
            #expect(try await store.found("rare", in: id) { $0.peer = .bare(nurse) } == [200, 400, 600])
            #expect(try await store.found("rare", in: id) { $0.peer = try? JID("romeo@montague.example/orchard") } == [100, 300, 500])
            #expect(try await store.found("rare", in: id, limit: 2) { $0.after = 100 } == [200, 300])
            #expect(try await store.found("rare", in: id, limit: 2) { $0.isBackwards = true } == [500, 600])
            #expect(try await store.found("rare", in: id) { $0.ids = [99, 100, 200] } == [100, 200])
            #expect(try await store.found("rare", in: id) { $0.start = 2 } == [])
            #expect(try await store.found("word", in: id, limit: 1_000).count == 600)
        }
    }

    @Test("a search meets only the archive's own messages, and none that it forgot", arguments: StoreKind.allCases)
    func owners(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([said("secret", (a, 1), (b, 7)), said("secret", (b, 8)), said("secret", (a, 2)), entry("secret", (a, 3))])
            #expect(try await store.found("secret", in: a) == [1, 2])
            #expect(try await store.found("secret", in: b) == [7, 8])
            try await store.commit([.archiveFloor(a, upTo: 1)])
            #expect(try await store.found("secret", in: a) == [2])
            #expect(try await store.found("secret", in: b) == [7, 8])
            try await store.delete(romeo)
            #expect(try await store.found("secret", in: b) == [])
            #expect(try await store.found("secret", in: a) == [2])
        }
    }

    @Test("a page stops before its stanzas exceed its bytes, but has a message", arguments: StoreKind.allCases)
    func bytes(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit((1...9).map { said("12345", (id, $0)) })
            let size = try #require(try await store.archive(of: id, ArchiveRequest(limit: 1))?.messages.first).stanza.bytes.readableBytes
            func page(_ bytes: Int, _ limit: Int = 100, _ change: (inout ArchiveRequest) -> Void = { _ in }) async throws -> String {
                var request = ArchiveRequest(limit: limit)
                request.bytesMax = bytes
                change(&request)
                let page = try #require(try await store.archive(of: id, request))
                return page.messages.map { String($0.view) }.joined(separator: " ") + (page.isComplete ? " complete" : "")
            }
            #expect(try await page(3 * size) == "1 2 3")
            #expect(try await page(3 * size - 1) == "1 2")
            #expect(try await page(3 * size) { $0.after = 6 } == "7 8 9 complete")
            #expect(try await page(3 * size - 1) { $0.after = 6 } == "7 8")
            #expect(try await page(0) == "1")
            #expect(try await page(0) { $0.after = 8 } == "9 complete")
            #expect(try await page(2 * size) { $0.isBackwards = true } == "8 9")
            #expect(try await page(3 * size, 2) == "1 2")
            #expect(try await page(2 * size, 2) { $0.after = 7 } == "8 9 complete")
            #expect(try await page(3 * size) { $0.peer = try? JID("romeo@montague.example/orchard") } == "1 2 3")
            #expect(try await page(size) { $0.text = "12345" } == "1")
        }
        #expect(ArchiveRequest(limit: 1).bytesMax == 1 << 20)
    }
}

/// The table of words: what only SQLite has.
@Suite("The index of words")
struct TextIndexTests {
    private let folder = TemporaryFolder()

    private final class ManualTime: TimeSource {
        private let hours = Mutex<Int64>(0)
        var monotonic: NIODeadline { .uptimeNanoseconds(0) + .hours(hours.withLock { $0 }) }
        var wallMilliseconds: Int64 { 1_700_000_000_000 }
        func advance(hours count: Int64) { hours.withLock { $0 += count } }
    }

    private func open(_ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: folder.path, options: options(FatalErrors(), change))
    }

    private func read(_ sql: String) throws -> [Int64] {
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        return try reader.rows(sql) { $0.integer(0) }
    }

    private func rows(with words: String) throws -> [Int64] { try read("SELECT rowid FROM archive_text WHERE archive_text MATCH '\(words)'") }
    private func number(_ name: String) throws -> Int64 { try read("SELECT value FROM meta WHERE name = '\(name)'")[0] }

    /// Empties the write-ahead log, which has what was written last.
    private static let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)"

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

    @Test("words follow the index: what is not in the table yet is found by looking, what is, is not looked for twice")
    func merging() async throws {
        let store = try open()
        let id = try await store.create(juliet)
        try await store.commit((1...700).map { said("first \($0 % 7 == 0 ? "seventh" : "other")", (id, $0)) })
        #expect(try read("SELECT COUNT(*) FROM archive_text_data WHERE id > 10") == [0])
        #expect(try await store.found("seventh", in: id, limit: 1_000).count == 100)
        try await store.finishIndex()
        #expect(try rows(with: "seventh").count == 100)
        #expect(try number("text_indexed_up_to") == 700)
        try await store.commit((701...1_400).map { said("second \($0 % 7 == 0 ? "seventh" : "other")", (id, $0)) })
        #expect(try await store.found("seventh", in: id, limit: 1_000) == (1...200).map { $0 * 7 })
        #expect(try await store.found("seventh", in: id, limit: 3) { $0.isBackwards = true } == [1_386, 1_393, 1_400])
        // As after a merge whose words are still to come.
        try await store.finishIndex()
        try await store.execute("UPDATE meta SET value = 500 WHERE name = 'text_indexed_up_to'; INSERT INTO archive_text (archive_text) VALUES ('delete-all')")
        #expect(try await store.found("seventh", in: id, limit: 1_000) == (72...200).map { $0 * 7 })
        store.close()
    }

    @Test("a deleted message is not found, and its words do not stay on the disk")
    func deletion() async throws {
        var store = try open()
        let id = try await store.create(juliet)
        try await store.commit((1...3_000).map { said("common \($0 <= 1_000 ? "zanzibar" : "elsewhere")", (id, $0)) })
        try await store.finishIndex()
        #expect(try rows(with: "zanzibar").count == 1_000)
        store.close()
        #expect(isOnDisk("zanzibar"))
        store = try open()
        try await store.commit([.archiveFloor(id, upTo: 1_000)])
        try await store.finishIndex()
        #expect(try rows(with: "zanzibar").isEmpty && rows(with: "elsewhere").count == 2_000)
        #expect(try number("text_remains") == 0)
        try await store.execute(Self.checkpoint)
        store.close()
        #expect(!isOnDisk("zanzibar") && isOnDisk("elsewhere"))
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("a deleted account's messages leave no words behind")
    func account() async throws {
        let store = try open()
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit([said("alone", (a, 1)), said("shared", (a, 2), (b, 1))])
        try await store.finishIndex()
        try await store.delete(juliet)
        try await store.finishIndex()
        try await store.execute(Self.checkpoint)
        #expect(try rows(with: "alone").isEmpty && rows(with: "shared") == [2])
        store.close()
        #expect(!isOnDisk("alone"))
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("idle, a store cleans at once, and then not before a day has passed")
    func cleaning() async throws {
        let time = ManualTime()
        // Every cursor's move is a reason to purge: 256 of them, one for each message.
        let store = try open { ($0.time, $0.indexThreshold) = (time, 1) }
        let id = try await store.create(juliet)
        func forget(_ names: ClosedRange<UInt64>) async throws {
            try await store.commit(names.map { said("fleeting", (id, $0)) })
            try await settle(store) { try number("text_indexed_up_to") >= Int64(names.upperBound) }
            try await store.commit(names.map { .archiveFloor(id, upTo: $0) })
            try await settle(store) { try read("SELECT COUNT(*) FROM log") == [0] }
        }
        try await forget(1...256)
        try await settle(store) { try number("text_remains") == 0 }
        try await forget(257...512)
        for _ in 0..<20 { try await store.commit([]) }
        #expect(try number("text_remains") == 256)
        time.advance(hours: 23)
        for _ in 0..<20 { try await store.commit([]) }
        #expect(try number("text_remains") == 256)
        time.advance(hours: 1)
        try await settle(store) { try number("text_remains") == 0 }
        try await store.execute(Self.checkpoint)
        store.close()
        #expect(!isOnDisk("fleeting"))
    }

    /// Lets the writer work until that is so.
    private func settle(_ store: SQLiteStore, _ isSo: () throws -> Bool) async throws {
        for _ in 0..<10_000 {
            if try isSo() { return }
            try await store.commit([])
        }
        Issue.record("never so")
    }

    @Test("an index by other rules is made anew")
    func rules() async throws {
        var store = try open()
        let id = try await store.create(juliet)
        try await store.commit([said("new", (id, 1))])
        try await store.finishIndex()
        try await store.execute(
            "INSERT INTO archive_text (rowid, words) VALUES (2, '_1 old'); UPDATE meta SET value = 0 WHERE name = 'text_rules'")
        store.close()
        store = try open()
        try await store.finishIndex()
        #expect(try rows(with: "old").isEmpty && rows(with: "new") == [1])
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("a process that dies between any two steps loses no words and keeps none too many", arguments: 1...20)
    func crash(_ commit: Int) async throws {
        let faults = FaultyDriver.Faults()
        var store = try open { $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) } }
        let id = try await store.create(juliet)
        try await store.commit((1...1_000).map { said("word\($0 % 10)", (id, $0)) })
        if commit > 10 { try await store.finishIndex() }
        try await store.commit([.archiveFloor(id, upTo: 500)] + (1_001...1_100).map { said("word\($0 % 10)", (id, $0)) })
        faults.fail(with: SQLError(.io, "dies"), at: commit > 10 ? commit - 10 : commit)
        try? await store.finishIndex()
        store.close()
        store = try open()
        let expected = (501...1_100 as ClosedRange<UInt64>).filter { $0 % 10 == 3 }
        #expect(try await store.found("word3", in: id) == expected)
        try await store.finishIndex()
        #expect(try await store.found("word3", in: id) == expected)
        #expect(try rows(with: "word3").count == expected.count)
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test(
        "the check finds words of messages that are gone, and messages without their words",
        arguments: ["INSERT INTO archive_text (rowid, words) VALUES (999, '_1 ghost')", "INSERT INTO archive_text (archive_text) VALUES ('delete-all')",
            "INSERT INTO archive_text (archive_text, rowid, words) VALUES ('delete', 2, '_1 two')", "DELETE FROM meta WHERE name = 'text_rules'"])
    func damage(_ sql: String) async throws {
        let store = try open()
        let id = try await store.create(juliet)
        try await store.commit([said("one", (id, 1)), said("two", (id, 2))])
        try await store.finishIndex()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
        try await store.execute(sql)
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems.isEmpty == false)
    }

    @Test("archives of before there were words are searched at once, and indexed in steps")
    func migration() async throws {
        let driver = SQLiteDriver(file: folder.path + "/martlet.db")
        let connection = try driver.openWriter()
        try Schema.migrate(connection, dialect: driver.dialect, by: Array(Schema.migrations.prefix(2)))
        let message = "<message from=''romeo@montague.example'' to=''juliet@capulet.example''><body>Good pilgrim</body></message>"
        try connection.execute(
            """
            INSERT INTO account VALUES (1, 'capulet.example', 'juliet', 0, 1, 0); UPDATE meta SET value = 1 WHERE name = 'last_account';
            INSERT INTO log VALUES (1, 1, x'01000000000000000100000000000000050200000001', CAST('\(message)' AS BLOB));
            INSERT INTO archive VALUES (1, 5, 1, 95, 1, 0); INSERT INTO archive_account SELECT 1, 0, 1, 95;
            UPDATE meta SET value = 1 WHERE name = 'indexed_up_to'
            """)
        connection.close()
        let store = try open()
        #expect(try await store.found("pilgrim", in: AccountID(raw: 1)) == [5])
        try await store.finishIndex()
        #expect(try rows(with: "pilgrim") == [1])
        #expect(try await store.found("pilgrim", in: AccountID(raw: 1)) == [5])
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
    }

    @Test("a backup has the words too")
    func backup() async throws {
        let store = try open()
        let id = try await store.create(juliet)
        try await store.commit([said("treasure", (id, 1))])
        try await store.finishIndex()
        let other = TemporaryFolder()
        try await store.backup(to: other.path + "/backup")
        store.close()
        try SQLiteStore.restore(from: other.path + "/backup", to: other.path + "/data", overwriting: false)
        let copy = try SQLiteStore.open(folder: other.path + "/data", options: options())
        #expect(try await copy.found("treasure", in: id) == [1])
        copy.close()
    }
}
