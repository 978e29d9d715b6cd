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

    /// The 16 octets, as they came.
    package var octets: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
    }
}

extension EntryUUID {
    /// Reads 32 hexadecimal digits, with hyphens wherever a server puts them: `entryUUID` (RFC 4530 §2.1) has them after 8, 12, 16 and 20 digits, `nsUniqueId` of
    /// the 389 Directory Server after every eighth.
    package init?(text: some StringProtocol) {
        guard text.utf8.count <= Self.textBytesMax else { return nil }
        var octets: [UInt8] = []
        var half: UInt8?
        for byte in text.utf8 where byte != UInt8(ascii: "-") {
            guard let digit = Self.value(ofDigit: byte) else { return nil }
            if let high = half { octets.append(high << 4 | digit) }
            half = half == nil ? digit : nil
        }
        guard half == nil else { return nil }
        self.init(octets)
    }

    /// 32 digits and at most as many hyphens as `entryUUID` has.
    private static let textBytesMax = 36

    private static func value(ofDigit byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension EntryUUID: Comparable, CustomStringConvertible {
    package static func < (a: EntryUUID, b: EntryUUID) -> Bool { (a.high, a.low) < (b.high, b.low) }

    /// As `entryUUID` is written (RFC 4530 §2.1).
    package var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, octet) in octets.enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append(UInt8(ascii: "-")) }
            text += [digits[Int(octet >> 4)], digits[Int(octet & 15)]]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
