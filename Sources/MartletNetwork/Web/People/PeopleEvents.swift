import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// What keeps the presence on a page up: server-sent events (HTML, "Server-sent events"), as they are written. Pure.
package enum PeopleEvents {
    /// Most people of one stream; a page has less.
    package static let peopleMax = PresenceWatch.targetsMax

    package static let type = "text/event-stream; charset=utf-8"
    /// A browser that has lost the stream asks again after that many milliseconds.
    package static let opening = "retry: 5000\n\n"
    /// Says nothing.
    package static let heartbeat = ":\n\n"

    /// - Parameter presence: `nil` if the viewer may see nothing of it, or no more.
    package static func presence(of localpart: String, _ presence: PersonPresence?) -> String {
        let (show, text) = (presence?.show.rawValue ?? "unknown", ShownText.line(presence?.text ?? ""))
        return "event: presence\ndata: {\"id\":\(JSONText.quoted(localpart)),\"show\":\"\(show)\",\"text\":\(JSONText.quoted(text))}\n\n"
    }

    /// The localparts that a request names: `ids=juliet,romeo`, each of them encoded on its own.
    ///
    /// - Returns: `nil` for none, for more than ``peopleMax``, and for what is written otherwise.
    package static func localparts(uri: String) -> [String]? {
        let query = uri.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst()
        guard query.starts(with: "ids=".utf8) else { return nil }
        let parts = query.dropFirst("ids=".utf8.count).split(separator: UInt8(ascii: ","), maxSplits: peopleMax, omittingEmptySubsequences: false)
        guard parts.count <= peopleMax else { return nil }
        let localparts = parts.compactMap { part in PercentEncoding.decoded(part).flatMap { String(validating: $0, as: UTF8.self) } }
        return localparts.count == parts.count && !localparts.contains("") ? localparts : nil
    }
}

/// The presence of some people on its way to one browser. On the connection's loop.
///
/// One piece is on its way at a time. Whatever changes meanwhile is told together when the network has taken it (``PresenceWatch``), so that a slow browser
/// costs as little as another, and one that takes nothing for long is dropped by the connection.
final class PeopleStream {
    private enum State {
        case running(Task<Void, Never>?, heartbeats: RepeatedTask?)
        case ended
    }

    private let connection: WebConnection
    private let visit: PeopleVisit
    private var state = State.running(nil, heartbeats: nil)
    private var isSending = false
    private let end: NIODeadline

    /// - Parameter visit: for which a stream has begun to be counted.
    init(_ connection: WebConnection, _ visit: PeopleVisit) {
        self.connection = connection
        self.visit = visit
        end = connection.loop.context.time.monotonic + visit.desk.settings.streamLifetime
    }

    private var loop: any EventLoop { connection.loop.loop }
    private var bound: NIOLoopBound<PeopleStream> { NIOLoopBound(self, eventLoop: loop) }

    func begin(_ watch: PresenceWatch) {
        var answer = WebAnswer(.ok, type: PeopleEvents.type, ByteBuffer(), ["Cache-Control": "no-store", "X-Accel-Buffering": "no"])
        answer.headers.add(name: "Transfer-Encoding", value: "chunked")
        let settings = visit.desk.settings
        guard connection.beginStream(answer, lasting: settings.streamLifetime, gone: { [self] in finish() }, stops: { [self] in complete() }) else { return finish() }
        send(PeopleEvents.opening)
        let (bound, loop) = (bound, loop)
        let heartbeats = loop.scheduleRepeatedTask(initialDelay: settings.heartbeat, delay: settings.heartbeat) { _ in bound.value.beat() }
        state = .running(Self.follow(watch, bound, loop), heartbeats: heartbeats)
    }

    /// Waits for presence to change, which loops do not.
    private static func follow(_ watch: PresenceWatch, _ bound: NIOLoopBound<PeopleStream>, _ loop: any EventLoop) -> Task<Void, Never> {
        Task {
            for await changes in watch {
                guard await tell(changes, by: bound, on: loop) else { break }
            }
            loop.execute { bound.value.complete() }
        }
    }

    private static func tell(_ changes: [PresenceChange], by bound: NIOLoopBound<PeopleStream>, on loop: any EventLoop) async -> Bool {
        await withCheckedContinuation { continuation in
            loop.execute { bound.value.tell(changes) { continuation.resume(returning: $0) } }
        }
    }

    private func tell(_ changes: [PresenceChange], _ done: @escaping (Bool) -> Void) {
        guard visit.isStillIn else { return done(false) }
        let events = changes.map { PeopleEvents.presence(of: $0.address.localpart ?? "", $0.presence.map(PersonPresence.init)) }
        send(events.joined(), done)
    }

    /// Something goes over the wire now and then, by which both ends notice that the other one is gone.
    private func beat() {
        guard visit.isStillIn, connection.loop.context.time.monotonic < end else { return complete() }
        if !isSending { send(PeopleEvents.heartbeat) }
    }

    private func send(_ text: String, _ done: @escaping (Bool) -> Void = { _ in }) {
        guard case .running = state else { return done(false) }
        isSending = true
        let bound = bound
        connection.send(ByteBuffer(string: text)).assumeIsolated().whenComplete { result in
            if case .success = result { bound.value.sent(done) } else { done(false) }
        }
    }

    private func sent(_ done: (Bool) -> Void) {
        isSending = false
        connection.noteProgress()
        done(true)
    }

    /// The last has been said.
    private func complete() {
        guard case .running = state else { return }
        finish()
        connection.endSending()
    }

    private func finish() {
        guard case .running(let task, let heartbeats) = state else { return }
        state = .ended
        task?.cancel()
        heartbeats?.cancel()
        visit.desk.endStream(to: visit.sender)
    }
}
