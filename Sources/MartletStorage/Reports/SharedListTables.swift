internal import MartletCore
internal import MartletXMPP

/// The tables of shared block lists: when each was fetched, and who is on it.
enum SharedListTables {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE shared_list (
                service \(d.text) NOT NULL, node \(d.text) NOT NULL, fetched \(d.integer) NOT NULL,
                PRIMARY KEY (service, node)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE shared_list_entry (
                service \(d.text) NOT NULL, node \(d.text) NOT NULL, entry \(d.bytes) NOT NULL,
                PRIMARY KEY (service, node, entry)) \(d.clusteredTableOptions)
            """,
        ]
    }
}

/// The writer's statements about shared block lists. Called within a transaction.
final class SharedListWrites {
    private let put, known, forget, insert, remove, removeAll: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        put = try connection.prepare(
            """
            INSERT INTO shared_list (service, node, fetched) VALUES ($1, $2, $3)
            ON CONFLICT (service, node) DO UPDATE SET fetched = excluded.fetched
            """)
        known = try connection.prepare("SELECT 1 FROM shared_list WHERE service = $1 AND node = $2")
        forget = try connection.prepare("DELETE FROM shared_list WHERE service = $1 AND node = $2")
        insert = try connection.prepare("INSERT INTO shared_list_entry (service, node, entry) VALUES ($1, $2, $3) ON CONFLICT (service, node, entry) DO NOTHING")
        remove = try connection.prepare("DELETE FROM shared_list_entry WHERE service = $1 AND node = $2 AND entry = $3")
        removeAll = try connection.prepare("DELETE FROM shared_list_entry WHERE service = $1 AND node = $2")
    }

    func apply(_ change: SharedListChange) throws(SQLError) {
        switch change {
        case .replace(let list):
            try put(list.name, list.fetched)
            try removeAll.run { $0.bind(list.name) }
            for entry in list.entries { try run(insert, list.name, entry) }
        case .change(let name, let added, let removed, let fetched):
            guard try known.first({ $0.bind(name) }, { _ in true }) == true else { return }
            if let fetched { try put(name, fetched) }
            for entry in removed { try run(remove, name, entry) }
            for entry in added { try run(insert, name, entry) }
        case .forget(let name):
            for statement in [forget, removeAll] { try statement.run { $0.bind(name) } }
        }
    }

    private func put(_ name: SharedListName, _ fetched: Int64) throws(SQLError) {
        try put.run {
            $0.bind(name)
            $0.bind(fetched, at: 3)
        }
    }

    private func run(_ statement: any SQLStatement, _ name: SharedListName, _ entry: SharedListEntry) throws(SQLError) {
        try statement.run {
            $0.bind(name)
            $0.bind(entry.bytes, at: 3)
        }
    }
}

/// A reader's statements about shared block lists.
final class SharedListReads {
    private let lists, entries: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        lists = try connection.prepare("SELECT service, node, fetched FROM shared_list ORDER BY service, node")
        entries = try connection.prepare("SELECT entry FROM shared_list_entry WHERE service = $1 AND node = $2")
    }

    func all() throws(SQLError) -> [StoredSharedList] {
        let found = try lists.rows { row throws(SQLError) in
            StoredSharedList(name: SharedListName(service: try row.address(0), node: row.text(1)), fetched: row.integer(2), entries: [])
        }
        var all: [StoredSharedList] = []
        for var list in found {
            list.entries = Set(try entries.rows({ $0.bind(list.name) }) { SharedListEntry(bytes: $0.bytes(0)) }.compactMap { $0 })
            all.append(list)
        }
        return all
    }
}

extension SQLStatement {
    /// The service at 1, the node at 2.
    fileprivate func bind(_ name: SharedListName) {
        bind(name.service, at: 1)
        bind(name.node, at: 2)
    }
}
