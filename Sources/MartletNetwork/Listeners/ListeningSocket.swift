package import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Opens ports. Accepting survives running out of files: see ``AcceptFaultHandler``.
enum ListeningSocket {
    /// - Throws: ``ListenerError``.
    ///
    /// - Parameter fault: told what keeps connections from being accepted, once in ``AcceptFaultHandler/silence``.
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
                .childChannelInitializer { channel in
                    do {
                        try prepare(channel, settings)
                        return initializer(channel)
                    } catch { return channel.eventLoop.makeFailedFuture(error) }
                }
                .bind(to: socketAddress).get()
        } catch {
            throw ListenerError(address, port, error)
        }
    }

    private static func bootstrap(_ settings: NetworkSettings, isIPv6: Bool, on group: any EventLoopGroup) -> ServerBootstrap {
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: settings.backlog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        if isIPv6 {
            // `::` and `0.0.0.0` are opened side by side.
            let v6Only = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
            bootstrap = bootstrap.serverChannelOption(v6Only, value: 1)
        }
        return bootstrap
    }

    /// On the channel's loop: as options of the bootstrap they would wait for a future each.
    private static func prepare(_ channel: any Channel, _ settings: NetworkSettings) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        // One read a turn: the second would only say that there is nothing more.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(.recvAllocator, value: ReceiveBuffers(bytes: settings.receiveBytes))
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

/// Lets a listening socket rest when a connection cannot be accepted, and says why.
///
/// The connection stays in the system's queue and the socket readable, so that the loop would come back to it at once, and again: NIO's
/// own `AcceptBackoffHandler` puts off what asks for reading anew, but a listening socket that has failed to accept is still being read.
/// Sessions of the loop go on meanwhile.
package final class AcceptFaultHandler: ChannelInboundHandler {
    package typealias InboundIn = any Channel

    /// From a failure to the next attempt.
    package static let rest = TimeAmount.seconds(1)
    /// From one report to the next: connections may fail and succeed in turn for a long time.
    package static let silence = TimeAmount.seconds(60)

    private let fault: @Sendable (any Error) -> Void
    private var quietUntil = NIODeadline.uptimeNanoseconds(0)
    private var isResting = false

    package init(_ fault: @escaping @Sendable (any Error) -> Void) { self.fault = fault }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let now = NIODeadline.now()
        if now >= quietUntil {
            quietUntil = now + Self.silence
            fault(error)
        }
        rest(context)
        context.fireErrorCaught(error)
    }

    private func rest(_ context: ChannelHandlerContext) {
        let channel = context.channel
        guard !isResting, channel.isActive else { return }
        isResting = true
        setReading(false, channel)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.rest) { [self] in
            isResting = false
            setReading(true, channel)
        }
    }

    private func setReading(_ isReading: Bool, _ channel: any Channel) {
        // It fails only on a channel that is closed.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }
}

extension ListenerError {
    /// What an operator can do about connections that are not accepted.
    package static func advice(about error: any Error) -> String? {
        switch (error as? IOError)?.errnoCode {
        case EMFILE: "no file is left for connections: raise LimitNOFILE of the service, or 'ulimit -n'; sessions go on"
        case ENFILE: "the whole machine has no file left: raise the sysctl fs.file-max; sessions go on"
        default: nil
        }
    }
}
