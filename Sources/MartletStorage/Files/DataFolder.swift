/// The names in a data folder.
struct DataFolder: Sendable {
    var path: String

    var database: String { path + "/martlet.db" }
    var lock: String { path + "/martlet.lock" }
    /// Space kept for a clean end on a full disk.
    var reserve: String { path + "/martlet.reserve" }
    /// What a restore is copying; under its own name the database is complete.
    var restoring: String { path + "/martlet.db.restoring" }
    /// The database that the last restore replaced.
    var replaced: String { path + "/martlet.db.replaced" }
    /// The database as it was before an upgrade from that schema.
    func copy(ofSchema version: Int) -> String { path + "/martlet.db.schema-\(version)" }

    /// SQLite's files beside a database.
    static func companions(of database: String) -> [String] { [database + "-wal", database + "-shm", database + "-journal"] }
}
