import MartletCore
import MartletTesting
import MartletXMPP
import Testing

@Suite("What passwords must be, and for how long they are good")
struct PasswordRulesTests {
    private let juliet: BareJID

    init() throws { juliet = try BareJID(parsing: "juliet@capulet.example") }

    private func fault(_ text: String, _ rules: PasswordRules) -> PasswordRules.Fault? {
        do throws(PasswordRules.Fault) {
            _ = try rules.checked(text, for: juliet)
            return nil
        } catch { return error }
    }

    @Test("a password has as many characters as the operator wants, counted as people count them")
    func length() {
        let rules = PasswordRules(charactersMin: 8)
        #expect(fault("1234567", rules) == .tooShort(charactersMin: 8))
        #expect(fault("12345678", rules) == nil)
        #expect(fault("pässwör", rules) == .tooShort(charactersMin: 8))
        #expect(fault("pässwörd", rules) == nil)
        #expect(fault("x", PasswordRules()) == nil)
        #expect(fault("", PasswordRules()) == .unusable)
        #expect(fault("x\u{7}", PasswordRules()) == .unusable)
    }

    @Test("the account's name, its domain and its address are none, whatever the case")
    func name() {
        for text in ["juliet", "JULIET", "capulet.example", "Juliet@Capulet.example"] { #expect(fault(text, PasswordRules()) == .name) }
        #expect(fault("juliet2", PasswordRules()) == nil)
    }

    @Test("a password on the operator's list is none, whatever the case of its letters")
    func list() throws {
        let list = try #require(RefusedPasswords(lines: Array("123456\r\npassword\n\nLetMeIn\npassword".utf8)))
        #expect(list.count == 4)
        let rules = PasswordRules(refused: list)
        for text in ["123456", "password", "PassWord", "LetMeIn", "letmein"] { #expect(fault(text, rules) == .refused) }
        for text in ["1234567", "passwort", "Password "] { #expect(fault(text, rules) == nil) }
        let marked = PasswordRules(refused: try #require(RefusedPasswords(lines: [0xEF, 0xBB, 0xBF] + Array("first\ncafé-au-lait".utf8))))
        for text in ["first", "First", "CAFÉ-AU-LAIT"] { #expect(fault(text, marked) == .refused) }
    }

    @Test("a list has as many lines as may be, and no more")
    func longList() {
        #expect(RefusedPasswords(lines: Array("a\nb\nc".utf8), countMax: 3)?.count == 3)
        #expect(RefusedPasswords(lines: Array("a\nb\nc\nd".utf8), countMax: 3) == nil)
    }

    @Test("who proves a password that is too old is told so, by whatever of it, and nobody else; a new one is good again")
    func lifetime() async throws {
        let time = ManualTime()
        let store = InMemoryStore(time: time)
        let (own, other, wrong) = (PreparedPassword("pencil"), PreparedPassword("eraser"), PreparedPassword("ruler"))
        let credentials = try KeyPolicy(hashes: [.sha256], iterations: 4_096).keys(of: try #require(own))
        let password = StoredApplicationPassword(name: "mail", keys: try credentials.remade(of: try #require(other)), created: 1)
        try await store.commit([
            .account(.create(juliet, credentials: credentials, isAdmin: false)), .account(.addApplicationPassword(juliet, password)),
        ])
        let lifetime = PasswordLifetime(milliseconds: 1_000, time: time)
        let simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        let accounts = EmbeddedAccountSource(store: store, work: AtOnce(), simulation: simulation, strongestHash: .sha256, lifetime: lifetime)
        func verdicts() async throws -> [AccountVerdict] {
            var verdicts: [AccountVerdict] = []
            for password in [own, other, wrong] { verdicts.append(await accounts.verify(try #require(password), of: juliet).verdict) }
            return verdicts
        }
        time.advance(by: 999_000_000)
        #expect(try await verdicts() == [.ok, .ok, .badCredentials])
        time.advance(by: 1_000_000)
        #expect(try await verdicts() == [.expired, .expired, .badCredentials])
        guard case .keys(_, .expired, _) = await accounts.scramKeys(of: juliet, .sha256) else { return #expect(Bool(false)) }
        // A certificate has an end of its own.
        #expect(await accounts.standing(of: juliet) == .ok)
        lifetime.set(milliseconds: 0)
        #expect(try await verdicts() == [.ok, .ok, .badCredentials])
        lifetime.set(milliseconds: 1_000)
        try await store.commit([.account(.setCredentials(juliet, credentials))])
        #expect(try await verdicts() == [.ok, .badCredentials, .badCredentials])
        try await store.commit([.account(.setEnabled(juliet, false))])
        time.advance(by: 1_000_000_000)
        #expect(try await verdicts() == [.disabled, .badCredentials, .badCredentials])
    }

    @Test("until when a password is good is known of accounts that have one, where there is an end, and of nobody who cannot be looked up")
    func expiry() async throws {
        let time = ManualTime()
        let store = InMemoryStore(time: time)
        let credentials = try KeyPolicy(hashes: [.sha256], iterations: 4_096).keys(of: try #require(PreparedPassword("pencil")))
        let romeo = try BareJID(parsing: "romeo@capulet.example")
        try await store.commit([
            .account(.create(juliet, credentials: credentials, isAdmin: false)), .account(.create(romeo, credentials: [], isAdmin: false)),
        ])
        let lifetime = PasswordLifetime(milliseconds: 1_000, time: time)
        let expiry = EmbeddedPasswordExpiry(store: store, lifetime: lifetime)
        #expect(expiry.isPossible)
        #expect(await expiry.passwordEnd(of: juliet) == time.wallMilliseconds + 1_000)
        #expect(await expiry.passwordEnd(of: romeo) == nil)
        #expect(await expiry.passwordEnd(of: try BareJID(parsing: "nobody@capulet.example")) == nil)
        lifetime.set(milliseconds: 0)
        #expect(!expiry.isPossible)
        #expect(await expiry.passwordEnd(of: juliet) == nil)
        lifetime.set(milliseconds: 1_000)
        store.failReads(with: .unavailable("test"))
        #expect(await expiry.passwordEnd(of: juliet) == nil)
    }

    private struct AtOnce: PasswordWork {
        func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? {
            PasswordCheck(password, keys, others)
        }
        func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? { nil }
    }
}
