import MartletCore
import MartletDirectory
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

@Suite("Accounts while OpenLDAP's server is away", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(1)))
struct DirectoryLossTests {
    private func name(_ person: String) -> String { FollowedDomain.name(person) }

    private static func isLost(_ contact: DirectoryContact) -> Bool { if case .lost = contact { true } else { false } }

    // MARK: Connections

    @Test(
        "who was deleted while the connection was lost is out when it is back: the server remembers it, or goes through all (RFC 4533 §3.3.1, §3.3.2)",
        arguments: [true, false])
    func deletedMeanwhile(hasSessionLog: Bool) async throws {
        let slapd = try Slapd { $0.hasSessionLog = hasSessionLog }
        let relay = try await DirectoryRelay(to: slapd.port)
        try await FollowedDomain.with(slapd) { $0.address = relay.address } _: { domain in
            await until { domain.account("carol") != nil }
            let (alice, bob) = (await domain.session("alice"), await domain.session("bob"))
            try await relay.cut()
            await until { Self.isLost(domain.contact) }
            try slapd.delete(name("bob"))
            try slapd.modify(ldif("dave"))
            #expect(bob.state == .goesOn)
            try await relay.open()
            await domain.followedAgain()
            await until { bob.state == .ended(.notAuthorized) }
            await until { domain.account("dave") != nil }
            #expect(alice.state == .goesOn && domain.account("alice")?.isEnabled == true)
        }
        try await relay.cut()
    }

    @Test("one that was killed and has started again is followed again, and forgets nobody")
    func killed() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            let alice = await domain.session("alice")
            slapd.kill(SIGKILL)
            await until { Self.isLost(domain.contact) }
            #expect(await [domain.scram("alice", "alicepw"), domain.plain("alice", "alicepw")] == [.ok, .ok])
            try slapd.start()
            await domain.followedAgain()
            try slapd.modify(ldif("dave"))
            await until { domain.account("dave") != nil }
            #expect(alice.state == .goesOn && domain.audit.changedPasswords.isEmpty)
        }
    }

    @Test("while it hangs keys let people in, a bind is nobody's fault, and what happened is found out when it goes on")
    func frozen() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { options in
            (options.connection.pingInterval, options.connection.operationTimeout) = (.milliseconds(200), .seconds(1))
        } _: { domain in
            await until { domain.account("carol") != nil }
            let alice = await domain.session("alice")
            slapd.kill(SIGSTOP)
            #expect(await [domain.scram("alice", "alicepw"), domain.scram("alice", "wrong")] == [.ok, .badCredentials])
            // He has no keys.
            #expect(await domain.plain("bob", "bobpw") == .unavailable)
            await until { Self.isLost(domain.contact) }
            #expect(await domain.scram("alice", "alicepw") == .ok)
            slapd.kill(SIGCONT)
            await domain.followedAgain()
            try slapd.modify(replacement("alice", "xmppEnabled", "FALSE"))
            await until { alice.state == .ended(.notAuthorized) }
        }
    }

    @Test("what was known last is good enough for a day, and not for longer")
    func stale() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("alice") != nil }
            let alice = await domain.session("alice")
            slapd.kill(SIGKILL)
            await until { Self.isLost(domain.contact) }
            guard case .lost(let since) = domain.contact else { return }
            let left = since + PeopleDirectory.staleMillisecondsMaxDefault - domain.time.wallMilliseconds
            domain.time.advance(by: left * 1_000_000)
            #expect(await domain.scram("alice", "alicepw") == .ok)
            domain.time.advance(by: 1_000_000)
            #expect(await [domain.scram("alice", "alicepw"), domain.scram("nobody", "alicepw")] == [.unavailable, .unavailable])
            #expect(alice.state == .goesOn)
        }
    }

    // MARK: Starts

    @Test("a start without the directory knows whose accounts there are, and tells nobody that his password is wrong")
    func startWithout() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            await domain.stop()
            slapd.kill(SIGKILL)
            try await domain.startAgain()
            #expect(Self.isLost(domain.contact) && domain.service.people.count == 3)
            // Keys are never on disk.
            for person in ["alice", "nobody"] {
                for password in ["alicepw", "wrong"] {
                    #expect(await [domain.scram(person, password), domain.plain(person, password)] == [.unavailable, .unavailable])
                }
            }
            #expect(await [domain.accounts.standing(of: jid("alice")), domain.accounts.standing(of: jid("nobody"))] == [.ok, .badCredentials])
            try slapd.start()
            await domain.followedAgain()
            #expect(await [domain.scram("alice", "alicepw"), domain.scram("nobody", "alicepw")] == [.ok, .badCredentials])
        }
    }

    @Test("a start finds the passwords that have not changed meanwhile the same: sessions that are resumed go on, and devices stay known")
    func startFindsSamePasswords() async throws {
        let slapd = try Slapd()
        for (person, password) in [("alice", "alicepw"), ("bob", "bobpw")] { try slapd.setPassword(password, of: name(person)) }
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            let (alice, bob, carol) = (await domain.session("alice"), await domain.session("bob"), await domain.session("carol"))
            await domain.stop()
            try slapd.setPassword("montague", of: name("bob"))
            try slapd.setPassword("carolpw", of: name("carol"))
            try await domain.startAgain()
            await until { Set(domain.audit.changedPasswords) == [jid("bob"), jid("carol")] }
            await until { bob.state == .ended(.reset) && carol.state == .ended(.reset) }
            #expect(alice.state == .goesOn)
        }
    }

    @Test("who came after the last snapshot stays until the directory itself has been asked")
    func olderSnapshot() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            await domain.pass(.milliseconds(100)) { domain.hasSnapshot }
            try slapd.modify(ldif("dave"))
            await until { domain.account("dave") != nil }
            // It dies: nothing is written any more, and its successor begins.
            try domain.keepSnapshot()
            await domain.stop()
            try domain.bringBackSnapshot()
            slapd.kill(SIGKILL)
            try await domain.startAgain()
            #expect(domain.account("dave")?.isEnabled == true && domain.service.people.count == 3)
            try slapd.start()
            await domain.followedAgain()
            #expect(domain.account("dave")?.isEnabled == true && domain.service.people.count == 4)
        }
    }

    @Test("who has an account, and is in no snapshot nor in the directory, is out when that has been asked")
    func goneBeforeStart() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            await domain.stop()
            try domain.removeSnapshot()
            try slapd.delete(name("bob"))
            try await domain.startAgain()
            await until { domain.account("bob")?.isEnabled == false }
            #expect(domain.account("alice")?.isEnabled == true)
        }
    }

    // MARK: Many at once

    private func crew(_ count: Int) -> String { (0..<count).map { ldif("crew\($0)") }.joined(separator: "\n") }

    /// Twenty who vanish between two starts.
    private func vanish(_ slapd: Slapd, _ domain: FollowedDomain) async throws -> SessionEnd {
        await until { domain.account("crew19") != nil }
        let session = await domain.session("crew0")
        await domain.stop()
        for number in 0..<20 { try slapd.delete(name("crew\(number)")) }
        try await domain.startAgain()
        await until { await domain.service.status.heldBack == 20 }
        return session
    }

    @Test("accounts that would vanish all at once stay, until an operator says that it is meant")
    func confirmed() async throws {
        let slapd = try Slapd()
        try slapd.modify(crew(20))
        try await FollowedDomain.with(slapd) { domain in
            let session = try await vanish(slapd, domain)
            #expect(session.state == .goesOn && domain.account("crew0")?.isEnabled == true && domain.account("crew19")?.isEnabled == true)
            await domain.service.confirm()
            await until { session.state == .ended(.notAuthorized) }
            #expect(domain.account("crew19")?.isEnabled == false && domain.account("alice")?.isEnabled == true)
            #expect(await domain.service.status.heldBack == 0)
        }
    }

    @Test("or until another look, ten minutes later, finds the same")
    func secondLook() async throws {
        let slapd = try Slapd()
        try slapd.modify(crew(20))
        try await FollowedDomain.with(slapd) { domain in
            let session = try await vanish(slapd, domain)
            await until { domain.contact == .live }
            await domain.pass(.milliseconds(SafetyBrake.secondLookMilliseconds - 1))
            #expect(session.state == .goesOn)
            await domain.pass(.milliseconds(100)) { session.state == .ended(.notAuthorized) }
            await until { domain.account("crew19")?.isEnabled == false }
            #expect(await domain.service.status.heldBack == 0 && domain.account("alice")?.isEnabled == true)
        }
    }
}
