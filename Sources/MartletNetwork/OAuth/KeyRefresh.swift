package import NIOCore

/// When the keys of an issuer are fetched, and for how long they may be used. Pure: the moment is a parameter.
package struct KeyRefresh: Hashable, Sendable {
    /// Keys that are older than this are fetched anew, by nobody's log-in.
    package static let refreshedAfter = TimeAmount.minutes(10)
    /// Keys are used for so long while the issuer cannot be reached, and not longer: it may have withdrawn one.
    package static let usableFor = TimeAmount.hours(24)
    /// From one fetch to the next that a token asks for: anybody can name a key that does not exist.
    package static let askedAgainAfter = TimeAmount.seconds(30)
    /// The same while nothing has been fetched yet.
    package static let triedAgainAfter = TimeAmount.seconds(5)

    private var fetched: NIODeadline?
    private var tried: NIODeadline?
    private var hasFailed = false

    package init() {}

    /// Whether keys may be used that were fetched last.
    package func isUsable(_ now: NIODeadline) -> Bool { fetched.map { now < $0 + Self.usableFor } ?? false }

    /// Whether it is time to fetch, without anybody asking for it.
    package func isDue(_ now: NIODeadline) -> Bool {
        guard let fetched else { return mayTry(now) }
        return now >= fetched + Self.refreshedAfter && mayTry(now)
    }

    /// Whether a token that names a key which is not known may have the keys fetched.
    package func mayTry(_ now: NIODeadline) -> Bool { tried.map { now >= $0 + (fetched == nil ? Self.triedAgainAfter : Self.askedAgainAfter) } ?? true }

    /// Whether the last fetch has brought something: then a key that is not there does not exist.
    package var isCurrent: Bool { fetched != nil && !hasFailed }

    package mutating func begin(_ now: NIODeadline) { tried = now }

    package mutating func end(_ now: NIODeadline, succeeded: Bool) {
        hasFailed = !succeeded
        if succeeded { fetched = now }
    }
}
