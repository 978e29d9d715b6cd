import Logging
import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore
import NIOSSL
import NIOTLS

/// The connection of one client: bytes to events, events to the stream machine, its actions to bytes and to the session.
///
/// The last handler of its pipeline, behind TLS, and the transport of its session. It decides nothing about stanzas and little about the
/// stream: that is ``ClientStreamMachine``'s. Everything happens on its loop.
package final class ClientConnection: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// What the next deadline is for, in ticks of the loop.
    enum Phase {
        case login(until: Int)
        case idle
        case pinged(at: Int, until: Int)
        case closing(until: Int)
    }

    /// An authentication that is not decided yet.
    struct LoginAttempt {
        let account: BareJID
        let mechanism: SASLMechanism
    }

    let listener: ClientListener
    let loop: NetworkLoop
    var machine = ClientStreamMachine()
    var parser: XMLStreamParser
    var session: ClientSession?
    var login: LoginAttempt?
    /// Who has logged in.
    var account: BareJID?
    /// When the account source was asked last.
    var authenticatedAt = CredentialMoment.latest
    /// What authentications on this connection can be tied to.
    private var bindings: [ChannelBinding] = []
    var phase: Phase
    /// Why the session ends, for the log.
    var endReason = "the connection was lost"

    private var context: ChannelHandlerContext?
    /// What has been read and not been parsed.
    private var input = ByteBuffer()
    private var inputFailed = false
    private var isParsing = false
    private var isResumptionScheduled = false
    /// TLS has been put in front and its handshake is not done.
    private var isSecuring = false
    private var sessionReads = true
    private var isReadPending = false
    /// Bytes that may still arrive before the client is slowed down, as of a tick.
    private var allowance: Int
    private var allowanceTick: Int
    private var isSlowedDown = false
    private var unflushedBytes = 0
    /// The last of it, not handed on yet: the stanzas of a burst become one piece, which is one entry in the network's queue and one TLS
    /// record instead of one for each.
    private var unflushed = ByteBuffer()
    /// Whether `unflushed` is nobody else's and grows in place.
    private var isUnflushedOwn = false
    private var isNetworkSlow = false
    /// The tick in which something last arrived.
    private(set) var lastActivity = 0

    /// What the connection is counted as.
    private var countsAsUnauthenticated = false
    /// What is counted as waiting here before log-in.
    private var countedBytes = 0
    private var countedAddress: NetworkAddress?
    private(set) var peer: NetworkAddress?
    package private(set) var remoteAddress = "unknown"

    package var wheelPlace: DeadlineWheelPlace?

    package init(_ listener: ClientListener, _ loop: NetworkLoop) {
        self.listener = listener
        self.loop = loop
        parser = XMLStreamParser(limits: listener.service.settings.limitsBeforeAuthentication, scratch: loop.scratch)
        allowance = listener.service.settings.bytesBurst
        allowanceTick = loop.now
        phase = .login(until: loop.now + NetworkLoop.ticks(listener.service.settings.loginDeadline))
    }

    var service: ClientService { listener.service }
    var surroundings: ClientSurroundings { ClientSurroundings(listener: listener, context: loop.context) }
}

extension ClientConnection: DeadlineWheelMember {}

// MARK: Pipeline

extension ClientConnection {
    /// Puts a connection and what it needs in front of it into a pipeline. On the channel's loop, before anything is read.
    package static func install(on channel: any Channel, _ listener: ClientListener, _ loop: NetworkLoop) throws {
        let connection = ClientConnection(listener, loop)
        try channel.pipeline.syncOperations.addHandler(connection)
    }

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
        guard wheelPlace == nil else { return }
        if let refusal = service.admission.admit() { return refuse(refusal, context) }
        countsAsUnauthenticated = true
        guard case .login(let until) = phase else { return }
        loop.hang(self, until: until)
        let address = context.channel.remoteAddress
        let network = address.flatMap { NetworkAddress($0) }
        if let network, listener.isProxy(network) {
            expectProxyHeader(network, UInt16(clamping: address?.port ?? 0), context)
        } else {
            meet(network, port: UInt16(clamping: address?.port ?? 0), context)
        }
    }

    private func expectProxyHeader(_ proxy: NetworkAddress, _ port: UInt16, _ context: ChannelHandlerContext) {
        remoteAddress = proxy.description(port: port)
        let handler = ProxyHandler { [unowned self] header in
            switch header {
            case .peer(let address, let port): meet(address, port: port, context)
            case .local: meet(proxy, port: port, context)
            case nil:
                service.log.info("proxy sent no valid PROXY header", metadata: ["address": "\(remoteAddress)"])
                drop()
            }
        }
        do {
            try context.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            drop()
        }
    }

    /// The peer's address is known: count it, and go on as the listener says.
    private func meet(_ address: NetworkAddress?, port: UInt16, _ context: ChannelHandlerContext) {
        peer = address
        if let address {
            remoteAddress = address.description(port: port)
            if let refusal = service.admission.admit(address) { return refuse(refusal, context) }
            countedAddress = address
        }
        if listener.configuration.kind.beginsWithTLS { installTLS(context) { [service] in service.certificates.certificate(forServerName: $0) } }
    }

    private func refuse(_ refusal: Admission.Refusal, _ context: ChannelHandlerContext) {
        service.log.debug("connection refused", metadata: ["address": "\(remoteAddress)", "reason": "\(refusal)"])
        context.close(promise: nil)
    }

    package func channelInactive(context: ChannelHandlerContext) {
        drainInput()
        finish()
        loop.context.flushSoon()
        context.fireChannelInactive()
    }

    /// The connection is gone. Everything that counted or named it forgets it.
    private func finish() {
        machine.transportLost()
        loseSession()
        input = ByteBuffer()
        if wheelPlace != nil { loop.forget(self) }
        leaveUnauthenticated()
        if let countedAddress { service.admission.leave(countedAddress) }
        countedAddress = nil
    }

    func leaveUnauthenticated() {
        if countsAsUnauthenticated { service.admission.leaveUnauthenticated(holding: countedBytes) }
        countsAsUnauthenticated = false
        countedBytes = 0
    }

    /// The stream is closed: so is its session.
    private func endSession(_ end: (ClientSession) -> Void) {
        guard let session else { return }
        self.session = nil
        end(session)
        service.router.audit.record(.sessionEnded(session.address, reason: endReason))
    }

    /// The connection broke: its session may go on without it (XEP-0198 §5).
    func loseSession() {
        guard let session else { return }
        self.session = nil
        let goesOn = session.connectionLost() || session.isSaved
        service.router.audit.record(
            goesOn ? .sessionDetached(session.address, reason: endReason) : .sessionEnded(session.address, reason: endReason))
    }

    private func manage(_ request: StreamManagementRequest, _ session: ClientSession) {
        do throws(StreamError) {
            try session.manage(request)
        } catch {
            perform(machine.end(error, surroundings))
        }
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        service.log.debug("connection failed", metadata: ["address": "\(remoteAddress)", "error": "\(error)"])
        context.close(promise: nil)
    }

    /// Closes without another word.
    package func drop() {
        machine.transportLost()
        flush()
        context?.close(promise: nil)
    }
}

// MARK: TLS

extension ClientConnection {
    /// `<proceed/>` is the last thing in clear. Whatever the client sent behind `<starttls/>`, or somebody on its behalf, would pass for
    /// something said inside TLS (CVE-2011-0411): then there is no connection any more. White space alone says nothing, and some
    /// clients end their elements with a line feed: it is thrown away.
    func startTLS(_ domain: String, _ action: ClientStreamMachine.Action) {
        guard let context else { return }
        let isClean = input.readableBytesView.allSatisfy(Self.isWhiteSpace) && parser.pendingByteCount == 0
        guard isClean, let certificate = service.certificates.certificate(of: domain) else {
            if !isClean {
                service.log.notice("bytes behind <starttls/>: connection dropped", metadata: ["address": "\(remoteAddress)"])
            }
            return drop()
        }
        send(action)
        flush()
        input = ByteBuffer()
        parser = XMLStreamParser(limits: service.settings.limitsBeforeAuthentication, scratch: loop.scratch)
        installTLS(context) { _ in certificate }
    }

    private static func isWhiteSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }

    /// Puts TLS in front of this handler once the client's first bytes are here and the loop has time for a handshake.
    ///
    /// - Parameter choose: the certificate for the name in the client's hello.
    private func installTLS(_ context: ChannelHandlerContext, _ choose: @escaping (String?) -> ServedCertificate?) {
        isSecuring = true
        let gate = ByteToMessageHandler(
            SNIHandler { [unowned self] result in
                let name: String? =
                    switch result {
                    case .hostname(let name): name
                    case .fallback: nil
                    }
                return loop.handshakes.admit().assumeIsolated().flatMapThrowing { [self] in try addTLS(choose(name)) }.nonisolated()
            }, maximumBufferSize: Self.helloBytesMax)
        do {
            try context.pipeline.syncOperations.addHandler(gate, position: .before(self))
        } catch {
            drop()
        }
    }

    /// Longest beginning of a handshake that is kept until the handshake may begin: a record of TLS (RFC 8446 §5.1).
    private static let helloBytesMax = 16_384 + 5

    private struct NoCertificate: Error {}

    private func addTLS(_ certificate: ServedCertificate?) throws {
        guard let context, context.channel.isActive else { throw NoCertificate() }
        guard let certificate, let tls = certificate.context(listener.configuration.minimumTLS) else {
            service.log.error("no certificate to serve", metadata: ["address": "\(remoteAddress)"])
            drop()
            throw NoCertificate()
        }
        try context.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls), position: .before(self))
        bindings = certificate.bindings
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            isSecuring = false
            if listener.configuration.kind.beginsWithTLS { machine = ClientStreamMachine(bindings: bindings) } else { perform(machine.secured(bindings)) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

// MARK: From the client

extension ClientConnection {
    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        lastActivity = loop.now
        // Until the handshake is done nothing reaches this handler.
        guard !isSecuring else { return drop() }
        guard !inputFailed else { return }
        spendAllowance(bytes.readableBytes)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        if takesInput { parse(stanzasMax: service.settings.stanzasPerTurnMax) }
        if countsAsUnauthenticated { countWaitingBytes() }
    }

    /// Counts what a client that has not logged in has sent and was not taken, and ends its stream if there is no room for that.
    private func countWaitingBytes() {
        // Buffers grow to the next power of two.
        let bytes = Self.powerOfTwo(input.readableBytes) + Self.powerOfTwo(parser.pendingByteCount)
        guard bytes != countedBytes else { return }
        if service.admission.hold(bytes, insteadOf: countedBytes) == nil { return countedBytes = bytes }
        inputFailed = true
        input = ByteBuffer()
        close(StreamError(.resourceConstraint, "too much waits of clients that have not logged in"))
    }

    private static func powerOfTwo(_ count: Int) -> Int { count > 1 ? 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount) : count }

    package func channelReadComplete(context: ChannelHandlerContext) {
        flushSoon()
    }

    package func read(context: ChannelHandlerContext) {
        if takesInput || isSecuring { context.read() } else { isReadPending = true }
    }

    /// Whether what the client sends is looked at now.
    private var takesInput: Bool { sessionReads && !machine.isWaiting && !isResumptionScheduled && !isSlowedDown }

    /// Counts what arrived against what the client may send in the long run. Past it the connection rests until it has made up for it.
    private func spendAllowance(_ byteCount: Int) {
        guard let rate = service.settings.bytesPerSecond, rate > 0 else { return }
        allowance = min(allowance + (loop.now - allowanceTick) * rate, service.settings.bytesBurst) - byteCount
        allowanceTick = loop.now
        guard allowance < 0, !isSlowedDown else { return }
        isSlowedDown = true
        let rest = TimeAmount.milliseconds(Int64(-allowance) * 1_000 / Int64(rate) + 1)
        _ = loop.loop.assumeIsolated().scheduleTask(in: rest) { [weak self] in
            self?.isSlowedDown = false
            self?.resumeLater()
        }
    }

    /// Takes what has arrived, up to a number of stanzas; then others have their turn first.
    private func parse(stanzasMax: Int) {
        guard !isParsing else { return }
        isParsing = true
        defer { isParsing = false }
        var taken = 0
        while takesInput, !inputFailed, !machine.isClosed {
            guard taken < stanzasMax else { return resumeLater() }
            if loop.context.isCongested { return resumeLater(after: Self.congestionRest) }
            taken += 1
            do throws(XMLError) {
                guard let event = try parser.next(from: &input) else {
                    input = ByteBuffer()
                    return
                }
                take(event)
            } catch {
                inputFailed = true
                perform(machine.failed(error, surroundings))
            }
        }
        if inputFailed || machine.isClosed { input = ByteBuffer() }
    }

    private func take(_ event: XMLStreamEvent) {
        switch event {
        case .element(let element):
            guard let session else { return perform(machine.received(element, surroundings)) }
            let action = machine.receivedBound(element)
            if case .manage(let request) = action { return manage(request, session) }
            if case .indicate(let indication) = action { return session.indicate(indication) }
            if case .answer = action {
                var writer = XMLWriter()
                action.write(to: &writer)
                return session.noteAnswered(EncodedStanza(writer.buffer))
            }
            guard case .deliver = action else { return perform(action) }
            do throws(StreamError) {
                try session.receive(element)
            } catch {
                perform(machine.end(error, surroundings))
            }
        case .opened(let header): perform(machine.opened(header, surroundings))
        case .closed:
            endReason = "the client closed the stream"
            perform(machine.peerClosed())
        }
    }

    /// Goes on with what has arrived when the loop has served others.
    ///
    /// - Parameter rest: how long others have to have been served; `nil`: once.
    private func resumeLater(after rest: TimeAmount? = nil) {
        guard !isResumptionScheduled else { return }
        isResumptionScheduled = true
        let goOn = { [self] in
            isResumptionScheduled = false
            parse(stanzasMax: service.settings.stanzasPerTurnMax)
            flushSoon()
            readIfPending()
        }
        if let rest { _ = loop.loop.assumeIsolated().scheduleTask(in: rest, goOn) } else { loop.loop.assumeIsolated().execute(goOn) }
    }

    /// How long a client waits before it is looked whether another loop has caught up.
    private static let congestionRest = TimeAmount.milliseconds(1)

    private func readIfPending() {
        guard isReadPending, takesInput else { return }
        isReadPending = false
        context?.read()
    }

    /// The client may have sent its last stanzas and gone: they count, although nobody can be answered.
    private func drainInput() {
        isResumptionScheduled = false
        isSlowedDown = false
        if session != nil { parse(stanzasMax: .max) }
    }
}

// MARK: To the client

extension ClientConnection: SessionTransport {
    package func write(_ bytes: ByteBuffer) {
        guard context != nil, bytes.readableBytes > 0 else { return }
        unflushedBytes += bytes.readableBytes
        let total = unflushed.readableBytes + bytes.readableBytes
        if unflushed.readableBytes == 0 || total > Self.pieceBytesMax {
            passOn()
            unflushed = bytes
        } else if isUnflushedOwn {
            unflushed.writeImmutableBuffer(bytes)
        } else {
            // What is there is shared with whoever else gets it. Room for as much again spares most copies of what follows.
            var joined = ByteBufferAllocator().buffer(capacity: 2 * total)
            joined.writeImmutableBuffer(unflushed)
            joined.writeImmutableBuffer(bytes)
            unflushed = joined
            isUnflushedOwn = true
        }
    }

    /// Put together in place: no copy of it is made but the one that goes out.
    package func write(_ stanza: SharedStanza, to recipient: FullJID) {
        guard context != nil else { return }
        let bytes = stanza.byteCount + recipient.withUTF8 { $0.count } + Self.addresseeBytes
        unflushedBytes += bytes
        if bytes > Self.ownPieceBytes { return writeShared(stanza, to: recipient) }
        if unflushed.readableBytes + bytes > Self.pieceBytesMax { passOn() }
        if !isUnflushedOwn {
            var own = ByteBufferAllocator().buffer(capacity: max(Self.ownPieceBytes, 2 * (unflushed.readableBytes + bytes)))
            own.writeImmutableBuffer(unflushed)
            unflushed = own
            isUnflushedOwn = true
        }
        stanza.write(to: &unflushed, for: recipient)
    }

    /// A long one is not copied for each of thousands.
    private func writeShared(_ stanza: SharedStanza, to recipient: FullJID) {
        let (own, shared) = stanza.pieces(for: recipient)
        passOn()
        context?.write(wrapOutboundOut(own), promise: nil)
        context?.write(wrapOutboundOut(shared), promise: nil)
    }

    /// ` to=''`
    private static let addresseeBytes = 6
    /// Room for a burst of a room's messages; a longer one is not copied.
    package static let ownPieceBytes = 4_096

    /// Hands on what has been put together. Nothing is kept of it: a connection that is idle holds no buffer.
    private func passOn() {
        guard unflushed.readableBytes > 0 else { return }
        let piece = unflushed
        unflushed = ByteBuffer()
        isUnflushedOwn = false
        context?.write(wrapOutboundOut(piece), promise: nil)
    }

    package func flush() {
        unflushedBytes = 0
        passOn()
        context?.flush()
    }

    /// Stanzas of one burst are put together up to this, the length of a TLS record. A longer one goes on as it is.
    private static let pieceBytesMax = 16_384

    /// What belongs to a session is flushed with the loop's other sessions; a connection without one has only its own answers to send.
    private func flushSoon() {
        if unflushedBytes > 0 {
            if let session { session.markDirty() } else { flush() }
        }
        loop.context.flushSoon()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        isNetworkSlow = !context.channel.isWritable
        context.fireChannelWritabilityChanged()
    }

    package var hasDrained: Bool {
        guard let context else { return true }
        let buffered = try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)
        return unflushedBytes == 0 && (buffered ?? 0) == 0
    }

    /// What is below the channel's high-water mark is not worth asking for.
    package var pendingBytes: Int {
        guard isNetworkSlow, let context else { return unflushedBytes }
        let buffered = try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)
        // The channel counts what it was given whether it is flushed or not, behind TLS only what is: nothing may count twice.
        return max(unflushedBytes, unflushed.readableBytes + (buffered ?? 0))
    }

    package func setReading(_ isReading: Bool) {
        guard isReading != sessionReads else { return }
        sessionReads = isReading
        // Not at once: the session may be in the middle of handing on what it held back.
        if isReading { resumeLater() }
    }

    package func close(_ error: StreamError?) {
        endReason = "closed by the server"
        // What is said now would be said in clear, or into a handshake.
        guard !isSecuring else { return drop() }
        perform(machine.end(error, surroundings))
    }

    func send(_ action: ClientStreamMachine.Action) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 512))
        action.write(to: &writer, extras: writeExtras)
        write(writer.buffer)
    }

    /// What the features of the host announce to those who have logged in.
    private func writeExtras(_ writer: inout XMLWriter) {
        if let account { loop.context.hosts.writeStreamFeatures(for: account, to: &writer) }
    }

    /// Does what the machine says.
    func perform(_ action: ClientStreamMachine.Action) {
        switch action {
        case .wait, .deliver, .manage, .indicate: break
        case .open, .challenge, .confirmBind, .managed, .answer: send(action)
        case .proceed(let domain): startTLS(domain, action)
        case .lookUp(let mechanism, let identity, let question): ask(mechanism, identity, question)
        case .succeed(let account, _): succeed(account, action)
        case .fail(let failure):
            send(action)
            loginFailed(failure)
        case .failFinally(let failure, _):
            send(action)
            loginFailed(failure)
            beginClosing()
        case .bind(let account, let resource): bind(account, resource)
        case .resume(let account, let previous, let handled): resumeSession(of: account, previous, handled)
        case .refuseTLS:
            send(action)
            closeAfterFlush()
        case .close(let error, _):
            if let error { endReason = error.text ?? error.condition.rawValue }
            deliverAnswers()
            endSession { $0.transportClosed() }
            send(action)
            beginClosing()
        case .finish:
            deliverAnswers()
            endSession { $0.streamClosed() }
            send(action)
            closeAfterFlush()
        }
    }

    /// What came in the same read as the end of the stream may have been answered: that waits for the end of the loop's turn, when there is no
    /// session any more.
    private func deliverAnswers() {
        if session != nil { loop.context.flush() }
    }

    private func beginClosing() {
        flush()
        let until = loop.now + NetworkLoop.ticks(service.settings.closingDeadline)
        phase = .closing(until: until)
        if wheelPlace != nil { loop.hang(self, until: until) }
    }

    private func closeAfterFlush() {
        flush()
        context?.close(promise: nil)
    }

    /// Called when an answer came from elsewhere: goes on where the client was kept waiting. Never at once, since the caller may be in the
    /// middle of the loop's effects; and not at all while this very connection is being parsed, which goes on by itself.
    func resume() {
        if !isParsing { resumeLater() }
    }
}
