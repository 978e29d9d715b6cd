internal import MartletXML
public import NIOCore

/// A stanza that many get: serialised once, without `to`, which is put in for each of them.
@frozen public struct SharedStanza: Sendable, Hashable {
    /// Begins with `<` and the name of the stanza.
    public let bytes: ByteBuffer
    /// Who sent it: what an account that has a block list decides by.
    public let from: JID
    /// Whether it is a presence: who is told by one that others come and go can be told a moment later, of several at once.
    public let isPresence: Bool
    /// Of `<` and the name: `to` is put in behind it.
    private let nameBytes: Int

    /// - Parameter stanza: its `to` counts for nothing.
    public init(_ stanza: Stanza) {
        self.init(stanza.encoded(to: nil), kind: stanza.kind, from: stanza.from)
    }

    /// - Parameter encoded: a stanza without `to`.
    public init(_ encoded: EncodedStanza, kind: StanzaKind, from: JID) {
        bytes = encoded.bytes
        self.from = from
        isPresence = if case .presence = kind { true } else { false }
        nameBytes = Self.nameBytes(of: kind)
    }

    private static func nameBytes(of kind: StanzaKind) -> Int {
        switch kind {
        case .message: "<message".utf8.count
        case .presence: "<presence".utf8.count
        case .iq: "<iq".utf8.count
        }
    }

    public var byteCount: Int { bytes.readableBytes }

    /// Appends the stanza as one of those who get it has it.
    public func write(to buffer: inout ByteBuffer, for recipient: FullJID) {
        recipient.withUTF8 { buffer.append(bytes, inserting: "to", $0, at: nameBytes) }
    }

    /// The same in two pieces, of which the second is shared with everybody: for long ones.
    public func pieces(for recipient: FullJID) -> (own: ByteBuffer, shared: ByteBuffer) {
        var (head, tail) = (bytes, bytes)
        head.moveWriterIndex(to: bytes.readerIndex + nameBytes)
        tail.moveReaderIndex(forwardBy: nameBytes)
        return (recipient.withUTF8 { head.inserting("to", $0, at: nameBytes) }, tail)
    }

    /// The same by itself. Takes one allocation.
    public func addressed(to recipient: FullJID) -> EncodedStanza {
        EncodedStanza(recipient.withUTF8 { bytes.inserting("to", $0, at: nameBytes) })
    }
}
