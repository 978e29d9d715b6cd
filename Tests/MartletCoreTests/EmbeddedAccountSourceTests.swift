import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import Testing

@Suite("Accounts from the server's own database")
struct EmbeddedAccountSourceTests {
    /// Remembers what it was asked to check.
    private final class Work: PasswordWork {
        let asked = NIOLockedValueBox<[ScramKeys]>([])
        func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? {
            asked.withLockedValue { $0.append(keys) }
            return PasswordCheck(password, keys, others)
        }
        func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? { nil }
    }

    @Test("a password for nobody is checked at the price of one for somebody (reliability.md rule 13)", arguments: [ScramHash.sha1, .sha256, .sha512])
    func sameWork(strongest: ScramHash) async throws {
        let store = InMemoryStore()
        let (password, wrong) = (try #require(PreparedPassword("pencil")), try #require(PreparedPassword("eraser")))
        let hashes = ScramHash.allCases.filter { $0.byteCount <= strongest.byteCount }
        let juliet = try BareJID(parsing: "juliet@capulet.example")
        let credentials = try hashes.map { try ScramKeys.derive(password: password, salt: Array(repeating: 7, count: 16), iterations: 4_096, hash: $0) }
        try await store.commit([.account(.create(juliet, credentials: credentials, isAdmin: false))])
        let work = Work()
        let simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        let accounts = EmbeddedAccountSource(store: store, work: work, simulation: simulation, strongestHash: strongest)
        for name in ["juliet", "nobody"] {
            #expect(await accounts.verify(wrong, of: try BareJID(parsing: "\(name)@capulet.example")) == PasswordVerdict(.badCredentials))
        }
        let asked = work.asked.withLockedValue { $0 }
        #expect(asked.map(\.hash) == [strongest, strongest])
        #expect(Set(asked.map(\.iterations)).count == 1)
    }

    @Test("a password for an application lets in, and says whose it is, until the account is disabled")
    func applications() async throws {
        let store = InMemoryStore()
        let (own, other) = (try #require(PreparedPassword("pencil")), try #require(PreparedPassword("eraser")))
        let juliet = try BareJID(parsing: "juliet@capulet.example")
        let credentials = try KeyPolicy(hashes: [.sha256, .sha512], iterations: 4_096).keys(of: own)
        let password = StoredApplicationPassword(name: "mail", keys: try credentials.remade(of: other), created: 1)
        try await store.commit([
            .account(.create(juliet, credentials: credentials, isAdmin: false)), .account(.addApplicationPassword(juliet, password)),
        ])
        let simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        let accounts = EmbeddedAccountSource(store: store, work: Work(), simulation: simulation)
        #expect(await accounts.verify(own, of: juliet) == PasswordVerdict(.ok))
        #expect(await accounts.verify(other, of: juliet) == PasswordVerdict(.ok, application: "mail"))
        guard case .keys(let keys, .ok, let others) = await accounts.scramKeys(of: juliet, .sha256) else { return #expect(Bool(false)) }
        #expect(keys == credentials.first && others == [ApplicationKeys(name: "mail", keys: password.keys[0])])
        try await store.commit([.account(.setEnabled(juliet, false))])
        #expect(await accounts.verify(other, of: juliet).verdict == .disabled)
    }

    @Test("a password is held against keys of a hash that all passwords of the account have keys of")
    func commonHash() async throws {
        let store = InMemoryStore()
        let (own, other) = (try #require(PreparedPassword("pencil")), try #require(PreparedPassword("eraser")))
        let juliet = try BareJID(parsing: "juliet@capulet.example")
        let credentials = try KeyPolicy(hashes: [.sha512, .sha256], iterations: 4_096).keys(of: own)
        let password = StoredApplicationPassword(name: "mail", keys: try Array(credentials.suffix(1)).remade(of: other), created: 1)
        try await store.commit([
            .account(.create(juliet, credentials: credentials, isAdmin: false)), .account(.addApplicationPassword(juliet, password)),
        ])
        let simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        let work = Work()
        let accounts = EmbeddedAccountSource(store: store, work: work, simulation: simulation)
        #expect(await accounts.verify(own, of: juliet) == PasswordVerdict(.ok))
        #expect(await accounts.verify(other, of: juliet) == PasswordVerdict(.ok, application: "mail"))
        try await store.commit([.account(.removeApplicationPassword(juliet, name: "mail"))])
        #expect(await accounts.verify(own, of: juliet) == PasswordVerdict(.ok))
        #expect(work.asked.withLockedValue { $0 }.map(\.hash) == [.sha256, .sha256, .sha512])
    }

    @Test("an account that has proved otherwise who it is comes in unless it is disabled or does not exist")
    func standing() async throws {
        let store = InMemoryStore()
        let (juliet, romeo) = (try BareJID(parsing: "juliet@capulet.example"), try BareJID(parsing: "romeo@capulet.example"))
        try await store.commit([.account(.create(juliet, credentials: [], isAdmin: false)), .account(.create(romeo, credentials: [], isAdmin: false))])
        try await store.commit([.account(.setEnabled(romeo, false))])
        let simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        let accounts = EmbeddedAccountSource(store: store, work: Work(), simulation: simulation)
        #expect(await accounts.standing(of: juliet) == .ok)
        #expect(await accounts.standing(of: romeo) == .disabled)
        #expect(await accounts.standing(of: try BareJID(parsing: "nobody@capulet.example")) == .badCredentials)
        let stored = (try await store.credentials(of: juliet), try await store.credentials(of: romeo))
        store.failReads(with: .unavailable("test"))
        #expect(await accounts.standing(of: juliet) == .unavailable)
        // Nothing is asked again that somebody has just been told.
        #expect(await accounts.standing(of: juliet, as: stored.0) == .ok)
        #expect(await accounts.standing(of: romeo, as: stored.1) == .disabled)
        #expect(await accounts.standing(of: romeo, as: nil) == .badCredentials)
    }
}
