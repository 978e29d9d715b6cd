import MartletCore
import MartletTesting
import Testing

@Suite("Stanzas are counted")
struct StanzaCountersTests {
    @Test("what a client sends and what it is sent, by kind")
    func kinds() {
        let server = TestServer()
        let juliet = server.client("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        let counters = server.context.counters
        let (received, sent) = (counters.received, counters.sent)
        juliet.send("<message to='romeo@\(server.domain)/orchard'><body>x</body></message>")
        juliet.send("<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>")
        juliet.send("<presence to='romeo@\(server.domain)/orchard'/>")
        #expect(romeo.received().count == 2)
        #expect(counters.received.messages - received.messages == 1 && counters.sent.messages - sent.messages == 1)
        #expect(counters.received.iqs - received.iqs == 1 && counters.sent.iqs - sent.iqs == 1)
        #expect(counters.received.presences - received.presences == 1 && counters.sent.presences - sent.presences == 1)
    }
}
