import Testing

import martlet

@Suite("a configuration file is read into typed values")
struct ConfigurationLoaderTests {
    @Test("the shortest file names a domain; all else has its default")
    func shortest() throws {
        let loaded = try load(minimal)
        #expect(loaded.configuration == ConfigurationDocuments.example)
        #expect(loaded.warnings.isEmpty)
    }

    @Test("a section whose keys are all commented out is as good as none")
    func emptySections() throws {
        let loaded = try load(minimal + "log:\n  # level: debug\nlimits:\nidle: {}\n")
        #expect(loaded.configuration == ConfigurationDocuments.example)
    }

    @Test("every kind of value is read")
    func values() throws {
        let configuration = try load(
            """
            server: {data: data, event-loops: 4, stop-timeout: 1500ms}
            domains:
              - name: Example.ORG
                certificate: tls/example.pem
                key: /keys/example.key
                admins: [Juliet@example.org]
                contacts:
                  abuse: ["mailto:abuse@example.org", 'xmpp:abuse@example.org']
            listeners:
              - kind: client-tls
                port: "5223"
                addresses:
                  - 192.0.2.1
                  - "[2001:DB8::1]"
                proxy-sources: [10.0.0.0/8, "::1"]
                tls-profile: modern
            limits: {stanza-bytes-per-second: off, resource-conflict: refuse-new}
            idle: {ping-after: off, ping-timeout: 1 m}
            log: {destination: server.log, format: json}
            metrics: {port: 9090}
            access: {admins: [romeo@example.org]}
            """, readable: ["/etc/martlet/tls/example.pem", "/keys/example.key"]
        ).configuration

        #expect(configuration.server.dataFolder == "/etc/martlet/data")
        #expect(configuration.controlSocketPath == "/etc/martlet/data/control.sock")
        #expect(configuration.server.stopTimeout == .milliseconds(1500))
        #expect(configuration.domains.map(\.name) == ["example.org"])
        #expect(configuration.domains.first?.certificate == "/etc/martlet/tls/example.pem")
        #expect(configuration.domains.first?.contacts.abuse == ["mailto:abuse@example.org", "xmpp:abuse@example.org"])
        #expect(configuration.listeners.map(\.kind) == [.clientTLS])
        #expect(configuration.listeners.first?.addresses.map(\.description) == ["192.0.2.1", "2001:db8::1"])
        #expect(configuration.listeners.first?.proxySources.map(\.description) == ["10.0.0.0/8", "::1"])
        #expect(configuration.listeners.first?.tlsProfile == .modern)
        #expect(configuration.limits.stanzaBytesPerSecond == nil)
        #expect(configuration.limits.resourceConflict == .refuseNew)
        #expect(configuration.idle.pingAfter == nil)
        #expect(configuration.idle.pingTimeout == .seconds(60))
        #expect(configuration.log.destination == .file("/etc/martlet/server.log"))
        #expect(configuration.metrics.port == 9090)
        #expect(configuration.admins(of: "example.org") == ["juliet@example.org", "romeo@example.org"])
        #expect(configuration.admins(of: "elsewhere.net") == ["romeo@example.org"])
    }

    @Test("the same port may be opened on different addresses")
    func portTwice() {
        let text = """
            listeners:
              - {kind: client, port: 5222, addresses: [127.0.0.1, 192.0.2.1]}
              - {kind: client-tls, port: 5222, addresses: [192.0.2.2, "::"]}
            """
        #expect(problems(minimal + text) == [])
    }

    @Test("addresses are prepared by the rules that are passed in")
    func addressRules() throws {
        let rules = AddressRules(domain: { $0 == "münchen.example" ? "prepared.example" : nil }, bareAddress: { _ in nil })
        let text = Array("domains: [{name: münchen.example}]\n".utf8)
        let loader = ConfigurationLoader(files: .containing(text), addresses: rules)
        #expect(try loader.load(file: file).configuration.domains.map(\.name) == ["prepared.example"])
    }

    @Test("a byte order mark and the line ends of other systems make no difference")
    func lineEnds() throws {
        #expect(try load("\u{feff}" + minimal + "log: {level: debug}\r\nidle: {}\r\n").configuration.log.level == .debug)
        #expect(problems(minimal + "log: {}\r\nlgo: {}\r\n").map(\.line) == [3])
        #expect(problems("domains: [{name: a.org}]\rlog: {}\rlgo: {}\r").first?.sourceLine == "lgo: {}")
    }

    @Test("a file that is not UTF-8 is refused with the line")
    func encoding() throws {
        let bytes = Array(minimal.utf8) + [0x23, 0xff, 0x0a]
        let loader = ConfigurationLoader(files: .containing(bytes))
        let failure = #expect(throws: ConfigurationFailure.self) { try loader.load(file: file) }
        #expect(failure?.problems.map(\.line) == [2])
        #expect(failure?.problems.first?.message == "the line is not UTF-8")
    }

    @Test("a file of 1 MiB is read, a larger one is not")
    func size() {
        let comment = { (bytes: Int) in minimal + "#" + String(repeating: "x", count: bytes - minimal.utf8.count - 2) + "\n" }
        #expect(problems(comment(ConfigurationLoader.fileBytesMax)).isEmpty)
        let larger = problems(comment(ConfigurationLoader.fileBytesMax + 1))
        #expect(larger.map(\.description) == ["/etc/martlet/martlet.yaml: error: cannot be read: it is larger than 1MiB"])
    }

    @Test("an empty file lacks a domain")
    func empty() {
        #expect(problems("").map(\.summary).first?.contains("martlet.yaml: error: the key domains is missing") == true)
        #expect(problems("# nothing\n").count == 1)
    }

    @Test("what is allowed but doubtful is a warning with its line")
    func warnings() throws {
        let loaded = try load(
            minimal + """
                listeners:
                  - {kind: client, port: 5222, plaintext-authentication: true}
                  - {kind: client, port: 5223, plaintext-authentication: true, addresses: [127.0.0.1]}
                  - {kind: client, port: 5224, plaintext-authentication: true, proxy-sources: [192.0.2.1]}
                metrics: {port: 9090, address: 192.0.2.1}
                authentication: {mechanisms: [PLAIN]}
                """)
        #expect(loaded.warnings.map(\.line) == [3, 6, 7])
        #expect(loaded.warnings.allSatisfy { $0.severity == .warning })
    }

    @Test("HTTP without TLS is for reverse proxies: on loopback, or from those that are named, and nobody logs in who is not said to be safe")
    func http() throws {
        let open = problems(minimal + "listeners: [{kind: http, port: 5280}]\n")
        #expect(open.map(\.summary).first?.contains("listeners[0].addresses") == true)
        #expect(open.first?.severity == .error)
        let named = try load(minimal + "listeners: [{kind: http, port: 5280, proxy-sources: [192.0.2.1]}]\n")
        #expect(named.warnings.isEmpty)
        let useless = try load(minimal + "listeners: [{kind: http, port: 5280, addresses: [127.0.0.1]}]\n")
        #expect(useless.warnings.map(\.summary).first?.contains("no proxy is believed") == true)
        let local = try load(minimal + "listeners: [{kind: http, port: 5280, addresses: [127.0.0.1], proxy-sources: [127.0.0.1]}]\n")
        #expect(local.warnings.isEmpty)
    }

    @Test("where the web is reached from outside is a name, with a port or without, and nothing else")
    func webURL() throws {
        for url in ["https://chat.example.org", "https://chat.example.org:5443", "https://[2001:db8::1]"] {
            #expect(try load(minimal + "web: {url: \"\(url)\"}\n").configuration.web.url == url)
        }
        for url in ["http://chat.example.org", "https://", "https://chat.example.org/", "https://chat.example.org/xmpp", "https://a'b", "chat.example.org"] {
            #expect(problems(minimal + "web: {url: \"\(url)\"}\n").count == 1, "\(url)")
        }
    }
}

@Suite("every value has an origin")
struct ConfigurationOriginTests {
    @Test("the default, a line of the file, or a variable")
    func origins() throws {
        let loaded = try load(
            minimal + "log:\n  level: debug\n", environment: ["MARTLET_LOG_FORMAT": "json", "PATH": "/bin"])
        #expect(loaded.origin(of: "log.level") == .file(file, line: 3, column: 10))
        #expect(loaded.origin(of: "log.format") == .environment("MARTLET_LOG_FORMAT"))
        #expect(loaded.origin(of: "log.destination") == .standard)
    }

    @Test("all values are shown with it")
    func settings() throws {
        let loaded = try load(minimal + "log:\n  level: debug\n", environment: ["MARTLET_LOG_FORMAT": "json"])
        let shown = loaded.settings.map(\.description)
        #expect(shown.contains("domains[0].name: example.org  # /etc/martlet/martlet.yaml:1"))
        #expect(shown.contains("domains[0].certificate: (not set)  # default"))
        #expect(shown.contains("listeners[1].addresses: [0.0.0.0, \"::\"]  # default"))
        #expect(shown.contains("log.level: debug  # /etc/martlet/martlet.yaml:3"))
        #expect(shown.contains("log.format: json  # MARTLET_LOG_FORMAT"))
        #expect(shown.contains("metrics.port: off  # default"))
    }

    @Test("a problem that shows later names the line of the value behind it")
    func laterProblem() throws {
        let loaded = try load(minimal + "listeners:\n  - kind: client\n    port: 5222\n")
        let taken = loaded.problem(at: "listeners[0].port", "the port is taken by another program")
        #expect(taken.line == 4)
        #expect(taken.sourceLine == "    port: 5222")
        #expect(loaded.problem(at: "listeners[0].addresses[1]", "").line == 3)
        #expect(loaded.problem(at: "metrics.port", "").line == nil)
    }
}

@Suite("the environment overrides the file")
struct ConfigurationEnvironmentTests {
    private func configuration(_ text: String, _ environment: [String: String]) throws -> ServerConfiguration {
        try load(text, environment: environment).configuration
    }

    @Test("a value by the path of its key")
    func value() throws {
        let text = minimal + "log: {level: debug}\n"
        #expect(try configuration(text, ["MARTLET_LOG_LEVEL": "error"]).log.level == .error)
        #expect(try configuration(minimal, ["MARTLET_LIMITS_STANZA_BYTES_BURST": "2MiB"]).limits.stanzaBytesBurst == 2 << 20)
    }

    @Test("before types are checked, so that it can mend the file")
    func beforeTypeCheck() throws {
        #expect(try configuration(minimal + "log: {level: loud}\n", ["MARTLET_LOG_LEVEL": "error"]).log.level == .error)
    }

    @Test("a list with commas, or an empty one")
    func list() throws {
        let admins = "a@example.org, b@example.org"
        #expect(try configuration(minimal, ["MARTLET_ACCESS_ADMINS": admins]).access.admins == ["a@example.org", "b@example.org"])
        let text = minimal + "access: {admins: [a@example.org]}\n"
        #expect(try configuration(text, ["MARTLET_ACCESS_ADMINS": ""]).access.admins == [])
    }

    @Test("an entry of the file by its number, the one after the last being new")
    func entries() throws {
        let text = minimal + "listeners: [{kind: client, port: 1}]\n"
        #expect(try configuration(text, ["MARTLET_LISTENERS_0_PORT": "2"]).listeners.map(\.port) == [2])
        let added = ["MARTLET_LISTENERS_1_KIND": "client-tls", "MARTLET_LISTENERS_1_PORT": "3"]
        #expect(try configuration(text, added).listeners.map(\.port) == [1, 3])
    }

    @Test("more than ten entries are added in the order of their numbers")
    func manyEntries() throws {
        let names = (0..<12).map { ("MARTLET_DOMAINS_\($0)_NAME", "d\($0).example") }
        let loaded = try ConfigurationLoader(files: .containing([])).load(
            file: nil, environment: Dictionary(uniqueKeysWithValues: names))
        #expect(loaded.configuration.domains.map(\.name) == names.map(\.1))
    }

    @Test("a default entry where the file has none")
    func defaultEntries() throws {
        let loaded = try load(minimal, environment: ["MARTLET_LISTENERS_1_PORT": "443"])
        #expect(loaded.configuration.listeners.map(\.port) == [5222, 443, 5269, 5270, 5443, 5347])
        #expect(loaded.origin(of: "listeners[1].port") == .environment("MARTLET_LISTENERS_1_PORT"))
        #expect(loaded.origin(of: "listeners[0].port") == .standard)
    }

    @Test("a key of a section within an entry")
    func nested() throws {
        let loaded = try load(minimal, environment: ["MARTLET_DOMAINS_0_CONTACTS_ABUSE": "mailto:a@example.org"])
        #expect(loaded.configuration.domains.first?.contacts.abuse == ["mailto:a@example.org"])
    }

    @Test(
        "and is refused by the name of the variable",
        arguments: [
            ("MARTLET_LOG_LEVEL", "loud", "expected one of trace", nil),
            ("MARTLET_LOG_LEVEL", "", "found nothing", nil),
            ("MARTLET_LOG_LEVLE", "info", "no key has this variable", "did you mean MARTLET_LOG_LEVEL?"),
            ("MARTLET_LOG", "info", "no key has this variable", nil),
            ("MARTLET_LISTENERS_PORT", "1", "no key has this variable", "did you mean MARTLET_LISTENERS_0_PORT?"),
            ("MARTLET_LISTENERS_01_PORT", "1", "no key has this variable", "did you mean MARTLET_LISTENERS_0_PORT?"),
            ("MARTLET_LISTENERS_7_PORT", "1", "there is no entry 7", "the next one to add is 6"),
            ("MARTLET_LISTENERS_99999999999999999999_PORT", "1", "no key has this variable", nil),
            ("MARTLET_LISTENERS_0_PORT", "0", "from 1 to 65535, found \"0\"", nil),
            ("MARTLET_", "x", "no key has this variable", "names are MARTLET_ and the path of a key, as in MARTLET_LOG_LEVEL"),
        ] as [(String, String, String, String?)])
    func refused(_ variable: String, _ value: String, _ message: String, _ hint: String?) {
        let found = problems(minimal, environment: [variable: value])
        #expect(found.map(\.origin) == [.environment(variable)])
        #expect(found.first?.message.contains(message) == true, "\(found)")
        if let hint { #expect(found.first?.hint == hint) }
    }

    @Test("variables that container runtimes set for a service called martlet are not ours")
    func serviceLinks() {
        let links = [
            "MARTLET_SERVICE_HOST": "10.0.0.1", "MARTLET_SERVICE_PORT": "5222", "MARTLET_SERVICE_PORT_CLIENT": "5222",
            "MARTLET_PORT": "tcp://10.0.0.1:5222", "MARTLET_PORT_5222_TCP": "tcp://10.0.0.1:5222",
            "MARTLET_PORT_5222_TCP_PROTO": "tcp", "MARTLET_PORT_5222_TCP_PORT": "5222", "MARTLET_PORT_5222_TCP_ADDR": "10.0.0.1",
            "MARTLET_CONFIG": "/etc/martlet/martlet.yaml",
        ]
        #expect(problems(minimal, environment: links) == [])
    }

    @Test("is enough without a file")
    func noFile() throws {
        let loaded = try ConfigurationLoader(files: .containing([])).load(
            file: nil, environment: ["MARTLET_DOMAINS_0_NAME": "example.org"])
        #expect(loaded.configuration == ConfigurationDocuments.example)
    }

    @Test("cannot hide that the file has something else in its place")
    func otherShape() {
        let found = problems(minimal + "log: [info]\n", environment: ["MARTLET_LOG_LEVEL": "info"])
        #expect(found.map(\.line) == [2])
    }
}
