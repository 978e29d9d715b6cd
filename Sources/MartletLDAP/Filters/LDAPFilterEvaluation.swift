/// Whether an assertion is true of an entry, as far as that can be said (RFC 4511 §4.5.1.7).
public enum LDAPTruth: Hashable, Sendable {
    case holds
    case fails
    /// Nobody can say: the value asserted is none of its attribute's, or there is no rule to compare by.
    case undefined
}

extension LDAPFilter {
    /// - Returns: ``LDAPTruth/holds`` if the entry belongs to what a search with this filter finds.
    public func truth(of entry: LDAPEntry, schema: Schema = .standard) -> LDAPTruth { PreparedLDAPFilter(self, schema: schema).truth(of: entry) }
}

/// A filter that is held against many entries: what it asserts is made comparable once.
///
/// Two things are more than RFC 4511 has: an attribute that the schema does not know is compared as a text, where a server would say that the truth
/// is undefined, since a directory has attributes that are not known here; and one that is not there is a plain no.
public struct PreparedLDAPFilter: Sendable {
    private indirect enum Node: Sendable {
        case and([Node])
        case or([Node])
        case not(Node)
        case present(AttributeDescription)
        case equality(AttributeDescription, MatchingRule, [UInt8])
        /// `isGreater` asks for values that do not come before the one asserted, else those that do not come after it.
        case ordering(AttributeDescription, MatchingRule, [UInt8], isGreater: Bool)
        case substrings(AttributeDescription, MatchingRule, SubstringSearch)
        /// Of one attribute, or all that the rule is for.
        case extensible(AttributeDescription?, MatchingRule, [UInt8], hasDNAttributes: Bool)
        case undefined
    }
    private let node: Node
    private let schema: Schema

    /// Octets of values that are looked at for one entry. Beyond them truth is undefined, so that nothing is found that should not be: a filter of
    /// 2,000 parts on a group with 10,000 members would keep a thread busy for long.
    public static let octetsMax = 8 << 20

    public init(_ filter: LDAPFilter, schema: Schema = .standard) {
        self.schema = schema
        node = Self.node(filter, schema, depth: 1)
    }

    public func truth(of entry: LDAPEntry) -> LDAPTruth {
        var evaluation = Evaluation(entry: entry, schema: schema)
        return evaluation.truth(of: node)
    }

    // MARK: Preparation

    /// What lies deeper than a filter may is undefined.
    private static func node(_ filter: LDAPFilter, _ schema: Schema, depth: Int) -> Node {
        guard depth <= LDAPFilter.depthMax else { return .undefined }
        switch filter {
        case .and(let filters): return .and(filters.map { node($0, schema, depth: depth + 1) })
        case .or(let filters): return .or(filters.map { node($0, schema, depth: depth + 1) })
        case .not(let filter): return .not(node(filter, schema, depth: depth + 1))
        case .present(let name): return AttributeDescription(name, schema: schema).map(Node.present) ?? .undefined
        case .equality(let name, let value), .approximate(let name, let value):
            guard let attribute = AttributeDescription(name, schema: schema), let rule = schema.equality(of: attribute.type),
                let prepared = rule.preparation.prepared(value)
            else { return .undefined }
            return .equality(attribute, rule, prepared)
        case .greaterOrEqual(let name, let value): return ordering(name, value, schema, isGreater: true)
        case .lessOrEqual(let name, let value): return ordering(name, value, schema, isGreater: false)
        case .substrings(let name, let substrings):
            guard let attribute = AttributeDescription(name, schema: schema), let rule = substringRule(of: attribute.type, schema),
                let search = SubstringSearch(substrings, rule.preparation)
            else { return .undefined }
            return .substrings(attribute, rule, search)
        case .extensible(let extensible): return node(extensible, schema)
        }
    }

    private static func ordering(_ name: String, _ value: [UInt8], _ schema: Schema, isGreater: Bool) -> Node {
        guard let attribute = AttributeDescription(name, schema: schema), let rule = orderingRule(of: attribute.type, schema),
            let prepared = rule.preparation.prepared(value)
        else { return .undefined }
        return .ordering(attribute, rule, prepared, isGreater: isGreater)
    }

    private static func orderingRule(of type: String, _ schema: Schema) -> MatchingRule? {
        guard let known = schema.attributeType(type) else { return .caseIgnoreOrdering }
        return known.ordering
    }

    private static func substringRule(of type: String, _ schema: Schema) -> MatchingRule? {
        guard let known = schema.attributeType(type) else { return .caseIgnoreSubstrings }
        return known.substrings
    }

    private static func node(_ extensible: LDAPFilter.Extensible, _ schema: Schema) -> Node {
        let attribute = extensible.attribute.flatMap { AttributeDescription($0, schema: schema) }
        if extensible.attribute != nil, attribute == nil { return .undefined }
        let rule = extensible.matchingRule.map(MatchingRule.named) ?? attribute.flatMap { schema.equality(of: $0.type) }
        guard let rule, rule.purpose != .substrings, let prepared = rule.preparation.prepared(extensible.value) else { return .undefined }
        if [.allBits, .anyBit].contains(rule.purpose), Bits(prepared) == nil { return .undefined }
        return .extensible(attribute, rule, prepared, hasDNAttributes: extensible.hasDNAttributes)
    }

    // MARK: One entry

    private struct Evaluation {
        private let entry: LDAPEntry
        private let attributes: [(description: AttributeDescription, values: [[UInt8]])]
        private let schema: Schema
        private var octetsLeft = PreparedLDAPFilter.octetsMax

        init(entry: LDAPEntry, schema: Schema) {
            self.entry = entry
            self.schema = schema
            attributes = entry.attributes.compactMap { attribute in
                AttributeDescription(attribute.description, schema: schema).map { ($0, attribute.values) }
            }
        }

        mutating func truth(of node: Node) -> LDAPTruth {
            switch node {
            case .and(let nodes): return truth(of: nodes, unless: .fails, else: .holds)
            case .or(let nodes): return truth(of: nodes, unless: .holds, else: .fails)
            case .not(let node):
                switch truth(of: node) {
                case .holds: return .fails
                case .fails: return .holds
                case .undefined: return .undefined
                }
            case .present(let attribute): return attributes.contains { $0.description.isSubtype(of: attribute, schema: schema) } ? .holds : .fails
            case .equality(let attribute, let rule, let prepared):
                return anyValue(of: attribute) { value in rule.preparation.prepared(value).map { $0 == prepared } }
            case .ordering(let attribute, let rule, let prepared, let isGreater):
                return anyValue(of: attribute) { Self.isOrdered($0, prepared, rule, isGreater) }
            case .substrings(let attribute, let rule, let search):
                return anyValue(of: attribute) { value in
                    PreparedString.searched(value, rule.preparation).map { search.isFound(in: $0) }
                }
            case .extensible(let attribute, let rule, let prepared, let hasDNAttributes):
                return extensible(attribute, rule, prepared, hasDNAttributes)
            case .undefined: return .undefined
            }
        }

        /// One that decides, whatever the others are, ends it.
        private mutating func truth(of nodes: [Node], unless deciding: LDAPTruth, else other: LDAPTruth) -> LDAPTruth {
            var result = other
            for node in nodes {
                let truth = truth(of: node)
                if truth == deciding { return deciding }
                if truth == .undefined { result = .undefined }
            }
            return result
        }

        private mutating func anyValue(of attribute: AttributeDescription, _ matches: ([UInt8]) -> Bool?) -> LDAPTruth {
            let schema = schema
            return anyValue(where: { $0.isSubtype(of: attribute, schema: schema) }, matches)
        }

        /// A value that is not of the rule's syntax does not match, but one that does decides.
        private mutating func anyValue(where isMeant: (AttributeDescription) -> Bool, _ matches: ([UInt8]) -> Bool?) -> LDAPTruth {
            for (description, values) in attributes where isMeant(description) {
                for value in values {
                    guard mayLookAt(value) else { return .undefined }
                    if matches(value) == true { return .holds }
                }
            }
            return .fails
        }

        private mutating func mayLookAt(_ value: [UInt8]) -> Bool {
            // An empty value is looked at as well.
            octetsLeft -= value.count + 16
            return octetsLeft >= 0
        }

        private mutating func extensible(
            _ attribute: AttributeDescription?, _ rule: MatchingRule, _ prepared: [UInt8], _ hasDNAttributes: Bool
        ) -> LDAPTruth {
            let schema = schema
            let isMeant: (AttributeDescription) -> Bool = { description in
                guard let attribute else { return schema.equality(of: description.type).map { rule.preparation.isFor($0.preparation) } ?? false }
                return description.isSubtype(of: attribute, schema: schema)
            }
            let truth = anyValue(where: isMeant) { Self.matches($0, prepared, rule) }
            guard truth == .fails, hasDNAttributes, let name = try? DistinguishedName(entry.name) else { return truth }
            for value in name.relativeNames.flatMap(\.ordered) {
                guard let description = AttributeDescription(value.type, schema: schema), isMeant(description) else { continue }
                guard mayLookAt(value.value) else { return .undefined }
                if Self.matches(value.value, prepared, rule) == true { return .holds }
            }
            return .fails
        }

        private static func matches(_ value: [UInt8], _ asserted: [UInt8], _ rule: MatchingRule) -> Bool? {
            guard let prepared = rule.preparation.prepared(value) else { return nil }
            switch rule.purpose {
            case .equality: return prepared == asserted
            // RFC 4517 §4.2: the rule is true of values that come before the one asserted.
            case .ordering: return rule.preparation.isOrdered(prepared, before: asserted)
            case .allBits: return Bits(prepared).flatMap { value in Bits(asserted).map(value.hasAll) }
            case .anyBit: return Bits(prepared).flatMap { value in Bits(asserted).map(value.hasAny) }
            case .substrings: return nil
            }
        }

        private static func isOrdered(_ value: [UInt8], _ asserted: [UInt8], _ rule: MatchingRule, _ isGreater: Bool) -> Bool? {
            guard let prepared = rule.preparation.prepared(value) else { return nil }
            return isGreater ? !rule.preparation.isOrdered(prepared, before: asserted) : !rule.preparation.isOrdered(asserted, before: prepared)
        }
    }
}

/// A number as a set of bits: of Active Directory's 32 or 64, negative ones in two's complement.
private struct Bits {
    private let bits: Int64

    init?(_ prepared: [UInt8]) {
        guard let bits = Int64(String(decoding: prepared, as: UTF8.self)) else { return nil }
        self.bits = bits
    }

    func hasAll(of other: Bits) -> Bool { bits & other.bits == other.bits }

    /// No bits are asked for: then there is one of them in no value.
    func hasAny(of other: Bits) -> Bool { bits & other.bits != 0 }
}

/// Substrings that are looked for in their order (RFC 4511 §4.5.1.7.2), each in time that grows with the value alone: both come from others.
private struct SubstringSearch: Sendable {
    private struct Pattern: Sendable {
        let octets: [UInt8]
        /// For each octet, how much of the pattern's start ends there (Knuth, Morris and Pratt).
        let borders: [Int]

        init(_ octets: [UInt8]) {
            self.octets = octets
            var borders = [Int](repeating: 0, count: octets.count)
            var matched = 0
            for place in octets.indices.dropFirst() {
                while matched > 0, octets[place] != octets[matched] { matched = borders[matched - 1] }
                if octets[place] == octets[matched] { matched += 1 }
                borders[place] = matched
            }
            self.borders = borders
        }

        /// Where it ends, the first time that it is there.
        func end(in value: ArraySlice<UInt8>) -> Int? {
            if octets.isEmpty { return value.startIndex }
            var matched = 0
            for place in value.indices {
                while matched > 0, value[place] != octets[matched] { matched = borders[matched - 1] }
                if value[place] == octets[matched] { matched += 1 }
                if matched == octets.count { return place + 1 }
            }
            return nil
        }
    }
    private let initial: [UInt8]
    private let any: [Pattern]
    private let final: [UInt8]

    init?(_ substrings: LDAPFilter.Substrings, _ preparation: ValuePreparation) {
        func part(_ octets: [UInt8]?, isInitial: Bool = false, isFinal: Bool = false) -> [UInt8]? {
            guard let octets else { return [] }
            return PreparedString.substring(octets, preparation, isInitial: isInitial, isFinal: isFinal)
        }
        guard let initial = part(substrings.initial, isInitial: true), let final = part(substrings.final, isFinal: true) else { return nil }
        var any: [Pattern] = []
        for octets in substrings.any {
            guard let octets = part(octets) else { return nil }
            any.append(Pattern(octets))
        }
        self.initial = initial
        self.any = any
        self.final = final
    }

    func isFound(in value: [UInt8]) -> Bool {
        guard value.starts(with: initial) else { return false }
        var rest = value.dropFirst(initial.count)
        for pattern in any {
            guard let end = pattern.end(in: rest) else { return false }
            rest = rest[end...]
        }
        return rest.count >= final.count && rest.suffix(final.count).elementsEqual(final)
    }
}
