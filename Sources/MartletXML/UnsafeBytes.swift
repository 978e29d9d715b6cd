internal import CMartletScan

extension UnsafeRawBufferPointer {
    /// Whether both hold the same bytes; `elementsEqual` of the library goes byte by byte.
    @inline(__always)
    func elementsEqualFast(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let mine = baseAddress, let others = other.baseAddress else { return true }
        return cscan_same(mine.assumingMemoryBound(to: UInt8.self), others.assumingMemoryBound(to: UInt8.self), count)
    }
}
