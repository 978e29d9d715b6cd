import MartletXML
import MartletXMPP
import NIOCore

/// Delivery of what waited in the message log (XEP-0160), page by page. Live messages wait behind it.
extension Router {
    /// Under the lock.
    func startReplay(to entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        guard home.offline.delivery == .idle, home.offline.handedOver == nil, home.offline.count > 0 else { return }
        home.offline.delivery = .replaying(to: entry.ref)
        readPage(after: home.offline.deliveredUpTo, to: entry.ref, home, context)
    }

    /// Under the lock. The log goes to the session that would get its messages if they came now.
    func continueReplay(_ home: AccountHome, _ context: LoopContext) {
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
                if !messages.isEmpty { context.post(.awaitProof(recipient), to: recipient.mailbox) }
                guard messages.count >= settings.replayPage, let last = messages.last else { return finishReplay(home, context) }
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
        let old = home.offline.handedOver
        home.offline.handedOver = (
            logged.view, (old?.count ?? 0) + 1, (old?.bytes ?? 0) + logged.stanza.bytes.readableBytes, recipient
        )
        // `nil` if the log's bytes are no stanza with a sender: then the log is damaged.
        guard var message = Stanza(sent: logged.stanza) else { return }
        for stage in host.naming { stage.name(&message, logged.view, by: home.address) }
        for stage in host.delaying { stage.delay(&message, by: host.domain, since: logged.time) }
        context.post(.deliverStored(message.encoded(), to: recipient), to: recipient.mailbox)
    }

    /// The log is empty: what arrived meanwhile follows, in order.
    private func finishReplay(_ home: AccountHome, _ context: LoopContext) {
        home.offline.delivery = .idle
        releaseHeld(home, context)
    }

    /// A session has ended. What it did not live to acknowledge goes to another one, if there is one; what was held follows that or
    /// goes its usual way. Under the lock.
    func takeBackReplay(of ref: SessionRef, _ home: AccountHome, _ context: LoopContext) {
        if home.offline.handedOver?.recipient === ref { home.offline.handedOver = nil }
        let wasReplaying = home.offline.delivery == .replaying(to: ref)
        if wasReplaying { home.offline.delivery = .idle }
        continueReplay(home, context)
        if wasReplaying { releaseHeld(home, context) }
    }

    /// A session takes another one's place: the messages that are being read for that one go to it. Under the lock.
    func moveReplay(from old: SessionRef, to new: SessionRef, _ home: AccountHome, _ context: LoopContext) {
        if home.offline.handedOver?.recipient === old { home.offline.handedOver?.recipient = new }
        guard home.offline.delivery == .replaying(to: old) else { return }
        home.offline.delivery = .replaying(to: new)
        // The page that is under way is for somebody who does not wait for it any more.
        readPage(after: home.offline.handedOver?.upTo ?? home.offline.deliveredUpTo, to: new, home, context)
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

    /// A client that sends something after its stored messages were written has read them, as far as can be known without
    /// stream management (P2): the cursor moves.
    func noteLife(of session: ClientSession) {
        guard session.awaitsDeliveryProof else { return }
        let home = session.home
        home.shard.withLock {
            guard home.offline.delivery == .idle, home.isResident else { return }
            session.awaitsDeliveryProof = false
            guard let handedOver = home.offline.handedOver, handedOver.recipient === session.ref else { return }
            home.offline.handedOver = nil
            home.offline.deliveredUpTo = handedOver.upTo
            home.offline.count = max(0, home.offline.count - handedOver.count)
            home.offline.bytes = max(0, home.offline.bytes - handedOver.bytes)
            home.lastTicket = store.submit([.cursor(home.id, upTo: handedOver.upTo)])
        }
    }
}
