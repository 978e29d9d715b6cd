/// RFC 4514 §2. With a backslash stands what has to have one; what is not seen, or not ASCII in a value that is no UTF-8, is written in hexadecimal.
extension DistinguishedName: CustomStringConvertible {
    /// As it was written, but for spaces and escapes that it does not need.
    public var description: String { relativeNames.map(\.description).joined(separator: ",") }

    /// The one way in which all equal names are written.
    public var normalized: String { relativeNames.map(\.normalized).joined(separator: ",") }
}

extension RelativeDistinguishedName: CustomStringConvertible {
    public var description: String { ordered.map(\.description).joined(separator: "+") }

    public var normalized: String {
        guard ordered.count > 1 else { return ordered.first?.normalized ?? "" }
        return ordered.sorted { $0.isOrdered(before: $1) }.map(\.normalized).joined(separator: "+")
    }
}

extension AttributeValue: CustomStringConvertible {
    public var description: String { "\(writtenType)=\(isEncoded ? Self.encoded(value) : Self.escaped(value))" }

    public var normalized: String { "\(type)=\(isEncoded ? Self.encoded(value) : Self.escaped(prepared))" }

    private static func encoded(_ octets: [UInt8]) -> String { "#" + String(decoding: octets.flatMap(Hexadecimal.pair), as: UTF8.self) }

    /// §2.4.
    private static func escaped(_ octets: [UInt8]) -> String {
        let isText = String(validating: octets, as: UTF8.self) != nil
        // Octets that are no text have a form of their own, as an OCTET STRING.
        guard isText else { return encoded(octetString(octets)) }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        for (place, octet) in octets.enumerated() {
            switch octet {
            case UInt8(ascii: "\""), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "\\"):
                result += [UInt8(ascii: "\\"), octet]
            case UInt8(ascii: "#") where place == 0: result += [UInt8(ascii: "\\"), octet]
            case UInt8(ascii: " ") where place == 0 || place == octets.count - 1: result += [UInt8(ascii: "\\"), octet]
            case 0x00..<0x20, 0x7F: result += [UInt8(ascii: "\\")] + Hexadecimal.pair(octet)
            default: result.append(octet)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func octetString(_ octets: [UInt8]) -> [UInt8] {
        let length = octets.count
        if length < 0x80 { return [0x04, UInt8(length)] + octets }
        let lengthOctets = (0..<4).reversed().map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) }.drop { $0 == 0 }
        return [0x04, 0x80 | UInt8(lengthOctets.count)] + lengthOctets + octets
    }
}
