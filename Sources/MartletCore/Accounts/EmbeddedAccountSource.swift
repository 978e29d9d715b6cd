package import MartletXMPP

/// Derives and checks passwords away from the event loops: PBKDF2 costs milliseconds on purpose (`reliability.md` rule 15).
package protocol PasswordWork: Sendable {
    /// Which of the keys the password fits, of those of an account and of the others, which were made with the same salt: one derivation, whatever the
    /// answer. `nil` when too many wait already: nothing can be said.
    func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck?
    /// The keys of the password that are wanted; `nil` when too many wait already, or the library failed.
    func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys?
}

/// What a password fits.
package enum PasswordCheck: Hashable, Sendable {
    case wrong
    /// The account's own, or that of an application.
    case right(application: String?)

    /// Takes milliseconds of one core: never on an event loop.
    package init(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) {
        let proved = keys.proved(by: password, others)
        self = proved.map { .right(application: $0.application) } ?? .wrong
    }
}

/// Accounts from the server's own database.
package struct EmbeddedAccountSource: AccountSource {
    private let store: any Store
    private let work: any PasswordWork
    private let simulation: ScramSimulation
    private let strongestHash: ScramHash
    private let lifetime: PasswordLifetime?

    /// - Parameters:
    ///   - simulation: makes the keys of accounts that do not exist, always the same ones for the same name.
    ///   - strongestHash: the strongest of the hashes that passwords are stored with: its keys are those that a password is checked
    ///     against, and what that costs must not tell which accounts exist (`reliability.md` rule 13).
    ///   - lifetime: of passwords, those for applications included: whoever proves one that is over is told so, and nobody else.
    package init(
        store: any Store, work: any PasswordWork, simulation: ScramSimulation, strongestHash: ScramHash = .sha512,
        lifetime: PasswordLifetime? = nil
    ) {
        self.store = store
        self.work = work
        self.simulation = simulation
        self.strongestHash = strongestHash
        self.lifetime = lifetime
    }

    package func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: account) }
        catch { return .refused(.unavailable) }
        guard let identity, let keys = identity.credentials.first(where: { $0.hash == hash }) else {
            guard let keys = try? simulation.keys(for: account, hash: hash) else { return .refused(.unavailable) }
            return .keys(keys, standing: .badCredentials)
        }
        return .keys(keys, standing: passwordStanding(of: identity), others: identity.others(beside: keys))
    }

    package func standing(of account: BareJID) async -> AccountVerdict {
        do throws(StoreError) {
            return await standing(of: account, as: try await store.credentials(of: account))
        } catch {
            return .unavailable
        }
    }

    package func standing(of account: BareJID, as stored: StoredIdentity?) async -> AccountVerdict {
        guard let stored else { return .badCredentials }
        return stored.isEnabled ? .ok : .disabled
    }

    /// What else but a password proves who somebody is has an end of its own.
    private func passwordStanding(of identity: StoredIdentity) -> AccountVerdict {
        guard identity.isEnabled else { return .disabled }
        return lifetime?.isOver(identity) == true ? .expired : .ok
    }

    package func verify(_ password: PreparedPassword, of account: BareJID) async -> PasswordVerdict {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: account) }
        catch { return PasswordVerdict(.unavailable) }
        // Whoever does not exist costs the same work.
        let stored = identity?.strongestKeys
        guard let keys = stored ?? (try? simulation.keys(for: account, hash: strongestHash)),
            let check = await work.verify(password, keys, identity?.others(beside: keys) ?? [])
        else { return PasswordVerdict(.unavailable) }
        guard let identity, stored != nil, case .right(let application) = check else { return PasswordVerdict(.badCredentials) }
        return PasswordVerdict(passwordStanding(of: identity), application: application)
    }
}

// MARK: Keys that an account lacks (XEP-0480)

extension EmbeddedAccountSource {
    package func missingKeys(of account: BareJID, _ hashes: [ScramHash], provedBy proved: ScramKeys) async -> [ScramUpgrade] {
        // Who has not asked for it loses nothing if it cannot be found out now.
        guard let identity = try? await store.credentials(of: account), identity.credentials.contains(proved), identity.applicationPasswords.isEmpty
        else { return [] }
        return missing(in: identity, account, hashes)
    }

    /// Of what password a client has made keys up nobody here can tell. So none are taken while the account has passwords for applications: they could be of
    /// one of these, which would be the account's own from then on.
    package func add(_ keys: ScramKeys, to account: BareJID, provedBy proved: ScramKeys) async -> AccountVerdict {
        do throws(StoreError) {
            guard try await store.credentials(of: account)?.applicationPasswords.isEmpty == true else { return .badCredentials }
            try await store.commit([.account(.addCredentials(account, [keys], provedBy: proved))])
            return .ok
        } catch {
            if case .constraint = error { return .badCredentials }
            return .unavailable
        }
    }

    /// The password is checked once more where something is missing, against the keys that are there now: it may have been changed since it was verified.
    package func addKeys(of password: PreparedPassword, to account: BareJID, _ hashes: [ScramHash]) async -> [ScramHash] {
        guard let identity = try? await store.credentials(of: account), let proved = identity.strongestKeys else { return [] }
        let missing = missing(in: identity, account, hashes)
        guard !missing.isEmpty, await work.verify(password, proved, []) == .right(application: nil) else { return [] }
        var added: [ScramKeys] = []
        for wanted in missing {
            if let keys = await work.keys(of: password, wanted) { added.append(keys) }
        }
        let write = Write.account(.addCredentials(account, added, provedBy: proved))
        guard !added.isEmpty, (try? await store.commit([write])) != nil else { return [] }
        return added.map(\.hash)
    }

    /// With the salt and the iterations that strangers have been told before: that the account has these keys now shows in nothing.
    private func missing(in identity: StoredIdentity, _ account: BareJID, _ hashes: [ScramHash]) -> [ScramUpgrade] {
        hashes.compactMap { hash in
            guard !identity.credentials.contains(where: { $0.hash == hash }), let told = try? simulation.keys(for: account, hash: hash) else { return nil }
            return ScramUpgrade(hash: hash, salt: told.salt, iterations: told.iterations)
        }
    }
}
