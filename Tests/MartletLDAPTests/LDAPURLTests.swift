import MartletLDAP
import Testing

@Suite("Addresses of directories (RFC 4516)")
struct LDAPURLTests {
    private static let michigan = "o=University of Michigan,c=US"

    @Test("RFC 4516 §4's examples mean what it says", arguments: [
        ("ldap:///o=University%20of%20Michigan,c=US", LDAPURL(.ldap, base: name(michigan))),
        ("ldap://ldap1.example.net/o=University%20of%20Michigan,c=US", LDAPURL(.ldap, host: "ldap1.example.net", base: name(michigan))),
        (
            "ldap://ldap1.example.net/o=University%20of%20Michigan,c=US?postalAddress",
            LDAPURL(.ldap, host: "ldap1.example.net", base: name(michigan), attributes: ["postalAddress"])
        ),
        (
            "ldap://ldap1.example.net:6666/o=University%20of%20Michigan,c=US??sub?(cn=Babs%20Jensen)",
            LDAPURL(
                .ldap, host: "ldap1.example.net", port: 6_666, base: name(michigan), scope: .wholeSubtree, filter: .equality("cn", octets("Babs Jensen")))
        ),
        (
            "LDAP://ldap1.example.com/c=GB?objectClass?ONE",
            LDAPURL(.ldap, host: "ldap1.example.com", base: name("c=GB"), attributes: ["objectClass"], scope: .singleLevel)
        ),
        ("ldap://ldap2.example.com/o=Question%3f,c=US?mail", LDAPURL(.ldap, host: "ldap2.example.com", base: name("o=Question?,c=US"), attributes: ["mail"])),
        (
            "ldap://ldap3.example.com/o=Babsco,c=US???(four-octet=%5c00%5c00%5c00%5c04)",
            LDAPURL(.ldap, host: "ldap3.example.com", base: name("o=Babsco,c=US"), filter: .equality("four-octet", [0, 0, 0, 4]))
        ),
        ("ldap://ldap.example.com/o=An%20Example%5C2C%20Inc.,c=US", LDAPURL(.ldap, host: "ldap.example.com", base: name(#"o=An Example\, Inc.,c=US"#))),
        ("ldap://ldap.example.net", LDAPURL(.ldap, host: "ldap.example.net")), ("ldap://ldap.example.net/", LDAPURL(.ldap, host: "ldap.example.net")),
        ("ldap://ldap.example.net/?", LDAPURL(.ldap, host: "ldap.example.net")),
        ("ldap:///??sub??e-bindname=cn=Manager%2cdc=example%2cdc=com", LDAPURL(.ldap, scope: .wholeSubtree, extensions: [bindName])),
        ("ldap:///??sub??!e-bindname=cn=Manager%2cdc=example%2cdc=com", LDAPURL(.ldap, scope: .wholeSubtree, extensions: [criticalBindName])),
    ])
    func examples(text: String, url: LDAPURL) throws {
        #expect(try LDAPURL(text) == url)
        #expect(try LDAPURL(url.description) == url)
    }

    private static let bindName = LDAPURL.Extension("e-bindname", "cn=Manager,dc=example,dc=com")
    private static let criticalBindName = LDAPURL.Extension("e-bindname", "cn=Manager,dc=example,dc=com", isCritical: true)

    @Test("Each says where to connect to", arguments: [
        ("ldap://a.example", LDAPURL.Address.host("a.example", port: 389, isTLS: false)), ("ldaps://a.example", .host("a.example", port: 636, isTLS: true)),
        ("ldaps://a.example:1636/", .host("a.example", port: 1_636, isTLS: true)), ("ldap://[::1]:11389", .host("::1", port: 11_389, isTLS: false)),
        ("ldap://a.example:/", .host("a.example", port: 389, isTLS: false)), ("ldap://127.0.0.1", .host("127.0.0.1", port: 389, isTLS: false)),
        ("ldapi://%2Fvar%2Frun%2Fslapd%2Fldapi/dc=x", .socket(path: "/var/run/slapd/ldapi")),
    ])
    func addresses(text: String, address: LDAPURL.Address) throws {
        let url = try LDAPURL(text)
        #expect(url.address == address)
        #expect(try LDAPURL(url.description) == url)
    }

    @Test("Who names no host leaves it to others")
    func noHost() throws {
        #expect(try LDAPURL("ldap:///dc=x").address == nil)
        #expect(try LDAPURL("ldapi:///dc=x").address == nil)
    }

    @Test("The address of a list of revoked certificates is read, its commas encoded or not")
    func distributionPoint() throws {
        let url = try LDAPURL("ldap://127.0.0.1:11389/cn=Issuing%20CA%2Cou=pki%2Cdc=example%2Cdc=org?certificateRevocationList;binary")
        #expect(url.base == name("cn=Issuing CA,ou=pki,dc=example,dc=org"))
        #expect(url.attributes == ["certificateRevocationList;binary"])
    }

    @Test("What is no address is refused, with the place", arguments: [
        ("http://a/", LDAPTextError(.expected("ldap://, ldaps:// or ldapi://"), at: 0)), ("ldap:a", LDAPTextError(.expected("ldap://, ldaps:// or ldapi://"), at: 0)),
        ("ldap://a b/", LDAPTextError(.unescaped(0x20), at: 8)), ("ldap://a:b/", LDAPTextError(.expected("a port"), at: 7)),
        ("ldap://a:0/", LDAPTextError(.expected("a port"), at: 7)), ("ldap://a:65536/", LDAPTextError(.expected("a port"), at: 7)),
        ("ldap://[::1/", LDAPTextError(.expected("]"), at: 7)), ("ldap://[x]/", LDAPTextError(.expected("an IPv6 address"), at: 7)),
        ("ldap://u@a/", LDAPTextError(.expected("a host"), at: 7)), ("ldap://:389/", LDAPTextError(.expected("a host"), at: 7)),
        ("ldap:///cn", LDAPTextError(.expected("="), at: 10)), ("ldap:///cn=a%2", LDAPTextError(.escape, at: 12)), ("ldap:///cn=%ff", LDAPTextError(.notUTF8, at: 8)),
        ("ldap:///?cn,", LDAPTextError(.attributeDescription, at: 12)), ("ldap:///??all", LDAPTextError(.expected("base, one or sub"), at: 10)),
        ("ldap:///???(cn=a", LDAPTextError(.expected(")"), at: 16)), ("ldap:///????=a", LDAPTextError(.expected("an extension"), at: 12)),
        ("ldap:///????a,", LDAPTextError(.expected("an extension"), at: 14)),
    ])
    func refused(text: String, error: LDAPTextError) { #expect(throws: error) { try LDAPURL(text) } }

    @Test("What should be encoded and is not is read all the same, and parts nothing else")
    func unencoded() throws {
        #expect(try LDAPURL("ldap:///cn=Müller?cn?sub") == LDAPURL(.ldap, base: name("cn=müller"), attributes: ["cn"], scope: .wholeSubtree))
        // The mark is an attribute's, which it may not be, and makes no other character of the question mark.
        #expect(throws: LDAPTextError(.attributeDescription, at: 13)) { try LDAPURL("ldap:///cn=a?\u{301}?sub") }
    }

    @Test("An address has 16,384 octets, and 64 attributes, and no more")
    func limits() {
        func long(_ octets: Int) -> String { "ldap:///cn=" + String(repeating: "x", count: octets - 11) }
        #expect(throws: Never.self) { try LDAPURL(long(LDAPURL.octetsMax)) }
        #expect(throws: LDAPTextError.self) { try LDAPURL(long(LDAPURL.octetsMax + 1)) }
        func attributes(_ count: Int) -> String { "ldap:///?" + (0..<count).map { "a\($0)" }.joined(separator: ",") }
        #expect(throws: Never.self) { try LDAPURL(attributes(LDAPURL.listMax)) }
        #expect(throws: LDAPTextError.self) { try LDAPURL(attributes(LDAPURL.listMax + 1)) }
    }

    @Test("A group's address says who belongs to it (memberURL)")
    func members() throws {
        let url = try LDAPURL("ldap:///ou=people,dc=example,dc=org??sub?(&(objectClass=person)(title=Chief*))")
        let chief = LDAPEntry("uid=carol,OU=People,dc=example,dc=org", [LDAPAttribute("objectClass", "person"), LDAPAttribute("title", "Chief of Ops")])
        #expect(url.isFound(chief))
        var other = chief
        other.name = "uid=carol,ou=robots,dc=example,dc=org"
        #expect(!url.isFound(other))
        let nobody = LDAPEntry(chief.name, [LDAPAttribute("objectClass", "person")])
        #expect(!url.isFound(nobody))
        #expect(try !LDAPURL("ldap:///ou=people,dc=example,dc=org").isFound(chief))
        #expect(try LDAPURL("ldap:///ou=people,dc=example,dc=org??one").isFound(chief))
    }

    @Test("Any address can be written and read again")
    func roundTrip() throws {
        var random = SeededTexts(seed: 4_516)
        for _ in 0..<1_000 {
            var url = LDAPURL([.ldap, .ldaps, .ldapi][random.below(3)], base: random.name())
            if random.below(2) == 0 { url.host = url.scheme == .ldapi ? "/run/\(random.text(1...4))" : ["a.example", "::1", "10.0.0.1"][random.below(3)] }
            if url.host != nil, url.scheme != .ldapi, random.below(2) == 0 { url.port = 1 + random.below(65_535) }
            url.attributes = (0..<random.below(3)).map { _ in random.attribute() }
            url.scope = [.baseObject, .singleLevel, .wholeSubtree][random.below(3)]
            if random.below(2) == 0 { url.filter = random.filter(depth: 2) }
            url.extensions = (0..<random.below(3)).map { _ in LDAPURL.Extension("x-a", random.below(2) == 0 ? random.text() : nil, isCritical: random.below(2) == 0) }
            #expect(try LDAPURL(url.description) == url)
        }
    }
}

/// A name that a test has written.
private func name(_ text: String) -> DistinguishedName { try! DistinguishedName(text) }

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
