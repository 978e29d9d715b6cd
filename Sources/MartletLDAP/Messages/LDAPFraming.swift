public import NIOCore

/// Cuts what arrives into messages (RFC 4511 §5.1), in whatever pieces it comes.
///
/// Only tags and lengths are looked at. What is longer than allowed is refused as soon as its length is known, before any of it is waited for.
/// After a fault every further question gets the same answer.
public struct LDAPFraming: Sendable {
    /// Longest message that is taken, its tag and length included, in octets. It may change between two messages, as when somebody has bound.
    public var messageBytesMax: Int
    private var pending = ByteBuffer()

    public init(messageBytesMax: Int = LDAPLimits.unauthenticatedMessageBytesMax) { self.messageBytesMax = messageBytesMax }

    /// Octets that have been taken and belong to no message that was given out. Before a StartTLS takes effect there may be none: what came before
    /// it, anybody may have sent (RFC 4511 §4.14.1).
    public var pendingBytes: Int { pending.readableBytes }

    /// Takes what was read. ``next()`` is asked until there is no message any more before more is read: so not much more than one message waits
    /// here.
    public mutating func take(_ bytes: ByteBuffer) {
        guard pendingBytes > 0 else {
            pending = bytes
            return
        }
        pending.discardReadBytes()
        pending.writeImmutableBuffer(bytes)
    }

    /// - Returns: a whole message; `nil` if there has to come more.
    public mutating func next() throws(LDAPFault) -> ByteBuffer? {
        let bytes = pending.readableBytesView
        guard let tag = bytes.first else { return nil }
        guard tag == BERTag.sequence else { throw .notAMessage(tag: tag) }
        guard let header = try BERHeader(bytes, at: bytes.startIndex, end: bytes.endIndex) else { return nil }
        let length = header.headerBytes + header.contentBytes
        guard length <= messageBytesMax else { throw .messageTooLong(bytes: length, max: messageBytesMax) }
        return pending.readSlice(length: length)
    }
}
