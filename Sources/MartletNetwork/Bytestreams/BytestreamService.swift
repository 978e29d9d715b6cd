package import Logging
package import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// The port on which clients that cannot reach each other meet (XEP-0065 §6), from start to stop.
package final class BytestreamService: BytestreamRelay {
    package struct Limits: Hashable, Sendable {
        /// Connections that wait for their stream to be activated, of everybody: who they are is not known before. Any more are closed at once. Each
        /// costs a file and some hundred bytes, and nothing is read of it behind the request.
        package var waitingMax = 1_000
        /// The same, of one network (/32, /64), so that none takes all the places.
        package var waitingPerNetworkMax = 50
        /// From the connection to the activation, whatever the client says meanwhile: the other one has to be found, to connect, and to be told
        /// (XEP-0065 §6.3). Past it the connection closes.
        package var patience = TimeAmount.seconds(120)
        /// Silence in both directions, after which an active stream ends and both connections close. Bytes in either direction count for both.
        package var idle = TimeAmount.seconds(300)
        /// Active streams, of all accounts and of one.
        package var activeMax = 1_000
        package var activePerAccountMax = 10
        package init() {}
    }

    private struct Waiting {
        let channel: any Channel
        let end: NIOLoopBound<BytestreamEnd>
        var id: ObjectIdentifier { ObjectIdentifier(channel) }
    }

    private struct State {
        /// By the name of the stream, at most two of each.
        var waiting: [String: [Waiting]] = [:]
        /// Connections that have no active stream, each with where it comes from.
        var strangers: [ObjectIdentifier: NetworkAddress?] = [:]
        var perNetwork: [NetworkAddress: Int] = [:]
        var active: [BareJID: Int] = [:]
        var activeCount = 0
    }

    package let port: Int
    let limits: Limits
    private let addresses: [String]
    // Once for each change of a connection's state, never for its bytes.
    private let state = NIOLockedValueBox(State())
    private let sockets: ListeningPorts

    /// - Parameter addresses: IPv4 and IPv6 addresses on which the port is opened.
    package init(port: Int, addresses: [String], _ limits: Limits = Limits(), log: Logger) {
        self.port = port
        self.addresses = addresses
        self.limits = limits
        sockets = ListeningPorts(log: log)
    }

    /// Active streams, and connections that wait: for metrics.
    package var activeCount: Int { state.withLockedValue { $0.activeCount } }
    package var waitingCount: Int { state.withLockedValue { $0.strangers.count } }

    // MARK: The port

    /// - Throws: ``ListenerError`` about the first address that cannot be opened.
    package func start(on group: any EventLoopGroup) async throws(ListenerError) {
        try await sockets.open([ListeningPorts.Port(port, addresses, kind: "bytestreams")], NetworkSettings(), on: group) { [self] _, channel in
            guard admit(channel) else { throw ChannelError.ioOnClosedChannel }
            try channel.pipeline.syncOperations.addHandler(BytestreamEnd(self, channel))
        }
    }

    /// The ports that are open: for tests, which let the system choose.
    package var ports: [Int] { sockets.numbers }

    package func stop() async { await sockets.close() }

    // MARK: Connections

    private func admit(_ channel: any Channel) -> Bool {
        let (id, network) = (ObjectIdentifier(channel), channel.remoteAddress.flatMap { NetworkAddress($0)?.network })
        let isAdmitted = state.withLockedValue { state in
            guard state.strangers.count < limits.waitingMax else { return false }
            if let network {
                guard state.perNetwork[network, default: 0] < limits.waitingPerNetworkMax else { return false }
                state.perNetwork[network, default: 0] += 1
            }
            state.strangers[id] = .some(network)
            return true
        }
        if isAdmitted { channel.closeFuture.whenComplete { [self] _ in state.withLockedValue { Self.forget(id, in: &$0) } } }
        return isAdmitted
    }

    private static func forget(_ id: ObjectIdentifier, in state: inout State) {
        guard let network = state.strangers.removeValue(forKey: id) else { return }
        guard let network, let count = state.perNetwork[network] else { return }
        state.perNetwork[network] = count > 1 ? count - 1 : nil
    }

    /// A connection has named its stream.
    ///
    /// - Returns: `false` if two have that name already.
    func arrive(_ end: NIOLoopBound<BytestreamEnd>, on channel: any Channel, _ stream: String) -> Bool {
        state.withLockedValue { state in
            guard state.waiting[stream, default: []].count < 2 else { return false }
            state.waiting[stream, default: []].append(Waiting(channel: channel, end: end))
            return true
        }
    }

    /// A connection is gone.
    func leave(_ channel: any Channel, _ stream: String) {
        state.withLockedValue { state in
            guard var ends = state.waiting[stream] else { return }
            ends.removeAll { $0.id == ObjectIdentifier(channel) }
            state.waiting[stream] = ends.isEmpty ? nil : ends
        }
    }

    // MARK: Streams

    private enum Decision {
        case refused(BytestreamActivation)
        case joined(Waiting, Waiting)
    }

    package func activate(_ stream: String, for account: BareJID) async -> BytestreamActivation {
        switch state.withLockedValue({ decide(stream, for: account, &$0) }) {
        case .refused(let why): return why
        case .joined(let one, let two):
            for (own, other) in [(one, two), (two, one)] { own.channel.eventLoop.execute { own.end.value.join(other.channel) } }
            one.channel.closeFuture.and(two.channel.closeFuture).whenComplete { [self] _ in end(for: account) }
            return .active
        }
    }

    private func decide(_ stream: String, for account: BareJID, _ state: inout State) -> Decision {
        guard let ends = state.waiting[stream], ends.count == 2 else { return .refused(.incomplete) }
        guard state.activeCount < limits.activeMax, state.active[account, default: 0] < limits.activePerAccountMax else { return .refused(.tooMany) }
        state.waiting[stream] = nil
        for end in ends { Self.forget(end.id, in: &state) }
        state.active[account, default: 0] += 1
        state.activeCount += 1
        return .joined(ends[0], ends[1])
    }

    private func end(for account: BareJID) {
        state.withLockedValue { state in
            state.activeCount -= 1
            let count = state.active[account, default: 1]
            state.active[account] = count > 1 ? count - 1 : nil
        }
    }
}
