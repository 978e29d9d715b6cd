import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

@Suite("What is done for rooms once an hour")
struct RoomKeepingTests {
    private let server = TestServer()
    private let day = Duration.seconds(86_400)
    private let hall = RoomOnPaper.bare("hall@conference.capulet.example")

    private func say(_ text: String, in room: BareJID = TestServer.garden, by client: TestClient) {
        client.send("<message type='groupchat' to='\(room)'><body>\(text)</body></message>")
    }

    private func cut(keeping retention: Duration = .zero) {
        let (keeping, now) = (RoomKeeping(server.router, server.context.mailbox), server.time.wallMilliseconds)
        Task(executorPreference: server.router.executor) {
            try? await keeping.cutArchives(of: "conference.capulet.example", keeping: retention) { age in
                UInt64(now - age.components.seconds * 1_000) << 20 - 1
            }
        }
        server.run()
    }

    private func destroyForsaken(before time: Int64, in server: TestServer) -> Int? {
        let keeping = RoomKeeping(server.router, server.context.mailbox)
        let count = Mutex<Int?>(nil)
        let box = Box(count)
        Task(executorPreference: server.router.executor) {
            let found = try? await keeping.destroyForsaken(of: "conference.capulet.example", createdBefore: time)
            box.count.withLock { $0 = found }
        }
        server.run()
        return box.count.withLock { $0 }
    }

    private final class Box: Sendable {
        let count: Mutex<Int?>
        init(_ count: consuming Mutex<Int?>) { self.count = count }
    }

    private func archived(_ address: BareJID) -> [String] {
        let rooms = server.store.contents.page(RoomListRequest(domain: address.domainpart, limit: .max - 1)).rooms
        guard let room = rooms.first(where: { $0.address == address }) else { return [] }
        return server.store.contents.archive(of: room.id)?.page(ArchiveRequest(limit: 100))?.messages.compactMap { RoomUtterance($0)?.body } ?? []
    }

    private func shown(_ address: BareJID, to session: String) -> [String] {
        let client = server.client(session)
        client.send("<presence to='\(address)/\(session.prefix(3))'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        return client.received().compactMap { $0.child("body")?.text }
    }

    @Test("a room that keeps messages for a day forgets older ones, and does not show them; others keep theirs")
    func archiveDays() {
        _ = server.createRoom { $0.archiveDays = 1 }
        _ = server.createRoom(hall)
        let clients = [(TestServer.garden, server.occupant("juliet/balcony", as: "julie")), (hall, server.occupant("romeo/orchard", as: "romeo", of: hall))]
        for (room, client) in clients { say("old", in: room, by: client) }
        server.advance(by: day + .seconds(1))
        for (room, client) in clients { say("new", in: room, by: client) }
        cut(keeping: .seconds(86_400 * 2))
        #expect(archived(TestServer.garden) == ["new"] && archived(hall) == ["old", "new"])
        #expect(shown(TestServer.garden, to: "nurse/kitchen") == ["new"])
        #expect(shown(hall, to: "paris/hall") == ["old", "new"])
    }

    @Test("what is a day old to the millisecond stays, and where the server keeps messages no longer than the room there is nothing to do")
    func notYet() {
        _ = server.createRoom { $0.archiveDays = 1 }
        let client = server.occupant("juliet/balcony", as: "julie")
        say("old", by: client)
        server.advance(by: day)
        cut()
        #expect(archived(TestServer.garden) == ["old"])
        server.advance(by: .milliseconds(2))
        cut(keeping: day)
        #expect(archived(TestServer.garden) == ["old"])
        cut(keeping: day + .seconds(1))
        #expect(archived(TestServer.garden) == [])
    }

    @Test("every page of the list is looked at")
    func pages() {
        for number in 0...RoomKeeping.pageMax {
            _ = server.createRoom(RoomOnPaper.bare("room\(number)@conference.capulet.example")) { $0.archiveDays = 1 }
        }
        let last = RoomOnPaper.bare("room99@conference.capulet.example")
        let client = server.occupant("juliet/balcony", as: "julie", of: last)
        say("old", in: last, by: client)
        server.advance(by: day + .seconds(1))
        cut()
        #expect(archived(last) == [])
        client.send("<presence type='unavailable' to='\(last)/julie'/>")
        #expect(destroyForsaken(before: server.time.wallMilliseconds, in: server) == RoomKeeping.pageMax)
        #expect(server.roomsOnDisk().isEmpty)
    }

    @Test("a temporary room that nobody has come back to goes, none that somebody is in, none that stays, and none that is newer")
    func forsaken() {
        _ = server.createRoom()
        _ = server.createRoom(hall)
        _ = server.createRoom(RoomOnPaper.bare("square@conference.capulet.example")) { $0.isPersistent = true }
        for (session, room) in [("juliet/balcony", TestServer.garden), ("romeo/orchard", hall)] { _ = server.occupant(session, as: "one", of: room) }
        let next = TestServer(after: server)
        _ = next.occupant("juliet/balcony", as: "julie")
        next.advance(by: .seconds(1))
        _ = next.createRoom(RoomOnPaper.bare("tomb@conference.capulet.example"))
        #expect(destroyForsaken(before: next.time.wallMilliseconds, in: next) == 1)
        #expect(next.roomsOnDisk() == ["garden", "square", "tomb"].map { "\($0)@conference.capulet.example" })
    }

    @Test("those who were in a temporary room have an hour from the start to come back")
    func hour() {
        #expect(RoomKeeping.lastCreation(wall: 10_000_000, up: .seconds(3_599)) == nil)
        #expect(RoomKeeping.lastCreation(wall: 10_000_000, up: .seconds(3_600)) == 6_400_000)
    }
}
