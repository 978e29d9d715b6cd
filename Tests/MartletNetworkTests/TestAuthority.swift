import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

/// An authority of the tests' own: issues certificates for whatever a test is about.
struct TestAuthority {
    /// How a certificate differs from an ordinary one.
    struct Options {
        /// Days before and after ``Fixtures/now``.
        var validity = -30...30
        var names: [GeneralName] = []
        var purposes: [ExtendedKeyUsage.Usage] = [.serverAuth]
        var isCritical = false
        var mayIssue = true
        var signsLists = true
        var version = Certificate.Version.v3
        var more: [Certificate.Extension] = []
        /// Without one it is `leaf`; an empty one has nothing in it.
        var subject: String?
    }

    let key: P256.Signing.PrivateKey
    let certificate: Certificate
    let name: DistinguishedName

    var bytes: [UInt8] { get throws { try Self.der(certificate) } }

    /// Signed by itself, or by another.
    init(_ name: String, by issuer: TestAuthority? = nil, constraints: NameConstraints? = nil, options change: (inout Options) -> Void = { _ in }) throws {
        var options = Options()
        options.purposes = []
        change(&options)
        key = P256.Signing.PrivateKey()
        self.name = try DistinguishedName { CommonName(name) }
        let extensions = try Certificate.Extensions {
            Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
            Critical(KeyUsage(digitalSignature: true, keyCertSign: options.mayIssue, cRLSign: options.signsLists))
            if let constraints { Critical(constraints) }
        }
        certificate = try Self.make(
            options, key.publicKey, self.name, options.version == .v3 ? Array(extensions) + options.more : [], issuer?.name ?? self.name, issuer?.key ?? key)
    }

    /// Another certificate of the same authority, signed by somebody else.
    init(_ authority: TestAuthority, by issuer: TestAuthority) throws {
        (key, name) = (authority.key, authority.name)
        certificate = try Self.make(Options(), key.publicKey, name, Array(authority.certificate.extensions), issuer.name, issuer.key)
    }

    /// As an authority writes them: somebody's certificate, for a key that he has.
    func issue(to key: P256.Signing.PublicKey, options change: (inout Options) -> Void = { _ in }) throws -> Certificate {
        var options = Options()
        change(&options)
        return try Self.leaf(options, key, name, self.key)
    }

    /// A certificate of a server, in DER.
    func issue(_ names: GeneralName..., options change: (inout Options) -> Void = { _ in }) throws -> [UInt8] {
        var options = Options()
        options.names = names
        change(&options)
        return try Self.der(Self.leaf(options, P256.Signing.PrivateKey().publicKey, name, key))
    }

    static func selfSigned(_ names: GeneralName..., options change: (inout Options) -> Void = { _ in }) throws -> [UInt8] {
        let key = P256.Signing.PrivateKey()
        var options = Options()
        options.names = names
        change(&options)
        return try der(leaf(options, key.publicKey, nil, key))
    }

    private static func leaf(
        _ options: Options, _ publicKey: P256.Signing.PublicKey, _ issuer: DistinguishedName?, _ issuerKey: P256.Signing.PrivateKey
    ) throws -> Certificate {
        let subject = try options.subject?.isEmpty == true ? DistinguishedName() : DistinguishedName { CommonName(options.subject ?? "leaf") }
        var extensions: [Certificate.Extension] = []
        if !options.names.isEmpty { extensions.append(try .init(SubjectAlternativeNames(options.names), critical: options.isCritical)) }
        if !options.purposes.isEmpty { extensions.append(try .init(ExtendedKeyUsage(options.purposes), critical: options.isCritical)) }
        return try make(options, publicKey, subject, extensions + options.more, issuer ?? subject, issuerKey)
    }

    private static func make(
        _ options: Options, _ publicKey: P256.Signing.PublicKey, _ subject: DistinguishedName, _ extensions: [Certificate.Extension],
        _ issuer: DistinguishedName, _ issuerKey: P256.Signing.PrivateKey
    ) throws -> Certificate {
        try Certificate(
            version: options.version, serialNumber: .init(), publicKey: .init(publicKey), notValidBefore: date(options.validity.lowerBound),
            notValidAfter: date(options.validity.upperBound), issuer: issuer, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions(extensions), issuerPrivateKey: .init(issuerKey))
    }

    private static func date(_ days: Int) -> Date { Date(timeIntervalSince1970: Double(Fixtures.now + days * 86_400)) }

    private static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

extension GeneralName {
    /// SRV-ID (RFC 4985).
    static func service(_ name: String) throws -> GeneralName {
        .otherName(OtherName(typeID: [1, 3, 6, 1, 5, 5, 7, 8, 7], value: try ASN1Any(erasing: ASN1IA5String(name))))
    }

    static func xmppAddress(_ address: String) throws -> GeneralName {
        .otherName(OtherName(typeID: [1, 3, 6, 1, 5, 5, 7, 8, 5], value: try ASN1Any(erasing: ASN1UTF8String(address))))
    }

    static func address(_ octets: UInt8...) -> GeneralName { .ipAddress(ASN1OctetString(contentBytes: octets[...])) }
}
