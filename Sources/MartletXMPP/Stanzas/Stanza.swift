public import MartletXML
public import NIOCore

/// The types of the three stanza kinds (RFC 6120 §8.2.3, RFC 6121 §4.7.1 and §5.2.2).
public enum MessageType: UInt8, Hashable, Sendable { case normal, chat, groupchat, headline, error }
public enum PresenceType: UInt8, Hashable, Sendable {
    case available, unavailable, subscribe, subscribed, unsubscribe, unsubscribed, probe, error
}
public enum IQType: UInt8, Hashable, Sendable { case get, set, result, error }

/// Kind and type of a stanza, read once.
public enum StanzaKind: Hashable, Sendable {
    case message(MessageType), presence(PresenceType), iq(IQType)

    public var isError: Bool {
        switch self {
        case .message(let type): type == .error
        case .presence(let type): type == .error
        case .iq(let type): type == .error
        }
    }
}

/// One stanza: the bytes as they arrived, its envelope read once, and what was taken from or added to it on its way.
///
/// The element itself never changes: it is shared between sessions, loops and the log. Edits are kept beside it and take
/// effect when the stanza is encoded.
@frozen public struct Stanza: Sendable {
    public let element: FlatElement
    public let kind: StanzaKind
    /// Set by the server, whatever the sender wrote (RFC 6120 §8.1.2.1).
    public var from: JID
    /// `nil` when the sender left it out: the sender's own account, or the server on its behalf (RFC 6120 §10.3).
    public var to: JID?
    /// Direct children, by their place among the element's children, that leave the stanza.
    public private(set) var omitted: [Int] = []
    /// Elements added after the stanza's own children, as written by `XMLWriter` in the stream's content namespace.
    public private(set) var added = ByteBuffer()

    @inlinable public init(_ element: FlatElement, kind: StanzaKind, from: JID, to: JID?) {
        self.element = element
        self.kind = kind
        self.from = from
        self.to = to
    }

    /// As given by the sender; empty if it gave none.
    public var id: String? { element.root.attribute("id") }
    public var isEdited: Bool { !omitted.isEmpty || added.readableBytes > 0 }

    public mutating func omitChild(at index: Int) { omitted.append(index) }
    /// Adds what `write` writes, in the content namespace.
    public mutating func add(_ write: (inout XMLWriter) -> Void) {
        // Taken out for the time being, so that it grows in place.
        var writer = XMLWriter(added.capacity > 0 ? added : ByteBufferAllocator().buffer(capacity: Self.addedRoom))
        added = ByteBuffer()
        write(&writer)
        added = writer.buffer
    }
    /// Bytes set aside for what is added: a stanza-id and more.
    private static let addedRoom = 128

    /// Whether a direct child of that name was sent and has not been taken away.
    public func hasChild(_ local: StaticString, _ namespace: Namespace) -> Bool {
        if omitted.isEmpty { return element.root.firstChild(local, namespace) != nil }
        let gone = Set(omitted)
        for (index, child) in element.root.children.enumerated() where child.isNamed(local, namespace) {
            if !gone.contains(index) { return true }
        }
        return false
    }

    /// Takes away every direct child of that name.
    public mutating func omitChildren(_ local: StaticString, _ namespace: Namespace) {
        let gone = Set(omitted)
        for (index, child) in element.root.children.enumerated() where child.isNamed(local, namespace) {
            if !gone.contains(index) { omitted.append(index) }
        }
    }
}

/// A stanza as bytes for the wire, serialised once however many sessions get it.
///
/// Its start tag carries no declaration of the content namespace, so the same bytes serve client and server streams.
@frozen public struct EncodedStanza: Sendable, Hashable {
    public var bytes: ByteBuffer
    @inlinable public init(_ bytes: ByteBuffer) { self.bytes = bytes }

    /// By how it begins.
    public var isPresence: Bool { bytes.readableBytesView.starts(with: Array("<presence".utf8)) }
    public var isMessage: Bool { bytes.readableBytesView.starts(with: Array("<message".utf8)) }
}

extension Stanza {
    /// The stanza as it goes out: `from` and `to` as they are set here, other attributes as sent, edits applied.
    public func encoded() -> EncodedStanza { encoded(to: to) }

    /// The same for a recipient whose address differs from ``to``, such as a session of the account.
    public func encoded(to recipient: JID?) -> EncodedStanza {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: encodedBytesUsual(recipient)))
        write(to: &writer, recipient: recipient)
        return EncodedStanza(writer.buffer)
    }

    /// The stanza as it goes out, with what `add` writes behind everything else, in the content namespace.
    public func encoded(adding add: (inout XMLWriter) -> Void) -> EncodedStanza {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: encodedBytesUsual(to) + Self.addedRoom))
        write(to: &writer, recipient: to, adding: add)
        return EncodedStanza(writer.buffer)
    }

    /// Both, in one piece of memory: as the message log keeps it and as the recipient gets it.
    public func encodedTwice(adding add: (inout XMLWriter) -> Void) -> (without: EncodedStanza, with: EncodedStanza) {
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: 2 * encodedBytesUsual(to) + Self.addedRoom))
        write(to: &writer, recipient: to)
        let middle = writer.buffer.writerIndex
        write(to: &writer, recipient: to, adding: add)
        var (first, second) = (writer.buffer, writer.buffer)
        first.moveWriterIndex(to: middle)
        second.moveReaderIndex(to: middle)
        return (EncodedStanza(first), EncodedStanza(second))
    }

    /// The bytes as sent, both addresses and what was added.
    private func encodedBytesUsual(_ recipient: JID?) -> Int {
        element.byteCount + added.readableBytes + from.withUTF8 { $0.count } + (recipient?.withUTF8 { $0.count } ?? 0) + 64
    }

    /// The same within something else, such as a forwarded stanza (XEP-0297).
    public func write(to writer: inout XMLWriter, recipient: JID?) {
        if !isEdited, splice(to: &writer, recipient) { return }
        write(to: &writer, recipient: recipient) { _ in }
    }

    private func write(to writer: inout XMLWriter, recipient: JID?, adding add: (inout XMLWriter) -> Void) {
        if omitted.isEmpty, splice(to: &writer, recipient, adding: add) { return }
        writer.open(copying: element.root, setting: ["from": from.description, "to": recipient?.description])
        if omitted.isEmpty {
            writer.appendContent(of: element.root)
        } else {
            // By where they stand: the writer may ask about a child more than once.
            let omitted = Set(omitted)
            let starts = Set(element.root.children.enumerated().filter { omitted.contains($0.offset) }.map(\.element.byteRange.lowerBound))
            writer.appendContent(of: element.root) { !starts.contains($0.byteRange.lowerBound) }
        }
        if added.readableBytes > 0 { writer.raw(added) }
        add(&writer)
        writer.close()
    }

    /// The bytes as they came with other addresses, if that is allowed.
    private func splice(to writer: inout XMLWriter, _ recipient: JID?) -> Bool {
        withAddresses(recipient) { from, to in writer.splice(element, from: from, to: to) }
    }

    private func splice(to writer: inout XMLWriter, _ recipient: JID?, adding add: (inout XMLWriter) -> Void) -> Bool {
        withAddresses(recipient) { from, to in
            writer.splice(element, from: from, to: to) { writer in
                if added.readableBytes > 0 { writer.raw(added) }
                add(&writer)
            }
        }
    }

    private func withAddresses(_ recipient: JID?, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Bool) -> Bool {
        from.withUTF8 { from in
            guard let recipient else { return body(from, UnsafeRawBufferPointer(start: nil, count: 0)) }
            return recipient.withUTF8 { body(from, $0) }
        }
    }
}

extension MessageType {
    /// An unknown type is `normal` (RFC 6121 §5.2.2).
    public init(of element: ElementView) {
        if element.attributeEquals("type", "chat") { self = .chat }
        else if element.attributeEquals("type", "groupchat") { self = .groupchat }
        else if element.attributeEquals("type", "headline") { self = .headline }
        else if element.attributeEquals("type", "error") { self = .error }
        else { self = .normal }
    }
    public var name: StaticString {
        switch self {
        case .normal: "normal"
        case .chat: "chat"
        case .groupchat: "groupchat"
        case .headline: "headline"
        case .error: "error"
        }
    }
}

extension PresenceType {
    /// `nil` for a type that RFC 6121 §4.7.1 does not know: such a presence is answered with `bad-request`.
    public init?(of element: ElementView) {
        guard let type = element.attribute("type") else { self = .available; return }
        switch type {
        case "unavailable": self = .unavailable
        case "subscribe": self = .subscribe
        case "subscribed": self = .subscribed
        case "unsubscribe": self = .unsubscribe
        case "unsubscribed": self = .unsubscribed
        case "probe": self = .probe
        case "error": self = .error
        default: return nil
        }
    }
    public var name: StaticString? {
        switch self {
        case .available: nil
        case .unavailable: "unavailable"
        case .subscribe: "subscribe"
        case .subscribed: "subscribed"
        case .unsubscribe: "unsubscribe"
        case .unsubscribed: "unsubscribed"
        case .probe: "probe"
        case .error: "error"
        }
    }
}

extension IQType {
    /// `nil` where the required type is missing or unknown (RFC 6120 §8.2.3).
    public init?(of element: ElementView) {
        if element.attributeEquals("type", "get") { self = .get }
        else if element.attributeEquals("type", "set") { self = .set }
        else if element.attributeEquals("type", "result") { self = .result }
        else if element.attributeEquals("type", "error") { self = .error }
        else { return nil }
    }
    public var name: StaticString {
        switch self {
        case .get: "get"
        case .set: "set"
        case .result: "result"
        case .error: "error"
        }
    }
}
