import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// What a disk keeps and loses when the power goes, and what it refuses (`docs/operating.md`).
@Suite("The embedded store and the disk under it", .serialized)
struct PowerLossTests {
    /// Places at which the power goes, each with three kinds of loss. `MARTLET_CRASH_POINTS=10000` looks at more.
    private static let crashPoints = getenv("MARTLET_CRASH_POINTS").flatMap { Int(String(cString: $0)) } ?? 30

    // MARK: The power goes

    /// A recorded run: what was done to the files, and which submits were acknowledged in between.
    private func record(_ prepare: (SQLiteStore) async throws -> Void = { _ in }) async throws -> [FaultyDisk.Operation] {
        let folder = TemporaryFolder()
        let disk = FaultyDisk(folder: folder.path)
        defer { disk.remove() }
        let store = try Self.open(folder.path, fileSystem: FaultyDisk.name)
        try await prepare(store)
        let (a, b) = (try await store.create(juliet), try await store.create(romeo))
        let room = try await Self.createRoom(store)
        disk.note(0)
        for number in 1...Self.submits {
            store.submit(Self.writes(number, a, b, room)) { outcome in if case .success = outcome { disk.note(number) } }
            if number % 3 == 0 { _ = try await store.idCeiling() }
        }
        _ = try await store.idCeiling()
        let operations = disk.operations
        store.close()
        return operations
    }

    private static let submits = 300

    private static func open(_ folder: String, fileSystem: String? = nil) throws -> SQLiteStore {
        try SQLiteStore.open(
            folder: folder,
            options: options {
                $0.indexThreshold = 32
                $0.driver = { SQLiteDriver(file: $0, fileSystem: fileSystem) }
            })
    }

    /// What one submit writes says which one it was, everywhere.
    private static func writes(_ number: Int, _ a: AccountID, _ b: AccountID, _ room: AccountID) -> [Write] {
        let view = UInt64(number)
        let views = [
            LogEntry.View(owner: a, id: view),
            LogEntry.View(owner: b, id: view, awaitsDelivery: false, archived: ArchiveMark(with: juliet, isSent: false)),
        ]
        var writes: [Write] = [
            .log(LogEntry(stanza: message(number), views: views, time: Int64(number))),
            .rosterItem(a, RosterItem(contact: jid("c\(number % 10)@x.example"), version: view)),
            .document(a, DocumentKey(namespace: "n"), ByteBuffer(string: "\(number)")),
            .log(LogEntry(stanza: stanza("<message>\(number)</message>"), views: [inRoom(room, view)], time: Int64(number))),
            .room(.setAffiliation(room, StoredAffiliation(address: .bare(juliet), affiliation: 1, version: view))),
        ]
        writes += nodeWrites(number)
        if number > replacedDistance { writes.append(.replaceStanza(room, view: view - UInt64(replacedDistance), gone)) }
        if number == cursor(after: number) + cursorDistance { writes.append(.cursor(a, upTo: UInt64(cursor(after: number)))) }
        if number == floor(after: number) + floorDistance { writes.append(.archiveFloor(b, upTo: UInt64(floor(after: number)))) }
        return writes
    }

    private static let (cursorDistance, floorDistance, replacedDistance) = (8, 40, 20)
    private static let coven = jid("coven@chat.example")
    private static let gone = stanza("<message>gone, and it takes more bytes than before</message>")

    private static func inRoom(_ room: AccountID, _ view: UInt64) -> LogEntry.View {
        LogEntry.View(owner: room, id: view, awaitsDelivery: false, archived: ArchiveMark(with: coven, isSent: false))
    }

    /// And the node.
    private static func createRoom(_ store: SQLiteStore) async throws -> AccountID {
        let stored = StoredNode(id: node, name: "n", created: 0, record: NodeRecord())
        try await store.commit([.room(.create(coven, RoomRecord(isPersistent: true, isPublic: true), [])), .node(.create(service, stored))])
        return try #require(try await room(store)).id
    }

    private static func room(_ store: SQLiteStore) async throws -> StoredRoom? {
        try await withCheckedContinuation { continuation in
            store.loadRoom(coven, history: 1_000) { continuation.resume(returning: $0) }
        }.get()
    }

    /// - Returns: what is wrong with the room, where `last` is the last submit of which there is anything.
    private static func problems(_ room: StoredRoom, after last: Int) -> [String] {
        let expected = (0..<last).map { $0 < last - replacedDistance ? String(buffer: gone.bytes) : "<message>\($0 + 1)</message>" }
        guard room.lastViewID == last, room.affiliations.map(\.version) == (last > 0 ? [UInt64(last)] : []) else {
            return ["the room's last name is \(room.lastViewID), its affiliations are \(room.affiliations)"]
        }
        return room.history.map(\.text) == expected ? [] : ["the room's messages are \(room.history.map(\.text))"]
    }

    private static let node = NodeID(raw: 7)
    private static let itemsKept = 6
    private static let service = NodeOwner.service("pubsub.example")

    private static func item(_ number: Int) -> NodeItem {
        let payload = ByteBuffer(string: String(repeating: "item \(number) ", count: number % 50))
        let name = number % 3 == 0 ? "third" : "\(number % 9)"
        return NodeItem(name: name, place: UInt64(number), time: Int64(number), publisher: .bare(juliet), payload: payload)
    }

    /// Every third item takes the stead of the last such one; the others are forgotten or, by every tenth submit, retracted before their name comes again.
    private static func nodeWrites(_ number: Int) -> [Write] {
        var changes: [NodeChange] = [.publish(node, item(number)), .setRecord(node, NodeRecord(content: ByteBuffer(string: "\(number)")))]
        if number > itemsKept { changes.append(.forget(node, upTo: UInt64(number - itemsKept))) }
        if number % 10 == 0 { changes.append(.retract(node, names: [item(number - 1).name])) }
        return changes.map { .node($0) }
    }

    private static func items(after last: Int) -> [NodeItem] {
        guard last > 0 else { return [] }
        return (max(1, last - itemsKept + 1)...last).filter { ($0 % 10 != 9 || $0 == last) && ($0 % 3 != 0 || $0 + 3 > last) }.map(item)
    }

    private static func nodeProblems(_ store: SQLiteStore, after last: Int) async throws -> [String] {
        let expected = items(after: last)
        let found = try await store.items(of: node, NodeItemsRequest(limit: 1_000))
        guard found == expected else { return ["after \(last): items \(found.map(\.place)) instead of \(expected.map(\.place))"] }
        let stored = try await store.nodes(of: service).first
        let bytes = expected.reduce(0) { $0 + $1.payload.readableBytes }
        let content = ByteBuffer(string: last > 0 ? "\(last)" : "")
        guard stored?.itemCount == found.count, stored?.itemBytes == bytes, stored?.record.content == content else {
            return ["after \(last): the node is \(String(describing: stored))"]
        }
        return []
    }

    private static func cursor(after number: Int) -> Int { max(0, number - cursorDistance) / 5 * 5 }
    private static func floor(after number: Int) -> Int { max(0, number - floorDistance) / 50 * 50 }

    private static func message(_ number: Int) -> EncodedStanza {
        let filling = String(repeating: "filling \(number) ", count: 300)
        return stanza(
            "<message from='juliet@capulet.example/x' to='romeo@montague.example'><body>word\(number)</body><x xmlns='x'>\(filling)</x></message>")
    }

    /// What is wrong with files from which a store is opened anew.
    private func problems(_ files: [String: [UInt8]], acknowledged: Int?) async throws -> [String] {
        let folder = TemporaryFolder()
        for (name, bytes) in files { Self.write(bytes, to: folder.path + "/" + name) }
        // What is in the shared memory is believed by nobody.
        Self.write(Array(repeating: 0x5a, count: 32_768), to: folder.path + "/martlet.db-shm")
        do {
            let store = try Self.open(folder.path)
            var problems = try await Self.problems(store, acknowledged)
            try await store.finishIndex()
            problems += try await Self.problems(store, acknowledged)
            store.close()
            return problems + (try SQLiteStore.verify(folder: folder.path).problems)
        } catch {
            return ["\(error)"]
        }
    }

    private static func problems(_ store: SQLiteStore, _ acknowledged: Int?) async throws -> [String] {
        guard let a = try await store.load(juliet), let b = try await store.load(romeo), let room = try await room(store) else {
            return acknowledged == nil ? [] : ["the accounts are gone, and \(acknowledged ?? 0) were acknowledged"]
        }
        let last = Int(a.lastViewID)
        var problems = Self.problems(room, after: last) + (try await nodeProblems(store, after: last))
        func expect(_ isSo: Bool, _ what: String) { if !isSo { problems.append("after \(last): \(what)") } }
        expect(last >= acknowledged ?? 0, "\(acknowledged ?? 0) was acknowledged")
        expect(Int(a.rosterVersion) == last && Int(b.lastViewID) == last, "roster \(a.rosterVersion), the other account \(b.lastViewID)")
        expect(a.roster.count == min(last, 10) && a.roster.allSatisfy { Int($0.version) > last - 10 }, "roster items \(a.roster.map(\.version))")
        expect(Int(a.deliveredUpTo) == cursor(after: last), "cursor \(a.deliveredUpTo)")
        let document = try await store.document(a.id, DocumentKey(namespace: "n")).map { String(buffer: $0) }
        expect(document == (last > 0 ? "\(last)" : nil), "document \(document ?? "none")")
        let waiting = try await store.messages(of: a.id, limit: 1_000)
        expect(waiting.map(\.view) == views(after: cursor(after: last), upTo: last), "waiting \(waiting.map(\.view))")
        expect(waiting.allSatisfy { $0.stanza == message(Int($0.view)) }, "a message is another one")
        var request = ArchiveRequest(limit: 1_000)
        request.bytesMax = .max
        let archived = try await store.archive(of: b.id, request)?.messages ?? []
        expect(archived.map(\.view) == views(after: floor(after: last), upTo: last), "archive \(archived.map(\.view))")
        request.text = "word\(max(1, last))"
        let found = try await store.archive(of: b.id, request)?.messages.map(\.view) ?? []
        expect(found == (last > 0 ? [UInt64(last)] : []), "found \(found)")
        return problems
    }

    private static func views(after first: Int, upTo last: Int) -> [UInt64] { (first..<max(first, last)).map { UInt64($0 + 1) } }

    private static func write(_ bytes: [UInt8], to path: String) {
        guard let file = fopen(path, "w") else { return }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }

    /// Before and after every synchronisation, and in between; all that a checkpoint does to the database first.
    private func places(in operations: [FaultyDisk.Operation], _ count: Int) -> Set<Int> {
        var random = SplitMix(state: 7)
        let indices = operations.indices
        let checkpoints = indices.filter { operations[$0].file == "martlet.db" }
        let boundaries = indices.filter { operations[$0].isSync }.flatMap { [$0, $0 + 1] }
        let chosen = [checkpoints, boundaries, Array(indices)].flatMap { $0.shuffled(using: &random).prefix(count / 3) }
        return Set(chosen + [operations.count])
    }

    /// - Returns: what is wrong after a loss of power at any of the places.
    private func losses(_ operations: [FaultyDisk.Operation], _ count: Int, untilWrong: Bool = false) async throws -> [String] {
        let places = places(in: operations, count)
        var (disk, acknowledged, wrong) = (DiskState(empty: ["martlet.db"]), Int?.none, [String]())
        for place in 0...operations.count {
            if places.contains(place) {
                for loss in [DiskState.Loss.everything, .nothing, .some(seed: UInt64(place))] {
                    let problems = try await problems(disk.after(loss), acknowledged: acknowledged)
                    wrong += problems.map { "operation \(place) of \(operations.count), \(loss): \($0)" }
                    if untilWrong, !wrong.isEmpty { return wrong }
                }
            }
            guard place < operations.count else { break }
            disk.perform(operations[place])
            if case .note(let number) = operations[place] { acknowledged = number }
        }
        print("power loss: \(places.count) places among \(operations.count) operations, three losses each, \(wrong.count) problems")
        return wrong
    }

    @Test("what was acknowledged is there after a loss of power, wherever it comes, whole and in order (P1, P16)")
    func powerLoss() async throws {
        let operations = try await record()
        // Else nothing is said about write-backs of the write-ahead log.
        #expect(operations.count { $0.file == "martlet.db" && $0.isSync } >= 2)
        let wrong = try await losses(operations, Self.crashPoints)
        #expect(wrong == [])
    }

    @Test("a store that synchronises less is found out", arguments: ["OFF", "NORMAL"])
    func mutants(_ synchronous: String) async throws {
        let operations = try await record { try await $0.execute("PRAGMA synchronous = \(synchronous)") }
        let wrong = try await losses(operations, Self.crashPoints, untilWrong: true)
        #expect(wrong.contains { $0.contains("acknowledged") })
    }

    // MARK: The disk refuses

    private static let refusedSubmits = 12

    /// Submits one after the other while the disk fails at the `operation`th operation.
    /// - Returns: what is wrong, or `nil` if there were not so many operations.
    private func refusal(_ failure: FaultyDisk.Failure, at operation: Int) async throws -> [String]? {
        let (folder, fatal) = (TemporaryFolder(), FatalErrors())
        let disk = FaultyDisk(folder: folder.path)
        defer { disk.remove() }
        var store: SQLiteStore? = try SQLiteStore.open(
            folder: folder.path,
            options: options(fatal) {
                $0.indexThreshold = 8
                $0.driver = { SQLiteDriver(file: $0, fileSystem: FaultyDisk.name) }
            })
        let (a, b) = (try await store!.create(juliet), try await store!.create(romeo))
        let room = try await Self.createRoom(store!)
        disk.fail(failure, at: operation)
        var (acknowledged, refused, problems) = ([UInt64](), [UInt64](), [String]())
        func submit(_ number: Int, to store: SQLiteStore) async {
            switch await Result(catching: { try await store.commit(Self.writes(number, a, b, room).filter { !$0.forgets }) }) {
            case .success: acknowledged.append(UInt64(number))
            case .failure: refused.append(UInt64(number))
            }
        }
        for number in 1...Self.refusedSubmits { await submit(number, to: store!) }
        _ = await Result(catching: { try await store!.finishIndex() })
        guard disk.hasFailed else {
            store!.close()
            return nil
        }
        disk.repair()
        await submit(Self.refusedSubmits + 1, to: store!)
        let goesOn = acknowledged.last == UInt64(Self.refusedSubmits + 1)
        store!.close()
        // SQLite closes a connection when its last statement is gone.
        store = nil
        var possible = [acknowledged]
        switch failure {
        case .full:
            if !goesOn { problems.append("does not recover") }
            if !fatal.all.isEmpty { problems.append("fatal: \(fatal.all)") }
        case .io:
            if goesOn { problems.append("goes on") }
            if fatal.all.count != 1 { problems.append("fatal: \(fatal.all)") }
            if disk.operationsAfterFailure.contains(where: \.isSync) { problems.append("synchronises again") }
            // Whether what failed to be synchronised is on the disk, nobody knows.
            possible += refused.first.map { [acknowledged + [$0]] } ?? []
        }
        let again = try SQLiteStore.open(folder: folder.path, options: options())
        let views = try await again.messages(of: a).map(\.view)
        let archived = try await again.archive(of: b, ArchiveRequest(limit: 100))?.messages.map(\.view) ?? []
        let inRoom = try await Self.room(again)?.history.map(\.view) ?? []
        if !possible.contains(views) || archived != views || inRoom != views {
            problems.append("acknowledged \(acknowledged), there are \(views), archived \(archived), in the room \(inRoom)")
        }
        again.close()
        problems += try SQLiteStore.verify(folder: folder.path).problems
        return problems.map { "operation \(operation): \($0)" }
    }

    /// Every operation of a run, or some of them.
    private func refusals(_ failure: FaultyDisk.Failure) async throws -> (operations: Int, problems: [String]) {
        let step = max(1, 200 / Self.crashPoints)
        var (operation, count, wrong) = (1, 0, [String]())
        while let problems = try await refusal(failure, at: operation) {
            wrong += problems
            count += 1
            operation += step
        }
        return (count, wrong)
    }

    @Test("a disk that is full refuses whole submits, and takes others when there is space again, at whatever write it comes (P19)")
    func full() async throws {
        let (operations, problems) = try await refusals(.full)
        #expect(problems == [])
        #expect(operations > 20)
        print("disk full: at \(operations) operations")
    }

    @Test("a write or fsync that fails ends all writing, and is never tried again, whichever it is (P19)")
    func inputOutputError() async throws {
        let (operations, problems) = try await refusals(.io)
        #expect(problems == [])
        #expect(operations > 20)
        print("input/output error: at \(operations) operations")
    }
}

extension Write {
    /// Whether it takes messages away.
    fileprivate var forgets: Bool {
        switch self {
        case .cursor, .archiveFloor, .archiveFloors: true
        case .rosterItem, .rosterRemoval, .document, .unchanged, .log, .replaceStanza, .lastActivity, .idCeiling, .account, .room, .node, .invitation, .upload, .report,
            .sharedList, .device, .certificate, .rosterCopy: false
        }
    }
}
