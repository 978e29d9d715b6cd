internal import NIOCore

/// Writes several pieces into room that was reserved for them at once: each append of its own to a `ByteBuffer` takes some two hundred
/// instructions. Refuses to write past the end.
struct ByteCursor {
    private var next: UnsafeMutableRawPointer
    private var room: Int

    @inline(__always)
    fileprivate init(_ next: UnsafeMutableRawPointer, room: Int) {
        self.next = next
        self.room = room
    }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        precondition(bytes.count <= room, "more was written than was reserved")
        next.copyMemory(from: start, byteCount: bytes.count)
        next += bytes.count
        room -= bytes.count
    }

    @inline(__always)
    mutating func put(_ literal: StaticString) {
        put(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// In decimal digits, of which there are ``digits(of:)``.
    mutating func put(decimal number: UInt64) {
        let count = Self.digits(of: number)
        precondition(count <= room, "more was written than was reserved")
        var rest = number
        for place in stride(from: count - 1, through: 0, by: -1) {
            next.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
            rest /= 10
        }
        next += count
        room -= count
    }

    static func digits(of number: UInt64) -> Int {
        var count = 1
        var rest = number / 10
        while rest > 0 {
            count += 1
            rest /= 10
        }
        return count
    }

    fileprivate var roomLeft: Int { room }
}

extension ByteBuffer {
    /// Appends at most `count` bytes.
    @inline(__always)
    mutating func append(atMost count: Int, _ fill: (inout ByteCursor) -> Void) {
        writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            guard let start = target.baseAddress else { return 0 }
            var cursor = ByteCursor(start, room: count)
            fill(&cursor)
            return count - cursor.roomLeft
        }
    }
}
