import MartletCore

/// Why a text is not a value of a type.
enum ValueFault: Error {
    /// The message is made from what the type expects.
    case unexpected(hint: String? = nil)
    /// The text has the right form, but says something that cannot be.
    case impossible(String, hint: String? = nil)
}

/// What reading a value may need besides its text.
struct ValueContext: Sendable {
    /// The folder of the configuration file, against which relative paths are read.
    let folder: String
    let addresses: AddressRules
}

/// One type of scalar in the configuration: how it is read, written and described.
struct ValueType<Value: Sendable & Equatable>: Sendable {
    /// Completes the sentence "expected …".
    let expected: String
    let parse: @Sendable (String, ValueContext) throws(ValueFault) -> Value
    /// The text that reads back as the value; nil for a value that is not set.
    let write: @Sendable (Value) -> String?
}

/// How the text of addresses is checked and brought to the form in which it is compared.
///
/// The rules of RFC 7622 live in another module; whoever loads a configuration passes them in.
package struct AddressRules: Sendable {
    /// The prepared domainpart, or nil if the text is none.
    package var domain: @Sendable (String) -> String?
    /// The prepared bare address, or nil if the text is none.
    package var bareAddress: @Sendable (String) -> String?

    package init(
        domain: @escaping @Sendable (String) -> String?, bareAddress: @escaping @Sendable (String) -> String?
    ) {
        self.domain = domain
        self.bareAddress = bareAddress
    }

    /// Checks the form and folds ASCII case, nothing more.
    package static let structural = AddressRules(domain: structuralDomain, bareAddress: structuralBareAddress)

    @Sendable private static func structuralDomain(_ text: String) -> String? {
        let isForbidden = { (byte: UInt8) in byte <= 0x20 || byte == 0x7f || "@/\"&'<>:".utf8.contains(byte) }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...1023).contains(text.utf8.count), !text.utf8.contains(where: isForbidden) else { return nil }
        return labels.contains { $0.isEmpty || $0.utf8.count > 63 } ? nil : text.lowercased()
    }

    @Sendable private static func structuralBareAddress(_ text: String) -> String? {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let localpart = parts.first, let domain = structuralDomain(String(parts[1])) else { return nil }
        let isForbidden = { (byte: UInt8) in byte <= 0x20 || byte == 0x7f || "/\"&'<>:".utf8.contains(byte) }
        guard (1...1023).contains(localpart.utf8.count), !localpart.utf8.contains(where: isForbidden) else { return nil }
        return "\(localpart.lowercased())@\(domain)"
    }
}

/// Whole numbers as the configuration writes them: digits, no sign, no leading zero that some would read as octal.
enum WholeNumber {
    static func parse(_ text: some StringProtocol) -> Int? {
        let digits = text.utf8
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        guard digits.count == 1 || digits.first != 0x30 else { return nil }
        return Int(text)
    }
}

/// Names of files, joined as text: nothing is looked up.
enum FilePath {
    static func resolve(_ path: String, against folder: String) -> String {
        guard !path.hasPrefix("/"), !folder.isEmpty, folder != "." else { return path }
        return folder.hasSuffix("/") ? folder + path : "\(folder)/\(path)"
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

extension ValueType where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Self {
        ValueType(expected: "a whole number from \(range.lowerBound) to \(range.upperBound)") { text, _ throws(ValueFault) in
            guard let number = WholeNumber.parse(text), range.contains(number) else { throw .unexpected() }
            return number
        } write: {
            String($0)
        }
    }

    /// A size in bytes, with its unit.
    static func bytes(_ range: ClosedRange<Int>) -> Self {
        let limits = "\(ByteSize.text(range.lowerBound)) to \(ByteSize.text(range.upperBound))"
        return ValueType(expected: "a size from \(limits)") { text, _ throws(ValueFault) in
            if let size = ByteSize.parse(text) {
                guard range.contains(size) else { throw .unexpected() }
                return size
            }
            guard let better = ByteSize.corrected(text), let meant = ByteSize.parse(better), range.contains(meant) else {
                throw .unexpected(hint: "write a number with its unit: B, KiB, MiB or GiB")
            }
            throw .unexpected(hint: "write \(better)")
        } write: {
            ByteSize.text($0)
        }
    }
}

extension ValueType where Value == Bool {
    static var boolean: Self {
        ValueType(expected: "true or false") { text, _ throws(ValueFault) in
            switch text {
            case "true": return true
            case "false": return false
            default: throw .unexpected(hint: Self.hint(for: text))
            }
        } write: {
            $0 ? "true" : "false"
        }
    }

    private static func hint(for text: String) -> String? {
        switch text.lowercased() {
        case "true", "yes", "on", "y", "1": "write true"
        case "false", "no", "off", "n", "0": "write false"
        default: nil
        }
    }
}

extension ValueType where Value == Duration {
    static func duration(_ range: ClosedRange<Duration>) -> Self {
        let limits = "\(TimeSpan.text(range.lowerBound)) to \(TimeSpan.text(range.upperBound))"
        return ValueType(expected: "a time from \(limits)") { text, _ throws(ValueFault) in
            if let span = TimeSpan.parse(text) {
                guard range.contains(span) else { throw .unexpected() }
                return span
            }
            guard let better = TimeSpan.corrected(text), let meant = TimeSpan.parse(better), range.contains(meant) else {
                throw .unexpected(hint: "write a number with its unit: ms, s, m, h or d")
            }
            throw .unexpected(hint: "write \(better)")
        } write: {
            TimeSpan.text($0)
        }
    }
}

extension ValueType where Value: CaseIterable & RawRepresentable, Value.RawValue == String {
    static var choice: Self {
        let names = Value.allCases.map(\.rawValue)
        let expected = names.count == 1 ? names.joined() : "one of \(names.joined(separator: ", "))"
        return ValueType(expected: expected) { text, _ throws(ValueFault) in
            guard let value = Value(rawValue: text) else {
                throw .unexpected(hint: NearestName.nearest(to: text, among: names).map { "did you mean \($0)?" })
            }
            return value
        } write: {
            $0.rawValue
        }
    }
}

extension ValueType {
    /// A value that may be switched off by the word `off`.
    static func orOff<Wrapped>(_ type: ValueType<Wrapped>) -> Self where Value == Wrapped? {
        ValueType(expected: "\(type.expected), or off") { text, context throws(ValueFault) in
            text == "off" ? nil : try type.parse(text, context)
        } write: {
            $0.flatMap(type.write) ?? "off"
        }
    }

    /// A value that is not set unless its key is there.
    static func optional<Wrapped>(_ type: ValueType<Wrapped>) -> Self where Value == Wrapped? {
        ValueType(expected: type.expected) { text, context throws(ValueFault) in
            try type.parse(text, context)
        } write: {
            $0.flatMap(type.write)
        }
    }
}

extension ValueType where Value == String {
    /// Longest path, in bytes (PATH_MAX on Linux, with the closing zero).
    private static var pathBytesMax: Int { 4095 }

    /// A path; a relative one starts at the folder of the configuration file.
    static var path: Self { path(expected: "a path") { path, context in FilePath.resolve(path, against: context.folder) } }

    /// A path; a relative one starts at the data folder, when it is used.
    static var pathInDataFolder: Self { path(expected: "a path") { path, _ in path } }

    private static func path(
        expected: String, _ resolve: @escaping @Sendable (String, ValueContext) -> String
    ) -> Self {
        ValueType(expected: expected) { text, context throws(ValueFault) in
            guard !text.isEmpty, !text.utf8.contains(where: { $0 < 0x20 }) else { throw .unexpected() }
            guard !text.hasPrefix("~") else { throw .impossible("~ is not expanded", hint: "write the path from the root") }
            let path = resolve(text, context)
            guard path.utf8.count <= pathBytesMax else { throw .impossible("the path is longer than \(pathBytesMax) bytes") }
            return path
        } write: {
            $0
        }
    }

    static var domain: Self {
        ValueType(expected: "a domain such as example.org") { text, context throws(ValueFault) in
            guard let domain = context.addresses.domain(text) else { throw .unexpected() }
            return domain
        } write: {
            $0
        }
    }

    /// Of an address at some domain.
    static var localpart: Self {
        ValueType(expected: "a name such as juliet") { text, context throws(ValueFault) in
            guard let address = context.addresses.bareAddress("\(text)@example.org"), let end = address.firstIndex(of: "@") else { throw .unexpected() }
            return String(address[..<end])
        } write: {
            $0
        }
    }

    /// A media type, or all of a kind (``MediaTypePattern``).
    static var mediaTypes: Self {
        ValueType(expected: "a media type such as image/png or image/*") { text, _ throws(ValueFault) in
            guard let pattern = MediaTypePattern(text) else { throw .unexpected() }
            return pattern.description
        } write: {
            $0
        }
    }

    static var bareAddress: Self {
        ValueType(expected: "an address such as juliet@example.org") { text, context throws(ValueFault) in
            guard let address = context.addresses.bareAddress(text) else { throw .unexpected() }
            return address
        } write: {
            $0
        }
    }

    /// Of a service: a domain, mostly.
    static var serviceAddress: Self {
        ValueType(expected: "an address such as pubsub.example.org") { text, context throws(ValueFault) in
            guard let address = context.addresses.domain(text) ?? context.addresses.bareAddress(text) else { throw .unexpected() }
            return address
        } write: {
            $0
        }
    }

    /// Longest name of a node, in bytes.
    private static var nodeNameBytesMax: Int { 1_023 }

    /// Of a node (XEP-0060): nearly anything.
    static var nodeName: Self {
        ValueType(expected: "the name of a node") { text, _ throws(ValueFault) in
            guard !text.isEmpty, text.utf8.count <= nodeNameBytesMax, !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    /// Longest contact address, in bytes.
    private static var uriBytesMax: Int { 2048 }

    static var uri: Self {
        ValueType(expected: "a URI such as mailto:admin@example.org") { text, _ throws(ValueFault) in
            guard let colon = text.firstIndex(of: ":"), isScheme(text[..<colon]), text.index(after: colon) != text.endIndex,
                text.utf8.count <= uriBytesMax, !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f })
            else { throw .unexpected(hint: text.contains("@") ? "write mailto:\(text) or xmpp:\(text)" : nil) }
            return text
        } write: {
            $0
        }
    }

    /// A scheme, a name and perhaps a port; paths are the server's own.
    static var httpsURL: Self { origin("an address such as https://chat.example.org or https://chat.example.org:5443", ["https://"]) }

    /// The same, also without encryption.
    static var webURL: Self { origin("an address such as https://s3.example.org or http://127.0.0.1:9000", ["https://", "http://"]) }

    private static func origin(_ expected: String, _ schemes: [String]) -> Self {
        ValueType(expected: expected) { text, _ throws(ValueFault) in
            let scheme = schemes.first { text.hasPrefix($0) }
            let authority = text.dropFirst(scheme?.count ?? 0)
            guard scheme != nil, !authority.isEmpty, authority.utf8.count <= authorityBytesMax,
                authority.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-.:[]".contains($0)) })
            else { throw .unexpected(hint: text.hasSuffix("/") ? "write it without the slash" : nil) }
            return text
        } write: {
            $0
        }
    }

    /// Of S3: what may be in the name of a host.
    static var bucketName: Self {
        ValueType(expected: "3 to 63 lower-case letters, digits, dots and hyphens") { text, _ throws(ValueFault) in
            guard (3...63).contains(text.utf8.count), text.utf8.allSatisfy({ isLowerOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }),
                let first = text.utf8.first, let last = text.utf8.last, isLowerOrDigit(first), isLowerOrDigit(last)
            else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    /// Parts of names of objects, with slashes between them.
    static var keyPrefix: Self {
        ValueType(expected: "up to 200 letters, digits, hyphens, underscores, dots and slashes, with a slash at neither end") { text, _ throws(ValueFault) in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            let isAllowed = { (byte: UInt8) in isLowerOrDigit(byte) || (0x41...0x5A).contains(byte) || "-_.".utf8.contains(byte) }
            guard text.utf8.count <= 200, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.allSatisfy(isAllowed) }) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }

    /// Longest name of a key, in bytes.
    private static var accessKeyBytesMax: Int { 128 }

    static var accessKey: Self {
        ValueType(expected: "the name of an access key such as AKIAIOSFODNN7EXAMPLE") { text, _ throws(ValueFault) in
            // It stands in a field of HTTP, before a slash.
            guard (1...accessKeyBytesMax).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && !"/,".utf8.contains($0) }) else {
                throw .unexpected()
            }
            return text
        } write: {
            $0
        }
    }

    private static func isLowerOrDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte) }

    /// Longest name with a port, in bytes.
    private static var authorityBytesMax: Int { 255 + 6 }

    /// RFC 3986 §3.1.
    private static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.first, first.isASCII, first.isLetter else { return false }
        return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+-.".contains($0)) }
    }
}

extension ValueType where Value == IPAddress {
    static var ipAddress: Self {
        ValueType(expected: "an IPv4 or IPv6 address") { text, _ throws(ValueFault) in
            if let address = IPAddress(text) { return address }
            switch text {
            case "*": throw .unexpected(hint: "write 0.0.0.0 or ::")
            case "localhost": throw .unexpected(hint: "write 127.0.0.1 or ::1")
            default: throw .unexpected()
            }
        } write: {
            $0.description
        }
    }
}

extension ValueType where Value == AddressBlock {
    static var addressBlock: Self {
        ValueType(expected: "an address or a block of addresses such as 192.0.2.0/24") { text, _ throws(ValueFault) in
            guard let block = AddressBlock(text) else { throw .unexpected() }
            guard block.isExact else {
                throw .impossible("\(text) has bits set after the prefix", hint: "did you mean \(block.exact)?")
            }
            return block
        } write: {
            $0.description
        }
    }
}

extension ValueType where Value == LogDestination {
    static var logDestination: Self {
        let path = ValueType<String>.path
        return ValueType(expected: "stderr or a path") { text, context throws(ValueFault) in
            text == "stderr" ? .standardError : .file(try path.parse(text, context))
        } write: {
            switch $0 {
            case .standardError: "stderr"
            case .file(let path): path
            }
        }
    }
}

/// Sizes in bytes, as in `256KiB`.
enum ByteSize {
    /// The largest first.
    private static let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)]

    static func parse(_ text: String) -> Int? {
        guard let (number, unit) = NumberWithUnit.split(text), let factor = units.first(where: { $0.0 == unit })?.1 else {
            return nil
        }
        let (size, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : size
    }

    static func text(_ size: Int) -> String {
        let unit = units.first { size >= $0.1 && size.isMultiple(of: $0.1) } ?? ("B", 1)
        return "\(size / unit.1)\(unit.0)"
    }

    /// What somebody meant who left the unit away, or wrote it in another way.
    static func corrected(_ text: String) -> String? {
        guard let (number, unit) = NumberWithUnit.split(text) else { return nil }
        return switch unit.lowercased() {
        case "": "\(number)B"
        case "k", "kb", "kib": "\(number)KiB"
        case "m", "mb", "mib": "\(number)MiB"
        case "g", "gb", "gib": "\(number)GiB"
        case "b", "byte", "bytes": "\(number)B"
        default: nil
        }
    }
}

/// Times, as in `30s`.
enum TimeSpan {
    /// Milliseconds in each unit, the largest first.
    private static let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]

    static func parse(_ text: String) -> Duration? {
        guard let (number, unit) = NumberWithUnit.split(text), let factor = units.first(where: { $0.0 == unit })?.1 else {
            return nil
        }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    static func text(_ span: Duration) -> String {
        let (seconds, attoseconds) = span.components
        let milliseconds = Int(clamping: seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
        let unit = units.first { milliseconds >= $0.1 && milliseconds.isMultiple(of: $0.1) } ?? ("s", 1000)
        return "\(milliseconds / unit.1)\(unit.0)"
    }

    /// What somebody meant who left the unit away, or wrote it in another way.
    static func corrected(_ text: String) -> String? {
        guard let (number, unit) = NumberWithUnit.split(text) else { return nil }
        return switch unit.lowercased() {
        case "": "\(number)s"
        case "sec", "secs", "second", "seconds": "\(number)s"
        case "min", "mins", "minute", "minutes": "\(number)m"
        case "hour", "hours": "\(number)h"
        case "day", "days": "\(number)d"
        default: nil
        }
    }
}

/// Digits, at most one space, a word.
enum NumberWithUnit {
    static func split(_ text: String) -> (number: Int, unit: String)? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = WholeNumber.parse(digits) else { return nil }
        let rest = text[digits.endIndex...]
        return (number, String(rest.first == " " ? rest.dropFirst() : rest))
    }
}
