import MartletXMPP
import Testing

@Suite("SCRAM keys")
struct ScramKeysTests {
    /// `pencil` with the salts of RFC 5802 §5 and RFC 7677 §3, as Python's hashlib derives it.
    static let texts: [(ScramHash, String)] = [
        (.sha1, "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE="),
        (
            .sha256,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                + "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        ),
        (
            .sha512,
            "SCRAM-SHA-512$4096:W22ZaJ0SNY7soEsUEjb6gQ==$6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8QaCXNc1FwpnX9NhH2"
                + "hK/60dzj9DoO5DvVkOHbvg==:jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1yWEebBeSVkkCFewf91nLDfKF24mvD5"
                + "nmE6rA=="
        ),
    ]

    @Test("a password gives the keys that others derive, written as in RFC 5803 §2", arguments: texts)
    func derivation(hash: ScramHash, text: String) throws {
        let salt = try #require(text.split(separator: "$").dropFirst().first?.split(separator: ":").last)
        let keys = try Verona.keys(hash, salt: String(salt))
        #expect(keys.text == text)
        #expect(try ScramKeys(parsing: text) == keys)
    }

    @Test("keys verify their own password and no other", arguments: texts)
    func verification(hash: ScramHash, text: String) throws {
        let keys = try ScramKeys(parsing: text)
        #expect(keys.verify(try Verona.password()))
        #expect(!keys.verify(try Verona.password("Pencil")))
        #expect(!keys.verify(try Verona.password("pencil ")))
    }

    @Test(
        "a text in another form is refused",
        arguments: [
            "", "pencil", "SCRAM-SHA-1", "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92",
            "SCRAM-SHA-1$4096$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=$",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=:",
            "SCRAM-SHA-1$+4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            "SCRAM-SHA-1$04096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            "SCRAM-SHA-1$99999999999999999999:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf9$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Z=:D+CSWLOshSulAsxiupA+qs2/fTE=",
            String(repeating: "$", count: 1025),
        ])
    func format(text: String) {
        #expect(throws: ScramKeysError.format) { try ScramKeys(parsing: text) }
    }

    @Test("a text for a mechanism that we do not speak says so")
    func mechanism() {
        #expect(throws: ScramKeysError.mechanism("SCRAM-MD5")) {
            try ScramKeys(parsing: "SCRAM-MD5$4096:QSXCR+Q6sek8bf92$a:b")
        }
        #expect(throws: ScramKeysError.mechanism("SCRAM-SHA-1-PLUS")) {
            try ScramKeys(parsing: "SCRAM-SHA-1-PLUS$4096:a$a:b")
        }
    }

    @Test("iteration counts from 4096 to 100 000 are accepted (RFC 7677 §4)")
    func iterations() throws {
        func keys(_ iterations: Int) throws -> ScramKeys {
            try ScramKeys(
                hash: .sha1, salt: [UInt8](repeating: 1, count: 16), iterations: iterations,
                storedKey: [UInt8](repeating: 2, count: 20), serverKey: [UInt8](repeating: 3, count: 20))
        }
        #expect(try keys(4096).iterations == 4096)
        #expect(try keys(100_000).iterations == 100_000)
        #expect(throws: ScramKeysError.iterations(4095)) { try keys(4095) }
        #expect(throws: ScramKeysError.iterations(100_001)) { try keys(100_001) }
        #expect(throws: ScramKeysError.iterations(4095)) {
            try ScramKeys.derive(password: Verona.password(), salt: [UInt8](0..<16), iterations: 4095, hash: .sha1)
        }
    }

    @Test("salts of 8 to 128 bytes are accepted, keys only of the hash's length")
    func lengths() throws {
        func keys(salt: Int = 16, stored: Int = 32, server: Int = 32) throws -> ScramKeys {
            try ScramKeys(
                hash: .sha256, salt: [UInt8](repeating: 1, count: salt), iterations: 4096,
                storedKey: [UInt8](repeating: 2, count: stored), serverKey: [UInt8](repeating: 3, count: server))
        }
        #expect(try keys(salt: 8).salt.count == 8)
        #expect(try keys(salt: 128).salt.count == 128)
        #expect(throws: ScramKeysError.saltBytes(7)) { try keys(salt: 7) }
        #expect(throws: ScramKeysError.saltBytes(129)) { try keys(salt: 129) }
        #expect(throws: ScramKeysError.keyBytes(31, expected: 32)) { try keys(stored: 31) }
        #expect(throws: ScramKeysError.keyBytes(33, expected: 32)) { try keys(server: 33) }
    }

    @Test("a password has 1 to 1024 bytes and no control characters (RFC 8265 §4.2.2)")
    func passwords() {
        #expect(PreparedPassword(String(repeating: "x", count: 1024))?.bytes.count == 1024)
        #expect(PreparedPassword(String(repeating: "x", count: 1025)) == nil)
        #expect(PreparedPassword("") == nil)
        #expect(PreparedPassword("pen\u{0}cil") == nil)
        #expect(PreparedPassword("pen\tcil") == nil)
        #expect(PreparedPassword("correct horse")?.bytes == Array("correct horse".utf8))
    }

    @Test("a password is the same however its accents and spaces were typed, and case counts (RFC 8265 §4.2.2)")
    func preparation() {
        #expect(PreparedPassword("Zo\u{65}\u{308}\u{A0}x") == PreparedPassword("Zo\u{EB} x"))
        #expect(PreparedPassword("Zo\u{EB}")?.bytes == [0x5A, 0x6F, 0xC3, 0xAB])
        #expect(PreparedPassword("zo\u{EB}") != PreparedPassword("Zo\u{EB}"))
        #expect(PreparedPassword("\u{378}") == nil)
    }

    @Test("passwords and keys do not show themselves when printed")
    func redaction() throws {
        let keys = try Verona.keys()
        var exchange = try Verona.exchange(.plain)
        let step = exchange.step(PlainMessage.bytes(authcid: "user", password: "pencil"))
        var shown = "\(try Verona.password()) \(keys) \(step) \(exchange)"
        dump(keys, to: &shown)
        dump(step, to: &shown)
        dump(exchange, to: &shown)
        #expect(!shown.contains("pencil") && !shown.contains("112, 101, 110"))
        #expect(!shown.contains("\(keys.storedKey[0]), \(keys.storedKey[1])"))
    }
}

@Suite("keys of accounts that do not exist")
struct ScramSimulationTests {
    private let secret = [UInt8](repeating: 9, count: 32)

    private func account(_ name: String) throws -> BareJID { try BareJID(localpart: name, domainpart: Verona.domain) }

    @Test("they look like those of an account and stay the same", arguments: ScramHash.allCases)
    func constant(hash: ScramHash) throws {
        let keys = try ScramSimulation(secret: secret).keys(for: account("nobody"), hash: hash)
        #expect(try ScramSimulation(secret: secret).keys(for: account("Nobody"), hash: hash) == keys)
        #expect(keys.iterations == ScramKeys.iterationsDefault)
        #expect(keys.salt.count == ScramKeys.saltBytesDefault)
    }

    @Test("they differ by name, hash, part and secret")
    func distinct() throws {
        let simulation = try ScramSimulation(secret: secret)
        let other = try ScramSimulation(secret: [UInt8](repeating: 8, count: 32))
        let keys = try [
            simulation.keys(for: account("nobody"), hash: .sha1), simulation.keys(for: account("nobody2"), hash: .sha1),
            simulation.keys(for: account("nobody"), hash: .sha256),
            simulation.keys(for: account("nobody"), hash: .sha512),
            other.keys(for: account("nobody"), hash: .sha1),
        ]
        #expect(Set(keys.map(\.salt)).count == keys.count)
        #expect(Set(keys.flatMap { [$0.storedKey, $0.serverKey] }).count == 2 * keys.count)
    }

    @Test("an unknown name fails exactly where and how a wrong password fails (RFC 5802 §7)")
    func indistinguishable() throws {
        let unknown = try ScramSimulation(secret: secret, iterations: 4096).keys(for: account("user"), hash: .sha256)
        func steps(_ keys: ScramKeys) throws -> [SASLStep] {
            var client = try Verona.client(password: "wrong")
            var exchange = try Verona.exchange()
            let question = exchange.step(client.first())
            let challenge = exchange.provide(.scramKeys(keys))
            guard case .challenge(let bytes) = challenge else { return [] }
            return [question, exchange.step(try client.final(answering: bytes))]
        }
        let known = try steps(Verona.keys())
        #expect(known.last == .failure(.notAuthorized))
        #expect(try steps(unknown) == known)
    }

    @Test("no password is theirs")
    func verification() throws {
        let simulation = try ScramSimulation(secret: secret, iterations: 4096)
        #expect(!(try simulation.keys(for: account("nobody"), hash: .sha256).verify(Verona.password())))
    }

    @Test("they cannot have an iteration count that accounts cannot have")
    func iterations() {
        #expect(throws: ScramKeysError.iterations(4095)) { try ScramSimulation(secret: secret, iterations: 4095) }
    }
}
