import MartletXML
import NIOCore
import Testing

@Suite struct StreamTests {
    @Test("a stream is its header, its stanzas and its end (RFC 6120 §4.1)")
    func wholeStream() throws {
        let text = "<?xml version='1.0'?><stream:stream to='capulet.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            + "<message to='romeo@montague.example' type='chat'><body>Wherefore &amp; why?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>\n</stream:stream>"
        var parser = XMLStreamParser(limits: .authenticated)
        var input = ByteBuffer(string: text)
        guard case .opened(let header)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(header.isNamed("stream", .streams))
        guard case .element(let message)? = try parser.next(from: &input) else { Issue.record(); return }
        #expect(message.isCanonical)
        #expect(message.firstChild("body", .client)?.text == "Wherefore & why?")
        var writer = XMLWriter()
        writer.append(message)
        #expect(String(buffer: writer.buffer) == String(buffer: message.bytes))
        guard case .closed? = try parser.next(from: &input) else { Issue.record(); return }
    }
}
