import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
import NIOSSL
import NIOTLS

/// A connection that carries a stream: bytes to events, and what is written to bytes. What is said on it is for those that derive from it.
///
/// The last handler of its pipeline, behind TLS. Everything happens on its loop. What every stanza touches has no check at run time that
/// nobody else has it in hand (`@exclusivity(unchecked)`): nobody has, since the loop enters one connection at a time.
package class StreamConnection: LoopConnection, ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    @exclusivity(unchecked) private(set) final var context: ChannelHandlerContext?
    @exclusivity(unchecked) final var parser: XMLStreamParser
    /// What has been read and not been parsed.
    @exclusivity(unchecked) private final var input = ByteBuffer()
    @exclusivity(unchecked) private(set) final var inputFailed = false
    @exclusivity(unchecked) private(set) final var isParsing = false
    @exclusivity(unchecked) private(set) final var isResumptionScheduled = false
    @exclusivity(unchecked) private final var isReadPending = false
    @exclusivity(unchecked) final var output = OutgoingPieces()
    @exclusivity(unchecked) private(set) final var isNetworkSlow = false
    /// TLS has been put in front and its handshake is not done.
    private(set) final var isSecuring = false
    private(set) final var isSecure = false
    private final var hasBegun = false
    private(set) final var isGone = false
    /// The tick in which something last arrived.
    @exclusivity(unchecked) private(set) final var lastActivity = 0
    package final var remoteAddress = "unknown"

    private final let stanzasPerTurnMax: Int

    /// - Parameter stanzasPerTurnMax: stanzas that are taken before the others of the loop have their turn.
    init(_ loop: NetworkLoop, limits: XMLLimits, contentNamespace: Namespace, stanzasPerTurnMax: Int) {
        parser = XMLStreamParser(limits: limits, contentNamespace: contentNamespace, scratch: loop.scratch)
        self.stanzasPerTurnMax = stanzasPerTurnMax
        super.init(loop)
    }

    // MARK: For those that derive from it

    /// The connection is there.
    func began(_ context: ChannelHandlerContext) {}
    /// What comes next in the stream; `nil` if that has not arrived. What has arrived of it is taken.
    func nextEvent(from input: inout ByteBuffer) throws(XMLError) -> XMLStreamEvent? { try parser.next(from: &input) }
    func take(_ event: XMLStreamEvent) {}
    /// What arrived is no XML that is taken; nothing more is looked at.
    func failed(_ error: XMLError) {}
    /// So much has arrived and will be looked at next.
    func willTake(_ byteCount: Int) {}
    /// What has arrived was looked at as far as that goes now.
    func didTake(waiting byteCount: Int) {}
    /// The other side is gone; what it sent before may be looked at. - Returns: whether it is.
    func takesLast() -> Bool { false }
    /// The handshake is done.
    func secured() {}
    /// Why the connection breaks.
    func networkFailed(_ error: any Error) {}
    /// The connection is gone. Called once.
    func lost() {}
    /// The network takes more again.
    func drained() {}
    /// What was written goes out when the loop is done with what it is in the middle of.
    func flushSoon() {}
    /// Whether what the other side sends is looked at now.
    var takesInput: Bool { !isResumptionScheduled }
    /// Whether what the other side sends while nothing of it is looked at may be read already, if nothing waits yet: one read, of as many bytes as
    /// ``NetworkSettings/receiveBytes`` says. For waits in which hardly anybody sends anything: to stop reading and to begin again are two system calls.
    var readsAhead: Bool { false }
    /// Whether nothing more is looked at.
    var isOver: Bool { false }

    /// Closes without another word.
    package override func drop() {
        flush()
        context?.close(promise: nil)
    }

    /// Closes when what was written is on its way, which TLS has something to add to.
    func closeAfterFlush() {
        guard let context else { return }
        let close = { [self] in
            flush()
            context.close(promise: nil)
        }
        if isSecure { FlushGate.hold(context, close) } else { close() }
    }

    package func flush() {
        passOn()
        context?.flush()
    }
}

// MARK: Pipeline

extension StreamConnection {
    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    package func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun else { return }
        hasBegun = true
        lastActivity = loop.now
        began(context)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        isResumptionScheduled = false
        // What it sent before it went counts.
        if takesLast() { parse(stanzasMax: .max) }
        finish()
        loop.context.flushSoon()
        context.fireChannelInactive()
    }

    private func finish() {
        guard !isGone else { return }
        isGone = true
        input = ByteBuffer()
        lost()
        forget()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        networkFailed(error)
        context.close(promise: nil)
    }

    final var closeFuture: EventLoopFuture<Void> { context?.channel.closeFuture ?? loop.loop.makeSucceededVoidFuture() }
}

// MARK: TLS

extension StreamConnection {
    /// `<proceed/>` is the last thing in clear: whatever has come behind it would pass for something said inside TLS (CVE-2011-0411). White
    /// space alone says nothing, and some clients end their elements with a line feed: it is thrown away.
    ///
    /// - Returns: whether there was nothing else.
    final func discardClearText() -> Bool {
        let isClean = input.readableBytesView.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) } && parser.pendingByteCount == 0
        input = ByteBuffer()
        parser.discardInput()
        return isClean
    }

    /// TLS is put in front of this handler: until its handshake is done nothing is read and nothing can be said.
    ///
    /// - Parameter install: puts it there, or says why it cannot.
    final func secure(_ install: (ChannelHandlerContext) throws -> Void) {
        guard let context else { return }
        isSecuring = true
        do {
            try install(context)
        } catch {
            networkFailed(error)
            drop()
        }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            isSecuring = false
            isSecure = true
            secured()
            flushSoon()
            loop.context.flushSoon()
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

// MARK: From the other side

extension StreamConnection {
    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        lastActivity = loop.now
        // Until the handshake is done nothing reaches this handler.
        guard !isSecuring else { return drop() }
        guard !inputFailed else { return }
        willTake(bytes.readableBytes)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        if takesInput { parse(stanzasMax: stanzasPerTurnMax) }
        didTake(waiting: input.readableBytes)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        flushSoon()
        loop.context.flushSoon()
    }

    package func read(context: ChannelHandlerContext) {
        if takesInput || isSecuring || readsAhead && input.readableBytes == 0 { context.read() } else { isReadPending = true }
    }

    /// Takes what has arrived, up to a number of stanzas; then others have their turn first.
    private func parse(stanzasMax: Int) {
        guard !isParsing else { return }
        isParsing = true
        defer { isParsing = false }
        var taken = 0
        while takesInput, !inputFailed, !isOver {
            guard taken < stanzasMax else { return resumeLater() }
            if loop.context.isCongested { return resumeLater(after: Self.congestionRest) }
            taken += 1
            do throws(XMLError) {
                guard let event = try nextEvent(from: &input) else {
                    input = ByteBuffer()
                    return
                }
                take(event)
            } catch {
                inputFailed = true
                failed(error)
            }
        }
        if inputFailed || isOver { input = ByteBuffer() }
    }

    /// How long the other side waits before it is looked whether another loop has caught up.
    private static let congestionRest = TimeAmount.milliseconds(1)

    /// Nothing more is looked at, whatever arrives.
    final func failInput() {
        inputFailed = true
        input = ByteBuffer()
    }

    /// Goes on with what has arrived when the loop has served others.
    ///
    /// - Parameter rest: how long others have to have been served; `nil`: once.
    final func resumeLater(after rest: TimeAmount? = nil) {
        guard !isResumptionScheduled else { return }
        isResumptionScheduled = true
        let goOn = { [self] in
            guard isResumptionScheduled, !isGone else { return }
            isResumptionScheduled = false
            parse(stanzasMax: stanzasPerTurnMax)
            flushSoon()
            loop.context.flushSoon()
            guard isReadPending, takesInput else { return }
            isReadPending = false
            context?.read()
        }
        if let rest { _ = loop.loop.assumeIsolated().scheduleTask(in: rest, goOn) } else { loop.loop.assumeIsolated().execute(goOn) }
    }

    /// Called when an answer came from elsewhere: goes on where the other side was kept waiting. Never at once, since the caller may be in the
    /// middle of the loop's effects; and not at all while this very connection is being parsed, which goes on by itself.
    final func resume() {
        if !isParsing { resumeLater() }
    }
}

// MARK: To the other side

extension StreamConnection {
    /// Hands on what has been put together.
    final func passOn() {
        guard let piece = output.take() else { return }
        context?.write(wrapOutboundOut(piece), promise: nil)
    }

    /// Hands on bytes as they are, behind what has been put together.
    final func passOn(_ bytes: ByteBuffer) {
        passOn()
        context?.write(wrapOutboundOut(bytes), promise: nil)
    }

    /// Adds bytes to what is put together.
    final func put(_ bytes: ByteBuffer) {
        if output.isFull(for: bytes.readableBytes) { passOn() }
        output.append(bytes)
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        isNetworkSlow = !context.channel.isWritable
        if !isNetworkSlow { drained() }
        context.fireChannelWritabilityChanged()
    }
}
