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

/// The data folder, its upgrades, its damage and its backups.
@Suite("The files of the embedded store")
struct FilesTests {
    private let folder = TemporaryFolder()
    private var data: String { folder.path + "/data" }
    private var database: String { data + "/martlet.db" }

    private func open(_ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: data, options: options(FatalErrors(), change))
    }

    private func makeStore(messages: UInt64 = 100) async throws {
        let store = try open()
        let id = try await store.create(juliet, [credentials(.sha256)])
        if messages > 0 { try await store.commit((1...messages).map { entry("message \($0)", (id, $0)) }) }
        try await store.finishIndex()
        store.close()
    }

    private func overwrite(_ path: String, at offset: Int, with bytes: [UInt8]) {
        let descriptor = Self.open(path)
        pwrite(descriptor, bytes, bytes.count, off_t(offset))
        close(descriptor)
    }

    private static func open(_ path: String) -> Int32 {
        #if canImport(Glibc)
        Glibc.open(path, O_RDWR | O_CREAT, 0o600)
        #else
        Darwin.open(path, O_RDWR | O_CREAT, 0o600)
        #endif
    }

    private func byte(_ path: String, at offset: Int) -> UInt8 {
        var byte: UInt8 = 0
        let descriptor = Self.open(path)
        pread(descriptor, &byte, 1, off_t(offset))
        close(descriptor)
        return byte
    }

    // MARK: The folder

    @Test("folder and files are for the server's user only")
    func modes() async throws {
        mkdir(data, 0o755)
        let store = try open { $0.reserveBytes = 1 << 16 }
        defer { store.close() }
        try await store.create(juliet)
        #expect(permissions(data) == 0o700)
        let names = files(in: data)
        #expect(names == ["martlet.db", "martlet.db-wal", "martlet.db-shm", "martlet.lock", "martlet.reserve"])
        for name in names { #expect(permissions(data + "/" + name) == 0o600, "\(name)") }
        store.releaseReserve()
        #expect(!files(in: data).contains("martlet.reserve"))
    }

    @Test("a folder is used by one process at a time, and the other is told which")
    func lock() throws {
        let store = try open { $0.holder = "martlet serve" }
        #expect(throws: StorageError.locked(data, by: "process \(getpid()) (martlet serve)")) { try open() }
        store.close()
        try open().close()
    }

    @Test("without a database there is a clear message, and nothing is made")
    func missing() throws {
        #expect(throws: StorageError.missing(data)) { try open { $0.creates = false } }
        mkdir(data, 0o700)
        #expect(throws: StorageError.missing(database)) { try open { $0.creates = false } }
        #expect(!files(in: data).contains("martlet.db"))
    }

    @Test("a file in the folder's place has a clear message")
    func file() throws {
        close(Self.open(data))
        #expect(throws: StorageError.refused(data, reason: "is not a folder")) { try open() }
    }

    @Test("a folder that cannot be written has a clear message", .enabled(if: geteuid() != 0))
    func readOnly() throws {
        mkdir(data, 0o500)
        #expect(throws: StorageError.readOnly(data)) { try open() }
        chmod(data, 0o700)
    }

    @Test("a write-ahead log without its database is not taken for a new one")
    func orphanedLog() async throws {
        try await makeStore()
        overwrite(database + "-wal", at: 0, with: [1])
        unlink(database)
        #expect(throws: StorageError.self) { try open() }
    }

    // MARK: Damage

    @Test("what is no database has a clear message", arguments: [0, 10])
    func noDatabase(_ offset: Int) async throws {
        try await makeStore()
        overwrite(database, at: offset, with: Array("garbage".utf8))
        #expect(throws: StorageError.notADatabase(database)) { try open() }
        #expect(throws: StorageError.notADatabase(database)) { try SQLiteStore.verify(folder: data) }
    }

    @Test("another program's database is left alone")
    func foreign() throws {
        mkdir(data, 0o700)
        let other = try SQLiteDriver(file: database).openWriter()
        try other.execute("CREATE TABLE recipes (name TEXT)")
        other.close()
        #expect(throws: StorageError.foreign(database)) { try open() }
    }

    @Test("a broken page is found by the check, and reads of it are refused, not invented")
    func brokenPage() async throws {
        try await makeStore(messages: 2_000)
        for page in 2..<40 { overwrite(database, at: page * 4_096, with: Array(repeating: 0xff, count: 64)) }
        let report = try? SQLiteStore.verify(folder: data)
        #expect(report?.problems.isEmpty != true)
        guard let store = try? open() else { return }
        defer { store.close() }
        await #expect(throws: StoreError.self) {
            let account = try #require(try await store.load(juliet))
            _ = try await store.messages(of: account.id)
        }
    }

    @Test(
        "the check finds what SQLite cannot know",
        arguments: [
            "INSERT INTO archive VALUES (1, 1, 999, 1, 1, 0)", "INSERT INTO archive_account VALUES (1, 0, 3, 0)",
            "UPDATE log SET views = x'01000000000000000100000000000000070200000000' WHERE id = 7", "DELETE FROM meta WHERE name = 'archive_floor'",
            "DELETE FROM log WHERE id = 5", "DELETE FROM posting WHERE view_id = 7", "UPDATE log SET views = x'00' WHERE id = 3",
            "UPDATE account SET domainpart = 'Capulet.Example'", "UPDATE credential SET stored_key = x'00'",
            "DELETE FROM meta WHERE name = 'id_ceiling'", "UPDATE meta SET value = 0 WHERE name = 'last_account'",
            "INSERT INTO cursor VALUES (99, 1)", "PRAGMA foreign_keys = OFF; INSERT INTO roster_version VALUES (99, 1)",
            "INSERT INTO roster VALUES (1, 'not an address @', NULL, x'', 0, NULL, 1)",
            "INSERT INTO roster VALUES (1, 'a@x.example', NULL, x'0000', 0, NULL, 1)",
        ])
    func semanticDamage(_ sql: String) async throws {
        try await makeStore()
        #expect(try SQLiteStore.verify(folder: data).problems == [])
        let store = try open()
        try await store.execute(sql)
        store.close()
        #expect(try SQLiteStore.verify(folder: data).problems.count >= 1)
    }

    // MARK: Full disks

    @Test("a database that may not grow refuses writes, and takes them again when it may (P19)")
    func pageLimit() async throws {
        let fatal = FatalErrors()
        let store = try SQLiteStore.open(folder: data, options: options(fatal))
        defer { store.close() }
        let id = try await store.create(juliet)
        try await store.execute("PRAGMA max_page_count = 40")
        try await fillAndFree(store, id) { try? await store.execute("PRAGMA max_page_count = 100000") }
        #expect(fatal.all.isEmpty)
    }

    @Test("the disk itself full: nothing acknowledged is lost, and writing goes on when there is space (P19)", .enabled(if: canMount()))
    func tmpfs() async throws {
        mkdir(data, 0o700)
        try #require(mount(data, "size=2m"))
        defer { unmount(data) }
        let fatal = FatalErrors()
        let store = try SQLiteStore.open(folder: data, options: options(fatal) { $0.reserveBytes = 1 << 20 })
        let id = try await store.create(juliet)
        let acknowledged = try await fillAndFree(store, id) { store.releaseReserve() }
        #expect(fatal.all.isEmpty)
        store.close()
        let again = try SQLiteStore.open(folder: data, options: options(fatal))
        #expect(try await again.messages(of: id, limit: 100_000).map(\.view) == acknowledged)
        again.close()
    }

    /// Appends until the disk refuses, frees space, appends again; gives what was acknowledged.
    @discardableResult
    private func fillAndFree(_ store: SQLiteStore, _ id: AccountID, _ free: () async -> Void) async throws -> [UInt64] {
        let text = String(repeating: "x", count: 2_000)
        var (acknowledged, view) = ([UInt64](), UInt64(0))
        func append() async throws {
            view += 1
            try await store.commit([entry(text, (id, view))])
            acknowledged.append(view)
        }
        await #expect(throws: StoreError.full) { while view < 5_000 { try await append() } }
        await #expect(throws: StoreError.full) { for _ in 0..<10 { try await append() } }
        #expect(try await store.messages(of: id, limit: 100_000).map(\.view) == acknowledged)
        await free()
        for _ in 0..<20 { try await append() }
        #expect(try await store.messages(of: id, limit: 100_000).map(\.view) == acknowledged)
        return acknowledged
    }

    // MARK: Upgrades

    /// The versions after those of this server.
    private static let known = Schema.migrations.last?.version ?? 0
    private static let broken = Migration(version: known + 2) { _ in ["CREATE TABLE a (x INTEGER)", "CREATE TABLE a (x INTEGER)"] }
    private static let second = Migration(version: known + 1) { _ in
        ["CREATE TABLE extra (x INTEGER)", "INSERT INTO extra SELECT id FROM account"]
    }

    @Test("an upgrade that dies in the middle leaves the schema as it was, and is done the next time (P16)")
    func migrationFails() async throws {
        try await makeStore()
        #expect(throws: StorageError.self) { try open { $0.migrations = Schema.migrations + [Self.second, Self.broken] } }
        let report = try SQLiteStore.verify(folder: data, migrations: Schema.migrations + [Self.second])
        #expect(report.schema == Self.known + 1 && report.problems.isEmpty && report.accounts == 1)
        let repaired = Migration(version: Self.known + 2) { _ in ["CREATE TABLE a (x INTEGER)"] }
        let store = try open { $0.migrations = Schema.migrations + [Self.second, repaired] }
        #expect(try await store.load(juliet)?.undelivered == 100)
        store.close()
    }

    @Test("each step of an upgrade can die before its commit (P16)", arguments: 1...Self.known + 2)
    func migrationDies(_ commit: Int) async throws {
        let faults = FaultyDriver.Faults()
        faults.fail(with: SQLError(.io, "dies"), at: commit)
        let migrations = Schema.migrations + [Self.second, Migration(version: Self.known + 2) { _ in ["CREATE TABLE a (x INTEGER)"] }]
        #expect(throws: StorageError.self) {
            try open {
                $0.migrations = migrations
                $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) }
            }
        }
        let reader = try SQLiteDriver(file: database).openReader()
        #expect(((try? reader.rows("SELECT version FROM schema_version") { Int($0.integer(0)) }.first) ?? 0) == commit - 1)
        reader.close()
        let store = try open { $0.migrations = migrations }
        try await store.create(juliet)
        store.close()
    }

    @Test("an upgrade keeps a copy that the older version can use")
    func copy() async throws {
        try await makeStore()
        try open { $0.migrations = Schema.migrations + [Self.second] }.close()
        let kept = data + "/martlet.db.schema-\(Self.known)"
        #expect(permissions(kept) == 0o600)
        unlink(database)
        rename(kept, database)
        let store = try open()
        #expect(try await store.load(juliet)?.undelivered == 100)
        store.close()
    }

    @Test("an older version refuses a newer schema and leaves it alone (P16)")
    func newerSchema() async throws {
        try open { $0.migrations = Schema.migrations + [Self.second] }.close()
        let error = StorageError.newerSchema(database, found: Self.known + 1, known: Self.known)
        #expect(throws: error) { try open() }
        #expect(error.description.contains("written by a newer version (schema \(Self.known + 1); this version knows up to \(Self.known))"))
        #expect(try SQLiteStore.verify(folder: data).problems == ["the schema \(Self.known + 1) is newer than this version's, \(Self.known)"])
        try open { $0.migrations = Schema.migrations + [Self.second] }.close()
    }

    // MARK: Backups

    private var backup: String { folder.path + "/backup" }

    @Test("a backup taken while writes go on is one moment of the database, and restores to it (P14)")
    func backupUnderLoad() async throws {
        let store = try open { $0.indexThreshold = 200 }
        let id = try await store.create(juliet)
        let isDone = Mutex(false)
        let steps = Mutex(0)
        let writing = Task {
            var view: UInt64 = 0
            while !isDone.withLock({ $0 }) {
                view += 1
                try await store.commit([
                    entry(String(repeating: "m", count: 3_000), (id, view)),
                    .document(id, DocumentKey(namespace: "last"), ByteBuffer(string: "\(view)")),
                ])
            }
            return view
        }
        while try await store.load(juliet)?.undelivered ?? 0 < 300 {}
        let manifest = try await store.backup(to: backup) { _ in steps.withLock { $0 += 1 } }
        isDone.withLock { $0 = true }
        let last = try await writing.value
        store.close()
        #expect(steps.withLock { $0 } > 0 && manifest.bytes > 300 * 3_000)
        #expect(permissions(backup) == 0o600 && permissions(backup + ".manifest") == 0o600)
        #expect(files(in: folder.path) == ["data", "backup", "backup.manifest"])
        let report = try SQLiteStore.verify(backup: backup)
        #expect(report.problems == [] && report.accounts == 1)

        let restored = folder.path + "/restored"
        try SQLiteStore.restore(from: backup, to: restored, overwriting: false)
        let copy = try SQLiteStore.open(folder: restored, options: options())
        defer { copy.close() }
        let moment = UInt64(String(buffer: try #require(try await copy.document(id, DocumentKey(namespace: "last"))))) ?? 0
        #expect(moment >= 300 && moment <= last)
        #expect(try await copy.messages(of: id, limit: 100_000).map(\.view) == Array(1...moment))
    }

    @Test("a single changed bit of a backup is found, wherever it is", arguments: 0..<8)
    func corruptedBackup(_ place: Int) async throws {
        try await makeStore()
        let manifest = try SQLiteStore.backup(folder: data, to: backup, created: 1)
        let offset = manifest.bytes / 8 * place + place
        overwrite(backup, at: offset, with: [byte(backup, at: offset) ^ 1])
        #expect(throws: StorageError.self) { try SQLiteStore.verify(backup: backup) }
        #expect(throws: StorageError.self) { try SQLiteStore.restore(from: backup, to: folder.path + "/new", overwriting: true) }
        #expect(files(in: folder.path + "/new").isEmpty)
    }

    @Test("a backup without its manifest is not trusted")
    func noManifest() async throws {
        try await makeStore()
        try SQLiteStore.backup(folder: data, to: backup, created: 1)
        unlink(backup + ".manifest")
        #expect(throws: StorageError.self) { try SQLiteStore.verify(backup: backup) }
    }

    @Test("nothing is overwritten unasked, and what a restore replaces is kept")
    func overwriting() async throws {
        try await makeStore()
        try SQLiteStore.backup(folder: data, to: backup, created: 1)
        #expect(throws: StorageError.exists(backup)) { try SQLiteStore.backup(folder: data, to: backup, created: 1) }
        #expect(throws: StorageError.exists(database)) { try SQLiteStore.restore(from: backup, to: data, overwriting: false) }
        var store = try open()
        #expect(throws: (any Error).self) { try SQLiteStore.restore(from: backup, to: data, overwriting: true) }
        try await store.delete(juliet)
        try await store.create(romeo)
        store.close()
        try SQLiteStore.restore(from: backup, to: data, overwriting: true)
        store = try open()
        #expect(try await store.load(juliet)?.undelivered == 100)
        #expect(try await store.load(romeo) == nil)
        store.close()
        #expect(files(in: data).contains("martlet.db.replaced"))
    }

    @Test("a restore that was killed in the middle is noticed and can be run again")
    func interruptedRestore() async throws {
        try await makeStore()
        try SQLiteStore.backup(folder: data, to: backup, created: 1)
        rename(database, data + "/martlet.db.replaced")
        close(Self.open(data + "/martlet.db.restoring"))
        #expect(throws: StorageError.interruptedRestore(data)) { try open() }
        try SQLiteStore.restore(from: backup, to: data, overwriting: false)
        let store = try open()
        #expect(try await store.load(juliet)?.undelivered == 100)
        store.close()
    }

    @Test("a backup of what is not there has a clear message")
    func backupOfNothing() {
        #expect(throws: StorageError.missing(database)) { try SQLiteStore.backup(folder: data, to: backup, created: 1) }
        #expect(throws: StorageError.missing(backup)) { try SQLiteStore.verify(backup: backup) }
        #expect(files(in: folder.path).isEmpty)
    }
}

/// Whether this process may mount a file system of its own.
private func canMount() -> Bool {
    #if os(Linux)
    guard geteuid() == 0 else { return false }
    let folder = TemporaryFolder()
    guard mount(folder.path, "size=64k") else { return false }
    unmount(folder.path)
    return true
    #else
    return false
    #endif
}

private func mount(_ path: String, _ size: String) -> Bool {
    #if os(Linux)
    Glibc.mount("tmpfs", path, "tmpfs", 0, size) == 0
    #else
    false
    #endif
}

private func unmount(_ path: String) {
    #if os(Linux)
    umount2(path, 2)
    #endif
}
