import MartletLDAP

/// Names an entry of a directory for as long as it exists, whatever becomes of its name: the sync UUID (RFC 4533 §2.3.1), or entryUUID, nsUniqueId, objectGUID.
package struct EntryUUID: Hashable, Sendable {
    /// 16 octets.
    package let high: UInt64
    package let low: UInt64

    /// - Returns: `nil` unless there are 16 octets.
    package init?(_ octets: [UInt8]) {
        guard octets.count == 16 else { return nil }
        high = octets[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = octets[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
