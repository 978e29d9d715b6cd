internal import Crypto
internal import CryptoExtras

/// The hash function of a SCRAM mechanism, and the functions of RFC 5802 §2.2 with it.
public enum ScramHash: Hashable, Sendable, CaseIterable {
    /// RFC 5802. Broken for signatures; as HMAC and in PBKDF2 nothing is known against it.
    case sha1
    /// RFC 7677.
    case sha256
    /// Registered by draft-melnikov-scram-sha-512; what Prosody, ejabberd and the clients speak.
    case sha512

    /// The name of the mechanism without channel binding.
    public var mechanismName: String {
        switch self {
        case .sha1: "SCRAM-SHA-1"
        case .sha256: "SCRAM-SHA-256"
        case .sha512: "SCRAM-SHA-512"
        }
    }

    /// The hash whose mechanism has that name.
    public init?(mechanismName: some StringProtocol) {
        switch String(mechanismName) {
        case "SCRAM-SHA-1": self = .sha1
        case "SCRAM-SHA-256": self = .sha256
        case "SCRAM-SHA-512": self = .sha512
        default: return nil
        }
    }

    /// Length of what the function gives, and so of every key and proof.
    public var byteCount: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha512: 64
        }
    }

    var strength: Int {
        switch self {
        case .sha1: 1
        case .sha256: 2
        case .sha512: 3
        }
    }

    /// `H(bytes)`.
    package func digest(_ bytes: [UInt8]) -> [UInt8] {
        switch self {
        case .sha1: Array(Insecure.SHA1.hash(data: bytes))
        case .sha256: Array(SHA256.hash(data: bytes))
        case .sha512: Array(SHA512.hash(data: bytes))
        }
    }

    /// `HMAC(key, bytes)`.
    package func authenticationCode(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
        let key = SymmetricKey(data: key)
        return switch self {
        case .sha1: Array(HMAC<Insecure.SHA1>.authenticationCode(for: bytes, using: key))
        case .sha256: Array(HMAC<SHA256>.authenticationCode(for: bytes, using: key))
        case .sha512: Array(HMAC<SHA512>.authenticationCode(for: bytes, using: key))
        }
    }

    /// `Hi(password, salt, iterations)`, which is PBKDF2: milliseconds of one core. `nil` if the library refuses.
    package func saltedPassword(_ password: PreparedPassword, salt: [UInt8], iterations: Int) -> [UInt8]? {
        guard !salt.isEmpty, iterations > 0 else { return nil }
        let key = try? KDF.Insecure.PBKDF2.deriveKey(
            from: password.bytes, salt: salt, using: derivation, outputByteCount: byteCount,
            unsafeUncheckedRounds: iterations)
        return key?.withUnsafeBytes { Array($0) }
    }

    private var derivation: KDF.Insecure.PBKDF2.HashFunction {
        switch self {
        case .sha1: .insecureSHA1
        case .sha256: .sha256
        case .sha512: .sha512
        }
    }
}

/// Whether both are the same bytes, in a time that depends on their lengths only.
package func equalInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    SymmetricKey(data: a) == SymmetricKey(data: b)
}
