import MartletNetwork
import MartletXMPP
import Testing

import martlet

@Suite("what the configuration says about Kerberos")
struct KerberosAssemblyTests {
    private static let asking = "domains: [{name: example.org, kerberos-realms: [EXAMPLE.ORG]}]\n"
    /// With a key of xmpp/chat.example.org@R.
    static let keytab: [UInt8] =
        [5, 2, 0, 0, 0, 42, 0, 2, 0, 1, 0x52, 0, 4] + Array("xmpp".utf8) + [0, 16] + Array("chat.example.org".utf8)
        + [0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 18, 0, 0]

    /// What is wrong or doubtful with a configuration whose keytab is in `/xmpp.keytab`.
    private static func problems(_ text: String, keytab: [UInt8] = keytab, isOpenToAll: Bool = false) -> [ConfigurationProblem] {
        let files = ConfigurationFiles(
            read: { path, _ in .success(path == file ? Array(text.utf8) : keytab) }, fault: { _ in nil }, isOpenToAll: { _ in isOpenToAll })
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader(files: files).load(file: file, environment: [:]).warnings
        } catch {
            return error.problems
        }
    }

    @Test("domains that name no realms need no keytab and get no library")
    func off() throws {
        var configuration = ConfigurationDocuments.example
        configuration.kerberos.keytab = "/nowhere.keytab"
        #expect(KerberosAssembly(configuration: configuration).settings == nil)
        try KerberosAssembly(configuration: configuration).checkLibrary()
    }

    @Test("realms, service and host are read; what was seen is noted in the data folder")
    func settings() {
        var configuration = ConfigurationDocuments.example
        configuration.domains[0].kerberosRealms = ["A", "B"]
        configuration.kerberos.keytab = "/xmpp.keytab"
        configuration.kerberos.hostname = "chat.example.org"
        let settings = KerberosAssembly(configuration: configuration).settings
        #expect(settings?.offer(at: configuration.domains[0].name) == KerberosOffer(realms: ["A", "B"], hostname: "chat.example.org"))
        #expect(settings?.keytab == "/xmpp.keytab" && settings?.service == "xmpp")
        #expect(settings?.replays == "\(configuration.server.dataFolder)/kerberos.replays")
    }

    @Test("realms without a keytab are a mistake")
    func noKeytab() {
        #expect(Self.problems(Self.asking).map(\.path) == ["domains[0].kerberos-realms"])
    }

    @Test("a keytab has a key of the service at the host, and is closed to others")
    func keytab() {
        let text = Self.asking + "kerberos: {keytab: /xmpp.keytab, hostname: chat.example.org}\n"
        #expect(Self.problems(text) == [])
        #expect(Self.problems(text.replacing("chat.", with: "other.")).map(\.path) == ["kerberos.keytab"])
        #expect(Self.problems(text, keytab: [5, 2]).map(\.path) == ["kerberos.keytab"])
        #expect(Self.problems(text, keytab: Array("no keytab".utf8)).map(\.path) == ["kerberos.keytab"])
        let open = Self.problems(text, isOpenToAll: true)
        #expect(open.map(\.path) == ["kerberos.keytab"] && open.first?.severity == .warning)
    }

    @Test("where everybody needs a certificate, realms are good for nothing")
    func required() {
        let text = "domains: [{name: example.org, client-certificates: require, kerberos-realms: [R]}]\nclient-certificates: {trust-anchors: /ca.pem}\n"
            + "kerberos: {keytab: /xmpp.keytab}\n"
        #expect(Self.problems(text).map(\.path) == ["domains[0].kerberos-realms"])
    }

    @Test("a realm has 255 bytes at most, and none that is escaped in names; a service has letters and digits")
    func names() {
        func realm(_ text: String) -> Bool {
            Self.problems("domains: [{name: example.org, kerberos-realms: [\"\(text)\"]}]\nkerberos: {keytab: /xmpp.keytab}\n").isEmpty
        }
        let longest = String(repeating: "R", count: 255)
        #expect(realm(longest) && realm("example.org") && !realm(longest + "R") && !realm("") && !realm("A/B") && !realm("A@B") && !realm("A B"))
        func service(_ text: String) -> Bool { Self.problems(minimal + "kerberos: {service: \"\(text)\"}\n").isEmpty }
        #expect(service("xmpp") && service("x-1_Y") && !service("") && !service("xmpp/a") && !service("xmpp@"))
    }
}
