import MartletXML
import NIOCore
import Testing

@Suite struct WriterTests {
    private func text(_ body: (inout XMLWriter) -> Void) -> String {
        var writer = XMLWriter()
        body(&writer)
        return String(buffer: writer.buffer)
    }

    @Test("elements, attributes and text are written as they nest, and declare what is not in scope")
    func elements() {
        #expect(text { $0.element("iq", .client, ["type": "get", "id": nil]) { $0.element("ping", "urn:xmpp:ping") } } == "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(text { $0.element("a", "urn:a") { $0.element("b", "urn:a"); $0.element("c", .none, text: "") } } == "<a xmlns='urn:a'><b/><c xmlns=''></c></a>")
        #expect(text { $0.open("a", .client); $0.attribute("lang", .xml, "en"); $0.attribute("b", "urn:b", "c"); $0.close() } == "<a xml:lang='en' xmlns:ns1='urn:b' ns1:b='c'/>")
    }

    @Test("elements of the stream namespace have the customary prefix; over WebSocket they declare it (RFC 7395 §3.3.3)")
    func streamPrefix() {
        #expect(text { $0.element("features", .streams) { $0.element("bind", "urn:ietf:params:xml:ns:xmpp-bind") } } == "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
        #expect(text { $0.isStreamPrefixDeclared = false; $0.element("features", .streams) } == "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>")
    }

    @Test("a header and its end (RFC 6120 §4.2)")
    func header() throws {
        let stream = text {
            $0.streamHeader(contentNamespace: .server, ["from": "a'b", "to": nil, "xml:lang": "en"])
            $0.streamEnd()
        }
        #expect(stream == "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' from='a&apos;b' xml:lang='en'></stream:stream>")
        guard case .closed = outcome(of: Array(stream.utf8)) else { Issue.record(); return }
    }

    @Test("what normalisation would change is escaped, what XML forbids becomes U+FFFD (XML 1.0 §2.2, §2.11, §3.3.3)")
    func escaping() {
        #expect(text { $0.element("a", .client, ["b": "\t\n\r<>&'\"\u{0}\u{1F}\u{FFFE}\u{FFFF}\u{7F}"]) } == "<a b='&#9;&#10;&#13;&lt;&gt;&amp;&apos;\"\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{7F}'/>")
        #expect(text { $0.element("a", .client, text: "\t\n\r<>&'\"]]>\u{1}") } == "<a>\t\n&#13;&lt;&gt;&amp;'\"]]&gt;\u{FFFD}</a>")
        #expect(text { $0.open("a", .client); $0.text("]]"); $0.text(">"); $0.close() } == "<a>]]&gt;</a>")
    }

    @Test("a name from outside cannot break out of its tag")
    func names() {
        let name = "a b='c'><d"
        #expect(text { $0.open(name, .client); $0.attribute("1:x " + name, "y"); $0.close() } == "<a_b__c___d __x_a_b__c___d='y'/>")
        #expect(text { $0.open("é" as String, .client); $0.close() } == "<é/>")
        #expect(text { $0.open("" as String, .client); $0.close() } == "<_/>")
    }

    /// A tree of everything a document can hold.
    private func tree(_ random: inout Seeded) -> Element {
        let namespaces: [Namespace] = [.client, .none, "urn:xmpp:ping", .streams, .xml]
        let pieces = ["\t", "\n", "\r", "\r\n", " ", "x", "<", ">", "&", "'", "\"", "]]>", "]", "é", "😀", "\u{7F}", "\u{85}", "\u{FFFD}", "&amp;", "<![CDATA["]
        func text() -> String { (0..<Int.random(in: 0...4, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined() }
        func element() -> Element {
            let element = Element(["a", "b", "é"].randomElement(using: &random) ?? "", namespaces.randomElement(using: &random) ?? .none)
            if Bool.random(using: &random) { element.namespaceName = "urn:unknown:" + String(Int.random(in: 0...2, using: &random)) }
            for (name, namespace) in [("c", ""), ("d", ""), ("lang", "http://www.w3.org/XML/1998/namespace"), ("c", "urn:unknown:0"), ("c", "urn:xmpp:ping")]
            where Int.random(in: 0..<3, using: &random) == 0 {
                element.attributes.append(.init(name: name, namespace: namespace, value: text()))
            }
            return element
        }
        let root = element()
        var open = [root]
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            let parent = open.randomElement(using: &random) ?? root
            parent.append(text: text())
            open.append(parent.append(element()))
        }
        return root
    }

    @Test("parse(write(x)) == x, for trees and for parsed elements, with tab, line feed and carriage return")
    func roundTrip() throws {
        var random = Seeded(7)
        for _ in 0..<3000 {
            let tree = tree(&random)
            var writer = XMLWriter()
            writer.append(tree)
            let first = try parseElement(writer.buffer, limits: .none)
            #expect(Element(first.root) == tree, "\(String(buffer: writer.buffer))")
            let second = try parseElement(first.rewritten(), limits: .none)
            #expect(Trace.of(second.root) == Trace.of(first.root))
            // Every part, put into other surroundings.
            var parts = XMLWriter()
            parts.open("parts", "urn:parts")
            for child in first.children { parts.append(child) }
            parts.close()
            let read = try parseElement(parts.buffer, limits: .none)
            #expect(read.children.map { Trace.of($0) } == first.children.map { Trace.of($0) })
        }
    }

    @Test("damaged captures that are accepted mean the same when they are written anew")
    func rewrittenCaptures() throws {
        var mutator = Mutator(captures: try Project.captures().map(\.bytes), seed: 99)
        for _ in 0..<3000 {
            _ = outcome(of: mutator.next()) { element in
                guard let again = try? parseElement(element.rewritten(), limits: .none) else {
                    Issue.record("\(String(buffer: element.bytes)) became \(String(buffer: element.rewritten()))")
                    return
                }
                #expect(Trace.of(again.root) == Trace.of(element.root), "\(String(buffer: element.bytes))")
                if element.isCanonical { #expect(element.rewritten() == element.bytes) }
            }
        }
    }
}
