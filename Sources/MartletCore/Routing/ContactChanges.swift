package import MartletXMPP

/// What a contact hears once a change that the user made is on disk.
extension Router {
    /// A contact that was removed from the roster hears that its subscriptions ended (RFC 6121 §2.5.2).
    package func dismiss(_ contact: BareJID, _ removal: RosterItemRemoval, of account: BareJID, _ context: LoopContext) {
        if removal.stopsSendingPresence {
            hidePresence(of: account, from: [.bare(contact)], context)
            dismiss(contact, from: account, context)
        }
        for kind in removal.stanzas {
            let stanza = ServerPresence.make(PresenceType(kind), from: .bare(account), to: .bare(contact))
            deliverSubscription(kind, stanza, to: contact, context)
        }
    }

    /// A contact is not in a group of the roster any more, to which the account may publish (XEP-0163 §6.1).
    package func leftGroup(_ contact: BareJID, of account: BareJID, _ context: LoopContext) { dismiss(contact, from: account, context) }

    /// The current presence of every available session goes to somebody who may see it again.
    package func showPresence(of account: BareJID, to receivers: [JID], _ context: LoopContext) {
        let presences: [Stanza] = withResidentHome(account) { home in
            notePresenceChange(of: home, context)
            return home.sessions.compactMap(\.presence)
        } ?? []
        send(presences, to: receivers, context)
    }

    /// Every available session becomes unavailable to somebody who may no longer see it.
    package func hidePresence(of account: BareJID, from receivers: [JID], _ context: LoopContext) {
        let presences: [Stanza] = withResidentHome(account) { home in
            notePresenceChange(of: home, context)
            return home.sessions.filter(\.isAvailable).map { ServerPresence.unavailable(from: $0.address) }
        } ?? []
        send(presences, to: receivers, context)
    }

    /// One session becomes unavailable to those to whom it had said that it was there (RFC 6121 §4.6).
    package func hidePresence(ofSession session: FullJID, from receivers: [JID], _ context: LoopContext) {
        send([ServerPresence.unavailable(from: session)], to: receivers, context)
    }

    private func send(_ presences: [Stanza], to receivers: [JID], _ context: LoopContext) {
        for receiver in receivers {
            for var presence in presences {
                presence.to = receiver
                deliverPresence(presence, to: receiver, origin: nil, context)
            }
        }
    }

    /// Does something in the account's home, with its lock held, if the home is in memory.
    @discardableResult
    package func withResidentHome<Result>(_ account: BareJID, _ body: (AccountHome) -> Result) -> Result? {
        let shard = placement.shard(of: account)
        return shard.withLock {
            guard let home = shard.home(account), home.isInMemory else { return nil }
            return body(home)
        }
    }
}

extension AccountHome {
    /// Whether the account wants to have nothing to do with somebody (XEP-0191). Its own sessions and the server it lives on
    /// are never meant, whatever is on the list.
    package func blocks(_ other: JID) -> Bool {
        guard !blockList.isEmpty, other.bare != address, other != .bare(address.domain) else { return false }
        return blockList.blocks(other)
    }

    /// Messages that wait for delivery, and their bytes (XEP-0160).
    package var offlineMessages: (count: Int, bytes: Int) { (offline.deliveries.waitingCount, offline.deliveries.waitingBytes) }
}
