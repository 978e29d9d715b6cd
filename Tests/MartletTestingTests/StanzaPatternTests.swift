import MartletTesting
import MartletXML
import NIOCore
import Testing

@Suite("Stanzas are compared by what they mean")
struct StanzaPatternTests {
    private var names = ConversationNames(["romeo": "romeo@montague.example", "juliet": "juliet@capulet.example"])

    private func mismatch(_ pattern: String, _ stanza: String) throws -> String? {
        var names = names
        return try mismatch(pattern, stanza, &names)
    }

    private func mismatch(_ pattern: String, _ stanza: String, _ names: inout ConversationNames) throws -> String? {
        let element = try parseElement(ByteBuffer(string: stanza), limits: .authenticated)
        let only = try #require(try StanzaPattern.patterns(pattern).first)
        return try only.mismatch(element.root, &names)
    }

    @Test(
        "these are the same",
        arguments: [
            ("<message id='1' type='chat'/>", "<message type=\"chat\" id=\"1\"></message>"),
            ("<a:x xmlns:a='urn:x' a:k='v'/>", "<x xmlns='urn:x' xmlns:b='urn:x' b:k='v'/>"),
            ("<message><body>a &amp; b</body></message>", "<message><body>a <![CDATA[&]]> b</body></message>"),
            ("<message>\n  <a/>\n  <b/>\n</message>", "<message><b/><a/></message>"),
            ("<message><body/></message>", "<message xml:lang='en'><body/></message>"),
            ("<message><body/></message>", "<message><body/><stanza-id xmlns='urn:xmpp:sid:0' id='1' by='x'/></message>"),
            ("<message><body/></message>", "<message><body/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/></message>"),
            ("<presence><x><item/></x></presence>", "<presence><x><mav xmlns='urn:xmpp:muc:affiliations:1' until='1'/><item/></x></presence>"),
            ("<presence/>", "<presence><x xmlns='vcard-temp:x:update'><photo/></x></presence>"),
            ("<message>…</message>", "<message>text<a/><b/></message>"),
            ("<message><a/>…</message>", "<message><b/><a/>text</message>"),
            ("<message _='…'/>", "<message id='1' to='x'/>"),
            ("<message><a _='optional'/></message>", "<message/>"),
            ("<message><a _='optional'/></message>", "<message><a/></message>"),
            ("<message><a _='absent'/>…</message>", "<message><b/></message>"),
            ("<message id='{any}'/>", "<message id=''/>"),
            ("<message id='{optional}'/>", "<message/>"),
            ("<message to='{romeo}/{any}'/>", "<message to='romeo@montague.example/orchard'/>"),
            ("<message to='{romeo|juliet|absent}'/>", "<message to='juliet@capulet.example'/>"),
            ("<message to='{romeo|juliet|absent}'/>", "<message/>"),
            ("<error type='{cancel|modify}'/>", "<error type='modify'/>"),
            ("<x n='{number}s'/>", "<x n='120s'/>"),
            ("<x t='{timestamp}'/>", "<x t='2026-11-23T03:43:04Z'/>"),
            ("<x t='{timestamp}'/>", "<x t='2026-11-23T03:43:04.125Z'/>"),
            ("<x t='{{a}'/>", "<x t='{a}'/>"),
            // The first child pattern fits both children, the second only the first of them.
            ("<x><i k='{any}'/><i k='1'/></x>", "<x><i k='1'/><i k='2'/></x>"),
        ])
    func same(pattern: String, stanza: String) throws {
        #expect(try mismatch(pattern, stanza) == nil)
    }

    @Test(
        "these are not",
        arguments: [
            ("<message/>", "<presence/>"),
            ("<message/>", "<message xmlns='urn:x'/>"),
            ("<message/>", "<message id='1'/>"),
            ("<message id='1'/>", "<message/>"),
            ("<message id='{any}'/>", "<message/>"),
            ("<message xml:lang='de'/>", "<message xml:lang='en'/>"),
            ("<message k='1'/>", "<message xmlns:a='urn:x' a:k='1'/>"),
            ("<message/>", "<message><a/></message>"),
            ("<presence/>", "<presence><x xmlns='vcard-temp:x:update'/></presence>"),
            ("<presence/>", "<presence><x xmlns='vcard-temp:x:update'><photo>6f5e0b3c</photo></x></presence>"),
            ("<message><a/><a/></message>", "<message><a/></message>"),
            ("<message><a/></message>", "<message><a/>text</message>"),
            ("<message><a/>…</message>", "<message><b/></message>"),
            ("<message><a _='absent'/>…</message>", "<message><b/><a/></message>"),
            ("<message><a k='1' _='optional'/></message>", "<message><a k='2'/></message>"),
            ("<body>a</body>", "<body>a </body>"),
            ("<message to='{romeo|juliet}'/>", "<message/>"),
            ("<x n='{number}'/>", "<x n='-1'/>"),
            ("<x t='{timestamp}'/>", "<x t='2026-11-23 03:43:04Z'/>"),
            ("<x t='{timestamp}'/>", "<x t='2026-11-23T03:43:04.Z'/>"),
            ("<x t='{timestamp}'/>", "<x t='2026-11-23T03:43:04'/>"),
        ])
    func different(pattern: String, stanza: String) throws {
        #expect(try mismatch(pattern, stanza) != nil)
    }

    @Test("a capture stands for its value from then on, and only a match captures")
    func captures() throws {
        var names = names
        #expect(try mismatch("<iq id='{capture:id}' type='set'/>", "<iq id='a' type='get'/>", &names) != nil)
        #expect(names.values["id"] == nil)
        #expect(try mismatch("<iq id='push-{capture:id}' type='set'/>", "<iq id='push-7' type='set'/>", &names) == nil)
        #expect(names.values["id"] == "7")
        #expect(try names.filled("<iq id='{id}' to='{romeo}'/>{{}") == "<iq id='7' to='romeo@montague.example'/>{}")
        #expect(try mismatch("<iq id='{id}'/>", "<iq id='8'/>", &names) != nil)
    }

    @Test("a mismatch names the place")
    func reasons() throws {
        #expect(
            try mismatch("<iq><query xmlns='urn:x'><item jid='a'/></query></iq>", "<iq><query xmlns='urn:x'><item jid='b'/></query></iq>")
                == "iq/query/item: the attribute jid is 'b'")
        #expect(try mismatch("<iq><a/></iq>", "<iq/>") == "iq: the child a is missing")
    }

    @Test("a block holds several stanzas; what is not well-formed, or names nobody, is refused")
    func blocks() throws {
        #expect(try StanzaPattern.patterns("<a/>\n\n<stream:features/><b/>").count == 3)
        #expect(throws: ConversationPatternError.self) { try StanzaPattern.patterns("<a>") }
        #expect(throws: ConversationPatternError.self) { try StanzaPattern.patterns("<a b='{c'/>") }
        #expect(throws: ConversationPatternError.self) { try StanzaPattern.patterns("<a _='maybe'/>") }
        #expect(throws: ConversationPatternError.unknownName("tybalt")) { try mismatch("<a b='{tybalt}'/>", "<a b='c'/>") }
        #expect(throws: ConversationPatternError.unknownName("tybalt")) { try names.filled("{tybalt}") }
    }
}
