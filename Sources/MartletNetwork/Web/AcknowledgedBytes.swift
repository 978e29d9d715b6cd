import NIOCore

/// How much of what was sent the other side's system has: `tcpi_bytes_acked` of Linux (`tcp(7)`). It counts what is encrypted as well.
enum AcknowledgedBytes {
    /// The beginning of Linux's `struct tcp_info`, which has only grown since 4.1; the headers of the C library have less of it.
    private struct Info: BitwiseCopyable, Sendable {
        /// `tcpi_state` to `tcpi_total_retrans`.
        var smaller: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        var pacingRate: UInt64 = 0
        var pacingRateMax: UInt64 = 0
        var acknowledged: UInt64 = 0
    }

    /// Fails on a channel that is closed. `nil` on systems that do not know it.
    static func ask(_ channel: any Channel) -> EventLoopFuture<UInt64>? {
        #if os(Linux)
        guard let provider = channel as? any SocketOptionProvider else { return nil }
        let info: EventLoopFuture<Info> = provider.unsafeGetSocketOption(level: .tcp, name: .tcp_info)
        return info.map(\.acknowledged)
        #else
        return nil
        #endif
    }
}
