/// One attribute with its values: `PartialAttribute` and `Attribute` (RFC 4511 §4.1.7).
public struct LDAPAttribute: Hashable, Sendable {
    /// A name or an OID, with its options: `cn;lang-de` (RFC 4512 §2.5).
    public var description: String
    /// None where only types were asked for, or all are to go.
    public var values: [[UInt8]]

    public init(_ description: String, _ values: [[UInt8]]) {
        self.description = description
        self.values = values
    }

    public init(_ description: String, _ value: String) { self.init(description, [Array(value.utf8)]) }

    public init(_ description: String, strings: [String]) { self.init(description, strings.map { Array($0.utf8) }) }
}

/// An entry of the directory, as far as it was asked for: of a search's result or to be added.
public struct LDAPEntry: Hashable, Sendable {
    /// As the server writes it (RFC 4514); for comparisons there is ``DistinguishedName``.
    public var name: String
    public var attributes: [LDAPAttribute]

    public init(_ name: String, _ attributes: [LDAPAttribute] = []) {
        self.name = name
        self.attributes = attributes
    }
}
