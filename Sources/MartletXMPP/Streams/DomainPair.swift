import Crypto

/// A domain of ours and one of another server: what streams between servers are authenticated for, one direction at a time (XEP-0220 §1.2).
public struct DomainPair: Hashable, Sendable {
    /// The other server's, prepared.
    public let remote: String
    /// Ours, prepared.
    public let local: String

    public init(remote: String, local: String) {
        self.remote = remote
        self.local = local
    }

    /// The same in every process, and nobody finds two pairs that share it: half of SHA-256's half.
    package var fingerprint: UInt64 {
        SHA256.hash(data: Array("\(remote)\0\(local)".utf8)).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// What is known of the other server's certificate with regard to one of its domains.
public enum CertificateVerdict: Hashable, Sendable {
    /// It has shown none.
    case absent
    case valid
    /// Why it does not speak for the domain, for the operator and for the other server.
    case invalid(String)
}

/// What is expected of another server.
public struct PeerPolicy: Hashable, Sendable {
    public enum Authentication: Hashable, Sendable {
        /// Both sides show certificates that are valid for their domains (RFC 6120 §13.7.2, XEP-0178).
        case certificate
        /// Where a certificate is not valid, the domain's DNS records are believed (XEP-0220).
        case dialback
    }

    /// One stream for both directions (XEP-0288). Such a stream cannot be resumed: each direction on its own can.
    public enum Bidirection: String, Hashable, Sendable, CaseIterable {
        case off
        /// Where the other server asks for it.
        case accept
        /// And this server asks for it where the other one can.
        case ask
    }

    /// Why there are no streams with it; `nil` if there are.
    public var refusal: String?
    public var requiresEncryption: Bool
    public var authentication: Authentication
    public var bidirection: Bidirection

    public init(
        refusal: String? = nil, requiresEncryption: Bool = true, authentication: Authentication = .certificate, bidirection: Bidirection = .accept
    ) {
        self.refusal = refusal
        self.requiresEncryption = requiresEncryption
        self.authentication = authentication
        self.bidirection = bidirection
    }
}
