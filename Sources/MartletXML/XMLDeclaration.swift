internal import NIOCore

/// `<?xml version='1.0' encoding='UTF-8'?>` (XML 1.0 §2.8), the only processing-instruction-like thing a stream may hold.
enum XMLDeclaration {
    /// Longest declaration that is waited for.
    static let bytesMax = 256

    /// Moves over the beginning of a stream or a document, which tells its encoding: UTF-8 without a mark (RFC 6120 §11.6).
    ///
    /// - Returns: `false` if more bytes are needed.
    static func isPassed(_ buffer: inout ByteBuffer) throws(XMLError) -> Bool {
        guard let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return false }
        switch first {
        case 0x00, 0xEF, 0xFE, 0xFF: throw .unsupportedEncoding
        case UInt8(ascii: "<"):
            guard let second = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt8.self) else { return false }
            if second == 0x00 { throw .unsupportedEncoding }
            if second == UInt8(ascii: "?") {
                guard let length = try length(buffer) else { return false }
                buffer.moveReaderIndex(forwardBy: length)
            }
        case 0x20, 0x09, 0x0A, 0x0D: break
        default: throw .notWellFormed
        }
        return true
    }

    /// Length of the declaration at the reader index, or nil if its end has not arrived.
    static func length(_ buffer: ByteBuffer) throws(XMLError) -> Int? {
        let bytes = buffer.readableBytesView.prefix(bytesMax)
        let opening = Array("<?xml".utf8)
        guard bytes.prefix(opening.count).elementsEqual(opening.prefix(bytes.count)) else { throw .restrictedXML }
        guard let end = bytes.firstIndex(of: UInt8(ascii: ">")) else {
            if bytes.count == bytesMax { throw .limitExceeded(.headerBytes) }
            return nil
        }
        try check(Array(bytes[bytes.startIndex...end].dropFirst(opening.count)))
        return end - bytes.startIndex + 1
    }

    /// What stands behind `<?xml`, `?>` included: version, encoding, standalone, in this order, the latter two if at all.
    private static func check(_ bytes: [UInt8]) throws(XMLError) {
        var rest = bytes[...]
        if let first = rest.first, !isSpace(first), first != UInt8(ascii: "?") { throw .restrictedXML }
        guard try value(of: "version", &rest) == "1.0" else { throw .notWellFormed }
        if let encoding = try value(of: "encoding", &rest), encoding.lowercased() != "utf-8" { throw .unsupportedEncoding }
        if let standalone = try value(of: "standalone", &rest), standalone != "yes", standalone != "no" { throw .notWellFormed }
        skipSpace(&rest)
        guard rest.elementsEqual("?>".utf8) else { throw .notWellFormed }
    }

    private static func value(of name: String, _ rest: inout ArraySlice<UInt8>) throws(XMLError) -> String? {
        var tail = rest
        skipSpace(&tail)
        guard tail.starts(with: name.utf8) else { return nil }
        guard tail.startIndex > rest.startIndex else { throw .notWellFormed }
        tail.removeFirst(name.utf8.count)
        skipSpace(&tail)
        guard tail.popFirst() == UInt8(ascii: "=") else { throw .notWellFormed }
        skipSpace(&tail)
        guard let quote = tail.popFirst(), quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\""),
            let end = tail.firstIndex(of: quote)
        else { throw .notWellFormed }
        defer { rest = tail[(end + 1)...] }
        return String(decoding: tail[..<end], as: UTF8.self)
    }

    private static func skipSpace(_ rest: inout ArraySlice<UInt8>) {
        while let first = rest.first, isSpace(first) { rest.removeFirst() }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
}
