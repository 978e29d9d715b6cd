package import MartletCore
package import MartletLDAP
package import MartletXMPP

/// The items that a directory has, as far as is known: by what it tells, and by what was written there. Pure.
///
/// What is told may be what was written here a moment ago, or older than that: it is recognised by its change number, by what is just being written,
/// or, of a server that numbers no changes, by who has made it.
package struct RosterCopies: Sendable {
    package struct Copy: Hashable, Sendable {
        /// `nil` if the entry is no item that can be understood: it is left as it is until the user changes the item.
        package var item: CopiedRosterItem?
        package var change: EntryChange
        package var uuid: EntryUUID?
        /// When somebody else changed it, in milliseconds since 1970, as long as that was not dealt with.
        package var edited: Int64?
        /// When it was written here, in milliseconds since 1970.
        package var written: Int64?
    }

    /// An entry that was written here may not be on another server yet: for so long its absence there says nothing.
    package static let replicationMilliseconds: Int64 = 600_000

    package let tree: RosterTree
    /// Under which the server writes; `nil` if that is not known.
    package var ownName: DistinguishedName?
    private var copies: [BareJID: [BareJID: Copy]] = [:]
    private var places: [EntryUUID: RosterPlace] = [:]
    private var unusable: Set<EntryUUID> = []
    /// What was written last, whether there was an answer or not.
    private var underWay: (place: RosterPlace, item: CopiedRosterItem?)?
    package private(set) var count = 0

    package init(_ tree: RosterTree, ownName: DistinguishedName? = nil) {
        self.tree = tree
        self.ownName = ownName
    }

    package subscript(place: RosterPlace) -> Copy? { copies[place.account]?[place.contact] }

    package func contacts(of account: BareJID) -> Set<BareJID> { Set((copies[account] ?? [:]).keys) }

    /// Entries that are no items.
    package var unusableCount: Int { unusable.count }

    /// What is to be asked of an entry.
    package static let attributeNames = CopiedRosterItem.attributeNames + EntryChange.attributeNames + ["modifiersName"]

    // MARK: What the directory tells

    /// - Returns: where somebody else has changed something.
    package mutating func take(_ change: DirectoryChange) -> [RosterPlace] {
        switch change {
        case .entry(let uuid, let entry): take(uuid, entry)
        case .gone(let uuid): gone(uuid)
        case .goneNamed(let name): tree.place(of: name).flatMap { self[$0]?.uuid }.map { gone($0) } ?? []
        }
    }

    private mutating func take(_ uuid: EntryUUID, _ entry: LDAPEntry) -> [RosterPlace] {
        guard let place = tree.place(of: entry.name) else { return gone(uuid) }
        // It may have another name now.
        let left = places[uuid].map { $0 == place ? [] : gone(uuid) } ?? []
        places[uuid] = place
        let (known, change) = (self[place], EntryChange(entry))
        if var known, change.isStale(after: known.change) {
            known.uuid = uuid
            set(place, known)
            return left
        }
        guard let item = try? CopiedRosterItem(entry) else {
            unusable.insert(uuid)
            set(place, Copy(item: nil, change: change, uuid: uuid, edited: change.time))
            return left
        }
        unusable.remove(uuid)
        let isOurs = isOurs(item, place, known, change, entry)
        // Our own clock and the directory's need not be the same: when something was written here says nothing.
        let edited = known?.item == item ? known?.edited : isOurs || isByUs(entry) ? nil : change.time
        set(place, Copy(item: item, change: change, uuid: uuid, edited: edited, written: isOurs ? known?.written : nil))
        // If somebody makes it the same again later, that is an edit.
        if underWay?.place == place { underWay = nil }
        return left + (isOurs ? [] : [place])
    }

    private func isOurs(_ item: CopiedRosterItem, _ place: RosterPlace, _ known: Copy?, _ change: EntryChange, _ entry: LDAPEntry) -> Bool {
        if known?.item == item { return true }
        if let underWay, underWay.place == place, underWay.item == item { return true }
        return change.number == nil && isByUs(entry)
    }

    private func isByUs(_ entry: LDAPEntry) -> Bool {
        guard let ownName, let editor = entry.strings("modifiersName").first else { return false }
        return (try? DistinguishedName(editor)) == ownName
    }

    private mutating func gone(_ uuid: EntryUUID) -> [RosterPlace] {
        unusable.remove(uuid)
        // Another entry may have taken its place.
        guard let place = places.removeValue(forKey: uuid), self[place]?.uuid == uuid else { return [] }
        set(place, nil)
        guard let underWay, underWay.place == place, underWay.item == nil else { return [place] }
        self.underWay = nil
        return []
    }

    /// Which of the items are not there any more, as a refresh has found. They stay known until they are forgotten.
    package func vanished(by end: RefreshEnd, now: Int64) -> [RosterPlace] {
        places.compactMap { uuid, place in
            guard end.removes(uuid), let copy = self[place], copy.uuid == uuid else { return nil }
            if !end.gone.contains(uuid), let written = copy.written, now < written + Self.replicationMilliseconds { return nil }
            return place
        }
    }

    /// What somebody else has changed there was dealt with.
    package mutating func settle(_ place: RosterPlace) {
        guard var copy = self[place], copy.edited != nil else { return }
        copy.edited = nil
        set(place, copy)
    }

    package mutating func forget(_ place: RosterPlace) {
        if let uuid = self[place]?.uuid {
            places[uuid] = nil
            unusable.remove(uuid)
        }
        set(place, nil)
    }

    // MARK: What is written there

    /// The directory is being told this; `nil`: to have no entry.
    package mutating func begin(_ place: RosterPlace, _ item: CopiedRosterItem?) { underWay = (place, item) }

    /// It has said yes.
    package mutating func wrote(
        _ place: RosterPlace, _ item: CopiedRosterItem?, _ change: EntryChange = EntryChange(), _ uuid: EntryUUID? = nil, now: Int64
    ) {
        guard let item else { return set(place, nil) }
        let uuid = uuid ?? self[place]?.uuid
        if let uuid {
            places[uuid] = place
            unusable.remove(uuid)
        }
        // It may have been told already, and been changed by somebody else since.
        if let known = self[place]?.change, change.isStale(after: known) { return }
        set(place, Copy(item: item, change: change, uuid: uuid, written: now))
    }

    /// All of an account's entries are being deleted.
    package mutating func removeAll(of account: BareJID) {
        for contact in contacts(of: account) { set(RosterPlace(account, contact), nil) }
    }

    private mutating func set(_ place: RosterPlace, _ copy: Copy?) {
        let before = self[place]
        copies[place.account, default: [:]][place.contact] = copy
        count += (copy == nil ? 0 : 1) - (before == nil ? 0 : 1)
        if copies[place.account]?.isEmpty == true { copies[place.account] = nil }
    }
}
