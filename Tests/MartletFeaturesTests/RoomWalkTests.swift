import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// Random walks of the room machine: whatever people do, in whatever order, some things are always so.
@Suite("rooms, walked at random")
struct RoomWalkTests {
    private static let people = (1...6).map { "person\($0)@shakespeare.lit" } + ["crone1@shakespeare.lit"]
    private static let sessions = people.flatMap { ["\($0)/desk", "\($0)/pocket"] }
    private static let nicknames = ["ann", "bob", "cat", "dan", "eve", "Ann"]

    @Test("the room and its occupants agree about who is there, and nobody else hears a word", arguments: 0..<60)
    func walk(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed &* 7919 &+ 3)
        var room = RoomOnPaper { configuration in
            configuration.isModerated = Bool.random(using: &numbers)
            configuration.whois = Bool.random(using: &numbers) ? .anyone : .moderators
            configuration.isPersistent = true
        }
        var views = Dictionary(uniqueKeysWithValues: Self.sessions.map { ($0, View()) })
        for step in 0..<150 {
            act(on: &room, &numbers)
            for session in Self.sessions {
                for stanza in room.received(by: session) { views[session]?.take(stanza, of: session, step) }
            }
            check(room, views, "seed \(seed) step \(step)")
        }
    }

    /// What one session believes, by what it was told.
    struct View {
        /// Nicknames of those it sees.
        var present: Set<String> = []
        var own: String?
        var problems: [String] = []

        mutating func take(_ stanza: TestStanza, of session: String, _ step: Int) {
            let nickname = stanza.from.split(separator: "/", maxSplits: 1).dropFirst().first.map(String.init)
            let isOwn = stanza.statuses.contains(110)
            switch (stanza.element.localName, stanza.type, nickname) {
            case ("presence", nil, let nickname?):
                present.insert(nickname)
                if isOwn { own = nickname }
            case ("presence", "unavailable", let nickname?):
                present.remove(nickname)
                guard isOwn else { return }
                if stanza.statuses.contains(303) { return }
                (own, present) = (nil, [])
            case ("message", "groupchat", _) where own == nil: problems.append("step \(step): \(session) hears what is said")
            default: break
            }
        }
    }

    private func act(on room: inout RoomOnPaper, _ numbers: inout SeededNumbers) {
        let session = Self.sessions.randomElement(using: &numbers) ?? ""
        let nickname = Self.nicknames.randomElement(using: &numbers) ?? ""
        let person = Self.people.randomElement(using: &numbers) ?? ""
        switch Int.random(in: 0..<20, using: &numbers) {
        case 0..<6: room.enter(session, as: nickname)
        case 6..<8: room.leave(session, as: nickname)
        case 8: room.send("<presence><show>away</show></presence>", from: session, to: nickname)
        case 9..<12: room.send("<message type='groupchat'><body>hi</body></message>", from: session)
        case 12: room.send("<message type='groupchat'><subject>new</subject></message>", from: session)
        case 13: room.administer("<item nick='\(nickname)' role='none'/>", by: session)
        case 14:
            let role = ["visitor", "participant", "moderator"].randomElement(using: &numbers) ?? ""
            room.administer("<item nick='\(nickname)' role='\(role)'/>", by: session)
        case 15, 16:
            let affiliation = ["none", "member", "admin", "owner", "outcast"].randomElement(using: &numbers) ?? ""
            room.administer("<item jid='\(person)' affiliation='\(affiliation)'/>", by: session)
        case 17: room.send("<presence type='error'><error type='cancel'/></presence>", from: session, to: nickname)
        case 18: room.send("<message type='chat'><body>psst</body></message>", from: session, to: nickname)
        default: configure(&room, by: session, &numbers)
        }
    }

    private func configure(_ room: inout RoomOnPaper, by session: String, _ numbers: inout SeededNumbers) {
        let name = ["membersonly", "moderatedroom"].randomElement(using: &numbers) ?? ""
        let whois = ["anyone", "moderators"].randomElement(using: &numbers) ?? ""
        room.send(
            """
            <iq type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>
            <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>
            <field var='muc#roomconfig_\(name)'><value>\(Int.random(in: 0...1, using: &numbers))</value></field>
            <field var='muc#roomconfig_whois'><value>\(whois)</value></field></x></query></iq>
            """, from: session)
    }

    private func check(_ paper: RoomOnPaper, _ views: [String: View], _ place: String) {
        let room = paper.room
        let present = Set(room.occupants.all.map(\.nickname))
        for (session, view) in views {
            #expect(view.problems.isEmpty, "\(place): \(view.problems)")
            let occupant = room.occupants.occupant(ofSession: RoomOnPaper.session(session).address)
            #expect(view.own == occupant?.nickname, "\(place): \(session) believes to be \(view.own ?? "nobody")")
            if occupant != nil { #expect(view.present == present, "\(place): \(session)") }
        }
        let sessions = room.occupants.all.flatMap { $0.sessions.map(\.address) }
        #expect(Set(room.occupants.open.remote + room.occupants.hidden.remote) == Set(sessions), "\(place)")
        #expect(room.occupants.open.remote.count + room.occupants.hidden.remote.count == sessions.count, "\(place)")
        for occupant in room.occupants.all {
            let sees = room.configuration.permits(.seeAddresses, by: occupant.standing)
            for session in occupant.sessions { #expect(room.occupants.open.remote.contains(session.address) == sees, "\(place)") }
            #expect(occupant.affiliation != .outcast && occupant.role != .none, "\(place): \(occupant.nickname)")
            #expect(!room.configuration.isMembersOnly || occupant.affiliation >= .member, "\(place): \(occupant.nickname)")
            #expect(occupant.affiliation < .admin || occupant.role == .moderator, "\(place): \(occupant.nickname)")
            #expect(room.affiliations.affiliation(of: .full(occupant.shownSession.address)) == occupant.affiliation, "\(place)")
        }
        #expect(room.affiliations.count(of: .owner) > 0, "\(place): a room without an owner")
    }
}
