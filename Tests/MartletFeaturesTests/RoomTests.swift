import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0045 §5: who may do what in a room")
struct RoomPrivilegeTests {
    private func room(_ change: (inout RoomConfiguration) -> Void = { _ in }) -> RoomConfiguration {
        var configuration = RoomConfiguration()
        change(&configuration)
        return configuration
    }
    private func standing(_ affiliation: RoomAffiliation, _ role: RoomRole) -> RoomStanding { RoomStanding(affiliation, role) }

    @Test("roles: visitors are silent, moderators decide (§5.1.1, table 3)")
    func roles() {
        let room = room()
        for (role, speaks, decides) in [(RoomRole.none, false, false), (.visitor, false, false), (.participant, true, false), (.moderator, true, true)] {
            let actor = standing(.none, role)
            #expect(room.permits(.speak, by: actor) == speaks)
            #expect(room.permits(.changeSubject, by: actor) == decides)
            #expect(room.permits(.moderateMessages, by: actor) == decides)
            #expect(room.permits(.listRole(.participant), by: actor) == decides)
            #expect(room.permits(.setRole(standing(.none, .visitor), to: .participant), by: actor) == decides)
            #expect(room.permits(.setRole(standing(.none, .participant), to: .none), by: actor) == decides)
        }
    }

    @Test("affiliations: administrators decide about those below them, owners about everybody (§5.2.1, table 6)")
    func affiliations() {
        let room = room()
        let all = RoomAffiliation.allCases
        for actor in all {
            for old in all {
                for new in all {
                    let may = actor == .owner || (actor == .admin && old < .admin && new < .admin)
                    #expect(room.permits(.setAffiliation(old, to: new), by: standing(actor, .moderator)) == may, "\(actor) \(old) \(new)")
                }
            }
            #expect(room.permits(.configure, by: standing(actor, .moderator)) == (actor == .owner))
            #expect(room.permits(.destroy, by: standing(actor, .moderator)) == (actor == .owner))
        }
    }

    @Test("a moderator does not kick those who stand above him, nor take voice from administrators (§8.2, §8.4)")
    func kicking() {
        let room = room()
        let all = RoomAffiliation.allCases.filter { $0 != .outcast }
        for actor in all {
            for target in all {
                let may = target <= actor && !(target == .admin && actor == .admin)
                #expect(room.permits(.setRole(standing(target, .participant), to: .none), by: standing(actor, .moderator)) == may, "\(actor) \(target)")
                #expect(room.permits(.setRole(standing(target, .participant), to: .visitor), by: standing(actor, .moderator)) == (target < .admin && target <= actor))
            }
            // Moderators are made, and unmade, by administrators (§9.6, §9.7).
            #expect(room.permits(.setRole(standing(.none, .participant), to: .moderator), by: standing(actor, .moderator)) == (actor >= .admin))
            #expect(room.permits(.setRole(standing(.none, .moderator), to: .participant), by: standing(actor, .moderator)) == (actor >= .admin))
        }
    }

    @Test("entering: outcasts nowhere, strangers not into a room for members (§7.2.6, §7.2.7)")
    func entering() {
        let open = room()
        let closed = room { $0.isMembersOnly = true }
        for affiliation in RoomAffiliation.allCases {
            let actor = standing(affiliation, .none)
            #expect(open.permits(.enter, by: actor) == (affiliation != .outcast))
            #expect(closed.permits(.enter, by: actor) == (affiliation >= .member))
        }
        #expect(closed.refusal(of: .enter, by: standing(.none, .none))?.condition == .registrationRequired)
        #expect(closed.refusal(of: .enter, by: standing(.outcast, .none))?.condition == .forbidden)
    }

    @Test("looking in: a closed room says nothing to those outside (§13.4)")
    func lookingIn() {
        let rooms = [(room(), true), (room { $0.isMembersOnly = true }, false), (room { $0.password = "x" }, false)]
        for (room, isOpen) in rooms {
            for deed in [RoomDeed.readArchive, .seeOccupants] {
                #expect(room.permits(deed, by: standing(.none, .none)) == isOpen)
                #expect(!room.permits(deed, by: standing(.outcast, .none)))
                #expect(room.permits(deed, by: standing(.member, .none)))
                #expect(room.permits(deed, by: standing(.none, .participant)))
            }
        }
    }

    @Test("addresses: moderators see them, others where they are no secret; lists of addresses likewise (§5.2, §9.5)")
    func addresses() {
        for (whois, isOpen) in [(RoomConfiguration.AddressVisibility.moderators, false), (.anyone, true)] {
            let room = room { $0.whois = whois }
            #expect(room.permits(.seeAddresses, by: standing(.none, .participant)) == isOpen)
            #expect(room.permits(.seeAddresses, by: standing(.none, .moderator)))
            #expect(room.permits(.listAffiliation(.member), by: standing(.member, .participant)) == isOpen)
            #expect(room.permits(.listAffiliation(.owner), by: standing(.admin, .moderator)) == isOpen)
            #expect(room.permits(.listAffiliation(.outcast), by: standing(.admin, .moderator)))
            #expect(!room.permits(.listAffiliation(.outcast), by: standing(.member, .participant)))
        }
    }

    @Test("private messages by role (`muc#roomconfig_allowpm`)")
    func letters() {
        let allowed: [(RoomConfiguration.PrivateMessages, Set<RoomRole>)] = [
            (.anyone, [.visitor, .participant, .moderator]), (.participants, [.participant, .moderator]), (.moderators, [.moderator]), (.nobody, []),
        ]
        for (privateMessages, roles) in allowed {
            let room = room { $0.privateMessages = privateMessages }
            for role in RoomRole.allCases { #expect(room.permits(.sayPrivately, by: standing(.none, role)) == roles.contains(role)) }
        }
    }
}

@Suite("XEP-0045 §5.2: lists of affiliations")
struct RoomAffiliationTests {
    private func jid(_ text: String) -> JID { RoomOnPaper.jid(text) }
    private func stored(_ count: Int) -> [StoredAffiliation] {
        (0..<count).map { number in
            let digits = String(number)
            let name = "u" + String(repeating: "0", count: 5 - digits.count) + digits
            return StoredAffiliation(address: jid("\(name)@example.org"), affiliation: RoomAffiliation.member.rawValue, version: UInt64(number + 1))
        }
    }

    @Test("pages follow each other in both directions and miss nobody")
    func pages() {
        let list = RoomAffiliations(stored(250))
        var seen: [JID] = []
        var page = list.page(of: .member, .first, limit: 100)
        while !page.addresses.isEmpty {
            #expect(page.first == seen.count && page.count == 250)
            seen += page.addresses
            page = list.page(of: .member, .after(page.addresses.last?.description ?? ""), limit: 100)
        }
        #expect(seen == list.all(.member))
        let last = list.page(of: .member, .last, limit: 100)
        #expect(last.addresses == Array(seen.suffix(100)) && last.first == 150)
        let before = list.page(of: .member, .before(last.addresses.first?.description ?? ""), limit: 100)
        #expect(before.addresses == Array(seen[50..<150]))
        #expect(list.page(of: .member, .index(240), limit: 100).addresses == Array(seen[240...]))
        #expect(list.page(of: .member, .index(1_000), limit: 100).addresses.isEmpty)
        #expect(list.page(of: .owner, .first, limit: 100).addresses.isEmpty)
        #expect(list.page(of: .member, .after("no address@"), limit: 10).addresses.isEmpty)
    }

    @Test("what is set is found, in order, under a version of its own")
    func setting() {
        var list = RoomAffiliations(stored(3))
        let first = list.set(jid("u00001@example.org")) { $0.affiliation = .admin }
        #expect(first.version == 4 && list.version == 4)
        #expect(list.all(.member) == [jid("u00000@example.org"), jid("u00002@example.org")])
        #expect(list.all(.admin) == [jid("u00001@example.org")])
        _ = list.set(jid("a@example.org")) { $0.affiliation = .member }
        #expect(list.all(.member).first == jid("a@example.org"))
        #expect(Set((list.changes(since: 3) ?? []).map(\.address)) == [jid("u00001@example.org"), jid("a@example.org")])
        #expect(list.changes(since: 5)?.isEmpty == true)
        #expect(list.changes(since: 6) == nil)
    }

    @Test("a ban of a domain, of a resource or of one session reaches those it names; who has an affiliation of his own keeps it (§9.1)")
    func bans() {
        var list = RoomAffiliations()
        func ban(_ text: String) { _ = list.set(jid(text)) { $0.affiliation = .outcast } }
        ban("evil.example")
        ban("bot@example.org/spam")
        ban("example.net/spam")
        _ = list.set(jid("good@evil.example")) { $0.affiliation = .member }
        #expect(list.affiliation(of: jid("somebody@evil.example/x")) == .outcast)
        #expect(list.affiliation(of: jid("good@evil.example/x")) == .member)
        #expect(list.affiliation(of: jid("bot@example.org/spam")) == .outcast)
        #expect(list.affiliation(of: jid("bot@example.org/ham")) == .none)
        #expect(list.affiliation(of: jid("any@example.net/spam")) == .outcast)
        #expect(list.affiliation(of: jid("any@example.net/ham")) == .none)
    }

    @Test("a reserved nickname is its owner's however it is written, and free when he gives it up (§7.10)")
    func nicknames() {
        var list = RoomAffiliations()
        _ = list.set(jid("ann@example.org")) { $0.affiliation = .member; $0.nickname = "Ann  Bee" }
        #expect(list.owner(ofNickname: "ann bee") == RoomOnPaper.bare("ann@example.org"))
        _ = list.set(jid("ann@example.org")) { $0.nickname = "Other" }
        #expect(list.owner(ofNickname: "Ann Bee") == nil)
        #expect(list.owner(ofNickname: "other") != nil)
    }
}

@Suite("XEP-0045 §10.2: a room's configuration")
struct RoomConfigurationTests {
    private func submission(_ fields: [DataForm.Field]) -> DataForm { DataForm(.submit, type: RoomConfiguration.formType, fields: fields) }
    private func field(_ name: String, _ values: String...) -> DataForm.Field { DataForm.Field(name, nil, values) }
    private func condition(_ fields: DataForm.Field...) -> StanzaError.Condition? {
        var configuration = RoomConfiguration()
        do throws(StanzaError) {
            try configuration.take(submission(fields), limits: RoomLimits())
            return nil
        } catch {
            return error.condition
        }
    }

    @Test("what is stored is what was decided, whatever it was")
    func roundTrip() throws {
        var configuration = RoomConfiguration()
        configuration.name = "A Dark Cave"
        configuration.description = "The place for all good witches!"
        configuration.language = "en"
        configuration.contacts = ["xmpp@example.org"]
        configuration.isPersistent = true
        configuration.isPublic = false
        configuration.isMembersOnly = true
        configuration.allowsInvitations = true
        configuration.isModerated = true
        configuration.allowsSubjectChange = true
        configuration.password = "cauldronburn"
        configuration.isArchived = false
        configuration.whois = .anyone
        configuration.privateMessages = .participants
        configuration.presenceBroadcast = [.moderator]
        configuration.memberListRoles = []
        configuration.occupantsMax = 77
        configuration.historyLength = 7
        configuration.archiveDays = 30
        configuration.slowModeSeconds = 20
        let form = configuration.form(.submit, limits: RoomLimits())
        var again = RoomConfiguration()
        try again.take(form, limits: RoomLimits())
        #expect(again == configuration)
    }

    @Test("the list of occupants comes by pages, which are no longer than the room allows (§6.5, XEP-0059)")
    func occupantPages() {
        var paper = RoomOnPaper()
        for nickname in ["c", "a", "b"] { paper.enter("\(nickname)@shakespeare.lit/x", as: nickname) }
        func page(_ set: String) -> (names: [String], set: [String]?) {
            paper.forget()
            paper.send("<iq type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#items'>\(set)</query></iq>", from: "a@shakespeare.lit/x")
            let query = paper.received(by: "a@shakespeare.lit/x").first?.child("query")
            let set = query?.children.first { $0.localName == "set" }?.children.map(\.text)
            return (query?.children.compactMap { $0.attribute("name") } ?? [], set)
        }
        func set(_ text: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'>\(text)</set>" }
        let room = RoomOnPaper.address
        #expect(page("").names == ["a", "b", "c"] && page("").set == nil)
        #expect(page(set("<max>2</max>")).names == ["a", "b"] && page(set("<max>2</max>")).set == ["\(room)/a", "\(room)/b", "3"])
        #expect(page(set("<max>2</max><after>\(room)/b</after>")).names == ["c"])
        #expect(page(set("<max>2</max><before/>")).names == ["b", "c"])
        for max in [2, 3] {
            paper.limits.pageMax = max
            #expect(page("").names.count == max && (page("").set == nil) == (max == 3))
        }
    }

    @Test("where the operator says whether there are archives, owners are told and not asked (rooms.archive)")
    func archiving() throws {
        for (archiving, isArchived) in [(RoomLimits.Archiving.always, true), (.never, false)] {
            var limits = RoomLimits()
            limits.archiving = archiving
            var configuration = RoomConfiguration()
            let form = configuration.form(.form, limits: limits)
            #expect(!form.fields.contains { $0.name == "muc#roomconfig_enablearchiving" } && form.fields.contains { $0.kind == .fixed })
            #expect(form.fields.contains { $0.name == "muc#roomconfig_archive_days" } == isArchived)
            let old = configuration
            try configuration.take(
                submission([field("muc#roomconfig_enablearchiving", "0"), field("muc#roomconfig_archive_days", "7")]), limits: limits)
            #expect(configuration.isArchived == old.isArchived && configuration.archiveDays == (isArchived ? 7 : 0))
        }
    }

    @Test("always: everything is archived, and who enters is told (status 170); never: nothing, and the room has no archive", arguments: [true, false])
    func archivingInRoom(isAlways: Bool) {
        var paper = RoomOnPaper { $0.isArchived = !isAlways }
        paper.limits.archiving = isAlways ? .always : .never
        paper.enter("crone1@shakespeare.lit/desktop", as: "firstwitch")
        #expect(paper.received(by: "crone1@shakespeare.lit/desktop").contains { $0.statuses.contains(170) } == isAlways)
        paper.send("<message type='groupchat'><body>one</body></message>", from: "crone1@shakespeare.lit/desktop")
        #expect(paper.entries.count == (isAlways ? 1 : 0))
        paper.forget()
        paper.send("<iq type='get' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", from: "crone1@shakespeare.lit/desktop")
        #expect(paper.received(by: "crone1@shakespeare.lit/desktop").contains { $0.description.contains("urn:xmpp:mam:2") } == isAlways)
    }

    @Test("what is left out stays, what is not known counts for nothing (§10.2)")
    func partial() throws {
        var configuration = RoomConfiguration()
        configuration.name = "before"
        try configuration.take(submission([field("muc#roomconfig_moderatedroom", "1"), field("x-other", "y")]), limits: RoomLimits())
        #expect(configuration.name == "before" && configuration.isModerated)
    }

    @Test("a value is within its limits, or refused, on both sides of them")
    func limits() {
        let limits = RoomLimits()
        #expect(condition(field("muc#roomconfig_maxusers", "1")) == nil)
        #expect(condition(field("muc#roomconfig_maxusers", "0")) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_maxusers", "\(limits.occupantsMax)")) == nil)
        #expect(condition(field("muc#roomconfig_maxusers", "\(limits.occupantsMax + 1)")) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_maxusers", "none")) == nil)
        #expect(condition(field("muc#roomconfig_maxusers", "many")) == .badRequest)
        #expect(condition(field("muc#maxhistoryfetch", "\(limits.historyMax)")) == nil)
        #expect(condition(field("muc#maxhistoryfetch", "\(limits.historyMax + 1)")) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_slow_mode_duration", "\(limits.slowModeSecondsMax)")) == nil)
        #expect(condition(field("muc#roomconfig_slow_mode_duration", "\(limits.slowModeSecondsMax + 1)")) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_roomname", String(repeating: "n", count: limits.textBytesMax))) == nil)
        #expect(condition(field("muc#roomconfig_roomname", String(repeating: "n", count: limits.textBytesMax + 1))) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_roomdesc", String(repeating: "n", count: limits.descriptionBytesMax))) == nil)
        #expect(condition(field("muc#roomconfig_roomdesc", String(repeating: "n", count: limits.descriptionBytesMax + 1))) == .notAcceptable)
        #expect(condition(field("muc#roomconfig_whois", "nobody")) == .badRequest)
        #expect(condition(field("muc#roomconfig_presencebroadcast", "moderator", "king")) == .badRequest)
        #expect(condition(field("muc#roomconfig_contactjid", "@")) == .jidMalformed)
    }

    @Test("a room with a password has one (§10.2)")
    func password() throws {
        #expect(condition(field("muc#roomconfig_passwordprotectedroom", "1")) == .notAcceptable)
        var configuration = RoomConfiguration()
        try configuration.take(submission([field("muc#roomconfig_roomsecret", "s")]), limits: RoomLimits())
        #expect(configuration.secret == "s")
        try configuration.take(submission([field("muc#roomconfig_passwordprotectedroom", "0"), field("muc#roomconfig_roomsecret", "s")]), limits: RoomLimits())
        #expect(configuration.secret == nil)
    }
}

@Suite("XEP-0045: a room by itself")
struct RoomTests {
    private let owner = "crone1@shakespeare.lit/desktop"
    private let hag = "hag66@shakespeare.lit/pda"

    private func occupied(_ configure: (inout RoomConfiguration) -> Void = { _ in }) -> RoomOnPaper {
        var room = RoomOnPaper(configure)
        room.enter(owner, as: "firstwitch")
        room.enter(hag, as: "thirdwitch")
        room.forget()
        return room
    }

    private func bodies(_ stanzas: [TestStanza]) -> [String] { stanzas.compactMap { $0.child("body")?.text } }

    @Test("nicknames that look alike are one: capitals and spaces impersonate nobody (RFC 8266 §2.4)", arguments: ["Thirdwitch", "thirdWITCH", " thirdwitch ", "ｔｈｉｒｄｗｉｔｃｈ"])
    func alike(nickname: String) {
        var room = occupied()
        room.enter("other@shakespeare.lit/x", as: nickname)
        #expect(room.received(by: "other@shakespeare.lit/x").map(\.error) == ["cancel/conflict"])
    }

    @Test("as many enter as may, and administrators besides (§7.2.9)")
    func full() {
        var room = RoomOnPaper { $0.occupantsMax = 2 }
        room.enter("a@example.org/x", as: "a")
        room.enter("b@example.org/x", as: "b")
        room.enter("c@example.org/x", as: "c")
        #expect(room.received(by: "b@example.org/x").first?.error == nil)
        #expect(room.received(by: "c@example.org/x").map(\.error) == ["wait/service-unavailable"])
        room.enter(owner, as: "firstwitch")
        #expect(room.room.occupants.count == 3)
    }

    @Test("as many sessions share a nickname as may")
    func sessions() {
        var room = RoomOnPaper()
        for number in 1...room.limits.sessionsMax { room.enter("a@example.org/\(number)", as: "a") }
        #expect(room.room.occupants.sessionCount == room.limits.sessionsMax)
        room.forget()
        room.enter("a@example.org/more", as: "a")
        #expect(room.received(by: "a@example.org/more").map(\.error) == ["wait/resource-constraint"])
    }

    @Test("a nickname, a subject and a request have their limits")
    func limits() {
        var room = occupied()
        let longest = String(repeating: "n", count: room.limits.nicknameBytesMax)
        room.enter("a@example.org/x", as: longest)
        #expect(room.received(by: "a@example.org/x").first?.error == nil)
        room.enter("b@example.org/x", as: longest + "n")
        #expect(room.received(by: "b@example.org/x").map(\.error) == ["modify/not-acceptable"])
        room.forget()
        let subject = String(repeating: "s", count: room.limits.subjectBytesMax)
        room.send("<message type='groupchat'><subject>\(subject)</subject></message>", from: owner)
        #expect(room.room.subject?.text == subject)
        room.forget()
        room.send("<message type='groupchat'><subject>\(subject)s</subject></message>", from: owner)
        #expect(room.received(by: owner).map(\.error) == ["modify/not-acceptable"])
        let item = { (number: Int) in "<item jid='u\(number)@example.org' affiliation='member'/>" }
        room.administer((1...room.limits.changesMax).map(item).joined(), by: owner)
        #expect(room.room.affiliations.count(of: .member) == room.limits.changesMax)
        room.forget()
        room.administer((1...room.limits.changesMax + 1).map(item).joined(), by: owner)
        #expect(room.received(by: owner).map(\.error) == ["modify/policy-violation"])
    }

    @Test("affiliations are as many as may be")
    func affiliationLimit() {
        var room = occupied()
        room.limits.affiliationsMax = 3
        room.administer("<item jid='a@example.org' affiliation='member'/><item jid='b@example.org' affiliation='member'/>", by: owner)
        #expect(room.room.affiliations.count == 3)
        room.forget()
        room.administer("<item jid='c@example.org' affiliation='member'/>", by: owner)
        #expect(room.received(by: owner).map(\.error) == ["wait/resource-constraint"])
    }

    private func setMember(_ names: [String], _ affiliation: String = "member", in room: inout RoomOnPaper) -> String? {
        room.forget()
        room.administer(names.map { "<item jid='\($0)@example.org' affiliation='\(affiliation)'/>" }.joined(), by: owner)
        return room.received(by: owner).compactMap(\.error).first
    }

    @Test("who has no affiliation any more does not count, and a room that is full can change and lose what it has")
    func formerAffiliations() {
        var room = occupied()
        room.limits.affiliationsMax = 3
        #expect(setMember(["a", "b"], in: &room) == nil)
        #expect(setMember(["a", "b"], "admin", in: &room) == nil)
        #expect(setMember(["c"], in: &room) == "wait/resource-constraint")
        #expect(setMember(["b"], "none", in: &room) == nil)
        #expect(setMember(["c"], in: &room) == nil && room.room.affiliations.count == 3)
        #expect(setMember(["b"], in: &room) == "wait/resource-constraint")
        #expect(setMember(["stranger"], "none", in: &room) == nil)
    }

    @Test("of those who had an affiliation so many are remembered; beyond, the older half is forgotten, which who knows an older version is told (XEP-0463)")
    func forgottenAffiliations() {
        var room = occupied()
        room.limits.formerMax = 4
        let names = (1...5).map { "f\($0)" }
        #expect(setMember(names, in: &room) == nil)
        for name in names.prefix(4) { #expect(setMember([name], "none", in: &room) == nil) }
        #expect(room.room.affiliations.formerCount == 4 && room.room.affiliations.forgottenVersion == 0)
        #expect(setMember(["f5"], "none", in: &room) == nil)
        let list = room.room.affiliations
        #expect(list.formerCount == 2 && list.forgottenVersion == list.version - 2)
        #expect(list.changes(since: list.forgottenVersion)?.count == 2 && list.changes(since: list.forgottenVersion - 1) == nil)
        let removed = room.writes.count { if case .room(.removeAffiliation) = $0 { true } else { false } }
        #expect(removed == 3)
        let stored = StoredRoom(id: room.room.id, record: room.room.record, created: 0, affiliations: [])
        #expect(Room(RoomOnPaper.address, stored, usedNames: 0).affiliations.forgottenVersion == list.forgottenVersion)
    }

    @Test("what is done by the form and by commands is recorded, what only asks is not")
    func audited() {
        var room = occupied()
        let address = RoomOnPaper.address
        let by = String(owner.prefix { $0 != "/" })
        let type = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        func ask(_ content: String) { room.send("<iq type='set' id='o'><query xmlns='http://jabber.org/protocol/muc#owner'>\(content)</query></iq>", from: owner) }
        ask("<x xmlns='jabber:x:data' type='submit'>\(type)<field var='muc#roomconfig_roomadmins'><value>a@example.org</value></field></x>")
        #expect(room.audits == [.roomConfigured(address, by: by), .roomAffiliationSet(address, RoomOnPaper.jid("a@example.org"), affiliation: "admin", by: by)])
        room.send("<iq type='set' id='l'><command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:hats:commands:list'/></iq>", from: owner)
        ask("<x xmlns='jabber:x:data' type='cancel'/>")
        ask("<x xmlns='jabber:x:data' type='submit'>\(type)<field var='muc#roomconfig_roomowners'/></x>")
        #expect(room.audits.count == 2)
        ask("<destroy/>")
        #expect(room.audits.last == .roomDestroyed(address, by: by))
    }

    @Test("so many are invited at once, and not one more", arguments: [0, 1])
    func invitationsMax(more: Int) {
        var room = occupied()
        let invitations = (1...RoomLimits.invitationsMax + more).map { "<invite to='guest\($0)@example.org'/>" }.joined()
        room.send("<message><x xmlns='http://jabber.org/protocol/muc#user'>\(invitations)</x></message>", from: owner)
        #expect(room.inboxes.keys.count { $0.hasPrefix("guest") } == (more == 0 ? RoomLimits.invitationsMax : 0))
        #expect(room.received(by: owner).compactMap(\.error) == (more == 0 ? [] : ["modify/policy-violation"]))
    }

    @Test("of several changes all are made or none (§9.5)")
    func atomic() {
        var room = occupied()
        room.administer("<item jid='a@example.org' affiliation='member'/><item nick='nobody' role='visitor'/>", by: owner)
        #expect(room.received(by: owner).map(\.error) == ["cancel/item-not-found"])
        #expect(room.room.affiliations.count(of: .member) == 0)
    }

    @Test("a room keeps an owner, also when all are changed at once (§10.4)")
    func lastOwner() {
        var room = occupied()
        room.administer("<item jid='crone1@shakespeare.lit' affiliation='admin'/>", by: owner)
        #expect(room.received(by: owner).map(\.error) == ["cancel/conflict"])
        room.administer("<item jid='crone1@shakespeare.lit' affiliation='admin'/><item jid='hag66@shakespeare.lit' affiliation='owner'/>", by: owner)
        #expect(room.room.affiliations.all(.owner) == [RoomOnPaper.jid("hag66@shakespeare.lit")])
    }

    @Test("history is kept up to its limits and chosen as who enters wants (§7.2.14)")
    func history() {
        var room = occupied { $0.historyLength = 10 }
        room.limits.historyMax = 20
        for number in 1...30 {
            room.send("<message type='groupchat'><body>\(number)</body></message>", from: hag)
            room.now += 1_000
        }
        func enter(_ name: String, _ history: String) -> [String] {
            room.forget()
            room.send("<presence><x xmlns='http://jabber.org/protocol/muc'>\(history)</x></presence>", from: "\(name)@example.org/x", to: name)
            return bodies(room.received(by: "\(name)@example.org/x"))
        }
        #expect(enter("a", "") == (21...30).map(String.init))
        #expect(enter("b", "<history maxstanzas='3'/>") == ["28", "29", "30"])
        #expect(enter("c", "<history maxstanzas='0'/>") == [])
        #expect(enter("d", "<history maxchars='0'/>") == [])
        #expect(enter("e", "<history seconds='5'/>") == (26...30).map(String.init))
        #expect(enter("f", "<history since='\(DateTime.text(milliseconds: room.now - 2_000))'/>") == ["29", "30"])
        #expect(enter("g", "<history maxstanzas='99'/>") == (21...30).map(String.init))
        #expect(enter("h", "<history maxstanzas='many'/>").count == 10)
    }

    @Test("bytes of history are bounded too, and one message is always there")
    func historyBytes() {
        var room = occupied()
        room.limits.historyBytesMax = 1_000
        for _ in 1...10 { room.send("<message type='groupchat'><body>\(String(repeating: "b", count: 300))</body></message>", from: hag) }
        room.enter("a@example.org/x", as: "a")
        #expect((1...3).contains(bodies(room.received(by: "a@example.org/x")).count))
        room.send("<message type='groupchat'><body>\(String(repeating: "b", count: 3_000))</body></message>", from: hag)
        room.enter("b@example.org/x", as: "b")
        #expect(bodies(room.received(by: "b@example.org/x")).count == 1)
    }

    @Test("only the room says who said something and under which name (`reliability.md` rule 19)")
    func forgery() {
        var room = occupied()
        room.send(
            """
            <message type='groupchat' id='m1'><body>b</body><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
            <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='DarkCave@chat.shakespeare.lit'/>\
            <delay xmlns='urn:xmpp:delay' from='darkcave@chat.shakespeare.lit' stamp='2002-10-13T23:58:37Z'/>\
            <x xmlns='http://jabber.org/protocol/muc#user'><item jid='forged@example.org' affiliation='owner'/></x></message>
            """, from: hag)
        let heard = room.received(by: owner)
        #expect(heard.count == 1 && !heard[0].description.contains("forged") && heard[0].child("delay") == nil)
        #expect(room.entries.count == 1 && !String(buffer: room.entries[0].stanza.bytes).contains("forged"))
        room.send("<presence><hats xmlns='urn:xmpp:hats:0'><hat uri='u' title='forged'/></hats></presence>", from: hag, to: "thirdwitch")
        #expect(!room.received(by: owner).contains { $0.description.contains("forged") })
    }

    @Test("what the room keeps has a name by which it is found, what it does not keep has none (XEP-0313 §3)")
    func names() {
        var room = occupied()
        for content in ["<body>b</body>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "<body>b</body><no-store xmlns='urn:xmpp:hints'/>"] {
            room.send("<message type='groupchat'>\(content)</message>", from: hag)
        }
        #expect(room.received(by: owner).map { $0.child("stanza-id") != nil } == [true, false, false])
        #expect(room.entries.count == 1)
    }

    @Test("slow mode: the next message when the time has passed, administrators at any time, and chat states do not count (XEP-0500 §4)")
    func slowMode() {
        var room = occupied { $0.slowModeSeconds = 20 }
        func say(_ sender: String, _ content: String = "<body>b</body>") -> String? {
            room.forget()
            room.send("<message type='groupchat'>\(content)</message>", from: sender)
            return room.received(by: sender).first?.error
        }
        #expect(say(hag) == nil)
        #expect(say(hag, "<composing xmlns='http://jabber.org/protocol/chatstates'/>") == nil)
        room.now += 19_999
        #expect(say(hag) == "wait/policy-violation")
        room.now += 1
        #expect(say(hag) == nil)
        #expect(say(owner) == nil)
        #expect(say(owner) == nil)
        // It is of accounts: leaving, or a second nickname, is no way round.
        room.leave(hag, as: "thirdwitch")
        room.enter(hag, as: "thirdwitch")
        #expect(say(hag) == "wait/policy-violation")
        room.enter("hag66@shakespeare.lit/other", as: "fourthwitch")
        #expect(say("hag66@shakespeare.lit/other") == "wait/policy-violation")
    }

    @Test("an answer is passed on to who asked, once, and to nobody who did not (§13.2)")
    func relayed() {
        var room = occupied()
        room.send("<iq type='get' id='v1'><query xmlns='jabber:iq:version'/></iq>", from: hag, to: "firstwitch")
        #expect(room.received(by: owner).map(\.from) == ["darkcave@chat.shakespeare.lit/thirdwitch"])
        for _ in 1...2 { room.send("<iq type='result' id='v1'><query xmlns='jabber:iq:version'/></iq>", from: owner, to: "thirdwitch") }
        #expect(room.received(by: hag).map(\.from) == ["darkcave@chat.shakespeare.lit/firstwitch"])
        room.send("<iq type='result' id='v2'/>", from: owner, to: "thirdwitch")
        #expect(room.received(by: hag).isEmpty)
    }

    @Test("requests wait for their answers up to a limit of each who asks, and for five minutes")
    func relayedLimit() {
        var room = occupied()
        room.limits.relayedMax = 2
        func ask(_ id: String, from sender: String) { room.send("<iq type='get' id='\(id)'><query xmlns='jabber:iq:version'/></iq>", from: sender, to: "firstwitch") }
        for id in ["1", "2", "3"] { ask(id, from: hag) }
        #expect(room.received(by: hag).map(\.error) == ["wait/resource-constraint"])
        room.enter("other@example.org/x", as: "other")
        ask("1", from: "other@example.org/x")
        room.forget()
        for id in ["1", "2", "3"] { room.send("<iq type='result' id='\(id)'/>", from: owner, to: "thirdwitch") }
        #expect(room.received(by: hag).map(\.id) == ["1", "2"])
        for id in ["4", "5"] { ask(id, from: hag) }
        room.now += 300_001
        ask("6", from: hag)
        #expect(room.received(by: hag).isEmpty)
    }

    @Test("whoever leaves answers nothing any more, and who asked him is told (RFC 6120 §8.2.3)")
    func unansweredRequest() {
        var room = occupied()
        room.send("<iq type='get' id='v1'><query xmlns='jabber:iq:version'/></iq>", from: hag, to: "firstwitch")
        room.forget()
        room.leave(owner, as: "firstwitch")
        #expect(room.received(by: hag).filter { $0.element.localName == "iq" }.map(\.error) == ["wait/recipient-unavailable"])
    }

    @Test("a reason, a presence and a page have their limits")
    func moreLimits() {
        var room = occupied()
        let longest = String(repeating: "r", count: room.limits.reasonBytesMax)
        func ban(_ name: String, _ reason: String) -> String? {
            room.forget()
            room.administer("<item jid='\(name)@example.org' affiliation='outcast'><reason>\(reason)</reason></item>", by: owner)
            return room.received(by: owner).first?.error
        }
        #expect(ban("a", longest) == nil)
        #expect(ban("b", longest + "r") == "modify/not-acceptable")
        #expect(ban("b", longest) == nil)
        room.limits.pageBytesMax = 2 * longest.utf8.count
        room.forget()
        room.send("<iq type='get' id='l'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='outcast'/></query></iq>", from: owner)
        let page = room.received(by: owner).first
        #expect(page?.child("query")?.children.count { $0.localName == "item" } == 1)
        #expect(page?.description.contains("<count>2</count>") == true)
        room.send("<iq type='get' id='l'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='outcast'/><set xmlns='http://jabber.org/protocol/rsm'><before/></set></query></iq>", from: owner)
        #expect(room.received(by: owner).first?.description.contains("b@example.org") == true)
        let presence = { (bytes: Int) in "<presence><status>\(String(repeating: "s", count: bytes - 40))</status></presence>" }
        room.send(presence(room.limits.presenceBytesMax), from: hag, to: "thirdwitch")
        #expect(room.received(by: hag).first?.error == nil)
        room.send(presence(room.limits.presenceBytesMax + 41), from: hag, to: "thirdwitch")
        #expect(room.received(by: hag).first?.error == "modify/not-acceptable")
    }

    @Test("a whole server is nobody's member, by whatever way (§9.1)")
    func domains() {
        var room = occupied { configuration in
            configuration.isMembersOnly = true
            configuration.allowsInvitations = true
        }
        for affiliation in ["member", "admin", "owner"] {
            room.administer("<item jid='shakespeare.lit' affiliation='\(affiliation)'/>", by: owner)
            #expect(room.received(by: owner).map(\.error) == ["cancel/not-allowed"])
        }
        room.send("<message><x xmlns='http://jabber.org/protocol/muc#user'><invite to='shakespeare.lit'/></x></message>", from: owner)
        #expect(room.received(by: owner).map(\.error) == ["cancel/item-not-found"])
        room.administer("<item jid='example.org' affiliation='outcast'/>", by: owner)
        #expect(room.room.affiliations.all(.outcast) == [RoomOnPaper.jid("example.org")])
        #expect(room.room.affiliations.count(of: .member) == 0)
    }

    @Test("a nickname is reserved only as it can be used, and not from under who has it (§7.10)", arguments: ["   ", "thirdwitch", "\u{202E}x"])
    func reservations(nickname: String) {
        var room = occupied()
        room.administer("<item jid='other@example.org' affiliation='member' nick='\(nickname)'/>", by: owner)
        #expect(room.received(by: owner).first?.error != nil)
        #expect(room.room.affiliations.count(of: .member) == 0)
    }

    @Test("whoever registers with a room where not everybody speaks or enters is none of its members before somebody says so", arguments: [0, 1, 2])
    func registration(kind: Int) {
        var room = RoomOnPaper { configuration in
            switch kind {
            case 0: configuration.isModerated = true
            case 1: configuration.password = "cauldronburn"
            default: configuration.isMembersOnly = true
            }
        }
        room.send(
            """
            <iq type='set' id='r'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
            <field var='muc#register_roomnick'><value>hag</value></field></x></query></iq>
            """, from: hag)
        #expect(room.received(by: hag).first?.error == nil)
        #expect(room.room.affiliations.count(of: .member) == 0)
    }

    @Test("who has lost his voice does not get it back by registering")
    func registrationWithoutVoice() {
        var room = occupied()
        room.administer("<item nick='thirdwitch' role='visitor'/>", by: owner)
        room.send(
            """
            <iq type='set' id='r'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>\
            <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>\
            <field var='muc#register_roomnick'><value>thirdwitch</value></field></x></query></iq>
            """, from: hag)
        #expect(room.room.occupants.occupant(ofNickname: "thirdwitch")?.standing == RoomStanding(.member, .visitor))
    }

    @Test("a decline without an invitation reaches nobody (§7.8.2)")
    func unaskedDecline() {
        var room = occupied()
        let decline = "<message><x xmlns='http://jabber.org/protocol/muc#user'><decline to='crone1@shakespeare.lit'/></x></message>"
        room.send(decline, from: "stranger@example.org/x")
        #expect(room.received(by: owner).isEmpty)
        room.send("<message><x xmlns='http://jabber.org/protocol/muc#user'><invite to='stranger@example.org'/></x></message>", from: owner)
        room.send(decline, from: "stranger@example.org/x")
        room.send(decline, from: "stranger@example.org/x")
        #expect(room.received(by: owner).count == 1)
    }

    @Test("presence of those who are not announced is for themselves only (`muc#roomconfig_presencebroadcast`)")
    func unannounced() {
        var room = RoomOnPaper { $0.presenceBroadcast = [.moderator] }
        room.enter(owner, as: "firstwitch")
        room.forget()
        room.enter(hag, as: "thirdwitch")
        #expect(room.received(by: owner).isEmpty)
        #expect(room.received(by: hag).filter { $0.element.localName == "presence" }.map(\.from) == ["darkcave@chat.shakespeare.lit/firstwitch", "darkcave@chat.shakespeare.lit/thirdwitch"])
        room.administer("<item nick='thirdwitch' role='moderator'/>", by: owner)
        #expect(room.received(by: owner).contains { $0.from.hasSuffix("/thirdwitch") && $0.type == nil })
        room.administer("<item nick='thirdwitch' role='participant'/>", by: owner)
        #expect(room.received(by: owner).contains { $0.from.hasSuffix("/thirdwitch") && $0.type == "unavailable" })
    }

    @Test("when addresses are no secret any more they are shown from then on, and when they are again, not (§10.2.1, 172 and 173)")
    func anonymity() {
        var room = occupied()
        func set(_ whois: String) {
            room.send(
                """
                <iq type='set' id='c'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\
                <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                <field var='muc#roomconfig_whois'><value>\(whois)</value></field></x></query></iq>
                """, from: owner)
        }
        set("anyone")
        #expect(room.received(by: hag).map(\.statuses) == [[104, 172]])
        room.send("<presence><show>away</show></presence>", from: owner, to: "firstwitch")
        #expect(room.received(by: hag).first?.item?.attribute("jid") == owner)
        set("moderators")
        #expect(room.received(by: hag).map(\.statuses) == [[104, 173]])
        room.send("<presence/>", from: owner, to: "firstwitch")
        #expect(room.received(by: hag).first?.item?.hasAttribute("jid") == false)
    }
}
