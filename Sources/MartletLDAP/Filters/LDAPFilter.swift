/// What a search looks for (RFC 4511 §4.5.1.7). It is a value from the first to the last: no filter is ever put together from strings, so that nothing that
/// a user types can be more than a value in it.
public indirect enum LDAPFilter: Hashable, Sendable {
    /// True if it has no parts (RFC 4526).
    case and([LDAPFilter])
    /// False if it has no parts (RFC 4526).
    case or([LDAPFilter])
    case not(LDAPFilter)
    case equality(String, [UInt8])
    case substrings(String, Substrings)
    case greaterOrEqual(String, [UInt8])
    case lessOrEqual(String, [UInt8])
    case present(String)
    case approximate(String, [UInt8])
    case extensible(Extensible)

    /// At least one of the three is there.
    public struct Substrings: Hashable, Sendable {
        public var initial: [UInt8]?
        public var any: [[UInt8]]
        public var final: [UInt8]?

        public init(initial: [UInt8]? = nil, any: [[UInt8]] = [], final: [UInt8]? = nil) {
            self.initial = initial
            self.any = any
            self.final = final
        }
    }

    /// `MatchingRuleAssertion`.
    public struct Extensible: Hashable, Sendable {
        /// A name or a dotted OID.
        public var matchingRule: String?
        public var attribute: String?
        public var value: [UInt8]
        /// Whether the attributes of the entry's name count as well.
        public var hasDNAttributes: Bool

        public init(matchingRule: String?, attribute: String?, value: [UInt8], hasDNAttributes: Bool = false) {
            self.matchingRule = matchingRule
            self.attribute = attribute
            self.value = value
            self.hasDNAttributes = hasDNAttributes
        }
    }
}
