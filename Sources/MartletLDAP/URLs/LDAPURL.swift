/// Where a directory is and what to look for there (RFC 4516):
/// `ldap://ldap.example.org/ou=people,dc=example,dc=org?cn,mail?sub?(objectClass=person)`.
public struct LDAPURL: Hashable, Sendable {
    public enum Scheme: String, Hashable, Sendable {
        case ldap
        /// TLS from the first octet.
        case ldaps
        /// A socket of this machine, whose path stands for the host with its slashes as `%2F`: OpenLDAP's.
        case ldapi
    }
    public struct Extension: Hashable, Sendable {
        /// Who does not know it does nothing with the address.
        public var isCritical: Bool
        public var name: String
        public var value: String?

        public init(_ name: String, _ value: String? = nil, isCritical: Bool = false) {
            self.name = name
            self.value = value
            self.isCritical = isCritical
        }
    }
    public var scheme: Scheme
    /// Without the brackets of an IPv6 address; the path of a socket. `nil` if it is left to whoever uses the address.
    public var host: String?
    /// `nil` for the usual one.
    public var port: Int?
    public var base: DistinguishedName
    /// None for all.
    public var attributes: [String]
    public var scope: SearchRequest.Scope
    /// `nil` for any entry.
    public var filter: LDAPFilter?
    public var extensions: [Extension]

    public static let octetsMax = 16_384
    /// Attributes, and extensions.
    public static let listMax = 64

    public init(
        _ scheme: Scheme, host: String? = nil, port: Int? = nil, base: DistinguishedName = .root, attributes: [String] = [],
        scope: SearchRequest.Scope = .baseObject, filter: LDAPFilter? = nil, extensions: [Extension] = []
    ) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.base = base
        self.attributes = attributes
        self.scope = scope
        self.filter = filter
        self.extensions = extensions
    }

    /// Where to connect to.
    public enum Address: Hashable, Sendable {
        case host(String, port: Int, isTLS: Bool)
        case socket(path: String)
    }

    /// - Returns: `nil` if it does not say which host.
    public var address: Address? {
        guard let host else { return nil }
        switch scheme {
        case .ldap: return .host(host, port: port ?? 389, isTLS: false)
        case .ldaps: return .host(host, port: port ?? 636, isTLS: true)
        case .ldapi: return .socket(path: host)
        }
    }

    /// Whether a search for what the address names finds an entry: a member of a group that an address makes (`memberURL`). No host is looked at.
    public func isFound(_ entry: LDAPEntry, schema: Schema = .standard) -> Bool {
        guard let name = try? DistinguishedName(entry.name), name.isInScope(scope, of: base) else { return false }
        return (filter ?? Self.anyEntry).truth(of: entry, schema: schema) == .holds
    }

    /// RFC 4516 §2: what is meant without a filter.
    public static let anyEntry = LDAPFilter.present("objectClass")
}

// MARK: Reading

extension LDAPURL {
    /// Reads `scheme://[host[:port]][/dn[?[attributes][?[scope][?[filter][?extensions]]]]]`. Percent signs are decoded part by part, before a name or
    /// a filter is read (§2.1).
    public init(_ text: String) throws(LDAPTextError) {
        guard text.utf8.count <= Self.octetsMax else { throw LDAPTextError(.tooLong(octetsMax: Self.octetsMax), at: Self.octetsMax) }
        let text = Self.ascii(text)
        if let place = text.utf8.firstIndex(where: { $0 <= 0x20 || $0 == 0x7F }) {
            throw LDAPTextError(.unescaped(text.utf8[place]), at: text.utf8.distance(from: text.startIndex, to: place))
        }
        guard let separator = text.firstRange(of: "://"), let scheme = Scheme(rawValue: text[..<separator.lowerBound].lowercased()) else {
            throw LDAPTextError(.expected("ldap://, ldaps:// or ldapi://"), at: 0)
        }
        self.init(scheme)
        let rest = text[separator.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        try readAuthority(Part(authority, in: text))
        guard authority.endIndex < rest.endIndex else { return }
        // RFC 4516 wants a slash before a question mark; RFC 2255's examples have some without.
        let behind = rest[authority.endIndex...]
        let parts = (behind.first == "/" ? behind.dropFirst() : behind).split(separator: "?", maxSplits: 4, omittingEmptySubsequences: false)
        for (place, part) in parts.enumerated() { try read(Part(part, in: text), place) }
    }

    /// With octets beyond ASCII encoded, as they should be: none of them is a part of a separator then.
    private static func ascii(_ text: String) -> String {
        guard !text.utf8.allSatisfy({ $0 < 0x80 }) else { return text }
        return String(decoding: text.utf8.flatMap { $0 < 0x80 ? [$0] : [UInt8(ascii: "%")] + Hexadecimal.pair($0) }, as: UTF8.self)
    }

    /// A part of the text, which knows where it stands.
    private struct Part {
        let text: Substring
        let whole: String
        let offset: Int

        init(_ text: Substring, in whole: String) {
            self.text = text
            self.whole = whole
            offset = whole.utf8.distance(from: whole.startIndex, to: text.startIndex)
        }

        func decoded() throws(LDAPTextError) -> String {
            var reader = try LDAPTextReader(Array(text.utf8), octetsMax: LDAPURL.octetsMax)
            var octets: [UInt8] = []
            while let octet = reader.take() {
                guard octet == UInt8(ascii: "%") else {
                    octets.append(octet)
                    continue
                }
                guard let decoded = reader.hexPair() else { throw LDAPTextError(.escape, at: offset + reader.offset - 1) }
                octets.append(decoded)
            }
            guard let decoded = String(validating: octets, as: UTF8.self) else { throw LDAPTextError(.notUTF8, at: offset) }
            return decoded
        }

        /// Parts of a list, decoded when commas have parted them.
        func list() throws(LDAPTextError) -> [Part] {
            guard !text.isEmpty else { return [] }
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count <= LDAPURL.listMax else { throw LDAPTextError(.tooMany(max: LDAPURL.listMax), at: offset) }
            return parts.map { Part($0, in: whole) }
        }

        /// Faults in what is decoded are told of where the part begins: what stood where is gone.
        func reading<Value>(_ read: (String) throws(LDAPTextError) -> Value) throws(LDAPTextError) -> Value {
            let decoded = try decoded()
            do throws(LDAPTextError) { return try read(decoded) } catch {
                throw LDAPTextError(error.fault, at: text.utf8.contains(UInt8(ascii: "%")) ? offset : offset + error.offset)
            }
        }
    }

    private mutating func readAuthority(_ part: Part) throws(LDAPTextError) {
        guard !part.text.isEmpty else { return }
        if scheme == .ldapi {
            host = try part.decoded()
            return
        }
        let (name, behind) = try Self.host(part)
        host = name
        guard !behind.isEmpty else { return }
        let digits = behind.dropFirst()
        guard behind.first == ":", digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            throw LDAPTextError(.expected("a port"), at: part.offset)
        }
        // A colon without a port means the usual one (RFC 3986 §3.2.3).
        guard !digits.isEmpty else { return }
        guard let port = UInt16(digits), port > 0 else { throw LDAPTextError(.expected("a port"), at: part.offset) }
        self.port = Int(port)
    }

    /// The host, and what stands behind it. There is no place for a user in an address of a directory.
    private static func host(_ part: Part) throws(LDAPTextError) -> (String, Substring) {
        if part.text.first == "[" {
            guard let end = part.text.firstIndex(of: "]") else { throw LDAPTextError(.expected("]"), at: part.offset) }
            let address = part.text[part.text.index(after: part.text.startIndex)..<end]
            let isAddress = address.utf8.allSatisfy { Hexadecimal.value(of: $0) != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }
            guard isAddress, address.contains(":") else { throw LDAPTextError(.expected("an IPv6 address"), at: part.offset) }
            return (String(address), part.text[part.text.index(after: end)...])
        }
        let name = part.text.prefix { $0 != ":" }
        let isHost = name.utf8.allSatisfy { AttributeDescription.isKeyCharacter($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") }
        guard !name.isEmpty, isHost else { throw LDAPTextError(.expected("a host"), at: part.offset) }
        return (String(name), part.text[name.endIndex...])
    }

    private mutating func read(_ part: Part, _ place: Int) throws(LDAPTextError) {
        switch place {
        case 0: base = try part.reading { text throws(LDAPTextError) in try DistinguishedName(text) }
        case 1: attributes = try Self.attributes(part)
        case 2: scope = try Self.scope(part)
        case 3: if !part.text.isEmpty { filter = try part.reading { text throws(LDAPTextError) in try LDAPFilter(text) } }
        default: extensions = try Self.extensions(part)
        }
    }

    private static func attributes(_ part: Part) throws(LDAPTextError) -> [String] {
        var attributes: [String] = []
        for item in try part.list() {
            let name = try item.decoded()
            guard ["*", "+", "1.1"].contains(name) || AttributeDescription(name) != nil else {
                throw LDAPTextError(.attributeDescription, at: item.offset)
            }
            attributes.append(name)
        }
        return attributes
    }

    private static func scope(_ part: Part) throws(LDAPTextError) -> SearchRequest.Scope {
        switch part.text.lowercased() {
        case "", "base": .baseObject
        case "one": .singleLevel
        case "sub": .wholeSubtree
        default: throw LDAPTextError(.expected("base, one or sub"), at: part.offset)
        }
    }

    private static func extensions(_ part: Part) throws(LDAPTextError) -> [Extension] {
        var extensions: [Extension] = []
        for item in try part.list() {
            let isCritical = item.text.first == "!"
            let sides = (isCritical ? item.text.dropFirst() : item.text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = sides.first, AttributeDescription.isType(name.utf8) else {
                throw LDAPTextError(.expected("an extension"), at: item.offset)
            }
            let value = sides.count == 2 ? try Part(sides[1], in: item.whole).decoded() : nil
            extensions.append(Extension(String(name), value, isCritical: isCritical))
        }
        return extensions
    }
}

// MARK: Writing

extension LDAPURL: CustomStringConvertible {
    /// Without what means nothing at the end.
    public var description: String {
        var parts = [
            Self.encoded(base.description), attributes.map { Self.encoded($0) }.joined(separator: ","), scope.urlName,
            filter.map { Self.encoded($0.description) } ?? "", extensions.map(Self.text(of:)).joined(separator: ","),
        ]
        while parts.count > 1, parts.last == "" { parts.removeLast() }
        let path = parts == [""] ? "" : "/" + parts.joined(separator: "?")
        return "\(scheme.rawValue)://\(authority)\(path)"
    }

    private var authority: String {
        guard let host else { return "" }
        if scheme == .ldapi { return Self.encoded(host, besides: "") }
        return (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "")
    }

    private static func text(of part: Extension) -> String {
        "\(part.isCritical ? "!" : "")\(part.name)\(part.value.map { "=" + encoded($0, besides: "=()&:@*") } ?? "")"
    }

    /// - Parameter besides: what may stand as it is beside letters, digits and `-._~` (RFC 3986 §2.3).
    private static func encoded(_ text: String, besides: String = "=,()&!*:@+;$'/") -> String {
        var result: [UInt8] = []
        for octet in text.utf8 {
            let isPlain = AttributeDescription.isKeyCharacter(octet) || "._~".utf8.contains(octet) || besides.utf8.contains(octet)
            if isPlain { result.append(octet) } else { result += [UInt8(ascii: "%")] + Hexadecimal.pair(octet) }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension SearchRequest.Scope {
    /// Empty for the one that is meant if nothing is said (RFC 4516 §2).
    fileprivate var urlName: String {
        switch self {
        case .baseObject: ""
        case .singleLevel: "one"
        case .wholeSubtree: "sub"
        }
    }
}
