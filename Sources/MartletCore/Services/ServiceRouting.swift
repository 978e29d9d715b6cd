import MartletXML
package import MartletXMPP

/// What a service asks of the server: stanzas to accounts and other servers in the name of its addresses.
extension Router {
    package func shard(of address: BareJID) -> Shard { placement.shard(of: address) }

    /// A stanza for a service, from one of our sessions, from another service or from another server. With no lock held.
    func deliver(_ arrival: Arrival, to host: Host, _ context: LoopContext) -> Progress {
        guard let service = host.service else { return .done }
        return service.receive(arrival, self, context)
    }

    /// Answers whoever sent a stanza to a service. May be called under a shard's lock.
    ///
    /// - Parameter answer: with `to`.
    package func answer(_ answer: EncodedStanza, to arrival: borrowing Arrival, _ context: LoopContext) {
        send(answer, from: arrival.to.bare, to: arrival.from, arrival.origin, context)
    }

    /// Answers a stanza with an error, once, if it is one that is answered (RFC 6120 §8.3.1). May be called under a shard's lock.
    package func refuse(_ arrival: borrowing Arrival, _ error: StanzaError, _ context: LoopContext) {
        switch arrival.stanza.kind {
        case .message(.error), .iq(.result), .iq(.error), .presence(.error): return
        case .message, .iq, .presence: answer(StanzaBuilder.error(error, answering: arrival.stanza, from: arrival.to), to: arrival, context)
        }
    }

    /// A stanza to one address, past its account: what a service tells those who are with it. May be called under a shard's lock.
    ///
    /// - Parameters:
    ///   - from: of this server, as in the stanza.
    ///   - session: of this server; without one the stanza goes to another server, is an answer that is awaited here, or is of no interest.
    package func send(_ stanza: EncodedStanza, from: BareJID, to address: JID, _ session: SessionRef?, _ context: LoopContext) {
        if let session { return context.post(stanza, to: session) }
        if let host = context.hosts.service(of: address.bare) {
            host.service?.take(stanza, to: address, self, context)
            return
        }
        if let host = context.hosts.host(of: address.bare) { return take(stanza, at: address, of: host, context) }
        // Under the lock of whoever sends: others of his are to hear it in the same order.
        _ = remote.deliver(stanza, from: from, to: address.bare, context)
    }

    /// A message from an address of a service to an account, through everything that an account does with messages. What comes back goes to
    /// `message.from`. With no lock held.
    package func deliver(_ message: Stanza, _ type: MessageType, to: JID, by arrival: Arrival, _ context: LoopContext) -> Progress {
        var message = MessageInTransit(message, type, to: to, origin: nil, arrival.completion)
        message.isPromised = arrival.position != nil
        message.position = arrival.position
        return deliver(&message, context)
    }

    /// A message as ``deliver(_:_:to:by:_:)`` takes it, of type `normal`, where nobody waits for what becomes of it. With no lock held.
    package func notify(_ message: Stanza, to account: BareJID, _ context: LoopContext) { notify(message, .normal, to: .bare(account), context) }

    /// The same of any type, to anybody.
    package func notify(_ message: Stanza, _ type: MessageType, to address: JID, _ context: LoopContext) {
        var message = MessageInTransit(message, type, to: address, origin: nil)
        _ = deliver(&message, context)
    }

    /// A request or an answer from an address of a service to one session, or to an account of another server. With no lock held.
    ///
    /// - Returns: why it does not get there.
    package func pass(_ stanza: Stanza, _ type: IQType, to address: JID, _ context: LoopContext) -> StanzaError? {
        guard let host = context.hosts.host(of: address.bare) else {
            if case .refused(let error) = remote.deliver(stanza.encoded(to: address), from: stanza.from.bare, to: address.bare, context) { return error }
            return nil
        }
        guard case .full(let full) = address else { return .serviceUnavailable }
        var stanza = stanza
        stanza.to = address
        return pass(stanza, type, to: full, host, origin: nil, context)
    }

    /// Asks an account of this server in the name of an address of a service, for what is answered from the disk, such as its vCard. The account
    /// may not want to hear from that address (XEP-0191). With no lock held.
    ///
    /// - Parameters:
    ///   - request: a `get` with one child.
    ///   - answered: called once, on whatever loop, with no lock held.
    package func ask(
        _ request: Stanza, of account: BareJID, _ context: LoopContext,
        answered: @escaping @Sendable (Result<IQReply, StanzaError>, LoopContext) -> Void
    ) {
        var children = request.element.root.children.makeIterator()
        guard let host = context.hosts.host(of: account), let child = children.next(),
            case .concurrent(let work)? = host.handler(.get, child, at: .account)
        else { return answered(.failure(.serviceUnavailable), context) }
        let bytes = request.element.byteCount
        var request = IQRequest(kind: .get, stanza: request, actor: request.from, owner: account, child: child)
        request.host = host
        let asked = request
        withHome(of: account, bytes: bytes, context) { [self] home, context in
            answer(admission(asked, home, host, nil), on: context.mailbox, work, answered: answered)
        }
    }

    /// Under the lock.
    private func answer(
        _ admitted: Result<IQRequest, StanzaError>, on mailbox: LoopMailbox,
        _ work: @escaping @Sendable (IQRequest, Router) async throws(StanzaError) -> IQReply,
        answered: @escaping @Sendable (Result<IQReply, StanzaError>, LoopContext) -> Void
    ) {
        Task(executorPreference: executor) { [self] in
            let outcome: Result<IQReply, StanzaError>
            do throws(StanzaError) { outcome = .success(try await work(try admitted.get(), self)) } catch { outcome = .failure(error) }
            mailbox.run { context in
                answered(outcome, context)
                context.runEffects()
            }
        }
    }

    /// The server stops in order: services tell whoever is with them. Called once, on one loop.
    package func stopServices(_ context: LoopContext) {
        for host in context.hosts.serviceHosts { host.service?.stop(self, context) }
        context.flush()
    }

    /// An error for whoever sent `stanza`, where that is no session of ours: another server, or an address of a service, which passes it on.
    func bounceToSender(_ answer: EncodedStanza, of stanza: Stanza, _ context: LoopContext) {
        let sender = stanza.from
        if !context.hosts.isOurs(sender.bare), let answerer = stanza.to {
            return send(answer, from: answerer.bare, to: sender, nil, context)
        }
        if let host = context.hosts.host(of: sender.bare) { return take(answer, at: sender, of: host, context) }
        guard let host = context.hosts.service(of: sender.bare), let error = Stanza(sent: answer) else { return }
        context.after { [self] context in _ = deliver(Arrival(error, to: sender, origin: nil), to: host, context) }
    }
}
