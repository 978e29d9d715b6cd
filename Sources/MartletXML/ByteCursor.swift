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
            // Two digits a step: half the divisions.
            while rest >= 10 {
                let (quotient, pair) = rest.quotientAndRemainder(dividingBy: 100)
                first &-= 2
                precondition(first >= 0)
                digits.storeBytes(of: Self.digits(of: Int(truncatingIfNeeded: pair)), toByteOffset: first, as: UInt16.self)
                rest = quotient
            }
            if rest > 0 || number == 0 {
                first &-= 1
                precondition(first >= 0)
                digits[first] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest)
            }
            put(UnsafeRawBufferPointer(rebasing: digits[first...]))
        }
    }

    /// The two digits of a number below a hundred, as they lie in memory.
    @inline(__always)
    private static func digits(of pair: Int) -> UInt16 {
        precondition(pair >= 0 && pair < 100)
        return UnsafeRawPointer(pairs.utf8Start).loadUnaligned(fromByteOffset: 2 * pair, as: UInt16.self)
    }

    private static let pairs: StaticString = """
        0001020304050607080910111213141516171819\
        2021222324252627282930313233343536373839\
        4041424344454647484950515253545556575859\
        6061626364656667686970717273747576777879\
        8081828384858687888990919293949596979899
        """

    static let decimalDigitsMax = 20

    fileprivate var roomLeft: Int { room }
}

extension ByteBuffer {
    /// Appends at most `count` bytes.
    @inline(__always)
    mutating func append(atMost count: Int, _ fill: (inout ByteCursor) -> Void) {
        append(atMost: count) { (cursor, _) in fill(&cursor) }
    }

    /// The same; `fill` also gets what has been written up to here.
    @inline(__always)
    mutating func append(atMost count: Int, _ fill: (inout ByteCursor, _ written: UnsafeRawBufferPointer) -> Void) {
        reserveCapacity(minimumWritableBytes: count)
        let start = writerIndex
        let written = withVeryUnsafeMutableBytes { storage in
            precondition(start + count <= storage.count, "there is not the room that was reserved")
            guard let base = storage.baseAddress else { return 0 }
            var cursor = ByteCursor(base + start, room: count)
            fill(&cursor, UnsafeRawBufferPointer(start: base, count: start))
            return count - cursor.roomLeft
        }
        moveWriterIndex(forwardBy: written)
    }
}
