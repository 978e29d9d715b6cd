import Crypto
import Foundation
import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import SwiftASN1
import Testing
import X509

@Suite("Log-in with a certificate (XEP-0178 §3)")
struct ClientCertificateTests {
    static func settings(_ demand: ClientCertificateSettings.Demand) throws -> ClientCertificateSettings {
        var settings = ClientCertificateSettings()
        settings.demands = ["verona.example": demand]
        settings.anchors = try TestPeople.anchors()
        settings.authorities = [try Certificate(derEncoded: TestPeople.certificate("issuing"))]
        return settings
    }

    /// Knows what lists in files say, and asks nobody.
    static func revocation(_ lists: [String], _ mode: RevocationSettings.Mode = .prefer) throws -> RevocationChecker {
        var settings = RevocationSettings()
        settings.mode = mode
        let files = try RevocationFiles(lists.map { TestPeople.file($0) })
        return RevocationChecker(settings, Dialler(TableResolver([:]), policy: AddressPolicy()), files)
    }

    static let people = ["alice", "bob", "mallory"]

    static func with(
        _ certificates: ClientCertificates, listener: ListenerConfiguration = .startTLS,
        log: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, _ body: (TestServer, Int) async throws -> Void
    ) async throws {
        let store = InMemoryStore()
        let keys = try TestAccounts.keys(.sha256)
        _ = store.submit(try people.map { .account(.create(try BareJID(localpart: $0, domainpart: "verona.example"), credentials: [keys], isAdmin: false)) })
        let server = try await TestServer([listener], store: store, clientCertificates: certificates, log: log)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(server, try #require(server.service.ports.first)))
        } catch {
            result = .failure(error)
        }
        await server.service.stop()
        try await server.pool.shutDown()
        try result.get()
    }

    static func files(_ name: String) -> CertificateFiles {
        CertificateFiles(domain: "verona.example", chain: TestPeople.file("\(name).pem"), key: TestPeople.file("\(name).key"))
    }

    /// A client inside TLS, and what it is offered there.
    static func connect(to port: Int, showing name: String?, isTLS13: Bool = true, hear: String = "</stream:features>") async throws -> (TestClient, String) {
        let client = try await TestClient.connect(to: port)
        let clear = try await client.say(TestClient.header(), hear: "</stream:features>")
        #expect(!clear.contains("<mechanism>"))
        _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "/>")
        try await client.startTLS("verona.example", trust: "verona.example.pem", showing: name.map(files), isTLS13: isTLS13)
        return (client, try await client.say(TestClient.header(), hear: hear))
    }

    static func auth(_ authzid: String = "") -> String {
        let payload = authzid.isEmpty ? "=" : Base64.encode(authzid.utf8)
        return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>\(payload)</auth>"
    }

    static func bind(_ client: TestClient) async throws -> String {
        _ = try await client.say(TestClient.header(), hear: "</stream:features>")
        return try await client.say(TestClient.bind, hear: "</iq>")
    }

    @Test("whoever shows a certificate that stands for an account logs in with it, in TLS 1.2 and 1.3", arguments: [true, false])
    func logIn(isTLS13: Bool) async throws {
        try await Self.with(ClientCertificates(Self.settings(.request), nil)) { _, port in
            let (client, features) = try await Self.connect(to: port, showing: "alice", isTLS13: isTLS13)
            #expect(features.contains("<mechanism>EXTERNAL</mechanism><mechanism>SCRAM-"))
            _ = try await client.say(Self.auth(), hear: "<success")
            #expect(try await Self.bind(client).contains("alice@verona.example/balcony"))
        }
    }

    @Test(
        "a client that shows a certificate and proves a password is told its version of TLS, and binds to it, as others (XEP-0515)",
        arguments: [true, false])
    func password(isTLS13: Bool) async throws {
        try await Self.with(ClientCertificates(Self.settings(.request), nil)) { server, port in
            let (client, _) = try await Self.connect(to: port, showing: "alice", isTLS13: isTLS13)
            let certificate = try #require(server.certificates.certificate(of: "verona.example")?.bindings.first)
            let binding = isTLS13 ? try #require(client.exporter) : certificate
            let challenge = try await client.authenticate("alice", .sha256, binding: .bound(binding))
            #expect(challenge.hasSuffix(isTLS13 ? ",t=0304" : ",t=0303"))
        }
    }

    @Test("an authorization identity is the certificate's account or none (RFC 6120 §6.3.8)")
    func authzid() async throws {
        try await Self.with(ClientCertificates(Self.settings(.request), nil)) { _, port in
            let (client, _) = try await Self.connect(to: port, showing: "alice")
            #expect(try await client.say(Self.auth("bob@verona.example"), hear: "</failure>").contains("<invalid-authzid"))
            #expect(try await client.say(Self.auth("verona.example"), hear: "</failure>").contains("<invalid-authzid"))
            _ = try await client.say(Self.auth("alice@verona.example"), hear: "<success")
        }
    }

    @Test("without a certificate, or with one that stands for nobody, EXTERNAL is not offered, and passwords are", arguments: [nil, "alice"] as [String?])
    func notOffered(name: String?) async throws {
        var settings = try Self.settings(.request)
        settings.mapping.rules = [.published]
        try await Self.with(ClientCertificates(settings, nil)) { _, port in
            let (client, features) = try await Self.connect(to: port, showing: name)
            #expect(!features.contains("EXTERNAL") && features.contains("<mechanism>PLAIN</mechanism>"))
            #expect(try await client.say(Self.auth(), hear: "</failure>").contains("<invalid-mechanism"))
            _ = try await client.say(TestClient.plain("alice"), hear: "<success")
        }
    }

    @Test("a domain that asks nobody does not look at certificates")
    func off() async throws {
        try await Self.with(ClientCertificates(Self.settings(.off), nil)) { _, port in
            let (_, features) = try await Self.connect(to: port, showing: "alice")
            #expect(!features.contains("EXTERNAL"))
        }
    }

    @Test("where a certificate is required, only EXTERNAL is offered, and whoever has none is told so")
    func required() async throws {
        try await Self.with(ClientCertificates(Self.settings(.require), nil)) { _, port in
            let (client, features) = try await Self.connect(to: port, showing: "alice")
            #expect(features.contains("<mechanism>EXTERNAL</mechanism></mechanisms>"))
            #expect(try await client.say(TestClient.plain("alice"), hear: "</failure>").contains("<invalid-mechanism"))
            _ = try await client.say(Self.auth(), hear: "<success")
            let (_, refused) = try await Self.connect(to: port, showing: nil, hear: "</stream:stream>")
            #expect(refused.contains("<policy-violation") && refused.contains("This domain asks for a client certificate."))
        }
    }

    @Test("a domain that requires certificates is not entered by naming another one to TLS")
    func otherServerName() async throws {
        try await Self.with(ClientCertificates(Self.settings(.require), nil), listener: .directTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("mantua.example", trust: "mantua.example.pem", showing: Self.files("alice"))
            #expect(try await client.say(TestClient.header(), hear: "</stream:stream>").contains("<policy-violation"))
        }
    }

    @Test("a revoked certificate is not offered EXTERNAL")
    func revoked() async throws {
        try await Self.with(ClientCertificates(Self.settings(.request), Self.revocation(["issuing.crl", "root.crl"], .require))) { _, port in
            let (good, revoked) = (try await Self.connect(to: port, showing: "alice").1, try await Self.connect(to: port, showing: "mallory").1)
            #expect(good.contains("EXTERNAL") && !revoked.contains("EXTERNAL"))
        }
    }

    @Test("what is not known to be good is refused where that has to be known, without waiting for anybody")
    func unknown() async throws {
        for mode in [RevocationSettings.Mode.require, .prefer] {
            try await Self.with(ClientCertificates(Self.settings(.request), Self.revocation([], mode))) { _, port in
                let (_, features) = try await Self.connect(to: port, showing: "alice")
                #expect(features.contains("EXTERNAL") == (mode == .prefer))
            }
        }
    }

    @Test("where that is only preferred, the log says of a certificate that lets somebody in what is not known; once, and nothing of one that is known")
    func unknownIsLogged() async throws {
        for (lists, count) in [([], 1), (["issuing.crl", "root.crl"], 0)] {
            let lines = LogLines()
            try await Self.with(ClientCertificates(Self.settings(.request), Self.revocation(lists)), log: lines.logger) { _, port in
                let (client, _) = try await Self.connect(to: port, showing: "alice")
                _ = try await client.say(Self.auth(), hear: "<success")
                // One that is shown and not used is nothing to be told of.
                _ = try await Self.connect(to: port, showing: "alice")
            }
            #expect(lines.all.count { $0.hasPrefix("notice: it is not known whether a client's certificate is revoked") } == count)
        }
    }

    @Test("a certificate that is revoked between the handshake and its use lets nobody in")
    func revokedMeanwhile() async throws {
        let revocation = try Self.revocation(["before.crl", "root.crl"])
        try await Self.with(ClientCertificates(Self.settings(.request), revocation)) { _, port in
            let (client, features) = try await Self.connect(to: port, showing: "mallory")
            #expect(features.contains("EXTERNAL"))
            revocation.apply(revocation.settings, try RevocationFiles(["issuing.crl", "root.crl"].map { TestPeople.file($0) }))
            #expect(try await client.say(Self.auth(), hear: "</failure>").contains("<not-authorized"))
        }
    }

    @Test("an account that changes after a log-in with a certificate binds no resource with it")
    func changedMeanwhile() async throws {
        try await Self.with(ClientCertificates(Self.settings(.request), nil)) { server, port in
            let (client, _) = try await Self.connect(to: port, showing: "alice")
            _ = try await client.say(Self.auth(), hear: "<success")
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            let (alice, keys) = (try BareJID(parsing: "alice@verona.example"), try TestAccounts.keys(.sha256))
            await withCheckedContinuation { continuation in
                server.pool.loops[0].context.mailbox.run { [router = server.router] context in
                    router.changeAccount(alice, .setCredentials(alice, [keys]), ending: StreamError(.notAuthorized), context) { _ in continuation.resume() }
                }
            }
            #expect(try await client.say(TestClient.bind, hear: "</stream:stream>").contains("the account was changed after the log-in"))
        }
    }

    @Test("a session ends when its certificate is revoked; others go on")
    func sessionEnds() async throws {
        let revocation = try Self.revocation(["before.crl", "root.crl"])
        try await Self.with(ClientCertificates(Self.settings(.request), revocation)) { server, port in
            let (mallory, _) = try await Self.connect(to: port, showing: "mallory")
            let (alice, _) = try await Self.connect(to: port, showing: "alice")
            for client in [mallory, alice] {
                _ = try await client.say(Self.auth(), hear: "<success")
                _ = try await Self.bind(client)
            }
            await server.service.keepUpCertificates()
            _ = try await mallory.say("<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: "s1")
            revocation.apply(revocation.settings, try RevocationFiles(["issuing.crl", "root.crl"].map { TestPeople.file($0) }))
            await server.service.keepUpCertificates()
            #expect(try await mallory.hear("</stream:stream>").contains("<not-authorized"))
            _ = try await alice.say("<iq type='set' id='s2'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: "s2")
        }
    }

    @Test("a session that has lost its connection ends as well when its certificate is revoked, and cannot be resumed by another log-in (XEP-0198 §5)")
    func detachedSessionEnds() async throws {
        let revocation = try Self.revocation(["before.crl", "root.crl"])
        try await Self.with(ClientCertificates(Self.settings(.request), revocation)) { server, port in
            let router = server.router
            var ids: [String: String] = [:]
            for name in ["mallory", "alice"] {
                let (client, _) = try await Self.connect(to: port, showing: name)
                _ = try await client.say(Self.auth(), hear: "<success")
                _ = try await Self.bind(client)
                let enabled = try await client.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", hear: "/>")
                let begin = try #require(enabled.firstRange(of: " id='")?.upperBound)
                ids[name] = String(enabled[begin...].prefix { $0 != "'" })
                try await client.close()
            }
            while router.allSessions().contains(where: { !$0.isDetached }) { await Task.yield() }
            await server.service.keepUpCertificates()
            #expect(router.allSessions().count == 2)
            revocation.apply(revocation.settings, try RevocationFiles(["issuing.crl", "root.crl"].map { TestPeople.file($0) }))
            await server.service.keepUpCertificates()
            while router.allSessions().count > 1 { await Task.yield() }
            for (name, answer) in [("mallory", "<item-not-found"), ("alice", "<resumed")] {
                let (client, _) = try await Self.connect(to: port, showing: nil)
                _ = try await client.say(TestClient.plain(name), hear: "<success")
                _ = try await client.say(TestClient.header(), hear: "</stream:features>")
                let id = try #require(ids[name])
                _ = try await client.say("<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='0'/>", hear: answer)
            }
        }
    }

    @Test("a session ends when its certificate is taken away")
    func takenAway() async throws {
        var settings = try Self.settings(.request)
        settings.mapping.needsPublished = true
        settings.published.publish(try TestPeople.certificate("alice"), of: try BareJID(parsing: "alice@verona.example"))
        let certificates = ClientCertificates(settings, nil)
        try await Self.with(certificates) { server, port in
            let (alice, _) = try await Self.connect(to: port, showing: "alice")
            _ = try await alice.say(Self.auth(), hear: "<success")
            _ = try await Self.bind(alice)
            settings.published = PublishedCertificates()
            certificates.apply(settings)
            await server.service.keepUpCertificates()
            #expect(try await alice.hear("</stream:stream>").contains("<not-authorized"))
        }
    }

    @Test("inside a log-in of XEP-0388 it is the same, and its session ends like the others")
    func inline() async throws {
        var settings = try Self.settings(.require)
        settings.mapping.needsPublished = true
        settings.published.publish(try TestPeople.certificate("alice"), of: try BareJID(parsing: "alice@verona.example"))
        let certificates = ClientCertificates(settings, nil)
        try await Self.with(certificates) { server, port in
            let (alice, features) = try await Self.connect(to: port, showing: "alice")
            #expect(features.contains("<authentication xmlns='urn:xmpp:sasl:2'><mechanism>EXTERNAL</mechanism><inline>"))
            let success = try await alice.say(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response/><bind xmlns='urn:xmpp:bind:0'/></authenticate>",
                hear: "</stream:features>")
            #expect(success.contains("<authorization-identifier>alice@verona.example/"))
            settings.published = PublishedCertificates()
            certificates.apply(settings)
            await server.service.keepUpCertificates()
            #expect(try await alice.hear("</stream:stream>").contains("<not-authorized"))
        }
    }

    @Test(
        "a domain that requires certificates is closed to WebSocket, where none can be shown, and one that asks for them is not",
        arguments: [true, false])
    func webSocket(isRequired: Bool) async throws {
        try await Self.with(ClientCertificates(Self.settings(isRequired ? .require : .request), nil), listener: .https) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("verona.example", trust: "verona.example.pem", showing: Self.files("alice"))
            try await client.openWebSocket()
            let answer = try await client.say(frame: TestClient.open, hear: isRequired ? "<policy-violation" : "</stream:features>")
            #expect(!answer.contains("EXTERNAL"))
        }
    }

    @Test("where accounts cannot be looked up, a certificate stands for nobody")
    func accountsUnavailable() async throws {
        let certificates = ClientCertificates(try Self.settings(.request), nil)
        let store = InMemoryStore()
        let server = try await TestServer([.startTLS], accounts: TestAccounts(isAvailable: false), store: store, clientCertificates: certificates)
        let port = try #require(server.service.ports.first)
        let (_, features) = try await Self.connect(to: port, showing: "alice")
        #expect(!features.contains("EXTERNAL"))
        await server.service.stop()
        try await server.pool.shutDown()
    }
}

/// What the operator is told.
final class LogLines: Sendable {
    private let lines = NIOLockedValueBox<[String]>([])
    var all: [String] { lines.withLockedValue { $0 } }
    var logger: Logger { Logger(label: "test") { [self] _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata = Logger.Metadata()
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        init(lines: LogLines) { self.lines = lines }
        func log(event: LogEvent) {
            lines.lines.withLockedValue { $0.append("\(event.level): \(event.message) \(event.metadata?["why"].map { "(\($0))" } ?? "")") }
        }
    }
}
