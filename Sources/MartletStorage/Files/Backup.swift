internal import CSQLite
internal import Crypto

/// How far a copy has come, in pages of the database.
package struct BackupProgress: Hashable, Sendable {
    package var done: Int
    package var total: Int
}

/// What stands beside a backup: enough to notice a single changed bit.
package struct BackupManifest: Hashable, Sendable {
    package var schema: Int
    package var bytes: Int
    package var sha256: String
    /// Milliseconds since 1970.
    package var created: Int64

    static func path(of backup: String) -> String { backup + ".manifest" }

    var text: String { "martlet-backup 1\nschema \(schema)\nbytes \(bytes)\nsha256 \(sha256)\ncreated \(created)\n" }

    /// `nil` if the text is not of the form of ``text``.
    init?(parsing text: String) {
        let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
        guard lines.allSatisfy({ $0.count == 2 }) else { return nil }
        let values = Dictionary(lines.map { ($0[0], $0[1]) }) { first, _ in first }
        guard values["martlet-backup"] == "1", let schema = values["schema"].flatMap({ Int($0) }),
            let bytes = values["bytes"].flatMap({ Int($0) }), let sha256 = values["sha256"],
            let created = values["created"].flatMap({ Int64($0) })
        else { return nil }
        self.init(schema: schema, bytes: bytes, sha256: String(sha256), created: created)
    }

    init(schema: Int, bytes: Int, sha256: String, created: Int64) {
        self.schema = schema
        self.bytes = bytes
        self.sha256 = sha256
        self.created = created
    }
}

/// Copies a database while others write to it, and checks copies.
enum Backup {
    /// Pages that are copied at a time (1 MiB).
    private static let stepPages: Int32 = 256

    /// Copies the database as it is at one moment, with a manifest beside it. When this returns, both are on disk.
    static func make(
        of database: String, to target: String, created: Int64, progress: (BackupProgress) -> Void
    ) throws(StorageError) -> BackupManifest {
        let manifestPath = BackupManifest.path(of: target)
        for path in [target, manifestPath] where FileSystem.exists(path) { throw .exists(path) }
        let partial = target + ".partial"
        FileSystem.remove(partial)
        do throws(StorageError) {
            let schema = try copy(database, to: partial, progress: progress)
            let manifest = try BackupManifest(
                schema: schema, bytes: FileSystem.size(of: partial) ?? 0, sha256: digest(of: partial), created: created)
            try FileSystem.makePrivateFile(manifestPath, exclusively: true)
            try FileSystem.append(manifest.text, to: manifestPath)
            try FileSystem.synchronise(manifestPath)
            try FileSystem.rename(partial, to: target)
            try FileSystem.synchronise(FileSystem.folder(of: target))
            return manifest
        } catch {
            for path in [partial, manifestPath] + DataFolder.companions(of: partial) { FileSystem.remove(path) }
            throw error
        }
    }

    /// Copies one moment of a database into a new private file.
    /// - Returns: the version of its schema.
    @discardableResult
    static func copy(
        _ database: String, to target: String, progress: (BackupProgress) -> Void = { _ in }
    ) throws(StorageError) -> Int {
        guard FileSystem.exists(database) else { throw .missing(database) }
        try FileSystem.makePrivateFile(target, exclusively: true)
        let schema: Int
        do throws(SQLError) {
            schema = try copyPages(database, to: target, progress: progress)
        } catch {
            throw StorageError(error, at: error.kind == .full ? target : database)
        }
        try FileSystem.synchronise(target)
        try FileSystem.synchronise(FileSystem.folder(of: target))
        return schema
    }

    private static func copyPages(
        _ database: String, to target: String, progress: (BackupProgress) -> Void
    ) throws(SQLError) -> Int {
        let source = try SQLiteConnection(file: database, flags: SQLITE_OPEN_READONLY)
        defer { source.close() }
        let copy = try SQLiteConnection(file: target, flags: SQLITE_OPEN_READWRITE)
        defer { copy.close() }
        // Holds the moment: without a transaction of the source's own, every commit of the server's would start the copy over.
        try source.execute("BEGIN")
        let schema = (try? Schema.version(of: source)) ?? 0
        try copyPages(source, to: copy, progress: progress)
        // A copy is one file, without a write-ahead log beside it.
        try copy.execute("PRAGMA journal_mode = DELETE")
        return schema
    }

    private static func copyPages(
        _ source: SQLiteConnection, to copy: SQLiteConnection, progress: (BackupProgress) -> Void
    ) throws(SQLError) {
        guard let backup = sqlite3_backup_init(copy.handle, "main", source.handle, "main") else {
            throw copy.error(sqlite3_errcode(copy.handle))
        }
        var code = SQLITE_OK
        while code == SQLITE_OK {
            code = sqlite3_backup_step(backup, stepPages)
            let total = Int(sqlite3_backup_pagecount(backup))
            progress(BackupProgress(done: total - Int(sqlite3_backup_remaining(backup)), total: total))
        }
        let finished = sqlite3_backup_finish(backup)
        guard code == SQLITE_DONE else { throw copy.error(finished == SQLITE_OK ? code : finished) }
    }

    static func digest(of path: String) throws(StorageError) -> String {
        var hash = SHA256()
        try FileSystem.read(path) { hash.update(bufferPointer: $0) }
        return hash.finalize().map { byte in String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }.joined()
    }

    // MARK: Verifying and restoring

    /// What is wrong with a backup: its bytes against the manifest, then the database itself.
    static func verify(_ backup: String, migrations: [Migration]) throws(StorageError) -> VerificationReport {
        guard FileSystem.exists(backup) else { throw .missing(backup) }
        let manifestPath = BackupManifest.path(of: backup)
        guard let manifest = FileSystem.text(manifestPath).flatMap(BackupManifest.init(parsing:)) else {
            throw .damaged(backup, problems: ["there is no manifest \(manifestPath), or it is none"])
        }
        guard FileSystem.size(of: backup) == manifest.bytes, try digest(of: backup) == manifest.sha256 else {
            throw .damaged(backup, problems: ["the file is not the one that the manifest describes"])
        }
        return try Verification.verify(backup, migrations: migrations)
    }

    /// Puts a backup into a folder that no server uses. Killed at any moment it leaves the old database, the new one, or a
    /// folder that says that the restore has to be run again.
    static func restore(
        _ backup: String, to folder: DataFolder, overwriting: Bool, migrations: [Migration]
    ) throws(StorageError) {
        let report = try verify(backup, migrations: migrations)
        guard report.problems.isEmpty else { throw .damaged(backup, problems: report.problems) }
        try FileSystem.makePrivateFolder(folder.path)
        let lock = try FolderLock(folder.lock, holder: "martlet restore")
        defer { withExtendedLifetime(lock) {} }
        guard overwriting || !FileSystem.exists(folder.database) else { throw .exists(folder.database) }
        for path in [folder.restoring] + DataFolder.companions(of: folder.restoring) { FileSystem.remove(path) }
        try copyFile(backup, to: folder.restoring)
        try replaceDatabase(in: folder)
    }

    /// The old database and its write-ahead log belong together: both move, the database first, so that there is never the
    /// new database with the old log.
    private static func replaceDatabase(in folder: DataFolder) throws(StorageError) {
        if FileSystem.exists(folder.database) {
            for path in [folder.replaced] + DataFolder.companions(of: folder.replaced) { FileSystem.remove(path) }
            try FileSystem.rename(folder.database, to: folder.replaced)
        }
        for (old, new) in zip(DataFolder.companions(of: folder.database), DataFolder.companions(of: folder.replaced))
        where FileSystem.exists(old) { try FileSystem.rename(old, to: new) }
        try FileSystem.synchronise(folder.path)
        try FileSystem.rename(folder.restoring, to: folder.database)
        try FileSystem.synchronise(folder.path)
    }

    private static func copyFile(_ source: String, to target: String) throws(StorageError) {
        try FileSystem.makePrivateFile(target, exclusively: true)
        do throws(StorageError) {
            try FileSystem.read(source) { bytes throws(StorageError) in try FileSystem.append(bytes, to: target) }
            try FileSystem.synchronise(target)
        } catch {
            FileSystem.remove(target)
            throw error
        }
    }
}
