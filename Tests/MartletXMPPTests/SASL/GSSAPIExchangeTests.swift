import MartletXMPP
import Testing

@Suite("GSSAPI, the server's side (RFC 4752 §3.2)")
struct GSSAPIExchangeTests {
    static let token: [UInt8] = [0x60, 1]
    let juliet: KerberosPrincipal
    let account: BareJID

    static func principal(_ text: String) throws -> KerberosPrincipal { try #require(KerberosPrincipal(text)) }

    init() throws {
        juliet = try Self.principal("juliet@VERONA.REALM")
        account = try BareJID(parsing: "juliet@verona.example")
    }

    func exchange() throws -> SASLServerExchange {
        SASLServerExchange(.gssapi, offer: SASLOffer(domain: "verona.example", nonce: try Verona.nonce("nonce"), realms: ["VERONA.REALM", "Other"]))
    }

    static func condition(_ step: SASLStep) -> SASLFailure.Condition? {
        if case .failure(let failure) = step { failure.condition } else { nil }
    }

    /// An exchange in which the server has offered what it offers.
    func offered(_ principal: KerberosPrincipal? = nil) throws -> SASLServerExchange {
        var exchange = try exchange()
        _ = exchange.step(Self.token)
        _ = exchange.provide(.gssapi(.established(principal ?? juliet, token: [])))
        _ = exchange.provide(.gssapi(.wrapped([9])))
        return exchange
    }

    /// What is asked after the client's choice was unwrapped.
    func choice(_ message: [UInt8], _ principal: KerberosPrincipal? = nil) throws -> SASLStep {
        var exchange = try offered(principal)
        #expect(exchange.step([7]) == .consult(.gssapi(.unwrap([7]))))
        return exchange.provide(.gssapi(.unwrapped(message)))
    }

    @Test("with mutual authentication: a token each, nothing, the offer of no security layer, the choice, and the account")
    func mutual() throws {
        var exchange = try exchange()
        #expect(exchange.step(Self.token) == .consult(.gssapi(.accept(Self.token, isFirst: true))))
        #expect(exchange.provide(.gssapi(.established(juliet, token: [2]))) == .challenge([2]))
        #expect(exchange.step([]) == .consult(.gssapi(.wrap([1, 0, 0, 0]))))
        #expect(exchange.provide(.gssapi(.wrapped([9]))) == .challenge([9]))
        #expect(exchange.step([7]) == .consult(.gssapi(.unwrap([7]))))
        let question = exchange.provide(.gssapi(.unwrapped([1, 0, 0, 0])))
        guard case .lookUp(let identity, .standing) = question else { Issue.record("\(question)"); return }
        #expect(identity.account == account)
        #expect(exchange.provide(.standing(nil)) == .success(identity, additionalData: nil))
        #expect(Self.condition(exchange.step([])) == .malformedRequest)
    }

    @Test("without mutual authentication the server has no token, and offers at once")
    func oneSided() throws {
        var exchange = try exchange()
        _ = exchange.step(Self.token)
        #expect(exchange.provide(.gssapi(.established(juliet, token: []))) == .consult(.gssapi(.wrap([1, 0, 0, 0]))))
    }

    @Test("a client that says nothing at first is asked for its token")
    func challenge() throws {
        var exchange = try exchange()
        #expect(exchange.step(nil) == .challenge([]))
        #expect(exchange.step(Self.token) == .consult(.gssapi(.accept(Self.token, isFirst: true))))
    }

    @Test("a client has four tokens at most, and no empty one")
    func tokens() throws {
        var exchange = try exchange()
        for number in 1...GSSAPIExchange.tokensMax {
            #expect(exchange.step(Self.token) == .consult(.gssapi(.accept(Self.token, isFirst: number == 1))))
            #expect(exchange.provide(.gssapi(.continues(token: [3]))) == .challenge([3]))
        }
        #expect(Self.condition(exchange.step(Self.token)) == .malformedRequest)
        var silent = try self.exchange()
        #expect(Self.condition(silent.step([])) == .malformedRequest)
    }

    @Test("a message is as long as a token of Windows, and no longer")
    func longest() throws {
        var exchange = try exchange()
        let longest = [UInt8](repeating: 7, count: GSSAPIExchange.messageBytesMax)
        #expect(exchange.step(longest) == .consult(.gssapi(.accept(longest, isFirst: true))))
        var other = try self.exchange()
        #expect(Self.condition(other.step(longest + [7])) == .malformedRequest)
        #expect(SASLMechanism.gssapi.messageBytesMax == 48_000 && SASLMechanism.plain.messageBytesMax == 6_144)
        let text = Base64.encodeToBytes(longest)
        #expect(try SASLPayload.decode(text, bytesMax: SASLMechanism.gssapi.messageBytesMax) == longest)
        #expect(throws: SASLFailure.self) { try SASLPayload.decode(text) }
    }

    @Test("once the context is there, nothing but an empty response follows the server's token (§3.1)")
    func acknowledgement() throws {
        var exchange = try exchange()
        _ = exchange.step(Self.token)
        _ = exchange.provide(.gssapi(.established(juliet, token: [2])))
        #expect(Self.condition(exchange.step([1])) == .malformedRequest)
    }

    @Test("a principal of a realm that has no accounts here is refused, whatever it is called", arguments: ["juliet@VERONA.EXAMPLE", "juliet@verona.realm", "juliet@OTHER"])
    func realm(text: String) throws {
        var exchange = try exchange()
        _ = exchange.step(Self.token)
        let stranger = try Self.principal(text)
        let step = exchange.provide(.gssapi(.established(stranger, token: [2])))
        #expect(step == .failure(.notAuthorized))
    }

    @Test("the account, the principal, or nothing is the authorization identity", arguments: ["", "juliet@verona.example", "JULIET@Verona.example", "juliet@VERONA.REALM"])
    func authzid(text: String) throws {
        let step = try choice([1, 0, 0, 0] + Array(text.utf8))
        guard case .lookUp(let identity, .standing) = step else { Issue.record("\(step)"); return }
        #expect(identity.account == account)
    }

    @Test(
        "another authorization identity is refused",
        arguments: ["nurse@verona.example", "juliet@mantua.example", "verona.example", "juliet@verona.example/balcony", "nurse@VERONA.REALM", "@", "juliet"])
    func otherAuthzid(text: String) throws {
        #expect(Self.condition(try choice([1, 0, 0, 0] + Array(text.utf8))) == .invalidAuthzid)
    }

    @Test("a principal whose name is no localpart is refused")
    func noLocalpart() throws {
        let (nobody, somebody) = (try Self.principal("two words@Other"), try Self.principal("nurse@Other"))
        #expect(try choice([1, 0, 0, 0], nobody) == .failure(.notAuthorized))
        #expect(Self.condition(try choice([1, 0, 0, 0], somebody)) == nil)
    }

    @Test("a security layer is not to be had, and without one there is no size (§3.2)")
    func layers() throws {
        for message in [[2, 0, 0, 0], [4, 0, 0, 0], [3, 0, 0, 0], [0xFF, 0, 0, 0], [1, 0, 0, 1], [1, 0xFF, 0xFF, 0xFF], [1, 0, 0], []] as [[UInt8]] {
            #expect(Self.condition(try choice(message)) == .malformedRequest, "\(message)")
        }
        // As nbxmpp says it.
        #expect(Self.condition(try choice([0, 0, 0, 0])) == nil)
    }

    @Test("an authorization identity is UTF-8 without NUL, and of the length of other messages")
    func malformed() throws {
        for text in [[0xFF], [0x61, 0], [0]] as [[UInt8]] { #expect(Self.condition(try choice([1, 0, 0, 0] + text)) == .malformedRequest) }
        func message(_ count: Int) -> [UInt8] { [1, 0, 0, 0] + [UInt8](repeating: 0x61, count: count - 4) }
        #expect(Self.condition(try choice(message(SASLServerExchange.messageBytesMax))) == .invalidAuthzid)
        #expect(Self.condition(try choice(message(SASLServerExchange.messageBytesMax + 1))) == .malformedRequest)
    }

    @Test("what keeps the account from coming in is told")
    func standing() throws {
        for refusal in [SASLFailure.accountDisabled, .notAuthorized, .temporaryAuthFailure] {
            var exchange = try offered()
            _ = exchange.step([7])
            _ = exchange.provide(.gssapi(.unwrapped([1, 0, 0, 0])))
            #expect(exchange.provide(.standing(refusal)) == .failure(refusal))
        }
    }

    @Test("what fails on the way fails the exchange, and an answer that nobody has asked for lets nobody in")
    func answers() throws {
        for answer in [SASLAnswer.standing(nil), .passwordVerdict(true), .gssapi(.wrapped([])), .gssapi(.unwrapped([1, 0, 0, 0])), .certificateVerdict(account)] {
            var exchange = try exchange()
            _ = exchange.step(Self.token)
            #expect(exchange.provide(answer) == .failure(.temporaryAuthFailure))
        }
        var refused = try exchange()
        _ = refused.step(Self.token)
        #expect(refused.provide(.refused(.notAuthorized)) == .failure(.notAuthorized))
        var hasty = try exchange()
        #expect(hasty.provide(.gssapi(.established(juliet, token: []))) == .failure(.temporaryAuthFailure))
        var impatient = try exchange()
        _ = impatient.step(Self.token)
        #expect(Self.condition(impatient.step(Self.token)) == .malformedRequest)
    }

    @Test("a principal of a person has one component and a realm, without escapes (RFC 1964 §2.1.1)")
    func principals() {
        #expect(juliet.name == "juliet" && juliet.realm == "VERONA.REALM" && "\(juliet)" == "juliet@VERONA.REALM")
        for text in ["juliet/admin@R", "juliet", "@R", "juliet@", "", "a@b@R", "a\\@b@R", "a\\/b@R", "WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS"] {
            #expect(KerberosPrincipal(text) == nil, "\(text)")
        }
    }
}
