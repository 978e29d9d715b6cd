import SwiftASN1
package import X509

/// What is done with certificates of clients (XEP-0178 §3).
package struct ClientCertificateSettings: Hashable, Sendable {
    package enum Demand: String, Hashable, Sendable, CaseIterable {
        /// Nobody is asked for one.
        case off
        /// Who has one may log in with it.
        case request
        /// Nobody logs in without one.
        case require
    }

    /// By domain; nobody is asked by those that are not in it.
    package var demands: [String: Demand] = [:]
    package var anchors = TrustAnchors([])
    /// Certificates of authorities that clients need not send.
    package var authorities: [Certificate] = []
    package var rules = CertificateRules.clients
    package var mapping = AccountMapping()
    package var published = PublishedCertificates()
    /// Whether accounts may add certificates of their own (XEP-0257), at the domains that ask for any.
    package var takesOwn = false

    package init() {}

    /// - Parameter certificates: in DER; those that cannot be read are left out.
    package mutating func know(_ certificates: [[UInt8]]) { authorities = certificates.compactMap { try? Certificate(derEncoded: $0) } }

    func takesOwn(at domain: String) -> Bool { takesOwn && demand(of: domain) != .off }

    package func demand(of domain: String) -> Demand { demands[domain] ?? .off }
}
