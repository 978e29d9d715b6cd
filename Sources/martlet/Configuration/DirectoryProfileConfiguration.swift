package import MartletDirectory

extension ServerConfiguration.Directory {
    /// Who says something of people's cards.
    package enum CardSource: String, CaseIterable, Sendable {
        case directory
        case directoryFirst = "directory-first"
        case userFirst = "user-first"
        case user
    }

    /// What people may change in the directory.
    package enum Writable: String, CaseIterable, Hashable, Sendable {
        case displayName, sn, givenName, initials, generationQualifier, telephoneNumber, mobile, homePhone, facsimileTelephoneNumber, pager, title,
            employeeType, street, l, st, postalCode, c, postalAddress, labeledURI, description, jpegPhoto
    }

    /// As whom passwords are changed.
    package enum PasswordChange: String, CaseIterable, Sendable {
        case off
        case asService = "as-service"
        case proxied

        package var way: PasswordBook.Way? {
            switch self {
            case .off: nil
            case .asService: .asService
            case .proxied: .proxied
            }
        }
    }

    package struct VCard: ConfigurationSection {
        package var fullName = CardSource.directoryFirst
        package var name = CardSource.directoryFirst
        package var email = CardSource.directoryFirst
        package var telephone = CardSource.directoryFirst
        package var title = CardSource.directoryFirst
        package var role = CardSource.directoryFirst
        package var organization = CardSource.directoryFirst
        package var address = CardSource.directoryFirst
        package var url = CardSource.directoryFirst
        package var note = CardSource.directoryFirst
        package var photo = CardSource.directoryFirst
        package var writable: [Writable] = []

        package init() {}
    }
}

extension ServerConfiguration {
    /// Whether people change their passwords in the directory of a domain.
    func changesPasswords(inDirectoryOf domain: String) -> Bool { directories.contains { $0.domain == domain && $0.passwordChange != .off } }
}

extension ConfigurationSchema {
    static let directoryVCard = ConfigurationMapping<ServerConfiguration.Directory.VCard>([
        .value(
            "full-name", \.fullName, .choice, .restart,
            """
            Who says the name that is shown (displayName, or else cn). directory: the directory alone; directory-first: the directory, or people where it says \
            nothing; user-first: people, or the directory where they say nothing; user: people alone.
            """),
        .value("name", \.name, .choice, .restart, "The same of the parts of the name (sn, givenName, initials, generationQualifier)."),
        .value("email", \.email, .choice, .restart, "The same of addresses for mail (mail)."),
        .value(
            "telephone", \.telephone, .choice, .restart,
            "The same of telephone numbers (telephoneNumber, mobile, homePhone, facsimileTelephoneNumber, pager)."),
        .value("title", \.title, .choice, .restart, "The same of the job (title)."),
        .value("role", \.role, .choice, .restart, "The same of the role (employeeType)."),
        .value("organization", \.organization, .choice, .restart, "The same of the organisation and its units (o, ou, departmentNumber)."),
        .value("address", \.address, .choice, .restart, "The same of where somebody works (street, l, st, postalCode, c; postalAddress)."),
        .value("url", \.url, .choice, .restart, "The same of the page (labeledURI)."),
        .value("note", \.note, .choice, .restart, "The same of the description (description)."),
        .value(
            "photo", \.photo, .choice, .restart,
            "The same of the picture (jpegPhoto: a JPEG of at most 128 KiB). With user no pictures are read from the directory."),
        .list(
            "writable", \.writable, of: .choice, .restart, counts: 0...21, example: "telephoneNumber",
            """
            What people change in the directory by changing their cards. The server asks the directory in their names (RFC 4370), so that its own rules decide: \
            it has to let the server act for them.
            """),
    ])
}

extension ServerConfiguration.Directory.VCard {
    package var settings: ProfileSettings {
        var settings = ProfileSettings()
        let sources: [(ProfileField, ServerConfiguration.Directory.CardSource)] = [
            (.fullName, fullName), (.name, name), (.email, email), (.telephone, telephone), (.title, title), (.role, role), (.organization, organization),
            (.address, address), (.url, url), (.note, note), (.photo, photo),
        ]
        for (field, source) in sources { settings.sources[field] = source.source }
        settings.writable = Set(writable.compactMap { ProfileAttribute(rawValue: $0.rawValue) })
        return settings
    }
}

extension ServerConfiguration.Directory.CardSource {
    fileprivate var source: ProfileSettings.Source {
        switch self {
        case .directory: .directory
        case .directoryFirst: .directoryFirst
        case .userFirst: .userFirst
        case .user: .user
        }
    }
}

extension ConfigurationChecks {
    /// Nobody chooses his own address, or another one's.
    mutating func checkWritable(_ entry: ServerConfiguration.Directory, at path: String) {
        guard let rule = try? AddressRule(parsing: entry.people.address.joined(separator: "|")) else { return }
        for attribute in entry.vCard.writable where rule.attributes.contains(attribute.rawValue.lowercased()) {
            report(
                "\(path).vcard.writable", "\(attribute.rawValue) says whose an account is", hint: "take it out: whoever may write it may take anybody's address")
        }
    }
}
