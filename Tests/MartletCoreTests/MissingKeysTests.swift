import MartletCore
import MartletXMPP
import NIOConcurrencyHelpers
import Testing

@Suite("Keys that an account lacks, and gets as somebody logs in to it (XEP-0480)")
struct MissingKeysTests {
    /// Does all of it, and counts it.
    private final class Work: PasswordWork {
        let count = NIOLockedValueBox(0)
        func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? {
            count.withLockedValue { $0 += 1 }
            return PasswordCheck(password, keys, others)
        }
        func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? {
            count.withLockedValue { $0 += 1 }
            return try? ScramKeys.derive(password: password, salt: wanted.salt, iterations: wanted.iterations, hash: wanted.hash)
        }
    }

    private let store = InMemoryStore()
    private let work = Work()
    private let simulation: ScramSimulation
    private let accounts: EmbeddedAccountSource
    private let juliet: BareJID
    private let pencil: PreparedPassword
    private let old: ScramKeys

    /// Juliet has come from a server that knew SCRAM-SHA-1 only.
    init() async throws {
        simulation = try ScramSimulation(secret: Array(repeating: 1, count: 32), iterations: 4_096)
        accounts = EmbeddedAccountSource(store: store, work: work, simulation: simulation)
        juliet = try BareJID(parsing: "juliet@capulet.example")
        pencil = try #require(PreparedPassword("pencil"))
        old = try ScramKeys.derive(password: pencil, salt: Array(repeating: 7, count: 16), iterations: 4_096, hash: .sha1)
        try await store.commit([.account(.create(juliet, credentials: [old], isAdmin: false))])
    }

    private var stored: Set<ScramKeys> {
        get async throws { Set(try #require(try await store.credentials(of: juliet)).credentials) }
    }

    private func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) throws -> ScramKeys {
        try ScramKeys.derive(password: password, salt: wanted.salt, iterations: wanted.iterations, hash: wanted.hash)
    }

    @Test("an account with passwords for applications is given no keys by its clients: nobody can tell of which password they are")
    func application() async throws {
        let wanted = try #require(await accounts.missingKeys(of: juliet, [.sha512], provedBy: old).first)
        let other = try #require(PreparedPassword("of an application"))
        let password = StoredApplicationPassword(name: "mail", keys: try [old].remade(of: other), created: 1)
        try await store.commit([.account(.addApplicationPassword(juliet, password))])
        #expect(await accounts.missingKeys(of: juliet, [.sha512], provedBy: old) == [])
        #expect(await accounts.add(try keys(of: other, wanted), to: juliet, provedBy: old) == .badCredentials)
        #expect(try await stored == [old])
    }

    @Test("what is missing is told in the order in which it was asked for, with the salt that strangers were told before (reliability.md rule 13)")
    func missing() async throws {
        let missing = await accounts.missingKeys(of: juliet, [.sha512, .sha256, .sha1], provedBy: old)
        #expect(missing.map(\.hash) == [.sha512, .sha256])
        guard case .keys(let told, .badCredentials, _) = await accounts.scramKeys(of: juliet, .sha512) else { Issue.record("no keys"); return }
        #expect(missing.first == ScramUpgrade(hash: .sha512, salt: told.salt, iterations: told.iterations))
        let wanted = try #require(missing.first)
        #expect(await accounts.add(try keys(of: pencil, wanted), to: juliet, provedBy: old) == .ok)
        guard case .keys(let new, .ok, _) = await accounts.scramKeys(of: juliet, .sha512) else { Issue.record("no keys"); return }
        #expect(new.salt == told.salt && new.iterations == told.iterations && new.verify(pencil))
        #expect(await accounts.missingKeys(of: juliet, [.sha512, .sha256], provedBy: old).map(\.hash) == [.sha256])
    }

    @Test("an account that lacks keys answers to a mechanism that needs them as one that does not exist does (reliability.md rule 13)")
    func looksLikeNobody() async throws {
        for name in ["juliet", "nobody"] {
            let address = try BareJID(parsing: "\(name)@capulet.example")
            guard case .keys(let keys, .badCredentials, _) = await accounts.scramKeys(of: address, .sha512) else { Issue.record("no keys"); continue }
            #expect(keys == (try simulation.keys(for: address, hash: .sha512)))
        }
    }

    @Test("who has proved to know something else than the account's password now is told of nothing, and adds nothing")
    func othersKeys() async throws {
        let other = try ScramKeys.derive(password: pencil, salt: Array(repeating: 8, count: 16), iterations: 4_096, hash: .sha1)
        #expect(await accounts.missingKeys(of: juliet, [.sha512], provedBy: other).isEmpty)
        #expect(await accounts.missingKeys(of: try BareJID(parsing: "nobody@capulet.example"), [.sha512], provedBy: old).isEmpty)
        let wanted = try #require(await accounts.missingKeys(of: juliet, [.sha512], provedBy: old).first)
        // The password is changed while the client computes.
        let crayon = try #require(PreparedPassword("crayon"))
        let new = try ScramKeys.derive(password: crayon, salt: Array(repeating: 9, count: 16), iterations: 4_096, hash: .sha1)
        try await store.commit([.account(.setCredentials(juliet, [new]))])
        #expect(await accounts.add(try keys(of: pencil, wanted), to: juliet, provedBy: old) == .badCredentials)
        #expect(try await stored == [new])
    }

    @Test("two clients that compute the same at once both come in")
    func twice() async throws {
        let wanted = try #require(await accounts.missingKeys(of: juliet, [.sha256], provedBy: old).first)
        let keys = try keys(of: pencil, wanted)
        #expect(await accounts.add(keys, to: juliet, provedBy: old) == .ok)
        #expect(await accounts.add(keys, to: juliet, provedBy: old) == .ok)
        #expect(try await stored == [old, keys])
    }

    @Test("of a password that was told the server makes what is missing, once")
    func byPassword() async throws {
        #expect(await accounts.addKeys(of: pencil, to: juliet, [.sha512, .sha256]) == [.sha512, .sha256])
        #expect(try await stored.map(\.hash).count == 3)
        let stored = try await stored
        #expect(stored.allSatisfy { $0.verify(pencil) })
        let before = work.count.withLockedValue { $0 }
        #expect(await accounts.addKeys(of: pencil, to: juliet, [.sha512, .sha256]) == [])
        #expect(work.count.withLockedValue { $0 } == before)
    }

    @Test("of what is not the account's password, or is not any more, nothing is made")
    func byOtherPassword() async throws {
        let crayon = try #require(PreparedPassword("crayon"))
        #expect(await accounts.addKeys(of: crayon, to: juliet, [.sha512]) == [])
        #expect(await accounts.addKeys(of: pencil, to: try BareJID(parsing: "nobody@capulet.example"), [.sha512]) == [])
        #expect(try await stored == [old])
    }
}
