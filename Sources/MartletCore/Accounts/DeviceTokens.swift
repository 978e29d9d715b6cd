package import MartletXMPP

/// A client that has proved to be an account's, before it hears so.
package struct DeviceLogin: Sendable {
    package var account: BareJID
    package var device: DeviceSighting
    /// What it has proved to have, if that was a token.
    package var accepted: HashedTokenCandidate?
    package var request: FASTRequest

    package init(_ account: BareJID, _ device: DeviceSighting, accepted: HashedTokenCandidate? = nil, _ request: FASTRequest = FASTRequest()) {
        self.account = account
        self.device = device
        self.accepted = accepted
        self.request = request
    }

    /// Nothing is to be written of it. What has ended the token since it was looked up ends the log-in as well (``CredentialChanges``).
    var isSettled: Bool { accepted?.isSettled == true && request == FASTRequest(use: FASTRequest.Use()) }
}

/// The tokens by which devices log in instead of a password (XEP-0484).
///
/// A client proves by HMAC that it has its token, so that the server must be able to make that HMAC as well: a digest of the token is of no use to it, and
/// whatever is, is as good as the token. So the token itself is kept nowhere. It is made anew each time, by HMAC, of what the store has (``StoredToken``)
/// and of a secret of the server's that is not in the store; and the account, the device and the mechanism go into it.
///
/// Hence whoever gets the database, or a backup of it, can log in with nothing of it. Whoever gets the database and the secret can make every token that
/// has not expired, as whoever controls the server can. Without the secret, such as after a restore on another machine, tokens are good for nothing and
/// clients log in with their passwords.
package struct DeviceTokens: Sendable {
    package struct Settings: Hashable, Sendable {
        /// For how long a token is good, in milliseconds. What most clients know from Prosody: three weeks.
        package var lifetime: Int64 = 21 * 86_400_000
        /// A token that is older than this when it is used is followed by a new one (XEP-0484 §3.5), in milliseconds.
        package var rotationAge: Int64 = 86_400_000
        package init() {}

        /// A day is much for tokens that live for hours: half their lifetime, then.
        package init(lifetime: Int64) {
            self.lifetime = lifetime
            rotationAge = min(rotationAge, lifetime / 2)
        }
    }

    /// Shortest secret, in bytes.
    package static let secretBytesMin = 32

    private let store: any Store
    private let secret: [UInt8]
    private let settings: Settings
    private let lifetime: PasswordLifetime?
    private let time: any TimeSource
    private let random: any RandomSource

    /// - Parameters:
    ///   - secret: kept with the server's data and not in the store.
    ///   - lifetime: of passwords: no token is good for longer than the password by which it came.
    package init(
        store: any Store, secret: [UInt8], settings: Settings = Settings(), lifetime: PasswordLifetime? = nil, time: any TimeSource,
        random: any RandomSource = SystemRandom()
    ) {
        precondition(secret.count >= Self.secretBytesMin, "tokens could be guessed")
        self.store = store
        self.secret = secret
        self.settings = settings
        self.lifetime = lifetime
        self.time = time
        self.random = random
    }

    /// The same with other settings, which hold for the tokens that it gives.
    package func with(_ settings: Settings) -> DeviceTokens {
        DeviceTokens(store: store, secret: secret, settings: settings, lifetime: lifetime, time: time, random: random)
    }

    /// The tokens with which a device may log in to an account by a mechanism: the answer to ``SASLQuestion/hashedTokens(_:)``. None for an account that does
    /// not exist, as for a device that has none.
    ///
    /// - Returns: with what the store has of the account, so that nobody has to ask for it again.
    package func answer(
        _ mechanism: HashedTokenMechanism, of account: BareJID, on device: DeviceID
    ) async -> (answer: SASLAnswer, identity: StoredIdentity?) {
        do throws(StoreError) {
            let stored = try await store.credentials(of: account, with: device)
            guard let identity = stored.identity, let kept = stored.device else { return (.hashedTokens([]), stored.identity) }
            return (.hashedTokens(candidates(mechanism, among: kept, of: identity)), identity)
        } catch {
            return (.refused(.temporaryAuthFailure), nil)
        }
    }

    private func candidates(_ mechanism: HashedTokenMechanism, among device: StoredDevice, of identity: StoredIdentity) -> [HashedTokenCandidate] {
        TokenSlot.allCases.compactMap { slot in
            guard let kept = device.tokens[slot], kept.mechanism == mechanism else { return nil }
            return HashedTokenCandidate(
                token(kept, of: identity.id, device.id), slot, refusal: refusal(of: kept, identity), isSettled: slot == .current && !isAging(kept))
        }
    }

    private func refusal(of token: StoredToken, _ identity: StoredIdentity) -> SASLFailure? {
        guard identity.isEnabled else { return .accountDisabled }
        return token.expires > time.wallMilliseconds && lifetime?.isOver(identity) != true ? nil : .credentialsExpired
    }

    /// Remembers a client that has proved to be an account's, and does with its tokens what that calls for. What the result says is on disk.
    ///
    /// - Returns: a token for the client, if it is to get one: because it wants one, or because the one that it has used is getting old. Who has come in by
    ///   the password of an application gets none.
    package func conclude(_ login: DeviceLogin) async throws(SASLFailure) -> IssuedToken? {
        // Reads and a wait for the disk for nothing: 1,410 µs of the server a log-in with them, 1,120 without (docs/performance.md).
        if login.isSettled { return nil }
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await store.credentials(of: login.account) } catch { throw SASLFailure(error) }
        guard let identity else { throw .notAuthorized }
        guard identity.isEnabled else { throw .accountDisabled }
        // The password of an application gets nothing that would outlive it, and takes nothing away.
        guard login.device.applicationPassword == nil else {
            do throws(StoreError) { try await store.commit([.device(.seen(identity.id, login.device))]) } catch { throw SASLFailure(error) }
            return nil
        }
        let used = try await used(login, identity.id)
        var writes: [Write] = [.device(.seen(identity.id, login.device))]
        if let used { writes.append(.device(.use(identity.id, login.device.id, seed: used.seed, count: login.request.use?.count))) }
        if login.request.use?.invalidates == true { writes.append(.device(.withdrawTokens(identity.id, login.device.id))) }
        let next = mechanism(after: used, login).map { new($0) }
        if let next { writes.append(.device(.give(identity.id, login.device.id, next))) }
        do throws(StoreError) { try await store.commit(writes) } catch { throw SASLFailure(error) }
        return next.map { IssuedToken(token: token($0, of: identity.id, login.device.id), expires: $0.expires) }
    }

    // MARK: Steps

    /// What the store has of the token that the client has proved to have. It may have been taken away since.
    private func used(_ login: DeviceLogin, _ account: AccountID) async throws(SASLFailure) -> StoredToken? {
        guard let accepted = login.accepted else { return nil }
        let device: StoredDevice?
        do throws(StoreError) { device = try await store.device(login.device.id, of: account) } catch { throw SASLFailure(error) }
        guard let kept = device?.tokens.values.first(where: { token($0, of: account, login.device.id) == accepted.token }) else { throw .notAuthorized }
        return kept
    }

    /// For what the client gets a token, if it gets one.
    private func mechanism(after used: StoredToken?, _ login: DeviceLogin) -> HashedTokenMechanism? {
        if let wanted = login.request.wanted { return wanted }
        guard let used, login.request.use?.invalidates != true, isAging(used) else { return nil }
        return used.mechanism
    }

    private func isAging(_ token: StoredToken) -> Bool { time.wallMilliseconds - token.issued > settings.rotationAge }

    private func new(_ mechanism: HashedTokenMechanism) -> StoredToken {
        let now = time.wallMilliseconds
        return StoredToken(mechanism: mechanism, seed: random.bytes(StoredToken.seedBytes), issued: now, expires: now + settings.lifetime)
    }

    /// Everything that goes in has one length, or ends it.
    private func token(_ kept: StoredToken, of account: AccountID, _ device: DeviceID) -> HashedToken {
        let numbers = [account.raw, device.raw].flatMap { number in (0..<8).reversed().map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
        let message = Array("token".utf8) + [0] + kept.seed + numbers + Array(kept.mechanism.name.utf8)
        return HashedToken(Base64.encode(ScramHash.sha256.authenticationCode(message, key: secret)))
    }
}

extension SASLFailure {
    /// A write that is refused because of what is there was forestalled: by somebody who has revoked the token, or has said all this before.
    fileprivate init(_ error: StoreError) {
        if case .constraint = error { self = .notAuthorized } else { self = .temporaryAuthFailure }
    }
}
