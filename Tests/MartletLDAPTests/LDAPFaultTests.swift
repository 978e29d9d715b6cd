import MartletLDAP
import Testing

@Suite("LDAP messages that are none")
struct LDAPFaultTests {
    private typealias W = Wire

    private static func bind(_ authentication: [UInt8]..., version: [UInt8] = [2, 1, 3], name: [UInt8] = [4, 0]) -> [UInt8] {
        Wire.message(Wire.element(0x60, version, name, authentication.flatMap { $0 }))
    }

    private static func entry(_ attributes: [UInt8], tag: UInt8 = 0x64) -> [UInt8] {
        Wire.message(Wire.element(tag, Wire.string("a"), Wire.element(0x30, attributes)))
    }

    private static func modify(_ changes: [UInt8]) -> [UInt8] { Wire.message(Wire.element(0x66, Wire.string("a"), Wire.element(0x30, changes))) }

    /// With as many attributes asked for.
    private static func search(_ numbers: [UInt8], attributes: [UInt8] = []) -> [UInt8] {
        Wire.message(Wire.element(0x63, Wire.string(""), numbers, Wire.string("cn", 0x87), Wire.element(0x30, attributes)))
    }

    private static func many(_ element: [UInt8], _ count: Int) -> [UInt8] { Array(Array(repeating: element, count: count).joined()) }

    @Test("what is cut off anywhere is no message")
    func truncated() throws {
        for captured in try Wire.captured() {
            for count in captured.bytes.indices { #expect(Wire.fault(Array(captured.bytes.prefix(count))) != nil) }
        }
    }

    @Test("what misses a part, or the end of one, is refused, or another message that is read again as it was")
    func damaged() throws {
        var refused = 0
        for captured in try Wire.captured() {
            for damaged in Node.all(captured.bytes)[0].damaged {
                guard let message = try? Wire.read(damaged.bytes) else {
                    refused += 1
                    continue
                }
                #expect(try Wire.read(Wire.bytes(message)) == message)
            }
        }
        #expect(refused > 1000)
    }

    @Test("whatever octet is changed, it is refused, or another message that is read again as it was")
    func changed() throws {
        for captured in try Wire.captured() {
            var bytes = captured.bytes
            for index in bytes.indices {
                for mask: UInt8 in [0x01, 0x20, 0x80, 0xFF] {
                    bytes[index] ^= mask
                    if let message = try? Wire.read(bytes) { #expect(try Wire.read(Wire.bytes(message)) == message) }
                    bytes[index] ^= mask
                }
            }
        }
    }

    @Test("elements at the end of a SEQUENCE that nobody knows are ignored (RFC 4511 §4)", arguments: 1...5)
    func unknownElements(_ seed: UInt64) throws {
        var seeded = SeededMessages(seed: seed)
        let unknown = Node(tag: 0x9E, content: [1, 2])
        for _ in 0..<200 {
            let message = seeded.message()
            var outside = Node.all(Wire.bytes(message))[0]
            outside.parts.append(unknown)
            // A reference is a SEQUENCE OF, in which there is only one kind of thing.
            if outside.parts[1].tag & 0x20 != 0, outside.parts[1].tag != 0x73 { outside.parts[1].parts.append(unknown) }
            #expect(try Wire.read(outside.bytes) == message)
        }
    }

    @Test("elements that nobody knows are ignored in attributes, changes, controls, SASL credentials and filters as well")
    func unknownElementsInside() throws {
        let unknown: [UInt8] = [0x9E, 0]
        let attribute = W.element(0x30, W.string("cn"), W.element(0x31, W.string("a")), unknown)
        let control = W.element(0xA0, W.element(0x30, W.string("1.2"), unknown))
        let expected = LDAPAttribute("cn", "a")
        #expect(
            try W.read(W.message(W.element(0x64, W.string("x"), W.element(0x30, attribute)), control))
                == LDAPMessage(1, .searchResultEntry(LDAPEntry("x", [expected])), controls: [LDAPControl("1.2")]))
        #expect(
            try W.read(W.message(W.element(0x66, W.string("x"), W.element(0x30, W.element(0x30, [0x0A, 1, 0], attribute, unknown)))))
                == LDAPMessage(1, .modifyRequest(ModifyRequest("x", [.init(.add, expected)]))))
        #expect(
            try W.read(W.message(W.element(0x60, [2, 1, 3], W.string(""), W.element(0xA3, W.string("EXTERNAL"), unknown))))
                == LDAPMessage(1, .bindRequest(BindRequest("", .sasl(mechanism: "EXTERNAL", credentials: nil)))))
        #expect(try LDAPFilter(decoding: W.element(0xA3, W.string("cn"), W.string("a"), unknown)) == .equality("cn", Array("a".utf8)))
    }

    @Test("a TRUE that is not FF is one all the same")
    func looseTrue() throws {
        let moved = W.element(0x6C, W.string("a"), W.string("b"), [1, 1, 1])
        #expect(try W.read(W.message(moved)) == LDAPMessage(1, .modifyDNRequest(ModifyDNRequest("a", newRDN: "b", deletesOldRDN: true))))
    }

    static let faults: [(String, [UInt8], LDAPFault)] = [
        ("an unbind says nothing", W.message([0x42, 1, 0]), .surplus(bytes: 1)),
        ("version 0", bind([0x80, 0], version: [2, 1, 0]), .outOfRange(0)),
        ("version 128", bind([0x80, 0], version: [2, 2, 0, 128]), .outOfRange(128)),
        ("no authentication", bind(), .missing(tag: nil)),
        ("authentication of another kind", bind(W.string("NTLM", 0x89)), .unknownAuthentication(tag: 0x89)),
        ("a password made of parts", bind([0xA0, 0]), .unknownAuthentication(tag: 0xA0)),
        ("a string made of parts", bind([0x80, 0], name: [0x24, 2, 4, 0]), .unexpected(tag: 0x24, expected: 4)),
        ("a number instead of a string", bind([0x80, 0], name: [2, 1, 3]), .unexpected(tag: 2, expected: 4)),
        ("a name that is not UTF-8", W.message([0x4A, 2, 0xC3, 0x28]), .notUTF8),
        ("a name with a surrogate", W.message([0x4A, 3, 0xED, 0xA0, 0x80]), .notUTF8),
        ("a diagnostic message that is not UTF-8", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 1, 0xFC])), .notUTF8),
        ("a negative result", W.message(W.element(0x65, [0x0A, 1, 0xFF, 4, 0, 4, 0])), .outOfRange(-1)),
        ("a result without its message", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0])), .missing(tag: 4)),
        ("a referral to nowhere", W.message(W.element(0x65, [0x0A, 1, 10, 4, 0, 4, 0, 0xA3, 0])), .empty(.referrals)),
        ("a reference to nowhere", W.message([0x73, 0]), .empty(.referrals)),
        ("a new entry with an attribute without values", entry([0x30, 6, 4, 2, 0x63, 0x6E, 0x31, 0], tag: 0x68), .empty(.values)),
        ("an unknown element among attributes", entry([0x9E, 0]), .unexpected(tag: 0x9E, expected: 0x30)),
        ("values in a SEQUENCE", entry([0x30, 6, 4, 2, 0x63, 0x6E, 0x30, 0]), .unexpected(tag: 0x30, expected: 0x31)),
        ("a change of an unknown kind", modify(W.element(0x30, [0x0A, 1, 4], [0x30, 6, 4, 2, 0x63, 0x6E, 0x31, 0])), .outOfRange(4)),
        ("a BOOLEAN of two octets", W.message(W.element(0x6C, W.string("a"), W.string("b"), [1, 2, 0, 0])), .malformedBoolean(bytes: 2)),
        ("an abandoned operation below 0", W.message([0x50, 1, 0x80]), .outOfRange(-128)),
        ("a value in front of a name", W.message(W.element(0x77, [0x81, 0], W.string("1.2", 0x80))), .unexpected(tag: 0x81, expected: 0x80)),
        ("a name of two tag octets at the end", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 0, 0xBF, 0x1F, 0])), .highTagNumber(0xBF)),
        ("an indefinite length inside", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 0x80, 0, 0])), .indefiniteLength),
        ("an element that is longer than the message", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 1])), .truncated),
        ("a length of five octets inside", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 0x85, 0, 0, 0, 0, 0])), .lengthOctets(5)),
        ("a length that is cut off", W.message(W.element(0x65, [0x0A, 1, 0, 4, 0, 4, 0x82, 0])), .truncated),
    ]

    @Test("each fault is told", arguments: faults.indices)
    func fault(_ index: Int) {
        let (what, bytes, expected) = Self.faults[index]
        #expect(Wire.fault(bytes) == expected, "\(what)")
    }

    @Test("of a search scope, aliases and limits are looked at (RFC 4511 §4.5.1)")
    func searches() {
        func search(_ scope: UInt8 = 0, _ aliases: UInt8 = 0, size: UInt8 = 0, time: UInt8 = 0) -> LDAPFault? {
            W.fault(Self.search([0x0A, 1, scope, 0x0A, 1, aliases, 2, 1, size, 2, 1, time, 1, 1, 0]))
        }
        #expect(search() == nil && search(2, 3, size: 0x7F, time: 0x7F) == nil)
        #expect(search(3) == .outOfRange(3) && search(0, 4) == .outOfRange(4) && search(0xFF) == .outOfRange(-1))
        #expect(search(size: 0x80) == .outOfRange(-128) && search(time: 0xFF) == .outOfRange(-1))
    }

    @Test("types of controls and names of operations are dotted numbers (RFC 4511 §4.1.2)")
    func identifiers() {
        func fault(_ identifier: String) -> LDAPFault? { W.fault(W.message(W.element(0x77, W.string(identifier, 0x80)))) }
        for identifier in ["1.2", "2.25.147695742700737359237692067388437724193", "0.9.2342"] { #expect(fault(identifier) == nil) }
        for identifier in ["", ".", "1.", ".1", "1..2", "1.a", "1 .2", "cn", "1.２"] { #expect(fault(identifier) == .malformedIdentifier) }
        #expect(W.fault(W.message([0x42, 0], W.element(0xA0, W.element(0x30, W.string("x"))))) == .malformedIdentifier)
    }

    @Test("filters have the form that RFC 4511 §4.5.1.7 gives them")
    func filters() {
        let present = W.string("cn", 0x87)
        func substrings(_ parts: [UInt8]...) -> LDAPFault? {
            W.fault(W.search(filter: W.element(0xA4, W.string("cn"), W.element(0x30, parts.flatMap { $0 }))))
        }
        #expect(W.fault(W.search(filter: present)) == nil)
        #expect(W.fault(W.search(filter: W.element(0xAA, present))) == .unknownChoice(tag: 0xAA))
        #expect(W.fault(W.search(filter: [])) == .unknownChoice(tag: 0x30))
        #expect(W.fault(W.search(filter: W.element(0xA2))) == .missing(tag: nil))
        #expect(W.fault(W.search(filter: W.element(0xA2, present, present))) == .surplus(bytes: 4))
        #expect(W.fault(W.search(filter: W.element(0xA3, W.string("cn")))) == .missing(tag: 4))
        #expect(W.fault(W.search(filter: W.element(0xA9, W.string("a", 0x83)))) == .matchesNothing)
        #expect(substrings([0x80, 1, 1], [0x81, 1, 1], [0x81, 1, 1], [0x82, 1, 1]) == nil)
        #expect(substrings() == .empty(.substrings))
        #expect(substrings([0x81, 1, 1], [0x80, 1, 1]) == .substringOrder && substrings([0x80, 1, 1], [0x80, 1, 1]) == .substringOrder)
        #expect(substrings([0x82, 1, 1], [0x81, 1, 1]) == .substringOrder && substrings([0x82, 1, 1], [0x82, 1, 1]) == .substringOrder)
        #expect(substrings([0x83, 1, 1]) == .unknownChoice(tag: 0x83))
    }

    @Test("a filter of as many levels as are allowed is read, of one more it is not")
    func filterDepth() {
        func nested(_ levels: Int) -> [UInt8] {
            (1..<levels).reduce(W.string("cn", 0x87)) { inside, level in W.element(level.isMultiple(of: 2) ? 0xA2 : 0xA0, inside) }
        }
        #expect(W.fault(W.search(filter: nested(LDAPLimits.filterDepthMax))) == nil)
        #expect(W.fault(W.search(filter: nested(LDAPLimits.filterDepthMax + 1))) == .filterTooDeep(max: LDAPLimits.filterDepthMax))
        #expect(W.fault(W.search(filter: nested(5000))) == .filterTooDeep(max: LDAPLimits.filterDepthMax))
    }

    @Test("a filter of as many parts as are allowed is read, of one more it is not")
    func filterNodes() {
        func wide(_ parts: Int) -> [UInt8] { W.element(0xA1, Self.many(W.string("cn", 0x87), parts - 1)) }
        #expect(W.fault(W.search(filter: wide(LDAPLimits.filterNodesMax))) == nil)
        #expect(W.fault(W.search(filter: wide(LDAPLimits.filterNodesMax + 1))) == .tooMany(.filterNodes, max: LDAPLimits.filterNodesMax))
        func pieces(_ count: Int) -> [UInt8] { W.element(0xA4, W.string("cn"), W.element(0x30, Self.many([0x81, 1, 1], count))) }
        #expect(W.fault(W.search(filter: pieces(LDAPLimits.filterNodesMax))) == nil)
        #expect(W.fault(W.search(filter: pieces(LDAPLimits.filterNodesMax + 1))) == .tooMany(.substrings, max: LDAPLimits.filterNodesMax))
    }

    @Test("as many attributes, values, changes, controls and places as are allowed are read, of one more not")
    func counts() {
        let attribute = W.element(0x30, W.string("cn"), [0x31, 0])
        let makers: [(LDAPFault.Countable, Int, (Int) -> [UInt8])] = [
            (.attributes, LDAPLimits.attributesMax, { Self.entry(Self.many(attribute, $0)) }),
            (
                .attributes, LDAPLimits.attributesMax,
                { Self.search([0x0A, 1, 0, 0x0A, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0], attributes: Self.many([4, 1, 0x2A], $0)) }
            ),
            (.values, LDAPLimits.valuesMax, { Self.entry(W.element(0x30, W.string("cn"), W.element(0x31, Self.many([4, 0], $0)))) }),
            (.changes, LDAPLimits.changesMax, { Self.modify(Self.many(W.element(0x30, [0x0A, 1, 0], attribute), $0)) }),
            (.controls, LDAPLimits.controlsMax, { W.message([0x42, 0], W.element(0xA0, Self.many(W.element(0x30, W.string("1.2")), $0))) }),
            (.referrals, LDAPLimits.referralsMax, { W.message(W.element(0x73, Self.many([4, 1, 0x61], $0))) }),
            (
                .referrals, LDAPLimits.referralsMax,
                { W.message(W.element(0x65, [0x0A, 1, 10, 4, 0, 4, 0], W.element(0xA3, Self.many([4, 1, 0x61], $0)))) }
            ),
        ]
        for (countable, max, make) in makers {
            #expect(Wire.fault(make(max)) == nil, "\(countable)")
            #expect(Wire.fault(make(max + 1)) == .tooMany(countable, max: max), "\(countable)")
        }
    }

    @Test("names, descriptions and identifiers as long as allowed are read, one octet longer not")
    func lengths() {
        let makers: [(Int, (String) -> [UInt8])] = [
            (LDAPLimits.nameBytesMax, { W.message(W.string($0, 0x4A)) }),
            (LDAPLimits.nameBytesMax, { W.message(W.element(0x73, W.string($0))) }),
            (LDAPLimits.descriptionBytesMax, { W.search(filter: W.string($0, 0x87)) }),
            (LDAPLimits.descriptionBytesMax, { W.message(W.element(0x60, [2, 1, 3], W.string(""), W.element(0xA3, W.string($0)))) }),
            (LDAPLimits.identifierBytesMax, { W.message(W.element(0x77, W.string($0, 0x80))) }),
        ]
        for (max, make) in makers {
            #expect(Wire.fault(make(String(repeating: "1", count: max))) == nil)
            #expect(Wire.fault(make(String(repeating: "1", count: max + 1))) == .tooLong(bytes: max + 1, max: max))
        }
    }

    @Test("whoever authenticates in another way is told so, all other faults are against the protocol (RFC 4511 §4.2.2)")
    func results() {
        #expect(LDAPFault.unknownAuthentication(tag: 0x89).resultCode == .authMethodNotSupported)
        #expect(LDAPFault.truncated.resultCode == .protocolError && LDAPFault.filterTooDeep(max: 1).resultCode == .protocolError)
    }
}
