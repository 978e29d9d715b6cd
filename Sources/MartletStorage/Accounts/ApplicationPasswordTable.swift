internal import MartletCore
internal import MartletXMPP

/// The table of passwords for applications, a row for each hash. Salts and iteration counts are those of the account's own keys; rows go with these.
enum ApplicationPasswordTable {
    /// With when passwords were set: of those that are there nobody knows, and they count from now.
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE application_password (
                account \(d.integer) NOT NULL, name \(d.text) NOT NULL, hash \(d.text) NOT NULL, stored_key \(d.bytes) NOT NULL,
                server_key \(d.bytes) NOT NULL, created \(d.integer) NOT NULL, last_used \(d.integer),
                PRIMARY KEY (account, name, hash),
                FOREIGN KEY (account, hash) REFERENCES credential(account, hash) ON DELETE CASCADE) \(d.clusteredTableOptions)
            """,
            "ALTER TABLE device ADD COLUMN application_password \(d.text)",
            "ALTER TABLE account ADD COLUMN password_set \(d.integer) NOT NULL DEFAULT 0",
            "UPDATE account SET password_set = CAST(strftime('%s', 'now') AS \(d.integer)) * 1000",
        ]
    }

    /// - Parameter columns: hash, salt, iteration count, stored key and server key.
    static func keys(_ row: any SQLStatement, from columns: Int) throws(SQLError) -> ScramKeys {
        guard let hash = ScramHash(mechanismName: row.text(columns)),
            let keys = try? ScramKeys(
                hash: hash, salt: row.bytes(columns + 1), iterations: Int(row.integer(columns + 2)), storedKey: row.bytes(columns + 3),
                serverKey: row.bytes(columns + 4))
        else { throw SQLError(.corrupt, "the credentials of an account") }
        return keys
    }
}

/// A reader's statement about them.
final class ApplicationPasswordReads {
    private let all: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        all = try connection.prepare(
            """
            SELECT p.name, p.created, p.last_used, p.hash, c.salt, c.iterations, p.stored_key, p.server_key
            FROM application_password p JOIN credential c ON c.account = p.account AND c.hash = p.hash
            WHERE p.account = $1 ORDER BY p.name, p.hash
            """)
    }

    /// In the order of their names.
    func passwords(of account: AccountID) throws(SQLError) -> [StoredApplicationPassword] {
        var passwords: [StoredApplicationPassword] = []
        let rows = try all.rows({ $0.bind(account.raw, at: 1) }) { row throws(SQLError) in
            StoredApplicationPassword(
                name: row.text(0), keys: [try ApplicationPasswordTable.keys(row, from: 3)], created: row.integer(1),
                lastUsed: row.isNull(2) ? nil : row.integer(2))
        }
        for row in rows {
            if passwords.last?.name == row.name { passwords[passwords.count - 1].keys += row.keys } else { passwords.append(row) }
        }
        return passwords
    }
}

/// The writer's statements about them. Called within a transaction.
final class ApplicationPasswordWrites {
    private let connection: any SQLConnection
    private let names, insert, remove, find, use: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        names = try connection.prepare("SELECT DISTINCT name FROM application_password WHERE account = $1")
        insert = try connection.prepare(
            """
            INSERT INTO application_password (account, name, hash, stored_key, server_key, created, last_used)
            SELECT $1, $2, $3, $4, $5, $6, $7 FROM credential WHERE account = $1 AND hash = $3 AND salt = $8 AND iterations = $9
            """)
        remove = try connection.prepare("DELETE FROM application_password WHERE account = $1 AND name = $2")
        use = try connection.prepare(
            "UPDATE application_password SET last_used = $3 WHERE account = $1 AND name = $2 AND (last_used IS NULL OR last_used < $3)")
        find = try connection.prepare("SELECT 1 FROM application_password WHERE account = $1 AND name = $2 LIMIT 1")
    }

    func add(_ password: StoredApplicationPassword, to account: Int64) throws(SQLError) {
        let names = try names.rows({ $0.bind(account, at: 1) }) { $0.text(0) }
        guard !names.contains(where: { $0.utf8.elementsEqual(password.name.utf8) }) else { throw SQLError(.constraint, "there is a password of that name") }
        guard names.count < StoredApplicationPassword.perAccountMax else { throw SQLError(.constraint, "there are as many passwords as there may be") }
        guard !password.keys.isEmpty else { throw SQLError(.constraint, "the account has another password by now") }
        for keys in password.keys { try insert(keys, of: password, account) }
    }

    private func insert(_ keys: ScramKeys, of password: StoredApplicationPassword, _ account: Int64) throws(SQLError) {
        try insert.run {
            $0.bind(account, at: 1)
            $0.bind(password.name, at: 2)
            $0.bind(keys.hash.mechanismName, at: 3)
            $0.bind(keys.storedKey, at: 4)
            $0.bind(keys.serverKey, at: 5)
            $0.bind(password.created, at: 6)
            if let lastUsed = password.lastUsed { $0.bind(lastUsed, at: 7) } else { $0.bindNull(at: 7) }
            $0.bind(keys.salt, at: 8)
            $0.bind(Int64(keys.iterations), at: 9)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "the account has another password by now") }
    }

    func remove(_ name: String, of account: Int64) throws(SQLError) {
        func bind(_ statement: any SQLStatement) {
            statement.bind(account, at: 1)
            statement.bind(name, at: 2)
        }
        try remove.run(bind)
        guard connection.changes > 0 else { throw SQLError(.constraint, "there is no password of that name") }
    }

    /// Writes at most once a day.
    ///
    /// - Returns: whether it is there.
    func used(_ name: String, of account: Int64, at time: Int64) throws(SQLError) -> Bool {
        func bind(_ statement: any SQLStatement) {
            statement.bind(account, at: 1)
            statement.bind(name, at: 2)
        }
        guard try find.first(bind, { $0.integer(0) }) != nil else { return false }
        try use.run {
            bind($0)
            $0.bind(StoredApplicationPassword.day(of: time), at: 3)
        }
        return true
    }
}
