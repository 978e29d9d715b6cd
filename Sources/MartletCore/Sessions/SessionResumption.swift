import MartletXMPP
import NIOCore

/// A session without its connection, and one that takes over from it (XEP-0198 §5). `Resumption.swift` says how the place in the
/// account's home changes hands.
extension ClientSession {
    /// What a session waits for that takes over another one.
    struct Inheritance {
        /// The new connection; `nil` once it is lost too.
        var transport: (any SessionTransport)?
        /// Stanzas of the earlier stream that the client has handled.
        let handled: UInt32
        let done: (ResumptionOutcome) -> Void
        /// What is to be delivered once it is known what comes before.
        var early: [(stanza: EncodedStanza, view: UInt64, isStored: Bool)] = []
        /// Somebody who wants to take over in turn.
        var heir: SessionRef?
    }

    /// What goes from one session to its successor.
    struct Estate: Sendable {
        var ledger: InboundLedger
        var management: SessionManagement
        var unproven: UnprovenDeliveries
        var held: ClientStateQueue?
    }

    /// How long a resumption waits for stanzas that the earlier session took and that are not finished. Past it the client is told
    /// that they are not handled, and sends them again.
    static let unfinishedDeadline = TimeAmount.seconds(10)

    // MARK: Without a connection

    /// The connection is gone without a word. A session that can be resumed goes on without it, for a while.
    ///
    /// - Returns: whether it goes on.
    package func connectionLost() -> Bool {
        guard !isEnded else { return false }
        switch link {
        case .inheriting(var inheritance):
            inheritance.transport = nil
            link = .inheriting(inheritance)
            return true
        case .leaving, .hibernating: return true
        case .attached:
            guard let resumption = management?.resumption else {
                transportClosed()
                return false
            }
            hibernate(for: resumption.seconds)
            return true
        }
    }

    /// Whether it has lost its connection, and can be resumed.
    package var isDetached: Bool {
        if case .hibernating = link { !isEnded } else { false }
    }

    /// Whether the session has a connection, or had one when it ended.
    var isAttached: Bool {
        switch link {
        case .attached, .leaving: true
        case .inheriting, .hibernating: false
        }
    }

    private func hibernate(for seconds: Int) {
        link = .hibernating
        beginHolding()
        let now = context.time.wallMilliseconds
        let proof = home.shard.withLock {
            guard let index = home.index(of: ref) else { return SessionProof() }
            home.sessions[index].detachedAt = now
            return home.sessions[index].proof
        }
        management?.forgetRequests()
        router.connectionLost(of: self)
        awaitResumption(for: seconds, proof)
    }

    /// So long, and no longer than what has let it in is good.
    func awaitResumption(for seconds: Int, _ proof: SessionProof) {
        let left = proof.ends.map { max($0 - context.time.wallMilliseconds, 0) } ?? .max
        _ = ref.mailbox.loop.scheduleTask(in: .milliseconds(min(Int64(seconds) * 1_000, left))) { [ref] in
            ref.mailbox.run { _ in ref.session?.resumptionExpired() }
        }
    }

    // MARK: Over a restart of the server

    /// Whether a server that is started after this one can go on with the session.
    var canBeSaved: Bool {
        if case .inheriting = link { return false }
        return !isEnded && management?.resumption != nil
    }

    /// What the client and the server owe each other; `nil` if the session cannot go on.
    func saved() -> (management: SessionManagement, handled: UInt32)? {
        guard canBeSaved else { return nil }
        // What waits is counted as sent: the client gets it when it resumes.
        endHolding()
        settleLedger()
        guard let management else { return nil }
        return (management, management.handled(ledger.firstOpen))
    }

    private func resumptionExpired() {
        guard case .hibernating = link else { return }
        transportClosed()
        router.audit.record(.sessionEnded(address, reason: "the session was not resumed in time"))
    }

    // MARK: The one that goes

    /// Gives everything to `heir`, who has this session's place in the home already.
    func handOver(to heir: SessionRef) {
        if case .inheriting(var inheritance) = link {
            inheritance.heir = heir
            return link = .inheriting(inheritance)
        }
        guard !isEnded, let management else { return Self.handOverNothing(to: heir) }
        let estate = Estate(ledger: ledger, management: management, unproven: unproven, held: held?.queue)
        let old = link
        leave(to: heir)
        heir.mailbox.run { context in
            // The heir may have ended before it got anything.
            if let session = heir.session { session.takeOver(estate) } else { heir.remains?.deliverAgain(estate.management.unacknowledged, context) }
        }
        if case .attached(let transport) = old {
            transport.close(StreamError(.conflict, "The stream was resumed on another connection."))
        }
    }

    static func handOverNothing(to heir: SessionRef) {
        heir.mailbox.run { _ in heir.session?.takeOver(nil) }
    }

    // MARK: The one that comes

    func awaitHandOver(to transport: any SessionTransport, acknowledging handled: UInt32, _ done: @escaping (ResumptionOutcome) -> Void) {
        link = .inheriting(Inheritance(transport: transport, handled: handled, done: done))
        awaitsInheritedStanzas = true
    }

    func inherit(_ stanza: EncodedStanza, view: UInt64, isStored: Bool) {
        guard case .inheriting(var inheritance) = link else { return }
        // So that there is one reference to the list.
        link = .hibernating
        inheritance.early.append((stanza, view, isStored))
        link = .inheriting(inheritance)
    }

    /// - Parameter estate: `nil` if the earlier session was gone already: then there is nothing to resume.
    private func takeOver(_ estate: Estate?) {
        guard case .inheriting(let inheritance) = link, !isEnded else { return }
        guard let estate else {
            transportClosed()
            inheritance.refuse()
            if let heir = inheritance.heir { Self.handOverNothing(to: heir) }
            return
        }
        ledger = estate.ledger
        management = estate.management
        unproven = estate.unproven
        held = estate.held.map(HeldStanzas.init)
        _ = ref.mailbox.loop.scheduleTask(in: Self.unfinishedDeadline) { [ref] in
            ref.mailbox.run { _ in ref.session?.stopWaitingForUnfinished() }
        }
        settleLedger()
    }

    private func stopWaitingForUnfinished() {
        guard case .inheriting = link, management != nil else { return }
        awaitsInheritedStanzas = false
        ledger.forgetUnfinished()
        finishInheriting()
    }

    /// All that the earlier session took is finished: now it is known what the client has to send again.
    func finishInheriting() {
        guard case .inheriting(let inheritance) = link, let handled = management?.handled(ledger.firstOpen) else { return }
        do throws(StreamError) {
            try takeAcknowledgement(inheritance.handled)
        } catch {
            transportClosed()
            if inheritance.transport != nil { inheritance.done(.failed(error)) }
            if let heir = inheritance.heir { Self.handOverNothing(to: heir) }
            return
        }
        // A resumed stream begins as active (XEP-0352 §5.2). What was held came before what came since.
        endHolding()
        keepEarly(inheritance)
        management?.forgetRequests()
        if let heir = inheritance.heir {
            link = .hibernating
            inheritance.refuse()
            return handOver(to: heir)
        }
        guard let transport = inheritance.transport else { return hibernate(for: management?.resumption?.seconds ?? 0) }
        link = .attached(transport)
        inheritance.done(.resumed(self, handled: handled))
    }

    /// Their number is bounded by what may wait for a session that hibernates: past it the next delivery ends the session.
    func keepEarly(_ inheritance: Inheritance) {
        if management == nil { management = SessionManagement(base: 0, resumption: nil) }
        for (stanza, view, isStored) in inheritance.early { _ = keep(stanza, view: view, isStored: isStored) }
    }

    /// Sends what the client has not acknowledged, once it knows that its stream was resumed.
    package func sendAgain() {
        guard !isEnded, case .attached(let transport) = link, let management else { return }
        for item in management.unacknowledged.all { transport.write(item.stanza.bytes) }
        allowForStored(management.unacknowledged.bytes)
        markDirty()
    }
}

extension ClientSession.Inheritance {
    /// The client is told to bind a resource instead.
    func refuse() {
        if transport != nil { done(.refused(.itemNotFound, handled: nil)) }
    }
}
