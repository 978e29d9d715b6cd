import MartletXML
import NIOCore
import Testing

/// What is read many bytes at a time is read as it would be byte by byte: every length, every byte at every place, every end of the input.
@Suite struct ScanTests {
    private func document(_ text: String) throws(XMLError) -> FlatElement {
        try parseElement(ByteBuffer(string: text), limits: .none)
    }

    @Test("any byte at any place of a stanza is taken or refused as by expat, with the same tree (XML 1.0 §2.3, §3.1)", arguments: [
        "<message type='chat' thisnamehasmorethansixteenletters=\"and so has this value of it\" id-1='x' xml:lang='en'><body>Hi &amp; bye.</body></message>",
        "<a xmlns='urn:example:one' b=\"\"><longer-name.than_sixteen1 c='d'>some text, longer than sixteen bytes</longer-name.than_sixteen1 ><e/></a>",
    ])
    func anyByteAnywhere(_ text: String) {
        let (before, stanza, after) = (Array(GrammarTests.header.utf8), Array(text.utf8), Array("</stream:stream>".utf8))
        for place in stanza.indices {
            for byte in (0..<0x80) + [0x80, 0xC3, 0xFF] as [UInt8] {
                var changed = stanza
                changed[place] = byte
                let bytes = before + changed + after
                let expected = ExpatOracle.trace(of: bytes)
                for ours in [outcome(of: bytes), outcome(of: bytes, pieces: [before.count + place, .max])] {
                    let isSame = if case .closed(let trace) = ours { trace == expected } else { expected == nil }
                    if !isSame { Issue.record("\(String(decoding: changed, as: UTF8.self))\n  expat: \(expected?.description ?? "-")\n  ours: \(ours)") }
                }
            }
        }
    }

    @Test("attributes of any length in either quotes are found whole, also where the input ends behind them")
    func attributes() throws {
        for length in 1...40 {
            let name = String(repeating: "n", count: length)
            for value in ["", "'", "\"", "é"].map({ String(repeating: "v", count: length - 1) + $0 }) {
                for quote in ["'", "\""] where !value.contains(quote) {
                    let element = try document("<a \(name)=\(quote)\(value)\(quote)/>")
                    #expect(element.root.attributes.map(\.localName) == [name] && element.root.attributes.map(\.value) == [value])
                    #expect(throws: XMLError.notWellFormed) { try document("<a \(name)=\(quote)\(value)\(quote)") }
                }
            }
        }
    }

    @Test("names are the same or not whichever of their bytes differs (XML 1.0 §3 WFC: Element Type Match, §3.1 WFC: Unique Att Spec)")
    func names() throws {
        for length in 1...40 {
            let name = String(repeating: "n", count: length)
            #expect(try document("<\(name)></\(name)>").localName == name)
            #expect(throws: XMLError.notWellFormed) { try document("<a \(name)='' x='' \(name)=''/>") }
            for place in 0..<length {
                let other = String(repeating: "n", count: place) + "m" + String(repeating: "n", count: length - place - 1)
                #expect(throws: XMLError.notWellFormed) { try document("<\(name)></\(other)>") }
                #expect(try document("<a \(name)='1' x='2' \(other)='3'/>").root.attributes.map(\.value) == ["1", "2", "3"])
            }
        }
    }

    @Test("the same prefixed name twice is refused, the same local name without prefix is not (XML 1.0 §3.1)")
    func prefixedNames() throws {
        #expect(throws: XMLError.notWellFormed) { try document("<a xml:b='' b='' xml:b=''/>") }
        #expect(throws: XMLError.notWellFormed) { try document("<a xmlns:b='urn:b' b:c='' xmlns:b='urn:b'/>") }
        #expect(try document("<a xml:b='1' b='2' xmlns:b='urn:b' b:b='3'/>").root.attributes.map(\.value) == ["1", "2", "3"])
    }

    private static let known: [Namespace] = [
        "u", "urn:x:7", "urn:x:08", "urn:x:009", "urn:x:fourteen", "urn:x:fifteen15", "urn:x:sixteen-16", "urn:x:seventeen-17",
        "urn:x:thirty-one-bytes-in-all-31", "http://jabber.org/protocol/pubsub#event",
    ]

    @Test("a namespace is known by all of its bytes")
    func namespaces() throws {
        for namespace in Self.known {
            #expect(try document("<a xmlns='\(namespace.name)'/>").namespace == namespace)
            for place in namespace.name.indices {
                var other = namespace.name
                other.replaceSubrange(place...place, with: "_")
                #expect(try document("<a xmlns='\(other)'/>").namespace == nil)
            }
            #expect(try document("<a xmlns='\(namespace.name)_'/>").namespace == nil)
            #expect(try document("<a xmlns='_\(namespace.name)'/>").namespace == nil)
        }
        #expect(try document("<a xmlns=''/>").namespace == Namespace.none)
    }

    @Test("a declaration ends with its element, however many are in scope (Namespaces in XML 1.0 §6.1)")
    func scopes() throws {
        let depth = 50
        let opened = (0..<depth).map { "<a xmlns='urn:default:\($0)' xmlns:p='urn:prefix:\($0)'><b/><p:b/>" }
        let closed = (0..<depth).map { _ in "<c/><p:c/></a>" }
        let element = try document("<r>" + opened.joined() + closed.joined() + "<c/></r>")
        var view = try #require(element.root.firstChild)
        for level in 0..<depth {
            let names = ["urn:default:\(level)", "urn:prefix:\(level)"]
            let children = Array(view.children)
            #expect(children.filter { $0.localName != "a" }.map(\.namespaceName) == names + names)
            if let next = children.first(where: { $0.localName == "a" }) { view = next }
        }
        #expect(Array(element.root.children).last?.namespace == .client)
    }
}
