import MartletCore
import MartletLDAP
import MartletXML
import MartletXMPP
import NIOCore

/// What somebody wants his card to be, as changes of his entry (RFC 4511 §4.6).
///
/// Whole attributes are replaced: not every one of them has values that could be taken out one by one (`jpegPhoto` has no matching rule). Values that are not
/// shown stay, and one that means the same stays as it is written.
struct ProfileModification {
    private(set) var changes: [ModifyRequest.Change] = []

    /// Throws `not-allowed` where an attribute would change that people may not change.
    init(_ wished: [ProfileChange], _ reader: EntryReader, _ settings: ProfileSettings) throws(StanzaError) {
        for change in wished {
            let elements = change.elements.compactMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }.map(\.root)
            let attributes = ProfileAttribute.allCases.filter { $0.element == change.name }
            guard !attributes.isEmpty else { throw Self.notAllowed(change.name) }
            for attribute in attributes {
                let old = reader.values(attribute.rawValue.lowercased()).map(Array.init)
                guard let new = Self.values(of: attribute, in: elements, old, reader), new != old else { continue }
                guard settings.writable.contains(attribute) else { throw Self.notAllowed(change.name) }
                changes.append(.init(.replace, LDAPAttribute(attribute.rawValue, new)))
            }
        }
    }

    private static func notAllowed(_ element: String) -> StanzaError { StanzaError(.notAllowed, text: "\(element) is what the directory says") }

    /// - Returns: all values from now on; `nil` if they stay.
    private static func values(of attribute: ProfileAttribute, in elements: [ElementView], _ old: [[UInt8]], _ reader: EntryReader) -> [[UInt8]]? {
        switch attribute {
        // The name that is shown may be another attribute's.
        case .displayName: first(text(elements.first), shown: PersonAttributes.displayNames.lazy.compactMap { reader.text($0) }.first, old)
        case .sn: first(part("FAMILY", elements), shown: texts(old).first, old)
        case .givenName: first(part("GIVEN", elements), shown: texts(old).first, old)
        case .initials: first(part("MIDDLE", elements), shown: texts(old).first, old)
        case .generationQualifier: first(part("SUFFIX", elements), shown: texts(old).first, old)
        case .street: first(part("STREET", elements), shown: texts(old).first, old)
        case .l: first(part("LOCALITY", elements), shown: texts(old).first, old)
        case .st: first(part("REGION", elements), shown: texts(old).first, old)
        case .postalCode: first(part("PCODE", elements), shown: texts(old).first, old)
        case .c: first(part("CTRY", elements), shown: texts(old).first, old)
        case .title, .employeeType, .description: first(text(elements.first), shown: texts(old).first, old)
        // Behind a space there is a label (RFC 2079).
        case .labeledURI: first(text(elements.first), shown: texts(old).first.map { String($0.prefix { $0 != " " }) }, old)
        case .postalAddress: label(elements, old)
        case .telephoneNumber: numbers(.work, elements, old)
        case .mobile: numbers(.cell, elements, old)
        case .homePhone: numbers(.home, elements, old)
        case .facsimileTelephoneNumber: numbers(.fax, elements, old)
        case .pager: numbers(.pager, elements, old)
        // Of the one that is there only the digest is known here. Whoever asks has found that it is another one.
        case .jpegPhoto: elements.first.flatMap { $0.firstChild("BINVAL", .vCard) }.flatMap { Base64.decode($0.text.filter { !$0.isWhitespace }) }.map { [$0] } ?? []
        }
    }

    private static func texts(_ values: [[UInt8]]) -> [String] { values.compactMap { String(validating: $0, as: UTF8.self) }.filter { !$0.isEmpty } }
    private static func words(_ text: String) -> String { text.split(whereSeparator: \.isWhitespace).joined(separator: " ") }

    /// `nil` if there is nothing in it.
    private static func text(_ element: ElementView?) -> String? { element.map { words($0.text) }.flatMap { $0.isEmpty ? nil : $0 } }
    private static func part(_ name: StaticString, _ elements: [ElementView]) -> String? { text(elements.first?.firstChild(name, .vCard)) }

    /// Of attributes of which the first value is shown.
    private static func first(_ new: String?, shown: String?, _ old: [[UInt8]]) -> [[UInt8]]? {
        guard new != shown.map(words) else { return nil }
        let rest = Array(old.dropFirst())
        return new.map { new in [Array(new.utf8)] + rest.filter { $0 != Array(new.utf8) } } ?? rest
    }

    // MARK: Telephones

    private static func numbers(_ kind: PersonProfile.PhoneKind, _ elements: [ElementView], _ old: [[UInt8]]) -> [[UInt8]]? {
        let wanted = elements.filter { Self.kind(of: $0) == kind }.compactMap { text($0.firstChild("NUMBER", .vCard)) }
        let all = texts(old)
        let shown = all.prefix(PersonProfile.valuesMax).filter { $0.utf8.count <= PersonProfile.valueBytesMax }
        var new: [String] = []
        for number in wanted {
            let written = shown.first { digits($0) == digits(number) } ?? number
            if !new.contains(written) { new.append(written) }
        }
        guard new != shown else { return nil }
        return (new + all.filter { !shown.contains($0) && !new.contains($0) }).map { Array($0.utf8) }
    }

    private static func kind(of phone: ElementView) -> PersonProfile.PhoneKind {
        if phone.hasChild("PAGER", .vCard) { return .pager }
        if phone.hasChild("FAX", .vCard) { return .fax }
        if phone.hasChild("CELL", .vCard) { return .cell }
        return phone.hasChild("HOME", .vCard) && !phone.hasChild("WORK", .vCard) ? .home : .work
    }

    /// Numbers are written in many ways (RFC 3966 §3).
    private static func digits(_ number: String) -> String { number.filter { !" -.()".contains($0) } }

    // MARK: Postal addresses

    private static func label(_ elements: [ElementView], _ old: [[UInt8]]) -> [[UInt8]]? {
        let lines = elements.first?.children.filter { $0.isNamed("LINE", .vCard) }.compactMap { text($0) } ?? []
        let written = lines.map { $0.replacing("\\", with: "\\5C").replacing("$", with: "\\24") }.joined(separator: "$")
        let shown = texts(old).first.map { PersonProfile.lines($0).map(words) } ?? []
        return lines == shown ? nil : first(written.isEmpty ? nil : written, shown: nil, old) ?? Array(old.dropFirst())
    }
}
