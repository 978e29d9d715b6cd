import Testing

import martlet

@Suite("groups of a directory in the configuration")
struct DirectoryGroupTests {
    private static func text(_ lines: String...) -> String {
        let directory = """
            domains:
              - name: example.org
            directories:
              - domain: example.org
                servers: [ldaps://ldap.example.org]
                people: {base: "ou=people,dc=example,dc=org"}

            """
        return directory + lines.map { "    \($0)\n" }.joined()
    }

    private func faults(_ lines: String) -> [String] { problems(Self.text(lines)).map { "\($0.path): \($0.message)" } }

    private static let base = "base: \"ou=groups,dc=example,dc=org\""

    @Test("there are none unless it is said where they are, and then all kinds of groups")
    func standard() throws {
        let without = try load(Self.text()).configuration
        #expect(without.directories[0].groups.base == nil && without.directories[0].allowGroup == nil && !without.hasSharedGroups)
        let with = try load(Self.text("groups: {\(Self.base)}")).configuration
        #expect(with.hasSharedGroups && with.directories[0].groups.share == .none && with.directories[0].groups.shared.isEmpty)
        for name in ["groupOfNames", "groupOfUniqueNames", "groupOfURLs", "posixGroup"] { #expect(with.directories[0].groups.filter.contains("(objectClass=\(name))")) }
    }

    @Test("each may be said to be in rosters")
    func shared() throws {
        let shared = "shared: [{name: \"cn=watch,ou=groups,dc=example,dc=org\", title: Watch, share: groups, visible-to: [\"cn=staff,OU=groups,dc=example,dc=org\"]}]"
        let allowed = "allow-group: \"cn=xmpp,ou=groups,dc=example,dc=org\""
        let loaded = try load(Self.text("groups: {\(Self.base), share: members, \(shared)}", allowed))
        let directory = loaded.configuration.directories[0]
        #expect(directory.allowGroup == "cn=xmpp,ou=groups,dc=example,dc=org" && directory.groups.share == .members)
        #expect(directory.groups.shared.map(\.title) == ["Watch"] && directory.groups.shared[0].share == .groups)
        #expect(directory.groups.shared[0].visibleTo == ["cn=staff,OU=groups,dc=example,dc=org"])
        #expect(!loaded.warnings.contains { $0.path.contains("groups") })
    }

    private static func entry(_ text: String) -> String { "groups: {\(base), shared: [{\(text)}]}" }
    private static let watch = "name: \"cn=watch,ou=groups,dc=example,dc=org\""

    private static let mistakes: [(lines: String, path: String)] = [
        ("allow-group: \"cn=xmpp,ou=groups,dc=example,dc=org\"", ".allow-group"),
        ("groups: {share: all}", ".groups.share"),
        ("groups: {shared: [{\(watch)}]}", ".groups.shared"),
        ("groups: {\(base)}\n    allow-group: \"cn=xmpp,ou=elsewhere,dc=example,dc=org\"", ".allow-group"),
        ("groups: {\(base)}\n    allow-group: xmpp", ".allow-group"),
        ("groups: {base: groups}", ".groups.base"),
        ("groups: {\(base), filter: cn}", ".groups.filter"),
        ("groups: {\(base), share: groups}", ".groups.share"),
        (entry("name: \"cn=watch,ou=elsewhere\""), ".groups.shared[0].name"),
        (entry("title: Watch"), ".groups.shared[0]"),
        (entry("\(watch), share: groups"), ".groups.shared[0]"),
        (entry("\(watch), share: groups, visible-to: [\"cn=staff\"]"), ".groups.shared[0].visible-to[0]"),
        (entry("\(watch), share: groups, visible-to: []"), ".groups.shared[0].visible-to"),
        (entry("\(watch), title: \"\""), ".groups.shared[0].title"),
        ("groups: {\(base)}\n    rooms: [{room: watch@conference.example.org}]", ".rooms[0]"),
        ("groups: {\(base)}\n    rooms: [{room: watch@example.org, members: \"cn=a,ou=groups,dc=example,dc=org\"}]", ".rooms[0].room"),
        ("groups: {\(base)}\n    rooms: [{room: watch@conference.example.org, members: \"cn=a,ou=elsewhere\"}]", ".rooms[0].members"),
        ("rooms: [{room: watch@conference.example.org, members: \"cn=a,ou=groups,dc=example,dc=org\"}]", ".rooms"),
        (entry("\(watch)}, {name: \"CN=Watch, ou=groups,dc=example,dc=org\""), ".groups.shared[1].name"),
    ]

    @Test("what cannot be meant is refused, where it stands", arguments: mistakes)
    func refused(lines: String, path: String) {
        #expect(faults(lines).contains { $0.hasPrefix("directories[0]\(path): ") }, "\(faults(lines))")
    }

    @Test("its members may be admins, if a directory has it")
    func admins() throws {
        let group = "\"cn=admins,ou=groups,dc=example,dc=org\""
        let text = Self.text("groups: {\(Self.base)}").replacing("  - name: example.org\n", with: "  - name: example.org\n    admin-groups: [\(group)]\n", maxReplacements: 1)
        let loaded = try load(text + "access: {admin-groups: [\"cn=chiefs,ou=groups,dc=example,dc=org\"]}\n").configuration
        #expect(loaded.adminGroups(of: "example.org") == ["cn=admins,ou=groups,dc=example,dc=org", "cn=chiefs,ou=groups,dc=example,dc=org"])
        #expect(loaded.adminGroups(of: "example.net") == ["cn=chiefs,ou=groups,dc=example,dc=org"])
        let elsewhere = problems(text.replacing("cn=admins,ou=groups", with: "cn=admins,ou=elsewhere"))
        #expect(elsewhere.map(\.path).contains("domains[0].admin-groups[0]"))
    }

    @Test("a group for all that says for whom it is, is doubtful")
    func doubtful() throws {
        let loaded = try load(Self.text(Self.entry("\(Self.watch), share: all, visible-to: [\"cn=staff,ou=groups,dc=example,dc=org\"]")))
        #expect(loaded.warnings.map(\.path).contains("directories[0].groups.shared[0].visible-to"))
    }
}
