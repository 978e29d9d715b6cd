import MartletXMPP
import NIOCore

/// Sessions outlive the server that stops in order: what they are is written down, and the next server has them as if their
/// connections had broken. Contacts see nothing of it (`reliability.md` P4).
extension Router {
    // MARK: The server that stops

    /// Takes no more from the loop's sessions that can be resumed, and says no more to them: what comes from here on, such as that a room does
    /// not know them any more, they hear once they are resumed. Said on a connection that is about to break it would be lost on clients that
    /// act on it at once. Called on the loop, before services stop.
    package func beginLeaving(_ context: LoopContext) {
        for session in sessions(on: context) where session.canBeSaved { session.beginLeaving() }
    }

    /// Ends the loop's other sessions. Called on the loop.
    package func beginStop(_ context: LoopContext) {
        for session in sessions(on: context) where !session.canBeSaved { session.end(StreamError(.systemShutdown)) }
        context.flush()
    }

    /// The loop's sessions that can be resumed, which end here without a word. Called on the loop, once everything that they took is on
    /// disk.
    package func saveSessions(_ context: LoopContext) -> [SavedSession] {
        // Who waited for the disk: what is handled is handled.
        context.post(.settled, to: context.mailbox)
        context.flush()
        return sessions(on: context).compactMap { save($0, context) }
    }

    private func sessions(on context: LoopContext) -> [ClientSession] {
        allSessions().compactMap { $0.ref.mailbox === context.mailbox ? $0.ref.session : nil }
    }

    private func save(_ session: ClientSession, _ context: LoopContext) -> SavedSession? {
        guard let (management, handled) = session.saved() else { return nil }
        let home = session.home
        let left: (entry: SessionEntry, sharing: String)? = home.shard.withLock {
            guard let index = home.index(of: session.ref) else { return nil }
            let entry = home.sessions.remove(at: index)
            // On disk they wait for the account; nobody else is to have them.
            home.offline.deliveries.release(entry.slots)
            storeCursorNow(of: home)
            return (entry, home.roster.sharingName)
        }
        session.drop()
        guard let (entry, sharing) = left, let resumption = management.resumption else { return nil }
        var saved = SavedSession(
            address: entry.address, account: home.id, resumptionID: resumption.id, seconds: resumption.seconds,
            time: entry.detachedAt ?? context.time.wallMilliseconds, handled: handled, acknowledged: management.unacknowledged.acknowledged)
        saved.unacknowledged = Array(management.unacknowledged.all)
        saved.presence = entry.presence?.encoded()
        saved.priority = entry.priority
        saved.flags = entry.flags
        saved.directed = entry.directed
        saved.device = entry.device
        saved.application = entry.ref.application
        saved.proof = entry.proof
        saved.sharing = sharing
        return saved
    }

    // MARK: The server that is started

    /// Has a session again, without a connection. Called on the loop where it is to live, before anybody is served.
    ///
    /// - Parameter done: runs once it is there, or is known not to come.
    package func restore(_ saved: SavedSession, _ context: LoopContext, _ done: @escaping @Sendable () -> Void = {}) {
        let mailbox = context.mailbox
        withHome(of: saved.address.bare, context) { [self] home, context in
            // Another loop may have loaded the account.
            guard context.mailbox === mailbox else { return context.post(.run { self.restore(saved, $0, done) }, to: mailbox) }
            restore(saved, home, context)
            context.after { _ in done() }
        }
        context.runEffects()
    }

    /// Under the lock.
    private func restore(_ saved: SavedSession, _ home: AccountHome, _ context: LoopContext) {
        guard home.isResident, home.id == saved.account, let slot = home.slots.firstFree, home.index(of: saved.address) == nil else { return }
        // One that nobody can resume ends at once, when everybody is there who has to hear of it. What groups have done meanwhile its client would
        // not learn: it asks for the roster as it begins anew.
        let isUpToDate = saved.sharing == home.roster.sharingName
        let secondsLeft = home.isEnabled && isUpToDate ? saved.secondsLeft(at: context.time.wallMilliseconds) : 1
        let ref = SessionRef(id: nextSessionID(), mailbox: context.mailbox, isScreened: !home.blockList.isEmpty, application: saved.application)
        ref.session = ClientSession(saved, ref: ref, home: home, router: self, context: context, secondsLeft: secondsLeft)
        var entry = SessionEntry(ref: ref, address: saved.address, slot: slot)
        entry.presence = saved.presence.flatMap { Stanza(sent: $0) }
        entry.priority = saved.priority
        entry.flags = saved.flags
        entry.directed = saved.directed
        entry.device = saved.device
        entry.proof = saved.proof
        entry.needsCertificate = saved.proof.isCertified
        entry.resumptionID = isUpToDate ? saved.resumptionID : nil
        entry.detachedAt = saved.time
        home.sessions.append(entry)
        home.shard.noteUse(home)
        for item in saved.unacknowledged where item.view > home.offline.deliveries.cursor {
            _ = home.offline.deliveries.take(item.view, bytes: item.stanza.bytes.readableBytes, by: entry.slots)
        }
        if entry.takesMessages { startReplay(to: entry, home, context) }
    }
}
