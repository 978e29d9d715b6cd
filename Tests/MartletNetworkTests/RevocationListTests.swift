import Crypto
import Foundation
import MartletNetwork
import SwiftASN1
import Testing
import X509

@Suite("Lists of revoked certificates (RFC 5280 §5)")
struct RevocationListTests {
    let authority: TestAuthority
    let certificate: Certificate
    let question: RevocationQuestion

    init() throws {
        authority = try TestAuthority("Root")
        certificate = try authority.certificate(lists: ["http://verona.example/a.crl"])
        question = try #require(RevocationQuestion(certificate, issuedBy: authority.certificate))
    }

    /// What the list says about the certificate.
    func said(_ list: TestRevocationList, of question: RevocationQuestion? = nil, now: Int = Fixtures.now) throws -> String {
        let bytes = try list.bytes(by: authority)
        let question = question ?? self.question
        do throws(RevocationFault) {
            let list = try RevocationList(bytes)
            try list.prove(by: question.issuer)
            return try list.isRevoked(question, now: now) ? "revoked" : "good"
        } catch {
            return "\(error)"
        }
    }

    /// What a list is that has been changed, and has the certificate.
    func said(_ change: (inout TestRevocationList) -> Void) throws -> String {
        var list = TestRevocationList(serialNumbers: [certificate.serialContent])
        change(&list)
        return try said(list)
    }

    @Test("who is on the list is revoked, and nobody else")
    func revoked() throws {
        #expect(try said(TestRevocationList(serialNumbers: [[1], certificate.serialContent, [2, 3]])) == "revoked")
        #expect(try said(TestRevocationList(serialNumbers: [[1], certificate.serialContent + [0]])) == "good")
        #expect(try said(TestRevocationList()) == "good")
    }

    @Test("the signature is the issuer's, and the issuer may sign lists")
    func signature() throws {
        #expect(try said { $0.isForged = true } == "its signature is not the issuer's")
        let namesake = try TestAuthority("Root")
        let other = try #require(RevocationQuestion(certificate, issuedBy: namesake.certificate))
        #expect(try said(TestRevocationList(), of: other) == "its signature is not the issuer's")
        let stranger = try #require(RevocationQuestion(certificate, issuedBy: TestAuthority("Stranger").certificate))
        #expect(try said(TestRevocationList(), of: stranger) == "it is from somebody else")
        let silent = try TestAuthority("Root") { $0.signsLists = false }
        let unsigned = try #require(RevocationQuestion(certificate, issuedBy: silent.certificate))
        #expect(try said(TestRevocationList(), of: unsigned) == "the issuer may not sign lists")
    }

    @Test("RSA and Ed25519 sign lists as ECDSA does; SHA-1 does not")
    func algorithms() throws {
        let rsa = try Certificate.PrivateKey(pemEncoded: String(contentsOfFile: Fixtures.files("rsa.example").key, encoding: .utf8))
        let sha256: ASN1ObjectIdentifier = [1, 2, 840, 113549, 1, 1, 11]
        let keys: [(Certificate.PrivateKey, Certificate.SignatureAlgorithm, [UInt8])] = [
            (rsa, .sha256WithRSAEncryption, TestDER.sequence(TestDER.identifier(sha256), [0x05, 0x00])),
            (rsa, .sha512WithRSAEncryption, TestDER.sequence(TestDER.identifier([1, 2, 840, 113549, 1, 1, 13]), [0x05, 0x00])),
            (.init(Curve25519.Signing.PrivateKey()), .ed25519, TestDER.sequence(TestDER.identifier([1, 3, 101, 112]))),
            (.init(P384.Signing.PrivateKey()), .ecdsaWithSHA384, TestDER.sequence(TestDER.identifier([1, 2, 840, 10045, 4, 3, 3]))),
        ]
        for (key, algorithm, identifier) in keys {
            let name = try DistinguishedName { CommonName("Root") }
            let issuer = try Certificate(
                version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: .distantPast, notValidAfter: .distantFuture, issuer: name,
                subject: name, signatureAlgorithm: algorithm, extensions: .init(), issuerPrivateKey: key)
            let issuedBy = try #require(RevocationQuestion(certificate, issuedBy: issuer)).issuer
            let bytes = try TestRevocationList(serialNumbers: [[1]], algorithm: identifier).bytes(as: name) {
                try key.sign(bytes: $0, signatureAlgorithm: algorithm).rawRepresentation
            }
            try RevocationList(bytes).prove(by: issuedBy)
        }
        let sha1 = TestDER.sequence(TestDER.identifier([1, 2, 840, 10045, 4, 1]))
        #expect(try said { $0.algorithm = sha1 } == "its signature's algorithm is not known here")
        #expect(try said { $0.innerAlgorithm = sha1 } == "it is malformed")
    }

    @Test("a list counts from when it was made until it says there is another, give or take five minutes")
    func time() throws {
        let list = TestRevocationList(validity: -100...100)
        let (start, end) = (Fixtures.now - 100, Fixtures.now + 100)
        for now in [start - 300, end + 300] { #expect(try said(list, now: now) == "good") }
        #expect(try said(list, now: start - 301) == "it is not valid before 2027-01-15T07:58:20Z: one of the two clocks may be wrong")
        #expect(try said(list, now: end + 301) == "it is out of date since 2027-01-15T08:01:40Z")
        #expect(try said { $0.hasEnd = false } == "it does not say until when it is valid")
    }

    @Test("times are read as RFC 5280 §4.1.2.5 has them", arguments: [
        (0x17, "491231235959Z", 2_524_607_999), (0x17, "500101000000Z", -631_152_000), (0x18, "20500101000000Z", 2_524_608_000),
        (0x18, "20280229000000Z", 1_835_395_200), (0x18, "19700101000000Z", 0),
    ])
    func times(tag: UInt8, text: String, seconds: Int) throws {
        let body = TestDER.sequence(
            TestRevocationList.ecdsaWithSHA256, TestDER.serialized(authority.name), TestDER.element(tag, Array(text.utf8)), TestDER.element(tag, Array(text.utf8)))
        let list = try RevocationList(TestDER.sequence(body, TestRevocationList.ecdsaWithSHA256, TestDER.bits([0])))
        #expect(list.thisUpdate == seconds && list.nextUpdate == seconds)
    }

    @Test("other forms of times are none", arguments: [
        (0x17, "4912312359Z"), (0x17, "491231235959+0000"), (0x18, "491231235959Z"), (0x18, "20491231235959.5Z"), (0x18, "20491331000000Z"), (0x18, ""),
    ])
    func badTimes(tag: UInt8, text: String) {
        let body = TestDER.sequence(
            TestRevocationList.ecdsaWithSHA256, TestDER.serialized(authority.name), TestDER.element(tag, Array(text.utf8)), TestDER.time(Fixtures.now))
        #expect(throws: RevocationFault.malformed) { try RevocationList(TestDER.sequence(body, TestRevocationList.ecdsaWithSHA256, TestDER.bits([0]))) }
    }

    @Test("a critical extension that is not known makes the list useless, of the list or of any entry (§5.2, §5.3)")
    func criticalExtensions() throws {
        #expect(try said { $0.extensions = TestDER.extensions(([1, 2, 3], true, [5, 0])) } == "it has a critical extension that is not known here")
        #expect(try said { $0.extensions = TestDER.extensions(([1, 2, 3], false, [5, 0]), ([2, 5, 29, 20], true, [2, 1, 1])) } == "revoked")
        #expect(try said { $0.entryExtensions = TestDER.extensions(([1, 2, 3], true, [5, 0])) } == "an entry has a critical extension that is not known here")
        #expect(try said { $0.entryExtensions = TestDER.extensions(([1, 2, 3], false, [5, 0]), ([2, 5, 29, 21], true, [10, 1, 1])) } == "revoked")
    }

    @Test("changes to another list, and lists about other authorities or for some reasons only, are not used (§5.2.4, §5.2.5)")
    func unsupported() throws {
        func point(_ content: [UInt8]) -> [UInt8] { TestDER.extensions(([2, 5, 29, 28], true, TestDER.sequence(content))) }
        #expect(try said { $0.extensions = TestDER.extensions(([2, 5, 29, 27], true, [2, 1, 1])) } == "it has only changes to another list")
        #expect(try said { $0.extensions = TestDER.extensions(([2, 5, 29, 27], false, [2, 1, 1])) } == "it has only changes to another list")
        #expect(try said { $0.extensions = point([0x84, 1, 0xFF]) } == "it speaks for other authorities (an indirect list)")
        #expect(try said { $0.extensions = point([0x84, 1, 0x00]) } == "revoked")
        #expect(try said { $0.extensions = point([0x83, 2, 1, 2]) } == "it has only certificates that were revoked for some reasons")
        #expect(try said { $0.extensions = point([0x85, 1, 0xFF]) } == "it is about other certificates")
        let issuer = TestDER.extensions(([2, 5, 29, 29], true, TestDER.sequence()))
        #expect(try said { $0.entryExtensions = issuer } == "it speaks for other authorities (an indirect list)")
    }

    @Test("a list for users' certificates says nothing about authorities', and the other way round (§5.2.5)")
    func scope() throws {
        func point(_ content: [UInt8]) -> TestRevocationList { TestRevocationList(extensions: TestDER.extensions(([2, 5, 29, 28], true, TestDER.sequence(content)))) }
        let middle = try #require(RevocationQuestion(TestAuthority("Middle", by: authority).certificate, issuedBy: authority.certificate))
        #expect(try said(point([0x81, 1, 0xFF])) == "good" && said(point([0x81, 1, 0xFF]), of: middle) == "it is about other certificates")
        #expect(try said(point([0x82, 1, 0xFF])) == "it is about other certificates" && said(point([0x82, 1, 0xFF]), of: middle) == "good")
    }

    @Test("a part of the authority's list is about certificates that name its place (§6.3.3)")
    func places() throws {
        func list(at place: String) -> TestRevocationList {
            TestRevocationList(extensions: TestDER.extensions(([2, 5, 29, 28], true, TestDER.sequence(TestDER.pointName(["ldap://x/", place])))))
        }
        #expect(try said(list(at: "http://verona.example/a.crl")) == "good")
        #expect(try said(list(at: "http://verona.example/b.crl")) == "it is about other certificates")
        let relative = TestDER.element(0xA0, TestDER.element(0xA1, []))
        #expect(
            try said { $0.extensions = TestDER.extensions(([2, 5, 29, 28], true, TestDER.sequence(relative))) } == "the name of its place is not understood here")
    }

    @Test("version 1 is as good without extensions, and there is no version 3")
    func versions() throws {
        #expect(try said { $0.version = nil } == "revoked")
        #expect(try said { $0.version = [2] } == "its version is not known here")
        #expect(try said { $0.version = nil; $0.entryExtensions = TestDER.extensions(([2, 5, 29, 21], false, [10, 1, 1])) } == "it is malformed")
        #expect(try said { $0.version = nil; $0.extensions = TestDER.extensions(([2, 5, 29, 20], false, [2, 1, 1])) } == "it is malformed")
    }

    @Test("numbers of up to 64 bytes are told apart, in whatever order they come")
    func serialNumbers() throws {
        let numbers: [[UInt8]] = (0..<300).map { index in [UInt8(1 + index % 100)] + Array(repeating: UInt8(index / 2 % 256), count: index % 5) }
        let list = try RevocationList(TestRevocationList(serialNumbers: numbers).bytes(by: authority))
        #expect(list.count == 300)
        for number in numbers { #expect(list.contains(serialNumber: number)) }
        #expect(!list.contains(serialNumber: [101]) && !list.contains(serialNumber: []) && !list.contains(serialNumber: [1, 1, 1, 1, 1, 1]))
        let longest = [1] + Array(repeating: UInt8(7), count: 63)
        #expect(try RevocationList(TestRevocationList(serialNumbers: [longest]).bytes(by: authority)).contains(serialNumber: longest))
        #expect(throws: RevocationFault.malformed) { try RevocationList(TestRevocationList(serialNumbers: [longest + [7]]).bytes(by: authority)) }
    }

    @Test("a list of 100,000 is found in, and takes 17 bytes for each")
    func many() throws {
        let numbers = (0..<100_000).map { index in [0x7F] + (0..<16).map { UInt8(truncatingIfNeeded: index >> (8 * ($0 % 3))) } }
        let list = try RevocationList(TestRevocationList(serialNumbers: numbers).bytes(by: authority))
        #expect(list.count == 100_000 && list.contains(serialNumber: numbers[77_777]) && !list.contains(serialNumber: numbers[77_777].reversed()))
        #expect(list.numberByteCount == 1_700_000)
    }

    @Test("a list may have 16 MiB")
    func length() {
        #expect(throws: RevocationFault.malformed) { try RevocationList(Array(repeating: 0, count: RevocationList.bytesMax)) }
        #expect(throws: RevocationFault.tooLong(16 << 20)) { try RevocationList(Array(repeating: 0, count: RevocationList.bytesMax + 1)) }
    }

    @Test("lists that OpenSSL wrote are read", arguments: ["openssl.crl", "part.crl"])
    func openssl(name: String) throws {
        let list = try RevocationList(Array(Data(contentsOf: URL(fileURLWithPath: "\(Fixtures.root)/Fuzzing/Revocation/corpus/\(name)"))))
        #expect(list.count == 3 && list.nextUpdate - list.thisUpdate == 30 * 86_400)
        for number in 1...3 { #expect(list.contains(serialNumber: [UInt8(number)])) }
    }

    @Test("what is cut off, or has something behind it, is malformed; every byte that is changed makes it so, or forged, or is no matter")
    func damaged() throws {
        let bytes = try TestRevocationList(serialNumbers: [[1], [2]], extensions: TestDER.extensions(([2, 5, 29, 20], false, [2, 1, 1]))).bytes(by: authority)
        for length in 0..<bytes.count { #expect(throws: RevocationFault.malformed) { try RevocationList(Array(bytes.prefix(length))) } }
        #expect(throws: RevocationFault.malformed) { try RevocationList(bytes + [0]) }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x01
            #expect(throws: RevocationFault.self) { try RevocationList(changed).prove(by: question.issuer) }
        }
    }
}
