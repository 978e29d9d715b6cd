import Testing

import martlet

@Suite("addresses of the network")
struct IPAddressTests {
    @Test(
        "are read in their full forms only",
        arguments: ["192.0.2.1", "0.0.0.0", "::", "::1", "2001:db8::1", "[::1]", "::ffff:192.0.2.1"])
    func accepted(_ text: String) {
        #expect(IPAddress(text) != nil)
    }

    @Test(
        "and not in others",
        arguments: [
            "", "1", "127.1", "192.0.2.256", "192.0.2.01", "192.0.2.1 ", ":::", "fe80::1%eth0", "[192.0.2.1", "example.org",
            "1.2.3.4\0",
        ])
    func refused(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("are written in one form (RFC 5952)")
    func canonical() {
        #expect(IPAddress("2001:0DB8:0:0::0:1")?.description == "2001:db8::1")
        #expect(IPAddress("::1") == IPAddress("0:0:0:0:0:0:0:1"))
    }

    @Test(
        "loopback is 127.0.0.0/8 and ::1, also mapped",
        arguments: [
            ("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("128.0.0.1", false),
            ("::2", false), ("::", false), ("0.0.0.0", false),
        ])
    func loopback(_ text: String, _ expected: Bool) {
        #expect(IPAddress(text)?.isLoopback == expected)
    }

    @Test(
        "a block contains what shares its prefix (RFC 4632)",
        arguments: [
            ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("192.0.2.128/25", "192.0.2.128", true),
            ("192.0.2.128/25", "192.0.2.127", false), ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "::1", false), ("0.0.0.0/0", "::ffff:203.0.113.9", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true), ("2001:db8::/33", "2001:db8:8000::1", false), ("::/0", "::1", true),
            ("::1", "::1", true), ("::1", "::2", false),
        ])
    func contains(_ block: String, _ address: String, _ expected: Bool) throws {
        #expect(try #require(AddressBlock(block)).contains(try #require(IPAddress(address))) == expected)
    }

    @Test(
        "a block has a prefix that its family allows",
        arguments: ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "/8", "10.0.0.0/8/8"])
    func prefix(_ text: String) {
        #expect(AddressBlock(text) == nil)
    }
}
