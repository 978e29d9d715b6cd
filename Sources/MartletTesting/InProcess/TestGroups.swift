package import MartletCore
package import MartletXMPP
import Synchronization

/// Groups as a test says they are, whether their members have accounts or not.
package final class TestGroups: SharedRosterSource {
    private let groups = Mutex<[SharedGroup]>([])

    package init(_ groups: [SharedGroup] = []) { self.groups.withLock { $0 = groups } }

    package func sharing(of account: BareJID) -> Sharing { Sharing(of: account, in: groups.withLock { $0 }) }
    package func accountsChanged(_ standings: [BareJID: Bool]) -> Set<BareJID> { [] }

    /// - Returns: whoever is in one of the groups that were and are, or sees one.
    func replace(_ new: [SharedGroup]) -> Set<BareJID> {
        let old = groups.withLock { groups in
            defer { groups = new }
            return groups
        }
        return (old + new).reduce(into: []) { all, group in
            for set in group.watchers + [group.members] { all.formUnion(set.names.keys) }
        }
    }
}

extension TestServer {
    /// The groups are these from now on, and everybody is told who is online.
    package func share(_ groups: [SharedGroup]) {
        let concerned = self.groups.replace(groups)
        router.sharingChanged(of: concerned, context)
        context.flush()
        run()
    }

    /// The groups are these for whoever comes from now on, such as after a restart.
    package func shareUntold(_ groups: [SharedGroup]) { _ = self.groups.replace(groups) }

    /// A group whose members see each other, or whom others see.
    package func group(_ name: String, _ members: String..., seenBy others: [String]? = nil) -> SharedGroup {
        let audience = others.map { SharedGroup.Audience.others([SharedMembers($0.map(address))]) } ?? .members
        return SharedGroup(id: name, name: name, members: SharedMembers(members.map(address)), audience: audience)
    }
}
