import MartletCore
import MartletXMPP

/// Finds the nodes of an owner, reads them, and carries out what they decide.
struct PubSubKeeping: Sendable {
    let router: Router

    /// Does `work` with the nodes, now or when they are read. Under the lock of their shard, before and then.
    ///
    /// - Parameter settings: for nodes that are not in memory.
    func enter(
        _ address: BareJID, _ owner: NodeOwner, _ settings: PubSubSettings, bytes: Int, _ context: LoopContext, _ work: @escaping PubSubHome.Work
    ) {
        let shard = router.shard(of: address)
        if let home = shard.serviceHome(address) as? PubSubHome, home.owner == owner {
            if home.isReading { return park(work, bytes: bytes, in: home, context) }
            shard.noteUse(home)
            if home.nodes.settings != settings { home.nodes.settings = settings }
            work(home, context)
            return shard.noteIdle(home, settled: router.store.settled)
        }
        // Another account had the address before.
        if let old = shard.serviceHome(address) { shard.remove(old) }
        let home = PubSubHome(address.compacted(), owner, PubSubNodes(address, settings, usedNames: router.ids.used), shard: shard)
        shard.insert(home)
        park(work, bytes: bytes, in: home, context)
        read(home, context)
    }

    private func park(_ work: @escaping PubSubHome.Work, bytes: Int, in home: PubSubHome, _ context: LoopContext) {
        if !home.park(bytes: bytes, work) { work(nil, context) }
    }

    // MARK: Reading

    /// Under the lock.
    private func read(_ home: PubSubHome, _ context: LoopContext) {
        let mailbox = context.mailbox
        home.isReading = true
        router.store.loadNodes(of: home.owner) { result in
            mailbox.run { context in
                home.shard.withLock { install(result, home, context) }
                context.runEffects()
            }
        }
    }

    private func install(_ result: Result<[StoredNode], StoreError>, _ home: PubSubHome, _ context: LoopContext) {
        home.isReading = false
        let waiting = home.takeWaiting()
        guard case .success(let stored) = result else {
            home.shard.remove(home)
            for work in waiting { work(nil, context) }
            return
        }
        home.nodes.install(stored)
        for work in waiting { work(home, context) }
        home.shard.noteIdle(home, settled: router.store.settled)
    }

    /// Does `work` again once it is known which items a node has. Under the lock.
    private func whenKnown(_ node: NodeID, _ home: PubSubHome, _ context: LoopContext, _ work: @escaping PubSubHome.Work) {
        home.waitingForMarks[node, default: []].append(work)
        guard home.waitingForMarks[node]?.count == 1 else { return }
        let mailbox = context.mailbox
        router.store.loadMarks(of: node) { result in
            mailbox.run { context in
                home.shard.withLock {
                    let waiting = home.waitingForMarks.removeValue(forKey: node) ?? []
                    if case .success(let marks) = result { home.nodes.install(marks, of: node) }
                    let isKnown = (try? result.get()) != nil
                    for work in waiting { work(isKnown ? home : nil, context) }
                }
                context.runEffects()
            }
        }
    }

    // MARK: Requests

    /// What is to be done behind a request. Under the lock.
    typealias Then = @Sendable (PubSubHome, LoopContext) -> Void

    /// Carries out a request. Under the lock.
    ///
    /// - Parameters:
    ///   - decide: asks the nodes; may be asked again when more is known.
    ///   - done: what comes of it, and up to where the disk must have come before anybody is told. Under the lock.
    func carryOut(
        _ home: PubSubHome, _ context: LoopContext,
        _ decide: @escaping @Sendable (PubSubHome, LoopContext, inout NodeEffects) throws(PubSubError) -> Void,
        done: @escaping @Sendable (Result<(answer: NodeEffects.Answer, ticket: CommitTicket), PubSubError>, LoopContext) -> Void
    ) {
        var effects = NodeEffects()
        do throws(PubSubError) { try decide(home, context, &effects) } catch { return done(.failure(error), context) }
        if let node = effects.needsMarks {
            return whenKnown(node, home, context) { home, context in
                guard let home else { return done(.failure(PubSubError(StanzaError(.internalServerError, .wait))), context) }
                carryOut(home, context, decide, done: done)
            }
        }
        done(.success((effects.answer, perform(effects, home, context))), context)
    }

    /// The same for somebody who waits for the answer.
    func carryOut(
        _ held: HeldRequest, _ home: PubSubHome, _ context: LoopContext,
        _ decide: @escaping @Sendable (PubSubHome, LoopContext, inout NodeEffects) throws(PubSubError) -> Void, then: @escaping Then = { _, _ in }
    ) {
        carryOut(home, context, decide) { result, context in
            switch result {
            case .success((.reply(let reply), let ticket)):
                held.answer(reply, after: ticket, context)
                then(home, context)
            case .success((.read(let reading), _)): answer(held, reading, context)
            case .failure(let error): held.refuse(with: error.encoded(answering: held.request.stanza), context)
            }
        }
    }

    private func answer(_ held: HeldRequest, _ reading: any ItemsAnswer, _ context: LoopContext) {
        held.answer(context) { _ async throws(StanzaError) in reading.reply(try await items(reading)) }
    }

    func items(_ reading: any ItemsAnswer) async throws(StanzaError) -> [NodeItem] {
        do throws(StoreError) {
            switch reading.which {
            case .names(let names): return try await router.store.items(of: reading.node, named: names)
            case .page(let request): return try await router.store.items(of: reading.node, request)
            }
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }

    /// Under the lock.
    func withdraw(from account: BareJID, _ home: PubSubHome, _ context: LoopContext) {
        var effects = NodeEffects()
        home.nodes.withdraw(from: account, &effects)
        _ = perform(effects, home, context)
    }

    func moment(_ context: LoopContext) -> NodeMoment {
        NodeMoment(now: context.wallMilliseconds, ids: router.ids, random: context.random)
    }

    /// Writes what is decided, and has it told once it is on disk. Under the lock.
    ///
    /// - Returns: up to where the disk must have come before anybody is told.
    func perform(_ effects: NodeEffects, _ home: PubSubHome, _ context: LoopContext) -> CommitTicket {
        let telling = PubSubTelling(router: router)
        if !effects.writes.isEmpty || !effects.beside.isEmpty {
            home.lastTicket = router.store.submit(effects.beside + effects.writes.map(Write.node))
        }
        let ticket = home.lastTicket
        let tells = !effects.notices.isEmpty || !effects.approvals.isEmpty || !effects.lastItems.isEmpty
        guard tells || !effects.writes.isEmpty else { return ticket }
        home.tellings.append(.init(ticket: ticket, effects: effects))
        context.afterCommit(ticket) { context, outcome in
            home.shard.withLock {
                if case .failure = outcome { return forget(ticket, home, context) }
                while let next = home.tellings.first, next.ticket <= ticket {
                    home.tellings.removeFirst()
                    guard case .success = router.store.outcome(of: next.ticket) else { continue }
                    home.note(next.effects.writes)
                    telling.tell(next.effects, home, context)
                }
            }
        }
        return ticket
    }

    /// The disk has refused what memory has. Under the lock.
    private func forget(_ ticket: CommitTicket, _ home: PubSubHome, _ context: LoopContext) {
        home.tellings.removeAll { $0.ticket == ticket }
        guard home.shard.serviceHome(home.address) === home, !home.isReading else { return }
        read(home, context)
    }
}
