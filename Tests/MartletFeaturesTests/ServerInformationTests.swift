import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

private let capulet = RoomOnPaper.bare("capulet.example")
private let service = RoomOnPaper.bare("pubsub.capulet.example")

@Suite("XEP-0485 PubSub Server Information: what is published")
struct ServerInformationTests {
    private func content(_ connections: [ServerInformation.Connection], named: Set<String> = []) -> String {
        String(buffer: ServerInformation.content(of: capulet, connections, named: named))
    }

    @Test("streams of domains that agree, by name, and of others, without (§4, §7)")
    func connections() {
        let connections: [ServerInformation.Connection] = [
            .init("montague.example", .outgoing), .init("verona.example", .bidi), .init("montague.example", .incoming), .init("abbey.example", .incoming),
        ]
        #expect(
            content(connections, named: ["montague.example", "mantua.example"]) == """
                <serverinfo xmlns='urn:xmpp:serverinfo:0'><domain name='capulet.example'><federation><remote-domain name='montague.example'>\
                <connection type='incoming'/><connection type='outgoing'/></remote-domain><remote-domain><connection type='bidi'/></remote-domain>\
                <remote-domain><connection type='incoming'/></remote-domain></federation></domain></serverinfo>
                """)
        #expect(content([]) == "<serverinfo xmlns='urn:xmpp:serverinfo:0'><domain name='capulet.example'><federation/></domain></serverinfo>")
    }

    @Test("the order of those who are not named does not say who they are")
    func order() {
        #expect(content([.init("a", .incoming), .init("b", .bidi)]) == content([.init("a", .bidi), .init("b", .incoming)]))
    }

    @Test("of so many domains, and no more; both sides")
    func many() {
        for (count, told) in [(1_000, 1_000), (1_001, 1_000)] {
            let connections = (0..<count).map { ServerInformation.Connection("s\($0).example", .bidi) }
            #expect(content(connections).split(separator: "<remote-domain>").count - 1 == told)
        }
    }

    @Test("a domain announces it only where it is published, in one form with its contacts (§3)")
    func announced() throws {
        var contacts = ContactAddresses.Addresses()
        contacts.abuse = ["mailto:abuse@capulet.example"]
        for at in [nil, service] {
            let features: [any Feature] = [ContactAddresses(contacts), ServerInformation(at: at)]
            let info = DiscoInfo(ofHost: try Host(domain: capulet, features: features))
            #expect(info.features == (at == nil ? [] : ["urn:xmpp:serverinfo:0"]))
            var fields = [DiscoForm.Field("abuse-addresses", ["mailto:abuse@capulet.example"], .listMulti)]
            if at != nil { fields.append(.init("serverinfo-pubsub-node", ["xmpp:pubsub.capulet.example?;node=serverinfo"])) }
            #expect(info.forms == [.init(type: "http://jabber.org/network/serverinfo", fields: fields)])
        }
    }
}

@Suite("XEP-0485 PubSub Server Information: the node")
struct ServerInformationNodeTests {
    private let server = TestServer()
    private let pubsub = PubSubService(.init())

    private func publish(_ connections: [ServerInformation.Connection], isNews: Bool = true) -> Bool {
        let content = ServerInformation.content(of: capulet, connections, named: [])
        let (router, mailbox, pubsub) = (server.router, server.context.mailbox, pubsub)
        return server.wait {
            do throws(StanzaError) {
                try await ServerInformation.publish(content, isNews: isNews, of: capulet, by: pubsub, at: service, router, mailbox)
                return true
            } catch { return false }
        } ?? false
    }

    private func withdraw() {
        let (router, mailbox, pubsub) = (server.router, server.context.mailbox, pubsub)
        _ = server.wait { try? await ServerInformation.withdraw(of: capulet, by: pubsub, at: service, router, mailbox) }
    }

    private func ask(_ type: String, _ content: String, _ client: TestClient) -> TestStanza? {
        client.send("<iq type='\(type)' id='q' to='\(service)'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\(content)</pubsub></iq>")
        return client.receivedBesidesPresence().first { $0.id == "q" }
    }

    @Test("it has one item, which everybody reads and nobody else writes (§5)")
    func item() {
        let orchard = server.online("romeo/orchard")
        #expect(ask("get", "<items node='serverinfo'/>", orchard)?.error == "cancel/item-not-found")
        for kind in [ServerInformation.Connection.Kind.incoming, .bidi] {
            #expect(publish([.init("montague.example", kind)]))
            let items = ask("get", "<items node='serverinfo'/>", orchard)?.child("pubsub")?.firstChild?.children.map(\.self) ?? []
            #expect(items.map { $0.attribute("id") } == ["current"])
            let remote = items.first?.firstChild?.firstChild?.firstChild?.firstChild
            #expect(remote?.firstChild?.attribute("type") == kind.rawValue)
        }
        #expect(ask("set", "<publish node='serverinfo'><item id='current'><lies xmlns='e'/></item></publish>", orchard)?.error == "auth/forbidden")
        orchard.send("<iq type='get' id='d' to='\(service)'><query xmlns='http://jabber.org/protocol/disco#info' node='serverinfo'/></iq>")
        #expect(orchard.receivedBesidesPresence().first?.description.contains("<identity category='pubsub' name='Server information' type='leaf'/>") == true)
    }

    @Test("what has not changed is published again only where an administrator has taken it away")
    func unchanged() {
        let orchard = server.online("romeo/orchard")
        #expect(publish([]))
        #expect(ask("set", "<subscribe node='serverinfo' jid='romeo@capulet.example'/>", orchard)?.error == nil)
        _ = orchard.received()
        #expect(publish([], isNews: false))
        #expect(orchard.received().isEmpty)
        withdraw()
        #expect(publish([], isNews: false))
        #expect(ask("get", "<items node='serverinfo'/>", orchard)?.child("pubsub")?.firstChild?.firstChild != nil)
    }

    @Test("its name is the operator's, whether there is such a node or not (§7)")
    func reserved() {
        let orchard = server.online("romeo/orchard")
        #expect(ask("set", "<create node='serverinfo'/>", orchard)?.error == "auth/forbidden")
        #expect(ask("set", "<create node='serverinfos'/>", orchard)?.error == nil)
    }

    @Test("what is not wanted any more is taken away, and nothing else")
    func withdrawn() {
        let orchard = server.online("romeo/orchard")
        #expect(publish([]))
        withdraw()
        #expect(ask("get", "<items node='serverinfo'/>", orchard)?.error == "cancel/item-not-found")
        var settings = PubSubService.Settings()
        settings.operators = [RoomOnPaper.bare("romeo@capulet.example")]
        let other = TestServer(pubsub: settings)
        let romeo = other.online("romeo/orchard")
        #expect(ask("set", "<create node='serverinfo'/>", romeo)?.error == nil)
        let (router, mailbox, pubsub) = (other.router, other.context.mailbox, PubSubService(settings))
        _ = other.wait { try? await ServerInformation.withdraw(of: capulet, by: pubsub, at: service, router, mailbox) }
        #expect(ask("get", "<items node='serverinfo'/>", romeo)?.error == nil)
    }
}

@Suite("XEP-0485 PubSub Server Information: who agrees to be named")
struct ServerInformationAgreementTests {
    private let start = ManualTime.start
    private let lifetime = ServerInformation.Agreements.lifetime

    private func answer(_ content: String) -> Stanza? {
        let xml = "<iq type='result' id='1' from='montague.example'><query xmlns='http://jabber.org/protocol/disco#info'>\(content)</query></iq>"
        return Stanza(sent: EncodedStanza(ByteBuffer(string: xml)))
    }

    @Test("whoever announces the feature; nothing else counts (§7)")
    func agreement() {
        #expect(ServerInformation.isAgreement(answer("<feature var='urn:xmpp:ping'/><feature var='urn:xmpp:serverinfo:0'/>")))
        for content in ["", "<feature var='urn:xmpp:serverinfo:1'/>", "<identity category='urn:xmpp:serverinfo:0'/>", "<feature/>"] {
            #expect(!ServerInformation.isAgreement(answer(content)), "\(content)")
        }
        #expect(!ServerInformation.isAgreement(nil))
    }

    @Test("an answer is believed for so long, and asked for anew before; both sides")
    func lifetimes() {
        var agreements = ServerInformation.Agreements()
        agreements.note("a", agrees: true, at: start)
        agreements.note("b", agrees: false, at: start)
        #expect(agreements.agreeing(at: start) == ["a"])
        #expect(agreements.agreeing(at: start + lifetime - 1) == ["a"] && agreements.agreeing(at: start + lifetime).isEmpty)
        #expect(agreements.agreeing(at: start - 1).isEmpty)
        let early = agreements.questions(about: ["a", "b", "c"], at: start + lifetime / 2 - 1)
        #expect(early == ["c"])
        let late = agreements.questions(about: ["a", "b", "c"], at: start + lifetime / 2)
        #expect(late == ["c", "a", "b"])
        agreements.note("a", agrees: false, at: start + 1)
        #expect(agreements.agreeing(at: start + 1).isEmpty)
    }

    @Test("so many are asked in a turn, and so many remembered; both sides")
    func many() {
        typealias Agreements = ServerInformation.Agreements
        for count in [Agreements.questionsMax, Agreements.questionsMax + 1] {
            var agreements = Agreements()
            let questions = agreements.questions(about: Set((0..<count).map { "s\($0)" }), at: start)
            #expect(questions.count == Agreements.questionsMax)
        }
        for (count, room) in [(Agreements.countMax - 1, 1), (Agreements.countMax, 0)] {
            var agreements = Agreements()
            for number in 0..<count { agreements.note("s\(number)", agrees: true, at: start) }
            let questions = agreements.questions(about: ["x", "y"], at: start)
            #expect(questions.count == room)
        }
    }
}
