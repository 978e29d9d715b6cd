import Logging
import MartletCore
import MartletDirectory
import MartletFeatures
import MartletNetwork
import MartletStorage
import MartletXMPP
import NIOCore

/// Store, router and event loops: what a running server has in common with a command that works on the data of one that does not run.
struct ServerCore: Sendable {
    let store: SQLiteStore
    let router: Router
    let pool: LoopPool
    let uptime: Uptime
    let time: any TimeSource
    /// Behind the names of occupants of rooms (XEP-0421).
    let occupantSecret: [UInt8]
    let roomCounters: RoomCounters
    let capabilities: CapabilityCache
    let derivation: any KeyDerivation
    let passwordLifetime: PasswordLifetime
    let uploads: Uploads
    let components: ComponentRegistry
    let sharedLists: SharedListKeeper
    let sharedGroups: SharedGroupBook
    let directories: DirectoryBooks
    let bytestreams: (any BytestreamRelay)?

    struct Surroundings {
        var holder: String
        var creates: Bool
        var loops: Int
        var time: any TimeSource
        var audit: any AuditSink
        var log: Logger
        var remote: any RemoteDelivery = NoFederation()
        var derivation: any KeyDerivation = NoKeyDerivation()
        var bytestreams: (any BytestreamRelay)?
        var onCommit: @Sendable (Int, TimeAmount) -> Void = { _, _ in }
        /// The disk failed in a way that allows no further acknowledgement.
        var onFatal: @Sendable (StoreError) -> Void
    }

    /// Opens the store and makes everything that needs no network.
    ///
    /// - Throws: ``CommandFailure``, with nothing left open.
    static func open(_ configuration: ServerConfiguration, _ surroundings: Surroundings) async throws(CommandFailure) -> ServerCore {
        let uptime = Uptime(surroundings.time)
        let store = try openStore(configuration, surroundings)
        let (roomCounters, capabilities, components) = (RoomCounters(), CapabilityCache(), ComponentRegistry())
        let (sharedLists, sharedGroups) = (SharedListKeeper(time: surroundings.time), SharedGroupBook())
        let directories = DirectoryBooks(time: surroundings.time)
        let passwordLifetime = PasswordLifetime(milliseconds: configuration.accounts.passwordLifetimeMilliseconds, time: surroundings.time)
        let (uploads, secret, hosts): (Uploads, [UInt8], HostTable)
        do throws(CommandFailure) {
            uploads = Uploads(
                store: store, files: try configuration.fileStore(surroundings.time, surroundings.log), settings: UploadSettings(configuration.uploads),
                time: surroundings.time)
            secret = try ServerSecret.occupants.load(from: configuration.server.dataFolder)
            hosts = try HostAssembly(
                configuration: configuration, time: surroundings.time, uptime: uptime, audit: surroundings.audit, occupantSecret: secret,
                roomCounters: roomCounters, capabilities: capabilities, derivation: surroundings.derivation,
                passwords: try PasswordRules(configuration), passwordExpiry: EmbeddedPasswordExpiry(store: store, lifetime: passwordLifetime),
                components: components, uploads: uploads, sharedLists: sharedLists, sharedGroups: sharedGroups, directories: directories,
                bytestreams: surroundings.bytestreams
            ).table()
        } catch {
            store.close()
            throw error
        }
        do throws(StoreError) {
            try await sharedLists.load(configuration.sharedLists, from: store)
            let ids = StanzaIDSource(floor: try await store.idCeiling())
            try await ids.reserve(in: store, surroundings.time)
            let resent = ResentMessages(
                try await store.latestMessages(limit: ResentMessages.entriesMax),
                until: surroundings.time.monotonic + ResentMessages.rememberedFor)
            let router = Router(
                store: store, ids: ids, remote: surroundings.remote, audit: surroundings.audit, settings: Self.settings(configuration), resent: resent,
                uploads: uploads)
            let pool = LoopPool(count: surroundings.loops) { loop in
                LoopContext(loop: loop, hosts: hosts, store: store, time: surroundings.time, random: SystemRandom())
            }
            return ServerCore(
                store: store, router: router, pool: pool, uptime: uptime, time: surroundings.time, occupantSecret: secret,
                roomCounters: roomCounters, capabilities: capabilities, derivation: surroundings.derivation,
                passwordLifetime: passwordLifetime, uploads: uploads, components: components, sharedLists: sharedLists,
                sharedGroups: sharedGroups, directories: directories, bytestreams: surroundings.bytestreams)
        } catch {
            store.close()
            throw CommandFailure(error, in: configuration.server.dataFolder)
        }
    }

    private static func openStore(_ configuration: ServerConfiguration, _ surroundings: Surroundings) throws(CommandFailure) -> SQLiteStore {
        var options = SQLiteStore.Options(time: surroundings.time, logger: surroundings.log, onFatal: surroundings.onFatal)
        options.creates = surroundings.creates
        options.holder = surroundings.holder
        options.onCommit = surroundings.onCommit
        options.readers = configuration.storage.readers
        let synchronous: SQLiteDriver.Synchronous = configuration.storage.synchronous == .full ? .full : .normal
        options.driver = { SQLiteDriver(file: $0, synchronous: synchronous) }
        options.archiveMessagesMax = configuration.archive.messagesMax
        options.archiveBytesMax = configuration.archive.bytesMax
        options.reserveBytes = configuration.storage.reserveBytes ?? 0
        do throws(StorageError) {
            return try SQLiteStore.open(folder: configuration.server.dataFolder, options: options)
        } catch {
            throw CommandFailure(error)
        }
    }

    private static func settings(_ configuration: ServerConfiguration) -> RouterSettings {
        var settings = RouterSettings()
        settings.outboundBytesMax = configuration.limits.sessionQueueBytesMax
        settings.resumptionSeconds = Int(clamping: configuration.limits.resumptionTimeout.components.seconds)
        settings.unacknowledgedStanzasMax = configuration.limits.unacknowledgedStanzasMax
        settings.unacknowledgedBytesMax = configuration.limits.unacknowledgedBytesMax
        settings.held = ClientStateQueue.Limits(stanzasMax: configuration.limits.heldStanzasMax, bytesMax: configuration.limits.heldBytesMax)
        settings.keepsDeviceNames = configuration.devices.keepsNames
        return settings
    }

    var passwordExpiry: EmbeddedPasswordExpiry { EmbeddedPasswordExpiry(store: store, lifetime: passwordLifetime) }

    /// For what comes from no loop.
    var mailbox: LoopMailbox { pool.loops[0].context.mailbox }

    /// Ends the sessions whose connections are gone already: what their clients did not get waits on disk for them.
    func endSessions() async {
        for session in router.allSessions() { session.ref.mailbox.postAndWake(.end(session.ref, StreamError(.systemShutdown))) }
        // Once for what was posted, once for what came of that.
        for _ in 0..<2 {
            for loop in pool.loops {
                await withCheckedContinuation { continuation in loop.context.mailbox.run { _ in continuation.resume() } }
            }
        }
    }

    /// Commits what is queued and ends all threads.
    func close() async {
        store.close()
        await uploads.close()
        try? await pool.shutDown()
    }
}

extension StanzaIDSource {
    /// Writes a new ceiling if it is time to. Names are given only below one that is on disk.
    func reserve(in store: any Store, _ time: any TimeSource) async throws(StoreError) {
        guard let ceiling = ceilingToReserve(wallMilliseconds: time.wallMilliseconds) else { return }
        try await store.commit([.idCeiling(ceiling)])
        reserved(ceiling)
    }
}

extension CommandFailure {
    init(_ error: StoreError, in folder: String) {
        switch error {
        case .unavailable(let why): self.init(.temporary, "\(folder): the database does not answer: \(why)")
        case .full: self.init(.io, "\(folder): no space left on the device", hint: "make room; nothing that was acknowledged is lost")
        case .constraint(let why): self.init(.data, why)
        case .corrupt(let why): self.init(.data, "\(folder): the database is damaged: \(why)", hint: "run 'martlet verify'; restore a backup")
        }
    }

    init(_ error: StorageError) {
        let status: ExitStatus =
            switch error {
            case .missing: .noInput
            case .notADatabase, .foreign, .damaged, .newerSchema, .interruptedRestore: .data
            case .readOnly: .noPermission
            case .full, .refused: .io
            case .locked: .temporary
            case .exists: .cannotCreate
            }
        self.init(status, error.description)
    }
}
