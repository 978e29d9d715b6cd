import MartletXML
import NIOCore
import Testing

/// One rule, the XML that keeps it and the XML that breaks it. All of it is fed whole, byte by byte and in random pieces.
@Suite struct GrammarTests {
    static let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

    /// The stanza of a stream that holds nothing else.
    func parse(_ stanza: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> Result<Trace, XMLError>? {
        let all = outcomes(of: Array(Self.header.utf8) + stanza + Array("</stream:stream>".utf8))
        #expect(all[1] == all[0] && all[2] == all[0], "the pieces matter: \(all)", sourceLocation: sourceLocation)
        return switch all[0] {
        case .closed(let trace): .success(trace)
        case .refused(let error): .failure(error)
        case .incomplete: nil
        }
    }

    func accepts(_ stanzas: String..., sourceLocation: SourceLocation = #_sourceLocation) {
        for stanza in stanzas { accepts(bytes: Array(stanza.utf8), sourceLocation: sourceLocation) }
    }

    func accepts(bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
        if case .success? = parse(bytes, sourceLocation: sourceLocation) { return }
        Issue.record("refused: \(String(decoding: bytes, as: UTF8.self))", sourceLocation: sourceLocation)
    }

    func refuses(_ error: XMLError, _ stanzas: String..., sourceLocation: SourceLocation = #_sourceLocation) {
        for stanza in stanzas { refuses(error, bytes: Array(stanza.utf8), sourceLocation: sourceLocation) }
    }

    func refuses(_ error: XMLError, bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(parse(bytes, sourceLocation: sourceLocation) == .failure(error), "\(String(decoding: bytes, as: UTF8.self))", sourceLocation: sourceLocation)
    }

    func wrapped(_ bytes: [UInt8]) -> [UInt8] { Array("<a>".utf8) + bytes + Array("</a>".utf8) }

    // MARK: Characters

    @Test("UTF-8 is checked to the letter (RFC 3629 §4)", arguments: [
        [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2, 0x20], [0xE0, 0x9F, 0xBF], [0xE2, 0x82, 0x20], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
        [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF],
    ] as [[UInt8]])
    func malformedUTF8(_ sequence: [UInt8]) {
        refuses(.unsupportedEncoding, bytes: wrapped(sequence))
        refuses(.unsupportedEncoding, bytes: Array("<a b='".utf8) + sequence + Array("'/>".utf8))
        refuses(.unsupportedEncoding, bytes: Array("<a><![CDATA[".utf8) + sequence + Array("]]></a>".utf8))
        refuses(.unsupportedEncoding, bytes: Array("<a".utf8) + sequence + Array("/>".utf8))
    }

    @Test("the first and last sequence of each length is taken (RFC 3629 §4)")
    func boundariesOfUTF8() {
        for scalar in [0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0x10000, 0x10FFFF] as [UInt32] {
            guard let scalar = Unicode.Scalar(scalar) else { continue }
            accepts("<a b='\(scalar)'>\(scalar)<![CDATA[\(scalar)]]></a>")
        }
    }

    @Test("U+FFFE, U+FFFF and control characters are no characters (XML 1.0 §2.2)")
    func forbiddenCharacters() {
        for byte in (0x00...0x1F as ClosedRange<UInt8>) where ![0x09, 0x0A, 0x0D].contains(byte) {
            refuses(.notWellFormed, bytes: wrapped([byte]))
            refuses(.notWellFormed, bytes: Array("<a b='".utf8) + [byte] + Array("'/>".utf8))
        }
        refuses(.notWellFormed, "<a>\u{FFFE}</a>", "<a>\u{FFFF}</a>", "<a b='\u{FFFE}'/>", "<a><![CDATA[\u{FFFF}]]></a>")
        accepts("<a>\t\n\r\u{7F}\u{85}\u{1FFFE}</a>")
    }

    // MARK: References

    @Test("a character reference names a character (XML 1.0 §4.1)")
    func characterReferences() throws {
        accepts("<a>&#9;&#10;&#13;&#32;&#x20;&#xD7FF;&#xE000;&#xFFFD;&#x10000;&#x10FFFF;&#000065;</a>")
        for bad in ["&#0;", "&#1;", "&#8;", "&#x1F;", "&#xD800;", "&#xDFFF;", "&#xFFFE;", "&#xFFFF;", "&#x110000;", "&#99999999999;", "&#;", "&#x;", "&#X41;", "&#6a;", "& #65;", "&#-1;"] {
            refuses(.notWellFormed, "<a>\(bad)</a>", "<a b='\(bad)'/>")
        }
        #expect(parse(Array("<a>&#x1F600;&#65;&#x42;</a>".utf8)) == parse(Array("<a>😀AB</a>".utf8)))
    }

    @Test("only the five predefined entities exist (RFC 6120 §11.1, XML 1.0 §4.6)")
    func entities() {
        #expect(parse(Array("<a>&lt;&gt;&amp;&apos;&quot;</a>".utf8)) == parse(Array("<a><![CDATA[<>&'\"]]></a>".utf8)))
        refuses(.restrictedXML, "<a>&nbsp;</a>", "<a>&ltx;</a>", "<a>&AMP;</a>", "<a b='&lol9;'/>", "<a>&é;</a>")
        refuses(.notWellFormed, "<a>&</a>", "<a>&amp</a>", "<a>&;</a>", "<a>& amp;</a>", "<a>&1;</a>", "<a b='&'/>", "<a>a&b</a>")
    }

    // MARK: What XMPP forbids

    @Test("comments, processing instructions and document types are refused (RFC 6120 §11.1)")
    func restricted() {
        refuses(.restrictedXML, "<!-- c -->", "<a><!-- c --></a>", "<?pi?>", "<a><?pi x?></a>", "<a><?xml version='1.0'?></a>", "<!DOCTYPE a>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "<a><!DOCTYPE a></a>", "<!ENTITY b 'c'>", "<![INCLUDE[x]]>", "<a><![cdata[x]]></a>")
        for document in ["<!DOCTYPE a><a/>", "<?xml version='1.0'?><!DOCTYPE a>", "<?xml version='1.0'?> <!-- c -->", "<?pi?>", " <?xml version='1.0'?>"] {
            for outcome in outcomes(of: Array(document.utf8)) { #expect(outcome == .refused(.restrictedXML), "\(document)") }
        }
    }

    @Test("only white space stands between stanzas (RFC 6120 §4.4)")
    func betweenStanzas() {
        accepts(" \t\r\n<a/> \n <b/>\n", " ")
        refuses(.textBetweenStanzas, "x", "<a/>x<b/>", "&#32;", "<a/>\u{A0}", "]]>", "<a/>\u{0}")
        refuses(.notWellFormed, "<![CDATA[ ]]>")
    }

    // MARK: Text

    @Test("]]> does not occur in text (XML 1.0 §2.4)")
    func endOfCDATA() {
        refuses(.notWellFormed, "<a>]]></a>", "<a>x]]]></a>", "<a><![CDATA[x]]>]]></a>", "<a>]<![CDATA[]]>]]></a>")
        accepts("<a>]]</a>", "<a>]]&gt;</a>", "<a>] ]></a>", "<a>]></a>", "<a b=']]>'/>", "<a>]]]]</a>")
    }

    @Test("a CDATA section is text (XML 1.0 §2.7)")
    func cdata() {
        #expect(parse(Array("<a>1<![CDATA[<b>&amp;]]]]><![CDATA[>]]>2</a>".utf8)) == parse(Array("<a>1&lt;b&gt;&amp;amp;]]&gt;2</a>".utf8)))
        accepts("<a><![CDATA[]]></a>", "<a><![CDATA[]]]></a>", "<a><![CDATA[]]]]></a>", "<a><![CDATA[ ]>]] >]]></a>")
        #expect(parse(Array("<a><![CDATA[x]]</a>".utf8)) == nil)
    }

    @Test("line ends become line feeds (XML 1.0 §2.11)")
    func lineEnds() {
        #expect(parse(Array("<a>1\r\n2\r3\n4\r\r\n5&#13;</a>".utf8)) == .success(trace("<a>1\n2\n3\n4\n\n5", after: "\r")))
        #expect(parse(Array("<a><![CDATA[1\r\n2\r3&#13;]]></a>".utf8)) == parse(Array("<a>1\n2\n3&amp;#13;</a>".utf8)))
    }

    private func trace(_ text: String, after: String) -> Trace {
        var trace = Trace()
        let streams = Array("http://etherx.jabber.org/streams\u{1}stream".utf8)
        trace.start(streams)
        trace.start(Array("jabber:client\u{1}a".utf8))
        trace.text(Array((text.dropFirst(3) + after).utf8))
        trace.end()
        trace.end()
        return trace
    }

    // MARK: Tags

    @Test("tags nest and match (XML 1.0 §3, WFC: Element Type Match)")
    func matchingTags() {
        accepts("<a></a>", "<a/>", "<a ></a >", "<a\n/>", "<a><b/><c></c></a>", "<a></a\t\r\n >")
        refuses(.notWellFormed, "<a></b>", "<a></ab>", "<ab></a>", "<a><b></a></b>", "< a/>", "<a></ a>", "<a/ >", "<a></a b>", "<a</a>", "<a<b/></a>", "<>", "</a>",
            "<a></a/>", "<x:a xmlns:x='u'></y:a>", "<a>\u{1}</a>")
        #expect(parse(Array("<a>".utf8)) == .failure(.notWellFormed))
    }

    @Test("an attribute is a name, an equals sign and a quoted value (XML 1.0 §3.1)")
    func attributes() {
        accepts("<a b='c'/>", "<a b=\"c\"/>", "<a\tb\n=\r'c' d = \"'\"/>", "<a b='\"' c=\"'\" d='>'/>", "<a b=''/>")
        refuses(.notWellFormed, "<a b/>", "<a b=c/>", "<a b='<'/>", "<a b='c'd='e'/>", "<a 'b'/>", "<a =''/>", "<a b==''/>", "<a b='c' / >", "<a b 'c'/>", "<a b=>",
            "<a/b='c'>")
    }

    @Test("no attribute twice (XML 1.0 §3.1, WFC: Unique Att Spec)")
    func uniqueAttributes() {
        refuses(.notWellFormed, "<a b='1' b='1'/>", "<a b='1' c='2' b='3'/>", "<a xmlns='u' xmlns='u'/>", "<a xmlns:p='u' xmlns:p='u'/>", "<a xml:lang='a' xml:lang='b'/>")
        accepts("<a b='1' B='2' bb='3'/>")
    }

    @Test("attribute values are normalised (XML 1.0 §3.3.3)")
    func attributeValues() {
        #expect(parse(Array("<a b='1\t2\n3\r4\r\n5&#9;&#10;&#13;6'/>".utf8)) == .success({
            var trace = Trace()
            trace.start(Array("http://etherx.jabber.org/streams\u{1}stream".utf8))
            trace.start(Array("jabber:client\u{1}a".utf8))
            trace.attribute(Array("b".utf8), Array("1 2 3 4 5\t\n\r6".utf8))
            trace.end()
            trace.end()
            return trace
        }()))
    }

    @Test("names begin with a letter or _ and hold at most one colon (XML 1.0 §2.3, Namespaces in XML 1.0 §4)")
    func names() {
        accepts("<_/>", "<a-b.c_1/>", "<é/>", "<名前/>", "<aé·\u{300}/>", "<a é='1'/>", "<x:b xmlns:x='u'/>", "<é:é xmlns:é='u'/>")
        refuses(.notWellFormed, "<1/>", "<-a/>", "<.a/>", "<:a/>", "<a:/>", "<a:b:c xmlns:a='u'/>", "<a:1 xmlns:a='u'/>", "<·a/>", "<a×/>", "<\u{300}/>", "<a 1='2'/>",
            "<a :b=''/>", "<a b:=''/>", "<a xmlns:=''/>", "<a b:c:d='' xmlns:b='u'/>", "<a😀/>", "<a$/>")
    }

    // MARK: Namespaces

    @Test("a prefix must be declared (Namespaces in XML 1.0 §5)")
    func boundPrefixes() {
        refuses(.badNamespacePrefix, "<x:a/>", "<a x:b=''/>", "<a><x:b xmlns:x='u'/><x:c/></a>", "<a xmlns:x='u'/><x:b/>", "<xmlns:a/>")
        accepts("<x:a xmlns:x='u'/>", "<a xmlns:x='u'><b><x:c x:d=''/></b></a>", "<stream:features/>", "<a x:b='' xmlns:x='u'/>", "<a xml:lang='en'/>", "<xml:a/>")
    }

    @Test("no attribute twice by expanded name (Namespaces in XML 1.0 §6.3)")
    func uniqueExpandedNames() {
        refuses(.notWellFormed, "<a xmlns:x='u' xmlns:y='u' x:b='' y:b=''/>", "<a xmlns:x='urn:xmpp:ping' xmlns:y='urn:xmpp:ping' x:b='' y:b=''/>",
            "<a xmlns:x='u&amp;' xmlns:y='u&#38;' x:b='' y:b=''/>", "<a xmlns:x='u'><b xmlns:y='u' y:b='' x:b=''/></a>",
            "<a xmlns:s='http://etherx.jabber.org/streams' s:b='' stream:b=''/>")
        accepts("<a xmlns:x='u' xmlns='u' x:b='' b=''/>", "<a xmlns:x='u' xmlns:y='v' x:b='' y:b=''/>", "<a xmlns:x='u' xmlns:y='u' x:b='' y:c=''/>")
    }

    @Test("xml and xmlns cannot be declared away (Namespaces in XML 1.0 §3)")
    func reservedPrefixes() {
        accepts("<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>")
        refuses(.notWellFormed, "<a xmlns:xml='u'/>", "<a xmlns:xmlns='u'/>", "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", "<a xmlns:x='http://www.w3.org/2000/xmlns/'/>",
            "<a xmlns='http://www.w3.org/2000/xmlns/'/>", "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>", "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
            "<a xmlns:x=''/>")
    }

    @Test("a default namespace ends with its element, and may be none (Namespaces in XML 1.0 §6.2)")
    func defaultNamespace() throws {
        let element = try parseElement(ByteBuffer(string: "<a><b xmlns='urn:b'><c xmlns=''><d/></c><e/></b><f/></a>"), limits: .none)
        let b = try #require(element.root.firstChild)
        #expect(element.namespace == .client)
        #expect(b.namespaceName == "urn:b" && b.children.map(\.namespaceName) == ["", "urn:b"])
        #expect(b.firstChild?.firstChild?.namespace == Namespace.none)
        #expect(element.children.map(\.namespaceName) == ["urn:b", "jabber:client"])
    }
}
