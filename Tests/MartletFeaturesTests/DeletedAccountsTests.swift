import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("An account that goes leaves nothing to its successor")
struct DeletedAccountsTests {
    private let server = TestServer(pubsub: PubSubService.Settings())

    private func pubsub(_ content: String, to: String?, owner: Bool = false, type: String = "set", _ client: TestClient) -> TestStanza? {
        client.send("""
            <iq type='\(type)' id='q'\(to.map { " to='\($0)'" } ?? "")>\
            <pubsub xmlns='http://jabber.org/protocol/pubsub\(owner ? "#owner" : "")'>\(content)</pubsub></iq>
            """)
        return client.receivedBesidesPresence().first { $0.id == "q" }
    }

    private func delete(_ name: String, at server: TestServer) {
        server.router.deleteAccount(server.address(name), server.context) { _ in }
        server.context.flush()
        server.run()
    }

    private func form(_ model: String) -> String {
        """
        <configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>\
        <field var='pubsub#access_model'><value>\(model)</value></field></x></configure>
        """
    }

    /// The server whose accounts are deleted, which has everything in memory or nothing.
    private func world(isInMemory: Bool) -> TestServer { isInMemory ? server : server.restarted() }

    @Test("affiliations and subscriptions at a service's nodes end with the account", arguments: [true, false])
    func service(isInMemory: Bool) {
        let (balcony, orchard) = (server.online("juliet/balcony"), server.online("romeo/orchard"))
        let service = "pubsub.capulet.example"
        #expect(pubsub("<create node='diary'/>\(form("whitelist"))", to: service, balcony)?.error == nil)
        let lines = "<affiliations node='diary'><affiliation jid='romeo@capulet.example' affiliation='owner'/></affiliations>"
        #expect(pubsub(lines, to: service, owner: true, balcony)?.error == nil)
        #expect(pubsub("<subscribe node='diary' jid='romeo@capulet.example/orchard'/>", to: service, orchard)?.error == nil)
        let server = world(isInMemory: isInMemory)
        let hers = server.online("juliet/chamber")
        delete("romeo", at: server)
        server.createAccount("romeo")
        let successor = server.online("romeo/orchard")
        #expect(pubsub("<items node='diary'/>", to: service, type: "get", successor)?.error != nil)
        #expect(pubsub("<publish node='diary'><item id='1'><x xmlns='x'/></item></publish>", to: service, hers)?.error == nil)
        #expect(successor.receivedBesidesPresence().isEmpty)
        #expect(pubsub("<subscriptions node='diary'/>", to: service, owner: true, type: "get", hers)?.description.contains("romeo") == false)
        withExtendedLifetime(self.server) {}
    }

    @Test("affiliations at an account's nodes end with the account they are given to", arguments: [true, false])
    func nodes(isInMemory: Bool) {
        let balcony = server.online("juliet/balcony")
        #expect(pubsub("<create node='diary'/>\(form("whitelist"))", to: nil, balcony)?.error == nil)
        let lines = "<affiliations node='diary'><affiliation jid='romeo@capulet.example' affiliation='member'/></affiliations>"
        #expect(pubsub(lines, to: nil, owner: true, balcony)?.error == nil)
        server.createAccount("romeo")
        let server = world(isInMemory: isInMemory)
        delete("romeo", at: server)
        server.createAccount("romeo")
        #expect(pubsub("<items node='diary'/>", to: "juliet@capulet.example", type: "get", server.online("romeo/orchard"))?.error != nil)
        withExtendedLifetime(self.server) {}
    }

    @Test("affiliations in rooms end with the account, even those of a room's only owner", arguments: [true, false])
    func rooms(isInMemory: Bool) {
        _ = server.createRoom(owners: ["romeo@capulet.example"]) {
            $0.isPersistent = true
            $0.isMembersOnly = true
        }
        server.createAccount("romeo")
        let romeo = server.occupant("romeo/orchard", as: "Romeo")
        #expect(!romeo.isClosed)
        let server = world(isInMemory: isInMemory)
        delete("romeo", at: server)
        server.createAccount("romeo")
        let successor = server.client("romeo/orchard")
        successor.send("<presence to='\(TestServer.garden)/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(successor.received().compactMap(\.error) == ["auth/registration-required"])
        #expect(server.roomsOnDisk() == ["\(TestServer.garden)"])
        withExtendedLifetime(self.server) {}
    }
}
