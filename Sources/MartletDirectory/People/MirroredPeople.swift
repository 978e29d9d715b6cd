package import MartletCore
package import MartletXMPP

/// What comes of what a directory says.
package enum DirectoryNotice: Hashable, Sendable {
    case person(PersonChange)
    /// For the first time the whole directory is known: from now on nobody is refused for want of it.
    case loaded
    /// A refresh would have taken so many accounts away. They stay (``SafetyBrake``).
    case removalHeld(accounts: Int, of: Int)
    /// What was held is not to be removed any more, or was.
    case holdEnded
}

/// The people of a directory: applies what a feed says to the mirror, and finds out what that means for accounts.
///
/// What a refresh says of accounts counts when it is complete, all at once; after that each change counts when it is heard of.
package struct MirroredPeople: Sendable {
    package private(set) var mirror: DirectoryMirror
    package private(set) var people: People
    package private(set) var brake: SafetyBrake
    /// Up to there everything has been applied; `nil` where the next refresh has to begin at the beginning.
    package private(set) var cookie: [UInt8]?
    /// Of who may have an account by a group: many at once are held as well.
    package private(set) var allowance: SafetyBrake
    /// Whether all people have been known once.
    package private(set) var isRead = false
    /// Whether it is to be said first who may have an account (``allow(_:now:)``).
    private var awaitsAllowance: Bool
    /// Whether the whole directory has been known once.
    package var isLoaded: Bool { isRead && !awaitsAllowance }
    private var isRefreshing = false
    /// Entries that have changed, as they were when accounts were looked at last.
    private var unsettled: [EntryUUID: MirroredEntry?] = [:]
    /// Entries that are mirrored though a refresh has not found them.
    private var held: Set<EntryUUID> = []
    /// Entries of which accounts are as if they had not changed, as they were before: they would lose them.
    private var withheld: [EntryUUID: MirroredEntry?] = [:]
    /// What has counted since somebody asked, for groups; `nil` where there are none.
    private var settled: [MirrorChange]?

    package init(_ mirror: DirectoryMirror, _ people: People, hasGroups: Bool = false, brake: SafetyBrake = SafetyBrake()) {
        self.mirror = mirror
        self.people = people
        self.brake = brake
        allowance = brake
        awaitsAllowance = people.allowed != nil
        settled = hasGroups ? [] : nil
    }

    /// What has changed of people since this was asked last. To be asked after each effect where there are groups.
    package mutating func takeSettled() -> [MirrorChange] {
        defer { if settled != nil { settled = [] } }
        return settled ?? []
    }

    /// - Parameter now: milliseconds since 1970.
    package mutating func take(_ effect: FeedEffect, now: Int64) -> [DirectoryNotice] {
        switch effect {
        case .search(.contentSync), .search(.everything): isRefreshing = true
        case .search(.changed), .search(.identifiers), .search(.persistentSearch), .search(.persistentSearchOfOthers), .failed: break
        case .change(let change):
            note(mirror.apply(change), change)
            return isRefreshing ? [] : settle()
        case .refreshed(let end): return complete(end, now)
        case .keepCookie(let cookie): self.cookie = brake.isHolding ? nil : cookie
        }
        return []
    }

    /// An operator says that what is held is meant.
    package mutating func confirmRemoval() -> [DirectoryNotice] {
        guard brake.isHolding else { return [] }
        brake.release()
        bringBackWithheld()
        for uuid in held { note(mirror.remove(uuid)) }
        held = []
        return settle() + [.holdEnded]
    }

    private mutating func note(_ change: MirrorChange?, _ said: DirectoryChange? = nil) {
        if case .entry(let uuid, _) = said { held.remove(uuid) }
        guard let change else { return }
        if change.after == nil { held.remove(change.uuid) }
        guard unsettled[change.uuid] == nil else { return }
        unsettled[change.uuid] = withheld.removeValue(forKey: change.uuid) ?? .some(change.before)
    }

    private mutating func complete(_ end: RefreshEnd, _ now: Int64) -> [DirectoryNotice] {
        isRefreshing = false
        bringBackWithheld()
        let removed = mirror.removed(by: end)
        let losing = unsettledChanges.filter { people.loses($0) }.map(\.uuid)
        // What has changed since says nothing of what is held.
        if brake.isHolding, end.there == nil {
            hold(held.union(removed), losing)
            return settle()
        }
        let vanishing = Set(removed).filter { people.address(of: $0) != nil }.union(losing).count
        let wasHolding = brake.isHolding
        if brake.holds(vanishing, of: people.count, now: now) {
            hold(Set(removed), losing)
            return [.removalHeld(accounts: vanishing, of: people.count)] + settle()
        }
        held = []
        for uuid in removed { note(mirror.remove(uuid)) }
        let wasLoaded = isLoaded
        isRead = true
        return settle() + (wasHolding ? [.holdEnded] : []) + (isLoaded && !wasLoaded ? [.loaded] : [])
    }

    // MARK: Who may have an account

    /// Only these may: what a group says, whose members alone have accounts. Until it is said for the first time nobody has one, and nothing is loaded.
    ///
    /// If it takes many accounts away at once these stay until it is confirmed, or is said again a while later: the group may have been deleted, or have another name.
    ///
    /// - Parameter isConfirmed: whether an operator says that all who would lose their accounts are to lose them.
    package mutating func allow(_ entries: Set<EntryUUID>, isConfirmed: Bool = false, now: Int64) -> [DirectoryNotice] {
        let losing = (people.allowed ?? []).subtracting(entries).filter { people.address(of: $0) != nil }
        let (before, wasLoaded) = (allowance, isLoaded)
        awaitsAllowance = false
        if isConfirmed { allowance.release() } else if allowance.holds(losing.count, of: people.count, now: now) {
            let isNews = before.accounts != allowance.accounts
            return changed(people.allow(entries.union(losing), in: mirror)) + (isNews ? [.removalHeld(accounts: losing.count, of: people.count)] : [])
        }
        let others: [DirectoryNotice] = (before.isHolding ? [.holdEnded] : []) + (isLoaded && !wasLoaded ? [.loaded] : [])
        return changed(people.allow(entries, in: mirror)) + others
    }

    private func changed(_ changes: [PersonChange]) -> [DirectoryNotice] { changes.map { .person($0) } }

    private mutating func hold(_ removed: Set<EntryUUID>, _ losing: [EntryUUID]) {
        held = removed
        for uuid in losing { withheld[uuid] = unsettled.removeValue(forKey: uuid) }
        cookie = nil
    }

    private mutating func bringBackWithheld() {
        unsettled.merge(withheld) { changed, _ in changed }
        withheld = [:]
    }

    private var unsettledChanges: [MirrorChange] { unsettled.map { MirrorChange($0.key, before: $0.value, after: mirror[$0.key]) } }

    /// Looks at the accounts of what has changed.
    private mutating func settle() -> [DirectoryNotice] {
        let changes = unsettledChanges.filter { $0.before != $0.after }.sorted { $0.uuid < $1.uuid }
        unsettled = [:]
        settled?.append(contentsOf: changes)
        return people.update(changes).map { .person($0) }
    }

    // MARK: What has to be done about people

    package mutating func predecessorIsGone(_ address: BareJID) { people.predecessorIsGone(address) }
    package mutating func forget(_ address: BareJID) { people.forget(address) }

    // MARK: Snapshots

    /// - Parameters:
    ///   - asked: tells what was asked of which directory.
    ///   - heard: when the directory was last heard of, in milliseconds since 1970.
    package func snapshot(asked: [UInt8], heard: Int64) -> DirectorySnapshot {
        var snapshot = DirectorySnapshot(asked: asked, cookie: cookie, heard: heard, attributes: mirror.attributes)
        snapshot.entries = mirror.entries
        snapshot.owners = people.owners
        snapshot.credentialMarks = people.credentialMarks
        return snapshot
    }

    /// Takes over what was known when the server ended: to be done before anything else.
    ///
    /// - Parameter asked: another question than that of the snapshot makes its cookie worthless.
    package mutating func restore(_ snapshot: DirectorySnapshot, asked: [UInt8]) -> [DirectoryNotice] {
        precondition(mirror.entries.isEmpty && !isRead, "what the directory says is newer")
        people.restore(owners: snapshot.owners)
        for (uuid, entry) in snapshot.entries {
            note(mirror.restore(uuid, entry.recoded(from: snapshot.attributes, to: mirror.attributes)))
        }
        let notices = settle()
        // The entries may have been written without what the marks are of.
        people.restore(credentialMarks: snapshot.credentialMarks)
        if snapshot.asked == asked, snapshot.attributes == mirror.attributes { cookie = snapshot.cookie }
        isRead = true
        return notices + (isLoaded ? [.loaded] : [])
    }
}
