import Logging
import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
import NIOSSL
import NIOTLS

/// A connection between servers: bytes to events, and what is written to bytes. What is said on it is for those that derive from it:
/// ``IncomingPeerConnection`` and ``OutgoingPeerConnection``.
///
/// The last handler of its pipeline, behind TLS. Everything happens on its loop.
package class PeerConnection: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    let service: FederationService
    /// Those that were in force when the connection came.
    let settings: FederationSettings
    let loop: NetworkLoop
    private(set) var context: ChannelHandlerContext?
    private var parser: XMLStreamParser
    /// What has been read and not been parsed.
    private var input = ByteBuffer()
    private var inputFailed = false
    private var isParsing = false
    private var isResumptionScheduled = false
    private var isReadPending = false
    /// The session has enough for now.
    private var isHeldBack = false
    private(set) var isSecuring = false
    private(set) var isSecure = false
    private var isNetworkSlow = false
    private var unflushed = ByteBuffer()
    private var isFlushDue = false
    private(set) var isGone = false
    /// The tick in which something last arrived.
    private(set) var lastActivity = 0
    /// What the other server has shown in the handshake; `nil` if it has shown nothing.
    private(set) var presented: PresentedCertificate?
    private var tls: NIOSSLHandler?
    package private(set) var remoteAddress = "unknown"
    /// When the connection came about, in milliseconds since 1970, and the stanzas that have passed on it.
    private(set) var since: Int64 = 0
    var sentCount = 0
    var receivedCount = 0
    /// Of what is sent; `nil` where it is not acknowledged.
    var management: OutgoingManagement<SentStanza>?
    /// Stanzas that the other server has acknowledged on this connection.
    var acknowledgedCount = 0
    var lastSent = 0
    /// The tick in which it was asked what has arrived, and is not answered.
    var askedAt: Int?
    /// What is handled of what the other server has sent, what it was told, and whether it waits to hear more.
    var handledCount: UInt32 = 0
    var saidHandled: UInt32 = 0
    var owesAcknowledgement = false
    package var wheelPlace: DeadlineWheelPlace?

    init(_ service: FederationService, _ loop: NetworkLoop) {
        self.service = service
        self.loop = loop
        settings = service.settings
        parser = XMLStreamParser(
            limits: settings.limitsBeforeAuthentication, contentNamespace: .server, scratch: loop.scratch)
    }

    // MARK: For those that derive from it

    /// The connection is there: what is said first, and by when.
    func began() {}
    func opened(_ header: FlatElement) {}
    func received(_ element: FlatElement) {}
    func peerClosed() {}
    func failed(_ error: XMLError) {}
    /// The handshake is done.
    func secured() {}
    /// The other server has shown this chain, in DER, its own certificate first.
    func showed(_ chain: [[UInt8]]) {}
    /// It was looked anew whether what was shown is revoked.
    func askedAgain() {}
    /// The connection is gone. Called once.
    func lost() {}
    /// The tick has come that was asked for.
    func deadlinePassed() {}
    /// The network takes more again.
    func drained() {}
    /// Why the connection breaks.
    func networkFailed(_ error: any Error) {}
    /// Something may be added to what is flushed.
    func willFlush() {}
    /// Nothing of the other server is looked at.
    var isWaiting: Bool { false }
    /// Our end of the stream has been sent.
    var isEnding: Bool { false }
    /// What DNS says about the certificate of the host that was called; `nil` if it says nothing that could be believed.
    var dane: DANE? { nil }
    /// Bytes of a stanza that the other server takes at most (XEP-0478); `nil` if it has not said.
    var stanzaBytesMax: Int? { nil }
    /// Which server was called; `nil` if this one was.
    var called: String? { nil }
    /// This server ends the stream.
    func close(_ error: StreamError?) {}

    func log(_ level: Logger.Level, _ message: Logger.Message, _ more: Logger.Metadata = [:]) {
        service.log.log(level: level, message, metadata: more.merging(["address": "\(remoteAddress)"]) { first, _ in first })
    }
}

extension PeerConnection: DeadlineWheelMember {}

// MARK: Pipeline

extension PeerConnection {
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
        guard remoteAddress == "unknown" else { return }
        if let address = context.channel.remoteAddress, let network = NetworkAddress(address) {
            remoteAddress = network.description(port: UInt16(clamping: address.port ?? 0))
        } else {
            remoteAddress = "nobody"
        }
        lastActivity = loop.now
        since = loop.context.time.wallMilliseconds
        began()
        loop.context.flushSoon()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        isResumptionScheduled = false
        // What it sent before it went counts.
        if !isEnding { parse(stanzasMax: .max) }
        finish()
        loop.context.flushSoon()
        context.fireChannelInactive()
    }

    private func finish() {
        guard !isGone else { return }
        isGone = true
        // It holds what it asks about certificates, which is this.
        tls = nil
        input = ByteBuffer()
        loop.forget(self)
        lost()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        networkFailed(error)
        context.close(promise: nil)
    }

    /// Closes without another word.
    package func drop() {
        flush()
        context?.close(promise: nil)
    }

    func closeAfterFlush() {
        flush()
        context?.close(promise: nil)
    }

    var closeFuture: EventLoopFuture<Void> { context?.channel.closeFuture ?? loop.loop.makeSucceededVoidFuture() }

    /// Asks to be looked at in that tick.
    func hang(until tick: Int) {
        if !isGone { loop.hang(self, until: tick) }
    }
}

// MARK: TLS

extension PeerConnection {
    /// `<proceed/>` is the last thing in clear: whatever has come behind it would pass for something said inside TLS (CVE-2011-0411).
    ///
    /// - Returns: whether nothing has.
    func discardClearText() -> Bool {
        let isClean = input.readableBytesView.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) } && parser.pendingByteCount == 0
        input = ByteBuffer()
        restartStream()
        return isClean
    }

    /// What is read next begins a stream.
    func restartStream() { parser.restart() }

    func admitLargerStanzas() { parser.limits = settings.limits }

    /// Puts TLS in front of this handler as the one who was called, once the loop has time for a handshake.
    ///
    /// - Parameter choose: the certificate for the name in the caller's hello.
    func installServerTLS(_ choose: @escaping (String?) -> ServedCertificate?) {
        guard let context else { return }
        isSecuring = true
        let gate = ByteToMessageHandler(
            SNIHandler { [unowned self] result in
                let name: String? =
                    switch result {
                    case .hostname(let name): name
                    case .fallback: nil
                    }
                return loop.handshakes.admit().assumeIsolated().flatMapThrowing { [self] in
                    guard let tls = choose(name)?.peerServer else { throw NoCertificate() }
                    try addTLS(NIOSSLServerHandler(context: tls, customVerificationCallback: verification()))
                }.nonisolated()
            }, maximumBufferSize: Self.helloBytesMax)
        do {
            try context.pipeline.syncOperations.addHandler(gate, position: .before(self))
        } catch {
            drop()
        }
    }

    /// The same as the one who calls.
    func installClientTLS(_ tls: NIOSSLContext, calling name: String?) {
        isSecuring = true
        do {
            try addTLS(NIOSSLClientHandler(context: tls, serverHostname: name, customVerificationCallback: verification()))
        } catch {
            networkFailed(error)
            drop()
        }
    }

    private struct NoCertificate: Error {}

    /// Longest beginning of a handshake that is kept until the handshake may begin: a record of TLS (RFC 8446 §5.1).
    private static let helloBytesMax = 16_384 + 5

    private func addTLS(_ handler: NIOSSLHandler) throws {
        guard let context, context.channel.isActive else { throw NoCertificate() }
        tls = handler
        try context.pipeline.syncOperations.addHandler(handler, position: .before(self))
    }

    /// As operators call it; `nil` without TLS.
    var tlsVersion: String? {
        switch isSecure ? tls?.tlsVersion : nil {
        case .tlsv13?: "1.3"
        case .tlsv12?: "1.2"
        case .tlsv1?, .tlsv11?, nil: nil
        }
    }

    /// Lets every handshake succeed, and remembers what was shown: whether that is good, and for which domain, is decided in the stream.
    private func verification() -> NIOSSLCustomVerificationCallback {
        { [self] chain, promise in
            let shown = chain.compactMap { try? $0.toDERBytes() }
            let connection = NIOLoopBound(self, eventLoop: loop.loop)
            let eventLoop = loop.loop
            let (trust, own, dane, inquiry) = (service.trust, service.settings.ownTrusts(for: called), dane, inquiry(waits: true))
            let web = webServer
            Task(executorPreference: loop.executor) {
                var presented = await PresentedCertificate(shown, trust, own: own, dane, inquiry)
                if let (posh, domain) = web, let certificate = shown.first, presented.fault(for: domain, nil) != nil,
                    !presented.isRefusedAsRevoked(for: domain, nil), await posh.allows(certificate, of: domain)
                {
                    presented = presented.allowed(for: domain)
                }
                let verdict = presented
                eventLoop.execute {
                    connection.value.presented = verdict
                    connection.value.noticeRevocation()
                    connection.value.showed(shown)
                    promise.succeed(.certificateVerified)
                }
            }
        }
    }

    /// Nothing is asked about a server whose key is pinned.
    private func inquiry(waits: Bool) -> RevocationInquiry {
        let isPinned = called.flatMap { service.proof(of: $0) }?.pins.isEmpty == false
        return RevocationInquiry(isPinned ? nil : service.revocation, on: loop.loop, now: Int(loop.context.time.wallMilliseconds / 1_000), waits: waits)
    }

    /// Looks whether what was shown has been revoked since, as far as that is known without asking anybody.
    func askAgain() {
        guard let presented, !isGone, !isEnding else { return }
        let connection = NIOLoopBound(self, eventLoop: loop.loop)
        let (eventLoop, inquiry) = (loop.loop, inquiry(waits: false))
        // A task, since checking waits in principle; nothing is waited for here.
        Task(executorPreference: loop.executor) {
            let fresh = await presented.asked(again: inquiry)
            eventLoop.execute {
                connection.value.presented = fresh
                connection.value.askedAgain()
            }
        }
    }

    private func noticeRevocation() {
        if let finding = presented?.mostTelling { service.noticed(finding, of: remoteAddress) }
    }

    /// What was found out about whether what was shown is revoked.
    func revocation(for domain: String) -> RevocationFinding {
        guard let presented, let address = try? BareJID(parsing: domain) else { return .notAsked }
        return presented.finding(for: address, service.proof(of: domain))
    }

    /// Whether what was shown is revoked for a domain of the other server's.
    func isRevoked(for domain: String) -> Bool {
        if case .revoked = revocation(for: domain) { true } else { false }
    }

    /// Whether what was shown is refused for what is known, or not known, of its revocation.
    func isRefusedAsRevoked(for domain: String) -> Bool {
        guard let presented, let address = try? BareJID(parsing: domain) else { return false }
        return presented.isRefusedAsRevoked(for: address, service.proof(of: domain))
    }

    /// Whether what was shown is good for a domain of the other server's.
    func certificate(for domain: String) -> CertificateVerdict {
        guard let presented else { return .absent }
        guard let address = try? BareJID(parsing: domain) else { return .invalid("\(domain) is no domain") }
        return presented.fault(for: address, service.proof(of: domain)).map { .invalid($0.description) } ?? .valid
    }

    /// Who may speak for what the server shows that was called, if nobody else does: not beside the operator's own word, nor that of DNS.
    private var webServer: (POSH, BareJID)? {
        guard settings.asksWebServers, dane == nil, let called, service.proof(of: called)?.isDecisive != true else { return nil }
        return (try? BareJID(parsing: called)).map { (service.posh(on: loop), $0) }
    }

    /// It has turned out that DNS or the web allow what was shown for a domain.
    func allowPresented(for domain: BareJID) { presented = presented?.allowed(for: domain) }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            isSecuring = false
            isSecure = true
            secured()
            loop.context.flushSoon()
            flushSoon()
        default: context.fireUserInboundEventTriggered(event)
        }
    }
}

// MARK: From the other server

extension PeerConnection {
    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        lastActivity = loop.now
        // Until the handshake is done nothing reaches this handler.
        guard !isSecuring else { return drop() }
        guard !inputFailed else { return }
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        if takesInput { parse(stanzasMax: settings.stanzasPerTurnMax) }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        flushSoon()
        loop.context.flushSoon()
    }

    package func read(context: ChannelHandlerContext) {
        if takesInput || isSecuring { context.read() } else { isReadPending = true }
    }

    private var takesInput: Bool { !isHeldBack && !isWaiting && !isResumptionScheduled }

    /// Takes what has arrived, up to a number of stanzas; then others have their turn first.
    private func parse(stanzasMax: Int) {
        guard !isParsing else { return }
        isParsing = true
        defer { isParsing = false }
        var taken = 0
        while takesInput, !inputFailed {
            guard taken < stanzasMax else { return resumeLater() }
            if loop.context.isCongested { return resumeLater(after: Self.congestionRest) }
            taken += 1
            do throws(XMLError) {
                guard let event = try parser.next(from: &input) else {
                    input = ByteBuffer()
                    return
                }
                switch event {
                case .opened(let header): opened(header)
                case .element(let element): received(element)
                case .closed: peerClosed()
                }
            } catch {
                inputFailed = true
                failed(error)
            }
        }
        if inputFailed { input = ByteBuffer() }
    }

    /// How long a server waits before it is looked whether another loop has caught up.
    private static let congestionRest = TimeAmount.milliseconds(1)

    private func resumeLater(after rest: TimeAmount? = nil) {
        guard !isResumptionScheduled else { return }
        isResumptionScheduled = true
        let goOn = { [self] in
            guard isResumptionScheduled, !isGone else { return }
            isResumptionScheduled = false
            parse(stanzasMax: settings.stanzasPerTurnMax)
            flushSoon()
            loop.context.flushSoon()
            guard isReadPending, takesInput else { return }
            isReadPending = false
            context?.read()
        }
        if let rest { _ = loop.loop.assumeIsolated().scheduleTask(in: rest, goOn) } else { loop.loop.assumeIsolated().execute(goOn) }
    }

    /// Goes on where the other server was kept waiting.
    func resume() { if !isParsing { resumeLater() } }

    package func setReading(_ isReading: Bool) {
        isHeldBack = !isReading
        if isReading { resume() }
    }
}

// MARK: To the other server

extension PeerConnection {
    func write(_ bytes: ByteBuffer) {
        guard !isGone, context != nil else { return }
        if unflushed.readableBytes + bytes.readableBytes > Self.pieceBytesMax { passOn() }
        if unflushed.readableBytes == 0 { unflushed = bytes } else { unflushed.writeImmutableBuffer(bytes) }
        flushSoon()
    }

    func write(_ say: (inout XMLWriter) -> Void) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 512))
        say(&writer)
        if writer.buffer.readableBytes > 0 { write(writer.buffer) }
    }

    /// Stanzas of one burst are put together up to this, the length of a TLS record.
    private static let pieceBytesMax = 16_384

    private func passOn() {
        guard unflushed.readableBytes > 0 else { return }
        context?.write(wrapOutboundOut(unflushed), promise: nil)
        unflushed = ByteBuffer()
    }

    func flush() {
        isFlushDue = false
        passOn()
        context?.flush()
    }

    /// With the loop's other transports, at the end of its turn.
    func flushSoon() {
        guard !isFlushDue, unflushed.readableBytes > 0 else { return }
        isFlushDue = true
        loop.context.flushWithOthers { [self] in willFlush(); flush() }
        loop.context.flushSoon()
    }

    /// Whether the network takes more at once.
    var isWritable: Bool { !isEnding && !isNetworkSlow && context?.channel.isWritable ?? false }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        isNetworkSlow = !context.channel.isWritable
        if !isNetworkSlow { drained() }
        context.fireChannelWritabilityChanged()
    }
}
