package import MartletXMPP
package import NIOCore

/// What one event loop has to itself while it serves sessions: its mailbox, what waits for the disk, what is still to be
/// done after a lock was released. Not `Sendable`: it stays on its loop.
///
/// Without run-time checks of exclusivity (``ClientSession``).
///
/// Whatever enters a loop (a read, a timer, a store's answer) does its work and calls ``flushSoon()`` or ``flush()`` once at the end.
package final class LoopContext {
    package let mailbox: LoopMailbox
    package let time: any TimeSource
    package let random: any RandomSource
    package let counters = StanzaCounters()
    /// The domains as of the last reload.
    @exclusivity(unchecked) package var hosts: HostTable
    /// Addresses that stanzas of this loop carried lately, prepared.
    @exclusivity(unchecked) var addresses = JIDCache(capacity: 1_024)
    package let store: any Store

    /// When the loop began with what it is doing, if that has asked for the time.
    @exclusivity(unchecked) private var began: Int64?
    @exclusivity(unchecked) private var wakes: [LoopMailbox] = []
    @exclusivity(unchecked) private var dirty: [ClientSession] = []
    @exclusivity(unchecked) private var patient: [ClientSession] = []
    @exclusivity(unchecked) private var otherFlushes: [() -> Void] = []
    @exclusivity(unchecked) private var effects: [(LoopContext) -> Void] = []
    @exclusivity(unchecked) private var waitingForDisk: [(ticket: CommitTicket, act: (LoopContext, Result<Void, StoreError>) -> Void)] = []
    @exclusivity(unchecked) private var batch: [Post] = []
    /// Accounts whose cursor in the message log is to be stored.
    @exclusivity(unchecked) private var movedCursors: [AccountHome] = []
    /// Bytes that wait in the loop's own mailbox, as of the last post.
    @exclusivity(unchecked) private var ownWaitingBytes = 0
    /// A mailbox that took a post and has more than it should.
    @exclusivity(unchecked) private var fullMailbox: LoopMailbox?
    @exclusivity(unchecked) private var isFlushing = false
    @exclusivity(unchecked) private var isFlushDue = false
    @exclusivity(unchecked) private var isRunningEffects = false

    package init(loop: any EventLoop, hosts: HostTable, store: any Store, time: any TimeSource, random: any RandomSource) {
        self.hosts = hosts
        mailbox = LoopMailbox(loop: loop)
        self.time = time
        self.random = random
        self.store = store
        mailbox.attach(self)
        store.onSettled { [mailbox] in mailbox.postAndWake(.settled) }
    }

    /// Milliseconds since 1970 (UTC), read once for everything up to the next ``flush()``, such as all stanzas of one read: a message would
    /// look at the clock up to three times, 40 ns each.
    package var wallMilliseconds: Int64 {
        if let began { return began }
        let now = time.wallMilliseconds
        began = now
        return now
    }

    /// Hands a stanza to a session on whatever loop. Memory only: allowed under a shard's lock, where it fixes the order.
    ///
    /// - Parameter view: as in ``Post/deliver(_:to:view:)``.
    package func post(_ stanza: EncodedStanza, to session: SessionRef, view: UInt64 = 0) {
        post(.deliver(stanza, to: session, view: view), to: session.mailbox)
    }

    /// Hands one stanza to many sessions. Memory only, as ``post(_:to:view:)``.
    package func post(_ stanza: SharedStanza, to sessions: SessionsByLoop) {
        for group in sessions.groups where !group.sessions.isEmpty { post(.deliverShared(stanza, to: group.sessions), to: group.mailbox) }
    }

    package func post(_ stanzas: [SharedStanza], to session: SessionRef) {
        post(.deliverAll(stanzas, to: session), to: session.mailbox)
    }

    package func post(_ post: Post, to mailbox: LoopMailbox) {
        let (wasEmpty, waitingBytes) = mailbox.post(post)
        if wasEmpty { wakes.append(mailbox) }
        if mailbox === self.mailbox {
            ownWaitingBytes = waitingBytes
        } else if waitingBytes > LoopMailbox.waitingBytesMax {
            fullMailbox = mailbox
        }
    }

    /// Whether another loop is so far behind with what this one has for it that its clients are to wait: nothing that was posted is
    /// dropped, and what waits for a loop is bounded all the same.
    package var isCongested: Bool {
        guard let fullMailbox else { return false }
        if fullMailbox.hasRoom { self.fullMailbox = nil }
        return self.fullMailbox != nil
    }

    /// Does `effect` once no lock is held any more, before the loop goes on to the next stanza.
    package func after(_ effect: @escaping (LoopContext) -> Void) { effects.append(effect) }

    /// Does `act` once everything up to `ticket` is on disk, or has been refused by the disk.
    package func afterCommit(_ ticket: CommitTicket, _ act: @escaping (LoopContext, Result<Void, StoreError>) -> Void) {
        waitingForDisk.append((ticket, act))
        if ticket <= store.settled { post(.settled, to: mailbox) } else { store.expectSettlement(of: ticket) }
    }

    /// Up to where the disk has come, as far as everybody on this loop has been told who waited for it. What is acknowledged is no further:
    /// whose stanza the disk refused has to learn of that first (P19).
    var settled: CommitTicket {
        let settled = store.settled
        // What was written later than somebody began to wait has a later ticket than what he waits for.
        guard let first = waitingForDisk.first?.ticket, first <= settled else { return settled }
        return CommitTicket(sequence: max(first.sequence, 1) - 1)
    }

    /// Hands a stanza to a session before this loop does anything else, if the session lives here. With no lock held.
    func deliverNow(_ stanza: EncodedStanza, to ref: SessionRef) {
        if ref.mailbox === mailbox, let session = ref.session { session.deliver(stanza) } else { post(stanza, to: ref) }
    }

    /// Carries out what was put off until the locks were released. The caller of a home's work calls it right after.
    package func runEffects() {
        guard !effects.isEmpty, !isRunningEffects else { return }
        isRunningEffects = true
        defer { isRunningEffects = false }
        var next = 0
        while next < effects.count {
            let effect = effects[next]
            next += 1
            effect(self)
        }
        effects.removeAll(keepingCapacity: true)
    }

    func markDirty(_ session: ClientSession) { dirty.append(session) }

    /// Flushes a transport that is no session's with the others.
    package func flushWithOthers(_ flush: @escaping () -> Void) { otherFlushes.append(flush) }

    // MARK: Patience

    /// Presence to so many sessions of one loop at once may be flushed a little later, with what comes meanwhile: when thousands enter a
    /// room one after the other, each of those who are there would otherwise cost a system call for each who comes.
    package static let patientFrom = 64
    /// How much later.
    package static let patience = TimeAmount.milliseconds(100)

    /// What was written to the session is flushed within ``patience``, or with whatever else is written to it.
    func flushLater(_ session: ClientSession) {
        patient.append(session)
        guard patient.count == 1 else { return }
        _ = mailbox.loop.scheduleTask(in: Self.patience) { [mailbox] in
            mailbox.run { context in
                let sessions = context.patient
                context.patient = []
                for session in sessions { session.endPatience() }
            }
        }
    }

    /// Stores an account's cursor in the message log within ``storeCursorsAfter``, together with those of others. Under the home's lock.
    func storeCursorSoon(of home: AccountHome, _ router: Router) {
        guard !home.offline.isStoringDue else { return }
        home.offline.isStoringDue = true
        movedCursors.append(home)
        guard movedCursors.count == 1 else { return }
        _ = mailbox.loop.scheduleTask(in: Self.storeCursorsAfter) { [mailbox] in
            mailbox.run { context in
                let homes = context.movedCursors
                context.movedCursors = []
                router.storeCursors(of: homes)
            }
        }
    }

    /// What was delivered less than that before the process dies is delivered again, under the same name (P2).
    static var storeCursorsAfter: TimeAmount { .seconds(1) }

    /// Flushes when the loop is done with what it is in the middle of, such as all connections that something arrived from: what several
    /// of them have for one session becomes one write. At once where much waits already.
    package func flushSoon() {
        if ownWaitingBytes > Self.flushedAtOnce { return flush() }
        guard !isFlushDue else { return }
        isFlushDue = true
        mailbox.wake()
    }

    /// Bytes for the loop's own sessions that wait for the others' turns: no more than fits a cache, and much less than a session may be
    /// behind with.
    package static let flushedAtOnce = 256 * 1024

    /// Wakes other loops, delivers what was posted to this one, releases what waited for the disk, and flushes every
    /// transport that was written to: once per turn of the loop, not once per stanza.
    package func flush() {
        isFlushDue = false
        // Whoever runs effects flushes after them.
        guard !isFlushing, !isRunningEffects else { return }
        isFlushing = true
        defer {
            isFlushing = false
            began = nil
        }
        repeat {
            repeat {
                runEffects()
                deliverPosts()
            } while !effects.isEmpty || wakes.contains { $0 === mailbox }
            for other in wakes { other.wake() }
            wakes.removeAll(keepingCapacity: true)
            flushTransports()
            // A transport that fails as it is flushed ends its session, and its contacts are to hear of that.
        } while !effects.isEmpty || !wakes.isEmpty
    }

    private func flushTransports() {
        let sessions = dirty
        dirty = []
        for session in sessions { session.flush() }
        if !otherFlushes.isEmpty {
            let flushes = otherFlushes
            otherFlushes = []
            for flush in flushes { flush() }
        }
        if dirty.isEmpty {
            dirty = consume sessions
            dirty.removeAll(keepingCapacity: true)
        }
    }

    private func deliverPosts() {
        wakes.removeAll { $0 === mailbox }
        mailbox.take(into: &batch)
        ownWaitingBytes = 0
        for post in batch {
            switch post {
            case .deliver(let stanza, let ref, let view):
                if let session = ref.session { session.deliver(stanza, view: view) } else { forward(post, for: ref) }
            case .deliverStored(let stanza, let ref, let view):
                if let session = ref.session { session.deliverStored(stanza, view: view) } else { forward(post, for: ref) }
            case .deliverShared(let stanza, let refs):
                let isPatient = stanza.isPresence && refs.count >= Self.patientFrom
                for ref in refs { deliver(stanza, to: ref, isPatient: isPatient) }
            case .deliverAll(let stanzas, let ref):
                // It was asked for, and comes at once: it does not count against a client that reads.
                ref.session?.allowForStored(stanzas.reduce(0) { $0 + $1.byteCount })
                for stanza in stanzas { deliver(stanza, to: ref, isPatient: false) }
            case .end(let ref, let error):
                if let session = ref.session { session.end(error) } else { forward(post, for: ref) }
            case .settled: releaseSettled()
            case .complete(let completion, let ticket):
                switch completion.source {
                case .session(let ref): completed(completion, ticket, at: ref)
                case .peer(let ref): ref.session?.completed(completion.sequence, ticket)
                case .component(let ref): ref.session?.completed(completion.sequence, ticket)
                }
            case .completeInherited(let completion, let ticket, let ref): completed(completion, ticket, at: ref)
            case .forward(let item, let link): link.take(item, self)
            case .run(let work): work(self)
            }
        }
        batch.removeAll(keepingCapacity: true)
    }

    private func deliver(_ stanza: SharedStanza, to ref: SessionRef, isPatient: Bool) {
        if let session = ref.session { return session.deliver(stanza, isPatient: isPatient) }
        if let successor = ref.successor { post(.deliverShared(stanza, to: [successor]), to: successor.mailbox) }
    }

    /// To whoever has taken over from a session that was resumed elsewhere.
    private func forward(_ post: Post, for ref: SessionRef) {
        guard let successor = ref.successor else {
            // It was posted before its sender's loop could know of the end. What is in the log waits there again.
            if case .deliver(let stanza, _, 0) = post { ref.remains?.deliverAgain(stanza, self) }
            return
        }
        switch post {
        case .deliver(let stanza, _, let view): self.post(.deliver(stanza, to: successor, view: view), to: successor.mailbox)
        case .deliverStored(let stanza, _, let view): self.post(.deliverStored(stanza, to: successor, view: view), to: successor.mailbox)
        case .end(_, let error): self.post(.end(successor, error), to: successor.mailbox)
        case .complete, .completeInherited, .settled, .run, .deliverShared, .deliverAll, .forward: break
        }
    }

    private func completed(_ completion: Completion, _ ticket: CommitTicket, at ref: SessionRef) {
        if let session = ref.session { return session.completed(completion, ticket) }
        if let successor = ref.successor { post(.completeInherited(completion, ticket, successor), to: successor.mailbox) }
    }

    private func releaseSettled() {
        let settled = store.settled
        guard let end = waitingForDisk.firstIndex(where: { $0.ticket > settled }) ?? (waitingForDisk.isEmpty ? nil : waitingForDisk.count)
        else { return }
        let ready = waitingForDisk[..<end]
        waitingForDisk.removeFirst(end)
        for waiting in ready { waiting.act(self, store.outcome(of: waiting.ticket)) }
    }
}
