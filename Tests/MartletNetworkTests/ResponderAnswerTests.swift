import Crypto
import MartletNetwork
import SwiftASN1
import Testing
import X509

@Suite("Answers of OCSP responders (RFC 6960 §4)")
struct ResponderAnswerTests {
    let authority: TestAuthority
    let question: RevocationQuestion
    let request: ResponderRequest

    init() throws {
        authority = try TestAuthority("Root")
        question = try #require(RevocationQuestion(authority.certificate(responders: ["http://verona.example/"]), issuedBy: authority.certificate))
        request = ResponderRequest(question)
    }

    func said(
        _ answer: TestResponderAnswer, signedBy key: P256.Signing.PrivateKey? = nil, to other: ResponderRequest? = nil, now: Int = Fixtures.now
    ) throws -> String { said(try answer.bytes(to: (other ?? request).bytes, signedBy: key ?? authority.key), now: now) }

    func said(_ bytes: [UInt8], now: Int = Fixtures.now) -> String {
        do throws(RevocationFault) {
            return try ResponderAnswer(bytes, to: request, by: question.issuer, now: now).isRevoked ? "revoked" : "good"
        } catch {
            return "\(error)"
        }
    }

    @Test("a certificate is good, revoked, or not known")
    func statuses() throws {
        #expect(try said(TestResponderAnswer()) == "good")
        #expect(try said(TestResponderAnswer(status: .revoked)) == "revoked")
        #expect(try said(TestResponderAnswer(status: .unknown)) == "the responder does not know the certificate")
        let other = try #require(RevocationQuestion(authority.certificate(), issuedBy: authority.certificate))
        #expect(try said(TestResponderAnswer(), to: ResponderRequest(other)) == "the responder does not know the certificate")
    }

    @Test("the issuer has signed it")
    func signature() throws {
        #expect(try said(TestResponderAnswer(isForged: true)) == "its signature is not the issuer's")
        #expect(try said(TestResponderAnswer(), signedBy: P256.Signing.PrivateKey()) == "its signature is not the issuer's")
    }

    @Test("or somebody whom the issuer has given a certificate for that, and nobody else (§4.2.2.2)")
    func delegated() throws {
        let key = P256.Signing.PrivateKey()
        func said(_ issuer: TestAuthority, before: Int = 0, _ change: (inout TestAuthority.Options) -> Void = { _ in }) throws -> String {
            let responder = try issuer.issue(to: key.publicKey) { options in
                options.purposes = [.ocspSigning]
                change(&options)
            }
            let others = try (0..<before).map { _ in try authority.certificate() }
            return try self.said(TestResponderAnswer(certificates: others + [responder]), signedBy: key)
        }
        let forged = "its signature is not the issuer's"
        #expect(try said(authority) == "good")
        #expect(try said(authority) { $0.purposes = [.serverAuth] } == forged)
        #expect(try said(authority) { $0.purposes = [.any] } == forged)
        #expect(try said(authority) { $0.validity = -10...(-1) } == forged)
        #expect(try said(TestAuthority("Root")) == forged)
        #expect(try said(TestAuthority("Middle", by: authority)) == forged)
        #expect(try said(authority, before: ResponderAnswer.certificatesMax - 1) == "good")
        #expect(try said(authority, before: ResponderAnswer.certificatesMax) == forged)
    }

    @Test("it counts as long as it says, or five minutes, give or take five minutes")
    func time() throws {
        let answer = TestResponderAnswer(validity: -100...100)
        let (start, end) = (Fixtures.now - 100, Fixtures.now + 100)
        for now in [start - 300, end + 300] { #expect(try said(answer, now: now) == "good") }
        #expect(try said(answer, now: start - 301).hasPrefix("it is not valid before"))
        #expect(try said(answer, now: end + 301).hasPrefix("it is out of date since"))
        var endless = answer
        endless.hasEnd = false
        #expect(try said(endless, now: start + ResponderAnswer.lifetimeDefault + 300) == "good")
        #expect(try said(endless, now: start + ResponderAnswer.lifetimeDefault + 301).hasPrefix("it is out of date since"))
    }

    @Test("a critical extension that is not known makes it useless")
    func extensions() throws {
        let unknown = "it has a critical extension that is not known here"
        #expect(try said(TestResponderAnswer(singleExtensions: TestDER.extensions(([1, 2, 3], true, [5, 0])))) == unknown)
        #expect(try said(TestResponderAnswer(singleExtensions: TestDER.extensions(([1, 2, 3], false, [5, 0])))) == "good")
    }

    @Test("a responder says why it does not answer", arguments: [(1, "malformedRequest"), (3, "tryLater"), (6, "unauthorized"), (9, "status [9]")])
    func refusal(status: UInt8, word: String) {
        #expect(said(TestDER.sequence([0x0A, 1, status])) == "the responder does not answer (\(word))")
    }

    @Test("an answer may have 64 KiB, and is not cut off anywhere")
    func length() throws {
        #expect(said(Array(repeating: 0, count: ResponderAnswer.bytesMax)) == "it is malformed")
        #expect(said(Array(repeating: 0, count: ResponderAnswer.bytesMax + 1)) == "it is longer than 65536 bytes")
        let bytes = try TestResponderAnswer().bytes(to: request.bytes, signedBy: authority.key)
        for length in 0..<bytes.count { #expect(said(Array(bytes.prefix(length))) == "it is malformed") }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x01
            #expect(!["good", "revoked"].contains(said(changed)))
        }
    }
}
