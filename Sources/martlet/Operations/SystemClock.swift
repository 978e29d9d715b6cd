import MartletCore
package import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The clocks of this machine.
package struct SystemClock: TimeSource {
    package init() {}

    package var monotonic: NIODeadline { .now() }

    package var wallMilliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    package var wallSeconds: Int { Int(wallMilliseconds / 1000) }
}
