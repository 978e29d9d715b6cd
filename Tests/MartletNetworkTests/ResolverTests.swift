import MartletNetwork
import Testing

@Suite("Names and records of DNS")
struct RecordTests {
    @Test("names are compared in lower case, without the root's dot")
    func names() {
        #expect(DNSName("XMPP.Verona.example.")?.description == "xmpp.verona.example")
        #expect(DNSName("_xmpp-server._tcp.verona.example") == DNSName("verona.example")?.service("_xmpp-server._tcp"))
        #expect(DNSName("xn--bcher-kva.example") != nil)
    }

    @Test("what is no name of a host or service is none", arguments: [
        "", ".", "..", "a..b", ".a", "a b", "bücher.example", "a\0b", "[::1]", "a/b", "a\\.b", String(repeating: "a", count: 64),
    ])
    func noNames(text: String) { #expect(DNSName(text) == nil) }

    @Test("a name has 253 characters at most, a label 63 (RFC 1035 §2.3.4)")
    func lengths() {
        let label = String(repeating: "a", count: 63)
        let longest = "\(label).\(label).\(label).\(label.dropLast(2))"
        #expect(longest.utf8.count == DNSName.bytesMax)
        #expect(DNSName(longest) != nil && DNSName("\(longest).") != nil)
        #expect(DNSName("\(longest)a") == nil)
        #expect(DNSName(longest)?.service("_tcp") == nil)
    }

    static let target: [UInt8] = [4] + Array("XMPP".utf8) + [6] + Array("verona".utf8) + [0]

    @Test("SRV records have priority, weight, port and a name (RFC 2782)")
    func services() throws {
        let records = try RecordData.records(.srv, [[0, 10, 1, 0, 0x14, 0x95] + Self.target, [0, 0, 0, 0, 0, 0, 0]])
        #expect(records == [
            .service(ServiceRecord(priority: 10, weight: 256, port: 5269, target: DNSName("xmpp.verona"))),
            .service(ServiceRecord(priority: 0, weight: 0, port: 0, target: nil)),
        ])
    }

    @Test("addresses and TLSA records are read (RFC 1035 §3.4.1, RFC 3596 §2.2, RFC 6698 §2.1)")
    func others() throws {
        #expect(try RecordData.records(.a, [[192, 0, 2, 1]]) == [.address(NetworkAddress(ipv4: 0xC000_0201))])
        let address: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        #expect(try RecordData.records(.aaaa, [address]) == [.address(try #require(NetworkAddress("2001:db8::1")))])
        #expect(try RecordData.records(.tlsa, [[3, 1, 1, 0xAB]]) == [.tlsa(TLSARecord(usage: 3, selector: 1, matchingType: 1, association: [0xAB]))])
    }

    @Test("a record cut short anywhere, or with more behind it, is malformed")
    func malformed() {
        let service: [UInt8] = [0, 10, 1, 0, 0x14, 0x95] + Self.target
        for (type, bytes) in [(RecordType.srv, service), (.a, [1, 2, 3, 4]), (.aaaa, [UInt8](repeating: 1, count: 16))] {
            for length in 0..<bytes.count {
                #expect(throws: DNSError.malformed) { try RecordData.records(type, [Array(bytes[..<length])]) }
            }
            #expect(throws: DNSError.malformed) { try RecordData.records(type, [bytes + [0]]) }
            #expect(throws: DNSError.malformed) { try RecordData.records(type, [bytes, []]) }
        }
        #expect(throws: DNSError.malformed) { try RecordData.records(.tlsa, [[3, 1, 1]]) }
    }

    @Test("labels with dots, pointers and long labels are no names", arguments: [
        [3, 0x61, 0x2E, 0x62, 0], [0xC0, 0x0C], [64] + [UInt8](repeating: 0x61, count: 64) + [0], [1, 0x20, 0], [1, 0xFF, 0],
    ] as [[UInt8]])
    func badTargets(name: [UInt8]) {
        #expect(throws: DNSError.malformed) { try RecordData.records(.srv, [[0, 0, 0, 0, 0, 0] + name]) }
    }

    @Test("of more records than there can be reason for, the first are taken")
    func many() throws {
        let data = (0...RecordData.recordsMax).map { [10, 0, 0, UInt8($0)] }
        #expect(try RecordData.records(.a, Array(data.dropLast())).count == RecordData.recordsMax)
        #expect(try RecordData.records(.a, data).count == RecordData.recordsMax)
    }
}

@Suite("Who waits for which answer")
struct QuestionQueueTests {
    static func question(_ index: Int) -> DNSQuestion { DNSQuestion(DNSName("host\(index).example") ?? verona, .a) }
    static let verona = DNSName("verona.example")!

    @Test("a question that is under way is not asked again; all who asked hear the answer")
    func joining() {
        var queue = QuestionQueue<String>(underWayMax: 2, waitersMax: 10)
        #expect(queue.add("romeo", to: Self.question(1)) == .begins)
        #expect(queue.add("juliet", to: Self.question(1)) == .joins)
        #expect(queue.add("nurse", to: DNSQuestion(Self.question(1).name, .aaaa)) == .begins)
        #expect(queue.end(Self.question(1)).waiters == ["romeo", "juliet"])
        #expect(queue.waiterCount == 1)
        #expect(queue.add("romeo", to: Self.question(1)) == .begins)
    }

    @Test("questions beyond the number that is asked at a time wait for their turn, in order")
    func turns() {
        var queue = QuestionQueue<Int>(underWayMax: 2, waitersMax: 10)
        #expect((1...4).map { queue.add($0, to: Self.question($0)) } == [.begins, .begins, .waits, .waits])
        #expect(queue.add(5, to: Self.question(3)) == .joins)
        #expect(queue.end(Self.question(2)).next == Self.question(3))
        #expect(queue.end(Self.question(3)).waiters == [3, 5])
        let last = queue.end(Self.question(4))
        #expect(last.waiters == [4] && last.next == nil)
    }

    @Test("a question that is given up before its turn leaves the queue")
    func givenUp() {
        var queue = QuestionQueue<Int>(underWayMax: 1, waitersMax: 10)
        for index in 1...3 { _ = queue.add(index, to: Self.question(index)) }
        let given = queue.end(Self.question(2))
        #expect(given.waiters == [2] && given.next == nil)
        #expect(queue.end(Self.question(1)).next == Self.question(3))
        #expect(queue.end(Self.question(9)).waiters == [])
    }

    @Test("those who wait are bounded, whatever they wait for")
    func bound() {
        var queue = QuestionQueue<Int>(underWayMax: 1, waitersMax: 3)
        #expect([1, 1, 2, 2].enumerated().map { queue.add($0, to: Self.question($1)) } == [.begins, .joins, .waits, .refused])
        #expect(queue.removeAll().sorted() == [0, 1, 2])
        #expect(queue.waiterCount == 0)
        #expect(queue.add(1, to: Self.question(2)) == .begins)
    }
}
