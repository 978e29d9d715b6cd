import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0045 §10.1: a room whose owner does not say what it is to be")
struct RoomLockTests {
    private let server = TestServer()
    private let room = "council@conference.capulet.example"

    private func enter(_ client: TestClient, as nickname: String) -> TestStanza? {
        client.forget()
        client.send("<presence to='\(room)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        return client.received().last { $0.element.localName == "presence" }
    }

    @Test("others enter it after five minutes, as it is by default, and not before", arguments: [299, 300])
    func others(seconds: Int) {
        let (nurse, romeo) = (server.online("nurse/hall"), server.online("romeo/orchard"))
        #expect(enter(nurse, as: "nurse")?.statuses.contains(201) == true)
        server.advance(by: .seconds(seconds))
        let own = enter(romeo, as: "romeo")
        #expect(own?.error == (seconds == 300 ? nil : "cancel/item-not-found"))
        guard seconds == 300 else { return }
        #expect(own?.statuses.contains(110) == true && own?.statuses.contains(201) == false && own?.item?.attribute("affiliation") == "none")
        // Still the owner's, who may say so later.
        nurse.send("<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        #expect(nurse.received().last { $0.element.localName == "iq" }?.error == nil)
    }

    @Test("an owner who comes again leaves it as it is: he may still be asked")
    func owner() {
        let (nurse, garden) = (server.online("nurse/hall"), server.online("nurse/garden"))
        #expect(enter(nurse, as: "nurse")?.statuses.contains(201) == true)
        server.advance(by: .seconds(300))
        #expect(enter(garden, as: "nurse")?.statuses.contains(201) == true)
    }

    @Test("who is banned does not get in by waiting")
    func banned() {
        let (nurse, romeo) = (server.online("nurse/hall"), server.online("romeo/orchard"))
        #expect(enter(nurse, as: "nurse") != nil)
        nurse.send(
            """
            <iq type='set' id='b' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#admin'>\
            <item affiliation='outcast' jid='romeo@capulet.example'/></query></iq>
            """)
        server.advance(by: .seconds(300))
        #expect(enter(romeo, as: "romeo")?.error == "auth/forbidden")
    }
}
