import Logging
package import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// The ports on which components connect, from start to stop.
package final class ComponentListenerService: Sendable {
    private let service: ComponentService
    private let configurations: [ListenerConfiguration]
    private let pool: LoopPool
    // Start and stop only.
    private let sockets = NIOLockedValueBox<[any Channel]>([])

    package init(_ configurations: [ListenerConfiguration], _ service: ComponentService, on pool: LoopPool) {
        self.service = service
        self.configurations = configurations.filter(\.kind.isForComponents)
        self.pool = pool
    }

    /// Puts other settings in force for connections that come from now on. Ports stay.
    package func apply(_ settings: NetworkSettings) { service.apply(settings) }

    package var registry: ComponentRegistry { service.registry }
    /// Whether there is a port at all.
    package var isOpen: Bool { sockets.withLockedValue { !$0.isEmpty } }

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
                    // A machine without IPv6 has no loopback of it either.
                    if ListenerError.isMissingFamily(error, configuration) || Self.isMissingLoopback(error, configuration) { continue }
                    await stopAccepting()
                    throw error
                }
            }
        }
    }

    private static func isMissingLoopback(_ error: ListenerError, _ configuration: ListenerConfiguration) -> Bool {
        error.address == "::1" && error.reason == .noSuchAddress && configuration.addresses.count > 1
    }

    private func open(_ configuration: ListenerConfiguration, _ address: String) async throws(ListenerError) -> any Channel {
        let (pool, service, settings) = (pool, service, service.settings)
        let fault: @Sendable (any Error) -> Void = {
            service.log.error(
                "connections cannot be accepted",
                metadata: ["address": "\(address)", "port": "\(configuration.port)", "error": "\(ListenerError.advice(about: $0) ?? "\($0)")"])
        }
        return try await ListeningSocket.open(address, configuration.port, settings, on: pool.group, fault: fault) { channel in
            channel.eventLoop.makeCompletedFuture {
                try ListeningSocket.setUserTimeout(settings.tcpUserTimeout, on: channel)
                let connection = ComponentConnection(service, pool.loop(of: channel.eventLoop), configuration)
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
