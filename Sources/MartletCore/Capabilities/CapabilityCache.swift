import NIOConcurrencyHelpers

/// What digests stand for that somebody has given the right answer for. One for the process; it outlives reloads.
package final class CapabilityCache: Sendable {
    /// Digests that are remembered; past it, some other gives way. Clients of one version have the same: a large federation knows hundreds. With the
    /// longest profiles (``EntityProfile/interestsMax``) they take about 120 MB, with those of ordinary clients less than 10.
    package static let keysMax = 2_000

    private let profiles = NIOLockedValueBox<[CapabilityKey: EntityProfile]>([:])

    package init() {}

    package subscript(key: CapabilityKey) -> EntityProfile? { profiles.withLockedValue { $0[key] } }

    package func keep(_ profile: EntityProfile, as key: CapabilityKey) {
        profiles.withLockedValue { profiles in
            if profiles.count >= Self.keysMax, profiles[key] == nil { profiles.remove(at: profiles.startIndex) }
            profiles[key] = profile
        }
    }

    package var count: Int { profiles.withLockedValue { $0.count } }
}
