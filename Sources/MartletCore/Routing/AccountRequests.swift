import MartletXML
package import MartletXMPP
package import NIOCore

/// A request in an account's name that waits for its answer.
struct PendingRequest {
    /// Hears what comes of it, under the lock of the account's shard.
    typealias Conclude = @Sendable (RequestOutcome, _ answer: ElementView?, AccountHome, LoopContext) -> Void

    let request: AccountRequest
    let conclude: Conclude
    let deadline: Scheduled<Void>
}

extension AccountHome {
    /// Requests in an account's name that may wait for an answer at a time; a further one fails at once with `resource-constraint`.
    package static var requestsMax: Int { 64 }

    /// Whether somebody has been asked this and has not answered.
    package func isAsking(_ payload: ByteBuffer) -> Bool { requests.values.contains { $0.request.payload == payload } }
}

/// Requests that an account itself makes, for what it is known to want. An answer counts only from whom was asked, under an identifier
/// that nobody else can guess, and once (`reliability.md`: answers matched by id only).
extension Router {
    /// How long an answer is waited for.
    package static var answerWithin: TimeAmount { .seconds(30) }

    /// Does what a stage wants done. Under the lock.
    func perform(_ consequences: Consequences, of stage: any RequestingStage, _ home: AccountHome, _ context: LoopContext) {
        submit(consequences.writes, of: home, context)
        for request in consequences.requests {
            ask(request, home, context) { [self] outcome, answer, home, context in
                perform(stage.answered(request, outcome, answer, at: home, context), of: stage, home, context)
            }
        }
        guard !consequences.wishes.isEmpty, let eventing = context.hosts.host(of: home.address)?.eventing else { return }
        for wish in consequences.wishes { eventing.wish(wish, at: home, self, context) }
    }

    func submit(_ writes: [Write], of home: AccountHome, _ context: LoopContext) {
        guard !writes.isEmpty else { return }
        let ticket = store.submit(writes)
        home.lastTicket = ticket
        let address = home.address
        context.afterCommit(ticket) { [self] context, outcome in
            if case .failure = outcome { reload(address, context) }
        }
    }

    /// Under the lock.
    ///
    /// - Parameter reachesAccounts: whether another account of this server may be asked, as one of another server's would be.
    func ask(
        _ request: AccountRequest, reachesAccounts: Bool = false, _ home: AccountHome, _ context: LoopContext, _ conclude: @escaping PendingRequest.Conclude
    ) {
        let account = home.address
        let mailbox = context.mailbox
        let hasRoom = home.requests.count < AccountHome.requestsMax
        let deadline = mailbox.loop.scheduleTask(in: Self.answerWithin) { [self] in
            mailbox.run { [self] context in self.conclude(request.id, of: account, .noAnswer, context) }
        }
        home.requests[request.id] = PendingRequest(request: request, conclude: conclude, deadline: deadline)
        context.after { [self] context in
            let refusal = hasRoom ? send(request, of: account, reachesAccounts, context) : StanzaError(.resourceConstraint, .wait)
            if let refusal { self.conclude(request.id, of: account, .error(refusal), context) }
        }
    }

    /// - Returns: why it was not sent.
    private func send(_ request: AccountRequest, of account: BareJID, _ reachesAccounts: Bool, _ context: LoopContext) -> StanzaError? {
        let type: IQType = request.kind == .get ? .get : .set
        let encoded = StanzaBuilder.iq(type, from: .bare(account), to: request.to, id: request.id) { $0.raw(request.payload) }
        guard let stanza = Stanza(sent: encoded), isAllowed(stanza, to: request.to, of: account, context) else { return .notAcceptable() }
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

    /// A session is gone: who has asked it something need not wait. Under the lock.
    func forgetRequests(to session: FullJID, of home: AccountHome, _ context: LoopContext) {
        guard !home.requests.isEmpty else { return }
        let account = home.address
        for (id, pending) in home.requests where pending.request.to == .full(session) {
            context.after { [self] context in conclude(id, of: account, .noAnswer, context) }
        }
    }

    // MARK: Answers

    /// An answer to a bare JID of this server: taken if the account or the domain has asked for it, else of no interest to anybody.
    func answered(_ stanza: Stanza, _ type: IQType, _ context: LoopContext) {
        if answered(inName: stanza, context) { return context.runEffects() }
        guard case .bare(let account)? = stanza.to, let id = stanza.id else { return }
        if account.isDomain {
            guard !domainRequests.conclude(id, by: account, from: stanza.from, type == .result ? stanza : nil) else { return }
            if let host = context.hosts.host(of: account) { _ = isHeard(stanza, by: host, context) }
            return
        }
        let outcome: RequestOutcome
        switch type {
        case .get, .set: return
        case .result: outcome = .result
        case .error: outcome = .error(StanzaError(in: stanza))
        }
        conclude(id, of: account, outcome, answer: stanza.element.root.firstChild, from: stanza.from, context)
    }

    /// - Parameter sender: who answers; `nil` is this server.
    private func conclude(
        _ id: String, of account: BareJID, _ outcome: RequestOutcome, answer: ElementView? = nil, from sender: JID? = nil, _ context: LoopContext
    ) {
        let shard = placement.shard(of: account)
        shard.withLock {
            guard let home = shard.home(account), let pending = home.requests[id], sender == nil || sender == pending.request.to else { return }
            home.requests[id] = nil
            pending.deadline.cancel()
            guard home.isInMemory else { return }
            pending.conclude(outcome, answer, home, context)
            shardIdle(home)
        }
        context.runEffects()
    }
}

extension StanzaError {
    /// What an error says; `undefined-condition` where it says nothing that is known (RFC 6120 §8.3).
    package init(in stanza: Stanza) {
        let error = stanza.element.root.firstChild("error", .client)
        let condition = error?.children.lazy.filter { $0.isIn(.stanzaErrors) }.compactMap { Condition(rawValue: String($0.localName)) }.first
        self.init(condition ?? .undefinedCondition, error?.attribute("type").flatMap(Kind.init(rawValue:)))
    }
}
