package import NIOCore

/// A buffer for each read, given back when what was read has been taken.
///
/// NIO keeps the first buffer of a channel for as long as the channel lives, to read into it again. Most of a server's clients are idle most
/// of the time: 4 KiB for each of them were half of what a session took. So the first buffer is small, and the others are not kept.
package struct ReceiveBuffers: RecvByteBufferAllocator {
    /// Bytes of a connection's first read, the one whose buffer stays: a stream header fits.
    package static let firstBytes = 256

    private let bytes: Int
    private var isFirst = true

    /// - Parameter bytes: of every other read.
    package init(bytes: Int) { self.bytes = bytes }

    package func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: isFirst ? min(Self.firstBytes, bytes) : bytes)
    }

    /// - Returns: `true`, which keeps NIO from reading into the first buffer again.
    package mutating func record(actualReadBytes: Int) -> Bool {
        isFirst = false
        return true
    }

    package func nextBufferSize() -> Int? { nil }
}
