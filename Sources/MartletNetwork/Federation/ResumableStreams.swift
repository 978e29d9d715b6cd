import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// Streams of other servers', which they can go on with on other connections (XEP-0198 §5).
final class ResumableStreams: Sendable {
    private struct Stream: Sendable {
        let loop: NetworkLoop
        let session: NIOLoopBound<PeerSession>
        /// `nil` once it is lost.
        var connection: NIOLoopBound<IncomingPeerConnection>?
        /// What the other server has proved on it.
        let pairs: Set<DomainPair>
    }

    // By what they can be gone on with. Held for look-ups.
    private let streams = NIOLockedValueBox<[String: Stream]>([:])

    /// - Parameter most: streams there may be.
    /// - Returns: by what the stream can be gone on with; `nil` if there are too many.
    func name(_ connection: IncomingPeerConnection, _ session: PeerSession, most: Int) -> String? {
        guard streams.withLockedValue({ $0.count }) < most else { return nil }
        let id = connection.loop.context.random.token()
        keep(id, of: connection, session)
        return id
    }

    func keep(_ id: String, of connection: IncomingPeerConnection, _ session: PeerSession) {
        let eventLoop = connection.loop.loop
        let stream = Stream(
            loop: connection.loop, session: NIOLoopBound(session, eventLoop: eventLoop), connection: NIOLoopBound(connection, eventLoop: eventLoop),
            pairs: session.pairs)
        streams.withLockedValue { $0[id] = stream }
    }

    func forget(_ id: String) { streams.withLockedValue { $0[id] = nil } }

    /// The connection is lost. On its loop.
    func awaitResumption(of id: String, _ session: PeerSession, on loop: NetworkLoop, for time: TimeAmount) {
        streams.withLockedValue { $0[id]?.connection = nil }
        _ = loop.loop.assumeIsolated().scheduleTask(in: time) { [self] in
            let isThis = streams.withLockedValue { streams in
                guard let stream = streams[id], stream.loop === loop, stream.session.value === session else { return false }
                streams[id] = nil
                return true
            }
            if isThis { session.end() }
        }
    }

    /// Another server wants to go on with a stream.
    ///
    /// - Parameters:
    ///   - pairs: what it has proved on the new connection.
    ///   - done: runs on `loop`, with how many stanzas are handled, if somebody knows, and whether the stream is over.
    func resume(
        _ id: String, of remote: String, _ pairs: Set<DomainPair>, on loop: NetworkLoop, _ done: @escaping (_ handled: UInt32?, _ isOver: Bool) -> Void
    ) {
        let done = NIOLoopBound(done, eventLoop: loop.loop)
        guard let stream = take(id, pairs) else {
            // A server that was started since knows only what is in the log.
            return PeerSession.handled(on: id, of: remote, loop.context.store) { handled in loop.context.mailbox.run { _ in done.value(handled, true) } }
        }
        stream.loop.context.mailbox.run { _ in
            stream.connection?.value.supersede()
            let session = stream.session.value
            session.handOver { handled in
                session.end()
                loop.context.mailbox.run { _ in done.value(handled, false) }
            }
        }
    }

    private func take(_ id: String, _ pairs: Set<DomainPair>) -> Stream? {
        streams.withLockedValue { streams in
            guard let stream = streams[id], !stream.pairs.isDisjoint(with: pairs) else { return nil }
            streams[id] = nil
            return stream
        }
    }
}
