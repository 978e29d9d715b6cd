/// How a value that somebody asserts is held against the values that there are (RFC 4517 §4.2).
public struct MatchingRule: Hashable, Sendable {
    public enum Purpose: Hashable, Sendable {
        case equality
        case ordering
        case substrings
        /// All bits of the assertion are set in the value: a rule of Active Directory's, which OpenLDAP has as well.
        case allBits
        /// At least one is.
        case anyBit
    }
    public let name: String
    public let oid: String
    public let purpose: Purpose
    /// What makes values comparable.
    public let preparation: ValuePreparation

    private init(_ name: String, _ oid: String, _ purpose: Purpose, _ preparation: ValuePreparation) {
        self.name = name
        self.oid = oid
        self.purpose = purpose
        self.preparation = preparation
    }

    /// The rule of this name or OID, whatever its letters' case.
    public static func named(_ text: String) -> MatchingRule? { byName[text.lowercased()] }

    private static let byName = Dictionary(
        all.flatMap { [($0.name.lowercased(), $0), ($0.oid, $0)] }, uniquingKeysWith: { first, _ in first })
}

// MARK: The rules that there are

extension MatchingRule {
    public static let boolean = MatchingRule("booleanMatch", "2.5.13.13", .equality, .boolean)
    public static let caseExact = MatchingRule("caseExactMatch", "2.5.13.5", .equality, .caseExact)
    public static let caseExactIA5 = MatchingRule("caseExactIA5Match", "1.3.6.1.4.1.1466.109.114.1", .equality, .caseExact)
    public static let caseExactOrdering = MatchingRule("caseExactOrderingMatch", "2.5.13.6", .ordering, .caseExact)
    public static let caseExactSubstrings = MatchingRule("caseExactSubstringsMatch", "2.5.13.7", .substrings, .caseExact)
    public static let caseIgnore = MatchingRule("caseIgnoreMatch", "2.5.13.2", .equality, .caseIgnore)
    public static let caseIgnoreIA5 = MatchingRule("caseIgnoreIA5Match", "1.3.6.1.4.1.1466.109.114.2", .equality, .caseIgnore)
    public static let caseIgnoreIA5Substrings = MatchingRule("caseIgnoreIA5SubstringsMatch", "1.3.6.1.4.1.1466.109.114.3", .substrings, .caseIgnore)
    public static let caseIgnoreList = MatchingRule("caseIgnoreListMatch", "2.5.13.11", .equality, .caseIgnore)
    public static let caseIgnoreListSubstrings = MatchingRule("caseIgnoreListSubstringsMatch", "2.5.13.12", .substrings, .caseIgnore)
    public static let caseIgnoreOrdering = MatchingRule("caseIgnoreOrderingMatch", "2.5.13.3", .ordering, .caseIgnore)
    public static let caseIgnoreSubstrings = MatchingRule("caseIgnoreSubstringsMatch", "2.5.13.4", .substrings, .caseIgnore)
    public static let certificateExact = MatchingRule("certificateExactMatch", "2.5.13.34", .equality, .certificate)
    public static let distinguishedName = MatchingRule("distinguishedNameMatch", "2.5.13.1", .equality, .distinguishedName)
    public static let generalizedTime = MatchingRule("generalizedTimeMatch", "2.5.13.27", .equality, .generalizedTime)
    public static let generalizedTimeOrdering = MatchingRule("generalizedTimeOrderingMatch", "2.5.13.28", .ordering, .generalizedTime)
    public static let integer = MatchingRule("integerMatch", "2.5.13.14", .equality, .integer)
    public static let integerOrdering = MatchingRule("integerOrderingMatch", "2.5.13.15", .ordering, .integer)
    public static let numericString = MatchingRule("numericStringMatch", "2.5.13.8", .equality, .numericString)
    public static let numericStringOrdering = MatchingRule("numericStringOrderingMatch", "2.5.13.9", .ordering, .numericString)
    public static let numericStringSubstrings = MatchingRule("numericStringSubstringsMatch", "2.5.13.10", .substrings, .numericString)
    public static let objectIdentifier = MatchingRule("objectIdentifierMatch", "2.5.13.0", .equality, .objectIdentifier)
    public static let octetString = MatchingRule("octetStringMatch", "2.5.13.17", .equality, .octetString)
    public static let octetStringOrdering = MatchingRule("octetStringOrderingMatch", "2.5.13.18", .ordering, .octetString)
    public static let telephoneNumber = MatchingRule("telephoneNumberMatch", "2.5.13.20", .equality, .telephoneNumber)
    public static let telephoneNumberSubstrings = MatchingRule("telephoneNumberSubstringsMatch", "2.5.13.21", .substrings, .telephoneNumber)
    public static let uniqueMember = MatchingRule("uniqueMemberMatch", "2.5.13.23", .equality, .nameAndOptionalUID)
    /// RFC 4530 §2.2-2.3.
    public static let uuid = MatchingRule("uuidMatch", "1.3.6.1.1.16.2", .equality, .uuid)
    public static let uuidOrdering = MatchingRule("uuidOrderingMatch", "1.3.6.1.1.16.3", .ordering, .uuid)
    public static let bitAnd = MatchingRule("integerBitAndMatch", "1.2.840.113556.1.4.803", .allBits, .integer)
    public static let bitOr = MatchingRule("integerBitOrMatch", "1.2.840.113556.1.4.804", .anyBit, .integer)

    public static let all: [MatchingRule] = [
        boolean, caseExact, caseExactIA5, caseExactOrdering, caseExactSubstrings, caseIgnore, caseIgnoreIA5, caseIgnoreIA5Substrings, caseIgnoreList,
        caseIgnoreListSubstrings, caseIgnoreOrdering, caseIgnoreSubstrings, certificateExact, distinguishedName, generalizedTime,
        generalizedTimeOrdering, integer, integerOrdering, numericString, numericStringOrdering, numericStringSubstrings, objectIdentifier, octetString, octetStringOrdering,
        telephoneNumber, telephoneNumberSubstrings, uniqueMember, uuid, uuidOrdering, bitAnd, bitOr,
    ]
}
