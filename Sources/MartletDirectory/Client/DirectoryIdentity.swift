package import MartletXMPP

/// As whom a connection is bound (RFC 4513 §5). Passwords never show in what it describes.
package enum DirectoryIdentity: Hashable, Sendable {
    /// RFC 4513 §5.1.1.
    case anonymous
    /// A name in the directory, and its password (§5.1.3).
    case simple(name: String, PreparedPassword)
    /// SASL EXTERNAL: by the certificate that we show, or, on a socket of the machine, by what the system says (§5.2.3).
    case external
    /// SASL PLAIN (RFC 4616). Only where nobody else listens.
    case plain(username: String, PreparedPassword)
    /// SASL SCRAM (RFC 5802), which proves the server to us as well.
    case scram(ScramHash, username: String, PreparedPassword)
}
