import Dispatch
import Foundation
import Logging
import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore

// What the message log costs: appends in commits of 64, 512 and 4096 entries of 330 bytes with two views each, 10,000
// accounts, synchronous=FULL, index and purge included. Microseconds of the whole process's CPU for each message.
//
//     StorageBenchmark                            every workload, 200,000 messages each
//     StorageBenchmark <workload> <messages>      one, with 1,000 accounts: for scripts/bench-counts
//
// Workloads are offline-64, offline-512, offline-4096, delivered-…, archive: what one archive with half of all messages costs
// to fill, to open and to read, and nodes: what publications and log-ins of accounts with nodes cost. The databases are made below TMPDIR, and removed.

struct SystemTime: TimeSource {
    var monotonic: NIODeadline { .now() }
    var wallMilliseconds: Int64 { Int64(time(nil)) * 1_000 }
}

func cpuSeconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

func open(_ path: String) throws -> SQLiteStore {
    var options = SQLiteStore.Options(
        time: SystemTime(), logger: Logger(label: "benchmark"), onFatal: { fatalError("the store failed: \($0)") })
    options.reserveBytes = 0
    return try SQLiteStore.open(folder: path, options: options)
}

/// Submits and waits until it is on disk.
func settle(_ store: SQLiteStore, _ writes: [Write]) {
    let done = DispatchSemaphore(value: 0)
    store.submit(writes) { _ in done.signal() }
    done.wait()
}

func makeAccounts(_ count: Int, _ store: SQLiteStore) throws {
    for place in 0..<count {
        let address = try BareJID(localpart: "account\(place)", domainpart: "capulet.example")
        store.submit([.account(.create(address, credentials: [], isAdmin: false))])
    }
    settle(store, [])
}

func measure(_ name: String, count: Int, _ body: () throws -> Void) rethrows {
    let (start, cpu) = (ContinuousClock.now, cpuSeconds())
    try body()
    let wall = start.duration(to: .now) / .microseconds(1)
    let perMessage = (cpuSeconds() - cpu) * 1e6 / Double(count)
    let rounded = { (value: Double) in (value * 100).rounded() / 100 }
    print("\(name): \(rounded(perMessage)) µs CPU each, \(Int(Double(count) / wall * 1e6)) a second")
}

let wanted = CommandLine.arguments.dropFirst().first
let messages = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 200_000
let accounts = wanted == nil ? 10_000 : 1_000
let temporary = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
let folder = temporary + "/martlet-storage-benchmark-\(getpid())"
let stanza = EncodedStanza(ByteBuffer(repeating: UInt8(ascii: "x"), count: 330))

/// Submits messages between accounts at random.
struct Traffic {
    var view: UInt64 = 0
    var touched: Set<AccountID> = []
    var seed: UInt64 = 1

    mutating func submit(_ count: Int, to store: SQLiteStore) {
        for _ in 0..<count {
            view += 1
            let views = [LogEntry.View(owner: account(), id: view), LogEntry.View(owner: account(), id: view)]
            store.submit([.log(LogEntry(stanza: stanza, views: views, time: Int64(view)))])
        }
    }

    mutating func next() -> UInt64 {
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return seed >> 33
    }

    mutating func account() -> AccountID {
        let id = AccountID(raw: Int64(next()) % Int64(accounts) + 1)
        touched.insert(id)
        return id
    }

    /// Everybody has received everything.
    mutating func cursors() -> [Write] {
        defer { touched = [] }
        return touched.map { .cursor($0, upTo: view) }
    }
}

func benchmark(_ name: String, batch: Int, deliversEvery: Int?) throws {
    let store = try open(folder + "/\(name)-\(batch)")
    defer { store.close() }
    try makeAccounts(accounts, store)
    var traffic = Traffic()
    measure("\(name), commits of \(batch)", count: messages) {
        for place in 1...max(1, messages / batch) {
            traffic.submit(batch, to: store)
            settle(store, [])
            if let deliversEvery, place % max(1, deliversEvery / batch) == 0 { settle(store, traffic.cursors()) }
        }
    }
    guard wanted == nil, deliversEvery == nil, batch == 512 else { return }
    try measure("loads of an account", count: accounts) {
        let done = DispatchGroup()
        for place in 0..<accounts {
            done.enter()
            store.loadAccount(try BareJID(localpart: "account\(place)", domainpart: "capulet.example")) { _ in done.leave() }
        }
        done.wait()
    }
}

// MARK: Archives

/// One large archive among many small ones: what it costs to fill, to open and to read.
func benchmarkArchive(_ count: Int) async throws {
    let path = folder + "/archive"
    let peers = try (0..<200).map { try BareJID(localpart: "peer\($0)", domainpart: "montague.example") }
    let sessions = try peers.map { JID.full(try $0.with(resourcepart: "a")) }
    let large = AccountID(raw: 1)
    let start: UInt64 = 1_700_000_000_000
    func fill() throws {
        let store = try open(path)
        defer { store.close() }
        try makeAccounts(accounts, store)
        var traffic = Traffic()
        measure("archive, commits of 512", count: count) {
            for place in 0..<count {
                let name = (start + UInt64(place) * 1_000) << 20
                let peer = peers[Int(traffic.next() % UInt64(peers.count))]
                let message = "<message from='\(peer)/a' to='account0@capulet.example'><body>\(String(repeating: "x", count: 250))</body></message>"
                // Every other message is the large archive's; two accounts hold each.
                let owner = place % 2 == 0 ? large : traffic.account()
                let views = [owner, traffic.account()].map {
                    LogEntry.View(owner: $0, id: name, awaitsDelivery: false, archived: ArchiveMark(with: peer, isSent: false))
                }
                let stanza = EncodedStanza(ByteBuffer(string: message))
                store.submit([.log(LogEntry(stanza: stanza, views: views, time: Int64(start) + Int64(place) * 1_000))])
                if place % 512 == 511 { settle(store, []) }
            }
            settle(store, [])
        }
    }
    func read(_ name: String, _ store: SQLiteStore, _ request: (Int) -> ArchiveRequest) async throws {
        let (rounds, cpu) = (200, cpuSeconds())
        var found = 0
        for round in 0..<rounds { found += try await store.archive(of: large, request(round))?.messages.count ?? 0 }
        print("\(name): \(Int((cpuSeconds() - cpu) * 1e6) / rounds) µs CPU, \(found / rounds) messages")
    }
    func page(_ change: (inout ArchiveRequest) -> Void) -> ArchiveRequest {
        var request = ArchiveRequest(limit: 50)
        change(&request)
        return request
    }
    try fill()
    let cpu = cpuSeconds()
    let store = try open(path)
    print("start with \(count) entries: \(Int((cpuSeconds() - cpu) * 1e3)) ms CPU")
    try await store.finishIndex()
    let step = UInt64(max(1, count / 200))
    func name(_ round: Int) -> UInt64 { (start + UInt64(round) * step * 1_000) << 20 }
    try await read("last page", store) { _ in page { $0.isBackwards = true } }
    try await read("page after a name", store) { round in page { $0.after = name(round) } }
    try await read("page with one of 200", store) { round in page { ($0.after, $0.peer) = (name(round), .bare(peers[round])) } }
    try await read("last page with one of 200", store) { round in page { ($0.isBackwards, $0.peer) = (true, .bare(peers[round])) } }
    try await read("page with a full address", store) { round in page { $0.peer = sessions[round] } }
    try await read("page from a time", store) { round in page { $0.start = Int64(name(round) >> 20) } }
    store.close()
}

// MARK: Nodes

/// Accounts with 30 nodes each, one of them with 300 items of 500 bytes: what it costs to publish, and to have all that ready at a log-in.
func benchmarkNodes(_ count: Int) throws {
    let (owners, nodesEach, itemsEach, group) = (200, 30, 300, 100)
    let publisher = JID.bare(try BareJID(localpart: "account", domainpart: "capulet.example"))
    let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: 500)
    let store = try open(folder + "/nodes")
    defer { store.close() }
    try makeAccounts(owners, store)
    func id(_ owner: Int, _ node: Int) -> NodeID { NodeID(raw: UInt64(owner * nodesEach + node + 1)) }
    var place: UInt64 = 0
    func publication(_ node: NodeID, _ name: String) -> Write {
        place += 1
        return .node(.publish(node, NodeItem(name: name, place: place, time: Int64(place), publisher: publisher, payload: payload)))
    }
    for owner in 0..<owners {
        settle(store, (0..<nodesEach).map { number in
            let record = NodeRecord(content: ByteBuffer(repeating: 1, count: 120))
            let affiliation = StoredNodeAffiliation(address: publisher.bare, affiliation: 1)
            let node = StoredNode(id: id(owner, number), name: "urn:example:node:\(number)", created: 1, record: record, affiliations: [affiliation])
            return .node(.create(.account(AccountID(raw: Int64(owner + 1))), node))
        })
    }
    measure("publication of a new item, commits of \(group)", count: owners * itemsEach) {
        for start in stride(from: 0, to: itemsEach, by: group) {
            for owner in 0..<owners { settle(store, (start..<start + group).map { publication(id(owner, 0), "item-\($0)") }) }
        }
    }
    var traffic = Traffic()
    measure("publication in another's stead, commits of \(group)", count: count) {
        for _ in 0..<count / group {
            settle(store, (0..<group).map { _ in publication(id(Int(traffic.next() % UInt64(owners)), 1), "current") })
        }
    }
    func read(_ name: String, _ body: (Int, @escaping @Sendable () -> Void) -> Void) {
        let done = DispatchGroup()
        measure(name, count: 5 * owners) {
            for round in 0..<5 * owners {
                done.enter()
                body(round % owners) { done.leave() }
            }
            done.wait()
        }
    }
    read("load of \(nodesEach) nodes") { owner, done in store.loadNodes(of: .account(AccountID(raw: Int64(owner + 1)))) { _ in done() } }
    read("marks of \(itemsEach) items") { owner, done in store.loadMarks(of: id(owner, 0)) { _ in done() } }
    read("last items of \(nodesEach) nodes") { owner, done in store.loadLastItems(of: (0..<nodesEach).map { id(owner, $0) }) { _ in done() } }
    measure("expiry of nothing, \(owners) nodes of \(itemsEach) items", count: 1) {
        settle(store, (0..<owners).map { .node(.setRecord(id($0, 0), NodeRecord(itemExpiry: 1))) } + [.node(.expire(at: 0))])
    }
    let gone = try (0..<10).map { try BareJID(localpart: "account\($0)", domainpart: "capulet.example") }
    measure("removal of an account with \(itemsEach) items", count: gone.count) {
        for address in gone { settle(store, [.account(.delete(address))]) }
    }
}

print("storage: SQLite, synchronous=FULL; \(messages) messages, \(accounts) accounts")
try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
for batch in [64, 512, 4_096] {
    if wanted == nil || wanted == "offline-\(batch)" { try benchmark("offline", batch: batch, deliversEvery: nil) }
    // As often as a busy server moves its cursors: once in 10,000 messages.
    if wanted == nil || wanted == "delivered-\(batch)" { try benchmark("delivered", batch: batch, deliversEvery: 10_000) }
}
if wanted == "archive" { try await benchmarkArchive(messages) }
if wanted == "nodes" { try benchmarkNodes(messages) }
try FileManager.default.removeItem(atPath: folder)
