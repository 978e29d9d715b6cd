package import Logging
package import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// How connections to the directory's servers are made.
package struct LDAPDial: Sendable {
    /// What becomes of a connection that begins in the clear.
    package enum StartTLS: Hashable, Sendable {
        /// TLS before anything is said (RFC 4511 §4.14). Not for the machine's own sockets, which need none.
        case required
        /// Only to this machine itself.
        case off
    }

    package var settings: LDAPConnection.Settings
    package var startTLS: StartTLS
    let tls: DirectoryTLS
    private let group: any EventLoopGroup
    private let log: Logger

    package init(
        _ settings: LDAPConnection.Settings = LDAPConnection.Settings(), startTLS: StartTLS = .required, tls: DirectoryTLS = DirectoryTLS(),
        on group: any EventLoopGroup, log: Logger
    ) {
        self.settings = settings
        self.startTLS = startTLS
        self.tls = tls
        self.group = group
        self.log = log
    }

    /// What is wrong with the address before anybody is called.
    package func fault(of address: DirectoryAddress) -> DirectoryFailure? {
        switch address {
        case .secure, .local: nil
        case .plain: startTLS == .required || address.isLocal ? nil : .unprotected(address)
        }
    }

    /// Opens a connection on which nothing was said yet, and which is protected as it has to be.
    package func open(
        _ address: DirectoryAddress, watch: LDAPConnection.Watch = LDAPConnection.Watch()
    ) async throws(DirectoryFailure) -> LDAPConnection {
        if let fault = fault(of: address) { throw fault }
        let context = try needsTLS(address) ? tls.context() : nil
        let loop = group.next()
        do {
            return try await loop.flatSubmit { open(address, context, on: loop, watch) }.get()
        } catch {
            throw DirectoryFailure(error)
        }
    }

    private func needsTLS(_ address: DirectoryAddress) -> Bool {
        switch address {
        case .secure: true
        case .plain: startTLS == .required
        case .local: false
        }
    }

    private func open(
        _ address: DirectoryAddress, _ context: NIOSSLContext?, on loop: any EventLoop, _ watch: LDAPConnection.Watch
    ) -> EventLoopFuture<LDAPConnection> {
        let opened = loop.makePromise(of: LDAPConnection.self)
        let protected = loop.makePromise(of: Void.self)
        let timer = loop.scheduleTask(in: settings.connectTimeout) { opened.fail(DirectoryFailure.timedOut(settings.connectTimeout)) }
        let connected = bootstrap(address, context, on: loop, protected, watch).flatMapThrowing { channel in
            (channel, try channel.pipeline.syncOperations.handler(type: LDAPChannelHandler.self).connection)
        }
        connected.flatMap { (channel, connection) in
            // Nobody has it then.
            opened.futureResult.whenFailure { _ in channel.close(promise: nil) }
            return protect(connection, channel, protected).map { connection }
        }.whenComplete { result in
            timer.cancel()
            switch result {
            case .success(let connection):
                connection.startPinging()
                opened.succeed(connection)
            case .failure(let error): opened.fail(DirectoryFailure(error))
            }
            protected.fail(DirectoryFailure.closed)
        }
        return opened.futureResult
    }

    private func bootstrap(
        _ address: DirectoryAddress, _ context: NIOSSLContext?, on loop: any EventLoop, _ protected: EventLoopPromise<Void>,
        _ watch: LDAPConnection.Watch
    ) -> EventLoopFuture<any Channel> {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(settings.connectTimeout)
            // One read a turn, so that little has come when nothing more is to be read.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if case .secure = address, let context {
                        try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: address.serverName))
                    }
                    let connection = LDAPConnection(channel, address, settings, tls: context, watch: watch, log: log)
                    try pipeline.addHandler(LDAPChannelHandler(connection, protected))
                }
            }
        switch address {
        case .local(let path): return bootstrap.connect(unixDomainSocketPath: path)
        case .plain(let host, let port), .secure(let host, let port):
            return
                bootstrap
                // Questions are small, and wait for answers: Nagle's algorithm and delayed acknowledgements together make 40 ms of each.
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .connect(host: host, port: port)
        }
    }

    /// - Returns: when what is secret may be said.
    private func protect(_ connection: LDAPConnection, _ channel: any Channel, _ protected: EventLoopPromise<Void>) -> EventLoopFuture<Void> {
        switch connection.address {
        case .local:
            connection.markLocal()
            return channel.eventLoop.makeSucceededVoidFuture()
        case .secure:
            setUserTimeout(channel)
            return protected.futureResult
        case .plain:
            setUserTimeout(channel)
            if startTLS == .required { return connection.startTLS().flatMap { protected.futureResult } }
            // Whatever a name may have led to.
            guard channel.remoteAddress?.isLoopback == true else {
                return channel.eventLoop.makeFailedFuture(DirectoryFailure.unprotected(connection.address))
            }
            return channel.eventLoop.makeSucceededVoidFuture()
        }
    }

    private func setUserTimeout(_ channel: any Channel) {
        #if os(Linux)
        let milliseconds = SocketOptionValue(clamping: settings.userTimeout.nanoseconds / 1_000_000)
        // A connection on which this cannot be set is one that has ended already.
        try? channel.syncOptions?.setOption(.tcpOption(.init(rawValue: TCP_USER_TIMEOUT)), value: milliseconds)
        #endif
    }
}

/// Gives what comes to a connection.
private final class LDAPChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    let connection: LDAPConnection
    /// Until TLS protects it.
    private let protected: EventLoopPromise<Void>

    init(_ connection: LDAPConnection, _ protected: EventLoopPromise<Void>) {
        self.connection = connection
        self.protected = protected
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { connection.heard(unwrapInboundIn(data)) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event {
            connection.handshaken()
            protected.succeed(())
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end(DirectoryFailure(error)) }

    func channelInactive(context: ChannelHandlerContext) {
        end(.disconnected(nil))
        context.fireChannelInactive()
    }

    private func end(_ why: DirectoryFailure) {
        // First this: the connection closes the channel, which comes back here.
        protected.fail(why)
        connection.ended(why)
    }
}

extension DirectoryFailure {
    /// In our words where the library's say something else than what happened.
    init(_ error: any Error) {
        switch error {
        case let error as DirectoryFailure: self = error
        case let error as NIOSSLError where error == .uncleanShutdown: self = .disconnected(nil)
        case let error as NIOSSLExtraError where error == .failedToValidateHostname: self = .insecure("its certificate is for another name")
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            let words = "\(error)"
            self = .insecure(words.contains("CERTIFICATE_VERIFY_FAILED") ? "its certificate is not trusted, or has expired" : words)
        case let error as IOError: self = error.errnoCode == ECONNRESET || error.errnoCode == EPIPE ? .disconnected(nil) : .unreachable(Self.describe(error))
        case let error as NIOConnectionError:
            let reasons = error.connectionErrors.map { ($0.error as? IOError).map(Self.describe) ?? "\($0.error)" }
            self = .unreachable(reasons.first ?? "its name leads to no address")
        case let error as ChannelError:
            if case .connectTimeout(let time) = error { self = .timedOut(time) } else { self = .disconnected(nil) }
        default: self = .unreachable("\(error)")
        }
    }

    private static func describe(_ error: IOError) -> String { strerror(error.errnoCode).map { String(cString: $0) } ?? "error \(error.errnoCode)" }
}
