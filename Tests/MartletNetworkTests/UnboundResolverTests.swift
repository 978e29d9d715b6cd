import MartletNetwork
import NIOCore
import Testing

#if os(Linux)
@Suite("Name resolution through libunbound", .serialized, .enabled(if: NameServer.isInstalled, NameServer.isMissing))
struct UnboundResolverTests {
    /// Asks the server with its zones, and nobody else.
    static func settings(_ port: UInt16) -> ResolverSettings {
        var settings = ResolverSettings()
        settings.servers = ["127.0.0.1@\(port)"]
        settings.hostsFile = "/nonexistent"
        settings.trustAnchorFile = NameServer.fixture("anchors")
        return settings
    }

    static func question(_ name: String, _ type: RecordType) throws -> DNSQuestion { DNSQuestion(try #require(DNSName(name)), type) }

    static func with(_ settings: ResolverSettings, _ body: (UnboundResolver) async throws -> Void) async throws {
        let resolver = try UnboundResolver(settings)
        let result: Result<Void, any Error>
        do { result = .success(try await body(resolver)) } catch { result = .failure(error) }
        await resolver.stop()
        try result.get()
    }

    static func address(_ text: String) throws -> DNSRecord { .address(try #require(NetworkAddress(text))) }

    @Test("signed answers are secure, unsigned ones are not, forged ones are errors (RFC 4035 §4.3)")
    func validation() async throws {
        let server = try NameServer()
        try await Self.with(Self.settings(server.port)) { resolver in
            let signed = try await resolver.answer(to: Self.question("xmpp.signed.example", .a))
            #expect(signed.content == .records([try Self.address("192.0.2.11")]))
            #expect(signed.isSecure && (1...120).contains(signed.secondsToLive))
            #expect(try await resolver.answer(to: Self.question("xmpp.signed.example", .aaaa)).content == .records([Self.address("2001:db8::11")]))

            let plain = try await resolver.answer(to: Self.question("host.plain.example", .a))
            #expect(plain.content == .records([try Self.address("192.0.2.30")]))
            #expect(!plain.isSecure)

            let error = await #expect(throws: DNSError.self) { try await resolver.answer(to: Self.question("xmpp.tampered.example", .a)) }
            guard case .bogus(let why) = error else { Issue.record("\(String(describing: error))"); return }
            #expect(why.contains("xmpp.tampered.example"))
            #expect(try await resolver.answer(to: Self.question("other.tampered.example", .a)).isSecure)
        }
        var settings = Self.settings(server.port)
        settings.trustAnchorFile = nil
        try await Self.with(settings) { resolver in
            let signed = try await resolver.answer(to: Self.question("xmpp.signed.example", .a))
            #expect(!signed.isSecure)
            let tampered = try await resolver.answer(to: Self.question("xmpp.tampered.example", .a))
            #expect(tampered.content == .records([try Self.address("192.0.2.21")]))
        }
    }

    @Test("SRV and TLSA records, aliases, names that are not there and records that are not there")
    func answers() async throws {
        let server = try NameServer()
        try await Self.with(Self.settings(server.port)) { resolver in
            let services = try await resolver.answer(to: Self.question("_xmpp-server._tcp.signed.example", .srv))
            #expect(Set(services.services) == [
                ServiceRecord(priority: 10, weight: 60, port: 5269, target: DNSName("xmpp.signed.example")),
                ServiceRecord(priority: 20, weight: 0, port: 5270, target: DNSName("backup.xmpp.signed.example")),
            ])
            #expect(services.isSecure)
            let closed = try await resolver.answer(to: Self.question("_xmpp-server._tcp.closed.signed.example", .srv))
            #expect(closed.services.map(\.target) == [nil])

            let tlsa = try await resolver.answer(to: Self.question("_5269._tcp.xmpp.signed.example", .tlsa))
            #expect(tlsa.tlsa.map { [$0.usage, $0.selector, $0.matchingType] } == [[3, 1, 1]] && tlsa.tlsa.first?.association.count == 32)
            #expect(tlsa.isSecure)

            for (port, target, isSecure) in [(5270, "_5269._tcp.xmpp.signed.example", true), (5271, "tlsa.plain.example", false)] {
                let alias = try await resolver.answer(to: Self.question("_\(port)._tcp.xmpp.signed.example", .tlsa))
                #expect(alias.tlsa == tlsa.tlsa && alias.isSecure == isSecure)
                #expect(alias.canonicalName == DNSName(target))
            }

            let alias = try await resolver.answer(to: Self.question("alias.signed.example", .a))
            #expect(alias.content == .records([try Self.address("192.0.2.11")]) && alias.isSecure)
            #expect(alias.canonicalName == DNSName("xmpp.signed.example"))
            #expect(try await resolver.answer(to: Self.question("XMPP.signed.example", .a)).canonicalName == nil)
            let outside = try await resolver.answer(to: Self.question("outside.signed.example", .a))
            #expect(outside.content == .records([try Self.address("192.0.2.30")]) && !outside.isSecure)

            let nothing = try await resolver.answer(to: Self.question("signed.example", .aaaa))
            #expect(nothing.content == .noData && nothing.isSecure)
            let nobody = try await resolver.answer(to: Self.question("nobody.signed.example", .a))
            #expect(nobody.content == .noSuchName && nobody.isSecure)
            #expect(try await resolver.answer(to: Self.question("nobody.plain.example", .a)).content == .noSuchName)
        }
    }

    @Test("what is not there is remembered, too: the server may go (RFC 2308 §5)")
    func negativeCache() async throws {
        var server: NameServer? = try NameServer()
        var settings = Self.settings(try #require(server).port)
        settings.timeout = .seconds(1)
        try await Self.with(settings) { resolver in
            let nobody = try Self.question("nobody.plain.example", .srv)
            #expect(try await resolver.answer(to: nobody).content == .noSuchName)
            server = nil
            #expect(try await resolver.answer(to: nobody).content == .noSuchName)
            #expect(server == nil)
        }
    }

    @Test("a server that says nothing is given up in time; whoever waits for a turn, or joined, hears so, too")
    func timeout() async throws {
        let silence = try BoundSocket()
        var settings = Self.settings(silence.port)
        settings.timeout = .milliseconds(50)
        settings.questionsMax = 1
        settings.waitersMax = 3
        try await Self.with(settings) { resolver in
            let names = ["a.plain.example", "a.plain.example", "b.plain.example"]
            let errors = await withTaskGroup(of: DNSError?.self) { group in
                for name in names { group.addTask { await Self.error(resolver, name) } }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(errors == [.timedOut, .timedOut, .timedOut])
        }
    }

    @Test("stopping ends whatever is under way, and the number of those who wait is bounded")
    func stopping() async throws {
        let silence = try BoundSocket()
        var settings = Self.settings(silence.port)
        settings.waitersMax = 2
        let resolver = try UnboundResolver(settings)
        let errors = await withTaskGroup(of: DNSError?.self) { group in
            for index in 1...3 { group.addTask { await Self.error(resolver, "host\(index).plain.example") } }
            // The third is one too many. The others are there until the resolver stops.
            var errors = [await group.next() ?? nil]
            await resolver.stop()
            for await error in group { errors.append(error) }
            return errors
        }
        #expect(errors == [.overloaded, .stopped, .stopped])
        #expect(await Self.error(resolver, "plain.example") == .stopped)
        await resolver.stop()
    }

    private static func error(_ resolver: UnboundResolver, _ name: String) async -> DNSError? {
        do throws(DNSError) {
            _ = try await resolver.answer(to: DNSQuestion(DNSName(name) ?? QuestionQueueTests.verona, .a))
            return nil
        } catch {
            return error
        }
    }

    @Test("names of the hosts file come before DNS, and are not secure")
    func hosts() async throws {
        let server = try NameServer()
        var settings = Self.settings(server.port)
        settings.hostsFile = NameServer.fixture("hosts")
        try await Self.with(settings) { resolver in
            let answer = try await resolver.answer(to: Self.question("xmpp.signed.example", .a))
            #expect(answer.content == .records([try Self.address("192.0.2.99")]) && !answer.isSecure)
        }
    }

    @Test("files that cannot be read are named")
    func unreadable() {
        var settings = ResolverSettings()
        settings.resolvConf = "/nonexistent/resolv.conf"
        #expect(Self.fault(settings) == "/nonexistent/resolv.conf cannot be read: No such file or directory")
        settings.servers = ["127.0.0.1@53"]
        settings.hostsFile = "/etc"
        #expect(Self.fault(settings) == "/etc cannot be read: Is a directory")
        settings.hostsFile = "/nonexistent"
        settings.trustAnchorFile = "/nonexistent/root.key"
        #expect(Self.fault(settings) == "/nonexistent/root.key cannot be read: No such file or directory")
        settings.trustAnchorFile = Fixtures.certificate("text.pem")
        #expect(Self.fault(settings)?.hasPrefix("the resolver refuses \(Fixtures.certificate("text.pem"))") == true)
        settings.trustAnchorFile = nil
        #expect(Self.fault(settings) == nil)
    }

    @Test("a server is an address with a port", arguments: ["", "localhost", "127.0.0.1@", "127.0.0.1@0", "127.0.0.1@65536", "127.0.0.1:53"])
    func noServers(text: String) {
        var settings = ResolverSettings()
        settings.servers = [text]
        #expect(Self.fault(settings)?.contains("is not the address of a name server") == true)
    }

    private static func fault(_ settings: ResolverSettings) -> String? {
        do throws(ResolverError) {
            _ = try UnboundResolver(settings)
            return nil
        } catch {
            return error.description
        }
    }
}
#endif
