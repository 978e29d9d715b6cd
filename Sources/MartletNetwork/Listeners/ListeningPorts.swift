import Logging
import NIOConcurrencyHelpers
import NIOCore

/// The ports of one service, from start to stop: all are open, or none.
final class ListeningPorts: Sendable {
    /// A port at some addresses.
    struct Port: Sendable {
        var number: Int
        /// IPv4 and IPv6 addresses in the usual notation.
        var addresses: [String]
        /// As the log calls it.
        var kind: String
        /// Whether a machine without IPv6 is expected to have been given `::1` as well.
        var mayMissLoopback = false

        init(_ number: Int, _ addresses: [String], kind: String) { (self.number, self.addresses, self.kind) = (number, addresses, kind) }
        init(_ configuration: ListenerConfiguration) { self.init(configuration.port, configuration.addresses, kind: "\(configuration.kind)") }

        /// IPv6 beside something else, on a machine without: that is no reason not to serve the others.
        func canDoWithout(_ error: ListenerError) -> Bool {
            error.reason == .noSuchAddress && addresses.count > 1 && (error.address == "::" || mayMissLoopback && error.address == "::1")
        }
    }

    private let log: Logger
    // Start and stop only.
    private let sockets = NIOLockedValueBox<[any Channel]>([])

    init(log: Logger) { self.log = log }

    /// - Parameters:
    ///   - settings: of the sockets.
    ///   - accepted: makes of a connection what it is to be, on its loop; with the index of the port at which it came. What it throws closes it.
    /// - Throws: ``ListenerError`` about the first that cannot be opened.
    func open(
        _ ports: [Port], _ settings: NetworkSettings, on group: any EventLoopGroup,
        _ accepted: @escaping @Sendable (Int, any Channel) throws -> Void
    ) async throws(ListenerError) {
        for (index, port) in ports.enumerated() {
            for address in port.addresses {
                do throws(ListenerError) {
                    let socket = try await ListeningSocket.open(address, port.number, settings, on: group, fault: fault(port, address)) { channel in
                        channel.eventLoop.makeCompletedFuture { try accepted(index, channel) }
                    }
                    sockets.withLockedValue { $0.append(socket) }
                    log.info("listening", metadata: ["address": "\(address)", "port": "\(socket.localAddress?.port ?? 0)", "kind": "\(port.kind)"])
                } catch {
                    guard port.canDoWithout(error) else {
                        await close()
                        throw error
                    }
                    log.warning("this machine has no IPv6", metadata: ["address": "\(address)", "port": "\(error.port)"])
                }
            }
        }
    }

    private func fault(_ port: Port, _ address: String) -> @Sendable (any Error) -> Void {
        { [log] error in
            log.error(
                "connections cannot be accepted",
                metadata: ["address": "\(address)", "port": "\(port.number)", "error": "\(ListenerError.advice(about: error) ?? "\(error)")"])
        }
    }

    var isOpen: Bool { sockets.withLockedValue { !$0.isEmpty } }

    /// Those that are open, in the order in which they were asked for: for tests, which let the system choose.
    var numbers: [Int] { sockets.withLockedValue { $0.compactMap { $0.localAddress?.port } } }

    /// Takes no new connections.
    func close() async {
        let open = sockets.withLockedValue { sockets in
            defer { sockets = [] }
            return sockets
        }
        for socket in open { try? await socket.close() }
    }
}
