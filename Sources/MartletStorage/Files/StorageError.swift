/// Why a data folder or a backup cannot be used. The description says what is wrong, where, and what to do.
package enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There is no database in the folder.
    case missing(String)
    case notADatabase(String)
    /// A database, but another program's.
    case foreign(String)
    /// The file contradicts itself.
    case damaged(String, problems: [String])
    /// Written by a newer version of the server.
    case newerSchema(String, found: Int, known: Int)
    /// Nothing can be written there.
    case readOnly(String)
    case full(String)
    /// Another process uses the folder.
    case locked(String, by: String)
    /// A restore was begun and not finished.
    case interruptedRestore(String)
    /// Would be overwritten.
    case exists(String)
    /// The system or the database refuses, for a reason of its own.
    case refused(String, reason: String)

    package var description: String {
        switch self {
        case .missing(let path): "\(path): there is no database; 'martlet init' makes one"
        case .notADatabase(let path): "\(path): this is not a database, or its beginning is destroyed; restore a backup"
        case .foreign(let path): "\(path): this is another program's database"
        case .damaged(let path, let problems):
            "\(path): the database is damaged; restore a backup (\(problems.first ?? "no details")"
                + (problems.count > 1 ? ", and \(problems.count - 1) more)" : ")")
        case .newerSchema(let path, let found, let known):
            "\(path): written by a newer version (schema \(found); this version knows up to \(known)); use that version, or restore a backup from before the upgrade"
        case .readOnly(let path): "\(path): cannot be written; check the owner, the permissions and whether the file system is mounted read-only"
        case .full(let path): "\(path): no space left on the device"
        case .locked(let path, let holder): "\(path): in use by \(holder)"
        case .interruptedRestore(let path): "\(path): a restore was not finished; run it again"
        case .exists(let path): "\(path): exists already"
        case .refused(let path, let reason): "\(path): \(reason)"
        }
    }

    init(_ error: SQLError, at path: String) {
        switch error.kind {
        case .full: self = .full(path)
        case .corrupt: self = .damaged(path, problems: [error.message])
        case .notADatabase: self = .notADatabase(path)
        case .readOnly: self = .readOnly(path)
        case .busy: self = .locked(path, by: "a process that has locked the database")
        case .constraint, .io, .cannotOpen, .other: self = .refused(path, reason: "\(error.message) (\(error.code))")
        }
    }

    init(_ mismatch: Schema.Mismatch, at path: String) {
        switch mismatch {
        case .newer(let found, let known): self = .newerSchema(path, found: found, known: known)
        case .foreign: self = .foreign(path)
        case .noCopy(let reason): self = .refused(path, reason: "no copy can be kept for an upgrade: \(reason)")
        case .database(let error): self.init(error, at: path)
        }
    }
}

/// Runs `body`; what the database at `path` refuses becomes a ``StorageError``.
func withDatabase<Result>(at path: String, _ body: () throws(SQLError) -> Result) throws(StorageError) -> Result {
    do throws(SQLError) { return try body() } catch { throw StorageError(error, at: path) }
}
