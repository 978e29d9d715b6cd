import MartletCore
import MartletDirectory
import MartletLDAP
import MartletXMPP
import Synchronization
import Testing

@Suite("Accounts from a directory")
struct DirectoryAccountSourceTests {
    /// A directory that says the same to everybody, and remembers what it was asked. A lock, because it is asked from anywhere.
    private final class Binding: DirectoryBinding {
        let asked = Mutex<[String]>([])
        let answer: AccountVerdict
        init(_ answer: AccountVerdict) { self.answer = answer }

        func bind(as name: String, _ password: PreparedPassword) async -> AccountVerdict {
            asked.withLock { $0.append(name) }
            return answer
        }
        var names: [String] { asked.withLock { $0 } }
    }

    private final class Work: PasswordWork {
        let asked = Mutex<[ScramKeys]>([])
        func verify(_ password: PreparedPassword, _ keys: ScramKeys, _ others: [ApplicationKeys]) async -> PasswordCheck? {
            asked.withLock { $0.append(keys) }
            return PasswordCheck(password, keys, others)
        }
        func keys(of password: PreparedPassword, _ wanted: ScramUpgrade) async -> ScramKeys? { nil }
        var count: Int { asked.withLock { $0.count } }
    }

    private let right = PreparedPassword("pencil")!
    private let wrong = PreparedPassword("eraser")!
    private let clock = StoppedClock(1_800_000_000_000)
    private static let salt = [UInt8](repeating: 7, count: 16)

    private func keys(_ hash: ScramHash, _ password: PreparedPassword) throws -> ScramKeys {
        try ScramKeys.derive(password: password, salt: Self.salt, iterations: 4_096, hash: hash)
    }
    private func published(_ hash: ScramHash = .sha256, _ password: PreparedPassword? = nil) throws -> LDAPAttribute {
        LDAPAttribute("authPassword", try keys(hash, password ?? right).text)
    }
    /// As slapd's pw-pbkdf2 and the 389 Directory Server write it.
    private func hashed(_ scheme: String, _ hash: ScramHash, _ password: PreparedPassword? = nil) throws -> LDAPAttribute {
        func text(_ bytes: [UInt8]) -> String { String(Base64.encode(bytes).filter { $0 != "=" }.map { $0 == "+" ? "." : $0 }) }
        let key = try #require(hash.saltedPassword(password ?? right, salt: Self.salt, iterations: 4_096))
        return LDAPAttribute("userPassword", "{\(scheme)}4096$\(text(Self.salt))$\(text(key))")
    }

    private func directory(_ entries: [LDAPEntry], isLive: Bool = true, _ people: MirroredPeople = mirroredPeople()) -> PeopleDirectory {
        let directory = PeopleDirectory(people, time: clock)
        let effects = entries.enumerated().map { FeedEffect.change(.entry(.number($0.offset + 1), $0.element)) }
        _ = directory.take([.search(.everything)] + effects + (isLive ? [.refreshed(RefreshEnd())] : []), isLive: isLive)
        return directory
    }

    private func source(
        _ people: PeopleDirectory, _ verifiers: [PasswordVerifier], _ binding: Binding = Binding(.badCredentials), _ work: Work = Work()
    ) throws -> DirectoryAccountSource {
        DirectoryAccountSource(
            people, verifiers: verifiers, binding: binding, work: work, simulation: try ScramSimulation(secret: Self.salt + Self.salt, iterations: 4_096),
            decoyName: "uid=nobody,ou=people")
    }

    private func scram(_ source: DirectoryAccountSource, _ hash: ScramHash = .sha256, _ name: String = "alice") async -> (ScramKeys?, AccountVerdict) {
        switch await source.scramKeys(of: jid(name), hash) {
        case .keys(let keys, let standing, _): (keys, standing)
        case .refused(let verdict): (nil, verdict)
        }
    }

    @Test("SCRAM goes by published keys (RFC 5803) and by what follows from a PBKDF2 hash")
    func scramKeys() async throws {
        let both = directory([person("alice", [try published(.sha1), try hashed("PBKDF2-SHA256", .sha256)])])
        let source = try source(both, [.publishedKeys, .passwordHash])
        #expect(await scram(source, .sha1) == (try keys(.sha1, right), .ok))
        #expect(await scram(source, .sha256) == (try keys(.sha256, right), .ok))
        // Keys that are not there, and people who are not, look alike.
        for (hash, name) in [(ScramHash.sha512, "alice"), (.sha256, "nobody")] {
            let (keys, standing) = await scram(source, hash, name)
            #expect(keys?.hash == hash && standing == .badCredentials)
        }
        let onlyBind = try self.source(both, [.bind])
        #expect(await scram(onlyBind).1 == .badCredentials)
    }

    @Test("schemes that give SCRAM keys", arguments: [("PBKDF2", ScramHash.sha1), ("PBKDF2-SHA1", .sha1), ("pbkdf2-sha256", .sha256), ("PBKDF2-SHA512", .sha512)])
    func schemes(scheme: String, hash: ScramHash) async throws {
        let source = try source(directory([person("alice", [try hashed(scheme, hash)])]), [.passwordHash])
        #expect(await scram(source, hash) == (try keys(hash, right), .ok))
    }

    @Test("values that give none")
    func otherValues() async throws {
        let sha256 = try hashed("PBKDF2-SHA256", .sha256)
        let values = [
            LDAPAttribute("userPassword", "{SSHA}abcdefgh"), LDAPAttribute("userPassword", "pencil"), LDAPAttribute("userPassword", ""),
            LDAPAttribute("userPassword", "{PBKDF2-SHA256}4096$AAAA"), LDAPAttribute("userPassword", "{PBKDF2-SHA256}+4096$AAAAAAAAAAAAAAAAAAAAAA$AAAA"),
            // As long as another hash; so many iterations that clients do not make them; two passwords.
            try hashed("PBKDF2-SHA512", .sha256), LDAPAttribute("userPassword", [Array(String(decoding: sha256.values[0], as: UTF8.self).replacing("4096", with: "4095").utf8)]),
            LDAPAttribute("userPassword", [sha256.values[0], Array("{SSHA}abcdefgh".utf8)]), LDAPAttribute("authPassword", "MD5$abc$def"),
        ]
        for value in values {
            let source = try source(directory([person("alice", [value])]), [.publishedKeys, .passwordHash])
            #expect(await scram(source).1 == .badCredentials)
        }
    }

    @Test("spaces around the parts of a published key are none of it (RFC 3112 §3)")
    func spaces() async throws {
        let text = try keys(.sha256, right).text.split(separator: "$").joined(separator: " $ ")
        let source = try source(directory([person("alice", [LDAPAttribute("authPassword", " \(text) ")])]), [.publishedKeys])
        #expect(await scram(source) == (try keys(.sha256, right), .ok))
    }

    @Test("the first verifier that can say something decides")
    func order() async throws {
        let people = directory([person("alice", [try published(.sha256, wrong), try hashed("PBKDF2-SHA256", .sha256)]), person("bob")])
        let (binding, work) = (Binding(.ok), Work())
        #expect(try await source(people, [.bind, .passwordHash], binding, work).verify(wrong, of: jid("alice")).verdict == .ok)
        #expect(binding.names == ["uid=alice,ou=people"] && work.count == 0)
        #expect(try await source(people, [.passwordHash, .bind], binding, work).verify(wrong, of: jid("alice")).verdict == .badCredentials)
        #expect(try await source(people, [.passwordHash, .bind], binding, work).verify(right, of: jid("alice")).verdict == .ok)
        #expect(try await source(people, [.publishedKeys, .passwordHash], binding, work).verify(right, of: jid("alice")).verdict == .badCredentials)
        #expect(binding.names.count == 1 && work.count == 3)
        #expect(try await source(people, [.passwordHash, .bind], binding, work).verify(right, of: jid("bob")).verdict == .ok)
        #expect(binding.names.last == "uid=bob,ou=people")
    }

    @Test("what the directory says to a bind is the verdict", arguments: [AccountVerdict.badCredentials, .disabled, .expired, .unavailable])
    func bind(answer: AccountVerdict) async throws {
        let source = try source(directory([person("alice")]), [.bind], Binding(answer))
        #expect(await source.verify(right, of: jid("alice")).verdict == answer)
    }

    @Test("without an answer the next verifier is asked; those who do not exist are told from nobody")
    func unanswered() async throws {
        let people = directory([person("alice", [try hashed("PBKDF2-SHA256", .sha256)])])
        let source = try source(people, [.bind, .passwordHash], Binding(.unavailable))
        #expect(await source.verify(right, of: jid("alice")).verdict == .ok)
        #expect(await source.verify(wrong, of: jid("alice")).verdict == .badCredentials)
        #expect(await source.verify(wrong, of: jid("nobody")).verdict == .badCredentials)
        let binding = Binding(.unavailable)
        let onlyBind = try self.source(people, [.bind], binding)
        #expect(await onlyBind.verify(wrong, of: jid("alice")).verdict == .unavailable)
        #expect(await onlyBind.verify(wrong, of: jid("nobody")).verdict == .unavailable)
        #expect(binding.names == ["uid=alice,ou=people", "uid=nobody,ou=people"])
    }

    @Test("a password for nobody costs what one for somebody does (reliability.md rule 13)")
    func sameWork() async throws {
        let people = directory([person("alice", [try hashed("PBKDF2-SHA256", .sha256)])])
        let work = Work()
        let source = try source(people, [.passwordHash, .bind], Binding(.ok), work)
        for name in ["alice", "nobody"] { #expect(await source.verify(wrong, of: jid(name)).verdict == .badCredentials) }
        let asked = work.asked.withLock { $0 }
        #expect(asked.count == 2 && asked[0].hash == asked[1].hash && asked[0].iterations == asked[1].iterations)
    }

    @Test("before the directory was ever known nobody is let in and nobody refused")
    func neverLoaded() async throws {
        let source = try source(directory([person("alice", [try published()])], isLive: false), [.publishedKeys, .bind], Binding(.ok))
        for name in ["alice", "nobody"] {
            #expect(await scram(source, .sha256, name).1 == .unavailable)
            #expect(await source.verify(right, of: jid(name)).verdict == .unavailable)
            #expect(await source.standing(of: jid(name)) == .unavailable)
        }
    }

    @Test("while the directory is away what is known is good for a day, and then for nobody")
    func stale() async throws {
        let people = directory([person("alice", [try published()])])
        let source = try source(people, [.publishedKeys])
        people.contactLost()
        clock.advance(milliseconds: PeopleDirectory.staleMillisecondsMaxDefault)
        #expect(await scram(source).1 == .ok)
        #expect(await source.verify(right, of: jid("alice")).verdict == .ok)
        clock.advance(milliseconds: 1)
        for name in ["alice", "nobody"] {
            #expect(await scram(source, .sha256, name).1 == .unavailable)
            #expect(await source.standing(of: jid(name)) == .unavailable)
        }
        // Contacts see each other nevertheless.
        #expect(people.profile(of: jid("alice")) != nil)
        _ = people.take([.keepCookie([2])], isLive: true)
        #expect(await scram(source).1 == .ok)
    }

    @Test("a snapshot is as old as what was last heard when it was written")
    func snapshot() async throws {
        let people = directory([person("alice", [try published()])])
        people.contactLost()
        let kept = try #require(people.snapshot(asked: [1]))
        clock.advance(milliseconds: PeopleDirectory.staleMillisecondsMaxDefault)
        let restarted = PeopleDirectory(mirroredPeople(), time: clock)
        #expect(restarted.snapshot(asked: [1]) == nil)
        let notices = restarted.restore(kept, asked: [1])
        #expect(notices == [.person(.appeared(jid("alice"), .number(1))), .loaded])
        let source = try source(restarted, [.publishedKeys])
        #expect(await scram(source).1 == .ok)
        clock.advance(milliseconds: 1)
        #expect(await scram(source).1 == .unavailable)
    }

    @Test("a cookie means nothing to another question")
    func otherQuestion() {
        var people = mirroredPeople()
        _ = people.refresh([1: person("alice")])
        let kept = people.snapshot(asked: [1], heard: 0)
        for (asked, cookie) in [([1], [1]), ([2], nil)] as [([UInt8], [UInt8]?)] {
            var restarted = mirroredPeople()
            _ = restarted.restore(kept, asked: asked)
            #expect(restarted.cookie == cookie && restarted.people.count == 1)
        }
    }

    @Test("only who was right is told that the account is disabled or that its password is over")
    func standing() async throws {
        let cases: [(LDAPAttribute, AccountVerdict)] = [
            (LDAPAttribute("nsAccountLock", "TRUE"), .disabled), (LDAPAttribute("pwdAccountLockedTime", "000001010000Z"), .disabled),
            (LDAPAttribute("pwdAccountLockedTime", "unreadable"), .disabled), (LDAPAttribute("userAccountControl", "514"), .disabled),
            (LDAPAttribute("userAccountControl", "512"), .ok), (LDAPAttribute("userAccountControl", "8389120"), .expired),
            (LDAPAttribute("pwdReset", "TRUE"), .expired), (LDAPAttribute("accountExpires", "0"), .ok), (LDAPAttribute("accountExpires", "9223372036854775807"), .ok),
            (LDAPAttribute("accountExpires", "116444736000000001"), .disabled),
            // The clock stands at 2027-01-15 08:00:00.
            (LDAPAttribute("pwdEndTime", "20270115080000Z"), .disabled), (LDAPAttribute("pwdEndTime", "20270115080001Z"), .ok),
            (LDAPAttribute("pwdStartTime", "20270115080001Z"), .disabled), (LDAPAttribute("pwdStartTime", "20270115080000Z"), .ok),
            (LDAPAttribute("xmppAuthPolicy", "any"), .ok), (LDAPAttribute("xmppAuthPolicy", "scram"), .mechanismTooWeak),
            (LDAPAttribute("xmppAuthPolicy", "strong"), .mechanismTooWeak), (LDAPAttribute("xmppAuthPolicy", "else"), .mechanismTooWeak),
        ]
        for (attribute, verdict) in cases {
            let source = try source(directory([person("alice", [attribute, try published()])]), [.publishedKeys])
            #expect(await source.verify(right, of: jid("alice")).verdict == verdict, "\(attribute)")
            #expect(await source.verify(wrong, of: jid("alice")).verdict == .badCredentials)
        }
    }

    @Test("a policy of SCRAM lets SCRAM in, a strong one only who has proved otherwise who he is")
    func policy() async throws {
        for (policy, scramVerdict) in [("scram", AccountVerdict.ok), ("strong", .mechanismTooWeak)] {
            let people = directory([person("alice", [LDAPAttribute("xmppAuthPolicy", policy), try published()])])
            let source = try source(people, [.publishedKeys])
            #expect(await scram(source).1 == scramVerdict)
            #expect(await source.standing(of: jid("alice")) == .ok)
        }
    }

    @Test("a lock that a policy has set is over after a while, if it is known how long; a filter disables whom it does not match")
    func locks() async throws {
        let entry = person("alice", [LDAPAttribute("pwdAccountLockedTime", "20270115075900Z"), try published()])
        for (lock, verdict) in [(nil, AccountVerdict.disabled), (60_001, .disabled), (60_000, .ok)] as [(Int64?, AccountVerdict)] {
            let source = try source(directory([entry], mirroredPeople(lockMilliseconds: lock)), [.publishedKeys])
            #expect(await source.standing(of: jid("alice")) == verdict)
        }
        let filtered = mirroredPeople { $0.isTrue("xmppEnabled") }
        let source = try source(directory([person("alice"), person("bob", [LDAPAttribute("xmppEnabled", "TRUE")])], filtered), [])
        #expect(await source.standing(of: jid("alice")) == .disabled)
        #expect(await source.standing(of: jid("bob")) == .ok)
        #expect(await source.standing(of: jid("nobody")) == .badCredentials)
    }

    @Test("who may come in no more, or again, because time has passed is told of, and nobody else")
    func timePasses() throws {
        let people = directory([
            person("alice", [LDAPAttribute("pwdEndTime", "20270115080001Z")]), person("bob", [LDAPAttribute("pwdStartTime", "20270115080001Z")]),
            person("carol", [LDAPAttribute("pwdEndTime", "20270115080002Z")]), person("dave", [LDAPAttribute("accountExpires", "0")]),
        ])
        let before = clock.wallMilliseconds
        #expect(people.standingChanges(since: before).isEmpty)
        clock.advance(milliseconds: 1_000)
        #expect(people.standingChanges(since: before) == [jid("alice"): .disabled, jid("bob"): .ok])
        #expect(people.standingChanges(since: clock.wallMilliseconds).isEmpty)
    }

    @Test("nobody gets into an account while another one's data are in its place")
    func predecessor() async throws {
        let people = directory([person("alice", [try published()])])
        _ = people.take([.change(.gone(.number(1))), .change(.entry(.number(2), person("alice", [try published()])))], isLive: true)
        let source = try source(people, [.publishedKeys])
        #expect(await scram(source).1 == .unavailable)
        #expect(await source.verify(wrong, of: jid("alice")).verdict == .badCredentials)
        people.predecessorIsGone(jid("alice"))
        #expect(await scram(source).1 == .ok)
    }

    @Test("keys are not believed from when the password was changed without them until they are written anew")
    func staleKeys() async throws {
        let people = directory([person("alice", [LDAPAttribute("userPassword", "{SSHA}one"), try published()])])
        let source = try source(people, [.publishedKeys, .bind], Binding(.ok))
        #expect(await scram(source).1 == .ok)
        func change(_ attributes: [LDAPAttribute]) -> [DirectoryNotice] {
            people.take([.change(.entry(.number(1), person("alice", attributes)))], isLive: true)
        }
        let stale = change([LDAPAttribute("userPassword", "{SSHA}two"), try published()])
        #expect(stale.contains(.person(.keysBecameStale(jid("alice"), .number(1)))))
        #expect(await scram(source).1 == .badCredentials)
        // By a bind she comes in, and it stays so whatever else is changed.
        #expect(await source.verify(wrong, of: jid("alice")).verdict == .ok)
        let other = change([LDAPAttribute("userPassword", "{SSHA}two"), LDAPAttribute("cn", "A"), try published()])
        #expect(!other.contains(.person(.keysBecameStale(jid("alice"), .number(1)))))
        #expect(await scram(source).1 == .badCredentials)
        let restarted = PeopleDirectory(mirroredPeople(), time: clock)
        _ = restarted.restore(try #require(people.snapshot(asked: [])), asked: [])
        #expect(await scram(try self.source(restarted, [.publishedKeys])).1 == .badCredentials)
        _ = change([LDAPAttribute("userPassword", "{SSHA}two"), try published(.sha256, wrong)])
        #expect(await scram(source) == (try keys(.sha256, wrong), .ok))
        // Both at once, or the password taken away, is as it should be.
        _ = change([LDAPAttribute("userPassword", "{SSHA}three"), try published()])
        _ = change([try published()])
        #expect(await scram(source).1 == .ok)
    }

    @Test("a password that was changed while the server was away, or the person disabled, makes keys stale as well")
    func staleMeanwhile() async throws {
        let old = person("alice", [LDAPAttribute("userPassword", "{SSHA}one"), try published()])
        let new = person("alice", [LDAPAttribute("userPassword", "{SSHA}two"), try published()])
        let disabled = directory([old])
        _ = disabled.take([.change(.gone(.number(1)))], isLive: true)
        let notices = disabled.take([.change(.entry(.number(1), new))], isLive: true)
        #expect(notices.contains(.person(.keysBecameStale(jid("alice"), .number(1)))))
        // Of a snapshot without secrets only the marks are left.
        var snapshot = try #require(directory([old]).snapshot(asked: []))
        snapshot.entries = snapshot.entries.mapValues { _ in MirroredEntry(person("alice"), snapshot.attributes)! }
        let restarted = PeopleDirectory(mirroredPeople(), time: clock)
        _ = restarted.restore(snapshot, asked: [])
        _ = restarted.take([.change(.entry(.number(1), new))], isLive: true)
        #expect(await scram(try source(restarted, [.publishedKeys])).1 == .badCredentials)
    }

    @Test("after a start without the directory only a bind says anything: nobody's password is wrong because it is not known, and nobody shows who has an account")
    func secretsUnknown() async throws {
        let before = directory([person("alice", [try hashed("PBKDF2-SHA256", .sha256)])])
        let snapshot = try #require(before.snapshot(asked: []))
        let people = PeopleDirectory(mirroredPeople(), time: clock)
        _ = people.restore(try snapshot.afterStart(), asked: [])
        let all: [PasswordVerifier] = [.passwordHash, .publishedKeys, .bind]
        let cases: [(verifiers: [PasswordVerifier], bind: AccountVerdict, verdict: AccountVerdict)] = [
            (all, .unavailable, .unavailable), (all, .badCredentials, .badCredentials), ([.passwordHash], .ok, .unavailable), ([.bind], .unavailable, .unavailable),
        ]
        for (verifiers, bind, verdict) in cases {
            let source = try source(people, verifiers, Binding(bind))
            for name in ["alice", "nobody"] {
                #expect(await scram(source, .sha256, name) == (nil, .unavailable))
                #expect(await source.verify(wrong, of: jid(name)).verdict == verdict, "\(name) by \(verifiers) while a bind says \(bind)")
            }
        }
        _ = people.take([.search(.everything), .refreshed(RefreshEnd())], isLive: false)
        #expect(!people.knowsSecrets)
        let entry = FeedEffect.change(.entry(.number(1), person("alice", [try hashed("PBKDF2-SHA256", .sha256)])))
        _ = people.take([.search(.everything), entry, .refreshed(RefreshEnd())], isLive: true)
        let source = try source(people, all)
        #expect(await scram(source).1 == .ok)
        #expect(await source.verify(wrong, of: jid("nobody")).verdict == .badCredentials)
    }

    @Test("what others are shown comes from the entry (XEP-0054, XEP-0292)")
    func profile() throws {
        let entry = person(
            "alice",
            [
                LDAPAttribute("cn", "Alice Adams"), LDAPAttribute("displayName", "Alice"), LDAPAttribute("sn", "Adams"), LDAPAttribute("givenName", "Alice"),
                LDAPAttribute("mail", strings: ["alice@example.org", "a@example.org"]), LDAPAttribute("telephoneNumber", "+44 20 7946 0001"),
                LDAPAttribute("mobile", "+44 7700 900000"), LDAPAttribute("title", "Duty officer"), LDAPAttribute("o", "Example"), LDAPAttribute("ou", "Ops"),
                LDAPAttribute("postalAddress", "1 High \\24treet$London \\5C UK"), LDAPAttribute("labeledURI", "https://example.org/a Home page"),
                LDAPAttribute("jpegPhoto", [[0xFF, 0xD8, 0xFF, 0]]), LDAPAttribute("modifyTimestamp", "20270115080000Z"),
            ])
        let profile = try #require(directory([entry]).profile(of: jid("alice")))
        #expect(profile.fullName == "Alice" && profile.name.family == "Adams" && profile.name.given == "Alice")
        #expect(profile.emails == ["alice@example.org", "a@example.org"])
        #expect(profile.phones == [PersonProfile.Phone(.work, "+44 20 7946 0001"), PersonProfile.Phone(.cell, "+44 7700 900000")])
        #expect(profile.title == "Duty officer" && profile.organisation == "Example" && profile.units == ["Ops"])
        #expect(profile.label == ["1 High $treet", "London \\ UK"] && profile.url == "https://example.org/a")
        #expect(profile.photo == PhotoDigest([0xFF, 0xD8, 0xFF, 0]) && profile.revision == 1_800_000_000_000)
        #expect(profile.uid == EntryUUID.number(1).description)
    }
}
