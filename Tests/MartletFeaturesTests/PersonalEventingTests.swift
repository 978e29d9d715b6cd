import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0163 Personal Eventing Protocol")
struct PersonalEventingTests {
    private let wire = TestWire()
    private let server: TestServer

    init() { server = TestServer(remote: wire) }

    private static func content(_ interests: [String]) -> String {
        "<identity category='client' type='pc' name='Lute'/>" + interests.map { "<feature var='\($0)+notify'/>" }.joined()
    }

    /// A client that wants to hear of these nodes; what has come up to that is thrown away.
    private func listener(_ name: String, _ interests: String...) -> TestClient {
        let client = server.online(name)
        let id = announce(interests, client)
        if let id { answer(interests, to: id, client) }
        return client
    }

    /// - Returns: the `id` of the server's question.
    private func announce(_ interests: [String], _ client: TestClient) -> String? {
        guard let query = try? parseElement(
            ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(Self.content(interests))</query>"), limits: .authenticated),
            let info = DiscoInfo(query.root)
        else { return nil }
        let digest = EntityCapabilities.verificationString(of: info)
        client.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>")
        return client.received().first { $0.element.attribute("type") == "get" }?.id
    }

    private func answer(_ interests: [String], to id: String, _ client: TestClient) {
        client.send("""
            <iq type='result' id='\(id)' to='\(client.address.bare)'>\
            <query xmlns='http://jabber.org/protocol/disco#info'>\(Self.content(interests))</query></iq>
            """)
    }

    private func publish(_ node: String, _ item: String, _ payload: String, options: String = "", _ client: TestClient) {
        let options = options.isEmpty ? "" : """
            <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
            <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\(options)</x></publish-options>
            """
        client.send("""
            <iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='\(node)'><item id='\(item)'>\(payload)</item>\
            </publish>\(options)</pubsub></iq>
            """)
    }

    @Test("where there is no account, nodes are looked for as where there is one (rule 23)", arguments: ["romeo", "nobody"])
    func existence(name: String) throws {
        if name == "romeo" { server.createAccount(name) }
        let address = try BareJID(parsing: "\(name)@capulet.example")
        let juliet = server.online("juliet/balcony")
        let node = "<items node='urn:xmpp:avatar:metadata'/>"
        juliet.send("<iq type='get' id='q' to='\(address)'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\(node)</pubsub></iq>")
        #expect(juliet.received().last { $0.id == "q" }?.error == "cancel/service-unavailable")
        let shard = server.router.shard(of: address)
        let isRead = shard.withLock { shard.serviceHome(address) != nil }
        #expect(isRead)
    }

    private static let mood = "<mood xmlns='mood'><happy/></mood>"
    private static let open = "<field var='pubsub#access_model'><value>open</value></field>"
    private static let whitelist = "<field var='pubsub#access_model'><value>whitelist</value></field>"

    /// Sender, node and identifiers of items of every event.
    private func events(_ client: TestClient) -> [String] {
        client.received().compactMap { stanza in
            guard let items = stanza.element.firstChild("event", .pubsubEvent)?.firstChild else { return nil }
            let from = stanza.element.attribute("from") ?? ""
            return "\(from) \(items.attribute("node") ?? ""): " + items.children.compactMap { $0.attribute("id") }.joined(separator: " ")
        }
    }

    // MARK: Who hears

    @Test("contacts and the account's own sessions hear what they have said they want to hear (§4.3)")
    func published() {
        server.befriend("juliet", "romeo")
        let balcony = listener("juliet/balcony", "mood")
        let chamber = listener("juliet/chamber", "tune")
        let orchard = listener("romeo/orchard", "mood", "tune")
        let garden = listener("romeo/garden", "tune")
        for client in [balcony, chamber, orchard, garden] { client.forget() }
        publish("mood", "1", Self.mood, balcony)
        #expect(events(balcony) == ["juliet@capulet.example mood: 1"])
        #expect(events(chamber) == [])
        #expect(events(orchard) == ["juliet@capulet.example mood: 1"])
        #expect(events(garden) == [])
    }

    @Test("who sees an account by a group hears what it has published and publishes, until he has left it (§4.3.4)")
    func sharedGroup() {
        let balcony = listener("juliet/balcony", "mood")
        let orchard = listener("romeo/orchard", "mood")
        publish("mood", "1", Self.mood, balcony)
        for client in [balcony, orchard] { client.forget() }
        server.share([server.group("Theatre", "juliet", "romeo")])
        #expect(events(orchard) == ["juliet@capulet.example mood: 1"])
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == ["juliet@capulet.example mood: 2"])
        server.share([])
        orchard.forget()
        publish("mood", "3", Self.mood, balcony)
        #expect(events(orchard) == [])
    }

    @Test("an event is a headline from the account with what was published (§4.3.1)")
    func event() {
        server.befriend("juliet", "romeo")
        let orchard = listener("romeo/orchard", "mood")
        let balcony = server.online("juliet/balcony")
        orchard.forget()
        publish("mood", "1", Self.mood, balcony)
        let id = orchard.received().first?.id ?? ""
        publish("mood", "2", Self.mood, balcony)
        #expect(!id.isEmpty)
        let second = orchard.received()
        #expect(second == [
            """
            <message from='juliet@capulet.example' to='romeo@capulet.example/orchard' type='headline' id='\(second.first?.id ?? "")'>\
            <event xmlns='http://jabber.org/protocol/pubsub#event'><items node='mood'><item id='2'>\(Self.mood)</item></items></event></message>
            """
        ])
        #expect(second.first?.id != id)
    }

    @Test("strangers hear nothing, and neither does who does not see the account's presence")
    func strangers() {
        let tybalt = listener("tybalt/street", "mood")
        let balcony = listener("juliet/balcony", "mood")
        tybalt.forget()
        publish("mood", "1", Self.mood, options: Self.open, balcony)
        #expect(events(tybalt) == [])
    }

    @Test("whoever the owner blocks hears nothing, and whoever blocks the owner does not either (XEP-0191)")
    func blocked() {
        server.befriend("juliet", "romeo")
        server.befriend("juliet", "mercutio")
        let orchard = listener("romeo/orchard", "mood")
        let street = listener("mercutio/street", "mood")
        let balcony = server.online("juliet/balcony")
        balcony.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        street.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@capulet.example'/></block></iq>")
        for client in [orchard, street] { client.forget() }
        publish("mood", "1", Self.mood, balcony)
        #expect(events(orchard) == [] && events(street) == [])
    }

    @Test("at a node for a list only those on it hear", arguments: [("member", true), ("none", false), ("outcast", false)])
    func whitelisted(affiliation: String, isTold: Bool) {
        server.befriend("juliet", "romeo")
        let orchard = listener("romeo/orchard", "mood")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, options: Self.whitelist, balcony)
        balcony.send("""
            <iq type='set' id='a'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='mood'>\
            <affiliation jid='romeo@capulet.example' affiliation='\(affiliation)'/></affiliations></pubsub></iq>
            """)
        orchard.forget()
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == (isTold ? ["juliet@capulet.example mood: 2"] : []))
    }

    @Test("who has subscribed is told once, as he has asked to be")
    func subscribed() {
        server.befriend("juliet", "romeo")
        let orchard = listener("romeo/orchard", "mood")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='mood' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        orchard.forget()
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == ["juliet@capulet.example mood: 2"])
    }

    @Test("whoever is blocked is told nothing, also if he has subscribed (XEP-0191)")
    func blockedSubscriber() {
        server.befriend("juliet", "romeo")
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='mood' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        orchard.forget()
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == ["juliet@capulet.example mood: 2"])
        balcony.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        orchard.forget()
        publish("mood", "3", Self.mood, balcony)
        #expect(events(orchard) == [])
    }

    @Test("whoever wants to subscribe to a node that is open on request is let in by the owner's answer, which nobody else gets (§8.6)", arguments: [true, false])
    func decision(allows: Bool) throws {
        server.befriend("juliet", "romeo")
        let (orchard, balcony) = (server.online("romeo/orchard"), server.online("juliet/balcony"))
        let chamber = server.online("juliet/chamber")
        publish("diary", "1", Self.mood, options: "<field var='pubsub#access_model'><value>authorize</value></field>", balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='diary' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        let question = try #require(balcony.received().last { $0.element.firstChild("x", .dataForms) != nil })
        var form = try DataForm(try #require(question.element.firstChild("x", .dataForms)))
        form.kind = .submit
        form.fields = form.fields.map { field in
            var field = field
            if field.name == "pubsub#allow" { field.values = [allows ? "1" : "0"] }
            return field
        }
        var writer = XMLWriter()
        form.write(to: &writer)
        orchard.forget()
        chamber.forget()
        balcony.send("<message to='juliet@capulet.example' id='a'>\(String(buffer: writer.buffer))</message>")
        publish("diary", "2", Self.mood, balcony)
        #expect(events(orchard).contains("juliet@capulet.example diary: 2") == allows)
        #expect(!chamber.received().contains { $0.id == "a" })
        // It is decided.
        balcony.forget()
        balcony.send("<message to='juliet@capulet.example' id='b'>\(String(buffer: writer.buffer))</message>")
        #expect(balcony.received().compactMap(\.error) == ["cancel/item-not-found"])
    }

    @Test("only the owner decides")
    func othersDecide() {
        server.befriend("juliet", "romeo")
        let (orchard, balcony) = (server.online("romeo/orchard"), server.online("juliet/balcony"))
        publish("diary", "1", Self.mood, options: "<field var='pubsub#access_model'><value>authorize</value></field>", balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='diary' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        orchard.send("""
            <message to='juliet@capulet.example'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
            <value>http://jabber.org/protocol/pubsub#subscribe_authorization</value></field><field var='pubsub#node'><value>diary</value></field>\
            <field var='pubsub#subscriber_jid'><value>romeo@capulet.example</value></field><field var='pubsub#allow'><value>1</value></field></x></message>
            """)
        publish("diary", "2", Self.mood, balcony)
        #expect(!events(orchard).contains("juliet@capulet.example diary: 2"))
    }

    // MARK: Last items

    @Test("a last item is told when it is on disk, and not before")
    func durable() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        server.store.commit()
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        server.store.commit()
        server.run()
        publish("mood", "2", Self.mood, balcony)
        let chamber = server.online("juliet/chamber")
        if let id = announce(["mood"], chamber) { answer(["mood"], to: id, chamber) }
        #expect(events(chamber).allSatisfy { !$0.contains("2") })
        server.store.commit()
        server.run()
        #expect(events(chamber).contains("juliet@capulet.example mood: 2"))
    }

    @Test("who comes online hears the last item of what contacts have published, also of those who are away (§4.3.4)")
    func lastItem() {
        server.befriend("juliet", "romeo")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        publish("mood", "2", Self.mood, balcony)
        publish("secret", "3", Self.mood, options: Self.whitelist, balcony)
        balcony.disconnect()
        server.advance(by: .seconds(60))
        let orchard = listener("romeo/orchard", "mood", "secret")
        let received = orchard.received().filter { $0.child("event") != nil }
        #expect(received.map { $0.child("delay")?.attribute("stamp") != nil } == [true])
        #expect(received.first?.description.contains("<item id='2'>") == true)
    }

    @Test("what was heard is not heard again with every change of presence, but with a new interest")
    func onlyOnce() {
        server.befriend("juliet", "romeo")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        publish("tune", "1", Self.mood, balcony)
        let orchard = listener("romeo/orchard", "mood")
        #expect(events(orchard) == ["juliet@capulet.example mood: 1"])
        #expect(announce(["mood"], orchard) == nil)
        #expect(events(orchard) == [])
        if let id = announce(["mood", "tune"], orchard) { answer(["mood", "tune"], to: id, orchard) }
        #expect(events(orchard) == ["juliet@capulet.example tune: 1"])
    }

    @Test("the account's own new session hears what it has published itself")
    func ownLastItem() {
        let balcony = server.online("juliet/balcony")
        publish("bookmarks", "room", Self.mood, options: Self.whitelist, balcony)
        let chamber = listener("juliet/chamber", "bookmarks")
        #expect(events(chamber) == ["juliet@capulet.example bookmarks: room"])
    }

    @Test("who is admitted to see the presence hears the last item at once")
    func admitted() {
        server.createAccount("romeo")
        let balcony = server.online("juliet/balcony")
        let orchard = listener("romeo/orchard", "mood")
        publish("mood", "1", Self.mood, balcony)
        #expect(events(orchard) == [])
        orchard.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        balcony.send("<presence type='subscribed' to='romeo@capulet.example'/>")
        #expect(events(orchard) == ["juliet@capulet.example mood: 1"])
    }

    @Test("who may see the presence no longer is not subscribed any longer", arguments: [
        "<presence type='unsubscribed' to='romeo@capulet.example'/>",
        "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='romeo@capulet.example' subscription='remove'/></query></iq>",
    ])
    func dismissed(stanza: String) {
        server.befriend("juliet", "romeo")
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='mood' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        balcony.send(stanza)
        orchard.forget()
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == [])
        balcony.forget()
        balcony.send("<iq type='get' id='l'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><subscriptions node='mood'/></pubsub></iq>")
        #expect(balcony.received().first?.description.contains("<subscriptions node='mood'/>") == true)
    }

    @Test("who leaves the group that a node is for is not subscribed to it any longer (§6.1); who stays in it is")
    func leavesGroup() {
        server.befriend("juliet", "romeo")
        let orchard = server.online("romeo/orchard")
        let balcony = server.online("juliet/balcony")
        func regroup(_ groups: String) {
            balcony.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='romeo@capulet.example'>\(groups)</item></query></iq>")
        }
        regroup("<group>Friends</group><group>Verona</group>")
        let forFriends = "<field var='pubsub#access_model'><value>roster</value></field><field var='pubsub#roster_groups_allowed'><value>Friends</value></field>"
        publish("mood", "1", Self.mood, options: forFriends, balcony)
        orchard.send("""
            <iq type='set' id='s' to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
            <subscribe node='mood' jid='romeo@capulet.example'/></pubsub></iq>
            """)
        regroup("<group>Friends</group>")
        orchard.forget()
        publish("mood", "2", Self.mood, balcony)
        #expect(events(orchard) == ["juliet@capulet.example mood: 2"])
        regroup("<group>Verona</group>")
        orchard.forget()
        publish("mood", "3", Self.mood, balcony)
        #expect(events(orchard) == [])
        regroup("<group>Friends</group>")
        publish("mood", "4", Self.mood, balcony)
        #expect(events(orchard) == [])
    }

    @Test("a client that says once what it is able to do, and then only that it is away, goes on to hear")
    func saysOnce() {
        server.befriend("juliet", "romeo")
        let orchard = listener("romeo/orchard", "mood")
        orchard.send("<presence><show>away</show></presence>")
        publish("mood", "1", Self.mood, server.online("juliet/balcony"))
        #expect(events(orchard) == ["juliet@capulet.example mood: 1"])
    }

    @Test("a session that goes on after a restart of the server hears what it wanted to hear")
    func restarted() {
        server.befriend("juliet", "romeo")
        let orchard = listener("romeo/orchard", "mood")
        orchard.manage(.enable(resumes: true, secondsMax: nil))
        let id = orchard.received().first { $0.element.localName == "enabled" }?.element.attribute("id") ?? ""
        let next = server.restarted()
        let again = next.resume("romeo", previous: id, handled: 0)
        let question = again.received().first { $0.element.attribute("type") == "get" }?.id
        answer(["mood"], to: question ?? "", again)
        publish("mood", "1", Self.mood, next.online("juliet/balcony"))
        #expect(events(again) == ["juliet@capulet.example mood: 1"])
        withExtendedLifetime((server, next)) {}
    }

    // MARK: Other servers

    @Test("a contact's session at another server is asked what it wants, hears the last item, and what comes later; not once it is gone")
    func elsewhere() throws {
        server.createAccount("juliet")
        let romeo = try BareJID(parsing: "romeo@montague.example")
        server.edit("juliet") {
            .rosterItem($0, RosterItem(contact: romeo, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1))
        }
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        _ = wire.take()
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        let digest = EntityCapabilities.verificationString(of: try #require(DiscoInfo(try parseElement(
            ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(Self.content(["mood"]))</query>"), limits: .authenticated).root)))
        let presence = """
            <presence from='romeo@montague.example/orchard' to='juliet@capulet.example'>\
            <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>
            """
        peer.send(presence)
        let asked = wire.take()
        #expect(asked.map { $0.root.localName + " " + ($0.root.attribute("to") ?? "") } == ["iq romeo@montague.example/orchard"])
        let id = try #require(asked.first?.root.attribute("id"))
        peer.send("""
            <iq from='romeo@montague.example/orchard' to='juliet@capulet.example' type='result' id='\(id)'>\
            <query xmlns='http://jabber.org/protocol/disco#info'>\(Self.content(["mood"]))</query></iq>
            """)
        #expect(eventsOnTheWire() == ["romeo@montague.example/orchard mood: 1"])
        peer.send(presence)
        #expect(eventsOnTheWire() == [])
        publish("mood", "2", Self.mood, balcony)
        #expect(eventsOnTheWire() == ["romeo@montague.example/orchard mood: 2"])
        peer.send("<presence from='romeo@montague.example/orchard' to='juliet@capulet.example' type='unavailable'/>")
        publish("mood", "3", Self.mood, balcony)
        #expect(eventsOnTheWire() == [])
    }

    @Test("a contact at another server hears the last item while the account is away, once")
    func elsewhereWhileAway() throws {
        server.createAccount("juliet")
        let romeo = try BareJID(parsing: "romeo@montague.example")
        server.edit("juliet") {
            .rosterItem($0, RosterItem(contact: romeo, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1))
        }
        let balcony = listener("juliet/balcony", "mood")
        publish("mood", "1", Self.mood, balcony)
        balcony.disconnect()
        _ = wire.take()
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        let digest = EntityCapabilities.verificationString(of: try #require(DiscoInfo(try parseElement(
            ByteBuffer(string: "<query xmlns='http://jabber.org/protocol/disco#info'>\(Self.content(["mood"]))</query>"), limits: .authenticated).root)))
        for show in ["", "<show>away</show>"] {
            peer.send("""
                <presence from='romeo@montague.example/orchard' to='juliet@capulet.example'>\(show)\
                <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='\(digest)'/></presence>
                """)
        }
        #expect(eventsOnTheWire() == ["romeo@montague.example/orchard mood: 1"])
    }

    private func eventsOnTheWire() -> [String] {
        wire.take().compactMap { stanza in
            guard let items = stanza.root.firstChild("event", .pubsubEvent)?.firstChild else { return nil }
            let to = stanza.root.attribute("to") ?? ""
            return "\(to) \(items.attribute("node") ?? ""): " + items.children.compactMap { $0.attribute("id") }.joined(separator: " ")
        }
    }

    // MARK: Requests

    @Test("everybody who may reads, whether the account is there or not; others hear what strangers hear")
    func reading() {
        server.createAccount("nobodyonline")
        let balcony = server.online("juliet/balcony")
        publish("omemo", "1", Self.mood, options: Self.open, balcony)
        publish("mood", "1", Self.mood, balcony)
        balcony.disconnect()
        let tybalt = server.online("tybalt/street")
        func read(_ node: String, of account: String) -> TestStanza? {
            tybalt.send("""
                <iq type='get' id='r' to='\(account)@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='\(node)'/></pubsub></iq>
                """)
            return tybalt.received().first
        }
        #expect(read("omemo", of: "juliet")?.description.contains("<item id='1'>\(Self.mood)</item>") == true)
        #expect(read("mood", of: "juliet")?.error == "cancel/service-unavailable")
        #expect(read("nothing", of: "juliet")?.error == "cancel/service-unavailable")
        #expect(read("omemo", of: "nobody")?.error == "cancel/service-unavailable")
    }

    @Test("no account and no permission look alike to strangers, whatever they ask (rule 23)", arguments: [
        "<subscriptions/>", "<subscriptions node='mood'/>", "<affiliations/>", "<default/>", "<default node='mood'/>", "<items node='mood'/>",
        "<items node='none'/>",
    ])
    func strangersAsk(question: String) {
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        let tybalt = server.online("tybalt/street")
        let answers = ["juliet", "nobody"].map { account in
            tybalt.send("<iq type='get' id='q' to='\(account)@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\(question)</pubsub></iq>")
            return tybalt.received().first?.error
        }
        #expect(answers == ["cancel/service-unavailable", "cancel/service-unavailable"])
    }

    @Test("what is published is there after a restart, and goes with the account")
    func lasting() {
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        let next = server.restarted()
        let chamber = next.online("juliet/chamber")
        chamber.send("<iq type='get' id='r'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='mood'/></pubsub></iq>")
        #expect(chamber.received().first?.description.contains("<item id='1'>") == true)
    }

    @Test("an account says that it publishes, and what (§6.1, XEP-0060 §5.2)")
    func discovery() {
        server.befriend("juliet", "romeo")
        let balcony = server.online("juliet/balcony")
        publish("mood", "1", Self.mood, balcony)
        let orchard = server.online("romeo/orchard")
        orchard.send("<iq type='get' id='i' to='juliet@capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let info = orchard.received().first?.description ?? ""
        #expect(info.contains("<identity category='pubsub' type='pep'/>"))
        #expect(info.contains("<feature var='http://jabber.org/protocol/pubsub#publish'/>"))
        orchard.send("<iq type='get' id='i' to='juliet@capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        #expect(orchard.received().first?.description.contains("<item jid='juliet@capulet.example' node='mood'/>") == true)
        let tybalt = server.online("tybalt/street")
        for query in ["info", "items"] {
            tybalt.send("<iq type='get' id='i' to='juliet@capulet.example'><query xmlns='http://jabber.org/protocol/disco#\(query)' node='mood'/></iq>")
            #expect(tybalt.received().first?.error == "cancel/service-unavailable")
        }
    }
}
