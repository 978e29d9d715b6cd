/// Which certificate is meant (RFC 4523 §2.5): who has issued it, and its number there. An authority gives each number once.
public struct CertificateExactAssertion: Hashable, Sendable {
    /// In decimal: numbers of certificates have up to 20 octets.
    public let serialNumber: String
    public let issuer: DistinguishedName

    /// Octets of a number; RFC 5280 §4.1.2.2 allows 20.
    static let serialNumberOctetsMax = 32

    /// - Returns: `nil` if the number is none.
    public init?(serialNumber: String, issuer: DistinguishedName) {
        guard DecimalInteger.isValid(Array(serialNumber.utf8)) else { return nil }
        self.serialNumber = serialNumber
        self.issuer = issuer
    }

    /// Of a certificate.
    public init?(certificate octets: [UInt8]) {
        var outer = DERReader(octets[...])
        guard var certificate = outer.sequence(), var contents = certificate.sequence() else { return nil }
        // The version, which the first one does not say.
        _ = contents.value(0xA0)
        guard let number = contents.value(0x02), let serialNumber = Self.decimal(number), contents.sequence() != nil, let issuer = contents.sequence(),
            let name = Self.name(issuer)
        else { return nil }
        self.serialNumber = serialNumber
        self.issuer = name
    }

    /// `{ serialNumber 4097, issuer rdnSequence:"CN=Issuing CA,DC=example" }` (RFC 4523 §2.5, by GSER, RFC 3641), or `4097$CN=Issuing CA,DC=example`
    /// as before it.
    public init?(_ text: String) {
        guard let parts = text.first == "{" ? Self.parts(text) : Self.olderParts(text), let issuer = try? DistinguishedName(parts.issuer)
        else { return nil }
        self.init(serialNumber: parts.serialNumber, issuer: issuer)
    }

    // MARK: Text

    private static func olderParts(_ text: String) -> (serialNumber: String, issuer: String)? {
        let parts = text.split(separator: "$", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? (String(parts[0].trimmed), String(parts[1])) : nil
    }

    /// The number stands first (the type is a SEQUENCE).
    private static func parts(_ text: String) -> (serialNumber: String, issuer: String)? {
        guard let inner = text.trimmed.between("{", "}"), let comma = inner.firstIndex(of: ","),
            let number = inner[..<comma].trimmed.behind("serialNumber"), let issuer = inner[inner.index(after: comma)...].trimmed.behind("issuer"),
            let name = issuer.behind("rdnSequence:")?.between("\"", "\"")
        else { return nil }
        // A quotation mark in it is two (RFC 3641 §3.2).
        return (String(number), Self.withoutDoubledQuotes(name))
    }

    /// Octet by octet: a mark that follows would make another character of a quotation mark.
    private static func withoutDoubledQuotes(_ text: Substring) -> String {
        var octets: [UInt8] = []
        var isSecond = false
        for octet in text.utf8 {
            isSecond = octet == quote && octets.last == quote && !isSecond
            if !isSecond { octets.append(octet) }
        }
        return String(decoding: octets, as: UTF8.self)
    }

    fileprivate static let quote = UInt8(ascii: "\"")

    // MARK: DER

    /// Numbers are positive (RFC 5280 §4.1.2.2); of others nothing is known here.
    private static func decimal(_ octets: ArraySlice<UInt8>) -> String? {
        guard let first = octets.first, first < 0x80, octets.count <= serialNumberOctetsMax else { return nil }
        // The last digit first.
        var digits: [UInt8] = [0]
        for octet in octets {
            var carry = Int(octet)
            for place in digits.indices {
                carry += Int(digits[place]) << 8
                digits[place] = UInt8(carry % 10)
                carry /= 10
            }
            while carry > 0 {
                digits.append(UInt8(carry % 10))
                carry /= 10
            }
        }
        return String(decoding: digits.reversed().map { UInt8(ascii: "0") + $0 }, as: UTF8.self)
    }

    /// A `Name` (RFC 5280 §4.1.2.4), which begins at the root.
    private static func name(_ reader: DERReader) -> DistinguishedName? {
        var reader = reader
        var names: [RelativeDistinguishedName] = []
        while !reader.isAtEnd {
            guard names.count < DistinguishedName.relativeNamesMax, let set = reader.value(0x31), let name = relativeName(DERReader(set))
            else { return nil }
            names.append(name)
        }
        return DistinguishedName(names.reversed())
    }

    private static func relativeName(_ reader: DERReader) -> RelativeDistinguishedName? {
        var reader = reader
        var attributes: [AttributeValue] = []
        while !reader.isAtEnd {
            guard attributes.count < RelativeDistinguishedName.attributesMax, var attribute = reader.sequence(), let type = attribute.value(0x06),
                let oid = objectIdentifier(type), let contents = EncodedString.contents(of: attribute.rest)
            else { return nil }
            let value = attribute.rest
            let text = EncodedString.text(value, contents: contents)
            let name = Schema.standard.attributeType(oid)?.name ?? oid
            attributes.append(text.map { AttributeValue(name, $0) } ?? AttributeValue(name, encoded: value))
        }
        return attributes.isEmpty ? nil : RelativeDistinguishedName(ordered: attributes)
    }

    private static func objectIdentifier(_ octets: ArraySlice<UInt8>) -> String? {
        var parts: [UInt64] = []
        var part: UInt64 = 0
        for octet in octets {
            guard part < 1 << 56 else { return nil }
            part = part << 7 | UInt64(octet & 0x7F)
            guard octet < 0x80 else { continue }
            // The first two are in one number.
            parts += parts.isEmpty ? [min(part / 40, 2), part - min(part / 40, 2) * 40] : [part]
            part = 0
        }
        return parts.isEmpty || octets.last.map { $0 >= 0x80 } ?? true ? nil : parts.map(String.init).joined(separator: ".")
    }
}

extension CertificateExactAssertion: CustomStringConvertible {
    /// As a filter has it.
    public var description: String {
        let name = issuer.description.utf8.flatMap { $0 == Self.quote ? [$0, $0] : [$0] }
        return "{ serialNumber \(serialNumber), issuer rdnSequence:\"\(String(decoding: name, as: UTF8.self))\" }"
    }
}

/// Values of DER, one after the other.
private struct DERReader {
    private var octets: ArraySlice<UInt8>

    init(_ octets: ArraySlice<UInt8>) { self.octets = octets }

    var isAtEnd: Bool { octets.isEmpty }
    var rest: [UInt8] { Array(octets) }

    mutating func sequence() -> DERReader? { value(0x30).map(DERReader.init) }

    /// What is in the next value, if its tag is this one.
    mutating func value(_ tag: UInt8) -> ArraySlice<UInt8>? {
        guard octets.first == tag, octets.count >= 2 else { return nil }
        var contents = octets.dropFirst(2)
        var length = Int(octets[octets.startIndex + 1])
        if length >= 0x80 {
            let count = length & 0x7F
            guard (1...4).contains(count), contents.count >= count else { return nil }
            length = contents.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            contents = contents.dropFirst(count)
        }
        guard contents.count >= length else { return nil }
        octets = contents.dropFirst(length)
        return contents.prefix(length)
    }
}

extension StringProtocol where SubSequence == Substring {
    fileprivate var trimmed: Substring {
        var text = self[...]
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }

    fileprivate func behind(_ prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count).trimmed : nil }

    fileprivate func between(_ start: Character, _ end: Character) -> Substring? {
        count >= 2 && first == start && last == end ? dropFirst().dropLast() : nil
    }
}
