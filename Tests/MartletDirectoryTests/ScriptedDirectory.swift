import MartletCore
import MartletDirectory
import MartletLDAP

/// Numbers that are the same for the same seed (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}

extension EntryUUID {
    /// The UUID with that number.
    static func number(_ number: Int) -> EntryUUID {
        EntryUUID(Array(repeating: 0, count: 8) + (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) })!
    }
}

/// A server of RFC 4533 as far as one search needs it. It remembers as many changes as its session log holds; whoever comes with an older cookie gets a present
/// phase, or is told to start from the beginning.
struct ScriptedDirectory {
    enum Change { case written, deleted }

    private(set) var entries: [EntryUUID: LDAPEntry] = [:]
    private var log: [(number: Int, EntryUUID, Change)] = []
    private var changes = 0
    private var changed: [EntryUUID: Int] = [:]
    var logLength = 8
    /// Instead of a present phase: e-syncRefreshRequired.
    var refusesOldCookies = false

    private var cookie: [UInt8] { Array(String(changes).utf8) }

    /// What a client that persists is told of it.
    mutating func write(_ uuid: EntryUUID, _ entry: LDAPEntry) -> SyncMessage {
        let state: SyncMessage.EntryState = entries[uuid] == nil ? .add : .modify
        entries[uuid] = entry
        note(uuid, .written)
        return .entry(entry, state, uuid, cookie: cookie)
    }

    mutating func delete(_ uuid: EntryUUID) -> SyncMessage? {
        guard let entry = entries.removeValue(forKey: uuid) else { return nil }
        note(uuid, .deleted)
        return .entry(LDAPEntry(entry.name), .delete, uuid, cookie: cookie)
    }

    private mutating func note(_ uuid: EntryUUID, _ change: Change) {
        changes += 1
        changed[uuid] = changes
        log.append((changes, uuid, change))
        log = log.suffix(logLength)
    }

    /// All that a refresh says.
    func refresh(from cookie: [UInt8]?) -> [SyncMessage] {
        guard let cookie else { return sorted.map { .entry($0.value, .add, $0.key) } + [.refreshDelete(cookie: self.cookie)] }
        let since = Int(String(decoding: cookie, as: UTF8.self)) ?? 0
        if since + log.count >= changes { return deletePhase(since) }
        return refusesOldCookies ? [.result(.syncRefreshRequired)] : presentPhase(since)
    }

    private var sorted: [(key: EntryUUID, value: LDAPEntry)] { entries.sorted { $0.key < $1.key } }

    private func written(since: Int) -> [SyncMessage] { sorted.filter { changed[$0.key] ?? 0 > since }.map { .entry($0.value, .add, $0.key) } }

    private func deletePhase(_ since: Int) -> [SyncMessage] {
        let gone = Set(log.filter { $0.number > since && $0.2 == .deleted }.map(\.1)).filter { entries[$0] == nil }.sorted()
        return [.identifiers(gone, areGone: true)] + written(since: since) + [.refreshDelete(cookie: cookie)]
    }

    /// Half of those that are as they were one by one, the others together, as servers please.
    private func presentPhase(_ since: Int) -> [SyncMessage] {
        let unchanged = sorted.filter { changed[$0.key] ?? 0 <= since }
        let (single, together) = (unchanged.prefix(unchanged.count / 2), unchanged.dropFirst(unchanged.count / 2))
        return single.map { .entry(LDAPEntry($0.value.name), .present, $0.key) } + written(since: since)
            + [.identifiers(together.map(\.key), areGone: false), .refreshPresent(cookie: cookie)]
    }
}

/// What the effects of a feed make of entries, without any of the mirror's haste.
struct PlainMirror {
    var entries: [EntryUUID: LDAPEntry] = [:]

    mutating func apply(_ effects: [FeedEffect]) {
        for effect in effects {
            switch effect {
            case .change(.entry(let uuid, let entry)): entries[uuid] = entry
            case .change(.gone(let uuid)): entries[uuid] = nil
            case .change(.goneNamed(let name)): entries = entries.filter { $0.value.name != name }
            case .refreshed(let end): entries = entries.filter { !end.removes($0.key) }
            case .keepCookie, .search, .failed: break
            }
        }
    }
}
