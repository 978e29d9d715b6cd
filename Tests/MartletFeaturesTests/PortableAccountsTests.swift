import Foundation
import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0227 Portable Import/Export Format")
struct PortableAccountsTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func fixture(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: root.appendingPathComponent("Fixtures/portable/\(name).xml")))
    }

    // MARK: Reading

    private static func events(_ bytes: [UInt8], pieces: Int = .max) throws(PortableFault) -> [PortableReader.Event] {
        var reader = PortableReader()
        var (events, rest) = ([PortableReader.Event](), bytes[...])
        while !rest.isEmpty {
            var input = ByteBuffer(bytes: rest.prefix(pieces))
            rest = rest.dropFirst(pieces)
            while let event = try reader.next(from: &input) { events.append(event) }
        }
        try reader.finish()
        return events
    }

    private static func document(_ inner: String) -> [UInt8] {
        Array("<?xml version='1.0'?>\n<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.example'>\(inner)</host></server-data>\n".utf8)
    }

    @Test("what Prosody writes is read, however small the pieces are in which it comes", arguments: [1, 13, .max])
    func prosody(pieces: Int) throws {
        let events = try Self.events(Self.fixture("prosody-juliet"), pieces: pieces)
        #expect(events.first == .began(try #require(Self.user(events))) && events.last == .ended)
        #expect(Self.user(events)?.name == "juliet" && Self.user(events)?.domain == "capulet.example" && Self.user(events)?.password == nil)
        let keys = events.compactMap { if case .keys(.success(let keys)) = $0 { keys } else { nil } }
        #expect(keys.map(\.iterations) == [10_000] && keys.map(\.hash) == [.sha1])
        #expect(keys.first?.verify(try #require(PreparedPassword("r0m30myr0m30"))) == true)
        let places = Dictionary(grouping: Self.pieces(events), by: \.place).mapValues(\.count)
        #expect(places == [.account: 3, .roster: 3, .privateStorage: 1, .nodeOwnership: 4, .nodeItems: 3, .archive: 2])
        #expect(!events.contains { if case .skipped = $0 { true } else { false } })
        #expect(Self.user(try Self.events(Self.fixture("prosody-romeo")))?.password == "Neither, fair saint")
    }

    private static func user(_ events: [PortableReader.Event]) -> PortableReader.User? {
        events.lazy.compactMap { if case .began(let user) = $0 { user } else { nil } }.first
    }

    private static func pieces(_ events: [PortableReader.Event]) -> [PortablePiece] {
        events.compactMap { if case .piece(let piece) = $0 { piece } else { nil } }
    }

    @Test("a document with mistakes is refused, and says which (§4)", arguments: [
        ("<server-data/>", PortableFault.notServerData), ("<server-data xmlns='urn:xmpp:pie:0'><host/></server-data>", .missing("a host has a jid")),
        ("<server-data xmlns='urn:xmpp:pie:0'><host jid='a'><user/></host></server-data>", .missing("a user of a has a name")),
        ("<server-data xmlns='urn:xmpp:pie:0'><host jid='a'>", .incomplete), ("", .incomplete), ("juliet@capulet.example\tpassword", .xml(.notWellFormed)),
        ("<!DOCTYPE server-data [<!ENTITY a 'b'>]><server-data xmlns='urn:xmpp:pie:0'/>", .xml(.restrictedXML)),
        ("<server-data xmlns='urn:xmpp:pie:0'><!-- c --></server-data>", .xml(.restrictedXML)),
    ])
    func mistakes(text: String, fault: PortableFault) {
        #expect(throws: fault) { try Self.events(Array(text.utf8)) }
    }

    @Test("parts in other files are refused where they are parts (§5); in somebody's data they are data", arguments: [
        ("<xi:include href='juliet.xml'/>", true), ("<user name='juliet'><xi:include href='roster.xml'/></user>", true),
        ("<user name='juliet'><query xmlns='jabber:iq:private'><xi:include href='/etc/passwd'/></query></user>", false),
    ])
    func includes(inner: String, isRefused: Bool) throws {
        let bytes = Self.document(inner.replacingOccurrences(of: "<xi:include", with: "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude'"))
        if isRefused {
            #expect(throws: PortableFault.include) { try Self.events(bytes) }
        } else {
            #expect(Self.pieces(try Self.events(bytes)).count == 1)
        }
    }

    @Test("what nobody here knows is told by its name and left out (§4)")
    func unknown() throws {
        let events = try Self.events(Self.document("<x xmlns='urn:x'/><user name='a'><y xmlns='urn:y'><z/></y><pubsub xmlns='http://jabber.org/protocol/pubsub'><w/></pubsub></user>"))
        let skipped = events.compactMap { if case .skipped(let name) = $0 { name } else { nil } }
        #expect(skipped == ["<x xmlns='urn:x'>", "<y xmlns='urn:y'>", "<w xmlns='http://jabber.org/protocol/pubsub'>"])
    }

    @Test("one piece has so many bytes, whatever is around it")
    func pieceBytes() throws {
        func card(_ bytes: Int) -> [UInt8] {
            let tags = "<vCard xmlns='vcard-temp'><FN></FN></vCard>"
            return Self.document("<user name='a'>" + tags.replacingOccurrences(of: "<FN></FN>", with: "<FN>\(String(repeating: "x", count: bytes - tags.utf8.count))</FN>") + "</user>")
        }
        #expect(Self.pieces(try Self.events(card(PortableAccounts.pieceBytesMax))).count == 1)
        #expect(throws: PortableFault.xml(.limitExceeded(.stanzaBytes))) { try Self.events(card(PortableAccounts.pieceBytesMax + 1)) }
    }

    @Test("keys that are none, or too weak, are told (§4.3)", arguments: [
        ("SCRAM-MD5", "4096", "AAAAAAAAAAA=", ScramKeysError.mechanism("SCRAM-MD5")), ("SCRAM-SHA-1", "4095", "AAAAAAAAAAA=", .iterations(4_095)),
        ("SCRAM-SHA-1", "x", "AAAAAAAAAAA=", .format), ("SCRAM-SHA-1", "4096", "?", .format), ("SCRAM-SHA-256", "4096", "AAAAAAAAAAA=", .keyBytes(20, expected: 32)),
    ])
    func badKeys(mechanism: String, iterations: String, salt: String, error: ScramKeysError) throws {
        let key = Base64.encode([UInt8](repeating: 7, count: 20))
        let xml = """
            <user name='a'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='\(mechanism)'><iter-count>\(iterations)</iter-count><salt>\(salt)</salt>\
            <server-key>\(key)</server-key><stored-key>\(key)</stored-key></scram-credentials></user>
            """
        #expect(try Self.events(Self.document(xml)).contains(.keys(.failure(error))))
    }

    // MARK: Taking in

    private let server = TestServer()

    private func surroundings(_ change: (inout HostLimits) -> Void = { _ in }) -> PortableImport.Surroundings {
        var limits = HostLimits()
        change(&limits)
        return .init(
            limits: limits, eventing: PersonalEventingSettings(), ids: server.router.ids, random: server.random, now: server.time.wallMilliseconds)
    }

    /// Takes a document's pieces into an account that is made for it, some at a time.
    private func take(
        _ bytes: [UInt8], into name: String, on server: TestServer? = nil, atOnce: Int = .max, _ change: (inout HostLimits) -> Void = { _ in }
    ) throws -> PortableReport {
        let (server, surroundings) = (server ?? self.server, surroundings(change))
        let address = server.address(name)
        server.createAccount(name)
        var (report, last) = (PortableReport(), UInt64(0))
        var rest = Self.pieces(try Self.events(bytes))[...]
        while !rest.isEmpty {
            let store = server.store
            let contents = try #require(server.wait { (try? await PortableImport.Contents.load(address, store)) ?? nil } ?? nil)
            var account = PortableImport(address, contents, lastView: last, surroundings)
            for piece in rest.prefix(atOnce) { account.take(piece) }
            rest = rest.dropFirst(atOnce)
            report.add(account.report)
            last = account.lastView
            let writes = account.writes()
            _ = server.wait { try? await store.commit(writes) }
        }
        server.router.forget(address)
        return report
    }

    private func stored(_ name: String, on server: TestServer? = nil) throws -> StoreContents.Account {
        let server = server ?? self.server
        return try #require(server.store.contents[server.address(name)])
    }

    @Test("an account of Prosody's has everything that it had", arguments: [1, 3, .max])
    func fromProsody(atOnce: Int) throws {
        let report = try take(Self.fixture("prosody-juliet"), into: "juliet", atOnce: atOnce)
        #expect(report.skipped == [:])
        #expect(report.taken == [
            "contacts": 3, "requests": 2, "cards": 1, "private elements": 1, "nodes": 2, "affiliations": 1, "subscriptions": 1, "items": 3, "archived messages": 2,
        ])
        let account = try stored("juliet")
        let roster = account.roster.values.map { "\($0.contact) \($0.subscription.name) \($0.subscription.pendingIn) \($0.subscription.isInRoster)" }.sorted()
        #expect(roster == [
            "mercutio@montague.example none false true", "nurse@capulet.example from false true", "paris@verona.example none true false",
            "romeo@capulet.example both false true", "tybalt@capulet.example none true false",
        ])
        let romeo = account.roster[server.address("romeo")]
        #expect(romeo?.name == "Romeo & co." && romeo?.groups == ["Friends"])
        let nodes = server.store.contents.nodes.nodes(of: .account(account.id))
        #expect(nodes.map { "\($0.name) \($0.itemCount)" } == ["http://jabber.org/protocol/nick 1", "urn:xmpp:bookmarks:1 2"])
        #expect(nodes.map(\.affiliations.count) == [0, 1] && nodes.map(\.subscriptions.count) == [0, 1])
        // The people see it as they would have: Juliet her card, her archive and her nodes, others what is open.
        let (juliet, other) = (server.client("juliet/balcony"), server.client("other/street"))
        other.send("<iq type='get' id='n' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='http://jabber.org/protocol/nick'/></pubsub></iq>")
        #expect(other.received().last?.description.contains("Jules") == true)
        other.send("<iq type='get' id='b' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>")
        #expect(other.received().last?.error != nil)
        juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        let bodies = juliet.received().compactMap { $0.child("result")?.firstChild("forwarded", "urn:xmpp:forward:0")?.firstChild("message", .client)?.firstChild("body", .client)?.text }
        #expect(bodies == ["Call me but love, and I'll be new baptized", "What man art thou?\nTell me <now>!"])
        juliet.send("<presence/>")
        let presence = juliet.received().first { $0.element.attribute("from") == "juliet@capulet.example/balcony" }
        #expect(presence?.description.contains("vcard-temp:x:update") == true, "the avatar's digest is in presence")
    }

    @Test("bookmarks of the older kind become items of the newer one (XEP-0048, XEP-0402)")
    func bookmarks() throws {
        #expect(try take(Self.fixture("prosody-romeo"), into: "romeo").taken == ["items": 1])
        let romeo = server.client("romeo/orchard")
        for xml in [
            "<iq type='get' id='1'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query></iq>",
            "<iq type='get' id='2'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>",
        ] {
            romeo.send(xml)
            #expect(romeo.received().last?.description.contains("garden@conference.capulet.example") == true)
        }
    }

    @Test("messages that wait are delivered, when they came is told once (§4.5)")
    func offline() throws {
        let xml = """
            <user name='juliet'><offline-messages><message xmlns='jabber:client' from='romeo@montague.example/orchard' to='juliet@capulet.example' type='chat' id='m1'>\
            <body>Neither</body><delay xmlns='urn:xmpp:delay' from='capulet.example' stamp='2020-07-21T00:32:29Z'>Offline Storage</delay></message>\
            <message xmlns='jabber:client' type='chat'><body>nobody's</body></message></offline-messages></user>
            """
        let report = try take(Self.document(xml), into: "juliet")
        #expect(report.taken == ["offline messages": 1] && report.skipped == ["offline messages that are none": 1])
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        let message = try #require(juliet.received().first { $0.element.localName == "message" })
        #expect(message.id == "m1" && message.element.children.filter { $0.localName == "delay" }.map { $0.attribute("stamp") } == ["2020-07-21T00:32:29Z"])
    }

    @Test("what is past a limit is left out and told, and nothing else", arguments: ["contacts", "cards", "requests", "blocked", "private", "offline"])
    func limits(what: String) throws {
        let contacts = (1...2).map { "<item jid='c\($0)@a' subscription='both'/>" }.joined()
        let messages = (1...2).map { "<message xmlns='jabber:client' from='a@b' id='m\($0)'><body>x</body></message>" }.joined()
        let xml = """
            <user name='a'><query xmlns='jabber:iq:roster'>\(contacts)</query><vCard xmlns='vcard-temp'><FN>A</FN></vCard>\
            <presence xmlns='jabber:client' type='subscribe' from='d@a'/><presence xmlns='jabber:client' type='subscribe' from='e@a'/>\
            <blocklist xmlns='urn:xmpp:blocking'><item jid='x@y'/><item jid='z@y'/></blocklist>\
            <query xmlns='jabber:iq:private'><a xmlns='urn:a'/><b xmlns='urn:b'/></query><offline-messages>\(messages)</offline-messages></user>
            """
        let whole = ["contacts": 2, "cards": 1, "requests": 2, "blocked addresses": 2, "private elements": 2, "offline messages": 2]
        let name = what == "blocked" ? "blocked addresses" : what == "private" ? "private elements" : what == "offline" ? "offline messages" : what
        let report = try take(Self.document(xml), into: "a") { limits in
            switch what {
            case "contacts": limits.rosterItemsMax = 1
            case "cards": limits.vCardBytesMax = 10
            case "requests": limits.pendingRequestsMax = 1
            case "blocked": limits.blockedMax = 1
            case "private": limits.privateElementsMax = 1
            default: limits.offlineMessagesMax = 1
            }
        }
        let left = (whole[name] ?? 0) - 1
        #expect(report.taken == whole.merging([name: left]) { $1 }.filter { $0.value > 0 })
        #expect(report.skipped.values.reduce(0, +) == 1)
        #expect(try take(Self.document(xml), into: "b").taken == whole)
    }

    @Test("what is no part of an account is left out and told", arguments: [
        ("<query xmlns='jabber:iq:roster'><item jid='@'/></query>", "contacts without an address"),
        ("<query xmlns='jabber:iq:roster'><item jid='a@capulet.example'/></query>", "contacts that are the account itself"),
        ("<presence xmlns='jabber:client' type='subscribed' from='a@b'/>", "requests of nobody"),
        ("<blocklist xmlns='urn:xmpp:blocking'><item jid='@'/></blocklist>", "blocked addresses that are none"),
        ("<prefs xmlns='urn:xmpp:mam:2'/>", "archive preferences that say nothing"),
        ("<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'/></archive>", "archived messages that are none"),
        ("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'><item><a xmlns='urn:a'/><b xmlns='urn:b'/></item></items></pubsub>", "items that are none"),
        ("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure/></pubsub>", "nodes without a name, or with one that is too long"),
    ])
    func leftOut(xml: String, reason: String) throws {
        let report = try take(Self.document("<user name='a'>\(xml)</user>"), into: "a")
        #expect(report.taken == [:] && report.skipped == [reason: 1])
    }

    @Test("an archived message of somebody else does not come into an account")
    func foreignMessage() throws {
        let xml = """
            <user name='a'><archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>\
            <message xmlns='jabber:client' from='x@y' to='z@y'><body>x</body></message></forwarded></result></archive></user>
            """
        #expect(try take(Self.document(xml), into: "a").skipped == ["archived messages of somebody else": 1])
    }

    @Test("of privacy lists the default one counts, and of that what is denied altogether (§4.7, XEP-0191)")
    func privacy() throws {
        let xml = """
            <user name='a'><query xmlns='jabber:iq:privacy'><default name='public'/><list name='public'>\
            <item type='jid' value='tybalt@example.com' action='deny' order='1'/><item type='jid' value='b@c' action='deny' order='2'><message/></item>\
            <item action='allow' order='3'/></list><list name='private'><item type='jid' value='x@y' action='deny' order='10'/></list></query></user>
            """
        let report = try take(Self.document(xml), into: "a")
        #expect(report.taken == ["blocked addresses": 1])
        #expect(report.skipped == ["privacy lists that are not the default": 1, "privacy rules other than that an address is blocked": 2])
        #expect(try stored("a").stored().blocked.map(\.description) == ["tybalt@example.com"])
    }

    @Test("a node of which nobody may say who reads it is for its owner alone (reliability: nothing fails open)", arguments: [
        "", "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='n'><x xmlns='jabber:x:data'/></configure></pubsub>",
        """
        <pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='n'><x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'>\
        <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'><value>friends</value></field></x></configure></pubsub>
        """,
    ])
    func closedNodes(configuration: String) throws {
        let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'><item id='1'><p xmlns='urn:p'/></item></items></pubsub>"
        _ = try take(Self.document("<user name='a'>\(configuration)\(items)</user>"), into: "a")
        server.befriend("a", "friend")
        let friend = server.online("friend/x")
        friend.send("<iq type='get' id='n' to='a@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub></iq>")
        #expect(friend.received().last?.error == "cancel/not-allowed")
    }

    // MARK: Writing

    /// An account with something of every kind.
    private func fill(_ server: TestServer) throws {
        let keys = try ScramKeys.derive(
            password: try #require(PreparedPassword("secret")), salt: [UInt8](repeating: 3, count: 16), iterations: 4_096, hash: .sha256)
        server.createAccount("juliet", credentials: [keys])
        server.befriend("juliet", "romeo")
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        for (index, xml) in [
            "<query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example' name='Nurse &amp; &lt;co&gt;'><group>Staff</group><group>Ä'\"</group></item></query>",
            "<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><a b='1'>x</a></exodus></query>",
            "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@capulet.example'/><item jid='paris.example'/></block>",
            "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>a@b</jid></always><never/></prefs>",
            """
            <pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='storage'><item id='1'><a xmlns='urn:a'>1</a></item></publish><publish-options>\
            <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
            <field var='pubsub#access_model'><value>open</value></field><field var='pubsub#max_items'><value>max</value></field></x></publish-options></pubsub>
            """,
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='storage'><item id='2'><a xmlns='urn:a'>2</a></item></publish></pubsub>",
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='&lt;&apos;node'><item id='x'><a xmlns='urn:a'><b xmlns=''/></a></item></publish></pubsub>",
            """
            <pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='storage'><affiliation jid='romeo@capulet.example' affiliation='member'/>\
            </affiliations></pubsub>
            """,
        ].enumerated() {
            juliet.send("<iq type='set' id='f\(index)'>\(xml)</iq>")
            #expect(juliet.received().last { $0.id == "f\(index)" }?.element.attribute("type") == "result", "\(xml)")
        }
        romeo.send("<iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='storage' jid='romeo@capulet.example'/></pubsub></iq>")
        juliet.send("<message to='romeo@capulet.example' type='chat' id='c1'><body>said &lt;this&gt;</body></message>")
        server.online("benvolio/x").send("<presence type='subscribe' to='juliet@capulet.example'><nick xmlns='http://jabber.org/protocol/nick'>Ben</nick></presence>")
        juliet.disconnect()
        romeo.send("<message to='juliet@capulet.example' type='chat' id='w1'><body>waits</body></message>")
        romeo.send("<message to='juliet@capulet.example' type='chat' id='w2'><body>waits too</body><store xmlns='urn:xmpp:hints'/></message>")
    }

    private func export(_ name: String, from server: TestServer, hasArchive: Bool = true) throws -> String {
        let (export, address) = (PortableExport(server.router, eventing: PersonalEventingSettings(), hasArchive: hasArchive), server.address(name))
        var (lines, place) = ([String](), Optional(PortableExport.Place.account))
        while let next = place {
            let page = try #require(server.wait { (try? await export.page(of: address, at: next)) ?? nil } ?? nil)
            lines += page.lines.map { String(buffer: $0) }
            place = page.next
        }
        let ends = [PortableExport.documentStart(), PortableExport.hostStart("capulet.example")].map { String(buffer: $0) }
        return (ends + lines + [PortableExport.hostEnd, PortableExport.documentEnd].map { String(buffer: $0) }).joined(separator: "\n")
    }

    /// As `martlet account import` does it: messages that wait come last, and those that the archive has are not there twice.
    private func merged(_ bytes: [UInt8]) throws -> [PortablePiece] {
        let pieces = Self.pieces(try Self.events(bytes))
        let offline = pieces.filter { $0.place == .offlineMessages }
        let names = try offline.map { PortableImport.name(of: try $0.element().root, by: server.address("juliet")) }
        var merged: [PortablePiece] = []
        var inArchive: Set<String> = []
        for var piece in pieces where piece.place != .offlineMessages {
            if piece.place == .archive, let name = try piece.element().attribute("id"), names.contains(name) {
                piece.awaitsDelivery = true
                inArchive.insert(name)
            }
            merged.append(piece)
        }
        return merged + zip(offline, names).filter { !inArchive.contains($1 ?? "") }.map(\.0)
    }

    @Test("what is exported and imported and exported again is the same", arguments: [1, .max])
    func roundTrip(atOnce: Int) throws {
        try fill(server)
        let first = try export("juliet", from: server)
        let next = TestServer()
        next.time.advance(by: 60_000_000_000)
        next.createAccount("juliet")
        let (address, surroundings, store) = (next.address("juliet"), surroundings(), next.store)
        var (rest, last, report) = (try merged(Array(first.utf8))[...], UInt64(0), PortableReport())
        while !rest.isEmpty {
            let contents = try #require(next.wait { (try? await PortableImport.Contents.load(address, store)) ?? nil } ?? nil)
            var account = PortableImport(address, contents, lastView: last, surroundings)
            for piece in rest.prefix(atOnce) { account.take(piece) }
            rest = rest.dropFirst(atOnce)
            report.add(account.report)
            last = account.lastView
            let writes = account.writes()
            _ = next.wait { try? await store.commit(writes) }
        }
        let keys = try Self.events(Array(first.utf8)).compactMap { if case .keys(.success(let keys)) = $0 { keys } else { nil } }
        _ = next.wait { try? await store.commit([.account(.setCredentials(address, keys))]) }
        next.router.forget(address)
        #expect(report.skipped == [:])
        #expect(try export("juliet", from: next) == first)
        for part in ["scram-credentials", "Nurse &amp; &lt;co", "exodus", "tybalt", "default='roster'", "node='storage'", "subid=", "said &lt;this", "waits too", "Ben"] {
            #expect(first.contains(part), "\(part)")
        }
        // What waited is delivered, once.
        let juliet = next.client("juliet/balcony")
        juliet.send("<presence/>")
        let messages = juliet.received().filter { $0.element.localName == "message" }
        #expect(messages.map(\.id) == ["w1", "w2"])
    }

    @Test("a card of which a directory says a part goes as everybody sees it, and where it has come to the directory says its part anew")
    func profiles() throws {
        func profile(_ name: String) -> Profile { Profile(card: ByteBuffer(string: "<vCard xmlns='vcard-temp'><FN>\(name)</FN></vCard>"), owned: ["FN"]) }
        let (here, there) = (InMemoryProfiles(), InMemoryProfiles())
        let (server, next) = (TestServer(profiles: here), TestServer(profiles: there))
        let address = server.address("juliet")
        here[address] = profile("Juliet")
        there[address] = profile("Lady Capulet")
        let balcony = server.online("juliet/balcony")
        server.put([(address, here[address])])
        balcony.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><NICKNAME>Jule</NICKNAME></vCard></iq>")
        let text = try export("juliet", from: server)
        #expect(text.contains("<FN>Juliet</FN><NICKNAME>Jule</NICKNAME></vCard>") && !text.contains("x-martlet:profile"))
        // Also over a card of which that directory has said its part already.
        next.createAccount("juliet")
        next.put([(address, there[address])])
        _ = try take(Array(text.utf8), into: "juliet", on: next)
        #expect(try Self.card(stored("juliet", on: next))?.contains("<FN>Juliet</FN>") == true)
        next.put([(address, there[address])])
        #expect(try Self.card(stored("juliet", on: next))?.contains("<FN>Lady Capulet</FN><NICKNAME>Jule</NICKNAME></vCard>") == true)
    }

    private static func card(_ account: StoreContents.Account) -> String? { account.documents[.vCard].map { String(buffer: $0) } }

    @Test("without archives there are none, and messages that wait are there all the same")
    func withoutArchive() throws {
        try fill(server)
        let text = try export("juliet", from: server, hasArchive: false)
        #expect(!text.contains("pie:0#mam") && !text.contains("said &lt;this") && text.contains("waits too"))
    }

    @Test("an account that goes while it is written leaves a document that can be read; one that is not there is none")
    func gone() throws {
        try fill(server)
        let (export, address, router, mailbox) = (
            PortableExport(server.router, eventing: PersonalEventingSettings(), hasArchive: true), server.address("juliet"), server.router, server.context.mailbox
        )
        var (places, place) = ([PortableExport.Place](), Optional(PortableExport.Place.account))
        var pages: [[String]] = []
        while let next = place {
            let page = try #require(server.wait { (try? await export.page(of: address, at: next)) ?? nil } ?? nil)
            places.append(next)
            pages.append(page.lines.map { String(buffer: $0) })
            place = page.next
        }
        _ = server.wait { try? await router.delete(address, by: "test", on: mailbox) }
        for (index, place) in places.enumerated() {
            let end = server.wait { (try? await export.page(of: address, at: place)) ?? nil } ?? nil
            guard index > 0 else {
                #expect(end == nil)
                continue
            }
            let text = (pages[..<index].flatMap { $0 } + (end?.lines ?? []).map { String(buffer: $0) }).joined()
            #expect(end?.next == nil)
            #expect(throws: Never.self) { try Self.events(Self.document(text)) }
        }
    }

    @Test("long accounts are written page by page, and everything is in them once")
    func pages() throws {
        server.createAccount("juliet")
        let contacts = (0..<(PortableExport.entriesMax * 2 + 1)).map { "<item jid='c\($0)@a.example' subscription='to'/>" }.joined()
        let items = (0..<(PortableExport.itemsMax * 2)).map { "<item id='i\($0)'><p xmlns='urn:p'/></item>" }.joined()
        let messages = (0..<(PortableExport.entriesMax + 1)).map { index in
            """
            <result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='x@y' to='a@capulet.example' id='m\(index)'>\
            <body>x</body></message></forwarded></result>
            """
        }.joined()
        let xml = """
            <user name='a'><query xmlns='jabber:iq:roster'>\(contacts)</query><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'>\(items)</items></pubsub>\
            <archive xmlns='urn:xmpp:pie:0#mam'>\(messages)</archive></user>
            """
        _ = try take(Self.document(xml), into: "a") { $0.rosterItemsMax = 10_000 }
        let again = Self.pieces(try Self.events(Array(try export("a", from: server).utf8)))
        let counts = Dictionary(grouping: again, by: \.place).mapValues(\.count)
        #expect(counts == [.roster: PortableExport.entriesMax * 2 + 1, .nodeOwnership: 1, .nodeItems: PortableExport.itemsMax * 2, .archive: PortableExport.entriesMax + 1])
        #expect(Set(again.map(\.xml)).count == again.count)
    }

    @Test("an account that is disabled says so")
    func state() throws {
        server.createAccount("juliet")
        server.edit("juliet") { _ in .account(.setEnabled(server.address("juliet"), false)) }
        let events = try Self.events(Array(try export("juliet", from: server).utf8))
        #expect(events.contains(.isDisabled) && Self.user(events)?.name == "juliet")
    }
}
