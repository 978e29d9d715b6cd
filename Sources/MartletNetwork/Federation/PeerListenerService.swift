import NIOCore

/// The ports on which other servers connect, from start to stop.
package final class PeerListenerService: Sendable {
    private let service: FederationService
    private let configurations: [ListenerConfiguration]
    private let pool: LoopPool
    private let sockets: ListeningPorts

    package init(_ configurations: [ListenerConfiguration], _ service: FederationService, on pool: LoopPool) {
        self.service = service
        self.configurations = configurations.filter(\.kind.isForServers)
        self.pool = pool
        sockets = ListeningPorts(log: service.log)
    }

    /// Opens every port, or none.
    ///
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start() async throws(ListenerError) {
        let (pool, service, configurations) = (pool, service, configurations)
        try await sockets.open(configurations.map { ListeningPorts.Port($0) }, service.network, on: pool.group) { index, channel in
            try ListeningSocket.setUserTimeout(service.network.tcpUserTimeout, on: channel)
            let configuration = configurations[index]
            let begins: IncomingPeerConnection.TLSStart = configuration.kind == .serverTLS ? .atOnce : .inStream
            try channel.pipeline.syncOperations.addHandler(
                IncomingPeerConnection(service, pool.loop(of: channel.eventLoop), begins: begins, configuration.tlsProfile))
        }
    }

    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.numbers }

    /// Takes no new connections.
    package func stopAccepting() async { await sockets.close() }
}
