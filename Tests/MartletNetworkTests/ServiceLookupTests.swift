import MartletNetwork
import MartletXMPP
import Testing

/// DNS as a table. What is not in it does not exist.
final class TableResolver: Resolver {
    private let answers: [DNSQuestion: Result<DNSAnswer, DNSError>]

    init(_ answers: [DNSQuestion: Result<DNSAnswer, DNSError>]) { self.answers = answers }

    func answer(to question: DNSQuestion) async throws(DNSError) -> DNSAnswer { try (answers[question] ?? .success(DNSAnswer(.noSuchName))).get() }
}

@Suite("Where a domain is served (RFC 6120 §3.2, XEP-0368)")
struct ServiceLookupTests {
    typealias Answer = Result<DNSAnswer, DNSError>

    static let verona = QuestionQueueTests.verona
    static let none: Answer = .success(DNSAnswer(.noSuchName))

    static func record(_ priority: UInt16, _ weight: UInt16, _ port: UInt16, _ target: String) -> ServiceRecord {
        ServiceRecord(priority: priority, weight: weight, port: port, target: DNSName(target))
    }

    static func answer(_ records: ServiceRecord..., isSecure: Bool = false) -> Answer {
        .success(DNSAnswer(.records(records.map { .service($0) }), isSecure: isSecure))
    }

    /// The targets as text, with `s` behind those for direct TLS, and `!` behind the secure ones.
    static func plan(_ startTLS: Answer, _ direct: Answer = none, draw: (ClosedRange<Int>) -> Int = \.lowerBound) throws(ServiceLookupError) -> [String] {
        try ServicePlan.targets(of: verona, startTLS: startTLS, direct: direct, draw: draw)
            .map { "\($0)\($0.tls == .direct ? "s" : "")\($0.isSecure ? "!" : "")" }
    }

    @Test("both sets of records are one, by priority (XEP-0368 §3)")
    func merged() throws {
        let startTLS = Self.answer(Self.record(20, 0, 5269, "b.example"), Self.record(5, 0, 5269, "a.example"))
        let direct = Self.answer(Self.record(10, 0, 443, "a.example"), isSecure: true)
        #expect(try Self.plan(startTLS, direct) == ["a.example:5269", "a.example:443s!", "b.example:5269"])
    }

    @Test("without SRV records the domain itself is dialled, securely if there are provably none")
    func fallBack() throws {
        #expect(try Self.plan(Self.none) == ["verona.example:5269"])
        let proved = Answer.success(DNSAnswer(.noData, isSecure: true))
        #expect(try Self.plan(proved, proved) == ["verona.example:5269!"])
        #expect(try Self.plan(proved, Self.none) == ["verona.example:5269"])
    }

    @Test("a domain whose target is the root has no service, and is not dialled itself (RFC 2782, XEP-0368 §3)")
    func noService() throws {
        let root = Self.answer(Self.record(0, 0, 0, "."))
        let some = Self.answer(Self.record(0, 0, 5269, "a.example"))
        for (startTLS, direct) in [(root, Self.none), (Self.none, root), (root, root), (Self.answer(Self.record(0, 0, 0, "a.example")), Self.none)] {
            #expect(throws: ServiceLookupError.noService) { try Self.plan(startTLS, direct) }
        }
        #expect(try Self.plan(some, root) == ["a.example:5269"])
        #expect(try Self.plan(root, some) == ["a.example:5269s"])
        #expect(ServiceLookupError.noService.stanzaError == .remoteServerNotFound)
    }

    @Test("one answer with records is enough; without one, nothing is guessed", arguments: [DNSError.timedOut, .bogus("why"), .overloaded])
    func failures(error: DNSError) throws {
        let some = Self.answer(Self.record(0, 0, 5269, "a.example"))
        #expect(try Self.plan(some, .failure(error)) == ["a.example:5269"])
        #expect(try Self.plan(.failure(error), some) == ["a.example:5269s"])
        for (startTLS, direct) in [(Answer.failure(error), Self.none), (Self.none, .failure(error)), (.failure(error), .failure(error))] {
            #expect(throws: ServiceLookupError.unanswered(error)) { try Self.plan(startTLS, direct) }
        }
        #expect(ServiceLookupError.unanswered(error).stanzaError == .remoteServerTimeout)
    }

    @Test("what is drawn chooses by weight; those without weight only a zero finds (RFC 2782)", arguments: [
        ([0, 0, 0, 0], "zero one three six"), ([1, 0, 0, 0], "one zero three six"), ([2, 1, 0, 0], "three one zero six"),
        ([4, 4, 1, 0], "three six one zero"), ([5, 4, 0, 0], "six three zero one"), ([10, 4, 1, 0], "six three one zero"),
    ])
    func weights(drawn: [Int], order: String) throws {
        let records = Self.answer(Self.record(1, 1, 1, "one"), Self.record(1, 3, 1, "three"), Self.record(1, 0, 1, "zero"), Self.record(1, 6, 1, "six"))
        var ranges: [ClosedRange<Int>] = []
        let plan = try Self.plan(records) { range in
            ranges.append(range)
            return drawn[ranges.count - 1]
        }
        #expect(plan.map { String($0.dropLast(2)) } == order.split(separator: " ").map(String.init))
        #expect(ranges.first == 0...10 && ranges.count == 4)
    }

    @Test("the largest weights do not overflow, and no more targets are tried than the limit")
    func many() throws {
        for count in [ServicePlan.targetsMax, ServicePlan.targetsMax + 1] {
            let records = (0..<count).map { DNSRecord.service(Self.record(0, .max, UInt16($0 + 1), "a.example")) }
            let targets = try Self.plan(.success(DNSAnswer(.records(records))), draw: \.upperBound)
            #expect(targets.count == ServicePlan.targetsMax && Set(targets).count == ServicePlan.targetsMax)
        }
    }

    // MARK: Asking

    static func domain(_ text: String) throws -> BareJID { try BareJID(parsing: text) }

    static func service(_ name: String) throws -> DNSQuestion { DNSQuestion(try #require(DNSName(name)), .srv) }

    @Test("domains are asked for by their A-labels (RFC 6120 §13.7.1.4, RFC 5890)")
    func internationalised() async throws {
        let lookup = ServiceLookup(TableResolver([
            try Self.service("_xmpps-server._tcp.xn--bcher-kva.example"): Self.answer(Self.record(0, 0, 5270, "xmpp.xn--bcher-kva.example"))
        ]))
        let targets = try await lookup.targets(of: Self.domain("Bücher.example"))
        #expect(targets == [DialTarget(.name(try #require(DNSName("xmpp.xn--bcher-kva.example"))), port: 5270, .direct)])
    }

    @Test("what the configuration says is not looked up")
    func overrides() async throws {
        let address = DialTarget(.address(try #require(NetworkAddress("10.0.0.1"))), port: 1, .direct, isSecure: true)
        let resolver = TableResolver([try Self.service("_xmpp-server._tcp.verona.example"): .failure(.timedOut)])
        let lookup = ServiceLookup(resolver, overrides: [try Self.domain("verona.example"): [address], try Self.domain("mantua.example"): []])
        #expect(try await lookup.targets(of: Self.domain("verona.example")) == [address])
        #expect(try await lookup.targets(of: Self.domain("mantua.example")) == [DialTarget(.name(try #require(DNSName("mantua.example"))))])
        await #expect(throws: ServiceLookupError.unanswered(.timedOut)) {
            try await ServiceLookup(resolver).targets(of: Self.domain("verona.example"))
        }
    }

    // MARK: Certificates

    static let host = DNSName("xmpp.verona.example")!
    static let canonical = DNSName("host.padua.example")!
    /// Of two hosts, told apart by what it says.
    static func tlsa(_ byte: UInt8, usage: UInt8 = 3) -> TLSARecord {
        TLSARecord(usage: usage, selector: 1, matchingType: 1, association: Array(repeating: byte, count: 32))
    }

    /// The name of the records that were found, or `nil` for none.
    static func records(_ answers: [DNSName: Answer], leadingTo canonicalHost: DNSName?) async throws -> CertificateRecords? {
        let table = Dictionary(uniqueKeysWithValues: try answers.map { (DNSQuestion(try #require($0.service("_5269._tcp")), .tlsa), $1) })
        return try await ServiceLookup(TableResolver(table)).certificates(of: DialTarget(.name(host)), leadingTo: canonicalHost, for: domain("verona.example"))
    }

    static func found(_ records: TLSARecord..., isSecure: Bool = true) -> Answer { .success(DNSAnswer(.records(records.map { .tlsa($0) }), isSecure: isSecure)) }

    @Test("of an alias the records are where it leads, or, without any that are secure, at the alias itself (RFC 7671 §7)")
    func aliases() async throws {
        func name(_ answers: [DNSName: Answer], _ canonicalHost: DNSName?) async throws -> String? {
            try await Self.records(answers, leadingTo: canonicalHost)?.name.description
        }
        let (here, there) = ("_5269._tcp.xmpp.verona.example", "_5269._tcp.host.padua.example")
        let both = [Self.host: Self.found(Self.tlsa(1)), Self.canonical: Self.found(Self.tlsa(2))]
        #expect(try await name(both, Self.canonical) == there)
        #expect(try await name(both, nil) == here)
        #expect(try await name([Self.host: Self.found(Self.tlsa(1))], Self.canonical) == here)
        #expect(try await name([Self.host: Self.found(Self.tlsa(1)), Self.canonical: Self.found(Self.tlsa(2), isSecure: false)], Self.canonical) == here)
        // What is there and means nothing is there all the same.
        let useless = try await Self.records([Self.host: Self.found(Self.tlsa(1)), Self.canonical: Self.found(Self.tlsa(2, usage: 9))], leadingTo: Self.canonical)
        #expect(useless?.name.description == there && useless?.dane == nil)
        // Nothing is decided without an answer.
        await #expect(throws: DNSError.timedOut) {
            try await Self.records([Self.host: Self.found(Self.tlsa(1)), Self.canonical: .failure(.timedOut)], leadingTo: Self.canonical)
        }
    }

    @Test("an address in place of a domain is dialled without DNS", arguments: [("192.0.2.1", "192.0.2.1:5269"), ("[2001:DB8::1]", "[2001:db8::1]:5269")])
    func literals(domain: String, target: String) async throws {
        let targets = try await ServiceLookup(TableResolver([:])).targets(of: Self.domain(domain))
        #expect(targets.map(\.description) == [target])
        #expect(targets.allSatisfy { !$0.isSecure && $0.tls == .startTLS })
    }

    @Test("a name too long for a service below it is dialled itself; one too long for DNS is not")
    func longNames() async throws {
        let label = String(repeating: "a", count: 62)
        let lookup = ServiceLookup(TableResolver([:]))
        let longest = try Self.domain("\(label).\(label).\(label).\(label).a")
        #expect(longest.domainpart.utf8.count == DNSName.bytesMax)
        #expect(try await lookup.targets(of: longest).map(\.description) == ["\(longest):5269"])
        await #expect(throws: ServiceLookupError.notAHost) { try await lookup.targets(of: Self.domain("\(label).\(label).\(label).\(label).aa")) }
    }
}
