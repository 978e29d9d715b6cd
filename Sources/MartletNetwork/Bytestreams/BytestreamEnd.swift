import NIOCore

/// One of the two connections of a bytestream: names its stream, waits for the other, and then passes bytes on. What it is sent is read only as
/// fast as the other takes it. On its channel's loop.
final class BytestreamEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    /// Bytes read at a time once the stream is active.
    static let readBytes = 64 * 1024

    private let service: BytestreamService
    private var exchange = SOCKSExchange()
    private enum State {
        case naming(ByteBuffer)
        /// With what has come too early.
        case waiting(ByteBuffer)
        case active(any Channel)
    }
    private var state = State.naming(ByteBuffer())
    private var stream: String?
    private var lastWrite: EventLoopFuture<Void>?
    private var deadline: Scheduled<Void>?
    private let channel: any Channel

    init(_ service: BytestreamService, _ channel: any Channel) {
        self.service = service
        self.channel = channel
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let patience = service.limits.patience
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch state {
        case .naming(var before):
            before.writeBuffer(&bytes)
            name(before, context)
        case .waiting(var early):
            early.writeBuffer(&bytes)
            // It was told to be silent, and is not read: there is no more than one read of it.
            state = .waiting(early)
        case .active(let other): write(bytes, to: other)
        }
    }

    // MARK: Its stream

    private func name(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        var bytes = bytes
        while true {
            switch exchange.take(&bytes) {
            case .wait: return state = .naming(bytes)
            case .say(let answer): say(answer, context)
            case .refuse(let answer):
                say(answer, context)
                return context.close(promise: nil)
            case .begin(let stream, let answer): return wait(for: stream, answer, bytes, context)
            }
        }
    }

    private func say(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        if !bytes.isEmpty { context.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil) }
    }

    private func wait(for stream: String, _ answer: [UInt8], _ early: ByteBuffer, _ context: ChannelHandlerContext) {
        guard service.arrive(NIOLoopBound(self, eventLoop: context.eventLoop), on: channel, stream) else { return context.close(promise: nil) }
        self.stream = stream
        state = .waiting(early)
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        say(answer, context)
    }

    // MARK: Active

    /// The other is there, and the stream is wanted.
    func join(_ other: any Channel) {
        guard case .waiting(let early) = state, channel.isActive else { return other.close(promise: nil) }
        deadline?.cancel()
        state = .active(other)
        try? channel.syncOptions?.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.readBytes))
        try? channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: service.limits.idle), position: .first)
        if early.readableBytes > 0 { write(early, to: other) } else { channel.read() }
    }

    /// The next is read when this is with the system.
    private func write(_ bytes: ByteBuffer, to other: any Channel) {
        let written = other.writeAndFlush(bytes).hop(to: channel.eventLoop)
        lastWrite = written
        written.assumeIsolated().whenComplete { [self] result in
            if case .success = result { channel.read() } else { channel.close(promise: nil) }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    /// What it has sent is with the other before that is closed.
    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        if let stream { service.leave(channel, stream) }
        guard case .active(let other) = state else { return }
        guard let lastWrite else { return other.close(promise: nil) }
        lastWrite.whenComplete { _ in other.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
