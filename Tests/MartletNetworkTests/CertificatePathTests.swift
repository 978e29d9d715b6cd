import Crypto
import Foundation
import MartletNetwork
import SwiftASN1
import Testing
import X509

/// What `Fixtures/authority/generate` has made.
enum TestPeople {
    static let policy: ASN1ObjectIdentifier = [1, 3, 6, 1, 4, 1, 99_999, 1, 2]

    static func file(_ name: String) -> String { "\(Fixtures.root)/Fixtures/authority/\(name)" }
    /// The certificates in a file, in DER.
    static func certificates(_ name: String) throws -> [[UInt8]] { try MartletNetwork.CertificateStore.chain(in: file("\(name).pem")) }
    static func certificate(_ name: String) throws -> [UInt8] { try #require(try certificates(name).first) }
    static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: file(name)))) }
    static func anchors() throws -> TrustAnchors { TrustAnchors([try certificate("root")]) }

    /// Rules for those who log in.
    static func rules(_ policies: ASN1ObjectIdentifier...) -> CertificateRules {
        var rules = CertificateRules.clients
        rules.policies = PolicyDemand(Set(policies))
        return rules
    }

    /// Shown with the authority's own.
    static func verify(
        _ name: String, by issuer: String = "issuing", _ rules: CertificateRules = .clients, now: Int = Fixtures.now
    ) async throws -> TrustedCertificate {
        try await CertificatePath(to: anchors(), rules).verify([certificate(name), certificate(issuer)], now: now)
    }
}

@Suite("Which certificates of people are believed (RFC 5280 §6)")
struct CertificatePathTests {
    /// Why it is not; `nil` if it is.
    static func fault(_ shown: [[UInt8]], _ path: CertificatePath, now: Int = Fixtures.now) async -> CertificateFault? {
        do throws(CertificateFault) {
            _ = try await path.verify(shown, now: now)
            return nil
        } catch {
            return error
        }
    }

    static func fault(_ shown: [[UInt8]], _ rules: CertificateRules = .clients, others: [Certificate] = []) async throws -> CertificateFault? {
        await fault(shown, CertificatePath(to: try TestPeople.anchors(), rules, others: others))
    }

    static func fault(_ name: String, by issuer: String = "issuing", _ rules: CertificateRules = .clients) async throws -> CertificateFault? {
        try await fault([TestPeople.certificate(name), TestPeople.certificate(issuer)], rules)
    }

    @Test("a good one is believed, whether what lies between is shown or known")
    func good() async throws {
        let alice = try TestPeople.certificate("alice")
        #expect(try await Self.fault("alice") == nil)
        guard case .unknownIssuer(let issuer)? = try await Self.fault([alice]) else { Issue.record("no issuer is missing"); return }
        #expect(issuer.contains("Issuing CA"))
        let issuing = try Certificate(derEncoded: TestPeople.certificate("issuing"))
        #expect(try await Self.fault([alice], others: [issuing]) == nil)
    }

    @Test("what is known besides is not believed for that")
    func others() async throws {
        let own = try TestPeople.certificate("selfsigned")
        #expect(try await Self.fault([own]) == .selfSigned)
        #expect(try await Self.fault([own], others: [Certificate(derEncoded: own)]) == .selfSigned)
    }

    @Test("an expired one is named with its end")
    func expired() async throws {
        guard case .expired(let subject, let time)? = try await Self.fault("expired") else { Issue.record("it is not expired"); return }
        #expect(subject.contains("CN=Expired") && time.hasPrefix("2025-01-01 00:00:00"))
    }

    @Test("a server's certificate, and one for encryption, are for another purpose than logging in", arguments: ["server", "encryption"])
    func purposes(name: String) async throws {
        guard case .otherPurpose? = try await Self.fault(name) else { Issue.record("it is accepted"); return }
        #expect(try await Self.fault(name, .peers) == nil)
    }

    @Test("one of the policies that are asked for has to hold on the whole path (RFC 5280 §6.1.5)")
    func policies() async throws {
        let other: ASN1ObjectIdentifier = [1, 3, 6, 1, 4, 1, 99_999, 1, 3]
        #expect(try await Self.fault("alice", TestPeople.rules(TestPeople.policy)) == nil)
        #expect(try await Self.fault("alice", TestPeople.rules(TestPeople.policy, other)) == nil)
        #expect(try await Self.fault("policy", TestPeople.rules(other)) == nil)
        for name in ["policy", "plain"] {
            let fault = try await Self.fault(name, TestPeople.rules(TestPeople.policy))
            #expect(fault == .otherPolicy(["1.3.6.1.4.1.99999.1.2"]))
            #expect(fault?.description == "its certificates are refused: none of the certificate policies 1.3.6.1.4.1.99999.1.2 holds for it")
        }
        #expect(try await Self.fault("plain") == nil)
    }

    @Test("constraints hold for the subject and for mailboxes (RFC 5280 §4.2.1.10)")
    func names() async throws {
        #expect(try await Self.fault("inside", by: "constrained") == nil)
        guard case .outsideConstraints(let name)? = try await Self.fault("stranger", by: "constrained") else { Issue.record("it is accepted"); return }
        #expect(name.contains("Stranger"))
    }

    @Test("short keys and SHA-1 are refused")
    func weak() async throws {
        // The library reads neither a key that short nor SHA-1 with ECDSA.
        for name in ["short", "sha1"] {
            let fault = try await Self.fault(name)
            switch fault {
            case .malformed?, .weak?: break
            default: Issue.record("\(name): \(String(describing: fault))")
            }
        }
    }

    @Test("paths are bounded in depth, whoever has the certificates")
    func depth() async throws {
        let deep = try TestPeople.certificates("deep")
        #expect(try await Self.fault(deep) == .tooMany(deep.count))
        let authorities = try deep.dropFirst().map { try Certificate(derEncoded: $0) }
        #expect(authorities.count == 20)
        #expect(try await Self.fault([deep[0]], others: authorities) == .tooDeep(20, max: 6))
        var rules = CertificateRules.clients
        rules.depthMax = 20
        #expect(try await Self.fault([deep[0]], rules, others: authorities) == nil)
        rules.depthMax = 19
        #expect(try await Self.fault([deep[0]], rules, others: authorities) == .tooDeep(20, max: 19))
    }

    @Test("six authorities above are followed, seven are not")
    func depthBySize() async throws {
        for count in [6, 7] {
            let root = try TestAuthority("Root")
            var authorities = [root]
            for number in 1...count { authorities.append(try TestAuthority("Deep \(number)", by: authorities.last)) }
            let leaf = try #require(authorities.last).issue { $0.purposes = [.clientAuth] }
            let path = CertificatePath(to: TrustAnchors([try root.bytes]), .clients, others: authorities.dropFirst().map(\.certificate))
            var fault: CertificateFault?
            do throws(CertificateFault) { _ = try await path.verify([leaf], now: Fixtures.now) } catch { fault = error }
            #expect(fault == (count == 6 ? nil : .tooDeep(7, max: 6)))
        }
    }

    @Test("names and constraints are compared no more often than is affordable")
    func comparisons() async throws {
        // 255 names and the subject, against 256 subtrees, are as many as may be.
        for (count, isAccepted) in [(255, true), (256, false)] {
            let root = try TestAuthority("Root")
            let constraints = NameConstraints(permittedDNSDomains: (1...256).map { "domain\($0).example" })
            let issuing = try TestAuthority("Issuing", by: root, constraints: constraints)
            let leaf = try issuing.issue { options in
                options.purposes = [.clientAuth]
                options.names = (1...count).map { .dnsName("host\($0).domain1.example") }
            }
            let fault = await Self.fault([leaf, try issuing.bytes], CertificatePath(to: TrustAnchors([try root.bytes]), .clients))
            #expect((fault == nil) == isAccepted, "\(count): \(fault?.description ?? "believed")")
        }
    }

    @Test(
        "each kind of name has its own way to be within a subtree",
        arguments: [
            (GeneralName.rfc822Name("alice@verona.example"), GeneralName.rfc822Name("verona.example"), true),
            (.rfc822Name("alice@chat.verona.example"), .rfc822Name("verona.example"), false),
            (.rfc822Name("alice@chat.verona.example"), .rfc822Name(".verona.example"), true),
            (.rfc822Name("alice@verona.example"), .rfc822Name(".verona.example"), false),
            (.rfc822Name("alice@VERONA.example"), .rfc822Name("alice@verona.example"), true),
            (.rfc822Name("Alice@verona.example"), .rfc822Name("alice@verona.example"), false),
            (.rfc822Name("nonsense"), .rfc822Name("verona.example"), false),
            (.dnsName("chat.verona.example"), .dnsName("verona.example"), true),
            (.dnsName("notverona.example"), .dnsName("verona.example"), false),
            (.uniformResourceIdentifier("xmpp://chat.verona.example/a"), .uniformResourceIdentifier(".verona.example"), true),
            (.uniformResourceIdentifier("https://verona.example:443/a"), .uniformResourceIdentifier("verona.example"), true),
            (.uniformResourceIdentifier("https://verona.example@mantua.example"), .uniformResourceIdentifier("verona.example"), false),
            (.uniformResourceIdentifier("urn:verona.example"), .uniformResourceIdentifier("verona.example"), false),
            (.ipAddress(ASN1OctetString(contentBytes: [192, 0, 2, 7])), .ipAddress(ASN1OctetString(contentBytes: [192, 0, 2, 0, 255, 255, 255, 0])), true),
            (.ipAddress(ASN1OctetString(contentBytes: [192, 0, 3, 7])), .ipAddress(ASN1OctetString(contentBytes: [192, 0, 2, 0, 255, 255, 255, 0])), false),
            // It says nothing about names of another kind.
            (.rfc822Name("alice@mantua.example"), .dnsName("verona.example"), true),
            // What is not understood is not allowed.
            (.registeredID([1, 2, 3]), .registeredID([1, 2]), false),
        ] as [(GeneralName, GeneralName, Bool)])
    func subtrees(name: GeneralName, subtree: GeneralName, isAllowed: Bool) async throws {
        let root = try TestAuthority("Root")
        let issuing = try TestAuthority("Issuing", by: root, constraints: NameConstraints(permittedSubtrees: [subtree]))
        let leaf = try issuing.issue(name) { $0.purposes = [.clientAuth] }
        let fault = await Self.fault([leaf, try issuing.bytes], CertificatePath(to: TrustAnchors([try root.bytes]), .clients))
        #expect((fault == nil) == isAllowed, "\(name): \(fault?.description ?? "believed")")
    }

    @Test("a wildcard is excluded with anything that it stands for")
    func wildcard() async throws {
        let root = try TestAuthority("Root")
        let issuing = try TestAuthority("Issuing", by: root, constraints: NameConstraints(excludedDNSDomains: ["secret.verona.example"]))
        for (name, isAllowed) in [("*.verona.example", false), ("open.verona.example", true), ("*.mantua.example", true)] {
            let leaf = try issuing.issue(.dnsName(name))
            let fault = await Self.fault([leaf, try issuing.bytes], CertificatePath(to: TrustAnchors([try root.bytes]), .peers))
            #expect((fault == nil) == isAllowed, "\(name)")
        }
    }

    @Test("a certificate without a subject is called by its first name")
    func called() throws {
        let authority = try TestAuthority("Root")
        for (subject, names, called) in [("", ["verona.example", "mantua.example"], "verona.example"), ("", [], "(no name)"), ("leaf", ["verona.example"], "CN=leaf")] {
            let certificate = try authority.issue(to: P256.Signing.PrivateKey().publicKey) { options in
                (options.subject, options.names) = (subject, names.map { .dnsName($0) })
            }
            #expect(try #require(RevocationQuestion(certificate, issuedBy: authority.certificate)).subject == called)
        }
    }

    @Test("an object identifier has three roots, and forty arcs below two of them (X.660)", arguments: [
        ("1.3.6.1.4.1.99999.1", true), ("2.5.29.32.0", true), ("2.999.1", true), ("0.39.1", true), ("1.39.1", true),
        ("0.40.1", false), ("1.40.1", false), ("3.2.1", false), ("5.2.3", false), ("1.2", false), ("1.02.3", false), ("1..3", false), ("1.2.x", false),
    ])
    func identifiers(text: String, isOne: Bool) { #expect((PolicyDemand.identifier(text) != nil) == isOne) }

    @Test("mallory's is revoked, as the list and the responder say; alice's is not")
    func revoked() async throws {
        for (name, isRevoked) in [("alice", false), ("mallory", true)] {
            let trusted = try await TestPeople.verify(name)
            let question = try #require(RevocationQuestion(trusted.chain[0], issuedBy: trusted.chain[1]))
            let document = try PEMDocument(pemString: String(decoding: TestPeople.bytes("issuing.crl"), as: UTF8.self))
            let list = try RevocationList(document.derBytes)
            try list.prove(by: question.issuer)
            #expect(try list.isRevoked(question, now: Fixtures.now) == isRevoked)
            let answer = try ResponderAnswer(TestPeople.bytes("\(name).ocsp"), to: ResponderRequest(question), by: question.issuer, now: Fixtures.now)
            #expect(answer.isRevoked == isRevoked)
        }
    }
}
