import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

/// What every store has to do with reports and shared block lists, asked of each.
@Suite("The contract of a store: reports (XEP-0377) and block lists")
struct ReportContractTests {
    private func report(_ number: Int, by account: AccountID, _ reporter: BareJID = juliet) throws -> StoredReport {
        StoredReport(
            time: Int64(number), account: account, reporter: reporter, reported: try JID("r\(number)@spam.example/x"), reason: "urn:xmpp:reporting:spam",
            content: ByteBuffer(string: "<report/>"))
    }

    private func limits(_ perAccount: Int, _ inAll: Int) -> ReportLimits {
        var limits = ReportLimits()
        (limits.perAccountMax, limits.inAllMax) = (perAccount, inAll)
        return limits
    }

    private func times(_ store: any Store) async throws -> [Int64] { try await store.reports(before: nil, limit: 100).map(\.time) }

    @Test("a report gets a number and the reporter's address, and is there until it is taken away", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            var expected = try report(1, by: id)
            try await store.commit([.report(.add(expected, ReportLimits())), .report(.add(try report(2, by: id), ReportLimits()))])
            expected.id = 1
            #expect(try await store.report(1) == expected)
            #expect(try await store.reports(before: nil, limit: 10).map(\.id) == [2, 1])
            #expect(try await store.reports(before: 2, limit: 10).map(\.id) == [1])
            #expect(try await store.reports(before: nil, limit: 1).map(\.id) == [2])
            try await store.commit([.report(.remove([2, 99]))])
            #expect(try await store.report(2) == nil)
            // Numbers are never given twice.
            try await store.commit([.report(.add(try report(3, by: id), ReportLimits()))])
            #expect(try await store.reports(before: nil, limit: 10).map(\.id) == [3, 1])
        }
    }

    @Test("beyond the limits the oldest go: of the same account, then of all", arguments: StoreKind.allCases)
    func limits(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            func add(_ number: Int, _ account: AccountID, _ perAccount: Int, _ inAll: Int) async throws {
                try await store.commit([.report(.add(try report(number, by: account), limits(perAccount, inAll)))])
            }
            for number in 1...3 { try await add(number, first, 2, 100) }
            #expect(try await times(store) == [3, 2])
            try await add(4, second, 2, 100)
            #expect(try await times(store) == [4, 3, 2])
            try await add(5, second, 2, 3)
            #expect(try await times(store) == [5, 4, 3])
            try await add(6, second, 2, 3)
            #expect(try await times(store) == [6, 5, 3])
        }
    }

    @Test("reports go with the account that has made them, and nobody's are none", arguments: StoreKind.allCases)
    func accounts(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([.report(.add(try report(1, by: first), ReportLimits())), .report(.add(try report(2, by: second), ReportLimits()))])
            try await store.delete(juliet)
            #expect(try await times(store) == [2])
            #expect(try await store.reports(before: nil, limit: 1).first?.reporter == romeo)
            let late = try report(3, by: first)
            await #expect(throws: StoreError.constraint("no account has the number \(first.raw)")) {
                try await store.commit([.report(.remove([2])), .report(.add(late, ReportLimits()))])
            }
            #expect(try await times(store) == [2])
        }
    }

    // MARK: Block lists

    private let name = SharedListName(service: jid("pubsub.example.net"), node: "muc_bans_sha256")
    private let a = SharedListEntry(of: "a")
    private let b = SharedListEntry(of: "b")
    private let c = SharedListEntry(of: "c")

    @Test("a list is replaced, changed, and forgotten, and others stay as they are", arguments: StoreKind.allCases)
    func lists(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            func known() async throws -> [SharedListName: StoredSharedList] {
                Dictionary(uniqueKeysWithValues: try await store.sharedLists().map { ($0.name, $0) })
            }
            let other = StoredSharedList(name: SharedListName(service: name.service, node: "other"), fetched: 7, entries: [a])
            try await store.commit([
                .sharedList(.replace(StoredSharedList(name: name, fetched: 1, entries: [a, b]))), .sharedList(.replace(other)),
            ])
            #expect(try await known()[name] == StoredSharedList(name: name, fetched: 1, entries: [a, b]))
            try await store.commit([.sharedList(.change(name, adding: [c], removing: [a], fetched: nil))])
            #expect(try await known()[name] == StoredSharedList(name: name, fetched: 1, entries: [b, c]))
            try await store.commit([.sharedList(.change(name, adding: [], removing: [c], fetched: 2))])
            #expect(try await known()[name] == StoredSharedList(name: name, fetched: 2, entries: [b]))
            try await store.commit([.sharedList(.replace(StoredSharedList(name: name, fetched: 3, entries: [])))])
            #expect(try await known()[name] == StoredSharedList(name: name, fetched: 3, entries: []))
            try await store.commit([.sharedList(.forget(name)), .sharedList(.change(name, adding: [a], removing: [], fetched: 4))])
            #expect(try await known() == [other.name: other])
        }
    }
}
