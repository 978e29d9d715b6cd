import SwiftASN1
package import X509

/// A certificate about which it is asked whether it is revoked, and by whom it was issued.
package struct RevocationQuestion: Hashable, Sendable {
    /// Most places that a certificate names which are asked, of each kind.
    package static let placesMax = 2
    /// Most entries of its extensions that are looked at.
    private static let entriesMax = 16

    /// What its certificate is called, for people.
    package let subject: String
    /// The INTEGER's content.
    let serialNumber: [UInt8]
    /// The issuer's name as the certificate has it, in DER.
    let issuerName: [UInt8]
    /// Whether it may issue certificates itself.
    let isAuthority: Bool
    /// Where the issuer says it publishes a list that has it (RFC 5280 §4.2.1.13), as written.
    let listPlaces: [String]
    /// Whom the issuer says to ask (RFC 5280 §4.2.2.1), as written.
    let responderPlaces: [String]
    package let issuer: RevocationIssuer

    package init?(_ certificate: Certificate, issuedBy issuer: Certificate) {
        guard let fields = CertificateFields(certificate), let issuer = RevocationIssuer(issuer) else { return nil }
        subject = PathExamination.name(of: certificate)
        (serialNumber, issuerName) = (Array(fields.serialNumber), Array(fields.issuer))
        isAuthority =
            switch try? certificate.extensions.basicConstraints {
            case .isCertificateAuthority: true
            case .notCertificateAuthority, nil: false
            }
        listPlaces = certificate.extensions[oid: [2, 5, 29, 31]].map { Self.places(distributionPoints: $0.value) } ?? []
        responderPlaces = certificate.extensions[oid: [1, 3, 6, 1, 5, 5, 7, 1, 1]].map { Self.places(responders: $0.value) } ?? []
        self.issuer = issuer
    }

    package var listURLs: [HTTPURL] { Array(listPlaces.lazy.compactMap { HTTPURL($0) }.prefix(Self.placesMax)) }
    package var responderURLs: [HTTPURL] { Array(responderPlaces.lazy.compactMap { HTTPURL($0) }.prefix(Self.placesMax)) }

    /// Those of points for all reasons, whose lists the issuer signs itself.
    private static func places(distributionPoints value: ArraySlice<UInt8>) -> [String] {
        guard var points = try? DERReader(only: DERReader.Tag.sequence, in: value) else { return [] }
        var places: [String] = []
        for _ in 0..<entriesMax {
            guard let point = try? points.content(DERReader.Tag.sequence) else { break }
            var reader = DERReader(point)
            guard let name = try? reader.optional(DERReader.Tag.context(0, isConstructed: true)), reader.isAtEnd else { continue }
            places += (try? DistributionPointName.places(name)) ?? []
        }
        return Array(places.prefix(entriesMax))
    }

    private static let ocsp: [UInt8] = [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01]

    private static func places(responders value: ArraySlice<UInt8>) -> [String] {
        guard var accesses = try? DERReader(only: DERReader.Tag.sequence, in: value) else { return [] }
        var places: [String] = []
        for _ in 0..<entriesMax {
            guard let access = try? accesses.content(DERReader.Tag.sequence) else { break }
            var reader = DERReader(access)
            guard let method = try? reader.content(DERReader.Tag.objectIdentifier), Array(method) == ocsp, let location = try? reader.element() else { continue }
            if let place = DistributionPointName.uri(location) { places.append(place) }
        }
        return places
    }
}

/// Who has issued a certificate, as far as it matters for whether it is revoked.
package struct RevocationIssuer: Hashable, Sendable {
    /// Its own name, in DER.
    let name: [UInt8]
    let key: Certificate.PublicKey
    /// The key's bits (without tag and length), by whose hash OCSP names it.
    let keyBits: [UInt8]
    /// Whether its certificate lets it sign lists: one that says nothing about its key lets it (RFC 5280 §6.3.3 (f)).
    let signsLists: Bool

    package init?(_ certificate: Certificate) {
        guard let fields = CertificateFields(certificate) else { return nil }
        name = Array(fields.subject)
        key = certificate.publicKey
        keyBits = Array(fields.keyBits)
        signsLists = (try? certificate.extensions.keyUsage)?.cRLSign ?? (certificate.extensions[oid: .X509ExtensionID.keyUsage] == nil)
    }
}

/// Parts of a certificate as they are in it (RFC 5280 §4.1), in DER.
struct CertificateFields {
    /// The INTEGER's content.
    let serialNumber: ArraySlice<UInt8>
    let issuer: ArraySlice<UInt8>
    let subject: ArraySlice<UInt8>
    /// The content of the public key's BIT STRING.
    let keyBits: ArraySlice<UInt8>

    init?(_ certificate: Certificate) {
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(certificate)) != nil else { return nil }
        self.init(serializer.serializedBytes[...])
    }

    init?(_ certificate: ArraySlice<UInt8>) {
        do throws(DERReader.Malformed) {
            var document = try DERReader(only: DERReader.Tag.sequence, in: certificate)
            var body = DERReader(try document.content(DERReader.Tag.sequence))
            _ = try body.optional(DERReader.Tag.context(0, isConstructed: true))
            serialNumber = try body.integer()
            _ = try body.content(DERReader.Tag.sequence)
            issuer = try body.whole(DERReader.Tag.sequence)
            _ = try body.content(DERReader.Tag.sequence)
            subject = try body.whole(DERReader.Tag.sequence)
            var key = DERReader(try body.content(DERReader.Tag.sequence))
            _ = try key.content(DERReader.Tag.sequence)
            keyBits = try key.octetsOfBitString()
        } catch {
            return nil
        }
    }
}

/// The names of a place where lists are published (RFC 5280 §4.2.1.13).
enum DistributionPointName {
    struct Relative: Error {}

    /// The URIs among its full names.
    ///
    /// - Parameter content: of the `[0]` that holds the choice.
    /// - Throws: if it is malformed, or relative to the issuer's name.
    static func places(_ content: ArraySlice<UInt8>) throws -> [String] {
        var choice = DERReader(content)
        let name = try choice.element()
        guard name.tag == DERReader.Tag.context(0, isConstructed: true), choice.isAtEnd else { throw Relative() }
        var names = DERReader(name.content)
        var places: [String] = []
        while !names.isAtEnd { if let place = uri(try names.element()) { places.append(place) } }
        return places
    }

    /// A GeneralName that is a URI.
    static func uri(_ name: DERReader.Element) -> String? {
        name.tag == DERReader.Tag.context(6, isConstructed: false) ? String(decoding: name.content, as: UTF8.self) : nil
    }
}
