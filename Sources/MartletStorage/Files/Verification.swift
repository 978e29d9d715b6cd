internal import CSQLite
internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// What a check of a database found.
package struct VerificationReport: Hashable, Sendable {
    package var file: String
    package var schema: Int
    package var accounts: Int
    /// Entries in the message log.
    package var messages: Int
    /// Empty when all is well; at most ``problemsMax``.
    package var problems: [String] = []

    package static let problemsMax = 100
}

/// Reads a whole database and says what contradicts itself: first SQLite's own checks, then what its tables mean to us.
enum Verification {
    /// Safe beside a running server.
    static func verify(_ file: String, migrations: [Migration]) throws(StorageError) -> VerificationReport {
        guard FileSystem.exists(file) else { throw .missing(file) }
        do throws(SQLError) {
            let connection = try SQLiteDriver(file: file).openReader()
            defer { connection.close() }
            return try verify(connection, file, known: migrations.last?.version ?? 0)
        } catch {
            throw StorageError(error, at: file)
        }
    }

    private static func verify(_ connection: any SQLConnection, _ file: String, known: Int) throws(SQLError) -> VerificationReport {
        var report = VerificationReport(file: file, schema: 0, accounts: 0, messages: 0)
        report.problems = try connection.rows("PRAGMA integrity_check(\(VerificationReport.problemsMax))") { $0.text(0) }
            .filter { $0 != "ok" }
        // Asking tables of a broken file for more is pointless.
        guard report.problems.isEmpty else { return report }
        report.schema = try connection.rows("SELECT version FROM schema_version") { Int($0.integer(0)) }.first ?? 0
        guard report.schema == known else {
            if report.schema > known { report.problems = ["the schema \(report.schema) is newer than this version's, \(known)"] }
            return report
        }
        report.accounts = try count("account", connection)
        report.messages = try count("log", connection)
        report.problems = try connection.rows("PRAGMA foreign_key_check") { "a row of \($0.text(0)) belongs to no \($0.text(2))" }
        report.problems += try numbers(connection) + addresses(connection) + credentials(connection) + applicationPasswords(connection) + rosters(connection)
        report.problems += try cursors(connection) + postings(connection) + archives(connection) + entries(connection)
        report.problems += try roomAddresses(connection) + affiliations(connection)
        report.problems += try nodes(connection) + nodeLines(connection) + nodeItems(connection)
        report.problems += try uploads(connection) + cards(connection) + reports(connection) + sharedLists(connection)
        report.problems += try RosterNoteTables.problems(connection)
        report.problems += try words(connection) + leftWords(connection)
        report.problems = Array(report.problems.prefix(VerificationReport.problemsMax))
        return report
    }

    private static func count(_ table: String, _ connection: any SQLConnection) throws(SQLError) -> Int {
        try connection.rows("SELECT COUNT(*) FROM \(table)") { Int($0.integer(0)) }.first ?? 0
    }

    // MARK: What the tables mean

    private static func numbers(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let names = try connection.rows("SELECT name FROM meta") { $0.text(0) }
        let missing = [
            "archive_floor", "id_ceiling", "indexed_up_to", "last_account", "text_indexed_up_to", "text_remains", "text_rules",
        ].filter { !names.contains($0) }
        let tooHigh = try connection.rows(
            "SELECT id FROM log_owner WHERE id > (SELECT value FROM meta WHERE name = 'last_account')"
        ) { "the account or room \($0.integer(0)) was never given its number" }
        let twice = try connection.rows("SELECT id FROM account WHERE id IN (SELECT id FROM room)") {
            "the number \($0.integer(0)) was given to an account and to a room"
        }
        return missing.map { "meta has no \($0)" } + tooHigh + twice
    }

    private static func addresses(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT domainpart, localpart, id FROM account") { row throws(SQLError) -> String? in
            let parts = (row.text(0), row.text(1))
            guard let address = try? BareJID(localpart: parts.1, domainpart: parts.0), address.domainpart == parts.0,
                address.localpart == parts.1
            else { return "account \(row.integer(2)) has no valid address: \(parts.1)@\(parts.0)" }
            return nil
        }.compactMap { $0 }
    }

    private static func roomAddresses(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT domainpart, localpart, id FROM room") { row throws(SQLError) -> String? in
            let parts = (row.text(0), row.text(1))
            guard let address = try? BareJID(localpart: parts.1, domainpart: parts.0), address.domainpart == parts.0,
                address.localpart == parts.1
            else { return "room \(row.integer(2)) has no valid address: \(parts.1)@\(parts.0)" }
            return nil
        }.compactMap { $0 }
    }

    private static func affiliations(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT address, affiliation, room FROM room_affiliation") { row throws(SQLError) -> String? in
            guard (try? JID(row.text(0)))?.description == row.text(0), UInt8(exactly: row.integer(1)) != nil else {
                return "room \(row.integer(2)) has an affiliation that is none: \(row.text(0))"
            }
            return nil
        }.compactMap { $0 }
    }

    private static func nodes(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        // SQLite looks at constraints of rows only where it may write.
        let ownerless = try connection.rows("SELECT id FROM node WHERE (account IS NULL) = (service IS NULL)") {
            "node \($0.integer(0)) has no owner, or two"
        }
        let misplaced = try connection.rows("SELECT id, service FROM node WHERE service IS NOT NULL") { row throws(SQLError) -> String? in
            guard let address = try? BareJID(parsing: row.text(1)), address.isDomain, address.description == row.text(1) else {
                return "node \(row.integer(0)) is of no valid service: \(row.text(1))"
            }
            return nil
        }.compactMap { $0 }
        let miscounted = try connection.rows(
            """
            SELECT n.id FROM node n WHERE n.item_count <> (SELECT COUNT(*) FROM node_item i WHERE i.node = n.id)
                OR n.item_bytes <> (SELECT COALESCE(SUM(i.size), 0) FROM node_item i WHERE i.node = n.id)
            LIMIT \(VerificationReport.problemsMax)
            """
        ) { "the items of node \($0.integer(0)) are counted wrong" }
        return ownerless + misplaced + miscounted
    }

    private static func nodeLines(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let affiliations = try connection.rows("SELECT address, affiliation, node FROM node_affiliation") { row throws(SQLError) -> String? in
            guard (try? BareJID(parsing: row.text(0)))?.description == row.text(0), (1...255).contains(row.integer(1)) else {
                return "node \(row.integer(2)) has an affiliation that is none: \(row.text(0))"
            }
            return nil
        }
        let subscriptions = try connection.rows("SELECT address, id, node FROM node_subscription") { row throws(SQLError) -> String? in
            guard (try? JID(row.text(0)))?.description == row.text(0) else {
                return "node \(row.integer(2)) has a subscription \(row.text(1)) that is none: \(row.text(0))"
            }
            return nil
        }
        return (affiliations + subscriptions).compactMap { $0 }
    }

    private static func nodeItems(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT name, publisher, size <> LENGTH(payload) OR place < 0, node FROM node_item") { row throws(SQLError) -> String? in
            guard !row.flag(2), row.isNull(1) || (try? JID(row.text(1)))?.description == row.text(1) else {
                return "node \(row.integer(3)) has an item that is none: \(row.text(0))"
            }
            return nil
        }.compactMap { $0 }
    }

    private static func uploads(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows(
            """
            SELECT name, purpose, size >= 0 AND (token IS NULL) = (slot_end IS NULL) AND (sha256 IS NULL) = (kept IS NULL)
                AND (token IS NULL) <> (kept IS NULL) AND LENGTH(COALESCE(token, sha256)) = 32 FROM upload
            """
        ) { row throws(SQLError) -> String? in
            guard row.flag(2), UploadPurpose(rawValue: Int(row.integer(1))) != nil, UploadName.isValid(row.text(0)) else {
                return "the upload \(row.text(0)) is none"
            }
            return nil
        }.compactMap { $0 }
    }

    /// What is found of an account is what its card says, as far as that has been read.
    private static func cards(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let rules = try connection.rows("SELECT value FROM meta WHERE name = 'card_rules'") { $0.integer(0) }.first
        // Else all is read anew at the next start.
        guard rules == CardTables.rules else { return [] }
        let shown = try connection.prepare("SELECT published, \(CardTables.columns) FROM card WHERE account = $1")
        let words = try connection.prepare("SELECT word, fields FROM card_word WHERE account = $1 AND domainpart = $2")
        return try connection.rows(
            """
            SELECT a.id, a.domainpart, a.localpart, d.content FROM account a
            LEFT JOIN document d ON d.account = a.id AND d.namespace = $1 AND d.name = $2
            WHERE a.id <= (SELECT value FROM meta WHERE name = 'cards_read_up_to')
            """,
            {
                $0.bind(DocumentKey.vCard.namespace, at: 1)
                $0.bind(DocumentKey.vCard.key, at: 2)
            }
        ) { row throws(SQLError) -> String? in
            let card = PublicCard(stored: row.isNull(3) ? nil : row.buffer(3)) ?? PublicCard()
            let found = try shown.first({ $0.bind(row.integer(0), at: 1) }) { (isPublished: $0.flag(0), card: $0.card(at: 1)) }
            let pairs = try words.rows {
                $0.bind(row.integer(0), at: 1)
                $0.bind(row.text(1), at: 2)
            } _: { ($0.text(0), CardFields(rawValue: $0.integer(1))) }
            let isGood = found?.card == card && found?.isPublished == !card.isEmpty
            guard isGood, Dictionary(pairs, uniquingKeysWith: { first, _ in first }) == card.words(at: row.text(2)) else {
                return "what is found of the account \(row.integer(0)) is not what its card says"
            }
            return nil
        }.compactMap { $0 }
    }

    private static func reports(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT id, reported, id <= (SELECT value FROM meta WHERE name = 'last_report') FROM report") { row in
            (try? row.anyAddress(1)) != nil && row.flag(2) ? nil : "the report \(row.integer(0)) is none"
        }.compactMap { (problem: String?) in problem }
    }

    private static func sharedLists(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows(
            """
            SELECT e.service, e.node FROM shared_list_entry e LEFT JOIN shared_list l ON l.service = e.service AND l.node = e.node
            WHERE l.service IS NULL OR LENGTH(e.entry) <> \(SharedListEntry.byteCount) GROUP BY e.service, e.node
            """
        ) { "the block list \($0.text(0)) \($0.text(1)) has entries that are none" }
    }

    private static func credentials(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT hash, LENGTH(stored_key), LENGTH(server_key), LENGTH(salt), iterations, account FROM credential") {
            row throws(SQLError) -> String? in
            guard let hash = ScramHash(mechanismName: row.text(0)), row.integer(1) == hash.byteCount, row.integer(2) == hash.byteCount,
                row.integer(3) > 0, row.integer(4) > 0
            else { return "the credential \(row.text(0)) of account \(row.integer(5)) is none" }
            return nil
        }.compactMap { $0 }
    }

    private static func applicationPasswords(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT hash, LENGTH(stored_key), LENGTH(server_key), name, account FROM application_password") {
            row throws(SQLError) -> String? in
            guard let hash = ScramHash(mechanismName: row.text(0)), row.integer(1) == hash.byteCount, row.integer(2) == hash.byteCount else {
                return "the \(row.text(0)) keys of a password for an application of account \(row.integer(4)) are none"
            }
            return nil
        }.compactMap { $0 }
    }

    private static func rosters(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT contact, group_names, account FROM roster") { row throws(SQLError) -> String? in
            guard (try? BareJID(parsing: row.text(0)))?.description == row.text(0), RosterItem.decodeGroups(row.buffer(1)) != nil else {
                return "the roster of account \(row.integer(2)) has an item that is none: \(row.text(0))"
            }
            return nil
        }.compactMap { $0 }
    }

    private static func cursors(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows("SELECT owner FROM cursor WHERE owner > 0 AND owner NOT IN (SELECT id FROM account)") {
            "there is a cursor of account \($0.integer(0)), which is gone"
        }
    }

    private static func postings(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        try connection.rows(
            """
            SELECT p.owner, p.view_id FROM posting p LEFT JOIN cursor c ON c.owner = p.owner
            WHERE (p.owner < 0 OR EXISTS (SELECT 1 FROM account a WHERE a.id = p.owner))
                AND p.view_id > COALESCE(c.delivered, 0) AND NOT EXISTS (SELECT 1 FROM log l WHERE l.id = p.log)
            LIMIT \(VerificationReport.problemsMax)
            """
        ) { "the message \($0.integer(1)) of account \($0.integer(0)) is gone" }
    }

    private static func archives(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let lost = try connection.rows(
            """
            SELECT v.owner, v.view_id FROM archive v JOIN log_owner o ON o.id = v.owner LEFT JOIN archive_account r ON r.owner = v.owner
            WHERE v.view_id > COALESCE(r.floor, 0) AND v.view_id > (SELECT value FROM meta WHERE name = 'archive_floor')
                AND NOT EXISTS (SELECT 1 FROM log l WHERE l.id = v.log)
            LIMIT \(VerificationReport.problemsMax)
            """
        ) { "the message \($0.integer(1)) in the archive of account or room \($0.integer(0)) is gone" }
        let miscounted = try connection.rows(
            """
            SELECT r.owner FROM archive_account r WHERE r.messages <> (SELECT COUNT(*) FROM archive v WHERE v.owner = r.owner)
                OR r.bytes <> (SELECT COALESCE(SUM(v.size), 0) FROM archive v WHERE v.owner = r.owner)
            LIMIT \(VerificationReport.problemsMax)
            """
        ) { "the archive of account or room \($0.integer(0)) is counted wrong" }
        return lost + miscounted
    }

    /// Every indexed entry can be found by those who wait for it, and in the archives that hold it.
    private static func entries(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let isFound = try connection.prepare(
            """
            SELECT 1 WHERE EXISTS (SELECT 1 FROM posting WHERE owner = $1 AND view_id = $2)
                OR ($1 > 0 AND NOT EXISTS (SELECT 1 FROM account WHERE id = $1))
                OR EXISTS (SELECT 1 FROM cursor WHERE owner = $1 AND delivered >= $2)
            """)
        let isArchived = try connection.prepare(
            """
            SELECT 1 WHERE EXISTS (SELECT 1 FROM archive WHERE owner = $1 AND view_id = $2)
                OR NOT EXISTS (SELECT 1 FROM log_owner WHERE id = $1)
                OR EXISTS (SELECT 1 FROM archive_account WHERE owner = $1 AND floor >= $2)
                OR EXISTS (SELECT 1 FROM meta WHERE name = 'archive_floor' AND value >= $2)
            """)
        let indexed = "(SELECT value FROM meta WHERE name = 'indexed_up_to')"
        return try connection.rows("SELECT id, views, id <= \(indexed) FROM log") { row throws(SQLError) -> String? in
            guard row.withBytes(1, { EncodedViews.isWellFormed($0) }) else { return "the entry \(row.integer(0)) has broken views" }
            guard row.flag(2) else { return nil }
            for view in row.withBytes(1, { EncodedViews.decode($0) }) {
                if view.awaitsDelivery, try !isThere(view, isFound) {
                    return "the entry \(row.integer(0)) is not in the index of account \(view.owner.raw)"
                }
                if view.archived != nil, try !isThere(view, isArchived) {
                    return "the entry \(row.integer(0)) is not in the archive of account or room \(view.owner.raw)"
                }
            }
            return nil
        }.compactMap { $0 }
    }

    /// Every archived message that is in the table of words is found there by its own.
    private static func words(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let isFound = try connection.prepare("SELECT 1 FROM archive_text WHERE archive_text MATCH $1 AND rowid = $2")
        let indexed = "(SELECT value FROM meta WHERE name = 'text_indexed_up_to')"
        return try connection.rows("SELECT id, views, stanza FROM log WHERE id <= \(indexed)") { row throws(SQLError) -> String? in
            let (entry, views) = (row.integer(0), row.withBytes(1) { EncodedViews.decode($0) })
            let owners = views.filter { $0.archived != nil }.map(\.owner)
            guard !owners.isEmpty, let message = Stanza(sent: EncodedStanza(row.buffer(2))) else { return nil }
            let words = SearchWords.inBodies(of: message)
            for owner in words.isEmpty ? [] : owners {
                let isThere = try isFound.first({
                    $0.bind(TextIndex.expression(owner, words), at: 1)
                    $0.bind(entry, at: 2)
                }) { _ in true }
                if isThere == nil { return "the entry \(entry) cannot be found by its words in the archive of account or room \(owner.raw)" }
            }
            return nil
        }.compactMap { $0 }
    }

    /// Nobody finds a message that is gone.
    private static func leftWords(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let left = try connection.prepare(
            "SELECT rowid FROM archive_text WHERE archive_text MATCH $1 AND rowid NOT IN (SELECT id FROM log) LIMIT \(VerificationReport.problemsMax)")
        let last = try connection.rows("SELECT value FROM meta WHERE name = 'last_account'") { $0.integer(0) }.first ?? 0
        var problems: [String] = []
        for number in 1...max(1, last) where problems.count < VerificationReport.problemsMax {
            let word = TextIndex.ownerWord(AccountID(raw: number))
            problems += try left.rows({ $0.bind("\"\(word)\"", at: 1) }) { "there are words of the entry \($0.integer(0)), which is gone" }
        }
        return problems
    }

    private static func isThere(_ view: LogEntry.View, _ statement: any SQLStatement) throws(SQLError) -> Bool {
        try statement.first({
            $0.bind(view.owner.raw, at: 1)
            $0.bind(Int64(clamping: view.id), at: 2)
        }) { _ in true } ?? false
    }
}
