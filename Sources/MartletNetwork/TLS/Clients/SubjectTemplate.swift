import SwiftASN1
import X509

/// How the subjects of certificates look that name accounts: a distinguished name as LDAP writes it (RFC 4514), the most special part first, one value
/// of which is `{localpart}`, and others may be `*`, which is any: `CN=*,UID={localpart},O=Verona,DC=verona,DC=example`.
package struct SubjectTemplate: Hashable, Sendable {
    package enum Fault: Error, Hashable, Sendable, CustomStringConvertible {
        case malformed(String)
        case unknownAttribute(String)
        /// It has `{localpart}` beside something else.
        case partial(String)
        /// How often `{localpart}` is in it.
        case placeholders(Int)

        package var description: String {
            switch self {
            case .malformed(let part): "'\(part)' is not an attribute with its value, such as O=Verona"
            case .unknownAttribute(let name): "'\(name)' is none of CN, UID, O, OU, C, L, ST, DC, emailAddress, and no object identifier"
            case .partial(let part): "'\(part)' has something beside {localpart}, which has to be a whole value"
            case .placeholders(let count): "{localpart} has to be one of the values; it is there \(count) times"
            }
        }
    }

    private struct Part: Hashable {
        let type: ASN1ObjectIdentifier
        let value: Value
    }

    private enum Value: Hashable {
        case localpart, any
        case exactly(ComparableValue)

        init(_ text: String) {
            switch text {
            case SubjectTemplate.placeholder: self = .localpart
            case "*": self = .any
            default: self = .exactly(ComparableValue(text: text))
            }
        }
    }

    package static let placeholder = "{localpart}"
    private static let attributes: [String: ASN1ObjectIdentifier] = [
        "cn": .RDNAttributeType.commonName, "uid": [0, 9, 2342, 19_200_300, 100, 1, 1], "o": .RDNAttributeType.organizationName,
        "ou": .RDNAttributeType.organizationalUnitName, "c": .RDNAttributeType.countryName, "l": .RDNAttributeType.localityName,
        "st": .RDNAttributeType.stateOrProvinceName, "dc": .RDNAttributeType.domainComponent, "emailaddress": .RDNAttributeType.emailAddress,
    ]

    /// The most general one first, as in a certificate.
    private let parts: [Part]
    /// As written.
    package let text: String

    package init(_ text: String) throws(Fault) {
        var parts: [Part] = []
        for part in Self.split(text) { parts.append(try Self.part(part)) }
        let count = parts.count { $0.value == .localpart }
        guard count == 1 else { throw .placeholders(count) }
        self.parts = parts.reversed()
        self.text = text
    }

    private static func part(_ text: String) throws(Fault) -> Part {
        guard let equals = text.firstIndex(of: "=") else { throw .malformed(text) }
        let name = text[..<equals].trimmed
        let value = text[text.index(after: equals)...].trimmed
        guard !value.isEmpty else { throw .malformed(text) }
        guard value == placeholder || !value.contains(placeholder) else { throw .partial(text) }
        guard let type = attributes[name.lowercased()] ?? (try? ASN1ObjectIdentifier(dotRepresentation: name)) else { throw .unknownAttribute(name) }
        return Part(type: type, value: Value(value))
    }

    /// At commas that no backslash precedes, which goes.
    private static func split(_ text: String) -> [String] {
        var (parts, isEscaped) = ([""], false)
        for character in text {
            if !isEscaped, character == "\\" {
                isEscaped = true
                continue
            }
            if !isEscaped, character == "," { parts.append("") } else { parts[parts.count - 1].append(character) }
            isEscaped = false
        }
        return parts
    }

    /// What stands in the place of the localpart; `nil` if the rest is different.
    func localpart(in subject: DistinguishedName) -> String? {
        guard subject.count == parts.count else { return nil }
        var localpart: String?
        for (part, attributes) in zip(parts, subject) {
            guard attributes.count == 1, let attribute = attributes.first, attribute.type == part.type else { return nil }
            switch part.value {
            case .any: break
            case .localpart: localpart = String(attribute.value)
            case .exactly(let value): guard ComparableValue(attribute.value) == value else { return nil }
            }
        }
        return localpart
    }
}

extension Substring {
    fileprivate var trimmed: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}
