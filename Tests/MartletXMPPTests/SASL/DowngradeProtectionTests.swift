import MartletXML
import MartletXMPP
import Testing

@Suite("SCRAM, protection against downgrades (XEP-0474, XEP-0515)")
struct DowngradeProtectionTests {
    private static let usual: [SASLMechanism] = [.scram(.sha512), .scram(.sha256), .scram(.sha1), .plain]
    private static let withPlus = [SASLMechanism.scramPlus(.sha512), .scramPlus(.sha256), .scramPlus(.sha1)] + usual

    /// What the server adds to its first message.
    private func added(
        _ mechanism: SASLMechanism, _ mechanisms: [SASLMechanism], _ bindings: [ChannelBinding] = [], tls: NegotiatedTLS? = nil
    ) throws -> String {
        let hash: ScramHash
        switch mechanism {
        case .scram(let its), .scramPlus(let its): hash = its
        case .plain, .external, .oauthBearer, .gssapi, .hashedToken: hash = .sha256
        }
        let offer = SASLOffer(
            domain: Verona.domain, mechanisms: mechanisms, bindings: bindings, tls: tls, nonce: try Verona.nonce(Verona.serverNonce))
        var exchange = SASLServerExchange(mechanism, offer: offer)
        _ = exchange.step((mechanism.bindsChannel ? "p=tls-exporter,," : "n,,") + "n=user,r=\(Verona.clientNonce)")
        let challenge = try #require(exchange.provide(.scramKeys(try Verona.keys(hash))).text)
        let usual = "r=\(Verona.clientNonce)\(Verona.serverNonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        try #require(challenge.hasPrefix(usual))
        return String(challenge.dropFirst(usual.count))
    }

    @Test("the hash of the XEP's own example (XEP-0474 §5.3)")
    func example() throws {
        let both = [Verona.endPoint, Verona.exporter]
        #expect(try added(.scramPlus(.sha1), [.scramPlus(.sha1), .scram(.sha1)], both) == ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=")
    }

    /// Computed with Python's hashlib.
    @Test("names are in the order of their octets, however they were announced, and hashed as SCRAM hashes (XEP-0474 §5.1)")
    func orders() throws {
        for mechanisms in [Self.usual, Self.usual.reversed()] {
            #expect(try added(.scram(.sha1), mechanisms) == ",h=kVLl39cvECZMGTnGJtnylZ6DMT8=")
            #expect(try added(.scram(.sha256), mechanisms) == ",h=ujUIheeDniyREoOqPQKcpjkxnvYpJ3onwESOHqpFE7g=")
            #expect(
                try added(.scram(.sha512), mechanisms)
                    == ",h=WJUJKM+uACMGshtbCamwQeIUEmFD3Y1WFmj2cwittZ6LWKWGsqdWk6nMV/YrYqrwvZCdnG8xeF7J8FNnqGB0Ww==")
        }
        for bindings in [[Verona.endPoint, Verona.exporter], [Verona.exporter, Verona.endPoint]] {
            #expect(try added(.scramPlus(.sha256), Self.withPlus, bindings) == ",h=cmRT/9v5sjTgX+ft+hYhsOha8IkhRW2KxNFPJvcbHUA=")
            // Also for a client that does not bind.
            #expect(try added(.scram(.sha256), Self.withPlus, bindings) == ",h=cmRT/9v5sjTgX+ft+hYhsOha8IkhRW2KxNFPJvcbHUA=")
        }
        #expect(try added(.scram(.sha256), Self.withPlus, [Verona.endPoint]) == ",h=f7ZoTyV/jT+lqYkTsYH68ug/VpzFvB0mwIu/hlhOY/k=")
    }

    @Test("the version of TLS stands behind it in four digits, where there is one (XEP-0515 §4.1)")
    func version() throws {
        #expect(try added(.scram(.sha256), [], tls: .tls13) == ",t=0304")
        #expect(try added(.scram(.sha256), [], tls: .tls12) == ",t=0303")
        #expect(try added(.scram(.sha256), [], tls: nil) == "")
        #expect(try added(.scram(.sha1), Self.usual, tls: .tls13) == ",h=kVLl39cvECZMGTnGJtnylZ6DMT8=,t=0304")
    }

    @Test("who changes what the server says of its offer, or takes it away, is found by the proof (XEP-0474 §5.2)")
    func protected() throws {
        func loggedIn(_ change: (String) -> String) throws -> Bool {
            let offer = SASLOffer(domain: Verona.domain, mechanisms: Self.usual, tls: .tls13, nonce: try Verona.nonce(Verona.serverNonce))
            var exchange = SASLServerExchange(.scram(.sha256), offer: offer)
            var client = try Verona.client()
            _ = exchange.step(client.first())
            let challenge = try #require(exchange.provide(.scramKeys(try Verona.keys())).text)
            return exchange.step(try client.final(answering: Array(change(challenge).utf8))).succeeded
        }
        #expect(try loggedIn { $0 })
        #expect(try !loggedIn { $0.replacing(",t=0304", with: ",t=0303") })
        #expect(try !loggedIn { $0.replacing(",t=0304", with: "") })
        #expect(try !loggedIn { challenge in challenge.firstRange(of: ",h=").map { String(challenge[..<$0.lowerBound]) } ?? challenge })
    }

    @Test("a stream says in the exchange what its features announced, and the TLS that it runs on, if that is known")
    func stream() throws {
        func challenge(_ machine: ClientStreamMachine, _ policy: ClientStreamPolicy) throws -> String {
            var machine = machine
            _ = machine.opened(try StreamEvent.header("verona.example"), Surroundings(policy: policy))
            let first = Base64.encode("n,,n=user,r=\(Verona.clientNonce)".utf8)
            let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>\(first)</auth>"
            _ = machine.received(try StreamEvent.element(auth), Surroundings(policy: policy))
            guard case .challenge(let bytes, _) = machine.answered(.scramKeys(try Verona.keys())) else { return "" }
            return String(decoding: bytes, as: UTF8.self)
        }
        let both = [Verona.exporter, Verona.endPoint]
        var policy = ClientStreamPolicy(mechanisms: Self.usual)
        #expect(try challenge(ClientStreamMachine(bindings: both, version: .tls13), policy).hasSuffix(",h=cmRT/9v5sjTgX+ft+hYhsOha8IkhRW2KxNFPJvcbHUA=,t=0304"))
        #expect(try challenge(ClientStreamMachine(bindings: []), policy).hasSuffix(",h=ujUIheeDniyREoOqPQKcpjkxnvYpJ3onwESOHqpFE7g="))
        policy.offersChannelBinding = false
        #expect(try challenge(ClientStreamMachine(bindings: both), policy).hasSuffix(",h=ujUIheeDniyREoOqPQKcpjkxnvYpJ3onwESOHqpFE7g="))
        policy.allowsPlaintext = true
        #expect(try challenge(ClientStreamMachine(), policy).hasSuffix(",h=ujUIheeDniyREoOqPQKcpjkxnvYpJ3onwESOHqpFE7g="))
    }
}
