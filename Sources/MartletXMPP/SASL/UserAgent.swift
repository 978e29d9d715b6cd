import Crypto
import MartletXML

/// What a client says of itself as it logs in (XEP-0388 §2.3): for its own account's eyes only, and for the server's operator.
public struct UserAgent: Hashable, Sendable {
    /// Names this installation, always the same: a UUID of version 4, in small letters.
    public let id: String?
    /// What the program is called.
    public let software: String?
    /// What the device is called that it runs on.
    public let device: String?

    /// Longest description that is kept, in bytes; a longer one is cut between two characters.
    public static let textBytesMax = 256

    /// - Parameter id: checked by whoever calls, ``isIdentifier(_:)``.
    public init(id: String? = nil, software: String? = nil, device: String? = nil) {
        self.id = id?.lowercased()
        self.software = software.flatMap(Self.cut)
        self.device = device.flatMap(Self.cut)
    }

    /// Reads `<user-agent/>`.
    init(_ element: ElementView) throws(SASLFailure) {
        let id = element.attribute("id")
        guard id.map(Self.isIdentifier) ?? true else { throw .malformedRequest("The id of a user agent is a UUID of version 4.") }
        self.init(id: id, software: element.firstChild("software", .sasl2)?.text, device: element.firstChild("device", .sasl2)?.text)
    }

    /// Whether a text is a UUID of version 4 as it is written (RFC 9562 §4, §5.4), in letters of either case.
    public static func isIdentifier(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 36 else { return false }
        return bytes.indices.allSatisfy { index in
            switch index {
            case 8, 13, 18, 23: bytes[index] == UInt8(ascii: "-")
            case 14: bytes[index] == UInt8(ascii: "4")
            case 19: "89abAB".utf8.contains(bytes[index])
            default: isHexadecimal(bytes[index])
            }
        }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"): true
        default: false
        }
    }

    private static func cut(_ text: String) -> String? {
        var bytes = 0
        let kept = text.prefix {
            bytes += $0.utf8.count
            return bytes <= textBytesMax
        }
        return kept.isEmpty ? nil : String(kept)
    }

    /// What the server calls this installation of an account's in resources: always the same, and nothing that leads back to ``id``, which nobody
    /// else is to know (XEP-0386 §3.2.1). 72 bits of a hash; whoever does not know the 122 random bits of the id cannot guess it.
    public func resourceName(for account: BareJID) -> String? {
        guard let id else { return nil }
        let digest = SHA256.hash(data: Array("\(account) \(id)".utf8))
        return digest.prefix(9).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count < 2 ? "0" + digits : digits
        }.joined()
    }
}
