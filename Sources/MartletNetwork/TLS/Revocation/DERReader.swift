/// Reads one element of DER after the other (X.690 §10): definite lengths in as few octets as they need, tags of one octet. Nothing is copied, and
/// no tree is made: a list of revoked certificates has millions of elements.
struct DERReader {
    struct Malformed: Error {}

    enum Tag {
        static let boolean: UInt8 = 0x01
        static let integer: UInt8 = 0x02
        static let bitString: UInt8 = 0x03
        static let octetString: UInt8 = 0x04
        static let null: UInt8 = 0x05
        static let objectIdentifier: UInt8 = 0x06
        static let enumerated: UInt8 = 0x0A
        static let utcTime: UInt8 = 0x17
        static let generalizedTime: UInt8 = 0x18
        static let sequence: UInt8 = 0x30

        /// `[number]`, primitive or constructed.
        static func context(_ number: UInt8, isConstructed: Bool) -> UInt8 { (isConstructed ? 0xA0 : 0x80) | number }
    }

    struct Element {
        let tag: UInt8
        let content: ArraySlice<UInt8>
        /// With tag and length.
        let whole: ArraySlice<UInt8>
    }

    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    /// The content of one element that is all there is.
    init(only tag: UInt8, in bytes: ArraySlice<UInt8>) throws(Malformed) {
        var reader = DERReader(bytes)
        let content = try reader.content(tag)
        try reader.end()
        rest = content
    }

    var isAtEnd: Bool { rest.isEmpty }
    var nextTag: UInt8? { rest.first }

    /// Nothing may come any more.
    func end() throws(Malformed) { if !rest.isEmpty { throw Malformed() } }

    mutating func element() throws(Malformed) -> Element {
        let start = rest.startIndex
        guard rest.count >= 2, rest[start] & 0x1F != 0x1F else { throw Malformed() }
        let tag = rest[start]
        let (length, header) = try length()
        guard rest.count - header >= length else { throw Malformed() }
        let whole = rest[start..<(start + header + length)]
        rest = rest[(start + header + length)...]
        return Element(tag: tag, content: whole[(start + header)...], whole: whole)
    }

    /// The content's length, and how many octets stand before it.
    private func length() throws(Malformed) -> (length: Int, header: Int) {
        let start = rest.startIndex
        let first = Int(rest[start + 1])
        if first < 0x80 { return (first, 2) }
        let count = first & 0x7F
        guard 1...4 ~= count, rest.count >= 2 + count else { throw Malformed() }
        let length = rest[(start + 2)..<(start + 2 + count)].reduce(0) { $0 << 8 | Int($1) }
        // Not longer than it has to be.
        guard length >= 0x80, count == 1 || length >> (8 * (count - 1)) > 0 else { throw Malformed() }
        return (length, 2 + count)
    }

    mutating func content(_ tag: UInt8) throws(Malformed) -> ArraySlice<UInt8> {
        let element = try element()
        guard element.tag == tag else { throw Malformed() }
        return element.content
    }

    mutating func whole(_ tag: UInt8) throws(Malformed) -> ArraySlice<UInt8> {
        let element = try element()
        guard element.tag == tag else { throw Malformed() }
        return element.whole
    }

    /// `nil` if something else comes, or nothing.
    mutating func optional(_ tag: UInt8) throws(Malformed) -> ArraySlice<UInt8>? { nextTag == tag ? try content(tag) : nil }

    /// An INTEGER's content, which has no octet more than it needs: equal numbers are equal octets.
    mutating func integer() throws(Malformed) -> ArraySlice<UInt8> {
        let content = try content(Tag.integer)
        guard let first = content.first else { throw Malformed() }
        if content.count > 1, let second = content.dropFirst().first {
            guard !(first == 0x00 && second < 0x80), !(first == 0xFF && second >= 0x80) else { throw Malformed() }
        }
        return content
    }

    static func boolean(_ content: ArraySlice<UInt8>) throws(Malformed) -> Bool {
        switch Array(content) {
        case [0xFF]: true
        case [0x00]: false
        default: throw Malformed()
        }
    }

    /// A BIT STRING of whole octets.
    mutating func octetsOfBitString() throws(Malformed) -> ArraySlice<UInt8> {
        var content = try content(Tag.bitString)
        guard content.popFirst() == 0 else { throw Malformed() }
        return content
    }
}

// MARK: Times

extension DERReader {
    /// A UTCTime or GeneralizedTime as certificates have it (RFC 5280 §4.1.2.5): in UTC, to the second. In seconds since 1970.
    mutating func time() throws(Malformed) -> Int {
        let element = try element()
        let digits = element.content.dropLast()
        guard element.content.last == UInt8(ascii: "Z"), digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { throw Malformed() }
        let pairs = stride(from: digits.startIndex, to: digits.endIndex - 1, by: 2).map { Int(digits[$0] - 48) * 10 + Int(digits[$0 + 1] - 48) }
        switch (element.tag, digits.count) {
        case (Tag.utcTime, 12): return try Self.seconds(year: pairs[0] + (pairs[0] < 50 ? 2000 : 1900), Array(pairs.dropFirst()))
        case (Tag.generalizedTime, 14): return try Self.seconds(year: pairs[0] * 100 + pairs[1], Array(pairs.dropFirst(2)))
        default: throw Malformed()
        }
    }

    /// - Parameter rest: month, day, hour, minute, second.
    private static func seconds(year: Int, _ rest: [Int]) throws(Malformed) -> Int {
        let (month, day, hour, minute, second) = (rest[0], rest[1], rest[2], rest[3], rest[4])
        guard 1...12 ~= month, 1...31 ~= day, 0...23 ~= hour, 0...59 ~= minute, 0...60 ~= second else { throw Malformed() }
        // Years that begin in March have their odd day at the end.
        let shifted = month <= 2 ? year - 1 : year
        let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1 - 719_468
        return ((days * 24 + hour) * 60 + minute) * 60 + second
    }
}

// MARK: Extensions

extension DERReader {
    /// Reads `Extensions` (RFC 5280 §4.1.2.9): the content of an element that holds them.
    ///
    /// - Parameter each: told of the identifier's octets, whether it is critical, and the value.
    static func extensions<Failure: Error>(
        _ content: ArraySlice<UInt8>, _ malformed: Failure, _ each: (ArraySlice<UInt8>, Bool, ArraySlice<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        var all = DERReader(content)
        while !all.isAtEnd {
            let (identifier, isCritical, value): (ArraySlice<UInt8>, Bool, ArraySlice<UInt8>)
            do throws(Malformed) {
                var one = DERReader(try all.content(Tag.sequence))
                identifier = try one.content(Tag.objectIdentifier)
                isCritical = try one.optional(Tag.boolean).map { (content) throws(Malformed) in try boolean(content) } ?? false
                value = try one.content(Tag.octetString)
                try one.end()
            } catch {
                throw malformed
            }
            try each(identifier, isCritical, value)
        }
    }
}
