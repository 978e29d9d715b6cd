import Crypto
package import MartletXMPP
import SwiftASN1

/// What a host says in DNS about its certificate: those of its TLSA records that mean something (RFC 6698, RFC 7671).
///
/// Whoever makes one has seen to it that the records are secure, and that it was found securely that the host serves the domain
/// (RFC 7673 §3.1). Then they decide, and not the authorities that are trusted otherwise.
package struct DANE: Hashable, Sendable {
    /// RFC 6698 §2.1.1, with the names of RFC 7218.
    fileprivate enum Usage: UInt8 {
        /// The authorities' word counts, and one of them has to be this.
        case pkixTA = 0
        /// The authorities' word counts, and it has to be about this certificate.
        case pkixEE = 1
        /// This is the authority (RFC 7671 §5.2).
        case daneTA = 2
        /// This is the certificate (RFC 7671 §5.1).
        case daneEE = 3
    }

    /// RFC 6698 §2.1.2.
    fileprivate enum Selector: UInt8 {
        case certificate = 0
        case publicKey = 1
    }

    /// RFC 6698 §2.1.3.
    fileprivate enum MatchingType: UInt8 {
        case exact = 0
        case sha256 = 1
        case sha512 = 2
    }

    fileprivate struct Association: Hashable, Sendable {
        let usage: Usage
        let selector: Selector
        let matchingType: MatchingType
        let bytes: [UInt8]
    }

    /// Most usable records of a host that are looked at. Two are enough while one certificate takes the place of another.
    package static let recordsMax = 16

    /// Whose server the host is.
    package let domain: BareJID
    private let host: DNSName
    private let port: UInt16
    private let associations: [Association]

    /// `nil` if no record is usable: then it is as if there were none (RFC 6698 §4.1, RFC 7671 §10.1).
    package init?(_ records: [TLSARecord], of host: DNSName, port: UInt16, for domain: BareJID) {
        let usable = Array(records.lazy.compactMap { Association($0) }.prefix(Self.recordsMax))
        guard !usable.isEmpty else { return nil }
        associations = usable.filter { one in !usable.contains { one.isWeaker(than: $0) } }
        (self.domain, self.host, self.port) = (domain, host, port)
    }

    /// Whether the host is the domain's, as far as what it has shown goes. One record that matches is enough.
    ///
    /// - Parameters:
    ///   - chain: what it has shown, in DER: its own certificate first.
    ///   - trust: the authorities that count where the records only say which of their certificates are good.
    ///   - now: seconds since 1970.
    /// - Returns: where an authority's word counts, the chain that leads to it; `nil` where the certificate itself is in a record.
    @discardableResult
    package func verify(_ chain: [[UInt8]], _ trust: PeerTrust, now: Int) async throws(CertificateFault) -> TrustedCertificate? {
        guard chain.count <= CertificatePath.shownMax else { throw .tooMany(chain.count) }
        guard let leaf = chain.first else { throw .absent }
        // Neither its names nor its dates matter then.
        if associations.contains(where: { $0.usage == .daneEE && $0.matches(leaf) }) { return nil }
        let fault: CertificateFault
        do throws(CertificateFault) { return try await followToAuthority(chain, now) } catch { fault = error }
        do throws(CertificateFault) { return try await confirm(chain, trust, now) } catch { throw error == unlisted ? fault : error }
    }

    /// Where the records are.
    var name: String { "_\(port)._tcp.\(host)" }
    private var unlisted: CertificateFault { .unlisted(name) }
}

// MARK: Records

extension DANE.Association {
    /// `nil` for numbers without a meaning, and for what cannot be the hash or the thing that it says it is.
    init?(_ record: TLSARecord) {
        guard let usage = DANE.Usage(rawValue: record.usage), let selector = DANE.Selector(rawValue: record.selector),
            let matchingType = DANE.MatchingType(rawValue: record.matchingType)
        else { return nil }
        (self.usage, self.selector, self.matchingType, bytes) = (usage, selector, matchingType, record.association)
        guard isPossible else { return nil }
    }

    private var isPossible: Bool {
        switch (matchingType, selector) {
        case (.sha256, _): bytes.count == SHA256.byteCount
        case (.sha512, _): bytes.count == SHA512.byteCount
        case (.exact, .certificate): (try? PeerCertificate.parsed(bytes)) != nil
        case (.exact, .publicKey): (try? DER.parse(bytes)) != nil
        }
    }

    /// Of hashes of one kind of thing only the stronger ones count (RFC 7671 §9).
    func isWeaker(than other: Self) -> Bool {
        (usage, selector, matchingType, other.matchingType) == (other.usage, other.selector, .sha256, .sha512)
    }

    func matches(_ certificate: [UInt8]) -> Bool {
        guard let selected = selected(in: certificate) else { return false }
        return switch matchingType {
        case .exact: selected == bytes
        case .sha256: Array(SHA256.hash(data: selected)) == bytes
        case .sha512: Array(SHA512.hash(data: selected)) == bytes
        }
    }

    private func selected(in certificate: [UInt8]) -> [UInt8]? {
        switch selector {
        case .certificate: certificate
        case .publicKey: PeerCertificate.publicKey(in: certificate)
        }
    }
}

// MARK: Chains

extension DANE {
    /// RFC 7671 §5.2: the authority is among what was shown, or in the record itself. The certificate has to be for the domain or for the host
    /// (RFC 7673 §4).
    private func followToAuthority(_ chain: [[UInt8]], _ now: Int) async throws(CertificateFault) -> TrustedCertificate {
        let authorities = associations.filter { $0.usage == .daneTA }
        let shown = chain.dropFirst().filter { certificate in authorities.contains { $0.matches(certificate) } }
        let whole = authorities.filter { $0.selector == .certificate && $0.matchingType == .exact }.map(\.bytes)
        guard !shown.isEmpty || !whole.isEmpty else { throw unlisted }
        let trusted: TrustedCertificate
        do throws(CertificateFault) { trusted = try await PeerTrust(anchors: shown + whole).verify(chain, now: now) } catch {
            throw error.meansUnknown ? unlisted : error
        }
        guard let fault = trusted.fault(for: domain) else { return trusted }
        guard let address = try? BareJID(parsing: host.description), trusted.fault(for: address) == nil else { throw fault }
        return trusted
    }

    /// RFC 6698 §2.1.1: what the authorities say is narrowed down.
    private func confirm(_ chain: [[UInt8]], _ trust: PeerTrust, _ now: Int) async throws(CertificateFault) -> TrustedCertificate {
        let (leaves, authorities) = (associations.filter { $0.usage == .pkixEE }, associations.filter { $0.usage == .pkixTA })
        guard !leaves.isEmpty || !authorities.isEmpty else { throw unlisted }
        let trusted = try await trust.verify(chain, now: now)
        if let fault = trusted.fault(for: domain) { throw fault }
        let isListed =
            leaves.contains { $0.matches(chain[0]) } || trusted.issuers.contains { issuer in authorities.contains { $0.matches(issuer) } }
        guard isListed else { throw unlisted }
        return trusted
    }
}

extension CertificateFault {
    /// It leads to nobody who is trusted.
    fileprivate var meansUnknown: Bool {
        switch self {
        case .selfSigned, .unknownIssuer: true
        case .absent, .malformed, .tooMany, .otherNames, .expired, .notYetValid, .unknownCriticalExtension, .outsideConstraints, .refused: false
        case .weak, .otherPurpose, .noAuthority, .tooDeep, .otherPolicy: false
        case .unlisted, .notPinned, .revoked, .statusUnknown: false
        }
    }
}
