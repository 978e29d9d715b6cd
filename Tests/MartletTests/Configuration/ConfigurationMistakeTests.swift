import Testing

import martlet

/// A file with a mistake, and what must be said of it.
struct Mistake: CustomTestStringConvertible, Sendable {
    let text: String
    let line: Int
    let column: Int
    let path: String
    let message: String
    let hint: String?

    init(_ text: String, _ line: Int, _ column: Int, _ path: String, _ message: String, hint: String? = nil) {
        self.text = text
        self.line = line
        self.column = column
        self.path = path
        self.message = message
        self.hint = hint
    }

    var testDescription: String { "\(path): \(message)" }
}

@Suite("a configuration with a mistake is refused with its place")
struct ConfigurationMistakeTests {
    static let syntax = [
        Mistake("domains: [\n", 2, 1, "", "not valid YAML"),
        Mistake("domains:\n\t- name: example.org\n", 2, 1, "", "not valid YAML", hint: "spaces, not with tabs"),
        Mistake("domains:\n  - name: \"example.org\nlog: {}\n", 4, 1, "", "not valid YAML"),
        Mistake("a: b: c\n", 1, 5, "", "mapping values are not allowed"),
        Mistake("log:\n  level: info\n level: debug\n", 3, 2, "", "not valid YAML"),
        Mistake("log: {}\n---\nlog: {}\n", 2, 1, "", "another document"),
        Mistake("log: {level: info\n", 2, 1, "", "not valid YAML"),
        Mistake("log: *nowhere\n", 1, 6, "", "undefined alias"),
        Mistake("log: &a {level: info}\nidle: *a\n", 1, 6, "", "anchors and aliases are not supported"),
        Mistake("? [log]\n: info\n", 1, 3, "", "a key must be a plain word"),
        Mistake("log:\n  level: in\u{7}fo\n", 2, 12, "", "control characters are not allowed"),
        Mistake(String(repeating: "[", count: 20) + String(repeating: "]", count: 20), 1, 17, "", "nested deeper than 16"),
        Mistake("a: \(String(repeating: "[", count: 100_000))", 1, 5, "", "not valid YAML"),
    ]

    static let keys = [
        Mistake(minimal + "limit: {}\n", 2, 1, "limit", "there is no such key", hint: "did you mean limits?"),
        Mistake(minimal + "Log: {}\n", 2, 1, "Log", "there is no such key", hint: "did you mean log?"),
        Mistake(minimal + "log:\n  levle: info\n", 3, 3, "log.levle", "there is no such key", hint: "did you mean level?"),
        Mistake(
            minimal + "limits:\n  stanza_bytes: 64KiB\n", 3, 3, "limits.stanza_bytes", "there is no such key",
            hint: "did you mean stanza-bytes?"),
        Mistake(
            minimal + "idle: {colour: blue}\n", 2, 8, "idle.colour", "there is no such key",
            hint: "the keys here are ping-after, ping-timeout, tcp-user-timeout"),
        Mistake(
            "domains:\n  - name: example.org\n    certifcate: /a\n", 3, 5, "domains[0].certifcate", "there is no such key",
            hint: "did you mean certificate?"),
        Mistake(
            "domains:\n  - name: example.org\n    contacts:\n      abuses: []\n", 4, 7, "domains[0].contacts.abuses",
            "there is no such key", hint: "did you mean abuse?"),
        Mistake(minimal + "log: {<<: {}}\n", 2, 7, "log.<<", "there is no such key"),
        Mistake(
            minimal + "log:\n  level: info\n  format: text\n  level: debug\n", 5, 3,
            "", "level is there twice", hint: "line 3"),
        Mistake("log: {}\n" + minimal + "log: {}\n", 3, 1, "", "log is there twice", hint: "line 1"),
        Mistake("domains:\n  - name: a.org\n    name: b.org\n", 3, 5, "", "name is there twice", hint: "line 2"),
        Mistake("log: {}\n", 1, 1, "", "the key domains is missing"),
        Mistake("domains:\n  - admins: []\n", 2, 5, "domains[0]", "the key name is missing"),
        Mistake(minimal + "listeners:\n  - port: 5222\n", 3, 5, "listeners[0]", "the key kind is missing"),
        Mistake(minimal + "listeners:\n  - kind: client\n", 3, 5, "listeners[0]", "the key port is missing"),
    ]

    static let types = [
        Mistake("- a\n- b\n", 1, 1, "", "expected a mapping with keys, found a list"),
        Mistake("martlet\n", 1, 1, "", "expected a mapping with keys, found \"martlet\""),
        Mistake(minimal + "log: info\n", 2, 6, "log", "expected a mapping with keys, found \"info\""),
        Mistake(minimal + "limits:\n  - stanza-bytes\n", 3, 3, "limits", "expected a mapping with keys, found a list"),
        Mistake("domains: example.org\n", 1, 10, "domains", "expected a list of mappings, found \"example.org\"", hint: "dash"),
        Mistake("domains: {name: example.org}\n", 1, 10, "domains", "expected a list of mappings, found a mapping"),
        Mistake("domains:\n", 1, 9, "domains", "expected a list of mappings, found nothing"),
        Mistake("domains: []\n", 1, 10, "domains", "expected at least 1 in the list, found 0"),
        Mistake("domains: [example.org]\n", 1, 11, "domains[0]", "expected a mapping with keys, found \"example.org\""),
        Mistake(minimal + "log:\n  level:\n", 3, 9, "log.level", "found nothing", hint: "leave the key out"),
        Mistake(minimal + "log:\n  level: ~\n", 3, 10, "log.level", "found nothing"),
        Mistake(minimal + "log:\n  level: [info]\n", 3, 10, "log.level", "found a list"),
        Mistake(minimal + "log:\n  level: {a: b}\n", 3, 10, "log.level", "found a mapping"),
        Mistake(minimal + "log:\n  level: INFO\n", 3, 10, "log.level", "expected one of trace", hint: "did you mean info?"),
        Mistake(minimal + "log:\n  level: loud\n", 3, 10, "log.level", "expected one of trace, debug"),
        Mistake(
            minimal + "server: {run-as-root: yes}\n", 2, 23,
            "server.run-as-root", "expected true or false", hint: "write true"),
        Mistake(minimal + "server: {run-as-root: off}\n", 2, 23, "server.run-as-root", "found \"off\"", hint: "write false"),
        Mistake(minimal + "server: {run-as-root: True}\n", 2, 23, "server.run-as-root", "found \"True\"", hint: "write true"),
        Mistake(
            minimal + "server: {event-loops: two}\n", 2, 23,
            "server.event-loops", "a whole number from 0 to 256, found \"two\""),
        Mistake(minimal + "server: {event-loops: 2.5}\n", 2, 23, "server.event-loops", "found \"2.5\""),
        Mistake(minimal + "server: {event-loops: 007}\n", 2, 23, "server.event-loops", "found \"007\""),
        Mistake(minimal + "server: {event-loops: 0x10}\n", 2, 23, "server.event-loops", "found \"0x10\""),
        Mistake(
            minimal + "server: {event-loops: 99999999999999999999}\n", 2, 23, "server.event-loops",
            "found \"99999999999999999999\""),
        Mistake(
            minimal + "limits: {login-deadline: 30}\n", 2, 26,
            "limits.login-deadline", "a time from 5s to 10m", hint: "write 30s"),
        Mistake(minimal + "limits: {login-deadline: 3000}\n", 2, 26, "limits.login-deadline", "a time", hint: "with its unit"),
        Mistake(minimal + "limits: {login-deadline: 1 min}\n", 2, 26, "limits.login-deadline", "a time", hint: "write 1m"),
        Mistake(minimal + "limits: {login-deadline: 9999999999999999d}\n", 2, 26, "limits.login-deadline", "a time"),
        Mistake(minimal + "limits: {stanza-bytes: 64kb}\n", 2, 24, "limits.stanza-bytes", "a size from", hint: "write 64KiB"),
        Mistake(minimal + "limits: {stanza-bytes: 65536}\n", 2, 24, "limits.stanza-bytes", "a size from", hint: "write 65536B"),
        Mistake(minimal + "limits: {stanza-bytes: 9999999999999GiB}\n", 2, 24, "limits.stanza-bytes", "a size from"),
        Mistake(minimal + "limits: {stanza-bytes: off}\n", 2, 24, "limits.stanza-bytes", "a size from"),
        Mistake(minimal + "storage: {kind: postgres}\n", 2, 17, "storage.kind", "expected sqlite, found \"postgres\""),
        Mistake(minimal + "server: {control-socket: ~/a}\n", 2, 26, "server.control-socket", "~ is not expanded"),
        Mistake(minimal + "server: {control-socket: \"\"}\n", 2, 26, "server.control-socket", "expected a path"),
        Mistake(minimal + "access: {admins: a@example.org}\n", 2, 18, "access.admins", "expected a list"),
        Mistake(minimal + "access: {admins: [a]}\n", 2, 19, "access.admins[0]", "an address such as"),
        Mistake(minimal + "access: {admins: [a@example.org/r]}\n", 2, 19, "access.admins[0]", "an address such as"),
        Mistake(
            minimal + "metrics: {address: localhost}\n", 2, 20,
            "metrics.address", "an IPv4 or IPv6", hint: "127.0.0.1 or ::1"),
        Mistake(minimal + "metrics: {address: 127.1}\n", 2, 20, "metrics.address", "an IPv4 or IPv6 address, found \"127.1\""),
        Mistake("domains: [{name: exam ple.org}]\n", 1, 18, "domains[0].name", "a domain such as"),
        Mistake("domains: [{name: a@example.org}]\n", 1, 18, "domains[0].name", "a domain such as"),
        Mistake("domains: [{name: example..org}]\n", 1, 18, "domains[0].name", "a domain such as"),
        Mistake(
            "domains: [{name: example.org, contacts: {abuse: [abuse@example.org]}}]\n", 1, 50, "domains[0].contacts.abuse[0]",
            "a URI such as", hint: "mailto:abuse@example.org"),
    ]

    private static func listeners(_ text: String) -> String { minimal + "listeners:\n  - {kind: client, port: 1, \(text)}\n" }

    static let contradictions = [
        Mistake(
            "domains:\n  - name: example.org\n  - name: EXAMPLE.org\n", 3, 11, "domains[1].name",
            "the domain example.org is there twice", hint: "see domains[0].name, /etc/martlet/martlet.yaml:2"),
        Mistake(
            minimal + "block-lists:\n  - {service: a.example}\n  - {service: A.example}\n", 4, 15, "block-lists[1].service",
            "the list a.example muc_bans_sha256 is there twice", hint: "see block-lists[0].service, /etc/martlet/martlet.yaml:3"),
        Mistake(
            minimal + "search: {subdomain: conference}\n", 2, 21, "search.subdomain",
            "conference.example.org would be both the rooms of example.org and the search of example.org"),
        Mistake(
            minimal + "pubsub:\n  service: {enabled: true, subdomain: conference}\n", 3, 39, "pubsub.service.subdomain",
            "conference.example.org would be both the rooms of example.org and nodes of example.org"),
        Mistake(
            minimal + "pubsub:\n  service: {server-info: true}\n", 3, 26, "pubsub.service.server-info", "there is no service to publish it at",
            hint: "set pubsub.service.enabled to true as well"),
        Mistake(
            "domains: [{name: example.org}, {name: conference.example.org}]\nrooms: {subdomain: conference}\n", 2, 20, "rooms.subdomain",
            "conference.example.org would be both a domain and the rooms of example.org"),
        Mistake(
            "domains:\n  - name: example.org\n    certificate: /good\n", 3, 18, "domains[0].certificate",
            "a certificate needs its key"),
        Mistake("domains:\n  - name: example.org\n    key: /good\n", 3, 10, "domains[0].key", "a key needs its certificate"),
        Mistake(
            "domains:\n  - name: example.org\n    key: /good\n    certificate: missing.pem\n", 4, 18, "domains[0].certificate",
            "/etc/martlet/missing.pem cannot be read: there is no such file"),
        Mistake(
            "domains:\n  - name: example.org\n    key: /missing\n    certificate: /good\n", 3, 10, "domains[0].key",
            "/missing cannot be read: there is no such file"),
        Mistake(
            minimal + "access:\n  admins:\n    - a@example.org\n    - a@exampel.org\n", 5, 7, "access.admins[1]",
            "this server does not host exampel.org", hint: "did you mean example.org?"),
        Mistake(
            "domains:\n  - name: example.org\n    admins: [a@elsewhere.net]\n", 3, 14, "domains[0].admins[0]",
            "this server does not host elsewhere.net", hint: "the domains are example.org"),
        Mistake(
            minimal + "access:\n  admins:\n    - a@example.org\n    - A@example.org\n", 5, 7, "access.admins[1]",
            "in the list already"),
        Mistake(
            minimal + "listeners:\n  - {kind: client, port: 5222}\n  - {kind: client-tls, port: 5222}\n", 4, 5,
            "listeners[1].addresses[0]", "port 5222 on 0.0.0.0 is opened already, on 0.0.0.0"),
        Mistake(
            minimal + "listeners:\n  - {kind: client, port: 1}\n  - {kind: client-tls, port: 1, addresses: [127.0.0.1]}\n", 4, 45,
            "listeners[1].addresses[0]", "port 1 on 127.0.0.1 is opened already, on 0.0.0.0", hint: "listeners[0].addresses[0]"),
        Mistake(
            minimal + "metrics: {port: 5222}\n", 2, 17, "metrics.port", "port 5222 on 127.0.0.1 is opened already",
            hint: "see listeners[0].addresses[0], a default"),
        Mistake(
            listeners("addresses: [\"::1\", \"0:0:0:0:0:0:0:1\"]"), 3, 48, "listeners[0].addresses[1]", "in the list already"),
        Mistake(listeners("addresses: []"), 3, 40, "listeners[0].addresses", "expected at least 1"),
        Mistake(listeners("addresses: [\"*\"]"), 3, 41, "listeners[0].addresses[0]", "found \"*\"", hint: "write 0.0.0.0 or ::"),
        Mistake(
            listeners("proxy-sources: [10.0.0.1/8]"), 3, 45, "listeners[0].proxy-sources[0]", "bits set after the prefix",
            hint: "did you mean 10.0.0.0/8?"),
        Mistake(listeners("proxy-sources: [10.0.0.0/33]"), 3, 45, "listeners[0].proxy-sources[0]", "a block of addresses"),
        Mistake(listeners("tls-profile: old"), 3, 42, "listeners[0].tls-profile", "one of modern, intermediate, strict"),
        Mistake(
            minimal + "authentication: {mechanisms: [SCRAM-SHA-265]}\n", 2, 31,
            "authentication.mechanisms[0]", "one of", hint: "256"),
        Mistake(minimal + "acme: {enabled: true, terms-agreed: true}\n", 2, 17, "acme.enabled", "it is not said which authority is asked", hint: "acme.directory"),
        Mistake(
            minimal + "acme: {enabled: true, directory: \"https://a.example/d\"}\n", 2, 17, "acme.enabled",
            "nobody has agreed to the authority's terms", hint: "acme.terms-agreed"),
        Mistake(
            minimal + "acme: {enabled: true, terms-agreed: true, directory: \"http://a.example/d\"}\n", 2, 54, "acme.directory",
            "is no https: URL"),
        Mistake(
            minimal + "acme: {enabled: true, terms-agreed: true, directory: \"https://a.example/d\", domains: [example.net]}\n", 2, 87,
            "acme.domains[0]", "this server does not host example.net"),
        Mistake(
            minimal + "oauth: [{issuer: \"http://id.example.net\", audience: x, account-claim: sub}]\n", 2, 18, "oauth[0].issuer",
            "whoever is on the way could say what he likes", hint: "write https://"),
        Mistake(minimal + "oauth: [{issuer: \"https://id.example.net\", audience: x, account-claim: sub, domains: [example.net]}]\n", 2, 86, "oauth[0].domains", "this server does not host example.net"),
        Mistake(
            minimal + "oauth: [{issuer: \"https://a.example\", audience: x, account-claim: sub}, {issuer: \"https://b.example\", audience: x, account-claim: sub}]\n", 2,
            73, "oauth[1]", "example.org believes the issuer of oauth[0] already"),
        Mistake(minimal + "oauth: [{issuer: \"https://a.example\", account-claim: sub}]\n", 2, 9, "oauth[0]", "the key audience is missing"),
        Mistake(minimal + "oauth: [{issuer: \"https://a.example\", audience: \"a b\", account-claim: sub}]\n", 2, 49, "oauth[0].audience", "expected a word of up to 255 characters"),
        Mistake(minimal + "authentication: {mechanisms: []}\n", 2, 30, "authentication.mechanisms", "expected at least 1"),
        Mistake(
            minimal + "limits: {stanza-bytes: 10000B}\n", 2, 24, "limits.stanza-bytes",
            "10000B is less than limits.stanza-bytes-before-authentication, which is 16KiB"),
        Mistake(
            minimal + "limits: {stanza-bytes: 2MiB}\n", 2, 24, "limits.stanza-bytes",
            "2MiB is more than limits.stanza-bytes-burst, which is 1MiB"),
        Mistake(
            minimal + "limits: {session-queue-bytes: 256KiB, stanza-bytes: 512KiB}\n", 2, 53,
            "limits.stanza-bytes", "is more than"),
        Mistake(minimal + "limits: {vcard-bytes: 1MiB}\n", 2, 23, "limits.vcard-bytes", "1MiB is more than limits.stanza-bytes"),
        Mistake(
            minimal + "server: {data: /\(String(repeating: "d", count: 100))}\n", 2, 16, "server.data",
            "the path of the control socket would be 114 bytes long, 103 are possible"),
    ]

    @Test(
        "each with line, column, what was found, what is expected and what to do",
        arguments: syntax + keys + types + contradictions)
    func mistake(_ mistake: Mistake) throws {
        let found = problems(mistake.text, readable: ["/good"])
        let problem = try #require(found.first { $0.path == mistake.path && $0.message.contains(mistake.message) }, "\(found)")
        #expect(problem.file == file)
        #expect(problem.line == mistake.line)
        #expect(problem.column == mistake.column)
        #expect(problem.hint?.contains(mistake.hint ?? "") ?? (mistake.hint == nil), "\(problem)")
    }

    @Test("a mistake is reported once, and nothing else with it", arguments: keys + types)
    func alone(_ mistake: Mistake) {
        let related = problems(mistake.text).filter { !$0.message.contains("the key domains is missing") }
        #expect(related.count <= 1, "\(related)")
    }

    @Test("all mistakes are reported, in the order of the file")
    func all() {
        let text = """
            log: {level: loud}
            domains:
              - name: example.org
              - name: example.org
            limit: {}
            idle:
              ping-after: soon
            """
        #expect(problems(text).map(\.line) == [1, 4, 5, 7])
    }

    @Test("no more than a hundred mistakes are looked for")
    func bounded() {
        let keys = (0..<20_000).map { "key\($0): 1" }.joined(separator: "\n")
        #expect(problems(keys).count == 100)
    }

    @Test("a problem shows its line with a caret below the place")
    func rendering() throws {
        let problem = try #require(problems("domains:\n  - name: example.org\nlog:\n\n  format: xml\n").first)
        #expect(
            problem.description == """
                /etc/martlet/martlet.yaml:5:11: error: log.format: expected one of text, json, found "xml"
                  5 |   format: xml
                    |           ^
                """)
        let misspelt = try #require(problems(minimal + "lgo: {}\r\n").first)
        #expect(
            misspelt.description == """
                /etc/martlet/martlet.yaml:2:1: error: lgo: there is no such key
                  2 | lgo: {}
                    | ^
                  hint: did you mean log?
                """)
        #expect(misspelt.summary == "/etc/martlet/martlet.yaml:2:1: error: lgo: there is no such key (did you mean log?)")
    }

    @Test("a file cannot steer the terminal on which its mistakes are shown")
    func controlCharacters() {
        let shown = problems(minimal + "log: {level: \"\\e[2J\"}\n" + "\"\\e]0;x\": 1\n").map(\.description).joined()
        #expect(!shown.isEmpty)
        #expect(!shown.unicodeScalars.contains("\u{1b}"))
    }

    @Test("a list may hold ten thousand values and no more")
    func listCount() {
        let admins = { (count: Int) in (0..<count).map { "a\($0)@example.org" }.joined(separator: ", ") }
        #expect(problems(minimal + "access: {admins: [\(admins(10_000))]}\n").isEmpty)
        #expect(problems(minimal + "access: {admins: [\(admins(10_001))]}\n").map(\.path) == ["access.admins"])
    }
}
