internal import Crypto
package import MartletCore
internal import NIOConcurrencyHelpers
internal import NIOCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#else
internal import Darwin
#endif

/// Uploaded files in a folder: `OWNER/NAME`, and `incoming/` for what is not complete.
///
/// A file is written to `incoming/`, synchronised, given its name, and its folder synchronised (P12): under its name it is whole. All of that is
/// done on a few threads; of each file one piece is in memory.
package final class FolderFileStore: FileStore {
    /// Bytes of a piece that is read.
    package static let pieceBytes = 128 << 10
    /// Threads for files. A file that is being synchronised has one for as long as the disk takes.
    package static let threadCount = 4
    private static let incoming = "incoming"

    package let place: String
    private let threads = FileThreads(count: threadCount)
    /// Names of what is being written.
    private let writing = NIOLockedValueBox<Set<String>>([])

    /// - Parameter folder: it and those above it are made when the first file comes.
    package init(folder: String) { place = folder }

    package func close() { threads.close() }

    // MARK: Names

    private func folder(of owner: AccountID) -> String { "\(place)/\(owner.raw)" }
    private func path(of key: FileKey) -> String { "\(folder(of: key.owner))/\(key.name)" }
    private var incomingFolder: String { "\(place)/\(Self.incoming)" }

    /// Names that the server has made are all that becomes part of a path.
    private static func check(_ key: FileKey) throws(FileStoreError) {
        guard UploadName.isValid(key.name) else { throw .failed("\(key.name) is no name of a file") }
    }

    // MARK: Writing

    package func write(_ key: FileKey, bytes: Int, _ done: @escaping @Sendable (Result<any FileWriting, FileStoreError>) -> Void) {
        threads.run { [self] in
            done(Result { () throws(FileStoreError) in try begin(key, bytes) })
        }
    }

    private func begin(_ key: FileKey, _ bytes: Int) throws(FileStoreError) -> any FileWriting {
        try Self.check(key)
        for folder in [place, incomingFolder] {
            try asFile { () throws(StorageError) in
                guard !FileSystem.exists(folder) else { return }
                try FileSystem.makePrivateFolder(folder)
                // Its name outlives a power failure, too.
                try FileSystem.synchronise(FileSystem.folder(of: folder))
            }
        }
        let isFree = writing.withLockedValue { $0.insert(key.name).inserted }
        guard isFree else { throw .failed("\(key.name) is being written already") }
        let path = "\(incomingFolder)/\(key.name)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FileSystem.fileMode)
        guard descriptor >= 0 else {
            let error = FileStoreError(FileSystem.failure(path))
            forget(key)
            throw error
        }
        return FolderFileWriting(self, key, File(descriptor, path), bytes: bytes)
    }

    fileprivate func forget(_ key: FileKey) { writing.withLockedValue { _ = $0.remove(key.name) } }

    /// Gives a file that has been synchronised its name.
    fileprivate func place(_ file: String, as key: FileKey) throws(FileStoreError) {
        let folder = folder(of: key.owner)
        try asFile { () throws(StorageError) in
            if !FileSystem.exists(folder) {
                try FileSystem.makePrivateFolder(folder)
                try FileSystem.synchronise(place)
            }
            try FileSystem.rename(file, to: path(of: key))
            try FileSystem.synchronise(folder)
        }
    }

    // MARK: Reading

    package func read(_ key: FileKey, _ range: Range<Int>, _ done: @escaping @Sendable (Result<any FileReading, FileStoreError>) -> Void) {
        threads.run { [self] in
            done(Result { () throws(FileStoreError) in
                try Self.check(key)
                let path = path(of: key)
                let descriptor = open(path, O_RDONLY | O_CLOEXEC)
                guard descriptor >= 0 else { throw FileStoreError(FileSystem.failure(path)) }
                let file = File(descriptor, path)
                guard FileSystem.size(of: path) ?? 0 >= range.upperBound else { throw .missing }
                return FolderFileReading(self, file, range)
            })
        }
    }

    fileprivate func run(_ job: @escaping @Sendable () -> Void) { threads.run(job) }

    // MARK: Keeping house

    package func remove(_ key: FileKey) async throws(FileStoreError) {
        try await perform { [self] () throws(FileStoreError) in
            try Self.check(key)
            let path = path(of: key)
            guard unlink(path) == 0 || errno == ENOENT else { throw FileStoreError(FileSystem.failure(path)) }
            // The last one; fails where there are others.
            rmdir(folder(of: key.owner))
        }
    }

    package func size(of key: FileKey) async throws(FileStoreError) -> Int? {
        try await perform { [self] () throws(FileStoreError) in
            try Self.check(key)
            return FileSystem.size(of: path(of: key))
        }
    }

    package func owners() async throws(FileStoreError) -> [AccountID] {
        try await perform { [self] () throws(FileStoreError) in
            try names(in: place).compactMap { Int64($0).map(AccountID.init(raw:)) }
        }
    }

    /// What has another name than the server gives is not looked at.
    package func files(of owner: AccountID) async throws(FileStoreError) -> [String: Int] {
        try await perform { [self] () throws(FileStoreError) in
            let folder = folder(of: owner)
            var files: [String: Int] = [:]
            for name in try names(in: folder) where UploadName.isValid(name) { files[name] = FileSystem.size(of: "\(folder)/\(name)") }
            return files
        }
    }

    package func removeRemains() async throws(FileStoreError) -> Int {
        try await perform { [self] () throws(FileStoreError) in
            var count = 0
            for name in try names(in: incomingFolder) {
                // Looked at one by one: another may have been begun since the folder was read.
                let isRest = writing.withLockedValue { !$0.contains(name) }
                guard isRest, unlink("\(incomingFolder)/\(name)") == 0 else { continue }
                count += 1
            }
            return count
        }
    }

    /// Empty if there is no such folder.
    private func names(in folder: String) throws(FileStoreError) -> [String] {
        guard let directory = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw FileStoreError(FileSystem.failure(folder))
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private func perform<Answer: Sendable>(
        _ work: @escaping @Sendable () throws(FileStoreError) -> Answer
    ) async throws(FileStoreError) -> Answer {
        let result: Result<Answer, FileStoreError> = await withCheckedContinuation { continuation in
            threads.run { continuation.resume(returning: Result { () throws(FileStoreError) in try work() }) }
        }
        return try result.get()
    }
}

/// An open file, closed when nobody has it any more.
private final class File: Sendable {
    let descriptor: Int32
    let path: String

    init(_ descriptor: Int32, _ path: String) { (self.descriptor, self.path) = (descriptor, path) }
    deinit { _ = FileSystem.close(descriptor) }
}

/// A file on its way into the folder.
private final class FolderFileWriting: FileWriting {
    private enum State {
        case writing(SHA256, bytes: Int)
        /// It has its name, or its beginning is gone.
        case ended
    }

    private let store: FolderFileStore
    private let key: FileKey
    private let file: File
    private let bytes: Int
    // One thread at a time has it, another each time; the end may come from elsewhere.
    private let state = NIOLockedValueBox(State.writing(SHA256(), bytes: 0))

    init(_ store: FolderFileStore, _ key: FileKey, _ file: File, bytes: Int) {
        self.store = store
        self.key = key
        self.file = file
        self.bytes = bytes
    }

    func append(_ piece: ByteBuffer, _ done: @escaping @Sendable (FileStoreError?) -> Void) {
        store.run { [self] in
            do throws(FileStoreError) {
                guard case .writing(var hash, let before) = state.withLockedValue({ $0 }) else { throw FileStoreError.failed("\(key.name) has ended") }
                guard piece.readableBytes <= bytes - before else { throw FileStoreError.failed("\(key.name) is longer than it should be") }
                try write(piece)
                piece.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
                let next = State.writing(hash, bytes: before + piece.readableBytes)
                state.withLockedValue { if case .writing = $0 { $0 = next } }
                done(nil)
            } catch {
                done(error)
            }
        }
    }

    private func write(_ piece: ByteBuffer) throws(FileStoreError) {
        let failure = piece.withUnsafeReadableBytes { bytes -> FileStoreError? in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = systemWrite(file.descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return FileStoreError(FileSystem.failure(file.path)) }
                rest = rest.dropFirst(count)
            }
            return nil
        }
        if let failure { throw failure }
    }

    func finish(_ done: @escaping @Sendable (Result<[UInt8], FileStoreError>) -> Void) {
        store.run { [self] in
            let result = Result { () throws(FileStoreError) in try finish() }
            if case .failure = result { remove() }
            done(result)
        }
    }

    private func finish() throws(FileStoreError) -> [UInt8] {
        guard case .writing(let hash, bytes) = state.withLockedValue({ $0 }) else { throw .failed("\(key.name) is not complete") }
        guard fsync(file.descriptor) == 0 else { throw FileStoreError(FileSystem.failure(file.path)) }
        let isLast = state.withLockedValue { state in
            guard case .writing = state else { return false }
            state = .ended
            return true
        }
        guard isLast else { throw .failed("\(key.name) has ended") }
        try store.place(file.path, as: key)
        store.forget(key)
        return Array(hash.finalize())
    }

    func abandon() {
        store.run { [self] in
            let isEarly = state.withLockedValue { state in
                guard case .writing = state else { return false }
                state = .ended
                return true
            }
            if isEarly { remove() }
        }
    }

    private func remove() {
        state.withLockedValue { $0 = .ended }
        unlink(file.path)
        store.forget(key)
    }
}

/// A part of a file on its way out.
private final class FolderFileReading: FileReading {
    private let store: FolderFileStore
    private let file: File
    // One thread at a time has it, another each time.
    private let rest: NIOLockedValueBox<Range<Int>>

    init(_ store: FolderFileStore, _ file: File, _ range: Range<Int>) {
        self.store = store
        self.file = file
        rest = NIOLockedValueBox(range)
    }

    func next(_ done: @escaping @Sendable (Result<ByteBuffer, FileStoreError>) -> Void) {
        store.run { [self] in
            done(Result { () throws(FileStoreError) in try next() })
        }
    }

    private func next() throws(FileStoreError) -> ByteBuffer {
        let range = rest.withLockedValue { $0 }
        let length = min(range.count, FolderFileStore.pieceBytes)
        guard length > 0 else { return ByteBuffer() }
        var piece = ByteBufferAllocator().buffer(capacity: length)
        var failure: FileStoreError?
        piece.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { bytes in
            var count: Int
            repeat { count = pread(file.descriptor, bytes.baseAddress, length, off_t(range.lowerBound)) } while count < 0 && errno == EINTR
            if count <= 0 { failure = count < 0 ? FileStoreError(FileSystem.failure(file.path)) : .missing }
            return max(count, 0)
        }
        if let failure { throw failure }
        rest.withLockedValue { $0 = (range.lowerBound + piece.readableBytes)..<range.upperBound }
        return piece
    }

    /// The file closes when the last call is done.
    func close() {}
}

extension FileStoreError {
    fileprivate init(_ error: StorageError) {
        switch error {
        case .missing: self = .missing
        case .full: self = .full
        case .notADatabase, .foreign, .damaged, .newerSchema, .readOnly, .locked, .interruptedRestore, .exists, .refused: self = .failed(error.description)
        }
    }
}

private func asFile(_ body: () throws(StorageError) -> Void) throws(FileStoreError) {
    do throws(StorageError) { try body() } catch { throw FileStoreError(error) }
}

/// `write(2)`, which has the name of a function above.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }
