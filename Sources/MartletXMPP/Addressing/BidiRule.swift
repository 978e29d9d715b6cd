/// The Bidi Rule (RFC 5893 §2).
enum BidiRule {
    /// Whether there is a character that makes a label right-to-left: of class R, AL or AN.
    static func applies(to text: some Sequence<Unicode.Scalar>) -> Bool {
        text.contains { scalar in
            switch UnicodeProperties(scalar).bidiClass {
            case .rightToLeft, .arabicLetter, .arabicNumber: true
            default: false  // all others leave the direction alone
            }
        }
    }

    /// The six conditions.
    static func isSatisfied(by text: some BidirectionalCollection<Unicode.Scalar>) -> Bool {
        let classes = text.map { UnicodeProperties($0).bidiClass }
        guard let first = classes.first, let last = classes.last(where: { $0 != .nonspacingMark }) else { return false }
        switch first {
        case .leftToRight:
            return classes.allSatisfy(isAllowedLeftToRight) && (last == .leftToRight || last == .europeanNumber)
        case .rightToLeft, .arabicLetter:
            return classes.allSatisfy(isAllowedRightToLeft) && endsRightToLeft(last)
                && !(classes.contains(.europeanNumber) && classes.contains(.arabicNumber))
        case .arabicNumber, .europeanNumber, .europeanSeparator, .commonSeparator, .europeanTerminator, .otherNeutral,
            .boundaryNeutral, .nonspacingMark, .other:
            return false
        }
    }

    private static func isAllowedRightToLeft(_ bidiClass: UnicodeProperties.BidiClass) -> Bool {
        bidiClass != .leftToRight && bidiClass != .other
    }

    private static func isAllowedLeftToRight(_ bidiClass: UnicodeProperties.BidiClass) -> Bool {
        switch bidiClass {
        case .leftToRight, .europeanNumber, .europeanSeparator, .commonSeparator, .europeanTerminator, .otherNeutral,
            .boundaryNeutral, .nonspacingMark:
            true
        case .rightToLeft, .arabicLetter, .arabicNumber, .other:
            false
        }
    }

    private static func endsRightToLeft(_ bidiClass: UnicodeProperties.BidiClass) -> Bool {
        switch bidiClass {
        case .rightToLeft, .arabicLetter, .europeanNumber, .arabicNumber: true
        default: false  // condition 3 names these four
        }
    }
}
