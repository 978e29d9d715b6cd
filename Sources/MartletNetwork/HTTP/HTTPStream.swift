import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One request and its answer over a connection of its own, piece by piece in both directions: of neither is more in memory than what is being
/// passed. What is asked of it is asked one thing at a time, and takes no longer than its patience. Everything here is done on its loop.
///
/// `@unchecked Sendable`: touched on that loop only; closures that NIO wants sendable come back to it.
final class HTTPStream: @unchecked Sendable {
    /// Where to connect, as the operator says: by the system's names, at whatever address.
    struct Place: Sendable {
        var host: String
        var port: Int
        /// For TLS; `nil` without it.
        var context: NIOSSLContext?
        /// Longest content of an answer, in bytes.
        var bytesMax: Int
        /// For the connection, and for each step from then on.
        var patience: TimeAmount
    }

    /// Bytes that are read at a time.
    static let receiveBytes = 65_536

    private enum State {
        /// No answer yet.
        case asking
        case answered(HTTPResponseHead)
        /// The answer has ended.
        case complete(HTTPResponseHead)
        case failed(HTTPFetchError)
    }

    private let place: Place
    private let channel: any Channel
    private var state = State.asking
    private let head: EventLoopPromise<HTTPResponseHead>
    /// What has come of the content that nobody has asked for yet: what one read brings.
    private var arrived = ByteBuffer()
    private var wanted: EventLoopPromise<ByteBuffer>?

    private init(_ place: Place, _ channel: any Channel) {
        self.place = place
        self.channel = channel
        head = channel.eventLoop.makePromise()
        // It may fail before anybody asks.
        head.futureResult.whenFailure { _ in }
    }

    var loop: any EventLoop { channel.eventLoop }

    /// - Returns: on `loop`. Fails with ``HTTPFetchError``.
    static func open(_ place: Place, on loop: any EventLoop) -> EventLoopFuture<HTTPStream> {
        let opened = loop.makePromise(of: HTTPStream.self)
        let timer = loop.scheduleTask(in: place.patience) { opened.fail(HTTPFetchError.timedOut(place.patience)) }
        ClientBootstrap(group: loop)
            .connectTimeout(place.patience)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: receiveBytes))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let stream = HTTPStream(place, channel)
                    try HTTPPipeline.add(to: channel, place.context, serverName: place.serverName, bytesMax: place.bytesMax) {
                        stream.fail(.tooLong(place.bytesMax))
                    }
                    try channel.pipeline.syncOperations.addHandler(HTTPStreamHandler(stream))
                }
            }
            .connect(host: place.host, port: place.port)
            .flatMapThrowing { channel in
                (channel, try channel.pipeline.syncOperations.handler(type: HTTPStreamHandler.self).stream)
            }
            .whenComplete { result in
                timer.cancel()
                switch result {
                case .success((let channel, let stream)):
                    opened.succeed(stream)
                    // Too late: nobody has it.
                    opened.futureResult.whenFailure { _ in channel.close(promise: nil) }
                case .failure(let error): opened.fail(HTTPFetchError(error))
                }
            }
        return opened.futureResult
    }

    // MARK: The request

    /// The head; what follows it is as long as it says.
    func begin(_ head: HTTPRequestHead) { channel.write(HTTPClientRequestPart.head(head), promise: nil) }

    /// A piece of the content. - Returns: when it is with the system.
    func send(_ bytes: ByteBuffer) -> EventLoopFuture<Void> {
        if case .failed(let error) = state { return loop.makeFailedFuture(error) }
        return patient(channel.writeAndFlush(HTTPClientRequestPart.body(.byteBuffer(bytes))))
    }

    /// The request is complete. - Returns: the head of the answer.
    func end() -> EventLoopFuture<HTTPResponseHead> {
        channel.writeAndFlush(HTTPClientRequestPart.end(nil)).whenFailure { self.fail(HTTPFetchError($0)) }
        return patient(head.futureResult)
    }

    /// The answer that has come before the request was complete: a refusal.
    var earlyAnswer: HTTPResponseHead? {
        switch state {
        case .answered(let head), .complete(let head): head
        case .asking, .failed: nil
        }
    }

    // MARK: The answer

    /// The next piece of the content; empty behind the last.
    func next() -> EventLoopFuture<ByteBuffer> {
        if case .failed(let error) = state { return loop.makeFailedFuture(error) }
        if arrived.readableBytes > 0 {
            defer { arrived = ByteBuffer() }
            return loop.makeSucceededFuture(arrived)
        }
        if case .complete = state { return loop.makeSucceededFuture(ByteBuffer()) }
        let promise = loop.makePromise(of: ByteBuffer.self)
        wanted = promise
        setReading(true)
        return patient(promise.futureResult)
    }

    /// All that is left of it, which is as long as ``Place/bytesMax`` at most.
    func rest(_ before: ByteBuffer = ByteBuffer()) -> EventLoopFuture<ByteBuffer> {
        next().flatMap { piece in
            guard piece.readableBytes > 0 else { return self.loop.makeSucceededFuture(before) }
            var all = before
            all.writeImmutableBuffer(piece)
            return self.rest(all)
        }
    }

    /// Nothing more is wanted.
    func close() { fail(.broken("it was closed")) }

    // MARK: What happens

    fileprivate func heard(_ part: HTTPClientResponsePart) {
        switch (part, state) {
        case (.head(let answer), .asking):
            state = .answered(answer)
            setReading(false)
            // Its content may be asked for at once.
            head.succeed(answer)
        case (.body(let bytes), .answered):
            arrived.writeImmutableBuffer(bytes)
            give()
        case (.end, .answered(let answer)):
            state = .complete(answer)
            give()
        case (.head, _), (.body, _), (.end, _): break
        }
    }

    private func give() {
        setReading(false)
        guard let promise = wanted else { return }
        let piece = arrived
        (wanted, arrived) = (nil, ByteBuffer())
        // The next one may be asked for at once.
        promise.succeed(piece)
    }

    fileprivate func fail(_ error: HTTPFetchError) {
        switch state {
        case .failed: return
        // What has been said was said; and what belongs to it is here already.
        case .complete: break
        case .asking, .answered: state = .failed(error)
        }
        head.fail(error)
        wanted?.fail(error)
        wanted = nil
        channel.close(promise: nil)
    }

    private func setReading(_ isReading: Bool) {
        // It fails only on a channel that is closed.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    /// What comes of something, or the end of patience.
    private func patient<Value: Sendable>(_ future: EventLoopFuture<Value>) -> EventLoopFuture<Value> {
        let timer = loop.scheduleTask(in: place.patience) { self.fail(.timedOut(self.place.patience)) }
        future.whenComplete { _ in timer.cancel() }
        return future.flatMapErrorThrowing { error in
            if case .failed(let reason) = self.state { throw reason }
            throw HTTPFetchError(error)
        }
    }
}

extension HTTPStream.Place {
    /// An address has no name of its own.
    fileprivate var serverName: String? { NetworkAddress(host) == nil ? host : nil }
}

/// Gives what comes to a stream.
private final class HTTPStreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    let stream: HTTPStream

    init(_ stream: HTTPStream) { self.stream = stream }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { stream.heard(unwrapInboundIn(data)) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { stream.fail(HTTPFetchError(error)) }

    func channelInactive(context: ChannelHandlerContext) {
        stream.fail(.broken("it was closed before the answer was there"))
        context.fireChannelInactive()
    }
}
