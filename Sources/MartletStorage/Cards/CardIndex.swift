internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// Keeps the tables by which accounts are found in step with accounts and cards: a commit that makes an account or changes its card changes them
/// too. What was there before the tables were, or was read by other rules, is read in small steps between commits (``LogIndex``).
///
/// Accounts that have not been read yet are not found.
final class CardIndex {
    /// Accounts that one step reads.
    static let stepMax = 64

    private let putCard, deleteWords, insertWord, account, unread, setReadUpTo: any SQLStatement
    /// The last account that was read, or ``CardTables/allRead``.
    private var readUpTo: Int64 = 0
    /// How many were read in steps, and how many of them were told of.
    private var (readCount, toldCount) = (0, 0)
    /// Accounts between two lines in the log.
    private static let newsInterval = 10_000

    init(_ connection: any SQLConnection) throws(SQLError) {
        putCard = try connection.prepare(
            """
            INSERT INTO card (account, published, \(CardTables.columns)) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (account) DO UPDATE SET published = excluded.published, name = excluded.name, first = excluded.first, last = excluded.last,
                nick = excluded.nick, email = excluded.email, organisation = excluded.organisation
            """)
        deleteWords = try connection.prepare("DELETE FROM card_word WHERE account = $1")
        insertWord = try connection.prepare("INSERT INTO card_word (domainpart, word, account, fields) VALUES ($1, $2, $3, $4)")
        account = try connection.prepare("SELECT domainpart, localpart FROM account WHERE id = $1")
        unread = try connection.prepare(
            """
            SELECT a.id, a.domainpart, a.localpart, d.content FROM account a
            LEFT JOIN document d ON d.account = a.id AND d.namespace = $3 AND d.name = $4
            WHERE a.id > $1 ORDER BY a.id LIMIT $2
            """)
        setReadUpTo = try connection.prepare("UPDATE meta SET value = $1 WHERE name = 'cards_read_up_to'")
        try forgetOtherRules(connection)
        readUpTo = try connection.rows("SELECT value FROM meta WHERE name = 'cards_read_up_to'") { $0.integer(0) }.first ?? 0
    }

    /// What other rules made of an account is found until the account is read anew.
    private func forgetOtherRules(_ connection: any SQLConnection) throws(SQLError) {
        let found = try connection.rows("SELECT value FROM meta WHERE name = 'card_rules'") { $0.integer(0) }.first
        guard found != CardTables.rules else { return }
        try connection.transaction { () throws(SQLError) in
            // Without accounts there is nothing to read.
            let begin = "CASE WHEN EXISTS (SELECT 1 FROM account) THEN 0 ELSE \(CardTables.allRead) END"
            try connection.execute("UPDATE meta SET value = \(begin) WHERE name = 'cards_read_up_to'")
            try connection.execute("UPDATE meta SET value = \(CardTables.rules) WHERE name = 'card_rules'")
        }
    }

    // MARK: Part of a commit

    /// A document of an account's is another one, or gone.
    func changed(_ key: DocumentKey, _ content: ByteBuffer?, of id: AccountID) throws(SQLError) {
        guard key == .vCard else { return }
        let address = try account.first({ $0.bind(id.raw, at: 1) }) { row throws(SQLError) in try row.address(parts: 0) }
        guard let address else { return }
        try put(PublicCard(stored: content) ?? PublicCard(), of: id.raw, at: address)
    }

    /// There is a new account.
    func created(_ id: Int64, at address: BareJID) throws(SQLError) { try put(PublicCard(), of: id, at: address) }

    private func put(_ card: PublicCard, of id: Int64, at address: BareJID) throws(SQLError) {
        try putCard.run {
            $0.bind(id, at: 1)
            $0.bind(!card.isEmpty, at: 2)
            for (index, text) in [card.name, card.first, card.last, card.nick, card.email, card.organisation].enumerated() { $0.bind(text, at: 3 + index) }
        }
        try deleteWords.run { $0.bind(id, at: 1) }
        for (word, fields) in card.words(at: address.localpart ?? "") {
            try insertWord.run {
                $0.bind(address.domainpart, at: 1)
                $0.bind(word, at: 2)
                $0.bind(id, at: 3)
                $0.bind(fields.rawValue, at: 4)
            }
        }
    }

    // MARK: Steps, each in a transaction of the caller's

    var hasUnread: Bool { readUpTo < CardTables.allRead }

    /// Reads the next accounts.
    func step() throws(SQLError) {
        let rows = try unread.rows({
            $0.bind(readUpTo, at: 1)
            $0.bind(Int64(Self.stepMax), at: 2)
            $0.bind(DocumentKey.vCard.namespace, at: 3)
            $0.bind(DocumentKey.vCard.key, at: 4)
        }) { row throws(SQLError) in
            (id: row.integer(0), address: try row.address(parts: 1), card: PublicCard(stored: row.isNull(3) ? nil : row.buffer(3)))
        }
        for row in rows { try put(row.card ?? PublicCard(), of: row.id, at: row.address) }
        let reached = rows.count < Self.stepMax ? CardTables.allRead : rows.last?.id ?? CardTables.allRead
        try setReadUpTo.run { $0.bind(reached, at: 1) }
        readUpTo = reached
        readCount += rows.count
    }

    /// How many accounts have been read, if it is time to tell.
    func takeNews() -> Int? {
        guard readCount > toldCount, !hasUnread || readCount - toldCount >= Self.newsInterval else { return nil }
        toldCount = readCount
        return readCount
    }
}
