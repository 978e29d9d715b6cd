import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("What another server sends (RFC 6120 §10.5, RFC 6121 §8.5)")
struct PeerSessionTests {
    private let wire = TestWire()
    private let server: TestServer
    private let peer: TestPeer

    init() {
        server = TestServer(domains: ["capulet.example", "verona.example"], remote: wire)
        peer = TestPeer(server, ["montague.example": "capulet.example"])
    }

    private let romeo = "romeo@montague.example/orchard"

    private func sent() -> [TestStanza] { wire.take().map(TestStanza.init) }

    // MARK: Who may say what

    @Test("a stanza without 'from' or 'to' ends the stream with improper-addressing (§4.9.3.7)", arguments: [
        "<message from='romeo@montague.example'/>", "<message to='juliet@capulet.example'/>", "<message from='' to='juliet@capulet.example'/>",
    ])
    func unaddressed(_ xml: String) {
        peer.send(xml)
        #expect(peer.error?.condition == .improperAddressing)
    }

    @Test("a sender of a domain that was not proved ends the stream with invalid-from (§4.9.3.9)", arguments: [
        "tybalt@capulet.example", "capulet.example", "romeo@verona.example", "romeo@sub.montague.example", "romeo@example",
    ])
    func impostor(_ from: String) {
        let juliet = server.online("juliet/balcony")
        peer.send("<message from='\(from)' to='juliet@capulet.example' type='chat'><body>b</body></message>")
        #expect(peer.error?.condition == .invalidFrom)
        #expect(juliet.received() == [])
    }

    @Test("a recipient of a domain that is not ours ends it with host-unknown (§4.9.3.6): nothing is relayed")
    func relay() {
        peer.send("<message from='\(romeo)' to='paris@elsewhere.example'><body>b</body></message>")
        #expect(peer.error?.condition == .hostUnknown)
        #expect(sent() == [])
    }

    @Test("one of our domains that the stream was not opened for is not reached on it")
    func otherDomain() {
        peer.send("<message from='\(romeo)' to='nurse@verona.example'><body>b</body></message>")
        #expect(peer.error?.condition == .notAuthorized)
    }

    @Test("what is no stanza ends the stream (§4.9.3.24)")
    func noStanza() {
        peer.send("<marriage from='\(romeo)' to='juliet@capulet.example'/>")
        #expect(peer.error?.condition == .unsupportedStanzaType)
    }

    @Test("an address that is none costs its stanza and not the stream: other servers prepare by older rules")
    func malformed() {
        peer.send("<message from='\(romeo)' to='ju\"liet@capulet.example' id='m' type='chat'><body>b</body></message>")
        #expect(sent().map(\.error) == ["modify/jid-malformed"])
        peer.send("<message from='ro\"meo@montague.example' to='juliet@capulet.example' type='chat'><body>b</body></message>")
        peer.send("<presence from='\(romeo)' to='juliet@capulet.example' type='enamoured'/>")
        #expect(sent() == [])
        #expect(peer.error == nil)
    }

    // MARK: Messages

    @Test("a message arrives as it came, without what only we may say in it")
    func message() {
        let juliet = server.online("juliet/balcony")
        peer.send(
            "<message from='\(romeo)' to='juliet@capulet.example/balcony' type='headline'><body>b</body><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@capulet.example' id='forged'/></message>")
        #expect(juliet.received() == ["<message from='\(romeo)' to='juliet@capulet.example/balcony' type='headline'><body>b</body></message>"])
    }

    @Test("a message for nobody comes back to the other server, once, from whom it was for")
    func nobody() {
        peer.send("<message from='\(romeo)' to='nobody@capulet.example' type='chat' id='m'><body>b</body></message>")
        let answers = sent()
        #expect(answers.map(\.error) == ["cancel/service-unavailable"])
        #expect(answers.map { $0.element.attribute("from") } == ["nobody@capulet.example"])
        #expect(answers.map { $0.element.attribute("to") } == [romeo])
        peer.send("<message from='\(romeo)' to='nobody@capulet.example' type='error' id='m'><body>b</body></message>")
        #expect(sent() == [])
    }

    @Test("a message to an account that is not there waits for it")
    func offline() {
        server.createAccount("juliet")
        peer.send("<message from='\(romeo)' to='juliet@capulet.example' type='chat'><body>b</body></message>")
        #expect(sent() == [])
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        #expect(juliet.receivedBesidesPresence().map { $0.element.attribute("from") } == [romeo])
    }

    // MARK: Requests

    @Test("the server answers requests to itself and for its accounts")
    func requests() {
        server.createAccount("juliet")
        peer.send("<iq type='get' id='d' from='\(romeo)' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        peer.send("<iq type='get' id='v' from='\(romeo)' to='juliet@capulet.example'><vCard xmlns='vcard-temp'/></iq>")
        let answers = sent()
        #expect(answers.map(\.id) == ["d", "v"])
        #expect(answers.map { $0.element.attribute("from") } == ["capulet.example", "juliet@capulet.example"])
        #expect(answers.allSatisfy { $0.element.attribute("to") == romeo })
        #expect(answers.first?.element.attribute("type") == "result")
    }

    @Test("what is the account's own is refused, and what is no request answered", arguments: [
        ("<query xmlns='jabber:iq:roster'/>", "cancel/service-unavailable"),
        ("<query xmlns='jabber:iq:private'/>", "cancel/service-unavailable"),
        ("<a xmlns='x:unknown'/>", "cancel/service-unavailable"), ("", "modify/bad-request"), ("<a xmlns='x'/><b xmlns='x'/>", "modify/bad-request"),
    ])
    func refused(_ child: String, _ error: String) {
        server.createAccount("juliet")
        peer.send("<iq type='get' id='q' from='\(romeo)' to='juliet@capulet.example'>\(child)</iq>")
        #expect(sent().map(\.error) == [error])
    }

    @Test("a request to a session reaches it only if it shows its presence to who asks, and is answered by it")
    func session() {
        let juliet = server.online("juliet/balcony")
        let ping = "<iq type='get' id='p' from='\(romeo)' to='juliet@capulet.example/balcony'><ping xmlns='urn:xmpp:ping'/></iq>"
        peer.send(ping)
        #expect(juliet.received() == [])
        #expect(sent().map(\.error) == ["cancel/service-unavailable"])
        juliet.send("<presence to='\(romeo)'/>")
        #expect(sent() == ["<presence from='juliet@capulet.example/balcony' to='\(romeo)'/>"])
        peer.send(ping)
        #expect(juliet.received().map(\.id) == ["p"])
        juliet.send("<iq type='result' id='p' to='\(romeo)'/>")
        #expect(sent() == ["<iq type='result' id='p' from='juliet@capulet.example/balcony' to='\(romeo)'/>"])
    }

    // MARK: What did not get there

    @Test("what could not be delivered comes back to the session that sent it, as from its addressee")
    func undelivered() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='\(romeo)' type='chat' id='m'><body>b</body></message>")
        juliet.send("<iq to='montague.example' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>")
        juliet.send("<presence to='room@montague.example/juliet'/>")
        juliet.send("<presence to='romeo@montague.example' type='probe'/>")
        for stanza in wire.takeEncoded() { server.router.returnUndelivered(stanza, StanzaError(.remoteServerTimeout, .wait), server.context) }
        server.context.flush()
        server.run()
        let answers = juliet.received()
        #expect(answers.map(\.error) == ["wait/remote-server-timeout", "wait/remote-server-timeout", "wait/remote-server-timeout"])
        #expect(answers.map { $0.element.attribute("from") } == [romeo, "montague.example", "room@montague.example/juliet"])
    }

    @Test("where there is no way to another server the sender hears it at once")
    func noWay() {
        wire.refuse(StanzaError(.remoteServerNotFound))
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='\(romeo)' type='chat' id='m'><body>b</body></message>")
        juliet.send("<presence to='room@montague.example/juliet'/>")
        juliet.send("<presence type='subscribe' to='romeo@montague.example'/>")
        #expect(juliet.received().compactMap(\.error) == Array(repeating: "cancel/remote-server-not-found", count: 3))
    }
}

@Suite("The pace of another server's stream")
struct PeerSessionPaceTests {
    private let server = TestServer(commits: .manual, remote: TestWire())
    private let peer: TestPeer

    init() {
        peer = TestPeer(server, ["montague.example": "capulet.example"])
        server.createAccount("juliet")
    }

    private func send() {
        peer.send("<message from='romeo@montague.example' to='juliet@capulet.example' type='chat'><body>b</body></message>")
    }

    private func commit(_ count: Int = .max) {
        server.store.commit(count)
        server.run()
    }

    @Test("stanzas count as handled when they are on disk, from when that is asked for (P11)")
    func handled() {
        send()
        peer.enableManagement()
        send()
        send()
        #expect(peer.handledCount ?? 0 == 0)
        commit()
        #expect(peer.handledCount == 2)
    }

    @Test("what was taken is dealt with to the end before another connection goes on with the stream (XEP-0198 §5)")
    func handOver() {
        peer.enableManagement(named: "stream", of: "montague.example", after: 5)
        send()
        send()
        var handled: [UInt32] = []
        peer.handOver { handled.append($0) }
        #expect(handled == [])
        commit()
        #expect(handled == [7])
    }

    @Test("of a stream that is over it is said how far it came, and nobody waits")
    func handOverTooLate() {
        peer.enableManagement(named: "stream", of: "montague.example")
        send()
        commit()
        send()
        peer.end()
        var handled: [UInt32] = []
        peer.handOver { handled.append($0) }
        #expect(handled == [1])
    }

    @Test("the log knows how far a stream has come, under its name and for the server that it is from", arguments: [
        ("stream", "montague.example", 6 as UInt32?), ("another", "montague.example", nil), ("stream", "verona.example", nil),
    ])
    func position(_ name: String, _ domain: String, _ expected: UInt32?) {
        send()
        peer.enableManagement(named: "stream", of: "montague.example", after: 5)
        send()
        commit()
        let handled = Mutex<[UInt32?]>([])
        let store = server.store.afterCrash()
        PeerSession.handled(on: name, of: domain, store) { known in handled.withLock { $0.append(known) } }
        store.runCallbacks()
        #expect(handled.withLock { $0 } == [expected])
    }

    @Test("no more is read while too many are unfinished, and again at half of that")
    func pace() {
        for _ in 1..<PeerSession.openStanzasMax { send() }
        #expect(peer.isReading)
        send()
        #expect(!peer.isReading)
        commit()
        #expect(peer.isReading)
    }
}
