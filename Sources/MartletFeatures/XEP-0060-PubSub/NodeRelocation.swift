import MartletCore
import MartletXMPP

/// Nodes that were deleted in favour of others (§8.4.1): whoever asks for one, and might have known of it, is told where to go (§6.1.3.10), until
/// there is a node of its name again.
extension PubSubNodes {
    /// Refuses what is asked of a node that is elsewhere now.
    func checkMoved(_ name: String, _ actor: JID, _ audience: some NodeAudience) throws(PubSubError) {
        guard let node = moved[OctetName(name)], let address = node.movedTo, isVisible(node, to: actor, audience) else { return }
        throw .gone(to: address)
    }

    /// Whether a request may make a node of the name that it is about.
    func mayCreate(by request: PubSubRequest, _ actor: JID) -> Bool {
        switch request {
        case .create: true
        case .publish, .replace: actor.bare == account
        default: false
        }
    }

    /// A deleted node leaves its name, where it is now, and who might know of it.
    mutating func note(_ node: PubSubNode, movedTo address: String, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        if moved.count >= settings.movedMax, let oldest = moved.values.min(by: { $0.id.raw < $1.id.raw }) { forgetMoved(oldest.name, &effects) }
        var notice = PubSubNode(NodeID(raw: nextPlace(moment)), node.name, created: moment.now, by: node.creator, node.configuration)
        notice.affiliations = node.affiliations
        notice.movedTo = address
        moved[OctetName(node.name)] = notice
        effects.writes.append(.create(owner, notice.stored(settings)))
    }

    mutating func forgetMoved(_ name: String, _ effects: inout NodeEffects) {
        guard let node = moved.removeValue(forKey: OctetName(name)) else { return }
        effects.writes.append(.delete(node.id))
    }
}
