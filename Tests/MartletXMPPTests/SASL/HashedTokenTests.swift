import MartletXMPP
import Testing

/// Computed by Python's `hmac` and `hashlib`, over the token of XEP-0484's example 3 and the bindings of ``Verona``.
private struct Vector: Sendable, CustomTestStringConvertible {
    let mechanism: HashedTokenMechanism
    let initiator: String
    let responder: String
    var testDescription: String { mechanism.name }

    static let token = HashedToken("WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm")
    static let all = [
        Vector(
            mechanism: .none, initiator: "9097787461a184e0fa84ec00c1381190b6c4d16a8ec4453c7b2ac5e7fcf935ed",
            responder: "4e513409631474863b986c9f3e8c1e27ca29d1d7ab9ed4097e7afd6007bf9c62"),
        Vector(
            mechanism: .serverEndPoint, initiator: "0c5745576afeea711960549186a31a65c9f328205ee38b66825b3d4c872b395c",
            responder: "1260579b34d55aeba4e43062a412db609a0a7153abd218b0f148445c4e83529f"),
        Vector(
            mechanism: .exporter, initiator: "5a8a5d9a46ba0837599b7400454ea64063cba67abe8bd806599ec6fef263c33d",
            responder: "cd8b2ef73cbcd357f4e65d8fa4d413ac7488e6b7f35242412d98a3b5b5ae82b8"),
    ]

    var message: [UInt8] { Array("user".utf8) + [0] + Self.bytes(initiator) }

    static func bytes(_ digits: String) -> [UInt8] {
        stride(from: 0, to: digits.utf8.count, by: 2).compactMap { UInt8(digits.dropFirst($0).prefix(2), radix: 16) }
    }
}

@Suite("Hashed Token (draft-ietf-kitten-sasl-ht-00)")
struct HashedTokenTests {
    private let both = [Verona.endPoint, Verona.exporter]
    private let candidate = HashedTokenCandidate(Vector.token, .current)

    private func outcome(
        _ message: [UInt8], _ mechanism: HashedTokenMechanism = .none, bindings: [ChannelBinding] = [], tokens candidates: [HashedTokenCandidate]
    ) throws -> (step: SASLStep, slot: TokenSlot?) {
        var exchange = HashedTokenExchange(mechanism, offer: try Verona.offer(bindings: bindings))
        let step = exchange.step(message)
        guard case .lookUp(_, .hashedTokens(mechanism)) = step else { return (step, nil) }
        return (exchange.provide(.hashedTokens(candidates)), exchange.accepted?.slot)
    }

    @Test("the proofs are those of an independent implementation (§3)", arguments: Vector.all)
    fileprivate func vectors(vector: Vector) throws {
        let identity = try SASLIdentity(username: "user", authzid: nil, domain: Verona.domain)
        let (step, slot) = try outcome(vector.message, vector.mechanism, bindings: both, tokens: [candidate])
        #expect(step == .success(identity, additionalData: Vector.bytes(vector.responder)))
        #expect(slot == .current)
    }

    @Test("the new token is looked at before the current one, and which it was is known (XEP-0484 §5.1)")
    func slots() throws {
        let other = HashedTokenCandidate(HashedToken("another"), .new)
        let new = HashedTokenCandidate(Vector.token, .new)
        #expect(try outcome(Vector.all[0].message, tokens: [other, candidate]).slot == .current)
        #expect(try outcome(Vector.all[0].message, tokens: [new, candidate]).slot == .new)
        #expect(try outcome(Vector.all[0].message, tokens: [other]).step == .failure(.notAuthorized))
    }

    @Test("without a token there is nothing to prove: a device that has none, and an account that does not exist")
    func noToken() throws {
        #expect(try outcome(Vector.all[0].message, tokens: []).step == .failure(.notAuthorized))
        #expect(try outcome(Vector.all[0].message, tokens: []).slot == nil)
    }

    @Test("a proof for one binding is none for another", arguments: HashedTokenMechanism.allCases)
    func wrongBinding(mechanism: HashedTokenMechanism) throws {
        for vector in Vector.all where vector.mechanism != mechanism {
            #expect(try outcome(vector.message, mechanism, bindings: both, tokens: [candidate]).step == .failure(.notAuthorized))
        }
    }

    @Test("a proof of another connection is none on this one")
    func otherConnection() throws {
        let other = [ChannelBinding(.tlsExporter, data: [UInt8](101..<133))]
        #expect(try outcome(Vector.all[2].message, .exporter, bindings: other, tokens: [candidate]).step == .failure(.notAuthorized))
    }

    @Test("a mechanism with a binding that the connection does not have fails before anything is looked up")
    func noBinding() throws {
        #expect(try outcome(Vector.all[2].message, .exporter, bindings: [Verona.endPoint], tokens: [candidate]).step.condition == .notAuthorized)
        var exchange = HashedTokenExchange(.exporter, offer: try Verona.offer(bindings: [Verona.endPoint]))
        #expect(exchange.step(Vector.all[2].message).identity == nil)
    }

    @Test("whoever proves to have a token that is too old hears that, and nobody else does (XEP-0484 §4.2)")
    func expired() throws {
        let expired = HashedTokenCandidate(Vector.token, .current, refusal: .credentialsExpired)
        #expect(try outcome(Vector.all[0].message, tokens: [expired]).step == .failure(.credentialsExpired))
        #expect(try outcome(Vector.all[1].message, tokens: [expired]).step == .failure(.notAuthorized))
    }

    @Test("a message is a user name, NUL and 32 bytes, and nothing else", arguments: [0, 31, 33])
    func malformed(count: Int) throws {
        let hash = [UInt8](repeating: 7, count: count)
        #expect(try outcome(Array("user".utf8) + [0] + hash, tokens: [candidate]).step.condition == .malformedRequest)
        #expect(try outcome(Array("user".utf8) + [UInt8](repeating: 7, count: 32), tokens: [candidate]).step.condition == .malformedRequest)
        #expect(try outcome([0xFF, 0] + [UInt8](repeating: 7, count: 32), tokens: [candidate]).step.condition == .malformedRequest)
        #expect(try outcome([0] + [UInt8](repeating: 7, count: 32), tokens: [candidate]).step == .failure(.notAuthorized))
    }

    @Test("a hash may have NULs in it: the name ends at the first one")
    func nulInHash() throws {
        #expect(try outcome(Array("user".utf8) + [0] + [UInt8](repeating: 0, count: 32), tokens: [candidate]).step == .failure(.notAuthorized))
    }

    @Test("a message of the greatest length is looked at, and a longer one is not")
    func length() throws {
        func message(_ count: Int) -> [UInt8] { [UInt8](repeating: 0x61, count: count - 33) + [0] + [UInt8](repeating: 7, count: 32) }
        // No localpart is as long.
        #expect(try outcome(message(SASLServerExchange.messageBytesMax), tokens: [candidate]).step == .failure(.notAuthorized))
        #expect(try outcome(message(SASLServerExchange.messageBytesMax + 1), tokens: [candidate]).step.condition == .malformedRequest)
    }

    @Test("whoever sends no initial response is asked for one, once (RFC 4422 §3)")
    func asked() throws {
        var exchange = SASLServerExchange(.hashedToken(.none), offer: try Verona.offer())
        #expect(exchange.step(nil) == .challenge([]))
        #expect(exchange.step(Vector.all[0].message).identity != nil)
        #expect(exchange.acceptedToken == nil)
        #expect(exchange.provide(.hashedTokens([candidate])).succeeded)
        #expect(exchange.acceptedToken?.token == Vector.token)
        #expect(exchange.step(Vector.all[0].message).condition == .malformedRequest)
        #expect(exchange.provide(.hashedTokens([candidate])) == .failure(.temporaryAuthFailure))
    }

    @Test("an answer to another question, or none that could be had, lets nobody in")
    func wrongAnswers() throws {
        for answer in [SASLAnswer.passwordVerdict(true), .refused(.temporaryAuthFailure)] {
            var exchange = HashedTokenExchange(.none, offer: try Verona.offer())
            _ = exchange.step(Vector.all[0].message)
            #expect(exchange.provide(answer) == .failure(.temporaryAuthFailure))
        }
    }

    @Test("a token does not show itself")
    func silent() {
        #expect("\(Vector.token)" == "(token)")
        #expect(String(reflecting: candidate).contains("WXZz") == false)
    }
}
