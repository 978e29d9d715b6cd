import Logging
import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1
import NIOSSL
import NIOTLS

/// A connection that speaks HTTP/1.1 (RFC 9112): one request after the other, each answered by what its path leads to.
///
/// The last handler of its pipeline, behind TLS and NIO's codec. Everything happens on its loop. It knows what HTTP asks of all: who the peer
/// is, limits and deadlines, methods, headers that every answer has. What a path means is for the ``WebResource``.
final class WebConnection: LoopConnection, ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// A request is to come, its head to be complete by then.
        case waiting(until: Int)
        case receiving(WebRequest, any WebResource, until: Int)
        /// The body goes to somebody who takes it as it comes.
        case streaming(HTTPRequestHead, any WebResource, any WebBodyReader, WebTransfer)
        /// The resource owes the answer.
        case answering(HTTPRequestHead, (any WebResource)?)
        /// The head of the answer has been sent, and its body is being.
        case sending(WebTransfer, keepsAlive: Bool)
        case closing(until: Int)
        /// Another handler has the connection.
        case handedOver
    }

    let listener: ClientListener
    private let site: WebSite
    private var state: State
    private var context: ChannelHandlerContext?
    private var codec: [any RemovableChannelHandler] = []
    private var count = ConnectionCount()
    private var tls: ClientTLS?
    private var peer: NetworkAddress?
    private(set) var remoteAddress = "unknown"
    private var hasBegun = false
    /// The connection closes behind the next answer.
    private var isEnding = false
    /// Whoever takes the body cannot take more at the moment.
    private var isReadingHeld = false
    private var isReadPending = false

    private init(_ site: WebSite, _ loop: NetworkLoop) {
        self.site = site
        listener = site.listener
        state = .waiting(until: loop.now + NetworkLoop.ticks(site.settings.headDeadline))
        super.init(loop)
    }

    private var service: ClientService { listener.service }
    /// This one and all others where clients connect.
    var listeners: [ClientListener] { site.listeners }
    private var settings: WebSettings { site.settings }

    // MARK: Pipeline

    /// Puts everything that speaks HTTP into a pipeline. On the channel's loop, before anything is read.
    static func install(on channel: any Channel, _ site: WebSite, _ loop: NetworkLoop) throws {
        let connection = WebConnection(site, loop)
        let pipeline = channel.pipeline.syncOperations
        let encoder = HTTPResponseEncoder()
        let decoder = ByteToMessageHandler(
            HTTPRequestDecoder(
                leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .drop, limitConfiguration: site.settings.decoderLimits))
        // One request at a time; what a client sends ahead is not read until its turn comes.
        let turns = HTTPServerPipelineHandler()
        connection.codec = [turns, decoder, encoder]
        try pipeline.addHandlers([encoder, decoder, turns, connection])
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun else { return }
        hasBegun = true
        if let refusal = count.admit(service.admission) { return refuse(refusal) }
        if case .waiting(let until) = state { hang(until: until) }
        let address = context.channel.remoteAddress
        let network = address.flatMap { NetworkAddress($0) }
        let port = UInt16(clamping: address?.port ?? 0)
        remoteAddress = network?.description(port: port) ?? "unknown"
        guard listener.configuration.kind.beginsWithTLS, let network, listener.isProxy(network) else { return meet(network, port: port) }
        do {
            try ProxyHandler.install(on: context, proxy: network, port: port) { [unowned self] peer in
                if let peer { return meet(peer.address, port: peer.port) }
                service.log.info("proxy sent no valid PROXY header", metadata: ["address": "\(remoteAddress)"])
                drop()
            }
        } catch {
            drop()
        }
    }

    /// The peer's address is known: count it, and go on as the listener says.
    private func meet(_ address: NetworkAddress?, port: UInt16) {
        peer = address
        if let address {
            remoteAddress = address.description(port: port)
            // The connections of a reverse proxy are nobody's in particular.
            if !isFromProxy, let refusal = count.admit(address, service.admission) { return refuse(refusal) }
        }
        guard listener.configuration.kind.beginsWithTLS, let context, let encoder = codec.last else { return }
        do {
            try ServerTLS.install(before: encoder, context, loop, looks: service.certificates.hasChoice) { [unowned self] in try makeTLS($0, $1) }
        } catch {
            drop()
        }
    }

    private func makeTLS(_ name: String?, _ hello: ClientHello?) throws -> (NIOSSLServerHandler, HandshakeWatch?) {
        guard let certificate = service.certificates.certificate(forServerName: name)?.suited(to: hello),
            let context = certificate.web(listener.configuration.tlsProfile)
        else {
            service.log.error("no certificate to serve", metadata: ["address": "\(remoteAddress)"])
            drop()
            throw ServerTLS.NoCertificate()
        }
        let watch = certificate.watch()
        tls = ClientTLS(endPoint: certificate.bindings, watch)
        return (NIOSSLServerHandler(context: context), watch)
    }

    /// Whether whoever is connected may say on whose behalf.
    private var isFromProxy: Bool { !listener.configuration.kind.beginsWithTLS && peer.map { listener.isProxy($0) } ?? false }

    private func refuse(_ refusal: Admission.Refusal) {
        service.log.debug("connection refused", metadata: ["address": "\(remoteAddress)", "reason": "\(refusal)"])
        context?.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    private func finish() {
        if case .streaming(_, _, let reader, _) = state {
            state = .closing(until: loop.now)
            reader.lost()
        }
        if let gone { gone() }
        (gone, stops) = (nil, nil)
        // Whoever has the connection has what it counts as.
        if case .handedOver = state {} else { count.leave(service.admission) }
        forget()
    }

    /// Told once when the connection goes before its request is answered.
    var gone: (() -> Void)?
    /// Told once when the server stops while an answer is sent that goes on without end.
    private var stops: (() -> Void)?

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        service.log.debug("connection failed", metadata: ["address": "\(remoteAddress)", "error": "\(error)"])
        guard error is HTTPParserError else { return context.close(promise: nil) }
        let status: HTTPResponseStatus = (error as? HTTPParserError) == .headerOverflow ? .requestHeaderFieldsTooLarge : .badRequest
        switch state {
        case .waiting: refuse(status, "this is no request that is understood here")
        case .receiving(let request, let resource, _):
            state = .answering(request.head, resource)
            refuse(status, "this is no request that is understood here")
        case .streaming, .answering, .sending, .closing, .handedOver: context.close(promise: nil)
        }
    }

    // MARK: Deadlines

    override func deadlinePassed() {
        switch state {
        case .waiting(let until), .closing(let until):
            guard loop.now >= until else { return hang(until: until) }
            drop()
        case .receiving(let request, let resource, let until):
            guard loop.now >= until else { return hang(until: until) }
            hang(until: loop.now + 1)
            state = .answering(request.head, resource)
            refuse(.requestTimeout, "the request took too long")
        case .streaming(_, _, _, let transfer):
            guard loop.now >= transfer.until else { return hang(until: transfer.until) }
            hang(until: loop.now + 1)
            giveUp(WebAnswer(.requestTimeout, "the request took too long"))
        case .sending(var transfer, let keepsAlive):
            // A piece may have gone that far long before the system takes the next one: it holds some megabytes.
            if let bytes = acknowledgedBytes { transfer.acknowledged(bytes, at: loop.now) }
            state = .sending(transfer, keepsAlive: keepsAlive)
            guard loop.now >= transfer.until else { return hang(until: transfer.nextLook(at: loop.now)) }
            drop()
        // Whoever owes the answer has deadlines of its own.
        case .answering, .handedOver: break
        }
    }

    override func close(_ error: StreamError?) {
        // What is owed comes from a session that ends now, too.
        switch state {
        case .answering, .sending:
            isEnding = true
            let stops = stops
            self.stops = nil
            stops?()
        case .waiting, .receiving, .streaming, .closing, .handedOver: drop()
        }
    }
    override func drop() { context?.close(promise: nil) }
}

// MARK: Requests

extension WebConnection {
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): begin(head)
        case .body(let bytes): take(bytes)
        case .end: end()
        }
    }

    private func begin(_ head: HTTPRequestHead) {
        guard case .waiting = state else { return }
        state = .answering(head, nil)
        guard let (request, resource) = resource(for: head) else { return }
        if request.head.method != .OPTIONS, let reader = resource.reader(of: request, on: self) { return stream(request, resource, to: reader) }
        state = .receiving(request, resource, until: loop.now + NetworkLoop.ticks(settings.bodyDeadline))
        hang(until: loop.now + NetworkLoop.ticks(settings.bodyDeadline))
    }

    /// What the request is for, if it can be answered; otherwise it is refused.
    private func resource(for head: HTTPRequestHead) -> (WebRequest, any WebResource)? {
        guard head.version.major == 1 else { return refused(.httpVersionNotSupported, "HTTP/1.1 is spoken here") }
        let hosts = head.headers["Host"]
        guard hosts.count == 1, let authority = WebAuthority(hosts[0]) else { return refused(.badRequest, "a request has one Host") }
        // RFC 9112 §6.1: it may be an attempt to smuggle a request.
        guard !(head.headers.contains(name: "Transfer-Encoding") && head.headers.contains(name: "Content-Length")) else {
            return refused(.badRequest, "a request has one length")
        }
        guard head.uri.hasPrefix("/") else { return refused(.badRequest, "a path is asked for") }
        let path = String(head.uri.prefix { $0 != "?" })
        guard let resource = site.resource(at: path) else { return refused(.notFound, "there is nothing here") }
        state = .answering(head, resource)
        let isKnown = head.method == .OPTIONS || (head.method == .HEAD && resource.methods.contains(.GET)) || resource.methods.contains(head.method)
        guard isKnown else { return refused(.methodNotAllowed, "this is not done here", ["Allow": Self.allowed(resource)]) }
        let length = head.headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0
        let bytesMax = Self.bodyBytesMax(head.method, resource)
        guard length <= bytesMax else { return refused(.payloadTooLarge, "the longest body here has \(bytesMax) bytes") }
        let forwarded = isFromProxy ? ForwardedRequest(head.headers) { [listener] in listener.isProxy($0) } : nil
        let request = WebRequest(
            head: head, path: path, authority: authority, body: ByteBuffer(), sender: forwarded?.sender ?? peer,
            isSecure: listener.configuration.kind.beginsWithTLS || forwarded?.isSecure == true)
        return (request, resource)
    }

    /// What is asked for with these has no use for a body (RFC 9110 §9.3.1, §9.3.2, §9.3.7), which would be kept until it is whole.
    private static func bodyBytesMax(_ method: HTTPMethod, _ resource: any WebResource) -> Int {
        switch method {
        case .GET, .HEAD, .OPTIONS: 0
        default: resource.bodyBytesMax
        }
    }

    private func refused(_ status: HTTPResponseStatus, _ text: String, _ headers: HTTPHeaders = [:]) -> (WebRequest, any WebResource)? {
        refuse(status, text, headers)
        return nil
    }

    private func stream(_ request: WebRequest, _ resource: any WebResource, to reader: any WebBodyReader) {
        let length = request.head.headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0
        let transfer = WebTransfer(bytes: length, settings, at: loop.now)
        state = .streaming(request.head, resource, reader, transfer)
        hang(until: transfer.until)
        setReceiveBytes(settings.transferReceiveBytes)
    }

    private func setReceiveBytes(_ bytes: Int) {
        // It fails only on a channel that is closed.
        try? context?.channel.syncOptions?.setOption(.recvAllocator, value: ReceiveBuffers(bytes: bytes))
    }

    private func take(_ bytes: ByteBuffer) {
        if case .streaming(_, _, let reader, _) = state {
            noteProgress()
            return reader.take(bytes)
        }
        guard case .receiving(var request, let resource, let until) = state else { return }
        let bytesMax = Self.bodyBytesMax(request.head.method, resource)
        guard request.body.readableBytes + bytes.readableBytes <= bytesMax else {
            state = .answering(request.head, resource)
            return refuse(.payloadTooLarge, "the longest body here has \(bytesMax) bytes")
        }
        // Taken out, so that it grows in place.
        state = .closing(until: until)
        request.body.writeImmutableBuffer(bytes)
        if let refusal = count.holdBody(request.body.capacity, service.admission) {
            state = .answering(request.head, resource)
            service.log.debug("request refused", metadata: ["address": "\(remoteAddress)", "reason": "\(refusal)"])
            return refuse(.serviceUnavailable, "too much waits here")
        }
        state = .receiving(request, resource, until: until)
    }

    private func end() {
        if case .streaming(let head, let resource, let reader, _) = state {
            state = .answering(head, resource)
            setReceiveBytes(service.settings.receiveBytes)
            return reader.end()
        }
        guard case .receiving(let request, let resource, _) = state else { return }
        state = .answering(request.head, resource)
        _ = count.holdBody(0, service.admission)
        if request.head.method == .OPTIONS { return answer(WebAnswer(.noContent, type: "text/plain", ByteBuffer(), ["Allow": Self.allowed(resource)])) }
        resource.answer(request, on: self)
    }

    private static func allowed(_ resource: any WebResource) -> String {
        let methods = resource.methods + (resource.methods.contains(.GET) ? [.HEAD] : []) + [.OPTIONS]
        return methods.map(\.rawValue).joined(separator: ", ")
    }
}

// MARK: Answers

extension WebConnection {
    /// Answers the request that is owed an answer; nothing if there is none any more.
    func answer(_ answer: WebAnswer) { send(answer, closes: false) }

    /// Answers a request that is not looked at any further. The connection closes behind that.
    private func refuse(_ status: HTTPResponseStatus, _ text: String, _ headers: HTTPHeaders = [:]) {
        if case .waiting = state { state = .answering(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/"), nil) }
        send(WebAnswer(status, text, headers), closes: true)
    }

    private func send(_ answer: WebAnswer, closes: Bool) {
        guard case .answering(let request, let resource) = state, let context else { return }
        gone = nil
        let keepsAlive = sendHead(answer, to: request, resource, closes: closes, context)
        if request.method != .HEAD, answer.body.readableBytes > 0 { context.write(wrapOutboundOut(.body(.byteBuffer(answer.body))), promise: nil) }
        endAnswer(keepsAlive: keepsAlive, context)
    }

    /// - Returns: whether another request may follow.
    private func sendHead(
        _ answer: WebAnswer, to request: HTTPRequestHead, _ resource: (any WebResource)?, closes: Bool, _ context: ChannelHandlerContext
    ) -> Bool {
        // After a request to upgrade the codec takes nothing more.
        let keepsAlive = !closes && !isEnding && request.isKeepAlive && !request.headers.contains(name: "Upgrade")
        var headers = answer.headers
        let isMeasured = !headers.contains(name: "Content-Length") && !headers.contains(name: "Transfer-Encoding")
        if answer.status != .noContent, answer.status != .notModified, isMeasured {
            headers.add(name: "Content-Length", value: "\(answer.body.readableBytes)")
        }
        if !keepsAlive { headers.replaceOrAdd(name: "Connection", value: "close") }
        addCommon(to: &headers, resource)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: answer.status, headers: headers))), promise: nil)
        return keepsAlive
    }

    private func endAnswer(keepsAlive: Bool, _ context: ChannelHandlerContext) {
        if keepsAlive {
            // Before the end, behind which the next request may come at once.
            state = .waiting(until: loop.now + NetworkLoop.ticks(settings.idleTimeout))
            hang(until: loop.now + NetworkLoop.ticks(settings.idleTimeout))
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        } else {
            closeBehindAnswer(context)
        }
    }

    /// Not at once: whoever is still sending would not read the answer, but that its connection was reset (RFC 9112 §9.6).
    private func closeBehindAnswer(_ context: ChannelHandlerContext) {
        state = .closing(until: loop.now + NetworkLoop.ticks(settings.lingering))
        hang(until: loop.now + NetworkLoop.ticks(settings.lingering))
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }

    /// What is no page browsers are told to make nothing of. Scripts of any origin may ask what is for XMPP clients, since nothing
    /// there goes by what a browser adds by itself (XEP-0156 §3, XEP-0206 §9).
    private func addCommon(to headers: inout HTTPHeaders, _ resource: (any WebResource)?) {
        headers.replaceOrAdd(name: "X-Content-Type-Options", value: "nosniff")
        if !headers.contains(name: "Content-Security-Policy") {
            headers.add(name: "Content-Security-Policy", value: resource?.contentPolicy ?? WebSite.contentPolicy)
        }
        headers.replaceOrAdd(name: "Referrer-Policy", value: "no-referrer")
        guard let resource, resource.isForScripts else { return }
        headers.replaceOrAdd(name: "Access-Control-Allow-Origin", value: "*")
        headers.replaceOrAdd(name: "Access-Control-Allow-Methods", value: Self.allowed(resource))
        headers.replaceOrAdd(name: "Access-Control-Allow-Headers", value: resource.requestHeaders)
        headers.replaceOrAdd(name: "Access-Control-Max-Age", value: "86400")
    }

    /// The connection goes on as a WebSocket that carries a client's stream (RFC 6455 §4.2.2).
    func upgrade(_ request: WebRequest, accepting key: String) {
        guard case .answering = state, let context else { return }
        // A proxy's connection is counted for whoever has it now.
        if isFromProxy, let sender = request.sender, let refusal = count.admit(sender, service.admission) {
            service.log.debug("connection refused", metadata: ["address": "\(sender)", "reason": "\(refusal)"])
            return refuse(.serviceUnavailable, "there are too many connections from there")
        }
        let headers: HTTPHeaders = [
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": key, "Sec-WebSocket-Protocol": WebSocketFraming.subprotocol,
        ]
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        let port = peer == request.sender ? remoteAddress : request.sender.map { "\($0)" } ?? remoteAddress
        let connection = WebSocketConnection(
            listener, loop,
            WebSocketConnection.Arrival(peer: request.sender, remoteAddress: port, count: count, tls: tls))
        state = .handedOver
        forget()
        let pipeline = context.pipeline.syncOperations
        for handler in codec { pipeline.removeHandler(handler, promise: nil) }
        do {
            try pipeline.addHandler(connection, position: .after(self))
            pipeline.removeHandler(self, promise: nil)
        } catch {
            // It fails only on a channel that is closed.
            connection.drop()
        }
    }
}

// MARK: Long bodies

extension WebConnection {
    func read(context: ChannelHandlerContext) {
        if isReadingHeld { isReadPending = true } else { context.read() }
    }

    /// Nothing more is read from the client but what is on its way through the pipeline: its own network keeps it waiting.
    func holdReading() { isReadingHeld = true }

    func resumeReading() {
        isReadingHeld = false
        guard isReadPending else { return }
        isReadPending = false
        context?.read()
    }

    /// The client is to send the body (RFC 9110 §15.2.1).
    func sendContinue() {
        guard case .streaming = state else { return }
        context?.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
    }

    /// Something of a long body has passed.
    func noteProgress() {
        switch state {
        case .streaming(let head, let resource, let reader, var transfer):
            transfer.progress(at: loop.now)
            state = .streaming(head, resource, reader, transfer)
        case .sending(var transfer, let keepsAlive):
            transfer.progress(at: loop.now)
            state = .sending(transfer, keepsAlive: keepsAlive)
        case .waiting, .receiving, .answering, .closing, .handedOver: break
        }
    }

    /// Answers a request whose body is not waited for, if there is more of it, and closes behind that. Nothing, if it has been answered.
    func giveUp(_ answer: WebAnswer) {
        if case .streaming(let head, let resource, let reader, _) = state {
            state = .answering(head, resource)
            reader.lost()
            return send(answer, closes: true)
        }
        send(answer, closes: false)
    }

    /// Begins an answer whose body is sent piece by piece.
    ///
    /// - Parameter gone: told once if the connection goes before the last piece.
    /// - Returns: whether there is somebody to answer.
    func begin(_ answer: WebAnswer, bytes: Int, gone: @escaping () -> Void) -> Bool {
        guard case .answering(let request, let resource) = state, let context else { return false }
        let transfer = WebTransfer(bytes: bytes, settings, at: loop.now, acknowledgedBytes: acknowledgedBytes ?? 0)
        state = .sending(transfer, keepsAlive: sendHead(answer, to: request, resource, closes: false, context))
        self.gone = gone
        hang(until: transfer.nextLook(at: loop.now))
        return true
    }

    /// Begins an answer that goes on piece by piece as long as there is something to say, and behind which the connection closes. It counts as no
    /// connection of a stranger's any more: whoever begins one counts it.
    ///
    /// - Parameters:
    ///   - lifetime: after which it is ended by whoever begins it.
    ///   - gone: told once if the connection goes before the end.
    ///   - stops: told once if the server stops before it.
    /// - Returns: whether there is somebody to answer.
    func beginStream(_ answer: WebAnswer, lasting lifetime: TimeAmount, gone: @escaping () -> Void, stops: @escaping () -> Void) -> Bool {
        guard case .answering(let request, let resource) = state, let context else { return false }
        count.leaveUnauthenticated(service.admission)
        let transfer = WebTransfer(lasting: lifetime, settings, at: loop.now, acknowledgedBytes: acknowledgedBytes ?? 0)
        state = .sending(transfer, keepsAlive: sendHead(answer, to: request, resource, closes: true, context))
        (self.gone, self.stops) = (gone, stops)
        hang(until: transfer.nextLook(at: loop.now))
        return true
    }

    /// Bytes that the other side has acknowledged since the connection began; `nil` where the system does not say.
    private var acknowledgedBytes: UInt64? {
        guard let context else { return nil }
        var bytes: UInt64?
        // On its own loop the channel answers at once.
        AcknowledgedBytes.ask(context.channel)?.assumeIsolated().whenSuccess { bytes = $0 }
        return bytes
    }

    /// - Returns: completes when the network has taken the piece.
    func send(_ piece: ByteBuffer) -> EventLoopFuture<Void> {
        guard case .sending = state, let context else { return loop.loop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
        return context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(piece))))
    }

    /// The network has taken the last piece. Not before: until then it is the other side that the connection waits for, and not its next request.
    func endSending() {
        guard case .sending(_, let keepsAlive) = state, let context else { return }
        (gone, stops) = (nil, nil)
        endAnswer(keepsAlive: keepsAlive && !isEnding, context)
    }
}
