package import MartletXMPP

/// What somebody has changed in a copy of a roster, to be changed in the roster as well.
package struct RosterAdoption: Hashable, Sendable {
    package enum Wish: Hashable, Sendable {
        /// The item is like this, but for what there is between the two, which is only added to.
        case item(name: String?, groups: [String], state: SubscriptionState)
        /// The item is gone, as if the user had removed it (RFC 6121 §2.5.2).
        case removal
    }

    package var contact: BareJID
    /// The user's own item as it was when this was found out: if it is another one meanwhile, nothing happens.
    package var expected: RosterItem?
    package var wish: Wish

    package init(_ contact: BareJID, expected: RosterItem?, _ wish: Wish) {
        self.contact = contact
        self.expected = expected
        self.wish = wish
    }

    package enum Outcome: Hashable, Sendable {
        case adopted
        case overtaken
        case refused(StanzaError)
    }
}

/// Changes of rosters that come from copies of them: decided in the account's home like all others, and told in the same way.
extension Router {
    /// Returns when all that was adopted is on disk, with what came of each.
    package func adopt(
        _ adoptions: [RosterAdoption], in account: BareJID, on mailbox: LoopMailbox
    ) async throws(AccountRefusal) -> [RosterAdoption.Outcome] {
        let answer: Result<[RosterAdoption.Outcome], AccountRefusal> = await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                withHome(of: account, context) { [self] home, context in
                    guard home.isResident, let limits = context.hosts.host(of: account)?.limits else {
                        let refusal: AccountRefusal = home.isAbsent ? .noAccount(account) : .store(.unavailable("the account cannot be read"))
                        return context.after { _ in continuation.resume(returning: .failure(refusal)) }
                    }
                    let outcomes = adoptions.map { adopt($0, home, limits, context) }
                    context.afterCommit(home.lastTicket) { _, outcome in
                        continuation.resume(returning: outcome.map { outcomes }.mapError(AccountRefusal.store))
                    }
                    shardIdle(home)
                }
                context.runEffects()
            }
        }
        return try answer.get()
    }

    /// Under the lock.
    private func adopt(_ adoption: RosterAdoption, _ home: AccountHome, _ limits: HostLimits, _ context: LoopContext) -> RosterAdoption.Outcome {
        guard home.roster.own(adoption.contact) == adoption.expected else { return .overtaken }
        do throws(StanzaError) {
            switch adoption.wish {
            case .item(let name, let groups, let state): try adopt(adoption.contact, name, groups, state, home, limits, context)
            case .removal where adoption.expected?.subscription.isInRoster == true: try remove(adoption.contact, home, context)
            case .removal: try deny(adoption.contact, home, limits, context)
            }
            return .adopted
        } catch {
            return .refused(error)
        }
    }

    private func adopt(
        _ contact: BareJID, _ name: String?, _ groups: [String], _ state: SubscriptionState, _ home: AccountHome, _ limits: HostLimits,
        _ context: LoopContext
    ) throws(StanzaError) {
        let (account, before) = (home.address, home.roster.state(of: contact))
        let result = try home.roster.adopt(contact, name: name, groups: groups, state: state, owner: account, limits: limits)
        let ticket = submit(result, home)
        settled(result, contact, home, ticket, context) { _ in }
        guard result.step.state.to, !before.to else { return }
        context.afterCommit(ticket) { [self] context, outcome in
            if case .success = outcome, isSeen(contact, by: account, context) { beginSeeing(contact, by: account, context) }
        }
    }

    /// One of this server's accounts may yet be said to agree, in a copy of its own roster: it is not asked before that, since it would deny it
    /// (RFC 6121 §4.3.2), and the subscription would be over.
    private func isSeen(_ contact: BareJID, by account: BareJID, _ context: LoopContext) -> Bool {
        guard context.hosts.host(of: contact) != nil else { return true }
        return withResidentHome(contact) { $0.roster.state(of: account).from } ?? false
    }

    private func remove(_ contact: BareJID, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) {
        let (account, removal) = (home.address, try home.roster.remove(contact))
        let ticket = store.submit([removal.change.write(home.id)])
        home.lastTicket = ticket
        home.tell(.rosterChange(removal.change), after: ticket)
        context.afterCommit(ticket) { [self] context, outcome in
            guard case .success = outcome else { return reload(account, context) }
            tellSettled(of: account, context)
            dismiss(contact, removal, of: account, context)
        }
    }

    /// A stranger's request is gone: it is denied.
    private func deny(_ contact: BareJID, _ home: AccountHome, _ limits: HostLimits, _ context: LoopContext) throws(StanzaError) {
        let account = home.address
        let result = try home.roster.send(.unsubscribed, to: contact, owner: account, limits: limits)
        settled(result, contact, home, submit(result, home), context) { [self] context in
            let denial = ServerPresence.make(.unsubscribed, from: .bare(account), to: .bare(contact))
            if result.step.passesOn { deliverSubscription(.unsubscribed, denial, to: contact, context) }
        }
    }
}
