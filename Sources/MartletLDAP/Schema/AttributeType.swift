/// What is known of an attribute (RFC 4512 §4.1.2).
public struct AttributeType: Hashable, Sendable {
    public let oid: String
    /// The usual one first.
    public let names: [String]
    /// What it is called where types are compared: its usual name, in small letters.
    public let canonicalName: String
    public var description: String?
    /// The name of the type that it is a kind of: who asks for that one means this one as well.
    public var superior: String?
    public var equality: MatchingRule?
    public var ordering: MatchingRule?
    public var substrings: MatchingRule?
    /// `nil` if it is the superior's.
    public var syntax: AttributeSyntax?
    /// Characters that a value should be allowed to have; `nil` for as many as there are.
    public var lengthMin: Int?
    public var isSingleValued = false
    /// The directory keeps it itself: nobody writes it (`NO-USER-MODIFICATION`).
    public var isOperational = false

    public init(_ oid: String, names: [String], equality: MatchingRule? = nil, syntax: AttributeSyntax? = nil) {
        self.oid = oid
        self.names = names
        canonicalName = (names.first ?? oid).lowercased()
        self.equality = equality
        self.syntax = syntax
    }

    public init(_ oid: String, _ name: String, equality: MatchingRule? = nil, syntax: AttributeSyntax? = nil) {
        self.init(oid, names: [name], equality: equality, syntax: syntax)
    }

    public var name: String { names.first ?? oid }
}

/// Of what kind values are (RFC 4517 §3.3), by their OIDs.
public enum AttributeSyntax: String, Hashable, Sendable {
    case boolean = "1.3.6.1.4.1.1466.115.121.1.7"
    case certificate = "1.3.6.1.4.1.1466.115.121.1.8"
    case certificateList = "1.3.6.1.4.1.1466.115.121.1.9"
    case countryString = "1.3.6.1.4.1.1466.115.121.1.11"
    case distinguishedName = "1.3.6.1.4.1.1466.115.121.1.12"
    case directoryString = "1.3.6.1.4.1.1466.115.121.1.15"
    case facsimileTelephoneNumber = "1.3.6.1.4.1.1466.115.121.1.22"
    case generalizedTime = "1.3.6.1.4.1.1466.115.121.1.24"
    case ia5String = "1.3.6.1.4.1.1466.115.121.1.26"
    case integer = "1.3.6.1.4.1.1466.115.121.1.27"
    case jpeg = "1.3.6.1.4.1.1466.115.121.1.28"
    case nameAndOptionalUID = "1.3.6.1.4.1.1466.115.121.1.34"
    case numericString = "1.3.6.1.4.1.1466.115.121.1.36"
    case objectIdentifier = "1.3.6.1.4.1.1466.115.121.1.38"
    case octetString = "1.3.6.1.4.1.1466.115.121.1.40"
    case postalAddress = "1.3.6.1.4.1.1466.115.121.1.41"
    case printableString = "1.3.6.1.4.1.1466.115.121.1.44"
    case telephoneNumber = "1.3.6.1.4.1.1466.115.121.1.50"
    case uuid = "1.3.6.1.1.16.1"
}
