/// The contextual rules of RFC 5892 appendix A, for domain labels and for all string classes of PRECIS.
struct ContextRules {
    private let text: [Unicode.Scalar]
    /// What the rules ask about the whole string is looked up once.
    private let hasKanaOrHan: Bool
    private let hasArabicIndicDigit: Bool
    private let hasExtendedArabicIndicDigit: Bool

    init(_ text: [Unicode.Scalar]) {
        self.text = text
        hasKanaOrHan = text.contains { scalar in
            switch UnicodeProperties(scalar).script {
            case .hiragana, .katakana, .han: true
            case .other, .greek, .hebrew: false
            }
        }
        hasArabicIndicDigit = text.contains(where: Self.isArabicIndicDigit)
        hasExtendedArabicIndicDigit = text.contains(where: Self.isExtendedArabicIndicDigit)
    }

    /// Whether the rule for the character at `index` holds. A character without a rule does not pass.
    func hold(at index: Int) -> Bool {
        let scalar = text[index]
        switch scalar {
        case "\u{200C}": return isAfterVirama(index) || breaksJoin(index)
        case "\u{200D}": return isAfterVirama(index)
        case "\u{B7}": return before(index) == "l" && after(index) == "l"
        case "\u{375}": return after(index).map { UnicodeProperties($0).script == .greek } ?? false
        case "\u{5F3}", "\u{5F4}": return before(index).map { UnicodeProperties($0).script == .hebrew } ?? false
        case "\u{30FB}": return hasKanaOrHan
        case _ where Self.isArabicIndicDigit(scalar): return !hasExtendedArabicIndicDigit
        case _ where Self.isExtendedArabicIndicDigit(scalar): return !hasArabicIndicDigit
        default: return false
        }
    }

    private func before(_ index: Int) -> Unicode.Scalar? { index > 0 ? text[index - 1] : nil }
    private func after(_ index: Int) -> Unicode.Scalar? { index + 1 < text.count ? text[index + 1] : nil }

    private func isAfterVirama(_ index: Int) -> Bool {
        before(index).map { UnicodeProperties($0).isVirama } ?? false
    }

    /// (L|D) T* ZWNJ T* (R|D)
    private func breaksJoin(_ index: Int) -> Bool {
        let left = text[..<index].last { UnicodeProperties($0).joiningType != .transparent }
        let right = text[(index + 1)...].first { UnicodeProperties($0).joiningType != .transparent }
        guard let left, let right else { return false }
        let leftType = UnicodeProperties(left).joiningType
        let rightType = UnicodeProperties(right).joiningType
        return (leftType == .left || leftType == .dual) && (rightType == .right || rightType == .dual)
    }

    private static func isArabicIndicDigit(_ scalar: Unicode.Scalar) -> Bool { "\u{660}"..."\u{669}" ~= scalar }
    private static func isExtendedArabicIndicDigit(_ scalar: Unicode.Scalar) -> Bool { "\u{6F0}"..."\u{6F9}" ~= scalar }
}
