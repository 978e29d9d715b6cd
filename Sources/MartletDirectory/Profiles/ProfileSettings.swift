/// A part of a card (XEP-0054) that a directory may say.
package enum ProfileField: String, Hashable, Sendable, CaseIterable {
    case fullName, name, email, telephone, title, role, organization, address, url, note, photo

    /// The elements that it is.
    var elements: [String] {
        switch self {
        case .fullName: ["FN"]
        case .name: ["N"]
        case .email: ["EMAIL"]
        case .telephone: ["TEL"]
        case .title: ["TITLE"]
        case .role: ["ROLE"]
        case .organization: ["ORG"]
        case .address: ["ADR", "LABEL"]
        case .url: ["URL"]
        case .note: ["DESC"]
        case .photo: ["PHOTO"]
        }
    }
}

/// Attributes that people may be let change, as schemas write them (RFC 4519, RFC 4524, RFC 2798). None by which others find out who somebody is, or where
/// his mail goes.
package enum ProfileAttribute: String, Hashable, Sendable, CaseIterable {
    case displayName, sn, givenName, initials, generationQualifier, telephoneNumber, mobile, homePhone, facsimileTelephoneNumber, pager, title, employeeType,
        street, l, st, postalCode, c, postalAddress, labeledURI, description, jpegPhoto

    /// The element that says it.
    var element: String {
        switch self {
        case .displayName: "FN"
        case .sn, .givenName, .initials, .generationQualifier: "N"
        case .telephoneNumber, .mobile, .homePhone, .facsimileTelephoneNumber, .pager: "TEL"
        case .title: "TITLE"
        case .employeeType: "ROLE"
        case .street, .l, .st, .postalCode, .c: "ADR"
        case .postalAddress: "LABEL"
        case .labeledURI: "URL"
        case .description: "DESC"
        case .jpegPhoto: "PHOTO"
        }
    }
}

/// Who says what of people's cards.
package struct ProfileSettings: Hashable, Sendable {
    package enum Source: Hashable, Sendable, CaseIterable {
        /// The directory alone: what it does not say nobody says.
        case directory
        /// The directory, and people where it says nothing.
        case directoryFirst
        /// People, and the directory where they say nothing.
        case userFirst
        /// People alone.
        case user
    }

    /// ``Source/directoryFirst`` for those that are not there.
    package var sources: [ProfileField: Source] = [:]
    /// What people may change, if it is not theirs alone.
    package var writable: Set<ProfileAttribute> = []

    package init() {}

    func source(of field: ProfileField) -> Source { sources[field] ?? .directoryFirst }

    /// Whether the directory says anything at all.
    var saysAnything: Bool { ProfileField.allCases.contains { source(of: $0) != .user } }

    /// Whether pictures are read from the directory.
    package var hasPhotos: Bool { source(of: .photo) != .user }
}
