import NIOCore

/// Takes the body of a request as it comes, where that may be too long to be kept. On the connection's loop.
protocol WebBodyReader: AnyObject {
    func take(_ bytes: ByteBuffer)
    /// The body is complete; from now on the answer is owed.
    func end()
    /// The connection is gone, or does not wait for the rest of the body any more.
    func lost()
}

/// How long a body that goes on for long may take, in either direction: nobody holds a connection by doing nothing, or by doing next to nothing.
struct WebTransfer {
    /// When all of it has to have passed, whatever happens.
    private let end: Int
    private let patience: Int
    private var lastProgress: Int
    /// What the other side had acknowledged when it was last looked at, in bytes.
    private var acknowledgedBytes: UInt64

    /// - Parameter acknowledgedBytes: what the other side has acknowledged on the connection before.
    init(bytes: Int, _ settings: WebSettings, at now: Int, acknowledgedBytes: UInt64 = 0) {
        self.acknowledgedBytes = acknowledgedBytes
        patience = NetworkLoop.ticks(settings.transferStall)
        lastProgress = now
        end = now + NetworkLoop.ticks(settings.transferReserve) + bytes / max(settings.transferBytesPerSecondMin, 1)
    }

    /// Of what goes on as long as there is something to say, and never pauses for long.
    init(lasting lifetime: TimeAmount, _ settings: WebSettings, at now: Int, acknowledgedBytes: UInt64) {
        self.acknowledgedBytes = acknowledgedBytes
        patience = NetworkLoop.ticks(settings.transferStall)
        lastProgress = now
        end = now + NetworkLoop.ticks(lifetime) + NetworkLoop.ticks(settings.transferReserve)
    }

    mutating func progress(at now: Int) { lastProgress = now }

    /// - Parameter bytes: what the other side has acknowledged of all that was sent on the connection.
    mutating func acknowledged(_ bytes: UInt64, at now: Int) {
        if bytes > acknowledgedBytes { lastProgress = now }
        acknowledgedBytes = bytes
    }

    /// When it is to be looked at next: several times while it may stand still, since what is acknowledged says nothing of when.
    func nextLook(at now: Int) -> Int { min(until, now + max(patience / 6, 1)) }

    /// When it is to be given up.
    var until: Int { min(end, lastProgress + patience) }
}
