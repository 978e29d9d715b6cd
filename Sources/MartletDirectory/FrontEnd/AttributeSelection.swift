import MartletLDAP

/// Which attributes a search asks for (RFC 4511 §4.5.1.8, RFC 3673, RFC 4529).
struct AttributeSelection: Hashable, Sendable {
    /// All that are not operational: nothing was named, or `*`.
    let hasAllUserAttributes: Bool
    /// `+`.
    let hasAllOperationalAttributes: Bool
    private let named: [AttributeDescription]
    /// Of object classes, in small letters.
    private let classes: Set<String>

    init(_ attributes: [String]) {
        // `1.1` beside others means nothing.
        let names = attributes.filter { $0 != "1.1" }
        hasAllUserAttributes = attributes.isEmpty || names.contains("*")
        hasAllOperationalAttributes = names.contains("+")
        named = names.compactMap { AttributeDescription($0) }
        classes = Set(names.filter { $0.hasPrefix("@") }.map { $0.dropFirst().lowercased() })
    }

    /// Whether an attribute is named, or something that it is a kind of.
    func names(_ attribute: AttributeDescription) -> Bool { named.contains { attribute.isSubtype(of: $0) } }

    func names(_ attribute: String) -> Bool { AttributeDescription(attribute).map(names) ?? false }

    func names(class objectClass: String) -> Bool { classes.contains(objectClass.lowercased()) }

    /// Whether a user attribute is asked for.
    func includes(_ attribute: String) -> Bool { hasAllUserAttributes || names(attribute) }

    /// Whether something of a type may be wanted, whatever options are asked for.
    func mayInclude(type: String) -> Bool { hasAllUserAttributes || named.contains { $0.type == type } }

    /// The same of an attribute that the directory keeps itself.
    func includesOperational(_ attribute: String) -> Bool { hasAllOperationalAttributes || names(attribute) }
}
