extension ServerConfiguration.Directory {
    /// Groups of the directory: who is in them, and who sees them.
    package struct Groups: ConfigurationSection {
        package var base: String?
        package var filter = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfURLs)(objectClass=posixGroup))"
        package var share = GroupShare.none
        package var shared: [SharedGroup] = []

        package init() {}
    }

    /// What is said of one group where the directory's own schema has no place for it.
    package struct SharedGroup: ConfigurationSection {
        package var name = ""
        package var title: String?
        package var share = SharedGroupAudience.members
        package var visibleTo: [String] = []

        package init() {}
    }

    /// A room in which accounts are what groups make them.
    package struct Room: ConfigurationSection {
        package var address = ""
        package var owners: String?
        package var admins: String?
        package var members: String?

        package init() {}
    }

    /// Who sees the members of a group that says nothing of that.
    package enum GroupShare: String, Sendable, CaseIterable { case none, members, all }
}

extension ConfigurationSchema {
    static let directoryGroups = ConfigurationMapping<ServerConfiguration.Directory.Groups>([
        .value(
            "base", \.base, .optional(.distinguishedName), .restart, example: "ou=groups,dc=example,dc=org",
            "Below which entry they are. Without it there are none."),
        .value(
            "filter", \.filter, .directoryFilter, .restart,
            "Which entries there are groups. Members are those in member, uniqueMember and memberUid, those whom a memberURL finds, and those of groups in groups."),
        .value(
            "share", \.share, .choice, .restart,
            """
            How groups are in rosters that say nothing of it themselves (xmppGroupShare) and are not in shared. none: they are not. members: their members see each \
            other. all: everybody in the directory sees them.
            """),
        .entries(
            "shared", \.shared, directorySharedGroup, .restart, counts: 1...sharedGroupsMax, identity: { $0.name },
            "Groups of which it is said here how they are in rosters, whatever their entries say: for a directory whose schema has no place for it."),
    ])

    static let directorySharedGroup = ConfigurationMapping<ServerConfiguration.Directory.SharedGroup>([
        .value("name", \.name, .distinguishedName, .restart, isRequired: true, example: "cn=operators,ou=groups,dc=example,dc=org", "The name of the group's entry."),
        .value("title", \.title, .optional(.rosterGroup), .restart, example: "Operators", "What the group is called in rosters. Without it, what the directory calls it."),
        .value(
            "share", \.share, .choice, .restart,
            """
            Who sees the members. members: each other. all: everybody in the directory. groups: the members of the groups in visible-to, and not each other unless \
            the group is among these.
            """),
        .list(
            "visible-to", \.visibleTo, of: .distinguishedName, .restart, counts: 1...sharedGroupsMax, example: "cn=staff,ou=groups,dc=example,dc=org",
            "Names of the entries of groups whose members see the members, where share is groups."),
    ])

    static let directoryRoom = ConfigurationMapping<ServerConfiguration.Directory.Room>([
        .value("room", \.address, .bareAddress, .restart, isRequired: true, example: "watch@conference.example.org", "The room, which somebody has made."),
        .value("owners", \.owners, .optional(.distinguishedName), .restart, example: "cn=chiefs,ou=groups,dc=example,dc=org", "The group whose members own it."),
        .value("admins", \.admins, .optional(.distinguishedName), .restart, example: "cn=chiefs,ou=groups,dc=example,dc=org", "The group whose members are its admins."),
        .value("members", \.members, .optional(.distinguishedName), .restart, example: "cn=operators,ou=groups,dc=example,dc=org", "The group whose members are its members."),
    ])

    /// Most rooms of a directory whose affiliations come from groups: each is looked at when a group changes.
    static let directoryRoomsMax = 1_000
}

extension ServerConfiguration {
    /// Names of the groups whose members have the admin role in a domain.
    package func adminGroups(of domain: String) -> Set<String> {
        Set(access.adminGroups).union(domains.first { $0.name == domain }?.adminGroups ?? [])
    }
}
