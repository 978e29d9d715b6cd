import SwiftASN1
import X509

/// The names for which an authority may issue certificates (RFC 5280 §4.2.1.10).
struct NameSubtrees {
    /// Most comparisons of names with subtrees for one path. Both come from strangers.
    static let comparisonsMax = 65_536

    private let permitted: [GeneralName]
    private let excluded: [GeneralName]

    var count: Int { permitted.count + excluded.count }

    init(_ constraints: NameConstraints) {
        (permitted, excluded) = (constraints.permittedSubtrees, constraints.excludedSubtrees)
    }

    /// Whether a certificate may have that name below it. What is not understood is not allowed, if there is such a name.
    func allows(_ name: GeneralName) -> Bool {
        for subtree in excluded where subtree.limits(name) {
            guard let isWithin = Self.isWithin(name, subtree, isExcluded: true), !isWithin else { return false }
        }
        var isLimited = false
        for subtree in permitted where subtree.limits(name) {
            guard let isWithin = Self.isWithin(name, subtree, isExcluded: false) else { return false }
            if isWithin { return true }
            isLimited = true
        }
        return !isLimited
    }

    /// Whether a domain that stands in another kind of name is allowed, as a DNS name would be.
    func allows(domain: String) -> Bool { allows(.dnsName(domain)) }

    /// The names of a certificate to which constraints apply: the subject's, and the alternative ones. An address in the subject counts if there is
    /// no other.
    static func names(of certificate: Certificate) throws -> [GeneralName] {
        let alternatives = try certificate.extensions.subjectAlternativeNames.map { Array($0) }
        let subject = certificate.subject
        let own: [GeneralName] = subject.isEmpty ? [] : [.directoryName(subject)]
        return own + (alternatives ?? addresses(in: subject))
    }

    private static func addresses(in subject: DistinguishedName) -> [GeneralName] {
        subject.flatMap { $0 }.filter { $0.type == .RDNAttributeType.emailAddress }.map { .rfc822Name(String($0.value) ?? "") }
    }

    /// `nil`: it cannot be told.
    private static func isWithin(_ name: GeneralName, _ subtree: GeneralName, isExcluded: Bool) -> Bool? {
        switch (name, subtree) {
        case (.dnsName(let name), .dnsName(let subtree)): isWithin(domain: name, subtree, isExcluded: isExcluded)
        case (.rfc822Name(let name), .rfc822Name(let subtree)): isWithin(mailbox: name, subtree)
        case (.uniformResourceIdentifier(let name), .uniformResourceIdentifier(let subtree)): host(of: name).flatMap { isWithin(host: $0, subtree) }
        case (.ipAddress(let name), .ipAddress(let subtree)): isWithin(address: name.bytes, subtree.bytes)
        case (.directoryName(let name), .directoryName(let subtree)): ComparableName(name).isWithin(ComparableName(subtree))
        default: nil
        }
    }

    /// A domain is within itself and all above it. A wildcard is within what is excluded if anything that it stands for is.
    private static func isWithin(domain name: String, _ subtree: String, isExcluded: Bool) -> Bool {
        let (name, subtree) = (name.lowercased(), subtree.lowercased().drop { $0 == "." })
        if subtree.isEmpty || name == subtree || name.hasSuffix(".\(subtree)") { return true }
        guard isExcluded, name.hasPrefix("*.") else { return false }
        return subtree.hasSuffix(name.dropFirst())
    }

    /// A mailbox, all mailboxes at a host, or all at any host below a domain that begins with a dot.
    private static func isWithin(mailbox name: String, _ subtree: String) -> Bool? {
        guard let at = name.lastIndex(of: "@") else { return nil }
        let (local, host) = (name[..<at], String(name[name.index(after: at)...]))
        guard let subtreeAt = subtree.lastIndex(of: "@") else { return isWithin(host: host, subtree) }
        return local == subtree[..<subtreeAt] && host.lowercased() == subtree[subtree.index(after: subtreeAt)...].lowercased()
    }

    /// A host, or all below a domain that begins with a dot.
    private static func isWithin(host: String, _ subtree: String) -> Bool {
        let (host, subtree) = (host.lowercased(), subtree.lowercased())
        return subtree.hasPrefix(".") ? host.hasSuffix(subtree) : subtree.isEmpty || host == subtree
    }

    /// `nil` if there is none, or it is an address (RFC 5280 §4.2.1.10).
    private static func host(of uri: String) -> String? {
        guard let scheme = uri.firstRange(of: "://") else { return nil }
        let authority = uri[scheme.upperBound...].prefix { !["/", "?", "#"].contains($0) }
        let host = authority.split(separator: "@", omittingEmptySubsequences: false).last?.split(separator: ":", omittingEmptySubsequences: false).first
        guard let host, host.contains("."), !host.hasPrefix("["), !host.allSatisfy({ $0 == "." || $0.isNumber }) else { return nil }
        return String(host)
    }

    /// An address and a mask.
    private static func isWithin(address: ArraySlice<UInt8>, _ subtree: ArraySlice<UInt8>) -> Bool? {
        let (network, mask) = (subtree.prefix(subtree.count / 2), subtree.suffix(subtree.count / 2))
        guard subtree.count == 8 || subtree.count == 32 else { return nil }
        guard address.count == network.count else { return false }
        return zip(address, zip(network, mask)).allSatisfy { $0 & $1.1 == $1.0 & $1.1 }
    }
}

extension GeneralName {
    /// Whether, as a subtree, it says anything about names of that kind.
    fileprivate func limits(_ name: GeneralName) -> Bool {
        switch (self, name) {
        case (.dnsName, .dnsName), (.rfc822Name, .rfc822Name), (.uniformResourceIdentifier, .uniformResourceIdentifier): true
        case (.ipAddress, .ipAddress), (.directoryName, .directoryName), (.x400Address, .x400Address): true
        case (.ediPartyName, .ediPartyName), (.registeredID, .registeredID): true
        case (.otherName(let one), .otherName(let other)): one.typeID == other.typeID
        default: false
        }
    }
}
