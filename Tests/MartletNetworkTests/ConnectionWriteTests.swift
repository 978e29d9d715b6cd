import Logging
import MartletCore
import MartletNetwork
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
}
