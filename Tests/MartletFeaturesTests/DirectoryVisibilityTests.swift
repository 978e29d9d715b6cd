import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("Whom the directory shows an account's presence to, by a command of the domain (XEP-0050)")
struct DirectoryVisibilityTests {
    private static let node = "urn:x-martlet:directory-visibility"
    private let server = TestServer(
        presenceRights: PresenceRights(rules: [PresenceRule(.any, .basic)]),
        features: { configuration in
            var configuration = configuration
            configuration.directoryVisibility = .contacts
            return StandardFeatures.all(configuration)
        })

    private func execute(_ wish: String? = nil, by client: TestClient) -> TestStanza? {
        let form = wish.map { wish in
            """
            <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\(Self.node)</value></field>\
            <field var='visibility'><value>\(wish)</value></field></x>
            """
        }
        client.forget()
        client.send(
            """
            <iq type='set' id='c' to='capulet.example'><command xmlns='http://jabber.org/protocol/commands' node='\(Self.node)' action='execute'>\
            \(form ?? "")</command></iq>
            """)
        return client.received().last { $0.element.localName == "iq" }
    }

    private func isSeen(_ target: String, by viewer: String) -> Bool {
        let view = PresenceView(server.router, on: server.context.mailbox)
        let (target, viewer) = (server.address(target), server.address(viewer))
        return server.wait { await view.presence(of: [target], for: viewer) }?.first.flatMap(\.self) != nil
    }

    private func chosen(_ answer: TestStanza?) -> String? {
        let field = answer?.child("command")?.firstChild("x", .dataForms)?.children.first { $0.attribute("var") == "visibility" }
        return field?.firstChild("value", .dataForms)?.text
    }

    @Test("the form says what holds, and what is said holds at once, and for others only takes away", arguments: [
        ("organisation", true), ("contacts", false), ("none", false),
    ])
    func wishes(_ wish: String, _ isSeenByParis: Bool) {
        server.createAccount("paris")
        let juliet = server.online("juliet/balcony")
        #expect(chosen(execute(by: juliet)) == "contacts")
        _ = execute(wish, by: juliet)
        #expect(chosen(execute(by: juliet)) == wish)
        #expect(isSeen("juliet", by: "paris") == isSeenByParis)
        #expect(isSeen("juliet", by: "juliet"))
    }

    @Test("it is on disk: another server knows it")
    func kept() {
        server.createAccount("paris")
        let juliet = server.online("juliet/balcony")
        _ = execute("organisation", by: juliet)
        let id = server.store.contents[server.address("juliet")]?.id
        #expect(id != nil)
        juliet.disconnect()
        server.router.forget(server.address("juliet"))
        #expect(isSeen("juliet", by: "paris"))
    }

    @Test("what is no choice changes nothing")
    func nonsense() {
        let juliet = server.online("juliet/balcony")
        _ = execute("everybody", by: juliet)
        #expect(chosen(execute(by: juliet)) == "contacts")
    }

    @Test("where no directory shows presence there is no such command")
    func notOffered() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send(
            "<iq type='get' id='i' to='capulet.example'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>")
        #expect(juliet.received().allSatisfy { !$0.description.contains(Self.node) })
    }
}
