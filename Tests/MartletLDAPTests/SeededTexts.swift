import MartletLDAP

/// Makes values of which the texts are read again, always the same ones of a seed.
struct SeededTexts: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }

    /// With what means something in one of the texts more often than it would be there.
    mutating func octets(_ range: ClosedRange<Int> = 0...8) -> [UInt8] {
        let special = Array("*()\\\0 ,+=;<>\"#%:-\r\n\t".utf8)
        return (0..<Int.random(in: range, using: &self)).map { _ in below(3) == 0 ? special[below(special.count)] : UInt8.random(in: 0...255, using: &self) }
    }

    mutating func text(_ range: ClosedRange<Int> = 0...8) -> String {
        let characters = Array("*()\\\0 ,+=;<>\"#%:-\r\n\taBcÄöß小\u{301}🦅")
        return String((0..<Int.random(in: range, using: &self)).map { _ in characters[below(characters.count)] })
    }

    mutating func attribute() -> String { ["cn", "mail", "cn;lang-de", "1.2.3", "X-y_z", "userCertificate;binary"][below(6)] }

    mutating func filter(depth: Int) -> LDAPFilter {
        switch below(depth > 0 ? 10 : 7) {
        case 0: .equality(attribute(), octets())
        case 1: .present(attribute())
        case 2: .greaterOrEqual(attribute(), octets())
        case 3: .lessOrEqual(attribute(), octets())
        case 4: .approximate(attribute(), octets())
        case 5: substrings()
        case 6: extensible()
        case 7: .and((0..<below(4)).map { _ in filter(depth: depth - 1) })
        case 8: .or((0..<below(4)).map { _ in filter(depth: depth - 1) })
        default: .not(filter(depth: depth - 1))
        }
    }

    private mutating func substrings() -> LDAPFilter {
        var substrings = LDAPFilter.Substrings(any: (0..<below(3)).map { _ in octets(1...4) })
        if below(2) == 0 { substrings.initial = octets(1...4) }
        if below(2) == 0 || (substrings.initial == nil && substrings.any.isEmpty) { substrings.final = octets(1...4) }
        return .substrings(attribute(), substrings)
    }

    private mutating func extensible() -> LDAPFilter {
        let rule = [nil, "caseExactMatch", "1.2.840.113556.1.4.803"][below(3)]
        return .extensible(.init(matchingRule: rule, attribute: rule == nil || below(2) == 0 ? "cn" : nil, value: octets(), hasDNAttributes: below(2) == 0))
    }

    mutating func relativeName() -> RelativeDistinguishedName {
        let types = ["cn", "OU", "xmppContact", "2.5.4.10", "dc", "1.2.3.4", "member", "clearance"]
        let attributes = (0...below(3)).map { _ in
            let value = below(4) == 0 ? octets() : Array(text().utf8)
            return AttributeValue(types[below(types.count)], value)
        }
        return RelativeDistinguishedName(ordered: attributes)
    }

    mutating func name() -> DistinguishedName { DistinguishedName((0..<below(5)).map { _ in relativeName() }) }
}
