import MartletXMPP

/// Something that a loop keeps deadlines for, and that ends when the server stops: a connection, or a session that outlives its connections.
///
/// Everything happens on its loop.
package class LoopConnection: DeadlineWheelMember {
    let loop: NetworkLoop
    package final var wheelPlace: DeadlineWheelPlace?
    /// It asks for no more deadlines.
    private(set) final var isForgotten = false

    init(_ loop: NetworkLoop) { self.loop = loop }

    /// The tick has come that was asked for; nothing is asked for now.
    func deadlinePassed() {}
    /// Ends in good order within a bounded time.
    func close(_ error: StreamError?) {}
    /// What others have proved by certificates may count no more.
    func lookAtCertificateAgain() {}
    /// Rules about log-ins may have become other ones.
    func lookAtLoginAgain() {}
    /// Ends without another word.
    func drop() {}

    /// Asks to be looked at in that tick.
    final func hang(until tick: Int) {
        if !isForgotten { loop.hang(self, until: tick) }
    }

    /// It is gone: the loop knows it no more.
    final func forget() {
        guard !isForgotten else { return }
        isForgotten = true
        loop.forget(self)
    }
}
