import NIOCore

/// What is written to a connection and not handed on yet: the stanzas of a burst become one piece, which is one entry in the network's queue
/// and one TLS record instead of one for each.
struct OutgoingPieces {
    /// Stanzas of one burst are put together up to this, the length of a TLS record. A longer one goes on as it is.
    static let pieceBytesMax = 16_384

    private var piece = ByteBuffer()
    /// Whether `piece` is nobody else's and grows in place.
    private var isOwn = false

    var byteCount: Int { piece.readableBytes }
    var isEmpty: Bool { piece.readableBytes == 0 }

    /// Whether what is here has to be handed on before so many bytes more.
    func isFull(for bytes: Int) -> Bool { !isEmpty && piece.readableBytes + bytes > Self.pieceBytesMax }

    /// Adds bytes that somebody else may get too: nobody else's change.
    mutating func append(_ bytes: ByteBuffer) {
        if isEmpty {
            piece = bytes
            isOwn = false
        } else if isOwn {
            piece.writeImmutableBuffer(bytes)
        } else {
            // What is there is shared with whoever else gets it. Room for as much again spares most copies of what follows.
            var joined = ByteBufferAllocator().buffer(capacity: 2 * (piece.readableBytes + bytes.readableBytes))
            joined.writeImmutableBuffer(piece)
            joined.writeImmutableBuffer(bytes)
            piece = joined
            isOwn = true
        }
    }

    /// Adds what `write` puts there, about so many bytes.
    mutating func append(about bytes: Int, roomMin: Int, _ write: (inout ByteBuffer) -> Void) {
        if !isOwn {
            var own = ByteBufferAllocator().buffer(capacity: max(roomMin, 2 * (piece.readableBytes + bytes)))
            own.writeImmutableBuffer(piece)
            piece = own
            isOwn = true
        }
        write(&piece)
    }

    /// Everything, to be handed on. Nothing is kept of it: a connection that is idle holds no buffer.
    mutating func take() -> ByteBuffer? {
        guard !isEmpty else { return nil }
        let taken = piece
        piece = ByteBuffer()
        isOwn = false
        return taken
    }
}
