import MartletXML
package import MartletXMPP

/// Subscriptions (RFC 6121 §3, Appendix A). The state of each side changes in its own home and is on disk before anybody is
/// told (P8).
extension Router {
    /// A subscription stanza that one of our sessions sent.
    func subscription(_ kind: SubscriptionStanza, _ stanza: Stanza, from session: ClientSession, _ completion: Completion) -> Progress {
        let (origin, account, context) = (session.ref, session.account, session.context)
        guard let contact = stanza.to?.bare else {
            return session.refuse(stanza, .badRequest("a subscription needs an address"))
        }
        guard contact != account else { return .done }
        let shard = placement.shard(of: account)
        return shard.withLock {
            if let home = readyHome(account, in: shard, context) { return subscribe(kind, stanza, to: contact, home, origin, context) }
            let isParked = park(account, bytes: stanza.element.byteCount, in: shard, context) { [self] home, context in
                completion.complete(subscribe(kind, stanza, to: contact, home, origin, context), in: context)
            }
            if isParked { return .pending }
            bounce(stanza, StanzaError(.resourceConstraint, .wait), origin, context)
            return .done
        }
    }

    /// Under the lock of the sender's shard.
    private func subscribe(
        _ kind: SubscriptionStanza, _ stanza: Stanza, to contact: BareJID, _ home: AccountHome, _ origin: SessionRef, _ context: LoopContext
    ) -> Progress {
        guard home.isResident, let host = context.hosts.host(of: home.address) else {
            bounce(stanza, StanzaError(.internalServerError, .wait), origin, context)
            return .done
        }
        var sent = stanza
        sent.from = .bare(home.address)
        sent.to = .bare(contact)
        let route = Route(account: home.address, direction: .sent, origin: origin, peer: .bare(contact))
        for stage in host.screening {
            switch stage.screen(sent, home, route) {
            case .pass: continue
            case .drop: return .done
            case .bounce(let error):
                bounce(stanza, error, origin, context)
                return .done
            }
        }
        do throws(StanzaError) {
            let result = try home.roster.send(kind, to: contact, owner: home.address, limits: host.limits)
            let ticket = submit(result, home)
            settled(result, contact, home, ticket, context) { [self] context in
                if result.step.passesOn { deliverSubscription(kind, sent, to: contact, origin: origin, context) }
            } refused: { [self] error, context in
                bounceRefused(stanza, error, origin, context)
            }
            return .done(ticket)
        } catch {
            bounce(stanza, error, origin, context)
            return .done
        }
    }

    /// A subscription stanza on its way into an account.
    ///
    /// - Parameter origin: who hears if there is no way to the contact's server (RFC 6121 §3.1.2); `nil` where the server itself sends.
    func deliverSubscription(
        _ kind: SubscriptionStanza, _ stanza: Stanza, to contact: BareJID, origin: SessionRef? = nil, _ context: LoopContext
    ) {
        guard context.hosts.host(of: contact) != nil else {
            _ = deliverRemote(stanza, origin: origin, context)
            return
        }
        guard kind == .subscribe else { return receiveSubscription(kind, stanza, at: contact, context) }
        if let token = Self.token(in: stanza) { return redeem(token, stanza, at: contact, context) }
        verifyMove(stanza, at: contact, context)
    }

    func receiveSubscription(_ kind: SubscriptionStanza, _ stanza: Stanza, at contact: BareJID, _ context: LoopContext) {
        guard let host = context.hosts.host(of: contact) else { return }
        withHome(of: contact, bytes: stanza.element.byteCount, context) { [self] home, context in
            guard home.isResident else { return }
            receive(kind, stanza, host, home, context)
        }
    }

    func receive(_ kind: SubscriptionStanza, _ stanza: Stanza, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        let contact = stanza.from.bare
        let route = Route(account: home.address, direction: .received, origin: nil, peer: .bare(contact))
        for stage in host.screening where stage.screen(stanza, home, route) != .pass { return }
        let request = kind == .subscribe ? stanza.encoded(to: .bare(home.address)) : nil
        let result = home.roster.receive(kind, from: contact, request: request, owner: home.address, limits: host.limits)
        let ticket = submit(result, home)
        // The answer goes first: the presence that follows it is for somebody who knows that he was accepted.
        if let reply = result.step.reply { answer(reply, to: contact, home, ticket, context) }
        settled(result, contact, home, ticket, context) { [self] context in
            if result.step.passesOn { show(kind, stanza, to: home.address, context) }
        }
    }

    /// A request is shown to every available session, an answer to those that show the roster (RFC 6121 §3.1.3, §3.1.6).
    private func show(_ kind: SubscriptionStanza, _ stanza: Stanza, to account: BareJID, _ context: LoopContext) {
        withResidentHome(account) { home in
            let encoded = stanza.encoded(to: .bare(account))
            for entry in home.sessions where kind == .subscribe ? entry.isAvailable : entry.flags.contains(.interested) {
                context.post(encoded, to: entry.ref)
            }
            if kind == .subscribe { observeRequest(home, context) }
        }
    }

    /// An answer in the account's name, such as `subscribed` to a request that was approved before it came (§3.4).
    private func answer(_ kind: SubscriptionStanza, to contact: BareJID, _ home: AccountHome, _ ticket: CommitTicket, _ context: LoopContext) {
        let stanza = ServerPresence.make(PresenceType(kind), from: .bare(home.address), to: .bare(contact))
        context.afterCommit(ticket) { [self] context, outcome in
            if case .success = outcome { deliverSubscription(kind, stanza, to: contact, context) }
        }
    }

    // MARK: Invitations (XEP-0379, XEP-0401)

    /// Makes two accounts of this server contacts of each other, as if both had asked and both had agreed.
    package func introduce(_ account: BareJID, to other: BareJID, _ context: LoopContext) {
        let steps: [(SubscriptionStanza, BareJID, BareJID)] = [
            (.subscribed, account, other), (.subscribed, other, account), (.subscribe, account, other), (.subscribe, other, account),
        ]
        take(steps[...], context)
        context.runEffects()
    }

    private func take(_ steps: ArraySlice<(SubscriptionStanza, BareJID, BareJID)>, _ context: LoopContext) {
        guard let (kind, account, contact) = steps.first else { return }
        say(kind, from: account, to: contact, context) { [self] context in take(steps.dropFirst(), context) }
    }

    /// A subscription stanza in an account's name. An approval of what has not been asked for yet is kept for when it is (RFC 6121 §3.4).
    func say(
        _ kind: SubscriptionStanza, from account: BareJID, to contact: BareJID, _ context: LoopContext, _ then: @escaping @Sendable (LoopContext) -> Void
    ) {
        withHome(of: account, context) { [self] home, context in
            // Whom the account has blocked it has not invited.
            guard home.isResident, !home.blocks(.bare(contact)), let limits = context.hosts.host(of: account)?.limits,
                let result = try? home.roster.send(kind, to: contact, owner: account, limits: limits)
            else { return }
            settled(result, contact, home, submit(result, home), context) { [self] context in
                let stanza = ServerPresence.make(PresenceType(kind), from: .bare(account), to: .bare(contact))
                if result.step.passesOn { deliverSubscription(kind, stanza, to: contact, context) }
                then(context)
            }
        }
    }

    /// The token by which a request says that it was invited.
    private static func token(in stanza: Stanza) -> String? {
        stanza.element.firstChild("preauth", .preAuthentication)?.attribute("token").flatMap { $0.isEmpty ? nil : $0 }
    }

    /// A request of somebody who may have been invited: if he was, it is approved in the inviter's name, who asks in turn (XEP-0379 §3.5).
    /// Else it is one like others.
    private func redeem(_ token: String, _ stanza: Stanza, at inviter: BareJID, _ context: LoopContext) {
        let (mailbox, now) = (context.mailbox, context.time.wallMilliseconds)
        // The disk is asked; nothing else of a request waits for it.
        Task(executorPreference: executor) { [self] in
            let isInvited = await use(token, of: inviter, now: now)
            mailbox.run { [self] context in
                let sender = stanza.from.bare
                guard isInvited else { return receiveSubscription(.subscribe, stanza, at: inviter, context) }
                say(.subscribed, from: inviter, to: sender, context) { [self] context in
                    receiveSubscription(.subscribe, stanza, at: inviter, context)
                    say(.subscribe, from: inviter, to: sender, context) { _ in }
                }
            }
        }
    }

    /// Whether the token is an invitation of that account, which is used up by this.
    private func use(_ token: String, of inviter: BareJID, now: Int64) async -> Bool {
        let key = InvitationKey(token: token)
        do throws(StoreError) {
            guard let invitation = try await store.invitation(key), invitation.inviter == inviter, invitation.expires > now,
                try await store.isUpheld(invitation)
            else { return false }
            try await store.commit([.invitation(.use(key))])
            return true
        } catch {
            return false
        }
    }

    // MARK: One side's change

    /// Under the lock.
    func submit(_ result: RosterStep, _ home: AccountHome) -> CommitTicket {
        guard let change = result.change else { return .none }
        let isPushed = result.step.pushes
        let ticket = store.submit([change.write(home.id)])
        home.lastTicket = ticket
        if isPushed { home.tell(.rosterChange(change), after: ticket) }
        return ticket
    }

    /// What follows once the change is on disk, in this order: the stanza's way on, roster pushes, presence that starts or stops
    /// (RFC 6121 §3.1.5, §3.1.6).
    func settled(
        _ result: RosterStep, _ contact: BareJID, _ home: AccountHome, _ ticket: CommitTicket, _ context: LoopContext,
        _ goOn: @escaping (LoopContext) -> Void, refused: @escaping (StoreError, LoopContext) -> Void = { _, _ in }
    ) {
        let address = home.address
        context.afterCommit(ticket) { [self] context, outcome in
            if case .failure(let error) = outcome {
                refused(error, context)
                return reload(address, context)
            }
            goOn(context)
            tellSettled(of: address, context)
            sharePresence(result.step, of: address, with: contact, context)
        }
    }

    /// The contact gets the current presence of every available session, or `unavailable` (RFC 6121 §3.1.5, §3.2.3), but not before
    /// its own side of the change is on disk and told.
    private func sharePresence(_ step: SubscriptionStep, of address: BareJID, with contact: BareJID, _ context: LoopContext) {
        guard step.startsSendingPresence || step.stopsSendingPresence else { return }
        let contactsTicket = withResidentHome(contact) { $0.lastTicket } ?? .none
        context.afterCommit(contactsTicket) { [self] context, _ in
            if step.startsSendingPresence {
                showPresence(of: address, to: [.bare(contact)], context)
                admit(contact, at: address, context)
            }
            if step.stopsSendingPresence {
                hidePresence(of: address, from: [.bare(contact)], context)
                dismiss(contact, from: address, context)
            }
        }
    }

    /// Hears what the account has published.
    func admit(_ contact: BareJID, at address: BareJID, _ context: LoopContext) {
        guard let eventing = context.hosts.host(of: address)?.eventing else { return }
        _ = withResidentHome(address) { home in eventing.admitted(contact, at: home, self, context) }
    }

    /// Need not hear any more what the account publishes.
    func dismiss(_ contact: BareJID, from address: BareJID, _ context: LoopContext) {
        guard let eventing = context.hosts.host(of: address)?.eventing else { return }
        _ = withResidentHome(address) { home in eventing.dismissed(contact, at: home, self, context) }
    }

    // MARK: Roster pushes

    /// Tells every interested session of a change that was just made (RFC 6121 §2.1.6). Call with the lock held.
    package func pushRosterChange(_ change: RosterChange, _ home: AccountHome, _ context: LoopContext) {
        for entry in home.sessions where entry.flags.contains(.interested) {
            context.post(RosterPush.encode(change, home.roster, to: entry.address, id: context.random.token()), to: entry.ref)
        }
        context.hosts.host(of: home.address)?.watching?.rosterChanged(change, of: home, context)
        notePresenceChange(of: home, context)
    }
}

extension PresenceType {
    init(_ kind: SubscriptionStanza) {
        switch kind {
        case .subscribe: self = .subscribe
        case .subscribed: self = .subscribed
        case .unsubscribe: self = .unsubscribe
        case .unsubscribed: self = .unsubscribed
        }
    }
}
