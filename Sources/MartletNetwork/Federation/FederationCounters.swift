import Synchronization

/// What has passed between this server and others since the start.
package final class FederationCounters: Sendable {
    private let receivedStanzas = Atomic<Int>(0)
    private let sentStanzas = Atomic<Int>(0)
    private let failedCalls = Atomic<Int>(0)

    package init() {}

    func received() { receivedStanzas.wrappingAdd(1, ordering: .relaxed) }
    func sent() { sentStanzas.wrappingAdd(1, ordering: .relaxed) }
    func failed() { failedCalls.wrappingAdd(1, ordering: .relaxed) }

    package var receivedCount: Int { receivedStanzas.load(ordering: .relaxed) }
    package var sentCount: Int { sentStanzas.load(ordering: .relaxed) }
    package var failedCallCount: Int { failedCalls.load(ordering: .relaxed) }
}
