package import MartletCore
package import MartletLDAP

/// A message of a search with content synchronization (RFC 4533 §2), in whatever controls it came.
package enum SyncMessage: Hashable, Sendable {
    /// `syncStateValue`.
    package enum EntryState: Hashable, Sendable { case present, add, modify, delete }

    case entry(LDAPEntry, EntryState, EntryUUID, cookie: [UInt8]? = nil)
    case newCookie([UInt8])
    /// The end of a delete phase. With `isDone` the refresh is complete and changes follow as they happen.
    case refreshDelete(cookie: [UInt8]? = nil, isDone: Bool = true)
    /// The end of a present phase.
    case refreshPresent(cookie: [UInt8]? = nil, isDone: Bool = true)
    /// `syncIdSet`: entries that are gone (`refreshDeletes`), or that are there, unchanged.
    case identifiers([EntryUUID], areGone: Bool, cookie: [UInt8]? = nil)
    /// The search is over; `done` is the Sync Done Control, if there was one.
    case result(LDAPResultCode, done: SyncDone? = nil)
}

package struct SyncDone: Hashable, Sendable {
    package var cookie: [UInt8]?
    package var refreshDeletes: Bool

    package init(cookie: [UInt8]? = nil, refreshDeletes: Bool = false) {
        self.cookie = cookie
        self.refreshDeletes = refreshDeletes
    }
}

/// Follows a directory by content synchronization (RFC 4533 §3.4, §3.5): says what changes, and what is gone once a refresh is complete.
///
/// A refresh that is cut off has deleted nobody, and begins again where it began: what it removes, and its cookies, count when the server says that it is
/// complete. Entries that it has sent are as they were sent, complete or not.
package struct SyncConsumer: Sendable {
    enum State {
        case disconnected
        case refreshing(Refresh)
        case persisting
    }

    struct Refresh {
        /// The server goes through all entries, so that those which it does not mention are gone. So it is where no cookie was sent: the server believes that
        /// there is nothing that could be gone, but what is mirrored may be older than that.
        var isExhaustive: Bool
        let isFromTheStart: Bool
        var there: Set<EntryUUID> = []
        var gone: Set<EntryUUID> = []
        var cookie: [UInt8]?

        init(from cookie: [UInt8]?) {
            isExhaustive = cookie == nil
            isFromTheStart = cookie == nil
        }

        mutating func mention(_ uuid: EntryUUID) {
            there.insert(uuid)
            gone.remove(uuid)
        }

        mutating func remove(_ uuid: EntryUUID) {
            gone.insert(uuid)
            there.remove(uuid)
        }
    }

    private var state = State.disconnected
    /// Up to there everything has been said.
    package private(set) var cookie: [UInt8]?
    private let entriesMax: Int

    package init(cookie: [UInt8]? = nil, entriesMax: Int = FeedLimits.entriesMax) {
        self.cookie = cookie
        self.entriesMax = entriesMax
    }

    /// Whether changes are heard of as they happen.
    package var isLive: Bool { if case .persisting = state { true } else { false } }

    /// A connection is there.
    package mutating func connected() -> [FeedEffect] {
        state = .refreshing(Refresh(from: cookie))
        return [.search(.contentSync(cookie: cookie))]
    }

    /// The connection is lost, or the search was given up.
    package mutating func disconnected() { state = .disconnected }

    /// The next refresh begins at the beginning: what is mirrored is not what the cookie says it is.
    package mutating func forgetCookie() { cookie = nil }

    package mutating func receive(_ message: SyncMessage) -> [FeedEffect] {
        switch state {
        case .disconnected: return []
        case .persisting: return persist(message)
        case .refreshing(var refresh):
            // So that the sets are changed where they are.
            state = .disconnected
            let (effects, next) = receive(message, &refresh)
            state = next ?? .refreshing(refresh)
            return effects
        }
    }
}

// MARK: Refresh stage

extension SyncConsumer {
    /// What is to be done, and the state if it is not the same refresh any more.
    private typealias Step = (effects: [FeedEffect], next: State?)

    private mutating func receive(_ message: SyncMessage, _ refresh: inout Refresh) -> Step {
        switch message {
        case .entry(let entry, let entryState, let uuid, let cookie):
            take(cookie, &refresh)
            return receive(entry, entryState, uuid, &refresh)
        case .newCookie(let cookie):
            take(cookie, &refresh)
            return ([], nil)
        case .identifiers(let uuids, let areGone, let cookie):
            take(cookie, &refresh)
            for uuid in uuids { if areGone { refresh.remove(uuid) } else { refresh.mention(uuid) } }
            return bounded(refresh)
        case .refreshPresent(let cookie, let isDone):
            take(cookie, &refresh)
            refresh.isExhaustive = true
            return isDone ? complete(refresh, next: .persisting) : ([], nil)
        case .refreshDelete(let cookie, let isDone):
            take(cookie, &refresh)
            return isDone ? complete(refresh, next: .persisting) : ([], nil)
        case .result(let code, let done): return end(code, done, &refresh)
        }
    }

    private func receive(_ entry: LDAPEntry, _ state: SyncMessage.EntryState, _ uuid: EntryUUID, _ refresh: inout Refresh) -> Step {
        switch state {
        case .present: refresh.mention(uuid)
        case .delete: refresh.remove(uuid)
        case .add, .modify:
            refresh.mention(uuid)
            return bounded(refresh, or: [.change(.entry(uuid, entry))])
        }
        return bounded(refresh)
    }

    private func bounded(_ refresh: Refresh, or effects: [FeedEffect] = []) -> Step {
        refresh.there.count + refresh.gone.count <= entriesMax ? (effects, nil) : ([.failed(.tooManyEntries)], .disconnected)
    }

    private func take(_ cookie: [UInt8]?, _ refresh: inout Refresh) {
        if let cookie, cookie.count <= FeedLimits.cookieBytesMax { refresh.cookie = cookie }
    }

    private mutating func complete(_ refresh: Refresh, next: State) -> Step {
        ([.refreshed(RefreshEnd(gone: refresh.gone, there: refresh.isExhaustive ? refresh.there : nil))] + keep(refresh.cookie), next)
    }

    private mutating func end(_ code: LDAPResultCode, _ done: SyncDone?, _ refresh: inout Refresh) -> Step {
        // OpenLDAP's server refuses a cookie that is newer than it is itself: after a crash, or restored from a copy.
        if code == .syncRefreshRequired || code == .unwillingToPerform, !refresh.isFromTheStart { return (startAnew(), state) }
        guard code == .success else { return ([.failed(.result(code))], .disconnected) }
        guard let done else { return ([.failed(.endedEarly)], .disconnected) }
        // The server does not go on; what it has refreshed counts nevertheless (RFC 4533 §3.4).
        take(done.cookie, &refresh)
        if !done.refreshDeletes { refresh.isExhaustive = true }
        return complete(refresh, next: .disconnected)
    }

    /// RFC 4533 §2.6: the server cannot tell what has changed since the cookie.
    private mutating func startAnew() -> [FeedEffect] {
        cookie = nil
        return connected()
    }

    private mutating func keep(_ cookie: [UInt8]?) -> [FeedEffect] {
        guard let cookie, cookie.count <= FeedLimits.cookieBytesMax else { return [] }
        self.cookie = cookie
        return [.keepCookie(cookie)]
    }
}

// MARK: Persist stage

extension SyncConsumer {
    private mutating func persist(_ message: SyncMessage) -> [FeedEffect] {
        switch message {
        case .entry(let entry, let state, let uuid, let cookie): return change(entry, state, uuid) + keep(cookie)
        case .newCookie(let cookie): return keep(cookie)
        case .refreshDelete(let cookie, _), .refreshPresent(let cookie, _): return keep(cookie)
        case .identifiers(let uuids, let areGone, let cookie): return (areGone ? uuids.map { .change(.gone($0)) } : []) + keep(cookie)
        case .result(.syncRefreshRequired, _): return startAnew()
        case .result(let code, let done):
            state = .disconnected
            return keep(done?.cookie) + [.failed(code == .success ? .endedEarly : .result(code))]
        }
    }

    private func change(_ entry: LDAPEntry, _ state: SyncMessage.EntryState, _ uuid: EntryUUID) -> [FeedEffect] {
        switch state {
        case .present: []
        case .delete: [.change(.gone(uuid))]
        case .add, .modify: [.change(.entry(uuid, entry))]
        }
    }
}
