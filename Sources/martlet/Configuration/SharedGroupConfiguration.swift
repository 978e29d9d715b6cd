extension ServerConfiguration {
    /// Accounts that are contacts of others, or of each other, without having asked.
    package struct SharedGroup: ConfigurationSection {
        package var name = ""
        package var members: [SharedGroupMember] = []
        package var share = SharedGroupAudience.members
        /// Names of groups of the same domain.
        package var visibleTo: [String] = []

        package init() {}
    }

    /// Whether there may be any, of the configuration or of a directory.
    package var hasSharedGroups: Bool { domains.contains { !$0.sharedGroups.isEmpty } || directories.contains { $0.groups.base != nil } }
}

package enum SharedGroupMember: Hashable, Sendable {
    /// All accounts of the domain.
    case everybody
    case account(String)
}

/// Who sees the members of a group.
package enum SharedGroupAudience: String, Sendable, CaseIterable { case members, all, groups }

extension ConfigurationSchema {
    /// Most groups of a domain: each account is looked for in all of them when it is loaded.
    static let sharedGroupsMax = 1_000

    static let sharedGroup = ConfigurationMapping<ServerConfiguration.SharedGroup>([
        .value("name", \.name, .rosterGroup, .reload, isRequired: true, example: "Theatre", "What the group is called in rosters."),
        .list(
            "members", \.members, of: .sharedGroupMember, .reload, counts: 1...10_000, example: "juliet@example.org",
            "Who is in it: addresses at domains of this server, as far as there are accounts of that name; or all accounts of this domain."),
        .value(
            "share", \.share, .choice, .reload,
            """
            Who sees the members. members: each other. all: all accounts of this domain. groups: the members of the groups in visible-to, and not each other \
            unless the group is among these.
            """),
        .list(
            "visible-to", \.visibleTo, of: .rosterGroup, .reload, counts: 1...sharedGroupsMax, example: "Theatre",
            "Groups of this domain whose members see the members, where share is groups."),
    ])
}

extension ValueType where Value == String {
    /// Longest name of a group, in bytes; also of one that a client makes (RFC 6121 §2.3.3).
    private static var rosterGroupBytesMax: Int { 1_023 }

    static var rosterGroup: Self {
        ValueType(expected: "a name of 1 to \(rosterGroupBytesMax) bytes without control characters") { text, _ throws(ValueFault) in
            let isAllowed = { (scalar: Unicode.Scalar) in
                // What no XML may have, and what nobody sees.
                !(0...0x1F).contains(scalar.value) && !(0x7F...0x9F).contains(scalar.value) && scalar.value & 0xFFFE != 0xFFFE
            }
            guard (1...rosterGroupBytesMax).contains(text.utf8.count), text.unicodeScalars.allSatisfy(isAllowed) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }
}

extension ValueType where Value == SharedGroupMember {
    static var sharedGroupMember: Self {
        let address = ValueType<String>.bareAddress
        return ValueType(expected: "an address such as juliet@example.org, or all") { text, context throws(ValueFault) in
            if text == "all" { return .everybody }
            return .account(try address.parse(text, context))
        } write: { member in
            switch member {
            case .everybody: "all"
            case .account(let address): address
            }
        }
    }
}
