/// A promise that every inbound stanza carries: somebody says, once, up to which ticket the disk must have come before the
/// stanza may be acknowledged. Acknowledgements (XEP-0198 `h`) and the reading of further stanzas hang on it.
package struct Completion: Sendable {
    /// What a stanza came in on: a client's session, or a stream from another server or a component.
    package enum Source: Sendable {
        case session(SessionRef)
        case peer(PeerRef)
        case component(ComponentRef)

        func isSession(_ ref: SessionRef) -> Bool {
            if case .session(let session) = self { session === ref } else { false }
        }
    }
    package let source: Source
    /// The stanza's place among those of its source, from 0.
    package let sequence: UInt32

    package init(session: SessionRef, sequence: UInt32) {
        source = .session(session)
        self.sequence = sequence
    }

    package init(peer: PeerRef, sequence: UInt32) {
        source = .peer(peer)
        self.sequence = sequence
    }

    package init(component: ComponentRef, sequence: UInt32) {
        source = .component(component)
        self.sequence = sequence
    }

    var mailbox: LoopMailbox {
        switch source {
        case .session(let session): session.mailbox
        case .peer(let peer): peer.mailbox
        case .component(let component): component.mailbox
        }
    }

    /// Completes a stanza that was parked, from whatever loop.
    package func complete(_ ticket: CommitTicket, in context: LoopContext) {
        context.post(.complete(self, ticket), to: mailbox)
    }

    /// The same with what came of it; nothing, if somebody else holds the stanza now.
    package func complete(_ progress: Progress, in context: LoopContext) {
        if case .done(let ticket) = progress { complete(ticket, in: context) }
    }
}

/// How far the server got with a stanza by the time routing returned.
package enum Progress: Hashable, Sendable {
    /// Done but for the disk; `CommitTicket.none` when nothing was written.
    case done(CommitTicket)
    /// Somebody holds the stanza's ``Completion`` and will use it.
    case pending

    package static let done = Progress.done(.none)
}

/// Which inbound stanzas of a session have been dealt with. Pure.
///
/// `handled` is the contiguous prefix: a stanza that completed early waits for those before it (XEP-0198 §4).
package struct InboundLedger: Sendable {
    private enum State { case pending, done(CommitTicket) }
    private var open: [State] = []
    /// Stanzas that somebody holds and has not dealt with.
    private(set) package var pendingCount = 0
    /// The sequence number of `open[0]`.
    private(set) package var firstOpen: UInt32 = 0

    /// - Parameter firstOpen: stanzas that have been handled, modulo 2³².
    package init(firstOpen: UInt32 = 0) { self.firstOpen = firstOpen }

    package var nextSequence: UInt32 { firstOpen &+ UInt32(open.count) }
    package var openCount: Int { open.count }
    /// What the disk must have come up to before the next stanzas are handled; `nil` while the next one is not done.
    package var awaitedTicket: CommitTicket? {
        var latest: CommitTicket?
        scan: for state in open {
            switch state {
            case .done(let ticket): latest = max(latest ?? ticket, ticket)
            case .pending: break scan
            }
        }
        return latest
    }

    package mutating func record(_ progress: Progress) {
        switch progress {
        case .done(let ticket) where open.isEmpty && ticket == .none: firstOpen &+= 1
        case .done(let ticket): open.append(.done(ticket))
        case .pending:
            open.append(.pending)
            pendingCount += 1
        }
    }

    package mutating func completed(_ sequence: UInt32, _ ticket: CommitTicket) {
        let index = Int(sequence &- firstOpen)
        guard index < open.count else { return }
        if case .pending = open[index] { pendingCount -= 1 }
        open[index] = .done(ticket)
    }

    /// Forgets what is not dealt with, and all that came after it: it will be sent again.
    package mutating func forgetUnfinished() {
        open.removeAll()
        pendingCount = 0
    }

    /// Forgets what is dealt with and on disk up to `settled`.
    /// - Returns: how many stanzas have been handled since the session began (modulo 2³²).
    package mutating func advance(settled: CommitTicket) -> UInt32 {
        var count = 0
        scan: for state in open {
            switch state {
            case .done(let ticket) where ticket <= settled: count += 1
            case .done, .pending: break scan
            }
        }
        open.removeFirst(count)
        firstOpen &+= UInt32(count)
        return firstOpen
    }
}
