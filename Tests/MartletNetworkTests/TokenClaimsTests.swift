import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite("what a token has to say (RFC 7519 §4.1, RFC 8725)")
struct TokenClaimsTests {
    private static let now = PlayedIssuer.now

    private func grant(
        _ changes: [String: String?] = [:], isIntrospected: Bool = false, now: Int = TokenClaimsTests.now, _ change: (inout TokenIssuerSettings) -> Void = { _ in }
    ) throws -> TokenGrant {
        var settings = try PlayedIssuer.settings()
        change(&settings)
        let claims = try #require(TokenClaims(Array(PlayedIssuer.claims(changes).utf8)))
        return try claims.grant(settings, at: "verona.example", now: now, isIntrospected: isIntrospected)
    }

    private func fault(
        _ changes: [String: String?] = [:], isIntrospected: Bool = false, now: Int = TokenClaimsTests.now, _ change: (inout TokenIssuerSettings) -> Void = { _ in }
    ) -> TokenFault? {
        do {
            _ = try grant(changes, isIntrospected: isIntrospected, now: now, change)
            return nil
        } catch {
            return error as? TokenFault
        }
    }

    @Test("an ordinary token is an account's until it ends")
    func ordinary() throws {
        let grant = try grant()
        #expect(grant.account.description == "juliet@verona.example" && grant.end == Self.now + 300)
    }

    @Test("the issuer is the one that is believed, byte for byte; only the issuer itself need not say who it is (RFC 7662 §2.2)")
    func issuer() {
        for other in ["\"https://id.verona.example/\"", "\"HTTPS://id.verona.example\"", "\"\"", "5", "[\"https://id.verona.example\"]", nil] {
            #expect(fault(["iss": other]) == .otherIssuer)
        }
        #expect(fault(["iss": nil], isIntrospected: true) == nil)
        #expect(fault(["iss": "\"https://other.example\""], isIntrospected: true) == .otherIssuer)
    }

    @Test("the audience is among those that it names")
    func audience() {
        #expect(fault(["aud": "[\"mail\",\"xmpp\"]"]) == nil)
        for other in ["\"mail\"", "\"XMPP\"", "[]", "[\"xmpp\",5]", "{\"xmpp\":1}", nil] { #expect(fault(["aud": other]) == .otherAudience) }
        #expect(fault(["aud": nil], isIntrospected: true) == .otherAudience)
    }

    @Test("it is good from its beginning to its end, give or take what clocks may differ", arguments: [
        ("exp", -30, .expired), ("exp", -29, nil), ("nbf", 30, nil), ("nbf", 31, .early), ("iat", 30, nil), ("iat", 31, .early),
    ] as [(String, Int, TokenFault?)])
    func times(claim: String, seconds: Int, expected: TokenFault?) {
        #expect(fault([claim: "\(Self.now + seconds)"]) == expected)
    }

    @Test("a time is one, and an end there has to be")
    func noTimes() {
        for time in ["\"\(Self.now + 300)\"", "-1", "1e300", "true", "null", nil] { #expect(fault(["exp": time]) == .noEnd) }
        #expect(fault(["exp": "\(Self.now + 300).5"]) == nil)
        for claim in ["nbf", "iat"] {
            #expect(fault([claim: "\"soon\""]) == .malformed)
            #expect(fault([claim: nil]) == nil)
        }
    }

    @Test("one that is bound to a key is not taken from whoever has it (RFC 7800)")
    func bound() { #expect(fault(["cnf": "{\"jkt\":\"x\"}"]) == .otherKind) }

    @Test("all scopes that are asked for are there, in either of their forms")
    func scopes() {
        func outcome(_ wanted: [String], _ changes: [String: String?] = [:]) -> TokenFault? { fault(changes) { $0.scopes = wanted } }
        #expect(outcome(["chat", "openid"]) == nil)
        #expect(outcome(["chat", "mail"]) == .lacksScope("mail"))
        #expect(outcome(["cha"]) == .lacksScope("cha"))
        #expect(outcome(["chat"], ["scope": nil, "scp": "[\"chat\"]"]) == nil)
        #expect(outcome(["chat"], ["scope": nil]) == .lacksScope("chat"))
    }

    @Test("a token for a part of an account lets nobody in, since a session is for all of it (XEP-0493 §3.1)", arguments: [
        ("xmpp:account:read", false), ("chat xmpp:account:write", false), ("xmpp:account:read xmpp:client:normal", true), ("xmpp:client:normal", true), ("chat", true), ("", true),
    ])
    func parts(scope: String, isWhole: Bool) {
        #expect(fault(["scope": "\"\(scope)\""]) == (isWhole ? nil : .lacksScope("xmpp:client:normal")))
    }

    @Test("it was given to one of the programs that are named, if any are (RFC 9068 §2.2, OpenID Connect Core 1.0 §2)")
    func clients() {
        func outcome(_ changes: [String: String?]) -> TokenFault? { fault(changes) { $0.clients = ["app", "web"] } }
        #expect(outcome([:]) == .otherClient)
        #expect(outcome(["client_id": "\"app\""]) == nil)
        #expect(outcome(["azp": "\"web\"", "client_id": "\"other\""]) == nil)
        #expect(outcome(["azp": "\"other\"", "client_id": "\"app\""]) == .otherClient)
    }

    @Test("the claim names an account of the domain, as a localpart or an address", arguments: [
        ("\"juliet\"", "juliet"), ("\"Juliet\"", "juliet"), ("\"juliet@verona.example\"", "juliet"), ("\"JULIET@Verona.Example\"", "juliet"), ("\"juliet@mantua.example\"", nil),
        ("\"juliet@\"", nil), ("\"@verona.example\"", nil), ("\"juliet@verona.example/x\"", nil), ("\"juliet/x\"", nil), ("\"\"", nil), ("\"ju liet\"", nil),
        ("5", nil), ("[\"juliet\"]", nil),
        ("null", nil), ("\"verona.example\"", "verona.example"),
    ] as [(String, String?)])
    func account(value: String, localpart: String?) throws {
        let found = try? grant(["preferred_username": value]).account
        #expect(found?.localpart == localpart)
        #expect(localpart != nil || fault(["preferred_username": value]) == .namesNobody)
        #expect(found == nil || found?.domainpart == "verona.example")
    }

    @Test("a mailbox counts if it is said to have been seen to be this one's (OpenID Connect Core 1.0 §5.7)")
    func mailbox() {
        func outcome(_ verified: String?) -> TokenFault? {
            fault(["email": "\"juliet@verona.example\"", "email_verified": verified]) { $0.accountClaim = "email" }
        }
        #expect(outcome("true") == nil)
        for other in ["false", "\"true\"", "1", nil] { #expect(outcome(other) == .unverifiedMailbox) }
    }

    @Test("what is no object says nothing, nor what is too long")
    func noClaims() {
        for text in ["", "[]", "5", "{", "{\"a\":}", "null"] { #expect(TokenClaims(Array(text.utf8)) == nil) }
        let longest = "{}" + String(repeating: " ", count: TokenClaims.bytesMax - 2)
        #expect(TokenClaims(Array(longest.utf8)) != nil)
        #expect(TokenClaims(Array((longest + " ").utf8)) == nil)
    }
}

@Suite("what is remembered of tokens and keys")
struct TokenMemoryTests {
    private func claims() throws -> TokenClaims { try #require(TokenClaims(Array(PlayedIssuer.claims().utf8))) }

    @Test("an answer is used again for as long as it may be, and no longer")
    func lifetime() throws {
        var memory = TokenMemory()
        let (token, other) = (try #require(BearerToken("a")), try #require(BearerToken("b")))
        memory.remember(try claims(), of: token, until: 130, now: 100)
        #expect(memory.claims(of: token, now: 129) != nil)
        #expect(memory.claims(of: token, now: 130) == nil)
        #expect(memory.claims(of: other, now: 100) == nil)
        memory.remember(try claims(), of: other, until: 100, now: 100)
        #expect(memory.count == 1)
    }

    @Test("so many are remembered; then those that are over go, or else the one that ends first")
    func bound() throws {
        var memory = TokenMemory()
        for number in 0..<TokenMemory.entriesMax { memory.remember(try claims(), of: try #require(BearerToken("t\(number)")), until: 200 + number, now: 100) }
        #expect(memory.count == TokenMemory.entriesMax)
        memory.remember(try claims(), of: try #require(BearerToken("new")), until: 9_000, now: 100)
        #expect(memory.count == TokenMemory.entriesMax)
        #expect(memory.claims(of: try #require(BearerToken("t0")), now: 100) == nil)
        #expect(memory.claims(of: try #require(BearerToken("t1")), now: 100) != nil)
        memory.remember(try claims(), of: try #require(BearerToken("last")), until: 9_000, now: 300)
        #expect(memory.count < TokenMemory.entriesMax)
    }

    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    @Test("keys are fetched anew in time, and used for a while where that fails")
    func refresh() {
        var refresh = KeyRefresh()
        #expect(refresh.isDue(Self.start) && !refresh.isUsable(Self.start) && !refresh.isCurrent)
        refresh.begin(Self.start)
        #expect(!refresh.isDue(Self.start + KeyRefresh.triedAgainAfter - .nanoseconds(1)))
        #expect(refresh.isDue(Self.start + KeyRefresh.triedAgainAfter))
        refresh.end(Self.start, succeeded: true)
        #expect(refresh.isCurrent && refresh.isUsable(Self.start))
        #expect(!refresh.isDue(Self.start + KeyRefresh.refreshedAfter - .nanoseconds(1)))
        let due = Self.start + KeyRefresh.refreshedAfter
        #expect(refresh.isDue(due))
        refresh.begin(due)
        refresh.end(due, succeeded: false)
        #expect(!refresh.isCurrent && refresh.isUsable(due) && !refresh.isDue(due))
        #expect(refresh.isUsable(Self.start + KeyRefresh.usableFor - .nanoseconds(1)))
        #expect(!refresh.isUsable(Self.start + KeyRefresh.usableFor))
    }

    @Test("a token can have keys fetched no more often than that")
    func asked() {
        var refresh = KeyRefresh()
        refresh.begin(Self.start)
        refresh.end(Self.start, succeeded: true)
        #expect(!refresh.mayTry(Self.start + KeyRefresh.askedAgainAfter - .nanoseconds(1)))
        #expect(refresh.mayTry(Self.start + KeyRefresh.askedAgainAfter))
    }
}
