import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

/// What came of an order, once it is known.
final class Outcome<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, RoomOrderFailure>?>(nil)
    func set(_ new: Result<Value, RoomOrderFailure>) { result.withLock { $0 = new } }
    var value: Result<Value, RoomOrderFailure>? { result.withLock { $0 } }
    var failure: RoomOrderFailure? { if case .failure(let failure)? = value { failure } else { nil } }
    var isSuccess: Bool { if case .success? = value { true } else { false } }
}

extension TestServer {
    static let garden = RoomOnPaper.bare("garden@conference.capulet.example")

    /// What an operator does to a room; everything has happened that can happen when this returns.
    func order<Value: Sendable>(
        _ address: BareJID = TestServer.garden,
        _ work: @escaping @Sendable (inout Room, RoomMoment, inout RoomEffects) throws(RoomOrderFailure) -> Value
    ) -> Outcome<Value> {
        let outcome = Outcome<Value>()
        rooms(of: address).withRoom(address, router, context, work) { outcome.set($0) }
        context.flush()
        run()
        return outcome
    }

    func createRoom(
        _ address: BareJID = TestServer.garden, owners: [String] = ["nurse@capulet.example"], _ configure: (inout RoomConfiguration) -> Void = { _ in }
    ) -> Outcome<Void> {
        let outcome = Outcome<Void>()
        var configuration = RoomConfiguration()
        configure(&configuration)
        rooms(of: address).createRoom(address, configuration, owners: owners.map(RoomOnPaper.bare), router, context) { outcome.set($0) }
        context.flush()
        run()
        return outcome
    }

    private func rooms(of address: BareJID) -> MultiUserChat {
        guard let rooms = context.hosts.service(of: address)?.service as? MultiUserChat else { preconditionFailure("no rooms at \(address)") }
        return rooms
    }

    /// A session in the room, which has read all that it was shown.
    func occupant(_ session: String, as nickname: String, of room: BareJID = TestServer.garden) -> TestClient {
        let client = client(session)
        client.send("<presence to='\(room)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        client.forget()
        return client
    }

    func roomsOnDisk() -> [String] { store.contents.page(RoomListRequest(domain: "conference.capulet.example", limit: 100)).rooms.map(\.address.description) }
}

@Suite("What operators do to rooms")
struct RoomOperatorTests {
    private let server = TestServer()
    private let juliet = RoomOnPaper.jid("juliet@capulet.example")

    private func set(
        _ address: String, _ affiliation: RoomAffiliation, reason: String? = nil, nickname: String? = nil, in server: TestServer? = nil
    ) -> Outcome<Void> {
        let address = RoomOnPaper.jid(address)
        return (server ?? self.server).order { room, moment, effects throws(RoomOrderFailure) in
            try room.setAffiliation(of: address, to: affiliation, reason: reason, nickname: nickname, moment, &effects)
        }
    }

    private func affiliation(of address: JID) -> RoomAffiliation? { try? server.order { room, _, _ in room.affiliations.affiliation(of: address) }.value?.get() }

    @Test("there is no room before one is made, and not a second one at its address")
    func create() {
        #expect(server.order { room, _, _ in room.id }.failure == .absent)
        #expect(server.createRoom().isSuccess)
        #expect(server.createRoom().failure == .exists)
        #expect(server.roomsOnDisk() == ["garden@conference.capulet.example"])
        #expect(server.order { room, _, _ in room.isLocked }.value == .success(false))
    }

    @Test("a room that an operator made can be entered at once, by anybody (§10.1)")
    func enterCreated() {
        _ = server.createRoom()
        let client = server.client("juliet/balcony")
        client.send("<presence to='garden@conference.capulet.example/julie'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(client.received().first?.statuses.contains(110) == true)
    }

    @Test("what is not on disk is not done: an operator hears of a disk that refuses")
    func full() {
        server.store.failSubmits(with: .full, next: 1)
        #expect(server.createRoom().failure == .store(.full))
        #expect(server.createRoom().isSuccess)
        server.store.failSubmits(with: .full, next: 1)
        #expect(set("juliet@capulet.example", .member).failure == .store(.full))
        #expect(affiliation(of: juliet) == RoomAffiliation.none)
    }

    @Test("what cannot be read is said, and can be read later")
    func unreadable() {
        _ = server.createRoom { $0.isPersistent = true }
        let next = TestServer(after: server)
        next.store.failReads(with: .unavailable("test"))
        #expect(set("juliet@capulet.example", .member, in: next).failure == .store(.unavailable("the room cannot be read")))
        next.store.failReads(with: nil)
        #expect(set("juliet@capulet.example", .member, in: next).isSuccess)
    }

    // MARK: Affiliations

    @Test("an affiliation that is set is seen by whoever is in the room, and reserves the nickname (§9, §7.10)")
    func affiliation() {
        _ = server.createRoom()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        let romeo = server.occupant("romeo/orchard", as: "romeo")
        juliet.forget()
        #expect(set("juliet@capulet.example", .admin, reason: "she knows", nickname: "julie").isSuccess)
        for client in [juliet, romeo] {
            let told = client.received().first
            #expect(told?.item?.attribute("affiliation") == "admin" && told?.item?.attribute("role") == "moderator")
            #expect(told?.item?.children.first { $0.localName == "reason" }?.text == "she knows")
        }
        #expect(server.order { room, _, _ in room.affiliations.reservedNickname(of: RoomOnPaper.bare("juliet@capulet.example")) }.value == .success("julie"))
    }

    @Test("who is banned is put out (§9.1); a session and a domain can be banned, and nothing else be given to them")
    func ban() {
        _ = server.createRoom { $0.isPersistent = true }
        let juliet = server.occupant("juliet/balcony", as: "julie")
        #expect(set("juliet@capulet.example/balcony", .member).failure != nil)
        #expect(set("capulet.example", .owner).failure != nil)
        #expect(set("juliet@capulet.example/garden", .outcast).isSuccess)
        #expect(juliet.received().isEmpty)
        #expect(set("capulet.example", .outcast).isSuccess)
        #expect(juliet.received().first?.statuses == [110, 301])
        #expect(set("capulet.example", .none).isSuccess)
        #expect(set("juliet@capulet.example/elsewhere", .none).failure != nil)
    }

    @Test("the last owner stays one, also by an operator (§10.4)")
    func lastOwner() {
        _ = server.createRoom()
        #expect(set("nurse@capulet.example", .none).failure == .refused("nurse@capulet.example is the room's only owner"))
        #expect(set("nurse@capulet.example", .owner).isSuccess)
        #expect(set("juliet@capulet.example", .owner).isSuccess)
        #expect(set("nurse@capulet.example", .none).isSuccess)
    }

    @Test("as many affiliations as are allowed, and no more; who has one can get another")
    func affiliationsMax() {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        settings.limits.affiliationsMax = 3
        let server = TestServer(roomSettings: settings)
        let owners = ["a", "b", "c", "d"].map { "\($0)@capulet.example" }
        #expect(server.createRoom(owners: owners).failure != nil)
        #expect(server.createRoom(RoomOnPaper.bare("hall@conference.capulet.example"), owners: Array(owners.prefix(3))).isSuccess)
        _ = server.createRoom()
        #expect(set("a@capulet.example", .member, in: server).isSuccess)
        #expect(set("b@capulet.example", .member, in: server).isSuccess)
        #expect(set("c@capulet.example", .member, in: server).failure != nil)
        #expect(set("b@capulet.example", .admin, in: server).isSuccess)
    }

    @Test("a nickname is reserved for one, who is at least a member, and is no longer than nicknames are; a reason has its limit too")
    func nickname() {
        _ = server.createRoom()
        _ = server.occupant("romeo/orchard", as: "romeo")
        #expect(set("juliet@capulet.example", .member, nickname: "Romeo").failure == .refused("the nickname is taken"))
        #expect(set("juliet@capulet.example", .outcast, nickname: "julie").failure != nil)
        #expect(set("juliet@capulet.example", .member, nickname: String(repeating: "j", count: 256)).failure != nil)
        #expect(set("juliet@capulet.example", .member, nickname: String(repeating: "j", count: 255)).isSuccess)
        #expect(set("juliet@capulet.example", .member, reason: String(repeating: "r", count: 8_193)).failure != nil)
        #expect(set("juliet@capulet.example", .member, reason: String(repeating: "r", count: 8_192)).isSuccess)
    }

    @Test("orders that come while the room is read wait for it, in order, with the stanzas that do")
    func whileReading() {
        _ = server.createRoom { $0.isPersistent = true }
        let next = TestServer(after: server)
        let first = Outcome<Int>()
        let second = Outcome<Int>()
        let rooms = next.context.hosts.service(of: TestServer.garden)?.service as? MultiUserChat
        rooms?.withRoom(TestServer.garden, next.router, next.context, { room, moment, effects throws(RoomOrderFailure) in
            try room.setAffiliation(of: RoomOnPaper.jid("juliet@capulet.example"), to: .member, reason: nil, nickname: nil, moment, &effects)
            return room.affiliations.count
        }) { first.set($0) }
        rooms?.withRoom(TestServer.garden, next.router, next.context, { room, _, _ in room.affiliations.count }) { second.set($0) }
        let client = next.occupant("romeo/orchard", as: "romeo")
        #expect(first.value == .success(2) && second.value == .success(2))
        client.send("<message type='groupchat' to='garden@conference.capulet.example'><body>here</body></message>")
        #expect(client.received().count == 1)
    }

    @Test("while a room is read so many orders wait for it, and no more", arguments: [1, 2, 3])
    func ordersMax(max: Int) {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        settings.limits.parkedMax = max
        let server = TestServer(roomSettings: settings)
        let rooms = server.context.hosts.service(of: TestServer.garden)?.service as? MultiUserChat
        let outcomes = (0..<3).map { _ in Outcome<Int>() }
        for outcome in outcomes {
            rooms?.withRoom(TestServer.garden, server.router, server.context, { room, _, _ in room.affiliations.count }) { outcome.set($0) }
        }
        server.context.flush()
        server.run()
        #expect(outcomes.map(\.failure) == (0..<3).map { $0 < max ? .absent : .busy })
    }

    // MARK: The end

    @Test("who is in a room that is destroyed is told why, and where to go (§10.9)")
    func destroy() {
        _ = server.createRoom { $0.isPersistent = true }
        let juliet = server.occupant("juliet/balcony", as: "julie")
        let destroyed = server.order { room, _, effects in room.destroy(venue: RoomOnPaper.bare("hall@conference.capulet.example"), reason: "rain", &effects) }
        #expect(destroyed.isSuccess)
        let told = juliet.received().first
        let destruction = told?.child("x")?.children.first { $0.localName == "destroy" }
        #expect(told?.type == "unavailable" && destruction?.attribute("jid") == "hall@conference.capulet.example")
        #expect(destruction?.children.first { $0.localName == "reason" }?.text == "rain")
        #expect(server.roomsOnDisk().isEmpty)
        #expect(server.order { room, _, _ in room.id }.failure == .absent)
        #expect(server.createRoom().isSuccess)
    }

    @Test("what is forgotten is neither in the archive nor shown to those who enter")
    func forget() {
        _ = server.createRoom()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        juliet.send("<message type='groupchat' to='garden@conference.capulet.example'><body>soft</body></message>")
        let floor = server.router.ids.last(wallMilliseconds: server.time.wallMilliseconds)
        #expect(server.order { room, _, effects in room.forget(upTo: floor, &effects) }.isSuccess)
        juliet.send("<message type='groupchat' to='garden@conference.capulet.example'><body>loud</body></message>")
        let romeo = server.client("romeo/orchard")
        romeo.send("<presence to='garden@conference.capulet.example/romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(romeo.received().compactMap { $0.child("body")?.text } == ["loud"])
    }

    // MARK: Temporary rooms

    @Test("a temporary room goes with its last occupant (§4.2)")
    func temporary() {
        _ = server.createRoom()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        juliet.send("<presence type='unavailable' to='garden@conference.capulet.example/julie'/>")
        #expect(server.roomsOnDisk().isEmpty)
    }

    @Test("a temporary room is there after a crash for those who come back, whoever asks after it before")
    func afterCrash() {
        _ = server.createRoom()
        let juliet = server.occupant("juliet/balcony", as: "julie")
        juliet.send("<message type='groupchat' to='garden@conference.capulet.example'><body>soft</body></message>")
        let next = TestServer(after: server)
        let romeo = next.client("romeo/orchard")
        romeo.send("<iq type='get' id='i' to='garden@conference.capulet.example'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        #expect(next.order { room, _, _ in room.occupants.count }.value == .success(0))
        let back = next.client("juliet/balcony")
        back.send("<presence to='garden@conference.capulet.example/julie'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(back.received().compactMap { $0.child("body")?.text } == ["soft"])
    }
}
