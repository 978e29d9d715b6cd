import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

@Suite("components with privileges (XEP-0356)")
struct PrivilegedEntityTests {
    private let wire = TestWire()
    private let refusals = Refusals()
    private static let name = "steward.capulet.example"

    private static func settings(domains: [String] = ["capulet.example"], _ change: (inout ComponentPrivileges) -> Void) throws -> ComponentSettings {
        var privileges = ComponentPrivileges()
        change(&privileges)
        let powers = ComponentPowers(domains: Set(try domains.map { try BareJID(parsing: $0) }), privileges: privileges)
        return ComponentSettings(try BareJID(parsing: name), domain: try BareJID(parsing: "capulet.example"), secret: [1], powers: powers)
    }

    private func world(domains: [String] = ["capulet.example"], _ change: (inout ComponentPrivileges) -> Void) throws -> TestServer {
        TestServer(
            domains: ["capulet.example", "verona.example"], policy: AccessPolicy(audit: refusals), remote: wire,
            components: [try Self.settings(domains: domains, change)])
    }

    private func component(_ server: TestServer) -> TestComponent {
        let component = TestComponent(server, Self.name)
        _ = component.received()
        return component
    }

    /// A server, and the component with privileges over its accounts.
    private func connected(_ change: (inout ComponentPrivileges) -> Void) throws -> (TestServer, TestComponent) {
        let server = try world(change)
        return (server, component(server))
    }

    private func sent() -> [TestStanza] { wire.take().map(TestStanza.init) }

    // MARK: What it is told (§4.2, §5.2, §6.2, §7.2, §7.5)

    @Test("it is told at once what it may do with the accounts of each domain")
    func announced() throws {
        let server = try world(domains: ["capulet.example", "verona.example"]) {
            $0.roster = .both
            $0.message = .outgoing
            $0.presence = .roster
            $0.requests = ["http://jabber.org/protocol/pubsub": .set, "a:b": .both]
        }
        let told = TestComponent(server, Self.name).received()
        #expect(told.compactMap { $0.element.attribute("from") } == ["capulet.example", "verona.example"])
        #expect(told.first == """
            <message from='capulet.example' to='steward.capulet.example' id='\(told.first?.id ?? "")'><privilege xmlns='urn:xmpp:privilege:2'>\
            <perm access='roster' type='both' push='true'/><perm access='message' type='outgoing'/><perm access='iq'><namespace ns='a:b' type='both'/>\
            <namespace ns='http://jabber.org/protocol/pubsub' type='set'/></perm><perm access='presence' type='roster'/></privilege></message>
            """)
    }

    @Test("one that may do nothing is told nothing")
    func unprivileged() throws {
        let server = try world { _ in }
        #expect(TestComponent(server, Self.name).received() == [])
    }

    @Test("whether it is told of changes of rosters is said where it may read them")
    func announcedPushes() throws {
        let server = try world { $0.roster = .get; $0.wantsPushes = false }
        let push = TestComponent(server, Self.name).received().first?.child("privilege")?.firstChild?.attribute("push")
        #expect(push == "false")
        let other = try world { $0.roster = .set }
        let perm = TestComponent(other, Self.name).received().first?.child("privilege")?.firstChild
        #expect(perm?.attribute("type") == "set" && perm?.attribute("push") == nil)
    }

    @Test("a reload tells what is new, and as 'none' what is not so any more; one that changes nothing tells nothing")
    func reloaded() throws {
        let (server, pubsub) = try connected { $0.roster = .both; $0.requests = ["a:b": .get] }
        server.components.apply([try Self.settings { $0.roster = .both; $0.requests = ["a:b": .get] }])
        server.run()
        #expect(pubsub.received() == [])
        server.components.apply([try Self.settings { $0.message = .outgoing }])
        server.run()
        let told = pubsub.received()
        #expect(told.count == 1)
        #expect(told.first == """
            <message from='capulet.example' to='steward.capulet.example' id='\(told.first?.id ?? "")'><privilege xmlns='urn:xmpp:privilege:2'>\
            <perm access='roster' type='none'/><perm access='message' type='outgoing'/><perm access='iq'><namespace ns='a:b' type='none'/></perm>\
            </privilege></message>
            """)
        server.createAccount("juliet")
        pubsub.send("<iq from='steward.capulet.example' to='juliet@capulet.example' id='1' type='get'><query xmlns='jabber:iq:roster'/></iq>")
        #expect(pubsub.received().map(\.error) == ["auth/forbidden"])
    }

    // MARK: Rosters (§4)

    private static func rosterGet(_ account: String, from: String = name) -> String {
        "<iq from='\(from)' to='\(account)' id='r' type='get'><query xmlns='jabber:iq:roster'/></iq>"
    }
    private static func rosterSet(_ account: String, _ item: String = "<item jid='nurse@capulet.example' name='Nurse'/>") -> String {
        "<iq from='\(name)' to='\(account)' id='s' type='set'><query xmlns='jabber:iq:roster'>\(item)</query></iq>"
    }

    @Test("it reads a roster as the account does, whole, online or not")
    func readsRoster() throws {
        let (server, pubsub) = try connected { $0.roster = .get }
        server.befriend("juliet", "romeo")
        pubsub.send(Self.rosterGet("juliet@capulet.example"))
        let answer = pubsub.received().first
        #expect(answer?.element.attribute("from") == "juliet@capulet.example" && answer?.element.attribute("type") == "result")
        #expect(answer?.child("query")?.firstChild?.attribute("jid") == "romeo@capulet.example")
        #expect(answer?.child("query")?.hasAttribute("ver") == true)
    }

    @Test("it changes a roster by the same rules as the account, and is told with the account's clients what was changed, by whomever")
    func changesRoster() throws {
        let (server, pubsub) = try connected { $0.roster = .both }
        let juliet = server.online("juliet/balcony")
        pubsub.send(Self.rosterSet("juliet@capulet.example", "<item jid='nurse@capulet.example' name='Nurse' subscription='both'/>"))
        let pushed = juliet.received()
        #expect(pushed.map { $0.child("query")?.firstChild?.attribute("name") } == ["Nurse"])
        #expect(pushed.first?.child("query")?.firstChild?.attribute("subscription") == "none")
        let told = pubsub.received()
        #expect(told.count == 2 && told.contains("<iq from='juliet@capulet.example' to='steward.capulet.example' id='s' type='result'/>"))
        let push = told.first { $0.element.attribute("type") == "set" }
        #expect(push?.element.attribute("from") == "juliet@capulet.example" && push?.child("query")?.firstChild?.attribute("jid") == "nurse@capulet.example")
        juliet.send("<iq type='set' id='own'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example' subscription='remove'/></query></iq>")
        #expect(pubsub.received().map { $0.child("query")?.firstChild?.attribute("subscription") } == ["remove"])
        pubsub.send(Self.rosterSet("juliet@capulet.example", "<item jid='juliet@capulet.example'/>"))
        pubsub.send(Self.rosterSet("juliet@capulet.example", "<item jid='@'/>"))
        pubsub.send(Self.rosterSet("juliet@capulet.example", ""))
        #expect(pubsub.received().map(\.error) == ["cancel/not-allowed", "modify/jid-malformed", "modify/bad-request"])
    }

    @Test("its block list is the account's affair, and none of a component's that may read it")
    func blocked() throws {
        let (server, pubsub) = try connected { $0.roster = .get }
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='steward.capulet.example'/></block></iq>")
        pubsub.send(Self.rosterGet("juliet@capulet.example"))
        #expect(pubsub.received().map { $0.element.attribute("type") } == ["result"])
    }

    @Test("without pushes it hears nothing of changes")
    func unpushed() throws {
        for access in [RequestAccess.set, .get] {
            let (server, pubsub) = try connected { $0.roster = access; $0.wantsPushes = false }
            let juliet = server.online("juliet/balcony")
            juliet.send("<iq type='set' id='own'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example'/></query></iq>")
            #expect(pubsub.received() == [])
        }
    }

    @Test("what it may not is forbidden, whether there is such an account or not, and is recorded")
    func forbiddenRoster() throws {
        let (server, pubsub) = try connected { $0.roster = .get }
        server.createAccount("juliet")
        pubsub.send(Self.rosterSet("juliet@capulet.example"))
        pubsub.send(Self.rosterSet("nobody@capulet.example"))
        pubsub.send(Self.rosterGet("juliet@verona.example"))
        pubsub.send(Self.rosterGet("juliet@capulet.example", from: "other@\(Self.name)"))
        #expect(pubsub.received().map(\.error) == Array(repeating: "auth/forbidden", count: 4))
        #expect(refusals.all.map(\.action) == [
            "roster set of juliet@capulet.example", "roster set of nobody@capulet.example", "roster get of juliet@verona.example",
            "roster get of juliet@capulet.example",
        ])
        #expect(refusals.all.first?.actor == Self.name)
    }

    @Test("there is nothing to read where there is no account")
    func noAccount() throws {
        let (_, pubsub) = try connected { $0.roster = .both }
        pubsub.send(Self.rosterGet("nobody@capulet.example"))
        #expect(pubsub.received().map(\.error) == ["cancel/service-unavailable"])
    }

    // MARK: Messages (§5)

    private static func message(_ inner: String, to: String = "capulet.example", from: String = name) -> String {
        """
        <message from='\(from)' to='\(to)' id='notif1'><privilege xmlns='urn:xmpp:privilege:2'><forwarded xmlns='urn:xmpp:forward:0'>\(inner)</forwarded>\
        </privilege></message>
        """
    }

    @Test("it sends messages in an account's name: the recipient gets them, the account's clients have copies, its archive has them")
    func sends() throws {
        let (server, pubsub) = try connected { $0.message = .outgoing }
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        let romeo = server.online("romeo/orchard")
        _ = juliet.received()
        pubsub.send(Self.message("""
            <message xmlns='jabber:client' from='juliet@capulet.example' to='romeo@capulet.example/orchard' id='foo' type='chat'><body>Hi</body></message>
            """))
        let heard = romeo.received()
        #expect(heard.map { $0.element.attribute("from") } == ["juliet@capulet.example"])
        #expect(heard.first?.child("body")?.text == "Hi" && heard.first?.id == "foo")
        #expect(juliet.received().map { $0.child("sent") != nil } == [true])
        #expect(pubsub.received() == [] && pubsub.unfinishedCount == 0)
        juliet.send("<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(juliet.received().filter { $0.description.contains("Hi") }.count == 1)
    }

    @Test("what it sends to other servers, to services and to itself goes out from the account's bare address")
    func sendsOut() throws {
        let (server, pubsub) = try connected { $0.message = .outgoing }
        server.createAccount("juliet")
        for to in ["romeo@montague.example", "contact@\(Self.name)"] {
            pubsub.send(Self.message("<message xmlns='jabber:client' from='juliet@capulet.example' to='\(to)' id='x' type='chat'><body>b</body></message>"))
        }
        let expected: TestStanza = "<message from='juliet@capulet.example' to='romeo@montague.example' id='x' type='chat'><body>b</body></message>"
        #expect(sent() == [expected])
        #expect(pubsub.received() == ["<message from='juliet@capulet.example' to='contact@\(Self.name)' id='x' type='chat'><body>b</body></message>"])
        #expect(pubsub.unfinishedCount == 0)
    }

    @Test("it sends messages in the domain's name, which need a recipient; without one an account's are for the account itself")
    func sendsOfServer() throws {
        let (server, pubsub) = try connected { $0.message = .outgoing }
        let juliet = server.online("juliet/balcony")
        pubsub.send(Self.message("<message xmlns='jabber:client' from='capulet.example' to='juliet@capulet.example' type='headline'><body>b</body></message>"))
        pubsub.send(Self.message("<message xmlns='jabber:client' from='juliet@capulet.example' type='headline'><body>c</body></message>"))
        #expect(juliet.received() == [
            "<message from='capulet.example' to='juliet@capulet.example' type='headline'><body>b</body></message>",
            "<message from='juliet@capulet.example' to='juliet@capulet.example' type='headline'><body>c</body></message>",
        ])
        pubsub.send(Self.message("<message xmlns='jabber:client' from='capulet.example'><body>b</body></message>"))
        #expect(pubsub.received().map(\.error) == ["modify/jid-malformed"])
    }

    @Test("it may send what the account may: not to whom the account has blocked")
    func sendsToBlocked() throws {
        let (server, pubsub) = try connected { $0.message = .outgoing }
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@montague.example'/></block></iq>")
        pubsub.send(Self.message("<message xmlns='jabber:client' from='juliet@capulet.example' to='tybalt@montague.example' type='chat'><body>b</body></message>"))
        let answers = pubsub.received()
        #expect(answers.map(\.error) == ["cancel/not-acceptable"] && answers.first?.id == "notif1")
        #expect(sent() == [])
    }

    @Test("messages in the names of others, of resources and of nobody are forbidden (§5.1)", arguments: [
        "juliet@capulet.example/balcony", "juliet@verona.example", "romeo@montague.example", "nobody@capulet.example", "verona.example",
    ])
    func forbiddenMessage(_ sender: String) throws {
        let (server, pubsub) = try connected { $0.message = .outgoing }
        let juliet = server.online("juliet/balcony")
        pubsub.send(Self.message("<message xmlns='jabber:client' from='\(sender)' to='juliet@capulet.example' type='chat'><body>b</body></message>"))
        let answers = pubsub.received()
        #expect(answers.map(\.error) == ["auth/forbidden"] && answers.first?.id == "notif1")
        #expect(juliet.received() == [] && pubsub.error == nil)
    }

    @Test("so is everything without the privilege, and from another of its addresses; what is no message is a bad request")
    func refusedMessage() throws {
        let inner = "<message xmlns='jabber:client' from='juliet@capulet.example' to='juliet@capulet.example' type='chat'><body>b</body></message>"
        let without = component(try world { $0.roster = .both })
        without.send(Self.message(inner))
        #expect(without.received().map(\.error) == ["auth/forbidden"])
        #expect(refusals.all.map(\.action) == ["message from juliet@capulet.example"])
        let (server, pubsub) = try connected { $0.message = .outgoing }
        server.createAccount("juliet")
        pubsub.send(Self.message(inner, from: "x@\(Self.name)"))
        pubsub.send(Self.message("<presence xmlns='jabber:client' from='juliet@capulet.example'/>"))
        pubsub.send(Self.message("<message from='juliet@capulet.example' to='juliet@capulet.example'/>"))
        pubsub.send(Self.message("<message xmlns='jabber:client' to='juliet@capulet.example'/>"))
        #expect(pubsub.received().map(\.error) == ["auth/forbidden"] + Array(repeating: "modify/bad-request", count: 3))
        pubsub.send(Self.message("<message xmlns='jabber:client' from='juliet@capulet.example' to='@'/>"))
        #expect(pubsub.received().map(\.error) == ["modify/jid-malformed"])
    }

    // MARK: Requests (§6)

    private static func request(
        _ inner: String, _ type: String = "set", to: String = "juliet@capulet.example", from: String = name, id: String = "priv1"
    ) -> String {
        "<iq from='\(from)' to='\(to)' id='\(id)' type='\(type)'><privileged_iq xmlns='urn:xmpp:privilege:2'>\(inner)</privileged_iq></iq>"
    }
    private static let subscribe = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='n' jid='juliet@capulet.example'/></pubsub>"
    private static let toRomeo = "<iq xmlns='jabber:client' type='set' to='romeo@montague.example' id='sub_1'>\(subscribe)</iq>"
    private func asking() throws -> (TestServer, TestComponent) {
        try connected { $0.requests = ["http://jabber.org/protocol/pubsub": .both, "jabber:iq:roster": .both, "http://jabber.org/protocol/disco#info": .get, "a:b": .get] }
    }

    @Test("it asks somebody elsewhere in an account's name, and gets the answer as it came, under its own names (§6.3)")
    func asksElsewhere() throws {
        let (server, pubsub) = try asking()
        server.createAccount("juliet")
        pubsub.send(Self.request(Self.toRomeo))
        let asked = sent()
        let id = asked.first?.id ?? ""
        #expect(asked == ["<iq from='juliet@capulet.example' to='romeo@montague.example' type='set' id='\(id)'>\(Self.subscribe)</iq>"])
        #expect(id != "sub_1" && pubsub.received() == [])
        let peer = TestPeer(server, ["montague.example": "capulet.example", "evil.example": "capulet.example"])
        for (from, id) in [("romeo@evil.example", id), ("nurse@montague.example", id), ("romeo@montague.example", "sub_1")] {
            peer.send("<iq from='\(from)' to='juliet@capulet.example' id='\(id)' type='result'/>")
        }
        #expect(pubsub.received() == [])
        peer.send("<iq from='romeo@montague.example' to='juliet@capulet.example' id='\(id)' type='result'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>")
        peer.send("<iq from='romeo@montague.example' to='juliet@capulet.example' id='\(id)' type='result'/>")
        #expect(pubsub.received() == ["""
            <iq from='juliet@capulet.example' to='steward.capulet.example' id='priv1' type='result'><privilege xmlns='urn:xmpp:privilege:2'>\
            <forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' from='romeo@montague.example' to='juliet@capulet.example' id='sub_1' type='result'>\
            <pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq></forwarded></privilege></iq>
            """])
    }

    /// The forwarded answers that a component has got.
    private func answers(_ component: TestComponent) -> [ElementView] {
        component.received().compactMap { $0.child("privilege")?.firstChild?.firstChild }
    }

    @Test("the account's own server answers it as it answers the account: about its nodes, its roster, itself")
    func asksHere() throws {
        let (server, pubsub) = try asking()
        let juliet = server.online("juliet/balcony")
        pubsub.send(Self.request("""
            <iq xmlns='jabber:client' type='set' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item id='i'><x xmlns='a:b'/></item>\
            </publish></pubsub></iq>
            """))
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='set' id='2' from='juliet@capulet.example'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.example'/></query></iq>"))
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='3' to='juliet@capulet.example'><query xmlns='jabber:iq:roster'/></iq>", "get"))
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='4' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "get"))
        let answers = answers(pubsub)
        #expect(answers.map { $0.attribute("id") } == ["1", "2", "3", "4"])
        #expect(answers.map { $0.attribute("type") } == Array(repeating: "result", count: 4))
        #expect(answers.map { $0.attribute("to") } == Array(repeating: "juliet@capulet.example", count: 4))
        #expect(answers.dropFirst(2).first?.firstChild?.firstChild?.attribute("jid") == "nurse@capulet.example")
        #expect(juliet.received().contains { $0.child("query")?.firstChild?.attribute("jid") == "nurse@capulet.example" })
        juliet.send("<iq type='get' id='items'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub></iq>")
        #expect(juliet.received().contains { $0.description.contains("a:b") })
    }

    @Test("rooms, other accounts, their sessions and other components answer it as well")
    func asksOthers() throws {
        let (server, pubsub) = try asking()
        server.befriend("juliet", "romeo")
        let romeo = server.online("romeo/orchard")
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='1' to='conference.capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "get"))
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='2' to='romeo@capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "get"))
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='3' to='romeo@capulet.example/orchard'><query xmlns='a:b'/></iq>", "get"))
        let asked = romeo.received()
        #expect(asked.map { $0.element.attribute("from") } == ["juliet@capulet.example"])
        romeo.send("<iq to='juliet@capulet.example' id='\(asked.first?.id ?? "")' type='result'><query xmlns='a:b'/></iq>")
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='4' to='nobody@capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "get"))
        let answers = answers(pubsub)
        #expect(answers.map { $0.attribute("id") } == ["1", "2", "3", "4"])
        #expect(answers.map { $0.attribute("type") } == ["result", "result", "result", "error"])
    }

    @Test("what cannot be delivered, is not allowed to the account, or is not answered in time comes back as the error that the account would get")
    func unanswered() throws {
        let (server, pubsub) = try asking()
        let juliet = server.online("juliet/balcony")
        pubsub.send(Self.request(Self.toRomeo))
        #expect(pubsub.received() == [])
        server.advance(by: .seconds(31))
        let outer = pubsub.received()
        #expect(outer.map(\.error) == ["wait/remote-server-timeout"] && outer.first?.id == "priv1")
        var errors = outer.compactMap { $0.child("privilege")?.firstChild?.firstChild }
        #expect(errors.map { $0.attribute("from") } == ["romeo@montague.example"])
        #expect(errors.first?.firstChild?.firstChild?.localName == "remote-server-timeout")
        wire.refuse(StanzaError(.remoteServerNotFound))
        pubsub.send(Self.request(Self.toRomeo))
        errors = answers(pubsub)
        #expect(errors.first?.firstChild?.firstChild?.localName == "remote-server-not-found")
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></block></iq>")
        pubsub.send(Self.request(Self.toRomeo))
        errors = answers(pubsub)
        #expect(errors.first?.firstChild?.firstChild?.localName == "not-acceptable")
        pubsub.send(Self.request("<iq xmlns='jabber:client' type='get' id='9' to='romeo@capulet.example'><query xmlns='jabber:iq:roster'/></iq>", "get"))
        errors = answers(pubsub)
        #expect(errors.first?.firstChild?.firstChild?.localName == "service-unavailable")
    }

    @Test("requests that wait for answers are bounded; those that are answered make room")
    func boundedRequests() throws {
        let (server, pubsub) = try asking()
        server.createAccount("juliet")
        for _ in 0..<Component.requestsInNameMax { pubsub.send(Self.request(Self.toRomeo)) }
        #expect(pubsub.received() == [])
        pubsub.send(Self.request(Self.toRomeo))
        let refused = answers(pubsub)
        #expect(refused.map { $0.firstChild?.firstChild?.localName } == ["resource-constraint"])
        server.advance(by: .seconds(31))
        #expect(pubsub.received().count == Component.requestsInNameMax)
        pubsub.send(Self.request(Self.toRomeo))
        #expect(pubsub.received() == [])
    }

    @Test("they take no room of what the account asks itself")
    func ownRequests() throws {
        let (server, pubsub) = try asking()
        let juliet = server.online("juliet/balcony")
        for _ in 0..<AwaitedAnswers.countMax { pubsub.send(Self.request(Self.toRomeo)) }
        juliet.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://lute.example' ver='digest'/></presence>")
        #expect(juliet.received().contains { $0.child("query")?.attribute("node") == "http://lute.example#digest" })
        #expect(pubsub.received() == [])
    }

    @Test("whatever §6.3 forbids is forbidden, and recorded", arguments: [
        request("<iq xmlns='jabber:client' type='set' id='1'><x xmlns='a:b'/></iq>"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='c:d'/></iq>", "get"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='a:b'/></iq>", "set"),
        request("<iq xmlns='jabber:client' type='result' id='1'><x xmlns='a:b'/></iq>", "get"),
        request("<iq xmlns='jabber:server' type='get' id='1'><x xmlns='a:b'/></iq>", "get"),
        request("<iq xmlns='jabber:client' type='get' id='1' from='romeo@capulet.example'><x xmlns='a:b'/></iq>", "get"),
        request("<iq xmlns='jabber:client' type='get' id='1' from='juliet@capulet.example/balcony'><x xmlns='a:b'/></iq>", "get"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='a:b'/></iq>", "get", to: "juliet@capulet.example/balcony"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='a:b'/></iq>", "get", to: "capulet.example"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='a:b'/></iq>", "get", to: "juliet@verona.example"),
        request("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='a:b'/></iq>", "get", from: "x@steward.capulet.example"),
    ])
    func forbiddenRequest(_ xml: String) throws {
        let (server, pubsub) = try asking()
        let juliet = server.online("juliet/balcony")
        pubsub.send(xml)
        #expect(pubsub.received().map(\.error) == ["auth/forbidden"])
        #expect(juliet.received() == [] && sent() == [] && refusals.all.count == 1)
    }

    @Test("what is no request is a bad one", arguments: [
        request(""), request("<iq xmlns='jabber:client' type='set' id='1'/>"), request("<iq xmlns='jabber:client' type='set'><x xmlns='a:b'/></iq>"),
        request("<iq xmlns='jabber:client' type='set' id='1'><x xmlns='a:b'/><y xmlns='a:b'/></iq>"), request("<message xmlns='jabber:client'/>"),
    ])
    func badRequest(_ xml: String) throws {
        let (_, pubsub) = try asking()
        pubsub.send(xml)
        #expect(pubsub.received().map(\.error) == ["modify/bad-request"])
    }

    // MARK: Presence (§7)

    @Test("it hears of accounts when they come online and go, and of those that are online when it connects, but not what they say in between")
    func managedPresence() throws {
        let server = try world { $0.presence = .managedEntity }
        let early = server.online("nurse/kitchen")
        server.befriend("juliet", "romeo")
        let pubsub = TestComponent(server, Self.name)
        #expect(pubsub.received().map { $0.element.attribute("from") } == ["capulet.example", "nurse@capulet.example/kitchen"])
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence id='p'><status>here</status></presence>")
        #expect(pubsub.received() == ["<presence from='juliet@capulet.example/balcony' to='steward.capulet.example' id='p'><status>here</status></presence>"])
        juliet.send("<presence><show>away</show></presence>")
        juliet.send("<presence to='romeo@capulet.example' type='subscribe'/>")
        #expect(pubsub.received() == [])
        juliet.send("<presence type='unavailable'/>")
        early.breakConnection()
        #expect(pubsub.received().map { $0.element.attribute("type") } == ["unavailable", "unavailable"])
        let verona = server.client("escalus@verona.example/palace")
        verona.send("<presence/>")
        #expect(pubsub.received() == [])
    }

    @Test("with the privilege 'roster' it hears the presence of contacts: each once, of other servers too, whether the account is online or not")
    func contactsPresence() throws {
        let (server, pubsub) = try connected { $0.presence = .roster; $0.roster = .get }
        let romeo = server.address("romeo@montague.example")
        for name in ["juliet", "nurse"] {
            server.createAccount(name)
            server.edit(name) { .rosterItem($0, RosterItem(contact: romeo, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1)) }
        }
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        for name in ["juliet", "nurse"] { peer.send("<presence from='romeo@montague.example/orchard' to='\(name)@capulet.example'/>") }
        #expect(pubsub.received() == ["<presence from='romeo@montague.example/orchard' to='steward.capulet.example'/>"])
        peer.send("<presence from='romeo@montague.example/orchard' to='juliet@capulet.example'><show>away</show></presence>")
        #expect(pubsub.received().count == 1)
        peer.send("<presence from='tybalt@montague.example/street' to='juliet@capulet.example'/>")
        peer.send("<presence from='romeo@montague.example' to='juliet@capulet.example' type='subscribe'/>")
        #expect(pubsub.received() == [])
        for name in ["juliet", "nurse"] { peer.send("<presence from='romeo@montague.example/orchard' to='\(name)@capulet.example' type='unavailable'/>") }
        #expect(pubsub.received() == ["<presence from='romeo@montague.example/orchard' to='steward.capulet.example' type='unavailable'/>"])
    }

    @Test("contacts at other domains of this server are heard as well, with all that they say; and a server that vanishes takes its users along")
    func localContacts() throws {
        let (server, pubsub) = try connected { $0.presence = .roster; $0.roster = .get }
        server.befriend("juliet", "romeo@verona.example")
        let romeo = server.client("romeo@verona.example/orchard")
        romeo.send("<presence/>")
        romeo.send("<presence><show>dnd</show></presence>")
        #expect(pubsub.received().map { $0.element.attribute("from") } == Array(repeating: "romeo@verona.example/orchard", count: 2))
        let tybalt = server.address("tybalt@montague.example")
        server.edit("juliet") { .rosterItem($0, RosterItem(contact: tybalt, subscription: SubscriptionState(to: true, isInRoster: true), version: 2)) }
        let juliet = server.online("juliet/balcony")
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.send("<presence from='tybalt@montague.example/street' to='juliet@capulet.example'/>")
        _ = (juliet.received(), pubsub.received())
        server.router.peerVanished("montague.example", from: "capulet.example", server.context)
        server.run()
        #expect(pubsub.received() == ["<presence from='tybalt@montague.example/street' to='steward.capulet.example' type='unavailable'/>"])
    }

    @Test("when it connects it is told of contacts who are there, and those of other servers are asked, once each")
    func contactsAtStart() throws {
        let server = try world { $0.presence = .roster; $0.roster = .get }
        server.befriend("juliet", "romeo@verona.example")
        let tybalt = server.address("tybalt@montague.example")
        server.edit("juliet") { .rosterItem($0, RosterItem(contact: tybalt, subscription: SubscriptionState(to: true, isInRoster: true), version: 2)) }
        _ = server.online("juliet/balcony")
        _ = server.online("juliet/chamber")
        _ = server.online("romeo@verona.example/orchard")
        TestPeer(server, ["montague.example": "capulet.example"]).send("<presence from='tybalt@montague.example/street' to='juliet@capulet.example'/>")
        _ = sent()
        let told = TestComponent(server, Self.name).received().compactMap { $0.element.localName == "presence" ? $0.element.attribute("from") : nil }
        #expect(Set(told) == ["juliet@capulet.example/balcony", "juliet@capulet.example/chamber", "romeo@verona.example/orchard"] && told.count == 3)
        #expect(sent() == ["<presence from='juliet@capulet.example' to='tybalt@montague.example' type='probe'/>"])
    }

    @Test("who may not read rosters does not hear of contacts (§7.4)")
    func contactsNeedRoster() throws {
        let (server, pubsub) = try connected { $0.presence = .roster; $0.roster = .set }
        server.befriend("juliet", "romeo@verona.example")
        let romeo = server.client("romeo@verona.example/orchard")
        romeo.send("<presence/>")
        #expect(pubsub.received() == [])
    }
}

/// What was refused.
final class Refusals: AuditSink {
    private let refusals = Mutex<[Refusal]>([])
    var all: [Refusal] { refusals.withLock { $0 } }
    func record(_ event: AuditEvent) {
        if case .refused(let refusal) = event { refusals.withLock { $0.append(refusal) } }
    }
}
