import MartletXMPP
import Testing

@Suite("base64")
struct Base64Tests {
    @Test(
        "the vectors of RFC 4648 §10 hold both ways",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, digits: String) {
        #expect(Base64.encode(plain.utf8) == digits)
        #expect(Base64.decode(digits) == Array(plain.utf8))
    }

    @Test("all 64 digits have their places (RFC 4648 §4)")
    func alphabet() {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        #expect(Base64.decode(digits).map { Base64.encode($0) } == digits)
        #expect(Base64.decode("++//") == [0xFB, 0xEF, 0xFF])
    }

    @Test(
        "padding is where it belongs and nowhere else (RFC 4648 §3.2)",
        arguments: [
            "=", "==", "===", "====", "Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "Z===", "Zg==Zm9v", "Z=g=", "Zm9v====",
        ])
    func padding(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test(
        "nothing outside the alphabet is passed over (RFC 4648 §3.3)",
        arguments: ["Zm9v\n", "Zm9\n", " Zm9", "Zm-_", "Zm9v Zm9", "Zm9\u{0}", "Zmé", "Z,9v"])
    func foreign(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test(
        "the unused bits of the last digit are zero (RFC 4648 §3.5)",
        arguments: ["Zh==", "Zn==", "Zm9=", "Zm+=", "//=="])
    func trailingBits(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test("of the 64 last digits four end one byte and sixteen end two (RFC 4648 §3.5)")
    func lastDigits() {
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        #expect(String(digits.filter { Base64.decode("Z\($0)==") != nil }) == "AQgw")
        #expect(String(digits.filter { Base64.decode("Zm\($0)=") != nil }) == "AEIMQUYcgkosw048")
    }

    @Test("every length comes back, and no other text means the same bytes")
    func roundTrip() {
        var random = SeededNumbers(seed: 4648)
        for length in 0...70 {
            let bytes = random.bytes(length)
            var digits = Base64.encodeToBytes(bytes)
            #expect(digits.count == Base64.encodedCount(of: length))
            #expect(Base64.decode(digits) == bytes)
            guard let place = digits.indices.randomElement(using: &random) else { continue }
            digits[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            #expect(Base64.decode(digits) != bytes)
        }
    }
}

@Suite("payloads of SASL elements")
struct SASLPayloadTests {
    @Test("no text is no payload, and an equals sign is an empty one (RFC 6120 §6.4.2)")
    func empty() throws {
        #expect(try SASLPayload.decode([]) == nil)
        #expect(try SASLPayload.decode(Array("=".utf8)) == [])
        #expect(try SASLPayload.decode(Array("biws".utf8)) == Array("n,,".utf8))
        #expect(SASLPayload.encode(nil) == "")
        #expect(SASLPayload.encode([]) == "=")
        #expect(SASLPayload.encode(Array("n,,".utf8)) == "biws")
    }

    @Test(
        "what is not base64 is incorrect-encoding (RFC 6120 §6.5.5)",
        arguments: ["==", "biw", "bi ws", "biws\n", "Zh=="])
    func incorrectEncoding(text: String) {
        #expect(throws: SASLFailure.incorrectEncoding) { try SASLPayload.decode(Array(text.utf8)) }
    }

    @Test("a payload may be as long as the longest message and no longer")
    func limit() throws {
        let longest = [UInt8](repeating: 7, count: SASLServerExchange.messageBytesMax)
        #expect(try SASLPayload.decode(Base64.encodeToBytes(longest)) == longest)
        let failure = #expect(throws: SASLFailure.self) { try SASLPayload.decode(Base64.encodeToBytes(longest + [7])) }
        #expect(failure?.condition == .malformedRequest)
    }
}
