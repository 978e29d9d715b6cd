import MartletCore
import MartletTesting
import MartletXMPP
import NIOCore
import Testing

private let romeo = try! BareJID(parsing: "romeo@example.net")
private let juliet = try! BareJID(parsing: "juliet@example.com")
private let nurse = try! BareJID(parsing: "nurse@example.com")
private let mercutio = try! BareJID(parsing: "mercutio@example.org")

private func contact(_ number: Int) -> BareJID { try! BareJID(parsing: "contact\(number)@example.org") }
private func stanza(bytes: Int) -> EncodedStanza { EncodedStanza(ByteBuffer(repeating: UInt8(ascii: "x"), count: bytes)) }

/// Juliet's roster, and what the store would have of it.
private struct Subject {
    var roster = Roster(StoredAccount(id: AccountID(raw: 7)))
    var stored = StoredAccount(id: AccountID(raw: 7))
    var limits = HostLimits()

    @discardableResult
    mutating func set(_ contact: BareJID, name: String? = nil, groups: [String] = []) throws(StanzaError) -> RosterItem? {
        if let change = try roster.set(contact, name: name, groups: groups, owner: juliet, limits: limits) { write(change) }
        return roster[contact]
    }

    @discardableResult
    mutating func remove(_ contact: BareJID) throws(StanzaError) -> RosterItemRemoval {
        let removal = try roster.remove(contact)
        write(removal.change)
        return removal
    }

    @discardableResult
    mutating func send(_ stanza: SubscriptionStanza, to contact: BareJID) throws(StanzaError) -> RosterStep {
        let step = try roster.send(stanza, to: contact, owner: juliet, limits: limits)
        if let change = step.change { write(change) }
        return step
    }

    @discardableResult
    mutating func receive(_ stanza: SubscriptionStanza, from contact: BareJID, request: EncodedStanza? = nil) -> RosterStep {
        let step = roster.receive(stanza, from: contact, request: request, owner: juliet, limits: limits)
        if let change = step.change { write(change) }
        return step
    }

    /// What the store does with a write.
    mutating func write(_ change: RosterChange) {
        switch change.write(stored.id) {
        case .rosterItem(_, let item):
            stored.roster.removeAll { $0.contact == item.contact }
            stored.roster.append(item)
            stored.rosterVersion = max(stored.rosterVersion, item.version)
        case .rosterRemoval(_, let contact, let version):
            stored.roster.removeAll { $0.contact == contact }
            stored.rosterVersion = max(stored.rosterVersion, version)
            stored.rosterRemovals.removeAll { $0.version == version }
            stored.rosterRemovals.append(RosterRemoval(contact: contact, version: version))
            stored.rosterRemovals.sort { $0.version < $1.version }
            stored.rosterRemovals.removeFirst(max(0, stored.rosterRemovals.count - StoredAccount.rosterRemovalsMax))
        default: Issue.record("not a roster write")
        }
    }
}

/// A client's copy of the roster, kept by pushes.
private struct Cache: Equatable {
    var version: String? = ""
    var items: [BareJID: RosterItem] = [:]

    mutating func update(from roster: Roster) {
        switch roster.get(since: version) {
        case .unchanged: return
        case .changes(let changes): for change in changes { push(change, roster) }
        case .full(let all):
            items = Dictionary(uniqueKeysWithValues: all.map { ($0.contact, seen($0)) })
            version = roster.versionName
        }
    }

    mutating func push(_ change: RosterChange, _ roster: Roster) {
        switch change {
        case .item(let item): items[item.contact] = seen(item)
        case .removal(let removal): items[removal.contact] = nil
        }
        version = roster.versionName(of: change.version)
    }

    private func seen(_ item: RosterItem) -> RosterItem {
        var item = item
        item.request = nil
        item.subscription.pendingIn = false
        item.version = 0
        return item
    }
}

@Suite("Roster sets (RFC 6121 §2.3 to §2.5)")
struct RosterSetTests {
    @Test("an item is added without a subscription (RFC 6121 §2.3.2)")
    func add() throws {
        var subject = Subject()
        let item = try subject.set(nurse, name: "Nurse", groups: ["Servants"])
        #expect(item == RosterItem(contact: nurse, name: "Nurse", groups: ["Servants"], subscription: SubscriptionState(isInRoster: true), version: 1))
        #expect(subject.roster.version == 1)
        #expect(subject.roster.shownItems == [item])
        #expect(subject.stored.roster == [item])
    }

    @Test("an item is replaced as a whole and keeps its subscription (RFC 6121 §2.4.1)")
    func update() throws {
        var subject = Subject()
        try subject.set(romeo, name: "Romeo", groups: ["Friends", "Lovers"])
        try subject.send(.subscribe, to: romeo)
        subject.receive(.subscribed, from: romeo)
        let item = try #require(try subject.set(romeo, name: "MyRomeo"))
        #expect(item.name == "MyRomeo")
        #expect(item.groups == [])
        #expect(item.subscription == SubscriptionState(to: true, isInRoster: true))
    }

    @Test("an empty name is no name (RFC 6121 §2.4.1)")
    func emptyName() throws {
        var subject = Subject()
        #expect(try subject.set(romeo, name: "")?.name == nil)
    }

    @Test("groups keep the order in which they were given")
    func groupOrder() throws {
        var subject = Subject()
        #expect(try subject.set(romeo, groups: ["b", "a", "c"])?.groups == ["b", "a", "c"])
    }

    @Test("the own address is not allowed (RFC 6121 §2.3.3)")
    func ownAddress() {
        var subject = Subject()
        #expect(throws: StanzaError.notAllowed) { try subject.set(juliet) }
        #expect(subject.roster.version == 0)
    }

    @Test("an empty group is not acceptable (RFC 6121 §2.3.3)")
    func emptyGroup() {
        var subject = Subject()
        #expect(condition { try subject.set(nurse, groups: ["Servants", ""]) } == .notAcceptable)
    }

    @Test("a group named twice is a bad request (RFC 6121 §2.3.3)")
    func duplicateGroups() {
        var subject = Subject()
        #expect(condition { try subject.set(nurse, groups: ["Servants", "Family", "Servants"]) } == .badRequest)
        #expect(condition { try subject.set(nurse, groups: ["caf\u{E9}", "cafe\u{301}"]) } == .badRequest)
        #expect(condition { try subject.set(nurse, groups: ["Servants", "servants"]) } == nil)
    }

    @Test("a name may have 1023 bytes and not 1024 (RFC 6121 §2.3.3)")
    func nameLength() {
        var subject = Subject()
        #expect(condition { try subject.set(nurse, name: String(repeating: "n", count: 1_023)) } == nil)
        #expect(condition { try subject.set(nurse, name: String(repeating: "n", count: 1_024)) } == .notAcceptable)
        #expect(condition { try subject.set(nurse, name: String(repeating: "é", count: 512)) } == .notAcceptable)
    }

    @Test("a group may have 1023 bytes and not 1024 (RFC 6121 §2.3.3)")
    func groupLength() {
        var subject = Subject()
        #expect(condition { try subject.set(nurse, groups: [String(repeating: "g", count: 1_023)]) } == nil)
        #expect(condition { try subject.set(nurse, groups: [String(repeating: "g", count: 1_024)]) } == .notAcceptable)
    }

    @Test("an item may have as many groups as the limit says and no more")
    func groupCount() {
        var subject = Subject()
        subject.limits.rosterGroupsMax = 3
        #expect(condition { try subject.set(nurse, groups: ["a", "b", "c"]) } == nil)
        #expect(condition { try subject.set(nurse, groups: ["a", "b", "c", "d"]) } == .notAcceptable)
    }

    @Test("a full roster takes no more items, but changes and forgets those it has")
    func itemCount() throws {
        var subject = Subject()
        subject.limits.rosterItemsMax = 2
        try subject.set(romeo)
        try subject.set(nurse)
        #expect(condition { try subject.set(mercutio) } == .resourceConstraint)
        #expect(condition { try subject.send(.subscribe, to: mercutio) } == .resourceConstraint)
        #expect(condition { try subject.send(.subscribed, to: mercutio) } == .resourceConstraint)
        #expect(subject.roster[mercutio] == nil)
        #expect(try subject.send(.unsubscribe, to: mercutio).step.passesOn)
        try subject.set(nurse, name: "Nurse")
        try subject.send(.subscribe, to: nurse)
        try subject.remove(romeo)
        try subject.set(mercutio)
        #expect(subject.roster.shownItems.map(\.contact) == [nurse, mercutio])
    }

    @Test("requests of strangers take no place in the roster")
    func strangersTakeNoPlace() throws {
        var subject = Subject()
        subject.limits.rosterItemsMax = 1
        subject.receive(.subscribe, from: mercutio)
        try subject.set(romeo)
        #expect(condition { try subject.send(.subscribed, to: mercutio) } == .resourceConstraint)
        #expect(subject.roster[mercutio]?.subscription == SubscriptionState(pendingIn: true))
    }

    @Test("a refused set changes nothing")
    func refusal() throws {
        var subject = Subject()
        try subject.set(nurse, name: "Nurse")
        let before = subject.roster[nurse]
        #expect(condition { try subject.set(nurse, name: "Angelica", groups: [""]) } == .notAcceptable)
        #expect(subject.roster[nurse] == before)
        #expect(subject.roster.version == 1)
    }

    @Test("what is not in the roster cannot be removed (RFC 6121 §2.5.3)")
    func removeUnknown() {
        var subject = Subject()
        #expect(condition { try subject.remove(nurse) } == .itemNotFound)
        subject.receive(.subscribe, from: nurse)
        #expect(condition { try subject.remove(nurse) } == .itemNotFound)
        #expect(subject.roster[nurse] != nil)
    }

    @Test("removing an item ends both subscriptions and is remembered (RFC 6121 §2.5.2)")
    func remove() throws {
        var subject = Subject()
        try subject.send(.subscribe, to: romeo)
        subject.receive(.subscribed, from: romeo)
        subject.receive(.subscribe, from: romeo)
        try subject.send(.subscribed, to: romeo)
        #expect(subject.roster.state(of: romeo).name.description == "both")
        let removal = try subject.remove(romeo)
        #expect(removal.stanzas == [.unsubscribe, .unsubscribed])
        #expect(removal.stopsSendingPresence)
        #expect(removal.change == .removal(RosterRemoval(contact: romeo, version: subject.roster.version)))
        #expect(subject.roster[romeo] == nil)
        #expect(subject.stored.roster == [])
    }

    @Test("setting an item for a stranger who asked keeps his request (RFC 6121 §A.1)")
    func setForStranger() throws {
        var subject = Subject()
        subject.receive(.subscribe, from: romeo, request: stanza(bytes: 10))
        let item = try subject.set(romeo, name: "Romeo")
        #expect(item?.subscription == SubscriptionState(pendingIn: true, isInRoster: true))
        #expect(item?.request == stanza(bytes: 10))
        #expect(Array(subject.roster.requests) == [item])
    }

    private func condition(_ body: () throws -> Void) -> StanzaError.Condition? {
        do {
            try body()
            return nil
        } catch let error as StanzaError {
            return error.condition
        } catch {
            Issue.record(error)
            return nil
        }
    }
}

@Suite("Subscriptions in a roster (RFC 6121 §3)")
struct RosterSubscriptionTests {
    @Test("asking makes an item with ask (RFC 6121 §3.1.2)")
    func ask() throws {
        var subject = Subject()
        let step = try subject.send(.subscribe, to: romeo)
        let item = RosterItem(contact: romeo, subscription: SubscriptionState(pendingOut: true, isInRoster: true), version: 1)
        #expect(step.change == .item(item))
        #expect(step.step.passesOn && step.step.pushes)
    }

    @Test("asking again is routed and writes nothing")
    func askAgain() throws {
        var subject = Subject()
        try subject.send(.subscribe, to: romeo)
        let step = try subject.send(.subscribe, to: romeo)
        #expect(step.step.passesOn)
        #expect(step.change == nil)
        #expect(subject.roster.version == 1)
    }

    @Test("a request is kept whole until it is answered, and is no change of the roster (RFC 6121 §3.1.3, §2.6.3)")
    func requestIsKept() throws {
        var subject = Subject()
        let step = subject.receive(.subscribe, from: romeo, request: stanza(bytes: 100))
        #expect(step.step.passesOn && !step.step.pushes)
        #expect(subject.roster.version == 0)
        #expect(subject.roster.shownItems == [])
        #expect(subject.roster.requests.map(\.request) == [stanza(bytes: 100)])
        #expect(subject.stored.roster.map(\.request) == [stanza(bytes: 100)])
        try subject.send(.subscribed, to: romeo)
        #expect(Array(subject.roster.requests) == [])
        #expect(subject.stored.roster.map(\.request) == [nil])
    }

    @Test("of several requests by one contact the first is kept (RFC 6121 §3.1.3)")
    func firstRequestIsKept() {
        var subject = Subject()
        subject.receive(.subscribe, from: romeo, request: stanza(bytes: 1))
        let step = subject.receive(.subscribe, from: romeo, request: stanza(bytes: 2))
        #expect(!step.step.passesOn)
        #expect(step.change == nil)
        #expect(subject.roster[romeo]?.request == stanza(bytes: 1))
    }

    @Test("a request past its limit is kept without its payload")
    func requestSize() {
        var subject = Subject()
        subject.receive(.subscribe, from: romeo, request: stanza(bytes: subject.limits.subscriptionRequestBytesMax))
        subject.receive(.subscribe, from: nurse, request: stanza(bytes: subject.limits.subscriptionRequestBytesMax + 1))
        #expect(subject.roster[romeo]?.request != nil)
        #expect(subject.roster[nurse]?.subscription.pendingIn == true)
        #expect(subject.roster[nurse]?.request == nil)
    }

    @Test("strangers' requests past the limit are dropped; those of contacts in the roster are not")
    func requestCount() throws {
        var subject = Subject()
        subject.limits.pendingRequestsMax = 2
        try subject.set(nurse)
        subject.receive(.subscribe, from: contact(1))
        #expect(subject.receive(.subscribe, from: contact(2)).step.passesOn)
        let dropped = subject.receive(.subscribe, from: contact(3))
        #expect(!dropped.step.passesOn && dropped.step.reply == nil && dropped.change == nil)
        #expect(subject.roster[contact(3)] == nil)
        #expect(subject.receive(.subscribe, from: nurse).step.passesOn)
        try subject.send(.unsubscribed, to: contact(1))
        #expect(subject.receive(.subscribe, from: contact(3)).step.passesOn)
    }

    @Test("a denied stranger is forgotten (RFC 6121 §3.1.4)")
    func denial() throws {
        var subject = Subject()
        subject.receive(.subscribe, from: romeo)
        let step = try subject.send(.unsubscribed, to: romeo)
        #expect(step.step.passesOn && !step.step.pushes)
        #expect(step.change == .removal(RosterRemoval(contact: romeo, version: 0)))
        #expect(subject.roster[romeo] == nil)
        #expect(subject.stored.roster == [])
        #expect(subject.roster.version == 0)
    }

    @Test("a pre-approved contact is answered at once (RFC 6121 §3.4.2)")
    func preApproval() throws {
        var subject = Subject()
        try subject.send(.subscribed, to: romeo)
        let step = subject.receive(.subscribe, from: romeo, request: stanza(bytes: 10))
        #expect(step.step.reply == .subscribed)
        #expect(step.step.startsSendingPresence)
        #expect(subject.roster[romeo]?.subscription == SubscriptionState(from: true, isInRoster: true))
        #expect(subject.roster[romeo]?.request == nil)
    }

    @Test("to and from the own address nothing happens")
    func ownAddress() throws {
        var subject = Subject()
        for stanza in SubscriptionStanza.allCases {
            #expect(try !subject.send(stanza, to: juliet).step.passesOn)
            #expect(!subject.receive(stanza, from: juliet).step.passesOn)
        }
        #expect(subject.roster[juliet] == nil)
        #expect(subject.roster.version == 0)
    }

    @Test("presence goes to from and both, and comes from to and both (RFC 6121 §4.2.2, §4.3.1)")
    func lists() {
        var stored = StoredAccount(id: AccountID(raw: 7))
        let states = [
            SubscriptionState(isInRoster: true), SubscriptionState(to: true, isInRoster: true),
            SubscriptionState(from: true, isInRoster: true), SubscriptionState(to: true, from: true, isInRoster: true),
            SubscriptionState(pendingIn: true), SubscriptionState(to: true, pendingIn: true, isInRoster: true),
            SubscriptionState(from: true, pendingOut: true, isInRoster: true), SubscriptionState(approved: true, isInRoster: true),
        ]
        for (number, state) in states.enumerated() {
            stored.roster.append(RosterItem(contact: contact(number), subscription: state, version: UInt64(number)))
        }
        let roster = Roster(stored)
        #expect(Set(roster.subscribers) == [contact(2), contact(3), contact(6)])
        #expect(Set(roster.subscriptions) == [contact(1), contact(3), contact(5)])
        #expect(Set(roster.requests.map(\.contact)) == [contact(4), contact(5)])
        #expect(roster.shownItems.map(\.contact) == [0, 1, 2, 3, 5, 6, 7].map(contact))
    }
}

@Suite("Roster versions (RFC 6121 §2.6)")
struct RosterVersionTests {
    @Test("without a version, and with the empty one, the whole roster is given (RFC 6121 §2.6.2)")
    func full() throws {
        var subject = Subject()
        #expect(subject.roster.get(since: nil) == .full([]))
        #expect(subject.roster.get(since: "") == .full([]))
        let item = try #require(try subject.set(nurse))
        #expect(subject.roster.get(since: nil) == .full([item]))
        #expect(subject.roster.get(since: "") == .full([item]))
    }

    @Test("the current version needs no answer (RFC 6121 §2.6.3)")
    func unchanged() throws {
        var subject = Subject()
        #expect(subject.roster.get(since: subject.roster.versionName) == .unchanged)
        try subject.set(nurse)
        #expect(subject.roster.get(since: subject.roster.versionName) == .unchanged)
    }

    @Test("changes come in their order, each item once, each with a version of its own (RFC 6121 §2.6.3)")
    func changes() throws {
        var subject = Subject()
        try subject.set(nurse)
        try subject.set(mercutio)
        let known = subject.roster.versionName
        try subject.set(romeo)
        try subject.set(nurse, name: "Nurse")
        try subject.remove(mercutio)
        let last = try #require(try subject.set(romeo, name: "Romeo"))
        let renamed = try #require(subject.roster[nurse])
        #expect(
            subject.roster.get(since: known)
                == .changes([.item(renamed), .removal(RosterRemoval(contact: mercutio, version: 5)), .item(last)]))
        #expect(subject.roster.versionName(of: last.version) == subject.roster.versionName)
    }

    @Test("one who was removed and is back is only an item")
    func removedAndBack() throws {
        var subject = Subject()
        try subject.set(nurse)
        let known = subject.roster.versionName
        try subject.remove(nurse)
        let item = try #require(try subject.set(nurse))
        #expect(subject.roster.get(since: known) == .changes([.item(item)]))
    }

    @Test("one who was removed twice is one removal")
    func removedTwice() throws {
        var subject = Subject()
        try subject.set(nurse)
        let known = subject.roster.versionName
        try subject.remove(nurse)
        try subject.set(nurse)
        try subject.remove(nurse)
        #expect(subject.roster.get(since: known) == .changes([.removal(RosterRemoval(contact: nurse, version: 4))]))
    }

    @Test("one who was removed and asks again is told as removed, also after his request is denied")
    func removedAndAsks() throws {
        var subject = Subject()
        try subject.set(nurse)
        let known = subject.roster.versionName
        try subject.remove(nurse)
        let removed = RosterAnswer.changes([.removal(RosterRemoval(contact: nurse, version: 2))])
        subject.receive(.subscribe, from: nurse)
        #expect(subject.roster.get(since: known) == removed)
        #expect(Roster(subject.stored).get(since: known) == removed)
        try subject.send(.unsubscribed, to: nurse)
        #expect(subject.roster.get(since: known) == removed)
        #expect(Roster(subject.stored).get(since: known) == removed)
    }

    @Test("a stranger who asked and withdrew is never told")
    func stranger() throws {
        var subject = Subject()
        let known = subject.roster.versionName
        subject.receive(.subscribe, from: nurse)
        subject.receive(.unsubscribe, from: nurse)
        #expect(subject.roster.get(since: known) == .unchanged)
        #expect(Roster(subject.stored).get(since: known) == .unchanged)
    }

    @Test(
        "a version that this roster never had gets the whole roster (RFC 6121 §2.6.3)",
        arguments: ["7-2", "8-1", "1", "7", "7-", "-1", "7-01", "7-+1", "7--1", "7-1 ", " 7-1", "7-1x", "7-99999999999999999999", "ver1"])
    func unknown(name: String) throws {
        var subject = Subject()
        try subject.set(nurse)
        #expect(subject.roster.versionName == "7-1")
        guard case .full = subject.roster.get(since: name) else { return #expect(Bool(false), "\(name) was taken for a version") }
    }

    @Test("an account that was created anew knows no version of the old one")
    func anotherAccount() throws {
        var subject = Subject()
        try subject.set(nurse)
        let old = subject.roster.versionName
        var new = Roster(StoredAccount(id: AccountID(raw: 8)))
        _ = try new.set(romeo, name: nil, groups: [], owner: juliet, limits: HostLimits())
        guard case .full = new.get(since: old) else { return #expect(Bool(false)) }
    }

    @Test("what a client missed is told as long as every removal since is remembered, then the whole roster is")
    func bounds() throws {
        var subject = Subject()
        for number in 0...StoredAccount.rosterRemovalsMax { try subject.set(contact(number)) }
        let known = subject.roster.versionName
        for number in 0..<StoredAccount.rosterRemovalsMax - 1 { try subject.remove(contact(number)) }
        for roster in [subject.roster, Roster(subject.stored)] {
            guard case .changes(let changes) = roster.get(since: known) else { return #expect(Bool(false)) }
            #expect(changes.count == StoredAccount.rosterRemovalsMax - 1)
        }
        let between = subject.roster.versionName
        try subject.remove(contact(StoredAccount.rosterRemovalsMax - 1))
        try subject.remove(contact(StoredAccount.rosterRemovalsMax))
        for roster in [subject.roster, Roster(subject.stored)] {
            #expect(roster.get(since: known) == .full([]))
            guard case .changes(let changes) = roster.get(since: between) else { return #expect(Bool(false)) }
            #expect(changes.count == 2)
        }
    }

    @Test("the roster is the same after it was stored and loaded, and clients that come back now and then see it as it is", arguments: UInt64(0)..<20)
    func walk(seed: UInt64) throws {
        var random = SeededNumbers(seed: seed)
        var subject = Subject()
        subject.limits.rosterItemsMax = 12
        subject.limits.pendingRequestsMax = 3
        var live = Cache()
        live.update(from: subject.roster)
        var occasional = Array(repeating: Cache(), count: 4)
        for _ in 0..<1_500 {
            let contact = contact(Int.random(in: 0..<20, using: &random))
            let stanza = SubscriptionStanza.allCases[Int.random(in: 0..<4, using: &random)]
            let before = subject.roster.version
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                let item = try? subject.set(contact, name: "\(Int.random(in: 0..<100, using: &random))")
                if let item { live.push(.item(item), subject.roster) }
            case 2:
                if let removal = try? subject.remove(contact) { live.push(removal.change, subject.roster) }
            case 3, 4:
                if let step = try? subject.send(stanza, to: contact), step.step.pushes, let change = step.change { live.push(change, subject.roster) }
            case 5, 6:
                let step = subject.receive(stanza, from: contact)
                if step.step.pushes, let change = step.change { live.push(change, subject.roster) }
            default:
                occasional[Int.random(in: 0..<4, using: &random)].update(from: subject.roster)
            }
            #expect(subject.roster.get(since: live.version) == .unchanged)
            #expect(subject.roster.version - before <= 1)
            if Int.random(in: 0..<50, using: &random) == 0 {
                let loaded = Roster(subject.stored)
                #expect(loaded.version == subject.roster.version)
                #expect(loaded.shownItems == subject.roster.shownItems)
                #expect(Set(loaded.requests) == Set(subject.roster.requests))
                subject.roster = loaded
            }
        }
        var fresh = Cache()
        fresh.update(from: subject.roster)
        #expect(live == fresh)
        for index in occasional.indices {
            occasional[index].update(from: subject.roster)
            #expect(occasional[index] == fresh)
        }
    }
}
