package import MartletXMPP
import SwiftASN1
@_spi(FixedExpiryValidationTime) package import X509

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
        case .tooMany(let count): "it sends \(count) certificates, of which \(PeerTrust.chainMax) would be looked at: it should send its own and the intermediate ones"
        case .otherNames(let domain, let names): "its certificate is not for \(domain), but for \(Self.quoted(names))"
        case .expired(let subject, let time): "the certificate of \(subject) expired at \(time): it has to be renewed"
        case .notYetValid(let subject, let time): "the certificate of \(subject) is not valid before \(time): one of the two clocks may be wrong"
        case .selfSigned: "its certificate is self-signed: it needs one of an authority that is trusted here, or has to be trusted itself"
        case .unknownIssuer(let issuer):
            "its certificate leads to \(issuer), which is not trusted here: it may leave out an intermediate certificate, or its authority has to be trusted"
        case .unknownCriticalExtension(let identifier): "a certificate has the critical extension \(identifier), which is not understood here"
        case .outsideConstraints(let domain): "its authority may not issue certificates for \(domain)"
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
    private let constraints: [NameConstraints]

    fileprivate init(_ chain: [Certificate]) throws(CertificateFault) {
        guard let leaf = chain.first else { throw .absent }
        self.chain = chain
        certificate = PeerCertificate(leaf)
        do {
            constraints = try chain.dropFirst().compactMap { try $0.extensions.nameConstraints }
        } catch {
            throw .refused("name constraints cannot be read")
        }
    }

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
        let name = domain.asciiDomainpart.lowercased()
        return constraints.allSatisfy { Self.allows($0, name) } ? nil : .outsideConstraints(domain.domainpart)
    }

    private static func allows(_ constraints: NameConstraints, _ name: String) -> Bool {
        let (permitted, excluded) = (constraints.permittedDNSDomains, constraints.excludedDNSDomains)
        if excluded.contains(where: { isWithin($0, name) }) { return false }
        return permitted.isEmpty || permitted.contains { isWithin($0, name) }
    }

    private static func isWithin(_ subtree: String, _ name: String) -> Bool {
        let subtree = subtree.lowercased().drop { $0 == "." }
        return subtree.isEmpty || name == subtree || name.hasSuffix(".\(subtree)")
    }
}

/// The authorities that are believed about other servers, and what is asked of certificates (RFC 5280 §6, RFC 6120 §13.7.2).
package struct PeerTrust: Sendable {
    /// Most certificates that a peer may show.
    package static let chainMax = 8
    /// Most of them with one subject. Each combination of those that could have issued one another is tried.
    package static let sameSubjectMax = 2

    /// Where Debian keeps the authorities that it trusts.
    package static let systemAnchors = "/etc/ssl/certs/ca-certificates.crt"

    private let anchors: X509.CertificateStore
    private let anchorSet: Set<[UInt8]>
    package var anchorCount: Int { anchorSet.count }
    /// Certificates in the file that cannot be read, and are not trusted for that.
    package let unreadableCount: Int

    /// - Parameter anchors: in DER. A peer's own certificate may be one.
    package init(anchors: [[UInt8]]) {
        let readable = anchors.compactMap { bytes in (try? Certificate(derEncoded: bytes)).map { (bytes, $0) } }
        self.anchors = X509.CertificateStore(readable.map(\.1))
        anchorSet = Set(readable.map(\.0))
        unreadableCount = anchors.count - readable.count
    }

    /// - Parameter file: certificates in PEM.
    /// - Throws: what is wrong with it, also if nothing in it can be read.
    package init(anchorFile file: String) throws(CertificateError) {
        let bytes: [UInt8]
        do throws(FileContents.Unreadable) { bytes = try FileContents.read(file) } catch {
            throw CertificateError(file: file, reason: .unreadable(FileContents.describe(error.errno)))
        }
        guard let documents = try? PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self)) else {
            throw CertificateError(file: file, reason: .notPEM)
        }
        self.init(anchors: documents.filter { $0.discriminator == "CERTIFICATE" }.map(\.derBytes))
        guard anchorCount > 0 else { throw CertificateError(file: file, reason: .notPEM) }
    }

    /// Follows a chain to an anchor.
    ///
    /// - Parameters:
    ///   - chain: what the peer has shown, in DER: its own certificate first, the others in any order.
    ///   - now: seconds since 1970.
    package func verify(_ chain: [[UInt8]], now: Int) async throws(CertificateFault) -> TrustedCertificate {
        guard chain.count <= Self.chainMax else { throw .tooMany(chain.count) }
        var certificates: [Certificate] = []
        for bytes in chain { certificates.append(try PeerCertificate.parsed(bytes)) }
        guard let leaf = certificates.first else { throw .absent }
        try checkSubjects(certificates)
        try Self.checkTime(leaf, now)
        if anchorSet.contains(chain[0]) { return try TrustedCertificate([leaf]) }
        let time = Date(timeIntervalSince1970: Double(now))
        // The fixed time is an interface for those who have a clock of their own.
        var verifier = Verifier(rootCertificates: anchors) {
            RFC5280Policy(fixedExpiryValidationTime: time)
            PeerPolicy()
        }
        switch await verifier.validate(leaf: leaf, intermediates: X509.CertificateStore(certificates.dropFirst())) {
        case .validCertificate(let chain): return try TrustedCertificate(Array(chain))
        case .couldNotValidate(let failures): throw Self.fault(certificates, failures, now)
        }
    }

    private func checkSubjects(_ certificates: [Certificate]) throws(CertificateFault) {
        let counts = Dictionary(grouping: certificates, by: \.subject).mapValues(\.count)
        guard counts.values.allSatisfy({ $0 <= Self.sameSubjectMax }) else { throw .refused("too many of them have the same subject") }
    }

    private static func checkTime(_ certificate: Certificate, _ now: Int) throws(CertificateFault) {
        let time = Date(timeIntervalSince1970: Double(now))
        let subject = name(certificate.subject)
        if time > certificate.notValidAfter { throw .expired(subject, at: "\(certificate.notValidAfter)") }
        if time < certificate.notValidBefore { throw .notYetValid(subject, until: "\(certificate.notValidBefore)") }
    }

    private static func name(_ name: DistinguishedName) -> String {
        let text = PeerCertificate.Name.printable("\(name)")
        return text.isEmpty ? "(no name)" : text
    }
}

extension PeerTrust: Hashable {
    package static func == (one: PeerTrust, other: PeerTrust) -> Bool { one.anchorSet == other.anchorSet }
    package func hash(into hasher: inout Hasher) {
        // They may be long, are few, and are mostly compared with themselves.
        hasher.combine(anchorCount)
    }
}

// MARK: What stands in the way

extension PeerTrust {
    /// The reason that helps most; there may be several, since there may be several chains.
    private static func fault(
        _ certificates: [Certificate], _ failures: [CertificateValidationResult.PolicyFailure], _ now: Int
    ) -> CertificateFault {
        for certificate in certificates {
            if let unknown = certificate.extensions.first(where: { $0.critical && !understood.contains($0.oid) }) {
                return .unknownCriticalExtension("\(unknown.oid)")
            }
        }
        guard let failure = failures.first else { return missingIssuer(certificates) }
        for certificate in failure.chain {
            do throws(CertificateFault) { try checkTime(certificate, now) } catch { return error }
        }
        return .refused(PeerCertificate.Name.printable(failure.policyFailureReason.description))
    }

    private static var understood: [ASN1ObjectIdentifier] {
        RFC5280Policy().verifyingCriticalExtensions + PeerPolicy().verifyingCriticalExtensions
    }

    /// No chain leads to an anchor: who would have to be one?
    private static func missingIssuer(_ certificates: [Certificate]) -> CertificateFault {
        guard var last = certificates.first else { return .absent }
        if last.issuer == last.subject { return .selfSigned }
        for _ in certificates {
            guard last.issuer != last.subject, let issuer = certificates.first(where: { $0.subject == last.issuer }) else { break }
            last = issuer
        }
        return .unknownIssuer(name(last.issuer))
    }
}

/// What we ask of a chain beyond RFC 5280, or that the library leaves out. The anchor is trusted as it is.
private struct PeerPolicy: VerifierPolicy {
    let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [.X509ExtensionID.extendedKeyUsage, .X509ExtensionID.subjectAlternativeName]

    func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult {
        for (index, certificate) in chain.dropLast().enumerated() {
            if let reason = Self.objection(certificate, isIssuer: index > 0) {
                return .failsToMeetPolicy(reason: "\(certificate.subject) \(reason)")
            }
        }
        return .meetsPolicy
    }

    private static func objection(_ certificate: Certificate, isIssuer: Bool) -> String? {
        if certificate.signatureAlgorithm == .sha1WithRSAEncryption { return "is signed with SHA-1" }
        guard let usages = try? certificate.extensions.extendedKeyUsage.map(Array.init) ?? [.any] else { return "has an unreadable extension" }
        // Authorities have stopped issuing certificates for clients; servers are clients of each other (XEP-0178 §4).
        if !usages.contains(where: { [.serverAuth, .clientAuth, .any].contains($0) }) { return "is for another purpose than TLS" }
        guard isIssuer else { return nil }
        // Before version 3 nothing says who may issue certificates (RFC 5280 §6.1.4 (k)).
        if certificate.version != .v3 { return "is of version 1 and no trust anchor" }
        guard let keyUsage = try? certificate.extensions.keyUsage ?? KeyUsage(keyCertSign: true) else { return "has an unreadable extension" }
        return keyUsage.keyCertSign ? nil : "may not issue certificates"
    }
}
