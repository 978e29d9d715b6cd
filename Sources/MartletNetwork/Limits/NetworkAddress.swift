package import NIOCore

/// An IP address as sixteen bytes; IPv4 ones are mapped (RFC 4291 §2.5.5.2), so that `::ffff:192.0.2.1` and `192.0.2.1` are one.
package struct NetworkAddress: Hashable, Sendable {
    package let high: UInt64
    package let low: UInt64

    private static let mappedPrefix: UInt64 = 0xFFFF

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package init(ipv4 bits: UInt32) {
        high = 0
        low = Self.mappedPrefix << 32 | UInt64(bits)
    }

    /// The address of an IP socket; `nil` for a local one.
    package init?(_ address: SocketAddress) {
        switch address {
        // Where POSIX puts them: `sin_addr` behind family and port, `sin6_addr` behind the flow too.
        case .v4(let address):
            self.init(ipv4: withUnsafeBytes(of: address.address) { UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self)) })
        case .v6(let address):
            self = withUnsafeBytes(of: address.address) { bytes in
                NetworkAddress(
                    high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)))
            }
        case .unixDomainSocket: return nil
        }
    }

    /// An address in the usual notation.
    package init?(_ text: String) {
        guard let address = try? SocketAddress(ipAddress: text, port: 0) else { return nil }
        self.init(address)
    }

    package var isIPv4: Bool { high == 0 && low >> 32 == Self.mappedPrefix }

    /// The part that one peer can be supposed to hold: all of an IPv4 address, the first 64 bits of an IPv6 one.
    package var network: NetworkAddress { isIPv4 ? self : NetworkAddress(high: high, low: 0) }
}

/// The addresses that share their first bits, such as `10.0.0.0/8` (RFC 4632 §3.1).
package struct NetworkBlock: Hashable, Sendable {
    private let base: NetworkAddress
    /// Of 128.
    private let bits: Int

    /// - Parameter prefix: the bits that count, of 32 for an IPv4 address and of 128 for an IPv6 one.
    package init?(_ base: NetworkAddress, prefix: Int) {
        guard prefix >= 0, prefix <= (base.isIPv4 ? 32 : 128) else { return nil }
        bits = base.isIPv4 ? 96 + prefix : prefix
        self.base = Self.masked(base, bits)
    }

    /// `address/prefix`, or an address alone.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let base = parts.first.flatMap({ NetworkAddress(String($0)) }) else { return nil }
        guard parts.count == 2 else { self.init(base, prefix: base.isIPv4 ? 32 : 128); return }
        guard let prefix = Int(parts[1]) else { return nil }
        self.init(base, prefix: prefix)
    }

    package func contains(_ address: NetworkAddress) -> Bool { Self.masked(address, bits) == base }

    private static func masked(_ address: NetworkAddress, _ bits: Int) -> NetworkAddress {
        NetworkAddress(high: address.high & mask(min(bits, 64)), low: address.low & mask(max(bits - 64, 0)))
    }

    private static func mask(_ bits: Int) -> UInt64 { bits == 0 ? 0 : ~0 << UInt64(64 - bits) }
}

extension NetworkAddress: CustomStringConvertible {
    package var description: String { socketAddress(port: 0)?.ipAddress ?? "unknown" }

    package func socketAddress(port: UInt16) -> SocketAddress? {
        var bytes = ByteBufferAllocator().buffer(capacity: 16)
        if isIPv4 {
            bytes.writeInteger(UInt32(truncatingIfNeeded: low))
        } else {
            bytes.writeInteger(high)
            bytes.writeInteger(low)
        }
        return try? SocketAddress(packedIPAddress: bytes, port: Int(port))
    }

    /// As it is usual in logs: `192.0.2.1:40000`, `[2001:db8::1]:40000`.
    package func description(port: UInt16) -> String { isIPv4 ? "\(self):\(port)" : "[\(self)]:\(port)" }
}
