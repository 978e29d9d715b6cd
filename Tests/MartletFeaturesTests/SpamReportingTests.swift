import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("XEP-0377 Spam Reporting")
struct SpamReportingTests {
    private final class Record: AuditSink {
        private let all = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { all.withLock { $0.append(event) } }
        var reports: [AuditEvent] {
            all.withLock { events in
                events.filter { event in
                    if case .reported = event { true } else { false }
                }
            }
        }
    }

    private let audit = Record()
    private let server: TestServer
    private let juliet: TestClient

    init() {
        server = TestServer(audit: audit)
        juliet = server.online("juliet/balcony")
    }

    private func block(_ items: String, id: String = "b") -> TestStanza? {
        juliet.send("<iq type='set' id='\(id)'><block xmlns='urn:xmpp:blocking'>\(items)</block></iq>")
        return juliet.received().first { $0.id == id }
    }

    private func item(_ address: String, _ report: String) -> String { "<item jid='\(address)'>\(report)</item>" }
    private func report(_ content: String = "", _ attributes: String = "reason='urn:xmpp:reporting:spam'") -> String {
        "<report xmlns='urn:xmpp:reporting:1' \(attributes)>\(content)</report>"
    }

    private var stored: [StoredReport] { server.store.contents.reports.page(before: nil, limit: 1_000) }
    private var blocked: [String] {
        juliet.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        return juliet.received().first { $0.id == "l" }?.child("blocklist")?.children.compactMap { $0.attribute("jid") } ?? []
    }

    @Test("what is said with a block is kept for the operator, and is in the audit log (§5)")
    func kept() throws {
        let content = """
            <stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.example' id='28482-98726-73623'/>\
            <text xml:lang='en'>Never came trouble to my house like this.</text><text>Nie.</text><report-origin/>
            """
        #expect(block(item("romeo@montague.example", report(content, "reason='urn:xmpp:reporting:abuse'")))?.error == nil)
        let found = try #require(stored.first)
        #expect(stored.count == 1 && found.reporter == server.address("juliet") && found.reported == .bare(server.address("romeo@montague.example")))
        #expect(found.reason == "urn:xmpp:reporting:abuse" && found.time == server.time.wallMilliseconds)
        let report = try #require(SpamReport(stored: found.content))
        #expect(report.texts.map(\.language) == ["en", nil] && report.texts.map(\.text) == ["Never came trouble to my house like this.", "Nie."])
        #expect(report.messages == [.init(id: "28482-98726-73623", archive: .bare(server.address("juliet")))])
        #expect(report.mayGoToOrigin && !report.mayGoToOthers)
        #expect(audit.reports == [.reported(found.reported, reason: found.reason, by: found.reporter)])
        #expect(blocked == ["romeo@montague.example"])
    }

    @Test("each item has a report of its own, or none, and the push has none (§6, XEP-0191 §3.3)")
    func several() {
        let chamber = server.online("juliet/chamber")
        chamber.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        chamber.forget()
        _ = block(item("a@spam.example", report()) + item("b@spam.example", "") + item("spam.example", report("", "reason='x:other'")))
        #expect(stored.map(\.reported.description) == ["spam.example", "a@spam.example"] && stored.map(\.reason) == ["x:other", "urn:xmpp:reporting:spam"])
        #expect(chamber.received().first?.child("block")?.children.map { $0.firstChild == nil } == [true, true, true])
    }

    @Test("a report that is none does not keep anybody from being blocked (§5)", arguments: [
        "<report xmlns='urn:xmpp:reporting:1'/>", "<report xmlns='urn:xmpp:reporting:1' reason=''/>", "<report xmlns='urn:xmpp:reporting:0' reason='x'/>",
        "<report xmlns='urn:xmpp:reporting:1' reason='\(String(repeating: "a", count: SpamReport.reasonBytesMax + 1))'/>",
    ])
    func none(_ report: String) {
        #expect(block(item("a@spam.example", report))?.error == nil)
        #expect(stored.isEmpty && audit.reports.isEmpty && blocked == ["a@spam.example"])
    }

    @Test("somebody who is blocked already can be reported, and nobody is where the block is refused")
    func already() {
        _ = block(item("a@spam.example", ""))
        _ = block(item("a@spam.example", report()))
        #expect(stored.count == 1)
        #expect(block(item("a@spam.example", report()) + item("@", ""))?.error == "modify/jid-malformed")
        #expect(stored.count == 1)
        server.store.failSubmits(with: .full, next: 1)
        #expect(block(item("b@spam.example", report()))?.error == "wait/resource-constraint")
        #expect(stored.count == 1 && audit.reports.count == 1 && blocked == ["a@spam.example"])
    }

    // MARK: Bounds

    private func parsed(_ content: String) throws -> SpamReport {
        let element = try parseElement(ByteBuffer(string: report(content)), limits: .authenticated)
        return try #require(SpamReport(element.root))
    }

    @Test("of texts and messages a report has so many, and of a text so much")
    func bounds() throws {
        let text = String(repeating: "é", count: SpamReport.textBytesMax / 2)
        #expect(try parsed("<text>\(text)</text>").texts.first?.text == text)
        #expect(try parsed("<text>\(text)é</text>").texts.first?.text == text)
        func texts(_ count: Int) throws -> Int { try parsed(String(repeating: "<text>a</text>", count: count)).texts.count }
        #expect(try texts(SpamReport.textsMax) == SpamReport.textsMax && texts(SpamReport.textsMax + 1) == SpamReport.textsMax)
        func messages(_ count: Int) throws -> Int {
            try parsed(String(repeating: "<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='1'/>", count: count)).messages.count
        }
        #expect(try messages(SpamReport.messagesMax) == SpamReport.messagesMax && messages(SpamReport.messagesMax + 1) == SpamReport.messagesMax)
        let id = String(repeating: "1", count: SpamReport.messageIDBytesMax)
        #expect(try parsed("<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='\(id)'/>").messages.count == 1)
        #expect(try parsed("<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='\(id)1'/><stanza-id xmlns='urn:xmpp:sid:0' by='@' id='1'/>").messages.isEmpty)
    }

    @Test("one request brings so many reports, and blocks all the same")
    func perRequest() {
        let count = SpamReport.perRequestMax + 1
        _ = block((0..<count).map { item("a\($0)@spam.example", report()) }.joined())
        #expect(audit.reports.count == SpamReport.perRequestMax && blocked.count == count)
    }

    @Test("an account has so many reports, and then the oldest go")
    func perAccount() {
        let most = ReportLimits().perAccountMax
        for number in 0...most { _ = block(item("a\(number)@spam.example", report())) }
        #expect(stored.count == most && stored.last?.reported.description == "a1@spam.example")
    }

    @Test("the domain and its accounts say that reports are heard (§3)")
    func discovery() {
        for address in ["capulet.example", "juliet@capulet.example"] {
            juliet.send("<iq type='get' id='d' to='\(address)'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
            let features = juliet.received().first { $0.id == "d" }?.child("query")?.children.compactMap { $0.attribute("var") }
            #expect(features?.contains("urn:xmpp:reporting:1") == true)
        }
    }
}
