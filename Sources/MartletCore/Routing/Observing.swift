import MartletXMPP

/// What is told to those that look on (``ObservingStage``), and what comes of it.
extension Router {
    /// A message has come for an account. Under the lock.
    @inline(__always)
    func observe(_ message: borrowing Stanza, isLogged: Bool, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        if home.documents.isEmpty { return }
        for stage in observers(of: home, host) {
            perform(stage.arrived(message, isLogged: isLogged, at: home, context), of: stage, home, context)
        }
    }

    /// A session goes on without its connection.
    func connectionLost(of session: ClientSession) {
        let missed = missed(by: session)
        if !missed.isEmpty { session.home.shard.withLock { observe(missed, by: session) } }
    }

    /// The messages of the log that a session's client has not acknowledged, if anybody wants to know.
    func missed(by session: ClientSession) -> [Stanza] {
        guard let unacknowledged = session.management?.unacknowledged, !unacknowledged.isEmpty, isObserved(session) else { return [] }
        return unacknowledged.all.compactMap { Post.isUnkept($0.view) ? nil : Stanza(sent: $0.stanza) }
    }

    private func isObserved(_ session: ClientSession) -> Bool {
        guard let host = session.context.hosts.host(of: session.account) else { return false }
        return session.home.shard.withLock { !observers(of: session.home, host).isEmpty }
    }

    /// Under the lock.
    func observe(_ missed: [Stanza], by session: ClientSession) {
        guard !missed.isEmpty, let host = session.context.hosts.host(of: session.account) else { return }
        for stage in observers(of: session.home, host) {
            let consequences = stage.unacknowledged(missed, by: session.address, at: session.home, session.context)
            perform(consequences, of: stage, session.home, session.context)
        }
    }

    /// Somebody's request for a subscription is on disk. Under the lock.
    func observeRequest(_ home: AccountHome, _ context: LoopContext) {
        guard let host = context.hosts.host(of: home.address) else { return }
        for stage in observers(of: home, host) { perform(stage.asked(at: home, context), of: stage, home, context) }
    }

    private func observers(of home: AccountHome, _ host: Host) -> [any ObservingStage] {
        guard home.isInMemory, !home.documents.isEmpty else { return [] }
        return host.observing.filter { home.documents.has($0.document) }
    }

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
}
