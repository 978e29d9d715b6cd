#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Files that belong to the server's user alone, and change only as a whole. What root makes belongs to whom the folder belongs: it is the server's.
enum PrivateFiles {
    static let folderMode: mode_t = 0o700
    static let fileMode: mode_t = 0o600

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Whether two paths lead to one file.
    static func isSame(_ path: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        return stat(path, &first) == 0 && stat(other, &second) == 0 && (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
    }

    /// To whom it is given what root makes in a folder; `nil`: it stays as it is.
    private static func heir(in folder: String) -> stat? {
        var status = stat()
        return geteuid() == 0 && stat(folder.isEmpty ? "." : folder, &status) == 0 && status.st_uid != 0 ? status : nil
    }

    /// Makes a folder and those above it; what is there stays as it is, but for what others may do in the folder itself.
    static func makeFolder(_ path: String) throws(CommandFailure) {
        var status = stat()
        if stat(path, &status) == 0 {
            guard status.st_mode & S_IFMT == S_IFDIR else { throw CommandFailure(.cannotCreate, "\(path) is not a folder") }
            if status.st_mode & 0o077 != 0, chmod(path, folderMode) != 0 { throw failure("the folder \(path) cannot be made private") }
            return
        }
        let parent = FilePath.folder(of: path)
        if !parent.isEmpty, parent != path, !exists(parent) { try makePublicFolder(parent) }
        guard mkdir(path, folderMode) == 0 || errno == EEXIST else { throw failure("the folder \(path) cannot be made") }
        try give(path, in: parent)
        // Whatever the process keeps from new files.
        guard chmod(path, folderMode) == 0 else { throw failure("the folder \(path) cannot be made private") }
    }

    private static func makePublicFolder(_ path: String) throws(CommandFailure) {
        let parent = FilePath.folder(of: path)
        if !parent.isEmpty, parent != path, !exists(parent) { try makePublicFolder(parent) }
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("the folder \(path) cannot be made") }
        try give(path, in: parent)
    }

    /// A link in its place is not followed.
    private static func give(_ path: String, in parent: String) throws(CommandFailure) {
        guard let heir = heir(in: parent) else { return }
        guard lchown(path, heir.st_uid, heir.st_gid) == 0 else { throw failure("the folder \(path) cannot be given to whom \(parent) belongs") }
    }

    /// Puts a file in place in one step, on disk when this returns.
    static func write(_ bytes: some Collection<UInt8>, to path: String, mode: mode_t = fileMode) throws(CommandFailure) {
        let temporary = "\(path).\(getpid()).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw failure("\(path) cannot be written") }
        let isGiven = heir(in: FilePath.folder(of: path)).map { fchown(descriptor, $0.st_uid, $0.st_gid) == 0 } ?? true
        let isWritten = isGiven && write(Array(bytes), to: descriptor) && fchmod(descriptor, mode) == 0 && fsync(descriptor) == 0
        let error = SystemError.last
        close(descriptor)
        guard isWritten, rename(temporary, path) == 0 else {
            let error = isWritten ? SystemError.last : error
            unlink(temporary)
            throw CommandFailure(error.statusOfWriting, "\(path) cannot be written: \(error)")
        }
    }

    /// Removes a file; on disk when this returns.
    static func remove(_ path: String) throws(CommandFailure) {
        guard unlink(path) == 0 else { throw failure("\(path) cannot be removed") }
        let folder = open(FilePath.folder(of: path), O_RDONLY | O_CLOEXEC)
        guard folder >= 0 else { return }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw failure("\(path) cannot be removed") }
    }

    /// The whole of a small file.
    static func read(_ path: String, bytesMax: Int) throws(CommandFailure) -> [UInt8] {
        switch ConfigurationFiles.disk.read(path, bytesMax) {
        case .success(let bytes): return bytes
        case .failure(let fault): throw CommandFailure(.noInput, "\(path) cannot be read: \(fault)")
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private static func failure(_ what: String) -> CommandFailure {
        let error = SystemError.last
        return CommandFailure(error.statusOfWriting, "\(what): \(error)")
    }
}

/// `write(2)`, which has the name of a function above.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }
