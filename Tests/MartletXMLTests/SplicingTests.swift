import MartletXML
import NIOCore
import Testing

@Suite("A stanza with the server's addresses in its own bytes (reliability rule 3)")
struct SplicingTests {
    private func parse(_ text: String, content: Namespace = .client) throws -> FlatElement {
        var parser = XMLStreamParser(limits: .authenticated, contentNamespace: content)
        var input = ByteBuffer(string: GrammarTests.header + text)
        _ = try parser.next(from: &input)
        guard case .element(let element)? = try parser.next(from: &input) else { throw XMLError.notWellFormed }
        return element
    }

    private func spliced(
        _ element: FlatElement, from: String = "f", to: String = "t", adding added: String = "", in writer: XMLWriter = XMLWriter()
    ) -> String? {
        var (writer, from, to) = (writer, from, to)
        let isDone = from.withUTF8 { from in
            to.withUTF8 { to in
                let (from, to) = (UnsafeRawBufferPointer(from), UnsafeRawBufferPointer(to))
                if added.isEmpty { return writer.splice(element, from: from, to: to) }
                return writer.splice(element, from: from, to: to) { $0.raw(ByteBuffer(string: added)) }
            }
        }
        return isDone ? String(buffer: writer.buffer) : nil
    }

    @Test("addresses that were sent are replaced, the rest is as it was", arguments: [
        ("<message><body>x</body></message>", "<message from='f' to='t'><body>x</body></message>"),
        ("<message to='a' from=\"b\"/>", "<message from='f' to='t'/>"),
        ("<message\n id='1' to='a'  type='chat' from='b' >&amp;</message >", "<message from='f' to='t'\n id='1'  type='chat' >&amp;</message >"),
        ("<message tp='1' frog='2' fro='3' t='4' xml:lang='en' xmlns:to='urn:x' to:from='5'/>",
            "<message from='f' to='t' tp='1' frog='2' fro='3' t='4' xml:lang='en' xmlns:to='urn:x' to:from='5'/>"),
        ("<message xmlns='jabber:client' to='a'><b xmlns='urn:b'/></message>", "<message from='f' to='t'><b xmlns='urn:b'/></message>"),
        ("<message><to from='a' to='b'>x</to></message>", "<message from='f' to='t'><to from='a' to='b'>x</to></message>"),
    ])
    func replaced(_ text: String, _ expected: String) throws {
        #expect(spliced(try parse(text)) == expected)
    }

    @Test("an address that is left out is not written")
    func leftOut() throws {
        let element = try parse("<message to='a' from='b' id='1'/>")
        #expect(spliced(element, from: "") == "<message to='t' id='1'/>")
        #expect(spliced(element, to: "") == "<message from='f' id='1'/>")
    }

    @Test("what the server adds comes behind the last child", arguments: [
        ("<message><body/>x</message>", "<message from='f' to='t'><body/>x<id/></message>"), ("<message/>", "<message from='f' to='t'><id/></message>"),
        ("<message id='1' />", "<message from='f' to='t' id='1' ><id/></message>"), ("<message></message >", "<message from='f' to='t'><id/></message >"),
    ])
    func added(_ text: String, _ expected: String) throws {
        #expect(spliced(try parse(text), adding: "<id/>") == expected)
    }

    @Test("within another namespace the content namespace is declared (XEP-0297)")
    func forwarded() throws {
        var writer = XMLWriter()
        writer.open("forwarded", "urn:xmpp:forward:0")
        let text = spliced(try parse("<message id='1'><body/></message>"), in: writer)
        #expect(text == "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='f' to='t' id='1'><body/></message>")
    }

    @Test("what does not mean the same to everybody, or needs escaping, is left to be written anew", arguments: [
        "<message>&#65;</message>", "<message><![CDATA[x]]></message>", "<message a='1\t2'/>", "<message><stream:a/></message>", "<stream:message/>",
        "<message xmlns='urn:x'/>", "<c:message xmlns:c='jabber:client'/>",
    ])
    func refused(_ text: String) throws {
        #expect(spliced(try parse(text)) == nil)
        for value in ["a'b", "a&b", "a<b", "a>b", "a\u{FFFE}", "a\tb"] {
            #expect(spliced(try parse("<message/>"), from: value) == nil)
            #expect(spliced(try parse("<message/>"), to: value) == nil)
        }
    }

    @Test("the longest addresses and additions fit in what is reserved for them")
    func longest() throws {
        let (from, to, added) = (String(repeating: "f", count: 3071), String(repeating: "é", count: 1535), String(repeating: "<x/>", count: 5000))
        let text = try #require(spliced(try parse("<message/>"), from: from, to: to, adding: added))
        #expect(text == "<message from='\(from)' to='\(to)'>\(added)</message>")
    }

    @Test("what needs escaping is found wherever it stands (XML 1.0 §2.2, §3.1)")
    func escapedAnywhere() {
        for length in 1...40 {
            for place in 0..<length {
                for (character, escaped) in [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ("\u{1}", "\u{FFFD}"), ("\u{FFFF}", "\u{FFFD}"), ("é", "é"), ("\u{FEFF}", "\u{FEFF}")] {
                    let (before, after) = (String(repeating: "a", count: place), String(repeating: "b", count: length - place - 1))
                    var writer = XMLWriter()
                    writer.emptyElement("x", .client) { $0.attribute("y", before + character + after) }
                    #expect(String(buffer: writer.buffer) == "<x y='\(before)\(escaped)\(after)'/>")
                }
            }
        }
    }

    @Test("an element with a number and a text is the same in one step as in several", arguments: ["romeo@montague.example", "a'b", "é", ""])
    func numberAndText(_ text: String) {
        for (namespace, isOpen) in [("urn:b", false), ("urn:b", true), (.client, false), (.client, true)] as [(Namespace, Bool)] {
            var (one, several) = (XMLWriter(), XMLWriter())
            if isOpen {
                one.open("a", .client)
                several.open("a", .client)
            }
            var utf8 = text
            utf8.withUTF8 { one.emptyElement("b", namespace, ("id", .max), ("by", UnsafeRawBufferPointer($0))) }
            several.emptyElement("b", namespace) {
                $0.attribute("id", decimal: .max)
                $0.attribute("by", text)
            }
            if isOpen {
                one.close()
                several.close()
            }
            #expect(String(buffer: one.buffer) == String(buffer: several.buffer))
        }
    }

    @Test("numbers are written in decimal digits", arguments: [0, 9, 10, 99, 100, 101, 999, 1_234_567_890, .max] as [UInt64])
    func decimals(_ number: UInt64) {
        var writer = XMLWriter()
        writer.open("a", .client)
        writer.emptyElement("b", "urn:b") { $0.attribute("c", decimal: number) }
        writer.close()
        #expect(String(buffer: writer.buffer) == "<a><b xmlns='urn:b' c='\(number)'/></a>")
    }
}
