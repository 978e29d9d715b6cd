import MartletCore
import Testing

@Suite("Percent-encoding (RFC 3986 §2.1)")
struct PercentEncodingTests {
    @Test("everything is encoded but what never is (§2.3), and means what it meant", arguments: [
        ("azAZ09-._~", "azAZ09-._~"), ("très cool", "tr%C3%A8s%20cool"), ("/?#[]@!$&'()*+,;=", "%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D"),
        ("%41", "%2541"), ("\u{0}\u{7F}", "%00%7F"), ("", ""),
    ])
    func encoded(text: String, encoded: String) {
        #expect(PercentEncoding.encoded(text) == encoded)
        #expect(PercentEncoding.decoded(encoded.utf8) == Array(text.utf8))
    }

    @Test("digits are of either case, and without two of them a percent sign means nothing", arguments: [
        ("%c3%A8", [0xC3, 0xA8]), ("a+b", [0x61, 0x2B, 0x62]), ("%", nil), ("%4", nil), ("a%4", nil), ("%4g", nil), ("%%41", nil), ("%u0041", nil), ("%-1", nil),
    ] as [(String, [UInt8]?)])
    func decoded(text: String, bytes: [UInt8]?) {
        #expect(PercentEncoding.decoded(text.utf8) == bytes)
    }
}
