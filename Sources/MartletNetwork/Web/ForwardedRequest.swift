package import NIOHTTP1

/// What a reverse proxy says about a request.
package struct ForwardedRequest {
    /// Whoever the last proxy that is not trusted, or the client, was seen as.
    package let sender: NetworkAddress?
    package let isSecure: Bool

    /// - Parameter isTrusted: whether an address is a proxy's whose word counts.
    package init(_ headers: HTTPHeaders, _ isTrusted: (NetworkAddress) -> Bool) {
        let named = headers[canonicalForm: "X-Forwarded-For"].reversed()
        var sender: NetworkAddress?
        for name in named {
            guard let address = Self.address(name) else { break }
            sender = address
            if !isTrusted(address) { break }
        }
        self.sender = sender
        let protocols = headers[canonicalForm: "X-Forwarded-Proto"]
        isSecure = protocols.last.map { $0.lowercased() == "https" } ?? false
    }

    /// An address as proxies write it: alone, in brackets, or with the port that the sender had, as `192.0.2.1:5678` or `[2001:db8::1]:5678`.
    private static func address(_ text: Substring) -> NetworkAddress? {
        guard text.hasPrefix("[") else {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            // With more colons it is IPv6, and no port.
            guard parts.count == 2 else { return NetworkAddress(String(text)) }
            return isPort(parts[1]) ? NetworkAddress(String(parts[0])) : nil
        }
        let parts = text.dropFirst().split(separator: "]", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].contains(":"), parts[1].isEmpty || parts[1].hasPrefix(":") && isPort(parts[1].dropFirst()) else { return nil }
        return NetworkAddress(String(parts[0]))
    }

    /// Whatever the number is: nothing is done with it.
    private static func isPort(_ text: Substring) -> Bool { (1...5).contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) } }
}
