package import MartletCore
package import MartletLDAP
package import NIOCore

/// A message of the searches by which a directory with persistent search is followed.
package enum PersistentSearchMessage: Hashable, Sendable {
    /// An entry of the persistent search; `isDeletion` as its Entry Change Notification says (draft-ietf-ldapext-psearch-03 §5). Servers do not agree on whether a deleted
    /// entry still has its attributes, so that its UUID may be missing.
    case change(LDAPEntry, EntryUUID?, isDeletion: Bool)
    /// An entry was changed that is none of those that are asked for; it may have been one.
    case otherChange
    /// The persistent search is over, which it should never be.
    case changesEnded(LDAPResultCode)
    /// An entry of a reading.
    case entry(LDAPEntry, EntryUUID)
    /// Of a sweep.
    case identifier(EntryUUID)
    /// A reading or a sweep is over.
    case result(LDAPResultCode)
}

/// Follows a directory by persistent search: changes are heard of as they happen, and everything is read anew whenever a connection was lost.
///
/// The persistent search is begun before the reading, so that nothing happens between the two. What it has said about an entry during a reading or a sweep is
/// newer than what these find. An entry that is changed so that it is not looked for any more is not told of. So a second search tells that some entry was changed
/// which is not looked for, and a sweep finds out whether it was one: what the two tell has no order between them.
package struct PersistentSearchConsumer: Sendable {
    package struct Settings: Hashable, Sendable {
        package var sweepInterval = TimeAmount.minutes(10)
        /// Between a sweep and one that a change asks for, at least. It is four times as long as the last one took, if that is longer: a fifth of the time the directory
        /// is busy with that at most.
        package var sweepPause = TimeAmount.seconds(1)
        package var entriesMax = FeedLimits.entriesMax

        package init() {}
    }

    private enum State {
        case disconnected
        case following(since: NIODeadline)
        /// A reading or a sweep is under way beside the persistent search.
        case searching(Found)
    }
    private struct Found {
        var there: Set<EntryUUID> = []
        /// What changed meanwhile, and whether it is there.
        var changed: [EntryUUID: Bool] = [:]
    }

    private let settings: Settings
    private var state = State.disconnected
    /// Something has changed that only a sweep can tell of.
    private var isSweepWanted = false
    private var sweepBegan: NIODeadline?
    private var pause: TimeAmount
    /// Whether everything was read since the connection is there.
    package private(set) var isLive = false

    package init(_ settings: Settings = Settings()) {
        self.settings = settings
        pause = settings.sweepPause
    }

    package mutating func connected() -> [FeedEffect] {
        (isLive, isSweepWanted, sweepBegan) = (false, false, nil)
        state = .searching(Found())
        return [.search(.persistentSearch), .search(.persistentSearchOfOthers), .search(.everything)]
    }

    package mutating func disconnected() {
        isLive = false
        state = .disconnected
    }

    /// When to call ``tick(now:)``.
    package var due: NIODeadline? {
        guard case .following(let since) = state else { return nil }
        return since + (isSweepWanted ? pause : settings.sweepInterval)
    }

    package mutating func tick(now: NIODeadline) -> [FeedEffect] {
        guard let due, now >= due else { return [] }
        (isSweepWanted, sweepBegan) = (false, now)
        state = .searching(Found())
        return [.search(.identifiers)]
    }

    package mutating func receive(_ message: PersistentSearchMessage, now: NIODeadline) -> [FeedEffect] {
        switch (state, message) {
        case (.disconnected, _): return []
        case (_, .otherChange):
            isSweepWanted = true
            return []
        case (_, .changesEnded(let code)): return fail(code == .success ? .endedEarly : .result(code))
        case (.following, .change(let entry, let uuid, let isDeletion)): return [Self.effect(entry, uuid, isDeletion)].compactMap(\.self)
        case (.following, .entry), (.following, .identifier), (.following, .result): return []
        case (.searching(var found), _):
            // So that the sets are changed where they are.
            state = .following(since: now)
            return receive(message, &found, now)
        }
    }

    private mutating func receive(_ message: PersistentSearchMessage, _ found: inout Found, _ now: NIODeadline) -> [FeedEffect] {
        switch message {
        case .change(let entry, let uuid, let isDeletion):
            if let uuid { found.changed[uuid] = !isDeletion }
            return go(on: found, Self.effect(entry, uuid, isDeletion))
        case .entry(let entry, let uuid):
            found.there.insert(uuid)
            return go(on: found, found.changed[uuid] == nil ? .change(.entry(uuid, entry)) : nil)
        case .identifier(let uuid):
            found.there.insert(uuid)
            return go(on: found, nil)
        case .result(let code):
            guard code == .success else { return fail(.result(code)) }
            isLive = true
            if let sweepBegan { pause = max(settings.sweepPause, (now - sweepBegan) * 4) }
            for (uuid, isThere) in found.changed { if isThere { found.there.insert(uuid) } else { found.there.remove(uuid) } }
            return [.refreshed(RefreshEnd(there: found.there))]
        case .changesEnded, .otherChange: return []
        }
    }

    private mutating func go(on found: Found, _ effect: FeedEffect?) -> [FeedEffect] {
        guard found.there.count + found.changed.count <= settings.entriesMax else { return fail(.tooManyEntries) }
        state = .searching(found)
        return effect.map { [$0] } ?? []
    }

    private mutating func fail(_ fault: FeedFault) -> [FeedEffect] {
        disconnected()
        return [.failed(fault)]
    }

    /// Of a new entry without a UUID nothing can be kept.
    private static func effect(_ entry: LDAPEntry, _ uuid: EntryUUID?, _ isDeletion: Bool) -> FeedEffect? {
        switch (uuid, isDeletion) {
        case (let uuid?, true): .change(.gone(uuid))
        case (let uuid?, false): .change(.entry(uuid, entry))
        case (nil, true): .change(.goneNamed(entry.name))
        case (nil, false): nil
        }
    }
}
