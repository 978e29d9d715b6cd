import MartletXMPP
import Testing

@Suite("SCRAM examples")
struct ScramExampleTests {
    struct Example: Sendable, CustomTestStringConvertible {
        let hash: ScramHash
        let clientNonce: String
        let serverNonce: String
        let salt: String
        let proof: String
        let signature: String
        var testDescription: String { hash.mechanismName }

        var first: String { "n,,n=user,r=\(clientNonce)" }
        var challenge: String { "r=\(clientNonce)\(serverNonce),s=\(salt),i=4096" }
        var final: String { "c=biws,r=\(clientNonce)\(serverNonce),p=\(proof)" }
    }

    /// RFC 5802 §5; RFC 7677 §3; the latter again with SHA-512, computed with Python's hashlib.
    static let examples = [
        Example(
            hash: .sha1, clientNonce: "fyko+d2lbbFgONRv9qkxdawL", serverNonce: "3rfcNHYJY1ZVvWVs7j",
            salt: "QSXCR+Q6sek8bf92", proof: "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", signature: "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
        Example(
            hash: .sha256, clientNonce: Verona.clientNonce, serverNonce: Verona.serverNonce,
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==", proof: "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            signature: "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
        Example(
            hash: .sha512, clientNonce: Verona.clientNonce, serverNonce: Verona.serverNonce,
            salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
            proof: "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            signature: "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="),
    ]

    @Test("the server's side of the examples (RFC 5802 §5, RFC 7677 §3)", arguments: examples)
    func server(example: Example) throws {
        var exchange = try SASLServerExchange(.scram(example.hash), offer: Verona.offer(nonce: example.serverNonce))
        let identity = try SASLIdentity(username: "user", authzid: nil, domain: Verona.domain)
        #expect(exchange.step(example.first) == .lookUp(identity, .scramKeys(example.hash)))
        let keys = try Verona.keys(example.hash, salt: example.salt)
        #expect(exchange.provide(.scramKeys(keys)).text == example.challenge)
        #expect(
            exchange.step(example.final)
                == .success(identity, additionalData: Array("v=\(example.signature)".utf8)))
    }

    @Test("the client's side of the examples (RFC 5802 §5, RFC 7677 §3)", arguments: examples)
    func client(example: Example) throws {
        var client = try ScramClient(
            hash: example.hash, username: "user", password: Verona.password(), nonce: Verona.nonce(example.clientNonce))
        #expect(String(decoding: client.first(), as: UTF8.self) == example.first)
        let final = try client.final(answering: Array(example.challenge.utf8))
        #expect(String(decoding: final, as: UTF8.self) == example.final)
        try client.verify(Array("v=\(example.signature)".utf8))
    }
}

@Suite("SCRAM, first message")
struct ScramFirstMessageTests {
    private func step(_ message: String, _ mechanism: SASLMechanism = .scram(.sha256)) throws -> SASLStep {
        var exchange = try Verona.exchange(mechanism, bindings: mechanism.bindsChannel ? [Verona.endPoint] : [])
        return exchange.step(message)
    }

    @Test(
        "what is not in the grammar is malformed-request (RFC 5802 §7)",
        arguments: [
            "", ",", ",,", "n", "n,", "n,,", "n,,n=user", "n,,r=abc", "n,,r=abc,n=user", "n=user,r=abc",
            "x,,n=user,r=abc",
            "N,,n=user,r=abc", "nn,,n=user,r=abc", "y=,,n=user,r=abc", "p,,n=user,r=abc", "p=,,n=user,r=abc",
            "p=tls server,,n=user,r=abc", "n,juliet,n=user,r=abc", "n,a=,n=user,r=abc", "n,b=user,n=user,r=abc",
            "n,,n=,r=abc", "n,,n=user,r=", "n,,n=user,r=abc,", "n,,n=user,r=abc,,x=1", "n,,n=user,r=abc,x",
            "n,,n=user,r=abc,x=",
            "n,,n=user,r=abc,1=2", "n,,nn=user,r=abc", " n,,n=user,r=abc", "n,,n=user, r=abc",
            "n,,n=user,r=abc,n=admin",
            "n,,n=user,r=abc,r=def", "n,,n=user,r=abc,p=AAAA", "n,,x=1,n=user,r=abc", "n,,n=user,x=1,r=abc",
            "n,,n=us\u{0}er,r=abc",
        ])
    func malformed(message: String) throws {
        #expect(try step(message).condition == .malformedRequest)
    }

    @Test(
        "what is not UTF-8 is malformed-request",
        arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]])
    func notUTF8(bytes: [UInt8]) throws {
        var exchange = try Verona.exchange()
        #expect(exchange.step(Array("n,,n=".utf8) + bytes + Array(",r=abc".utf8)).condition == .malformedRequest)
    }

    @Test(
        "the reserved attribute m= fails wherever it stands (RFC 5802 §5.1)",
        arguments: ["n,,m=x,n=user,r=abc", "n,,n=user,m=x,r=abc", "n,,n=user,r=abc,m=x", "n,,n=user,r=abc,x=1,m=x"])
    func mandatoryExtension(message: String) throws {
        #expect(try step(message) == .failure(.malformedRequest("extensions-not-supported")))
    }

    @Test("extensions that nobody knows are passed over (RFC 5802 §5.1)")
    func extensions() throws {
        #expect(try step("n,,n=user,r=abc,x=1,Y==,z=ü").identity?.account.description == "user@verona.example")
    }

    @Test(
        "an equals sign in a name that begins neither =2C nor =3D fails (RFC 5802 §5.1)",
        arguments: ["=", "us=er", "=2", "=2c", "=3d", "=2D", "user=", "=3", "=="])
    func escapes(name: String) throws {
        #expect(try step("n,,n=\(name),r=abc").condition == .malformedRequest)
        #expect(try step("n,a=\(name),n=user,r=abc").condition == .malformedRequest)
    }

    @Test("a comma and an equals sign in a name come back as they were (RFC 5802 §5.1)")
    func escaped() throws {
        var exchange = try Verona.exchange()
        let client = try Verona.client(username: "a=b,c=2C")
        #expect(String(decoding: client.first(), as: UTF8.self) == "n,,n=a=3Db=2Cc=3D2C,r=\(Verona.clientNonce)")
        #expect(exchange.step(client.first()).identity?.account.description == "a=b,c=2c@verona.example")
    }

    @Test(
        "a nonce is printable and has at most 256 bytes",
        arguments: ["a b", "ü", "\u{7F}", String(repeating: "x", count: 257)])
    func nonces(nonce: String) throws {
        #expect(try step("n,,n=user,r=\(nonce)").condition == .malformedRequest)
    }

    @Test("a nonce of 256 bytes is accepted, and one with equals signs")
    func longestNonce() throws {
        #expect(try step("n,,n=user,r=\(String(repeating: "x", count: 256))").identity != nil)
        #expect(try step("n,,n=user,r==a=").identity != nil)
    }

    @Test("a message has at most 6144 bytes and 16 attributes")
    func limits() throws {
        let start = "n,,n=user,r=abc,x="
        let room = SASLServerExchange.messageBytesMax - start.utf8.count
        #expect(try step(start + String(repeating: "x", count: room)).identity != nil)
        #expect(try step(start + String(repeating: "x", count: room + 1)).condition == .malformedRequest)
        #expect(try step("n,,n=user,r=abc" + String(repeating: ",x=1", count: 14)).identity != nil)
        #expect(try step("n,,n=user,r=abc" + String(repeating: ",x=1", count: 15)).condition == .malformedRequest)
    }

    @Test("the authorization identity is checked before anything is looked up (RFC 6120 §6.5.6)")
    func authzid() throws {
        #expect(try step("n,a=admin@verona.example,n=user,r=abc").condition == .invalidAuthzid)
        #expect(try step("n,a=user@verona.example,n=user,r=abc").identity != nil)
    }

    @Test("no initial response is asked for once (RFC 4422 §3)")
    func prompted() throws {
        var exchange = try Verona.exchange()
        #expect(exchange.step(nil) == .challenge([]))
        var impatient = exchange
        #expect(exchange.step("n,,n=user,r=abc").identity != nil)
        #expect(impatient.step(nil).condition == .malformedRequest)
    }
}

@Suite("SCRAM, channel binding (RFC 5802 §6)")
struct ScramChannelBindingTests {
    private let both = [Verona.endPoint, Verona.exporter]

    @Test(
        "a client that binds logs in with every hash and type", arguments: ScramHash.allCases,
        ChannelBinding.Kind.allCases)
    func bound(hash: ScramHash, kind: ChannelBinding.Kind) throws {
        let binding = try #require(both.first { $0.kind == kind })
        let exchange = try Verona.exchange(.scramPlus(hash), bindings: both)
        #expect(try login(Verona.client(hash, .bound(binding)), exchange, keys: Verona.keys(hash)))
    }

    @Test("y fails while -PLUS is offered: somebody took the offer out, which only the account's own client can make known")
    func downgrade() throws {
        func end(_ change: ([UInt8]) -> [UInt8] = { $0 }) throws -> SASLStep {
            var exchange = try Verona.exchange(bindings: both)
            var client = try Verona.client(.sha256, .unadvertised)
            _ = exchange.step(client.first())
            guard case .challenge(let challenge) = exchange.provide(.scramKeys(try Verona.keys())) else { return .challenge([]) }
            return exchange.step(change(try client.final(answering: challenge)))
        }
        let text = "server-does-support-channel-binding"
        #expect(try end() == .failure(SASLFailure(.notAuthorized, text, suspicion: .strippedOffer)))
        let unproved = try end { $0.dropLast(44) + Array(Base64.encode([UInt8](0..<32)).utf8) }
        #expect(unproved == .failure(SASLFailure(.notAuthorized, text)))
    }

    @Test("y that became n on its way is found in c=, which the proof covers")
    func changedFlag() throws {
        var exchange = try Verona.exchange(bindings: both)
        var client = try Verona.client(.sha256, .unadvertised)
        _ = exchange.step(Array("n".utf8) + client.first().dropFirst())
        guard case .challenge(let challenge) = exchange.provide(.scramKeys(try Verona.keys())) else {
            Issue.record("no challenge")
            return
        }
        let step = exchange.step(try client.final(answering: challenge))
        #expect(step == .failure(SASLFailure(.notAuthorized, "channel-bindings-dont-match", suspicion: .otherChannel)))
    }

    @Test("a stranger's mismatch is no suspicion, and is told in the same words")
    func strangersMismatch() throws {
        var exchange = try Verona.exchange(.scramPlus(.sha256), bindings: both)
        let elsewhere = ChannelBinding(.tlsExporter, data: [UInt8](repeating: 0, count: 32))
        var client = try Verona.client(.sha256, .bound(elsewhere), password: "pen")
        _ = exchange.step(client.first())
        guard case .challenge(let challenge) = exchange.provide(.scramKeys(try Verona.keys())) else {
            Issue.record("no challenge")
            return
        }
        let step = exchange.step(try client.final(answering: challenge))
        #expect(step == .failure(SASLFailure(.notAuthorized, "channel-bindings-dont-match")))
    }

    @Test("y is right while -PLUS is not offered, and n always")
    func unbound() throws {
        #expect(try login(Verona.client(.sha256, .unadvertised), Verona.exchange(), keys: Verona.keys()))
        #expect(try login(Verona.client(), Verona.exchange(), keys: Verona.keys()))
        #expect(try login(Verona.client(), Verona.exchange(bindings: both), keys: Verona.keys()))
    }

    @Test("p= fails on a mechanism without -PLUS, offered or not")
    func plusMissing() throws {
        var exchange = try Verona.exchange(bindings: both)
        #expect(exchange.step("p=tls-exporter,,n=user,r=abc").condition == .malformedRequest)
        var without = try Verona.exchange()
        #expect(without.step("p=tls-exporter,,n=user,r=abc").condition == .malformedRequest)
    }

    @Test("n and y fail on a -PLUS mechanism", arguments: ["n", "y"])
    func flagMissing(flag: String) throws {
        var exchange = try Verona.exchange(.scramPlus(.sha256), bindings: both)
        #expect(exchange.step("\(flag),,n=user,r=abc").condition == .malformedRequest)
    }

    @Test(
        "p= fails with a type that was not offered",
        arguments: ["tls-exporter", "tls-unique", "TLS-SERVER-END-POINT", "tls-server-end-poin"])
    func unknownType(name: String) throws {
        var exchange = try Verona.exchange(.scramPlus(.sha256), bindings: [Verona.endPoint])
        let step = exchange.step("p=\(name),,n=user,r=abc")
        #expect(step == .failure(SASLFailure(.notAuthorized, "unsupported-channel-binding-type")))
    }

    @Test("a -PLUS mechanism on a stream without binding data fails")
    func nothingOffered() throws {
        var exchange = try Verona.exchange(.scramPlus(.sha256))
        #expect(exchange.step("p=tls-exporter,,n=user,r=abc").condition == .notAuthorized)
    }

    @Test("a client on another TLS connection fails")
    func otherConnection() throws {
        let elsewhere = ChannelBinding(.tlsExporter, data: [UInt8](repeating: 0, count: 32))
        let exchange = try Verona.exchange(.scramPlus(.sha256), bindings: both)
        #expect(try !login(Verona.client(.sha256, .bound(elsewhere)), exchange, keys: Verona.keys()))
    }

    /// Takes the login to its last message, with a right proof for whatever `c=` says.
    private func final(
        first flag: String, claiming binding: [UInt8], _ mechanism: SASLMechanism, bindings: [ChannelBinding]
    ) throws -> SASLStep {
        var exchange = try Verona.exchange(mechanism, bindings: bindings)
        _ = exchange.step("\(flag)n=user,r=\(Verona.clientNonce)")
        let challenge = exchange.provide(.scramKeys(try Verona.keys()))
        let server = try #require(challenge.text)
        return exchange.step(
            try ForgedFinal(first: "n=user,r=\(Verona.clientNonce)", challenge: server, binding: binding).bytes())
    }

    @Test("c= is the header byte for byte, though the proof be right")
    func header() throws {
        let mechanism = SASLMechanism.scram(.sha256)
        #expect(try final(first: "n,,", claiming: Array("n,,".utf8), mechanism, bindings: []).succeeded)
        for claim in ["y,,", "n,", "n,,,", "N,,", "n,a=user@verona.example,", "p=tls-exporter,,"] {
            let step = try final(first: "n,,", claiming: Array(claim.utf8), mechanism, bindings: [])
            #expect(step == .failure(SASLFailure(.notAuthorized, "channel-bindings-dont-match", suspicion: .otherChannel)), "\(claim)")
        }
        let other = try final(first: "n,a=user@verona.example,", claiming: Array("n,,".utf8), mechanism, bindings: [])
        #expect(other.failureText == "channel-bindings-dont-match")
    }

    @Test("c= is the header and then the binding data byte for byte, though the proof be right")
    func data() throws {
        let mechanism = SASLMechanism.scramPlus(.sha256)
        let header = Array("p=tls-exporter,,".utf8)
        let data = Verona.exporter.data
        #expect(try final(first: "p=tls-exporter,,", claiming: header + data, mechanism, bindings: both).succeeded)
        let claims = [
            header, header + data.dropLast(), header + data + [0], header + data.reversed(), data,
            Array("n,,".utf8), Array("p=tls-server-end-point,,".utf8) + data, header + Verona.endPoint.data,
        ]
        for claim in claims {
            let step = try final(first: "p=tls-exporter,,", claiming: claim, mechanism, bindings: both)
            #expect(step.failureText == "channel-bindings-dont-match")
        }
    }
}

@Suite("SCRAM, final message")
struct ScramFinalMessageTests {
    /// The exchange of RFC 7677 §3 after the server's challenge.
    private func challenged(refusal: SASLFailure? = nil) throws -> SASLServerExchange {
        var exchange = try Verona.exchange()
        _ = exchange.step("n,,n=user,r=\(Verona.clientNonce)")
        _ = exchange.provide(.scramKeys(try Verona.keys(), refusal: refusal))
        return exchange
    }

    private let nonce = Verona.clientNonce + Verona.serverNonce
    private let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

    @Test("a message that differs from the right one nowhere succeeds")
    func right() throws {
        var exchange = try challenged()
        #expect(exchange.step("c=biws,r=\(nonce),p=\(proof)").succeeded)
    }

    @Test(
        "another nonce fails",
        arguments: [
            "", "x", "\(Verona.clientNonce)", "\(Verona.serverNonce)", "\(Verona.clientNonce)\(Verona.serverNonce)x",
            "R",
        ])
    func nonces(nonce: String) throws {
        var exchange = try challenged()
        #expect(exchange.step("c=biws,r=\(nonce),p=\(proof)").condition == .malformedRequest)
    }

    @Test("another nonce fails though the proof be right")
    func provenNonce() throws {
        var exchange = try challenged()
        let challenge = "r=\(nonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        let forged = try ForgedFinal(
            first: "n=user,r=\(Verona.clientNonce)", challenge: challenge, binding: Array("n,,".utf8),
            nonce: nonce + "x")
        #expect(exchange.step(try forged.bytes()).condition == .malformedRequest)
    }

    @Test("a right proof with a byte more or less fails")
    func trimmedProof() throws {
        let right = try #require(Base64.decode(proof))
        for proof in [right + [0], Array(right.dropLast()), right + right] {
            var exchange = try challenged()
            #expect(exchange.step("c=biws,r=\(nonce),p=\(Base64.encode(proof))") == .failure(.notAuthorized))
        }
    }

    @Test("a proof of another length fails", arguments: [0, 1, 20, 31, 33, 64])
    func proofLength(count: Int) throws {
        var exchange = try challenged()
        let proof = Base64.encode([UInt8](repeating: 0, count: count))
        let step = exchange.step("c=biws,r=\(nonce),p=\(proof)")
        #expect(step.condition == (count == 0 ? .malformedRequest : .notAuthorized))
    }

    @Test(
        "a proof that is not canonical base64 is incorrect-encoding",
        arguments: ["====", "dHzb", "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", "a b="])
    func proofEncoding(proof: String) throws {
        var exchange = try challenged()
        let expected: SASLFailure.Condition = proof == "dHzb" ? .notAuthorized : .incorrectEncoding
        #expect(exchange.step("c=biws,r=\(nonce),p=\(proof)").condition == expected)
        var other = try challenged()
        #expect(other.step("c=biw,r=\(nonce),p=\(self.proof)").condition == .incorrectEncoding)
    }

    @Test("attributes out of their order, missing or repeated are malformed-request (RFC 5802 §5.1)")
    func order() throws {
        let (c, r, p) = ("c=biws", "r=\(nonce)", "p=\(proof)")
        let messages = [
            "", c, r, p, "\(c),\(r)", "\(r),\(c),\(p)", "\(c),\(p),\(r)", "\(p),\(c),\(r)", "\(c),\(r),\(p),x=1",
            "\(c),\(r),\(p),",
            "\(c),\(r),\(p),\(p)", "\(c),\(c),\(r),\(p)", "x=1,\(c),\(r),\(p)", "\(c),x=1,\(r),\(p)",
            "\(c),\(r),n=user,\(p)",
            "\(c),\(r),\(p)\u{0}",
        ]
        for message in messages {
            var exchange = try challenged()
            #expect(exchange.step(message).condition == .malformedRequest, "\(message)")
        }
    }

    @Test("m= fails in the final message too (RFC 5802 §5.1)")
    func mandatoryExtension() throws {
        var exchange = try challenged()
        #expect(
            exchange.step("c=biws,r=\(nonce),m=x,p=\(proof)") == .failure(.malformedRequest("extensions-not-supported"))
        )
    }

    @Test("extensions are covered by the proof: one that was proved passes, one that was added fails")
    func extensions() throws {
        let challenge = "r=\(nonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        let first = "n=user,r=\(Verona.clientNonce)"
        var proved = try challenged()
        let forged = try ForgedFinal(
            first: first, challenge: challenge, binding: Array("n,,".utf8), extensions: ",x=1,t=ü")
        #expect(proved.step(try forged.bytes()).succeeded)
        var added = try challenged()
        #expect(added.step("c=biws,r=\(nonce),x=1,p=\(proof)") == .failure(.notAuthorized))
    }

    @Test("a disabled account hears so after the right proof, and after a wrong one what everybody hears")
    func refusal() throws {
        var right = try challenged(refusal: .accountDisabled)
        #expect(right.step("c=biws,r=\(nonce),p=\(proof)") == .failure(.accountDisabled))
        var wrong = try challenged(refusal: .accountDisabled)
        #expect(wrong.step("c=biws,r=\(nonce),p=\(Base64.encode([UInt8](0..<32)))") == .failure(.notAuthorized))
    }

    @Test("a source that cannot answer is a temporary failure, never a wrong password")
    func unavailable() throws {
        var exchange = try Verona.exchange()
        _ = exchange.step("n,,n=user,r=abc")
        var mismatched = exchange
        var confused = exchange
        #expect(exchange.provide(.refused(.temporaryAuthFailure)) == .failure(.temporaryAuthFailure))
        #expect(mismatched.provide(.scramKeys(try Verona.keys(.sha512))) == .failure(.temporaryAuthFailure))
        #expect(confused.provide(.passwordVerdict(true)) == .failure(.temporaryAuthFailure))
    }

    @Test("nothing is accepted out of turn, and nothing after the end")
    func turns() throws {
        var early = try Verona.exchange()
        #expect(early.provide(.scramKeys(try Verona.keys())) == .failure(.temporaryAuthFailure))
        #expect(early.step("n,,n=user,r=abc").condition == .malformedRequest)
        var hasty = try Verona.exchange()
        _ = hasty.step("n,,n=user,r=abc")
        #expect(hasty.step("c=biws,r=abc,p=AAAA").condition == .malformedRequest)
        #expect(!hasty.provide(.scramKeys(try Verona.keys())).succeeded)
        var done = try challenged()
        #expect(done.step("c=biws,r=\(nonce),p=\(proof)").succeeded)
        #expect(done.step("c=biws,r=\(nonce),p=\(proof)").condition == .malformedRequest)
        #expect(done.provide(.scramKeys(try Verona.keys())).condition == .temporaryAuthFailure)
        var failed = try challenged()
        #expect(failed.step("c=biws,r=\(nonce),p=AAAA").condition == .notAuthorized)
        #expect(failed.step("c=biws,r=\(nonce),p=\(proof)").condition == .malformedRequest)
    }
}

@Suite("SCRAM client")
struct ScramClientTests {
    private func fault(_ challenge: String) throws -> ScramClient.Fault? {
        var client = try Verona.client()
        return #expect(throws: ScramClient.Fault.self) { try client.final(answering: Array(challenge.utf8)) }
    }

    @Test("a nonce that does not begin with ours or adds nothing is refused (RFC 5802 §5.1)")
    func nonces() throws {
        for nonce in ["x", Verona.clientNonce, "x" + Verona.clientNonce, String(Verona.clientNonce.dropLast()) + "xyz"]
        {
            #expect(try fault("r=\(nonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096") == .nonce)
        }
    }

    @Test("an iteration count below 4096 or above a million is refused")
    func iterations() throws {
        let start = "r=\(Verona.clientNonce)x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i="
        #expect(try fault(start + "4095") == .iterations(4095))
        #expect(try fault(start + "1000001") == .iterations(1_000_001))
        for number in ["0", "04096", "+4096", "4096 ", "9999999999", "x"] {
            #expect(try fault(start + number) == .syntax)
        }
    }

    @Test(
        "a challenge outside the grammar is refused",
        arguments: [
            "", "e=other-error", "m=x,r=a,s=AAAA,i=4096", "r=a,i=4096,s=AAAA", "r=a,s=,i=4096", "r=a,s=A,i=4096",
        ])
    func syntax(challenge: String) throws {
        #expect(try fault(challenge) == .syntax)
    }

    @Test("a server that does not know the keys is found out (RFC 5802 §3)")
    func serverSignature() throws {
        var client = try Verona.client()
        let challenge = "r=\(Verona.clientNonce)x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        _ = try client.final(answering: Array(challenge.utf8))
        var other = client
        var third = client
        #expect(throws: ScramClient.Fault.serverSignature) { try client.verify(Array("v=AAAA".utf8)) }
        #expect(throws: ScramClient.Fault.syntax) { try other.verify(Array("e=other-error".utf8)) }
        #expect(throws: ScramClient.Fault.syntax) { try third.verify([]) }
        #expect(throws: ScramClient.Fault.order) { try third.verify(Array("v=AAAA".utf8)) }
    }

    @Test("the signature cannot be checked before the proof was made")
    func order() throws {
        var client = try Verona.client()
        #expect(throws: ScramClient.Fault.order) { try client.verify(Array("v=AAAA".utf8)) }
    }
}

@Suite("SCRAM, whole logins")
struct ScramLoginTests {
    @Test("everybody logs in with their password and nobody with another", arguments: ScramHash.allCases)
    func passwords(hash: ScramHash) throws {
        var random = SeededNumbers(seed: 5802)
        let printable = (0x20...0x7E).compactMap(Unicode.Scalar.init).map(Character.init)
        for length in [1, 2, 7, 20, 63, 64, 65, 128, 129, 1024] {
            let text = String((0..<length).compactMap { _ in printable.randomElement(using: &random) })
            let password = try Verona.password(text)
            let salt = random.bytes(Int.random(in: ScramKeys.saltBytesRange, using: &random))
            let keys = try ScramKeys.derive(password: password, salt: salt, iterations: 4096, hash: hash)
            #expect(try login(Verona.client(hash, password: text), Verona.exchange(.scram(hash)), keys: keys))
            #expect(
                try !login(
                    Verona.client(hash, password: text == "x" ? "y" : "x"), Verona.exchange(.scram(hash)), keys: keys))
        }
    }

    @Test(
        "one flipped bit in any message, and one side fails",
        arguments: [SASLMechanism.scram(.sha1), .scramPlus(.sha256)])
    func flippedBits(mechanism: SASLMechanism) throws {
        let hash: ScramHash = mechanism.bindsChannel ? .sha256 : .sha1
        let keys = try Verona.keys(hash)
        let binding: ScramClient.Binding = mechanism.bindsChannel ? .bound(Verona.exporter) : .unsupported
        let client = try Verona.client(hash, binding, authzid: "user@verona.example")
        let exchange = try Verona.exchange(mechanism, bindings: mechanism.bindsChannel ? [Verona.exporter] : [])

        /// The login with each message passed through `meddle`.
        func succeeds(_ meddle: (Int, [UInt8]) -> [UInt8]) throws -> Bool {
            var client = client
            var exchange = exchange
            guard case .lookUp = exchange.step(meddle(0, client.first())) else { return false }
            guard case .challenge(let challenge) = exchange.provide(.scramKeys(keys)) else { return false }
            guard let final = try? client.final(answering: meddle(1, challenge)) else { return false }
            guard case .success(_, let data?) = exchange.step(meddle(2, final)) else { return false }
            return (try? client.verify(meddle(3, data))) != nil
        }

        var lengths: [Int] = []
        #expect(
            try succeeds { _, message in
                lengths.append(message.count)
                return message
            })
        var random = SeededNumbers(seed: 7677)
        for (index, length) in lengths.enumerated() {
            for place in 0..<length {
                let bit: UInt8 = 1 << UInt8.random(in: 0..<8, using: &random)
                let succeeded = try succeeds { number, message in
                    var message = message
                    if number == index { message[place] ^= bit }
                    return message
                }
                #expect(!succeeded, "message \(index), byte \(place), bit \(bit)")
            }
        }
    }

    @Test("the longest names and the longest password log in")
    func longest() throws {
        let name = String(repeating: "=", count: BareJID.partBytesMax)
        let password = String(repeating: "p", count: PreparedPassword.bytesMax)
        let keys = try ScramKeys.derive(
            password: Verona.password(password), salt: [UInt8](0..<16), iterations: 4096, hash: .sha1)
        let client = try Verona.client(.sha1, username: name, password: password)
        #expect(try login(client, Verona.exchange(.scram(.sha1)), keys: keys))
    }
}
