import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("one stanza for many")
struct SharedStanzaTests {
    @Test("each gets it with his own address, whichever way it is written", arguments: ["romeo@example.org/orchard", "romeo@example.org/a'b&<c"])
    func ways(address: String) throws {
        let from = try JID("room@example.org/nick")
        let encoded = StanzaBuilder.message(.groupchat, from: from, to: nil, id: "m1") { $0.element("body", .client, text: "one & two") }
        let shared = SharedStanza(encoded, kind: .message(.groupchat), from: from)
        let recipient = try FullJID(parsing: address)
        let alone = shared.addressed(to: recipient).bytes
        let element = try parseElement(alone, limits: .authenticated)
        #expect(element.attribute("to") == recipient.description)
        #expect(element.attribute("from") == "room@example.org/nick" && element.attribute("id") == "m1")
        #expect(element.firstChild("body", .client)?.text == "one & two")
        var behind = ByteBuffer(string: "before")
        shared.write(to: &behind, for: recipient)
        #expect(String(buffer: behind) == "before" + String(buffer: alone))
        let pieces = shared.pieces(for: recipient)
        #expect(String(buffer: pieces.own) + String(buffer: pieces.shared) == String(buffer: alone))
    }
}
