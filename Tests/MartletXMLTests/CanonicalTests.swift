import MartletXML
import NIOCore
import Testing

/// Which bytes may be forwarded as they came, and what becomes of the others.
@Suite struct CanonicalTests {
    private func parse(_ text: String, header: String = GrammarTests.header, content: Namespace = .client) throws -> FlatElement {
        var parser = XMLStreamParser(limits: .authenticated, contentNamespace: content)
        var input = ByteBuffer(string: header + text)
        _ = try parser.next(from: &input)
        guard case .element(let element)? = try parser.next(from: &input) else { throw XMLError.notWellFormed }
        return element
    }

    private func written(_ element: FlatElement) -> String { String(buffer: element.rewritten()) }

    @Test("the canonical subset is forwarded byte for byte (reliability rule 3)", arguments: [
        "<message to='a'  type=\"chat\" ><body>x &lt;&amp;&gt;&apos;&quot; y</body ></message>", "<a>\n\t<b/>\n</a>", "<a xml:lang='en'/>",
        "<a xmlns='urn:x'><b xmlns=''/></a>", "<x:a xmlns:x='urn:x' x:b=''><c/></x:a>", "<p:a xmlns='urn:x' xmlns:p='urn:y'/>", "<presence/>", "<a>é 😀</a>",
        "<a><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body/></message></f></a>",
    ])
    func canonical(_ text: String) throws {
        let element = try parse(text)
        #expect(element.isCanonical)
        #expect(written(element) == text)
    }

    @Test("everything else is written anew, with the same meaning (reliability rule 3)", arguments: [
        ("<a><![CDATA[<b>]]></a>", "<a>&lt;b&gt;</a>"), ("<a>&#65;</a>", "<a>A</a>"), ("<a>x\r\ny</a>", "<a>x\ny</a>"), ("<a\rb='c'/>", "<a b='c'/>"),
        ("<a b='1\t2'/>", "<a b='1 2'/>"), ("<a b='&#9;&#10;&#13;'/>", "<a b='&#9;&#10;&#13;'/>"), ("<a>&#13;</a>", "<a>&#13;</a>"),
        ("<a xmlns='jabber:client' b='c'><d/>x</a>", "<a b='c'><d/>x</a>"), ("<a><b xmlns='jabber:client'/></a>", "<a><b/></a>"),
        ("<a xmlns='jabber:server'/>", "<a xmlns='jabber:server'/>"), ("<a><b xmlns='jabber:server'/></a>", "<a><b xmlns='jabber:server'/></a>"),
        ("<a><f xmlns='u'><b xmlns='jabber:server'/></f></a>", "<a><f xmlns='u'><b xmlns='jabber:server'/></f></a>"),
        ("<a xmlns:c='jabber:client'><c:b/></a>", "<a><b/></a>"), ("<stream:a><b/></stream:a>", "<a xmlns='http://etherx.jabber.org/streams'><b xmlns='jabber:client'/></a>"),
        ("<a stream:b='c'/>", "<a xmlns:ns1='http://etherx.jabber.org/streams' ns1:b='c'/>"),
        ("<a xmlns:p='urn:p'>&#65;<p:b p:c='d' e='f'><p:g/><h/></p:b></a>", "<a>A<b xmlns='urn:p' xmlns:ns1='urn:p' ns1:c='d' e='f'><g/><h xmlns='jabber:client'/></b></a>"),
        ("<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>", "<a xml:lang='en'/>"),
        ("<xml:a>&#65;<b/></xml:a>", "<xml:a>A<b/></xml:a>"), ("<a>&#65;<b xmlns=''><c/></b></a>", "<a>A<b xmlns=''><c/></b></a>"),
    ])
    func rewritten(_ text: String, _ expected: String) throws {
        let element = try parse(text)
        #expect(!element.isCanonical)
        #expect(written(element) == expected)
        #expect(element.rewrittenByteCount(upTo: .max) == expected.utf8.count)
        #expect(Trace.of(try parseElement(element.rewritten(), limits: .none).root) == Trace.of(element.root))
    }

    @Test("what a header declares does not leak into what is forwarded (Namespaces in XML 1.0 §6.1)")
    func inheritedNamespaces() throws {
        let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:e='urn:example:unknown&amp;' xmlns:f='urn:example:unknown&amp;'>"
        let element = try parse("<message><e:b c='d' f:g='h'/></message>", header: header)
        #expect(!element.isCanonical)
        let child = try #require(element.root.firstChild)
        #expect(child.namespace == nil && child.namespaceName == "urn:example:unknown&")
        #expect(child.attributes.map(\.namespaceName) == ["", "urn:example:unknown&"])
        #expect(written(element) == "<message><b xmlns='urn:example:unknown&amp;' c='d' xmlns:ns1='urn:example:unknown&amp;' ns1:g='h'/></message>")
        #expect(throws: XMLError.notWellFormed) { try parse("<a e:b='' f:b=''/>", header: header) }
        #expect(throws: XMLError.notWellFormed) { try parse("<a xmlns:g='urn:example:unknown&#38;' e:b='' g:b=''/>", header: header) }
        let foreign = try parse("<a><b/></a>", header: "<stream xmlns='http://etherx.jabber.org/streams'>")
        #expect(!foreign.isCanonical && foreign.namespace == .streams)
        let bare = try parse("<a/>", header: "<s:stream xmlns:s='http://etherx.jabber.org/streams'>")
        #expect(!bare.isCanonical && written(bare) == "<a xmlns=''/>")
    }

    @Test("a stanza of a server stream is the same bytes on a client stream (RFC 6120 §4.8.3)")
    func serverStreams() throws {
        let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>"
        let element = try parse("<message><body>x</body></message>", header: header, content: .server)
        #expect(element.isCanonical && element.hasChild("body", .client))
        var writer = XMLWriter(contentNamespace: .server)
        writer.append(element)
        #expect(String(buffer: writer.buffer) == "<message><body>x</body></message>")
    }

    @Test("a component's content namespace reads as jabber:client too (XEP-0114)")
    func components() throws {
        let content: Namespace = "jabber:component:accept"
        let element = try parse("<message><body/></message>", header: "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>", content: content)
        #expect(element.isCanonical && element.namespace == .client)
    }

    @Test("a part of a stanza gets the namespace it had around it")
    func parts() throws {
        let element = try parse("<message><f xmlns='urn:f'><g h='i'>x<j/></g></f><body>y</body></message>")
        let f = try #require(element.root.firstChild)
        let g = try #require(f.firstChild)
        var writer = XMLWriter()
        writer.element("a", .client) { writer in
            writer.append(g)
            writer.append(f)
            writer.element("w", "urn:w") { $0.appendContent(of: element.root) }
            writer.element("v", "urn:f") { $0.append(g) }
        }
        #expect(String(buffer: writer.buffer) == "<a><g xmlns='urn:f' h='i'>x<j/></g><f xmlns='urn:f'><g h='i'>x<j/></g></f>"
            + "<w xmlns='urn:w'><f xmlns='urn:f'><g h='i'>x<j/></g></f><body xmlns='jabber:client'>y</body></w><v xmlns='urn:f'><g h='i'>x<j/></g></v></a>")
    }

    @Test("the prefix xml needs no declaration and may have none (Namespaces in XML 1.0 §3)")
    func prefixXML() throws {
        let element = try parse("<a><xml:b xml:lang='en'><c/></xml:b></a>")
        var writer = XMLWriter()
        writer.element("d", "urn:d") { $0.appendContent(of: element.root) }
        #expect(String(buffer: writer.buffer) == "<d xmlns='urn:d'><xml:b xml:lang='en'><c xmlns='jabber:client'/></xml:b></d>")
        #expect(written(element) == "<a><xml:b xml:lang='en'><c/></xml:b></a>")
    }

    @Test("a forwarded stanza that leaves its wrapper declares nothing")
    func unwrapped() throws {
        let element = try parse("<message><f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' id='1'><body>y</body></message></f></message>")
        let inner = try #require(element.root.firstChild?.firstChild)
        var writer = XMLWriter()
        writer.append(inner)
        #expect(String(buffer: writer.buffer) == "<message id='1'><body>y</body></message>")
    }

    @Test("a start tag is copied with other attributes, content with fewer children")
    func stamping() throws {
        let element = try parse("<message from='forged' to='b' xml:lang='en'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0'/>y</message>")
        var writer = XMLWriter()
        writer.open(copying: element.root, setting: ["from": "a&b", "to": nil])
        writer.appendContent(of: element.root) { !$0.isNamed("stanza-id", "urn:xmpp:sid:0") }
        writer.element("stanza-id", "urn:xmpp:sid:0", ["id": "1", "by": nil])
        writer.close()
        #expect(String(buffer: writer.buffer) == "<message xml:lang='en' from='a&amp;b'><body>x</body>y<stanza-id xmlns='urn:xmpp:sid:0' id='1'/></message>")
    }
}
