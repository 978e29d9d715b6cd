import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

enum Fixtures {
    /// The repository's folder, from where this file was compiled.
    static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
    static func certificate(_ name: String) -> String { "\(root)/Fixtures/certificates/\(name)" }
    static func files(_ domain: String) -> CertificateFiles {
        CertificateFiles(domain: domain, chain: certificate("\(domain).pem"), key: certificate("\(domain).key"))
    }
    /// 2027, when all fixtures are valid.
    static let now = 1_800_000_000
}

/// The listeners on real loops, over a store in memory. Verona has the accounts juliet and romeo, password `pencil`.
final class TestServer: Sendable {
    /// Names of a server that is started again are above those of the one before.
    private static let laterNames = UInt64(1_800_000_001_000) << 20
    static let domains = ["verona.example", "mantua.example"]

    let store: InMemoryStore
    let pool: LoopPool
    let service: ClientListenerService
    let client: ClientService
    let router: Router
    let certificates: CertificateStore
    let accounts: TestAccounts
    let components: ComponentRegistry
    let uploads: Uploads?

    init(
        _ listeners: [ListenerConfiguration], settings: NetworkSettings = .test, accounts: TestAccounts = TestAccounts(),
        loops: Int = 1, domains: [String] = TestServer.domains, remote: any RemoteDelivery = NoFederation(),
        features: [any Feature] = [], components: [ComponentSettings] = [], store given: InMemoryStore? = nil, time: any TimeSource = SystemTime(),
        files: (any FileStore)? = nil, audit: any AuditSink = NoAudit(), watchesHandshakes: Bool = true, holdsTime: Bool = false,
        clientCertificates: ClientCertificates = ClientCertificates(ClientCertificateSettings(), nil), issuers: TokenIssuers = TokenIssuers(),
        tokenSecret: [UInt8]? = nil, tokenTime: any TimeSource = SystemTime(), log: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) async throws {
        let store = given ?? InMemoryStore()
        let keys = try TestAccounts.keys(.sha256)
        if given == nil {
            _ = store.submit(["juliet", "romeo"].compactMap { name in
                (try? BareJID(localpart: name, domainpart: domains.first ?? ""))
                    .map { .account(.create($0, credentials: [keys], isAdmin: false)) }
            })
        }
        self.store = store
        let registry = ComponentRegistry()
        let hosts = try HostTable(
            domains.map { try Host(domain: BareJID(parsing: $0), features: features) }
                + components.map { try Host(domain: $0.name, features: [], service: registry.component($0.name), servesSubdomains: $0.servesSubdomains) })
        registry.apply(components)
        self.components = registry
        router = Router(store: store, ids: StanzaIDSource(floor: given == nil ? 0 : Self.laterNames), remote: remote, audit: audit)
        certificates = try CertificateStore(
            domains.map { domain in
                var files = Fixtures.files(domain)
                files.asksClients = clientCertificates.settings.demand(of: domain) != .off
                return files
            }, now: Fixtures.now, watchesHandshakes: watchesHandshakes)
        pool = LoopPool(count: loops) { LoopContext(loop: $0, hosts: hosts, store: store, time: time, random: SystemRandom()) }
        if holdsTime { for loop in pool.loops { loop.end() } }
        self.accounts = accounts
        uploads = files.map { Uploads(store: store, files: $0, time: time) }
        client = ClientService(
            router: router, accounts: accounts, certificates: certificates, settings: settings, clientCertificates: clientCertificates, issuers: issuers,
            tokens: tokenSecret.map { DeviceTokens(store: store, secret: $0, time: tokenTime) }, uploads: uploads, log: log)
        service = ClientListenerService(listeners, client, on: pool)
        do {
            try await service.start()
        } catch {
            try? await pool.shutDown()
            throw error
        }
    }

    /// Ends what runs, and the time that was held goes on: who is told to go is not waited for without end.
    func stop() async throws {
        for loop in pool.loops { loop.begin() }
        await service.stop()
        try await pool.shutDown()
    }

    /// Runs `body` against a server, and stops it.
    ///
    /// - Parameter holdsTime: for tests of deadlines: only ``pass(seconds:)`` turns them, however long the machine takes for what is between.
    static func with(
        _ listener: ListenerConfiguration = .plain, settings: NetworkSettings = .test, accounts: TestAccounts = TestAccounts(),
        loops: Int = 1, holdsTime: Bool = false, _ body: (TestServer, Int) async throws -> Void
    ) async throws {
        let server = try await TestServer([listener], settings: settings, accounts: accounts, loops: loops, holdsTime: holdsTime)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(server, try #require(server.service.ports.first)))
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        try result.get()
    }

    /// Turns the deadlines of every loop, as if that many seconds had passed.
    func pass(seconds: Int) async throws {
        for loop in pool.loops {
            try await loop.loop.submit { for _ in 0..<seconds { loop.turn() } }.get()
        }
    }
}

extension NetworkSettings {
    /// As usual, but stops do not wait long for clients that say nothing.
    static var test: NetworkSettings {
        var settings = NetworkSettings()
        settings.closingDeadline = .seconds(1)
        return settings
    }
}

extension ListenerConfiguration {
    static let plain = ListenerConfiguration(kind: .client, addresses: ["127.0.0.1"], port: 0, allowsPlaintext: true)
    static let startTLS = ListenerConfiguration(kind: .client, addresses: ["127.0.0.1"], port: 0)
    static let directTLS = ListenerConfiguration(kind: .clientTLS, addresses: ["127.0.0.1"], port: 0)
}

struct SystemTime: TimeSource {
    var monotonic: NIODeadline { .now() }
    var wallMilliseconds: Int64 { 1_800_000_000_000 }
}

/// A clock whose hands a test moves.
final class TestClock: TimeSource {
    private let milliseconds = NIOLockedValueBox<Int64>(1_800_000_000_000)
    private let passed = NIOLockedValueBox(TimeAmount.zero)
    var monotonic: NIODeadline { .now() + passed.withLockedValue { $0 } }
    var wallMilliseconds: Int64 { milliseconds.withLockedValue { $0 } }
    /// On the wall only.
    func pass(hours: Int64) { milliseconds.withLockedValue { $0 += hours * 3_600_000 } }
    /// On no wall.
    func pass(_ time: TimeAmount) { passed.withLockedValue { $0 = $0 + time } }
}

/// Accounts without a database.
struct TestAccounts: AccountSource {
    var isAvailable = true
    /// Who lacks keys, if somebody does.
    var upgrades: TestUpgrades?

    static func keys(_ hash: ScramHash) throws -> ScramKeys {
        let password = try #require(PreparedPassword("pencil"))
        return try ScramKeys.derive(password: password, salt: [UInt8](0..<16), iterations: 4096, hash: hash)
    }

    func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer {
        guard isAvailable, let keys = try? Self.keys(hash) else { return .refused(.unavailable) }
        return .keys(keys, standing: .ok)
    }

    func missingKeys(of account: BareJID, _ hashes: [ScramHash], provedBy proved: ScramKeys) async -> [ScramUpgrade] {
        guard let upgrades, proved == (try? Self.keys(proved.hash)) else { return [] }
        return upgrades.missing.filter { hashes.contains($0.hash) }
    }

    func add(_ keys: ScramKeys, to account: BareJID, provedBy proved: ScramKeys) async -> AccountVerdict {
        guard let upgrades, upgrades.verdict == .ok else { return upgrades?.verdict ?? .unavailable }
        upgrades.added.withLockedValue { $0.append(keys) }
        return .ok
    }

    func addKeys(of password: PreparedPassword, to account: BareJID, _ hashes: [ScramHash]) async -> [ScramHash] {
        upgrades?.missing.map(\.hash).filter(hashes.contains) ?? []
    }

    /// Everybody is there whom nobody else is called.
    func standing(of account: BareJID) async -> AccountVerdict {
        guard isAvailable else { return .unavailable }
        return account.localpart == "nobody" ? .badCredentials : .ok
    }

    func verify(_ password: PreparedPassword, of account: BareJID) async -> PasswordVerdict {
        guard isAvailable else { return PasswordVerdict(.unavailable) }
        if password == PreparedPassword("eraser") { return PasswordVerdict(.ok, application: "mail") }
        return PasswordVerdict(password == PreparedPassword("pencil") ? .ok : .badCredentials)
    }
}

/// The keys that accounts lack, and what comes of those that clients make up.
final class TestUpgrades: Sendable {
    let missing: [ScramUpgrade]
    let verdict: AccountVerdict
    let added = NIOLockedValueBox<[ScramKeys]>([])

    init(_ hashes: [ScramHash], verdict: AccountVerdict = .ok) {
        missing = hashes.map { ScramUpgrade(hash: $0, salt: [UInt8](repeating: 7, count: ScramKeys.saltBytesDefault), iterations: 4096) }
        self.verdict = verdict
    }
}

// MARK: What clients say

extension TestClient {
    static func header(_ domain: String = "verona.example", version: String = "1.0") -> String {
        "<?xml version='1.0'?><stream:stream to='\(domain)' version='\(version)' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    }

    static func plain(_ name: String, password: String = "pencil") -> String {
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(Base64.encode("\0\(name)\0\(password)".utf8))</auth>"
    }

    static let bind = "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>"

    /// From the first header to a bound session, on a stream that may take a password now.
    func logIn(_ name: String, domain: String = "verona.example") async throws {
        _ = try await say(Self.header(domain), hear: "</stream:features>")
        _ = try await say(Self.plain(name), hear: "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        _ = try await say(Self.header(domain), hear: "</stream:features>")
        _ = try await say(Self.bind, hear: "</iq>")
    }

    /// SCRAM as a client does it.
    ///
    /// - Parameters:
    ///   - isFramed: over WebSocket.
    ///   - end: what the last answer ends with. Unless that is success, nothing more is looked at.
    /// - Returns: the server's first message.
    @discardableResult
    func authenticate(
        _ name: String, _ hash: ScramHash, binding: ScramClient.Binding = .unsupported, isFramed: Bool = false, hear end: String = "</success>"
    ) async throws -> String {
        func say(_ text: String, _ end: String) async throws -> String {
            if isFramed { try await self.say(frame: text, hear: end) } else { try await self.say(text, hear: end) }
        }
        let password = try #require(PreparedPassword("pencil"))
        var scram = ScramClient(hash: hash, binding: binding, username: name, password: password, nonce: ScramNonce(random: [UInt8](0..<18)))
        var mechanism = hash.mechanismName
        if case .bound = binding { mechanism += "-PLUS" }
        let first = Base64.encode(scram.first())
        let challenge = try #require(
            Self.content(try await say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='\(mechanism)'>\(first)</auth>", "</challenge>")))
        let final = try scram.final(answering: challenge)
        let answer = try await say("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\(Base64.encode(final))</response>", end)
        if end == "</success>" { try scram.verify(try #require(Self.content(answer))) }
        return String(decoding: challenge, as: UTF8.self)
    }

    /// The decoded text of the one element in `xml`.
    static func content(_ xml: String) -> [UInt8]? {
        guard let begin = xml.firstRange(of: "'>")?.upperBound, let end = xml.lastIndex(of: "<"), begin < end else { return nil }
        return Base64.decode(xml[begin..<end])
    }
}
