import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0317 Hats, and what else a room has commands for")
struct HatsTests {
    private let crone = "crone1@shakespeare.lit/desktop"
    private let hag = "hag66@shakespeare.lit/pda"
    private let teacher = "http://tech.example.edu/hats#Teacher"

    private func room() -> RoomOnPaper {
        var room = RoomOnPaper()
        room.enter(crone, as: "firstwitch")
        room.enter(hag, as: "thirdwitch")
        room.forget()
        return room
    }

    @discardableResult
    private func run(_ command: String, _ fields: KeyValuePairs<String, String>, in room: inout RoomOnPaper, by sender: String) -> TestStanza? {
        let form = fields.map { "<field var='\($0.key)'><value>\($0.value)</value></field>" }.joined()
        let type = "<field var='FORM_TYPE'><value>\(command.hasSuffix(":notices") ? command : "urn:xmpp:hats:commands")</value></field>"
        let node = command.hasPrefix("urn:") ? command : "urn:xmpp:hats:commands:\(command)"
        room.forget()
        room.send(
            "<iq type='set' id='c'><command xmlns='http://jabber.org/protocol/commands' node='\(node)'><x xmlns='jabber:x:data' type='submit'>\(type)\(form)</x></command></iq>",
            from: sender)
        return room.peek(sender).first
    }

    private func create(_ uri: String, _ title: String = "Teacher", in room: inout RoomOnPaper) -> String? {
        run("create", ["hats#title": title, "hats#uri": uri], in: &room, by: crone)?.error
    }

    private func assign(_ uri: String, to account: String, in room: inout RoomOnPaper) -> String? {
        run("assign", ["hats#jid": account, "hats#uri": uri], in: &room, by: crone)?.error
    }

    private func hats(_ stanza: TestStanza?) -> [String] { stanza?.child("hats")?.children.compactMap { $0.attribute("title") } ?? [] }

    private func rows(_ reply: TestStanza?) -> [[String]] {
        reply?.child("command")?.firstChild?.children.filter { $0.localName == "item" }.map { item in item.children.map { $0.firstChild?.text ?? "" } } ?? []
    }

    // MARK: Hats

    @Test("a hat that is changed is shown changed by all who wear it, and one that is destroyed by nobody (§3.2, §3.3)")
    func changed() {
        var room = room()
        _ = create(teacher, in: &room)
        _ = assign(teacher, to: "hag66@shakespeare.lit", in: &room)
        #expect(hats(room.received(by: hag).last) == ["Teacher"])
        let before = room.room.affiliations.version
        _ = create(teacher, "Head teacher", in: &room)
        #expect(room.received(by: hag).map { hats($0) } == [[], ["Head teacher"]])
        run("destroy", ["hats#uri": teacher], in: &room, by: crone)
        #expect(room.received(by: hag).map { $0.element.localName } == ["message", "presence"] && room.room.hats.isEmpty)
        // Nobody has more or less of an affiliation than before (XEP-0463), and nothing is left of what was known of hag66.
        #expect(room.room.affiliations.version == before && room.room.affiliations.count == 1)
        _ = create(teacher, in: &room)
        room.send("<presence/>", from: hag, to: "thirdwitch")
        #expect(hats(room.received(by: hag).last) == [])
    }

    @Test("hats come back from the disk, and so does who wears them")
    func stored() {
        var room = room()
        _ = create(teacher, in: &room)
        _ = assign(teacher, to: "hag66@shakespeare.lit", in: &room)
        let lines = room.writes.compactMap { if case .room(.setAffiliation(_, let line)) = $0 { line } else { nil } }
        let owner = StoredAffiliation(address: RoomOnPaper.jid("crone1@shakespeare.lit"), affiliation: RoomAffiliation.owner.rawValue, version: 1)
        let stored = StoredRoom(id: AccountID(raw: 1), record: room.room.record, created: 0, affiliations: [owner] + lines)
        room.room = Room(RoomOnPaper.address, stored, usedNames: 0)
        room.forget()
        room.enter(hag, as: "thirdwitch")
        #expect(hats(room.received(by: hag).first) == ["Teacher"])
        #expect(rows(run("list-assigned", [:], in: &room, by: crone)) == [["hag66@shakespeare.lit", teacher, "Teacher", ""]])
        #expect(rows(run("list", [:], in: &room, by: hag)) == [["Teacher", teacher, ""]])
        run("unassign", ["hats#jid": "hag66@shakespeare.lit", "hats#uri": teacher], in: &room, by: crone)
        #expect(room.writes.contains { if case .room(.removeAffiliation(_, RoomOnPaper.jid("hag66@shakespeare.lit"))) = $0 { true } else { false } })
    }

    @Test("only administrators give hats, only those who may see addresses see who has which, and no outcast wears one")
    func allowed() {
        var room = room()
        #expect(run("create", ["hats#title": "Teacher", "hats#uri": teacher], in: &room, by: hag)?.error == "auth/forbidden")
        #expect(run("list-assigned", [:], in: &room, by: hag)?.error == "auth/forbidden")
        _ = create(teacher, in: &room)
        room.administer("<item affiliation='outcast' jid='macbeth@shakespeare.lit'/>", by: crone)
        #expect(assign(teacher, to: "macbeth@shakespeare.lit", in: &room) == "cancel/not-allowed")
        _ = assign(teacher, to: "hag66@shakespeare.lit", in: &room)
        room.administer("<item affiliation='outcast' jid='hag66@shakespeare.lit'/>", by: crone)
        #expect(room.room.affiliations[RoomOnPaper.jid("hag66@shakespeare.lit")]?.details.isEmpty == true)
    }

    @Test("what is no hat is refused: no title, no URI, no angle")
    func malformed() {
        var room = room()
        for fields: KeyValuePairs<String, String> in [
            ["hats#uri": teacher], ["hats#title": "T"], ["hats#title": "T", "hats#uri": "teacher"], ["hats#title": "T", "hats#uri": "http:a b"],
            ["hats#title": "T", "hats#uri": teacher, "hats#hue": "360.1"], ["hats#title": "T", "hats#uri": teacher, "hats#hue": "-1"],
            ["hats#title": "T", "hats#uri": teacher, "hats#hue": "1e2"],
        ] {
            let reply = run("create", fields, in: &room, by: crone)
            #expect(reply?.error == "modify/bad-request" && reply?.description.contains("<bad-payload") == true, "\(fields)")
        }
        #expect(run("create", ["hats#title": "T", "hats#uri": teacher, "hats#hue": "360"], in: &room, by: crone)?.error == nil)
        #expect(assign("urn:x:none", to: "hag66@shakespeare.lit", in: &room) == "cancel/item-not-found")
        #expect(run("unassign", ["hats#jid": "hag66@shakespeare.lit", "hats#uri": teacher], in: &room, by: crone)?.error == "cancel/item-not-found")
    }

    @Test("a room has so many hats, a title so many bytes, and not one more")
    func limits() {
        var room = room()
        #expect(create(teacher, String(repeating: "a", count: 255), in: &room) == nil)
        #expect(create("urn:x:long", String(repeating: "a", count: 256), in: &room) == "modify/not-acceptable")
        for number in 1..<64 { #expect(create("urn:x:\(number)", in: &room) == nil) }
        #expect(create("urn:x:64", in: &room) == "wait/resource-constraint")
        #expect(create("urn:x:63", "Another title", in: &room) == nil)
        // An account wears eight, all together 512.
        for number in 1...8 { #expect(assign("urn:x:\(number)", to: "hag66@shakespeare.lit", in: &room) == nil) }
        #expect(assign("urn:x:9", to: "hag66@shakespeare.lit", in: &room) == "wait/resource-constraint")
        for account in 1..<64 {
            for number in 1...8 { #expect(assign("urn:x:\(number)", to: "a\(account)@shakespeare.lit", in: &room) == nil) }
        }
        #expect(assign("urn:x:1", to: "last@shakespeare.lit", in: &room) == "wait/resource-constraint")
    }

    @Test("the hash of the list changes with it (§2)")
    func hash() {
        var room = room()
        func hash() -> String? {
            room.forget()
            room.send("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", from: hag)
            let form = room.peek(hag).first?.child("query")?.children.first { $0.localName == "x" }
            return form?.children.first { $0.attribute("var") == "hats#hash" }?.firstChild?.text
        }
        var hashes = [hash()]
        _ = create(teacher, in: &room)
        hashes.append(hash())
        _ = create(teacher, "Head teacher", in: &room)
        hashes.append(hash())
        #expect(hashes[0] == nil && Set(hashes).count == 3)
    }

    // MARK: Commands

    @Test("the list of commands has those that one may use (XEP-0050 §2.2)")
    func list() {
        var room = room()
        func nodes(_ session: String) -> [String] {
            room.forget()
            room.send("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>", from: session)
            return room.peek(session).first?.child("query")?.children.compactMap { $0.attribute("node") } ?? []
        }
        #expect(nodes(crone).count == 7)
        #expect(nodes(hag) == ["urn:xmpp:hats:commands:list"])
        for (node, error) in [("urn:xmpp:hats:commands:list", nil), ("urn:xmpp:hats:commands:create", "auth/forbidden"), ("urn:x:none", "cancel/item-not-found")] {
            room.forget()
            room.send("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#info' node='\(node)'/></iq>", from: hag)
            #expect(room.peek(hag).first?.error == error, "\(node)")
        }
    }

    @Test("members say what they want to be told of while they are away; others have nothing to say")
    func notices() {
        var room = room()
        let node = "urn:x-martlet:room:notices"
        #expect(run(node, ["notices": "all"], in: &room, by: hag)?.error == "auth/forbidden")
        #expect(run(node, ["notices": "all"], in: &room, by: crone)?.error == nil)
        let owner = RoomOnPaper.jid("crone1@shakespeare.lit")
        #expect(room.room.affiliations[owner]?.details.notices == .all)
        #expect(run(node, ["notices": "something"], in: &room, by: crone)?.error == "modify/bad-request")
        #expect(room.room.affiliations[owner]?.details.notices == .all)
        _ = run(node, ["notices": "room"], in: &room, by: crone)
        #expect(room.room.affiliations[owner]?.details.isEmpty == true)
    }
}
