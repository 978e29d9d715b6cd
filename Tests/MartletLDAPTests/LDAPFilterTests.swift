import MartletLDAP
import Testing

@Suite("Texts of filters (RFC 4515)")
struct LDAPFilterTests {
    @Test("RFC 4515 §4's examples mean what it says", arguments: [
        ("(cn=Babs Jensen)", LDAPFilter.equality("cn", octets("Babs Jensen"))),
        ("(!(cn=Tim Howes))", .not(.equality("cn", octets("Tim Howes")))),
        (
            "(&(objectClass=Person)(|(sn=Jensen)(cn=Babs J*)))",
            .and([
                .equality("objectClass", octets("Person")),
                .or([.equality("sn", octets("Jensen")), .substrings("cn", .init(initial: octets("Babs J")))]),
            ])
        ),
        ("(o=univ*of*mich*)", .substrings("o", .init(initial: octets("univ"), any: [octets("of"), octets("mich")]))),
        ("(seeAlso=)", .equality("seeAlso", [])),
        ("(cn:caseExactMatch:=Fred Flintstone)", .extensible(.init(matchingRule: "caseExactMatch", attribute: "cn", value: octets("Fred Flintstone")))),
        ("(cn:=Betty Rubble)", .extensible(.init(matchingRule: nil, attribute: "cn", value: octets("Betty Rubble")))),
        (
            "(sn:dn:2.4.6.8.10:=Barney Rubble)",
            .extensible(.init(matchingRule: "2.4.6.8.10", attribute: "sn", value: octets("Barney Rubble"), hasDNAttributes: true))
        ),
        ("(o:dn:=Ace Industry)", .extensible(.init(matchingRule: nil, attribute: "o", value: octets("Ace Industry"), hasDNAttributes: true))),
        ("(:1.2.3:=Wilma Flintstone)", .extensible(.init(matchingRule: "1.2.3", attribute: nil, value: octets("Wilma Flintstone")))),
        ("(:DN:2.4.6.8.10:=Dino)", .extensible(.init(matchingRule: "2.4.6.8.10", attribute: nil, value: octets("Dino"), hasDNAttributes: true))),
        (#"(o=Parens R Us \28for all your parenthetical needs\29)"#, .equality("o", octets("Parens R Us (for all your parenthetical needs)"))),
        (#"(cn=*\2A*)"#, .substrings("cn", .init(any: [octets("*")]))),
        (#"(filename=C:\5cMyFile)"#, .equality("filename", octets(#"C:\MyFile"#))),
        (#"(bin=\00\00\00\04)"#, .equality("bin", [0, 0, 0, 4])),
        (#"(sn=Lu\c4\8di\c4\87)"#, .equality("sn", octets("Lučić"))),
        (#"(1.3.6.1.4.1.1466.0=\04\02\48\69)"#, .equality("1.3.6.1.4.1.1466.0", [4, 2, 0x48, 0x69])),
    ])
    func examples(text: String, filter: LDAPFilter) throws {
        #expect(try LDAPFilter(text) == filter)
        #expect(try LDAPFilter(filter.description) == filter)
    }

    @Test("All kinds are read", arguments: [
        ("(cn=*)", LDAPFilter.present("cn")), ("(cn~=carol)", .approximate("cn", octets("carol"))), ("(n>=5)", .greaterOrEqual("n", octets("5"))),
        ("(n<=5)", .lessOrEqual("n", octets("5"))), ("(&)", .and([])), ("(|)", .or([])), ("(cn;lang-de=x)", .equality("cn;lang-de", octets("x"))),
        ("(cn=*a)", .substrings("cn", .init(final: octets("a")))), ("(cn=a*b)", .substrings("cn", .init(initial: octets("a"), final: octets("b")))),
        ("(cn=**)", .present("cn")), ("(cn=a**b)", .substrings("cn", .init(initial: octets("a"), final: octets("b")))),
        (" (& (a=1)\n  (! (b=2) ) ) ", .and([.equality("a", octets("1")), .not(.equality("b", octets("2")))])), ("(a= 1 )", .equality("a", octets(" 1 "))),
    ])
    func kinds(text: String, filter: LDAPFilter) throws { #expect(try LDAPFilter(text) == filter) }

    @Test("What is no filter is refused, with the place", arguments: [
        ("", LDAPTextError(.expected("("), at: 0)), ("cn=a", LDAPTextError(.expected("("), at: 0)), ("(cn=a", LDAPTextError(.expected(")"), at: 5)),
        ("(cn=a))", LDAPTextError(.expected("the end"), at: 6)), ("(cn=a)(cn=b)", LDAPTextError(.expected("the end"), at: 6)),
        ("(cn=(a)", LDAPTextError(.unescaped(0x28), at: 4)), (#"(cn=\2)"#, LDAPTextError(.escape, at: 4)), (#"(cn=\zz)"#, LDAPTextError(.escape, at: 4)),
        ("(=a)", LDAPTextError(.attributeDescription, at: 1)),
        ("(c n=a)", LDAPTextError(.expected("=, ~=, >=, <= or :="), at: 2)), ("(-cn=a)", LDAPTextError(.attributeDescription, at: 1)),
        ("(1..2=a)", LDAPTextError(.attributeDescription, at: 1)), ("(cn;=a)", LDAPTextError(.attributeDescription, at: 1)),
        ("(&(a=1)", LDAPTextError(.expected(")"), at: 7)), ("(!)", LDAPTextError(.expected("("), at: 2)), ("(!(a=1)(b=2))", LDAPTextError(.expected(")"), at: 7)),
        ("(:=a)", LDAPTextError(.expected("a matching rule"), at: 2)), ("(:dn:=a)", LDAPTextError(.expected("a matching rule"), at: 5)),
        ("(cn::=a)", LDAPTextError(.expected("a matching rule"), at: 4)), ("(cn~a)", LDAPTextError(.expected("="), at: 4)),
    ])
    func refused(text: String, error: LDAPTextError) {
        #expect(throws: error) { try LDAPFilter(text) }
    }

    @Test("An octet of zero has to be escaped")
    func zero() { #expect(throws: LDAPTextError(.unescaped(0), at: 5)) { try LDAPFilter("(cn=a\0)") } }

    @Test("A filter lies 32 deep and no deeper")
    func depth() throws {
        func nested(_ depth: Int) -> String { String(repeating: "(!", count: depth - 1) + "(a=1)" + String(repeating: ")", count: depth - 1) }
        #expect(throws: Never.self) { try LDAPFilter(nested(LDAPFilter.depthMax)) }
        #expect(throws: LDAPTextError(.tooDeep(levelsMax: 32), at: 64)) { try LDAPFilter(nested(LDAPFilter.depthMax + 1)) }
    }

    @Test("A filter has 2,000 parts and no more, whether filters or parts of substrings")
    func nodes() throws {
        func wide(_ count: Int) -> String { "(|" + String(repeating: "(a=1)", count: count - 1) + ")" }
        #expect(throws: Never.self) { try LDAPFilter(wide(LDAPFilter.nodesMax)) }
        #expect(throws: LDAPTextError.self) { try LDAPFilter(wide(LDAPFilter.nodesMax + 1)) }
        func starred(_ count: Int) -> String { "(a=" + String(repeating: "*x", count: count - 1) + ")" }
        #expect(throws: Never.self) { try LDAPFilter(starred(LDAPFilter.nodesMax)) }
        #expect(throws: LDAPTextError.self) { try LDAPFilter(starred(LDAPFilter.nodesMax + 1)) }
    }

    @Test("A text has 65,536 octets and no more")
    func length() {
        func long(_ octets: Int) -> String { "(a=" + String(repeating: "x", count: octets - 4) + ")" }
        #expect(throws: Never.self) { try LDAPFilter(long(LDAPFilter.octetsMax)) }
        #expect(throws: LDAPTextError(.tooLong(octetsMax: 65_536), at: 65_536)) { try LDAPFilter(long(LDAPFilter.octetsMax + 1)) }
    }

    @Test("What means something, and what nobody sees, is escaped; and a line stays one")
    func escapes() {
        let value = LDAPFilter.equality("mail", octets("a*b(c)\\\0\r\né\u{7F}"))
        #expect(value.description == #"(mail=a\2ab\28c\29\5c\00\0d\0a\c3\a9\7f)"#)
        #expect(LDAPFilter.equality("a\n)(b", []).description == #"(a\0a\29\28b=)"#)
    }

    @Test("Any filter can be written and read again")
    func roundTrip() throws {
        var random = SeededTexts(seed: 4_515)
        for _ in 0..<2_000 {
            let filter = random.filter(depth: 4)
            #expect(try LDAPFilter(filter.description) == filter)
        }
    }
}

@Suite("Filters with placeholders")
struct LDAPFilterTemplateTests {
    private let carol = Substitutes(localpart: "carol", domainpart: "example.org", resourcepart: "phone")

    @Test("Each letter stands for a part of the address, and %% for a percent sign")
    func letters() throws {
        let template = try LDAPFilterTemplate("(|(uid=%u)(dc=%d)(mail=%j)(x=%r)(y=100%%)(mail=%u@%d)(cn=*%u*))")
        let filter = try LDAPFilter("(|(uid=carol)(dc=example.org)(mail=carol@example.org)(x=phone)(y=100%)(mail=carol@example.org)(cn=*carol*))")
        #expect(try template.filter(carol) == filter)
    }

    @Test("Whatever takes a placeholder's place is a value and nothing else", arguments: ["carol*)(uid=*", "*", ")", "(", #"\2a"#, "%d", "Carol (Ops) *Chief*"])
    func injection(value: String) throws {
        let template = try LDAPFilterTemplate("(&(objectClass=person)(mail=%u))")
        let filter = try template.filter(Substitutes(localpart: value, domainpart: "example.org"))
        #expect(filter == .and([.equality("objectClass", octets("person")), .equality("mail", octets(value))]))
        #expect(try LDAPFilter(filter.description) == filter)
    }

    @Test("An octet of zero is a part of the value as any other")
    func zero() throws {
        let filter = try LDAPFilterTemplate("(mail=%u)").filter(Substitutes(localpart: "a\0b"))
        #expect(filter.description == #"(mail=a\00b)"#)
    }

    @Test("Placeholders stand only in values", arguments: ["(%u=a)", "(a%u=b)", "(cn:%u:=a)", "(&%u)", "%u"])
    func onlyInValues(text: String) { #expect(throws: LDAPTextError.self) { try LDAPFilterTemplate(text) } }

    @Test("A percent sign before something else is refused, with the place", arguments: ["(a=%x)", "(a=%)", "(a=%"])
    func unknown(text: String) { #expect(throws: LDAPTextError(.placeholder, at: 3)) { try LDAPFilterTemplate(text) } }

    @Test("Without placeholders a percent sign is one")
    func plain() throws { #expect(try LDAPFilter("(a=%u)") == .equality("a", octets("%u"))) }

    @Test("What is not known is not left out")
    func missing() throws {
        let template = try LDAPFilterTemplate("(a=%r)")
        #expect(throws: LDAPTextError(.missing(.resourcepart), at: 3)) { try template.filter(Substitutes(localpart: "a", domainpart: "b")) }
        let whole = try LDAPFilterTemplate("(a=%j)")
        #expect(throws: LDAPTextError(.missing(.bareJID), at: 3)) { try whole.filter(Substitutes(localpart: "a")) }
    }

    @Test("A part of substrings that becomes empty is none (RFC 4511 §4.5.1.7.2)")
    func emptyPart() throws {
        let nobody = Substitutes(localpart: "", domainpart: "")
        #expect(try LDAPFilterTemplate("(cn=*%u*b)").filter(nobody) == .substrings("cn", .init(final: octets("b"))))
        #expect(try LDAPFilterTemplate("(cn=*%u*)").filter(nobody) == .present("cn"))
    }
}

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
