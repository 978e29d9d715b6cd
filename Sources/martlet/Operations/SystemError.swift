#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What the system said when a call failed.
package struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    package var code: Int32

    package init(_ code: Int32) { self.code = code }

    /// Of the call that failed just now on this thread.
    package static var last: SystemError { SystemError(errno) }

    package var description: String {
        switch code {
        case ENOENT: "there is no such file or folder"
        case EACCES, EPERM: "permission denied"
        case ENOSPC: "no space left on the device"
        case EROFS: "the file system is read-only"
        default: String(cString: strerror(code))
        }
    }

    /// The exit status of a command that ends because a file could not be written.
    var statusOfWriting: ExitStatus {
        switch code {
        case EACCES, EPERM, EROFS: .noPermission
        case ENOSPC, EDQUOT, EIO: .io
        default: .cannotCreate
        }
    }
}
