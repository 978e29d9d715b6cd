import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

@Suite("Groups as a feed says them")
struct MirroredGroupsTests {
    /// Sixty people, and groups as a refresh brings them.
    private struct Site {
        var people: MirroredPeople
        var groups: MirroredGroups

        init() {
            let template = mirroredPeople()
            people = MirroredPeople(template.mirror, template.people, hasGroups: true)
            _ = people.refresh(Dictionary(uniqueKeysWithValues: (1...60).map { ($0, person("p\($0)")) }))
            groups = MirroredGroups(DirectoryGroups(GroupRules(domain: jid("p1").domain, others: .members), prepare: plainNames) { _ in nil })
        }

        /// From the beginning.
        mutating func refresh(_ all: [Int: LDAPEntry], now: Int64 = 0) -> Set<BareJID> {
            let changes: [FeedEffect] = all.map { .change(.entry(.number($0.key), $0.value)) }
            let end = RefreshEnd(there: Set(all.keys.map { .number($0) }))
            return groups.take([.search(.contentSync(cookie: nil))] + changes + [.refreshed(end), .keepCookie([1])], people, now: now)
        }

        mutating func persist(_ number: Int, _ entry: LDAPEntry?) -> Set<BareJID> {
            groups.take([.change(entry.map { .entry(.number(number), $0) } ?? .gone(.number(number)))], people, now: 0)
        }

        func members(_ name: String) -> Int { groups.groups.members(ofGroupNamed: "cn=\(name),ou=groups", people).count }
    }

    private func group(_ name: String, _ people: ClosedRange<Int>) -> LDAPEntry {
        LDAPEntry("cn=\(name),ou=groups", [LDAPAttribute("cn", name), LDAPAttribute("member", strings: people.map { "uid=p\($0),ou=people" })])
    }

    private var four: [Int: LDAPEntry] { Dictionary(uniqueKeysWithValues: (0..<4).map { ($0 + 1, group("g\($0)", $0 * 10 + 1...$0 * 10 + 10)) }) }

    private func loaded() -> Site {
        var site = Site()
        _ = site.refresh(four)
        return site
    }

    @Test("count when a refresh is complete, all at once")
    func refresh() {
        var site = Site()
        let begun = site.groups.take([.search(.contentSync(cookie: nil)), .change(.entry(.number(1), group("g0", 1...10)))], site.people, now: 0)
        #expect(begun.isEmpty && site.members("g0") == 0 && !site.groups.isLoaded)
        let complete = site.groups.take([.refreshed(RefreshEnd(there: [.number(1)])), .keepCookie([1])], site.people, now: 0)
        #expect(complete.count == 10 && site.members("g0") == 10 && site.groups.isLoaded && site.groups.cookie == [1])
        // After that each change counts.
        let changed = site.persist(1, group("g0", 1...11))
        #expect(changed.count == 11 && site.members("g0") == 11)
    }

    @Test("lose ten members at one look, or a fifth of all, and no more", arguments: [(20, 10), (50, 10), (60, 12)])
    func threshold(size: Int, allowed: Int) {
        var site = Site()
        _ = site.refresh([1: group("g", 1...size)])
        var other = site
        _ = site.refresh([1: group("g", allowed + 1...size)])
        #expect(site.members("g") == size - allowed && !site.groups.brake.isHolding && site.groups.cookie == [1])
        let held = other.refresh([1: group("g", allowed + 2...size)])
        #expect(held.isEmpty && other.members("g") == size && other.groups.brake.accounts == allowed + 1 && other.groups.cookie == nil)
    }

    @Test("stay if a look finds none of them, until an operator says that it is meant")
    func nothingFound() {
        var site = loaded()
        let held = site.refresh([:])
        #expect(held.isEmpty && site.groups.brake.accounts == 40 && (0..<4).allSatisfy { site.members("g\($0)") == 10 })
        let gone = site.groups.confirmRemoval(site.people)
        #expect(gone.count == 40 && site.groups.groups.count == 0 && !site.groups.brake.isHolding)
        let again = site.groups.confirmRemoval(site.people)
        #expect(again.isEmpty)
    }

    @Test("keep their members if a look finds them without, as for want of rights")
    func unreadable() {
        var site = loaded()
        let bare = four.mapValues { LDAPEntry($0.name, [LDAPAttribute("cn", "bare")]) }
        let held = site.refresh(bare)
        #expect(held.isEmpty && (0..<4).allSatisfy { site.members("g\($0)") == 10 })
        // What is kept for the next start is what counts.
        let snapshot = site.groups.snapshot(asked: [7], heard: 0)
        #expect(snapshot?.cookie == nil && snapshot?.entries == loaded().groups.snapshot(asked: [7], heard: 0)?.entries)
        let later = site.refresh(bare, now: SafetyBrake.secondLookMilliseconds - 1)
        #expect(later.isEmpty)
        let late = site.refresh(bare, now: SafetyBrake.secondLookMilliseconds)
        #expect(late.count == 40 && site.members("g0") == 0 && !site.groups.brake.isHolding)
    }

    @Test("change one by one while others are held, and are all there again after a mistake")
    func whileHeld() {
        var site = loaded()
        _ = site.refresh([1: group("g0", 1...10)])
        #expect(site.groups.brake.accounts == 30)
        let joined = site.persist(1, group("g0", 1...11))
        #expect(joined.count == 11)
        let new = site.persist(5, group("g4", 1...2))
        #expect(new.count == 2 && site.members("g1") == 10)
        let gone = site.persist(2, nil)
        #expect(gone.count == 10 && site.members("g1") == 0)
        let back = site.refresh(four)
        #expect(!site.groups.brake.isHolding && back.count == 20 && site.members("g1") == 10 && site.groups.groups.count == 4)
    }

    @Test("go on to be held by what tells only what has changed since")
    func changesOnly() {
        var site = loaded()
        _ = site.refresh([:])
        let effects: [FeedEffect] = [.search(.contentSync(cookie: [1])), .refreshed(RefreshEnd(gone: [.number(1)])), .keepCookie([2])]
        let told = site.groups.take(effects, site.people, now: 2 * SafetyBrake.secondLookMilliseconds)
        #expect(told.isEmpty && site.groups.brake.isHolding && site.groups.cookie == nil && site.members("g0") == 10)
    }

    @Test("are known after a restart as they were, and go on from there if the same is asked")
    func snapshot() throws {
        let site = loaded()
        let snapshot = try #require(site.groups.snapshot(asked: [7], heard: 5))
        var (same, other) = (Site(), Site())
        #expect(same.groups.snapshot(asked: [7], heard: 5) == nil)
        let restored = same.groups.restore(snapshot, asked: [7], same.people)
        #expect(restored.count == 40 && same.members("g3") == 10 && same.groups.isLoaded && same.groups.cookie == [1])
        _ = other.groups.restore(snapshot, asked: [8], other.people)
        #expect(other.members("g3") == 10 && other.groups.cookie == nil)
    }
}

@Suite("Accounts for the members of a group only")
struct AllowanceTests {
    private static func people(_ count: Int = 3) -> MirroredPeople {
        let template = mirroredPeople()
        let people = People(template.people.mapping, template.mirror.attributes, CredentialMarking(secret: Array(repeating: 5, count: 32)), allowed: [])
        var mirrored = MirroredPeople(template.mirror, people, hasGroups: true)
        _ = mirrored.refresh(everybody(count))
        return mirrored
    }

    private static func everybody(_ count: Int) -> [Int: LDAPEntry] { Dictionary(uniqueKeysWithValues: (1...count).map { ($0, person("p\($0)")) }) }
    private static func numbers(_ numbers: some Sequence<Int>) -> Set<EntryUUID> { Set(numbers.map { .number($0) }) }
    private static func addresses(_ people: MirroredPeople) -> Set<BareJID> { Set(people.people.addresses) }

    @Test("nobody has one, and nothing is loaded, until it is said who may")
    func unknown() {
        var people = Self.people()
        #expect(people.isRead && !people.isLoaded && people.people.count == 0)
        let notices = people.allow(Self.numbers([1, 2]), now: 0)
        #expect(notices == [.person(.appeared(jid("p1"), .number(1))), .person(.appeared(jid("p2"), .number(2))), .loaded])
        #expect(people.isLoaded && people.people.faults == [.number(3): .notAllowed])
        // Nothing is said of who is not in the group: there may be thousands.
        let new = people.persist(4, person("p4"))
        #expect(new.isEmpty && people.people.keptOut(claiming: jid("p4"), in: people.mirror) == [.number(4)])
    }

    @Test("it is also loaded if that is known first, and people are read then")
    func groupFirst() {
        let template = mirroredPeople()
        let people = People(template.people.mapping, template.mirror.attributes, CredentialMarking(secret: Array(repeating: 5, count: 32)), allowed: [])
        var mirrored = MirroredPeople(template.mirror, people, hasGroups: true)
        let early = mirrored.allow(Self.numbers([2]), now: 0)
        #expect(early.isEmpty && !mirrored.isLoaded)
        let notices = mirrored.refresh(Self.everybody(3))
        #expect(notices == [.person(.appeared(jid("p2"), .number(2))), .loaded])
    }

    @Test("who comes into the group and leaves it comes and goes, and is the same person when he is back")
    func changes() {
        var people = Self.people()
        _ = people.allow(Self.numbers([1]), now: 0)
        let more = people.allow(Self.numbers([1, 3]), now: 0)
        #expect(more == [.person(.appeared(jid("p3"), .number(3)))])
        let fewer = people.allow(Self.numbers([3]), now: 0)
        #expect(fewer == [.person(.vanished(jid("p1"), .number(1)))])
        let back = people.allow(Self.numbers([1, 3]), now: 0)
        #expect(back == [.person(.appeared(jid("p1"), .number(1)))])
        let same = people.allow(Self.numbers([1, 3]), now: 0)
        #expect(same.isEmpty)
    }

    @Test("an address that several claim is the one's who is in the group")
    func contest() {
        var people = Self.people(1)
        _ = people.allow(Self.numbers([1, 2]), now: 0)
        let contested = people.persist(2, person("other", address: "p1@example.org"))
        #expect(contested == [.contested(jid("p1"), Self.numbers([1, 2]).sorted())] && people.people.count == 0)
        let decided = people.allow(Self.numbers([1]), now: 0)
        #expect(decided == [.person(.appeared(jid("p1"), .number(1)))])
    }

    @Test("many do not lose theirs at once: until it is confirmed, or is the same ten minutes later", arguments: [false, true])
    func brake(isConfirmed: Bool) {
        var people = Self.people(30)
        _ = people.allow(Self.numbers(1...30), now: 0)
        let ten = people.allow(Self.numbers(11...30), now: 0)
        #expect(ten.count == 10 && people.people.count == 20)
        let held = people.allow([], now: 1_000)
        #expect(held == [.removalHeld(accounts: 20, of: 20)] && people.people.count == 20 && people.allowance.accounts == 20)
        // Who comes in does so.
        let more = people.allow(Self.numbers([1]), now: 2_000)
        #expect(more == [.person(.appeared(jid("p1"), .number(1)))] && people.people.count == 21)
        let early = people.allow(Self.numbers([1]), now: 999 + SafetyBrake.secondLookMilliseconds)
        #expect(early.isEmpty)
        let over = people.allow(Self.numbers([1]), isConfirmed: isConfirmed, now: (isConfirmed ? 0 : 1_000) + SafetyBrake.secondLookMilliseconds)
        #expect(over.count == 21 && over.last == .holdEnded && Self.addresses(people) == [jid("p1")])
    }

    @Test("marks of passwords are not forgotten by it")
    func marks() {
        var people = Self.people(1)
        let keyed = person("p1", [LDAPAttribute("authPassword", "SCRAM-SHA-256$4096:a$b:c"), LDAPAttribute("userPassword", "old")])
        _ = people.persist(1, keyed)
        let mark = people.people.mark(of: .number(1))
        _ = people.allow(Self.numbers([1]), now: 0)
        #expect(mark != nil && people.people.mark(of: .number(1)) == mark)
    }
}

@Suite("URLs of groups")
struct MemberURLsTests {
    private let urls = MemberURLs(MirroredAttributes(["cn": .whole, "objectClass": .whole, "mail": .whole, "userPassword": .secret]))
    private let alice = LDAPEntry(
        "uid=alice,ou=people,dc=example,dc=org", [LDAPAttribute("cn", "Alice"), LDAPAttribute("objectClass", strings: ["top", "inetOrgPerson"])])

    @Test(
        "find who is in their place and matches their filter (RFC 4516 §2)",
        arguments: [
            ("ldap:///ou=people,dc=example,dc=org??sub?(cn=alice)", true),
            ("ldap:///ou=people,dc=example,dc=org??sub?(cn=bob)", false),
            ("ldap:///ou=people,dc=example,dc=org??sub", true),
            ("ldap:///OU=People,DC=example,dc=org??one?(objectClass=inetOrgPerson)", true),
            ("ldap:///dc=example,dc=org??one?(cn=alice)", false),
            ("ldap:///ou=staff,dc=example,dc=org??sub?(cn=alice)", false),
            ("ldap:///dc=example,dc=org??sub?(&(cn=A*)(!(mail=*)))", true),
            ("ldap:///dc=example,dc=org??sub?(2.5.4.3=alice)", true),
        ])
    func found(url: String, isFound: Bool) { #expect(urls.evaluation(of: url)?(alice) == isFound) }

    @Test(
        "that ask for what is not read of people find nobody",
        arguments: ["ldap:///??sub?(title=*)", "ldap:///??sub?(&(cn=alice)(userPassword=*))", "ldap:///??sub?(cn;lang-de=alice)", "ldap:///??sub?(!(title=x))", "no URL"])
    func unanswered(url: String) { #expect(urls.evaluation(of: url) == nil) }
}
