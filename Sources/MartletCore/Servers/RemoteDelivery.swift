package import MartletXMPP
import NIOCore

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
    ///   - kept: for a message that is worth keeping until the other server has it (P10).
    func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance
}

/// A message that the log is to have until another server has it.
package struct KeptMessage: Sendable {
    /// With the views that others have of it. That of the other server is added.
    package var entry: LogEntry
    /// Whether the sender is told that it is safe. Otherwise the log need not have it as long as the other server takes what comes.
    package var isPromised: Bool

    package init(entry: LogEntry, isPromised: Bool) {
        self.entry = entry
        self.isPromised = isPromised
    }
}

extension RemoteDelivery {
    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, _ context: LoopContext) -> Acceptance {
        deliver(stanza, from: from, to: to, kept: nil, context)
    }
}

package enum Acceptance: Hashable, Sendable {
    /// `CommitTicket.none` if the log was not given it.
    case accepted(CommitTicket)
    case refused(StanzaError)
}

/// Where the stream to another server lives: stanzas for it are posted to its loop (``Post/forward(_:to:)``).
package protocol RemoteLink: AnyObject, Sendable {
    var mailbox: LoopMailbox { get }
    /// On the mailbox's loop.
    func take(_ item: PeerQueue.Item, _ context: LoopContext)
}

/// A server that talks to no other.
package struct NoFederation: RemoteDelivery {
    package init() {}
    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        .refused(StanzaError(.remoteServerNotFound, text: "this server does not talk to other servers"))
    }
}

extension Router {
    /// Hands a stanza to another server or to a service of this one, or its refusal back to who sent it. With no lock held.
    func deliverRemote(_ stanza: Stanza, origin: SessionRef?, _ context: LoopContext) -> Progress {
        guard let to = stanza.to else { return .done }
        if let service = context.hosts.service(of: to.bare) { return deliver(Arrival(stanza, to: to, origin: origin), to: service, context) }
        _ = handOn(stanza, stanza.encoded(), to: to.bare, kept: nil, origin, context)
        return .done
    }

    /// Hands a stanza to another server, or its refusal back to who sent it. With no lock held.
    ///
    /// - Returns: what the log has of it, if anything; `nil` if it was refused.
    private func handOn(
        _ stanza: Stanza, _ encoded: EncodedStanza, to: BareJID, kept: KeptMessage?, _ origin: SessionRef?, _ context: LoopContext
    ) -> CommitTicket? {
        // What one server has for another does not pass through a third (RFC 6120 §10.3).
        guard context.hosts.isOurs(stanza.from.bare) else {
            bounce(stanza, .serviceUnavailable, origin, context)
            return nil
        }
        switch remote.deliver(encoded, from: stanza.from.bare, to: to, kept: kept, context) {
        case .accepted(let ticket): return ticket
        case .refused(let error):
            bounce(stanza, error, origin, context)
            return nil
        }
    }

    /// Hands a message of an account to another server. What is worth keeping is in the log until that has it (P10), beside what the sender's
    /// archive keeps. With no lock held.
    ///
    /// - Returns: the log's ticket; `nil` if the log has nothing of it.
    func deliverRemote(_ message: borrowing MessageInTransit, _ context: LoopContext) -> CommitTicket? {
        let host = context.hosts.host(of: message.stanza.from.bare)
        let isKept = host?.fallBack.contains { $0.isWorthKeeping(message.stanza) } ?? false
        let (encoded, origin) = (message.stanza.encoded(), message.origin)
        var kept: KeptMessage?
        if isKept {
            let views = message.sent.map { [$0.view] } ?? []
            let entry = LogEntry(stanza: encoded, views: views, time: message.taken ?? context.wallMilliseconds, position: message.position)
            kept = KeptMessage(entry: entry, isPromised: message.isPromised)
        }
        guard let ticket = handOn(message.stanza, encoded, to: message.to.bare, kept: kept, origin, context), ticket != .none else { return nil }
        context.afterCommit(ticket) { [self] context, outcome in
            guard case .failure(let error) = outcome, let stanza = Stanza(sent: encoded) else { return }
            bounceRefused(stanza, error, origin, context)
        }
        return ticket
    }

    /// A message that was kept for another server, and cannot be delivered: its sender learns why, now or when he is there again (P10). With
    /// no lock held.
    ///
    /// - Parameter done: runs on whatever loop, once the log has been given what becomes of it; with `false` if that was not possible now.
    package func returnKept(_ encoded: EncodedStanza, _ error: StanzaError, _ context: LoopContext, _ done: @escaping @Sendable (Bool) -> Void) {
        guard let stanza = Stanza(sent: encoded), stanza.isAnswerable, let host = context.hosts.host(of: stanza.from.bare),
            let answer = Stanza(sent: StanzaBuilder.error(error, answering: stanza))
        else { return done(true) }
        withHome(of: stanza.from.bare, bytes: encoded.bytes.readableBytes, context) { [self] home, context in
            guard home.isResident else { return done(home.stage == .absent) }
            var message = MessageInTransit(answer, .error, to: stanza.from, origin: nil)
            message.isPromised = true
            message.returned = { done(true) }
            if receive(&message, host, home, context) != .pending { done(true) }
        }
        context.runEffects()
    }

    /// A message that was read from the log, as it goes to another server.
    package func late(_ logged: LoggedMessage, _ context: LoopContext) -> EncodedStanza {
        guard var message = Stanza(sent: logged.stanza), let host = context.hosts.host(of: message.from.bare) else { return logged.stanza }
        for stage in host.delaying { stage.delay(&message, by: host.domain, since: logged.time) }
        return message.encoded()
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
