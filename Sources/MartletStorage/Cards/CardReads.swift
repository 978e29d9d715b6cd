internal import MartletCore
internal import MartletXMPP

/// A reader's statements about cards.
final class CardReads {
    /// So many rows of a word are counted at most, to find the rarest: beyond, words are as good as each other.
    private static let countedMax = 1_000

    private let connection: any SQLConnection
    private let count: any SQLStatement
    /// By how many terms they are for; made when they are first wanted.
    private var searches: [Int: any SQLStatement] = [:]

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        count = try connection.prepare(
            "SELECT COUNT(*) FROM (SELECT 1 FROM card_word WHERE domainpart = $1 AND word >= $2 AND word < $3 LIMIT \(Self.countedMax)) c")
    }

    /// Follows the rarest word, and asks of each account that has it whether it has the others: what is common need not be read through. SQLite by
    /// itself, with 100,000 made-up accounts, took 0.05 to 0.6 ms for most questions and 11 ms for two words of one letter.
    func cards(_ search: CardSearch) throws(SQLError) -> [FoundCard] {
        guard !search.terms.isEmpty, search.terms.count <= CardSearch.termsMax else { return [] }
        var terms: [(count: Int64, term: CardSearch.Term)] = []
        for term in search.terms { terms.append((try count(term, at: search.domain), term)) }
        terms.sort { $0.count < $1.count }
        guard terms.first?.count != 0 else { return [] }
        return try statement(terms: terms.count).rows({ statement in
            statement.bind(search.domain, at: 1)
            statement.bind(!search.findsEmpty, at: 2)
            statement.bind(DocumentKey.blockList, at: 3)
            let names = search.names
            // Where there are less than four, the last one again.
            for index in 0..<4 { statement.bind(names[min(index, names.count - 1)], at: 4 + index) }
            statement.bind(Int64(max(0, search.limit)), at: 8)
            for (index, term) in terms.map(\.term).enumerated() { statement.bind(term, at: 9 + 3 * index) }
        }) { row throws(SQLError) in FoundCard(try row.address(parts: 0), row.card(at: 2)) }
    }

    private func count(_ term: CardSearch.Term, at domain: String) throws(SQLError) -> Int64 {
        try count.first({
            $0.bind(domain, at: 1)
            $0.bindRange(of: term, at: 2)
        }) { $0.integer(0) } ?? 0
    }

    private func statement(terms: Int) throws(SQLError) -> any SQLStatement {
        if let known = searches[terms] { return known }
        let others = (1..<max(1, terms)).map { index in
            let parameter = 9 + 3 * index
            return """
                AND EXISTS (SELECT 1 FROM card_word o WHERE o.account = w.account AND o.word >= $\(parameter) AND o.word < $\(parameter + 1)
                    AND (o.fields & $\(parameter + 2)) <> 0)
                """
        }
        let statement = try connection.prepare(
            """
            SELECT a.domainpart, a.localpart, c.name, c.first, c.last, c.nick, c.email, c.organisation
            FROM (SELECT DISTINCT w.account AS id FROM card_word w
                WHERE w.domainpart = $1 AND w.word >= $9 AND w.word < $10 AND (w.fields & $11) <> 0 \(others.joined(separator: " "))) f
            CROSS JOIN account a CROSS JOIN card c
            WHERE a.id = f.id AND c.account = f.id AND a.enabled = 1 AND c.published >= $2
                AND NOT EXISTS (SELECT 1 FROM document d WHERE d.account = f.id AND d.namespace = $3 AND d.name IN ($4, $5, $6, $7))
            LIMIT $8
            """)
        searches[terms] = statement
        return statement
    }
}

extension SQLStatement {
    /// The words that a term begins: no word has the last character that there is.
    fileprivate func bindRange(of term: CardSearch.Term, at parameter: Int) {
        bind(term.word, at: parameter)
        bind(term.word + "\u{10FFFF}", at: parameter + 1)
    }

    fileprivate func bind(_ term: CardSearch.Term, at parameter: Int) {
        bindRange(of: term, at: parameter)
        bind(term.fields.rawValue, at: parameter + 2)
    }
}
