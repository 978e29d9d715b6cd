import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("components that answer in the server's place (XEP-0355)")
struct NamespaceDelegationTests {
    private let wire = TestWire()
    private static let name = "steward.capulet.example"
    private static let pubsub = "http://jabber.org/protocol/pubsub"

    private static func settings(_ delegations: [Delegation], domains: [String] = ["capulet.example"]) throws -> ComponentSettings {
        let powers = ComponentPowers(domains: Set(try domains.map { try BareJID(parsing: $0) }), delegations: delegations)
        return ComponentSettings(try BareJID(parsing: name), domain: try BareJID(parsing: "capulet.example"), secret: [1], powers: powers)
    }

    private func world(_ delegations: [Delegation], domains: [String] = ["capulet.example"]) throws -> TestServer {
        TestServer(domains: ["capulet.example", "verona.example"], remote: wire, components: [try Self.settings(delegations, domains: domains)])
    }

    /// Connected, and has said that it adds nothing to what the server says of itself.
    private func component(_ server: TestServer) -> TestComponent {
        let component = TestComponent(server, Self.name)
        for question in component.received() where question.element.attribute("type") == "get" {
            component.send("<iq from='\(Self.name)' to='capulet.example' id='\(question.id ?? "")' type='error'><error type='cancel'/></iq>")
        }
        return component
    }

    /// The answer of a component to what was forwarded to it.
    private static func answer(_ forwarded: TestStanza?, _ inner: String, type: String = "result", from: String = name) -> String {
        """
        <iq from='\(from)' to='capulet.example' id='\(forwarded?.id ?? "")' type='\(type)'><delegation xmlns='urn:xmpp:delegation:2'>\
        <forwarded xmlns='urn:xmpp:forward:0'>\(inner)</forwarded></delegation></iq>
        """
    }

    // MARK: What it is told (§4.2)

    @Test("it is told what it answers for, and asked what it can do there, for domains and for accounts (§7.2)")
    func announced() throws {
        let server = try world([Delegation(Self.pubsub), Delegation("urn:xmpp:mam:2", attributes: ["node"])])
        let told = TestComponent(server, Self.name).received()
        #expect(told.first == """
            <message from='capulet.example' to='steward.capulet.example' id='\(told.first?.id ?? "")'><delegation xmlns='urn:xmpp:delegation:2'>\
            <delegated namespace='http://jabber.org/protocol/pubsub'/><delegated namespace='urn:xmpp:mam:2'><attribute name='node'/></delegated>\
            </delegation></message>
            """)
        let nodes = told.dropFirst().map { $0.child("query")?.attribute("node") }
        #expect(nodes == [
            "urn:xmpp:delegation:2::http://jabber.org/protocol/pubsub", "urn:xmpp:delegation:2:bare:http://jabber.org/protocol/pubsub",
            "urn:xmpp:delegation:2::urn:xmpp:mam:2", "urn:xmpp:delegation:2:bare:urn:xmpp:mam:2",
        ])
    }

    @Test("a reload tells what it answers for from then on, also if that is nothing")
    func reloaded() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        server.components.apply([try Self.settings([Delegation("a:b")])])
        server.run()
        #expect(component.received() == [])
        server.components.apply([try Self.settings([])])
        server.run()
        let told = component.received()
        #expect(told == ["<message from='capulet.example' to='steward.capulet.example' id='\(told.first?.id ?? "")'><delegation xmlns='urn:xmpp:delegation:2'/></message>"])
    }

    // MARK: Requests (§4.3)

    @Test("a request to one's own account, to the domain, to another's account is forwarded as it came, and the answer is the server's")
    func forwarded() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        for to in [nil, "juliet@capulet.example", "capulet.example", "romeo@capulet.example"] {
            let address = to.map { " to='\($0)'" } ?? ""
            juliet.send("<iq type='set' id='q'\(address)><query xmlns='a:b' node='n'><x/></query></iq>")
            let forwarded = component.received().first
            #expect(forwarded == """
                <iq from='capulet.example' to='steward.capulet.example' id='\(forwarded?.id ?? "")' type='set'><delegation xmlns='urn:xmpp:delegation:2'>\
                <forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' from='juliet@capulet.example/balcony' type='set' id='q'\(address)>\
                <query xmlns='a:b' node='n'><x/></query></iq></forwarded></delegation></iq>
                """)
            #expect(juliet.received() == [])
            let from = to.map { " from='\($0)'" } ?? ""
            component.send(Self.answer(forwarded, "<iq xmlns='jabber:client'\(from) to='juliet@capulet.example/balcony' id='q' type='result'><done xmlns='a:b'/></iq>"))
            #expect(juliet.received() == ["<iq\(from) to='juliet@capulet.example/balcony' id='q' type='result'><done xmlns='a:b'/></iq>"])
        }
    }

    @Test("an answer need not say who it is from, nor contain anything")
    func leanAnswer() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='q' to='capulet.example'><query xmlns='a:b'/></iq>")
        component.send(Self.answer(component.received().first, "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='result'/>"))
        #expect(juliet.received() == ["<iq from='capulet.example' to='juliet@capulet.example/balcony' id='q' type='result'/>"])
    }

    @Test("what comes from other servers is forwarded and answered as well, whether there is such an account or not", arguments: ["juliet", "nobody"])
    func fromElsewhere(_ name: String) throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        server.createAccount("juliet")
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.send("<iq from='romeo@montague.example/o' to='\(name)@capulet.example' type='get' id='q'><query xmlns='a:b'/></iq>")
        let forwarded = component.received().first
        #expect(forwarded?.child("delegation") != nil)
        component.send(Self.answer(forwarded, "<iq xmlns='jabber:client' from='\(name)@capulet.example' to='romeo@montague.example/o' id='q' type='result'/>"))
        #expect(wire.take().map(TestStanza.init) == ["<iq from='\(name)@capulet.example' to='romeo@montague.example/o' id='q' type='result'/>"])
    }

    @Test("an error that it forwards is told as the server's, with all that is in it")
    func forwardedError() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='q'><query xmlns='a:b'/></iq>")
        let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><special xmlns='a:b'/></error>"
        component.send(Self.answer(component.received().first, "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='error'>\(error)</iq>"))
        #expect(juliet.received() == ["<iq to='juliet@capulet.example/balcony' id='q' type='error'>\(error)</iq>"])
    }

    @Test("an answer to something else, for somebody else, of somebody else, or none at all is service-unavailable", arguments: [
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='other' type='result'/>",
        "<iq xmlns='jabber:client' to='romeo@capulet.example/balcony' id='q' type='result'/>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example' id='q' type='result'/>",
        "<iq xmlns='jabber:client' id='q' type='result'/>",
        "<iq xmlns='jabber:client' from='romeo@capulet.example' to='juliet@capulet.example/balcony' id='q' type='result'/>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='set'><x xmlns='a:b'/></iq>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q'/>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='error'/>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='error'><error type='cancel'/></iq>",
        "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='result'><a xmlns='a:b'/><b xmlns='a:b'/></iq>",
        "<iq xmlns='urn:other' to='juliet@capulet.example/balcony' id='q' type='result'/>",
        "<message xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q'/>", "",
    ])
    func badAnswer(_ inner: String) throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='q'><query xmlns='a:b'/></iq>")
        component.send(Self.answer(component.received().first, inner))
        #expect(juliet.received().map(\.error) == ["cancel/service-unavailable"])
    }

    @Test("an answer counts only from the component's own address, and once")
    func foreignAnswer() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='q'><query xmlns='a:b'/></iq>")
        let forwarded = component.received().first
        let inner = "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='q' type='result'/>"
        component.send(Self.answer(forwarded, inner, from: "x@\(Self.name)"))
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.send(Self.answer(forwarded, inner, from: "montague.example"))
        #expect(juliet.received() == [])
        component.send(Self.answer(forwarded, inner))
        component.send(Self.answer(forwarded, inner))
        #expect(juliet.received().count == 1)
    }

    @Test("its error, its silence, its end, and that it is not there are service-unavailable (N.B. 1 and 2)")
    func unavailable() throws {
        let server = try world([Delegation("a:b")])
        let juliet = server.online("juliet/balcony")
        func ask() { juliet.send("<iq type='get' id='q'><query xmlns='a:b'/></iq>") }
        ask()
        let unavailable = ["cancel/service-unavailable"]
        #expect(juliet.received().map(\.error) == unavailable)
        let component = component(server)
        ask()
        component.send("<iq from='\(Self.name)' to='capulet.example' id='\(component.received().first?.id ?? "")' type='error'><error type='cancel'/></iq>")
        #expect(juliet.received().map(\.error) == unavailable)
        ask()
        server.advance(by: .seconds(29))
        #expect(juliet.received() == [])
        server.advance(by: .seconds(2))
        #expect(juliet.received().map(\.error) == unavailable)
        ask()
        component.breakConnection()
        #expect(juliet.received().map(\.error) == unavailable)
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("of one account so many requests wait, and further ones are refused; nobody else's are")
    func bounded() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let (juliet, romeo) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        let most = Component.Limits().requestsOfOneMax
        for number in 0..<most { juliet.send("<iq type='get' id='\(number)'><query xmlns='a:b'/></iq>") }
        #expect(component.received().count == most && juliet.received() == [])
        juliet.send("<iq type='get' id='more'><query xmlns='a:b'/></iq>")
        #expect(juliet.received().map(\.error) == ["cancel/service-unavailable"])
        romeo.send("<iq type='get' id='r'><query xmlns='a:b'/></iq>")
        #expect(component.received().count == 1)
        server.advance(by: .seconds(31))
        #expect(juliet.received().count == most)
        juliet.send("<iq type='get' id='more'><query xmlns='a:b'/></iq>")
        #expect(component.received().count == 1 && juliet.received() == [])
    }

    @Test("all addresses of another server count as one")
    func boundedElsewhere() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        let most = Component.Limits().requestsOfOneMax
        for number in 0...most { peer.send("<iq from='r\(number)@montague.example' to='juliet@capulet.example' type='get' id='q'><query xmlns='a:b'/></iq>") }
        #expect(component.received().count == most)
        #expect(wire.take().map(TestStanza.init).map(\.error) == ["cancel/service-unavailable"])
    }

    @Test("only requests with the attribute are meant where one is named (N.B. 3), only of the namespace, and only to domains and accounts")
    func meant() throws {
        let server = try world([Delegation("urn:xmpp:ping", attributes: ["node"])])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='1' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(juliet.received().map { $0.element.attribute("type") } == ["result"])
        juliet.send("<iq type='get' id='2' to='capulet.example'><ping xmlns='urn:xmpp:ping' node=''/></iq>")
        #expect(component.received().count == 1)
        juliet.send("<iq type='get' id='3' to='capulet.example'><query xmlns='jabber:iq:version' node=''/></iq>")
        juliet.send("<iq type='get' id='4' to='conference.capulet.example'><ping xmlns='urn:xmpp:ping' node=''/></iq>")
        juliet.send("<iq type='get' id='5' to='verona.example'><ping xmlns='urn:xmpp:ping' node=''/></iq>")
        juliet.send("<iq type='get' id='6' to='juliet@capulet.example/balcony'><ping xmlns='urn:xmpp:ping' node=''/></iq>")
        #expect(component.received() == [])
    }

    @Test("its own requests in the namespace are the server's to answer (§4.3.1)")
    func ownRequests() throws {
        let server = try world([Delegation("urn:xmpp:ping")])
        let component = component(server)
        component.send("<iq from='\(Self.name)' to='capulet.example' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(component.received().map { $0.element.attribute("type") } == ["result"])
    }

    @Test("so are those that it makes in an account's name (XEP-0356)")
    func ownRequestsInName() throws {
        var settings = try Self.settings([Delegation("urn:xmpp:ping")])
        settings.powers.privileges.requests = ["urn:xmpp:ping": .get]
        let server = TestServer(components: [settings])
        let component = component(server)
        server.createAccount("juliet")
        component.send("""
            <iq from='\(Self.name)' to='juliet@capulet.example' id='1' type='get'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
            <iq xmlns='jabber:client' id='p' to='capulet.example' type='get'><ping xmlns='urn:xmpp:ping'/></iq></privileged_iq></iq>
            """)
        let answer = component.received().first?.child("privilege")?.firstChild?.firstChild
        #expect(answer?.attribute("type") == "result" && answer?.attribute("id") == "p")
    }

    @Test("whom an account blocks, his requests do not get to the component")
    func blocked() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        let romeo = server.online("romeo/orchard")
        romeo.send("<iq type='get' id='q' to='juliet@capulet.example'><query xmlns='a:b'/></iq>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"] && component.received() == [])
    }

    // MARK: Service discovery (§7)

    private func features(_ client: TestClient, of address: String, node: String? = nil) -> (features: [String], identities: [String]) {
        client.forget()
        client.send("<iq type='get' id='d' to='\(address)'><query xmlns='http://jabber.org/protocol/disco#info'\(node.map { " node='\($0)'" } ?? "")/></iq>")
        guard let query = client.received().first(where: { $0.id == "d" })?.child("query") else { return ([], []) }
        return (
            query.children.filter { $0.localName == "feature" }.compactMap { $0.attribute("var") },
            query.children.filter { $0.localName == "identity" }.compactMap { "\($0.attribute("category") ?? "")/\($0.attribute("type") ?? "")" }
        )
    }

    /// Connected, and has said what it does for domains and for accounts.
    private func publisher(_ server: TestServer) -> TestComponent {
        let component = TestComponent(server, Self.name)
        for question in component.received() {
            guard let node = question.child("query")?.attribute("node") else { continue }
            let isForAccounts = node.contains(":bare:")
            let content =
                isForAccounts
                ? "<identity category='pubsub' type='pep'/><feature var='\(Self.pubsub)#publish'/><feature var='\(Self.pubsub)#special'/>"
                : "<feature var='\(Self.pubsub)'/><feature var='urn:more'/>"
            component.send("""
                <iq from='\(Self.name)' to='capulet.example' id='\(question.id ?? "")' type='result'>\
                <query xmlns='http://jabber.org/protocol/disco#info' node='\(node)'>\(content)</query></iq>
                """)
        }
        return component
    }

    @Test("what the server says of itself and of accounts has what the component does in place of its own, while that is connected (§7.2)")
    func nested() throws {
        let server = try world([Delegation(Self.pubsub)])
        let juliet = server.online("juliet/balcony")
        var own = features(juliet, of: "juliet@capulet.example")
        #expect(!own.features.contains { $0.hasPrefix(Self.pubsub) } && own.identities == ["account/registered"])
        let component = publisher(server)
        own = features(juliet, of: "juliet@capulet.example")
        #expect(own.features.filter { $0.hasPrefix(Self.pubsub) } == ["\(Self.pubsub)#publish", "\(Self.pubsub)#special"])
        #expect(own.identities == ["account/registered", "pubsub/pep"])
        let domain = features(juliet, of: "capulet.example")
        #expect(Set(domain.features).isSuperset(of: [Self.pubsub, "urn:more", "urn:xmpp:delegation:2"]) && domain.features == domain.features.sorted())
        #expect(!features(juliet, of: "verona.example").features.contains("urn:more"))
        component.breakConnection()
        #expect(features(juliet, of: "capulet.example").features.contains("urn:xmpp:delegation:2"))
        #expect(!features(juliet, of: "capulet.example").features.contains("urn:more"))
        #expect(features(juliet, of: "juliet@capulet.example").identities == ["account/registered"])
    }

    @Test("the digest of what the server can do is that of what it says at the moment (XEP-0115)")
    func digest() throws {
        let server = try world([Delegation(Self.pubsub)])
        let host = try #require(server.context.hosts.host(of: server.domain))
        func announced() -> String {
            var writer = XMLWriter()
            server.context.hosts.writeStreamFeatures(for: server.address("juliet"), to: &writer)
            return String(buffer: writer.buffer)
        }
        let before = EntityCapabilities.verificationString(of: DiscoInfo(ofHost: host))
        #expect(announced().contains(before))
        let component = publisher(server)
        let after = EntityCapabilities.verificationString(of: DiscoInfo(ofHost: host))
        #expect(after != before && announced().contains(after) && !component.isEnded)
    }

    @Test("a component says no more than so much of itself")
    func nestedBound() throws {
        let server = try world([Delegation("a:b")])
        let component = TestComponent(server, Self.name)
        guard let question = component.received().first(where: { $0.child("query")?.attribute("node") == "urn:xmpp:delegation:2::a:b" }) else {
            Issue.record("it was not asked")
            return
        }
        let content = (0...256).map { "<feature var='x\($0)'/>" }.joined()
        component.send("""
            <iq from='\(Self.name)' to='capulet.example' id='\(question.id ?? "")' type='result'>\
            <query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query></iq>
            """)
        let told = features(server.online("juliet/balcony"), of: "capulet.example").features
        #expect(told.contains("x255") && !told.contains("x256"))
    }

    @Test("nodes of accounts, and what accounts consist of, are its affair where that is delegated (§7.2.4, §7.2.5); the account itself is not")
    func remaining() throws {
        let server = try world([Delegation(Self.pubsub), Delegation(NamespaceDelegation.remainingInfo), Delegation(NamespaceDelegation.remainingItems)])
        let component = publisher(server)
        let juliet = server.online("juliet/balcony")
        #expect(features(juliet, of: "juliet@capulet.example").identities.contains("account/registered") && component.received() == [])
        for query in [
            "<query xmlns='http://jabber.org/protocol/disco#info' node='urn:xmpp:microblog:0'/>", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
            "<query xmlns='http://jabber.org/protocol/disco#items' node='urn:xmpp:microblog:0'/>",
        ] {
            juliet.send("<iq type='get' id='d' to='juliet@capulet.example'>\(query)</iq>")
            let forwarded = component.received().first
            #expect(forwarded?.child("delegation") != nil)
            component.send(Self.answer(forwarded, "<iq xmlns='jabber:client' to='juliet@capulet.example/balcony' id='d' type='result'>\(query)</iq>"))
            #expect(juliet.received() == ["<iq from='juliet@capulet.example' to='juliet@capulet.example/balcony' id='d' type='result'>\(query)</iq>"])
        }
        juliet.send("<iq type='get' id='e' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        #expect(juliet.received().first?.child("query")?.children.contains { $0.attribute("jid") == "conference.capulet.example" } == true)
        #expect(component.received() == [])
    }

    @Test("without that they are the server's")
    func notRemaining() throws {
        let server = try world([Delegation("a:b")])
        let component = component(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='d' to='juliet@capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        #expect(juliet.received().map { $0.element.attribute("type") } == ["result"] && component.received() == [])
    }

    // MARK: Publishing

    @Test("where what accounts publish is the component's, it is not the server's: neither their nodes nor what goes along with these")
    func publishing() throws {
        let server = try world([Delegation(Self.pubsub)])
        let component = publisher(server)
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='p'><pubsub xmlns='\(Self.pubsub)'><publish node='n'><item id='i'><x xmlns='a:b'/></item></publish></pubsub></iq>")
        #expect(component.received().count == 1 && juliet.received() == [])
        juliet.send("<iq type='get' id='o'><pubsub xmlns='\(Self.pubsub)#owner'><configure node='n'/></pubsub></iq>")
        #expect(juliet.received().map(\.error) == ["cancel/service-unavailable"])
        let own = features(juliet, of: "juliet@capulet.example").features
        #expect(!own.contains("urn:xmpp:bookmarks:1#compat") && !own.contains("urn:xmpp:pep-vcard-conversion:0"))
        juliet.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>")
        #expect(juliet.received().map { $0.element.attribute("type") } == ["result"])
    }

    // MARK: What stays with the server

    @Test("what the server decides by itself is not delegated (§10)", arguments: [
        "jabber:iq:roster", "urn:xmpp:blocking", "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "urn:xmpp:delegation:2",
        "urn:xmpp:delegation:2:bare:disco#info:other", "urn:xmpp:privilege:2", "urn:ietf:params:xml:ns:xmpp-sasl", "urn:ietf:params:xml:ns:xmpp-bind", "",
    ])
    func kept(_ namespace: String) { #expect(!NamespaceDelegation.mayDelegate(namespace)) }

    @Test("all else may be", arguments: [pubsub, "urn:xmpp:mam:2", "a:b", NamespaceDelegation.remainingInfo, NamespaceDelegation.remainingItems])
    func delegated(_ namespace: String) { #expect(NamespaceDelegation.mayDelegate(namespace)) }
}
