/// Which addresses may be dialled because DNS, or a domain that is an address, says so.
///
/// Anybody can have any address in his zone: without this, a stanza to a domain of his would have the server connect to whatever listens on
/// loopback or in the operator's own network. Only what the Internet routes is dialled, and networks that the operator names.
package struct AddressPolicy: Hashable, Sendable {
    package enum Refusal: String, Hashable, Sendable, CustomStringConvertible {
        case unspecified = "an unspecified address"
        case loopback = "a loopback address"
        case privateUse = "an address for private use"
        case linkLocal = "a link-local address"
        case multicast = "a multicast address"
        case documentation = "an address for documentation"
        /// Including what translates to or tunnels through addresses that cannot be seen.
        case reserved = "a reserved address"

        package var description: String { rawValue }
    }

    /// What may be dialled all the same.
    package var allowed: [NetworkBlock]

    package init(allowed: [NetworkBlock] = []) { self.allowed = allowed }

    /// For what the operator himself wants to be called.
    package static let everything = AddressPolicy(allowed: [block("0.0.0.0/0"), block("::/0")])

    /// Why the address is not dialled; `nil` if it may be.
    package func refusal(of address: NetworkAddress) -> Refusal? {
        if allowed.contains(where: { $0.contains(address) }) { return nil }
        if let embedded = Self.embedded(address) { return refusal(of: embedded) }
        if let special = Self.special.first(where: { $0.block.contains(address) }) { return special.refusal }
        return address.isIPv4 || Self.globalUnicast.contains(address) ? nil : .reserved
    }

    /// The IPv4 address that a translator (NAT64, RFC 6052 §2.1) or relay (6to4, RFC 3056 §2) would connect to.
    private static func embedded(_ address: NetworkAddress) -> NetworkAddress? {
        if nat64.contains(address) { return NetworkAddress(ipv4: UInt32(truncatingIfNeeded: address.low)) }
        if sixToFour.contains(address) { return NetworkAddress(ipv4: UInt32(truncatingIfNeeded: address.high >> 16)) }
        return nil
    }

    private static let nat64 = block("64:ff9b::/96")
    private static let sixToFour = block("2002::/16")
    /// All that has been given out of IPv6 (RFC 4291 §2.4, the IANA's registry of the address space).
    private static let globalUnicast = block("2000::/3")

    /// RFC 6890 and the IANA's registries of special-purpose addresses that it began. IPv4-mapped addresses are IPv4 ones here.
    private static let special: [(block: NetworkBlock, refusal: Refusal)] = [
        (block("0.0.0.0/8"), .unspecified),
        (block("10.0.0.0/8"), .privateUse),
        (block("100.64.0.0/10"), .privateUse),
        (block("127.0.0.0/8"), .loopback),
        (block("169.254.0.0/16"), .linkLocal),
        (block("172.16.0.0/12"), .privateUse),
        (block("192.0.0.0/24"), .reserved),
        (block("192.0.2.0/24"), .documentation),
        (block("192.88.99.0/24"), .reserved),
        (block("192.168.0.0/16"), .privateUse),
        (block("198.18.0.0/15"), .reserved),
        (block("198.51.100.0/24"), .documentation),
        (block("203.0.113.0/24"), .documentation),
        (block("224.0.0.0/4"), .multicast),
        (block("240.0.0.0/4"), .reserved),
        (block("::/128"), .unspecified),
        (block("::1/128"), .loopback),
        // Teredo, benchmarks, ORCHID and the rest of what protocols have to themselves (RFC 2928).
        (block("2001::/23"), .reserved),
        (block("2001:db8::/32"), .documentation),
        (block("3fff::/20"), .documentation),
        (block("fc00::/7"), .privateUse),
        (block("fe80::/10"), .linkLocal),
        (block("fec0::/10"), .privateUse),
        (block("ff00::/8"), .multicast),
    ]

    private static func block(_ text: String) -> NetworkBlock {
        guard let block = NetworkBlock(text) else { preconditionFailure("\(text) is no network") }
        return block
    }
}
