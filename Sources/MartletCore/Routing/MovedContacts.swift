import MartletXML
import MartletXMPP

/// A contact that has moved asks for a subscription from its new address (XEP-0283 §4.4): if the old one says so as well, it has the old one's
/// place in the account's roster, and nobody is asked. Else it is a request like others.
extension Router {
    /// A request on its way into an account. With no lock held.
    func verifyMove(_ request: Stanza, at account: BareJID, _ context: LoopContext) {
        guard let stage = context.hosts.host(of: account)?.moving, let old = stage.formerAddress(in: request) else {
            return receiveSubscription(.subscribe, request, at: account, context)
        }
        withHome(of: account, bytes: request.element.byteCount, context) { [self] home, context in
            guard home.isResident, let host = context.hosts.host(of: account) else { return }
            let new = request.from.bare
            // Whom the account wants to hear nothing of may not make it ask others either.
            let route = Route(account: account, direction: .received, origin: nil, peer: .bare(new))
            for stage in host.screening where stage.screen(request, home, route) != .pass { return }
            guard old != new, old != account, home.roster.state(of: old).from, !home.roster.state(of: new).from else {
                return receive(.subscribe, request, host, home, context)
            }
            let question = OwnRequest(.get, id: context.random.token(), to: .bare(old), payload: stage.question())
            ask(question, reachesAccounts: true, home, context) { [self] outcome, answer, home, context in
                let isConfirmed = stage.isConfirmed(outcome, answer, as: new)
                guard isConfirmed, home.isResident, admit(new, in: old, home, context) else {
                    return context.after { [self] context in receiveSubscription(.subscribe, request, at: account, context) }
                }
            }
        }
    }

    /// Lets the new address see the account's presence, and the old one no longer: each moves once. Who was seen by the account is asked to be
    /// seen again. Under the lock.
    ///
    /// - Returns: `false` if the roster has changed meanwhile, or has no room; then nothing has happened.
    private func admit(_ new: BareJID, in old: BareJID, _ home: AccountHome, _ context: LoopContext) -> Bool {
        guard let limits = context.hosts.host(of: home.address)?.limits else { return false }
        let (account, before) = (home.address, home.roster.state(of: old))
        guard before.from, !home.roster.state(of: new).from, !home.blocks(.bare(new)) else { return false }
        var roster = home.roster
        let asked = roster.receive(.subscribe, from: new, request: nil, owner: account, limits: limits)
        guard roster.state(of: new).pendingIn, let approved = try? roster.send(.subscribed, to: new, owner: account, limits: limits) else { return false }
        home.roster = roster
        _ = submit(asked, home)
        settled(approved, new, home, submit(approved, home), context) { [self] context in
            let answer = ServerPresence.make(.subscribed, from: .bare(account), to: .bare(new))
            deliverSubscription(.subscribed, answer, to: new, context)
            say(.unsubscribed, from: account, to: old, context) { [self] context in
                if before.to { say(.subscribe, from: account, to: new, context) { _ in } }
            }
        }
        return true
    }
}
