import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("The servers of a directory", .timeLimit(.minutes(1)))
struct DirectoryServersTests {
    private static let success = LDAPResult(.success)
    private static let refused = LDAPResult(.invalidCredentials)

    /// Says yes to a bind and reads out the root DSE, once.
    @discardableResult
    private static func serve(_ server: PlayedConnection, _ result: LDAPResult = success) async throws -> LDAPMessage {
        let bind = try await server.hear()
        try await server.say(LDAPMessage(bind.id, .bindResponse(BindResponse(result))))
        guard result.code == .success else { return bind }
        let search = try await server.hear()
        let root = LDAPEntry("", [LDAPAttribute("vendorName", "played")])
        try await server.say(LDAPMessage(search.id, .searchResultEntry(root)), LDAPMessage(search.id, .searchResultDone(success)))
        return bind
    }

    private static func servers(
        _ directories: [DirectoryAddress], time: ManualTime = ManualTime(), _ change: (inout LDAPConnection.Settings) -> Void = { _ in }
    ) -> DirectoryServers {
        DirectoryServers(directories, TestDirectory.dial(change), time: time, random: SeededRandom(seed: 1), log: TestDirectory.log)
    }

    private static func client(
        _ servers: DirectoryServers, _ change: (inout DirectoryClient.Settings) -> Void = { _ in }
    ) -> DirectoryClient {
        var settings = DirectoryClient.Settings()
        change(&settings)
        return DirectoryClient(servers, settings, log: TestDirectory.log)
    }

    private static func nowhere() async throws -> DirectoryAddress {
        let gone = try await PlayedDirectory()
        try await gone.close()
        return gone.address
    }

    // MARK: The service's connection

    @Test("there is one connection for all who want one, bound as the service")
    func one() async throws {
        let directory = try await PlayedDirectory()
        let client = Self.client(Self.servers([directory.address]))
        let both = Task { try await (client.service(), client.service()) }
        let bind = try await Self.serve(try await directory.caller())
        #expect(bind.operation == .bindRequest(BindRequest("", .simple([]))))
        let (first, second) = try await both.value
        #expect(first.connection === second.connection && first.root.vendorName == "played")
    }

    @Test("a server that cannot be reached is passed over, and left alone until its rest is over")
    func passedOver() async throws {
        let (nowhere, directory, time) = (try await Self.nowhere(), try await PlayedDirectory(), ManualTime())
        let servers = Self.servers([nowhere, directory.address], time: time)
        let client = Self.client(servers)
        let service = Task { try await client.service() }
        try await Self.serve(try await directory.caller())
        #expect(try await service.value.server == 1)
        await #expect(throws: DirectoryFailure.resting) { try await servers.open(first: 1) { _ throws(DirectoryFailure) in } }
        time.advance(by: 1_000_000_000)
        do {
            _ = try await servers.open(first: 1) { _ throws(DirectoryFailure) in }
            Issue.record("nobody is there")
        } catch {
            guard case .unreachable = error else { throw error }
        }
    }

    @Test("if there is no server left it is said why, and then at once")
    func none() async throws {
        let client = Self.client(Self.servers([try await Self.nowhere()]))
        do {
            _ = try await client.service()
            Issue.record("nobody is there")
        } catch {
            guard case .unreachable = error else { throw error }
        }
        await #expect(throws: DirectoryFailure.resting) { try await client.service() }
    }

    @Test("a connection that has broken off is made anew when it is wanted")
    func anew() async throws {
        let directory = try await PlayedDirectory()
        let client = Self.client(Self.servers([directory.address]))
        let first = Task { try await client.service() }
        let server = try await directory.caller()
        try await Self.serve(server)
        let broken = try await first.value.connection
        try await server.close()
        await #expect(throws: DirectoryFailure.disconnected(nil)) { try await broken.whoAmI() }
        let second = Task { try await client.service() }
        try await Self.serve(try await directory.caller())
        #expect(try await second.value.connection !== broken)
    }

    @Test("a service that is not let in asks the next server, and does not try again at once")
    func notLetIn() async throws {
        let (directory, time) = (try await PlayedDirectory(), ManualTime())
        let client = Self.client(Self.servers([directory.address], time: time))
        let service = Task { try await client.service() }
        try await Self.serve(try await directory.caller(), Self.refused)
        await #expect(throws: DirectoryFailure.refused(Self.refused)) { try await service.value }
        time.advance(by: 29_000_000_000)
        await #expect(throws: DirectoryFailure.resting) { try await client.service() }
    }

    @Test("the first server is gone back to when it is there again, and the other is left in peace")
    func back() async throws {
        let (first, second, time) = (try await PlayedDirectory(), try await PlayedDirectory(), ManualTime())
        let port = first.port
        try await first.close()
        let servers = Self.servers([first.address, second.address], time: time)
        let client = Self.client(servers) { $0.returnInterval = .milliseconds(50) }
        let service = Task { try await client.service() }
        let other = try await second.caller()
        try await Self.serve(other)
        #expect(try await service.value.server == 1)
        let returned = try await PlayedDirectory(port: port)
        time.advance(by: 60_000_000_000)
        try await Self.serve(try await returned.caller())
        #expect(try await other.hear().operation == .unbindRequest)
        #expect(try await client.service().server == 0)
    }

    @Test("after three timeouts a server that hangs is not asked any more, and its connection ends")
    func hangs() async throws {
        let directory = try await PlayedDirectory()
        let time = ManualTime()
        let client = Self.client(Self.servers([directory.address], time: time) { $0.operationTimeout = .seconds(2) })
        let service = Task { try await client.service() }
        let server = try await directory.caller()
        try await Self.serve(server)
        let connection = try await service.value.connection
        for _ in 0..<3 { await #expect(throws: DirectoryFailure.timedOut(.seconds(2))) { try await connection.whoAmI() } }
        #expect(await !connection.isOpen)
        await #expect(throws: DirectoryFailure.resting) { try await client.service() }
        time.advance(by: 10_000_000_000)
        let again = Task { try await client.service() }
        try await Self.serve(try await directory.caller())
        #expect(try await again.value.server == 0)
    }

    @Test("who has closed the client gets nothing more from it")
    func closed() async throws {
        let directory = try await PlayedDirectory()
        let client = Self.client(Self.servers([directory.address]))
        let service = Task { try await client.service() }
        let server = try await directory.caller()
        try await Self.serve(server)
        _ = try await service.value
        await client.close()
        #expect(try await server.hear().operation == .unbindRequest)
        await #expect(throws: DirectoryFailure.closed) { try await client.service() }
    }

    // MARK: Passwords

    private static let pencil = PreparedPassword("pencil")

    private static func pool(_ servers: DirectoryServers, _ change: (inout BindPool.Settings) -> Void = { _ in }) -> BindPool {
        var settings = BindPool.Settings()
        change(&settings)
        return BindPool(servers, settings, timers: MultiThreadedEventLoopGroup.singleton.any())
    }

    @Test("one connection serves one password after the other, each with a bind of its own, which asks for the policy")
    func binds() async throws {
        let directory = try await PlayedDirectory()
        let pool = Self.pool(Self.servers([directory.address]))
        let password = try #require(Self.pencil)
        let first = Task { await pool.verify(password, of: "uid=alice") }
        let server = try await directory.caller()
        let bind = try await server.hear()
        #expect(bind.operation == .bindRequest(BindRequest("uid=alice", .simple(Array("pencil".utf8)))) && bind.controls == [.passwordPolicy])
        try await server.say(LDAPMessage(bind.id, .bindResponse(BindResponse(Self.success))))
        #expect(await first.value == .accepted(.init()))
        let second = Task { await pool.verify(password, of: "uid=bob") }
        try await server.say(LDAPMessage(try await server.hear().id, .bindResponse(BindResponse(Self.refused))))
        #expect(await second.value == .invalidCredentials)
    }

    @Test("a connection that the server has closed in the meantime is no answer")
    func stale() async throws {
        let directory = try await PlayedDirectory()
        let pool = Self.pool(Self.servers([directory.address]))
        let password = try #require(Self.pencil)
        let first = Task { await pool.verify(password, of: "uid=alice") }
        let old = try await directory.caller()
        try await old.say(LDAPMessage(try await old.hear().id, .bindResponse(BindResponse(Self.success))))
        _ = await first.value
        let second = Task { await pool.verify(password, of: "uid=alice") }
        _ = try await old.hear()
        try await old.close()
        let new = try await directory.caller()
        try await new.say(LDAPMessage(try await new.hear().id, .bindResponse(BindResponse(Self.success))))
        #expect(await second.value == .accepted(.init()))
    }

    @Test("passwords go back to the first server as well, when it is there again")
    func backToFirst() async throws {
        let (first, second, time) = (try await PlayedDirectory(), try await PlayedDirectory(), ManualTime())
        let port = first.port
        try await first.close()
        let pool = Self.pool(Self.servers([first.address, second.address], time: time))
        let password = try #require(Self.pencil)
        let asked = Task { await pool.verify(password, of: "uid=alice") }
        let other = try await second.caller()
        try await other.say(LDAPMessage(try await other.hear().id, .bindResponse(BindResponse(Self.success))))
        #expect(await asked.value == .accepted(.init()))
        let returned = try await PlayedDirectory(port: port)
        time.advance(by: 60_000_000_000)
        let again = Task { await pool.verify(password, of: "uid=alice") }
        let server = try await returned.caller()
        #expect(try await other.hear().operation == .unbindRequest)
        try await server.say(LDAPMessage(try await server.hear().id, .bindResponse(BindResponse(Self.success))))
        #expect(await again.value == .accepted(.init()))
    }

    @Test("nobody waits for a connection that is being asked whether anybody is there, or that has not said so")
    func pinged() async throws {
        let directory = try await PlayedDirectory()
        let pool = Self.pool(Self.servers([directory.address]) { ($0.pingInterval, $0.operationTimeout) = (.milliseconds(100), .seconds(1)) })
        let password = try #require(Self.pencil)
        let first = Task { await pool.verify(password, of: "uid=alice") }
        let old = try await directory.caller()
        try await old.say(LDAPMessage(try await old.hear().id, .bindResponse(BindResponse(Self.success))))
        _ = await first.value
        #expect(try await old.hear().operation == .extendedRequest(.whoAmI))
        let second = Task { await pool.verify(password, of: "uid=alice") }
        let new = try await directory.caller()
        try await new.say(LDAPMessage(try await new.hear().id, .bindResponse(BindResponse(Self.success))))
        #expect(await second.value == .accepted(.init()))
    }

    @Test("a connection whose server hangs is of no use any more, once it is left alone")
    func useless() async throws {
        let directory = try await PlayedDirectory()
        let servers = Self.servers([directory.address]) { $0.operationTimeout = .milliseconds(100) }
        let (one, other) = (
            try await servers.open { _ throws(DirectoryFailure) in }.connection, try await servers.open { _ throws(DirectoryFailure) in }.connection
        )
        for _ in 0..<3 { await #expect(throws: DirectoryFailure.timedOut(.milliseconds(100))) { try await one.whoAmI() } }
        #expect(await other.isOpen)
        await #expect(throws: DirectoryFailure.timedOut(.milliseconds(100))) { try await other.whoAmI() }
        #expect(await !other.isOpen)
    }

    @Test("a directory that is not there is unavailable, not a wrong password")
    func notThere() async throws {
        let pool = Self.pool(Self.servers([try await Self.nowhere()]))
        let password = try #require(Self.pencil)
        guard case .unavailable(.unreachable) = await pool.verify(password, of: "uid=alice") else {
            Issue.record("it was reached")
            return
        }
        #expect(await pool.verify(password, of: "uid=alice") == .unavailable(.resting))
    }

    @Test("so many are verified at a time, so many wait, and no more")
    func bounded() async throws {
        let directory = try await PlayedDirectory()
        let pool = Self.pool(Self.servers([directory.address])) { ($0.connectionsMax, $0.waitingMax) = (1, 1) }
        let password = try #require(Self.pencil)
        let first = Task { await pool.verify(password, of: "uid=first") }
        let server = try await directory.caller()
        let asked = try await server.hear()
        // One of these waits; the other is sent away.
        let (a, b) = (Task { await pool.verify(password, of: "uid=a") }, Task { await pool.verify(password, of: "uid=b") })
        let sentAway = await withTaskGroup(of: BindVerdict.self) { group in
            group.addTask { await a.value }
            group.addTask { await b.value }
            let early = await group.next()
            try? await server.say(LDAPMessage(asked.id, .bindResponse(BindResponse(Self.success))))
            if let next = await server.next() { try? await server.say(LDAPMessage(next.id, .bindResponse(BindResponse(Self.refused)))) }
            #expect(await group.next() == .invalidCredentials)
            return early
        }
        #expect(sentAway == .unavailable(.tooMany))
        #expect(await first.value == .accepted(.init()))
    }

    @Test("who waits, waits so long and no longer")
    func patience() async throws {
        let directory = try await PlayedDirectory()
        let pool = Self.pool(Self.servers([directory.address])) { ($0.connectionsMax, $0.patience) = (1, .milliseconds(50)) }
        let password = try #require(Self.pencil)
        let first = Task { await pool.verify(password, of: "uid=first") }
        let server = try await directory.caller()
        let asked = try await server.hear()
        #expect(await pool.verify(password, of: "uid=second") == .unavailable(.tooMany))
        try await server.say(LDAPMessage(asked.id, .bindResponse(BindResponse(Self.success))))
        #expect(await first.value == .accepted(.init()))
    }
}
