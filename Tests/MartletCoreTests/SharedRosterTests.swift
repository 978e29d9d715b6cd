import MartletCore
import MartletXMPP
import Testing

private let juliet = try! BareJID(parsing: "juliet@example.com")
private let nurse = try! BareJID(parsing: "nurse@example.com")
private let romeo = try! BareJID(parsing: "romeo@example.com")
private let tybalt = try! BareJID(parsing: "tybalt@example.com")
private func account(_ number: Int) -> BareJID { try! BareJID(parsing: "account\(number)@example.com") }

private func group(_ name: String, _ members: [BareJID: String?], seenBy others: [BareJID]? = nil) -> SharedGroup {
    SharedGroup(
        id: name, name: name, members: SharedMembers(members), audience: others.map { .others([SharedMembers($0)]) } ?? .members)
}

private func group(_ name: String, _ members: [BareJID], seenBy others: [BareJID]? = nil) -> SharedGroup {
    group(name, Dictionary(uniqueKeysWithValues: members.map { ($0, nil) }), seenBy: others)
}

private func shared(_ owner: BareJID, _ groups: [SharedGroup], itemsMax: Int = 1_000) -> SharedRoster? {
    SharedRoster(Sharing(of: owner, in: groups), of: owner, itemsMax: itemsMax)
}

@Suite("Contacts that groups put into rosters")
struct SharedRosterTests {
    private let limits = HostLimits()

    private func roster(_ groups: [SharedGroup], own: [RosterItem] = [], version: UInt64 = 0) -> Roster {
        var stored = StoredAccount(id: AccountID(raw: 7))
        stored.roster = own
        stored.rosterVersion = version
        return Roster(stored, shared: shared(juliet, groups))
    }

    private func lines(_ roster: Roster) -> [String] {
        roster.shownItems.map { "\($0.contact.localpart ?? "") \($0.subscription.name) \($0.name ?? "-") \($0.groups.joined(separator: ","))" }
    }

    // MARK: Who sees whom

    @Test(
        "one sees another who is in a group that the first one sees, and has the subscription that follows",
        arguments: [
            (group("G", [juliet, romeo]), "both"),
            (group("G", [romeo], seenBy: [juliet]), "to"),
            (group("G", [juliet], seenBy: [romeo]), "none"),
            (group("G", [juliet, romeo], seenBy: [juliet]), "to"),
            (group("G", [juliet, romeo], seenBy: [tybalt]), "none"),
            (group("G", [nurse, romeo]), "none"),
        ])
    func visibility(group: SharedGroup, subscription: String) {
        let roster = roster([group])
        let shown = roster.shownItems.first { $0.contact == romeo }
        #expect((shown?.subscription.name.description ?? "none") == subscription)
        let seesRomeo = subscription != "none"
        #expect((shown != nil) == seesRomeo)
        #expect(roster.state(of: romeo).to == seesRomeo)
        #expect(roster.subscriptions.contains(romeo) == seesRomeo)
        #expect(roster.subscribers.contains(romeo) == roster.state(of: romeo).from)
    }

    @Test("who only sees the account is told of its presence, and is not in the roster")
    func fromOnly() {
        let roster = roster([group("G", [juliet], seenBy: [romeo])])
        #expect(roster.shownItems.isEmpty)
        #expect(roster[romeo] == nil)
        #expect(roster.state(of: romeo) == SubscriptionState(from: true))
        #expect(roster.subscribers == [romeo])
        #expect(roster.subscriptions.isEmpty)
    }

    @Test("nobody has himself as a contact, and each contact is there once, whatever groups it is in")
    func once() {
        let groups = [group("B", [juliet, romeo, nurse]), group("A", [juliet, romeo]), group("C", [tybalt], seenBy: [juliet])]
        let roster = roster(groups)
        #expect(lines(roster) == ["nurse both - B", "romeo both - A,B", "tybalt to - C"])
        #expect(roster.subscriptions.count == 3)
        #expect(Set(roster.subscribers) == [romeo, nurse])
        #expect(roster.subscribers.count == 2)
        #expect(!roster.state(of: juliet).to)
    }

    @Test("a contact is called what the first of its groups, by name, has for it")
    func names() {
        let roster = roster([group("C", [romeo: "C's", juliet: nil]), group("B", [romeo: "B's", juliet: nil]), group("A", [juliet, romeo])])
        #expect(lines(roster) == ["romeo both B's A,B,C"])
    }

    @Test("an account without groups has nothing of it")
    func none() {
        #expect(shared(juliet, []) == nil)
        #expect(shared(juliet, [group("G", [romeo, nurse])]) == nil)
    }

    // MARK: With the user's own

    @Test("groups of both, the user's own name, and the subscriptions of both")
    func united() {
        let own = [
            RosterItem(contact: romeo, name: "Love", groups: ["Lovers", "G"], subscription: SubscriptionState(from: true, isInRoster: true), version: 3),
            RosterItem(contact: nurse, subscription: SubscriptionState(pendingOut: true, isInRoster: true), version: 2),
            RosterItem(contact: tybalt, name: "Cousin", subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1),
        ]
        let groups = [group("H", [romeo: "Romeo Montague"], seenBy: [juliet]), group("G", [romeo, nurse], seenBy: [juliet])]
        let roster = roster(groups, own: own, version: 3)
        #expect(lines(roster) == ["tybalt both Cousin ", "nurse to - G", "romeo both Love Lovers,G,H"])
        #expect(Array(roster.unanswered).isEmpty)
    }

    @Test("who has asked and sees the account by a group has no answer to wait for")
    func requests() {
        let own = [RosterItem(contact: romeo, subscription: SubscriptionState(pendingIn: true))]
        #expect(Array(roster([], own: own).requests).count == 1)
        #expect(Array(roster([group("G", [juliet, romeo])], own: own).requests).isEmpty)
    }

    @Test("what a user calls such a contact, and the groups that he puts it into, are his own; what groups say is not written")
    func edits() throws {
        var roster = roster([group("G", [juliet: nil, romeo: "Romeo"])])
        let unchanged = try roster.set(romeo, name: "Romeo", groups: ["G"], owner: juliet, limits: limits)
        #expect(unchanged == nil)
        let change = try roster.set(romeo, name: "Love", groups: ["G", "Lovers"], owner: juliet, limits: limits)
        let expected = RosterItem(contact: romeo, name: "Love", groups: ["Lovers"], subscription: SubscriptionState(isInRoster: true), version: 1)
        #expect(change == .item(expected))
        #expect(lines(roster) == ["romeo both Love Lovers,G"])
    }

    @Test("a user who takes back what was his own has what groups say, and clients are told so")
    func editTakenBack() throws {
        var roster = roster([group("G", [juliet: nil, romeo: "Romeo"])])
        _ = try roster.set(romeo, name: "Love", groups: [], owner: juliet, limits: limits)
        let change = try roster.set(romeo, name: nil, groups: [], owner: juliet, limits: limits)
        #expect(change == .removal(RosterRemoval(contact: romeo, version: 2)))
        #expect(lines(roster) == ["romeo both Romeo G"])
        let shown = try #require(change.map(roster.shown))
        #expect(shown == .item(RosterItem(contact: romeo, name: "Romeo", groups: ["G"], subscription: SubscriptionState(to: true, from: true, isInRoster: true))))
        #expect(roster.withoutSharingItems.isEmpty)
    }

    @Test("a contact that a group has cannot be removed, and the user is told why; one that only sees the account can")
    func removal() throws {
        let own = [
            RosterItem(contact: romeo, subscription: SubscriptionState(isInRoster: true), version: 1),
            RosterItem(contact: tybalt, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 2),
        ]
        var roster = roster([group("G", [juliet, romeo]), group("H", [juliet], seenBy: [tybalt])], own: own, version: 2)
        let error = #expect(throws: StanzaError.self) { try roster.remove(romeo) }
        #expect(error?.condition == .notAllowed)
        #expect(error?.text != nil)
        let removal = try roster.remove(tybalt)
        #expect(removal.stanzas == [.unsubscribe, .unsubscribed])
        #expect(!removal.stopsSendingPresence)
        #expect(roster.state(of: tybalt) == SubscriptionState(from: true))
    }

    @Test("when a contact leaves its group, what the user has said of it remains")
    func leaving() throws {
        let former = roster([group("G", [juliet, romeo])])
        var roster = former
        _ = try roster.set(romeo, name: "Love", groups: ["Lovers"], owner: juliet, limits: limits)
        var stored = StoredAccount(id: AccountID(raw: 7))
        stored.roster = [RosterItem(contact: romeo, name: "Love", groups: ["Lovers"], subscription: SubscriptionState(isInRoster: true), version: 1)]
        #expect(lines(Roster(stored)) == ["romeo none Love Lovers"])
        #expect(lines(Roster(stored, shared: roster.shared)) == lines(roster))
    }

    // MARK: Subscriptions

    @Test("what groups give is neither asked for nor taken back", arguments: SubscriptionStanza.allCases)
    func sending(stanza: SubscriptionStanza) throws {
        var roster = roster([group("G", [juliet, romeo])])
        let step = try roster.send(stanza, to: romeo, owner: juliet, limits: limits)
        #expect(step.change == nil)
        #expect(!step.step.passesOn && !step.step.pushes && !step.step.startsSendingPresence && !step.step.stopsSendingPresence)
        #expect(roster.state(of: romeo) == SubscriptionState(to: true, from: true, isInRoster: true))
    }

    @Test("what groups do not give is asked for as anything else (RFC 6121 §A.2)")
    func sendingForTheRest() throws {
        var roster = roster([group("G", [romeo], seenBy: [juliet]), group("H", [juliet], seenBy: [tybalt])])
        let approval = try roster.send(.subscribed, to: romeo, owner: juliet, limits: limits)
        #expect(approval.change != nil)
        #expect(roster.state(of: romeo) == SubscriptionState(to: true, approved: true, isInRoster: true))
        let request = try roster.send(.subscribe, to: tybalt, owner: juliet, limits: limits)
        #expect(request.step.passesOn)
        #expect(roster.state(of: tybalt) == SubscriptionState(from: true, pendingOut: true, isInRoster: true))
    }

    @Test("whoever asks for what a group has given him is answered, and nobody is asked")
    func receivingARequest() {
        var roster = roster([group("G", [juliet, romeo])])
        let step = roster.receive(.subscribe, from: romeo, request: nil, owner: juliet, limits: limits)
        #expect(step.change == nil)
        #expect(step.step.reply == .subscribed)
        #expect(!step.step.passesOn)
        #expect(step.step.startsSendingPresence)
    }

    @Test("what a contact takes back of the user's own part is gone, and what groups give is not", arguments: [SubscriptionStanza.unsubscribe, .unsubscribed])
    func receiving(stanza: SubscriptionStanza) {
        let own = [RosterItem(contact: romeo, subscription: SubscriptionState(to: true, from: true, isInRoster: true), version: 1)]
        var roster = roster([group("G", [juliet, romeo])], own: own, version: 1)
        let step = roster.receive(stanza, from: romeo, request: nil, owner: juliet, limits: limits)
        #expect(step.change != nil)
        #expect(!step.step.passesOn && !step.step.stopsSendingPresence)
        #expect(roster.state(of: romeo) == SubscriptionState(to: true, from: true, isInRoster: true))
    }

    // MARK: Versions

    @Test("the name of a version tells which sharing it is of, and is the same in every process (RFC 6121 §2.6)")
    func versionName() {
        let roster = roster([group("Capulets", [juliet: "Juliet", nurse: nil])])
        #expect(roster.versionName == "7-0-d641231b8e11ac68")
        #expect(self.roster([]).versionName == "7-0")
    }

    @Test("it does not depend on the order in which groups and members were said")
    func order() {
        let members: [BareJID: String?] = Dictionary(uniqueKeysWithValues: (0..<100).map { (account($0), "Number \($0)") } + [(juliet, nil)])
        let others: [BareJID: String?] = Dictionary(uniqueKeysWithValues: members.reversed().map { ($0.key, $0.value) })
        let one = roster([group("A", members), group("B", [juliet, romeo])])
        let two = roster([group("B", [romeo, juliet]), group("A", others)])
        #expect(one.versionName == two.versionName)
        #expect(one.shownItems == two.shownItems)
    }

    @Test(
        "everything that clients see of it is in it",
        arguments: [
            [group("G", [juliet, romeo, nurse])], [group("G", [juliet: nil, romeo: "Romeo"])], [group("H", [juliet, romeo])],
            [group("G", [juliet, romeo], seenBy: [juliet])], [group("G", [juliet, romeo]), group("H", [juliet, romeo])], [],
        ])
    func otherSharing(groups: [SharedGroup]) {
        let former = roster([group("G", [juliet, romeo])])
        let roster = roster(groups)
        #expect(roster.versionName != former.versionName)
        #expect(roster.get(since: former.versionName) == .full(roster.shownItems))
        #expect(former.get(since: roster.versionName) == .full(former.shownItems))
    }

    @Test("while it is the same, a client hears what has changed besides (RFC 6121 §2.6.3)")
    func changes() throws {
        var roster = roster([group("G", [juliet: nil, romeo: "Romeo"])])
        let first = roster.versionName
        #expect(roster.get(since: first) == .unchanged)
        let own = try #require(try roster.set(romeo, name: "Love", groups: [], owner: juliet, limits: limits))
        #expect(roster.get(since: first) == .changes([own]))
        _ = try roster.set(romeo, name: nil, groups: [], owner: juliet, limits: limits)
        let last = RosterRemoval(contact: romeo, version: 2)
        #expect(roster.get(since: first) == .changes([.removal(last)]))
        guard case .item(let shown) = roster.shown(.removal(last)) else { return #expect(Bool(false)) }
        #expect(shown.name == "Romeo")
    }

    @Test("neither a number nor a digest alone is a version", arguments: ["7-0", "7-0-", "7-0-0000000000000000", "7-1-d641231b8e11ac68", "7--d641231b8e11ac68"])
    func noVersion(name: String) {
        let roster = roster([group("Capulets", [juliet: "Juliet", nurse: nil])])
        #expect(roster.get(since: name) == .full(roster.shownItems))
    }

    // MARK: Limits

    @Test("as many contacts as there may be are there, and one more leaves out its group whole, with those that come after it by name")
    func limit() throws {
        let groups = [group("C", [juliet, account(5)]), group("A", [juliet, account(1), account(2)]), group("B", [juliet, account(3), account(4)])]
        let roomy = try #require(shared(juliet, groups, itemsMax: 5))
        #expect(roomy.leftOut.isEmpty)
        let tight = try #require(shared(juliet, groups, itemsMax: 4))
        #expect(tight.leftOut.map(\.name) == ["C"])
        let tighter = try #require(shared(juliet, groups, itemsMax: 3))
        #expect(tighter.leftOut.map(\.name) == ["B", "C"])
        #expect(!tighter.state(of: account(5)).to)
        #expect(tighter.state(of: account(1)).to)
    }

    @Test("who is in several groups counts once")
    func overlap() throws {
        let groups = ["A", "B", "C"].map { group($0, [juliet, account(1), account(2)]) }
        #expect(try #require(shared(juliet, groups, itemsMax: 2)).leftOut.isEmpty)
        #expect(try #require(shared(juliet, groups, itemsMax: 1)).leftOut.count == 3)
    }
}

extension Roster {
    fileprivate var withoutSharingItems: [BareJID] { Array(ownSubscribers) + Array(ownSubscriptions) }
}

@Suite("Groups of the configuration, as far as their members have accounts")
struct SharedGroupBookTests {
    private let domain = try! BareJID(parsing: "example.com")
    private let elsewhere = try! BareJID(parsing: "example.org")

    private func definition(
        _ name: String, _ members: SharedGroupDefinition.Members, _ audience: SharedGroupDefinition.Audience = .members
    ) -> SharedGroupDefinition {
        SharedGroupDefinition(name, at: domain, members: members, audience: audience)
    }

    private func seen(_ book: SharedGroupBook, by account: BareJID) -> [String] {
        let shared = SharedRoster(book.sharing(of: account), of: account, itemsMax: 1_000)
        let roster = Roster(StoredAccount(id: AccountID(raw: 1)), shared: shared)
        return roster.shownItems.map { "\($0.contact.localpart ?? "") \($0.subscription.name)" }
    }

    @Test("who has no account is in no group")
    func accounts() {
        let book = SharedGroupBook()
        #expect(!book.hasAccounts)
        let concerned = book.replace([definition("G", .accounts([juliet, romeo, nurse]))], accounts: [juliet, romeo])
        #expect(book.hasAccounts)
        #expect(concerned == [juliet, romeo])
        #expect(seen(book, by: juliet) == ["romeo both"])
        #expect(seen(book, by: nurse) == [])
    }

    @Test("all of a domain are those who have accounts there")
    func everybody() throws {
        let stranger = try BareJID(parsing: "juliet@example.org")
        let book = SharedGroupBook()
        _ = book.replace([definition("G", .everybody())], accounts: [juliet, romeo, stranger])
        #expect(seen(book, by: juliet) == ["romeo both"])
        #expect(seen(book, by: stranger) == [])
    }

    @Test("a group is seen by its members, by all of its domain, or by the members of others")
    func audiences() {
        let book = SharedGroupBook()
        let all: Set = [juliet, romeo, nurse, tybalt]
        _ = book.replace([definition("G", .accounts([juliet]), .everybody)], accounts: all)
        #expect(seen(book, by: tybalt) == ["juliet to"])
        #expect(seen(book, by: juliet) == [])
        _ = book.replace([definition("G", .accounts([juliet]), .groups(["H"])), definition("H", .accounts([nurse, romeo]))], accounts: all)
        #expect(seen(book, by: nurse) == ["juliet to", "romeo both"])
        #expect(seen(book, by: tybalt) == [])
    }

    @Test("accounts come and go, and who is concerned by that is said")
    func standings() {
        let book = SharedGroupBook()
        _ = book.replace([definition("G", .accounts([juliet, romeo])), definition("H", .accounts([tybalt, nurse]))], accounts: [juliet, tybalt, nurse])
        #expect(book.accountsChanged([romeo: true]) == [juliet, romeo])
        #expect(seen(book, by: juliet) == ["romeo both"])
        #expect(book.accountsChanged([account(1): true]) == [])
        #expect(book.accountsChanged([romeo: false]) == [juliet, romeo])
        #expect(seen(book, by: juliet) == [])
    }

    @Test("what has not changed concerns nobody")
    func unchanged() {
        let definitions = [definition("G", .everybody()), definition("H", .accounts([juliet]), .groups(["G"]))]
        let book = SharedGroupBook()
        #expect(book.replace(definitions, accounts: [juliet, romeo]) == [juliet, romeo])
        #expect(book.replace(definitions, accounts: [romeo, juliet]) == [])
        #expect(book.replace(definitions) == [])
    }

    @Test("who comes or goes while accounts are read is not missed")
    func reading() {
        let book = SharedGroupBook()
        book.beginReading()
        _ = book.accountsChanged([romeo: true, nurse: false])
        _ = book.replace([definition("G", .everybody())], accounts: [juliet, nurse])
        #expect(seen(book, by: juliet) == ["romeo both"])
    }

    @Test("without groups nothing is known, and those who were in one are concerned")
    func noGroups() {
        let book = SharedGroupBook()
        _ = book.replace([definition("G", .everybody())], accounts: [juliet, romeo])
        #expect(book.replace([]) == [juliet, romeo])
        #expect(!book.hasAccounts)
        #expect(book.accountsChanged([nurse: true]) == [])
    }
}
