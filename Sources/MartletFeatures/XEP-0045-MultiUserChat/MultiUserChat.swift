package import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// Rooms (XEP-0045): the service at a domain of its own. What a room decides is in `Room`; here it is found, read, and carried out.
package struct MultiUserChat: DomainService {
    package static let specification = Specification.xep(45, "Multi-User Chat", version: "1.35.5")
    let settings: Settings

    package struct Settings: Sendable {
        package var limits = RoomLimits()
        /// What a new room is like.
        package var standard = RoomConfiguration()
        /// Who may create rooms.
        package var creation: Creation = .local
        /// Who may create as many rooms as he likes (``RoomLimits/perAccountMax``).
        package var operators: NamedAccounts = []
        package var identities: OccupantIDs
        /// For the metrics; the same after a reload, as rooms stay.
        package var counters = RoomCounters()
        /// Who enters no room unless it knows him (XEP-0377); `nil` where no lists are followed.
        package var blockLists: SharedBlockLists?
        package init(identities: OccupantIDs) { self.identities = identities }
    }

    /// §10.1.1.
    package enum Creation: Sendable { case everybody, local, administrators(NamedAccounts), nobody }

    package init(_ settings: Settings) { self.settings = settings }

    // MARK: Arriving

    package func receive(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress {
        let address = arrival.to.bare
        guard !address.isDomain else { return receiveAtDomain(arrival, router, context) }
        let shard = router.shard(of: address)
        return shard.withLock {
            guard let home = shard.serviceHome(address) as? RoomHome else {
                // Nobody is in a room that is not in memory: who leaves it, or cannot be reached, need not have it read.
                guard arrival.stanza.asksForSomething else { return .done }
                let home = RoomHome(address.compacted(), shard: shard, settings.counters)
                shard.insert(home)
                return park(arrival, home, router, context)
            }
            guard home.stage == .ready else { return park(arrival, home, router, context) }
            return handle(arrival, home, router, context)
        }
    }

    /// Nothing but requests is for the service itself.
    private func receiveAtDomain(_ arrival: Arrival, _ router: Router, _ context: LoopContext) -> Progress {
        if case .presence = arrival.stanza.kind { return .done }
        refuse(arrival, .serviceUnavailable, router, context)
        return .done
    }

    // MARK: Reading

    /// Under the lock.
    private func park(_ arrival: Arrival, _ home: RoomHome, _ router: Router, _ context: LoopContext) -> Progress {
        let bytes = arrival.stanza.element.byteCount
        guard home.parked.count < settings.limits.parkedMax, home.parkedBytes + bytes <= settings.limits.parkedBytesMax else {
            refuse(arrival, StanzaError(.resourceConstraint, .wait), router, context)
            return .done
        }
        home.parked.append(arrival)
        home.parkedBytes += bytes
        if home.parked.count == 1 { read(home, router, context) }
        return .pending
    }

    /// Under the lock. A room is made of what is read on the thread that reads: with many affiliations that takes a while.
    func read(_ home: RoomHome, _ router: Router, _ context: LoopContext) {
        let (address, mailbox) = (home.address, context.mailbox)
        home.stage = .reading
        router.store.loadRoom(address, history: settings.limits.historyMax) { result in
            let room = result.map { stored in stored.map { (stored: $0, room: Room(address, $0, usedNames: router.ids.used, settings.limits)) } }
            mailbox.run { context in
                home.shard.withLock { install(room, home, router, context) }
                context.runEffects()
            }
        }
    }

    /// Under the lock.
    private func install(
        _ result: Result<(stored: StoredRoom, room: Room)?, StoreError>, _ home: RoomHome, _ router: Router, _ context: LoopContext
    ) {
        home.stage = .ready
        switch result {
        case .success(let found?):
            if home.room == nil {
                home.room = found.room
            } else {
                var effects = RoomEffects()
                home.room?.restore(found.stored, moment(router, context), &effects)
                _ = perform(effects, nil, home, router, context)
            }
        case .success(nil): home.room = nil
        case .failure:
            if home.room == nil { return refuseAll(home, StanzaError(.internalServerError, .wait), router, context) }
        }
        doWaiting(home, router, context)
    }

    private func doWaiting(_ home: RoomHome, _ router: Router, _ context: LoopContext) {
        guard carryOutOrders(home, context) else { return }
        let waiting = home.parked
        (home.parked, home.parkedBytes) = ([], 0)
        for (index, arrival) in waiting.enumerated() {
            if home.room == nil, creates(arrival) {
                home.parked = Array(waiting[index...])
                home.parkedBytes = home.parked.reduce(0) { $0 + $1.stanza.element.byteCount }
                return create(home, for: arrival, router, context)
            }
            let progress = handle(arrival, home, router, context)
            arrival.completion?.complete(progress, in: context)
        }
        leaveIfIdle(home, router)
    }

    private func refuseAll(_ home: RoomHome, _ error: StanzaError, _ router: Router, _ context: LoopContext) {
        for arrival in home.parked {
            refuse(arrival, error, router, context)
            arrival.completion?.complete(.done, in: context)
        }
        for order in home.orders { context.after { _ in order.refuse(.store(.unavailable("the room cannot be read"))) } }
        (home.parked, home.parkedBytes, home.orders) = ([], 0, [])
        home.shard.remove(home)
    }

    /// A room that is not there, or that nobody is in, need not stay in memory.
    private func leaveIfIdle(_ home: RoomHome, _ router: Router) {
        if home.room == nil { return home.shard.remove(home) }
        if home.room?.occupants.isEmpty == true { home.shard.noteIdle(home, settled: router.store.settled) } else { home.shard.noteUse(home) }
    }

    // MARK: Creating

    private func creates(_ arrival: Arrival) -> Bool {
        guard case .presence(.available) = arrival.stanza.kind, case .full(let session) = arrival.from, arrival.to.resourcepart != nil,
            arrival.stanza.element.root.hasChild("x", .muc)
        else { return false }
        return mayCreate(session.bare, isLocal: arrival.origin != nil)
    }

    private func mayCreate(_ account: BareJID, isLocal: Bool) -> Bool {
        switch settings.creation {
        case .everybody: true
        case .local: isLocal
        case .administrators(let administrators): administrators.contains(account)
        case .nobody: false
        }
    }

    /// Under the lock. The room is on disk before anybody is in it (§10.1); then it is read like any other.
    ///
    /// - Parameter arrival: the first of those that wait.
    private func create(_ home: RoomHome, for arrival: Arrival, _ router: Router, _ context: LoopContext) {
        let record = RoomContent(configuration: settings.standard, subject: nil, isLocked: true).record
        let account = arrival.from.bare
        let owner = StoredAffiliation(address: .bare(account), affiliation: RoomAffiliation.owner.rawValue, version: 1)
        let creator = settings.operators.contains(account) ? nil : RoomCreator(account, roomsMax: settings.limits.perAccountMax)
        let ticket = router.store.submit([.room(.create(home.address, record, [owner], by: creator))])
        (home.lastTicket, home.stage) = (ticket, .reading)
        context.afterCommit(ticket) { context, outcome in
            home.shard.withLock {
                switch outcome {
                case .success:
                    home.willBeEntered()
                    read(home, router, context)
                case .failure(let error): doWithout(home, error, router, context)
                }
            }
            context.runEffects()
        }
    }

    /// Under the lock. The room was not created: who wanted it is told, and the others have their turn.
    private func doWithout(_ home: RoomHome, _ error: StoreError, _ router: Router, _ context: LoopContext) {
        home.stage = .ready
        let arrival = home.parked.removeFirst()
        home.parkedBytes -= arrival.stanza.element.byteCount
        refuse(arrival, refusal(of: error), router, context)
        arrival.completion?.complete(.done, in: context)
        doWaiting(home, router, context)
    }

    /// That there is such a room already is not why: it was looked for before.
    private func refusal(of error: StoreError) -> StanzaError {
        guard case .constraint = error else { return StanzaError(refusal: error) }
        return .resourceConstraint("an account may have created \(settings.limits.perAccountMax) rooms that are still there, and has")
    }

    // MARK: Deciding

    func moment(_ router: Router, _ context: LoopContext) -> RoomMoment {
        var moment = RoomMoment(
            now: context.wallMilliseconds, ids: router.ids, random: context.random, limits: settings.limits, identities: settings.identities)
        moment.blockLists = settings.blockLists
        return moment
    }

    /// Under the lock.
    private func handle(_ arrival: Arrival, _ home: RoomHome, _ router: Router, _ context: LoopContext) -> Progress {
        guard home.room != nil else { return refuseAbsent(arrival, home, router, context) }
        var effects = RoomEffects()
        let moment = moment(router, context)
        let nickname = arrival.to.resourcepart
        if arrival.origin == nil, case .full(let session) = arrival.from, arrival.stanza.asksForSomething { home.room?.heard(session, moment) }
        switch (arrival.stanza.kind, arrival.from) {
        case (.presence(let type), .full(let session)):
            home.room?.presence(arrival.stanza, type, to: nickname, from: RoomSession(session, arrival.origin), moment, &effects)
        case (.message(let type), .full(let session)):
            if type == .groupchat { context.counters.receivedByRoom() }
            home.room?.message(arrival.stanza, type, to: nickname, from: RoomSession(session, arrival.origin), arrival.position, moment, &effects)
        case (.message(.error), .bare(let account)): home.room?.failed(arrival.stanza, nickname, at: account, &effects)
        case (.presence, .bare), (.message, .bare): refuse(arrival, .badRequest("whoever is in a room has a resource"), router, context)
        case (.iq(let type), .full(let session)) where nickname != nil:
            if let progress = readCard(ofOccupant: nickname ?? "", arrival, type, home, router, context) { return progress }
            home.room?.pass(arrival.stanza, type, to: nickname ?? "", from: RoomSession(session, arrival.origin), moment, &effects)
        case (.iq(let type), .bare(let account)) where nickname != nil && type != .get && type != .set:
            home.room?.answered(arrival.stanza, type, to: nickname ?? "", by: account, &effects)
        case (.iq(let type), .full(let session)) where type == .result || type == .error:
            home.room?.answered(arrival.stanza, type, by: session, moment, &effects)
        case (.iq(let type), _):
            guard type == .get || type == .set else { return .done }
            if let progress = readCard(arrival, type, home, router, context) { return progress }
            if let progress = readArchive(arrival, type, home, router, context) { return progress }
            home.room?.request(arrival.stanza, type, from: arrival.from, moment, &effects)
        }
        return perform(effects, arrival, home, router, context)
    }

    /// §6.4, §7.4: there is no such room, or whoever asks may not create it.
    private func refuseAbsent(_ arrival: Arrival, _ home: RoomHome, _ router: Router, _ context: LoopContext) -> Progress {
        switch arrival.stanza.kind {
        case .presence(.available):
            let isEntry = arrival.to.resourcepart != nil && arrival.stanza.element.root.hasChild("x", .muc)
            refuse(arrival, arrival.to.resourcepart == nil ? .jidMalformed : isEntry ? .notAllowed : .itemNotFound(), router, context)
        case .presence: break
        case .message, .iq: refuse(arrival, .itemNotFound("there is no such room"), router, context)
        }
        return .done
    }

    // MARK: Carrying out

    /// Under the lock. What is written is on disk before it is told, and nothing that comes later overtakes it; messages do not wait for the
    /// archive.
    func perform(
        _ effects: RoomEffects, _ arrival: Arrival?, _ home: RoomHome, _ router: Router, _ context: LoopContext
    ) -> Progress {
        var ticket = CommitTicket.none
        if !effects.writes.isEmpty || !effects.entries.isEmpty {
            ticket = router.store.submit(effects.writes + effects.entries.map(Write.log))
            home.lastTicket = ticket
        }
        bury(effects.retractions, of: home, router)
        var progress = Progress.done(ticket)
        if effects.writes.isEmpty, home.tellings.isEmpty {
            if carryOut(effects.actions, of: home.address, arrival, router, context) { progress = .pending }
            record(effects.audits, router, context)
            if ticket != .none, let arrival, arrival.position != nil { watch(ticket, arrival, router, context) }
        } else if !effects.actions.isEmpty || !effects.writes.isEmpty {
            tellLater(effects, ticket, arrival, home, router, context)
        }
        finish(effects, home, router)
        return progress
    }

    /// The archive has not taken a message whose sender relies on it (P19).
    private func watch(_ ticket: CommitTicket, _ arrival: Arrival, _ router: Router, _ context: LoopContext) {
        context.afterCommit(ticket) { context, outcome in
            if case .failure(let error) = outcome { refuse(arrival, StanzaError(refusal: error), router, context) }
        }
    }

    /// Out of the lock: a log may wait for its disk.
    private func record(_ events: [AuditEvent], _ router: Router, _ context: LoopContext) {
        if !events.isEmpty { context.after { _ in events.forEach(router.audit.record) } }
    }

    private func tellLater(
        _ effects: RoomEffects, _ ticket: CommitTicket, _ arrival: Arrival?, _ home: RoomHome, _ router: Router, _ context: LoopContext
    ) {
        let awaited = effects.writes.isEmpty ? home.tellings.last?.ticket ?? ticket : ticket
        home.tellings.append(.init(ticket: awaited, actions: effects.actions, arrival: arrival, audits: effects.audits))
        context.afterCommit(awaited) { context, _ in
            home.shard.withLock { tell(home, router, context) }
            context.runEffects()
        }
    }

    /// Under the lock. Tells what is on disk, in order.
    private func tell(_ home: RoomHome, _ router: Router, _ context: LoopContext) {
        while let next = home.tellings.first, next.ticket <= router.store.settled {
            home.tellings.removeFirst()
            switch router.store.outcome(of: next.ticket) {
            case .success:
                _ = carryOut(next.actions, of: home.address, next.arrival, router, context)
                record(next.audits, router, context)
            case .failure(let error):
                if let arrival = next.arrival { refuse(arrival, StanzaError(refusal: error), router, context) }
                // What is in memory is ahead of the disk.
                if home.stage == .ready, home.room != nil { read(home, router, context) }
            }
        }
        leaveIfIdle(home, router)
    }

    /// Under the lock.
    private func finish(_ effects: RoomEffects, _ home: RoomHome, _ router: Router) {
        if effects.isDestroyed { home.room = nil }
        if home.wasOccupied, let room = home.room, room.isOver, home.stage == .ready, !home.isAwaited {
            home.lastTicket = router.store.submit([.room(.delete(room.id))])
            home.room = nil
        }
        guard home.stage == .ready, !home.isAwaited else { return }
        leaveIfIdle(home, router)
    }

    /// - Returns: whether the arrival's completion is in somebody's hands.
    private func carryOut(
        _ actions: [RoomEffects.Action], of room: BareJID, _ arrival: Arrival?, _ router: Router, _ context: LoopContext
    ) -> Bool {
        var isPending = false
        for action in actions {
            context.counters.sentByRooms(action.deliveryCount)
            switch action {
            case .send(let stanza, let session): router.send(stanza, from: room, to: .full(session.address), session.ref, context)
            case .sendAll(let stanzas, let session): send(stanzas, from: room, to: session, router, context)
            case .multicast(let stanza, let audience): multicast(stanza, from: room, to: audience, router, context)
            case .answer(let stanza): if let arrival { router.answer(stanza, to: arrival, context) }
            case .refuse(let error): if let arrival { refuse(arrival, error, router, context) }
            case .deliver(let stanza, let type, let address):
                guard let arrival else { continue }
                let isFirst = !isPending
                isPending = true
                context.after { context in
                    let progress = router.deliver(stanza, type, to: address, by: arrival, context)
                    if isFirst { arrival.completion?.complete(progress, in: context) }
                }
            case .notify(var notice, let account):
                notice.to = .bare(account)
                let message = notice
                context.after { context in router.notify(message, to: account, context) }
            case .pass(let stanza, let type, let address):
                guard let arrival else { continue }
                context.after { context in
                    if let error = router.pass(stanza, type, to: address, context) { refuse(arrival, error, router, context) }
                }
            }
        }
        return isPending && arrival?.completion != nil
    }

    private func send(_ stanzas: [SharedStanza], from room: BareJID, to session: RoomSession, _ router: Router, _ context: LoopContext) {
        if let ref = session.ref { return context.post(stanzas, to: ref) }
        for stanza in stanzas { router.send(stanza.addressed(to: session.address), from: room, to: .full(session.address), nil, context) }
    }

    private func multicast(_ stanza: SharedStanza, from room: BareJID, to audience: RoomAudience, _ router: Router, _ context: LoopContext) {
        context.post(stanza, to: audience.local)
        for address in audience.remote { router.send(stanza.addressed(to: address), from: room, to: .full(address), nil, context) }
    }

    /// Answers with an error, once. Whoever could not enter sees by `<x/>` that it is about that (§7.2).
    private func refuse(_ arrival: Arrival, _ error: StanzaError, _ router: Router, _ context: LoopContext) {
        guard case .presence(.available) = arrival.stanza.kind, arrival.stanza.element.root.hasChild("x", .muc) else {
            return router.refuse(arrival, error, context)
        }
        let answer = StanzaBuilder.presence(.error, from: arrival.to, to: arrival.from, id: arrival.stanza.id) { writer in
            writer.element("x", .muc)
            error.write(to: &writer)
        }
        router.answer(answer, to: arrival, context)
    }

    // MARK: The end

    package func stop(_ router: Router, _ context: LoopContext) {
        router.placement.forEachShard { shard in
            shard.withLock {
                for case let home as RoomHome in shard.allServiceHomes() where home.room != nil {
                    var effects = RoomEffects()
                    home.room?.expelAll([RoomStatus.shutdown], &effects)
                    _ = carryOut(effects.actions, of: home.address, nil, router, context)
                    home.shard.remove(home)
                }
            }
        }
        context.runEffects()
    }
}

extension Stanza {
    /// Whether whoever sent it wants something, and is answered where that cannot be.
    fileprivate var asksForSomething: Bool {
        switch kind {
        case .presence(.unavailable), .presence(.error), .message(.error), .iq(.result), .iq(.error): false
        case .presence, .message, .iq: true
        }
    }
}
