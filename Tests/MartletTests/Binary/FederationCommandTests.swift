import Testing

@Suite("martlet federation", .enabled(if: MartletBinary.path != nil, MartletBinary.isMissing))
struct FederationCommandTests {
    private let household: Household

    /// Nobody listens at port 1, where the configuration has another server.
    init() throws {
        household = try Household()
        let more = """
            federation:
              private-networks: [127.0.0.0/8]
            peers:
              - domain: montague.example
                addresses: ["127.0.0.1:1"]
            """
        try household.configure(more: more)
        let result = try household.run("init", "--config", household.file, "--admin", "nurse@capulet.example", "--password-stdin", input: "angelica\n")
        try #require(result.status == 0, "\(result.errors)")
    }

    private func federation(_ words: String...) throws -> CommandResult {
        switch words.count {
        case 1: try household.run("federation", words[0], "--config", household.file)
        case 2: try household.run("federation", words[0], words[1], "--config", household.file)
        default: try household.run("federation", words[0], words[1], words[2], words[3], "--config", household.file)
        }
    }

    /// The texts of a test's lines, without the times.
    private func findings(_ result: CommandResult) -> [String] {
        result.output.split(separator: "\n").map { String($0.drop { $0 != "m" }.dropFirst(4)) }
    }

    private let expected = [
        "    SRV records     not asked for: the configuration says where montague.example is called (peers)",
        "    targets         1. 127.0.0.1:1 (STARTTLS)",
        "    address         127.0.0.1:1 (127.0.0.1): connecting",
        "!!  address         127.0.0.1:1 (127.0.0.1): Connection refused",
        "!!  what to do      see whether this machine may connect to these ports; if it may, the operator of montague.example has to start the server or open them",
    ]

    @Test("a test goes step by step, asked of the running server or not, and its status says that something is wrong")
    func test() throws {
        let offline = try federation("test", "montague.example")
        #expect(offline.status == 69 && offline.errors.contains("asked from here"))
        #expect(findings(offline) == expected)
        let server = try RunningMartlet(household)
        let online = try federation("test", "montague.example")
        #expect(online.status == 69 && online.errors.isEmpty)
        #expect(findings(online) == expected)
        #expect(try federation("test", "capulet.example").errors.contains("martlet doctor"))
        #expect(try federation("test", "montague.example", "--from", "verona.example").status == 65)
        #expect(server.stop() == 0)
    }

    @Test("what a server without streams has to say of others")
    func list() throws {
        #expect(try federation("list").status == 69)
        let server = try RunningMartlet(household)
        #expect(try federation("list").output.isEmpty)
        #expect(try household.run("federation", "list", "--json", "--config", household.file).output == "{\"calls\":[],\"failures\":[],\"streams\":[]}\n")
        #expect(try federation("show", "montague.example").status == 67)
        #expect(try federation("show", "a@montague.example").status == 65)
        #expect(try federation("close", "montague.example").output == "ended 0 streams\n")
        #expect(server.log.contains("streams with another server closed"))
        #expect(server.stop() == 0)
    }
}
