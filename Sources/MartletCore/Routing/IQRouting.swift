package import MartletXML
package import MartletXMPP

/// Who asks, and where answers go: a session of this server, or, without one, whoever is in `from`, by another server.
struct Asker: Sendable {
    let origin: SessionRef?
    let completion: Completion?
    /// The component that asks in an account's name (XEP-0356 §6).
    let proxy: BareJID?

    init(origin: SessionRef?, _ completion: Completion?, proxy: BareJID? = nil) {
        self.origin = origin
        self.completion = completion
        self.proxy = proxy
    }

    /// Who has made a request that is from `sender`; the domain itself, if that is a service's.
    func author(_ sender: JID, _ context: LoopContext) -> BareJID {
        proxy ?? context.hosts.service(of: sender.bare)?.domain ?? sender.bare
    }

    /// Whether an account of this server asks as such: by a session of its own, or by a component that may do so in its name.
    var isAccount: Bool { origin != nil || proxy != nil }
}

/// Requests and answers (RFC 6120 §8.2.3): every get or set is answered exactly once, a result or an error never.
extension Router {
    func iq(_ stanza: Stanza, _ type: IQType, from session: ClientSession, _ completion: Completion) -> Progress {
        let (asker, context) = (Asker(origin: session.ref, completion), session.context)
        guard let kind = IQRequest.Kind(type) else {
            guard let to = stanza.to else { return .done }
            if let error = refusal(of: stanza, to: to, from: session) { return refuse(stanza, error, asker, context) }
            return passOn(stanza, type, to: to, asker, context)
        }
        guard let child = stanza.element.root.onlyChild else { return refuse(stanza, Self.notOneChild, asker, context) }
        guard let to = stanza.to, to != .bare(session.account) else { return own(kind, child, stanza, from: session, asker) }
        if !isServer(to, context), let error = refusal(of: stanza, to: to, from: session) { return refuse(stanza, error, asker, context) }
        return request(kind, child, stanza, to: to, asker, context) { [self] host in isAdmin(session, in: host) }
    }

    /// A request or an answer that another server has for an address of ours.
    func iq(_ stanza: Stanza, _ type: IQType, to: JID, byPeer asker: Asker, _ context: LoopContext) -> Progress {
        guard let kind = IQRequest.Kind(type) else { return passOn(stanza, type, to: to, asker, context) }
        guard let child = stanza.element.root.onlyChild else { return refuse(stanza, Self.notOneChild, asker, context) }
        // The server is not administered from elsewhere.
        return request(kind, child, stanza, to: to, asker, context) { _ in false }
    }

    /// A request that a component makes in the name of an account (XEP-0356 §6), from the account's bare address: what the account could not do, it
    /// cannot. The answer comes to that address (`AwaitedAnswers.swift`). With no lock held; the caller runs effects.
    func iq(inName stanza: Stanza, _ kind: IQRequest.Kind, to: JID, by component: BareJID, _ context: LoopContext) {
        let asker = Asker(origin: nil, nil, proxy: component)
        guard let child = stanza.element.root.onlyChild else { return bounce(stanza, Self.notOneChild, nil, context) }
        if to.bare != stanza.from.bare, !isServer(to, context), let error = refusal(of: stanza, to: to, context) {
            return bounce(stanza, error, nil, context)
        }
        _ = request(kind, child, stanza, to: to, asker, context) { _ in false }
    }

    /// A request of a component about an account, answered as if the account had made it (XEP-0356 §4.3). With no lock held; the caller runs effects.
    package func iq(forOwner stanza: Stanza, _ kind: IQRequest.Kind, of account: BareJID, _ completion: Completion, _ context: LoopContext) -> Progress {
        let asker = Asker(origin: nil, completion)
        guard let child = stanza.element.root.onlyChild else { return refuse(stanza, Self.notOneChild, asker, context) }
        guard let host = context.hosts.host(of: account), case .home(let decide)? = host.handler(kind, child, at: .ownAccount) else {
            return refuse(stanza, .serviceUnavailable, asker, context)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: account, child: child)
        request.host = host
        request.isForOwner = true
        return runInHome(request, asker, context, decide)
    }

    /// Whether it is one of our domains as such, which nobody blocks for himself.
    private func isServer(_ address: JID, _ context: LoopContext) -> Bool {
        address.bare.isDomain && context.hosts.host(of: address.bare) != nil
    }

    private static var notOneChild: StanzaError { .badRequest("a request has exactly one child") }

    private func request(
        _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, to: JID, _ asker: Asker, _ context: LoopContext,
        isAdmin: (Host) -> Bool
    ) -> Progress {
        let destination = Destination(to, context)
        if case .service(let host) = destination {
            if to == .bare(host.domain), host.service?.actsAsServer != true {
                return ask(host, kind, child, stanza, asker, context, isByAdmin: isAdmin(host))
            }
            var arrival = Arrival(stanza, to: to, origin: asker.origin, asker.completion)
            arrival.isByAdmin = isAdmin(host)
            return deliver(arrival, to: host, context)
        }
        if case .full(let full) = to, !full.bare.isDomain { return passOn(stanza, IQType(kind), to: to, asker, context) }
        switch destination {
        case .service: return .done
        case .remote: return passOn(stanza, IQType(kind), to: to, asker, context)
        case .host(let host): return ask(host, kind, child, stanza, asker, context, isByAdmin: isAdmin(host))
        case .account(let host): return ask(to.bare, host, kind, child, stanza, asker, context, isByAdmin: isAdmin(host))
        }
    }

    /// Answers a request with an error.
    private func refuse(_ stanza: Stanza, _ error: StanzaError, _ asker: Asker, _ context: LoopContext) -> Progress {
        bounce(stanza, error, asker.origin, context)
        return .done
    }

    // MARK: The server answers

    private func own(_ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, from session: ClientSession, _ asker: Asker) -> Progress {
        let context = session.context
        guard let host = context.hosts.host(of: session.account),
            let handler = host.handler(kind, child, at: .ownAccount, by: asker.author(stanza.from, context)) ?? host.handler(kind, child, at: .account)
        else { return refuse(stanza, .serviceUnavailable, asker, context) }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: session.account, child: child)
        request.host = host
        request.account = session.home.shard.withLock { session.home.id }
        request.isByApplication = session.ref.application != nil
        return run(handler, request, host, asker, context)
    }

    func ask(
        _ account: BareJID, _ host: Host, _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, _ asker: Asker, _ context: LoopContext,
        isByAdmin: Bool
    ) -> Progress {
        let isOwn = stanza.from == .bare(account)
        let own = isOwn ? host.handler(kind, child, at: .ownAccount) : nil
        guard let handler = host.delegating?.handler(kind, child, at: .account, by: asker.author(stanza.from, context)) ?? own ?? host.handler(kind, child, at: .account)
        else {
            if host.handler(kind, child, at: .ownAccount) != nil {
                host.policy.refused(stanza.from.bare, "\(child.localName) \(kind)", of: account)
            }
            return refuse(stanza, .serviceUnavailable, asker, context)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: account, child: child)
        request.host = host
        request.isByAdmin = isByAdmin
        request.isByApplication = asker.origin?.application != nil
        if case .home(let decide) = handler.resolved(for: request) { return runInHome(request, asker, context, decide) }
        return admit(request, handler, host, asker, context)
    }

    /// The password of an application is for no more than that.
    func isAdmin(_ session: ClientSession, in host: Host) -> Bool {
        guard session.ref.application == nil else { return false }
        let isMarked = session.account.domainpart == host.domain.domainpart && session.home.shard.withLock { session.home.isAdmin }
        return host.policy.may(session.account, .administer, isMarked: isMarked)
    }

    /// A request to another's account that is answered without its home: the home is asked all the same whether the account
    /// wants to hear of the sender, and whether there is such an account. The handler sees to it that nobody learns that.
    private func admit(
        _ request: IQRequest, _ handler: IQRoute.Handler, _ host: Host, _ asker: Asker, _ context: LoopContext
    ) -> Progress {
        let shard = placement.shard(of: request.owner)
        let mailbox = context.mailbox
        var admitted: Result<IQRequest, StanzaError>?
        let isParked = shard.withLock {
            if let home = readyHome(request.owner, in: shard, context) {
                admitted = admission(request, home, host, asker.origin)
                return false
            }
            return park(request.owner, bytes: request.stanza.element.byteCount, in: shard, context) { [self] home, context in
                let admitted = admission(request, home, host, asker.origin)
                context.post(.run { context in
                    self.goOn(as: asker, context) { asker, context in
                        let progress = self.run(handler, admitted, request, host, asker, context)
                        asker.completion?.complete(progress, in: context)
                    }
                }, to: mailbox)
            }
        }
        if isParked { return .pending }
        return run(handler, admitted ?? .failure(StanzaError(.resourceConstraint, .wait)), request, host, asker, context)
    }

    /// A session may have been resumed on another loop meanwhile.
    private func goOn(as asker: Asker, _ context: LoopContext, _ work: @escaping @Sendable (Asker, LoopContext) -> Void) {
        guard let origin = asker.origin else { return work(asker, context) }
        withSession(origin, context) { session, context in work(Asker(origin: session.ref, asker.completion), context) }
    }

    private func run(
        _ handler: IQRoute.Handler, _ admitted: Result<IQRequest, StanzaError>, _ request: IQRequest, _ host: Host, _ asker: Asker,
        _ context: LoopContext
    ) -> Progress {
        switch admitted {
        case .success(let request): run(handler, request, host, asker, context)
        case .failure(let error): refuse(request.stanza, error, asker, context)
        }
    }

    /// Under the lock.
    func admission(_ request: IQRequest, _ home: AccountHome, _ host: Host, _ origin: SessionRef?) -> Result<IQRequest, StanzaError> {
        switch home.stage {
        case .absent: return .success(request)
        case .loading, .stale, .failed: return .failure(StanzaError(.internalServerError, .wait))
        case .resident:
            guard isWelcome(request.stanza, home, host, origin) else { return .failure(.serviceUnavailable) }
            var request = request
            request.account = home.id
            return .success(request)
        }
    }

    private func ask(
        _ host: Host, _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, _ asker: Asker, _ context: LoopContext, isByAdmin: Bool
    ) -> Progress {
        guard case .bare? = stanza.to, let handler = host.handler(kind, child, at: .host, by: asker.author(stanza.from, context)) else {
            return refuse(stanza, .serviceUnavailable, asker, context)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: host.domain, child: child)
        request.host = host
        request.isByAdmin = isByAdmin
        request.isByApplication = asker.origin?.application != nil
        return run(handler, request, host, asker, context)
    }

    private func run(_ handler: IQRoute.Handler, _ asked: IQRequest, _ host: Host, _ asker: Asker, _ context: LoopContext) -> Progress {
        var request = asked
        request.mailbox = context.mailbox
        switch handler {
        case .session(let answer): return runInSession(request, asker, context, answer)
        case .immediate(let answer):
            do throws(StanzaError) { reply(try answer(request, host), to: request, asker.origin, context) }
            catch { return refuse(request.stanza, error, asker, context) }
            return .done
        case .home(let decide): return runInHome(request, asker, context, decide)
        case .suspending(let answer):
            if let session = asker.origin?.session, let completion = asker.completion {
                session.suspend(request, completion, answer)
            } else {
                self.answer(request, asker, on: context.mailbox, answer)
            }
            return .pending
        case .concurrent(let answer):
            self.answer(request, asker, on: context.mailbox, answer)
            return .pending
        case .held(let take):
            take(HeldRequest(request, asker, self), context)
            return .pending
        case .chosen(let choose): return run(choose(request), request, host, asker, context)
        }
    }

    private func runInSession(
        _ request: IQRequest, _ asker: Asker, _ context: LoopContext,
        _ answer: (IQRequest, inout SessionEntry) throws(StanzaError) -> IQReply
    ) -> Progress {
        guard let session = asker.origin?.session else { return refuse(request.stanza, .serviceUnavailable, asker, context) }
        let home = session.home
        home.shard.lock()
        defer { home.shard.unlock() }
        guard let index = home.index(of: session.ref) else { return .done }
        do throws(StanzaError) { reply(try answer(request, &home.sessions[index]), to: request, session.ref, context) }
        catch { return refuse(request.stanza, error, asker, context) }
        return .done
    }

    private func runInHome(
        _ request: IQRequest, _ asker: Asker, _ context: LoopContext,
        _ decide: @escaping @Sendable (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision
    ) -> Progress {
        let shard = placement.shard(of: request.owner)
        return shard.withLock {
            if let home = readyHome(request.owner, in: shard, context) { return self.decide(request, home, asker, context, decide) }
            let isParked = park(request.owner, bytes: request.stanza.element.byteCount, in: shard, context) { [self] home, context in
                let progress = self.decide(request, home, asker, context, decide)
                asker.completion?.complete(progress, in: context)
            }
            if isParked { return .pending }
            return refuse(request.stanza, StanzaError(.resourceConstraint, .wait), asker, context)
        }
    }

    /// Under the lock of the owner's shard. The reply and all that follows wait for the disk (P7).
    private func decide(
        _ request: IQRequest, _ home: AccountHome, _ asker: Asker, _ context: LoopContext,
        _ decide: (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision
    ) -> Progress {
        guard home.isResident else {
            return refuse(request.stanza, home.stage == .absent ? .serviceUnavailable : StanzaError(.internalServerError, .wait), asker, context)
        }
        guard request.isByOwner || context.hosts.host(of: home.address).map({ isWelcome(request.stanza, home, $0, asker.origin) }) ?? false else {
            return refuse(request.stanza, .serviceUnavailable, asker, context)
        }
        let decision: HomeDecision
        do throws(StanzaError) { decision = try decide(request, home, context) }
        catch { return refuse(request.stanza, error, asker, context) }
        guard !decision.writes.isEmpty else {
            answer(request, decision, home, asker.origin, context)
            return .done
        }
        let ticket = store.submit(decision.writes)
        home.lastTicket = ticket
        if let change = decision.rosterChange { home.tell(.rosterChange(change), after: ticket) }
        let address = home.address
        context.afterCommit(ticket) { [self] context, outcome in
            switch outcome {
            case .success:
                reply(decision, to: request, asker.origin, context)
                tellSettled(of: address, context)
                decision.committed?(self, context)
            case .failure(let error):
                bounceRefused(request.stanza, error, asker.origin, context)
                reload(address, context)
            }
        }
        return .done(ticket)
    }

    /// Answers what only read. Memory may be ahead of the disk: what it says is told when the disk has come so far, and in order with
    /// the changes that are told. Under the lock.
    private func answer(
        _ request: IQRequest, _ decision: HomeDecision, _ home: AccountHome, _ origin: SessionRef?, _ context: LoopContext
    ) {
        if let origin {
            home.tell(.answer(decision.reply.before + [decision.reply.encoded(answering: request.stanza)] + decision.pushes, to: origin), after: home.lastTicket)
            tellSettled(home, context)
            if !home.tellings.isEmpty {
                let address = home.address
                context.afterCommit(home.lastTicket) { [self] context, _ in tellSettled(of: address, context) }
            }
        } else {
            // Of what an account tells its own sessions, who asks from elsewhere sees nothing: only the disk is waited for.
            context.afterCommit(home.lastTicket) { [self] context, _ in reply(decision, to: request, nil, context) }
        }
        if let committed = decision.committed { context.after { [self] in committed(self, $0) } }
    }

    private func reply(_ decision: HomeDecision, to request: IQRequest, _ origin: SessionRef?, _ context: LoopContext) {
        reply(decision.reply, to: request, origin, context)
        for push in decision.pushes { send(push, from: request.owner, to: request.actor, origin, context) }
    }

    func reply(_ reply: IQReply, to request: IQRequest, _ origin: SessionRef?, _ context: LoopContext) {
        for stanza in reply.before { send(stanza, from: request.owner, to: request.actor, origin, context) }
        send(reply.encoded(answering: request.stanza), from: request.owner, to: request.actor, origin, context)
    }

    /// The one place where a stanza meets a task: for what must read the disk or ask somebody else.
    func answer(
        _ request: IQRequest, _ asker: Asker, on mailbox: LoopMailbox,
        _ work: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply,
        then next: @escaping @Sendable (ClientSession) -> Void = { _ in }
    ) {
        Task(executorPreference: executor) { [self] in
            let outcome: Result<IQReply, StanzaError>
            do throws(StanzaError) { outcome = .success(try await work(request, self)) }
            catch { outcome = .failure(error) }
            mailbox.run { context in
                switch outcome {
                case .success(let answer): self.reply(answer, to: request, asker.origin, context)
                case .failure(let error): self.bounce(request.stanza, error, asker.origin, context)
                }
                asker.completion?.complete(.none, in: context)
                if let session = asker.origin?.session { next(session) }
            }
        }
    }

    // MARK: Somebody else answers

    /// To one session of an account, to another server or to a service (RFC 6121 §8.5.3). Answers to the server itself end here.
    private func passOn(_ stanza: Stanza, _ type: IQType, to: JID, _ asker: Asker, _ context: LoopContext) -> Progress {
        guard let host = context.hosts.host(of: to.bare) else { return deliverRemote(stanza, origin: asker.origin, context) }
        guard case .full(let full) = to, !full.bare.isDomain else {
            answered(stanza, type, context)
            return .done
        }
        if let error = pass(stanza, type, to: full, host, origin: asker.origin, context) { return refuse(stanza, error, asker, context) }
        return .done
    }

    /// To one session of an account of this server.
    ///
    /// - Returns: why it does not get there, if whoever sent it is to know.
    func pass(_ stanza: Stanza, _ type: IQType, to full: FullJID, _ host: Host, origin: SessionRef?, _ context: LoopContext) -> StanzaError? {
        let shard = placement.shard(of: full.bare)
        return shard.withLock {
            let home = shard.home(full.bare).flatMap { $0.isInMemory && isWelcome(stanza, $0, host, origin) ? $0 : nil }
            let delivery = DeliveryRules.iq(
                type, to: .full(full), sessions: home?.sessions ?? [],
                sharesPresence: home.map { sharesPresence($0, full, stanza.from) } ?? false)
            switch delivery {
            case .deliver(let recipients): if let home { post(stanza.encoded(), to: recipients, of: home, context) }
            case .refuse(let error): return error
            case .answer, .ignore: break
            }
            return nil
        }
    }

    /// Whether `sender` may know that `session` is there (RFC 6121 §8.5.3.1). Under the lock.
    private func sharesPresence(_ home: AccountHome, _ session: FullJID, _ sender: JID) -> Bool {
        if home.maySeePresence(sender) { return true }
        guard let index = home.index(of: session) else { return false }
        // Whoever is in a room has told one of its addresses that he is there, and the room speaks by others.
        return home.sessions[index].directed.contains { $0.bare == sender.bare }
    }

    /// Under the lock. A request that the account's screening refuses is answered as if nobody were there.
    private func isWelcome(_ stanza: Stanza, _ home: AccountHome, _ host: Host, _ origin: SessionRef?) -> Bool {
        let route = Route(account: home.address, direction: .received, origin: origin, peer: stanza.from)
        return host.screening.allSatisfy { $0.screen(stanza, home, route) == .pass }
    }

    /// What the sender's own screening has against a stanza that leaves the account. A request is answered even where the
    /// stage would rather drop it (RFC 6120 §8.2.3).
    private func refusal(of stanza: Stanza, to: JID, from session: ClientSession) -> StanzaError? {
        guard let host = session.context.hosts.host(of: session.account) else { return nil }
        let home = session.home
        return home.shard.withLock { refusal(of: stanza, to: to, host, home, session.ref) }
    }

    /// The same of a stanza that no session has sent. The account is in memory.
    private func refusal(of stanza: Stanza, to: JID, _ context: LoopContext) -> StanzaError? {
        let account = stanza.from.bare
        guard let host = context.hosts.host(of: account) else { return .serviceUnavailable }
        return withResidentHome(account) { home in refusal(of: stanza, to: to, host, home, nil) } ?? StanzaError(.internalServerError, .wait)
    }

    /// Under the lock.
    private func refusal(of stanza: Stanza, to: JID, _ host: Host, _ home: AccountHome, _ origin: SessionRef?) -> StanzaError? {
        let route = Route(account: home.address, direction: .sent, origin: origin, peer: to)
        for stage in host.screening {
            switch stage.screen(stanza, home, route) {
            case .pass: continue
            case .drop: return .notAcceptable()
            case .bounce(let error): return error
            }
        }
        return nil
    }
}

extension ElementView {
    /// The element in this one, if it is the only one there.
    package var onlyChild: ElementView? {
        var children = children
        guard let child = children.next(), children.next() == nil else { return nil }
        return child
    }
}

extension IQRequest.Kind {
    /// `nil` for answers.
    fileprivate init?(_ type: IQType) {
        switch type {
        case .get: self = .get
        case .set: self = .set
        case .result, .error: return nil
        }
    }
}

extension IQType {
    fileprivate init(_ kind: IQRequest.Kind) {
        switch kind {
        case .get: self = .get
        case .set: self = .set
        }
    }
}
