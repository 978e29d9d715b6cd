import MartletCore
package import MartletLDAP
package import MartletXMPP

/// Makes of a URL (RFC 4516) the question whether an entry is among what it finds; `nil` if it is none that can be answered from what is mirrored of people.
package typealias MemberURLEvaluation = @Sendable (String) -> (@Sendable (LDAPEntry) -> Bool)?

/// The groups of a directory, and who is in them.
///
/// A group's members are the people that it mentions (`member`, `uniqueMember`, `memberUid`) or that its URLs find, and those of the groups that it
/// mentions, down to ``nestingMax``. `memberOf` is not looked at: it is not everywhere, and says nothing of nested groups.
///
/// What a group mentions is looked up once. When people or groups come, go or are renamed, the groups that mention them are found by that, and only they
/// and the groups around them are worked out anew.
package struct DirectoryGroups: Sendable {
    /// Groups within groups that are followed: a group is at the first level, and the eighth is the last.
    package static let nestingMax = 8

    /// What a group consists of by itself.
    private struct Direct {
        /// What it mentions, whether that is there or not.
        var keys: Set<MemberKey> = []
        var people: Set<EntryUUID> = []
        var groups: Set<EntryUUID> = []
        /// Of URLs.
        var finds: [@Sendable (LDAPEntry) -> Bool] = []
        var found: Set<EntryUUID> = []
    }

    package private(set) var mirror: DirectoryMirror
    private let prepare: NamePreparation
    private let evaluate: MemberURLEvaluation
    private var direct: [EntryUUID: Direct] = [:]
    /// Which groups mention something.
    private var mentions: [MemberKey: Mentioners] = [:]
    /// All members, as people.
    private var resolved: [EntryUUID: Set<EntryUUID>] = [:]
    /// The same as accounts, of groups that are in rosters or see others.
    private var sets: [EntryUUID: MemberSet] = [:]
    /// What was there before, of groups that have to be worked out anew: who is still the same goes on to be the same value.
    private var formerSets: [EntryUUID: MemberSet] = [:]
    private var everybody = MemberSet([:])
    /// Groups that are shown in rosters, by name.
    package private(set) var rosterGroups: [RosterGroup] = []

    package init(prepare: @escaping NamePreparation, evaluate: @escaping MemberURLEvaluation) {
        mirror = DirectoryMirror(GroupAttributes.mirrored, prepare: prepare)
        self.prepare = prepare
        self.evaluate = evaluate
    }

    // MARK: Questions

    /// Whether the person of an account is in a group. Nobody is in a group that does not exist.
    package func isMember(_ account: BareJID, of groupName: String, _ people: MirroredPeople) -> Bool {
        guard let group = mirror.uuid(named: groupName), let person = people.people.holder(of: account) else { return false }
        return resolved[group]?.contains(person) == true
    }

    package func hasGroup(named name: String) -> Bool { mirror.uuid(named: name) != nil }

    /// The accounts in a group.
    package func members(ofGroupNamed name: String, _ people: MirroredPeople) -> Set<BareJID> {
        Set((mirror.uuid(named: name).flatMap { resolved[$0] } ?? []).compactMap { people.people.address(of: $0) })
    }

    // MARK: Changes

    /// Applies what the directory says of groups.
    ///
    /// - Returns: accounts for whom something in their rosters, or in others' about them, may be different now.
    package mutating func take(_ effects: [FeedEffect], _ people: MirroredPeople) -> Set<BareJID> {
        var changes: [MirrorChange] = []
        for effect in effects {
            switch effect {
            case .change(let change): if let change = mirror.apply(change) { changes.append(change) }
            case .refreshed(let end): changes += mirror.removed(by: end).compactMap { mirror.remove($0) }
            case .keepCookie, .search, .failed: break
            }
        }
        var stale: Set<EntryUUID> = []
        for change in changes { stale.formUnion(note(change, people)) }
        return changes.isEmpty ? [] : remake(stale, people, everybodyChanged: false)
    }

    /// Applies what has become of people.
    ///
    /// - Parameters:
    ///   - changes: ``MirroredPeople/takeSettled()``.
    ///   - notices: what was said of them.
    /// - Returns: as ``take(_:_:)``.
    package mutating func peopleChanged(_ changes: [MirrorChange], _ notices: [DirectoryNotice], _ people: MirroredPeople) -> Set<BareJID> {
        var stale: Set<EntryUUID> = []
        for change in changes { stale.formUnion(notePerson(change, people)) }
        // An address may be lost or won by what was said of somebody else.
        let touched = Set(notices.flatMap(\.people))
        if !touched.isEmpty { stale.formUnion(direct.filter { !touched.isDisjoint(with: $0.value.people) || !touched.isDisjoint(with: $0.value.found) }.keys) }
        return remake(stale, people, everybodyChanged: notices.contains(where: \.changesAddresses))
    }

    /// - Returns: groups that consist of something else now, by themselves.
    private mutating func note(_ change: MirrorChange, _ people: MirroredPeople) -> Set<EntryUUID> {
        var stale: Set<EntryUUID> = [change.uuid]
        // Others may mention it by the name that it had, or has.
        let (oldKey, newKey) = (change.before.flatMap { prepare($0.name) }.map(MemberKey.name), change.after.flatMap { prepare($0.name) }.map(MemberKey.name))
        for key in Set([oldKey, newKey].compactMap(\.self)) {
            for group in mentions[key]?.all ?? [] {
                if key == newKey { direct[group]?.groups.insert(change.uuid) } else { direct[group]?.groups.remove(change.uuid) }
                stale.insert(group)
            }
        }
        let old = direct[change.uuid]?.keys ?? []
        guard let after = change.after else {
            forget(old, of: change.uuid)
            direct[change.uuid] = nil
            return stale
        }
        let reader = EntryReader(after, mirror.attributes)
        let new = keys(of: reader)
        forget(old.subtracting(new.keys), of: change.uuid)
        for key in new.keys where !old.contains(key) { mentions[key] = mentions[key]?.with(change.uuid) ?? .one(change.uuid) }
        direct[change.uuid] = contents(new, reader, people)
        return stale
    }

    private mutating func forget(_ keys: Set<MemberKey>, of group: EntryUUID) {
        for key in keys { mentions[key] = mentions[key]?.without(group) }
    }

    /// What is mentioned, and how to find it.
    private enum Mention {
        case name([UInt8])
        case login([UInt8])
    }

    private func keys(of reader: EntryReader) -> [MemberKey: Mention] {
        var keys: [MemberKey: Mention] = [:]
        for name in GroupAttributes.members.flatMap({ reader.texts($0) }) {
            // A unique identifier may follow the name (RFC 4517 §3.3.21).
            let bare = name.hasSuffix("'B") ? name.lastIndex(of: "#").map { String(name[..<$0]) } ?? name : name
            if let prepared = prepare(bare) { keys[.name(prepared)] = .name(prepared) }
        }
        for login in reader.texts(GroupAttributes.memberUID).map(PersonMapping.loginKey) { keys[.login(login)] = .login(login) }
        return keys
    }

    private func contents(_ keys: [MemberKey: Mention], _ reader: EntryReader, _ people: MirroredPeople) -> Direct {
        var direct = Direct(keys: Set(keys.keys), finds: reader.texts(GroupAttributes.memberURL).compactMap(evaluate))
        for mention in keys.values {
            switch mention {
            case .name(let prepared):
                if let person = people.mirror.uuid(prepared: prepared) { direct.people.insert(person) }
                if let group = mirror.uuid(prepared: prepared) { direct.groups.insert(group) }
            case .login(let login):
                // Which of several is meant nobody can say.
                let matching = people.people.entries(withLoginKey: login, in: people.mirror)
                if matching.count == 1 { direct.people.insert(matching[0]) }
            }
        }
        if !direct.finds.isEmpty {
            for (uuid, entry) in people.mirror.entries {
                let entry = entry.entry(people.mirror.attributes)
                if direct.finds.contains(where: { $0(entry) }) { direct.found.insert(uuid) }
            }
        }
        return direct
    }

    /// - Returns: groups that the person has come into, or has left.
    private mutating func notePerson(_ change: MirrorChange, _ people: MirroredPeople) -> Set<EntryUUID> {
        let (old, new) = (personKeys(change.before, people), personKeys(change.after, people))
        var stale: Set<EntryUUID> = []
        for group in old.symmetricDifference(new).reduce(into: Set<EntryUUID>(), { $0.formUnion(mentions[$1]?.all ?? []) }) {
            // Whoever logs in with the same name as another is one of two now, or the only one.
            for person in namesakes(of: change, people).union([change.uuid]) {
                if isMentioned(person, group, people) { direct[group]?.people.insert(person) } else { direct[group]?.people.remove(person) }
            }
            stale.insert(group)
        }
        let entry = change.after?.entry(people.mirror.attributes)
        for (group, contents) in direct where !contents.finds.isEmpty {
            let isFound = entry.map { entry in contents.finds.contains { $0(entry) } } == true
            guard isFound != contents.found.contains(change.uuid) else { continue }
            if isFound { direct[group]?.found.insert(change.uuid) } else { direct[group]?.found.remove(change.uuid) }
            stale.insert(group)
        }
        return stale
    }

    private func logins(_ entry: MirroredEntry?, _ people: MirroredPeople) -> Set<[UInt8]> {
        entry.map { people.people.mapping.loginKeys(of: EntryReader($0, people.mirror.attributes)) } ?? []
    }

    private func personKeys(_ entry: MirroredEntry?, _ people: MirroredPeople) -> Set<MemberKey> {
        let name = entry.flatMap { prepare($0.name) }.map(MemberKey.name)
        return Set(logins(entry, people).map(MemberKey.login) + [name].compactMap(\.self))
    }

    private func namesakes(of change: MirrorChange, _ people: MirroredPeople) -> Set<EntryUUID> {
        Set(logins(change.before, people).union(logins(change.after, people)).flatMap { people.people.entries(withLoginKey: $0, in: people.mirror) })
    }

    private func isMentioned(_ person: EntryUUID, _ group: EntryUUID, _ people: MirroredPeople) -> Bool {
        guard let entry = people.mirror[person], let keys = direct[group]?.keys else { return false }
        if let name = prepare(entry.name), keys.contains(.name(name)) { return true }
        return logins(entry, people).contains { keys.contains(.login($0)) && people.people.entries(withLoginKey: $0, in: people.mirror).count == 1 }
    }
}

// MARK: Working groups out

extension DirectoryGroups {
    /// - Parameter stale: groups that consist of something else, by themselves.
    private mutating func remake(_ stale: Set<EntryUUID>, _ people: MirroredPeople, everybodyChanged: Bool) -> Set<BareJID> {
        guard !stale.isEmpty || everybodyChanged else { return [] }
        let around = withAncestors(stale)
        for group in around {
            resolved[group] = direct[group] == nil ? nil : members(of: group)
            if let set = sets.removeValue(forKey: group) { formerSets[group] = set }
        }
        if everybodyChanged { everybody = MemberSet([:]) }
        defer { formerSets = [:] }
        return remakeRosterGroups(people)
    }

    /// Groups in which they are, however deep.
    private func withAncestors(_ groups: Set<EntryUUID>) -> Set<EntryUUID> {
        var all = groups
        var level = groups
        while !level.isEmpty {
            level = Set(direct.filter { !all.contains($0.key) && !$0.value.groups.isDisjoint(with: level) }.keys)
            all.formUnion(level)
        }
        return all
    }

    /// Level by level, so that a group that is reached on several ways counts on the shortest, and circles end.
    private func members(of group: EntryUUID) -> Set<EntryUUID> {
        var members: Set<EntryUUID> = []
        var seen: Set<EntryUUID> = [group]
        var level: Set<EntryUUID> = [group]
        for _ in 0..<Self.nestingMax where !level.isEmpty {
            var next: Set<EntryUUID> = []
            for group in level {
                guard let contents = direct[group] else { continue }
                // A group without others around it is in memory once.
                if members.isEmpty { members = contents.people } else { members.formUnion(contents.people) }
                members.formUnion(contents.found)
                next.formUnion(contents.groups)
            }
            level = next.subtracting(seen)
            seen.formUnion(level)
        }
        return members
    }

    /// - Returns: who is in a group that is another one now, or was, and who sees one or saw one.
    private mutating func remakeRosterGroups(_ people: MirroredPeople) -> Set<BareJID> {
        let before = Dictionary(rosterGroups.map { ($0.uuid, $0) }) { first, _ in first }
        var groups: [RosterGroup] = []
        for (uuid, entry) in mirror.entries {
            let reader = EntryReader(entry, mirror.attributes)
            guard let share = reader.text(GroupAttributes.share)?.lowercased() else { continue }
            let name = GroupAttributes.names.lazy.compactMap { reader.text($0) }.first ?? entry.name
            let audience = audience(share, reader, people)
            groups.append(RosterGroup(uuid: uuid, name: name, members: set(of: uuid, people), audience: audience))
        }
        rosterGroups = groups.sorted { ($0.name, $0.uuid) < ($1.name, $1.uuid) }
        let after = Dictionary(rosterGroups.map { ($0.uuid, $0) }) { first, _ in first }
        let changed = before.values.filter { after[$0.uuid]?.isSame(as: $0) != true } + rosterGroups.filter { before[$0.uuid]?.isSame(as: $0) != true }
        return changed.reduce(into: []) { concerned, group in
            for set in [group.members] + group.watchers { concerned.formUnion(set.names.keys) }
        }
    }

    /// A word that is not known shares with nobody.
    private mutating func audience(_ share: String, _ reader: EntryReader, _ people: MirroredPeople) -> RosterGroup.Audience {
        switch share {
        case "members": return .members
        case "all": return .others([all(people)])
        case "groups":
            let groups = reader.texts(GroupAttributes.visibleTo).compactMap { mirror.uuid(named: $0) }
            return .others(Set(groups).sorted().map { set(of: $0, people) })
        default: return .others([])
        }
    }

    private mutating func all(_ people: MirroredPeople) -> MemberSet {
        if everybody.names.isEmpty { everybody = MemberSet(Dictionary(people.people.addresses.map { ($0, nil) }) { first, _ in first }) }
        return everybody
    }

    private mutating func set(of group: EntryUUID, _ people: MirroredPeople) -> MemberSet {
        if let known = sets[group] { return known }
        var names: [BareJID: String?] = [:]
        for person in resolved[group] ?? [] {
            guard let address = people.people.address(of: person), let entry = people.mirror[person] else { continue }
            let reader = EntryReader(entry, people.mirror.attributes)
            names[address] = PersonAttributes.displayNames.lazy.compactMap { reader.text($0) }.first
        }
        let set = formerSets[group].flatMap { $0.names == names ? $0 : nil } ?? MemberSet(names)
        sets[group] = set
        return set
    }
}

extension DirectoryNotice {
    /// Of whom it says something.
    fileprivate var people: [EntryUUID] {
        switch self {
        case .loaded, .removalHeld, .holdEnded: []
        case .person(let change):
            switch change {
            case .appeared(_, let uuid), .vanished(_, let uuid), .renamed(_, _, let uuid), .succeeded(_, let uuid, _), .unusable(let uuid, _, _): [uuid]
            case .changed(_, let uuid, let aspects): aspects.contains(.displayName) ? [uuid] : []
            case .contested(_, let uuids): uuids
            case .keysBecameStale: []
            }
        }
    }

    /// Whether another set of accounts is there than before.
    fileprivate var changesAddresses: Bool {
        guard case .person(let change) = self else { return false }
        switch change {
        case .appeared, .vanished, .renamed, .succeeded, .contested: return true
        case .changed, .unusable, .keysBecameStale: return false
        }
    }
}
