import NIOConcurrencyHelpers

/// Who may connect at all: connections per address, and connections of all addresses that have not logged in, with the memory that
/// strangers make us use. Shared by all loops; asked once per connection, and before log-in when an element is not complete at the
/// end of a read.
package final class Admission: Sendable {
    package struct Limits: Hashable, Sendable {
        /// Connections of one address (/32, /64).
        package var connectionsPerAddressMax = 1_000
        /// Connections that have not logged in.
        package var unauthenticatedMax = 4_096
        /// Bytes of memory for them: ``Admission/connectionBytes`` each, and what they sent and was not taken yet.
        package var unauthenticatedBytesMax = 192 << 20
        /// Of these, bytes for bodies of HTTP requests that are not complete: who fills it up keeps nobody else from connecting.
        package var bodyBytesMax: Int { unauthenticatedBytesMax / 4 }
        package init() {}
    }

    /// What a connection that has not logged in counts at least: about 24 KiB with TLS, and room for a record of TLS, or the hello of a
    /// client, that is not complete. `scripts/memory-before-login` measures it.
    package static let connectionBytes = 40 << 10

    package enum Refusal: Hashable, Sendable { case tooManyOfAddress, tooManyUnauthenticated, tooManyUnauthenticatedBytes }

    private struct State {
        var limits: Limits
        var perNetwork: [NetworkAddress: Int] = [:]
        var unauthenticated = 0
        /// Held beyond ``Admission/connectionBytes``.
        var unauthenticatedBytes = 0
        /// Of these, those of bodies.
        var bodyBytes = 0

        func hasRoom(for bytes: Int) -> Bool {
            unauthenticated * Admission.connectionBytes + unauthenticatedBytes + bytes <= limits.unauthenticatedBytesMax
        }
    }

    // Loops accept side by side; held for a dictionary's look-up, never on a stanza's path.
    private let state: NIOLockedValueBox<State>

    package init(_ limits: Limits = Limits()) { state = NIOLockedValueBox(State(limits: limits)) }

    /// Puts other limits in force, for connections that come from now on.
    package func apply(_ limits: Limits) { state.withLockedValue { $0.limits = limits } }

    package var connectionCount: Int { state.withLockedValue { $0.perNetwork.values.reduce(0, +) } }
    package var unauthenticatedCount: Int { state.withLockedValue { $0.unauthenticated } }
    package var unauthenticatedBytes: Int {
        state.withLockedValue { $0.unauthenticated * Self.connectionBytes + $0.unauthenticatedBytes }
    }

    /// Counts a new connection that has not logged in. Its address may not be known yet (PROXY).
    package func admit() -> Refusal? {
        state.withLockedValue { state in
            guard state.unauthenticated < state.limits.unauthenticatedMax else { return .tooManyUnauthenticated }
            guard state.hasRoom(for: Self.connectionBytes) else { return .tooManyUnauthenticatedBytes }
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

    /// A connection that has not logged in holds other bytes than before. More are counted only if there is room for them.
    package func hold(_ bytes: Int, insteadOf before: Int) -> Refusal? {
        state.withLockedValue { state in
            guard bytes <= before || state.hasRoom(for: bytes - before) else { return .tooManyUnauthenticatedBytes }
            state.unauthenticatedBytes += bytes - before
            return nil
        }
    }

    /// The same of the body of a request.
    package func holdBody(_ bytes: Int, insteadOf before: Int) -> Refusal? {
        state.withLockedValue { state in
            let more = bytes - before
            guard more <= 0 || (state.hasRoom(for: more) && state.bodyBytes + more <= state.limits.bodyBytesMax) else { return .tooManyUnauthenticatedBytes }
            state.unauthenticatedBytes += more
            state.bodyBytes += more
            return nil
        }
    }

    /// A connection logged in, or went without having.
    ///
    /// - Parameters:
    ///   - bytes: what it held last.
    ///   - bodyBytes: what it held last of a body, besides.
    package func leaveUnauthenticated(holding bytes: Int = 0, bodyBytes: Int = 0) {
        state.withLockedValue { state in
            state.unauthenticated -= 1
            state.unauthenticatedBytes -= bytes + bodyBytes
            state.bodyBytes -= bodyBytes
        }
    }

    /// A connection of that address went.
    package func leave(_ address: NetworkAddress) {
        state.withLockedValue { state in
            guard let count = state.perNetwork[address.network] else { return }
            state.perNetwork[address.network] = count > 1 ? count - 1 : nil
        }
    }
}

/// What one client is counted as, from accept to its end.
struct ConnectionCount {
    private(set) var isUnauthenticated = false
    /// What is counted as waiting here before log-in.
    private var bytes = 0
    /// The same of a request's body, besides.
    private var bodyBytes = 0
    private var address: NetworkAddress?

    /// A new connection, which has not logged in.
    mutating func admit(_ admission: Admission) -> Admission.Refusal? {
        if let refusal = admission.admit() { return refusal }
        isUnauthenticated = true
        return nil
    }

    /// Its address is known.
    mutating func admit(_ address: NetworkAddress, _ admission: Admission) -> Admission.Refusal? {
        if let refusal = admission.admit(address) { return refusal }
        self.address = address
        return nil
    }

    /// So many bytes are held for it. Nothing is counted once it has logged in.
    mutating func hold(_ bytes: Int, _ admission: Admission) -> Admission.Refusal? {
        guard isUnauthenticated, bytes != self.bytes else { return nil }
        if let refusal = admission.hold(bytes, insteadOf: self.bytes) { return refusal }
        self.bytes = bytes
        return nil
    }

    /// So many bytes of a request's body are held for it.
    mutating func holdBody(_ bytes: Int, _ admission: Admission) -> Admission.Refusal? {
        guard isUnauthenticated, bytes != bodyBytes else { return nil }
        if let refusal = admission.holdBody(bytes, insteadOf: bodyBytes) { return refusal }
        bodyBytes = bytes
        return nil
    }

    /// It has logged in.
    mutating func leaveUnauthenticated(_ admission: Admission) {
        if isUnauthenticated { admission.leaveUnauthenticated(holding: bytes, bodyBytes: bodyBytes) }
        isUnauthenticated = false
        (bytes, bodyBytes) = (0, 0)
    }

    /// It is gone.
    mutating func leave(_ admission: Admission) {
        leaveUnauthenticated(admission)
        if let address { admission.leave(address) }
        address = nil
    }
}
