import Foundation
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

@Suite("Groups of OpenLDAP's server", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(2)))
struct DirectoryGroupServiceTests {
    private static let groups = "ou=groups,dc=example,dc=org"
    private static func name(_ group: String) -> String { "cn=\(group),\(groups)" }
    private static func member(_ person: String) -> String { "member: uid=\(person),ou=people,dc=example,dc=org\n" }
    private static func group(_ name: String, _ lines: String) -> String { "dn: \(Self.name(name))\nobjectClass: groupOfNames\ncn: \(name)\n\(lines)" }
    private static func change(_ name: String, _ what: String, _ lines: String) -> String {
        "dn: \(Self.name(name))\nchangetype: modify\n\(what): member\n\(lines)"
    }

    // MARK: Rosters

    @Test("put into rosters whom they mention, by other groups as well, and say whom a change concerns")
    func rosters() async throws {
        let slapd = try Slapd()
        try await GroupedDomain.with(slapd) { domain in
            await until { domain.seen(by: "carol") == ["alice", "bob"] }
            #expect(domain.titles(of: "alice") == ["Operators", "everyone"] && domain.titles(of: "carol") == ["everyone"])
            #expect(domain.names(of: "alice")["bob"] == "Bob Brown")
            domain.forgetTold()
            try slapd.modify(Self.change("operators", "delete", Self.member("bob")))
            await until { domain.seen(by: "carol") == ["alice"] }
            await until { domain.told == [jid("alice"), jid("bob"), jid("carol")] }
            #expect(domain.seen(by: "alice") == ["carol"] && domain.seen(by: "bob").isEmpty)
            try slapd.modify(Self.change("operators", "add", Self.member("bob")))
            await until { domain.seen(by: "bob") == ["alice", "carol"] }
            try slapd.delete(Self.name("everyone"))
            await until { domain.seen(by: "bob") == ["alice"] }
            let status = await domain.service.status
            #expect(status.groups?.contact == .live && status.groups?.groups == 1 && status.groups?.shown == 1 && status.groups?.heldBack == 0)
            #expect(status.groups?.lacksAllowGroup == false && status.groups?.fault == nil)
        }
    }

    @Test("are seen as an operator says, whatever their entries say of it")
    func rules() async throws {
        let slapd = try Slapd()
        let prepared = GroupedDomain.prepare(Self.name("operators")) ?? []
        try await GroupedDomain.with(slapd) {
            $0.rules.rules = [prepared: .init(.everybody, title: "Watch")]
        } _: { domain in
            await until { domain.titles(of: "carol") == ["Watch", "everyone"] }
            try slapd.delete(Self.name("everyone"))
            await until { domain.titles(of: "carol") == ["Watch"] }
            #expect(domain.seen(by: "carol") == ["alice", "bob"] && domain.seen(by: "alice") == ["bob"])
        }
    }

    @Test("have whom their URLs find (RFC 4516), and who logs in by a name in them (RFC 2307)")
    func urls() async throws {
        let slapd = try Slapd { $0.more = "include /etc/ldap/schema/dyngroup.schema" }
        try await GroupedDomain.with(slapd) {
            $0.filter = "(|(objectClass=groupOfURLs)(objectClass=posixGroup))"
            $0.rules.others = .members
        } _: { domain in
            let url = "ldap:///ou=people,dc=example,dc=org??sub?(|(sn=Clark)(title=Duty*))"
            try slapd.modify("dn: \(Self.name("staff"))\nobjectClass: groupOfURLs\ncn: staff\nmemberURL: \(url)\n")
            await until { domain.seen(by: "carol") == ["alice"] }
            try slapd.modify("dn: uid=bob,ou=people,dc=example,dc=org\nchangetype: modify\nreplace: title\ntitle: Duty clerk\n")
            await until { domain.seen(by: "carol") == ["alice", "bob"] }
            try slapd.modify("dn: \(Self.name("night"))\nobjectClass: posixGroup\ncn: night\ngidNumber: 100\nmemberUid: carol\nmemberUid: nobody\n")
            await until { domain.titles(of: "carol") == ["night", "staff"] }
        }
    }

    @Test("that go while nobody looks are gone at the next look, also where the server forgets what was deleted", arguments: [true, false])
    func away(hasSessionLog: Bool) async throws {
        let slapd = try Slapd { $0.hasSessionLog = hasSessionLog }
        try await GroupedDomain.with(slapd) { domain in
            await until { domain.seen(by: "carol") == ["alice", "bob"] }
            await domain.stop()
            try slapd.delete(Self.name("everyone"))
            try slapd.modify(Self.group("night", "objectClass: xmppSharedGroup\nxmppGroupShare: members\n" + Self.member("carol") + Self.member("alice")))
            try await domain.startAgain()
            await until { domain.seen(by: "carol") == ["alice"] && domain.titles(of: "alice") == ["Operators", "night"] }
        }
    }

    @Test("are known after a restart though no server answers, and are followed when one does")
    func snapshot() async throws {
        let slapd = try Slapd()
        try await GroupedDomain.with(slapd) { domain in
            await until { domain.seen(by: "carol") == ["alice", "bob"] }
            await domain.stop()
            slapd.stop()
            try await domain.startAgain()
            #expect(domain.seen(by: "carol") == ["alice", "bob"])
            let status = await domain.service.status
            #expect(status.groups?.groups == 2 && status.groups?.contact != .live)
            try slapd.start()
            await domain.pass(until: { await domain.service.status.groups?.contact == .live })
            try slapd.delete(Self.name("everyone"))
            await until { domain.seen(by: "carol").isEmpty }
        }
    }

    @Test("that are not where the configuration says keep nobody from logging in, and it is said why they are not read")
    func wrongBase() async throws {
        let slapd = try Slapd()
        try await GroupedDomain.with(slapd) {
            $0.base = "ou=teams,dc=example,dc=org"
        } _: { domain in
            await until { domain.account("carol")?.isEnabled == true }
            await until { await domain.service.status.groups?.fault != nil }
            #expect(domain.seen(by: "carol").isEmpty)
            let status = await domain.service.status
            #expect(status.groups?.contact == .neverLoaded && status.contact == .live)
        }
    }

    @Test("say who is in them, whether they are in rosters or not")
    func membership() async throws {
        let slapd = try Slapd()
        try slapd.modify(Self.group("admins", "member: \(Self.name("operators"))\n"))
        try await GroupedDomain.with(slapd) { domain in
            let group = GroupName(prepared: GroupedDomain.prepare("CN=admins, \(Self.groups)") ?? [])
            let admins = NamedAccounts([jid("nobody")], groups: [group], in: domain.memberships)
            await until { admins.contains(jid("alice")) }
            #expect(admins.contains(jid("bob")) && admins.contains(jid("nobody")) && !admins.contains(jid("carol")))
            try slapd.modify(Self.change("operators", "delete", Self.member("bob")))
            await until { !admins.contains(jid("bob")) }
            try slapd.delete(Self.name("admins"))
            await until { !admins.contains(jid("alice")) }
        }
    }

    @Test("explain themselves: who is in them, by which way, and who sees that")
    func explanation() async throws {
        let slapd = try Slapd()
        try await GroupedDomain.with(slapd) { domain in
            await until { domain.seen(by: "carol") == ["alice", "bob"] }
            let entry = try #require(domain.service.people.entry(of: jid("alice")))
            let groups = await domain.service.groups(of: entry.0)
            #expect(groups.map(\.way.name) == [Self.name("everyone"), Self.name("operators")])
            #expect(groups.map(\.way.through) == [[Self.name("operators")], []])
            #expect(groups.map(\.title) == ["everyone", "Operators"] && groups.map(\.audience) == [.members, .members])
        }
    }

    // MARK: Who has an account

    @Test("one of them says who has an account: who comes into it, or into a group in it, comes, and who leaves it goes at once")
    func allowed() async throws {
        let slapd = try Slapd()
        try slapd.modify(Self.group("xmpp", Self.member("alice") + "member: \(Self.name("night"))\n"))
        try slapd.modify(Self.group("night", Self.member("bob")))
        try await GroupedDomain.with(slapd) {
            $0.allowGroup = "CN=xmpp, \(Self.groups)"
        } _: { domain in
            await until { domain.account("alice") != nil && domain.account("bob") != nil }
            #expect(domain.account("carol") == nil && domain.service.people.contact == .live)
            let why = await domain.service.whyNobody(jid("carol"))
            #expect(why.contains("uid=carol,ou=people,dc=example,dc=org is not in the group"))
            // Whom it shows besides, those see who have accounts.
            await until { domain.seen(by: "alice") == ["bob"] }
            try slapd.modify(Self.change("night", "add", Self.member("carol")))
            await until { domain.account("carol")?.isEnabled == true }
            await until { domain.seen(by: "alice") == ["bob", "carol"] }
            try slapd.modify(Self.change("xmpp", "delete", Self.member("alice")))
            await until { domain.account("alice")?.isEnabled == false }
            await until { domain.seen(by: "bob") == ["carol"] }
            try slapd.modify(Self.change("xmpp", "add", Self.member("alice")))
            await until { domain.account("alice")?.isEnabled == true && domain.account("alice")?.link?.gone == nil }
        }
    }

    @Test("if that one is not there nobody has an account, and whoever had one loses it only when that is certain")
    func missingGroup() async throws {
        let slapd = try Slapd()
        try await GroupedDomain.with(slapd) {
            $0.allowGroup = Self.name("xmpp")
        } _: { domain in
            await until { await domain.service.status.groups?.lacksAllowGroup == true }
            #expect(domain.account("alice") == nil && domain.service.people.count == 0)
            try slapd.modify(Self.group("xmpp", Self.member("alice")))
            await until { domain.account("alice")?.isEnabled == true }
            let status = await domain.service.status
            #expect(status.groups?.lacksAllowGroup == false && status.people == 1)
        }
    }

    @Test("many do not lose their accounts with it at once: until an operator says so, or a second look says the same", arguments: [true, false])
    func held(isConfirmed: Bool) async throws {
        let slapd = try Slapd()
        let names = (1...12).map { "p\($0)" }
        for name in names {
            let classes = "objectClass: inetOrgPerson\nobjectClass: xmppUser\n"
            try slapd.modify("dn: uid=\(name),ou=people,dc=example,dc=org\n\(classes)uid: \(name)\ncn: \(name)\nsn: \(name)\nxmppAddress: \(name)@example.org\n")
        }
        try slapd.modify(Self.group("xmpp", names.map(Self.member).joined()))
        try await GroupedDomain.with(slapd) {
            $0.allowGroup = Self.name("xmpp")
        } _: { domain in
            await until { domain.account("p12") != nil }
            try slapd.delete(Self.name("xmpp"))
            await until { await domain.service.status.groups?.lacksAllowGroup == true }
            #expect(domain.service.people.count == 12 && domain.service.people.allowance.accounts == 12)
            if isConfirmed { await domain.service.confirm() } else { await domain.pass(1_000_000_000, until: { domain.service.people.count == 0 }) }
            await until { names.allSatisfy { domain.account($0)?.isEnabled == false } }
            #expect(domain.service.people.count == 0 && !domain.service.people.allowance.isHolding)
        }
    }

    @Test("who has an account by it has one after a restart though no server answers")
    func allowedOffline() async throws {
        let slapd = try Slapd()
        try slapd.modify(Self.group("xmpp", Self.member("alice") + Self.member("bob")))
        try await GroupedDomain.with(slapd) {
            $0.allowGroup = Self.name("xmpp")
        } _: { domain in
            await until { domain.account("bob") != nil }
            await domain.stop()
            slapd.stop()
            try await domain.startAgain()
            #expect(domain.service.people.count == 2 && domain.account("alice")?.isEnabled == true)
            if case .person = domain.service.people.person(jid("alice")) {} else { Issue.record("alice is not known") }
            if case .nobody = domain.service.people.person(jid("carol")) {} else { Issue.record("carol has an account") }
            // For a day: after that nobody can say who is still in the group.
            domain.time.advance(by: 25 * 3_600 * 1_000_000_000)
            if case .unavailable = domain.service.people.person(jid("alice")) {} else { Issue.record("what is known is too old") }
        }
    }
}

/// A domain whose people and groups OpenLDAP's server says: rosters are asked of the book that a server asks, and accounts are in memory.
///
/// Time passes when a test lets it, but for what connections to the directory wait for.
private final class GroupedDomain {
    struct Options {
        var base = "ou=groups,dc=example,dc=org"
        var filter = "(objectClass=groupOfNames)"
        var rules = GroupRules(domain: jid("alice").domain)
        var allowGroup: String?
    }

    let time = ManualTime()
    private let timers = NIOAsyncTestingEventLoop()
    private let slapd: Slapd
    private let options: Options
    private let store = InMemoryStore()
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let context: LoopContext
    private let router: Router
    private let folder = NSTemporaryDirectory() + "martlet-groups-\(UUID().uuidString.prefix(8))"
    private let concerned = Concerned()
    private var book: SharedGroupBook
    private(set) var service: DirectoryService

    static let prepare: NamePreparation = { name in (try? DistinguishedName(name)).map { Array($0.normalized.utf8) } }

    private init(_ slapd: Slapd, _ options: Options) async throws {
        (self.slapd, self.options) = (slapd, options)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        let hosts = HostTable([try Host(domain: options.rules.domain, features: [])])
        context = LoopContext(loop: group.next(), hosts: hosts, store: store, time: time, random: SystemRandom())
        router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: NoAudit())
        (service, book) = try Self.assemble(slapd, options, folder, time, timers, router, context.mailbox, concerned)
        try await service.begin()
    }

    private static func assemble(
        _ slapd: Slapd, _ options: Options, _ folder: String, _ time: ManualTime, _ timers: NIOAsyncTestingEventLoop, _ router: Router, _ mailbox: LoopMailbox,
        _ concerned: Concerned
    ) throws -> (DirectoryService, SharedGroupBook) {
        let (domain, rule) = (options.rules.domain, try AddressRule(parsing: "xmppAddress|mail"))
        let attributes = PersonAttributes.mirrored(others: rule.attributes + ["uid", "mail", "objectClass"])
        let people = People(
            PersonMapping(domain: domain, addresses: rule), attributes, CredentialMarking(secret: Array(repeating: 5, count: 32)),
            allowed: options.allowGroup == nil ? nil : [])
        let directory = PeopleDirectory(MirroredPeople(DirectoryMirror(attributes, prepare: prepare), people, hasGroups: true), time: time)
        var settings = DirectoryService.Settings(
            base: "ou=people,dc=example,dc=org", filter: try LDAPFilter("(objectClass=xmppUser)"), attributes: attributes.names)
        settings.snapshot = SnapshotFile(folder + "/people", SnapshotForm())
        let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), time: time, log: TestDirectory.log)
        var client = DirectoryClient.Settings()
        client.identity = .simple(name: Slapd.service, try #require(PreparedPassword(Slapd.servicePassword)))
        let feed = FeedService(
            .init("groups", base: options.base, filter: try LDAPFilter(options.filter), attributes: GroupAttributes.mirrored.names),
            DirectoryClient(servers, client, log: TestDirectory.log), time: time, timers: timers, log: TestDirectory.log)
        var kept = GroupKeeping.Settings()
        kept.allowGroup = options.allowGroup
        kept.snapshot = SnapshotFile(folder + "/groups", SnapshotForm())
        let urls = MemberURLs(attributes)
        let book = SharedGroupBook()
        let groups = GroupKeeping(
            domain, DirectoryGroups(options.rules, prepare: prepare) { urls.evaluation(of: $0) }, feed, kept, directory, book, time: time, log: TestDirectory.log
        ) { news in
            concerned.add(news.concerned)
            mailbox.run { context in router.sharingChanged(of: news.concerned, context) }
        }
        let service = DirectoryService(
            domain, DirectoryClient(servers, client, log: TestDirectory.log), directory,
            AccountProvisioning(router, on: mailbox, time: time, adoptsLocalAccounts: true), router, settings, groups: groups, time: time, timers: timers,
            log: TestDirectory.log)
        return (service, book)
    }

    static func with(
        _ slapd: Slapd, _ change: (inout Options) -> Void = { _ in }, _ body: (GroupedDomain) async throws -> Void
    ) async throws {
        var options = Options()
        change(&options)
        let domain = try await GroupedDomain(slapd, options)
        let result: Result<Void, any Error>
        do { result = .success(try await body(domain)) } catch { result = .failure(error) }
        await domain.stop()
        try await domain.group.shutdownGracefully()
        try? FileManager.default.removeItem(atPath: domain.folder)
        withExtendedLifetime(slapd) {}
        try result.get()
    }

    /// It may wait for its next attempt.
    func stop() async {
        let (service, isStopped) = (service, Flag())
        let stopping = Task {
            await service.stop()
            isStopped.set()
        }
        await pass { isStopped.isSet }
        await stopping.value
    }

    /// The next server with the same disk.
    func startAgain() async throws {
        (service, book) = try Self.assemble(slapd, options, folder, time, timers, router, context.mailbox, concerned)
        try await service.begin()
    }

    /// Lets time pass, a little each time, in nanoseconds.
    func pass(_ step: Int64 = 10_000_000, until condition: () async -> Bool) async {
        while await !condition() {
            time.advance(by: step)
            await timers.advanceTime(to: time.monotonic)
            try? await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(1)) {}.futureResult.get()
        }
    }

    // MARK: What there is

    var memberships: GroupMemberships { book.memberships }

    func account(_ name: String) -> StoreContents.Account? { store.contents[jid(name)] }

    /// Whom an account sees by groups, in order.
    func seen(by name: String) -> [String] {
        let contacts = Set(book.sharing(of: jid(name)).seen.flatMap(\.members.names.keys)).subtracting([jid(name)])
        return contacts.compactMap(\.localpart).sorted()
    }

    func titles(of name: String) -> [String] { book.sharing(of: jid(name)).seen.map(\.name).sorted() }

    /// What the contacts of an account are called.
    func names(of name: String) -> [String: String] {
        book.sharing(of: jid(name)).seen.reduce(into: [:]) { names, group in
            for (account, called) in group.members.names { names[account.localpart ?? ""] = called }
        }
    }

    var told: Set<BareJID> { concerned.accounts }
    func forgetTold() { concerned.forget() }
}

/// Whom changes concerned. A lock, because the directory's service tells.
private final class Concerned: Sendable {
    private let all = Mutex(Set<BareJID>())
    var accounts: Set<BareJID> { all.withLock { $0 } }
    func add(_ accounts: Set<BareJID>) { all.withLock { $0.formUnion(accounts) } }
    func forget() { all.withLock { $0 = [] } }
}
