import MartletXML
import NIOCore
import Testing

@Suite("How long a stanza becomes that is written anew")
struct RewrittenLengthTests {
    /// A prefix stands for a namespace of so many bytes, in so many places.
    private func stanza(namespaceBytes: Int, places: Int, _ place: String = "<q:y><p:z/></q:y>") -> ByteBuffer {
        let name = "urn:" + String(repeating: "z", count: namespaceBytes - 4)
        let content = String(repeating: place, count: places)
        return ByteBuffer(string: "<message><c:body xmlns:c='jabber:client'/><p:x xmlns:p='\(name)' xmlns:q='u'>\(content)</p:x></message>")
    }

    @Test(
        "what a prefix stands for is counted wherever it will be declared, on elements and attributes",
        arguments: ["<q:y><p:z/></q:y>", "<z p:a=''/>", "<q:y q:a='' p:b='' p:c=''>x</q:y>", "<xml:y xml:a='' p:b=''><q:z/></xml:y>", "<y xmlns=''><p:z/></y>"])
    func counted(place: String) throws {
        let element = try parseElement(stanza(namespaceBytes: 100, places: 50, place), limits: .authenticated)
        let written = element.rewritten().readableBytes
        #expect(written > 50 * 100)
        #expect(element.rewrittenByteCount(upTo: .max) == written)
        #expect(element.rewrittenByteCount(upTo: written) == written)
        #expect(element.rewrittenByteCount(upTo: written - 1) == nil)
    }

    @Test("references and sections of characters are counted as they will be written")
    func escapes() throws {
        let xml = "<a b=\"&#9;'&lt;é\" c='&amp;&#13;'><![CDATA[<&>é]]>&#65;&#13;<d>é</d><e></e><f><![CDATA[]]></f></a>"
        let element = try parseElement(ByteBuffer(string: xml), limits: .authenticated)
        #expect(element.rewrittenByteCount(upTo: .max) == element.rewritten().readableBytes)
    }

    @Test("a stanza is marked that becomes longer than a stanza may be, by one byte")
    func bound() throws {
        let bytes = stanza(namespaceBytes: 1_000, places: 20)
        let length = try parseElement(bytes, limits: .authenticated).rewritten().readableBytes
        #expect(length > 10 * bytes.readableBytes)
        #expect(try !parseElement(bytes, limits: XMLLimits(stanzaBytesMax: length)).isTooLongRewritten)
        #expect(try parseElement(bytes, limits: XMLLimits(stanzaBytesMax: length - 1)).isTooLongRewritten)
    }

    @Test("a stanza that uses prefixes is marked although its own bytes may go on: parts of it are written anew")
    func canonical() throws {
        let name = "urn:" + String(repeating: "z", count: 8_000)
        let xml = "<iq><p:x xmlns:p='\(name)' xmlns:q='u'>\(String(repeating: "<q:y><p:z/></q:y>", count: 100))</p:x></iq>"
        let element = try parseElement(ByteBuffer(string: xml), limits: .authenticated)
        #expect(element.isCanonical && element.isTooLongRewritten)
    }

    @Test("a stanza without prefixes is as long as it came, and never marked")
    func plain() throws {
        let bytes = ByteBuffer(string: "<message><x xmlns='u'>\(String(repeating: "<y/>", count: 1_000))</x></message>")
        let element = try parseElement(bytes, limits: XMLLimits(stanzaBytesMax: bytes.readableBytes))
        #expect(!element.isTooLongRewritten && element.rewritten() == bytes)
    }

    @Test("a namespace that the header of the stream declares is counted as well")
    func header() throws {
        let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:p='\(String(repeating: "z", count: 8_000))'>"
        var parser = XMLStreamParser(limits: .authenticated)
        let messages = [32, 1, 33].map { "<message>\(String(repeating: "<p:x/>", count: $0))</message>" }.joined()
        var input = ByteBuffer(string: header + messages)
        var elements: [FlatElement] = []
        while let event = try parser.next(from: &input) {
            if case .element(let element) = event { elements.append(element) }
        }
        #expect(elements.map(\.isTooLongRewritten) == [false, false, true])
        #expect(elements.map { $0.rewrittenByteCount(upTo: .max) } == elements.map { $0.rewritten().readableBytes })
    }

    @Test("of damaged captures, too, as many bytes are written as were counted")
    func captures() throws {
        var mutator = Mutator(captures: try Project.captures().map(\.bytes), seed: 7)
        for _ in 0..<2000 {
            _ = outcome(of: mutator.next()) { element in
                guard !element.isCanonical, element.root.declaredDefaultNamespace == nil else { return }
                #expect(element.rewrittenByteCount(upTo: .max) == element.rewritten().readableBytes, "\(String(buffer: element.bytes))")
            }
        }
    }
}
