// What the parts of a stanza's way cost, without network and disk: CPU nanoseconds, and allocations where the preloaded counter
// of scripts/bench is there.
//
//     MARTLET_BENCH=1 swift build -c release --product RouteBenchmark
//     RouteBenchmark [workload] [iterations]
//
// The number of iterations is fixed, so that instructions can be counted: those of two runs, of n and of 2n iterations, differ by what
// n iterations take (`valgrind --tool=callgrind` on a stripped copy). Without arguments every workload runs once.

import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import NIOEmbedded

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A connection whose client reads everything and says nothing.
final class DiscardingTransport: SessionTransport {
    private(set) var session: ClientSession?
    /// Where stanzas are put together that others get as well, as a connection does.
    private var outgoing = ByteBuffer()
    private(set) var writes = 0
    private(set) var bytes = 0
    let pendingBytes = 0
    let remoteAddress = "192.0.2.1:40000"

    func bound(_ outcome: BindOutcome) {
        guard case .bound(let session) = outcome else { preconditionFailure("the session was refused") }
        self.session = session
    }
    func write(_ bytes: ByteBuffer) {
        writes += 1
        self.bytes += bytes.readableBytes
    }
    func write(_ stanza: SharedStanza, to recipient: FullJID) {
        writes += 1
        outgoing.clear()
        stanza.write(to: &outgoing, for: recipient)
        bytes += outgoing.readableBytes
    }
    func flush() {}
    func close(_ error: StreamError?) {}
    func setReading(_ isReading: Bool) {}
}

/// A server in process, what it is given, and how much of that is one iteration.
final class Bench {
    /// Makes accounts, and has the loop, the clock and the domains.
    let server: TestServer
    let store: DiscardingStore
    let router: Router
    let context: LoopContext

    /// - Parameter archives: whether accounts have archives (XEP-0313).
    init(archives: Bool) {
        server = TestServer(features: { configuration in
            var configuration = configuration
            if !archives { configuration.archiveDefault = nil }
            configuration.hasSharedLists = false
            return StandardFeatures.all(configuration)
        })
        store = DiscardingStore(accounts: server.store)
        router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: NoAudit())
        context = LoopContext(loop: server.loop, hosts: server.context.hosts, store: store, time: server.time, random: server.random)
    }

    /// What the disk has to do, and what waits for it.
    func commit() {
        store.commit()
        server.loop.run()
    }

    /// A bound client with its side of the wire.
    final class Stream {
        let transport = DiscardingTransport()
        var parser: XMLStreamParser

        init(scratch: XMLParserScratch) {
            parser = XMLStreamParser(limits: .authenticated, scratch: scratch)
            var header = ByteBuffer(
                string: "<stream:stream to='capulet.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
            _ = try? parser.next(from: &header)
        }

        /// One read: everything in it is parsed and taken, then the loop flushes.
        func read(_ bytes: ByteBuffer) {
            guard let session = transport.session else { preconditionFailure("not bound") }
            var input = bytes
            do {
                while let event = try parser.next(from: &input) {
                    guard case .element(let element) = event else { continue }
                    if element.root.isIn(.streamManagement) {
                        guard let request = StreamManagementRequest(element) else { preconditionFailure("not of XEP-0198") }
                        try session.manage(request)
                    } else {
                        try session.receive(element)
                    }
                }
            } catch {
                preconditionFailure("\(error)")
            }
            session.context.flush()
        }
    }

    private let scratch = XMLParserScratch()

    func stream(_ name: String, _ resource: String) -> Stream {
        let stream = Stream(scratch: scratch)
        bind(name, resource, stream.transport)
        server.run()
        return stream
    }

    func bind(_ name: String, _ resource: String, _ transport: DiscardingTransport) {
        router.bind(server.address(name), resource: resource, transport, context) { transport.bound($0) }
        context.flush()
    }

    /// Two accounts with a session each, both available.
    func pair() -> (Stream, Stream) {
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        let streams = (stream("juliet", "balcony"), stream("romeo", "orchard"))
        for stream in [streams.0, streams.1] { stream.read(ByteBuffer(string: "<presence/>")) }
        server.run()
        return streams
    }
}

enum Workload: String, CaseIterable {
    /// A message of 332 bytes from bytes to an element.
    case parse
    /// Ten such messages in one read, from one session to another: each message is one iteration. Nobody keeps them.
    case route
    /// The same, kept in both archives.
    case routeArchived = "route-archived"
    /// The same, and both clients have stream management: the sender asks for an acknowledgement after its ten messages and gets it, and
    /// the recipient gives one.
    case routeManaged = "route-managed"
    /// The same, one message in a read.
    case routeSingly = "route-singly"
    /// The same to an account's bare address.
    case routeBare = "route-bare"
    /// The same with another session of the recipient that gets carbons.
    case carbons
    /// A presence of 353 bytes to a hundred contacts that are online.
    case presence
    /// An item of a node is published, of which a hundred contacts want to hear (XEP-0163).
    case publish
    /// A session begins and ends: without presence.
    case bind

    /// What iterations there are if nobody says.
    var usual: Int {
        switch self {
        case .parse, .route, .routeArchived, .routeManaged, .routeSingly, .routeBare, .carbons: 200_000
        case .presence, .publish: 2_000
        case .bind: 50_000
        }
    }

    static let chat = message(to: "romeo@capulet.example/orchard")

    /// As Conversations sends them, filled up to 332 bytes.
    static func message(to address: String) -> String {
        let before = "<message to='\(address)' from='juliet@capulet.example/balcony' type='chat' id='"
        let after =
            "'><body>Wherefore art thou, Romeo? Deny thy father &amp; refuse thy name.</body><active xmlns='http://jabber.org/protocol/chatstates'/>"
            + "<origin-id xmlns='urn:xmpp:sid:0' id='4d6ddc40'/></message>"
        return before + String(repeating: "7", count: max(1, 332 - before.utf8.count - after.utf8.count)) + after
    }

    static let announcement =
        "<presence id='RMHM-12'><show>away</show><priority>5</priority>"
        + "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://conversations.im' ver='Z7vHpS3sCYkvxZFSMGnHPsYXdHI='/>"
        + "<x xmlns='vcard-temp:x:update'><photo>8c2a0ac3b9ef4d2c71f6ad8c8cd2ad6d67d2d1c3</photo></x>"
        + "<idle xmlns='urn:xmpp:idle:1' since='1597-01-29T19:14:00Z'/></presence>"

    /// Whether accounts have archives in it.
    var archives: Bool {
        switch self {
        case .routeArchived, .routeManaged: true
        case .parse, .route, .routeSingly, .routeBare, .carbons, .presence, .publish, .bind: false
        }
    }

    /// Makes what is needed; what comes back does as many iterations as it is told.
    func prepare(_ bench: Bench) -> (Int) -> Int {
        switch self {
        case .parse: Self.parsing()
        case .routeManaged: Self.managed(bench, burst: 10)
        case .route, .routeArchived: Self.routing(bench, burst: 10, to: "romeo@capulet.example/orchard")
        case .routeSingly: Self.routing(bench, burst: 1, to: "romeo@capulet.example/orchard")
        case .routeBare: Self.routing(bench, burst: 10, to: "romeo@capulet.example")
        case .carbons: Self.carbons(bench)
        case .presence: Self.presence(bench)
        case .publish: Self.publish(bench)
        case .bind: Self.binding(bench)
        }
    }

    private static func parsing() -> (Int) -> Int {
        let stream = Bench.Stream(scratch: XMLParserScratch())
        let piece = ByteBuffer(string: String(repeating: chat, count: 10))
        return { iterations in
            var count = 0
            while count < iterations {
                var input = piece
                while let event = try? stream.parser.next(from: &input) {
                    if case .element(let element) = event, element.byteCount > 0 { count += 1 }
                }
            }
            return count
        }
    }

    private static func routing(_ bench: Bench, burst: Int, to address: String) -> (Int) -> Int {
        let (juliet, romeo) = bench.pair()
        let piece = ByteBuffer(string: String(repeating: message(to: address), count: burst))
        return { iterations in
            let before = romeo.transport.writes
            for _ in 0..<(iterations / burst) {
                juliet.read(piece)
                bench.commit()
            }
            precondition(romeo.transport.bytes > romeo.transport.writes - before, "nothing arrived")
            return iterations / burst * burst
        }
    }

    private static func managed(_ bench: Bench, burst: Int) -> (Int) -> Int {
        let (juliet, romeo) = bench.pair()
        for stream in [juliet, romeo] { stream.read(ByteBuffer(string: "<enable xmlns='urn:xmpp:sm:3'/>")) }
        let piece = ByteBuffer(string: String(repeating: chat, count: burst) + "<r xmlns='urn:xmpp:sm:3'/>")
        var acknowledged = 0
        return { iterations in
            let before = (messages: bench.store.messageCount, answers: juliet.transport.writes)
            for _ in 0..<(iterations / burst) {
                juliet.read(piece)
                bench.commit()
                acknowledged += burst
                romeo.read(ByteBuffer(string: "<a xmlns='urn:xmpp:sm:3' h='\(acknowledged)'/>"))
            }
            precondition(bench.store.messageCount - before.messages == iterations / burst * burst, "not every message was logged")
            precondition(juliet.transport.writes - before.answers == iterations / burst, "not every request was answered")
            return iterations / burst * burst
        }
    }

    private static func carbons(_ bench: Bench) -> (Int) -> Int {
        let other = { (bench: Bench) in
            let chamber = bench.stream("romeo", "chamber")
            chamber.read(ByteBuffer(string: "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"))
            bench.server.run()
            return chamber
        }
        let run = routing(bench, burst: 10, to: "romeo@capulet.example/orchard")
        let chamber = other(bench)
        return { iterations in
            let count = run(iterations)
            precondition(chamber.transport.writes > 0, "no copies")
            return count
        }
    }

    private static func presence(_ bench: Bench) -> (Int) -> Int {
        let contacts = (0..<100).map { "contact\($0)" }
        bench.server.createAccount("juliet")
        for contact in contacts { bench.server.befriend("juliet", contact) }
        let streams = contacts.map { bench.stream($0, "orchard") }
        for stream in streams { stream.read(ByteBuffer(string: "<presence/>")) }
        let juliet = bench.stream("juliet", "balcony")
        let piece = ByteBuffer(string: announcement)
        juliet.read(piece)
        bench.server.run()
        return { iterations in
            let before = streams.reduce(0) { $0 + $1.transport.bytes }
            for _ in 0..<iterations { juliet.read(piece) }
            precondition(streams.reduce(0) { $0 + $1.transport.bytes } - before > iterations * 100 * announcement.utf8.count, "not everybody heard")
            return iterations
        }
    }

    private static func publish(_ bench: Bench) -> (Int) -> Int {
        let contacts = (0..<100).map { "contact\($0)" }
        bench.server.createAccount("juliet")
        for contact in contacts { bench.server.befriend("juliet", contact) }
        let streams = contacts.map { bench.stream($0, "orchard") }
        let profile = EntityProfile(interests: ["http://jabber.org/protocol/mood"])
        for (contact, stream) in zip(contacts, streams) {
            stream.read(ByteBuffer(string: "<presence/>"))
            _ = bench.router.withResidentHome(bench.server.address(contact)) { $0.sessions[0].profile = profile }
        }
        let juliet = bench.stream("juliet", "balcony")
        let piece = ByteBuffer(
            string: "<iq type='set' id='p1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/mood'>"
                + "<item id='current'><mood xmlns='http://jabber.org/protocol/mood'><happy/><text>Because the course of true love ran smooth.</text></mood>"
                + "</item></publish></pubsub></iq>")
        juliet.read(piece)
        bench.server.run()
        return { iterations in
            let before = streams.reduce(0) { $0 + $1.transport.writes }
            for _ in 0..<iterations {
                juliet.read(piece)
                bench.server.run()
            }
            precondition(streams.reduce(0) { $0 + $1.transport.writes } - before == iterations * 100, "not everybody heard")
            return iterations
        }
    }

    private static func binding(_ bench: Bench) -> (Int) -> Int {
        bench.server.createAccount("juliet")
        // Keeps the account in memory.
        let kept = bench.stream("juliet", "chamber")
        return { iterations in
            for _ in 0..<iterations {
                let transport = DiscardingTransport()
                bench.bind("juliet", "balcony", transport)
                guard let session = transport.session else { preconditionFailure("not bound") }
                session.transportClosed()
                session.context.flush()
            }
            precondition(kept.transport.session != nil, "nobody is left")
            return iterations
        }
    }
}

enum Clock {
    static func cpuNanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
    }

    /// Allocations so far, if a library that counts them is preloaded: `long mc_count(void)`.
    static func mallocs() -> Int? {
        guard let symbol = dlsym(nil, "mc_count") else { return nil }
        typealias Count = @convention(c) () -> Int
        return unsafeBitCast(symbol, to: Count.self)()
    }
}

let wanted = CommandLine.arguments.dropFirst().first
let iterations = CommandLine.arguments.dropFirst(2).first.flatMap(Int.init)
if let wanted, Workload(rawValue: wanted) == nil {
    print("RouteBenchmark [\(Workload.allCases.map(\.rawValue).joined(separator: " | "))] [iterations]")
    exit(64)
}
for workload in Workload.allCases where wanted == nil || workload.rawValue == wanted {
    let run = workload.prepare(Bench(archives: workload.archives))
    let (mallocs, begin) = (Clock.mallocs(), Clock.cpuNanoseconds())
    let count = run(iterations ?? workload.usual)
    let each = (Clock.cpuNanoseconds() - begin) / max(count, 1)
    let perIteration = mallocs.map { before in ((Clock.mallocs() ?? before) - before) * 100 / max(count, 1) }
    print("\(workload.rawValue):", "\(each) ns,", perIteration.map { "\($0)/100 mallocs" } ?? "mallocs not counted")
}
