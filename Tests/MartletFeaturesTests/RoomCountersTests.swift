import MartletCore
import MartletFeatures
import MartletTesting
import Testing

@Suite("What is counted of rooms")
struct RoomCountersTests {
    @Test("rooms and occupants are counted as they come and go, each nickname once")
    func gauges() {
        let settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        let server = TestServer(roomSettings: settings)
        var seen: [[Int]] = []
        func look() { seen.append([settings.counters.rooms, settings.counters.occupants]) }
        _ = server.createRoom()
        look()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        let chamber = server.occupant("juliet/chamber", as: "julie")
        _ = server.occupant("romeo/orchard", as: "romeo")
        look()
        for client in [juliet, chamber] { client.send("<presence type='unavailable' to='garden@conference.capulet.example/julie'/>") }
        look()
        _ = server.order { room, _, effects in room.destroy(venue: nil, reason: nil, &effects) }
        look()
        #expect(seen == [[1, 0], [1, 2], [1, 1], [0, 0]])
    }

    @Test("a room that leaves memory is counted no longer")
    func idle() {
        let settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        let server = TestServer(roomSettings: settings)
        _ = server.createRoom { $0.isPersistent = true }
        _ = server.occupant("juliet/balcony", as: "julie")
        server.router.stopServices(server.context)
        #expect(settings.counters.rooms == 0 && settings.counters.occupants == 0)
    }

    @Test("a message for everybody is counted once as it comes, and once for each session that gets it")
    func messages() {
        let server = TestServer()
        _ = server.createRoom()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        _ = server.occupant("juliet/chamber", as: "julie")
        _ = server.occupant("romeo/orchard", as: "romeo")
        let counters = server.context.counters
        let before = counters.roomDeliveries
        juliet.send("<message type='groupchat' to='garden@conference.capulet.example'><body>soft</body></message>")
        #expect(counters.roomMessages == 1 && counters.roomDeliveries == before + 3)
        juliet.send("<message type='chat' to='garden@conference.capulet.example/romeo'><body>light</body></message>")
        #expect(counters.roomMessages == 1 && counters.roomDeliveries == before + 4)
    }
}
