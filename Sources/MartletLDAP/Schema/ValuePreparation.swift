/// What values are turned into before they are compared, so that equal ones are the same octets.
public enum ValuePreparation: Hashable, Sendable {
    case boolean
    case caseExact
    case caseIgnore
    case certificate
    case distinguishedName
    case generalizedTime
    case integer
    /// A name, and with `#'0101'B` behind it which of several that had it (RFC 4517 §3.3.21).
    case nameAndOptionalUID
    case numericString
    case objectIdentifier
    case octetString
    case telephoneNumber
    case uuid

    /// - Returns: `nil` if the value is not of the syntax that the rule is for: whether it matches is undefined then (RFC 4511 §4.5.1.7).
    public func prepared(_ value: [UInt8]) -> [UInt8]? {
        switch self {
        case .boolean: Self.truthValues.contains(value) ? value : nil
        case .caseExact: PreparedString.value(value, isCaseIgnored: false)
        case .caseIgnore: PreparedString.value(value, isCaseIgnored: true)
        case .distinguishedName: (try? DistinguishedName(octets: value)).map { Array($0.normalized.utf8) }
        case .generalizedTime: GeneralizedTime.milliseconds(of: value).map { Array(String($0).utf8) }
        case .integer: DecimalInteger.isValid(value) ? value : nil
        case .nameAndOptionalUID: Self.distinguishedName.prepared(Self.withoutUID(value))
        case .numericString: PreparedString.withoutSpaces(value, hyphens: false)
        case .objectIdentifier: PreparedString.value(value, isCaseIgnored: true).map(Schema.standard.canonicalIdentifier)
        case .certificate: Self.certificate(value)
        case .octetString: value
        case .telephoneNumber: PreparedString.withoutSpaces(value, hyphens: true)
        case .uuid: UUIDText.octets(of: value)
        }
    }

    /// Whether values that are usually compared in another way can be compared in this one: texts with and without regard to case.
    func isFor(_ other: ValuePreparation) -> Bool {
        self == other || ([.caseExact, .caseIgnore].contains(self) && [.caseExact, .caseIgnore].contains(other))
    }

    private static let truthValues: Set<[UInt8]> = [Array("TRUE".utf8), Array("FALSE".utf8)]

    /// Whether a prepared value comes before another one.
    func isOrdered(_ first: [UInt8], before second: [UInt8]) -> Bool {
        switch self {
        case .integer, .generalizedTime: DecimalInteger.isOrdered(first, before: second)
        default: first.lexicographicallyPrecedes(second)
        }
    }

    /// Of a certificate, or of what a filter says about one.
    private static func certificate(_ value: [UInt8]) -> [UInt8]? {
        let isDER = value.first == 0x30 && value.count > 2 && value[1] >= 0x80
        let assertion = isDER ? CertificateExactAssertion(certificate: value) : CertificateExactAssertion(String(decoding: value, as: UTF8.self))
        return assertion.map { Array("\($0.serialNumber)$\($0.issuer.normalized)".utf8) }
    }

    private static func withoutUID(_ value: [UInt8]) -> [UInt8] {
        guard value.suffix(2) == Array("'B".utf8)[...], let sharp = value.lastIndex(of: UInt8(ascii: "#")) else { return value }
        return Array(value[..<sharp])
    }
}

/// Whole numbers as they are written (RFC 4517 §3.3.16), of any size: compared as they are, without arithmetic.
enum DecimalInteger {
    /// Digits of a number that is compared; AD's longest has 19.
    static let digitsMax = 64

    static func isValid(_ value: [UInt8]) -> Bool {
        let digits = value.first == minus ? value.dropFirst() : value[...]
        guard let first = digits.first, digits.count <= digitsMax, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return false }
        return first != UInt8(ascii: "0") || value.count == 1
    }

    static func isOrdered(_ first: [UInt8], before second: [UInt8]) -> Bool {
        switch (first.first == minus, second.first == minus) {
        case (true, false): true
        case (false, true): false
        case (false, false): isSmaller(first[...], second[...])
        case (true, true): isSmaller(second.dropFirst(), first.dropFirst())
        }
    }

    private static let minus = UInt8(ascii: "-")

    private static func isSmaller(_ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>) -> Bool {
        first.count == second.count ? first.lexicographicallyPrecedes(second) : first.count < second.count
    }
}

/// UUIDs as they are written (RFC 4122 §3).
enum UUIDText {
    /// Its 16 octets.
    static func octets(of text: [UInt8]) -> [UInt8]? {
        guard text.count == 36 else { return nil }
        var octets: [UInt8] = []
        var place = 0
        while place < 36 {
            if [8, 13, 18, 23].contains(place) {
                guard text[place] == UInt8(ascii: "-") else { return nil }
                place += 1
                continue
            }
            guard let high = Hexadecimal.value(of: text[place]), let low = Hexadecimal.value(of: text[place + 1]) else { return nil }
            octets.append(high << 4 | low)
            place += 2
        }
        return octets
    }
}
