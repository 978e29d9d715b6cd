import Logging
import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore
import NIOSSL

/// The connection of one client, over TCP as it comes or behind TLS: it carries a ``ClientStream``, and what its session is sent.
package class ClientConnection: StreamConnection {
    final let listener: ClientListener
    final let stream: ClientStream
    @exclusivity(unchecked) private final var sessionReads = true
    @exclusivity(unchecked) private final var isSlowedDown = false
    @exclusivity(unchecked) private final var unflushedBytes = 0
    private final var allowance: ByteAllowance
    /// TLS has been put in front; nothing is asked of it before the handshake is done.
    private final var tls: ClientTLS?
    final var peer: NetworkAddress?
    /// Whoever speaks TLS until its handshake is done, if a domain has asked for a certificate, and what was shown to it.
    private final var asking: (tls: NIOSSLServerHandler, domain: String)?
    private final var shown: [[UInt8]] = []

    package init(_ listener: ClientListener, _ loop: NetworkLoop) {
        let settings = listener.service.settings
        self.listener = listener
        stream = ClientStream(listener, loop, ClientStreamMachine())
        allowance = ByteAllowance(burst: settings.bytesBurst, at: loop.now)
        super.init(loop, limits: settings.limitsBeforeAuthentication, contentNamespace: .client, stanzasPerTurnMax: settings.stanzasPerTurnMax)
        stream.carrier = self
    }

    final var service: ClientService { listener.service }

    // MARK: What the connection goes through

    override func began(_ context: ChannelHandlerContext) {
        if let refusal = stream.count.admit(service.admission) { return refuse(refusal, context) }
        stream.begin()
        let address = context.channel.remoteAddress
        let network = address.flatMap { NetworkAddress($0) }
        let port = UInt16(clamping: address?.port ?? 0)
        guard let network, listener.isProxy(network) else { return meet(network, port: port, context) }
        remoteAddress = network.description(port: port)
        do {
            try ProxyHandler.install(on: context, proxy: network, port: port) { [unowned self] peer in
                if let peer { return meet(peer.address, port: peer.port, context) }
                service.log.info("proxy sent no valid PROXY header", metadata: ["address": "\(remoteAddress)"])
                drop()
            }
        } catch {
            drop()
        }
    }

    /// The peer's address is known: count it, and go on as the listener says.
    private func meet(_ address: NetworkAddress?, port: UInt16, _ context: ChannelHandlerContext) {
        peer = address
        if let address {
            remoteAddress = address.description(port: port)
            if let refusal = stream.count.admit(address, service.admission) { return refuse(refusal, context) }
        }
        if listener.configuration.kind.beginsWithTLS { installTLS { [service] in service.certificates.certificate(forServerName: $0) } }
    }

    private func refuse(_ refusal: Admission.Refusal, _ context: ChannelHandlerContext) {
        service.log.debug("connection refused", metadata: ["address": "\(remoteAddress)", "reason": "\(refusal)"])
        context.close(promise: nil)
    }

    override func secured() {
        if let asking { tls?.ended(asking.tls) }
        lookAtCertificate()
        let (bindings, version) = (tls?.bindings ?? [], tls?.version)
        tls = nil
        if listener.configuration.kind.beginsWithTLS {
            stream.machine = ClientStreamMachine(bindings: bindings, version: version)
        } else {
            stream.perform(stream.machine.secured(bindings, version: version))
        }
    }

    override func lost() {
        // It holds what it asks about certificates, which is this.
        asking = nil
        stream.lost()
    }
    override func deadlinePassed() { stream.deadlinePassed() }
    override func lookAtCertificateAgain() { stream.examineAgain() }
    override func lookAtLoginAgain() { stream.lookAtLoginAgain() }

    override func networkFailed(_ error: any Error) {
        if let asking, let why = ShownCertificateFault(error)?.why {
            service.log.info("the certificate that a client shows ends its handshake", metadata: ["address": "\(remoteAddress)", "why": "\(why)"])
            return service.router.audit.record(.certificateRefused(domain: asking.domain, address: remoteAddress, reason: why))
        }
        service.log.debug("connection failed", metadata: ["address": "\(remoteAddress)", "error": "\(error)"])
    }

    package override func drop() {
        stream.machine.transportLost()
        super.drop()
    }

    package override func close(_ error: StreamError?) {
        // What is said now would be said in clear, or into a handshake.
        guard !isSecuring else { return drop() }
        stream.close(error)
    }

    // MARK: From the client

    override func take(_ event: XMLStreamEvent) {
        switch event {
        case .element(let element): stream.received(element)
        case .opened(let header): stream.opened(header)
        case .closed: stream.peerClosed()
        }
    }

    override func failed(_ error: XMLError) { stream.failed(error) }

    override var isOver: Bool { stream.machine.isClosed }
    override var takesInput: Bool { sessionReads && !stream.machine.isWaiting && !isResumptionScheduled && !isSlowedDown && !stream.isExamining }

    /// A client that logs in waits for the answer, mostly.
    override var readsAhead: Bool { stream.session == nil && stream.machine.isWaiting }

    /// The client may have sent its last stanzas and gone: they count, although nobody can be answered.
    override func takesLast() -> Bool {
        isSlowedDown = false
        return stream.session != nil
    }

    /// Counts what arrived against what the client may send in the long run. Past it the connection rests until it has made up for it.
    override func willTake(_ byteCount: Int) {
        guard let rate = service.settings.bytesPerSecond, rate > 0 else { return }
        let rest = allowance.spend(byteCount, rate: rate, burst: service.settings.bytesBurst, at: loop.now)
        guard let rest, !isSlowedDown else { return }
        isSlowedDown = true
        _ = loop.loop.assumeIsolated().scheduleTask(in: rest) { [weak self] in
            self?.isSlowedDown = false
            self?.resumeLater()
        }
    }

    override func didTake(waiting byteCount: Int) {
        guard stream.count.isUnauthenticated else { return }
        stream.holds(Self.memory(for: byteCount) + Self.memory(for: pendingByteCount))
    }

    /// What has been taken of something that is not complete.
    var pendingByteCount: Int { parser.pendingByteCount }

    /// Buffers grow to the next power of two.
    private static func memory(for count: Int) -> Int { count > 1 ? 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount) : count }

    // MARK: To the client

    package func write(_ bytes: ByteBuffer) {
        guard context != nil, bytes.readableBytes > 0 else { return }
        add(bytes)
    }

    /// Adds bytes to what is put together, and counts them as waiting.
    final func add(_ bytes: ByteBuffer) {
        unflushedBytes += bytes.readableBytes
        put(bytes)
    }

    /// The same with what `write` puts there, about so many bytes.
    final func add(about bytes: Int, _ write: (inout ByteBuffer) -> Void) {
        unflushedBytes += bytes
        if output.isFull(for: bytes) { passOn() }
        output.append(about: bytes, roomMin: Self.ownPieceBytes, write)
    }

    /// Put together in place: no copy of it is made but the one that goes out.
    package func write(_ stanza: SharedStanza, to recipient: FullJID) {
        guard context != nil else { return }
        let bytes = stanza.byteCount + recipient.withUTF8 { $0.count } + Self.addresseeBytes
        if bytes > Self.ownPieceBytes {
            // A long one is not copied for each of thousands.
            unflushedBytes += bytes
            let (own, shared) = stanza.pieces(for: recipient)
            passOn(own)
            return passOn(shared)
        }
        add(about: bytes) { stanza.write(to: &$0, for: recipient) }
    }

    /// ` to=''`
    private static let addresseeBytes = 6
    /// Room for a burst of a room's messages; a longer one is not copied.
    package static let ownPieceBytes = 4_096

    package override func flush() {
        unflushedBytes = 0
        super.flush()
    }

    /// What belongs to a session is flushed with the loop's other sessions; a connection without one has only its own answers to send. While one is to come,
    /// what was said before waits for it: a client that has sent both its header and its request has no need of the one without the other.
    override func flushSoon() {
        guard unflushedBytes > 0 else { return }
        if let session = stream.session { session.markDirty() } else if !stream.machine.isWaiting { flush() }
    }

    func send(_ action: ClientStreamMachine.Action, extras: (inout XMLWriter) -> Void) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 512))
        action.write(to: &writer, extras: extras)
        write(writer.buffer)
    }

    func setLimits(_ limits: XMLLimits) { parser.limits = limits }
    func restart() { parser.restart() }
}

// MARK: TLS

extension ClientConnection {
    func startTLS(_ domain: String, _ action: ClientStreamMachine.Action) {
        guard discardClearText() else {
            service.log.notice("bytes behind <starttls/>: connection dropped", metadata: ["address": "\(remoteAddress)"])
            return drop()
        }
        guard let certificate = service.certificates.certificate(of: domain) else { return drop() }
        stream.send(action)
        flush()
        installTLS { _ in certificate }
    }

    /// - Parameter choose: the certificate for the name in the client's hello.
    private func installTLS(_ choose: @escaping (String?) -> ServedCertificate?) {
        secure { context in
            try ServerTLS.install(before: self, context, loop, looks: service.certificates.hasChoice) { [unowned self] name, hello in
                guard let certificate = choose(name)?.suited(to: hello), let context = certificate.context(listener.configuration.tlsProfile) else {
                    service.log.error("no certificate to serve", metadata: ["address": "\(remoteAddress)"])
                    drop()
                    throw ServerTLS.NoCertificate()
                }
                let watch = certificate.watch()
                tls = ClientTLS(endPoint: certificate.bindings, watch)
                return (asking(certificate) ?? NIOSSLServerHandler(context: context), watch)
            }
        }
    }

    /// `nil` if the domain asks for no certificates.
    private func asking(_ certificate: ServedCertificate) -> NIOSSLServerHandler? {
        guard service.clientCertificates.demand(of: certificate.domain) != .off,
            let context = certificate.asking(listener.configuration.tlsProfile)
        else { return nil }
        let tls = NIOSSLServerHandler(context: context, customVerificationCallback: verification())
        asking = (tls, certificate.domain)
        return tls
    }

    /// Lets every handshake succeed but one with a longer chain than is taken: what the certificate is good for is found out before the
    /// stream begins. It is not called if the client goes on with an earlier TLS session, so that nothing follows from its not having
    /// been called.
    private func verification() -> NIOSSLCustomVerificationCallback {
        { [weak self] chain, promise in
            let shown = chain.compactMap { try? $0.toDERBytes() }
            guard !ShownCertificateFault.isTooLong(shown) else { return promise.succeed(.failed) }
            self?.shown = shown
            promise.succeed(.certificateVerified)
        }
    }

    private func lookAtCertificate() {
        guard let (tls, domain) = asking else { return }
        asking = nil
        var shown = shown
        self.shown = []
        if shown.isEmpty {
            guard let own = tls.peerCertificate, let bytes = try? own.toDERBytes() else { return }
            shown = service.clientCertificates.recall(bytes)
        }
        stream.examine(shown, at: domain)
    }
}

// MARK: What a session asks of its transport

extension ClientConnection: ClientCarrier {
    package var hasDrained: Bool { unflushedBytes == 0 && bufferedBytes == 0 }

    /// What is below the channel's high-water mark is not worth asking for.
    package var pendingBytes: Int {
        guard isNetworkSlow, context != nil else { return unflushedBytes }
        // The channel counts what it was given whether it is flushed or not, behind TLS only what is: nothing may count twice.
        return max(unflushedBytes, output.byteCount + bufferedBytes)
    }

    private var bufferedBytes: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func lookAgain(at tick: Int) { hang(until: tick) }

    package func setReading(_ isReading: Bool) {
        guard isReading != sessionReads else { return }
        sessionReads = isReading
        // Not at once: the session may be in the middle of handing on what it held back.
        if isReading { resumeLater() }
    }
}
