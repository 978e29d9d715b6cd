import MartletLDAP
import NIOCore
import Testing

@Suite("LDAP messages")
struct LDAPMessageTests {
    @Test("differ by their controls")
    func controls() {
        let plain = LDAPMessage(1, .unbindRequest)
        #expect(plain != LDAPMessage(1, .unbindRequest, controls: [LDAPControl("1.2.3")]))
    }

    @Test("what OpenLDAP and ldap3 said is read, and would be said in the same octets")
    func captured() throws {
        let captured = try Wire.captured()
        #expect(captured.count > 250)
        for captured in captured { #expect(try Wire.bytes(Wire.read(captured.bytes)) == captured.bytes, "\(captured.command)") }
        // Nothing that is said in any direction is missing, but for abandoning.
        let kinds = Set(try captured.map { try Wire.read($0.bytes).operation.kind })
        #expect(Set(LDAPOperation.Kind.allCases).subtracting(kinds) == [.abandonRequest])
    }

    @Test("lengths of four octets mean the same, as Active Directory writes them")
    func longLengths() throws {
        for captured in try Wire.captured() {
            let long = Node.all(captured.bytes)[0].bytesWithLongLengths
            #expect(try Wire.read(long) == Wire.read(captured.bytes), "\(captured.command)")
        }
    }

    @Test("a bind that Active Directory refuses is read")
    func activeDirectory() throws {
        let text = "80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data 52e, v3839\0"
        let result = Wire.element(0x61, [0x0A, 1, 49], Wire.string(""), Wire.string(text))
        let long = Node.all(Wire.message(result))[0].bytesWithLongLengths
        #expect(try Wire.read(long) == LDAPMessage(1, .bindResponse(BindResponse(LDAPResult(.invalidCredentials, text)))))
    }

    @Test("a search by ldapsearch means what its command says")
    func search() throws {
        let expected = SearchRequest(
            "dc=example,dc=org", .wholeSubtree,
            .or([
                .greaterOrEqual("sn", Array("Br".utf8)), .lessOrEqual("sn", Array("Ad".utf8)), .approximate("cn", Array("alice".utf8)),
                .extensible(.init(matchingRule: "caseExactMatch", attribute: "cn", value: Array("Bob Brown".utf8))),
                .extensible(.init(matchingRule: nil, attribute: "ou", value: Array("people".utf8), hasDNAttributes: true)),
                .extensible(.init(matchingRule: "2.5.13.5", attribute: nil, value: Array("people".utf8), hasDNAttributes: true)),
                .substrings("cn", .init(initial: Array("a".utf8), any: [Array("b".utf8), Array("c".utf8)], final: Array("d".utf8))),
            ]), attributes: ["1.1"])
        #expect(try operations(ofCommandWith: "cn:caseExactMatch:=").contains(.searchRequest(expected)))
    }

    @Test("limits and aliases of a search are those of the command")
    func searchOptions() throws {
        let expected = SearchRequest(
            "ou=people,dc=example,dc=org", .singleLevel, .and([]), attributes: ["*", "+"], dereferenceAliases: .always, sizeLimit: 3, timeLimit: 5,
            typesOnly: true)
        #expect(try operations(ofCommandWith: "-a always -z 3 -l 5 -A").contains(.searchRequest(expected)))
    }

    private func operations(ofCommandWith part: String) throws -> [LDAPOperation] {
        try Wire.captured().filter { $0.command.contains(part) }.map { try Wire.read($0.bytes).operation }
    }

    @Test("changes of an entry by ldapmodify, ldapmodrdn and ldapcompare are read")
    func changes() throws {
        let erin = "uid=erin,ou=people,dc=example,dc=org"
        let modify = ModifyRequest(
            erin,
            [
                .init(.add, LDAPAttribute("title", strings: ["one", "two"])), .init(.replace, LDAPAttribute("sn", "E")),
                .init(.delete, LDAPAttribute("jpegPhoto", [])),
            ])
        #expect(try operations(ofCommandWith: "!preread=cn,title").contains(.modifyRequest(modify)))
        let increment = ModifyRequest("cn=policy,dc=example,dc=org", [.init(.increment, LDAPAttribute("pwdMaxFailure", "1"))])
        #expect(try operations(ofCommandWith: "increment: pwdMaxFailure").contains(.modifyRequest(increment)))
        let moved = ModifyDNRequest(erin, newRDN: "uid=erin2", deletesOldRDN: true, newSuperior: "ou=groups,dc=example,dc=org")
        #expect(try operations(ofCommandWith: "ldapmodrdn").contains(.modifyDNRequest(moved)))
        let renamed = ModifyDNRequest("uid=erin2,ou=groups,dc=example,dc=org", newRDN: "uid=erin", deletesOldRDN: false)
        #expect(try operations(ofCommandWith: "ldapmodrdn").contains(.modifyDNRequest(renamed)))
        let compared = try operations(ofCommandWith: "title:three")
        #expect(compared.contains(.compareRequest(CompareRequest(erin, "title", Array("three".utf8)))))
        #expect(compared.contains(.compareResponse(LDAPResult(.compareFalse))))
        let notFound = LDAPResult(.noSuchObject, matchedDN: "ou=groups,dc=example,dc=org")
        #expect(try operations(ofCommandWith: "uid=nobody,ou=groups").contains(.delResponse(notFound)))
    }

    @Test("referrals of slapd are read, in results and between them")
    func referrals() throws {
        let places = ["ldap://ldap2.example.org/", "ldap://ldap3.example.org/"]
        let references = places.map { $0 + "ou=branch,dc=example,dc=org??sub" }
        #expect(try operations(ofCommandWith: "-b dc=example,dc=org '(ou=branch)'").contains(.searchResultReference(references)))
        let result = LDAPResult(
            .referral, matchedDN: "ou=branch,dc=example,dc=org", referrals: places.map { $0 + "uid=x,ou=branch,dc=example,dc=org??sub" })
        #expect(try operations(ofCommandWith: "-b uid=x,ou=branch").contains(.searchResultDone(result)))
    }

    @Test("an exchange by SCRAM is read")
    func sasl() throws {
        let exchange = try operations(ofCommandWith: "SCRAM-SHA-256")
        guard case .bindRequest(let first) = exchange[0], case .sasl("SCRAM-SHA-256", let credentials?) = first.authentication,
            case .bindResponse(let challenge) = exchange[1], case .bindResponse(let last) = exchange[3]
        else {
            Issue.record("\(exchange)")
            return
        }
        #expect(credentials.starts(with: Array("n,,n=bob,r=".utf8)) && first.name.isEmpty && first.version == 3)
        #expect(challenge.result.code == .saslBindInProgress && challenge.serverSASLCredentials?.starts(with: Array("r=".utf8)) == true)
        #expect(last.result.code == .success && last.serverSASLCredentials?.starts(with: Array("v=".utf8)) == true)
    }

    @Test("what is written is read again as it was, whatever it is", arguments: 1...20)
    func roundTrip(_ seed: UInt64) throws {
        var seeded = SeededMessages(seed: seed)
        for _ in 0..<500 {
            let message = seeded.message()
            let bytes = Wire.bytes(message)
            #expect(try Wire.read(bytes) == message)
            #expect(try Wire.read(Node.all(bytes)[0].bytesWithLongLengths) == message)
        }
    }

    @Test("messages are written behind what is there")
    func appending() throws {
        var buffer = ByteBuffer()
        LDAPMessage(1, .unbindRequest).encode(into: &buffer)
        LDAPMessage(2, .abandonRequest(1)).encode(into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0x30, 5, 2, 1, 1, 0x42, 0, 0x30, 6, 2, 1, 2, 0x50, 1, 1])
    }

    @Test("numbers take as many octets as they need and no more", arguments: [0: 1, 127: 1, 128: 2, 32_767: 2, 32_768: 3, 8_388_608: 4, Int32.max: 4])
    func numbers(_ number: Int32, _ octets: Int) throws {
        let bytes = Wire.bytes(LDAPMessage(1, .abandonRequest(number)))
        #expect(bytes.count == 7 + octets && bytes[6] == UInt8(octets))
        #expect(try Wire.read(bytes) == LDAPMessage(1, .abandonRequest(number)))
    }

    @Test("lengths take as many octets as they need and no more", arguments: [127: 1, 128: 2, 255: 2, 256: 3, 65_535: 3, 65_536: 4])
    func lengths(_ count: Int, _ octets: Int) throws {
        let message = LDAPMessage(1, .bindRequest(BindRequest("", .simple(Array(repeating: 7, count: count)))))
        let bytes = Wire.bytes(message)
        #expect(bytes.dropLast(count).suffix(octets + 1).first == 0x80)
        #expect(try Wire.read(bytes) == message)
    }
}
