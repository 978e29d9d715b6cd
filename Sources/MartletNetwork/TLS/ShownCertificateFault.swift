import NIOSSL

/// With what certificates of whoever calls the handshake ends, also where none is needed: the caller has to leave them out.
///
/// The first two the TLS library looks at before anybody else is asked, and cannot be told to take such a certificate for none.
package enum ShownCertificateFault {
    /// `keyUsage` without `digitalSignature` (RFC 5280 §4.2.1.3, RFC 8446 §4.4.2.2).
    case key
    /// It was not asked for: with SHA-1, for instance (``TLSProfile/signatures``).
    case signature
    /// There are more of them than ``bytesMax``.
    case length

    /// Longest chain that may be shown to us, in bytes of DER.
    ///
    /// With TLS 1.3 the library gives whoever calls two tickets for going on with the session (RFC 8446 §4.6.1), each with the whole
    /// chain in it, and writes them in one piece with the first that is said. That piece has 65,528 bytes at most: with more the
    /// connection breaks, after the handshake and without a word to either side. 24,000 leave room for what else is in a ticket, and for
    /// a record that is full. It holds for TLS 1.2 as well, so that it does not depend on the version whether a certificate is good.
    package static let bytesMax = 24_000

    static func isTooLong(_ shown: [[UInt8]]) -> Bool { shown.reduce(0) { $0 + $1.count } > bytesMax }

    /// - Parameter error: by which the handshake ended. `nil` if it was about something else.
    package init?(_ error: any Error) {
        guard let error = error as? NIOSSLError, case .handshakeFailed(.sslError(let errors)) = error else { return nil }
        let words = errors.map { "\($0)" }
        if words.contains(where: { $0.contains("KEY_USAGE_BIT_INCORRECT") }) {
            self = .key
        } else if words.contains(where: { $0.contains("WRONG_SIGNATURE_TYPE") }) {
            self = .signature
        } else if words.contains(where: { $0.contains("CERTIFICATE_VERIFY_FAILED") || $0.contains("EXCESSIVE_MESSAGE_SIZE") }) {
            // The first is our own word. The second is the library's about a message of more than 102,400 bytes, as no other is but that of certificates.
            self = .length
        } else {
            return nil
        }
    }

    /// Why, in words for the operator.
    var why: String {
        switch self {
        case .key: "its key is not for signatures (keyUsage): it must not be shown"
        case .signature: "the handshake is signed in a way that is not taken here, such as with SHA-1"
        case .length: "its certificates have more than \(Self.bytesMax) bytes"
        }
    }
}
