package import MartletXMPP
import NIOConcurrencyHelpers

/// What operators do to accounts, while they are in use or not. Everything is decided in the account's home, so that no session
/// begins beside a change that forbids it.
extension Router {
    /// `false` if there is no such account.
    package typealias AccountOutcome = Result<Bool, StoreError>

    /// Enables or disables an account, or gives it new credentials, and ends its sessions where `error` says how (P13).
    ///
    /// - Parameters:
    ///   - survivor: a session that goes on: of a client that has set the new password itself.
    ///   - done: runs once the change is on disk and the sessions have been told to end.
    package func changeAccount(
        _ address: BareJID, _ change: AccountChange, ending error: StreamError?, sparing survivor: FullJID? = nil, _ context: LoopContext,
        _ done: @escaping @Sendable (AccountOutcome) -> Void
    ) {
        withHome(of: address, context) { [self] home, context in
            guard isThere(home, context, done) else { return }
            // Nobody new comes in from now on; whether that lasts says the disk.
            if case .setEnabled(_, false) = change { home.isEnabled = false }
            let ticket = store.submit([.account(change)] + proof(of: survivor, home, change))
            home.lastTicket = ticket
            if case .setCredentials = change { credentials.changing(address, home.shard) }
            context.afterCommit(ticket) { [self] context, outcome in
                if case .success = outcome, let error {
                    // First this: a stream that was let in by what held before either has a session now, which is ended, or gets none.
                    credentials.changed(address, in: placement)
                    endSessions(of: address, error, except: survivor)
                }
                if case .success = outcome { noteStanding(of: address, after: change, context) }
                reload(address, context)
                done(outcome.map { true })
            }
        }
        context.runEffects()
    }

    /// Deletes an account: ends its sessions, takes its subscriptions back, removes everything that is its own, and what rooms and nodes of this
    /// server have given it.
    ///
    /// What others of this server keep of it is submitted before the deletion, and commits are first in, first out: after a crash either the
    /// account is there and can be deleted again, or nobody is subscribed to it any more (P8), and its successor is nobody's friend.
    ///
    /// - Parameters:
    ///   - asker: a session that hears what comes of it, and is ended by whoever tells it (``HeldRequest/deleteAccount(_:_:)``). To everybody
    ///     else it has left like the others.
    ///   - done: runs once all is on disk.
    package func deleteAccount(
        _ address: BareJID, askedBy asker: SessionRef? = nil, _ context: LoopContext, _ done: @escaping @Sendable (AccountOutcome) -> Void
    ) {
        takeLeave(of: address, askedBy: asker, context, done) { [self] context in
            finish(address, context, done) { [self] id in
                ([.account(.delete(address))], { [self] in uploads?.accountDeleted(id, executor: executor) })
            }
        }
    }

    /// Takes an account away from its address, under which there can be another one then that inherits nothing; its data is kept under an address at which
    /// nobody can be reached (``quarantine(of:_:)``). Everything else is as with ``deleteAccount(_:askedBy:_:_:)``.
    func quarantineAccount(_ address: BareJID, _ context: LoopContext, _ done: @escaping @Sendable (AccountOutcome) -> Void) {
        takeLeave(of: address, context, done) { [self] context in
            finish(address, context, done) { id in
                let changes: [AccountChange] = [.setEnabled(address, false), .setCredentials(address, []), .rename(address, to: Self.quarantine(of: address, id))]
                return (changes.map { .account($0) }, {})
            }
        }
    }

    /// Where the data of an account is kept that has lost its address: in a domain that never is anybody's (RFC 6761 §6.4).
    package static func quarantine(of address: BareJID, _ id: AccountID) -> BareJID {
        (try? BareJID(parsing: "\(address.localpart ?? "account")@\(id.raw).quarantine.invalid")) ?? address
    }

    /// Ends the account's sessions and tells everybody who knows it; goes on with `then`.
    private func takeLeave(
        of address: BareJID, askedBy asker: SessionRef? = nil, _ context: LoopContext, _ done: @escaping @Sendable (AccountOutcome) -> Void,
        then: @escaping @Sendable (LoopContext) -> Void
    ) {
        withHome(of: address, context) { [self] home, context in
            guard isThere(home, context, done) else { return }
            home.isEnabled = false
            endSessions(home, Self.accountDeleted, sparing: asker, context)
            let farewells = Farewell.all(of: home.roster)
            context.after { [self] context in
                bid(farewells, from: address, context) { [self] context in
                    withdrawGrants(to: address, context) { withdrawn, context in
                        if case .failure(let error) = withdrawn { return done(.failure(error)) }
                        then(context)
                    }
                }
            }
        }
        context.runEffects()
    }

    /// An account was created in the store. That it was not there is forgotten.
    package func accountCreated(_ address: BareJID, isEnabled: Bool = true, _ context: LoopContext) {
        standingChanged(of: address, isThere: isEnabled, context)
        let shard = placement.shard(of: address)
        guard shard.withLock({ shard.home(address) != nil }) else { return }
        withHome(of: address, context) { [self] home, context in
            guard home.stage == .absent else { return }
            context.after { [self] _ in forget(address) }
        }
        context.runEffects()
    }

    // MARK: Steps

    private func noteStanding(of address: BareJID, after change: AccountChange, _ context: LoopContext) {
        switch change {
        case .setEnabled(_, let isEnabled): standingChanged(of: address, isThere: isEnabled, context)
        case .delete: standingChanged(of: address, isThere: false, context)
        default: break
        }
    }

    /// Under the lock. A device that has set a new password knows it, and no other does.
    private func proof(of survivor: FullJID?, _ home: AccountHome, _ change: AccountChange) -> [Write] {
        guard case .setCredentials = change, let survivor, let device = home.index(of: survivor).flatMap({ home.sessions[$0].device }) else { return [] }
        return [.device(.proved(home.id, device, .password))]
    }

    /// Under the lock.
    private func isThere(_ home: AccountHome, _ context: LoopContext, _ done: @escaping @Sendable (AccountOutcome) -> Void) -> Bool {
        switch home.stage {
        case .resident: return true
        case .absent: context.after { _ in done(.success(false)) }
        case .loading, .stale, .failed: context.after { _ in done(.failure(.unavailable("the account cannot be read now"))) }
        }
        return false
    }

    /// Under the lock: their contacts see the sessions leave before they hear that the account is gone.
    ///
    /// - Parameter asker: is not told to end yet.
    func endSessions(_ home: AccountHome, _ error: StreamError, sparing asker: SessionRef? = nil, _ context: LoopContext) {
        for index in home.sessions.indices.reversed() {
            let ref = home.sessions[index].ref
            withdraw(at: index, home, nil, context)
            remove(at: index, home, context)
            if ref !== asker { context.post(.end(ref, error), to: ref.mailbox) }
        }
    }

    /// Sends every contact what ends its subscription, and goes on when the contacts of this server have submitted their side.
    private func bid(
        _ farewells: [Farewell], from address: BareJID, _ context: LoopContext, _ then: @escaping @Sendable (LoopContext) -> Void
    ) {
        let countdown = Countdown(farewells.count)
        guard !farewells.isEmpty else { return then(context) }
        for farewell in farewells {
            for kind in farewell.stanzas {
                let stanza = ServerPresence.make(PresenceType(kind), from: .bare(address), to: .bare(farewell.contact))
                deliverSubscription(kind, stanza, to: farewell.contact, context)
            }
            let isRemote = context.hosts.host(of: farewell.contact) == nil
            if isRemote {
                if countdown.isLast() { then(context) }
            } else {
                // Behind what was just delivered, in the contact's own queue.
                withHome(of: farewell.contact, context) { _, context in
                    if countdown.isLast() { context.after(then) }
                }
            }
        }
    }

    /// Has everybody of this server take back what he has given to the account, one after the other: there may be thousands.
    private func withdrawGrants(
        to address: BareJID, _ context: LoopContext, _ done: @escaping @Sendable (Result<Void, StoreError>, LoopContext) -> Void
    ) {
        let mailbox = context.mailbox
        store.loadGrantors(to: address) { [self] grantors in
            mailbox.run { [self] context in
                switch grantors {
                case .success(let grantors): withdraw(from: address, Array(grantors)[...], context, done)
                case .failure(let error): done(.failure(error), context)
                }
                context.runEffects()
            }
        }
    }

    private func withdraw(
        from address: BareJID, _ grantors: ArraySlice<BareJID>, _ context: LoopContext,
        _ done: @escaping @Sendable (Result<Void, StoreError>, LoopContext) -> Void
    ) {
        guard let grantor = grantors.first else { return done(.success(()), context) }
        let next: @Sendable (Bool, LoopContext) -> Void = { [self] isWithdrawn, context in
            context.after { [self] context in
                guard isWithdrawn else { return done(.failure(.unavailable("\(grantor) cannot be read now")), context) }
                withdraw(from: address, grantors.dropFirst(), context, done)
            }
        }
        if let service = context.hosts.service(of: grantor)?.service {
            service.withdraw(from: address, at: grantor, self, context, next)
        } else if let eventing = context.hosts.host(of: grantor)?.eventing {
            eventing.withdraw(from: address, at: grantor, self, context, next)
        } else {
            // Nobody answers there any more.
            next(true, context)
        }
    }

    static var accountDeleted: StreamError { StreamError(.notAuthorized, "the account was deleted") }

    /// The last step: from then on there is no account of that address.
    ///
    /// - Parameter end: for the account's number: what is written, and what is done once that is on disk.
    private func finish(
        _ address: BareJID, _ context: LoopContext, _ done: @escaping @Sendable (AccountOutcome) -> Void,
        _ end: @escaping @Sendable (AccountID) -> (writes: [Write], after: @Sendable () -> Void)
    ) {
        withHome(of: address, context) { [self] home, context in
            guard isThere(home, context, done) else { return }
            // The account may have been read anew since, and found in order.
            endSessions(home, Self.accountDeleted, context)
            let (writes, after) = end(home.id)
            let ticket = store.submit(writes)
            home.lastTicket = ticket
            // What anybody wants of the account from now on waits for what the store says of it.
            reload(home, context)
            context.afterCommit(ticket) { [self] context, outcome in
                if case .success = outcome {
                    standingChanged(of: address, isThere: false, context)
                    credentials.changed(address, in: placement)
                    after()
                }
                done(outcome.map { true })
            }
        }
    }
}

/// What one contact is told when an account goes.
private struct Farewell {
    var contact: BareJID
    var stanzas: [SubscriptionStanza]

    /// As if every item of the roster were removed (RFC 6121 §2.5.2), and every open request denied.
    static func all(of roster: Roster) -> [Farewell] {
        // Of the groups that it was in others learn by their source.
        let own = roster.withoutSharing
        var rest = own
        let items = own.shownItems.compactMap { item -> Farewell? in
            guard let removal = try? rest.remove(item.contact), !removal.stanzas.isEmpty else { return nil }
            return Farewell(contact: item.contact, stanzas: removal.stanzas)
        }
        return items + rest.requests.map { Farewell(contact: $0.contact, stanzas: [.unsubscribed]) }
    }
}

/// Counts contacts down, on whatever loops they are.
private final class Countdown: Sendable {
    // Once per contact of an account that is deleted.
    private let left: NIOLockedValueBox<Int>

    init(_ count: Int) { left = NIOLockedValueBox(count) }

    func isLast() -> Bool {
        left.withLockedValue { left in
            left -= 1
            return left == 0
        }
    }
}
