import Foundation
import MartletNetwork
import MartletXMPP
import SwiftASN1
import Testing
import X509

@Suite("Which certificates are believed (RFC 5280 §6)")
struct PeerTrustTests {
    static let verona = GeneralName.dnsName("verona.example")

    /// Why the chain does not prove to be Verona's; `nil` if it does.
    static func fault(_ chain: [[UInt8]], _ anchors: [TestAuthority], now: Int = Fixtures.now, domain: String = "verona.example") async throws -> CertificateFault? {
        await fault(chain, PeerTrust(anchors: try anchors.map { try $0.bytes }), now: now, domain: try BareJID(parsing: domain))
    }

    static func fault(_ chain: [[UInt8]], _ trust: PeerTrust, now: Int = Fixtures.now, domain: BareJID) async -> CertificateFault? {
        do throws(CertificateFault) {
            return try await trust.verify(chain, now: now).fault(for: domain)
        } catch {
            return error
        }
    }

    static func text(_ fault: CertificateFault?) -> String { fault?.description ?? "believed" }

    @Test("a chain that leads to an anchor is believed, in whatever order, with the anchor or without")
    func believed() async throws {
        let root = try TestAuthority("Root")
        let middle = try TestAuthority("Middle", by: root)
        let issuing = try TestAuthority("Issuing", by: middle)
        let leaf = try issuing.issue(Self.verona)
        #expect(try await Self.fault([leaf, issuing.bytes, middle.bytes], [root]) == nil)
        #expect(try await Self.fault([leaf, middle.bytes, root.bytes, issuing.bytes], [root]) == nil)
        #expect(try await Self.fault([root.issue(Self.verona)], [root]) == nil)
        #expect(try await Self.fault([root.issue(Self.verona), TestAuthority("Other").bytes], [root]) == nil)
    }

    @Test("for whom it is comes after: a wrong name is told with the right ones")
    func names() async throws {
        let root = try TestAuthority("Root")
        let leaf = try root.issue(.dnsName("mantua.example"), .dnsName("*.mantua.example"), .service("_xmpp-server.mantua.example"))
        let fault = try await Self.fault([leaf], [root])
        #expect(Self.text(fault) == "its certificate is not for verona.example, but for mantua.example, *.mantua.example, _xmpp-server.mantua.example")
        #expect(try await Self.fault([leaf], [root], domain: "chat.mantua.example") == nil)
        let many = try root.issue { $0.names = (1...12).map { .dnsName("\($0).example") } }
        #expect(Self.text(try await Self.fault([many], [root])).hasSuffix("9.example, 10.example and 2 more"))
        #expect(Self.text(try await Self.fault([root.issue()], [root])).hasSuffix("but for no name at all"))
    }

    @Test("a certificate is valid from its first second to its last")
    func time() async throws {
        let root = try TestAuthority("Root") { $0.validity = -100...100 }
        let leaf = try root.issue(Self.verona) { $0.validity = -1...1 }
        let day = 86_400
        for now in [Fixtures.now - day, Fixtures.now + day] { #expect(try await Self.fault([leaf], [root], now: now) == nil) }
        let late = try await Self.fault([leaf], [root], now: Fixtures.now + day + 1)
        #expect(Self.text(late) == "the certificate of CN=leaf expired at 2027-01-16 08:00:00 +0000: it has to be renewed")
        let early = try await Self.fault([leaf], [root], now: Fixtures.now - day - 1)
        #expect(Self.text(early) == "the certificate of CN=leaf is not valid before 2027-01-14 08:00:00 +0000: one of the two clocks may be wrong")
    }

    @Test("an authority whose certificate has expired is named")
    func expiredAuthority() async throws {
        let root = try TestAuthority("Root") { $0.validity = -100...100 }
        let issuing = try TestAuthority("Issuing", by: root) { $0.validity = -10...(-1) }
        let fault = try await Self.fault([issuing.issue(Self.verona), issuing.bytes], [root])
        #expect(Self.text(fault).hasPrefix("the certificate of CN=Issuing expired"))
    }

    @Test("self-signed, and unknown authorities, say what is missing")
    func unknown() async throws {
        let root = try TestAuthority("Root")
        let middle = try TestAuthority("Middle", by: root)
        let issuing = try TestAuthority("Issuing", by: middle)
        #expect(try await Self.fault([TestAuthority.selfSigned(Self.verona)], [root]) == .selfSigned)
        #expect(try await Self.fault([issuing.issue(Self.verona)], [root]) == .unknownIssuer("CN=Issuing"))
        #expect(try await Self.fault([issuing.issue(Self.verona), issuing.bytes], [root]) == .unknownIssuer("CN=Middle"))
        #expect(try await Self.fault([issuing.issue(Self.verona), issuing.bytes, middle.bytes], []) == .unknownIssuer("CN=Root"))
        // The name alone is not enough.
        let impostor = try TestAuthority("Root")
        #expect(try await Self.fault([impostor.issue(Self.verona)], [root]) == .unknownIssuer("CN=Root"))
        #expect(try await Self.fault([impostor.issue(Self.verona), impostor.bytes], [root]) == .unknownIssuer("CN=Root"))
    }

    @Test("a certificate that is an anchor itself is believed, while it is valid and for its names")
    func pinned() async throws {
        let own = try TestAuthority.selfSigned(Self.verona) { $0.validity = -1...1 }
        let trust = PeerTrust(anchors: [own])
        let domain = try BareJID(parsing: "verona.example")
        #expect(await Self.fault([own], trust, domain: domain) == nil)
        #expect(Self.text(await Self.fault([own], trust, now: Fixtures.now + 172_801, domain: domain)).contains("expired"))
        #expect(Self.text(await Self.fault([own], trust, domain: try BareJID(parsing: "mantua.example"))).contains("is not for mantua.example"))
        // It is no authority.
        #expect(try await Self.fault([TestAuthority.selfSigned(Self.verona)], trust, domain: domain) == .selfSigned)
    }

    @Test("certificates for servers, for clients and for nothing in particular are taken, others are not (XEP-0178 §4)")
    func purposes() async throws {
        let root = try TestAuthority("Root")
        for purposes in [[.serverAuth], [.clientAuth], [], [.any], [.emailProtection, .serverAuth]] as [[ExtendedKeyUsage.Usage]] {
            let leaf = try root.issue(Self.verona) { options in
                options.purposes = purposes
                options.isCritical = true
            }
            #expect(try await Self.fault([leaf], [root]) == nil)
        }
        let mail = try root.issue(Self.verona) { $0.purposes = [.emailProtection] }
        #expect(Self.text(try await Self.fault([mail], [root])).contains("is for another purpose than TLS"))
    }

    @Test("a critical extension that nobody understands refuses the certificate (RFC 5280 §4.2)", arguments: [true, false])
    func critical(isCritical: Bool) async throws {
        let odd = Certificate.Extension(oid: [1, 3, 6, 1, 4, 1, 99_999, 1], critical: isCritical, value: [5, 0])
        let expected = isCritical ? CertificateFault.unknownCriticalExtension("1.3.6.1.4.1.99999.1") : nil
        let root = try TestAuthority("Root")
        #expect(try await Self.fault([root.issue(Self.verona) { $0.more = [odd] }], [root]) == expected)
        let issuing = try TestAuthority("Issuing", by: root) { $0.more = [odd] }
        #expect(try await Self.fault([issuing.issue(Self.verona), issuing.bytes], [root]) == expected)
    }

    @Test("only authorities issue certificates (RFC 5280 §6.1.4)")
    func issuers() async throws {
        let root = try TestAuthority("Root")
        let notIssuing = try TestAuthority("Issuing", by: root) { $0.mayIssue = false }
        #expect(Self.text(try await Self.fault([notIssuing.issue(Self.verona), notIssuing.bytes], [root])).contains("may not issue certificates"))
        let old = try TestAuthority("Old", by: root) { $0.version = .v1 }
        #expect(Self.text(try await Self.fault([old.issue(Self.verona), old.bytes], [root])).contains("is of version 1"))
        let mail = try TestAuthority("Mail", by: root) { $0.more = [try! .init(ExtendedKeyUsage([.emailProtection]), critical: false)] }
        #expect(Self.text(try await Self.fault([mail.issue(Self.verona), mail.bytes], [root])).contains("is for another purpose than TLS"))
    }

    @Test("constraints of an authority hold for every kind of name (RFC 5280 §4.2.1.10)", arguments: ["dns", "srv", "xmpp"])
    func constraints(kind: String) async throws {
        func name(_ domain: String) throws -> GeneralName {
            switch kind {
            case "dns": .dnsName(domain)
            case "srv": try .service("_xmpp-server.\(domain)")
            default: try .xmppAddress(domain)
            }
        }
        func verdict(_ constraints: NameConstraints, _ domain: String) async throws -> String {
            let root = try TestAuthority("Root")
            let issuing = try TestAuthority("Issuing", by: root, constraints: constraints)
            return Self.text(try await Self.fault([issuing.issue(name(domain)), issuing.bytes], [root], domain: domain))
        }
        let permitted = NameConstraints(permittedDNSDomains: ["capulet.example"])
        #expect(try await verdict(permitted, "capulet.example") == "believed")
        #expect(try await verdict(permitted, "chat.capulet.example") == "believed")
        for domain in ["montague.example", "notcapulet.example", "example"] { #expect(try await verdict(permitted, domain) != "believed") }
        let excluded = NameConstraints(excludedDNSDomains: ["capulet.example"])
        #expect(try await verdict(excluded, "montague.example") == "believed")
        #expect(try await verdict(excluded, "chat.capulet.example") != "believed")
        if kind != "dns" {
            #expect(try await verdict(permitted, "montague.example") == "its authority may not issue certificates for montague.example")
        }
    }

    @Test("chains are bounded, in length and in ways to put them together")
    func bounds() async throws {
        let root = try TestAuthority("Root")
        let leaf = try root.issue(Self.verona)
        let others = try (1..<CertificatePath.shownMax).map { try TestAuthority("Other \($0)").bytes }
        #expect(try await Self.fault([leaf] + others, [root]) == nil)
        #expect(try await Self.fault([leaf] + others + [root.bytes], [root]) == .tooMany(CertificatePath.shownMax + 1))
        #expect(try await Self.fault([], [root]) == .absent)

        let twins = try (1...CertificatePath.sameSubjectMax).map { _ in try TestAuthority("Twin").bytes }
        #expect(try await Self.fault([leaf] + twins, [root]) == nil)
        #expect(Self.text(try await Self.fault([leaf] + twins + [TestAuthority("Twin").bytes], [root])).contains("too many of them have the same subject"))
    }

    @Test("authorities that have certified one another do not lead in circles")
    func circles() async throws {
        let (one, other) = (try TestAuthority("One"), try TestAuthority("Other"))
        let crossed = [try TestAuthority(one, by: other).bytes, try TestAuthority(other, by: one).bytes]
        #expect(Self.text(try await Self.fault([one.issue(Self.verona)] + crossed, [])).contains("is not trusted here"))
        #expect(try await Self.fault([one.issue(Self.verona)] + crossed, [other]) == nil)
    }

    @Test("what cannot be read proves nothing")
    func malformed() async throws {
        let root = try TestAuthority("Root")
        let leaf = try root.issue(Self.verona)
        for chain in [[[]], [Array(leaf.dropLast())], [leaf, [0x30, 0x00]]] {
            guard case .malformed? = try await Self.fault(chain, [root]) else { Issue.record("\(chain.count)"); continue }
        }
    }

    @Test("anchors come from a file of certificates in PEM")
    func file() async throws {
        let file = try PeerTrust(anchorFile: Fixtures.certificate("verona.example.pem"))
        #expect(file.anchorCount == 1 && file.unreadableCount == 0)
        for (name, message) in [("absent.pem", "cannot be read: No such file"), ("text.pem", "holds no certificate"), ("verona.example.key", "holds no certificate"), ("truncated.pem", "holds no certificate")] {
            let error = #expect(throws: MartletNetwork.CertificateError.self) { try PeerTrust(anchorFile: Fixtures.certificate(name)) }
            #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
        }
        let mixed = PeerTrust(anchors: [[0x30, 0x00], try TestAuthority("Root").bytes])
        #expect(mixed.anchorCount == 1 && mixed.unreadableCount == 1)
    }

    @Test("what Debian trusts can be read", .enabled(if: FileManager.default.fileExists(atPath: PeerTrust.systemAnchors)))
    func system() throws {
        let trust = try PeerTrust(anchorFile: PeerTrust.systemAnchors)
        #expect(trust.anchorCount > 50 && trust.unreadableCount * 10 < trust.anchorCount)
    }
}
