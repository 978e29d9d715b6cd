import Crypto
import Foundation
import MartletNetwork
import NIOSSL
import SwiftASN1
import Testing
import X509

@Suite("With how many certificates a handshake goes on")
struct ShownCertificateFaultTests {
    /// A chain of so many bytes, in a file of its own. Nobody believes what is behind the first certificate.
    private final class Chain {
        let files: CertificateFiles

        /// - Parameters:
        ///   - first: in PEM, with its key.
        ///   - bytes: as many as of the whole chain in DER.
        init(_ domain: String, _ first: (chain: String, key: String), bytes: Int) throws {
            let own = try String(contentsOfFile: first.chain, encoding: .utf8)
            let ownBytes = try NIOSSLCertificate.fromPEMFile(first.chain).reduce(0) { try $0 + $1.toDERBytes().count }
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("chain-\(UUID()).pem").path
            // The same key and number each time, and a kind of signature that always has the same length.
            let (key, sample) = (Certificate.PrivateKey(Curve25519.Signing.PrivateKey()), bytes - ownBytes - 1_000)
            let frame = try Self.der(Self.padding(sample, key)).count - sample
            let certificate = try Self.padding(bytes - ownBytes - frame, key)
            try #require(try Self.der(certificate).count == bytes - ownBytes)
            try (own + "\n" + certificate.serializeAsPEM().pemString + "\n").write(toFile: file, atomically: true, encoding: .utf8)
            files = CertificateFiles(domain: domain, chain: file, key: first.key)
        }

        deinit { try? FileManager.default.removeItem(atPath: files.chain) }

        private static func padding(_ bytes: Int, _ key: Certificate.PrivateKey) throws -> Certificate {
            let name = try DistinguishedName { CommonName("padding") }
            let padding = Certificate.Extension(oid: [2, 25, 1], critical: false, value: ArraySlice(repeating: 0, count: bytes))
            return try Certificate(
                version: .v3, serialNumber: .init(bytes: [1]), publicKey: key.publicKey,
                notValidBefore: Date(timeIntervalSince1970: Double(Fixtures.now - 86_400)),
                notValidAfter: Date(timeIntervalSince1970: Double(Fixtures.now + 86_400)), issuer: name, subject: name, signatureAlgorithm: .ed25519,
                extensions: Certificate.Extensions([padding]), issuerPrivateKey: key)
        }

        private static func der(_ certificate: Certificate) throws -> [UInt8] {
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            return serializer.serializedBytes
        }
    }

    /// The last is more than the TLS library takes itself: 102,400 bytes of a message.
    static let bytes = [ShownCertificateFault.bytesMax, ShownCertificateFault.bytesMax + 1, 103_000]

    /// What is heard inside TLS; `nil` if the connection ends instead.
    private static func features(_ port: Int, _ chain: Chain, isTLS13: Bool, header: String) async throws -> String? {
        let client = try await TestClient.connect(to: port)
        do {
            try await client.startTLS("verona.example", trust: "verona.example.pem", showing: chain.files, isTLS13: isTLS13)
            return try await client.say(header, hear: "</stream:features>")
        } catch TestClient.Fault.silence(let heard) {
            throw TestClient.Fault.silence(heard: heard)
        } catch {
            return nil
        }
    }

    @Test("a client shows a chain of so many bytes and no longer one; the log and the audit log say which one ends its handshake", arguments: [true, false], bytes)
    func clients(isTLS13: Bool, bytes: Int) async throws {
        let chain = try Chain("verona.example", (TestPeople.file("alice.pem"), TestPeople.file("alice.key")), bytes: bytes)
        let (lines, audit) = (LogLines(), OwnCertificateTests.Audit())
        let certificates = ClientCertificates(try ClientCertificateTests.settings(.request), nil)
        let server = try await TestServer([.directTLS], audit: audit, clientCertificates: certificates, log: lines.logger)
        let port = try #require(server.service.ports.first)
        let features = try await Self.features(port, chain, isTLS13: isTLS13, header: TestClient.header())
        try await server.stop()
        let isTaken = bytes <= ShownCertificateFault.bytesMax
        #expect(features?.contains("<mechanism>EXTERNAL</mechanism>") == (isTaken ? true : nil))
        let why = "its certificates have more than 24000 bytes"
        #expect(lines.all.contains("info: the certificate that a client shows ends its handshake (\(why))") == !isTaken)
        #expect(audit.refused.map(\.reason) == (isTaken ? [] : [why]))
    }

    @Test("nor does a server that calls", arguments: [true, false], bytes)
    func servers(isTLS13: Bool, bytes: Int) async throws {
        let own = Fixtures.files("mantua.example")
        let chain = try Chain("mantua.example", (own.chain, own.key), bytes: bytes)
        var options = Side.Options()
        options.isDirect = true
        let verona = try await Side("verona.example", PortBook(), options)
        let header = """
            <?xml version='1.0'?><stream:stream from='mantua.example' to='verona.example' version='1.0' xmlns='jabber:server' \
            xmlns:stream='http://etherx.jabber.org/streams'>
            """
        let port = try #require(verona.listener.ports.first)
        let features = try await Self.features(port, chain, isTLS13: isTLS13, header: header)
        #expect(features?.contains("<mechanism>EXTERNAL</mechanism>") == (bytes <= ShownCertificateFault.bytesMax ? true : nil))
        try await verona.stop()
    }

    @Test("a connection that breaks otherwise is nothing that a certificate is to blame for")
    func others() {
        #expect(ShownCertificateFault(NIOSSLError.uncleanShutdown) == nil)
        #expect(ShownCertificateFault(NIOSSLError.handshakeFailed(.sslError([.eofDuringHandshake]))) == nil)
    }
}
