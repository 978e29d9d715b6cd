import MartletCore
import MartletXMPP
import Testing

import martlet

@Suite("shared groups in the configuration")
struct SharedGroupTests {
    private static func text(_ groups: [String]) -> String {
        "domains:\n  - name: example.net\n  - name: example.org\n    shared-groups:\n" + groups.map { "      - {\($0)}\n" }.joined()
    }

    private func faults(_ groups: [String]) -> [String] { problems(Self.text(groups)).map { "\($0.path): \($0.message)" } }

    @Test("they become what rosters are made of")
    func assembled() throws {
        let loaded = try load(
            Self.text([
                "name: Theatre, members: [juliet@example.org, Romeo@example.net]",
                "name: Everybody, members: [all], share: all",
                "name: Helpers, members: [nurse@example.org], share: groups, visible-to: [Theatre, Everybody]",
                "name: Guests, members: [all, romeo@example.net]",
            ]))
        let (domain, juliet, nurse) = (try BareJID(parsing: "example.org"), try BareJID(parsing: "juliet@example.org"), try BareJID(parsing: "nurse@example.org"))
        let romeo = try BareJID(parsing: "romeo@example.net")
        let expected = [
            SharedGroupDefinition("Theatre", at: domain, members: .accounts([juliet, romeo])),
            SharedGroupDefinition("Everybody", at: domain, members: .everybody(), audience: .everybody),
            SharedGroupDefinition("Helpers", at: domain, members: .accounts([nurse]), audience: .groups(["Theatre", "Everybody"])),
            SharedGroupDefinition("Guests", at: domain, members: .everybody(besides: [romeo])),
        ]
        #expect(SharedGroupAssembly(configuration: loaded.configuration).definitions == expected)
        #expect(loaded.warnings.isEmpty)
        #expect(loaded.configuration.hasSharedGroups)
        #expect(!ConfigurationDocuments.example.hasSharedGroups)
    }

    private static let mistakes: [(groups: [String], path: String)] = [
        (["name: A, members: [juliet@example.com]"], "[0].members[0]"),
        (["name: A"], "[0]"),
        (["name: A, members: []"], "[0].members"),
        (["name: A, members: [everybody]"], "[0].members[0]"),
        (["name: A, members: [all], share: none"], "[0].share"),
        (["name: A, members: [all], share: groups"], "[0]"),
        (["name: A, members: [all], share: groups, visible-to: []"], "[0].visible-to"),
        (["name: A, members: [all], share: groups, visible-to: [B]"], "[0].visible-to[0]"),
        (["name: A, members: [all]", "name: A, members: [all]"], "[1].name"),
        (["name: \"\", members: [all]"], "[0].name"),
        (["name: \"a\\tb\", members: [all]"], "[0].name"),
        (["members: [all]"], "[0]"),
    ]

    @Test("what cannot be meant is refused, where it stands", arguments: mistakes)
    func refused(groups: [String], path: String) {
        #expect(faults(groups).contains { $0.hasPrefix("domains[1].shared-groups\(path): ") }, "\(faults(groups))")
    }

    @Test("a name has as many bytes as a client may give one (RFC 6121 §2.3.3)")
    func name() {
        let longest = String(repeating: "a", count: 1_023)
        #expect(faults(["name: \(longest), members: [all]"]).isEmpty)
        #expect(!faults(["name: \(longest)a, members: [all]"]).isEmpty)
    }

    @Test("groups that say for whom they are, and are for others, are doubtful")
    func doubtful() throws {
        let loaded = try load(Self.text(["name: A, members: [all], visible-to: [A]"]))
        #expect(loaded.warnings.map(\.path) == ["domains[1].shared-groups[0].visible-to"])
    }
}
