import NIOSSL

/// Whom the client believes about the directory's servers, and what it shows them.
package struct DirectoryTLS: Hashable, Sendable {
    /// What the server may know us by (SASL EXTERNAL, RFC 4513 §5.2.3): files with chain and key, in PEM.
    package struct Certificate: Hashable, Sendable {
        package var chain: String
        package var key: String

        package init(chain: String, key: String) { (self.chain, self.key) = (chain, key) }
    }

    /// A file of certificates in PEM that vouch for the servers; `nil` for the authorities that the system trusts.
    package var authorities: String?
    package var certificate: Certificate?

    package init(authorities: String? = nil, certificate: Certificate? = nil) { (self.authorities, self.certificate) = (authorities, certificate) }

    /// What a handshake needs. Reads the files, for every connection anew: there are few of them, and a certificate may have been renewed. Not on a loop.
    ///
    /// Certificates are checked down to the host's name: a directory that anybody could play would be everybody's password.
    func context() throws(DirectoryFailure) -> NIOSSLContext {
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.certificateVerification = .fullVerification
            if let authorities { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities)) }
            if let certificate {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate.chain).map { .certificate($0) }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: certificate.key, format: .pem))
            }
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw .insecure("\(error)")
        }
    }
}
