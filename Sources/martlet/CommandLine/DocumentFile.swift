import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A document that is written line by line: to standard output, or to a file of its owner's that is there as a whole or not at all.
final class DocumentFile {
    private let path: String?
    private let temporary: String
    private let descriptor: Int32
    private var pending: [UInt8] = []

    /// Bytes that are written at a time.
    private static let pieceBytes = 65_536

    /// - Parameter path: `nil` is standard output.
    init(_ path: String?) throws(CommandFailure) {
        self.path = path
        temporary = path.map { "\($0).\(getpid()).new" } ?? ""
        guard let path else {
            descriptor = STDOUT_FILENO
            return
        }
        unlink(temporary)
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, PrivateFiles.fileMode)
        guard descriptor >= 0 else { throw Self.failure(path) }
    }

    /// Writes a line.
    func write(_ line: ByteBuffer) throws(CommandFailure) {
        pending.append(contentsOf: line.readableBytesView)
        pending.append(0x0A)
        if pending.count >= Self.pieceBytes { try flush() }
    }

    /// Puts the file in its place, on disk when this returns.
    func finish() throws(CommandFailure) {
        try flush()
        guard let path else { return }
        guard fchmod(descriptor, PrivateFiles.fileMode) == 0, fsync(descriptor) == 0 else { throw Self.failure(path) }
        guard rename(temporary, path) == 0 else { throw Self.failure(path) }
        close(descriptor)
    }

    /// Leaves no half of it.
    func discard() {
        guard path != nil else { return }
        close(descriptor)
        unlink(temporary)
    }

    private func flush() throws(CommandFailure) {
        var rest = pending[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(path ?? "standard output") }
            rest = rest.dropFirst(count)
        }
        pending.removeAll(keepingCapacity: true)
    }

    private static func failure(_ path: String) -> CommandFailure {
        let error = SystemError.last
        return CommandFailure(error.statusOfWriting, "\(path) cannot be written: \(error)")
    }
}

/// `write(2)`, which has the name of a function above.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }
