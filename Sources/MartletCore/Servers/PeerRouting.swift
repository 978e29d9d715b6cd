import MartletXML
package import MartletXMPP

/// What other servers send (RFC 6120 §10.5, RFC 6121 §8.5): the same way through the recipient's account as what our own sessions send, past
/// the sender's, which is the other server's business.
extension Router {
    /// Takes a stanza for an address of ours. With no lock held; the caller runs effects.
    ///
    /// - Parameters:
    ///   - stanza: from an address that whoever sent it may speak for.
    ///   - completion: `nil` where nobody waits for what becomes of it.
    ///   - isPromised: whether the other server is told when a message is safe (XEP-0198).
    ///   - position: where the stream stands with it, if that can be resumed.
    func receive(
        _ stanza: Stanza, to: JID, _ completion: Completion?, isPromised: Bool = false, position: StreamPosition? = nil, _ context: LoopContext
    ) -> Progress {
        if context.hosts.service(of: to.bare) != nil {
            return receiveAtService(stanza, to: to, completion, isPromised: isPromised, position, context)
        }
        guard let host = context.hosts.host(of: to.bare) else {
            bounce(stanza, .serviceUnavailable, nil, context)
            return .done
        }
        switch stanza.kind {
        case .message(let type):
            var message = MessageInTransit(stanza, type, to: to, origin: nil, completion)
            (message.isPromised, message.position) = (isPromised, position)
            return deliver(&message, context)
        case .presence(let type):
            receive(stanza, type, to: to, host, context)
            return .done
        case .iq(let type): return iq(stanza, type, to: to, byPeer: Asker(origin: nil, completion), context)
        }
    }

    /// The same for what came by no stream, and nobody waits for.
    package func receive(fromPeer stanza: Stanza, to: JID, _ context: LoopContext) {
        _ = receive(stanza, to: to, nil, context)
        context.runEffects()
    }

    private func receiveAtService(
        _ stanza: Stanza, to: JID, _ completion: Completion?, isPromised: Bool, _ position: StreamPosition?, _ context: LoopContext
    ) -> Progress {
        switch stanza.kind {
        case .iq(let type): return iq(stanza, type, to: to, byPeer: Asker(origin: nil, completion), context)
        case .message(let type):
            var message = MessageInTransit(stanza, type, to: to, origin: nil, completion)
            (message.isPromised, message.position) = (isPromised, position)
            return deliver(&message, context)
        case .presence:
            guard let host = context.hosts.service(of: to.bare) else { return .done }
            return deliver(Arrival(stanza, to: to, origin: nil, completion), to: host, context)
        }
    }

    private func receive(_ sent: Stanza, _ type: PresenceType, to: JID, _ host: Host, _ context: LoopContext) {
        var stanza = sent
        for stage in host.annotating { stage.annotate(&stanza, of: context.hosts) }
        switch type {
        case .available, .unavailable, .error: deliverPresence(stanza, to: to, origin: nil, isOfPeer: true, context)
        case .probe: probe(to.bare, for: stanza.from, ref: nil, context)
        case .subscribe: receive(.subscribe, stanza, to: to, context)
        case .subscribed: receive(.subscribed, stanza, to: to, context)
        case .unsubscribe: receive(.unsubscribe, stanza, to: to, context)
        case .unsubscribed: receive(.unsubscribed, stanza, to: to, context)
        }
    }

    /// Subscriptions are between accounts, whatever the addresses say (RFC 6121 §3.1.2).
    private func receive(_ kind: SubscriptionStanza, _ sent: Stanza, to: JID, _ context: LoopContext) {
        var stanza = sent
        stanza.from = .bare(sent.from.bare)
        stanza.to = .bare(to.bare)
        deliverSubscription(kind, stanza, to: to.bare, context)
    }
}
