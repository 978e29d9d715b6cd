/// By what a session was let in, as far as that says what it may do and how long it lasts. A session that is resumed (XEP-0198 §5) has what the log-in
/// had that resumes it, and nothing of what it had before.
package struct SessionProof: Hashable, Sendable {
    /// The certificate of the account's own (XEP-0257); `nil` if it came in otherwise.
    package var certificate: CertificateFingerprint?
    /// Whether it was by a certificate, of whomever's.
    package var isCertified = false
    /// Whether it was by a token of an authorization server (RFC 7628).
    package var hasGrant = false
    /// When it is over, and the session with it, in milliseconds since 1970; `nil`: it lasts. While the session has a connection its stream sees to that.
    package var ends: Int64?

    package init(_ certificate: CertificateFingerprint? = nil) {
        self.certificate = certificate
        isCertified = certificate != nil
    }

    /// - Parameter seconds: since 1970.
    package mutating func end(at seconds: Int) { ends = seconds > Int(Int64.max / 1_000) ? nil : Int64(seconds) * 1_000 }

    package func isOver(at milliseconds: Int64) -> Bool { ends.map { $0 <= milliseconds } ?? false }
}
