internal import CSQLite
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#else
internal import Darwin
#endif

/// SQLite through the system's library, in WAL mode with `synchronous=FULL`, unless told otherwise: a commit that returned
/// survives the power cord.
package struct SQLiteDriver: SQLDriver {
    /// How long a connection waits for a lock of another process, in milliseconds. Nobody but us writes in a running
    /// server's folder; an operator's shell may.
    package static let busyTimeoutMilliseconds: Int32 = 5_000
    /// The write-ahead log is written back into the database once it has this many pages (4 MiB).
    package static let checkpointPages: Int32 = 1_024
    /// The file of the write-ahead log is cut to this many bytes when it starts over.
    package static let journalBytesKept = 16 << 20

    /// What a commit that returned survives.
    package enum Synchronous: String, Hashable, Sendable {
        /// A power cut.
        case full
        /// The end of the process; a power cut may take the last moments, but nothing of what was there before.
        case normal

        fileprivate var pragma: Int64 { self == .full ? 2 : 1 }
    }

    package var file: String
    package var synchronous: Synchronous
    /// The name of SQLite's file system to use instead of the usual one; tests have one that fails.
    package var fileSystem: String?

    package init(file: String, synchronous: Synchronous = .full, fileSystem: String? = nil) {
        self.file = file
        self.synchronous = synchronous
        self.fileSystem = fileSystem
    }

    package var dialect: SQLDialect {
        SQLDialect(
            integer: "INTEGER", bytes: "BLOB", text: "TEXT", tableOptions: "STRICT", clusteredTableOptions: "STRICT, WITHOUT ROWID")
    }

    package func openWriter() throws(SQLError) -> any SQLConnection {
        let connection = try SQLiteConnection(file: file, flags: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, fileSystem: fileSystem)
        do throws(SQLError) {
            try connection.becomeWriter(synchronous)
        } catch {
            connection.close()
            throw error
        }
        return connection
    }

    package func openReader() throws(SQLError) -> any SQLConnection {
        let connection = try SQLiteConnection(file: file, flags: SQLITE_OPEN_READONLY, fileSystem: fileSystem)
        do throws(SQLError) {
            try connection.execute("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY")
        } catch {
            connection.close()
            throw error
        }
        return connection
    }
}

/// One connection of SQLite's. Not for two threads at a time.
final class SQLiteConnection: SQLConnection {
    private(set) var handle: OpaquePointer?
    /// Pages in the write-ahead log after the last commit.
    private var journalPages: Int32 = 0
    /// How many there were when they were last written back; the log only starts over when no reader needs it.
    private var checkpointedPages: Int32 = 0
    /// A write or an fsync failed.
    private var hasFailed = false

    init(file: String, flags: Int32, fileSystem: String? = nil) throws(SQLError) {
        let code = sqlite3_open_v2(file, &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, fileSystem)
        guard code == SQLITE_OK else {
            let error = error(code)
            close()
            throw error
        }
        sqlite3_busy_timeout(handle, SQLiteDriver.busyTimeoutMilliseconds)
    }

    deinit { close() }

    /// After a failed write or fsync the handle is left as it is, until the process ends: the last connection that closes writes the
    /// write-ahead log back, and tries the fsync again that has failed.
    func close() {
        if hasFailed { handle = nil }
        // Statements that are still alive keep the handle as a zombie until they go.
        sqlite3_close_v2(handle)
        handle = nil
    }

    /// WAL, synchronisation, foreign keys, deletion; each is read back, because a pragma that is not understood says nothing.
    fileprivate func becomeWriter(_ synchronous: SQLiteDriver.Synchronous) throws(SQLError) {
        try execute(
            """
            PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;
            PRAGMA cache_size = -8192; PRAGMA synchronous = \(synchronous.pragma); PRAGMA foreign_keys = ON;
            PRAGMA secure_delete = ON;
            PRAGMA journal_size_limit = \(SQLiteDriver.journalBytesKept)
            """)
        let mode = try prepare("PRAGMA journal_mode = WAL").first { $0.text(0) }
        guard mode == "wal" else { throw SQLError(.cannotOpen, "the journal mode is \(mode ?? "unknown"), not wal") }
        try require("synchronous", synchronous.pragma)
        promise = "SQLite \(String(cString: sqlite3_libversion())), WAL, synchronous=\(synchronous.rawValue.uppercased())"
        try require("foreign_keys", 1)
        // What is deleted is overwritten: messages that nobody keeps are not left behind in free pages.
        try require("secure_delete", 1)
        countJournalPages()
    }

    private func require(_ pragma: String, _ value: Int64) throws(SQLError) {
        let found = try prepare("PRAGMA \(pragma)").first { $0.integer(0) }
        guard found == value else { throw SQLError(.cannotOpen, "\(pragma) is \(found ?? -1), not \(value)") }
    }

    /// Takes the place of the automatic checkpoint, which would swallow a failed fsync (see ``tidy()``).
    private func countJournalPages() {
        let this = Unmanaged.passUnretained(self).toOpaque()
        sqlite3_wal_hook(handle, { this, _, _, pages in
            if let this { Unmanaged<SQLiteConnection>.fromOpaque(this).takeUnretainedValue().journalPages = pages }
            return SQLITE_OK
        }, this)
    }

    /// Writes the write-ahead log back into the database when it is long enough.
    ///
    /// SQLite's own automatic checkpoint ignores errors: an fsync of the database that failed would be tried again, succeed
    /// for pages that the kernel has dropped, and the log that still had them would be overwritten.
    func tidy() throws(SQLError) {
        if journalPages < checkpointedPages { checkpointedPages = 0 }
        guard journalPages - checkpointedPages >= SQLiteDriver.checkpointPages else { return }
        checkpointedPages = journalPages
        try checkpoint(SQLITE_CHECKPOINT_PASSIVE)
    }

    var changes: Int { Int(sqlite3_changes(handle)) }

    private(set) var promise = "SQLite \(String(cString: sqlite3_libversion())), for reading"

    func checkpoint(_ mode: Int32) throws(SQLError) {
        let code = sqlite3_wal_checkpoint_v2(handle, nil, mode, nil, nil)
        guard code == SQLITE_OK || code & 0xff == SQLITE_BUSY else { throw error(code) }
    }

    func execute(_ sql: String) throws(SQLError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code) }
    }

    func prepare(_ sql: String) throws(SQLError) -> any SQLStatement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, Self.numbered(sql), -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw error(code) }
        return SQLiteStatement(statement, of: self)
    }

    /// `$1` is a name to SQLite, counted by its first use; `?1` is the number.
    private static func numbered(_ sql: String) -> String {
        String(decoding: sql.utf8.map { $0 == UInt8(ascii: "$") ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    }

    func error(_ code: Int32) -> SQLError {
        let message = String(cString: handle == nil ? sqlite3_errstr(code) : sqlite3_errmsg(handle))
        let kind = Self.kind(of: code, errno: handle == nil ? 0 : sqlite3_system_errno(handle))
        if kind == .io { hasFailed = true }
        return SQLError(kind, code: code, message)
    }

    /// Out of space also comes as a failed write or as a failed growth of the shared memory; neither loses anything.
    private static func kind(of code: Int32, errno: Int32) -> SQLError.Kind {
        if (code == ioErrorWrite || code == ioErrorSharedMemory), errno == ENOSPC || errno == EDQUOT { return .full }
        if code == ioErrorNoMemory { return .other }
        return switch code & 0xff {
        case SQLITE_CONSTRAINT: .constraint
        case SQLITE_FULL: .full
        case SQLITE_BUSY, SQLITE_LOCKED: .busy
        case SQLITE_IOERR: .io
        case SQLITE_CORRUPT: .corrupt
        case SQLITE_NOTADB: .notADatabase
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH: .cannotOpen
        case SQLITE_READONLY: .readOnly
        default: .other
        }
    }

    // The header's macros for extended codes are expressions that are not imported.
    private static let ioErrorWrite = SQLITE_IOERR | (3 << 8)
    private static let ioErrorNoMemory = SQLITE_IOERR | (12 << 8)
    private static let ioErrorSharedMemory = SQLITE_IOERR | (19 << 8)
}

/// A prepared statement of SQLite's.
private final class SQLiteStatement: SQLStatement {
    private let handle: OpaquePointer
    private let connection: SQLiteConnection
    /// What is bound is copied: it may be gone before the statement runs.
    private static var copied: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    init(_ handle: OpaquePointer, of connection: SQLiteConnection) {
        self.handle = handle
        self.connection = connection
    }

    deinit { sqlite3_finalize(handle) }

    func bind(_ value: Int64, at parameter: Int) {
        check(sqlite3_bind_int64(handle, Int32(parameter), value))
    }

    func bind(text: UnsafeRawBufferPointer, at parameter: Int) {
        // A null pointer would bind NULL.
        let start = text.isEmpty ? nil : text.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard let start else { return check(sqlite3_bind_text(handle, Int32(parameter), "", 0, Self.copied)) }
        check(sqlite3_bind_text64(handle, Int32(parameter), start, UInt64(text.count), Self.copied, UInt8(SQLITE_UTF8)))
    }

    func bind(bytes: UnsafeRawBufferPointer, at parameter: Int) {
        guard let start = bytes.baseAddress, !bytes.isEmpty else {
            return check(sqlite3_bind_zeroblob(handle, Int32(parameter), 0))
        }
        check(sqlite3_bind_blob64(handle, Int32(parameter), start, UInt64(bytes.count), Self.copied))
    }

    func bindNull(at parameter: Int) { check(sqlite3_bind_null(handle, Int32(parameter))) }

    /// Only a wrong number, a statement in use or an absurd length make binding fail.
    private func check(_ code: Int32) {
        precondition(code == SQLITE_OK, "binding a parameter: \(connection.error(code))")
    }

    func step() throws(SQLError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code: throw connection.error(code)
        }
    }

    func reset() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    func integer(_ column: Int) -> Int64 { sqlite3_column_int64(handle, Int32(column)) }
    func isNull(_ column: Int) -> Bool { sqlite3_column_type(handle, Int32(column)) == SQLITE_NULL }

    func withBytes<Result, Failure: Error>(
        _ column: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // For text as for bytes: the conversion of text to UTF-8 is none.
        let start = sqlite3_column_blob(handle, Int32(column))
        return try body(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, Int32(column)))))
    }
}
