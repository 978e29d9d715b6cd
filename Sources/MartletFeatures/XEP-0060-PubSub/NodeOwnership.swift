import MartletCore
import MartletXML
import MartletXMPP

/// What owners decide about others: affiliations (§8.9) and subscriptions (§8.8).
extension PubSubNodes {
    // MARK: Affiliations

    func listAffiliations(
        _ name: String, _ request: ResultSetRequest, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try ownedNode(name, actor, audience)
        var affiliations = node.affiliations
        if let account { affiliations[account] = .owner }
        let page = SortedAddresses(sorted: affiliations.keys.map(JID.bare).sorted { $0.precedes($1) }).page(request, settings.pageEntriesMax)
        effects.reply { writer in
            writer.element("pubsub", .pubsubOwner) { writer in
                writer.element("affiliations", .pubsubOwner, ["node": name]) { writer in
                    for address in page.addresses { writer.affiliation(address.bare, affiliations[address.bare] ?? .none) }
                }
                page.write(to: &writer, answering: request)
            }
        }
    }

    mutating func change(
        _ changes: [PubSubRequest.AffiliationChange], at name: String, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        var node = try ownedNode(name, actor, audience)
        try checkCount(changes.count)
        let affiliations = try affiliations(of: node, after: changes, by: actor, audience)
        for address in changes.map(\.address) where affiliations[address] != node.affiliations[address] {
            let line = StoredNodeAffiliation(address: address, affiliation: (affiliations[address] ?? .none).rawValue)
            effects.writes.append(.setAffiliation(node.id, line))
        }
        node.affiliations = affiliations
        set(node)
        // Whoever may not know any more is told that it is over, and whoever needs no approval any more is approved (§8.7.4).
        review(changes.flatMap { node.subscriptions.of($0.address) }, at: node, actor, audience, &effects)
    }

    /// What the affiliations would be. Changes that may not be made are refused all together (§8.9.2.4).
    ///
    /// Somebody is always an owner, and nobody but himself, an administrator or the account takes that from an owner (§4.1, table 2).
    private func affiliations(
        of node: PubSubNode, after changes: [PubSubRequest.AffiliationChange], by actor: JID, _ audience: some NodeAudience
    ) throws(PubSubError) -> [BareJID: NodeAffiliation] {
        let isSovereign = account == nil ? audience.isAdmin : actor.bare == account
        var affiliations = node.affiliations
        var isAllowed = true
        for change in changes {
            guard let affiliation = change.affiliation else { continue }
            let old = self.affiliation(of: change.address, at: node)
            if old == .owner, affiliation != .owner, !isSovereign, change.address != actor.bare { isAllowed = false }
            if change.address == account {
                if affiliation != .owner { isAllowed = false }
                continue
            }
            affiliations[change.address] = affiliation == .none ? nil : affiliation
        }
        if account == nil, !affiliations.values.contains(.owner) { isAllowed = false }
        guard isAllowed else { throw unchangedAffiliations(changes, node) }
        guard affiliations.count <= max(settings.affiliationsMax, node.affiliations.count) else {
            throw PubSubError(.resourceConstraint, text: "a node may have \(settings.affiliationsMax) affiliations")
        }
        return affiliations
    }

    private func affiliation(of address: BareJID, at node: PubSubNode) -> NodeAffiliation {
        address == account ? .owner : node.affiliations[address] ?? .none
    }

    private func unchangedAffiliations(_ changes: [PubSubRequest.AffiliationChange], _ node: PubSubNode) -> PubSubError {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsubOwner) { writer in
            writer.element("affiliations", .pubsubOwner, ["node": node.name]) { writer in
                for change in changes { writer.affiliation(change.address, affiliation(of: change.address, at: node)) }
            }
        }
        return PubSubError(StanzaError(.notAcceptable), unchanged: writer.buffer)
    }

    private func checkCount(_ count: Int) throws(PubSubError) {
        guard count <= settings.changesMax else { throw PubSubError(.policyViolation, text: "a request may have \(settings.changesMax) changes") }
    }

    // MARK: Subscriptions

    /// Those that wait for approval are not in the list (§8.8.1.2).
    func listSubscriptions(
        _ name: String, _ request: ResultSetRequest, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try ownedNode(name, actor, audience)
        let addresses = node.subscriptions.all.filter { $0.state == .subscribed }.map(\.address).sorted { $0.precedes($1) }
        let page = SortedAddresses(sorted: addresses).page(request, settings.pageEntriesMax)
        effects.reply { writer in
            writer.element("pubsub", .pubsubOwner) { writer in
                writer.element("subscriptions", .pubsubOwner, ["node": name]) { writer in
                    for case let subscription? in page.addresses.map({ node.subscriptions[$0] }) {
                        writer.subscription(subscription, subscription.state, node: nil, .pubsubOwner)
                    }
                }
                page.write(to: &writer, answering: request)
            }
        }
    }

    mutating func change(
        _ changes: [PubSubRequest.SubscriptionChange], at name: String, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment,
        _ effects: inout NodeEffects
    ) throws(PubSubError) {
        var node = try ownedNode(name, actor, audience)
        try checkCount(changes.count)
        for change in changes {
            guard let state = change.state else { continue }
            let old = node.subscriptions[change.address]
            if let id = change.id, id != old?.id { throw unchangedSubscriptions(changes, name) }
            switch (state, old) {
            case (.none, let old?): end(old, at: &node, actor, &effects)
            case (.subscribed, let old?) where old.state == .pending:
                approve(old, at: &node, actor, &effects)
                sendLastItem(to: old, node, moment, &effects)
            case (.subscribed, nil):
                // Nobody is subscribed to what he may not know.
                let account = change.address.bare
                guard access(to: node).refusal(ofSubscribing: account, affiliation(of: account, at: node), audience) == nil else {
                    throw unchangedSubscriptions(changes, name)
                }
                let new = try newSubscription(change.address, to: node, .subscribed, moment)
                approve(new, at: &node, actor, &effects)
                sendLastItem(to: new, node, moment, &effects)
            case (.none, nil), (.subscribed, _?): break
            }
        }
        set(node)
    }

    /// None of the changes is made (§8.8.2.4).
    private func unchangedSubscriptions(_ changes: [PubSubRequest.SubscriptionChange], _ name: String) -> PubSubError {
        var writer = XMLWriter()
        writer.element("pubsub", .pubsubOwner) { writer in
            writer.element("subscriptions", .pubsubOwner, ["node": name]) { writer in
                for change in changes {
                    if let subscription = nodes[OctetName(name)]?.subscriptions[change.address] {
                        writer.subscription(subscription, subscription.state, node: nil, .pubsubOwner)
                    } else {
                        writer.element("subscription", .pubsubOwner, ["jid": change.address.description, "subscription": "none"])
                    }
                }
            }
        }
        return PubSubError(StanzaError(.notAcceptable), unchanged: writer.buffer)
    }
}

extension XMLWriter {
    fileprivate mutating func affiliation(_ address: BareJID, _ affiliation: NodeAffiliation) {
        emptyElement("affiliation", .pubsubOwner) { writer in
            writer.attribute("jid", address)
            writer.attribute("affiliation", affiliation.name)
        }
    }
}

extension SortedAddresses {
    fileprivate func page(_ request: ResultSetRequest, _ most: Int) -> RoomAffiliationPage {
        page(request.page, limit: request.limit(usual: most, most: most))
    }
}

extension RoomAffiliationPage {
    /// Which part it is, if it is not all that was asked for.
    fileprivate func write(to writer: inout XMLWriter, answering request: ResultSetRequest) {
        if request == ResultSetRequest(), addresses.count == count { return }
        ResultSetPage(first: addresses.first?.description, last: addresses.last?.description, index: first, count: count).write(to: &writer)
    }
}
