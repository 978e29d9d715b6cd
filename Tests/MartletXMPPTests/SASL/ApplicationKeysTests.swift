import MartletXMPP
import Testing

/// Keys of another password than the account's own, with the salt of its own.
private func other(_ name: String, _ password: String, _ hash: ScramHash = .sha256, salt: String = "W22ZaJ0SNY7soEsUEjb6gQ==") throws -> ApplicationKeys {
    let keys = try ScramKeys.derive(password: Verona.password(password), salt: #require(Base64.decode(salt)), iterations: 4096, hash: hash)
    return ApplicationKeys(name: name, keys: keys)
}

@Suite("Passwords that an account has for applications, beside its own")
struct ApplicationKeysTests {
    /// A whole log-in by SCRAM; whose password it was, or what was answered.
    private func login(_ password: String, _ others: [ApplicationKeys], refusal: SASLFailure? = nil) throws -> String {
        var client = try Verona.client(password: password)
        var exchange = try Verona.exchange()
        _ = exchange.step(client.first())
        switch exchange.provide(.scramKeys(try Verona.keys(), refusal: refusal, others: others)) {
        case .challenge(let challenge):
            let last = exchange.step(try client.final(answering: challenge))
            guard case .success(_, let data?) = last else { return last.condition?.rawValue ?? "" }
            try client.verify(data)
            return exchange.application ?? "own"
        case let step: return step.condition?.rawValue ?? ""
        }
    }

    @Test("one exchange of SCRAM takes each of them, and proves to the client that the server knows its keys (RFC 5802 §3)")
    func scram() throws {
        let others = [try other("mail", "eraser"), try other("phone", "ruler")]
        #expect(try login("pencil", others) == "own")
        #expect(try login("eraser", others) == "mail")
        #expect(try login("ruler", others) == "phone")
        #expect(try login("compasses", others) == "not-authorized")
        #expect(try login("eraser", []) == "not-authorized")
        #expect(try login("ruler", others, refusal: .accountDisabled) == "account-disabled")
        #expect(try login("compasses", others, refusal: .accountDisabled) == "not-authorized")
    }

    @Test("what a client is told before it has proved anything is the same with and without them")
    func challenge() throws {
        func challenge(_ others: [ApplicationKeys]) throws -> String? {
            var exchange = try Verona.exchange()
            _ = exchange.step(try Verona.client().first())
            return exchange.provide(.scramKeys(try Verona.keys(), others: others)).text
        }
        #expect(try challenge([]) == challenge([try other("mail", "eraser")]))
    }

    @Test("as many are tried as there may be, whether there are any or not", arguments: [0, 1, ApplicationKeys.countMax])
    func work(count: Int) throws {
        let others = try (0..<count).map { try other("\($0)", "eraser\($0)") }
        var tried = 0
        let nothing = others.proved(beside: try Verona.keys()) { _ in
            tried += 1
            return false
        }
        #expect(nothing == nil && tried == ApplicationKeys.countMax + 1)
    }

    @Test("the account's own password is held against nothing else, where whoever knows it hears so; any other against all", arguments: [true, false])
    func own(isOwnEnough: Bool) throws {
        let (keys, mail) = (try Verona.keys(), try other("mail", "eraser"))
        func tried(_ right: ScramKeys) -> (proved: ProvedKeys?, count: Int) {
            var count = 0
            let proved = [mail].proved(beside: keys, isOwnEnough: isOwnEnough) { candidate in
                count += 1
                return candidate == right
            }
            return (proved, count)
        }
        let all = ApplicationKeys.countMax + 1
        let (own, ofMail) = (tried(keys), tried(mail.keys))
        #expect(own.proved?.keys == keys && own.proved?.application == nil && own.count == (isOwnEnough ? 1 : all))
        #expect(ofMail.proved?.keys == mail.keys && ofMail.proved?.application == "mail" && ofMail.count == all)
    }

    @Test("more than there may be, and keys that one derivation cannot be held against, are a fault of the server's")
    func unfit() throws {
        let full = try (0...ApplicationKeys.countMax).map { try other("\($0)", "eraser") }
        #expect(try login("pencil", full) == "temporary-auth-failure")
        #expect(try login("pencil", Array(full.dropLast())) == "own")
        #expect(try login("pencil", [try other("mail", "eraser", salt: "QSXCR+Q6sek8bf92QSXCR+Q6sek8bf92")]) == "temporary-auth-failure")
        #expect(try login("pencil", [try other("mail", "eraser", .sha512)]) == "temporary-auth-failure")
    }

    @Test("a password that came as such is held against all of them, derived once")
    func derived() throws {
        let others = [try other("mail", "eraser")]
        let keys = try Verona.keys()
        let (own, mail) = (keys.proved(by: try Verona.password(), others), keys.proved(by: try Verona.password("eraser"), others))
        #expect(own?.keys == keys && own?.application == nil)
        #expect(mail?.keys == others[0].keys && mail?.application == "mail")
        #expect(keys.proved(by: try Verona.password("ruler"), others) == nil)
    }

    @Test("PLAIN says whose password it was (RFC 4616)")
    func plain() throws {
        for application in [nil, "mail"] {
            var exchange = try Verona.exchange(.plain)
            _ = exchange.step("\u{0}user\u{0}pencil")
            #expect(exchange.application == nil)
            #expect(exchange.provide(.passwordVerdict(true, application: application)).succeeded)
            #expect(exchange.application == application)
        }
    }
}
