import Logging
import MartletXMPP
import NIOCore
import NIOConcurrencyHelpers

/// The ports on which clients connect, from start to stop.
package final class ClientListenerService: Sendable {
    private let pool: LoopPool
    private let listeners: [ClientListener]
    private let service: ClientService
    // Start and stop only.
    private let sockets = NIOLockedValueBox<[any Channel]>([])

    package init(_ configurations: [ListenerConfiguration], _ service: ClientService, on pool: LoopPool) {
        self.pool = pool
        self.service = service
        listeners = configurations.map { ClientListener($0, service) }
    }

    /// Opens every port, or none.
    ///
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    package func start() async throws(ListenerError) {
        for listener in listeners {
            for address in listener.configuration.addresses {
                do throws(ListenerError) {
                    let socket = try await open(listener, address)
                    sockets.withLockedValue { $0.append(socket) }
                    service.log.info(
                        "listening",
                        metadata: ["address": "\(address)", "port": "\(socket.localAddress?.port ?? 0)", "kind": "\(listener.configuration.kind)"])
                } catch {
                    await stopAccepting()
                    throw error
                }
            }
        }
    }

    private func open(_ listener: ClientListener, _ address: String) async throws(ListenerError) -> any Channel {
        let pool = pool
        let log = service.log
        let fault: @Sendable (any Error) -> Void = {
            log.warning("connections cannot be accepted", metadata: ["address": "\(address)", "port": "\(listener.configuration.port)", "error": "\($0)"])
        }
        return try await ListeningSocket.open(address, listener.configuration.port, service.settings, on: pool.group, fault: fault) { channel in
            channel.eventLoop.makeCompletedFuture { try ClientConnection.install(on: channel, listener, pool.loop(of: channel.eventLoop)) }
        }
    }

    /// The ports that are open, in the order of configuration: for tests, which let the system choose.
    package var ports: [Int] { sockets.withLockedValue { $0.compactMap { $0.localAddress?.port } } }

    /// Stops accepting, tells every client `<system-shutdown/>`, and waits for their ends of the streams; not longer than the settings say.
    package func stop() async {
        await stopAccepting()
        let error = StreamError(.systemShutdown)
        let ended = pool.loops.map { $0.endAll(error, within: service.settings.stopDeadline) }
        for future in ended { _ = try? await future.get() }
    }

    private func stopAccepting() async {
        let open = sockets.withLockedValue { sockets in
            defer { sockets = [] }
            return sockets
        }
        for socket in open { try? await socket.close() }
    }
}
