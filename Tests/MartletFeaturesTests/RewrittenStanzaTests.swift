import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// A namespace is declared once, under a prefix, and stands in many places: written anew each of them would declare it.
@Suite("A stanza that would be too long once it is written anew")
struct RewrittenStanzaTests {
    private let server: TestServer
    private let wire = TestWire()
    private let juliet: TestClient
    private let romeo: TestClient
    /// 42 kB, of which 16 MB would be made.
    static let content = prefixed(namespaceBytes: 8_000, places: 2_000)
    /// The same in a form that no stanza is forwarded in as it came.
    static let body = "<c:body xmlns:c='jabber:client'>x</c:body>" + content

    static func prefixed(namespaceBytes: Int, places: Int) -> String {
        let name = "urn:" + String(repeating: "z", count: namespaceBytes)
        return "<p:x xmlns:p='\(name)' xmlns:q='u'>\(String(repeating: "<q:y><p:z/></q:y>", count: places))</p:x>"
    }

    init() throws {
        let irc = ComponentSettings(
            try BareJID(parsing: "irc.capulet.example"), domain: try BareJID(parsing: "capulet.example"), secret: Array("secret".utf8),
            servesSubdomains: false)
        server = TestServer(remote: wire, components: [irc])
        juliet = server.online("juliet/balcony")
        romeo = server.online("romeo/orchard")
        juliet.forget()
    }

    @Test(
        "a client's is refused, whoever it is for, and nobody loses his session",
        arguments: [
            "<message to='romeo@capulet.example/orchard' id='a' type='chat'>\(RewrittenStanzaTests.body)</message>",
            "<message to='romeo@capulet.example' id='a'>\(RewrittenStanzaTests.content)</message>",
            "<message to='verona@conference.capulet.example' id='a' type='groupchat'>\(RewrittenStanzaTests.body)</message>",
            "<presence to='romeo@capulet.example/orchard' id='a'>\(RewrittenStanzaTests.content)</presence>", "<presence id='a'>\(RewrittenStanzaTests.content)</presence>",
            "<iq to='romeo@capulet.example/orchard' id='a' type='get'>\(RewrittenStanzaTests.content)</iq>",
            "<iq id='a' type='set'><vCard xmlns='vcard-temp'><FN>x</FN>\(RewrittenStanzaTests.content)</vCard></iq>",
            "<iq id='a' type='set'><query xmlns='jabber:iq:private'><w xmlns='urn:w'>\(RewrittenStanzaTests.content)</w></query></iq>",
            """
            <iq id='a' type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item>\
            \(RewrittenStanzaTests.content)</item></publish></pubsub></iq>
            """,
        ])
    func client(stanza: String) {
        juliet.send(stanza)
        let answers = juliet.received()
        #expect(answers.map(\.error) == ["modify/policy-violation"] && answers.map(\.id) == ["a"])
        #expect(romeo.received() == [] && !romeo.isClosed && !juliet.isClosed)
        juliet.send("<message to='romeo@capulet.example/orchard' id='b'><body>x</body></message>")
        #expect(romeo.received().map(\.id) == ["b"])
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("a client's answer goes nowhere: answers are not answered (RFC 6120 §8.3.1)")
    func answer() {
        juliet.send("<iq to='romeo@capulet.example/orchard' id='a' type='result'>\(Self.content)</iq>")
        #expect(juliet.received() == [] && romeo.received() == [] && server.unfinishedStanzas == 0)
    }

    @Test("another server's is refused, and its stream goes on")
    func peer() {
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.send("<message from='nurse@montague.example/a' to='romeo@capulet.example' id='a'>\(Self.body)</message>")
        #expect(wire.take().map { TestStanza($0).error } == ["modify/policy-violation"])
        #expect(romeo.received() == [] && peer.error == nil)
    }

    @Test("a component's is refused, and its stream goes on")
    func component() {
        let irc = TestComponent(server, "irc.capulet.example")
        irc.send("<message from='a@irc.capulet.example' to='romeo@capulet.example' id='a'>\(Self.body)</message>")
        #expect(irc.received().map(\.error) == ["modify/policy-violation"])
        #expect(romeo.received() == [] && !irc.isEnded)
    }

    @Test("one that stays within the limit arrives, however it was written")
    func arrives() {
        let content = Self.prefixed(namespaceBytes: 100, places: 100)
        juliet.send("<message to='romeo@capulet.example/orchard' id='a'><c:body xmlns:c='jabber:client'>x</c:body>\(content)</message>")
        let message = romeo.received().first
        #expect(message?.child("body")?.text == "x")
        #expect(message?.child("x").map { Array($0.children).count } == 100)
    }
}

@Suite("What is kept is measured as it is kept")
struct KeptLengthTests {
    /// Some 500 bytes, of which 2,600 are kept.
    private let content = RewrittenStanzaTests.prefixed(namespaceBytes: 96, places: 20)
    private var limits: HostLimits {
        var limits = HostLimits()
        (limits.vCardBytesMax, limits.privateBytesMax) = (1_000, 1_000)
        return limits
    }

    @Test("a card (XEP-0054)")
    func card() {
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq id='a' type='set'><vCard xmlns='vcard-temp'><FN>x</FN>\(content)</vCard></iq>")
        juliet.send("<iq id='b' type='get'><vCard xmlns='vcard-temp'/></iq>")
        #expect(juliet.received().map(\.error) == ["modify/policy-violation", "cancel/item-not-found"])
    }

    @Test("the card of a room (XEP-0486)")
    func roomCard() {
        let owner = "crone1@shakespeare.lit/desktop"
        var room = RoomOnPaper()
        room.limits.vCardBytesMax = 1_000
        room.enter(owner, as: "firstwitch")
        room.forget()
        room.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'>\(content)</vCard></iq>", from: owner)
        #expect(room.received(by: owner).map(\.error) == ["modify/policy-violation"])
    }

    @Test("an element of private storage (XEP-0049)")
    func privateElement() {
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq id='a' type='set'><query xmlns='jabber:iq:private'><w xmlns='urn:w'>\(content)</w></query></iq>")
        #expect(juliet.received().map(\.error) == ["modify/policy-violation"])
    }
}
