import MartletXMPP
import Testing

@Suite("SASL names")
struct SASLMechanismTests {
    @Test("mechanisms stand in the order of their strength, all with channel binding above all without, a certificate above all")
    func order() {
        #expect(SASLMechanism.allCases.sorted() == SASLMechanism.allCases)
        #expect(
            SASLMechanism.allCases.map(\.name) == [
                "PLAIN", "OAUTHBEARER", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "HT-SHA-256-NONE", "GSSAPI", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS",
                "SCRAM-SHA-512-PLUS", "HT-SHA-256-ENDP", "HT-SHA-256-EXPR", "EXTERNAL",
            ])
    }

    @Test("a mechanism is known by its exact name and no other (RFC 4422 §3.1)")
    func names() {
        for mechanism in SASLMechanism.allCases { #expect(SASLMechanism(name: mechanism.name) == mechanism) }
        for name in ["", "plain", "SCRAM-SHA-256-PLUS ", "SCRAM-SHA-2", "DIGEST-MD5", "external"] {
            #expect(SASLMechanism(name: name) == nil)
        }
        #expect(SASLMechanism.allCases.filter(\.bindsChannel).count == 5)
    }

    @Test("every condition of RFC 6120 §6.5 has its element name")
    func conditions() {
        #expect(
            SASLFailure.Condition.allCases.map(\.rawValue) == [
                "aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding",
                "invalid-authzid", "invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized",
                "temporary-auth-failure",
            ])
    }

    @Test("channel bindings have their registered names (RFC 5929 §4.2, RFC 9266 §3)")
    func bindings() {
        #expect(ChannelBinding.Kind.allCases.map(\.name) == ["tls-server-end-point", "tls-exporter"])
    }
}

@Suite("identities")
struct SASLIdentityTests {
    private func account(_ username: String, _ authzid: String?) throws(SASLFailure) -> String {
        try SASLIdentity(username: username, authzid: authzid, domain: Verona.domain).account.description
    }

    @Test("without authorization identity the account is the user name at the stream's domain (RFC 6120 §6.3.7)")
    func plain() throws {
        #expect(try account("juliet", nil) == "juliet@verona.example")
        #expect(try account("Juliet", nil) == "juliet@verona.example")
    }

    @Test(
        "an authorization identity that is the account itself is accepted after preparation (RFC 6120 §6.3.8)",
        arguments: ["juliet@verona.example", "JULIET@Verona.Example"])
    func same(authzid: String) throws {
        #expect(try account("juliet", authzid) == "juliet@verona.example")
    }

    @Test(
        "an authorization identity that is anything else is invalid-authzid (RFC 6120 §6.5.6)",
        arguments: [
            "admin@verona.example", "admin", "juliet", "juliet@mantua.example", "verona.example",
            "juliet@verona.example/balcony",
            "juliet@", "@verona.example", "", "juliet@verona.example@", "juliet@verona.example.evil",
        ])
    func other(authzid: String) {
        let failure = #expect(throws: SASLFailure.self) { try account("juliet", authzid) }
        #expect(failure?.condition == .invalidAuthzid)
    }

    @Test(
        "a user name that cannot be a localpart is answered as a wrong password",
        arguments: ["", "juliet@verona.example", "ju liet", "a/b", "\u{7F}", String(repeating: "a", count: 1024)])
    func impossible(username: String) {
        #expect(throws: SASLFailure.notAuthorized) { try account(username, nil) }
    }

    @Test("names are compared as prepared, outside ASCII too (RFC 8265 §3.3)")
    func unicode() throws {
        #expect(try account("ZO\u{CB}", "zoe\u{308}@verona.example") == "zo\u{EB}@verona.example")
        let failure = #expect(throws: SASLFailure.self) { try account("zo\u{EB}", "zoe@verona.example") }
        #expect(failure?.condition == .invalidAuthzid)
    }

    @Test("a user name of the longest localpart is possible (RFC 7622 §3.3)")
    func longest() throws {
        let name = String(repeating: "a", count: BareJID.partBytesMax)
        #expect(try account(name, "\(name)@verona.example") == "\(name)@verona.example")
    }
}
