import NIOCore

/// Lets TLS handshakes begin a few at a time, so that a storm of them never starves the sessions of the loop (`reliability.md` rule 15).
///
/// Only beginnings are counted: a client that goes silent in the middle of a handshake keeps nobody waiting.
final class HandshakeQueue {
    private var waiting = CircularBuffer<EventLoopPromise<Void>>()
    private var isScheduled = false
    private let loop: any EventLoop
    private let perTurnMax: Int

    init(_ loop: any EventLoop, perTurnMax: Int) {
        self.loop = loop
        self.perTurnMax = max(perTurnMax, 1)
    }

    /// Completes when a handshake may begin, in the order of asking.
    func admit() -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        waiting.append(promise)
        schedule()
        return promise.futureResult
    }

    private func schedule() {
        guard !isScheduled, !waiting.isEmpty else { return }
        isScheduled = true
        loop.assumeIsolated().execute { self.turn() }
    }

    private func turn() {
        isScheduled = false
        for _ in 0..<perTurnMax { waiting.popFirst()?.succeed() }
        schedule()
    }
}
