package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// How connections of clients are treated. Every bound of this module that is not a protocol's own is here.
package struct NetworkSettings: Sendable {
    /// From accept to a bound session. Nothing that the client sends makes it longer.
    package var loginDeadline = TimeAmount.seconds(30)
    /// Silence after which the client is pinged (XEP-0199); `nil`: never.
    package var pingAfter: TimeAmount? = .seconds(300)
    /// Silence after the ping until the connection is taken for dead.
    package var pingTimeout = TimeAmount.seconds(30)
    /// From our end of the stream to the client's, after which the connection closes anyway (RFC 6120 §4.4).
    package var closingDeadline = TimeAmount.seconds(5)
    /// How long sent data may stay unacknowledged by the peer's TCP (RFC 5482); `nil`: as the system has it.
    package var tcpUserTimeout: TimeAmount? = .seconds(60)
    /// Connections that wait to be accepted, per listening socket; the system may have a lower bound (`net.core.somaxconn`).
    package var backlog = 4_096
    /// Bytes read at a time, see ``ReceiveBuffers``.
    package var receiveBytes = 4_096
    /// Stanzas of one connection that are taken before the others of the loop have their turn.
    package var stanzasPerTurnMax = 32
    /// What one connection may send in the long run; `nil`: as fast as the loop takes it. Past ``bytesBurst`` it is read more slowly, never refused.
    package var bytesPerSecond: Int?
    /// What one connection may send at once.
    package var bytesBurst = 1 << 20
    /// TLS handshakes that are begun in one turn of a loop: about 0.3 ms of its time each.
    package var handshakesPerTurnMax = 4
    /// Longest wait for the clients' ends of their streams when the server stops.
    package var stopDeadline = TimeAmount.seconds(10)
    /// With ``Admission/Limits/unauthenticatedMax`` this bounds the memory that strangers can make us use.
    package var limitsBeforeAuthentication = XMLLimits.unauthenticated
    package var limits = XMLLimits.authenticated
    /// Without ``ClientStreamPolicy/allowsPlaintext``, which is the listener's.
    package var policy = ClientStreamPolicy()
    package var admission = Admission.Limits()
    package var throttle = LoginThrottle.Settings()
    /// Of the tokens by which clients log in (XEP-0484); `nil`: there are none.
    package var tokens: DeviceTokens.Settings? = DeviceTokens.Settings()
    package var registrations = RegistrationThrottle.Settings()
    /// What ``loginDeadline`` becomes, once, for a client that has been given a form to fill in (XEP-0077).
    package var registrationDeadline = TimeAmount.seconds(300)
    package var web = WebSettings()
    package var bosh = BOSHSettings()

    package init() {}
}
