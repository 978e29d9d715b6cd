package import MartletXMPP

/// What an account's sessions are told of its roster waits here, in the order in which it was decided, until what it tells of is on
/// disk (P7). One queue per account, because a client that is told of a later version takes every earlier one for known
/// (RFC 6121 §2.6): no change may overtake another, whichever loops they were made on.
enum Telling {
    /// A push to every interested session.
    case rosterChange(RosterChange)
    /// An answer that was read from what is in memory, to the session that asked.
    case answer([EncodedStanza], to: SessionRef)
}

extension AccountHome {
    /// Under the lock.
    func tell(_ telling: Telling, after ticket: CommitTicket) { tellings.append((ticket, telling)) }

    /// The version of the roster up to which everything was told that the user has changed. Under the lock.
    var toldRosterVersion: UInt64 {
        for case (_, .rosterChange(let change)) in tellings { return change.version &- 1 }
        return roster.version
    }
}

extension Router {
    /// Tells what is on disk by now.
    package func tellSettled(of account: BareJID, _ context: LoopContext) {
        let shard = placement.shard(of: account)
        shard.withLock {
            if let home = shard.home(account) { tellSettled(home, context) }
        }
    }

    /// Under the lock.
    func tellSettled(_ home: AccountHome, _ context: LoopContext) {
        let settled = store.settled
        var count = 0
        for (ticket, telling) in home.tellings {
            guard ticket <= settled else { break }
            count += 1
            switch telling {
            case .rosterChange(let change):
                if case .success = store.outcome(of: ticket) { pushRosterChange(change, home, context) }
            case .answer(let stanzas, let session):
                for stanza in stanzas { context.post(stanza, to: session) }
            }
        }
        home.tellings.removeFirst(count)
    }
}
