import MartletCore
import MartletDirectory
import MartletLDAP
import MartletTesting
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

@Suite("The client and OpenLDAP's server", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(2)))
struct SlapdTests {
    private static let people = "ou=people,dc=example,dc=org"
    private static let alice = "uid=alice,\(people)"
    private static let bob = "uid=bob,\(people)"
    private static let dave = "uid=dave,\(people)"

    private static func password(_ text: String) throws -> PreparedPassword { try #require(PreparedPassword(text)) }

    private static func service() throws -> DirectoryIdentity { .simple(name: Slapd.service, try password(Slapd.servicePassword)) }

    /// Whoever it is, bound.
    private func bound(
        _ address: DirectoryAddress, as identity: DirectoryIdentity, _ dial: LDAPDial = TestDirectory.dial()
    ) async throws -> LDAPConnection {
        let connection = try await dial.open(address)
        let answer = try await connection.bind(as: identity)
        try #require(answer.result.code == .success, "\(answer.result)")
        return connection
    }

    private static func trusting(_ slapd: Slapd, _ authority: String = "ca.pem", asClient: Bool = false) -> DirectoryTLS {
        let certificate = asClient ? DirectoryTLS.Certificate(chain: slapd.file("client.pem"), key: slapd.file("client.key")) : nil
        return DirectoryTLS(authorities: slapd.file(authority), certificate: certificate)
    }

    // MARK: Operations

    @Test("an entry is added, compared, changed, renamed, read and deleted (RFC 4511 §4.5-4.10)")
    func operations() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let connection = try await bound(slapd.plain, as: try Self.service())
        let entry = LDAPEntry(
            Self.dave,
            [
                LDAPAttribute("objectClass", strings: ["inetOrgPerson", "xmppUser"]), LDAPAttribute("uid", "dave"), LDAPAttribute("cn", "Dave Dunn"),
                LDAPAttribute("sn", "Dunn"),
            ])
        try await connection.add(entry)
        await #expect(throws: DirectoryFailure.refused(LDAPResult(.entryAlreadyExists))) { try await connection.add(entry) }
        #expect(try await connection.compare(CompareRequest(Self.dave, "sn", Array("dunn".utf8))))
        #expect(try await !connection.compare(CompareRequest(Self.dave, "sn", Array("Doe".utf8))))
        let post = PostReadRequestControl(["title"]).control(isCritical: true)
        let change = ModifyRequest(Self.dave, [.init(.replace, LDAPAttribute("title", "Watch keeper"))])
        let controls = try await connection.modify(change, controls: [post])
        let after = try #require(try controls.first(of: PostReadResponseControl.self))
        #expect(after.entry.attributes == [LDAPAttribute("title", "Watch keeper")])
        try await connection.rename(ModifyDNRequest(Self.dave, newRDN: "uid=david", deletesOldRDN: true))
        #expect(try await connection.entry(named: Self.dave) == nil)
        let renamed = "uid=david,\(Self.people)"
        #expect(try await connection.entry(named: renamed, attributes: ["uid"])?.attributes == [LDAPAttribute("uid", "david")])
        try await connection.delete(renamed)
        #expect(try await connection.entry(named: renamed) == nil)
    }

    @Test("a search brings what its filter says, and what else is said of it")
    func search() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let connection = try await bound(slapd.plain, as: try Self.service())
        let request = SearchRequest(Self.people, .singleLevel, .equality("xmppEnabled", Array("TRUE".utf8)), attributes: ["uid"])
        let found = try await connection.entries(of: request, max: 10)
        #expect(Set(found.map(\.name)) == ["uid=alice,\(Self.people)", "uid=bob,\(Self.people)", "uid=carol,\(Self.people)"])
        let odd = SearchRequest(Self.people, .singleLevel, .equality("cn", Array("Carol (Ops) *Chief*".utf8)), attributes: ["uid"])
        #expect(try await connection.entries(of: odd, max: 10).map(\.name) == ["uid=carol,\(Self.people)"])
        let nowhere = SearchRequest("ou=nobody,dc=example,dc=org", .singleLevel, .present("uid"))
        do {
            _ = try await connection.entries(of: nowhere, max: 10)
            Issue.record("there is such an entry")
        } catch {
            guard case .refused(let result) = error, result.code == .noSuchObject else { throw error }
            #expect(result.matchedDN == "dc=example,dc=org")
        }
    }

    @Test("two thousand entries come page by page, also where only five hundred are given at once (RFC 2696)")
    func pages() async throws {
        let slapd = try Slapd { $0.sizeLimit = 500 }
        defer { withExtendedLifetime(slapd) {} }
        slapd.stop()
        try slapd.load(
            (0..<2_000).map { "dn: uid=m\($0),\(Self.people)\nobjectClass: inetOrgPerson\nuid: m\($0)\ncn: M \($0)\nsn: M\n" }.joined(separator: "\n"))
        try slapd.start()
        let connection = try await bound(slapd.plain, as: try Self.service())
        let request = SearchRequest(Self.people, .singleLevel, .equality("sn", Array("M".utf8)), attributes: ["uid"])
        var names: Set<String> = []
        for try await entry in connection.pages(of: request) { names.insert(entry.name) }
        #expect(names.count == 2_000)
        await #expect(throws: DirectoryFailure.refused(LDAPResult(.sizeLimitExceeded))) { try await connection.entries(of: request, max: 5_000) }
    }

    @Test("the server says what it can do (RFC 4512 §5.1)")
    func root() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let root = try await TestDirectory.dial().open(slapd.plain).rootDSE()
        #expect(root.namingContexts == ["dc=example,dc=org"] && !root.isActiveDirectory)
        #expect(root.controls.isSuperset(of: [LDAPControlType.syncRequest, LDAPControlType.pagedResults, LDAPControlType.postRead]))
        #expect(root.extensions.isSuperset(of: [LDAPExtension.whoAmI, LDAPExtension.passwordModify]))
        #expect(root.mechanisms.isSuperset(of: ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"]))
    }

    @Test("a search that waits for changes is told of them (RFC 4533 §3.4)")
    func persist() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let connection = try await bound(slapd.plain, as: try Self.service())
        let sync = SyncRequestControl(.refreshAndPersist).control(isCritical: true)
        let request = SearchRequest(Self.people, .singleLevel, .present("uid"), attributes: ["uid"])
        var search = try await connection.search(request, controls: [sync], isPersistent: true).makeAsyncIterator()
        var names: [String] = []
        while names.count < 3 { if case .entry(let entry, _)? = try await search.next() { names.append(entry.name) } }
        try slapd.modify("dn: \(Self.dave)\nobjectClass: inetOrgPerson\nuid: dave\ncn: Dave\nsn: Dunn\n")
        while names.count < 4 { if case .entry(let entry, _)? = try await search.next() { names.append(entry.name) } }
        #expect(names.last == Self.dave)
    }

    // MARK: Who we are

    @Test("the directory knows by whom it is asked (RFC 4532), and a password is changed by whom it is (RFC 3062)")
    func passwords() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        try slapd.setPassword("alicepw", of: Self.alice)
        let connection = try await bound(slapd.plain, as: .simple(name: Self.alice, try Self.password("alicepw")))
        #expect(try await connection.whoAmI() == "dn:\(Self.alice)")
        let (old, new) = (Array("alicepw".utf8), Array("tybalt".utf8))
        let made = try await connection.changePassword(PasswordModifyRequest(oldPassword: old, newPassword: new))
        #expect(made == nil)
        let answers = [
            try await connection.bind(as: .simple(name: Self.alice, try Self.password("alicepw"))),
            try await connection.bind(as: .simple(name: Self.alice, try Self.password("tybalt"))),
        ]
        #expect(answers.map(\.result.code) == [.invalidCredentials, .success])
        let service = try await bound(slapd.plain, as: try Self.service())
        let generated = try #require(try await service.changePassword(PasswordModifyRequest(identity: Self.alice)))
        let answer = try await connection.bind(as: .simple(name: Self.alice, try Self.password(String(decoding: generated, as: UTF8.self))))
        #expect(answer.result.code == .success)
    }

    @Test("nobody in particular may ask little (RFC 4513 §5.1.1)")
    func anonymous() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let connection = try await bound(slapd.plain, as: .anonymous)
        #expect(try await connection.whoAmI() == "")
        await #expect(throws: DirectoryFailure.refused(LDAPResult(.insufficientAccessRights))) { try await connection.entry(named: Self.alice) }
    }

    @Test("keys of RFC 5803 serve for SCRAM, and both sides prove that they know them", arguments: ScramHash.allCases)
    func scram(_ hash: ScramHash) async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let keys = try ScramKeys.derive(password: try Self.password("bobpw"), salt: Array(1...16), iterations: 4_096, hash: hash)
        try slapd.modify("dn: \(Self.bob)\nchangetype: modify\nadd: authPassword\nauthPassword: \(keys.text)\n")
        let connection = try await TestDirectory.dial().open(slapd.plain)
        let wrong = try await connection.bind(as: .scram(hash, username: "bob", try Self.password("wrong")))
        #expect(wrong.result.code == .invalidCredentials)
        let right = try await connection.bind(as: .scram(hash, username: "bob", try Self.password("bobpw")))
        #expect(right.result.code == .success)
        #expect(try await connection.whoAmI() == "dn:\(Self.bob)")
    }

    @Test("on the machine's own socket the system says who we are (SASL EXTERNAL)")
    func external() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let connection = try await bound(slapd.local, as: .external)
        #expect(try await connection.whoAmI() == "dn:\(Slapd.service)")
    }

    @Test("a socket that nobody listens at cannot be reached")
    func noSocket() async throws {
        do {
            _ = try await TestDirectory.dial().open(.local(path: "/nowhere/ldapi"))
            Issue.record("somebody listens")
        } catch {
            guard case .unreachable = error else { throw error }
        }
    }

    // MARK: TLS

    @Test("TLS protects a connection from its start, or by StartTLS, and SASL PLAIN with it")
    func tls() async throws {
        let slapd = try Slapd { $0.hasTLS = true }
        defer { withExtendedLifetime(slapd) {} }
        try slapd.modify("dn: \(Self.bob)\nchangetype: modify\nadd: userPassword\nuserPassword: bobpw\n")
        let dial = TestDirectory.dial(startTLS: .required, tls: Self.trusting(slapd))
        for address in [slapd.secure, slapd.plain, .secure(host: "127.0.0.1", port: slapd.securePort)] {
            let connection = try await bound(address, as: .plain(username: "bob", try Self.password("bobpw")), dial)
            #expect(try await connection.whoAmI() == "dn:\(Self.bob)")
        }
    }

    @Test("a client's certificate says who we are (RFC 4513 §5.2.3)")
    func clientCertificate() async throws {
        let slapd = try Slapd { ($0.hasTLS, $0.knowsClients) = (true, true) }
        defer { withExtendedLifetime(slapd) {} }
        let dial = TestDirectory.dial(startTLS: .required, tls: Self.trusting(slapd, asClient: true))
        for address in [slapd.secure, slapd.plain] {
            let connection = try await bound(address, as: .external, dial)
            #expect(try await connection.whoAmI() == "dn:\(Slapd.service)")
        }
    }

    @Test("a server for which nobody vouches is not talked to")
    func untrusted() async throws {
        let slapd = try Slapd { $0.hasTLS = true }
        defer { withExtendedLifetime(slapd) {} }
        let dial = TestDirectory.dial(startTLS: .required, tls: Self.trusting(slapd, "other.pem"))
        for address in [slapd.secure, slapd.plain] {
            await #expect(throws: DirectoryFailure.insecure("its certificate is not trusted, or has expired")) { _ = try await dial.open(address) }
        }
    }

    @Test("nor is one whose certificate is for another name")
    func anotherName() async throws {
        let slapd = try Slapd { ($0.hasTLS, $0.certificateName) = (true, "elsewhere.example") }
        defer { withExtendedLifetime(slapd) {} }
        let dial = TestDirectory.dial(startTLS: .required, tls: Self.trusting(slapd))
        for address in [slapd.secure, slapd.plain, .secure(host: "127.0.0.1", port: slapd.securePort)] {
            do {
                _ = try await dial.open(address)
                Issue.record("\(address) was believed")
            } catch {
                guard case .insecure = error else { throw error }
            }
        }
    }

    @Test("authorities that cannot be read are no reason to believe anybody")
    func noAuthorities() async throws {
        let slapd = try Slapd { $0.hasTLS = true }
        defer { withExtendedLifetime(slapd) {} }
        do {
            _ = try await TestDirectory.dial(tls: Self.trusting(slapd, "missing.pem")).open(slapd.secure)
            Issue.record("it was believed")
        } catch {
            guard case .insecure = error else { throw error }
        }
    }

    // MARK: Passwords of others

    private static func servers(
        _ slapd: Slapd, _ address: DirectoryAddress? = nil, _ time: any TimeSource = ManualTime(), _ change: (inout LDAPConnection.Settings) -> Void = { _ in }
    ) -> DirectoryServers {
        DirectoryServers([address ?? slapd.plain], TestDirectory.dial(change), time: time, random: SeededRandom(seed: 1), log: TestDirectory.log)
    }

    private static func pool(_ servers: DirectoryServers) -> BindPool { BindPool(servers, timers: MultiThreadedEventLoopGroup.singleton.any()) }

    @Test("a bind says whether a password is right, and what the policy has to say of it")
    func policy() async throws {
        let slapd = try Slapd { $0.hasPolicy = true }
        defer { withExtendedLifetime(slapd) {} }
        let pool = Self.pool(Self.servers(slapd))
        let (right, wrong) = (try Self.password("alicepw"), try Self.password("wrong"))
        // He has no password, and she is nobody.
        #expect(await pool.verify(right, of: Self.bob) == .invalidCredentials)
        #expect(await pool.verify(right, of: "uid=nobody,\(Self.people)") == .invalidCredentials)
        try slapd.setPassword("alicepw", of: Self.alice)
        #expect(await pool.verify(right, of: Self.alice) == .accepted(.init()))
        for (policy, expected) in [("expired", BindVerdict.expired), ("changing", .mustChange)] {
            try slapd.setPassword("alicepw", of: Self.alice)
            try slapd.modify(
                "dn: \(Self.alice)\nchangetype: modify\nreplace: pwdPolicySubentry\npwdPolicySubentry: cn=\(policy),ou=policies,dc=example,dc=org\n")
            if policy == "changing" { try slapd.setPassword("alicepw", of: Self.alice) }
            // A password that is good for a second has expired in the one after the next.
            if policy == "expired" { try await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(2_100)) {}.futureResult.get() }
            #expect(await pool.verify(right, of: Self.alice) == expected, "\(policy)")
        }
        try slapd.modify(
            "dn: \(Self.alice)\nchangetype: modify\nreplace: pwdPolicySubentry\npwdPolicySubentry: cn=expiring,ou=policies,dc=example,dc=org\n-\ndelete: pwdReset\n")
        // By then a second of the hour has gone.
        try await MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: .milliseconds(1_100)) {}.futureResult.get()
        guard case .accepted(let advice) = await pool.verify(right, of: Self.alice), let seconds = advice.expiresIn else {
            Issue.record("nothing is said of the end")
            return
        }
        #expect((3_000..<3_600).contains(seconds))
        try slapd.modify("dn: \(Self.alice)\nchangetype: modify\ndelete: pwdPolicySubentry\n")
        for _ in 0..<3 { #expect(await pool.verify(wrong, of: Self.alice) == .invalidCredentials) }
        #expect(await pool.verify(right, of: Self.alice) == .locked)
    }

    @Test("passwords are verified at the same time, each for whose it is")
    func manyPasswords() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        try slapd.setPassword("alicepw", of: Self.alice)
        let pool = Self.pool(Self.servers(slapd))
        let (right, wrong) = (try Self.password("alicepw"), try Self.password("wrong"))
        let verdicts = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<40 {
                group.addTask {
                    let isRight = number.isMultiple(of: 2)
                    return await pool.verify(isRight ? right : wrong, of: Self.alice) == (isRight ? .accepted(.init()) : .invalidCredentials)
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(verdicts == Array(repeating: true, count: 40))
    }

    // MARK: When it is not well

    @Test("a server that hangs costs its own timers' time and no more, and is left alone after three of them")
    func hangs() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let time = ManualTime()
        let servers = Self.servers(slapd, nil, time) { $0.operationTimeout = .seconds(1) }
        let pool = Self.pool(servers)
        try slapd.setPassword("alicepw", of: Self.alice)
        let right = try Self.password("alicepw")
        #expect(await pool.verify(right, of: Self.alice) == .accepted(.init()))
        slapd.kill(SIGSTOP)
        for _ in 0..<3 { #expect(await pool.verify(right, of: Self.alice) == .unavailable(.timedOut(.seconds(1)))) }
        #expect(await pool.verify(right, of: Self.alice) == .unavailable(.resting))
        slapd.kill(SIGCONT)
        #expect(await pool.verify(right, of: Self.alice) == .unavailable(.resting))
        time.advance(by: 10_000_000_000)
        #expect(await pool.verify(right, of: Self.alice) == .accepted(.init()))
    }

    @Test("a TLS handshake that does not go on is given up in time")
    func hangingHandshake() async throws {
        let slapd = try Slapd { $0.hasTLS = true }
        defer { withExtendedLifetime(slapd) {} }
        slapd.kill(SIGSTOP)
        let dial = TestDirectory.dial(startTLS: .required, tls: Self.trusting(slapd)) { $0.connectTimeout = .milliseconds(300) }
        for address in [slapd.secure, slapd.plain] {
            await #expect(throws: DirectoryFailure.timedOut(.milliseconds(300))) { _ = try await dial.open(address) }
        }
        slapd.kill(SIGCONT)
    }

    @Test("a server that hangs is found out although nothing is asked of it")
    func quiet() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let dial = TestDirectory.dial { ($0.pingInterval, $0.operationTimeout) = (.milliseconds(100), .seconds(1)) }
        let connection = try await bound(slapd.plain, as: try Self.service(), dial)
        let sync = SyncRequestControl(.refreshAndPersist).control(isCritical: true)
        let search = try await connection.search(SearchRequest(Self.people, .singleLevel, .present("uid")), controls: [sync], isPersistent: true)
        slapd.kill(SIGSTOP)
        await #expect(throws: DirectoryFailure.timedOut(.seconds(1))) { for try await _ in search {} }
        slapd.kill(SIGCONT)
    }

    @Test("a server that was killed is asked again when it is back")
    func restarted() async throws {
        let slapd = try Slapd()
        defer { withExtendedLifetime(slapd) {} }
        let time = ManualTime()
        var settings = DirectoryClient.Settings()
        settings.identity = try Self.service()
        let client = DirectoryClient(Self.servers(slapd, nil, time), settings, log: TestDirectory.log)
        let connection = try await client.service().connection
        let sync = SyncRequestControl(.refreshAndPersist).control(isCritical: true)
        let search = try await connection.search(SearchRequest(Self.people, .singleLevel, .present("uid")), controls: [sync], isPersistent: true)
        slapd.kill(SIGKILL)
        await #expect(throws: DirectoryFailure.disconnected(nil)) { for try await _ in search {} }
        do {
            _ = try await client.service()
            Issue.record("nobody is there")
        } catch {
            guard case .unreachable = error else { throw error }
        }
        try slapd.start()
        time.advance(by: 1_000_000_000)
        #expect(try await client.service().connection.whoAmI() == "dn:\(Slapd.service)")
    }
}
