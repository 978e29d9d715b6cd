import Crypto
import Foundation
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import SwiftASN1
import Testing
import X509

@Suite("Certificates from an authority (RFC 8555)")
struct ACMETests {
    typealias Answer = PlayedAuthority.Answer

    struct World: Sendable {
        let authority: PlayedAuthority
        let client: ACMEClient
        let challenges: ACMEChallenges
        let key: ACMEKey
        let waits: NIOLockedValueBox<[Duration]>
        let names: CertificateNames
        let request: CertificateRequest

        /// The chain, or why there is none.
        func certificate() async -> Result<String, ACMEError> {
            do throws(ACMEError) { return .success(try await client.certificate(names, request)) } catch { return .failure(error) }
        }
    }

    static func with(
        looks: @escaping @Sendable (String) -> Bool = { _ in true }, settings change: (inout ACMEClient.Settings) -> Void = { _ in },
        _ answers: @escaping PlayedAuthority.Change = { _, _, _ in nil }, _ body: (World) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let authority = try await PlayedAuthority(on: group, looks: looks, answers)
        var settings = ACMEClient.Settings(directory: try #require(HTTPURL("\(authority.base)/directory")))
        settings.requestDeadline = .seconds(20)
        change(&settings)
        let (challenges, key, waits) = (ACMEChallenges(), ACMEKey(), NIOLockedValueBox<[Duration]>([]))
        let client = ACMEClient(try HTTPFetchTests.fetch(on: group), settings, key, challenges) { time in waits.withLockedValue { $0.append(time) } }
        let names = CertificateNames(try BareJID(parsing: "verona.example"), services: [try BareJID(parsing: "conference.verona.example")])
        let request = try CertificateRequest(names, CertificateKey(.p256))
        try await body(World(authority: authority, client: client, challenges: challenges, key: key, waits: waits, names: names, request: request))
        #expect(challenges.openCount == 0)
        try await authority.stop()
        try await group.shutdownGracefully()
    }

    static func problem(_ name: String, status: Int, _ detail: String = "no", headers: [(String, String)] = []) -> Answer {
        Answer(status: status, headers: headers, body: "{\"type\":\"urn:ietf:params:acme:error:\(name)\",\"detail\":\"\(detail)\"}")
    }

    // MARK: What is said

    // MARK: When another one is asked for (RFC 9773)

    /// The certificate of RFC 9773, appendix A, as its authority knows it.
    private static let knownAs = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    private static let issued = """
        -----BEGIN CERTIFICATE-----
        MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
        cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
        BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
        7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
        qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
        yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
        +FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
        -----END CERTIFICATE-----

        """

    private static func issuedCertificate() throws -> IssuedCertificate {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("issued-\(UUID()).pem")
        try Data(issued.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        return try IssuedCertificate(file: file.path)
    }

    /// What is made of an authority's suggestion.
    private static func window(_ content: String, headers: [(String, String)] = []) async throws -> Result<RenewalWindow?, ACMEError> {
        let outcome = NIOLockedValueBox<Result<RenewalWindow?, ACMEError>>(.success(nil))
        let answers: PlayedAuthority.Change = { request, place, _ in
            let places = "{\"newNonce\":\"\(place)/nonce\",\"newAccount\":\"\(place)/accounts\",\"newOrder\":\"\(place)/orders\",\"renewalInfo\":\"\(place)/renewal\"}"
            return switch request.path {
            case "/directory": Answer(body: places)
            case "/renewal/\(knownAs)": Answer(headers: headers, body: content)
            default: nil
            }
        }
        try await with(answers) { world in
            let issued = try issuedCertificate()
            do throws(ACMEError) {
                let window = try await world.client.renewalWindow(of: issued)
                outcome.withLockedValue { $0 = .success(window) }
            } catch { outcome.withLockedValue { $0 = .failure(error) } }
            #expect(world.authority.requests.map(\.path) == ["/directory", "/renewal/\(knownAs)"])
        }
        return outcome.withLockedValue { $0 }
    }

    @Test("an authority suggests when to ask for another certificate, by its name for the one that there is (RFC 9773 §4)")
    func renewalWindow() async throws {
        let content = "{\"suggestedWindow\":{\"start\":\"2027-01-15T08:00:00Z\",\"end\":\"2027-01-16T10:00:00+02:00\"}}"
        let window = try await Self.window(content).get()
        #expect(window?.times == 1_800_000_000..<1_800_086_400 && window?.seconds == RenewalWindow.secondsDefault)
        for (said, meant) in [("60", 3_600), ("21600", 21_600), ("600000", 86_400)] {
            #expect(try await Self.window(content, headers: [("Retry-After", said)]).get()?.seconds == meant)
        }
    }

    @Test(
        "a suggestion that makes no sense is none",
        arguments: [
            "{}", "{\"suggestedWindow\":{\"start\":\"2027-01-15T08:00:00Z\",\"end\":\"2027-01-15T08:00:00Z\"}}",
            "{\"suggestedWindow\":{\"start\":\"2027-01-16T08:00:00Z\",\"end\":\"2027-01-15T08:00:00Z\"}}",
            "{\"suggestedWindow\":{\"start\":\"soon\",\"end\":\"later\"}}",
        ])
    func noWindow(content: String) async throws {
        guard case .failure(.malformed) = try await Self.window(content) else { return #expect(Bool(false)) }
    }

    @Test("an authority that suggests nothing is not asked")
    func noSuggestions() async throws {
        try await Self.with { world in
            let window = try await world.client.renewalWindow(of: try Self.issuedCertificate())
            #expect(window == nil)
            #expect(world.authority.requests.map(\.path) == ["/directory"])
        }
    }

    @Test("what has been done is told as it is done")
    func told() async throws {
        try await Self.with { world in
            let told = NIOLockedValueBox<[String]>([])
            _ = try await world.client.certificate(world.names, world.request) { text in told.withLockedValue { $0.append(text) } }
            #expect(told.withLockedValue { $0 } == [
                "\(world.authority.base)/directory knows the account", "it looks whether verona.example is ours",
                "all names are proved; it is asked for the certificate",
            ])
        }
    }

    @Test("an account, an order, a challenge, a request, and the chain")
    func whole() async throws {
        try await Self.with(settings: { $0.contacts = ["mailto:friar@verona.example"] }) { world in
            #expect(await world.certificate() == .success(PlayedAuthority.chain))
            let requests = world.authority.requests
            #expect(requests.map(\.path) == [
                "/directory", "/nonce", "/accounts", "/orders", "/authorization", "/challenge", "/authorization", "/order", "/finalize", "/order", "/certificate",
            ])
            let signed = requests.dropFirst(2)
            #expect(signed.allSatisfy { $0.isSigned && $0.header["alg"] == "ES256" && $0.header["url"] == world.authority.base + $0.path })
            #expect(Set(signed.compactMap { $0.header["nonce"] }).count == signed.count)
            #expect(requests[2].payload == "{\"termsOfServiceAgreed\":true,\"contact\":[\"mailto:friar@verona.example\"]}")
            #expect(requests[2].header["kid"] == nil && requests[2].header["jwk"] == "[\"crv\", \"kty\", \"x\", \"y\"]")
            #expect(signed.dropFirst().allSatisfy { $0.header["kid"] == "\(world.authority.base)/account/1" && $0.header["jwk"] == nil })
            let names = "{\"type\":\"dns\",\"value\":\"verona.example\"},{\"type\":\"dns\",\"value\":\"conference.verona.example\"}"
            #expect(requests[3].payload == "{\"identifiers\":[\(names)]}")
            #expect(requests[4].payload.isEmpty && requests[5].payload == "{}")
        }
    }

    @Test("what is finalized is a request for all the names, by SAN and for the key (RFC 8555 §7.4)")
    func finalized() async throws {
        try await Self.with { world in
            _ = await world.certificate()
            let payload = try #require(world.authority.requests(at: "/finalize").first?.payload)
            let text = try #require(JSONDecoder().decode([String: String].self, from: Data(payload.utf8))["csr"])
            let request = try CertificateSigningRequest(derEncoded: Array(try #require(PlayedAuthority.bytes(text))))
            let extensions = try #require(try request.attributes.extensionRequest?.extensions)
            #expect(try extensions.subjectAlternativeNames.map(Array.init) == [.dnsName("verona.example"), .dnsName("conference.verona.example")])
            #expect(request.publicKey.isValidSignature(request.signature, for: request))
        }
    }

    @Test("while it looks, the token's authorization is there, and not before or after (RFC 8555 §8.3)")
    func challenge() async throws {
        let seen = NIOLockedValueBox<Int>(0)
        let box = NIOLockedValueBox<ACMEChallenges?>(nil)
        try await Self.with(looks: { _ in
            seen.withLockedValue { $0 = box.withLockedValue { $0?.openCount ?? 0 } }
            return true
        }) { world in
            box.withLockedValue { $0 = world.challenges }
            _ = await world.certificate()
            #expect(seen.withLockedValue { $0 } == 1)
        }
        box.withLockedValue { $0 = nil }
        let key = ACMEKey()
        #expect(key.authorization(of: "a").hasPrefix("a.") && key.authorization(of: "a").utf8.count == 45)
    }

    @Test("a key is the same when it is read again, and its thumbprint is that of RFC 7638 §3.2")
    func key() throws {
        let key = ACMEKey()
        let again = try #require(ACMEKey(pem: key.pem))
        #expect(again.jwk == key.jwk && again.authorization(of: "t") == key.authorization(of: "t"))
        #expect(ACMEKey(pem: "") == nil)
        let digest = Array(SHA256.hash(data: Data(key.jwk.utf8)))
        #expect(PlayedAuthority.bytes(String(key.authorization(of: "t").dropFirst(2))).map(Array.init) == digest)
    }

    @Test("a customer is bound by an HMAC of the account's key (RFC 8555 §7.3.4)")
    func binding() async throws {
        let secret = Array("a secret that the authority gave".utf8)
        try await Self.with(settings: { $0.binding = ACMEBinding(identifier: "kid-1", key: secret) }) { world in
            #expect(await world.certificate() == .success(PlayedAuthority.chain))
            let payload = try #require(world.authority.requests(at: "/accounts").first?.payload)
            let members = try #require(try JSONSerialization.jsonObject(with: Data(payload.utf8)) as? [String: Any])
            let bound = try #require(members["externalAccountBinding"] as? [String: String])
            let (header, inner) = (try #require(bound["protected"]), try #require(bound["payload"]))
            #expect(PlayedAuthority.bytes(inner).map { String(decoding: $0, as: UTF8.self) } == world.key.jwk)
            let expected = "{\"alg\":\"HS256\",\"kid\":\"kid-1\",\"url\":\"\(world.authority.base)/accounts\"}"
            #expect(PlayedAuthority.bytes(header).map { String(decoding: $0, as: UTF8.self) } == expected)
            let code = HMAC<SHA256>.authenticationCode(for: Data("\(header).\(inner)".utf8), using: SymmetricKey(data: secret))
            #expect(PlayedAuthority.bytes(bound["signature"] ?? "") == Data(code))
        }
        #expect(ACMEBinding(identifier: "k", text: "_-8")?.key == [0xFF, 0xEF] && ACMEBinding(identifier: "k", text: "/+8=")?.key == [0xFF, 0xEF])
        #expect(ACMEBinding(identifier: "k", text: "!") == nil && ACMEBinding(identifier: "k", text: "") == nil)
    }

    @Test("an account that was there gets the contacts of now (RFC 8555 §7.3.2)")
    func contacts() async throws {
        try await Self.with(settings: { $0.contacts = ["mailto:a@verona.example"] }, { request, base, _ in
            guard request.path == "/accounts" else { return nil }
            return Answer(headers: [("Location", "\(base)/account/1")], body: "{\"status\":\"valid\",\"contact\":[]}")
        }) { world in
            _ = await world.certificate()
            #expect(world.authority.requests(at: "/account/1").map(\.payload) == ["{\"contact\":[\"mailto:a@verona.example\"]}"])
        }
    }

    // MARK: Nonces

    @Test("a nonce that is not taken is replaced by the one that came with the refusal (RFC 8555 §6.5)", arguments: [3, 4])
    func badNonce(times: Int) async throws {
        try await Self.with({ request, _, count in request.path == "/orders" && count <= times ? Self.problem("badNonce", status: 400) : nil }) { world in
            let result = await world.certificate()
            #expect(result == (times < ACMEClient.noncesMax ? .success(PlayedAuthority.chain) : .failure(.nonces)))
            let nonces = world.authority.requests(at: "/orders").compactMap { $0.header["nonce"] }
            #expect(Set(nonces).count == min(times + 1, ACMEClient.noncesMax) && world.authority.requests(at: "/nonce").count == 1)
        }
    }

    @Test("a nonce that is none is not used (RFC 8555 §6.5.1)", arguments: ["", "a nonce", "\"", String(repeating: "a", count: 513)])
    func wrongNonce(nonce: String) async throws {
        try await Self.with({ request, _, _ in request.path == "/nonce" ? Answer(status: 204, headers: [("Replay-Nonce", nonce)]) : nil }) { world in
            #expect(await world.certificate() == .failure(.malformed("there is no nonce")))
            #expect(world.authority.requests.count == 2)
        }
    }

    // MARK: What goes wrong

    @Test("what it refuses is said with its words, and with what can be done")
    func refusals() async throws {
        try await Self.with({ request, _, _ in
            request.path == "/orders" ? Self.problem("rateLimited", status: 429, "too many\\u001b[2J", headers: [("Retry-After", "3600")]) : nil
        }) { world in
            guard case .failure(let error) = await world.certificate() else { return #expect(Bool(false)) }
            #expect(error.description == "it refuses with status 429: too many?[2J" && error.retryAfter == 3600)
            #expect(error.advice.hasPrefix("wait:"))
        }
        try await Self.with({ request, _, _ in request.path == "/accounts" ? Self.problem("externalAccountRequired", status: 403) : nil }) { world in
            guard case .failure(let error) = await world.certificate() else { return #expect(Bool(false)) }
            #expect(error.advice.contains("acme.external-account"))
        }
    }

    @Test("if it cannot see that a name is ours, it says which, and nothing stays open")
    func unproved() async throws {
        try await Self.with({ request, base, count in
            guard request.path == "/authorization", count > 1 else { return nil }
            let problem = "{\"type\":\"urn:ietf:params:acme:error:connection\",\"detail\":\"nobody answers\"}"
            return Answer(
                body: """
                    {"status":"invalid","identifier":{"type":"dns","value":"verona.example"},\
                    "challenges":[{"type":"http-01","url":"\(base)/challenge","token":"x","error":\(problem)}]}
                    """)
        }) { world in
            guard case .failure(let error) = await world.certificate() else { return #expect(Bool(false)) }
            #expect(error.description == "it could not see that verona.example is ours: nobody answers")
            #expect(error.advice.contains("http://verona.example/.well-known/acme-challenge/"))
            #expect(world.authority.requests(at: "/finalize").isEmpty)
        }
    }

    @Test("a name that it has seen before is not looked at again (RFC 8555 §7.1.4)")
    func seenBefore() async throws {
        try await Self.with({ request, _, _ in
            request.path == "/authorization"
                ? Answer(body: "{\"status\":\"valid\",\"identifier\":{\"type\":\"dns\",\"value\":\"verona.example\"},\"challenges\":[]}")
                : nil
        }) { world in
            // It goes on waiting for the order, which this authority never gets ready.
            #expect(await world.certificate() == .failure(.unfinished("the order")))
            #expect(world.authority.requests(at: "/challenge").isEmpty)
        }
    }

    @Test("what it does not finish is asked for so often, and no longer between two times than is said")
    func polls() async throws {
        try await Self.with(settings: { $0.pollsMax = 5 }, { request, base, _ in
            guard request.path == "/order" else { return nil }
            return Answer(
                headers: [("Retry-After", "100000")],
                body: "{\"status\":\"pending\",\"authorizations\":[],\"finalize\":\"\(base)/finalize\"}")
        }) { world in
            #expect(await world.certificate() == .failure(.unfinished("the order")))
            #expect(world.authority.requests(at: "/order").count == 5 && world.waits.withLockedValue { $0 } == Array(repeating: .seconds(30), count: 5))
        }
    }

    @Test("nothing is asked of another host than its own, nor in the clear", arguments: [
        "https://mantua.example/nonce", "http://verona.example/nonce", "https://127.0.0.1/nonce", "file:///etc/passwd", "",
    ])
    func elsewhere(place: String) async throws {
        try await Self.with({ request, base, _ in
            request.path == "/directory" ? Answer(body: "{\"newNonce\":\"\(place)\",\"newAccount\":\"\(base)/accounts\",\"newOrder\":\"\(base)/orders\"}") : nil
        }) { world in
            #expect(await world.certificate() == .failure(.elsewhere(place)))
            #expect(world.authority.requests.count == 1)
        }
    }

    @Test("a redirect is an answer that is refused, and not followed")
    func redirect() async throws {
        try await Self.with({ request, base, _ in request.path == "/directory" ? Answer(status: 302, headers: [("Location", "\(base)/orders")]) : nil }) { world in
            guard case .failure(.refused(_, status: 302, retryAfter: nil)) = await world.certificate() else { return #expect(Bool(false)) }
            #expect(world.authority.requests.count == 1)
        }
    }

    @Test("what is no answer of an authority's is told of", arguments: [
        ("/directory", "{}", "the directory"), ("/directory", "[", "the directory"), ("/accounts", "{}", "an account"),
        ("/accounts", "{\"status\":\"deactivated\"}", "the account is deactivated"), ("/orders", "{\"status\":\"odd\"}", "an order"),
        ("/authorization", "null", "an authorization"), ("/finalize", "", "an order"),
    ])
    func malformed(path: String, body: String, what: String) async throws {
        try await Self.with({ request, base, _ in
            guard request.path == path else { return nil }
            return Answer(headers: [("Location", "\(base)/order")], body: body)
        }) { world in
            #expect(await world.certificate() == .failure(.malformed(what)))
        }
    }

    @Test("a token that is no token is put nowhere", arguments: ["", "../a", "a b", "ä", String(repeating: "a", count: 257)])
    func token(token: String) async throws {
        try await Self.with({ request, base, _ in
            guard request.path == "/authorization" else { return nil }
            let challenge = "{\"type\":\"http-01\",\"url\":\"\(base)/challenge\",\"token\":\"\(token)\"}"
            return Answer(body: "{\"status\":\"pending\",\"identifier\":{\"type\":\"dns\",\"value\":\"verona.example\"},\"challenges\":[\(challenge)]}")
        }) { world in
            #expect(await world.certificate() == .failure(.malformed("the token of a challenge")))
        }
    }

    @Test("an authority that does not look by HTTP is of no use")
    func noChallenge() async throws {
        try await Self.with({ request, _, _ in
            request.path == "/authorization"
                ? Answer(body: "{\"status\":\"pending\",\"identifier\":{\"type\":\"dns\",\"value\":\"verona.example\"},\"challenges\":[]}") : nil
        }) { world in #expect(await world.certificate() == .failure(.noChallenge("verona.example"))) }
    }

    @Test("an answer may be as long as was said, and no longer; one that does not come is not waited for")
    func bounds() async throws {
        let long = String(repeating: " ", count: ACMEClient.answerBytesMax)
        try await Self.with({ request, _, _ in request.path == "/directory" ? Answer(body: long + " ") : nil }) { world in
            guard case .failure(.unreachable(_, .tooLong)) = await world.certificate() else { return #expect(Bool(false)) }
        }
        try await Self.with({ request, _, _ in request.path == "/certificate" ? Answer(body: long) : nil }) { world in
            #expect(await world.certificate() == .success(long))
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let silent = try await ScriptedHTTPServer(on: group, domain: "verona.example") { _ in nil }
        var settings = ACMEClient.Settings(directory: try #require(HTTPURL("https://verona.example:\(silent.port)/")))
        settings.requestDeadline = .milliseconds(50)
        let place = settings.directory.description
        let client = ACMEClient(try HTTPFetchTests.fetch(on: group), settings, ACMEKey(), ACMEChallenges())
        let names = CertificateNames(try BareJID(parsing: "verona.example"), services: [])
        let request = try CertificateRequest(names, CertificateKey(.p256))
        await #expect(throws: ACMEError.unreachable(place, .timedOut(.milliseconds(50)))) { try await client.certificate(names, request) }
        try await silent.stop()
        try await group.shutdownGracefully()
    }

    @Test("a certificate has a hundred names at most", arguments: [99, 100])
    func names(services: Int) async throws {
        try await Self.with { world in
            let all = try (0..<services).map { try BareJID(parsing: "s\($0).verona.example") }
            let names = CertificateNames(try BareJID(parsing: "verona.example"), services: all)
            let request = try CertificateRequest(names, CertificateKey(.p256))
            let isTaken: Bool
            do throws(ACMEError) { isTaken = try await world.client.certificate(names, request) == PlayedAuthority.chain } catch { isTaken = false }
            #expect(isTaken == (services < ACMEClient.namesMax))
        }
    }

    // MARK: When

    @Test("another one is asked for when a third of its life is left, or up to a tenth of that before")
    func renewal() throws {
        let issued = try IssuedCertificate(file: Fixtures.certificate("verona.example.pem"))
        let third = (issued.notAfter - issued.notBefore) / 3
        #expect((issued.notAfter - third - third / 10...issued.notAfter - third).contains(issued.renewal))
        #expect(issued.isFor(CertificateNames(try BareJID(parsing: "verona.example"), services: [])))
        #expect(!issued.isFor(CertificateNames(try BareJID(parsing: "verona.example"), services: [try BareJID(parsing: "conference.verona.example")])))
        #expect(throws: MartletNetwork.CertificateError.self) { try IssuedCertificate(file: Fixtures.certificate("text.pem")) }
    }

    @Test("after failures it rests longer and longer, for a day at most, or for as long as the authority says")
    func backoff() {
        var backoff = RenewalBackoff()
        let waits = (0..<10).map { _ in backoff.failed("a", now: 1_000, said: nil, jitter: 0) - 1_000 }
        #expect(waits == [600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 86_400, 86_400])
        let longest = backoff.failed("a", now: 1_000, said: nil, jitter: 1)
        #expect(longest - 1_000 == 86_400 + 21_600 && backoff.failures(of: "a") == 11)
        let (before, after) = (backoff.isResting("a", now: longest - 1), backoff.isResting("a", now: longest))
        #expect(before && !after && !backoff.isResting("b", now: 1_000))
        let (said, most) = (backoff.failed("b", now: 0, said: 7_200, jitter: 0), backoff.failed("c", now: 0, said: .max, jitter: 0))
        #expect(said == 7_200 && most == RenewalBackoff.saidSecondsMax)
        backoff.succeeded("b")
        backoff.keep(["b", "c"])
        #expect(backoff.failures(of: "a") == 0 && backoff.failures(of: "b") == 0 && backoff.failures(of: "c") == 1)
    }

    @Test("a clock that was wrong keeps nobody from asking for ever")
    func clock() {
        var backoff = RenewalBackoff()
        _ = backoff.failed("a", now: 4_000_000_000, said: nil, jitter: 0)
        #expect(!backoff.isResting("a", now: 1_800_000_000))
    }
}
