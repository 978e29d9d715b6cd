import MartletXML
import MartletXMPP
import NIOCore

/// Delivery of what waits in the message log (XEP-0160), page by page. Live messages wait behind it.
extension Router {
    /// Under the lock.
    func startReplay(to entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        guard home.offline.delivery == .idle, home.offline.deliveries.waitingCount > 0 else { return }
        home.offline.delivery = .replaying(to: entry.ref)
        readPage(after: home.offline.deliveries.cursor, to: entry.ref, home, context)
    }

    /// Under the lock. The log goes to the session that would get its messages if they came now.
    func continueReplay(_ home: AccountHome, _ context: LoopContext) {
        guard home.offline.deliveries.waitingCount > 0 else { return }
        guard let entry = home.sessions.filter(\.takesMessages).max(by: { $0.priority < $1.priority }) else { return }
        startReplay(to: entry, home, context)
    }

    private func readPage(after view: UInt64, to recipient: SessionRef, _ home: AccountHome, _ context: LoopContext) {
        let address = home.address
        store.messages(of: home.id, after: view, limit: settings.replayPage) { [self, mailbox = context.mailbox] result in
            mailbox.run { context in self.pageRead(address, after: view, recipient, result, context) }
        }
    }

    private func pageRead(
        _ address: BareJID, after view: UInt64, _ recipient: SessionRef, _ result: Result<[LoggedMessage], StoreError>, _ context: LoopContext
    ) {
        withReplay(of: address, to: recipient, context) { home, context in
            guard let host = context.hosts.host(of: address) else { return finishReplay(home, context) }
            switch result {
            case .success(let messages):
                for message in messages { replay(message, to: recipient, host, home, context) }
                guard messages.count >= settings.replayPage, let last = messages.last else {
                    home.offline.deliveries.didReadAll()
                    // What another session gave back meanwhile comes before what is held.
                    guard home.offline.deliveries.waitingCount > 0 else { return finishReplay(home, context) }
                    return readPage(after: home.offline.deliveries.cursor, to: recipient, home, context)
                }
                home.offline.deliveries.didRead(upTo: last.view)
                readPage(after: last.view, to: recipient, home, context)
            case .failure(.unavailable), .failure(.full): context.after { [self] in readPageLater(address, after: view, recipient, $0) }
            // It will not be better the next time; live messages must not wait for that.
            case .failure(.corrupt), .failure(.constraint): finishReplay(home, context)
            }
        }
    }

    /// The store does not answer now. What arrives meanwhile goes on waiting, so that order is kept (P5, P18).
    private func readPageLater(_ address: BareJID, after view: UInt64, _ recipient: SessionRef, _ context: LoopContext) {
        let mailbox = context.mailbox
        _ = mailbox.loop.scheduleTask(in: Self.replayRetry) { [self] in
            mailbox.run { [self] context in
                withReplay(of: address, to: recipient, context) { home, context in readPage(after: view, to: recipient, home, context) }
            }
        }
    }

    /// Between two attempts to read the log for somebody who is waiting for his messages.
    private static var replayRetry: TimeAmount { .seconds(2) }

    /// With the lock held, unless another session has taken over since, or nobody has.
    private func withReplay(of address: BareJID, to recipient: SessionRef, _ context: LoopContext, _ body: (AccountHome, LoopContext) -> Void) {
        let shard = placement.shard(of: address)
        shard.withLock {
            guard let home = shard.home(address), home.offline.delivery == .replaying(to: recipient) else { return }
            body(home, context)
        }
        context.runEffects()
    }

    private func replay(_ logged: LoggedMessage, to recipient: SessionRef, _ host: Host, _ home: AccountHome, _ context: LoopContext) {
        guard let index = home.index(of: recipient) else { return }
        let message = Stanza(sent: logged.stanza)
        let isTaken = home.offline.deliveries.take(
            logged.view, bytes: logged.stanza.bytes.readableBytes, by: home.sessions[index].slots)
        guard isTaken else { return }
        if logged.isArchived, logged.view <= home.sessions[index].readsArchiveUpTo {
            home.offline.deliveries.deliver(logged.view)
            return noteCursor(of: home, context)
        }
        // The log's bytes are no stanza with a sender: the log is damaged, and nobody will ever take delivery of that.
        guard var message else { return home.offline.deliveries.deliver(logged.view) }
        if host.tells(nameOfArchived: logged.isArchived) {
            for stage in host.naming { message.add { stage.name(logged.view, by: home.address, to: &$0) } }
        }
        for stage in host.delaying { stage.delay(&message, by: host.domain, since: logged.time) }
        context.post(.deliverStored(message.encoded(), to: recipient, view: logged.view), to: recipient.mailbox)
    }

    /// The log was read: what arrived meanwhile follows, in order.
    private func finishReplay(_ home: AccountHome, _ context: LoopContext) {
        home.offline.delivery = .idle
        releaseHeld(home, context)
    }

    /// A session has left the account. What it did not live to acknowledge goes to another one, if there is one; what was held follows
    /// that or goes its usual way. Under the lock.
    func takeBackDeliveries(of entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        home.offline.deliveries.release(entry.slots)
        let wasReplaying = home.offline.delivery == .replaying(to: entry.ref)
        if wasReplaying { home.offline.delivery = .idle }
        continueReplay(home, context)
        if wasReplaying, home.offline.delivery == .idle { releaseHeld(home, context) }
        noteCursor(of: home, context)
    }

    /// A session takes another one's place: the messages that are being read for that one go to it. Under the lock.
    func moveReplay(from old: SessionRef, to new: SessionRef, _ home: AccountHome, _ context: LoopContext) {
        guard home.offline.delivery == .replaying(to: old) else { return }
        home.offline.delivery = .replaying(to: new)
        // The page that is under way is for somebody who does not wait for it any more.
        readPage(after: home.offline.deliveries.cursor, to: new, home, context)
    }

    private func releaseHeld(_ home: AccountHome, _ context: LoopContext) {
        let held = home.offline.held
        home.offline.held = WaitingWork()
        // While the account is being read anew, what was held is before what waits for that.
        guard home.parked.isEmpty else { return home.parked.prepend(held) }
        _ = held.run { work in
            work(home, context)
            return true
        }
    }
}

// MARK: The cursor

extension Router {
    /// A client has what it was sent.
    func delivered(_ views: [UInt64], to session: ClientSession) {
        let home = session.home
        home.shard.withLock {
            for view in views { home.offline.deliveries.deliver(view) }
            noteCursor(of: home, session.context)
        }
    }

    /// The cursor may have moved. It is stored a little later: many acknowledgements are one write. Under the lock.
    private func noteCursor(of home: AccountHome, _ context: LoopContext) {
        guard home.offline.deliveries.cursor > home.offline.storedCursor, home.isInMemory else { return }
        if home.sessions.isEmpty { storeCursor(of: home) } else { context.storeCursorSoon(of: home, self) }
    }

    /// The session that would have had it stored is gone. Under the lock.
    func storeCursorNow(of home: AccountHome) {
        if home.offline.deliveries.cursor > home.offline.storedCursor, home.isInMemory { storeCursor(of: home) }
    }

    /// Under the lock. That a disk refuses it does no harm: it is behind for longer.
    private func storeCursor(of home: AccountHome) {
        home.offline.storedCursor = home.offline.deliveries.cursor
        home.lastTicket = store.submit([.cursor(home.id, upTo: home.offline.storedCursor)])
    }

    /// One write for all of them would leave the accounts without a ticket of their own to wait for.
    func storeCursors(of homes: [AccountHome]) {
        for home in homes {
            home.shard.withLock {
                home.offline.isStoringDue = false
                if home.isInMemory, home.offline.deliveries.cursor > home.offline.storedCursor { storeCursor(of: home) }
                if home.sessions.isEmpty { home.shard.noteIdle(home, settled: store.settled) }
            }
        }
    }
}
