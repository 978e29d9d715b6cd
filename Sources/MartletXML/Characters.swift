/// The rules of XML 1.0 for what lies outside ASCII, and for references.
enum Characters {
    /// Length of the UTF-8 sequence at `i` (RFC 3629), or nil if its end has not arrived.
    ///
    /// Refused: overlong forms, surrogates, beyond U+10FFFF, and U+FFFE and U+FFFF, which are no XML characters (XML 1.0 §2.2).
    static func sequence(_ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int) throws(XMLError) -> Int? {
        let first = p[i]
        let length: Int
        var lowest: UInt8 = 0x80
        var highest: UInt8 = 0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF:
            length = 3
            if first == 0xE0 { lowest = 0xA0 }
            if first == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            length = 4
            if first == 0xF0 { lowest = 0x90 }
            if first == 0xF4 { highest = 0x8F }
        default: throw .unsupportedEncoding
        }
        guard i + 1 < end else { return nil }
        guard p[i + 1] >= lowest, p[i + 1] <= highest else { throw .unsupportedEncoding }
        for k in 2..<max(length, 2) {
            guard i + k < end else { return nil }
            guard p[i + k] & 0xC0 == 0x80 else { throw .unsupportedEncoding }
        }
        if first == 0xEF, p[i + 1] == 0xBF, p[i + 2] >= 0xBE { throw .notWellFormed }
        return length
    }

    /// The scalar of a sequence that ``sequence(_:_:_:)`` has accepted.
    static func scalar(_ p: UnsafePointer<UInt8>, _ i: Int, _ length: Int) -> UInt32 {
        var value = UInt32(p[i]) & (0x7F >> UInt32(length))
        for k in 1..<length { value = value << 6 | UInt32(p[i + k] & 0x3F) }
        return value
    }

    /// Characters a document may contain (XML 1.0 §2.2 [2]).
    static func isAllowed(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x9, 0xA, 0xD, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }

    /// Whether a scalar above ASCII may begin a name. See ``NameTables``.
    static func isNameStart(_ scalar: UInt32) -> Bool { contains(scalar, NameTables.start) }

    /// Whether a scalar above ASCII may stand in a name.
    static func isName(_ scalar: UInt32) -> Bool {
        contains(scalar, NameTables.start) || contains(scalar, NameTables.inside)
    }

    private static func contains(_ scalar: UInt32, _ ranges: [ClosedRange<UInt16>]) -> Bool {
        guard let scalar = UInt16(exactly: scalar) else { return false }
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(scalar)
    }

    /// Longest reference, `&` and `;` included. XML has no bound: `&#0000…065;` may go on for ever.
    static let referenceBytesMax = 64

    /// A reference that is complete.
    struct Reference {
        var length: Int
        var scalar: UInt32
        var isPredefined: Bool
    }

    /// Length of the reference at `i`, where `&` stands, if it is to one of the five entities every document has and all of it is there
    /// (XML 1.0 §4.6); 0 otherwise.
    @inline(__always)
    static func predefinedLength(_ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int) -> Int {
        guard i + 6 <= end else { return 0 }
        let next = UnsafeRawPointer(p + i).loadUnaligned(fromByteOffset: 1, as: UInt32.self).littleEndian
        switch next & 0xFF_FFFF {
        case 0x3B_746C, 0x3B_7467: return 4  // "lt;", "gt;"
        default: break
        }
        switch next {
        case 0x3B70_6D61: return 5  // "amp;"
        case 0x746F_7571, 0x736F_7061: return p[i + 5] == UInt8(ascii: ";") ? 6 : 0  // "quot", "apos"
        default: return 0
        }
    }

    /// The reference at `i`, where `&` stands, or nil if its end has not arrived (XML 1.0 §4.1).
    static func reference(_ p: UnsafePointer<UInt8>, _ i: Int, _ end: Int) throws(XMLError) -> Reference? {
        var next = i + 1
        while next < end, p[next] != UInt8(ascii: ";") {
            guard next - i < referenceBytesMax else { throw .limitExceeded(.nameBytes) }
            guard p[next] == UInt8(ascii: "#") && next == i + 1 || isReferenceByte(p[next]) else { throw .notWellFormed }
            next += 1
        }
        guard next < end else { return nil }
        let body = UnsafeBufferPointer(start: p + i + 1, count: next - i - 1)
        let length = next - i + 1
        if body.first == UInt8(ascii: "#") {
            let isHex = body.count > 1 && body[1] == UInt8(ascii: "x")
            guard let scalar = number(UnsafeBufferPointer(rebasing: body.dropFirst(isHex ? 2 : 1)), radix: isHex ? 16 : 10),
                isAllowed(scalar)
            else { throw .notWellFormed }
            return Reference(length: length, scalar: scalar, isPredefined: false)
        }
        guard let first = body.first, first >= 0x80 || !isDigit(first) else { throw .notWellFormed }
        guard let scalar = predefined(body) else { throw .restrictedXML }
        return Reference(length: length, scalar: UInt32(scalar), isPredefined: true)
    }

    /// The five entities every document has (XML 1.0 §4.6).
    private static func predefined(_ name: UnsafeBufferPointer<UInt8>) -> UInt8? {
        switch name.count {
        case 2 where name[1] == UInt8(ascii: "t"):
            switch name[0] {
            case UInt8(ascii: "l"): return UInt8(ascii: "<")
            case UInt8(ascii: "g"): return UInt8(ascii: ">")
            default: return nil
            }
        case 3 where matches(name, "amp"): return UInt8(ascii: "&")
        case 4 where matches(name, "quot"): return UInt8(ascii: "\"")
        case 4 where matches(name, "apos"): return UInt8(ascii: "'")
        default: return nil
        }
    }

    private static func matches(_ name: UnsafeBufferPointer<UInt8>, _ literal: StaticString) -> Bool {
        for (index, byte) in name.enumerated() where literal.utf8Start[index] != byte { return false }
        return true
    }

    private static func number(_ digits: UnsafeBufferPointer<UInt8>, radix: UInt32) -> UInt32? {
        guard !digits.isEmpty else { return nil }
        var value: UInt32 = 0
        for digit in digits {
            let worth: UInt32
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): worth = UInt32(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f") where radix == 16: worth = UInt32(digit - UInt8(ascii: "a")) + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F") where radix == 16: worth = UInt32(digit - UInt8(ascii: "A")) + 10
            default: return nil
            }
            value = value * radix + worth
            guard value <= 0x10FFFF else { return nil }
        }
        return value
    }

    /// Letters, digits and what else an entity's name may hold; which names there are is decided later.
    private static func isReferenceByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "-"),
            UInt8(ascii: "."), UInt8(ascii: ":"), 0x80...0xFF:
            true
        default: isDigit(byte)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
}

/// Bytes that have been checked, into the characters they stand for.
enum Decoder {
    /// Replaces references and normalises line ends (XML 1.0 §2.11) and, in attributes, white space (§3.3.3).
    static func decode(_ raw: Span<UInt8>, isAttribute: Bool, isCDATA: Bool = false) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(raw.count)
        var i = 0
        while i < raw.count {
            let byte = raw[i]
            switch byte {
            case UInt8(ascii: "&") where !isCDATA:
                i += appendReference(raw, i, to: &result)
            case 0x0D:
                result.append(isAttribute ? 0x20 : 0x0A)
                i += i + 1 < raw.count && raw[i + 1] == 0x0A ? 2 : 1
            case 0x09 where isAttribute, 0x0A where isAttribute:
                result.append(0x20)
                i += 1
            default:
                result.append(byte)
                i += 1
            }
        }
        return result
    }

    private static func appendReference(_ raw: Span<UInt8>, _ i: Int, to result: inout [UInt8]) -> Int {
        let found = raw.withUnsafeBufferPointer { bytes -> Characters.Reference? in
            guard let base = bytes.baseAddress else { return nil }
            return (try? Characters.reference(base, i, bytes.count)) ?? nil
        }
        guard let found, let scalar = Unicode.Scalar(found.scalar) else {
            result.append(raw[i])
            return 1
        }
        result.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
        return found.length
    }
}
