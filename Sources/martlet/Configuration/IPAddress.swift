#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An IPv4 or IPv6 address without a zone.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen bytes, most significant first.
    package let bytes: [UInt8]

    package static let anyIPv4 = IPAddress(bytes: [0, 0, 0, 0])
    package static let anyIPv6 = IPAddress(bytes: Array(repeating: 0, count: 16))
    package static let loopbackIPv4 = IPAddress(bytes: [127, 0, 0, 1])
    package static let loopbackIPv6 = IPAddress(bytes: Array(repeating: 0, count: 15) + [1])

    private init(bytes: [UInt8]) { self.bytes = bytes }

    /// Reads `192.0.2.1` or `2001:db8::1`; IPv6 may stand in brackets. Short and octal forms of IPv4 are refused.
    package init?(_ text: some StringProtocol) {
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : String(text)
        guard !bare.utf8.contains(0) else { return nil }
        if let bytes = Self.parse(bare, AF_INET, byteCount: 4) ?? Self.parse(bare, AF_INET6, byteCount: 16) {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    private static func parse(_ text: String, _ family: Int32, byteCount: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        return inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    package var isIPv6: Bool { bytes.count == 16 }
    package var isUnspecified: Bool { bytes.allSatisfy { $0 == 0 } }

    /// In 127.0.0.0/8, or `::1`.
    package var isLoopback: Bool {
        let plain = unmapped.bytes
        return plain.count == 4 ? plain.first == 127 : plain.dropLast().allSatisfy { $0 == 0 } && plain.last == 1
    }

    /// The IPv4 address in an IPv4-mapped IPv6 one (`::ffff:192.0.2.1`), otherwise the address itself.
    package var unmapped: IPAddress {
        guard isIPv6, bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xff, bytes[11] == 0xff else { return self }
        return IPAddress(bytes: Array(bytes.suffix(4)))
    }

    /// The address with all but the first `count` bits cleared.
    func keeping(bits count: Int) -> IPAddress {
        var kept = bytes
        for index in kept.indices {
            let bits = min(max(count - index * 8, 0), 8)
            kept[index] &= ~(UInt8.max >> UInt8(bits))
        }
        return IPAddress(bytes: kept)
    }

    /// The canonical text (RFC 5952 for IPv6).
    package var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let family = isIPv6 ? AF_INET6 : AF_INET
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A block of addresses in CIDR notation (RFC 4632 §3.1); a single address is a block of one.
package struct AddressBlock: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let prefixLength: Int

    /// Reads `192.0.2.0/24` or `192.0.2.1`. Bits after the prefix may be set: see `isExact`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        let longest = address.bytes.count * 8
        guard parts.count == 2 else {
            self.init(address: address, prefixLength: longest)
            return
        }
        guard let length = WholeNumber.parse(parts[1]), (0...longest).contains(length) else { return nil }
        self.init(address: address, prefixLength: length)
    }

    private init(address: IPAddress, prefixLength: Int) {
        self.address = address
        self.prefixLength = prefixLength
    }

    /// No bit after the prefix is set.
    var isExact: Bool { address == address.keeping(bits: prefixLength) }

    /// The same block with the bits after the prefix cleared.
    var exact: AddressBlock { AddressBlock(address: address.keeping(bits: prefixLength), prefixLength: prefixLength) }

    /// Whether `other` lies in the block. An IPv4-mapped IPv6 address counts as IPv4, for that is how a socket open to
    /// both shows IPv4 peers.
    package func contains(_ other: IPAddress) -> Bool {
        let candidate = address.isIPv6 ? other : other.unmapped
        return candidate.bytes.count == address.bytes.count
            && candidate.keeping(bits: prefixLength) == address.keeping(bits: prefixLength)
    }

    package var description: String {
        prefixLength == address.bytes.count * 8 ? "\(address)" : "\(address)/\(prefixLength)"
    }
}
