package import NIOCore

/// The first bytes of a connection that came through a proxy: who the real peer is (PROXY protocol, versions 1 and 2, by HAProxy).
package enum ProxyHeader: Hashable, Sendable {
    /// The peer's own address is unknown or not an IP address, or the proxy speaks for itself, as when it checks our health.
    case local
    case peer(NetworkAddress, port: UInt16)

    package struct Malformed: Error, Hashable, Sendable { package init() {} }

    /// Longest header of version 1 (§2.1).
    package static let textBytesMax = 107
    /// Most bytes behind the fixed part of version 2: addresses, and extensions that we skip.
    package static let extensionBytesMax = 2_048

    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    /// Takes a header off the front of `buffer`; `nil` if it is not complete. Nothing is taken then, and nothing when it is malformed.
    package static func read(from buffer: inout ByteBuffer) throws(Malformed) -> ProxyHeader? {
        let begin = buffer.readableBytesView.prefix(signature.count)
        if begin.elementsEqual(signature.prefix(begin.count)) {
            return begin.count == signature.count ? try readBinary(&buffer) : nil
        }
        return try readText(&buffer)
    }
}

// MARK: Version 1 (§2.1)

extension ProxyHeader {
    private static func readText(_ buffer: inout ByteBuffer) throws(Malformed) -> ProxyHeader? {
        let window = buffer.readableBytesView.prefix(textBytesMax)
        let keyword = Array("PROXY ".utf8)
        guard window.prefix(keyword.count).elementsEqual(keyword.prefix(window.count)) else { throw Malformed() }
        guard let end = window.firstIndex(of: 0x0A) else {
            if window.count == textBytesMax { throw Malformed() }
            return nil
        }
        let line = window[window.startIndex...end]
        guard line.dropLast().last == 0x0D, line.dropLast(2).allSatisfy({ (0x20...0x7E).contains($0) }) else { throw Malformed() }
        let header = try parse(String(decoding: line.dropLast(2), as: UTF8.self))
        buffer.moveReaderIndex(forwardBy: line.count)
        return header
    }

    private static func parse(_ line: String) throws(Malformed) -> ProxyHeader {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        if fields.count >= 2, fields[1] == "UNKNOWN" { return .local }
        guard fields.count == 6, let source = NetworkAddress(fields[2]), let destination = NetworkAddress(fields[3]),
            let port = port(fields[4]), Self.port(fields[5]) != nil
        else { throw Malformed() }
        switch fields[1] {
        case "TCP4": guard source.isIPv4, destination.isIPv4 else { throw Malformed() }
        case "TCP6": guard fields[2].contains(":"), fields[3].contains(":") else { throw Malformed() }
        default: throw Malformed()
        }
        return .peer(source, port: port)
    }

    private static func port(_ text: String) -> UInt16? {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return UInt16(text)
    }
}

// MARK: Version 2 (§2.2)

extension ProxyHeader {
    private static let fixedBytes = 16

    private static func readBinary(_ buffer: inout ByteBuffer) throws(Malformed) -> ProxyHeader? {
        let start = buffer.readerIndex
        guard let command: UInt8 = buffer.getInteger(at: start + 12), let family: UInt8 = buffer.getInteger(at: start + 13),
            let length: UInt16 = buffer.getInteger(at: start + 14)
        else { return nil }
        guard command >> 4 == 2, command & 0x0F <= 1, Int(length) <= extensionBytesMax else { throw Malformed() }
        guard var body = buffer.getSlice(at: start + fixedBytes, length: Int(length)) else { return nil }
        let header = command & 0x0F == 0 ? .local : try address(family, &body)
        buffer.moveReaderIndex(forwardBy: fixedBytes + Int(length))
        return header
    }

    private static func address(_ family: UInt8, _ body: inout ByteBuffer) throws(Malformed) -> ProxyHeader {
        switch family {
        case 0x11:
            guard let source: UInt32 = body.readInteger(), body.readInteger(as: UInt32.self) != nil, let port: UInt16 = body.readInteger(),
                body.readInteger(as: UInt16.self) != nil
            else { throw Malformed() }
            return .peer(NetworkAddress(ipv4: source), port: port)
        case 0x21:
            guard let high: UInt64 = body.readInteger(), let low: UInt64 = body.readInteger(), body.readSlice(length: 16) != nil,
                let port: UInt16 = body.readInteger(), body.readInteger(as: UInt16.self) != nil
            else { throw Malformed() }
            return .peer(NetworkAddress(high: high, low: low), port: port)
        // Unspecified, datagrams, local sockets: nothing we could name the peer by.
        default: return .local
        }
    }
}
