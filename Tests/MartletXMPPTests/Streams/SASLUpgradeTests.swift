import MartletXML
import MartletXMPP
import Testing

@Suite("Keys that clients make up as they log in (XEP-0480)")
struct SASLUpgradeTests {
    private static let wishes = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>"
    private static let both = wishes + "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>"
    private static let salt = [UInt8](repeating: 7, count: ScramKeys.saltBytesDefault)
    private static let next = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>"

    private let juliet: BareJID

    init() throws { juliet = try BareJID(parsing: "juliet@verona.example") }

    private static func server(mechanisms: [SASLMechanism] = [.scram(.sha1), .plain], _ certification: ClientCertification = .none) -> Surroundings {
        var server = Surroundings()
        server.policy = ClientStreamPolicy(mechanisms: mechanisms, offersTokens: true, upgrades: [.sha256, .sha512], attemptsMax: 3)
        server.certification = certification
        return server
    }

    /// A stream inside TLS, up to its features; `isSecure: false`: in clear.
    private static func opened(_ server: Surroundings = server(), isSecure: Bool = true) throws -> (machine: ClientStreamMachine, features: String) {
        var machine = isSecure ? ClientStreamMachine(bindings: []) : ClientStreamMachine()
        let features = ClientStreamActionTests.written(machine.opened(try StreamEvent.header("verona.example"), server))
        return (machine, features)
    }

    /// A log-in by SCRAM-SHA-1, up to where the client has proved to know the password.
    private static func proved(_ inline: String, _ machine: inout ClientStreamMachine) throws -> ClientStreamMachine.Action {
        let server = server()
        var client = try Verona.client(.sha1, username: "juliet")
        let first = "<initial-response>\(Base64.encode(client.first()))</initial-response>"
        let asked = machine.received(
            try StreamEvent.element("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'>\(first)\(inline)</authenticate>"), server)
        guard asked.summary == "ask", case .challenge(let challenge, _) = machine.answered(.scramKeys(try Verona.keys(.sha1))) else { return asked }
        let final = Base64.encode(try client.final(answering: challenge))
        return machine.received(try StreamEvent.element("<response xmlns='urn:xmpp:sasl:2'>\(final)</response>"), server)
    }

    private static func wanted(_ hash: ScramHash) -> ScramUpgrade { ScramUpgrade(hash: hash, salt: salt, iterations: 4096) }

    private static func hash(_ bytes: [UInt8]) -> String {
        "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>\(Base64.encode(bytes))</hash></task-data>"
    }

    private static func saltedPassword(_ hash: ScramHash) throws -> [UInt8] {
        try #require(hash.saltedPassword(Verona.password(), salt: salt, iterations: 4096))
    }

    /// Where the client has been asked for keys of SHA-256, or is to compute them.
    private static func asked(isDescribed: Bool) throws -> ClientStreamMachine {
        var machine = try opened().machine
        _ = try proved(wishes, &machine)
        _ = machine.upgradable([wanted(.sha256)])
        if isDescribed { _ = machine.received(try StreamEvent.element(next), server()) }
        return machine
    }

    // MARK: Every event

    /// The steps of an upgrade.
    enum Step: CaseIterable, Sendable {
        case seeking, requested, described, writing

        var isServers: Bool { [.seeking, .writing].contains(self) }

        func machine() throws -> ClientStreamMachine {
            if self == .seeking {
                var machine = try SASLUpgradeTests.opened().machine
                _ = try SASLUpgradeTests.proved(SASLUpgradeTests.wishes, &machine)
                return machine
            }
            var machine = try SASLUpgradeTests.asked(isDescribed: self != .requested)
            guard self == .writing else { return machine }
            let answer = SASLUpgradeTests.hash(try SASLUpgradeTests.saltedPassword(.sha256))
            _ = machine.received(try StreamEvent.element(answer), SASLUpgradeTests.server())
            return machine
        }

        func expected(_ event: StreamEvent) -> String {
            switch event {
            case .transportLost, .secured, .rightPassword, .wrongPassword, .noAnswer, .bound, .refusedBind, .resumed, .refusedResumption, .admitted: "wait"
            case .end: "end and close"
            case .serverEnds: "end system-shutdown"
            case .xmlError: "end not-well-formed"
            case .streamError: "end"
            case .header, .foreignHeader: "end bad-format"
            case .abort2 where !isServers: "2 fail aborted, end policy-violation"
            // Of another task.
            case .next2 where self == .requested: "2 fail malformed-request, end policy-violation"
            case .abort2, .next2, .startTLS, .plain, .weakMechanism, .response, .abort, .bindRequest, .bindQuery, .sessionRequest, .presence, .nonza,
                .authenticate, .authenticateInline, .weakAuthenticate, .response2, .enable, .acknowledge, .badAcknowledge, .resume, .inactive, .active,
                .otherState:
                isServers ? "end policy-violation" : "end not-authorized"
            }
        }
    }

    @Test("every event in every step does what the table says (XEP-0388 §2.6.3)", arguments: Step.allCases)
    func table(step: Step) throws {
        for event in StreamEvent.allCases {
            var machine = try step.machine()
            #expect(machine.isWaiting == step.isServers && !machine.isAuthenticated && !machine.isEnding)
            let action = try event.happen(to: &machine, Self.server())
            #expect(action.summary == step.expected(event), "\(step) \(event)")
        }
    }

    // MARK: What is offered (§2.1)

    @Test("tasks are offered inside TLS, the strongest first, beside what may be asked for inline, and where the password can be proved by SCRAM")
    func offered() throws {
        let tasks = ["512", "256"].map { "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-\($0)</upgrade>" }.joined()
        #expect(try Self.opened().features.contains("</inline>\(tasks)</authentication>"))
        #expect(try Self.opened().features.ranges(of: "UPGR-").count == 2)
        var inClear = Self.server()
        inClear.policy.allowsPlaintext = true
        for (server, isSecure) in [
            (inClear, false), (Self.server(mechanisms: [.plain]), true), (Self.server(.required(juliet)), true), (Surroundings(), true),
        ] {
            #expect(!(try Self.opened(server, isSecure: isSecure).features.contains("UPGR-")))
        }
        #expect(try Self.opened(Self.server(.optional(juliet))).features.contains("UPGR-"))
    }

    // MARK: The ordinary way (§2.2, §3)

    @Test("a client that has proved to know the password computes what its account lacks, and hears of success when that is written")
    func upgrade() throws {
        var (machine, _) = try Self.opened()
        let asked = try Self.proved(Self.wishes, &machine)
        #expect(asked == .seekUpgrades(juliet, provedBy: try Verona.keys(.sha1), to: [.sha256]))
        #expect(machine.isWaiting && !machine.isAuthenticated)
        let request = ClientStreamActionTests.written(machine.upgradable([Self.wanted(.sha256)]))
        #expect(request.hasPrefix("<continue xmlns='urn:xmpp:sasl:2'><additional-data>"))
        #expect(request.hasSuffix("</additional-data><tasks><task>UPGR-SCRAM-SHA-256</task></tasks></continue>"))
        #expect(!machine.isWaiting && !machine.isAuthenticated)
        let description = ClientStreamActionTests.written(machine.received(try StreamEvent.element(Self.next), Self.server()))
        let salt = Base64.encode(Self.salt)
        #expect(description == "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='4096'>\(salt)</salt></task-data>")
        let answer = try StreamEvent.element(Self.hash(try Self.saltedPassword(.sha256)))
        let keys = try ScramKeys.derive(password: Verona.password(), salt: Self.salt, iterations: 4096, hash: .sha256)
        let write = machine.received(answer, Self.server())
        #expect(write == .upgrade(juliet, keys, provedBy: try Verona.keys(.sha1)))
        #expect(machine.isWaiting && !machine.isAuthenticated)
        let admission = machine.upgraded(nil)
        #expect(admission.summary == "admit juliet@verona.example")
        let success = machine.admitted()
        #expect(success == .complete(InlineSuccess(juliet)), "what the exchange had to say was in <continue/>")
    }

    @Test("the SaltedPassword of the specification's example gives the keys that it stands for (§3)")
    func example() throws {
        let salted = try #require(Base64.decode("BzOnw3Pc5H4bOLlPZ/8JAy6wnTpH05aH21KW2+Xfpaw="))
        let salt = try #require(Base64.decode("QV9TWENSWFE2c2VrOGJmX1o="))
        let keys = try ScramKeys(hash: .sha256, salt: salt, iterations: 4096, saltedPassword: salted)
        // Computed by Python's hmac and hashlib.
        #expect(Base64.encode(keys.storedKey) == "OzV4y7Vxi1z++Fbd2Z6iE837+zKnCDc7nz/w8Gv6Q04=")
        #expect(Base64.encode(keys.serverKey) == "ZY/2URIqbKPBCqN1UuPwFPmbuLvNUO4EMnor3iZml7k=")
    }

    @Test("of several tasks one follows the other, each asked for alone, and what was asked for inline comes after the last (§2.2)")
    func sequence() throws {
        var (machine, _) = try Self.opened()
        let asked = try Self.proved(Self.both + StreamEvent.resumeAndBind, &machine)
        #expect(asked == .seekUpgrades(juliet, provedBy: try Verona.keys(.sha1), to: [.sha512, .sha256]))
        #expect(machine.heldByteCount > 0)
        var request = machine.upgradable([Self.wanted(.sha512), Self.wanted(.sha256)])
        for hash in [ScramHash.sha512, .sha256] {
            guard case .requestUpgrade(hash, let data) = request else { Issue.record("\(request)"); return }
            #expect((data != nil) == (hash == .sha512))
            _ = machine.received(try StreamEvent.element("<next xmlns='urn:xmpp:sasl:2' task='UPGR-\(hash.mechanismName)'/>"), Self.server())
            _ = machine.received(try StreamEvent.element(Self.hash(try Self.saltedPassword(hash))), Self.server())
            request = machine.upgraded(nil)
        }
        #expect(request.summary == "admit juliet@verona.example")
        #expect(machine.admitted().summary == "resume x 1")
    }

    @Test("where nothing is missing, nothing is asked for")
    func nothingMissing() throws {
        var (machine, _) = try Self.opened()
        _ = try Self.proved(Self.both, &machine)
        let admission = machine.upgradable([])
        #expect(admission.summary == "admit juliet@verona.example")
        guard case .complete(let success) = machine.admitted() else { Issue.record("it is not completed"); return }
        #expect(success.additionalData != nil)
    }

    @Test("a token that is wanted as well is given after the task (XEP-0484 §3.2)")
    func token() throws {
        var (machine, _) = try Self.opened()
        let agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
        _ = try Self.proved(agent + Self.wishes, &machine)
        _ = machine.upgradable([Self.wanted(.sha256)])
        _ = machine.received(try StreamEvent.element(Self.next), Self.server())
        _ = machine.received(try StreamEvent.element(Self.hash(try Self.saltedPassword(.sha256))), Self.server())
        let conclusion = machine.upgraded(nil)
        #expect(conclusion.summary == "conclude")
    }

    // MARK: Who is asked for nothing

    private static let idle: [String] = [
        "", "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-1</upgrade>", "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-BLOOP2</upgrade>",
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'/>", "<upgrade xmlns='urn:xmpp:sasl:2'>UPGR-SCRAM-SHA-256</upgrade>",
        "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256-PLUS</upgrade>",
    ]

    @Test("tasks that are not offered are passed over", arguments: idle)
    func notOffered(inline: String) throws {
        var (machine, _) = try Self.opened()
        #expect(try Self.proved(inline, &machine).summary == "admit juliet@verona.example")
    }

    @Test("whoever tells the password, or logs in by something else, computes nothing")
    func otherMechanisms() throws {
        var (machine, _) = try Self.opened()
        _ = machine.received(try StreamEvent.element(StreamEvent.authenticateText(Self.both)), Self.server())
        let byPassword = machine.answered(.passwordVerdict(true))
        #expect(byPassword.summary == "admit juliet@verona.example")
        let server = Self.server(.optional(juliet))
        var (certified, _) = try Self.opened(server)
        _ = certified.received(
            try StreamEvent.element("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response/>\(Self.both)</authenticate>"), server)
        let byCertificate = certified.answered(.certificateVerdict(juliet))
        #expect(byCertificate.summary == "admit juliet@verona.example")
    }

    @Test("a wrong password leads to no task")
    func wrongPassword() throws {
        var (machine, _) = try Self.opened()
        var client = try Verona.client(.sha1, username: "juliet", password: "crayon")
        let first = "<initial-response>\(Base64.encode(client.first()))</initial-response>"
        let authenticate = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'>\(first)\(Self.both)</authenticate>"
        _ = machine.received(try StreamEvent.element(authenticate), Self.server())
        guard case .challenge(let challenge, _) = machine.answered(.scramKeys(try Verona.keys(.sha1))) else { Issue.record("no challenge"); return }
        let final = Base64.encode(try client.final(answering: challenge))
        let failure = machine.received(try StreamEvent.element("<response xmlns='urn:xmpp:sasl:2'>\(final)</response>"), Self.server())
        #expect(failure.summary == "2 fail not-authorized")
    }

    // MARK: What goes wrong

    private static let ended = "end policy-violation"

    private static let afterRequest: [(text: String, does: String)] = [
        ("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>", "2 fail malformed-request, \(ended)"),
        ("<next xmlns='urn:xmpp:sasl:2'/>", "2 fail malformed-request, \(ended)"), ("<abort xmlns='urn:xmpp:sasl:2'/>", "2 fail aborted, \(ended)"),
        ("<task-data xmlns='urn:xmpp:sasl:2'/>", "end not-authorized"), ("<response xmlns='urn:xmpp:sasl:2'/>", "end not-authorized"),
        (StreamEvent.authenticateText(), "end not-authorized"), (StreamEvent.plainText, "end not-authorized"),
        ("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "end not-authorized"), ("<presence/>", "end not-authorized"),
    ]

    @Test("instead of the task nothing else is begun, and no other log-in (XEP-0388 §2.6.3, §4.8)", arguments: afterRequest)
    func insteadOfNext(text: String, does: String) throws {
        var machine = try Self.asked(isDescribed: false)
        #expect(machine.received(try StreamEvent.element(text), Self.server()).summary == does)
        #expect(machine.isEnding && machine.heldByteCount == 0)
    }

    private static let afterDescription: [(text: String, does: String)] = [
        ("<task-data xmlns='urn:xmpp:sasl:2'/>", "2 fail malformed-request, \(ended)"),
        ("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'/></task-data>", "2 fail malformed-request, \(ended)"),
        ("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:sasl:2'>AAAA</hash></task-data>", "2 fail malformed-request, \(ended)"),
        ("<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>=</hash></task-data>", "2 fail incorrect-encoding, \(ended)"),
        (hash([UInt8](repeating: 1, count: 31)), "2 fail malformed-request, \(ended)"),
        (hash([UInt8](repeating: 1, count: 33)), "2 fail malformed-request, \(ended)"),
        (hash([UInt8](repeating: 1, count: SASLServerExchange.messageBytesMax + 1)), "2 fail malformed-request, \(ended)"),
        ("<abort xmlns='urn:xmpp:sasl:2'/>", "2 fail aborted, \(ended)"), (next, "end not-authorized"), (StreamEvent.authenticateText(), "end not-authorized"),
    ]

    @Test("what is computed has the length of the hash, or the log-in fails (§3)", arguments: afterDescription)
    func insteadOfHash(text: String, does: String) throws {
        var machine = try Self.asked(isDescribed: true)
        #expect(machine.received(try StreamEvent.element(text), Self.server()).summary == does)
        #expect(machine.isEnding)
    }

    @Test("keys that cannot be written let nobody in", arguments: [SASLFailure.notAuthorized, .temporaryAuthFailure])
    func refused(failure: SASLFailure) throws {
        var machine = try Self.asked(isDescribed: true)
        _ = machine.received(try StreamEvent.element(Self.hash(try Self.saltedPassword(.sha256))), Self.server())
        let answer = machine.upgraded(failure)
        #expect(answer.summary == "2 fail \(failure.condition.rawValue), end policy-violation")
        #expect(machine.admitted() == .wait)
    }

    @Test("answers that nobody waits for change nothing, and nothing is taken while one is waited for")
    func late() throws {
        var (machine, _) = try Self.opened()
        #expect(machine.upgradable([Self.wanted(.sha256)]) == .wait)
        #expect(machine.upgraded(nil) == .wait)
        _ = try Self.proved(Self.wishes, &machine)
        #expect(machine.upgraded(nil) == .wait)
        var hasty = machine
        #expect(hasty.received(try StreamEvent.element(Self.next), Self.server()).summary == "end policy-violation")
        _ = machine.end(StreamError(.connectionTimeout), Self.server())
        #expect(machine.upgradable([Self.wanted(.sha256)]) == .wait)
    }
}
