import MartletCore
import MartletXML
package import MartletXMPP

/// Subscriptions: made, given up, and their options (§6.1 to §6.4).
extension PubSubNodes {
    // MARK: Subscribing (§6.1)

    mutating func subscribe(
        _ address: JID, to name: String, _ form: DataForm?, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment,
        _ effects: inout NodeEffects
    ) throws(PubSubError) {
        guard address.bare == actor.bare else { throw .invalidJID }
        var node = try node(name)
        let affiliation = affiliation(of: actor, at: node, audience)
        if let refusal = access(to: node).refusal(ofSubscribing: actor.bare, affiliation, audience) { throw refusal }
        guard node.configuration.allowsSubscriptions || affiliation == .owner else { throw .unsupported("subscribe") }
        let old = node.subscriptions[address]
        if old?.state == .pending { throw .pendingSubscription }
        // §6.1.6: whoever subscribes again has the subscription that he has.
        var subscription = if let old { old } else { try newSubscription(address, to: node, affiliation, moment) }
        if let form { try subscription.options.take(form, at: moment.now) }
        node.subscriptions.set(subscription)
        set(node)
        if subscription != old { effects.writes.append(.setSubscription(node.id, subscription.stored)) }
        answer(subscription, form == nil ? nil : subscription.options, at: node, &effects)
        guard old == nil else { return }
        switch subscription.state {
        case .pending: askOwners(about: subscription, node, moment, &effects)
        case .subscribed:
            tellOwners(subscription, .subscribed, node, actor, &effects)
            sendLastItem(to: subscription, node, moment, &effects)
        }
    }

    private func newSubscription(
        _ address: JID, to node: PubSubNode, _ affiliation: NodeAffiliation, _ moment: NodeMoment
    ) throws(PubSubError) -> NodeSubscription {
        let isApproved = affiliation.mayRead == true || node.configuration.accessModel != .authorize
        return try newSubscription(address, to: node, isApproved ? .subscribed : .pending, moment)
    }

    func newSubscription(
        _ address: JID, to node: PubSubNode, _ state: NodeSubscription.State, _ moment: NodeMoment
    ) throws(PubSubError) -> NodeSubscription {
        guard node.subscriptions.count < settings.subscriptionsMax,
            node.subscriptions.of(address.bare).count < settings.subscriptionsPerAccountMax
        else { throw .tooManySubscriptions }
        return NodeSubscription(id: moment.token(), address: address, state: state)
    }

    func sendLastItem(to subscription: NodeSubscription, _ node: PubSubNode, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        guard node.configuration.lastItem != .never, node.configuration.deliversNotifications, node.itemCount > 0, subscription.options.delivers
        else { return }
        effects.lastItems.append(lastItem(of: node, for: subscription.address, moment))
    }

    private func answer(
        _ subscription: NodeSubscription, _ options: NodeSubscriptionOptions?, at node: PubSubNode, _ effects: inout NodeEffects
    ) {
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.subscription(subscription, subscription.state, node: node.name, .pubsub)
                guard let options else { return }
                writer.element("options", .pubsub) { options.form(.result).write(to: &$0) }
            }
        }
    }

    // MARK: Unsubscribing (§6.2)

    mutating func unsubscribe(_ subscriber: PubSubRequest.Subscriber, _ actor: JID, _ effects: inout NodeEffects) throws(PubSubError) {
        var node = try node(subscriber.node)
        let subscription = try subscription(subscriber, at: node, actor, missing: .cancel)
        node.subscriptions.remove(subscription.address)
        set(node)
        effects.writes.append(.removeSubscription(node.id, id: subscription.id))
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { $0.subscription(subscription, nil, node: node.name, .pubsub) }
        }
        tellOwners(subscription, nil, node, actor, &effects)
    }

    /// A subscription of who asks. Its identifier may be left out, as an address has one subscription at most.
    private func subscription(
        _ subscriber: PubSubRequest.Subscriber, at node: PubSubNode, _ actor: JID, missing: StanzaError.Kind
    ) throws(PubSubError) -> NodeSubscription {
        guard subscriber.address.bare == actor.bare else { throw .forbidden }
        guard let subscription = node.subscriptions[subscriber.address] else { throw .notSubscribed(missing) }
        if let id = subscriber.id, id != subscription.id { throw .invalidSubID }
        return subscription
    }

    // MARK: Options (§6.3, §6.4)

    func answerOptions(_ subscriber: PubSubRequest.Subscriber, _ actor: JID, _ effects: inout NodeEffects) throws(PubSubError) {
        let subscription = try subscription(subscriber, at: try node(subscriber.node), actor, missing: .modify)
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.open("options", .pubsub)
                writer.attribute("node", subscriber.node)
                writer.attribute("jid", subscription.address)
                writer.attribute("subid", subscription.id)
                subscription.options.form(.form).write(to: &writer)
                writer.close()
            }
        }
    }

    mutating func setOptions(
        _ subscriber: PubSubRequest.Subscriber, _ form: DataForm, _ actor: JID, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        var node = try node(subscriber.node)
        var subscription = try subscription(subscriber, at: node, actor, missing: .modify)
        if form.kind == .cancel { return }
        try subscription.options.take(form, at: moment.now)
        node.subscriptions.set(subscription)
        set(node)
        effects.writes.append(.setSubscription(node.id, subscription.stored))
    }

    func answerDefaultOptions(_ name: String?, _ effects: inout NodeEffects) throws(PubSubError) {
        if let name { _ = try node(name) }
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.element("default", .pubsub, ["node": name]) { NodeSubscriptionOptions().form(.result).write(to: &$0) }
            }
        }
    }

    // MARK: Access that somebody loses or gets

    /// An account sees the owner's presence no longer or is in other groups of the roster (XEP-0163 §6.1): subscriptions to what it may not
    /// know any more end, and it is told.
    package mutating func review(_ contact: BareJID, _ audience: some NodeAudience, _ effects: inout NodeEffects) {
        for node in nodes.values where !node.subscriptions.of(contact).isEmpty {
            review(node.subscriptions.of(contact), at: node, .bare(address), audience, &effects)
        }
    }

    /// An account goes: whoever has its address next has nothing of it, and a service's node whose last owner it was goes with it. Those who were
    /// subscribed to that are told; of the rest nobody is.
    package mutating func withdraw(from account: BareJID, _ effects: inout NodeEffects) {
        for var node in nodes.values {
            let subscriptions = node.subscriptions.of(account)
            let affiliation = node.affiliations.removeValue(forKey: account)
            let hadAffiliation = affiliation != nil
            guard hadAffiliation || !subscriptions.isEmpty else { continue }
            if self.account == nil, affiliation == .owner, !node.affiliations.values.contains(.owner) {
                for subscription in subscriptions { node.subscriptions.remove(subscription.address) }
                discard(node, by: .bare(account), &effects)
                continue
            }
            if hadAffiliation { effects.writes.append(.setAffiliation(node.id, StoredNodeAffiliation(address: account, affiliation: 0))) }
            for subscription in subscriptions {
                node.subscriptions.remove(subscription.address)
                effects.writes.append(.removeSubscription(node.id, id: subscription.id))
            }
            set(node)
        }
        for node in moved.values where node.affiliations[account] != nil {
            moved[OctetName(node.name)]?.affiliations[account] = nil
            effects.writes.append(.setAffiliation(node.id, StoredNodeAffiliation(address: account, affiliation: 0)))
        }
    }

    /// The node is open to others than before.
    mutating func reviewSubscriptions(of node: PubSubNode, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects) {
        review(node.subscriptions.all.sorted { $0.address.precedes($1.address) }, at: node, actor, audience, &effects)
    }

    /// Subscriptions end that could not be made any more, and those that need no approval any more are approved (§8.7.4).
    ///
    /// A subscription that counts already needs no approval at a node where new ones do.
    mutating func review(
        _ subscriptions: [NodeSubscription], at old: PubSubNode, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects
    ) {
        var node = old
        let access = access(to: node)
        for subscription in subscriptions {
            let account = subscription.address.bare
            let affiliation = access.affiliation(of: account)
            if access.refusal(ofSubscribing: account, affiliation, audience) != nil {
                end(subscription, at: &node, actor, &effects)
            } else if subscription.state == .pending, affiliation.mayRead == true || node.configuration.accessModel != .authorize {
                approve(subscription, at: &node, actor, &effects)
            }
        }
        set(node)
    }

    /// Whose subscription it was is told (§12.17), and so are owners who want to know.
    func end(_ subscription: NodeSubscription, at node: inout PubSubNode, _ actor: JID, _ effects: inout NodeEffects) {
        node.subscriptions.remove(subscription.address)
        effects.writes.append(.removeSubscription(node.id, id: subscription.id))
        effects.notices.append(subscriptionNotice(subscription, nil, node, actor, to: [subscription.address]))
        tellOwners(subscription, nil, node, actor, &effects)
    }

    func approve(_ old: NodeSubscription, at node: inout PubSubNode, _ actor: JID, _ effects: inout NodeEffects) {
        var subscription = old
        subscription.state = .subscribed
        node.subscriptions.set(subscription)
        effects.writes.append(.setSubscription(node.id, subscription.stored))
        effects.notices.append(subscriptionNotice(subscription, .subscribed, node, actor, to: [subscription.address]))
        tellOwners(subscription, .subscribed, node, actor, &effects)
    }
}
