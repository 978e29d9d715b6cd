import CSQLite
import Synchronization

#if canImport(Glibc)
import Glibc
#else
import Darwin
#endif

/// What SQLite does to the files of a folder, and what the disk answers when a test wants it to fail.
///
/// One of SQLite's file systems under a name of its own: the system's, with writing, truncating, synchronising and deleting on their way
/// through here. The shared memory of the write-ahead log is not: it is made anew by whoever opens the files first.
final class FaultyDisk: Sendable {
    enum Operation: Sendable {
        case write(file: String, offset: Int, bytes: [UInt8])
        case truncate(file: String, size: Int)
        case sync(file: String)
        case delete(file: String)
        /// The test's own.
        case note(Int)
    }

    enum Failure: Sendable {
        /// No space, from that operation on until ``FaultyDisk/repair()``. Half of a write is written.
        case full
        /// One write, truncation or synchronisation fails; those after it succeed.
        case io
    }

    private struct State {
        var operations: [Operation] = []
        /// Writes, truncations and synchronisations so far.
        var count = 0
        var failure: (failure: Failure, at: Int)?
        var hasFailed = false
        /// How many operations there were when the failure came.
        var failedAt: Int?
    }

    private let state = Mutex(State())
    let folder: String

    /// Everything in `folder` passes through here from now on, if it is opened by the file system ``name``.
    init(folder: String) {
        self.folder = folder
        _ = Self.isRegistered
        Self.disks.withLock { $0[folder] = self }
    }

    func remove() { Self.disks.withLock { $0[folder] = nil } }

    func note(_ number: Int) { state.withLock { $0.operations.append(.note(number)) } }
    var operations: [Operation] { state.withLock { $0.operations } }
    /// What was done after the failure.
    var operationsAfterFailure: [Operation] { state.withLock { state in state.failedAt.map { Array(state.operations[$0...]) } ?? [] } }
    var hasFailed: Bool { state.withLock { $0.hasFailed } }

    /// The `operation`th from now on fails, counting from 1.
    func fail(_ failure: Failure, at operation: Int) { state.withLock { $0.failure = (failure, $0.count + operation) } }
    func repair() { state.withLock { $0.failure = nil } }

    /// - Returns: how the operation fails, if it does.
    fileprivate func verdict(_ operation: Operation) -> Failure? {
        state.withLock { state in
            state.count += 1
            guard let (failure, place) = state.failure, failure == .full ? state.count >= place && !operation.isSync : state.count == place else {
                state.operations.append(operation)
                return nil
            }
            state.hasFailed = true
            if state.failedAt == nil { state.failedAt = state.operations.count }
            return failure
        }
    }

    fileprivate func deleted(_ file: String) { state.withLock { $0.operations.append(.delete(file: file)) } }
}

extension FaultyDisk.Operation {
    var isSync: Bool { if case .sync = self { true } else { false } }
    var isDelete: Bool { if case .delete = self { true } else { false } }

    var file: String? {
        switch self {
        case .write(let file, _, _), .truncate(let file, _), .sync(let file), .delete(let file): file
        case .note: nil
        }
    }
}

// MARK: The file system

extension FaultyDisk {
    static let name = "martlet-faulty"
    private static let disks = Mutex<[String: FaultyDisk]>([:])

    private final class File: Sendable {
        let disk: FaultyDisk
        let name: String
        init(_ disk: FaultyDisk, _ name: String) {
            self.disk = disk
            self.name = name
        }
    }

    /// Behind the system's own file, in the same memory.
    private struct Trailer {
        var methods: UnsafePointer<sqlite3_io_methods>
        var file: Unmanaged<File>
    }

    // Set once, by the thread that registers, and only read from then on.
    private nonisolated(unsafe) static let system = sqlite3_vfs_find(nil)!
    private static let trailerOffset = (Int(system.pointee.szOsFile) + 15) / 16 * 16

    private static let isRegistered: Bool = {
        let own = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        own.initialize(to: system.pointee)
        own.pointee.pNext = nil
        own.pointee.szOsFile = Int32(trailerOffset + MemoryLayout<Trailer>.size)
        own.pointee.zName = UnsafePointer(strdup(name))
        own.pointee.xOpen = { _, name, file, flags, given in FaultyDisk.open(name, file, flags, given) }
        own.pointee.xDelete = { _, name, isSynced in FaultyDisk.delete(name, isSynced) }
        return sqlite3_vfs_register(own, 0) == SQLITE_OK
    }()

    private static func open(
        _ name: UnsafePointer<CChar>?, _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32, _ given: UnsafeMutablePointer<Int32>?
    ) -> Int32 {
        let code = system.pointee.xOpen(system, name, file, flags, given)
        guard code == SQLITE_OK, let name, let file, let original = file.pointee.pMethods, let place = place(name) else { return code }
        trailer(file).initialize(to: Trailer(methods: original, file: Unmanaged.passRetained(File(place.disk, place.name))))
        file.pointee.pMethods = UnsafePointer(methods(over: original))
        return code
    }

    private static func delete(_ name: UnsafePointer<CChar>?, _ isSynced: Int32) -> Int32 {
        let code = system.pointee.xDelete(system, name, isSynced)
        if code == SQLITE_OK, let name, let place = place(name) { place.disk.deleted(place.name) }
        return code
    }

    private static func place(_ path: UnsafePointer<CChar>) -> (disk: FaultyDisk, name: String)? {
        let path = String(cString: path)
        guard let slash = path.lastIndex(of: "/"), let disk = disks.withLock({ $0[String(path[..<slash])] }) else { return nil }
        return (disk, String(path[path.index(after: slash)...]))
    }

    private static func trailer(_ file: UnsafeMutablePointer<sqlite3_file>) -> UnsafeMutablePointer<Trailer> {
        (UnsafeMutableRawPointer(file) + trailerOffset).assumingMemoryBound(to: Trailer.self)
    }

    /// The system's methods for a file, but for a few.
    private static func methods(over original: UnsafePointer<sqlite3_io_methods>) -> UnsafeMutablePointer<sqlite3_io_methods> {
        tables.withLock { tables in
            if let known = tables[UInt(bitPattern: original)], let table = UnsafeMutablePointer<sqlite3_io_methods>(bitPattern: known) { return table }
            let table = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
            table.initialize(to: original.pointee)
            table.pointee.xClose = { FaultyDisk.close($0) }
            table.pointee.xWrite = { FaultyDisk.write($0, $1, $2, $3) }
            table.pointee.xTruncate = { FaultyDisk.truncate($0, $1) }
            table.pointee.xSync = { FaultyDisk.sync($0, $1) }
            tables[UInt(bitPattern: original)] = UInt(bitPattern: table)
            return table
        }
    }

    private static let tables = Mutex<[UInt: UInt]>([:])

    private static func close(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Int32 {
        guard let file else { return SQLITE_MISUSE }
        let trailer = trailer(file).pointee
        trailer.file.release()
        return trailer.methods.pointee.xClose(file)
    }

    private static func write(
        _ file: UnsafeMutablePointer<sqlite3_file>?, _ bytes: UnsafeRawPointer?, _ count: Int32, _ offset: sqlite3_int64
    ) -> Int32 {
        guard let file, let bytes else { return SQLITE_MISUSE }
        let trailer = trailer(file).pointee
        let record = trailer.file.takeUnretainedValue()
        let content = Array(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
        switch record.disk.verdict(.write(file: record.name, offset: Int(offset), bytes: content)) {
        case nil: return trailer.methods.pointee.xWrite(file, bytes, count, offset)
        case .full:
            _ = trailer.methods.pointee.xWrite(file, bytes, count / 2, offset)
            errno = ENOSPC
            return SQLITE_FULL
        case .io:
            errno = EIO
            return SQLITE_IOERR | (3 << 8)
        }
    }

    private static func truncate(_ file: UnsafeMutablePointer<sqlite3_file>?, _ size: sqlite3_int64) -> Int32 {
        guard let file else { return SQLITE_MISUSE }
        let trailer = trailer(file).pointee
        let record = trailer.file.takeUnretainedValue()
        guard record.disk.verdict(.truncate(file: record.name, size: Int(size))) == nil else {
            errno = EIO
            return SQLITE_IOERR | (6 << 8)
        }
        return trailer.methods.pointee.xTruncate(file, size)
    }

    private static func sync(_ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32) -> Int32 {
        guard let file else { return SQLITE_MISUSE }
        let trailer = trailer(file).pointee
        let record = trailer.file.takeUnretainedValue()
        guard record.disk.verdict(.sync(file: record.name)) == nil else {
            errno = EIO
            return SQLITE_IOERR | (4 << 8)
        }
        return trailer.methods.pointee.xSync(file, flags)
    }
}

// MARK: Power losses

/// The files of a folder as a disk has them: what is synchronised for certain, and what was done since, of which a power loss leaves
/// anything or nothing, sector by sector.
struct DiskState {
    /// What becomes of what is not synchronised.
    enum Loss: Sendable, CustomStringConvertible {
        case everything, nothing
        /// Each sector of each write on its own, half of them.
        case some(seed: UInt64)

        var description: String {
            switch self {
            case .everything: "everything not synchronised lost"
            case .nothing: "nothing lost"
            case .some(let seed): "some sectors lost, seed \(seed)"
            }
        }
    }

    static let sectorBytes = 512

    private struct File {
        /// `nil` where there is no file.
        var synchronised: [UInt8]?
        var since: [FaultyDisk.Operation] = []
    }

    private var files: [String: File] = [:]

    /// - Parameter empty: files that are there, and empty.
    init(empty: Set<String>) {
        for name in empty { files[name] = File(synchronised: []) }
    }

    mutating func perform(_ operation: FaultyDisk.Operation) {
        guard let name = operation.file else { return }
        files[name, default: File()].since.append(operation)
        guard operation.isSync, let file = files[name] else { return }
        // With a new journal or write-ahead log SQLite synchronises the folder.
        if file.synchronised == nil { synchroniseNames() }
        var content = file.synchronised
        for operation in file.since { Self.apply(operation, to: &content) { true } }
        files[name] = File(synchronised: content)
    }

    /// What was deleted stays so.
    private mutating func synchroniseNames() {
        for (name, file) in files {
            guard let place = file.since.lastIndex(where: \.isDelete) else { continue }
            files[name] = File(synchronised: nil, since: Array(file.since[(place + 1)...]))
        }
    }

    func after(_ loss: Loss) -> [String: [UInt8]] {
        var random = SplitMix(state: 0)
        if case .some(let seed) = loss { random = SplitMix(state: seed) }
        var result: [String: [UInt8]] = [:]
        for (name, file) in files.sorted(by: { $0.key < $1.key }) {
            var content = file.synchronised
            for operation in file.since {
                Self.apply(operation, to: &content) {
                    switch loss {
                    case .everything: false
                    case .nothing: true
                    case .some: random.next() & 1 == 0
                    }
                }
            }
            if let content { result[name] = content }
        }
        return result
    }

    private static func apply(_ operation: FaultyDisk.Operation, to content: inout [UInt8]?, _ survives: () -> Bool) {
        switch operation {
        case .write(_, let offset, let bytes):
            var start = 0
            while start < bytes.count {
                let end = min(bytes.count, start + sectorBytes - (offset + start) % sectorBytes)
                if survives() { put(bytes[start..<end], at: offset + start, in: &content) }
                start = end
            }
        case .truncate(_, let size):
            if survives(), let old = content { content = Array(old.prefix(size)) + Array(repeating: 0, count: max(0, size - old.count)) }
        case .delete: if survives() { content = nil }
        case .sync, .note: break
        }
    }

    private static func put(_ bytes: ArraySlice<UInt8>, at offset: Int, in content: inout [UInt8]?) {
        if content == nil { content = [] }
        let missing = offset + bytes.count - (content?.count ?? 0)
        if missing > 0 { content?.append(contentsOf: repeatElement(0, count: missing)) }
        content?.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
