/// The long way from one part's bytes to its prepared bytes.
enum JIDPartPreparation {
    static func localpart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .localpart)
        return try finished(text.map { UInt8(truncatingIfNeeded: $0.value) }, .localpart)
    }

    static func domainpart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .domainpart)
        return try finished(text.map { UInt8(truncatingIfNeeded: $0.value) }, .domainpart)
    }

    static func resourcepart(_ bytes: UnsafeRawBufferPointer) throws(JIDError) -> [UInt8] {
        let text = try scalars(bytes, .resourcepart)
        return try finished(text.map { UInt8(truncatingIfNeeded: $0.value) }, .resourcepart)
    }

    private static func scalars(_ bytes: UnsafeRawBufferPointer, _ part: JIDPart) throws(JIDError) -> [Unicode.Scalar] {
        guard bytes.count > 0 else { throw .empty(part) }
        guard bytes.count <= JIDPreparation.unpreparedPartBytesMax else { throw .tooLong(part, bytes: bytes.count) }
        let text = Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)
        for scalar in text where !(0x20...0x7E ~= scalar.value) { throw .disallowed(part, scalar) }
        if part == .localpart, let bad = text.first(where: { " \"&'/:<>@".unicodeScalars.contains($0) }) {
            throw .disallowed(part, bad)
        }
        return text
    }

    private static func finished(_ bytes: [UInt8], _ part: JIDPart) throws(JIDError) -> [UInt8] {
        guard bytes.count <= BareJID.partBytesMax else { throw .tooLong(part, bytes: bytes.count) }
        return bytes
    }
}

enum DomainLabel {
    /// Most octets in a label (RFC 1035 §2.3.4), counted as an A-label.
    static let bytesMax = 63
}
