internal import MartletCore
internal import MartletXMPP

/// The table of accounts that are entries of a directory.
enum DirectoryLinkTable {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE directory_link (
                account \(d.integer) PRIMARY KEY NOT NULL REFERENCES account(id) ON DELETE CASCADE, entry \(d.bytes) NOT NULL,
                gone \(d.integer)) \(d.tableOptions)
            """,
            "CREATE UNIQUE INDEX directory_link_entry ON directory_link (entry) WHERE gone IS NULL",
        ]
    }
}

/// A reader's statements about them.
final class DirectoryLinkReads {
    private let page, one: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        page = try connection.prepare(
            """
            SELECT a.domainpart, a.localpart, a.enabled, l.entry, l.gone FROM account a JOIN directory_link l ON l.account = a.id
            WHERE (a.domainpart, a.localpart) > ($1, $2) ORDER BY a.domainpart, a.localpart LIMIT $3
            """)
        one = try connection.prepare(
            """
            SELECT l.entry, l.gone FROM account a JOIN directory_link l ON l.account = a.id
            WHERE a.domainpart = $1 AND a.localpart = $2
            """)
    }

    func accounts(after: BareJID?, limit: Int) throws(SQLError) -> [LinkedAccount] {
        try page.rows {
            if let after { $0.bind(partsOf: after, at: 1) } else { $0.bind("", at: 1); $0.bind("", at: 2) }
            $0.bind(Int64(max(0, limit)), at: 3)
        } _: { row throws(SQLError) in
            LinkedAccount(address: try row.address(parts: 0), isEnabled: row.flag(2), link: try Self.link(row, at: 3))
        }
    }

    func link(of account: BareJID) throws(SQLError) -> DirectoryLink? {
        try one.first({ $0.bind(partsOf: account, at: 1) }) { row throws(SQLError) in try Self.link(row, at: 0) }
    }

    private static func link(_ row: any SQLStatement, at column: Int) throws(SQLError) -> DirectoryLink {
        guard let entry = EntryUUID(row.bytes(column)) else { throw SQLError(.corrupt, "the name of a directory's entry has not 16 octets") }
        return DirectoryLink(entry, gone: row.isNull(column + 1) ? nil : row.integer(column + 1))
    }
}

/// The writer's statements about them. Called within a transaction.
final class DirectoryLinkWrites {
    private let put, remove: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        put = try connection.prepare(
            """
            INSERT INTO directory_link (account, entry, gone) VALUES ($1, $2, $3)
            ON CONFLICT (account) DO UPDATE SET entry = excluded.entry, gone = excluded.gone
            """)
        remove = try connection.prepare("DELETE FROM directory_link WHERE account = $1")
    }

    func set(_ link: DirectoryLink?, of account: Int64) throws(SQLError) {
        guard let link else { return try remove.run { $0.bind(account, at: 1) } }
        try put.run {
            $0.bind(account, at: 1)
            $0.bind(link.entry.octets, at: 2)
            if let gone = link.gone { $0.bind(gone, at: 3) } else { $0.bindNull(at: 3) }
        }
    }
}
