import Crypto

/// How a component proves who it is (XEP-0114 §3): with what only those can make of a stream's name who know its secret.
public enum ComponentHandshake {
    /// SHA-1 over the stream's `id` and the secret, in lower-case hexadecimal digits.
    ///
    /// What is known of SHA-1's weakness are collisions, which do not help here; but whoever hears the stream can try secrets in peace, and can
    /// change what is said. Hence loopback, or TLS.
    public static func proof(streamID: String, secret: [UInt8]) -> String {
        Insecure.SHA1.hash(data: Array(streamID.utf8) + secret).reduce(into: "") { text, byte in
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
    }

    /// Whether a proof is the right one. How long that takes says nothing about where it is wrong.
    ///
    /// - Parameter claim: as the component has it; digits may be in upper case, as old components have them.
    public static func isProved(_ claim: String, streamID: String, secret: [UInt8]) -> Bool {
        let expected = Array(proof(streamID: streamID, secret: secret).utf8)
        // Only letters are affected, and no digit becomes another one.
        let claimed = claim.utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "F")).contains($0) ? $0 | 0x20 : $0 }
        guard claimed.count == expected.count else { return false }
        return zip(claimed, expected).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static let digits = Array("0123456789abcdef")
}
