import Foundation
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

@Suite("The running server", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct ServeTests {
    private let household: Household

    init() throws {
        household = try Household()
        try configure()
    }

    /// With a listener for ``PlainClient``.
    private func configure(domain: String = "capulet.example", more: String = "") throws {
        try household.configure(domain: domain)
        var text = try String(contentsOfFile: household.file, encoding: .utf8)
        text = text.replacing("    addresses: [127.0.0.1]\n  - kind: client-tls", with: "    addresses: [127.0.0.1]\n    plaintext-authentication: true\n  - kind: client-tls")
        try (text + "\n" + more).write(toFile: household.file, atomically: true, encoding: .utf8)
    }

    private func started() throws -> RunningMartlet {
        let result = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "angelica\n")
        try #require(result.status == 0, "\(result.errors)")
        return try RunningMartlet(household)
    }

    @Test("it says its domains, ports, certificate, admins, data and how to add an account")
    func announcement() throws {
        let server = try started()
        let text = server.announcement
        #expect(text.contains("capulet.example"))
        #expect(text.contains("port \(household.ports[0]) (STARTTLS"))
        #expect(text.contains("port \(household.ports[1]) (TLS)"))
        #expect(text.contains("SHA-256 "))
        #expect(text.contains("synchronous=FULL"))
        #expect(text.contains(household.data))
        #expect(text.contains("account add NAME@capulet.example"))
        #expect(server.stop() == 0)
    }

    @Test("SIGTERM tells clients system-shutdown and ends with 0")
    func stop() throws {
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        #expect(try client.logIn("nurse", "angelica").contains("nurse@capulet.example/test"))
        server.signal(SIGTERM)
        let text = client.readToEnd()
        #expect(text.contains("<system-shutdown"))
        #expect(server.end() == 0)
        #expect(!FileManager.default.fileExists(atPath: household.data + "/control.sock"))
    }

    @Test("a second signal ends it at once")
    func secondSignal() throws {
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        server.signal(SIGTERM)
        _ = try client.read(until: "<system-shutdown")
        // The client does not end its stream, so that the server is waiting for it now.
        server.signal(SIGTERM)
        #expect(server.end() == 128 + SIGTERM)
    }

    @Test("commands reach it: status, sessions, log level, accounts")
    func commands() throws {
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        let status = try household.run("status", "--config", household.file)
        #expect(status.status == 0, "\(status.errors)")
        #expect(status.output.contains("sessions       1\n"))
        #expect(try household.run("session", "list", "--config", household.file).output == "nurse@capulet.example/test  not available\n")
        #expect(try household.run("log", "level", "debug", "--config", household.file).status == 0)
        #expect(try household.run("status", "--config", household.file).output.contains("log level      debug"))
        #expect(try household.run("session", "close", "nurse@capulet.example/other", "--config", household.file).status == 67)
        #expect(try household.run("session", "close", "nurse@capulet.example/test", "--config", household.file).output == "ended 1 session\n")
        #expect(client.readToEnd().contains("<policy-violation"))
        #expect(try household.run("account", "add", "juliet@capulet.example", "--config", household.file, input: "r0m30-r0m30\n").status == 0)
        #expect(try PlainClient(port: household.ports[0]).logIn("juliet", "r0m30-r0m30").contains("juliet@capulet.example/test"))
        #expect(server.stop() == 0)
    }

    @Test("the password of an application lets in until it is revoked, which ends its session, and a new password of the account ends it")
    func applicationPasswords() throws {
        let server = try started()
        func command(_ words: String..., input: String = "") throws -> CommandResult {
            try household.run(arguments: ["account"] + words + ["--config", household.file], input: input)
        }
        let nurse = "nurse@capulet.example"
        let password = try command("app-password", "add", nurse, "mail").output.trimmingCharacters(in: .whitespacesAndNewlines)
        let client = try PlainClient(port: household.ports[0])
        #expect(try client.logIn("nurse", password).contains("nurse@capulet.example/test"))
        #expect(try command("app-password", "list", nurse).output.contains("last used on"))
        #expect(try command("app-password", "revoke", nurse, "mail").status == 0)
        #expect(client.readToEnd().contains("<not-authorized"))
        #expect(try PlainClient(port: household.ports[0]).logIn("nurse", password).contains("</failure>"))
        let next = try command("app-password", "add", nurse, "mail").output.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(try command("password", nurse, input: "another secret\n").status == 0)
        #expect(try PlainClient(port: household.ports[0]).logIn("nurse", next).contains("</failure>"))
        #expect(server.stop() == 0)
    }

    @Test("its control socket is its user's alone")
    func controlSocket() throws {
        let server = try started()
        let attributes = try FileManager.default.attributesOfItem(atPath: household.data + "/control.sock")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(server.stop() == 0)
    }

    @Test("disabling an account, changing its password and deleting it end its sessions (P13)", arguments: [
        (["account", "disable"], "", "<not-authorized"), (["account", "password"], "another secret\n", "<reset"), (["account", "delete"], "", "<not-authorized"),
    ])
    func ending(_ words: [String], _ input: String, _ error: String) throws {
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        let result = try household.run(words[0], words[1], "nurse@capulet.example", "--config", household.file, input: input)
        #expect(result.status == 0, "\(result.errors)")
        #expect(client.readToEnd().contains(error))
        let again = try PlainClient(port: household.ports[0]).logIn("nurse", "angelica")
        #expect(again.contains("</failure>"))
        #expect(server.stop() == 0)
    }

    @Test("a reload applies a new domain and a log level, and open sessions stay (P15)")
    func reload() throws {
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        try configure(more: "log:\n  level: debug\n")
        var text = try String(contentsOfFile: household.file, encoding: .utf8)
        text = text.replacing("- name: capulet.example", with: "- name: capulet.example\n  - name: montague.example")
        try text.write(toFile: household.file, atomically: true, encoding: .utf8)
        let result = try household.run("config", "reload", "--config", household.file)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("log.level: info -> debug"))
        #expect(result.output.contains("montague.example"))
        #expect(try household.run("account", "add", "romeo@montague.example", "--config", household.file, input: "well kept secret\n").status == 0)
        #expect(try PlainClient(port: household.ports[0]).logIn("romeo", "well kept secret", domain: "montague.example").contains("romeo@montague.example/test"))
        client.send("<iq type='get' id='p' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(try client.read(until: "id='p'", "id=\"p\"").contains("<iq"))
        #expect(server.stop() == 0)
    }

    @Test("which servers a domain has streams with is published and announced while the operator wants it, and not before and after (XEP-0485)")
    func serverInformation() throws {
        func set(_ isWanted: Bool) throws { try configure(more: "pubsub:\n  service: {enabled: true, server-info: \(isWanted)}\n") }
        try set(false)
        let server = try started()
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        func answer(_ address: String, _ query: String) throws -> String {
            client.send("<iq type='get' id='q' to='\(address)'>\(query)</iq>")
            return try client.read(until: "</iq>")
        }
        let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='serverinfo'/></pubsub>"
        for isWanted in [false, true, false] {
            try set(isWanted)
            let result = try household.run("config", "reload", "--config", household.file)
            #expect(result.status == 0, "\(result.errors)")
            let info = try answer("capulet.example", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
            #expect(info.contains("urn:xmpp:serverinfo:0") == isWanted && info.contains("xmpp:pubsub.capulet.example?;node=serverinfo") == isWanted)
            let published = try answer("pubsub.capulet.example", items)
            #expect(published.contains("<domain name='capulet.example'><federation/></domain>") == isWanted, "\(published)")
            #expect(published.contains("<item-not-found") == !isWanted)
        }
        #expect(server.stop() == 0)
    }

    @Test("a bad file changes nothing, by command and by signal; the place of the mistake is said (P15)")
    func badReload() throws {
        let server = try started()
        let good = try String(contentsOfFile: household.file, encoding: .utf8)
        try (good + "\nlog:\n  levle: debug\n").write(toFile: household.file, atomically: true, encoding: .utf8)
        // The command reads the file itself, to find the server.
        let result = try household.run("config", "reload", "--config", household.file)
        #expect(result.status == 78)
        #expect(result.errors.contains("martlet.yaml:"))
        #expect(result.errors.contains("level"))
        server.signal(SIGHUP)
        try good.write(toFile: household.file + ".good", atomically: true, encoding: .utf8)
        #expect(try PlainClient(port: household.ports[0]).logIn("nurse", "angelica").contains("/test"))
        #expect(server.stop() == 0)
    }

    @Test("a certificate that is broken at a reload leaves the old one in place (P15)")
    func brokenCertificateAtReload() throws {
        let server = try started()
        let pair = household.folder + "/own"
        try "not a certificate".write(toFile: pair + ".pem", atomically: true, encoding: .utf8)
        try "not a key".write(toFile: pair + ".key", atomically: true, encoding: .utf8)
        let text = try String(contentsOfFile: household.file, encoding: .utf8)
            .replacing("- name: capulet.example", with: "- name: capulet.example\n    certificate: \(pair).pem\n    key: \(pair).key")
        try text.write(toFile: household.file, atomically: true, encoding: .utf8)
        let result = try household.run("config", "reload", "--config", household.file)
        #expect(result.status == 65)
        #expect(result.errors.contains("\(pair).pem holds no certificate"))
        #expect(try household.run("status", "--config", household.file).output.contains("certificate    capulet.example"))
        #expect(server.stop() == 0)
    }

    @Test("metrics, health and readiness are served on the configured port")
    func metrics() async throws {
        let server = try started()
        _ = try PlainClient(port: household.ports[0]).logIn("nurse", "wrong")
        let address = "http://127.0.0.1:\(household.metricsPort)"
        let text = try get(address + "/metrics")
        #expect(text.contains("martlet_logins_total{mechanism=\"PLAIN\",verdict=\"badCredentials\"} 1\n"))
        #expect(text.contains("martlet_stanzas_total{direction=\"out\",kind=\"message\"} 0\n"))
        #expect(!text.contains("martlet_store_commit_seconds_count 0\n") && text.contains("martlet_store_commit_submits_count "))
        #expect(text.contains("# TYPE process_open_fds gauge\n"))
        #expect(text.hasSuffix("# EOF\n"))
        #expect(try get(address + "/health").hasSuffix("ok\n"))
        #expect(try get(address + "/ready").hasSuffix("ready\n"))
        #expect(server.stop() == 0)
    }

    @Test("a second server on the same data is refused and says who has them")
    func twoServers() throws {
        let server = try started()
        let other = try Household()
        try other.configure()
        let text = try String(contentsOfFile: other.file, encoding: .utf8).replacing(other.data, with: household.data)
        try text.write(toFile: other.file, atomically: true, encoding: .utf8)
        let result = try other.run("serve", "--config", other.file)
        #expect(result.status == 75)
        #expect(result.errors.contains("in use by process"))
        #expect(server.stop() == 0)
    }

    private func get(_ address: String) throws -> String {
        let client = try PlainClient(port: household.metricsPort)
        client.send("GET \(try #require(URL(string: address)).path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client.readToEnd()
    }
}
