import MartletXMPP
import Testing

@Suite("EXTERNAL, the server's side (RFC 4422 appendix A, XEP-0178 §3)")
struct ExternalExchangeTests {
    let alice: BareJID
    let bob: BareJID

    init() throws {
        alice = try BareJID(parsing: "alice@verona.example")
        bob = try BareJID(parsing: "bob@verona.example")
    }

    func exchange(_ account: BareJID?) throws -> SASLServerExchange { try exchange(certified: account.map { .account($0) }) }

    func exchange(certified: CertifiedAccount?) throws -> SASLServerExchange {
        SASLServerExchange(.external, offer: SASLOffer(domain: "verona.example", nonce: try Verona.nonce("nonce"), certified: certified))
    }

    func first(_ message: String?) throws -> SASLStep {
        var exchange = try exchange(alice)
        return exchange.step(message.map { Array($0.utf8) })
    }

    static func condition(_ step: SASLStep) -> SASLFailure.Condition? {
        if case .failure(let failure) = step { failure.condition } else { nil }
    }

    @Test("nothing, or the account's own address, asks for the account of the certificate", arguments: ["", "alice@verona.example", "ALICE@Verona.example"])
    func authzid(text: String) throws {
        guard case .lookUp(let identity, .certificate) = try first(text) else { Issue.record("nothing is asked"); return }
        #expect(identity.account == alice)
    }

    @Test("another address is no authorization identity", arguments: ["bob@verona.example", "verona.example", "alice@verona.example/balcony", "@", "alice@mantua.example"])
    func otherAuthzid(text: String) throws {
        #expect(Self.condition(try first(text)) == .invalidAuthzid)
    }

    @Test("whoever has a certificate of several accounts says which one is meant, and it is asked about", arguments: ["bob@verona.example", "BOB@verona.example"])
    func several(text: String) throws {
        var exchange = try exchange(certified: .several)
        guard case .lookUp(let identity, .certificate) = exchange.step(Array(text.utf8)) else { Issue.record("nothing is asked"); return }
        #expect(identity.account == bob)
        let other = exchange.provide(.certificateVerdict(alice))
        #expect(Self.condition(other) == .notAuthorized)
    }

    @Test("of several accounts none is chosen for the client", arguments: ["", "verona.example", "bob@verona.example/balcony", "@"])
    func noneOfSeveral(text: String) throws {
        var exchange = try exchange(certified: .several)
        #expect(Self.condition(exchange.step(Array(text.utf8))) == .invalidAuthzid)
    }

    @Test("what is no text is malformed")
    func malformed() throws {
        for message in [[0xFF], [0x61, 0x00], [UInt8](repeating: 0x61, count: SASLServerExchange.messageBytesMax + 1)] as [[UInt8]] {
            var exchange = try exchange(alice)
            #expect(Self.condition(exchange.step(message)) == .malformedRequest)
        }
    }

    @Test("a client that says nothing at first is asked once")
    func challenge() throws {
        var exchange = try exchange(alice)
        #expect(exchange.step(nil) == .challenge([]))
        guard case .lookUp(_, .certificate) = exchange.step(nil) else { Issue.record("nothing is asked"); return }
        #expect(Self.condition(exchange.step([])) == .malformedRequest)
    }

    @Test("the certificate is asked about anew, and has to stand for the same account")
    func verdicts() throws {
        func outcome(_ answer: SASLAnswer) throws -> SASLStep {
            var exchange = try exchange(alice)
            _ = exchange.step([])
            return exchange.provide(answer)
        }
        guard case .success(let identity, additionalData: nil) = try outcome(.certificateVerdict(alice)) else { Issue.record("refused"); return }
        #expect(identity.account == alice)
        #expect(try outcome(.certificateVerdict(bob)) == .failure(.notAuthorized))
        #expect(try outcome(.refused(.notAuthorized)) == .failure(.notAuthorized))
        #expect(try outcome(.refused(.temporaryAuthFailure)) == .failure(.temporaryAuthFailure))
        #expect(try outcome(.passwordVerdict(true)) == .failure(.temporaryAuthFailure))
    }

    @Test("without a certificate nobody is let in, and an answer that nobody has asked for lets nobody in")
    func nobody() throws {
        var exchange = try exchange(nil)
        #expect(exchange.step([]) == .failure(.notAuthorized))
        #expect(exchange.provide(.certificateVerdict(alice)) == .failure(.temporaryAuthFailure))
        var hasty = try self.exchange(alice)
        #expect(hasty.provide(.certificateVerdict(alice)) == .failure(.temporaryAuthFailure))
    }
}
