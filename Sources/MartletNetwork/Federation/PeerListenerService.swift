import Logging
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// The ports on which other servers connect, from start to stop.
package final class PeerListenerService: Sendable {
    private let service: FederationService
    private let configurations: [ListenerConfiguration]
    private let pool: LoopPool
    // Start and stop only.
    private let sockets = NIOLockedValueBox<[any Channel]>([])

    package init(_ configurations: [ListenerConfiguration], _ service: FederationService, on pool: LoopPool) {
        self.service = service
        self.configurations = configurations.filter(\.kind.isForServers)
        self.pool = pool
    }

    /// Opens every port, or none.
    ///
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start() async throws(ListenerError) {
        for configuration in configurations {
            for address in configuration.addresses {
                do throws(ListenerError) {
                    let socket = try await open(configuration, address)
                    sockets.withLockedValue { $0.append(socket) }
                    service.log.info(
                        "listening", metadata: ["address": "\(address)", "port": "\(socket.localAddress?.port ?? 0)", "kind": "\(configuration.kind)"])
                } catch {
                    if ListenerError.isMissingFamily(error, configuration) { continue }
                    await stopAccepting()
                    throw error
                }
            }
        }
    }

    private func open(_ configuration: ListenerConfiguration, _ address: String) async throws(ListenerError) -> any Channel {
        let (pool, service) = (pool, service)
        let fault: @Sendable (any Error) -> Void = {
            service.log.error(
                "connections cannot be accepted",
                metadata: ["address": "\(address)", "port": "\(configuration.port)", "error": "\(ListenerError.advice(about: $0) ?? "\($0)")"])
        }
        return try await ListeningSocket.open(address, configuration.port, service.network, on: pool.group, fault: fault) { channel in
            channel.eventLoop.makeCompletedFuture {
                try ListeningSocket.setUserTimeout(service.network.tcpUserTimeout, on: channel)
                let begins: IncomingPeerConnection.TLSStart = configuration.kind == .serverTLS ? .atOnce : .inStream
                let connection = IncomingPeerConnection(service, pool.loop(of: channel.eventLoop), begins: begins)
                try channel.pipeline.syncOperations.addHandler(connection)
            }
        }
    }

    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.withLockedValue { $0.compactMap { $0.localAddress?.port } } }

    /// Takes no new connections.
    package func stopAccepting() async {
        let open = sockets.withLockedValue { sockets in
            defer { sockets = [] }
            return sockets
        }
        for socket in open { try? await socket.close() }
    }
}
