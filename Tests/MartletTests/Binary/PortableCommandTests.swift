import Foundation
import Testing

@Suite("Accounts that move (XEP-0227)", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct PortableCommandTests {
    private static let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures/portable").path

    private let household: Household

    init() throws {
        household = try Household()
        try household.configure()
        _ = try household.run("init", "--config", household.file)
    }

    private func account(_ words: String..., on other: Household? = nil) throws -> CommandResult {
        let household = other ?? household
        return try household.run(arguments: ["account"] + words + ["--config", household.file])
    }

    private func list(_ other: Household? = nil) throws -> [String] {
        try account("list", on: other).output.split(separator: "\n").map(String.init)
    }

    @Test("what Prosody wrote comes in, and goes out and in again as the same")
    func roundTrip() throws {
        let tried = try account("import", "--dry-run", Self.fixtures + "/prosody-juliet.xml")
        #expect(tried.status == 0 && tried.output.hasPrefix("would add 1 account\n") && tried.output.contains("  3  contacts\n"), "\(tried)")
        #expect(try list() == ["admin@capulet.example  (admin)"])
        for name in ["juliet", "romeo"] {
            let result = try account("import", Self.fixtures + "/prosody-\(name).xml")
            #expect(result.status == 0 && result.output.hasPrefix("added 1 account\n") && !result.output.contains("left out"), "\(result)")
        }
        #expect(try list() == ["admin@capulet.example  (admin)", "juliet@capulet.example", "romeo@capulet.example"])
        let file = household.folder + "/out.xml"
        let written = try account("export", "--all", "--archives", "--output", file)
        #expect(written.status == 0 && written.output.hasSuffix("out.xml: 3 accounts\n"), "\(written)")
        #expect(try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int == 0o600)
        let document = try String(contentsOfFile: file, encoding: .utf8)
        for part in ["What man art thou?", "Romeo &amp; co.", "SCRAM-SHA-1", "exodus", "garden@conference.capulet.example", "paris@verona.example"] {
            #expect(document.contains(part), "\(part)")
        }
        #expect(!document.contains("Neither, fair saint"), "no password goes out")

        let other = try Household()
        try other.configure()
        _ = try other.run("init", "--config", other.file)
        let refused = try account("import", file, on: other)
        #expect(refused.status == 65 && refused.errors.contains("admin@capulet.example: it exists already"), "\(refused)")
        #expect(try account("import", "--skip-existing", file, on: other).output.hasPrefix("added 2 accounts\n"))
        let names = ["juliet@capulet.example", "romeo@capulet.example"]
        let (first, second) = (
            try account("export", "--archives", names[0], names[1]).output, try account("export", "--archives", names[0], names[1], on: other).output
        )
        #expect(first == second && first.contains("juliet"))
        #expect(try other.run("verify", "--config", other.file).status == 0)
    }

    @Test("an account that exists is replaced only where that is asked for")
    func replacing() throws {
        let file = Self.fixtures + "/prosody-juliet.xml"
        #expect(try household.run("account", "add", "juliet@capulet.example", "--config", household.file, input: "well kept secret\n").status == 0)
        #expect(try account("import", file).status == 65)
        #expect(try account("import", "--skip-existing", file).output.hasPrefix("added 0 accounts\n"))
        #expect(!(try account("export", "juliet@capulet.example").output.contains("Romeo &amp; co.")))
        #expect(try account("import", "--replace", file).output.hasPrefix("added 1 account\n"))
        #expect(try account("export", "juliet@capulet.example").output.contains("Romeo &amp; co."))
        #expect(try account("import", "--replace", "--skip-existing", file).status == 64)
    }

    @Test("a document with a mistake anywhere adds nothing")
    func mistakes() throws {
        let file = household.folder + "/bad.xml"
        for (inner, says) in [
            ("<user name='a'/><user name='b'/><user name='A'/>", "a@capulet.example: it is there twice"), ("<user name='a'/><user name='b'>", "no well-formed XML"),
            ("<user name='a'/></host><host jid='verona.example'><user name='c'/>", "does not host verona.example"),
        ] {
            try "<server-data xmlns='urn:xmpp:pie:0'><host jid='capulet.example'>\(inner)</host></server-data>".write(toFile: file, atomically: true, encoding: .utf8)
            let result = try account("import", file)
            #expect(result.status == 65 && result.errors.lowercased().contains(says.lowercased()), "\(result.errors)")
        }
        #expect(try list() == ["admin@capulet.example  (admin)"])
        #expect(try account("import", "--skip-foreign", file).output.contains("added 1 account\n"))
        #expect(try household.run("account", "import", "-", "--config", household.file, input: "<server-data/>").status == 64)
        #expect(try account("export", "nobody@capulet.example").status == 67)
        #expect(try account("export").status == 64)
        #expect(try account("export", "--all", "--output", household.folder + "/none/out.xml").status != 0)
    }

    @Test("an account that was disabled comes back disabled")
    func state() throws {
        _ = try account("import", Self.fixtures + "/prosody-juliet.xml")
        _ = try account("disable", "juliet@capulet.example")
        let file = household.folder + "/out.xml"
        _ = try account("export", "juliet@capulet.example", "-o", file)
        _ = try account("delete", "--yes", "juliet@capulet.example")
        #expect(try account("import", file).status == 0)
        #expect(try list().contains("juliet@capulet.example  (disabled)"))
    }
}
