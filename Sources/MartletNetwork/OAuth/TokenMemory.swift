import Crypto
package import MartletXMPP

/// Tokens that an authorization server has called good a moment ago (RFC 7662 §4): a client that comes back need not have it asked again. By their digests:
/// no token is kept.
package struct TokenMemory: Sendable {
    /// Most tokens that are remembered.
    package static let entriesMax = 1_024

    private struct Entry {
        let claims: TokenClaims
        /// Seconds since 1970.
        let until: Int
    }

    private var entries: [[UInt8]: Entry] = [:]

    package init() {}

    package var count: Int { entries.count }

    /// What was said of a token, as long as that may be used.
    package func claims(of token: BearerToken, now: Int) -> TokenClaims? {
        guard let entry = entries[Self.digest(token)], now < entry.until else { return nil }
        return entry.claims
    }

    /// - Parameter until: seconds since 1970.
    package mutating func remember(_ claims: TokenClaims, of token: BearerToken, until: Int, now: Int) {
        guard until > now else { return }
        if entries.count >= Self.entriesMax { entries = entries.filter { now < $0.value.until } }
        if entries.count >= Self.entriesMax, let first = entries.min(by: { $0.value.until < $1.value.until }) { entries[first.key] = nil }
        entries[Self.digest(token)] = Entry(claims: claims, until: until)
    }

    private static func digest(_ token: BearerToken) -> [UInt8] { Array(SHA256.hash(data: Array(token.text.utf8))) }
}
