package import NIOCore

/// The bytes that a WebSocket client sends, into messages (RFC 6455 §5). Pure.
///
/// All input is taken: a header that is not complete, and the part of a message that has arrived, are kept here and nothing else. What is too
/// long is refused when its length is read, before any of it is kept.
package struct WebSocketReader {
    package enum Event: Hashable, Sendable {
        /// A whole message, however many frames it came in.
        case text(ByteBuffer)
        case ping(ByteBuffer)
        case pong
        /// The client closes, for a reason of §7.4 if it gives one.
        case close(UInt16?)
    }

    /// Why the connection fails (§7.1.7), by the code that says so (§7.4.1).
    package enum Fault: UInt16, Error, Hashable, Sendable {
        /// Against the protocol: no mask, reserved bits, a control frame that is long or in pieces, a piece of nothing.
        case protocolError = 1002
        /// A binary frame: XMPP is text (RFC 7395 §3.2).
        case unsupportedData = 1003
        case tooLong = 1009
    }

    /// Longest payload of a control frame (§5.5).
    package static let controlBytesMax = 125
    /// Most frames of one message. A frame may be empty, so that bytes alone bound nothing.
    package static let framesPerMessageMax = 4_096

    private enum Opcode: UInt8 { case continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }

    private struct Frame {
        var opcode: Opcode
        var isFinal: Bool
        var mask: UInt32
        var bytesLeft: Int
        var bytesTaken = 0
    }

    private var frame: Frame?
    /// The beginning of a frame's header.
    private var head = ByteBuffer()
    private var message: ByteBuffer?
    private var frameCount = 0
    private var control = ByteBuffer()

    package init() {}

    /// How many bytes wait here for the rest of what they begin.
    package var pendingByteCount: Int { head.readableBytes + (message?.readableBytes ?? 0) + control.readableBytes }

    /// What comes next; `nil` if more bytes are needed, and then `input` is empty.
    ///
    /// - Parameter bytesMax: of a message.
    package mutating func next(from input: inout ByteBuffer, bytesMax: Int) throws(Fault) -> Event? {
        while true {
            if frame == nil {
                guard let begun = try readHead(&input, bytesMax) else { return nil }
                frame = begun
            }
            takePayload(&input)
            guard let done = frame, done.bytesLeft == 0 else { return nil }
            frame = nil
            if let event = try finish(done) { return event }
        }
    }

    // MARK: Header (§5.2)

    /// Longest header of a frame from a client: two bytes, eight of length, four of mask.
    private static let headBytesMax = 14

    private mutating func readHead(_ input: inout ByteBuffer, _ bytesMax: Int) throws(Fault) -> Frame? {
        guard input.readableBytes > 0 else { return nil }
        guard head.readableBytes > 0 else { return try readHeadInPlace(&input, bytesMax) }
        // Its beginning came in an earlier read.
        let before = head.readableBytes
        var whole = head
        whole.writeImmutableBuffer(input.getSlice(at: input.readerIndex, length: min(input.readableBytes, Self.headBytesMax)) ?? ByteBuffer())
        let length = whole.readableBytes
        guard let frame = try Self.parseHead(&whole, hasMessage: message != nil, held: message?.readableBytes ?? 0, bytesMax) else {
            head.writeBuffer(&input)
            return nil
        }
        input.moveReaderIndex(forwardBy: length - whole.readableBytes - before)
        head = ByteBuffer()
        return frame
    }

    private mutating func readHeadInPlace(_ input: inout ByteBuffer, _ bytesMax: Int) throws(Fault) -> Frame? {
        if let frame = try Self.parseHead(&input, hasMessage: message != nil, held: message?.readableBytes ?? 0, bytesMax) { return frame }
        head = ByteBuffer()
        head.writeBuffer(&input)
        return nil
    }

    /// Takes a header off the front of `bytes`; nothing if it is not complete.
    private static func parseHead(_ bytes: inout ByteBuffer, hasMessage: Bool, held: Int, _ bytesMax: Int) throws(Fault) -> Frame? {
        let start = bytes.readerIndex
        guard let first: UInt8 = bytes.getInteger(at: start) else { return nil }
        let (isFinal, opcode) = try parseOpcode(first, hasMessage: hasMessage)
        guard let second: UInt8 = bytes.getInteger(at: start + 1) else { return nil }
        guard second & 0x80 != 0 else { throw .protocolError }
        guard let (length, lengthBytes) = try parseLength(second & 0x7F, bytes, at: start + 2) else { return nil }
        try checkLength(length, opcode, held: held, bytesMax)
        guard let mask: UInt32 = bytes.getInteger(at: start + 2 + lengthBytes) else { return nil }
        bytes.moveReaderIndex(forwardBy: 6 + lengthBytes)
        return Frame(opcode: opcode, isFinal: isFinal, mask: mask, bytesLeft: length)
    }

    private static func parseOpcode(_ byte: UInt8, hasMessage: Bool) throws(Fault) -> (isFinal: Bool, Opcode) {
        guard byte & 0x70 == 0, let opcode = Opcode(rawValue: byte & 0x0F) else { throw .protocolError }
        let isFinal = byte & 0x80 != 0
        switch opcode {
        case .binary: throw .unsupportedData
        case .continuation: guard hasMessage else { throw .protocolError }
        case .text: guard !hasMessage else { throw .protocolError }
        case .close, .ping, .pong: guard isFinal else { throw .protocolError }
        }
        return (isFinal, opcode)
    }

    /// The length in as few bytes as hold it (§5.2); `nil` if they have not arrived.
    private static func parseLength(_ short: UInt8, _ bytes: ByteBuffer, at place: Int) throws(Fault) -> (length: Int, bytes: Int)? {
        switch short {
        case 126:
            guard let length: UInt16 = bytes.getInteger(at: place) else { return nil }
            guard length >= 126 else { throw .protocolError }
            return (Int(length), 2)
        case 127:
            guard let length: UInt64 = bytes.getInteger(at: place) else { return nil }
            guard length > UInt64(UInt16.max), length >> 63 == 0 else { throw .protocolError }
            return (Int(length), 8)
        default: return (Int(short), 0)
        }
    }

    private static func checkLength(_ length: Int, _ opcode: Opcode, held: Int, _ bytesMax: Int) throws(Fault) {
        switch opcode {
        case .text, .continuation, .binary: guard length <= bytesMax - held else { throw .tooLong }
        case .close, .ping, .pong: guard length <= controlBytesMax else { throw .protocolError }
        }
    }

    // MARK: Payload (§5.3)

    private mutating func takePayload(_ input: inout ByteBuffer) {
        guard var frame, frame.bytesLeft > 0 else { return }
        guard var piece = input.readSlice(length: min(frame.bytesLeft, input.readableBytes)), piece.readableBytes > 0 else { return }
        Self.unmask(&piece, frame.mask, from: frame.bytesTaken)
        frame.bytesTaken += piece.readableBytes
        frame.bytesLeft -= piece.readableBytes
        self.frame = frame
        switch frame.opcode {
        case .text, .continuation, .binary:
            if message == nil { message = piece } else { message?.writeBuffer(&piece) }
        case .close, .ping, .pong: control.writeBuffer(&piece)
        }
    }

    private static func unmask(_ bytes: inout ByteBuffer, _ mask: UInt32, from offset: Int) {
        bytes.withUnsafeMutableReadableBytes { bytes in
            for index in bytes.indices { bytes[index] ^= UInt8(truncatingIfNeeded: mask >> (24 - 8 * UInt32((offset + index) & 3))) }
        }
    }

    /// A frame is complete.
    private mutating func finish(_ frame: Frame) throws(Fault) -> Event? {
        switch frame.opcode {
        case .text, .continuation, .binary:
            frameCount += 1
            guard frameCount <= Self.framesPerMessageMax else { throw .tooLong }
            guard frame.isFinal else {
                if message == nil { message = ByteBuffer() }
                return nil
            }
            defer { (message, frameCount) = (nil, 0) }
            return .text(message ?? ByteBuffer())
        case .ping: return .ping(takeControl())
        case .pong:
            _ = takeControl()
            return .pong
        case .close:
            var reason = takeControl()
            guard reason.readableBytes != 1 else { throw .protocolError }
            return .close(reason.readInteger())
        }
    }

    private mutating func takeControl() -> ByteBuffer {
        let payload = control
        control = ByteBuffer()
        return payload
    }
}

/// Frames of the server: not masked, each a whole message (RFC 6455 §5.1).
package enum WebSocketFrame {
    /// Longest header.
    package static let headBytesMax = 10

    /// The header of a text message of so many bytes.
    package static func writeTextHead(_ length: Int, to buffer: inout ByteBuffer) { writeHead(0x81, length, to: &buffer) }

    package static func pong(_ payload: ByteBuffer) -> ByteBuffer { control(0x8A, payload) }

    package static func close(_ code: UInt16) -> ByteBuffer { control(0x88, ByteBuffer(integer: code)) }

    private static func control(_ first: UInt8, _ payload: ByteBuffer) -> ByteBuffer {
        var frame = ByteBuffer()
        writeHead(first, payload.readableBytes, to: &frame)
        frame.writeImmutableBuffer(payload)
        return frame
    }

    private static func writeHead(_ first: UInt8, _ length: Int, to buffer: inout ByteBuffer) {
        buffer.writeInteger(first)
        if length < 126 { return _ = buffer.writeInteger(UInt8(length)) }
        if length <= Int(UInt16.max) {
            buffer.writeInteger(UInt8(126))
            buffer.writeInteger(UInt16(length))
        } else {
            buffer.writeInteger(UInt8(127))
            buffer.writeInteger(UInt64(length))
        }
    }
}
