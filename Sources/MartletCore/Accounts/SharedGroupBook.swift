package import MartletXMPP
import Synchronization

/// A group as an operator writes it down.
package struct SharedGroupDefinition: Hashable, Sendable {
    package enum Members: Hashable, Sendable {
        /// All accounts of the domain, and some of other domains.
        case everybody(besides: [BareJID] = [])
        /// Those that exist, of whatever domain of this server. Nobody of another server is in a group.
        case accounts([BareJID])
    }

    package enum Audience: Hashable, Sendable {
        case members
        case everybody
        /// The members of these groups of the same domain.
        case groups([String])
    }

    package var domain: BareJID
    /// Once in a domain.
    package var name: String
    package var members: Members
    package var audience: Audience

    package init(_ name: String, at domain: BareJID, members: Members, audience: Audience = .members) {
        self.domain = domain
        self.name = name
        self.members = members
        self.audience = audience
    }

    var id: String { "\(domain)/\(name)" }
}

/// The groups of the configuration, as far as their members have accounts, and those of directories beside them. One for the whole server.
package final class SharedGroupBook: SharedRosterSource {
    // A leaf: asked under the locks of shards. What is written down is worked out beside it, under the other one, by one at a time.
    private let groups = Mutex<[SharedGroup]>([])
    private let pages = Mutex(SharedGroupPages())
    // A leaf as well. By the domain whose people they are of.
    private let directories = Mutex<[BareJID: SharedGroupIndex]>([:])
    /// Who is in them, whether they are in rosters or not.
    package let memberships = GroupMemberships()

    package init() {}

    package func sharing(of account: BareJID) -> Sharing {
        let written = Sharing(of: account, in: groups.withLock { $0 })
        let found = directories.withLock { $0.isEmpty ? nil : $0[account.domain] }?.sharing(of: account) ?? .none
        return Sharing(seen: written.seen + found.seen, memberships: written.memberships + found.memberships)
    }

    /// From now on these are the groups of a domain's directory, all of them. Whom that concerns, whoever has worked them out says (``Router/sharingChanged(of:_:)``).
    package func set(_ groups: SharedGroupIndex, ofDirectoryAt domain: BareJID) {
        directories.withLock { $0[domain] = groups }
    }

    /// Whether it knows which accounts there are.
    package var hasAccounts: Bool { pages.withLock { $0.accounts != nil } }

    /// Somebody reads now which accounts there are. What changes meanwhile is kept for ``replace(_:accounts:)``.
    package func beginReading() { pages.withLock { $0.sinceReading = [:] } }

    /// - Parameter accounts: all that are enabled, as they were read; `nil` if those that are known are enough.
    /// - Returns: all whose sharing is another one because of that.
    package func replace(_ definitions: [SharedGroupDefinition], accounts: Set<BareJID>? = nil) -> Set<BareJID> {
        changing { $0.replace(definitions, accounts: accounts) }
    }

    /// Whoever is in a group or sees one.
    package var everybodyConcerned: Set<BareJID> {
        let written: Set<BareJID> = groups.withLock { $0 }.reduce(into: []) { all, group in
            for set in [group.members] + group.watchers { all.formUnion(set.names.keys) }
        }
        return directories.withLock { $0 }.values.reduce(into: written) { all, groups in all.formUnion(groups.accounts) }
    }

    package func accountsChanged(_ standings: [BareJID: Bool]) -> Set<BareJID> { changing { $0.note(standings) } }

    private func changing(_ change: (inout SharedGroupPages) -> Set<BareJID>) -> Set<BareJID> {
        pages.withLock { pages in
            let concerned = change(&pages)
            let current = pages.groups
            groups.withLock { $0 = current }
            return concerned
        }
    }
}

/// What is in the book. Pure.
private struct SharedGroupPages {
    private var definitions: [SharedGroupDefinition] = []
    /// That are enabled; `nil` while nobody has read them.
    private(set) var accounts: Set<BareJID>?
    /// What has changed since somebody began to read them; `nil` while nobody does.
    var sinceReading: [BareJID: Bool]?
    private(set) var groups: [SharedGroup] = []
    /// By domain, as far as groups need them.
    private var everybody: [BareJID: SharedMembers] = [:]

    mutating func replace(_ new: [SharedGroupDefinition], accounts read: Set<BareJID>?) -> Set<BareJID> {
        definitions = new
        if new.isEmpty {
            (accounts, sinceReading) = (nil, nil)
        } else if let read {
            accounts = read
            let changed = sinceReading ?? [:]
            sinceReading = nil
            apply(changed)
        }
        return remake()
    }

    mutating func note(_ standings: [BareJID: Bool]) -> Set<BareJID> {
        sinceReading?.merge(standings) { _, new in new }
        guard accounts != nil else { return [] }
        apply(standings)
        return remake()
    }

    private mutating func apply(_ standings: [BareJID: Bool]) {
        for (account, isThere) in standings {
            if isThere { accounts?.insert(account) } else { accounts?.remove(account) }
        }
    }

    /// Makes the groups anew. What is as it was stays the same value, by which others see that nothing has changed.
    ///
    /// - Returns: who is in a group that is another one now, or was, and who sees one.
    private mutating func remake() -> Set<BareJID> {
        let former = Dictionary(groups.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let before = everybody
        everybody = [:]
        var members: [String: SharedMembers] = [:]
        for definition in definitions { members[definition.id] = self.members(of: definition, before: before, former[definition.id]?.members) }
        groups = definitions.compactMap { definition in
            guard let own = members[definition.id] else { return nil }
            let audience = audience(of: definition, members, before: before)
            if let old = former[definition.id], old.members === own, old.isSeen(bySameAs: audience) { return old }
            return SharedGroup(id: definition.id, name: definition.name, members: own, audience: audience)
        }
        return concerned(former)
    }

    private mutating func members(of definition: SharedGroupDefinition, before: [BareJID: SharedMembers], _ former: SharedMembers?) -> SharedMembers {
        switch definition.members {
        case .everybody(let others) where others.isEmpty: everybody(of: definition.domain, before: before)
        case .everybody(let others):
            Self.members(Set(everybody(of: definition.domain, before: before).names.keys).union(existing(others)), former)
        case .accounts(let named): Self.members(existing(named), former)
        }
    }

    private func existing(_ named: [BareJID]) -> [BareJID] { named.filter { accounts?.contains($0) ?? false } }

    private mutating func audience(
        of definition: SharedGroupDefinition, _ members: [String: SharedMembers], before: [BareJID: SharedMembers]
    ) -> SharedGroup.Audience {
        switch definition.audience {
        case .members: .members
        case .everybody: .others([everybody(of: definition.domain, before: before)])
        case .groups(let names): .others(names.compactMap { members[SharedGroupDefinition($0, at: definition.domain, members: .accounts([])).id] })
        }
    }

    private mutating func everybody(of domain: BareJID, before: [BareJID: SharedMembers]) -> SharedMembers {
        if let known = everybody[domain] { return known }
        let all = Self.members(accounts?.filter { domain.isInDomain(of: $0) } ?? [], before[domain])
        everybody[domain] = all
        return all
    }

    private static func members(_ accounts: some Collection<BareJID>, _ former: SharedMembers?) -> SharedMembers {
        if let former, former.count == accounts.count, accounts.allSatisfy(former.contains) { return former }
        return SharedMembers(accounts)
    }

    private func concerned(_ former: [String: SharedGroup]) -> Set<BareJID> {
        let now = Dictionary(groups.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        let changed = former.values.filter { now[$0.id] !== $0 } + groups.filter { former[$0.id] !== $0 }
        return changed.reduce(into: []) { concerned, group in
            for set in [group.members] + group.watchers { concerned.formUnion(set.names.keys) }
        }
    }
}
