import MartletXMPP
import Synchronization

/// What has passed between this server and others since the start.
package final class FederationCounters: Sendable {
    private let receivedStanzas = Atomic<Int>(0)
    private let sentStanzas = Atomic<Int>(0)
    private let failedCalls = Atomic<Int>(0)
    private let confirmedKeys = Atomic<Int>(0)
    private let rejectedKeys = Atomic<Int>(0)
    private let unverifiedKeys = Atomic<Int>(0)
    private let revokedCertificates = Atomic<Int>(0)
    private let uncheckedCertificates = Atomic<Int>(0)

    package init() {}

    func received() { receivedStanzas.wrappingAdd(1, ordering: .relaxed) }
    func sent() { sentStanzas.wrappingAdd(1, ordering: .relaxed) }
    func sawRevoked() { revokedCertificates.wrappingAdd(1, ordering: .relaxed) }
    func sawUnknown() { uncheckedCertificates.wrappingAdd(1, ordering: .relaxed) }
    func failed() { failedCalls.wrappingAdd(1, ordering: .relaxed) }

    /// A dialback key that another server has shown was asked about.
    func verified(_ outcome: DialbackElement.Outcome) {
        switch outcome {
        case .valid: confirmedKeys.wrappingAdd(1, ordering: .relaxed)
        case .invalid: rejectedKeys.wrappingAdd(1, ordering: .relaxed)
        case .error: unverifiedKeys.wrappingAdd(1, ordering: .relaxed)
        }
    }

    package var receivedCount: Int { receivedStanzas.load(ordering: .relaxed) }
    package var sentCount: Int { sentStanzas.load(ordering: .relaxed) }
    package var failedCallCount: Int { failedCalls.load(ordering: .relaxed) }
    /// Certificates of other servers that were revoked, and about which that could not be found out although somebody should know.
    package var revokedCertificateCount: Int { revokedCertificates.load(ordering: .relaxed) }
    package var uncheckedCertificateCount: Int { uncheckedCertificates.load(ordering: .relaxed) }
    /// Dialback keys that their domain has confirmed, that it has denied, and about which nobody could be asked.
    package var confirmedKeyCount: Int { confirmedKeys.load(ordering: .relaxed) }
    package var rejectedKeyCount: Int { rejectedKeys.load(ordering: .relaxed) }
    package var unverifiedKeyCount: Int { unverifiedKeys.load(ordering: .relaxed) }
}
