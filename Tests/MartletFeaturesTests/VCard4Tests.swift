import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0292 vCard4 Over XMPP")
struct VCard4Tests {
    private func card(_ temp: String, keeping old: String? = nil) throws -> String {
        let old = try old.map { try parseElement(ByteBuffer(string: "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>\($0)</vcard>"), limits: .authenticated) }
        let temp = try parseElement(ByteBuffer(string: "<vCard xmlns='vcard-temp'>\(temp)</vCard>"), limits: .authenticated)
        return content(of: VCard4.card(of: temp.root, keeping: old?.root), "vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'")
    }

    private func temp(_ card: String, keeping old: String? = nil) throws -> String {
        let old = try old.map { try parseElement(ByteBuffer(string: "<vCard xmlns='vcard-temp'>\($0)</vCard>"), limits: .authenticated) }
        let card = try parseElement(ByteBuffer(string: "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>\(card)</vcard>"), limits: .authenticated)
        return content(of: VCard4.temp(of: card.root, keeping: old?.root), "vCard xmlns='vcard-temp'")
    }

    private func content(of buffer: ByteBuffer, _ name: String) -> String {
        let text = String(buffer: buffer)
        return text == "<\(name)/>" ? "" : String(text.dropFirst(name.count + 2).dropLast(8))
    }

    @Test("an account says that it has cards of this form (§7)")
    func announced() {
        #expect(PersonalEventing().disco.accountNames.contains("urn:ietf:params:xml:ns:vcard-4.0"))
    }

    /// Both forms of the same, each as it is written.
    private static let pairs: [(temp: String, card: String)] = [
        ("<FN>Juliet Capulet</FN>", "<fn><text>Juliet Capulet</text></fn>"),
        ("<URL>https://capulet.example/</URL>", "<url><uri>https://capulet.example/</uri></url>"),
        ("<BDAY>1583-07-31</BDAY>", "<bday><date>1583-07-31</date></bday>"),
        ("<DESC>&lt;3 Romeo</DESC>", "<note><text>&lt;3 Romeo</text></note>"),
        ("<NICKNAME>Jule</NICKNAME>", "<nickname><text>Jule</text></nickname>"),
        (
            "<N><FAMILY>Capulet</FAMILY><GIVEN>Juliet</GIVEN></N>",
            "<n><surname>Capulet</surname><given>Juliet</given><additional></additional><prefix></prefix><suffix></suffix></n>"
        ),
        (
            "<ADR><HOME/><PREF/><STREET>Via Cappello 23</STREET><LOCALITY>Verona</LOCALITY><PCODE>37121</PCODE><CTRY>Italy</CTRY></ADR>",
            "<adr><parameters><type><text>home</text></type><pref><integer>1</integer></pref></parameters><pobox></pobox><ext></ext><street>Via Cappello 23</street>"
                + "<locality>Verona</locality><region></region><code>37121</code><country>Italy</country></adr>"
        ),
        (
            "<TEL><WORK/><VOICE/><NUMBER>+39-045-8034303</NUMBER></TEL>",
            "<tel><parameters><type><text>work</text><text>voice</text></type></parameters><uri>tel:+39-045-8034303</uri></tel>"
        ),
        ("<TEL><NUMBER>ask the nurse</NUMBER></TEL>", "<tel><text>ask the nurse</text></tel>"),
        (
            "<EMAIL><HOME/><USERID>juliet@capulet.example</USERID></EMAIL>",
            "<email><parameters><type><text>home</text></type></parameters><text>juliet@capulet.example</text></email>"
        ),
        ("<JABBERID>juliet@capulet.example</JABBERID>", "<impp><uri>xmpp:juliet@capulet.example</uri></impp>"),
        ("<ORG><ORGNAME>Capulet</ORGNAME><ORGUNIT>Youth</ORGUNIT></ORG>", "<org><text>Capulet</text><text>Youth</text></org>"),
    ]

    @Test("what both forms can say is the same in both, and comes back as it was", arguments: pairs.indices)
    func same(index: Int) throws {
        let pair = Self.pairs[index]
        #expect(try card(pair.temp) == pair.card)
        #expect(try temp(pair.card) == pair.temp)
    }

    @Test("what says nothing is left out; numbers for people become numbers for telephones; the first of several counts where there is room for one")
    func differences() throws {
        #expect(try card("<FN/><N><FAMILY/></N><ADR><HOME/></ADR><TEL><WORK/><NUMBER/></TEL><EMAIL><USERID/></EMAIL><JABBERID/><ORG><ORGNAME/></ORG>") == "")
        #expect(try card("<TEL><NUMBER>(045) 803 43</NUMBER></TEL>") == "<tel><uri>tel:045-803-43</uri></tel>")
        #expect(try card("<NOTE>n</NOTE>") == "<note><text>n</text></note>")
        #expect(try temp("<fn><text>A</text></fn><fn><text>B</text></fn>") == "<FN>A</FN>")
        #expect(try temp("<nickname><text>A</text></nickname><nickname><text>B</text></nickname>") == "<NICKNAME>A,B</NICKNAME>")
        #expect(try temp("<impp><uri>sip:juliet@capulet.example</uri></impp>") == "")
    }

    @Test("what only one form can say stays where it is, and what both can say does not stay there when it is gone")
    func kept() throws {
        #expect(try card("<FN>J</FN>", keeping: "<gender><sex>F</sex></gender><fn><text>old</text></fn>") == "<fn><text>J</text></fn><gender><sex>F</sex></gender>")
        #expect(try temp("", keeping: "<FN>old</FN><PHOTO><BINVAL>AAAA</BINVAL></PHOTO>") == "<PHOTO><BINVAL>AAAA</BINVAL></PHOTO>")
    }

    // MARK: In step

    private let server = TestServer()

    private func finish() { for _ in 0..<100 { server.run() } }

    private func publish(_ content: String, access: String, _ client: TestClient) {
        client.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:vcard4'><item id='mine'>\
            <vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>\(content)</vcard></item></publish><publish-options><x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
            <field var='pubsub#access_model'><value>\(access)</value></field></x></publish-options></pubsub></iq>
            """)
        finish()
    }

    private func ask(_ content: String, _ client: TestClient) -> String {
        client.forget()
        client.send("<iq type='get' id='v' to='juliet@capulet.example'>\(content)</iq>")
        return client.receivedBesidesPresence().first?.description ?? ""
    }
    private func temp(_ client: TestClient) -> String { ask("<vCard xmlns='vcard-temp'/>", client) }
    private func card(_ client: TestClient) -> String {
        ask("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:vcard4'/></pubsub>", client)
    }

    @Test("a card that is published for everybody is the older card as well, beside what was there; one for few stays where it is")
    func publication() {
        let balcony = server.online("juliet/balcony")
        balcony.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><MAILER>pigeon</MAILER></vCard></iq>")
        finish()
        publish("<fn><text>Juliet</text></fn>", access: "open", balcony)
        #expect(temp(server.online("romeo/orchard")).contains("<FN>Juliet</FN><MAILER>pigeon</MAILER>"))
        balcony.send("""
            <iq type='set' id='c'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:xmpp:vcard4'><x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#node_config</value></field>\
            <field var='pubsub#access_model'><value>presence</value></field></x></configure></pubsub></iq>
            """)
        publish("<fn><text>Jule</text></fn>", access: "presence", balcony)
        #expect(temp(balcony).contains("<FN>Juliet</FN>"))
        // Nor does the older one overwrite it.
        balcony.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Everybody's Juliet</FN></vCard></iq>")
        finish()
        #expect(card(balcony).contains("Jule<") && !card(balcony).contains("Everybody"))
    }

    @Test("an older card that is set while a published one is on its way stays, and is published, whenever it is set", arguments: 0..<16)
    func meanwhile(moment: Int) {
        let disk = SlowDisk()
        publish("<fn><text>Published</text></fn>", access: "open", disk.client)
        disk.interleave(moment) { $0.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Set</FN></vCard></iq>") }
        let isSet = temp(disk.client).contains("<FN>Set</FN>")
        // While the nodes are read the publication is yet to come, and is the later one.
        #expect(isSet || moment < 2)
        #expect(card(disk.client).contains("<fn><text>\(isSet ? "Set" : "Published")</text></fn>"))
    }

    @Test("and one that is published while an older one is on its way to the node stays, and is the older one", arguments: 0..<16)
    func publishedMeanwhile(moment: Int) {
        let disk = SlowDisk()
        disk.client.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Set</FN></vCard></iq>")
        disk.interleave(moment) { publish("<fn><text>Published</text></fn>", access: "open", $0) }
        #expect(card(disk.client).contains("<fn><text>Published</text></fn>"))
        #expect(temp(disk.client).contains("<FN>Published</FN>"))
    }

    @Test("a new older card is published at the node, for everybody, and keeps what only the node can say")
    func setting() {
        let balcony = server.online("juliet/balcony")
        balcony.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>")
        finish()
        #expect(card(server.online("romeo/orchard")).contains("<fn><text>Juliet</text></fn>"))
        publish("<fn><text>Juliet</text></fn><gender><sex>F</sex></gender>", access: "open", balcony)
        balcony.send("<iq type='set' id='s'><vCard xmlns='vcard-temp'><FN>Jule</FN></vCard></iq>")
        finish()
        #expect(card(balcony).contains("<item id='mine'") && card(balcony).contains("<fn><text>Jule</text></fn><gender><sex>F</sex></gender>"))
    }
}
