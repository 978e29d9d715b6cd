import Testing

import martlet

@Suite("whether rosters are in a directory as well")
struct DirectoryRosterTests {
    private func text(_ rosters: String) -> String {
        """
        domains: [{name: example.org}]
        directories: [{domain: example.org, servers: [ldaps://ldap.example.org], people: {base: "ou=people,dc=example,dc=org"}, rosters: \(rosters)}]

        """
    }

    private func path(_ text: String) -> [String] { problems(text).filter { $0.severity == .error }.map(\.path) }

    @Test("they are not, unless that is wanted")
    func unwanted() throws {
        let rosters = try #require(try load(text("{}")).configuration.directories.first?.rosters)
        #expect(rosters.store == .local && rosters.base == nil)
    }

    @Test("it is said where they are")
    func base() throws {
        #expect(path(text("{store: directory}")) == ["directories[0].rosters.base"])
        #expect(path(text("{store: directory, base: \"no name\"}")) == ["directories[0].rosters.base"])
        #expect(path(text("{store: elsewhere}")) == ["directories[0].rosters.store"])
        let rosters = try load(text("{store: directory, base: \"ou=rosters,dc=example,dc=org\"}")).configuration.directories.first?.rosters
        #expect(rosters?.store == .directory && rosters?.base == "ou=rosters,dc=example,dc=org")
        let unused = try load(text("{base: \"ou=rosters,dc=example,dc=org\"}")).warnings
        #expect(unused.contains { $0.path == "directories[0].rosters.base" })
    }
}
