package import NIOCore

/// What a client says before its bytes (RFC 1928), as XEP-0065 §7 has it: no authentication, and instead of an address the name of a stream. Pure.
package struct SOCKSExchange: Sendable {
    package enum Step: Hashable, Sendable {
        /// More is to come.
        case wait
        case say([UInt8])
        /// The stream is named: this is to be said, and what follows are its bytes.
        case begin(stream: String, say: [UInt8])
        /// This is to be said before the connection is closed.
        case refuse([UInt8])
    }

    private static let version: UInt8 = 5
    /// Characters of a name: a SHA-1 in hexadecimal digits.
    private static let nameBytes: UInt8 = 40

    private enum State { case greeting, request }
    private var state = State.greeting
    package init() {}

    /// Takes what it needs of the buffer, and leaves the rest.
    package mutating func take(_ buffer: inout ByteBuffer) -> Step {
        switch state {
        case .greeting: greet(&buffer)
        case .request: request(&buffer)
        }
    }

    /// RFC 1928 §3.
    private mutating func greet(_ buffer: inout ByteBuffer) -> Step {
        let none: UInt8 = 0
        guard let version = buffer.peek(0) else { return .wait }
        guard version == Self.version else { return .refuse([]) }
        guard let count = buffer.peek(1), let methods = buffer.getBytes(at: buffer.readerIndex + 2, length: Int(count)) else { return .wait }
        buffer.moveReaderIndex(forwardBy: 2 + methods.count)
        guard methods.contains(none) else { return .refuse([Self.version, 0xFF]) }
        state = .request
        return .say([Self.version, none])
    }

    /// RFC 1928 §4: CONNECT, by name.
    private mutating func request(_ buffer: inout ByteBuffer) -> Step {
        guard let head = buffer.getBytes(at: buffer.readerIndex, length: 5) else { return .wait }
        guard head[0] == Self.version else { return .refuse([]) }
        guard head[1] == 1 else { return .refuse(Self.reply(7)) }
        guard head[3] == 3 else { return .refuse(Self.reply(8)) }
        guard head[4] == Self.nameBytes else { return .refuse(Self.reply(4)) }
        guard let rest = buffer.getBytes(at: buffer.readerIndex + 5, length: Int(Self.nameBytes) + 2) else { return .wait }
        let name = rest.dropLast(2)
        // The port says whether it is over UDP (§7), and is 0.
        guard rest.suffix(2).allSatisfy({ $0 == 0 }), name.allSatisfy(Self.isDigit) else { return .refuse(Self.reply(4)) }
        buffer.moveReaderIndex(forwardBy: 5 + rest.count)
        return .begin(stream: String(decoding: name, as: UTF8.self), say: [Self.version, 0, 0, 3, Self.nameBytes] + rest)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) }

    /// RFC 1928 §6, with no address.
    private static func reply(_ code: UInt8) -> [UInt8] { [version, code, 0, 1, 0, 0, 0, 0, 0, 0] }
}

extension ByteBuffer {
    fileprivate func peek(_ offset: Int) -> UInt8? { getInteger(at: readerIndex + offset) }
}
