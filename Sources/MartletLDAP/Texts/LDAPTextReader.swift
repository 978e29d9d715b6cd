/// A place in a text that is read from left to right.
struct LDAPTextReader {
    let octets: [UInt8]
    private(set) var offset = 0

    init(_ octets: [UInt8], octetsMax: Int) throws(LDAPTextError) {
        guard octets.count <= octetsMax else { throw LDAPTextError(.tooLong(octetsMax: octetsMax), at: octetsMax) }
        self.octets = octets
    }

    var next: UInt8? { offset < octets.count ? octets[offset] : nil }
    var isAtEnd: Bool { offset == octets.count }

    func fault(_ fault: LDAPTextError.Fault) -> LDAPTextError { LDAPTextError(fault, at: offset) }

    mutating func take() -> UInt8? {
        guard let octet = next else { return nil }
        offset += 1
        return octet
    }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        offset += 1
        return true
    }

    mutating func expect(_ character: Unicode.Scalar) throws(LDAPTextError) {
        guard skip(character) else { throw fault(.expected(String(Character(character)))) }
    }

    /// Goes past spaces.
    mutating func skipSpaces() { skip { $0 == UInt8(ascii: " ") } }

    mutating func skip(while isPart: (UInt8) -> Bool) {
        while let octet = next, isPart(octet) { offset += 1 }
    }

    mutating func text(while isPart: (UInt8) -> Bool) -> String {
        let start = offset
        skip(while: isPart)
        return String(decoding: octets[start..<offset], as: UTF8.self)
    }

    /// The octet that two hexadecimal digits mean; `nil`, and the place is where it was, if they are not there.
    mutating func hexPair() -> UInt8? {
        guard offset + 1 < octets.count, let high = Hexadecimal.value(of: octets[offset]), let low = Hexadecimal.value(of: octets[offset + 1])
        else { return nil }
        offset += 2
        return high << 4 | low
    }
}

/// Digits to the base of sixteen.
enum Hexadecimal {
    private static let digits = Array("0123456789abcdef".utf8)

    static func value(of digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Two digits, in small letters.
    static func pair(_ octet: UInt8) -> [UInt8] { [digits[Int(octet >> 4)], digits[Int(octet & 15)]] }
}
