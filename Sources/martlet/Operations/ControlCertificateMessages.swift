package import MartletCore

/// What commands ask about certificates: those that accounts have added for themselves (XEP-0257), and those of the server's domains.
package enum CertificateOrder: Codable, Hashable, Sendable {
    case list(of: String)
    /// By its name.
    case revoke(of: String, name: String)
    /// Has the authority asked for another one of a domain at once (RFC 8555).
    case renew(String)
}

/// A certificate of an account's own.
package struct AccountCertificateLine: Codable, Hashable, Sendable {
    package var name: String
    /// SHA-256, in hexadecimal digits.
    package var fingerprint: String
    package var managesCertificates: Bool
    /// Milliseconds since 1970.
    package var added: Int64
    package var expires: Int64
    /// The resources of the sessions that came by it.
    package var resources: [String]

    package init(_ certificate: AccountCertificate, usedBy resources: [String]) {
        name = certificate.name
        fingerprint = certificate.fingerprint.text
        managesCertificates = certificate.managesCertificates
        (added, expires) = (certificate.added, certificate.expires)
        self.resources = resources.sorted()
    }

    /// As `martlet account certificates` prints it.
    package var text: String {
        let use = resources.isEmpty ? "not in use" : "in use by \(resources.map { ConfigurationProblem.printable($0) }.joined(separator: ", "))"
        let limits = managesCertificates ? "" : "  (may not manage certificates)"
        return "\(ConfigurationProblem.printable(name))  \(fingerprint)  added \(Timestamp.text(added))  ends \(Timestamp.text(expires))  \(use)\(limits)"
    }
}
