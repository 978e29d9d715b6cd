package import MartletXMPP

/// Names a certificate: the SHA-256 of all its bytes. Whoever shows these has shown the certificate; that the key is his as well, TLS sees to.
package struct CertificateFingerprint: Hashable, Sendable, Comparable {
    package let bytes: [UInt8]
    package static let byteCount = 32

    /// `nil` if these cannot be of a digest.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// - Parameter certificate: in DER.
    package init(of certificate: [UInt8]) { bytes = ScramHash.sha256.digest(certificate) }

    /// 64 hexadecimal digits.
    package var text: String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    package static func < (a: Self, b: Self) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}

/// A certificate with which its account lets itself in (XEP-0257).
package struct AccountCertificate: Hashable, Sendable {
    /// Certificates that one account may have.
    package static let perAccountMax = 32
    /// Longest certificate, in bytes of DER: those of keys of 8192 bits with some names have half of it.
    package static let bytesMax = 8_192
    /// Longest name, in bytes.
    package static let nameBytesMax = 128

    /// By which the account knows it; no two of an account have the same one.
    package var name: String
    package var fingerprint: CertificateFingerprint
    /// In DER.
    package var content: [UInt8]
    /// Whether whoever has logged in with it may add and remove certificates (§2.1).
    package var managesCertificates: Bool
    /// Milliseconds since 1970: when it was added, and until when it is good.
    package var added: Int64
    package var expires: Int64

    package init(name: String, content: [UInt8], managesCertificates: Bool = true, added: Int64, expires: Int64) {
        self.name = name
        fingerprint = CertificateFingerprint(of: content)
        self.content = content
        self.managesCertificates = managesCertificates
        self.added = added
        self.expires = expires
    }
}

package enum AccountCertificateChange: Hashable, Sendable {
    /// Refused with ``StoreError/constraint(_:)`` if the account is gone, has this certificate or one of this name, or `certificatesMax` of them.
    case add(AccountID, AccountCertificate, certificatesMax: Int = AccountCertificate.perAccountMax)
    /// Refused with ``StoreError/constraint(_:)`` if the account has none of this name.
    case remove(AccountID, name: String)
}

/// Which certificates accounts have added for themselves. They go with their account.
package protocol AccountCertificateStore: Sendable {
    /// In the order in which they were added, and of their names. Including whatever was submitted before the call.
    func certificates(of account: AccountID) async throws(StoreError) -> [AccountCertificate]
    /// The accounts of a domain that have a certificate, in the order of their addresses; at most `limit`. Including whatever was submitted
    /// before the call.
    func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) async throws(StoreError) -> [BareJID]
}

/// The same as plain values, of one account.
package struct AccountCertificateContents: Sendable {
    /// Names are compared by their octets.
    private var byName: [[UInt8]: AccountCertificate] = [:]

    package init() {}

    package var all: [AccountCertificate] {
        byName.sorted { $0.value.added != $1.value.added ? $0.value.added < $1.value.added : $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
    }

    package func has(_ fingerprint: CertificateFingerprint) -> Bool { byName.values.contains { $0.fingerprint == fingerprint } }

    mutating func add(_ certificate: AccountCertificate, certificatesMax: Int) throws(StoreError) {
        let name = Array(certificate.name.utf8)
        guard byName[name] == nil, !has(certificate.fingerprint), byName.count < certificatesMax else {
            throw .constraint("the account has such a certificate, or too many")
        }
        byName[name] = certificate
    }

    mutating func remove(named name: String) throws(StoreError) {
        guard byName.removeValue(forKey: Array(name.utf8)) != nil else { throw .constraint("the account has no such certificate") }
    }
}
