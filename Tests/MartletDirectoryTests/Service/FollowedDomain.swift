import Foundation
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

/// A domain whose accounts OpenLDAP's server says: store and router are in memory, on a loop of their own, and what is between them and the directory is all real.
///
/// Time passes when a test lets it, but for what the connections to the directory wait for.
final class FollowedDomain {
    static let people = "ou=people,dc=example,dc=org"
    static func name(_ person: String) -> String { "uid=\(person),\(people)" }

    /// What differs from what an operator gets who says nothing.
    struct Options {
        var detection: ChangeDetection?
        var filter = "(&(objectClass=xmppUser)(xmppEnabled=TRUE))"
        var password = Slapd.servicePassword
        var verifiers: [PasswordVerifier] = [.passwordHash, .publishedKeys, .bind]
        var connection = LDAPConnection.Settings()
        var address: DirectoryAddress?
    }

    let time = ManualTime()
    let timers = NIOAsyncTestingEventLoop()
    let audit = RecordingAudit()
    let router: Router
    private let slapd: Slapd
    private let options: Options
    private let store = InMemoryStore()
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let context: LoopContext
    private let snapshot = NSTemporaryDirectory() + "martlet-directory-\(UUID().uuidString.prefix(8)).snapshot"
    private(set) var service: DirectoryService
    private(set) var accounts: DirectoryAccountSource
    private var binding: BindPool

    /// It follows the directory from here on.
    init(_ slapd: Slapd, _ change: (inout Options) -> Void = { _ in }) async throws {
        var options = Options()
        change(&options)
        (self.slapd, self.options) = (slapd, options)
        let hosts = HostTable([try Host(domain: BareJID(parsing: "example.org"), features: [])])
        context = LoopContext(loop: group.next(), hosts: hosts, store: store, time: time, random: SystemRandom())
        router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: audit)
        (service, accounts, binding) = try Self.assemble(slapd, options, snapshot, time, timers, router, context.mailbox)
        try await service.begin()
    }

    private static func assemble(
        _ slapd: Slapd, _ options: Options, _ snapshot: String, _ time: ManualTime, _ timers: NIOAsyncTestingEventLoop, _ router: Router, _ mailbox: LoopMailbox
    ) throws -> (DirectoryService, DirectoryAccountSource, BindPool) {
        let (domain, rule) = (try BareJID(parsing: "example.org"), try AddressRule(parsing: "xmppAddress|mail"))
        let attributes = PersonAttributes.mirrored(others: rule.attributes + ["uid", "mail"])
        let mirror = DirectoryMirror(attributes) { name in (try? DistinguishedName(name)).map { Array($0.normalized.utf8) } }
        let marking = CredentialMarking(secret: Array(repeating: 5, count: 32))
        let people = PeopleDirectory(MirroredPeople(mirror, People(PersonMapping(domain: domain, addresses: rule), attributes, marking)), time: time)
        var settings = DirectoryService.Settings(base: Self.people, filter: try LDAPFilter(options.filter), attributes: attributes.names)
        settings.detection = options.detection
        settings.snapshot = SnapshotFile(snapshot, SnapshotForm())
        let servers = DirectoryServers([options.address ?? slapd.plain], TestDirectory.dial { $0 = options.connection }, time: time, log: TestDirectory.log)
        var client = DirectoryClient.Settings()
        client.identity = .simple(name: Slapd.service, try #require(PreparedPassword(options.password)))
        let service = DirectoryService(
            domain, DirectoryClient(servers, client, log: TestDirectory.log), people,
            AccountProvisioning(router, on: mailbox, time: time, adoptsLocalAccounts: true), router, settings, time: time, timers: timers, log: TestDirectory.log)
        let binding = BindPool(servers, timers: MultiThreadedEventLoopGroup.singleton.any())
        let accounts = DirectoryAccountSource(
            people, verifiers: options.verifiers, binding: binding, work: WorkAtOnce(),
            simulation: try ScramSimulation(secret: Array(repeating: 6, count: 32), iterations: 10_000), decoyName: "cn=decoy,\(Self.people)")
        return (service, accounts, binding)
    }

    /// Runs `body` with a domain that follows the directory and is up to date with it, and stops.
    static func with(
        _ slapd: Slapd, _ change: (inout Options) -> Void = { _ in }, awaiting contact: DirectoryContact? = .live, _ body: (FollowedDomain) async throws -> Void
    ) async throws {
        let domain = try await FollowedDomain(slapd, change)
        let result: Result<Void, any Error>
        do {
            if let contact { await until { domain.contact == contact } }
            result = .success(try await body(domain))
        } catch {
            result = .failure(error)
        }
        await domain.stop()
        await domain.timers.shutdownGracefully()
        try await domain.group.shutdownGracefully()
        try? FileManager.default.removeItem(atPath: domain.snapshot)
        withExtendedLifetime(slapd) {}
        try result.get()
    }

    func stop() async {
        await service.stop()
        await binding.close()
    }

    /// The next server with the same disk: what the last one has kept of the directory is all that is known of it at first.
    func startAgain(_ change: (inout Options) -> Void = { _ in }) async throws {
        var options = options
        change(&options)
        (service, accounts, binding) = try Self.assemble(slapd, options, snapshot, time, timers, router, context.mailbox)
        try await service.begin()
    }

    // MARK: What is kept for the next start

    var hasSnapshot: Bool { FileManager.default.fileExists(atPath: snapshot) }
    /// As it is now, beside.
    func keepSnapshot() throws { try FileManager.default.copyItem(atPath: snapshot, toPath: snapshot + ".kept") }
    func bringBackSnapshot() throws {
        try removeSnapshot()
        try FileManager.default.moveItem(atPath: snapshot + ".kept", toPath: snapshot)
    }
    func removeSnapshot() throws { try FileManager.default.removeItem(atPath: snapshot) }

    // MARK: Time

    func pass(_ amount: TimeAmount) async {
        time.advance(by: amount.nanoseconds)
        await timers.advanceTime(to: time.monotonic)
    }

    /// Lets time pass, a little each time, until it is so: what has to be done meanwhile takes as long as it takes.
    func pass(_ step: TimeAmount, until condition: () -> Bool) async {
        await until(lookingAgainIn: .milliseconds(5)) {
            guard !condition() else { return true }
            await pass(step)
            return false
        }
    }

    /// Lets time pass from attempt to attempt until it is followed again.
    func followedAgain() async { await pass(.milliseconds(100)) { contact == .live } }

    // MARK: What there is

    var contact: DirectoryContact { service.people.contact }
    func account(_ name: String) -> StoreContents.Account? { store.contents[jid(name)] }
    func account(at address: BareJID) -> StoreContents.Account? { store.contents[address] }

    /// What becomes of a log-in by SCRAM-SHA-256.
    func scram(_ name: String, _ password: String) async -> AccountVerdict {
        switch await accounts.scramKeys(of: jid(name), .sha256) {
        case .refused(let verdict): return verdict
        case .keys(let keys, let standing, _):
            let own = try? ScramKeys.derive(password: Self.prepared(password), salt: keys.salt, iterations: keys.iterations, hash: .sha256)
            return own == keys ? standing : .badCredentials
        }
    }

    /// What becomes of one by PLAIN.
    func plain(_ name: String, _ password: String) async -> AccountVerdict { await accounts.verify(Self.prepared(password), of: jid(name)).verdict }

    private static func prepared(_ password: String) -> PreparedPassword {
        guard let prepared = PreparedPassword(password) else { preconditionFailure("no password: \(password)") }
        return prepared
    }

    /// A session of somebody who has been let in; what has become of it.
    func session(_ name: String) async -> SessionEnd {
        let end = SessionEnd()
        await withCheckedContinuation { continuation in
            context.mailbox.run { [router] context in
                let transport = EndingTransport(end)
                router.bind(jid(name), resource: "balcony", transport, context) { outcome in
                    transport.bound(outcome)
                    continuation.resume()
                }
            }
        }
        return end
    }
}

/// Waits until it is so, or the test's time is over. Between two looks the threads are for those who are waited for.
func until(lookingAgainIn pause: TimeAmount = .milliseconds(1), _ condition: () async throws -> Bool) async rethrows {
    while try await !condition() {
        guard !Task.isCancelled else {
            Issue.record("it has not come to that")
            return
        }
        try? await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: pause) {}.futureResult.get()
    }
}

/// How it stands with a session. A lock, because tests ask from elsewhere.
final class SessionEnd: Sendable {
    enum State: Hashable, Sendable {
        case goesOn, refused
        case ended(StreamError.Condition?)
    }

    private let value = Mutex(State.goesOn)
    var state: State { value.withLock { $0 } }
    fileprivate func set(_ state: State) { value.withLock { $0 = state } }
}

/// Takes what it is sent, and tells of its end.
private final class EndingTransport: SessionTransport {
    private let end: SessionEnd
    private var session: ClientSession?
    let pendingBytes = 0
    let remoteAddress = "192.0.2.1:40000"

    init(_ end: SessionEnd) { self.end = end }

    func bound(_ outcome: BindOutcome) {
        switch outcome {
        case .bound(let session): self.session = session
        case .refused: end.set(.refused)
        case .revoked(let error): end.set(.ended(error.condition))
        }
    }

    func write(_ bytes: ByteBuffer) {}
    func flush() {}
    func setReading(_ isReading: Bool) {}
    func close(_ error: StreamError?) {
        end.set(.ended(error?.condition))
    }
}

/// What was recorded. A lock, because loops and tasks record.
final class RecordingAudit: AuditSink {
    private let recorded = Mutex<[AuditEvent]>([])
    func record(_ event: AuditEvent) { recorded.withLock { $0.append(event) } }
    var events: [AuditEvent] { recorded.withLock { $0 } }

    var changedPasswords: [BareJID] { events.compactMap { if case .passwordChanged(let address, _) = $0 { address } else { nil } } }
}

private struct WorkAtOnce: PasswordWork {
    func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? { PasswordCheck(password, keys, others) }
    func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? { nil }
}

/// An entry as OpenLDAP's tools add it.
func ldif(_ name: String, _ more: String = "") -> String {
    """
    dn: \(FollowedDomain.name(name))
    objectClass: inetOrgPerson
    objectClass: xmppUser
    uid: \(name)
    cn: \(name)
    sn: \(name)
    xmppAddress: \(name)@example.org
    xmppEnabled: TRUE
    \(more)

    """
}

func replacement(_ name: String, _ attribute: String, _ value: String) -> String {
    "dn: \(FollowedDomain.name(name))\nchangetype: modify\nreplace: \(attribute)\n\(attribute): \(value)\n"
}
