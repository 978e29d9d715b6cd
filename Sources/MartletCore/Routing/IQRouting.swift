import MartletXML
import MartletXMPP

/// Requests and answers (RFC 6120 §8.2.3): every get or set is answered exactly once, a result or an error never.
extension Router {
    func iq(_ stanza: Stanza, _ type: IQType, from session: ClientSession, _ completion: Completion) -> Progress {
        let kind: IQRequest.Kind
        switch type {
        case .get: kind = .get
        case .set: kind = .set
        case .result, .error: return passOn(stanza, from: session, completion)
        }
        var children = stanza.element.root.children.makeIterator()
        guard let child = children.next(), children.next() == nil else {
            return session.refuse(stanza, .badRequest("a request has exactly one child"))
        }
        guard let to = stanza.to, to != .bare(session.account) else {
            return own(kind, child, stanza, from: session, completion)
        }
        let destination = Destination(to, session.context)
        if case .service(let host) = destination { return askService(host, kind, child, stanza, to: to, from: session, completion) }
        if case .full(let full) = to, !full.bare.isDomain { return passOn(stanza, from: session, completion) }
        switch destination {
        case .service: return .done
        case .remote: return passOn(stanza, from: session, completion)
        case .host(let host): return ask(host, kind, child, stanza, from: session, completion)
        case .account(let host): return ask(to.bare, host, kind, child, stanza, from: session, completion)
        }
    }

    // MARK: The server answers

    private func own(_ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, from session: ClientSession, _ completion: Completion) -> Progress {
        guard let host = session.context.hosts.host(of: session.account) else { return session.refuse(stanza, .serviceUnavailable) }
        guard let handler = host.handler(kind, child, at: .ownAccount) ?? host.handler(kind, child, at: .account) else {
            return session.refuse(stanza, .serviceUnavailable)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: session.account, child: child)
        request.host = host
        request.account = session.home.shard.withLock { session.home.id }
        return run(handler, request, host, from: session, completion)
    }

    private func ask(
        _ account: BareJID, _ host: Host, _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, from session: ClientSession,
        _ completion: Completion
    ) -> Progress {
        if let error = refusal(of: stanza, from: session) { return session.refuse(stanza, error) }
        guard let handler = host.handler(kind, child, at: .account) else {
            if host.handler(kind, child, at: .ownAccount) != nil { host.policy.refused(session.account, "\(child.localName) \(kind)", of: account) }
            return session.refuse(stanza, .serviceUnavailable)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: account, child: child)
        request.host = host
        request.isByAdmin = isAdmin(session, in: host)
        if case .home(let decide) = handler { return runInHome(request, session.ref, completion, session.context, decide) }
        return admit(request, handler, host, from: session, completion)
    }

    func isAdmin(_ session: ClientSession, in host: Host) -> Bool {
        let isMarked = session.account.domainpart == host.domain.domainpart && session.home.shard.withLock { session.home.isAdmin }
        return host.policy.may(session.account, .administer, isMarked: isMarked)
    }

    /// A request to another's account that is answered without its home: the home is asked all the same whether the account
    /// wants to hear of the sender, and whether there is such an account. The handler sees to it that nobody learns that.
    private func admit(
        _ request: IQRequest, _ handler: IQRoute.Handler, _ host: Host, from session: ClientSession, _ completion: Completion
    ) -> Progress {
        let shard = placement.shard(of: request.owner)
        let origin = session.ref
        let context = session.context
        var admitted: Result<IQRequest, StanzaError>?
        let isParked = shard.withLock {
            if let home = readyHome(request.owner, in: shard, context) {
                admitted = admission(request, home, host, origin)
                return false
            }
            return park(request.owner, bytes: request.stanza.element.byteCount, in: shard, context) { [self] home, context in
                let admitted = admission(request, home, host, origin)
                context.post(.run { context in
                    self.withSession(origin, context) { session, context in
                        completion.complete(self.run(handler, admitted, request, host, from: session, completion), in: context)
                    }
                }, to: origin.mailbox)
            }
        }
        if isParked { return .pending }
        return run(handler, admitted ?? .failure(StanzaError(.resourceConstraint, .wait)), request, host, from: session, completion)
    }

    private func run(
        _ handler: IQRoute.Handler, _ admitted: Result<IQRequest, StanzaError>, _ request: IQRequest, _ host: Host,
        from session: ClientSession, _ completion: Completion
    ) -> Progress {
        switch admitted {
        case .success(let request): run(handler, request, host, from: session, completion)
        case .failure(let error): session.refuse(request.stanza, error)
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

    private func askService(
        _ host: Host, _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, to: JID, from session: ClientSession, _ completion: Completion
    ) -> Progress {
        if let error = refusal(of: stanza, from: session) { return session.refuse(stanza, error) }
        if to == .bare(host.domain) { return ask(host, kind, child, stanza, from: session, completion) }
        var arrival = Arrival(stanza, to: to, origin: session.ref, completion)
        arrival.isByAdmin = isAdmin(session, in: host)
        return deliver(arrival, to: host, session.context)
    }

    private func ask(
        _ host: Host, _ kind: IQRequest.Kind, _ child: ElementView, _ stanza: Stanza, from session: ClientSession, _ completion: Completion
    ) -> Progress {
        guard case .bare? = stanza.to, let handler = host.handler(kind, child, at: .host) else {
            return session.refuse(stanza, .serviceUnavailable)
        }
        var request = IQRequest(kind: kind, stanza: stanza, actor: stanza.from, owner: host.domain, child: child)
        request.host = host
        return run(handler, request, host, from: session, completion)
    }

    private func run(_ handler: IQRoute.Handler, _ request: IQRequest, _ host: Host, from session: ClientSession, _ completion: Completion) -> Progress {
        switch handler {
        case .session(let answer): return runInSession(request, from: session, answer)
        case .immediate(let answer):
            do throws(StanzaError) { reply(try answer(request, host), to: request, session.ref, session.context) }
            catch { return session.refuse(request.stanza, error) }
            return .done
        case .home(let decide): return runInHome(request, session.ref, completion, session.context, decide)
        case .suspending(let answer):
            session.suspend(request, completion, answer)
            return .pending
        case .concurrent(let answer):
            self.answer(request, to: session.ref, completion, answer) { _ in }
            return .pending
        }
    }

    private func runInSession(
        _ request: IQRequest, from session: ClientSession, _ answer: (IQRequest, inout SessionEntry) throws(StanzaError) -> IQReply
    ) -> Progress {
        let home = session.home
        home.shard.lock()
        defer { home.shard.unlock() }
        guard let index = home.index(of: session.ref) else { return .done }
        do throws(StanzaError) { reply(try answer(request, &home.sessions[index]), to: request, session.ref, session.context) }
        catch { return session.refuse(request.stanza, error) }
        return .done
    }

    private func runInHome(
        _ request: IQRequest, _ origin: SessionRef, _ completion: Completion, _ context: LoopContext,
        _ decide: @escaping @Sendable (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision
    ) -> Progress {
        let shard = placement.shard(of: request.owner)
        return shard.withLock {
            if let home = readyHome(request.owner, in: shard, context) { return self.decide(request, home, origin, context, decide) }
            let isParked = park(request.owner, bytes: request.stanza.element.byteCount, in: shard, context) { [self] home, context in
                completion.complete(self.decide(request, home, origin, context, decide), in: context)
            }
            if isParked { return .pending }
            bounce(request.stanza, StanzaError(.resourceConstraint, .wait), origin, context)
            return .done
        }
    }

    /// Under the lock of the owner's shard. The reply and all that follows wait for the disk (P7).
    private func decide(
        _ request: IQRequest, _ home: AccountHome, _ origin: SessionRef, _ context: LoopContext,
        _ decide: (IQRequest, AccountHome, LoopContext) throws(StanzaError) -> HomeDecision
    ) -> Progress {
        guard home.isResident else {
            bounce(request.stanza, home.stage == .absent ? .serviceUnavailable : StanzaError(.internalServerError, .wait), origin, context)
            return .done
        }
        guard request.isByOwner || context.hosts.host(of: home.address).map({ isWelcome(request.stanza, home, $0, origin) }) ?? false else {
            bounce(request.stanza, .serviceUnavailable, origin, context)
            return .done
        }
        let decision: HomeDecision
        do throws(StanzaError) { decision = try decide(request, home, context) }
        catch {
            bounce(request.stanza, error, origin, context)
            return .done
        }
        guard !decision.writes.isEmpty else {
            answer(request, decision, home, origin, context)
            return .done
        }
        let ticket = store.submit(decision.writes)
        home.lastTicket = ticket
        if let change = decision.rosterChange { home.tell(.rosterChange(change), after: ticket) }
        let address = home.address
        context.afterCommit(ticket) { [self] context, outcome in
            switch outcome {
            case .success:
                reply(decision, to: request, origin, context)
                tellSettled(of: address, context)
                decision.committed?(self, context)
            case .failure(let error):
                bounceRefused(request.stanza, error, origin, context)
                reload(address, context)
            }
        }
        return .done(ticket)
    }

    /// Answers what only read. Memory may be ahead of the disk: what it says is told when the disk has come so far, and in order with
    /// the changes that are told. Under the lock.
    private func answer(
        _ request: IQRequest, _ decision: HomeDecision, _ home: AccountHome, _ origin: SessionRef, _ context: LoopContext
    ) {
        home.tell(.answer(decision.reply.before + [decision.reply.encoded(answering: request.stanza)] + decision.pushes, to: origin), after: home.lastTicket)
        tellSettled(home, context)
        if !home.tellings.isEmpty {
            let address = home.address
            context.afterCommit(home.lastTicket) { [self] context, _ in tellSettled(of: address, context) }
        }
        if let committed = decision.committed { context.after { [self] in committed(self, $0) } }
    }

    private func reply(_ decision: HomeDecision, to request: IQRequest, _ origin: SessionRef, _ context: LoopContext) {
        reply(decision.reply, to: request, origin, context)
        for push in decision.pushes { context.post(push, to: origin) }
    }

    private func reply(_ reply: IQReply, to request: IQRequest, _ origin: SessionRef, _ context: LoopContext) {
        for stanza in reply.before { context.post(stanza, to: origin) }
        context.post(reply.encoded(answering: request.stanza), to: origin)
    }

    /// The one place where a stanza meets a task: for what must read the disk or ask somebody else.
    func answer(
        _ request: IQRequest, to origin: SessionRef, _ completion: Completion,
        _ work: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply,
        then next: @escaping @Sendable (ClientSession) -> Void
    ) {
        Task(executorPreference: executor) { [self] in
            let outcome: Result<IQReply, StanzaError>
            do throws(StanzaError) { outcome = .success(try await work(request, self)) }
            catch { outcome = .failure(error) }
            origin.mailbox.run { context in
                switch outcome {
                case .success(let answer): self.reply(answer, to: request, origin, context)
                case .failure(let error): self.bounce(request.stanza, error, origin, context)
                }
                completion.complete(.none, in: context)
                if let session = origin.session { next(session) }
            }
        }
    }

    // MARK: Somebody else answers

    /// To one session of an account, or to another server (RFC 6121 §8.5.3). Answers to the server itself end here.
    private func passOn(_ stanza: Stanza, from session: ClientSession, _ completion: Completion) -> Progress {
        guard let to = stanza.to else { return .done }
        let context = session.context
        if let error = refusal(of: stanza, from: session) { return session.refuse(stanza, error) }
        guard let host = context.hosts.host(of: to.bare) else { return deliverRemote(stanza, origin: session.ref, context) }
        guard case .iq(let type) = stanza.kind else { return .done }
        guard case .full(let full) = to, !full.bare.isDomain else {
            answered(stanza, type, context)
            return .done
        }
        if let error = pass(stanza, type, to: full, host, origin: session.ref, context) { bounce(stanza, error, session.ref, context) }
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
    private func refusal(of stanza: Stanza, from session: ClientSession) -> StanzaError? {
        guard let to = stanza.to, let host = session.context.hosts.host(of: session.account) else { return nil }
        let home = session.home
        return home.shard.withLock {
            let route = Route(account: home.address, direction: .sent, origin: session.ref, peer: to)
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
}
