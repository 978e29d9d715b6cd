package import MartletXMPP

/// What groups put into the roster of one account: the groups, by reference, and none of the contacts, of which there may be thousands. They are
/// looked at when somebody asks.
///
/// A sees B if there is a group that B is in and A sees. An item of A's for B has the subscription that follows from who sees whom; a contact that
/// only sees A is not shown.
package final class SharedRoster: Sendable {
    private let owner: BareJID
    /// Whose members are in the roster, by name.
    let seen: [SharedGroup]
    /// Of which the account is a member, by name.
    let memberships: [SharedGroup]
    /// For which there is no room, by name (``HostLimits/sharedItemsMax``).
    package let leftOut: [SharedGroup]
    /// Over everything that it puts into the roster; the same in every process.
    package let digest: String

    /// `nil` for an account that has nothing to do with any group, as most have.
    ///
    /// - Parameter itemsMax: contacts that it may put into the roster. A group that they would not all fit in with those before it is left out, with
    ///   all that come after it.
    package init?(_ sharing: Sharing, of owner: BareJID, itemsMax: Int) {
        guard !sharing.isEmpty else { return nil }
        let groups = Self.byName(sharing.seen)
        let count = Self.fitting(groups, beside: owner, itemsMax)
        self.owner = owner
        seen = Array(groups[..<count])
        leftOut = Array(groups[count...])
        memberships = Self.byName(sharing.memberships)
        digest = Self.digest(seen, memberships)
    }

    private static func byName(_ groups: [SharedGroup]) -> [SharedGroup] { groups.sorted { ($0.name, $0.id) < ($1.name, $1.id) } }

    /// How many of the groups have together no more members than that. Who is in several counts once, which has to be looked at only where the sum
    /// would be too much, and then no longer than until it is.
    private static func fitting(_ groups: [SharedGroup], beside owner: BareJID, _ itemsMax: Int) -> Int {
        if groups.reduce(0, { $0 + $1.members.count }) <= itemsMax { return groups.count }
        var contacts: Set<BareJID> = []
        for (index, group) in groups.enumerated() {
            for contact in group.members.names.keys where contact != owner {
                contacts.insert(contact)
                if contacts.count > itemsMax { return index }
            }
        }
        return groups.count
    }

    private static func digest(_ seen: [SharedGroup], _ memberships: [SharedGroup]) -> String {
        var digest = StableDigest()
        for group in seen {
            digest.add(group.name)
            digest.add(group.members.digest)
        }
        digest.add("seen by")
        for group in memberships {
            // Whether it is one set of watchers or several, and in which order, nobody notices.
            digest.add(group.watchers.reduce(0) { $0 &+ $1.digest })
        }
        return digest.text
    }

    /// Whether it is made of the very same groups.
    func isSame(as other: SharedRoster?) -> Bool {
        guard let other else { return false }
        return Self.areSame(seen, other.seen) && Self.areSame(memberships, other.memberships) && Self.areSame(leftOut, other.leftOut)
    }

    private static func areSame(_ some: [SharedGroup], _ others: [SharedGroup]) -> Bool {
        some.count == others.count && zip(some, others).allSatisfy { $0 === $1 }
    }
}

// MARK: One contact

/// Who sees whom.
package struct SharedState: Hashable, Sendable {
    /// The account sees the contact, which is therefore in the roster.
    package var to: Bool
    /// The contact sees the account.
    package var from: Bool
}

extension SharedRoster {
    package func state(of contact: BareJID) -> SharedState {
        guard contact != owner else { return SharedState(to: false, from: false) }
        return SharedState(to: seen.contains { $0.members.contains(contact) }, from: memberships.contains { $0.isSeen(by: contact) })
    }

    /// The groups that show a contact, by name.
    func groups(of contact: BareJID) -> [String] {
        guard contact != owner else { return [] }
        var names: [String] = []
        for group in seen where group.members.contains(contact) && names.last != group.name { names.append(group.name) }
        return names
    }

    /// What a contact is called, by the first group that knows.
    func name(of contact: BareJID) -> String? {
        guard contact != owner else { return nil }
        for group in seen {
            if case .some(.some(let name)) = group.members.names[contact] { return name }
        }
        return nil
    }

    /// Whether a contact would be in the roster if there were room.
    func leavesOut(_ contact: BareJID) -> Bool {
        !leftOut.isEmpty && leftOut.contains { $0.members.contains(contact) } && !seen.contains { $0.members.contains(contact) }
    }
}

// MARK: All of them

extension SharedRoster {
    /// Whom the account sees, each once.
    var contacts: [BareJID] { Self.union(seen.map(\.members), besides: owner) }

    /// Who sees the account, each once.
    var watchers: [BareJID] { Self.union(memberships.flatMap(\.watchers), besides: owner) }

    private static func union(_ sets: [SharedMembers], besides owner: BareJID) -> [BareJID] {
        var all: [BareJID] = []
        all.reserveCapacity(sets.reduce(0) { $0 + $1.count })
        for (index, set) in sets.enumerated() {
            for account in set.names.keys where account != owner && !sets[..<index].contains(where: { $0.contains(account) }) { all.append(account) }
        }
        return all
    }
}

extension SubscriptionState {
    /// With what groups give besides. What they give is neither asked for nor waited for.
    func united(with shared: SharedState) -> SubscriptionState {
        var united = self
        if shared.to {
            united.to = true
            united.pendingOut = false
            united.isInRoster = true
        }
        if shared.from {
            united.from = true
            united.pendingIn = false
            united.approved = false
        }
        return united
    }
}
