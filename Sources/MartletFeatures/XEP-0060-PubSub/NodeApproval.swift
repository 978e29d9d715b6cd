package import MartletXML
package import MartletXMPP

/// Owners decide who may subscribe (§8.6).
extension PubSubNodes {
    static let approvalType = "http://jabber.org/protocol/pubsub#subscribe_authorization"

    func askOwners(about subscription: NodeSubscription, _ node: PubSubNode, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        ask(owners(of: node), about: subscription, node, moment, &effects)
    }

    func ask(
        _ owners: [BareJID], about subscription: NodeSubscription, _ node: PubSubNode, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) {
        var form = DataForm(.form, type: Self.approvalType, fields: [
            .init("pubsub#subid", .hidden, [subscription.id]), .text("pubsub#node", "Node", node.name),
            .init("pubsub#subscriber_jid", .jidSingle, "Who wants to subscribe", [subscription.address.description]),
            .flag("pubsub#allow", "May he?", false),
        ])
        form.title = "Request to subscribe"
        form.instructions = ["Somebody wants to be told of what is published at one of your nodes."]
        var writer = XMLWriter()
        form.write(to: &writer)
        effects.approvals.append(ApprovalRequest(owners: owners, id: moment.token(), form: writer.buffer))
    }

    /// Takes the form that an owner sends back in a message.
    ///
    /// - Returns: `false` if it is no such form, and whoever else wants it may have it.
    package mutating func takeApproval(
        _ x: ElementView, by actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) -> Bool {
        guard let form = try? DataForm(x), form.type == Self.approvalType, form.kind == .submit || form.kind == .cancel else { return false }
        // Whoever cancels decides nothing.
        guard form.kind == .submit else { return true }
        let verdict = try asPubSub { () throws(StanzaError) in try Verdict(form) }
        var node = try ownedNode(verdict.node, actor, audience)
        guard let subscription = node.subscriptions[verdict.subscriber], subscription.state == .pending else { throw .itemNotFound }
        if let id = verdict.id, id != subscription.id { throw .invalidSubID }
        if verdict.isAllowed {
            approve(subscription, at: &node, actor, &effects)
            sendLastItem(to: subscription, node, moment, &effects)
        } else {
            end(subscription, at: &node, actor, &effects)
        }
        set(node)
        return true
    }

    private struct Verdict {
        let node: String
        let subscriber: JID
        let id: String?
        let isAllowed: Bool

        init(_ form: DataForm) throws(StanzaError) {
            var fields = try FormSubmission(form, type: PubSubNodes.approvalType)
            id = try fields.text("pubsub#subid")
            guard let node = try fields.text("pubsub#node"), let subscriber = try fields.address("pubsub#subscriber_jid"),
                let isAllowed = try fields.boolean("pubsub#allow")
            else { throw .badRequest("the form says which node, who, and whether he may") }
            (self.node, self.subscriber, self.isAllowed) = (node, subscriber, isAllowed)
        }
    }
}
