package import MartletXMPP

/// Looks at certificates with which accounts want to let themselves in (XEP-0257), before they are kept.
package protocol CertificateInspection: Sendable {
    /// - Parameters:
    ///   - certificate: in DER.
    ///   - account: whose it is to be. A certificate that names accounts names this one.
    ///   - time: milliseconds since 1970.
    /// - Returns: until when it is good, in milliseconds since 1970.
    func expiry(of certificate: [UInt8], for account: BareJID, at time: Int64) throws(UnfitCertificate) -> Int64
}

/// Why nobody can log in with a certificate, in words for whoever wants to.
package struct UnfitCertificate: Error, Hashable, Sendable {
    package var reason: String
    package init(_ reason: String) { self.reason = reason }
}
