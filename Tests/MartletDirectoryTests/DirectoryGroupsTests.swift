import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

@Suite("Groups of a directory")
struct DirectoryGroupsTests {
    /// People and groups, kept together as the server does it.
    private struct Site {
        var people: MirroredPeople
        var mirrored: MirroredGroups
        var groups: DirectoryGroups { mirrored.groups }

        init(_ rules: GroupRules = GroupRules(domain: jid("alice").domain)) {
            let template = mirroredPeople()
            people = MirroredPeople(template.mirror, template.people, hasGroups: true)
            // `ldap:///attribute=value` finds whoever has that.
            let groups = DirectoryGroups(rules, prepare: plainNames) { url in
                let parts = url.hasPrefix("ldap:///") ? url.dropFirst(8).split(separator: "=") : []
                guard parts.count == 2 else { return nil }
                let attribute = LDAPAttribute(String(parts[0]), String(parts[1]))
                return { $0.attributes.contains(attribute) }
            }
            mirrored = MirroredGroups(groups)
        }

        mutating func person(_ number: Int, _ entry: LDAPEntry?) -> Set<BareJID> {
            let change = entry.map { DirectoryChange.entry(.number(number), $0) } ?? .gone(.number(number))
            let notices = people.take(.change(change), now: 0)
            return mirrored.peopleChanged(people.takeSettled(), notices, people)
        }

        mutating func group(_ number: Int, _ name: String, _ attributes: [LDAPAttribute]) -> Set<BareJID> {
            mirrored.take([.change(.entry(.number(number), LDAPEntry("cn=\(name),ou=groups", [LDAPAttribute("cn", name)] + attributes)))], people, now: 0)
        }

        mutating func removeGroup(_ number: Int) -> Set<BareJID> { mirrored.take([.change(.gone(.number(number)))], people, now: 0) }

        func members(_ name: String) -> Set<BareJID> { groups.members(ofGroupNamed: "cn=\(name),ou=groups", people) }

        /// Whom an account sees by groups.
        func seen(by account: BareJID) -> Set<BareJID> {
            Set(groups.rosterGroups.filter { $0.isSeen(by: account) }.flatMap(\.members.names.keys)).subtracting([account])
        }
    }

    private let alice = jid("alice")
    private let bob = jid("bob")
    private let carol = jid("carol")

    private func member(_ names: String...) -> LDAPAttribute { LDAPAttribute("member", strings: names.map { "uid=\($0),ou=people" }) }
    private func group(_ names: String...) -> LDAPAttribute { LDAPAttribute("member", strings: names.map { "cn=\($0),ou=groups" }) }
    private func share(_ how: String, _ visibleTo: String...) -> [LDAPAttribute] {
        [LDAPAttribute("xmppGroupShare", how)] + (visibleTo.isEmpty ? [] : [LDAPAttribute("xmppGroupVisibleTo", strings: visibleTo.map { "cn=\($0),ou=groups" })])
    }

    private func threePeople() -> Site {
        var site = Site()
        for (number, name) in ["alice", "bob", "carol"].enumerated() { _ = site.person(number + 1, person(name, [LDAPAttribute("cn", name.uppercased())])) }
        return site
    }

    @Test("have as members whom they mention by name, by log-in name, or by a URL")
    func kinds() {
        var site = threePeople()
        _ = site.group(11, "names", [member("alice", "nobody")])
        _ = site.group(12, "unique", [LDAPAttribute("uniqueMember", strings: ["UID=Alice, ou=people#'0101'B", "uid=bob,ou=people"])])
        _ = site.group(13, "logins", [LDAPAttribute("memberUid", strings: ["bob", "CAROL", "nobody"])])
        _ = site.group(14, "found", [LDAPAttribute("memberURL", strings: ["ldap:///cn=CAROL", "no URL"])])
        #expect(site.members("names") == [alice] && site.members("unique") == [alice, bob])
        #expect(site.members("logins") == [bob, carol] && site.members("found") == [carol])
        #expect(site.groups.isMember(alice, of: "CN=names, ou=groups", site.people) && !site.groups.isMember(bob, of: "cn=names,ou=groups", site.people))
        #expect(!site.groups.isMember(alice, of: "cn=none,ou=groups", site.people) && !site.groups.hasGroup(named: "cn=none,ou=groups"))
    }

    @Test("have the members of the groups in them, also where these go round in circles")
    func nested() {
        var site = threePeople()
        _ = site.group(11, "a", [group("b"), member("alice")])
        #expect(site.members("a") == [alice])
        _ = site.group(12, "b", [group("c", "a"), member("bob")])
        _ = site.group(13, "c", [group("a"), member("carol")])
        for name in ["a", "b", "c"] { #expect(site.members(name) == [alice, bob, carol]) }
        _ = site.removeGroup(13)
        #expect(site.members("a") == [alice, bob] && site.members("b") == [alice, bob])
        _ = site.group(13, "c", [member("carol")])
        #expect(site.members("a") == [alice, bob, carol])
    }

    @Test("are followed eight levels deep, and no deeper")
    func depth() {
        var site = threePeople()
        for level in 1...9 { _ = site.group(10 + level, "level-\(level)", [group("level-\(level + 1)")]) }
        _ = site.group(18, "level-8", [group("level-9"), member("alice")])
        _ = site.group(19, "level-9", [member("bob")])
        #expect(site.members("level-1") == [alice] && site.members("level-2") == [alice, bob])
    }

    @Test("follow people who come, go, are renamed, or log in by another name")
    func peopleChange() {
        var site = threePeople()
        _ = site.group(11, "names", [member("dave", "alice")])
        _ = site.group(12, "logins", [LDAPAttribute("memberUid", strings: ["dave", "alice"])])
        _ = site.group(13, "found", [LDAPAttribute("memberURL", "ldap:///cn=Dave")])
        _ = site.person(4, person("dave", [LDAPAttribute("cn", "Dave")]))
        for name in ["names", "logins"] { #expect(site.members(name) == [alice, jid("dave")]) }
        #expect(site.members("found") == [jid("dave")])
        var moved = person("dave", [LDAPAttribute("cn", "David")])
        moved.name = "uid=dave,ou=staff"
        _ = site.person(4, moved)
        #expect(site.members("names") == [alice] && site.members("logins") == [alice, jid("dave")] && site.members("found").isEmpty)
        // Two of one name are neither of them, until one has another.
        _ = site.person(5, LDAPEntry("uid=x,ou=people", [LDAPAttribute("uid", "dave"), LDAPAttribute("xmppAddress", "x@example.org")]))
        #expect(site.members("logins") == [alice])
        _ = site.person(5, nil)
        #expect(site.members("logins") == [alice, jid("dave")])
        _ = site.person(1, nil)
        #expect(site.members("names").isEmpty && site.members("logins") == [jid("dave")])
    }

    @Test("have nobody whose address is another one's as well")
    func contested() {
        var site = threePeople()
        _ = site.group(11, "names", share("members") + [member("alice", "bob")])
        let concerned = site.person(3, person("carol", address: "alice@example.org"))
        #expect(site.members("names") == [bob] && concerned == [alice, bob])
        _ = site.person(3, person("carol"))
        #expect(site.members("names") == [alice, bob])
    }

    @Test("are in rosters only if they say with whom they are shared")
    func shares() {
        var site = threePeople()
        _ = site.group(11, "plain", [member("alice", "bob")])
        #expect(site.groups.rosterGroups.isEmpty)
        _ = site.group(12, "team", share("members") + [member("alice", "bob")])
        #expect(site.seen(by: alice) == [bob] && site.seen(by: carol).isEmpty)
        _ = site.group(12, "team", share("ALL") + [member("alice", "bob")])
        #expect(site.seen(by: alice) == [bob] && site.seen(by: carol) == [alice, bob])
        _ = site.group(13, "readers", [member("carol")])
        _ = site.group(12, "team", share("groups", "readers", "none") + [member("alice", "bob")])
        #expect(site.seen(by: alice).isEmpty && site.seen(by: carol) == [alice, bob])
        _ = site.group(12, "team", share("whatever") + [member("alice", "bob")])
        #expect(site.seen(by: carol).isEmpty)
    }

    @Test("are called by their name for rosters, and members by their display names, in order")
    func names() {
        var site = threePeople()
        _ = site.group(12, "b", share("members") + [member("alice")])
        _ = site.group(11, "z", share("members") + [LDAPAttribute("xmppGroupName", "A"), member("alice")])
        #expect(site.groups.rosterGroups.map(\.name) == ["A", "b"])
        #expect(site.groups.rosterGroups[0].members.names == [alice: "ALICE"])
        let concerned = site.person(1, person("alice", [LDAPAttribute("cn", "ALICE"), LDAPAttribute("displayName", "Al")]))
        #expect(concerned == [alice] && site.groups.rosterGroups[0].members.names == [alice: "Al"])
    }

    @Test("tell whose rosters may have changed, and nobody else's; what has not changed stays the same value")
    func concerned() {
        var site = threePeople()
        let made = site.group(11, "team", share("members") + [member("alice")])
        #expect(made == [alice])
        _ = site.group(12, "other", share("members") + [member("carol")])
        let other = site.groups.rosterGroups[0].members
        let joined = site.group(11, "team", share("members") + [member("alice", "bob")])
        #expect(joined == [alice, bob] && site.groups.rosterGroups[0].members === other)
        let same = site.group(11, "team", share("members") + [member("bob", "alice")])
        #expect(same.isEmpty)
        let phone = site.person(2, person("bob", [LDAPAttribute("cn", "BOB"), LDAPAttribute("mobile", "1")]))
        #expect(phone.isEmpty)
        let left = site.removeGroup(11)
        #expect(left == [alice, bob] && site.seen(by: alice).isEmpty)
    }

    @Test("are in rosters as the operator says where their entries do not, or say otherwise")
    func rules() {
        let domain = alice.domain
        var site = Site(GroupRules(domain: domain, others: .members))
        for (number, name) in ["alice", "bob", "carol"].enumerated() { _ = site.person(number + 1, person(name)) }
        _ = site.group(11, "plain", [member("alice", "bob")])
        #expect(site.seen(by: alice) == [bob] && site.seen(by: carol).isEmpty)
        _ = site.group(11, "plain", share("all") + [member("alice", "bob")])
        #expect(site.seen(by: carol) == [alice, bob])
        let name = plainNames("cn=plain,ou=groups") ?? []
        let readers = plainNames("cn=readers,ou=groups") ?? []
        site = Site(GroupRules(domain: domain, rules: [name: .init(.groups([readers]), title: "Watch")]))
        for (number, name) in ["alice", "bob", "carol"].enumerated() { _ = site.person(number + 1, person(name)) }
        _ = site.group(11, "plain", share("all") + [member("alice", "bob")])
        #expect(site.seen(by: carol).isEmpty && site.groups.rosterGroups.map(\.name) == ["Watch"])
        let concerned = site.group(12, "readers", [member("carol")])
        #expect(site.seen(by: carol) == [alice, bob] && site.seen(by: alice).isEmpty && concerned == [alice, bob, carol])
    }

    @Test("show by which way somebody is in them, the shortest, and how they are shown")
    func ways() {
        var site = threePeople()
        _ = site.group(11, "team", share("groups", "readers") + [member("alice")])
        _ = site.group(12, "staff", share("all") + [group("team", "crew")])
        _ = site.group(13, "crew", [group("team")])
        _ = site.group(14, "all", [group("staff"), member("bob")])
        _ = site.group(15, "readers", [member("bob")])
        let ways = site.groups.ways(of: .number(1))
        #expect(ways.map(\.name) == ["cn=all,ou=groups", "cn=crew,ou=groups", "cn=staff,ou=groups", "cn=team,ou=groups"])
        #expect(ways.map(\.through) == [["cn=staff,ou=groups", "cn=team,ou=groups"], ["cn=team,ou=groups"], ["cn=team,ou=groups"], []])
        #expect(site.groups.ways(of: .number(3)).isEmpty)
        #expect(site.groups.showing(.number(11))?.title == "team" && site.groups.showing(.number(13)) == nil)
        #expect(site.groups.names(prepared: ["readers", "none"].compactMap { plainNames("cn=\($0),ou=groups") }) == ["cn=readers,ou=groups"])
    }

    @Test("with a URL that cannot be answered are known as such")
    func unanswered() {
        var site = threePeople()
        _ = site.group(11, "found", [LDAPAttribute("memberURL", strings: ["ldap:///cn=CAROL", "no URL"])])
        #expect(site.groups.unanswered == [.number(11)])
        _ = site.group(11, "found", [LDAPAttribute("memberURL", strings: ["ldap:///cn=CAROL"])])
        #expect(site.groups.unanswered.isEmpty)
    }

    /// Against a plain model that works everything out from the entries each time.
    @Test("after any changes of people and groups who sees whom is what the entries say", arguments: 0..<20)
    func histories(seed: Int) {
        var random = SeededNumbers(seed: UInt64(seed))
        var site = Site()
        var model = Model()
        for _ in 0..<120 {
            let number = Int.random(in: 1...6, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                model.people[number] = nil
                _ = site.person(number, nil)
            case 1, 2:
                let entry = person("p\(Int.random(in: 1...6, using: &random))", address: "p\(number)@example.org")
                // Names are unique in a directory.
                guard !model.people.contains(where: { $0.key != number && $0.value.name == entry.name }) else { continue }
                model.people[number] = entry
                _ = site.person(number, entry)
            case 3:
                model.groups[number] = nil
                _ = site.removeGroup(100 + number)
            default:
                let members = (1...6).filter { _ in Bool.random(using: &random) }.map { "uid=p\($0),ou=people" }
                let groups = (1...6).filter { _ in Int.random(in: 0..<4, using: &random) == 0 }.map { "cn=g\($0),ou=groups" }
                let kind = ["members", "all", "groups"].randomElement(using: &random) ?? "members"
                model.groups[number] = (members, groups, kind)
                _ = site.group(100 + number, "g\(number)", share(kind, "g1", "g2") + [LDAPAttribute("member", strings: members + groups)])
            }
            for viewer in 1...6 { #expect(site.seen(by: jid("p\(viewer)")) == model.seen(by: viewer)) }
        }
    }

    private struct Model {
        var people: [Int: LDAPEntry] = [:]
        var groups: [Int: (members: [String], groups: [String], share: String)] = [:]

        func members(_ number: Int, _ seen: Set<Int> = []) -> Set<Int> {
            guard let group = groups[number], !seen.contains(number) else { return [] }
            let nested = groups.keys.filter { group.groups.contains("cn=g\($0),ou=groups") }
            return nested.reduce(Set(people.filter { group.members.contains($0.value.name) }.keys)) { $0.union(members($1, seen.union([number]))) }
        }

        func seen(by viewer: Int) -> Set<BareJID> {
            guard people[viewer] != nil else { return [] }
            let visible = groups.filter { number, group in
                switch group.share {
                case "members": members(number).contains(viewer)
                case "all": true
                default: members(1).contains(viewer) || members(2).contains(viewer)
                }
            }
            return Set(visible.keys.reduce(Set<Int>()) { $0.union(members($1)) }.subtracting([viewer]).map { jid("p\($0)") })
        }
    }
}
