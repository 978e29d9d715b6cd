package import NIOCore

/// How it is found out whether certificates are revoked.
package struct RevocationSettings: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable, CaseIterable {
        /// Nothing is asked.
        case off
        /// What is revoked is refused; what cannot be found out is accepted.
        case prefer
        /// What is not known to be good is refused.
        case require
    }

    package var mode = Mode.prefer
    /// Hosts that lists are fetched from and that are asked, and all below them; empty: any on the Internet.
    package var hosts: Set<DNSName> = []
    /// How long a handshake waits for others, in all. What comes later is there for the next one.
    package var wait = TimeAmount.seconds(3)
    /// From the first byte of a name to the last of a list.
    package var fetchDeadline = TimeAmount.seconds(30)
    /// Fetches that are under way at a time; past it, nothing is fetched.
    package var fetchesMax = 8
    /// What has been fetched and is remembered, in number and in bytes; past it, what was not asked for longest is forgotten.
    package var rememberedMax = 1_000
    package var rememberedBytesMax = 64 << 20
    /// For how long a place is not asked again that had nothing of use, in seconds.
    package var failureLifetime = 300
    /// After which time at most something is fetched anew that is still in use, in seconds: some lists say for weeks that there is nothing newer,
    /// and are written every day.
    package var refreshMax = 86_400

    package init() {}
}

/// What has been found out about a chain of certificates.
package enum RevocationFinding: Hashable, Sendable {
    /// There was nobody to be asked about: a certificate that is trusted as it is. Or nothing is asked.
    case notAsked
    /// None is revoked; who says so about the first.
    case good(by: String)
    /// A certificate of that subject is revoked, and who says so.
    case revoked(String, by: String)
    /// It says nowhere who would know.
    case unsaid(String)
    /// It could not be found out about the certificate of that subject, and what was in the way.
    case unknown(String, why: String)
}

extension RevocationFinding {
    /// Why the certificate is not accepted; `nil` if it is.
    package func fault(_ mode: RevocationSettings.Mode) -> CertificateFault? {
        switch self {
        case .notAsked, .good: nil
        case .revoked(let subject, let source): .revoked(subject, by: source)
        case .unsaid(let subject): mode == .require ? .statusUnknown(subject, "it says nowhere who would know, and no list here has it") : nil
        case .unknown(let subject, let why): mode == .require ? .statusUnknown(subject, why) : nil
        }
    }
}
