import Logging
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@Suite("What a directory says of people, in their cards (XEP-0054)")
struct ProfileBookTests {
    private let book = ProfileBook()
    private let entries = ScriptedEntries()
    private static let picture: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array("Alice".utf8)

    private static let alice = person(
        "alice",
        [
            LDAPAttribute("cn", "Alice Adams"), LDAPAttribute("sn", "Adams"), LDAPAttribute("givenName", "Alice"), LDAPAttribute("mail", "alice@example.org"),
            LDAPAttribute("telephoneNumber", strings: ["+44 20 7946 0001", "+44 20 7946 0002"]), LDAPAttribute("title", "Duty officer"),
            LDAPAttribute("ou", "Ops"), LDAPAttribute("l", "London"), LDAPAttribute("postalAddress", "1 High Street$London"),
            LDAPAttribute("jpegPhoto", [picture]),
        ])

    @discardableResult
    private func add(_ entry: LDAPEntry = alice, _ change: (inout ProfileSettings) -> Void = { _ in }) -> PeopleDirectory {
        var settings = ProfileSettings()
        change(&settings)
        let people = PeopleDirectory(mirroredPeople(), time: StoppedClock(0))
        _ = people.take([.search(.everything), .change(.entry(.number(1), entry)), .refreshed(RefreshEnd())], isLive: true)
        book.add(jid("alice").domain, people, settings, entries, log: TestDirectory.log)
        return people
    }

    private func card(_ profile: Profile?) -> String { profile.map { String(buffer: $0.card) } ?? "" }

    // MARK: What it says

    private static let phones = "<TEL><WORK/><VOICE/><NUMBER>+44 20 7946 0001</NUMBER></TEL><TEL><WORK/><VOICE/><NUMBER>+44 20 7946 0002</NUMBER></TEL>"

    @Test("an entry is a card")
    func rendered() {
        add()
        #expect(card(book.profile(of: jid("alice"))) == """
            <vCard xmlns='vcard-temp'><FN>Alice Adams</FN><N><FAMILY>Adams</FAMILY><GIVEN>Alice</GIVEN></N>\
            <EMAIL><INTERNET/><PREF/><USERID>alice@example.org</USERID></EMAIL>\(Self.phones)\
            <TITLE>Duty officer</TITLE><ORG><ORGNAME/><ORGUNIT>Ops</ORGUNIT></ORG>\
            <ADR><WORK/><LOCALITY>London</LOCALITY></ADR><LABEL><WORK/><LINE>1 High Street</LINE><LINE>London</LINE></LABEL>\
            <JABBERID>alice@example.org</JABBERID><UID>urn:uuid:\(EntryUUID.number(1))</UID></vCard>
            """)
        #expect(book.profile(of: jid("alice"))?.picture == PhotoDigest(Self.picture).map { $0.sha1.map(hexadecimal).joined() })
        #expect(book.profile(of: jid("bob")) == nil)
    }

    private func hexadecimal(_ byte: UInt8) -> String { byte < 16 ? "0" + String(byte, radix: 16) : String(byte, radix: 16) }

    @Test("whose what of it is says the operator", arguments: [
        (ProfileSettings.Source.directory, true, true, false), (.directoryFirst, true, false, false), (.userFirst, false, false, true), (.user, false, false, false),
    ])
    func sources(source: ProfileSettings.Source, ownsTitle: Bool, ownsRole: Bool, isPreset: Bool) throws {
        add { $0.sources = [.title: source, .role: source] }
        let profile = try #require(book.profile(of: jid("alice")))
        #expect(profile.owned.contains("TITLE") == ownsTitle && profile.owned.contains("ROLE") == ownsRole)
        #expect(profile.preset.isSuperset(of: ["TITLE", "ROLE"]) == isPreset)
        #expect(card(profile).contains("<TITLE>") == (source != .user))
        #expect(profile.owned.contains("FN") && !profile.owned.contains("URL"))
    }

    @Test("where pictures are people's own none is named")
    func withoutPictures() {
        add { $0.sources = [.photo: .user] }
        #expect(book.profile(of: jid("alice"))?.picture == nil)
    }

    @Test("where all is people's own the directory says nothing")
    func nothing() {
        add { settings in for field in ProfileField.allCases { settings.sources[field] = .user } }
        #expect(book.profile(of: jid("alice")) == nil)
    }

    @Test("a value that is too long is not shown", arguments: [(4_096, true), (4_097, false)])
    func longValues(count: Int, isShown: Bool) {
        add(person("alice", [LDAPAttribute("cn", "Alice"), LDAPAttribute("title", String(repeating: "x", count: count))]))
        #expect(card(book.profile(of: jid("alice"))).contains("<TITLE>") == isShown)
    }

    // MARK: Pictures

    @Test("the picture that is named is read from the entry; one that has changed meanwhile, or cannot be had, is none")
    func pictures() async throws {
        add()
        let digest = try #require(book.profile(of: jid("alice"))?.picture)
        #expect(await book.picture(digest, of: jid("alice")) == nil)
        entries.pictures = [Self.picture]
        #expect(await book.picture(digest, of: jid("alice")) == Self.picture)
        #expect(await book.picture("00", of: jid("alice")) == nil)
        #expect(await book.picture(digest, of: jid("bob")) == nil)
        entries.failure = .resting
        #expect(await book.picture(digest, of: jid("alice")) == nil)
    }

    // MARK: Changes

    private static func change(_ name: String, _ elements: String...) -> ProfileChange {
        ProfileChange(name, elements.map { ByteBuffer(string: $0.replacing(">", with: " xmlns='vcard-temp'>", maxReplacements: 1)) })
    }

    private func attempt(_ changes: ProfileChange...) async -> Result<Profile, StanzaError> {
        do throws(StanzaError) { return .success(try await book.change(jid("alice"), changes)) } catch { return .failure(error) }
    }

    @Test("a number is changed in the person's name: others stay as they are written")
    func phone() async throws {
        let people = add { $0.writable = [.telephoneNumber, .mobile] }
        entries.changed = person("alice", [LDAPAttribute("cn", "Alice Adams"), LDAPAttribute("mobile", "+44 7700 900001")])
        let outcome = await attempt(
            Self.change("TEL", "<TEL><WORK/><NUMBER>+44-20-7946-0002</NUMBER></TEL>", "<TEL><CELL/><NUMBER>+44 7700 900001</NUMBER></TEL>"))
        #expect(entries.requests == [
            ModifyRequest(
                "uid=alice,ou=people",
                [
                    .init(.replace, LDAPAttribute("telephoneNumber", "+44 20 7946 0002")),
                    .init(.replace, LDAPAttribute("mobile", "+44 7700 900001")),
                ])
        ])
        // What the directory says from now on is said at once, and until the feed says something else.
        let profile = try outcome.get()
        #expect(card(profile).contains("<TEL><CELL/><NUMBER>+44 7700 900001</NUMBER></TEL>") && profile == book.profile(of: jid("alice")))
        _ = people.take([.change(.entry(.number(1), person("alice", [LDAPAttribute("cn", "Alice Other")])))], isLive: true)
        #expect(card(book.profile(of: jid("alice"))).contains("<FN>Alice Other</FN>"))
    }

    @Test("an attribute that people may not change stops the whole change, and the element is named")
    func notWritable() async {
        add { $0.writable = [.mobile] }
        #expect(await attempt(Self.change("TEL", "<TEL><CELL/><NUMBER>1</NUMBER></TEL>")) == .failure(StanzaError(.notAllowed, text: "TEL is what the directory says")))
        #expect(await attempt(Self.change("EMAIL")) == .failure(StanzaError(.notAllowed, text: "EMAIL is what the directory says")))
        #expect(entries.requests == [])
    }

    @Test("values that are not shown stay; what says the same is no change")
    func hidden() async {
        add(person("alice", [LDAPAttribute("cn", "Alice"), LDAPAttribute("title", strings: ["Duty officer", "Clerk"])])) { $0.writable = [.title, .displayName] }
        entries.changed = person("alice", [LDAPAttribute("cn", "Alice"), LDAPAttribute("title", strings: ["Captain", "Clerk"])])
        _ = await attempt(Self.change("TITLE", "<TITLE>Captain</TITLE>"))
        #expect(entries.requests.last?.changes == [.init(.replace, LDAPAttribute("title", strings: ["Captain", "Clerk"]))])
        entries.requests = []
        // The name that is shown is `cn`.
        #expect(await (try? attempt(Self.change("FN", "<FN>Alice</FN>")).get()) != nil)
        #expect(entries.requests == [])
    }

    @Test("addresses, labels and pictures are written as the directory has them")
    func others() async {
        add { $0.writable = Set(ProfileAttribute.allCases) }
        entries.changed = person("alice")
        _ = await attempt(
            Self.change("ADR", "<ADR><WORK/><LOCALITY>Bath</LOCALITY><PCODE>BA1</PCODE></ADR>"),
            Self.change("LABEL", "<LABEL><LINE>1 $treet</LINE><LINE>Bath \\ UK</LINE></LABEL>"), Self.change("URL", "<URL>https://a.example/</URL>"),
            Self.change("PHOTO", "<PHOTO><BINVAL>/9j/</BINVAL></PHOTO>"), Self.change("DESC"))
        #expect(entries.requests.first?.changes == [
            .init(.replace, LDAPAttribute("l", "Bath")), .init(.replace, LDAPAttribute("postalCode", "BA1")),
            .init(.replace, LDAPAttribute("postalAddress", "1 \\24treet$Bath \\5C UK")), .init(.replace, LDAPAttribute("labeledURI", "https://a.example/")),
            .init(.replace, LDAPAttribute("jpegPhoto", [[0xFF, 0xD8, 0xFF]])),
        ])
    }

    @Test("what a directory refuses is said so that it helps, and in none of its words", arguments: [
        (DirectoryFailure.refused(LDAPResult(.insufficientAccessRights)), StanzaError.Condition.forbidden),
        (.refused(LDAPResult(.authorizationDenied)), .notAllowed), (.refused(LDAPResult(.unavailableCriticalExtension)), .notAllowed),
        (.refused(LDAPResult(.invalidAttributeSyntax)), .notAcceptable), (.refused(LDAPResult(.objectClassViolation)), .notAcceptable),
        (.refused(LDAPResult(.busy)), .resourceConstraint), (.resting, .resourceConstraint), (.timedOut(.seconds(5)), .resourceConstraint),
    ])
    func refused(failure: DirectoryFailure, condition: StanzaError.Condition) async throws {
        add { $0.writable = [.title] }
        entries.failure = failure
        guard case .failure(let error) = await attempt(Self.change("TITLE", "<TITLE>Captain</TITLE>")) else {
            Issue.record("it was changed")
            return
        }
        #expect(error.condition == condition)
        #expect(card(book.profile(of: jid("alice"))).contains("<TITLE>Duty officer</TITLE>"))
    }

    // MARK: Into cards

    @Test("what the directory says comes into cards, once, and again when a picture can be had")
    func delivered() {
        let server = TestServer(domains: ["example.org"], profiles: book)
        add()
        server.createAccount("alice")
        let loop = EmbeddedEventLoop()
        let delivery = ProfileDelivery(jid("alice").domain, book, server.router, on: server.context.mailbox, timers: loop, log: TestDirectory.log)
        let card = { (server: TestServer) -> String in
            let id = server.store.contents[server.address("alice")]?.id ?? .nobody
            return server.store.contents.document(id, .vCard).map { String(buffer: $0) } ?? ""
        }
        entries.failure = .resting
        _ = server.wait { await delivery.note([jid("alice"), jid("nobody")]) }
        for _ in 0..<50 { server.run() }
        #expect(card(server).contains("<FN>Alice Adams</FN>") && !card(server).contains("<PHOTO"))
        (entries.failure, entries.pictures) = (nil, [Self.picture])
        loop.advanceTime(by: .seconds(10))
        for _ in 0..<50 { server.run() }
        #expect(card(server).contains("<PHOTO"))
        let before = server.store.settled.sequence
        _ = server.wait { await delivery.note([jid("alice")]) }
        for _ in 0..<50 { server.run() }
        #expect(server.store.settled.sequence == before)
        _ = server.wait { await delivery.stop() }
    }
}

/// A directory's entries that a test plays.
final class ScriptedEntries: PersonalEntries {
    private struct State {
        var pictures: [[UInt8]] = []
        var failure: DirectoryFailure?
        var requests: [ModifyRequest] = []
        var changed = LDAPEntry("")
    }

    // A lock: it is asked from tasks.
    private let state = Mutex(State())

    var pictures: [[UInt8]] {
        get { state.withLock { $0.pictures } }
        set { state.withLock { $0.pictures = newValue } }
    }
    var failure: DirectoryFailure? {
        get { state.withLock { $0.failure } }
        set { state.withLock { $0.failure = newValue } }
    }
    var requests: [ModifyRequest] {
        get { state.withLock { $0.requests } }
        set { state.withLock { $0.requests = newValue } }
    }
    /// An entry after a change.
    var changed: LDAPEntry {
        get { state.withLock { $0.changed } }
        set { state.withLock { $0.changed = newValue } }
    }

    func values(of attribute: String, at name: String) async throws(DirectoryFailure) -> [[UInt8]] {
        if let failure { throw failure }
        return pictures
    }

    func modify(_ request: ModifyRequest, reading attributes: [String]) async throws(DirectoryFailure) -> LDAPEntry {
        if let failure { throw failure }
        requests.append(request)
        return changed
    }
}
