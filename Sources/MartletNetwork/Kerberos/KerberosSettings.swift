package import MartletXMPP

/// How clients log in by tickets of Kerberos (RFC 4752).
package struct KerberosSettings: Hashable, Sendable {
    /// What the first component of our principals is by registration (RFC 6120 §15.4, XEP-0233 §3).
    package static let serviceDefault = "xmpp"

    /// File with the keys of our principals.
    package var keytab: String
    /// File in which the library notes what it has seen, so that no token is good twice.
    package var replays: String
    package var service = serviceDefault
    /// The host of our principals, beside the domains themselves; `nil`: any.
    package var hostname: String?
    /// By domain, the realms whose principals have accounts there.
    package var realms: [String: Set<String>]

    package init(keytab: String, replays: String, realms: [String: Set<String>]) {
        self.keytab = keytab
        self.replays = replays
        self.realms = realms
    }

    /// What clients of a domain are told; `nil` if nobody's tickets are good there.
    package func offer(at domain: String) -> KerberosOffer? {
        realms[domain].map { KerberosOffer(realms: $0, hostname: hostname) }
    }

    /// Whether a principal is one of ours: `service/host`, or `service/host/domain` of one of the domains (RFC 5179, XEP-0233 §3), of whatever realm, since
    /// its key is in the keytab. Clients that do not know XEP-0233 take a domain for the host.
    package func isOurs(_ principal: String) -> Bool {
        let components = principal.prefix { $0 != "@" }.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (2...3).contains(components.count), components[0] == service else { return false }
        guard hostname == nil || hostname == components[1].lowercased() || isDomain(components[1]) else { return false }
        return components.count == 2 || isDomain(components[2])
    }

    /// Whether its principals have accounts at any domain.
    func believes(_ realm: String) -> Bool { realms.values.contains { $0.contains(realm) } }

    private func isDomain(_ name: String) -> Bool { realms[name.lowercased()] != nil }
}
