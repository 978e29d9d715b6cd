import Crypto
import NIOSSL

/// A certificate of the operator's that ends some day.
package struct ExpiringCertificate: Hashable, Sendable {
    package enum Use: Hashable, Sendable {
        /// It is shown for that domain.
        case shown(domain: String)
        /// It is an authority that is believed, as that setting says.
        case believed(setting: String)
    }

    package let use: Use
    package let file: String
    /// SHA-256 of it, in hexadecimal.
    package let fingerprint: String
    /// Seconds since 1970.
    package let notAfter: Int

    package init(_ use: Use, file: String, fingerprint: String, notAfter: Int) {
        (self.use, self.file, self.fingerprint, self.notAfter) = (use, file, fingerprint, notAfter)
    }

    /// Whole days that are left; negative once it has ended.
    package func daysLeft(now: Int) -> Int { Int((Double(notAfter - now) / 86_400).rounded(.down)) }

    /// The number of days that is told of it; `nil` as long as nothing is.
    package func threshold(now: Int) -> Int? { ExpiryWatch.thresholds.last { notAfter - now <= $0 * 86_400 } }

    static func fingerprint(of certificate: [UInt8]) -> String { CertificateRecords.hexadecimal(SHA256.hash(data: certificate)) }

    fileprivate var name: String {
        switch use {
        case .shown(let domain): "\(fingerprint) shown \(domain)"
        case .believed(let setting): "\(fingerprint) believed \(setting)"
        }
    }
}

/// What was told of certificates that end soon: of each once when 30 days are left, at 7, at 1, and when it has ended.
package struct ExpiryWatch: Hashable, Sendable, Codable {
    /// In days before the end, from the first to the last.
    package static let thresholds = [30, 7, 1, 0]

    /// The last threshold that was told, by certificate and use.
    private var told: [String: Int] = [:]

    package init() {}

    /// - Parameters:
    ///   - certificates: all that there are; what is not there any more is forgotten.
    ///   - now: seconds since 1970.
    /// - Returns: those that are to be told of now.
    package mutating func look(at certificates: [ExpiringCertificate], now: Int) -> [ExpiringCertificate] {
        let before = told
        told = [:]
        return certificates.filter { certificate in
            guard let threshold = certificate.threshold(now: now) else { return false }
            let last = before[certificate.name]
            told[certificate.name] = min(threshold, last ?? threshold)
            return last.map { threshold < $0 } ?? true
        }
    }
}

// MARK: What there is

extension ServedCertificate {
    package var expiring: ExpiringCertificate { ExpiringCertificate(.shown(domain: domain), file: file, fingerprint: fingerprint, notAfter: notAfter) }
    /// Both that a domain has, if there are two.
    package var allExpiring: [ExpiringCertificate] { [expiring] + (second.map { [$0.expiring] } ?? []) }
}

extension CertificateStore {
    /// Authorities of one file that are looked at.
    package static let anchorsLookedAtMax = 100

    /// The authorities in a file that a setting names; what cannot be read is none.
    package static func expiringAnchors(in file: String, of setting: String) -> [ExpiringCertificate] {
        guard let certificates = try? certificates(file) else { return [] }
        return certificates.prefix(anchorsLookedAtMax).compactMap { certificate in
            guard let der = try? certificate.toDERBytes() else { return nil }
            return ExpiringCertificate(
                .believed(setting: setting), file: file, fingerprint: ExpiringCertificate.fingerprint(of: der), notAfter: Int(certificate.notValidAfter))
        }
    }
}
