import NIOConcurrencyHelpers

/// Who may connect at all: connections per address, and connections of all addresses that have not logged in, which bounds the memory
/// that strangers can make us use. Shared by all loops; asked once per connection.
package final class Admission: Sendable {
    package struct Limits: Hashable, Sendable {
        /// Connections of one address (/32, /64).
        package var connectionsPerAddressMax = 1_000
        /// Connections that have not logged in.
        package var unauthenticatedMax = 4_096
        package init() {}
    }

    package enum Refusal: Hashable, Sendable { case tooManyOfAddress, tooManyUnauthenticated }

    private struct State {
        var limits: Limits
        var perNetwork: [NetworkAddress: Int] = [:]
        var unauthenticated = 0
    }

    // Loops accept side by side; held for a dictionary's look-up, never on a stanza's path.
    private let state: NIOLockedValueBox<State>

    package init(_ limits: Limits = Limits()) { state = NIOLockedValueBox(State(limits: limits)) }

    /// Puts other limits in force, for connections that come from now on.
    package func apply(_ limits: Limits) { state.withLockedValue { $0.limits = limits } }

    package var connectionCount: Int { state.withLockedValue { $0.perNetwork.values.reduce(0, +) } }
    package var unauthenticatedCount: Int { state.withLockedValue { $0.unauthenticated } }

    /// Counts a new connection that has not logged in. Its address may not be known yet (PROXY).
    package func admit() -> Refusal? {
        state.withLockedValue { state in
            guard state.unauthenticated < state.limits.unauthenticatedMax else { return .tooManyUnauthenticated }
            state.unauthenticated += 1
            return nil
        }
    }

    /// Counts the connection for its address.
    package func admit(_ address: NetworkAddress) -> Refusal? {
        state.withLockedValue { state in
            let count = state.perNetwork[address.network, default: 0]
            guard count < state.limits.connectionsPerAddressMax else { return .tooManyOfAddress }
            state.perNetwork[address.network] = count + 1
            return nil
        }
    }

    /// A connection logged in, or went without having.
    package func leaveUnauthenticated() {
        state.withLockedValue { $0.unauthenticated -= 1 }
    }

    /// A connection of that address went.
    package func leave(_ address: NetworkAddress) {
        state.withLockedValue { state in
            guard let count = state.perNetwork[address.network] else { return }
            state.perNetwork[address.network] = count > 1 ? count - 1 : nil
        }
    }
}
