/// Prepared addresses that were seen lately, found again by their bytes: one per connection or per loop.
///
/// A stream says the same few addresses over and over; finding one here costs no allocation and no preparation.
/// Only spellings that are already prepared are found (an address prepares to itself), which nearly all are: the others
/// are prepared each time. Each address has one place, and a newer one takes it over: two that meet there cost
/// a preparation each time, which is what no cache costs.
public struct JIDCache {
    private var slots: [JID?] = []
    private let slotCount: Int

    /// Keeps at most `capacity` addresses, rounded up to a power of two; memory is taken with the first of them.
    public init(capacity: Int) {
        precondition(1...65_536 ~= capacity, "a cache of addresses has between one and 65,536 places")
        slotCount = 1 << (Int.bitWidth - (capacity - 1).leadingZeroBitCount)
    }

    /// The prepared address, found or made.
    public mutating func jid(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> JID {
        let slot = JIDCache.place(of: bytes) & (slotCount - 1)
        if slot < slots.count, let jid = slots[slot], jid.withUTF8({ $0.hasSameBytes(as: bytes) }) { return jid }
        let jid = try JID(parsing: bytes)
        if slots.isEmpty { slots = Array(repeating: nil, count: slotCount) }
        slots[slot] = jid
        return jid
    }

    /// Looks at the length and at eight octets each at the start, in the middle and at the end. A peer can choose
    /// addresses that meet in one place, and slows down itself.
    private static func place(of bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count >= 8 else { return bytes.reduce(bytes.count) { $0 &* 31 &+ Int($1) } }
        let last = bytes.count - 8
        var hash = UInt64(truncatingIfNeeded: bytes.count)
        for offset in [0, last / 2, last] {
            hash = (hash ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 32
        }
        return Int(truncatingIfNeeded: hash)
    }
}
