import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("XEP-0065 SOCKS5 Bytestreams: the proxy")
struct BytestreamProxyTests {
    /// Relays nothing, and says what it was asked.
    private final class Relay: BytestreamRelay {
        let port = 5000
        let asked = Mutex<[String]>([])
        let answer: BytestreamActivation
        init(_ answer: BytestreamActivation) { self.answer = answer }
        func activate(_ stream: String, for account: BareJID) async -> BytestreamActivation {
            asked.withLock { $0.append("\(stream) \(account)") }
            return answer
        }
    }

    private func ask(_ content: String, _ type: String, at server: TestServer, _ client: TestClient) -> TestStanza? {
        client.forget()
        client.send("<iq type='\(type)' id='q' to='proxy.capulet.example'>\(content)</iq>")
        server.run()
        return client.receivedBesidesPresence().first { $0.id == "q" }
    }

    private static let request = "<query xmlns='http://jabber.org/protocol/bytestreams' sid='vj3hs98y'><activate>romeo@capulet.example/orchard</activate></query>"

    @Test("accounts of this server are told where it is, and what it is (§4)")
    func address() {
        let server = TestServer(bytestreams: Relay(.active))
        let juliet = server.online("juliet/balcony")
        let answer = ask("<query xmlns='http://jabber.org/protocol/bytestreams'/>", "get", at: server, juliet)
        #expect(answer?.description.contains("<streamhost host='files.capulet.example' jid='proxy.capulet.example' port='5000'/>") == true)
        let info = ask("<query xmlns='http://jabber.org/protocol/disco#info'/>", "get", at: server, juliet)?.description ?? ""
        #expect(info.contains("<identity category='proxy' name='File transfers' type='bytestreams'") && info.contains("var='http://jabber.org/protocol/bytestreams'"))
    }

    @Test("a stream is named by its id and both ends, as they name it (§6.3.2)")
    func activation() {
        let relay = Relay(.active)
        let server = TestServer(bytestreams: relay)
        #expect(ask(Self.request, "set", at: server, server.online("juliet/balcony"))?.error == nil)
        // SHA-1 of vj3hs98yjuliet@capulet.example/balconyromeo@capulet.example/orchard
        #expect(relay.asked.withLock { $0 } == ["70602d51f69147e35210c6e57f333ff6a4843dbd juliet@capulet.example"])
    }

    @Test("what cannot be activated is an error", arguments: [(.incomplete, "cancel/item-not-found"), (.tooMany, "wait/resource-constraint")] as [(BytestreamActivation, String)])
    func refused(answer: BytestreamActivation, error: String) {
        let server = TestServer(bytestreams: Relay(answer))
        #expect(ask(Self.request, "set", at: server, server.online("juliet/balcony"))?.error == error)
    }

    @Test("a request says which stream, and for whom", arguments: [
        "<query xmlns='http://jabber.org/protocol/bytestreams'><activate>romeo@capulet.example/orchard</activate></query>",
        "<query xmlns='http://jabber.org/protocol/bytestreams' sid='x'/>",
        "<query xmlns='http://jabber.org/protocol/bytestreams' sid='x'><activate>@</activate></query>",
    ])
    func malformed(content: String) {
        let relay = Relay(.active)
        let server = TestServer(bytestreams: relay)
        #expect(ask(content, "set", at: server, server.online("juliet/balcony"))?.error == "modify/bad-request")
        #expect(relay.asked.withLock { $0.isEmpty })
    }

    @Test("accounts of other servers are relayed nothing", arguments: [("get", "<query xmlns='http://jabber.org/protocol/bytestreams'/>"), ("set", request)])
    func others(type: String, content: String) {
        let (wire, relay) = (TestWire(), Relay(.active))
        let server = TestServer(remote: wire, bytestreams: relay)
        let peer = TestPeer(server, ["montague.example": "proxy.capulet.example"])
        peer.send("<iq from='benvolio@montague.example/street' to='proxy.capulet.example' type='\(type)' id='q'>\(content)</iq>")
        server.run()
        #expect(wire.take().first?.root.firstChild("error", .client)?.hasChild("forbidden", .stanzaErrors) == true)
        #expect(relay.asked.withLock { $0.isEmpty })
    }

    @Test("whoever writes to it is told that nobody reads it")
    func messages() {
        let server = TestServer(bytestreams: Relay(.active))
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='proxy.capulet.example' id='m'><body>Hi</body></message>")
        #expect(juliet.receivedBesidesPresence().compactMap(\.error) == ["cancel/service-unavailable"])
    }
}
