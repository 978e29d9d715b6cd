import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private let orchard = try! JID("romeo@montague.example/orchard")

/// A message that the archives of both keep, and that nobody waits for.
private func kept(_ text: String, _ sender: String, _ recipient: String?, time: Int64 = 1, views: [LogEntry.View]) -> Write {
    let to = recipient.map { " to='\($0)'" } ?? ""
    return .log(LogEntry(stanza: stanza("<message from='\(sender)'\(to) type='chat'><body>\(text)</body></message>"), views: views, time: time))
}

private func view(
    _ owner: AccountID, _ id: UInt64, with peer: BareJID, isSent: Bool = false, awaitsDelivery: Bool = false
) -> LogEntry.View {
    LogEntry.View(owner: owner, id: id, awaitsDelivery: awaitsDelivery, archived: ArchiveMark(with: peer, isSent: isSent))
}

/// A message that an account received.
private func received(_ id: UInt64, by owner: AccountID, from sender: String = "romeo@montague.example/orchard", time: Int64? = nil, awaitsDelivery: Bool = false) -> Write {
    let peer = jid(String(sender.prefix { $0 != "/" }))
    return kept("m\(id)", sender, "juliet@capulet.example", time: time ?? Int64(id), views: [view(owner, id, with: peer, awaitsDelivery: awaitsDelivery)])
}

private func request(_ limit: Int = 100, _ change: (inout ArchiveRequest) -> Void = { _ in }) -> ArchiveRequest {
    var request = ArchiveRequest(limit: limit)
    change(&request)
    return request
}

extension Store {
    fileprivate func views(_ account: AccountID, _ limit: Int = 100, _ change: (inout ArchiveRequest) -> Void = { _ in }) async throws -> [UInt64]? {
        try await archive(of: account, request(limit, change))?.messages.map(\.view)
    }
}

/// What every store has to do with archives, asked of each.
@Suite("The contract of a store: archives (XEP-0313)")
struct ArchiveContractTests {
    @Test("an archive keeps what was delivered, and what was never to be delivered", arguments: StoreKind.allCases)
    func whatIsKept(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([
                received(1, by: id, awaitsDelivery: true), received(2, by: id), entry("only delivered", (id, 3)), received(4, by: id, awaitsDelivery: true),
            ])
            #expect(try await store.messages(of: id).map(\.view) == [1, 3, 4])
            #expect(try await store.messages(of: id).map(\.isArchived) == [true, false, true])
            let account = try #require(try await store.load(juliet))
            #expect(account.undelivered == 3 && account.lastViewID == 4)
            try await store.commit([.cursor(id, upTo: 4)])
            #expect(try await store.messages(of: id).isEmpty)
            #expect(try await store.views(id) == [1, 2, 4])
            #expect(try await store.load(juliet)?.undelivered == 0)
        }
    }

    @Test("an account's last name is the archive's, if that is the last", arguments: StoreKind.allCases)
    func lastName(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([received(7, by: id), .cursor(id, upTo: 3)])
            #expect(try await store.load(juliet)?.lastViewID == 7)
            try await store.commit([.archiveFloor(id, upTo: 9)])
            #expect(try await store.load(juliet)?.lastViewID == 9)
        }
    }

    @Test("the same message has its own place in each archive, with its time and bytes", arguments: StoreKind.allCases)
    func both(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([
                kept("hi", "juliet@capulet.example/balcony", "romeo@montague.example", time: 77, views: [view(a, 5, with: romeo, isSent: true), view(b, 9, with: juliet)])
            ])
            for (id, view) in [(a, 5), (b, 9)] as [(AccountID, UInt64)] {
                let message = try #require(try await store.archive(of: id, request())?.messages.first)
                #expect(message.view == view && message.time == 77 && message.text.hasSuffix("<body>hi</body></message>"))
            }
        }
    }

    @Test("pages go forwards and backwards, are in order, and say whether they are the last (§4.3)", arguments: StoreKind.allCases)
    func pages(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit((1...10).map { received($0 * 10, by: id) })
            func page(_ limit: Int, _ change: (inout ArchiveRequest) -> Void) async throws -> String {
                let page = try #require(try await store.archive(of: id, request(limit, change)))
                return page.messages.map { String($0.view) }.joined(separator: " ") + (page.isComplete ? " complete" : "")
            }
            #expect(try await page(3) { _ in } == "10 20 30")
            #expect(try await page(3) { $0.after = 30 } == "40 50 60")
            #expect(try await page(3) { $0.after = 70 } == "80 90 100 complete")
            #expect(try await page(3) { $0.after = 100 } == " complete")
            #expect(try await page(3) { $0.isBackwards = true } == "80 90 100")
            #expect(try await page(3) { ($0.before, $0.isBackwards) = (80, true) } == "50 60 70")
            #expect(try await page(3) { ($0.before, $0.isBackwards) = (40, true) } == "10 20 30 complete")
            #expect(try await page(3) { ($0.after, $0.before) = (20, 50) } == "30 40 complete")
            #expect(try await page(1) { ($0.after, $0.before, $0.isBackwards) = (20, 50, true) } == "40")
            #expect(try await page(10) { _ in }.hasSuffix("100 complete"))
            #expect(try await page(3) { ($0.after, $0.before) = (50, 50) } == " complete")
            #expect(try await page(3) { $0.before = 0 } == " complete")
            #expect(try await page(3) { $0.after = .max } == " complete")
        }
    }

    @Test("an archive is searched by the other party, by bare and by full address (§4.1.1)", arguments: StoreKind.allCases)
    func peers(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([
                received(1, by: id), received(2, by: id, from: "nurse@capulet.example/hall"),
                kept("", "juliet@capulet.example/balcony", "romeo@montague.example", views: [view(id, 3, with: romeo, isSent: true)]),
                kept("", "juliet@capulet.example/balcony", "romeo@montague.example/orchard", views: [view(id, 4, with: romeo, isSent: true)]),
                received(5, by: id, from: "romeo@montague.example/garden"), received(6, by: id, from: "montague.example"),
                kept("", "juliet@capulet.example/balcony", nil, views: [view(id, 7, with: juliet, isSent: true)]),
                kept("", "juliet@capulet.example/balcony", "juliet@capulet.example/chamber", views: [view(id, 8, with: juliet, isSent: true)]),
            ])
            func with(_ peer: String) async throws -> [UInt64]? { try await store.views(id) { $0.peer = try? JID(peer) } }
            #expect(try await with("romeo@montague.example") == [1, 3, 4, 5])
            #expect(try await with("romeo@montague.example/orchard") == [1, 4])
            #expect(try await with("nurse@capulet.example") == [2])
            #expect(try await with("montague.example") == [6])
            #expect(try await with("juliet@capulet.example") == [7, 8])
            #expect(try await with("juliet@capulet.example/chamber") == [8])
            #expect(try await with("juliet@capulet.example/balcony") == [7, 8])
            #expect(try await with("tybalt@capulet.example") == [])
            #expect(try await store.views(id, 2) { ($0.peer, $0.isBackwards) = (.bare(romeo), true) } == [4, 5])
            #expect(try await store.views(id, 1) { ($0.peer, $0.after) = (orchard, 1) } == [4])
        }
    }

    @Test("two addresses that have the same hash are told apart by the message", arguments: StoreKind.allCases)
    func collision(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let other = kept("", "tybalt@capulet.example", "juliet@capulet.example", views: [view(id, 1, with: romeo)])
            try await store.commit([other, received(2, by: id)])
            #expect(try await store.views(id) { $0.peer = .bare(romeo) } == [2])
            #expect(try await store.views(id, 1) { $0.peer = .bare(romeo) } == [2])
        }
    }

    @Test("a search by a full address goes through any number of messages with others of the account", arguments: StoreKind.allCases)
    func fullAddress(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit((1...1_500).map { received($0, by: id, from: "romeo@montague.example/\($0 % 500 == 0 ? "orchard" : "garden")") })
            let page = try #require(try await store.archive(of: id, request { $0.peer = orchard }))
            #expect(page.messages.map(\.view) == [500, 1_000, 1_500] && page.isComplete)
            #expect(try await store.views(id, 2) { ($0.peer, $0.isBackwards) = (orchard, true) } == [1_000, 1_500])
        }
    }

    @Test("a search that finds nothing goes through the whole archive, however long, and says that nothing more would pass", arguments: StoreKind.allCases)
    func longSearch(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let message = stanza("<message from='romeo@montague.example/garden' to='juliet@capulet.example' type='chat'><body>x</body></message>")
            // More than two slices.
            let last: UInt64 = kind == .sqlite ? 2_500 : 100
            try await store.commit((1..<last).map { .log(LogEntry(stanza: message, views: [view(id, $0, with: romeo)], time: 1)) })
            try await store.commit([received(last, by: id)])
            let tybalt = try JID("romeo@montague.example/tybalt")
            for isBackwards in [false, true] {
                let page = try #require(try await store.archive(of: id, request { ($0.peer, $0.isBackwards) = (tybalt, isBackwards) }))
                #expect(page.messages.isEmpty && page.isComplete)
            }
            #expect(try await store.views(id, 1) { $0.peer = orchard } == [last])
            #expect(try await store.views(id, 2) { ($0.peer, $0.isBackwards) = (.bare(romeo), true) }?.last == last)
        }
    }

    @Test("with no room on the page the messages that pass are counted (XEP-0059 §2.7), up to a limit", arguments: StoreKind.allCases)
    func counts(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            func count(_ change: @escaping (inout ArchiveRequest) -> Void = { _ in }) async throws -> Int? {
                let page = try #require(try await store.archive(of: id, request(0, change)))
                #expect(page.messages.isEmpty && page.isComplete == (page.count == 0))
                return page.count
            }
            #expect(try await count() == 0)
            try await store.commit((1...60).map { received($0, by: id, from: "romeo@montague.example/\($0 % 10 == 0 ? "orchard" : "garden")") })
            try await store.commit([received(61, by: id, from: "nurse@capulet.example"), entry("only delivered", (id, 62))])
            #expect(try await count() == 61)
            #expect(try await count { ($0.after, $0.before) = (10, 21) } == 10)
            #expect(try await count { $0.after = 61 } == 0)
            #expect(try await count { $0.peer = .bare(romeo) } == 60)
            #expect(try await count { $0.peer = orchard } == 6)
            #expect(try await count { ($0.start, $0.end) = (5, 14) } == 10)
            #expect(try await count { $0.text = "m7" } == 1)
            #expect(try await count { $0.ids = [1, 2, 99] } == 2)
            for change in [{ _ in }, { $0.end = 1_000 }] as [(inout ArchiveRequest) -> Void] {
                #expect(try await count { change(&$0); $0.countMax = 61 } == 61)
                #expect(try await count { change(&$0); $0.countMax = 60 } == nil)
            }
            try await store.commit([.archiveFloor(id, upTo: 50)])
            #expect(try await count() == 11)
            #expect(ArchiveRequest(limit: 0).countMax == 1_000_000)
        }
    }

    @Test("an archive is searched by time, both ends included, also where names run ahead of it (§4.1.2)", arguments: StoreKind.allCases)
    func times(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let start: Int64 = 1_700_000_000_000
            // After a restart names are ahead of the clock by minutes.
            let names = [0, 1, 2, 600_003, 600_004].map { UInt64(start + $0) << 20 }
            let times = [0, 1, 2, 3, 4].map { start + $0 }
            try await store.commit(zip(names, times).map { received($0, by: id, time: $1) })
            func between(_ first: Int64?, _ last: Int64?) async throws -> [Int]? {
                let views = try await store.views(id) { request in
                    request.start = first.map { start + $0 }
                    request.end = last.map { start + $0 }
                }
                return views?.compactMap { names.firstIndex(of: $0) }
            }
            #expect(try await between(1, 3) == [1, 2, 3])
            #expect(try await between(3, nil) == [3, 4])
            #expect(try await between(nil, 2) == [0, 1, 2])
            #expect(try await between(5, nil) == [])
            #expect(try await between(nil, -1) == [])
            #expect(try await between(3, 1) == [])
            #expect(try await store.views(id, 1) { ($0.start, $0.end) = (.min, .max) } == [names[0]])
            #expect(try await store.views(id, 1) { ($0.end, $0.isBackwards) = (start + 3, true) } == [names[3]])
        }
    }

    @Test("messages are asked for by name, and a name that is not there is told (§4.1.3)", arguments: StoreKind.allCases)
    func names(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit((1...5).map { received($0, by: id) } + [entry("only delivered", (id, 6))])
            #expect(try await store.views(id) { $0.ids = [4, 2] } == [2, 4])
            #expect(try await store.views(id, 1) { ($0.ids, $0.isBackwards) = ([4, 2], true) } == [4])
            #expect(try await store.views(id) { ($0.ids, $0.after) = ([4, 2], 2) } == [4])
            #expect(try await store.views(id) { ($0.ids, $0.peer) = ([4, 2], .bare(nurse)) } == [])
            #expect(try await store.views(id) { $0.ids = [] } == [])
            #expect(try await store.views(id, 1) { $0.named = [1, 5] } == [1])
            for unknown in [0, 6, 7, .max] as [UInt64] {
                #expect(try await store.archive(of: id, request { $0.named = [1, unknown] }) == nil)
                #expect(try await store.views(id) { $0.ids = [1, unknown] } == [1])
            }
            try await store.commit([.archiveFloor(id, upTo: 2)])
            #expect(try await store.archive(of: id, request { $0.named = [2] }) == nil)
            #expect(try await store.views(id, 1) { $0.named = [3] } == [3])
        }
    }

    @Test("an archive tells its ends (§5)", arguments: StoreKind.allCases)
    func ends(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            #expect(try await store.archiveEnds(of: id) == nil)
            try await store.commit([entry("only delivered", (id, 1)), received(2, by: id, time: 20)])
            #expect(try await store.archiveEnds(of: id) == ArchiveEnds(first: .init(view: 2, time: 20), last: .init(view: 2, time: 20)))
            try await store.commit([received(3, by: id, time: 30), received(4, by: id, time: 40)])
            #expect(try await store.archiveEnds(of: id) == ArchiveEnds(first: .init(view: 2, time: 20), last: .init(view: 4, time: 40)))
            try await store.commit([.archiveFloor(id, upTo: 3)])
            #expect(try await store.archiveEnds(of: id) == ArchiveEnds(first: .init(view: 4, time: 40), last: .init(view: 4, time: 40)))
            try await store.commit([.archiveFloors(upTo: 4)])
            #expect(try await store.archiveEnds(of: id) == nil)
        }
    }

    @Test("what an archive has forgotten it does not learn again; what waits for delivery stays", arguments: StoreKind.allCases)
    func forgetting(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit((1...6).map { received($0, by: a, awaitsDelivery: true) } + (1...6).map { received($0, by: b) })
            try await store.commit([.archiveFloor(a, upTo: 3), .archiveFloor(a, upTo: 1)])
            #expect(try await store.views(a) == [4, 5, 6])
            #expect(try await store.views(b) == [1, 2, 3, 4, 5, 6])
            #expect(try await store.messages(of: a).map(\.view) == [1, 2, 3, 4, 5, 6])
            try await store.commit([received(2, by: a)])
            #expect(try await store.views(a) == [4, 5, 6])
            try await store.commit([.archiveFloors(upTo: 4), .archiveFloors(upTo: 2)])
            #expect(try await store.views(a) == [5, 6])
            #expect(try await store.views(b) == [5, 6])
            try await store.commit([received(3, by: b)])
            #expect(try await store.views(b) == [5, 6])
            #expect(try await store.views(a) { $0.isBackwards = true } == [5, 6])
        }
    }

    @Test("a submit that is refused leaves archives as they were", arguments: StoreKind.allCases)
    func refusals(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([received(1, by: id), received(2, by: id)])
            for write in [Write.archiveFloor(id, upTo: 1), .archiveFloors(upTo: 1), received(3, by: id)] {
                await #expect(throws: StoreError.self) {
                    try await store.commit([write, .account(.create(juliet, credentials: [], isAdmin: false))])
                }
                #expect(try await store.views(id) == [1, 2])
            }
            for write in [Write.archiveFloor(id, upTo: .max), .archiveFloors(upTo: .max)] {
                await #expect(throws: StoreError.self) { try await store.commit([write]) }
            }
        }
    }

    @Test("an archive goes with its account; those of others stay", arguments: StoreKind.allCases)
    func deletion(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([
                kept("hi", "juliet@capulet.example", "romeo@montague.example", views: [view(a, 5, with: romeo, isSent: true), view(b, 9, with: juliet)])
            ])
            try await store.delete(juliet)
            #expect(try await store.views(a) == [])
            #expect(try await store.archiveEnds(of: a) == nil)
            #expect(try await store.views(b) == [9])
            let again = try await store.create(juliet)
            #expect(try await store.views(again) == [])
            try await store.commit([.archiveFloor(a, upTo: 7), received(8, by: a)])
            #expect(try await store.views(a) == [])
            #expect(try await store.archive(of: a, request { $0.named = [8] }) == nil)
        }
    }

    @Test("views that come again, or late, are there once and in their place", arguments: StoreKind.allCases)
    func again(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([received(2, by: id), received(4, by: id)])
            try await store.commit([received(3, by: id), received(4, by: id), received(1, by: id)])
            #expect(try await store.views(id) == [1, 2, 3, 4])
        }
    }
}

/// The archives' part of the index: what only SQLite has.
@Suite("The index of archives")
struct ArchiveIndexTests {
    private func count(_ table: String, _ folder: TemporaryFolder) throws -> Int {
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        return try reader.rows("SELECT COUNT(*) FROM \(table)") { Int($0.integer(0)) }[0]
    }

    private func open(_ folder: TemporaryFolder, _ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: folder.path, options: options(FatalErrors(), change))
    }

    private func problems(_ folder: TemporaryFolder) throws -> [String] { try SQLiteStore.verify(folder: folder.path).problems }

    @Test("an archive reads the same before and after it is merged, and half merged, in both directions")
    func merging() async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        let id = try await store.create(juliet)
        try await store.commit((1...50).map { received($0 * 2, by: id) })
        try await store.finishIndex()
        #expect(try count("archive", folder) == 50 && count("posting", folder) == 0)
        try await store.commit((1...50).map { received($0 * 2 - 1, by: id) } + (101...120).map { received($0, by: id) })
        for _ in 0..<2 {
            #expect(try await store.views(id, 200) == Array(1...120))
            #expect(try await store.views(id, 200) { $0.isBackwards = true } == Array(1...120))
            #expect(try await store.views(id, 30) { ($0.before, $0.isBackwards) = (60, true) } == Array(30...59))
            #expect(try await store.views(id, 30) { $0.after = 60 } == Array(61...90))
            #expect(try await store.views(id, 200) { $0.peer = .bare(romeo) } == Array(1...120))
            #expect(try await store.archive(of: id, request(0))?.count == 120)
            #expect(try await store.views(id, 1) { $0.named = [99, 100, 119] } == [1])
            try await store.finishIndex()
        }
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("what was not indexed is read from the log's end at start, marks and all")
    func restart() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let id = try await store.create(juliet)
        try await store.commit([
            received(1, by: id, awaitsDelivery: true), kept("", "juliet@capulet.example", "nurse@capulet.example", views: [view(id, 2, with: nurse, isSent: true)]),
        ])
        for _ in 0..<2 {
            store.close()
            store = try open(folder)
            #expect(try await store.views(id) == [1, 2])
            #expect(try await store.views(id) { $0.peer = .bare(nurse) } == [2])
            #expect(try await store.messages(of: id).map(\.view) == [1])
        }
        try await store.finishIndex()
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("an entry goes when nobody waits for it and no archive holds it", arguments: [false, true])
    func purging(_ mergesFirst: Bool) async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        let writes = (1...5_000 as ClosedRange<UInt64>).map { name in
            let views = [view(a, name, with: romeo, isSent: true), LogEntry.View(owner: b, id: name)]
            return kept("", "juliet@capulet.example", "romeo@montague.example", views: views)
        }
        try await store.commit(writes)
        if mergesFirst { try await store.finishIndex() }
        try await store.commit([.cursor(b, upTo: 4_000)])
        try await store.finishIndex()
        #expect(try count("log", folder) == 5_000 && count("archive", folder) == 5_000 && count("posting", folder) == 1_000)
        try await store.commit([.archiveFloor(a, upTo: 4_500)])
        try await store.finishIndex()
        #expect(try count("log", folder) == 1_000 && count("archive", folder) == 500)
        try await store.commit([.cursor(b, upTo: 5_000)])
        try await store.finishIndex()
        #expect(try count("log", folder) == 500 && count("posting", folder) == 0)
        try await store.commit([.archiveFloors(upTo: 4_990)])
        try await store.finishIndex()
        #expect(try count("log", folder) == 10)
        #expect(try await store.views(a) == Array(4_991...5_000))
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("what archives have forgotten before a restart is cleared after it")
    func sweep() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...100).map { received($0, by: a) } + (1...100).map { received($0, by: b) })
        try await store.finishIndex()
        try await store.commit([.archiveFloor(a, upTo: 90)])
        store.close()
        #expect(try count("archive", folder) == 200)
        store = try open(folder)
        try await store.finishIndex()
        #expect(try count("archive", folder) == 110 && count("log", folder) == 110)
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("a deleted account's archive is cleared, merged or not", arguments: [false, true])
    func deletion(_ mergesFirst: Bool) async throws {
        let folder = TemporaryFolder()
        let store = try open(folder)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((1...3_000).map { received($0, by: a) } + [kept("", "juliet@capulet.example", "romeo@montague.example", views: [view(a, 4_000, with: romeo), view(b, 1, with: juliet)])])
        if mergesFirst { try await store.finishIndex() }
        try await store.delete(juliet)
        try await store.finishIndex()
        #expect(try count("log", folder) == 1 && count("archive", folder) == 1 && count("archive_account", folder) == 1 && count("purge", folder) == 0)
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("an archive holds as many messages and bytes as it may, and forgets the oldest beyond", arguments: [false, true])
    func quota(_ byBytes: Bool) async throws {
        let folder = TemporaryFolder()
        let size = "<message from='romeo@montague.example/orchard' to='juliet@capulet.example' type='chat'><body>m10000</body></message>".utf8.count
        let store = try open(folder) { if byBytes { $0.archiveBytesMax = 100 * size } else { $0.archiveMessagesMax = 100 } }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        try await store.commit((10_000..<10_100).map { received($0, by: a) } + (10_000..<10_050).map { received($0, by: b) })
        try await store.finishIndex()
        #expect(try await store.views(a, 200) == Array(10_000..<10_100))
        try await store.commit((10_100..<15_001).map { received($0, by: a) })
        try await store.finishIndex()
        #expect(try await store.views(a, 200) == Array(14_901..<15_001))
        #expect(try await store.views(b, 200) == Array(10_000..<10_050))
        #expect(try count("log", folder) == 150)
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("an archive that is to hold less than it did forgets the rest at the next start")
    func smallerQuota() async throws {
        let folder = TemporaryFolder()
        var store = try open(folder)
        let id = try await store.create(juliet)
        try await store.commit((1...100).map { received($0, by: id) })
        try await store.finishIndex()
        store.close()
        store = try open(folder) { $0.archiveMessagesMax = 10 }
        try await store.finishIndex()
        #expect(try await store.views(id) == Array(91...100))
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("a process that dies between any two steps loses nothing of an archive and keeps nothing too much", arguments: 1...16)
    func crash(_ commit: Int) async throws {
        let (folder, faults) = (TemporaryFolder(), FaultyDriver.Faults())
        let driver: @Sendable (String) -> any SQLDriver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) }
        var store = try open(folder) { $0.driver = driver }
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        let writes = (1...5_000 as ClosedRange<UInt64>).map { name in
            let views = [view(a, name, with: romeo, isSent: true), view(b, name, with: juliet, awaitsDelivery: true)]
            return kept("", "juliet@capulet.example", "romeo@montague.example", views: views)
        }
        try await store.commit(writes)
        try await store.commit([.cursor(b, upTo: 4_900), .archiveFloor(a, upTo: 4_800), .archiveFloors(upTo: 2_000)])
        faults.fail(with: SQLError(.io, "dies"), at: commit)
        try? await store.finishIndex()
        store.close()
        faults.clear()

        store = try open(folder)
        #expect(try await store.views(a, 9_000) == Array(4_801...5_000))
        #expect(try await store.views(b, 9_000) == Array(2_001...5_000))
        #expect(try await store.messages(of: b, limit: 9_000).map(\.view) == Array(4_901...5_000))
        try await store.finishIndex()
        #expect(try count("log", folder) == 3_000 && count("archive", folder) == 3_200 && count("posting", folder) == 100)
        store.close()
        #expect(try problems(folder) == [])
    }

    @Test("archives are merged, read and cut between commits while writes keep coming")
    func underLoad() async throws {
        let folder = TemporaryFolder()
        let store = try open(folder) { ($0.indexThreshold, $0.archiveMessagesMax) = (100, 1_000) }
        let id = try await store.create(juliet)
        for name in 1...20_000 as ClosedRange<UInt64> {
            store.submit([received(name, by: id)])
            if name % 997 == 0 {
                let last = try #require(try await store.views(id, 50) { $0.isBackwards = true })
                #expect(last == Array((name - 49)...name))
            }
        }
        try await store.finishIndex()
        #expect(try await store.views(id, 2_000) == Array(19_001...20_000))
        store.close()
        #expect(try problems(folder) == [])
        #expect(try count("log", folder) == 1_000)
    }

    @Test("the hash by which a party is found is the same in every process and version: it is on disk")
    func hashes() {
        #expect(ArchiveMark(with: romeo, isSent: false).peerHash == 0xd36f_7593)
        #expect(ArchiveMark(with: jid("montague.example"), isSent: true).peerHash == 0x7036_899f)
    }

    @Test("every request that names a party is answered from the index by party, every other from the index by view")
    func plans() throws {
        let folder = TemporaryFolder()
        try open(folder).close()
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        let select = "SELECT a.view_id, l.time, l.stanza, a.peer, a.sent FROM archive a CROSS JOIN log l WHERE l.id = a.log AND a.owner = 1"
        for (peer, index) in [("", "PRIMARY KEY (owner=? AND view_id>? AND view_id<?)"), ("AND a.peer = 1", "archive_by_peer (owner=? AND peer=? AND view_id>? AND view_id<?)")] {
            for order in ["", "DESC"] {
                let sql = "EXPLAIN QUERY PLAN \(select) AND a.view_id >= 1 AND a.view_id <= 2 AND l.time >= 1 \(peer) ORDER BY a.view_id \(order) LIMIT 5"
                let plan = try reader.rows(sql) { $0.text(3) }
                #expect(plan.first?.hasSuffix(index) == true && !plan.contains { $0.contains("TEMP B-TREE") }, "\(plan)")
            }
        }
    }

    @Test("a database of before there were archives is read on, indexed or not")
    func migration() async throws {
        let folder = TemporaryFolder()
        let driver = SQLiteDriver(file: folder.path + "/martlet.db")
        let connection = try driver.openWriter()
        try Schema.migrate(connection, dialect: driver.dialect, by: Array(Schema.migrations.prefix(1)))
        try connection.execute(
            """
            INSERT INTO account VALUES (1, 'capulet.example', 'juliet', 0, 1, 0); UPDATE meta SET value = 1 WHERE name = 'last_account';
            INSERT INTO log VALUES (1, 1, x'00000000000000010000000000000005', x'6f6e65'), (2, 1, x'00000000000000010000000000000006', x'74776f');
            INSERT INTO posting VALUES (1, 5, 1, 3); UPDATE meta SET value = 1 WHERE name = 'indexed_up_to'
            """)
        connection.close()
        let store = try open(folder)
        let id = AccountID(raw: 1)
        #expect(try await store.messages(of: id).map(\.text) == ["one", "two"])
        #expect(try await store.views(id) == [])
        try await store.commit([received(7, by: id)])
        try await store.finishIndex()
        #expect(try await store.messages(of: id).map(\.text) == ["one", "two"])
        #expect(try await store.views(id) == [7])
        store.close()
        #expect(try problems(folder) == [])
    }
}
