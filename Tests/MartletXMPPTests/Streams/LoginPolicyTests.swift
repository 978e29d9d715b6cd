import MartletXML
import MartletXMPP
import Testing

@Suite("Who may log in how")
struct LoginPolicyTests {
    static let domain = "verona.example"
    let juliet: BareJID
    let romeo: BareJID

    init() throws {
        juliet = try BareJID(parsing: "juliet@verona.example")
        romeo = try BareJID(parsing: "romeo@verona.example")
    }

    static func rule(_ number: Int, _ change: (inout LoginRule) -> Void = { _ in }) -> LoginRule {
        var rule = LoginRule(number: number)
        change(&rule)
        return rule
    }

    static func policy(_ rules: [LoginRule], groups: LoginGroups = LoginGroups(), channelBinding: Bool = true) -> ClientStreamPolicy {
        var policy = ClientStreamPolicy(mechanisms: [.scram(.sha256), .plain], offersChannelBinding: channelBinding, offersTokens: true)
        policy.rules = rules
        policy.groups = groups
        return policy
    }

    static func login(
        _ rules: [LoginRule], groups: LoginGroups = LoginGroups(), channelBinding: Bool = true, from origin: LoginOrigin = LoginOrigin(), isSecure: Bool = true,
        _ certification: ClientCertification = .none
    ) -> LoginPolicy {
        let connection = LoginConnection(
            at: domain, from: origin, isSecure: isSecure, bindings: isSecure ? [Verona.exporter, Verona.endPoint] : [], certification)
        return LoginPolicy(policy(rules, groups: groups, channelBinding: channelBinding), on: connection)
    }

    static func names(_ login: LoginPolicy) -> [String] { login.mechanisms.map(\.name) }

    static let everything = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]

    // MARK: What is offered

    @Test("without rules the server's own mechanisms are offered, the strongest first, with what TLS and certificates allow")
    func standard() {
        #expect(Self.names(Self.login([])) == Self.everything)
        #expect(Self.names(Self.login([], .optional(juliet))) == ["EXTERNAL"] + Self.everything)
        #expect(Self.names(Self.login([], .required(juliet))) == ["EXTERNAL"])
        #expect(Self.names(Self.login([], channelBinding: false)) == ["SCRAM-SHA-256", "PLAIN"])
        #expect(Self.names(Self.login([], isSecure: false)) == [])
        #expect(Self.login([]).tokens == [.exporter, .serverEndPoint, .none] && Self.login([], .required(juliet)).tokens == [])
    }

    @Test("a rule about everybody decides what is offered, and those after it do not")
    func everybody() {
        let bound = Self.rule(1) { $0.needsChannelBinding = true }
        let plain = Self.rule(2) { $0.mechanisms = [.plain] }
        let login = Self.login([bound, plain], .optional(juliet))
        #expect(Self.names(login) == ["EXTERNAL", "SCRAM-SHA-256-PLUS"] && login.tokens == [.exporter, .serverEndPoint])
        #expect(Self.names(Self.login([plain, bound])) == ["PLAIN"] && Self.login([plain, bound]).tokens == [])
    }

    @Test("SCRAM in a rule stands for its -PLUS variant too, and -PLUS for itself")
    func plus() {
        #expect(Self.names(Self.login([Self.rule(1) { $0.mechanisms = [.scram(.sha256)] }])) == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])
        #expect(Self.names(Self.login([Self.rule(1) { $0.mechanisms = [.scramPlus(.sha256)] }])) == ["SCRAM-SHA-256-PLUS"])
        // A rule can allow what is not offered to everybody, but not what the server cannot do.
        #expect(Self.names(Self.login([Self.rule(1) { $0.mechanisms = [.scram(.sha512)] }])) == ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-512"])
        #expect(Self.names(Self.login([Self.rule(1) { $0.mechanisms = [.scramPlus(.sha256)] }], channelBinding: false)) == [])
    }

    @Test("strong is certificates alone: no password, and no token that was given for one")
    func strong() {
        let strong = Self.rule(1) { $0.isStrong = true }
        let login = Self.login([strong], .optional(juliet))
        #expect(Self.names(login) == ["EXTERNAL"] && login.tokens == [] && !login.takesStrangers)
        #expect(Self.names(Self.login([strong])) == [] && Self.login([strong]).isClosed)
        #expect(!Self.login([strong], isSecure: false).isClosed)
    }

    @Test("what is offered where rules name accounts is what anybody could be allowed")
    func union() {
        let strong = Self.rule(1) { rule in
            rule.accounts = [juliet]
            rule.isStrong = true
        }
        let bound = Self.rule(2) { $0.needsChannelBinding = true }
        #expect(Self.names(Self.login([strong])) == Self.everything)
        #expect(Self.names(Self.login([strong, bound])) == ["SCRAM-SHA-256-PLUS"])
        let plain = Self.rule(1) { rule in
            rule.accounts = [romeo]
            rule.mechanisms = [.plain]
        }
        #expect(Self.names(Self.login([plain, bound])) == ["SCRAM-SHA-256-PLUS", "PLAIN"])
    }

    @Test("a rule that names only accounts of other domains changes nothing")
    func otherDomain() throws {
        let tybalt = try BareJID(parsing: "tybalt@mantua.example")
        let plain = Self.rule(1) { rule in
            rule.accounts = [tybalt]
            rule.mechanisms = [.plain]
        }
        #expect(Self.names(Self.login([plain, Self.rule(2) { $0.needsChannelBinding = true }])) == ["SCRAM-SHA-256-PLUS"])
    }

    @Test("whose certificate it is is known at once: EXTERNAL is offered if that account may use it")
    func certificate() {
        let noCertificates = Self.rule(1) { rule in
            rule.accounts = [juliet]
            rule.mechanisms = [.scram(.sha256)]
        }
        #expect(!Self.names(Self.login([noCertificates], .optional(juliet))).contains("EXTERNAL"))
        #expect(Self.names(Self.login([noCertificates], .optional(romeo))).contains("EXTERNAL"))
    }

    @Test("strangers may make accounts where whoever is named by no rule could use a password (XEP-0077)")
    func strangers() {
        let named = Self.rule(1) { rule in
            rule.accounts = [juliet]
            rule.mechanisms = [.plain]
        }
        #expect(Self.login([named]).takesStrangers)
        #expect(!Self.login([named, Self.rule(2) { $0.isStrong = true }]).takesStrangers)
        #expect(!Self.login([], isSecure: false).takesStrangers && !Self.login([], .required(juliet)).takesStrangers)
    }

    @Test("an account takes a password where the rule about it allows one, on one of the ways in at least")
    func passwords() {
        let strong = Self.rule(1) { rule in
            rule.accounts = [juliet]
            rule.isStrong = true
        }
        let named = Self.login([strong])
        #expect(!named.takesPassword(of: juliet) && named.takesPassword(of: romeo) && named.takesStrangers)
        #expect(!WaysIn([named]).takePassword(of: juliet) && WaysIn([named, Self.login([])]).takePassword(of: juliet))
        #expect(WaysIn([named]).takeStrangers && !WaysIn([]).takeStrangers)
        #expect(!Self.login([], isSecure: false).takesPassword(of: romeo) && !Self.login([], .required(juliet)).takesPassword(of: juliet))
    }

    // MARK: Whom a rule is about

    private static let conditions: [(change: @Sendable (inout LoginRule) -> Void, holds: Bool)] = [
        ({ _ in }, true), ({ $0.domains = [domain] }, true), ({ $0.domains = ["mantua.example"] }, false),
        ({ $0.listeners = [LoginListener(kind: "https")] }, true), ({ $0.listeners = [LoginListener(kind: "https", port: 5443)] }, true),
        ({ $0.listeners = [LoginListener(kind: "https", port: 443)] }, false), ({ $0.listeners = [LoginListener(kind: "client")] }, false),
        ({ $0.networks = [LoginNetwork([192, 0, 2, 0], prefix: 24)].compactMap(\.self) }, true),
        ({ $0.networks = [LoginNetwork([192, 0, 3, 0], prefix: 24)].compactMap(\.self) }, false),
        (
            { rule in
                rule.domains = [domain]
                rule.networks = [LoginNetwork([10, 0, 0, 0], prefix: 8)].compactMap(\.self)
            }, false
        ),
    ]

    @Test("all conditions that are given have to hold", arguments: conditions)
    func holds(change: @Sendable (inout LoginRule) -> Void, holds: Bool) {
        let origin = LoginOrigin(listener: LoginListener(kind: "https", port: 5443), address: [192, 0, 2, 200])
        let rule = Self.rule(1) { rule in
            change(&rule)
            rule.mechanisms = [.plain]
        }
        let login = Self.login([rule], from: origin)
        #expect(login.decider(of: juliet) == (holds ? .rule(1) : .standard))
        #expect(Self.names(login) == (holds ? ["PLAIN"] : Self.everything))
    }

    @Test("of an origin that is not known no condition about it holds")
    func unknownOrigin() throws {
        let somewhere = Self.rule(1) { $0.networks = [LoginNetwork([0, 0, 0, 0], prefix: 0)].compactMap(\.self) }
        let anyListener = Self.rule(2) { $0.listeners = [LoginListener(kind: "client")] }
        #expect(Self.login([somewhere, anyListener]).decider(of: juliet) == .standard)
    }

    @Test("accounts and groups that are both given both count")
    func accountsAndGroups() {
        let rule = Self.rule(1) { rule in
            rule.accounts = [juliet, romeo]
            rule.groups = ["lovers", "capulets"]
        }
        let groups = LoginGroups(["capulets": [juliet]])
        let login = Self.login([rule], groups: groups)
        #expect(login.decider(of: juliet) == .rule(1) && login.decider(of: romeo) == .standard)
        #expect(groups.groups(of: juliet) == ["capulets"] && groups.groups(of: romeo) == [])
    }

    @Test("networks are compared bit by bit, IPv4 also where it comes as IPv6 (RFC 4632 §3.1, RFC 4291 §2.5.5.2)")
    func networks() throws {
        let mapped = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
        let block = try #require(LoginNetwork([192, 0, 2, 128], prefix: 25))
        #expect(block.contains([192, 0, 2, 255]) && !block.contains([192, 0, 2, 127]) && block.contains(mapped + [192, 0, 2, 129]))
        #expect(!block.contains(nil) && !block.contains([192]))
        let all = try #require(LoginNetwork([UInt8](repeating: 0, count: 16), prefix: 0))
        #expect(all.contains([1, 2, 3, 4]) && all.contains([UInt8](repeating: 0xFE, count: 16)))
        let one = try #require(LoginNetwork([UInt8](repeating: 7, count: 16), prefix: 128))
        #expect(one.contains([UInt8](repeating: 7, count: 16)) && !one.contains([UInt8](repeating: 7, count: 15) + [6]))
        #expect(LoginNetwork([1, 2, 3, 4], prefix: 33) == nil && LoginNetwork([1, 2, 3], prefix: 8) == nil && LoginNetwork([1, 2, 3, 4], prefix: -1) == nil)
    }

    @Test("a ticket of Kerberos is strong, is tied to no connection, is no password, and may be asked for by name")
    func tickets() {
        func login(_ rules: [LoginRule], isSecure: Bool = true, _ certification: ClientCertification = .none) -> LoginPolicy {
            let connection = LoginConnection(at: Self.domain, isSecure: isSecure, certification, kerberos: KerberosOffer(realms: ["R"]))
            return LoginPolicy(Self.policy(rules), on: connection)
        }
        #expect(Self.names(login([])).first == "GSSAPI" && !Self.names(login([], isSecure: false)).contains("GSSAPI"))
        #expect(login([], isSecure: false).obstacle(.gssapi) == .notEncrypted)
        #expect(Self.names(login([Self.rule(1) { $0.isStrong = true }])) == ["GSSAPI"])
        #expect(Self.names(login([Self.rule(1) { $0.mechanisms = [.gssapi] }])) == ["GSSAPI"])
        #expect(!login([Self.rule(1) { $0.needsChannelBinding = true }]).offers(.gssapi))
        #expect(!login([Self.rule(1) { $0.isStrong = true }]).takesStrangers)
        #expect(!login([], .required(juliet)).offers(.gssapi))
    }

    @Test("a token of an authorization server is not strong, is no password, and may be asked for by name")
    func grants() {
        func login(_ rules: [LoginRule], isSecure: Bool = true) -> LoginPolicy {
            let connection = LoginConnection(at: Self.domain, isSecure: isSecure, bearer: BearerOffer(configuration: "https://id.verona.example"))
            return LoginPolicy(Self.policy(rules), on: connection)
        }
        #expect(login([]).offers(.oauthBearer) && login([], isSecure: false).obstacle(.oauthBearer) == .notEncrypted)
        #expect(Self.names(login([Self.rule(1) { $0.mechanisms = [.oauthBearer] }])) == ["OAUTHBEARER"])
        #expect(!login([Self.rule(1) { $0.isStrong = true }]).offers(.oauthBearer))
        #expect(!login([Self.rule(1) { $0.mechanisms = [.oauthBearer] }]).takesStrangers)
    }

    @Test("a certificate that stands for several accounts is offered, and the account's rule decides at the end")
    func severalAccounts() {
        let noCertificates = Self.rule(1) { rule in
            rule.accounts = [juliet]
            rule.mechanisms = [.scram(.sha256)]
        }
        let login = Self.login([noCertificates], .several(isRequired: false))
        #expect(login.offers(.external) && !login.permits(.external, to: juliet) && login.permits(.external, to: romeo))
        #expect(Self.names(Self.login([], .several(isRequired: true))) == ["EXTERNAL"])
    }

    @Test("who decides is told, and what stands in the way of a mechanism")
    func reasons() {
        let strong = Self.rule(4) { rule in
            rule.accounts = [juliet]
            rule.isStrong = true
        }
        let login = Self.login([strong])
        #expect(login.decider(of: juliet) == .rule(4) && login.decider(of: romeo) == .standard)
        #expect(!login.permits(.plain, to: juliet) && login.permits(.external, to: juliet) && login.permits(.plain, to: romeo))
        #expect(Self.login([strong], .required(nil)).decider(of: juliet) == .domain)
        #expect(login.obstacle(.external) == .noCertificate && login.obstacle(.plain) == nil && login.obstacle(.gssapi) == .noRealm && login.obstacle(.oauthBearer) == .noIssuer)
        #expect(Self.login([], isSecure: false).obstacle(.scramPlus(.sha1)) == .notEncrypted)
        #expect(Self.login([], channelBinding: false).obstacle(.scramPlus(.sha1)) == .channelBindingOff)
        #expect(Self.login([], channelBinding: false).obstacle(.hashedToken(.exporter)) == .channelBindingOff)
        #expect(LoginPolicy(ClientStreamPolicy(), on: LoginConnection(at: Self.domain, isSecure: true)).obstacle(.scramPlus(.sha1)) == .nothingToBind)
        #expect(LoginPolicy(ClientStreamPolicy(), on: LoginConnection(at: Self.domain, isSecure: true)).obstacle(.hashedToken(.none)) == .tokensOff)
    }
}

@Suite("A mechanism that is too weak for an account (RFC 6120 §6.5.9)")
struct MechanismTooWeakTests {
    static let strong = LoginPolicyTests.rule(1) { rule in
        rule.accounts = Set(["juliet", "nobody"].compactMap { try? BareJID(localpart: $0, domainpart: "verona.example") })
        rule.isStrong = true
    }

    static func server(_ rules: [LoginRule] = [strong], _ certification: ClientCertification = .none) -> Surroundings {
        var server = Surroundings()
        server.policy.rules = rules
        server.policy.offersTokens = true
        server.certification = certification
        return server
    }

    /// A stream inside TLS, up to its features.
    static func opened(_ server: Surroundings) throws -> (machine: ClientStreamMachine, ClientStreamMachine.Action) {
        var machine = ClientStreamMachine(bindings: [])
        let action = machine.opened(try StreamEvent.header("verona.example"), server)
        return (machine, action)
    }

    /// What comes of each answer of an account source, of an account that exists or not.
    private static let answers: [SASLAnswer] = [
        .passwordVerdict(true), .passwordVerdict(false), .refused(.accountDisabled), .refused(.credentialsExpired), .refused(.notAuthorized),
    ]

    @Test("PLAIN is refused alike whether the password was right or wrong, and after it was asked about", arguments: answers)
    func plain(answer: SASLAnswer) throws {
        var (machine, _) = try Self.opened(Self.server())
        let asked = machine.received(try StreamEvent.element(StreamEvent.plainText), Self.server())
        #expect(asked.summary == "ask" && machine.isWaiting)
        let outcome = machine.answered(answer)
        #expect(outcome == .fail(.mechanismTooWeak))
    }

    @Test("what could not be found out is said as always, since that says nothing of the password")
    func temporary() throws {
        var (machine, _) = try Self.opened(Self.server())
        _ = machine.received(try StreamEvent.element(StreamEvent.plainText), Self.server())
        let outcome = machine.answered(.refused(.temporaryAuthFailure))
        #expect(outcome == .fail(.temporaryAuthFailure))
    }

    @Test("an account that no rule names is let in as before, and told of a wrong password as before")
    func others() throws {
        for (answer, summary) in [(SASLAnswer.passwordVerdict(true), "succeed romeo@verona.example"), (.passwordVerdict(false), "fail not-authorized")] {
            var (machine, _) = try Self.opened(Self.server())
            let text = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(Base64.encode("\0romeo\0pencil".utf8))</auth>"
            _ = machine.received(try StreamEvent.element(text), Self.server())
            #expect(machine.answered(answer).summary == summary)
        }
    }

    /// Everything that the server says in an exchange of SCRAM, up to its end.
    private static func scram(_ localpart: String, password: String, exists: Bool) throws -> [String] {
        let server = server()
        var (machine, _) = try opened(server)
        var client = try Verona.client(username: localpart, password: password)
        let first = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>\(Base64.encode(client.first()))</auth>"
        let asked = machine.received(try StreamEvent.element(first), server)
        let challenged = machine.answered(.scramKeys(try Verona.keys(), refusal: exists ? nil : .notAuthorized))
        guard case .challenge(let challenge, _) = challenged else { return [asked.summary, challenged.summary] }
        let response = try client.final(answering: challenge)
        let text = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\(Base64.encode(response))</response>"
        let end = machine.received(try StreamEvent.element(text), server)
        return [asked.summary, String(decoding: challenge, as: UTF8.self), ClientStreamActionTests.written(end)]
    }

    @Test("SCRAM goes to its end, and the end is the same byte for byte with a right and a wrong password, of an account that exists or not")
    func scram() throws {
        let right = try Self.scram("juliet", password: "pencil", exists: true)
        let wrong = try Self.scram("juliet", password: "crayon", exists: true)
        #expect(right.count == 3 && right.last?.contains("<mechanism-too-weak/>") == true)
        #expect(right == wrong)
        #expect(try Self.scram("nobody", password: "pencil", exists: false) == right)
        #expect(try Self.scram("romeo", password: "pencil", exists: true).last?.contains("<success") == true)
    }

    @Test("inside a log-in of XEP-0388 it is the same, and nothing is done that was asked for with it")
    func inline() throws {
        for answer in Self.answers {
            var (machine, _) = try Self.opened(Self.server())
            _ = machine.received(try StreamEvent.element(StreamEvent.authenticateText(StreamEvent.resumeAndBind)), Self.server())
            #expect(machine.answered(answer).summary == "2 fail mechanism-too-weak")
        }
    }

    @Test("each counts as an attempt, and the last one ends the stream")
    func attempts() throws {
        let server = Self.server()
        var (machine, _) = try Self.opened(server)
        var summaries: [String] = []
        for _ in 1...server.policy.attemptsMax {
            _ = machine.received(try StreamEvent.element(StreamEvent.plainText), server)
            summaries.append(machine.answered(.passwordVerdict(true)).summary)
        }
        #expect(summaries == ["fail mechanism-too-weak", "fail mechanism-too-weak", "fail mechanism-too-weak, end policy-violation"])
    }

    @Test("what an operator hears of somebody in between is kept, and the client hears nothing of it")
    func suspicion() throws {
        let rule = LoginPolicyTests.rule(1) { rule in
            rule.accounts = Self.strong.accounts
            rule.isStrong = true
        }
        var server = Self.server([rule])
        server.policy.offersTokens = false
        var machine = ClientStreamMachine(bindings: [Verona.endPoint])
        _ = machine.opened(try StreamEvent.header("verona.example"), server)
        var client = try Verona.client(.sha256, .unadvertised, username: "juliet")
        let first = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>\(Base64.encode(client.first()))</auth>"
        _ = machine.received(try StreamEvent.element(first), server)
        guard case .challenge(let challenge, _) = machine.answered(.scramKeys(try Verona.keys())) else { Issue.record("no challenge"); return }
        let text = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\(Base64.encode(try client.final(answering: challenge)))</response>"
        guard case .fail(let failure, _) = machine.received(try StreamEvent.element(text), server) else { Issue.record("it goes on"); return }
        #expect(failure == SASLFailure(.mechanismTooWeak, suspicion: .strippedOffer))
    }

    @Test("a certificate is strong enough, and its client gets no token")
    func certificate() throws {
        let juliet = try BareJID(parsing: "juliet@verona.example")
        let server = Self.server([Self.strong], .optional(juliet))
        var (machine, _) = try Self.opened(server)
        let action = machine.received(try ClientCertificationTests.auth("="), server)
        #expect(action.summary == "ask")
        #expect(machine.answered(.certificateVerdict(juliet)).summary == "succeed juliet@verona.example")
    }

    private static let agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
    private static let wish = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"

    @Test("who may log in by a password and not by tokens is given none (XEP-0484)", arguments: [false, true])
    func tokens(allowsTokens: Bool) throws {
        let rule = LoginPolicyTests.rule(1) { rule in
            rule.accounts = Self.strong.accounts
            rule.mechanisms = allowsTokens ? [.plain, .hashedToken(.none)] : [.plain]
        }
        let server = Self.server([rule])
        var (machine, _) = try Self.opened(server)
        _ = machine.received(try StreamEvent.element(StreamEvent.authenticateText(Self.agent + Self.wish)), server)
        #expect(machine.answered(.passwordVerdict(true)).summary == (allowsTokens ? "conclude" : "admit juliet@verona.example, ?"))
    }

    @Test("where nobody can log in the stream ends, and before TLS it goes on to TLS")
    func closed() throws {
        let rule = LoginPolicyTests.rule(1) { $0.isStrong = true }
        let server = Self.server([rule])
        #expect(try Self.opened(server).1.summary == "header, end policy-violation")
        var clear = ClientStreamMachine()
        #expect(clear.opened(try StreamEvent.header("verona.example"), server).summary == "offer TLS required, ")
        let certified = Self.server([rule], .optional(try BareJID(parsing: "juliet@verona.example")))
        #expect(try Self.opened(certified).1.summary == "offer TLS absent, EXTERNAL")
    }

    @Test("what a rule about everybody leaves out is not offered, and refused like anything that was not")
    func leftOut() throws {
        let rule = LoginPolicyTests.rule(1) { $0.mechanisms = [.scram(.sha256)] }
        let server = Self.server([rule])
        var (machine, action) = try Self.opened(server)
        #expect(action.summary == "offer TLS absent, SCRAM-SHA-256")
        let refused = machine.received(try StreamEvent.element(StreamEvent.plainText), server)
        #expect(refused == .fail(.invalidMechanism))
    }
}
