package import MartletCore
package import MartletFeatures
import MartletXML
package import MartletXMPP
import NIOCore
package import NIOEmbedded
import Synchronization

/// A whole server on one thread, without network and disk, whose clock a test moves. It does nothing by itself: after every
/// step of a test it runs until nothing more can happen.
package final class TestServer {
    package let domain: BareJID
    package let time: ManualTime
    package let random: SeededRandom
    package let store: InMemoryStore
    package let router: Router
    package let context: LoopContext
    package let uploads: Uploads
    package let files = InMemoryFileStore()
    package let loop = EmbeddedEventLoop()
    package let components = ComponentRegistry()
    /// Follows no list until a test says so.
    package let sharedLists: SharedListKeeper
    /// There are none until a test says so.
    let groups: TestGroups
    private let hosts: HostTable
    private let settings: RouterSettings
    private var otherLoops: [EmbeddedEventLoop] = []
    private let executor = ManualExecutor()
    private var postponed: [() -> Void] = []
    /// Accounts that were made here: they are not looked up, which would wait for the disk.
    private var made: Set<BareJID> = []

    /// - Parameters:
    ///   - domains: the first one is where accounts are made.
    ///   - features: what the domains do; everything, unless given.
    package init(
        domains: [String] = ["capulet.example"], limits: HostLimits = HostLimits(), settings: RouterSettings = RouterSettings(),
        commits: InMemoryStore.Commits = .automatic, policy: AccessPolicy = AccessPolicy(), remote: any RemoteDelivery = NoFederation(),
        audit: any AuditSink = NoAudit(), seed: UInt64 = 1,
        contacts: ContactAddresses.Addresses = .init(),
        roomSettings: MultiUserChat.Settings = .init(identities: OccupantIDs(secret: Array("occupants".utf8))),
        pubsub: PubSubService.Settings = .init(), registration: RegistrationSettings = .init(),
        invitations: InvitationSettings = .init(), components: [ComponentSettings] = [], bytestreams: (any BytestreamRelay)? = nil,
        uploads uploadSettings: UploadSettings = .init(), search: UserSearch.Settings? = nil, profiles: (any ProfileSource)? = nil,
        presenceRights: PresenceRights = .init(),
        features: ((FeatureConfiguration) -> [any Feature])? = nil
    ) {
        self.settings = settings
        time = ManualTime()
        random = SeededRandom(seed: seed)
        store = InMemoryStore(commits: commits, callbacks: .queued, time: time)
        let uploads = Uploads(store: store, files: files, settings: uploadSettings, time: time, random: random)
        self.uploads = uploads
        router = Router(
            store: store, ids: StanzaIDSource(floor: 0), remote: remote, audit: audit, settings: settings, uploads: uploads, executor: executor)
        var registration = registration
        registration.keys = KeyPolicy(hashes: [.sha256], iterations: ScramKeys.iterationRange.lowerBound)
        let sharedLists = SharedListKeeper(time: time, random: random)
        self.sharedLists = sharedLists
        var roomSettings = roomSettings
        roomSettings.blockLists = sharedLists.lists
        var configuration = FeatureConfiguration(
            softwareVersion: "1.0", contacts: contacts, time: time, uptime: Uptime(time), registration: registration, invitations: invitations,
            derivation: DerivationAtOnce())
        configuration.sharedLists = sharedLists
        configuration.certificates = CertificatesOnTrust()
        configuration.profiles = profiles
        let features = features ?? StandardFeatures.all
        let groups = TestGroups()
        self.groups = groups
        let rooms = domains.map { domain in
            do {
                return try StandardFeatures.rooms(at: BareJID(parsing: "conference.\(domain)"), name: "Rooms", roomSettings, configuration)
            } catch {
                preconditionFailure("there can be no rooms at \(domain): \(error)")
            }
        }
        let nodes = domains.map { domain in
            do {
                return try StandardFeatures.pubsub(at: BareJID(parsing: "pubsub.\(domain)"), name: "Publishing", pubsub, configuration)
            } catch {
                preconditionFailure("there can be no nodes at \(domain): \(error)")
            }
        }
        let proxies = domains.compactMap { domain in
            do {
                return try bytestreams.map { try StandardFeatures.bytestreams(at: BareJID(parsing: "proxy.\(domain)"), $0, host: "files.\(domain)", configuration) }
            } catch {
                preconditionFailure("there can be no proxy at \(domain): \(error)")
            }
        }
        let hosts = domains.map { [registry = self.components] domain in
            do {
                var configuration = configuration
                configuration.services = [.init(try BareJID(parsing: "conference.\(domain)"), name: "Rooms")]
                let address = try BareJID(parsing: domain)
                configuration.components = components.map { ComponentGrant(registry.component($0.name), $0.powers, over: address) }
                return try Host(
                    domain: address, limits: limits, policy: policy, features: features(configuration), sharedRosters: groups, presenceRights: presenceRights)
            } catch {
                preconditionFailure("no host can be made of \(domain): \(error)")
            }
        }
        let files = domains.map { domain in
            do {
                let settings = HTTPFileUpload.Settings(
                    domain: try BareJID(parsing: domain), url: "https://\(domain):5443", fileBytesMax: uploadSettings.fileBytesMax)
                return try StandardFeatures.uploads(at: BareJID(parsing: "upload.\(domain)"), settings, uploads, configuration)
            } catch {
                preconditionFailure("there can be no uploads at \(domain): \(error)")
            }
        }
        let searches = domains.map { domain in
            do {
                let accounts = try BareJID(parsing: domain)
                var settings = search ?? UserSearch.Settings(domain: accounts)
                settings.domain = accounts
                settings.askers.insert(domain)
                return try StandardFeatures.search(at: BareJID(parsing: "vjud.\(domain)"), settings, configuration)
            } catch {
                preconditionFailure("there can be no search at \(domain): \(error)")
            }
        }
        let others = components.map { [registry = self.components] component in
            do {
                return try Host(
                    domain: component.name, features: [], service: registry.component(component.name), servesSubdomains: component.servesSubdomains)
            } catch {
                preconditionFailure("no component can be at \(component.name): \(error)")
            }
        }
        self.components.apply(components)
        guard let first = hosts.first else { preconditionFailure("a server has a domain") }
        domain = first.domain
        self.hosts = HostTable(hosts + rooms + nodes + others + proxies + files + searches)
        context = LoopContext(loop: loop, hosts: self.hosts, store: store, time: time, random: random)
    }

    /// The server that is started after `crashed` died: it has what was on disk, and its clock goes on.
    package init(after crashed: TestServer, seed: UInt64 = 2) {
        settings = crashed.settings
        random = SeededRandom(seed: seed)
        store = crashed.store.afterCrash()
        time = crashed.time
        let resent = ResentMessages(
            store.contents.latestMessages(limit: ResentMessages.entriesMax), until: time.monotonic + ResentMessages.rememberedFor)
        uploads = Uploads(store: store, files: files, time: time, random: random)
        router = Router(
            store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: NoAudit(),
            settings: settings, resent: resent, uploads: uploads, executor: executor)
        domain = crashed.domain
        hosts = crashed.hosts
        sharedLists = crashed.sharedLists
        groups = crashed.groups
        context = LoopContext(loop: loop, hosts: hosts, store: store, time: time, random: random)
    }

    /// Stops in order.
    ///
    /// - Returns: the server that is started after this one.
    package func restarted() -> TestServer {
        router.beginLeaving(context)
        router.stopServices(context)
        router.beginStop(context)
        run()
        store.commit()
        run()
        let saved = router.saveSessions(context).compactMap { session -> SavedSession? in
            var buffer = ByteBuffer()
            session.write(to: &buffer)
            return SavedSession(from: &buffer)
        }
        for session in router.allSessions() { session.ref.session?.end(StreamError(.systemShutdown)) }
        run()
        store.commit()
        let next = TestServer(after: self)
        for session in saved { next.router.restore(session, next.context) }
        next.run()
        return next
    }

    /// Another event loop, for sessions that share their accounts with those of the first one.
    package func addLoop() -> LoopContext {
        let loop = EmbeddedEventLoop()
        otherLoops.append(loop)
        return LoopContext(loop: loop, hosts: hosts, store: store, time: time, random: random)
    }

    /// Lets everything happen that can happen before the clock moves.
    package func run() {
        repeat { runLoops() } while executor.run() + store.runCallbacks() + runPostponed() > 0
    }

    /// Lets only the first loop do what it can do, so that a test can have another one come late.
    package func runFirstLoop() {
        store.runCallbacks()
        loop.run()
    }

    private func runLoops() {
        loop.run()
        // What goes to and fro between loops is an answer to an answer at most.
        for _ in 0..<4 where !otherLoops.isEmpty {
            for other in otherLoops { other.run() }
            loop.run()
        }
    }

    /// Does `work` when what happens now has happened.
    func later(_ work: @escaping () -> Void) { postponed.append(work) }

    private func runPostponed() -> Int {
        let works = postponed
        postponed = []
        for work in works { work() }
        return works.count
    }

    /// Moves the clock and lets everything happen that is due.
    package func advance(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
        time.advance(by: nanoseconds)
        for loop in [loop] + otherLoops { loop.advanceTime(by: .nanoseconds(nanoseconds)) }
        run()
    }

    /// Stanzas of all sessions that were forgotten half-way: none, when everything has happened that can happen.
    package var unfinishedStanzas: Int { router.allSessions().reduce(0) { $0 + ($1.ref.session?.unfinishedCount ?? 0) } }

    // MARK: Accounts

    /// The address of an account, such as `juliet` at the server's first domain, or `romeo@montague.example`.
    package func address(_ name: String) -> BareJID {
        let text = name.contains("@") ? name : "\(name)@\(domain)"
        guard let address = try? BareJID(parsing: text) else { preconditionFailure("no address: \(text)") }
        return address
    }

    package func createAccount(_ name: String, credentials: [ScramKeys] = [], isAdmin: Bool = false) {
        made.insert(address(name))
        store.submit([.account(.create(address(name), credentials: credentials, isAdmin: isAdmin))])
        store.commit()
        router.forget(address(name))
        run()
    }

    /// A directory says something else of accounts of the first domain than before.
    ///
    /// - Returns: what has come of it; `nil` if it has not come to its end.
    @discardableResult
    package func put(_ profiles: [(account: BareJID, profile: Profile?)]) -> Result<Void, StoreError>? {
        guard let stage = hosts.host(of: domain)?.profiling else { preconditionFailure("no feature puts profiles") }
        let (router, mailbox) = (router, context.mailbox)
        return wait {
            do throws(StoreError) { return .success(try await stage.put(profiles, router, on: mailbox)) } catch { return .failure(error) }
        }
    }

    // MARK: Strangers

    /// What a client at the first domain is answered that has not logged in; `nil` if nobody listens to it.
    ///
    /// - Parameter rules: about log-ins; none unless given.
    package func stranger(_ xml: String, token: String? = nil, _ rules: [LoginRule] = []) -> RegistrationAnswer? {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated) else { preconditionFailure("no stanza: \(xml)") }
        guard let stage = hosts.host(of: domain)?.registering, stage.takesStrangers else { return nil }
        let kind: IQRequest.Kind = element.root.attributeEquals("type", "set") ? .set : .get
        var policy = ClientStreamPolicy(mechanisms: [.scram(.sha256)])
        policy.rules = rules
        let login = LoginPolicy(policy, on: LoginConnection(at: domain.domainpart, isSecure: true))
        let request = StrangersRequest(kind, element, at: domain, token: token, by: WaysIn([login]), from: "192.0.2.1")
        let (router, mailbox) = (router, context.mailbox)
        return wait { await stage.answer(request, router, on: mailbox) }
    }

    /// What comes of something that waits for loops and the store.
    package func wait<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) -> Value? {
        let answer = Answer<Value>()
        Task(executorPreference: executor) { answer.set(await work()) }
        run()
        return answer.get()
    }

    // MARK: Clients

    /// A session of `juliet/balcony`; the account is made if there is none. It has said nothing yet.
    ///
    /// - Parameters:
    ///   - moment: when its credentials were checked; just now unless given.
    ///   - device: on what it runs; unknown unless given.
    ///   - application: by whose password it has come in; by the account's own unless given.
    ///   - certificate: of the account's own, by which it was let in.
    ///   - proof: by what it was let in, if there is more to say than that.
    ///   - context: the loop it lives on; the first one unless given.
    package func client(
        _ name: String, authenticatedAt moment: CredentialMoment = .latest, device: DeviceSighting? = nil, application: String? = nil,
        by certificate: CertificateFingerprint? = nil, _ proof: SessionProof? = nil, on context: LoopContext? = nil
    ) -> TestClient {
        let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { preconditionFailure("a session has a resource: \(name)") }
        if !exists(parts[0]) { createAccount(parts[0]) }
        let context = context ?? self.context
        let client = TestClient(self)
        router.bind(
            address(parts[0]), resource: parts[1], authenticatedAt: moment, on: device, application: application, by: proof ?? SessionProof(certificate), client,
            context
        ) { outcome in client.bound(outcome) }
        context.flush()
        run()
        return client
    }

    /// A connection that asks to go on with an earlier stream (XEP-0198 §5).
    package func resume(
        _ name: String, previous: String, handled: UInt32, authenticatedAt moment: CredentialMoment = .latest, application: String? = nil,
        by proof: SessionProof = SessionProof(), on context: LoopContext? = nil
    ) -> TestClient {
        let context = context ?? self.context
        let client = TestClient(self)
        router.resume(
            address(name), previous: previous, handled: handled, authenticatedAt: moment, application: application, by: proof, client, context
        ) { client.resumed($0, previous: previous) }
        context.flush()
        run()
        return client
    }

    /// The same, with the roster asked for and presence sent, and what that brought thrown away.
    package func online(_ name: String, priority: Int = 0, on context: LoopContext? = nil) -> TestClient {
        let client = client(name, on: context)
        client.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        client.send(priority == 0 ? "<presence/>" : "<presence><priority>\(priority)</priority></presence>")
        client.forget()
        return client
    }

    /// Makes two accounts see each other's presence.
    package func befriend(_ one: String, _ other: String) {
        for name in [one, other] where !exists(name) { createAccount(name) }
        for (account, contact) in [(one, other), (other, one)] {
            let item = RosterItem(
                contact: address(contact), subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1)
            edit(account) { .rosterItem($0, item) }
        }
    }

    /// Writes behind the server's back.
    package func edit(_ account: String, _ write: (AccountID) -> Write) {
        guard let id = identity(account)?.id else { preconditionFailure("no account: \(account)") }
        store.submit([write(id)])
        store.commit()
        router.forget(address(account))
        run()
    }

    private func exists(_ name: String) -> Bool { made.contains(address(name)) || identity(name) != nil }

    private func identity(_ name: String) -> StoredAccount? {
        let answer = Answer<StoredAccount?>()
        store.loadAccount(address(name)) { answer.set((try? $0.get()) ?? nil) }
        run()
        return answer.get() ?? nil
    }
}

/// What somebody said later.
private final class Answer<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    func set(_ value: Value) { self.value.withLock { $0 = value } }
    func get() -> Value? { value.withLock { $0 } }
}

/// Hashes where it is asked, which is a test's own thread.
private struct DerivationAtOnce: KeyDerivation {
    func keys(of password: PreparedPassword, _ policy: KeyPolicy) async -> [ScramKeys]? { try? policy.keys(of: password) }
    func keys(of password: PreparedPassword, like keys: [ScramKeys]) async -> [ScramKeys]? { try? keys.remade(of: password) }
}

/// Takes for a certificate whatever begins as one, good for a year: what is in it is looked at by who reads certificates.
private struct CertificatesOnTrust: CertificateInspection {
    func expiry(of certificate: [UInt8], for account: BareJID, at time: Int64) throws(UnfitCertificate) -> Int64 {
        guard certificate.first == 0x30 else { throw UnfitCertificate("it is no certificate") }
        return time + 365 * 86_400_000
    }
}
