internal import Crypto
package import MartletCore
internal import NIOCore

/// How many uploaded files a database speaks of. They are not in it.
package struct UploadInventory: Hashable, Sendable {
    package var files = 0
    package var bytes = 0
    /// What is wrong with the files; at most ``VerificationReport/problemsMax``.
    package var problems: [String] = []
}

extension SQLiteStore {
    /// What the database of a data folder says of uploaded files. Blocks.
    package static func uploads(folder: String) throws(StorageError) -> UploadInventory {
        try uploads(database: DataFolder(path: folder).database)
    }

    /// The same of a database or a backup. One from before there were uploads has none.
    package static func uploads(database: String) throws(StorageError) -> UploadInventory {
        try withReader(database) { connection throws(SQLError) in
            guard try hasUploads(connection) else { return UploadInventory() }
            let sums = try connection.rows("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM upload WHERE kept IS NOT NULL") {
                UploadInventory(files: Int($0.integer(0)), bytes: Int($0.integer(1)))
            }
            return sums.first ?? UploadInventory()
        }
    }

    /// Looks whether every uploaded file that the database of a data folder speaks of is there. Safe beside a running server, but for files that go
    /// meanwhile.
    ///
    /// - Parameters:
    ///   - files: where they are.
    ///   - reads: whether their bytes are read and compared with what was uploaded, too.
    package static func verifyUploads(folder: String, files: any FileStore, reads: Bool) async throws(StorageError) -> UploadInventory {
        let kept = try keptFiles(DataFolder(path: folder).database)
        var inventory = UploadInventory()
        for file in kept {
            inventory.files += 1
            inventory.bytes += file.bytes
            guard inventory.problems.count < VerificationReport.problemsMax else { continue }
            do throws(FileStoreError) {
                guard let problem = try await files.problem(of: file, reads: reads) else { continue }
                inventory.problems.append("the uploaded file \(file.key.owner.raw)/\(file.key.name) \(problem)")
            } catch {
                // Of the others no more would be known.
                throw .refused(files.place, reason: error.words)
            }
        }
        return inventory
    }

    private static func keptFiles(_ database: String) throws(StorageError) -> [KeptFile] {
        try withReader(database) { connection throws(SQLError) in
            guard try hasUploads(connection) else { return [] }
            return try connection.rows("SELECT account, name, size, sha256 FROM upload WHERE kept IS NOT NULL ORDER BY account, name") {
                KeptFile(key: FileKey(owner: AccountID(raw: $0.integer(0)), name: $0.text(1)), bytes: Int($0.integer(2)), sha256: $0.bytes(3))
            }
        }
    }

    private static func hasUploads(_ connection: any SQLConnection) throws(SQLError) -> Bool {
        try connection.rows("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'upload'") { _ in true }.first ?? false
    }

    private static func withReader<Result>(_ database: String, _ body: (any SQLConnection) throws(SQLError) -> Result) throws(StorageError) -> Result {
        guard FileSystem.exists(database) else { throw .missing(database) }
        return try withDatabase(at: database) { () throws(SQLError) in
            let connection = try SQLiteDriver(file: database).openReader()
            defer { connection.close() }
            return try body(connection)
        }
    }
}

/// What a database says of one file.
private struct KeptFile {
    var key: FileKey
    var bytes: Int
    var sha256: [UInt8]
}

extension FileStore {
    /// - Throws: where nothing can be known.
    fileprivate func problem(of file: KeptFile, reads: Bool) async throws(FileStoreError) -> String? {
        guard let size = try await size(of: file.key) else { return "is not there" }
        guard size == file.bytes else { return "has \(size) bytes, not \(file.bytes)" }
        guard reads else { return nil }
        do throws(FileStoreError) {
            return try await digest(of: file) == file.sha256 ? nil : "is not what was uploaded"
        } catch {
            return "cannot be read: \(error.words)"
        }
    }

    private func digest(of file: KeptFile) async throws(FileStoreError) -> [UInt8] {
        var hash = SHA256()
        let begun: Result<any FileReading, FileStoreError> = await withCheckedContinuation { continuation in
            read(file.key, 0..<file.bytes) { continuation.resume(returning: $0) }
        }
        let reading = try begun.get()
        defer { reading.close() }
        while true {
            let next: Result<ByteBuffer, FileStoreError> = await withCheckedContinuation { continuation in
                reading.next { continuation.resume(returning: $0) }
            }
            let piece = try next.get()
            guard piece.readableBytes > 0 else { return Array(hash.finalize()) }
            piece.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        }
    }
}

extension FileStoreError {
    /// For operators.
    fileprivate var words: String {
        switch self {
        case .missing: "it is not there"
        case .full: "there is no space"
        case .failed(let why): why
        }
    }
}
