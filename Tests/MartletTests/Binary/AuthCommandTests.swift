import Foundation
import Testing

@Suite("Who may log in how, in the running server", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct AuthCommandTests {
    private let household: Household

    init() throws { household = try Household() }

    private static let rules = """
        login-groups: [{name: staff, accounts: [nurse@capulet.example]}]
        login-rules:
          - {name: lan, groups: [staff], networks: [192.0.2.0/24], mechanisms: [SCRAM-SHA-256]}
          - {name: staff, groups: [staff], strong: true}

        """

    /// With a listener for ``PlainClient``, and the account nurse.
    private func configure(more: String = "") throws {
        try household.configure()
        var text = try String(contentsOfFile: household.file, encoding: .utf8)
        text = text.replacing("    addresses: [127.0.0.1]\n  - kind: client-tls", with: "    addresses: [127.0.0.1]\n    plaintext-authentication: true\n  - kind: client-tls")
        try (text + "\n" + more).write(toFile: household.file, atomically: true, encoding: .utf8)
    }

    private func started() throws -> RunningMartlet {
        let result = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "angelica\n")
        try #require(result.status == 0, "\(result.errors)")
        return try RunningMartlet(household)
    }

    private func explain(_ arguments: String...) throws -> String {
        let result = try household.run(arguments: ["auth", "explain"] + arguments + ["--config", household.file])
        #expect(result.status == 0, "\(result.errors)")
        return result.output
    }

    @Test("auth explain says which rule decides, where it stands, and what each mechanism is good for")
    func explained() throws {
        try configure(more: Self.rules)
        let server = try started()
        let nurse = try explain("nurse@capulet.example")
        #expect(nurse.contains("decided by    rule 2, staff (\(household.file):"))
        #expect(nurse.contains("account       enabled, keys for SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1"))
        #expect(nurse.contains("PLAIN                 too weak  not allowed by rule 2"))
        #expect(try explain("nurse@capulet.example", "--from", "192.0.2.7").contains("SCRAM-SHA-256         yes       allowed by rule 1"))
        let other = try explain("nobody@capulet.example", "--listener", "client-tls")
        #expect(other.contains("what holds for everybody: no rule matches") && other.contains("account       does not exist"))
        #expect(try explain("nurse@capulet.example", "--json").contains("\"decider\":\"staff\""))
        #expect(try household.run("auth", "explain", "nurse@capulet.example", "--listener", "https", "--config", household.file).status == 64)
        #expect(try household.run("auth", "explain", "nurse@montague.example", "--config", household.file).status == 65)
        #expect(try PlainClient(port: household.ports[0]).logIn("nurse", "angelica").contains("<mechanism-too-weak/>"))
        #expect(try PlainClient(port: household.ports[0]).logIn("nurse", "wrong").contains("<mechanism-too-weak/>"))
        #expect(server.stop() == 0)
    }

    @Test("a reload ends the session of an account that may not log in any more as it has done")
    func reload() throws {
        try configure()
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        try configure(more: Self.rules)
        #expect(try household.run("config", "reload", "--config", household.file).status == 0)
        #expect(client.readToEnd().contains("<not-authorized"))
        #expect(server.stop() == 0)
    }
}
