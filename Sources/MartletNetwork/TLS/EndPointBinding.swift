import Crypto
package import MartletXMPP

extension ChannelBinding {
    /// `tls-server-end-point` (RFC 5929 §4.1): the hash of the certificate that the server showed, by the hash function of the
    /// certificate's own signature, or SHA-256 where that is MD5, SHA-1 or none.
    ///
    /// - Parameter certificate: in DER. `nil` if it does not name a signature that we know.
    package static func tlsServerEndPoint(_ certificate: [UInt8]) -> ChannelBinding? {
        guard let hash = CertificateSignature.hash(of: certificate) else { return nil }
        let digest: [UInt8] =
            switch hash {
            case .sha256: Array(SHA256.hash(data: certificate))
            case .sha384: Array(SHA384.hash(data: certificate))
            case .sha512: Array(SHA512.hash(data: certificate))
            }
        return ChannelBinding(.tlsServerEndPoint, data: digest)
    }
}

/// Reads the signature algorithm of a certificate (RFC 5280 §4.1.1.2), and no more.
enum CertificateSignature {
    enum Hash { case sha256, sha384, sha512 }

    private static let sequence: UInt8 = 0x30
    private static let objectIdentifier: UInt8 = 0x06

    static func hash(of certificate: [UInt8]) -> Hash? {
        var document = certificate[...]
        guard var parts = element(sequence, &document), element(sequence, &parts) != nil, var algorithm = element(sequence, &parts),
            let identifier = element(objectIdentifier, &algorithm)
        else { return nil }
        return known[Array(identifier)]
    }

    /// One element in DER, off the front of `bytes`: its content.
    private static func element(_ tag: UInt8, _ bytes: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard bytes.popFirst() == tag, let first = bytes.popFirst() else { return nil }
        var length = Int(first)
        if first >= 0x80 {
            let count = Int(first & 0x7F)
            guard (1...4).contains(count), bytes.count >= count else { return nil }
            length = bytes.prefix(count).reduce(0) { $0 << 8 | Int($1) }
            bytes = bytes.dropFirst(count)
        }
        guard bytes.count >= length else { return nil }
        defer { bytes = bytes.dropFirst(length) }
        return bytes.prefix(length)
    }

    /// Not in it: RSASSA-PSS, whose hash is a parameter, and for which RFC 5929 leaves open what is to be done; Ed25519 has none.
    private static let known: [[UInt8]: Hash] = [
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x04]: .sha256,  // md5WithRSAEncryption
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x05]: .sha256,  // sha1WithRSAEncryption
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B]: .sha256,  // sha256WithRSAEncryption
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C]: .sha384,
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0D]: .sha512,
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01]: .sha256,  // ecdsa-with-SHA1
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02]: .sha256,  // ecdsa-with-SHA256
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03]: .sha384,
        [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04]: .sha512,
    ]
}
