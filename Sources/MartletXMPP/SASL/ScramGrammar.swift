/// The formal syntax of RFC 5802 §7, on bytes.
enum ScramGrammar {
    static let comma = UInt8(ascii: ",")
    static let equals = UInt8(ascii: "=")

    /// One `a=value` (§5.1).
    struct Attribute: Hashable {
        let name: UInt8
        let value: ArraySlice<UInt8>
    }

    /// Splits at commas into attributes. Each is a letter, `=`, and at least one byte; the whole is UTF-8 without NUL.
    /// A reserved `m=` fails wherever it stands (§5.1: it announces an extension that must be understood).
    static func attributes(_ bytes: ArraySlice<UInt8>) throws(ScramSyntaxError) -> [Attribute] {
        guard isText(bytes) else { throw .notText }
        var attributes: [Attribute] = []
        for field in bytes.split(separator: comma, maxSplits: attributesMax, omittingEmptySubsequences: false) {
            guard let name = field.first, isLetter(name), field.dropFirst().first == equals, field.count > 2 else {
                throw .attribute
            }
            guard name != UInt8(ascii: "m") else { throw .mandatoryExtension }
            attributes.append(Attribute(name: name, value: field.dropFirst(2)))
        }
        guard attributes.count <= attributesMax else { throw .tooManyAttributes }
        return attributes
    }

    /// Most attributes in a message: the known ones and some extensions.
    static let attributesMax = 16

    /// The values of the attributes that a message begins with and, of one that ends with a known attribute, of that.
    ///
    /// `leading` and `trailing` are their names in order, as in `"nr"`. What is between are extensions: ignored, but none
    /// may have a name that RFC 5802 gave a meaning.
    static func values(
        of bytes: ArraySlice<UInt8>, leading: String, trailing: String = ""
    ) throws(ScramSyntaxError) -> [ArraySlice<UInt8>] {
        let attributes = try attributes(bytes)
        guard attributes.count >= leading.utf8.count + trailing.utf8.count else { throw .order }
        let first = attributes.prefix(leading.utf8.count)
        let last = attributes.suffix(trailing.utf8.count)
        guard (first + last).map(\.name) == Array((leading + trailing).utf8) else { throw .order }
        let extensions = attributes.dropFirst(first.count).dropLast(last.count)
        guard !extensions.contains(where: { isAssigned($0.name) }) else { throw .order }
        return (first + last).map(\.value)
    }

    /// A `saslname` without its escapes: `=2C` is a comma and `=3D` an equals sign; no other `=` may stand there (§5.1).
    static func unescapedName(_ bytes: ArraySlice<UInt8>) throws(ScramSyntaxError) -> String {
        guard !bytes.isEmpty, !bytes.contains(comma), isText(bytes) else { throw .name }
        var name: [UInt8] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == equals else {
                name.append(byte)
                continue
            }
            switch (rest.popFirst(), rest.popFirst()) {
            case (UInt8(ascii: "2"), UInt8(ascii: "C")): name.append(comma)
            case (UInt8(ascii: "3"), UInt8(ascii: "D")): name.append(equals)
            default: throw .name
            }
        }
        return String(decoding: name, as: UTF8.self)
    }

    /// The other way round.
    static func escapedName(_ name: String) -> [UInt8] {
        name.utf8.flatMap { byte -> [UInt8] in
            switch byte {
            case comma: Array("=2C".utf8)
            case equals: Array("=3D".utf8)
            default: [byte]
            }
        }
    }

    /// A `posit-number`: digits, the first not zero, few enough not to overflow.
    static func positiveNumber(_ digits: some Collection<UInt8>) -> Int? {
        guard (1...9).contains(digits.count), digits.first != UInt8(ascii: "0"), digits.allSatisfy(isDigit) else {
            return nil
        }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
    }

    /// A `cb-name`: letters, digits, dots and hyphens.
    static func isBindingName(_ bytes: ArraySlice<UInt8>) -> Bool {
        !bytes.isEmpty
            && bytes.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    /// UTF-8 as RFC 3629 has it, without NUL.
    static func isText(_ bytes: ArraySlice<UInt8>) -> Bool {
        !bytes.contains(0) && String(validating: bytes, as: UTF8.self) != nil
    }

    private static func isAssigned(_ name: UInt8) -> Bool { "anmrcsipve".utf8.contains(name) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}

/// What is wrong with a SCRAM message.
enum ScramSyntaxError: Error, Hashable {
    case tooLong
    case notText
    case attribute
    case tooManyAttributes
    case mandatoryExtension
    case order
    case name
    case header
    case nonce
    case base64
    case number
}

extension SASLFailure {
    init(_ error: ScramSyntaxError) {
        switch error {
        case .base64: self = .incorrectEncoding
        case .mandatoryExtension: self = .malformedRequest("extensions-not-supported")
        case .tooLong: self = .malformedRequest("The message is too long.")
        case .notText: self = .malformedRequest("The message is not UTF-8, or has a NUL.")
        case .attribute: self = .malformedRequest("An attribute is not of the form a=value.")
        case .tooManyAttributes: self = .malformedRequest("There are too many attributes.")
        case .order: self = .malformedRequest("The attributes are not those of this message, in their order.")
        case .name: self = .malformedRequest("A name is not escaped as it should be.")
        case .header: self = .malformedRequest("The GS2 header is malformed.")
        case .nonce: self = .malformedRequest("The nonce is too long, or not printable.")
        case .number: self = .malformedRequest("The iteration count is not a number.")
        }
    }
}
