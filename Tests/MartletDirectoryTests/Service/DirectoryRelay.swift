import MartletDirectory
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

/// Stands between a client and a directory, so that the one can lose the other, which notices nothing.
final class DirectoryRelay: Sendable {
    private struct State {
        var listener: (any Channel)?
        var channels: [any Channel] = []
    }

    private let target: Int
    let port: Int
    private let state: NIOLockedValueBox<State>

    init(to target: Int) async throws {
        self.target = target
        state = NIOLockedValueBox(State())
        let listener = try await Self.listen(on: 0, target, state)
        port = try #require(listener.localAddress?.port)
        state.withLockedValue { $0.listener = listener }
    }

    var address: DirectoryAddress { .plain(host: "127.0.0.1", port: port) }

    /// Every connection ends, and no other comes about.
    func cut() async throws {
        let (listener, channels) = state.withLockedValue { state in
            defer { state = State() }
            return (state.listener, state.channels)
        }
        try await listener?.close()
        for channel in channels { try? await channel.close() }
    }

    func open() async throws {
        let listener = try await Self.listen(on: port, target, state)
        state.withLockedValue { $0.listener = listener }
    }

    private static func listen(on port: Int, _ target: Int, _ state: NIOLockedValueBox<State>) async throws -> any Channel {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in Self.join(channel, to: target, state) }
            .bind(host: "127.0.0.1", port: port).get()
    }

    /// Nothing is read of the caller before.
    private static func join(_ caller: any Channel, to target: Int, _ state: NIOLockedValueBox<State>) -> EventLoopFuture<Void> {
        ClientBootstrap(group: caller.eventLoop)
            .channelInitializer { channel in channel.pipeline.addHandler(PassingHandler(to: caller)) }
            .connect(host: "127.0.0.1", port: target)
            .flatMap { called in
                state.withLockedValue { $0.channels += [caller, called] }
                return caller.pipeline.addHandler(PassingHandler(to: called))
            }
    }
}

/// What comes on one side goes out on the other, its end included.
private final class PassingHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) { self.other = other }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { other.writeAndFlush(unwrapInboundIn(data), promise: nil) }
    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
