package import MartletXMPP
import SwiftASN1
import X509

/// Whom a certificate is for: the names in its `subjectAltName`, and nothing else. The subject's common name counts for nothing
/// (RFC 9525 §2).
package struct PeerCertificate: Hashable, Sendable {
    package enum Name: Hashable, Sendable {
        /// DNS-ID: a domain, or all that are one label longer (`*.`).
        case domain(String)
        /// SRV-ID (RFC 4985): a service of a domain, such as `_xmpp-server.verona.example`.
        case service(String)
        /// `id-on-xmppAddr` (RFC 6120 §13.7.1.4): an address, which is a domain if it is a server's.
        case xmppAddress(String)
        /// IP-ID.
        case address(NetworkAddress)
    }

    /// Most names that are looked at, of whatever kind. Authorities put a hundred into one.
    package static let namesMax = 256

    package let names: [Name]

    /// - Parameter certificate: in DER.
    /// - Throws: ``CertificateFault/malformed(_:)``.
    package init(_ certificate: [UInt8]) throws(CertificateFault) { self.init(try Self.parsed(certificate)) }

    init(_ certificate: Certificate) {
        let names = (try? certificate.extensions.subjectAlternativeNames).map { Array($0) } ?? []
        self.names = names.prefix(Self.namesMax).compactMap(Self.name)
    }

    static func parsed(_ certificate: [UInt8]) throws(CertificateFault) -> Certificate {
        do {
            return try Certificate(derEncoded: certificate)
        } catch {
            throw PathExamination.unreadable(certificate, error)
        }
    }

    /// The `subjectPublicKeyInfo` as it is in a certificate (RFC 5280 §4.1), in DER; `nil` if that is none.
    package static func publicKey(in certificate: [UInt8]) -> [UInt8]? {
        guard let root = try? DER.parse(certificate), let body = children(of: root).first else { return nil }
        // The version comes first, unless it is 1.
        let fields = children(of: body).drop { $0.identifier.tagClass == .contextSpecific }
        // Serial number, signature, issuer, validity, subject, and the key.
        return fields.dropFirst(5).first.map { Array($0.encodedBytes) }
    }

    private static func children(of node: ASN1Node) -> [ASN1Node] {
        if case .constructed(let nodes) = node.content { Array(nodes) } else { [] }
    }

    private static func name(_ name: GeneralName) -> Name? {
        switch name {
        case .dnsName(let domain): .domain(domain)
        case .ipAddress(let octets): address(octets.bytes).map { .address($0) }
        case .otherName(let other): self.other(other)
        case .rfc822Name, .x400Address, .directoryName, .ediPartyName, .uniformResourceIdentifier, .registeredID: nil
        }
    }

    private static let dnsSRV: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 8, 7]
    private static let xmppAddr: ASN1ObjectIdentifier = [1, 3, 6, 1, 5, 5, 7, 8, 5]

    private static func other(_ name: GeneralName.OtherName) -> Name? {
        guard let value = name.value else { return nil }
        return switch name.typeID {
        case dnsSRV: (try? ASN1IA5String(asn1Any: value)).map { .service(String($0)) }
        case xmppAddr: (try? ASN1UTF8String(asn1Any: value)).map { .xmppAddress(String($0)) }
        default: nil
        }
    }

    private static func address(_ octets: ArraySlice<UInt8>) -> NetworkAddress? {
        let type: RecordType = octets.count == 4 ? .a : .aaaa
        guard case .address(let address)? = (try? RecordData.records(type, [Array(octets)]))?.first else { return nil }
        return address
    }
}

// MARK: Whose it is (RFC 9525 §6)

extension PeerCertificate {
    /// Whether one of the names is that of the domain's server.
    package func isFor(_ domain: BareJID) -> Bool {
        if let address = domain.addressDomainpart { return names.contains(.address(address)) }
        let reference = domain.asciiDomainpart.lowercased()
        return names.contains { Self.matches($0, domain, reference) }
    }

    private static func matches(_ name: Name, _ domain: BareJID, _ reference: String) -> Bool {
        switch name {
        case .domain(let presented): matches(domain: presented.lowercased(), reference)
        case .service(let presented): presented.lowercased() == "_xmpp-server." + reference
        case .xmppAddress(let presented): (try? BareJID(parsing: presented)) == domain
        case .address: false
        }
    }

    /// A wildcard is the whole first label, and stands for one label (RFC 9525 §6.3).
    private static func matches(domain presented: String, _ reference: String) -> Bool {
        guard presented.hasPrefix("*."), let dot = reference.firstIndex(of: ".") else { return presented == reference }
        return presented.dropFirst() == reference[dot...]
    }
}

extension PeerCertificate.Name: CustomStringConvertible {
    /// For the operator; what could steer a terminal is not in it.
    package var description: String {
        switch self {
        case .domain(let text), .service(let text): Self.printable(text)
        case .xmppAddress(let text): "xmpp:\(Self.printable(text))"
        case .address(let address): "\(address)"
        }
    }

    /// Longest name that is quoted whole, in characters.
    private static let quotedMax = 253

    static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(quotedMax).map { ("!"..."~").contains($0) || $0 == " " ? $0 : "?" }))
    }
}
