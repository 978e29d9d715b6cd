import Logging
import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Testing

/// Knows where the test's own servers listen.
final class PortBook: MartletNetwork.Resolver {
    private struct Entry { var port: Int; var isDirect: Bool; var signed: Signed }
    /// What signatures prove, and what is said of certificates.
    struct Signed {
        var isSecure = false
        /// Whether this is true of what is said of certificates as well.
        var isTLSASecure = true
        var tlsa: Result<[TLSARecord], DNSError> = .success([])
    }
    /// Questions about this kind are not answered.
    let silence = NIOLockedValueBox<RecordType?>(nil)
    /// Questions about this kind wait until nobody wants to know any more. How many do.
    let patience = NIOLockedValueBox<RecordType?>(nil)
    let waiting = NIOLockedValueBox(0)
    let asked = NIOLockedValueBox<Set<DNSQuestion>>([])
    private let entries = NIOLockedValueBox<[String: Entry]>([:])

    func enter(_ domain: String, _ port: Int, isDirect: Bool, _ signed: Signed = Signed()) {
        entries.withLockedValue { $0[domain] = Entry(port: port, isDirect: isDirect, signed: signed) }
    }
    func forget(_ domain: String) { entries.withLockedValue { $0[domain] = nil } }

    func answer(to question: DNSQuestion) async throws(DNSError) -> DNSAnswer {
        if silence.withLockedValue({ $0 }) == question.type { throw .timedOut }
        asked.withLockedValue { _ = $0.insert(question) }
        if patience.withLockedValue({ $0 }) == question.type {
            waiting.withLockedValue { $0 += 1 }
            for await _ in AsyncStream<Void>.makeStream().stream {}
            waiting.withLockedValue { $0 -= 1 }
            throw .timedOut
        }
        let entries = entries.withLockedValue { $0 }
        for (domain, entry) in entries where question.name.description.hasSuffix(domain) { return try answer(question, domain, entry) }
        // Who is not in the book is here, and does not listen.
        return question.type == .a ? DNSAnswer(.records([.address(NetworkAddress(ipv4: 0x7F00_0001))])) : DNSAnswer(.noSuchName)
    }

    private func answer(_ question: DNSQuestion, _ domain: String, _ entry: Entry) throws(DNSError) -> DNSAnswer {
        let (name, isSecure) = (question.name.description, entry.signed.isSecure)
        switch question.type {
        case .a where name == "here.\(domain)":
            return DNSAnswer(.records([.address(NetworkAddress(ipv4: 0x7F00_0001))]), isSecure: isSecure)
        case .srv where name == "\(entry.isDirect ? "_xmpps-server" : "_xmpp-server")._tcp.\(domain)":
            let record = ServiceRecord(priority: 0, weight: 0, port: UInt16(entry.port), target: DNSName("here.\(domain)"))
            return DNSAnswer(.records([.service(record)]), isSecure: isSecure)
        case .tlsa where name == "_\(entry.port)._tcp.here.\(domain)":
            let records = try entry.signed.tlsa.get()
            guard !records.isEmpty else { return DNSAnswer(.noData, isSecure: isSecure) }
            return DNSAnswer(.records(records.map { .tlsa($0) }), isSecure: isSecure && entry.signed.isTLSASecure)
        case .a, .srv, .aaaa, .tlsa: return DNSAnswer(.noSuchName)
        }
    }
}

/// A server for one domain, with juliet and romeo, that talks to others.
final class Side: Sendable {
    let server: TestServer
    let federation: FederationService
    let listener: PeerListenerService
    let clientPort: Int

    struct Options {
        var policy = PeerPolicy(bidirection: .ask)
        var isDirect = false
        var trusts = TestServer.domains
        var rest = TimeAmount.milliseconds(1)
        var queueStanzasMax = 1_000
        var signed = PortBook.Signed()
        var proofs: [String: PeerProof] = [:]
        /// In place of the fixture's.
        var certificate: CertificateFiles?
        var anchors: [[UInt8]] = []
        var revocation = RevocationSettings.Mode.prefer
        /// Of revoked certificates.
        var lists: [String] = []
        var inquiryDeadline = TimeAmount.seconds(3)
        /// What web servers have, by domain, for who asks them.
        var web: [String: String] = [:]
        var asksWebServers = true
        var features: [any Feature] = []
        var stanzaBytesMax = XMLLimits.authenticated.stanzaBytesMax
        /// Of a server that is started again.
        var store: InMemoryStore?
        var keptFor = TimeAmount.hours(24)
        var keptStanzasMax = 1_000
        var clock = TestClock()
        /// Whatever else is to be different.
        var change: @Sendable (inout FederationSettings) -> Void = { _ in }

        /// What has a body is kept until the other server has it, on streams for one direction.
        static var keeping: Options {
            var options = Options()
            options.features = [Bodies()]
            options.policy.bidirection = .accept
            return options
        }

        func changed(_ change: @escaping @Sendable (inout FederationSettings) -> Void) -> Options {
            var options = self
            options.change = change
            return options
        }
    }

    init(_ domain: String, _ book: PortBook, _ options: Options) async throws {
        var settings = FederationSettings()
        settings.policy = options.policy
        settings.proofs = options.proofs
        settings.restMin = options.rest
        settings.inquiryDeadline = options.inquiryDeadline
        settings.asksWebServers = options.asksWebServers
        let pages = options.web
        let fetch: POSH.Fetch = { request throws(HTTPFetchError) in
            guard case .name(let host) = request.url.host, let page = pages[host.description] else { throw .status(404) }
            return HTTPAnswer(url: request.url, type: nil, bytes: Array(page.utf8))
        }
        settings.queueStanzasMax = options.queueStanzasMax
        settings.limits.stanzaBytesMax = options.stanzaBytesMax
        settings.keptFor = options.keptFor
        settings.keptStanzasMax = options.keptStanzasMax
        settings.closingDeadline = .seconds(1)
        settings.callDeadline = .seconds(20)
        settings.revocation.mode = options.revocation
        settings.revocationFiles = try RevocationFiles(options.lists)
        options.change(&settings)
        let anchors = try options.anchors + options.trusts.flatMap { try NIOSSLCertificate.fromPEMFile(Fixtures.files($0).chain).map { try $0.toDERBytes() } }
        let certificates = try CertificateStore([options.certificate ?? Fixtures.files(domain)], now: Fixtures.now)
        let dialler = Dialler(book, policy: AddressPolicy(allowed: [NetworkBlock("127.0.0.0/8")].compactMap { $0 }))
        federation = FederationService(
            settings, .test,
            .init(
                certificates: certificates, trust: PeerTrust(anchors: anchors), resolver: book, dialler: dialler,
                secret: DialbackSecret(Array("secret of \(domain)".utf8)), fetch: fetch), log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        server = try await TestServer([.plain], domains: [domain], remote: federation, features: options.features, store: options.store, time: options.clock)
        federation.begin(server.router, on: server.pool)
        if let store = options.store { _ = federation.resume(try await store.queues()) { _ in true } }
        let kind: ListenerConfiguration.Kind = options.isDirect ? .serverTLS : .server
        listener = PeerListenerService([ListenerConfiguration(kind: kind, addresses: ["127.0.0.1"], port: 0)], federation, on: server.pool)
        try await listener.start()
        book.enter(domain, try #require(listener.ports.first), isDirect: options.isDirect, options.signed)
        clientPort = try #require(server.service.ports.first)
    }

    func stop() async throws {
        await listener.stopAccepting()
        try await server.stop()
    }

    /// Until that holds: the loops of the server go on meanwhile.
    func wait(until holds: () -> Bool) async throws {
        while !holds() {
            try Task.checkCancellation()
            for loop in server.pool.loops { try await loop.loop.scheduleTask(in: .milliseconds(1)) {}.futureResult.get() }
        }
    }

    /// Until whatever the loops have asked the store for by now has come of it.
    func settle() async throws {
        for _ in 1...3 {
            await withCheckedContinuation { continuation in
                server.store.messages(of: AccountID(queueFor: DomainPair(remote: "", local: "")), after: 0, limit: 1) { _ in continuation.resume() }
            }
            for loop in server.pool.loops { try await loop.loop.submit {}.get() }
        }
    }

    func client(_ name: String, _ domain: String) async throws -> TestClient {
        let client = try await TestClient.connect(to: clientPort)
        try await client.logIn(name, domain: domain)
        try await client.send("<presence/>")
        return client
    }
}

/// What has a body is worth keeping.
struct Bodies: FallBackStage {
    static let specification = Specification.xep(160, "Best Practices for Handling Offline Messages", version: "1.0.1")
    func isWorthKeeping(_ message: borrowing Stanza) -> Bool { message.hasChild("body", .client) }
    func fallBack(_ message: borrowing Stanza, _ home: AccountHome, _ limits: HostLimits) -> FallBack { isWorthKeeping(message) ? .keep : .ignore }
}

struct World {
    let book: PortBook
    let verona: Side
    let mantua: Side

    static func with(
        _ verona: Side.Options = .init(), _ mantua: Side.Options = .init(), _ body: (World) async throws -> Void
    ) async throws {
        let book = PortBook()
        let world = World(
            book: book, verona: try await Side("verona.example", book, verona), mantua: try await Side("mantua.example", book, mantua))
        let result: Result<Void, any Error>
        do { result = .success(try await body(world)) } catch { result = .failure(error) }
        try await world.verona.stop()
        try await world.mantua.stop()
        try result.get()
    }

    /// A message from juliet at Verona to romeo at Mantua, and his answer.
    func exchange() async throws {
        let juliet = try await verona.client("juliet", "verona.example")
        let romeo = try await mantua.client("romeo", "mantua.example")
        try await juliet.send("<message to='romeo@mantua.example/balcony' type='chat'><body>art thou</body></message>")
        let heard = try await romeo.hear("<body>art thou</body></message>")
        #expect(heard.contains("from='juliet@verona.example/balcony'"))
        try await romeo.send("<message to='juliet@verona.example/balcony' type='chat'><body>by and by</body></message>")
        _ = try await juliet.hear("<body>by and by</body></message>")
    }
}
