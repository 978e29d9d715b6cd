import MartletXML
import MartletXMPP
import Testing

@Suite("OAUTHBEARER, the server's side (RFC 7628)")
struct BearerExchangeTests {
    static let offer = BearerOffer(configuration: "https://id.verona.example/.well-known/openid-configuration", scope: "xmpp chat")
    let juliet: BareJID

    init() throws { juliet = try BareJID(parsing: "juliet@verona.example") }

    func exchange() throws -> SASLServerExchange {
        SASLServerExchange(.oauthBearer, offer: SASLOffer(domain: "verona.example", nonce: try Verona.nonce("nonce"), bearer: Self.offer))
    }

    func first(_ message: String) throws -> SASLStep {
        var exchange = try exchange()
        return exchange.step(message.replacing("|", with: "\u{1}"))
    }

    /// What comes of a token that is asked about.
    func outcome(_ answer: SASLAnswer, authzid: String? = nil) throws -> SASLStep {
        var exchange = try exchange()
        guard case .consult = exchange.step(BearerMessage.bytes(authzid: authzid, token: "abc")) else { return .failure(.aborted) }
        return exchange.provide(answer)
    }

    @Test("the example of §4.1: the token is asked about, for an account of the stream's domain")
    func example() throws {
        let step = try first("n,a=juliet@verona.example,|host=server.example.com|port=143|auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==||")
        let token = try #require(BearerToken("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="))
        #expect(step == .consult(.bearerToken(token, domain: "verona.example")))
    }

    @Test("a message says what it says in the usual forms (§3.1)", arguments: [
        "n,,|auth=Bearer abc||", "y,,|auth=Bearer abc||", "n,,|auth=bearer  abc||", "n,,|auth=BEARER abc|x=y|user=\t\r\n||", "n,,|host=[2001:db8::1]|auth=Bearer abc|port=65535||",
    ])
    func forms(message: String) throws {
        #expect(try first(message) == .consult(.bearerToken(try #require(BearerToken("abc")), domain: "verona.example")))
    }

    @Test("what breaks the grammar is malformed (§3.1)", arguments: [
        "", "|", "||", "n,,", "n,,|", "n,,||", "n,,|auth=Bearer abc|", "n,,auth=Bearer abc||", "n,,|auth=Bearer abc|x||", "n,,|auth=Bearer abc||x=y||", "n,,|=x|auth=Bearer abc||",
        "n,,|auth=Bearer abc|auth=Bearer abc||", "n,,|aut1=x|auth=Bearer abc||", "n,,|auth=Bearer a b||", "n,,|auth=Bearer =abc||", "n,,|auth=Bearer a\u{E9}||", "n,,|auth=Basic abc||",
        "n,,|auth=Bearerabc||", "n,,|token=abc||", "p=tls-exporter,,|auth=Bearer abc||", "n,|auth=Bearer abc||", "n,,,|auth=Bearer abc||", "n,juliet,|auth=Bearer abc||",
        "n,a=,|auth=Bearer abc||", "n,a=j=2Xu,|auth=Bearer abc||", "F,n,,|auth=Bearer abc||", "n,,x|auth=Bearer abc||", "n,,|host=|auth=Bearer abc||", "n,,|host=a b|auth=Bearer abc||",
        "n,,|port=0|auth=Bearer abc||", "n,,|port=65536|auth=Bearer abc||", "n,,|port=05222|auth=Bearer abc||", "n,,|port=|auth=Bearer abc||", "n,,|x=\u{7F}|auth=Bearer abc||",
    ])
    func malformed(message: String) throws {
        #expect(try first(message).condition == .malformedRequest)
    }

    @Test("a message has its longest, and as many pairs")
    func limits() throws {
        let rest = BearerMessage.bytes(token: "").count
        let longest = BearerMessage.bytes(token: String(repeating: "a", count: BearerMessage.bytesMax - rest))
        #expect(throws: Never.self) { try BearerMessage(parsing: longest) }
        #expect(throws: SASLFailure.self) { try BearerMessage(parsing: BearerMessage.bytes(token: String(repeating: "a", count: BearerMessage.bytesMax - rest + 1))) }
        func pairs(_ count: Int) -> [(String, String)] { (0..<count).map { (String(repeating: "k", count: $0 + 1), "") } }
        #expect(throws: Never.self) { try BearerMessage(parsing: BearerMessage.bytes(token: "abc", pairs: pairs(BearerMessage.pairsMax - 1))) }
        #expect(throws: SASLFailure.self) { try BearerMessage(parsing: BearerMessage.bytes(token: "abc", pairs: pairs(BearerMessage.pairsMax))) }
        #expect(try SASLPayload.decode(Base64.encodeToBytes(longest), bytesMax: SASLMechanism.oauthBearer.messageBytesMax) == longest)
        #expect(throws: SASLFailure.self) { try SASLPayload.decode(Base64.encodeToBytes(longest)) }
    }

    @Test("without a token a client hears where it gets one (XEP-0493 §2.3.1)", arguments: ["n,,|auth=||", "n,,|auth=Bearer||", "n,a=juliet@verona.example,|auth=Bearer ||"])
    func discovery(message: String) throws {
        guard case .challenge(let bytes) = try first(message) else { Issue.record("nothing is said"); return }
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"status":"invalid_token","scope":"xmpp chat","openid-configuration":"https://id.verona.example/.well-known/openid-configuration"}"#)
    }

    @Test("a refusal is said in JSON, answered by one byte, and only then fails (§3.2.2, §3.2.3)")
    func refusal() throws {
        var exchange = try exchange()
        _ = exchange.step(BearerMessage.bytes(token: "abc"))
        guard case .challenge(let bytes) = exchange.provide(.bearerVerdict(.refused(.insufficientScope))) else { Issue.record("nothing is said"); return }
        #expect(String(decoding: bytes, as: UTF8.self).hasPrefix(#"{"status":"insufficient_scope","#))
        var other = exchange
        #expect(exchange.step([1]) == .failure(.notAuthorized))
        #expect(other.step(BearerMessage.bytes(token: "abc")).condition == .malformedRequest)
        let afterwards = other.step([1])
        #expect(afterwards.condition == .malformedRequest)
    }

    @Test("the account is the one that the token is mapped to, and the authorization identity that account or nothing")
    func verdicts() throws {
        let romeo = try BareJID(parsing: "romeo@verona.example")
        guard case .success(let identity, additionalData: nil) = try outcome(.bearerVerdict(.account(juliet))) else { Issue.record("refused"); return }
        #expect(identity.account == juliet)
        guard case .success = try outcome(.bearerVerdict(.account(juliet)), authzid: "JULIET@verona.example") else { Issue.record("refused"); return }
        #expect(try outcome(.bearerVerdict(.account(romeo)), authzid: "juliet@verona.example").condition == .invalidAuthzid)
        #expect(try outcome(.bearerVerdict(.account(juliet)), authzid: "verona.example").condition == .invalidAuthzid)
        #expect(try outcome(.bearerVerdict(.account(juliet, refusal: .accountDisabled))) == .failure(.accountDisabled))
        // What somebody may not ask for he hears first: nothing about the account of another.
        #expect(try outcome(.bearerVerdict(.account(juliet, refusal: .accountDisabled)), authzid: "romeo@verona.example").condition == .invalidAuthzid)
        #expect(try outcome(.refused(.temporaryAuthFailure)) == .failure(.temporaryAuthFailure))
        #expect(try outcome(.passwordVerdict(true)) == .failure(.temporaryAuthFailure))
    }

    @Test("an answer that nobody has asked for lets nobody in, and nothing is taken while one is awaited")
    func unasked() throws {
        var exchange = try exchange()
        #expect(exchange.provide(.bearerVerdict(.account(juliet))) == .failure(.temporaryAuthFailure))
        var asking = try self.exchange()
        #expect(asking.step(nil) == .challenge([]))
        _ = asking.step(BearerMessage.bytes(token: "abc"))
        #expect(asking.step([1]).condition == .malformedRequest)
        #expect(asking.provide(.bearerVerdict(.account(juliet))) == .failure(.temporaryAuthFailure))
    }

    @Test("nothing that holds a token shows it")
    func silence() throws {
        let token = try #require(BearerToken("secret"))
        let message = try BearerMessage(parsing: BearerMessage.bytes(token: "secret"))
        let step = try first("n,,|auth=Bearer secret||")
        for text in ["\(token)", String(reflecting: token), "\(message)", String(reflecting: message), "\(step)", String(reflecting: step)] {
            #expect(!text.contains("secret"))
        }
        var dumped = ""
        dump(step, to: &dumped)
        #expect(!dumped.contains("secret"))
    }
}
