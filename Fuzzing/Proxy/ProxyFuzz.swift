import MartletNetwork
import NIOCore

/// Any bytes begin with a header, with a part of one, or with none; the answer does not depend on how many have come since it
/// could be given, and no byte behind the header is taken.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyHeader(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    var known = Reading.incomplete
    for end in 0...bytes.count {
        let reading = Reading(bytes[..<end])
        precondition(known == .incomplete || reading == known, "an answer changes when more has come")
        known = reading
    }
    switch known {
    case .malformed: break
    case .incomplete: precondition(count < Limit.headerBytesMax, "more is asked for than a header can have")
    case .header(let header, let taken):
        precondition(taken <= Limit.headerBytesMax, "a header is longer than it may be")
        guard case .peer(let address, _) = header else { break }
        precondition(NetworkAddress(address.description) == address, "written and read back it is another address")
    }
    return 0
}

private enum Limit {
    /// The fixed part of version 2, and what may follow.
    static let headerBytesMax = 16 + ProxyHeader.extensionBytesMax
}

private enum Reading: Equatable {
    case incomplete, malformed
    case header(ProxyHeader, taken: Int)

    init(_ bytes: ArraySlice<UInt8>) {
        // Not at index 0, and with something behind it that is not to be looked at.
        var buffer = ByteBuffer(bytes: [0x50] + bytes + [0x0D, 0x0A])
        buffer.moveReaderIndex(to: 1)
        buffer.moveWriterIndex(to: 1 + bytes.count)
        do {
            guard let header = try ProxyHeader.read(from: &buffer) else {
                precondition(buffer.readableBytes == bytes.count, "something was taken off an incomplete header")
                self = .incomplete
                return
            }
            self = .header(header, taken: bytes.count - buffer.readableBytes)
        } catch {
            precondition(buffer.readableBytes == bytes.count, "something was taken off a malformed header")
            self = .malformed
        }
    }
}
