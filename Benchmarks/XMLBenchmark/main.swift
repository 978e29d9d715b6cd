// What it costs to parse a stanza, to ask it what the server asks, and to write it: CPU nanoseconds, and allocations where the preloaded counter of scripts/bench-counts is there.
//
//     XMLBenchmark [seconds for each workload]
//     XMLBenchmark <workload> <stanzas>          as many as that, in passes over 64: for scripts/bench-counts

import MartletXML
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

enum Benchmark {
    /// The server knows these.
    static let known: [Namespace] = [
        "http://jabber.org/protocol/chatstates", "urn:xmpp:sid:0", "http://jabber.org/protocol/caps", "vcard-temp:x:update",
        "http://jabber.org/protocol/pubsub", "eu.siacs.conversations.axolotl",
    ]

    static let header = "<stream:stream to='capulet.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

    /// 332 bytes, as Conversations sends them.
    static let chat = padded(
        "<message to='romeo@montague.example/orchard' from='juliet@capulet.example/balcony' type='chat' id='", length: 332,
        "'><body>Wherefore art thou, Romeo? Deny thy father &amp; refuse thy name.</body><active xmlns='http://jabber.org/protocol/chatstates'/>"
            + "<origin-id xmlns='urn:xmpp:sid:0' id='4d6ddc40'/></message>")
    static let presence =
        "<presence from='juliet@capulet.example/balcony' to='romeo@montague.example' id='RMHM-12'><show>away</show><priority>5</priority>"
        + "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://conversations.im' ver='Z7vHpS3sCYkvxZFSMGnHPsYXdHI='/>"
        + "<x xmlns='vcard-temp:x:update'><photo>8c2a0ac3b9ef4d2c71f6ad8c8cd2ad6d67d2d1c3</photo></x></presence>"
    static let publish =
        "<iq type='set' id='pep-2'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='eu.siacs.conversations.axolotl.bundles:587426129'>"
        + "<item id='current'><bundle xmlns='eu.siacs.conversations.axolotl'><prekeys>"
        + (1...42).map { "<preKeyPublic preKeyId='\($0)'>BWkVmXv0dQ6ZQm2dVbGqQ4wS2yqj2qkS7c0pW2n1aaBB</preKeyPublic>" }.joined()
        + "</prekeys></bundle></item></publish></pubsub></iq>"

    static func padded(_ before: String, length: Int, _ after: String) -> String {
        before + String(repeating: "7", count: max(1, length - before.utf8.count - after.utf8.count)) + after
    }

    /// Feeds the same stanzas over and over in pieces of `sizes`; answers stanzas parsed.
    static func parse(_ pieces: [ByteBuffer], into parser: inout XMLStreamParser) throws(XMLError) -> Int {
        var count = 0
        for piece in pieces {
            var input = piece
            while let event = try parser.next(from: &input) {
                if case .element(let element) = event, element.byteCount > 0 { count += 1 }
            }
        }
        return count
    }

    /// How long a workload goes on.
    enum Extent {
        case seconds(Double), stanzas(Int)
    }

    static func run(_ name: String, _ stanza: String, sizes: [Int], _ extent: Extent) throws(XMLError) {
        let all = ByteBuffer(string: String(repeating: stanza, count: 64))
        var pieces: [ByteBuffer] = []
        var rest = all
        var index = 0
        while let piece = rest.readSlice(length: min(sizes[index % sizes.count], rest.readableBytes)), piece.readableBytes > 0 {
            pieces.append(piece)
            index += 1
        }
        var parser = XMLStreamParser(limits: .authenticated)
        var start = ByteBuffer(string: header)
        _ = try parser.next(from: &start)
        var count = try parse(pieces, into: &parser)
        count = 0
        let allocations = mallocs()
        let begin = cpuNanoseconds()
        switch extent {
        case .seconds(let seconds):
            repeat { count += try parse(pieces, into: &parser) } while Double(cpuNanoseconds() - begin) < seconds * 1e9
        case .stanzas(let stanzas):
            repeat { count += try parse(pieces, into: &parser) } while count < stanzas
        }
        let each = Double(cpuNanoseconds() - begin) / Double(count)
        let perStanza = allocations.map { before in (mallocs() ?? before) - before }.map { Double($0) / Double(count) }
        let mallocText = perStanza.map { String(Int(($0 * 100).rounded())) + "/100 mallocs" } ?? "mallocs not counted"
        print(name, "(\(stanza.utf8.count) B):", "\(Int(each)) ns,", mallocText)
    }

    /// What is done with a chat message that has been parsed.
    static let works: [(name: String, work: @Sendable (FlatElement) -> Int)] = [("chat-ask", ask), ("chat-splice", splice), ("chat-omit", omit)]

    static let (from, to) = (Array("juliet@capulet.example/balcony".utf8), Array("romeo@montague.example/orchard".utf8))

    /// Questions of the kind that stages and features ask on a message's way.
    static func ask(_ stanza: FlatElement) -> Int {
        let root = stanza.root
        var found = root.isNamed("message", .client) && root.attributeEquals("type", "chat") ? 1 : 0
        for name in ["to", "from", "id"] as [StaticString] {
            found += root.withAttribute(name) { $0.count } ?? 0
        }
        for (name, namespace) in asked where root.hasChild(name, namespace) { found += 1 }
        return found
    }

    static let stanzaIDs: Namespace = "urn:xmpp:sid:0"
    static let asked: [(StaticString, Namespace)] = [
        ("body", .client), ("stanza-id", stanzaIDs), ("delay", "urn:xmpp:delay"), ("no-store", "urn:xmpp:hints"), ("private", "urn:xmpp:carbons:2"),
    ]

    /// From the bytes as they came, with the server's addresses and what it adds.
    static func splice(_ stanza: FlatElement) -> Int {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: stanza.byteCount + 256))
        let isSpliced = from.withUnsafeBytes { from in
            to.withUnsafeBytes { to in
                writer.splice(stanza, from: from, to: to) { $0.emptyElement("stanza-id", stanzaIDs, ("id", 1_764_000_000_000_000_000), ("by", to)) }
            }
        }
        precondition(isSpliced, "it is canonical")
        return writer.buffer.readableBytes
    }

    /// Without one of its children.
    static func omit(_ stanza: FlatElement) -> Int {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: stanza.byteCount + 256))
        writer.open(copying: stanza.root, setting: ["from": "juliet@capulet.example/balcony", "to": "romeo@montague.example/orchard"])
        writer.appendContent(of: stanza.root) { !$0.isNamed("origin-id", stanzaIDs) }
        writer.close()
        return writer.buffer.readableBytes
    }

    static func run(_ name: String, _ work: (FlatElement) -> Int, _ extent: Extent) throws(XMLError) {
        let stanza = try parseElement(ByteBuffer(string: chat), limits: .authenticated)
        var (count, bytes) = (0, 0)
        let begin = cpuNanoseconds()
        switch extent {
        case .seconds(let seconds):
            repeat {
                bytes += work(stanza)
                count += 1
            } while Double(cpuNanoseconds() - begin) < seconds * 1e9
        case .stanzas(let stanzas):
            while count < stanzas {
                bytes += work(stanza)
                count += 1
            }
        }
        print(name + ":", (cpuNanoseconds() - begin) / max(count, 1), "ns,", bytes / max(count, 1), "bytes")
    }

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

let arguments = CommandLine.arguments.dropFirst()
let odd = [1, 700, 13, 1448, 333, 2900, 77, 512]
let wanted = arguments.first.flatMap { Double($0) == nil ? $0 : nil }
let extent: Benchmark.Extent =
    wanted == nil ? .seconds(arguments.first.flatMap(Double.init) ?? 0.3) : .stanzas(arguments.dropFirst().first.flatMap { Int($0) } ?? 64)
precondition(!Benchmark.known.isEmpty)
for (name, stanza) in [("chat", Benchmark.chat), ("presence", Benchmark.presence), ("publish", Benchmark.publish)] {
    for (workload, sizes) in [(name + "-whole", [stanza.utf8.count]), (name + "-pieces", odd)] where wanted == nil || wanted == workload {
        try Benchmark.run(workload, stanza, sizes: sizes, extent)
    }
}
for (workload, work) in Benchmark.works where wanted == nil || wanted == workload {
    try Benchmark.run(workload, work, extent)
}
