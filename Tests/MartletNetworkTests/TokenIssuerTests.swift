import Crypto
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@Suite("tokens by signature and by introspection (RFC 7515, RFC 7517, RFC 7662)")
struct TokenIssuerTests {
    private static let now = PlayedIssuer.now

    private func outcome(_ issuer: TokenIssuer, _ token: BearerToken, wall: Int = TokenIssuerTests.now) async -> Result<String, TokenFault> {
        do throws(TokenFault) { return .success(try await issuer.grant(of: token, at: "verona.example", wall: wall).account.description) } catch { return .failure(error) }
    }

    private static let juliet = Result<String, TokenFault>.success("juliet@verona.example")

    // MARK: Signatures

    @Test("every algorithm that is taken is verified, by the key that the token names")
    func algorithms() async throws {
        let keys: [String: PlayedIssuer.Key] = [
            "a": .p256(), "b": .p384(), "c": .ed25519(), "d": try .rsa(), "e": try .rsa("PS256"), "f": .ed25519("Ed25519"),
        ]
        let played = PlayedIssuer(keys)
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        for name in keys.keys { #expect(await outcome(issuer, try played.token(by: name)) == Self.juliet, "\(name)") }
        #expect(played.keyFetches == 1)
    }

    @Test("a signature is of what is signed, and by the key that is named")
    func forged() async throws {
        let played = PlayedIssuer(["first": .p256(), "other": .p256()])
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        let good = try played.token()
        let parts = good.text.split(separator: ".")
        let other = PlayedIssuer.url(Array(PlayedIssuer.claims(["preferred_username": "\"romeo\""]).utf8))
        #expect(await outcome(issuer, try #require(BearerToken("\(parts[0]).\(other).\(parts[2])"))) == .failure(.signature))
        let misnamed = try played.token(by: "other", header: #"{"alg":"ES256","kid":"first"}"#)
        #expect(await outcome(issuer, misnamed) == .failure(.signature))
    }

    @Test("no token says itself how it is to be believed (RFC 8725 §3.1): not unsigned, not by a secret, not by a key of another kind")
    func confusion() async throws {
        let played = PlayedIssuer(["first": .p256(), "rsa": try .rsa()])
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        for header in [#"{"alg":"none"}"#, #"{"alg":"None","kid":"first"}"#, #"{"alg":"HS256","kid":"rsa"}"#, #"{"alg":"RS1","kid":"rsa"}"#, #"{"alg":"","kid":"rsa"}"#] {
            #expect(await outcome(issuer, try played.token(header: header)) == .failure(.algorithm), "\(header)")
        }
        let unsigned = "\(PlayedIssuer.url(Array(#"{"alg":"none"}"#.utf8))).\(PlayedIssuer.url(Array(PlayedIssuer.claims().utf8)))."
        #expect(await outcome(issuer, try #require(BearerToken(unsigned))) == .failure(.algorithm))
        // By the public key as a secret.
        let members = try #require(played.state.withLockedValue { $0.keys["rsa"]?.members })
        let signed = "\(PlayedIssuer.url(Array(#"{"alg":"HS256","kid":"rsa"}"#.utf8))).\(PlayedIssuer.url(Array(PlayedIssuer.claims().utf8)))"
        let code = HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: SymmetricKey(data: Array(members.utf8)))
        #expect(await outcome(issuer, try #require(BearerToken("\(signed).\(PlayedIssuer.url(Array(code)))"))) == .failure(.algorithm))
        #expect(await outcome(issuer, try played.token(header: #"{"alg":"RS256","kid":"first"}"#)) == .failure(.unknownKey))
        #expect(await outcome(issuer, try played.token(by: "rsa", header: #"{"alg":"PS256","kid":"rsa"}"#)) == .failure(.signature))
        // What a token asked for before changes nothing for the next.
        #expect(await outcome(issuer, try played.token(by: "rsa")) == Self.juliet)
        #expect(await outcome(issuer, try played.token()) == Self.juliet)
    }

    @Test("extensions that have to be understood are not (RFC 7515 §4.1.11, RFC 7797)", arguments: [
        #"{"alg":"ES256","kid":"first","crit":["exp"]}"#, #"{"alg":"ES256","kid":"first","crit":[]}"#, #"{"alg":"ES256","kid":"first","b64":false}"#,
    ])
    func critical(header: String) async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        #expect(await outcome(issuer, try played.token(header: header)) == .failure(.critical))
    }

    private static let kinds: [(member: String, isForAccess: Bool)] = [
        ("", true), (#","typ":"JWT""#, true), (#","typ":"jwt""#, true), (#","typ":"at+jwt""#, true), (#","typ":"AT+JWT""#, true),
        (#","typ":"application/at+jwt""#, true), (#","typ":"application/jwt""#, true), (#","typ":null"#, true), (#","typ":"""#, false),
        (#","typ":"logout+jwt""#, false), (#","typ":"id+jwt""#, false), (#","typ":"dpop+jwt""#, false), (#","typ":"secevent+jwt""#, false),
        (#","typ":"at+jwt+x""#, false), (#","typ":"application/application/jwt""#, false), (#","typ":"JOSE""#, false), (#","typ":" JWT""#, false),
    ]

    @Test("a token says that it is for access, or nothing of what it is for (RFC 8725 §3.11, RFC 9068 §2.1)", arguments: kinds)
    func kind(member: String, isForAccess: Bool) async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        let outcome = await outcome(issuer, try played.token(header: #"{"alg":"ES256","kid":"first"\#(member)}"#))
        #expect(outcome == (isForAccess ? Self.juliet : .failure(.otherKind)))
    }

    @Test("a kind that is no text makes a token none")
    func kindWithoutText() async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        #expect(await outcome(issuer, try played.token(header: #"{"alg":"ES256","kid":"first","typ":1}"#)) == .failure(.malformed))
    }

    @Test("garbage is no token, and nothing is asked about it", arguments: ["a", "a.b", "a.b.c", "..", "a.b.c.d", "eyJhbGciOiJFUzI1NiJ9.e30.", "e30.e30.AA"])
    func garbage(text: String) async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        let found = await outcome(issuer, try #require(BearerToken(text)))
        #expect(found == .failure(.malformed) || found == .failure(.algorithm))
        #expect(played.keyFetches == 0)
    }

    @Test("a token that names no key may mean any of them, and a new one is found by that")
    func unnamed() async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        #expect(await outcome(issuer, try played.token(header: #"{"alg":"ES256"}"#)) == Self.juliet)
        let two = PlayedIssuer(["first": .p256(), "second": .p256()])
        let other = TokenIssuer(try PlayedIssuer.settings(), two.fetch)
        for name in ["first", "second"] { #expect(await outcome(other, try two.token(by: name, header: #"{"alg":"ES256"}"#)) == Self.juliet) }
        let hands = Hands()
        let turning = TokenIssuer(try PlayedIssuer.settings(), two.fetch, now: { hands.now })
        _ = await turning.keepUp()
        two.state.withLockedValue { $0.keys["third"] = .p256() }
        let new = try two.token(by: "third", header: #"{"alg":"ES256"}"#)
        #expect(await outcome(turning, new) == .failure(.unknownKey))
        hands.pass(KeyRefresh.askedAgainAfter)
        #expect(await outcome(turning, new) == Self.juliet)
    }

    @Test("of a set what is for something else, or is not understood, is passed over", arguments: [
        #"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"XYZ"},5,{"kid":"enc","use":"enc",KEY},{"kid":"first","use":"sig",KEY}]}"#,
        #"{"keys":[{"kid":"other","kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"},{"kid":"first","alg":"ES256",KEY}]}"#,
        #"{"keys":[{"kid":"first","key_ops":["verify"],"x5c":["AAAA"],KEY},{"kid":"rsa","kty":"RSA","alg":"RSA-OAEP-256","n":"AAAA","e":"AQAB"}]}"#,
    ])
    func sets(text: String) async throws {
        let played = PlayedIssuer()
        let members = try #require(played.state.withLockedValue { $0.keys["first"]?.members })
        let keys = try #require(await SigningKeys(Array(text.replacing("KEY", with: members).utf8)))
        #expect(throws: Never.self) { try keys.claims(of: try SignedToken(try played.token())) }
        #expect(throws: TokenFault.unknownKey) { try keys.claims(of: try SignedToken(try played.token(header: #"{"alg":"ES256","kid":"enc"}"#))) }
    }

    @Test("a key that is for one algorithm is for no other, and a short or a secret one is for none")
    func keysWithoutUse() async throws {
        let members = try #require(PlayedIssuer(["rsa": try .rsa()]).state.withLockedValue { $0.keys["rsa"]?.members })
        #expect(try #require(await SigningKeys(Array(#"{"keys":[{"kid":"a","alg":"ES256",\#(members)}]}"#.utf8))).isEmpty)
        #expect(try #require(await SigningKeys(Array(#"{"keys":[{"kid":"a","kty":"RSA","n":"\#(String(repeating: "A", count: 170))B","e":"AQAB"}]}"#.utf8))).isEmpty)
        #expect(try #require(await SigningKeys(Array(#"{"keys":[{"kid":"a","d":"AAAA",\#(members)}]}"#.utf8))).isEmpty)
        #expect(await SigningKeys(Array("{}".utf8)) == nil)
        let many = (0...SigningKeys.keysMax).map { "{\"kid\":\"\($0)\",\(members)}" }.joined(separator: ",")
        #expect(await SigningKeys(Array("{\"keys\":[\(many)]}".utf8)) != nil)
        let longest = #"{"keys":[]}"# + String(repeating: " ", count: SigningKeys.bytesMax - 11)
        #expect(await SigningKeys(Array(longest.utf8)) != nil)
        #expect(await SigningKeys(Array((longest + " ").utf8)) == nil)
    }

    // MARK: Keys that change

    /// A clock whose hands a test moves.
    private final class Hands: Sendable {
        private let moment = NIOLockedValueBox(NIODeadline.uptimeNanoseconds(1_000_000_000_000))
        var now: NIODeadline { moment.withLockedValue { $0 } }
        func pass(_ time: TimeAmount) { moment.withLockedValue { $0 = $0 + time } }
    }

    @Test("a key that is not known is looked for once, and a new one is found by that")
    func rotation() async throws {
        let (played, hands) = (PlayedIssuer(), Hands())
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch, now: { hands.now })
        #expect(await outcome(issuer, try played.token()) == Self.juliet)
        let unknown = try played.token(header: #"{"alg":"ES256","kid":"unknown"}"#)
        #expect(await outcome(issuer, unknown) == .failure(.unknownKey))
        #expect(played.keyFetches == 1)
        hands.pass(KeyRefresh.askedAgainAfter)
        for _ in 0..<3 { #expect(await outcome(issuer, unknown) == .failure(.unknownKey)) }
        #expect(played.keyFetches == 2)
        let old = try played.token()
        played.state.withLockedValue { $0.keys = ["second": .p256()] }
        hands.pass(KeyRefresh.askedAgainAfter)
        #expect(await outcome(issuer, try played.token(by: "second")) == Self.juliet)
        // The old one was withdrawn.
        #expect(await outcome(issuer, old) == .failure(.unknownKey))
        #expect(played.keyFetches == 3)
    }

    @Test("an issuer that cannot be reached is believed by what is known of it, for a bounded time; then nobody is let in, or told that his token is wrong")
    func unreachable() async throws {
        let (played, hands) = (PlayedIssuer(), Hands())
        let issuer = TokenIssuer(try PlayedIssuer.settings(), played.fetch, now: { hands.now })
        #expect(await issuer.keepUp() == nil)
        played.state.withLockedValue { $0.isReachable = false }
        hands.pass(KeyRefresh.usableFor - .nanoseconds(1))
        #expect(await issuer.keepUp() != nil)
        #expect(await outcome(issuer, try played.token()) == Self.juliet)
        guard case .failure(.unavailable) = await outcome(issuer, try played.token(header: #"{"alg":"ES256","kid":"new"}"#)) else { Issue.record("it was decided"); return }
        hands.pass(.nanoseconds(1))
        guard case .failure(.unavailable) = await outcome(issuer, try played.token()) else { Issue.record("it was decided"); return }
        played.state.withLockedValue { $0.isReachable = true }
        hands.pass(KeyRefresh.askedAgainAfter)
        #expect(await outcome(issuer, try played.token()) == Self.juliet)
    }

    @Test("what describes another issuer, or nothing, leads to no keys")
    func description() async throws {
        var settings = try PlayedIssuer.settings()
        settings.issuer = "https://id.mantua.example"
        let played = PlayedIssuer()
        let issuer = TokenIssuer(settings, played.fetch)
        #expect(await issuer.keepUp()?.contains("another issuer") == true)
        #expect(played.keyFetches == 0)
    }

    @Test("after a reload what is known of an issuer stays known")
    func reload() async throws {
        let played = PlayedIssuer()
        let old = TokenIssuer(try PlayedIssuer.settings(), played.fetch)
        _ = await old.keepUp()
        let new = TokenIssuer(try PlayedIssuer.settings(), .nothing, after: old)
        #expect(await outcome(new, try played.token()) == Self.juliet)
    }

    // MARK: Introspection

    @Test("the authorization server is asked by POST, with a name and a secret in their escapes, and its answer is used again for a while (RFC 7662 §2.1)")
    func introspection() async throws {
        let played = PlayedIssuer()
        played.state.withLockedValue { $0.says = PlayedIssuer.claims(["active": "true", "iss": nil]) }
        let issuer = TokenIssuer(try PlayedIssuer.settings(try PlayedIssuer.introspection()), played.fetch)
        let token = try #require(BearerToken("opaque+/=="))
        #expect(await outcome(issuer, token) == Self.juliet)
        let question = try #require(played.questions.first)
        #expect(question.method == .post(Array("token=opaque%2B%2F%3D%3D&token_type_hint=access_token".utf8), type: "application/x-www-form-urlencoded"))
        #expect(question.fields["Authorization"] == "Basic \(Base64.encode("martlet:s%3Acret".utf8))")
        played.state.withLockedValue { $0.says = #"{"active":false}"# }
        #expect(await outcome(issuer, token, wall: Self.now + 29) == Self.juliet)
        #expect(await outcome(issuer, token, wall: Self.now + 30) == .failure(.inactive))
        #expect(await outcome(issuer, try #require(BearerToken("other"))) == .failure(.inactive))
        #expect(played.questions.count == 3)
    }

    @Test("what it says is looked at as what a token says, also when it is used again")
    func introspectedClaims() async throws {
        let played = PlayedIssuer()
        let issuer = TokenIssuer(try PlayedIssuer.settings(try PlayedIssuer.introspection()), played.fetch)
        let token = try #require(BearerToken("opaque"))
        for (changes, expected) in [(["aud": "\"mail\""], .otherAudience), (["iss": "\"x\""], .otherIssuer), (["exp": "5"], .expired)] as [([String: String?], TokenFault)] {
            played.state.withLockedValue { $0.says = PlayedIssuer.claims(changes.merging(["active": "true"]) { $1 }) }
            let fresh = try #require(BearerToken("opaque\(changes.keys.first ?? "")"))
            #expect(await outcome(issuer, fresh) == .failure(expected))
        }
        played.state.withLockedValue { $0.says = PlayedIssuer.claims(["active": "true", "exp": "\(Self.now + 5)"]) }
        #expect(await outcome(issuer, token, wall: Self.now + 5) == Self.juliet)
        #expect(await outcome(issuer, token, wall: Self.now + 34) == Self.juliet)
    }

    @Test("without an answer nothing is decided, and nothing is remembered", arguments: ["", "[]", "{}", #"{"active":"true"}"#, #"{"active":1}"#])
    func noAnswers(text: String) async throws {
        let played = PlayedIssuer()
        played.state.withLockedValue { $0.says = text }
        let issuer = TokenIssuer(try PlayedIssuer.settings(try PlayedIssuer.introspection()), played.fetch)
        let token = try #require(BearerToken("opaque"))
        guard case .failure(.unavailable) = await outcome(issuer, token) else { Issue.record("it was decided"); return }
        played.state.withLockedValue { $0.isReachable = false }
        guard case .failure(.unavailable) = await outcome(issuer, token) else { Issue.record("it was decided"); return }
    }

    @Test("so many tokens are asked about at a time, and further ones are refused for the moment")
    func questions() async throws {
        let gate = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        let waiting = NIOLockedValueBox(0)
        let says = PlayedIssuer.claims(["active": "true"])
        let answer: TokenIssuerFetch.Fetch = { request throws(HTTPFetchError) in
            waiting.withLockedValue { $0 += 1 }
            try? await gate.futureResult.get()
            return HTTPAnswer(url: request.url, type: nil, bytes: Array(says.utf8))
        }
        let issuer = TokenIssuer(try PlayedIssuer.settings(try PlayedIssuer.introspection()), TokenIssuerFetch(named: answer, found: answer))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<TokenIssuer.questionsMax {
                let token = try #require(BearerToken("t\(number)"))
                group.addTask { await outcome(issuer, token) == Self.juliet }
            }
            while waiting.withLockedValue({ $0 }) < TokenIssuer.questionsMax { await Task.yield() }
            guard case .failure(.unavailable) = await outcome(issuer, try #require(BearerToken("more"))) else { Issue.record("it was asked about"); return }
            gate.succeed()
            for try await isGood in group { #expect(isGood) }
        }
    }
}
