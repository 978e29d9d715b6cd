import MartletLDAP
import Testing

@Suite("Names of entries (RFC 4514)")
struct DistinguishedNameTests {
    @Test("RFC 4514 §4's examples mean what it says", arguments: [
        ("UID=jsmith,DC=example,DC=net", [["uid": "jsmith"], ["dc": "example"], ["dc": "net"]]),
        ("OU=Sales+CN=J.  Smith,DC=example,DC=net", [["ou": "sales", "cn": "j. smith"], ["dc": "example"], ["dc": "net"]]),
        (#"CN=James \"Jim\" Smith\, III,DC=example,DC=net"#, [["cn": #"james "jim" smith, iii"#], ["dc": "example"], ["dc": "net"]]),
        (#"CN=Before\0dAfter,DC=example,DC=net"#, [["cn": "before\rafter"], ["dc": "example"], ["dc": "net"]]),
        ("1.3.6.1.4.1.1466.0=#04024869", [["1.3.6.1.4.1.1466.0": "hi"]]),
        (#"CN=Lu\C4\8Di\C4\87"#, [["cn": "lučić"]]),
        ("", []),
    ] as [(String, [[String: String]])])
    func examples(text: String, names: [[String: String]]) throws {
        let name = try DistinguishedName(text)
        #expect(name.relativeNames.map { Dictionary(uniqueKeysWithValues: $0.attributes.map { ($0.type, String(decoding: $0.prepared, as: UTF8.self)) }) } == names)
    }

    @Test("Names that mean the same are equal, and so are their hashes", arguments: [
        "cn=Carol Ops,ou=People,dc=example,dc=org", "CN=carol ops,OU=people,DC=EXAMPLE,DC=ORG", "cn = Carol Ops , ou=People ,dc=example, dc=org",
        "cn=Carol Ops;ou=People;dc=example;dc=org", "commonName=Carol  Ops,organizationalUnitName=People,domainComponent=example,dc=org",
        "2.5.4.3=Carol Ops,2.5.4.11=People,0.9.2342.19200300.100.1.25=example,dc=org", "OID.2.5.4.3=Carol Ops,oid.2.5.4.11=People,dc=example,dc=org",
        #"cn=\43arol\20Ops,ou=\50eople,dc=example,dc=org"#, #"cn="Carol Ops",ou=People,dc=example,dc=org"#, #"cn=\ Carol Ops\ ,ou=People,dc=example,dc=org"#,
        "cn=#0C094361726F6C204F7073,ou=People,dc=example,dc=org", "cn=#13094361726F6C204F7073,ou=People,dc=example,dc=org",
        "cn=#1E12004300610072006F006C0020004F00700073,ou=People,dc=example,dc=org",
    ])
    func equal(text: String) throws {
        let (name, other) = (try DistinguishedName(text), try DistinguishedName("cn=Carol Ops,ou=People,dc=example,dc=org"))
        #expect(name == other)
        #expect(name.hashValue == other.hashValue)
        #expect(name.normalized == "cn=carol ops,ou=people,dc=example,dc=org")
    }

    @Test("Names that mean something else are not equal", arguments: [
        "cn=Carol Ops,ou=People,dc=example", "cn=CarolOps,ou=People,dc=example,dc=org", "sn=Carol Ops,ou=People,dc=example,dc=org",
        #"cn=Carol Ops\,ou\=People,dc=example,dc=org"#, "ou=People,cn=Carol Ops,dc=example,dc=org", "cn=Carol Ops+sn=Ops,ou=People,dc=example,dc=org",
        // Of another kind than a text.
        "cn=#02020102,ou=People,dc=example,dc=org",
    ])
    func different(text: String) throws { #expect(try DistinguishedName(text) != DistinguishedName("cn=Carol Ops,ou=People,dc=example,dc=org")) }

    @Test("The order of attributes in a step does not matter, and each counts once")
    func multivalued() throws {
        let (name, other) = (try DistinguishedName("ou=Sales+cn=J. Smith,dc=net"), try DistinguishedName("CN=j. smith+OU=sales,dc=net"))
        #expect(name == other)
        #expect(name.hashValue == other.hashValue)
        #expect(try DistinguishedName("cn=a+cn=A,dc=net") == DistinguishedName("cn=a,dc=net"))
        #expect(name.description == "ou=Sales+cn=J. Smith,dc=net")
        #expect(name.normalized == "cn=j. smith+ou=sales,dc=net")
    }

    @Test("Letters are the same whatever their case and however they are composed (RFC 4518 §2)", arguments: [
        ("cn=MÜLLER", "cn=müller"), ("cn=Mu\u{308}ller", "cn=müller"), ("cn=ΣΊΣΥΦΟΣ", "cn=σίσυφοσ"), ("cn=e\u{302}\u{323}", "cn=ệ"),
        ("cn=a\u{A0}\u{3000}b", "cn=a b"), ("cn=か\u{3099}", "cn=が"), ("cn=\u{212B}", "cn=å"),
    ])
    func letters(text: String, other: String) throws {
        #expect(try DistinguishedName(text) == DistinguishedName(other))
        #expect(try DistinguishedName(text).normalized == DistinguishedName(other).normalized)
    }

    @Test("No two names are one that OpenLDAP keeps apart", arguments: [
        ("cn=a\u{200B}b", "cn=ab"), ("cn=a\u{AD}b", "cn=ab"), ("cn=Straße", "cn=STRASSE"), ("cn=ς", "cn=σ"), ("cn=ı", "cn=i"), (#"cn=a\09b"#, "cn=a b"), ("cn=u", "cn=ü"),
    ])
    func apart(text: String, other: String) throws { #expect(try DistinguishedName(text) != DistinguishedName(other)) }

    @Test("Values of types that regard case differ by it")
    func exactCase() throws {
        #expect(try DistinguishedName("xmppContactGroup=Friends,dc=x") != DistinguishedName("xmppContactGroup=friends,dc=x"))
        #expect(try DistinguishedName("xmppContactGroup= Friends ,dc=x") == DistinguishedName("xmppContactGroup=Friends,dc=x"))
    }

    @Test("What is no name is refused, with the place", arguments: [
        ("cn", LDAPTextError(.expected("="), at: 2)), ("=a", LDAPTextError(.attributeDescription, at: 0)), ("cn=a,", LDAPTextError(.attributeDescription, at: 5)),
        ("cn=a+", LDAPTextError(.attributeDescription, at: 5)), ("cn=a,,dc=b", LDAPTextError(.attributeDescription, at: 5)),
        (#"cn=a\"#, LDAPTextError(.escape, at: 4)), (#"cn=\g"#, LDAPTextError(.escape, at: 3)), (#"cn=a"b"#, LDAPTextError(.unescaped(0x22), at: 4)),
        ("cn=a<b", LDAPTextError(.unescaped(0x3C), at: 4)), (#"cn="a"#, LDAPTextError(.expected("a quotation mark"), at: 5)),
        (#"cn="a"b"#, LDAPTextError(.expected("a comma"), at: 6)), ("cn=#", LDAPTextError(.encodedValue, at: 3)), ("cn=#0", LDAPTextError(.encodedValue, at: 3)),
        ("cn=#0402", LDAPTextError(.encodedValue, at: 3)), ("cn=#04024869zz", LDAPTextError(.encodedValue, at: 3)), ("cn=#0402486900", LDAPTextError(.encodedValue, at: 3)),
        ("cn=#0480", LDAPTextError(.encodedValue, at: 3)), (#"cn=\c3"#, LDAPTextError(.notUTF8, at: 3)), ("c n=a", LDAPTextError(.expected("="), at: 2)),
        ("cn;lang-de=a", LDAPTextError(.expected("="), at: 2)),
    ])
    func refused(text: String, error: LDAPTextError) { #expect(throws: error) { try DistinguishedName(text) } }

    @Test("An octet of zero has to be escaped, and is")
    func zero() throws {
        #expect(throws: LDAPTextError(.unescaped(0), at: 4)) { try DistinguishedName("cn=a\0") }
        #expect(DistinguishedName([RelativeDistinguishedName("cn", "a\0b")]).description == #"cn=a\00b"#)
    }

    @Test("A name has 64 steps, a step 16 attributes, a text 16,384 octets, and no more")
    func limits() {
        func steps(_ count: Int) -> String { (0..<count).map { "cn=\($0)" }.joined(separator: ",") }
        #expect(throws: Never.self) { try DistinguishedName(steps(DistinguishedName.relativeNamesMax)) }
        #expect(throws: LDAPTextError.self) { try DistinguishedName(steps(DistinguishedName.relativeNamesMax + 1)) }
        func attributes(_ count: Int) -> String { (0..<count).map { "cn=\($0)" }.joined(separator: "+") }
        #expect(throws: Never.self) { try DistinguishedName(attributes(RelativeDistinguishedName.attributesMax)) }
        #expect(throws: LDAPTextError.self) { try DistinguishedName(attributes(RelativeDistinguishedName.attributesMax + 1)) }
        func long(_ octets: Int) -> String { "cn=" + String(repeating: "x", count: octets - 3) }
        #expect(throws: Never.self) { try DistinguishedName(long(DistinguishedName.octetsMax)) }
        #expect(throws: LDAPTextError(.tooLong(octetsMax: 16_384), at: 16_384)) { try DistinguishedName(long(DistinguishedName.octetsMax + 1)) }
    }

    @Test("Names in names in names are read in no time")
    func nestedNames() throws {
        let name = try DistinguishedName(String(repeating: "member=", count: 2_000) + "x")
        #expect(name.relativeNames.count == 1)
    }

    @Test("A value that a stranger gives is a value, whatever is in it", arguments: [
        ("d'art, agnan@x", #"xmppContact=d'art\, agnan@x"#), (" a ", #"xmppContact=\ a\ "#), ("#a", ##"xmppContact=\#a"##),
        (##"a"b+c,d;e<f>g\h=i"##, #"xmppContact=a\"b\+c\,d\;e\<f\>g\\h=i"#), ("x,dc=evil", #"xmppContact=x\,dc=evil"#), (" ", #"xmppContact=\ "#), ("é", "xmppContact=é"),
        ("", "xmppContact="),
    ])
    func values(value: String, text: String) throws {
        let name = DistinguishedName([]).child(RelativeDistinguishedName("xmppContact", value))
        #expect(name.description == text)
        let read = try DistinguishedName(text)
        #expect(read == name)
        #expect(read.relativeNames[0].ordered[0].value == octets(value))
    }

    @Test("The contact of directory.md's example is the same in both spellings")
    func hexComma() throws {
        let made = DistinguishedName([RelativeDistinguishedName("xmppContact", "d'art, agnan@x")])
        #expect(try DistinguishedName(#"xmppContact=d'art\2C agnan@x"#) == made)
    }

    @Test("It is known what lies below what")
    func tree() throws {
        let base = try DistinguishedName("ou=People,dc=example,dc=org")
        let carol = try DistinguishedName("uid=carol,OU=people,dc=example,dc=org")
        let deep = try DistinguishedName("cn=phone,uid=carol,ou=people,dc=example,dc=org")
        #expect(carol.parent == base)
        #expect(carol.isDescendant(of: base) && deep.isDescendant(of: base) && !base.isDescendant(of: base) && !base.isDescendant(of: carol))
        #expect(carol.isDescendant(of: .root) && DistinguishedName.root.parent == nil && DistinguishedName.root.relativeName == nil)
        #expect(try !DistinguishedName("uid=carol,xou=people,dc=example,dc=org").isDescendant(of: base))
        #expect(deep.relative(to: base)?.description == "cn=phone,uid=carol" && base.relative(to: base) == .root && base.relative(to: carol) == nil)
        #expect(deep.relative(to: base)?.under(base) == deep)
        #expect([SearchRequest.Scope.baseObject, .singleLevel, .wholeSubtree].map { carol.isInScope($0, of: base) } == [false, true, true])
        #expect([SearchRequest.Scope.baseObject, .singleLevel, .wholeSubtree].map { base.isInScope($0, of: base) } == [true, false, true])
        #expect([SearchRequest.Scope.baseObject, .singleLevel, .wholeSubtree].map { deep.isInScope($0, of: base) } == [false, false, true])
    }

    @Test("What was written is kept")
    func asWritten() throws {
        #expect(try DistinguishedName("CN = Carol  Ops, OU=People").description == "CN=Carol  Ops,OU=People")
        #expect(try DistinguishedName("cn=#02020102").description == "cn=#02020102")
    }

    @Test("Any name can be written and read again, as it was and as it is compared")
    func roundTrip() throws {
        var random = SeededTexts(seed: 4_514)
        for _ in 0..<2_000 {
            let name = random.name()
            #expect(try DistinguishedName(name.description) == name)
            #expect(try DistinguishedName(name.normalized) == name)
            #expect(try DistinguishedName(name.normalized).normalized == name.normalized)
            #expect(try DistinguishedName(name.description).relativeNames.flatMap(\.ordered).map(\.value) == name.relativeNames.flatMap(\.ordered).map(\.value))
        }
    }

    @Test("Placeholders stand for values or parts of them, and what takes their place is nothing else")
    func templates() throws {
        let template = try DistinguishedNameTemplate("uid=%u,cn=%j 100%%,ou=people,dc=example,dc=org")
        let name = try template.name(Substitutes(localpart: "carol,dc=evil+x=\"", domainpart: "example.org"))
        #expect(name.relativeNames.count == 5)
        #expect(name.description == #"uid=carol\,dc=evil\+x=\",cn=carol\,dc=evil\+x=\"@example.org 100%,ou=people,dc=example,dc=org"#)
        #expect(throws: LDAPTextError.self) { try DistinguishedNameTemplate("%u=carol") }
        #expect(throws: LDAPTextError(.placeholder, at: 3)) { try DistinguishedNameTemplate("cn=%x") }
        #expect(throws: LDAPTextError(.missing(.resourcepart), at: 3)) { try DistinguishedNameTemplate("cn=%r").name(Substitutes(localpart: "a")) }
        #expect(try DistinguishedName("cn=%x").description == "cn=%x")
    }

    @Test("Spaces of what takes a placeholder's place are not lost")
    func templateSpaces() throws {
        let name = try DistinguishedNameTemplate("cn=a %u ,dc=x").name(Substitutes(localpart: " b "))
        #expect(name.relativeNames[0].ordered[0].value == octets("a  b "))
    }
}

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
