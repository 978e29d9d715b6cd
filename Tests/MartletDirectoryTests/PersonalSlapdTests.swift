import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

@Suite("What people change in OpenLDAP's server, and what a trial of it finds", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(2)))
struct PersonalSlapdTests {
    private static let people = "ou=people,dc=example,dc=org"
    private static let alice = "uid=alice,\(people)"
    private static let picture: [UInt8] = [0xFF, 0xD8, 0xFF, 0xE0] + Array(repeating: 7, count: 1_000)

    private static func password(_ text: String) throws -> PreparedPassword { try #require(PreparedPassword(text)) }

    private static func client(_ slapd: Slapd, _ address: DirectoryAddress? = nil) throws -> DirectoryClient {
        let servers = DirectoryServers([address ?? slapd.plain], TestDirectory.dial(), time: ManualTime(), random: SeededRandom(seed: 1), log: TestDirectory.log)
        var settings = DirectoryClient.Settings()
        settings.identity = .simple(name: Slapd.service, try password(Slapd.servicePassword))
        return DirectoryClient(servers, settings, log: TestDirectory.log)
    }

    private static func refusal<Value>(_ work: () async throws -> Value) async -> DirectoryFailure? {
        do {
            _ = try await work()
            return nil
        } catch {
            return error as? DirectoryFailure ?? (error as? PasswordRefusal)?.failure
        }
    }

    // MARK: Entries

    @Test("an entry is changed as whom it is about, and read as it is then (RFC 4370, RFC 4527)")
    func modified() async throws {
        let slapd = try Slapd { $0.actsForPeople = true }
        defer { withExtendedLifetime(slapd) {} }
        let client = try Self.client(slapd)
        let changes = [
            ModifyRequest.Change(.replace, LDAPAttribute("mobile", "+44 7700 900001")), .init(.replace, LDAPAttribute("jpegPhoto", [Self.picture])),
        ]
        let entry = try await client.modify(ModifyRequest(Self.alice, changes), reading: ["cn", "mobile"])
        #expect(entry.attributes.contains(LDAPAttribute("mobile", "+44 7700 900001")) && entry.attributes.contains(LDAPAttribute("cn", "Alice Adams")))
        #expect(try await client.values(of: "jpegPhoto", at: Self.alice) == [Self.picture])
        #expect(try await client.values(of: "jpegPhoto", at: "uid=nobody,\(Self.people)") == [])
        // Without a value it is gone.
        _ = try await client.modify(ModifyRequest(Self.alice, [.init(.replace, LDAPAttribute("jpegPhoto", []))]), reading: ["cn"])
        #expect(try await client.values(of: "jpegPhoto", at: Self.alice) == [])
        await client.close()
    }

    @Test("the directory's own rules decide: what she may not write herself is refused, and so is what cannot be")
    func refused() async throws {
        let slapd = try Slapd { $0.actsForPeople = true }
        defer { withExtendedLifetime(slapd) {} }
        let client = try Self.client(slapd)
        let refusal = { (attribute: LDAPAttribute) async -> LDAPResultCode? in
            guard case .refused(let result)? = await Self.refusal({ try await client.modify(ModifyRequest(Self.alice, [.init(.replace, attribute)]), reading: []) })
            else { return nil }
            return result.code
        }
        #expect(await refusal(LDAPAttribute("sn", "Other")) == .insufficientAccessRights)
        #expect(await refusal(LDAPAttribute("title", [[0xFF]])) == .invalidAttributeSyntax)
        await client.close()
    }

    @Test("a directory that lets nobody act for people says so")
    func notProxied() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let client = try Self.client(slapd)
        let request = ModifyRequest(Self.alice, [.init(.replace, LDAPAttribute("title", "Captain"))])
        guard case .refused(let result)? = await Self.refusal({ try await client.modify(request, reading: []) }) else {
            Issue.record("it was changed")
            return
        }
        #expect(result.code == .authorizationDenied)
        await client.close()
    }

    @Test("what somebody sets in his card is in his entry, and in the card, before the feed tells of it")
    func book() async throws {
        let slapd = try Slapd { $0.actsForPeople = true }
        defer { withExtendedLifetime(slapd) {} }
        let (book, client) = (ProfileBook(), try Self.client(slapd))
        let people = PeopleDirectory(mirroredPeople(), time: StoppedClock(0))
        let entry = try #require(try await client.service().connection.entry(named: Self.alice))
        _ = people.take([.search(.everything), .change(.entry(.number(1), entry)), .refreshed(RefreshEnd())], isLive: true)
        var settings = ProfileSettings()
        settings.writable = [.title, .sn]
        book.add(jid("alice").domain, people, settings, client, log: TestDirectory.log)
        let title = ByteBuffer(string: "<TITLE xmlns='vcard-temp'>Captain</TITLE>")
        let profile = try await book.change(jid("alice"), [ProfileChange("TITLE", [title])])
        #expect(String(buffer: profile.card).contains("<TITLE>Captain</TITLE>") && book.profile(of: jid("alice")) == profile)
        let name = ByteBuffer(string: "<N xmlns='vcard-temp'><FAMILY>Other</FAMILY><GIVEN>Alice</GIVEN></N>")
        await #expect(throws: StanzaError.forbidden("the directory does not let you change this card")) {
            try await book.change(jid("alice"), [ProfileChange("N", [name])])
        }
        slapd.stop()
        await #expect(throws: StanzaError.resourceConstraint("the directory cannot be asked now: try again")) {
            try await book.change(jid("alice"), [ProfileChange("TITLE", [])])
        }
        await client.close()
    }

    // MARK: Passwords

    @Test("a password is changed in her name, or by the service, and the directory hashes it (RFC 3062)", arguments: [PasswordBook.Way.proxied, .asService])
    func passwords(way: PasswordBook.Way) async throws {
        let slapd = try Slapd { $0.actsForPeople = true }
        defer { withExtendedLifetime(slapd) {} }
        try slapd.setPassword("alicepw", of: Self.alice)
        let client = try Self.client(slapd)
        try await client.setPassword(try Self.password("otherpw"), replacing: nil, at: Self.alice, way)
        let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), time: ManualTime(), random: SeededRandom(seed: 1), log: TestDirectory.log)
        let pool = BindPool(servers, timers: MultiThreadedEventLoopGroup.singleton.any())
        #expect(await pool.verify(try Self.password("otherpw"), of: Self.alice) == .accepted(.init()))
        #expect(await pool.verify(try Self.password("alicepw"), of: Self.alice) == .invalidCredentials)
        await pool.close()
        await client.close()
    }

    @Test("the password policy decides, and says why not (draft-behera-ldap-password-policy-10)")
    func policy() async throws {
        let slapd = try Slapd { ($0.actsForPeople, $0.hasPolicy) = (true, true) }
        defer { withExtendedLifetime(slapd) {} }
        try slapd.modify("""
            dn: cn=strict,ou=policies,dc=example,dc=org
            objectClass: device
            objectClass: pwdPolicy
            cn: strict
            pwdAttribute: userPassword
            pwdMinLength: 8
            pwdCheckQuality: 2
            pwdInHistory: 3
            pwdSafeModify: FALSE

            """)
        try slapd.setPassword("alicepassword", of: Self.alice)
        try slapd.modify("dn: \(Self.alice)\nchangetype: modify\nreplace: pwdPolicySubentry\npwdPolicySubentry: cn=strict,ou=policies,dc=example,dc=org\n")
        let client = try Self.client(slapd)
        let fault = { (text: String) async throws -> PasswordPolicyResponseControl.Fault? in
            let password = try Self.password(text)
            do throws(PasswordRefusal) {
                try await client.setPassword(password, replacing: nil, at: Self.alice, .proxied)
                return nil
            } catch { return error.fault }
        }
        #expect(try await fault("short") == .passwordTooShort)
        #expect(try await fault("longenough1") == nil)
        #expect(try await fault("longenough1") == .passwordInHistory)
        try slapd.modify("dn: cn=strict,ou=policies,dc=example,dc=org\nchangetype: modify\nreplace: pwdSafeModify\npwdSafeModify: TRUE\n")
        #expect(try await fault("longenough2") == .mustSupplyOldPassword)
        let (new, wrong) = (try Self.password("longenough3"), try Self.password("wrong"))
        await #expect(throws: PasswordRefusal(.refused(LDAPResult(.unwillingToPerform, "unwilling to verify old password")), .mustSupplyOldPassword)) {
            try await client.setPassword(new, replacing: wrong, at: Self.alice, .proxied)
        }
        try await client.setPassword(try Self.password("longenough3"), replacing: try Self.password("longenough1"), at: Self.alice, .proxied)
        await client.close()
    }

    @Test("what a bind says of the password's end is kept for whoever warns of it")
    func end() async throws {
        let slapd = try Slapd { $0.hasPolicy = true }
        defer { withExtendedLifetime(slapd) {} }
        try slapd.setPassword("alicepw", of: Self.alice)
        try slapd.modify(
            "dn: \(Self.alice)\nchangetype: modify\nreplace: pwdPolicySubentry\npwdPolicySubentry: cn=expiring,ou=policies,dc=example,dc=org\n")
        // By then a second of the hour has gone.
        try await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(1_100)) {}.futureResult.get()
        let clock = StoppedClock(0)
        let (book, people) = (PasswordBook(time: clock), PeopleDirectory(mirroredPeople(), time: clock))
        let entry = LDAPEntry(Self.alice, [LDAPAttribute("xmppAddress", "alice@example.org")])
        _ = people.take([.search(.everything), .change(.entry(.number(1), entry)), .refreshed(RefreshEnd())], isLive: true)
        let servers = DirectoryServers([slapd.plain], TestDirectory.dial(), time: ManualTime(), random: SeededRandom(seed: 1), log: TestDirectory.log)
        let pool = BindPool(servers, timers: MultiThreadedEventLoopGroup.singleton.any())
        #expect(await AdvisedBinding(pool, people, book).bind(as: Self.alice, try Self.password("alicepw")) == .ok)
        let end = try #require(await book.passwordEnd(of: jid("alice")))
        #expect((3_000_000..<3_600_000).contains(end))
        await pool.close()
    }

    // MARK: Trials

    private static func trial(_ slapd: Slapd, _ change: (inout DirectoryTrial.Question) -> Void = { _ in }) throws -> DirectoryTrial {
        var question = DirectoryTrial.Question(
            jid("alice").domain, base: people, filter: try LDAPFilter("(objectClass=inetOrgPerson)"), addresses: try AddressRule(parsing: "xmppAddress|mail"),
            identity: .simple(name: Slapd.service, try password(Slapd.servicePassword)), detection: nil, verifiers: [.passwordHash, .bind])
        change(&question)
        return DirectoryTrial(question, TestDirectory.dial())
    }

    @Test("a trial says what would be used, and who is found")
    func trial() async throws {
        let slapd = try Slapd { $0.actsForPeople = true }
        defer { withExtendedLifetime(slapd) {} }
        try slapd.setPassword("alicepw", of: Self.alice)
        let lines = await (try Self.trial(slapd) { ($0.actsForPeople, $0.changesPasswords) = (true, true) }).lines(of: slapd.plain, readsPeople: true)
        let text = lines.map(\.text).joined(separator: "\n")
        #expect(text.contains("logged in as dn:\(Slapd.service)") && text.contains("content synchronization"), "\(text)")
        #expect(text.contains("of whom") && text.contains("PBKDF2-SHA256 1") && !lines.contains { $0.level == .bad }, "\(text)")
    }

    @Test("a trial says what is wrong, and what may be done about it")
    func troubles() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let wrong = try Self.password("wrong")
        let refused = await (try Self.trial(slapd) { $0.identity = .simple(name: Slapd.service, wrong) }).lines(of: slapd.plain, readsPeople: true)
        #expect(refused.last?.level == .bad && refused.last?.hint?.contains("log-in.name") == true)
        let lost = await (try Self.trial(slapd) { $0.base = "ou=nowhere,dc=example,dc=org" }).lines(of: slapd.plain, readsPeople: true)
        #expect(lost.last?.level == .bad && lost.last?.hint?.contains("people.base") == true, "\(lost)")
        let nobody = await (try Self.trial(slapd) { $0.filter = .present("nisDomain") }).lines(of: slapd.plain, readsPeople: true)
        #expect(nobody.last?.text == "the filter of people finds nobody")
        slapd.stop()
        let away = await (try Self.trial(slapd)).lines(of: slapd.plain, readsPeople: true)
        #expect(away.count == 1 && away[0].level == .bad && away[0].hint != nil)
    }
}
