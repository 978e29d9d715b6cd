import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Messages that come again after a restart")
struct ResentMessagesTests {
    private func encoded(_ origin: String) -> EncodedStanza {
        EncodedStanza(ByteBuffer(string: """
            <message from='romeo@capulet.example/orchard' to='juliet@capulet.example' type='chat'><body>b</body>\
            <origin-id xmlns='urn:xmpp:sid:0' id='\(origin)'/></message>
            """))
    }

    private func isKnown(_ origin: String, among messages: ResentMessages, at time: NIODeadline = .uptimeNanoseconds(0)) throws -> Bool {
        let stanza = try #require(Stanza(sent: encoded(origin)))
        return messages.contains(stanza, to: try JID("juliet@capulet.example"), at: time)
    }

    @Test("are those not too much older than the last, for as long as they are remembered")
    func ages() throws {
        let last: Int64 = 10_000_000
        let logged = [("new", last), ("old", last - ResentMessages.ageMax), ("older", last - ResentMessages.ageMax - 1)].map {
            LoggedMessage(view: UInt64($0.1), time: $0.1, stanza: encoded($0.0))
        }
        let end = NIODeadline.uptimeNanoseconds(0) + ResentMessages.rememberedFor
        let messages = ResentMessages(logged, until: end)
        #expect(try ["new", "old", "older", "unknown"].map { try isKnown($0, among: messages) } == [true, true, false, false])
        #expect(try isKnown("new", among: messages, at: end - .nanoseconds(1)))
        #expect(try !isKnown("new", among: messages, at: end))
    }
}
