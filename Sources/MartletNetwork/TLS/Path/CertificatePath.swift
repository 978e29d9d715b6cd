import SwiftASN1
package import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Certificates that are believed as they are.
package struct TrustAnchors: Sendable {
    fileprivate let bySubject: CertificatesBySubject
    fileprivate let encoded: Set<[UInt8]>
    /// Certificates in the file that cannot be read, and are not trusted for that.
    package let unreadableCount: Int
    package var count: Int { encoded.count }

    /// - Parameter anchors: in DER.
    package init(_ anchors: [[UInt8]]) {
        let readable = anchors.compactMap { bytes in (try? Certificate(derEncoded: bytes)).map { (bytes, $0) } }
        bySubject = CertificatesBySubject(readable.map(\.1))
        encoded = Set(readable.map(\.0))
        unreadableCount = anchors.count - readable.count
    }

    /// - Parameter file: certificates in PEM.
    /// - Throws: what is wrong with it, also if nothing in it can be read.
    package init(file: String) throws(CertificateError) {
        self.init(try CertificateFile.certificates(file))
        guard count > 0 else { throw CertificateError(file: file, reason: .notPEM) }
    }
}

extension TrustAnchors: Hashable {
    package static func == (one: TrustAnchors, other: TrustAnchors) -> Bool { one.encoded == other.encoded }
    package func hash(into hasher: inout Hasher) {
        // They may be long, are few, and are mostly compared with themselves.
        hasher.combine(count)
    }
}

/// Certificates in PEM.
enum CertificateFile {
    /// In DER, as they come.
    static func certificates(_ file: String) throws(CertificateError) -> [[UInt8]] {
        let bytes: [UInt8]
        do throws(FileContents.Unreadable) { bytes = try FileContents.read(file) } catch {
            throw CertificateError(file: file, reason: .unreadable(FileContents.describe(error.errno)))
        }
        guard let documents = try? PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self)) else {
            throw CertificateError(file: file, reason: .notPEM)
        }
        return documents.filter { $0.discriminator == "CERTIFICATE" }.map(\.derBytes)
    }
}

/// Follows what somebody has shown to a trust anchor, and says whether that proves anything (RFC 5280 §6.1).
///
/// The library looks for paths and checks signatures; everything else is asked by ``PathExamination``.
package struct CertificatePath: Sendable {
    /// Most certificates that somebody may show.
    package static let shownMax = 8
    /// Most of them with one subject. Each combination of those that could have issued one another is tried.
    package static let sameSubjectMax = 2
    /// Most paths that are examined.
    package static let pathsMax = 100

    private let anchors: TrustAnchors
    private let rules: CertificateRules
    private let others: [Certificate]

    /// - Parameter others: certificates of authorities that need not be shown. They are not believed as they are.
    package init(to anchors: TrustAnchors, _ rules: CertificateRules, others: [Certificate] = []) {
        (self.anchors, self.rules, self.others) = (anchors, rules, others)
    }

    /// - Parameters:
    ///   - shown: in DER: the certificate itself first, the others in any order.
    ///   - now: seconds since 1970.
    package func verify(_ shown: [[UInt8]], now: Int) async throws(CertificateFault) -> TrustedCertificate {
        guard shown.count <= Self.shownMax else { throw .tooMany(shown.count) }
        var certificates: [Certificate] = []
        for bytes in shown { certificates.append(try PeerCertificate.parsed(bytes)) }
        guard let leaf = certificates.first else { throw .absent }
        try Self.checkSubjects(certificates)
        try PathExamination.checkTime(leaf, now)
        if anchors.encoded.contains(shown[0]) { return try TrustedCertificate([leaf]) }
        // What is looked for costs a signature for each, whatever it turns out to be.
        for certificate in certificates { try PathExamination.checkKeyLength(certificate) }
        // Not written as a closure there, which would be taken for a list of policies and hide the type that has the faults.
        let examination = { PathExamination(rules, now: now) }
        var verifier = Verifier(rootCertificates: X509.CertificateStore(custom: anchors.bySubject), policy: examination)
        let intermediates = X509.CertificateStore(custom: CertificatesBySubject(certificates.dropFirst() + others))
        switch await verifier.validate(leaf: leaf, intermediates: intermediates) {
        case .validCertificate(let chain): return try TrustedCertificate(Array(chain))
        case .couldNotValidate: throw Self.fault(certificates, verifier.policy.faults)
        }
    }

    private static func checkSubjects(_ certificates: [Certificate]) throws(CertificateFault) {
        let counts = Dictionary(grouping: certificates) { ComparableName($0.subject) }.mapValues(\.count)
        guard counts.values.allSatisfy({ $0 <= sameSubjectMax }) else { throw .refused("too many of them have the same subject") }
    }
}

// MARK: What stands in the way

extension CertificatePath {
    /// The reason that helps most; there may be several, since there may be several paths.
    private static func fault(_ certificates: [Certificate], _ faults: [CertificateFault]) -> CertificateFault {
        for certificate in certificates {
            if let unknown = certificate.extensions.first(where: { $0.critical && !PathExamination.understood.contains($0.oid) }) {
                return .unknownCriticalExtension("\(unknown.oid)")
            }
        }
        if let fault = faults.first { return fault }
        for certificate in certificates where !PathExamination.signatures.contains(certificate.signatureAlgorithm) {
            return PathExamination.weakSignature(of: certificate)
        }
        return missingIssuer(certificates)
    }

    /// No path leads to an anchor: who would have to be one?
    private static func missingIssuer(_ certificates: [Certificate]) -> CertificateFault {
        guard var last = certificates.first else { return .absent }
        if last.isSelfIssued { return .selfSigned }
        for _ in certificates {
            let name = ComparableName(last.issuer)
            guard !last.isSelfIssued, let issuer = certificates.first(where: { ComparableName($0.subject) == name }) else { break }
            last = issuer
        }
        return .unknownIssuer(PathExamination.name(last.issuer))
    }
}

// MARK: What is asked of a path

/// Looks at the paths that were found. The anchor is trusted as it is, except that its time may be over, its key too short, and what it says about
/// those below it counts.
struct PathExamination: VerifierPolicy {
    static let understood: [ASN1ObjectIdentifier] =
        [
            .X509ExtensionID.basicConstraints, .X509ExtensionID.nameConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.extendedKeyUsage,
            .X509ExtensionID.subjectAlternativeName,
        ] + CertificatePolicies.Identifier.all

    var verifyingCriticalExtensions: [ASN1ObjectIdentifier] { Self.understood }

    /// Why paths are no good, in the order in which they were found.
    private(set) var faults: [CertificateFault] = []
    private let rules: CertificateRules
    /// Seconds since 1970.
    private let now: Int

    init(_ rules: CertificateRules, now: Int) { (self.rules, self.now) = (rules, now) }

    mutating func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult {
        do throws(CertificateFault) {
            guard faults.count < CertificatePath.pathsMax else { throw .refused("there are too many ways to put them together") }
            try examine(Array(chain))
            return .meetsPolicy
        } catch {
            // More of them would not tell more.
            if faults.count < CertificatePath.pathsMax { faults.append(error) }
            return .failsToMeetPolicy(reason: "it is in the list of faults")
        }
    }

    /// - Parameter path: the certificate itself first, the anchor last.
    private func examine(_ path: [Certificate]) throws(CertificateFault) {
        guard path.count - 2 <= rules.depthMax else { throw .tooDeep(path.count - 2, max: rules.depthMax) }
        for certificate in path { try Self.checkTime(certificate, now) }
        for certificate in path { try Self.checkKeyLength(certificate) }
        for (index, certificate) in path.dropLast().enumerated() { try check(certificate, isIssuer: index > 0) }
        try Self.checkAuthorities(path)
        try Self.checkNames(path)
        try checkPolicies(path)
    }

    static func checkTime(_ certificate: Certificate, _ now: Int) throws(CertificateFault) {
        let time = Date(timeIntervalSince1970: Double(now))
        let subject = name(of: certificate)
        if time > certificate.notValidAfter { throw .expired(subject, at: "\(certificate.notValidAfter)") }
        if time < certificate.notValidBefore { throw .notYetValid(subject, until: "\(certificate.notValidBefore)") }
    }

    static func name(_ name: DistinguishedName) -> String {
        let text = PeerCertificate.Name.printable("\(name)")
        return text.isEmpty ? "(no name)" : text
    }

    /// What a certificate is called: by its subject, or by the first name in it where that is empty, as authorities of servers leave it.
    static func name(of certificate: Certificate) -> String {
        let other = certificate.subject.isEmpty ? PeerCertificate(certificate).names.first?.description : nil
        return other ?? name(certificate.subject)
    }

    private static func unreadable(_ certificate: Certificate) -> CertificateFault { .refused("\(name(of: certificate)) has an unreadable extension") }
}

// MARK: Keys and signatures

extension PathExamination {
    /// Nothing with SHA-1 or MD5, which others can forge.
    static let signatures: Set<Certificate.SignatureAlgorithm> = [
        .ecdsaWithSHA256, .ecdsaWithSHA384, .ecdsaWithSHA512, .sha256WithRSAEncryption, .sha384WithRSAEncryption, .sha512WithRSAEncryption, .ed25519,
    ]

    static func weakSignature(of certificate: Certificate) -> CertificateFault {
        let subject = name(of: certificate)
        return certificate.signatureAlgorithm == .sha1WithRSAEncryption
            ? .weak(subject, "is signed with SHA-1") : .weak(subject, "is signed with \(certificate.signatureAlgorithm), which is not accepted")
    }

    /// The library reads no other keys than RSA, the three curves of NIST from P-256 on, and Ed25519.
    static func checkKeyLength(_ certificate: Certificate) throws(CertificateFault) {
        guard let bits = CertificateFields(certificate)?.rsaBits else { return }
        let subject = name(of: certificate)
        if bits < CertificateRules.rsaBitsMin { throw shortKey(subject, bits) }
        if bits > CertificateRules.rsaBitsMax { throw .weak(subject, "has an RSA key of more than \(CertificateRules.rsaBitsMax) bits") }
    }

    private static func shortKey(_ subject: String, _ bits: Int) -> CertificateFault {
        .weak(subject, "has an RSA key of \(bits) bits, of which \(CertificateRules.rsaBitsMin) are needed")
    }

    /// What is wrong with a certificate that the library does not read: it reads no RSA keys that are much too short, and says nothing of why.
    static func unreadable(_ certificate: [UInt8], _ why: any Error) -> CertificateFault {
        guard let fields = CertificateFields(certificate[...]), let bits = fields.rsaBits, bits < CertificateRules.rsaBitsMin else { return .malformed("\(why)") }
        let subject = (try? DER.parse(fields.subject)).flatMap { try? DistinguishedName(derEncoded: $0) }.map { name($0) }
        return shortKey(subject ?? "(no name)", bits)
    }
}

extension CertificateFields {
    /// `nil` if it is no RSA key: then it is a point, or 32 octets, and no sequence of two numbers (RFC 3279 §2.3.1).
    fileprivate var rsaBits: Int? {
        guard var key = try? DERReader(only: DERReader.Tag.sequence, in: keyBits), let modulus = try? key.integer(), (try? key.integer()) != nil, key.isAtEnd
        else { return nil }
        let digits = modulus.drop { $0 == 0 }
        return digits.first.map { digits.count * 8 - $0.leadingZeroBitCount } ?? 0
    }
}

// MARK: What each may do

extension PathExamination {
    func check(_ certificate: Certificate, isIssuer: Bool) throws(CertificateFault) {
        let subject = Self.name(of: certificate)
        guard Self.signatures.contains(certificate.signatureAlgorithm) else { throw Self.weakSignature(of: certificate) }
        if certificate.version != .v3, !certificate.extensions.isEmpty { throw .refused("\(subject) has extensions, and is of version 1") }
        let (usages, keyUsage): ([ExtendedKeyUsage.Usage]?, KeyUsage?)
        do {
            usages = try certificate.extensions.extendedKeyUsage.map { Array($0) }
            keyUsage = try certificate.extensions.keyUsage
        } catch {
            throw Self.unreadable(certificate)
        }
        if let usages, !usages.contains(where: { $0 == .any || rules.purposes.contains($0) }) { throw .otherPurpose(subject) }
        if isIssuer {
            // Before version 3 nothing says who may issue certificates (RFC 5280 §6.1.4 (k)).
            if certificate.version != .v3 { throw .noAuthority(subject, "is of version 1 and no trust anchor") }
            if let keyUsage, !keyUsage.keyCertSign { throw .noAuthority(subject, "may not issue certificates") }
        } else if rules.needsSignatures, let keyUsage, !keyUsage.digitalSignature {
            throw .otherPurpose(subject)
        }
    }

    /// RFC 5280 §4.2.1.9. An anchor of version 1 says nothing about it.
    private static func checkAuthorities(_ path: [Certificate]) throws(CertificateFault) {
        var below = 0
        for certificate in path.dropFirst() {
            let constraints: BasicConstraints?
            do { constraints = try certificate.extensions.basicConstraints } catch { throw unreadable(certificate) }
            switch constraints {
            case .isCertificateAuthority(let lengthMax?):
                if lengthMax < below { throw .noAuthority(name(of: certificate), "may have \(lengthMax) authorities below it, not \(below)") }
            case .isCertificateAuthority(nil): break
            case .notCertificateAuthority, nil:
                guard certificate.version == .v1 else { throw .noAuthority(name(of: certificate), "may not issue certificates") }
            }
            if !certificate.isSelfIssued { below += 1 }
        }
    }
}

// MARK: Names and policies

extension PathExamination {
    /// RFC 5280 §6.1.3 (b), (c): constraints hold for all below, except for authorities that have issued themselves another certificate.
    private static func checkNames(_ path: [Certificate]) throws(CertificateFault) {
        var left = NameSubtrees.comparisonsMax
        for (index, issuer) in path.enumerated().dropFirst() {
            let constraints: NameConstraints?
            do { constraints = try issuer.extensions.nameConstraints } catch { throw unreadable(issuer) }
            guard let subtrees = constraints.map({ NameSubtrees($0) }) else { continue }
            for (place, certificate) in path[..<index].enumerated() where place == 0 || !certificate.isSelfIssued {
                let names: [GeneralName]
                do { names = try NameSubtrees.names(of: certificate) } catch { throw unreadable(certificate) }
                left -= names.count * max(subtrees.count, 1)
                guard left >= 0 else { throw .refused("there are too many names and constraints of names") }
                if let name = names.first(where: { !subtrees.allows($0) }) { throw outsideConstraints(name) }
            }
        }
    }

    private static func outsideConstraints(_ name: GeneralName) -> CertificateFault {
        switch name {
        case .dnsName(let domain): .outsideConstraints(PeerCertificate.Name.printable(domain))
        case .rfc822Name(let mailbox): .outsideConstraints(PeerCertificate.Name.printable(mailbox))
        case .directoryName(let subject): .outsideConstraints(self.name(subject))
        case .otherName, .x400Address, .ediPartyName, .uniformResourceIdentifier, .ipAddress, .registeredID:
            .outsideConstraints(PeerCertificate.Name.printable("\(name)"))
        }
    }

    private func checkPolicies(_ path: [Certificate]) throws(CertificateFault) {
        var levels = PolicyLevels(rules.policies, count: path.count - 1)
        for (index, certificate) in path.dropLast().enumerated().reversed() {
            let said: CertificatePolicies
            do { said = try CertificatePolicies(certificate) } catch { throw Self.unreadable(certificate) }
            levels.take(said, isSelfIssued: certificate.isSelfIssued, isLast: index == 0)
        }
        guard levels.isSatisfied else { throw .otherPolicy(rules.policies.acceptable.map { "\($0)" }.sorted()) }
    }
}
