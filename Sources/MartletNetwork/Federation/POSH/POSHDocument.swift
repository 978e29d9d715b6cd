import MartletXMPP

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a domain's web server says about the certificates of its XMPP server (RFC 7711 §3): their fingerprints, or where these are.
package struct POSHDocument: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        /// SHA-256 of certificates in DER. Certificates that have other fingerprints only are not known here.
        case fingerprints(Set<[UInt8]>)
        /// Another document says it.
        case reference(HTTPURL)
    }

    /// Longest one, in bytes.
    package static let bytesMax = 65_536
    /// Most fingerprints that are looked at. Two are enough while one certificate takes the place of another.
    package static let fingerprintsMax = 16

    package let content: Content
    /// For how many seconds this may be believed; at least one.
    package let expires: Int

    /// `nil` if the bytes are no such document. Without a time for which it may be believed it is none.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax, let written = try? JSONDecoder().decode(Written.self, from: Data(bytes)) else { return nil }
        guard let expires = written.expires, expires > 0, let content = written.content else { return nil }
        (self.content, self.expires) = (content, expires)
    }

    /// As it is in JSON. What else is there is left alone.
    private struct Written: Decodable {
        struct Fingerprint: Decodable {
            enum CodingKeys: String, CodingKey { case sha256 = "sha-256" }
            var sha256: String?
        }
        var fingerprints: [Fingerprint]?
        var url: String?
        var expires: Int?

        var content: Content? {
            guard let fingerprints else { return url.flatMap { HTTPURL($0) }.flatMap { $0.scheme == .https ? .reference($0) : nil } }
            let hashes = fingerprints.lazy.compactMap { $0.sha256 }.compactMap { Base64.decode($0.utf8) }.filter { $0.count == 32 }
            return .fingerprints(Set(hashes.prefix(fingerprintsMax)))
        }
    }
}
