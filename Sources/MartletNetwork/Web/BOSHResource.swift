import Logging
import MartletCore
import MartletXML
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1

/// The sessions of BOSH by their names, wherever they live. Shared by all loops and listeners.
final class BOSHRegistry: Sendable {
    private struct Entry {
        let loop: any EventLoop
        let session: NIOLoopBound<BOSHSession>
    }

    // Taken for each request, for a dictionary's look-up.
    private let entries = NIOLockedValueBox<[String: Entry]>([:])

    func insert(_ session: BOSHSession) {
        let loop = session.loop.loop
        let entry = Entry(loop: loop, session: NIOLoopBound(session, eventLoop: loop))
        entries.withLockedValue { $0[session.sid] = entry }
    }

    func remove(_ sid: String) { _ = entries.withLockedValue { $0.removeValue(forKey: sid) } }

    var count: Int { entries.withLockedValue { $0.count } }

    /// Does something with a session, on its loop.
    ///
    /// - Returns: whether there is one of that name.
    func with(_ sid: String, _ body: @escaping @Sendable (BOSHSession) -> Void) -> Bool {
        guard let entry = entries.withLockedValue({ $0[sid] }) else { return false }
        if entry.loop.inEventLoop { body(entry.session.value) } else { entry.loop.execute { body(entry.session.value) } }
        return true
    }
}

/// Where the answer to one request goes, from whatever loop.
struct BOSHReply: Sendable {
    private let connection: NIOLoopBound<WebConnection>
    private let loop: any EventLoop

    init(_ connection: WebConnection) {
        loop = connection.loop.loop
        self.connection = NIOLoopBound(connection, eventLoop: loop)
    }

    func send(_ body: ByteBuffer) {
        let connection = connection
        let send: @Sendable () -> Void = {
            connection.value.answer(WebAnswer(.ok, type: "text/xml; charset=utf-8", body, ["Cache-Control": "no-store"]))
        }
        if loop.inEventLoop { send() } else { loop.execute(send) }
    }
}

/// XMPP over BOSH (XEP-0124, XEP-0206).
struct BOSHResource: WebResource {
    let methods = [HTTPMethod.POST]
    let bodyBytesMax: Int
    let limits: XMLLimits

    /// What a body takes besides the stanzas in it.
    static let markupBytes = 4_096

    init(_ settings: NetworkSettings) {
        bodyBytesMax = settings.limits.stanzaBytesMax + Self.markupBytes
        limits = settings.limitsBeforeAuthentication
    }

    func answer(_ request: WebRequest, on connection: WebConnection) {
        guard request.isSecure || connection.listener.policy.allowsPlaintext else {
            return connection.answer(WebAnswer(.forbidden, "XMPP is spoken here with encryption only"))
        }
        let reply = BOSHReply(connection)
        // A request of a session is read there: how long it may be depends on who it is.
        guard let (sid, rid) = BOSHRequest.session(of: request.body, limits: limits, scratch: connection.loop.scratch) else {
            return create(request, connection, reply)
        }
        let body = request.body
        let registry = connection.listener.service.bosh
        connection.gone = { if let rid { _ = registry.with(sid) { $0.lose(rid) } } }
        if !registry.with(sid, { $0.arrive(body, reply) }) { reply.send(BOSHAnswer(ending: .terminates(.itemNotFound)).bytes) }
    }

    private func create(_ request: WebRequest, _ connection: WebConnection, _ reply: BOSHReply) {
        do throws(BOSHRequest.Fault) {
            let body = try BOSHRequest(request.body, limits: limits, scratch: connection.loop.scratch)
            let session = BOSHSession(
                body, connection.listener, connection.loop, request.sender, request.sender.map { "\($0)" } ?? connection.remoteAddress)
            if let refusal = session.begin() {
                connection.listener.service.log.debug("session of BOSH refused", metadata: ["reason": "\(refusal)"])
                return connection.answer(WebAnswer(.serviceUnavailable, "there are too many connections"))
            }
            let (registry, sid, rid) = (connection.listener.service.bosh, session.sid, body.rid)
            connection.gone = { _ = registry.with(sid) { $0.lose(rid) } }
            session.arrive(body, reply)
            connection.loop.context.flushSoon()
        } catch {
            reply.send(BOSHAnswer(ending: .terminates(.badRequest)).bytes)
        }
    }
}
