import MartletXML
import MartletXMPP
import NIOCore

/// The life of a message (RFC 6121 §5, §8). Two passes: the sender's account, then the recipient's; each reads from top to
/// bottom, and there is no other place where a message is decided on.
extension Router {
    func message(_ stanza: Stanza, _ type: MessageType, from session: ClientSession, _ completion: Completion) -> Progress {
        guard let to = stanza.to, let host = session.context.hosts.host(of: session.address.bare) else { return .done }
        var message = stanza
        let route = Route(account: session.address.bare, direction: .sent, origin: session.ref, peer: to)
        let verdict = session.home.shard.withLock { send(&message, host, session.home, route, session.context) }
        switch verdict {
        case .pass: return deliver(message, type, to, origin: session.ref, completion, session.context)
        case .drop: return .done
        case .bounce(let error): return session.refuse(stanza, error)
        }
    }

    // MARK: The sender's account

    /// Under the lock of the sender's shard.
    private func send(_ message: inout Stanza, _ host: Host, _ home: AccountHome, _ route: borrowing Route, _ context: LoopContext) -> Verdict {
        for stage in host.screening {
            let verdict = stage.screen(message, home, route)
            if verdict != .pass { return verdict }
        }
        copy(message, host, home, route, besides: [], context)
        for stage in host.redacting { stage.redact(&message, route) }
        return .pass
    }

    // MARK: On to the recipient

    func deliver(_ message: Stanza, _ type: MessageType, _ to: JID, origin: SessionRef?, _ completion: Completion?, _ context: LoopContext) -> Progress {
        switch Destination(to, context) {
        case .remote: return deliverRemote(message, origin: origin, context)
        case .host:
            bounce(message, .serviceUnavailable, origin, context)
            return .done
        case .account(let host):
            let shard = placement.shard(of: to.bare)
            return shard.withLock {
                if let home = readyHome(to.bare, in: shard, context) {
                    return receive(message, type, to, host, home, origin, completion, context)
                }
                let isParked = park(to.bare, bytes: message.element.byteCount, in: shard, context) { [self] home, context in
                    let progress = receive(message, type, to, host, home, origin, completion, context)
                    completion?.complete(progress, in: context)
                }
                if isParked { return .pending }
                bounce(message, StanzaError(.resourceConstraint, .wait), origin, context)
                return .done
            }
        }
    }

    // MARK: The recipient's account

    /// Under the lock of the recipient's shard.
    ///
    /// - Parameter taken: when the server took the message, in milliseconds since 1970, if that was not now.
    func receive(
        _ stanza: Stanza, _ type: MessageType, _ to: JID, _ host: Host, _ home: AccountHome, _ origin: SessionRef?,
        _ completion: Completion?, taken: Int64? = nil, _ context: LoopContext
    ) -> Progress {
        guard home.isResident else {
            bounce(stanza, home.stage == .absent ? .serviceUnavailable : StanzaError(.internalServerError, .wait), origin, context)
            return .done
        }
        if case .replaying = home.offline.delivery {
            return hold(stanza, type, to, host, home, origin, completion, taken, context)
        }
        var message = stanza
        let route = Route(account: home.address, direction: .received, origin: origin, peer: stanza.from)
        for stage in host.screening {
            switch stage.screen(message, home, route) {
            case .pass: continue
            case .drop: return .done
            case .bounce(let error):
                bounce(message, error, origin, context)
                return .done
            }
        }
        for stage in host.annotating { stage.annotate(&message, route) }

        let recipients: SessionSet
        switch DeliveryRules.message(type, to: to, sessions: home.sessions, policy: host.limits.messagesTo) {
        case .deliver(let sessions): recipients = sessions
        case .fallBack: return fallBack(message, host, home, origin, taken, context)
        case .refuse(let error):
            bounce(message, error, origin, context)
            return .done
        case .ignore: return .done
        }
        if let id = name(type, home, context) {
            for stage in host.naming { stage.name(&message, id, by: home.address) }
        }
        copy(message, host, home, route, besides: recipients, context)
        for stage in host.redacting { stage.redact(&message, route) }
        post(message.encoded(), to: recipients, of: home, context)
        shardIdle(home)
        return .done
    }

    /// A name in the account's view for what may ever be looked up by it: chat and normal messages.
    private func name(_ type: MessageType, _ home: AccountHome, _ context: LoopContext) -> UInt64? {
        switch type {
        case .chat, .normal:
            home.lastViewID = ids.next(after: home.lastViewID, wallMilliseconds: context.time.wallMilliseconds)
            return home.lastViewID
        case .groupchat, .headline, .error: return nil
        }
    }

    /// Copies to other sessions of the account, such as carbons.
    private func copy(
        _ message: Stanza, _ host: Host, _ home: AccountHome, _ route: borrowing Route, besides recipients: SessionSet, _ context: LoopContext
    ) {
        guard home.sessions.count > 1 || (route.direction == .received && recipients.isEmpty) else { return }
        for stage in host.fanOut {
            let copies = stage.copies(of: message, home, route, besides: recipients)
            if copies.isEmpty { continue }
            for (index, entry) in home.sessions.enumerated() where copies.contains(index: index) {
                context.post(stage.encodeCopy(of: message, for: entry, route), to: entry.ref)
            }
        }
    }

    func post(_ stanza: EncodedStanza, to recipients: SessionSet, of home: AccountHome, _ context: LoopContext) {
        // By index: walking over the entries would copy each of them.
        for index in home.sessions.indices where recipients.contains(index: index) { context.post(stanza, to: home.sessions[index].ref) }
    }

    // MARK: Nobody there

    private func fallBack(
        _ message: Stanza, _ host: Host, _ home: AccountHome, _ origin: SessionRef?, _ taken: Int64?, _ context: LoopContext
    ) -> Progress {
        defer { shardIdle(home) }
        for stage in host.fallBack {
            switch stage.fallBack(message, home, host.limits) {
            case .keep: return .done(log(message, host, home, origin, taken, context))
            case .refuse(let error):
                bounce(message, error, origin, context)
                return .done
            case .ignore: return .done
            }
        }
        bounce(message, .serviceUnavailable, origin, context)
        return .done
    }

    /// Appends to the message log, in the order in which the account's lock was taken. If the disk refuses, the sender learns
    /// of it: nothing was promised before.
    private func log(
        _ message: Stanza, _ host: Host, _ home: AccountHome, _ origin: SessionRef?, _ taken: Int64?, _ context: LoopContext
    ) -> CommitTicket {
        let now = context.time.wallMilliseconds
        home.lastViewID = ids.next(after: home.lastViewID, wallMilliseconds: now)
        var kept = message
        for stage in host.redacting { stage.redact(&kept, Route(account: home.address, direction: .received, origin: origin, peer: message.from)) }
        let stanza = kept.encoded()
        let bytes = stanza.bytes.readableBytes
        let ticket = store.submit([.log(LogEntry(stanza: stanza, views: [.init(owner: home.id, id: home.lastViewID)], time: taken ?? now))])
        home.lastTicket = ticket
        home.offline.count += 1
        home.offline.bytes += bytes
        let address = home.address
        context.afterCommit(ticket) { [self] context, outcome in
            guard case .failure(let error) = outcome else { return }
            bounce(message, StanzaError(refusal: error), origin, context)
            reload(address, context)
        }
        return ticket
    }

    // MARK: Replay

    /// What arrives while the log is being read waits behind it: order is kept (P5).
    private func hold(
        _ stanza: Stanza, _ type: MessageType, _ to: JID, _ host: Host, _ home: AccountHome, _ origin: SessionRef?,
        _ completion: Completion?, _ taken: Int64?, _ context: LoopContext
    ) -> Progress {
        guard home.offline.held.hasRoom(forBytes: stanza.element.byteCount, host.limits) else {
            bounce(stanza, StanzaError(.resourceConstraint, .wait), origin, context)
            return .done
        }
        home.offline.held.append(bytes: stanza.element.byteCount) { [self] home, context in
            let progress = receive(stanza, type, to, host, home, origin, completion, taken: taken, context)
            completion?.complete(progress, in: context)
        }
        return .pending
    }

    func shardIdle(_ home: AccountHome) {
        if home.sessions.isEmpty { home.shard.noteIdle(home, settled: store.settled) }
    }
}

extension StanzaError {
    /// What a sender is told when the disk did not take what he sent.
    init(refusal: StoreError) {
        switch refusal {
        case .full: self.init(.resourceConstraint, .wait, text: "the server has no space left")
        case .unavailable, .constraint, .corrupt: self.init(.internalServerError, .wait)
        }
    }
}
