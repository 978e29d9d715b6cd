import MartletCore

/// What a directory says of a person that others may see: the fields of vcard-temp (XEP-0054) and vCard4 (XEP-0292).
package struct PersonProfile: Hashable, Sendable {
    package enum PhoneKind: Hashable, Sendable, CaseIterable { case work, cell, home, fax, pager }

    package struct Phone: Hashable, Sendable {
        package var kind: PhoneKind
        package var number: String
        package init(_ kind: PhoneKind, _ number: String) {
            self.kind = kind
            self.number = number
        }
    }

    package struct Name: Hashable, Sendable {
        package var family: String?
        package var given: String?
        /// `initials`: of the names between the two.
        package var middle: String?
        package var suffix: String?
    }

    package struct Address: Hashable, Sendable {
        package var street: String?
        package var locality: String?
        package var region: String?
        package var postalCode: String?
        package var country: String?
    }

    /// `displayName`, or else `cn`.
    package var fullName: String?
    package var name = Name()
    package var emails: [String] = []
    package var phones: [Phone] = []
    package var title: String?
    package var role: String?
    package var organisation: String?
    package var units: [String] = []
    package var address = Address()
    /// The lines of `postalAddress` (RFC 4517 §3.3.28).
    package var label: [String] = []
    package var url: String?
    package var note: String?
    /// `preferredLanguage`, as in HTTP.
    package var language: String?
    package var photo: PhotoDigest?
    /// Of the entry.
    package var uid: String
    /// `modifyTimestamp`, in milliseconds since 1970.
    package var revision: Int64?

    /// Values of one attribute that are shown.
    package static let valuesMax = 10

    init(_ uuid: EntryUUID, _ reader: EntryReader) {
        uid = uuid.description
        fullName = PersonAttributes.displayNames.lazy.compactMap { reader.text($0) }.first
        name = Name(
            family: reader.text("sn"), given: reader.text("givenname"), middle: reader.text("initials"), suffix: reader.text("generationqualifier"))
        emails = Self.several("mail", reader)
        phones = Self.phoneAttributes.flatMap { attribute, kind in Self.several(attribute, reader).map { Phone(kind, $0) } }
        title = reader.text("title")
        role = reader.text("employeetype")
        organisation = reader.text("o")
        units = Self.several("ou", reader) + Self.several("departmentnumber", reader)
        address = Address(
            street: reader.text("street"), locality: reader.text("l"), region: reader.text("st"), postalCode: reader.text("postalcode"),
            country: reader.text("c"))
        label = reader.text("postaladdress").map(Self.lines) ?? []
        url = reader.text("labeleduri").map { String($0.prefix { $0 != " " }) }
        note = reader.text("description")
        language = reader.text("preferredlanguage")
        photo = reader.photo(PersonAttributes.photo)
        revision = reader.moment("modifytimestamp")
    }

    private static let phoneAttributes: [(String, PhoneKind)] = [
        ("telephonenumber", .work), ("mobile", .cell), ("homephone", .home), ("facsimiletelephonenumber", .fax), ("pager", .pager),
    ]

    private static func several(_ attribute: String, _ reader: EntryReader) -> [String] { Array(reader.texts(attribute).prefix(valuesMax)) }

    /// Lines end with `$`; `\24` is a dollar sign and `\5C` a backslash.
    static func lines(_ text: String) -> [String] {
        text.split(separator: "$", omittingEmptySubsequences: true).prefix(valuesMax).map { line in
            var rest = line[...]
            var plain = ""
            while let character = rest.popFirst() {
                let escaped: Character? = if character == "\\" { escapes[rest.prefix(2).uppercased()] } else { nil }
                if escaped != nil { rest = rest.dropFirst(2) }
                plain.append(escaped ?? character)
            }
            return plain
        }
    }

    private static let escapes: [String: Character] = ["24": "$", "5C": "\\"]
}
