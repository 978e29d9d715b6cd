import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0283 Moved")
struct MovedTests {
    private let wire = TestWire()
    private let server: TestServer

    init() { server = TestServer(remote: wire) }

    private func publish(_ statement: String, by client: TestClient) {
        client.send(
            """
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:moved:1'>\
            <item id='current'><moved xmlns='urn:xmpp:moved:1'>\(statement)</moved></item></publish></pubsub></iq>
            """)
        #expect(client.received().first { $0.id == "p" }?.element.attribute("type") == "result")
    }

    private static func request(to contact: String, from old: String) -> String {
        "<presence type='subscribe' id='s' to='\(contact)'><moved xmlns='urn:xmpp:moved:1'><old-jid>\(old)</old-jid></moved></presence>"
    }

    private func ask(_ client: TestClient, old: String = "juliet@capulet.example") { client.send(Self.request(to: "romeo@capulet.example", from: old)) }

    /// The subscriptions of an account, as its roster has them.
    private func contacts(of account: String) -> [String] {
        let client = server.client("\(account)/asking")
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        let items = client.received().first { $0.id == "r" }?.child("query")?.children.map { $0 } ?? []
        defer { client.disconnect() }
        return items.map { item in
            let name = item.attribute("jid")?.split(separator: "@").first.map(String.init) ?? ""
            return "\(name) \(item.attribute("subscription") ?? "")\(item.attribute("ask") == nil ? "" : " asked")"
        }.sorted()
    }

    private func isShown(_ client: TestClient) -> Bool {
        client.received().contains { $0.element.attribute("type") == "subscribe" && $0.child("moved") != nil }
    }

    @Test("a contact that has moved gets the old one's place, and the old one loses it (§4.4)")
    func verified() {
        server.befriend("romeo", "juliet")
        let (romeo, juliet, new) = (server.online("romeo/orchard"), server.online("juliet/balcony"), server.online("capulet/new"))
        publish("<new-jid>capulet@capulet.example</new-jid>", by: juliet)
        romeo.forget()
        ask(new)
        #expect(!isShown(romeo))
        #expect(contacts(of: "romeo") == ["capulet from asked", "juliet to"])
        #expect(contacts(of: "capulet") == ["romeo to"])
        #expect(new.received().contains { $0.element.attribute("type") == "subscribe" })
        #expect(juliet.received().contains { $0.element.attribute("type") == "unsubscribed" })
        // Each moves once: what is there now proves nothing for others, and a second request is answered as any approved one.
        let other = server.online("tybalt/street")
        ask(other)
        #expect(isShown(romeo) && contacts(of: "tybalt") == ["romeo none asked"])
    }

    @Test("who was only seen, and did not see, is not asked in turn (§4.4)")
    func oneWay() {
        server.createAccount("romeo")
        server.createAccount("juliet")
        let item = RosterItem(contact: server.address("juliet"), subscription: SubscriptionState(from: true, isInRoster: true), version: 1)
        server.edit("romeo") { .rosterItem($0, item) }
        // The statement is for everybody: Romeo does not see Juliet's presence.
        let juliet = server.online("juliet/balcony")
        publish("<new-jid>capulet@capulet.example</new-jid>", by: juliet)
        juliet.send(
            """
            <iq type='set' id='c'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:xmpp:moved:1'><x xmlns='jabber:x:data' \
            type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'>\
            <value>open</value></field></x></configure></pubsub></iq>
            """)
        ask(server.online("capulet/new"))
        #expect(contacts(of: "romeo") == ["capulet from", "juliet none"])
    }

    @Test("a request that is not confirmed is one like others, with everything in it (§4.4)", arguments: [
        "", "<new-jid>tybalt@capulet.example</new-jid>", "<new-jid>@</new-jid>", "<old-jid>capulet@capulet.example</old-jid>",
    ])
    func notConfirmed(statement: String) {
        server.befriend("romeo", "juliet")
        let (romeo, juliet, new) = (server.online("romeo/orchard"), server.online("juliet/balcony"), server.online("capulet/new"))
        if !statement.isEmpty { publish(statement, by: juliet) }
        ask(new)
        #expect(isShown(romeo))
        #expect(contacts(of: "romeo") == ["juliet both"])
    }

    @Test("the old address must be one that sees the account's presence, and is a bare one (§4.3)", arguments: [
        "nobody@capulet.example", "romeo@capulet.example", "capulet@capulet.example", "juliet@capulet.example/balcony", "capulet.example", "", "mercutio@montague.example",
    ])
    func notInRoster(old: String) {
        server.befriend("romeo", "juliet")
        let (romeo, juliet, new) = (server.online("romeo/orchard"), server.online("juliet/balcony"), server.online("capulet/new"))
        publish("<new-jid>capulet@capulet.example</new-jid>", by: juliet)
        ask(new, old: old)
        #expect(isShown(romeo))
        #expect(wire.take().isEmpty, "nobody is asked who is not in the roster")
    }

    @Test("whom the account has blocked makes it ask nobody")
    func blocked() {
        server.befriend("romeo", "juliet")
        let (romeo, juliet, new) = (server.online("romeo/orchard"), server.online("juliet/balcony"), server.online("capulet/new"))
        publish("<new-jid>capulet@capulet.example</new-jid>", by: juliet)
        romeo.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='capulet@capulet.example'/></block></iq>")
        romeo.forget()
        ask(new)
        #expect(romeo.received().isEmpty)
        #expect(contacts(of: "romeo") == ["juliet both"])
    }

    // MARK: Old addresses elsewhere

    /// Romeo's contact at another server, and what it is asked.
    private func askAbroad() throws -> (romeo: TestClient, id: String) {
        server.createAccount("romeo")
        let old = try BareJID(parsing: "juliet@montague.example")
        server.edit("romeo") { .rosterItem($0, RosterItem(contact: old, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1)) }
        let (romeo, new) = (server.online("romeo/orchard"), server.online("capulet/new"))
        _ = wire.take()
        ask(new, old: "juliet@montague.example")
        let question = try #require(wire.take().first { $0.localName == "iq" })
        #expect(question.attribute("to") == "juliet@montague.example" && question.attribute("from") == "romeo@capulet.example")
        #expect(question.firstChild("pubsub", .pubsub)?.firstChild("items", .pubsub)?.attribute("node") == "urn:xmpp:moved:1")
        return (romeo, try #require(question.attribute("id")))
    }

    private func answer(_ id: String, from: String = "juliet@montague.example", type: String, _ content: String) {
        TestPeer(server, ["montague.example": "capulet.example"]).send(
            "<iq xmlns='jabber:client' type='\(type)' id='\(id)' from='\(from)' to='romeo@capulet.example'>\(content)</iq>")
    }

    private func statement(_ address: String) -> String {
        """
        <pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:moved:1'><item id='current'><moved xmlns='urn:xmpp:moved:1'>\
        <new-jid>\(address)</new-jid></moved></item></items></pubsub>
        """
    }

    @Test("an account of another server is asked there, and its answer counts (§4.4)")
    func abroad() throws {
        let (romeo, id) = try askAbroad()
        answer(id, type: "result", statement("capulet@capulet.example"))
        #expect(!isShown(romeo))
        #expect(contacts(of: "romeo") == ["capulet from asked", "juliet to"])
        let farewell = wire.take().filter { $0.localName == "presence" && $0.attribute("to") == "juliet@montague.example" }
        #expect(farewell.contains { $0.attribute("type") == "unsubscribed" })
    }

    @Test("an account that is gone says where to by its address (§4.3)", arguments: [
        ("xmpp:capulet@capulet.example", true), ("xmpp:tybalt@capulet.example", false), ("capulet@capulet.example", false), ("xmpp:@", false), ("", false),
    ])
    func gone(address: String, isConfirmed: Bool) throws {
        let (romeo, id) = try askAbroad()
        answer(id, type: "error", "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>\(address)</gone></error>")
        #expect(isShown(romeo) == !isConfirmed)
    }

    @Test("who does not answer, or answers for somebody else, confirms nothing")
    func silence() throws {
        let (romeo, id) = try askAbroad()
        answer(id, from: "tybalt@montague.example", type: "result", statement("capulet@capulet.example"))
        answer("other", type: "result", statement("capulet@capulet.example"))
        #expect(!isShown(romeo))
        server.advance(by: .seconds(31))
        #expect(isShown(romeo))
        #expect(contacts(of: "romeo") == ["juliet both"])
        answer(id, type: "result", statement("capulet@capulet.example"))
        #expect(contacts(of: "romeo") == ["juliet both"])
    }

    @Test("where there is no way to the old server the request is one like others")
    func noWay() throws {
        server.createAccount("romeo")
        let old = try BareJID(parsing: "juliet@montague.example")
        server.edit("romeo") { .rosterItem($0, RosterItem(contact: old, subscription: SubscriptionState(from: true, isInRoster: true), version: 1)) }
        let (romeo, new) = (server.online("romeo/orchard"), server.online("capulet/new"))
        wire.refuse(StanzaError(.remoteServerNotFound))
        ask(new, old: "juliet@montague.example")
        #expect(isShown(romeo))
    }
}
