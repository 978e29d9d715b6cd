import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0452 Notices for members who are not in the room")
struct MentionNotificationsTests {
    private let crone = "crone1@shakespeare.lit/desktop"
    private let hag = "hag66@shakespeare.lit"

    /// `hag66` is a member whose nickname is `Third Witch`, and away.
    private func room(_ notices: RoomConfiguration.MemberNotices = .mentions) -> RoomOnPaper {
        var room = RoomOnPaper { $0.memberNotices = notices }
        room.enter(crone, as: "firstwitch")
        room.administer("<item affiliation='member' jid='\(hag)' nick='Third Witch'/>", by: crone)
        room.forget()
        return room
    }

    private func say(_ body: String, _ more: String = "", in room: inout RoomOnPaper) {
        room.send("<message type='groupchat' id='m'><body>\(body)</body>\(more)</message>", from: crone)
    }

    private func mention(_ uri: String, type: String = "mention") -> String {
        "<reference xmlns='urn:xmpp:reference:0' type='\(type)' begin='0' end='1' uri='\(uri)'/>"
    }

    private func isTold(_ body: String, _ more: String = "", in room: RoomOnPaper) -> Bool {
        var room = room
        room.forget()
        say(body, more, in: &room)
        return !room.received(by: hag).isEmpty
    }

    private func choose(_ notices: String, _ session: String, in room: inout RoomOnPaper) {
        let node = "urn:x-martlet:room:notices"
        let form = "<field var='FORM_TYPE'><value>\(node)</value></field><field var='notices'><value>\(notices)</value></field>"
        room.send(
            "<iq type='set' id='c'><command xmlns='http://jabber.org/protocol/commands' node='\(node)'><x xmlns='jabber:x:data' type='submit'>\(form)</x></command></iq>",
            from: session)
    }

    // MARK: Mentions

    @Test("a member is mentioned by a reference to his address, or to that of his nickname in the room (§3.2)")
    func references() {
        let room = room()
        #expect(isTold("x", mention("xmpp:\(hag)"), in: room))
        #expect(isTold("x", mention("XMPP:hag66%40shakespeare.lit"), in: room))
        #expect(isTold("x", mention("xmpp:\(hag)/pda?message"), in: room))
        #expect(isTold("x", mention("xmpp:\(RoomOnPaper.address)/third%20witch"), in: room))
        #expect(!isTold("x", mention("xmpp:\(RoomOnPaper.address)/firstwitch"), in: room))
        #expect(!isTold("x", mention("xmpp:\(hag)", type: "data"), in: room))
        for uri in ["mailto:\(hag)", "xmpp:", "xmpp:hag66%4", "xmpp:%ff@shakespeare.lit", "xmpp:\(RoomOnPaper.address)"] {
            #expect(!isTold("x", mention(uri), in: room), "\(uri)")
        }
    }

    @Test("a member is mentioned by his reserved nickname, as whole words, however they are written", arguments: [
        ("Third Witch: thrice the brinded cat", true), ("ask THIRD   witch, please", true), ("(third witch)", true), ("«Third Witch»", true), ("@Third Witch", true),
        ("who is third witch?", true), ("third witchcraft", false), ("athird witch", false), ("third", false), ("witch third", false),
        ("firstwitch: thrice", false),
    ])
    func names(body: String, isMentioned: Bool) {
        #expect(isTold(body, in: room()) == isMentioned)
    }

    @Test("nicknames are looked for in so much of a text, and in so many words")
    func textLimits() {
        let padding = String(repeating: "a", count: 1_024 - 12)
        #expect(isTold("\(padding) Third Witch", in: room()))
        #expect(!isTold("\(padding)a Third Witch", in: room()))
        for (nickname, isFound) in [("a b c", true), ("a b c d", false)] {
            var room = room()
            room.administer("<item affiliation='member' jid='\(hag)' nick='\(nickname)'/>", by: crone)
            #expect(isTold("oh \(nickname) !", in: room) == isFound)
        }
    }

    @Test("so many references of a message count, and not one more")
    func referenceLimit() {
        let others = (1..<32).map { mention("xmpp:a\($0)@shakespeare.lit") }.joined()
        #expect(isTold("x", others + mention("xmpp:\(hag)"), in: room()))
        #expect(!isTold("x", others + mention("xmpp:b@shakespeare.lit") + mention("xmpp:\(hag)"), in: room()))
    }

    @Test("a notice is the whole message as occupants get it, from the room to the account, once (§3.2)")
    func notice() throws {
        var room = room()
        say("Third Witch: and again, Third Witch", mention("xmpp:\(hag)"), in: &room)
        let notices = room.received(by: hag)
        #expect(notices.count == 1)
        let notice = try #require(notices.first)
        #expect(notice.from == RoomOnPaper.address.description && notice.type == nil)
        let said = try #require(notice.child("mentions")?.firstChild?.children.first { $0.localName == "message" })
        let live = try #require(room.received(by: crone).first)
        #expect(said.attribute("from") == "\(RoomOnPaper.address)/firstwitch" && said.attribute("id") == "m")
        #expect(said.firstChild("stanza-id", "urn:xmpp:sid:0")?.attribute("id") == live.child("stanza-id")?.attribute("id"))
        #expect(!notice.description.contains("crone1"))
    }

    @Test("who is here, who is no member any more and who is banned is told nothing")
    func others() {
        var room = room()
        let mention = mention("xmpp:\(hag)")
        room.enter("\(hag)/pda", as: "Third Witch")
        #expect(!isTold("Third Witch", mention, in: room))
        room.enter("\(hag)/broom", as: "Third Witch")
        room.leave("\(hag)/pda", as: "Third Witch")
        #expect(!isTold("Third Witch", mention, in: room))
        room.leave("\(hag)/broom", as: "Third Witch")
        #expect(isTold("Third Witch", in: room) && isTold("x", mention, in: room))
        for affiliation in ["none", "outcast"] {
            var room = room
            room.administer("<item affiliation='\(affiliation)' jid='\(hag)'/>", by: crone)
            #expect(!isTold("Third Witch", mention, in: room))
        }
    }

    @Test("only what a person says is told of, and no subject")
    func contents() {
        let mention = mention("xmpp:\(hag)")
        for content in ["<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<subject>Third Witch</subject>", "<displayed xmlns='urn:xmpp:chat-markers:0' id='a'/>"] {
            var room = room(.all)
            room.send("<message type='groupchat'>\(content)\(mention)</message>", from: crone)
            #expect(room.received(by: hag).isEmpty, "\(content)")
        }
        var room = room(.all)
        room.send("<message type='groupchat'><encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted></message>", from: crone)
        #expect(room.received(by: hag).count == 1)
    }

    // MARK: Who wants what

    @Test("what the room has it for all, each member may want otherwise")
    func choices() {
        let cases: [(RoomConfiguration.MemberNotices, own: String?, mentions: Bool, all: Bool)] = [
            (.nothing, nil, false, false), (.mentions, nil, true, false), (.all, nil, true, true), (.all, "none", false, false),
            (.all, "mentions", true, false), (.nothing, "all", true, true), (.nothing, "mentions", true, false), (.mentions, "room", true, false),
        ]
        for (notices, own, mentions, all) in cases {
            var room = room(notices)
            if let own {
                choose(own, "\(hag)/pda", in: &room)
                room.forget()
            }
            #expect(isTold("Third Witch", in: room) == mentions, "\(notices) \(own ?? "-")")
            #expect(isTold("x", mention("xmpp:\(hag)"), in: room) == mentions, "\(notices) \(own ?? "-")")
            #expect(isTold("something else", in: room) == all, "\(notices) \(own ?? "-")")
        }
    }

    @Test("the switch of the XEP is another view of the room's choice: whichever differs counts (§3.1)")
    func configuration() throws {
        func changed(_ old: RoomConfiguration.MemberNotices, _ fields: KeyValuePairs<String, String>) throws -> RoomConfiguration.MemberNotices {
            var configuration = RoomConfiguration()
            configuration.memberNotices = old
            let form = DataForm(.submit, type: RoomConfiguration.formType, fields: fields.map { .init($0.key, nil, [$0.value]) })
            try configuration.take(form, limits: RoomLimits())
            return configuration.memberNotices
        }
        let (choice, flag) = ("muc#roomconfig_membernotices", "muc#roomconfig_forwardmentions")
        #expect(try changed(.nothing, [flag: "1"]) == .mentions && changed(.all, [flag: "1"]) == .all && changed(.all, [flag: "0"]) == .nothing)
        #expect(try changed(.mentions, [choice: "all", flag: "1"]) == .all && changed(.mentions, [choice: "mentions", flag: "0"]) == .nothing)
        #expect(try changed(.nothing, [choice: "all", flag: "0"]) == .all && changed(.all, [choice: "none", flag: "1"]) == .nothing)
        for notices in RoomConfiguration.MemberNotices.allCases {
            var configuration = RoomConfiguration()
            configuration.memberNotices = notices
            var form = configuration.form(.submit, limits: RoomLimits())
            form.kind = .submit
            var again = RoomConfiguration()
            try again.take(form, limits: RoomLimits())
            #expect(again.memberNotices == notices)
        }
    }

    @Test("one message is told to so many members, those who are mentioned first, and to not one more")
    func limit() {
        var room = room(.all)
        room.limits.noticesMax = 3
        let others = (1...4).map { "a\($0)@shakespeare.lit" }
        for other in others.prefix(2) { room.administer("<item affiliation='member' jid='\(other)'/>", by: crone) }
        room.forget()
        func told() -> Set<String> {
            room.forget()
            say("Third Witch", in: &room)
            return Set((others + [hag]).filter { !room.peek($0).isEmpty })
        }
        #expect(told() == Set(others.prefix(2) + [hag]))
        for other in others { room.administer("<item affiliation='member' jid='\(other)'/>", by: crone) }
        let some = told()
        #expect(some.count == 3 && some.contains(hag))
    }

    @Test("whoever comes, goes, is made or unmade: each member who is away and wants everything is told once, nobody else", arguments: 0..<20)
    func walk(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed &* 104_729 &+ 1)
        var room = RoomOnPaper { $0.memberNotices = .all }
        room.enter(crone, as: "firstwitch")
        let people = (1...5).map { "a\($0)@shakespeare.lit" }
        for _ in 0..<120 {
            let person = people.randomElement(using: &numbers) ?? ""
            let session = "\(person)/\(Bool.random(using: &numbers) ? "desk" : "pocket")"
            let nickname = Bool.random(using: &numbers) ? person : "b\(person)"
            switch Int.random(in: 0..<9, using: &numbers) {
            case 0, 1: room.enter(session, as: nickname)
            case 2: room.leave(session, as: nickname)
            case 3: room.administer("<item nick='\(nickname)' role='none'/>", by: crone)
            case 4: choose(["none", "mentions", "all", "room"].randomElement(using: &numbers) ?? "", session, in: &room)
            case 5:
                let fields = "<field var='FORM_TYPE'><value>\(RoomConfiguration.formType)</value></field><field var='muc#roomconfig_membernotices'><value>\(Bool.random(using: &numbers) ? "all" : "mentions")</value></field>"
                room.send("<iq type='set' id='o'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\(fields)</x></query></iq>", from: crone)
            default:
                let affiliation = ["none", "member", "member", "admin", "outcast"].randomElement(using: &numbers) ?? ""
                room.administer("<item jid='\(person)' affiliation='\(affiliation)'/>", by: crone)
            }
            room.forget()
            say("something", in: &room)
            for person in people {
                let entry = room.room.affiliations[RoomOnPaper.jid(person)]
                let isAway = room.room.occupants.keys(ofAccount: RoomOnPaper.bare(person)).isEmpty
                let wantsAll = (entry?.affiliation ?? .none) >= .member && (entry?.details.notices ?? room.room.configuration.memberNotices) == .all
                #expect(room.peek(person).count == (isAway && wantsAll ? 1 : 0), "seed \(seed): \(person)")
            }
        }
    }

    // MARK: In a server

    private let server = TestServer()
    private let council = "council@conference.capulet.example"

    private func enter(_ client: TestClient, as nickname: String) {
        client.send("<presence to='\(council)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        client.send("<iq type='set' id='o' to='\(council)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        client.forget()
    }

    private func found(members: [String]) -> TestClient {
        let crone = server.online("crone1/desktop")
        enter(crone, as: "firstwitch")
        for member in members {
            crone.send(
                "<iq type='set' id='a' to='\(council)'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member' jid='\(member)@capulet.example' nick='\(member)'/></query></iq>")
        }
        crone.forget()
        return crone
    }

    @Test("a notice waits for an account that is offline, and is in its archive")
    func offline() {
        server.createAccount("hag66")
        let crone = found(members: ["hag66"])
        crone.send("<message type='groupchat' id='m' to='\(council)'><body>hag66: come</body></message>")
        #expect(crone.received().map { $0.child("body")?.text } == ["hag66: come"])
        let hag = server.client("hag66/pda")
        hag.send("<presence/>")
        #expect(hag.received().contains { $0.child("mentions") != nil && $0.child("delay") != nil })
        hag.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(hag.received().contains { $0.child("result") != nil && $0.description.contains("hag66: come") })
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("nobody hears of a member who wants to hear nothing of the room, or whose account is gone, and he stays what he is")
    func refused() {
        let hag = server.online("hag66/pda")
        hag.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='\(council)'/></block></iq>")
        hag.forget()
        let crone = found(members: ["hag66", "nobody"])
        hag.forget()
        crone.send("<message type='groupchat' id='m' to='\(council)'><body>hag66, nobody</body></message>")
        #expect(hag.received().isEmpty)
        #expect(crone.received().map(\.element.localName) == ["message"])
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("devices are woken for a notice of what a person says, and told what that was if they may know")
    func push() {
        func notice(_ content: String) -> ElementView {
            let text = "<message><mentions xmlns='urn:xmpp:mmn:0'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>\(content)</message></forwarded></mentions></message>"
            return TestStanza(stringLiteral: text).element.root
        }
        #expect(PushSummary.isWorthTelling(notice("<body>hag66: come</body>")))
        #expect(!PushSummary.isWorthTelling(notice("<composing xmlns='http://jabber.org/protocol/chatstates'/>")))
    }
}
