/// From bytes to a prepared address (RFC 7622 §3).
///
/// Nearly all addresses are ASCII. Those are checked, then lower-cased byte by byte into their storage; no String is
/// made. Whatever the short way does not settle, be it Unicode or a fault, takes the long way, which also finds the error.
@usableFromInline
enum JIDPreparation {
    /// Octets of a part before preparation. None can become less than a third of itself (fullwidth letters are three octets
    /// of UTF-8), but for invisible characters that a resourcepart loses, and nobody needs that many: a longer one is refused unread.
    static let unpreparedPartBytesMax = 3 * BareJID.partBytesMax

    static func storage(parsing bytes: UnsafeRawBufferPointer) throws(JIDError) -> JIDStorage {
        try storage(preparing: JIDParts(splitting: bytes))
    }

    static func storage(localpart: String?, domainpart: String, resourcepart: String?) throws(JIDError) -> JIDStorage {
        let localBytes = localpart.map { Array($0.utf8) } ?? []
        let domainBytes = Array(domainpart.utf8)
        let resourceBytes = resourcepart.map { Array($0.utf8) } ?? []
        let domainEnd = localBytes.count + domainBytes.count
        return try withBytes(of: localBytes + domainBytes + resourceBytes) { (bytes) throws(JIDError) in
            try storage(
                preparing: JIDParts(
                    localpart: localpart == nil ? nil : bytes[rebased: 0..<localBytes.count],
                    domainpart: bytes[rebased: localBytes.count..<domainEnd],
                    resourcepart: resourcepart == nil ? nil : bytes[rebased: domainEnd..<bytes.count]))
        }
    }

    static func storage(bare: JIDStorage, resourcepart: String) throws(JIDError) -> JIDStorage {
        let prepared = try withUTF8(of: resourcepart) { (bytes) throws(JIDError) in
            try JIDPartPreparation.resourcepart(bytes)
        }
        return bare.withBytes(of: .localpart) { localpart in
            bare.withBytes(of: .domainpart) { domainpart in
                prepared.withUnsafeBytes { .make(localpart: localpart, domainpart: domainpart, resourcepart: $0) }
            }
        }
    }

    private static func storage(preparing parts: JIDParts) throws(JIDError) -> JIDStorage {
        if let storage = parts.preparedASCII() { return storage }
        return try parts.prepared()
    }

    /// Gives `body` the octets of `text`.
    @inlinable
    static func withUTF8<Value>(
        of text: some StringProtocol, _ body: (UnsafeRawBufferPointer) throws(JIDError) -> Value
    ) throws(JIDError) -> Value {
        var text = String(text)
        return try text.withUTF8 { bytes in
            Result { () throws(JIDError) in try body(UnsafeRawBufferPointer(bytes)) }
        }.get()
    }

    private static func withBytes<Value>(
        of array: [UInt8], _ body: (UnsafeRawBufferPointer) throws(JIDError) -> Value
    ) throws(JIDError) -> Value {
        try array.withUnsafeBytes { bytes in Result { () throws(JIDError) in try body(bytes) } }.get()
    }
}

/// An address taken apart, nothing prepared yet; the pointers are the caller's.
struct JIDParts {
    var localpart: UnsafeRawBufferPointer?
    var domainpart: UnsafeRawBufferPointer
    var resourcepart: UnsafeRawBufferPointer?
}

extension JIDParts {
    /// Splits at the first `/`, then what is before it at the first `@` (RFC 7622 §3.2).
    init(splitting bytes: UnsafeRawBufferPointer) {
        let slash = bytes.firstIndex(of: UInt8(ascii: "/"))
        let bare = bytes[rebased: 0..<(slash ?? bytes.count)]
        resourcepart = slash.map { bytes[rebased: ($0 + 1)..<bytes.count] }
        let at = bare.firstIndex(of: UInt8(ascii: "@"))
        localpart = at.map { bare[rebased: 0..<$0] }
        domainpart = bare[rebased: (at.map { $0 + 1 } ?? 0)..<bare.count]
    }

    /// The short way: `nil` if anything is not plainly right, which says nothing about the address.
    func preparedASCII() -> JIDStorage? {
        guard let domainpart = asciiDomainpart() else { return nil }
        if let localpart, !ASCII.isLocalpart(localpart) { return nil }
        if let resourcepart, !ASCII.isResourcepart(resourcepart) { return nil }
        return JIDStorage.make(
            localpartBytes: localpart?.count ?? 0, domainpartBytes: domainpart.count,
            resourcepartBytes: resourcepart?.count ?? 0
        ) { bytes in
            var next = bytes
            if let localpart {
                next.appendLowercased(localpart)
                next.append("@")
            }
            next.appendLowercased(domainpart)
            if let resourcepart {
                next.append("/")
                next.append(resourcepart)
            }
        }
    }

    /// The domainpart without its final dot, if it consists of letter-digit-hyphen labels (RFC 5890 §2.3.1) of which
    /// none is an A-label.
    private func asciiDomainpart() -> UnsafeRawBufferPointer? {
        var domainpart = domainpart
        if domainpart.last == UInt8(ascii: ".") { domainpart = domainpart[rebased: 0..<(domainpart.count - 1)] }
        return ASCII.isHostName(domainpart) ? domainpart : nil
    }

    /// The long way.
    func prepared() throws(JIDError) -> JIDStorage {
        let local = try localpart.map { (bytes) throws(JIDError) in try JIDPartPreparation.localpart(bytes) }
        let domain = try JIDPartPreparation.domainpart(domainpart)
        let resource = try resourcepart.map { (bytes) throws(JIDError) in try JIDPartPreparation.resourcepart(bytes) }
        return (local ?? []).withUnsafeBytes { local in
            domain.withUnsafeBytes { domain in
                (resource ?? []).withUnsafeBytes { resource in
                    .make(localpart: local, domainpart: domain, resourcepart: resource)
                }
            }
        }
    }
}

/// The checks of the short way.
private enum ASCII {
    /// Whether all octets may stand in a localpart: ASCII7 of RFC 8264 §9.11 without the eight of RFC 7622 §3.3.1.
    static func isLocalpart(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard 1...BareJID.partBytesMax ~= bytes.count else { return false }
        // Bit n of the two words is character n, and character 64 + n.
        let low: UInt64 = 0xABFF_7F3A_0000_0000
        let high: UInt64 = 0x7FFF_FFFF_FFFF_FFFE
        for byte in bytes {
            let allowed = byte < 64 ? low : byte < 128 ? high : 0
            guard allowed >> (byte & 63) & 1 == 1 else { return false }
        }
        return true
    }

    /// Whether all octets are printable or spaces.
    static func isResourcepart(_ bytes: UnsafeRawBufferPointer) -> Bool {
        1...BareJID.partBytesMax ~= bytes.count && bytes.allSatisfy { 0x20...0x7E ~= $0 }
    }

    /// Whether the octets are labels of 1 to 63 letters, digits and inner hyphens, none with hyphens in the third and
    /// fourth place (A-labels and what RFC 5890 §2.3.1 reserves).
    static func isHostName(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard 1...BareJID.partBytesMax ~= bytes.count else { return false }
        var labelStart = 0
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                continue
            case UInt8(ascii: "-"):
                let second = index == labelStart + 3 && bytes[index - 1] == byte
                guard index > labelStart, !second else { return false }
            case UInt8(ascii: "."):
                guard isLabelEnd(bytes, from: labelStart, to: index) else { return false }
                labelStart = index + 1
            default:
                return false
            }
        }
        return isLabelEnd(bytes, from: labelStart, to: bytes.count)
    }

    private static func isLabelEnd(_ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Bool {
        1...DomainLabel.bytesMax ~= end - start && bytes[end - 1] != UInt8(ascii: "-")
    }
}

extension UnsafeRawBufferPointer {
    /// A part of the buffer that counts from 0.
    fileprivate subscript(rebased range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }
}

extension UnsafeMutablePointer<UInt8> {
    /// Writes `bytes` in lower case and moves on behind them.
    fileprivate mutating func appendLowercased(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes {
            pointee = UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
            self += 1
        }
    }
}
