import MartletNetwork
import NIOCore

/// Frames mean the same in whatever pieces they come; no more is kept of them than a message may have, and what is wrong stays wrong.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzWebSocket(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard bytes.count > 2 else { return 0 }
    let (piece, bytesMax) = (1 + Int(bytes[0]) % 16, Int(bytes[1]) * 4)
    let frames = Array(bytes.dropFirst(2))
    let whole = Outcome(of: frames, piece: frames.count, bytesMax)
    precondition(Outcome(of: frames, piece: piece, bytesMax) == whole, "in pieces they mean something else")
    for case .text(let message) in whole.events { precondition(message.readableBytes <= bytesMax, "a message is longer than it may be") }
    return 0
}

private struct Outcome: Equatable {
    var events: [WebSocketReader.Event] = []
    var fault: WebSocketReader.Fault?

    init(of bytes: [UInt8], piece: Int, _ bytesMax: Int) {
        var reader = WebSocketReader()
        var rest = bytes[...]
        while !rest.isEmpty, fault == nil {
            // Not at index 0.
            var input = ByteBuffer(bytes: [0x50] + rest.prefix(piece))
            input.moveReaderIndex(to: 1)
            rest = rest.dropFirst(piece)
            take(&input, &reader, bytesMax)
        }
    }

    private mutating func take(_ input: inout ByteBuffer, _ reader: inout WebSocketReader, _ bytesMax: Int) {
        do {
            while let event = try reader.next(from: &input, bytesMax: bytesMax) { events.append(event) }
            precondition(input.readableBytes == 0, "something was left")
            precondition(reader.pendingByteCount <= bytesMax + WebSocketReader.controlBytesMax + Self.headBytesMax, "more is kept than may be")
        } catch {
            fault = error
        }
    }

    /// Longest header of a frame (RFC 6455 §5.2).
    private static let headBytesMax = 14
}
