/// What a server says inside SCRAM of what it has offered outside of it, so that a client notices if somebody in between has shown it something
/// else: which mechanisms and channel bindings (XEP-0474), and over which version of TLS (XEP-0515).
///
/// Both are optional attributes at the end of `server-first-message`. They protect themselves: the client's proof is over this message, so that
/// only who knows the password, or its keys, can change them unseen.
extension SASLOffer {
    /// `,h=…` and `,t=…`, as far as there is something to say.
    func downgradeProtection(_ hash: ScramHash) -> [UInt8] {
        let offered = mechanisms.isEmpty ? [] : Array(",h=".utf8) + Base64.encodeToBytes(hash.digest(announcement))
        return offered + (tls.map { Array(",t=\($0.hexadecimal)".utf8) } ?? [])
    }

    /// What is hashed (XEP-0474 §5.1): the names of the mechanisms and, behind a separator, of the channel bindings if any were announced
    /// (XEP-0440), each list in the order of its octets.
    var announcement: [UInt8] {
        let types = bindings.isEmpty ? [] : [Self.listSeparator] + Self.list(bindings.map(\.kind.name))
        return Self.list(mechanisms.map(\.name)) + types
    }

    /// No XML may contain these, so that no name does.
    private static let nameSeparator: UInt8 = 0x1E
    private static let listSeparator: UInt8 = 0x1F

    /// Sorted by "i;octet" (RFC 4790 §9.3).
    private static func list(_ names: [String]) -> [UInt8] {
        let sorted = names.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
        return Array(sorted.joined(separator: [nameSeparator]))
    }
}

/// The version of TLS that a connection came to, by its number in the handshake (RFC 8446 §4.2.1).
public enum NegotiatedTLS: UInt16, Hashable, Sendable {
    case tls12 = 0x0303
    case tls13 = 0x0304

    /// As XEP-0515 §4.1 writes it.
    var hexadecimal: String {
        let digits = String(rawValue, radix: 16)
        return String(repeating: "0", count: 4 - digits.count) + digits
    }
}
