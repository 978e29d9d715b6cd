import Crypto
import CryptoExtras
import Foundation
import MartletNetwork
import NIOCore
import NIOEmbedded
import NIOSSL
import SwiftASN1
import Testing
import X509

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

    /// How one end of a handshake proves that it has its key.
    struct Proof: Sendable, CustomTestStringConvertible {
        let key: KeyKind
        let algorithm: SignatureAlgorithm
        var isTakenBy12 = true
        var isTakenBy13 = true

        var testDescription: String { "\(key) and \(String(algorithm.rawValue, radix: 16))" }
    }

    enum KeyKind: Sendable, CaseIterable {
        case p256, p384, p521, ed25519, rsa

        func make() throws -> Certificate.PrivateKey {
            switch self {
            case .p256: .init(P256.Signing.PrivateKey())
            case .p384: .init(P384.Signing.PrivateKey())
            case .p521: .init(P521.Signing.PrivateKey())
            case .ed25519: .init(Curve25519.Signing.PrivateKey())
            case .rsa: .init(try _RSA.Signing.PrivateKey(keySize: .bits2048))
            }
        }
    }

    static let proofs: [Proof] = [
        Proof(key: .p256, algorithm: .ecdsaSecp256R1Sha256), Proof(key: .p384, algorithm: .ecdsaSecp384R1Sha384),
        Proof(key: .p521, algorithm: .ecdsaSecp521R1Sha512), Proof(key: .ed25519, algorithm: .ed25519), Proof(key: .rsa, algorithm: .rsaPssRsaeSha256),
        Proof(key: .rsa, algorithm: .rsaPssRsaeSha384), Proof(key: .rsa, algorithm: .rsaPssRsaeSha512),
        Proof(key: .rsa, algorithm: .rsaPkcs1Sha256, isTakenBy13: false), Proof(key: .rsa, algorithm: .rsaPkcs1Sha384, isTakenBy13: false),
        Proof(key: .rsa, algorithm: .rsaPkcs1Sha512, isTakenBy13: false),
        Proof(key: .rsa, algorithm: .rsaPkcs1Sha1, isTakenBy12: false, isTakenBy13: false),
        Proof(key: .p256, algorithm: .ecdsaSha1, isTakenBy12: false, isTakenBy13: false),
    ]

    @Test("a client signs the handshake with a key of any kind, and not with SHA-1 (RFC 9155 §2)", arguments: [TLSVersion.tlsv12, .tlsv13], proofs)
    func clientProof(version: TLSVersion, proof: Proof) throws {
        let (chain, key) = try Self.credentials(proof.key)
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateVerification = .none
        (client.minimumTLSVersion, client.maximumTLSVersion) = (version, version)
        (client.certificateChain, client.privateKey, client.signingSignatureAlgorithms) = (chain, key, [proof.algorithm])
        let asking = try #require(try Self.served("verona.example", asksClients: true).asking(.intermediate))
        let server = NIOSSLServerHandler(context: asking) { _, promise in promise.succeed(.certificateVerified) }
        let handler = try NIOSSLClientHandler(context: NIOSSLContext(configuration: client), serverHostname: "verona.example")
        // One that has a key and can sign nothing that it is asked for ends the handshake itself, in place of showing no certificate.
        #expect(Self.version(handler, server) == (Self.isTaken(proof, version) ? version : nil))
    }

    @Test("and so does a server that is called, with the ciphers and curves of TLS 1.2 as far as they go", arguments: [TLSVersion.tlsv12, .tlsv13], proofs)
    func serverProof(version: TLSVersion, proof: Proof) throws {
        let (chain, key) = try Self.credentials(proof.key)
        var (client, server) = (TLSConfiguration.makeClientConfiguration(), TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key))
        TLSProfile.intermediate.restrict(&client)
        client.certificateVerification = .none
        server.signingSignatureAlgorithms = [proof.algorithm]
        (server.minimumTLSVersion, server.maximumTLSVersion) = (version, version)
        let handler = try NIOSSLClientHandler(context: NIOSSLContext(configuration: client), serverHostname: "verona.example")
        let found = Self.version(handler, NIOSSLServerHandler(context: try NIOSSLContext(configuration: server)))
        // A server's key counts among the curves of TLS 1.2 (RFC 8422 §5.1.1), of which P-521 is none that is offered.
        let isTaken = Self.isTaken(proof, version) && (proof.key != .p521 || version == .tlsv13)
        #expect(found == (isTaken ? version : nil))
    }

    private static func isTaken(_ proof: Proof, _ version: TLSVersion) -> Bool { version == .tlsv12 ? proof.isTakenBy12 : proof.isTakenBy13 }

    private static func credentials(_ kind: KeyKind) throws -> ([NIOSSLCertificateSource], NIOSSLPrivateKeySource) {
        let (key, issuer) = (try kind.make(), Certificate.PrivateKey(P256.Signing.PrivateKey()))
        let name = try DistinguishedName { CommonName("leaf") }
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: Date(timeIntervalSince1970: Double(Fixtures.now - 86_400)),
            notValidAfter: Date(timeIntervalSince1970: Double(Fixtures.now + 86_400)), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {}, issuerPrivateKey: issuer)
        let (chain, pem) = (try certificate.serializeAsPEM().pemString, try key.serializeAsPEM().pemString)
        return (
            try NIOSSLCertificate.fromPEMBytes(Array(chain.utf8)).map { .certificate($0) },
            .privateKey(try NIOSSLPrivateKey(bytes: Array(pem.utf8), format: .pem))
        )
    }

    private static func served(_ fixture: String, asksClients: Bool = false) throws -> ServedCertificate {
        var files = CertificateFiles(domain: "verona.example", chain: Fixtures.certificate("\(fixture).pem"), key: Fixtures.certificate("\(fixture).key"))
        files.asksClients = asksClients
        return try #require(try MartletNetwork.CertificateStore([files], now: Fixtures.now).certificate(of: "verona.example"))
    }

    /// What is agreed on; `nil` if nothing is.
    private static func version(_ fixture: String, _ profile: TLSProfile, _ offer: Offer) throws -> TLSVersion? {
        let context = try #require(try served(fixture).context(profile))
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        offer.change(&configuration)
        let handler = try NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: "verona.example")
        return version(handler, NIOSSLServerHandler(context: context))
    }

    private static func version(_ client: NIOSSLClientHandler, _ server: NIOSSLServerHandler) -> TLSVersion? {
        let ends = (client: EmbeddedChannel(), server: EmbeddedChannel())
        do {
            try ends.server.pipeline.syncOperations.addHandler(server)
            try ends.client.pipeline.syncOperations.addHandler(client)
            let place = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
            for channel in [ends.server, ends.client] { channel.connect(to: place, promise: nil) }
            try shake(ends.client, ends.server)
        } catch {
            return nil
        }
        return client.tlsVersion
    }

    private struct Unfinished: Error {}

    /// Carries what each says to the other, until both have nothing more to say.
    private static func shake(_ client: EmbeddedChannel, _ server: EmbeddedChannel) throws {
        let said = ByteBuffer(string: "a word")
        client.writeAndFlush(said, promise: nil)
        for _ in 0..<10 {
            while let bytes = try client.readOutbound(as: ByteBuffer.self) { try server.writeInbound(bytes) }
            while let bytes = try server.readOutbound(as: ByteBuffer.self) { try client.writeInbound(bytes) }
            for channel in [client, server] { channel.embeddedEventLoop.run() }
        }
        guard try server.readInbound(as: ByteBuffer.self) == said else { throw Unfinished() }
    }
}
