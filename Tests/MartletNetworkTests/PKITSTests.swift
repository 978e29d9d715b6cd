import Foundation
import MartletNetwork
import SwiftASN1
import Testing
import X509

/// NIST's Public Key Interoperability Test Suite (`Fixtures/pkits/README.md`).
enum PKITS {
    struct Case: CustomTestStringConvertible, Sendable {
        let number: String
        let isValid: Bool
        let policies: PolicyDemand
        /// From below the anchor to the end entity, by name.
        let certificates: [String]
        let lists: [String]

        var testDescription: String { number }

        init?(_ row: Substring) {
            let fields = row.split(separator: ";", omittingEmptySubsequences: false).map { $0.trimmingPrefix(" ") }
            guard !row.hasPrefix("#"), fields.count == 5 else { return nil }
            number = String(fields[0])
            isValid = fields[1] == "valid"
            var policies = PolicyDemand()
            for option in fields[2].split(separator: " ") {
                switch option {
                case "explicit": policies.isExplicit = true
                case "no-mapping": policies.inhibitsMapping = true
                case "no-any": policies.inhibitsAny = true
                default: policies.acceptable = Set(option.trimmingPrefix("policy=").split(separator: ",").compactMap { try? ASN1ObjectIdentifier(dotRepresentation: $0) })
                }
            }
            self.policies = policies
            certificates = fields[3].split(separator: " ").map(String.init)
            lists = fields[4].split(separator: " ").map(String.init)
        }
    }

    static func text(_ name: String) -> String { (try? String(contentsOfFile: "\(Fixtures.root)/Fixtures/pkits/\(name)", encoding: .utf8)) ?? "" }

    static let cases = text("tests.txt").split(separator: "\n").compactMap { Case($0) }
    static let certificates = named("certificates.pem")
    static let lists = named("lists.pem")

    /// Each with a line before it that has its name.
    private static func named(_ file: String) -> [String: [UInt8]] {
        var (named, name, lines) = ([String: [UInt8]](), "", [Substring]())
        for line in text(file).split(separator: "\n") {
            if line.hasPrefix("-----BEGIN") { lines = [] }
            if lines.isEmpty, !line.hasPrefix("-----") { name = String(line) }
            lines.append(line)
            guard line.hasPrefix("-----END") else { continue }
            named[name] = (try? PEMDocument(pemString: lines.joined(separator: "\n")))?.derBytes
            lines = []
        }
        return named
    }

    /// What is not accepted at all.
    static let unsupported: [String: String] = ["4.1.4": "DSA", "4.1.5": "DSA", "4.3.6": "unique identifiers of issuer and subject"]

    /// Where we refuse what may be accepted, because it is not known whether something is revoked.
    static let unknown: [String: String] = [
        "4.3.3": "the list writes its issuer's name in another way", "4.3.4": "the list writes its issuer's name in another way",
        "4.3.5": "the list writes its issuer's name in another way", "4.3.10": "the list writes its issuer's name in another way",
        "4.3.11": "the list writes its issuer's name in another way",
        "4.4.19": "another key signs lists than certificates", "4.5.1": "another key signs lists than certificates",
        "4.5.3": "another key signs lists than certificates", "4.5.4": "another key signs lists than certificates",
        "4.5.6": "another key signs lists than certificates", "4.6.15": "another key signs lists than certificates",
        "4.6.17": "another key signs lists than certificates", "4.9.6": "another key signs lists than certificates",
        "4.11.7": "another key signs lists than certificates", "4.12.7": "another key signs lists than certificates",
        "4.12.9": "another key signs lists than certificates", "4.13.19": "another key signs lists than certificates",
        "4.14.1": "the list's place is in a directory", "4.14.4": "the list's place is in a directory",
        "4.14.5": "the list's place is in a directory", "4.14.7": "the list's place is in a directory",
        "4.14.18": "lists for some reasons only", "4.14.19": "lists for some reasons only",
        "4.14.22": "an indirect list", "4.14.24": "an indirect list", "4.14.25": "an indirect list", "4.14.28": "an indirect list",
        "4.14.29": "an indirect list", "4.14.30": "an indirect list", "4.14.33": "an indirect list",
        "4.15.5": "a list of changes takes something back",
    ]

    /// Revoked by a list of changes only, which nobody has to look at (RFC 5280 §5.2.4).
    static let changes: Set<String> = ["4.15.4"]

    static func path(_ one: Case) async throws(CertificateFault) -> TrustedCertificate {
        var rules = CertificateRules.clients
        rules.policies = one.policies
        let anchors = TrustAnchors([certificates["TrustAnchorRootCertificate"] ?? []])
        return try await CertificatePath(to: anchors, rules).verify(one.certificates.reversed().map { certificates[$0] ?? [] }, now: Fixtures.now)
    }

    /// Why it is not known that none of them is revoked; `nil` if it is known.
    static func revocation(_ chain: [Certificate], _ lists: [[UInt8]]) -> String? {
        for (certificate, issuer) in zip(chain, chain.dropFirst()) {
            guard let question = RevocationQuestion(certificate, issuedBy: issuer) else { return "it cannot be read" }
            var findings: [Bool] = []
            for bytes in lists {
                guard let list = try? RevocationList(bytes), (try? list.prove(by: question.issuer)) != nil else { continue }
                if let isRevoked = try? list.isRevoked(question, now: Fixtures.now) { findings.append(isRevoked) }
            }
            if findings.contains(true) { return "revoked" }
            if findings.isEmpty { return "unknown" }
        }
        return nil
    }
}

@Suite("Path validation as NIST tests it (PKITS)")
struct PKITSTests {
    @Test("the suite is there")
    func complete() {
        #expect(PKITS.cases.count == 249)
        #expect(PKITS.certificates.count == 405 && PKITS.lists.count == 173)
        let known = Set(PKITS.cases.map(\.number))
        #expect(known.isSuperset(of: PKITS.unknown.keys) && known.isSuperset(of: PKITS.changes) && known.isSuperset(of: PKITS.unsupported.keys))
    }

    @Test("a path is believed if it should be, and no other", arguments: PKITS.cases)
    func cases(one: PKITS.Case) async {
        let trusted: TrustedCertificate
        do throws(CertificateFault) { trusted = try await PKITS.path(one) } catch {
            #expect(!one.isValid || PKITS.unsupported[one.number] != nil, "\(error)")
            return
        }
        let fault = PKITS.revocation(trusted.chain, one.lists.compactMap { PKITS.lists[$0] })
        let isExpected = one.isValid && PKITS.unknown[one.number] == nil || PKITS.changes.contains(one.number)
        #expect((fault == nil) == isExpected, "\(fault ?? "believed")")
    }
}
