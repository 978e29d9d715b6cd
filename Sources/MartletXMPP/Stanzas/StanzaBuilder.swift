public import MartletXML
import NIOCore

/// Stanzas that the server itself makes.
public enum StanzaBuilder {
    /// A presence of the server's own making, such as `unavailable` for a session that ended (RFC 6121 §4.5.4).
    public static func presence(_ type: PresenceType, from: JID?, to: JID?, id: String? = nil, _ content: (inout XMLWriter) -> Void = { _ in }) -> EncodedStanza {
        build("presence", type: type.name, from: from, to: to, id: id, content)
    }

    public static func message(_ type: MessageType, from: JID?, to: JID?, id: String? = nil, _ content: (inout XMLWriter) -> Void) -> EncodedStanza {
        build("message", type: type == .normal ? nil : type.name, from: from, to: to, id: id, content)
    }

    public static func iq(_ type: IQType, from: JID?, to: JID?, id: String, _ content: (inout XMLWriter) -> Void = { _ in }) -> EncodedStanza {
        build("iq", type: type.name, from: from, to: to, id: id, content)
    }

    /// The error answer to `stanza`: addresses turned round, `id` kept, nothing of the payload returned (RFC 6120 §8.3.1).
    ///
    /// - Parameter from: who answers; the stanza's own addressee unless given.
    public static func error(_ error: StanzaError, answering stanza: Stanza, from: JID? = nil) -> EncodedStanza {
        let name: StaticString
        switch stanza.kind {
        case .message: name = "message"
        case .presence: name = "presence"
        case .iq: name = "iq"
        }
        return build(name, type: "error", from: from ?? stanza.to, to: stanza.from, id: stanza.id) { error.write(to: &$0) }
    }

    private static func build(
        _ name: StaticString, type: StaticString?, from: JID?, to: JID?, id: String?, _ content: (inout XMLWriter) -> Void
    ) -> EncodedStanza {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 256))
        writer.open(name, .client)
        if let from { writer.attribute("from", from) }
        if let to { writer.attribute("to", to) }
        if let type { writer.attribute("type", type.description) }
        if let id { writer.attribute("id", id) }
        content(&writer)
        writer.close()
        return EncodedStanza(writer.buffer)
    }
}

extension XMLWriter {
    /// Adds an attribute whose value is an address.
    public mutating func attribute(_ name: StaticString, _ address: JID) { address.withUTF8 { attribute(name, utf8: $0) } }
    public mutating func attribute(_ name: StaticString, _ address: BareJID) { address.withUTF8 { attribute(name, utf8: $0) } }
}
