import Crypto
import Foundation
import MartletNetwork
import MartletXMPP
import SwiftASN1
import X509

/// A certificate that the server makes for a domain that has no other. Clients must be told to trust it.
struct SelfSignedCertificate {
    /// For how long it is good. Longer ones are refused by some systems even if the user trusts them.
    static let validity = Duration.seconds(825 * 86_400)
    /// A new one is made at a start or a reload when so much is left: before anybody is warned.
    static let renewalBefore = Duration.seconds(35 * 86_400)

    /// PEM.
    let certificate: String
    /// PEM.
    let key: String

    /// - Parameter validity: the standard one, or a shorter one.
    init(_ names: CertificateNames, nowSeconds: Int, validity: Duration = Self.validity) throws(CommandFailure) {
        do {
            (certificate, key) = try Self.make(names, Date(timeIntervalSince1970: Double(nowSeconds)), validity)
        } catch {
            throw CommandFailure(.software, "no certificate can be made for \(names.domains[0]): \(error)")
        }
    }

    private static func make(_ names: CertificateNames, _ now: Date, _ validity: Duration) throws -> (certificate: String, key: String) {
        let key = try CertificateKey(.p256)
        let signer = key.privateKey
        // X.520: a common name has at most 64 characters. Nobody compares it any more; the names are below.
        let name = try DistinguishedName { CommonName(String(names.domains[0].asciiDomainpart.prefix(64))) }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: signer.publicKey,
            // Clocks differ.
            notValidBefore: now.addingTimeInterval(-3600), notValidAfter: now.addingTimeInterval(Double(validity.components.seconds)),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectKeyIdentifier(hash: signer.publicKey)
                SubjectAlternativeNames(try names.all)
            },
            issuerPrivateKey: signer)
        return (try certificate.serializeAsPEM().pemString + "\n", key.pem)
    }
}

/// A certificate as an operator compares it.
struct CertificateFingerprint {
    /// SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` writes it.
    let sha256: String
    let ends: Date
    let isSelfSigned: Bool

    /// Of the first certificate in a PEM file.
    init?(pem: String) {
        guard let begin = pem.range(of: "-----BEGIN CERTIFICATE-----"),
            let end = pem.range(of: "-----END CERTIFICATE-----", range: begin.upperBound..<pem.endIndex),
            let certificate = try? Certificate(pemEncoded: String(pem[begin.lowerBound..<end.upperBound]))
        else { return nil }
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(certificate)) != nil else { return nil }
        sha256 = SHA256.hash(data: serializer.serializedBytes).map { String(format: "%02X", $0) }.joined(separator: ":")
        ends = certificate.notValidAfter
        isSelfSigned = certificate.issuer == certificate.subject
    }
}
