import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Synchronization
import Testing

private let phone: [UInt8] = [0x30, 0x03, 1, 2, 3]
private let bot: [UInt8] = [0x30, 0x03, 4, 5, 6]

@Suite("XEP-0257 Client Certificate Management for SASL EXTERNAL")
struct ClientCertificateManagementTests {
    private let audit = Audit()
    private let server: TestServer

    init() { server = TestServer(audit: audit) }

    private final class Audit: AuditSink {
        private let events = Mutex<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
        var all: [AuditEvent] { events.withLock { $0 } }
    }

    private func ask(_ payload: String, _ type: String = "set", by client: TestClient) -> String {
        client.forget()
        client.send("<iq type='\(type)' id='1'>\(payload)</iq>")
        return client.received().map(\.description).joined()
    }

    private func append(_ name: String, _ content: [UInt8], more: String = "", by client: TestClient) -> String {
        ask("<append xmlns='urn:xmpp:saslcert:1'><name>\(name)</name>\(more)<x509cert>\(Base64.encode(content))</x509cert></append>", by: client)
    }

    private func remove(_ name: String, _ verb: String, by client: TestClient) -> String {
        ask("<\(verb) xmlns='urn:xmpp:saslcert:1'><name>\(name)</name></\(verb)>", by: client)
    }

    private func items(by client: TestClient) -> String { ask("<items xmlns='urn:xmpp:saslcert:1'/>", "get", by: client) }
    private func session(_ name: String, by content: [UInt8]) -> TestClient { server.client(name, by: CertificateFingerprint(of: content)) }
    private var stored: [AccountCertificate] { server.store.contents[server.address("juliet")]?.certificates.all ?? [] }

    @Test("a certificate is added, listed, and who uses it is shown (§2.1, §2.2)")
    func life() {
        let juliet = server.client("juliet/balcony")
        #expect(append("Mobile Client", phone, by: juliet).contains("type='result'"))
        #expect(stored.map(\.name) == ["Mobile Client"] && stored.map(\.content) == [phone])
        let list = items(by: juliet)
        #expect(list.contains("<item><name>Mobile Client</name><x509cert>\(Base64.encode(phone))</x509cert></item>"), "\(list)")
        let other = session("juliet/phone", by: phone)
        #expect(items(by: juliet).contains("<users><resource>phone</resource></users>"))
        other.disconnect()
        #expect(!items(by: juliet).contains("<users>"))
        #expect(audit.all.contains(.certificateAdded(
            server.address("juliet"), name: "Mobile Client", fingerprint: CertificateFingerprint(of: phone).text, managesCertificates: true,
            by: "juliet@capulet.example/balcony")))
    }

    @Test("who has come in by the password of an application adds and removes nothing")
    func application() {
        let juliet = server.client("juliet/balcony")
        #expect(append("Mobile Client", phone, by: juliet).contains("type='result'"))
        let old = server.client("juliet/old", application: "old phone")
        #expect(append("Bot", bot, by: old).contains("<forbidden "))
        #expect(remove("Mobile Client", "revoke", by: old).contains("<forbidden ") && remove("Mobile Client", "disable", by: old).contains("<forbidden "))
        #expect(stored.map(\.name) == ["Mobile Client"])
    }

    @Test("who has come in by a token of an authorization server adds nothing, since the server takes that back when it likes")
    func grant() {
        let device = DeviceSighting(DeviceID(userAgent: "d4565fa7-4d72-4749-b3d3-740edbf87770"), software: nil, name: nil, by: .grant, at: 1)
        let juliet = server.client("juliet/web", device: device)
        #expect(append("Bot", bot, by: juliet).contains("<forbidden ") && stored.isEmpty)
    }

    @Test("space in a name and in base64 does not matter")
    func space() {
        let juliet = server.client("juliet/balcony")
        let text = Base64.encode(phone)
        let content = "<x509cert>\n  \(text.prefix(4))\n  \(text.dropFirst(4))\n</x509cert>"
        let payload = "<append xmlns='urn:xmpp:saslcert:1'><name>\n Mobile  Client </name>\(content)</append>"
        #expect(ask(payload, by: juliet).contains("type='result'"))
        #expect(stored.map(\.name) == ["Mobile Client"] && stored.map(\.content) == [phone])
    }

    @Test("a name is used once, and a certificate too (§2.1)")
    func conflicts() {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        #expect(append("phone", bot, by: juliet).contains("<conflict"))
        #expect(append("laptop", phone, by: juliet).contains("<conflict"))
        #expect(stored.count == 1)
    }

    @Test("another account may have the same certificate, and learns nothing of it")
    func shared() {
        let (juliet, romeo) = (server.client("juliet/balcony"), server.client("romeo/orchard"))
        #expect(append("mine", phone, by: juliet).contains("type='result'"))
        #expect(append("mine", phone, by: romeo).contains("type='result'"))
    }

    @Test("what is no name or no certificate is refused")
    func malformed() {
        let juliet = server.client("juliet/balcony")
        for payload in ["", "<name>a</name>", "<x509cert>MAA=</x509cert>", "<name> </name><x509cert>MAA=</x509cert>", "<name>a</name><x509cert>!</x509cert>",
            "<name>a</name><x509cert/>"]
        {
            #expect(ask("<append xmlns='urn:xmpp:saslcert:1'>\(payload)</append>", by: juliet).contains("<bad-request"), "\(payload)")
        }
        #expect(append("a", [0x31, 0], by: juliet).contains("<not-acceptable"))
        for verb in ["disable", "revoke"] {
            #expect(ask("<\(verb) xmlns='urn:xmpp:saslcert:1'/>", by: juliet).contains("<bad-request"))
            #expect(remove("a", verb, by: juliet).contains("<item-not-found"))
        }
        #expect(stored.isEmpty)
    }

    @Test("names, certificates and their number have limits")
    func limits() {
        let juliet = server.client("juliet/balcony")
        let long = [UInt8](repeating: 0x30, count: AccountCertificate.bytesMax)
        #expect(append(String(repeating: "n", count: AccountCertificate.nameBytesMax + 1), phone, by: juliet).contains("<policy-violation"))
        #expect(append(String(repeating: "n", count: AccountCertificate.nameBytesMax), phone, by: juliet).contains("type='result'"))
        #expect(append("long", long + [0], by: juliet).contains("<policy-violation"))
        #expect(append("long", long, by: juliet).contains("type='result'"))
        for number in 2..<AccountCertificate.perAccountMax {
            #expect(append("\(number)", [0x30, UInt8(number)], by: juliet).contains("type='result'"))
        }
        #expect(append("one more", bot, by: juliet).contains("<resource-constraint"))
        #expect(stored.count == AccountCertificate.perAccountMax)
    }

    @Test("who came by a certificate that may not manage others sees the list, and cannot change it (§2.1)")
    func noManagement() {
        let juliet = server.client("juliet/balcony")
        #expect(append("bot", bot, more: "<no-cert-management/>", by: juliet).contains("type='result'"))
        let client = session("juliet/bot", by: bot)
        #expect(append("phone", phone, by: client).contains("<forbidden"))
        for verb in ["disable", "revoke"] { #expect(remove("bot", verb, by: client).contains("<forbidden")) }
        #expect(items(by: client).contains("<no-cert-management/>"))
        #expect(remove("bot", "disable", by: juliet).contains("type='result'"))
        #expect(append("phone", phone, by: client).contains("<forbidden"))
    }

    @Test("who came by a certificate of the account's own may manage them, and does not set a password (§5.2)")
    func password() {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        let client = session("juliet/phone", by: phone)
        #expect(append("bot", bot, by: client).contains("type='result'"))
        let change = "<query xmlns='jabber:iq:register'><username>juliet</username><password>new</password></query>"
        client.forget()
        client.send("<iq type='set' id='2' to='capulet.example'>\(change)</iq>")
        #expect(client.received().map(\.description).joined().contains("<not-authorized"))
        juliet.forget()
        juliet.send("<iq type='set' id='2' to='capulet.example'>\(change)</iq>")
        #expect(juliet.received().map(\.description).joined().contains("type='result'"))
    }

    @Test("what a disabled certificate has let in goes on, what a revoked one has ends (§2.3, §2.4)")
    func removal() {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        _ = append("bot", bot, by: juliet)
        let (first, second) = (session("juliet/phone", by: phone), session("juliet/bot", by: bot))
        #expect(remove("phone", "disable", by: juliet).contains("type='result'"))
        #expect(!first.isClosed)
        #expect(remove("bot", "revoke", by: juliet).contains("type='result'"))
        #expect(second.closing?.condition == .notAuthorized)
        #expect(!first.isClosed && !juliet.isClosed && stored.isEmpty)
    }

    @Test("who revokes the certificate by which he came is answered, and then ends (§2.4)")
    func revokesItself() {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        let client = session("juliet/phone", by: phone)
        #expect(remove("phone", "revoke", by: client).contains("type='result'"))
        #expect(client.closing?.condition == .notAuthorized && !juliet.isClosed)
    }

    @Test("whoever was let in by a certificate and has no session yet gets none once it is revoked")
    func betweenLoginAndSession() {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        let moment = server.router.credentials.now
        _ = remove("phone", "revoke", by: juliet)
        let late = server.client("juliet/phone", authenticatedAt: moment, by: CertificateFingerprint(of: phone))
        #expect(late.closing?.condition == .notAuthorized)
    }

    @Test("a session lives by what it was resumed with: revoking the certificate of its first log-in does not end it (XEP-0198 §5)")
    func resumed() throws {
        let juliet = server.client("juliet/balcony")
        _ = append("phone", phone, by: juliet)
        let client = session("juliet/phone", by: phone)
        client.forget()
        client.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(client.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        client.breakConnection()
        let again = server.resume("juliet", previous: id, handled: 0)
        _ = remove("phone", "revoke", by: juliet)
        #expect(!again.isClosed)
    }

    @Test("of another account's certificates nobody learns or changes anything")
    func others() {
        let (juliet, romeo) = (server.client("juliet/balcony"), server.client("romeo/orchard"))
        _ = append("phone", phone, by: juliet)
        for (type, payload) in [("get", "<items xmlns='urn:xmpp:saslcert:1'/>"), ("set", "<revoke xmlns='urn:xmpp:saslcert:1'><name>phone</name></revoke>")] {
            for account in ["juliet", "nobody"] {
                romeo.forget()
                romeo.send("<iq type='\(type)' id='1' to='\(account)@capulet.example'>\(payload)</iq>")
                #expect(romeo.received().map(\.description).joined().contains("<service-unavailable"), "\(type) \(account)")
            }
        }
        #expect(stored.count == 1)
    }

    @Test("where accounts cannot add certificates nothing is announced, and nothing is answered")
    func off() {
        let server = TestServer { configuration in
            var configuration = configuration
            configuration.certificates = nil
            return StandardFeatures.all(configuration)
        }
        let juliet = server.client("juliet/balcony")
        juliet.send("<iq type='get' id='1'><items xmlns='urn:xmpp:saslcert:1'/></iq>")
        #expect(juliet.received().map(\.description).joined().contains("<service-unavailable"))
        juliet.forget()
        juliet.send("<iq type='get' id='2' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(!juliet.received().map(\.description).joined().contains("saslcert"))
    }

    @Test("it is announced (§4)")
    func announced() {
        let juliet = server.client("juliet/balcony")
        juliet.send("<iq type='get' id='2' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(juliet.received().map(\.description).joined().contains("<feature var='urn:xmpp:saslcert:1'/>"))
    }
}
