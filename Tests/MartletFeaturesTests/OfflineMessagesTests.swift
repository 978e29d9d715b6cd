import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0160 Offline Messages, XEP-0334 Message Processing Hints")
struct OfflineMessagesTests {
    private func arrived(_ server: TestServer, _ name: String = "juliet/balcony") -> [String] {
        let client = server.client(name)
        client.send("<presence/>")
        let ids = client.receivedBesidesPresence().map { $0.id ?? "" }
        client.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        client.disconnect()
        return ids
    }

    @Test(
        "what is kept, what is refused and what is forgotten (XEP-0160 §3, XEP-0334 §4)",
        arguments: [
            ("", "<body>b</body>", "kept"), ("type='chat'", "<body>b</body>", "kept"), ("", "<x xmlns='urn:example'/>", "kept"),
            ("type='chat'", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>", "kept"),
            ("type='chat'", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "forgotten"),
            ("type='chat'", "<composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread><no-store xmlns='urn:xmpp:hints'/>", "forgotten"),
            ("type='chat'", "", "forgotten"), ("type='chat'", "<body>b</body><no-store xmlns='urn:xmpp:hints'/>", "forgotten"),
            ("type='chat'", "<x xmlns='urn:example'/><no-store xmlns='urn:xmpp:hints'/>", "forgotten"),
            ("type='chat'", "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", "kept"),
            ("type='chat'", "<body>b</body><no-permanent-store xmlns='urn:xmpp:hints'/>", "kept"),
            ("type='headline'", "<body>b</body>", "forgotten"), ("type='groupchat'", "<body>b</body>", "refused"),
            ("type='error'", "<body>b</body><store xmlns='urn:xmpp:hints'/>", "forgotten"),
        ])
    func kinds(type: String, payload: String, outcome: String) {
        let server = TestServer()
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' id='m1' \(type)>\(payload)</message>")
        #expect(romeo.received().map(\.error) == (outcome == "refused" ? ["cancel/service-unavailable"] : []))
        #expect(arrived(server) == (outcome == "kept" ? ["m1"] : []))
    }

    @Test("a message that may not be kept comes back to those who may know that nobody is online, and to nobody else")
    func notKept() {
        let server = TestServer()
        server.befriend("juliet", "romeo")
        let message = "<message to='juliet@capulet.example' type='chat'><body>b</body><no-store xmlns='urn:xmpp:hints'/></message>"
        let (romeo, paris) = (server.online("romeo/orchard"), server.online("paris/square"))
        for client in [romeo, paris] { client.send(message) }
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        #expect(paris.received() == [])
    }

    @Test("kept messages come in order, once, and before what is sent while they are delivered")
    func order() {
        let server = TestServer()
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        for id in ["m1", "m2", "m3"] { romeo.send("<message to='juliet@capulet.example' type='chat' id='\(id)'><body>b</body></message>") }
        #expect(arrived(server) == ["m1", "m2", "m3"])
        #expect(arrived(server) == [])
    }

    @Test("what a session did not live to acknowledge is delivered again (P2)")
    func again() {
        let server = TestServer()
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>b</body></message>")
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        juliet.disconnect()
        #expect(arrived(server) == ["m1"])
        #expect(arrived(server) == [])
    }

    @Test("a full account refuses as if it did not exist, by count and by bytes")
    func limits() {
        var limits = HostLimits()
        limits.offlineMessagesMax = 2
        limits.offlineBytesMax = 400
        let server = TestServer(limits: limits)
        for name in ["juliet", "nurse"] { server.createAccount(name) }
        let romeo = server.online("romeo/orchard")
        for _ in 0..<3 { romeo.send("<message to='juliet@capulet.example' type='chat' id='m'><body>b</body></message>") }
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        let long = String(repeating: "b", count: 200)
        for _ in 0..<2 { romeo.send("<message to='nurse@capulet.example' type='chat' id='m'><body>\(long)</body></message>") }
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        #expect(arrived(server).count == 2)
        #expect(arrived(server, "nurse/kitchen").count == 1)
    }

    @Test("a message that the disk refuses comes back to its sender")
    func refusedByDisk() {
        let server = TestServer()
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        server.store.failSubmits(with: .full, next: 1)
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>b</body></message>")
        #expect(romeo.received().map(\.error) == ["wait/resource-constraint"])
        #expect(arrived(server) == [])
    }

    @Test("hints in an error are somebody else's (XEP-0334 §4.5)")
    func hintsInErrors() {
        let server = TestServer()
        let balcony = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        chamber.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        let romeo = server.online("romeo/orchard")
        for client in [balcony, chamber] { client.forget() }
        romeo.send("<message to='juliet@capulet.example/balcony' type='error' id='m1'><no-copy xmlns='urn:xmpp:hints'/></message>")
        #expect(balcony.received().map(\.id) == ["m1"])
    }
}
