/// The name of an entry, from its own RDN up to the root (RFC 4514 §2).
///
/// Equal names are equal values whatever their spelling: types are in lower case, or the short name where an OID or a long name was used (RFC 4514
/// §3's table), values as ``AttributeValue`` prepares them. What was written is kept beside that, for whoever has to write it again
/// (``description``).
public struct DistinguishedName: Hashable, Sendable {
    /// The entry's own first. Empty for the root.
    public var relativeNames: [RelativeDistinguishedName]

    /// Octets of a text that is read.
    public static let octetsMax = 16_384
    /// Steps from the root to an entry.
    public static let relativeNamesMax = 64

    public init(_ relativeNames: [RelativeDistinguishedName]) { self.relativeNames = relativeNames }

    public static let root = DistinguishedName([])

    /// The entry's own step; `nil` of the root.
    public var relativeName: RelativeDistinguishedName? { relativeNames.first }

    /// The name of the entry that it lies directly below; `nil` of the root.
    public var parent: DistinguishedName? { relativeNames.isEmpty ? nil : DistinguishedName(Array(relativeNames.dropFirst())) }

    /// Whether it lies below the other one, directly or not. No name lies below itself.
    public func isDescendant(of other: DistinguishedName) -> Bool {
        let depth = relativeNames.count - other.relativeNames.count
        return depth > 0 && relativeNames[depth...].elementsEqual(other.relativeNames)
    }

    /// The name of what lies directly below.
    public func child(_ name: RelativeDistinguishedName) -> DistinguishedName { DistinguishedName([name] + relativeNames) }

    /// What lies below a base, named from there: the name again if it is put before the base.
    public func under(_ base: DistinguishedName) -> DistinguishedName { DistinguishedName(relativeNames + base.relativeNames) }

    /// What of the name stands before the base; `nil` if it is neither the base nor below it.
    public func relative(to base: DistinguishedName) -> DistinguishedName? {
        guard self == base || isDescendant(of: base) else { return nil }
        return DistinguishedName(Array(relativeNames.dropLast(base.relativeNames.count)))
    }

    /// Whether a search that begins at a base finds it (RFC 4511 §4.5.1.2).
    public func isInScope(_ scope: SearchRequest.Scope, of base: DistinguishedName) -> Bool {
        switch scope {
        case .baseObject: self == base
        case .singleLevel: parent == base
        case .wholeSubtree: self == base || isDescendant(of: base)
        }
    }
}

/// One step of a name: one attribute, or several at once, whose order does not matter.
public struct RelativeDistinguishedName: Hashable, Sendable {
    /// In the order in which they were written; each once.
    public private(set) var ordered: [AttributeValue]

    public static let attributesMax = 16

    public init(_ attributes: Set<AttributeValue>) { ordered = attributes.sorted { $0.isOrdered(before: $1) } }

    /// Of those that are equal the first counts.
    public init(ordered attributes: [AttributeValue]) {
        ordered = []
        for attribute in attributes where !ordered.contains(attribute) { ordered.append(attribute) }
    }

    /// With a single attribute: a value that somebody has given, whatever there is in it.
    public init(_ type: String, _ value: String) { ordered = [AttributeValue(type, Array(value.utf8))] }

    public var attributes: Set<AttributeValue> {
        get { Set(ordered) }
        set { self = RelativeDistinguishedName(newValue) }
    }

    public static func == (one: RelativeDistinguishedName, other: RelativeDistinguishedName) -> Bool {
        guard one.ordered.count == other.ordered.count else { return false }
        return one.ordered == other.ordered || one.ordered.allSatisfy(other.ordered.contains)
    }

    public func hash(into hasher: inout Hasher) {
        if ordered.count == 1 { hasher.combine(ordered[0]) } else { hasher.combine(attributes) }
    }
}

/// An attribute of a name.
public struct AttributeValue: Hashable, Sendable {
    /// In lower case.
    public var type: String
    /// As it is compared: without regard to case and to how many spaces there are, where its type is compared so.
    public var prepared: [UInt8]
    /// How its type is written.
    public let writtenType: String
    /// What it is, without the escapes of a text. If it ``isEncoded``, in BER.
    public let value: [UInt8]
    /// Whether it can only be written as `#` and hexadecimal digits, because it is no text (RFC 4514 §2.4).
    public let isEncoded: Bool

    /// As it is compared is all that is known of it.
    public init(type: String, prepared: [UInt8]) {
        self.type = type
        self.prepared = prepared
        writtenType = type
        (value, isEncoded) = prepared.first == Self.encodedMark ? (Array(prepared.dropFirst()), true) : (prepared, false)
    }

    /// A value that somebody has given, whatever octets there are in it.
    public init(_ type: String, _ value: [UInt8], schema: Schema = .standard) {
        writtenType = type
        self.type = schema.canonicalType(type)
        self.value = value
        isEncoded = false
        // What is not of the type's syntax is equal to nothing but itself.
        prepared = Self.preparation(schema.equality(of: self.type)).prepared(value) ?? value
    }

    /// A value in BER that is no text.
    public init(_ type: String, encoded value: [UInt8], schema: Schema = .standard) {
        writtenType = type
        self.type = schema.canonicalType(type)
        self.value = value
        isEncoded = true
        prepared = [Self.encodedMark] + value
    }

    /// A name in a name is a text: nobody has entries named so, and names in names in names would be read as deep as somebody likes.
    private static func preparation(_ equality: MatchingRule?) -> ValuePreparation {
        guard let preparation = equality?.preparation else { return .octetString }
        return [.distinguishedName, .nameAndOptionalUID].contains(preparation) ? .caseIgnore : preparation
    }

    /// Stands before a value in BER where values are compared. No text begins with it, since UTF-8 has no such octet.
    private static let encodedMark: UInt8 = 0xFF

    public static func == (one: AttributeValue, other: AttributeValue) -> Bool { one.type == other.type && one.prepared == other.prepared }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(type)
        hasher.combine(prepared)
    }

    func isOrdered(before other: AttributeValue) -> Bool {
        type == other.type ? prepared.lexicographicallyPrecedes(other.prepared) : type < other.type
    }
}

extension DistinguishedName {
    /// Parents before their children, and names of one parent in order: the order in which a tree can be built.
    public func isOrdered(before other: DistinguishedName) -> Bool {
        for (one, another) in zip(relativeNames.reversed(), other.relativeNames.reversed()) where one != another {
            return one.isOrdered(before: another)
        }
        return relativeNames.count < other.relativeNames.count
    }
}

extension RelativeDistinguishedName {
    func isOrdered(before other: RelativeDistinguishedName) -> Bool {
        let (one, another) = (ordered.sorted { $0.isOrdered(before: $1) }, other.ordered.sorted { $0.isOrdered(before: $1) })
        return one.lexicographicallyPrecedes(another) { $0.isOrdered(before: $1) }
    }
}
