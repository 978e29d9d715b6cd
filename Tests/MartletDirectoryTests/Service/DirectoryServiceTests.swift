import MartletCore
import MartletDirectory
import MartletXMPP
import NIOCore
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

@Suite("Accounts as OpenLDAP's server says", .serialized, .enabled(if: Slapd.isInstalled, Slapd.isMissing), .timeLimit(.minutes(1)))
struct DirectoryServiceTests {
    private func name(_ person: String) -> String { FollowedDomain.name(person) }

    // MARK: Coming and going

    @Test("whoever is there at the first look has an account, and nobody else")
    func firstLook() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("carol") != nil }
            for person in ["alice", "bob", "carol"] { #expect(domain.account(person)?.isEnabled == true && domain.account(person)?.link?.gone == nil) }
            #expect(domain.account("martlet") == nil && domain.account("nobody") == nil)
            let status = await domain.service.status
            #expect(status.people == 3 && status.refused == 0 && status.heldBack == 0 && status.fault == nil && status.detection == .contentSync)
            #expect(await [domain.scram("alice", "alicepw"), domain.plain("alice", "alicepw")] == [.ok, .ok])
            #expect(await [domain.scram("alice", "wrong"), domain.scram("nobody", "alicepw")] == [.badCredentials, .badCredentials])
            #expect(domain.service.people.profile(of: jid("alice"))?.fullName == "Alice Adams")
        }
    }

    @Test("who is added comes in; who is disabled is out at once, and in again with all that he had")
    func disabled() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            // With his password at once: who is given another one is out.
            let keys = try ScramKeys.derive(password: #require(PreparedPassword("davepw")), salt: Array(1...16), iterations: 4_096, hash: .sha256)
            try slapd.modify(ldif("dave", "authPassword: \(keys.text)"))
            await until { domain.account("dave") != nil }
            await until { await domain.scram("dave", "davepw") == .ok }
            let (id, session) = (domain.account("dave")?.id, await domain.session("dave"))
            #expect(session.state == .goesOn)
            try slapd.modify(replacement("dave", "xmppEnabled", "FALSE"))
            await until { session.state == .ended(.notAuthorized) }
            #expect(await [domain.scram("dave", "davepw"), domain.plain("dave", "davepw")] == [.badCredentials, .badCredentials])
            #expect(domain.account("dave")?.isEnabled == false && domain.account("dave")?.link?.gone != nil)
            #expect(await domain.session("dave").state != .goesOn)
            try slapd.modify(replacement("dave", "xmppEnabled", "TRUE"))
            await until { domain.account("dave")?.isEnabled == true }
            await until { await domain.scram("dave", "davepw") == .ok }
            #expect(domain.account("dave")?.id == id && domain.account("dave")?.link?.gone == nil)
            #expect(await domain.session("dave").state == .goesOn)
        }
    }

    @Test("whose entry is deleted is out at once")
    func deleted() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("bob") != nil }
            let session = await domain.session("bob")
            try slapd.delete(name("bob"))
            await until { session.state == .ended(.notAuthorized) }
            await until { domain.account("bob")?.isEnabled == false }
            #expect(domain.account("alice")?.isEnabled == true)
        }
    }

    @Test("who has another password is out, and whoever else has come in by the old one")
    func password() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("bob") != nil }
            let (alice, bob) = (await domain.session("alice"), await domain.session("bob"))
            try slapd.setPassword("capulet", of: name("alice"))
            await until { alice.state == .ended(.reset) }
            #expect(await [domain.scram("alice", "alicepw"), domain.scram("alice", "capulet")] == [.badCredentials, .ok])
            #expect(await [domain.plain("alice", "alicepw"), domain.plain("alice", "capulet")] == [.badCredentials, .ok])
            await until { domain.audit.changedPasswords == [jid("alice")] }
            #expect(bob.state == .goesOn)
        }
    }

    @Test("wrong passwords lock an account for who comes in, and end nobody's session; an administrator's lock does")
    func locked() async throws {
        let slapd = try Slapd { $0.hasPolicy = true }
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { $0.verifiers = [.bind, .passwordHash] } _: { domain in
            await until { domain.account("alice") != nil }
            let session = await domain.session("alice")
            for _ in 0..<3 { #expect(await domain.plain("alice", "wrong") == .badCredentials) }
            await until { await domain.accounts.standing(of: jid("alice")) == .disabled }
            #expect(await [domain.plain("alice", "alicepw"), domain.scram("alice", "alicepw")] == [.badCredentials, .disabled])
            #expect(session.state == .goesOn)
            try slapd.modify(replacement("alice", "pwdAccountLockedTime", "000001010000Z"))
            await until { session.state == .ended(.notAuthorized) }
        }
    }

    // MARK: Who is who

    @Test("an entry with another name is the same person")
    func renamedEntry() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("alice") != nil }
            let session = await domain.session("alice")
            try slapd.modify("dn: \(name("alice"))\nchangetype: modrdn\nnewrdn: uid=alice.adams\ndeleteoldrdn: 0\n")
            await until { domain.service.people.address(ofEntryNamed: name("alice.adams")) == jid("alice") }
            #expect(domain.service.people.address(ofEntryNamed: name("alice")) == nil)
            #expect(session.state == .goesOn && domain.account("alice")?.isEnabled == true)
        }
    }

    @Test("an entry with another address has another account, and the first one waits")
    func renamedAccount() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("alice") != nil }
            let (entry, session) = (domain.account("alice")?.link?.entry, await domain.session("alice"))
            try slapd.modify(replacement("alice", "xmppAddress", "adams@example.org"))
            await until { domain.account("adams") != nil }
            #expect(session.state == .ended(.notAuthorized))
            #expect(domain.account("adams")?.link == entry.map { DirectoryLink($0) } && domain.account("alice")?.isEnabled == false)
        }
    }

    @Test("another entry at the address of somebody who has left inherits nothing (`directory.md` §1.1)")
    func successor() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("bob") != nil }
            let old = try #require(domain.account("bob"))
            try slapd.delete(name("bob"))
            try slapd.modify(ldif("bob"))
            try slapd.setPassword("bobpw", of: name("bob"))
            await until { domain.account("bob").map { $0.id != old.id } == true }
            await until { await domain.scram("bob", "bobpw") == .ok }
            #expect(domain.account("bob")?.link?.entry != old.link?.entry)
            let kept = try #require(domain.account(at: Router.quarantine(of: jid("bob"), old.id)))
            #expect(kept.id == old.id && !kept.isEnabled && kept.link?.entry == old.link?.entry)
        }
    }

    @Test("an address that two entries have is nobody's, until one of them has another")
    func contested() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd) { domain in
            await until { domain.account("alice") != nil }
            let (id, session) = (domain.account("alice")?.id, await domain.session("alice"))
            try slapd.modify(ldif("alicia"))
            await until { domain.account("alicia") != nil }
            try slapd.modify(replacement("alicia", "xmppAddress", "alice@example.org"))
            await until { session.state == .ended(.notAuthorized) }
            #expect(await domain.scram("alice", "alicepw") == .badCredentials)
            #expect(await domain.service.whyNobody(jid("alice")).contains("several entries"))
            await until { domain.account("alicia")?.isEnabled == false }
            try slapd.delete(name("alicia"))
            await until { domain.account("alice")?.isEnabled == true }
            #expect(domain.account("alice")?.id == id)
            #expect(await domain.scram("alice", "alicepw") == .ok)
        }
    }

    // MARK: Names

    @Test("a name with the characters of filters and names in it is a name: it is found, bound with, and its neighbours are not")
    func characters() async throws {
        let slapd = try Slapd()
        let odd = "cn=Carol \\28Ops\\29 \\2aChief\\2a,\(FollowedDomain.people)"
        try slapd.modify(
            "dn: \(odd)\nobjectClass: inetOrgPerson\nobjectClass: xmppUser\ncn: Carol (Ops) *Chief*\nsn: Clark\nxmppAddress: chief@example.org\nxmppEnabled: TRUE\n")
        for (entry, password) in [(odd, "chiefpw"), (name("carol"), "carolpw")] { try slapd.setPassword(password, of: entry) }
        try await FollowedDomain.with(slapd) { $0.verifiers = [.bind] } _: { domain in
            await until { domain.account("chief") != nil }
            #expect(await [domain.plain("chief", "chiefpw"), domain.plain("chief", "carolpw")] == [.ok, .badCredentials])
            #expect(await [domain.plain("carol", "carolpw"), domain.plain("carol", "chiefpw")] == [.ok, .badCredentials])
            #expect(domain.service.people.address(ofEntryNamed: "CN=carol (ops) \\2AChief\\2A,ou=People,dc=example,dc=org") == jid("chief"))
            for text in ["carol*)(uid=*", "*", "carol)(objectClass=*", "carol\\2a"] {
                #expect(domain.service.people.address(loggingInAs: text) == nil)
                guard let address = try? BareJID(localpart: text, domainpart: "example.org") else { continue }
                let verdict = await domain.accounts.verify(try #require(PreparedPassword("carolpw")), of: address).verdict
                #expect(verdict == .badCredentials, "\(text)")
            }
        }
    }

    // MARK: Other ways to follow

    @Test("OpenLDAP's server knows no persistent search, and says so: nobody is let in for want of it")
    func persistentSearch() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd, { $0.detection = .persistentSearch }, awaiting: nil) { domain in
            await until { await domain.service.status.fault?.contains("result 12") == true }
            #expect(domain.contact == .neverLoaded && domain.account("alice") == nil)
            #expect(await [domain.scram("alice", "alicepw"), domain.plain("nobody", "alicepw")] == [.unavailable, .unavailable])
        }
    }

    @Test("one that is polled is asked every 15 seconds what has changed, and every ten minutes who is still there")
    func polled() async throws {
        let slapd = try Slapd()
        try await FollowedDomain.with(slapd, { $0.detection = .polling(.modifyTimestamp) }) { domain in
            await until { domain.account("bob") != nil }
            let session = await domain.session("bob")
            try slapd.modify(ldif("dave"))
            // The next look may have been agreed upon after the time has gone on.
            await domain.pass(.seconds(15)) { domain.account("dave") != nil }
            #expect(session.state == .goesOn)
            try slapd.delete(name("bob"))
            await domain.pass(.minutes(10)) { session.state != .goesOn }
            #expect(session.state == .ended(.notAuthorized))
        }
    }

    @Test("a service that the directory does not let in says so, and everybody is refused for the time being")
    func wrongPassword() async throws {
        let slapd = try Slapd()
        try slapd.setPassword("alicepw", of: name("alice"))
        try await FollowedDomain.with(slapd, { $0.password = "wrong" }, awaiting: nil) { domain in
            await until { await domain.service.status.fault?.contains("result 49") == true }
            #expect(await [domain.scram("alice", "alicepw"), domain.plain("alice", "alicepw")] == [.unavailable, .unavailable])
            #expect(await domain.scram("nobody", "alicepw") == .unavailable)
            #expect(domain.account("alice") == nil)
        }
    }
}
