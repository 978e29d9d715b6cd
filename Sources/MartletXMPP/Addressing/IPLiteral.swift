/// IPv6 addresses in brackets (RFC 3986 §3.2.2). IPv4 addresses look like host names and need nothing.
enum IPLiteral {
    private static let groupsCount = 8

    /// Checks the address and writes its digits in lower case. Different spellings of one address stay different:
    /// RFC 7622 compares octets here. A zone (RFC 9844) means nothing to another host and is refused.
    static func prepared(_ text: [Unicode.Scalar]) throws(JIDError) -> [UInt8] {
        guard text.count > 2, text.last == "]", text.allSatisfy(\.isASCII) else { throw .ipLiteral }
        let bytes = text.map { UInt8(truncatingIfNeeded: $0.value) }
        let address = bytes[1..<(bytes.count - 1)]
        guard isIPv6(address) else { throw .ipLiteral }
        return bytes.map { UInt8(ascii: "A")...UInt8(ascii: "F") ~= $0 ? $0 | 0x20 : $0 }
    }

    private static func isIPv6(_ address: ArraySlice<UInt8>) -> Bool {
        guard let gap = doubleColon(in: address) else { return groups(in: address, mayEndInIPv4: true) == groupsCount }
        let left = address[..<gap], right = address[(gap + 2)...]
        guard let before = left.isEmpty ? 0 : groups(in: left, mayEndInIPv4: false),
            let after = right.isEmpty ? 0 : groups(in: right, mayEndInIPv4: true)
        else { return false }
        return before + after < groupsCount
    }

    private static func doubleColon(in address: ArraySlice<UInt8>) -> Int? {
        zip(address.indices, address.indices.dropFirst()).first { first, second in
            address[first] == UInt8(ascii: ":") && address[second] == UInt8(ascii: ":")
        }?.0
    }

    /// How many groups of 16 bits there are; `nil` if something is no group.
    private static func groups(in text: ArraySlice<UInt8>, mayEndInIPv4: Bool) -> Int? {
        let fields = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard let last = fields.last, fields.dropLast().allSatisfy(isGroup) else { return nil }
        if isGroup(last) { return fields.count }
        return mayEndInIPv4 && isIPv4(last) ? fields.count + 1 : nil
    }

    private static func isGroup(_ field: ArraySlice<UInt8>) -> Bool {
        1...4 ~= field.count && field.allSatisfy { Unicode.Scalar($0).properties.isASCIIHexDigit }
    }

    private static func isIPv4(_ text: ArraySlice<UInt8>) -> Bool {
        let fields = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return fields.count == 4 && fields.allSatisfy(isDecimalOctet)
    }

    private static func isDecimalOctet(_ field: ArraySlice<UInt8>) -> Bool {
        guard 1...3 ~= field.count, field.count == 1 || field.first != UInt8(ascii: "0"),
            field.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 })
        else { return false }
        return field.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } <= 255
    }
}
