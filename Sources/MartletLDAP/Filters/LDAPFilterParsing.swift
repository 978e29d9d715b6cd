extension LDAPFilter {
    /// Octets of a text that is read.
    public static let octetsMax = 65_536
    /// Filters in filters.
    public static let depthMax = 32
    /// Filters in all, and parts of substrings.
    public static let nodesMax = 2_000

    /// Reads what an operator or an address says (RFC 4515). Spaces and line feeds may stand between filters, as in other programs.
    public init(_ text: String) throws(LDAPTextError) {
        var reading = try LDAPFilterReading(text, hasPlaceholders: false)
        self = try reading.filter().assertionValues { value throws(LDAPTextError) in reading.values[value].octets }
    }
}

/// A filter in which placeholders stand for values or parts of them: `(&(objectClass=person)(mail=%u))`. It is read once; whatever takes the place of
/// a placeholder is a value or a part of one, and never anything else.
public struct LDAPFilterTemplate: Hashable, Sendable {
    /// Its values are numbers of values.
    private let shape: LDAPFilter
    private let values: [TemplateValue]

    public init(_ text: String) throws(LDAPTextError) {
        var reading = try LDAPFilterReading(text, hasPlaceholders: true)
        shape = try reading.filter()
        values = reading.values
    }

    public func filter(_ substitutes: Substitutes) throws(LDAPTextError) -> LDAPFilter {
        try shape.assertionValues { value throws(LDAPTextError) in try values[value].octets(substitutes) }
    }
}

/// Reads a filter, in which it puts numbers in the place of values: the values are beside it, with their placeholders.
private struct LDAPFilterReading {
    private var reader: LDAPTextReader
    private let hasPlaceholders: Bool
    private var nodes = 0
    private(set) var values: [TemplateValue] = []

    init(_ text: String, hasPlaceholders: Bool) throws(LDAPTextError) {
        reader = try LDAPTextReader(Array(text.utf8), octetsMax: LDAPFilter.octetsMax)
        self.hasPlaceholders = hasPlaceholders
    }

    mutating func filter() throws(LDAPTextError) -> LDAPFilter {
        skipSpaces()
        let filter = try filter(depth: 1)
        skipSpaces()
        guard reader.isAtEnd else { throw reader.fault(.expected("the end")) }
        return filter
    }

    private mutating func filter(depth: Int) throws(LDAPTextError) -> LDAPFilter {
        guard depth <= LDAPFilter.depthMax else { throw reader.fault(.tooDeep(levelsMax: LDAPFilter.depthMax)) }
        try count()
        try reader.expect("(")
        let filter: LDAPFilter
        if reader.skip("&") {
            filter = .and(try list(depth: depth))
        } else if reader.skip("|") {
            filter = .or(try list(depth: depth))
        } else if reader.skip("!") {
            skipSpaces()
            filter = .not(try self.filter(depth: depth + 1))
            skipSpaces()
        } else {
            filter = try item()
        }
        try reader.expect(")")
        return filter
    }

    private mutating func list(depth: Int) throws(LDAPTextError) -> [LDAPFilter] {
        var filters: [LDAPFilter] = []
        skipSpaces()
        while reader.next == UInt8(ascii: "(") {
            filters.append(try filter(depth: depth + 1))
            skipSpaces()
        }
        return filters
    }

    private mutating func item() throws(LDAPTextError) -> LDAPFilter {
        if reader.next == UInt8(ascii: ":") { return try extensible(attribute: nil) }
        let attribute = try reader.attributeDescription()
        if reader.next == UInt8(ascii: ":") { return try extensible(attribute: attribute) }
        if reader.skip("~") {
            try reader.expect("=")
            return .approximate(attribute, try number(of: value()))
        }
        if reader.skip(">") {
            try reader.expect("=")
            return .greaterOrEqual(attribute, try number(of: value()))
        }
        if reader.skip("<") {
            try reader.expect("=")
            return .lessOrEqual(attribute, try number(of: value()))
        }
        guard reader.skip("=") else { throw reader.fault(.expected("=, ~=, >=, <= or :=")) }
        return try equalityOrSubstrings(attribute)
    }

    private mutating func equalityOrSubstrings(_ attribute: String) throws(LDAPTextError) -> LDAPFilter {
        var parts = [try value()]
        while reader.skip("*") {
            try count()
            parts.append(try value())
        }
        guard parts.count > 1 else { return .equality(attribute, number(of: parts[0])) }
        let between = parts.dropFirst().dropLast().filter { !$0.isEmpty }.map { number(of: $0) }
        let (first, last) = (parts[0], parts[parts.count - 1])
        let substrings = LDAPFilter.Substrings(
            initial: first.isEmpty ? nil : number(of: first), any: between, final: last.isEmpty ? nil : number(of: last))
        return substrings.isEmpty ? .present(attribute) : .substrings(attribute, substrings)
    }

    private mutating func extensible(attribute: String?) throws(LDAPTextError) -> LDAPFilter {
        var extensible = LDAPFilter.Extensible(matchingRule: nil, attribute: attribute, value: [])
        try reader.expect(":")
        if reader.next != UInt8(ascii: "=") {
            var rule = try matchingRule()
            if rule.lowercased() == "dn" {
                extensible.hasDNAttributes = true
                try reader.expect(":")
                rule = reader.next == UInt8(ascii: "=") ? "" : try matchingRule()
            }
            if !rule.isEmpty {
                extensible.matchingRule = rule
                try reader.expect(":")
            }
        }
        guard extensible.attribute != nil || extensible.matchingRule != nil else { throw reader.fault(.expected("a matching rule")) }
        try reader.expect("=")
        extensible.value = number(of: try value())
        return .extensible(extensible)
    }

    /// A name or an OID.
    private mutating func matchingRule() throws(LDAPTextError) -> String {
        let start = reader.offset
        let rule = reader.text { AttributeDescription.isKeyCharacter($0) || $0 == UInt8(ascii: ".") }
        guard AttributeDescription.isType(rule.utf8) else { throw LDAPTextError(.expected("a matching rule"), at: start) }
        return rule
    }

    // MARK: Values

    /// Up to a parenthesis or an asterisk.
    private mutating func value() throws(LDAPTextError) -> TemplateValue {
        var value = TemplateValue()
        while let octet = reader.next {
            switch octet {
            case UInt8(ascii: ")"), UInt8(ascii: "*"): return value
            case 0, UInt8(ascii: "("): throw reader.fault(.unescaped(octet))
            case UInt8(ascii: "%") where hasPlaceholders:
                _ = reader.take()
                try value.appendPlaceholder(&reader)
            case UInt8(ascii: "\\"):
                let start = reader.offset
                _ = reader.take()
                guard let escaped = reader.hexPair() else { throw LDAPTextError(.escape, at: start) }
                value.append(escaped)
            default:
                _ = reader.take()
                value.append(octet)
            }
        }
        throw reader.fault(.expected(")"))
    }

    private mutating func number(of value: TemplateValue) -> [UInt8] {
        values.append(value)
        return LDAPFilter.octets(ofNumber: values.count - 1)
    }

    private mutating func count() throws(LDAPTextError) {
        nodes += 1
        guard nodes <= LDAPFilter.nodesMax else { throw reader.fault(.tooMany(max: LDAPFilter.nodesMax)) }
    }

    private mutating func skipSpaces() { reader.skip { $0 == UInt8(ascii: " ") || (0x09...0x0D).contains($0) } }
}

// MARK: Values in the place of their numbers

extension LDAPFilter.Substrings {
    fileprivate var isEmpty: Bool { initial == nil && any.isEmpty && final == nil }
}

extension LDAPFilter {
    fileprivate static func octets(ofNumber number: Int) -> [UInt8] { [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)] }

    /// A part of substrings that has become empty is none (RFC 4511 §4.5.1.7.2); without any it is asked whether the attribute is there.
    fileprivate func assertionValues(_ value: (Int) throws(LDAPTextError) -> [UInt8]) throws(LDAPTextError) -> LDAPFilter {
        func whole(_ number: [UInt8]) throws(LDAPTextError) -> [UInt8] { try value(Int(number[0]) << 8 | Int(number[1])) }
        switch self {
        case .and(let filters):
            return .and(try filters.map { filter throws(LDAPTextError) in try filter.assertionValues(value) })
        case .or(let filters):
            return .or(try filters.map { filter throws(LDAPTextError) in try filter.assertionValues(value) })
        case .not(let filter): return .not(try filter.assertionValues(value))
        case .equality(let attribute, let number): return .equality(attribute, try whole(number))
        case .greaterOrEqual(let attribute, let number): return .greaterOrEqual(attribute, try whole(number))
        case .lessOrEqual(let attribute, let number): return .lessOrEqual(attribute, try whole(number))
        case .approximate(let attribute, let number): return .approximate(attribute, try whole(number))
        case .present: return self
        case .substrings(let attribute, let numbers):
            func part(_ number: [UInt8]?) throws(LDAPTextError) -> [UInt8]? {
                guard let number else { return nil }
                let whole = try whole(number)
                return whole.isEmpty ? nil : whole
            }
            var substrings = Substrings(initial: try part(numbers.initial), final: try part(numbers.final))
            for number in numbers.any { if let part = try part(number) { substrings.any.append(part) } }
            return substrings.isEmpty ? .present(attribute) : .substrings(attribute, substrings)
        case .extensible(var extensible):
            extensible.value = try whole(extensible.value)
            return .extensible(extensible)
        }
    }
}
