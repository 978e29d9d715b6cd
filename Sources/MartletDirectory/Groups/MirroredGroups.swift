import MartletCore
package import MartletXMPP

/// The groups of a directory as a feed says them: what a refresh says counts when it is complete, all at once; after that each change counts when it is heard of.
///
/// People are known before the first of them: what groups mention is looked up among those that are mirrored.
package struct MirroredGroups: Sendable {
    package private(set) var groups: DirectoryGroups
    /// Counts what groups mention, not the groups: a wrong base or filter takes groups away, and rights that were taken from the server their members, and both
    /// would empty everybody's roster at once. Of a directory with few groups each may have everybody in it.
    package private(set) var brake = SafetyBrake()
    /// Up to there everything has been applied; `nil` where the next refresh has to begin at the beginning.
    package private(set) var cookie: [UInt8]?
    /// Whether all groups have been known once.
    package private(set) var isLoaded = false
    private var isRefreshing = false
    /// Entries that have changed, as they were when groups were worked out last.
    private var unsettled: [EntryUUID: MirroredEntry?] = [:]
    /// Entries that are mirrored though a refresh has not found them.
    private var held: Set<EntryUUID> = []
    /// Entries whose groups are as if they had not changed, as they were before: they would lose members.
    private var withheld: [EntryUUID: MirroredEntry?] = [:]

    package init(_ groups: DirectoryGroups) { self.groups = groups }

    /// Applies what the directory says.
    ///
    /// - Parameter now: milliseconds since 1970.
    /// - Returns: accounts for whom something in their rosters, or in others' about them, may be different now.
    package mutating func take(_ effects: [FeedEffect], _ people: MirroredPeople, now: Int64) -> Set<BareJID> {
        for effect in effects {
            switch effect {
            case .search(.contentSync), .search(.everything): isRefreshing = true
            case .search(.changed), .search(.identifiers), .search(.persistentSearch), .search(.persistentSearchOfOthers), .failed: break
            case .change(let change): note(groups.apply(change), change)
            case .refreshed(let end): complete(end, now)
            case .keepCookie(let cookie): self.cookie = brake.isHolding ? nil : cookie
            }
        }
        return isRefreshing ? [] : settle(people)
    }

    /// Applies what has become of people (``DirectoryGroups/peopleChanged(_:_:_:)``).
    package mutating func peopleChanged(_ changes: [MirrorChange], _ notices: [DirectoryNotice], _ people: MirroredPeople) -> Set<BareJID> {
        groups.peopleChanged(changes, notices, people)
    }

    /// An operator says that what is held is meant.
    package mutating func confirmRemoval(_ people: MirroredPeople) -> Set<BareJID> {
        guard brake.isHolding else { return [] }
        brake.release()
        bringBackWithheld()
        removeHeld(held)
        return settle(people)
    }

    private mutating func note(_ change: MirrorChange?, _ said: DirectoryChange? = nil) {
        if case .entry(let uuid, _) = said { held.remove(uuid) }
        guard let change else { return }
        if change.after == nil { held.remove(change.uuid) }
        guard unsettled[change.uuid] == nil else { return }
        unsettled[change.uuid] = withheld.removeValue(forKey: change.uuid) ?? .some(change.before)
    }

    private mutating func complete(_ end: RefreshEnd, _ now: Int64) {
        isRefreshing = false
        bringBackWithheld()
        let removed = Set(groups.mirror.removed(by: end))
        let losses = changes.map { ($0.uuid, groups.lostMentions(by: $0)) }.filter { $0.1 > 0 }
        // What has changed since says nothing of what is held.
        if brake.isHolding, end.there == nil { return hold(held.union(removed), losses.map(\.0)) }
        let gone = removed.reduce(0) { $0 + groups.lostMentions(by: MirrorChange($1, before: nil, after: nil)) }
        if brake.holds(losses.reduce(gone) { $0 + $1.1 }, of: groups.mentionsCount, now: now) { return hold(removed, losses.map(\.0)) }
        removeHeld(removed)
        isLoaded = true
    }

    private mutating func hold(_ removed: Set<EntryUUID>, _ losing: [EntryUUID]) {
        held = removed
        for uuid in losing { withheld[uuid] = unsettled.removeValue(forKey: uuid) }
        cookie = nil
    }

    private mutating func removeHeld(_ gone: Set<EntryUUID>) {
        held = []
        for uuid in gone { note(groups.remove(uuid)) }
    }

    private mutating func bringBackWithheld() {
        unsettled.merge(withheld) { changed, _ in changed }
        withheld = [:]
    }

    private var changes: [MirrorChange] {
        unsettled.map { MirrorChange($0.key, before: $0.value, after: groups.mirror[$0.key]) }.filter { $0.before != $0.after }.sorted { $0.uuid < $1.uuid }
    }

    private mutating func settle(_ people: MirroredPeople) -> Set<BareJID> {
        let changes = changes
        unsettled = [:]
        return groups.settle(changes, people)
    }

    // MARK: Snapshots

    /// - Parameters:
    ///   - asked: tells what was asked of which directory.
    ///   - heard: when the directory was last heard of, in milliseconds since 1970.
    /// - Returns: `nil` while there is nothing worth to be kept.
    package func snapshot(asked: [UInt8], heard: Int64) -> DirectorySnapshot? {
        guard isLoaded else { return nil }
        var snapshot = DirectorySnapshot(asked: asked, cookie: cookie, heard: heard, attributes: groups.mirror.attributes)
        snapshot.entries = groups.mirror.entries
        // A restart does not confirm what is held.
        for (uuid, before) in withheld { snapshot.entries[uuid] = before }
        return snapshot
    }

    /// Takes over what was known when the server ended: to be done before anything else.
    ///
    /// - Parameter asked: another question than that of the snapshot makes its cookie worthless.
    package mutating func restore(_ snapshot: DirectorySnapshot, asked: [UInt8], _ people: MirroredPeople) -> Set<BareJID> {
        precondition(groups.count == 0 && !isLoaded, "what the directory says is newer")
        for (uuid, entry) in snapshot.entries { note(groups.restore(uuid, entry.recoded(from: snapshot.attributes, to: groups.mirror.attributes))) }
        if snapshot.asked == asked, snapshot.attributes == groups.mirror.attributes { cookie = snapshot.cookie }
        isLoaded = true
        return settle(people)
    }
}
