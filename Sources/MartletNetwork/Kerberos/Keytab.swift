/// What a keytab has keys of: the file of MIT Kerberos, version 2 (0x05 0x02), which is what everybody writes.
///
/// Keys are read by the library. This is read to say beforehand that one is missing.
package struct Keytab: Hashable, Sendable {
    /// Longest file, in bytes.
    package static let bytesMax = 1 << 20

    package enum Fault: Error, Hashable, CustomStringConvertible {
        case noKeytab
        case cutShort

        package var description: String {
            switch self {
            case .noKeytab: "is no keytab (version 2)"
            case .cutShort: "ends in the middle of an entry"
            }
        }
    }

    /// As they are written, `xmpp/host@REALM`, without escapes, each once, in the order of the file.
    package let principals: [String]

    package init(parsing bytes: [UInt8]) throws(Fault) {
        guard bytes.starts(with: [5, 2]) else { throw .noKeytab }
        var rest = bytes[2...]
        var principals: [String] = []
        while !rest.isEmpty {
            let length = Int(Int32(bitPattern: try Self.integer(&rest)))
            let entry = try Self.take(Int(length.magnitude), &rest)
            // What was there before has been deleted.
            guard length > 0 else { continue }
            let principal = try Self.principal(entry)
            if !principals.contains(principal) { principals.append(principal) }
        }
        self.principals = principals
    }

    /// The number of components, the realm, the components; then what belongs to the key.
    private static func principal(_ entry: ArraySlice<UInt8>) throws(Fault) -> String {
        var rest = entry
        let count = try short(&rest)
        let realm = try text(&rest)
        var components: [String] = []
        for _ in 0..<count { components.append(try text(&rest)) }
        return components.joined(separator: "/") + "@" + realm
    }

    private static func text(_ rest: inout ArraySlice<UInt8>) throws(Fault) -> String {
        String(decoding: try take(short(&rest), &rest), as: UTF8.self)
    }

    private static func short(_ rest: inout ArraySlice<UInt8>) throws(Fault) -> Int {
        try take(2, &rest).reduce(0) { $0 << 8 | Int($1) }
    }

    private static func integer(_ rest: inout ArraySlice<UInt8>) throws(Fault) -> UInt32 {
        try take(4, &rest).reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func take(_ count: Int, _ rest: inout ArraySlice<UInt8>) throws(Fault) -> ArraySlice<UInt8> {
        guard rest.count >= count else { throw .cutShort }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
