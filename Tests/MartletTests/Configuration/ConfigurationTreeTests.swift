import MartletLDAP
import Testing

import martlet

private let base = "cn=martlet,ou=config,dc=example,dc=org"

/// An entry of the tree, by its name below the base.
private func entry(_ name: String, _ settings: String..., enabled: Bool = true, version: Int? = nil) -> LDAPEntry {
    var attributes = [LDAPAttribute("objectClass", "martletConfigEntry"), LDAPAttribute("martletSetting", strings: settings)]
    if !enabled { attributes.append(LDAPAttribute("martletEnabled", "FALSE")) }
    if let version { attributes.append(LDAPAttribute("martletConfigVersion", "\(version)")) }
    return LDAPEntry(name.isEmpty ? base : "\(name),\(base)", attributes)
}

private func tree(_ entries: [LDAPEntry], node: String? = nil) throws -> ConfigurationTree {
    ConfigurationTree(entries, base: try DistinguishedName(base), node: node)
}

/// What comes of a file with entries over it.
private func laid(
    _ entries: LDAPEntry..., over text: String = minimal, node: String? = nil, environment: [String: String] = [:]
) throws -> LoadedConfiguration {
    try loader(text).load(file: file, environment: environment, tree: try tree(entries, node: node))
}

/// What is wrong with it.
private func faults(_ entries: LDAPEntry..., over text: String = minimal) throws -> [String] {
    let tree = try tree(entries)
    do throws(ConfigurationFailure) {
        _ = try loader(text).load(file: file, environment: [:], tree: tree)
        return []
    } catch {
        return error.problems.map(\.summary)
    }
}

@Suite("what a directory says is laid over the file")
struct ConfigurationTreeTests {
    @Test("a setting of the base is a key by its path, over the file and below the environment")
    func settings() throws {
        let text = minimal + "limits: {offline-messages: 5, roster-items: 7}\n"
        let loaded = try laid(entry("", "limits.offline-messages=500", "archive.default=never"), over: text)
        #expect(loaded.configuration.limits.offlineMessagesMax == 500)
        #expect(loaded.configuration.limits.rosterItemsMax == 7)
        #expect(loaded.configuration.archive.keeps == .never)
        let overridden = try laid(entry("", "limits.offline-messages=500"), over: text, environment: ["MARTLET_LIMITS_OFFLINE_MESSAGES": "9"])
        #expect(overridden.configuration.limits.offlineMessagesMax == 9)
    }

    @Test("an entry of a section's name holds its keys, and a value may have an equals sign in it")
    func sections() throws {
        let loaded = try laid(
            entry(""), entry("cn=pubsub", "service.creation=admins"), entry("cn=service,cn=pubsub", "nodes=77"),
            entry("cn=client-certificates", "subject=CN=*,UID={localpart}"))
        #expect(loaded.configuration.pubsub.service.creation == .admins)
        #expect(loaded.configuration.pubsub.service.nodesMax == 77)
        #expect(loaded.configuration.clientCertificates.subject == "CN=*,UID={localpart}")
    }

    @Test("an item is added, changed whatever the case of its name, or taken away if it is switched off")
    func items() throws {
        let text = "domains: [{name: Example.ORG, people-page: everyone, admins: [a@example.org]}, {name: old.example}]\n"
        let loaded = try laid(
            entry(""), entry("cn=domains"), entry("cn=EXAMPLE.org,cn=domains", "people-page=organisation"),
            entry("cn=new.example.net,cn=domains", "contacts.abuse=mailto:abuse@example.net"), entry("cn=old.example,cn=domains", enabled: false),
            entry("cn=never.example,cn=domains", enabled: false), over: text)
        #expect(loaded.configuration.domains.map(\.name) == ["example.org", "new.example.net"])
        #expect(loaded.configuration.domains.first?.peoplePage == .organisation)
        #expect(loaded.configuration.domains.first?.admins == ["a@example.org"])
        #expect(loaded.configuration.domains.last?.contacts.abuse == ["mailto:abuse@example.net"])
    }

    @Test("the containers of entries need not be there, and a file without domains is enough then")
    func domainsAlone() throws {
        let loaded = try laid(entry(""), entry("cn=example.net,cn=domains"), entry("cn=example.com,cn=peers", "authentication=dialback"), over: "log: {}\n")
        #expect(loaded.configuration.domains.map(\.name) == ["example.net"])
        #expect(loaded.configuration.peers.map(\.domain) == ["example.com"])
        #expect(loaded.configuration.peers.first?.authentication == .dialback)
    }

    @Test("an item has items of its own")
    func nestedItems() throws {
        let loaded = try laid(
            entry(""), entry("cn=example.org,cn=domains"), entry("cn=Theatre,cn=shared-groups,cn=example.org,cn=domains", "members=juliet@example.org"))
        #expect(loaded.configuration.domains.first?.sharedGroups.map(\.name) == ["Theatre"])
    }

    @Test("where the order counts it is that of the numbers before the names, and the file's items do not count")
    func order() throws {
        let text = minimal + "login-rules: [{name: old, mechanisms: [PLAIN]}]\n"
        let loaded = try laid(
            entry(""), entry("cn={20}others,cn=login-rules", "mechanisms=SCRAM-SHA-256"),
            entry("cn={3}operators,cn=login-rules", "accounts=a@example.org", "mechanisms=SCRAM-SHA-512"),
            entry("cn={1}off,cn=login-rules", "mechanisms=PLAIN", enabled: false), over: text)
        #expect(loaded.configuration.loginRules.map(\.name) == ["operators", "others"])
        let untouched = try laid(entry(""), entry("cn=login-rules"), over: text)
        #expect(untouched.configuration.loginRules.map(\.name) == ["old"])
    }

    @Test("a list is written with commas, is put together from several values, and may be empty")
    func lists() throws {
        let text = minimal + "federation: {blocked: [a.example]}\n"
        let several = try laid(entry("", "federation.blocked=d.example, c.example", "federation.blocked=b.example"), over: text)
        #expect(several.configuration.federation.blocked == ["b.example", "d.example", "c.example"])
        let none = try laid(entry("", "federation.blocked="), over: text)
        #expect(none.configuration.federation.blocked == [])
    }

    @Test("what is said of a machine counts over the rest, there and nowhere else")
    func nodes() throws {
        let entries = [
            entry("", "log.level=info", "limits.roster-items=5"), entry("cn=nodes"), entry("cn=chat1,cn=nodes", "log.level=debug"),
            entry("cn=limits,cn=chat1,cn=nodes", "roster-items=6"), entry("cn=chat2,cn=nodes", "log.level=trace", enabled: false),
        ]
        func level(_ node: String?) throws -> (LogLevel, Int) {
            let configuration = try loader(minimal).load(file: file, tree: try tree(entries, node: node)).configuration
            return (configuration.log.level, configuration.limits.rosterItemsMax)
        }
        #expect(try level(nil) == (.info, 5))
        #expect(try level("Chat1") == (.debug, 6))
        #expect(try level("chat2") == (.info, 5))
        #expect(try level("chat3") == (.info, 5))
    }

    @Test("an entry that is switched off says nothing, and neither do those below it")
    func switchedOff() throws {
        #expect(try laid(entry("", "log.level=debug", enabled: false), entry("cn=limits", "roster-items=9")).configuration == load(minimal).configuration)
        let section = try laid(entry("", "log.level=debug"), entry("cn=pubsub", enabled: false), entry("cn=service,cn=pubsub", "nodes=77"))
        #expect(section.configuration.log.level == .debug)
        #expect(section.configuration.pubsub == ServerConfiguration.PubSub())
    }

    @Test("what is wrong is said with the entry and the setting")
    func mistakes() throws {
        #expect(try faults(entry("", "limits.roster-items=many")).first?.hasPrefix("\(base): error: limits.roster-items: expected a whole number") == true)
        let domain = "cn=example.org,cn=domains,\(base)"
        #expect(try faults(entry(""), entry("cn=example.org,cn=domains", "people-page=maybe")).first?.hasPrefix("\(domain): error: domains[0].people-page: expected one of") == true)
        #expect(try faults(entry("", "limits.rooster-items=5")) == ["\(base): error: limits.rooster-items: there is no such key (did you mean roster-items?)"])
        #expect(try faults(entry("", "log.level.x=5")).first?.contains("log.level.x: there is no such key") == true)
        #expect(try faults(entry("", "log.level")) == ["\(base): error: \"log.level\" is no setting (write name=value)"])
        #expect(try faults(entry("", "=5")).count == 1)
        #expect(try faults(entry("", "log.level=info", "log.level=debug")) == ["\(base): error: log.level: is said 2 times (one value holds; take the others out)"])
        #expect(try faults(entry("", "log=info")).first?.contains("log: is a section") == true)
        #expect(try faults(entry("", "peers=example.net")).first?.contains("write an entry below cn=peers") == true)
        #expect(try faults(entry(""), entry("cn=peers", "domain=example.net")).first?.contains("peers.domain: is said in the entries below") == true)
        #expect(try faults(entry(""), entry("cn=level,cn=log", "x=1")).first?.contains("log.level: is a single value") == true)
        #expect(try faults(entry(""), entry("cn=domain")) == ["cn=domain,\(base): error: domain: there is no such key (did you mean domains?)"])
        #expect(try faults(entry(""), entry("cn=example.org,cn=domains", "name=example.com")).first?.contains("domains.name: is the name of the entry") == true)
        #expect(try faults(entry(""), entry("ou=domains")) == ["ou=domains,\(base): error: an entry of the configuration is named by cn alone"])
    }

    @Test("what the whole does not allow is refused as in a file")
    func checks() throws {
        let problems = try faults(entry("", "access.admins=a@elsewhere.example"))
        #expect(problems.first?.hasPrefix("\(base): error: access.admins[0]: this server does not host elsewhere.example") == true)
    }

    @Test("secrets, and what belongs to the machine, are not taken from a directory")
    func refused() throws {
        let settings = [
            "server.data=/tmp", "server.run-as-root=true", "log.destination=/tmp/x", "uploads.folder=/tmp", "configuration-directory.base=dc=x",
            "acme.external-account.key-file=/tmp/x", "kerberos.keytab=/tmp/x", "uploads.s3.secret-key-file=/tmp/x",
        ]
        for setting in settings { #expect(try faults(entry("", setting)).first?.contains("this machine") == true, "\(setting)") }
        #expect(try faults(entry(""), entry("cn=configuration-directory", "base=dc=x")).first?.contains("this machine's own matter") == true)
        #expect(try faults(entry(""), entry("cn=example.org,cn=domains", "key=/tmp/x")).first?.contains("domains.key: names a file with a secret") == true)
        #expect(try faults(entry(""), entry("cn=log-in,cn=example.org,cn=directories", "password-file=/x")).contains { $0.contains("names a file with a secret") })
    }

    @Test("every key for a secret is refused: one whose file is private by what is said of it")
    func secrets() {
        func paths(_ keys: [ConfigurationKey], _ prefix: String) -> [(String, ConfigurationKey)] {
            keys.flatMap { key in
                let path = prefix.isEmpty ? key.name : "\(prefix).\(key.name)"
                return switch key.form {
                case .value, .list: [(path, key)]
                case .section(let inner), .entries(let inner, _): paths(inner, path)
                }
            }
        }
        let words = ["private key", "secret", "password of", "its password", "Keytab"]
        for (path, key) in paths(ConfigurationSchema.keys, "") {
            guard case .value("a path", _) = key.form, words.contains(where: { key.summary.contains($0) }) else { continue }
            #expect(MachineKeys.refusal(of: path) != nil, "\(path)")
        }
    }

    @Test("each value says from which entry it is")
    func origins() throws {
        let loaded = try laid(entry("", "log.level=debug", "access.admins=a@example.org"), entry("cn=example.org,cn=domains", "people-page=everyone"))
        let settings = Dictionary(loaded.settings.map { ($0.path, $0.origin.description) }) { first, _ in first }
        #expect(settings["log.level"] == base)
        #expect(settings["access.admins"] == base)
        #expect(settings["domains[0].people-page"] == "cn=example.org,cn=domains,\(base)")
        #expect(settings["domains[0].name"] == "\(file):1")
        #expect(settings["log.format"] == "default")
    }

    @Test("of several machines one tree: entries elsewhere are left out, and so is what the directory keeps for itself")
    func made() throws {
        let other = LDAPEntry("cn=other,dc=example,dc=org", [LDAPAttribute("martletSetting", "log.level=debug")])
        let dumped = LDAPEntry(base, [LDAPAttribute("objectClass", "martletServer"), LDAPAttribute("entryCSN", "x"), LDAPAttribute("MARTLETCONFIGVERSION", "7")])
        let tree = try tree([other, entry("cn=b"), entry("cn=a"), dumped])
        #expect(tree.entries.map(\.name) == [base, "cn=a,\(base)", "cn=b,\(base)"])
        #expect(tree.version == 7)
        #expect(tree.absence == nil)
        #expect(tree.root?.attributes.map(\.description) == ["objectClass", "MARTLETCONFIGVERSION"])
        #expect(try self.empty().absence?.contains("there is no entry") == true)
    }

    private func empty() throws -> ConfigurationTree { try tree([entry("cn=a")]) }
}

@Suite("a file is written as a tree")
struct ConfigurationTreeWritingTests {
    @Test("what is written reads back as the same configuration, without secrets and what belongs to the machine")
    func roundTrip() throws {
        let text = """
            server: {stop-timeout: 20s, data: /srv}
            domains:
              - name: example.org
                admins: [b@example.org, a@example.org]
                contacts: {abuse: ["mailto:a@example.org"]}
                shared-groups: [{name: "Theatre, Globe", members: [juliet@example.org], share: all}]
              - {name: example.net, people-page: everyone}
            listeners:
              - {kind: client, port: 5222}
              - {kind: component, port: 5348}
            limits: {offline-messages: 5, stanza-bytes-per-second: off}
            login-rules:
              - {name: second, accounts: [a@example.org], mechanisms: [SCRAM-SHA-512]}
              - {name: first, mechanisms: [SCRAM-SHA-256, PLAIN]}
            peers: [{domain: example.com, addresses: ["xmpp.example.com:5269"]}]
            federation: {blocked: []}
            accounts: {reserved-names: []}
            """
        var before = try load(text).configuration
        let tree = ConfigurationTreeWriting.tree(of: before, base: try DistinguishedName(base))
        let after = try loader("log: {}\n").load(file: file, tree: tree).configuration
        before.server.dataFolder = ServerConfiguration.Server().dataFolder
        #expect(after == before)
        let reread = try ConfigurationTree(ldif: Array(tree.ldif.utf8), of: "x", base: try DistinguishedName(base), node: nil)
        #expect(reread == tree)
        #expect(!tree.ldif.contains("server.data"))
    }

    @Test("names that look like numbers, or are told apart by their case alone, read back as they are")
    func oddNames() throws {
        let items = ["{1}a", "B", "b", "c, d"].map { "{name: \"\($0)\", members: [a@example.org]}" }.joined(separator: ", ")
        let before = try load("domains: [{name: example.org, shared-groups: [\(items)]}]\n").configuration
        let tree = ConfigurationTreeWriting.tree(of: before, base: try DistinguishedName(base))
        #expect(try loader("log: {}\n").load(file: file, tree: tree).configuration == before)
    }

    @Test("a comma and a backslash in an item are written so that they are found again")
    func commas() throws {
        let text = """
            domains: [{name: example.org, contacts: {abuse: ["mailto:a@example.org,b@example.org", "https://example.org/a\\\\,b", "https://example.org/c\\\\"]}}]
            """
        let before = try load(text).configuration
        #expect(before.domains.first?.contacts.abuse.last == "https://example.org/c\\")
        let tree = ConfigurationTreeWriting.tree(of: before, base: try DistinguishedName(base))
        #expect(try loader("log: {}\n").load(file: file, tree: tree).configuration == before)
    }

    @Test("a list has a backslash only before a comma or another backslash")
    func backslashes() throws {
        let loaded = try laid(entry(""), entry("cn=example.org,cn=domains", #"contacts.abuse=urn:a\,b,urn:c\\d , urn:e\f,urn:g\"#))
        #expect(loaded.configuration.domains.first?.contacts.abuse == ["urn:a,b", #"urn:c\d"#, #"urn:e\f"#, #"urn:g\"#])
    }
}

@Suite("a directory shuts nobody out")
struct LockOutTests {
    private func refusal(_ text: String, before: String?) throws -> String? {
        LockOut.refusal(of: try load(text), inPlaceOf: try before.map { try load($0).configuration })?.message
    }

    @Test("a server keeps a port for clients")
    func listeners() throws {
        #expect(try refusal(minimal + "listeners: [{kind: server, port: 5269}]\n", before: nil) == "there would be no port for clients")
        #expect(try refusal(minimal + "listeners: [{kind: component, port: 5347}]\n", before: nil) != nil)
        for kind in ["client", "client-tls", "https"] { #expect(try refusal(minimal + "listeners: [{kind: \(kind), port: 5222}]\n", before: nil) == nil) }
    }

    @Test("a server keeps an administrator if it has one")
    func admins() throws {
        let ofAll = minimal + "access: {admins: [a@example.org]}\n"
        let ofOne = "domains: [{name: example.org, admins: [a@example.org]}]\n"
        #expect(try refusal(minimal, before: ofAll) == "nobody would be an administrator")
        #expect(try refusal(minimal, before: ofOne) == "nobody would be an administrator")
        #expect(try refusal(ofOne, before: ofAll) == nil)
        #expect(try refusal(minimal, before: minimal) == nil)
        #expect(try refusal(minimal, before: nil) == nil)
    }
}

@Suite("what an import changes")
struct ConfigurationImportTests {
    private func changes(_ old: [LDAPEntry], _ new: [LDAPEntry], hasAssertions: Bool = true) throws -> [LDIFRecord]? {
        try ConfigurationImport(from: try tree(old), to: try tree(new))?.records(hasAssertions: hasAssertions)
    }

    private func asserting(_ filter: LDAPFilter) -> [LDAPControl] { [AssertionControl(filter).control(isCritical: true)] }

    @Test("the last step raises the version that was read, and takes place only if it is still that (RFC 4528); with it goes what changes of the base")
    func versions() throws {
        let records = try #require(
            try changes([entry("", "log.level=info", version: 4), entry("cn=old")], [entry("", "log.level=debug", version: 2), entry("cn=new")]))
        #expect(records.map(\.name) == ["cn=new,\(base)", "cn=old,\(base)", base])
        guard case .modify(let last) = records.last?.content else { throw NoSuchChange() }
        #expect(last.changes.last == .init(.increment, LDAPAttribute("martletConfigVersion", "1")))
        #expect(last.changes.count == 2)
        #expect(records.last?.controls == asserting(.equality("martletConfigVersion", Array("4".utf8))))
    }

    @Test("into an empty directory everything goes before the version, of which there must be none")
    func empty() throws {
        let records = try #require(try changes([], [entry("", "log.level=debug", version: 9), entry("cn=new")]))
        #expect(records.map(\.name) == [base, "cn=new,\(base)", base])
        guard case .add(let first) = records.first?.content, case .modify(let last) = records.last?.content else { throw NoSuchChange() }
        #expect(first.attributes.allSatisfy { $0.description != "martletConfigVersion" })
        #expect(last.changes == [.init(.add, LDAPAttribute("martletConfigVersion", "9"))])
        #expect(records.last?.controls == asserting(.not(.present("martletConfigVersion"))))
    }

    @Test("where a directory knows no assertions the version that was read is exchanged by its value, or there must be none")
    func exchanges() throws {
        func last(_ version: Int?) throws -> [ModifyRequest.Change]? {
            let records = try changes([entry("", "log.level=info", version: version)], [entry("", "log.level=debug", version: 3)], hasAssertions: false)
            guard case .modify(let request) = records?.last?.content, records?.last?.controls == [] else { return nil }
            return Array(request.changes.dropFirst())
        }
        let version = "martletConfigVersion"
        #expect(try last(4) == [.init(.delete, LDAPAttribute(version, "4")), .init(.add, LDAPAttribute(version, "5"))])
        #expect(try last(nil) == [.init(.add, LDAPAttribute(version, "3"))])
    }

    @Test("another version alone is no change, and a file without the base is none to import")
    func nothing() throws {
        #expect(try changes([entry("", "log.level=info", version: 4)], [entry("", "log.level=info", version: 1)]) == nil)
        #expect(throws: CommandFailure.self) { try changes([entry("", version: 4)], [entry("cn=new")]) }
    }

    private struct NoSuchChange: Error {}
}
