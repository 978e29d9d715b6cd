/// What stands in front of the bytes of a prepared address.
@frozen @usableFromInline
struct JIDHeader {
    @usableFromInline var localpartBytes: UInt16
    @usableFromInline var domainpartBytes: UInt16
    @usableFromInline var resourcepartBytes: UInt16
    @usableFromInline var shardHash: UInt32
    /// `Hasher`'s result over the bare address, seeded for this process.
    @usableFromInline var bareHash: Int
    /// The same over the whole address.
    @usableFromInline var fullHash: Int

    /// Octets of `localpart@domainpart`.
    @inlinable var bareBytes: Int {
        localpartBytes == 0 ? Int(domainpartBytes) : Int(localpartBytes) &+ 1 &+ Int(domainpartBytes)
    }
    /// Octets of the whole address.
    @inlinable var fullBytes: Int {
        resourcepartBytes == 0 ? bareBytes : bareBytes &+ 1 &+ Int(resourcepartBytes)
    }
}

/// One prepared address in one allocation: lengths, hashes, and the bytes as they are written on the wire.
///
/// A bare address that was taken out of a full one keeps the full one's storage and does not look at its
/// resourcepart. Nothing is changed after ``make(localpart:domainpart:resourcepart:)``, so loops may share it.
@usableFromInline
final class JIDStorage: ManagedBuffer<JIDHeader, UInt8> {
    /// ``header`` without the run-time check of exclusivity that a stored property of a class has: nobody writes it any more.
    @inlinable var lengths: JIDHeader { withUnsafeMutablePointerToHeader { $0.pointee } }

    /// The octets of the whole address.
    @inlinable
    func withFullBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafeMutablePointers { (header, bytes) throws(Failure) -> Result in
            try body(UnsafeRawBufferPointer(start: bytes, count: header.pointee.fullBytes))
        }
    }

    /// The octets of `localpart@domainpart`.
    @inlinable
    func withBareBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafeMutablePointers { (header, bytes) throws(Failure) -> Result in
            try body(UnsafeRawBufferPointer(start: bytes, count: header.pointee.bareBytes))
        }
    }

    /// The octets of one part; none if the address has no such part.
    @inlinable
    func withBytes<Result, Failure: Error>(
        of part: JIDPart, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try withUnsafeMutablePointers { (header, bytes) throws(Failure) -> Result in
            let range = JIDStorage.range(of: part, in: header.pointee)
            return try body(UnsafeRawBufferPointer(start: bytes + range.lowerBound, count: range.count))
        }
    }

    @inlinable
    static func range(of part: JIDPart, in header: JIDHeader) -> Range<Int> {
        let bare = header.bareBytes
        switch part {
        case .localpart: return 0..<Int(header.localpartBytes)
        case .domainpart: return (bare &- Int(header.domainpartBytes))..<bare
        case .resourcepart: return (header.fullBytes &- Int(header.resourcepartBytes))..<header.fullBytes
        }
    }
}

extension JIDStorage {
    /// Joins three prepared parts. The caller has checked that none is longer than ``BareJID/partBytesMax``.
    static func make(
        localpart: UnsafeRawBufferPointer, domainpart: UnsafeRawBufferPointer, resourcepart: UnsafeRawBufferPointer
    ) -> JIDStorage {
        make(
            localpartBytes: localpart.count, domainpartBytes: domainpart.count, resourcepartBytes: resourcepart.count
        ) { bytes in
            var next = bytes
            next.append(localpart)
            if localpart.count > 0 { next.append("@") }
            next.append(domainpart)
            if resourcepart.count > 0 { next.append("/") }
            next.append(resourcepart)
        }
    }

    /// Makes the storage for parts of these lengths; `fill` writes all octets, then the hashes are computed.
    @inline(__always)
    static func make(
        localpartBytes: Int, domainpartBytes: Int, resourcepartBytes: Int, fill: (UnsafeMutablePointer<UInt8>) -> Void
    ) -> JIDStorage {
        var header = JIDHeader(
            localpartBytes: UInt16(localpartBytes), domainpartBytes: UInt16(domainpartBytes),
            resourcepartBytes: UInt16(resourcepartBytes), shardHash: 0, bareHash: 0, fullHash: 0)
        let object = JIDStorage.create(minimumCapacity: header.fullBytes) { _ in header }
        object.withUnsafeMutablePointers { stored, bytes in
            fill(bytes)
            header.computeHashes(of: bytes)
            stored.pointee = header
        }
        return unsafeDowncast(object, to: JIDStorage.self)
    }

    /// The bare address alone, as bytes of its own: what a table that lives long should keep.
    func bareCopy() -> JIDStorage {
        withBytes(of: .localpart) { localpart in
            withBytes(of: .domainpart) { domainpart in
                .make(localpart: localpart, domainpart: domainpart, resourcepart: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
    }

    /// Compares what the pointers did not decide: hashes, lengths, bytes.
    @usableFromInline
    static func bareEqual(_ a: JIDStorage, _ b: JIDStorage) -> Bool {
        a.withUnsafeMutablePointers { one, left in
            b.withUnsafeMutablePointers { other, right in
                guard one.pointee.bareHash == other.pointee.bareHash, one.pointee.localpartBytes == other.pointee.localpartBytes else {
                    return false
                }
                return UnsafeRawBufferPointer(start: left, count: one.pointee.bareBytes)
                    .hasSameBytes(as: UnsafeRawBufferPointer(start: right, count: other.pointee.bareBytes))
            }
        }
    }

    /// The same for the whole address.
    @usableFromInline
    static func fullEqual(_ a: JIDStorage, _ b: JIDStorage) -> Bool {
        a.withUnsafeMutablePointers { one, left in
            b.withUnsafeMutablePointers { other, right in
                guard one.pointee.fullHash == other.pointee.fullHash, one.pointee.localpartBytes == other.pointee.localpartBytes,
                    one.pointee.domainpartBytes == other.pointee.domainpartBytes
                else { return false }
                return UnsafeRawBufferPointer(start: left, count: one.pointee.fullBytes)
                    .hasSameBytes(as: UnsafeRawBufferPointer(start: right, count: other.pointee.fullBytes))
            }
        }
    }
}

extension JIDHeader {
    fileprivate mutating func computeHashes(of bytes: UnsafePointer<UInt8>) {
        let whole = UnsafeRawBufferPointer(start: bytes, count: fullBytes)
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: whole[..<bareBytes]))
        bareHash = hasher.finalize()
        hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: whole[bareBytes...]))
        fullHash = hasher.finalize()
        shardHash = JIDHeader.shardHash(of: whole[..<bareBytes])
    }

    /// FNV-1a with the final mix of MurmurHash3, so that the low bits alone choose shards evenly.
    ///
    /// Written down because it is stored and sent: processes of different versions must agree.
    private static func shardHash(of bytes: Slice<UnsafeRawBufferPointer>) -> UInt32 {
        var hash: UInt32 = 0x811C_9DC5
        for byte in bytes { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        hash = (hash ^ (hash >> 16)) &* 0x85EB_CA6B
        hash = (hash ^ (hash >> 13)) &* 0xC2B2_AE35
        return hash ^ (hash >> 16)
    }
}

extension UnsafeRawBufferPointer {
    /// Compares eight octets at a time: equality of two addresses took 93 ns with `elementsEqual`, 27 with this.
    func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard count >= 8 else { return elementsEqual(other) }
        var offset = 0
        while offset < count {
            // The last eight may overlap those before.
            let at = Swift.min(offset, count - 8)
            guard loadUnaligned(fromByteOffset: at, as: UInt64.self) == other.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            else { return false }
            offset += 8
        }
        return true
    }
}

extension UnsafeMutablePointer<UInt8> {
    /// Writes `bytes` and moves on behind them.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(start: self, count: bytes.count).copyMemory(from: bytes)
        self += bytes.count
    }
    mutating func append(_ separator: Unicode.Scalar) {
        pointee = UInt8(ascii: separator)
        self += 1
    }
}
