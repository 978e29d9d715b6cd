package import MartletCore
package import MartletXMPP

/// Whose each address is, by what is mirrored.
///
/// A person is an entry's UUID, whatever becomes of its name and its address. An address belongs to one person or to nobody: who comes after somebody else inherits
/// nothing, and if two claim an address neither has it. That an address was somebody's is remembered until its data are gone
/// (``forget(_:)``), across restarts as well.
///
/// Of a person nothing is kept here but the address: the rest is read from the mirrored entry when it is wanted.
package struct People: Sendable {
    package let mapping: PersonMapping
    private let attributes: MirroredAttributes
    private let marking: CredentialMarking

    /// The address that each entry claims.
    private var claims: [EntryUUID: BareJID] = [:]
    /// Addresses that one entry claims.
    private var holders: [BareJID: EntryUUID] = [:]
    /// Addresses that several do.
    private var contests: [BareJID: [EntryUUID]] = [:]
    /// Who had an address last that is nobody's now, or is contested.
    private var departed: [BareJID: EntryUUID] = [:]
    /// Whose data are in the place of an account that has come after him.
    private var predecessors: [BareJID: EntryUUID] = [:]
    private var logins = UUIDIndex()
    private var certificates = UUIDIndex()
    private var marks: [EntryUUID: CredentialMark] = [:]
    /// Whose standing changes with time.
    private(set) var timed: Set<EntryUUID> = []
    /// Entries that are no accounts.
    package private(set) var faults: [EntryUUID: PersonFault] = [:]
    /// Entries that may have accounts; `nil`: all.
    package private(set) var allowed: Set<EntryUUID>?

    /// - Parameter allowed: see ``allowed``.
    package init(_ mapping: PersonMapping, _ attributes: MirroredAttributes, _ marking: CredentialMarking, allowed: Set<EntryUUID>? = nil) {
        self.allowed = allowed
        self.mapping = mapping
        self.attributes = attributes
        self.marking = marking
    }

    // MARK: Questions

    /// Accounts.
    package var count: Int { holders.count }
    package var addresses: some Collection<BareJID> { holders.keys }

    package func holder(of address: BareJID) -> EntryUUID? { holders[address] }
    /// The address of a person; `nil` where it is contested as well.
    package func address(of uuid: EntryUUID) -> BareJID? { claims[uuid].flatMap { holders[$0] == uuid ? $0 : nil } }
    package func isContested(_ address: BareJID) -> Bool { contests[address] != nil }
    /// Whether somebody else's data are still in the account's place.
    package func hasPredecessor(_ address: BareJID) -> Bool { predecessors[address] != nil }
    package func mark(of uuid: EntryUUID) -> CredentialMark? { marks[uuid] }

    /// The person who calls himself so; nobody if several do.
    package func person(loggingInAs name: String, in mirror: DirectoryMirror) -> EntryUUID? {
        let matching = entries(withLoginKey: PersonMapping.loginKey(name), in: mirror)
        return matching.count == 1 && address(of: matching[0]) != nil ? matching[0] : nil
    }

    /// Accounts or not.
    func entries(withLoginKey key: [UInt8], in mirror: DirectoryMirror) -> [EntryUUID] {
        logins.candidates(key).filter { uuid in mirror[uuid].map { mapping.loginKeys(of: EntryReader($0, attributes)).contains(key) } == true }
    }

    /// The person whose entry holds the certificate with that SHA-256; nobody if several do.
    package func person(withCertificate digest: [UInt8], in mirror: DirectoryMirror) -> EntryUUID? {
        let matching = certificates.candidates(digest).filter { uuid in
            mirror[uuid].map { EntryReader($0, attributes).values(PersonAttributes.certificate).contains { $0.elementsEqual(digest) } } == true
        }
        return matching.count == 1 && address(of: matching[0]) != nil ? matching[0] : nil
    }

    /// What to keep for the next start.
    package var owners: [BareJID: EntryUUID] {
        // Of a successor whose predecessor's data are still there nothing is anybody's yet.
        departed.merging(holders) { _, holder in holder }.merging(predecessors) { _, previous in previous }
    }
    package var credentialMarks: [EntryUUID: CredentialMark] { marks }

    // MARK: Changes

    /// Before any entry: whose addresses were when the server ended.
    package mutating func restore(owners: [BareJID: EntryUUID]) {
        precondition(claims.isEmpty, "what entries say is newer")
        departed = owners
    }

    /// What was remembered of entries' keys when the server ended.
    package mutating func restore(credentialMarks: [EntryUUID: CredentialMark]) { marks = credentialMarks }

    /// The data of whom the address belonged to before are out of the way.
    package mutating func predecessorIsGone(_ address: BareJID) { predecessors[address] = nil }

    /// Nothing is left of whom the address belonged to: whoever comes next is the first.
    package mutating func forget(_ address: BareJID) {
        if let gone = departed.removeValue(forKey: address), claims[gone] == nil { marks[gone] = nil }
    }

    /// Takes all of `changes` together: addresses that change hands within them are not contested in between.
    package mutating func update(_ changes: [MirrorChange]) -> [PersonChange] {
        var effects: [PersonChange] = []
        var moves = Moves()
        for change in changes {
            let (old, new) = (claims[change.uuid], claim(of: change, &effects))
            index(change)
            if change.after.map({ PersonStanding(EntryReader($0, attributes), mapping).isTimed }) == true { timed.insert(change.uuid) } else { timed.remove(change.uuid) }
            move(change.uuid, from: old, to: new, &moves)
            effects += note(change, stays: old == new)
            if change.after == nil, old == nil { marks[change.uuid] = nil }
        }
        return effects + Hands(moves.before, moves.moved).changes(&self)
    }

    /// Only these may have accounts from now on: of the others it is as if they had none.
    package mutating func allow(_ entries: Set<EntryUUID>, in mirror: DirectoryMirror) -> [PersonChange] {
        let changed = (allowed ?? Set(mirror.entries.keys)).symmetricDifference(entries).sorted()
        allowed = entries
        var effects: [PersonChange] = []
        var moves = Moves()
        for uuid in changed {
            guard let entry = mirror[uuid] else { continue }
            move(uuid, from: claims[uuid], to: claim(of: MirrorChange(uuid, before: entry, after: entry), &effects), &moves)
        }
        return effects + Hands(moves.before, moves.moved).changes(&self)
    }

    /// What changes within one update: who claimed each address before, and who has another than before.
    private struct Moves {
        var before: [BareJID: [EntryUUID]] = [:]
        var moved: [EntryUUID: (from: BareJID, to: BareJID)] = [:]
    }

    private mutating func move(_ uuid: EntryUUID, from old: BareJID?, to new: BareJID?, _ moves: inout Moves) {
        guard old != new else { return }
        for address in [old, new].compactMap(\.self) where moves.before[address] == nil { moves.before[address] = claimants(of: address) }
        if let old { withdraw(old, uuid) }
        if let new { stake(new, uuid) }
        if let first = moves.moved[uuid]?.from ?? old, let new { moves.moved[uuid] = (first, new) } else { moves.moved[uuid] = nil }
    }

    /// - Returns: the address that the entry claims now: of several the one that it has, or has had, or else the first.
    private mutating func claim(of change: MirrorChange, _ effects: inout [PersonChange]) -> BareJID? {
        guard let after = change.after else {
            faults[change.uuid] = nil
            return nil
        }
        // Nothing is wrong with an entry of somebody who has no account; there may be many.
        if allowed?.contains(change.uuid) == false {
            faults[change.uuid] = .notAllowed
            return nil
        }
        do throws(PersonFault) {
            let found = try mapping.addresses.addresses(of: EntryReader(after, attributes), in: mapping.domain)
            let address = found.first { $0 == claims[change.uuid] } ?? found.first { departed[$0] == change.uuid } ?? found[0]
            faults[change.uuid] = nil
            return address
        } catch {
            if faults.updateValue(error, forKey: change.uuid) != error { effects.append(.unusable(change.uuid, name: after.name, error)) }
            return nil
        }
    }

    private mutating func index(_ change: MirrorChange) {
        let (before, after) = (change.before.map { EntryReader($0, attributes) }, change.after.map { EntryReader($0, attributes) })
        Self.replace(before.map(mapping.loginKeys) ?? [], by: after.map(mapping.loginKeys) ?? [], change.uuid, in: &logins)
        func digests(_ reader: EntryReader?) -> Set<[UInt8]> { Set((reader?.values(PersonAttributes.certificate) ?? []).map(Array.init)) }
        Self.replace(digests(before), by: digests(after), change.uuid, in: &certificates)
    }

    private static func replace(_ old: Set<[UInt8]>, by new: Set<[UInt8]>, _ uuid: EntryUUID, in index: inout UUIDIndex) {
        for key in old.subtracting(new) { index.remove(uuid, key) }
        for key in new.subtracting(old) { index.insert(uuid, key) }
    }

    /// What else has changed of a person whose address stays.
    private mutating func note(_ change: MirrorChange, stays: Bool) -> [PersonChange] {
        let (isOther, becameStale) = mark(change)
        guard let address = address(of: change.uuid) else { return [] }
        let stale: [PersonChange] = becameStale ? [.keysBecameStale(address, change.uuid)] : []
        guard stays, let before = change.before, let after = change.after else { return stale }
        var aspects = PersonAspects(EntryReader(before, attributes), EntryReader(after, attributes), mapping)
        if isOther { aspects.insert(.credentials) }
        return (aspects.isEmpty ? [] : [.changed(address, change.uuid, aspects)]) + stale
    }

    /// Of whom is gone the mark stays for as long as it is remembered who he was: a password may be changed while somebody is disabled.
    ///
    /// - Returns: whether passwords or keys are others than before, and whether the keys have just become stale.
    private mutating func mark(_ change: MirrorChange) -> (isOther: Bool, becameStale: Bool) {
        guard let after = change.after else { return (false, false) }
        let (old, new) = (marks[change.uuid], marking.mark(of: EntryReader(after, attributes)))
        guard new?.differs(from: old) ?? (old != nil) else { return (false, false) }
        marks[change.uuid] = new?.after(old)
        return (true, marks[change.uuid]?.keysAreStale == true && old?.keysAreStale != true)
    }

    /// Entries that would have an address if they were among those that may.
    package func keptOut(claiming address: BareJID, in mirror: DirectoryMirror) -> [EntryUUID] {
        faults.filter { uuid, fault in
            guard fault == .notAllowed, let entry = mirror[uuid] else { return false }
            return (try? mapping.addresses.addresses(of: EntryReader(entry, attributes), in: mapping.domain))?.contains(address) == true
        }.map(\.key).sorted()
    }

    /// Whether a change takes an account away from who has it.
    func loses(_ change: MirrorChange) -> Bool {
        guard address(of: change.uuid) != nil else { return false }
        guard let after = change.after else { return true }
        return (try? mapping.addresses.addresses(of: EntryReader(after, attributes), in: mapping.domain)) == nil
    }
}

// MARK: Who has an address

extension People {
    private func claimants(of address: BareJID) -> [EntryUUID] { contests[address] ?? holders[address].map { [$0] } ?? [] }

    private mutating func stake(_ address: BareJID, _ uuid: EntryUUID) {
        claims[uuid] = address
        set(address, (claimants(of: address) + [uuid]).sorted())
    }

    private mutating func withdraw(_ address: BareJID, _ uuid: EntryUUID) {
        claims[uuid] = nil
        set(address, claimants(of: address).filter { $0 != uuid })
    }

    /// While changes go on: who has it in the end is found out then.
    private mutating func set(_ address: BareJID, _ claimants: [EntryUUID]) {
        holders[address] = claimants.count == 1 ? claimants[0] : nil
        contests[address] = claimants.count > 1 ? claimants : nil
    }

    /// Says what has become of addresses whose claimants have changed.
    private struct Hands {
        let before: [BareJID: [EntryUUID]]
        let moved: [EntryUUID: (from: BareJID, to: BareJID)]

        init(_ before: [BareJID: [EntryUUID]], _ moved: [EntryUUID: (from: BareJID, to: BareJID)]) {
            self.before = before
            self.moved = moved
        }

        func changes(_ people: inout People) -> [PersonChange] {
            let addresses = before.keys.map { (String(describing: $0), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
            let renamed = moved.filter { isRenamed($0.key, people) }
            let renames = renamed.sorted { $0.key < $1.key }.map { PersonChange.renamed(from: $0.value.from, to: $0.value.to, $0.key) }
            return renames + addresses.flatMap { change(of: $0, Set(renamed.keys), &people) }
        }

        /// Whoever had one address and has another.
        private func isRenamed(_ uuid: EntryUUID, _ people: People) -> Bool {
            guard let (from, to) = moved[uuid], from != to else { return false }
            return before[from] == [uuid] && people.claimants(of: to) == [uuid]
        }

        private func change(of address: BareJID, _ renamed: Set<EntryUUID>, _ people: inout People) -> [PersonChange] {
            let (old, new) = (before[address] ?? [], people.claimants(of: address))
            guard old != new else { return [] }
            // Whose it was last; of an address that somebody has that is the holder, unless another one's data are still there.
            let owner = people.predecessors[address] ?? (old.count == 1 ? old[0] : people.departed[address])
            let left: [PersonChange] = old.count == 1 && !renamed.contains(old[0]) ? [.vanished(address, old[0])] : []
            people.predecessors[address] = nil
            people.departed[address] = owner
            switch new.count {
            case 0: return left
            case 1:
                people.departed[address] = nil
                if let owner, owner != new[0] {
                    people.predecessors[address] = owner
                    return left + [.succeeded(address, new[0], previous: owner)]
                }
                return left + (renamed.contains(new[0]) ? [] : [.appeared(address, new[0])])
            default: return [.contested(address, new)]
            }
        }
    }
}
