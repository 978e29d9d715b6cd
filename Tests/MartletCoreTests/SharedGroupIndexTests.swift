import MartletCore
import MartletTesting
import MartletXMPP
import Testing

@Suite("Groups by who is in them")
struct SharedGroupIndexTests {
    private static func account(_ number: Int) -> BareJID { try! BareJID(parsing: "p\(number)@example.org") }

    private func group(_ id: String, _ members: SharedMembers, _ audience: SharedGroup.Audience = .members) -> SharedGroup {
        SharedGroup(id: id, name: id, members: members, audience: audience)
    }

    private func set(_ numbers: Int...) -> SharedMembers { SharedMembers(numbers.map(Self.account)) }

    private func names(_ groups: [SharedGroup]) -> [String] { groups.map(\.id).sorted() }

    @Test("an account has the groups that it is in, and those that it sees, each once")
    func sharing() {
        var index = SharedGroupIndex()
        let (a, b, c) = (set(1, 2), set(2, 3), set(4))
        let concerned = index.replace(with: [group("A", a), group("B", b, .others([a, c, b])), group("C", c, .others([]))])
        #expect(concerned == Set((1...4).map(Self.account)))
        let (first, second, fourth) = (index.sharing(of: Self.account(1)), index.sharing(of: Self.account(2)), index.sharing(of: Self.account(4)))
        #expect(names(first.memberships) == ["A"] && names(first.seen) == ["A", "B"])
        #expect(names(second.memberships) == ["A", "B"] && names(second.seen) == ["A", "B"])
        #expect(names(fourth.memberships) == ["C"] && names(fourth.seen) == ["B"])
        #expect(index.sharing(of: Self.account(5)).isEmpty)
    }

    @Test("a change concerns whoever is in a group that is another one, or sees it, and nobody else")
    func concerned() {
        var index = SharedGroupIndex()
        let other = group("B", set(5, 6))
        _ = index.replace(with: [group("A", set(1, 2)), other])
        let more = index.replace(with: [group("A", set(2, 3)), other])
        #expect(more == Set((1...3).map(Self.account)))
        #expect(index.sharing(of: Self.account(1)).isEmpty && names(index.sharing(of: Self.account(3)).seen) == ["A"])
        let same = index.replace(with: [other, index.sharing(of: Self.account(3)).seen[0]])
        #expect(same.isEmpty)
        let none = index.replace(with: [])
        #expect(none == Set([2, 3, 5, 6].map(Self.account)) && index.accounts.isEmpty)
    }

    @Test("after any changes it says what a look at each group says", arguments: 0..<10)
    func histories(seed: UInt64) {
        var random = SeededNumbers(seed: seed)
        var index = SharedGroupIndex()
        var sets = [set(1), set(2, 3), set(1, 4, 5)]
        var groups: [String: SharedGroup] = [:]
        for _ in 0..<200 {
            let id = "g\(Int.random(in: 0..<6, using: &random))"
            switch Int.random(in: 0..<4, using: &random) {
            case 0: groups[id] = nil
            case 1: sets[Int.random(in: 0..<3, using: &random)] = SharedMembers((1...6).filter { _ in Bool.random(using: &random) }.map(Self.account))
            default:
                let watchers = sets.filter { _ in Bool.random(using: &random) }
                groups[id] = group(id, sets[Int.random(in: 0..<3, using: &random)], watchers.isEmpty ? .members : .others(watchers))
            }
            _ = index.replace(with: Array(groups.values))
            for account in (1...6).map(Self.account) {
                let (expected, found) = (Sharing(of: account, in: groups.values), index.sharing(of: account))
                #expect(names(found.seen) == names(expected.seen) && names(found.memberships) == names(expected.memberships))
            }
        }
    }

    @Test("a roster has the groups of the configuration and those of the directory of its domain")
    func both() {
        let (first, second) = (Self.account(1), Self.account(2))
        let domain = first.domain
        let book = SharedGroupBook()
        _ = book.replace([SharedGroupDefinition("Written", at: domain, members: .accounts([first, second]))], accounts: [first, second])
        var index = SharedGroupIndex()
        _ = index.replace(with: [group("Found", set(1, 3))])
        book.set(index, ofDirectoryAt: domain)
        #expect(names(book.sharing(of: first).seen) == ["Found", "example.org/Written"])
        #expect(names(book.sharing(of: second).seen) == ["example.org/Written"])
        #expect(book.everybodyConcerned == Set((1...3).map(Self.account)))
        // The accounts of another domain are in none of these, whatever they are called.
        let stranger = try! BareJID(parsing: "p1@example.net")
        #expect(book.sharing(of: stranger).isEmpty)
    }
}
