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

    /// In decimal digits, at most ``decimalDigitsMax``.
    mutating func put(decimal number: UInt64) {
        withUnsafeTemporaryAllocation(byteCount: Self.decimalDigitsMax, alignment: 1) { digits in
            var first = digits.count
            var rest = number
            repeat {
                let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
                first -= 1
                digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
                rest = quotient
            } while rest > 0
            put(UnsafeRawBufferPointer(rebasing: digits[first...]))
        }
    }

    static let decimalDigitsMax = 20

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
