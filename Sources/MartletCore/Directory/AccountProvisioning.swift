package import MartletXMPP

/// Somebody of whom a directory says that he has an account.
package struct DirectoryPerson: Hashable, Sendable {
    package var entry: EntryUUID
    package var address: BareJID

    package init(_ entry: EntryUUID, _ address: BareJID) {
        self.entry = entry
        self.address = address
    }
}

/// Keeps the accounts of this server as a directory says who there is.
///
/// Who somebody is, the entry's UUID says, never his address (`directory.md` §1.1): an entry with another address gets another account, and the one that it had
/// waits for an operator; an address that another entry has now gets a new account, which inherits nothing. An account whose entry is gone is disabled at once and
/// deleted later. All is repeated safely: after a crash the directory says it all again.
package actor AccountProvisioning {
    /// Accounts that are created in one commit.
    package static let batchMax = 500
    /// Accounts that are looked up at a time.
    package static let readsMax = 64

    private let router: Router
    private let mailbox: LoopMailbox
    private let time: any TimeSource
    private let adoptsLocalAccounts: Bool
    /// The account of each entry that has one now.
    private var accounts: [EntryUUID: BareJID] = [:]
    static let name = "directory"

    /// - Parameters:
    ///   - mailbox: of any loop.
    ///   - adoptsLocalAccounts: whether an account that no directory knew before is that of the entry with its address, with all that it has.
    package init(_ router: Router, on mailbox: LoopMailbox, time: any TimeSource, adoptsLocalAccounts: Bool) {
        self.router = router
        self.mailbox = mailbox
        self.time = time
        self.adoptsLocalAccounts = adoptsLocalAccounts
    }

    /// Reads whose accounts there are. Once, before anything else; finishes what a crash has cut off.
    package func begin() async throws(AccountRefusal) {
        var last: BareJID?
        while true {
            let page = try await page(after: last)
            for account in page where account.link.gone == nil { accounts[account.link.entry] = account.address }
            for account in page where account.link.gone != nil && account.isEnabled { try await disable(account.address) }
            guard page.count == Self.batchMax else { return }
            last = page.last?.address
        }
    }

    /// Entries that have an account now.
    package var entries: Set<EntryUUID> { Set(accounts.keys) }

    private func page(after last: BareJID?) async throws(AccountRefusal) -> [LinkedAccount] {
        do throws(StoreError) { return try await router.store.linkedAccounts(after: last, limit: Self.batchMax) } catch { throw .store(error) }
    }

    // MARK: Coming

    /// These have an account from now on, if they have none.
    ///
    /// - Returns: those who cannot have one, and why not.
    package func admit(_ people: [DirectoryPerson]) async throws(AccountRefusal) -> [(person: DirectoryPerson, reason: String)] {
        var refused: [(person: DirectoryPerson, reason: String)] = []
        var rest = people[...]
        while !rest.isEmpty {
            var new: [DirectoryPerson] = []
            let coming = rest.prefix(Self.batchMax).filter { accounts[$0.entry] != $0.address }
            let taken = try await taken(coming.map(\.address))
            for person in coming {
                if accounts[person.entry] != nil { try await dismiss(person.entry) }
                switch taken.contains(person.address) ? try await makeWay(for: person) : .free {
                case .free: new.append(person)
                case .settled: break
                case .refused(let reason): refused.append((person, reason))
                }
            }
            try await create(new)
            rest = rest.dropFirst(Self.batchMax)
        }
        return refused
    }

    /// At which of these addresses there are accounts, whosever they are. Many are asked for at a time: one after the other, each would wait for a thread of the store, and
    /// for one here.
    private func taken(_ addresses: [BareJID]) async throws(AccountRefusal) -> Set<BareJID> {
        var taken: Set<BareJID> = []
        var rest = addresses[...]
        while !rest.isEmpty {
            let found = await withTaskGroup(of: Result<BareJID?, StoreError>.self) { [store = router.store] group in
                for address in rest.prefix(Self.readsMax) { group.addTask { await Self.taken(address, in: store) } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            do throws(StoreError) { for each in found { if let address = try each.get() { taken.insert(address) } } } catch { throw .store(error) }
            rest = rest.dropFirst(Self.readsMax)
        }
        return taken
    }

    private static func taken(_ address: BareJID, in store: any Store) async -> Result<BareJID?, StoreError> {
        do throws(StoreError) { return .success(try await store.credentials(of: address).map { _ in address }) } catch { return .failure(error) }
    }

    private enum Way {
        /// There is no account at the address.
        case free
        /// The account that is there is the entry's now.
        case settled
        case refused(String)
    }

    private func makeWay(for person: DirectoryPerson) async throws(AccountRefusal) -> Way {
        let (identity, known): (StoredIdentity?, DirectoryLink?)
        do throws(StoreError) {
            identity = try await router.store.credentials(of: person.address)
            known = try await router.store.directoryLink(of: person.address)
        } catch {
            throw .store(error)
        }
        guard identity != nil else { return .free }
        guard let known else {
            guard adoptsLocalAccounts else { return .refused("there is an account of that address that is not the directory's") }
            try await link(person)
            return .settled
        }
        if known.entry == person.entry {
            try await router.setEnabled(person.address, true, by: Self.name, on: mailbox)
            try await link(person)
            return .settled
        }
        guard known.gone != nil else { return .refused("the address is that of another entry") }
        try await router.quarantine(person.address, by: Self.name, on: mailbox)
        return .free
    }

    private func create(_ people: [DirectoryPerson]) async throws(AccountRefusal) {
        guard !people.isEmpty else { return }
        let links = people.map { Write.account(.link($0.address, DirectoryLink($0.entry))) }
        try await router.createAccounts(people.map { AccountCreation($0.address, []) }, with: links, by: Self.name, on: mailbox)
        for person in people { accounts[person.entry] = person.address }
    }

    private func link(_ person: DirectoryPerson) async throws(AccountRefusal) {
        try await commit([.account(.link(person.address, DirectoryLink(person.entry)))])
        accounts[person.entry] = person.address
        router.audit.record(.accountLinked(person.address, person.entry))
    }

    // MARK: Going

    /// The directory has no such entry any more, or none that may log in: the account's sessions end, nobody comes in any more.
    package func dismiss(_ entry: EntryUUID) async throws(AccountRefusal) {
        guard let address = accounts[entry] else { return }
        // In this order: what a crash cuts off is finished at the next start.
        let gone = DirectoryLink(entry, gone: time.wallMilliseconds)
        // No tokens of devices are left, nor passwords for applications, if the entry comes back.
        try await commit([.account(.link(address, gone)), .account(.setCredentials(address, []))])
        accounts[entry] = nil
        try await disable(address)
        router.audit.record(.accountGone(address, entry))
    }

    /// The person has another password, or other keys: whoever has come in by the old ones is out.
    ///
    /// - Parameter survivor: the session that has changed them.
    package func credentialsChanged(of address: BareJID, sparing survivor: FullJID? = nil) async throws(AccountRefusal) {
        try await router.setCredentials(of: address, [], sparing: survivor, by: Self.name, on: mailbox)
    }

    private func disable(_ address: BareJID) async throws(AccountRefusal) {
        try await router.setEnabled(address, false, by: Self.name, on: mailbox)
    }

    /// Deletes the accounts whose entry has been gone since before a moment, in milliseconds since 1970.
    ///
    /// - Returns: how many.
    package func deleteGone(before moment: Int64) async throws(AccountRefusal) -> Int {
        var last: BareJID?
        var count = 0
        while true {
            let page = try await page(after: last)
            for account in page {
                guard let gone = account.link.gone, gone < moment else { continue }
                try await router.delete(account.address, by: Self.name, on: mailbox)
                count += 1
            }
            guard page.count == Self.batchMax else { return count }
            last = page.last?.address
        }
    }

    private func commit(_ writes: [Write]) async throws(AccountRefusal) {
        do throws(StoreError) { try await router.store.commit(writes) } catch { throw .store(error) }
    }
}
