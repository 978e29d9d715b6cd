package import MartletCore

/// Who sees the presence of a domain's accounts without XMPP: directory clients, and whoever looks at the white pages.
extension ServerConfiguration {
    package struct PresenceSharing: ConfigurationSection {
        /// `nil`: the operator has not said it.
        package var defaultVisibility: PresenceWish?
        package var rules: [PresenceRule] = []

        package init() {}
    }

    package struct PresenceRule: ConfigurationSection {
        package var viewers: [PresenceViewerName] = []
        package var targets: [PresenceTargetName] = [.any]
        package var level = PresenceLevel.none

        package init() {}
    }
}

/// Whom a rule speaks for.
package enum PresenceViewerName: Hashable, Sendable, CustomStringConvertible {
    case any
    case group(String)
    /// Somebody in the directory who is no account, by his name there.
    case service(String)

    package var description: String {
        switch self {
        case .any: "any"
        case .group(let name): "group \(name)"
        case .service(let name): "service \(name)"
        }
    }
}

/// Whom a rule is about.
package enum PresenceTargetName: Hashable, Sendable, CustomStringConvertible {
    case any
    case group(String)

    package var description: String {
        switch self {
        case .any: "any"
        case .group(let name): "group \(name)"
        }
    }
}

extension ConfigurationSchema {
    /// Most rules of a domain: each is held against whoever looks.
    static let presenceRulesMax = 100

    static let presenceSharing = ConfigurationMapping<ServerConfiguration.PresenceSharing>([
        .value(
            "default-visibility", \.defaultVisibility, .optional(.choice), .reload, example: "organisation",
            """
            Whom an account is shown to that has said nothing of that: none, nobody; contacts, those who see its presence by XMPP; organisation, those to whom \
            rules grant it as well. Each account may choose otherwise, by the command "Say whom the directory shows your presence to" of its domain (XEP-0050). \
            Without it, contacts: rules are then about those alone who have chosen organisation.
            """),
        .entries(
            "rules", \.rules, presenceRule, .reload, counts: 0...presenceRulesMax,
            identity: { "\($0.viewers.map(\.description).joined(separator: ", ")) -> \($0.targets.map(\.description).joined(separator: ", "))" },
            """
            What others are granted than contacts, who see status and show anyway, and the account itself, which sees all of its own. The first rule that is \
            about both decides alone. Nobody sees anything who has not said who he is, or whom the account blocks.
            """),
    ])

    static let presenceRule = ConfigurationMapping<ServerConfiguration.PresenceRule>([
        .list(
            "viewers", \.viewers, of: .presenceViewer, .reload, counts: 1...100, example: "group operators",
            """
            Who looks: any for all who have logged in; group and the name of a group of login-groups, of the domain's shared-groups, or of its entry in a \
            directory whose groups are read; or service and the name of an entry of the directory that is no account, such as service \
            cn=mailhub,ou=services,dc=example,dc=org.
            """),
        .list(
            "targets", \.targets, of: .presenceTarget, .reload, counts: 1...100,
            "Whose presence it is: any account of the domain, or group and the name of a group."),
        .value(
            "level", \.level, .choice, .reload, isRequired: true, example: "basic",
            """
            How much is shown. none: nothing, not even whether there is an account. basic: whether somebody is there, and how available. full: also what he says \
            of himself, and since when. devices: also the names of his devices.
            """),
    ])
}

extension ValueType where Value == PresenceViewerName {
    static var presenceViewer: Self {
        ValueType(expected: "any, or group or service with a name") { text, _ throws(ValueFault) in
            if text == "any" { return .any }
            if let name = PresenceNames.name(in: text, behind: "group ") { return .group(name) }
            if let name = PresenceNames.name(in: text, behind: "service ") { return .service(name) }
            throw .unexpected()
        } write: {
            $0.description
        }
    }
}

extension ValueType where Value == PresenceTargetName {
    static var presenceTarget: Self {
        ValueType(expected: "any, or group with a name") { text, _ throws(ValueFault) in
            if text == "any" { return .any }
            guard let name = PresenceNames.name(in: text, behind: "group ") else { throw .unexpected() }
            return .group(name)
        } write: {
            $0.description
        }
    }
}

private enum PresenceNames {
    /// Longest name, in bytes.
    static let bytesMax = 4_096

    static func name(in text: String, behind word: String) -> String? {
        guard text.hasPrefix(word) else { return nil }
        let name = String(text.dropFirst(word.count))
        return (1...bytesMax).contains(name.utf8.count) && name.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) ? name : nil
    }
}
