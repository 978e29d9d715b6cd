import Foundation
import MartletNetwork
import MartletXMPP
import Testing

@Suite("Whose a client's certificate is (XEP-0178 §3)")
struct AccountMappingTests {
    let verona: BareJID
    let alice: BareJID
    let bob: BareJID

    init() throws {
        verona = try BareJID(parsing: "verona.example")
        alice = try BareJID(parsing: "alice@verona.example")
        bob = try BareJID(parsing: "bob@verona.example")
    }

    static func mapping(_ rules: AccountMapping.Rule...) -> AccountMapping {
        var mapping = AccountMapping()
        mapping.rules = rules
        return mapping
    }

    /// For whom alice's certificate stands where these accounts are.
    func outcome(
        _ mapping: AccountMapping, _ standings: [BareJID: AccountMapping.Standing], _ published: PublishedCertificates = PublishedCertificates()
    ) async throws -> Result<BareJID, MappingFault> {
        let trusted = try await TestPeople.verify("alice")
        let proposals = mapping.proposals(trusted, at: verona, published)
        do throws(MappingFault) {
            return .success(try mapping.account(proposals, of: trusted, published) { standings[$0] ?? .absent })
        } catch {
            return .failure(error)
        }
    }

    func published(_ name: String, as accounts: BareJID...) throws -> PublishedCertificates {
        var published = PublishedCertificates()
        for account in accounts { published.publish(try TestPeople.certificate(name), of: account) }
        return published
    }

    @Test("an XMPP address is that of an account of the stream's domain, and of no other")
    func xmppAddress() async throws {
        let trusted = try await TestPeople.verify("alice")
        let mapping = Self.mapping(.xmppAddress)
        #expect(mapping.proposals(trusted, at: verona, PublishedCertificates()) == [.init(rule: .xmppAddress, accounts: [alice])])
        #expect(mapping.proposals(trusted, at: try BareJID(parsing: "mantua.example"), PublishedCertificates()).isEmpty)
    }

    @Test("an authority that may not speak for a domain cannot do so in an XMPP address", arguments: ["inside", "outside"])
    func constraints(name: String) async throws {
        let trusted = try await TestPeople.verify(name, by: "constrained")
        let domain = try BareJID(parsing: name == "inside" ? "verona.example" : "mantua.example")
        let proposals = Self.mapping(.xmppAddress).proposals(trusted, at: domain, PublishedCertificates())
        #expect(proposals.isEmpty == (name == "outside"))
    }

    @Test("a mailbox counts only if an authority for mailboxes has issued it")
    func mailbox() async throws {
        var mapping = Self.mapping(.mailbox)
        #expect(try await outcome(mapping, [alice: .enabled]) == .failure(.namesNobody))
        mapping.mailAuthorities = [try TestPeople.certificate("constrained")]
        #expect(try await outcome(mapping, [alice: .enabled]) == .failure(.namesNobody))
        for name in ["issuing", "root"] {
            mapping.mailAuthorities = [try TestPeople.certificate(name)]
            #expect(try await outcome(mapping, [alice: .enabled]) == .success(alice))
        }
    }

    @Test("a principal's name is an address")
    func principal() async throws {
        #expect(try await outcome(Self.mapping(.principal), [alice: .enabled]) == .success(alice))
    }

    @Test("a certificate that is published is whose it is published as")
    func exact() async throws {
        let mapping = Self.mapping(.published)
        #expect(try await outcome(mapping, [bob: .enabled]) == .failure(.namesNobody))
        #expect(try await outcome(mapping, [bob: .enabled], published("plain", as: bob)) == .failure(.namesNobody))
        #expect(try await outcome(mapping, [bob: .enabled], published("alice", as: bob)) == .success(bob))
    }

    @Test(
        "a subject counts if it is as it should be",
        arguments: [
            ("CN=*,UID={localpart},O=Verona,DC=verona,DC=example", "alice"), ("cn={localpart}, uid=ALICE, o=verona, dc=verona, dc=example", "alice"),
            ("CN=*,0.9.2342.19200300.100.1.1={localpart},O=Verona,DC=verona,DC=example", "alice"),
            ("CN=*,UID={localpart},O=Mantua,DC=verona,DC=example", nil), ("UID={localpart},O=Verona,DC=verona,DC=example", nil),
            ("CN=*,UID={localpart},O=Verona,DC=example,DC=verona", nil),
        ] as [(String, String?)])
    func subject(template: String, localpart: String?) async throws {
        let outcome = try await outcome(Self.mapping(.subject(SubjectTemplate(template))), [alice: .enabled])
        #expect(outcome == (localpart == nil ? .failure(.namesNobody) : .success(alice)))
    }

    @Test(
        "a template says what is wrong with it",
        arguments: [
            ("CN=Alice", "{localpart} has to be one of the values; it is there 0 times"),
            ("CN=x{localpart}", "'CN=x{localpart}' has something beside {localpart}, which has to be a whole value"),
            ("CN={localpart},OU={localpart}@verona.example", "'OU={localpart}@verona.example' has something beside {localpart}, which has to be a whole value"),
            ("CN={localpart},UID={localpart}", "{localpart} has to be one of the values; it is there 2 times"),
            ("CN={localpart},Verona", "'Verona' is not an attribute with its value, such as O=Verona"),
            ("CN={localpart},O=", "'O=' is not an attribute with its value, such as O=Verona"),
            ("CN={localpart},X=Verona", "'X' is none of CN, UID, O, OU, C, L, ST, DC, emailAddress, and no object identifier"),
        ])
    func templates(text: String, message: String) {
        let fault = #expect(throws: SubjectTemplate.Fault.self) { try SubjectTemplate(text) }
        #expect(fault?.description == message)
    }

    @Test("the first rule that names exactly one enabled account decides")
    func order() async throws {
        let mapping = Self.mapping(.published, .xmppAddress)
        let both = try published("alice", as: alice, bob)
        #expect(try await outcome(mapping, [alice: .enabled, bob: .disabled], both) == .success(alice))
        #expect(try await outcome(mapping, [alice: .disabled, bob: .enabled], both) == .success(bob))
        // Two, so that the next rule decides.
        #expect(try await outcome(mapping, [alice: .enabled, bob: .enabled], both) == .success(alice))
        #expect(try await outcome(Self.mapping(.published), [alice: .enabled, bob: .enabled], both) == .failure(.several(2)))
        #expect(try await outcome(mapping, [bob: .enabled], published("alice", as: bob)) == .success(bob))
        for standing in [AccountMapping.Standing.disabled, .absent] {
            #expect(try await outcome(Self.mapping(.xmppAddress), [alice: standing]) == .failure(.noAccount([alice])))
        }
    }

    @Test("an account that cannot be looked up does not let the next rule decide")
    func unavailable() async throws {
        let published = try published("alice", as: bob)
        #expect(try await outcome(Self.mapping(.published, .xmppAddress), [alice: .enabled, bob: .unavailable], published) == .failure(.unavailable))
    }

    @Test("where a certificate has to be published, it is nobody's once it is taken away")
    func needsPublished() async throws {
        var mapping = Self.mapping(.xmppAddress)
        mapping.needsPublished = true
        #expect(try await outcome(mapping, [alice: .enabled]) == .failure(.unpublished(alice)))
        #expect(try await outcome(mapping, [alice: .enabled], published("alice", as: bob)) == .failure(.unpublished(alice)))
        #expect(try await outcome(mapping, [alice: .enabled], published("alice", as: alice)) == .success(alice))
    }

    @Test("a rule that names more accounts than are looked up names none")
    func several() async throws {
        for count in [AccountMapping.accountsMax, AccountMapping.accountsMax + 1] {
            var published = PublishedCertificates()
            for number in 1...count { published.publish(try TestPeople.certificate("alice"), of: try BareJID(parsing: "user\(number)@verona.example")) }
            let standings = [try BareJID(parsing: "user1@verona.example"): AccountMapping.Standing.enabled]
            let outcome = try await outcome(Self.mapping(.published), standings, published)
            #expect(outcome == (count == AccountMapping.accountsMax ? .success(try BareJID(parsing: "user1@verona.example")) : .failure(.several(count))))
        }
    }
}
