internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// Which words the archived messages have (XEP-0431), in a table of FTS5's: filled, cleared and cleaned in steps of ``LogIndex``.
///
/// An entry of the log that archives hold has one row, under its number: the words of its bodies (``SearchWords``), and for each account
/// whose archive has it the word ``ownerWord(_:)``, so that a search meets nobody else's messages. The table keeps no text and no order of
/// words. `meta.text_indexed_up_to` says how far the log is in it; what is beyond is searched by looking at the messages.
///
/// FTS5 deletes a row by noting that it is gone. From then on it is not found; the words themselves go when what is noted is merged with
/// what it is about. There is an option to take them out at once, `secure-delete`, from SQLite 3.42 on, which not every system has. Here the
/// whole table is merged instead, in small steps when there is nothing else to do, once in ``cleaningInterval``.
final class TextIndex {
    /// Entries that one step puts in: about ten milliseconds.
    static let stepMax = 128
    /// Pages that one step of cleaning writes.
    static let cleaningPages = 64
    /// The words of what was deleted are in the file for at most so long, and until there is an idle moment.
    static let cleaningInterval = TimeAmount.hours(24)
    /// Words of a search that the table is asked for. More only make it slower: the messages themselves decide.
    static let matchedWordsMax = 16

    /// The last entry of the log that is in the table.
    private(set) var upTo: Int64
    /// Rows that were deleted and whose words may still be in the file.
    private(set) var remains: Int64
    private var cleaning: Cleaning?

    private struct Cleaning {
        /// How many of ``TextIndex/remains`` it takes away.
        var remains: Int64
        var hasBegun = false
    }

    private let connection: any SQLConnection
    private let unread, setUpTo, insertWords, deleteWords, entry, addRemains, merge, allChanges: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        unread = try connection.prepare("SELECT id, views, stanza FROM log WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3")
        setUpTo = try connection.prepare("UPDATE meta SET value = $1 WHERE name = 'text_indexed_up_to'")
        insertWords = try connection.prepare("INSERT INTO archive_text (rowid, words) VALUES ($1, $2)")
        deleteWords = try connection.prepare("INSERT INTO archive_text (archive_text, rowid, words) VALUES ('delete', $1, $2)")
        entry = try connection.prepare("SELECT views, stanza FROM log WHERE id = $1")
        addRemains = try connection.prepare("UPDATE meta SET value = value + $1 WHERE name = 'text_remains'")
        merge = try connection.prepare("INSERT INTO archive_text (archive_text, rank) VALUES ('merge', $1)")
        allChanges = try connection.prepare("SELECT total_changes()")
        upTo = 0
        remains = 0
        try forgetOtherRules()
        upTo = try number("text_indexed_up_to")
        remains = try number("text_remains")
    }

    private func number(_ name: String) throws(SQLError) -> Int64 {
        try connection.rows("SELECT value FROM meta WHERE name = $1", { $0.bind(name, at: 1) }) { $0.integer(0) }.first ?? 0
    }

    /// Rows are deleted by their words: what other rules made of a message cannot be taken out again.
    private func forgetOtherRules() throws(SQLError) {
        guard try number("text_rules") != SearchWords.version else { return }
        try connection.transaction { () throws(SQLError) in
            try connection.execute("INSERT INTO archive_text (archive_text) VALUES ('delete-all')")
            try connection.execute("UPDATE meta SET value = 0 WHERE name IN ('text_indexed_up_to', 'text_remains')")
            try connection.execute("UPDATE meta SET value = \(SearchWords.version) WHERE name = 'text_rules'")
        }
    }

    // MARK: Words

    /// No text has such a word: the low line is no part of any.
    static func ownerWord(_ owner: AccountID) -> String { "_\(owner.raw)" }

    /// The row of an entry; `nil` if there is nothing to find.
    static func row(_ views: [LogEntry.View], _ stanza: EncodedStanza) -> String? {
        let owners = views.filter { $0.archived != nil }.map { ownerWord($0.owner) }
        guard !owners.isEmpty, let message = Stanza(sent: stanza) else { return nil }
        let words = SearchWords.inBodies(of: message)
        return words.isEmpty ? nil : (owners + words).joined(separator: " ")
    }

    /// The expression of FTS5 that finds what `owner`'s archive has with all of `words`, and perhaps a little more. Every word is quoted: none
    /// is an operator.
    static func expression(_ owner: AccountID, _ words: Set<String>) -> String {
        // The longest are the rarest, mostly.
        let chosen = words.sorted { ($1.utf8.count, $0) < ($0.utf8.count, $1) }.prefix(matchedWordsMax)
        return ([ownerWord(owner)] + chosen).map { "\"\($0)\"" }.joined(separator: " ")
    }

    // MARK: Steps, each in a transaction of the caller's

    /// Puts the next entries in, up to `last`.
    func fill(upTo last: Int64) throws(SQLError) {
        let rows = try unread.rows({
            $0.bind(upTo, at: 1)
            $0.bind(last, at: 2)
            $0.bind(Int64(Self.stepMax), at: 3)
        }) { (entry: $0.integer(0), words: Self.row($0, views: 1, stanza: 2)) }
        for row in rows {
            guard let words = row.words else { continue }
            try run(insertWords, row.entry, words)
        }
        let reached = rows.count < Self.stepMax ? last : rows.last?.entry ?? last
        try setUpTo.run { $0.bind(reached, at: 1) }
        upTo = reached
    }

    /// Takes an entry out that is about to be deleted from the log.
    func remove(_ entry: Int64) throws(SQLError) {
        guard entry <= upTo else { return }
        let words = try self.entry.first({ $0.bind(entry, at: 1) }) { Self.row($0, views: 0, stanza: 1) }
        guard let words, let words else { return }
        try run(deleteWords, entry, words)
        try addRemains.run { $0.bind(1, at: 1) }
        remains += 1
    }

    /// Puts the words of another stanza in the place of an entry's, which still has its own. Part of a commit: what is to be known of it in
    /// memory is told once it is on disk (``replaced(_:)``).
    /// - Returns: how many rows were deleted.
    func replace(_ entry: Int64, by stanza: EncodedStanza) throws(SQLError) -> Int64 {
        guard entry <= upTo else { return 0 }
        let rows = try self.entry.first({ $0.bind(entry, at: 1) }) { row in
            let views = row.withBytes(0) { EncodedViews.decode($0) }
            return (old: Self.row(views, EncodedStanza(row.buffer(1))), new: Self.row(views, stanza))
        }
        guard let rows else { return 0 }
        if let words = rows.old {
            try run(deleteWords, entry, words)
            try addRemains.run { $0.bind(1, at: 1) }
        }
        if let words = rows.new { try run(insertWords, entry, words) }
        return rows.old == nil ? 0 : 1
    }

    /// A commit replaced words.
    func replaced(_ rows: Int64) { remains += rows }

    /// - Returns: whether there is nothing left to clean.
    func clean() throws(SQLError) -> Bool {
        guard remains > 0 || cleaning != nil else { return true }
        var cleaning = cleaning ?? Cleaning(remains: remains)
        let before = try allChanges.first({ _ in }) { $0.integer(0) } ?? 0
        // A negative number makes one merge of the whole table, which positive ones go on with.
        try merge.run { $0.bind(Int64(cleaning.hasBegun ? Self.cleaningPages : -Self.cleaningPages), at: 1) }
        let after = try allChanges.first({ _ in }) { $0.integer(0) } ?? 0
        cleaning.hasBegun = true
        self.cleaning = cleaning
        // One change is the command itself.
        guard after - before < 2 else { return false }
        try addRemains.run { $0.bind(-cleaning.remains, at: 1) }
        remains -= cleaning.remains
        self.cleaning = nil
        return true
    }

    private func run(_ statement: any SQLStatement, _ entry: Int64, _ words: String) throws(SQLError) {
        try statement.run {
            $0.bind(entry, at: 1)
            $0.bind(words, at: 2)
        }
    }

    private static func row(_ row: any SQLStatement, views: Int, stanza: Int) -> String? {
        Self.row(row.withBytes(views) { EncodedViews.decode($0) }, EncodedStanza(row.buffer(stanza)))
    }
}
