import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// What clients keep at nodes of the account's, by the options that the XEPs name.
@Suite("XEP-0222, XEP-0223: data that is kept at nodes")
struct PersistentDataTests {
    private func ask(_ type: String, _ content: String, of address: String? = nil, _ client: TestClient) -> TestStanza? {
        let to = address.map { " to='\($0)'" } ?? ""
        client.send("<iq type='\(type)' id='q'\(to)><pubsub xmlns='http://jabber.org/protocol/pubsub'>\(content)</pubsub></iq>")
        return client.receivedBesidesPresence().first { $0.id == "q" }
    }

    private func publish(_ options: KeyValuePairs<String, String>, _ client: TestClient) -> String? {
        let form = NodesOnPaper.form("publish-options", options)
        let item = "<publish node='urn:example:data'><item id='1'><data xmlns='urn:example:data'>kept</data></item></publish>"
        return ask("set", "\(item)<publish-options>\(form)</publish-options>", client)?.error
    }

    private func isRead(by client: TestClient, of address: String? = nil) -> Bool {
        ask("get", "<items node='urn:example:data'/>", of: address, client)?.description.contains("kept") == true
    }

    @Test("both are there after a restart, for the same people as before")
    func restarted() {
        let cases: [(KeyValuePairs<String, String>, contacts: Bool)] = [
            (["persist_items": "true", "send_last_published_item": "never", "access_model": "presence"], true),
            (["persist_items": "true", "access_model": "whitelist"], false),
        ]
        for (options, contacts) in cases {
            let server = TestServer()
            server.befriend("juliet", "romeo")
            let balcony = server.online("juliet/balcony")
            #expect(publish(options, balcony) == nil)
            checkReaders(server, contacts: contacts)
            checkReaders(server.restarted(), contacts: contacts)
        }
    }

    private func checkReaders(_ server: TestServer, contacts: Bool) {
        #expect(isRead(by: server.online("juliet/chamber")))
        #expect(isRead(by: server.online("romeo/orchard"), of: "juliet@capulet.example") == contacts)
        #expect(!isRead(by: server.online("tybalt/street"), of: "juliet@capulet.example"))
    }
}
