import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

/// What every store has to do with cards, asked of each.
@Suite("The contract of a store: cards that are searched for (XEP-0055)")
struct CardContractTests {
    private func card(_ content: String) -> ByteBuffer { ByteBuffer(string: "<vCard xmlns='vcard-temp'>\(content)</vCard>") }

    private func publish(_ content: String?, of id: AccountID, _ store: any Store) async throws {
        try await store.commit([.document(id, .vCard, content.map { card($0) })])
    }

    private func found(
        _ store: any Store, _ words: (String, CardFields)..., at domain: String = "capulet.example", by asker: String = "tybalt@capulet.example/street",
        limit: Int = 100, _ change: (inout CardSearch) -> Void = { _ in }
    ) async throws -> [FoundCard] {
        var search = CardSearch(at: domain, for: words.map { CardSearch.Term($0.0, in: $0.1) }, by: try JID(asker), limit: limit)
        change(&search)
        return try await store.cards(search)
    }

    private func addresses(_ found: [FoundCard]) -> Set<BareJID> { Set(found.map(\.address)) }

    private let whole = """
        <FN>Juliet Capulet</FN><N><FAMILY>Capulet</FAMILY><GIVEN>Júliet</GIVEN></N><NICKNAME>JuliC</NICKNAME><EMAIL><HOME/></EMAIL>\
        <EMAIL><USERID>balcony@verona.example</USERID></EMAIL><EMAIL><USERID>second@verona.example</USERID></EMAIL>\
        <ORG><ORGNAME>House of Capulet</ORGNAME><ORGUNIT>Daughters</ORGUNIT></ORG><DESC>secret</DESC>
        """

    @Test("a word is found at its beginning, in its field, whatever the case and the accents, and all that is shown comes with it", arguments: StoreKind.allCases)
    func fields(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await publish(whole, of: id, store)
            var card = PublicCard()
            (card.name, card.first, card.last, card.nick) = ("Juliet Capulet", "Júliet", "Capulet", "JuliC")
            (card.email, card.organisation) = ("balcony@verona.example", "House of Capulet, Daughters")
            #expect(try await found(store, ("jul", .first)) == [FoundCard(juliet, card)])
            for (word, fields) in [
                ("juliet", CardFields.name), ("capu", .last), ("julic", .nick), ("verona", .email), ("balcony", .email), ("daughters", .organisation),
                ("juliet", .localpart), ("hou", .all),
            ] { #expect(try await found(store, (word, fields)).count == 1, "\(word)") }
            for (word, fields) in [
                ("uliet", CardFields.all), ("capulet", .first), ("juliet", .last), ("juliett", .all), ("second", .all), ("secret", .all), ("capulet", .email),
            ] { #expect(try await found(store, (word, fields)).isEmpty, "\(word)") }
        }
    }

    @Test("an account that is found has all the words", arguments: StoreKind.allCases)
    func together(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for (address, content) in [(juliet, "<FN>Juliet Capulet</FN>"), (nurse, "<FN>Angelica Capulet</FN>")] {
                try await publish(content, of: try await store.create(address), store)
            }
            #expect(addresses(try await found(store, ("cap", .last))) == [juliet, nurse])
            #expect(addresses(try await found(store, ("cap", .last), ("jul", .first))) == [juliet])
            #expect(try await found(store, ("cap", .last), ("jul", .first), ("ang", .first)).isEmpty)
            #expect(try await found(store, ("cap", .last), limit: 1).count == 1)
            #expect(try await found(store, ("cap", .last), limit: 0).isEmpty)
            #expect(try await found(store).isEmpty)
        }
    }

    @Test("a name in one piece is found as either part of it, one in parts as what it is", arguments: StoreKind.allCases)
    func pieces(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await publish("<FN>Juliet Capulet</FN>", of: id, store)
            #expect(try await found(store, ("juliet", .last)).count == 1)
            try await publish("<FN>Juliet Capulet</FN><N><GIVEN>Juliet</GIVEN></N>", of: id, store)
            #expect(try await found(store, ("juliet", .last)).isEmpty)
        }
    }

    @Test("a card that changes, or goes, is found by what it says now", arguments: StoreKind.allCases)
    func changes(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            #expect(try await found(store, ("juliet", .all)).isEmpty)
            try await publish("<FN>Juliet Capulet</FN>", of: id, store)
            try await publish("<FN>Juliet Montague</FN>", of: id, store)
            #expect(try await found(store, ("capulet", .all)).isEmpty)
            #expect(try await found(store, ("montague", .all)).map(\.card.name) == ["Juliet Montague"])
            try await publish(nil, of: id, store)
            #expect(try await found(store, ("montague", .all)).isEmpty)
            try await store.commit([.document(id, .vCard, ByteBuffer(string: "no card"))])
            #expect(try await found(store, ("juliet", .all)).isEmpty)
        }
    }

    @Test("an account whose card says nothing is found by its name where that is wanted", arguments: StoreKind.allCases)
    func empty(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet)
            try await publish("<PHOTO><BINVAL>AA==</BINVAL></PHOTO>", of: try await store.create(nurse), store)
            for word in ["juliet", "nurse"] {
                #expect(try await found(store, (word, .all)).isEmpty)
                #expect(try await found(store, (word, .all)) { $0.findsEmpty = true }.map(\.card) == [PublicCard()])
                #expect(try await found(store, (word, .nick)) { $0.findsEmpty = true }.isEmpty)
            }
        }
    }

    @Test("who is disabled, gone, or at another domain is not found", arguments: StoreKind.allCases)
    func standing(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await publish("<FN>Juliet</FN>", of: try await store.create(juliet), store)
            #expect(try await found(store, ("juliet", .all), at: "montague.example").isEmpty)
            try await store.commit([.account(.setEnabled(juliet, false))])
            #expect(try await found(store, ("juliet", .all)).isEmpty)
            try await store.commit([.account(.setEnabled(juliet, true))])
            #expect(try await found(store, ("juliet", .all)).count == 1)
            try await store.delete(juliet)
            #expect(try await found(store, ("juliet", .all)).isEmpty)
            try await store.create(juliet)
            #expect(try await found(store, ("juliet", .all)).isEmpty)
        }
    }

    @Test(
        "whoever is blocked, by whichever address, does not find the one who blocks him (XEP-0191)",
        arguments: StoreKind.allCases,
        [
            ("tybalt@capulet.example", true), ("tybalt@capulet.example/street", true), ("capulet.example", true), ("capulet.example/street", true),
            ("tybalt@capulet.example/house", false), ("nurse@capulet.example", false),
        ])
    func blocked(_ kind: StoreKind, _ address: (String, Bool)) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await publish("<FN>Juliet</FN>", of: id, store)
            try await store.commit([.document(id, DocumentKey(namespace: DocumentKey.blockList, key: address.0), ByteBuffer())])
            #expect(try await found(store, ("juliet", .all)).isEmpty == address.1)
        }
    }

    // MARK: Bounds

    @Test("a text is shown up to so many bytes, and a card is found by so many words")
    func bounds() throws {
        let name = String(repeating: "é", count: PublicCard.textBytesMax / 2)
        let long = try #require(PublicCard(stored: card("<FN>\(name)é</FN>")))
        #expect(long.name == name)
        #expect(try #require(PublicCard(stored: card("<FN>\(name)</FN>"))).name == name)
        let first = (1..<PublicCard.wordsMax).map { "a\($0)" }
        func words(_ organisation: String) -> Int {
            var card = PublicCard()
            (card.first, card.organisation) = (first.joined(separator: " "), organisation)
            return card.words(at: "juliet").count
        }
        #expect(words("") == PublicCard.wordsMax && words("one more") == PublicCard.wordsMax)
    }

    @Test("text is in one line, whatever is in it")
    func lines() throws {
        #expect(PublicCard(stored: card("<FN> Juliet\n  Capulet\u{2028}</FN>"))?.name == "Juliet Capulet")
    }
}

@Suite("SQLite: cards that are searched for")
struct CardTablesTests {
    private func reopened(_ sql: String) async throws -> (count: Int, problems: [String]) {
        let folder = TemporaryFolder()
        let path = folder.path + "/data"
        var store = try SQLiteStore.open(folder: path, options: options())
        for number in 0..<200 {
            let id = try await store.create(jid("a\(number)@capulet.example"))
            try await store.commit([.document(id, .vCard, ByteBuffer(string: "<vCard xmlns='vcard-temp'><FN>Capulet</FN></vCard>"))])
        }
        try await store.execute(sql)
        store.close()
        store = try SQLiteStore.open(folder: path, options: options())
        defer { store.close() }
        try await store.finishIndex()
        let found = try await store.cards(CardSearch(at: "capulet.example", for: [.init("capulet", in: .all)], by: .bare(juliet), limit: 1_000))
        defer { withExtendedLifetime(folder) {} }
        return (found.count, try SQLiteStore.verify(folder: path).problems)
    }

    @Test(
        "accounts that were there before, or were read by other rules, are read after the start",
        arguments: [
            "DELETE FROM card; DELETE FROM card_word; UPDATE meta SET value = 0 WHERE name = 'cards_read_up_to'",
            "DELETE FROM card WHERE account > 100; DELETE FROM card_word WHERE account > 100; UPDATE meta SET value = 100 WHERE name = 'cards_read_up_to'",
            "UPDATE card SET name = 'x'; UPDATE card_word SET word = 'x' WHERE word = 'capulet'; UPDATE meta SET value = 1 WHERE name = 'card_rules'",
        ])
    func readAnew(_ sql: String) async throws {
        let result = try await reopened(sql)
        #expect(result.count == 200 && result.problems == [])
    }

    @Test("accounts of a database from before there was a search are found after its upgrade (P16)")
    func upgraded() async throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/data"
        // Its tables are made; statements about those that are missing are not.
        #expect(throws: StorageError.self) { try SQLiteStore.open(folder: path, options: options(FatalErrors()) { $0.migrations = Array(Schema.migrations.prefix(9)) }) }
        let connection = try SQLiteDriver(file: path + "/martlet.db").openWriter()
        try connection.execute(
            """
            INSERT INTO account (id, domainpart, localpart, created, enabled, admin) VALUES (1, 'capulet.example', 'juliet', 0, 1, 0);
            INSERT INTO document (account, namespace, name, content)
                VALUES (1, 'vcard-temp', '', CAST('<vCard xmlns="vcard-temp"><NICKNAME>JuliC</NICKNAME></vCard>' AS BLOB));
            UPDATE meta SET value = 1 WHERE name = 'last_account'
            """)
        connection.close()
        let store = try SQLiteStore.open(folder: path, options: options())
        defer { store.close() }
        try await store.finishIndex()
        let found = try await store.cards(CardSearch(at: "capulet.example", for: [.init("jul", in: .nick)], by: .bare(romeo), limit: 9))
        #expect(found.map(\.address) == [juliet])
        #expect(try SQLiteStore.verify(folder: path).problems == [])
        withExtendedLifetime(folder) {}
    }

    @Test("what is found of an account and is not in its card is a problem that verification finds")
    func verification() async throws {
        #expect(try await reopened("UPDATE card SET nick = 'x' WHERE account = 7").problems.count == 1)
        #expect(try await reopened("DELETE FROM card_word WHERE account = 7 AND word = 'capulet'").problems.count == 1)
        #expect(try await reopened("DELETE FROM card WHERE account = 7").problems.count == 1)
    }
}
