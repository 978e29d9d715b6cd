import MartletXML
import NIOCore
import Testing

@Suite("Documents that are read part by part")
struct DocumentTests {
    private static let limits = XMLLimits(stanzaBytesMax: 200, headerBytesMax: 100)

    /// Elements named `box` are containers.
    private func parser(_ limits: XMLLimits = limits) -> XMLDocumentParser {
        XMLDocumentParser(limits: limits) { tag, _ in tag.localName == "box" }
    }

    private func text(_ event: XMLDocumentParser.Event) -> String {
        switch event {
        case .opened(let tag): "<\(tag.localName)"
        case .element(let element): element.localName
        case .closed: ">"
        }
    }

    private func events(_ text: String, pieces: Int = .max, limits: XMLLimits = limits) throws(XMLError) -> [String] {
        var parser = parser(limits)
        var (names, rest) = ([String](), Array(text.utf8)[...])
        while !rest.isEmpty {
            var input = ByteBuffer(bytes: rest.prefix(pieces))
            rest = rest.dropFirst(pieces)
            while let event = try parser.next(from: &input) { names.append(self.text(event)) }
        }
        return names + (parser.isComplete ? ["."] : [])
    }

    @Test("containers are told by their tags, what is in them as a whole, however small the pieces are in which it comes", arguments: [1, 2, 7, .max])
    func parts(pieces: Int) throws {
        let text = "<?xml version='1.0' encoding='UTF-8'?>\n<box a='1'>\n <box><one>x</one> <two><box/></two></box ><box/>\n<three/></box >\n"
        #expect(try events(text, pieces: pieces) == ["<box", "<box", "one", "two", ">", "<box", ">", "three", ">", "."])
    }

    @Test("a root that is no container is a document too")
    func single() throws {
        #expect(try events("<one><two/></one>") == ["one", "."])
        #expect(try events("<one>") == [])
    }

    @Test("elements have the namespaces and prefixes that were declared around them (Namespaces in XML 1.0 §6)")
    func scopes() throws {
        var parser = parser()
        let text = "<box xmlns='urn:a' xmlns:p='urn:p'><box xmlns:q='urn:q'><x p:k='1'><q:y/></x></box><box xmlns='urn:b' xmlns:p='urn:r'><x p:k='2'/></box><p:z/></box>"
        var input = ByteBuffer(string: text)
        var written: [String] = []
        while let event = try parser.next(from: &input) {
            guard case .element(let element) = event else { continue }
            written.append(String(buffer: element.rewritten()))
        }
        #expect(written[0].contains("xmlns='urn:a'") && written[0].contains("'urn:q'") && written[0].contains("'urn:p'"))
        #expect(written[1].contains("xmlns='urn:b'") && written[1].contains("'urn:r'") && !written[1].contains("urn:p'"))
        #expect(written[2] == "<z xmlns='urn:p'/>")
    }

    @Test("what is around the root, or closes something else, is a mistake", arguments: [
        ("x<box/>", XMLError.notWellFormed), ("<box>x</box>", .textBetweenStanzas), ("<box/><box/>", .textBetweenStanzas), ("<box/>x", .textBetweenStanzas),
        ("<box><box></box></bo>", .notWellFormed), ("</box>", .notWellFormed), ("<box></boxes>", .notWellFormed), ("\u{FEFF}<box/>", .unsupportedEncoding),
        ("<!DOCTYPE box><box/>", .restrictedXML), ("<box><!-- --></box>", .restrictedXML), ("<box>&a;</box>", .textBetweenStanzas),
        ("<box><a>&a;</a></box>", .restrictedXML), ("<box><p:a/></box>", .badNamespacePrefix),
    ])
    func mistakes(text: String, error: XMLError) {
        #expect(throws: error) { try events(text) }
        #expect(throws: error) { try events(text, pieces: 1) }
    }

    @Test("an element, a tag and what is deep are bounded each (reliability rule 4)")
    func limits() throws {
        func element(_ bytes: Int) -> String { "<box><a>\(String(repeating: "x", count: bytes - 7))</a></box>" }
        #expect(try events(element(200)) == ["<box", "a", ">", "."])
        #expect(throws: XMLError.limitExceeded(.stanzaBytes)) { try events(element(201)) }
        func tag(_ bytes: Int) -> String { "<box a='\(String(repeating: "x", count: bytes - 10))'></box>" }
        #expect(try events(tag(100)) == ["<box", ">", "."])
        #expect(throws: XMLError.limitExceeded(.headerBytes)) { try events(tag(101)) }
        #expect(throws: XMLError.limitExceeded(.headerBytes)) { try events("<box></box\(String(repeating: " ", count: 200))", pieces: 50) }
        let deep = String(repeating: "<a>", count: 6) + String(repeating: "</a>", count: 6)
        #expect(throws: XMLError.limitExceeded(.depth)) { try events("<box>\(deep)</box>", limits: XMLLimits(depthMax: 5)) }
    }

    @Test("what is in memory is one element, however long the document is")
    func long() throws {
        var parser = parser()
        var input = ByteBuffer(string: "<box>")
        var count = 0
        while try parser.next(from: &input) != nil {}
        for _ in 0..<10_000 {
            input = ByteBuffer(string: "<a>text</a>\n")
            while try parser.next(from: &input) != nil { count += 1 }
        }
        #expect(count == 10_000 && parser.usedByteCount >= 10_000 * 11 && !parser.isComplete)
    }

    @Test("an error is repeated")
    func repeated() {
        var parser = parser()
        var input = ByteBuffer(string: "<box>x")
        for _ in 0..<2 {
            do {
                while try parser.next(from: &input) != nil {}
                Issue.record("it was taken")
            } catch { #expect(error == .textBetweenStanzas) }
        }
    }
}
