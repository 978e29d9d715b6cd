import MartletLDAP
import Testing

import martlet

@Suite("a directory that says parts of the configuration is reached as the file says")
struct ConfigurationDirectoryTests {
    private func section(_ text: String) -> String { minimal + "configuration-directory: {\(text)}\n" }

    @Test("its servers and the entry that holds it are enough")
    func shortest() throws {
        let text = section("servers: [\"ldapi://%2Frun%2Fldapi\"], base: \"cn=martlet,dc=example,dc=org\", log-in: {mechanism: external}")
        let loaded = try load(text)
        #expect(loaded.warnings.isEmpty)
        #expect(loaded.configuration.configurationDirectory.tree?.description == "cn=martlet,dc=example,dc=org")
        #expect(try load(minimal).configuration.configurationDirectory.tree == nil)
    }

    @Test("half of it is an error, and passwords do not go in the clear")
    func half() {
        #expect(problems(section("base: \"dc=x\"")).map(\.path) == ["configuration-directory.servers"])
        #expect(problems(section("servers: [\"ldaps://ldap.example.org\"]")).map(\.path) == ["configuration-directory.base"])
        let clear = problems(section("servers: [\"ldap://ldap.example.org\"], base: \"dc=x\", start-tls: off"))
        #expect(clear.map(\.path) == ["configuration-directory.servers"])
        #expect(clear.first?.message.contains("in the clear") == true)
    }

    @Test("what has to be known first is read of a file that is of no use by itself")
    func bootstrap() throws {
        let text = "log: {level: nonsense}\nconfiguration-directory: {servers: [\"ldaps://a\"], base: \"dc=x\"}\nserver: {data: /srv}\n"
        let bootstrap = try loader(text).bootstrap(file: file, environment: ["MARTLET_CONFIGURATION_DIRECTORY_NODE": "chat1"])
        #expect(bootstrap.configurationDirectory.tree?.description == "dc=x")
        #expect(bootstrap.configurationDirectory.node == "chat1")
        #expect(bootstrap.server.dataFolder == "/srv")
        let failure = #expect(throws: ConfigurationFailure.self) { try loader("configuration-directory: {servers: [nonsense]}\n").bootstrap(file: file) }
        #expect(failure?.problems.map(\.path) == ["configuration-directory.servers[0]"])
    }
}
