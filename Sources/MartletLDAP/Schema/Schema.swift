/// What is known of attributes. A directory has more of them; what is not known here is compared as a text, without regard to case.
public struct Schema: Sendable {
    private var types: [String: AttributeType] = [:]
    /// Names of object classes by their OIDs.
    private var classes: [String: String] = [:]

    /// The attributes that Martlet deals with, its own ones among them.
    public static let standard = Schema(StandardAttributes.all + MartletSchema.attributeTypes, StandardAttributes.classes, MartletSchema.objectClasses)

    init(_ types: [AttributeType], _ classes: [String: String] = [:], _ objectClasses: [ObjectClass] = []) {
        for var type in types {
            let superior = type.superior.flatMap { self.types[$0.lowercased()] }
            type.equality = type.equality ?? superior?.equality
            type.ordering = type.ordering ?? superior?.ordering
            type.substrings = type.substrings ?? superior?.substrings
            type.syntax = type.syntax ?? superior?.syntax
            for name in type.names { self.types[name.lowercased()] = type }
            self.types[type.oid] = type
        }
        self.classes = classes
        for objectClass in objectClasses { self.classes[objectClass.oid] = objectClass.name.lowercased() }
    }

    /// By any of its names or its OID.
    public func attributeType(_ name: String) -> AttributeType? {
        types[name] ?? types[name.lowercased()] ?? Self.withoutPrefix(name).flatMap { types[$0] }
    }

    /// Its usual name in small letters, if it is known, or else what it is called in small letters.
    public func canonicalType(_ name: String) -> String {
        attributeType(name)?.canonicalName ?? Self.withoutPrefix(name) ?? name.lowercased()
    }

    /// How values are compared; `nil` if nothing can be said about them but whether they are there, as of photos.
    public func equality(of type: String) -> MatchingRule? {
        guard let known = attributeType(type) else { return .caseIgnore }
        return known.equality
    }

    /// Whether one type is a kind of the other one, by however many steps. Both are ``canonicalType(_:)``.
    func isKind(_ type: String, of other: String) -> Bool {
        var type = type
        // The longest line has three steps.
        for _ in 0..<4 {
            guard let superior = types[type]?.superior else { return false }
            type = canonicalType(superior)
            if type == other { return true }
        }
        return false
    }

    /// The name of an attribute or an object class, of which there may be an OID. In small letters, as the name itself is.
    func canonicalIdentifier(_ value: [UInt8]) -> [UInt8] {
        guard let first = value.first, (UInt8(ascii: "0")...UInt8(ascii: "2")).contains(first) else { return value }
        let oid = String(decoding: value, as: UTF8.self)
        guard let name = classes[oid] ?? types[oid]?.canonicalName else { return value }
        return Array(name.utf8)
    }

    /// LDAPv2 wrote `OID.2.5.4.3` (RFC 1779 §2.3).
    private static func withoutPrefix(_ name: String) -> String? {
        name.count > 4 && name.prefix(4).lowercased() == "oid." ? String(name.dropFirst(4)) : nil
    }
}
