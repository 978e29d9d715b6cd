package import NIOCore

/// Stands in front of TLS, next to the network, for as long as a connection says several last things: they go out together when it opens.
///
/// TLS hands on what it is given, and then its own farewell, with a flush for each: two writes of the system where one does.
package final class FlushGate: ChannelOutboundHandler, RemovableChannelHandler {
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private var isFlushDue = false

    package init() {}

    /// Does `work` behind a gate.
    static func hold(_ context: ChannelHandlerContext, _ work: () -> Void) {
        let (gate, pipeline) = (FlushGate(), context.pipeline.syncOperations)
        // Only a channel that is closed has no place for it: nothing goes out then.
        try? pipeline.addHandler(gate, position: .first)
        work()
        if let own = try? pipeline.context(handler: gate) { gate.open(own) }
        pipeline.removeHandler(gate, promise: nil)
    }

    /// What was flushed behind it is flushed.
    package func open(_ context: ChannelHandlerContext) {
        guard isFlushDue else { return }
        isFlushDue = false
        context.flush()
    }

    package func flush(context: ChannelHandlerContext) { isFlushDue = true }

    /// What was flushed before goes out.
    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        open(context)
        context.close(mode: mode, promise: promise)
    }
}
