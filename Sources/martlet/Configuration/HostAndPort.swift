/// Where something listens: a name or an address, and a port.
package struct HostAndPort: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int

    /// Reads `xmpp.example.net:5269`, `192.0.2.1:5269` or `[2001:db8::1]:5269`.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = WholeNumber.parse(text[text.index(after: colon)...]), (1...65535).contains(port)
        else { return nil }
        let host = String(text[..<colon])
        guard IPAddress(host) != nil ? !host.contains(":") || host.hasPrefix("[") : Self.isName(host) else { return nil }
        self.host = host
        self.port = port
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.utf8.count) && label.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_".contains($0)) }
            }
    }

    package var description: String { "\(host):\(port)" }
}

/// Whom names are asked of.
package struct NameServer: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let port: Int

    private static let usualPort = 53

    /// Reads `192.0.2.53`, `2001:db8::53`, or either with `@5353` behind it.
    package init?(_ text: String) {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]) else { return nil }
        let port = parts.count == 1 ? Self.usualPort : WholeNumber.parse(parts[1])
        guard let port, (1...65535).contains(port) else { return nil }
        self.address = address
        self.port = port
    }

    package var description: String { port == Self.usualPort ? "\(address)" : "\(address)@\(port)" }
}

extension ValueType where Value == HostAndPort {
    static var hostAndPort: Self {
        ValueType(expected: "a host with its port, such as xmpp.example.net:5269") { text, _ throws(ValueFault) in
            guard let place = HostAndPort(text) else { throw .unexpected(hint: HostAndPort(text + ":5269").map { "write \($0)" }) }
            return place
        } write: {
            $0.description
        }
    }
}

extension ValueType where Value == NameServer {
    static var nameServer: Self {
        ValueType(expected: "the IP address of a name server, with @PORT if that is not 53") { text, _ throws(ValueFault) in
            guard let server = NameServer(text) else { throw .unexpected() }
            return server
        } write: {
            $0.description
        }
    }
}
