import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private let coven = jid("coven@chat.shakespeare.example")
private let heath = jid("heath@chat.shakespeare.example")

private func record(_ name: String = "A Dark Cave", isPersistent: Bool = true, isPublic: Bool = true, description: String = "") -> RoomRecord {
    RoomRecord(isPersistent: isPersistent, isPublic: isPublic, name: name, description: description, content: ByteBuffer(bytes: 0...255))
}

private func affiliation(_ address: String, _ affiliation: UInt8 = 1, version: UInt64 = 1) -> StoredAffiliation {
    StoredAffiliation(address: try! JID(address), affiliation: affiliation, version: version)
}

/// A message in a room's archive.
private func said(_ text: String, _ views: (AccountID, UInt64)..., awaitsDelivery: Bool = false) -> Write {
    let mark = ArchiveMark(with: coven, isSent: false)
    return .log(
        LogEntry(
            stanza: message(text), views: views.map { .init(owner: $0.0, id: $0.1, awaitsDelivery: awaitsDelivery, archived: mark) }, time: 1))
}

private func message(_ text: String) -> EncodedStanza {
    stanza("<message from='coven@chat.shakespeare.example/first' to='coven@chat.shakespeare.example' type='groupchat'><body>\(text)</body></message>")
}

extension LoggedMessage {
    fileprivate var body: String { String(text.drop { $0 != ">" }.dropFirst(7).prefix { $0 != "<" }) }
}

extension Store {
    fileprivate func room(_ address: BareJID, history: Int = 0) async throws -> StoredRoom? {
        try await withCheckedContinuation { continuation in
            loadRoom(address, history: history) { continuation.resume(returning: $0) }
        }.get()
    }

    @discardableResult
    fileprivate func open(_ address: BareJID, _ record: RoomRecord = record(), _ affiliations: [StoredAffiliation] = []) async throws -> AccountID {
        try await commit([.room(.create(address, record, affiliations))])
        return try #require(try await room(address)).id
    }

    fileprivate func bodies(_ owner: AccountID, _ change: (inout ArchiveRequest) -> Void = { _ in }) async throws -> [String] {
        var request = ArchiveRequest(limit: 100)
        change(&request)
        return try #require(try await archive(of: owner, request)).messages.map(\.body)
    }
}

/// What every store has to do with rooms, asked of each.
@Suite("The contract of a store: rooms (XEP-0045)")
struct RoomContractTests {
    // MARK: Rooms

    @Test("a room that was created is found by its address, with all that was said of it", arguments: StoreKind.allCases)
    func creation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let affiliations = [
                StoredAffiliation(
                    address: try JID("crone1@shakespeare.example/desktop"), affiliation: 255, nickname: "firstwitch", reason: "by pricking",
                    version: UInt64(Int64.max), details: ByteBuffer(string: "d")),
                StoredAffiliation(address: try JID("shakespeare.example"), affiliation: 0, nickname: "", reason: "", details: ByteBuffer()),
                affiliation("crone1@shakespeare.example"), affiliation("ä@shakespeare.example"), affiliation("crone1.a@shakespeare.example"),
            ]
            let id = try await store.open(coven, record(description: "Double, double toil"), affiliations)
            let room = try #require(try await store.room(coven))
            #expect(room.id == id && room.record == record(description: "Double, double toil") && room.created == FixedTime().wallMilliseconds)
            #expect(room.affiliations == [affiliations[4], affiliations[2], affiliations[0], affiliations[1], affiliations[3]])
            #expect(room.lastViewID == 0 && room.history.isEmpty)
            #expect(try await store.room(heath) == nil)
            #expect(try await store.load(coven) == nil)
        }
    }

    @Test("an address is given to one room at a time, and only one with a localpart", arguments: StoreKind.allCases)
    func existing(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            await #expect(throws: StoreError.constraint("the room exists: coven@chat.shakespeare.example")) {
                try await store.commit([.room(.create(coven, record("another"), [affiliation("x.example")]))])
            }
            let room = try #require(try await store.room(coven))
            #expect(room.id == id && room.record.name == "A Dark Cave" && room.affiliations.isEmpty)
            await #expect(throws: StoreError.constraint("a room has a localpart: chat.shakespeare.example")) {
                try await store.commit([.room(.create(coven.domain, record(), []))])
            }
        }
    }

    @Test("an account creates so many rooms and no more; what is gone, and what nobody created, does not count", arguments: StoreKind.allCases)
    func creators(_ kind: StoreKind) async throws {
        func create(_ name: String, by account: BareJID?, max: Int = 2, in store: any Store) async -> Bool {
            let creator = account.map { RoomCreator($0, roomsMax: max) }
            return (try? await store.commit([.room(.create(jid("\(name)@chat.shakespeare.example"), record(), [], by: creator))])) != nil
        }
        try await withStore(kind) { store in
            #expect(await create("a", by: juliet, in: store))
            #expect(await create("b", by: juliet, in: store))
            #expect(await create("c", by: juliet, in: store) == false)
            #expect(try await store.room(jid("c@chat.shakespeare.example")) == nil)
            #expect(await create("c", by: romeo, in: store))
            #expect(await create("d", by: nil, in: store))
            let id = try #require(try await store.room(jid("a@chat.shakespeare.example"))).id
            try await store.commit([.room(.delete(id))])
            #expect(await create("e", by: juliet, in: store))
            #expect(await create("f", by: juliet, in: store) == false)
            #expect(await create("f", by: juliet, max: 3, in: store))
        }
    }

    @Test("rooms and accounts have their numbers from one sequence, and may have the same address", arguments: StoreKind.allCases)
    func numbers(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let ids = [
                try await store.create(juliet), try await store.open(coven), try await store.create(romeo), try await store.open(heath),
                try await store.create(coven),
            ]
            #expect(ids == ids.sorted() && Set(ids).count == 5)
            #expect(try await store.load(coven)?.id == ids[4])
            #expect(try await store.room(coven)?.id == ids[1])
        }
    }

    @Test("what is said of a room is said anew, of that room only", arguments: StoreKind.allCases)
    func records(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            try await store.open(heath)
            let changed = RoomRecord(isPersistent: false, isPublic: false, name: "", description: "d", content: ByteBuffer())
            try await store.commit([.room(.setRecord(id, changed))])
            #expect(try await store.room(coven)?.record == changed)
            #expect(try await store.room(heath)?.record == record())
        }
    }

    @Test("affiliations are set, replaced and removed by address (XEP-0045 §5.2)", arguments: StoreKind.allCases)
    func affiliations(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven, record(), [affiliation("a@x.example", 1), affiliation("b@x.example"), affiliation("a@x.example", 2)])
            #expect(try await store.room(coven)?.affiliations == [affiliation("a@x.example", 2), affiliation("b@x.example")])
            let detailed = StoredAffiliation(
                address: try JID("b@x.example"), affiliation: 3, nickname: "n", reason: "r", version: 7, details: ByteBuffer(string: "d"))
            try await store.commit([.room(.setAffiliation(id, detailed)), .room(.setAffiliation(id, affiliation("c@x.example/r")))])
            #expect(try await store.room(coven)?.affiliations == [affiliation("a@x.example", 2), detailed, affiliation("c@x.example/r")])
            try await store.commit([
                .room(.setAffiliation(id, affiliation("b@x.example", 4))), .room(.removeAffiliation(id, try JID("a@x.example"))),
                .room(.removeAffiliation(id, try JID("c@x.example"))), .room(.removeAffiliation(id, try JID("nobody@x.example"))),
            ])
            #expect(try await store.room(coven)?.affiliations == [affiliation("b@x.example", 4), affiliation("c@x.example/r")])
            await #expect(throws: StoreError.self) {
                try await store.commit([.room(.setAffiliation(id, affiliation("d@x.example", version: 1 << 63)))])
            }
            #expect(try await store.room(coven)?.affiliations.count == 2)
        }
    }

    @Test("what is to become of a room that is gone is dropped, but for its documents", arguments: StoreKind.allCases)
    func gone(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (gone, other) = (try await store.open(coven), try await store.create(juliet))
            try await store.commit([.room(.delete(gone))])
            try await store.commit([
                .room(.setRecord(gone, record())), .room(.setAffiliation(gone, affiliation("a@x.example"))),
                .room(.removeAffiliation(gone, try JID("a@x.example"))), .room(.delete(gone)), .archiveFloor(gone, upTo: 7),
                said("hi", (gone, 8), (other, 8)), .replaceStanza(gone, view: 8, message("no")), .room(.delete(other)),
                .document(gone, DocumentKey(namespace: "n"), nil),
            ])
            #expect(try await store.room(coven) == nil)
            #expect(try await store.bodies(other) == ["hi"])
            #expect(try await store.bodies(gone) == [])
            #expect(try await store.load(juliet)?.id == other)
            await #expect(throws: StoreError.self) { try await store.commit([.document(gone, DocumentKey(namespace: "n"), ByteBuffer())]) }
        }
    }

    @Test("a room goes with all it has, and its address with nothing of it to another one", arguments: StoreKind.allCases)
    func deletion(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, other) = (try await store.open(coven, record(), [affiliation("a@x.example")]), try await store.open(heath))
            let key = DocumentKey(namespace: "n", key: "k")
            try await store.commit([
                .document(first, key, ByteBuffer(string: "d")), .document(other, key, ByteBuffer(string: "e")), said("own", (first, 4)),
                said("shared", (first, 5), (other, 9)), .archiveFloor(first, upTo: 2),
            ])
            try await store.commit([.room(.delete(first))])
            #expect(try await store.room(coven, history: 10) == nil)
            let second = try await store.open(coven)
            #expect(second > other)
            let room = try #require(try await store.room(coven, history: 10))
            #expect(room.affiliations.isEmpty && room.history.isEmpty && room.lastViewID == 0)
            for id in [first, second] {
                #expect(try await store.document(id, key) == nil)
                #expect(try await store.bodies(id) == [])
                #expect(try await store.archiveEnds(of: id) == nil)
            }
            #expect(try await store.document(other, key) == ByteBuffer(string: "e"))
            #expect(try await store.bodies(other) == ["shared"])
        }
    }

    @Test("a submit that is refused leaves rooms as they were", arguments: StoreKind.allCases)
    func refusals(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven, record(), [affiliation("a@x.example")])
            try await store.commit([said("one", (id, 1))])
            await #expect(throws: StoreError.self) {
                try await store.commit([
                    .room(.setRecord(id, record("new"))), .room(.setAffiliation(id, affiliation("b@x.example"))), .room(.delete(id)),
                    .room(.create(coven, record("newer"), [])), .room(.create(heath, record(), [])), .room(.create(heath, record(), [])),
                ])
            }
            await #expect(throws: StoreError.self) {
                try await store.commit([.replaceStanza(id, view: 1, message("changed")), said("two", (id, 2)), .room(.create(coven, record(), []))])
            }
            let room = try #require(try await store.room(coven, history: 10))
            #expect(room.id == id && room.record == record() && room.affiliations == [affiliation("a@x.example")])
            #expect(room.history.map(\.body) == ["one"])
            #expect(try await store.room(heath) == nil)
        }
    }

    @Test("a read of a room sees whatever was submitted before it", arguments: StoreKind.allCases)
    func readYourWrites(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            for place in 1...100 as ClosedRange<UInt64> {
                _ = store.submit([.room(.setAffiliation(id, affiliation("a@x.example", version: place))), said("m\(place)", (id, place))])
                let room = try #require(try await store.room(coven, history: 2))
                #expect(room.affiliations.map(\.version) == [place] && room.lastViewID == place && room.history.last?.body == "m\(place)")
            }
        }
    }

    // MARK: What a room owns

    @Test("a room has documents as an account has", arguments: StoreKind.allCases)
    func documents(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (room, account) = (try await store.open(coven), try await store.create(juliet))
            let key = DocumentKey(namespace: "vcard-temp", key: "k")
            try await store.commit([.document(room, key, ByteBuffer(string: "room")), .document(account, key, ByteBuffer(string: "account"))])
            #expect(try await store.document(room, key) == ByteBuffer(string: "room"))
            #expect(try await store.document(account, key) == ByteBuffer(string: "account"))
            #expect(try await store.document(room, DocumentKey(namespace: "vcard-temp")) == nil)
            try await store.commit([.document(room, key, ByteBuffer())])
            #expect(try await store.document(room, key) == ByteBuffer())
            try await store.commit([.document(room, key, nil)])
            #expect(try await store.document(room, key) == nil)
            #expect(try await store.document(account, key) == ByteBuffer(string: "account"))
        }
    }

    @Test("a room's archive is read, told the ends of and cut like an account's (XEP-0313)", arguments: StoreKind.allCases)
    func archive(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (room, other) = (try await store.open(coven), try await store.open(heath))
            try await store.commit((1...6).map { said("m\($0)", (room, $0)) } + [said("elsewhere", (other, 3))])
            #expect(try await store.bodies(room) == ["m1", "m2", "m3", "m4", "m5", "m6"])
            #expect(try await store.bodies(room) { ($0.limit, $0.isBackwards) = (2, true) } == ["m5", "m6"])
            #expect(try await store.bodies(room) { $0.text = "M3" } == ["m3"])
            #expect(try await store.archiveEnds(of: room)?.last.view == 6)
            try await store.commit([.archiveFloor(room, upTo: 2)])
            #expect(try await store.archiveEnds(of: room)?.first.view == 3)
            try await store.commit([.archiveFloors(upTo: 4)])
            #expect(try await store.bodies(room) == ["m5", "m6"])
            #expect(try await store.bodies(other) == [])
            #expect(try await store.latestMessages(limit: 100).count { $0.body == "m6" } == 1)
        }
    }

    @Test("a room comes with its last messages, as many as are asked for", arguments: StoreKind.allCases, [0, 1, 3, 5, 6])
    func history(_ kind: StoreKind, _ count: Int) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            try await store.commit((1...4).map { said("m\($0 * 10)", (id, $0 * 10)) })
            try await store.commit([said("m25", (id, 25)), .archiveFloor(id, upTo: 10)])
            let history = try #require(try await store.room(coven, history: count)).history
            #expect(history.map(\.body) == ["m20", "m25", "m30", "m40"].suffix(count))
            #expect(history.map(\.view) == [20, 25, 30, 40].suffix(count) && history.allSatisfy { $0.time == 1 })
        }
    }

    @Test("a room takes delivery of nothing", arguments: StoreKind.allCases)
    func delivery(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            try await store.commit([entry("waits", (id, 1)), said("kept", (id, 2), awaitsDelivery: true), .cursor(id, upTo: 1), .lastActivity(id, time: 1, status: nil)])
            #expect(try await store.messages(of: id).isEmpty)
            #expect(try await store.bodies(id) == ["kept"])
        }
    }

    @Test("no name that was given is forgotten, even if its message is", arguments: StoreKind.allCases, [false, true])
    func lastName(_ kind: StoreKind, _ isForAll: Bool) async throws {
        try await withStore(kind) { store in
            let (id, other) = (try await store.open(coven), try await store.create(juliet))
            try await store.commit([said("m", (id, 7), (other, 9))])
            #expect(try await store.room(coven)?.lastViewID == 7)
            try await store.commit([isForAll ? .archiveFloors(upTo: 20) : .archiveFloor(id, upTo: 20)])
            if let store = store as? SQLiteStore { try await store.finishIndex() }
            let last = isForAll ? 7 : 20 as UInt64
            #expect(try await store.room(coven)?.lastViewID == last)
            #expect(try await store.load(juliet)?.lastViewID == 9)
            // Clocks go back: a name may come that is forgotten already.
            try await store.commit([said("late", (id, 12))])
            if let store = store as? SQLiteStore { try await store.finishIndex() }
            #expect(try await store.room(coven)?.lastViewID == max(last, 12))
            #expect(try await store.bodies(id) == [])
        }
    }

    // MARK: Replaced messages

    @Test("a message that was replaced shows so in the archive, in the history and in searches (XEP-0425)", arguments: StoreKind.allCases)
    func replacement(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (id, other) = (try await store.open(coven), try await store.open(heath))
            try await store.commit([said("hail", (id, 1)), said("toil and trouble", (id, 2)), said("cauldron", (id, 3)), said("other", (other, 2))])
            try await store.commit([.replaceStanza(id, view: 2, message("gone"))])
            #expect(try await store.bodies(id) == ["hail", "gone", "cauldron"])
            #expect(try await store.bodies(other) == ["other"])
            #expect(try await store.room(coven, history: 2)?.history.map(\.body) == ["gone", "cauldron"])
            #expect(try await store.bodies(id) { $0.text = "toil" } == [])
            #expect(try await store.bodies(id) { $0.text = "gone" } == ["gone"])
            #expect(try await store.room(coven)?.lastViewID == 3)
            let longer = String(repeating: "x", count: 20_000)
            try await store.commit([.replaceStanza(id, view: 2, message(longer)), .replaceStanza(id, view: 3, message(""))])
            #expect(try await store.bodies(id) == ["hail", longer, ""])
        }
    }

    @Test("a message is replaced in the same submit in which it came, and in the next", arguments: StoreKind.allCases)
    func replacementAtOnce(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.open(coven)
            try await store.commit([said("one", (id, 1)), .replaceStanza(id, view: 1, message("two")), said("three", (id, 3))])
            #expect(try await store.bodies(id) == ["two", "three"])
            for text in ["a", "b", "c"] { _ = store.submit([.replaceStanza(id, view: 3, message(text))]) }
            #expect(try await store.bodies(id) == ["two", "c"])
        }
    }

    @Test("whoever else has a view of a replaced message sees the new one, also if it still waits for him", arguments: StoreKind.allCases)
    func replacementForAll(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (room, account) = (try await store.open(coven), try await store.create(juliet))
            let mark = ArchiveMark(with: coven, isSent: false)
            try await store.commit([
                .log(
                    LogEntry(
                        stanza: message("toil"),
                        views: [.init(owner: room, id: 3, awaitsDelivery: false, archived: mark), .init(owner: account, id: 5)], time: 1))
            ])
            try await store.commit([.replaceStanza(room, view: 3, message("gone"))])
            #expect(try await store.messages(of: account).map(\.body) == ["gone"])
            try await store.commit([.replaceStanza(account, view: 5, message("again"))])
            #expect(try await store.bodies(room) == ["again"])
        }
    }

    @Test("what is in no view, or no longer, is not replaced", arguments: StoreKind.allCases)
    func nothingToReplace(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.open(coven), try await store.create(juliet))
            try await store.commit((1...3).map { said("m\($0)", (a, $0), (b, $0 + 10)) } + [entry("delivered", (b, 1))])
            try await store.commit([.archiveFloor(a, upTo: 1), .cursor(b, upTo: 1)])
            try await store.commit([
                .replaceStanza(a, view: 1, message("x")), .replaceStanza(a, view: 11, message("x")), .replaceStanza(a, view: 0, message("x")),
                .replaceStanza(b, view: 1, message("x")), .replaceStanza(b, view: 2, message("x")), .replaceStanza(.nobody, view: 2, message("x")),
            ])
            #expect(try await store.bodies(b) == ["m1", "m2", "m3"])
            #expect(try await store.bodies(a) == ["m2", "m3"])
            try await store.commit([.archiveFloors(upTo: 2), .replaceStanza(a, view: 2, message("x"))])
            #expect(try await store.bodies(b) == ["m1", "m2", "m3"])
            await #expect(throws: StoreError.self) { try await store.commit([.replaceStanza(a, view: 1 << 63, message("x"))]) }
        }
    }

    // MARK: Lists

    @Test("rooms are listed by localpart, in pages, in both directions (XEP-0059)", arguments: StoreKind.allCases)
    func pages(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let names = ["a", "a.b", "b", "c", "d", "ä", "愛"]
            for name in names.reversed() { try await store.open(jid(name + "@x.example")) }
            try await store.open(jid("b@y.example"))
            func page(_ limit: Int, _ change: (inout RoomListRequest) -> Void = { _ in }) async throws -> String {
                var request = RoomListRequest(domain: "x.example", limit: limit)
                change(&request)
                let page = try await store.rooms(request)
                return page.rooms.map { $0.address.localpart ?? "" }.joined(separator: " ") + (page.isComplete ? "." : "")
            }
            func address(_ name: String) -> BareJID { jid(name + "@x.example") }
            #expect(try await page(100) == "a a.b b c d ä 愛.")
            #expect(try await page(7) == "a a.b b c d ä 愛.")
            #expect(try await page(6) == "a a.b b c d ä")
            #expect(try await page(3) == "a a.b b")
            #expect(try await page(3) { $0.after = address("b") } == "c d ä")
            #expect(try await page(3) { $0.after = address("bb") } == "c d ä")
            #expect(try await page(3) { $0.after = address("d") } == "ä 愛.")
            #expect(try await page(3) { $0.after = address("愛") } == ".")
            #expect(try await page(3) { $0.isBackwards = true } == "d ä 愛")
            #expect(try await page(3) { ($0.before, $0.isBackwards) = (address("d"), true) } == "a.b b c")
            #expect(try await page(3) { ($0.before, $0.isBackwards) = (address("c"), true) } == "a a.b b.")
            #expect(try await page(3) { $0.before = address("c") } == "a a.b b.")
            #expect(try await page(2) { ($0.after, $0.before) = (address("a"), address("d")) } == "a.b b")
            #expect(try await page(2) { ($0.after, $0.before, $0.isBackwards) = (address("a"), address("d"), true) } == "b c")
            #expect(try await page(2) { ($0.after, $0.before) = (address("c"), address("c")) } == ".")
            #expect(try await page(0) == "")
            #expect(try await page(0) { $0.after = address("愛") } == ".")
            #expect(try await page(5) { $0.domain = "y.example" } == "b.")
            #expect(try await page(5) { $0.domain = "z.example" } == ".")
            #expect(try await store.roomCount(domain: "x.example", isPublic: nil) == 7)
            #expect(try await store.roomCount(domain: "z.example", isPublic: nil) == 0)
        }
    }

    @Test("a list sees whatever was submitted before it", arguments: StoreKind.allCases)
    func listYourWrites(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for place in 1...30 {
                _ = store.submit([.room(.create(jid("r\(place)@x.example"), record(), []))])
                let page = try await store.rooms(RoomListRequest(domain: "x.example", limit: 100))
                #expect(page.rooms.count == place)
                let count = try await store.roomCount(domain: "x.example", isPublic: true)
                #expect(count == place)
            }
        }
    }

    @Test("rooms are listed by what they are, and counted", arguments: StoreKind.allCases)
    func kinds(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for place in 0..<12 {
                try await store.open(jid("r\(10 + place)@x.example"), record(isPersistent: place % 3 != 0, isPublic: place % 2 == 0))
            }
            let id = try #require(try await store.room(jid("r10@x.example"))).id
            try await store.commit([.room(.setRecord(id, record(isPersistent: true, isPublic: false)))])
            let isShown: (Int) -> Bool = { $0 % 2 == 0 && $0 != 0 }
            let stays: (Int) -> Bool = { $0 % 3 != 0 || $0 == 0 }
            for isPublic in [nil, true, false] as [Bool?] {
                for isPersistent in [nil, true, false] as [Bool?] {
                    let expected = (0..<12).filter { place in
                        (isPublic.map { $0 == isShown(place) } ?? true) && (isPersistent.map { $0 == stays(place) } ?? true)
                    }.map { jid("r\(10 + $0)@x.example") }
                    for isBackwards in [false, true] {
                        var request = RoomListRequest(domain: "x.example", isPublic: isPublic, isPersistent: isPersistent, isBackwards: isBackwards, limit: 1)
                        let page = try await store.rooms(request)
                        #expect(page.rooms.map(\.address) == Array(isBackwards ? expected.suffix(1) : expected.prefix(1)))
                        #expect(page.isComplete == (expected.count < 2))
                        request.limit = 12
                        #expect(try await store.rooms(request) == RoomPage(rooms: try await store.summaries(expected), isComplete: true))
                    }
                }
                let count = (0..<12).count { place in isPublic.map { $0 == isShown(place) } ?? true }
                #expect(try await store.roomCount(domain: "x.example", isPublic: isPublic) == count)
            }
        }
    }

    @Test("rooms are found by words that begin words of their name, description or localpart (XEP-0433)", arguments: StoreKind.allCases)
    func words(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.open(jid("coven@x.example"), record("A Dark Cave", description: "Where three witches meet"))
            try await store.open(jid("café-2@x.example"), record("Straße", isPublic: false, description: "愛知県"))
            try await store.open(jid("heath@x.example"), record("", description: "A dark place"))
            func found(_ text: String, _ change: (inout RoomListRequest) -> Void = { _ in }) async throws -> [String] {
                var request = RoomListRequest(domain: "x.example", text: text, limit: 10)
                change(&request)
                return try await store.rooms(request).rooms.map { $0.address.localpart ?? "" }
            }
            #expect(try await found("dark") == ["coven", "heath"])
            #expect(try await found("dark") { $0.isBackwards = true } == ["coven", "heath"])
            #expect(try await found("DAR") == ["coven", "heath"])
            #expect(try await found("ark") == [])
            #expect(try await found("wit cov dark") == ["coven"])
            #expect(try await found("dark nothing") == [])
            #expect(try await found("cafe") == ["café-2"])
            #expect(try await found("STRASSE") == ["café-2"])
            #expect(try await found("strasse") { $0.isPublic = true } == [])
            #expect(try await found("知") == ["café-2"])
            #expect(try await found("2") == ["café-2"])
            #expect(try await found("dark") { $0.after = jid("d@x.example") } == ["heath"])
            #expect(try await found("dark") { $0.limit = 1 } == ["coven"])
            #expect(try await found("dark") { $0.texts = .name } == ["coven"])
            #expect(try await found("dark") { $0.texts = [.description, .localpart] } == ["heath"])
            #expect(try await found("heath") { $0.texts = [.name, .description] } == [])
            #expect(try await found("heath dark") { $0.texts = [.localpart, .description] } == ["heath"])
            #expect(try await found("") == [])
            #expect(try await found("!") == [])
        }
    }
}

extension Store {
    fileprivate func summaries(_ addresses: [BareJID]) async throws -> [RoomSummary] {
        var summaries: [RoomSummary] = []
        for address in addresses {
            let room = try #require(try await room(address))
            summaries.append(
                RoomSummary(
                    id: room.id, address: address, isPersistent: room.record.isPersistent, isPublic: room.record.isPublic, name: room.record.name,
                    description: room.record.description, created: room.created, content: room.record.content))
        }
        return summaries
    }
}
