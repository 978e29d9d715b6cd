import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import Testing
import X509

@Suite("Whether DNS allows what a server shows that calls (RFC 7712, RFC 7673)")
struct CertificateInquiryTests {
    /// DNS as a table, which remembers what was asked.
    final class Table: Resolver {
        private let table: TableResolver
        let asked = NIOLockedValueBox<[DNSQuestion]>([])

        init(_ answers: [DNSQuestion: ServiceLookupTests.Answer]) { table = TableResolver(answers) }

        func answer(to question: DNSQuestion) async throws(DNSError) -> DNSAnswer {
            asked.withLockedValue { $0.append(question) }
            return try await table.answer(to: question)
        }
    }

    static let own = Result { try TestAuthority.selfSigned(.dnsName("verona.example")) }

    static func question(_ name: String, _ type: RecordType) throws -> DNSQuestion { DNSQuestion(try #require(DNSName(name)), type) }

    static func allows(_ table: Table, overrides: [BareJID: [DialTarget]] = [:]) async throws -> Bool {
        let domain = try BareJID(parsing: "verona.example")
        return await ServiceLookup(table, overrides: overrides).allows([try own.get()], of: domain, PeerTrust(anchors: []), now: Fixtures.now)
    }

    /// Verona, served by so many hosts, the last of which has a record about the certificate.
    static func table(hosts: Int, isSecure: Bool = true) throws -> Table {
        let services = (1...hosts).map { ServiceLookupTests.record(UInt16($0), 0, 5269, "h\($0).example") }
        let record = try DANETests.record(3, .publicKey, 1, of: own.get())
        return Table([
            try question("_xmpp-server._tcp.verona.example", .srv): .success(DNSAnswer(.records(services.map { .service($0) }), isSecure: isSecure)),
            try question("_5269._tcp.h\(hosts).example", .tlsa): ServiceLookupTests.found(record),
        ])
    }

    @Test("any host of the domain may have called, of those that are called themselves", arguments: [ServicePlan.targetsMax, ServicePlan.targetsMax + 1])
    func hosts(count: Int) async throws {
        let table = try Self.table(hosts: count)
        #expect(try await Self.allows(table) == (count == ServicePlan.targetsMax))
        #expect(table.asked.withLockedValue { asked in asked.count { $0.type == .tlsa } } == ServicePlan.targetsMax)
    }

    @Test("no host is looked up that does not provably serve the domain")
    func insecure() async throws {
        let table = try Self.table(hosts: 1, isSecure: false)
        #expect(try await !Self.allows(table))
        #expect(table.asked.withLockedValue { $0.allSatisfy { $0.type == .srv } })
    }

    @Test("what cannot be found out about one host is no obstacle for the next")
    func failures() async throws {
        let services = [ServiceLookupTests.record(1, 0, 5269, "h1.example"), ServiceLookupTests.record(2, 0, 5269, "h2.example")]
        let record = try DANETests.record(3, .publicKey, 1, of: Self.own.get())
        let table = Table([
            try Self.question("_xmpp-server._tcp.verona.example", .srv): .success(DNSAnswer(.records(services.map { .service($0) }), isSecure: true)),
            try Self.question("_5269._tcp.h1.example", .tlsa): .failure(.timedOut), try Self.question("h1.example", .a): .failure(.bogus("x")),
            try Self.question("_5269._tcp.h2.example", .tlsa): ServiceLookupTests.found(record),
        ])
        #expect(try await Self.allows(table))
    }

    @Test("the records may be where a host's name leads, if that is secure (RFC 7671 §7)", arguments: [(RecordType.a, true), (.aaaa, true), (.a, false)])
    func aliases(type: RecordType, isSecure: Bool) async throws {
        let address = NetworkAddress(type == .a ? "192.0.2.1" : "2001:db8::1")
        let record = try DANETests.record(3, .publicKey, 1, of: Self.own.get())
        let table = Table([
            try Self.question("_xmpp-server._tcp.verona.example", .srv): ServiceLookupTests.answer(ServiceLookupTests.record(1, 0, 5269, "h1.example"), isSecure: true),
            try Self.question("h1.example", type): .success(
                DNSAnswer(.records([.address(try #require(address))]), canonicalName: DNSName("host.padua.example"), isSecure: isSecure)),
            try Self.question("_5269._tcp.host.padua.example", .tlsa): ServiceLookupTests.found(record),
        ])
        #expect(try await Self.allows(table) == isSecure)
    }

    @Test("where the operator says that the domain is served counts as proved")
    func overrides() async throws {
        let record = try DANETests.record(3, .publicKey, 1, of: Self.own.get())
        let table = Table([try Self.question("_5269._tcp.h1.example", .tlsa): ServiceLookupTests.found(record)])
        let target = DialTarget(.name(try #require(DNSName("h1.example"))), isSecure: true)
        #expect(try await Self.allows(table, overrides: [try BareJID(parsing: "verona.example"): [target]]))
    }

    @Test("once nobody wants to know any more, nothing is asked")
    func cancelled() async throws {
        let table = try Self.table(hosts: 3)
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await Self.allows(table)
        }
        #expect(try await !task.value)
        #expect(table.asked.withLockedValue { $0.allSatisfy { $0.type == .srv } })
    }
}
