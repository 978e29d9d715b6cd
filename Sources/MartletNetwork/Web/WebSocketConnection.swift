import MartletCore
import MartletXML
package import MartletXMPP
package import NIOCore

/// The connection of a client that has gone from HTTP to WebSocket (RFC 7395): frames instead of a stream of bytes, everything else is a
/// ``ClientConnection``'s.
package final class WebSocketConnection: ClientConnection {
    /// RFC 6455 §7.4.1.
    private enum CloseCode {
        static let normal: UInt16 = 1000
        static let protocolError: UInt16 = 1002
    }

    private var reader = WebSocketReader()
    private var limits: XMLLimits
    /// Our close frame has been sent: nothing follows it.
    private var hasClosed = false
    private let arrival: Arrival

    /// What was known of the client when it was still speaking HTTP.
    struct Arrival {
        var peer: NetworkAddress?
        var remoteAddress: String
        var count: ConnectionCount
        /// Where TLS ends here, and not at a proxy: there alone authentications can be tied to it.
        var tls: ClientTLS?
    }

    init(_ listener: ClientListener, _ loop: NetworkLoop, _ arrival: Arrival) {
        limits = listener.service.settings.limitsBeforeAuthentication
        self.arrival = arrival
        super.init(listener, loop)
        // Encrypted by this server or by a proxy, or the operator allows it without: there is nothing to start in the stream (RFC 7395 §3.8).
        stream.machine = ClientStreamMachine(bindings: arrival.tls?.bindings ?? [], version: arrival.tls?.version)
        stream.count = arrival.count
    }

    override func began(_ context: ChannelHandlerContext) {
        peer = arrival.peer
        remoteAddress = arrival.remoteAddress
        stream.begin()
    }

    // MARK: From the client

    override func nextEvent(from input: inout ByteBuffer) throws(XMLError) -> XMLStreamEvent? {
        while let event = try nextFrame(from: &input) {
            switch event {
            case .text(let message):
                // What comes behind our close frame was sent before ours arrived.
                if !hasClosed { return try WebSocketFraming.event(of: message, limits: limits, scratch: loop.scratch) }
            case .ping(let payload): answer(payload)
            case .pong: break
            case .close(let code):
                leave(code)
                return nil
            }
        }
        return nil
    }

    private func nextFrame(from input: inout ByteBuffer) throws(XMLError) -> WebSocketReader.Event? {
        do throws(WebSocketReader.Fault) {
            return try reader.next(from: &input, bytesMax: limits.stanzaBytesMax)
        } catch {
            switch error {
            // A stream error says what the code of WebSocket cannot.
            case .tooLong:
                closeCode = error.rawValue
                throw .limitExceeded(.stanzaBytes)
            case .protocolError, .unsupportedData:
                stream.endReason = "the client broke the WebSocket protocol"
                closeCode = error.rawValue
                sayClose()
                failInput()
                closeConnection()
                return nil
            }
        }
    }

    private var closeCode = CloseCode.normal

    override func failed(_ error: XMLError) {
        super.failed(error)
        sayClose()
    }

    /// RFC 6455 §5.5.3: only the latest ping has to be answered, and none while the network takes no more.
    private func answer(_ ping: ByteBuffer) {
        if !isNetworkSlow, !hasClosed { add(WebSocketFrame.pong(ping)) }
    }

    /// The client closes the WebSocket. Without `<close/>` before it the session may be resumed (RFC 7395 §3.6).
    private func leave(_ code: UInt16?) {
        if stream.session != nil { stream.endReason = "the client closed the connection" }
        closeCode = code.map { Self.isSendable($0) ? $0 : CloseCode.protocolError } ?? CloseCode.normal
        sayClose()
        failInput()
        closeConnection()
    }

    /// RFC 6455 §7.4.
    private static func isSendable(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1011, 3000...4999: true
        default: false
        }
    }

    override func take(_ event: XMLStreamEvent) {
        if case .opened(let header) = event { stream.openedWebSocket(header) } else { super.take(event) }
    }

    override var isOver: Bool { false }
    override var pendingByteCount: Int { reader.pendingByteCount }
    override func setLimits(_ limits: XMLLimits) { self.limits = limits }
    override func restart() {}

    // MARK: To the client

    package override func write(_ bytes: ByteBuffer) {
        let declaration = WebSocketFraming.declaration(for: bytes)
        write(bytes, inserting: declaration?.text ?? "", at: declaration?.place ?? 0)
    }

    package override func write(_ stanza: SharedStanza, to recipient: FullJID) { write(stanza.addressed(to: recipient).bytes) }

    override func send(_ action: ClientStreamMachine.Action, extras: (inout XMLWriter) -> Void) {
        for message in action.webSocketMessages(extras: extras) { write(message, inserting: "", at: 0) }
    }

    /// One message of text, which is one element.
    private func write(_ element: ByteBuffer, inserting text: StaticString, at place: Int) {
        guard context != nil, !hasClosed, element.readableBytes > 0 else { return }
        let length = element.readableBytes + text.utf8CodeUnitCount
        let (head, tail) = (element.getSlice(at: element.readerIndex, length: place), element.getSlice(at: element.readerIndex + place, length: element.readableBytes - place))
        let begin: (inout ByteBuffer) -> Void = { buffer in
            WebSocketFrame.writeTextHead(length, to: &buffer)
            if let head { buffer.writeImmutableBuffer(head) }
            buffer.writeStaticString(text)
        }
        guard length <= Self.ownPieceBytes else {
            // A long one is not copied.
            var own = ByteBuffer()
            begin(&own)
            add(own)
            if let tail { add(tail) }
            return
        }
        add(about: length + WebSocketFrame.headBytesMax) { buffer in
            begin(&buffer)
            if let tail { buffer.writeImmutableBuffer(tail) }
        }
    }

    /// Says goodbye as WebSocket does; nothing can be said after that.
    private func sayClose() {
        guard !hasClosed else { return }
        add(WebSocketFrame.close(closeCode))
        hasClosed = true
        flush()
    }

    /// The client's close frame is awaited for a bounded time (RFC 6455 §7.1.1): one of ours that it could not read any more would look
    /// like a broken connection.
    override func closeAfterFlush() {
        sayClose()
        stream.awaitEnd()
    }

    private func closeConnection() {
        flush()
        context?.close(promise: nil)
    }
}
