/// An attribute as requests and entries name it (RFC 4512 §2.5): its type and options, `cn;lang-de`, `userCertificate;binary`, `member;range=0-1499`.
public struct AttributeDescription: Hashable, Sendable {
    /// Which of an attribute's values these are, as Active Directory gives many of them piece by piece ([MS-ADTS] §3.1.1.3.1.3.3).
    public struct ValueRange: Hashable, Sendable {
        /// Counted from 0.
        public let first: Int
        /// `nil` if there are no more.
        public let last: Int?
    }
    /// As ``Schema`` calls it: its usual name, in small letters.
    public let type: String
    /// In small letters; without the range.
    public let options: Set<String>
    public let range: ValueRange?

    /// Octets of the longest that is looked at.
    public static let octetsMax = 512
    public static let optionsMax = 16

    /// - Returns: `nil` if it is none.
    public init?(_ text: String, schema: Schema = .standard) {
        let octets = text.utf8
        guard octets.count <= Self.octetsMax else { return nil }
        // The usual case, which is that of each attribute of each entry.
        guard octets.contains(UInt8(ascii: ";")) else {
            guard Self.isType(octets) else { return nil }
            self.init(type: schema.canonicalType(text), options: [], range: nil)
            return
        }
        let parts = text.split(separator: ";", omittingEmptySubsequences: false)
        guard parts.count - 1 <= Self.optionsMax, let type = parts.first, Self.isType(type.utf8) else { return nil }
        var options: Set<String> = []
        var range: ValueRange?
        for option in parts.dropFirst() {
            if option.lowercased().hasPrefix("range=") {
                guard range == nil, let given = ValueRange(option.dropFirst("range=".count)) else { return nil }
                range = given
            } else {
                guard !option.isEmpty, option.utf8.allSatisfy(Self.isKeyCharacter) else { return nil }
                options.insert(option.lowercased())
            }
        }
        self.init(type: schema.canonicalType(String(type)), options: options, range: range)
    }

    private init(type: String, options: Set<String>, range: ValueRange?) {
        self.type = type
        self.options = options
        self.range = range
    }

    /// Whether who asks for the other one means this one as well (§2.5.2.1): `cn;lang-de` for `cn`, and all kinds of `name` for `name`.
    public func isSubtype(of other: AttributeDescription, schema: Schema = .standard) -> Bool {
        options.isSuperset(of: other.options) && (type == other.type || schema.isKind(type, of: other.type))
    }

    // MARK: Characters

    /// A name or a dotted OID (§1.4). Names of some servers have underscores.
    static func isType(_ octets: some BidirectionalCollection<UInt8>) -> Bool {
        guard let first = octets.first else { return false }
        if isDigit(first) { return isOID(octets) }
        return isLetter(first) && octets.allSatisfy { isKeyCharacter($0) || $0 == UInt8(ascii: "_") }
    }

    /// Digits and single dots between them.
    private static func isOID(_ octets: some BidirectionalCollection<UInt8>) -> Bool {
        var isAfterDot = true
        for octet in octets {
            guard isDigit(octet) || (octet == dot && !isAfterDot) else { return false }
            isAfterDot = octet == dot
        }
        return !isAfterDot
    }

    private static let dot = UInt8(ascii: ".")

    static func isKeyCharacter(_ octet: UInt8) -> Bool { isLetter(octet) || isDigit(octet) || octet == UInt8(ascii: "-") }

    private static func isLetter(_ octet: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet | 0x20) }

    private static func isDigit(_ octet: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) }
}

extension AttributeDescription.ValueRange {
    /// `0-1499` or `1500-*`.
    init?(_ text: some StringProtocol) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, ends[0].utf8.count <= 10, ends[1].utf8.count <= 10, let first = Int(ends[0]) else { return nil }
        if ends[1] == "*" {
            self.init(first: first, last: nil)
        } else {
            guard let last = Int(ends[1]), first <= last else { return nil }
            self.init(first: first, last: last)
        }
    }
}

extension AttributeDescription.ValueRange: CustomStringConvertible {
    /// As it is asked for, behind `range=`.
    public var description: String { "\(first)-\(last.map(String.init) ?? "*")" }
}

extension LDAPTextReader {
    /// A type and options, as filters and names of attributes in addresses have them.
    mutating func attributeDescription() throws(LDAPTextError) -> String {
        let start = offset
        let text = text { AttributeDescription.isKeyCharacter($0) || [UInt8(ascii: "."), UInt8(ascii: ";"), UInt8(ascii: "_")].contains($0) }
        guard AttributeDescription(text) != nil else { throw LDAPTextError(.attributeDescription, at: start) }
        return text
    }
}
