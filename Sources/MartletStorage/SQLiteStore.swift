internal import Dispatch
package import Logging
package import MartletCore
package import MartletXMPP
internal import NIOConcurrencyHelpers
package import NIOCore

/// The embedded store: one SQLite database in the data folder, one thread that writes, a few that read.
///
/// `SQLiteStore.open(folder:)` locks the folder, brings the schema up to date and starts the threads; ``close()`` commits
/// what is queued and ends them.
package final class SQLiteStore: Store {
    /// From the beginning of a commit to that of the next, see ``StoreWriter/commitInterval``.
    package static var commitInterval: TimeAmount { StoreWriter.commitInterval }

    package struct Options: Sendable {
        /// Makes folder and database if there are none.
        package var creates = true
        /// Whom others that want the folder are told of.
        package var holder = "martlet"
        /// Threads that read. Each has its own connection and page cache.
        package var readers = 2
        /// Submits that may wait for the disk; one more is refused as ``StoreError/unavailable(_:)``.
        package var queuedSubmitsMax = 65_536
        /// Bytes of stanzas and documents that may wait for the disk, in all.
        package var queuedBytesMax = 64 << 20
        /// Views of messages whose index is in memory only, before it is put into the database (``LogIndex``): about 100 bytes
        /// each, and 2 µs each at the next start.
        package var indexThreshold = 65_536
        /// Messages of an archive that are looked at in one turn; then it is another account's.
        package var archiveSliceRows = 1_024
        /// Messages that an account's archive holds; beyond, the oldest are forgotten.
        package var archiveMessagesMax = Int.max
        /// Bytes of stanzas that an account's archive holds.
        package var archiveBytesMax = Int.max
        /// Size of the file that gives its space for a clean end on a full disk; 0 for none.
        package var reserveBytes = 64 << 20
        package var migrations = Schema.migrations
        package var time: any TimeSource
        package var logger: Logger
        /// Called once when a write or an fsync failed or the database contradicts itself: the process has to end, with
        /// status 74, without acknowledging anything more; the next start recovers from the write-ahead log.
        package var onFatal: @Sendable (StoreError) -> Void
        /// Told of every commit, on the writer's thread: how many submits it carried, and how long it took.
        package var onCommit: @Sendable (Int, TimeAmount) -> Void = { _, _ in }
        /// The driver for a database file; tests put failures into it.
        package var driver: @Sendable (String) -> any SQLDriver = { SQLiteDriver(file: $0) }

        package init(time: any TimeSource, logger: Logger, onFatal: @escaping @Sendable (StoreError) -> Void) {
            self.time = time
            self.logger = logger
            self.onFatal = onFatal
        }
    }

    private let folder: DataFolder
    private let options: Options
    private let lock: NIOLockedValueBox<FolderLock?>
    private let writer: StoreWriter
    private let readers: StoreReaders
    /// Archives have a reader of their own, on which accounts take turns: whoever searches his keeps nobody from logging in, and from reading.
    private let archiveReaders: StoreReaders
    /// Which database this is and what it promises of a commit, for the operator.
    package let promise: String

    private init(
        _ folder: DataFolder, _ options: Options, _ lock: FolderLock, _ driver: any SQLDriver, _ connection: any SQLConnection
    ) throws(SQLError) {
        let tail = LogTail()
        let quota = ArchiveQuota(messagesMax: options.archiveMessagesMax, bytesMax: options.archiveBytesMax)
        let index = try LogIndex(connection, tail: tail, mergeThreshold: options.indexThreshold, quota: quota, time: options.time)
        // The two need each other's numbers: readers wait for the writer, the writer wakes readers.
        let link = Link()
        let writer = try StoreWriter(
            connection, index: index, limits: .init(submitsMax: options.queuedSubmitsMax, bytesMax: options.queuedBytesMax),
            time: options.time, logger: options.logger, onSettled: { sequence in
                link.readers?.settled(upTo: sequence)
                link.archiveReaders?.settled(upTo: sequence)
            },
            onCommit: options.onCommit, onFatal: options.onFatal)
        let readers = StoreReaders(issued: { writer.issued }, settled: { writer.settled })
        let archiveReaders = StoreReaders(issued: { writer.issued }, settled: { writer.settled })
        link.readers = readers
        link.archiveReaders = archiveReaders
        let slice = ArchiveSearch.Slice(rows: max(1, options.archiveSliceRows))
        var statements: [ReadStatements] = []
        for _ in 0..<max(1, options.readers) { statements.append(try ReadStatements(try driver.openReader(), tail: tail, slice: slice)) }
        let archiveStatements = [try ReadStatements(try driver.openReader(), tail: tail, slice: slice)]
        self.folder = folder
        self.options = options
        self.lock = NIOLockedValueBox(lock)
        self.writer = writer
        self.readers = readers
        self.archiveReaders = archiveReaders
        promise = connection.promise
        writer.start()
        readers.start(statements)
        archiveReaders.start(archiveStatements)
    }

    /// `@unchecked`: set before the writer starts, and only read from then on.
    private final class Link: @unchecked Sendable {
        weak var readers: StoreReaders?
        weak var archiveReaders: StoreReaders?
    }
}

// MARK: Opening and closing

extension SQLiteStore {
    /// Opens the database of a data folder, making it and its tables where that is allowed. Blocks.
    package static func open(folder path: String, options: Options) throws(StorageError) -> SQLiteStore {
        let folder = DataFolder(path: path)
        if options.creates { try FileSystem.makePrivateFolder(path) }
        guard FileSystem.exists(path) else { throw .missing(path) }
        let lock = try FolderLock(folder.lock, holder: options.holder)
        try makeFile(folder, creates: options.creates)
        let driver = options.driver(folder.database)
        let connection = try withDatabase(at: folder.database, driver.openWriter)
        do throws(StorageError) {
            try migrate(connection, driver.dialect, folder, options.migrations)
            let store = try withDatabase(at: folder.database) { () throws(SQLError) in
                try SQLiteStore(folder, options, lock, driver, connection)
            }
            store.makeReserve()
            return store
        } catch {
            connection.close()
            throw error
        }
    }

    private static func makeFile(_ folder: DataFolder, creates: Bool) throws(StorageError) {
        let exists = FileSystem.exists(folder.database)
        if !exists {
            guard !FileSystem.exists(folder.restoring) else { throw .interruptedRestore(folder.path) }
            guard creates else { throw .missing(folder.database) }
            for path in DataFolder.companions(of: folder.database) where FileSystem.size(of: path) ?? 0 > 0 {
                throw .damaged(folder.database, problems: ["the database is gone, but not \(path)"])
            }
        }
        try FileSystem.makePrivateFile(folder.database)
        if !exists { try FileSystem.synchronise(folder.path) }
    }

    /// Brings the schema up to date, keeping a copy of what an older version of the server could still use.
    private static func migrate(
        _ connection: any SQLConnection, _ dialect: SQLDialect, _ folder: DataFolder, _ migrations: [Migration]
    ) throws(StorageError) {
        do throws(Schema.Mismatch) {
            let found = try Schema.version(of: connection)
            if found == 0 { try refuseForeign(connection) }
            if found > 0, found < migrations.last?.version ?? 0 { try keepCopy(ofSchema: found, folder) }
            try Schema.migrate(connection, dialect: dialect, by: migrations)
        } catch {
            throw StorageError(error, at: folder.database)
        }
    }

    private static func refuseForeign(_ connection: any SQLConnection) throws(Schema.Mismatch) {
        let tables = try? connection.rows("SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'") { $0.integer(0) }
        guard tables?.first == 0 else { throw .foreign }
    }

    private static func keepCopy(ofSchema version: Int, _ folder: DataFolder) throws(Schema.Mismatch) {
        let copy = folder.copy(ofSchema: version)
        FileSystem.remove(copy)
        do throws(StorageError) { try Backup.copy(folder.database, to: copy) } catch { throw .noCopy(error.description) }
    }

    private func makeReserve() {
        guard options.reserveBytes > 0, FileSystem.size(of: folder.reserve) ?? 0 < options.reserveBytes else { return }
        if !FileSystem.reserve(folder.reserve, bytes: options.reserveBytes) {
            options.logger.warning("no space for the reserve", metadata: ["file": "\(folder.reserve)", "bytes": "\(options.reserveBytes)"])
        }
    }

    /// Gives the reserved space back, so that a full disk takes the last writes before the server ends. The next start makes
    /// the reserve again.
    package func releaseReserve() { FileSystem.remove(folder.reserve) }

    /// Commits what is queued, answers what is read, ends the threads and lets go of the folder. Blocks; later calls do
    /// nothing.
    package func close() {
        writer.close()
        readers.close()
        archiveReaders.close()
        lock.withLockedValue { $0 = nil }
    }
}

// MARK: The contract

extension SQLiteStore {
    @discardableResult
    package func submit(_ writes: [Write]) -> CommitTicket { writer.submit(writes, nil) }

    package func submit(_ writes: [Write], _ done: @escaping @Sendable (Result<Void, StoreError>) -> Void) {
        _ = writer.submit(writes, done)
    }

    /// Submits that wait for the disk: for metrics.
    package var waitingSubmits: Int {
        let settled = writer.settled
        return Int(clamping: writer.issued &- settled)
    }
    package var settled: CommitTicket { CommitTicket(sequence: writer.settled) }
    package func outcome(of ticket: CommitTicket) -> Result<Void, StoreError> { writer.outcome(of: ticket) }
    package func onSettled(_ handler: @escaping @Sendable () -> Void) { writer.addHandler(handler) }
    package func expectSettlement(of ticket: CommitTicket) { writer.expectSettlement(of: ticket) }

    package func loadAccount(_ address: BareJID, _ done: @escaping @Sendable (Result<StoredAccount?, StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.account(address) }, done)
    }

    package func messages(
        of account: AccountID, after: UInt64, limit: Int, _ done: @escaping @Sendable (Result<[LoggedMessage], StoreError>) -> Void
    ) {
        read({ statements throws(SQLError) in try statements.messages(of: account, after: after, limit: limit) }, done)
    }

    package func queues() async throws(StoreError) -> [StoredQueue] {
        try await read { statements throws(SQLError) in try statements.queues() }
    }

    package func handled(
        on stream: UInt64, of account: AccountID, _ done: @escaping @Sendable (Result<UInt32?, StoreError>) -> Void
    ) {
        read({ statements throws(SQLError) in try statements.handled(on: stream, of: account) }, done)
    }

    package func loadRoom(_ address: BareJID, history: Int, _ done: @escaping @Sendable (Result<StoredRoom?, StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.room(address, history: history) }, done)
    }

    /// In slices as well, in turns with archives: all lists of rooms together have the turns of one account.
    package func rooms(_ request: RoomListRequest) async throws(StoreError) -> RoomPage {
        var search = RoomSearch(request)
        while !search.isDone {
            let before = search
            search = try await readArchive(of: .nobody, goesOn: before.hasBegun) { statements throws(SQLError) in try statements.step(before) }
        }
        return search.builder.page()
    }

    package func roomCount(domain: String, isPublic: Bool?) async throws(StoreError) -> Int {
        try await read { statements throws(SQLError) in try statements.roomCount(domain: domain, isPublic: isPublic) }
    }

    /// Each slice is a read of its own: between two of them others have their turn (``ArchiveSearch``).
    package func archive(of account: AccountID, _ request: ArchiveRequest) async throws(StoreError) -> ArchivePage? {
        var search = ArchiveSearch(request)
        while !search.isDone {
            let before = search
            let after = try await readArchive(of: account, goesOn: before.hasBegun) { statements throws(SQLError) in
                try statements.step(before, of: account)
            }
            guard let after else { return nil }
            search = after
        }
        return search.builder.page()
    }

    package func archiveEnds(of account: AccountID) async throws(StoreError) -> ArchiveEnds? {
        try await readArchive(of: account) { statements throws(SQLError) in try statements.archiveEnds(of: account) }
    }

    private func readArchive<Value: Sendable>(
        of account: AccountID, goesOn: Bool = false, _ question: @escaping @Sendable (ReadStatements) throws(SQLError) -> Value
    ) async throws(StoreError) -> Value {
        let logger = options.logger
        let answer: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            archiveReaders.read(of: account, goesOn: goesOn) { continuation.resume(returning: Self.answer($0, question, logger)) }
        }
        return try answer.get()
    }

    package func loadGrantors(to account: BareJID, _ done: @escaping @Sendable (Result<Set<BareJID>, StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.grantors(to: account) }, done)
    }

    package func loadNodes(of owner: NodeOwner, _ done: @escaping @Sendable (Result<[StoredNode], StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.nodes(of: owner) }, done)
    }

    package func loadMarks(of node: NodeID, _ done: @escaping @Sendable (Result<[NodeItemMark], StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.marks(of: node) }, done)
    }

    package func items(of node: NodeID, _ request: NodeItemsRequest) async throws(StoreError) -> [NodeItem] {
        try await read { statements throws(SQLError) in try statements.items(of: node, request) }
    }

    package func items(of node: NodeID, named names: [String]) async throws(StoreError) -> [NodeItem] {
        try await read { statements throws(SQLError) in try statements.items(of: node, named: names) }
    }

    package func loadLastItems(of nodes: [NodeID], _ done: @escaping @Sendable (Result<[NodeID: NodeItem], StoreError>) -> Void) {
        read({ statements throws(SQLError) in try statements.lastItems(of: nodes) }, done)
    }

    package func upload(named name: String) async throws(StoreError) -> StoredUpload? {
        try await read { statements throws(SQLError) in try statements.upload(named: name) }
    }

    package func uploads(of account: AccountID?, after: String, limit: Int) async throws(StoreError) -> [StoredUpload] {
        try await read { statements throws(SQLError) in try statements.uploads(of: account, after: after, limit: limit) }
    }

    package func uploadOwners() async throws(StoreError) -> [AccountID] {
        try await read { statements throws(SQLError) in try statements.uploadOwners() }
    }

    /// Beside archives: the sum over a domain takes a look at each of its files.
    package func uploadUsage(of scope: UploadScope, now: Int64, since: Int64) async throws(StoreError) -> UploadUsage {
        try await readArchive(of: .nobody) { statements throws(SQLError) in try statements.uploadUsage(of: scope, now: now, since: since) }
    }

    /// Beside archives: all searches together have the turns of one account.
    package func cards(_ search: CardSearch) async throws(StoreError) -> [FoundCard] {
        try await readArchive(of: .nobody) { statements throws(SQLError) in try statements.cards.cards(search) }
    }

    package func reports(before: Int64?, limit: Int) async throws(StoreError) -> [StoredReport] {
        try await read { statements throws(SQLError) in try statements.reports.reports(before: before, limit: limit) }
    }

    package func report(_ id: Int64) async throws(StoreError) -> StoredReport? {
        try await read { statements throws(SQLError) in try statements.reports.report(id) }
    }

    package func sharedLists() async throws(StoreError) -> [StoredSharedList] {
        try await read { statements throws(SQLError) in try statements.sharedLists.all() }
    }

    package func devices(of account: AccountID) async throws(StoreError) -> [StoredDevice] {
        try await read { statements throws(SQLError) in try statements.devices.devices(of: account) }
    }

    package func device(_ id: DeviceID, of account: AccountID) async throws(StoreError) -> StoredDevice? {
        try await read { statements throws(SQLError) in try statements.devices.device(id, of: account) }
    }

    package func certificates(of account: AccountID) async throws(StoreError) -> [AccountCertificate] {
        try await read { statements throws(SQLError) in try statements.certificates.certificates(of: account) }
    }

    package func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) async throws(StoreError) -> [BareJID] {
        try await read { statements throws(SQLError) in try statements.certificates.holders(of: certificate, domain: domain, limit: limit) }
    }

    package func document(_ account: AccountID, _ key: DocumentKey) async throws(StoreError) -> ByteBuffer? {
        try await read { statements throws(SQLError) in try statements.document(account, key) }
    }

    package func invitation(_ key: InvitationKey) async throws(StoreError) -> StoredInvitation? {
        try await read { statements throws(SQLError) in try statements.invitations.invitation(key) }
    }

    package func invitation(reserving address: BareJID, now: Int64) async throws(StoreError) -> StoredInvitation? {
        try await read { statements throws(SQLError) in try statements.invitations.invitation(reserving: address, now: now) }
    }

    package func invitations(domain: String?, after: InvitationKey?, limit: Int) async throws(StoreError) -> [StoredInvitation] {
        try await read { statements throws(SQLError) in try statements.invitations.invitations(domain: domain, after: after, limit: limit) }
    }

    package func linkedAccounts(after: BareJID?, limit: Int) async throws(StoreError) -> [LinkedAccount] {
        try await read { statements throws(SQLError) in try statements.directoryLinks.accounts(after: after, limit: limit) }
    }

    package func directoryLink(of account: BareJID) async throws(StoreError) -> DirectoryLink? {
        try await read { statements throws(SQLError) in try statements.directoryLinks.link(of: account) }
    }

    package func rosterNotes(domain: String, after: UInt64, limit: Int) async throws(StoreError) -> [RosterNote] {
        try await read { statements throws(SQLError) in try statements.rosterNotes.notes(domain: domain, after: after, limit: limit) }
    }

    package func rosterNotes(of account: BareJID) async throws(StoreError) -> [RosterNote] {
        try await read { statements throws(SQLError) in try statements.rosterNotes.notes(of: account) }
    }

    package func rosterNoteCount(domain: String) async throws(StoreError) -> Int {
        try await read { statements throws(SQLError) in try statements.rosterNotes.count(domain: domain) }
    }

    package func onRosterNote(_ handler: @escaping @Sendable () -> Void) { writer.addNoteHandler(handler) }

    package func credentials(of address: BareJID) async throws(StoreError) -> StoredIdentity? {
        try await read { statements throws(SQLError) in try statements.identity(of: address) }
    }

    package func credentials(of address: BareJID, with device: DeviceID) async throws(StoreError) -> (identity: StoredIdentity?, device: StoredDevice?) {
        try await read { statements throws(SQLError) in try statements.identity(of: address, with: device) }
    }

    package func accounts(domain: String?, after: BareJID?, limit: Int) async throws(StoreError) -> [AccountSummary] {
        try await read { statements throws(SQLError) in try statements.accounts(domain: domain, after: after, limit: limit) }
    }

    package func latestMessages(limit: Int) async throws(StoreError) -> [LoggedMessage] {
        try await read { statements throws(SQLError) in try statements.latestMessages(limit: limit) }
    }

    package func idCeiling() async throws(StoreError) -> UInt64 {
        try await read { statements throws(SQLError) in try statements.idCeiling() }
    }

    private func read<Value: Sendable>(
        _ question: @escaping @Sendable (ReadStatements) throws(SQLError) -> Value,
        _ done: @escaping @Sendable (Result<Value, StoreError>) -> Void
    ) {
        let logger = options.logger
        readers.read { done(Self.answer($0, question, logger)) }
    }

    private func read<Value: Sendable>(_ question: @escaping @Sendable (ReadStatements) throws(SQLError) -> Value) async throws(StoreError) -> Value {
        let answer: Result<Value, StoreError> = await withCheckedContinuation { continuation in
            read(question) { continuation.resume(returning: $0) }
        }
        return try answer.get()
    }

    /// On a reader's thread.
    private static func answer<Value>(
        _ statements: Result<ReadStatements, StoreError>, _ question: (ReadStatements) throws(SQLError) -> Value, _ logger: Logger
    ) -> Result<Value, StoreError> {
        Result { () throws(StoreError) in
            let statements = try statements.get()
            do throws(SQLError) { return try question(statements) } catch {
                logger.error("the database refuses a read", metadata: ["error": "\(error.message)", "code": "\(error.code)"])
                throw StoreError(error)
            }
        }
    }
}

// MARK: What operators and tests do

extension SQLiteStore {
    /// Copies the database as it is at one moment into a new private file, with a manifest beside it, while the server goes
    /// on. On disk when it returns.
    @discardableResult
    package func backup(
        to file: String, progress: @escaping @Sendable (BackupProgress) -> Void = { _ in }
    ) async throws(StorageError) -> BackupManifest {
        let (folder, created) = (folder.path, options.time.wallMilliseconds)
        let result: Result<BackupManifest, StorageError> = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(returning: Result { () throws(StorageError) in
                    try Self.backup(folder: folder, to: file, created: created, progress: progress)
                })
            }
        }
        return try result.get()
    }

    /// The same from outside the server, which may be running. Blocks.
    @discardableResult
    package static func backup(
        folder: String, to file: String, created: Int64, progress: (BackupProgress) -> Void = { _ in }
    ) throws(StorageError) -> BackupManifest {
        try Backup.make(of: DataFolder(path: folder).database, to: file, created: created, progress: progress)
    }

    /// Reads a whole database, which may be in use, and says what is wrong with it. Blocks.
    package static func verify(folder: String, migrations: [Migration] = Schema.migrations) throws(StorageError) -> VerificationReport {
        try Verification.verify(DataFolder(path: folder).database, migrations: migrations)
    }

    /// Checks a backup against its manifest and then as a database. Blocks.
    package static func verify(backup: String, migrations: [Migration] = Schema.migrations) throws(StorageError) -> VerificationReport {
        try Backup.verify(backup, migrations: migrations)
    }

    /// Puts a backup into the data folder of a server that does not run. What it replaces stays beside it, as
    /// `martlet.db.replaced`, until the next restore. Blocks.
    package static func restore(
        from backup: String, to folder: String, overwriting: Bool, migrations: [Migration] = Schema.migrations
    ) throws(StorageError) {
        try Backup.restore(backup, to: DataFolder(path: folder), overwriting: overwriting, migrations: migrations)
    }

    /// Submits that wait for a commit.
    package var queuedSubmits: Int { writer.queuedSubmits }

    /// Puts the whole index into the database and forgets all that is delivered; otherwise that is done when there is time.
    package func finishIndex() async throws(StoreError) {
        try await perform { $0.finishIndex() }
    }

    /// Statements on the writer's connection: for tests, and for tools that know what they do.
    package func execute(_ sql: String) async throws(StoreError) {
        try await perform { $0.execute(sql) }
    }

    private func perform(_ job: @escaping @Sendable (StoreWriter) -> Result<Void, StoreError>) async throws(StoreError) {
        let result: Result<Void, StoreError> = await withCheckedContinuation { continuation in
            let isAccepted = writer.perform { continuation.resume(returning: job($0)) }
            if !isAccepted { continuation.resume(returning: .failure(.unavailable("the store is closed"))) }
        }
        try result.get()
    }
}
