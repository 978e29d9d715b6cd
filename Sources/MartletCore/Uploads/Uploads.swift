package import MartletXMPP
import NIOConcurrencyHelpers

/// Files that accounts upload and anybody downloads who knows their names (XEP-0363): where slots, HTTP, the disk and the operator meet.
///
/// A row in the store is there before the first byte of a file and goes before the last, and says that the file is kept only once it is on disk:
/// whenever the process dies, what is left over is bytes that nobody is given, and ``sweep()`` removes them (P12).
package final class Uploads: Sendable {
    package let store: any Store
    package let files: any FileStore
    private let time: any TimeSource
    private let random: any RandomSource
    // Once per slot and once per transfer; held for a few look-ups.
    private let ledger = NIOLockedValueBox(UploadLedger())
    // Read with every request, swapped by a reload.
    private let current: NIOLockedValueBox<UploadSettings>
    private let counts = NIOLockedValueBox(Counts())
    /// Files that are being removed with their accounts.
    // Once per account that is deleted.
    private let removals = NIOLockedValueBox<[AccountID: Task<Void, Never>]>([:])

    /// What has been done since the start, and what the last ``sweep()`` has found.
    package struct Counts: Hashable, Sendable {
        package var slots = 0
        package var slotsRefused = 0
        package var uploads = 0
        package var uploadedBytes = 0
        package var uploadsFailed = 0
        package var downloads = 0
        package var downloadedBytes = 0
        package var keptFiles = 0
        package var keptBytes = 0
        package var missingFiles = 0
        /// In use now.
        package var openUploads = 0
        package var openDownloads = 0
        package init() {}
    }

    package init(
        store: any Store, files: any FileStore, settings: UploadSettings = UploadSettings(), time: any TimeSource, random: any RandomSource = SystemRandom()
    ) {
        self.store = store
        self.files = files
        self.time = time
        self.random = random
        current = NIOLockedValueBox(settings)
    }

    package var settings: UploadSettings { current.withLockedValue { $0 } }
    /// For what is asked from now on. What is kept already is kept by the new rules, too.
    package func apply(_ settings: UploadSettings) { current.withLockedValue { $0 = settings } }

    package var counters: Counts {
        var counts = counts.withLockedValue { $0 }
        (counts.openUploads, counts.openDownloads) = ledger.withLockedValue { ($0.uploads, $0.downloads) }
        return counts
    }

    private func count(_ change: (inout Counts) -> Void) { counts.withLockedValue { change(&$0) } }
}

// MARK: Slots (§4)

/// Where a file may be put, once.
package struct UploadSlot: Hashable, Sendable {
    package var name: String
    /// 128 random bits; nobody is told but whoever asked.
    package var token: String
}

extension Uploads {
    package func slot(for request: SlotRequest, of account: BareJID) async throws(SlotRefusal) -> UploadSlot {
        do throws(SlotRefusal) {
            let slot = try await openSlot(for: request, of: account)
            count { $0.slots += 1 }
            return slot
        } catch {
            count { $0.slotsRefused += 1 }
            throw error
        }
    }

    private func openSlot(for request: SlotRequest, of account: BareJID) async throws(SlotRefusal) -> UploadSlot {
        let (settings, now) = (settings, time.wallMilliseconds)
        try SlotRules.check(request, settings, now: now)
        let identity = try await ask { store async throws(StoreError) in try await store.credentials(of: account) }
        guard let id = identity?.id else { throw .noAccount }
        let besides = ledger.withLockedValue { $0.beginSlot(of: id, in: account.domainpart, bytes: request.bytes) }
        defer { ledger.withLockedValue { $0.endSlot(of: id, in: account.domainpart, bytes: request.bytes) } }
        try await checkAccount(id, request, besides.account, settings, now)
        try await checkDomain(account.domainpart, request, openingBytes: besides.domainBytes, settings, now)
        let slot = UploadSlot(name: random.token(), token: random.token())
        let upload = StoredUpload(
            name: slot.name, account: id, owner: account, fileName: request.fileName, type: request.type?.description, bytes: request.bytes,
            purpose: request.purpose, created: now, expireBefore: request.expireBefore,
            state: .open(token: Self.digest(slot.token), ends: now + settings.slotLifetime.milliseconds))
        try await ask { store async throws(StoreError) in try await store.commit([.upload(.open(upload))]) }
        return slot
    }

    private func checkAccount(
        _ id: AccountID, _ request: SlotRequest, _ besides: UploadUsage, _ settings: UploadSettings, _ now: Int64
    ) async throws(SlotRefusal) {
        var usage = try await ask { store async throws(StoreError) in
            try await store.uploadUsage(of: .account(id), now: now, since: now - UploadSettings.day)
        }
        usage.openSlots += besides.openSlots
        usage.bytes += besides.bytes
        usage.recentBytes += besides.recentBytes
        try SlotRules.check(request, account: usage, settings)
    }

    private func checkDomain(
        _ domain: String, _ request: SlotRequest, openingBytes: Int, _ settings: UploadSettings, _ now: Int64
    ) async throws(SlotRefusal) {
        if ledger.withLockedValue({ $0.usage(of: domain, now: now) }) == nil {
            let usage = try await ask { store async throws(StoreError) in
                try await store.uploadUsage(of: .domain(domain), now: now, since: now - UploadSettings.day)
            }
            ledger.withLockedValue { $0.set(usage, of: domain, openingBytes: openingBytes, now: now) }
        }
        let refusal: SlotRefusal? = ledger.withLockedValue { ledger in
            guard let usage = ledger.usage(of: domain, now: now) else { return .unavailable }
            do throws(SlotRefusal) { try SlotRules.check(request, domain: usage, settings) } catch { return error }
            ledger.add(request.bytes, toDomain: domain)
            return nil
        }
        if let refusal { throw refusal }
    }

    private func ask<Answer: Sendable>(
        _ question: @Sendable (any Store) async throws(StoreError) -> Answer
    ) async throws(SlotRefusal) -> Answer {
        do throws(StoreError) { return try await question(store) } catch { throw .unavailable }
    }

    /// The token itself is not kept: whoever reads the database uploads nothing.
    private static func digest(_ token: String) -> [UInt8] { ScramHash.sha256.digest(Array(token.utf8)) }
}

// MARK: Uploads (§7)

/// Why a file is not taken, or not given.
package enum TransferRefusal: Error, Hashable, Sendable {
    /// There is no such file, and no slot for it.
    case notFound
    /// Not with this token, or not any more.
    case forbidden
    /// It is there already, or on its way.
    case conflict
    case wrongLength
    case wrongType
    /// For the moment.
    case tooMany
    /// Its owner does as much as he may at a time.
    case tooManyOfAccount
    /// Whoever asks, or his neighbours, are given as much as they may have at a time.
    case tooManyToNetwork
    case full
    case unavailable
}

/// What comes with a file.
package struct UploadAttempt: Hashable, Sendable {
    package var name: String
    package var token: String
    package var bytes: Int
    /// `nil` if nothing is said of it, or nothing that can be understood.
    package var type: MediaType?

    package init(name: String, token: String, bytes: Int, type: MediaType?) {
        self.name = name
        self.token = token
        self.bytes = bytes
        self.type = type
    }
}

/// A file that is being taken. Ended by ``Uploads/finish(_:)`` or ``Uploads/abandon(_:)``, one of them, once.
package struct UploadInProgress: Sendable {
    package let upload: StoredUpload
    package let writing: any FileWriting
}

extension Uploads {
    package func begin(_ attempt: UploadAttempt) async throws(TransferRefusal) -> UploadInProgress {
        do throws(TransferRefusal) {
            let upload = try await slot(of: attempt)
            let refusal = ledger.withLockedValue { [settings] in $0.beginUpload(upload.name, of: upload.account, settings) }
            if let refusal { throw TransferRefusal(refusal) }
            do throws(TransferRefusal) {
                return UploadInProgress(upload: upload, writing: try await write(upload))
            } catch {
                ledger.withLockedValue { $0.endUpload(upload.name) }
                throw error
            }
        } catch {
            count { $0.uploadsFailed += 1 }
            throw error
        }
    }

    /// The slot that the attempt is for. Who has no token learns nothing but whether there is such a slot, whose name is as long.
    private func slot(of attempt: UploadAttempt) async throws(TransferRefusal) -> StoredUpload {
        guard let upload = try await ask(for: attempt.name) else { throw .notFound }
        guard case .open(let token, let ends) = upload.state else { throw .conflict }
        guard equalInConstantTime(token, Self.digest(attempt.token)), time.wallMilliseconds < ends else { throw .forbidden }
        guard attempt.bytes == upload.bytes else { throw .wrongLength }
        if let expected = upload.type, let type = attempt.type, type.description != expected { throw .wrongType }
        return upload
    }

    private func ask(for name: String) async throws(TransferRefusal) -> StoredUpload? {
        do throws(StoreError) { return try await store.upload(named: name) } catch { throw .unavailable }
    }

    private func write(_ upload: StoredUpload) async throws(TransferRefusal) -> any FileWriting {
        let begun: Result<any FileWriting, FileStoreError> = await withCheckedContinuation { continuation in
            files.write(upload.key, bytes: upload.bytes) { continuation.resume(returning: $0) }
        }
        do throws(FileStoreError) { return try begun.get() } catch { throw TransferRefusal(error) }
    }

    /// All bytes have been added. When this returns, the file is on disk, the store says so, and whoever asks gets it.
    package func finish(_ file: UploadInProgress) async throws(TransferRefusal) {
        defer { ledger.withLockedValue { $0.endUpload(file.upload.name) } }
        do throws(TransferRefusal) {
            let sha256 = try await finishWriting(file)
            try await keep(file.upload, sha256)
            count {
                $0.uploads += 1
                $0.uploadedBytes += file.upload.bytes
            }
        } catch {
            count { $0.uploadsFailed += 1 }
            throw error
        }
    }

    private func finishWriting(_ file: UploadInProgress) async throws(TransferRefusal) -> [UInt8] {
        let finished: Result<[UInt8], FileStoreError> = await withCheckedContinuation { continuation in
            file.writing.finish { continuation.resume(returning: $0) }
        }
        do throws(FileStoreError) { return try finished.get() } catch { throw TransferRefusal(error) }
    }

    private func keep(_ upload: StoredUpload, _ sha256: [UInt8]) async throws(TransferRefusal) {
        do throws(StoreError) {
            try await store.commit([.upload(.keep(upload.name, since: time.wallMilliseconds, sha256: sha256))])
        } catch {
            switch error {
            // The slot has gone meanwhile, with its account: nobody speaks for the bytes.
            case .constraint:
                try? await files.remove(upload.key)
                throw .notFound
            // The store may have it all the same: the bytes stay until that is known.
            case .full: throw .full
            case .unavailable, .corrupt: throw .unavailable
            }
        }
    }

    /// The file does not come.
    package func abandon(_ file: UploadInProgress) {
        file.writing.abandon()
        ledger.withLockedValue { $0.endUpload(file.upload.name) }
        count { $0.uploadsFailed += 1 }
    }
}

// MARK: Downloads

/// A part of a file that is being given. Ended by ``Uploads/end(_:bytes:)``, once.
package struct Download: Sendable {
    package let upload: StoredUpload
    package let reading: any FileReading
    fileprivate let network: String?
}

extension Uploads {
    /// A file that whoever asks may have.
    package func file(named name: String) async throws(TransferRefusal) -> StoredUpload {
        guard let upload = try await ask(for: name), upload.isKept else { throw .notFound }
        if let end = settings.end(of: upload), end <= time.wallMilliseconds { throw .notFound }
        return upload
    }

    /// Makes ready to give a part of a file.
    ///
    /// - Parameter network: where whoever asks is, in whatever notation; `nil` if that is not known.
    package func read(_ upload: StoredUpload, _ range: Range<Int>, to network: String?) async throws(TransferRefusal) -> Download {
        let refusal = ledger.withLockedValue { [settings] in $0.beginDownload(of: upload.account, to: network, settings) }
        if let refusal { throw TransferRefusal(refusal) }
        let begun: Result<any FileReading, FileStoreError> = await withCheckedContinuation { continuation in
            files.read(upload.key, range) { continuation.resume(returning: $0) }
        }
        do throws(FileStoreError) {
            let reading = try begun.get()
            count { $0.downloads += 1 }
            return Download(upload: upload, reading: reading, network: network)
        } catch {
            ledger.withLockedValue { $0.endDownload(of: upload.account, to: network) }
            throw TransferRefusal(error)
        }
    }

    package func end(_ download: Download, bytes: Int) {
        download.reading.close()
        ledger.withLockedValue { $0.endDownload(of: download.upload.account, to: download.network) }
        count { $0.downloadedBytes += bytes }
    }
}

extension TransferRefusal {
    fileprivate init(_ error: FileStoreError) {
        switch error {
        case .missing: self = .notFound
        case .full: self = .full
        case .failed: self = .unavailable
        }
    }

    fileprivate init(_ refusal: UploadLedger.Refusal) {
        switch refusal {
        case .alreadyUploading: self = .conflict
        case .tooMany: self = .tooMany
        case .tooManyOfAccount: self = .tooManyOfAccount
        case .tooManyToNetwork: self = .tooManyToNetwork
        }
    }
}

// MARK: Keeping house

/// What a look at all files has found and done.
package struct UploadSweep: Hashable, Sendable {
    package var keptFiles = 0
    package var keptBytes = 0
    /// Bytes that nothing spoke for: files, and beginnings of files.
    package var removedFiles = 0
    /// Names of files that should be there and are not, or not with so many bytes; at most ``namesMax``.
    package var missing: [String] = []
    package var missingCount = 0

    package static let namesMax = 100
    package init() {}
}

/// Why files could not be looked after.
package enum UploadFault: Error, Hashable, Sendable {
    case store(StoreError)
    case files(FileStoreError)
}

extension Uploads {
    /// Rows of one answer.
    private static var pageMax: Int { 1_000 }

    /// Forgets what has been kept for long enough. Its bytes go with the next ``sweep()``.
    package func expire() async throws(UploadFault) {
        let now = time.wallMilliseconds
        try await asking { () async throws(StoreError) in
            try await self.store.commit([.upload(.expire(now: now, keptSince: self.settings.keptSince(now: now)))])
        }
    }

    /// Removes bytes that nothing speaks for, and finds files that are not there.
    package func sweep() async throws(UploadFault) -> UploadSweep {
        var sweep = UploadSweep()
        sweep.removedFiles = try await touching { () async throws(FileStoreError) in try await self.files.removeRemains() }
        let withFiles = try await touching { () async throws(FileStoreError) in try await self.files.owners() }
        let withRows = try await asking { () async throws(StoreError) in try await self.store.uploadOwners() }
        for owner in Set(withFiles + withRows).sorted() { try await self.sweep(owner, &sweep) }
        let found = sweep
        count { ($0.keptFiles, $0.keptBytes, $0.missingFiles) = (found.keptFiles, found.keptBytes, found.missingCount) }
        return sweep
    }

    /// Files are listed first: each has had its row before it had its name, so that one without a row is nobody's.
    private func sweep(_ owner: AccountID, _ sweep: inout UploadSweep) async throws(UploadFault) {
        let files = try await touching { () async throws(FileStoreError) in try await self.files.files(of: owner) }
        var orphans = Set(files.keys)
        try await forEach(of: owner) { upload async throws(UploadFault) in
            orphans.remove(upload.name)
            guard upload.isKept else { return }
            sweep.keptFiles += 1
            sweep.keptBytes += upload.bytes
            guard files[upload.name] != upload.bytes, try await self.isMissing(upload) else { return }
            sweep.missingCount += 1
            if sweep.missing.count < UploadSweep.namesMax { sweep.missing.append(upload.name) }
        }
        for name in orphans {
            try await touching { () async throws(FileStoreError) in try await self.files.remove(FileKey(owner: owner, name: name)) }
            sweep.removedFiles += 1
        }
    }

    /// It may have come, or gone, since the files were listed.
    private func isMissing(_ upload: StoredUpload) async throws(UploadFault) -> Bool {
        let size = try await touching { () async throws(FileStoreError) in try await self.files.size(of: upload.key) }
        guard size != upload.bytes else { return false }
        return try await asking { () async throws(StoreError) in try await self.store.upload(named: upload.name) } != nil
    }

    /// Every slot and file of an owner, in the order of their names.
    private func forEach(of owner: AccountID, _ body: (StoredUpload) async throws(UploadFault) -> Void) async throws(UploadFault) {
        var after = ""
        while true {
            let last = after
            let page = try await asking { () async throws(StoreError) in
                try await self.store.uploads(of: owner, after: last, limit: Self.pageMax)
            }
            for upload in page { try await body(upload) }
            guard page.count == Self.pageMax, let next = page.last?.name else { return }
            after = next
        }
    }

    /// Removes files, first from the store: then nobody is given them any more.
    package func remove(_ uploads: [StoredUpload]) async throws(UploadFault) {
        let names = uploads.map(\.name)
        try await asking { () async throws(StoreError) in try await self.store.commit([.upload(.remove(names))]) }
        for upload in uploads {
            try await touching { () async throws(FileStoreError) in try await self.files.remove(upload.key) }
        }
    }

    /// The account is gone, and with it whatever spoke for its files: nobody is given them any more. Their bytes go at once; but they may be far away,
    /// and nobody waits for that. What of them cannot be removed now is by the next ``sweep()``.
    package func accountDeleted(_ account: AccountID, executor: (any TaskExecutor)?) {
        removals.withLockedValue { removals in
            removals[account] = Task(executorPreference: executor) { [self] in
                try? await removeFiles(of: account)
                self.removals.withLockedValue { $0[account] = nil }
            }
        }
    }

    /// Returns when the files of an account that was deleted are gone, as far as they can be.
    package func removal(of account: AccountID) async { await removals.withLockedValue { $0[account] }?.value }

    private func removeFiles(of account: AccountID) async throws(UploadFault) {
        let files = try await touching { () async throws(FileStoreError) in try await self.files.files(of: account) }
        for name in files.keys where !Task.isCancelled {
            try await touching { () async throws(FileStoreError) in try await self.files.remove(FileKey(owner: account, name: name)) }
        }
    }

    /// Nothing is asked any more; what is being removed goes on after the next start.
    package func close() async {
        let left = removals.withLockedValue { Array($0.values) }
        for removal in left { removal.cancel() }
        for removal in left { await removal.value }
        files.close()
    }

    private func asking<Answer>(_ question: () async throws(StoreError) -> Answer) async throws(UploadFault) -> Answer {
        do throws(StoreError) { return try await question() } catch { throw .store(error) }
    }

    private func touching<Answer>(_ work: () async throws(FileStoreError) -> Answer) async throws(UploadFault) -> Answer {
        do throws(FileStoreError) { return try await work() } catch { throw .files(error) }
    }
}
