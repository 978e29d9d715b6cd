import NIOCore

/// The tags of X.680 that LDAP uses, and its own way to make others. None has more than one octet.
enum BERTag {
    static let boolean: UInt8 = 0x01
    static let integer: UInt8 = 0x02
    static let octetString: UInt8 = 0x04
    static let enumerated: UInt8 = 0x0A
    static let sequence: UInt8 = 0x30
    static let set: UInt8 = 0x31

    /// `[number]`, of something primitive.
    static func context(_ number: UInt8) -> UInt8 { 0x80 | number }
    /// `[number]`, of something made of elements.
    static func constructed(_ number: UInt8) -> UInt8 { 0xA0 | number }
}

/// What stands in front of the content of an element (X.690 §8.1.2 and §8.1.3), as far as RFC 4511 §5.1 allows it: lengths are definite, but need
/// not be as short as they could be. Active Directory writes each as `84 00 00 xx xx`.
struct BERHeader {
    static let lengthOctetsMax: UInt8 = 4

    let tag: UInt8
    /// Of tag and length.
    let headerBytes: Int
    let contentBytes: Int

    /// - Returns: `nil` if there has to come more to tell.
    init?(_ bytes: ByteBufferView, at position: Int, end: Int) throws(LDAPFault) {
        guard position < end else { return nil }
        tag = bytes[position]
        guard tag & 0x1F != 0x1F else { throw .highTagNumber(tag) }
        guard position + 1 < end else { return nil }
        let first = bytes[position + 1]
        guard first > 0x80 else {
            guard first < 0x80 else { throw .indefiniteLength }
            (headerBytes, contentBytes) = (2, Int(first))
            return
        }
        let octets = first & 0x7F
        guard octets <= Self.lengthOctetsMax else { throw .lengthOctets(Int(octets)) }
        headerBytes = 2 + Int(octets)
        guard position + headerBytes <= end else { return nil }
        var length = 0
        for index in (position + 2)..<(position + headerBytes) { length = length << 8 | Int(bytes[index]) }
        contentBytes = length
    }
}

/// Reads elements one after the other, each as what it has to be.
///
/// Written for LDAP's part of BER instead of using a general parser, which would build a node for every element first and take indefinite lengths
/// as well: a mirror of 100,000 entries comes through here, and of an entry only names and values are allocated.
struct BERReader {
    private let bytes: ByteBufferView
    private var position: Int
    private let end: Int

    init(_ bytes: ByteBuffer) {
        self.bytes = bytes.readableBytesView
        (position, end) = (self.bytes.startIndex, self.bytes.endIndex)
    }

    init(_ value: [UInt8]) { self.init(ByteBuffer(bytes: value)) }

    private init(_ bytes: ByteBufferView, _ range: Range<Int>) {
        self.bytes = bytes
        (position, end) = (range.lowerBound, range.upperBound)
    }

    var isAtEnd: Bool { position == end }

    /// `nil` at the end.
    var nextTag: UInt8? { isAtEnd ? nil : bytes[position] }

    func isNext(_ tag: UInt8) -> Bool { nextTag == tag }

    /// What has not been read.
    var rest: ByteBuffer { ByteBuffer(bytes[position..<end]) }

    /// Of the next element, whatever its tag is.
    private mutating func content() throws(LDAPFault) -> Range<Int> {
        guard let header = try BERHeader(bytes, at: position, end: end) else { throw .truncated }
        let start = position + header.headerBytes
        guard header.contentBytes <= end - start else { throw .truncated }
        position = start + header.contentBytes
        return start..<position
    }

    private mutating func content(of tag: UInt8) throws(LDAPFault) -> Range<Int> {
        guard let next = nextTag else { throw .missing(tag: tag) }
        guard next == tag else { throw .unexpected(tag: next, expected: tag) }
        return try content()
    }

    mutating func constructed(_ tag: UInt8 = BERTag.sequence) throws(LDAPFault) -> BERReader { BERReader(bytes, try content(of: tag)) }

    mutating func octets(_ tag: UInt8 = BERTag.octetString) throws(LDAPFault) -> [UInt8] { Array(bytes[try content(of: tag)]) }

    /// `LDAPString` (RFC 4511 §4.1.2).
    mutating func string(_ tag: UInt8 = BERTag.octetString, bytesMax: Int = .max) throws(LDAPFault) -> String {
        let content = try content(of: tag)
        guard content.count <= bytesMax else { throw .tooLong(bytes: content.count, max: bytesMax) }
        guard let string = String(validating: bytes[content], as: UTF8.self) else { throw .notUTF8 }
        return string
    }

    /// `LDAPDN` and `RelativeLDAPDN` (RFC 4511 §4.1.3), as octets: whether it is a name is asked where one is needed.
    mutating func name(_ tag: UInt8 = BERTag.octetString) throws(LDAPFault) -> String {
        try string(tag, bytesMax: LDAPLimits.nameBytesMax)
    }

    /// `AttributeDescription` (RFC 4511 §4.1.4) and `MatchingRuleId`, likewise.
    mutating func description(_ tag: UInt8 = BERTag.octetString) throws(LDAPFault) -> String {
        try string(tag, bytesMax: LDAPLimits.descriptionBytesMax)
    }

    /// `LDAPOID` (RFC 4511 §4.1.2).
    mutating func identifier(_ tag: UInt8 = BERTag.octetString) throws(LDAPFault) -> String {
        let identifier = try string(tag, bytesMax: LDAPLimits.identifierBytesMax)
        guard Self.isIdentifier(identifier) else { throw .malformedIdentifier }
        return identifier
    }

    /// Numbers with one dot between two of them: `numericoid` (RFC 4512 §1.4), but that a number may begin with 0 or be alone.
    private static func isIdentifier(_ text: String) -> Bool {
        var last = UInt8(ascii: ".")
        for byte in text.utf8 {
            guard byte == UInt8(ascii: ".") ? last != byte : (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return false }
            last = byte
        }
        return last != UInt8(ascii: ".")
    }

    mutating func integer(_ tag: UInt8 = BERTag.integer, in range: ClosedRange<Int>) throws(LDAPFault) -> Int {
        let content = try content(of: tag)
        guard (1...8).contains(content.count) else { throw .malformedInteger(bytes: content.count) }
        var value = bytes[content.lowerBound] < 0x80 ? 0 : -1
        for index in content { value = value << 8 | Int(bytes[index]) }
        guard range.contains(value) else { throw .outOfRange(value) }
        return value
    }

    /// 0 to `maxInt` (RFC 4511 §4.1.1).
    mutating func count(_ tag: UInt8 = BERTag.integer) throws(LDAPFault) -> Int32 { Int32(try integer(tag, in: 0...Int(Int32.max))) }

    mutating func enumerated<Value: RawRepresentable<Int>>(_ tag: UInt8 = BERTag.enumerated) throws(LDAPFault) -> Value {
        let number = try integer(tag, in: .min ... .max)
        guard let value = Value(rawValue: number) else { throw .outOfRange(number) }
        return value
    }

    /// RFC 4511 §5.1 wants `FF` for true; as others do, whatever BER takes for it is taken.
    mutating func boolean(_ tag: UInt8 = BERTag.boolean) throws(LDAPFault) -> Bool {
        let content = try content(of: tag)
        guard content.count == 1 else { throw .malformedBoolean(bytes: content.count) }
        return bytes[content.lowerBound] != 0
    }

    mutating func null(_ tag: UInt8) throws(LDAPFault) {
        let content = try content(of: tag)
        guard content.isEmpty else { throw .surplus(bytes: content.count) }
    }

    mutating func skip() throws(LDAPFault) { _ = try content() }

    /// Nothing may follow.
    func finish() throws(LDAPFault) {
        guard isAtEnd else { throw .surplus(bytes: end - position) }
    }

    /// What follows at the end of a SEQUENCE and has a tag that is not known is ignored (RFC 4511 §4).
    mutating func skipUnknown() throws(LDAPFault) {
        while !isAtEnd { try skip() }
    }

    /// All elements of a SEQUENCE OF or SET OF.
    mutating func list<Element>(
        _ tag: UInt8 = BERTag.sequence, of countable: LDAPFault.Countable, max: Int, _ element: (inout BERReader) throws(LDAPFault) -> Element
    ) throws(LDAPFault) -> [Element] {
        var reader = try constructed(tag)
        return try reader.elements(of: countable, max: max, element)
    }

    /// All that is left here, as elements of a SEQUENCE OF.
    mutating func elements<Element>(
        of countable: LDAPFault.Countable, max: Int, _ element: (inout BERReader) throws(LDAPFault) -> Element
    ) throws(LDAPFault) -> [Element] {
        var elements: [Element] = []
        while !isAtEnd {
            guard elements.count < max else { throw .tooMany(countable, max: max) }
            elements.append(try element(&self))
        }
        return elements
    }
}
