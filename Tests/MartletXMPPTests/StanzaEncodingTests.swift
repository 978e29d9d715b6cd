import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("A stanza on its way out, with what the server takes from it and adds to it")
struct StanzaEncodingTests {
    private func stanza(_ text: String) throws -> Stanza {
        let element = try parseElement(ByteBuffer(string: text), limits: .authenticated)
        return try Stanza(element, kind: .message(.chat), from: JID("juliet@capulet.example/balcony"), to: JID("romeo@montague.example"))
    }

    private func text(_ stanza: EncodedStanza) -> String { String(buffer: stanza.bytes) }
    private let addresses = "from='juliet@capulet.example/balcony' to='romeo@montague.example'"
    private func name(_ writer: inout XMLWriter) { writer.emptyElement("stanza-id", "urn:xmpp:sid:0") { $0.attribute("id", decimal: 7) } }
    private let id = "<stanza-id xmlns='urn:xmpp:sid:0' id='7'/>"

    @Test("the account's name for it comes behind everything else, and the log's bytes are without it (XEP-0359)", arguments: [
        ("<message><body>x</body></message>", "<body>x</body>"), ("<message/>", ""), ("<message ></message>", ""),
        // Not as it came.
        ("<message><body>&#120;</body></message>", "<body>x</body>"),
    ])
    func named(_ sent: String, _ content: String) throws {
        let stanza = try stanza(sent)
        let (logged, named) = stanza.encodedTwice(adding: name)
        #expect(logged == stanza.encoded())
        #expect(text(logged).replacing(" >", with: ">").replacing("/>", with: "></message>").hasPrefix("<message \(addresses)>\(content)</message>"))
        #expect(text(named).replacing(" >", with: ">") == "<message \(addresses)>\(content)\(id)</message>")
        #expect(named == stanza.encoded(adding: name))
    }

    @Test("what was added before stands before the name, and what was taken away is in neither")
    func edited() throws {
        var stanza = try stanza("<message><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' id='forged'/></message>")
        stanza.add { $0.element("delay", "urn:xmpp:delay") }
        let delay = "<delay xmlns='urn:xmpp:delay'/>"
        #expect(text(stanza.encoded(adding: name)).hasSuffix("id='forged'/>\(delay)\(id)</message>"))
        stanza.omitChildren("stanza-id", "urn:xmpp:sid:0")
        let (logged, named) = stanza.encodedTwice(adding: name)
        #expect(text(logged) == "<message \(addresses)><body>x</body>\(delay)</message>")
        #expect(text(named) == "<message \(addresses)><body>x</body>\(delay)\(id)</message>")
    }

    @Test("within another stanza the name is in the namespace it is written in (XEP-0297)")
    func forwarded() throws {
        var stanza = try stanza("<message><body>x</body></message>")
        stanza.add(name)
        var writer = XMLWriter()
        writer.open("forwarded", "urn:xmpp:forward:0")
        stanza.write(to: &writer, recipient: nil)
        writer.close()
        let message = "<message xmlns='jabber:client' from='juliet@capulet.example/balcony'><body>x</body>\(id)</message>"
        #expect(String(buffer: writer.buffer) == "<forwarded xmlns='urn:xmpp:forward:0'>\(message)</forwarded>")
    }
}
