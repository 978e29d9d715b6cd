import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Streams as they travel over WebSocket (RFC 7395 §3.3)")
struct WebSocketFramingTests {
    /// The element as it is read alone.
    private func alone(_ text: String) -> String {
        guard let (declaration, place) = WebSocketFraming.declaration(for: ByteBuffer(string: text)) else { return text }
        let bytes = Array(text.utf8)
        return String(decoding: bytes[..<place], as: UTF8.self) + "\(declaration)" + String(decoding: bytes[place...], as: UTF8.self)
    }

    @Test("a stanza names its namespace, once; other elements name theirs already (§3.3.3)")
    func declarations() {
        #expect(alone("<iq id='1'/>") == "<iq xmlns='jabber:client' id='1'/>")
        #expect(alone("<message><body>x</body></message>") == "<message xmlns='jabber:client'><body>x</body></message>")
        #expect(alone("<presence/>") == "<presence xmlns='jabber:client'/>")
        #expect(alone("<presence\n/>") == "<presence xmlns='jabber:client'\n/>")
        #expect(alone("<iq id='xmlns=' xmlns='jabber:client'/>") == "<iq id='xmlns=' xmlns='jabber:client'/>")
        #expect(alone("<iq id=' xmlns=\">' />") == "<iq xmlns='jabber:client' id=' xmlns=\">' />")
        #expect(alone("<iq xmlns:a='urn:a'><b xmlns='urn:b'/></iq>") == "<iq xmlns='jabber:client' xmlns:a='urn:a'><b xmlns='urn:b'/></iq>")
        #expect(alone("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>").hasPrefix(
            "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><reset "))
        for other in ["<r xmlns='urn:xmpp:sm:3'/>", "<messages/>", "<a/>", "<"] { #expect(alone(other) == other) }
    }

    private func event(_ text: String, stanzaBytesMax: Int = 1_000) throws -> String {
        var limits = XMLLimits.authenticated
        limits.stanzaBytesMax = stanzaBytesMax
        switch try WebSocketFraming.event(of: ByteBuffer(string: text), limits: limits, scratch: XMLParserScratch()) {
        case .opened: return "opened"
        case .closed: return "closed"
        case .element(let element): return element.root.isIn(.client) ? "stanza" : "element"
        }
    }

    @Test("a message is one document, and what is not a framing element is what it says it is")
    func events() throws {
        #expect(try event("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>") == "opened")
        #expect(try event(" <close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>\n") == "closed")
        #expect(try event("<open/>") == "element")
        #expect(try event("<f:open xmlns:f='urn:ietf:params:xml:ns:xmpp-framing'/>") == "opened")
        #expect(try event("<iq xmlns='jabber:client'/>") == "stanza")
        #expect(try event("<iq/>") == "element")
        #expect(throws: XMLError.textBetweenStanzas) { try event("<a/><b/>") }
        #expect(throws: XMLError.badNamespacePrefix) { try event("<stream:error/>") }
        #expect(throws: XMLError.notWellFormed) { try event("<a>") }
        #expect(throws: XMLError.restrictedXML) { try event("<?xml version='1.0'?><a/>") }
    }

    @Test("a message has at most the bytes of a stanza", arguments: [0, 1])
    func longest(more: Int) throws {
        let text = "<a>" + String(repeating: "x", count: 93 + more) + "</a>"
        if more == 0 { #expect(try event(text, stanzaBytesMax: 100) == "element") } else {
            #expect(throws: XMLError.limitExceeded(.stanzaBytes)) { try event(text, stanzaBytesMax: 100) }
        }
    }

    @Test("a header has the form of WebSocket there, and the same rules (§3.4)")
    func header() throws {
        func header(_ text: String) throws -> StreamHeader {
            try StreamHeader(open: try parseElement(ByteBuffer(string: text), limits: .authenticated, defaultNamespace: .none))
        }
        #expect(try header("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='Verona.example' version='1.0'/>").domain == "verona.example")
        #expect(throws: StreamError.self) { try header("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='verona.example'/>") }
        #expect(throws: StreamError.self) { try header("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>") }
        #expect(throws: StreamError.self) { try header("<open xmlns='urn:other' to='verona.example' version='1.0'/>") }
    }
}
