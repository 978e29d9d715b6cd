internal import MartletCore
internal import MartletXMPP

/// The table of certificates that accounts have added for themselves (XEP-0257), which go with the account.
enum AccountCertificateTable {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE account_certificate (
                account \(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE, name \(d.text) NOT NULL, fingerprint \(d.bytes) NOT NULL,
                content \(d.bytes) NOT NULL, manages \(d.integer) NOT NULL, added \(d.integer) NOT NULL, expires \(d.integer) NOT NULL,
                PRIMARY KEY (account, name)) \(d.tableOptions)
            """,
            "CREATE UNIQUE INDEX account_certificate_fingerprint ON account_certificate (fingerprint, account)",
        ]
    }
}

/// A reader's statements about certificates of accounts.
final class AccountCertificateReads {
    private let all, holders: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        all = try connection.prepare(
            "SELECT name, content, manages, added, expires FROM account_certificate WHERE account = $1 ORDER BY added, name")
        // In this order: else SQLite looks through the accounts of the domain, which are in the order that is asked for, at each handshake of a stranger.
        holders = try connection.prepare(
            """
            SELECT a.domainpart, a.localpart FROM account_certificate c CROSS JOIN account a
            WHERE c.fingerprint = $1 AND a.id = c.account AND a.domainpart = $2 ORDER BY a.localpart LIMIT $3
            """)
    }

    func certificates(of account: AccountID) throws(SQLError) -> [AccountCertificate] {
        try all.rows({ $0.bind(account.raw, at: 1) }) { row throws(SQLError) in
            AccountCertificate(
                name: row.text(0), content: row.bytes(1), managesCertificates: row.flag(2), added: row.integer(3), expires: row.integer(4))
        }
    }

    func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) throws(SQLError) -> [BareJID] {
        func bind(_ statement: any SQLStatement) {
            statement.bind(certificate.bytes, at: 1)
            statement.bind(domain, at: 2)
            statement.bind(Int64(max(0, limit)), at: 3)
        }
        return try holders.rows(bind) { row throws(SQLError) in try row.address(parts: 0) }
    }
}

/// The writer's statements about certificates of accounts. Called within a transaction.
final class AccountCertificateWrites {
    private let connection: any SQLConnection
    private let add, remove: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        add = try connection.prepare(
            """
            INSERT INTO account_certificate (account, name, fingerprint, content, manages, added, expires)
            SELECT $1, $2, $3, $4, $5, $6, $7 FROM account WHERE id = $1
                AND (SELECT COUNT(*) FROM account_certificate WHERE account = $1) < $8
                AND NOT EXISTS (SELECT 1 FROM account_certificate WHERE account = $1 AND (name = $2 OR fingerprint = $3))
            """)
        remove = try connection.prepare("DELETE FROM account_certificate WHERE account = $1 AND name = $2")
    }

    func apply(_ change: AccountCertificateChange) throws(SQLError) {
        switch change {
        case .add(let account, let certificate, let certificatesMax):
            try add.run {
                $0.bind(account.raw, at: 1)
                $0.bind(certificate.name, at: 2)
                $0.bind(certificate.fingerprint.bytes, at: 3)
                $0.bind(certificate.content, at: 4)
                $0.bind(certificate.managesCertificates, at: 5)
                $0.bind(certificate.added, at: 6)
                $0.bind(certificate.expires, at: 7)
                $0.bind(Int64(certificatesMax), at: 8)
            }
            guard connection.changes > 0 else { throw SQLError(.constraint, "the account has such a certificate, or too many, or is gone") }
        case .remove(let account, let name):
            try remove.run {
                $0.bind(account.raw, at: 1)
                $0.bind(name, at: 2)
            }
            guard connection.changes > 0 else { throw SQLError(.constraint, "the account has no such certificate") }
        }
    }
}
