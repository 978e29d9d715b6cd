/// One side's part of the nonce of a SCRAM exchange: printable ASCII without commas (RFC 5802 §7).
public struct ScramNonce: Hashable, Sendable {
    /// Longest part that is accepted, in bytes. What is in use has 16 to 64.
    public static let bytesMax = 256
    /// Fewest random bytes for a nonce of ours: 128 bits never repeat.
    public static let randomBytesMin = 16

    let bytes: [UInt8]

    /// The nonce that spells `random` in base64. At least ``randomBytesMin`` bytes, from the system's generator
    /// except in tests.
    public init(random: [UInt8]) {
        precondition(random.count >= Self.randomBytesMin && random.count <= 128, "a nonce is 16 to 128 random bytes")
        bytes = Base64.encodeToBytes(random)
    }

    /// A nonce as it goes on the wire; `nil` if it is empty, too long, or not printable.
    public init?(_ text: some Collection<UInt8>) {
        guard !text.isEmpty, text.count <= Self.bytesMax, text.allSatisfy(Self.isPrintable) else { return nil }
        bytes = Array(text)
    }

    static func isPrintable(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && byte != UInt8(ascii: ",")
    }
}
