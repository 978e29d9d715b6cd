import MartletXMPP
import NIOCore
import Testing

@Suite("Addresses (RFC 7622)")
struct JIDTests {
    @Test(
        "every address of table 1 is one, and this is its prepared form (RFC 7622 §3.5)",
        arguments: [
            ("juliet@example.com", "juliet@example.com"),
            ("juliet@example.com/foo", "juliet@example.com/foo"),
            ("juliet@example.com/foo bar", "juliet@example.com/foo bar"),
            ("juliet@example.com/foo@bar", "juliet@example.com/foo@bar"),
            ("foo\\20bar@example.com", "foo\\20bar@example.com"),
            ("fussball@example.com", "fussball@example.com"),
            ("fu\u{DF}ball@example.com", "fu\u{DF}ball@example.com"),
            ("\u{3C0}@example.com", "\u{3C0}@example.com"),
            ("\u{3A3}@example.com/foo", "\u{3C3}@example.com/foo"),
            ("\u{3C3}@example.com/foo", "\u{3C3}@example.com/foo"),
            ("\u{3C2}@example.com/foo", "\u{3C2}@example.com/foo"),
            ("king@example.com/\u{265A}", "king@example.com/\u{265A}"),
            ("example.com", "example.com"),
            ("example.com/foobar", "example.com/foobar"),
            ("a.example.com/b@example.net", "a.example.com/b@example.net"),
        ])
    func legalExamples(text: String, prepared: String) throws {
        #expect(try bytes(of: JID(text)) == Array(prepared.utf8))
    }

    @Test(
        "no string of table 2 is an address (RFC 7622 §3.5)",
        arguments: [
            ("\"juliet\"@example.com", JIDError.disallowed(.localpart, "\"")),
            ("foo bar@example.com", .disallowed(.localpart, " ")),
            ("@example.com/", .empty(.localpart)),
            ("henry\u{2163}@example.com", .disallowed(.localpart, "\u{2163}")),
            ("\u{265A}@example.com", .disallowed(.localpart, "\u{265A}")),
            ("juliet@", .empty(.domainpart)),
            ("/foobar", .empty(.domainpart)),
        ])
    func illegalExamples(text: String, error: JIDError) {
        #expect(throws: error) { try JID(text) }
    }

    @Test("a space at the start of a resourcepart is kept: erratum 4560 withdrew that example (RFC 7622 §3.5)")
    func leadingSpace() throws {
        #expect(try FullJID(parsing: "juliet@example.com/ foo").resourcepart == " foo")
    }

    @Test("an address is split at the first slash, then at the first at sign (RFC 7622 §3.2)")
    func split() throws {
        let jid = try FullJID(parsing: "Juliet@Example.COM/Bal@con/y")
        #expect(jid.bare.localpart == "juliet")
        #expect(jid.bare.domainpart == "example.com")
        #expect(jid.resourcepart == "Bal@con/y")
        #expect(jid.description == "juliet@example.com/Bal@con/y")
        #expect(jid.bare.description == "juliet@example.com")
        #expect(throws: JIDError.disallowed(.domainpart, "@")) { try JID("juliet@romeo@example.com") }
    }

    @Test("a localpart has every printable character of ASCII but eight and the space (RFC 7622 §3.3.1)")
    func localpartASCII() {
        for value in UInt8.min...0x7F {
            let scalar = Unicode.Scalar(value)
            let text = "a\(Character(scalar))b"
            let isAllowed = 0x21...0x7E ~= value && !"\"&'/:<>@".unicodeScalars.contains(scalar)
            let made = try? BareJID(localpart: text, domainpart: "example.com")
            #expect((made != nil) == isAllowed, "U+\(String(value, radix: 16))")
            #expect(made?.localpart == (isAllowed ? text.lowercased() : nil))
        }
    }

    @Test("characters that become forbidden ones by their width are forbidden in a localpart (RFC 7622 §3.3.1)")
    func fullwidthSeparators() throws {
        for scalar in "\"&'/:<>@".unicodeScalars {
            let wide = try #require(Unicode.Scalar(scalar.value + 0xFEE0))
            #expect(throws: JIDError.disallowed(.localpart, scalar)) {
                try BareJID(localpart: "a\(wide)b", domainpart: "example.com")
            }
        }
    }

    @Test("a resourcepart has every printable character of ASCII and the space, case kept (RFC 7622 §3.4)")
    func resourcepartASCII() {
        for value in UInt8.min...0x7F {
            let text = "A\(Character(Unicode.Scalar(value)))B"
            let made = try? FullJID(localpart: nil, domainpart: "example.com", resourcepart: text)
            #expect(made?.resourcepart == (0x20...0x7E ~= value ? text : nil))
        }
    }

    @Test(
        "a resourcepart loses what cannot be seen and PRECIS refuses, as with Stringprep (RFC 3454 table B.1)",
        arguments: [
            ("\u{1F469}\u{200D}\u{1F4BB}", "\u{1F469}\u{1F4BB}"), ("\u{2764}\u{FE0F}", "\u{2764}"), ("1\u{FE0F}\u{20E3}", "1\u{20E3}"),
            ("a\u{AD}b\u{34F}c\u{180B}d\u{180D}e\u{200B}f\u{2060}g\u{FE00}h\u{FEFF}i\u{200C}j", "abcdefghij"),
            ("l\u{AD}\u{B7}l", "l\u{B7}l"), ("e\u{34F}\u{301}", "\u{E9}"), ("\u{FEFF} ", " "),
            // The joiner is not behind the virama where it stands.
            ("\u{915}\u{94D}\u{AD}\u{200D}\u{937}", "\u{915}\u{94D}\u{937}"),
            // Nor here, once the marks are in order.
            ("\u{915}\u{301}\u{34F}\u{94D}\u{200D}\u{937}", "\u{915}\u{94D}\u{301}\u{937}"),
        ])
    func resourcepartInvisibles(text: String, prepared: String) throws {
        #expect(try FullJID(parsing: "example.com/" + text).resourcepart.codePoints == prepared.codePoints)
        #expect(try FullJID(parsing: "example.com/" + prepared).resourcepart.codePoints == prepared.codePoints)
    }

    @Test(
        "a resourcepart keeps joiners where their rules hold (RFC 5892 A.1, A.2)",
        arguments: [
            "\u{915}\u{94D}\u{200D}\u{937}", "\u{915}\u{94D}\u{200C}\u{937}", "\u{628}\u{64E}\u{200C}\u{64E}\u{628}", "a\u{1806}b",
        ])
    func resourcepartJoiners(text: String) throws {
        #expect(try FullJID(parsing: "example.com/" + text).resourcepart.codePoints == text.codePoints)
    }

    @Test("nothing but the characters of RFC 3454 table B.1 is left out of a resourcepart, and not all of it may be")
    func resourcepartKept() throws {
        #expect(throws: JIDError.empty(.resourcepart)) { try FullJID(parsing: "example.com/\u{FE0F}\u{200D}") }
        // Elsewhere there are only ideographs, private use and nothing.
        let candidates = Array(0x80...0x1FFFF as ClosedRange<UInt32>) + Array(0xE0000...0xE0FFF)
        let removed = candidates.compactMap(Unicode.Scalar.init).filter { scalar in
            guard let jid = try? FullJID(localpart: nil, domainpart: "example.com", resourcepart: "a\(scalar)") else { return false }
            return jid.resourcepart == "a"
        }
        let ranges: [ClosedRange<UInt32>] = [
            0xAD...0xAD, 0x34F...0x34F, 0x180B...0x180D, 0x200B...0x200D, 0x2060...0x2060, 0xFE00...0xFE0F, 0xFEFF...0xFEFF,
        ]
        #expect(removed.map(\.value) == ranges.flatMap { Array($0) })
        for part in ["a\u{AD}b@example.com", "\u{FE0F}a@example.com", "a\u{200D}b.example"] {
            #expect(throws: JIDError.self, "names are refused as ever") { try JID(part) }
        }
        for tail in ["\u{E0061}", "\u{E0100}", "\u{2061}", "\u{180F}"] {
            #expect(throws: JIDError.self, "what is ignorable but not in the table is refused") { try JID("example.com/a" + tail) }
        }
    }

    @Test("each part has at most 1023 octets, counted when prepared (RFC 7622 §3.1)")
    func partLimits() throws {
        let longest = String(repeating: "a", count: 1023)
        let label = String(repeating: "b", count: 63)
        let domain = Array(repeating: label, count: 16).joined(separator: ".")
        #expect(domain.utf8.count == 1023)
        let jid = try FullJID(localpart: longest, domainpart: domain, resourcepart: longest)
        #expect(try FullJID(parsing: "\(longest)@\(domain)/\(longest)") == jid)
        #expect(throws: JIDError.tooLong(.localpart, bytes: 1024)) { try JID("\(longest)a@\(domain)") }
        #expect(throws: JIDError.tooLong(.domainpart, bytes: 1025)) { try JID("c.\(domain)") }
        #expect(throws: JIDError.tooLong(.resourcepart, bytes: 1024)) { try JID("\(domain)/\(longest)a") }
        #expect(try JID("\(longest)@\(domain)./a").bare.domainpart == domain)

        let wide = String(repeating: "\u{FF21}", count: 1023)
        #expect(try BareJID(localpart: wide, domainpart: "example.com").localpart == longest)
        #expect(throws: JIDError.tooLong(.localpart, bytes: 3072)) {
            try BareJID(localpart: wide + "\u{FF21}", domainpart: "example.com")
        }
        #expect(throws: JIDError.tooLong(.resourcepart, bytes: 1024)) {
            try FullJID(localpart: nil, domainpart: "example.com", resourcepart: String(repeating: "\u{E9}", count: 512))
        }
    }

    @Test("bytes that are no UTF-8 are no address", arguments: [JIDPart.localpart, .domainpart, .resourcepart])
    func notUTF8(part: JIDPart) {
        let broken: [UInt8] = [0xC3, 0x28]
        let text: [UInt8] =
            switch part {
            case .localpart: broken + Array("@example.com".utf8)
            case .domainpart: broken
            case .resourcepart: Array("example.com/".utf8) + broken
            }
        #expect(throws: JIDError.notUTF8(part)) { try text.withUnsafeBytes { try JID(parsing: $0) } }
    }

    @Test("a bare address has no resourcepart, a full one has one")
    func kinds() throws {
        #expect(throws: JIDError.unexpected(.resourcepart)) { try BareJID(parsing: "a@example.com/b") }
        #expect(throws: JIDError.empty(.resourcepart)) { try FullJID(parsing: "a@example.com") }
        #expect(throws: JIDError.empty(.resourcepart)) { try JID("a@example.com/") }
        #expect(throws: JIDError.empty(.domainpart)) { try JID("") }
        #expect(throws: JIDError.empty(.localpart)) { try BareJID(localpart: "", domainpart: "example.com") }
        #expect(try JID("example.com").bare.isDomain)
        #expect(try JID("example.com").bare.localpart == nil)
        #expect(try JID("example.com/b").resourcepart == "b")
        #expect(try JID("example.com").resourcepart == nil)
    }

    @Test("equal addresses are equal and hash alike, however they were spelt and wherever they were taken from")
    func equality() throws {
        let balcony = try FullJID(parsing: "juliet@example.com/balcony")
        let chamber = try FullJID(parsing: "JULIET@example.com./chamber")
        let juliet = try BareJID(localpart: "Juliet", domainpart: "EXAMPLE.com")
        #expect(balcony != chamber)
        #expect(balcony.bare == chamber.bare)
        #expect(balcony.bare == juliet)
        #expect(balcony.bare.compacted() == juliet)
        #expect(try juliet.with(resourcepart: "balcony") == balcony)
        #expect(try balcony.bare.with(resourcepart: "chamber") == chamber)
        #expect(JID.full(balcony).bare == JID.bare(juliet).bare)
        #expect(JID.full(balcony) != JID.bare(juliet))
        #expect(Set([balcony.bare, chamber.bare, juliet, balcony.bare.compacted()]).count == 1)
        #expect(Set([balcony, chamber, try juliet.with(resourcepart: "balcony")]).count == 2)
        #expect(try balcony.bare.domain == BareJID(parsing: "example.com"))
        #expect(try BareJID(parsing: "example.com").domain == balcony.bare.domain)
    }

    @Test("addresses whose bytes could be cut elsewhere are not the same")
    func cuts() throws {
        #expect(try FullJID(parsing: "ab/c@d") != FullJID(parsing: "ab/c@e"))
        #expect(try JID("a/b") != JID("a/b/b"))
        #expect(try BareJID(parsing: "a@b").domain != BareJID(parsing: "a@b"))
    }

    @Test("the shard hash is that of the bare address, and the same in every process")
    func shardHash() throws {
        let bare = try BareJID(parsing: "juliet@example.com")
        #expect(bare.shardHash == 0x89AB_1B79)
        #expect(try FullJID(parsing: "Juliet@example.com/balcony").bare.shardHash == bare.shardHash)
        let shards = Set(try (0..<4096).map { try BareJID(parsing: "user\($0)@example.com").shardHash & 4095 })
        #expect(shards.count > 2400, "4096 balls in 4096 boxes leave about 1507 boxes empty")
    }

    @Test("an address is written as its bytes, a bare one without the resource of its storage")
    func writing() throws {
        let jid = try FullJID(parsing: "juliet@example.com/balcony")
        var buffer = ByteBuffer()
        jid.bare.write(into: &buffer)
        #expect(buffer == ByteBuffer(string: "juliet@example.com"))
        jid.write(into: &buffer)
        JID.bare(jid.bare.domain).write(into: &buffer)
        #expect(buffer == ByteBuffer(string: "juliet@example.comjuliet@example.com/balconyexample.com"))
        #expect(jid.bare.withUTF8(of: .domainpart) { Array($0) } == Array("example.com".utf8))
        #expect(jid.bare.withUTF8(of: .resourcepart) { Array($0) } == [])
        #expect(jid.withUTF8(of: .resourcepart) { Array($0) } == Array("balcony".utf8))
        #expect(jid.withUTF8(of: .localpart) { Array($0) } == Array("juliet".utf8))
    }

    @Test("the prepared spelling of an address is known without preparation, another one is not taken for it")
    func spelling() throws {
        let address = try FullJID(parsing: "juliet@example.com/Balcony")
        func isSpelled(_ text: String) -> Bool { Array(text.utf8).withUnsafeBytes { address.isSpelled($0) } }
        #expect(isSpelled("juliet@example.com/Balcony"))
        for other in ["juliet@example.com/balcony", "Juliet@example.com/Balcony", "juliet@example.com", "juliet@example.com/Balcony2", ""] {
            #expect(!isSpelled(other))
        }
    }

    @Test("addresses of one domain are told from those of others by the domainpart alone")
    func sameDomain() throws {
        let domain = try BareJID(parsing: "example.com")
        for text in ["example.com", "juliet@example.com", "Romeo@EXAMPLE.com."] { #expect(try BareJID(parsing: text).isInDomain(of: domain)) }
        #expect(try FullJID(parsing: "juliet@example.com/x").bare.isInDomain(of: domain))
        for text in ["example.org", "a.example.com", "example.com@example.org", "xexample.com", "com"] {
            #expect(try !BareJID(parsing: text).isInDomain(of: domain))
        }
    }

    private func bytes(of jid: JID) -> [UInt8] { jid.withUTF8 { Array($0) } }
}

@Suite("Domainparts (RFC 7622 §3.2)")
struct DomainpartTests {
    @Test(
        "A-labels, case, width and dots come down to one spelling (RFC 7622 §3.2.1, RFC 5895 §2)",
        arguments: [
            ("example.com.", "example.com"),
            ("xn--bcher-kva.example", "b\u{FC}cher.example"),
            ("XN--BCHER-KVA.example", "b\u{FC}cher.example"),
            ("B\u{DC}CHER.example", "b\u{FC}cher.example"),
            ("bu\u{308}cher.example", "b\u{FC}cher.example"),
            ("\u{FF25}xample\u{FF0E}com", "example.com"),
            ("\u{4F8B}\u{3048}\u{3002}\u{30C6}\u{30B9}\u{30C8}", "\u{4F8B}\u{3048}.\u{30C6}\u{30B9}\u{30C8}"),
            ("xn--r8jz45g.xn--zckzah", "\u{4F8B}\u{3048}.\u{30C6}\u{30B9}\u{30C8}"),
            ("fa\u{DF}.de", "fa\u{DF}.de"),
            ("xn--fa-hia.de", "fa\u{DF}.de"),
            ("\u{5D0}\u{5D1}.\u{5D2}", "\u{5D0}\u{5D1}.\u{5D2}"),
            ("xn--r8-zcmklpzha", "r\u{13CB}\u{13C6}8\u{13C8}\u{13C3}\u{13CF}\u{13CF}\u{13CE}"),  // found by the fuzzer
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::]", "[::]"),
            ("[1:2:3:4:5:6:192.0.2.1]", "[1:2:3:4:5:6:192.0.2.1]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
            ("localhost", "localhost"),
            ("a-b.3com", "a-b.3com"),
        ])
    func prepared(text: String, domainpart: String) throws {
        let jid = try BareJID(parsing: text)
        #expect(jid.withUTF8 { Array($0) } == Array(domainpart.utf8))
        #expect(try BareJID(parsing: domainpart) == jid)
    }

    @Test(
        "what is no host name and no address of IP is refused (RFC 5891 §4.2.3)",
        arguments: [
            ("example..com", JIDError.label(.empty)),
            (".example.com", .label(.empty)),
            ("example.com..", .label(.empty)),
            (".", .empty(.domainpart)),
            ("-a.example", .label(.hyphens)),
            ("a-.example", .label(.hyphens)),
            ("ab--c.example", .label(.hyphens)),
            ("a_b.example", .disallowed(.domainpart, "_")),
            ("a b.example", .disallowed(.domainpart, " ")),
            ("\u{301}a.example", .label(.startsWithMark)),
            ("xn--a.example", .disallowed(.domainpart, "\u{80}")),
            ("xn--a-.example", .label(.invalidALabel)),
            ("xn--.example", .label(.invalidALabel)),
            ("xn--abc-.example", .label(.invalidALabel)),
            ("xn--99999999.example", .label(.invalidALabel)),
            ("xn--bcher-kv\u{E9}.example", .label(.hyphens)),
            ("\u{265A}.example", .disallowed(.domainpart, "\u{265A}")),
            ("xn--45h.example", .disallowed(.domainpart, "\u{265A}")),
            ("\u{2163}.example", .disallowed(.domainpart, "\u{2173}")),
            ("\u{AB70}.example", .disallowed(.domainpart, "\u{AB70}")),
            ("\u{5D0}a.example", .bidirectional(.domainpart)),
            ("\u{5D0}.3com", .bidirectional(.domainpart)),
            ("[::1", .ipLiteral),
            ("[]", .ipLiteral),
            ("[::1%25eth0]", .ipLiteral),
            ("[1:2:3:4:5:6:7]", .ipLiteral),
            ("[1:2:3:4:5:6:7:8:9]", .ipLiteral),
            ("[1:2:3:4::5:6:7:8]", .ipLiteral),
            ("[1::2::3]", .ipLiteral),
            ("[:::]", .ipLiteral),
            ("[12345::]", .ipLiteral),
            ("[::256.0.0.1]", .ipLiteral),
            ("[192.0.2.1]", .ipLiteral),
            ("[v1.x]", .ipLiteral),
        ])
    func refused(text: String, error: JIDError) {
        #expect(throws: error) { try BareJID(parsing: text) }
    }

    @Test("a label has at most 63 octets, counted as an A-label (RFC 5890 §2.3.2.1)")
    func labelLimits() throws {
        let ascii = String(repeating: "a", count: 63)
        #expect(try BareJID(parsing: ascii).domainpart == ascii)
        #expect(throws: JIDError.label(.tooLong)) { try BareJID(parsing: ascii + "a") }
        // "xn--", 55 letters, "-" and three digits are 63 octets.
        let accented = String(repeating: "a", count: 55) + "\u{E9}"
        #expect(try BareJID(parsing: accented).domainpart == accented)
        #expect(throws: JIDError.label(.tooLong)) { try BareJID(parsing: "a" + accented) }
    }
}

@Suite("The cache of addresses")
struct JIDCacheTests {
    @Test("the cache gives what preparing gives, whatever it has seen before")
    func sameAsPrepared() throws {
        var cache = JIDCache(capacity: 4)
        let texts = ["a@example.com", "A@example.com", "example.com/x", "\u{3A3}@example.com", "b", "a@example.com/1"]
        for index in 0..<1000 {
            let text = texts[index * 7919 % texts.count]
            #expect(try Array(text.utf8).withUnsafeBytes { try cache.jid($0) } == JID(text))
        }
    }

    @Test("an address that is found again is the same object")
    func hit() throws {
        var cache = JIDCache(capacity: 8)
        let bytes = Array("juliet@example.com/balcony".utf8)
        let first = try bytes.withUnsafeBytes { try cache.jid($0) }
        let second = try bytes.withUnsafeBytes { try cache.jid($0) }
        let start = { (jid: JID) in jid.withUTF8 { UInt(bitPattern: $0.baseAddress) } }
        #expect(start(first) == start(second))
    }

    @Test("faults are reported each time and leave nothing behind")
    func faults() {
        var cache = JIDCache(capacity: 1)
        for _ in 0..<2 {
            #expect(throws: JIDError.empty(.localpart)) { try Array("@b".utf8).withUnsafeBytes { try cache.jid($0) } }
        }
    }
}
