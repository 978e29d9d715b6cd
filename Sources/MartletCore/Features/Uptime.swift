import NIOCore

/// For how long something has been running, by the clock that never goes back.
package struct Uptime: Sendable {
    private let time: any TimeSource
    private let start: NIODeadline

    /// Starts now.
    package init(_ time: any TimeSource) {
        self.time = time
        start = time.monotonic
    }

    /// Whole seconds.
    package var seconds: Int64 { (time.monotonic - start).nanoseconds / 1_000_000_000 }
}
