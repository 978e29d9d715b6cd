import Logging
import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOCore
import NIOEmbedded
import Testing

@Suite("What a connection hands to the network")
struct ConnectionWriteTests {
    private let channel = EmbeddedChannel()
    private let connection: ClientConnection

    init() throws {
        let loop = channel.embeddedEventLoop
        let store = InMemoryStore()
        let hosts = try HostTable([Host(domain: BareJID(parsing: "verona.example"), features: [])])
        let router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: NoAudit())
        let client = ClientService(
            router: router, accounts: TestAccounts(), certificates: try CertificateStore([], now: Fixtures.now), settings: .test,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let context = LoopContext(loop: loop, hosts: hosts, store: store, time: SystemTime(), random: SystemRandom())
        connection = ClientConnection(ClientListener(.plain, client), NetworkLoop(loop, context))
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    private func pieces() throws -> [String] {
        var pieces: [String] = []
        while let piece = try channel.readOutbound(as: ByteBuffer.self) { pieces.append(String(buffer: piece)) }
        return pieces
    }

    private static let header = "<stream:stream to='verona.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

    /// The beginning of a log-in, about which the account source is asked; it answers when the loop runs.
    private static func request() throws -> String {
        let client = ScramClient(hash: .sha1, username: "juliet", password: try #require(PreparedPassword("pencil")), nonce: ScramNonce(random: [UInt8](0..<18)))
        let first = Base64.encode(client.first())
        return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>\(first)</auth>"
    }

    private func say(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    @Test("a client that sends its request with its header hears both answers in one piece; one that waits hears each as it comes")
    func onePiece() throws {
        try say(Self.header + Self.request())
        #expect(try pieces() == [])
        channel.embeddedEventLoop.run()
        let joined = try pieces()
        #expect(joined.count == 1 && joined.joined().contains("</stream:features><challenge "))
        let other = try ConnectionWriteTests()
        try other.say(Self.header)
        #expect(try other.pieces().count == 1)
        try other.say(Self.request())
        other.channel.embeddedEventLoop.run()
        #expect(try other.pieces().count == 1)
    }

    @Test("while an answer is to come one read is taken ahead, and the next when it has been looked at")
    func readAhead() throws {
        let calls = Calls()
        try channel.pipeline.syncOperations.addHandler(calls, position: .first)
        try say(Self.header)
        channel.read()
        #expect(calls.reads == 1)
        try say(Self.request())
        channel.read()
        #expect(calls.reads == 2)
        try say("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        channel.read()
        #expect(calls.reads == 2)
        channel.embeddedEventLoop.run()
        #expect(calls.reads == 3)
        #expect(try pieces().joined().contains("</challenge><failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/></failure>"))
    }

    @Test("what is flushed behind a gate goes out once, when it opens, or before the channel closes")
    func gate() throws {
        let (channel, calls, gate) = (EmbeddedChannel(), Calls(), FlushGate())
        for handler in [calls, gate] as [any ChannelHandler] { try channel.pipeline.syncOperations.addHandler(handler) }
        func flushTwice() { for _ in 0..<2 { channel.flush() } }
        flushTwice()
        #expect(calls.all == [])
        for _ in 0..<2 { gate.open(try channel.pipeline.syncOperations.context(handler: gate)) }
        #expect(calls.all == [.flush])
        flushTwice()
        channel.close(promise: nil)
        #expect(calls.all == [.flush, .flush, .close])
    }

    @Test("the stanzas of one burst become one piece, and nobody else's bytes change")
    func burst() throws {
        let shared = ["<a/>", "<b/>", "<c/>", "<d/>"].map { ByteBuffer(string: $0) }
        for bytes in shared { connection.write(bytes) }
        #expect(connection.pendingBytes == 16)
        #expect(try pieces() == [])
        connection.flush()
        #expect(try pieces() == ["<a/><b/><c/><d/>"])
        #expect(shared.map { String(buffer: $0) } == ["<a/>", "<b/>", "<c/>", "<d/>"])
        #expect(connection.pendingBytes == 0)
        connection.write(shared[0])
        connection.flush()
        connection.flush()
        #expect(try pieces() == ["<a/>"])
    }

    @Test("a piece has at most 16,384 bytes, and a longer stanza is one by itself")
    func longest() throws {
        let half = String(repeating: "h", count: 8_192)
        for text in [half, half, "x"] { connection.write(ByteBuffer(string: text)) }
        connection.flush()
        #expect(try pieces() == [half + half, "x"])
        let long = String(repeating: "l", count: 16_385)
        for text in ["x", long, "y"] { connection.write(ByteBuffer(string: text)) }
        connection.flush()
        #expect(try pieces() == ["x", long, "y"])
    }

    @Test("a stanza for many is copied into the piece up to 4,096 bytes; a longer one is handed on as it is, but for its addressee", arguments: [0, 1])
    func shared(more: Int) throws {
        let recipient = try BareJID(parsing: "romeo@verona.example").with(resourcepart: "orchard")
        func stanza(_ text: String) -> SharedStanza {
            let message = StanzaBuilder.message(.groupchat, from: .full(recipient), to: nil) { $0.element("body", .client, text: text) }
            return SharedStanza(message, kind: .message(.groupchat), from: .full(recipient))
        }
        connection.write(stanza("x"), to: recipient)
        let shortest = connection.pendingBytes
        connection.flush()
        #expect(try pieces().count == 1)
        let long = stanza(String(repeating: "x", count: 1 + ClientConnection.ownPieceBytes - shortest + more))
        for _ in 0..<2 { connection.write(long, to: recipient) }
        #expect(connection.pendingBytes == 2 * (ClientConnection.ownPieceBytes + more))
        connection.flush()
        let written = try pieces()
        #expect(written.count == (more == 0 ? 1 : 4))
        #expect(written.joined().utf8.count == 2 * (ClientConnection.ownPieceBytes + more))
    }
}

/// What comes through to the network.
private final class Calls: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    enum Call { case read, flush, close }

    private(set) var all: [Call] = []
    var reads: Int { all.count { $0 == .read } }

    func read(context: ChannelHandlerContext) {
        all.append(.read)
        context.read()
    }

    func flush(context: ChannelHandlerContext) {
        all.append(.flush)
        context.flush()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        all.append(.close)
        context.close(mode: mode, promise: promise)
    }
}
