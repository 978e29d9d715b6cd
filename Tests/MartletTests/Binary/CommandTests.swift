import Foundation
import Testing

@Suite("Commands of the executable", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct CommandTests {
    private let household: Household

    init() throws { household = try Household() }

    @Test("the version is printed")
    func version() throws {
        let result = try household.run("--version")
        #expect(result.status == 0)
        #expect(result.output.hasPrefix("martlet "))
    }

    @Test("an unknown command ends with 64")
    func usage() throws { #expect(try household.run("frobnicate").status == 64) }

    @Test("the schema for a directory is printed for each kind of server")
    func directorySchema() throws {
        let formats = [("slapd", "attributetype ( martletAttr:1 NAME 'xmppAddress'"), ("olc", "dn: cn=martlet,cn=schema,cn=config\n"), ("389", "dn: cn=schema\nchangetype: modify\n")]
        for (format, part) in formats {
            let result = try household.run("directory", "schema", "--format", format)
            #expect(result.status == 0 && result.output.contains(part), "\(format): \(result.errors)")
        }
        #expect(try household.run("directory", "schema").output == household.run("directory", "schema", "--format", "slapd").output)
        #expect(try household.run("directory", "schema", "--format", "ad").status == 64)
    }

    @Test("what a device is called cannot steer a terminal")
    func deviceName() throws {
        _ = try household.run("init", "--domain", "capulet.example", "--data", household.data, "--config", household.file)
        for name in ["a\nb", "a\tb", "\u{1B}[2J", "\u{202E}gnp", "\u{2066}a", ""] {
            let result = try household.run("device", "name", "admin@capulet.example", "00000000000000ff", name, "--config", household.file)
            #expect(result.status == 64, "\(result.errors)")
        }
        let good = try household.run("device", "name", "admin@capulet.example", "00000000000000ff", "the old phone", "--config", household.file)
        #expect(good.status == 65 && good.errors.contains("the account has no such device"))
    }

    @Test("init makes configuration, data folder, certificate and an account whose password is printed once")
    func initialise() throws {
        let first = try household.run("init", "--domain", "capulet.example", "--data", household.data, "--config", household.file)
        #expect(first.status == 0, "\(first.errors)")
        #expect(first.output.contains("admin@capulet.example, password "))
        #expect(try mode(household.data) == 0o700)
        #expect(try mode(household.file) == 0o640)
        #expect(try mode(household.data + "/certificates/capulet.example.key") == 0o600)
        #expect(try household.run("config", "check", "--config", household.file).status == 0)
        #expect(try household.run("account", "list", "--config", household.file).output == "admin@capulet.example  (admin)\n")

        let configuration = try String(contentsOfFile: household.file, encoding: .utf8)
        let certificate = try String(contentsOfFile: household.data + "/certificates/capulet.example.pem", encoding: .utf8)
        let second = try household.run("init", "--domain", "capulet.example", "--data", household.data, "--config", household.file)
        #expect(second.status == 0, "\(second.errors)")
        #expect(!second.output.contains("password"))
        #expect(try String(contentsOfFile: household.file, encoding: .utf8) == configuration)
        #expect(try String(contentsOfFile: household.data + "/certificates/capulet.example.pem", encoding: .utf8) == certificate)
    }

    @Test("init does not touch a configuration that is for another domain")
    func otherDomain() throws {
        try household.configure()
        let result = try household.run("init", "--domain", "montague.example", "--config", household.file)
        #expect(result.status == 65)
        #expect(result.errors.contains("does not host montague.example"))
    }

    @Test("certificates that accounts have added are listed and revoked without a server (XEP-0257); to renew that of a domain needs one")
    func certificates() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "well kept secret\n")
        let listed = try household.run("account", "certificates", "nurse@capulet.example", "--config", household.file)
        #expect(listed.status == 0 && listed.output.isEmpty, "\(listed.errors)")
        let revoked = try household.run("account", "certificates", "nurse@capulet.example", "--revoke", "phone", "--config", household.file)
        #expect(revoked.status == 65 && revoked.errors.contains("no such certificate"), "\(revoked.errors)")
        #expect(try household.run("account", "certificates", "nobody@capulet.example", "--config", household.file).status == 67)
        let renewed = try household.run("certificate", "renew", "capulet.example", "--config", household.file)
        #expect(renewed.status == 69 && renewed.errors.contains("does not run"), "\(renewed.errors)")
    }

    @Test("accounts are added, listed, disabled, enabled and deleted without a server")
    func accounts() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "well kept secret\n")
        let added = try household.run("account", "add", "juliet@capulet.example", "--config", household.file, input: "r0m30-r0m30\n")
        #expect(added.status == 0, "\(added.errors)")
        #expect(try account("disable") == 0)
        #expect(try list() == ["juliet@capulet.example  (disabled)", "nurse@capulet.example  (admin)"])
        #expect(try account("enable") == 0)
        #expect(try account("delete") == 0)
        #expect(try list() == ["nurse@capulet.example  (admin)"])
        #expect(try account("delete") == 67)
    }

    @Test("a password that breaks a rule is refused with the rule; one for an application is made, listed and taken away without a server")
    func passwords() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file)
        func command(_ words: String..., input: String = "") throws -> CommandResult {
            try household.run(arguments: ["account"] + words + ["--config", household.file], input: input)
        }
        let juliet = "juliet@capulet.example"
        let short = try command("add", juliet, input: "1234567\n")
        #expect(short.status == 65 && short.errors.contains("at least 8 characters"))
        #expect(try command("add", juliet, input: "juliet@capulet.example\n").status == 65)
        #expect(try command("add", juliet, input: "12345678\n").status == 0)
        let made = try command("app-password", "add", juliet, "mail")
        #expect(made.status == 0 && made.output.split(separator: "-").count == 7, "\(made.errors)")
        let list = try command("app-password", "list", juliet).output
        #expect(list.hasPrefix("mail  made on ") && list.contains("never used"))
        #expect(try command("app-password", "add", juliet, "mail").status == 65)
        #expect(try command("app-password", "revoke", juliet, "mail").status == 0)
        #expect(try command("app-password", "revoke", juliet, "mail").status == 65)
        #expect(try command("app-password", "list", juliet).output.isEmpty)
        #expect(try command("app-password", "list", "nobody@capulet.example").status == 67)
    }

    @Test("an account that exists, a domain that is not hosted and an empty password end with 65")
    func refused() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file)
        let twice = try household.run("account", "add", "admin@capulet.example", "--config", household.file, input: "well kept secret\n")
        #expect(twice.status == 65)
        #expect(twice.errors.contains("exists"))
        let foreign = try household.run("account", "add", "romeo@capulet.exampel", "--config", household.file, input: "well kept secret\n")
        #expect(foreign.status == 65)
        #expect(foreign.errors.contains("did you mean capulet.example?"))
        #expect(try household.run("account", "add", "romeo@capulet.example", "--config", household.file, input: "\n").status == 65)
        #expect(try household.run("account", "add", "romeo@capulet.example", "--config", household.file).status == 64)
    }

    @Test("an import with one bad line adds nothing and names the line; a good one adds all")
    func importing() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file)
        let accounts = household.folder + "/accounts.tsv"
        let good = (0..<600).map { "user\($0)@capulet.example\tsecret\($0)\n" }.joined()
        try (good + "user1@capulet.example\tx\n").write(toFile: accounts, atomically: true, encoding: .utf8)
        let bad = try household.run("account", "import", accounts, "--config", household.file)
        #expect(bad.status == 65)
        #expect(bad.errors.contains("line 601: user1@capulet.example is on line 2 already"))
        #expect(try list().count == 1)
        try good.write(toFile: accounts, atomically: true, encoding: .utf8)
        let result = try household.run("account", "import", accounts, "--config", household.file)
        #expect(result.output == "added 600 accounts\n", "\(result.errors)")
        #expect(try list().count == 601)
    }

    @Test("commands that need a running server say that it does not run and end with 69", arguments: [
        ["status"], ["session", "list"], ["session", "close", "a@capulet.example"], ["log", "level", "debug"], ["config", "reload"],
    ])
    func notRunning(_ words: [String]) throws {
        try household.configure()
        let process = try MartletBinary.process(words + ["--config", household.file])
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 69)
        #expect(text.contains("the server does not run"))
    }

    @Test("a backup is verified and restored; a changed bit is noticed")
    func backup() throws {
        try household.configure()
        _ = try household.run("init", "--config", household.file)
        let copy = household.folder + "/copy.db"
        #expect(try household.run("backup", copy, "--config", household.file).status == 0)
        #expect(try household.run("backup", copy, "--config", household.file).status == 73)
        #expect(try household.run("verify", copy, "--config", household.file).status == 0)
        _ = try household.run("account", "add", "later@capulet.example", "--config", household.file, input: "well kept secret\n")
        let refused = try household.run("restore", copy, "--config", household.file)
        #expect(refused.status == 73)
        #expect(refused.errors.contains("--overwrite"))
        #expect(try household.run("restore", "--overwrite", copy, "--config", household.file).status == 0)
        #expect(try list() == ["admin@capulet.example  (admin)"])

        var bytes = try Data(contentsOf: URL(fileURLWithPath: copy))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: copy))
        let damaged = try household.run("verify", copy, "--config", household.file)
        #expect(damaged.status == 65)
        #expect(damaged.errors.contains("damaged"))
        #expect(try household.run("verify", household.folder + "/none.db", "--config", household.file).status == 66)
    }

    private func account(_ verb: String) throws -> Int32 {
        try household.run("account", verb, "juliet@capulet.example", "--config", household.file).status
    }

    private func list() throws -> [String] {
        try household.run("account", "list", "--config", household.file).output.split(separator: "\n").map(String.init)
    }

    private func mode(_ path: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return try #require(attributes[.posixPermissions] as? Int)
    }
}
