package import MartletXMPP

/// Why an order about an account was not carried out.
package enum AccountRefusal: Error, Hashable, Sendable {
    case noAccount(BareJID)
    case store(StoreError)

    /// Where there is an account of that name already, or something else is in the way that whoever asked can change.
    package var isConflict: Bool {
        if case .store(.constraint) = self { true } else { false }
    }

    package var stanzaError: StanzaError {
        switch self {
        case .noAccount: .itemNotFound("there is no such account")
        case .store(.constraint): StanzaError(.conflict, .cancel, text: "the name is taken")
        case .store(let error): StanzaError(refusal: error)
        }
    }
}

/// An account to be made.
package struct AccountCreation: Sendable {
    package var address: BareJID
    package var keys: [ScramKeys]
    package var isAdmin: Bool
    package init(_ address: BareJID, _ keys: [ScramKeys], isAdmin: Bool = false) {
        self.address = address
        self.keys = keys
        self.isAdmin = isAdmin
    }
}

/// What operators, administrators and users have done to accounts: the one way of each, with its line in the audit log.
///
/// They return when all is on disk. `mailbox` is of any loop; `by` says for the record who wants it.
extension Router {
    /// All of them, or none.
    ///
    /// - Parameters:
    ///   - others: what is written together with them.
    ///   - areEnabled: what these say of that.
    package func createAccounts(
        _ accounts: [AccountCreation], with others: [Write] = [], areEnabled: Bool = true, by: String, on mailbox: LoopMailbox
    ) async throws(AccountRefusal) {
        let writes = accounts.map { Write.account(.create($0.address, credentials: $0.keys, isAdmin: $0.isAdmin)) }
        do throws(StoreError) { try await store.commit(writes + others) } catch { throw .store(error) }
        await withCheckedContinuation { continuation in
            mailbox.run { [self] context in
                for account in accounts { accountCreated(account.address, isEnabled: areEnabled, context) }
                continuation.resume()
            }
        }
        for account in accounts { audit.record(.accountCreated(account.address, by: by)) }
    }

    /// Ends the account's sessions.
    ///
    /// - Parameter survivor: the one that goes on.
    package func setCredentials(
        of address: BareJID, _ keys: [ScramKeys], sparing survivor: FullJID? = nil, by: String, on mailbox: LoopMailbox
    ) async throws(AccountRefusal) {
        try await apply(to: address, on: mailbox) { [self] context, done in
            let error = StreamError(.reset, "the password was changed")
            changeAccount(address, .setCredentials(address, keys), ending: error, sparing: survivor, context, done)
        }
        audit.record(.passwordChanged(address, by: by))
    }

    /// Ends the sessions of an account that is disabled.
    package func setEnabled(_ address: BareJID, _ isEnabled: Bool, by: String, on mailbox: LoopMailbox) async throws(AccountRefusal) {
        try await apply(to: address, on: mailbox) { [self] context, done in
            let error = isEnabled ? nil : StreamError(.notAuthorized, "the account was disabled")
            changeAccount(address, .setEnabled(address, isEnabled), ending: error, context, done)
        }
        audit.record(.accountEnabled(address, isEnabled, by: by))
    }

    package func delete(_ address: BareJID, by: String, on mailbox: LoopMailbox) async throws(AccountRefusal) {
        let isServed = await withCheckedContinuation { continuation in
            mailbox.run { continuation.resume(returning: $0.hosts.host(of: address) != nil) }
        }
        if isServed {
            try await apply(to: address, on: mailbox) { [self] context, done in deleteAccount(address, context, done) }
        } else {
            // Of a domain that is served no longer, or in quarantine: nobody is there to be told.
            _ = try await identity(of: address)
            do throws(StoreError) { try await store.commit([.account(.delete(address))]) } catch { throw .store(error) }
        }
        audit.record(.accountDeleted(address, by: by))
    }

    /// Makes room for another account of the same address, which inherits nothing: nobody is its contact, nor are its rooms and nodes his.
    ///
    /// - Returns: the address at which the account is kept from now on.
    @discardableResult
    package func quarantine(_ address: BareJID, by: String, on mailbox: LoopMailbox) async throws(AccountRefusal) -> BareJID {
        let identity = try await identity(of: address)
        try await apply(to: address, on: mailbox) { [self] context, done in quarantineAccount(address, context, done) }
        let kept = Self.quarantine(of: address, identity.id)
        audit.record(.accountQuarantined(address, keptAs: kept, by: by))
        return kept
    }

    private func identity(of address: BareJID) async throws(AccountRefusal) -> StoredIdentity {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: address) } catch { throw .store(error) }
        guard let identity else { throw .noAccount(address) }
        return identity
    }

    private func apply(
        to address: BareJID, on mailbox: LoopMailbox, _ change: @escaping @Sendable (LoopContext, @escaping @Sendable (AccountOutcome) -> Void) -> Void
    ) async throws(AccountRefusal) {
        let outcome: AccountOutcome = await withCheckedContinuation { continuation in
            mailbox.run { context in change(context) { continuation.resume(returning: $0) } }
        }
        switch outcome {
        case .success(true): break
        case .success(false): throw .noAccount(address)
        case .failure(let error): throw .store(error)
        }
    }
}

extension Router {
    /// Hands a message to every session of a domain that is available. For administration only.
    ///
    /// - Returns: how many there were.
    package func announce(_ message: SharedStanza, at domain: BareJID) -> Int {
        var sessions: [ObjectIdentifier: [SessionRef]] = [:]
        for session in allSessions() where session.priority != nil && domain.isInDomain(of: session.address.bare) {
            sessions[ObjectIdentifier(session.ref.mailbox), default: []].append(session.ref)
        }
        for refs in sessions.values { refs.first?.mailbox.postAndWake(.deliverShared(message, to: refs)) }
        return sessions.values.reduce(0) { $0 + $1.count }
    }
}

// MARK: Greetings (XEP-0133)

extension Router {
    /// Tells sessions of an account what its domain has to say to it. Under the lock.
    func greet(_ sessions: [SessionRef], of home: AccountHome, _ context: LoopContext) {
        guard let stage = context.hosts.host(of: home.address)?.greeting, home.isResident else { return }
        let greeting = stage.greeting(for: home, self, context)
        for message in greeting.messages {
            for session in sessions { context.post(message, to: session) }
        }
        submit(greeting.writes, of: home, context)
    }

    /// The same for those who have come already. With no lock held.
    package func greet(_ accounts: some Sequence<BareJID>, _ context: LoopContext) {
        for account in accounts {
            withResidentHome(account) { home in
                let sessions = home.sessions.filter(\.takesMessages).map(\.ref)
                if !sessions.isEmpty { greet(sessions, of: home, context) }
            }
        }
        context.runEffects()
    }

    /// Accounts of a domain that take messages just now. For administration only.
    package func accountsOnline(at domain: BareJID) -> Set<BareJID> {
        Set(allSessions().lazy.filter { $0.priority.map { $0 >= 0 } == true && domain.isInDomain(of: $0.address.bare) }.map(\.address.bare))
    }
}

// MARK: Moving accounts (XEP-0227)

extension Router {
    /// Makes an account that nobody can log in to until ``finishImport(of:_:isEnabled:by:on:)``: until then it is one that is being imported, and
    /// no other account is without keys and disabled.
    ///
    /// - Parameter replacing: whether an account of that name goes with all its data. Its contacts are not told: for them it is the same one.
    package func beginImport(of address: BareJID, replacing: Bool, by: String, on mailbox: LoopMailbox) async throws(AccountRefusal) {
        if replacing {
            try await apply(to: address, on: mailbox) { [self] context, done in
                changeAccount(address, .delete(address), ending: Self.accountDeleted, context, done)
            }
            audit.record(.accountDeleted(address, by: by))
        }
        try await createAccounts([AccountCreation(address, [])], with: [.account(.setEnabled(address, false))], areEnabled: false, by: by, on: mailbox)
    }

    /// Everything of the account is on disk: from now on its people can log in, unless they could not where it comes from.
    package func finishImport(
        of address: BareJID, _ keys: [ScramKeys], isEnabled: Bool, by: String, on mailbox: LoopMailbox
    ) async throws(AccountRefusal) {
        let changes: [Write] = [.account(.setCredentials(address, keys)), .account(.setEnabled(address, isEnabled))]
        do throws(StoreError) { try await store.commit(changes) } catch { throw .store(error) }
        mailbox.run { [self] context in standingChanged(of: address, isThere: isEnabled, context) }
        // What came in meanwhile was decided by what there was then.
        let shard = placement.shard(of: address)
        shard.withLock { if let nodes = shard.serviceHome(address) { shard.remove(nodes) } }
        forget(address)
        if shard.withLock({ shard.home(address) != nil }) {
            // Somebody is waiting for it just now.
            try await apply(to: address, on: mailbox) { [self] context, done in
                changeAccount(address, .setEnabled(address, isEnabled), ending: nil, context, done)
            }
        }
        audit.record(.accountImported(address, by: by))
    }
}
