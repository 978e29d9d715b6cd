import MartletNetwork
import NIOCore

/// What is said to a client does not depend on the pieces in which it speaks; it is never waited for longer than a request can be; a stream that
/// begins has a name, and what comes behind it is left alone.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBytestream(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let first = bytes.first else { return 0 }
    let said = Array(bytes.dropFirst())
    let whole = Conversation(said, piece: max(1, said.count))
    precondition(Conversation(said, piece: 1 + Int(first) % 16) == whole, "in pieces it is another conversation")
    return 0
}

private struct Conversation: Equatable {
    enum End: Equatable {
        case waiting, refused
        case begun(stream: String, rest: [UInt8])
    }

    var answers: [[UInt8]] = []
    var end = End.waiting
    /// Longest part of the exchange: a greeting with every method.
    private static let bytesMax = 2 + 255

    init(_ bytes: [UInt8], piece: Int) {
        var exchange = SOCKSExchange()
        var buffer = ByteBuffer()
        var rest = bytes[...]
        while end == .waiting, !rest.isEmpty {
            buffer.writeBytes(rest.prefix(piece))
            rest = rest.dropFirst(piece)
            take(&exchange, &buffer)
        }
        if case .begun(let stream, let early) = end { end = .begun(stream: stream, rest: early + rest) }
    }

    private mutating func take(_ exchange: inout SOCKSExchange, _ buffer: inout ByteBuffer) {
        while end == .waiting {
            switch exchange.take(&buffer) {
            case .wait: return precondition(buffer.readableBytes < Self.bytesMax, "more is waited for than can come")
            case .say(let answer): answers.append(answer)
            case .refuse(let answer):
                answers.append(answer)
                end = .refused
            case .begin(let stream, let answer):
                answers.append(answer)
                precondition(stream.utf8.count == 40, "a stream has another name than a digest")
                end = .begun(stream: stream, rest: Array(buffer.readableBytesView))
            }
        }
    }
}
