import Foundation
import MartletLDAP
import Testing

@Suite("Certificates that are asked for (RFC 4523 §2.5)")
struct CertificateExactAssertionTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func certificate(_ name: String) throws -> [UInt8] {
        let pem = try String(contentsOf: root.appendingPathComponent("Fixtures/authority/\(name).pem"), encoding: .utf8)
        let lines = pem.split(separator: "\n").drop { !$0.hasPrefix("-----BEGIN CERTIFICATE") }.dropFirst().prefix { !$0.hasPrefix("-----END") }
        return Array(try #require(Data(base64Encoded: lines.joined())))
    }

    @Test("A certificate is found by its number and who has issued it, in both forms, and by nothing else")
    func found() throws {
        let certificate = try Self.certificate("alice")
        let meant = try #require(CertificateExactAssertion(certificate: certificate))
        let entry = LDAPEntry("uid=alice", [LDAPAttribute("userCertificate;binary", [certificate])])
        func isFound(_ value: String) -> Bool { LDAPFilter.equality("userCertificate", Array(value.utf8)).truth(of: entry) == .holds }
        #expect(isFound(meant.description))
        #expect(isFound("\(meant.serialNumber)$\(meant.issuer.normalized)"))
        #expect(isFound("{serialNumber  \(meant.serialNumber) ,issuer  rdnSequence:\"\(meant.issuer.normalized)\"}"))
        #expect(!isFound("\(meant.serialNumber)1$\(meant.issuer.normalized)"))
        #expect(!isFound("\(meant.serialNumber)$cn=x"))
        let other = try #require(CertificateExactAssertion(certificate: Self.certificate("mallory")))
        #expect(other != meant && !isFound(other.description))
        let rule = LDAPFilter.extensible(.init(matchingRule: "certificateExactMatch", attribute: "userCertificate", value: Array(meant.description.utf8)))
        #expect(rule.truth(of: entry) == .holds)
    }

    @Test("What openssl says of it is said here")
    func sameAsOpenSSL() throws {
        let alice = try #require(CertificateExactAssertion(certificate: Self.certificate("alice")))
        #expect(alice.serialNumber == "4097")
        #expect(try alice.issuer == DistinguishedName("CN=Issuing CA,O=Verona"))
    }

    @Test("Texts are read, quotation marks in names as well", arguments: [
        ("{ serialNumber 4097, issuer rdnSequence:\"CN=Issuing CA,DC=example,DC=org\" }", "4097", "cn=issuing ca,dc=example,dc=org"),
        ("4097$CN=Issuing CA,DC=example,DC=org", "4097", "cn=issuing ca,dc=example,dc=org"),
        (#"{serialNumber 1,issuer rdnSequence:"CN=a\""b"}"#, "1", #"cn=a\"b"#), ("0$cn=a", "0", "cn=a"),
    ])
    func read(text: String, serialNumber: String, issuer: String) throws {
        let assertion = try #require(CertificateExactAssertion(text))
        #expect(assertion.serialNumber == serialNumber && assertion.issuer.normalized == issuer)
        #expect(CertificateExactAssertion(assertion.description) == assertion)
    }

    @Test("A quotation mark is two, whatever follows it")
    func quotes() throws {
        let issuer = DistinguishedName([RelativeDistinguishedName("cn", "a\"\u{301}\"\"b")])
        let assertion = try #require(CertificateExactAssertion(serialNumber: "1", issuer: issuer))
        #expect(assertion.description.utf8.filter { $0 == UInt8(ascii: "\"") }.count == 8)
        #expect(CertificateExactAssertion(assertion.description) == assertion)
    }

    @Test("What is none is none", arguments: [
        "", "{", "{}", "4097", "x$cn=a", "1$x", "{ serialNumber 1 }", "{ serialNumber 1, issuer rdnSequence:\"x\" }", "{ issuer rdnSequence:\"cn=a\", serialNumber 1 }",
        "{ serialNumber 01, issuer rdnSequence:\"cn=a\" }", "{ serialNumber 1, issuer rdnSequence:\"cn=a }",
    ])
    func refused(text: String) { #expect(CertificateExactAssertion(text) == nil) }

    @Test("A certificate that is cut off anywhere is none")
    func truncated() throws {
        let certificate = try Self.certificate("alice")
        for count in certificate.indices { #expect(CertificateExactAssertion(certificate: Array(certificate.prefix(count))) == nil) }
    }

    @Test("Any octet may be another one")
    func hostile() throws {
        let certificate = try Self.certificate("issuing")
        var random = SeededTexts(seed: 4_523)
        for _ in 0..<5_000 {
            var changed = certificate
            changed[random.below(min(300, changed.count))] = UInt8(truncatingIfNeeded: random.next())
            if let assertion = CertificateExactAssertion(certificate: changed) { #expect(CertificateExactAssertion(assertion.description) != nil) }
        }
    }
}
