package import MartletCore
package import MartletXMPP

/// Who is in the groups of a directory, as it was worked out last.
package struct DirectoryMembership: GroupMembership {
    private let groups: [GroupName: EntryUUID]
    private let members: [EntryUUID: Set<EntryUUID>]
    private let people: PeopleDirectory

    init(_ groups: DirectoryGroups, _ people: PeopleDirectory) {
        (self.groups, members) = (groups.byName, groups.resolved)
        self.people = people
    }

    package func isMember(_ account: BareJID, of group: GroupName) -> Bool {
        guard let members = groups[group].flatMap({ members[$0] }), let person = people.holder(of: account) else { return false }
        return members.contains(person)
    }

    /// The accounts in a group; `nil` if it is not known.
    package func accounts(in group: GroupName) -> Set<BareJID>? {
        guard let members = groups[group].flatMap({ members[$0] }) else { return nil }
        let people = people.mirrored.people
        return Set(members.compactMap { people.address(of: $0) })
    }
}
