package import MartletXMPP

/// Groups by who is in them and who sees them: what they are to one account is found without looking at each of them, of which a directory may have thousands.
///
/// A value. Whoever works groups out changes one of his own; what others ask stays as it is until they are given the new one.
package struct SharedGroupIndex: Sendable {
    /// A set of accounts, and the groups in which it plays a part.
    private struct Part {
        let set: SharedMembers
        /// Whose members it is.
        var groups: [SharedGroup] = []
        /// That it sees.
        var seen: [SharedGroup] = []
    }

    private var groups: [String: SharedGroup] = [:]
    /// By the identity of the set, which is held.
    private var parts: [ObjectIdentifier: Part] = [:]
    private var sets: [BareJID: [ObjectIdentifier]] = [:]

    package init() {}

    package func sharing(of account: BareJID) -> Sharing {
        var sharing = Sharing.none
        for part in (sets[account] ?? []).compactMap({ parts[$0] }) {
            sharing.memberships += part.groups
            // Who is in several sets that see a group sees it once.
            for group in part.seen where group.watchers.count == 1 || !sharing.seen.contains(where: { $0 === group }) { sharing.seen.append(group) }
        }
        return sharing
    }

    /// Whoever is in a group or sees one.
    package var accounts: some Collection<BareJID> { sets.keys }

    /// - Parameter all: the groups that there are from now on. One that is as it was is the same value as before.
    /// - Returns: who is in a group that is another one now, or was, and who sees one.
    package mutating func replace(with all: [SharedGroup]) -> Set<BareJID> {
        let now = Dictionary(all.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let (gone, new) = (groups.values.filter { now[$0.id] !== $0 }, now.values.filter { groups[$0.id] !== $0 })
        groups = now
        // In this order, so that a set that goes on is not taken apart in between.
        for group in new { add(group) }
        for group in gone { remove(group) }
        return (gone + new).reduce(into: []) { concerned, group in
            for set in [group.members] + group.watchers { concerned.formUnion(set.names.keys) }
        }
    }

    private mutating func add(_ group: SharedGroup) {
        change(group.members) { $0.groups.append(group) }
        for set in group.watchers { change(set) { $0.seen.append(group) } }
    }

    private mutating func remove(_ group: SharedGroup) {
        change(group.members) { $0.groups.removeAll { $0 === group } }
        for set in group.watchers { change(set) { $0.seen.removeAll { $0 === group } } }
    }

    private mutating func change(_ set: SharedMembers, _ body: (inout Part) -> Void) {
        let id = ObjectIdentifier(set)
        let known = parts.removeValue(forKey: id)
        if known == nil { for account in set.names.keys { sets[account, default: []].append(id) } }
        var part = known ?? Part(set: set)
        body(&part)
        if part.groups.isEmpty && part.seen.isEmpty { return forget(set) }
        parts[id] = part
    }

    private mutating func forget(_ set: SharedMembers) {
        for account in set.names.keys {
            sets[account]?.removeAll { $0 == ObjectIdentifier(set) }
            if sets[account]?.isEmpty == true { sets[account] = nil }
        }
    }
}
