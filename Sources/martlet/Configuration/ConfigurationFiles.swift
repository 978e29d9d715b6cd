#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Why a file cannot be used.
package enum ConfigurationFileFault: Error, Sendable, Hashable, CustomStringConvertible {
    case missing
    case notPermitted
    case folder
    case notRegular
    case symbolicLinkLoop
    case tooLarge(bytesMax: Int)
    case system(code: Int32)

    package var description: String {
        switch self {
        case .missing: "there is no such file"
        case .notPermitted: "permission denied"
        case .folder: "it is a folder"
        case .notRegular: "it is not a regular file"
        case .symbolicLinkLoop: "its symbolic links lead in a circle"
        case .tooLarge(let bytesMax): "it is larger than \(ByteSize.text(bytesMax))"
        case .system(let code): String(cString: strerror(code))
        }
    }
}

/// The files that a configuration is read from and names. A value, so that tests need no disk.
package struct ConfigurationFiles: Sendable {
    /// The bytes of the file, if they are no more than the maximum.
    package var read: @Sendable (_ path: String, _ bytesMax: Int) -> Result<[UInt8], ConfigurationFileFault>
    /// Why the file cannot be read, if it cannot.
    package var fault: @Sendable (_ path: String) -> ConfigurationFileFault?
    /// Whether users of the machine may read the file who are neither its owner nor of its group.
    package var isOpenToAll: @Sendable (_ path: String) -> Bool

    package init(
        read: @escaping @Sendable (_ path: String, _ bytesMax: Int) -> Result<[UInt8], ConfigurationFileFault>,
        fault: @escaping @Sendable (_ path: String) -> ConfigurationFileFault?,
        isOpenToAll: @escaping @Sendable (_ path: String) -> Bool = { _ in false }
    ) {
        self.read = read
        self.fault = fault
        self.isOpenToAll = isOpenToAll
    }

    /// The files of this machine.
    package static let disk = ConfigurationFiles(
        read: { path, bytesMax in
            Result { () throws(ConfigurationFileFault) in
                try withRegularFile(path) { descriptor throws(ConfigurationFileFault) in try bytes(descriptor, bytesMax) }
            }
        },
        fault: { path in
            do throws(ConfigurationFileFault) {
                return try withRegularFile(path) { _ in nil }
            } catch {
                return error
            }
        },
        isOpenToAll: { path in
            var status = stat()
            return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
        })

    private static func withRegularFile<Value>(
        _ path: String, _ body: (Int32) throws(ConfigurationFileFault) -> Value
    ) throws(ConfigurationFileFault) -> Value {
        // Without O_NONBLOCK a pipe without a writer would stop us here.
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw fault(errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw fault(errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return try body(descriptor)
        case S_IFDIR: throw .folder
        default: throw .notRegular
        }
    }

    private static func bytes(_ descriptor: Int32, _ bytesMax: Int) throws(ConfigurationFileFault) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= bytesMax {
            let count = systemRead(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count > 0 {
                bytes.append(contentsOf: chunk.prefix(count))
            } else if errno != EINTR {
                throw fault(errno)
            }
        }
        throw .tooLarge(bytesMax: bytesMax)
    }

    private static func fault(_ code: Int32) -> ConfigurationFileFault {
        switch code {
        case ENOENT, ENOTDIR: .missing
        case EACCES, EPERM: .notPermitted
        case EISDIR: .folder
        case ELOOP: .symbolicLinkLoop
        case ENXIO: .notRegular
        default: .system(code: code)
        }
    }
}

/// `read(2)`, which has the name of a property above.
private func systemRead(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(descriptor, bytes, count)
}
