package import SwiftASN1
package import X509

/// What is asked of a path of certificates beyond what RFC 5280 asks of every one.
package struct CertificateRules: Hashable, Sendable {
    /// Purposes of which a certificate, and each of the authorities between it and the anchor, has to have one. A certificate that names no
    /// purposes, or any purpose, is for all.
    package var purposes: Set<ExtendedKeyUsage.Usage>
    /// Whether a certificate that says what its key is for has to say that it signs: that is how a client proves in a handshake that the key is
    /// its own (RFC 8446 §4.4.3).
    package var needsSignatures: Bool
    package var policies = PolicyDemand()
    /// Most authorities between a certificate and its anchor.
    package var depthMax = Self.depthMaxDefault

    package static let depthMaxDefault = 6
    /// Shortest RSA key, in bits.
    package static let rsaBitsMin = 2_048
    /// Longest one, in bits: what strangers show is not to be dear to look at.
    package static let rsaBitsMax = 8_192

    package init(purposes: Set<ExtendedKeyUsage.Usage>, needsSignatures: Bool) {
        self.purposes = purposes
        self.needsSignatures = needsSignatures
    }

    /// Of other servers. Authorities have stopped issuing certificates for clients; servers are clients of each other (XEP-0178 §4).
    package static let peers = CertificateRules(purposes: [.serverAuth, .clientAuth], needsSignatures: false)

    /// Of those who log in (XEP-0178 §3).
    package static let clients = CertificateRules(purposes: [.clientAuth], needsSignatures: true)
}

/// Which certificate policies a path has to be good for: the inputs (c) to (g) of RFC 5280 §6.1.1.
package struct PolicyDemand: Hashable, Sendable {
    /// Of which one is enough; empty: any.
    package var acceptable: Set<ASN1ObjectIdentifier> = []
    /// Whether there has to be one at all (`initial-explicit-policy`).
    package var isExplicit = false
    /// Whether an authority's word that another's policy is as good as its own counts for nothing (`initial-policy-mapping-inhibit`).
    package var inhibitsMapping = false
    /// Whether `anyPolicy` counts for nothing (`initial-any-policy-inhibit`).
    package var inhibitsAny = false

    package init() {}

    /// One of these is needed.
    package init(_ acceptable: Set<ASN1ObjectIdentifier>) {
        self.acceptable = acceptable
        isExplicit = !acceptable.isEmpty
    }

    /// An object identifier in dots; `nil` if it is none.
    package static func identifier(_ text: String) -> ASN1ObjectIdentifier? {
        let arcs = text.split(separator: ".", omittingEmptySubsequences: false)
        guard arcs.count >= 3, arcs.allSatisfy({ !$0.isEmpty && $0.count <= 10 && $0.allSatisfy { ("0"..."9").contains($0) } }),
            arcs.allSatisfy({ $0 == "0" || !$0.hasPrefix("0") })
        else { return nil }
        // There are three roots, and two of them have forty arcs below them (X.660 §A.1): the first two numbers are written as one.
        guard let root = Int(arcs[0]), let second = Int(arcs[1]), root < 2 ? second < 40 : root == 2 else { return nil }
        return try? ASN1ObjectIdentifier(dotRepresentation: text)
    }
}
