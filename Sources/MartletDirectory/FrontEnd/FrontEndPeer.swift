package import MartletCore
package import MartletLDAP
package import NIOCore

/// Where a directory client comes from, and where to.
package struct FrontEndPeer: Hashable, Sendable {
    package var address: SocketAddress?
    package var listener: LDAPFrontEnd.Listener

    package init(_ address: SocketAddress? = nil, at listener: LDAPFrontEnd.Listener = .init(.plain, host: "", port: 0)) {
        self.address = address
        self.listener = listener
    }
}

/// What has come of a bind that the directory behind was asked for.
package enum FrontEndBind: Hashable, Sendable {
    case bound(PresenceViewer, mechanism: String)
    /// - Parameter name: that the client has given; empty where a mechanism tells it.
    case refused(name: String, mechanism: String, LDAPResultCode)
}

/// Who counts binds that fail, and writes down who has bound. Asked on event loops: memory only.
package struct BindWatch: Sendable {
    /// How long a client that has just come is not read.
    package var delay: @Sendable (FrontEndPeer) -> TimeAmount
    /// - Returns: how long the client is not read after that.
    package var heard: @Sendable (FrontEndBind, FrontEndPeer) -> TimeAmount

    package init(
        delay: @escaping @Sendable (FrontEndPeer) -> TimeAmount, heard: @escaping @Sendable (FrontEndBind, FrontEndPeer) -> TimeAmount
    ) {
        self.delay = delay
        self.heard = heard
    }

    /// For a front end that nobody watches.
    package static let nobody = BindWatch(delay: { _ in .zero }, heard: { _, _ in .zero })
}
