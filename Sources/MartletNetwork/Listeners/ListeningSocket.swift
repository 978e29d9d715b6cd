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
    static func open(
        _ address: String, _ port: Int, _ settings: NetworkSettings, on group: any EventLoopGroup,
        _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws(ListenerError) -> any Channel {
        do {
            let socketAddress = try SocketAddress(ipAddress: address, port: port)
            return try await bootstrap(settings, isIPv6: socketAddress.protocol == .inet6, on: group)
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
        #if os(Linux)
        if let timeout = settings.tcpUserTimeout {
            let milliseconds = SocketOptionValue(clamping: timeout.nanoseconds / 1_000_000)
            bootstrap = bootstrap.childChannelOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: milliseconds)
        }
        #endif
        return bootstrap
    }
}
