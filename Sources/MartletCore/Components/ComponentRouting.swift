import MartletXMPP

/// What components send goes the same way as what other servers send, and to other servers besides.
extension Router {
    /// Takes a stanza from an address of a component. With no lock held; the caller runs effects.
    func receive(ofComponent stanza: Stanza, to: JID, _ completion: Completion, _ context: LoopContext) -> Progress {
        if context.hosts.isOurs(to.bare) { return receive(stanza, to: to, completion, context) }
        guard case .message(let type) = stanza.kind else { return deliverRemote(stanza, origin: nil, context) }
        var message = MessageInTransit(stanza, type, to: to, origin: nil, completion)
        return deliver(&message, context)
    }
}

/// Other servers, and before them the components of this one: for whoever looks only at accounts before it hands a stanza on.
struct ComponentsFirst: RemoteDelivery {
    let others: any RemoteDelivery

    func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        guard let host = context.hosts.service(of: to) else { return others.deliver(stanza, from: from, to: to, kept: kept, context) }
        guard let component = host.service as? Component else { return .refused(.serviceUnavailable) }
        return component.deliver(stanza, context).map(Acceptance.refused) ?? .accepted(.none)
    }
}
