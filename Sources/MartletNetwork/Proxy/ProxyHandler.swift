import NIOCore

/// Reads the PROXY header in front of a connection that a trusted proxy opened, tells whom it may concern, and goes.
///
/// The header is mandatory there: without one the connection closes, since anything else would let the proxy's address stand for its
/// clients'. How long it may take is bounded by the deadline of the connection behind it.
final class ProxyHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var arrived = ByteBuffer()
    private let done: (ProxyHeader?) -> Void

    /// - Parameter done: called once, with `nil` if there was no valid header.
    init(_ done: @escaping (ProxyHeader?) -> Void) { self.done = done }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        arrived.writeBuffer(&bytes)
        do throws(ProxyHeader.Malformed) {
            guard let header = try ProxyHeader.read(from: &arrived) else { return }
            finish(header, context)
        } catch {
            done(nil)
        }
    }

    private func finish(_ header: ProxyHeader, _ context: ChannelHandlerContext) {
        let rest = arrived
        arrived = ByteBuffer()
        done(header)
        // The pipeline behind this handler may have closed the connection for who the peer turned out to be.
        if context.channel.isActive, rest.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    /// Puts one in front of everything in the pipeline.
    ///
    /// - Parameter done: told who the peer is; a proxy that speaks for itself is its own peer. `nil` if there was no valid header.
    static func install(
        on context: ChannelHandlerContext, proxy: NetworkAddress, port: UInt16, _ done: @escaping ((address: NetworkAddress, port: UInt16)?) -> Void
    ) throws {
        let handler = ProxyHandler { header in
            switch header {
            case .peer(let address, let port): done((address, port))
            case .local: done((proxy, port))
            case nil: done(nil)
            }
        }
        try context.pipeline.syncOperations.addHandler(handler, position: .first)
    }
}
