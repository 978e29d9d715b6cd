package import Logging
import MartletCore
import MartletLDAP
import MartletXMPP
package import NIOCore
import NIOPosix
package import NIOSSL
import Synchronization

/// What connections of directory clients have in common.
package struct FrontEndServices: Sendable {
    let settings: FrontEndSettings
    let view: any PresenceSource
    let upstream: UpstreamDial?
    let embedded: EmbeddedDirectory?
    let binds: BindWatch
    let log: Logger

    package init(
        _ settings: FrontEndSettings, _ view: any PresenceSource, upstream: UpstreamDial? = nil, embedded: EmbeddedDirectory? = nil, binds: BindWatch = .nobody,
        log: Logger
    ) {
        self.settings = settings
        self.view = view
        self.upstream = upstream
        self.embedded = embedded
        self.binds = binds
        self.log = log
    }

    /// Does what takes time, for ``FrontEndConnection``.
    ///
    /// - Parameter moment: when the client's last bind began.
    /// - Returns: `nil` for an effect that does not.
    func answer(_ effect: FrontEndEffect, to peer: FrontEndPeer, boundAt moment: CredentialMoment) async -> (Int, FrontEndAnswer)? {
        switch effect {
        case .findVisible(let question, let viewer, let online):
            do throws(PresenceView.Failure) {
                return (question, .visible(.success(try await view.visible(to: viewer, online: online))))
            } catch {
                return (question, .visible(.failure(error)))
            }
        case .lookUp(let question, let addresses, let viewer): return (question, .presences(addresses, await view.presence(of: addresses, for: viewer)))
        case .verify(let question, let name, let password):
            guard let embedded else { return nil }
            let (result, viewer) = await embedded.bind(name, password, from: peer)
            return (question, .bound(result, viewer))
        case .search(let question, let message, let viewer):
            guard let embedded else { return nil }
            return (question, .messages(await embedded.answer(message, for: viewer, since: moment, view, settings)))
        case .toClient, .toUpstream, .connect, .beginTLS, .bound, .heard, .close: return nil
        }
    }
}

/// Listens for directory clients (`directory.md` §4): before a directory, whose entries get the presence of their people, or with this server's accounts as
/// entries of its own.
package final class LDAPFrontEnd: Sendable {
    /// Where the entries are.
    package enum Backend: Sendable {
        case overlay(UpstreamDial, FrontEndNames)
        case embedded(EmbeddedDirectory)
    }

    /// What listens where.
    package struct Listener: Hashable, Sendable {
        package enum Kind: Hashable, Sendable {
            /// In the clear up to StartTLS.
            case plain
            /// TLS from the first byte.
            case secure
        }
        package var host: String
        /// 0 for any that is free.
        package var port: Int
        package var kind: Kind
        /// Whether passwords may come in the clear from other machines.
        package var allowsPasswordsInClear: Bool
        /// Tells it from others, for whoever knows more of it.
        package var number: Int

        package init(_ kind: Kind, host: String, port: Int, allowsPasswordsInClear: Bool = false, number: Int = 0) {
            self.kind = kind
            self.host = host
            self.port = port
            self.allowsPasswordsInClear = allowsPasswordsInClear
            self.number = number
        }
    }

    private let services: FrontEndServices
    private let backend: Backend
    private let tls: @Sendable (Listener) -> NIOSSLContext?
    private let group: any EventLoopGroup
    private let listening = Mutex<[any Channel]>([])
    // Shared between loops: looked at when a client comes and goes.
    private let clients = Mutex(Clients())

    private struct Clients {
        var channels: [ObjectIdentifier: any Channel] = [:]
        /// How many of each address.
        var counts: [String: Int] = [:]

        mutating func add(_ channel: any Channel, _ address: String, _ settings: FrontEndSettings) -> Bool {
            guard channels.count < settings.connectionsMax, counts[address, default: 0] < settings.connectionsPerAddressMax else { return false }
            channels[ObjectIdentifier(channel)] = channel
            counts[address, default: 0] += 1
            return true
        }

        mutating func remove(_ channel: any Channel, _ address: String) {
            guard channels.removeValue(forKey: ObjectIdentifier(channel)) != nil else { return }
            counts[address, default: 1] -= 1
            if counts[address] == 0 { counts[address] = nil }
        }
    }

    /// - Parameters:
    ///   - tls: the certificate of the moment; `nil` while there is none.
    package init(
        _ settings: FrontEndSettings, _ backend: Backend, _ view: any PresenceSource, tls: @escaping @Sendable (Listener) -> NIOSSLContext?,
        binds: BindWatch = .nobody, on group: any EventLoopGroup, log: Logger
    ) {
        let (upstream, embedded): (UpstreamDial?, EmbeddedDirectory?) =
            switch backend {
            case .overlay(let dial, _): (dial, nil)
            case .embedded(let directory): (nil, directory)
            }
        services = FrontEndServices(settings, view, upstream: upstream, embedded: embedded, binds: binds, log: log)
        self.backend = backend
        self.tls = tls
        self.group = group
    }

    /// Reads what it takes to call the directory behind. Once, before anybody comes.
    package func prepare() throws(DirectoryFailure) { try services.upstream?.prepare() }

    /// Begins to listen.
    ///
    /// - Returns: where, one address for each of `listeners`.
    package func start(_ listeners: [Listener]) async throws -> [SocketAddress] {
        try prepare()
        var addresses: [SocketAddress] = []
        for listener in listeners {
            let channel = try await bootstrap(listener).bind(host: listener.host, port: listener.port).get()
            listening.withLock { $0.append(channel) }
            if let address = channel.localAddress { addresses.append(address) }
        }
        return addresses
    }

    /// Takes no further clients, and tells those who are there that it stops (RFC 4511 §4.4.1).
    package func stop() async {
        let listening = listening.withLock { listening in
            defer { listening = [] }
            return listening
        }
        for channel in listening { try? await channel.close() }
        for channel in clients.withLock({ Array($0.channels.values) }) { channel.pipeline.fireUserInboundEventTriggered(FrontEndConnection.Stop()) }
    }

    /// Clients that are connected.
    package var clientCount: Int { clients.withLock { $0.channels.count } }

    private func bootstrap(_ listener: Listener) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { [self] channel in channel.eventLoop.makeCompletedFuture { try take(channel, at: listener) } }
    }

    private struct Refused: Error {}

    /// Makes a client of a connection that somebody else has accepted. On its loop.
    ///
    /// - Throws: if there are enough of them.
    package func take(_ channel: any Channel, at listener: Listener) throws {
        let address = channel.remoteAddress?.ipAddress ?? ""
        guard clients.withLock({ $0.add(channel, address, services.settings) }) else { throw Refused() }
        channel.closeFuture.whenComplete { [self] _ in clients.withLock { $0.remove(channel, address) } }
        let context = tls(listener)
        if listener.kind == .secure {
            guard let context else { throw Refused() }
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        }
        let offered = listener.kind == .plain ? context : nil
        let machine = machine(for: channel, listener, offersTLS: offered != nil)
        let peer = FrontEndPeer(channel.remoteAddress, at: listener)
        let connection = FrontEndConnection(machine, services, from: peer, tls: offered, on: channel.eventLoop)
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    private func machine(for channel: any Channel, _ listener: Listener, offersTLS: Bool) -> any FrontEndMachine {
        let hasTLS = listener.kind == .secure
        let isProtected = hasTLS || listener.allowsPasswordsInClear || channel.remoteAddress?.isLoopback ?? false
        switch backend {
        case .overlay(_, let names):
            return OverlayMachine(services.settings, names, offersTLS: offersTLS, hasTLS: hasTLS, isProtected: isProtected)
        case .embedded(let directory):
            return EmbeddedMachine(services.settings, directory.tree, offersTLS: offersTLS, hasTLS: hasTLS, isProtected: isProtected)
        }
    }
}
