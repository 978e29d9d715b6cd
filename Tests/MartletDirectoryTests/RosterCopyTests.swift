import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

private let base = "ou=rosters,dc=example,dc=org"
private let alice = address("alice@example.org")
private let bob = address("bob@example.org")

private func tree() throws -> RosterTree { RosterTree(base: try DistinguishedName(base), domain: try BareJID(parsing: "example.org")) }

private func address(_ text: String) -> BareJID {
    guard let address = try? BareJID(parsing: text) else { preconditionFailure("no address: \(text)") }
    return address
}

private func state(_ change: (inout SubscriptionState) -> Void = { _ in }) -> SubscriptionState {
    var state = SubscriptionState(isInRoster: true)
    change(&state)
    return state
}

private func item(_ name: String? = nil, _ groups: [String] = [], _ change: (inout SubscriptionState) -> Void = { _ in }) -> CopiedRosterItem {
    CopiedRosterItem(name: name, groups: groups, state: state(change))
}

@Suite("Items of rosters as entries of a directory")
struct CopiedRosterItemTests {
    /// As an entry, and back.
    private func there(_ item: CopiedRosterItem) throws -> CopiedRosterItem { try CopiedRosterItem(LDAPEntry("", item.attributes.filter { !$0.values.isEmpty })) }

    @Test("every state of two accounts comes back as it was (RFC 6121 §A.1)")
    func states() throws {
        for bits in 0..<64 {
            let state = SubscriptionState(
                to: bits & 1 != 0, from: bits & 2 != 0, pendingOut: bits & 4 != 0, pendingIn: bits & 8 != 0, approved: bits & 16 != 0,
                isInRoster: bits & 32 != 0)
            let item = CopiedRosterItem(name: nil, groups: [], state: state)
            // What is neither in the roster nor a request is no item at all.
            guard item.state.isInRoster || item.state == SubscriptionState(pendingIn: true) else { continue }
            #expect(try there(item) == item, "\(state)")
        }
    }

    @Test("the attributes are those of the schema")
    func attributes() {
        let attributes = item("Bob", ["Work", "Friends"]) { ($0.to, $0.pendingIn) = (true, true) }.attributes
        #expect(attributes.map(\.description) == CopiedRosterItem.attributeNames)
        #expect(attributes.map(\.values) == [["Bob"], ["Friends", "Work"], ["to"], ["in"]].map { $0.map { Array($0.utf8) } })
        // A stranger's request is not in the roster.
        #expect(CopiedRosterItem(name: nil, groups: [], state: SubscriptionState(pendingIn: true)).attributes[2].values.isEmpty)
    }

    @Test("an entry that says no subscription is a contact without one")
    func bare() throws {
        #expect(try CopiedRosterItem(LDAPEntry("")) == item())
        #expect(try CopiedRosterItem(LDAPEntry("", [LDAPAttribute("XMPPSubscription", "BOTH")])) == item { ($0.to, $0.from) = (true, true) })
        let asked = LDAPAttribute("xmppPending", "in")
        #expect(try CopiedRosterItem(LDAPEntry("", [asked])).state == SubscriptionState(pendingIn: true))
        #expect(try CopiedRosterItem(LDAPEntry("", [asked, LDAPAttribute("xmppContactName", "Bob")])).state == state { $0.pendingIn = true })
    }

    @Test("groups that the directory takes for the same are one value, in whatever order they are")
    func groups() throws {
        #expect(item(nil, ["Friends", " Friends ", "friends", "A  b", "A b"]).groups.count == 3)
        #expect(item(nil, ["b", "a"]) == item(nil, ["a", "b"]))
    }

    @Test(
        "what is no text for clients is no item",
        arguments: [
            LDAPAttribute("xmppContactName", "a\u{0}b"), LDAPAttribute("xmppContactName", "\u{1B}[2J"), LDAPAttribute("xmppContactName", [[0xFF, 0xFE]]),
            LDAPAttribute("xmppContactName", "\u{FFFF}"), LDAPAttribute("xmppContactGroup", ""), LDAPAttribute("xmppContactGroup", [[0x61], [0xC0]]),
            LDAPAttribute("xmppSubscription", "all"), LDAPAttribute("xmppPending", "later"),
            LDAPAttribute("xmppContactName", String(repeating: "n", count: Roster.nameBytesMax + 1)),
        ])
    func hostile(_ attribute: LDAPAttribute) {
        #expect(throws: CopiedRosterItem.Fault.self) { try CopiedRosterItem(LDAPEntry("", [attribute])) }
    }

    @Test("markup, quotes and what filters and names escape is text like any other")
    func odd() throws {
        for text in ["<b>&\"'", "a*)(uid=*", "cn=x,dc=y", "\\2a", " spaced ", "👩🏽‍🚀", "a\nb", String(repeating: "n", count: Roster.nameBytesMax)] {
            #expect(try there(item(text, [text])) == item(text, [text]))
        }
    }
}

@Suite("Names of entries of rosters")
struct RosterTreeTests {
    @Test("an address is a value of a name, whatever it has in it")
    func names() throws {
        let tree = try tree()
        #expect(tree.name(of: alice).description == "cn=alice@example.org,\(base)")
        for text in ["d\\27art\\2cagnan@gascon.example", "a,b+c=d;e@x.example", "#x@y.example", "x\\20y@z.example", "ü@example.net", "example.net", "*)(uid=*@x.example"] {
            let place = RosterPlace(alice, try BareJID(parsing: text))
            #expect(tree.place(of: tree.name(of: place).description) == place, "\(text)")
        }
    }

    @Test(
        "other entries are none",
        arguments: [
            "", base, "cn=alice@example.org,\(base)", "xmppContact=bob@example.org,cn=alice@example.net,\(base)",
            "xmppContact=bob@example.org,cn=example.org,\(base)", "xmppContact=bob@example.org,ou=alice@example.org,\(base)",
            "uid=bob@example.org,cn=alice@example.org,\(base)", "cn=x,xmppContact=bob@example.org,cn=alice@example.org,\(base)",
            "xmppContact=bob@example.org+uid=x,cn=alice@example.org,\(base)", "xmppContact=bob@example.org/home,cn=alice@example.org,\(base)",
            "xmppContact=@,cn=alice@example.org,\(base)", "xmppContact=bob@example.org,cn=alice@example.org,ou=other,dc=org",
        ])
    func others(_ name: String) throws { #expect(try tree().place(of: name) == nil) }

    @Test("the same name in other letters is the same place")
    func spelling() throws {
        #expect(try tree().place(of: "XMPPCONTACT=Bob@Example.org, CN=ALICE@example.org, OU=Rosters, DC=example, DC=ORG") == RosterPlace(alice, bob))
    }
}

@Suite("Where a roster and its copy in a directory differ")
struct RosterMergeTests {
    private let friends = item("Bob", ["Friends"]) { ($0.to, $0.from) = (true, true) }
    private let renamed = item("Robert", ["Work"]) { $0.from = true }

    private func verdict(_ item: CopiedRosterItem?, _ copy: CopiedRosterItem?, edited: Int64? = nil, _ noted: RosterMerge.Noted) -> RosterMerge.Verdict {
        RosterMerge.verdict(item, copy: copy, edited: edited, noted)
    }

    @Test("where they do not, nothing is done", arguments: [RosterMerge.Noted.nothing, .changed(5), .joining])
    func same(_ noted: RosterMerge.Noted) {
        #expect(verdict(friends, friends, noted) == .settled && verdict(nil, nil, noted) == .settled)
    }

    @Test("what somebody else has changed is taken over, but never takes away what is between the two")
    func edits() {
        #expect(verdict(nil, friends, .nothing) == .adopt(friends))
        #expect(verdict(friends, nil, .nothing) == .remove)
        #expect(verdict(friends, renamed, .nothing) == .adopt(CopiedRosterItem(name: "Robert", groups: ["Work"], state: friends.state)))
        // Nothing but that: it is put right.
        let less = item("Bob", ["Friends"])
        #expect(verdict(friends, less, .nothing) == .write(friends))
        #expect(verdict(less, friends, .nothing) == .adopt(friends))
    }

    @Test("what has changed here is said there")
    func changes() {
        #expect(verdict(friends, nil, .changed(5)) == .write(friends))
        #expect(verdict(nil, friends, edited: 5, .changed(5)) == .write(nil))
        #expect(verdict(nil, friends, .changed(5)) == .write(nil))
        #expect(verdict(renamed, friends, edited: 4, .changed(5)) == .write(renamed))
    }

    @Test("where both have changed the later one names and groups, and what is between the two stays as the contact was told")
    func conflicts() {
        #expect(verdict(renamed, friends, edited: 5, .changed(5)) == .write(renamed))
        #expect(verdict(renamed, friends, edited: 6, .changed(5)) == .adopt(CopiedRosterItem(name: "Bob", groups: ["Friends"], state: renamed.state)))
        #expect(verdict(nil, friends, edited: 6, .changed(5)) == .adopt(item("Bob", ["Friends"])))
        let asked = CopiedRosterItem(name: nil, groups: [], state: SubscriptionState(pendingIn: true))
        #expect(verdict(nil, asked, edited: 6, .changed(5)) == .write(nil))
        let other = CopiedRosterItem(name: "Bob", groups: ["Friends"], state: renamed.state)
        #expect(verdict(other, friends, edited: 6, .changed(5)) == .write(other))
    }

    @Test("at first both are put together")
    func joining() {
        #expect(verdict(friends, nil, .joining) == .write(friends))
        #expect(verdict(nil, friends, .joining) == .adopt(friends))
        #expect(verdict(renamed, friends, .joining) == .adopt(CopiedRosterItem(name: "Robert", groups: ["Work"], state: friends.state)))
        #expect(verdict(item { $0.to = true }, friends, .joining) == .adopt(friends))
        #expect(verdict(friends, renamed, .joining) == .write(friends))
    }
}

@Suite("What a directory has of rosters, and what is known of it")
final class RosterCopiesTests {
    private let place = RosterPlace(alice, bob)
    private var copies: RosterCopies

    init() throws { copies = RosterCopies(try tree(), ownName: try DistinguishedName("cn=martlet,dc=org")) }

    private func number(_ second: Int) -> String { "202611301847\(second < 10 ? "0" : "")\(second).000000Z#000000#000#000000" }

    private func entry(_ name: String, _ second: Int? = nil, by editor: String? = nil) throws -> LDAPEntry {
        let more = [second.map { LDAPAttribute("entryCSN", number($0)) }, editor.map { LDAPAttribute("modifiersName", $0) }]
        return LDAPEntry(try tree().name(of: place).description, [LDAPAttribute("xmppContactName", name)] + more.compactMap(\.self))
    }

    private func take(_ uuid: Int, _ entry: LDAPEntry) -> [RosterPlace] { copies.take(.entry(.number(uuid), entry)) }

    private func gone(_ uuid: Int) -> [RosterPlace] { copies.take(.gone(.number(uuid))) }

    @Test("the change number begins with the moment")
    func moments() {
        #expect(EntryChange(number: "20200913122640.250000Z#000000#000#000000").time == 1_600_000_000_250)
        #expect(EntryChange(LDAPEntry("", [LDAPAttribute("modifyTimestamp", "20200913122640Z")])) == EntryChange(time: 1_600_000_000_000))
        #expect(EntryChange(number: "x").time == nil)
    }

    @Test("what others do is told, once")
    func others() throws {
        #expect(try take(1, entry("Bob", 1)) == [place])
        #expect(try take(1, entry("Bob", 1)) == [])
        #expect(try take(1, entry("Robert", 2)) == [place])
        #expect(copies[place]?.item == item("Robert") && copies.count == 1 && copies.contacts(of: alice) == [bob])
        #expect(gone(1) == [place])
        #expect(gone(1) == [] && copies.count == 0 && copies.contacts(of: alice).isEmpty)
    }

    @Test("what was written here is not told, whether the answer comes first or the news, nor what is older")
    func echoes() throws {
        copies.begin(place, item("Bob"))
        #expect(try take(1, entry("Bob", 1)) == [])
        copies.wrote(place, item("Bob"), EntryChange(number: number(1)), .number(1), now: 0)
        copies.begin(place, item("Robert"))
        copies.wrote(place, item("Robert"), EntryChange(number: number(2)), .number(1), now: 0)
        copies.begin(place, item("Rob"))
        copies.wrote(place, item("Rob"), EntryChange(number: number(3)), .number(1), now: 0)
        #expect(try take(1, entry("Robert", 2)) == [])
        #expect(try take(1, entry("Rob", 3)) == [] && copies[place]?.item == item("Rob"))
        #expect(try take(1, entry("Robert", 4)) == [place])
    }

    @Test("somebody who makes it what was written here last has changed it all the same")
    func again() throws {
        copies.begin(place, item("Bob"))
        copies.wrote(place, item("Bob"), EntryChange(number: number(1)), .number(1), now: 0)
        #expect(try take(1, entry("Robert", 2)) == [place])
        #expect(try take(1, entry("Bob", 3)) == [place])
    }

    @Test("a server that numbers no changes is asked who has made them")
    func editors() throws {
        copies.wrote(place, item("Rob"), now: 0)
        #expect(try take(1, entry("Bob", by: "CN=Martlet, DC=org")) == [])
        #expect(try take(1, entry("Robert", by: "cn=admin,dc=org")) == [place])
    }

    @Test("when somebody else has changed something counts until that is dealt with; when we have does not, whatever the directory's clock shows")
    func times() throws {
        #expect(try take(1, entry("Bob", 1, by: "cn=admin,dc=org")) == [place] && copies[place]?.edited == EntryChange(number: number(1)).time)
        copies.settle(place)
        #expect(copies[place]?.edited == nil && copies[place]?.item == item("Bob"))
        #expect(try take(1, entry("Rob", 2, by: "cn=martlet,dc=org")) == [place] && copies[place]?.edited == nil)
    }

    @Test("the end of an entry says nothing of the one that has its place now")
    func replaced() throws {
        _ = try take(1, entry("Bob", 1))
        copies.begin(place, nil)
        copies.wrote(place, nil, now: 0)
        copies.begin(place, item("Bob"))
        copies.wrote(place, item("Bob"), EntryChange(number: number(3)), .number(2), now: 0)
        #expect(gone(1) == [] && copies[place] != nil)
        #expect(gone(2) == [place])
    }

    @Test("our own deletion is not told, whether the answer comes first or the news")
    func deletion() throws {
        _ = try take(1, entry("Bob", 1))
        copies.begin(place, nil)
        #expect(gone(1) == [])
        copies.wrote(place, nil, now: 0)
        #expect(copies.count == 0)
    }

    @Test("an entry that is renamed is gone from its place")
    func renamed() throws {
        _ = try take(1, entry("Bob", 1))
        let other = RosterPlace(alice, address("robert@example.org"))
        let moved = LDAPEntry(try tree().name(of: other).description, [LDAPAttribute("entryCSN", number(2))])
        #expect(take(1, moved) == [place, other] && copies[place] == nil)
        #expect(take(1, LDAPEntry("uid=x,dc=org")) == [other] && copies.count == 0)
    }

    @Test("an entry that is no item is counted and left alone")
    func unusable() throws {
        #expect(try take(1, entry("a\u{0}", 1)) == [] && copies.unusableCount == 1 && copies[place]?.item == nil && copies.count == 1)
        #expect(try take(1, entry("Bob", 2)) == [place] && copies.unusableCount == 0)
    }

    @Test("what a refresh does not find is gone, unless it was written a moment ago and may be on another server only")
    func refresh() throws {
        let now: Int64 = 1_000
        _ = try take(1, entry("Bob", 1))
        copies.begin(RosterPlace(bob, alice), item("Alice"))
        copies.wrote(RosterPlace(bob, alice), item("Alice"), EntryChange(number: number(2)), .number(2), now: now)
        let end = RefreshEnd(there: [])
        #expect(copies.vanished(by: end, now: now + RosterCopies.replicationMilliseconds - 1) == [place])
        #expect(Set(copies.vanished(by: end, now: now + RosterCopies.replicationMilliseconds)) == [place, RosterPlace(bob, alice)])
        #expect(copies.vanished(by: RefreshEnd(there: [.number(1)]), now: now) == [])
        // Where the server says so it is.
        #expect(copies.vanished(by: RefreshEnd(gone: [.number(2)]), now: now) == [RosterPlace(bob, alice)])
        copies.forget(place)
        #expect(copies[place] == nil && gone(1) == [])
    }
}
