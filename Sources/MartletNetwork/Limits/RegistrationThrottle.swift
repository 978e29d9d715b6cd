package import NIOCore

/// Bounds how often those who have no account ask for one: by network, and all together. Pure: time is a parameter.
///
/// Unlike a log-in, which is only made to wait, what goes beyond is refused: whoever registers can come back in an hour.
package struct RegistrationThrottle: Sendable {
    package struct Settings: Hashable, Sendable {
        /// Requests of one network (/32, /64) in an hour: so many at once, and then as they are forgotten one by one. Asking for the form does
        /// not count, being refused does.
        package var perNetworkMax = 20
        /// The same of all networks together.
        package var totalMax = 500
        /// Networks that are remembered at a time.
        package var entriesMax = 65_536
        package init() {}
    }

    private var networks: BucketTable<NetworkAddress>
    private var total: BucketTable<Bool>

    package init(_ settings: Settings = Settings()) {
        networks = Self.table(settings.perNetworkMax, settings.entriesMax)
        total = Self.table(settings.totalMax, 2)
    }

    private static func table<Key>(_ perHour: Int, _ entriesMax: Int) -> BucketTable<Key> {
        let count = Int64(max(perHour, 1))
        return BucketTable(perHour, .nanoseconds(TimeAmount.hours(1).nanoseconds / count), .zero, entriesMax)
    }

    /// Whether a request of `address` is taken.
    package mutating func take(_ address: NetworkAddress?, at now: NIODeadline) -> Bool {
        if let address, !networks.takeIfAny(address.network, at: now) { return false }
        return total.takeIfAny(true, at: now)
    }
}
