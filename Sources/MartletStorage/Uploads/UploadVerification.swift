internal import Crypto

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

    /// Looks whether every uploaded file that the database of a data folder speaks of is there. Blocks; safe beside a running server, but for files
    /// that go meanwhile.
    ///
    /// - Parameters:
    ///   - files: the folder of the files.
    ///   - reads: whether their bytes are read and compared with what was uploaded, too.
    package static func verifyUploads(folder: String, files: String, reads: Bool) throws(StorageError) -> UploadInventory {
        let rows = try withReader(DataFolder(path: folder).database) { connection throws(SQLError) -> [(String, Int, [UInt8])] in
            guard try hasUploads(connection) else { return [] }
            return try connection.rows("SELECT account, name, size, sha256 FROM upload WHERE kept IS NOT NULL ORDER BY account, name") {
                ("\($0.integer(0))/\($0.text(1))", Int($0.integer(2)), $0.bytes(3))
            }
        }
        var inventory = UploadInventory()
        for (name, bytes, sha256) in rows {
            inventory.files += 1
            inventory.bytes += bytes
            guard inventory.problems.count < VerificationReport.problemsMax else { continue }
            if let problem = problem(of: "\(files)/\(name)", bytes, reads ? sha256 : nil) { inventory.problems.append("the uploaded file \(name) \(problem)") }
        }
        return inventory
    }

    private static func problem(of path: String, _ bytes: Int, _ sha256: [UInt8]?) -> String? {
        guard let size = FileSystem.size(of: path) else { return "is not there" }
        guard size == bytes else { return "has \(size) bytes, not \(bytes)" }
        guard let sha256 else { return nil }
        var hash = SHA256()
        do throws(StorageError) {
            try FileSystem.read(path) { hash.update(bufferPointer: $0) }
        } catch {
            return "cannot be read"
        }
        return Array(hash.finalize()) == sha256 ? nil : "is not what was uploaded"
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
