package import MartletCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#else
internal import Darwin
#endif

/// A snapshot's file, which changes only as a whole, and is the server's alone.
package struct SnapshotFile: Sendable {
    package let path: String
    private let form: SnapshotForm

    package init(_ path: String, _ form: SnapshotForm) {
        self.path = path
        self.form = form
    }

    /// Puts a snapshot in the old one's place in one step; on disk when this returns. It takes as long as the disk does: never on an event loop.
    package func write(_ snapshot: DirectorySnapshot, _ random: some RandomSource) throws(SnapshotError) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .file(errno) }
        do throws(SnapshotError) {
            try form.write(snapshot, fileNumber: random.bytes(16)) { bytes throws(SnapshotError) in try Self.write(bytes, to: descriptor) }
            guard fsync(descriptor) == 0 else { throw .file(errno) }
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        close(descriptor)
        guard rename(temporary, path) == 0 else {
            let error = errno
            unlink(temporary)
            throw .file(error)
        }
        try synchroniseFolder()
    }

    /// - Returns: `nil` if there is none.
    package func read() throws(SnapshotError) -> DirectorySnapshot? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw .file(errno)
        }
        defer { close(descriptor) }
        return try form.read { count throws(SnapshotError) in try Self.read(count, from: descriptor) }
    }

    /// Where mirrors are not kept any more.
    package func remove() throws(SnapshotError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .file(errno) }
        try synchroniseFolder()
    }

    private func synchroniseFolder() throws(SnapshotError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .file(errno) }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(SnapshotError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .file(errno) }
            rest = rest.dropFirst(count)
        }
    }

    private static func read(_ wanted: Int, from descriptor: Int32) throws(SnapshotError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: wanted)
        var have = 0
        while have < wanted {
            let count = bytes.withUnsafeMutableBytes { systemRead(descriptor, $0.baseAddress?.advanced(by: have), wanted - have) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .file(errno) }
            guard count > 0 else { return Array(bytes.prefix(have)) }
            have += count
        }
        return bytes
    }
}

/// `write(2)` and `read(2)`, which have the names of functions above.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }
private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int { read(descriptor, bytes, count) }
