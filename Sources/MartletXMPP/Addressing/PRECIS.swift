/// Preparation of strings that are compared: names, passwords, nicknames (RFC 8264, 8265, 8266).
///
/// Each function gives the one spelling by which the string is stored and compared. The version of Unicode is fixed
/// (``UnicodeTables/version``); what was assigned later is refused.
public enum PRECIS {
    /// UsernameCaseMapped (RFC 8265 §3.3): the profile of localparts and of SASL's simple user names.
    public static func usernameCaseMapped(_ text: some StringProtocol) throws(PRECISError) -> String {
        try string(text, isPlain: { 0x21...0x7E ~= $0 && !(0x41...0x5A ~= $0) }, usernameCaseMapped(scalars:))
    }

    /// UsernameCasePreserved (RFC 8265 §3.4).
    public static func usernameCasePreserved(_ text: some StringProtocol) throws(PRECISError) -> String {
        try string(text, isPlain: { 0x21...0x7E ~= $0 }, usernameCasePreserved(scalars:))
    }

    /// OpaqueString (RFC 8265 §4.2): the profile of passwords and, but for what cannot be seen, of resourceparts.
    public static func opaqueString(_ text: some StringProtocol) throws(PRECISError) -> String {
        try string(text, isPlain: { 0x20...0x7E ~= $0 }, opaqueString(scalars:))
    }

    /// Nickname as it is shown (RFC 8266 §2.3).
    public static func nickname(_ text: some StringProtocol) throws(PRECISError) -> String {
        try string(text, isPlain: { 0x21...0x7E ~= $0 }) { (scalars) throws(PRECISError) in
            try nickname(scalars: scalars, isForComparison: false)
        }
    }

    /// Nickname as it is compared (RFC 8266 §2.4): two are the same to people if this is the same.
    public static func nicknameForComparison(_ text: some StringProtocol) throws(PRECISError) -> String {
        try string(text, isPlain: { 0x21...0x7E ~= $0 && !(0x41...0x5A ~= $0) }) { (scalars) throws(PRECISError) in
            try nickname(scalars: scalars, isForComparison: true)
        }
    }

    /// Text that consists of octets which the profile leaves as they are is its own prepared form.
    private static func string(
        _ text: some StringProtocol, isPlain: (UInt8) -> Bool,
        _ profile: ([Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar]
    ) throws(PRECISError) -> String {
        if !text.isEmpty, text.utf8.allSatisfy(isPlain) { return String(text) }
        var prepared = String.UnicodeScalarView()
        prepared.append(contentsOf: try profile(Array(text.unicodeScalars)))
        return String(prepared)
    }
}

/// Why a string has no prepared form.
public enum PRECISError: Error, Hashable, Sendable {
    /// Nothing is left.
    case empty
    /// A character which the string class leaves out (RFC 8264 §4).
    case disallowed(Unicode.Scalar)
    /// A character which is allowed only beside certain others is not beside them (RFC 5892 appendix A).
    case outOfContext(Unicode.Scalar)
    /// Left-to-right and right-to-left characters are mixed against the Bidi Rule (RFC 5893 §2).
    case bidirectional
    /// Each application of the rules gives something else (RFC 8264 §7).
    case unstable
}

// MARK: - Profiles

extension PRECIS {
    static func usernameCaseMapped(scalars: [Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar] {
        try stable(scalars) { (text) throws(PRECISError) in
            let text = widthMapped(text)
            try check(text, against: .identifier)
            return try directed(UnicodeNormalization.canonical(lowercased(text)))
        }
    }

    static func usernameCasePreserved(scalars: [Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar] {
        try stable(scalars) { (text) throws(PRECISError) in
            let text = widthMapped(text)
            try check(text, against: .identifier)
            return try directed(UnicodeNormalization.canonical(text))
        }
    }

    static func opaqueString(scalars: [Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar] {
        try stable(scalars) { (text) throws(PRECISError) in
            try check(text, against: .freeform)
            return UnicodeNormalization.canonical(spacesMapped(text))
        }
    }

    /// OpaqueString for a resourcepart (RFC 7622 §3.4), except that what Stringprep maps to nothing (RFC 3454 table B.1)
    /// goes where PRECIS would refuse it, as it does at peers that follow RFC 6122, instead of the whole address being refused.
    ///
    /// Many emoji are written with such characters: `👩‍💻` becomes `👩💻`, and `❤️` becomes `❤`. A joiner that RFC 5892 A.1 and A.2 allow stays.
    static func resourcepart(scalars: [Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar] {
        try stable(scalars) { (text) throws(PRECISError) in
            let text = withoutRefusedInvisibles(text)
            try check(text, against: .freeform)
            return UnicodeNormalization.canonical(spacesMapped(text))
        }
    }

    private static func nickname(
        scalars: [Unicode.Scalar], isForComparison: Bool
    ) throws(PRECISError) -> [Unicode.Scalar] {
        try stable(scalars) { (text) throws(PRECISError) in
            try check(text, against: .freeform)
            let text = spacesCollapsed(spacesMapped(text))
            return UnicodeNormalization.compatible(isForComparison ? lowercased(text) : text)
        }
    }

    /// How often the rules are applied before a string that still changes is given up: once, and three times more
    /// (RFC 8264 §7).
    private static let applicationsMax = 4

    /// Applies the rules until they change nothing, so that what they give has itself passed all checks.
    private static func stable(
        _ text: [Unicode.Scalar], _ rules: ([Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar]
    ) throws(PRECISError) -> [Unicode.Scalar] {
        var text = text
        for _ in 0..<applicationsMax {
            let next = try rules(text)
            guard !next.isEmpty else { throw .empty }
            if next == text { return next }
            text = next
        }
        throw .unstable
    }
}

// MARK: - Rules

extension PRECIS {
    enum StringClass {
        /// RFC 8264 §4.2.
        case identifier
        /// RFC 8264 §4.3.
        case freeform
    }

    /// Fullwidth and halfwidth characters become their decomposition mappings.
    static func widthMapped(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { scalar -> [Unicode.Scalar] in
            guard let mapping = UnicodeMappings.decompositions[scalar], mapping.kind == .width else { return [scalar] }
            return Array(mapping.scalars)
        }
    }

    /// Unicode's toLowerCase, character by character.
    static func lowercased(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { scalar -> [Unicode.Scalar] in
            guard let mapping = UnicodeMappings.lowercase[scalar] else { return [scalar] }
            return Array(mapping.scalars)
        }
    }

    private static func spacesMapped(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.map { UnicodeProperties($0).isSpace ? " " : $0 }
    }

    /// Each character is looked at where it stands in `text`, before any has gone.
    private static func withoutRefusedInvisibles(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard text.contains(where: isMappedToNothing) else { return text }
        let rules = ContextRules(text)
        return text.enumerated().filter { index, scalar in
            guard isMappedToNothing(scalar) else { return true }
            return switch UnicodeProperties(scalar).precis {
            case .valid, .freeformValid: true
            case .contextJoin, .contextOther: rules.hold(at: index)
            case .disallowed: false
            }
        }.map(\.element)
    }

    /// RFC 3454 table B.1.
    private static func isMappedToNothing(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\u{AD}", "\u{34F}", "\u{1806}", "\u{180B}"..."\u{180D}", "\u{200B}"..."\u{200D}", "\u{2060}", "\u{FE00}"..."\u{FE0F}", "\u{FEFF}":
            true
        default:
            false
        }
    }

    /// Spaces at the ends go, several inside become one.
    private static func spacesCollapsed(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        Array(text.split(separator: " ").joined(separator: [" "]))
    }

    private static func directed(_ text: [Unicode.Scalar]) throws(PRECISError) -> [Unicode.Scalar] {
        guard !BidiRule.applies(to: text) || BidiRule.isSatisfied(by: text) else { throw .bidirectional }
        return text
    }

    private static func check(_ text: [Unicode.Scalar], against stringClass: StringClass) throws(PRECISError) {
        var rules: ContextRules?
        for (index, scalar) in text.enumerated() {
            switch UnicodeProperties(scalar).precis {
            case .valid:
                continue
            case .freeformValid:
                guard stringClass == .freeform else { throw .disallowed(scalar) }
            case .contextJoin, .contextOther:
                let known = rules ?? ContextRules(text)
                rules = known
                guard known.hold(at: index) else { throw .outOfContext(scalar) }
            case .disallowed:
                throw .disallowed(scalar)
            }
        }
    }
}
