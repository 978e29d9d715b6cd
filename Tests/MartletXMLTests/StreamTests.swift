import MartletXML
import NIOCore
import Testing

@Suite struct StreamTests {
    static let header = GrammarTests.header

    private func parser(_ limits: XMLLimits = .authenticated, after text: String = header) throws -> XMLStreamParser {
        var parser = XMLStreamParser(limits: limits)
        _ = try events(&parser, text)
        return parser
    }

    /// Names of what comes, `^` for a header, `$` for its end.
    private func events(_ parser: inout XMLStreamParser, _ text: String) throws(XMLError) -> [String] {
        var input = ByteBuffer(string: text)
        var names: [String] = []
        while let event = try parser.next(from: &input) {
            switch event {
            case .opened(let header): names.append("^" + header.localName)
            case .element(let element): names.append(element.localName)
            case .closed: names.append("$")
            }
        }
        #expect(input.readableBytes == 0)
        return names
    }

    private func outcomeOfStream(_ bytes: [UInt8]) -> Outcome {
        let all = outcomes(of: bytes)
        #expect(all[1] == all[0] && all[2] == all[0])
        return all[0]
    }

    @Test("a stream is its header, its stanzas and its end (RFC 6120 §4.1)")
    func wholeStream() throws {
        var parser = XMLStreamParser(limits: .authenticated)
        #expect(try events(&parser, "<?xml version='1.0'?>\(Self.header)<iq/> <message><body>x</body></message>\n</stream:stream>") == ["^stream", "iq", "message", "$"])
        #expect(try events(&parser, "<iq/> what ever") == [])
    }

    @Test("an event is given with the last byte of it, never later (reliability rule 7)")
    func noDeferral() throws {
        var parser = XMLStreamParser(limits: .authenticated)
        let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
            + (0..<30).map { "a\($0)='\(String(repeating: "x", count: 300))' " }.joined() + ">"
        let iq = "<iq id='\(String(repeating: "y", count: 100_000))'><a/></iq >"
        for (text, name) in [(header, "^stream"), (iq, "iq"), ("</stream:stream >", "$")] {
            #expect(try events(&parser, String(text.dropLast())) == [])
            #expect(try events(&parser, String(text.suffix(1))) == [name])
        }
    }

    @Test("a header may be its own end (XML 1.0 §3.1)")
    func selfClosedStream() throws {
        var parser = XMLStreamParser(limits: .authenticated)
        #expect(try events(&parser, "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>") == ["^stream", "$"])
    }

    @Test("the end tag repeats the header's name (XML 1.0 §3)")
    func endOfStream() throws {
        for wrong in ["</stream>", "</stream:streams>", "</stream:strea>", "</stream:stream x>", "</ stream:stream>"] {
            var parser = try parser()
            #expect(throws: XMLError.notWellFormed) { try events(&parser, wrong) }
        }
        var parser = XMLStreamParser(limits: .authenticated)
        #expect(try events(&parser, "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client'><iq/></s:stream\n>") == ["^stream", "iq", "$"])
    }

    @Test("another encoding than UTF-8 is refused, and so is a byte order mark (RFC 6120 §11.6)")
    func encodings() {
        #expect(outcomeOfStream([0xEF, 0xBB, 0xBF] + Array(Self.header.utf8)) == .refused(.unsupportedEncoding))
        #expect(outcomeOfStream([0xFE, 0xFF, 0x00, 0x3C]) == .refused(.unsupportedEncoding))
        #expect(outcomeOfStream([0xFF, 0xFE, 0x3C, 0x00]) == .refused(.unsupportedEncoding))
        #expect(outcomeOfStream([0x00, 0x3C, 0x00, 0x3F]) == .refused(.unsupportedEncoding))
        #expect(outcomeOfStream([0x3C, 0x00, 0x3F, 0x00]) == .refused(.unsupportedEncoding))
        for encoding in ["UTF-16", "ISO-8859-1", "utf8", "UTF-7"] {
            #expect(outcomeOfStream(Array("<?xml version='1.0' encoding='\(encoding)'?>".utf8)) == .refused(.unsupportedEncoding))
        }
    }

    @Test("an XML declaration says version, encoding, standalone, in this order (XML 1.0 §2.8)")
    func declarations() {
        for good in ["<?xml version='1.0'?>", "<?xml version = \"1.0\" encoding=\"utf-8\" standalone='yes' ?>\r\n", "<?xml\tversion='1.0'\nstandalone='no'?>", "", " \n"] {
            #expect(outcomeOfStream(Array("\(good)<a/>".utf8)) == outcomeOfStream(Array("<a/>".utf8)), "\(good)")
        }
        for bad in ["<?xml?>", "<?xml version='1.1'?>", "<?xml version='1.0' standalone='maybe'?>", "<?xml encoding='UTF-8'?>", "<?xml version='1.0'encoding='UTF-8'?>",
            "<?xml version='1.0' encoding='UTF-8' version='1.0'?>", "<?xml version='1.0' >", "<?xml version=1.0?>", "<?xml version='1.0' x='y'?>", "x", "&#32;"] {
            #expect(outcomeOfStream(Array("\(bad)<a/>".utf8)) == .refused(.notWellFormed), "\(bad)")
        }
        #expect(outcomeOfStream(Array("<?xmlx version='1.0'?><a/>".utf8)) == .refused(.restrictedXML))
        #expect(outcomeOfStream(Array(("<?xml version='1.0'" + String(repeating: " ", count: 300)).utf8)) == .refused(.limitExceeded(.headerBytes)))
    }

    @Test("after SASL a new header comes, perhaps behind white space of the old stream (RFC 6120 §4.3.3)")
    func restart() throws {
        var parser = try parser()
        var input = ByteBuffer(string: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\n<?xml version='1.0'?>\(Self.header)<iq/>")
        guard case .element(let auth)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(auth.localName == "auth")
        parser.restart()
        guard case .opened? = try parser.next(from: &input) else { Issue.record(); return }
        guard case .element(let iq)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(iq.isNamed("iq", .client))
    }

    @Test("what arrived before TLS is thrown away (CVE-2011-0411)")
    func discard() throws {
        var parser = try parser()
        var input = ByteBuffer(string: "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq")
        _ = try parser.next(from: &input)
        #expect(try parser.next(from: &input) == nil)
        #expect(parser.pendingByteCount == 3 && parser.isInsideElement)
        #expect(parser.discardInput() == 3)
        #expect(try events(&parser, Self.header + "<iq/>") == ["^stream", "iq"])
    }

    @Test("nothing is kept between stanzas, whatever white space comes")
    func idle() throws {
        var parser = try parser()
        #expect(try events(&parser, "<iq/>  \n ") == ["iq"])
        #expect(parser.pendingByteCount == 0)
        #expect(try events(&parser, "<") == [])
        #expect(parser.pendingByteCount == 1)
        #expect(try events(&parser, "iq/>") == ["iq"])
        #expect(parser.pendingByteCount == 0)
    }

    @Test("connections of one loop share its working memory without seeing each other")
    func sharedScratch() throws {
        let scratch = XMLParserScratch()
        var one = XMLStreamParser(limits: .authenticated, scratch: scratch)
        var other = XMLStreamParser(limits: .authenticated, scratch: scratch)
        #expect(try events(&one, Self.header + "<message><bo") == ["^stream"])
        #expect(try events(&other, Self.header + "<iq id='1'><qu") == ["^stream"])
        #expect(try events(&one, "dy/></message><presence") == ["message"])
        #expect(try events(&other, "ery/></iq>") == ["iq"])
        #expect(try events(&one, "/>") == ["presence"])
    }

    @Test("an error is repeated")
    func failed() throws {
        var parser = try parser()
        for text in ["<a></b>", "<a/>"] { #expect(throws: XMLError.notWellFormed) { try events(&parser, text) } }
    }

    @Test("the header tells its content namespace (RFC 6120 §4.8.2)")
    func contentNamespace() throws {
        var parser = XMLStreamParser(limits: .authenticated, contentNamespace: .server)
        var input = ByteBuffer(string: "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' to='a' xml:lang='en'><db:result/><message><body/></message>")
        guard case .opened(let header)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(header.isNamed("stream", .streams) && header.root.declaredDefaultNamespace == "jabber:server")
        #expect(header.attribute("to") == "a" && header.attribute("lang", .xml) == "en" && header.attribute("xmlns") == nil)
        guard case .element(let result)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(result.isNamed("result", "jabber:server:dialback") && !result.isCanonical)
        guard case .element(let message)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(message.isNamed("message", .client) && message.hasChild("body", .client) && message.isCanonical)
    }

    @Test("jabber:server is the content namespace of no client's stream: there it is a namespace like others (RFC 6120 §4.8.3)")
    func serverNamespaceFromClient() throws {
        var parser = try parser()
        var input = ByteBuffer(string: "<message xmlns='jabber:server'><body/></message><message><x xmlns='jabber:server'/><s:y xmlns:s='jabber:server'/></message>")
        guard case .element(let message)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(message.isNamed("message", .server) && !message.isNamed("message", .client) && !message.hasChild("body", .client))
        guard case .element(let content)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(content.hasChild("x", .server) && content.hasChild("y", .server) && !content.hasChild("x", .client) && !content.isCanonical)
    }

    @Test("a second header is refused with the last byte of its start tag (RFC 6120 §4.3)", arguments: [
        header, "<stream:stream>", "<s:stream xmlns:s='http://etherx.jabber.org/streams'>", "<stream xmlns='http://etherx.jabber.org/streams'>", "<stream:stream/>",
    ])
    func secondHeader(_ again: String) throws {
        var parser = try parser()
        #expect(try events(&parser, "<iq/>" + again.dropLast()) == ["iq"])
        #expect(throws: XMLError.secondHeader) { try events(&parser, ">") }
    }

    @Test("what only resembles a second header is an element, and after a restart a header is the first (RFC 6120 §4.3.3)")
    func noSecondHeader() throws {
        var parser = try parser()
        let others = "<stream/><stream:error/><stream:streams/><message><stream:stream/></message>"
        #expect(try events(&parser, others) == ["stream", "error", "streams", "message"])
        parser.restart()
        #expect(try events(&parser, Self.header) == ["^stream"])
        let document = "<stream xmlns='http://etherx.jabber.org/streams'><iq/></stream>"
        #expect(try parseElement(ByteBuffer(string: document), limits: .authenticated).isNamed("stream", .streams))
    }

    @Test("a document is one element and white space")
    func documents() throws {
        #expect(try parseElement(ByteBuffer(string: " <a/>\n"), limits: .authenticated).localName == "a")
        for bad in ["", " ", "<a>", "x<a/>", "<?xml version='1.0'?><a/>", "</a>"] {
            #expect(throws: XMLError.self, "\(bad)") { try parseElement(ByteBuffer(string: bad), limits: .authenticated) }
        }
        #expect(throws: XMLError.textBetweenStanzas) { try parseElement(ByteBuffer(string: "<a/><b/>"), limits: .authenticated) }
        let open = try parseElement(ByteBuffer(string: "<open/>"), limits: .authenticated, defaultNamespace: .none)
        #expect(open.namespace == Namespace.none)
        let ping = try parseElement(ByteBuffer(string: "<ping/>"), limits: .authenticated, defaultNamespace: "urn:xmpp:ping")
        #expect(ping.isNamed("ping", "urn:xmpp:ping") && !ping.isCanonical)
    }
}
