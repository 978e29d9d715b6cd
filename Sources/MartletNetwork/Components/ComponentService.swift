package import Logging
package import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// What the connections of components share (XEP-0114).
package final class ComponentService: Sendable {
    /// How connections of components are treated. Those of clients have bounds of their own, so that neither is in the way of the other.
    package struct Limits: Hashable, Sendable {
        /// Connections that have not proved who they are.
        package var unauthenticatedMax = 64
        /// Stanzas of one connection that are taken before the others of the loop have their turn.
        package var stanzasPerTurnMax = 32
        package init() {}
    }

    let registry: ComponentRegistry
    let router: Router
    let certificates: CertificateStore
    let limits: Limits
    let log: Logger
    let admission: Admission
    // Read once per connection, swapped by a reload.
    private let current: NIOLockedValueBox<NetworkSettings>
    // Once per handshake.
    private let throttle: NIOLockedValueBox<LoginThrottle>

    package init(
        _ registry: ComponentRegistry, router: Router, certificates: CertificateStore, settings: NetworkSettings = NetworkSettings(),
        limits: Limits = Limits(), log: Logger
    ) {
        self.registry = registry
        self.router = router
        self.certificates = certificates
        self.limits = limits
        self.log = log
        current = NIOLockedValueBox(settings)
        throttle = NIOLockedValueBox(LoginThrottle(settings.throttle))
        var admitted = Admission.Limits()
        admitted.unauthenticatedMax = limits.unauthenticatedMax
        admission = Admission(admitted)
    }

    package var settings: NetworkSettings { current.withLockedValue { $0 } }

    /// Puts other settings in force, for connections that come from now on.
    package func apply(_ settings: NetworkSettings) { current.withLockedValue { $0 = settings } }

    /// How long the answer to a handshake has to wait: secrets are guessed as slowly as passwords.
    func beginLogin(_ address: NetworkAddress?, _ component: BareJID, at now: NIODeadline) -> TimeAmount {
        throttle.withLockedValue { $0.begin(address, component, at: now) }
    }

    func excuseLogin(_ address: NetworkAddress?, _ component: BareJID, at now: NIODeadline) {
        throttle.withLockedValue { $0.succeed(address, component, at: now) }
    }
}
