import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0486 Room avatars, and cards in rooms")
struct RoomCardsTests {
    private let crone = "crone1@shakespeare.lit/desktop"
    private let hag = "hag66@shakespeare.lit/pda"
    /// The SHA-1 of `hello`.
    private let hash = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"

    private func room(_ configure: (inout RoomConfiguration) -> Void = { _ in }) -> RoomOnPaper {
        var room = RoomOnPaper(configure)
        room.enter(crone, as: "firstwitch")
        room.enter(hag, as: "thirdwitch")
        room.forget()
        return room
    }

    private func photo(_ content: String) -> String { "<PHOTO><TYPE>image/png</TYPE><BINVAL>\(content)</BINVAL></PHOTO>" }

    private func set(_ content: String, in room: inout RoomOnPaper, by sender: String) -> [TestStanza] {
        room.forget()
        room.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'>\(content)</vCard></iq>", from: sender)
        return room.received(by: sender)
    }

    // MARK: The room's own

    @Test("the hash of each picture is of its bytes, however it is written (§5.1, XEP-0153 §3.2)")
    func hashes() {
        var room = room()
        _ = set(photo("aGVs\nbG8=") + photo("") + "<PHOTO><EXTVAL>http://example.org/a.png</EXTVAL></PHOTO>" + photo("aGVsbG8="), in: &room, by: crone)
        #expect(room.room.avatarHashes == [hash, hash])
    }

    @Test("a new picture is announced to everybody, and to who enters later, until it is taken away (§3.2, §5.2)")
    func announced() {
        var room = room()
        #expect(set(photo("aGVsbG8="), in: &room, by: crone).map(\.element.localName) == ["iq", "presence", "message"])
        let seen = room.received(by: hag)
        #expect(seen.map(\.from) == Array(repeating: RoomOnPaper.address.description, count: 2))
        #expect(seen.first?.child("x")?.firstChild?.text == hash && seen.last?.statuses == [104])
        let late = "wiccarocks@shakespeare.lit/laptop"
        room.enter(late, as: "secondwitch")
        #expect(room.received(by: late).filter { $0.from == RoomOnPaper.address.description }.map(\.element.localName) == ["presence", "message"])
        room.leave(late, as: "secondwitch")
        #expect(set("", in: &room, by: crone).map(\.element.localName) == ["iq", "presence", "message"])
        room.forget()
        room.enter(late, as: "secondwitch")
        #expect(room.received(by: late).filter { $0.from == RoomOnPaper.address.description }.map(\.element.localName) == ["message"])
    }

    @Test("a card without another picture changes nothing that is announced but that something has changed")
    func samePicture() {
        var room = room()
        _ = set(photo("aGVsbG8="), in: &room, by: crone)
        #expect(set("<FN>The cave</FN>" + photo("aGVsbG8="), in: &room, by: crone).map(\.element.localName) == ["iq", "message"])
    }

    @Test("the hash is on disk with the room, the card beside it")
    func stored() {
        var room = room()
        _ = set(photo("aGVsbG8="), in: &room, by: crone)
        var again = RoomOnPaper()
        let stored = StoredRoom(id: AccountID(raw: 1), record: room.room.record, created: 0)
        again.room = Room(RoomOnPaper.address, stored, usedNames: 0)
        #expect(again.room.avatarHashes == [hash])
        let documents = room.writes.compactMap { write -> String? in
            if case .document(AccountID(raw: 1), _, let bytes?) = write { String(buffer: bytes) } else { nil }
        }
        #expect(documents.count == 1 && documents[0].contains("aGVsbG8="))
    }

    @Test("only owners set the card; what is no base64 is no picture")
    func refused() {
        var room = room()
        #expect(set(photo("aGVsbG8="), in: &room, by: hag).map(\.error) == ["auth/forbidden"])
        #expect(set(photo("hello"), in: &room, by: crone).map(\.error) == ["modify/bad-request"])
        #expect(room.room.avatarHashes == [] && room.writes.filter { if case .document = $0 { true } else { false } }.isEmpty)
    }

    @Test("a card has so many bytes and so many pictures, and not one more")
    func limits() {
        var room = room()
        let card = "<vCard xmlns='vcard-temp'><NOTE>abc</NOTE></vCard>"
        room.limits.vCardBytesMax = card.utf8.count
        #expect(set("<NOTE>abc</NOTE>", in: &room, by: crone).first?.error == nil)
        #expect(set("<NOTE>abcd</NOTE>", in: &room, by: crone).first?.error == "modify/policy-violation")
        room.limits.vCardBytesMax = 100_000
        #expect(set(String(repeating: photo("aGVsbG8="), count: 8), in: &room, by: crone).first?.error == nil)
        #expect(set(String(repeating: photo("aGVsbG8="), count: 9), in: &room, by: crone).first?.error == "modify/policy-violation")
    }

    // MARK: Occupants' cards

    @Test("the account of an occupant of another server is asked, and answers as the occupant (XEP-0045 §17.4)")
    func otherServer() {
        var room = room()
        room.send("<iq type='get' id='c'><vCard xmlns='vcard-temp'/></iq>", from: crone, to: "thirdwitch")
        let asked = room.received(by: "hag66@shakespeare.lit")
        #expect(asked.map(\.from) == ["\(RoomOnPaper.address)/firstwitch"])
        room.leave(hag, as: "thirdwitch")
        room.forget()
        room.answer("<iq type='result' id='c'><vCard xmlns='vcard-temp'><FN>Hag</FN></vCard></iq>", from: "hag66@shakespeare.lit", to: "firstwitch")
        room.answer("<iq type='result' id='c'><vCard xmlns='vcard-temp'/></iq>", from: "hag66@shakespeare.lit", to: "firstwitch")
        #expect(room.received(by: crone).map(\.from) == ["\(RoomOnPaper.address)/thirdwitch"])
    }

    @Test("an error of that account does not say whose it is, and nobody else answers for it")
    func otherServersError() {
        var room = room()
        room.send("<iq type='get' id='c'><vCard xmlns='vcard-temp'/></iq>", from: crone, to: "thirdwitch")
        room.forget()
        let error = "<error type='cancel' by='shakespeare.lit'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>hag66 has none</text></error>"
        room.answer("<iq type='error' id='c'>\(error)</iq>", from: "macbeth@shakespeare.lit", to: "firstwitch")
        #expect(room.received(by: crone).isEmpty)
        room.answer("<iq type='error' id='c'>\(error)</iq>", from: "hag66@shakespeare.lit", to: "firstwitch")
        let answers = room.received(by: crone)
        #expect(answers.map(\.error) == ["cancel/item-not-found"] && answers.first?.description.contains("hag66") == false)
    }

    @Test("who is outside asks no occupant for a card")
    func outside() {
        var room = room()
        room.send("<iq type='get' id='c'><vCard xmlns='vcard-temp'/></iq>", from: "macbeth@shakespeare.lit/throne", to: "thirdwitch")
        #expect(room.received(by: "macbeth@shakespeare.lit/throne").first?.error == "modify/bad-request")
        #expect(room.received(by: "hag66@shakespeare.lit").isEmpty)
    }

    // MARK: In a server

    private let server = TestServer()
    private let council = "council@conference.capulet.example"

    private func enter(_ name: String, as nickname: String) -> TestClient {
        let client = server.online(name)
        client.send("<presence to='\(council)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        client.send("<iq type='set' id='o' to='\(council)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        client.forget()
        return client
    }

    private func card(_ client: TestClient, of address: String) -> TestStanza? {
        client.forget()
        client.send("<iq type='get' id='c' to='\(address)'><vCard xmlns='vcard-temp'/></iq>")
        return client.received().first
    }

    @Test("the room's card is for those who may look into the room (§3.4)")
    func own() {
        let crone = enter("crone1/desktop", as: "firstwitch")
        let hag = server.online("hag66/pda")
        #expect(card(hag, of: council)?.error == "cancel/item-not-found")
        crone.send("<iq type='set' id='v' to='\(council)'><vCard xmlns='vcard-temp'><FN>Council</FN></vCard></iq>")
        #expect(card(hag, of: council)?.child("vCard")?.firstChild?.text == "Council")
        crone.send(
            "<iq type='set' id='o' to='\(council)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field><field var='muc#roomconfig_membersonly'><value>1</value></field></x></query></iq>")
        #expect(card(hag, of: council)?.error == "auth/forbidden")
        #expect(card(crone, of: council)?.child("vCard")?.firstChild?.text == "Council")
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("an account that blocks an occupant does not show him its card (XEP-0191 §3), and one without a card has none")
    func blocked() {
        let crone = enter("crone1/desktop", as: "firstwitch")
        let hag = enter("hag66/pda", as: "thirdwitch")
        #expect(card(crone, of: "\(council)/thirdwitch")?.error == "cancel/service-unavailable")
        hag.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Hag</FN></vCard></iq>")
        #expect(card(crone, of: "\(council)/thirdwitch")?.child("vCard")?.firstChild?.text == "Hag")
        hag.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='\(council)/firstwitch'/></block></iq>")
        let answer = card(crone, of: "\(council)/thirdwitch")
        #expect(answer?.error == "cancel/service-unavailable" && answer?.from == "\(council)/thirdwitch")
        #expect(answer?.description.contains("hag66") == false)
        #expect(server.unfinishedStanzas == 0)
    }
}
