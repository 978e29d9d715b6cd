import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// Tells of what has happened at nodes, whoever is to hear it.
struct PubSubTelling: Sendable {
    let router: Router

    /// Under the lock of the nodes' shard.
    func tell(_ effects: NodeEffects, _ home: PubSubHome, _ context: LoopContext) {
        for notice in effects.notices { tell(notice, home, context) }
        for approval in effects.approvals { ask(approval, home.address, context) }
        send(effects.lastItems, home, context)
    }

    // MARK: Events

    private func tell(_ notice: NodeNotice, _ home: PubSubHome, _ context: LoopContext) {
        let recipients = notice.recipients
        switch home.owner {
        case .service: for recipient in recipients { tell(recipient, notice, home.address, context) }
        case .account: tellOfAccount(notice, recipients, home, context)
        }
    }

    /// - Parameter recipient: `nil` for those who have not subscribed.
    private func message(_ notice: NodeNotice, of owner: BareJID, to recipient: NodeRecipient?, _ context: LoopContext) -> Stanza? {
        let encoded = StanzaBuilder.message(notice.type, from: .bare(owner), to: recipient?.address, id: context.random.token()) { writer in
            if recipient?.includesBody == true, let body = notice.body { writer.element("body", .client, text: body) }
            writer.raw(notice.event)
            if let id = recipient?.subscriptionID { SubscriptionHeaders.write(id, to: &writer) }
        }
        return Stanza(sent: encoded)
    }

    /// Who has subscribed.
    private func tell(_ recipient: NodeRecipient, _ notice: NodeNotice, _ owner: BareJID, _ context: LoopContext) {
        guard let message = message(notice, of: owner, to: recipient, context) else { return }
        let router = router
        context.after { context in
            guard recipient.isOnlyIfAvailable || recipient.shows != nil else { return router.notify(message, notice.type, to: recipient.address, context) }
            for session in router.sessions(of: recipient, context) { router.notify(message, notice.type, to: .full(session), context) }
        }
    }

    /// Whoever has subscribed to a node of an account's, as far as the account wants to have to do with him, and who wants to hear of it and may
    /// without having subscribed (XEP-0163 §4.3).
    private func tellOfAccount(_ notice: NodeNotice, _ recipients: [NodeRecipient], _ home: PubSubHome, _ context: LoopContext) {
        let (router, owner) = (router, home.address)
        context.after { context in
            router.withHome(of: owner, context) { account, context in
                guard account.isResident else { return }
                for recipient in recipients where !account.blocks(recipient.address) { tell(recipient, notice, owner, context) }
                guard let access = notice.implicit, let message = message(notice, of: owner, to: nil, context) else { return }
                let told = Set(recipients.map(\.address))
                let audience = AccountAudience(account, context)
                let others = account.tell(message, node: notice.name, besides: told, router, context) { access.mayReceive($0, audience) }
                guard !others.isEmpty else { return }
                context.after { context in router.tell(others, message, node: notice.name, besides: told, context) }
            }
        }
    }

    private func ask(_ approval: ApprovalRequest, _ address: BareJID, _ context: LoopContext) {
        let router = router
        for owner in approval.owners {
            let encoded = StanzaBuilder.message(.normal, from: .bare(address), to: .bare(owner), id: approval.id) { $0.raw(approval.form) }
            guard let message = Stanza(sent: encoded) else { continue }
            context.after { context in router.notify(message, to: owner, context) }
        }
    }

    // MARK: Last items

    /// Under the lock.
    ///
    /// - Parameter session: to whom they go, if he is one of this server's; else to the address in each.
    func send(_ deliveries: [LastItemDelivery], to session: SessionRef? = nil, _ home: PubSubHome, _ context: LoopContext) {
        guard !deliveries.isEmpty else { return }
        let unknown = deliveries.map(\.node).filter { home.lastItem(of: $0) == nil }
        for delivery in deliveries {
            if let item = home.lastItem(of: delivery.node) { send(delivery, item, to: session, home, context) }
        }
        guard !unknown.isEmpty else { return }
        let mailbox = context.mailbox
        router.store.loadLastItems(of: Array(Set(unknown))) { result in
            guard case .success(let items) = result else { return }
            mailbox.run { context in
                home.shard.withLock {
                    for (node, item) in items where home.lastItem(of: node) == nil { home.keep(item, of: node) }
                    for delivery in deliveries where unknown.contains(delivery.node) {
                        if let item = items[delivery.node] { send(delivery, item, to: session, home, context) }
                    }
                }
                context.runEffects()
            }
        }
    }

    private func send(_ delivery: LastItemDelivery, _ item: NodeItem, to session: SessionRef?, _ home: PubSubHome, _ context: LoopContext) {
        guard let content = delivery.content(item) else { return }
        let message = StanzaBuilder.message(delivery.type, from: .bare(home.address), to: delivery.recipient, id: context.random.token()) { $0.raw(content) }
        if let session { return context.post(message, to: session) }
        guard let stanza = Stanza(sent: message) else { return }
        let router = router
        context.after { context in router.notify(stanza, delivery.type, to: delivery.recipient, context) }
    }
}

// MARK: Who wants to hear

extension AccountHome {
    /// Tells the account's own sessions, and those of its contacts at other servers. Under the lock.
    ///
    /// - Parameters:
    ///   - told: who hears of it otherwise.
    ///   - may: whether an account may.
    /// - Returns: contacts of this server, who are told in their own homes.
    fileprivate func tell(
        _ message: Stanza, node: String, besides told: Set<JID>, _ router: Router, _ context: LoopContext, _ may: (BareJID) -> Bool
    ) -> [BareJID] {
        if may(address), !told.contains(.bare(address)) {
            var (interest, own) = (NodeInterest(in: node, besides: told), SessionsByLoop())
            add(sessionsWith: &interest, to: &own)
            context.post(SharedStanza(message), to: own)
        }
        for session in remotePresences.interested(in: node) where !told.contains(.full(session)) && !told.contains(.bare(session.bare)) {
            guard may(session.bare), !blocks(.full(session)) else { continue }
            router.send(message.encoded(to: .full(session)), from: address, to: .full(session), nil, context)
        }
        return roster.subscribers.filter { contact in
            context.hosts.host(of: contact) != nil && (told.isEmpty || !told.contains(.bare(contact))) && !blocks(.bare(contact)) && may(contact)
        }
    }
}

extension Router {
    /// One event to many contacts of this server, as each in his own home has it.
    fileprivate func tell(_ contacts: [BareJID], _ message: Stanza, node: String, besides told: Set<JID>, _ context: LoopContext) {
        var (interest, sessions) = (NodeInterest(in: node, besides: told), SessionsByLoop())
        for contact in contacts {
            _ = withResidentHome(contact) { home in
                guard !home.blocks(message.from) else { return }
                home.add(sessionsWith: &interest, to: &sessions)
            }
        }
        context.post(SharedStanza(message), to: sessions)
    }

    /// The sessions of somebody who wants to hear of something only while he is there (`pubsub#presence_based_delivery`,
    /// `pubsub#show-values`). Of other servers' nothing is known: they are told of nothing.
    fileprivate func sessions(of recipient: NodeRecipient, _ context: LoopContext) -> [FullJID] {
        withResidentHome(recipient.address.bare) { home in
            home.sessions.filter { entry in
                guard let presence = entry.presence, recipient.address == .full(entry.address) || recipient.address == .bare(home.address) else { return false }
                return recipient.shows?.contains(NodeSubscriptionOptions.Show(of: presence)) ?? true
            }.map(\.address)
        } ?? []
    }
}

/// An account decides who may what with its nodes, by its roster. Under the lock of its shard.
struct AccountAudience: NodeAudience {
    private let account: AccountHome
    private let hosts: HostTable

    init(_ account: AccountHome, _ context: LoopContext) {
        self.account = account
        hosts = context.hosts
    }

    func seesPresence(_ address: BareJID) -> Bool { account.maySeePresence(.bare(address)) }
    func isInGroups(_ address: BareJID, _ groups: Set<String>) -> Bool { account.roster[address].map { !groups.isDisjoint(with: $0.groups) } ?? false }
    var isAdmin: Bool { false }
    func isLocal(_ address: BareJID) -> Bool { hosts.host(of: address) != nil }
}

extension NodeSubscriptionOptions.Show {
    fileprivate init(of presence: Stanza) {
        let text = presence.element.root.firstChild("show", .client)?.text ?? ""
        self = Self(rawValue: text) ?? .online
    }
}
