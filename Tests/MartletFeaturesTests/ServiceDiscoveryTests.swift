import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0030 Service Discovery, XEP-0115 Entity Capabilities, XEP-0157 Contact Addresses")
struct ServiceDiscoveryTests {
    private let server = TestServer()

    private func info(_ client: TestClient, of address: String?, node: String? = nil) -> TestStanza? {
        client.forget()
        let to = address.map { " to='\($0)'" } ?? ""
        let node = node.map { " node='\($0)'" } ?? ""
        client.send("<iq type='get' id='d1'\(to)><query xmlns='http://jabber.org/protocol/disco#info'\(node)/></iq>")
        return client.received().first
    }

    private func features(_ stanza: TestStanza?) -> [String] {
        stanza?.child("query")?.children.compactMap { $0.isNamed("feature", "http://jabber.org/protocol/disco#info") ? $0.attribute("var") : nil } ?? []
    }

    @Test("the domain is a server for instant messaging and names what it does, each once")
    func host() {
        let info = info(server.online("juliet/balcony"), of: "capulet.example")
        let identity = info?.child("query")?.firstChild
        #expect(identity?.attribute("category") == "server")
        #expect(identity?.attribute("type") == "im")
        let features = features(info)
        #expect(Set(features).count == features.count)
        for expected in ["http://jabber.org/protocol/disco#info", "msgoffline", "urn:xmpp:carbons:2", "vcard-temp", "jabber:iq:last"] {
            #expect(features.contains(expected))
        }
        #expect(!features.contains("urn:xmpp:hints"))
    }

    @Test("an account tells its owner and those who see its presence, to others there is none (§8)")
    func account() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        let paris = server.online("paris/street")
        for asked in [info(juliet, of: nil), info(juliet, of: "juliet@capulet.example"), info(romeo, of: "juliet@capulet.example")] {
            #expect(asked?.child("query")?.firstChild?.attribute("category") == "account")
            #expect(features(asked).contains("urn:xmpp:ping"))
        }
        let refused = [info(paris, of: "juliet@capulet.example"), info(paris, of: "nobody@capulet.example")]
        #expect(refused.map { $0?.error } == ["cancel/service-unavailable", "cancel/service-unavailable"])
    }

    @Test("an unknown node is not found, at the domain and at an account (§7)")
    func unknownNode() {
        let juliet = server.online("juliet/balcony")
        #expect(info(juliet, of: "capulet.example", node: "urn:example")?.error == "cancel/item-not-found")
        #expect(info(juliet, of: nil, node: "urn:example")?.error == "cancel/item-not-found")
    }

    @Test("the domain names its rooms (§4.1)")
    func items() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='d1' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        #expect(juliet.received() == [
            """
            <iq type='result' id='d1' from='capulet.example' to='juliet@capulet.example/balcony'>\
            <query xmlns='http://jabber.org/protocol/disco#items'><item jid='conference.capulet.example' name='Rooms'/></query></iq>
            """
        ])
    }

    @Test("the node of the domain's capabilities has the domain's information (XEP-0115 §6.2)")
    func capabilities() throws {
        let juliet = server.online("juliet/balcony")
        let host = try #require(server.context.hosts.host(of: server.domain))
        let node = EntityCapabilities.node(of: host)
        let info = info(juliet, of: "capulet.example", node: node)
        #expect(info?.child("query")?.attribute("node") == node)
        #expect(features(info).contains("http://jabber.org/protocol/caps"))
        var writer = XMLWriter()
        EntityCapabilities().writeStreamFeatures(to: &writer, of: host)
        let c = try parseElement(writer.buffer, limits: .authenticated)
        #expect("\(c.attribute("node") ?? "")#\(c.attribute("ver") ?? "")" == node)
    }

    @Test("the verification strings of XEP-0115 §5.2 and §5.3")
    func verification() {
        let features = ["caps", "disco#info", "disco#items", "muc"].map { "http://jabber.org/protocol/" + $0 }
        let simple = DiscoInfo(identities: [.init("client", "pc", name: "Exodus 0.9.1")], features: features.reversed())
        #expect(EntityCapabilities.verificationString(of: simple) == "QgayPKawpkPSDYmwT/WM94uAlu0=")
        let complex = DiscoInfo(
            identities: [.init("client", "pc", name: "Psi 0.11", language: "en"), .init("client", "pc", name: "Ψ 0.11", language: "el")],
            features: features,
            forms: [
                .init(
                    type: "urn:xmpp:dataforms:softwareinfo",
                    fields: [
                        .init("software_version", ["0.11"]), .init("software", ["Psi"]), .init("os_version", ["10.5.1"]), .init("os", ["Mac"]),
                        .init("ip_version", ["ipv6", "ipv4"]),
                    ])
            ])
        #expect(EntityCapabilities.verificationString(of: complex) == "q07IKJEyjvHSyhy//CH0CxmKi8w=")
    }

    @Test("contact addresses are a form in the domain's information; without any there is none (XEP-0157 §3)")
    func contacts() {
        /// The form of this type, if it is among what the domain says of itself.
        func form(of server: TestServer) -> ElementView? {
            info(server.online("juliet/balcony"), of: "capulet.example")?.child("query")?.children.first { form in
                form.isNamed("x", "jabber:x:data") && form.firstChild?.firstChild?.text == "http://jabber.org/network/serverinfo"
            }
        }
        #expect(form(of: server) == nil)
        var contacts = ContactAddresses.Addresses()
        contacts.abuse = ["mailto:abuse@capulet.example", "xmpp:abuse@capulet.example"]
        let server = TestServer(contacts: contacts)
        let form = form(of: server)
        let fields = Array(form?.children.map { ($0.attribute("var") ?? "", $0.children.map(\.text)) } ?? [])
        #expect(fields.map(\.0) == ["FORM_TYPE", "abuse-addresses"])
        #expect(fields.map(\.1) == [["http://jabber.org/network/serverinfo"], ["mailto:abuse@capulet.example", "xmpp:abuse@capulet.example"]])
        #expect(form?.firstChild?.attribute("type") == "hidden")
    }
}
