import MartletNetwork
import Testing

@Suite("Which addresses are dialled (rule 32)")
struct AddressPolicyTests {
    static func refusal(_ text: String, allowing networks: [String] = []) throws -> AddressPolicy.Refusal? {
        AddressPolicy(allowed: try networks.map { try #require(NetworkBlock($0)) }).refusal(of: try #require(NetworkAddress(text), "\(text)"))
    }

    @Test("what is not for the Internet is refused, from its first address to its last", arguments: [
        ("0.0.0.0", "0.255.255.255", AddressPolicy.Refusal.unspecified),
        ("10.0.0.0", "10.255.255.255", .privateUse), ("100.64.0.0", "100.127.255.255", .privateUse),
        ("127.0.0.0", "127.255.255.255", .loopback), ("169.254.0.0", "169.254.255.255", .linkLocal),
        ("172.16.0.0", "172.31.255.255", .privateUse), ("192.0.0.0", "192.0.0.255", .reserved),
        ("192.0.2.0", "192.0.2.255", .documentation), ("192.88.99.0", "192.88.99.255", .reserved),
        ("192.168.0.0", "192.168.255.255", .privateUse), ("198.18.0.0", "198.19.255.255", .reserved),
        ("198.51.100.0", "198.51.100.255", .documentation), ("203.0.113.0", "203.0.113.255", .documentation),
        ("224.0.0.0", "239.255.255.255", .multicast), ("240.0.0.0", "255.255.255.255", .reserved),
        ("::", "::", .unspecified), ("::1", "::1", .loopback), ("::2", "::fffe:ffff:ffff", .reserved),
        ("100::", "100::ffff:ffff:ffff:ffff", .reserved), ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", .reserved),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", .reserved), ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", .documentation),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", .documentation), ("4000::", "fbff::", .reserved),
        ("fc00::", "fdff:ffff::", .privateUse), ("fe80::1", "febf:ffff::", .linkLocal), ("fec0::", "feff::", .privateUse),
        ("ff00::", "ffff:ffff::", .multicast),
    ])
    func special(first: String, last: String, refusal: AddressPolicy.Refusal) throws {
        #expect(try Self.refusal(first) == refusal)
        #expect(try Self.refusal(last) == refusal)
    }

    @Test("what is beside it may be dialled", arguments: [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
        "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255",
        "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
        "2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "3ffe:ffff::", "3fff:1000::",
    ])
    func ordinary(address: String) throws { #expect(try Self.refusal(address) == nil) }

    @Test("an IPv4 address inside another is judged itself: mapped, NAT64, 6to4", arguments: ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0"])
    func embedded(address: String) throws {
        let refusal = try #require(try Self.refusal(address))
        let bytes = address.split(separator: ".").compactMap { UInt8($0) }
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        #expect(try Self.refusal("::ffff:\(address)") == refusal)
        #expect(try Self.refusal("64:ff9b::\(address)") == refusal)
        #expect(try Self.refusal("2002:\(hex[0])\(hex[1]):\(hex[2])\(hex[3])::1") == refusal)
    }

    @Test("an ordinary IPv4 address inside another is ordinary", arguments: ["::ffff:198.41.0.4", "64:ff9b::198.41.0.4", "2002:c629:4::1"])
    func embeddedOrdinary(address: String) throws { #expect(try Self.refusal(address) == nil) }

    @Test("networks that the operator names are dialled, and nothing beside them")
    func allowed() throws {
        #expect(try Self.refusal("10.1.2.3", allowing: ["10.1.0.0/16"]) == nil)
        #expect(try Self.refusal("10.2.0.0", allowing: ["10.1.0.0/16"]) == .privateUse)
        #expect(try Self.refusal("::ffff:10.1.2.3", allowing: ["10.1.0.0/16"]) == nil)
        #expect(try Self.refusal("64:ff9b::10.1.2.3", allowing: ["10.1.0.0/16"]) == nil)
        #expect(try Self.refusal("fd00::1", allowing: ["192.168.0.0/16", "fd00::/8"]) == nil)
        #expect(try Self.refusal("::1", allowing: ["127.0.0.0/8"]) == .loopback)
    }
}
