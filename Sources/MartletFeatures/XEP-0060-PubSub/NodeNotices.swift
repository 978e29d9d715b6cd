import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// What is told of a node, and to whom.
extension PubSubNodes {
    /// An event that all who have subscribed are told of, and at an account those who may be told without.
    func notice(
        _ kind: NodeNotice.Kind, _ node: PubSubNode, _ actor: JID, body: String? = nil, withPending: Bool = false,
        _ event: (inout XMLWriter) -> Void
    ) -> NodeNotice {
        var writer = XMLWriter()
        event(&writer)
        return NodeNotice(
            kind: kind, node: node.id, name: node.name, event: writer.buffer, type: type(of: node), actor: actor, body: body,
            implicit: account.map { _ in access(to: node) },
            audience: .subscribers(node.subscriptions, withPending: withPending, onlyIfAvailable: node.configuration.isPresenceBased))
    }

    func type(of node: PubSubNode) -> MessageType {
        switch node.configuration.notificationType {
        case .normal: .normal
        case .headline: .headline
        }
    }

    // MARK: Events

    /// §7.1.2.1. A node without items tells that something happens, and nothing else.
    func itemsNotice(_ items: [NodeItem], _ node: PubSubNode, _ actor: JID, body: String?) -> NodeNotice {
        let configuration = node.configuration
        let isOfItems = configuration.persistsItems || configuration.deliversPayloads
        let style = style(of: node, hasPayload: configuration.deliversPayloads)
        return notice(.items, node, actor, body: configuration.deliversPayloads ? body : nil) { writer in
            writer.event("items", node.name) { writer in
                for item in items where isOfItems { style.write(item, to: &writer, .pubsubEvent) }
            }
        }
    }

    /// §7.2.2.1.
    func retractionNotice(_ items: [String], _ node: PubSubNode, _ actor: JID) -> NodeNotice {
        notice(.retraction, node, actor) { writer in
            writer.event("items", node.name) { writer in
                for item in items { writer.element("retract", .pubsubEvent, ["id": item]) }
            }
        }
    }

    /// §8.2.5.3.
    func configurationNotice(_ node: PubSubNode, _ actor: JID) -> NodeNotice {
        notice(.configuration, node, actor) { writer in
            writer.event("configuration", node.name) { writer in
                if node.configuration.deliversPayloads { node.configuration.form(.result, settings).write(to: &writer) }
            }
        }
    }

    /// Those who wait for approval are told, too (§8.4.2).
    func deletionNotice(_ node: PubSubNode, _ redirect: String?, _ actor: JID) -> NodeNotice {
        notice(.deletion, node, actor, withPending: true) { writer in
            writer.event("delete", node.name) { writer in
                if let redirect { writer.element("redirect", .pubsubEvent, ["uri": redirect]) }
            }
        }
    }

    // MARK: Subscriptions (§12.17)

    /// A subscription is another one than before.
    ///
    /// - Parameters:
    ///   - state: `nil`: there is none any more.
    ///   - recipients: who is told.
    func subscriptionNotice(
        _ subscription: NodeSubscription, _ state: NodeSubscription.State?, _ node: PubSubNode, _ actor: JID, to recipients: [JID]
    ) -> NodeNotice {
        var writer = XMLWriter()
        writer.element("event", .pubsubEvent) { $0.subscription(subscription, state, node: node.name, .pubsubEvent) }
        return NodeNotice(
            kind: .subscription, node: node.id, name: node.name, event: writer.buffer, type: type(of: node), actor: actor,
            audience: .addresses(recipients))
    }

    /// Owners who want to know who comes and goes.
    func tellOwners(
        _ subscription: NodeSubscription, _ state: NodeSubscription.State?, _ node: PubSubNode, _ actor: JID, _ effects: inout NodeEffects
    ) {
        guard node.configuration.notifiesSubscription else { return }
        effects.notices.append(subscriptionNotice(subscription, state, node, actor, to: owners(of: node).map(JID.bare)))
    }

    /// In the order of their addresses.
    func owners(of node: PubSubNode) -> [BareJID] {
        var owners = Set(node.affiliations.filter { $0.value == .owner }.keys)
        if let account { owners.insert(account) }
        return owners.sorted { JID.bare($0).precedes(.bare($1)) }
    }
}

extension XMLWriter {
    /// - Parameters:
    ///   - state: `nil` is `none`.
    ///   - node: left out where it is known.
    mutating func subscription(_ subscription: NodeSubscription, _ state: NodeSubscription.State?, node: String?, _ namespace: Namespace) {
        emptyElement("subscription", namespace) { writer in
            writer.attribute("node", node)
            writer.attribute("jid", subscription.address)
            writer.attribute("subid", subscription.id)
            writer.attribute("subscription", state?.rawValue ?? "none")
        }
    }
}
