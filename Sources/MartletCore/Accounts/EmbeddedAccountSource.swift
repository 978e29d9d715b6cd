package import MartletXMPP

/// Derives and checks passwords away from the event loops: PBKDF2 costs milliseconds on purpose (`reliability.md` rule 15).
package protocol PasswordWork: Sendable {
    /// Whether the password fits the keys; `nil` when too many wait already: nothing can be said.
    func verify(_ password: PreparedPassword, _ keys: ScramKeys) async -> Bool?
}

/// Accounts from the server's own database.
package struct EmbeddedAccountSource: AccountSource {
    private let store: any Store
    private let work: any PasswordWork
    private let simulation: ScramSimulation
    private let strongestHash: ScramHash

    /// - Parameters:
    ///   - simulation: makes the keys of accounts that do not exist, always the same ones for the same name.
    ///   - strongestHash: the strongest of the hashes that passwords are stored with: its keys are those that a password is checked
    ///     against, and what that costs must not tell which accounts exist (`reliability.md` rule 13).
    package init(store: any Store, work: any PasswordWork, simulation: ScramSimulation, strongestHash: ScramHash = .sha512) {
        self.store = store
        self.work = work
        self.simulation = simulation
        self.strongestHash = strongestHash
    }

    package func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: account) }
        catch { return .refused(.unavailable) }
        guard let identity, let keys = identity.credentials.first(where: { $0.hash == hash }) else {
            guard let keys = try? simulation.keys(for: account, hash: hash) else { return .refused(.unavailable) }
            return .keys(keys, standing: .badCredentials)
        }
        return .keys(keys, standing: identity.isEnabled ? .ok : .disabled)
    }

    package func standing(of account: BareJID) async -> AccountVerdict {
        do throws(StoreError) {
            guard let identity = try await store.credentials(of: account) else { return .badCredentials }
            return identity.isEnabled ? .ok : .disabled
        } catch {
            return .unavailable
        }
    }

    package func verify(_ password: PreparedPassword, of account: BareJID) async -> AccountVerdict {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: account) }
        catch { return .unavailable }
        // The strongest keys that are stored; whoever does not exist costs the same work.
        let stored = identity?.credentials.max { $0.hash.byteCount < $1.hash.byteCount }
        guard let keys = stored ?? (try? simulation.keys(for: account, hash: strongestHash)),
            let isRight = await work.verify(password, keys)
        else { return .unavailable }
        guard let identity, stored != nil, isRight else { return .badCredentials }
        return identity.isEnabled ? .ok : .disabled
    }
}
