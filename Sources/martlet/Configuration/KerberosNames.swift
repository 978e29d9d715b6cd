/// Names of Kerberos, as they are written in the configuration.
extension ValueType where Value == String {
    /// Longest name, in bytes.
    private static var kerberosNameBytesMax: Int { 255 }

    /// A realm (RFC 4120 §6.1) that is written without escapes. Upper and lower case differ.
    static var kerberosRealm: Self {
        ValueType(expected: "a realm such as EXAMPLE.ORG") { text, _ throws(ValueFault) in
            guard (1...kerberosNameBytesMax).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
                !text.contains(where: { "/@\\:".contains($0) })
            else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    /// The first component of a service's principal.
    static var kerberosService: Self {
        ValueType(expected: "a service such as xmpp") { text, _ throws(ValueFault) in
            guard (1...kerberosNameBytesMax).contains(text.utf8.count), text.utf8.allSatisfy(isServiceByte) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    private static func isServiceByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
