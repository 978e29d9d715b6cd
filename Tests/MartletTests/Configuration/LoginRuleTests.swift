import MartletXMPP
import Testing

import martlet

@Suite("rules about log-ins in the configuration")
struct LoginRuleTests {
    private static let head = """
        domains: [{name: example.org, client-certificates: request}, {name: example.net}]
        client-certificates: {trust-anchors: /ca.pem}
        login-groups: [{name: operators, accounts: [juliet@example.org]}]

        """

    private static func text(_ rules: [String], _ more: String = "") -> String {
        head + more + "login-rules:\n" + rules.map { "  - {\($0)}\n" }.joined()
    }

    private func faults(_ rules: [String], _ more: String = "") -> [String] {
        problems(Self.text(rules, more), readable: ["/ca.pem"]).map { "\($0.path): \($0.message)" }
    }

    private func warnings(_ rules: [String], _ more: String = "") throws -> [String] {
        try load(Self.text(rules, more), readable: ["/ca.pem"]).warnings.map { "\($0.path): \($0.message)" }
    }

    @Test("rules become what connections are held to, numbered in their order")
    func assembled() throws {
        let loaded = try load(
            Self.text([
                "name: a, groups: [operators], strong: true",
                "name: b, domains: [example.net], networks: [10.0.0.0/8, 2001:db8::/32], listeners: [client, client-tls 5223], mechanisms: [PLAIN, tokens]",
                "name: c, accounts: [romeo@example.org], require-channel-binding: true",
            ]), readable: ["/ca.pem"])
        let assembly = LoginRuleAssembly(configuration: loaded.configuration)
        let (juliet, romeo) = (try BareJID(parsing: "juliet@example.org"), try BareJID(parsing: "romeo@example.org"))
        #expect(assembly.groups == LoginGroups(["operators": [juliet]]))
        let rules = assembly.rules
        #expect(rules.map(\.number) == [1, 2, 3])
        #expect(rules[0].isStrong && rules[0].groups == ["operators"] && rules[0].mechanisms == nil)
        #expect(rules[1].domains == ["example.net"] && rules[1].networks.count == 2)
        #expect(rules[1].listeners == [LoginListener(kind: "client"), LoginListener(kind: "client-tls", port: 5_223)])
        #expect(rules[1].mechanisms == [.plain, .hashedToken(.none), .hashedToken(.serverEndPoint), .hashedToken(.exporter)])
        #expect(rules[2].needsChannelBinding && rules[2].accounts == [romeo])
    }

    @Test("every mechanism that a rule may name is one of the server's", arguments: LoginMechanism.allCases)
    func mechanisms(mechanism: LoginMechanism) { #expect(!mechanism.mechanisms.isEmpty) }

    private static let unknown: [(rule: String, path: String)] = [
        ("name: a, domains: [example.com]", "login-rules[0].domains[0]"), ("name: a, accounts: [a@example.com]", "login-rules[0].accounts[0]"),
        ("name: a, groups: [operator]", "login-rules[0].groups[0]"), ("name: a, listeners: [http]", "login-rules[0].listeners[0]"),
        ("name: a, listeners: [client 5333]", "login-rules[0].listeners[0]"), ("name: a, listeners: [server]", "login-rules[0].listeners[0]"),
        ("name: a, networks: [192.0.2.1/24]", "login-rules[0].networks[0]"), ("name: a, mechanisms: [DIGEST-MD5]", "login-rules[0].mechanisms[0]"),
        ("name: a, mechanisms: []", "login-rules[0].mechanisms"),
        ("name: a, accounts: []", "login-rules[0].accounts"), ("name: a, groups: []", "login-rules[0].groups"),
        ("name: a, domains: []", "login-rules[0].domains"), ("name: a, networks: []", "login-rules[0].networks"),
        ("name: a, listeners: []", "login-rules[0].listeners"), ("name: a b", "login-rules[0].name"), ("strong: true", "login-rules[0]"),
    ]

    @Test("whatever names nothing is an error", arguments: unknown)
    func names(rule: String, path: String) {
        let found = faults([rule])
        #expect(found.count == 1 && found.first?.hasPrefix("\(path): ") == true, "\(found)")
    }

    @Test("a name has 64 bytes at most")
    func nameLength() {
        let longest = String(repeating: "a", count: 64)
        #expect(faults(["name: \(longest)"]) == [] && faults(["name: \(longest)a"]).count == 1)
    }

    @Test("there are 100 rules at most")
    func count() {
        // Each about another account, so that none decides before another.
        let rules = (0...100).map { "name: r\($0), accounts: [a\($0)@example.org]" }
        #expect(faults(Array(rules.prefix(100))) == [] && faults(rules).count == 1)
    }

    @Test("names of rules and of groups are there once")
    func twice() {
        #expect(faults(["name: a, strong: true, domains: [example.org]", "name: a"]) == ["login-rules[1].name: a is there twice"])
        let groups = "login-groups: [{name: g, accounts: [a@example.org]}, {name: g, accounts: [b@example.org]}]\n"
        #expect(problems(minimal + groups).map(\.message) == ["g is there twice"])
    }

    private static let shadowed: [[String]] = [
        ["name: a", "name: b, accounts: [juliet@example.org]"],
        ["name: a, domains: [example.org, example.net]", "name: b, networks: [10.0.0.0/8]"],
        ["name: a, networks: [10.0.0.0/8]", "name: b, networks: [10.1.0.0/16, 10.2.0.1]"],
        ["name: a, listeners: [client]", "name: b, listeners: [client 5222]"],
        ["name: a, groups: [operators]", "name: b, accounts: [juliet@example.org], networks: [10.0.0.0/8]"],
        ["name: a, domains: [example.org]", "name: b, groups: [operators]"],
    ]

    @Test("a rule whose cases another one decides before is an error", arguments: shadowed)
    func never(rules: [String]) {
        #expect(faults(rules) == ["login-rules[1].name: the rule b can never match: whatever it is about, a decides before"])
    }

    private static let reached: [[String]] = [
        ["name: a, domains: [example.org]", "name: b, networks: [10.0.0.0/8]"], ["name: a, networks: [10.1.0.0/16]", "name: b, networks: [10.0.0.0/8]"],
        ["name: a, listeners: [client 5222]", "name: b, listeners: [client]"],
        ["name: a, groups: [operators]", "name: b, accounts: [juliet@example.org, romeo@example.org]"],
        ["name: a, accounts: [juliet@example.org], networks: [10.0.0.0/8]", "name: b, accounts: [juliet@example.org]"],
        ["name: a, networks: [10.0.0.0/8]", "name: b, networks: [2001:db8::/32]"],
    ]

    @Test("one that has cases of its own is none", arguments: reached)
    func own(rules: [String]) { #expect(faults(rules) == []) }

    @Test("conditions that contradict each other are an error")
    func contradiction() {
        #expect(faults(["name: a, accounts: [juliet@example.org], domains: [example.net]"]).map { $0.hasPrefix("login-rules[0].domains: ") } == [true])
        #expect(faults(["name: a, accounts: [romeo@example.org], groups: [operators]"]).map { $0.hasPrefix("login-rules[0].groups: ") } == [true])
    }

    @Test("a rule that lets nobody in is doubtful, and so is a mechanism that cannot be used")
    func closed() throws {
        #expect(try warnings(["name: a, domains: [example.org], strong: true"]) == [])
        #expect(try warnings(["name: a, domains: [example.net], strong: true"]) == ["login-rules[0].name: nobody whom the rule a is about can log in"])
        let plus = ["name: a, domains: [example.net], mechanisms: [SCRAM-SHA-256-PLUS]"]
        #expect(
            try warnings(plus) == [
                "login-rules[0].name: nobody whom the rule a is about can log in",
                "login-rules[0].mechanisms[0]: SCRAM-SHA-256-PLUS cannot be used: authentication.channel-binding is false",
            ])
        #expect(try warnings(plus, "authentication: {channel-binding: true}\n") == [])
        #expect(try warnings(["name: a, domains: [example.net], mechanisms: [tokens]"]).map { $0.hasPrefix("login-rules[0].mechanisms: whoever has no token") } == [true])
        let tokens = ["name: a, mechanisms: [PLAIN, tokens]"]
        #expect(try warnings(tokens, "devices: {token-lifetime: 0s}\n") == ["login-rules[0].mechanisms[1]: tokens cannot be used: devices.token-lifetime is 0s"])
    }

    @Test("a group without anybody is doubtful")
    func emptyGroup() throws {
        #expect(try load(minimal + "login-groups: [{name: g}]\n").warnings.map(\.message) == ["nobody is in the group g"])
    }
}
