import Testing

import martlet

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite("the example and the reference come from the schema")
struct ConfigurationDocumentsTests {
    /// What a person gets who takes away every `#` before a key.
    private func uncommented(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let content = line.drop { $0 == " " }
            guard content.first == "#", let next = content.dropFirst().first, next.isLetter || next == "-" else { return String(line) }
            return String(line.prefix { $0 == " " } + content.dropFirst())
        }.joined(separator: "\n")
    }

    /// What the example names.
    private static let namedFiles: Set = [
        "/etc/martlet/example.org.pem", "/etc/martlet/example.org.key", "/etc/martlet/example.org.rsa.pem", "/etc/martlet/example.org.rsa.key", "/etc/martlet/authorities.pem", "/etc/martlet/example.net.pem",
        "/usr/share/dns/root.key", "/etc/martlet/irc.secret", "/etc/martlet/turn.secret",
        "/etc/martlet/ldap-ca.pem", "/etc/martlet/ldap-client.pem", "/etc/martlet/ldap-client.key", "/etc/martlet/ldap.password",
        "/etc/martlet/oauth.secret", "/etc/martlet/xmpp.keytab", "/etc/martlet/common-passwords.txt",
    ]

    private func loadUncommented() throws(ConfigurationFailure) -> LoadedConfiguration {
        var files = ConfigurationFiles.containing(Array(uncommented(ConfigurationDocuments.exampleFile()).utf8), readable: Self.namedFiles)
        let read = files.read
        files.read = { path, bytesMax in path.hasSuffix(".keytab") ? .success(KerberosAssemblyTests.keytab) : read(path, bytesMax) }
        return try ConfigurationLoader(files: files).load(file: file, environment: [:])
    }

    @Test("the example file means the defaults")
    func exampleIsDefaults() throws {
        let loaded = try load(ConfigurationDocuments.exampleFile())
        #expect(loaded.configuration == ConfigurationDocuments.example)
        #expect(loaded.warnings.isEmpty)
    }

    @Test("what the example has commented out is the default, or nothing where there is none")
    func exampleUncommented() throws {
        let configuration = try loadUncommented().configuration
        let changes = ConfigurationDifference(from: ConfigurationDocuments.example, to: configuration).changes
        #expect(!changes.isEmpty)
        #expect(changes.allSatisfy { $0.old == nil || $0.old == "[]" }, "\(changes)")
    }

    @Test("the example file has every key, and every key has its variable")
    func exampleIsComplete() throws {
        let loaded = try loadUncommented()
        let unset = loaded.settings.filter { $0.origin == .standard && (!$0.path.hasPrefix("listeners[") || $0.path.hasPrefix("listeners[0]")) }
        #expect(unset.isEmpty, "\(unset)")
    }

    @Test("a file written for a configuration is read as that configuration")
    func roundTrip() throws {
        var configuration = ConfigurationDocuments.example
        configuration.server.dataFolder = "/srv/martlet"
        configuration.domains[0].certificate = "/a b.pem"
        configuration.domains[0].key = "/k: \"quoted\" # \\ \u{85}\u{9f}\u{2029}\u{feff}\u{fffe}\u{1f426}.pem"
        configuration.domains.append(.init(name: "example.net"))
        configuration.domains[1].contacts.abuse = ["mailto:a@example.net"]
        configuration.domains[1].admins = ["a@example.net"]
        configuration.listeners[1].addresses = [.loopbackIPv4]
        configuration.listeners[1].proxySources = [try #require(AddressBlock("10.0.0.0/8"))]
        configuration.limits.stanzaBytesPerSecond = nil
        configuration.limits.loginDeadline = .milliseconds(61_500)
        configuration.authentication.mechanisms = [.scramSHA256]
        configuration.log.destination = .file("/var/log/martlet.log")
        configuration.metrics.port = 9090
        configuration.access.admins = ["a@example.org", "b@example.org"]

        let readable = Set(configuration.domains.flatMap { [$0.certificate, $0.key].compactMap { $0 } })
        let written = ConfigurationDocuments.exampleFile(for: configuration)
        #expect(try load(written, readable: readable).configuration == configuration)
    }

    @Test("docs/configuration.md is current")
    func referenceIsCurrent() throws {
        let page = try referencePath()
        if ProcessInfo.processInfo.environment["WRITE_DOCS"] != nil {
            try Data(ConfigurationDocuments.referencePage().utf8).write(to: page)
        }
        let written = String(decoding: try Data(contentsOf: page), as: UTF8.self)
        #expect(written == ConfigurationDocuments.referencePage(), "WRITE_DOCS=1 swift test --filter Configuration writes it")
    }

    /// The page in the folder of the package, which is found by going up from this file.
    private func referencePath() throws -> URL {
        var folder = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent()
        while folder.path().count > 1 {
            let page = folder.appending(path: "docs/configuration.md")
            let manifest = folder.appending(path: "Package.swift")
            if FileManager.default.fileExists(atPath: manifest.path()) { return page }
            folder = folder.deletingLastPathComponent()
        }
        throw CocoaError(.fileNoSuchFile)
    }

    @Test("every key has a sentence of its own")
    func summaries() {
        func check(_ keys: [ConfigurationKey]) {
            for key in keys {
                #expect(key.summary.hasSuffix("."), "\(key.name)")
                switch key.form {
                case .value, .list: break
                case .section(let inner), .entries(let inner, _): check(inner)
                }
            }
        }
        check(ConfigurationSchema.keys)
    }
}

@Suite("two configurations are compared")
struct ConfigurationDifferenceTests {
    private func difference(_ change: (inout ServerConfiguration) -> Void) -> ConfigurationDifference {
        var changed = ConfigurationDocuments.example
        change(&changed)
        return ConfigurationDifference(from: ConfigurationDocuments.example, to: changed)
    }

    @Test("equal ones have no difference")
    func equal() {
        #expect(difference { _ in }.isEmpty)
        #expect(!difference { _ in }.needsRestart)
    }

    @Test("a value that a reload applies")
    func reloadable() {
        let changes = difference { $0.limits.loginDeadline = .seconds(60) }
        #expect(changes.changes.map(\.description) == ["limits.login-deadline: 30s -> 1m"])
        #expect(!changes.needsRestart)
    }

    @Test("a value that waits for a restart")
    func restart() {
        let changes = difference {
            $0.server.dataFolder = "/srv"
            $0.log.level = .debug
        }
        #expect(
            changes.changes.map(\.description) == [
                "server.data: /var/lib/martlet -> /srv (needs a restart)", "log.level: info -> debug",
            ])
        #expect(changes.needsRestart)
    }

    @Test("domains are told apart by their names, wherever they stand")
    func domains() {
        let changes = difference {
            $0.domains[0].certificate = "/a.pem"
            $0.domains.insert(.init(name: "example.net"), at: 0)
        }
        #expect(
            changes.changes.map(\.description) == [
                "domains[example.net]: (not set) -> (present)", "domains[example.org].certificate: (not set) -> /a.pem",
            ])
        #expect(!changes.needsRestart)
    }

    @Test("a listener that goes needs a restart")
    func listeners() {
        let changes = difference { $0.listeners.removeLast() }
        #expect(changes.changes.map(\.path) == ["listeners[component 5347 on 127.0.0.1, ::1]"])
        #expect(changes.needsRestart)
    }
}
