import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0215 External Service Discovery")
struct ExternalServicesTests {
    private static let services: [ExternalServices.Service] = [
        .init(host: "stun.capulet.example", port: 3478, type: "stun", transport: "udp"),
        .init(
            host: "turn.capulet.example", port: 3478, type: "turn", transport: "udp", name: "Relay",
            credentials: .made(secret: Array("north".utf8), lifetime: .seconds(3_600))),
        .init(host: "ftp.capulet.example", type: "ftp", credentials: .fixed(username: "guest", password: "a&b")),
    ]
    private let server = TestServer(features: { configuration in
        StandardFeatures.all(configuration).filter { !($0 is ExternalServices) } + [ExternalServices(Self.services, time: configuration.time)]
    })

    private func ask(_ content: String, _ client: TestClient) -> TestStanza? {
        client.send("<iq type='get' id='e' to='capulet.example'>\(content)</iq>")
        return client.received().first
    }

    private func elements(_ stanza: TestStanza?) -> [[String: String]] {
        guard let list = stanza?.element.root.firstChild else { return [] }
        return list.children.map { service in Dictionary(service.attributes.map { ($0.localName, $0.value) }) { first, _ in first } }
    }

    @Test("an account hears of all services, with what it needs to use them (§3.1)")
    func all() {
        let found = elements(ask("<services xmlns='urn:xmpp:extdisco:2'/>", server.online("romeo/orchard")))
        #expect(found.map { $0["host"] } == ["stun.capulet.example", "turn.capulet.example", "ftp.capulet.example"])
        #expect(found.first == ["host": "stun.capulet.example", "port": "3478", "type": "stun", "transport": "udp"])
        #expect(found.last == ["host": "ftp.capulet.example", "type": "ftp", "restricted": "1", "username": "guest", "password": "a&b"])
    }

    @Test("or of those of one type (§3.2)")
    func ofOneType() {
        let answer = ask("<services xmlns='urn:xmpp:extdisco:2' type='turn'/>", server.online("romeo/orchard"))
        #expect(answer?.element.root.firstChild?.attribute("type") == "turn")
        #expect(elements(answer).map { $0["name"] } == ["Relay"])
    }

    @Test("a name for a relay says when it ends, and its password is what the relay computes from both and the secret")
    func made() throws {
        let service = try #require(elements(ask("<services xmlns='urn:xmpp:extdisco:2' type='turn'/>", server.online("romeo/orchard"))).first)
        let username = try #require(service["username"])
        let ends = server.time.wallMilliseconds / 1_000 + 3_600
        #expect(username.hasPrefix("\(ends):") && !username.contains("romeo"))
        #expect(service["password"] == Base64.encode(ScramHash.sha1.authenticationCode(Array(username.utf8), key: Array("north".utf8))))
        #expect(service["expires"] == DateTime.text(milliseconds: ends * 1_000))
    }

    @Test("credentials are asked for by host and type (§3.3)", arguments: [
        ("<service host='turn.capulet.example' type='turn'/>", 1, nil), ("<service host='turn.capulet.example' type='turn' port='3478'/>", 1, nil),
        ("<service host='turn.capulet.example' type='turn' port='3479'/>", 0, "cancel/item-not-found"),
        ("<service host='turn.capulet.example' type='turn' port='x'/>", 0, "cancel/item-not-found"),
        ("<service host='nowhere.example' type='turn'/>", 0, "cancel/item-not-found"), ("<service type='turn'/>", 0, "modify/bad-request"),
        ("", 0, "modify/bad-request"),
    ] as [(String, Int, String?)])
    func credentials(content: String, count: Int, error: String?) {
        let answer = ask("<credentials xmlns='urn:xmpp:extdisco:2'>\(content)</credentials>", server.online("romeo/orchard"))
        #expect(answer?.error == error)
        if error == nil { #expect(elements(answer).count == count) }
    }

    @Test("nobody else hears of any", arguments: ["services", "credentials"])
    func strangers(element: String) {
        let wire = TestWire()
        let server = TestServer(remote: wire, features: { StandardFeatures.all($0).filter { !($0 is ExternalServices) } + [ExternalServices(Self.services, time: $0.time)] })
        let peer = TestPeer(server, ["montague.example": "capulet.example"])
        peer.send("""
            <iq from='benvolio@montague.example/street' to='capulet.example' type='get' id='e'>\
            <\(element) xmlns='urn:xmpp:extdisco:2'><service host='turn.capulet.example' type='turn'/></\(element)></iq>
            """)
        #expect(wire.take().first?.root.firstChild("error", .client)?.hasChild("forbidden", .stanzaErrors) == true)
    }
}
