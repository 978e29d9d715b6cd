import MartletDirectory
import MartletLDAP
import MartletXMPP
import Testing

@Suite("What a trial of a directory says of its people")
struct PeopleExaminationTests {
    private func examined(_ entries: [LDAPEntry]) throws -> PeopleExamination {
        var examination = PeopleExamination(try AddressRule(parsing: "xmppAddress | mail"), in: jid("alice").domain, identifier: "entryUUID")
        for entry in entries { examination.add(entry) }
        return examination
    }

    private func entry(_ name: String, _ address: String?, password: String? = nil) -> LDAPEntry {
        let others = [LDAPAttribute("entryUUID", "6f1d2a54-8c0e-4b7a-9d35-3e5f0b6a7c21")] + (password.map { [LDAPAttribute("userPassword", $0)] } ?? [])
        return LDAPEntry("uid=\(name),ou=people", others + (address.map { [LDAPAttribute("xmppAddress", $0)] } ?? []))
    }

    @Test("who has an account, and who has none, and why")
    func addresses() throws {
        let found = try examined([
            entry("alice", "alice@example.org"), entry("bob", "bob@example.net"), entry("carol", nil), entry("dave", "d ave@example.org"),
            entry("eve", "eve@example.org"), entry("eva", "eve@example.org"), LDAPEntry("uid=frank,ou=people", [LDAPAttribute("xmppAddress", "frank@example.org")]),
        ])
        #expect(found.count == 7 && found.usable == 2)
        #expect(found.problems.mapValues(\.names) == [
            .otherDomain: ["uid=bob,ou=people"], .noAddress: ["uid=carol,ou=people"], .invalidAddress: ["uid=dave,ou=people"],
            .sharedAddress: ["uid=eva,ou=people"], .noUUID: ["uid=frank,ou=people"],
        ])
    }

    @Test("so many names are shown", arguments: [(5, 5), (6, 5)])
    func names(count: Int, shown: Int) throws {
        let problem = try examined((0..<count).map { entry("p\($0)", nil) }).problems[.noAddress]
        #expect(problem?.count == count && problem?.names.count == shown)
    }

    @Test("of passwords nothing is told but how they are hashed")
    func passwords() throws {
        let found = try examined([
            entry("a", nil, password: "{SSHA}abc"), entry("b", nil, password: "{ssha}abc"), entry("c", nil, password: "secret"), entry("d", nil, password: "{secret"),
            entry("e", nil, password: "{}x"), entry("f", nil),
            entry("g", nil, password: "{PBKDF2-SHA256}10000$gkmjHpA4rlbDovdFynKPiA$" + String(repeating: "A", count: 43)),
        ])
        #expect(found.schemes == ["SSHA": 2, "": 3, "PBKDF2-SHA256": 1])
        #expect(found.scram == 1 && found.withoutPassword == 1)
    }
}
