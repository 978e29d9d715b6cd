import Foundation
import Testing

@Suite("martlet room", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct RoomCommandTests {
    private let household: Household
    private let garden = "garden@conference.capulet.example"

    init() throws {
        household = try Household()
        try household.configure()
        var text = try String(contentsOfFile: household.file, encoding: .utf8)
        text = text.replacing("    addresses: [127.0.0.1]\n  - kind: client-tls", with: "    addresses: [127.0.0.1]\n    plaintext-authentication: true\n  - kind: client-tls")
        try text.write(toFile: household.file, atomically: true, encoding: .utf8)
        let result = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "angelica\n")
        try #require(result.status == 0, "\(result.errors)")
    }

    private func room(_ words: String..., input: String = "") throws -> CommandResult {
        let process = try MartletBinary.process(["room"] + words + ["--config", household.file])
        let (stdin, stdout, stderr) = (Pipe(), household.folder + "/out-\(UUID().uuidString)", household.folder + "/err-\(UUID().uuidString)")
        for path in [stdout, stderr] { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.standardInput = stdin
        process.standardOutput = FileHandle(forWritingAtPath: stdout)
        process.standardError = FileHandle(forWritingAtPath: stderr)
        try process.run()
        try? stdin.fileHandleForWriting.write(contentsOf: Data(input.utf8))
        try? stdin.fileHandleForWriting.close()
        process.waitUntilExit()
        return CommandResult(
            status: process.terminationStatus, output: try String(contentsOfFile: stdout, encoding: .utf8),
            errors: try String(contentsOfFile: stderr, encoding: .utf8))
    }

    @Test("rooms are made, listed, looked at, changed and destroyed without a server")
    func offline() throws {
        let created = try room(
            "create", garden, "--owner", "nurse@capulet.example", "--name", "The garden", "--hidden", "--password-file", "-", input: "rose\n")
        #expect(created.output == "created \(garden)  (persistent)\n", "\(created.errors)")
        #expect(try room("create", garden, "--owner", "nurse@capulet.example").status == 65)
        #expect(try room("list").output == "\(garden)  (persistent, hidden, 0 inside)  The garden\n")
        #expect(try room("list", "--public").output.isEmpty)
        #expect(try room("list", "--search", "gard", "--domain", "capulet.example").output.contains(garden))
        #expect(try room("list", "--search", "hall").output.isEmpty)

        #expect(try room("affiliation", garden, "set", "romeo@montague.example", "outcast", "--reason", "a Montague").status == 0)
        #expect(
            try room("affiliation", garden).output
                == "owner  nurse@capulet.example\noutcast  romeo@montague.example  reason: a Montague\n")
        #expect(try room("affiliation", garden, "list", "--affiliation", "outcast", "--json").output.contains("\"jid\":\"romeo@montague.example\""))
        let last = try room("affiliation", garden, "set", "nurse@capulet.example", "none")
        #expect(last.status == 65 && last.errors.contains("only owner"))

        let info = try room("info", garden)
        #expect(info.output.contains("type          hidden, open, unmoderated, semianonymous, passwordprotected, persistent\n"), "\(info)")
        #expect(info.output.contains("affiliations  1 owner, 0 admin, 0 member, 1 outcast\narchive       empty\noccupants     0 of 200\n"))
        #expect(try !room("info", garden, "--json").output.contains("rose"))
        #expect(try room("history", garden).output.isEmpty)
        #expect(try room("destroy", garden).output == "destroyed \(garden)\n")
        #expect(try room("info", garden).status == 67)
    }

    @Test("a room stays, unless it is to be temporary, and it is said which")
    func temporary() throws {
        let created = try room("create", garden, "--owner", "nurse@capulet.example", "--temporary")
        #expect(created.output == "created \(garden)  (temporary)\n", "\(created.errors)")
        #expect(try room("list").output.contains("\(garden)  (temporary, "))
    }

    @Test("what is wrong is said, with what to do about it", arguments: [
        (["info", "garden@conference.capulet.exampel"], 65, "did you mean conference.capulet.example?"),
        (["info", "garden@capulet.example"], 65, "garden@conference.capulet.example"),
        (["info", "conference.capulet.example"], 65, "is not an address of a room"),
        (["info", "garden@conference.capulet.example"], 67, "martlet room list"),
        (["list", "--domain", "elsewhere.example"], 65, "they are at conference.capulet.example"),
        (["list", "--hidden", "--public"], 64, "opposites"),
        (["create", "garden@conference.capulet.example"], 64, "--owner"),
        (["create", "garden@conference.capulet.example", "--owner", "nurze@capulet.example"], 67, "there is no account nurze@capulet.example"),
        (["create", "garden@conference.capulet.example", "--owner", "nurse@capulet.example", "--archive-days", "36501"], 65, "archive_days is from 0 to 36500"),
        (["destroy", "garden@conference.capulet.example"], 67, "there is no room garden@conference.capulet.example"),
        (["affiliation", "garden@conference.capulet.example", "set", "romeo@montague.example"], 64, "set takes"),
        (["affiliation", "garden@conference.capulet.example", "set", "romeo@montague.example", "boss"], 65, "there are owner, admin"),
        (["history", "garden@conference.capulet.example", "--last", "1001"], 64, "from 1 to 1000"),
        (["history", "garden@conference.capulet.example", "--last", "0"], 64, "from 1 to 1000"),
    ])
    func mistakes(_ words: [String], _ status: Int32, _ text: String) throws {
        let process = try MartletBinary.process(["room"] + words + ["--config", household.file])
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == status, "\(said)")
        #expect(said.contains(text), "\(said)")
    }

    @Test("occupants see what is done by command, and commands see what occupants say; both are in the audit log")
    func running() throws {
        let server = try RunningMartlet(household)
        #expect(try room("create", garden, "--owner", "nurse@capulet.example").status == 0)
        let client = try PlainClient(port: household.ports[0])
        _ = try client.logIn("nurse", "angelica")
        client.send("<presence to='\(garden)/nurse'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        _ = try client.read(until: "<subject")
        client.send("<message type='groupchat' to='\(garden)'><body>Marry, bachelor</body></message>")
        _ = try client.read(until: "Marry, bachelor")
        #expect(try room("history", garden, "--last", "5").output.hasSuffix("  nurse: Marry, bachelor\n"))
        #expect(try room("history", garden, "--json").output.contains("\"jid\":\"nurse@capulet.example/test\""))
        #expect(try room("list").output == "\(garden)  (persistent, public, 1 inside)\n")
        #expect(try room("info", garden).output.contains("\noccupants     1 of 200\n  nurse  moderator, owner  nurse@capulet.example/test\n"))
        let metrics = try PlainClient(port: household.metricsPort)
        metrics.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        let counted = metrics.readToEnd()
        for line in ["martlet_rooms 1", "martlet_room_occupants 1", "martlet_room_messages_total 1"] { #expect(counted.contains(line + "\n"), "\(line)") }
        let exported = try household.run("archive", "export", garden, "--config", household.file)
        #expect(exported.output.contains("<body>Marry, bachelor</body>"), "\(exported.errors)")
        #expect(try household.run("archive", "purge", garden, "--yes", "--config", household.file).status == 0)
        #expect(try room("history", garden).output.isEmpty)
        #expect(try room("affiliation", garden, "set", "paris@capulet.example", "admin").status == 0)
        #expect(try client.read(until: "paris@capulet.example").contains("affiliation='admin'"))
        #expect(try room("destroy", garden, "--reason", "rain", "--venue", "hall@conference.capulet.example").status == 0)
        #expect(try client.read(until: "</reason>").contains("hall@conference.capulet.example"))
        #expect(try room("destroy", garden).status == 67)
        #expect(server.stop() == 0)
        let log = server.log
        for line in ["room created", "archive of a room read", "archive of a room purged", "affiliation set", "room destroyed"] {
            #expect(log.contains(line), "\(line): \(log)")
        }
    }
}
