package import MartletXMPP

/// The passwords that an account has beside its own, each for one application: the one way of making and of ending one, with its line in the audit log.
extension Router {
    package func applicationPasswords(of address: BareJID) async throws(AccountRefusal) -> StoredIdentity {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: address) } catch { throw .store(error) }
        guard let identity else { throw .noAccount(address) }
        return identity
    }

    /// On disk when it returns.
    package func addApplicationPassword(_ password: StoredApplicationPassword, to address: BareJID, by: String) async throws(AccountRefusal) {
        _ = try await applicationPasswords(of: address)
        do throws(StoreError) { try await store.commit([.account(.addApplicationPassword(address, password))]) } catch { throw .store(error) }
        audit.record(.applicationPasswordMade(address, name: password.name, by: by))
    }

    /// It is gone from the disk before its sessions end, and whoever has been let in by it and has no session yet gets none.
    package func removeApplicationPassword(_ name: String, of address: BareJID, by: String) async throws(AccountRefusal) {
        _ = try await applicationPasswords(of: address)
        do throws(StoreError) { try await store.commit([.account(.removeApplicationPassword(address, name: name))]) } catch { throw .store(error) }
        credentials.changed(address, in: placement)
        endSessions(of: address, by: name, StreamError(.notAuthorized, "the password of this application was revoked"))
        audit.record(.applicationPasswordRevoked(address, name: name, by: by))
    }

    /// By which of them the sessions of a device have come in.
    func applications(on device: DeviceID, of account: BareJID) -> Set<String> {
        let shard = placement.shard(of: account)
        return shard.withLock {
            Set(shard.home(account)?.sessions.lazy.filter { $0.device == device }.compactMap(\.ref.application) ?? [])
        }
    }
}

extension AccountRefusal {
    /// What is in the way, where whoever asked may change that.
    package var conflict: String? {
        if case .store(.constraint(let why)) = self { why } else { nil }
    }
}
