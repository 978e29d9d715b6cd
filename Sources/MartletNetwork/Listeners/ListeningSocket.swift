import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Opens ports. Accepting survives running out of files: NIO puts its `AcceptBackoffHandler` on every listening socket, which waits a
/// second and goes on.
enum ListeningSocket {
    /// - Throws: ``ListenerError``.
    ///
    /// - Parameter fault: told what kept a connection from being accepted, once until the next one is.
    static func open(
        _ address: String, _ port: Int, _ settings: NetworkSettings, on group: any EventLoopGroup,
        fault: @escaping @Sendable (any Error) -> Void = { _ in }, _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws(ListenerError) -> any Channel {
        do {
            let socketAddress = try SocketAddress(ipAddress: address, port: port)
            return try await bootstrap(settings, isIPv6: socketAddress.protocol == .inet6, on: group)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptFaultHandler(fault)) }
                }
                .childChannelInitializer(initializer).bind(to: socketAddress).get()
        } catch {
            throw ListenerError(address, port, error)
        }
    }

    private static func bootstrap(_ settings: NetworkSettings, isIPv6: Bool, on group: any EventLoopGroup) -> ServerBootstrap {
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: settings.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            // One read a turn: the second would only say that there is nothing more.
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: settings.receiveBytes))
        if isIPv6 {
            // `::` and `0.0.0.0` are opened side by side.
            let v6Only = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
            bootstrap = bootstrap.serverChannelOption(v6Only, value: 1)
        }
        return bootstrap
    }

    /// How long what was sent may stay unacknowledged (RFC 5482), where the system has that. On the channel's loop.
    static func setUserTimeout(_ timeout: TimeAmount?, on channel: any Channel) throws {
        #if os(Linux)
        guard let timeout else { return }
        let milliseconds = SocketOptionValue(clamping: timeout.nanoseconds / 1_000_000)
        try channel.syncOptions?.setOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: milliseconds)
        #endif
    }
}

/// Stands in front of NIO's own handlers on a listening socket and says why connections are not accepted.
private final class AcceptFaultHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    private let fault: @Sendable (any Error) -> Void
    private var isFailing = false

    init(_ fault: @escaping @Sendable (any Error) -> Void) { self.fault = fault }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isFailing = false
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !isFailing { fault(error) }
        isFailing = true
        context.fireErrorCaught(error)
    }
}
