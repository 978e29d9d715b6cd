import MartletCore
import MartletDirectory
import MartletFeatures
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("Cards as OpenLDAP's server says", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(1)))
struct FollowedCardTests {
    private static let picture: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array(repeating: 7, count: 1_000)
    private static let other: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array(repeating: 8, count: 1_000)

    private static func replacement(_ person: String, _ attribute: String, _ value: String) -> String {
        "dn: uid=\(person),ou=people,dc=example,dc=org\nchangetype: modify\nreplace: \(attribute)\n\(attribute): \(value)\n"
    }

    /// In base64, as LDIF has what is no text (RFC 2849).
    private static func photo(_ bytes: [UInt8]) -> String {
        "dn: uid=alice,ou=people,dc=example,dc=org\nchangetype: modify\nreplace: jpegPhoto\njpegPhoto:: \(Base64.encode(bytes))\n"
    }

    @Test("what the directory says, and what changes there, is in cards; a start writes nothing that is there")
    func followed() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        try slapd.modify(Self.photo(Self.picture))
        let domain = try CardDomain()
        let first = try await domain.follow(slapd)
        await until { domain.card("alice").contains("<FN>Alice Adams</FN>") && domain.card("alice").contains(Base64.encode(Self.picture)) }
        #expect(domain.card("alice").contains("<TITLE>Duty officer</TITLE>"))
        try slapd.modify(Self.replacement("alice", "title", "Captain"))
        await until { domain.card("alice").contains("<TITLE>Captain</TITLE>") }
        try slapd.modify(Self.photo(Self.other))
        await until { domain.card("alice").contains(Base64.encode(Self.other)) }
        #expect(!domain.card("alice").contains(Base64.encode(Self.picture)) && domain.card("alice").contains("Captain"))
        await first.stop()
        let before = domain.writes
        let second = try await domain.follow(slapd)
        await until { second.people.contact == .live }
        // She comes last.
        try slapd.modify(Self.replacement("carol", "title", "Chief"))
        await until { domain.card("carol").contains("<TITLE>Chief</TITLE>") }
        #expect(domain.writes == before + 1)
        await second.stop()
        try await domain.end()
    }
}

/// A domain whose accounts have cards: store and router are in memory, on a loop of their own, and what is between them and the directory is all real.
private final class CardDomain {
    private let store = InMemoryStore()
    private let book = ProfileBook()
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let time = ManualTime()
    private let router: Router
    private let context: LoopContext
    private let domain: BareJID

    init() throws {
        domain = try BareJID(parsing: "example.org")
        let hosts = HostTable([try Host(domain: domain, features: [VCardTemp(profiles: book)])])
        context = LoopContext(loop: group.next(), hosts: hosts, store: store, time: time, random: SystemRandom())
        router = Router(store: store, ids: StanzaIDSource(floor: 0), remote: NoFederation(), audit: NoAudit())
    }

    func follow(_ slapd: Slapd) async throws -> DirectoryService {
        let rule = try AddressRule(parsing: "xmppAddress|mail")
        let attributes = PersonAttributes.mirrored(others: rule.attributes)
        let mirror = DirectoryMirror(attributes) { name in (try? DistinguishedName(name)).map { Array($0.normalized.utf8) } }
        let marking = CredentialMarking(secret: Array(repeating: 5, count: 32))
        let people = PeopleDirectory(MirroredPeople(mirror, People(PersonMapping(domain: domain, addresses: rule), attributes, marking)), time: time)
        let filter = try LDAPFilter("(objectClass=xmppUser)")
        let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), time: time, log: TestDirectory.log)
        var client = DirectoryClient.Settings()
        client.identity = .simple(name: Slapd.service, try #require(PreparedPassword(Slapd.servicePassword)))
        let timers = MultiThreadedEventLoopGroup.singleton.any()
        book.add(domain, people, ProfileSettings(), DirectoryClient(servers, client, log: TestDirectory.log), log: TestDirectory.log)
        let service = DirectoryService(
            domain, DirectoryClient(servers, client, log: TestDirectory.log), people,
            AccountProvisioning(router, on: context.mailbox, time: time, adoptsLocalAccounts: true), router,
            DirectoryService.Settings(base: "ou=people,dc=example,dc=org", filter: filter, attributes: attributes.names),
            profiles: ProfileDelivery(domain, book, router, on: context.mailbox, timers: timers, log: TestDirectory.log), time: time, timers: timers,
            log: TestDirectory.log)
        try await service.begin()
        return service
    }

    func end() async throws { try await group.shutdownGracefully() }

    private func document(_ name: String, _ key: DocumentKey) -> String {
        guard let id = store.contents[jid(name)]?.id else { return "" }
        return store.contents.document(id, key).map { String(buffer: $0) } ?? ""
    }

    func card(_ name: String) -> String { document(name, .vCard) }
    /// So many times it was written.
    var writes: UInt64 { store.settled.sequence }
}
