import MartletXML
package import MartletXMPP
import NIOCore

/// What became of a request to go on with an earlier stream (XEP-0198 §5).
package enum ResumptionOutcome {
    /// `handled`: stanzas of the client that the session has handled. The caller says so, and then calls ``ClientSession/sendAgain()``.
    case resumed(ClientSession, handled: UInt32)
    case refused(StanzaError.Condition, handled: UInt32?)
    /// The client acknowledged what it was never sent.
    case failed(StreamError)
}

/// A session outlives its connection: it keeps its presence and its place in routing, and another connection can take it over. The
/// connection may be on another event loop, and a session stays on one for life: so it is a new session with a new reference that
/// takes over the old one's place, in the account's home, and then its state. What is posted to the old reference follows.
extension Router {
    /// - Parameters:
    ///   - previous: the identifier that the earlier stream was given.
    ///   - handled: stanzas of the earlier stream that the client has handled.
    ///   - userAgent: what the client says of itself now; `nil` leaves what it said before.
    ///   - moment: when the account source was asked; no change after it is outlived (P13).
    ///   - device: on what the client runs, if it says so: from now on that is where the session is (XEP-0494).
    ///   - application: of which application the password is that it has come in by now, if it is not the account's own: from now on that is what the
    ///     session may do, whatever it could before.
    ///   - proof: by what it was let in: from now on the session lives by that, and by nothing before.
    ///   - done: runs on the caller's loop, at once or later.
    package func resume(
        _ account: BareJID, previous: String, handled: UInt32, userAgent: UserAgent? = nil, authenticatedAt moment: CredentialMoment = .latest,
        on device: DeviceSighting? = nil, application: String? = nil, by proof: SessionProof = SessionProof(),
        _ transport: any SessionTransport, _ context: LoopContext, _ done: @escaping (ResumptionOutcome) -> Void
    ) {
        let shard = placement.shard(of: account)
        let refusal: ResumptionOutcome? = shard.withLock {
            guard !shard.changedCredentials.hasChanged(account, since: moment) else {
                return .failed(StreamError(.notAuthorized, "the account was changed after the log-in"))
            }
            // The account of a session that can be resumed is in memory.
            guard let home = shard.home(account), home.isInMemory, home.isEnabled,
                let index = home.sessions.firstIndex(where: { $0.resumptionID == previous })
            else { return .refused(.itemNotFound, handled: nil) }
            let entry = home.sessions[index]
            guard !entry.needsCertificate || proof.isCertified, !entry.proof.isOver(at: context.time.wallMilliseconds) else {
                return .refused(.itemNotFound, handled: nil)
            }
            home.sessions[index].proof = proof
            home.sessions[index].needsCertificate = false
            if let device { note(device, at: index, home, context) }
            takePlace(at: index, home, handled, userAgent, application, transport, context, done)
            return nil
        }
        switch refusal {
        case .refused(let condition, _)?: refuse(account, previous, condition, context, done)
        case .failed(let error)?:
            noteRevoked(account, transport, error)
            done(.failed(error))
        case let refusal?: done(refusal)
        case nil: break
        }
        context.runEffects()
    }

    /// There is no such stream. It may be one of a server that crashed: then the log knows how far that came (P4).
    private func refuse(
        _ account: BareJID, _ previous: String, _ condition: StanzaError.Condition, _ context: LoopContext,
        _ done: @escaping (ResumptionOutcome) -> Void
    ) {
        let mailbox = context.mailbox
        let done = NIOLoopBound(done, eventLoop: mailbox.loop)
        @Sendable func answer(_ handled: UInt32?) {
            mailbox.run { context in
                done.value(.refused(condition, handled: handled))
                context.runEffects()
            }
        }
        withHome(of: account, context) { [store] home, context in
            guard home.isResident else { return context.after { _ in answer(nil) } }
            store.handled(on: StreamPosition.stream(named: previous), of: home.id) { answer((try? $0.get()) ?? nil) }
        }
    }

    /// Under the lock. From here on everything goes to the new session, which holds it back until it has what the old one had.
    private func takePlace(
        at index: Int, _ home: AccountHome, _ handled: UInt32, _ userAgent: UserAgent?, _ application: String?,
        _ transport: any SessionTransport, _ context: LoopContext, _ done: @escaping (ResumptionOutcome) -> Void
    ) {
        let old = home.sessions[index].ref
        let ref = SessionRef(
            id: nextSessionID(), mailbox: context.mailbox, isScreened: !home.blockList.isEmpty, userAgent: userAgent ?? old.userAgent,
            application: application)
        let session = ClientSession(
            address: home.sessions[index].address, ref: ref, home: home, router: self, context: context, transport: transport)
        session.awaitHandOver(to: transport, acknowledging: handled, done)
        ref.session = session
        home.sessions[index].ref = ref
        home.sessions[index].detachedAt = nil
        moveReplay(from: old, to: ref, home, context)
        // What its client wants to hear of is not saved over a restart, and may have to be asked for.
        if home.sessions[index].isAvailable { noteInterests(of: index, home, context) }
        let handOver = Post.run { _ in
            if let session = old.session { session.handOver(to: ref) } else { ClientSession.handOverNothing(to: ref) }
        }
        context.post(handOver, to: old.mailbox)
    }
}

extension Router {
    /// Does something with a session, on its loop, or with whoever has taken over from it; nothing, if it has ended. Called on the
    /// loop of `ref`.
    func withSession(_ ref: SessionRef, _ context: LoopContext, _ work: @escaping @Sendable (ClientSession, LoopContext) -> Void) {
        if let session = ref.session { return work(session, context) }
        guard let successor = ref.successor else { return }
        context.post(.run { [self] context in withSession(successor, context, work) }, to: successor.mailbox)
    }
}

// MARK: What nobody acknowledged

/// A message that a client was sent and has not acknowledged, when its session has ended for good.
struct UndeliveredMessage: Sendable {
    var stanza: Stanza
    var type: MessageType
    /// When the server took it, in milliseconds since 1970.
    var time: Int64
    /// Who hears if it cannot be kept.
    var origin: SessionRef?
}

extension Router {
    /// Messages among what a client has not acknowledged. Requests are answered at once: whoever asked gets his one answer
    /// (RFC 6120 §8.2.3). What the message log has for the account is still there, and what another session has too is not lost; presence and
    /// answers are of no use later.
    func undelivered(_ unacknowledged: UnacknowledgedStanzas, of account: BareJID, _ context: LoopContext) -> [UndeliveredMessage] {
        var messages: [UndeliveredMessage] = []
        for item in unacknowledged.all where item.view == 0 {
            if let message = undelivered(item.stanza, at: item.time, of: account, context) { messages.append(message) }
        }
        return messages
    }

    /// The same for one stanza.
    func undelivered(_ stanza: EncodedStanza, at time: Int64, of account: BareJID, _ context: LoopContext) -> UndeliveredMessage? {
        // What the server sent in the account's name, such as copies, needs no second delivery.
        guard let stanza = Stanza(sent: stanza), stanza.from != .bare(account) else { return nil }
        switch stanza.kind {
        case .message(let type): return UndeliveredMessage(stanza: stanza, type: type, time: time, origin: session(of: stanza.from))
        case .iq(.get), .iq(.set): bounce(stanza, .serviceUnavailable, session(of: stanza.from), context)
        case .iq, .presence: break
        }
        return nil
    }

    /// Treats messages as if they came now, for an account without the session (XEP-0198 §4). Under the lock.
    func deliverAgain(_ messages: [UndeliveredMessage], _ home: AccountHome, _ context: LoopContext) {
        guard !messages.isEmpty else { return }
        guard !home.isResident else { return deliverNow(messages, home, context) }
        // The account is being read anew: what decides about its messages is not known before.
        let bytes = messages.reduce(0) { $0 + $1.stanza.element.byteCount }
        let isParked = park(home.address, bytes: bytes, in: home.shard, context) { [self] home, context in deliverNow(messages, home, context) }
        if isParked { return }
        for message in messages { bounce(message.stanza, StanzaError(.resourceConstraint, .wait), message.origin, context) }
    }

    private func deliverNow(_ messages: [UndeliveredMessage], _ home: AccountHome, _ context: LoopContext) {
        guard let host = context.hosts.host(of: home.address) else { return }
        for message in messages where message.type == .chat || message.type == .normal {
            // What one of the account's sessions said to it, all of them have.
            if message.stanza.from.bare == home.address, !home.sessions.isEmpty { continue }
            let to = message.stanza.to ?? .bare(home.address)
            var again = MessageInTransit(message.stanza, message.type, to: to, origin: message.origin)
            again.taken = message.time
            _ = receive(&again, host, home, context)
        }
    }

    private func session(of address: JID) -> SessionRef? {
        guard case .full(let full) = address else { return nil }
        let session = withResidentHome(full.bare) { home in home.index(of: full).map { home.sessions[$0].ref } }
        return session ?? nil
    }
}

/// What is left of a session that has ended: the way back into its account for what was on its way to it.
struct SessionRemains {
    let router: Router
    let home: AccountHome

    func deliverAgain(_ stanza: EncodedStanza, _ context: LoopContext) {
        let message = router.undelivered(stanza, at: context.time.wallMilliseconds, of: home.address, context)
        if let message { deliverAgain([message], context) }
    }

    func deliverAgain(_ unacknowledged: UnacknowledgedStanzas, _ context: LoopContext) {
        deliverAgain(router.undelivered(unacknowledged, of: home.address, context), context)
    }

    private func deliverAgain(_ messages: [UndeliveredMessage], _ context: LoopContext) {
        // The home may have left memory since; the account's next one is as good.
        router.withHome(of: home.address, context) { [router] home, context in router.deliverAgain(messages, home, context) }
        context.runEffects()
    }
}

extension Stanza {
    /// A stanza as it was sent to a client, or logged for one; `nil` for one without a sender, which was the server's own.
    package init?(sent stanza: EncodedStanza) {
        guard let element = try? parseElement(stanza.bytes, limits: .ownWriting),
            let from = element.root.attribute("from").flatMap({ try? JID($0) })
        else { return nil }
        let to = element.root.attribute("to").flatMap { try? JID($0) }
        if element.isNamed("message", .client) {
            self.init(element, kind: .message(MessageType(of: element.root)), from: from, to: to)
        } else if element.isNamed("iq", .client), let type = IQType(of: element.root) {
            self.init(element, kind: .iq(type), from: from, to: to)
        } else if element.isNamed("presence", .client), let type = PresenceType(of: element.root) {
            self.init(element, kind: .presence(type), from: from, to: to)
        } else {
            return nil
        }
    }
}
