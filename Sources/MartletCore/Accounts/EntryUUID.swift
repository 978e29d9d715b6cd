/// Names an entry of a directory for as long as it exists, whatever becomes of its name: the sync UUID (RFC 4533 §2.3.1), or entryUUID, nsUniqueId, objectGUID.
package struct EntryUUID: Hashable, Sendable {
    package static let octetCount = 16
    private let high: UInt64
    private let low: UInt64

    /// - Returns: `nil` unless there are 16 octets.
    package init?(_ octets: some Collection<UInt8>) {
        guard octets.count == Self.octetCount else { return nil }
        high = octets.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        low = octets.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    package var octets: [UInt8] { [high, low].flatMap { half in (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * $0)) } } }
}

/// As RFC 4530 §2.1 writes it.
extension EntryUUID: CustomStringConvertible {
    package var description: String {
        octets.enumerated().map { index, octet in ([4, 6, 8, 10].contains(index) ? "-" : "") + (octet < 16 ? "0" : "") + String(octet, radix: 16) }.joined()
    }
}
