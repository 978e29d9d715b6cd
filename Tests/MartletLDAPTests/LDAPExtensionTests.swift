import MartletLDAP
import Testing

@Suite("Extended operations")
struct LDAPExtensionTests {
    private func requests(ofCommandWith part: String) throws -> [ExtendedRequest] {
        try Wire.captured().filter { $0.command.contains(part) }.compactMap {
            if case .extendedRequest(let request) = try Wire.read($0.bytes).operation { request } else { nil }
        }
    }

    private func responses(toCommandWith part: String) throws -> [ExtendedResponse] {
        try Wire.captured().filter { $0.command.contains(part) }.compactMap {
            if case .extendedResponse(let response) = try Wire.read($0.bytes).operation { response } else { nil }
        }
    }

    @Test("a password is changed as ldappasswd does it (RFC 3062)")
    func passwordModify() throws {
        let erin = "uid=erin,ou=groups,dc=example,dc=org"
        let asked = PasswordModifyRequest(identity: erin, oldPassword: Array("erinpw".utf8), newPassword: Array("newpw".utf8))
        #expect(try requests(ofCommandWith: "-s newpw -a erinpw") == [asked.request])
        let generated = try #require(try requests(ofCommandWith: "ldappasswd").dropFirst().first)
        #expect(try PasswordModifyRequest(value: generated.value) == .init(identity: erin))
        #expect(PasswordModifyRequest(identity: erin).request == generated)
        let response = try #require(try responses(toCommandWith: "ldappasswd").dropFirst().first)
        let password = PasswordModifyResponse(generatedPassword: Array("GalD78ig".utf8))
        #expect(try PasswordModifyResponse(value: response.value) == password && password.value == response.value)
        #expect(try PasswordModifyRequest(value: asked.value) == asked)
    }

    @Test("what need not be said about a password is not said")
    func emptyPasswordModify() throws {
        #expect(PasswordModifyRequest().value == nil && PasswordModifyResponse().value == nil)
        #expect(try PasswordModifyRequest(value: nil) == .init() && PasswordModifyRequest(value: [0x30, 0]) == .init())
        #expect(try PasswordModifyResponse(value: nil) == .init() && PasswordModifyResponse(value: [0x30, 0]) == .init())
    }

    @Test("whoever asks who he is learns it as ldapwhoami does (RFC 4532)")
    func whoAmI() throws {
        #expect(try requests(ofCommandWith: "ldapwhoami -x -D cn=admin") == [.whoAmI])
        let answers = try responses(toCommandWith: "ldapwhoami -x -D cn=admin").map { try AuthorizationIdentity(whoAmI: $0) }
        #expect(answers == [.name("uid=erin,ou=groups,dc=example,dc=org")])
        let nobody = try #require(try responses(toCommandWith: "ldapexop -x whoami").first)
        #expect(try AuthorizationIdentity(whoAmI: nobody) == .anonymous)
        #expect(try AuthorizationIdentity(whoAmI: ExtendedResponse(LDAPResult(.success))) == .anonymous)
        #expect(try AuthorizationIdentity(decoding: Array("u:EXAMPLE\\alice".utf8)) == .user("EXAMPLE\\alice"))
    }

    @Test("identities are written as they are read (RFC 4513 §5.2.1.8)")
    func identities() throws {
        for identity: AuthorizationIdentity in [.anonymous, .name(""), .name("cn=é"), .name("\u{301}cn=e"), .user("a:b"), .user("")] {
            #expect(try AuthorizationIdentity(decoding: identity.encoded) == identity)
        }
        for text in ["alice", "DN:cn=a", "dn", "x:y"] {
            #expect(throws: LDAPFault.malformedAuthorizationIdentity) { try AuthorizationIdentity(decoding: Array(text.utf8)) }
        }
        let longest = Array("dn:".utf8) + Array(repeating: UInt8(ascii: "a"), count: LDAPLimits.nameBytesMax - 3)
        #expect(throws: Never.self) { try AuthorizationIdentity(decoding: longest) }
        #expect(throws: LDAPFault.tooLong(bytes: LDAPLimits.nameBytesMax + 1, max: LDAPLimits.nameBytesMax)) {
            try AuthorizationIdentity(decoding: longest + [0x61])
        }
    }

    @Test("TLS is asked for as ldapwhoami does it (RFC 4511 §4.14.1)")
    func startTLS() throws { #expect(try requests(ofCommandWith: "-ZZ") == [.startTLS]) }

    @Test("an operation is cancelled as ldapexop does it (RFC 3909)")
    func cancel() throws {
        #expect(try requests(ofCommandWith: "ldapexop -x cancel 7") == [CancelRequest(7).request])
        #expect(try responses(toCommandWith: "ldapexop -x cancel 7").map(\.result.code) == [.noSuchOperation])
        #expect(try CancelRequest(value: CancelRequest(Int32.max).value) == CancelRequest(Int32.max))
        #expect(throws: LDAPFault.missing(tag: 4)) { try CancelRequest(value: nil) }
        #expect(throws: LDAPFault.outOfRange(-1)) { try CancelRequest(value: [0x30, 3, 2, 1, 0xFF]) }
    }

    @Test("a transaction begins and ends as ldapmodify does it (RFC 5805)")
    func transactions() throws {
        let committed = try requests(ofCommandWith: "!txn=commit")
        #expect(committed == [.startTransaction, EndTransactionRequest([], commits: true).request])
        #expect(try requests(ofCommandWith: "!txn=abort").last == EndTransactionRequest([], commits: false).request)
        #expect(try EndTransactionRequest(value: committed.last?.value) == .init([], commits: true))
        #expect(try EndTransactionRequest(value: Wire.hex("3006 010100 040107")) == .init([7], commits: false))
        #expect(throws: LDAPFault.missing(tag: 4)) { try EndTransactionRequest(value: nil) }
        // `none` is no such value, and slapd said so.
        #expect(throws: LDAPFault.unexpected(tag: 0x6E, expected: 0x30)) { try EndTransactionRequest(value: Array("none".utf8)) }
    }

    @Test("the end of a transaction tells which operation failed, or the controls of each (RFC 5805 §2.3)")
    func transactionResults() throws {
        #expect(EndTransactionResponse().value == nil)
        #expect(try EndTransactionResponse(value: nil) == .init() && EndTransactionResponse(value: [0x30, 0]) == .init())
        #expect(EndTransactionResponse(failed: 5).value == Wire.hex("3003 020105"))
        #expect(try EndTransactionResponse(value: Wire.hex("3003 020105")) == .init(failed: 5))
        let done = EndTransactionResponse(updates: [.init(3, [LDAPControl("1.2", value: [1])]), .init(4, [])])
        #expect(done.value == Wire.hex("301a 3018 300f020103300a30080403312e32040101 30050201043000"))
        #expect(try EndTransactionResponse(value: done.value) == done)
    }

    private func many(_ element: [UInt8], _ count: Int) -> [UInt8] { Array(Array(repeating: element, count: count).joined()) }

    @Test("as many operations of a transaction as are allowed are told of, of one more not")
    func transactionLimit() {
        func value(_ count: Int) -> [UInt8] { Wire.element(0x30, Wire.element(0x30, many([0x30, 5, 2, 1, 1, 0x30, 0], count))) }
        #expect(throws: Never.self) { try EndTransactionResponse(value: value(LDAPLimits.changesMax)) }
        let tooMany = LDAPFault.tooMany(.changes, max: LDAPLimits.changesMax)
        #expect(throws: tooMany) { try EndTransactionResponse(value: value(LDAPLimits.changesMax + 1)) }
    }

    @Test("slapd says goodbye by a notice of disconnection (RFC 4511 §4.4.1)")
    func notice() throws {
        let said = try #require(try Wire.captured().last)
        let message = try Wire.read(said.bytes)
        #expect(UnsolicitedNotification(message) == .disconnection(LDAPResult(.protocolError, "unknown LDAP request")))
        #expect(UnsolicitedNotification(message)?.message == message)
    }

    @Test("what is said unasked is told from answers")
    func notices() {
        let aborted = UnsolicitedNotification.abortedTransaction(LDAPResult(.busy), identifier: [1])
        let other = UnsolicitedNotification.other(ExtendedResponse(LDAPResult(.success), name: "1.2"))
        #expect(UnsolicitedNotification(aborted.message) == aborted && UnsolicitedNotification(other.message) == other)
        let response = ExtendedResponse(LDAPResult(.unavailable), name: LDAPExtension.noticeOfDisconnection)
        #expect(UnsolicitedNotification(LDAPMessage(1, .extendedResponse(response))) == nil)
        #expect(UnsolicitedNotification(LDAPMessage(1, .unbindRequest)) == nil)
    }
}
