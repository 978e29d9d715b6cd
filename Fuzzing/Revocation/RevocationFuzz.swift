import MartletNetwork

/// A list of revoked certificates is read or refused; what was read is in it, whatever comes behind it is not overlooked, and a byte less is none.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRevocationList(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let list = try? RevocationList(bytes) else { return 0 }
    precondition(list.count >= 0 && list.numberByteCount <= count && list.numberByteCount >= list.count, "more numbers than bytes")
    precondition((try? RevocationList(bytes + [0])) == nil, "something behind it is overlooked")
    precondition((try? RevocationList(Array(bytes.dropLast()))) == nil, "half of it is enough")
    precondition(!list.contains(serialNumber: []), "there is a number without a byte")
    _ = list.nextUpdate - list.thisUpdate
    return 0
}
