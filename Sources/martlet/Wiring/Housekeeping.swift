import Logging
import MartletCore
import MartletFeatures
import MartletNetwork
import MartletStorage
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import ServiceLifecycle

/// What the server does for itself every few seconds: sees whether the store answers, reserves names for messages, looks at its
/// certificates, its disk and its directories, lets archives forget, forgets devices, looks after uploaded files, follows block lists, and sees to rooms that
/// nobody has come back to and to occupants who are not there any more.
final class Housekeeping: Service {
    static let interval = Duration.seconds(5)
    /// Without a sign of life of the store for so long the server counts as ill.
    static let silenceMax = Duration.seconds(30)
    /// Turns between two looks at the disk, and at occupants who are silent: a minute.
    private static let minuteTurns = 12
    /// Turns between two looks at certificates, at the age of messages and at rooms: an hour.
    private static let hourlyTurns = 720

    private struct State {
        var lastAnswer: Int64
        var problem: String?
        var retention: Duration
        var deviceRetention: Duration
        /// Where rooms are.
        var roomDomains: [String]
        var freeSpaceWarning: Int?
        var configuration: ServerConfiguration
    }

    private let core: ServerCore
    private let certificates: CertificateStore
    private let logs: ServerLogs
    private let time: SystemClock
    private let dataFolder: String
    private let directories: DirectoryHousekeeping
    // Once per turn, and for whoever asks for the server's health.
    private let state: NIOLockedValueBox<State>

    init(
        _ core: ServerCore, _ certificates: CertificateStore, _ logs: ServerLogs, _ time: SystemClock, _ configuration: ServerConfiguration,
        _ directories: [BareJID: DirectoryAssembly.Assembled] = [:]
    ) {
        self.core = core
        self.certificates = certificates
        self.logs = logs
        self.time = time
        self.directories = DirectoryHousekeeping(directories, log: logs.server)
        dataFolder = configuration.server.dataFolder
        state = NIOLockedValueBox(
            State(
                lastAnswer: time.wallMilliseconds, retention: configuration.archive.retention, deviceRetention: configuration.devices.retention,
                roomDomains: RoomAddress(configuration).domains, freeSpaceWarning: configuration.storage.freeSpaceWarning,
                configuration: configuration))
    }

    /// After a reload.
    func apply(_ configuration: ServerConfiguration) {
        state.withLockedValue {
            $0.retention = configuration.archive.retention
            $0.deviceRetention = configuration.devices.retention
            $0.roomDomains = RoomAddress(configuration).domains
            $0.freeSpaceWarning = configuration.storage.freeSpaceWarning
            $0.configuration = configuration
        }
    }

    var health: OperationsStatus {
        let state = state.withLockedValue { $0 }
        let silence = time.wallMilliseconds - state.lastAnswer
        if let problem = state.problem { return OperationsStatus(isGood: false, text: problem) }
        if silence > Self.silenceMax.components.seconds * 1000 { return OperationsStatus(isGood: false, text: "the database has not answered for \(silence / 1000) s") }
        return OperationsStatus(isGood: true, text: "ok")
    }

    func run() async throws {
        await cancelWhenGracefulShutdown { [self] in await takeTurns() }
        // A service that returns ends the others; this one stays for as long as they do.
        try? await gracefulShutdown()
    }

    private func takeTurns() async {
        let start = time.monotonic
        var (turns, retention, disk, directories) = (0, ArchiveRetention(), DiskWatch(), self.directories)
        var expiry = CertificateExpiry(folder: dataFolder)
        // Beside the turns, so that the store is looked at and names are reserved in time, however many rooms there are.
        var hourly: Task<Void, Never>?
        var ghosts: Task<Void, Never>?
        while !Task.isCancelled {
            await lookAtStore()
            core.sharedLists.wake(core.router, on: core.mailbox)
            if turns % Self.minuteTurns == 0 {
                lookAtDisk(&disk)
                directories.lookAtContact()
                let last = ghosts
                ghosts = Task { [rooms] in
                    await last?.value
                    await rooms.lookForGhosts()
                }
            }
            if turns % Self.hourlyTurns == 0 {
                lookAtCertificates(&expiry)
                let isClockBelieved = retention.isClockBelieved(wall: time.wallMilliseconds, monotonic: time.monotonic)
                let last = hourly
                hourly = Task {
                    await last?.value
                    if isClockBelieved {
                        await forgetInvitations()
                        await forgetDevices()
                        await self.directories.deleteGone()
                        await lookAtMessages(since: start)
                    }
                    await lookAtUploads(expiring: isClockBelieved)
                }
            }
            turns += 1
            guard (try? await Task.sleep(for: Self.interval)) != nil else { break }
        }
        for task in [hourly, ghosts] {
            task?.cancel()
            await task?.value
        }
    }

    /// Those whose time was over an hour ago: whoever was let in by one may still be filling in the form (XEP-0445 §4).
    private func forgetInvitations() async {
        do throws(StoreError) {
            try await core.store.commit([.invitation(.removeExpired(now: time.wallMilliseconds - 3_600_000))])
        } catch {
            logs.server.warning("invitations that are too old stay", metadata: ["why": "\(error)"])
        }
    }

    /// Those that nobody has seen for long (`devices.retention`), as far as that is known.
    private func forgetDevices() async {
        let retention = state.withLockedValue { $0.deviceRetention }
        guard retention > .zero else { return }
        let last = time.wallMilliseconds - retention.components.seconds * 1_000 - StoredDevice.seenGranularity
        do throws(StoreError) {
            try await core.store.commit([.device(.removeUnseen(before: last))])
        } catch {
            logs.server.warning("devices that were not seen for long stay", metadata: ["why": "\(error)"])
        }
    }

    private func lookAtStore() async {
        do throws(StoreError) {
            let start = time.monotonic
            _ = try await core.store.idCeiling()
            logs.metrics.storeRead(nanoseconds: (time.monotonic - start).nanoseconds)
            try await reserve()
            settle(nil)
        } catch {
            settle(CommandFailure(error, in: "the data folder").message)
        }
    }

    private func reserve() async throws(StoreError) {
        guard let ceiling = core.router.ids.ceilingToReserve(wallMilliseconds: time.wallMilliseconds) else { return }
        try await core.store.commit([.idCeiling(ceiling)])
        core.router.ids.reserved(ceiling)
    }

    private func settle(_ problem: String?) {
        let now = time.wallMilliseconds
        let before = state.withLockedValue { state in
            defer {
                state.problem = problem
                if problem == nil { state.lastAnswer = now }
            }
            return state.problem
        }
        if let problem, before == nil { logs.server.error("the store does not take writes", metadata: ["why": "\(problem)"]) }
        if problem == nil, before != nil { logs.server.notice("the store takes writes again") }
    }

    private func lookAtDisk(_ watch: inout DiskWatch) {
        guard let space = DiskSpace(of: dataFolder) else { return }
        logs.metrics.dataSpace(freeBytes: space.freeBytes, freePercent: space.freePercent)
        let warning = state.withLockedValue { $0.freeSpaceWarning }
        let metadata: Logger.Metadata = ["folder": "\(dataFolder)", "free": "\(space.freeBytes)", "percent": "\(space.freePercent)"]
        switch watch.look(at: space, warning: warning) {
        case .low: logs.server.warning("there is little space for the database", metadata: metadata)
        case .enough: logs.server.notice("there is space for the database again", metadata: metadata)
        case nil: break
        }
    }

    private func lookAtMessages(since start: NIODeadline) async {
        let (age, domains) = state.withLockedValue { ($0.retention, $0.roomDomains) }
        do throws(StoreError) {
            try await cutArchives(age, ofRoomsAt: domains)
            try await destroyForsakenRooms(at: domains, since: start)
            try await core.store.commit([.node(.expire(at: time.wallMilliseconds))])
        } catch {
            logs.server.warning("archives keep what is too old; they are looked at again in an hour", metadata: ["why": "\(error)"])
        }
    }

    /// Also at the start: what a server that died was taking is removed then.
    private func lookAtUploads(expiring: Bool) async {
        do throws(UploadFault) {
            if expiring { try await core.uploads.expire() }
            let sweep = try await core.uploads.sweep()
            if sweep.removedFiles > 0 { logs.server.info("uploads are gone that nothing spoke for", metadata: ["count": "\(sweep.removedFiles)"]) }
            if sweep.missingCount > 0 {
                logs.server.error(
                    "uploaded files are missing",
                    metadata: ["count": "\(sweep.missingCount)", "names": "\(sweep.missing.prefix(10).joined(separator: " "))", "folder": "\(core.uploads.files.place)"])
            }
        } catch {
            logs.server.warning("uploaded files could not be looked after; they are looked at again in an hour", metadata: ["why": "\(error)"])
        }
    }

    private func cutArchives(_ age: Duration, ofRoomsAt domains: [String]) async throws(StoreError) {
        let now = time.wallMilliseconds
        if let floor = ArchiveRetention.floor(keeping: age, wall: now) {
            try await core.store.commit([.archiveFloors(upTo: floor)])
            MultiUserChat.forgetHistories(upTo: floor, core.router)
        }
        for domain in domains { try await rooms.cutArchives(of: domain, keeping: age) { ArchiveRetention.floor(keeping: $0, wall: now) } }
    }

    private func destroyForsakenRooms(at domains: [String], since start: NIODeadline) async throws(StoreError) {
        let up = Duration.nanoseconds((time.monotonic - start).nanoseconds)
        guard let created = RoomKeeping.lastCreation(wall: time.wallMilliseconds, up: up) else { return }
        for domain in domains {
            let count = try await rooms.destroyForsaken(of: domain, createdBefore: created)
            if count > 0 { logs.server.info("temporary rooms are gone that nobody was in", metadata: ["domain": "\(domain)", "count": "\(count)"]) }
        }
    }

    private var rooms: RoomKeeping { RoomKeeping(core.router, core.mailbox) }

    private func lookAtCertificates(_ expiry: inout CertificateExpiry) {
        let (now, configuration) = (time.wallSeconds, state.withLockedValue { $0.configuration })
        for certificate in certificates.all {
            logs.metrics.certificate(of: certificate.domain, ends: certificate.notAfter, daysLeft: certificate.expiring.daysLeft(now: now))
        }
        let (logged, told) = expiry.look(at: CertificateExpiry.all(configuration, certificates, now: now), now: now)
        for certificate in logged {
            if certificate.notAfter < now { logs.server.error("a certificate has expired", metadata: certificate.metadata) }
            else { logs.server.warning("a certificate expires soon", metadata: certificate.metadata) }
        }
        guard !told.isEmpty else { return }
        core.tellAdmins(of: told, configuration, now: now)
        do throws(CommandFailure) { try expiry.save() } catch {
            logs.server.warning("what was told of certificates cannot be written down, and is told again after a restart", metadata: ["why": "\(error.message)"])
        }
    }
}
