import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("This server's accounts as a directory", .timeLimit(.minutes(2)))
struct EmbeddedDirectoryTests {
    private static let domain = try! BareJID(parsing: "example.org")
    private static let people = "ou=people,dc=example,dc=org"
    private static let alice = try! BareJID(parsing: "alice@example.org")
    private static let bob = try! BareJID(parsing: "bob@example.org")
    private static let tree = EmbeddedTree([domain])

    // MARK: One connection

    private struct Wire {
        var machine: EmbeddedMachine

        init(isProtected: Bool = true) {
            machine = EmbeddedMachine(FrontEndSettings(), EmbeddedDirectoryTests.tree, offersTLS: true, hasTLS: false, isProtected: isProtected)
        }

        mutating func say(_ id: Int32, _ operation: LDAPOperation, _ controls: [LDAPControl] = [], isLast: Bool = true) -> [FrontEndEffect] {
            var bytes = ByteBuffer()
            LDAPMessage(id, operation, controls: controls).encode(into: &bytes)
            return machine.fromClient(bytes, isLast: isLast)
        }
    }

    private static func operations(_ effects: [FrontEndEffect]) -> [LDAPOperation] {
        effects.compactMap { if case .toClient(let bytes) = $0 { try? LDAPMessage(decoding: bytes).operation } else { nil } }
    }

    private static let bind = LDAPOperation.bindRequest(BindRequest("uid=alice,\(people)", .simple(Array("pw".utf8))))
    private static let search = LDAPOperation.searchRequest(SearchRequest(people, .wholeSubtree, .present("uid")))

    @Test("a bind is looked up, and what comes behind it waits")
    func binding() {
        var wire = Wire()
        let asked = wire.say(1, Self.bind)
        #expect(asked == [.bound(false), .verify(1, name: "uid=alice,\(Self.people)", password: Array("pw".utf8))])
        #expect(wire.say(2, Self.search) == [])
        let said = wire.machine.answered(.bound(LDAPResult(.success), .account(Self.alice)), for: 1)
        #expect(said.first == .bound(true))
        #expect(said.last == .search(2, LDAPMessage(2, Self.search), .account(Self.alice)))
        let who = wire.say(3, .extendedRequest(.whoAmI))
        let name = AuthorizationIdentity.name("uid=alice,\(Self.people)").encoded
        #expect(Self.operations(who) == [.extendedResponse(ExtendedResponse(LDAPResult(.success), value: name))])
    }

    @Test("the third wrong password ends the connection", arguments: [2, 3])
    func guesses(_ count: Int) {
        var wire = Wire()
        var last: [FrontEndEffect] = []
        for number in 1...count {
            _ = wire.say(Int32(number), Self.bind)
            last = wire.machine.answered(.bound(LDAPResult(.invalidCredentials), .anonymous), for: number)
        }
        #expect(last.contains(.close) == (count == 3))
    }

    @Test("nothing is written, critical controls are known or refused, passwords need TLS")
    func refusals() {
        var wire = Wire(isProtected: false)
        let written = wire.say(1, .delRequest("uid=bob,\(Self.people)"))
        #expect(Self.operations(written) == [.delResponse(LDAPResult(.unwillingToPerform, "nothing is written here"))])
        let critical = wire.say(2, Self.search, [LDAPControl("1.2.3", isCritical: true)])
        #expect(Self.operations(critical) == [.searchResultDone(LDAPResult(.unavailableCriticalExtension, "a critical control is not known"))])
        let clear = wire.say(3, Self.bind)
        #expect(Self.operations(clear) == [.bindResponse(BindResponse(LDAPResult(.confidentialityRequired, "passwords need TLS")))])
        let unknown = wire.say(4, .extendedRequest(ExtendedRequest("1.2.3.4")))
        #expect(Self.operations(unknown) == [.extendedResponse(ExtendedResponse(LDAPResult(.protocolError, "that is not known")))])
    }

    @Test("the root DSE says where the entries are, to those who ask for what is operational (RFC 4512 §5.1)")
    func rootDSE() {
        var wire = Wire()
        let request = SearchRequest("", .baseObject, .present("objectClass"), attributes: ["namingContexts"])
        let said = wire.say(1, .searchRequest(request))
        let entry = LDAPOperation.searchResultEntry(LDAPEntry("", [LDAPAttribute("namingContexts", "dc=example,dc=org")]))
        #expect(Self.operations(said) == [entry, .searchResultDone(LDAPResult(.success))])
    }

    @Test("what stands behind StartTLS in the clear ends the connection")
    func injected() {
        var wire = Wire()
        #expect(wire.say(1, .extendedRequest(.startTLS), isLast: false).last == .close)
        var other = Wire()
        #expect(other.say(1, .extendedRequest(.startTLS)).last == .beginTLS)
    }

    @Test("whatever comes, the machine lives")
    func fuzz() {
        var numbers = SeededNumbers(seed: 9)
        let messages = [(Int32(1), Self.bind), (2, Self.search), (3, .extendedRequest(.startTLS)), (4, .abandonRequest(2)), (5, .extendedRequest(.whoAmI))]
        for _ in 0..<300 {
            var wire = Wire()
            for _ in 0..<20 {
                let (id, operation) = messages.randomElement(using: &numbers)!
                var bytes = ByteBuffer()
                LDAPMessage(id, operation).encode(into: &bytes)
                if Bool.random(using: &numbers) {
                    bytes.setInteger(UInt8.random(in: 0...255, using: &numbers), at: Int.random(in: 0..<bytes.writerIndex, using: &numbers))
                }
                _ = wire.machine.fromClient(bytes, isLast: true)
                _ = wire.machine.answered(.messages([]), for: Int.random(in: 1..<20, using: &numbers))
                #expect(wire.machine.heldBytes >= 0)
            }
        }
    }

    // MARK: With OpenLDAP's tools

    /// Alice has a card and Bob none; both have the same password.
    private final class Served {
        let frontEnd: LDAPFrontEnd
        let port: Int
        let store = InMemoryStore()

        init(
            allowsAnonymous: Bool = false, bobs: Int = 1, standing: AccountVerdict = .ok, _ decorations: [FrontEndSettings.Decoration] = []
        ) async throws {
            let time = ManualTime()
            var accounts = [EmbeddedDirectoryTests.alice, EmbeddedDirectoryTests.bob]
            for number in 1..<bobs { accounts.append(try BareJID(parsing: "bob\(number)@example.org")) }
            try await store.commit(accounts.map { .account(.create($0, credentials: [], isAdmin: false)) })
            let card = """
                <vCard xmlns='vcard-temp'><FN>Alice Adams</FN><N><FAMILY>Adams</FAMILY><GIVEN>Alice</GIVEN></N><TITLE>Duty\u{9}officer</TITLE>\
                <EMAIL><INTERNET/><USERID>alice@mail.example</USERID></EMAIL><TEL><WORK/><VOICE/><NUMBER>+44 1</NUMBER></TEL>\
                <TEL><CELL/><NUMBER>+44 2</NUMBER></TEL></vCard>
                """
            let id = try #require(try await store.credentials(of: EmbeddedDirectoryTests.alice)).id
            try await store.commit([.document(id, .vCard, ByteBuffer(string: card))])
            let presence = PlayedPresence([EmbeddedDirectoryTests.bob: [EmbeddedDirectoryTests.alice]])
            presence.set(EmbeddedDirectoryTests.alice, .dnd, "In a meeting until 11:30")
            let tree = EmbeddedTree([EmbeddedDirectoryTests.domain], allowsAnonymous: allowsAnonymous)
            let known = Set(accounts)
            let directory = EmbeddedDirectory(
                tree, EmbeddedPeople(store, in: tree, time: time),
                EmbeddedDirectory.Accounts(standing: { _, _ in standing }) { claim in
                    claim.account.map(known.contains) == true && claim.password?.bytes == Array("pw".utf8) ? .ok : .badCredentials
                })
            var settings = FrontEndSettings()
            settings.decorations = decorations
            frontEnd = LDAPFrontEnd(
                settings, .embedded(directory), presence, tls: { _ in nil }, on: MultiThreadedEventLoopGroup.singleton, log: TestDirectory.log)
            port = try #require(try await frontEnd.start([.init(.plain, host: "127.0.0.1", port: 0)]).first?.port)
        }

        func search(as name: String?, base: String = "dc=example,dc=org", _ filter: String, _ attributes: String..., more: [String] = []) async throws
            -> DirectoryTool
        {
            let bind = name.map { ["-D", $0, "-w", "pw"] } ?? []
            let arguments = ["-x", "-LLL", "-o", "ldif-wrap=no", "-H", "ldap://127.0.0.1:\(port)", "-b", base] + bind + more + [filter]
            return try await DirectoryTool.run("/usr/bin/ldapsearch", arguments + attributes)
        }
    }

    private static let hasTools = DirectoryTool.exists("/usr/bin/ldapsearch")

    @Test("an account is an entry with what its card says, and its presence for those who see that", .enabled(if: hasTools, "ldap-utils are not installed"))
    func entries() async throws {
        let served = try await Served()
        let found = try await served.search(as: "bob@example.org", "(uid=alice)")
        #expect(found.status == 0, "\(found.output)")
        #expect(found.values("dn") == ["uid=alice,\(Self.people)"])
        let expected = [
            "cn": "Alice Adams", "sn": "Adams", "givenName": "Alice", "title": "Duty officer", "mail": "alice@mail.example", "telephoneNumber": "+44 1",
            "mobile": "+44 2", "xmppAddress": "alice@example.org", "xmppShow": "dnd", "xmppPresenceText": "In a meeting until 11:30",
        ]
        for (attribute, value) in expected { #expect(found.values(attribute) == [value]) }
        let other = try await served.search(as: "uid=alice,\(Self.people)", "(uid=bob)", "cn", "sn", "xmppShow")
        #expect(other.values("cn") == ["bob"])
        #expect(other.values("sn") == ["bob"])
        #expect(other.values("xmppShow") == [])
    }

    @Test("people are found by their presence, by those who see it", .enabled(if: hasTools, "ldap-utils are not installed"))
    func filters() async throws {
        let served = try await Served()
        #expect(try await served.search(as: "bob@example.org", "(xmppShow=dnd)", "uid").values("uid") == ["alice"])
        #expect(try await served.search(as: "alice@example.org", "(xmppShow=dnd)", "uid").values("uid") == ["alice"])
        #expect(try await served.search(as: "alice@example.org", "(xmppShow=offline)", "uid").values("uid") == [])
    }

    @Test("who has not bound sees nobody, unless that is allowed; a wrong password and nobody at all are the same",
        .enabled(if: hasTools, "ldap-utils are not installed"))
    func access() async throws {
        let (closed, open) = (try await Served(), try await Served(allowsAnonymous: true))
        #expect(try await closed.search(as: nil, "(uid=alice)").status == 50)
        let seen = try await open.search(as: nil, "(uid=alice)")
        #expect(seen.values("cn") == ["Alice Adams"])
        #expect(seen.values("xmppShow") == [])
        #expect(try await closed.search(as: "nobody@example.org", "(uid=alice)").status == 49)
        #expect(try await closed.search(as: "cn=admin", "(uid=alice)").status == 49)
    }

    @Test("whoever may not read any more since he has bound is told so, and sees nothing", .enabled(if: hasTools, "ldap-utils are not installed"), arguments: [
        (AccountVerdict.disabled, 50), (.badCredentials, 50), (.unavailable, 52),
    ] as [(AccountVerdict, Int32)])
    func standing(_ verdict: AccountVerdict, _ status: Int32) async throws {
        let found = try await Served(standing: verdict).search(as: "bob@example.org", "(uid=alice)")
        #expect(found.status == status)
        #expect(found.values("cn") == [])
    }

    @Test("so many searches at a time, of all clients together", .enabled(if: hasTools, "ldap-utils are not installed"), arguments: [1, 2])
    func searches(_ count: Int) async throws {
        let (bobIsIn, gate) = (AsyncStream<Void>.makeStream(), AsyncStream<Void>.makeStream())
        let tree = EmbeddedTree([Self.domain])
        let store = InMemoryStore()
        try await store.commit([Self.alice, Self.bob].map { .account(.create($0, credentials: [], isAdmin: false)) })
        let accounts = EmbeddedDirectory.Accounts(
            standing: { account, _ in
                guard account == Self.bob else { return .ok }
                bobIsIn.continuation.yield()
                for await _ in gate.stream { break }
                return .ok
            }, verify: { _ in .ok })
        var settings = FrontEndSettings()
        settings.searchesMax = count
        let directory = EmbeddedDirectory(tree, EmbeddedPeople(store, in: tree, time: ManualTime()), accounts)
        let frontEnd = LDAPFrontEnd(
            settings, .embedded(directory), PlayedPresence([:]), tls: { _ in nil }, on: MultiThreadedEventLoopGroup.singleton, log: TestDirectory.log)
        let port = try #require(try await frontEnd.start([.init(.plain, host: "127.0.0.1", port: 0)]).first?.port)
        @Sendable func search(_ name: String) async throws -> Int32 {
            let arguments = ["-x", "-LLL", "-H", "ldap://127.0.0.1:\(port)", "-b", "dc=example,dc=org", "-D", "\(name)@example.org", "-w", "pw", "(uid=alice)"]
            return try await DirectoryTool.run("/usr/bin/ldapsearch", arguments).status
        }
        async let bobs = search("bob")
        for await _ in bobIsIn.stream { break }
        #expect(try await search("alice") == (count == 1 ? 51 : 0))
        gate.continuation.finish()
        #expect(try await bobs == 0)
        #expect(try await search("alice") == 0)
        await frontEnd.stop()
    }

    @Test("clients that know no presence get it in what they ask for", .enabled(if: hasTools, "ldap-utils are not installed"))
    func decorations() async throws {
        let served = try await Served([.init("mozillaCustom1", .presenceText), .init("labeledURI", .xmppURI)])
        let found = try await served.search(as: "bob@example.org", "(uid=alice)", "cn", "mozillaCustom1", "labeledURI")
        #expect(found.values("mozillaCustom1") == ["In a meeting until 11:30"], "\(found.output)")
        #expect(found.values("labeledURI") == ["xmpp:alice@example.org?message"])
        #expect(try await served.search(as: "alice@example.org", "(uid=bob)", "mozillaCustom1").values("mozillaCustom1") == [])
        #expect(try await served.search(as: "bob@example.org", "(uid=alice)").values("mozillaCustom1") == [])
    }

    @Test("scopes and bases", .enabled(if: hasTools, "ldap-utils are not installed"))
    func scopes() async throws {
        let served = try await Served()
        func names(_ base: String, _ scope: String) async throws -> [String] {
            try await served.search(as: "bob@example.org", base: base, "(objectClass=*)", "1.1", more: ["-s", scope]).values("dn")
        }
        #expect(try await names("dc=example,dc=org", "base") == ["dc=example,dc=org"])
        #expect(try await names("dc=example,dc=org", "one") == [Self.people])
        #expect(try await names(Self.people, "one") == ["uid=alice,\(Self.people)", "uid=bob,\(Self.people)"])
        #expect(try await names("", "sub").count == 4)
        #expect(try await served.search(as: "bob@example.org", base: "ou=nowhere,dc=example,dc=org", "(objectClass=*)").status == 32)
        #expect(try await served.search(as: "bob@example.org", base: "nonsense", "(objectClass=*)").status == 34)
    }

    @Test("results are limited, or come page by page (RFC 2696)", .enabled(if: hasTools, "ldap-utils are not installed"))
    func paging() async throws {
        let served = try await Served(bobs: 5)
        let limited = try await served.search(as: "bob@example.org", "(uid=*)", "uid", more: ["-z", "2"])
        #expect(limited.status == 4)
        #expect(limited.values("uid").count == 2)
        let paged = try await served.search(as: "bob@example.org", "(uid=*)", "uid", more: ["-E", "pr=2/noprompt"])
        #expect(paged.status == 0, "\(paged.output)")
        #expect(paged.values("uid").sorted() == ["alice", "bob", "bob1", "bob2", "bob3", "bob4"])
    }

    @Test("filters have 64 parts at most", .enabled(if: hasTools, "ldap-utils are not installed"), arguments: [64, 65])
    func longFilters(_ count: Int) async throws {
        let served = try await Served()
        let filter = "(|" + String(repeating: "(uid=alice)", count: count - 1) + ")"
        let found = try await served.search(as: "bob@example.org", filter, "uid")
        #expect(found.status == (count == 64 ? 0 : 11))
        #expect(found.values("uid") == (count == 64 ? ["alice"] : []))
    }

    @Test("16 operations at a time", arguments: [16, 17])
    func operations(_ count: Int32) {
        var wire = Wire()
        var last: [FrontEndEffect] = []
        for id in 1...count { last = wire.say(id, Self.search) }
        let busy = LDAPOperation.searchResultDone(LDAPResult(.busy, "too many operations at a time"))
        #expect((Self.operations(last) == [busy]) == (count == 17))
    }

    @Test("more than 1,000 entries need pages", .enabled(if: hasTools, "ldap-utils are not installed"), arguments: [1_000, 1_001])
    func many(_ count: Int) async throws {
        let served = try await Served(bobs: count - 1)
        let found = try await served.search(as: "bob@example.org", "(uid=*)", "uid")
        #expect(found.values("uid").count == 1_000)
        #expect(found.status == (count == 1_000 ? 0 : 4))
    }

    // MARK: Names

    @Test("names lead to accounts and back", arguments: ["alice@example.org", "o.neil@example.org", "d,art@example.org", "a+b@example.org"])
    func names(_ text: String) throws {
        let account = try BareJID(parsing: text)
        let entry = Self.tree.name(of: account)
        #expect(Self.tree.address(of: try DistinguishedName(entry.description)) == account)
    }

    @Test("a domain is under another name if that is wanted, and under no other then", arguments: ["o=Verona", "ou=chat,dc=example,dc=net", "dc=verona"])
    func base(_ text: String) throws {
        let base = try DistinguishedName(text)
        let tree = EmbeddedTree([Self.domain], under: base)
        #expect(tree.address(of: try DistinguishedName("uid=alice,ou=people,\(text)")) == Self.alice)
        #expect(tree.address(of: try DistinguishedName("uid=alice,\(Self.people)")) == nil)
        #expect(tree.name(of: Self.alice) == (try DistinguishedName("uid=alice,ou=people,\(text)")))
        let container = tree.container(Self.domain)
        let own = try #require(base.relativeName?.ordered.first)
        #expect(container.attributes.first { $0.description == own.type }?.values == [own.value])
        #expect(container.name == base.description)
    }

    @Test("other names lead to nobody", arguments: [
        "uid=alice,dc=example,dc=org", "cn=alice,ou=people,dc=example,dc=org", "uid=alice+cn=a,ou=people,dc=example,dc=org",
        "uid=alice,ou=people,dc=example,dc=net", "ou=people,dc=example,dc=org", "uid=\\00,ou=people,dc=example,dc=org",
    ])
    func otherNames(_ text: String) throws { #expect(Self.tree.address(of: try DistinguishedName(text)) == nil) }
}
