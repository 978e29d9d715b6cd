import MartletXML
import NIOCore
import Testing

@Suite struct ViewTests {
    private func parse(_ text: String) throws -> FlatElement { try parseElement(ByteBuffer(string: text), limits: .authenticated) }

    @Test("an element answers by name, attribute, child and text")
    func answers() throws {
        let message = try parse("<message to='a&amp;b' type=\"chat\" xml:lang='en'>x<body>one <b/>two</body><body/><thread> \n</thread><![CDATA[y]]></message>")
        let root = message.root
        #expect(root.isNamed("message", .client) && !root.isNamed("message", .server) && !root.isNamed("messag", .client))
        #expect(root.attribute("to") == "a&b" && root.attributeEquals("to", "a&b") && !root.attributeEquals("to", "a&amp;b"))
        #expect(root.attributeEquals("type", "chat") && root.attribute("xmlns") == nil && root.attribute("lang") == nil)
        #expect(root.attribute("lang", .xml) == "en" && root.hasAttribute("type") && !root.hasAttribute("id"))
        #expect(root.withAttribute("to") { $0.count } == 3)
        #expect(root.attributes.map(\.localName) == ["to", "type", "lang"] && root.attributes.map(\.value) == ["a&b", "chat", "en"])
        #expect(root.children.map(\.localName) == ["body", "body", "thread"])
        #expect(root.firstChild("body", .client)?.text == "one two" && root.firstChild("body", "urn:other") == nil)
        #expect(root.text == "xy" && root.hasText)
        #expect(root.firstChild("thread", .client)?.hasText == false)
        let body = try #require(root.firstChild("body", .client))
        #expect(String(buffer: body.rawBytes) == "<body>one <b/>two</body>")
        #expect(body.contentRange.count == "one <b/>two".utf8.count && body.startTagRange.count == "<body>".utf8.count)
    }

    @Test("a namespace that gets its number after parsing is still recognised")
    func lateNamespaces() throws {
        let element = try parse("<a xmlns='urn:martlet:test:late'/>")
        #expect(element.namespace == nil && element.root.namespaceName == "urn:martlet:test:late")
        let late: Namespace = "urn:martlet:test:late"
        #expect(element.isNamed("a", late) && !element.isNamed("a", "urn:martlet:test:later"))
        #expect(try parse("<a xmlns='urn:martlet:test:late'/>").namespace == late)
    }

    @Test("a namespace name may be written with references (XML 1.0 §3.3.3)")
    func encodedNamespaces() throws {
        #expect(try parse("<a xmlns='jabber&#58;client'/>").namespace == .client)
        #expect(try parse("<a xmlns='urn:x&amp;y'/>").root.namespaceName == "urn:x&y")
    }

    @Test("a child and an attribute are found by their whole name, and only directly in their element")
    func found() throws {
        let text = "<a body='1' x:b='2' xmlns:x='urn:x'>body<c><body n='0'/></c><bodies/><bod/><body xmlns='urn:x'/><body n='1'/><body n='2'/></a>"
        let root = try parse(text).root
        #expect(root.firstChild("body", .client)?.attribute("n") == "1")
        #expect(root.hasChild("c", .client) && root.hasChild("bodies", .client) && root.hasChild("bod", .client))
        #expect(!root.hasChild("a", .client) && !root.hasChild("bo", .client) && !root.hasChild("body", .server))
        #expect(root.attribute("body") == "1" && root.attribute("bod") == nil && root.attribute("b") == nil && root.attribute("x") == nil)
        let empty = try #require(root.firstChild("bod", .client))
        #expect(!empty.hasChild("body", .client) && empty.firstChild("n", .client) == nil && empty.attribute("n") == nil)
        #expect(empty.isNamed("bod", .client) && !empty.isNamed("bodies", .client) && !empty.isNamed("bad", .client))
    }

    @Test("a child in a namespace is found whatever it is called, and only directly in its element")
    func inNamespace() throws {
        let root = try parse("<a x:b='2' xmlns:x='urn:x'>text<c/><d xmlns='urn:d'><e xmlns='urn:e'/></d></a>").root
        #expect(root.hasChild(in: .client) && root.hasChild(in: "urn:d"))
        #expect(!root.hasChild(in: "urn:e") && !root.hasChild(in: "urn:x") && !root.hasChild(in: .none))
        #expect(root.firstChild("d", "urn:d")?.hasChild(in: "urn:e") == true && root.firstChild("c", .client)?.hasChild(in: .client) == false)
    }

    @Test("numbers of namespaces are stable, and 0 is none")
    func numbers() {
        let ping: Namespace = "urn:xmpp:ping"
        #expect(ping == "urn:xmpp:ping" && ping.name == "urn:xmpp:ping")
        #expect(Namespace.none.id == 0 && Namespace.none == "" && Namespace.client == "jabber:client" && Namespace.server == "jabber:server")
        #expect(Namespace.streams == "http://etherx.jabber.org/streams" && Namespace.xml.name == "http://www.w3.org/XML/1998/namespace")
    }

    @Test("a tree is changed and written")
    func trees() throws {
        let tree = Element(try parse("<a b='1'><c xmlns='urn:c'>x</c></a>").root)
        tree[attribute: "b"] = nil
        tree[attribute: "d"] = "\n"
        tree.children.first?.append(text: "y")
        tree.append(Element("e", .client, ["f": "g"], text: "h"))
        var writer = XMLWriter()
        writer.append(tree)
        #expect(String(buffer: writer.buffer) == "<a d='&#10;'><c xmlns='urn:c'>xy</c><e f='g'>h</e></a>")
        #expect(tree.firstChild("c", "urn:c")?.text == "xy" && tree.firstChild("c", .client) == nil)
    }
}
