import Crypto
import Foundation
import Logging
import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import SwiftASN1
import Testing
import X509

@Suite("Two servers on sockets", .serialized, .timeLimit(.minutes(2)))
struct FederationTests {
    @Test("messages go both ways, with certificates, after STARTTLS or in TLS from the first byte", arguments: [false, true])
    func certificates(_ isDirect: Bool) async throws {
        var options = Side.Options()
        options.isDirect = isDirect
        try await World.with(options, options) { world in
            try await world.exchange()
            // One stream for both directions.
            #expect(world.verona.federation.outgoingCount + world.mantua.federation.outgoingCount == 1)
        }
    }

    @Test("one stream for each direction where that is wanted")
    func oneWay() async throws {
        var options = Side.Options()
        options.policy.bidirection = .off
        try await World.with(options) { world in
            try await world.exchange()
            #expect(world.verona.federation.outgoingCount == 1)
            #expect(world.mantua.federation.outgoingCount == 1)
        }
    }

    @Test("by dialback where no authority is believed, if that is enough")
    func dialback() async throws {
        var options = Side.Options()
        options.trusts = []
        options.policy.authentication = .dialback
        try await World.with(options, options) { world in try await world.exchange() }
    }

    @Test("a certificate that is not believed costs the message, and its sender learns why")
    func untrusted() async throws {
        var suspicious = Side.Options()
        suspicious.trusts = []
        try await World.with(suspicious) { world in
            let juliet = try await world.verona.client("juliet", "verona.example")
            try await juliet.send("<message to='romeo@mantua.example' type='chat' id='m'><body>b</body></message>")
            let answer = try await juliet.hear("</message>")
            #expect(answer.contains("remote-server-timeout"))
            #expect(answer.contains("certificate"))
        }
    }

    @Test("what is larger than the other server takes comes back, and the stream goes on (XEP-0478 §3)")
    func largeStanzas() async throws {
        var options = Side.Options()
        options.stanzaBytesMax = 20_000
        try await World.with(Side.Options(), options) { world in
            let juliet = try await world.verona.client("juliet", "verona.example")
            let romeo = try await world.mantua.client("romeo", "mantua.example")
            for (length, fits) in [(19_000, true), (21_000, false), (10, true)] {
                let body = String(repeating: "x", count: length) + "."
                try await juliet.send("<message to='romeo@mantua.example/balcony' type='chat' id='m'><body>\(body)</body></message>")
                if fits {
                    _ = try await romeo.hear("x.</body></message>")
                } else {
                    let answer = try await juliet.hear("</message>")
                    #expect(answer.contains("<policy-violation ") && answer.contains("20000 bytes"))
                }
            }
        }
    }

    @Test("so many stanzas wait for a server that says nothing, and no more")
    func queue() async throws {
        var options = Side.Options()
        options.queueStanzasMax = 10
        try await World.with(options) { world in
            let silent = try await ServerBootstrap(group: world.verona.server.pool.group).bind(host: "127.0.0.1", port: 0).get()
            world.book.enter("padua.example", try #require(silent.localAddress?.port), isDirect: false)
            let juliet = try await world.verona.client("juliet", "verona.example")
            for number in 1...10 { try await juliet.send("<message to='benvolio@padua.example' type='chat' id='m\(number)'><body>b</body></message>") }
            // The last is answered, and no other.
            let answer = try await juliet.say("<message to='benvolio@padua.example' type='chat' id='last'><body>b</body></message>", hear: "</message>")
            #expect(answer.contains("id='last'"))
            #expect(answer.contains("resource-constraint"))
            #expect(!answer.contains("id='m"))
            try await silent.close()
        }
    }

    // MARK: Revoked certificates

    /// Mantua with a certificate that an authority has issued, and Verona, which believes the authority.
    private struct IssuedWorld {
        let authority: TestAuthority
        let certificate: Certificate
        let folder: String
        var verona = Side.Options()
        var mantua = Side.Options()

        init() throws {
            authority = try TestAuthority("Root")
            folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let key = P256.Signing.PrivateKey()
            certificate = try authority.issue(to: key.publicKey) { $0.names = [.dnsName("mantua.example")] }
            try certificate.serializeAsPEM().pemString.write(toFile: "\(folder)/mantua.pem", atomically: false, encoding: .utf8)
            try key.pemRepresentation.write(toFile: "\(folder)/mantua.key", atomically: false, encoding: .utf8)
            verona.anchors = [try authority.bytes]
            mantua.certificate = CertificateFiles(domain: "mantua.example", chain: "\(folder)/mantua.pem", key: "\(folder)/mantua.key")
        }

        /// The authority's list, in a file.
        func list(revoking certificates: [Certificate]) throws -> String {
            let path = "\(folder)/\(UUID()).crl"
            try Data(TestRevocationList(serialNumbers: certificates.map(\.serialContent)).bytes(by: authority)).write(to: URL(fileURLWithPath: path))
            return path
        }

        func remove() { try? FileManager.default.removeItem(atPath: folder) }
    }

    @Test("whose certificate is revoked is neither called nor let in, and both are told why", arguments: [false, true])
    func revoked(_ isDirect: Bool) async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        issued.verona.lists = [try issued.list(revoking: [issued.certificate])]
        (issued.verona.isDirect, issued.mantua.isDirect) = (isDirect, isDirect)
        try await World.with(issued.verona, issued.mantua) { world in
            #expect(try await refusal(world).contains("the certificate of CN=leaf is revoked, as /"))
            let romeo = try await world.mantua.client("romeo", "mantua.example")
            #expect(try await romeo.say("<message to='juliet@verona.example' type='chat' id='m'><body>b</body></message>", hear: "</message>").contains("type='error'"))
            #expect(world.verona.federation.counters.revokedCertificateCount >= 2)
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(!isWell && steps.contains { $0.topic == .certificate && $0.text.hasPrefix("revoked: that of CN=leaf, says /") })
        }
    }

    @Test("nobody else has a say about a certificate that its authority has revoked, neither of who is called nor of who calls", arguments: [false, true])
    func revokedAndAllowed(_ isRevoked: Bool) async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        let files = try #require(issued.mantua.certificate)
        let leaf = try #require(try NIOSSLCertificate.fromPEMFile(files.chain).first).toDERBytes()
        issued.verona.web = ["mantua.example": POSHTests.document([Array(SHA256.hash(data: leaf))])]
        if isRevoked { issued.verona.lists = [try issued.list(revoking: [issued.certificate])] } else { issued.verona.anchors = [] }
        try await World.with(issued.verona, issued.mantua) { world in
            guard isRevoked else { return try await world.exchange() }
            #expect(try await refusal(world).contains("is revoked, as /"))
            let romeo = try await world.mantua.client("romeo", "mantua.example")
            #expect(try await romeo.say("<message to='juliet@verona.example' type='chat' id='m'><body>b</body></message>", hear: "</message>").contains("type='error'"))
        }
    }

    @Test("who is not on the list is as welcome as without one, and a diagnosis says so")
    func notRevoked() async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        issued.verona.lists = [try issued.list(revoking: [issued.authority.certificate])]
        issued.verona.revocation = .require
        try await World.with(issued.verona, issued.mantua) { world in
            try await world.exchange()
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell && steps.contains { $0.topic == .certificate && $0.text.hasPrefix("not revoked, says /") })
        }
    }

    @Test("who says nowhere who would know is refused only where it has to be known", arguments: [RevocationSettings.Mode.off, .prefer, .require])
    func unsaid(mode: RevocationSettings.Mode) async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        issued.verona.revocation = mode
        try await World.with(issued.verona, issued.mantua) { world in
            guard mode == .require else { return try await world.exchange() }
            #expect(try await refusal(world).contains("it cannot be found out whether the certificate of CN=leaf is revoked: it says nowhere who would know"))
        }
    }

    @Test("a pinned key, and a certificate that DNS names itself, are not asked about", arguments: [false, true])
    func revocationOfPinned(_ isPinned: Bool) async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        let bytes = TestDER.serialized(issued.certificate)
        issued.verona.lists = [try issued.list(revoking: [issued.certificate])]
        if isPinned {
            let pin = Array(SHA256.hash(data: try #require(PeerCertificate.publicKey(in: bytes))))
            issued.verona.proofs = ["mantua.example": PeerProof(pins: [pin])]
        } else {
            issued.mantua.signed = .init(isSecure: true, tlsa: .success([try DANETests.record(3, .certificate, 1, of: bytes)]))
        }
        try await World.with(issued.verona, issued.mantua) { world in try await world.exchange() }
    }

    @Test("streams end when the certificate has been revoked, whoever has opened them (RFC 6120 §13.7.2.3)", arguments: [false, true])
    func revokedLater(_ isBidirectional: Bool) async throws {
        var issued = try IssuedWorld()
        defer { issued.remove() }
        let bidirection: PeerPolicy.Bidirection = isBidirectional ? .ask : .off
        (issued.verona.policy.bidirection, issued.mantua.policy.bidirection) = (bidirection, bidirection)
        try await World.with(issued.verona, issued.mantua) { world in
            try await world.exchange()
            let federation = world.verona.federation
            #expect(federation.outgoingCount + federation.incomingCount > 0)
            var settings = federation.settings
            settings.revocationFiles = try RevocationFiles([issued.list(revoking: [issued.certificate])])
            federation.apply(settings)
            await federation.keepUpRevocation(now: Fixtures.now, on: world.verona.server.pool.loops[0].loop)
            // Mantua may call again, in vain, as soon as they have ended.
            var haveEnded = false
            for _ in 0..<100_000 where !haveEnded {
                try await world.verona.server.pool.loops[0].loop.submit {}.get()
                haveEnded = federation.outgoingCount == 0 && federation.incomingCount == 0
            }
            #expect(haveEnded)
            #expect(try await refusal(world).contains("is revoked, as /"))
        }
    }

    /// In DER.
    private static func certificate(of domain: String) throws -> [UInt8] {
        try #require(try NIOSSLCertificate.fromPEMFile(Fixtures.files(domain).chain).first).toDERBytes()
    }

    private static func record(of domain: String) throws -> TLSARecord { try DANETests.record(3, .certificate, 1, of: certificate(of: domain)) }

    private static func pin(of domain: String) throws -> [UInt8] {
        Array(SHA256.hash(data: try #require(PeerCertificate.publicKey(in: certificate(of: domain)))))
    }

    /// What comes back to who writes to Mantua, in vain.
    private func refusal(_ world: World) async throws -> String {
        let juliet = try await world.verona.client("juliet", "verona.example")
        try await juliet.send("<message to='romeo@mantua.example' type='chat' id='m'><body>b</body></message>")
        return try await juliet.hear("</message>")
    }

    @Test("what DNS proves of a certificate is enough, after STARTTLS or in TLS from the first byte (RFC 7673 §3)", arguments: [false, true])
    func dane(_ isDirect: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        verona.trusts = []
        mantua.isDirect = isDirect
        mantua.signed = .init(isSecure: true, tlsa: .success([try Self.record(of: "mantua.example")]))
        try await World.with(verona, mantua) { world in try await world.exchange() }
    }

    @Test("what DNS proves of another certificate refuses this one, whoever has issued it, also where dialback is enough", arguments: [false, true])
    func daneMismatch(_ isDialback: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        if isDialback { verona.policy = PeerPolicy(requiresEncryption: false, authentication: .dialback) }
        mantua.signed = .init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")]))
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("remote-server-timeout") && answer.contains("the TLSA records of _") && answer.contains("._tcp.here.mantua.example"))
        }
    }

    @Test("what DNS cannot say of certificates is no leave to do without (RFC 7671 §2.1)", arguments: [DNSError.timedOut, .bogus("no signature"), .malformed])
    func daneUnanswered(error: DNSError) async throws {
        var mantua = Side.Options()
        mantua.signed = .init(isSecure: true, tlsa: .failure(error))
        try await World.with(.init(), mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("remote-server-timeout") && answer.contains("its TLSA records cannot be looked up"))
        }
    }

    @Test("what is not proved, or means nothing, changes nothing", arguments: [(false, true), (true, false), (true, true)])
    func daneInsecure(isSecure: Bool, isTLSASecure: Bool) async throws {
        var mantua = Side.Options()
        var record = try Self.record(of: "verona.example")
        if isSecure && isTLSASecure { record = TLSARecord(usage: 9, selector: 0, matchingType: 1, association: record.association) }
        mantua.signed = .init(isSecure: isSecure, isTLSASecure: isTLSASecure, tlsa: .success([record]))
        try await World.with(.init(), mantua) { world in try await world.exchange() }
    }

    /// Verona, whom Mantua has no authority for.
    private static func caller(_ signed: PortBook.Signed) -> (Side.Options, Side.Options) {
        var (verona, mantua) = (Side.Options(), Side.Options())
        (verona.policy.bidirection, mantua.policy.bidirection) = (.off, .off)
        verona.signed = signed
        mantua.trusts = ["mantua.example"]
        return (verona, mantua)
    }

    @Test("who calls is believed by what DNS proves of its certificate, after STARTTLS or in TLS from the first byte", arguments: [false, true])
    func incomingDANE(_ isDirect: Bool) async throws {
        var (verona, mantua) = Self.caller(.init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")])))
        mantua.isDirect = isDirect
        verona.policy.authentication = .certificate
        try await World.with(verona, mantua) { world in
            try await world.exchange()
            #expect(await world.mantua.federation.report().streams.allSatisfy { $0.method == "certificate" })
        }
    }

    @Test("what DNS proves of another certificate, or does not prove, or does not say does not help who calls", arguments: ["other", "insecure", "unproved", "silent"])
    func incomingDANEFailures(_ kind: String) async throws {
        let own = PortBook.Signed(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")]))
        var signed = own
        switch kind {
        case "other": signed.tlsa = .success([try Self.record(of: "mantua.example")])
        case "insecure": signed.isTLSASecure = false
        case "unproved": signed.isSecure = false
        default: signed.tlsa = .failure(.timedOut)
        }
        let (verona, mantua) = Self.caller(signed)
        try await World.with(verona, mantua) { world in
            #expect(try await refusal(world).contains("certificate"))
            // It can be found out later.
            world.book.enter("verona.example", try #require(world.verona.listener.ports.first), isDirect: false, own)
            try await world.exchange()
        }
    }

    @Test("beside a pin of the operator's DNS is not asked about who calls")
    func incomingDANEAndPins() async throws {
        var (verona, mantua) = Self.caller(.init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")])))
        mantua.proofs = ["verona.example": PeerProof(pins: [try Self.pin(of: "mantua.example")])]
        verona.rest = .hours(1)
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("certificate"))
            #expect(world.book.asked.withLockedValue { asked in !asked.contains { $0.type == .tlsa && $0.name.description.hasSuffix("verona.example") } })
        }
    }

    @Test("what is not found out in time is not waited for, and asks nothing more")
    func incomingDANEDeadline() async throws {
        var (verona, mantua) = Self.caller(.init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")])))
        mantua.inquiryDeadline = .milliseconds(20)
        verona.rest = .hours(1)
        try await World.with(verona, mantua) { world in
            world.book.patience.withLockedValue { $0 = .tlsa }
            #expect(try await refusal(world).contains("certificate"))
            while world.book.waiting.withLockedValue({ $0 }) > 0 { await Task.yield() }
            world.book.patience.withLockedValue { $0 = nil }
            #expect(await world.verona.federation.close("mantua.example") == 0)
            try await world.exchange()
        }
    }

    @Test("strangers have so many inquiries between them, and who has no place is as if nothing were found", arguments: [true, false])
    func incomingDANEPlaces(_ isFull: Bool) async throws {
        var (verona, mantua) = Self.caller(.init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")])))
        if isFull { mantua.inquiryDeadline = .milliseconds(20) }
        verona.rest = .hours(1)
        try await World.with(verona, mantua) { world in
            let places = world.mantua.federation.verifications
            for _ in 1...(FederationSettings().verificationsMax - (isFull ? 0 : 1)) { #expect(places.enter {}) }
            guard isFull else {
                // The last place is taken and given back, each time.
                for _ in 1...2 {
                    try await world.exchange()
                    #expect(await world.verona.federation.close("mantua.example") == 2)
                    for side in [world.verona, world.mantua] { while await !side.federation.report().isEmpty { await Task.yield() } }
                }
                return
            }
            #expect(try await refusal(world).contains("certificate"))
            places.leave()
            #expect(await world.verona.federation.close("mantua.example") == 0)
            try await world.exchange()
        }
    }

    private static func page(about domain: String) throws -> String {
        POSHTests.document([Array(SHA256.hash(data: try certificate(of: domain)))])
    }

    @Test("what the domain's web server says of its certificate is enough, on streams of both directions (RFC 7711)", arguments: [false, true])
    func posh(_ isDirect: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        (verona.trusts, mantua.trusts) = ([], [])
        (verona.policy.bidirection, mantua.policy.bidirection) = (.off, .off)
        (verona.isDirect, mantua.isDirect) = (isDirect, isDirect)
        verona.web = ["mantua.example": try Self.page(about: "mantua.example")]
        mantua.web = ["verona.example": try Self.page(about: "verona.example")]
        try await World.with(verona, mantua) { world in
            try await world.exchange()
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell, "\(steps)")
            #expect(steps.contains { $0.text == "accepted: the web server of mantua.example allows it (POSH)" })
        }
    }

    @Test("web servers are not asked unless the operator wants it, and have no say beside DNS and the operator", arguments: ["off", "other", "pins", "dane"])
    func poshHasNoSay(_ kind: String) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        verona.trusts = []
        verona.asksWebServers = kind != "off"
        verona.web = ["mantua.example": try Self.page(about: kind == "other" ? "verona.example" : "mantua.example")]
        if kind == "pins" { verona.proofs = ["mantua.example": PeerProof(pins: [try Self.pin(of: "verona.example")])] }
        if kind == "dane" { mantua.signed = .init(isSecure: true, tlsa: .success([try Self.record(of: "verona.example")])) }
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("remote-server-timeout") && answer.contains("certificate"))
        }
    }

    @Test("nor are they asked about who calls", arguments: ["off", "other", "pins"])
    func poshHasNoSayAboutCallers(_ kind: String) async throws {
        var (verona, mantua) = Self.caller(.init())
        mantua.asksWebServers = kind != "off"
        mantua.web = ["verona.example": try Self.page(about: kind == "other" ? "mantua.example" : "verona.example")]
        if kind == "pins" { mantua.proofs = ["verona.example": PeerProof(pins: [try Self.pin(of: "mantua.example")])] }
        verona.rest = .hours(1)
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("certificate"))
        }
    }

    @Test("a pinned key is enough, on streams of both directions, and DNS is not asked about it")
    func pinned() async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        (verona.trusts, mantua.trusts) = ([], [])
        (verona.policy.bidirection, mantua.policy.bidirection) = (.off, .off)
        verona.proofs = ["mantua.example": PeerProof(pins: [try Self.pin(of: "mantua.example"), try Self.pin(of: "verona.example")])]
        mantua.proofs = ["example": PeerProof(pins: [try Self.pin(of: "verona.example")])]
        mantua.signed = .init(isSecure: true, tlsa: .failure(.timedOut))
        try await World.with(verona, mantua) { world in try await world.exchange() }
    }

    @Test("a key that is not pinned is refused, whoever has issued its certificate", arguments: [true, false])
    func notPinned(isOutgoing: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        if isOutgoing {
            verona.proofs = ["mantua.example": PeerProof(pins: [try Self.pin(of: "verona.example")])]
        } else {
            mantua.proofs = ["verona.example": PeerProof(pins: [try Self.pin(of: "mantua.example")])]
        }
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("remote-server-timeout"))
            #expect(answer.contains(isOutgoing ? "none of those that are pinned" : "certificate"))
        }
    }

    private static func trust(_ domain: String) throws -> PeerTrust { PeerTrust(anchors: [try certificate(of: domain)]) }

    @Test("a server's own authorities are believed in place of the general ones, on streams of both directions, and DNS is not asked")
    func ownAuthorities() async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        (verona.trusts, mantua.trusts) = ([], [])
        (verona.policy.bidirection, mantua.policy.bidirection) = (.off, .off)
        verona.proofs = ["mantua.example": PeerProof(trust: try Self.trust("mantua.example"))]
        mantua.proofs = ["example": PeerProof(trust: try Self.trust("verona.example"))]
        mantua.signed = .init(isSecure: true, tlsa: .failure(.timedOut))
        try await World.with(verona, mantua) { world in try await world.exchange() }
    }

    @Test("whom the general authorities vouch for is refused where others are to be believed about him", arguments: [true, false])
    func otherAuthorities(isOutgoing: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        if isOutgoing {
            verona.proofs = ["mantua.example": PeerProof(trust: try Self.trust("verona.example"))]
        } else {
            mantua.proofs = ["verona.example": PeerProof(trust: try Self.trust("mantua.example"))]
        }
        try await World.with(verona, mantua) { world in
            let answer = try await refusal(world)
            #expect(answer.contains("remote-server-timeout"))
            #expect(answer.contains(isOutgoing ? "is self-signed" : "certificate"))
        }
    }

    @Test("a server that nobody knows is not found")
    func unknown() async throws {
        try await World.with { world in
            let juliet = try await world.verona.client("juliet", "verona.example")
            try await juliet.send("<message to='benvolio@padua.example' type='chat' id='m'><body>b</body></message>")
            let answer = try await juliet.hear("</message>")
            #expect(answer.contains("remote-server-"))
            #expect(answer.contains("from='benvolio@padua.example'"))
        }
    }

    @Test("operators see the stream of both sides, and what has passed on it; who ends it ends it for both")
    func report() async throws {
        try await World.with { world in
            try await world.exchange()
            let out = try #require(await world.verona.federation.report().streams.first)
            #expect(out.peer == "mantua.example" && out.domain == "verona.example" && out.direction == .outgoing)
            #expect(out.tls == "1.3" && out.method == "certificate" && out.isBidirectional)
            #expect(out.address.hasPrefix("127.0.0.1:") && out.since > 0)
            #expect(out.received > 0 && out.sent > 0)
            let `in` = try #require(await world.mantua.federation.report().about("example").streams.first)
            #expect(`in`.peer == "verona.example" && `in`.domain == "mantua.example" && `in`.direction == .incoming)
            #expect(`in`.tls == "1.3" && `in`.method == "certificate" && `in`.isBidirectional)
            #expect(`in`.sent == out.received)
            #expect(await world.mantua.federation.report().about("padua.example").isEmpty)

            #expect(await world.verona.federation.close("padua.example") == 0)
            // Mantua is below it.
            #expect(await world.verona.federation.close("example") == 1)
            for side in [world.verona, world.mantua] { while await !side.federation.report().isEmpty { await Task.yield() } }
            // The next message has a new one.
            try await world.exchange()
        }
    }

    @Test("operators see which server could not be reached and why, until they have it forgotten")
    func failures() async throws {
        var patient = Side.Options()
        patient.rest = .hours(1)
        try await World.with(patient) { world in
            let juliet = try await world.verona.client("juliet", "verona.example")
            try await juliet.send("<message to='benvolio@padua.example' type='chat' id='m'><body>b</body></message>")
            _ = try await juliet.hear("</message>")
            let report = await world.verona.federation.report()
            let failure = try #require(report.failures.first)
            #expect(failure.peer == "padua.example" && failure.domain == "verona.example" && failure.failures == 1)
            #expect(!failure.why.isEmpty)
            #expect((1...3_600_000).contains(failure.restMilliseconds))
            #expect(report.streams.isEmpty && report.calls.isEmpty)
            #expect(world.verona.federation.counters.failedCallCount == 1)
            #expect(await world.verona.federation.close("padua.example") == 0)
            #expect(await world.verona.federation.report().isEmpty)
        }
    }

    @Test("keys that were asked about are counted")
    func verifications() async throws {
        var options = Side.Options()
        options.trusts = []
        options.policy.authentication = .dialback
        try await World.with(options, options) { world in
            try await world.exchange()
            let counts = [world.verona, world.mantua].map { $0.federation.counters.confirmedKeyCount }
            #expect(counts.reduce(0, +) > 0)
            #expect(world.verona.federation.counters.rejectedKeyCount + world.mantua.federation.counters.rejectedKeyCount == 0)
        }
    }

    // MARK: Diagnosis

    /// What is told, and whether all went well.
    private func diagnose(_ peer: String, from side: Side) async -> (isWell: Bool, steps: [DiagnosisStep]) {
        let steps = NIOLockedValueBox<[DiagnosisStep]>([])
        let isWell = await side.federation.diagnose(DomainPair(remote: peer, local: "verona.example")) { step in steps.withLockedValue { $0.append(step) } }
        return (isWell, steps.withLockedValue { $0 })
    }

    @Test("a diagnosis tells every step, from the records to the answer to a ping (XEP-0199)", arguments: [false, true])
    func diagnosis(_ isDirect: Bool) async throws {
        var options = Side.Options()
        options.isDirect = isDirect
        try await World.with(options, options) { world in
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell && !steps.contains { $0.verdict == .bad })
            let before: [DiagnosisStep.Topic] = [.records, .records, .targets, .address, .address, .tlsa]
            let tls: [DiagnosisStep.Topic] = isDirect ? [.tls, .certificate, .certificate] : [.offer, .tls, .certificate, .certificate]
            let topics = before + tls + [.offer, .authentication, .authentication, .offer, .ping]
            #expect(steps.map(\.topic) == topics)
            #expect(steps.first { $0.topic == .targets }?.text.contains(isDirect ? "TLS from the first byte" : "STARTTLS") == true)
            #expect(steps.first { $0.topic == .tls }?.text == "TLS 1.3")
            let certificate = try #require(steps.first { $0.topic == .certificate }?.text)
            #expect(certificate.hasPrefix("for mantua.example; issued by ") && certificate.contains("; valid until "))
            #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.milliseconds <= $1.milliseconds })
            // Its own stream is gone again; the one by which the answer came is there.
            while await world.verona.federation.report().streams.map(\.direction) != [.incoming] { await Task.yield() }
        }
    }

    @Test("a diagnosis by dialback says so")
    func diagnosisByDialback() async throws {
        var options = Side.Options()
        options.trusts = []
        options.policy.authentication = .dialback
        try await World.with(options, options) { world in
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell, "\(steps)")
            #expect(steps.contains { $0.topic == .certificate && $0.verdict == .neutral && $0.text.hasSuffix("; dialback will do") })
            #expect(steps.contains { $0.topic == .authentication && $0.verdict == .good && $0.text == "our dialback key is accepted" })
        }
    }

    @Test("a diagnosis says why a certificate is not accepted, and at the end what to do")
    func diagnosisOfCertificate() async throws {
        var suspicious = Side.Options()
        suspicious.trusts = []
        try await World.with(suspicious) { world in
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(!isWell)
            #expect(steps.contains { $0.topic == .certificate && $0.verdict == .bad && $0.text.hasPrefix("not accepted: its certificate ") })
            #expect(steps.last?.topic == .advice)
            #expect(steps.last?.text.contains("mend its certificate") == true)
        }
    }

    @Test("a diagnosis looks at TLSA records as a call does, and they decide", arguments: [true, false])
    func diagnosisOfRecords(_ isListed: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        // Whoever is not listed is refused, whoever vouches for it.
        if isListed { verona.trusts = [] }
        mantua.signed = .init(isSecure: true, tlsa: .success([try Self.record(of: isListed ? "mantua.example" : "verona.example")]))
        try await World.with(verona, mantua) { world in
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell == isListed, "\(steps)")
            let records = try #require(steps.first { $0.topic == .tlsa })
            #expect(records.verdict == .good && records.text.hasPrefix("_") && records.text.hasSuffix(" (secure)"))
            #expect(records.text.contains("._tcp.here.mantua.example: 3 0 1 "))
            let accepted = steps.contains { $0.topic == .certificate && $0.text == "accepted: the TLSA records allow it" }
            let refused = steps.contains { $0.topic == .certificate && $0.text.hasPrefix("not accepted: its certificate is none that the TLSA records of ") }
            #expect(accepted == isListed && refused == !isListed)
        }
    }

    @Test("a diagnosis says when nothing answers about TLSA records, and does not ask beside the operator's own word", arguments: [true, false])
    func diagnosisWithoutRecords(_ isPinned: Bool) async throws {
        var (verona, mantua) = (Side.Options(), Side.Options())
        if isPinned { verona.proofs = ["mantua.example": PeerProof(pins: [try Self.pin(of: "mantua.example")])] }
        mantua.signed = .init(isSecure: true, tlsa: .failure(.timedOut))
        try await World.with(verona, mantua) { world in
            let (isWell, steps) = await diagnose("mantua.example", from: world.verona)
            #expect(isWell == isPinned, "\(steps)")
            let step = try #require(steps.first { $0.topic == .tlsa })
            #expect(step.verdict == (isPinned ? .neutral : .bad))
            #expect(step.text.contains(isPinned ? "not asked for: the configuration says" : "its TLSA records cannot be looked up"))
            if isPinned { #expect(steps.contains { $0.text.hasPrefix("accepted: it is what the configuration says") }) }
            if !isPinned { #expect(steps.last?.topic == .advice && steps.last?.text.contains("TLSA") == true) }
        }
    }

    @Test("a diagnosis ends where there is nobody")
    func diagnosisOfNobody() async throws {
        try await World.with { world in
            let (isWell, steps) = await diagnose("padua.example", from: world.verona)
            #expect(!isWell)
            #expect(steps.contains { $0.topic == .records && $0.text.hasSuffix(": none (not secured by DNSSEC)") })
            #expect(steps.contains { $0.topic == .address && $0.verdict == .bad })
            #expect(steps.last?.topic == .advice)
        }
    }

    /// What another server sees of Mantua.
    private func checkUp(_ world: World, _ domain: String = "mantua.example", machine: Set<NetworkAddress> = []) async -> (isWell: Bool, steps: [DiagnosisStep]) {
        let steps = NIOLockedValueBox<[DiagnosisStep]>([])
        let checkup = DomainCheckup(world.verona.federation, on: world.verona.server.pool.loops[0], domain, as: "doctor.invalid", machine: machine) { step in
            steps.withLockedValue { $0.append(step) }
        }
        let isWell = await checkup.run()
        return (isWell, steps.withLockedValue { $0 })
    }

    @Test("a check-up of our own domain sees what a stranger sees", arguments: [false, true])
    func checkUp(_ isDirect: Bool) async throws {
        var options = Side.Options()
        options.isDirect = isDirect
        try await World.with(options, options) { world in
            let (isWell, steps) = await checkUp(world)
            #expect(isWell && !steps.contains { $0.verdict == .bad }, "\(steps)")
            #expect(steps.contains { $0.topic == .address && $0.text.hasSuffix(": this machine") })
            #expect(steps.contains { $0.topic == .certificate && $0.verdict == .good })
            #expect(steps.last?.topic == .offer)
            #expect(steps.last?.text.contains("dialback") == true)
            // Nobody has authenticated, and nothing is left.
            while await !world.mantua.federation.report().isEmpty { await Task.yield() }
            #expect(world.verona.federation.counters.failedCallCount == 0)
        }
    }

    @Test("a check-up says what to do about a certificate that others do not accept, and about a closed port")
    func faultyCheckUp() async throws {
        var suspicious = Side.Options()
        suspicious.trusts = []
        try await World.with(suspicious) { world in
            let (isWell, steps) = await checkUp(world)
            #expect(!isWell)
            #expect(steps.contains { $0.topic == .certificate && $0.verdict == .bad })
            #expect(steps.last?.topic == .advice && steps.last?.text.contains("an authority that others trust") == true)
            // Without records the domain itself is tried at port 5269, where nobody is.
            let closed = await checkUp(world, "padua.example")
            #expect(!closed.isWell)
            #expect(closed.steps.contains { $0.topic == .records && $0.verdict == .neutral && $0.text.contains("IN SRV 0 5 5269") })
            #expect(closed.steps.last?.topic == .advice && closed.steps.last?.text.contains("port 5269") == true)
        }
    }

    @Test("a check-up compares our own TLSA records with the certificate that is shown, and says which one to publish", arguments: [true, false])
    func checkUpOfRecords(_ isListed: Bool) async throws {
        var mantua = Side.Options()
        mantua.signed = .init(isSecure: true, tlsa: .success([try Self.record(of: isListed ? "mantua.example" : "verona.example")]))
        try await World.with(.init(), mantua) { world in
            let (isWell, steps) = await checkUp(world)
            #expect(isWell == isListed, "\(steps)")
            #expect(steps.contains { $0.topic == .certificate && $0.verdict == .good })
            let records = steps.filter { $0.topic == .tlsa }
            #expect(records.map(\.verdict) == [.good, isListed ? .good : .bad])
            guard !isListed else { return }
            let key = try Self.pin(of: "mantua.example").map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
            #expect(steps.last?.topic == .advice && steps.last?.text.contains("._tcp.here.mantua.example. IN TLSA 3 1 1 \(key)'") == true)
        }
    }

    @Test("a check-up minds name servers that do not answer about TLSA records only where others would ask them", arguments: [true, false])
    func checkUpWithoutRecords(_ isSecure: Bool) async throws {
        var mantua = Side.Options()
        mantua.signed = .init(isSecure: isSecure, tlsa: .failure(.timedOut))
        try await World.with(.init(), mantua) { world in
            let (isWell, steps) = await checkUp(world)
            #expect(isWell == !isSecure)
            #expect(steps.first { $0.topic == .tlsa }?.verdict == (isSecure ? .bad : .neutral))
        }
    }

    @Test("a check-up is not content with name servers that do not answer everything", arguments: [RecordType.aaaa, .srv])
    func silentNameServers(_ type: RecordType) async throws {
        try await World.with { world in
            world.book.silence.withLockedValue { $0 = type }
            let (isWell, steps) = await checkUp(world)
            #expect(!isWell)
            #expect(steps.contains { $0.verdict == .bad && $0.text.hasSuffix("no name server answered in time") })
            #expect(steps.contains { $0.topic == .advice })
            // What it does know is looked at all the same.
            #expect(steps.contains { $0.topic == .tls } == (type == .aaaa))
        }
    }

    @Test("a certificate in a file is looked at as another server does, now and a month from now")
    func certificateFile() async throws {
        try await World.with { world in
            func check(_ file: String, of domain: String, now: Int) async -> (isWell: Bool, last: DiagnosisStep?) {
                let steps = NIOLockedValueBox<[DiagnosisStep]>([])
                let isWell = await world.verona.federation.checkCertificate(file, of: domain, now: now) { step in steps.withLockedValue { $0.append(step) } }
                return (isWell, steps.withLockedValue { $0.last })
            }
            let file = Fixtures.files("mantua.example").chain
            let good = await check(file, of: "mantua.example", now: Fixtures.now)
            #expect(good.isWell && good.last?.verdict == .good)
            let other = await check(file, of: "padua.example", now: Fixtures.now)
            #expect(!other.isWell && other.last?.topic == .advice)
            let missing = await check(file + ".not", of: "mantua.example", now: Fixtures.now)
            #expect(!missing.isWell && missing.last?.topic == .advice)
            let end = try Int(NIOSSLCertificate.fromPEMFile(file)[0].notValidAfter)
            let margin = CertificateStore.warningDays * 86_400
            #expect(await check(file, of: "mantua.example", now: end - margin - 1).isWell)
            let late = await check(file, of: "mantua.example", now: end - margin + 1)
            #expect(!late.isWell && late.last?.text.hasPrefix("renew it") == true)
        }
    }

    @Test("an answer to a ping counts only from whom it was sent to, to whom sent it, and once")
    func pings() throws {
        let pings = PeerPings()
        let heard = NIOLockedValueBox<[PeerPings.Answer]>([])
        let pair = DomainPair(remote: "mantua.example", local: "verona.example")
        func hear(_ iq: String, _ pairs: Set<DomainPair>) throws { pings.hear(try element(iq), pairs) }
        pings.await("p", pair) { answer in heard.withLockedValue { $0.append(answer) } }
        let answer = "<iq type='result' id='p' from='mantua.example' to='verona.example'/>"
        try hear(answer, [DomainPair(remote: "padua.example", local: "verona.example")])
        try hear("<iq type='result' id='q' from='mantua.example' to='verona.example'/>", [pair])
        try hear("<iq type='get' id='p' from='mantua.example' to='verona.example'/>", [pair])
        try hear("<message type='error' id='p' from='mantua.example' to='verona.example'/>", [pair])
        #expect(heard.withLockedValue { $0.isEmpty })
        try hear(answer, [pair])
        try hear(answer, [pair])
        #expect(heard.withLockedValue { $0 } == [.result])
        pings.await("r", pair) { answer in heard.withLockedValue { $0.append(answer) } }
        pings.forget("r")
        try hear("<iq type='error' id='r' from='mantua.example' to='verona.example'/>", [pair])
        #expect(heard.withLockedValue { $0.count } == 1)
    }

    private func element(_ text: String) throws -> FlatElement {
        try parseElement(ByteBuffer(string: text.replacing(" type=", with: " xmlns='jabber:client' type=")), limits: .authenticated)
    }
}

@Suite("What to do about another server")
struct PeerAdviceTests {
    private let pair = DomainPair(remote: "b.example", local: "a.example")

    @Test("every failure has a sentence, and it names what is to be changed")
    func advice() {
        func advice(_ failure: PeerCallFailure, serves: Bool = true) -> String { failure.advice(pair, serves: serves) }
        #expect(advice(.refused("no")).contains("federation.blocked"))
        #expect(advice(.lookup(.noService)).contains("spelled right"))
        #expect(advice(.lookup(.unanswered(.timedOut))).contains("federation.name-servers"))
        #expect(advice(.lookup(.unanswered(.bogus("x")))).contains("signatures"))
        #expect(advice(.stream(.noTLS)).contains("encryption: optional"))
        #expect(advice(.stream(.certificate("expired"))).contains("authentication: dialback"))
        #expect(advice(.stream(.refused(nil))).contains("a.example needs a certificate that b.example trusts"))
        #expect(advice(.stream(.dialback(.notAuthorized))).contains("a.example needs a certificate that b.example trusts"))
        #expect(advice(.stream(.invalidKey)).contains("martlet doctor"))
        #expect(advice(.stream(.dialback(.remoteServerTimeout)), serves: false).hasPrefix("start the server"))
        #expect(advice(.tooManyCalls).contains("federation.calls"))
    }

    @Test("records are told with their numbers, and whether they are secure")
    func records() throws {
        let name = try #require(DNSName("_xmpp-server._tcp.b.example"))
        let records = [
            DNSRecord.service(ServiceRecord(priority: 1, weight: 2, port: 5269, target: DNSName("x.b.example"))),
            .service(ServiceRecord(priority: 0, weight: 0, port: 0, target: nil)),
        ]
        let found = PeerDiagnosis.words(for: name, .success(DNSAnswer(.records(records), isSecure: true)))
        #expect(found == (.good, "_xmpp-server._tcp.b.example: 1 2 5269 x.b.example, 0 0 0 . (secure)"))
        #expect(PeerDiagnosis.words(for: name, .success(DNSAnswer(.noData))) == (.neutral, "_xmpp-server._tcp.b.example: none (not secured by DNSSEC)"))
        #expect(PeerDiagnosis.words(for: name, .failure(.timedOut)) == (.bad, "_xmpp-server._tcp.b.example: no name server answered in time"))
    }
}
