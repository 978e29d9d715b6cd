import MartletCore
import MartletFeatures
import MartletXML
import MartletXMPP
import NIOCore
import Testing

private func element(_ text: String) throws -> ElementView {
    try parseElement(ByteBuffer(string: text), limits: .authenticated).root
}

private func jid(_ text: String) -> JID { try! JID(text) }

private func condition(_ body: () throws -> Void) -> StanzaError.Condition? {
    do { try body() } catch { return (error as? StanzaError)?.condition }
    return nil
}

private func text(_ reply: IQReply) -> String { reply.payload.map { String(buffer: $0) } ?? "" }

@Suite("XEP-0313 Message Archive Management: queries")
struct ArchiveQueryTests {
    private func query(_ content: String, _ attributes: String = "") throws -> ArchiveQuery {
        try ArchiveQuery(element("<query xmlns='urn:xmpp:mam:2' \(attributes)>\(content)</query>"))
    }

    private func form(_ fields: (String, [String])...) -> String {
        let fields = fields.map { "<field var='\($0)'>" + $1.map { "<value>\($0)</value>" }.joined() + "</field>" }
        return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\(fields.joined())</x>"
    }

    private func set(_ content: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>" }

    @Test("a query without anything asks for the first page of everything (§4)")
    func empty() throws {
        let query = try query("")
        #expect(query == ArchiveQuery())
        #expect(query.page == .first && query.limit == ArchiveQuery.pageUsual && query.ids.isEmpty && query.queryID == nil)
    }

    @Test("every filter is read (§4.1, XEP-0431)")
    func filters() throws {
        let query = try query(
            form(
                ("with", ["Romeo@Montague.Example/orchard"]), ("start", ["2010-06-07T00:00:00Z"]), ("end", ["2010-07-07T13:23:54.5Z"]),
                ("before-id", ["9"]), ("after-id", ["3"]), ("ids", ["4", "5"]), ("include-groupchat", ["false"]),
                ("{urn:xmpp:fulltext:0}fulltext", ["wherefore"])) + "<flip-page/>", "queryid='f27'")
        #expect(query.with == jid("romeo@montague.example/orchard"))
        #expect(query.start == 1_275_868_800_000 && query.end == 1_278_509_034_500)
        #expect(query.beforeID == 9 && query.afterID == 3 && query.ids == [4, 5])
        #expect(query.includesGroupchat == false && query.text == "wherefore" && query.isFlipped && query.queryID == "f27")
    }

    @Test(
        "pages are asked for by the names of messages, or from the end (§4.3)",
        arguments: [
            ("<max>10</max>", .first, 10), ("<max>10</max><after>7</after>", .after(7), 10), ("<before>7</before>", .before(7), ArchiveQuery.pageUsual),
            ("<before/>", .last, ArchiveQuery.pageUsual), ("<max>0</max>", .first, 0), ("<max>250</max>", .first, 250), ("<max>251</max>", .first, 250),
        ] as [(String, ArchiveQuery.Page, Int)])
    func pages(content: String, page: ArchiveQuery.Page, limit: Int) throws {
        let query = try query(set(content))
        #expect(query.page == page && query.limit == limit)
    }

    @Test("a query asks the store for what is in both of its ranges, and for nothing that it does not know (§8)")
    func request() throws {
        let ranges = form(("before-id", ["90"]), ("after-id", ["10"]), ("with", ["romeo@montague.example"]), ("start", ["1970-01-01T00:00:01Z"]))
        var request = try query(ranges + set("<max>5</max><after>20</after>")).request
        #expect(request.after == 20 && request.before == 90 && request.named == [10, 20, 90] && !request.isBackwards && request.limit == 5)
        #expect(request.peer == jid("romeo@montague.example") && request.start == 1_000 && request.end == nil && request.ids == nil)
        request = try query(ranges + set("<before>80</before>")).request
        #expect(request.after == 10 && request.before == 80 && request.named == [10, 80, 90] && request.isBackwards)
        request = try query(ranges + set("<after>5</after>")).request
        #expect(request.after == 10 && request.named == [5, 10, 90])
        request = try query(ranges + set("<before>95</before>")).request
        #expect(request.before == 90 && request.isBackwards)
        request = try query(set("<before/>")).request
        #expect(request.before == nil && request.after == nil && request.isBackwards && request.named.isEmpty)
        request = try query(form(("ids", ["4", "5"]), ("end", ["1970-01-01T00:00:02Z"]))).request
        #expect(request.ids == [4, 5] && request.named == [4, 5] && request.end == 2_000)
    }

    @Test("a page by number is not implemented (XEP-0059 §2.6)")
    func byNumber() {
        #expect(condition { _ = try query(set("<index>3</index>")) } == .featureNotImplemented)
    }

    @Test("a field that is not known is not implemented (§4.1.5)")
    func unknownField() {
        #expect(condition { _ = try query(form(("{urn:x}mood", ["lonely"]))) } == .featureNotImplemented)
    }

    @Test("a name that this server never gives names nothing (§4.1.3, §4.3.2)", arguments: ["", "x", "09", "+9", "-1", "9223372036854775808", "1.0", " 1"])
    func unknownNames(_ name: String) {
        #expect(condition { _ = try query(form(("before-id", [name]))) } == .itemNotFound)
        #expect(condition { _ = try query(form(("after-id", [name]))) } == .itemNotFound)
        #expect(condition { _ = try query(form(("ids", ["1", name]))) } == .itemNotFound)
        if name.isEmpty { return }
        #expect(condition { _ = try query(set("<after>\(name)</after>")) } == .itemNotFound)
        #expect(condition { _ = try query(set("<before>\(name)</before>")) } == .itemNotFound)
    }

    @Test("the greatest name that can be given is read")
    func greatestName() throws {
        #expect(try query(set("<after>9223372036854775807</after>")).page == .after(UInt64(Int64.max)))
    }

    @Test("what is wrong in a query is told", arguments: [
        ("with", "@", StanzaError.Condition.jidMalformed), ("with", "", .jidMalformed), ("start", "yesterday", .badRequest), ("end", "2010-06-07", .badRequest),
        ("include-groupchat", "maybe", .badRequest),
    ])
    func wrong(field: String, value: String, expected: StanzaError.Condition) {
        #expect(condition { _ = try query(form((field, [value]))) } == expected)
    }

    @Test("a form of another type, two forms, and an archive's node are refused")
    func others() {
        #expect(condition { _ = try query("<x xmlns='jabber:x:data' type='submit'/>") } == .badRequest)
        #expect(condition { _ = try query(form().replacing("mam:2", with: "mam:1")) } == .badRequest)
        #expect(condition { _ = try query(form() + form()) } == .badRequest)
        #expect(condition { _ = try query("", "node='princely_musings'") } == .itemNotFound)
    }

    @Test("queryid, ids and the text to search for have limits, each on both sides")
    func limits() throws {
        let (longest, tooLong) = (String(repeating: "q", count: 256), String(repeating: "q", count: 257))
        #expect(try query("", "queryid='\(longest)'").queryID == longest)
        #expect(condition { _ = try query("", "queryid='\(tooLong)'") } == .policyViolation)
        let ids = (1...101).map(String.init)
        #expect(try query(form(("ids", Array(ids.prefix(100))))).ids.count == 100)
        #expect(condition { _ = try query(form(("ids", ids))) } == .policyViolation)
        let field = "{urn:xmpp:fulltext:0}fulltext"
        #expect(try query(form((field, [String(repeating: "t", count: 1_024)]))).text?.count == 1_024)
        #expect(condition { _ = try query(form((field, [String(repeating: "t", count: 1_025)]))) } == .policyViolation)
        #expect(try query(form((field, [""]))).text == nil)
    }

    @Test("the form tells every field, none of them required (§4.1.5)")
    func formFields() {
        let form = ArchiveQuery.form()
        #expect(form.type == "urn:xmpp:mam:2" && form.kind == .form)
        #expect(
            form.fields.dropFirst().map(\.name) == [
                "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat", "{urn:xmpp:fulltext:0}fulltext",
            ])
        #expect(form.fields.allSatisfy { !$0.isRequired })
        #expect(form.fields.first { $0.name == "ids" }?.validation == .init(datatype: "xs:string", isOpen: true))
        #expect(text(ArchiveAnswers.form()).hasPrefix("<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>"))
    }
}

@Suite("XEP-0441 Message Archive Management Preferences")
struct ArchivePreferencesTests {
    private func preferences(_ content: String, _ attributes: String = "default='roster'") throws -> ArchivePreferences {
        try ArchivePreferences(element("<prefs xmlns='urn:xmpp:mam:2' \(attributes)>\(content)</prefs>"))
    }

    private func written(_ preferences: ArchivePreferences) -> String {
        var writer = XMLWriter()
        preferences.write(to: &writer)
        return String(buffer: writer.buffer)
    }

    @Test("preferences are read, and written with both lists (§2.1)")
    func readingAndWriting() throws {
        let read = try preferences("<always><jid>romeo@montague.example</jid><jid>Nurse@capulet.example/hall</jid></always>")
        #expect(read == ArchivePreferences(.roster, always: [jid("romeo@montague.example"), jid("nurse@capulet.example/hall")]))
        #expect(
            written(read) == """
                <prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>nurse@capulet.example/hall</jid>\
                <jid>romeo@montague.example</jid></always><never/></prefs>
                """)
    }

    @Test("wrong preferences are refused")
    func refusals() {
        #expect(condition { _ = try preferences("", "") } == .badRequest)
        #expect(condition { _ = try preferences("", "default='sometimes'") } == .badRequest)
        #expect(condition { _ = try preferences("<never><jid>@</jid></never>") } == .jidMalformed)
        #expect(condition { _ = try preferences("<always><jid>a.example</jid></always><never><jid>A.example</jid></never>") } == .badRequest)
    }

    @Test("both lists together have a limit, on both sides")
    func limits() throws {
        let jids = { (range: Range<Int>) in range.map { "<jid>a\($0)@capulet.example</jid>" }.joined() }
        #expect(try preferences("<always>\(jids(0..<400))</always><never>\(jids(400..<1_000))</never>").never.count == 600)
        #expect(condition { _ = try preferences("<always>\(jids(0..<400))</always><never>\(jids(400..<1_001))</never>") } == .policyViolation)
    }

    @Test("they are kept in a document, and a broken one is not guessed at")
    func document() throws {
        let preferences = ArchivePreferences(.never, always: [jid("a.example/<r&>")], never: [jid("romeo@montague.example")])
        #expect(try ArchivePreferences(document: preferences.document) == preferences)
        for broken in ["", "<prefs/>", "<prefs xmlns='urn:xmpp:mam:2'/>", "<other xmlns='urn:xmpp:mam:2' default='always'/>"] {
            #expect(condition { _ = try ArchivePreferences(document: ByteBuffer(string: broken)) } == .internalServerError)
        }
    }

    @Test(
        "the most exact address counts, then the default (§2.3)",
        arguments: [
            (.always, [], [], false, true), (.never, [], [], true, false), (.roster, [], [], true, true), (.roster, [], [], false, false),
            (.never, ["romeo@montague.example"], [], false, true), (.always, [], ["romeo@montague.example"], true, false),
            (.never, ["romeo@montague.example/orchard"], [], false, true), (.never, ["romeo@montague.example/garden"], [], false, false),
            (.always, ["romeo@montague.example"], ["romeo@montague.example/orchard"], false, false),
            (.always, ["romeo@montague.example/orchard"], ["romeo@montague.example"], false, true),
            (.always, [], ["montague.example"], false, true),
        ] as [(ArchivePreferences.Default, [String], [String], Bool, Bool)])
    func matching(_ standard: ArchivePreferences.Default, always: [String], never: [String], isContact: Bool, keeps: Bool) {
        let preferences = ArchivePreferences(standard, always: Set(always.map(jid)), never: Set(never.map(jid)))
        #expect(preferences.keeps(with: jid("romeo@montague.example/orchard"), isContact: isContact) == keeps)
    }
}

@Suite("XEP-0313 Message Archive Management: what is kept")
struct ArchiveRulesTests {
    private let body = "<body>Wherefore?</body>"

    private func keeps(_ content: String, type: String = "chat", _ preferences: ArchivePreferences = .init(), isContact: Bool = false) throws -> Bool {
        let element = try parseElement(
            ByteBuffer(string: "<message from='romeo@montague.example/orchard' to='juliet@capulet.example' type='\(type)'>\(content)</message>"),
            limits: .authenticated)
        let peer = jid("romeo@montague.example/orchard")
        let message = Stanza(element, kind: .message(MessageType(of: element.root)), from: peer, to: jid("juliet@capulet.example"))
        return ArchiveRules.isWorthKeeping(message) && preferences.keeps(with: peer, isContact: isContact)
    }

    @Test(
        "by type: chat and normal messages with a body (§6.1.1)",
        arguments: [("chat", true), ("normal", true), ("unheard-of", true), ("groupchat", false), ("headline", false), ("error", false)])
    func types(type: String, isKept: Bool) throws {
        #expect(try keeps(body, type: type) == isKept)
        #expect(try keeps("<store xmlns='urn:xmpp:hints'/>", type: type) == isKept)
    }

    @Test(
        "by content",
        arguments: [
            ("<body>a</body>", true), ("<body/>", true), ("", false), ("<subject>a</subject>", false), ("<thread>a</thread>", false),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", false), ("<active xmlns='http://jabber.org/protocol/chatstates'/><body>a</body>", true),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", true), ("<request xmlns='urn:xmpp:receipts'/>", false),
            ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true), ("<received xmlns='urn:xmpp:chat-markers:0' id='1'/>", true),
            ("<markable xmlns='urn:xmpp:chat-markers:0'/>", false), ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", true),
            ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true),
            ("<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>", true), ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>", true),
            ("<encrypted xmlns='urn:xmpp:omemo:1'/>", true), ("<encrypted xmlns='urn:xmpp:omemo:2'/>", true),
            ("<openpgp xmlns='urn:xmpp:openpgp:0'>a</openpgp>", true), ("<x xmlns='jabber:x:encrypted'>a</x>", true),
            ("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", true), ("<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>", true),
            ("<finish xmlns='urn:xmpp:jingle-message:0' id='1'/>", true), ("<proposal xmlns='urn:xmpp:jingle-message:0' id='1'/>", false),
            ("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/><no-store xmlns='urn:xmpp:hints'/>", false),
            ("<x xmlns='jabber:x:conference' jid='room@chat.example'/>", true), ("<x xmlns='jabber:x:data' type='form'/>", false),
            ("<body xmlns='http://www.w3.org/1999/xhtml'/>", false), ("<event xmlns='http://jabber.org/protocol/pubsub#event'/>", false),
            ("<encryption xmlns='urn:other'/>", false),
        ])
    func contents(content: String, isKept: Bool) throws {
        #expect(try keeps(content) == isKept)
    }

    @Test(
        "by the sender's hints (XEP-0334): what is not to be stored is not, whatever else is said",
        arguments: [("store", true, true), ("no-store", false, false), ("no-permanent-store", false, false), ("no-copy", true, false)])
    func hints(hint: String, withBody: Bool, without: Bool) throws {
        let hint = "<\(hint) xmlns='urn:xmpp:hints'/>"
        #expect(try keeps(hint + body) == withBody)
        #expect(try keeps(hint) == without)
        if !withBody { #expect(try !keeps(hint + "<store xmlns='urn:xmpp:hints'/>" + body)) }
    }

    @Test("by the account's preferences, which keep nothing that is not worth it")
    func preferences() throws {
        let romeo = jid("romeo@montague.example")
        #expect(try !keeps(body, .init(.never)))
        #expect(try keeps(body, .init(.never, always: [romeo])))
        #expect(try !keeps(body, .init(.roster)))
        #expect(try keeps(body, .init(.roster), isContact: true))
        #expect(try !keeps("<composing xmlns='http://jabber.org/protocol/chatstates'/>", .init(.always, always: [romeo])))
        #expect(try !keeps(body, .init(.always, never: [romeo])))
    }

    @Test("other stanzas are not kept")
    func others() throws {
        let presence = Stanza(try parseElement(ByteBuffer(string: "<presence><body/></presence>"), limits: .authenticated), kind: .presence(.available), from: jid("a.example"), to: nil)
        #expect(!ArchiveRules.isWorthKeeping(presence))
    }
}

@Suite("XEP-0313 Message Archive Management: answers")
struct ArchiveAnswersTests {
    private let account = try! BareJID(parsing: "juliet@capulet.example")
    private let session = try! FullJID(parsing: "juliet@capulet.example/chamber")

    private func logged(_ text: String) -> LoggedMessage {
        LoggedMessage(view: 42, time: 1_278_803_305_000, stanza: EncodedStanza(ByteBuffer(string: text)))
    }

    @Test("a result carries the message as it was, when it was taken, its name and the query's (§4.2)")
    func result() throws {
        let message = logged("<message from='witch@shakespeare.example/a' to='juliet@capulet.example' id='m1' type='chat'><body>Hail &amp; thee</body></message>")
        let result = try #require(ArchiveAnswers.result(message, of: account, to: session, queryID: "f'27"))
        #expect(
            String(buffer: result.bytes) == """
                <message from='juliet@capulet.example' to='juliet@capulet.example/chamber'><result xmlns='urn:xmpp:mam:2' queryid='f&apos;27' id='42'>\
                <forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z'/>\
                <message xmlns='jabber:client' from='witch@shakespeare.example/a' to='juliet@capulet.example' id='m1' type='chat'><body>Hail &amp; thee</body></message>\
                </forwarded></result></message>
                """)
        let other = try #require(ArchiveAnswers.result(message, of: account, to: session, queryID: nil))
        #expect(!String(buffer: other.bytes).contains("queryid"))
    }

    @Test("a log entry that is no message gives no result")
    func noMessage() {
        #expect(ArchiveAnswers.result(logged("xxx"), of: account, to: session, queryID: nil) == nil)
    }

    private func page(_ ids: UInt64..., isComplete: Bool) -> ArchivePage {
        let messages = ids.map { LoggedMessage(view: $0, time: 0, stanza: EncodedStanza(ByteBuffer())) }
        return ArchivePage(messages: messages, isComplete: isComplete)
    }

    @Test("the end of the results says whether they are all, and whether they may change (§4.3.2)")
    func fin() {
        let set = "<set xmlns='http://jabber.org/protocol/rsm'><first>1</first><last>3</last></set>"
        #expect(text(ArchiveAnswers.fin(page(1, 2, 3, isComplete: true))) == "<fin xmlns='urn:xmpp:mam:2' complete='true'>\(set)</fin>")
        #expect(text(ArchiveAnswers.fin(page(1, 3, isComplete: false))) == "<fin xmlns='urn:xmpp:mam:2'>\(set)</fin>")
        #expect(text(ArchiveAnswers.fin(page(1, 3, isComplete: false), isStable: false)) == "<fin xmlns='urn:xmpp:mam:2' stable='false'>\(set)</fin>")
        #expect(
            text(ArchiveAnswers.fin(page(isComplete: true)))
                == "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'/></fin>")
    }

    @Test("a count comes without a page (XEP-0059 §2.7); of too many nothing is said")
    func count() {
        func fin(_ count: Int?) -> String { text(ArchiveAnswers.fin(ArchivePage(messages: [], isComplete: false, count: count))) }
        #expect(fin(790) == "<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><count>790</count></set></fin>")
        #expect(fin(nil) == "<fin xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'/></fin>")
    }

    @Test("an archive tells its first and last message, an empty one nothing (§5)")
    func metadata() {
        #expect(text(ArchiveAnswers.metadata(nil)) == "<metadata xmlns='urn:xmpp:mam:2'/>")
        let ends = ArchiveEnds(first: .init(view: 1, time: 0), last: .init(view: 2, time: 1_500))
        #expect(
            text(ArchiveAnswers.metadata(ends)) == """
                <metadata xmlns='urn:xmpp:mam:2'><start id='1' timestamp='1970-01-01T00:00:00Z'/>\
                <end id='2' timestamp='1970-01-01T00:00:01.500Z'/></metadata>
                """)
    }
}
