package import MartletCore
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
    package private(set) var resolved: [EntryUUID: Set<EntryUUID>] = [:]
    /// Groups that have been worked out, by name.
    package private(set) var byName: [GroupName: EntryUUID] = [:]
    /// The same as accounts, of groups that are in rosters or see others.
    private var sets: [EntryUUID: SharedMembers] = [:]
    /// What was there before, of groups that have to be worked out anew: who is still the same goes on to be the same value.
    private var formerSets: [EntryUUID: SharedMembers] = [:]
    private var everybody = SharedMembers([:])
    private let rules: GroupRules
    /// Of groups that are in rosters: how, and what they are called there.
    private var shown: [EntryUUID: (rule: GroupRules.Rule, title: String)] = [:]
    /// Groups that are shown in rosters, by name.
    package private(set) var rosterGroups: [SharedGroup] = []
    /// Another number each time that something was worked out.
    package private(set) var revision = 0
    /// Groups with a URL that cannot be answered from what is mirrored: whom it would find is not in them.
    package private(set) var unanswered: Set<EntryUUID> = []

    package init(_ rules: GroupRules, prepare: @escaping NamePreparation, evaluate: @escaping MemberURLEvaluation) {
        mirror = DirectoryMirror(GroupAttributes.mirrored, prepare: prepare)
        self.rules = rules
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
        Set(self.people(inGroupNamed: name).compactMap { people.people.address(of: $0) })
    }

    /// Those in a group, whether they have accounts or not; nobody if there is no such group.
    package func people(inGroupNamed name: String) -> Set<EntryUUID> { mirror.uuid(named: name).flatMap { resolved[$0] } ?? [] }

    package var count: Int { mirror.entries.count }

    // MARK: Changes

    /// Mirrors a change. It counts from ``settle(_:_:)`` on.
    mutating func apply(_ change: DirectoryChange) -> MirrorChange? { mirror.apply(change) }
    mutating func remove(_ uuid: EntryUUID) -> MirrorChange? { mirror.remove(uuid) }
    mutating func restore(_ uuid: EntryUUID, _ entry: MirroredEntry) -> MirrorChange? { mirror.restore(uuid, entry) }

    /// Works out what has changed in the mirror.
    ///
    /// - Returns: accounts for whom something in their rosters, or in others' about them, may be different now.
    mutating func settle(_ changes: [MirrorChange], _ people: MirroredPeople) -> Set<BareJID> {
        var stale: Set<EntryUUID> = []
        for change in changes { stale.formUnion(note(change, people)) }
        return changes.isEmpty ? [] : remake(stale, people, everybodyChanged: false)
    }

    /// What all groups mention, as far as it counts.
    var mentionsCount: Int { direct.values.reduce(0) { $0 + $1.keys.count } }

    /// How much of what a group mentions it would not mention any more.
    func lostMentions(by change: MirrorChange) -> Int {
        let left = change.after.map { Set(keys(of: EntryReader($0, mirror.attributes)).keys) } ?? []
        return direct[change.uuid]?.keys.subtracting(left).count ?? 0
    }

    /// Applies what has become of people.
    ///
    /// - Parameters:
    ///   - changes: ``MirroredPeople/takeSettled()``.
    ///   - notices: what was said of them.
    /// - Returns: as ``settle(_:_:)``.
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
        rename(change)
        let old = direct[change.uuid]?.keys ?? []
        guard let after = change.after else {
            forget(old, of: change.uuid)
            (direct[change.uuid], shown[change.uuid]) = (nil, nil)
            unanswered.remove(change.uuid)
            return stale
        }
        let reader = EntryReader(after, mirror.attributes)
        shown[change.uuid] = rules.rule(of: reader, prepare).map { rule in
            (rule, rule.title ?? GroupAttributes.names.lazy.compactMap { reader.text($0) }.first ?? after.name)
        }
        let new = keys(of: reader)
        forget(old.subtracting(new.keys), of: change.uuid)
        for key in new.keys where !old.contains(key) { mentions[key] = mentions[key]?.with(change.uuid) ?? .one(change.uuid) }
        let contents = contents(new, reader, people)
        direct[change.uuid] = contents
        if contents.finds.count < reader.texts(GroupAttributes.memberURL).count { unanswered.insert(change.uuid) } else { unanswered.remove(change.uuid) }
        return stale
    }

    private mutating func rename(_ change: MirrorChange) {
        let (old, new) = (change.before.flatMap { prepare($0.name) }, change.after.flatMap { prepare($0.name) })
        if let old, byName[GroupName(prepared: old)] == change.uuid { byName[GroupName(prepared: old)] = nil }
        if let new { byName[GroupName(prepared: new)] = change.uuid }
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
        revision += 1
        let around = withAncestors(stale)
        for group in around {
            resolved[group] = direct[group] == nil ? nil : members(of: group)
            if let set = sets.removeValue(forKey: group) { formerSets[group] = set }
        }
        if everybodyChanged { everybody = SharedMembers([:]) }
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
        let before = Dictionary(rosterGroups.map { ($0.id, $0) }) { first, _ in first }
        var groups: [SharedGroup] = []
        for (uuid, how) in shown {
            let (id, members, audience) = (id(of: uuid), set(of: uuid, people), audience(how.rule.share, people))
            if let old = before[id], old.name == how.title, old.members === members, old.isSeen(bySameAs: audience) {
                groups.append(old)
            } else {
                groups.append(SharedGroup(id: id, name: how.title, members: members, audience: audience))
            }
        }
        rosterGroups = groups.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
        let after = Dictionary(rosterGroups.map { ($0.id, $0) }) { first, _ in first }
        let changed = before.values.filter { after[$0.id] !== $0 } + rosterGroups.filter { before[$0.id] !== $0 }
        return changed.reduce(into: []) { concerned, group in
            for set in [group.members] + group.watchers { concerned.formUnion(set.names.keys) }
        }
    }

    /// No group of the configuration has such a one: there is a slash behind the domain.
    private func id(of group: EntryUUID) -> String { "\(rules.domain)#\(group)" }

    private mutating func audience(_ share: GroupRules.Share, _ people: MirroredPeople) -> SharedGroup.Audience {
        switch share {
        case .members: return .members
        case .everybody: return .others([all(people)])
        case .groups(let names): return .others(Set(names.compactMap { mirror.uuid(prepared: $0) }).sorted().map { set(of: $0, people) })
        }
    }

    private mutating func all(_ people: MirroredPeople) -> SharedMembers {
        if everybody.count == 0 { everybody = SharedMembers(people.people.addresses) }
        return everybody
    }

    private mutating func set(of group: EntryUUID, _ people: MirroredPeople) -> SharedMembers {
        if let known = sets[group] { return known }
        var names: [BareJID: String?] = [:]
        for person in resolved[group] ?? [] {
            guard let address = people.people.address(of: person), let entry = people.mirror[person] else { continue }
            let reader = EntryReader(entry, people.mirror.attributes)
            names[address] = PersonAttributes.displayNames.lazy.compactMap { reader.text($0) }.first
        }
        let set = formerSets[group].flatMap { $0.names == names ? $0 : nil } ?? SharedMembers(names)
        sets[group] = set
        return set
    }
}

// MARK: Explaining

/// A group that somebody is in.
package struct GroupWay: Hashable, Sendable {
    package var group: EntryUUID
    /// Of its entry.
    package var name: String
    /// The groups by which he is in it, from this one down to the one that has him; none if he is in it himself.
    package var through: [String]
}

extension DirectoryGroups {
    /// The groups that a person is in, each by the shortest way, by name.
    package func ways(of person: EntryUUID) -> [GroupWay] {
        var through: [EntryUUID: [EntryUUID]] = [:]
        var level = Set(direct.filter { $0.value.people.contains(person) || $0.value.found.contains(person) }.keys)
        for group in level { through[group] = [] }
        for _ in 1..<Self.nestingMax where !level.isEmpty {
            var next: Set<EntryUUID> = []
            for (group, contents) in direct where through[group] == nil {
                guard let inner = contents.groups.intersection(level).min(), let way = through[inner] else { continue }
                through[group] = [inner] + way
                next.insert(group)
            }
            level = next
        }
        func name(_ group: EntryUUID) -> String { mirror[group]?.name ?? "\(group)" }
        return through.map { GroupWay(group: $0.key, name: name($0.key), through: $0.value.map(name)) }.sorted { $0.name < $1.name }
    }

    /// How a group is shown in rosters, and as what; `nil` if it is in none.
    package func showing(_ group: EntryUUID) -> (rule: GroupRules.Rule, title: String)? { shown[group] }

    /// The names of groups by their prepared ones, as far as they exist.
    package func names(prepared names: [[UInt8]]) -> [String] { names.compactMap { mirror.uuid(prepared: $0) }.compactMap { mirror[$0]?.name }.sorted() }
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
