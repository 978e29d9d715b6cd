import Crypto
import MartletXMPP
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What an authority has issued, as far as it matters for when to ask for another one.
package struct IssuedCertificate: Hashable, Sendable {
    /// Seconds since 1970.
    package let notBefore: Int
    package let notAfter: Int
    /// By which its authority knows it (RFC 9773 §4.1); `nil` if it does not say who has issued it.
    let renewalIdentifier: String?
    private let digest: [UInt8]
    private let certificate: PeerCertificate

    /// - Parameter file: in PEM, the certificate first.
    package init(file: String) throws(CertificateError) {
        guard let der = try CertificateStore.chain(in: file).first, let parsed = try? PeerCertificate.parsed(der) else {
            throw CertificateError(file: file, reason: .notPEM)
        }
        notBefore = Int(parsed.notValidBefore.timeIntervalSince1970)
        notAfter = Int(parsed.notValidAfter.timeIntervalSince1970)
        digest = Array(SHA256.hash(data: der))
        certificate = PeerCertificate(parsed)
        let issuer = try? parsed.extensions.authorityKeyIdentifier?.keyIdentifier
        renewalIdentifier = issuer.flatMap { issuer in
            CertificateFields(der[...]).map { "\(Base64URL.encoded(issuer)).\(Base64URL.encoded($0.serialNumber))" }
        }
    }

    /// Its own moment in what its authority suggests, and before a tenth of its life is left, whatever that suggests.
    package func renewal(in window: RenewalWindow) -> Int {
        let moment = window.times.lowerBound + window.times.count / 256 * Int(digest[0])
        return min(moment, notAfter - (notAfter - notBefore) / 10)
    }

    /// Whether all names are in it.
    package func isFor(_ names: CertificateNames) -> Bool { names.domains.allSatisfy(certificate.isFor) }

    /// When another one is asked for: when a third of its life is left, or up to a tenth of that earlier, so that not all servers ask at once whose
    /// certificates are of one hour. Each certificate has its own moment.
    package var renewal: Int {
        let third = (notAfter - notBefore) / 3
        return notAfter - third - third / 10 * Int(digest[0]) / 256
    }
}

/// When an authority would like to be asked for another certificate (RFC 9773 §4.2).
package struct RenewalWindow: Hashable, Sendable {
    /// For how long what it says holds, in seconds, and if it does not say for how long (§4.3).
    package static let secondsRange = 3_600...86_400
    package static let secondsDefault = 6 * 3_600

    /// Seconds since 1970.
    package let times: Range<Int>
    /// For how long that holds, in seconds.
    package let seconds: Int

    /// `nil` if it ends before it begins, or one of both is no time.
    init?(_ info: ACMERenewalInfo, seconds: Int?) {
        guard let start = DateTime.milliseconds(of: info.suggestedWindow.start), let end = DateTime.milliseconds(of: info.suggestedWindow.end), start < end
        else { return nil }
        times = Int(start / 1_000)..<Int(end / 1_000)
        self.seconds = min(max(seconds ?? Self.secondsDefault, Self.secondsRange.lowerBound), Self.secondsRange.upperBound)
    }
}

/// When an authority is asked again that has not given what it was asked for.
package struct RenewalBackoff: Hashable, Sendable, Codable {
    /// After the first failure, in seconds; each further one doubles it.
    package static let firstSeconds = 600
    package static let secondsMax = 86_400
    /// Of what an authority says itself.
    package static let saidSecondsMax = 7 * 86_400

    private struct Entry: Hashable, Sendable, Codable {
        var failures: Int
        /// Seconds since 1970.
        var until: Int
    }

    private var entries: [String: Entry] = [:]

    package init() {}

    package func isResting(_ domain: String, now: Int) -> Bool { entries[domain].map { now < $0.until && $0.until - now <= Self.saidSecondsMax * 2 } ?? false }
    package func failures(of domain: String) -> Int { entries[domain]?.failures ?? 0 }

    /// - Parameters:
    ///   - said: by the authority, in seconds.
    ///   - jitter: from 0 to 1: up to a quarter is added.
    /// - Returns: until when it rests, in seconds since 1970.
    package mutating func failed(_ domain: String, now: Int, said: Int?, jitter: Double) -> Int {
        let failures = (entries[domain]?.failures ?? 0) + 1
        let doubled = min(Self.firstSeconds << min(failures - 1, 16), Self.secondsMax)
        let seconds = max(doubled, min(said ?? 0, Self.saidSecondsMax))
        let until = now + seconds + Int(Double(seconds) / 4 * jitter)
        entries[domain] = Entry(failures: failures, until: until)
        return until
    }

    package mutating func succeeded(_ domain: String) { entries[domain] = nil }
    /// Nothing is known any more of others than these.
    package mutating func keep(_ domains: some Sequence<String>) {
        let kept = Set(domains)
        entries = entries.filter { kept.contains($0.key) }
    }
}
