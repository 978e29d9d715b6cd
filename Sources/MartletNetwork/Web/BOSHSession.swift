import Logging
import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore
import NIOHTTP1

/// How sessions of BOSH are kept.
package struct BOSHSettings: Hashable, Sendable {
    /// Requests that are held for a session, at most; one more may come while they are.
    package var holdMax = 1
    /// Longest time that a request is held, in seconds.
    package var waitMax = 60
    /// From the last answer to the next request, in seconds: then the client is gone.
    package var inactivity = 60
    /// The same once, if the client asks for it (XEP-0124 §12).
    package var pauseMax = 120
    /// Elements in one request.
    package var elementsMax = 1_024
    /// Bytes of answers that are kept for clients that did not get them, for one session.
    package var keptBytesMax = 1 << 20

    package init() {}

    /// Requests of one session at a time.
    var requestsMax: Int { holdMax + 1 }
}

/// A session of BOSH (XEP-0124, XEP-0206): it carries a ``ClientStream`` over requests that come one by one, each held until there is something
/// to answer. It outlives the connections that they come on, and lives on the loop of the first of them.
package final class BOSHSession: LoopConnection {
    /// A request that is owed an answer.
    private struct Held {
        let rid: UInt64
        var reply: BOSHReply
        let until: Int
    }

    let sid: String
    private let registry: BOSHRegistry
    private let settings: BOSHSettings
    let stream: ClientStream
    private(set) var peer: NetworkAddress?
    package let remoteAddress: String
    private(set) var lastActivity: Int

    private var limits: XMLLimits
    private var wait: Int
    private var hold: Int
    /// What is told with the first answer.
    private var introduction: BOSHAnswer.Session?
    /// The request that comes next.
    private var next: UInt64
    /// Requests that came before their turn.
    private var early: [UInt64: (BOSHRequest, BOSHReply)] = [:]
    private var held: [Held] = []
    /// Requests whose connection has gone before they were answered: they come again.
    private var unanswered: [UInt64] = []
    /// The last answers, should they not have arrived.
    private var answered: [(rid: UInt64, bytes: ByteBuffer)] = []

    private enum Event { case opened(FlatElement), element(FlatElement), closed }
    private var inbox = CircularBuffer<Event>()
    private var outbox: [ByteBuffer] = []
    private var outboxBytes = 0
    private var isTaking = false
    private var allowance: ByteAllowance
    private var isSlowedDown = false
    private var isResumptionScheduled = false
    private var sessionReads = true
    private var ending = BOSHAnswer.Ending.goesOn
    /// When the stream wants to be looked at.
    private var streamDeadline: Int?
    /// The client is gone if nothing has come by then; counts while no request is held.
    private var silence: Int
    private var isGone = false

    init(_ request: BOSHRequest, _ listener: ClientListener, _ loop: NetworkLoop, _ peer: NetworkAddress?, _ remoteAddress: String) {
        let service = listener.service
        settings = service.settings.bosh
        registry = service.bosh
        sid = loop.context.random.token()
        limits = service.settings.limitsBeforeAuthentication
        // A session takes many connections, each with keys of its own, and whoever knows its names may go on with it on another: there is no one
        // channel that an authentication could be tied to (XEP-0124 §4).
        stream = ClientStream(listener, loop, ClientStreamMachine(bindings: []))
        self.peer = peer
        self.remoteAddress = remoteAddress
        lastActivity = loop.now
        wait = min(request.wait, settings.waitMax)
        hold = wait == 0 ? 0 : min(request.hold, settings.holdMax)
        allowance = ByteAllowance(burst: service.settings.bytesBurst, at: loop.now)
        next = request.rid
        silence = settings.inactivity
        super.init(loop)
        stream.carrier = self
        introduction = BOSHAnswer.Session(
            sid: sid, wait: wait, hold: hold, requests: settings.requestsMax, inactivity: settings.inactivity, maxPause: settings.pauseMax,
            from: try? StreamHeader(body: request.body).domain)
    }

    // MARK: Deadlines

    /// It is looked at in every tick: one of its deadlines or another is always near.
    override func deadlinePassed() {
        tick()
        while let first = held.first, loop.now >= first.until { answerOldest() }
        if held.isEmpty, loop.now >= lastActivity + silence {
            stream.endReason = "the client does not ask any more"
            return drop()
        }
        guard let due = streamDeadline, loop.now >= due else { return }
        streamDeadline = nil
        stream.deadlinePassed()
    }

    private func tick() { hang(until: loop.now + 1) }

    override func lookAtLoginAgain() { stream.lookAtLoginAgain() }

    override func close(_ error: StreamError?) {
        stream.close(error)
        settle()
    }

    package override func drop() {
        stream.machine.transportLost()
        leave()
    }

    /// - Returns: why it cannot be, if it cannot.
    func begin() -> Admission.Refusal? {
        let admission = stream.service.admission
        if let refusal = stream.count.admit(admission) { return refusal }
        if let peer, let refusal = stream.count.admit(peer, admission) {
            stream.count.leave(admission)
            return refusal
        }
        registry.insert(self)
        stream.begin()
        tick()
        return nil
    }
}

// MARK: Requests (XEP-0124 §9, §14)

extension BOSHSession {
    /// A request with this session's name.
    func arrive(_ bytes: ByteBuffer, _ reply: BOSHReply) {
        guard !isGone else { return reply.send(BOSHAnswer(ending: .terminates(.itemNotFound)).bytes) }
        spendAllowance(bytes.readableBytes)
        guard bytes.readableBytes <= limits.stanzaBytesMax + BOSHResource.markupBytes else { return fail(.xml(.limitExceeded(.stanzaBytes)), reply) }
        do throws(BOSHRequest.Fault) {
            arrive(try BOSHRequest(bytes, limits: limits, scratch: loop.scratch), reply)
        } catch {
            fail(error, reply)
        }
        loop.context.flushSoon()
    }

    /// As on a connection: past what the client may send in the long run, what it has sent rests here until it has made up for it.
    private func spendAllowance(_ byteCount: Int) {
        let service = stream.service.settings
        guard let rate = service.bytesPerSecond, rate > 0 else { return }
        guard let rest = allowance.spend(byteCount, rate: rate, burst: service.bytesBurst, at: loop.now), !isSlowedDown else { return }
        isSlowedDown = true
        _ = loop.loop.assumeIsolated().scheduleTask(in: rest) { [weak self] in
            self?.isSlowedDown = false
            self?.resumeLater()
        }
    }

    private func fail(_ fault: BOSHRequest.Fault, _ reply: BOSHReply) {
        held.append(Held(rid: next, reply: reply, until: loop.now))
        switch fault {
        case .malformed: end(.badRequest)
        case .xml(let error): stream.failed(error)
        }
        settle()
    }

    func arrive(_ request: BOSHRequest, _ reply: BOSHReply) {
        lastActivity = loop.now
        if request.rid == next {
            take(request, reply)
            while let (request, reply) = early.removeValue(forKey: next) { take(request, reply) }
        } else if request.rid > next, request.rid - next < UInt64(settings.requestsMax), early[request.rid] == nil {
            early[request.rid] = (request, reply)
        } else if let index = held.firstIndex(where: { $0.rid == request.rid }) {
            // It comes again on another connection: the first one is of no use any more.
            held[index].reply.send(BOSHAnswer().bytes)
            held[index].reply = reply
        } else if let index = unanswered.firstIndex(of: request.rid) {
            unanswered.remove(at: index)
            held.insert(Held(rid: request.rid, reply: reply, until: loop.now + max(wait, 1)), at: held.firstIndex { $0.rid > request.rid } ?? held.endIndex)
        } else if let kept = answered.first(where: { $0.rid == request.rid }) {
            reply.send(kept.bytes)
        } else {
            reply.send(BOSHAnswer(ending: .terminates(.itemNotFound)).bytes)
            end(.itemNotFound)
        }
        if held.count + early.count > settings.requestsMax { end(.policyViolation) }
        settle()
    }

    private func take(_ request: BOSHRequest, _ reply: BOSHReply) {
        next += 1
        guard request.elements.count <= settings.elementsMax else {
            held.append(Held(rid: request.rid, reply: reply, until: loop.now))
            return end(.policyViolation)
        }
        silence = min(request.pause ?? settings.inactivity, settings.pauseMax)
        held.append(Held(rid: request.rid, reply: reply, until: loop.now + max(wait, 1)))
        if request.sid == nil || request.isRestart { inbox.append(.opened(request.body)) }
        for element in request.elements { inbox.append(.element(element)) }
        if request.isTermination { inbox.append(.closed) }
        takeInbox(stanzasMax: stream.service.settings.stanzasPerTurnMax)
        // XEP-0124 §12: whoever pauses is answered everything at once.
        if request.pause != nil {
            while !held.isEmpty { answerOldest() }
        }
    }

    /// The connection of a request that is held has gone: the client sends it again, or is gone itself.
    func lose(_ rid: UInt64) {
        guard let index = held.firstIndex(where: { $0.rid == rid }) else { return }
        held.remove(at: index)
        unanswered.append(rid)
        if unanswered.count > settings.requestsMax { unanswered.removeFirst() }
    }

    /// Takes what has arrived, up to a number of elements; then others have their turn first.
    private func takeInbox(stanzasMax: Int) {
        guard !isTaking else { return }
        isTaking = true
        defer { isTaking = false }
        var taken = 0
        while !inbox.isEmpty, sessionReads, !isSlowedDown, !isResumptionScheduled, !stream.machine.isWaiting, !stream.machine.isClosed {
            guard taken < stanzasMax, !loop.context.isCongested else { return resumeLater() }
            taken += 1
            switch inbox.removeFirst() {
            case .opened(let body): stream.openedBOSH(body)
            case .element(let element): stream.received(element)
            case .closed: stream.peerClosed()
            }
        }
    }

    private func resumeLater() {
        guard !isResumptionScheduled else { return }
        isResumptionScheduled = true
        loop.loop.assumeIsolated().execute { [self] in
            isResumptionScheduled = false
            guard !isGone else { return }
            takeInbox(stanzasMax: stream.service.settings.stanzasPerTurnMax)
            settle()
            loop.context.flushSoon()
        }
    }
}

// MARK: Answers

extension BOSHSession {
    /// Answers what can be answered: with what is there to be said, or because as many requests are held as may be.
    private func settle() {
        if !held.isEmpty, !outbox.isEmpty || introduction != nil && !stream.machine.isWaiting { answerOldest() }
        // A client that waits sends nothing more: what it has sent is looked at first.
        while held.count > hold, inbox.isEmpty { answerOldest() }
        if case .terminates = ending, !held.isEmpty {
            while !held.isEmpty { answerOldest() }
            return leave()
        }
        if stream.count.isUnauthenticated, case .goesOn = ending { stream.holds(outboxBytes + inbox.count * Self.elementBytes) }
    }

    /// What an element that waits counts at least.
    private static let elementBytes = 1_024

    private func answerOldest() {
        let request = held.removeFirst()
        var answer = BOSHAnswer(outbox, session: introduction)
        (outbox, outboxBytes) = ([], 0)
        // The end follows the last of what is to be said, and that is all in here.
        answer.ending = ending
        introduction = nil
        let bytes = answer.bytes
        keep(bytes, for: request.rid)
        request.reply.send(bytes)
        lastActivity = loop.now
    }

    /// XEP-0124 §14.2: as many answers as there may be requests.
    private func keep(_ bytes: ByteBuffer, for rid: UInt64) {
        answered.append((rid, bytes))
        while answered.count > settings.requestsMax || answered.reduce(0, { $0 + $1.bytes.readableBytes }) > settings.keptBytesMax, answered.count > 1 {
            answered.removeFirst()
        }
    }

    /// The session ends for a reason of BOSH's own: its stream may go on elsewhere (XEP-0198 §5).
    private func end(_ condition: BOSHAnswer.Condition) {
        if case .goesOn = ending { ending = .terminates(condition) }
        stream.endReason = "the session of BOSH has ended: \(condition.rawValue)"
        let replies = early.values.map(\.1)
        early = [:]
        for reply in replies { reply.send(BOSHAnswer(ending: ending).bytes) }
        settle()
        leave()
    }

    /// Nobody finds it any more.
    private func leave() {
        guard !isGone else { return }
        isGone = true
        registry.remove(sid)
        let replies = held.map(\.reply) + early.values.map(\.1)
        (held, early) = ([], [:])
        for reply in replies { reply.send(BOSHAnswer(ending: .terminates(.itemNotFound)).bytes) }
        stream.lost()
        forget()
        loop.context.flushSoon()
    }
}

// MARK: What carries a stream

extension BOSHSession: ClientCarrier {
    package func write(_ bytes: ByteBuffer) {
        guard !isGone, bytes.readableBytes > 0 else { return }
        outbox.append(bytes)
        outboxBytes += bytes.readableBytes
    }

    package func flush() {
        if !isTaking { settle() }
    }

    package var pendingBytes: Int { outboxBytes }

    package func setReading(_ isReading: Bool) {
        guard isReading != sessionReads else { return }
        sessionReads = isReading
        if isReading { resumeLater() }
    }

    func send(_ action: ClientStreamMachine.Action, extras: (inout XMLWriter) -> Void) {
        switch action {
        case .close(let error, _) where error != nil: ending = .terminates(.remoteStreamError)
        case .failFinally: ending = .terminates(.remoteStreamError)
        case .close, .finish: ending = .terminates(nil)
        default: break
        }
        for element in action.boshElements(extras: extras) { write(element) }
    }

    /// There is none to start: every request came inside TLS.
    func startTLS(_ domain: String, _ action: ClientStreamMachine.Action) { drop() }
    func setLimits(_ limits: XMLLimits) { self.limits = limits }
    func restart() {}
    func resume() { if !isTaking { resumeLater() } }
    func failInput() { inbox.removeAll() }

    func closeAfterFlush() {
        settle()
        leave()
    }

    func lookAgain(at tick: Int) { streamDeadline = tick }
}
