import NIOCore

/// What one connection may send at once and in the long run. Pure: time is given in seconds.
struct ByteAllowance {
    /// Bytes that may still arrive before the client is slowed down, as of `second`.
    private var bytes: Int
    private var second: Int

    init(burst: Int, at second: Int) {
        bytes = burst
        self.second = second
    }

    /// Counts what arrived. - Returns: how long the connection has to rest until it has made up for it; `nil` if not at all.
    mutating func spend(_ count: Int, rate: Int, burst: Int, at now: Int) -> TimeAmount? {
        bytes = min(bytes + (now - second) * rate, burst) - count
        second = now
        return bytes < 0 ? .milliseconds(Int64(-bytes) * 1_000 / Int64(rate) + 1) : nil
    }
}
