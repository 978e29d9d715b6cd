/// RFC 4515 §3, for logs and addresses. All octets but the printable ones of ASCII are escaped in values, so that a line of a log stays one.
extension LDAPFilter: CustomStringConvertible {
    public var description: String {
        switch self {
        case .and(let filters): "(&\(filters.map(\.description).joined()))"
        case .or(let filters): "(|\(filters.map(\.description).joined()))"
        case .not(let filter): "(!\(filter.description))"
        case .equality(let attribute, let value): "(\(Self.name(attribute))=\(Self.escaped(value)))"
        case .greaterOrEqual(let attribute, let value): "(\(Self.name(attribute))>=\(Self.escaped(value)))"
        case .lessOrEqual(let attribute, let value): "(\(Self.name(attribute))<=\(Self.escaped(value)))"
        case .approximate(let attribute, let value): "(\(Self.name(attribute))~=\(Self.escaped(value)))"
        case .present(let attribute): "(\(Self.name(attribute))=*)"
        case .substrings(let attribute, let substrings): "(\(Self.name(attribute))=\(substrings.description))"
        case .extensible(let extensible): "(\(extensible.description))"
        }
    }

    /// The characters that mean something (§3), and all that is not printable.
    fileprivate static func escaped(_ octets: [UInt8]) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        for octet in octets {
            switch octet {
            case UInt8(ascii: "*"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "\\"): result += [UInt8(ascii: "\\")] + Hexadecimal.pair(octet)
            case 0x20..<0x7F: result.append(octet)
            default: result += [UInt8(ascii: "\\")] + Hexadecimal.pair(octet)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// A name that somebody else has sent may be none, and there is no form for that: what does not belong in one is escaped for those who read it.
    fileprivate static func name(_ text: String) -> String {
        var result: [UInt8] = []
        for octet in text.utf8 {
            let belongs = AttributeDescription.isKeyCharacter(octet) || [UInt8(ascii: "."), UInt8(ascii: ";"), UInt8(ascii: "_")].contains(octet)
            if belongs { result.append(octet) } else { result += [UInt8(ascii: "\\")] + Hexadecimal.pair(octet) }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension LDAPFilter.Substrings: CustomStringConvertible {
    public var description: String {
        let parts = [initial ?? []] + any + [final ?? []]
        return parts.map(LDAPFilter.escaped).joined(separator: "*")
    }
}

extension LDAPFilter.Extensible: CustomStringConvertible {
    public var description: String {
        let rule = matchingRule.map { ":\(LDAPFilter.name($0))" } ?? ""
        return "\(attribute.map(LDAPFilter.name) ?? "")\(hasDNAttributes ? ":dn" : "")\(rule):=\(LDAPFilter.escaped(value))"
    }
}
