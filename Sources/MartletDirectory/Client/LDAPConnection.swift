import Logging
package import MartletLDAP
package import NIOCore
import NIOSSL

/// One connection to a server of the directory: performs what an ``LDAPConnectionMachine`` says. Everything here is done on its loop; what is asked from
/// elsewhere is asked asynchronously, and ends with an answer, or with this side's own timer.
///
/// `@unchecked Sendable`: touched on that loop only; closures that NIO wants sendable come back to it.
package final class LDAPConnection: @unchecked Sendable {
    package struct Settings: Hashable, Sendable {
        /// For a connection that can be used: the name, the system's handshake, TLS.
        package var connectTimeout = TimeAmount.seconds(3)
        /// From a request to its answer, or from one part of an answer to the next. The server's own limits do not count: one that hangs keeps none.
        package var operationTimeout = TimeAmount.seconds(5)
        /// After so much silence it is asked whether anybody is there: a search that waits for changes is quiet for hours, a dead server too.
        package var pingInterval = TimeAmount.seconds(30)
        /// How long what was sent may stay unacknowledged (RFC 5482), where the system has that.
        package var userTimeout = TimeAmount.seconds(20)
        /// Longest message before a bind has succeeded, in bytes.
        package var messageBytesBeforeBind = LDAPLimits.unauthenticatedMessageBytesMax
        /// Longest message from then on: an entry with its photographs, a group with a hundred thousand members. A longer one ends the connection, and with it
        /// nothing is heard of anybody: people write into their own entries.
        package var messageBytesMax = 16 << 20
        /// Entries of a search that wait to be asked for.
        package var entriesInFlightMax = 256
        /// The same in bytes, as they came.
        package var bytesInFlightMax = 4 << 20
        /// How long nothing is read because nobody asks for what has come: others wait for their answers on the same connection. Then the search is given up.
        package var consumerTimeout = TimeAmount.seconds(60)

        package init() {}

        var buffer: SearchBuffer.Limits { .init(entriesMax: entriesInFlightMax, bytesMax: bytesInFlightMax) }
    }

    /// Who wants to know whether the server is well.
    package struct Watch: Sendable {
        let answered: @Sendable () -> Void
        /// - Returns: whether the connection is to be given up.
        let timedOut: @Sendable () -> Bool

        package init(answered: @escaping @Sendable () -> Void = {}, timedOut: @escaping @Sendable () -> Bool = { false }) {
            (self.answered, self.timedOut) = (answered, timedOut)
        }
    }

    package let address: DirectoryAddress
    let settings: Settings
    private let channel: any Channel
    private let log: Logger
    private let watch: Watch
    private var machine = LDAPConnectionMachine()
    private var framing: LDAPFraming
    private var waiting: [Int32: Waiting] = [:]
    private var lastHeard: NIODeadline
    private var ping: Scheduled<Void>?
    private var isReading = true
    /// While nothing is read.
    private var pause: Scheduled<Void>?
    private var hasLoggedReferral = false
    /// For StartTLS; `nil` where it is not wanted.
    private let tls: NIOSSLContext?
    /// Whether TLS protects it, or it never leaves the machine's own sockets. Set once, before anybody has it.
    package fileprivate(set) var isProtected = false

    /// Somebody who waits for an operation.
    private struct Waiting {
        enum Who {
            case answer(EventLoopPromise<LDAPMessage>)
            case search(SearchFlow)
        }

        let who: Who
        /// `nil`: as long as it takes.
        let timeout: TimeAmount?
        /// When it began, or last went on.
        var since: NIODeadline
        var timer: Scheduled<Void>?
    }

    init(
        _ channel: any Channel, _ address: DirectoryAddress, _ settings: Settings, tls: NIOSSLContext?, watch: Watch, log: Logger
    ) {
        self.channel = channel
        self.address = address
        self.settings = settings
        self.tls = tls
        self.log = log
        self.watch = watch
        framing = LDAPFraming(messageBytesMax: settings.messageBytesBeforeBind)
        lastHeard = channel.eventLoop.now
    }

    var loop: any EventLoop { channel.eventLoop }
}

// MARK: From elsewhere

extension LDAPConnection {
    /// Asks, and waits for the answer.
    ///
    /// - Throws: anything but ``DirectoryFailure/refused(_:)``: what the answer means is the caller's to say.
    package func answer(to request: LDAPOperation, controls: [LDAPControl] = []) async throws(DirectoryFailure) -> LDAPMessage {
        try await onLoop {
            let promise = self.loop.makePromise(of: LDAPMessage.self)
            self.begin(request, controls, .answer(promise), self.settings.operationTimeout)
            return promise.futureResult
        }
    }

    /// Begins a search.
    ///
    /// - Parameter isPersistent: whether it goes on for ever, so that silence says nothing (RFC 4533 §3.4).
    package func search(
        _ request: SearchRequest, controls: [LDAPControl] = [], isPersistent: Bool = false
    ) async throws(DirectoryFailure) -> LDAPSearch {
        try await onLoop {
            let flow = SearchFlow()
            flow.id = self.begin(.searchRequest(request), controls, .search(flow), isPersistent ? nil : self.settings.operationTimeout)
            return self.loop.makeSucceededFuture(LDAPSearch(self, flow))
        }
    }

    func next(of flow: SearchFlow) async throws(DirectoryFailure) -> [SearchItem] { try await onLoop { self.take(from: flow) } }

    func abandon(_ flow: SearchFlow) {
        loop.execute {
            guard let id = flow.id, self.waiting[id] != nil else { return }
            self.perform(self.machine.giveUp(id, .closed))
            self.readOn()
        }
    }

    /// Says goodbye and closes. What is under way fails.
    package func unbind() { loop.execute { self.perform(self.machine.unbind()) } }

    /// Closes once nothing is under way but what never ends, or after a while.
    func retire() {
        loop.execute {
            guard self.waiting.values.contains(where: { $0.timeout != nil }) else { return self.perform(self.machine.unbind()) }
            self.loop.scheduleTask(in: self.settings.operationTimeout) { self.perform(self.machine.unbind()) }
        }
    }

    /// Whether it can be used, as far as is known.
    package var isOpen: Bool { get async { (try? await onLoop { self.loop.makeSucceededFuture(self.machine.closure == nil) }) ?? false } }

    /// Since it was opened.
    package struct Counts: Hashable, Sendable {
        /// Messages that answered nothing.
        package var ignored = 0
        /// To where nobody went.
        package var referrals = 0

        package init(ignored: Int = 0, referrals: Int = 0) { (self.ignored, self.referrals) = (ignored, referrals) }
    }

    package var counts: Counts {
        get async throws(DirectoryFailure) {
            try await onLoop {
                self.loop.makeSucceededFuture(Counts(ignored: self.machine.ignoredCount, referrals: self.machine.referralCount))
            }
        }
    }

    /// Waits, by the clock of its loop.
    func rest(until moment: NIODeadline) async { try? await loop.scheduleTask(deadline: moment) {}.futureResult.get() }

    /// Longer messages are taken from now on: the server has let us in.
    func isBound() { loop.execute { self.framing.messageBytesMax = self.settings.messageBytesMax } }

    private func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable () -> EventLoopFuture<Value>
    ) async throws(DirectoryFailure) -> Value {
        do { return try await loop.flatSubmit(body).get() } catch { throw DirectoryFailure(error) }
    }
}

// MARK: Operations

extension LDAPConnection {
    /// - Returns: its identifier; `nil` if it has failed already.
    @discardableResult
    private func begin(_ request: LDAPOperation, _ controls: [LDAPControl], _ who: Waiting.Who, _ timeout: TimeAmount?) -> Int32? {
        do throws(DirectoryFailure) {
            let message = try machine.begin(request, controls: controls)
            waiting[message.id] = Waiting(who: who, timeout: timeout, since: loop.now)
            startTimer(message.id)
            perform([.send(message)])
            return message.id
        } catch {
            fail(who, error)
            return nil
        }
    }

    /// One timer an operation, however many parts its answer has: it looks how long ago the last one was.
    private func startTimer(_ id: Int32) {
        guard let one = waiting[id], let timeout = one.timeout else { return }
        waiting[id]?.timer = loop.scheduleTask(deadline: one.since + timeout) { self.timerFired(id, timeout) }
    }

    private func timerFired(_ id: Int32, _ timeout: TimeAmount) {
        guard let one = waiting[id] else { return }
        // Nothing is read meanwhile, because somebody here is slow: that is not the server's fault.
        if !isReading { waiting[id]?.since = loop.now }
        guard isReading, one.since + timeout <= loop.now else { return startTimer(id) }
        let isHopeless = watch.timedOut()
        perform(machine.giveUp(id, .timedOut(timeout)))
        if isHopeless { perform(machine.close(.timedOut(timeout))) }
    }

    private func perform(_ effects: [LDAPConnectionMachine.Effect], byteCount: Int = 0) {
        for effect in effects {
            switch effect {
            case .send(let message): send(message)
            case .part(let id, let message): wentOn(id, message, byteCount)
            case .answer(let id, let message): ended(id, message)
            case .fail(let id, let why): if let one = forget(id) { fail(one.who, why) }
            case .beginTLS: beginTLS()
            case .close: closing()
            }
        }
    }

    private func send(_ message: LDAPMessage) {
        var bytes = channel.allocator.buffer(capacity: 256)
        message.encode(into: &bytes)
        channel.writeAndFlush(bytes, promise: nil)
    }

    private func wentOn(_ id: Int32, _ message: LDAPMessage, _ byteCount: Int) {
        guard let one = waiting[id] else { return }
        waiting[id]?.since = loop.now
        // Other operations have no use for what is said in between (RFC 4511 §4.13).
        guard case .search(let flow) = one.who, let item = SearchItem(message) else { return }
        flow.buffer.add(item, byteCount: byteCount)
        give(flow)
    }

    private func ended(_ id: Int32, _ message: LDAPMessage) {
        watch.answered()
        guard let one = forget(id) else { return }
        switch one.who {
        case .answer(let promise): promise.succeed(message)
        case .search(let flow):
            if let item = SearchItem(message) { flow.buffer.add(item, byteCount: 0) }
            give(flow)
        }
    }

    private func forget(_ id: Int32) -> Waiting? {
        let one = waiting.removeValue(forKey: id)
        one?.timer?.cancel()
        return one
    }

    private func fail(_ who: Waiting.Who, _ why: DirectoryFailure) {
        switch who {
        case .answer(let promise): promise.fail(why)
        case .search(let flow):
            flow.buffer.fail(why)
            give(flow)
        }
    }

    // MARK: Searches

    private func take(from flow: SearchFlow) -> EventLoopFuture<[SearchItem]> {
        // There is one who asks, one thing at a time.
        flow.wanted?.fail(DirectoryFailure.occupied)
        let promise = loop.makePromise(of: [SearchItem].self)
        flow.wanted = promise
        give(flow)
        readOn()
        return promise.futureResult
    }

    private func give(_ flow: SearchFlow) {
        guard let promise = flow.wanted else { return }
        do throws(DirectoryFailure) {
            guard let items = try flow.buffer.take() else { return }
            flow.wanted = nil
            promise.succeed(items)
        } catch {
            flow.wanted = nil
            promise.fail(error)
        }
    }
}

/// A search as its connection knows it. `@unchecked Sendable`: touched on the connection's loop only.
final class SearchFlow: @unchecked Sendable {
    var id: Int32?
    var buffer = SearchBuffer()
    var wanted: EventLoopPromise<[SearchItem]>?
}

extension SearchItem {
    /// `nil` for what is no part of a search's answer.
    fileprivate init?(_ message: LDAPMessage) {
        switch message.operation {
        case .searchResultEntry(let entry): self = .entry(entry, controls: message.controls)
        case .intermediateResponse(let response): self = .intermediate(response, controls: message.controls)
        case .searchResultDone(let result): self = .done(result, controls: message.controls)
        case .bindRequest, .bindResponse, .unbindRequest, .searchRequest, .searchResultReference, .modifyRequest, .modifyResponse, .addRequest, .addResponse,
            .delRequest, .delResponse, .modifyDNRequest, .modifyDNResponse, .compareRequest, .compareResponse, .abandonRequest, .extendedRequest,
            .extendedResponse:
            return nil
        }
    }
}

// MARK: What comes

extension LDAPConnection {
    func heard(_ bytes: ByteBuffer) {
        lastHeard = loop.now
        framing.take(bytes)
        readOn()
    }

    /// Reads what has come, until a search has as much as may wait.
    private func readOn(toTheEnd: Bool = false) {
        do throws(LDAPFault) {
            while machine.closure == nil, toTheEnd || !isFull, let frame = try framing.next() {
                let message = try LDAPMessage(decoding: frame)
                let before = machine.referralCount
                perform(machine.receive(message, isLast: framing.pendingBytes == 0), byteCount: frame.readableBytes)
                if machine.referralCount > before { noteReferral() }
            }
        } catch {
            return perform(machine.close(.violation(.malformed(error))))
        }
        setReading(!isFull)
    }

    private var isFull: Bool {
        waiting.values.contains { one in if case .search(let flow) = one.who { flow.buffer.isFull(settings.buffer) } else { false } }
    }

    private func setReading(_ isReading: Bool) {
        guard isReading != self.isReading else { return }
        self.isReading = isReading
        // What comes now may have been there for long.
        if isReading { for id in waiting.keys { waiting[id]?.since = loop.now } }
        pause?.cancel()
        pause = isReading ? nil : loop.scheduleTask(in: settings.consumerTimeout) { self.giveUpSlowSearches() }
        // It fails only on a channel that is closed.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    private func giveUpSlowSearches() {
        for (id, one) in waiting {
            guard case .search(let flow) = one.who, flow.buffer.isFull(settings.buffer) else { continue }
            perform(machine.giveUp(id, .timedOut(settings.consumerTimeout)))
        }
        readOn()
    }

    private func noteReferral() {
        guard !hasLoggedReferral else { return }
        hasLoggedReferral = true
        log.notice("The directory refers to another server, which is not followed", metadata: ["server": "\(address)"])
    }

    /// The connection has ended: what has come whole is still looked at, since it may be the reason.
    func ended(_ why: DirectoryFailure) {
        readOn(toTheEnd: true)
        perform(machine.close(why))
    }

    private func closing() {
        ping?.cancel()
        pause?.cancel()
        (ping, pause) = (nil, nil)
        channel.close(promise: nil)
    }
}

// MARK: TLS

extension LDAPConnection {
    /// Behind the server's yes to StartTLS (RFC 4511 §4.14.2).
    private func beginTLS() {
        guard let tls else { preconditionFailure("StartTLS was asked for without a context") }
        do {
            let handler = try NIOSSLClientHandler(context: tls, serverHostname: address.serverName)
            try channel.pipeline.syncOperations.addHandler(handler, position: .first)
        } catch {
            perform(machine.close(DirectoryFailure(error)))
        }
    }

    func handshaken() {
        isProtected = true
        perform(machine.secured())
    }

    /// - Returns: when TLS protects the connection.
    func startTLS() -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: LDAPMessage.self)
        begin(.extendedRequest(.startTLS), [], .answer(promise), settings.connectTimeout)
        return promise.futureResult.flatMapThrowing { message in
            guard let result = message.operation.result, result.code == .success else {
                throw DirectoryFailure.insecure("StartTLS was refused: \(message.operation.result?.words ?? "no result")")
            }
        }
    }

    func markLocal() { isProtected = true }
}

// MARK: Whether anybody is there

extension LDAPConnection {
    func startPinging() {
        guard machine.closure == nil else { return }
        ping = loop.scheduleTask(deadline: lastHeard + settings.pingInterval) { self.pingIfQuiet() }
    }

    /// Who is asked who we are (RFC 4532) answers something, even where it is not known what that means.
    private func pingIfQuiet() {
        if !isReading { lastHeard = loop.now }
        guard lastHeard + settings.pingInterval <= loop.now else { return startPinging() }
        let promise = loop.makePromise(of: LDAPMessage.self)
        begin(.extendedRequest(.whoAmI), [], .answer(promise), settings.operationTimeout)
        promise.futureResult.whenComplete { self.pinged($0) }
    }

    private func pinged(_ result: Result<LDAPMessage, any Error>) {
        if case .failure(let error) = result, case .timedOut(let time) = DirectoryFailure(error) { return perform(machine.close(.timedOut(time))) }
        // Or it was not asked, because a bind is under way, which has a timer of its own.
        lastHeard = loop.now
        startPinging()
    }
}
