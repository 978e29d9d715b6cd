package import NIOCore

/// What domains said lately about the certificates of their servers, also that they said nothing. Pure: the time is given.
package struct POSHMemory: Sendable {
    /// Most domains that are remembered. Then those are forgotten that would be soonest.
    package static let domainsMax = 1_000
    /// Shortest and longest time for which what a domain says is believed, whatever it says about that.
    package static let lifetimes = TimeAmount.minutes(1)...TimeAmount.hours(7 * 24)
    /// For how long a domain that says nothing, or cannot be asked, is not asked again.
    package static let silenceLifetime = TimeAmount.minutes(5)

    private struct Entry {
        var fingerprints: Set<[UInt8]>
        var until: NIODeadline
    }
    private var entries: [String: Entry] = [:]
    package var count: Int { entries.count }

    package init() {}

    /// Empty if the domain said nothing; `nil` if it has to be asked.
    package func fingerprints(of domain: String, _ now: NIODeadline) -> Set<[UInt8]>? {
        entries[domain].flatMap { now < $0.until ? $0.fingerprints : nil }
    }

    /// - Parameter expires: seconds, as the domain says; `nil` if it says nothing.
    package mutating func remember(_ fingerprints: Set<[UInt8]>, of domain: String, expires: Int?, _ now: NIODeadline) {
        if entries[domain] == nil { makeRoom(now) }
        entries[domain] = Entry(fingerprints: fingerprints, until: now + Self.lifetime(expires))
    }

    private static func lifetime(_ expires: Int?) -> TimeAmount {
        guard let expires else { return silenceLifetime }
        let most = lifetimes.upperBound.nanoseconds / 1_000_000_000
        return max(lifetimes.lowerBound, .seconds(min(Int64(expires), most)))
    }

    private mutating func makeRoom(_ now: NIODeadline) {
        guard entries.count >= Self.domainsMax else { return }
        entries = entries.filter { now < $0.value.until }
        guard entries.count >= Self.domainsMax, let next = entries.min(by: { $0.value.until < $1.value.until }) else { return }
        entries[next.key] = nil
    }
}
