import MartletXML
package import MartletXMPP

/// Presence for components that may hear of it (XEP-0356 §7).
extension Router {
    /// What an account of this server says goes to many accounts, who hear of it there or would if they were online. Under the lock of the sender's
    /// shard.
    func show(_ presence: Stanza, toWatchersOf contacts: [BareJID], _ context: LoopContext) {
        for host in context.hosts.watched where contacts.contains(where: { host.domain.isInDomain(of: $0) }) { host.watching?.heard(presence, context) }
    }

    /// Somebody elsewhere tells an account of his presence. If that hears of it, or would if it were online, so does who looks on. With no lock held.
    func show(_ presence: Stanza, to watching: any WatchingStage, of account: BareJID, _ context: LoopContext) {
        switch presence.kind {
        case .presence(.available), .presence(.unavailable): break
        case .presence, .message, .iq: return
        }
        // Of what several accounts hear, only the first one has to be in memory.
        guard watching.isNews(presence, context) else { return }
        withHome(of: account, bytes: presence.element.byteCount, context) { [self] home, context in
            guard home.isResident, home.roster.state(of: presence.from.bare).to, !home.blocks(presence.from) else { return }
            watching.heard(presence, context)
            shardIdle(home)
        }
    }

    /// Tells a component that may hear of it now who is there (§8 rule 1): the accounts of a domain, and, if it may hear of them, their contacts. Those
    /// of other servers are asked, once each, as far as accounts know of them.
    package func showEverybody(of domain: BareJID, to session: ComponentSession, withContacts: Bool, _ context: LoopContext) {
        let (component, ref) = (session.component, session.ref)
        let pace: @Sendable () -> Pace = {
            guard component.isConnection(ref) else { return .stop }
            return component.isKeepingUp ? .goOn : .wait
        }
        forEachOccupiedHome(of: domain.domainpart, context, pace: pace) { [self] home, context in
            for presence in home.sessions.compactMap(\.presence) { component.show(presence, context) }
            guard withContacts, home.isInMemory else { return }
            let account = home.address
            let contacts = home.roster.subscriptions.filter { !domain.isInDomain(of: $0) && !home.blocks(.bare($0)) }
            guard !contacts.isEmpty else { return }
            let present = home.remotePresences.contacts
            context.after { [self] context in
                for contact in contacts { showContact(contact, of: account, isPresent: present.contains(contact), to: component, context) }
            }
        }
    }

    /// With no lock held.
    private func showContact(_ contact: BareJID, of account: BareJID, isPresent: Bool, to component: Component, _ context: LoopContext) {
        if context.hosts.host(of: contact) != nil {
            let presences = withResidentHome(contact) { home in home.sessions.compactMap(\.presence) }
            for presence in presences ?? [] { component.show(presence, context) }
        } else if isPresent, component.mayAsk(after: contact) {
            _ = deliverRemote(ServerPresence.make(.probe, from: .bare(account), to: .bare(contact)), origin: nil, context)
        }
    }
}
