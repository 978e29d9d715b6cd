import MartletNetwork
import NIOCore
import Testing

/// Frames as a client sends them (RFC 6455 §5.2).
enum ClientFrame {
    static let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]

    static func frame(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, isMasked: Bool = true, reserved: UInt8 = 0) -> [UInt8] {
        var bytes = [(isFinal ? 0x80 : 0) | reserved | opcode]
        let maskBit: UInt8 = isMasked ? 0x80 : 0
        if payload.count < 126 {
            bytes.append(maskBit | UInt8(payload.count))
        } else if payload.count <= Int(UInt16.max) {
            bytes += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        } else {
            bytes += [maskBit | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard isMasked else { return bytes + payload }
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 % 4] }
    }

    static func text(_ text: String, isFinal: Bool = true) -> [UInt8] { frame(1, Array(text.utf8), isFinal: isFinal) }
    static func more(_ text: String, isFinal: Bool) -> [UInt8] { frame(0, Array(text.utf8), isFinal: isFinal) }
    static func close(_ code: UInt16) -> [UInt8] { frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)]) }
}

@Suite("Frames of WebSocket (RFC 6455)")
struct WebSocketReaderTests {
    /// What is read of bytes that come in pieces of some length, and what is wrong with them.
    private func read(_ bytes: [UInt8], piece: Int = .max, bytesMax: Int = 1_000) -> (events: [WebSocketReader.Event], fault: WebSocketReader.Fault?) {
        var reader = WebSocketReader()
        var events: [WebSocketReader.Event] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            var input = ByteBuffer(bytes: rest.prefix(piece))
            rest = rest.dropFirst(piece)
            do {
                while let event = try reader.next(from: &input, bytesMax: bytesMax) { events.append(event) }
            } catch {
                return (events, error)
            }
            #expect(input.readableBytes == 0)
        }
        return (events, nil)
    }

    private func text(_ text: String) -> WebSocketReader.Event { .text(ByteBuffer(string: text)) }

    @Test("a message comes out however its bytes come in (§5.2)", arguments: [1, 2, 3, 5, 7, 64, .max])
    func pieces(piece: Int) {
        let long = String(repeating: "l", count: 70_000)
        let bytes = ClientFrame.text("<open/>") + ClientFrame.text("") + ClientFrame.text(String(repeating: "m", count: 126)) + ClientFrame.text(long)
        let (events, fault) = read(bytes, piece: piece, bytesMax: 70_000)
        #expect(events == [text("<open/>"), text(""), text(String(repeating: "m", count: 126)), text(long)])
        #expect(fault == nil)
    }

    @Test("a message in several frames is one, and a ping between them comes first (§5.4)", arguments: [1, .max])
    func fragments(piece: Int) {
        let bytes = ClientFrame.text("<a", isFinal: false) + ClientFrame.frame(9, [1, 2]) + ClientFrame.more("", isFinal: false)
            + ClientFrame.more("/>", isFinal: true)
        #expect(read(bytes, piece: piece).events == [.ping(ByteBuffer(bytes: [1, 2])), text("<a/>")])
    }

    @Test("a message has at most so many bytes, in one frame or in several; a longer one is refused by its length alone", arguments: [0, 1])
    func longest(more: Int) {
        let whole = ClientFrame.text(String(repeating: "x", count: 100 + more))
        #expect(read(whole, bytesMax: 100).fault == (more == 0 ? nil : .tooLong))
        #expect(read(Array(whole.prefix(2)), bytesMax: 100).fault == (more == 0 ? nil : .tooLong))
        let parts = ClientFrame.text(String(repeating: "x", count: 60), isFinal: false) + ClientFrame.more(String(repeating: "x", count: 40 + more), isFinal: true)
        #expect(read(parts, bytesMax: 100).fault == (more == 0 ? nil : .tooLong))
    }

    @Test("a message has at most 4,096 frames", arguments: [0, 1])
    func mostFrames(more: Int) {
        let empty = ClientFrame.more("", isFinal: false)
        var bytes = ClientFrame.text("x", isFinal: false)
        for _ in 0..<(WebSocketReader.framesPerMessageMax - 2 + more) { bytes += empty }
        let (events, fault) = read(bytes + ClientFrame.more("", isFinal: true))
        #expect(events == (more == 0 ? [text("x")] : []))
        #expect(fault == (more == 0 ? nil : .tooLong))
    }

    @Test("a control frame has at most 125 bytes (§5.5)", arguments: [0, 1])
    func longestControl(more: Int) {
        let ping = ClientFrame.frame(9, [UInt8](repeating: 7, count: 125 + more))
        #expect(read(ping).fault == (more == 0 ? nil : .protocolError))
    }

    @Test("what is against the protocol is refused (§5.1, §5.2, §5.4, §5.5)")
    func faults() {
        #expect(read(ClientFrame.frame(1, [65], isMasked: false)).fault == .protocolError)
        #expect(read(ClientFrame.frame(1, [65], reserved: 0x40)).fault == .protocolError)
        #expect(read(ClientFrame.frame(3, [65])).fault == .protocolError)
        #expect(read(ClientFrame.frame(9, [65], isFinal: false)).fault == .protocolError)
        #expect(read(ClientFrame.more("x", isFinal: true)).fault == .protocolError)
        #expect(read(ClientFrame.text("x", isFinal: false) + ClientFrame.text("y")).fault == .protocolError)
        #expect(read(ClientFrame.frame(8, [3])).fault == .protocolError)
        #expect(read(ClientFrame.frame(2, [65])).fault == .unsupportedData)
        // A length in more bytes than it needs, and one that is negative.
        #expect(read([0x81, 0xFE, 0x00, 0x7D]).fault == .protocolError)
        #expect(read([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]).fault == .protocolError)
        #expect(read([0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]).fault == .protocolError)
    }

    @Test("a close frame may say why (§5.5.1)")
    func close() {
        #expect(read(ClientFrame.close(1001)).events == [.close(1001)])
        #expect(read(ClientFrame.frame(8, [])).events == [.close(nil)])
    }

    @Test("nothing is kept of what is complete")
    func keepsNothing() throws {
        var reader = WebSocketReader()
        var input = ByteBuffer(bytes: ClientFrame.text("<a/>") + ClientFrame.text("<bcd/>").prefix(9))
        #expect(try reader.next(from: &input, bytesMax: 100) == text("<a/>"))
        #expect(reader.pendingByteCount == 0)
        #expect(try reader.next(from: &input, bytesMax: 100) == nil)
        #expect(reader.pendingByteCount == 3)
    }

    @Test("the server's frames have the shortest length that holds theirs (§5.2)", arguments: [0, 125, 126, 65_535, 65_536])
    func ownFrames(length: Int) {
        var frame = ByteBuffer()
        WebSocketFrame.writeTextHead(length, to: &frame)
        let expected = ClientFrame.frame(1, [UInt8](repeating: 0, count: length), isMasked: false).dropLast(length)
        #expect(Array(frame.readableBytesView) == Array(expected))
    }
}
