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
// Workloads are offline-64, offline-512, offline-4096, delivered-…, and archive: what one archive with half of all messages costs
// to fill, to open and to read. The databases are made below TMPDIR, and removed.

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

print("storage: SQLite, synchronous=FULL; \(messages) messages, \(accounts) accounts")
try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
for batch in [64, 512, 4_096] {
    if wanted == nil || wanted == "offline-\(batch)" { try benchmark("offline", batch: batch, deliversEvery: nil) }
    // As often as a busy server moves its cursors: once in 10,000 messages.
    if wanted == nil || wanted == "delivered-\(batch)" { try benchmark("delivered", batch: batch, deliversEvery: 10_000) }
}
if wanted == "archive" { try await benchmarkArchive(messages) }
try FileManager.default.removeItem(atPath: folder)
