package import MartletXMPP

/// What became of an order to take a device's access away (XEP-0494 §3.2).
package enum DeviceRevocation: Hashable, Sendable {
    /// It cannot come back.
    case revoked
    /// Its tokens and sessions have ended, but it has shown the password, and may do so again until there is a new one.
    case passwordRemains
    /// The same, but it has shown a certificate, which may be good for as long as the account source believes it.
    case certificateRemains
    /// The same, but it has come in by a token of an authorization server (RFC 7628), which may give it others.
    case grantRemains

    init(of proofs: DeviceProofs) {
        if proofs.contains(.password) {
            self = .passwordRemains
        } else if proofs.contains(.certificate) {
            self = .certificateRemains
        } else {
            self = proofs.contains(.grant) ? .grantRemains : .revoked
        }
    }
}

/// Why an order about a device was not carried out.
package enum DeviceRefusal: Error, Hashable, Sendable {
    case noAccount(BareJID)
    case noDevice
    case store(StoreError)

    package var stanzaError: StanzaError {
        switch self {
        case .noAccount, .noDevice: .itemNotFound("there is no such client")
        case .store(let error): StanzaError(refusal: error)
        }
    }
}

/// On what the clients of an account run (XEP-0494). Written when a session begins and when it ends, if that says anything new (``NotedDevices``), and never by
/// a stanza.
extension Router {
    /// Under the lock: a session of the home's has begun.
    func note(_ device: DeviceSighting, at index: Int, _ home: AccountHome, _ context: LoopContext) {
        home.sessions[index].device = device.id
        home.sessions[index].proof.hasGrant = device.proofs.contains(.grant)
        let device = remembered(device)
        guard home.devices.see(device) else { return }
        write(.seen(home.id, device), home, context)
    }

    /// Under the lock. What the disk refuses is not taken for written.
    private func write(_ change: DeviceChange, _ home: AccountHome, _ context: LoopContext) {
        let ticket = store.submit([.device(change)])
        home.lastTicket = ticket
        context.afterCommit(ticket) { [weak home] _, outcome in
            guard case .failure = outcome, let home else { return }
            home.shard.withLock { home.forgetDevices() }
        }
    }

    private func remembered(_ device: DeviceSighting) -> DeviceSighting {
        guard !settings.keepsDeviceNames else { return device }
        var nameless = device
        (nameless.software, nameless.name) = (nil, nil)
        return nameless
    }

    /// What a log-in means for the tokens of its device (XEP-0484), before its client hears of it. A new password is not outlived: of a token that was
    /// given beside it nobody is told.
    ///
    /// - Parameter moment: when the account source was asked.
    package func conclude(
        _ login: DeviceLogin, authenticatedAt moment: CredentialMoment, _ tokens: DeviceTokens
    ) async throws(SASLFailure) -> IssuedToken? {
        var login = login
        login.device = remembered(login.device)
        let token = try await tokens.conclude(login)
        let shard = placement.shard(of: login.account)
        let isStill = shard.withLock {
            guard !shard.changedCredentials.hasChanged(login.account, since: moment) else { return false }
            // Where it is on disk now the session that begins need not write it again.
            if !login.isSettled { _ = shard.home(login.account)?.devices.see(login.device) }
            return true
        }
        guard isStill else { throw .notAuthorized }
        return token
    }

    /// Under the lock: it has ended.
    func noteLeft(_ entry: SessionEntry, _ home: AccountHome, _ context: LoopContext) {
        let now = context.time.wallMilliseconds
        guard let device = entry.device, home.devices.leave(device, at: now) else { return }
        write(.left(home.id, device, time: now), home, context)
    }

    /// The devices on which an account has sessions, those included that have lost their connection and may come back.
    package func connectedDevices(of account: BareJID) -> Set<DeviceID> {
        let shard = placement.shard(of: account)
        return shard.withLock { Set(shard.home(account)?.sessions.compactMap(\.device) ?? []) }
    }

    /// Takes away what a device logs in by, and ends its sessions, wherever they are.
    ///
    /// The tokens are gone from the disk before sessions end, and whoever has been let in by one and has no session yet gets none. The
    /// passwords of applications that it was the last to use end as well, and the one by which it comes in: they were made for it.
    ///
    /// - Parameter survivor: a session that goes on: the one that wants it, so that it hears what comes of it.
    package func revoke(
        _ device: DeviceID, of address: BareJID, sparing survivor: FullJID? = nil, by: String
    ) async throws(DeviceRefusal) -> DeviceRevocation {
        let (account, stored) = try await find(device, of: address)
        guard stored != nil || connectedDevices(of: address).contains(device) else { throw .noDevice }
        try await endPasswords(of: applications(on: device, of: address).union(stored?.applicationPasswords.names ?? []), address, by: by)
        // Of one that has been forgotten it is not known what it has shown.
        let outcome = DeviceRevocation(of: stored?.proofs ?? .password)
        do throws(StoreError) {
            try await store.commit([.device(outcome == .revoked ? .remove(account, device) : .withdrawTokens(account, device))])
        } catch { throw .store(error) }
        credentials.changed(address, in: placement)
        endSessions(of: address, on: device, StreamError(.notAuthorized, "the access of this client was revoked"), except: survivor)
        audit.record(.deviceRevoked(address, device: device.text, passwordRemains: outcome == .passwordRemains, by: by))
        return outcome
    }

    private func endPasswords(of applications: Set<String>, _ address: BareJID, by: String) async throws(DeviceRefusal) {
        for application in applications.sorted() {
            do throws(AccountRefusal) { try await removeApplicationPassword(application, of: address, by: by) } catch {
                switch error {
                case .noAccount(let address): throw .noAccount(address)
                // Somebody else was faster.
                case .store(.constraint): break
                case .store(let error): throw .store(error)
                }
            }
        }
    }

    /// Calls a device something, or by what it says itself.
    package func name(_ device: DeviceID, of address: BareJID, _ name: String?, by: String) async throws(DeviceRefusal) {
        let (account, stored) = try await find(device, of: address)
        guard stored != nil else { throw .noDevice }
        do throws(StoreError) { try await store.commit([.device(.label(account, device, name))]) } catch { throw .store(error) }
        audit.record(.deviceNamed(address, device: device.text, name: name ?? "", by: by))
    }

    private func find(_ device: DeviceID, of address: BareJID) async throws(DeviceRefusal) -> (AccountID, StoredDevice?) {
        do throws(StoreError) {
            if let account = try await store.credentials(of: address)?.id { return (account, try await store.device(device, of: account)) }
        } catch { throw .store(error) }
        throw .noAccount(address)
    }
}
