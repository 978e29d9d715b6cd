package import MartletCore
package import MartletXMPP

/// What operators do to rooms, whether somebody is in them or not. It goes the way of stanzas, through the room's home, so that occupants see
/// it and nothing overtakes it; the privileges of §5 do not hold for operators, what a room must be does.
extension MultiUserChat {
    /// Does something with a room, which is read if need be.
    ///
    /// - Parameters:
    ///   - work: under the room's lock. It throws before it changes anything.
    ///   - done: runs on some loop, once what was written is on disk.
    package func withRoom<Value: Sendable>(
        _ address: BareJID, _ router: Router, _ context: LoopContext,
        _ work: @escaping @Sendable (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value,
        _ done: @escaping @Sendable (Result<Value, RoomOrderFailure>) -> Void
    ) {
        let order = WaitingOrder(
            carryOut: { home, context in carryOut(work, home, router, context, done) }, refuse: { failure in done(.failure(failure)) })
        take(order, at: address, router, context)
    }

    package func withdraw(
        from account: BareJID, at grantor: BareJID, _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (Bool, LoopContext) -> Void
    ) {
        let mailbox = context.mailbox
        withRoom(grantor, router, context, { room, moment, effects in room.withdraw(from: account, moment, &effects) }) { outcome in
            // A room that is gone by now has given nothing.
            let isWithdrawn = switch outcome { case .success, .failure(.absent): true default: false }
            mailbox.run { context in
                done(isWithdrawn, context)
                context.runEffects()
            }
        }
    }

    /// Makes a room that is ready to be entered (§10.1), whoever may create rooms by entering them.
    ///
    /// - Parameter owners: at least one.
    package func createRoom(
        _ address: BareJID, _ configuration: RoomConfiguration, owners: [BareJID], _ router: Router, _ context: LoopContext,
        _ done: @escaping @Sendable (Result<Void, RoomOrderFailure>) -> Void
    ) {
        precondition(!owners.isEmpty, "a room has an owner")
        guard owners.count <= settings.limits.affiliationsMax else {
            return done(.failure(.refused("a room may have \(settings.limits.affiliationsMax) owners at most (rooms.affiliations-max)")))
        }
        let record = RoomContent(configuration: configuration, subject: nil, isLocked: false).record
        let affiliations = owners.map { StoredAffiliation(address: .bare($0), affiliation: RoomAffiliation.owner.rawValue, version: 1) }
        let order = WaitingOrder(
            carryOut: { home, context in
                guard home.room == nil else { return context.after { _ in done(.failure(.exists)) } }
                let ticket = router.store.submit([.room(.create(home.address, record, affiliations))])
                home.lastTicket = ticket
                read(home, router, context)
                context.afterCommit(ticket) { _, outcome in done(outcome.mapError(RoomOrderFailure.store)) }
            }, refuse: { failure in done(.failure(failure)) })
        take(order, at: address, router, context)
    }

    /// How many occupants a room has now.
    package static func occupantCount(of address: BareJID, _ router: Router) -> Int {
        let shard = router.shard(of: address)
        return shard.withLock { (shard.serviceHome(address) as? RoomHome)?.room?.occupants.count ?? 0 }
    }

    private func take(_ order: WaitingOrder, at address: BareJID, _ router: Router, _ context: LoopContext) {
        let shard = router.shard(of: address)
        shard.withLock {
            guard let home = shard.serviceHome(address) as? RoomHome else {
                let home = RoomHome(address.compacted(), shard: shard, settings.counters)
                shard.insert(home)
                home.orders = [order]
                return read(home, router, context)
            }
            if home.stage == .ready { return order.carryOut(home, context) }
            guard home.orders.count < settings.limits.parkedMax else { return context.after { _ in order.refuse(.busy) } }
            home.orders.append(order)
        }
        context.runEffects()
    }

    /// Under the lock. Carries out what has waited for the room.
    ///
    /// - Returns: `false` if the room is read anew because of it: then everybody else waits on.
    func carryOutOrders(_ home: RoomHome, _ context: LoopContext) -> Bool {
        while home.stage == .ready, !home.orders.isEmpty { home.orders.removeFirst().carryOut(home, context) }
        return home.stage == .ready
    }

    /// Under the lock.
    private func carryOut<Value: Sendable>(
        _ work: (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value, _ home: RoomHome, _ router: Router,
        _ context: LoopContext, _ done: @escaping @Sendable (Result<Value, RoomOrderFailure>) -> Void
    ) {
        var effects = RoomEffects()
        do throws(RoomOrderFailure) {
            guard let value = try home.room?.carryOut(work, moment(router, context), &effects) else { throw .absent }
            let isWritten = !effects.writes.isEmpty
            _ = perform(effects, nil, home, router, context)
            guard isWritten else { return context.after { _ in done(.success(value)) } }
            context.afterCommit(home.lastTicket) { _, outcome in done(outcome.map { value }.mapError(RoomOrderFailure.store)) }
        } catch {
            context.after { _ in done(.failure(error)) }
        }
    }
}

/// What an operator wants of a room, while that is read.
struct WaitingOrder {
    /// Under the room's lock.
    let carryOut: (RoomHome, LoopContext) -> Void
    /// The room cannot be read.
    let refuse: (RoomOrderFailure) -> Void
}

/// Why an operator's wish was not carried out.
package enum RoomOrderFailure: Error, Hashable, Sendable {
    /// There is no such room.
    case absent
    /// There is one already.
    case exists
    /// Too much waits for the room.
    case busy
    /// It would be no room any more, or past a limit; why, for people.
    case refused(String)
    case store(StoreError)
}

extension Room {
    fileprivate mutating func carryOut<Value>(
        _ work: (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(RoomOrderFailure) -> Value {
        try work(&self, moment, &effects)
    }

    // MARK: Affiliations

    /// Sets an affiliation as its owners may (§9, §10); occupants are told.
    ///
    /// - Parameters:
    ///   - address: of an account. Sessions and domains can be banned, and have their bans lifted (§9.1).
    ///   - nickname: reserved for the account (§7.10).
    package mutating func setAffiliation(
        of address: JID, to affiliation: RoomAffiliation, reason: String?, nickname: String?, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(RoomOrderFailure) {
        let isAccount = address == .bare(address.bare) && !address.bare.isDomain
        guard isAccount || affiliation == .outcast || (affiliation == .none && affiliations[address] != nil) else {
            throw .refused("only an account can be \(affiliation.name): \(address) can only be banned")
        }
        if let reason, reason.utf8.count > moment.limits.descriptionBytesMax {
            throw .refused("a reason may have \(moment.limits.descriptionBytesMax) bytes")
        }
        if let nickname { try checkReservation(of: nickname, for: address, affiliation, moment) }
        let changes = [RoomStandingChange.affiliation(address, affiliation, nickname: nickname, reason)]
        do throws(StanzaError) {
            try checkAffiliationsFit(changes, moment.limits)
        } catch {
            throw .refused("the room has \(moment.limits.affiliationsMax) affiliations already, which is the most that is allowed (rooms.affiliations-max)")
        }
        do throws(StanzaError) {
            try checkOwnersRemain(after: changes)
        } catch {
            throw .refused("\(address) is the room's only owner")
        }
        change(address, to: affiliation, reason, nickname: nickname, by: nil, moment, &effects)
    }

    /// An account goes, and its affiliations with it, even the room's last owner: then it is for the service's administrators.
    package mutating func withdraw(from account: BareJID, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        var addresses: [JID] = []
        affiliations.forEach { address, entry in
            if address.bare == account, entry.affiliation != .none { addresses.append(address) }
        }
        for address in addresses { change(address, to: .none, nil, by: nil, moment, &effects) }
    }

    private func checkReservation(
        of nickname: String, for address: JID, _ affiliation: RoomAffiliation, _ moment: RoomMoment
    ) throws(RoomOrderFailure) {
        guard affiliation >= .member else { throw .refused("nicknames are reserved for members, administrators and owners") }
        do throws(StanzaError) {
            try checkNickname(nickname, for: address.bare, moment)
        } catch {
            throw .refused(error.text ?? "the nickname cannot be had")
        }
        guard let full = self.address(of: nickname), full.resourcepart == nickname else { throw .refused("this cannot be a nickname") }
    }

    // MARK: The end

    /// §10.9. Occupants are told, and where to go instead.
    package mutating func destroy(venue: BareJID?, reason: String?, _ effects: inout RoomEffects) {
        destroy(RoomDestruction(venue: venue, password: nil, reason: reason), &effects)
    }

    /// Destroys a temporary room that nobody is in.
    ///
    /// - Returns: whether it was one.
    package mutating func destroyIfForsaken(_ effects: inout RoomEffects) -> Bool {
        guard isOver else { return false }
        destroy(RoomDestruction(), &effects)
        return true
    }

    // MARK: What was said

    /// Archive and history forget what has this name or an earlier one.
    package mutating func forget(upTo name: UInt64, _ effects: inout RoomEffects) {
        history.forget(upTo: name)
        effects.writes.append(.archiveFloor(id, upTo: name))
    }
}
