package import MartletCore
package import MartletXMPP
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// A certificate with which an account lets itself in (XEP-0257 §3): nobody needs to have issued it whom anybody believes, because its very bytes are known.
/// So it is followed nowhere, and what else is asked of certificates of clients is asked of it: its time, its key, its signature, what it is for.
struct OwnCertificate {
    private let certificate: Certificate

    /// - Parameters:
    ///   - content: in DER.
    ///   - now: seconds since 1970.
    /// - Throws: why nobody can log in with it.
    init(_ content: [UInt8], now: Int) throws(CertificateFault) {
        certificate = try PeerCertificate.parsed(content)
        try PathExamination.checkTime(certificate, now)
        try PathExamination.checkKeyLength(certificate)
        if let unknown = certificate.extensions.first(where: { $0.critical && !PathExamination.understood.contains($0.oid) }) {
            throw .unknownCriticalExtension("\(unknown.oid)")
        }
        try PathExamination(.clients, now: now).check(certificate, isIssuer: false)
        // Of another's signature nobody here can say whether it is right.
        guard !certificate.isSelfIssued || certificate.publicKey.isValidSignature(certificate.signature, for: certificate) else {
            throw .refused("its own signature is wrong")
        }
    }

    /// Until when it is valid, in seconds since 1970.
    var notAfter: Int { Int(certificate.notValidAfter.timeIntervalSince1970) }

    /// A certificate that names XMPP addresses is for those, and for nobody else who has got hold of it.
    func isFor(_ account: BareJID) -> Bool {
        let addresses = ClientNames(certificate).xmppAddresses
        return addresses.isEmpty || addresses.contains { (try? JID($0))?.bare == account }
    }
}

/// Looks at certificates before accounts get them.
package struct OwnCertificateInspection: CertificateInspection {
    package init() {}

    package func expiry(of certificate: [UInt8], for account: BareJID, at time: Int64) throws(UnfitCertificate) -> Int64 {
        let own: OwnCertificate
        do throws(CertificateFault) { own = try OwnCertificate(certificate, now: Int(time / 1_000)) } catch {
            // What the library says of that is for the operator's log.
            if case .malformed = error { throw UnfitCertificate("it cannot be read as a certificate") }
            throw UnfitCertificate("\(error)")
        }
        guard own.isFor(account) else { throw UnfitCertificate("it is for another address") }
        return Int64(own.notAfter) * 1_000
    }
}

/// Whose a certificate is that no authority speaks for, as accounts have it.
struct CertificateHolders {
    let store: any Store
    let accounts: any AccountSource

    /// - Returns: `nil` if nobody at the domain has it.
    func certified(by fingerprint: CertificateFingerprint, at domain: String) async throws(MappingFault) -> CertifiedAccount? {
        let holders: [BareJID]
        do throws(StoreError) {
            holders = try await store.holders(of: fingerprint, domain: domain, limit: AccountMapping.accountsMax + 1)
        } catch { throw .unavailable }
        guard !holders.isEmpty else { return nil }
        // Whoever is among so many says who he is; then he is asked about alone.
        guard holders.count <= AccountMapping.accountsMax else { return .several }
        var enabled: [BareJID] = []
        for holder in holders where try await isEnabled(holder) { enabled.append(holder) }
        guard let account = enabled.first else { throw .noAccount(holders) }
        return enabled.count == 1 ? .account(account) : .several
    }

    /// Whether that account has it, and may come in.
    func holds(_ account: BareJID, _ fingerprint: CertificateFingerprint) async throws(MappingFault) -> Bool {
        do throws(StoreError) {
            // Of an account that is not there as much is asked as of one that is.
            let identity = try await store.credentials(of: account)
            let certificates = try await store.certificates(of: identity?.id ?? .nobody)
            guard identity != nil, certificates.contains(where: { $0.fingerprint == fingerprint }) else { return false }
        } catch { throw .unavailable }
        guard try await isEnabled(account) else { throw .noAccount([account]) }
        return true
    }

    private func isEnabled(_ account: BareJID) async throws(MappingFault) -> Bool {
        switch AccountMapping.Standing(await accounts.standing(of: account)) {
        case .enabled: true
        case .disabled, .absent: false
        case .unavailable: throw .unavailable
        }
    }
}
