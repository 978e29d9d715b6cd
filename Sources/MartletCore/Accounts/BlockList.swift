package import MartletXMPP

/// Whom an account wants to have nothing to do with (XEP-0191 §2, matching as in RFC 6121's addresses: full JID, bare JID,
/// domain with resource, domain).
package struct BlockList: Hashable, Sendable {
    package private(set) var addresses: Set<JID>
    package init(_ addresses: some Sequence<JID> = []) { self.addresses = Set(addresses) }

    package var isEmpty: Bool { addresses.isEmpty }
    package var count: Int { addresses.count }

    package mutating func insert(_ address: JID) -> Bool { addresses.insert(address).inserted }
    package mutating func remove(_ address: JID) -> Bool { addresses.remove(address) != nil }
    package mutating func removeAll() { addresses.removeAll() }

    package func blocks(_ address: JID) -> Bool {
        if addresses.isEmpty { return false }
        return addresses.contains(address) || addresses.contains(.bare(address.bare)) || blocksDomain(of: address)
    }

    private func blocksDomain(of address: JID) -> Bool {
        guard !address.bare.isDomain else { return false }
        guard let domain = try? BareJID(localpart: nil, domainpart: address.bare.domainpart) else { return false }
        if addresses.contains(.bare(domain)) { return true }
        guard let resource = address.resourcepart, let full = try? domain.with(resourcepart: resource) else { return false }
        return addresses.contains(.full(full))
    }
}
