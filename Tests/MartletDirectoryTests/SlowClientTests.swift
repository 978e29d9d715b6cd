import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import NIOEmbedded
import Testing

@Suite("How long a directory client is waited for, and how much of it is taken")
struct SlowClientTests {
    private let channel: EmbeddedChannel

    init() throws {
        let settings = FrontEndSettings()
        let tree = EmbeddedTree([try BareJID(parsing: "example.org")])
        let machine = EmbeddedMachine(settings, tree, offersTLS: false, hasTLS: false, isProtected: true)
        let loop = EmbeddedEventLoop()
        let connection = FrontEndConnection(
            machine, FrontEndServices(settings, PlayedPresence([:]), log: TestDirectory.log), tls: nil, on: loop)
        channel = EmbeddedChannel(loop: loop)
        try channel.pipeline.syncOperations.addHandler(connection)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 389)).wait()
    }

    private func wait(_ seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }

    private func notice() throws -> LDAPResultCode? {
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
            guard bytes.readableBytes > 0, case .disconnection(let result) = UnsolicitedNotification(try LDAPMessage(decoding: bytes)) else { continue }
            return result.code
        }
        return nil
    }

    @Test("who has not bound and says nothing is let go after a minute, and told so (RFC 4511 §4.4.1)")
    func silence() throws {
        wait(55)
        #expect(channel.isActive)
        wait(5)
        #expect(!channel.isActive)
        #expect(try notice() == .unavailable)
    }

    @Test("a message has half a minute from its first byte to its last, however it trickles in")
    func trickle() throws {
        try channel.writeInbound(ByteBuffer(bytes: [0x30, 0x20]))
        for _ in 0..<5 {
            wait(5)
            try channel.writeInbound(ByteBuffer(bytes: [0]))
        }
        #expect(channel.isActive)
        wait(5)
        #expect(!channel.isActive)
    }

    @Test("before a bind a message has 64 KiB at most", arguments: [65_536, 65_537])
    func length(_ bytes: Int) throws {
        let content = bytes - 5
        try channel.writeInbound(ByteBuffer(bytes: [0x30, 0x83, UInt8(content >> 16 & 0xFF), UInt8(content >> 8 & 0xFF), UInt8(content & 0xFF)]))
        #expect(channel.isActive == (bytes == 65_536))
        #expect(try notice() == (bytes == 65_536 ? nil : .protocolError))
    }

    @Test("a question is answered, and the client stays")
    func question() throws {
        var bytes = ByteBuffer()
        LDAPMessage(1, .searchRequest(SearchRequest("", .baseObject, .present("objectClass"), attributes: ["+"]))).encode(into: &bytes)
        try channel.writeInbound(bytes)
        #expect(try channel.readOutbound(as: ByteBuffer.self) != nil)
        wait(55)
        #expect(channel.isActive)
    }
}
