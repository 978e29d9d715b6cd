import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("XEP-0092 Software Version, XEP-0199 Ping, XEP-0202 Entity Time, and what the domain says of itself")
struct SmallFeaturesTests {
    @Test("the server tells its name and version, and nothing of the system it runs on (XEP-0092 §6)")
    func version() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='v' to='capulet.example'><query xmlns='jabber:iq:version'/></iq>")
        #expect(juliet.received() == [
            """
            <iq type='result' id='v' from='capulet.example' to='juliet@capulet.example/balcony'>\
            <query xmlns='jabber:iq:version'><name>Martlet</name><version>1.0</version></query></iq>
            """
        ])
    }

    @Test("unless the operator wants it known")
    func operatingSystem() {
        let server = TestServer { configuration in
            var configuration = configuration
            configuration.operatingSystem = "Debian"
            return StandardFeatures.all(configuration)
        }
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='v' to='capulet.example'><query xmlns='jabber:iq:version'/></iq>")
        #expect(juliet.received().first?.child("query")?.children.map(\.text) == ["Martlet", "1.0", "Debian"])
    }

    @Test("the server answers pings for itself and for accounts, existing or not (XEP-0199 §4)")
    func ping() {
        let server = TestServer()
        server.createAccount("romeo")
        let juliet = server.online("juliet/balcony")
        for to in ["", " to='capulet.example'", " to='juliet@capulet.example'", " to='romeo@capulet.example'", " to='nobody@capulet.example'"] {
            juliet.send("<iq type='get' id='p'\(to)><ping xmlns='urn:xmpp:ping'/></iq>")
        }
        let answers = juliet.received()
        #expect(answers.count == 5)
        #expect(answers.allSatisfy { $0.element.attribute("type") == "result" && $0.element.firstChild("ping", "urn:xmpp:ping") == nil })
    }

    @Test("the server tells its time in UTC (XEP-0202 §2)")
    func time() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        server.advance(by: .milliseconds(1_500))
        juliet.send("<iq type='get' id='t' to='capulet.example'><time xmlns='urn:xmpp:time'/></iq>")
        #expect(juliet.received() == [
            """
            <iq type='result' id='t' from='capulet.example' to='juliet@capulet.example/balcony'>\
            <time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2020-09-13T12:26:41.500Z</utc></time></iq>
            """
        ])
    }

    @Test("what only answers get has no answer to set (RFC 6120 §8.2.3)", arguments: [
        "<query xmlns='jabber:iq:version'/>", "<ping xmlns='urn:xmpp:ping'/>", "<time xmlns='urn:xmpp:time'/>", "<query xmlns='jabber:iq:last'/>",
    ])
    func set(child: String) {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='s' to='capulet.example'>\(child)</iq>")
        #expect(juliet.received().map(\.error) == ["cancel/service-unavailable"])
    }
}

/// Keeps what was recorded.
private final class AuditRecord: AuditSink {
    let events = Mutex<[AuditEvent]>([])
    func record(_ event: AuditEvent) { events.withLock { $0.append(event) } }
}

@Suite("What only the owner of an account may do")
struct OwnersTests {
    @Test("is refused to everybody else, admins too, as if there were no account, and is recorded", arguments: ["juliet", "nobody"])
    func refused(name: String) {
        let audit = AuditRecord()
        var server = TestServer()
        server = TestServer(policy: AccessPolicy(admins: [server.address("prince")], audit: audit))
        server.createAccount("juliet")
        let prince = server.online("prince/hall")
        prince.send("<iq type='get' id='r' to='\(name)@capulet.example'><query xmlns='jabber:iq:roster'/></iq>")
        #expect(prince.received().map(\.error) == ["cancel/service-unavailable"])
        let reason = "only \(name)@capulet.example may"
        #expect(audit.events.withLock { $0 } == [.refused(Refusal(actor: "prince@capulet.example", action: "query get", reason: reason))])
        prince.send("<iq type='get' id='r' to='\(name)@capulet.example'><query xmlns='urn:example:unknown'/></iq>")
        #expect(prince.received().map(\.error) == ["cancel/service-unavailable"])
        #expect(audit.events.withLock { $0.count } == 1)
    }
}

@Suite("XEP-0012 Last Activity")
struct LastActivityTests {
    private let server = TestServer()

    private func last(_ client: TestClient, of address: String) -> TestStanza? {
        client.forget()
        client.send("<iq type='get' id='l' to='\(address)'><query xmlns='jabber:iq:last'/></iq>")
        return client.received().first
    }

    @Test("the server has been running for so long (§5)")
    func uptime() {
        let juliet = server.online("juliet/balcony")
        server.advance(by: .seconds(90))
        #expect(last(juliet, of: "capulet.example")?.child("query")?.attribute("seconds") == "90")
    }

    @Test("those who see the account's presence learn since when it is offline, and its last words (§3)")
    func offline() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        #expect(last(romeo, of: "juliet@capulet.example")?.child("query")?.attribute("seconds") == "0")
        juliet.send("<presence type='unavailable'><status>Anon</status></presence>")
        juliet.disconnect()
        server.advance(by: .seconds(903))
        let query = last(romeo, of: "juliet@capulet.example")?.child("query")
        #expect(query?.attribute("seconds") == "903")
        #expect(query?.text == "Anon")
    }

    @Test("administrators of the domain learn it of every account, whether configured or made so")
    func admins() throws {
        let server = TestServer(domains: ["capulet.example", "montague.example"], policy: AccessPolicy(admins: [server.address("prince")]))
        server.createAccount("chief", isAdmin: true)
        server.createAccount("chief@montague.example", isAdmin: true)
        server.online("juliet/balcony").disconnect()
        server.advance(by: .seconds(60))
        func seconds(_ name: String, of address: String) -> String? {
            last(server.online("\(name)/hall"), of: address)?.child("query")?.attribute("seconds")
        }
        for name in ["prince", "chief"] { #expect(seconds(name, of: "juliet@capulet.example") == "60") }
        // Made an administrator of another domain.
        #expect(seconds("chief@montague.example", of: "juliet@capulet.example") == nil)
        #expect(last(server.online("prince/hall"), of: "nobody@capulet.example")?.error == "cancel/service-unavailable")
    }

    @Test("to others an account looks like none, whether it is online or not (§6, `reliability.md` rule 23)")
    func strangers() {
        let juliet = server.online("juliet/balcony")
        let paris = server.online("paris/street")
        let asked = ["juliet", "nobody"].map { last(paris, of: "\($0)@capulet.example")?.error }
        juliet.disconnect()
        #expect(asked + [last(paris, of: "juliet@capulet.example")?.error] == Array(repeating: "cancel/service-unavailable", count: 3))
    }

    /// Fields of one form in what the domain says of itself, by name.
    private func form(_ type: String, _ configure: @escaping (inout FeatureConfiguration) -> Void = { _ in }) -> [String: [String]]? {
        let server = TestServer { configuration in
            var configuration = configuration
            configure(&configuration)
            return StandardFeatures.all(configuration)
        }
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='d' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let forms = juliet.received().first?.child("query")?.children.compactMap { try? DataForm($0) } ?? []
        return forms.first { $0.type == type }.map { form in
            Dictionary(uniqueKeysWithValues: form.fields.compactMap { $0.name == DataForm.typeName ? nil : ($0.name ?? "", $0.values) })
        }
    }

    @Test("name and version of the server are among what it says of itself (XEP-0232), the system if the operator wants it known")
    func softwareInformation() {
        #expect(form("urn:xmpp:dataforms:softwareinfo") == ["software": ["Martlet"], "software_version": ["1.0"]])
        let told = form("urn:xmpp:dataforms:softwareinfo") { $0.operatingSystem = "Debian" }
        #expect(told?["os"] == ["Debian"])
    }

    @Test("a value that is one is said as one, and what may be several as several: clients look for either (XEP-0004 §3.3)")
    func kinds() throws {
        func kind(_ form: DiscoForm) -> [DataForm.Field.Kind?] { DataForm(form).fields.dropFirst().map(\.kind) }
        let size = DiscoForm(type: "t", fields: [.init("max-file-size", ["1"])])
        #expect(kind(size) == [.textSingle])
        var contacts = ContactAddresses.Addresses()
        contacts.abuse = ["mailto:abuse@capulet.example"]
        #expect(ContactAddresses(contacts).disco.hostForms.map(kind) == [[.listMulti]])
        #expect(OutageStatus(["https://status.example.net"]).disco.hostForms.map(kind) == [[.listMulti]])
        var policy = DataPolicy.Statement()
        policy.terms = "https://example.net"
        #expect(DataPolicy(policy).disco.hostForms.map(kind) == [[.listSingle, .textSingle, .boolean, .textSingle]])
        for kind in DiscoForm.Field.Kind.allCases { #expect(DataForm.Field.Kind(rawValue: kind.rawValue) != nil) }
    }

    @Test("where it is said what is wrong when the server cannot be reached (XEP-0455)")
    func outage() {
        let files = ["https://status.example.net/capulet.json", "https://example.com/capulet.json"]
        #expect(form("urn:xmpp:sos:0") == nil)
        let told = form("urn:xmpp:sos:0") { $0.outageStatus = files }
        #expect(told == ["external-status-addresses": files])
    }

    @Test("what becomes of the people's data, if the operator says anything of it (XEP-0504)")
    func dataPolicy() {
        let nothing = form("urn:xmpp:data-policy:0") { $0.dataPolicy.retentionHours = 24 }
        #expect(nothing == nil)
        let little = form("urn:xmpp:data-policy:0") { $0.dataPolicy.access = ["none"] }
        #expect(little == [
            "auth_data": ["hidden"], "data_retention": ["infinite"], "full_erasure": ["false"], "access_policy": ["none"],
        ])
        let all = form("urn:xmpp:data-policy:0") {
            $0.dataPolicy.terms = "https://capulet.example/terms"
            $0.dataPolicy.isEncryptedAtRest = true
            $0.dataPolicy.backupHours = 24
            $0.dataPolicy.backupRetentionHours = 0
            $0.dataPolicy.retentionHours = 720
            $0.dataPolicy.seesPasswords = true
            $0.dataPolicy.isErasable = true
        }
        #expect(all == [
            "auth_data": ["plain"], "data_retention": ["720"], "full_erasure": ["true"], "tos": ["https://capulet.example/terms"],
            "encryption_at_rest": ["true"], "backup_frequency": ["24"], "backup_retention": ["0"],
        ])
    }

    @Test("clients that have logged in are told how large a stanza may be, and after which silence they are asked for a sign of life (XEP-0478)")
    func streamLimits() throws {
        func features(_ limits: PeerFeatures.Limits?) throws -> String {
            let server = TestServer { configuration in
                var configuration = configuration
                configuration.streamLimits = limits
                return StandardFeatures.all(configuration)
            }
            var writer = XMLWriter()
            server.context.hosts.writeStreamFeatures(for: try BareJID(parsing: "juliet@capulet.example"), to: &writer)
            return String(buffer: writer.buffer)
        }
        #expect(try !features(nil).contains("limits"))
        #expect(try features(.init(bytesMax: 262_144, idleSeconds: 300)).contains(
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes><idle-seconds>300</idle-seconds></limits>"))
        #expect(try features(.init(bytesMax: 10_000)).contains("<max-bytes>10000</max-bytes></limits>"))
    }
}
