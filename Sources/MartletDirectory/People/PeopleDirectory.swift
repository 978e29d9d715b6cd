package import MartletCore
package import MartletXMPP
import Synchronization

/// Whether the directory is there.
package enum DirectoryContact: Hashable, Sendable {
    /// Nothing of it was ever known here.
    case neverLoaded
    case live
    /// Since when nothing was heard of it, in milliseconds since 1970.
    case lost(since: Int64)
}

/// What is known of a person at the moment.
package struct Person: Sendable {
    package let uuid: EntryUUID
    package let address: BareJID
    /// Of the entry.
    package let name: String
    package let displayName: String?
    package let credentials: PersonCredentials
    package let standing: PersonStanding
    /// Somebody else's data are still in the account's place.
    package let hasPredecessor: Bool
}

/// What can be said about an address.
package enum PersonAnswer: Sendable {
    case person(Person)
    /// There is no such account, or nobody can tell whose it is.
    case nobody
    /// The directory cannot be asked, and what was known of it is too old, or nothing ever was.
    case unavailable
}

/// The mirrored people of a directory, for whoever wants to know something of them.
///
/// A lock, because any loop may ask at any moment: it is held while memory is read or changed, and never while something is waited for.
package final class PeopleDirectory: Sendable {
    private struct State {
        var people: MirroredPeople
        var contact = DirectoryContact.neverLoaded
        /// Passwords and keys are never on disk unless they are sealed: until the directory says them they are not known.
        var knowsSecrets = true
        var isLive = false
        /// Since when nothing was heard of the group whose members have accounts; `nil` while it is followed, or where there is none.
        var groupLost: Int64?
    }

    private let state: Mutex<State>
    private let time: any TimeSource
    /// How long what was known last is good enough to let somebody in.
    private let staleMillisecondsMax: Int64
    private let mapping: PersonMapping
    let attributes: MirroredAttributes

    package static let staleMillisecondsMaxDefault: Int64 = 24 * 3_600_000

    package init(_ people: MirroredPeople, time: any TimeSource, staleMillisecondsMax: Int64 = staleMillisecondsMaxDefault) {
        mapping = people.people.mapping
        attributes = people.mirror.attributes
        state = Mutex(State(people: people))
        self.time = time
        self.staleMillisecondsMax = staleMillisecondsMax
    }

    // MARK: What the directory says

    /// - Parameter isLive: whether the feed is up to date with the directory after them.
    package func take(_ effects: [FeedEffect], isLive: Bool) -> [DirectoryNotice] {
        let now = time.wallMilliseconds
        return state.withLock { state in
            var notices: [DirectoryNotice] = []
            for effect in effects { notices += state.people.take(effect, now: now) }
            state.isLive = isLive
            if isLive, state.people.isLoaded { (state.contact, state.knowsSecrets) = (.live, true) }
            return notices
        }
    }

    /// The directory cannot be heard any more.
    package func contactLost() {
        let now = time.wallMilliseconds
        state.withLock {
            $0.isLive = false
            if $0.contact == .live { $0.contact = .lost(since: now) }
        }
    }

    // MARK: What groups say

    /// What has changed of people since this was asked last, and all of them as they are now, to work groups out. They are to be let go of soon: for as long as
    /// somebody has them a change makes a copy.
    func takeSettled() -> (changes: [MirrorChange], people: MirroredPeople) { state.withLock { ($0.people.takeSettled(), $0.people) } }

    func holder(of account: BareJID) -> EntryUUID? { state.withLock { $0.people.people.holder(of: account) } }

    var mirrored: MirroredPeople { state.withLock { $0.people } }

    /// Whether all people have been known once, whoever of them may have an account.
    var isRead: Bool { state.withLock { $0.people.isRead } }

    var isLoaded: Bool { state.withLock { $0.people.isLoaded } }

    /// See ``MirroredPeople/allow(_:isConfirmed:now:)``.
    func allow(_ entries: Set<EntryUUID>, isConfirmed: Bool = false) -> [DirectoryNotice] {
        let now = time.wallMilliseconds
        return state.withLock { state in
            // So it is nearly always.
            if !isConfirmed, state.people.isLoaded, !state.people.allowance.isHolding, state.people.people.allowed == entries { return [] }
            let notices = state.people.allow(entries, isConfirmed: isConfirmed, now: now)
            if state.isLive, state.people.isLoaded { (state.contact, state.knowsSecrets) = (.live, true) }
            return notices
        }
    }

    /// The group whose members have accounts is followed, or is not: then it is known as it was at a moment, in milliseconds since 1970.
    func groupLost(since moment: Int64?) { state.withLock { $0.groupLost = moment } }

    package func restore(_ snapshot: DirectorySnapshot, asked: [UInt8]) -> [DirectoryNotice] {
        state.withLock { state in
            (state.contact, state.knowsSecrets) = (.lost(since: snapshot.heard), snapshot.attributes == attributes)
            return state.people.restore(snapshot, asked: asked)
        }
    }

    /// - Returns: `nil` while there is nothing worth to be kept.
    package func snapshot(asked: [UInt8]) -> DirectorySnapshot? {
        let now = time.wallMilliseconds
        return state.withLock { state in
            switch state.contact {
            case .neverLoaded: nil
            case .live: state.people.snapshot(asked: asked, heard: now)
            case .lost(let since): state.people.snapshot(asked: asked, heard: since)
            }
        }
    }

    package func confirmRemoval() -> [DirectoryNotice] { state.withLock { $0.people.confirmRemoval() } }
    package func predecessorIsGone(_ address: BareJID) { state.withLock { $0.people.predecessorIsGone(address) } }
    package func forget(_ address: BareJID) { state.withLock { $0.people.forget(address) } }

    // MARK: Questions

    package var contact: DirectoryContact { state.withLock { $0.contact } }
    /// Whether it can be said of a password without asking the directory that it is wrong.
    package var knowsSecrets: Bool { state.withLock { $0.knowsSecrets } }
    /// Whether what is known is good enough to let somebody in.
    package var isGoodEnough: Bool { contact.isGoodEnough(now: time.wallMilliseconds, staleMillisecondsMax: staleMillisecondsMax) }
    /// For how long nothing was heard of the directory; `nil` if nothing ever was.
    package var silenceSeconds: Int64? {
        switch contact {
        case .neverLoaded: nil
        case .live: 0
        case .lost(let since): max(0, time.wallMilliseconds - since) / 1_000
        }
    }
    /// Where a refresh may begin.
    package var cookie: [UInt8]? { state.withLock { $0.people.cookie } }
    package var brake: SafetyBrake { state.withLock { $0.people.brake } }
    /// Of who may have an account by a group.
    package var allowance: SafetyBrake { state.withLock { $0.people.allowance } }
    /// The names of entries that would have the address if their people were in the group whose members have accounts.
    package func keptOut(claiming address: BareJID) -> [String] {
        let people = mirrored
        return people.people.keptOut(claiming: address, in: people.mirror).compactMap { people.mirror[$0]?.name }
    }
    /// Whether several entries claim the address.
    package func isContested(_ address: BareJID) -> Bool { state.withLock { $0.people.people.isContested(address) } }
    /// Whether the entry has an account.
    package func has(_ entry: EntryUUID) -> Bool { state.withLock { $0.people.people.address(of: entry) != nil } }
    package var count: Int { state.withLock { $0.people.people.count } }

    /// What decides about somebody who wants to come in.
    package func person(_ address: BareJID) -> PersonAnswer {
        let now = time.wallMilliseconds
        let found = state.withLock { state -> Found in
            guard state.people.isLoaded, state.contact.isGoodEnough(now: now, staleMillisecondsMax: staleMillisecondsMax),
                state.groupLost.map({ now - $0 <= staleMillisecondsMax }) ?? true
            else { return .unavailable }
            let people = state.people.people
            guard let uuid = people.holder(of: address), let entry = state.people.mirror[uuid] else { return .nobody }
            return .entry(uuid, entry, people.mark(of: uuid), hasPredecessor: people.hasPredecessor(address))
        }
        switch found {
        case .unavailable: return .unavailable
        case .nobody: return .nobody
        case .entry(let uuid, let entry, let mark, let hasPredecessor):
            // Keys are made up of what the entry holds, after the lock.
            let reader = EntryReader(entry, attributes)
            return .person(
                Person(
                    uuid: uuid, address: address, name: entry.name, displayName: PersonAttributes.displayNames.lazy.compactMap { reader.text($0) }.first,
                    credentials: PersonCredentials(reader, mark), standing: PersonStanding(reader, mapping), hasPredecessor: hasPredecessor))
        }
    }

    private enum Found {
        case unavailable, nobody
        case entry(EntryUUID, MirroredEntry, CredentialMark?, hasPredecessor: Bool)
    }

    /// Accounts that may be used no more, or again, because time has passed since a moment, in milliseconds since 1970: those whose sessions have to end are among
    /// them.
    package func standingChanges(since before: Int64) -> [BareJID: AccountVerdict] {
        let now = time.wallMilliseconds
        let timed = state.withLock { state in
            state.people.people.timed.compactMap { uuid in
                state.people.people.address(of: uuid).flatMap { address in state.people.mirror[uuid].map { (address, $0) } }
            }
        }
        return timed.reduce(into: [:]) { changes, person in
            let standing = PersonStanding(EntryReader(person.1, attributes), mapping)
            let verdict = standing.verdict(at: now, lockMilliseconds: mapping.lockMilliseconds)
            if verdict != standing.verdict(at: before, lockMilliseconds: mapping.lockMilliseconds) { changes[person.0] = verdict }
        }
    }

    /// Whether the whole directory has to be read anew now, to see whether what is held is meant (``SafetyBrake``).
    package var needsSecondLook: Bool {
        let now = time.wallMilliseconds
        return state.withLock { $0.people.brake.secondLook.map { now >= $0 } ?? false }
    }

    /// What others are shown of a person, however old it is.
    package func profile(of address: BareJID) -> PersonProfile? {
        guard let (uuid, entry) = entry(of: address) else { return nil }
        return PersonProfile(uuid, EntryReader(entry, attributes))
    }

    /// The person's entry, however old it is.
    package func entry(of address: BareJID) -> (EntryUUID, MirroredEntry)? {
        state.withLock { state in
            state.people.people.holder(of: address).flatMap { uuid in state.people.mirror[uuid].map { (uuid, $0) } }
        }
    }

    /// Whose entry has that name.
    package func address(ofEntryNamed name: String) -> BareJID? {
        state.withLock { state in state.people.mirror.uuid(named: name).flatMap { state.people.people.address(of: $0) } }
    }

    package func address(loggingInAs name: String) -> BareJID? {
        state.withLock { state in
            let people = state.people.people
            return people.person(loggingInAs: name, in: state.people.mirror).flatMap { people.address(of: $0) }
        }
    }

    package func address(withCertificate digest: [UInt8]) -> BareJID? {
        state.withLock { state in
            let people = state.people.people
            return people.person(withCertificate: digest, in: state.people.mirror).flatMap { people.address(of: $0) }
        }
    }

    /// Whether the person's sessions have to end.
    func isOut(_ person: Person) -> Bool { person.standing.endsSessions(at: time.wallMilliseconds) }

    /// As far as the directory says it, at this moment.
    func verdict(_ person: Person) -> AccountVerdict {
        person.hasPredecessor ? .unavailable : person.standing.verdict(at: time.wallMilliseconds, lockMilliseconds: mapping.lockMilliseconds)
    }
}

extension DirectoryContact {
    func isGoodEnough(now: Int64, staleMillisecondsMax: Int64) -> Bool {
        switch self {
        case .neverLoaded: false
        case .live: true
        case .lost(let since): now - since <= staleMillisecondsMax
        }
    }
}
