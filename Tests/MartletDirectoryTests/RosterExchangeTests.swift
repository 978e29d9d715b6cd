import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("Rosters in OpenLDAP's server", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(3)))
struct RosterExchangeTests {
    private static let base = "ou=rosters,dc=example,dc=org"
    private static let domain = "example.org"

    private func exchange(_ server: RosterServer, _ slapd: Slapd) async throws -> RosterExchange {
        var selection = ServerSelection.Settings()
        (selection.restMin, selection.restMax) = (.milliseconds(50), .milliseconds(200))
        let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), selection, time: RosterServer.Time(), log: TestDirectory.log)
        var client = DirectoryClient.Settings()
        client.identity = .simple(name: Slapd.service, try #require(PreparedPassword(Slapd.servicePassword)))
        let tree = RosterTree(base: try DistinguishedName(Self.base), domain: try BareJID(parsing: Self.domain))
        let exchange = RosterExchange(
            try BareJID(parsing: Self.domain), follower: DirectoryClient(servers, client, log: TestDirectory.log),
            writer: DirectoryClient(servers, client, log: TestDirectory.log), server.router, on: server.mailbox, .init(tree), time: RosterServer.Time(), timers: server.loop,
            log: TestDirectory.log)
        try await server.store.commit([.rosterCopy(.domains([Self.domain]))])
        await exchange.begin()
        return exchange
    }

    /// What the directory has, as its administrator sees it.
    private func look(_ slapd: Slapd) async throws -> LDAPConnection {
        let connection = try await TestDirectory.dial().open(slapd.plain)
        let answer = try await connection.bind(as: .simple(name: Slapd.admin, try #require(PreparedPassword(Slapd.adminPassword))))
        try #require(answer.result.code == .success)
        return connection
    }

    private func name(_ contact: String, _ account: String) -> String { "xmppContact=\(contact),cn=\(account)@example.org,\(Self.base)" }

    private func entry(_ contact: String, of account: String = "alice", _ connection: LDAPConnection) async throws -> CopiedRosterItem? {
        try await connection.entry(named: name(contact, account)).map { entry throws(CopiedRosterItem.Fault) in try CopiedRosterItem(entry) }
    }

    private func item(_ name: String? = nil, _ groups: [String] = [], _ change: (inout SubscriptionState) -> Void = { _ in }) -> CopiedRosterItem {
        var state = SubscriptionState(isInRoster: true)
        change(&state)
        return CopiedRosterItem(name: name, groups: groups, state: state)
    }

    private func set(_ contact: String, _ rest: String) -> String {
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='\(contact)' \(rest)</query></iq>"
    }

    /// An entry as another program adds it.
    private func ldif(_ contact: String, _ account: String = "alice", _ rest: String = "", container: Bool = true) -> String {
        let above = container ? "dn: cn=\(account)@example.org,\(Self.base)\nobjectClass: martletConfigEntry\ncn: \(account)@example.org\n\n" : ""
        return "\(above)dn: \(name(contact, account))\nobjectClass: xmppRosterItem\nxmppContact: \(contact)\n\(rest)\n"
    }

    /// Whether something comes true within ten seconds, by the real clock: what is waited for happens in another process.
    private func eventually(_ isTrue: () async throws -> Bool) async throws -> Bool {
        let deadline = NIODeadline.now() + .seconds(10)
        while NIODeadline.now() < deadline {
            if try await isTrue() { return true }
            try await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(20)) {}.futureResult.get()
        }
        return false
    }

    // MARK: From here to there

    @Test("what a client does to its roster is in the directory")
    func client() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let exchange = try await exchange(server, slapd)
        let (alice, connection) = (try await server.client("alice"), try await look(slapd))
        server.send(set("bob@example.org", "name='Bob'><group>Friends</group><group>Work</group></item>"), by: alice)
        #expect(try await eventually { try await entry("bob@example.org", connection) == item("Bob", ["Friends", "Work"]) })
        server.send(set("bob@example.org", "name='Robert'/>"), by: alice)
        #expect(try await eventually { try await entry("bob@example.org", connection) == item("Robert") })
        server.send("<presence type='subscribe' to='bob@example.org'/>", by: alice)
        #expect(try await eventually { try await entry("bob@example.org", connection) == item("Robert") { $0.pendingOut = true } })
        let container = try await connection.entry(named: "cn=alice@example.org,\(Self.base)")
        #expect(container?.attributes.contains { $0.description == "description" } == true)
        server.send(set("bob@example.org", "subscription='remove'/>"), by: alice)
        #expect(try await eventually { try await entry("bob@example.org", connection) == nil })
        #expect(try await eventually { await exchange.status.waiting == 0 })
        // What was written came back as news, and nobody took it for an edit.
        #expect(server.roster("alice").isEmpty)
        await exchange.stop()
    }

    @Test("addresses and groups may have in them whatever they may")
    func odd() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let exchange = try await exchange(server, slapd)
        let (alice, connection) = (try await server.client("alice"), try await look(slapd))
        let contact = "#d\\27art,+agnan;=x@gascon.example"
        server.send(set(contact, "name='*)(uid=*'><group> Friends</group><group>Friends </group></item>"), by: alice)
        let tree = RosterTree(base: try DistinguishedName(Self.base), domain: try BareJID(parsing: Self.domain))
        let name = tree.name(of: RosterPlace(jid("alice"), try BareJID(parsing: contact))).description
        #expect(try await eventually { try await connection.entry(named: name).map { try CopiedRosterItem($0) } == item("*)(uid=*", [" Friends"]) })
        #expect(try await eventually { await exchange.status.waiting == 0 })
        #expect(await exchange.status.refused == 0)
        await exchange.stop()
    }

    @Test("with an account its roster goes, and who comes after it finds none of it")
    func deletion() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let exchange = try await exchange(server, slapd)
        let (alice, connection) = (try await server.client("alice"), try await look(slapd))
        server.send(set("bob@example.org", "name='Bob'/>"), by: alice)
        #expect(try await eventually { try await entry("bob@example.org", connection) != nil })
        try await server.router.delete(jid("alice"), by: "test", on: server.mailbox)
        try await server.create("alice")
        #expect(try await eventually { try await connection.entry(named: "cn=alice@example.org,\(Self.base)") == nil })
        #expect(try await eventually { await exchange.status.waiting == 0 })
        #expect(server.roster("alice").isEmpty)
        await exchange.stop()
    }

    // MARK: From there to here

    @Test("what somebody does in the directory clients are told of")
    func edits() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice", "bob")
        let exchange = try await exchange(server, slapd)
        let alice = try await server.client("alice")
        #expect(try await eventually { await exchange.status.waiting == 0 })
        try slapd.modify(ldif("bob@example.org", "alice", "xmppContactName: Bob\nxmppContactGroup: Friends\nxmppSubscription: both\n"))
        #expect(try await eventually { alice.hasHeard("type='set'", "bob@example.org", "name='Bob'", "subscription='both'") })
        let change = "dn: \(name("bob@example.org", "alice"))\nchangetype: modify\nreplace: xmppContactName\nxmppContactName: Robert\n-\nreplace: xmppSubscription\nxmppSubscription: none\n"
        try slapd.modify(change)
        #expect(try await eventually { alice.hasHeard("type='set'", "name='Robert'", "subscription='both'") })
        // What was taken away is put right.
        let connection = try await look(slapd)
        #expect(try await eventually { try await entry("bob@example.org", connection) == item("Robert", ["Friends"]) { ($0.to, $0.from) = (true, true) } })
        try slapd.delete(name("bob@example.org", "alice"))
        #expect(try await eventually { alice.hasHeard("type='set'", "bob@example.org", "subscription='remove'") })
        #expect(server.roster("alice").isEmpty)
        // Something that is no item harms nobody.
        try slapd.modify(ldif("carol@example.org", "alice", "xmppSubscription: whatever\n", container: false))
        #expect(try await eventually { await exchange.status.unusable == 1 })
        #expect(server.roster("alice").isEmpty)
        await exchange.stop()
    }

    // MARK: Without it

    @Test("while the directory is away subscriptions go on, and it is told when it is back, also after a restart")
    func away() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let first = try await exchange(server, slapd)
        let alice = try await server.client("alice")
        #expect(try await eventually { await first.status.waiting == 0 })
        slapd.stop()
        server.say("<presence type='subscribe' from='romeo@montague.example' to='alice@example.org'/>", from: "montague.example")
        #expect(try await eventually { alice.hasHeard("type='subscribe'", "romeo@montague.example") })
        server.send("<presence type='subscribed' to='romeo@montague.example'/>", by: alice)
        #expect(try await eventually { alice.hasHeard("type='set'", "subscription='from'") })
        #expect(try await eventually { await first.status.fault != nil })
        #expect(await first.status.waiting == 1)
        await first.stop()
        let again = try RosterServer(server.store)
        let second = try await exchange(again, slapd)
        #expect(try await eventually { await second.status.fault != nil })
        #expect(await second.status.waiting == 1)
        try slapd.start()
        let connection = try await look(slapd)
        #expect(try await eventually { try await entry("romeo@montague.example", connection) == item { $0.from = true } })
        #expect(try await eventually { await second.status.waiting == 0 })
        #expect(try await eventually { await second.status.fault == nil })
        await second.stop()
    }

    @Test("at first both are put together; what others did while the server was away is found out after its start")
    func starts() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let id = try #require(server.store.contents[jid("alice")]?.id)
        func own(_ contact: String, _ version: UInt64) -> Write {
            .rosterItem(id, RosterItem(contact: jid(contact), name: contact, subscription: SubscriptionState(to: true, isInRoster: true), version: version))
        }
        try await server.store.commit([own("bob", 1), own("carol", 2)])
        try slapd.modify(ldif("carol@example.org", "alice", "xmppContactName: Other\nxmppContactGroup: Ops\nxmppSubscription: from\n"))
        try slapd.modify(ldif("dave@example.org", "alice", "xmppContactName: Dave\n", container: false))
        let first = try await exchange(server, slapd)
        let connection = try await look(slapd)
        #expect(try await eventually { try await entry("bob@example.org", connection) == item("bob") { $0.to = true } })
        #expect(try await eventually { try await entry("carol@example.org", connection) == item("carol", ["Ops"]) { ($0.to, $0.from) = (true, true) } })
        #expect(try await eventually { server.roster("alice")[jid("dave")]?.name == "Dave" })
        #expect(try await eventually { await first.status.waiting == 0 })
        await first.stop()
        try slapd.delete(name("bob@example.org", "alice"))
        try slapd.modify("dn: \(name("dave@example.org", "alice"))\nchangetype: modify\nreplace: xmppContactName\nxmppContactName: David\n")
        try slapd.modify(ldif("erin@example.org", "alice", container: false))
        let again = try RosterServer(server.store)
        let second = try await exchange(again, slapd)
        #expect(try await eventually { again.roster("alice")[jid("bob")] == nil })
        #expect(try await eventually { again.roster("alice")[jid("dave")]?.name == "David" })
        #expect(try await eventually { again.roster("alice")[jid("erin")] != nil })
        #expect(Set(again.roster("alice").keys) == [jid("carol"), jid("dave"), jid("erin")])
        await second.stop()
    }

    @Test("if many items are gone at once they stay until an operator says that they are to go")
    func held() async throws {
        let (slapd, server) = (try Slapd(), try RosterServer())
        defer { withExtendedLifetime(slapd) {} }
        try await server.create("alice")
        let id = try #require(server.store.contents[jid("alice")]?.id)
        let count = SafetyBrake.accountsMin + 1
        try await server.store.commit((0..<count).map { number in
            .rosterItem(id, RosterItem(contact: jid("c\(number)"), subscription: SubscriptionState(isInRoster: true), version: UInt64(number + 1)))
        })
        let first = try await exchange(server, slapd)
        #expect(try await eventually { await first.status.items == count })
        #expect(try await eventually { await first.status.waiting == 0 })
        await first.stop()
        for number in 0..<count { try slapd.delete(name("c\(number)@example.org", "alice")) }
        let again = try RosterServer(server.store)
        let second = try await exchange(again, slapd)
        #expect(try await eventually { await second.status.heldBack == count })
        #expect(again.roster("alice").count == count)
        await second.confirm()
        #expect(try await eventually { again.roster("alice").isEmpty })
        #expect(await second.status.heldBack == 0)
        await second.stop()
    }
}
