package import MartletCore
package import NIOCore

/// A connection to a directory on which searches go on, as far as following it needs one.
package protocol FeedConnection: Sendable {
    /// Tells servers apart.
    var server: String { get }
    /// Begins a search. What it says comes by ``messages(until:)``, with that of others that are under way, each in its own order.
    func begin(_ search: FeedSearch) async
    /// What has come since, at least one message; none when it is so late. `nil` if the connection is lost.
    func messages(until deadline: NIODeadline?) async -> [FeedMessage]?
    func close() async
}

/// Follows a directory on one connection.
package struct FeedFollower: Sendable {
    package enum End: Hashable, Sendable {
        case connectionLost
        case fault(FeedFault)
        /// Whoever takes the effects wants no more on this connection.
        case stopped
    }

    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    /// Goes on until the connection is of no use any more, and closes it.
    ///
    /// - Parameter take: applies effects, in order, and says whether to go on; with whether the mirror is up to date after them.
    package func follow(
        _ connection: any FeedConnection, with consumer: inout FeedConsumer, isolation actor: isolated (any Actor)? = #isolation,
        _ take: ([FeedEffect], Bool) async -> Bool
    ) async -> End {
        var effects = consumer.connected(to: connection.server, now: time.monotonic)
        var end: End?
        while end == nil {
            let goesOn = await take(effects, consumer.isLive)
            end = effects.fault.map(End.fault) ?? (goesOn ? nil : .stopped)
            if end != nil { break }
            for case .search(let search) in effects { await connection.begin(search) }
            guard let messages = await connection.messages(until: consumer.due) else { return lost(&consumer) }
            effects = messages.isEmpty ? consumer.tick(now: time.monotonic) : consumer.receive(messages, now: time.monotonic)
        }
        consumer.disconnected()
        await connection.close()
        return end ?? .stopped
    }

    private func lost(_ consumer: inout FeedConsumer) -> End {
        consumer.disconnected()
        return .connectionLost
    }
}

extension [FeedEffect] {
    fileprivate var fault: FeedFault? {
        for case .failed(let fault) in self { return fault }
        return nil
    }
}
