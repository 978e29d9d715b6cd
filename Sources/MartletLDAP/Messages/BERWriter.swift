/// Writes elements one behind the other, each with the shortest length there is (X.690 §10.1), as RFC 4511 §5.1 allows it.
struct BERWriter {
    private(set) var bytes: [UInt8] = []

    /// What one element or several look like.
    static func bytes(_ content: (inout BERWriter) -> Void) -> [UInt8] {
        var writer = BERWriter()
        content(&writer)
        return writer.bytes
    }

    mutating func constructed(_ tag: UInt8 = BERTag.sequence, _ content: (inout BERWriter) -> Void) {
        bytes.append(tag)
        bytes.append(0)
        let start = bytes.count
        content(&self)
        // Most are short; for the others what has been written moves on by a few octets.
        let count = bytes.count - start
        if count < 0x80 { bytes[start - 1] = UInt8(count) } else { bytes.replaceSubrange((start - 1)..<start, with: Self.length(count)) }
    }

    mutating func octets(_ value: some Collection<UInt8>, _ tag: UInt8 = BERTag.octetString) {
        bytes.append(tag)
        let count = value.count
        if count < 0x80 { bytes.append(UInt8(count)) } else { bytes.append(contentsOf: Self.length(count)) }
        bytes.append(contentsOf: value)
    }

    mutating func string(_ value: String, _ tag: UInt8 = BERTag.octetString) { octets(value.utf8, tag) }

    mutating func integer(_ value: Int, _ tag: UInt8 = BERTag.integer) {
        bytes.append(tag)
        // The first octet whose sign is the number's, and whatever comes behind it.
        let count = (1..<8).first { value >> (8 * $0 - 1) == value >> 63 } ?? 8
        bytes.append(UInt8(count))
        for index in (0..<count).reversed() { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }

    mutating func enumerated(_ value: Int, _ tag: UInt8 = BERTag.enumerated) { integer(value, tag) }

    mutating func boolean(_ value: Bool, _ tag: UInt8 = BERTag.boolean) {
        bytes.append(tag)
        bytes.append(1)
        bytes.append(value ? 0xFF : 0)
    }

    mutating func null(_ tag: UInt8) {
        bytes.append(tag)
        bytes.append(0)
    }

    mutating func list<Element>(_ elements: [Element], _ tag: UInt8 = BERTag.sequence, _ write: (inout BERWriter, Element) -> Void) {
        constructed(tag) { writer in
            for element in elements { write(&writer, element) }
        }
    }

    mutating func strings(_ values: [String], _ tag: UInt8 = BERTag.sequence) { list(values, tag) { $0.string($1) } }

    /// The octets that say how long something is.
    static func length(_ count: Int) -> [UInt8] {
        guard count >= 0x80 else { return [UInt8(count)] }
        let octets = 8 - count.leadingZeroBitCount / 8
        return [0x80 | UInt8(octets)] + (0..<octets).reversed().map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
    }
}
