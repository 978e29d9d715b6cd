package import Logging
package import MartletCore
package import MartletXMPP
package import NIOCore

/// The ports on which directory clients connect, from start to stop, and what is known here of their log-ins. What they say is somebody else's business.
package final class DirectoryListenerService: Sendable {
    private let configurations: [ListenerConfiguration]
    private let clients: ClientListenerService
    private let time: any TimeSource
    private let sockets: ListeningPorts

    /// - Parameter clients: whose rules about log-ins, and counts of those that failed, hold here as well.
    package init(_ configurations: [ListenerConfiguration], beside clients: ClientListenerService, time: any TimeSource, log: Logger) {
        self.configurations = configurations.filter(\.kind.isForDirectoryClients)
        self.clients = clients
        self.time = time
        sockets = ListeningPorts(log: log)
    }

    /// Opens every port, or none.
    ///
    /// - Parameter accepted: takes a connection, on its loop; with the index of the port's configuration.
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start(
        on group: any EventLoopGroup, _ accepted: @escaping @Sendable (Int, any Channel) throws -> Void
    ) async throws(ListenerError) {
        let settings = clients.service.settings
        try await sockets.open(configurations.map { ListeningPorts.Port($0) }, settings, on: group) { index, channel in
            try ListeningSocket.setUserTimeout(settings.tcpUserTimeout, on: channel)
            try accepted(index, channel)
        }
    }

    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.numbers }

    /// Takes no new connections.
    package func stopAccepting() async { await sockets.close() }

    // MARK: Log-ins

    /// Where somebody who logs in comes from, and to which port.
    package struct Origin: Sendable {
        let sender: NetworkAddress?
        let remoteAddress: String
        let listener: ListenerConfiguration

        package init(_ address: SocketAddress?, at listener: ListenerConfiguration) {
            sender = address.flatMap { NetworkAddress($0) }
            remoteAddress = address?.ipAddress ?? ""
            self.listener = listener
        }
    }

    /// Whether a password lets somebody into an account of this server's own. Who guesses waits for the answer.
    ///
    /// - Parameters:
    ///   - account: `nil` if there can be none of that name.
    ///   - claimed: the name, as it was said.
    package func verdict(
        on password: PreparedPassword?, of account: BareJID?, claimed: String, from origin: Origin, called name: String
    ) async -> AccountVerdict {
        let login = PasswordLogin(clients.service, origin.listener, from: origin.sender, origin.remoteAddress, isProtected: true, called: name)
        let delay = login.begin(account, at: time.monotonic)
        // Nobody else waits for it; a client that goes meanwhile is forgotten when it is over.
        if delay > .zero { try? await Task.sleep(for: .nanoseconds(delay.nanoseconds)) }
        return await login.verdict(on: password, of: account, claimed: claimed, at: time)
    }

    /// How long somebody has to wait because of what others at his address have guessed.
    package func delay(of origin: Origin) -> TimeAmount { clients.service.loginDelay(origin.sender, at: time.monotonic) }

    /// A password was wrong that somebody else has looked at.
    ///
    /// - Returns: how long the one who has shown it has to wait.
    package func passwordWasWrong(from origin: Origin) -> TimeAmount { clients.service.beginLogin(origin.sender, nil, at: time.monotonic) }
}
