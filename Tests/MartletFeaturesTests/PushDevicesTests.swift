import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("The devices of an account that want to be woken (XEP-0357)")
struct PushDevicesTests {
    private let service = try! JID("push.example")
    private let romeo = try! JID("romeo@montague.example/orchard")
    private let juliet = try! JID("juliet@capulet.example/balcony")

    private func registration(_ node: String?, at service: String = "push.example", by resource: String = "phone", failures: Int = 0)
        -> PushRegistration
    {
        PushRegistration(service: try! JID(service), node: node, resource: resource, failures: failures)
    }

    private func news(_ count: Int = 1, _ sender: JID? = nil, _ body: String? = nil) -> PushSummary {
        PushSummary(count: count, sender: sender ?? romeo, body: body)
    }

    private func tell(_ devices: inout PushDevices, _ news: PushSummary, id: String, isAway: Bool? = true) -> [PushNotification] {
        devices.tell(news, id: { id }, isAway: { _ in isAway })
    }

    private func conclude(_ devices: inout PushDevices, _ id: String, _ outcome: RequestOutcome, next: String = "next", isAway: Bool = true)
        -> (next: PushNotification?, isChanged: Bool)
    {
        devices.conclude(id, outcome, nextID: { next }, isAway: { _ in isAway })
    }

    // MARK: Registering

    @Test("a service and node that are registered again replace what was registered (§5)")
    func again() {
        var devices = PushDevices()
        devices.enable(registration("one", failures: 3), countMax: 3)
        devices.enable(registration("two"), countMax: 3)
        devices.enable(registration("one", by: "tablet"), countMax: 3)
        #expect(devices.registrations == [registration("two"), registration("one", by: "tablet")])
    }

    @Test("one too many takes the place of the one that registered first")
    func countMax() {
        var devices = PushDevices()
        for node in ["one", "two", "three"] { devices.enable(registration(node), countMax: 3) }
        #expect(devices.registrations.map(\.node) == ["one", "two", "three"])
        devices.enable(registration("four"), countMax: 3)
        #expect(devices.registrations.map(\.node) == ["two", "three", "four"])
    }

    @Test("a node is disabled alone, or all of a service (§6)")
    func disable() {
        var devices = PushDevices([registration("one"), registration("two"), registration("one", at: "other.example"), registration(nil)])
        let nobody = devices.disable(service, node: "three")
        let one = devices.disable(service, node: "one")
        #expect([nobody, one] == [false, true])
        #expect(devices.registrations.map(\.node) == ["two", "one", nil])
        let all = devices.disable(service, node: nil)
        #expect(all)
        #expect(devices.registrations == [registration("one", at: "other.example")])
    }

    @Test("the document holds what is registered, with options and failures")
    func document() throws {
        let options = DataForm(.submit, type: "http://jabber.org/protocol/pubsub#publish-options", fields: [.init("secret", nil, ["s"])])
        let devices = PushDevices([
            PushRegistration(service: service, node: "n", options: options, resource: "phone", failures: 2), registration(nil, by: "tablet"),
        ])
        let document = try #require(devices.document)
        #expect(PushDevices(document: document).registrations.map(\.resource) == ["phone", "tablet"])
        #expect(PushDevices(document: document).document == document)
        #expect(PushDevices(document: document).registrations.first?.failures == 2)
        #expect(PushDevices().document == nil)
        #expect(PushDevices(document: ByteBuffer(string: "<broken")) == PushDevices())
    }

    // MARK: Telling

    @Test("one notification is under way at a time; what comes meanwhile is counted into the next one")
    func coalesced() {
        var devices = PushDevices([registration("n")])
        #expect(tell(&devices, news(), id: "1").map(\.summary.count) == [1])
        #expect(tell(&devices, news(), id: "2") == [])
        #expect(tell(&devices, news(2, juliet), id: "3") == [])
        let first = conclude(&devices, "1", .result, next: "4")
        #expect(first.next?.id == "4")
        #expect(first.next?.summary == news(3, juliet))
        #expect(!first.isChanged)
        let second = conclude(&devices, "4", .result)
        #expect(second.next == nil)
    }

    @Test("devices that are there, or that are not meant, are not told")
    func there() {
        var devices = PushDevices([registration("n")])
        #expect(tell(&devices, news(), id: "1", isAway: false) == [])
        #expect(tell(&devices, news(), id: "2", isAway: nil) == [])
        #expect(tell(&devices, news(), id: "3").map(\.summary.count) == [1])
    }

    @Test("a device that has come back is not told what came while a notification was under way")
    func back() {
        var devices = PushDevices([registration("n")])
        _ = tell(&devices, news(), id: "1")
        _ = tell(&devices, news(), id: "2")
        #expect(conclude(&devices, "1", .result, isAway: false).next == nil)
        _ = tell(&devices, news(), id: "3")
        _ = tell(&devices, news(), id: "4")
        #expect(tell(&devices, news(), id: "5", isAway: false) == [])
        #expect(conclude(&devices, "3", .result).next == nil)
    }

    // MARK: Answers

    @Test("what a notification was to tell that went wrong is told with the next message, and is not repeated by itself")
    func untold() {
        var devices = PushDevices([registration("n")])
        _ = tell(&devices, news(2), id: "1")
        let failed = conclude(&devices, "1", .noAnswer)
        #expect(failed.next == nil)
        #expect(failed.isChanged)
        #expect(tell(&devices, news(), id: "2").map(\.summary.count) == [3])
    }

    @Test("an answer to another request changes nothing")
    func unknown() {
        var devices = PushDevices([registration("n")])
        _ = tell(&devices, news(), id: "1")
        let before = devices
        let conclusion = conclude(&devices, "2", .error(.itemNotFound()))
        #expect(conclusion.next == nil)
        #expect(!conclusion.isChanged)
        #expect(devices == before)
    }

    @Test(
        "a registration ends at once with an error that will not pass (§7.1)",
        arguments: [
            .itemNotFound, .gone, .forbidden, .notAuthorized, .notAllowed, .registrationRequired, .notAcceptable, .featureNotImplemented,
            .badRequest, .jidMalformed,
        ] as [StanzaError.Condition])
    func permanent(condition: StanzaError.Condition) {
        var devices = PushDevices([registration("n"), registration("m", by: "tablet")])
        var ids = ["1", "2"].makeIterator()
        _ = devices.tell(news(), id: { ids.next() ?? "" }, isAway: { _ in true })
        var patient = devices
        let conclusion = conclude(&devices, "1", .error(StanzaError(condition, .cancel)))
        #expect(conclusion.isChanged)
        #expect(devices.registrations.map(\.node) == ["m"])
        _ = conclude(&patient, "1", .error(StanzaError(condition, .wait)))
        #expect(patient.registrations.map(\.node) == ["n", "m"])
    }

    @Test(
        "otherwise with the sixteenth failure in a row, but not with the fifteenth",
        arguments: [.noAnswer, .error(.serviceUnavailable), .error(StanzaError(.remoteServerNotFound))] as [RequestOutcome])
    func failures(outcome: RequestOutcome) {
        #expect(PushDevices.failuresMax == 16)
        var devices = PushDevices([registration("n", failures: 14)])
        _ = tell(&devices, news(), id: "1")
        _ = conclude(&devices, "1", outcome)
        #expect(devices.registrations.map(\.failures) == [15])
        var recovered = devices
        _ = tell(&recovered, news(), id: "2")
        #expect(conclude(&recovered, "2", .result).isChanged)
        #expect(recovered.registrations.map(\.failures) == [0])
        _ = tell(&devices, news(), id: "2")
        #expect(conclude(&devices, "2", outcome).isChanged)
        #expect(devices.registrations == [])
    }
}

@Suite("What a push notification is sent for, and what it says (XEP-0357)")
struct PushSummaryTests {
    @Test(
        "somebody is woken for what people say, in clear or encrypted, for calls and invitations",
        arguments: [
            "<body>b</body>", "<x xmlns='jabber:x:encrypted'>c</x>", "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/><payload>p</payload></encrypted>",
            "<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>", "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>",
            "<x xmlns='jabber:x:conference' jid='room@muc.example'/>",
        ])
    func worth(content: String) throws {
        #expect(PushSummary.isWorthTelling(try message(content).root))
    }

    @Test(
        "but not for what clients say to each other",
        arguments: [
            "", "<body/>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<received xmlns='urn:xmpp:receipts' id='m'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>", "<subject>s</subject>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>", "<store xmlns='urn:xmpp:hints'/>",
        ])
    func notWorth(content: String) throws {
        #expect(!PushSummary.isWorthTelling(try message(content).root))
    }

    private func message(_ content: String) throws -> FlatElement {
        try parseElement(ByteBuffer(string: "<message xmlns='jabber:client'>\(content)</message>"), limits: .authenticated)
    }

    @Test("a summary of more messages has the last one's sender and text")
    func sum() throws {
        let (romeo, nurse) = (try JID("romeo@montague.example"), try JID("nurse@capulet.example"))
        let both = PushSummary(count: 2, sender: romeo, body: "a") + PushSummary(count: 1, sender: nurse)
        #expect(both == PushSummary(count: 3, sender: nurse))
        #expect(both + PushSummary() == both)
    }

    @Test("a registration is read with its limits", arguments: [true, false])
    func limits(isWithin: Bool) throws {
        let over = isWithin ? 0 : 1
        let node = String(repeating: "n", count: PushRegistration.nodeBytesMax + over)
        // The name of the type and of the field, and its value.
        let type = "http://jabber.org/protocol/pubsub#publish-options"
        let secret = String(repeating: "s", count: PushRegistration.optionsBytesMax - type.utf8.count - "FORM_TYPEsecret".utf8.count + over)
        let form = """
            <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\(type)</value></field>\
            <field var='secret'><value>\(secret)</value></field></x>
            """
        for request in [
            "<enable xmlns='urn:xmpp:push:0' jid='push.example' node='\(node)'/>",
            "<enable xmlns='urn:xmpp:push:0' jid='push.example'>\(form)</enable>",
        ] {
            let element = try parseElement(ByteBuffer(string: request), limits: .authenticated)
            let registration = try? PushRegistration(enable: element.root, by: "phone")
            #expect((registration != nil) == isWithin)
        }
    }
}
