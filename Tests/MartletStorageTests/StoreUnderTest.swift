import Logging
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

/// The stores that have to mean the same.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case memory, sqlite
    /// SQLite with an index that is merged after every other message, so that nothing stays in memory.
    case sqliteWithoutTail
    /// SQLite that looks at two messages of an archive in one turn, among them some of the index that is in memory.
    case sqliteInSlices

    var testDescription: String { rawValue }
}

struct FixedTime: TimeSource {
    var monotonic: NIODeadline { .uptimeNanoseconds(0) }
    var wallMilliseconds: Int64 = 1_700_000_000_000
}

/// A folder that goes with the test.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/martlet-storage-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit { removeTree(path) }
}

func removeTree(_ path: String) {
    if let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { removeTree(path + "/" + name) }
        }
        closedir(directory)
        rmdir(path)
    } else {
        unlink(path)
    }
}

func files(in path: String) -> Set<String> {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: Set<String> = []
    while let entry = readdir(directory) {
        names.insert(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.subtracting([".", ".."])
}

func permissions(_ path: String) -> UInt32 {
    var status = stat()
    return stat(path, &status) == 0 ? UInt32(status.st_mode) & 0o777 : 0
}

/// Fatal errors that the store reported.
final class FatalErrors: Sendable {
    private let errors = Mutex<[StoreError]>([])
    func append(_ error: StoreError) { errors.withLock { $0.append(error) } }
    var all: [StoreError] { errors.withLock { $0 } }
}

func options(_ fatal: FatalErrors = FatalErrors(), _ change: (inout SQLiteStore.Options) -> Void = { _ in }) -> SQLiteStore.Options {
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    var options = SQLiteStore.Options(time: FixedTime(), logger: logger, onFatal: { fatal.append($0) })
    options.reserveBytes = 0
    change(&options)
    return options
}

/// Runs `body` on an empty store of that kind.
func withStore(_ kind: StoreKind, _ body: (any Store) async throws -> Void) async throws {
    switch kind {
    case .memory: try await body(InMemoryStore(time: FixedTime()))
    case .sqlite: try await withSQLite({ _ in }, body)
    case .sqliteWithoutTail: try await withSQLite({ ($0.indexThreshold, $0.archiveSliceRows) = (1, 3) }, body)
    case .sqliteInSlices: try await withSQLite({ $0.archiveSliceRows = 2 }, body)
    }
}

func withSQLite(
    _ change: (inout SQLiteStore.Options) -> Void = { _ in }, _ body: (SQLiteStore) async throws -> Void
) async throws {
    let folder = TemporaryFolder()
    let store = try SQLiteStore.open(folder: folder.path + "/data", options: options(FatalErrors(), change))
    defer { store.close() }
    try await body(store)
    if case .success = await Result(catching: { try await store.finishIndex() }) {
        let report = try SQLiteStore.verify(folder: folder.path + "/data")
        #expect(report.problems == [])
    }
    withExtendedLifetime(folder) {}
}

extension Result where Failure == any Error {
    init(catching body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}

extension Store {
    func load(_ address: BareJID) async throws -> StoredAccount? {
        try await withCheckedContinuation { continuation in
            loadAccount(address) { continuation.resume(returning: $0) }
        }.get()
    }

    func messages(of account: AccountID, after: UInt64 = 0, limit: Int = 100) async throws -> [LoggedMessage] {
        try await withCheckedContinuation { continuation in
            messages(of: account, after: after, limit: limit) { continuation.resume(returning: $0) }
        }.get()
    }

    /// Makes an account and gives its number.
    @discardableResult
    func create(_ address: BareJID, _ credentials: [ScramKeys] = [], isAdmin: Bool = false) async throws -> AccountID {
        try await commit([.account(.create(address, credentials: credentials, isAdmin: isAdmin))])
        return try #require(try await load(address)).id
    }

    func delete(_ address: BareJID) async throws { try await commit([.account(.delete(address))]) }
}

func jid(_ text: String) -> BareJID { try! BareJID(parsing: text) }
let juliet = jid("juliet@capulet.example")
let romeo = jid("romeo@montague.example")
let nurse = jid("nurse@capulet.example")

func stanza(_ text: String) -> EncodedStanza { EncodedStanza(ByteBuffer(string: text)) }

func entry(_ text: String, _ views: (AccountID, UInt64)..., time: Int64 = 1) -> Write {
    .log(LogEntry(stanza: stanza(text), views: views.map { .init(owner: $0.0, id: $0.1) }, time: time))
}

func credentials(_ hash: ScramHash, _ byte: UInt8 = 7) -> ScramKeys {
    try! ScramKeys(
        hash: hash, salt: Array(repeating: byte, count: 16), iterations: 4096, storedKey: Array(repeating: byte, count: hash.byteCount),
        serverKey: Array(repeating: byte &+ 1, count: hash.byteCount))
}

extension LoggedMessage {
    var text: String { String(buffer: stanza.bytes) }
}
