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

    /// Up to which name archives forget now; `nil` if nothing is to be forgotten, at the first look, and after a jump.
    ///
    /// - Parameters:
    ///   - retention: zero is for ever.
    ///   - wall: milliseconds since 1970.
    package mutating func floor(keeping retention: Duration, wall: Int64, monotonic: NIODeadline) -> UInt64? {
        defer { last = (wall, monotonic) }
        guard let last else { return nil }
        let counted = (monotonic - last.monotonic).nanoseconds / 1_000_000
        guard ((wall - last.wall) - counted).magnitude <= UInt64(Self.clockSlack) else { return nil }
        return Self.floor(keeping: retention, wall: wall)
    }

    /// The last name that a message of before that time can have; names go ahead of the clock at times, and then a message stays the longer.
    package static func floor(keeping retention: Duration, wall: Int64) -> UInt64? {
        guard retention > .zero else { return nil }
        let first = wall - retention.components.seconds * 1000
        return first > 0 ? (UInt64(first) << 20) - 1 : nil
    }
}
