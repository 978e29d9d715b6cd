import MartletLDAP
import Testing

@Suite("LDIF (RFC 2849)")
struct LDIFTests {
    @Test("Two entries (RFC 2849's example 1)")
    func example1() throws {
        let records = try LDIFReader.records(
            """
            version: 1
            dn: cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com
            objectclass: top
            objectclass: person
            objectclass: organizationalPerson
            cn: Barbara Jensen
            cn: Barbara J Jensen
            cn: Babs Jensen
            sn: Jensen
            uid: bjensen
            telephonenumber: +1 408 555 1212
            description: A big sailing fan.

            dn: cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com
            objectclass: top
            objectclass: person
            objectclass: organizationalPerson
            cn: Bjorn Jensen
            sn: Jensen
            telephonenumber: +1 408 555 1212
            """)
        let barbara = LDAPEntry(
            "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com",
            [
                LDAPAttribute("objectclass", strings: ["top", "person", "organizationalPerson"]),
                LDAPAttribute("cn", strings: ["Barbara Jensen", "Barbara J Jensen", "Babs Jensen"]), LDAPAttribute("sn", "Jensen"), LDAPAttribute("uid", "bjensen"),
                LDAPAttribute("telephonenumber", "+1 408 555 1212"), LDAPAttribute("description", "A big sailing fan."),
            ])
        #expect(records.count == 2 && records[0] == LDIFRecord(.entry(barbara)))
        #expect(records[1].name == "cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com")
    }

    @Test("A line goes on where the next begins with a space, and comments do as well (example 2)")
    func example2() throws {
        let records = try LDIFReader.records("# a comment\n  that goes on\ndn:cn=a\ndescription:Babs is a big sailing fan, and travels ex\n tensively in sea\n rch\r\n  of perfect sailing conditions.\r\n")
        #expect(records == [entry("cn=a", [LDAPAttribute("description", "Babs is a big sailing fan, and travels extensively in search of perfect sailing conditions.")])])
    }

    @Test("A value in base64 is any octets (example 3)")
    func example3() throws {
        let text = """
            dn: cn=Gern Jensen, ou=Product Testing, dc=airius, dc=com
            description:: V2hhdCBhIGNhcmVmdWwgcmVhZGVyIHlvdSBhcmUhICBUaGlzIHZhbHVlIGlzIGJhc2UtNjQtZW5jb2RlZCBiZWNhdXNlIGl0IGhhcyBhIGNvbnRyb2wgY2hhcmFjdGVyIGluIGl0IChhIENSKS4NICBCeSB0aGUgd2F5LCB5b3Ugc2hvdWxkIHJlYWxseSBnZXQgb3V0IG1vcmUu
            """
        let value =
            "What a careful reader you are!  This value is base-64-encoded because it has a control character in it (a CR).\r  By the way, you should really get out more."
        #expect(try LDIFReader.records(text) == [entry("cn=Gern Jensen, ou=Product Testing, dc=airius, dc=com", [LDAPAttribute("description", value)])])
    }

    @Test("Names and attributes may have any letters (example 4)")
    func example4() throws {
        let records = try LDIFReader.records("dn:: b3U95Za25qWt6YOoLG89QWlyaXVz\n# dn:: ou=<JapaneseOU>,o=Airius\nou:: 5Za25qWt6YOo\nou;lang-ja:: 5Za25qWt6YOo\nou;lang-en: Sales\n")
        let attributes = [LDAPAttribute("ou", "営業部"), LDAPAttribute("ou;lang-ja", "営業部"), LDAPAttribute("ou;lang-en", "Sales")]
        #expect(records == [entry("ou=営業部,o=Airius", attributes)])
    }

    @Test("A value that is to be read from a file is refused (example 5)")
    func example5() {
        #expect(throws: LDIFError(.address, line: 3)) {
            try LDIFReader.records("dn: cn=Horatio Jensen\ncn: Horatio Jensen\njpegphoto:< file:///usr/local/directory/photos/hjensen.jpg\n")
        }
    }

    @Test("All kinds of changes (examples 6 and 7, RFC 4525)")
    func changes() throws {
        let records = try LDIFReader.records(Self.changes)
        #expect(
            records == [
                LDIFRecord(.add(LDAPEntry("cn=Fiona", [LDAPAttribute("objectclass", strings: ["top", "person"]), LDAPAttribute("cn", "Fiona")]))),
                LDIFRecord(.delete("cn=Robert Jensen, ou=Marketing, dc=airius, dc=com")),
                LDIFRecord(.modifyDN(ModifyDNRequest("cn=Paul Jensen,dc=com", newRDN: "cn=Paula Jensen", deletesOldRDN: true))),
                LDIFRecord(
                    .modifyDN(ModifyDNRequest("ou=PD,dc=com", newRDN: "ou=Product", deletesOldRDN: false, newSuperior: "ou=Accounting, dc=airius, dc=com"))),
                LDIFRecord(
                    .modify(
                        ModifyRequest(
                            "cn=Paula Jensen,dc=com",
                            [
                                .init(.add, LDAPAttribute("postaladdress", "123 Anystreet $ Sunnyvale, CA $ 94086")),
                                .init(.delete, LDAPAttribute("description", [])),
                                .init(.replace, LDAPAttribute("telephonenumber", strings: ["+1 408 555 1234", "+1 408 555 5678"])),
                                .init(.delete, LDAPAttribute("facsimiletelephonenumber", "+1 408 555 9876")),
                                .init(.increment, LDAPAttribute("martletConfigVersion", "1")),
                            ]))),
                LDIFRecord(.delete("ou=Product Development, dc=airius, dc=com"), controls: [LDAPControl("1.2.840.113556.1.4.805", isCritical: true)]),
                LDIFRecord(
                    .delete("cn=x"),
                    controls: [LDAPControl("1.2.3", value: Array("a".utf8)), LDAPControl("1.2.4", isCritical: false), LDAPControl("1.2.5", value: [0, 1])]),
            ])
        #expect(try LDIFReader.records(LDIFWriter.text(records)) == records)
    }

    private static let changes = """
        version: 1
        # Add a new entry
        dn: cn=Fiona
        changetype: add
        objectclass: top
        objectclass: person
        cn: Fiona

        # Delete an existing entry
        dn: cn=Robert Jensen, ou=Marketing, dc=airius, dc=com
        changetype: delete


        dn: cn=Paul Jensen,dc=com
        changetype: modrdn
        newrdn: cn=Paula Jensen
        deleteoldrdn: 1

        dn: ou=PD,dc=com
        changetype: moddn
        newrdn: ou=Product
        deleteoldrdn: 0
        newsuperior: ou=Accounting, dc=airius, dc=com

        dn: cn=Paula Jensen,dc=com
        changetype: modify
        add: postaladdress
        postaladdress: 123 Anystreet $ Sunnyvale, CA $ 94086
        -
        delete: description
        -
        replace: telephonenumber
        telephonenumber: +1 408 555 1234
        telephonenumber: +1 408 555 5678
        -
        delete: facsimiletelephonenumber
        facsimiletelephonenumber: +1 408 555 9876
        -
        increment: martletConfigVersion
        martletConfigVersion: 1
        -

        dn: ou=Product Development, dc=airius, dc=com
        control: 1.2.840.113556.1.4.805 true
        changetype: delete

        dn: cn=x
        control: 1.2.3: a
        control: 1.2.4 false
        control: 1.2.5:: AAE=
        changetype: delete
        """

    @Test("What is no LDIF is refused, with the line", arguments: [
        ("version: 2\n", LDIFError(.version, line: 1)), ("cn: a\n", LDIFError(.expected("dn:"), line: 1)), (" dn: cn=a\n", LDIFError(.continuation, line: 1)),
        ("dn: cn=a\n", LDIFError(.expected("an attribute"), line: 1)), ("dn: cn=a\nx\n", LDIFError(.expected("a colon"), line: 2)),
        ("\n\ndn: a\ncn: a\n", LDIFError(.name(LDAPTextError(.expected("="), at: 1)), line: 3)), ("dn: cn=a\nc n: a\n", LDIFError(.attributeDescription, line: 2)),
        ("dn: cn=a\ncn:: %%%%\n", LDIFError(.base64, line: 2)), ("dn: cn=a\ncn:: YQ=\n", LDIFError(.base64, line: 2)), ("dn: cn=a\ncn:: YR==\n", LDIFError(.base64, line: 2)),
        ("dn: cn=a\nchangetype: move\n", LDIFError(.expected("add, delete, modify, modrdn or moddn"), line: 2)),
        ("dn: cn=a\nchangetype: delete\ncn: a\n", LDIFError(.expected("an empty line"), line: 3)),
        ("dn: cn=a\nchangetype: modify\nput: cn\n", LDIFError(.expected("add, delete, replace or increment"), line: 3)),
        ("dn: cn=a\nchangetype: modify\nadd: cn\nsn: a\n", LDIFError(.expected("cn: or -"), line: 4)),
        ("dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b\n", LDIFError(.expected("deleteoldrdn:"), line: 3)),
        ("dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b\ndeleteoldrdn: 2\n", LDIFError(.expected("0 or 1"), line: 4)),
        ("dn: cn=a\ncontrol: 1.2.3\ncn: a\n", LDIFError(.expected("changetype"), line: 3)), ("dn: cn=a\ncontrol: 1.2.3 yes\nchangetype: delete\n", LDIFError(.expected("true or false"), line: 2)),
        ("dn: cn=a\ncontrol: !\nchangetype: delete\n", LDIFError(.expected("an OID"), line: 2)), ("dn: cn=a\ncn: a\n\nx: y\n", LDIFError(.expected("dn:"), line: 4)),
        ("dn: cn=a\nd\n e: f\ng\n", LDIFError(.expected("a colon"), line: 4)),
    ])
    func refused(text: String, error: LDIFError) { #expect(throws: error) { try LDIFReader.records(text) } }

    @Test("An octet of zero has to be in base64")
    func zero() { #expect(throws: LDIFError(.unescaped(0), line: 2)) { try LDIFReader.records("dn: cn=a\ncn: a\0\n") } }

    @Test("Nothing, comments and a version are no records", arguments: ["", "\n\n", "# x\n", "version: 1\n", "version: 1", "version:1\n\n\n"])
    func empty(text: String) throws { #expect(try LDIFReader.records(text).isEmpty) }

    @Test("Octets, lines and records are bounded")
    func limits() throws {
        var limits = LDIFReader.Limits()
        (limits.octetsMax, limits.lineOctetsMax, limits.recordOctetsMax, limits.recordLinesMax) = (100, 20, 40, 4)
        func records(_ text: String) throws -> Int {
            var reader = try LDIFReader(Array(text.utf8), limits: limits)
            var count = 0
            while try reader.next() != nil { count += 1 }
            return count
        }
        let small = "dn: cn=a\ncn: abcdef\n\n"
        #expect(try records(String(repeating: small, count: 4) + String(repeating: "\n", count: 16)) == 4)
        #expect(throws: LDIFError(.tooLong(octetsMax: 100), line: 1)) { try records(String(repeating: small, count: 4) + String(repeating: "\n", count: 17)) }
        #expect(try records("dn: cn=a\ncn: aaaaaaaa\n aaaaaaaa") == 1)
        #expect(throws: LDIFError(.tooLong(octetsMax: 20), line: 2)) { try records("dn: cn=a\ncn: aaaaaaaa\n aaaaaaaaa") }
        #expect(try records("dn: cn=a\ncn: 1\ncn: 2\ncn: 3\n") == 1)
        #expect(throws: LDIFError(.tooMany(max: 4), line: 5)) { try records("dn: cn=a\ncn: 1\ncn: 2\ncn: 3\ncn: 4\n") }
        #expect(try records("dn: cn=a\ncn: 567890123456\ncn: 567890123456") == 1)
        #expect(throws: LDIFError(.tooLong(octetsMax: 40), line: 3)) { try records("dn: cn=a\ncn: 567890123456\ncn: 5678901234567") }
    }

    @Test("Lines have 76 columns, and what is not safe is in base64")
    func written() {
        let record = LDIFRecord(
            .entry(
                LDAPEntry(
                    "cn=é",
                    [
                        LDAPAttribute("description", String(repeating: "x", count: 160)),
                        LDAPAttribute("cn", strings: [" a", "a ", ":a", "<a", "a:<", "a\n", "", "é"]),
                    ])))
        let text = """
            dn:: Y249w6k=
            description: \(String(repeating: "x", count: 63))
             \(String(repeating: "x", count: 75))
             \(String(repeating: "x", count: 22))
            cn:: IGE=
            cn:: YSA=
            cn:: OmE=
            cn:: PGE=
            cn: a:<
            cn:: YQo=
            cn:
            cn:: w6k=

            """
        #expect(LDIFWriter.text([record], hasVersion: false) == text)
    }

    @Test("Entries come parents first and always alike")
    func sorted() {
        let entries = [
            LDAPEntry("cn=b,dc=example,dc=org", [LDAPAttribute("sn", strings: ["2", "1"]), LDAPAttribute("cn", "b"), LDAPAttribute("ObjectClass", "x")]),
            LDAPEntry("dc=example,dc=org", [LDAPAttribute("dc", "example")]), LDAPEntry("CN=a,DC=Example,dc=org", [LDAPAttribute("cn", "a")]),
            LDAPEntry("cn=x,cn=a,dc=example,dc=org", [LDAPAttribute("cn", "x")]),
        ]
        let text = LDIFWriter.text(entries)
        #expect(text == LDIFWriter.text(entries.reversed()))
        #expect(
            text == """
                version: 1

                dn: dc=example,dc=org
                dc: example

                dn: CN=a,DC=Example,dc=org
                cn: a

                dn: cn=x,cn=a,dc=example,dc=org
                cn: x

                dn: cn=b,dc=example,dc=org
                ObjectClass: x
                cn: b
                sn: 1
                sn: 2

                """)
    }

    @Test("Any record can be written and read again")
    func roundTrip() throws {
        var random = SeededTexts(seed: 2_849)
        for _ in 0..<1_000 {
            let attributes = [LDAPAttribute("cn", (0...random.below(3)).map { _ in random.octets(0...120) }), LDAPAttribute("jpegPhoto;binary", [random.octets(0...200)])]
            let name = random.name().description
            let record = LDIFRecord(random.below(2) == 0 ? .entry(LDAPEntry(name, attributes)) : .add(LDAPEntry(name, attributes)))
            #expect(try LDIFReader.records(LDIFWriter.text([record, record])) == [record, record])
        }
    }

    private func entry(_ name: String, _ attributes: [LDAPAttribute]) -> LDIFRecord { LDIFRecord(.entry(LDAPEntry(name, attributes))) }
}

@Suite("What an import would change")
struct LDIFDifferenceTests {
    private let old = [
        LDAPEntry("dc=org", [LDAPAttribute("dc", "org")]),
        LDAPEntry(
            "cn=a,dc=org",
            [
                LDAPAttribute("objectClass", strings: ["top", "martletDomain"]), LDAPAttribute("cn", "a"), LDAPAttribute("martletSetting", strings: ["x=1", "y=2", "z=3"]),
                LDAPAttribute("martletEnabled", "TRUE"), LDAPAttribute("description", "d"), LDAPAttribute("entryUUID", "584c0000-ab00-4000-8000-000000000001"),
                LDAPAttribute("seeAlso", "CN=X, dc=org"),
            ]), LDAPEntry("cn=b,dc=org", [LDAPAttribute("cn", "b")]), LDAPEntry("cn=c,cn=b,dc=org", [LDAPAttribute("cn", "c")]),
    ]

    @Test("Nothing, between what means the same")
    func same() throws {
        #expect(try LDIFDifference.changes(from: old, to: old.reversed()).isEmpty)
        var other = old
        other[1] = LDAPEntry(
            "CN=A, DC=org",
            [
                LDAPAttribute("cn", "a"), LDAPAttribute("ObjectClass", strings: ["MartletDomain", "top"]), LDAPAttribute("martletSetting", strings: ["z=3", "y=2", "x=1"]),
                LDAPAttribute("martletEnabled", "TRUE"), LDAPAttribute("description", "d"), LDAPAttribute("seeAlso", "cn=x,dc=org"), LDAPAttribute("modifyTimestamp", "20261130152355Z"),
            ])
        #expect(try LDIFDifference.changes(from: old, to: other).isEmpty)
    }

    @Test("New entries parents first, then changes, then what goes, children first")
    func order() throws {
        let new = [
            old[0],
            LDAPEntry(
                "cn=a,dc=org",
                [
                    LDAPAttribute("objectClass", strings: ["top", "martletDomain"]), LDAPAttribute("cn", "a"), LDAPAttribute("martletSetting", strings: ["x=1", "y=3", "z=3"]),
                    LDAPAttribute("martletEnabled", "FALSE"), LDAPAttribute("labeledURI", "u"), LDAPAttribute("seeAlso", "CN=X, dc=org"),
                ]), LDAPEntry("cn=e,cn=d,dc=org", [LDAPAttribute("cn", "e"), LDAPAttribute("entryCSN", "1")]), LDAPEntry("cn=d,dc=org", [LDAPAttribute("cn", "d")]),
        ]
        let changes = [
            ModifyRequest.Change(.delete, LDAPAttribute("description", [])), .init(.add, LDAPAttribute("labeledURI", "u")),
            .init(.replace, LDAPAttribute("martletEnabled", "FALSE")), .init(.delete, LDAPAttribute("martletSetting", "y=2")), .init(.add, LDAPAttribute("martletSetting", "y=3")),
        ]
        #expect(
            try LDIFDifference.changes(from: old, to: new) == [
                LDIFRecord(.add(LDAPEntry("cn=d,dc=org", [LDAPAttribute("cn", "d")]))), LDIFRecord(.add(LDAPEntry("cn=e,cn=d,dc=org", [LDAPAttribute("cn", "e")]))),
                LDIFRecord(.modify(ModifyRequest("cn=a,dc=org", changes))), LDIFRecord(.delete("cn=c,cn=b,dc=org")), LDIFRecord(.delete("cn=b,dc=org")),
            ])
    }

    @Test("Values that are all others are replaced, and how something is written counts")
    func replaced() throws {
        func changed(_ old: [String], _ new: [String]) throws -> [ModifyRequest.Change] {
            let records = try LDIFDifference.changes(from: [LDAPEntry("", [LDAPAttribute("description", strings: old)])], to: [LDAPEntry("", [LDAPAttribute("description", strings: new)])])
            guard let record = records.first, case .modify(let request) = record.content else { return [] }
            return request.changes
        }
        #expect(try changed(["a", "b"], ["c"]) == [.init(.replace, LDAPAttribute("description", "c"))])
        #expect(try changed(["a"], ["A"]) == [.init(.replace, LDAPAttribute("description", "A"))])
        #expect(try changed(["a"], ["a", "b"]) == [.init(.add, LDAPAttribute("description", "b"))])
    }

    @Test("An entry whose name is none is refused")
    func names() { #expect(throws: LDAPTextError.self) { try LDIFDifference.changes(from: [], to: [LDAPEntry("x", [])]) } }
}
