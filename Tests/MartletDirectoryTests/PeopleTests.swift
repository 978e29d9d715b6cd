import Crypto
import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

@Suite("People of a directory")
struct PeopleTests {
    private let one = EntryUUID.number(1)
    private let two = EntryUUID.number(2)

    /// Alice is there, and was from the beginning.
    private func withAlice() -> MirroredPeople {
        var people = mirroredPeople()
        _ = people.refresh([1: person("alice")])
        return people
    }

    @Test("appear when the first refresh is complete, and not before")
    func firstRefresh() {
        var people = mirroredPeople()
        _ = people.take(.search(.contentSync(cookie: nil)), now: 0)
        let early = people.take(.change(.entry(one, person("alice"))), now: 0)
        #expect(early.isEmpty && people.people.count == 0 && !people.isLoaded)
        let end = people.take(.refreshed(RefreshEnd(there: [one])), now: 0)
        #expect(end == [.person(.appeared(jid("alice"), one)), .loaded])
        #expect(people.people.holder(of: jid("alice")) == one && people.people.address(of: one) == jid("alice") && people.isLoaded)
    }

    @Test("then each change counts as it is heard of")
    func changes() {
        var people = withAlice()
        #expect(people.cookie == [1])
        let appeared = people.persist(2, person("bob"))
        let changed = people.persist(2, person("bob", [LDAPAttribute("telephoneNumber", "1")]))
        let same = people.persist(2, person("bob", [LDAPAttribute("telephoneNumber", "1"), LDAPAttribute("unknown", "1")]))
        let vanished = people.persist(2, nil)
        #expect(appeared == [.appeared(jid("bob"), two)] && changed == [.changed(jid("bob"), two, .profile)])
        #expect(same.isEmpty && vanished == [.vanished(jid("bob"), two)])
    }

    @Test("have their address from the first attribute that is there")
    func addresses() {
        let cases: [(LDAPEntry, BareJID)] = [
            (LDAPEntry("uid=a", [LDAPAttribute("uid", "a"), LDAPAttribute("mail", "m@example.org"), LDAPAttribute("xmppAddress", "X@Example.org")]), jid("x")),
            (LDAPEntry("uid=a", [LDAPAttribute("uid", "a"), LDAPAttribute("mail", "m@example.org")]), jid("m")),
            (LDAPEntry("uid=a", [LDAPAttribute("uid", "A")]), jid("a")),
            (LDAPEntry("uid=a", [LDAPAttribute("xmppAddress", "xmpp:a@example.org")]), jid("a")),
            (LDAPEntry("uid=a", [LDAPAttribute("mail", strings: ["a@elsewhere.org", "b@example.org", "c@example.org"])]), jid("b")),
        ]
        for (entry, address) in cases {
            var people = mirroredPeople()
            _ = people.refresh([1: entry])
            #expect(people.people.address(of: one) == address)
        }
    }

    @Test("are reported once, and are no accounts, if their address is none of the domain's or none at all")
    func unusable() {
        let cases: [(String, PersonFault)] = [
            ("alice@elsewhere.org", .otherDomain(try! BareJID(parsing: "alice@elsewhere.org"))), ("al ice@example.org", .invalidAddress("al ice@example.org")),
            ("example.org", .invalidAddress("example.org")), ("alice@example.org/phone", .invalidAddress("alice@example.org/phone")),
        ]
        for (text, fault) in cases {
            var people = withAlice()
            let entry = person("bob", address: text)
            let first = people.persist(2, entry)
            let second = people.persist(2, person("bob", [LDAPAttribute("cn", "Bob")], address: text))
            #expect(first == [.unusable(two, name: entry.name, fault)] && second.isEmpty)
            #expect(people.people.count == 1 && people.people.faults == [two: fault])
            let mended = people.persist(2, person("bob"))
            #expect(mended == [.appeared(jid("bob"), two)] && people.people.faults.isEmpty)
        }
    }

    @Test("keep the address that they have while it is one of theirs, whatever the order")
    func severalAddresses() {
        var people = mirroredPeople("mail")
        func entry(_ mails: [String]) -> LDAPEntry { LDAPEntry("uid=a", [LDAPAttribute("mail", strings: mails)]) }
        _ = people.refresh([1: entry(["a@example.org", "b@example.org"])])
        let swapped = people.persist(1, entry(["b@example.org", "a@example.org"]))
        #expect(people.people.address(of: one) == jid("a") && swapped == [.changed(jid("a"), one, .profile)])
        let gone = people.persist(1, entry(["b@example.org"]))
        #expect(gone == [.renamed(from: jid("a"), to: jid("b"), one)])
    }

    @Test("are the same with another address: renamed; and nobody's heirs with another's: succeeded")
    func identity() {
        var people = withAlice()
        let renamed = people.persist(1, person("alicia"))
        #expect(renamed == [.renamed(from: jid("alice"), to: jid("alicia"), one)])
        // The old address was hers.
        let stranger = people.persist(2, person("alice"))
        #expect(stranger == [.succeeded(jid("alice"), two, previous: one)] && people.people.hasPredecessor(jid("alice")))
        people.predecessorIsGone(jid("alice"))
        #expect(!people.people.hasPredecessor(jid("alice")))
    }

    @Test("who comes back is who he was; who is hired again under another UUID is not; and what is forgotten is nobody's")
    func comingBack() {
        var people = withAlice()
        _ = people.persist(1, nil)
        let back = people.persist(1, person("alice"))
        #expect(back == [.appeared(jid("alice"), one)])
        _ = people.persist(1, nil)
        let other = people.persist(2, person("alice"))
        #expect(other == [.succeeded(jid("alice"), two, previous: one)])
        _ = people.persist(2, nil)
        people.forget(jid("alice"))
        let third = people.persist(3, person("alice"))
        #expect(third == [.appeared(jid("alice"), .number(3))])
    }

    @Test("an address that two claim is nobody's, until one of them has another")
    func contested() {
        var people = withAlice()
        let contested = people.persist(2, person("bob", address: "alice@example.org"))
        #expect(contested == [.contested(jid("alice"), [one, two])])
        #expect(people.people.holder(of: jid("alice")) == nil && people.people.address(of: one) == nil && people.people.isContested(jid("alice")))
        let settled = people.persist(2, person("bob"))
        #expect(Set(settled) == [.appeared(jid("alice"), one), .appeared(jid("bob"), two)])
        _ = people.persist(2, person("bob", address: "alice@example.org"))
        let taken = people.persist(1, nil)
        #expect(taken == [.succeeded(jid("alice"), two, previous: one)])
    }

    @Test("addresses that change hands within a refresh are not contested in between")
    func swap() {
        var people = mirroredPeople()
        _ = people.refresh([1: person("alice"), 2: person("bob")])
        let notices = people.refresh([1: person("bob"), 2: person("alice")])
        let expected: Set<DirectoryNotice> = [
            .person(.renamed(from: jid("alice"), to: jid("bob"), one)), .person(.renamed(from: jid("bob"), to: jid("alice"), two)),
            .person(.succeeded(jid("bob"), one, previous: two)), .person(.succeeded(jid("alice"), two, previous: one)),
        ]
        #expect(Set(notices) == expected)
    }

    @Test("what of them has changed is told apart")
    func aspects() {
        let changes: [(LDAPAttribute, PersonAspects)] = [
            (LDAPAttribute("displayName", "A"), [.profile, .displayName]), (LDAPAttribute("jpegPhoto", [[0xFF, 0xD8, 0xFF, 1]]), [.profile, .photo]),
            (LDAPAttribute("userPassword", "{SSHA}x"), .credentials), (LDAPAttribute("nsAccountLock", "true"), .standing),
            (LDAPAttribute("userCertificate;binary", "DER"), .certificates),
        ]
        for (attribute, aspects) in changes {
            var people = withAlice()
            let told = people.persist(1, person("alice", [attribute]))
            #expect(told == [.changed(jid("alice"), one, aspects)])
        }
        var people = withAlice()
        var moved = person("alice")
        moved.name = "uid=alice,ou=staff"
        let told = people.persist(1, moved)
        #expect(told == [.changed(jid("alice"), one, .name)])
    }

    @Test("have the passwords that they had before a start, unless these were changed meanwhile: a snapshot tells by marks, where secrets are not in it")
    func samePasswords() throws {
        func entry(_ name: String, _ password: String) -> LDAPEntry { person(name, [LDAPAttribute("userPassword", password)]) }
        var people = mirroredPeople()
        _ = people.refresh([1: entry("alice", "{SSHA}a"), 2: entry("bob", "{SSHA}b"), 3: person("carol")])
        var next = mirroredPeople()
        _ = next.restore(try people.snapshot(asked: [], heard: 0).afterStart(), asked: [])
        let notices = next.refresh([1: entry("alice", "{SSHA}a"), 2: entry("bob", "{SSHA}other"), 3: entry("carol", "{SSHA}c")])
        #expect(notices == [.person(.changed(jid("bob"), two, .credentials)), .person(.changed(jid("carol"), .number(3), .credentials))])
        let taken = next.persist(1, person("alice"))
        #expect(taken == [.changed(jid("alice"), one, .credentials)])
    }

    @Test("are found by what they log in with and by certificate, if it is one of them")
    func lookUp() {
        let directory = PeopleDirectory(mirroredPeople(), time: StoppedClock(0))
        let (alice, bob) = (person("alice", [LDAPAttribute("mail", "A.Adams@example.org")]), person("bob", [LDAPAttribute("mail", "office@example.org")]))
        let effects: [FeedEffect] = [
            .change(.entry(one, alice)), .change(.entry(two, bob)),
            .change(.entry(.number(3), person("carol", [LDAPAttribute("mail", "office@example.org"), LDAPAttribute("userCertificate", "DER")]))),
        ]
        _ = directory.take(effects + [.refreshed(RefreshEnd())], isLive: true)
        #expect(directory.address(loggingInAs: "ALICE") == jid("alice") && directory.address(loggingInAs: "a.adams@example.org") == jid("alice"))
        #expect(directory.address(loggingInAs: "office@example.org") == nil && directory.address(loggingInAs: "nobody") == nil)
        #expect(directory.address(ofEntryNamed: "UID=bob, ou=people") == jid("bob"))
        #expect(directory.address(withCertificate: Array(SHA256.hash(data: Array("DER".utf8)))) == jid("carol"))
        #expect(directory.address(withCertificate: Array(repeating: 0, count: 32)) == nil)
    }

    /// Every address is of who alone claims it, and nobody gets what was another's without being told of.
    @Test("after any interleaving of changes, cuts and restarts accounts are what the directory says, and nobody has inherited", arguments: 0..<30)
    func histories(seed: Int) {
        var random = SeededNumbers(seed: UInt64(seed))
        var directory = ScriptedDirectory()
        directory.logLength = seed % 3 * 6
        directory.refusesOldCookies = seed % 2 == 1
        var people = mirroredPeople()
        var owners = Owners()
        for round in 0...120 {
            for _ in 0..<Int.random(in: 0..<4, using: &random) { change(&directory, &random) }
            if Int.random(in: 0..<8, using: &random) == 0 {
                let snapshot = people.snapshot(asked: [7], heard: 0)
                people = mirroredPeople()
                owners.note(people.restore(snapshot, asked: [7]))
            }
            refresh(&people, directory, &owners, messages: round < 120 ? Int.random(in: 0..<15, using: &random) : .max)
            for number in 0..<Self.addressCount where people.people.hasPredecessor(address(number)) && Int.random(in: 0..<4, using: &random) == 0 {
                people.predecessorIsGone(address(number))
                owners.owners[address(number)] = people.people.holder(of: address(number))
            }
        }
        for number in 0..<Self.addressCount {
            let address = address(number)
            let claimants = directory.entries.filter { $0.value.attributes.contains(LDAPAttribute("xmppAddress", String(describing: address))) }.map(\.key)
            #expect(people.people.holder(of: address) == (claimants.count == 1 ? claimants[0] : nil))
            #expect(people.people.isContested(address) == (claimants.count > 1))
            if let holder = people.people.holder(of: address) {
                #expect(owners.owners[address] == holder || people.people.hasPredecessor(address))
            }
        }
        #expect(owners.wrongs.isEmpty)
    }

    private static let addressCount = 6
    private func address(_ number: Int) -> BareJID { jid("address-\(number)") }

    private func change(_ directory: inout ScriptedDirectory, _ random: inout SeededNumbers) {
        let number = Int.random(in: 0..<8, using: &random)
        if Int.random(in: 0..<3, using: &random) == 0 {
            _ = directory.delete(.number(number))
        } else {
            _ = directory.write(.number(number), person("person-\(number)", address: "address-\(Int.random(in: 0..<Self.addressCount, using: &random))@example.org"))
        }
    }

    private func refresh(_ people: inout MirroredPeople, _ directory: ScriptedDirectory, _ owners: inout Owners, messages: Int) {
        var consumer = SyncConsumer(cookie: people.cookie)
        var rest = messages
        var effects = consumer.connected()
        while case .search(.contentSync(let cookie))? = effects.last {
            for effect in effects { owners.note(people.take(effect, now: 0)) }
            effects = []
            for message in directory.refresh(from: cookie) where rest > 0 {
                rest -= 1
                effects = consumer.receive(message)
                if case .search? = effects.last { break }
                for effect in effects { owners.note(people.take(effect, now: 0)) }
            }
        }
    }

    /// Whose data are in the place of each address, by what was told.
    private struct Owners {
        var owners: [BareJID: EntryUUID] = [:]
        var wrongs: [PersonChange] = []

        mutating func note(_ notices: [DirectoryNotice]) {
            for case .person(let change) in notices {
                switch change {
                case .appeared(let address, let uuid):
                    if owners[address] ?? uuid != uuid { wrongs.append(change) }
                    owners[address] = uuid
                case .renamed(_, let address, let uuid): if owners[address] == nil { owners[address] = uuid }
                case .succeeded(let address, let uuid, let previous): if owners[address] != previous || uuid == previous { wrongs.append(change) }
                case .changed, .vanished, .contested, .unusable, .keysBecameStale: break
                }
            }
        }
    }
}

@Suite("The rule for addresses")
struct AddressRuleTests {
    @Test("is a list of attributes")
    func parsing() throws {
        #expect(try AddressRule(parsing: "xmppAddress | mail|uid@%d").sources == [.address("xmppaddress"), .address("mail"), .localpart("uid")])
    }

    @Test("has nothing else in it", arguments: ["", "mail |", "mail@example.org", "@%d", "1mail", "uid%d", "uid @%d"])
    func refused(text: String) { #expect(throws: AddressRuleError.self) { try AddressRule(parsing: text) } }
}

@Suite("The safety brake")
struct SafetyBrakeTests {
    private func everybody(_ count: Int) -> [Int: LDAPEntry] { Dictionary(uniqueKeysWithValues: (1...count).map { ($0, person("person-\($0)")) }) }
    private func loaded(_ count: Int) -> MirroredPeople {
        var people = mirroredPeople()
        _ = people.refresh(everybody(count))
        return people
    }
    private let vanished = { (notices: [DirectoryNotice]) in notices.filter { if case .person(.vanished) = $0 { true } else { false } }.count }

    @Test("lets ten accounts go at once, or a fifth of them, and no more", arguments: [(20, 10), (30, 10), (50, 10), (100, 20), (105, 21)])
    func threshold(count: Int, allowed: Int) {
        var gone = loaded(count)
        let fine = gone.refresh(everybody(count).filter { $0.key > allowed })
        #expect(vanished(fine) == allowed && gone.people.count == count - allowed && gone.cookie == [1])
        var held = loaded(count)
        let notices = held.refresh(everybody(count).filter { $0.key > allowed + 1 })
        #expect(notices == [.removalHeld(accounts: allowed + 1, of: count)] && held.people.count == count)
        // Whatever the next start asks, it asks from the beginning.
        #expect(held.cookie == nil && held.snapshot(asked: [], heard: 0).cookie == nil)
    }

    @Test("lets as many go as an operator says", arguments: [(5, 10), (40, 40), (100, 100)])
    func percent(percent: Int, allowed: Int) {
        for gone in [allowed, allowed + 1] where gone <= 100 {
            var people = mirroredPeople(brake: SafetyBrake(percent: percent))
            _ = people.refresh(everybody(100))
            _ = people.refresh(everybody(100).filter { $0.key > gone })
            #expect(people.brake.isHolding == (gone > allowed), "\(gone) at \(percent) percent")
        }
    }

    @Test("is released by an operator")
    func confirmed() {
        var people = loaded(30)
        _ = people.refresh([1: person("person-1")])
        let notices = people.confirmRemoval()
        #expect(vanished(notices) == 29 && notices.last == .holdEnded && people.people.count == 1 && people.mirror.entries.count == 1)
        let again = people.confirmRemoval()
        #expect(again.isEmpty)
    }

    @Test("is released by a second look, ten minutes later and not before, that finds the same")
    func secondLook() {
        var people = loaded(30)
        _ = people.refresh([1: person("person-1")], now: 1_000)
        #expect(people.brake.secondLook == 1_000 + SafetyBrake.secondLookMilliseconds)
        let early = people.refresh([1: person("person-1")], now: 1_000 + SafetyBrake.secondLookMilliseconds - 1)
        #expect(early == [.removalHeld(accounts: 29, of: 30)])
        let late = people.refresh([1: person("person-1")], now: 1_000 + SafetyBrake.secondLookMilliseconds)
        #expect(vanished(late) == 29 && late.contains(.holdEnded))
    }

    @Test("goes on to hold what a refresh says nothing about that tells only what has changed since")
    func changesOnly() {
        var people = loaded(30)
        _ = people.refresh([1: person("person-1")], now: 1_000)
        var notices = people.take(.search(.contentSync(cookie: [1])), now: 1_000)
        notices += people.take(.change(.entry(.number(31), person("person-31"))), now: 1_000)
        notices += people.take(.refreshed(RefreshEnd(gone: [.number(1)])), now: 1_000 + 2 * SafetyBrake.secondLookMilliseconds)
        notices += people.take(.keepCookie([2]), now: 1_000)
        #expect(notices == [.person(.appeared(jid("person-31"), .number(31)))])
        #expect(people.brake.isHolding && people.cookie == nil && people.people.count == 31)
        let confirmed = people.confirmRemoval()
        #expect(vanished(confirmed) == 30 && people.people.count == 1)
    }

    @Test("says when the directory has to be looked at again")
    func needsSecondLook() {
        let clock = StoppedClock(5_000)
        let directory = PeopleDirectory(loaded(30), time: clock)
        _ = directory.take([.search(.everything), .refreshed(RefreshEnd(there: []))], isLive: true)
        clock.advance(milliseconds: SafetyBrake.secondLookMilliseconds - 1)
        #expect(directory.brake.isHolding && !directory.needsSecondLook)
        clock.advance(milliseconds: 1)
        #expect(directory.needsSecondLook)
    }

    @Test("is released when everybody is back, and nobody was away")
    func mistake() {
        var people = loaded(30)
        _ = people.refresh([:])
        let back = people.refresh(everybody(30))
        #expect(back == [.holdEnded] && people.people.count == 30 && people.cookie == [1])
    }

    @Test("holds as well if everybody is there and nobody's address can be read")
    func unreadable() {
        var people = loaded(30)
        let bare = everybody(30).mapValues { LDAPEntry($0.name, [LDAPAttribute("cn", "somebody")]) }
        let notices = people.refresh(bare)
        #expect(notices.contains(.removalHeld(accounts: 30, of: 30)) && vanished(notices) == 0 && people.people.count == 30)
        let confirmed = people.confirmRemoval()
        #expect(vanished(confirmed) == 30)
    }

    @Test("does not hold what is told one by one, also while it holds something else")
    func persist() {
        var people = loaded(30)
        _ = people.refresh([1: person("person-1")])
        let one = people.persist(2, nil)
        #expect(one == [.vanished(jid("person-2"), .number(2))])
        let new = people.persist(31, person("person-31"))
        #expect(new == [.appeared(jid("person-31"), .number(31))] && people.people.count == 30)
        // Who is heard of is not gone.
        _ = people.persist(3, person("person-3", [LDAPAttribute("cn", "Three")]))
        _ = people.confirmRemoval()
        #expect(Set(people.people.addresses) == [jid("person-1"), jid("person-3"), jid("person-31")])
    }
}
