#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#else
internal import Darwin
#endif

/// The few calls on files that the store needs: private files, and names that change only when the bytes are on disk.
enum FileSystem {
    /// Files are for the server's own user: they hold keys and messages.
    static let fileMode: mode_t = 0o600
    static let folderMode: mode_t = 0o700

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Makes the folder, or takes away what others may do in it.
    static func makePrivateFolder(_ path: String) throws(StorageError) {
        if mkdir(path, folderMode) == 0 { return }
        guard errno == EEXIST else { throw failure(path) }
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure(path) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .refused(path, reason: "is not a folder") }
        if status.st_mode & 0o077 != 0, chmod(path, folderMode) != 0 { throw failure(path) }
        guard access(path, W_OK | X_OK) == 0 else { throw .readOnly(path) }
    }

    /// Makes an empty private file unless there is one; an existing one becomes private.
    static func makePrivateFile(_ path: String, exclusively: Bool = false) throws(StorageError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (exclusively ? O_EXCL : 0), fileMode)
        guard descriptor >= 0 else { throw errno == EEXIST ? .exists(path) : failure(path) }
        defer { _ = Self.close(descriptor) }
        guard fchmod(descriptor, fileMode) == 0 || errno == EPERM else { throw failure(path) }
    }

    /// Makes a file's bytes, or a folder's names, outlive a power failure.
    static func synchronise(_ path: String) throws(StorageError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { _ = Self.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(path) }
    }

    static func rename(_ from: String, to: String) throws(StorageError) {
        #if canImport(Glibc)
        let code = Glibc.rename(from, to)
        #elseif canImport(Musl)
        let code = Musl.rename(from, to)
        #else
        let code = Darwin.rename(from, to)
        #endif
        guard code == 0 else { throw failure(from) }
    }

    static func remove(_ path: String) { unlink(path) }

    /// The folder that a path lies in.
    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func size(of path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    /// Gives `body` the file piece by piece.
    static func read(_ path: String, _ body: (UnsafeRawBufferPointer) throws(StorageError) -> Void) throws(StorageError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { _ = Self.close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = systemRead(descriptor, buffer.baseAddress, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(path) }
            if count == 0 { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    /// A small file as text; `nil` if there is none.
    static func text(_ path: String) -> String? {
        var bytes: [UInt8] = []
        do throws(StorageError) {
            try read(path) { bytes += $0.prefix(4_096 - min(4_096, bytes.count)) }
        } catch {
            return nil
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends to a file that exists.
    static func append(_ bytes: UnsafeRawBufferPointer, to path: String) throws(StorageError) {
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { _ = Self.close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(path) }
            rest = rest.dropFirst(count)
        }
    }

    static func append(_ text: String, to path: String) throws(StorageError) {
        let result = Array(text.utf8).withUnsafeBytes { bytes in
            Result { () throws(StorageError) in try append(bytes, to: path) }
        }
        try result.get()
    }

    /// A private file that takes up its whole size; `false` if there is no space for it.
    static func reserve(_ path: String, bytes: Int) -> Bool {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, fileMode)
        guard descriptor >= 0 else { return false }
        defer { _ = Self.close(descriptor) }
        #if canImport(Darwin)
        return ftruncate(descriptor, off_t(bytes)) == 0
        #else
        guard posix_fallocate(descriptor, 0, off_t(bytes)) == 0 else {
            unlink(path)
            return false
        }
        return true
        #endif
    }

    static func failure(_ path: String) -> StorageError {
        switch errno {
        case ENOSPC, EDQUOT: .full(path)
        case EROFS, EACCES, EPERM: .readOnly(path)
        case ENOENT: .missing(path)
        case let code: .refused(path, reason: String(cString: strerror(code)))
        }
    }

    #if canImport(Glibc)
    static func close(_ descriptor: Int32) -> Int32 { Glibc.close(descriptor) }
    private static func systemRead(_ d: Int32, _ b: UnsafeMutableRawPointer?, _ n: Int) -> Int { Glibc.read(d, b, n) }
    private static func systemWrite(_ d: Int32, _ b: UnsafeRawPointer?, _ n: Int) -> Int { Glibc.write(d, b, n) }
    #elseif canImport(Musl)
    static func close(_ descriptor: Int32) -> Int32 { Musl.close(descriptor) }
    private static func systemRead(_ d: Int32, _ b: UnsafeMutableRawPointer?, _ n: Int) -> Int { Musl.read(d, b, n) }
    private static func systemWrite(_ d: Int32, _ b: UnsafeRawPointer?, _ n: Int) -> Int { Musl.write(d, b, n) }
    #else
    static func close(_ descriptor: Int32) -> Int32 { Darwin.close(descriptor) }
    private static func systemRead(_ d: Int32, _ b: UnsafeMutableRawPointer?, _ n: Int) -> Int { Darwin.read(d, b, n) }
    private static func systemWrite(_ d: Int32, _ b: UnsafeRawPointer?, _ n: Int) -> Int { Darwin.write(d, b, n) }
    #endif
}

/// Says that a process uses a folder, for as long as the process lives: the system takes the lock away with it.
final class FolderLock: Sendable {
    private let descriptor: Int32

    /// - Parameter holder: who to name to others that try, for instance "martlet serve".
    init(_ path: String, holder: String) throws(StorageError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FileSystem.fileMode)
        guard descriptor >= 0 else { throw FileSystem.failure(path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            _ = FileSystem.close(descriptor)
            throw .locked(FileSystem.folder(of: path), by: Self.holder(path))
        }
        self.descriptor = descriptor
        ftruncate(descriptor, 0)
        // Only for people; the lock holds without it.
        try? FileSystem.append("process \(getpid()) (\(holder))\n", to: path)
    }

    deinit { _ = FileSystem.close(descriptor) }

    private static func holder(_ path: String) -> String {
        let text = FileSystem.text(path)?.prefix { $0 != "\n" } ?? ""
        return text.isEmpty ? "another process" : String(text)
    }
}
