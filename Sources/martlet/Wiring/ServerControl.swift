import Foundation
import Logging
import MartletCore
import MartletNetwork
import MartletStorage
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// Answers what commands ask of the running server, one order that changes something at a time.
actor ServerControl {
    private let core: ServerCore
    private let certificates: CertificateStore
    private let clients: ClientListenerService
    private let federation: FederationService?
    private let componentPorts: ComponentListenerService
    private let housekeeping: Housekeeping
    private let information: ServerInformationPublisher
    private let renewal: CertificateRenewal
    private let directories: [BareJID: DirectoryAssembly.Assembled]
    private let logs: ServerLogs
    private let time: SystemClock
    private let notifier: SystemdNotifier
    private let file: String?
    private let startSeconds: Int
    /// What is in force: of values that need a restart, those of the start.
    private var loaded: LoadedConfiguration
    private var configuration: ServerConfiguration
    /// What a directory says of it.
    private var tree: ConfigurationTree?
    private var follower: ConfigurationFollower?
    private var isReloading = false
    // Written by a reload, read once at the end by a thread that cannot wait.
    private let currentStopTimeout: NIOLockedValueBox<Duration>

    init(
        _ core: ServerCore, _ certificates: CertificateStore, _ clients: ClientListenerService, _ federation: FederationService?,
        _ componentPorts: ComponentListenerService, _ housekeeping: Housekeeping, _ information: ServerInformationPublisher,
        _ renewal: CertificateRenewal, _ directories: [BareJID: DirectoryAssembly.Assembled], _ start: Server.Start
    ) {
        self.federation = federation
        self.core = core
        self.certificates = certificates
        self.clients = clients
        self.componentPorts = componentPorts
        self.housekeeping = housekeeping
        self.information = information
        self.renewal = renewal
        self.directories = directories
        logs = start.logs
        time = start.time
        notifier = start.notifier
        file = start.file
        startSeconds = start.time.wallSeconds
        loaded = start.loaded
        configuration = start.loaded.configuration
        tree = start.followed?.tree
        currentStopTimeout = NIOLockedValueBox(start.loaded.configuration.server.stopTimeout)
    }

    nonisolated var stopTimeout: Duration { currentStopTimeout.withLockedValue { $0 } }

    func answer(_ request: ControlRequest, _ tell: @escaping @Sendable (ControlResponse) -> Void) async -> ControlResponse {
        do throws(CommandFailure) {
            return try await carryOut(request.order, by: request.by, tell)
        } catch {
            return ControlResponse(error)
        }
    }

    private func carryOut(
        _ order: ControlOrder, by: String, _ tell: @escaping @Sendable (ControlResponse) -> Void
    ) async throws(CommandFailure) -> ControlResponse {
        if let response = try await AccountAdministration(core, configuration).answer(order, by: by) { return response }
        switch order {
        case .status: return .status(status)
        case .sessions(let account): return .sessions(try sessions(of: account))
        case .closeSessions(let address): return .closed(try closeSessions(of: address))
        case .logLevel(let name): return try setLogLevel(name, by: by)
        case .components: return .components(core.components.reports)
        case .directory(let order): return try await DirectoryControl(directories: directories).answer(order)
        case .login(let question): return try await LoginExplainer(core: core, clients: clients, loaded: loaded).answer(question)
        case .reload: return .reloaded(try await reload(by: by))
        case .configuration: return .configuration(await configurationReport)
        case .federation(let order):
            return try await FederationControl(service: federation, domains: configuration.allDomains, audit: logs.audit).answer(order, by: by) {
                tell(.step($0))
            }
        case .certificate(.renew(let domain)):
            let name = try FederationControl.domain(domain)
            let start = time.wallMilliseconds
            try await renewal.renewNow(name) { [time] text in
                tell(.step(DiagnosisStep(.certificate, .good, text, milliseconds: time.wallMilliseconds - start)))
            }
            logs.server.notice("a certificate was renewed by order", metadata: ["domain": "\(name)", "by": "\(by)"])
            return .done
        case .certificate(.list), .certificate(.revoke), .accounts, .account, .create, .portable, .archive, .room, .invitation, .upload, .report, .device,
            .applicationPassword:
            throw CommandFailure(.software, "the order was not carried out")
        }
    }

    // MARK: Sessions

    private func sessions(of account: String?) throws(CommandFailure) -> [SessionLine] {
        let address = try account.map { text throws(CommandFailure) in try AccountAddress.parse(text) }
        return core.router.allSessions().filter { address == nil || $0.address.bare == address }
            .map { SessionLine(address: $0.address.description, priority: $0.priority.map(Int.init), isDetached: $0.isDetached) }
            .sorted { $0.address < $1.address }
    }

    private func closeSessions(of text: String) throws(CommandFailure) -> Int {
        guard let address = try? JID(text), !address.bare.isDomain else { throw CommandFailure(.data, "not an address: \(text.prefix(200))") }
        let ending = core.router.allSessions().filter { session in
            session.address.bare == address.bare && (address.resourcepart == nil || session.address.resourcepart == address.resourcepart)
        }
        guard !ending.isEmpty else { throw CommandFailure(.noAccount, "\(address) has no session") }
        let error = StreamError(.policyViolation, "closed by an administrator")
        for session in ending { session.ref.mailbox.postAndWake(.end(session.ref, error)) }
        return ending.count
    }

    // MARK: The process

    private var status: ServerStatus {
        let health = housekeeping.health
        return ServerStatus(
            version: MartletVersion.current, process: getpid(), upSeconds: time.wallSeconds - startSeconds, configuration: file ?? "",
            data: configuration.server.dataFolder, store: core.store.promise, logLevel: "\(logs.output.level)",
            domains: configuration.domains.map(\.name),
            listeners: configuration.listeners.map { "\($0.kind.rawValue) \($0.port) on \($0.addresses.map(\.description).joined(separator: ", "))" },
            certificates: certificates.all.map { .init(domain: $0.domain, ends: $0.notAfter) }.sorted { $0.domain < $1.domain },
            sessions: core.router.allSessions().count, isHealthy: health.isGood, health: health.text)
    }

    private func setLogLevel(_ name: String, by: String) throws(CommandFailure) -> ControlResponse {
        guard let level = LogLevel(rawValue: name) else { throw CommandFailure(.usage, "there is no log level \(name.prefix(40))") }
        logs.output.level = Logger.Level(level)
        logs.server.notice("log level changed", metadata: ["level": "\(name)", "by": "\(by)"])
        return .done
    }

    // MARK: Reload

    /// For SIGHUP, where nobody waits for an answer.
    func reloadBySignal() async {
        _ = try? await reload(by: "SIGHUP")
    }

    /// Reads configuration and certificates anew. Everything is checked before anything is changed; open streams stay as they are (P15).
    ///
    /// - Parameter fresh: what a directory says now, if that is why; else it says what it said before.
    private func reload(by: String, _ fresh: ConfigurationTree? = nil) async throws(CommandFailure) -> ReloadReport {
        guard !isReloading else { throw CommandFailure(.temporary, "a reload is under way") }
        isReloading = true
        notifier.reloading()
        defer {
            isReloading = false
            notifier.ready("serving \(configuration.domains.map(\.name).joined(separator: ", "))")
        }
        // Also after it was moved away, whatever else is wrong.
        logs.output.reopen()
        do throws(CommandFailure) {
            let loaded = try load(fresh ?? tree)
            if fresh != nil, let refusal = LockOut.refusal(of: loaded, inPlaceOf: configuration) { throw CommandFailure(.configuration, refusal.summary) }
            let report = try await apply(loaded, by: by)
            // Its turn comes when this one is over.
            if let fresh { tree = fresh } else if let follower { Task { await follower.reconsider() } }
            return report
        } catch {
            // Of a directory's change it is said by whoever follows it.
            if fresh == nil { logs.server.error("the reload changed nothing", metadata: ["by": "\(by)", "why": "\(error.message)"]) }
            throw error
        }
    }

    private func load(_ tree: ConfigurationTree?) throws(CommandFailure) -> LoadedConfiguration {
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader.standard.load(file: file, environment: ProcessInfo.processInfo.environment, tree: tree)
        } catch {
            for problem in error.problems { logs.server.error("mistake in the configuration", metadata: ["at": "\(problem.summary)"]) }
            throw CommandFailure(.configuration, error.description, hint: "the server goes on with what it had")
        }
    }

    // MARK: The directory

    /// Who follows what a directory says of the configuration; `nil` if none does.
    func makeFollower(of followed: ConfigurationStart.Followed?, on group: any EventLoopGroup) throws(CommandFailure) -> ConfigurationFollower? {
        guard let followed, let assembly = ConfigurationDirectoryAssembly(configuration) else { return nil }
        follower = try ConfigurationFollower(
            followed, assembly, self, dataFolder: configuration.server.dataFolder, time: time, on: group, log: logs.server)
        return follower
    }

    /// Puts into force what a directory says now, as a reload does with the file.
    func apply(_ tree: ConfigurationTree) async -> TreeOutcome {
        guard !isReloading else { return .busy }
        do throws(CommandFailure) { return .applied(try await reload(by: "directory", tree)) } catch { return .refused(error.message) }
    }

    private var configurationReport: ConfigurationReport {
        get async {
            let waiting = ConfigurationDifference(from: configuration, to: loaded.configuration).changes
            return ConfigurationReport(file: file ?? "", tree: await follower?.report, needingRestart: waiting.map(\.description))
        }
    }

    private func apply(_ fresh: LoadedConfiguration, by: String) async throws(CommandFailure) -> ReloadReport {
        let difference = ConfigurationDifference(from: loaded.configuration, to: fresh.configuration)
        let next = fresh.configuration.keepingWhatNeedsRestart(of: configuration)
        let hosts = try HostAssembly(
            configuration: next, time: time, uptime: core.uptime, audit: logs.audit, occupantSecret: core.occupantSecret, roomCounters: core.roomCounters,
            capabilities: core.capabilities, derivation: core.derivation, passwords: try PasswordRules(next), passwordExpiry: core.passwordExpiry,
            components: core.components, uploads: core.uploads, sharedLists: core.sharedLists, sharedGroups: core.sharedGroups, directories: core.directories,
            bytestreams: core.bytestreams
        ).table()
        let components = try ComponentAssembly(configuration: next).settings
        let peers = federation == nil ? nil : try FederationAssembly(configuration: next).settingsWithTrust()
        let assembly = ClientCertificateAssembly(configuration: next)
        let (clientCertificates, revocationFiles) = (try assembly.settings(), try assembly.revocationFiles())
        let checker = assembly.isNeeded && !clients.checksRevocation ? try assembly.checker() : nil
        let issuers = try OAuthAssembly(configuration: next, on: core.pool.group).issuers()
        let kerberos = try KerberosAssembly(configuration: next).acceptor(log: logs.server)
        let warnings = try loadCertificates(next)
        // From here on nothing fails.
        let oldLevel = loaded.configuration.log.level
        let hasOtherLimit = configuration.limits.sharedRosterItemsMax != next.limits.sharedRosterItemsMax
        loaded = fresh
        configuration = next
        currentStopTimeout.withLockedValue { $0 = next.server.stopTimeout }
        if next.log.level != oldLevel { logs.output.level = Logger.Level(next.log.level) }
        clients.apply(NetworkAssembly(configuration: next).settings, kerberos)
        await clients.apply(clientCertificates, assembly.revocation, revocationFiles, checker)
        clients.apply(issuers)
        core.uploads.apply(UploadSettings(next.uploads))
        core.passwordLifetime.set(milliseconds: next.accounts.passwordLifetimeMilliseconds)
        if let peers { federation?.apply(peers) }
        housekeeping.apply(next)
        componentPorts.apply(NetworkAssembly(configuration: next).settings)
        await replaceHosts(hosts)
        await information.apply(next)
        await renewal.apply(next)
        core.components.apply(components)
        core.sharedLists.follow(next, core)
        do throws(StoreError) { try await core.sharedGroups.follow(next, core, limitChanged: hasOtherLimit) } catch {
            logs.server.error("shared groups are as they were: the accounts cannot be read", metadata: ["why": "\(error)"])
        }
        if !components.isEmpty, !componentPorts.isOpen, next.listeners.contains(where: \.kind.isForComponents) {
            logs.server.warning("components can connect after a restart", metadata: ["why": "there were none at the start, so no port is open for them"])
        }
        endSessionsWithoutHost(hosts)
        let report = ReloadReport(
            applied: difference.changes.filter { !$0.needsRestart }.map(\.description),
            needingRestart: difference.changes.filter(\.needsRestart).map(\.description),
            warnings: fresh.warnings.map(\.summary) + warnings.map(\.description))
        logs.audit.record(.configurationReloaded(by: by, changed: report.applied))
        for change in report.needingRestart { logs.server.warning("a change waits for a restart", metadata: ["change": "\(change)"]) }
        for warning in report.warnings { logs.server.warning("the configuration is doubtful", metadata: ["at": "\(warning)"]) }
        return report
    }

    /// Reads certificates anew, of which one has been issued. - Returns: why that could not be done; then everything stays as it was.
    func certificateIssued() -> CommandFailure? {
        do throws(CommandFailure) {
            _ = try loadCertificates(configuration)
            return nil
        } catch { return error }
    }

    private func loadCertificates(_ next: ServerConfiguration) throws(CommandFailure) -> [CertificateWarning] {
        let now = time.wallSeconds
        let files = try DomainCertificates(configuration: next).files(nowSeconds: now).files
        do throws(CertificateError) {
            return try certificates.load(files, now: now, watchesHandshakes: next.authentication.channelBinding)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// Returns when every loop decides by the new domains.
    private func replaceHosts(_ hosts: HostTable) async {
        for loop in core.pool.loops {
            await withCheckedContinuation { continuation in
                loop.context.mailbox.replaceHosts(hosts) { continuation.resume() }
            }
        }
    }

    private func endSessionsWithoutHost(_ hosts: HostTable) {
        let gone = core.router.allSessions().filter { hosts.host(of: $0.address.bare) == nil }
        for session in gone { session.ref.mailbox.postAndWake(.end(session.ref, StreamError(.hostGone))) }
    }
}
