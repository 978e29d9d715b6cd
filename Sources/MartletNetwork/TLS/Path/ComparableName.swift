import SwiftASN1
import X509

/// A value in a distinguished name by which it is compared (RFC 5280 §7.1): letters of both cases, and one space or several, are the same, in whatever
/// kind of string.
enum ComparableValue: Hashable, Sendable {
    case text(String)
    /// No text: equal if its octets are.
    case octets(ASN1Any)

    init(text: String) { self = .text(text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")) }

    init(_ value: RelativeDistinguishedName.Attribute.Value) {
        self = (String(value) ?? Self.other(value)).map { ComparableValue(text: $0) } ?? .octets(ASN1Any(value))
    }

    /// The older kinds of strings (X.690 §8.23): whoever uses them cannot get past what is excluded.
    private static func other(_ value: RelativeDistinguishedName.Attribute.Value) -> String? {
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(ASN1Any(value))) != nil else { return nil }
        var reader = DERReader(serializer.serializedBytes[...])
        guard let element = try? reader.element() else { return nil }
        return switch element.tag {
        case 0x14: String(String.UnicodeScalarView(element.content.map { Unicode.Scalar($0) }))
        case 0x1C: decoded(element.content, width: 4)
        case 0x1E: decoded(element.content, width: 2)
        default: nil
        }
    }

    private static func decoded(_ octets: ArraySlice<UInt8>, width: Int) -> String? {
        guard octets.count % width == 0 else { return nil }
        let starts = stride(from: octets.startIndex, to: octets.endIndex, by: width)
        let units = starts.map { octets[$0..<($0 + width)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
        let scalars = units.compactMap { Unicode.Scalar($0) }
        return scalars.count == units.count ? String(String.UnicodeScalarView(scalars)) : nil
    }
}

/// A distinguished name by which it is compared (RFC 5280 §7.1).
struct ComparableName: Hashable, Sendable {
    private struct Attribute: Hashable {
        let type: ASN1ObjectIdentifier
        let value: ComparableValue
    }

    private let names: [Set<Attribute>]

    init(_ name: DistinguishedName) {
        names = name.map { Set($0.map { Attribute(type: $0.type, value: ComparableValue($0.value)) }) }
    }

    /// Whether it is that of an entry below that one, or of that one itself.
    func isWithin(_ subtree: ComparableName) -> Bool { names.starts(with: subtree.names) }
}

extension Certificate {
    /// Whether an authority has issued it to itself, for another key of its own (RFC 5280 §3.2).
    var isSelfIssued: Bool { ComparableName(issuer) == ComparableName(subject) }
}

/// Certificates by their subjects, however these are written.
struct CertificatesBySubject: CustomCertificateStore {
    private var certificates: [ComparableName: [Certificate]] = [:]

    init(_ certificates: some Sequence<Certificate> = []) { append(contentsOf: certificates) }

    subscript(subject: DistinguishedName) -> [Certificate]? { certificates[ComparableName(subject)] }

    func contains(_ certificate: Certificate) -> Bool { certificates[ComparableName(certificate.subject)]?.contains(certificate) ?? false }

    mutating func append(contentsOf certificates: some Sequence<Certificate>) {
        for certificate in certificates { self.certificates[ComparableName(certificate.subject), default: []].append(certificate) }
    }
}
