import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import NIOSSL

/// A connection between servers, and what is known of the other one. What is said on it is for those that derive from it:
/// ``IncomingPeerConnection`` and ``OutgoingPeerConnection``.
package class PeerConnection: StreamConnection {
    let service: FederationService
    /// Those that were in force when the connection came.
    let settings: FederationSettings
    /// The session has enough for now.
    private var isHeldBack = false
    private var isFlushDue = false
    /// What the other server has shown in the handshake; `nil` if it has shown nothing.
    private(set) var presented: PresentedCertificate?
    private var tls: NIOSSLHandler?
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

    init(_ service: FederationService, _ loop: NetworkLoop) {
        self.service = service
        settings = service.settings
        super.init(
            loop, limits: settings.limitsBeforeAuthentication, contentNamespace: .server, stanzasPerTurnMax: settings.stanzasPerTurnMax)
    }

    // MARK: For those that derive from it

    /// The connection is there: what is said first, and by when.
    func began() {}
    func opened(_ header: FlatElement) {}
    func received(_ element: FlatElement) {}
    func peerClosed() {}
    /// The other server has shown this chain, in DER, its own certificate first.
    func showed(_ chain: [[UInt8]]) {}
    /// It was looked anew whether what was shown is revoked.
    func askedAgain() {}
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

    func log(_ level: Logger.Level, _ message: Logger.Message, _ more: Logger.Metadata = [:]) {
        service.log.log(level: level, message, metadata: more.merging(["address": "\(remoteAddress)"]) { first, _ in first })
    }

    // MARK: What the connection goes through

    override func began(_ context: ChannelHandlerContext) {
        if let address = context.channel.remoteAddress, let network = NetworkAddress(address) {
            remoteAddress = network.description(port: UInt16(clamping: address.port ?? 0))
        } else {
            remoteAddress = "nobody"
        }
        since = loop.context.time.wallMilliseconds
        began()
        loop.context.flushSoon()
    }

    override func take(_ event: XMLStreamEvent) {
        switch event {
        case .opened(let header): opened(header)
        case .element(let element): received(element)
        case .closed: peerClosed()
        }
    }

    override func takesLast() -> Bool { !isEnding }
    override var takesInput: Bool { !isHeldBack && !isWaiting && !isResumptionScheduled }

    override func lost() {
        // It holds what it asks about certificates, which is this.
        tls = nil
    }

    package func setReading(_ isReading: Bool) {
        isHeldBack = !isReading
        if isReading { resume() }
    }

    package override func flush() {
        isFlushDue = false
        super.flush()
    }

    /// With the loop's other transports, at the end of its turn.
    override func flushSoon() {
        guard !isFlushDue, !output.isEmpty else { return }
        isFlushDue = true
        loop.context.flushWithOthers { [self] in willFlush(); flush() }
        loop.context.flushSoon()
    }
}

// MARK: TLS

extension PeerConnection {
    /// What is read next begins a stream.
    func restartStream() { parser.restart() }

    func admitLargerStanzas() { parser.limits = settings.limits }

    /// Puts TLS in front of this handler as the one who was called, once the loop has time for a handshake.
    ///
    /// - Parameter choose: the certificate for the name in the caller's hello.
    func installServerTLS(_ profile: TLSProfile, _ choose: @escaping (String?) -> ServedCertificate?) {
        secure { context in
            try ServerTLS.install(before: self, context, loop, looks: service.certificates.hasChoice) { [unowned self] name, hello in
                guard let context = choose(name)?.suited(to: hello).peerServers[profile] else { throw ServerTLS.NoCertificate() }
                let handler = NIOSSLServerHandler(context: context, customVerificationCallback: verification())
                tls = handler
                return (handler, nil)
            }
        }
    }

    /// The same as the one who calls.
    func installClientTLS(_ tls: NIOSSLContext, calling name: String?) {
        secure { context in
            guard context.channel.isActive else { throw ServerTLS.NoCertificate() }
            let handler = try NIOSSLClientHandler(context: tls, serverHostname: name, customVerificationCallback: verification())
            self.tls = handler
            try context.pipeline.syncOperations.addHandler(handler, position: .before(self))
        }
    }

    /// Whether the connection is as what is asked of a server in particular; it may not be encrypted yet.
    func isAsAsked(of remote: String) -> Bool {
        guard isSecure, let profile = settings.ownTLSProfile(of: remote) else { return true }
        return profile.allows(version: tls?.tlsVersion)
    }

    /// As operators call it; `nil` without TLS.
    var tlsVersion: String? {
        switch isSecure ? tls?.tlsVersion : nil {
        case .tlsv13?: "1.3"
        case .tlsv12?: "1.2"
        case .tlsv1?, .tlsv11?, nil: nil
        }
    }

    /// Lets every handshake succeed but that of a caller with a longer chain than is taken, and remembers what was shown: whether that is
    /// good, and for which domain, is decided in the stream.
    private func verification() -> NIOSSLCustomVerificationCallback {
        { [self] chain, promise in
            let shown = chain.compactMap { try? $0.toDERBytes() }
            guard called != nil || !ShownCertificateFault.isTooLong(shown) else { return promise.succeed(.failed) }
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
        let now = Int(loop.context.time.wallMilliseconds / 1_000)
        return RevocationInquiry(isPinned ? nil : service.revocation, on: loop.loop, now: now, waits: waits)
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
}

// MARK: To the other server

extension PeerConnection {
    func write(_ bytes: ByteBuffer) {
        guard !isGone, context != nil else { return }
        put(bytes)
        flushSoon()
    }

    func write(_ say: (inout XMLWriter) -> Void) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 512))
        say(&writer)
        if writer.buffer.readableBytes > 0 { write(writer.buffer) }
    }

    /// Whether the network takes more at once.
    var isWritable: Bool { !isEnding && !isNetworkSlow && context?.channel.isWritable ?? false }
}
