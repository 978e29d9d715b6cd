import Crypto
import Foundation
import MartletNetwork
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import X509

/// An authority, what it publishes over HTTP, and somebody who asks.
private final class RevocationWorld: Sendable {
    let authority: TestAuthority
    let checker: RevocationChecker
    let server: ScriptedHTTPServer
    let group: MultiThreadedEventLoopGroup
    /// By path; what is not in it is not answered.
    let published = NIOLockedValueBox<[String: @Sendable ([UInt8]) -> [UInt8]]>([:])

    private init(_ settings: RevocationSettings, allowing: [String]) async throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        authority = try TestAuthority("Root")
        let published = published
        server = try await ScriptedHTTPServer(on: group, bytes: { head, content in
            let path = String(head.split(separator: " ")[1])
            return published.withLockedValue { $0[path] }?(content)
        })
        let address = DNSAnswer(.records([.address(NetworkAddress("127.0.0.1")!)]))
        let resolver = TableResolver([DNSQuestion(DNSName("verona.example")!, .a): .success(address)])
        checker = RevocationChecker(settings, Dialler(resolver, policy: AddressPolicy(allowed: allowing.compactMap { NetworkBlock($0) })))
    }

    static func with(
        allowing: [String] = ["127.0.0.0/8"], settings change: (inout RevocationSettings) -> Void = { _ in }, _ body: (RevocationWorld) async throws -> Void
    ) async throws {
        var settings = RevocationSettings()
        settings.wait = .seconds(20)
        change(&settings)
        let world = try await RevocationWorld(settings, allowing: allowing)
        try await body(world)
        try await world.server.stop()
        try await world.group.shutdownGracefully()
    }

    func url(_ path: String) -> String { "http://verona.example:\(server.port)\(path)" }

    func publish(_ path: String, _ list: TestRevocationList) throws {
        let bytes = try list.bytes(by: authority)
        published.withLockedValue { $0[path] = { _ in bytes } }
    }

    /// Answers of a responder.
    func answer(_ path: String, _ answer: TestResponderAnswer) {
        let key = authority.key
        published.withLockedValue { $0[path] = { (try? answer.bytes(to: $0, signedBy: key)) ?? [] } }
    }

    func finding(_ certificate: Certificate, now: Int = Fixtures.now, waits: Bool = true) async -> RevocationFinding {
        await finding([certificate, authority.certificate], now: now, waits: waits)
    }

    func finding(_ chain: [Certificate], now: Int = Fixtures.now, waits: Bool = true) async -> RevocationFinding {
        await checker.finding(about: chain, now: now, on: group.next(), until: .now() + (waits ? checker.settings.wait : .zero))
    }

    var paths: [String] { server.requests.map { String($0.split(separator: " ")[1]) } }

    /// Waits for fetches that nobody waits for.
    func settle(_ isSettled: () -> Bool) async throws {
        for _ in 0..<100_000 where !isSettled() {
            try await group.next().submit {}.get()
            await Task.yield()
        }
        #expect(isSettled())
    }
}

@Suite("Whether certificates are revoked (RFC 5280 §6.3, RFC 6960)")
struct RevocationCheckerTests {
    @Test("a list that the certificate names is fetched, and remembered")
    func list() async throws {
        try await RevocationWorld.with { world in
            let good = try world.authority.certificate(lists: [world.url("/a.crl")])
            let bad = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList(serialNumbers: [bad.serialContent]))
            #expect(await world.finding(good) == .good(by: world.url("/a.crl")))
            #expect(await world.finding(bad) == .revoked("CN=leaf", by: world.url("/a.crl")))
            #expect(await world.finding(bad, waits: false) == .revoked("CN=leaf", by: world.url("/a.crl")))
            #expect(world.paths == ["/a.crl"])
        }
    }

    @Test("a responder is asked first, and its answer remembered; a list stands in for it")
    func responder() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")], responders: [world.url("/ocsp")])
            world.answer("/ocsp", TestResponderAnswer(status: .revoked))
            try world.publish("/a.crl", TestRevocationList())
            for _ in 0..<2 { #expect(await world.finding(certificate) == .revoked("CN=leaf", by: world.url("/ocsp"))) }
            #expect(world.paths == ["/ocsp"] && world.server.requests[0].contains("Content-Type: application/ocsp-request\r\n"))
            world.answer("/ocsp", TestResponderAnswer(status: .unknown))
            let other = try world.authority.certificate(lists: [world.url("/a.crl")], responders: [world.url("/ocsp")])
            #expect(await world.finding(other) == .good(by: world.url("/a.crl")))
        }
    }

    @Test("a certificate that names nobody, or is trusted itself, is not asked about")
    func unsaid() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate()
            #expect(await world.finding(certificate) == .unsaid("CN=leaf"))
            #expect(await world.finding([world.authority.certificate]) == .notAsked)
            #expect(world.paths == [])
        }
        try await RevocationWorld.with(settings: { $0.mode = .off }) { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            #expect(await world.finding(certificate) == .notAsked)
            #expect(world.paths == [])
        }
    }

    @Test("all of a chain is asked about but the anchor, and one revoked authority is enough")
    func chain() async throws {
        try await RevocationWorld.with { world in
            let middle = try TestAuthority("Middle", by: world.authority) { $0.more = TestAuthority.places(lists: [world.url("/root.crl")]) }
            let leaf = try middle.certificate()
            let chain = [leaf, middle.certificate, world.authority.certificate]
            try world.publish("/root.crl", TestRevocationList())
            #expect(await world.finding(chain) == .unsaid("CN=leaf"))
            try world.publish("/root.crl", TestRevocationList(serialNumbers: [middle.certificate.serialContent]))
            _ = await world.checker.keepUp(now: Fixtures.now + 86_400, on: world.group.next())
            #expect(await world.finding(chain, now: Fixtures.now + 86_400) == .revoked("CN=Middle", by: world.url("/root.crl")))
        }
    }

    @Test("what is not answered in time, or is of no use, is not known; why is told, and not asked again for a while")
    func failures() async throws {
        try await RevocationWorld.with(settings: { $0.wait = .milliseconds(100) }) { world in
            let silent = try world.authority.certificate(lists: [world.url("/silent")])
            #expect(await world.finding(silent) == .unknown("CN=leaf", why: "\(world.url("/silent")): no answer in time"))
        }
        try await RevocationWorld.with(settings: { $0.failureLifetime = 10 }) { world in
            let forged = try world.authority.certificate(lists: [world.url("/forged")])
            try world.publish("/forged", TestRevocationList(isForged: true))
            for now in [0, 9] {
                let finding = await world.finding(forged, now: Fixtures.now + now)
                #expect(finding == .unknown("CN=leaf", why: "\(world.url("/forged")): its signature is not the issuer's"))
            }
            #expect(world.paths == ["/forged"])
            try world.publish("/forged", TestRevocationList())
            #expect(await world.finding(forged, now: Fixtures.now + 10) == .good(by: world.url("/forged")))
        }
    }

    @Test("nothing is asked of addresses that may not be dialled, nor of hosts that are not in the list (rule 32)")
    func hosts() async throws {
        try await RevocationWorld.with(allowing: []) { world in
            guard case .unknown(_, let why) = await world.finding(try world.authority.certificate(lists: [world.url("/a.crl")])) else {
                return #expect(Bool(false), "it is known")
            }
            #expect(why.contains("a loopback address is not dialled") && world.paths == [])
        }
        try await RevocationWorld.with(settings: { $0.hosts = [DNSName("mantua.example")!] }) { world in
            let url = world.url("/a.crl")
            let certificate = try world.authority.certificate(lists: [url])
            #expect(await world.finding(certificate) == .unknown("CN=leaf", why: "\(url): \(url): nothing may be fetched from there"))
            #expect(world.paths == [])
        }
    }

    @Test("places of other kinds are passed over, and of each kind two are asked")
    func places() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: ["ldap://verona.example/cn=a"] + (1...3).map { world.url("/\($0).crl") })
            for number in 1...3 { try world.publish("/\(number).crl", TestRevocationList(isForged: true)) }
            guard case .unknown = await world.finding(certificate) else { return #expect(Bool(false), "it is known") }
            #expect(world.paths == ["/1.crl", "/2.crl"])
        }
    }

    @Test("who asks while it is being fetched waits for the same fetch")
    func together() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList())
            let findings = await withTaskGroup(of: RevocationFinding.self) { tasks in
                for _ in 0..<8 { tasks.addTask { await world.finding(certificate) } }
                return await tasks.reduce(into: []) { $0.append($1) }
            }
            #expect(findings == Array(repeating: .good(by: world.url("/a.crl")), count: 8))
            #expect(world.paths == ["/a.crl"])
        }
    }

    @Test("so many fetches are under way at a time, and no more")
    func fetchesMax() async throws {
        try await RevocationWorld.with(settings: { $0.wait = .milliseconds(50); $0.fetchesMax = 1 }) { world in
            let silent = try world.authority.certificate(lists: [world.url("/silent")])
            let other = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList())
            _ = await world.finding(silent)
            #expect(await world.finding(other) == .unknown("CN=leaf", why: "\(world.url("/a.crl")): too much is being fetched"))
        }
    }

    @Test("what is not known may be fetched for later, and nobody waits for it")
    func forLater() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList(serialNumbers: [certificate.serialContent]))
            let (chain, loop) = ([certificate, world.authority.certificate], world.group.next())
            _ = await world.checker.finding(about: chain, now: Fixtures.now, on: loop, until: .now())
            #expect(world.checker.fetchCount == 0 && world.paths.isEmpty)
            let before = world.checker.changes
            let finding = await world.checker.finding(about: chain, now: Fixtures.now, on: loop, until: .now(), fetchesForLater: true)
            guard case .unknown = finding else { Issue.record("\(finding)"); return }
            try await world.settle { world.checker.changes != before }
            #expect(await world.finding(certificate, waits: false) == .revoked("CN=leaf", by: world.url("/a.crl")))
        }
    }

    @Test("what is in use is fetched anew at four fifths of its time, and what is not is forgotten at its end")
    func refresh() async throws {
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList(validity: 0...1_000))
            let loop = world.group.next()
            #expect(await world.finding(certificate) == .good(by: world.url("/a.crl")))
            try world.publish("/a.crl", TestRevocationList(serialNumbers: [certificate.serialContent], validity: 0...2_000))
            let before = world.checker.changes
            _ = await world.checker.keepUp(now: Fixtures.now + 799, on: loop)
            #expect(world.checker.fetchCount == 0)
            #expect(await world.finding(certificate, now: Fixtures.now + 799) == .good(by: world.url("/a.crl")))
            _ = await world.checker.keepUp(now: Fixtures.now + 800, on: loop)
            try await world.settle { world.checker.changes != before }
            #expect(await world.finding(certificate, now: Fixtures.now + 800, waits: false) == .revoked("CN=leaf", by: world.url("/a.crl")))
            #expect(world.paths.count == 2 && world.checker.remembered.count == 1)
            _ = await world.checker.keepUp(now: Fixtures.now + 2_000, on: loop)
            #expect(world.checker.remembered == (0, 0))
        }
    }

    @Test("a list that cannot be fetched anew counts until its end, and is tried again meanwhile")
    func failedRefresh() async throws {
        try await RevocationWorld.with(settings: { $0.failureLifetime = 10 }) { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            try world.publish("/a.crl", TestRevocationList(validity: 0...1_000))
            _ = await world.finding(certificate)
            try world.publish("/a.crl", TestRevocationList(isForged: true))
            for (now, count) in [(900, 2), (909, 2), (910, 3)] {
                #expect(await world.finding(certificate, now: Fixtures.now + now) == .good(by: world.url("/a.crl")))
                try await world.settle { world.paths.count == count && world.checker.fetchCount == 0 }
            }
            guard case .unknown = await world.finding(certificate, now: Fixtures.now + 1_000) else { return #expect(Bool(false), "it is known") }
        }
    }

    @Test("so much is remembered, and what was not asked for longest is forgotten", arguments: [true, false])
    func remembered(byCount: Bool) async throws {
        let bytes = 2 * (1_024 + 17 * 100)
        try await RevocationWorld.with(settings: { if byCount { $0.rememberedMax = 2 } else { $0.rememberedBytesMax = bytes } }) { world in
            let numbers = (0..<100).map { [UInt8(1 + $0)] + Array(repeating: 7, count: 16) }
            let certificates = try (1...3).map { try world.authority.certificate(lists: [world.url("/\($0).crl")]) }
            for number in 1...3 { try world.publish("/\(number).crl", TestRevocationList(serialNumbers: numbers)) }
            for (index, certificate) in [0, 1, 0, 2, 0, 1].map({ ($0, certificates[$0]) }).enumerated() {
                #expect(await world.finding(certificate.1, now: Fixtures.now + index) == .good(by: world.url("/\(certificate.0 + 1).crl")))
            }
            #expect(world.paths == ["/1.crl", "/2.crl", "/3.crl", "/2.crl"])
            #expect(world.checker.remembered == (2, bytes))
        }
    }

    // MARK: Files

    @Test("lists in files and folders come first, in DER and PEM, and are read anew when they change")
    func files() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func write(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
        func pem(_ bytes: [UInt8]) -> [UInt8] {
            Array("-----BEGIN X509 CRL-----\n\(Data(bytes).base64EncodedString(options: .lineLength64Characters))\n-----END X509 CRL-----\n".utf8)
        }
        try await RevocationWorld.with { world in
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            let revoking = try TestRevocationList(serialNumbers: [certificate.serialContent]).bytes(by: world.authority)
            try write("a.crl", TestRevocationList().bytes(by: world.authority))
            try write("b.pem", pem(TestRevocationList().bytes(by: TestAuthority("Other"))) + pem(TestRevocationList().bytes(by: TestAuthority("Root"))))
            let files = try RevocationFiles([folder])
            #expect(files.count == 3)
            world.checker.apply(world.checker.settings, files)
            #expect(await world.finding(certificate) == .good(by: "\(folder)/a.crl"))
            try write("c.pem", pem(revoking))
            let before = world.checker.changes
            #expect(await world.checker.keepUp(now: Fixtures.now, on: world.group.next()) == [])
            #expect(world.checker.changes != before)
            #expect(await world.finding(certificate) == .revoked("CN=leaf", by: "\(folder)/c.pem"))
            try write("c.pem", Array("nonsense".utf8))
            #expect(await world.checker.keepUp(now: Fixtures.now, on: world.group.next()).map(\.path) == ["\(folder)/c.pem"])
            #expect(await world.finding(certificate) == .revoked("CN=leaf", by: "\(folder)/c.pem"))
            #expect(world.paths == [])
            #expect(throws: RevocationFileError.self) { try RevocationFiles([folder]) }
        }
    }

    @Test("a list in a file that is forged or out of date is told of, and others are asked")
    func uselessFiles() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await RevocationWorld.with { world in
            let lists = [TestRevocationList(isForged: true), TestRevocationList(validity: -1_000...(-301))]
            for (name, list) in zip(["a", "b"], lists) { try Data(list.bytes(by: world.authority)).write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
            world.checker.apply(world.checker.settings, try RevocationFiles(["\(folder)/a", "\(folder)/b"]))
            let files = try RevocationFiles(["\(folder)/a", "\(folder)/b"])
            #expect(files.outdated(at: Fixtures.now) == ["\(folder)/b"] && files.outdated(at: Fixtures.now - 500).isEmpty)
            guard case .unknown(_, let why) = await world.finding(try world.authority.certificate()) else { return #expect(Bool(false), "it is known") }
            #expect(why == "\(folder)/a: its signature is not the issuer's; \(folder)/b: it is out of date since 2027-01-15T07:54:59Z")
            try world.publish("/a.crl", TestRevocationList())
            let certificate = try world.authority.certificate(lists: [world.url("/a.crl")])
            #expect(await world.finding(certificate) == .good(by: world.url("/a.crl")))
        }
    }

    @Test("there may be 256 files")
    func filesMax() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let list = Data(try TestRevocationList().bytes(by: TestAuthority("Root")))
        for number in 1...RevocationFiles.filesMax { try list.write(to: URL(fileURLWithPath: "\(folder)/\(number)")) }
        #expect(try RevocationFiles([folder]).count == 256)
        try list.write(to: URL(fileURLWithPath: "\(folder)/257"))
        #expect(throws: RevocationFileError.self) { try RevocationFiles([folder]) }
        #expect(throws: RevocationFileError.self) { try RevocationFiles(["\(folder)/0"]) }
    }

    // MARK: What comes of it

    @Test("what is revoked is refused; what is not known is, where it has to be")
    func modes() {
        let unknown = RevocationFinding.unknown("CN=leaf", why: "no answer")
        #expect(RevocationFinding.good(by: "a").fault(.require) == nil && RevocationFinding.notAsked.fault(.require) == nil)
        #expect(unknown.fault(.prefer) == nil && RevocationFinding.unsaid("CN=leaf").fault(.prefer) == nil)
        #expect(unknown.fault(.require)?.description == "it cannot be found out whether the certificate of CN=leaf is revoked: no answer")
        #expect(RevocationFinding.unsaid("CN=leaf").fault(.require) != nil)
        let revoked = RevocationFinding.revoked("CN=leaf", by: "a.crl").fault(.prefer)
        #expect(revoked?.description == "the certificate of CN=leaf is revoked, as a.crl says: it needs another one")
    }
}
