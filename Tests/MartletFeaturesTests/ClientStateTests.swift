import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0352 Client State Indication: what a session does for a client that nobody looks at")
struct ClientStateTests {
    private let server = TestServer()

    /// Messages by id, presence by contact and status, and what is said about the stream, in the order in which it came.
    private func received(_ client: TestClient) -> [String] {
        client.received().map { stanza in
            let root = stanza.element.root
            if root.isIn(.streamManagement) { return [root.localName, root.attribute("h")].compactMap(\.self).joined(separator: " ") }
            let contact = root.attribute("from")?.prefix { $0 != "@" } ?? ""
            let state = root.children.first { $0.isIn(.chatStates) }?.localName
            return root.localName == "presence" ? "\(contact) \(stanza.child("status")?.text ?? root.attribute("type") ?? "")" : stanza.id ?? state ?? "?"
        }
    }

    private func say(_ status: Int, _ contact: TestClient) { contact.send("<presence><status>\(status)</status></presence>") }

    private func message(_ id: String, _ contact: TestClient) {
        contact.send("<message to='juliet@capulet.example' type='chat' id='\(id)'><body>b</body></message>")
    }

    private func type(_ state: String, _ contact: TestClient) {
        contact.send("<message to='juliet@capulet.example' type='chat'><\(state) xmlns='http://jabber.org/protocol/chatstates'/></message>")
    }

    /// Contacts of juliet, online.
    private func contacts(_ names: String..., of server: TestServer, on context: LoopContext? = nil) -> [TestClient] {
        for name in names { server.befriend("juliet", name) }
        return names.map { server.online("\($0)/orchard", on: context) }
    }

    private func enable(_ client: TestClient) -> String {
        client.manage(.enable(resumes: true, secondsMax: nil))
        return client.received().first { $0.element.localName == "enabled" }?.element.attribute("id") ?? ""
    }

    @Test("presence waits until the client is active again, the newest of each contact; then it comes as it goes (§3.2)")
    func untilActive() {
        let (romeo, nurse) = { ($0[0], $0[1]) }(contacts("romeo", "nurse", of: server))
        let juliet = server.online("juliet/phone")
        let writes = juliet.writes
        juliet.indicate(.inactive)
        for status in 1...3 {
            say(status, romeo)
            say(status, nurse)
            // Saying it again changes nothing.
            juliet.indicate(.inactive)
        }
        say(4, romeo)
        #expect(received(juliet) == [])
        #expect(juliet.writes == writes)
        juliet.indicate(.active)
        #expect(received(juliet) == ["nurse 3", "romeo 4"])
        #expect(juliet.writes == writes + 1)
        say(5, romeo)
        #expect(received(juliet) == ["romeo 5"])
        juliet.indicate(.active)
        #expect(received(juliet) == [])
    }

    @Test("what cannot wait goes out at once and takes with it what came before, in one piece; then presence waits again")
    func flushes() {
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        let writes = juliet.writes
        juliet.indicate(.inactive)
        say(1, romeo)
        type("composing", romeo)
        message("m1", romeo)
        say(2, romeo)
        #expect(received(juliet) == ["romeo 1", "composing", "m1"])
        #expect(juliet.writes == writes + 1)
        juliet.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(received(juliet) == ["romeo 2", "p"])
        type("composing", romeo)
        type("paused", romeo)
        romeo.send("<presence to='juliet@capulet.example' type='unsubscribed'/>")
        #expect(received(juliet).filter { $0 != "?" }.prefix(2) == ["paused", "romeo unsubscribed"])
    }

    @Test("a copy of a chat state waits, a copy of a message does not (XEP-0280)")
    func carbons() {
        let romeo = server.online("romeo/orchard")
        let desk = server.online("juliet/desk", priority: 1)
        let phone = server.online("juliet/phone")
        phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        phone.indicate(.inactive)
        phone.forget()
        let states = "http://jabber.org/protocol/chatstates"
        romeo.send("<message to='juliet@capulet.example' type='chat'><composing xmlns='\(states)'/></message>")
        desk.send("<message to='romeo@capulet.example' type='chat'><active xmlns='\(states)'/></message>")
        #expect(phone.received() == [])
        desk.send("<message to='romeo@capulet.example' type='chat'><body>b</body></message>")
        let copies = phone.received().map { ["received", "sent"].filter($0.description.contains) + ["composing", "active", "body"].filter($0.description.contains) }
        #expect(copies == [["received", "composing"], ["sent", "active"], ["sent", "body"]])
    }

    @Test(
        "what is kept for later does not wait: a message of the log is delivered as one (P2)",
        arguments: [
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", true),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/>", true),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", false),
            ("<received xmlns='urn:xmpp:receipts' id='m'/>", false), ("<body>b</body>", false),
        ])
    func kept(content: String, waits: Bool) throws {
        let sender = try JID("romeo@capulet.example/orchard")
        let encoded = EncodedStanza(ByteBuffer(string: "<message from='\(sender)' to='juliet@capulet.example' type='chat'>\(content)</message>"))
        let stanza = try #require(Stanza(sent: encoded))
        var queue = ClientStateQueue(.init())
        let isHeld = queue.hold(encoded)
        #expect(isHeld == waits)
        #expect(ArchiveRules.isWorthKeeping(stanza) == !waits)
    }

    @Test("past what may wait everything goes out (limits.held-stanzas)", arguments: [3, 4])
    func overflow(contacts count: Int) {
        var settings = RouterSettings()
        settings.held = .init(stanzasMax: 3)
        let server = TestServer(settings: settings)
        let contacts = contacts("a", "b", "c", "d", of: server)
        let juliet = server.online("juliet/phone")
        juliet.indicate(.inactive)
        for contact in contacts.prefix(count) { say(1, contact) }
        #expect(received(juliet) == (count > 3 ? ["a 1", "b 1", "c 1", "d 1"] : []))
        withExtendedLifetime(server) {}
    }

    @Test("where nothing may wait nothing does")
    func off() {
        var settings = RouterSettings()
        settings.held = .init(stanzasMax: 0)
        let server = TestServer(settings: settings)
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        juliet.indicate(.inactive)
        say(1, romeo)
        #expect(received(juliet) == ["romeo 1"])
        withExtendedLifetime(server) {}
    }

    // MARK: With stream management

    @Test("what waits is not sent yet: it is not counted, and nobody is asked about it (XEP-0198 §4)")
    func counts() {
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        _ = enable(juliet)
        juliet.indicate(.inactive)
        for status in 1...3 { say(status, romeo) }
        #expect(juliet.session?.unfinishedCount == 0)
        #expect(received(juliet) == [])
        message("m1", romeo)
        #expect(received(juliet) == ["romeo 3", "m1", "r"])
        juliet.manage(.acknowledge(2))
        for status in 4...5 { say(status, romeo) }
        #expect(received(juliet) == [])
        juliet.indicate(.active)
        #expect(received(juliet) == ["romeo 5", "r"])
        juliet.manage(.acknowledge(4))
        #expect(juliet.closing == .handledCountTooHigh(handled: 4, sent: 3))
    }

    @Test("the indications are not counted as stanzas of the client (XEP-0198 §4)")
    func notCounted() {
        let juliet = server.online("juliet/phone")
        _ = enable(juliet)
        juliet.indicate(.inactive)
        juliet.indicate(.active)
        juliet.manage(.request)
        #expect(received(juliet) == ["a 0"])
    }

    @Test("a resumed stream is active, and what waited comes before what came since (§5.2); whatever the old connection does", arguments: [false, true], [false, true])
    func resumed(onAnotherLoop: Bool, breaks: Bool) {
        let second = server.addLoop()
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        let id = enable(juliet)
        juliet.indicate(.inactive)
        message("m1", romeo)
        for status in 1...2 { say(status, romeo) }
        type("composing", romeo)
        if breaks {
            juliet.breakConnection()
            say(3, romeo)
            message("m2", romeo)
            for status in 4...5 { say(status, romeo) }
        }
        let again = server.resume("juliet", previous: id, handled: 1, on: onAnotherLoop ? second : nil)
        #expect(received(again) == ["resumed 0"] + (breaks ? ["composing", "romeo 3", "m2", "romeo 5"] : ["romeo 2", "composing"]) + ["r"])
        again.manage(.acknowledge(breaks ? 5 : 3))
        say(6, romeo)
        #expect(received(again) == ["romeo 6", "r"])
        #expect(again.closing == nil)
    }

    @Test("nobody acknowledges what waited, as long as it was not sent (XEP-0198 §6)", arguments: [1, 2])
    func resumedTooHigh(handled: UInt32) {
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        let id = enable(juliet)
        juliet.indicate(.inactive)
        message("m1", romeo)
        say(1, romeo)
        juliet.breakConnection()
        let again = server.resume("juliet", previous: id, handled: handled)
        #expect(again.closing == (handled == 1 ? nil : .handledCountTooHigh(handled: 2, sent: 1)))
    }

    @Test("without a connection presence does not pile up, whatever the client said before")
    func hibernating() {
        var settings = RouterSettings()
        settings.unacknowledgedStanzasMax = 6
        let server = TestServer(settings: settings)
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        let id = enable(juliet)
        juliet.breakConnection()
        for status in 1...20 {
            say(status, romeo)
            type("composing", romeo)
        }
        message("m1", romeo)
        for status in 21...40 { say(status, romeo) }
        let again = server.resume("juliet", previous: id, handled: 0)
        #expect(received(again) == ["resumed 0", "romeo 20", "composing", "m1", "romeo 40", "r"])
        say(41, romeo)
        #expect(received(again) == ["romeo 41"])
        withExtendedLifetime(server) {}
    }

    @Test("a session that comes to its limit by what waited loses no message", arguments: [3, 4])
    func limit(presences: Int) {
        var settings = RouterSettings()
        settings.unacknowledgedStanzasMax = 4
        let server = TestServer(settings: settings)
        let contacts = contacts("a", "b", "c", "d", of: server)
        let juliet = server.online("juliet/phone")
        _ = enable(juliet)
        juliet.indicate(.inactive)
        for contact in contacts.prefix(presences) { say(1, contact) }
        message("m1", contacts[0])
        #expect(juliet.closing?.condition == (presences > 3 ? .resourceConstraint : nil))
        if presences == 3 { juliet.manage(.acknowledge(4)) }
        juliet.disconnect()
        let again = server.client("juliet/desk")
        again.send("<presence/>")
        #expect(again.received().compactMap(\.id) == (presences > 3 ? ["m1"] : []))
        withExtendedLifetime(server) {}
    }

    @Test("what waited for a session that has ended is of no use to anybody", arguments: ["closed", "not resumed"])
    func ended(how: String) {
        let romeo = contacts("romeo", of: server)[0]
        let juliet = server.online("juliet/phone")
        _ = enable(juliet)
        juliet.indicate(.inactive)
        say(1, romeo)
        type("composing", romeo)
        romeo.forget()
        if how == "closed" { juliet.disconnect() } else { juliet.breakConnection() }
        server.advance(by: .seconds(600))
        #expect(received(romeo) == ["juliet unavailable"])
        let again = server.client("juliet/phone")
        again.send("<presence/>")
        #expect(received(again).sorted() == ["juliet ", "romeo 1"])
    }

    @Test("no message is lost, doubled or late, and every one finds the presence that it was sent after: random walk", arguments: 1...30)
    func randomWalk(seed: UInt64) {
        let server = TestServer(seed: seed)
        let random = SeededRandom(seed: seed)
        func roll(_ sides: Int) -> Int { Int(random.bytes(1)[0]) % sides }
        let second = server.addLoop()
        let romeo = contacts("romeo", of: server, on: second)[0]
        var juliet = server.online("juliet/phone")
        let id = enable(juliet)
        var (status, sent, got, handled, shown) = (0, 0, 0, UInt32(0), 0)
        func read() {
            for stanza in juliet.received() where !stanza.element.root.isIn(.streamManagement) {
                handled += 1
                if let text = stanza.child("status")?.text { shown = Int(text) ?? -1 }
                guard let text = stanza.child("body")?.text else { continue }
                got += 1
                #expect(text == "\(got) \(shown)")
            }
        }
        for _ in 0..<150 {
            switch roll(10) {
            case 0...2:
                status += 1
                say(status, romeo)
            case 3, 4:
                sent += 1
                romeo.send("<message to='juliet@capulet.example/phone' type='chat'><body>\(sent) \(status)</body></message>")
            case 5, 6: juliet.indicate(.inactive)
            case 7: juliet.indicate(.active)
            case 8:
                read()
                juliet.manage(.acknowledge(handled))
            default:
                read()
                if roll(2) == 0 { juliet.breakConnection() }
                if roll(2) == 0 {
                    status += 1
                    say(status, romeo)
                }
                juliet = server.resume("juliet", previous: id, handled: handled, on: roll(2) == 0 ? second : nil)
            }
        }
        juliet.indicate(.active)
        read()
        #expect(got == sent && shown == status)
        withExtendedLifetime(server) {}
    }

    // MARK: What it is good for

    /// `docs/performance.md` has the numbers.
    @Test("an hour of a hundred contacts who change their presence every five minutes wakes the radio for the messages only")
    func anHour() {
        let names = (1...100).map { "c\($0)" }
        for name in names { server.befriend("juliet", name) }
        let contacts = names.map { server.online("\($0)/x") }
        let (desk, phone) = (server.online("juliet/desk"), server.online("juliet/phone"))
        for client in [desk, phone] { _ = enable(client) }
        phone.indicate(.inactive)
        let (before, beforeInactive) = (desk.writes, phone.writes)
        var (stanzas, stanzasInactive, handled, handledInactive) = (0, 0, UInt32(0), UInt32(0))
        func read(_ client: TestClient, _ stanzas: inout Int, _ handled: inout UInt32) {
            let count = client.received().count { !$0.element.root.isIn(.streamManagement) }
            stanzas += count
            handled += UInt32(count)
            if count > 0 { client.manage(.acknowledge(handled)) }
        }
        for minute in 0..<60 {
            for index in contacts.indices where index % 5 == minute % 5 {
                say(minute, contacts[index])
                read(desk, &stanzas, &handled)
                read(phone, &stanzasInactive, &handledInactive)
            }
            guard minute % 10 == 9 else { continue }
            contacts[0].send("<message to='juliet@capulet.example' type='headline'><body>b</body></message>")
            read(desk, &stanzas, &handled)
            read(phone, &stanzasInactive, &handledInactive)
        }
        #expect(desk.writes - before == 1_206)
        #expect(phone.writes - beforeInactive == 6)
        #expect((stanzas, stanzasInactive) == (1_206, 606))
    }
}
