import Foundation
import Testing

@Suite(
    "A server whose configuration is in a directory", .serialized, .timeLimit(.minutes(5)), .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing),
    .enabled(if: Slapd.isInstalled, Slapd.isMissing))
struct ConfigurationDirectoryBinaryTests {
    private static let base = "cn=martlet,dc=example,dc=org"
    private static let tree = """
        dn: \(base)
        objectClass: martletServer
        cn: martlet
        martletConfigVersion: 1
        martletSetting: limits.roster-items=7

        dn: cn=domains,\(base)
        objectClass: martletConfigEntry
        cn: domains

        """
    private static let raise = "changetype: modify\nincrement: martletConfigVersion\nmartletConfigVersion: 1\n"

    private let household: Household
    private let slapd: Slapd

    init() throws {
        household = try Household()
        slapd = try Slapd()
        try slapd.modify(Self.tree)
        let password = household.folder + "/ldap.password"
        try Slapd.servicePassword.write(toFile: password, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: password)
        try household.configure(
            more: """
                configuration-directory:
                  servers: ["ldap://localhost:\(slapd.port)"]
                  start-tls: off
                  base: \(Self.base)
                  log-in:
                    name: \(Slapd.service)
                    password-file: \(password)
                """)
    }

    private func config(_ words: String...) throws -> CommandResult { try household.run(arguments: ["config"] + words + ["--config", household.file]) }

    /// Asks until the answer is as it should be; the last answer.
    private func status(until isGood: (CommandResult) -> Bool) throws -> CommandResult {
        let end = Date(timeIntervalSinceNow: 60)
        var result = try config("status")
        while !isGood(result), Date() < end { result = try config("status") }
        return result
    }

    private func file(_ text: String) throws -> String {
        let path = "\(household.folder)/\(UUID().uuidString).ldif"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    @Test("what is changed there is in force at once, if the whole is good")
    func live() throws {
        let server = try RunningMartlet(household)
        let first = try status { $0.status == 0 }
        #expect(first.output.contains("in force   version 1, 2 entries"), "\(first)")
        let shown = try config("show", "--set").output
        #expect(shown.contains("limits.roster-items: 7  # \(Self.base)\n"))
        // A domain.
        let domain = "dn: cn=new.example.net,cn=domains,\(Self.base)\nobjectClass: martletDomain\ncn: new.example.net\n"
        try slapd.modify("\(domain)\ndn: \(Self.base)\n\(Self.raise)")
        let second = try status { $0.output.contains("version 2") }
        #expect(second.output.contains("version 2, 3 entries"), "\(second)")
        #expect(try household.run("status", "--config", household.file).output.contains("capulet.example, new.example.net"))
        let client = try PlainClient(port: household.ports[0])
        client.send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='new.example.net' version='1.0'>")
        #expect(try client.read(until: "</stream:features>").contains("new.example.net"))
        // A mistake.
        try slapd.modify("dn: \(Self.base)\nchangetype: modify\nreplace: martletSetting\nmartletSetting: limits.roster-items=many\n-\nincrement: martletConfigVersion\nmartletConfigVersion: 1\n")
        let mistaken = try status { $0.status == 1 }
        #expect(mistaken.output.contains("in force   version 2") && mistaken.output.contains("\(Self.base): error: limits.roster-items: expected a whole number"), "\(mistaken)")
        #expect(server.log.contains("the directory's configuration is not put into force"))
        // It is mended, without a word that it is done.
        try slapd.modify("dn: \(Self.base)\nchangetype: modify\nreplace: martletSetting\nmartletSetting: limits.roster-items=9\n")
        let mended = try status { $0.status == 0 }
        #expect(mended.output.contains("version 3, 3 entries"), "\(mended)")
        #expect(Set(try FileManager.default.contentsOfDirectory(atPath: household.data + "/configuration")) == ["1.ldif", "2.ldif", "3.ldif", "current.ldif"])
        #expect(server.stop() == 0)
    }

    @Test("it is exported, looked at and imported; whoever comes too late with what he has read is told so")
    func exportAndImport() throws {
        let exported = try config("export")
        #expect(exported.status == 0 && exported.output.hasPrefix("version: 1\n\ndn: \(Self.base)\nobjectClass: martletServer\n"), "\(exported)")
        let same = try file(exported.output)
        #expect(try config("import", "--dry-run", same).output == "nothing is to be changed\n")
        let peer = "\ndn: cn=peers,\(Self.base)\nobjectClass: martletConfigEntry\ncn: peers\n\ndn: cn=a.example,cn=peers,\(Self.base)\nobjectClass: martletPeer\ncn: a.example\n"
        let more = try file(exported.output.replacing("roster-items=7", with: "roster-items=8") + peer)
        let dry = try config("import", "--dry-run", more)
        #expect(dry.output.contains("dn: cn=a.example,cn=peers,\(Self.base)\nchangetype: add\n") && dry.output.contains("increment: martletConfigVersion"), "\(dry)")
        #expect(try config("export").output == exported.output)
        let made = try config("import", more)
        #expect(made.status == 0 && made.output == "made 3 changes\n", "\(made)")
        let after = try config("export").output
        #expect(after.contains("martletConfigVersion: 2\n") && after.contains("roster-items=8") && after.contains("cn=a.example"))
        let wrong = try config("import", try file(after.replacing("roster-items=8", with: "roster-items=many")))
        #expect(wrong.status == 78 && wrong.errors.contains("expected a whole number"), "\(wrong)")
        #expect(try config("export").output == after)
        // What the file says goes there as well, and the file can do without it then.
        let fromFile = try config("export", "--from-file")
        #expect(fromFile.output.contains("dn: cn=capulet.example,cn=domains,\(Self.base)\n") && !fromFile.output.contains("server.data"), "\(fromFile)")
    }

    @Test("a server that cannot ask has what was in force last, and says so; one that never asked does not start")
    func outage() throws {
        slapd.stop()
        let never = try household.run("serve", "--config", household.file)
        #expect(never.status == 75 && never.errors.contains("cannot be asked"), "\(never)")
        try slapd.start()
        let server = try RunningMartlet(household)
        #expect(try status { $0.status == 0 }.status == 0)
        #expect(server.stop() == 0)
        slapd.stop()
        let later = try RunningMartlet(household)
        let lost = try config("status")
        #expect(lost.status == 1 && lost.output.contains("in force   version 1"), "\(lost)")
        #expect(later.log.contains("as it was kept here"))
        #expect(try config("show", "--set").output.contains("limits.roster-items: 7  # \(Self.base)\n"))
        try slapd.start()
        #expect(try status { $0.status == 0 }.status == 0)
        #expect(later.stop() == 0)
    }

    @Test("a tree that is not shown any more takes nothing away")
    func vanished() throws {
        let server = try RunningMartlet(household)
        #expect(try status { $0.status == 0 }.status == 0)
        try slapd.delete("cn=domains,\(Self.base)", Self.base)
        let gone = try status { $0.output.contains("there is no entry") }
        #expect(gone.output.contains("in force   version 1") && gone.output.contains("there is no entry \(Self.base)"), "\(gone)")
        #expect(server.stop() == 0)
    }
}
