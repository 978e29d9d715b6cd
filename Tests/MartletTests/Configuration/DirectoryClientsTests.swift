import Testing

import martlet

@Suite("what directory clients find, in the configuration")
struct DirectoryClientsTests {
    private static let own = "domains: [{name: example.org}, {name: example.net}]\nlisteners: [{kind: ldaps, port: 636}]\n"
    private static let behind = own + "directories: [{domain: example.org, servers: ['ldaps://ldap.example.org'], people: {base: 'dc=example,dc=org'}}]\n"

    private func faults(_ text: String) -> [String] { problems(text).map(\.path) }
    private func domains(_ text: String) throws -> [String] { try load(text).configuration.directoryClientDomains }

    @Test("accounts of all domains that are in no directory, unless some are named; and nobody without a port")
    func ownDomains() throws {
        #expect(try domains(Self.own) == ["example.org", "example.net"])
        #expect(try domains(Self.own + "directory-clients: {domains: [example.net]}\n") == ["example.net"])
        #expect(try domains(Self.behind) == ["example.net"])
        #expect(try domains(minimal) == [])
    }

    @Test("a directory that is named stands behind")
    func overlay() throws {
        #expect(try domains(Self.behind + "directory-clients: {directory: example.org, user-domain: EXAMPLE}\n") == ["example.org"])
    }

    private static let mistakes: [(text: String, path: String)] = [
        (own + "directory-clients: {directory: example.org}\n", "directory"),
        (behind + "directory-clients: {directory: example.net}\n", "directory"),
        (behind + "directory-clients: {directory: example.org, domains: [example.net]}\n", "domains"),
        (behind + "directory-clients: {directory: example.org, base: o=Example}\n", "base"),
        (behind + "directory-clients: {directory: example.org, anonymous: true}\n", "anonymous"),
        (behind + "directory-clients: {domains: [example.org]}\n", "domains[0]"),
        (own + "directory-clients: {domains: [example.com]}\n", "domains[0]"),
        (own + "directory-clients: {user-domain: EXAMPLE}\n", "user-domain"),
        (own + "directory-clients: {base: o=Example}\n", "base"),
        (own + "directory-clients: {domains: [example.org], base: 'cn=Example'}\n", "base"),
        (own + "directory-clients: {domains: [example.org], base: nonsense}\n", "base"),
        (own + "directory-clients: {decorations: [mozillaCustom1]}\n", "decorations[0]"),
        (own + "directory-clients: {decorations: [mozillaCustom1=status]}\n", "decorations[0]"),
        (own + "directory-clients: {decorations: ['xmppShow=presenceText']}\n", "decorations[0]"),
        (own + "directory-clients: {decorations: ['userPassword=xmppURI']}\n", "decorations[0]"),
        (own + "directory-clients: {decorations: ['a b=xmppURI']}\n", "decorations[0]"),
    ]

    @Test("what cannot be meant is refused, where it stands", arguments: mistakes)
    func refused(text: String, path: String) { #expect(faults(text).contains("directory-clients.\(path)"), "\(problems(text))") }

    @Test("names of dc, o and ou are good", arguments: ["o=Example", "ou=chat,dc=example,dc=org", "dc=example"])
    func bases(_ base: String) { #expect(faults(Self.own + "directory-clients: {domains: [example.org], base: '\(base)'}\n").isEmpty) }

    @Test("all accounts in directories, and none of these behind: there is nothing to find")
    func nothing() {
        let text = Self.behind.replacing(", {name: example.net}", with: "")
        #expect(faults(text) == ["directory-clients.directory"])
    }

    @Test("no PROXY protocol is spoken there")
    func proxies() { #expect(faults(Self.own.replacing("port: 636", with: "port: 636, proxy-sources: [192.0.2.1]")) == ["listeners[0].proxy-sources"]) }

    @Test("where nobody could connect the operator is told")
    func noPort() throws {
        #expect(try load(minimal + "directory-clients: {connections: 7}\n").warnings.map(\.path) == ["directory-clients"])
        #expect(try load(minimal + "directory-clients: {}\n").warnings.isEmpty)
        #expect(try load(Self.own + "directory-clients: {connections: 7}\n").warnings.isEmpty)
    }

    @Test("rules about log-ins may name these ports")
    func loginRules() {
        #expect(faults(Self.own + "login-rules: [{name: a, listeners: [ldaps, ldaps 636], mechanisms: [SCRAM-SHA-256]}]\n").isEmpty)
        #expect(faults(Self.own + "login-rules: [{name: a, listeners: [ldap]}]\n") == ["login-rules[0].listeners[0]"])
    }
}
