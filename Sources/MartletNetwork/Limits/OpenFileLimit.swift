#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How many files and sockets the process may have open.
package enum OpenFileLimit {
    /// Files that are not connections: the database, logs, listeners, what libraries open.
    package static let reserved = 128

    /// Raises the limit as far as the system allows without privileges.
    ///
    /// - Returns: what is allowed now; `nil` if the system does not say.
    @discardableResult
    package static func raise() -> Int? {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return nil }
        if limit.rlim_cur < limit.rlim_max {
            let before = limit.rlim_cur
            limit.rlim_cur = limit.rlim_max
            if setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// The connections that a limit leaves room for.
    package static func connections(within limit: Int) -> Int { max(limit - reserved, 0) }

    #if canImport(Glibc)
    private static var resource: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }
    #else
    private static var resource: Int32 { RLIMIT_NOFILE }
    #endif
}
