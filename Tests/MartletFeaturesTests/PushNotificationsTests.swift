import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0357 Push Notifications")
struct PushNotificationsTests {
    private let server = TestServer()
    /// The push service: a session whose address juliet's account may know.
    private let service: TestClient
    private let romeo: TestClient

    init() {
        service = Self.service(of: server)
        romeo = server.online("romeo/orchard")
    }

    private static func service(of server: TestServer) -> TestClient {
        server.createAccount("juliet")
        let service = server.online("apps/push")
        service.send("<presence to='juliet@capulet.example'/>")
        service.forget()
        return service
    }

    private func device(
        _ resource: String = "phone", node: String = "n1", options: String = "", resumes: Bool = true, on server: TestServer? = nil
    ) -> TestClient {
        let device = (server ?? self.server).online("juliet/\(resource)")
        if resumes { device.manage(.enable(resumes: true, secondsMax: nil)) }
        device.forget()
        device.send("<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='apps@capulet.example/push' node='\(node)'>\(options)</enable></iq>")
        #expect(device.received().contains("<iq type='result' id='e' to='juliet@capulet.example/\(resource)'/>"))
        return device
    }

    private func say(_ id: String = "m", _ content: String = "<body>b</body>", to: String = "juliet@capulet.example") {
        romeo.send("<message to='\(to)' type='chat' id='\(id)'>\(content)</message>")
    }

    /// The notifications that came: node and number of messages.
    private func notifications(_ service: TestClient? = nil) -> [String] { (service ?? self.service).received().compactMap(Self.text) }

    private static func text(_ stanza: TestStanza) -> String? {
        guard let publish = stanza.child("pubsub")?.firstChild else { return nil }
        return "\(publish.attribute("node") ?? "") \(field("message-count", stanza) ?? "")"
    }

    private static func field(_ name: String, _ stanza: TestStanza) -> String? {
        let form = stanza.child("pubsub")?.firstChild?.firstChild?.firstChild?.firstChild
        return form?.children.first { $0.attribute("var") == name }?.firstChild?.text
    }

    private func answer(_ stanza: TestStanza, with error: String? = nil, by service: TestClient? = nil) {
        let type = error == nil ? "result" : "error"
        let content = error.map { "<error type='cancel'><\($0) xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" } ?? ""
        (service ?? self.service).send("<iq to='juliet@capulet.example' type='\(type)' id='\(stanza.id ?? "")'>\(content)</iq>")
    }

    // MARK: Registering

    @Test("the account says that it can be enabled (§4)")
    func advertised() {
        let juliet = server.online("juliet/phone")
        juliet.send("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        let features = juliet.received().last?.child("query")?.children.compactMap { $0.attribute("var") } ?? []
        #expect(features.contains("urn:xmpp:push:0"))
    }

    @Test("what is wrong with a registration is said (§5, §6)")
    func refused() {
        let juliet = server.online("juliet/phone")
        juliet.send("<iq type='set' id='1'><enable xmlns='urn:xmpp:push:0' node='n'/></iq>")
        juliet.send("<iq type='set' id='2'><enable xmlns='urn:xmpp:push:0' jid='@' node='n'/></iq>")
        juliet.send("<iq type='set' id='3'><enable xmlns='urn:xmpp:push:0' jid='p'><x xmlns='jabber:x:data' type='submit'/></enable></iq>")
        juliet.send("<iq type='set' id='4'><disable xmlns='urn:xmpp:push:0'/></iq>")
        juliet.send("<iq type='set' id='5' to='romeo@capulet.example'><enable xmlns='urn:xmpp:push:0' jid='p' node='n'/></iq>")
        #expect(juliet.received().map(\.error) == [
            "modify/bad-request", "modify/jid-malformed", "modify/bad-request", "modify/bad-request", "cancel/service-unavailable",
        ])
    }

    @Test("registrations outlive the server; one too many takes the place of the first")
    func kept() {
        var limits = HostLimits()
        limits.pushRegistrationsMax = 2
        let server = TestServer(limits: limits)
        _ = Self.service(of: server)
        for node in ["n1", "n2", "n3"] { device("phone", node: node, resumes: false, on: server).disconnect() }
        let next = TestServer(after: server)
        let service = Self.service(of: next)
        let romeo = next.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat'><body>b</body></message>")
        #expect(notifications(service) == ["n2 1", "n3 1"])
        withExtendedLifetime((server, next)) {}
    }

    @Test("a device that is disabled is not told (§6)")
    func disabled() {
        let phone = device()
        phone.send("<iq type='set' id='d'><disable xmlns='urn:xmpp:push:0' jid='apps@capulet.example/push' node='n1'/></iq>")
        #expect(phone.received() == ["<iq type='result' id='d' to='juliet@capulet.example/phone'/>"])
        phone.breakConnection()
        say()
        #expect(service.received() == [])
    }

    // MARK: When

    @Test("a device that has a connection is not told; one that has lost it is, with all that was asked to be passed on (§7)")
    func notification() {
        let options = """
            <x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
            <field var='secret'><value>s</value></field></x>
            """
        let phone = device(options: options)
        say("m1")
        #expect(service.received() == [])
        phone.manage(.acknowledge(2))
        phone.breakConnection()
        say("m2")
        let received = service.received()
        let id = received.first?.id ?? ""
        #expect(id.utf8.count == 32)
        #expect(received == [
            """
            <iq from='juliet@capulet.example' to='apps@capulet.example/push' type='set' id='\(id)'>\
            <pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n1'><item><notification xmlns='urn:xmpp:push:0'>\
            <x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
            <field var='message-count'><value>1</value></field><field var='pending-subscription-count'><value>0</value></field></x>\
            </notification></item></publish><publish-options>\(options)</publish-options></pubsub></iq>
            """
        ])
    }

    @Test("what a client had not acknowledged when its connection was lost counts, once")
    func unacknowledged() {
        let phone = device()
        say("m1")
        say("m2")
        say("m3", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        #expect(service.received() == [])
        phone.breakConnection()
        let first = service.received()
        #expect(first.map(Self.text) == ["n1 2"])
        first.forEach { answer($0) }
        server.advance(by: .seconds(600))
        #expect(service.received() == [])
    }

    @Test("also when the session ends with that")
    func ended() {
        let phone = device()
        say("m1")
        phone.disconnect()
        #expect(notifications() == ["n1 1"])
    }

    @Test("a copy of what another session got counts like the message, and one of what another session sent does not")
    func carbons() {
        let tablet = server.online("juliet/tablet", priority: 5)
        let phone = device()
        phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        tablet.send("<message to='romeo@capulet.example' type='chat'><body>b</body></message>")
        say("m1", to: "juliet@capulet.example/tablet")
        phone.breakConnection()
        #expect(notifications() == ["n1 1"])
    }

    @Test("a device is told of what another session of the account got")
    func elsewhere() {
        device().disconnect()
        let tablet = server.online("juliet/tablet")
        say()
        #expect(tablet.receivedBesidesPresence().count == 1)
        #expect(notifications() == ["n1 1"])
    }

    @Test("nobody is woken for what is not kept, for what clients say to each other, or for what the account says to itself")
    func notWorth() {
        device().disconnect()
        let tablet = server.online("juliet/tablet")
        say("m1", "<active xmlns='http://jabber.org/protocol/chatstates'/>")
        say("m2", "<body>b</body><no-store xmlns='urn:xmpp:hints'/>")
        tablet.send("<message to='juliet@capulet.example' type='chat'><body>b</body></message>")
        romeo.send("<message to='juliet@capulet.example' type='headline'><body>b</body></message>")
        #expect(service.received() == [])
    }

    @Test("a request for a subscription wakes devices, once; whose it is they ask the server (RFC 6121 §3.1.3)")
    func subscription() {
        let phone = device()
        let request = "<presence to='juliet@capulet.example' type='subscribe'/>"
        server.online("nurse/hall").send(request)
        #expect(service.received() == [])
        phone.disconnect()
        romeo.send(request)
        let received = service.received()
        #expect(received.map(Self.text) == ["n1 0"])
        #expect(received.map { Self.field("pending-subscription-count", $0) } == ["2"])
        #expect(!received.contains { $0.description.contains("romeo") })
        romeo.send(request)
        received.forEach { answer($0) }
        #expect(service.received() == [])
    }

    @Test("a request for a subscription that comes while a notification is under way is told with the next")
    func subscriptionMeanwhile() {
        device().disconnect()
        say()
        romeo.send("<presence to='juliet@capulet.example' type='subscribe'/>")
        let first = service.received()
        #expect(first.map(Self.text) == ["n1 1"])
        first.forEach { answer($0) }
        let second = service.received()
        #expect(second.map(Self.text) == ["n1 0"])
        #expect(second.map { Self.field("pending-subscription-count", $0) } == ["1"])
    }

    @Test("a flood costs one notification at a time")
    func flood() {
        device().disconnect()
        for number in 0..<20 { say("m\(number)") }
        let first = service.received()
        #expect(first.map(Self.text) == ["n1 1"])
        first.forEach { answer($0) }
        #expect(notifications() == ["n1 19"])
    }

    @Test("what is passed on is for the operator to say; without a word of his neither sender nor text (§9)", arguments: [true, false])
    func content(isIncluded: Bool) {
        #expect(PushContent() == PushContent(includesSender: false, includesBody: false))
        let content = PushContent(includesSender: isIncluded, includesBody: isIncluded)
        let server = TestServer(features: { StandardFeatures.all($0).filter { !($0 is PushNotifications) } + [PushNotifications(content)] })
        let service = Self.service(of: server)
        device(resumes: false, on: server).disconnect()
        let long = String(repeating: "é", count: 513)
        server.online("romeo/orchard").send("<message to='juliet@capulet.example' type='chat'><body>\(long)</body></message>")
        let received = service.received()
        #expect(received.map { Self.field("last-message-sender", $0) } == [isIncluded ? "romeo@capulet.example/orchard" : nil])
        #expect(received.map { Self.field("last-message-body", $0) } == [isIncluded ? String(repeating: "é", count: 512) : nil])
        withExtendedLifetime(server) {}
    }

    // MARK: Answers

    @Test("a service that does not know the node any more hears no more (§7.1)")
    func itemNotFound() {
        device().disconnect()
        say()
        service.received().forEach { answer($0, with: "item-not-found") }
        say()
        #expect(service.received() == [])
        let next = TestServer(after: server)
        let again = Self.service(of: next)
        next.online("romeo/orchard").send("<message to='juliet@capulet.example' type='chat'><body>b</body></message>")
        #expect(again.received() == [])
        withExtendedLifetime(next) {}
    }

    @Test("an answer counts only from who was asked, and under the identifier that it was asked with")
    func forged() {
        device().disconnect()
        say()
        let first = service.received()
        first.forEach { answer($0, with: "item-not-found", by: romeo) }
        service.send("<iq to='juliet@capulet.example' type='error' id='guess'/>")
        say()
        #expect(service.received() == [])
        first.forEach { answer($0) }
        #expect(notifications() == ["n1 1"])
        // Only once: the second notification is still under way.
        first.forEach { answer($0, with: "item-not-found") }
        say()
        server.advance(by: .seconds(30))
        #expect(notifications() == ["n1 2"])
    }

    @Test("a service that does not answer is given thirty seconds")
    func timeout() {
        device().disconnect()
        say()
        say()
        server.advance(by: .milliseconds(29_999))
        #expect(notifications() == ["n1 1"])
        server.advance(by: .milliseconds(1))
        #expect(notifications() == ["n1 2"])
    }

    @Test("a service that is gone, or that would not know the account, is given up after sixteen messages")
    func givenUp() {
        device().disconnect()
        service.disconnect()
        for _ in 0..<16 { say() }
        _ = Self.service(of: server).received()
        let again = server.online("apps/push")
        again.send("<presence to='juliet@capulet.example'/>")
        again.forget()
        say()
        #expect(again.received() == [])
    }

    @Test("and not after fifteen: then it is told of all of them")
    func notGivenUp() {
        device().disconnect()
        service.disconnect()
        for _ in 0..<15 { say() }
        let again = server.online("apps/push")
        again.send("<presence to='juliet@capulet.example'/>")
        again.forget()
        say()
        #expect(notifications(again) == ["n1 16"])
    }

    @Test("a service that the account has blocked is not told")
    func blocked() {
        let phone = device()
        phone.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='apps@capulet.example'/></block></iq>")
        phone.disconnect()
        service.forget()
        say()
        #expect(service.received() == [])
    }

    @Test("a service can say that it wants no more (§8); nobody else can say it for it", arguments: [true, false])
    func removed(isByService: Bool) {
        device().disconnect()
        (isByService ? service : romeo).send("""
            <message to='juliet@capulet.example'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='n1'>\
            <affiliation jid='juliet@capulet.example' affiliation='none'/></pubsub></message>
            """)
        say()
        #expect(notifications() == (isByService ? [] : ["n1 1"]))
    }

    @Test("requests in an account's name that wait for an answer are bounded")
    func requestsMax() {
        #expect(AwaitedAnswers.countMax == 64)
        for number in 0..<64 { ask(number) }
        #expect(notifications().last == "n63 1")
        ask(64)
        #expect(service.received() == [])
        server.advance(by: .seconds(30))
        service.forget()
        say()
        #expect(notifications().contains("n64 2"))
    }

    /// Each registration is new: nothing is under way for it.
    private func ask(_ number: Int) {
        device("phone", node: "n\(number)", resumes: false).disconnect()
        say()
    }
}
