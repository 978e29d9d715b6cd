import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0045 §7.2.9: several sessions under one nickname")
struct RoomSessionsTests {
    /// An owner, and an account that is there with two sessions.
    private func room() -> RoomOnPaper {
        var room = RoomOnPaper()
        room.enter("crone1@shakespeare.lit/desktop", as: "firstwitch")
        room.enter("hag66@shakespeare.lit/pda", as: "thirdwitch")
        room.enter("hag66@shakespeare.lit/phone", as: "thirdwitch")
        room.forget()
        return room
    }

    @Test("a ban of one session takes that one out, and the others stay (§9.1)", arguments: ["pda", "phone"])
    func ban(_ resource: String) {
        var room = room()
        let banned = "hag66@shakespeare.lit/\(resource)"
        let other = "hag66@shakespeare.lit/\(resource == "pda" ? "phone" : "pda")"
        room.administer("<item affiliation='outcast' jid='\(banned)'/>", by: "crone1@shakespeare.lit/desktop")
        let told = room.received(by: banned)
        #expect(told.map(\.type) == ["unavailable"])
        #expect(told.first?.statuses == [110, 301])
        #expect(told.first?.item?.attribute("affiliation") == "outcast")
        room.forget()
        room.send("<message type='groupchat'><body>b</body></message>", from: banned)
        #expect(room.received(by: banned).map(\.error) == ["modify/not-acceptable"])
        room.send("<message type='groupchat'><body>b</body></message>", from: other)
        #expect(room.received(by: other).count == 1)
        #expect(room.received(by: banned).isEmpty)
        room.enter(banned, as: "fourthwitch")
        #expect(room.received(by: banned).map(\.error) == ["auth/forbidden"])
    }

    @Test("a ban of the domain takes all of them out")
    func banAll() {
        var room = room()
        room.administer("<item affiliation='outcast' jid='shakespeare.lit'/>", by: "crone1@shakespeare.lit/desktop")
        for resource in ["pda", "phone"] {
            #expect(room.received(by: "hag66@shakespeare.lit/\(resource)").last?.statuses == [110, 301])
        }
    }

    @Test("who is there under the nickname in another spelling is told that it is the other's (§7.2.3)")
    func spelling() {
        var room = room()
        room.enter("hag66@shakespeare.lit/desk", as: "ThirdWitch")
        let own = room.received(by: "hag66@shakespeare.lit/desk").first { $0.statuses.contains(110) }
        #expect(own?.statuses.contains(210) == true)
        #expect(own?.from == "darkcave@chat.shakespeare.lit/thirdwitch")
        room.enter("hag66@shakespeare.lit/fourth", as: "thirdwitch")
        #expect(room.received(by: "hag66@shakespeare.lit/fourth").contains { $0.statuses.contains(210) } == false)
    }

    @Test("a session that goes away altogether hears that it has left, as one that leaves the room does (§7.14)", arguments: [true, false])
    func goodbye(_ isAlone: Bool) {
        let server = TestServer()
        let room = "council@conference.capulet.example"
        let entrance = "<presence to='\(room)/nurse'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        let hall = server.online("nurse/hall")
        hall.send(entrance)
        hall.send("<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        if !isAlone { server.online("nurse/kitchen").send(entrance) }
        hall.forget()
        hall.send("<presence type='unavailable'/>")
        let own = hall.received().filter { $0.from == "\(room)/nurse" }
        #expect(own.map(\.type) == ["unavailable"])
        #expect(own.first?.statuses.contains(110) == true)
    }
}

@Suite("XEP-0045: bounds and order in a room")
struct RoomBoundsTests {
    private let owner = "crone1@shakespeare.lit/desktop"
    private let hag = "hag66@shakespeare.lit/pda"

    @Test("a farewell is no longer than a presence: what is too long is left out", arguments: [true, false])
    func farewell(_ isLong: Bool) {
        var room = RoomOnPaper()
        room.enter(owner, as: "firstwitch")
        room.enter(hag, as: "thirdwitch")
        room.forget()
        let frame = "<presence type='unavailable'><status></status></presence>"
        let status = String(repeating: "x", count: room.limits.presenceBytesMax - frame.utf8.count + (isLong ? 1 : 0))
        room.send("<presence type='unavailable'><status>\(status)</status></presence>", from: hag, to: "thirdwitch")
        let told = room.received(by: owner)
        #expect(told.map(\.type) == ["unavailable"])
        #expect((told.first?.child("status") == nil) == isLong)
    }

    @Test("reasons of declines and threads of invitations have a bound", arguments: [true, false])
    func reasons(_ isLong: Bool) {
        var room = RoomOnPaper()
        room.enter(owner, as: "firstwitch")
        let text = String(repeating: "x", count: room.limits.reasonBytesMax + (isLong ? 1 : 0))
        let x = { (content: String) in "<message><x xmlns='http://jabber.org/protocol/muc#user'>\(content)</x></message>" }
        room.forget()
        room.send(x("<invite to='hag66@shakespeare.lit'><continue thread='\(text)'/></invite>"), from: owner)
        #expect(room.received(by: owner).map(\.error) == (isLong ? ["modify/not-acceptable"] : []))
        room.send(x("<invite to='hag66@shakespeare.lit'/>"), from: owner)
        room.forget()
        room.send(x("<decline to='crone1@shakespeare.lit'><reason>\(text)</reason></decline>"), from: hag)
        #expect(room.received(by: hag).map(\.error) == (isLong ? ["modify/not-acceptable"] : []))
        #expect(room.received(by: owner).count == (isLong ? 0 : 1))
    }

    @Test("nobody registers with a room that is not ready (§10.1.1)")
    func locked() {
        let server = TestServer()
        let room = "council@conference.capulet.example"
        let (nurse, romeo) = (server.online("nurse/hall"), server.online("romeo/orchard"))
        nurse.send("<presence to='\(room)/nurse'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        let form = "<iq type='get' id='r' to='\(room)'><query xmlns='jabber:iq:register'/></iq>"
        let registration =
            "<iq type='set' id='r' to='\(room)'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_roomnick'><value>romeo</value></field></x></query></iq>"
        romeo.send(form)
        romeo.send(registration)
        #expect(romeo.received().map(\.error) == ["cancel/item-not-found", "cancel/item-not-found"])
        nurse.send("<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        romeo.send(registration)
        #expect(romeo.received().map(\.error) == [nil])
    }

    @Test("an answer finds who asked by the nickname that he had then, and comes from the one that was asked (RFC 6120 §8.2.3)")
    func renamed() {
        var room = RoomOnPaper()
        room.enter(owner, as: "firstwitch")
        room.enter(hag, as: "thirdwitch")
        room.forget()
        room.send("<iq type='get' id='v'><query xmlns='jabber:iq:version'/></iq>", from: owner, to: "thirdwitch")
        #expect(room.received(by: hag).map(\.from) == ["darkcave@chat.shakespeare.lit/firstwitch"])
        room.send("<presence/>", from: owner, to: "secondwitch")
        room.send("<presence/>", from: hag, to: "fourthwitch")
        room.forget()
        room.send("<iq type='result' id='v'/>", from: hag, to: "firstwitch")
        let answers = room.received(by: owner)
        #expect(answers.map(\.from) == ["darkcave@chat.shakespeare.lit/thirdwitch"])
        #expect(answers.map(\.id) == ["v"])
        room.send("<iq type='result' id='v'/>", from: hag, to: "firstwitch")
        #expect(room.received(by: owner).isEmpty)
    }
}

@Suite("XEP-0045 §7.2.13: the history of a room that is read again")
struct RoomHistoryAgainTests {
    private let room = "council@conference.capulet.example"

    private func enter(_ client: TestClient, as nickname: String) {
        client.send("<presence to='\(room)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    }

    /// What a newcomer is shown before, and another one after, the server has been started again.
    private func shown(_ settings: MultiUserChat.Settings = .init(identities: OccupantIDs(secret: Array("occupants".utf8))), _ say: (TestClient, String) -> Void) -> (before: [String], after: [String]) {
        let server = TestServer(roomSettings: settings)
        let nurse = server.online("nurse/hall")
        enter(nurse, as: "nurse")
        nurse.send(
            "<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field><field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query></iq>")
        nurse.forget()
        say(nurse, room)
        let before = shown(to: server.online("paris/hall"), as: "paris")
        let next = server.restarted()
        return withExtendedLifetime(next) { (before, shown(to: next.online("romeo/orchard"), as: "romeo")) }
    }

    private func shown(to client: TestClient, as nickname: String) -> [String] {
        enter(client, as: nickname)
        return client.received().filter { $0.type == "groupchat" }.map { $0.child("body")?.text ?? "<\($0.child("subject")?.text ?? "")>" }
    }

    @Test("only the subject of today comes, and it comes last (§7.2.15)")
    func subjects() {
        let shown = shown { nurse, room in
            nurse.send("<message type='groupchat' to='\(room)'><subject>first</subject></message>")
            nurse.send("<message type='groupchat' to='\(room)'><body>b</body></message>")
            nurse.send("<message type='groupchat' to='\(room)'><subject>second</subject></message>")
        }
        #expect(shown.before == ["b", "<second>"])
        #expect(shown.after == ["b", "<second>"])
    }

    @Test("it has no more bytes than it had before, and the last ones")
    func bytes() {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        settings.limits.historyBytesMax = 6_000
        let shown = shown(settings) { nurse, room in
            for number in 1...9 {
                let body = "\(number)" + String(repeating: "x", count: 700)
                nurse.send("<message type='groupchat' to='\(room)'><body>\(body)</body></message>")
            }
        }
        #expect((3..<9).contains(shown.before.count))
        #expect((3...shown.before.count).contains(shown.after.count))
        #expect(shown.after == shown.before.suffix(shown.after.count))
    }
}
