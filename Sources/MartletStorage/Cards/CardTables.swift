internal import MartletCore

/// The tables by which accounts are found (XEP-0055): derived from accounts and their cards, up to the account `meta.cards_read_up_to`, by the rules
/// `meta.card_rules`. They go with their account.
enum CardTables {
    /// `card` is what is shown of an account; `published` says whether that is anything. `card_word` has the words by which it is found, and in which
    /// fields each of them is (`CardFields`): by domain for the first word that is searched for, by account for the others.
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE card (
                account \(d.integer) PRIMARY KEY NOT NULL REFERENCES account(id) ON DELETE CASCADE, published \(d.integer) NOT NULL,
                name \(d.text) NOT NULL, first \(d.text) NOT NULL, last \(d.text) NOT NULL, nick \(d.text) NOT NULL, email \(d.text) NOT NULL,
                organisation \(d.text) NOT NULL) \(d.tableOptions)
            """,
            """
            CREATE TABLE card_word (
                domainpart \(d.text) NOT NULL, word \(d.text) NOT NULL,
                account \(d.integer) NOT NULL REFERENCES account(id) ON DELETE CASCADE, fields \(d.integer) NOT NULL,
                PRIMARY KEY (domainpart, word, account)) \(d.clusteredTableOptions)
            """,
            "CREATE INDEX card_word_of_account ON card_word (account, word, fields)",
            "INSERT INTO meta (name, value) VALUES ('cards_read_up_to', 0), ('card_rules', 0)",
        ]
    }

    /// Which rules the tables are made by: those of cards, and those of words.
    static let rules = PublicCard.version << 32 | SearchWords.version
    /// `meta.cards_read_up_to` when there is no account left to read.
    static let allRead = Int64.max
    static let columns = "name, first, last, nick, email, organisation"
}

extension SQLStatement {
    /// The columns of ``CardTables/columns``, from this one on.
    func card(at column: Int) -> PublicCard {
        var card = PublicCard()
        (card.name, card.first, card.last) = (text(column), text(column + 1), text(column + 2))
        (card.nick, card.email, card.organisation) = (text(column + 3), text(column + 4), text(column + 5))
        return card
    }
}
