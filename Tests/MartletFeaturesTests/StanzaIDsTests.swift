import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0359 Unique and Stable Stanza IDs")
struct StanzaIDsTests {
    private let server = TestServer()

    private func ids(in stanza: TestStanza?) -> [String] {
        stanza?.element.children.filter { $0.isNamed("stanza-id", "urn:xmpp:sid:0") }.map {
            "\($0.attribute("by") ?? "") \($0.attribute("id") ?? "")"
        } ?? []
    }

    @Test("chat and normal messages get a name by the recipient's account, others none (§3)")
    func named() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        for type in ["chat", "normal", "headline", "groupchat"] {
            romeo.send("<message to='juliet@capulet.example/balcony' type='\(type)'><body>one</body></message>")
        }
        let received = juliet.received().map { ids(in: $0) }
        #expect(received.map(\.count) == [1, 1, 0, 0])
        #expect(received[0][0].hasPrefix("juliet@capulet.example "))
        #expect(received[0] != received[1])
    }

    @Test(
        "a name in the name of the account or its domain is taken off, however the address is written (§5)",
        arguments: [
            "juliet@capulet.example", "JULIET@Capulet.Example", "juliet@capulet.example/balcony", "capulet.example", "capulet.example.",
        ])
    func forged(by: String) {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        for (to, type) in [("juliet@capulet.example", "chat"), ("juliet@capulet.example/balcony", "headline")] {
            romeo.send(
                """
                <message to='\(to)' type='\(type)'><stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='\(by)'/><body>one</body>\
                <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='\(by)'/></message>
                """)
            let received = juliet.received()
            #expect(received.first?.child("body")?.text == "one")
            #expect(received.first?.description.contains("forged") == false)
        }
    }

    @Test("forged marks are taken off presence as well, of every kind (`reliability.md` rule 19)")
    func forgedOnPresence() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        let paris = server.online("paris/square")
        juliet.forget()
        let marks = "<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='juliet@capulet.example'/><delay xmlns='urn:xmpp:delay' from='capulet.example' stamp='x'/>"
        romeo.send("<presence>\(marks)<status>s</status></presence>")
        romeo.send("<presence to='juliet@capulet.example/balcony'>\(marks)<status>s</status></presence>")
        paris.send("<presence to='juliet@capulet.example' type='subscribe'>\(marks)<status>s</status></presence>")
        romeo.send("<presence type='unavailable'>\(marks)<status>s</status></presence>")
        let received = juliet.received()
        #expect(received.map { $0.child("status")?.text } == ["s", "s", "s", "s"])
        #expect(received.allSatisfy { Array($0.element.children).count == 1 })
    }

    @Test("the names of others, and origin-ids, stay")
    func foreign() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        romeo.send(
            """
            <message to='juliet@capulet.example/balcony' type='headline'><stanza-id xmlns='urn:xmpp:sid:0' id='s1' by='room@chat.example'/>\
            <origin-id xmlns='urn:xmpp:sid:0' id='o1'/></message>
            """)
        let received = juliet.received().first
        #expect(ids(in: received) == ["room@chat.example s1"])
        #expect(received?.child("origin-id")?.attribute("id") == "o1")
    }

    @Test(
        "what the archive does not keep has no name: clients would go on reading after it (XEP-0313 §3)",
        arguments: [
            "<composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/>", "<active xmlns='http://jabber.org/protocol/chatstates'/>",
            "<body>b</body><no-store xmlns='urn:xmpp:hints'/>", "<body>b</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
        ])
    func notArchived(content: String) {
        let (balcony, chamber) = (server.online("juliet/balcony"), server.online("juliet/chamber"))
        let (romeo, garden) = (server.online("romeo/orchard"), server.online("romeo/garden"))
        for client in [balcony, chamber, garden] {
            client.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
            client.manage(.enable(resumes: true, secondsMax: nil))
            client.forget()
        }
        romeo.send("<message to='juliet@capulet.example/balcony' type='chat' id='m'>\(content)</message>")
        for client in [balcony, chamber, garden] {
            let messages = client.received().filter { $0.element.localName == "message" }
            #expect(messages.count == 1 && !messages[0].description.contains("urn:xmpp:sid:0"))
        }
        romeo.send("<message to='juliet@capulet.example/balcony' type='chat'><body>b</body></message>")
        #expect(balcony.received().contains { ids(in: $0).count == 1 })
    }

    @Test("what waits for delivery and is not archived has no name either, and where there are no archives it has one")
    func waiting() {
        for (archive, expected) in [(ArchivePreferences.Default?.some(.always), 0), (.some(.never), 0), (nil, 1)] {
            let server = TestServer { configuration in
                var configuration = configuration
                configuration.archiveDefault = archive
                return StandardFeatures.all(configuration)
            }
            server.createAccount("juliet")
            let hint = archive == .always ? "<no-permanent-store xmlns='urn:xmpp:hints'/>" : ""
            server.online("romeo/orchard").send("<message to='juliet@capulet.example' type='chat'><body>one</body>\(hint)</message>")
            let juliet = server.client("juliet/balcony")
            juliet.send("<presence/>")
            let waiting = juliet.receivedBesidesPresence()
            #expect(waiting.count == 1 && ids(in: waiting.first).count == expected)
            server.online("romeo/garden").send("<message to='juliet@capulet.example' type='chat'><body>two</body>\(hint)</message>")
            let live = juliet.receivedBesidesPresence()
            #expect(live.count == 1 && ids(in: live.first).count == expected)
        }
    }

    @Test("an offline message has the same name each time it is delivered")
    func offline() {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat'><body>one</body></message>")
        var names: [[String]] = []
        for _ in 0..<2 {
            // Nothing sent after the message: it does not count as delivered.
            let juliet = server.client("juliet/balcony")
            juliet.send("<presence/>")
            names.append(ids(in: juliet.receivedBesidesPresence().first))
            juliet.disconnect()
        }
        #expect(names[0].count == 1)
        #expect(names[0] == names[1])
    }
}
