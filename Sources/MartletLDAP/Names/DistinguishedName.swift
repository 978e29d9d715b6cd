/// The name of an entry, from its own RDN up to the root (RFC 4514 §2).
///
/// Equal names are equal values whatever their spelling: types are in lower case, or the short name where an OID or a long name was used (RFC 4514 §3's table),
/// values as ``AttributeValue`` prepares them.
public struct DistinguishedName: Hashable, Sendable {
    /// The entry's own first. Empty for the root.
    public var relativeNames: [RelativeDistinguishedName]

    public init(_ relativeNames: [RelativeDistinguishedName]) { self.relativeNames = relativeNames }
}

/// One step of a name: one attribute, or several at once, whose order does not matter.
public struct RelativeDistinguishedName: Hashable, Sendable {
    public var attributes: Set<AttributeValue>

    public init(_ attributes: Set<AttributeValue>) { self.attributes = attributes }
}

/// An attribute of a name.
public struct AttributeValue: Hashable, Sendable {
    /// In lower case.
    public var type: String
    /// As it is compared: without regard to case and to how many spaces there are, where its type is compared so.
    public var prepared: [UInt8]

    public init(type: String, prepared: [UInt8]) {
        self.type = type
        self.prepared = prepared
    }
}
