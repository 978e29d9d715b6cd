package import MartletXMPP
import SwiftASN1
package import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Why a peer's certificate proves nothing, in words for its operator or ours.
package enum CertificateFault: Error, Hashable, Sendable, CustomStringConvertible {
    case absent
    case malformed(String)
    case tooMany(Int)
    /// The domain, and the names that there are.
    case otherNames(String, [PeerCertificate.Name])
    /// Of a certificate with that subject; the time in UTC.
    case expired(String, at: String)
    case notYetValid(String, until: String)
    case selfSigned
    case unknownIssuer(String)
    case unknownCriticalExtension(String)
    /// An authority may not speak for that domain (RFC 5280 §4.2.1.10).
    case outsideConstraints(String)
    /// The key or the signature of that of that subject is none to rely on; which words.
    case weak(String, String)
    /// That of that subject is not for those who open TLS connections.
    case otherPurpose(String)
    /// That of that subject has issued another one; why it may not (RFC 5280 §6.1.4).
    case noAuthority(String, String)
    /// More authorities one below the other than are followed.
    case tooDeep(Int, max: Int)
    /// It was issued under other certificate policies than these; none: under none at all (RFC 5280 §6.1.5).
    case otherPolicy([String])
    case refused(String)
    /// The host's TLSA records, whose name this is, say something else (RFC 7671).
    case unlisted(String)
    /// The operator has said which keys the peer has, and this is another.
    case notPinned
    /// That of that subject, and who says so (RFC 5280 §6.3, RFC 6960).
    case revoked(String, by: String)
    /// It has to be known whether that of that subject is revoked, and is not; what was in the way.
    case statusUnknown(String, String)

    /// Names that are quoted.
    private static let namesQuotedMax = 10

    package var description: String {
        switch self {
        case .absent: "it has shown no certificate"
        case .malformed(let why): "its certificate cannot be read: \(why)"
        case .tooMany(let count): "it sends \(count) certificates, of which \(CertificatePath.shownMax) would be looked at: it should send its own and the intermediate ones"
        case .otherNames(let domain, let names): "its certificate is not for \(domain), but for \(Self.quoted(names))"
        case .expired(let subject, let time): "the certificate of \(subject) expired at \(time): it has to be renewed"
        case .notYetValid(let subject, let time): "the certificate of \(subject) is not valid before \(time): one of the two clocks may be wrong"
        case .selfSigned: "its certificate is self-signed: it needs one of an authority that is trusted here, or has to be trusted itself"
        case .unknownIssuer(let issuer):
            "its certificate leads to \(issuer), which is not trusted here: it may leave out an intermediate certificate, or its authority has to be trusted"
        case .unknownCriticalExtension(let identifier): "a certificate has the critical extension \(identifier), which is not understood here"
        case .outsideConstraints(let domain): "its authority may not issue certificates for \(domain)"
        case .weak(let subject, let why), .noAuthority(let subject, let why): "its certificates are refused: \(subject) \(why)"
        case .otherPurpose(let subject): "its certificates are refused: \(subject) is for another purpose than TLS"
        case .tooDeep(let count, let max): "its certificates are refused: there are \(count) authorities above it, of which \(max) would be followed"
        case .otherPolicy(let policies):
            policies.isEmpty
                ? "its certificates are refused: an authority asks for a certificate policy, and there is none"
                : "its certificates are refused: none of the certificate policies \(policies.joined(separator: ", ")) holds for it"
        case .refused(let why): "its certificates are refused: \(why)"
        case .unlisted(let name): "its certificate is none that the TLSA records of \(name) allow: they have to be renewed along with it"
        case .notPinned: "the public key of its certificate is none of those that are pinned for it here"
        case .revoked(let subject, let source): "the certificate of \(subject) is revoked, as \(source) says: it needs another one"
        case .statusUnknown(let subject, let why): "it cannot be found out whether the certificate of \(subject) is revoked: \(why)"
        }
    }

    private static func quoted(_ names: [PeerCertificate.Name]) -> String {
        guard !names.isEmpty else { return "no name at all" }
        let rest = names.count - namesQuotedMax
        return names.prefix(namesQuotedMax).map(\.description).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
    }
}

/// A certificate that leads to a trust anchor, so that it proves to be whomever it is for.
package struct TrustedCertificate: Sendable {
    package let certificate: PeerCertificate
    /// Its own certificate first, the anchor last; one that is trusted itself is alone.
    package let chain: [Certificate]
    private let constraints: [NameSubtrees]

    init(_ chain: [Certificate]) throws(CertificateFault) {
        guard let leaf = chain.first else { throw .absent }
        self.chain = chain
        certificate = PeerCertificate(leaf)
        do {
            constraints = try chain.dropFirst().compactMap { try $0.extensions.nameConstraints }.map { NameSubtrees($0) }
        } catch {
            throw .refused("name constraints cannot be read")
        }
    }

    /// Until when all of them are valid, in seconds since 1970.
    var notAfter: Int { chain.map { Int($0.notValidAfter.timeIntervalSince1970) }.min() ?? 0 }

    /// Those by whom it was issued, up to the anchor, in DER.
    var issuers: [[UInt8]] {
        chain.dropFirst().compactMap { certificate in
            var serializer = DER.Serializer()
            return (try? serializer.serialize(certificate)).map { serializer.serializedBytes }
        }
    }

    /// Why it does not prove that the peer is that domain's server; `nil` if it does.
    ///
    /// Authorities' constraints on DNS names are held against the domain itself: those of RFC 5280 §4.2.1.10 bind DNS-IDs only, and an authority
    /// for one domain could name another one in an SRV-ID or XMPP address.
    package func fault(for domain: BareJID) -> CertificateFault? {
        guard certificate.isFor(domain) else { return .otherNames(domain.domainpart, certificate.names) }
        if domain.addressDomainpart != nil { return nil }
        return isAllowed(domain) ? nil : .outsideConstraints(domain.domainpart)
    }

    /// Whether the authorities may speak for a domain that stands in whatever kind of name.
    func isAllowed(_ domain: BareJID) -> Bool {
        let name = domain.asciiDomainpart.lowercased()
        return constraints.allSatisfy { $0.allows(domain: name) }
    }
}

/// The authorities that are believed about other servers (RFC 5280 §6, RFC 6120 §13.7.2).
package struct PeerTrust: Hashable, Sendable {
    /// Where Debian keeps the authorities that it trusts.
    package static let systemAnchors = "/etc/ssl/certs/ca-certificates.crt"

    private let anchors: TrustAnchors
    package var anchorCount: Int { anchors.count }
    /// Certificates in the file that cannot be read, and are not trusted for that.
    package var unreadableCount: Int { anchors.unreadableCount }

    /// - Parameter anchors: in DER. A peer's own certificate may be one.
    package init(anchors: [[UInt8]]) { self.anchors = TrustAnchors(anchors) }

    /// - Parameter file: certificates in PEM.
    /// - Throws: what is wrong with it, also if nothing in it can be read.
    package init(anchorFile file: String) throws(CertificateError) { anchors = try TrustAnchors(file: file) }

    /// Follows a chain to an anchor.
    ///
    /// - Parameters:
    ///   - chain: what the peer has shown, in DER: its own certificate first, the others in any order.
    ///   - now: seconds since 1970.
    package func verify(_ chain: [[UInt8]], now: Int) async throws(CertificateFault) -> TrustedCertificate {
        try await CertificatePath(to: anchors, .peers).verify(chain, now: now)
    }
}
