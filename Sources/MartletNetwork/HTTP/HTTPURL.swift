/// Where something is fetched: an absolute `http:` or `https:` URL (RFC 9110 §4.2), without what such URLs may not have here: a user, or
/// characters that would have to be encoded.
package struct HTTPURL: Hashable, Sendable, CustomStringConvertible {
    package enum Scheme: String, Hashable, Sendable {
        case http, https

        var port: UInt16 { self == .http ? 80 : 443 }
    }

    /// Longest one, in bytes.
    package static let bytesMax = 2_048

    package let scheme: Scheme
    package let host: DialTarget.Host
    package let port: UInt16
    /// What comes behind the host: a path, and perhaps a query (RFC 9112 §3.2.1). Begins with `/`.
    package let target: String

    private init(_ scheme: Scheme, _ host: DialTarget.Host, _ port: UInt16, _ target: String) {
        (self.scheme, self.host, self.port, self.target) = (scheme, host, port, target)
    }

    /// `nil` if the text is no such URL. A fragment is left out.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Self.bytesMax, text.utf8.allSatisfy({ 0x21...0x7E ~= $0 }) else { return nil }
        guard let colon = text.firstIndex(of: ":"), let scheme = Scheme(rawValue: text[..<colon].lowercased()) else { return nil }
        var rest = text[text.index(after: colon)...].prefix { $0 != "#" }
        guard rest.hasPrefix("//") else { return nil }
        rest = rest.dropFirst(2)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let target = rest.dropFirst(authority.count)
        guard let place = Self.place(String(authority), scheme) else { return nil }
        self.init(scheme, place.host, place.port, target.hasPrefix("/") ? String(target) : "/\(target)")
    }

    /// `host`, `host:port`, `[address]` or `[address]:port`.
    private static func place(_ authority: String, _ scheme: Scheme) -> (host: DialTarget.Host, port: UInt16)? {
        let isBracketed = authority.hasPrefix("[")
        let name = isBracketed ? authority.dropFirst().prefix { $0 != "]" } : authority.prefix { $0 != ":" }
        guard !isBracketed || authority.contains("]") else { return nil }
        let rest = authority.dropFirst(name.count + (isBracketed ? 2 : 0))
        guard let host = host(String(name), isBracketed: isBracketed) else { return nil }
        if rest.isEmpty || rest == ":" { return (host, scheme.port) }
        guard rest.hasPrefix(":"), rest.dropFirst().allSatisfy(\.isNumber), let port = UInt16(rest.dropFirst()), port > 0 else { return nil }
        return (host, port)
    }

    private static func host(_ name: String, isBracketed: Bool) -> DialTarget.Host? {
        if let address = NetworkAddress(name) { return isBracketed == address.isIPv4 ? nil : .address(address) }
        return isBracketed ? nil : DNSName(name).map { .name($0) }
    }

    /// What a `Location` in an answer from here means (RFC 9110 §10.2.2, RFC 3986 §5.2): another URL, or another path on the same host. What
    /// begins in the middle of a path is not understood; nothing that is fetched here does so.
    package func following(_ location: String) -> HTTPURL? {
        if location.hasPrefix("//") { return HTTPURL("\(scheme.rawValue):\(location)") }
        if location.hasPrefix("/") { return HTTPURL("\(scheme.rawValue)://\(authority)\(location)") }
        return HTTPURL(location)
    }

    /// As in `Host` (RFC 9110 §7.2): without the port that is the scheme's own.
    package var authority: String {
        let name =
            switch host {
            case .name(let name): name.description
            case .address(let address): address.isIPv4 ? "\(address)" : "[\(address)]"
            }
        return port == scheme.port ? name : "\(name):\(port)"
    }

    package var description: String { "\(scheme.rawValue)://\(authority)\(target)" }
}
