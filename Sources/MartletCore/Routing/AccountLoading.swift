package import MartletXMPP

/// Brings accounts into memory. A stanza for one that is not there waits in its home's queue while one load is under way:
/// order is kept and no loop waits.
extension Router {
    /// The account's home with its shard's lock held by the caller, ready to decide, or `nil` after `work` was parked.
    ///
    /// A home that is handed out may be `absent`: there is no such account.
    func readyHome(_ address: BareJID, in shard: Shard, _ context: LoopContext) -> AccountHome? {
        guard let home = shard.home(address), home.parked.isEmpty else { return nil }
        switch home.stage {
        case .resident, .absent: return home
        case .loading, .stale, .failed: return nil
        }
    }

    /// Puts work off until the account is in memory. Call with the lock of `shard` held.
    ///
    /// - Parameter bytes: of the stanza that the work holds.
    /// - Returns: `false` when too much waits already.
    func park(_ address: BareJID, bytes: Int, in shard: Shard, _ context: LoopContext, _ work: @escaping AccountHome.Work) -> Bool {
        let known = shard.home(address)
        let limits = context.hosts.host(of: address)?.limits
        guard (known?.parked ?? WaitingWork()).hasRoom(forBytes: bytes, limits) else { return false }
        let home = known ?? shard.makeHome(address)
        home.parked.append(bytes: bytes, work)
        guard home.parked.count == 1 else { return true }
        if home.stage != .stale { home.stage = .loading }
        load(home, context.mailbox)
        return true
    }

    /// Does `work` in the account's home as soon as it is in memory, with the lock held; effects run after.
    ///
    /// - Parameter bytes: of the stanza that the work holds, if it holds one.
    package func withHome(
        of address: BareJID, bytes: Int = 0, _ context: LoopContext, _ work: @escaping @Sendable (AccountHome, LoopContext) -> Void
    ) {
        let shard = placement.shard(of: address)
        let isParked = shard.withLock {
            if let home = readyHome(address, in: shard, context) { work(home, context); return true }
            return park(address, bytes: bytes, in: shard, context, work)
        }
        if !isParked {
            // Too many wait for the store already. `failed` tells the work that nothing could be decided.
            let refused = AccountHome(address, shard: shard)
            refused.stage = .failed
            work(refused, context)
        }
    }

    private func load(_ home: AccountHome, _ mailbox: LoopMailbox) {
        let address = home.address
        store.loadAccount(address) { [self] result in
            mailbox.run { context in self.loaded(address, result, context) }
        }
    }

    private func loaded(_ address: BareJID, _ result: Result<StoredAccount?, StoreError>, _ context: LoopContext) {
        let shard = placement.shard(of: address)
        shard.withLock {
            guard let home = shard.home(address) else { return }
            if home.mustBeReadAgain {
                home.mustBeReadAgain = false
                return load(home, context.mailbox)
            }
            switch result {
            case .success(let stored?):
                let host = context.hosts.host(of: address)
                home.install(stored, usedNames: ids.used) { host?.sharedRoster(of: address) }
                if let shared = home.roster.shared, !shared.leftOut.isEmpty { context.after { [self] _ in note(shared, of: address) } }
                home.mayResend = resent.has(sender: address)
                if home.documents.has(.conversions) { context.hosts.host(of: address)?.eventing?.loaded(home, self, context) }
            case .success(nil):
                endSessions(home, StreamError(.notAuthorized, "the account is gone"), context)
                home.stage = .absent
            // What is in memory stays there for the sessions; the next who asks tries again.
            case .failure: if home.stage != .stale { home.stage = .failed }
            }
            doWaiting(in: home, context)
            if (home.stage == .failed || home.stage == .stale), home.sessions.isEmpty, home.parked.isEmpty { shard.drop(home) }
            else { shard.noteIdle(home, settled: store.settled) }
        }
        context.runEffects()
    }

    private func doWaiting(in home: AccountHome, _ context: LoopContext) {
        let waiting = home.parked
        home.parked = WaitingWork()
        let rest = waiting.run { work in
            work(home, context)
            // After what it did the account may have to be read anew: the others wait for that.
            return home.parked.isEmpty
        }
        home.parked.append(rest)
    }

    /// Reads an account anew if it is in memory, or being read: after a write of its was refused by the disk, so that what is in memory was ahead of it, and
    /// after one behind the home's back.
    package func reload(_ address: BareJID, _ context: LoopContext) {
        let shard = placement.shard(of: address)
        shard.withLock {
            if let home = shard.home(address) { reload(home, context) }
        }
    }

    /// Under the lock. What was submitted before is in what will be read.
    func reload(_ home: AccountHome, _ context: LoopContext) {
        guard home.parked.isEmpty else { return home.mustBeReadAgain = true }
        guard home.isInMemory else { return }
        home.stage = .stale
        home.parked.append { _, _ in }
        load(home, context.mailbox)
    }

    /// Forgets what is known of an account that was created, changed or deleted behind the homes' back.
    package func forget(_ address: BareJID) {
        let shard = placement.shard(of: address)
        shard.withLock {
            guard let home = shard.home(address), home.sessions.isEmpty, home.parked.isEmpty, home.stage != .loading else { return }
            shard.drop(home)
        }
    }
}
