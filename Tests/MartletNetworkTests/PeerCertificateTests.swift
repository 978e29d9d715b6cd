import MartletNetwork
import MartletXMPP
import SwiftASN1
import Testing
import X509

@Suite("Whom a certificate is for (RFC 9525, RFC 6120 §13.7.1.2)")
struct PeerCertificateTests {
    static func isFor(_ domain: String, _ names: GeneralName..., subject: String? = nil) throws -> Bool {
        let certificate = try TestAuthority.selfSigned { options in
            options.names = names
            options.subject = subject
        }
        return try PeerCertificate(certificate).isFor(BareJID(parsing: domain))
    }

    @Test("a DNS-ID is the domain, in any case and by its A-labels", arguments: [
        ("verona.example", "verona.example", true), ("verona.example", "VERONA.Example", true), ("verona.example", "mantua.example", false),
        ("verona.example", "example", false), ("chat.verona.example", "verona.example", false), ("verona.example", "verona.example.", false),
        ("verona.example", "verona.example\0.mantua.example", false), ("verona.example", "", false),
        ("bücher.example", "xn--bcher-kva.example", true), ("bücher.example", "XN--BCHER-KVA.example", true), ("bücher.example", "*.example", true),
    ])
    func domains(domain: String, presented: String, isFor: Bool) throws { #expect(try Self.isFor(domain, .dnsName(presented)) == isFor) }

    @Test("a wildcard is the whole first label, and one label (RFC 9525 §6.3)", arguments: [
        ("chat.verona.example", "*.verona.example", true), ("chat.verona.example", "*.VERONA.example", true),
        ("verona.example", "*.verona.example", false), ("a.chat.verona.example", "*.verona.example", false),
        ("chat.verona.example", "c*.verona.example", false), ("chat.verona.example", "*t.verona.example", false),
        ("chat.verona.example", "chat.*.example", false), ("chat.verona.example", "*.*.example", false), ("example", "*", false),
        ("example", "*.", false), ("chat.verona.example", "*", false), ("chat.verona.example", "**.verona.example", false),
    ])
    func wildcards(domain: String, presented: String, isFor: Bool) throws { #expect(try Self.isFor(domain, .dnsName(presented)) == isFor) }

    @Test("an SRV-ID names the service, too (RFC 4985)", arguments: [
        ("_xmpp-server.verona.example", true), ("_XMPP-Server.VERONA.example", true), ("_xmpp-client.verona.example", false),
        ("_xmpp-server.mantua.example", false), ("verona.example", false), ("_xmpp-server.*.example", false), ("_xmpp-server._tcp.verona.example", false),
    ])
    func services(presented: String, isFor: Bool) throws {
        #expect(try Self.isFor("verona.example", .service(presented)) == isFor)
        #expect(try !Self.isFor("chat.verona.example", .service("_xmpp-server.*.verona.example")))
    }

    @Test("an XMPP address is compared as an address (RFC 6120 §13.7.1.4)", arguments: [
        ("verona.example", "Verona.Example", true), ("bücher.example", "Bücher.example", true), ("bücher.example", "xn--bcher-kva.example", true),
        ("verona.example", "romeo@verona.example", false), ("verona.example", "verona.example/balcony", false), ("verona.example", "*.example", false),
    ])
    func xmppAddresses(domain: String, presented: String, isFor: Bool) throws {
        #expect(try Self.isFor(domain, .xmppAddress(presented)) == isFor)
    }

    @Test("a domain that is an address needs an IP-ID, and a name cannot have one (RFC 9525 §6.4)")
    func addresses() throws {
        #expect(try Self.isFor("192.0.2.1", .address(192, 0, 2, 1)))
        #expect(try Self.isFor("[2001:db8::1]", .address(0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)))
        #expect(try !Self.isFor("192.0.2.2", .address(192, 0, 2, 1)))
        #expect(try !Self.isFor("192.0.2.1", .dnsName("192.0.2.1"), .service("_xmpp-server.192.0.2.1"), .xmppAddress("192.0.2.1")))
        #expect(try !Self.isFor("verona.example", .address(192, 0, 2, 1)))
        #expect(try !Self.isFor("192.0.2.1", .address(192, 0, 2)))
    }

    @Test("the common name is nobody's name (RFC 9525 §2)")
    func commonName() throws {
        #expect(try !Self.isFor("verona.example", subject: "verona.example"))
        #expect(try !Self.isFor("verona.example", .dnsName("mantua.example"), subject: "verona.example"))
    }

    @Test("one of several names is enough; kinds that are not known count for nothing")
    func several() throws {
        let odd = GeneralName.otherName(.init(typeID: [1, 3, 6, 1, 5, 5, 7, 8, 5], value: try ASN1Any(erasing: 1)))
        #expect(try Self.isFor("verona.example", odd, .rfc822Name("romeo@verona.example"), .dnsName("mantua.example"), .service("_xmpp-server.verona.example")))
        #expect(try !Self.isFor("verona.example", odd, .rfc822Name("verona.example"), .uniformResourceIdentifier("xmpp:verona.example")))
    }

    @Test("of more names than there can be reason for, the first are looked at")
    func many() throws {
        func certificate(_ count: Int) throws -> PeerCertificate {
            try PeerCertificate(TestAuthority.selfSigned { $0.names = (1...count).map { .dnsName("\($0).example") } })
        }
        let most = PeerCertificate.namesMax
        #expect(try certificate(most).isFor(BareJID(parsing: "\(most).example")))
        #expect(try !certificate(most + 1).isFor(BareJID(parsing: "\(most + 1).example")))
    }

    @Test("what is no certificate says so")
    func malformed() throws {
        let certificate = try TestAuthority.selfSigned(.dnsName("verona.example"))
        for bytes in [[], [0x30], Array(certificate.dropLast()), certificate + [0]] {
            guard case .malformed? = #expect(throws: CertificateFault.self, performing: { try PeerCertificate(bytes) }) else {
                Issue.record("\(bytes.count) bytes")
                continue
            }
        }
    }

    @Test("names are quoted without what steers a terminal")
    func printable() {
        #expect(PeerCertificate.Name.domain("a\u{1B}[2Jb\n").description == "a?[2Jb?")
        #expect(PeerCertificate.Name.xmppAddress("bücher.example").description == "xmpp:b?cher.example")
        #expect(PeerCertificate.Name.service(String(repeating: "a", count: 1_000)).description.count == 253)
    }
}
