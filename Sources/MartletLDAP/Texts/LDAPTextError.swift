/// What is wrong with a text that is to be a filter, a name or an address, and where.
public struct LDAPTextError: Error, Hashable, Sendable {
    public enum Fault: Hashable, Sendable {
        case tooLong(octetsMax: Int)
        /// Parts lie in parts too often.
        case tooDeep(levelsMax: Int)
        case tooMany(max: Int)
        /// Something else should stand here: what.
        case expected(String)
        /// Neither a name nor an OID, or with options that are none (RFC 4512 §2.5).
        case attributeDescription
        /// What stands behind a backslash or a percent sign means no octet.
        case escape
        /// An octet that may only stand here behind a backslash or a percent sign.
        case unescaped(UInt8)
        case notUTF8
        /// Behind `#`: not hexadecimal, or no value in BER (RFC 4514 §2.4).
        case encodedValue
        /// A percent sign that is followed by none of the letters that stand for something.
        case placeholder
        /// Nothing is known that could take the place of the letter.
        case missing(Placeholder)
    }
    public let fault: Fault
    /// Octets before the place.
    public let offset: Int

    public init(_ fault: Fault, at offset: Int) {
        self.fault = fault
        self.offset = offset
    }
}

extension LDAPTextError: CustomStringConvertible {
    public var description: String { "\(fault.description) at octet \(offset + 1)" }
}

extension LDAPTextError.Fault: CustomStringConvertible {
    public var description: String {
        switch self {
        case .tooLong(let max): "more than \(max) octets"
        case .tooDeep(let max): "more than \(max) levels"
        case .tooMany(let max): "more than \(max) parts"
        case .expected(let what): "\(what) expected"
        case .attributeDescription: "no name of an attribute"
        case .escape: "two hexadecimal digits expected"
        case .unescaped(let octet): "octet \(octet) has to be escaped"
        case .notUTF8: "not UTF-8"
        case .encodedValue: "no value in hexadecimal BER"
        case .placeholder: "% stands before none of u, d, j, r and %"
        case .missing(let placeholder): "nothing is known for %\(placeholder.rawValue)"
        }
    }
}
