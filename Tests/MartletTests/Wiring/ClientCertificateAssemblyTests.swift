import Foundation
import MartletNetwork
import Testing

import martlet

@Suite("what the configuration says about certificates of clients")
struct ClientCertificateAssemblyTests {
    private static let fixtures = #filePath.split(separator: "/").dropLast(4).reduce("") { $0 + "/" + $1 } + "/Fixtures/authority"

    private static func configuration() -> ServerConfiguration {
        var configuration = ConfigurationDocuments.example
        configuration.domains[0].clientCertificates = .request
        configuration.clientCertificates.trustAnchors = "\(fixtures)/root.pem"
        return configuration
    }

    @Test("domains that ask nobody need no files")
    func off() throws {
        var configuration = Self.configuration()
        configuration.domains[0].clientCertificates = .off
        configuration.clientCertificates.trustAnchors = "/nowhere.pem"
        let assembly = ClientCertificateAssembly(configuration: configuration)
        #expect(try assembly.settings() == ClientCertificateSettings() && !assembly.isNeeded)
    }

    @Test("authorities, policies and mappings are read")
    func settings() throws {
        var configuration = Self.configuration()
        configuration.clientCertificates.authorities = "\(Self.fixtures)/issuing.pem"
        configuration.clientCertificates.mailAuthorities = "\(Self.fixtures)/issuing.pem"
        configuration.clientCertificates.policies = ["1.3.6.1.4.1.99999.1.2"]
        configuration.clientCertificates.mapping = [.upn, .subject, .mail]
        configuration.clientCertificates.subject = "UID={localpart}"
        configuration.clientCertificates.revocation.mode = .require
        let assembly = ClientCertificateAssembly(configuration: configuration)
        let settings = try assembly.settings()
        #expect(settings.demand(of: configuration.domains[0].name) == .request && settings.demand(of: "elsewhere.example") == .off)
        #expect(settings.anchors.count == 1 && settings.authorities.count == 1 && settings.mapping.mailAuthorities.count == 1)
        #expect(settings.rules.policies.isExplicit && settings.rules.policies.acceptable.count == 1)
        #expect(settings.mapping.rules == [.principal, .subject(try SubjectTemplate("UID={localpart}")), .mailbox])
        #expect(assembly.revocation.mode == .require)
    }

    @Test("what cannot be read is told with the key that names it", arguments: ["trust-anchors", "authorities", "mail-authorities", "published"])
    func unreadable(key: String) {
        var configuration = Self.configuration()
        switch key {
        case "trust-anchors": configuration.clientCertificates.trustAnchors = "/nowhere"
        case "authorities": configuration.clientCertificates.authorities = "/nowhere"
        case "mail-authorities": configuration.clientCertificates.mailAuthorities = "/nowhere"
        default: configuration.clientCertificates.published = "/nowhere"
        }
        let error = #expect(throws: CommandFailure.self) { try ClientCertificateAssembly(configuration: configuration).settings() }
        #expect(error?.message.contains("/nowhere") == true && error?.hint == "it is named by client-certificates.\(key)")
    }

    @Test("a folder of published certificates has files that are named after accounts")
    func published() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("published-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let alice = URL(fileURLWithPath: "\(Self.fixtures)/alice.pem")
        try FileManager.default.copyItem(at: alice, to: folder.appendingPathComponent("alice@example.org.pem"))
        try Data().write(to: folder.appendingPathComponent("README"))
        var configuration = Self.configuration()
        configuration.clientCertificates.published = folder.path
        #expect(try ClientCertificateAssembly(configuration: configuration).settings().published.count == 1)
        try FileManager.default.copyItem(at: alice, to: folder.appendingPathComponent("example.org.pem"))
        let error = #expect(throws: CommandFailure.self) { try ClientCertificateAssembly(configuration: configuration).settings() }
        #expect(error?.message.contains("is not named after an account") == true)
    }

    private static let asking = "domains: [{name: example.org, client-certificates: request}]\n"

    @Test("whoever asks for certificates says whose are believed, and what the mapping needs")
    func checks() {
        let anchors = "client-certificates: {trust-anchors: /ca.pem"
        #expect(problems(Self.asking + "\(anchors)}\n", readable: ["/ca.pem"]) == [])
        #expect(problems(Self.asking).map(\.path) == ["domains[0].client-certificates"])
        #expect(problems(Self.asking + "\(anchors)}\n").map(\.path) == ["client-certificates.trust-anchors"])
        for rule in ["published", "mail", "subject"] {
            let found = problems(Self.asking + "\(anchors), mapping: [\(rule)]}\n", readable: ["/ca.pem"])
            #expect(found.map(\.path) == ["client-certificates.mapping"], "\(rule)")
        }
        let found = problems(Self.asking + "\(anchors), require-published: true}\n", readable: ["/ca.pem"])
        #expect(found.map(\.path) == ["client-certificates.require-published"])
    }

    @Test("where accounts add certificates no authority is needed, and not all of them can be published")
    func userManaged() {
        #expect(problems(Self.asking + "client-certificates: {user-managed: true}\n") == [])
        let found = problems(Self.asking + "client-certificates: {user-managed: true, require-published: true, published: /people}\n")
        #expect(found.map(\.path) == ["client-certificates.user-managed"])
    }

    @Test("policies are object identifiers, and a subject has one place for the localpart")
    func values() {
        for text in ["1.2", "1..2", "a.b.c", "1.2.12345678901", ""] {
            #expect(!problems(minimal + "client-certificates: {policies: [\"\(text)\"]}\n").isEmpty, "\(text)")
        }
        #expect(problems(minimal + "client-certificates: {policies: [\"1.2.3\"]}\n") == [])
        #expect(problems(minimal + "client-certificates: {subject: \"UID={localpart}\"}\n") == [])
        #expect(problems(minimal + "client-certificates: {subject: \"UID=a\"}\n").first?.message.contains("{localpart}") == true)
    }
}
