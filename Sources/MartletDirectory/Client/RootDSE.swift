package import MartletLDAP

/// What a server says of itself (RFC 4512 §5.1): what can be asked of it.
package struct RootDSE: Hashable, Sendable {
    /// OIDs (RFC 4512 §5.1.4).
    package let controls: Set<String>
    /// OIDs of extended operations (§5.1.3).
    package let extensions: Set<String>
    /// OIDs (§5.1.5).
    package let features: Set<String>
    /// SASL's, for the connection as it is: TLS may bring others (§5.1.7).
    package let mechanisms: Set<String>
    /// What it holds (§5.1.1).
    package let namingContexts: [String]
    /// RFC 3045. Words of the server's, for operators.
    package let vendorName: String?
    package let vendorVersion: String?
    /// Whether it is Active Directory, which has ways of its own.
    package let isActiveDirectory: Bool

    /// LDAP_CAP_ACTIVE_DIRECTORY_OID.
    private static let activeDirectory = "1.2.840.113556.1.4.800"

    /// What is asked for: all of it is operational, and given only to who names it.
    package static let search = SearchRequest(
        "", .baseObject, .present("objectClass"),
        attributes: [
            "supportedControl", "supportedExtension", "supportedFeatures", "supportedSASLMechanisms", "namingContexts", "vendorName", "vendorVersion",
            "supportedCapabilities",
        ])

    package init(_ entry: LDAPEntry) {
        controls = Set(entry.strings("supportedControl"))
        extensions = Set(entry.strings("supportedExtension"))
        features = Set(entry.strings("supportedFeatures"))
        mechanisms = Set(entry.strings("supportedSASLMechanisms"))
        namingContexts = entry.strings("namingContexts")
        vendorName = entry.strings("vendorName").first
        vendorVersion = entry.strings("vendorVersion").first
        isActiveDirectory = entry.strings("supportedCapabilities").contains(Self.activeDirectory)
    }
}

extension LDAPEntry {
    /// The values of an attribute, whatever the case of its name; what is no UTF-8 is left out.
    func strings(_ description: String) -> [String] {
        let wanted = description.lowercased()
        return attributes.filter { $0.description.lowercased() == wanted }.flatMap { $0.values.compactMap { String(validating: $0, as: UTF8.self) } }
    }
}
