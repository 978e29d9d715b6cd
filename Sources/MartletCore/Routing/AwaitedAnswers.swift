package import MartletXML
package import MartletXMPP
package import NIOCore
import Synchronization

/// Requests that this server itself makes, each in the name of one of its own addresses, and who waits for which answer.
///
/// They are kept in the shard of the address that they are from, where an answer comes. An answer counts only from whom was asked, under an
/// identifier that nobody else can guess, and once (`reliability.md`: answers matched by id only).
package struct AwaitedAnswers {
    /// Requests that may wait in the name of one address; a further one fails at once with `resource-constraint`.
    package static var countMax: Int { 64 }

    /// Hears what comes of a request, under the lock of the shard.
    ///
    /// - Parameters:
    ///   - answer: `nil` if none has come, whatever the outcome.
    ///   - home: of the account that the request is from, if it is one and in memory.
    typealias Conclude = @Sendable (RequestOutcome, _ answer: Stanza?, _ home: AccountHome?, LoopContext) -> Void

    /// What a request counts against.
    enum Allowance {
        /// ``AwaitedAnswers/countMax``.
        case own
        /// That of a component that asks in an account's name (``Component/requestsInNameMax``).
        case inName(of: Component)
        /// That of a component that is asked (``Component/Limits``).
        case asking(Component, for: Component.Burden?)
    }

    struct Request {
        let asked: JID
        /// What an account asks for its own sake; else nothing.
        let payload: ByteBuffer
        let allowance: Allowance
        let deadline: Scheduled<Void>
        let conclude: Conclude
    }

    /// Those in the name of one address, by identifier.
    private var requests: [BareJID: [String: Request]] = [:]

    func isAsking(_ asker: BareJID) -> Bool { requests[asker] != nil }
    fileprivate func isAsking(_ asker: BareJID, _ payload: ByteBuffer) -> Bool { requests[asker]?.values.contains { $0.payload == payload } ?? false }
    /// Those of its own, of somebody.
    fileprivate func ids(of asker: BareJID, from asked: JID) -> [String] {
        requests[asker]?.filter { $0.value.isOwn && $0.value.asked == asked }.map(\.key) ?? []
    }

    /// - Returns: whether there was room for it.
    fileprivate mutating func insert(_ request: Request, as id: String, of asker: BareJID) -> Bool {
        let hasRoom =
            switch request.allowance {
            case .own: requests[asker]?.values.count(where: \.isOwn) ?? 0 < Self.countMax
            case .inName(let component): component.beginRequestInName()
            case .asking(let component, let burden): component.beginRequest(id, of: asker, for: burden)
            }
        if hasRoom { requests[asker, default: [:]][id] = request }
        return hasRoom
    }

    /// - Parameter sender: who answers; `nil` is this server.
    fileprivate mutating func take(_ id: String, of asker: BareJID, by sender: JID?) -> Request? {
        guard let request = requests[asker]?[id], sender == nil || sender == request.asked else { return nil }
        requests[asker]?[id] = nil
        if requests[asker]?.isEmpty == true { requests[asker] = nil }
        switch request.allowance {
        case .own: break
        case .inName(let component): component.endRequestInName()
        case .asking(let component, _): component.endRequest(id)
        }
        return request
    }
}

extension AwaitedAnswers.Request {
    fileprivate var isOwn: Bool { if case .own = allowance { true } else { false } }
}

/// A request in the name of an account or a domain, from the bare JID.
package struct OwnRequest: Hashable, Sendable {
    package let kind: IQRequest.Kind
    /// Nobody else can guess it: ``RandomSource/token()``.
    package let id: String
    package let to: JID
    /// The one child element.
    package let payload: ByteBuffer

    package init(_ kind: IQRequest.Kind = .set, id: String, to: JID, payload: ByteBuffer) {
        self.kind = kind
        self.id = id
        self.to = to
        self.payload = payload
    }

    fileprivate func encoded(from sender: BareJID) -> EncodedStanza {
        StanzaBuilder.iq(kind == .get ? .get : .set, from: .bare(sender), to: to, id: id) { $0.raw(payload) }
    }
}

package enum RequestOutcome: Hashable, Sendable {
    case result
    /// Of whoever was asked, or of this server if it could not ask.
    case error(StanzaError)
    /// Nothing has come in time.
    case noAnswer
}

extension AccountHome {
    /// Whether somebody has been asked this and has not answered.
    package func isAsking(_ payload: ByteBuffer) -> Bool { shard.awaited.isAsking(address, payload) }
}

extension Router {
    /// How long an answer is waited for, mostly.
    package static var answerWithin: TimeAmount { .seconds(30) }

    /// From now on an answer is awaited. Under the lock of the shard of whoever asks.
    ///
    /// - Returns: whether it is; else `conclude` hears of it when the lock was released.
    private func expect(
        _ id: String, of asker: BareJID, from asked: JID, _ allowance: AwaitedAnswers.Allowance = .own, about payload: ByteBuffer = ByteBuffer(),
        within time: TimeAmount = answerWithin, _ context: LoopContext, _ conclude: @escaping AwaitedAnswers.Conclude
    ) -> Bool {
        let mailbox = context.mailbox
        let deadline = mailbox.loop.scheduleTask(in: time) { [self] in
            mailbox.run { [self] context in self.conclude(id, of: asker, .noAnswer, context) }
        }
        let request = AwaitedAnswers.Request(asked: asked, payload: payload, allowance: allowance, deadline: deadline, conclude: conclude)
        let shard = placement.shard(of: asker)
        guard shard.awaited.insert(request, as: id, of: asker) else {
            deadline.cancel()
            context.after { context in
                shard.withLock { conclude(.error(StanzaError(.resourceConstraint, .wait)), nil, shard.home(asker), context) }
            }
            return false
        }
        awaitedCount.add(1, ordering: .relaxed)
        return true
    }

    /// Sends what is waited for, once no lock is held.
    ///
    /// - Parameter send: says why it is not sent.
    private func send(_ id: String, of asker: BareJID, _ context: LoopContext, by send: @escaping (LoopContext) -> StanzaError?) {
        context.after { [self] context in
            if let refusal = send(context) { conclude(id, of: asker, .error(refusal), context) }
        }
    }

    // MARK: Answers

    /// An answer to a bare JID of this server: taken if it is waited for, else of no interest to anybody. With no lock held.
    func answered(_ stanza: Stanza, _ type: IQType, _ context: LoopContext) {
        guard awaitsAnswers, case .bare(let asker)? = stanza.to, let id = stanza.id else { return }
        switch type {
        case .get, .set: return
        case .result: conclude(id, of: asker, .result, answer: stanza, context)
        case .error: conclude(id, of: asker, .error(StanzaError(in: stanza)), answer: stanza, context)
        }
    }

    /// What this server, or somebody who is here, has for an address of a domain that has accounts, besides its sessions: an answer, or an event for
    /// the domain itself. May be called under a shard's lock.
    func take(_ encoded: EncodedStanza, at address: JID, of host: Host, _ context: LoopContext) {
        guard case .bare(let bare) = address, encoded.isIQ ? awaitsAnswers : bare.isDomain && host.listening != nil else { return }
        context.after { [self] context in
            guard let stanza = Stanza(sent: encoded) else { return }
            if case .iq(let type) = stanza.kind { answered(stanza, type, context) } else { _ = isHeard(stanza, by: host, context) }
        }
    }

    /// Nothing is looked up while nobody waits for anything.
    private var awaitsAnswers: Bool { awaitedCount.load(ordering: .relaxed) > 0 }

    /// - Parameter answer: `nil` if this server itself says what comes of the request.
    private func conclude(
        _ id: String, of asker: BareJID, _ outcome: @autoclosure () -> RequestOutcome, answer: Stanza? = nil, _ context: LoopContext
    ) {
        let shard = placement.shard(of: asker)
        shard.withLock {
            guard let request = shard.awaited.take(id, of: asker, by: answer?.from) else { return }
            awaitedCount.subtract(1, ordering: .relaxed)
            request.deadline.cancel()
            let home = shard.home(asker)
            request.conclude(outcome(), answer, home, context)
            if let home { shardIdle(home) }
        }
        context.runEffects()
    }

    /// A session is gone: its account need not wait for what it was asked. Under the lock.
    func forgetRequests(to session: FullJID, of home: AccountHome, _ context: LoopContext) {
        let account = home.address
        for id in home.shard.awaited.ids(of: account, from: .full(session)) {
            context.after { [self] context in conclude(id, of: account, .noAnswer, context) }
        }
    }

    /// Nobody is left to answer these.
    ///
    /// - Parameter askers: in whose names they are, by identifier.
    func forgetRequests(_ askers: [String: BareJID], _ context: LoopContext) {
        for (id, asker) in askers {
            context.after { [self] context in conclude(id, of: asker, .noAnswer, context) }
        }
    }
}

// MARK: In an account's name, for what it is known to want

extension Router {
    /// Under the lock of the account's shard, and so is `conclude`; not at all if the account is not in memory by then.
    ///
    /// - Parameter reachesAccounts: whether another account of this server may be asked, as one of another server's would be.
    func ask(
        _ request: OwnRequest, reachesAccounts: Bool = false, _ home: AccountHome, _ context: LoopContext,
        _ conclude: @escaping @Sendable (RequestOutcome, _ answer: ElementView?, AccountHome, LoopContext) -> Void
    ) {
        let account = home.address
        let isExpected = expect(request.id, of: account, from: request.to, about: request.payload, context) { outcome, answer, home, context in
            if let home, home.isInMemory { conclude(outcome, answer?.element.root.firstChild, home, context) }
        }
        if isExpected { send(request.id, of: account, context) { [self] context in send(request, of: account, reachesAccounts, context) } }
    }

    /// - Returns: why it was not sent.
    private func send(_ request: OwnRequest, of account: BareJID, _ reachesAccounts: Bool, _ context: LoopContext) -> StanzaError? {
        let encoded = request.encoded(from: account)
        guard let stanza = Stanza(sent: encoded), case .iq(let type) = stanza.kind, isAllowed(stanza, to: request.to, of: account, context) else {
            return .notAcceptable()
        }
        guard let host = context.hosts.host(of: request.to.bare) else {
            if case .refused(let error) = remote.deliver(encoded, from: account, to: request.to.bare, context) { return error }
            return nil
        }
        if reachesAccounts, case .bare(let other) = request.to, !other.isDomain, let child = stanza.element.root.firstChild {
            _ = ask(other, host, request.kind, child, stanza, Asker(origin: nil, nil), context, isByAdmin: false)
            return nil
        }
        // What the server itself and its accounts answer is not for accounts to ask.
        guard case .full(let full) = request.to, !full.bare.isDomain else { return .serviceUnavailable }
        return pass(stanza, type, to: full, host, origin: nil, context)
    }

    /// Whether the account's own screening lets it out.
    private func isAllowed(_ stanza: Stanza, to: JID, of account: BareJID, _ context: LoopContext) -> Bool {
        guard let host = context.hosts.host(of: account) else { return false }
        let route = Route(account: account, direction: .sent, origin: nil, peer: to)
        let shard = placement.shard(of: account)
        return shard.withLock {
            guard let home = shard.home(account) else { return false }
            return host.screening.allSatisfy { $0.screen(stanza, home, route) == .pass }
        }
    }
}

// MARK: In an account's name, for a component (XEP-0356 §6)

extension Router {
    /// With no lock held; the caller runs effects.
    ///
    /// - Parameters:
    ///   - content: the request as it is to be sent, but for its `from` and `id`.
    ///   - answered: called once, on whatever loop, with no lock held: with the answer, or with an error of this server's. It has an identifier of its own.
    package func ask(
        _ content: ElementView, _ kind: IQRequest.Kind, to: JID, inNameOf account: BareJID, by component: Component, _ context: LoopContext,
        answered: @escaping @Sendable (Stanza, LoopContext) -> Void
    ) {
        let id = context.random.token()
        var writer = XMLWriter()
        writer.open(copying: content, setting: ["from": account.description, "to": to.description, "id": id])
        writer.appendContent(of: content)
        writer.close()
        guard let request = Stanza(sent: EncodedStanza(writer.buffer)) else { preconditionFailure("the writer writes what the parser reads") }
        let isExpected = placement.shard(of: account).withLock {
            expect(id, of: account, from: to, .inName(of: component), context) { outcome, answer, _, context in
                let answer = answer ?? outcome.refusal(of: request)
                context.after { context in answered(answer, context) }
            }
        }
        if isExpected { send(request, kind, id, to: to, inNameOf: account, by: component, context) }
    }

    private func send(
        _ request: Stanza, _ kind: IQRequest.Kind, _ id: String, to: JID, inNameOf account: BareJID, by component: Component, _ context: LoopContext
    ) {
        withHome(of: account, bytes: request.element.byteCount, context) { [self] home, context in
            let stage = home.stage
            context.after { [self] context in
                switch stage {
                case .resident: iq(inName: request, kind, to: to, by: component.name, context)
                case .absent: conclude(id, of: account, .error(.serviceUnavailable), context)
                case .loading, .stale, .failed: conclude(id, of: account, .error(StanzaError(.internalServerError, .wait)), context)
                }
            }
            if home.isResident { shardIdle(home) }
        }
    }
}

// MARK: In the name of a domain

extension Router {
    /// Asks a service, of this server or of another. With no lock held; the caller runs effects.
    ///
    /// - Parameters:
    ///   - domain: one that has accounts.
    ///   - answered: called once, on whatever loop, with no lock held. The answer is `nil` if none has come, whatever the outcome.
    package func ask(
        _ request: OwnRequest, inNameOf domain: BareJID, within time: TimeAmount = answerWithin, _ context: LoopContext,
        answered: @escaping @Sendable (RequestOutcome, _ answer: Stanza?, LoopContext) -> Void
    ) {
        let isExpected = placement.shard(of: domain).withLock {
            expect(request.id, of: domain, from: request.to, within: time, context) { outcome, answer, _, context in
                context.after { context in answered(outcome, answer, context) }
            }
        }
        if isExpected { send(request.id, of: domain, context) { [self] context in send(request, inNameOf: domain, context) } }
    }

    /// The same, where only a result is of interest.
    ///
    /// - Parameters:
    ///   - content: of a request of type `get`.
    ///   - mailbox: of the loop on which it is asked.
    package func ask(_ peer: BareJID, by domain: BareJID, _ content: ByteBuffer, on mailbox: LoopMailbox) async -> Stanza? {
        await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                let request = OwnRequest(.get, id: context.random.token(), to: .bare(peer), payload: content)
                ask(request, inNameOf: domain, context) { outcome, answer, _ in continuation.resume(returning: outcome == .result ? answer : nil) }
                context.runEffects()
            }
        }
    }

    /// Asks a component, at once and behind what waits for it. With no lock held.
    ///
    /// - Parameters:
    ///   - burden: whose request it is, if it is not the server's own.
    ///   - answered: as above.
    package func ask(
        _ component: Component, _ kind: IQRequest.Kind, inNameOf domain: BareJID, for burden: Component.Burden? = nil, _ context: LoopContext,
        _ content: (inout XMLWriter) -> Void, answered: @escaping @Sendable (RequestOutcome, _ answer: Stanza?, LoopContext) -> Void
    ) {
        let (id, address) = (context.random.token(), JID.bare(component.name))
        let request = StanzaBuilder.iq(kind == .get ? .get : .set, from: .bare(domain), to: address, id: id, content)
        let isExpected = placement.shard(of: domain).withLock {
            expect(id, of: domain, from: address, .asking(component, for: burden), context) { outcome, answer, _, context in
                context.after { context in answered(outcome, answer, context) }
            }
        }
        guard isExpected, let error = component.deliver(request, context) else { return }
        context.after { [self] context in conclude(id, of: domain, .error(error), context) }
    }

    /// - Returns: why it is not sent.
    private func send(_ request: OwnRequest, inNameOf domain: BareJID, _ context: LoopContext) -> StanzaError? {
        let encoded = request.encoded(from: domain)
        if context.hosts.service(of: request.to.bare) != nil {
            guard let stanza = Stanza(sent: encoded), case .iq(let type) = stanza.kind else { return .internalServerError }
            _ = iq(stanza, type, to: request.to, byPeer: Asker(origin: nil, nil), context)
            return nil
        }
        guard context.hosts.host(of: request.to.bare) == nil else { return .serviceUnavailable }
        if case .refused(let error) = remote.deliver(encoded, from: domain, to: request.to.bare, context) { return error }
        return nil
    }
}

extension RequestOutcome {
    /// What this server says instead of who was asked.
    fileprivate func refusal(of request: Stanza) -> Stanza {
        let error: StanzaError =
            switch self {
            case .error(let error): error
            case .noAnswer: StanzaError(.remoteServerTimeout)
            case .result: preconditionFailure("a result has come from somebody")
            }
        guard let stanza = Stanza(sent: StanzaBuilder.error(error, answering: request)) else { preconditionFailure("the writer writes what the parser reads") }
        return stanza
    }
}

extension EncodedStanza {
    /// By how it begins.
    fileprivate var isIQ: Bool { bytes.readableBytesView.starts(with: Array("<iq".utf8)) }
}

extension StanzaError {
    /// What an error says; `undefined-condition` where it says nothing that is known (RFC 6120 §8.3).
    package init(in stanza: Stanza) {
        let error = stanza.element.root.firstChild("error", .client)
        let condition = error?.children.lazy.filter { $0.isIn(.stanzaErrors) }.compactMap { Condition(rawValue: String($0.localName)) }.first
        self.init(condition ?? .undefinedCondition, error?.attribute("type").flatMap(Kind.init(rawValue:)))
    }
}
