import MartletXMPP
import Testing

@Suite("PLAIN (RFC 4616)")
struct PlainExchangeTests {
    private func step(_ message: String) throws -> SASLStep {
        var exchange = try Verona.exchange(.plain)
        return exchange.step(message)
    }

    @Test("a message asks whether the password is the account's (RFC 4616 §2)", arguments: ["", "user@verona.example"])
    func question(authzid: String) throws {
        let identity = try SASLIdentity(username: "user", authzid: nil, domain: Verona.domain)
        #expect(try step("\(authzid)\u{0}user\u{0}pencil") == .lookUp(identity, .passwordVerdict(Verona.password())))
        #expect(try step("\(authzid)\u{0}USER\u{0}pencil") == .lookUp(identity, .passwordVerdict(Verona.password())))
    }

    @Test(
        "a message without exactly two NULs, a name and a password is malformed-request (RFC 4616 §2)",
        arguments: [
            "", "\u{0}", "\u{0}\u{0}", "user", "user\u{0}pencil", "\u{0}user\u{0}", "\u{0}\u{0}pencil",
            "\u{0}user\u{0}pen\u{0}cil",
            "\u{0}user\u{0}pencil\u{0}", "\u{0}\u{0}\u{0}", "\u{0}\u{0}user\u{0}pencil",
        ])
    func malformed(message: String) throws {
        #expect(try step(message).condition == .malformedRequest)
    }

    @Test("a message that is not UTF-8 is malformed-request", arguments: [0, 1, 2])
    func notUTF8(field: Int) throws {
        var fields: [[UInt8]] = [Array("user@verona.example".utf8), Array("user".utf8), Array("pencil".utf8)]
        fields[field].append(0xFF)
        var exchange = try Verona.exchange(.plain)
        #expect(exchange.step(Array(fields.joined(separator: [0]))).condition == .malformedRequest)
    }

    @Test("somebody else's name as authorization identity is invalid-authzid, whatever the password")
    func authzid() throws {
        #expect(try step("admin@verona.example\u{0}user\u{0}pencil").condition == .invalidAuthzid)
        #expect(try step("admin\u{0}user\u{0}pencil").condition == .invalidAuthzid)
        #expect(try step("user@mantua.example\u{0}user\u{0}pencil").condition == .invalidAuthzid)
    }

    @Test("a password of 1024 bytes is looked up and one of 1025 is not")
    func limits() throws {
        #expect(try step("\u{0}user\u{0}\(String(repeating: "x", count: 1024))").identity != nil)
        #expect(try step("\u{0}user\u{0}\(String(repeating: "x", count: 1025))") == .failure(.notAuthorized))
        let most = String(repeating: "x", count: SASLServerExchange.messageBytesMax - 6)
        #expect(try step("\u{0}user\u{0}\(most)") == .failure(.notAuthorized))
        #expect(try step("\u{0}user\u{0}\(most)x").condition == .malformedRequest)
    }

    @Test("the answer decides: right, wrong, refused, or not to be found out")
    func answers() throws {
        func outcome(_ answer: SASLAnswer) throws -> SASLStep {
            var exchange = try Verona.exchange(.plain)
            _ = exchange.step("\u{0}user\u{0}pencil")
            return exchange.provide(answer)
        }
        let identity = try SASLIdentity(username: "user", authzid: nil, domain: Verona.domain)
        #expect(try outcome(.passwordVerdict(true)) == .success(identity, additionalData: nil))
        #expect(try outcome(.passwordVerdict(false)) == .failure(.notAuthorized))
        #expect(try outcome(.refused(.credentialsExpired)) == .failure(.credentialsExpired))
        #expect(try outcome(.refused(.temporaryAuthFailure)) == .failure(.temporaryAuthFailure))
        #expect(try outcome(.scramKeys(Verona.keys())) == .failure(.temporaryAuthFailure))
    }

    @Test("nothing is accepted out of turn, and nothing after the end")
    func turns() throws {
        var exchange = try Verona.exchange(.plain)
        #expect(exchange.provide(.passwordVerdict(true)) == .failure(.temporaryAuthFailure))
        #expect(exchange.step("\u{0}user\u{0}pencil").condition == .malformedRequest)
        var hasty = try Verona.exchange(.plain)
        _ = hasty.step("\u{0}user\u{0}pencil")
        #expect(hasty.step("\u{0}user\u{0}pencil").condition == .malformedRequest)
        #expect(!hasty.provide(.passwordVerdict(true)).succeeded)
    }

    @Test("no initial response is asked for once (RFC 4422 §3)")
    func prompted() throws {
        var exchange = try Verona.exchange(.plain)
        #expect(exchange.step(nil) == .challenge([]))
        var impatient = exchange
        #expect(exchange.step("\u{0}user\u{0}pencil").identity != nil)
        #expect(impatient.step(nil).condition == .malformedRequest)
    }

    @Test("a printed message does not show the password")
    func redaction() throws {
        let message = try PlainMessage(parsing: PlainMessage.bytes(authcid: "user", password: "pencil"))
        #expect(!"\(message)".contains("pencil") && !String(reflecting: message).contains("pencil"))
    }
}
