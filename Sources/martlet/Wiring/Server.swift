import CoreMetrics
import Dispatch
import Foundation
import Logging
import MartletCore
import MartletDirectory
import MartletFeatures
import MartletNetwork
import MartletStorage
import MartletXMPP
import NIOConcurrencyHelpers
import ServiceLifecycle

/// The running server: everything is open when one exists, and closed when ``run()`` returns.
final class Server: Sendable {
    /// After the bound on the clients' part, what the rest of a stop may take.
    static let stopReserve = Duration.seconds(10)
    /// Space on the data folder's disk below which the last writes get the reserve.
    static let freeBytesMin = 16 << 20

    struct Start: Sendable {
        var loaded: LoadedConfiguration
        /// What a directory says of it.
        var followed: ConfigurationStart.Followed?
        var file: String?
        var logs: ServerLogs
        var time: SystemClock
        var notifier: SystemdNotifier
        var openFiles: Int?
    }

    private let start: Start
    private let core: ServerCore
    private let federation: FederationService?
    private let control: ServerControl
    private let housekeeping: Housekeeping
    private let services: [any Service]
    private let directories: [DirectoryAssembly.Assembled]
    private let passwords: PasswordThreads
    private let certificateFiles: [CertificateFiles]
    private let isReady: NIOLockedValueBox<Bool>

    private init(
        _ start: Start, _ core: ServerCore, _ passwords: PasswordThreads, _ certificates: (store: CertificateStore, files: [CertificateFiles]), _ federation: FederationService?,
        _ bytestreams: BytestreamService?
    ) async throws(CommandFailure) {
        let configuration = start.loaded.configuration
        let folder = configuration.server.dataFolder
        let (certificates, files) = certificates
        let directories = try DirectoryAssembly(configuration: configuration).services(
            .init(core: core, work: passwords, log: start.logs.server))
        let embedded = EmbeddedAccountSource(
            store: core.store, work: passwords, simulation: try Self.simulation(folder, configuration.authentication.scramIterations),
            lifetime: core.passwordLifetime)
        let accounts = AccountSourceByDomain(directories.mapValues(\.accounts), others: embedded)
        let challenges = ACMEChallenges()
        let service = ClientService(
            router: core.router, accounts: accounts, certificates: certificates, settings: NetworkAssembly(configuration: configuration).settings,
            clientCertificates: try Self.clientCertificates(configuration),
            issuers: TokenIssuers(try OAuthAssembly(configuration: configuration, on: core.pool.group).issuers()),
            kerberos: try KerberosAssembly(configuration: configuration).acceptor(log: start.logs.server),
            tokens: DeviceTokens(
                store: core.store, secret: try ServerSecret.tokens.load(from: folder), lifetime: core.passwordLifetime, time: start.time),
            uploads: core.uploads, challenges: challenges, log: start.logs.server)
        let listeners = NetworkAssembly(configuration: configuration).listeners
        let clients = ClientListenerService(listeners, service, on: core.pool)
        federation?.begin(core.router, on: core.pool)
        let peers = federation.map { PeerListenerService(listeners, $0, on: core.pool) }
        let componentService = ComponentService(
            core.components, router: core.router, certificates: certificates, settings: NetworkAssembly(configuration: configuration).settings,
            log: start.logs.server)
        let components = ComponentListenerService(listeners, componentService, on: core.pool)
        core.components.apply(try ComponentAssembly(configuration: configuration).settings)
        let directoryClients = try DirectoryClientAssembly(configuration: configuration).service(
            .init(
                core: core, accounts: accounts, certificates: certificates, clients: clients, directories: directories, audit: start.logs.audit,
                log: start.logs.server))
        let housekeeping = Housekeeping(core, certificates, start.logs, start.time, configuration, directories)
        let information = ServerInformationPublisher(core, federation, start.logs.server, start.time, configuration)
        let renewal = CertificateRenewal(challenges, on: core.pool.group, start.logs, start.time, configuration)
        let control = ServerControl(core, certificates, clients, federation, components, housekeeping, information, renewal, directories, start)
        await renewal.begin { await control.certificateIssued() }
        let follower = try await control.makeFollower(of: start.followed, on: core.pool.group)
        let isReady = NIOLockedValueBox(false)
        Self.addProbes(to: start.logs.registry, passwords, clients, isReady, core)
        start.logs.registry.addProbe { ServerMetrics.set(core.components.reports, in: $0) }
        start.logs.registry.addProbe { ServerMetrics.set(directories.mapValues(\.service), in: $0) }
        if let federation { start.logs.registry.addProbe { ServerMetrics.set(federation, in: $0) } }
        if let directoryClients { start.logs.registry.addProbe { ServerMetrics.set(directoryClients, in: $0) } }
        if let bytestreams { start.logs.registry.addProbe { ServerMetrics.set(bytestreams, in: $0) } }
        let rosters = directories.values.compactMap(\.rosters)
        if !rosters.isEmpty { start.logs.registry.addProbe { ServerMetrics.set(rosters, in: $0) } }
        let operations = Self.operations(start.logs.registry, housekeeping, isReady, core)
        let socket = ControlListener(path: configuration.controlSocketPath, on: core.pool.group) { await control.answer($0, $1) }
        do throws(StoreError) { try await core.sharedGroups.follow(configuration, core) } catch { throw CommandFailure(error, in: folder) }
        await Self.restoreSessions(core, folder, start.logs.server)
        if let federation { try await Self.resume(federation, core, start.logs.server) }
        await Self.followLists(core, configuration, start.logs.server)
        try await Self.begin(directories, copying: DirectoryAssembly(configuration: configuration).rosterDomains, core.store)
        do throws(ListenerError) {
            try await clients.start()
            try await peers?.start()
            try await components.start()
            try await directoryClients?.start()
            try await bytestreams?.start(on: core.pool.group)
            if let port = configuration.metrics.port { try await operations.start(address: configuration.metrics.address.description, port: port) }
        } catch {
            throw CommandFailure(error, start.loaded)
        }
        try await socket.start()
        await follower?.begin()
        self.start = start
        self.core = core
        self.federation = federation
        self.control = control
        self.housekeeping = housekeeping
        self.passwords = passwords
        self.isReady = isReady
        certificateFiles = files
        self.directories = Array(directories.values)
        // They stop in the opposite order: first no new clients and the end of those that are there.
        services = [
            housekeeping, information, renewal, OpenService(stop: operations.stop), OpenService(stop: socket.stop), OpenService { await follower?.stop() },
            OpenService {
                await peers?.stopAccepting()
                await components.stopAccepting()
                await directoryClients?.stop()
                await bytestreams?.stop()
                for directory in directories.values { await directory.stop() }
                await Self.stop(clients, core, folder, start.logs.server)
            },
        ]
    }

    /// Opens everything: the data folder with its lock, the certificates, the ports, the control socket.
    static func open(_ start: Start) async throws(CommandFailure) -> Server {
        let configuration = start.loaded.configuration
        let loops = configuration.server.eventLoops
        let certificates = CertificateStore()
        try PrivateFiles.makeFolder(configuration.server.dataFolder)
        let files = try load(certificates, configuration, start)
        let federation = try FederationAssembly(configuration: configuration).service(certificates, log: start.logs.server)
        let passwords = PasswordThreads(
            threads: configuration.authentication.concurrentPasswordHashesMax, waitingMax: configuration.authentication.queuedPasswordHashesMax)
        let bytestreams = BytestreamService(configuration.bytestreams, log: start.logs.server)
        let core = try await ServerCore.open(
            configuration,
            .init(
                holder: "martlet serve", creates: true, loops: loops > 0 ? loops : System.coreCount, time: start.time, audit: start.logs.audit,
                log: start.logs.server, remote: federation ?? NoFederation(), derivation: passwords, bytestreams: bytestreams,
                onCommit: { [metrics = start.logs.metrics] in metrics.storeCommit(submits: $0, $1) },
                onFatal: { Self.endAtOnce($0, start.logs) }))
        do throws(CommandFailure) {
            return try await Server(start, core, passwords, (certificates, files), federation, bytestreams)
        } catch {
            await core.close()
            throw error
        }
    }

    /// Serves until somebody asks for the end.
    func run() async throws {
        let group = ServiceGroup(configuration: .init(services: services, logger: quietLogger))
        let signals = StopSignals(reload: { [control] in Task { await control.reloadBySignal() } }, stop: { [self] in stop(group) })
        defer { withExtendedLifetime(signals) {} }
        isReady.withLockedValue { $0 = true }
        start.notifier.ready("serving \(start.loaded.configuration.domains.map(\.name).joined(separator: ", "))")
        print(announcement.text, terminator: "")
        // A pipe is written at once, too: whoever waits for these lines sees them.
        fflush(nil)
        start.logs.server.notice("ready", metadata: ["version": "\(MartletVersion.current)"])
        try await group.run()
        await close()
    }

    private var announcement: Announcement {
        Announcement(
            loaded: start.loaded, file: start.file, certificates: certificateFiles, storePromise: core.store.promise, openFiles: start.openFiles)
    }

    // MARK: Opening

    private static func load(
        _ certificates: CertificateStore, _ configuration: ServerConfiguration, _ start: Start
    ) throws(CommandFailure) -> [CertificateFiles] {
        let now = start.time.wallSeconds
        let (files, made) = try DomainCertificates(configuration: configuration).files(nowSeconds: now)
        for domain in made { start.logs.server.notice("made a certificate", metadata: ["domain": "\(domain)"]) }
        do throws(CertificateError) {
            try certificates.load(files, now: now, watchesHandshakes: configuration.authentication.channelBinding)
        } catch {
            throw CommandFailure(error)
        }
        return files
    }

    private static func clientCertificates(_ configuration: ServerConfiguration) throws(CommandFailure) -> ClientCertificates {
        let assembly = ClientCertificateAssembly(configuration: configuration)
        return ClientCertificates(try assembly.settings(), assembly.isNeeded ? try assembly.checker() : nil)
    }

    private static func simulation(_ folder: String, _ iterations: Int) throws(CommandFailure) -> ScramSimulation {
        let secret = try ServerSecret.simulation.load(from: folder)
        do throws(ScramKeysError) {
            return try ScramSimulation(secret: secret, iterations: iterations)
        } catch {
            throw CommandFailure(.configuration, "authentication.scram-iterations: \(error)")
        }
    }

    /// What was known of them is there before anybody comes.
    private static func begin(
        _ directories: [BareJID: DirectoryAssembly.Assembled], copying domains: Set<String>, _ store: any Store
    ) async throws(CommandFailure) {
        do throws(StoreError) { try await store.commit([.rosterCopy(.domains(domains))]) } catch {
            throw CommandFailure(.io, "it cannot be noted which rosters are in a directory: \(error)")
        }
        for (domain, directory) in directories {
            do throws(AccountRefusal) { try await directory.service.begin() } catch {
                throw CommandFailure(.data, "the accounts of \(domain) cannot be read: \(error)")
            }
            await directory.rosters?.begin()
        }
    }

    /// Sessions of a server that stopped in order can be resumed here. That they cannot is no reason not to start.
    private static func restoreSessions(_ core: ServerCore, _ folder: String, _ log: Logger) async {
        do throws(CommandFailure) {
            guard let sessions = try SavedSessions.take(from: folder) else {
                return log.warning("the sessions of the last run cannot be read: their clients log in anew")
            }
            guard !sessions.isEmpty else { return }
            await core.restoreSessions(sessions)
            log.info("sessions of the last run can be resumed", metadata: ["count": "\(sessions.count)"])
        } catch {
            log.warning("the sessions of the last run cannot be read: their clients log in anew", metadata: ["why": "\(error.message)"])
        }
    }

    /// Messages for other servers that the last run could not hand over.
    private static func resume(_ federation: FederationService, _ core: ServerCore, _ log: Logger) async throws(CommandFailure) {
        do throws(StoreError) {
            let hosts = core.pool.loops[0].context.hosts
            let count = federation.resume(try await core.store.queues()) { hosts.isOurs($0) }
            if count > 0 { log.notice("messages wait for other servers since the last run", metadata: ["count": "\(count)"]) }
        } catch {
            throw CommandFailure(.io, "messages that wait for other servers cannot be read: \(error)")
        }
    }

    /// Block lists that others share. What was known of them when the last run ended is in force already.
    private static func followLists(_ core: ServerCore, _ configuration: ServerConfiguration, _ log: Logger) async {
        do throws(StoreError) { try await core.sharedLists.forgetOthers(than: configuration.sharedLists, in: core.store) } catch {
            log.warning("block lists that are not in the configuration any more cannot be forgotten", metadata: ["why": "\(error)"])
        }
        core.sharedLists.follow(configuration, core)
    }

    private static func addProbes(
        to registry: OpenMetricsRegistry, _ passwords: PasswordThreads, _ clients: ClientListenerService, _ isReady: NIOLockedValueBox<Bool>,
        _ core: ServerCore
    ) {
        registry.addProbe { registry in
            func set(_ name: String, _ value: Int) { registry.makeMeter(label: name, dimensions: []).set(Int64(value)) }
            set("martlet_ready", isReady.withLockedValue { $0 } ? 1 : 0)
            set("martlet_connections", clients.connectionCount)
            set("martlet_connections_unauthenticated", clients.unauthenticatedCount)
            set("martlet_unauthenticated_bytes", clients.unauthenticatedBytes)
            set("martlet_password_hashes_open", passwords.openCount)
            set("martlet_store_waiting", core.store.waitingSubmits)
            set("martlet_rooms", core.roomCounters.rooms)
            set("martlet_room_occupants", core.roomCounters.occupants)
        }
        let counters = core.pool.loops.map(\.context.counters)
        registry.addProbe { ServerMetrics.set(counters, in: $0) }
        registry.addProbe { ServerMetrics.set(core.uploads.counters, in: $0) }
        registry.addProbe { ServerMetrics.set(core.sharedLists, in: $0) }
    }

    private static func operations(
        _ registry: OpenMetricsRegistry, _ housekeeping: Housekeeping, _ isReady: NIOLockedValueBox<Bool>, _ core: ServerCore
    ) -> OperationsListener {
        let readiness = { @Sendable in
            let isGood = isReady.withLockedValue { $0 }
            return OperationsStatus(isGood: isGood, text: isGood ? "ready" : "not ready")
        }
        return OperationsListener(.init(metrics: { registry.text() }, health: { housekeeping.health }, readiness: readiness), on: core.pool.group)
    }

    // MARK: The end

    /// No new clients; those that can go on with their streams at the next start lose their connections, the others are told.
    private static func stop(_ clients: ClientListenerService, _ core: ServerCore, _ folder: String, _ log: Logger) async {
        await clients.stopAccepting()
        let sessions = await core.suspendSessions()
        do throws(CommandFailure) { try SavedSessions.write(sessions, to: folder) } catch {
            log.warning("sessions cannot be written down: their clients log in anew", metadata: ["why": "\(error.message)"])
        }
        await clients.stop()
    }

    /// On the signals' queue.
    private func stop(_ group: ServiceGroup) {
        start.logs.server.notice("stopping")
        isReady.withLockedValue { $0 = false }
        start.notifier.stopping()
        let bound = control.stopTimeout + Self.stopReserve
        let logs = start.logs
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(Int(bound.components.seconds))) {
            logs.server.critical("the stop takes too long; ending at once", metadata: ["seconds": "\(bound.components.seconds)"])
            logs.output.flush()
            _exit(ExitStatus.temporary.rawValue)
        }
        Task { await group.triggerGracefulShutdown() }
    }

    private func close() async {
        if let space = DiskSpace(of: start.loaded.configuration.server.dataFolder), space.freeBytes < Self.freeBytesMin { core.store.releaseReserve() }
        await core.endSessions()
        await federation?.stop()
        await core.close()
        await passwords.stop()
        start.logs.server.notice("stopped")
        start.logs.output.flush()
    }

    /// The disk failed: nothing more may be acknowledged (P19). The next start recovers from the write-ahead log.
    private static func endAtOnce(_ error: StoreError, _ logs: ServerLogs) {
        logs.server.critical("the database failed, the server ends and recovers at its next start", metadata: ["why": "\(error)"])
        logs.output.flush()
        _exit(ExitStatus.io.rawValue)
    }

    /// The service group's own lines say nothing to an operator.
    private var quietLogger: Logger {
        var logger = start.logs.output.logger("lifecycle")
        logger.logLevel = .error
        return logger
    }
}

/// Something that is open already and is closed when the server stops.
private struct OpenService: Service {
    let stop: @Sendable () async -> Void

    func run() async throws {
        try? await gracefulShutdown()
        await stop()
    }
}

extension BytestreamService {
    /// `nil` where no files are relayed.
    fileprivate convenience init?(_ configuration: ServerConfiguration.Bytestreams, log: Logger) {
        guard configuration.isEnabled else { return nil }
        var limits = Limits()
        limits.activePerAccountMax = configuration.streamsPerAccountMax
        limits.activeMax = configuration.streamsMax
        self.init(port: configuration.port, addresses: configuration.addresses.map(\.description), limits, log: log)
    }
}

/// What the machine has.
enum System {
    static var coreCount: Int { max(ProcessInfo.processInfo.activeProcessorCount, 1) }
}
