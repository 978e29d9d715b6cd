package import NIOSSL

/// What is asked of TLS on a listener, or where another server is called.
///
/// Of TLS 1.3 the library has three ciphers, AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305, which cannot be chosen from: the first of them that the
/// client names is taken. They are sound in all profiles.
package enum TLSProfile: String, Hashable, Sendable, CaseIterable {
    /// TLS 1.2 and 1.3; of 1.2 only what keeps secrets for good and authenticates what it encrypts: ECDHE with AES-GCM or ChaCha20-Poly1305
    /// (RFC 9325 §3.1.1, §4.2).
    case intermediate
    /// TLS 1.3 alone.
    case modern
    /// TLS 1.3, with keys agreed on by P-384 alone (RFC 9151 §5.1), which is what some are obliged to.
    case strict

    /// RFC 9325 §4.2.
    private static let suites: [NIOTLSCipher] = [
        .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]

    /// The signatures that are taken from the other end of a handshake: none with SHA-1 (RFC 9155 §2), which the library itself would take with TLS 1.2
    /// last of all, and those of Ed25519 and P-521, which it would not ask for.
    ///
    /// In TLS 1.3 those of PKCS #1 speak for certificates only (RFC 8446 §4.2.3).
    package static let signatures: [SignatureAlgorithm] = [
        .ecdsaSecp256R1Sha256, .rsaPssRsaeSha256, .rsaPkcs1Sha256, .ecdsaSecp384R1Sha384, .rsaPssRsaeSha384, .rsaPkcs1Sha384, .rsaPssRsaeSha512,
        .rsaPkcs1Sha512, .ecdsaSecp521R1Sha512, .ed25519,
    ]

    package func restrict(_ configuration: inout TLSConfiguration) {
        configuration.verifySignatureAlgorithms = Self.signatures
        switch self {
        case .intermediate:
            configuration.minimumTLSVersion = .tlsv12
            configuration.cipherSuiteValues = Self.suites
        case .modern: configuration.minimumTLSVersion = .tlsv13
        case .strict:
            configuration.minimumTLSVersion = .tlsv13
            configuration.curves = [.secp384r1]
        }
    }

    /// Whether a connection that another server has made is recent enough. How its keys were agreed on is for the listener to say.
    func allows(version: TLSVersion?) -> Bool {
        switch self {
        case .intermediate: true
        case .modern, .strict: version == .tlsv13
        }
    }
}
