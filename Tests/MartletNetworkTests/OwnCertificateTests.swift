import Crypto
import Foundation
import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import SwiftASN1
import Synchronization
import Testing
import X509

@Suite("Certificates that accounts add for themselves (XEP-0257 §3)")
struct OwnCertificateTests {
    let alice: BareJID
    let bob: BareJID

    init() throws {
        alice = try BareJID(parsing: "alice@verona.example")
        bob = try BareJID(parsing: "bob@verona.example")
    }

    // MARK: What is asked of them

    private func rejection(_ content: [UInt8], days: Int = 0) -> String? {
        let time = Int64(Fixtures.now + days * 86_400) * 1_000
        do throws(UnfitCertificate) {
            _ = try OwnCertificateInspection().expiry(of: content, for: alice, at: time)
            return nil
        } catch { return error.reason }
    }

    private func certificate(_ names: GeneralName..., options change: (inout TestAuthority.Options) -> Void = { _ in }) throws -> [UInt8] {
        try TestAuthority.selfSigned { options in
            options.names = names
            options.purposes = [.clientAuth]
            change(&options)
        }
    }

    @Test("one that nobody has issued is good until its time is over")
    func validity() throws {
        let own = try certificate()
        #expect(rejection(own) == nil && rejection(own, days: 29) == nil)
        #expect(rejection(own, days: 31)?.contains("expired") == true)
        #expect(rejection(own, days: -31)?.contains("not valid before") == true)
        let expiry = try OwnCertificateInspection().expiry(of: own, for: alice, at: Int64(Fixtures.now) * 1_000)
        #expect(expiry == Int64(Fixtures.now + 30 * 86_400) * 1_000)
    }

    @Test("one that is for other purposes, or for none that is said, is told apart")
    func purposes() throws {
        #expect(rejection(try certificate { $0.purposes = [.serverAuth] })?.contains("another purpose") == true)
        #expect(rejection(try certificate { $0.purposes = [] }) == nil)
        let encrypting = try Certificate.Extension(KeyUsage(keyEncipherment: true), critical: true)
        #expect(rejection(try certificate { $0.more = [encrypting] })?.contains("another purpose") == true)
        let unknown = Certificate.Extension(oid: [1, 3, 6, 1, 4, 1, 99_999, 1], critical: true, value: [0x05, 0x00])
        #expect(rejection(try certificate { $0.more = [unknown] })?.contains("critical extension") == true)
    }

    @Test("one that names addresses is for those alone")
    func names() throws {
        #expect(rejection(try certificate(.xmppAddress("alice@verona.example"))) == nil)
        #expect(rejection(try certificate(.xmppAddress("alice@verona.example/balcony"))) == nil)
        #expect(rejection(try certificate(.xmppAddress("bob@verona.example"))) == "it is for another address")
        #expect(rejection(try certificate(.xmppAddress("bob@verona.example"), .xmppAddress("ALICE@verona.example"))) == nil)
        #expect(rejection(try certificate(.dnsName("verona.example"))) == nil)
    }

    @Test("a weak signature, a short key, a signature that is wrong, and what is no certificate are refused")
    func weak() throws {
        // The library does not read SHA-1 with ECDSA.
        #expect(rejection(try TestPeople.certificate("sha1"))?.contains("cannot be read") == true)
        #expect(rejection(try TestPeople.certificate("short"))?.contains("of which 2048 are needed") == true)
        var forged = try certificate()
        forged[forged.count - 1] ^= 1
        #expect(rejection(forged) != nil)
        for content in [[], [0x30], [0x30, 0x00], Array("no certificate".utf8)] as [[UInt8]] { #expect(rejection(content)?.contains("cannot be read") == true) }
    }

    @Test("a key that is so short that the library does not read it is called short, and not malformed")
    func shortKeys() throws {
        #expect(rejection(Self.rsa512)?.hasSuffix("CN=short has an RSA key of 512 bits, of which 2048 are needed") == true)
    }

    /// Self-signed, `CN=short`, made with `openssl req -x509 -newkey rsa:512`.
    private static let rsa512 = Base64.decode(
        """
        MIIBeTCCASOgAwIBAgIUBbakIcizWVaNxtuk6TIWH4M1y50wDQYJKoZIhvcNAQELBQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYx\
        MTMwMTIwODUzWhgPMjEyNjExMDYxMjA4NTNaMBAxDjAMBgNVBAMMBXNob3J0MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKyVCJ1/\
        Ris4MeGGjjN7vzxeWqYzO4EwAuDyoVPKmYsrYwwfcq7FvXBchYVOW2wYfyGuAQxYVqrgSaUYOJS6Gj8CAwEAAaNTMFEwHQYDVR0O\
        BBYEFE0xuy6I9/IydQkWQWgWcZ0jgbeQMB8GA1UdIwQYMBaAFE0xuy6I9/IydQkWQWgWcZ0jgbeQMA8GA1UdEwEB/wQFMAMBAf8w\
        DQYJKoZIhvcNAQELBQADQQA8k+ZQ2DzLdglAu3WETYCxfcAm/240vx+o2byQ0TCVeGl2cwB2co3+agnWbnBy5YPLv2DW5GZMKjoN\
        +Rg8f2hj
        """) ?? []

    // MARK: Log-in with them

    /// A certificate that nobody has issued, with its key, in files.
    private final class Own: Sendable {
        let files: CertificateFiles
        let content: [UInt8]
        private let folder: String

        init() throws {
            let key = P256.Signing.PrivateKey()
            let name = try DistinguishedName { CommonName("phone") }
            let certificate = try Certificate(
                version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: Self.date(days: -1),
                notValidAfter: Self.date(days: 1), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
                extensions: Certificate.Extensions(), issuerPrivateKey: .init(key))
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            content = serializer.serializedBytes
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent("own-\(UUID())")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            self.folder = folder.path
            files = CertificateFiles(domain: "verona.example", chain: "\(folder.path)/own.pem", key: "\(folder.path)/own.key")
            try certificate.serializeAsPEM().pemString.write(toFile: files.chain, atomically: true, encoding: .utf8)
            try key.pemRepresentation.write(toFile: files.key, atomically: true, encoding: .utf8)
        }

        /// The clock of these tests.
        private static func date(days: Int) -> Date { Date(timeIntervalSince1970: Double(Fixtures.now + days * 86_400)) }

        deinit { try? FileManager.default.removeItem(atPath: folder) }
    }

    private static func settings(takesOwn: Bool = true, _ demand: ClientCertificateSettings.Demand = .request) -> ClientCertificateSettings {
        var settings = ClientCertificateSettings()
        settings.demands = ["verona.example": demand]
        settings.takesOwn = takesOwn
        return settings
    }

    private func add(_ content: [UInt8], to accounts: BareJID..., at server: TestServer) async throws {
        for account in accounts {
            let certificate = AccountCertificate(name: "phone", content: content, added: 0, expires: 0)
            try await server.router.add(certificate, to: account, by: "test")
        }
    }

    /// A client inside TLS, and what it is offered there.
    private static func connect(_ own: Own, to port: Int) async throws -> (TestClient, String) {
        let client = try await TestClient.connect(to: port)
        _ = try await client.say(TestClient.header(), hear: "</stream:features>")
        _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "/>")
        try await client.startTLS("verona.example", trust: "verona.example.pem", showing: own.files)
        return (client, try await client.say(TestClient.header(), hear: "</stream:features>"))
    }

    @Test("an account is entered with a certificate that it has added, and with no other")
    func logIn() async throws {
        let own = try Own()
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(), nil)) { server, port in
            #expect(try await !Self.connect(own, to: port).1.contains("EXTERNAL"))
            try await add(own.content, to: alice, at: server)
            let (client, features) = try await Self.connect(own, to: port)
            #expect(features.contains("<mechanism>EXTERNAL</mechanism>"))
            #expect(try await client.say(ClientCertificateTests.auth("bob@verona.example"), hear: "</failure>").contains("<invalid-authzid"))
            _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
            #expect(try await ClientCertificateTests.bind(client).contains("alice@verona.example/balcony"))
            #expect(server.router.certifiedResources(of: alice) == [CertificateFingerprint(of: own.content): ["balcony"]])
        }
    }

    @Test("where accounts cannot add certificates, one that is there lets nobody in, and a session that came by it ends")
    func notTaken() async throws {
        let own = try Own()
        let certificates = ClientCertificates(Self.settings(), nil)
        try await ClientCertificateTests.with(certificates) { server, port in
            try await add(own.content, to: alice, at: server)
            let (client, _) = try await Self.connect(own, to: port)
            _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
            _ = try await ClientCertificateTests.bind(client)
            certificates.apply(Self.settings(takesOwn: false))
            #expect(try await !Self.connect(own, to: port).1.contains("EXTERNAL"))
            await server.service.keepUpCertificates()
            #expect(try await client.hear("</stream:stream>").contains("<not-authorized"))
        }
    }

    @Test("where certificates are required, an account's own is enough")
    func required() async throws {
        let own = try Own()
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(.require), nil)) { server, port in
            try await add(own.content, to: alice, at: server)
            let (client, features) = try await Self.connect(own, to: port)
            #expect(features.contains("<mechanism>EXTERNAL</mechanism></mechanisms>"))
            _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
        }
    }

    @Test("of two accounts that have the same certificate, nobody is entered who is not named, and no third one")
    func several() async throws {
        let own = try Own()
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(), nil)) { server, port in
            try await add(own.content, to: alice, bob, at: server)
            for account in [alice, bob] {
                let (client, features) = try await Self.connect(own, to: port)
                #expect(features.contains("EXTERNAL"))
                #expect(try await client.say(ClientCertificateTests.auth(), hear: "</failure>").contains("<invalid-authzid"))
                for other in ["mallory@verona.example", "nobody@verona.example", "alice@mantua.example"] {
                    #expect(try await client.say(ClientCertificateTests.auth(other), hear: "</failure>").contains("<not-authorized"), "\(other)")
                }
                _ = try await client.say(ClientCertificateTests.auth(account.description), hear: "<success")
                #expect(try await ClientCertificateTests.bind(client).contains("\(account)/balcony"))
            }
        }
    }

    @Test("an account that may not come in is no holder of a certificate")
    func disabled() async throws {
        let own = try Own()
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(), nil)) { server, port in
            // The test's account source lets everybody in but this one.
            let nobody = try BareJID(parsing: "nobody@verona.example")
            try await server.store.commit([.account(.create(nobody, credentials: [TestAccounts.keys(.sha256)], isAdmin: false))])
            try await add(own.content, to: alice, nobody, at: server)
            let (client, _) = try await Self.connect(own, to: port)
            _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
            #expect(try await ClientCertificateTests.bind(client).contains("alice@verona.example"))
        }
    }

    @Test("what a disabled certificate has let in goes on when certificates are looked at again, what a revoked one has ends at once (§2.3, §2.4)")
    func removed() async throws {
        let (first, second) = (try Own(), try Own())
        let certificates = ClientCertificates(Self.settings(), nil)
        try await ClientCertificateTests.with(certificates) { server, port in
            try await add(first.content, to: alice, at: server)
            try await add(second.content, to: bob, at: server)
            let clients = [try await Self.connect(first, to: port).0, try await Self.connect(second, to: port).0]
            for client in clients {
                _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
                _ = try await ClientCertificateTests.bind(client)
            }
            _ = try await server.router.removeCertificate(named: "phone", of: alice, endsSessions: false, by: "test")
            _ = try await server.router.removeCertificate(named: "phone", of: bob, endsSessions: true, by: "test")
            #expect(try await clients[1].hear("</stream:stream>").contains("<not-authorized"))
            // Something about certificates has changed: all are looked at.
            certificates.apply(Self.settings(takesOwn: false))
            certificates.apply(Self.settings())
            await server.service.keepUpCertificates()
            _ = try await clients[0].say("<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: "s1")
            #expect(try await !Self.connect(first, to: port).1.contains("EXTERNAL"))
        }
    }

    @Test("a certificate that is revoked between the handshake and its use lets nobody in")
    func removedMeanwhile() async throws {
        let own = try Own()
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(), nil)) { server, port in
            try await add(own.content, to: alice, at: server)
            let (client, _) = try await Self.connect(own, to: port)
            _ = try await server.router.removeCertificate(named: "phone", of: alice, endsSessions: true, by: "test")
            #expect(try await client.say(ClientCertificateTests.auth(), hear: "</failure>").contains("<not-authorized"))
        }
    }

    @Test("what an authority that is believed has revoked is not made good by the account")
    func revokedByAuthority() async throws {
        var settings = try ClientCertificateTests.settings(.request)
        settings.takesOwn = true
        let certificates = ClientCertificates(settings, try ClientCertificateTests.revocation(["issuing.crl", "root.crl"]))
        try await ClientCertificateTests.with(certificates) { server, port in
            try await add(try TestPeople.certificate("mallory"), to: try BareJID(parsing: "mallory@verona.example"), at: server)
            #expect(try await !ClientCertificateTests.connect(to: port, showing: "mallory").1.contains("EXTERNAL"))
        }
    }

    @Test("of an authority that is not believed, a certificate is good as the account's own")
    func unknownAuthority() async throws {
        try await ClientCertificateTests.with(ClientCertificates(Self.settings(), nil)) { server, port in
            try await add(try TestPeople.certificate("alice"), to: alice, at: server)
            let (client, _) = try await ClientCertificateTests.connect(to: port, showing: "alice")
            _ = try await client.say(ClientCertificateTests.auth(), hear: "<success")
        }
    }

    // MARK: What is recorded

    final class Audit: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
        var refused: [(domain: String, reason: String)] {
            events.withLock { $0 }.compactMap { if case .certificateRefused(let domain, _, let reason) = $0 { (domain, reason) } else { nil } }
        }
    }

    @Test("a certificate that lets nobody in is recorded, with why")
    func recorded() async throws {
        let (own, audit) = (try Own(), Audit())
        let server = try await TestServer([.startTLS], audit: audit, clientCertificates: ClientCertificates(Self.settings(), nil))
        _ = try await Self.connect(own, to: try #require(server.service.ports.first))
        #expect(audit.refused.map(\.domain) == ["verona.example"])
        #expect(audit.refused.first?.reason.contains("self-signed") == true)
        try await server.stop()
    }
}
