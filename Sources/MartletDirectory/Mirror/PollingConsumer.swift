package import MartletCore
package import MartletLDAP
package import NIOCore

/// A message of a search by which a directory is polled.
package enum PolledMessage: Hashable, Sendable {
    /// With when it was last changed, if the server says so.
    case entry(LDAPEntry, EntryUUID, changed: Int64?)
    /// Of a search for identifiers.
    case identifier(EntryUUID)
    case result(LDAPResultCode)
}

/// Follows a directory that can be asked what has changed, and says nothing by itself: reads everything once, then what was changed lately, and looks from time to
/// time who is still there.
///
/// One search at a time. An entry that was deleted is noticed by the next sweep only.
package struct PollingConsumer: Sendable {
    package struct Settings: Hashable, Sendable {
        /// Between the end of one search and the beginning of the next.
        package var pollInterval = TimeAmount.seconds(15)
        package var sweepInterval = TimeAmount.minutes(10)
        /// Whatever a poll may have missed, by a clock that was set back, is not missed for longer.
        package var readingInterval = TimeAmount.hours(24)
        /// So far back a poll goes: what is committed late, on a server of several, may bear an earlier time than what was seen already.
        package var overlap = TimeAmount.seconds(120)
        package var mark = ChangeMark.Kind.modifyTimestamp
        package var entriesMax = FeedLimits.entriesMax

        package init() {}
    }

    private enum State {
        case disconnected
        case waiting(until: NIODeadline)
        case searching(Search, Found)
    }
    private enum Search { case everything, changed, identifiers }
    private struct Found {
        var there: Set<EntryUUID> = []
        /// The latest change of those that were found.
        var latest: Int64?
    }

    private enum Seen {
        /// At `moment` the server's clock showed `time` or later, and a search began that has found whatever had been changed by then.
        case time(Int64, at: NIODeadline)
        /// The highest number that was seen, and what it was when the last search began. A search finds entries in no order: one that it has passed may be
        /// changed while it goes on, and get a lower number than another that it finds afterwards.
        case numbers(highest: Int64, complete: Int64?)
    }

    private let settings: Settings
    private var state = State.disconnected
    /// What was changed before has been seen.
    private var seen: Seen?
    /// When each of the two began last that led to an end; `nil`: is to be done first of all.
    private var readingBegan: NIODeadline?
    private var sweepBegan: NIODeadline?
    private var began = NIODeadline.uptimeNanoseconds(0)
    private var server: String?

    package init(_ settings: Settings = Settings()) { self.settings = settings }

    /// By what it finds out what has changed.
    package var kind: ChangeMark.Kind { settings.mark }

    /// Whether the last search has ended well, and none has failed since.
    package private(set) var isLive = false

    /// A connection is there.
    ///
    /// - Parameter server: tells servers apart. What one counts means nothing to another, so that everything is read anew.
    package mutating func connected(to server: String, now: NIODeadline) -> [FeedEffect] {
        if server != self.server { (readingBegan, seen) = (nil, nil) }
        self.server = server
        return next(now)
    }

    package mutating func disconnected() {
        state = .disconnected
        isLive = false
    }

    /// The next search is for everything.
    package mutating func readAnew() { readingBegan = nil }

    /// When to call ``tick(now:)``.
    package var due: NIODeadline? {
        guard case .waiting(let until) = state else { return nil }
        return until
    }

    package mutating func tick(now: NIODeadline) -> [FeedEffect] {
        guard let due, now >= due else { return [] }
        return next(now)
    }

    package mutating func receive(_ message: PolledMessage, now: NIODeadline) -> [FeedEffect] {
        guard case .searching(let search, var found) = state else { return [] }
        // So that the set is changed where it is.
        state = .disconnected
        switch message {
        case .entry(let entry, let uuid, let changed):
            found.there.insert(uuid)
            found.latest = [found.latest, changed].compactMap(\.self).max()
            return go(on: search, found, [.change(.entry(uuid, entry))])
        case .identifier(let uuid):
            found.there.insert(uuid)
            return go(on: search, found, [])
        case .result(let code):
            guard code == .success else { return fail(.result(code)) }
            return complete(search, found, now)
        }
    }

    private mutating func go(on search: Search, _ found: Found, _ effects: [FeedEffect]) -> [FeedEffect] {
        guard found.there.count <= settings.entriesMax else { return fail(.tooManyEntries) }
        state = .searching(search, found)
        return effects
    }

    private mutating func fail(_ fault: FeedFault) -> [FeedEffect] {
        disconnected()
        return [.failed(fault)]
    }

    private mutating func complete(_ search: Search, _ found: Found, _ now: NIODeadline) -> [FeedEffect] {
        note(found.latest, now)
        // Where nothing tells when entries were changed, each poll is a reading.
        state = .waiting(until: now + (seen == nil && !found.there.isEmpty ? settings.sweepInterval : settings.pollInterval))
        isLive = true
        switch search {
        case .changed: return []
        case .everything: (readingBegan, sweepBegan) = (began, began)
        case .identifiers: sweepBegan = began
        }
        return [.refreshed(RefreshEnd(there: found.there))]
    }

    private mutating func next(_ now: NIODeadline) -> [FeedEffect] {
        let search = chosen(now)
        state = .searching(search, Found())
        began = now
        switch search {
        case .everything: return [.search(.everything)]
        case .identifiers: return [.search(.identifiers)]
        case .changed: return [.search(mark.map { .changed(since: $0) } ?? .everything)]
        }
    }

    private func chosen(_ now: NIODeadline) -> Search {
        guard let readingBegan, let sweepBegan, now < readingBegan + settings.readingInterval, seen != nil else { return .everything }
        return now < sweepBegan + settings.sweepInterval ? .changed : .identifiers
    }

    /// By its own clock the server is not behind the latest change that it has told of, nor behind what that clock must show after the time that has passed since.
    /// So a directory in which nothing happens is not asked for the same entries for ever.
    private mutating func note(_ latest: Int64?, _ now: NIODeadline) {
        switch settings.mark {
        case .modifyTimestamp:
            let found = latest.map { $0 - Self.milliseconds(now - began) }
            let known: Int64? = if case .time(let time, let moment) = seen { time + Self.milliseconds(began - moment) } else { nil }
            seen = [found, known].compactMap(\.self).max().map { .time($0, at: began) }
        case .updateSequenceNumber:
            let before: Int64? = if case .numbers(let highest, _) = seen { highest } else { nil }
            seen = [latest, before].compactMap(\.self).max().map { .numbers(highest: $0, complete: before) }
        }
    }

    private var mark: ChangeMark? {
        switch seen {
        case .time(let time, _): .modifyTimestamp(time - Self.milliseconds(settings.overlap))
        case .numbers(_, let complete?): .updateSequenceNumber(complete + 1)
        case .numbers(_, nil), nil: nil
        }
    }

    private static func milliseconds(_ amount: TimeAmount) -> Int64 { amount.nanoseconds / 1_000_000 }
}
