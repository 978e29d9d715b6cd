import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private func item(_ contact: BareJID, version: UInt64 = 1) -> RosterItem {
    RosterItem(contact: contact, subscription: SubscriptionState(isInRoster: true), version: version)
}

/// What every store has to do with notes about rosters that are copied to a directory, asked of each.
@Suite("The contract of a store: notes about rosters that are copied")
struct RosterNoteContractTests {
    private let domain = "capulet.example"

    private func subjects(_ store: any Store, of account: BareJID = juliet) async throws -> [RosterNote.Subject] {
        try await store.rosterNotes(of: account).map(\.subject)
    }

    @Test("where no rosters are copied nothing is noted", arguments: StoreKind.allCases)
    func notCopied(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterItem(id, item(romeo))])
            #expect(try await store.rosterNoteCount(domain: domain) == 0)
            try await store.commit([.rosterCopy(.domains(["montague.example"])), .rosterItem(id, item(nurse))])
            #expect(try await store.rosterNoteCount(domain: domain) == 0)
        }
    }

    @Test("accounts of a domain arrive when its rosters begin to be copied, and later ones when they are made", arguments: StoreKind.allCases)
    func arrival(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for address in [juliet, jid("tybalt@montague.example")] { _ = try await store.create(address) }
            try await store.commit([.rosterCopy(.domains([domain]))])
            _ = try await store.create(nurse)
            let notes = try await store.rosterNotes(domain: domain, after: 0, limit: 10)
            #expect(notes.map(\.account) == [juliet, nurse] && notes.allSatisfy { $0.subject == .arrival })
            // Said once more, it is nothing new.
            try await store.commit(notes.map { .rosterCopy(.settled($0.sequence)) } + [.rosterCopy(.domains([domain]))])
            #expect(try await store.rosterNoteCount(domain: domain) == 0)
        }
    }

    @Test("a change is noted in its commit, once for each contact, by when it was noted last", arguments: StoreKind.allCases)
    func changes(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterCopy(.domains([domain]))])
            let arrival = try #require(try await store.rosterNotes(of: juliet).first)
            try await store.commit([.rosterCopy(.settled(arrival.sequence))])
            try await store.commit([.rosterItem(id, item(romeo)), .rosterItem(id, item(nurse, version: 2))])
            try await store.commit([.rosterRemoval(id, contact: romeo, version: 3)])
            #expect(try await subjects(store) == [.item(nurse), .item(romeo)])
            let (first, second) = (try await store.rosterNotes(domain: domain, after: 0, limit: 1), try await store.rosterNotes(of: juliet))
            #expect(first == [second[0]])
            #expect(try await store.rosterNotes(domain: domain, after: first[0].sequence, limit: 9) == [second[1]])
            // What is refused is not noted either.
            await #expect(throws: StoreError.self) { try await store.commit([.rosterItem(id, item(romeo, version: 4)), .account(.setEnabled(nurse, true))]) }
            #expect(try await store.rosterNotes(of: juliet) == second)
        }
    }

    @Test("what was noted again since stays when the earlier note is settled", arguments: StoreKind.allCases)
    func settled(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterCopy(.domains([domain]))])
            for note in try await store.rosterNotes(of: juliet) { try await store.commit([.rosterCopy(.settled(note.sequence))]) }
            try await store.commit([.rosterItem(id, item(romeo))])
            let earlier = try #require(try await store.rosterNotes(of: juliet).first)
            try await store.commit([.rosterItem(id, item(romeo, version: 2))])
            try await store.commit([.rosterCopy(.settled(earlier.sequence))])
            let later = try #require(try await store.rosterNotes(of: juliet).first)
            #expect(later.sequence > earlier.sequence)
            try await store.commit([.rosterCopy(.settled(later.sequence))])
            #expect(try await subjects(store) == [])
        }
    }

    @Test("more than so many contacts are one note", arguments: StoreKind.allCases)
    func many(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterCopy(.domains([domain]))])
            for note in try await store.rosterNotes(of: juliet) { try await store.commit([.rosterCopy(.settled(note.sequence))]) }
            func write(_ number: Int) -> Write { .rosterItem(id, item(jid("c\(number)@montague.example"), version: UInt64(number + 1))) }
            try await store.commit((0..<RosterNote.itemsMax).map(write))
            #expect(try await store.rosterNoteCount(domain: domain) == RosterNote.itemsMax)
            try await store.commit([write(RosterNote.itemsMax)])
            #expect(try await subjects(store) == [.roster])
            let before = try #require(try await store.rosterNotes(of: juliet).first)
            try await store.commit([write(0)])
            let after = try await store.rosterNotes(of: juliet)
            #expect(after.map(\.subject) == [.roster] && after[0].sequence > before.sequence)
        }
    }

    @Test("of an account that is gone, or has another address, is noted that it is, and nothing else", arguments: StoreKind.allCases)
    func departure(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([.rosterCopy(.domains([domain]))])
            let id = try await store.create(juliet)
            try await store.commit([.rosterItem(id, item(romeo)), .account(.delete(juliet))])
            #expect(try await subjects(store) == [.departure])
            _ = try await store.create(juliet)
            #expect(try await subjects(store) == [.departure, .arrival])
            try await store.commit([.account(.rename(juliet, to: jid("j@1.quarantine.invalid")))])
            #expect(try await subjects(store) == [.departure])
            #expect(try await store.rosterNoteCount(domain: "1.quarantine.invalid") == 0)
        }
    }

    @Test("of a domain whose rosters are copied no longer notes are forgotten", arguments: StoreKind.allCases)
    func ending(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterCopy(.domains([domain]))])
            try await store.commit([.rosterCopy(.domains([])), .rosterItem(id, item(romeo))])
            #expect(try await store.rosterNoteCount(domain: domain) == 0)
            // All of it is said once more if they are copied again.
            try await store.commit([.rosterCopy(.domains([domain]))])
            #expect(try await subjects(store) == [.arrival])
        }
    }

    @Test("whoever wants to know is told that something was noted", arguments: StoreKind.allCases)
    func telling(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (told, tell) = AsyncStream<Void>.makeStream()
            store.onRosterNote { tell.yield() }
            try await store.commit([.rosterCopy(.domains([domain]))])
            _ = try await store.create(juliet)
            var iterator = told.makeAsyncIterator()
            #expect(await iterator.next() != nil)
        }
    }
}

@Suite("SQLite: notes about rosters")
struct RosterNoteTablesTests {
    private let folder = TemporaryFolder()

    private func open() throws -> SQLiteStore { try SQLiteStore.open(folder: folder.path, options: options()) }

    /// A store that is closed, with two notes.
    private func filled() async throws -> [RosterNote] {
        let store = try open()
        defer { store.close() }
        let id = try await store.create(juliet)
        try await store.commit([.rosterCopy(.domains(["capulet.example"])), .rosterItem(id, item(romeo))])
        return try await store.rosterNotes(of: juliet)
    }

    @Test("they are there after a restart, and so is whose rosters are copied")
    func restart() async throws {
        let before = try await filled()
        #expect(before.map(\.subject) == [.arrival, .item(romeo)])
        let store = try open()
        defer { store.close() }
        #expect(try await store.rosterNotes(of: juliet) == before)
        for note in before { try await store.commit([.rosterCopy(.settled(note.sequence))]) }
        let id = try #require(try await store.credentials(of: juliet)?.id)
        try await store.commit([.rosterRemoval(id, contact: romeo, version: 2)])
        let after = try await store.rosterNotes(of: juliet)
        // No number is given twice, also if there are no notes left.
        #expect(after.map(\.subject) == [.item(romeo)] && after[0].sequence > before[1].sequence)
    }

    @Test(
        "the check finds notes that are none",
        arguments: [
            "UPDATE roster_note SET kind = 9", "UPDATE roster_note SET contact = '@' WHERE kind = 3", "UPDATE roster_note SET domainpart = ''",
            "UPDATE meta SET value = 0 WHERE name = 'last_roster_note'",
        ])
    func damage(_ sql: String) async throws {
        _ = try await filled()
        #expect(try SQLiteStore.verify(folder: folder.path).problems == [])
        let store = try open()
        try await store.execute(sql)
        store.close()
        #expect(try SQLiteStore.verify(folder: folder.path).problems.isEmpty == false)
    }
}
