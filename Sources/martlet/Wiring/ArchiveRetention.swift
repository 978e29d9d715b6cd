package import NIOCore

/// When archives forget by age (`archive.retention`). Time is a parameter.
///
/// What is forgotten does not come back, and the age of messages is told by the machine's clock. A clock that has just jumped is not
/// believed: between two looks it has to have gone on as far as the clock that only counts.
package struct ArchiveRetention: Sendable {
    /// How far, in milliseconds, the two clocks may be apart after the time between two looks.
    package static let clockSlack: Int64 = 3_600_000

    private var last: (wall: Int64, monotonic: NIODeadline)?

    package init() {}

    /// Looks at the clocks: whether something may be forgotten now. Not at the first look, and not after a jump.
    ///
    /// - Parameter wall: milliseconds since 1970.
    package mutating func isClockBelieved(wall: Int64, monotonic: NIODeadline) -> Bool {
        defer { last = (wall, monotonic) }
        guard let last else { return false }
        let counted = (monotonic - last.monotonic).nanoseconds / 1_000_000
        return ((wall - last.wall) - counted).magnitude <= UInt64(Self.clockSlack)
    }

    /// Up to which name archives forget now; `nil` if nothing is to be forgotten.
    ///
    /// - Parameters:
    ///   - retention: zero is for ever.
    ///   - wall: milliseconds since 1970.
    /// - Returns: the last name that a message of before that time can have; names go ahead of the clock at times, and then a message stays the longer.
    package static func floor(keeping retention: Duration, wall: Int64) -> UInt64? {
        guard retention > .zero else { return nil }
        let first = wall - retention.components.seconds * 1000
        return first > 0 ? (UInt64(first) << 20) - 1 : nil
    }
}
