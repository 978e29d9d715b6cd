import MartletNetwork
import NIOCore
import NIOEmbedded
import NIOSSL
import Testing

@Suite("What is asked of TLS")
struct TLSProfileTests {
    /// What a client offers, and what comes of it under each profile.
    struct Offer: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let outcomes: [TLSProfile: TLSVersion]
        let change: @Sendable (inout TLSConfiguration) -> Void

        init(_ name: String, _ outcomes: [TLSProfile: TLSVersion], _ change: @escaping @Sendable (inout TLSConfiguration) -> Void) {
            (testDescription, self.outcomes, self.change) = (name, outcomes, change)
        }

        static func older(_ name: String, _ cipher: NIOTLSCipher, isTaken: Bool) -> Offer {
            Offer(name, isTaken ? [.intermediate: .tlsv12] : [:]) { configuration in
                configuration.maximumTLSVersion = .tlsv12
                configuration.cipherSuiteValues = [cipher]
            }
        }

        static func group(_ name: String, _ group: NIOTLSCurve, _ profiles: [TLSProfile]) -> Offer {
            Offer(name, Dictionary(uniqueKeysWithValues: profiles.map { ($0, .tlsv13) })) { configuration in
                configuration.minimumTLSVersion = .tlsv13
                configuration.curves = [group]
            }
        }
    }

    static let ofEither: [Offer] = [
        Offer("TLS 1.1", [:]) { ($0.minimumTLSVersion, $0.maximumTLSVersion) = (.tlsv1, .tlsv11) },
        Offer("everything", [.intermediate: .tlsv13, .modern: .tlsv13, .strict: .tlsv13]) { _ in },
        .group("P-256", .secp256r1, [.intermediate, .modern]), .group("X25519", .x25519, [.intermediate, .modern]),
        .group("P-384", .secp384r1, [.intermediate, .modern, .strict]),
    ]
    static let ofECDSA: [Offer] = [
        .older("AES-128-GCM", .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, isTaken: true), .older("AES-256-GCM", .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, isTaken: true),
        .older("ChaCha20", .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, isTaken: true), .older("AES-CBC", .TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, isTaken: false),
    ]
    static let ofRSA: [Offer] = [
        .older("AES-128-GCM", .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, isTaken: true), .older("AES-256-GCM", .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, isTaken: true),
        .older("ChaCha20", .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, isTaken: true), .older("AES-CBC", .TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, isTaken: false),
        .older("no forward secrecy", .TLS_RSA_WITH_AES_128_GCM_SHA256, isTaken: false),
        .older("no forward secrecy, CBC", .TLS_RSA_WITH_AES_256_CBC_SHA, isTaken: false),
    ]

    @Test("with a key of ECDSA", arguments: TLSProfile.allCases, ofEither + ofECDSA)
    func ecdsa(profile: TLSProfile, offer: Offer) throws {
        #expect(try Self.version("verona.example", profile, offer) == offer.outcomes[profile])
    }

    @Test("with one of RSA", arguments: TLSProfile.allCases, ofEither + ofRSA)
    func rsa(profile: TLSProfile, offer: Offer) throws {
        #expect(try Self.version("rsa.example", profile, offer) == offer.outcomes[profile])
    }

    /// What is agreed on; `nil` if nothing is.
    private static func version(_ fixture: String, _ profile: TLSProfile, _ offer: Offer) throws -> TLSVersion? {
        let store = CertificateStore()
        try store.load(
            [CertificateFiles(domain: "verona.example", chain: Fixtures.certificate("\(fixture).pem"), key: Fixtures.certificate("\(fixture).key"))],
            now: Fixtures.now)
        let context = try #require(store.certificate(of: "verona.example")?.context(profile))
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        offer.change(&configuration)
        let handler = try NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: "verona.example")
        let (client, server) = (EmbeddedChannel(), EmbeddedChannel())
        try server.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        try client.pipeline.syncOperations.addHandler(handler)
        let place = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        for channel in [server, client] { channel.connect(to: place, promise: nil) }
        guard (try? shake(client, server)) != nil else { return nil }
        return handler.tlsVersion
    }

    private struct Unfinished: Error {}

    /// Carries what each says to the other, until both have nothing more to say.
    private static func shake(_ client: EmbeddedChannel, _ server: EmbeddedChannel) throws {
        let said = ByteBuffer(string: "a word")
        client.writeAndFlush(said, promise: nil)
        for _ in 0..<10 {
            while let bytes = try client.readOutbound(as: ByteBuffer.self) { try server.writeInbound(bytes) }
            while let bytes = try server.readOutbound(as: ByteBuffer.self) { try client.writeInbound(bytes) }
        }
        guard try server.readInbound(as: ByteBuffer.self) == said else { throw Unfinished() }
    }
}
