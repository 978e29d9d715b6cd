package import MartletCore
import NIOCore

/// The ports on which components connect, from start to stop.
package final class ComponentListenerService: Sendable {
    private let service: ComponentService
    private let configurations: [ListenerConfiguration]
    private let pool: LoopPool
    private let sockets: ListeningPorts

    package init(_ configurations: [ListenerConfiguration], _ service: ComponentService, on pool: LoopPool) {
        self.service = service
        self.configurations = configurations.filter(\.kind.isForComponents)
        self.pool = pool
        sockets = ListeningPorts(log: service.log)
    }

    /// Puts other settings in force for connections that come from now on. Ports stay.
    package func apply(_ settings: NetworkSettings) { service.apply(settings) }

    package var registry: ComponentRegistry { service.registry }
    /// Whether there is a port at all.
    package var isOpen: Bool { sockets.isOpen }
    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.numbers }

    /// Opens every port, or none.
    ///
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start() async throws(ListenerError) {
        let (pool, service, settings, configurations) = (pool, service, service.settings, configurations)
        let ports = configurations.map { configuration in
            var port = ListeningPorts.Port(configuration)
            // They are on this machine unless the operator says otherwise.
            port.mayMissLoopback = true
            return port
        }
        try await sockets.open(ports, settings, on: pool.group) { index, channel in
            try ListeningSocket.setUserTimeout(settings.tcpUserTimeout, on: channel)
            try channel.pipeline.syncOperations.addHandler(ComponentConnection(service, pool.loop(of: channel.eventLoop), configurations[index]))
        }
    }

    /// Takes no new connections.
    package func stopAccepting() async { await sockets.close() }
}
