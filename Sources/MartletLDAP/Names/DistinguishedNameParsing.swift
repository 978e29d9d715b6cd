/// RFC 4514 §3, and what LDAPv2 wrote and servers still write (RFC 2253 §4): spaces around separators, semicolons between steps, values in quotation
/// marks.
extension DistinguishedName {
    public init(_ text: String) throws(LDAPTextError) { try self.init(octets: Array(text.utf8)) }

    public init(octets: [UInt8]) throws(LDAPTextError) {
        let template = try DistinguishedNameTemplate(octets, hasPlaceholders: false)
        self = try template.name(Substitutes())
    }
}

/// A name in which placeholders stand for parts of values: `uid=%u,ou=people,dc=example,dc=org`. It is read once.
public struct DistinguishedNameTemplate: Hashable, Sendable {
    private struct Attribute: Hashable, Sendable {
        let type: String
        let value: TemplateValue
        let isEncoded: Bool
    }
    private var relativeNames: [[Attribute]] = []

    public init(_ text: String) throws(LDAPTextError) { try self.init(Array(text.utf8), hasPlaceholders: true) }

    public func name(_ substitutes: Substitutes) throws(LDAPTextError) -> DistinguishedName {
        var names: [RelativeDistinguishedName] = []
        for attributes in relativeNames {
            var values: [AttributeValue] = []
            for attribute in attributes {
                let value = try attribute.value.octets(substitutes)
                values.append(attribute.isEncoded ? AttributeValue(attribute.type, encoded: value) : AttributeValue(attribute.type, value))
            }
            names.append(RelativeDistinguishedName(ordered: values))
        }
        return DistinguishedName(names)
    }

    // MARK: Reading

    fileprivate init(_ octets: [UInt8], hasPlaceholders: Bool) throws(LDAPTextError) {
        var reader = try LDAPTextReader(octets, octetsMax: DistinguishedName.octetsMax)
        reader.skipSpaces()
        guard !reader.isAtEnd else { return }
        repeat {
            guard relativeNames.count < DistinguishedName.relativeNamesMax else {
                throw reader.fault(.tooDeep(levelsMax: DistinguishedName.relativeNamesMax))
            }
            relativeNames.append(try Self.relativeName(&reader, hasPlaceholders))
        } while reader.skip(",") || reader.skip(";")
        guard reader.isAtEnd else { throw reader.fault(.expected("a comma")) }
    }

    private static func relativeName(_ reader: inout LDAPTextReader, _ hasPlaceholders: Bool) throws(LDAPTextError) -> [Attribute] {
        var attributes: [Attribute] = []
        repeat {
            guard attributes.count < RelativeDistinguishedName.attributesMax else {
                throw reader.fault(.tooMany(max: RelativeDistinguishedName.attributesMax))
            }
            attributes.append(try attribute(&reader, hasPlaceholders))
        } while reader.skip("+")
        return attributes
    }

    private static func attribute(_ reader: inout LDAPTextReader, _ hasPlaceholders: Bool) throws(LDAPTextError) -> Attribute {
        reader.skipSpaces()
        let start = reader.offset
        let type = reader.text { AttributeDescription.isKeyCharacter($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") }
        let oid = type.lowercased().hasPrefix("oid.") ? String(type.dropFirst(4)) : type
        guard AttributeDescription.isType(oid.utf8), type.utf8.count <= AttributeDescription.octetsMax else {
            throw LDAPTextError(.attributeDescription, at: start)
        }
        reader.skipSpaces()
        try reader.expect("=")
        reader.skipSpaces()
        defer { reader.skipSpaces() }
        if reader.skip("#") { return try encoded(oid, &reader) }
        let isQuoted = reader.skip("\"")
        let value = try isQuoted ? quoted(&reader, hasPlaceholders) : plain(&reader, hasPlaceholders)
        return Attribute(type: oid, value: value, isEncoded: false)
    }

    /// Up to the next separator. Spaces at the end count only if they are escaped.
    private static func plain(_ reader: inout LDAPTextReader, _ hasPlaceholders: Bool) throws(LDAPTextError) -> TemplateValue {
        var value = TemplateValue()
        let start = reader.offset
        // How many octets there are up to the last one that is no plain space.
        var count = 0
        while let octet = reader.next {
            switch octet {
            case UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "+"):
                value.truncate(to: count)
                return try checked(value, from: start)
            case 0, UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"): throw reader.fault(.unescaped(octet))
            case UInt8(ascii: "%") where hasPlaceholders:
                _ = reader.take()
                try value.appendPlaceholder(&reader)
                count = value.octets.count
            case UInt8(ascii: "\\"):
                value.append(try escaped(&reader))
                count = value.octets.count
            default:
                _ = reader.take()
                value.append(octet)
                if octet != UInt8(ascii: " ") { count = value.octets.count }
            }
        }
        value.truncate(to: count)
        return try checked(value, from: start)
    }

    /// Up to the quotation mark; only that and a backslash need one before them (RFC 1779 §2.3).
    private static func quoted(_ reader: inout LDAPTextReader, _ hasPlaceholders: Bool) throws(LDAPTextError) -> TemplateValue {
        var value = TemplateValue()
        let start = reader.offset
        while let octet = reader.next {
            switch octet {
            case UInt8(ascii: "\""):
                _ = reader.take()
                return try checked(value, from: start)
            case 0: throw reader.fault(.unescaped(octet))
            case UInt8(ascii: "%") where hasPlaceholders:
                _ = reader.take()
                try value.appendPlaceholder(&reader)
            case UInt8(ascii: "\\"): value.append(try escaped(&reader))
            default:
                _ = reader.take()
                value.append(octet)
            }
        }
        throw reader.fault(.expected("a quotation mark"))
    }

    /// A backslash and a special character, or two hexadecimal digits.
    private static func escaped(_ reader: inout LDAPTextReader) throws(LDAPTextError) -> UInt8 {
        let start = reader.offset
        _ = reader.take()
        if let octet = reader.hexPair() { return octet }
        guard let octet = reader.take(), specials.contains(octet) else { throw LDAPTextError(.escape, at: start) }
        return octet
    }

    private static let specials = Set(" \"#+,;<=>\\".utf8)

    /// Escapes can put together any octets. A value that is no text is written in BER.
    private static func checked(_ value: TemplateValue, from start: Int) throws(LDAPTextError) -> TemplateValue {
        guard String(validating: value.octets, as: UTF8.self) != nil else { throw LDAPTextError(.notUTF8, at: start) }
        return value
    }

    /// Hexadecimal digits of a value in BER. One that is a text is as good as the text.
    private static func encoded(_ type: String, _ reader: inout LDAPTextReader) throws(LDAPTextError) -> Attribute {
        let start = reader.offset - 1
        var octets: [UInt8] = []
        while let octet = reader.hexPair() { octets.append(octet) }
        let isAtEnd = reader.next.map { Set(",;+ ".utf8).contains($0) } ?? true
        guard isAtEnd, let contents = EncodedString.contents(of: octets) else { throw LDAPTextError(.encodedValue, at: start) }
        let text = EncodedString.text(octets, contents: contents)
        var value = TemplateValue()
        for octet in text ?? octets { value.append(octet) }
        return Attribute(type: type, value: value, isEncoded: text == nil)
    }
}

/// A value of a name in BER: the strings that certificates and directories have.
enum EncodedString {
    /// Where the contents are, of one primitive or constructed value and nothing behind it; `nil` if it is none. High tag numbers are for nothing
    /// that a name has.
    static func contents(of octets: [UInt8]) -> Range<Int>? {
        guard octets.count >= 2, octets[0] & 0x1F != 0x1F else { return nil }
        guard octets[1] >= 0x80 else { return octets.count == 2 + Int(octets[1]) ? 2..<octets.count : nil }
        let lengthCount = Int(octets[1] & 0x7F)
        guard (1...4).contains(lengthCount), octets.count >= 2 + lengthCount else { return nil }
        let length = octets[2..<2 + lengthCount].reduce(0) { $0 << 8 | Int($1) }
        return octets.count - 2 - lengthCount == length ? (2 + lengthCount)..<octets.count : nil
    }

    /// The text that a value is, in UTF-8; `nil` if it is another kind of value.
    static func text(_ octets: [UInt8], contents: Range<Int>) -> [UInt8]? {
        let contents = Array(octets[contents])
        switch octets[0] {
        // OCTET STRING: whatever is in it.
        case 0x04: return contents
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString.
        case 0x0C, 0x12, 0x13, 0x16, 0x1A: return String(validating: contents, as: UTF8.self) == nil ? nil : contents
        // BMPString.
        case 0x1E: return scalars(contents, width: 2)
        // UniversalString.
        case 0x1C: return scalars(contents, width: 4)
        default: return nil
        }
    }

    private static func scalars(_ octets: [UInt8], width: Int) -> [UInt8]? {
        guard octets.count % width == 0 else { return nil }
        var text = String.UnicodeScalarView()
        for start in stride(from: 0, to: octets.count, by: width) {
            guard let scalar = Unicode.Scalar(octets[start..<start + width].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }) else { return nil }
            text.append(scalar)
        }
        return Array(String(text).utf8)
    }
}
