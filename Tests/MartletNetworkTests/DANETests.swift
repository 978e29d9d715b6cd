import Crypto
import MartletNetwork
import MartletXMPP
import SwiftASN1
import Testing
import X509

@Suite("What a host says in DNS about its certificate (RFC 6698, RFC 7671)")
struct DANETests {
    static let verona = GeneralName.dnsName("verona.example")
    static let host = DNSName("xmpp.verona.example")!

    /// What of a certificate a record is about.
    enum Part: UInt8, CaseIterable { case certificate, publicKey }

    /// A record about a certificate. `hash` is the matching type.
    static func record(_ usage: UInt8, _ part: Part, _ hash: UInt8, of certificate: [UInt8]) throws -> TLSARecord {
        var selected = certificate
        if part == .publicKey {
            var serializer = DER.Serializer()
            try serializer.serialize(Certificate(derEncoded: certificate).publicKey)
            selected = serializer.serializedBytes
        }
        let association =
            switch hash {
            case 1: Array(SHA256.hash(data: selected))
            case 2: Array(SHA512.hash(data: selected))
            default: selected
            }
        return TLSARecord(usage: usage, selector: part.rawValue, matchingType: hash, association: association)
    }

    static func records(_ records: [TLSARecord]) throws -> DANE? {
        DANE(records, of: host, port: 5269, for: try BareJID(parsing: "verona.example"))
    }

    /// Why the records do not let the chain pass, `nil` if they do.
    static func fault(
        _ records: [TLSARecord], _ chain: [[UInt8]], trusting anchors: [TestAuthority] = [], now: Int = Fixtures.now
    ) async throws -> CertificateFault? {
        let dane = try #require(try Self.records(records))
        let trust = PeerTrust(anchors: try anchors.map { try $0.bytes })
        do throws(CertificateFault) {
            try await dane.verify(chain, trust, now: now)
            return nil
        } catch {
            return error
        }
    }

    static let unlisted = CertificateFault.unlisted("_5269._tcp.xmpp.verona.example")

    @Test("the certificate itself, or its key, whole or as a hash", arguments: Part.allCases, [0, 1, 2] as [UInt8])
    func endEntity(part: Part, hash: UInt8) async throws {
        let (own, other) = (try TestAuthority.selfSigned(Self.verona), try TestAuthority.selfSigned(Self.verona))
        let record = try Self.record(3, part, hash, of: own)
        #expect(try await Self.fault([record], [own]) == nil)
        #expect(try await Self.fault([record], [other]) == Self.unlisted)
        // Only the first one is the server's.
        #expect(try await Self.fault([record], [other, own]) == Self.unlisted)
        #expect(try await Self.fault([record], []) == .absent)
    }

    @Test("of the certificate itself neither names nor dates matter (RFC 7671 §5.1)")
    func namesAndDates() async throws {
        let own = try TestAuthority.selfSigned(.dnsName("mantua.example")) { $0.validity = -10...(-1) }
        #expect(try await Self.fault([Self.record(3, .publicKey, 1, of: own)], [own]) == nil)
    }

    @Test("an authority that is shown, or whole in the record, is one for this host", arguments: Part.allCases, [0, 1, 2] as [UInt8])
    func trustAnchor(part: Part, hash: UInt8) async throws {
        let root = try TestAuthority("Root")
        let issuing = try TestAuthority("Issuing", by: root)
        let leaf = try issuing.issue(Self.verona)
        let (top, middle) = (try Self.record(2, part, hash, of: root.bytes), try Self.record(2, part, hash, of: issuing.bytes))
        #expect(try await Self.fault([top], [leaf, issuing.bytes, root.bytes]) == nil)
        // An intermediate one is as good.
        #expect(try await Self.fault([middle], [leaf, issuing.bytes]) == nil)
        // §5.2.1: what is not shown can only be found in the record.
        let isWhole = part == .certificate && hash == 0
        #expect(try await Self.fault([top], [leaf, issuing.bytes]) == (isWhole ? nil : Self.unlisted))
        let stranger = try TestAuthority("Root").issue(Self.verona)
        #expect(try await Self.fault([top], [stranger, root.bytes]) != nil)
        // The server's own certificate is no authority.
        #expect(try await Self.fault([Self.record(2, part, 1, of: leaf)], [leaf, issuing.bytes]) == Self.unlisted)
    }

    @Test("what such an authority has issued has to be valid, and for the domain or the host (RFC 7671 §5.2, RFC 7673 §4)")
    func trustAnchorChecks() async throws {
        let root = try TestAuthority("Root") { $0.validity = -100...100 }
        let record = try Self.record(2, .publicKey, 1, of: root.bytes)
        #expect(try await Self.fault([record], [root.issue(.dnsName("xmpp.verona.example")), root.bytes]) == nil)
        guard case .otherNames? = try await Self.fault([record], [root.issue(.dnsName("mantua.example")), root.bytes]) else {
            Issue.record("another name")
            return
        }
        let old = try root.issue(Self.verona) { $0.validity = -10...(-1) }
        guard case .expired? = try await Self.fault([record], [old, root.bytes]) else {
            Issue.record("expired")
            return
        }
        #expect(try await Self.fault([record], [root.issue(Self.verona)] + Array(repeating: root.bytes, count: 8)) == .tooMany(9))
    }

    @Test("the other usages narrow down what the authorities say (RFC 6698 §2.1.1)", arguments: Part.allCases, [0, 1, 2] as [UInt8])
    func authorities(part: Part, hash: UInt8) async throws {
        let (root, other) = (try TestAuthority("Root"), try TestAuthority("Other"))
        let issuing = try TestAuthority("Issuing", by: root)
        let leaf = try issuing.issue(Self.verona)
        let chain = [leaf, try issuing.bytes]
        for named in [try root.bytes, try issuing.bytes] {
            let record = try Self.record(0, part, hash, of: named)
            #expect(try await Self.fault([record], chain, trusting: [root]) == nil)
            #expect(try await Self.fault([record], chain, trusting: [other]) == .unknownIssuer("CN=Root"))
        }
        let record = try Self.record(1, part, hash, of: leaf)
        #expect(try await Self.fault([record], chain, trusting: [root]) == nil)
        #expect(try await Self.fault([record], chain, trusting: [other]) == .unknownIssuer("CN=Root"))
        for (usage, named) in [(0, try other.bytes), (0, leaf), (1, try issuing.bytes)] as [(UInt8, [UInt8])] {
            #expect(try await Self.fault([Self.record(usage, part, hash, of: named)], chain, trusting: [root]) == Self.unlisted)
        }
        let foreign = try issuing.issue(.dnsName("xmpp.verona.example"))
        guard case .otherNames? = try await Self.fault([Self.record(1, part, hash, of: foreign)], [foreign, issuing.bytes], trusting: [root]) else {
            Issue.record("only the domain's own name counts")
            return
        }
    }

    @Test("one record that matches is enough, whatever is wrong with the others")
    func oneIsEnough() async throws {
        let root = try TestAuthority("Root")
        let (leaf, next) = (try root.issue(Self.verona), try root.issue(Self.verona))
        let (now, later) = (try Self.record(3, .publicKey, 1, of: leaf), try Self.record(3, .publicKey, 1, of: next))
        #expect(try await Self.fault([later, now], [leaf]) == nil)
        let wrongName = try root.issue(.dnsName("mantua.example"))
        let records = [try Self.record(2, .publicKey, 1, of: root.bytes), try Self.record(3, .certificate, 1, of: wrongName)]
        #expect(try await Self.fault(records, [wrongName, root.bytes]) == nil)
        // What DNS says of an authority fails, what it says of the general ones does not.
        let (own, general) = (try TestAuthority("Own") { $0.validity = -10...(-1) }, try TestAuthority("General"))
        let crossed = try TestAuthority(own, by: general)
        let both = [try Self.record(2, .certificate, 1, of: own.bytes), try Self.record(0, .publicKey, 1, of: general.bytes)]
        #expect(try await Self.fault(both, [own.issue(Self.verona), own.bytes, crossed.bytes], trusting: [general]) == nil)
    }

    @Test("records that mean nothing are as if they were not there (RFC 6698 §4.1, RFC 7671 §10.1)")
    func unusable() async throws {
        let own = try TestAuthority.selfSigned(Self.verona)
        func record(_ usage: UInt8, _ selector: UInt8, _ matchingType: UInt8, _ association: [UInt8]) -> TLSARecord {
            TLSARecord(usage: usage, selector: selector, matchingType: matchingType, association: association)
        }
        let hash = [UInt8](repeating: 7, count: 32)
        let useless = [
            record(4, 1, 1, hash), record(255, 1, 1, hash), record(3, 2, 1, hash), record(3, 1, 3, hash), record(3, 1, 2, hash),
            record(3, 1, 1, hash + [7]), record(3, 1, 1, hash.dropLast()), record(2, 0, 0, hash), record(3, 0, 0, hash), record(3, 1, 0, [0x30]),
        ]
        for record in useless { #expect(try Self.records([record]) == nil, "\(record)") }
        #expect(try Self.records([]) == nil)
        #expect(try await Self.fault(useless + [Self.record(3, .publicKey, 1, of: own)], [own]) == nil)
        #expect(try await Self.fault(useless + [record(3, 1, 1, hash)], [own]) == Self.unlisted)
    }

    @Test("of two hashes of one kind of thing only the stronger one counts (RFC 7671 §9)")
    func agility() async throws {
        let (own, other) = (try TestAuthority.selfSigned(Self.verona), try TestAuthority.selfSigned(Self.verona))
        let weak = try Self.record(3, .publicKey, 1, of: own)
        #expect(try await Self.fault([weak, Self.record(3, .publicKey, 2, of: other)], [own]) == Self.unlisted)
        #expect(try await Self.fault([weak, Self.record(3, .certificate, 2, of: other)], [own]) == nil)
        #expect(try await Self.fault([weak, Self.record(2, .publicKey, 2, of: other)], [own]) == nil)
    }

    @Test("so many records are looked at, of those that can be used")
    func bounds() async throws {
        let own = try TestAuthority.selfSigned(Self.verona)
        let record = try Self.record(3, .publicKey, 1, of: own)
        let other = TLSARecord(usage: 3, selector: 1, matchingType: 1, association: Array(repeating: 7, count: 32))
        let others = Array(repeating: other, count: DANE.recordsMax - 1)
        let useless = TLSARecord(usage: 9, selector: 1, matchingType: 1, association: [7])
        #expect(try await Self.fault([useless] + others + [record], [own]) == nil)
        #expect(try await Self.fault([other] + others + [record], [own]) == Self.unlisted)
    }

    @Test("operators read the records as they would write them, and whether they count")
    func words() throws {
        let domain = try BareJID(parsing: "verona.example")
        let name = try #require(Self.host.service("_5269._tcp"))
        func words(_ records: [TLSARecord], isSecure: Bool = true) -> (DiagnosisStep.Verdict, String) {
            let answer = DNSAnswer(records.isEmpty ? .noData : .records(records.map { .tlsa($0) }), isSecure: isSecure)
            return CertificateRecords(name, answer, of: Self.host, port: 5269, for: domain).words
        }
        let hash = TLSARecord(usage: 3, selector: 1, matchingType: 1, association: Array(repeating: 0x0A, count: 32))
        let long = TLSARecord(usage: 9, selector: 0, matchingType: 0, association: Array(repeating: 0xB0, count: 33))
        let (hexadecimal, cut) = (String(repeating: "0a", count: 32), String(repeating: "b0", count: 32) + "…")
        #expect(words([hash, long]) == (.good, "\(name): 3 1 1 \(hexadecimal), 9 0 0 \(cut) (secure)"))
        #expect(words([hash], isSecure: false) == (.neutral, "\(name): 3 1 1 \(hexadecimal) (not secured by DNSSEC)"))
        #expect(words([long]) == (.neutral, "\(name): 9 0 0 \(cut) (secure, but none of a known kind)"))
        #expect(words([]) == (.neutral, "\(name): none (secure)"))
        #expect(words(Array(repeating: hash, count: DANE.recordsMax + 1)).1.split(separator: ",").count == DANE.recordsMax)
    }

    @Test("what cannot be read is not the certificate")
    func malformed() async throws {
        let own = try TestAuthority.selfSigned(Self.verona)
        for chain in [[[]], [[0x30, 0x00]], [[0x30, 0x02, 0x30, 0x00]], [Array(own.dropLast())]] as [[[UInt8]]] {
            #expect(try await Self.fault([Self.record(3, .publicKey, 1, of: own)], chain) == Self.unlisted)
        }
        #expect(PeerCertificate.publicKey(in: [0x30, 0x00]) == nil)
    }
}
