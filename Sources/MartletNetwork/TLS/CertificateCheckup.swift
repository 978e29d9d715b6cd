package import MartletXMPP
package import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Looks at a certificate of ours where it lies: its chain, names, time and key, and what those who are shown it think of it.
package struct CertificateCheckup {
    package struct Subject: Hashable, Sendable {
        /// PEM: the certificate, then those that lead to a trusted one.
        package var chain: String
        /// PEM; `nil` where only the certificate is looked at.
        package var key: String?
        /// Whom it is to be for.
        package var domains: [BareJID]

        package init(chain: String, key: String?, domains: [BareJID]) { (self.chain, self.key, self.domains) = (chain, key, domains) }
    }

    /// Asks whether a chain that leads to an anchor is revoked.
    package typealias RevocationInquiry = @Sendable ([Certificate]) async -> RevocationFinding

    private let trust: PeerTrust
    private let now: Int
    private let inquiry: RevocationInquiry?
    private let tell: (DiagnosisStep) -> Void

    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - inquiry: `nil`: nobody is asked.
    package init(_ trust: PeerTrust, now: Int, inquiry: RevocationInquiry? = nil, _ tell: @escaping (DiagnosisStep) -> Void) {
        (self.trust, self.now, self.inquiry, self.tell) = (trust, now, inquiry, tell)
    }

    /// - Returns: whether all is well, and will be for some time (``CertificateStore/warningSeconds(notBefore:notAfter:)``).
    package func run(_ subject: Subject) async -> Bool {
        let chain: [[UInt8]]
        let certificates: [Certificate]
        do {
            chain = try CertificateStore.chain(in: subject.chain)
            certificates = try chain.map { try PeerCertificate.parsed($0) }
            guard let first = chain.first else { throw CertificateFault.absent }
            tell(DiagnosisStep(.certificate, .neutral, "\(subject.chain): \(try DiagnosedPeerConnection.words(first, more: chain.count - 1))"))
        } catch {
            say(.bad, "\(subject.chain): \(error)")
            advise("name a file in PEM form that the server's user can read, the domain's own certificate first (domains: certificate)")
            return false
        }
        var isWell = checkOrder(certificates, subject.chain)
        if let key = subject.key, !checkKey(key, of: subject, certificates) { isWell = false }
        let missing = subject.domains.filter { !PeerCertificate(certificates[0]).isFor($0) }
        for domain in missing {
            say(.bad, "\(subject.chain): others do not accept it for \(domain): \(CertificateFault.otherNames(domain.domainpart, PeerCertificate(certificates[0]).names))")
            advise("have one issued that names \(domain) as well ('martlet certificate request' writes what to ask for)")
        }
        return await checkTrust(chain, subject, besides: missing) && missing.isEmpty && isWell
    }

    private func say(_ verdict: DiagnosisStep.Verdict, _ text: String) { tell(DiagnosisStep(.certificate, verdict, text)) }
    private func advise(_ text: String) { tell(DiagnosisStep(.advice, .bad, text)) }

    // MARK: The chain

    /// RFC 8446 §4.4.2: each is issued by the one behind it. Many put up with another order, some do not.
    private func checkOrder(_ certificates: [Certificate], _ file: String) -> Bool {
        guard let index = certificates.indices.dropLast().first(where: { certificates[$0].issuer != certificates[$0 + 1].subject }) else { return true }
        say(.bad, "\(file): the certificate in place \(index + 2) is not that of the issuer of the one before it")
        advise("put the domain's own certificate first, and behind each that of its issuer; leave out all others")
        return false
    }

    /// Others who trust the same authorities, now and a while from now.
    private func checkTrust(_ chain: [[UInt8]], _ subject: Subject, besides missing: [BareJID]) async -> Bool {
        let file = subject.chain
        let named = subject.domains.filter { !missing.contains($0) }
        let accepted = named.isEmpty ? "" : " for \(named.map(\.description).joined(separator: ", "))"
        let trusted: TrustedCertificate
        do throws(CertificateFault) {
            trusted = try await trust.verify(chain, now: now)
            for domain in named { if let fault = trusted.fault(for: domain) { throw fault } }
        } catch {
            say(.bad, "\(file): others do not accept it\(accepted): \(error)")
            advise("have one issued by an authority that others trust, and name it under domains (certificate and key)")
            return false
        }
        do throws(CertificateFault) { _ = try await trust.verify(chain, now: now + trusted.warningSeconds) } catch {
            say(.bad, "\(file): others accept it\(accepted), but not much longer: \(error)")
            advise("renew it, and reload the configuration")
            return false
        }
        if let inquiry, case let finding = await inquiry(trusted.chain), let (verdict, words) = finding.words {
            say(verdict, "\(file): \(words)")
            if verdict == .bad {
                advise("have another one issued, for another key, and reload the configuration")
                return false
            }
        }
        guard missing.isEmpty else { return true }
        say(.good, "\(file): others accept it\(accepted)")
        return true
    }

    // MARK: The key

    private func checkKey(_ key: String, of subject: Subject, _ certificates: [Certificate]) -> Bool {
        do throws(CertificateError) { try CertificateStore.check(CertificateFiles(domain: "", chain: subject.chain, key: key)) } catch {
            say(.bad, "\(error)")
            switch error.reason {
            case .keyDoesNotMatch: advise("name the key for which the certificate was asked (domains: key), or have a certificate issued for this one")
            case .unreadable, .notPEM, .keyNotPEM, .refused: advise("name a private key in PEM form without a password, which the server's user can read (domains: key)")
            }
            return false
        }
        let kind = "\(certificates[0].publicKey)".split(separator: ".").first.map(String.init) ?? ""
        guard FileContents.permissions(of: key) != nil else { return true }
        if let mode = Self.modeForOthers(of: key) {
            say(.bad, "\(key): others than its owner may use the key (mode \(mode))")
            advise("chmod 600 \(key), and give it to the server's user")
            return false
        }
        say(.good, "\(key): its key (\(kind)), which nobody but its owner may read")
        return true
    }
}

extension TrustedCertificate {
    fileprivate var warningSeconds: Int {
        guard let leaf = chain.first else { return 0 }
        let ends = [leaf.notValidBefore, leaf.notValidAfter].map { Int($0.timeIntervalSince1970) }
        return CertificateStore.warningSeconds(notBefore: ends[0], notAfter: ends[1])
    }
}

extension CertificateStore {
    /// Whether a certificate and its key can be used together.
    package static func check(_ files: CertificateFiles) throws(CertificateError) { _ = try Self.read(files) }
}

extension CertificateCheckup {
    /// The permissions of a key in octal, if others than its owner may read or write it.
    package static func modeForOthers(of key: String) -> String? {
        FileContents.permissions(of: key).flatMap { $0 & 0o077 == 0 ? nil : String($0, radix: 8) }
    }
}

extension FileContents {
    /// The bits that say who may do what; `nil` if there is no such file.
    static func permissions(of path: String) -> UInt32? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt32(status.st_mode) & 0o7777 : nil
    }
}
