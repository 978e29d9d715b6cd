import MartletNetwork
import NIOCore
import NIOEmbedded
import NIOSSL
import Testing

@Suite("What a client says first (RFC 8446 §4.1.2)")
struct ClientHelloTests {
    /// As the library writes it.
    private static func bytes(_ change: (inout TLSConfiguration) -> Void = { _ in }) throws -> ByteBuffer {
        var configuration = TLSConfiguration.makeClientConfiguration()
        change(&configuration)
        let channel = EmbeddedChannel()
        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: "verona.example"))
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        return try #require(try channel.readOutbound(as: ByteBuffer.self))
    }

    private static func hello(_ change: (inout TLSConfiguration) -> Void = { _ in }) throws -> ClientHello {
        guard case .hello(let hello) = ClientHello.read(try bytes(change)) else { throw Unread() }
        return hello
    }

    private struct Unread: Error {}

    private static let p256 = CertificateKeyKind.ecdsa(scheme: 0x0403)
    private static let p384 = CertificateKeyKind.ecdsa(scheme: 0x0503)

    @Test("a hello is read when it is whole, and not before")
    func whole() throws {
        let bytes = try Self.bytes()
        for count in 0..<bytes.readableBytes { #expect(ClientHello.read(bytes.getSlice(at: bytes.readerIndex, length: count)!) == .incomplete) }
        let hello = try Self.hello()
        #expect(hello.speaksTLS13 && hello.signatureAlgorithms?.contains(0x0403) == true && hello.cipherSuites.contains(0xC02B))
        #expect(hello.takes(Self.p256) && hello.takes(.rsa) && hello.takes(.other))
    }

    @Test("over TLS 1.3 the curve has to be one that the client verifies; before, the cipher has to name ECDSA, and any curve does")
    func kinds() throws {
        let curve = try Self.hello { $0.verifySignatureAlgorithms = [.ecdsaSecp256R1Sha256, .rsaPssRsaeSha256] }
        #expect(curve.takes(Self.p256) && !curve.takes(Self.p384))
        let rsa = try Self.hello { $0.verifySignatureAlgorithms = [.rsaPssRsaeSha256, .rsaPkcs1Sha256] }
        #expect(!rsa.takes(Self.p256) && rsa.takes(.rsa))
        let older = try Self.hello { configuration in
            configuration.maximumTLSVersion = .tlsv12
            configuration.verifySignatureAlgorithms = [.ecdsaSecp256R1Sha256]
        }
        #expect(!older.speaksTLS13 && older.takes(Self.p256) && older.takes(Self.p384))
        let olderRSA = try Self.hello { configuration in
            configuration.maximumTLSVersion = .tlsv12
            configuration.cipherSuiteValues = [.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        }
        #expect(!olderRSA.takes(Self.p256))
    }

    @Test("what is no hello is none", arguments: ["<stream:stream", "GET / HTTP/1.1", "\u{16}\u{3}\u{1}\u{7F}\u{7F}", "\u{16}\u{3}\u{1}\u{0}\u{1}\u{2}", "\u{16}\u{3}\u{1}\u{0}\u{0}"])
    func nonsense(text: String) { #expect(ClientHello.read(ByteBuffer(string: text)) == .none) }

    @Test("whatever byte of it is another one, it is read or not, and no more")
    func changed() throws {
        let bytes = try Self.bytes()
        for index in 0..<bytes.readableBytes {
            for value: UInt8 in [0, 1, 0x7F, 0xFF] {
                var changed = bytes
                changed.setInteger(value, at: bytes.readerIndex + index)
                if case .hello(let hello) = ClientHello.read(changed) { #expect(hello.cipherSuites.count < 32_768) }
            }
        }
    }

    @Test("of two certificates the client is shown one that it can verify, of ECDSA if it can, whichever is first", arguments: [true, false])
    func choice(isFirst: Bool) throws {
        let (ecdsa, rsa) = (Fixtures.files("verona.example"), Fixtures.files("rsa.example"))
        let (first, second) = isFirst ? (ecdsa, rsa) : (rsa, ecdsa)
        let files = CertificateFiles(domain: "verona.example", chain: first.chain, key: first.key, second: .init(chain: second.chain, key: second.key))
        let store = try CertificateStore([files], now: Fixtures.now)
        let served = try #require(store.certificate(of: "verona.example"))
        #expect(served.suited(to: try Self.hello()).file == ecdsa.chain)
        #expect(served.suited(to: try Self.hello { $0.verifySignatureAlgorithms = [.rsaPssRsaeSha256] }).file == rsa.chain)
        #expect(served.suited(to: nil).file == first.chain)
        // What an authentication is bound to is the one that is shown.
        #expect(served.bindings != served.second?.bindings && served.allExpiring.map(\.file) == [first.chain, second.chain])
        let alone = try #require(try CertificateStore([ecdsa], now: Fixtures.now).certificate(of: "verona.example"))
        #expect(alone.suited(to: try Self.hello { $0.verifySignatureAlgorithms = [.rsaPssRsaeSha256] }) === alone)
    }

    @Test("a second certificate is read with the first, or neither")
    func faults() throws {
        let first = Fixtures.files("verona.example")
        let files = CertificateFiles(
            domain: "verona.example", chain: first.chain, key: first.key, second: .init(chain: Fixtures.certificate("rsa.example.pem"), key: first.key))
        let error = #expect(throws: CertificateError.self) { try CertificateStore([files], now: Fixtures.now) }
        #expect(error?.reason == .keyDoesNotMatch)
    }
}
