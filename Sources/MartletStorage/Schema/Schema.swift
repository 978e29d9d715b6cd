/// One step from a schema to the next.
package struct Migration: Sendable {
    /// The version of the schema that the step leads to; versions count from 1 without gaps.
    package var version: Int
    package var statements: @Sendable (SQLDialect) -> [String]

    package init(version: Int, statements: @escaping @Sendable (SQLDialect) -> [String]) {
        self.version = version
        self.statements = statements
    }
}

/// The tables, as the steps that made them. A step that has been released never changes.
package enum Schema {
    package static let migrations: [Migration] = [
        Migration(version: 1, statements: accountsAndLog),
        Migration(version: 2, statements: archives),
        Migration(version: 3, statements: archiveText),
        Migration(version: 4, statements: streamPositions),
        Migration(version: 5, statements: rooms),
        Migration(version: 6, statements: roomCreators),
        Migration(version: 7, statements: nodes),
        Migration(version: 8, statements: InvitationTable.migration),
        Migration(version: 9, statements: uploads),
        Migration(version: 10, statements: searchesAndReports),
        Migration(version: 11, statements: DeviceTables.migration),
        Migration(version: 12, statements: ApplicationPasswordTable.migration),
        Migration(version: 13, statements: AccountCertificateTable.migration),
        Migration(version: 14, statements: DirectoryLinkTable.migration),
        Migration(version: 15, statements: RosterNoteTables.migration),
    ]

    /// Numbers of accounts come from `meta` and are never given twice; `log.id` ascends with the order of commits.
    ///
    /// What somebody waits for (credentials, roster, documents) refers to its account and goes with it. `cursor`,
    /// `last_activity` and `posting` do not: they are written in passing and cleared by the delete and the purge. `posting`
    /// is derived from `log` up to `meta.indexed_up_to`, see ``LogIndex``.
    private static let accountsAndLog: @Sendable (SQLDialect) -> [String] = { d in
        let account = "\(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE"
        return [
            "CREATE TABLE meta (name \(d.text) PRIMARY KEY NOT NULL, value \(d.integer) NOT NULL) \(d.clusteredTableOptions)",
            """
            CREATE TABLE account (
                id \(d.integer) PRIMARY KEY NOT NULL, domainpart \(d.text) NOT NULL, localpart \(d.text) NOT NULL,
                created \(d.integer) NOT NULL, enabled \(d.integer) NOT NULL, admin \(d.integer) NOT NULL,
                UNIQUE (domainpart, localpart)) \(d.tableOptions)
            """,
            """
            CREATE TABLE credential (
                account \(account), hash \(d.text) NOT NULL, salt \(d.bytes) NOT NULL, iterations \(d.integer) NOT NULL,
                stored_key \(d.bytes) NOT NULL, server_key \(d.bytes) NOT NULL,
                PRIMARY KEY (account, hash)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE roster (
                account \(account), contact \(d.text) NOT NULL, name \(d.text), group_names \(d.bytes) NOT NULL,
                subscription \(d.integer) NOT NULL, request \(d.bytes), version \(d.integer) NOT NULL,
                PRIMARY KEY (account, contact)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE roster_removal (
                account \(account), version \(d.integer) NOT NULL, contact \(d.text) NOT NULL,
                PRIMARY KEY (account, version)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE roster_version (
                account \(d.integer) PRIMARY KEY NOT NULL REFERENCES account(id) ON DELETE CASCADE,
                version \(d.integer) NOT NULL) \(d.tableOptions)
            """,
            """
            CREATE TABLE document (
                account \(account), namespace \(d.text) NOT NULL, name \(d.text) NOT NULL, content \(d.bytes) NOT NULL,
                PRIMARY KEY (account, namespace, name)) \(d.tableOptions)
            """,
            """
            CREATE TABLE last_activity (
                account \(d.integer) PRIMARY KEY NOT NULL, time \(d.integer) NOT NULL, status \(d.text)) \(d.tableOptions)
            """,
            "CREATE TABLE cursor (owner \(d.integer) PRIMARY KEY NOT NULL, delivered \(d.integer) NOT NULL) \(d.tableOptions)",
            """
            CREATE TABLE log (
                id \(d.integer) PRIMARY KEY NOT NULL, time \(d.integer) NOT NULL, views \(d.bytes) NOT NULL,
                stanza \(d.bytes) NOT NULL) \(d.tableOptions)
            """,
            """
            CREATE TABLE posting (
                owner \(d.integer) NOT NULL, view_id \(d.integer) NOT NULL, log \(d.integer) NOT NULL, size \(d.integer) NOT NULL,
                PRIMARY KEY (owner, view_id)) \(d.clusteredTableOptions)
            """,
            // Accounts that are gone and whose messages are not, yet.
            "CREATE TABLE purge (owner \(d.integer) PRIMARY KEY NOT NULL) \(d.tableOptions)",
            "INSERT INTO meta (name, value) VALUES ('last_account', 0), ('id_ceiling', 0), ('indexed_up_to', 0)",
        ]
    }
}

extension Schema {
    /// Archives are views of the log, as deliveries are. `archive` is derived from it like `posting`; `peer` is the hash of the other
    /// party's bare address (`ArchiveMark`). `archive_account` says up to where an account's archive has forgotten, and what is in
    /// `archive`; like `cursor` it does not refer to its account. `meta.archive_floor` is what every archive has forgotten.
    private static let archives: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE archive (
                owner \(d.integer) NOT NULL, view_id \(d.integer) NOT NULL, log \(d.integer) NOT NULL, size \(d.integer) NOT NULL,
                peer \(d.integer) NOT NULL, sent \(d.integer) NOT NULL, PRIMARY KEY (owner, view_id)) \(d.clusteredTableOptions)
            """,
            // With all that a page is made of besides the log: SQLite chooses it only if the table need not be read as well.
            "CREATE INDEX archive_by_peer ON archive (owner, peer, view_id, log, sent)",
            """
            CREATE TABLE archive_account (
                owner \(d.integer) PRIMARY KEY NOT NULL, floor \(d.integer) NOT NULL, messages \(d.integer) NOT NULL,
                bytes \(d.integer) NOT NULL) \(d.tableOptions)
            """,
            "INSERT INTO meta (name, value) VALUES ('archive_floor', 0)",
        ]
    }
}

extension Schema {
    /// The words of archived messages, see ``TextIndex``: derived from `log` up to `meta.text_indexed_up_to` by the rules
    /// `meta.text_rules`. FTS5 gets words that are folded already: its tokenizer only parts them at spaces. It keeps neither texts
    /// (`content`), nor where words stand (`detail`), nor how many there are (`columnsize`). Another database has its own kind of table here.
    private static let archiveText: @Sendable (SQLDialect) -> [String] = { _ in
        [
            """
            CREATE VIRTUAL TABLE archive_text USING
                fts5(words, content = '', detail = none, columnsize = 0, tokenize = "ascii tokenchars '_'")
            """,
            "INSERT INTO meta (name, value) VALUES ('text_indexed_up_to', 0), ('text_remains', 0), ('text_rules', 0)",
        ]
    }
}

extension Schema {
    /// How far streams had come that clients may want to resume after a crash: derived from `log`, kept for a day. Like `cursor` it does not
    /// refer to its account.
    private static let streamPositions: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE stream_position (
                owner \(d.integer) NOT NULL, stream \(d.integer) NOT NULL, handled \(d.integer) NOT NULL, time \(d.integer) NOT NULL,
                PRIMARY KEY (owner, stream)) \(d.clusteredTableOptions)
            """
        ]
    }
}

extension Schema {
    /// Rooms own views of the log, as accounts do, and have their numbers from the same `meta.last_account`: `log_owner` is both. What belongs
    /// to a room refers to it and goes with it, but for its archive, which the purge clears. Lists are asked for in the order of localparts, and
    /// mostly for what is public, or was to go with its last occupant.
    private static let rooms: @Sendable (SQLDialect) -> [String] = { d in
        let room = "\(d.integer) NOT NULL REFERENCES room(id) ON DELETE CASCADE"
        return [
            """
            CREATE TABLE room (
                id \(d.integer) PRIMARY KEY NOT NULL, domainpart \(d.text) NOT NULL, localpart \(d.text) NOT NULL,
                created \(d.integer) NOT NULL, persistent \(d.integer) NOT NULL, public \(d.integer) NOT NULL, name \(d.text) NOT NULL,
                description \(d.text) NOT NULL, content \(d.bytes) NOT NULL, UNIQUE (domainpart, localpart)) \(d.tableOptions)
            """,
            "CREATE INDEX room_public ON room (domainpart, localpart) WHERE public = 1",
            "CREATE INDEX room_temporary ON room (domainpart, localpart) WHERE persistent = 0",
            """
            CREATE TABLE room_affiliation (
                room \(room), address \(d.text) NOT NULL, affiliation \(d.integer) NOT NULL, nickname \(d.text), reason \(d.text),
                version \(d.integer) NOT NULL, details \(d.bytes), PRIMARY KEY (room, address)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE room_document (
                room \(room), namespace \(d.text) NOT NULL, name \(d.text) NOT NULL, content \(d.bytes) NOT NULL,
                PRIMARY KEY (room, namespace, name)) \(d.tableOptions)
            """,
            "CREATE VIEW log_owner (id) AS SELECT id FROM account UNION ALL SELECT id FROM room",
        ]
    }
}

extension Schema {
    /// Who created a room: how many an account has created is counted when it creates another. Of older rooms nobody knows.
    private static let roomCreators: @Sendable (SQLDialect) -> [String] = { d in
        ["ALTER TABLE room ADD COLUMN creator \(d.text)", "CREATE INDEX room_creator ON room (creator) WHERE creator IS NOT NULL"]
    }
}

extension Schema {
    /// Nodes of accounts, which go with the account, and of services. What belongs to a node refers to it and goes with it.
    ///
    /// `item_count` and `item_bytes` are kept by the writer, at 5 to 10 µs a publication: a home with 30 nodes, one of 300 items, is loaded in
    /// 70 to 80 µs, and in 140 to 180 where they are summed up; and what has many items is not loaded more slowly. `node_item_place` holds all that is
    /// asked of items but their payloads and publishers.
    private static let nodes: @Sendable (SQLDialect) -> [String] = { d in
        let node = "\(d.integer) NOT NULL REFERENCES node(id) ON DELETE CASCADE"
        return [
            """
            CREATE TABLE node (
                id \(d.integer) PRIMARY KEY NOT NULL, account \(d.integer) REFERENCES account(id) ON DELETE CASCADE, service \(d.text),
                name \(d.text) NOT NULL, created \(d.integer) NOT NULL, item_expiry \(d.integer) NOT NULL, item_count \(d.integer) NOT NULL,
                item_bytes \(d.integer) NOT NULL, content \(d.bytes) NOT NULL,
                CHECK ((account IS NULL) <> (service IS NULL))) \(d.tableOptions)
            """,
            "CREATE UNIQUE INDEX node_of_account ON node (account, name) WHERE account IS NOT NULL",
            "CREATE UNIQUE INDEX node_of_service ON node (service, name) WHERE service IS NOT NULL",
            "CREATE INDEX node_expiring ON node (item_expiry) WHERE item_expiry > 0",
            """
            CREATE TABLE node_affiliation (
                node \(node), address \(d.text) NOT NULL, affiliation \(d.integer) NOT NULL,
                PRIMARY KEY (node, address)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE node_subscription (
                node \(node), id \(d.text) NOT NULL, address \(d.text) NOT NULL, content \(d.bytes) NOT NULL,
                PRIMARY KEY (node, id)) \(d.clusteredTableOptions)
            """,
            """
            CREATE TABLE node_item (
                node \(node), name \(d.text) NOT NULL, place \(d.integer) NOT NULL, time \(d.integer) NOT NULL, publisher \(d.text),
                size \(d.integer) NOT NULL, payload \(d.bytes) NOT NULL, PRIMARY KEY (node, name)) \(d.tableOptions)
            """,
            "CREATE INDEX node_item_place ON node_item (node, place, name, time, size)",
        ]
    }
}

extension Schema {
    /// By what accounts are found, what they have reported, and who is on block lists.
    private static let searchesAndReports: @Sendable (SQLDialect) -> [String] = { d in
        CardTables.migration(d) + ReportTable.migration(d) + SharedListTables.migration(d)
    }
}

extension Schema {
    /// Why a database's schema cannot be used.
    package enum Mismatch: Error, Hashable, Sendable {
        /// Made by a newer version of the server.
        case newer(found: Int, known: Int)
        /// There are tables, and none says which schema: another program's.
        case foreign
        /// An upgrade is not begun without a copy of what was there.
        case noCopy(String)
        case database(SQLError)
    }

    /// The version of what is there; 0 for an empty database.
    package static func version(of connection: any SQLConnection) throws(Mismatch) -> Int {
        do throws(SQLError) {
            let found = try connection.prepare("SELECT version FROM schema_version").first { Int($0.integer(0)) }
            return found ?? 0
        } catch {
            guard error.kind == .other else { throw .database(error) }
            return 0
        }
    }

    /// Brings the database to the newest schema, each step in a transaction of its own: whenever the process is killed, the
    /// schema is one of the steps'.
    package static func migrate(
        _ connection: any SQLConnection, dialect: SQLDialect, by migrations: [Migration] = Schema.migrations
    ) throws(Mismatch) {
        let found = try version(of: connection)
        let known = migrations.last?.version ?? 0
        guard found <= known else { throw .newer(found: found, known: known) }
        do throws(SQLError) {
            for migration in migrations where migration.version > found {
                try connection.transaction { () throws(SQLError) in try perform(migration, on: connection, dialect: dialect) }
            }
        } catch {
            throw .database(error)
        }
    }

    private static func perform(_ migration: Migration, on connection: any SQLConnection, dialect: SQLDialect) throws(SQLError) {
        if migration.version == 1 {
            try connection.execute("CREATE TABLE schema_version (version \(dialect.integer) NOT NULL) \(dialect.tableOptions)")
            try connection.execute("INSERT INTO schema_version (version) VALUES (0)")
        }
        for statement in migration.statements(dialect) { try connection.execute(statement) }
        try connection.execute("UPDATE schema_version SET version = \(migration.version)")
    }
}
