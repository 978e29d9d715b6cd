import NIOHTTP1

/// What a reverse proxy says about a request.
struct ForwardedRequest {
    /// Whoever the last proxy that is not trusted, or the client, was seen as.
    let sender: NetworkAddress?
    let isSecure: Bool

    /// - Parameter isTrusted: whether an address is a proxy's whose word counts.
    init(_ headers: HTTPHeaders, _ isTrusted: (NetworkAddress) -> Bool) {
        let named = headers[canonicalForm: "X-Forwarded-For"].reversed()
        var sender: NetworkAddress?
        for name in named {
            guard let address = NetworkAddress(String(name)) else { break }
            sender = address
            if !isTrusted(address) { break }
        }
        self.sender = sender
        let protocols = headers[canonicalForm: "X-Forwarded-Proto"]
        isSecure = protocols.last.map { $0.lowercased() == "https" } ?? false
    }
}
