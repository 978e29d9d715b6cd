import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

extension PersonProfile {
    /// Longest value that is shown, in bytes; longer ones are left out.
    static let valueBytesMax = 4_096

    /// What the directory says of somebody, as a card has it (XEP-0054), and whose what of it is.
    ///
    /// There is no REV: an entry changes when its password does as well, which is nobody's business.
    func profile(of account: BareJID, _ settings: ProfileSettings) -> Profile {
        var (writer, said) = (XMLWriter(contentNamespace: .none), Set(["UID", "JABBERID"]))
        writer.element("vCard", .vCard) { writer in
            for field in ProfileField.allCases where settings.source(of: field) != .user { said.formUnion(write(field, to: &writer)) }
            writer.element("JABBERID", .vCard, text: account.description)
            writer.element("UID", .vCard, text: "urn:uuid:\(uid)")
        }
        var profile = Profile(card: writer.buffer, owned: ["JABBERID"], preset: ["UID"])
        if settings.hasPhotos, let photo {
            profile.picture = photo.hexadecimal
            said.insert("PHOTO")
        }
        for field in ProfileField.allCases {
            switch settings.source(of: field) {
            case .directory: profile.owned.formUnion(field.elements)
            case .directoryFirst: profile.owned.formUnion(field.elements.filter { said.contains($0) })
            case .userFirst: profile.preset.formUnion(field.elements)
            case .user: continue
            }
            profile.writable.formUnion(settings.writable.map(\.element).filter { field.elements.contains($0) })
        }
        return profile
    }

    /// - Returns: the elements that there are now.
    private func write(_ field: ProfileField, to writer: inout XMLWriter) -> [String] {
        switch field {
        case .fullName: return write("FN", fullName, to: &writer)
        case .name:
            return write("N", [("FAMILY", name.family), ("GIVEN", name.given), ("MIDDLE", name.middle), ("SUFFIX", name.suffix)], to: &writer)
        case .email: return write(emails: Self.shown(emails), to: &writer)
        case .telephone: return write(phones: phones.filter { Self.isShown($0.number) }, to: &writer)
        case .title: return write("TITLE", title, to: &writer)
        case .role: return write("ROLE", role, to: &writer)
        case .organization: return write(organisation: organisation.flatMap { Self.shown([$0]).first }, Self.shown(units), to: &writer)
        case .address:
            let parts: [(StaticString, String?)] = [
                ("STREET", address.street), ("LOCALITY", address.locality), ("REGION", address.region), ("PCODE", address.postalCode), ("CTRY", address.country),
            ]
            return write("ADR", marks: ["WORK"], parts, to: &writer) + write(label: Self.shown(label), to: &writer)
        case .url: return write("URL", url, to: &writer)
        case .note: return write("DESC", note, to: &writer)
        // It is named.
        case .photo: return []
        }
    }

    private static func isShown(_ text: String) -> Bool { !text.isEmpty && text.utf8.count <= valueBytesMax }
    private static func shown(_ texts: [String]) -> [String] { texts.filter(isShown) }

    private func write(_ element: StaticString, _ text: String?, to writer: inout XMLWriter) -> [String] {
        guard let text, Self.isShown(text) else { return [] }
        writer.element(element, .vCard, text: text)
        return ["\(element)"]
    }

    private func write(_ element: StaticString, marks: [StaticString] = [], _ parts: [(StaticString, String?)], to writer: inout XMLWriter) -> [String] {
        let there = parts.filter { $0.1.map(Self.isShown) ?? false }
        guard !there.isEmpty else { return [] }
        writer.element(element, .vCard) { writer in
            for mark in marks { writer.element(mark, .vCard) }
            for (name, text) in there { writer.element(name, .vCard, text: text) }
        }
        return ["\(element)"]
    }

    private func write(emails: [String], to writer: inout XMLWriter) -> [String] {
        for (index, email) in emails.enumerated() {
            writer.element("EMAIL", .vCard) { writer in
                writer.element("INTERNET", .vCard)
                if index == 0 { writer.element("PREF", .vCard) }
                writer.element("USERID", .vCard, text: email)
            }
        }
        return emails.isEmpty ? [] : ["EMAIL"]
    }

    private func write(phones: [Phone], to writer: inout XMLWriter) -> [String] {
        for phone in phones {
            writer.element("TEL", .vCard) { writer in
                for mark in phone.kind.marks { writer.element(mark, .vCard) }
                writer.element("NUMBER", .vCard, text: phone.number)
            }
        }
        return phones.isEmpty ? [] : ["TEL"]
    }

    /// Units have no element without an organisation before them.
    private func write(organisation: String?, _ units: [String], to writer: inout XMLWriter) -> [String] {
        guard organisation != nil || !units.isEmpty else { return [] }
        writer.element("ORG", .vCard) { writer in
            writer.element("ORGNAME", .vCard, text: organisation)
            for unit in units { writer.element("ORGUNIT", .vCard, text: unit) }
        }
        return ["ORG"]
    }

    private func write(label lines: [String], to writer: inout XMLWriter) -> [String] {
        guard !lines.isEmpty else { return [] }
        writer.element("LABEL", .vCard) { writer in
            writer.element("WORK", .vCard)
            for line in lines { writer.element("LINE", .vCard, text: line) }
        }
        return ["LABEL"]
    }
}

extension PersonProfile.PhoneKind {
    fileprivate var marks: [StaticString] {
        switch self {
        case .work: ["WORK", "VOICE"]
        case .cell: ["CELL"]
        case .home: ["HOME", "VOICE"]
        case .fax: ["WORK", "FAX"]
        case .pager: ["PAGER"]
        }
    }
}

extension PhotoDigest {
    /// Its name where it is published (XEP-0084 §4.2).
    var hexadecimal: String { sha1.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined() }
}
