import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("external components (XEP-0114)")
struct ComponentTests {
    private let wire = TestWire()
    private let server: TestServer

    init() throws {
        server = TestServer(
            domains: ["capulet.example", "verona.example"], remote: wire,
            components: [try Self.settings("irc.capulet.example"), try Self.settings("sms.capulet.example", servesSubdomains: true)])
    }

    static func settings(_ name: String, servesSubdomains: Bool = false) throws -> ComponentSettings {
        ComponentSettings(
            try BareJID(parsing: name), domain: try BareJID(parsing: "capulet.example"), secret: Array("secret".utf8), servesSubdomains: servesSubdomains)
    }

    private func sent() -> [TestStanza] { wire.take().map(TestStanza.init) }

    // MARK: To the component

    @Test("whatever is for the domain reaches the component as it came, to the domain itself as well")
    func reaches() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='nurse@irc.capulet.example/x' id='1' type='chat'><body>b</body></message>")
        juliet.send("<iq to='irc.capulet.example' id='2' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        juliet.send("<presence to='#verona%chat@irc.capulet.example/juliet'/>")
        #expect(
            irc.received() == [
                "<message from='juliet@capulet.example/balcony' to='nurse@irc.capulet.example/x' id='1' type='chat'><body>b</body></message>",
                "<iq from='juliet@capulet.example/balcony' to='irc.capulet.example' id='2' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
                "<presence from='juliet@capulet.example/balcony' to='#verona%chat@irc.capulet.example/juliet'/>",
            ])
    }

    @Test("what the sender's server takes away is gone, and the sender's archive has the message (XEP-0313)")
    func passesAccount() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='nurse@irc.capulet.example' type='chat'><body>kept</body></message>")
        #expect(irc.received().count == 1)
        juliet.forget()
        juliet.send("<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(juliet.received().contains { $0.description.contains("kept") })
    }

    @Test("nothing waits for a component that is away: what can be answered comes back with service-unavailable, once")
    func away() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='nurse@irc.capulet.example' id='m' type='chat'><body>b</body></message>")
        juliet.send("<iq to='irc.capulet.example' id='i' type='get'><query xmlns='jabber:iq:version'/></iq>")
        #expect(juliet.received().map(\.error) == ["wait/service-unavailable", "wait/service-unavailable"])
        juliet.send("<message to='nurse@irc.capulet.example' id='m' type='error'><error type='cancel'/></message>")
        juliet.send("<iq to='irc.capulet.example' id='i' type='result'/>")
        juliet.send("<presence to='nurse@irc.capulet.example' type='unavailable'/>")
        juliet.send("<presence to='nurse@irc.capulet.example'/>")
        #expect(juliet.received() == [])
    }

    @Test("between two components that are away no error is answered with another")
    func noLoop() {
        let irc = TestComponent(server, "irc.capulet.example")
        irc.send("<message from='irc.capulet.example' to='sms.capulet.example' id='m'><body>b</body></message>")
        let answers = irc.received()
        #expect(answers.map(\.error) == ["wait/service-unavailable"])
        irc.breakConnection()
        let sms = TestComponent(server, "sms.capulet.example")
        sms.send("<message from='sms.capulet.example' to='irc.capulet.example' id='m' type='error'><error type='cancel'/></message>")
        #expect(sms.received() == [])
    }

    @Test("what waits for a slow component is bounded, costs nobody else anything, and goes on in order when it reads again")
    func slow() {
        let component = Component(server.address("slow.capulet.example").domain)
        #expect(component.deliver(StanzaBuilder.message(.chat, from: nil, to: nil) { _ in }, server.context)?.condition == .serviceUnavailable)
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        irc.isWritable = false
        let most = Component.Limits().stanzasMax
        for number in 0..<most { juliet.sendOnly("<message to='nurse@irc.capulet.example' id='\(number)' type='chat'/>") }
        juliet.send("<message to='nurse@irc.capulet.example' id='\(most)' type='chat'/>")
        let refused = juliet.received()
        #expect(refused.map(\.error) == ["wait/resource-constraint"] && refused.first?.id == "\(most)")
        #expect(server.components.reports.first?.waitingStanzas == most)
        irc.isWritable = true
        #expect(irc.received().compactMap(\.id) == (0..<most).map { "\($0)" })
        #expect(server.components.reports.first?.waitingBytes == 0)
    }

    @Test("what waits when the connection breaks comes back to its sender")
    func returned() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        irc.isWritable = false
        juliet.send("<message to='nurse@irc.capulet.example' id='m' type='chat'><body>b</body></message>")
        irc.breakConnection()
        let answers = juliet.received()
        #expect(answers.map(\.error) == ["wait/service-unavailable"] && answers.first?.id == "m")
    }

    @Test("a second connection takes the place of the first one, which ends with conflict, and gets what waited for it")
    func conflict() {
        let first = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        first.isWritable = false
        juliet.send("<message to='nurse@irc.capulet.example' id='m' type='chat'><body>b</body></message>")
        let second = TestComponent(server, "irc.capulet.example")
        #expect(first.error?.condition == .conflict)
        #expect(second.received().map(\.id) == ["m"])
        #expect(juliet.received() == [])
        #expect(server.components.configured("irc.capulet.example")?.component.isConnected == true)
    }

    // MARK: From the component

    @Test("any address of its domain may send, with or without a localpart, and the domain itself where 'from' is left out")
    func sends() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        irc.send("<message from='nurse@irc.capulet.example/x' to='juliet@capulet.example' type='headline'><body>b</body></message>")
        irc.send("<message to='juliet@capulet.example' type='headline'><body>c</body></message>")
        #expect(
            juliet.received() == [
                "<message from='nurse@irc.capulet.example/x' to='juliet@capulet.example' type='headline'><body>b</body></message>",
                "<message from='irc.capulet.example' to='juliet@capulet.example' type='headline'><body>c</body></message>",
            ])
    }

    @Test("another's address in 'from' ends the stream with invalid-from", arguments: [
        "juliet@capulet.example", "capulet.example", "sms.capulet.example", "x.irc.capulet.example", "irc.capulet.example.evil.example", "romeo@montague.example",
    ])
    func impostor(_ from: String) {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        irc.send("<message from='\(from)' to='juliet@capulet.example' type='chat'><body>b</body></message>")
        #expect(irc.error?.condition == .invalidFrom && juliet.received() == [])
    }

    @Test("domains below its own are its where the operator says so, both ways")
    func subdomains() {
        let sms = TestComponent(server, "sms.capulet.example")
        let juliet = server.online("juliet/balcony")
        sms.send("<message from='n@uk.sms.capulet.example' to='juliet@capulet.example' type='headline'><body>b</body></message>")
        #expect(juliet.received().count == 1 && sms.error == nil)
        juliet.send("<message to='n@a.uk.sms.capulet.example' type='chat'><body>b</body></message>")
        #expect(sms.received().count == 1)
        juliet.send("<message to='n@irc.sms.example' type='chat'><body>b</body></message>")
        #expect(sms.received() == [] && sent().count == 1)
    }

    /// The component `example` with all below it, beside domains and services that are.
    private func wide() throws -> TestServer {
        TestServer(
            domains: ["capulet.example", "verona.example"], remote: wire,
            components: [try Self.settings("example", servesSubdomains: true), try Self.settings("irc.example"), try Self.settings("sms.example", servesSubdomains: true)])
    }

    @Test("but for those that are somebody else's: the server's, its services', other components' (reliability.md rules 18, 22)", arguments: [
        "juliet@capulet.example", "capulet.example", "conference.capulet.example", "hall@conference.capulet.example/x", "n@irc.example", "n@sms.example",
        "n@uk.sms.example",
    ])
    func othersBelow(_ from: String) throws {
        let server = try wide()
        let (component, juliet) = (TestComponent(server, "example"), server.online("juliet/balcony"))
        component.send("<message from='n@x.irc.example' to='juliet@capulet.example' type='headline'><body>b</body></message>")
        #expect(juliet.received().count == 1 && component.error == nil)
        component.send("<message from='\(from)' to='juliet@capulet.example' type='headline'><body>b</body></message>")
        #expect(component.error?.condition == .invalidFrom && juliet.received() == [])
    }

    @Test("a component that is gone takes no presence of others with it that are below its name")
    func vanishesAlone() throws {
        let server = try wide()
        let (component, irc) = (TestComponent(server, "example"), TestComponent(server, "irc.example"))
        server.createAccount("juliet")
        for (version, name) in ["nurse@irc.example", "friar@x.example"].enumerated() {
            let (contact, both) = (server.address(name), SubscriptionState(to: true, from: true, isInRoster: true))
            server.edit("juliet") { .rosterItem($0, RosterItem(contact: contact, subscription: both, version: UInt64(version + 1))) }
        }
        let juliet = server.online("juliet/balcony")
        irc.send("<presence from='nurse@irc.example/x' to='juliet@capulet.example'/>")
        component.send("<presence from='friar@x.example/x' to='juliet@capulet.example'/>")
        juliet.forget()
        component.breakConnection()
        #expect(juliet.received() == ["<presence from='friar@x.example/x' to='juliet@capulet.example' type='unavailable'/>"])
    }

    @Test("a stanza without 'to', or for an address that is none, is answered with an error; the stream goes on")
    func unaddressed() {
        let irc = TestComponent(server, "irc.capulet.example")
        irc.send("<message from='irc.capulet.example' id='1'/>")
        irc.send("<message from='irc.capulet.example' to='@' id='2'/>")
        irc.send("<iq from='irc.capulet.example' to='capulet.example' type='get'><query xmlns='jabber:iq:version'/></iq>")
        #expect(irc.received().map(\.error) == ["modify/bad-request", "modify/jid-malformed", "modify/bad-request"])
        irc.send("<handshake/>")
        #expect(irc.error?.condition == .unsupportedStanzaType)
    }

    @Test("the server and its rooms answer components, and requests to accounts are as a stranger's, but for rosters, which the operator would allow")
    func asks() {
        let irc = TestComponent(server, "irc.capulet.example")
        irc.send("<iq from='irc.capulet.example' to='capulet.example' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
        irc.send("<iq from='irc.capulet.example' to='conference.capulet.example' id='2' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(irc.received().map { $0.element.attribute("type") } == ["result", "result"])
        server.createAccount("juliet")
        irc.send("<iq from='irc.capulet.example' to='juliet@capulet.example' id='3' type='get'><query xmlns='jabber:iq:private'/></iq>")
        irc.send("<iq from='irc.capulet.example' to='juliet@capulet.example' id='4' type='get'><query xmlns='jabber:iq:roster'/></iq>")
        #expect(irc.received().map(\.error) == ["cancel/service-unavailable", "auth/forbidden"])
    }

    @Test("one of a component's addresses enters a room, and hears what is said there in order")
    func room() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        juliet.send("<presence to='hall@conference.capulet.example/juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        juliet.send("<iq to='hall@conference.capulet.example' id='c' type='set'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        irc.send("<presence from='bot@irc.capulet.example/1' to='hall@conference.capulet.example/bot'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(irc.received().count >= 2)
        juliet.forget()
        juliet.send("<message to='hall@conference.capulet.example' type='groupchat'><body>one</body></message>")
        juliet.send("<message to='hall@conference.capulet.example' type='groupchat'><body>two</body></message>")
        #expect(irc.received().compactMap { $0.child("body")?.text } == ["one", "two"])
        // The room finds out at the next thing it has to say.
        irc.breakConnection()
        juliet.send("<message to='hall@conference.capulet.example' type='groupchat'><body>three</body></message>")
        #expect(juliet.received().contains { $0.element.isNamed("presence", .client) && $0.element.attribute("type") == "unavailable" })
    }

    // MARK: Presence

    @Test("subscriptions and probes go to and fro as with another server")
    func subscriptions() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        juliet.send("<presence to='nurse@irc.capulet.example' type='subscribe'/>")
        #expect(irc.received() == ["<presence from='juliet@capulet.example' to='nurse@irc.capulet.example' type='subscribe'/>"])
        irc.send("<presence from='nurse@irc.capulet.example' to='juliet@capulet.example' type='subscribed'/>")
        irc.send("<presence from='nurse@irc.capulet.example/x' to='juliet@capulet.example'/>")
        #expect(juliet.received().contains("<presence from='nurse@irc.capulet.example/x' to='juliet@capulet.example'/>"))
        irc.send("<presence from='nurse@irc.capulet.example' to='juliet@capulet.example' type='subscribe'/>")
        juliet.send("<presence to='nurse@irc.capulet.example' type='subscribed'/>")
        #expect(irc.received().map { $0.element.attribute("type") } == ["subscribed", nil])
        irc.send("<presence from='nurse@irc.capulet.example' to='juliet@capulet.example' type='probe'/>")
        #expect(irc.received().map { $0.element.attribute("from") } == ["juliet@capulet.example/balcony"])
        juliet.send("<presence type='unavailable'/>")
        #expect(irc.received().map { $0.element.attribute("type") } == ["unavailable"])
        juliet.send("<presence/>")
        #expect(irc.received().map { $0.element.attribute("type") ?? "" }.sorted() == ["", "probe"])
    }

    @Test("a component that is gone takes its users' presence with it")
    func vanishes() {
        let irc = TestComponent(server, "irc.capulet.example")
        server.createAccount("juliet")
        let nurse = server.address("nurse@irc.capulet.example")
        server.edit("juliet") { .rosterItem($0, RosterItem(contact: nurse, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1)) }
        let juliet = server.online("juliet/balcony")
        irc.send("<presence from='nurse@irc.capulet.example/x' to='juliet@capulet.example'/>")
        juliet.forget()
        irc.breakConnection()
        #expect(juliet.received() == ["<presence from='nurse@irc.capulet.example/x' to='juliet@capulet.example' type='unavailable'/>"])
    }

    @Test("directed presence to several addresses of a component is taken back at each of them (RFC 6121 §4.6.3)")
    func directed() {
        let irc = TestComponent(server, "irc.capulet.example")
        let juliet = server.online("juliet/balcony")
        juliet.send("<presence to='nurse@irc.capulet.example/a'/>")
        juliet.send("<presence to='nurse@irc.capulet.example/b'/>")
        _ = irc.received()
        juliet.send("<presence type='unavailable'/>")
        #expect(irc.received().compactMap { $0.element.attribute("to") } == ["nurse@irc.capulet.example/a", "nurse@irc.capulet.example/b"])
    }

    // MARK: Other servers

    @Test("other servers reach the component on streams for its domain, and it reaches them")
    func federated() {
        let irc = TestComponent(server, "irc.capulet.example")
        let peer = TestPeer(server, ["montague.example": "irc.capulet.example"])
        peer.send("<message from='romeo@montague.example/o' to='nurse@irc.capulet.example' type='chat'><body>b</body></message>")
        peer.send("<iq from='romeo@montague.example/o' to='irc.capulet.example' id='i' type='get'><query xmlns='jabber:iq:version'/></iq>")
        #expect(irc.received().count == 2 && peer.error == nil)
        irc.send("<iq from='irc.capulet.example' to='romeo@montague.example/o' id='i' type='result'/>")
        irc.send("<message from='nurse@irc.capulet.example' to='romeo@montague.example' type='chat'><body>c</body></message>")
        irc.send("<presence from='nurse@irc.capulet.example' to='romeo@montague.example' type='subscribe'/>")
        #expect(sent().map { $0.element.attribute("to") } == ["romeo@montague.example/o", "romeo@montague.example", "romeo@montague.example"])
        wire.refuse(StanzaError(.remoteServerNotFound))
        irc.send("<message from='nurse@irc.capulet.example' to='romeo@montague.example' id='m' type='chat'><body>c</body></message>")
        #expect(irc.received().map(\.error) == ["cancel/remote-server-not-found"])
    }

    // MARK: Configuration

    @Test("one that the configuration does not name any more ends with host-gone, and cannot come back")
    func removed() throws {
        let irc = TestComponent(server, "irc.capulet.example")
        server.components.apply([try Self.settings("sms.capulet.example")])
        server.run()
        #expect(irc.error?.condition == .hostGone)
        #expect(server.components.configured("irc.capulet.example") == nil)
        #expect(server.components.reports.map(\.name) == ["sms.capulet.example"])
    }

    @Test("what it sends is dealt with to the end")
    func finished() {
        let irc = TestComponent(server, "irc.capulet.example")
        server.createAccount("juliet")
        for _ in 0..<10 { irc.send("<message from='irc.capulet.example' to='juliet@capulet.example' type='chat'><body>b</body></message>") }
        #expect(irc.unfinishedCount == 0 && irc.isReading)
    }
}
