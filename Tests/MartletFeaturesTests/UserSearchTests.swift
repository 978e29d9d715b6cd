import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0055 Jabber Search")
struct UserSearchTests {
    private let server: TestServer
    private let romeo: TestClient

    init() { self.init(nil) }

    private init(_ change: (inout UserSearch.Settings) -> Void) {
        guard let domain = try? BareJID(parsing: "capulet.example") else { preconditionFailure("a domain is none") }
        var settings = UserSearch.Settings(domain: domain)
        change(&settings)
        self.init(settings)
    }

    private init(_ settings: UserSearch.Settings?) {
        server = TestServer(domains: ["capulet.example", "montague.example"], search: settings)
        romeo = server.online("romeo/orchard")
    }

    private func publish(_ name: String, _ content: String) {
        server.client("\(name)/card").send("<iq type='set' id='v'><vCard xmlns='vcard-temp'>\(content)</vCard></iq>")
    }

    private func ask(_ content: String, by client: TestClient? = nil, at domain: String = "capulet.example", kind: String = "set") -> TestStanza? {
        let client = client ?? romeo
        client.forget()
        client.send("<iq type='\(kind)' id='s' to='vjud.\(domain)'><query xmlns='jabber:iq:search'>\(content)</query></iq>")
        return client.received().first
    }

    private func form(_ fields: KeyValuePairs<String, String>, type: String = "submit", formType: String = "jabber:iq:search") -> String {
        let fields = ([("FORM_TYPE", formType)] + fields.map { ($0.key, $0.value) }).map { "<field var='\($0.0)'><value>\($0.1)</value></field>" }
        return "<x xmlns='jabber:x:data' type='\(type)'>\(fields.joined())</x>"
    }

    private func addresses(_ answer: TestStanza?) -> [String] {
        let query = answer?.child("query")
        if let x = query?.firstChild("x", .dataForms) {
            return x.children.filter { $0.localName == "item" }.compactMap { $0.children.first { $0.attribute("var") == "jid" }?.firstChild?.text }
        }
        return query?.children.compactMap { $0.attribute("jid") } ?? []
    }

    private let juliet = """
        <FN>Juliet Capulet</FN><N><GIVEN>Juliet</GIVEN><FAMILY>Capulet</FAMILY></N><NICKNAME>JuliC</NICKNAME>\
        <EMAIL><USERID>juliet@shakespeare.example</USERID></EMAIL><ORG><ORGNAME>House of Capulet</ORGNAME></ORG>
        """

    // MARK: Searching

    @Test("whoever asks is told what can be searched for, as fields of the schema and as a form (§2.1, §3)")
    func fields() throws {
        let query = try #require(ask("", kind: "get")?.child("query"))
        #expect(query.children.map(\.localName) == ["instructions", "first", "last", "nick", "email", "x"])
        let form = try DataForm(try #require(query.firstChild("x", .dataForms)))
        #expect(form.kind == .form && form.type == "jabber:iq:search")
        #expect(form.fields.compactMap(\.name) == ["FORM_TYPE", "x-anything", "first", "last", "nick", "email", "x-organisation"])
    }

    @Test("who is found comes with what the schema has of him (§2.1)")
    func items() {
        publish("juliet", juliet)
        publish("tybalt", "<FN>Tybalt Capulet</FN>")
        let answer = ask("<last>capu</last>")
        #expect(addresses(answer) == ["tybalt@capulet.example", "juliet@capulet.example"])
        let texts = answer?.child("query")?.children.map { $0.children.map { "\($0.localName)=\($0.text)" } }
        #expect(texts == [
            ["first=Tybalt Capulet", "last=", "nick=", "email="],
            ["first=Juliet", "last=Capulet", "nick=JuliC", "email=juliet@shakespeare.example"],
        ])
        #expect(addresses(ask("<last>capu</last><first>JÚLIET</first>")) == ["juliet@capulet.example"])
        #expect(addresses(ask("<email>juliet@shakes</email>")) == ["juliet@capulet.example"])
    }

    @Test("a search by form is answered by a form with what its items consist of (§3)")
    func itemsOfForm() throws {
        publish("juliet", juliet)
        let answer = ask(form(["x-anything": "house juli", "unknown": "x"]))
        let result = try DataForm(try #require(answer?.child("query")?.firstChild("x", .dataForms)))
        #expect(result.kind == .result && result.type == "jabber:iq:search" && result.instructions.isEmpty)
        #expect(result.reported.compactMap(\.name) == ["jid", "x-name", "first", "last", "nick", "email", "x-organisation"])
        #expect(result.items.map { $0.flatMap(\.values) } == [
            ["juliet@capulet.example", "Juliet Capulet", "Juliet", "Capulet", "JuliC", "juliet@shakespeare.example", "House of Capulet"]
        ])
        #expect(addresses(ask(form(["x-organisation": "HOUSE", "nick": "jul"]))) == ["juliet@capulet.example"])
    }

    @Test("where nobody is found, the answer is empty, whichever way was asked (§2.1)", arguments: [true, false])
    func nobody(byForm: Bool) {
        let answer = ask(byForm ? form(["first": "paris"]) : "<first>paris</first>")
        #expect(answer?.child("query") != nil && answer?.child("query")?.firstChild == nil)
        #expect(ask(form([:], type: "cancel"))?.error == nil)
    }

    @Test("what is no search is refused")
    func refused() {
        let long = String(repeating: "a", count: UserSearch.valueBytesMax)
        let words = (1...CardSearch.termsMax).map { "w\($0)" }.joined(separator: " ")
        for (content, error) in [
            ("", "modify/bad-request"), ("<first>*?</first>", "modify/bad-request"), ("<first/>", "modify/bad-request"),
            ("<first>\(long)</first>", nil), ("<first>\(long)a</first>", "modify/not-acceptable"), ("<first>\(words)</first>", nil),
            ("<first>\(words) more</first>", "modify/not-acceptable"), (form(["first": "a"], formType: "other"), "modify/bad-request"),
            ("<x xmlns='jabber:x:data'/>", "modify/bad-request"),
        ] { #expect(ask(content)?.error == error, "\(content)") }
    }

    // MARK: Who is found, and by whom

    @Test("only accounts of the domain search, unless those of the whole server may")
    func askers() {
        let paris = server.online("paris@montague.example/tomb")
        #expect(ask("<first>a</first>", by: paris)?.error == "auth/forbidden")
        #expect(ask("", by: paris, kind: "get")?.error == "auth/forbidden")
        #expect(ask("<first>a</first>", by: paris, at: "montague.example")?.error == nil)
        let open = UserSearchTests { $0.askers = ["capulet.example", "montague.example"] }
        open.publish("juliet", juliet)
        let guest = open.server.online("paris@montague.example/tomb")
        #expect(open.addresses(open.ask("<first>juliet</first>", by: guest)) == ["juliet@capulet.example"])
        #expect(open.addresses(open.ask("<first>juliet</first>", by: guest, at: "montague.example")) == [])
    }

    @Test("who says nothing in a card is found by the name of the account only if that is wanted")
    func withoutCards() {
        server.createAccount("nurse")
        #expect(addresses(ask(form(["x-anything": "nurse"]))) == [])
        let all = UserSearchTests { $0.findsEmpty = true }
        all.server.createAccount("nurse")
        #expect(all.addresses(all.ask(form(["x-anything": "nurse"]))) == ["nurse@capulet.example"])
    }

    @Test("whoever is blocked does not find the one who blocks him (XEP-0191)")
    func blocked() {
        publish("juliet", juliet)
        server.client("juliet/balcony").send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        #expect(addresses(ask("<first>juliet</first>")) == [])
        #expect(addresses(ask("<first>juliet</first>", by: server.online("nurse/room"))) == ["juliet@capulet.example"])
    }

    @Test("a card that is published at its node for everybody is found as well, and one that is not is not (XEP-0292)", arguments: ["open", "presence"])
    func nodes(model: String) {
        let options = """
            <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
            <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
            <field var='pubsub#access_model'><value>\(model)</value></field></x></publish-options>
            """
        let card = "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Juliet Capulet</text></fn><n><surname>Capulet</surname><given>Juliet</given></n></vcard>"
        server.client("juliet/balcony").send(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:vcard4'><item>\(card)</item></publish>\(options)</pubsub></iq>")
        #expect(addresses(ask("<last>capulet</last>")) == (model == "open" ? ["juliet@capulet.example"] : []))
    }

    @Test("a search shows so many at most, and says so if there are more", arguments: [2, 3])
    func results(most: Int) throws {
        let few = UserSearchTests { $0.resultsMax = most }
        for name in ["a", "b", "c"] { few.publish(name, "<FN>Capulet</FN>") }
        #expect(few.addresses(few.ask("<last>capulet</last>")).count == most)
        let result = try DataForm(try #require(few.ask(few.form(["last": "capulet"]))?.child("query")?.firstChild("x", .dataForms)))
        #expect(result.items.count == most && result.instructions.isEmpty == (most == 3))
    }

    @Test("an account searches so often within a minute, whichever session asks, and another may all the same")
    func rate() {
        let slow = UserSearchTests { $0.perMinuteMax = 2 }
        let sessions = [slow.romeo, slow.server.online("romeo/garden")]
        let errors = (0..<3).map { slow.ask("<first>a</first>", by: sessions[$0 % 2])?.error }
        #expect(errors == [nil, nil, "wait/resource-constraint"])
        #expect(slow.ask("<first>a</first>", by: slow.server.online("nurse/room"))?.error == nil)
        slow.server.advance(by: .seconds(60))
        #expect(slow.ask("<first>a</first>")?.error == nil)
    }

    // MARK: The service

    @Test("the service is a directory of users that can be searched")
    func discovery() {
        romeo.send("<iq type='get' id='d' to='vjud.capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let query = romeo.received().first?.child("query")
        #expect(query?.firstChild?.attribute("category") == "directory" && query?.firstChild?.attribute("type") == "user")
        #expect(query?.children.contains { $0.attribute("var") == "jabber:iq:search" } == true)
        romeo.send("<iq type='get' id='d' to='vjud.capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        #expect(romeo.received().first?.child("query")?.firstChild == nil)
    }

    @Test("what else is said to the service is answered as where nobody is")
    func others() {
        romeo.send("<message to='vjud.capulet.example' id='m'><body>hello</body></message>")
        romeo.send("<iq type='get' id='q' to='somebody@vjud.capulet.example'><query xmlns='jabber:iq:search'/></iq>")
        romeo.send("<presence to='vjud.capulet.example'/>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable", "cancel/service-unavailable"])
    }
}
