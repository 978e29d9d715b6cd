import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Synchronization
import Testing

/// What every store has to do, asked of each.
@Suite("The contract of a store")
struct StoreContractTests {
    // MARK: Accounts

    @Test("an account that was created is found by its address, with its credentials", arguments: StoreKind.allCases)
    func creation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let keys = [credentials(.sha1), credentials(.sha256)]
            let id = try await store.create(juliet, keys, isAdmin: true)
            let account = try #require(try await store.load(juliet))
            #expect(account.isEnabled && account.roster.isEmpty && account.undelivered == 0 && account.lastViewID == 0)
            let identity = try #require(try await store.credentials(of: juliet))
            #expect(identity.id == id && identity.isAdmin && identity.isEnabled)
            #expect(Set(identity.credentials) == Set(keys))
            #expect(try await store.load(romeo) == nil)
            #expect(try await store.credentials(of: romeo) == nil)
        }
    }

    @Test("an address is given to one account at a time", arguments: StoreKind.allCases)
    func existing(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet, [credentials(.sha256, 1)])
            await #expect(throws: StoreError.constraint("the account exists: juliet@capulet.example")) {
                try await store.commit([.account(.create(juliet, credentials: [], isAdmin: true))])
            }
            let identity = try #require(try await store.credentials(of: juliet))
            #expect(identity.id == id && !identity.isAdmin && identity.credentials == [credentials(.sha256, 1)])
        }
    }

    @Test("new credentials replace all the old ones, and there is one for each hash", arguments: StoreKind.allCases)
    func newCredentials(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha1), credentials(.sha256)])
            try await store.commit([.account(.setCredentials(juliet, [credentials(.sha512, 9)]))])
            #expect(try await store.credentials(of: juliet)?.credentials == [credentials(.sha512, 9)])
            await #expect(throws: StoreError.self) {
                try await store.commit([.account(.setCredentials(juliet, [credentials(.sha1), credentials(.sha1, 8)]))])
            }
            #expect(try await store.credentials(of: juliet)?.credentials == [credentials(.sha512, 9)])
        }
    }

    @Test("keys are added beside those by which the password was proved, and of hashes of which there are none (XEP-0480)", arguments: StoreKind.allCases)
    func addedCredentials(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha1), credentials(.sha256)])
            let added = [credentials(.sha512, 9), credentials(.sha256, 9)]
            try await store.commit([.account(.addCredentials(juliet, added, provedBy: credentials(.sha1)))])
            let all: Set = [credentials(.sha1), credentials(.sha256), credentials(.sha512, 9)]
            #expect(Set(try #require(try await store.credentials(of: juliet)).credentials) == all)
            try await store.commit([.account(.setCredentials(juliet, [credentials(.sha1, 5)]))])
            for proved in [credentials(.sha1), credentials(.sha256)] {
                await #expect(throws: StoreError.constraint("the credentials are others: juliet@capulet.example")) {
                    try await store.commit([.account(.addCredentials(juliet, [credentials(.sha512)], provedBy: proved))])
                }
            }
            #expect(try await store.credentials(of: juliet)?.credentials == [credentials(.sha1, 5)])
        }
    }

    @Test("an account is disabled and enabled again", arguments: StoreKind.allCases)
    func standing(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet)
            try await store.commit([.account(.setEnabled(juliet, false))])
            #expect(try await store.load(juliet)?.isEnabled == false)
            #expect(try await store.credentials(of: juliet)?.isEnabled == false)
            try await store.commit([.account(.setEnabled(juliet, true))])
            #expect(try await store.load(juliet)?.isEnabled == true)
        }
    }

    @Test("changing or deleting an account that is not there is refused", arguments: StoreKind.allCases)
    func missing(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for change in [
                AccountChange.delete(juliet), .setEnabled(juliet, true), .setCredentials(juliet, []),
                .addCredentials(juliet, [], provedBy: credentials(.sha1)),
            ] {
                await #expect(throws: StoreError.constraint("no such account: juliet@capulet.example")) {
                    try await store.commit([.account(change)])
                }
            }
        }
    }

    @Test("an address that is created anew is another account and inherits nothing", arguments: StoreKind.allCases)
    func recreation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let first = try await store.create(juliet, [credentials(.sha256)], isAdmin: true)
            let other = try await store.create(romeo)
            try await store.commit(everything(for: first, and: other))
            try await store.delete(juliet)
            #expect(try await store.load(juliet) == nil)
            let second = try await store.create(juliet)
            #expect(second != first && second > other)
            let account = try #require(try await store.load(juliet))
            #expect(account.roster.isEmpty && account.rosterRemovals.isEmpty && account.rosterVersion == 0 && account.blocked.isEmpty)
            #expect(account.lastViewID == 0 && account.deliveredUpTo == 0 && account.undelivered == 0 && account.lastActivity == nil)
            #expect(try await store.credentials(of: juliet)?.credentials == [])
            for id in [first, second] {
                #expect(try await store.messages(of: id).isEmpty)
                #expect(try await store.document(id, DocumentKey(namespace: "n", key: "k")) == nil)
            }
            #expect(try await store.messages(of: other).map(\.text) == ["shared"])
        }
    }

    private func everything(for id: AccountID, and other: AccountID) -> [Write] {
        [
            .rosterItem(id, RosterItem(contact: romeo, version: 3)), .rosterRemoval(id, contact: nurse, version: 4),
            .document(id, DocumentKey(namespace: "n", key: "k"), ByteBuffer(string: "d")),
            .document(id, DocumentKey(namespace: DocumentKey.blockList, key: "x.example"), ByteBuffer()),
            entry("own", (id, 10)), entry("shared", (id, 11), (other, 5)), .cursor(id, upTo: 10),
            .lastActivity(id, time: 5, status: "gone"),
        ]
    }

    @Test("numbers of accounts are never given twice, whatever was deleted or refused", arguments: StoreKind.allCases)
    func numbers(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            var last = AccountID(raw: 0)
            for _ in 0..<5 {
                let id = try await store.create(juliet)
                #expect(id > last)
                last = id
                try? await store.commit([.account(.create(juliet, credentials: [], isAdmin: false))])
                try await store.delete(juliet)
            }
        }
    }

    @Test("accounts are listed by domain and localpart, page by page", arguments: StoreKind.allCases)
    func list(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let addresses = ["b@y.example", "a@y.example", "c@x.example", "a.b@x.example", "ä@x.example", "a@x.example"].map(jid)
            for address in addresses { try await store.create(address, isAdmin: address == addresses[0]) }
            let id = try #require(try await store.load(addresses[2])).id
            try await store.commit([.lastActivity(id, time: 77, status: nil), .account(.setEnabled(addresses[1], false))])
            let expected = ["a@x.example", "a.b@x.example", "c@x.example", "ä@x.example", "a@y.example", "b@y.example"].map(jid)
            var (found, after) = ([AccountSummary](), BareJID?.none)
            while true {
                let page = try await store.accounts(domain: nil, after: after, limit: 4)
                found += page
                guard let last = page.last else { break }
                after = last.address
            }
            #expect(found.map(\.address) == expected)
            #expect(found[2].lastActivity == 77 && found[0].lastActivity == nil && found[0].created == FixedTime().wallMilliseconds)
            #expect(!found[4].isEnabled && found[5].isEnabled && found[5].isAdmin && !found[4].isAdmin)
            let inY = try await store.accounts(domain: "y.example", after: nil, limit: 10)
            #expect(inY.map(\.address) == Array(expected.suffix(2)))
            #expect(try await store.accounts(domain: "y.example", after: expected[4], limit: 10).map(\.address) == [expected[5]])
            #expect(try await store.accounts(domain: "z.example", after: nil, limit: 10).isEmpty)
        }
    }

    // MARK: Rosters

    @Test("a roster item comes back as it was written", arguments: StoreKind.allCases)
    func rosterItem(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let all = SubscriptionState(to: true, from: true, pendingOut: true, pendingIn: true, approved: true, isInRoster: true)
            let items = [
                RosterItem(contact: nurse, version: 1),
                RosterItem(
                    contact: romeo, name: "Roméo", groups: ["Friends", "", "Fri\u{1f}ends", "愛"], subscription: all,
                    request: stanza("<presence type='subscribe'/>"), version: 2),
            ]
            try await store.commit(items.map { .rosterItem(id, $0) })
            let account = try #require(try await store.load(juliet))
            #expect(account.roster == items && account.rosterVersion == 2)
            let changed = RosterItem(contact: romeo, name: "", groups: [], subscription: SubscriptionState(from: true), version: 3)
            try await store.commit([.rosterItem(id, changed)])
            #expect(try await store.load(juliet)?.roster == [items[0], changed])
            #expect(try await store.load(juliet)?.rosterVersion == 3)
        }
    }

    @Test("each part of a subscription is kept apart from the others", arguments: StoreKind.allCases)
    func subscriptions(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let states = [
                SubscriptionState(to: true), SubscriptionState(from: true), SubscriptionState(pendingOut: true),
                SubscriptionState(pendingIn: true), SubscriptionState(approved: true), SubscriptionState(isInRoster: true),
            ]
            for (version, state) in states.enumerated() {
                try await store.commit([.rosterItem(id, RosterItem(contact: romeo, subscription: state, version: UInt64(version + 1)))])
                #expect(try await store.load(juliet)?.roster.map(\.subscription) == [state])
            }
        }
    }

    @Test("a removed contact is remembered under the roster's version (RFC 6121 §2.6)", arguments: StoreKind.allCases)
    func rosterRemoval(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.rosterItem(id, RosterItem(contact: romeo, version: 1)), .rosterRemoval(id, contact: romeo, version: 2)])
            var account = try #require(try await store.load(juliet))
            #expect(account.roster.isEmpty && account.rosterVersion == 2 && account.oldestRosterVersion == 0)
            #expect(account.rosterRemovals == [RosterRemoval(contact: romeo, version: 2)])
            try await store.commit([.rosterItem(id, RosterItem(contact: romeo, version: 3)), .rosterRemoval(id, contact: nurse, version: 4)])
            account = try #require(try await store.load(juliet))
            #expect(account.roster.map(\.contact) == [romeo] && account.rosterVersion == 4)
            #expect(account.rosterRemovals.map(\.version) == [2, 4])
        }
    }

    @Test("only so many removals are remembered; what is older gets the whole roster (RFC 6121 §2.6.3)", arguments: StoreKind.allCases)
    func manyRemovals(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let max = StoredAccount.rosterRemovalsMax
            try await store.commit((1..<UInt64(max)).map { .rosterRemoval(id, contact: jid("c\($0)@x.example"), version: $0) })
            #expect(try await store.load(juliet)?.oldestRosterVersion == 0)
            try await store.commit((0..<3).map { .rosterRemoval(id, contact: romeo, version: UInt64(max + $0)) })
            let account = try #require(try await store.load(juliet))
            #expect(account.rosterRemovals.count == max && account.rosterRemovals.first?.version == 3)
            #expect(account.oldestRosterVersion == 3 && account.rosterVersion == UInt64(max + 2))
        }
    }

    // MARK: Documents

    @Test("documents are kept by account, namespace and key", arguments: StoreKind.allCases)
    func documents(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            let key = DocumentKey(namespace: "jabber:iq:private", key: "exodus:prefs")
            let bytes = ByteBuffer(bytes: 0...255)
            try await store.commit([.document(a, key, bytes), .document(a, DocumentKey(namespace: "vcard-temp"), ByteBuffer())])
            #expect(try await store.document(a, key) == bytes)
            #expect(try await store.document(a, DocumentKey(namespace: "vcard-temp")) == ByteBuffer())
            #expect(try await store.document(a, DocumentKey(namespace: "jabber:iq:private")) == nil)
            #expect(try await store.document(b, key) == nil)
            try await store.commit([.document(a, key, ByteBuffer(string: "new"))])
            #expect(try await store.document(a, key) == ByteBuffer(string: "new"))
            try await store.commit([.document(a, key, nil), .document(b, key, nil)])
            #expect(try await store.document(a, key) == nil)
        }
    }

    @Test("what is written on condition that a document is as it was is written then, and else nothing of it is", arguments: StoreKind.allCases)
    func unchanged(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let (key, other) = (DocumentKey.vCard, DocumentKey.avatarDigest)
            let (old, new) = (ByteBuffer(string: "old"), ByteBuffer(string: "new"))
            try await store.commit([.unchanged(id, key, nil), .document(id, key, old)])
            #expect(try await store.document(id, key) == old)
            for wrong in [nil, new, ByteBuffer()] {
                await #expect(throws: StoreError.self) { try await store.commit([.document(id, other, new), .unchanged(id, key, wrong), .document(id, key, new)]) }
            }
            #expect(try await store.document(id, key) == old)
            #expect(try await store.document(id, other) == nil)
            try await store.commit([.unchanged(id, key, old), .document(id, key, ByteBuffer()), .unchanged(id, key, ByteBuffer())])
            #expect(try await store.document(id, key) == ByteBuffer())
            await #expect(throws: StoreError.self) { try await store.commit([.unchanged(AccountID(raw: 4_711), key, nil)]) }
        }
    }

    @Test("the block list is the documents of its namespace (XEP-0191)", arguments: StoreKind.allCases)
    func blockList(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let names = ["x.example", "a@x.example", "a@x.example/R s"]
            try await store.commit(names.map { .document(id, DocumentKey(namespace: DocumentKey.blockList, key: $0), ByteBuffer()) })
            #expect(Set(try #require(try await store.load(juliet)).blocked) == Set(try names.map { try JID($0) }))
            try await store.commit([.document(id, DocumentKey(namespace: DocumentKey.blockList, key: "x.example"), nil)])
            #expect(try await store.load(juliet)?.blocked.count == 2)
        }
    }

    // MARK: The message log

    @Test("a message is in the view of everyone it names, in the order of the views", arguments: StoreKind.allCases)
    func log(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            for place in 1...5 {
                _ = store.submit([entry("m\(place)", (a, UInt64(place * 10)), (b, UInt64(place * 7)), time: Int64(place))])
            }
            let messages = try await store.messages(of: a)
            #expect(messages.map(\.text) == ["m1", "m2", "m3", "m4", "m5"])
            #expect(messages.map(\.view) == [10, 20, 30, 40, 50] && messages.map(\.time) == [1, 2, 3, 4, 5])
            #expect(try await store.messages(of: b).map(\.view) == [7, 14, 21, 28, 35])
            #expect(try await store.messages(of: a, after: 20, limit: 2).map(\.text) == ["m3", "m4"])
            #expect(try await store.messages(of: a, after: 25, limit: 1).map(\.view) == [30])
            #expect(try await store.messages(of: a, after: 50).isEmpty)
            #expect(try await store.messages(of: a, limit: 0).isEmpty)
            let account = try #require(try await store.load(juliet))
            #expect(account.undelivered == 5 && account.undeliveredBytes == 10 && account.lastViewID == 50)
        }
    }

    @Test("what is delivered is not read again, and the cursor never goes back", arguments: StoreKind.allCases)
    func cursor(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit((1...4).map { entry("m\($0)", (a, $0), (b, $0)) })
            try await store.commit([.cursor(a, upTo: 3)])
            #expect(try await store.messages(of: a).map(\.view) == [4])
            #expect(try await store.messages(of: b).count == 4)
            try await store.commit([.cursor(a, upTo: 2)])
            var account = try #require(try await store.load(juliet))
            #expect(account.deliveredUpTo == 3 && account.undelivered == 1 && account.lastViewID == 4)
            try await store.commit([.cursor(a, upTo: 4)])
            account = try #require(try await store.load(juliet))
            #expect(account.undelivered == 0 && account.undeliveredBytes == 0 && account.lastViewID == 4)
            try await store.commit([entry("m5", (a, 5))])
            #expect(try await store.messages(of: a).map(\.text) == ["m5"])
        }
    }

    @Test("an entry that is submitted again changes nothing, and views may come out of order", arguments: StoreKind.allCases)
    func repeated(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let a = try await store.create(juliet)
            try await store.commit([entry("three", (a, 3)), entry("one", (a, 1))])
            try await store.commit([entry("two", (a, 2))])
            #expect(try await store.messages(of: a).map(\.text) == ["one", "two", "three"])
        }
    }

    @Test("messages of accounts that are gone do not disturb the others in the entry", arguments: StoreKind.allCases)
    func goneOwner(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.delete(romeo)
            try await store.commit([
                entry("hello", (a, 1), (b, 1)), .cursor(b, upTo: 1), .lastActivity(b, time: 1, status: nil), entry("nobody", (b, 2)),
                entry("really nobody"),
            ])
            #expect(try await store.messages(of: a).map(\.text) == ["hello"])
            #expect(try await store.messages(of: b).isEmpty)
        }
    }

    @Test("roster items and documents of an account that is gone are refused", arguments: StoreKind.allCases)
    func goneAccount(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let gone = try await store.create(juliet)
            try await store.delete(juliet)
            let writes: [Write] = [
                .rosterItem(gone, RosterItem(contact: romeo, version: 1)), .rosterRemoval(gone, contact: romeo, version: 1),
                .document(gone, DocumentKey(namespace: "n"), ByteBuffer()),
            ]
            for write in writes {
                await #expect { try await store.commit([write]) } throws: { error in
                    guard case .constraint? = error as? StoreError else { return false }
                    return true
                }
            }
        }
    }

    @Test("the last activity is kept with its status (XEP-0012)", arguments: StoreKind.allCases)
    func lastActivity(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.lastActivity(id, time: 5, status: "to bed")])
            #expect(try await store.load(juliet)?.lastActivity == LastActivity(time: 5, status: "to bed"))
            try await store.commit([.lastActivity(id, time: 6, status: nil)])
            #expect(try await store.load(juliet)?.lastActivity == LastActivity(time: 6, status: nil))
        }
    }

    @Test("the ceiling of names only rises, and numbers beyond 2⁶³ are refused", arguments: StoreKind.allCases)
    func ceiling(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            #expect(try await store.idCeiling() == 0)
            try await store.commit([.idCeiling(1 << 60)])
            try await store.commit([.idCeiling(5)])
            #expect(try await store.idCeiling() == 1 << 60)
            let id = try await store.create(juliet)
            for write in [.idCeiling(1 << 63), .cursor(id, upTo: .max), entry("m", (id, 1 << 63))] as [Write] {
                await #expect(throws: StoreError.self) { try await store.commit([write]) }
            }
        }
    }

    // MARK: Submits

    @Test("a submit is all or nothing, whatever it touches", arguments: StoreKind.allCases)
    func atomic(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.document(id, DocumentKey(namespace: "n"), ByteBuffer(string: "old"))])
            await #expect(throws: StoreError.self) {
                try await store.commit([
                    .document(id, DocumentKey(namespace: "n"), ByteBuffer(string: "new")), entry("m", (id, 1)), .idCeiling(9),
                    .rosterItem(id, RosterItem(contact: romeo, version: 1)), .account(.create(nurse, credentials: [], isAdmin: false)),
                    .account(.setEnabled(juliet, false)), .account(.create(juliet, credentials: [], isAdmin: false)),
                ])
            }
            let account = try #require(try await store.load(juliet))
            #expect(account.isEnabled && account.roster.isEmpty && account.undelivered == 0 && account.rosterVersion == 0)
            #expect(try await store.document(id, DocumentKey(namespace: "n")) == ByteBuffer(string: "old"))
            #expect(try await store.load(nurse) == nil)
            #expect(try await store.idCeiling() == 0)
        }
    }

    @Test("a refused submit takes none of its neighbours with it", arguments: StoreKind.allCases)
    func culprit(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let refused = Write.account(.create(juliet, credentials: [], isAdmin: false))
            let tickets = (0..<200).map { (place: Int) -> CommitTicket in
                let view = UInt64(place + 1)
                return store.submit(place % 50 == 7 ? [entry("lost", (id, view)), refused] : [entry("kept", (id, view))])
            }
            #expect(tickets == tickets.sorted() && Set(tickets).count == 200)
            let messages = try await store.messages(of: id, limit: 1_000)
            #expect(messages.count == 196 && !messages.contains { $0.text == "lost" })
            #expect(store.settled >= tickets[199])
            for (place, ticket) in tickets.enumerated() {
                let expected: Result<Void, StoreError> =
                    place % 50 == 7 ? .failure(.constraint("the account exists: juliet@capulet.example")) : .success(())
                #expect("\(store.outcome(of: ticket))" == "\(expected)")
            }
        }
    }

    @Test("a read sees whatever was submitted before it", arguments: StoreKind.allCases)
    func readYourWrites(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            for place in 1...200 as ClosedRange<UInt64> {
                _ = store.submit([.rosterItem(id, RosterItem(contact: romeo, version: place)), entry("m", (id, place))])
                let account = try #require(try await store.load(juliet))
                #expect(account.rosterVersion == place && account.lastViewID == place && account.undelivered == Int(place))
            }
        }
    }

    @Test("an empty submit settles like any other, and no ticket is settled from the start", arguments: StoreKind.allCases)
    func empty(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            #expect(store.settled >= .none)
            let ticket = store.submit([])
            _ = try await store.idCeiling()
            #expect(store.settled >= ticket && ticket > .none)
        }
    }

    @Test("handlers run when somebody expects a ticket, also one that is settled already", arguments: StoreKind.allCases)
    func expectation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (runs, continuation) = AsyncStream.makeStream(of: CommitTicket.self)
            store.onSettled { continuation.yield(store.settled) }
            var iterator = runs.makeAsyncIterator()
            for _ in 0..<300 {
                let ticket = store.submit([.idCeiling(1)])
                store.expectSettlement(of: ticket)
                var settled = CommitTicket.none
                while settled < ticket { settled = await iterator.next() ?? .none }
            }
            store.expectSettlement(of: store.settled)
            #expect(await iterator.next() != nil)
        }
    }

    @Test("completions of submits come in order, after the ticket is settled", arguments: StoreKind.allCases)
    func completions(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (places, continuation) = AsyncStream.makeStream(of: Int.self)
            for place in 0..<100 { store.submit([.idCeiling(1)]) { _ in continuation.yield(place) } }
            var iterator = places.makeAsyncIterator()
            for place in 0..<100 { #expect(await iterator.next() == place) }
        }
    }

    @Test("many threads submit and read at once, and nothing is lost", arguments: StoreKind.allCases)
    func concurrency(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let addresses = (0..<8).map { jid("a\($0)@x.example") }
            var ids: [AccountID] = []
            for address in addresses { ids.append(try await store.create(address)) }
            let first = ids[0]
            await withTaskGroup { group in
                for (address, id) in zip(addresses, ids) {
                    group.addTask {
                        for view in 1...200 as ClosedRange<UInt64> {
                            let foreign = 1_000 * UInt64(id.raw) + view
                            _ = store.submit([entry("\(view)", (id, view), (first, foreign))])
                            if view % 20 == 0 { _ = store.submit([.cursor(id, upTo: view / 2)]) }
                            if view % 25 == 0 {
                                let account = try? await store.load(address)
                                #expect(account?.lastViewID ?? 0 >= view)
                            }
                        }
                    }
                }
            }
            for (address, id) in zip(addresses, ids).dropFirst() {
                #expect(try await store.load(address)?.undelivered == 100)
                #expect(try await store.messages(of: id, limit: 1_000).map(\.view) == Array(101...200))
            }
        }
    }
}
