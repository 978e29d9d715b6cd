import MartletCore
import MartletXMPP
import Testing

import martlet

@Suite("who sees presence without XMPP, in the configuration")
struct PresenceSharingTests {
    private static let groups = """
        login-groups:
          - {name: operators, accounts: [escalus@example.org]}
        listeners: [{kind: ldaps, port: 636}]

        """

    private static func text(_ presence: String) -> String {
        """
        domains:
          - name: example.org
            shared-groups:
              - {name: Theatre, members: [juliet@example.org, romeo@example.net]}
              - {name: Everybody, members: [all]}
            presence: \(presence)
          - name: example.net

        """ + groups
    }

    private func rights(_ presence: String) throws -> PresenceRights {
        let configuration = try load(Self.text(presence)).configuration
        return PresenceAssembly(configuration: configuration).rights(of: configuration.domains[0])
    }

    private func visibility(_ text: String) throws -> PresenceWish? {
        let configuration = try load(text).configuration
        return PresenceAssembly(configuration: configuration).visibility(of: configuration.domains[0])
    }

    @Test("rules keep their order; one with several on a side is one for each pair")
    func rules() throws {
        let rights = try rights(
            """
            {default-visibility: organisation, rules: [{viewers: [group operators], level: devices},
            {viewers: ["service CN=Mailhub, DC=example,DC=org", group Theatre], targets: [group Theatre, group Everybody], level: basic}, {viewers: [any], level: none}]}
            """)
        let hub = PresenceRule.Viewers.service("cn=mailhub,dc=example,dc=org")
        #expect(
            rights.rules == [
                PresenceRule(.group("operators"), .devices), PresenceRule(hub, see: .group("Theatre"), .basic), PresenceRule(hub, see: .group("Everybody"), .basic),
                PresenceRule(.group("Theatre"), see: .group("Theatre"), .basic), PresenceRule(.group("Theatre"), see: .group("Everybody"), .basic),
                PresenceRule(.any, .none),
            ])
        #expect(rights.defaultWish == .organisation)
    }

    @Test("groups are those of log-ins, and those in rosters of the domain", arguments: [
        ("escalus@example.org", "operators", true), ("juliet@example.org", "operators", false), ("juliet@example.org", "Theatre", true),
        ("romeo@example.net", "Theatre", true), ("paris@example.org", "Everybody", true), ("romeo@example.net", "Everybody", false),
        ("paris@example.org", "Nobody", false),
    ])
    func groups(_ account: String, _ group: String, _ isIn: Bool) throws {
        #expect(try rights("{}").isMember(try BareJID(parsing: account), group) == isIn)
    }

    private struct Operators: GroupMembership {
        func isMember(_ account: BareJID, of group: GroupName) -> Bool {
            account.localpart == "paris" && group == GroupName(prepared: Array("cn=operators,ou=groups,dc=example,dc=org".utf8))
        }
    }

    @Test("groups of a directory are called by the names of their entries, if they are read")
    func directoryGroups() throws {
        let presence = "{default-visibility: contacts, rules: [{viewers: ['group CN=Operators,ou=groups,dc=example,dc=org'], level: basic}]}"
        let directory = "directories: [{domain: example.org, servers: ['ldaps://a.example'], people: {base: 'ou=people,dc=example,dc=org'}"
        let text = Self.text(presence) + directory + ", groups: {base: 'ou=groups,dc=example,dc=org'}}]\n"
        let configuration = try load(text).configuration
        let rights = PresenceAssembly(configuration: configuration, memberships: Operators()).rights(of: configuration.domains[0])
        let name = "CN=Operators,ou=groups,dc=example,dc=org"
        #expect(rights.rules == [PresenceRule(.group(name), .basic)])
        #expect(rights.isMember(try BareJID(parsing: "paris@example.org"), name))
        #expect(!rights.isMember(try BareJID(parsing: "romeo@example.org"), name))
        #expect(problems(Self.text(presence) + directory + "}]\n").map(\.path) == ["domains[0].presence.rules[0].viewers[0]"])
    }

    @Test("accounts are asked whom they are shown to where anybody could look")
    func visibility() throws {
        let domain = "domains: [{name: example.org, people-page: organisation}]\n"
        #expect(try visibility(minimal) == nil)
        #expect(try visibility(domain) == .contacts)
        #expect(try visibility(minimal + "listeners: [{kind: ldap, port: 389}]\n") == .contacts)
        #expect(try visibility(Self.text("{default-visibility: organisation}")) == .organisation)
    }

    private static let mistakes: [(presence: String, path: String)] = [
        ("{default-visibility: all}", ".default-visibility"),
        ("{rules: [{viewers: [any], level: much}]}", ".rules[0].level"),
        ("{rules: [{viewers: [any]}]}", ".rules[0]"),
        ("{rules: [{level: basic}]}", ".rules[0]"),
        ("{rules: [{viewers: [], level: basic}]}", ".rules[0].viewers"),
        ("{rules: [{viewers: [everybody], level: basic}]}", ".rules[0].viewers[0]"),
        ("{rules: [{viewers: ['group '], level: basic}]}", ".rules[0].viewers[0]"),
        ("{rules: [{viewers: [group operator], level: basic}]}", ".rules[0].viewers[0]"),
        ("{rules: [{viewers: [any], targets: [service cn=a], level: basic}]}", ".rules[0].targets[0]"),
        ("{rules: [{viewers: [any], targets: [group theatre], level: basic}]}", ".rules[0].targets[0]"),
        ("{rules: [{viewers: [any], level: basic}, {viewers: [group operators], level: full}]}", ".rules[1]"),
        ("{rules: [{viewers: [any], level: basic}, {viewers: [any], level: basic}]}", ".rules[1]"),
    ]

    @Test("what cannot be meant is refused, where it stands", arguments: mistakes)
    func refused(presence: String, path: String) {
        let faults = problems(Self.text(presence)).map { "\($0.path): \($0.message)" }
        #expect(faults.contains { $0.hasPrefix("domains[0].presence\(path): ") }, "\(faults)")
    }

    @Test("a group of two kinds is none that could be meant")
    func ambiguous() {
        let text = Self.text("{default-visibility: contacts, rules: [{viewers: [group Theatre], level: basic}]}").replacing("name: operators", with: "name: Theatre")
        #expect(problems(text).map(\.path) == ["domains[0].presence.rules[0].viewers[0]"])
    }

    private func warnings(_ text: String) throws -> [String] { try load(text).warnings.map(\.path) }

    @Test("rules that would do nothing are doubtful")
    func doubtful() throws {
        let rules = "rules: [{viewers: [any], level: basic}]"
        #expect(try warnings(Self.text("{\(rules)}")) == ["domains[0].presence.rules"])
        #expect(try warnings(Self.text("{rules: [{viewers: [any], level: none}]}")) == [])
        for wish in ["none", "contacts", "organisation"] { #expect(try warnings(Self.text("{default-visibility: \(wish), \(rules)}")) == []) }
        let unseen = "domains: [{name: example.org, presence: {default-visibility: organisation, \(rules)}}]\n"
        #expect(try warnings(unseen) == ["domains[0].presence.rules"])
    }
}
