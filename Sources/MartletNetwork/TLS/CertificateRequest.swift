import Crypto
import CryptoExtras
package import MartletXMPP
import SwiftASN1
package import X509

/// A key for a certificate, and for nothing else.
package struct CertificateKey: Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        /// ECDSA with P-256, which everybody takes and which costs the least.
        case p256
        /// ECDSA with P-384.
        case p384
        /// RSA with 3072 bits, for clients that know nothing else.
        case rsa
    }

    package let privateKey: Certificate.PrivateKey
    /// PKCS #8 (RFC 5958), or what was read.
    package let pem: String

    /// A new one.
    package init(_ kind: Kind) throws {
        switch kind {
        case .p256: try self.init(Certificate.PrivateKey(P256.Signing.PrivateKey()))
        case .p384: try self.init(Certificate.PrivateKey(P384.Signing.PrivateKey()))
        case .rsa: try self.init(Certificate.PrivateKey(_RSA.Signing.PrivateKey(keySize: .bits3072)))
        }
    }

    private init(_ key: Certificate.PrivateKey) throws {
        privateKey = key
        pem = try key.serializeAsPEM().pemString + "\n"
    }

    /// One that is there.
    package init(pem: String) throws {
        privateKey = try Certificate.PrivateKey(pemEncoded: pem)
        self.pem = pem
    }
}

/// The names that a certificate of a domain is to have: those of the domain and of its services, which other servers call by names of their own.
package struct CertificateNames: Hashable, Sendable {
    /// The domain first; none twice.
    package let domains: [BareJID]

    package init(_ domain: BareJID, services: [BareJID]) { domains = [domain] + services.filter { $0 != domain } }

    /// DNS-IDs (RFC 9525 §1.7.2), which all authorities issue.
    var hosts: [GeneralName] { domains.map { .dnsName($0.asciiDomainpart) } }

    /// Besides those, SRV-IDs (RFC 4985) and XMPP addresses (RFC 6120 §13.7.1.2, §13.7.1.4). Public authorities leave them out, or refuse the request.
    package var all: [GeneralName] {
        get throws {
            var names = hosts
            for (index, domain) in domains.enumerated() {
                let services = index == 0 ? ["_xmpp-client.", "_xmpp-server."] : ["_xmpp-server."]
                for service in services { names.append(try Self.other([1, 3, 6, 1, 5, 5, 7, 8, 7], ASN1IA5String(service + domain.asciiDomainpart))) }
                names.append(try Self.other([1, 3, 6, 1, 5, 5, 7, 8, 5], ASN1UTF8String(domain.domainpart)))
            }
            return names
        }
    }

    private static func other(_ type: ASN1ObjectIdentifier, _ value: some DERSerializable) throws -> GeneralName {
        .otherName(.init(typeID: type, value: try ASN1Any(erasing: value)))
    }
}

/// What an authority is asked for (RFC 2986).
package struct CertificateRequest: Sendable {
    package let der: [UInt8]
    package let pem: String

    /// - Parameter hasXMPPNames: whether it asks for SRV-IDs and XMPP addresses as well.
    package init(_ names: CertificateNames, _ key: CertificateKey, hasXMPPNames: Bool = false) throws {
        let general = hasXMPPNames ? try names.all : names.hosts
        let extensions = try Certificate.Extensions { SubjectAlternativeNames(general) }
        // The subject stays empty: names in it count for nothing (RFC 9525 §2), and have at most 64 characters.
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName(), privateKey: key.privateKey,
            attributes: .init([.init(ExtensionRequest(extensions: extensions))]))
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        der = serializer.serializedBytes
        pem = try request.serializeAsPEM().pemString + "\n"
    }
}
