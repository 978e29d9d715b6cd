import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("Entries that are followed, without a directory")
struct SubtreeEntriesTests {
    private func entry(_ name: String, _ value: String = "") -> LDAPEntry { LDAPEntry("cn=\(name),dc=example", [LDAPAttribute("cn", value)]) }

    /// Whether something has changed, of each.
    private func applied(_ effects: [FeedEffect], to entries: inout SubtreeEntries) -> [Bool] {
        var changes: [Bool] = []
        for effect in effects { changes.append(entries.apply(effect)) }
        return changes
    }

    @Test("an entry that comes, looks different, or goes is a change; one that is as it was is none")
    func changes() {
        var entries = SubtreeEntries()
        let (one, two, three) = (EntryUUID.number(1), EntryUUID.number(2), EntryUUID.number(3))
        let first = applied(
            [
                .change(.entry(one, entry("a"))), .change(.entry(one, entry("a"))), .change(.entry(one, entry("a", "x"))), .change(.entry(two, entry("b"))),
                .change(.entry(three, entry("c"))), .change(.gone(two)), .change(.gone(two)), .keepCookie([1]),
            ], to: &entries)
        #expect(first == [true, false, true, true, true, true, false, false])
        #expect(Set(entries.all) == [entry("a", "x"), entry("c")])
        let second = applied([.change(.goneNamed("CN=C, DC=example")), .change(.goneNamed("cn=nobody")), .refreshed(RefreshEnd(there: [])), .refreshed(RefreshEnd(there: []))], to: &entries)
        #expect(second == [true, false, true, false])
        #expect(entries.all.isEmpty)
    }

    @Test("so many entries, and so many octets of them, are not too large; more are")
    func bounds() {
        var many = SubtreeEntries()
        for number in 1...FollowedSubtree.entriesMax { _ = many.apply(.change(.entry(EntryUUID.number(number), LDAPEntry("cn=x")))) }
        #expect(!many.isTooLarge)
        _ = many.apply(.change(.entry(EntryUUID.number(FollowedSubtree.entriesMax + 1), LDAPEntry("cn=x"))))
        #expect(many.isTooLarge)
        var long = SubtreeEntries()
        let value = String(repeating: "x", count: FollowedSubtree.bytesMax - "cn=a,dc=example".utf8.count - "cn".utf8.count)
        _ = long.apply(.change(.entry(EntryUUID.number(1), entry("a", value))))
        #expect(!long.isTooLarge)
        _ = long.apply(.change(.entry(EntryUUID.number(1), entry("a", value + "x"))))
        #expect(long.isTooLarge)
        _ = long.apply(.change(.gone(EntryUUID.number(1))))
        #expect(!long.isTooLarge)
    }
}

@Suite("Entries that are followed as a whole", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(2)))
struct FollowedSubtreeTests {
    private static let base = "cn=martlet,dc=example,dc=org"
    private static let tree = """
        dn: \(base)
        objectClass: martletServer
        cn: martlet
        martletConfigVersion: 1
        martletSetting: log.level=info

        dn: cn=domains,\(base)
        objectClass: martletConfigEntry
        cn: domains

        """

    /// What is told, one thing after the other.
    private struct Listener {
        let subtree: FollowedSubtree
        var notices: AsyncStream<FollowedSubtree.Notice>.Iterator

        init(_ slapd: Slapd, _ detection: ChangeDetection? = nil) throws {
            let loop = MultiThreadedEventLoopGroup.singleton.any()
            let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), time: RunningClock(), log: TestDirectory.log)
            var settings = DirectoryClient.Settings()
            settings.identity = .simple(name: Slapd.service, try #require(PreparedPassword(Slapd.servicePassword)))
            let client = DirectoryClient(servers, settings, log: TestDirectory.log)
            let question = FollowedSubtree.Question(
                base: FollowedSubtreeTests.base, filter: .present("objectClass"), attributes: ["cn", "martletSetting", "martletConfigVersion"], detection: detection)
            let (stream, told) = AsyncStream<FollowedSubtree.Notice>.makeStream()
            subtree = FollowedSubtree(client, question, time: RunningClock(), timers: loop, log: TestDirectory.log) { told.yield($0) }
            notices = stream.makeAsyncIterator()
        }

        /// The names of the entries, the next time that they are told.
        mutating func names() async -> Set<String>? {
            while let notice = await notices.next() { if case .entries(let entries, _) = notice { return Set(entries.map(\.name)) } }
            return nil
        }

        mutating func waitForLoss() async {
            while let notice = await notices.next() { if case .lost = notice { return } }
        }
    }

    /// The clock that servers are left alone by.
    private struct RunningClock: TimeSource {
        var monotonic: NIODeadline { .now() }
        var wallMilliseconds: Int64 { 0 }
    }

    @Test("what there is, and what changes: entries that come, go and look different")
    func changes() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        try slapd.modify(Self.tree)
        var listener = try Listener(slapd)
        await listener.subtree.begin()
        #expect(await listener.names() == [Self.base, "cn=domains,\(Self.base)"])
        try slapd.modify("dn: cn=example.org,cn=domains,\(Self.base)\nobjectClass: martletDomain\ncn: example.org\n")
        #expect(await listener.names()?.count == 3)
        try slapd.modify("dn: \(Self.base)\nchangetype: modify\nincrement: martletConfigVersion\nmartletConfigVersion: 1\n")
        guard case .entries(let entries, _)? = await listener.notices.next() else { throw NothingTold() }
        let root = try #require(entries.first { $0.name == Self.base })
        #expect(root.attributes.contains(LDAPAttribute("martletConfigVersion", "2")))
        try slapd.delete("cn=example.org,cn=domains,\(Self.base)")
        #expect(await listener.names()?.count == 2)
        await listener.subtree.stop()
    }

    @Test("a server that goes is told of, and what was changed meanwhile when it is back")
    func loss() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        try slapd.modify(Self.tree)
        var listener = try Listener(slapd)
        await listener.subtree.begin()
        #expect(await listener.names()?.count == 2)
        slapd.stop()
        await listener.waitForLoss()
        try slapd.start()
        try slapd.modify("dn: cn=peers,\(Self.base)\nobjectClass: martletConfigEntry\ncn: peers\n")
        // Told before that, or behind it.
        var names = await listener.names()
        while names?.count == 2 { names = await listener.names() }
        #expect(names == [Self.base, "cn=domains,\(Self.base)", "cn=peers,\(Self.base)"])
        await listener.subtree.stop()
    }

    @Test("a base that is not there is told of as nothing, or as a loss, and is found when it comes")
    func absence() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        var listener = try Listener(slapd)
        await listener.subtree.begin()
        await listener.waitForLoss()
        try slapd.modify(Self.tree)
        #expect(await listener.names()?.contains(Self.base) == true)
        await listener.subtree.stop()
    }

    private struct NothingTold: Error {}
}
