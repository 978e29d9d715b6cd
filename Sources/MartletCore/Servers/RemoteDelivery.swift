package import MartletXMPP

/// Streams to other servers, as the core sees them.
package protocol RemoteDelivery: Sendable {
    /// Takes a stanza for an address of another server. Never waits: queues while a stream is being made, up to a limit, then refuses. What
    /// was accepted and cannot be delivered after all comes back as an error from its addressee (``Router/returnUndelivered(_:_:_:)``).
    ///
    /// Stanzas between the same two addresses arrive in the order in which they were given. May be called under a shard's lock.
    ///
    /// - Parameters:
    ///   - from: an address of ours, which the other server will see vouched for by its domain.
    ///   - to: of a domain that is not ours.
    func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, _ context: LoopContext) -> Acceptance
}
package enum Acceptance: Hashable, Sendable { case accepted, refused(StanzaError) }

/// Where the stream to another server lives: stanzas for it are posted to its loop (``Post/forward(_:to:)``).
package protocol RemoteLink: AnyObject, Sendable {
    var mailbox: LoopMailbox { get }
    /// On the mailbox's loop.
    func take(_ stanza: EncodedStanza, _ context: LoopContext)
}

/// A server that talks to no other.
package struct NoFederation: RemoteDelivery {
    package init() {}
    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, _ context: LoopContext) -> Acceptance {
        .refused(StanzaError(.remoteServerNotFound, text: "this server does not talk to other servers"))
    }
}

extension Router {
    /// Hands a stanza to another server or to a service of this one, or its refusal back to who sent it. With no lock held.
    func deliverRemote(_ stanza: Stanza, origin: SessionRef?, _ context: LoopContext) -> Progress {
        guard let to = stanza.to else { return .done }
        if let service = context.hosts.service(of: to.bare) { return deliver(Arrival(stanza, to: to, origin: origin), to: service, context) }
        // What one server has for another does not pass through a third (RFC 6120 §10.3).
        guard context.hosts.isOurs(stanza.from.bare) else {
            bounce(stanza, .serviceUnavailable, origin, context)
            return .done
        }
        if case .refused(let error) = remote.deliver(stanza.encoded(), from: stanza.from.bare, to: to.bare, context) {
            bounce(stanza, error, origin, context)
        }
        return .done
    }

    /// A stanza that was accepted for another server, and cannot be delivered: whoever sent it learns why, as if the addressee had said so.
    /// With no lock held.
    package func returnUndelivered(_ encoded: EncodedStanza, _ error: StanzaError, _ context: LoopContext) {
        guard let stanza = Stanza(sent: encoded), stanza.isAnswerable else { return }
        let answer = StanzaBuilder.error(error, answering: stanza)
        guard let returned = Stanza(sent: answer) else { return }
        receive(fromPeer: returned, to: stanza.from, context)
    }
}
