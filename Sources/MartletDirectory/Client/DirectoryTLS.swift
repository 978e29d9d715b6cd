import NIOConcurrencyHelpers
import NIOSSL

/// Whom the client believes about the directory's servers, and what it shows them.
package final class DirectoryTLS: Sendable {
    package struct Settings: Hashable, Sendable {
        /// A file of certificates in PEM that vouch for the servers; `nil` for the authorities that the system trusts.
        package var authorities: String?
        /// What the server may know us by (SASL EXTERNAL, RFC 4513 §5.2.3): chain and key, in PEM.
        package var certificate: Certificate?

        package struct Certificate: Hashable, Sendable {
            package var chain: String
            package var key: String

            package init(chain: String, key: String) { (self.chain, self.key) = (chain, key) }
        }

        package init(authorities: String? = nil, certificate: Certificate? = nil) { (self.authorities, self.certificate) = (authorities, certificate) }
    }

    private let settings: Settings
    // Held while it is made: the others would have to wait anyway. Reading the system's authorities takes a while, and a file that is not there yet may come.
    private let made = NIOLockedValueBox<NIOSSLContext?>(nil)

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    /// What a handshake needs. Reads files: not on a loop.
    func context() throws(DirectoryFailure) -> NIOSSLContext {
        do {
            return try made.withLockedValue { made in
                if let made { return made }
                let context = try NIOSSLContext(configuration: configuration())
                made = context
                return context
            }
        } catch {
            throw .insecure("\(error)")
        }
    }

    /// Certificates are checked down to the host's name: a directory that anybody could play would be everybody's password.
    private func configuration() throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        if let file = settings.authorities { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file)) }
        if let own = settings.certificate {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(own.chain).map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: own.key, format: .pem))
        }
        return configuration
    }
}
