import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite struct ProxyTests {
    static let v2Signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    static func v2(command: UInt8 = 0x21, family: UInt8, _ body: [UInt8]) -> [UInt8] {
        v2Signature + [command, family, UInt8(body.count >> 8), UInt8(body.count & 0xFF)] + body
    }

    static let v2IPv4 = v2(family: 0x11, [192, 0, 2, 7, 10, 0, 0, 1, 0x9C, 0x40, 0x14, 0x66])
    static let v2IPv6 = v2(family: 0x21, [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [9] + [UInt8](repeating: 0, count: 16) + [0x9C, 0x40, 0x14, 0x66])

    static func read(_ bytes: [UInt8]) throws(ProxyHeader.Malformed) -> (ProxyHeader?, rest: String) {
        var buffer = ByteBuffer(bytes: bytes)
        let header = try ProxyHeader.read(from: &buffer)
        return (header, String(buffer: buffer))
    }

    @Test("a header of version 1 gives the peer's address and takes nothing else (§2.1)", arguments: [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 40000 5222\r\n", ProxyHeader.peer(NetworkAddress(ipv4: 0xC000_0207), port: 40000)),
        ("PROXY TCP6 2001:db8::9 ::1 40000 5222\r\n", .peer(NetworkAddress(high: 0x2001_0DB8 << 32, low: 9), port: 40000)),
        ("PROXY UNKNOWN\r\n", .local),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", .local),
    ])
    func version1(text: String, expected: ProxyHeader) throws {
        let (header, rest) = try Self.read(Array((text + "<stream").utf8))
        #expect(header == expected)
        #expect(rest == "<stream")
    }

    @Test("a header of version 2 gives the peer's address, extensions are skipped (§2.2)")
    func version2() throws {
        #expect(try Self.read(Self.v2IPv4 + Array("<s".utf8)) == (.peer(NetworkAddress(ipv4: 0xC000_0207), port: 40000), rest: "<s"))
        #expect(try Self.read(Self.v2IPv6).0 == .peer(NetworkAddress(high: 0x2001_0DB8 << 32, low: 9), port: 40000))
        let extended = Self.v2(family: 0x11, [192, 0, 2, 7, 10, 0, 0, 1, 0x9C, 0x40, 0x14, 0x66, 0x04, 0, 1, 0])
        #expect(try Self.read(extended).0 == .peer(NetworkAddress(ipv4: 0xC000_0207), port: 40000))
        #expect(try Self.read(Self.v2(command: 0x20, family: 0, [])).0 == .local)
        #expect(try Self.read(Self.v2(family: 0x31, [UInt8](repeating: 0, count: 216))).0 == .local)
    }

    @Test("what is no header is refused, and taken for none", arguments: [
        "<stream:stream>", "PROXX", "PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 40000 99999\r\n",
        "PROXY TCP4 2001:db8::9 ::1 1 2\r\n", "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n", "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n", "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
        "PROXY " + String(repeating: "1", count: 110), "PROXY \u{0}\r\n", "\r\n",
    ])
    func malformed(text: String) {
        var buffer = ByteBuffer(string: text)
        #expect(throws: ProxyHeader.Malformed.self) {
            let header = try ProxyHeader.read(from: &buffer)
            // Two line ends may yet become the signature of version 2.
            if header == nil, text == "\r\n" { throw ProxyHeader.Malformed() }
        }
        #expect(String(buffer: buffer) == text)
    }

    @Test("a binary header of another version, with a wild length or too short an address is refused", arguments: [
        v2(command: 0x31, family: 0x11, [UInt8](repeating: 0, count: 12)), v2(command: 0x2F, family: 0x11, [UInt8](repeating: 0, count: 12)),
        v2(family: 0x11, [1, 2, 3]), v2(family: 0x21, [UInt8](repeating: 0, count: 35)),
        v2Signature + [0x21, 0x11, 0xFF, 0xFF],
    ])
    func malformedBinary(bytes: [UInt8]) {
        #expect(throws: ProxyHeader.Malformed.self) { try Self.read(bytes) }
    }

    @Test("every beginning of a header waits for more", arguments: [Array("PROXY TCP4 192.0.2.7 10.0.0.1 40000 5222\r\n".utf8), v2IPv4, v2IPv6])
    func beginnings(header: [UInt8]) throws {
        for length in 0..<header.count { #expect(try Self.read(Array(header.prefix(length))).0 == nil) }
    }

    @Test("no bytes make the reader trap, and what waits for more is short")
    func mutations() {
        var state: UInt64 = 7
        func random() -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33)
        }
        let seeds = [Array("PROXY TCP6 2001:db8::9 ::1 40000 5222\r\n".utf8), Self.v2IPv4, Self.v2IPv6]
        for round in 0..<20_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0...(random() % 4) {
                switch random() % 3 {
                case 0: bytes[random() % bytes.count] = UInt8(truncatingIfNeeded: random())
                case 1: bytes.insert(UInt8(truncatingIfNeeded: random()), at: random() % bytes.count)
                default: if bytes.count > 1 { bytes.remove(at: random() % bytes.count) }
                }
            }
            var buffer = ByteBuffer(bytes: bytes)
            let header = try? ProxyHeader.read(from: &buffer)
            if header == .some(.none) { #expect(bytes.count < 16 + ProxyHeader.extensionBytesMax) }
        }
    }

    // MARK: On a listener

    static var listener: ListenerConfiguration {
        var listener = ListenerConfiguration.plain
        listener.proxySources = [NetworkBlock("127.0.0.1/32")].compactMap { $0 }
        return listener
    }

    @Test("a trusted proxy's header is believed, in both versions", arguments: [Array("PROXY TCP4 192.0.2.7 10.0.0.1 40000 5222\r\n".utf8), v2IPv4])
    func trusted(header: [UInt8]) async throws {
        var settings = NetworkSettings.test
        settings.admission.connectionsPerAddressMax = 1
        try await TestServer.with(Self.listener, settings: settings) { _, port in
            let client = try await TestClient.connect(to: port)
            for byte in header { try await client.send([byte]) }
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            // It counts as 192.0.2.7's, not as the proxy's.
            let second = try await TestClient.connect(to: port)
            try await second.send(header)
            #expect(try await second.hearEnd() == "")
            let other = try await TestClient.connect(to: port)
            try await other.send("PROXY TCP4 192.0.2.8 10.0.0.1 40000 5222\r\n")
            _ = try await other.say(TestClient.header(), hear: "</stream:features>")
        }
    }

    @Test("a header and the stream in one segment are told apart")
    func together() async throws {
        try await TestServer.with(Self.listener) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.send("PROXY TCP4 192.0.2.7 10.0.0.1 40000 5222\r\n" + TestClient.header())
            _ = try await client.hear("</stream:features>")
        }
    }

    @Test("TLS begins behind the header")
    func directTLS() async throws {
        var listener = ListenerConfiguration.directTLS
        listener.proxySources = Self.listener.proxySources
        try await TestServer.with(listener) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.send(Self.v2IPv4)
            try await client.startTLS("mantua.example", trust: "mantua.example.pem")
            _ = try await client.say(TestClient.header("mantua.example"), hear: "</stream:features>")
        }
    }

    @Test("a trusted proxy without a header is turned away")
    func missing() async throws {
        try await TestServer.with(Self.listener) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.send(TestClient.header())
            #expect(try await client.hearEnd() == "")
        }
    }

    @Test("nobody else is believed")
    func spoofed() async throws {
        var listener = ListenerConfiguration.plain
        listener.proxySources = [NetworkBlock("10.0.0.0/8")].compactMap { $0 }
        try await TestServer.with(listener) { _, port in
            let spoofer = try await TestClient.connect(to: port)
            let end = try await spoofer.say("PROXY TCP4 192.0.2.7 10.0.0.1 40000 5222\r\n" + TestClient.header(), hear: "</stream:stream>")
            #expect(end.contains("<not-well-formed"))
            let honest = try await TestClient.connect(to: port)
            _ = try await honest.say(TestClient.header(), hear: "</stream:features>")
        }
    }
}
