public import MartletXML
public import NIOCore

extension Namespace {
    /// What frames a stream over WebSocket (RFC 7395 §3.3.1).
    public static let framing: Namespace = "urn:ietf:params:xml:ns:xmpp-framing"
}

/// The stream as it travels over WebSocket: each message holds one element, and none contains the others (RFC 7395 §3.3).
public enum WebSocketFraming {
    /// The subprotocol, as it is named in the handshake (§3.1).
    public static let subprotocol = "xmpp"

    /// What one message of the client's is to the stream.
    ///
    /// - Parameters:
    ///   - message: one document without an XML declaration. Nothing is declared outside: a stanza names its own namespace.
    ///   - scratch: the event loop's.
    public static func event(of message: ByteBuffer, limits: XMLLimits, scratch: XMLParserScratch) throws(XMLError) -> XMLStreamEvent {
        let element = try parseElement(message, limits: limits, defaultNamespace: .none, scratch: scratch)
        guard element.root.isIn(.framing) else { return .element(element) }
        if element.isNamed("open", .framing) { return .opened(element) }
        return element.isNamed("close", .framing) ? .closed : .element(element)
    }

    /// What an element declares that was written to be read inside a TCP stream's header and is read alone now (§3.3.3); `nil` if it
    /// declares it itself. It belongs behind the element's name, which ends at `place`.
    public static func declaration(for element: ByteBuffer) -> (text: StaticString, place: Int)? {
        element.withUnsafeReadableBytes { bytes in
            var end = 1
            while end < bytes.count, !isNameEnd(bytes[end]) { end += 1 }
            guard end > 1 else { return nil }
            let name = bytes[1..<end]
            if name.starts(with: "stream:".utf8) { return (" xmlns:stream='http://etherx.jabber.org/streams'", end) }
            let isStanza = name.elementsEqual("message".utf8) || name.elementsEqual("presence".utf8) || name.elementsEqual("iq".utf8)
            return isStanza && !declaresDefault(bytes, from: end) ? (" xmlns='jabber:client'", end) : nil
        }
    }

    private static func isNameEnd(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/") || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    /// Whether the start tag has an `xmlns`. Whatever was written here has its values in quotes and no `>` outside them.
    private static func declaresDefault(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Bool {
        var quote: UInt8?
        var index = start
        while index < bytes.count {
            let byte = bytes[index]
            if let open = quote {
                if byte == open { quote = nil }
            } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
                quote = byte
            } else if byte == UInt8(ascii: ">") {
                return false
            } else if byte == UInt8(ascii: "x"), isNameEnd(bytes[index - 1]), bytes[index...].starts(with: "xmlns".utf8), index + 5 < bytes.count,
                bytes[index + 5] != UInt8(ascii: ":")
            {
                return true
            }
            index += 1
        }
        return false
    }
}

extension StreamHeader {
    /// Reads `<open/>` (RFC 7395 §3.4).
    public init(open element: FlatElement) throws(StreamError) {
        guard element.isNamed("open", .framing) else { throw StreamError(.badFormat, "A stream begins with <open/>.") }
        try self.init(attributesOf: element.root, version: element.attribute("version"))
    }
}

extension ClientStreamMachine.Action {
    /// What the action puts on the wire of a WebSocket, each element by itself (RFC 7395 §3.3.3): nothing for those that only say what to do.
    ///
    /// - Parameter extras: writes what the features of the host announce to those who have logged in.
    public func webSocketMessages(extras: (inout XMLWriter) -> Void = { _ in }) -> [ByteBuffer] {
        switch self {
        case .wait, .lookUp, .consult, .lookUpTokens, .seekUpgrades, .upgrade, .conclude, .register, .admit, .bind, .bindInline, .resume, .manage, .indicate, .deliver,
            .proceed, .refuseTLS:
            []
        case .open(let header, let features): [header.open(), Self.alone { features.write(to: &$0, extras: extras) }]
        case .challenge, .requestUpgrade, .describeUpgrade, .succeed, .fail, .confirmBind, .managed, .answer, .answerStranger: [Self.alone { write(to: &$0) }]
        case .complete(let success):
            [
                Self.alone { success.write(to: &$0) }, success.features.map { features in Self.alone { features.write(to: &$0, extras: extras) } },
            ].compactMap { $0 }
        case .failFinally(let failure, let error, let profile):
            [Self.alone { failure.write(to: &$0, profile) }, Self.alone { error.write(to: &$0) }, Self.end]
        case .close(let error, let header):
            [header?.open(), error.map { error in Self.alone { error.write(to: &$0) } }, Self.end].compactMap { $0 }
        case .finish(let sendsEnd): sendsEnd ? [Self.end] : []
        }
    }

    private static func alone(_ write: (inout XMLWriter) -> Void) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.isStreamPrefixDeclared = false
        write(&writer)
        return writer.buffer
    }

    private static var end: ByteBuffer { alone { $0.element("close", .framing) } }
}

extension ServerStreamHeader {
    /// `<open/>`, the header of a stream over WebSocket (RFC 7395 §3.4).
    fileprivate func open() -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("open", .framing, ["from": from, "to": to?.description, "id": id, "version": "1.0", "xml:lang": "en"])
        return writer.buffer
    }
}
