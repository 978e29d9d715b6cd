import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite("The white pages as documents")
struct PeopleHTMLTests {
    private let domain: BareJID
    private let romeo: BareJID

    init() throws {
        domain = try BareJID(parsing: "verona.example")
        romeo = try BareJID(parsing: "romeo@verona.example")
    }

    private func card(_ elements: String) -> PersonCard {
        PersonCard(stored: ByteBuffer(string: "<vCard xmlns='vcard-temp'>\(elements)</vCard>"))
    }

    private func page(_ card: PersonCard, _ presence: PersonPresence? = nil, photo: String? = nil) -> String {
        let list = PeopleList([Person(romeo, card, photo: photo, presence: presence)])
        return PeopleHTML.people(at: domain, PeopleQuery(.words("ro")), list, for: .account(romeo, formToken: "f"))
    }

    private func presence(_ show: PresenceSummary.Show, _ status: String? = nil) -> PersonPresence {
        var summary = PresenceSummary()
        summary.show = show
        summary.statuses = status.map { [PresenceSummary.Status($0)] } ?? []
        return PersonPresence(summary)
    }

    // MARK: Texts

    @Test("what people say of themselves is text, in elements and in attributes")
    func escaping() {
        let nasty = "<script>alert('1')</script>\"&"
        var card = PersonCard()
        (card.name, card.title, card.organisation, card.telephone, card.mail) = (nasty, nasty, nasty, nasty, nasty)
        let html = page(card, presence(.dnd, nasty), photo: "/x\"onerror=\"y")
        #expect(!html.contains("<script>") && !html.contains("'1'") && !html.contains("\"onerror"))
        #expect(html.components(of: "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;") == 7)
    }

    @Test("no character turns the direction of what stands beside it, hides, or ends the line")
    func direction() {
        #expect(ShownText.line("a\u{202E}b\u{2066}c\u{200F}d\u{61C}e\u{FEFF}f\u{200B}g\u{0}h\u{7}i") == "abcdefghi")
        #expect(ShownText.line("  a \n\t b\u{2028}c\u{A0}") == "a b c")
        // Joiners, of which letters and pictures are made.
        #expect(ShownText.line("👨\u{200D}👩") == "👨\u{200D}👩")
        var card = PersonCard()
        card.name = "\u{202E}oemoR"
        #expect(page(card).contains("<bdi>oemoR</bdi>"))
    }

    @Test("a name of 10,000 characters, or of one character that has as many parts, is cut", arguments: ["a", "\u{301}"])
    func long(part: String) {
        let most = "x" + String(repeating: part, count: ShownText.scalarsMax - 1)
        #expect(ShownText.line(most) == most)
        #expect(ShownText.line(most + part).unicodeScalars.count == ShownText.scalarsMax + 1 && ShownText.line(most + part).hasSuffix("…"))
        #expect(ShownText.line("x" + String(repeating: part, count: 10_000)).unicodeScalars.count == ShownText.scalarsMax + 1)
    }

    // MARK: Links

    @Test("a telephone number is one to call, an address one to write to, and an account one to chat with, if they look like it (RFC 3966, 6068, 5122)")
    func links() throws {
        var card = PersonCard()
        (card.telephone, card.mail) = ("+44 (20) 7946-0958", "romeo+x@montague.example")
        let html = page(card)
        #expect(html.contains("href=\"tel:+442079460958\"") && html.contains("href=\"mailto:romeo%2Bx@montague.example\""))
        #expect(html.contains("href=\"xmpp:romeo@verona.example?message\""))
        (card.telephone, card.mail) = ("ask my secretary", "javascript:alert(1)")
        let none = page(card)
        #expect(!none.contains("tel:") && !none.contains("mailto:") && !none.contains("href=\"javascript"))
        for mail in ["a@b@c", "@b", "a@", "a b@c", "a\u{202E}@b", String(repeating: "a", count: 250) + "@b.ex"] {
            card.mail = mail
            #expect(!page(card).contains("mailto:"), "\(mail)")
        }
        card.mail = "a?subject=x&bcc=y@b"
        #expect(page(card).contains("mailto:a%3Fsubject%3Dx%26bcc%3Dy@b"))
        let artagnan = try BareJID(localpart: "d#art?agnan", domainpart: "verona.example")
        let list = PeopleList([Person(artagnan, PersonCard())])
        #expect(PeopleHTML.people(at: domain, PeopleQuery(.words("d")), list, for: .anonymous).contains("xmpp:d%23art%3Fagnan@verona.example?message"))
    }

    @Test("a presence that may not be seen is nothing, and not offline; one that may is a word beside its colour")
    func presences() {
        #expect(page(PersonCard()).contains("class=\"presence unknown\"><span class=\"dot\" aria-hidden=\"true\"></span><bdi class=\"text\"></bdi>"))
        #expect(page(PersonCard(), presence(.offline)).contains("class=\"presence offline\"") && page(PersonCard(), presence(.offline)).contains(">offline</bdi>"))
        #expect(page(PersonCard(), presence(.dnd, "In a meeting")).contains(">In a meeting</bdi>"))
    }

    @Test("who has no name is called as the account is; where somebody was found, by somebody, there is one script, and a line for those who do not see")
    func frame() {
        let html = page(PersonCard())
        #expect(html.contains("<bdi>romeo</bdi>") && html.contains("aria-live=\"polite\""))
        #expect(html.components(of: "<script") == 1 && html.contains("<script src=\"/people.js\" defer></script>"))
        #expect(!PeopleHTML.people(at: domain, PeopleQuery(.words("ro")), PeopleList([Person(romeo, PersonCard())]), for: .anonymous).contains("<script"))
        let nobody = PeopleHTML.people(at: domain, PeopleQuery(.words("x")), PeopleList([]), for: .anonymous)
        #expect(nobody.contains("Nobody was found.") && !nobody.contains("<script") && nobody.contains("href=\"/people/login\""))
        let first = PeopleHTML.people(at: domain, PeopleQuery(), nil, for: .anonymous)
        #expect(!first.contains("Nobody") && first.contains("<label for=\"q\">") && first.contains("href=\"/people?letter=z\""))
    }

    @Test("what is searched for, and what was typed at a log-in, comes back as text; a password does not come back")
    func typed() {
        let html = PeopleHTML.people(at: domain, PeopleQuery(.words("\"><b>")), nil, for: .anonymous)
        #expect(html.contains("value=\"&quot;&gt;&lt;b&gt;\""))
        let login = PeopleHTML.login(at: domain, formToken: "\"f", name: "\"><b>", problem: "<i>")
        #expect(login.contains("name=\"form\" value=\"&quot;f\"") && login.contains("value=\"&quot;&gt;&lt;b&gt;\"") && login.contains("role=\"alert\">&lt;i&gt;"))
        #expect(login.contains("method=\"post\"") && login.contains("autocomplete=\"current-password\"") && !login.contains("<script"))
    }

    @Test("pages lead to each other, and not beyond the first and the last")
    func pages() {
        func html(_ page: Int, of count: Int, isCut: Bool = false) -> String {
            let list = PeopleList([Person(romeo, PersonCard())], pageCount: count, isCut: isCut)
            return PeopleHTML.people(at: domain, PeopleQuery(.words("a&b"), page: page), list, for: .anonymous)
        }
        #expect(!html(1, of: 1).contains("Page 1"))
        #expect(html(1, of: 2).contains("href=\"/people?q=a%26b&amp;page=2\"") && !html(1, of: 2).contains("rel=\"prev\""))
        #expect(html(2, of: 2).contains("href=\"/people?q=a%26b\"") && !html(2, of: 2).contains("rel=\"next\""))
        #expect(html(1, of: 40, isCut: true).contains("There are more than can be shown."))
    }

    // MARK: Cards

    @Test("of a card the name, the title or the role, the number at work, the first address and the photo are shown")
    func cards() {
        let full = card(
            """
            <FN>Romeo Montague</FN><ROLE>son</ROLE><TITLE>Heir</TITLE><ORG><ORGNAME>Montague</ORGNAME></ORG><TEL><FAX/><WORK/><NUMBER>1</NUMBER></TEL>\
            <TEL><HOME/><NUMBER>2</NUMBER></TEL><TEL><WORK/><VOICE/><NUMBER>3</NUMBER></TEL><EMAIL><USERID>romeo@montague.example</USERID></EMAIL>
            """)
        #expect((full.name, full.title, full.telephone, full.mail) == ("Romeo Montague", "Heir", "3", "romeo@montague.example"))
        let poor = card("<N><FAMILY>Montague</FAMILY><GIVEN>Romeo</GIVEN></N><ROLE>son</ROLE><TEL><FAX/><NUMBER>1</NUMBER></TEL><TEL><NUMBER>2</NUMBER></TEL>")
        #expect((poor.name, poor.title, poor.telephone) == ("Romeo Montague", "son", "2") && poor.photo == nil)
        #expect(PersonCard(stored: ByteBuffer(string: "<x/>")) == PersonCard() && PersonCard(stored: ByteBuffer(string: "<vCard")) == PersonCard())
        #expect(PersonCard(stored: nil) == PersonCard())
    }

    @Test("a photo is what its bytes are, whatever the card says, and nothing that could act", arguments: [
        ([0xFF, 0xD8, 0xFF, 0xE0] as [UInt8], "image/jpeg" as String?), ([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], "image/png"), (Array("GIF89a".utf8), "image/gif"),
        (Array("RIFF1234WEBP".utf8), "image/webp"), (Array("<svg xmlns='http://www.w3.org/2000/svg'/>".utf8), nil), (Array("<html>".utf8), nil), ([], nil),
    ])
    func photos(bytes: [UInt8], type: String?) {
        let shown = card("<PHOTO><TYPE>image/svg+xml</TYPE><BINVAL>\n \(Base64.encode(bytes)) \n</BINVAL></PHOTO>").photo
        #expect(shown?.type == type && shown.map(\.bytes) == type.map { _ in bytes })
        #expect(card("<PHOTO><BINVAL>!</BINVAL></PHOTO>").photo == nil && card("<PHOTO><EXTVAL>http://x.example/</EXTVAL></PHOTO>").photo == nil)
    }

    @Test("a photo has so many bytes at most")
    func photoBytes() {
        let longest = [0xFF, 0xD8, 0xFF] + [UInt8](repeating: 0, count: PersonPhoto.bytesMax - 3)
        #expect(PersonPhoto(longest) != nil && PersonPhoto(longest + [0]) == nil)
    }

    @Test("the path of a photo says whose it is, and reads back")
    func photoPaths() throws {
        let photo = PeoplePhotoPath(localpart: "d/art?agnan", digest: "abc")
        #expect(photo.path(sealed: "s-1") == "/people/photo/abc/s-1/d%2Fart%3Fagnan")
        let read = try #require(PeoplePhotoPath.read(photo.path(sealed: "s-1")))
        #expect(read.photo == photo && read.seal == "s-1")
        for path in ["/people/photo/", "/people/photo/a", "/people/photo/a/b", "/people/photo/a//c", "/people/photo/a/b/c/d", "/people/photo/a/b/%FF", "/people/photo/a/b/%4"] {
            #expect(PeoplePhotoPath.read(path) == nil, "\(path)")
        }
    }

    // MARK: Questions

    @Test("a question is one that a link or the form makes", arguments: [
        ("/people", PeopleQuery() as PeopleQuery?), ("/people?q=", PeopleQuery()), ("/people?q=+%20", PeopleQuery()), ("/people?q=al+ice", PeopleQuery(.words("al ice"))),
        ("/people?letter=A", PeopleQuery(.letter("a"))), ("/people?letter=z&page=40", PeopleQuery(.letter("z"), page: 40)), ("/people?q=a&page=1", PeopleQuery(.words("a"))),
        ("/people?letter=%C3%A4", nil), ("/people?letter=ab", nil), ("/people?letter=", nil), ("/people?page=0", nil), ("/people?page=41", nil), ("/people?page=+1", nil),
        ("/people?q=a&q=b", nil), ("/people?q=%FF", nil), ("/people?q=%4", nil), ("/people?q", nil),
    ])
    func queries(uri: String, query: PeopleQuery?) {
        #expect(PeopleQuery(uri: uri) == query)
        if let query { #expect(PeopleQuery(uri: query.path) == query) }
    }

    @Test("so long may be what is searched for, and so many words")
    func queryLength() throws {
        let longest = String(repeating: "a", count: PeopleQuery.wordsBytesMax)
        #expect(PeopleQuery(uri: "/people?q=\(longest)") != nil && PeopleQuery(uri: "/people?q=\(longest)a") == nil)
        let words = (1...CardSearch.termsMax).map { "w\($0)" }.joined(separator: " ")
        #expect(PeopleQuery(.words(words)).search(at: "verona.example", by: .bare(romeo), findsEmpty: false)?.terms.count == CardSearch.termsMax)
        #expect(PeopleQuery(.words(words + " more")).search(at: "verona.example", by: .bare(romeo), findsEmpty: false) == nil)
        #expect(PeopleQuery(.words("-")).search(at: "verona.example", by: .bare(romeo), findsEmpty: false) == nil)
    }

    @Test("under a letter is whose family name begins with it, or who has no name but the account's")
    func letters() {
        func means(_ letter: String, _ change: (inout PublicCard) -> Void) -> Bool {
            var card = PublicCard()
            change(&card)
            return PeopleQuery(.letter(letter)).means(FoundCard(romeo, card))
        }
        #expect(means("m") { ($0.first, $0.last) = ("Romeo", "Montague") } && !means("r") { ($0.first, $0.last) = ("Romeo", "Montague") })
        #expect(means("r") { $0.name = "Romeo Montague" } && means("m") { $0.name = "Romeo Montague" })
        #expect(means("r") { _ in } && !means("r") { $0.email = "x@y" })
    }

    // MARK: Events

    @Test("an event is one line of JSON, whatever is in it")
    func events() {
        #expect(PeopleEvents.presence(of: "romeo", presence(.dnd, "a \"b\"\\\n\u{202E}c")) ==
            "event: presence\ndata: {\"id\":\"romeo\",\"show\":\"dnd\",\"text\":\"a \\\"b\\\"\\\\ c\"}\n\n")
        #expect(PeopleEvents.presence(of: "ro\"\nmeo", nil) == "event: presence\ndata: {\"id\":\"ro\\\"\\u000ameo\",\"show\":\"unknown\",\"text\":\"\"}\n\n")
    }

    @Test("whom events are about is named, at most so many")
    func ids() {
        let most = (1...PeopleEvents.peopleMax).map { "a\($0)" }
        #expect(PeopleEvents.localparts(uri: "/people/events?ids=\(most.joined(separator: ","))") == most)
        #expect(PeopleEvents.localparts(uri: "/people/events?ids=\(most.joined(separator: ",")),more") == nil)
        #expect(PeopleEvents.localparts(uri: "/people/events?ids=a%2Cb,c%22") == ["a,b", "c\""])
        for query in ["", "?ids=", "?ids=a,,b", "?ids=a,", "?ids=%FF", "?ids=%4", "?id=a"] {
            #expect(PeopleEvents.localparts(uri: "/people/events\(query)") == nil, "\(query)")
        }
    }
}

@Suite("Who has logged in to the white pages")
struct PeopleSessionsTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let moment = CredentialChanges().now

    private func account(_ number: Int) throws -> BareJID { try BareJID(localpart: "a\(number)", domainpart: "verona.example") }

    @Test("a session is known by its token until its end, and no longer")
    func lifetime() throws {
        var sessions = PeopleSessions()
        sessions.begin("t", try account(1), at: moment, form: "f", until: start + .hours(1), now: start)
        #expect(sessions.session("t", now: start + .hours(1) - .nanoseconds(1))?.formToken == "f")
        #expect(sessions.session("t", now: start + .hours(1)) == nil && sessions.session("T", now: start) == nil && sessions.session("", now: start) == nil)
        sessions.end("t")
        #expect(sessions.session("t", now: start) == nil && sessions.count == 0)
    }

    @Test("an account has so many sessions; the one that ends first gives way")
    func perAccount() throws {
        var sessions = PeopleSessions()
        for number in 0...PeopleSessions.perAccountMax {
            sessions.begin("t\(number)", try account(1), at: moment, form: "f", until: start + .seconds(100 + Int64(number)), now: start)
            let isFirstThere = sessions.session("t0", now: start) != nil
            #expect(isFirstThere == (number < PeopleSessions.perAccountMax))
        }
        #expect(sessions.count == PeopleSessions.perAccountMax)
    }

    @Test("there are so many in all; those that are over go first")
    func total() throws {
        var sessions = PeopleSessions()
        for number in 0..<PeopleSessions.countMax {
            sessions.begin("t\(number)", try account(number), at: moment, form: "f", until: start + .seconds(number == 7 ? 1 : 1_000 + Int64(number)), now: start)
        }
        #expect(sessions.count == PeopleSessions.countMax)
        sessions.begin("later", try account(-1), at: moment, form: "f", until: start + .hours(1), now: start + .seconds(2))
        #expect(sessions.count == PeopleSessions.countMax && sessions.session("t0", now: start + .seconds(2)) != nil)
        sessions.begin("last", try account(-2), at: moment, form: "f", until: start + .hours(1), now: start + .seconds(2))
        #expect(sessions.count == PeopleSessions.countMax && sessions.session("t0", now: start + .seconds(2)) == nil)
    }
}

@Suite("The bounds of the white pages")
struct PeopleDeskTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private let here = NetworkAddress("192.0.2.1")
    private let there = NetworkAddress("192.0.2.2")

    private func desk(_ change: (inout PeopleSettings) -> Void) -> PeopleDesk {
        var settings = PeopleSettings()
        change(&settings)
        return PeopleDesk(settings)
    }

    @Test("so many pages are made up at a time, and so many photos looked for, which count apart")
    func searches() {
        let desk = desk { ($0.searchesMax, $0.photosMax) = (2, 1) }
        let taken = [desk.beginSearch(), desk.beginSearch(), desk.beginSearch(), desk.beginPhoto(), desk.beginPhoto()]
        #expect(taken == [true, true, false, true, false])
        desk.endSearch()
        desk.endPhoto()
        let again = [desk.beginSearch(), desk.beginSearch(), desk.beginPhoto(), desk.beginPhoto()]
        #expect(again == [true, false, true, false])
    }

    @Test("so many streams go to one network, and so many to all")
    func streams() {
        let desk = desk { ($0.streamsPerNetworkMax, $0.streamsMax) = (2, 3) }
        let taken = [here, here, here, there, there].map { desk.beginStream(to: $0) }
        #expect(taken == [true, true, false, true, false] && desk.streamCount == 3)
        desk.endStream(to: here)
        let again = [there, here].map { desk.beginStream(to: $0) }
        #expect(again == [true, false])
        for address in [here, there, there, there] { desk.endStream(to: address) }
        #expect(desk.streamCount == 0)
    }

    @Test("a network asks so often at once, then as time goes by; whoever is nobody in particular is one")
    func requests() {
        let desk = desk { ($0.requestsBurst, $0.requestRecovery) = (2, .seconds(1)) }
        let taken = [here, here, here, there, nil, nil, nil].map { desk.takes(from: $0, at: start) }
        #expect(taken == [true, true, false, true, true, true, false])
        let later = [desk.takes(from: here, at: start + .milliseconds(999)), desk.takes(from: here, at: start + .seconds(1)), desk.takes(from: here, at: start + .seconds(1))]
        #expect(later == [false, true, false])
    }

    @Test("a reload keeps who is in, and what is counted")
    func reload() throws {
        let desk = desk { $0.streamsMax = 1 }
        let juliet = try BareJID(parsing: "juliet@verona.example")
        desk.begin("t", juliet, at: CredentialChanges().now, form: "f", now: start)
        let first = desk.beginStream(to: here)
        desk.apply(PeopleSettings())
        #expect(first && desk.streamCount == 1 && desk.session("t", now: start)?.account == juliet)
        let end = start + desk.settings.sessionLifetime
        #expect(desk.session("t", now: end - .nanoseconds(1)) != nil && desk.session("t", now: end) == nil)
    }

    @Test("the seal of a photo is good for that photo, that viewer and that domain, at that server")
    func seals() throws {
        let (desk, other) = (desk { _ in }, desk { _ in })
        let (juliet, romeo) = (try BareJID(parsing: "juliet@verona.example"), try BareJID(parsing: "romeo@verona.example"))
        let photo = PeoplePhotoPath(localpart: "romeo", digest: "abc")
        let seal = desk.seal(photo, for: juliet, at: "verona.example")
        #expect(desk.isSealed(photo, by: seal, for: juliet, at: "verona.example") && !other.isSealed(photo, by: seal, for: juliet, at: "verona.example"))
        #expect(!desk.isSealed(photo, by: seal, for: romeo, at: "verona.example") && !desk.isSealed(photo, by: seal, for: nil, at: "verona.example"))
        #expect(!desk.isSealed(photo, by: seal, for: juliet, at: "mantua.example") && !desk.isSealed(photo, by: "", for: juliet, at: "verona.example"))
        #expect(!desk.isSealed(PeoplePhotoPath(localpart: "romeo", digest: "abd"), by: seal, for: juliet, at: "verona.example"))
        #expect(!desk.isSealed(PeoplePhotoPath(localpart: "tybalt", digest: "abc"), by: seal, for: juliet, at: "verona.example"))
    }
}

extension String {
    /// How often it has another one in it.
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
