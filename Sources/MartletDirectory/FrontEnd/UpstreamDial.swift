import MartletLDAP
package import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization

/// How the directory behind is reached: for each client a connection of its own, so that its access rules hold as if the client were there itself.
package struct UpstreamDial: Sendable {
    /// In the order in which they are tried.
    let addresses: [DirectoryAddress]
    private let startTLS: LDAPDial.StartTLS
    private let tls: UpstreamTLS
    private let timeout: TimeAmount

    package init(_ addresses: [DirectoryAddress], startTLS: LDAPDial.StartTLS, tls: DirectoryTLS, timeout: TimeAmount = .seconds(3)) {
        self.addresses = addresses
        self.startTLS = startTLS
        self.tls = UpstreamTLS(tls)
        self.timeout = timeout
    }

    /// Reads what a handshake needs, so that no loop has to. Once, before anybody is called.
    ///
    /// - Throws: also if passwords would go to another machine in the clear.
    package func prepare() throws(DirectoryFailure) {
        for address in addresses {
            if case .plain = address, startTLS == .off, !address.isLocal { throw .unprotected(address) }
            if needsTLS(address) { _ = try tls.context() }
        }
    }

    private func needsTLS(_ address: DirectoryAddress) -> Bool {
        switch address {
        case .secure: true
        case .plain: startTLS == .required
        case .local: false
        }
    }

    /// - Returns: a channel on which nothing was said yet, and which is protected as it has to be; `receiver` hears of what comes.
    func connect(on loop: any EventLoop, _ receiver: any UpstreamReceiver) -> EventLoopFuture<any Channel> { connect(addresses[...], on: loop, receiver) }

    private func connect(
        _ addresses: ArraySlice<DirectoryAddress>, on loop: any EventLoop, _ receiver: any UpstreamReceiver
    ) -> EventLoopFuture<any Channel> {
        guard let address = addresses.first else { return loop.makeFailedFuture(DirectoryFailure.unreachable("there is no server")) }
        let receiver = NIOLoopBound(receiver, eventLoop: loop)
        return connect(address, on: loop, receiver).flatMapError { error in
            let others = addresses.dropFirst()
            return others.isEmpty ? loop.makeFailedFuture(error) : connect(others, on: loop, receiver.value)
        }
    }

    private func connect(
        _ address: DirectoryAddress, on loop: any EventLoop, _ receiver: NIOLoopBound<any UpstreamReceiver>
    ) -> EventLoopFuture<any Channel> {
        let ready = loop.makePromise(of: Void.self)
        let timer = loop.scheduleTask(in: timeout) { ready.fail(DirectoryFailure.timedOut(timeout)) }
        let context: NIOSSLContext?
        do throws(DirectoryFailure) {
            context = needsTLS(address) ? try tls.context() : nil
        } catch {
            timer.cancel()
            ready.fail(error)
            return loop.makeFailedFuture(error)
        }
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(timeout)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let begin: UpstreamHandler.Begin
                    switch address {
                    case .secure: begin = .secured
                    case .plain: begin = context.map { .startTLS($0, serverName: address.serverName) } ?? .open
                    case .local: begin = .open
                    }
                    if case .secure = address, let context {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: address.serverName))
                    }
                    try channel.pipeline.syncOperations.addHandler(UpstreamHandler(begin, receiver.value, ready))
                }
            }
        let connected: EventLoopFuture<any Channel>
        switch address {
        case .local(let path): connected = bootstrap.connect(unixDomainSocketPath: path)
        case .plain(let host, let port), .secure(let host, let port):
            connected = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).channelOption(.socketOption(.so_keepalive), value: 1)
                .connect(host: host, port: port)
        }
        connected.whenFailure { ready.fail($0) }
        return connected.flatMap { channel in
            ready.futureResult.map { channel }.flatMapErrorThrowing { error in
                channel.close(promise: nil)
                throw error
            }
        }.always { _ in timer.cancel() }
    }
}

/// What handshakes with the directory behind need: read once, since loops ask for it whenever a client comes.
private final class UpstreamTLS: Sendable {
    private let tls: DirectoryTLS
    private let known = Mutex<NIOSSLContext?>(nil)

    init(_ tls: DirectoryTLS) { self.tls = tls }

    func context() throws(DirectoryFailure) -> NIOSSLContext {
        if let context = known.withLock({ $0 }) { return context }
        let context = try tls.context()
        known.withLock { $0 = context }
        return context
    }
}

/// Who hears what the directory behind says, on one loop.
protocol UpstreamReceiver: AnyObject {
    func upstreamSaid(_ bytes: ByteBuffer)
    func upstreamEnded()
    func upstreamWritabilityChanged()
}

/// The end of a connection to the directory behind.
private final class UpstreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Begin {
        case open
        /// When TLS is there.
        case secured
        case startTLS(NIOSSLContext, serverName: String?)
    }
    private enum State {
        case beginning(Begin)
        case asking(NIOSSLContext, serverName: String?, LDAPFraming)
        case handshaking
        case open
    }

    private var state: State
    private weak var receiver: (any UpstreamReceiver)?
    private let ready: EventLoopPromise<Void>

    init(_ begin: Begin, _ receiver: any UpstreamReceiver, _ ready: EventLoopPromise<Void>) {
        state = .beginning(begin)
        self.receiver = receiver
        self.ready = ready
    }

    func channelActive(context: ChannelHandlerContext) {
        guard case .beginning(let begin) = state else { return context.fireChannelActive() }
        switch begin {
        case .open: open()
        case .secured: state = .handshaking
        case .startTLS(let tls, let serverName):
            state = .asking(tls, serverName: serverName, LDAPFraming())
            context.writeAndFlush(wrapOutboundOut(LDAPMessage(1, .extendedRequest(.startTLS)).bytes), promise: nil)
        }
        context.fireChannelActive()
    }

    private func open() {
        state = .open
        ready.succeed(())
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        switch state {
        case .open: receiver?.upstreamSaid(bytes)
        case .asking(let tls, let serverName, var framing):
            do {
                framing.take(bytes)
                guard let frame = try framing.next() else { return state = .asking(tls, serverName: serverName, framing) }
                try beginTLS(tls, serverName, frame, framing, context)
            } catch {
                fail(error, context)
            }
        case .beginning, .handshaking: break
        }
    }

    /// Behind the server's yes, and with nothing behind that (RFC 4511 §4.14.2).
    private func beginTLS(
        _ tls: NIOSSLContext, _ serverName: String?, _ frame: ByteBuffer, _ framing: LDAPFraming, _ context: ChannelHandlerContext
    ) throws {
        guard case .extendedResponse(let response) = try LDAPMessage(decoding: frame).operation, response.result.code == .success, framing.pendingBytes == 0
        else { throw DirectoryFailure.insecure("StartTLS was refused") }
        state = .handshaking
        try context.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: serverName), position: .first)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event, case .handshaking = state { open() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        receiver?.upstreamWritabilityChanged()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(error, context) }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        ready.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        ready.fail(DirectoryFailure.disconnected(nil))
        if case .open = state { receiver?.upstreamEnded() }
        context.fireChannelInactive()
    }
}
