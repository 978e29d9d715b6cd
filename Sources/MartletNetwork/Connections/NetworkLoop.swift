package import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
package import NIOPosix

/// What one event loop has to itself for its connections: the context that sessions use, working memory for parsers, deadlines.
///
/// `@unchecked Sendable` because it is handed around while connections are accepted; everything in it is touched on its loop only, after
/// it has been made and before anybody else knows it.
package final class NetworkLoop: @unchecked Sendable {
    package let loop: any EventLoop
    package let context: LoopContext
    let scratch = XMLParserScratch()
    let handshakes: HandshakeQueue
    let executor: LoopExecutor
    private var wheel = DeadlineWheel<LoopConnection>()
    private var turning: RepeatedTask?
    /// Streams that are gone, and whose sessions go on without them, though what has let them in may end: of each session the last one.
    private var behind: [FullJID: ClientStream] = [:]
    private var emptied: [EventLoopPromise<Void>] = []

    /// What the wheel counts in.
    package static let tick = TimeAmount.seconds(1)

    package init(_ loop: any EventLoop, _ context: LoopContext, handshakesPerTurnMax: Int = NetworkSettings().handshakesPerTurnMax) {
        self.loop = loop
        self.context = context
        executor = LoopExecutor(loop)
        handshakes = HandshakeQueue(loop, perTurnMax: handshakesPerTurnMax)
    }

    /// Seconds since the loop began, as deadlines and activity are counted. Reading it asks no clock.
    package var now: Int { wheel.now }

    /// Time, rounded up to ticks.
    static func ticks(_ time: TimeAmount) -> Int { max(Int((time.nanoseconds + tick.nanoseconds - 1) / tick.nanoseconds), 1) }

    package var connectionCount: Int { wheel.count }

    /// Lets the wheel turn with the clock. On any thread.
    package func begin() {
        loop.execute { [self] in
            guard turning == nil else { return }
            turning = loop.scheduleRepeatedTask(initialDelay: Self.tick, delay: Self.tick) { [self] _ in turn() }
        }
    }

    /// Stops the wheel. On any thread.
    package func end() {
        loop.execute { [self] in
            turning?.cancel()
            turning = nil
        }
    }

    /// One tick has passed.
    package func turn() {
        for connection in wheel.turn() { connection.deadlinePassed() }
        context.flush()
    }

    /// Once a minute, and after reloads. On the loop.
    func lookAtCertificatesAgain() {
        for connection in wheel.members { connection.lookAtCertificateAgain() }
        behind = behind.filter { $0.value.isBehind }
        for stream in behind.values { stream.examineBehind() }
    }

    /// Until its session is resumed, or ends.
    func keep(_ stream: ClientStream, of session: FullJID) { behind[session] = stream }

    /// After reloads that change rules about log-ins. On the loop.
    func lookAtLoginsAgain() {
        for connection in wheel.members { connection.lookAtLoginAgain() }
    }

    func hang(_ connection: LoopConnection, until tick: Int) {
        wheel.remove(connection)
        wheel.insert(connection, at: tick)
    }

    func forget(_ connection: LoopConnection) {
        wheel.remove(connection)
        tellEmptied()
    }

    private func tellEmptied() {
        guard wheel.count == 0 else { return }
        for promise in emptied { promise.succeed() }
        emptied = []
    }

    /// Ends every stream; completes when the last connection is gone, after `deadline` at the latest. On any thread.
    func endAll(_ error: StreamError, within deadline: TimeAmount) -> EventLoopFuture<Void> {
        loop.flatSubmit { [self] in
            let promise = loop.makePromise(of: Void.self)
            guard wheel.count > 0 else {
                promise.succeed()
                return promise.futureResult
            }
            emptied.append(promise)
            let cut = loop.scheduleTask(in: deadline) { [self] in
                for connection in wheel.members { connection.drop() }
                // TLS may still want an answer to its own farewell: nobody waits for that.
                promise.succeed()
            }
            promise.futureResult.whenComplete { _ in cut.cancel() }
            for connection in wheel.members { connection.close(error) }
            context.flush()
            return promise.futureResult
        }
    }
}

/// Runs tasks on an event loop: whoever asks from there and waits for an answer needs no other thread to wait on.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// The event loops of the process, each with its context.
package final class LoopPool: Sendable {
    package let group: MultiThreadedEventLoopGroup
    package let loops: [NetworkLoop]
    private let byLoop: [ObjectIdentifier: NetworkLoop]

    /// - Parameters:
    ///   - count: how many threads.
    ///   - makeContext: makes what sessions use, before anything runs on the loop.
    package init(count: Int, handshakesPerTurnMax: Int = NetworkSettings().handshakesPerTurnMax, _ makeContext: (any EventLoop) -> LoopContext) {
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(count, 1))
        loops = group.makeIterator().map { NetworkLoop($0, makeContext($0), handshakesPerTurnMax: handshakesPerTurnMax) }
        byLoop = Dictionary(uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.loop), $0) })
        for loop in loops { loop.begin() }
    }

    /// What belongs to a loop of this pool.
    package func loop(of loop: any EventLoop) -> NetworkLoop {
        guard let found = byLoop[ObjectIdentifier(loop)] else { preconditionFailure("a loop of another group") }
        return found
    }

    /// Ends the threads. Nothing may be running on them.
    package func shutDown() async throws {
        for loop in loops { loop.end() }
        try await group.shutdownGracefully()
    }
}
