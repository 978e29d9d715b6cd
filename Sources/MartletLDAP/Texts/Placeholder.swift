/// What may stand in a template for something that is known only when an account is looked for.
public enum Placeholder: Character, Hashable, Sendable, CaseIterable {
    case localpart = "u"
    case domainpart = "d"
    case bareJID = "j"
    case resourcepart = "r"
}

/// What takes the place of placeholders.
public struct Substitutes: Hashable, Sendable {
    private var octets: [Placeholder: [UInt8]] = [:]

    public init(localpart: String? = nil, domainpart: String? = nil, resourcepart: String? = nil) {
        octets[.localpart] = localpart.map { Array($0.utf8) }
        octets[.domainpart] = domainpart.map { Array($0.utf8) }
        octets[.resourcepart] = resourcepart.map { Array($0.utf8) }
        if let localpart, let domainpart { octets[.bareJID] = Array("\(localpart)@\(domainpart)".utf8) }
    }

    subscript(_ placeholder: Placeholder) -> [UInt8]? { octets[placeholder] }
}

/// An assertion value, or the value of an attribute of a name, that becomes whole when an account is looked for. What takes a placeholder's place is
/// put in as octets and never read again: no character in it means anything.
struct TemplateValue: Hashable, Sendable {
    private struct Gap: Hashable, Sendable {
        let placeholder: Placeholder
        /// How many of the octets stand before it.
        let position: Int
        /// Where it stands in the template.
        let offset: Int
    }
    /// Without what is to be put in.
    private(set) var octets: [UInt8] = []
    private var gaps: [Gap] = []

    var isEmpty: Bool { octets.isEmpty && gaps.isEmpty }

    mutating func append(_ octet: UInt8) { octets.append(octet) }

    /// Drops octets from the end.
    mutating func truncate(to count: Int) {
        octets.removeLast(max(0, octets.count - max(count, gaps.last?.position ?? 0)))
    }

    /// What stands behind a percent sign that has been read: a letter for something, or a second percent sign for one.
    mutating func appendPlaceholder(_ reader: inout LDAPTextReader) throws(LDAPTextError) {
        let offset = reader.offset - 1
        guard let octet = reader.take() else { throw LDAPTextError(.placeholder, at: offset) }
        if octet == UInt8(ascii: "%") { return append(octet) }
        guard let placeholder = Placeholder(rawValue: Character(Unicode.Scalar(octet))) else { throw LDAPTextError(.placeholder, at: offset) }
        gaps.append(Gap(placeholder: placeholder, position: octets.count, offset: offset))
    }

    func octets(_ substitutes: Substitutes) throws(LDAPTextError) -> [UInt8] {
        if gaps.isEmpty { return octets }
        var whole: [UInt8] = []
        var position = 0
        for gap in gaps {
            guard let substitute = substitutes[gap.placeholder] else { throw LDAPTextError(.missing(gap.placeholder), at: gap.offset) }
            whole += octets[position..<gap.position]
            whole += substitute
            position = gap.position
        }
        return whole + octets[position...]
    }
}
