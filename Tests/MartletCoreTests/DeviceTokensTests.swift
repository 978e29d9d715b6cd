import MartletCore
import MartletTesting
import MartletXMPP
import Testing

@Suite("Tokens of devices (XEP-0484)")
struct DeviceTokensTests {
    private let store = InMemoryStore()
    private let time = ManualTime()
    private let juliet: BareJID
    private let id: AccountID
    private let phone = DeviceID(userAgent: "d4565fa7-4d72-4749-b3d3-740edbf87770")
    private static let secret = [UInt8](0..<32)
    private static let day: Int64 = 86_400_000_000_000

    init() async throws {
        juliet = try BareJID(parsing: "juliet@capulet.example")
        try await store.commit([.account(.create(juliet, credentials: [], isAdmin: false))])
        id = try #require(try await store.credentials(of: juliet)?.id)
    }

    private func tokens(secret: [UInt8] = secret, _ settings: DeviceTokens.Settings = .init()) -> DeviceTokens {
        DeviceTokens(store: store, secret: secret, settings: settings, time: time)
    }

    private func login(
        accepted: HashedToken? = nil, _ use: FASTRequest.Use? = nil, wanted: HashedTokenMechanism? = nil, on device: DeviceID? = nil
    ) -> DeviceLogin {
        let sighting = DeviceSighting(device ?? phone, software: "Client", name: "phone", by: accepted == nil ? .password : [], at: time.wallMilliseconds)
        return DeviceLogin(juliet, sighting, accepted: accepted.map { HashedTokenCandidate($0, .new) }, FASTRequest(use: use, wanted: wanted))
    }

    /// A first token, by password.
    private func first(_ mechanism: HashedTokenMechanism = .none) async throws -> HashedToken {
        try #require(try await tokens().conclude(login(wanted: mechanism))).token
    }

    private func candidates(
        _ mechanism: HashedTokenMechanism = .none, on device: DeviceID? = nil, of account: BareJID? = nil, made tokens: DeviceTokens? = nil
    ) async -> [HashedTokenCandidate]? {
        let answer = await (tokens ?? self.tokens()).answer(mechanism, of: account ?? juliet, on: device ?? phone).answer
        if case .hashedTokens(let candidates) = answer { return candidates } else { return nil }
    }

    private func failure(_ login: DeviceLogin) async -> SASLFailure.Condition? {
        do throws(SASLFailure) {
            _ = try await tokens().conclude(login)
            return nil
        } catch { return error.condition }
    }

    @Test("whoever asks for a token gets one, with when it ends, and may log in by it (§3.2, §3.3)")
    func issued() async throws {
        let issued = try #require(try await tokens().conclude(login(wanted: .exporter)))
        #expect(issued.expires == ManualTime.start + 21 * 86_400_000)
        #expect(Base64.decode(Array(issued.token.text.utf8))?.count == HashedToken.randomBits / 8)
        #expect(await candidates(.exporter) == [HashedTokenCandidate(issued.token, .new)])
        let device = try #require(try await store.device(phone, of: id))
        #expect(device.software == "Client" && device.name == "phone" && device.proofs == .password)
    }

    @Test("whoever does not ask gets none, and is remembered all the same")
    func notWanted() async throws {
        #expect(try await tokens().conclude(login()) == nil)
        #expect(try await store.device(phone, of: id)?.tokens == [:])
    }

    @Test("who has come in by the password of an application gets no token, and takes none away")
    func application() async throws {
        let key = [UInt8](repeating: 1, count: ScramHash.sha256.byteCount)
        let keys = try ScramKeys(hash: .sha256, salt: key, iterations: ScramKeys.iterationRange.lowerBound, storedKey: key, serverKey: key)
        try await store.commit([
            .account(.setCredentials(juliet, [keys])),
            .account(.addApplicationPassword(juliet, StoredApplicationPassword(name: "mail", keys: [keys], created: 0))),
        ])
        let token = try await first()
        var login = login(FASTRequest.Use(count: nil, invalidates: true), wanted: HashedTokenMechanism.none)
        login.device.applicationPassword = "mail"
        login.device.proofs = []
        #expect(try await tokens().conclude(login) == nil)
        #expect(await candidates() == [HashedTokenCandidate(token, .new)])
        #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == "mail")
    }

    @Test("a token is for its mechanism, its device and its account only (§3.4)")
    func bound() async throws {
        _ = try await first(.exporter)
        #expect(await candidates(.none) == [])
        #expect(await candidates(.serverEndPoint) == [])
        #expect(await candidates(.exporter, on: DeviceID(userAgent: "another")) == [])
        #expect(await candidates(.exporter, of: try BareJID(parsing: "nobody@capulet.example")) == [])
    }

    @Test("nothing in the store is the token, and without the server's secret it cannot be made")
    func leak() async throws {
        let token = try await first()
        let kept = try #require(try await store.device(phone, of: id)?.tokens[.new])
        #expect(Base64.encode(kept.seed) != token.text)
        let elsewhere = await candidates(made: tokens(secret: [UInt8](1..<33)))
        #expect(elsewhere?.count == 1 && elsewhere?.first?.token != token)
        #expect(await candidates()?.first?.token == token)
    }

    @Test("a token that is a day old is followed by another, and both are good until the new one is used (§3.5)")
    func rotation() async throws {
        let old = try await first()
        time.advance(by: Self.day)
        #expect(try await tokens().conclude(login(accepted: old)) == nil)
        time.advance(by: 1_000_000)
        let new = try #require(try await tokens().conclude(login(accepted: old))).token
        #expect(await candidates() == [HashedTokenCandidate(new, .new), HashedTokenCandidate(old, .current)])
        // The client never got it: another one takes its place.
        let newer = try #require(try await tokens().conclude(login(accepted: old))).token
        #expect(await candidates() == [HashedTokenCandidate(newer, .new), HashedTokenCandidate(old, .current)])
        #expect(await failure(login(accepted: new)) == .notAuthorized)
        #expect(try await tokens().conclude(login(accepted: newer)) == nil)
        #expect(await candidates() == [HashedTokenCandidate(newer, .current, isSettled: true)])
        #expect(await failure(login(accepted: old)) == .notAuthorized)
    }

    @Test("a token that was used before is used again without a write, until it is a day old, counts or is to end")
    func settled() async throws {
        let token = try await first()
        _ = try await tokens().conclude(login(accepted: token))
        let candidate = try #require(await candidates()?.first)
        #expect(candidate.isSettled)
        let before = try await store.device(phone, of: id)
        time.advance(by: 1_000_000)
        func use(_ use: FASTRequest.Use?, wanted: HashedTokenMechanism? = nil) async throws -> IssuedToken? {
            let sighting = DeviceSighting(phone, software: "Other", name: "phone", by: [], at: time.wallMilliseconds)
            return try await tokens().conclude(DeviceLogin(juliet, sighting, accepted: candidate, FASTRequest(use: use, wanted: wanted)))
        }
        #expect(try await use(FASTRequest.Use()) == nil)
        #expect(try await store.device(phone, of: id) == before)
        #expect(try await use(FASTRequest.Use(count: 1)) == nil)
        #expect(try await store.device(phone, of: id)?.tokens[.current]?.count == 1)
        #expect(try await use(FASTRequest.Use(), wanted: HashedTokenMechanism.none) != nil)
        #expect(try await use(FASTRequest.Use(invalidates: true)) == nil)
        #expect(try await store.device(phone, of: id)?.tokens == [:])
        let old = try await first()
        _ = try await tokens().conclude(login(accepted: old))
        time.advance(by: Self.day + 1_000_000)
        #expect(await candidates()?.first?.isSettled == false)
    }

    @Test("a token ends when it was said to, and its client hears that (§4.2)")
    func expiry() async throws {
        let token = try await first()
        time.advance(by: 21 * Self.day - 1_000_000)
        #expect(await candidates() == [HashedTokenCandidate(token, .new)])
        time.advance(by: 1_000_000)
        #expect(await candidates() == [HashedTokenCandidate(token, .new, refusal: .credentialsExpired)])
    }

    @Test("a number that was counted to before is refused, also of a log-in that is replayed (§3.4)")
    func count() async throws {
        let token = try await first()
        #expect(await failure(login(accepted: token, FASTRequest.Use(count: 1))) == nil)
        #expect(await failure(login(accepted: token, FASTRequest.Use(count: 1))) == .notAuthorized)
        #expect(await failure(login(accepted: token, FASTRequest.Use(count: 2))) == nil)
    }

    @Test("whoever logs out leaves no token behind, and gets none but if it asks (§3.6)")
    func invalidation() async throws {
        let old = try await first()
        time.advance(by: 2 * Self.day)
        let new = try #require(try await tokens().conclude(login(accepted: old))).token
        #expect(try await tokens().conclude(login(accepted: old, FASTRequest.Use(invalidates: true))) == nil)
        #expect(await candidates() == [])
        #expect(await failure(login(accepted: new)) == .notAuthorized)
        let other = try await first()
        let wanted = try #require(try await tokens().conclude(login(accepted: other, FASTRequest.Use(invalidates: true), wanted: HashedTokenMechanism.none)))
        #expect(await candidates() == [HashedTokenCandidate(wanted.token, .new)])
    }

    @Test("a new password ends all tokens; a disabled account's client hears why, if it has the token")
    func standing() async throws {
        let token = try await first()
        try await store.commit([.account(.setEnabled(juliet, false))])
        #expect(await candidates() == [HashedTokenCandidate(token, .new, refusal: .accountDisabled)])
        #expect(await failure(login(accepted: token)) == .accountDisabled)
        try await store.commit([.account(.setEnabled(juliet, true)), .account(.setCredentials(juliet, []))])
        #expect(await candidates() == [])
        #expect(await failure(login(accepted: token)) == .notAuthorized)
    }

    @Test("what cannot be read or written is a temporary failure, and lets nobody in (P19)")
    func unavailable() async throws {
        let token = try await first()
        store.failReads(with: .unavailable("test"))
        let (answer, identity) = await tokens().answer(.none, of: juliet, on: phone)
        #expect(answer == .refused(.temporaryAuthFailure) && identity == nil)
        #expect(await failure(login(accepted: token)) == .temporaryAuthFailure)
        store.failReads(with: nil)
        store.failSubmits(with: .full)
        #expect(await failure(login(accepted: token)) == .temporaryAuthFailure)
    }

    @Test("an account that goes meanwhile lets nobody in")
    func gone() async throws {
        let token = try await first()
        try await store.commit([.account(.delete(juliet))])
        #expect(await failure(login(accepted: token)) == .notAuthorized)
        #expect(await candidates() == [])
    }
}
