// A build that knows no libidn has no differential test.
#if canImport(CIDN)
import CIDN
import Foundation
import MartletXMPP
import Testing

/// Stringprep (RFC 3454, Unicode 3.2) is what RFC 6122 had before PRECIS, and what many servers still run.
/// docs/addressing.md lists where we differ; here that list is held against libidn.
@Suite("Stringprep and PRECIS")
struct StringprepTests {
    @Test("localparts differ from Nodeprep for the documented reasons alone (RFC 6122 appendix A)")
    func nodeprep() {
        let found = Comparison(
            ours: { try? BareJID(localpart: $0, domainpart: "a").localpart }, theirs: { stringprep($0, cidn_nodeprep) },
            documented: [
                .weRefuse: [.compatibility, .symbol, .ignorable, .newer, .contextual, .direction, .exception, .corrected],
                .theyRefuse: [.direction],
                .bothDiffer: [.folding, .newer],
            ])
        found.check(seed: 3920)
    }

    @Test("resourceparts differ from Resourceprep for the documented reasons alone (RFC 6122 appendix B)")
    func resourceprep() {
        let found = Comparison(
            ours: { try? FullJID(localpart: nil, domainpart: "a", resourcepart: $0).resourcepart },
            theirs: { stringprep($0, cidn_resourceprep) },
            documented: [
                .weRefuse: [.ignorable, .newer, .contextual, .exception],
                .theyRefuse: [.direction, .space, .prohibited],
                .bothDiffer: [.compatibility, .newer, .corrected, .todoHyphen],
            ])
        found.check(seed: 6122)
    }

    @Test("labels of domainparts differ from Nameprep for the documented reasons alone (RFC 3491)")
    func nameprep() {
        let found = Comparison(
            ours: { try? BareJID(localpart: nil, domainpart: $0).domainpart }, theirs: { stringprep($0, cidn_nameprep) },
            documented: [
                .weRefuse: [.compatibility, .symbol, .ignorable, .newer, .contextual, .direction, .exception, .label, .folding],
                .theyRefuse: [.direction],
                .bothDiffer: [.folding, .newer, .corrected],
            ])
        found.check(seed: 3491)
    }

    private func stringprep(_ text: String, _ profile: (UnsafeMutablePointer<CChar>, Int) -> CInt) -> String? {
        var bytes = text.utf8CString + Array(repeating: 0, count: 1024)
        let capacity = bytes.count
        let code = bytes.withUnsafeMutableBufferPointer { $0.baseAddress.map { profile($0, capacity) } ?? -1 }
        guard code == 0 else { return nil }
        let prepared = String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return prepared.isEmpty ? nil : prepared
    }
}

/// One part prepared in two ways, over many texts.
private struct Comparison {
    enum Kind: String, CustomStringConvertible {
        case weRefuse, theyRefuse, bothDiffer

        var description: String { rawValue }
    }

    let ours: (String) -> String?
    let theirs: (String) -> String?
    let documented: [Kind: Set<Reason>]

    /// Each reason is met, even in few rounds.
    private static let examples = [
        "henry\u{2163}", "\u{265A}", "a\u{AD}b", "a\u{FE0F}", "\u{221}", "a\u{2C2F}", "l\u{B7}", "a\u{3164}", "a\u{1806}b", "\u{5D0}1", "\u{661}",
        "\u{3031}", "\u{2F868}", "stra\u{DF}e", "\u{1FB3}", "a\u{1680}b", "\u{FFFC}", "a_b",
    ]

    /// The end of a string in C, and what is a dot in a domainpart.
    private static let separators: Set<Unicode.Scalar> = ["\0", ".", "\u{3002}", "\u{FF0E}", "\u{FF61}"]

    /// 100,000 with `MARTLET_LONG_TESTS`, which takes a while without optimisation.
    private var rounds: Int { ProcessInfo.processInfo.environment["MARTLET_LONG_TESTS"] == nil ? 10_000 : 100_000 }

    /// No difference is without a documented reason, and each documented reason is once the only one.
    func check(seed: UInt64) {
        var numbers = SeededNumbers(seed: seed)
        var proved: [Kind: Set<Reason>] = [:]
        var agreed = 0
        for round in 0..<rounds {
            let example = round < Self.examples.count ? Self.examples[round].codePoints : numbers.text()
            let scalars = example.filter { !Self.separators.contains($0) }
            let text = String(String.UnicodeScalarView(scalars))
            guard !text.isEmpty, let kind = difference(text) else {
                agreed += 1
                continue
            }
            let reasons = Reason.all(in: scalars).intersection(documented[kind] ?? [])
            #expect(!reasons.isEmpty, "\(kind): \(scalars) \(Reason.all(in: scalars))")
            if reasons.count == 1 { proved[kind, default: []].formUnion(reasons) }
        }
        #expect(proved == documented)
        #expect(agreed > rounds / 5)
    }

    private func difference(_ text: String) -> Kind? {
        switch (ours(text), theirs(text)) {
        case (nil, nil): nil
        case (nil, _?): .weRefuse
        case (_?, nil): .theyRefuse
        case (let ours?, let theirs?): ours.codePoints == theirs.codePoints ? nil : .bothDiffer
        }
    }
}

/// Why two preparations may differ, told from the text by what Swift and Foundation know of Unicode.
private enum Reason: String, CaseIterable, CustomStringConvertible {
    /// Stringprep replaces compatibility characters; PRECIS refuses them in names and keeps them in resourceparts.
    case compatibility
    /// Neither letter nor digit nor mark: not in the IdentifierClass.
    case symbol
    /// Stringprep removes what cannot be seen, or leaves it; PRECIS refuses it, and so do we in names. In resourceparts we remove
    /// what Stringprep removes, and refuse the rest.
    case ignorable
    /// U+1806, which Stringprep removes and PRECIS takes for punctuation.
    case todoHyphen
    /// Unicode 3.2 did not have the character, or not its lower case, and passes it as it is.
    case newer
    /// One of the contextual rules of RFC 5892.
    case contextual
    /// RFC 3454 §6 and RFC 5893 draw different lines through right-to-left text.
    case direction
    /// Refused by name: RFC 5892 §2.4, §2.6 and §2.9.
    case exception
    /// Decomposed in another way since Corrigendum 4 of Unicode.
    case corrected
    /// Stringprep folds case (ß is ss, ς is σ, ᾳ is αι); PRECIS lower-cases; IDNA refuses ᾳ.
    case folding
    /// Spaces beyond ASCII are refused or kept by Stringprep.
    case space
    /// Stringprep refuses what is not for plain text (RFC 3454 appendix C).
    case prohibited
    /// Host names have letters, digits and hyphens; Nameprep alone does not say so.
    case label

    var description: String { rawValue }

    static func all(in scalars: [Unicode.Scalar]) -> Set<Reason> {
        Set(allCases.filter { $0.applies(to: scalars) })
    }

    private func applies(to scalars: [Unicode.Scalar]) -> Bool {
        if self == .label, let first = scalars.first, Self.isMark(first) { return true }
        if self == .contextual, Self.hasBothArabicDigits(scalars) { return true }
        return scalars.contains { applies(to: $0) }
    }

    private func applies(to scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        return switch self {
        case .compatibility: Self.compatible(scalar) != [scalar] && !Self.correctedScalars.contains(scalar.value)
        case .symbol: !scalar.isASCII && !Self.contextualScalars.contains(scalar.value) && !Self.isLetterDigitOrMark(scalar)
        case .ignorable: properties.isDefaultIgnorableCodePoint
        case .todoHyphen: scalar == "\u{1806}"
        case .newer: ([scalar] + properties.lowercaseMapping.codePoints).contains(where: Self.isNewer)
        case .contextual: Self.contextualScalars.contains(scalar.value)
        case .direction: Self.compatible(scalar).contains { part in Self.rightToLeft.contains { $0 ~= part.value } }
        case .exception: Self.exceptions.contains { $0 ~= scalar.value }
        case .corrected: Self.correctedScalars.contains(scalar.value)
        case .folding: properties.uppercaseMapping.lowercased() != properties.lowercaseMapping
        case .space: properties.generalCategory == .spaceSeparator && scalar != " "
        case .prohibited: 0x2FF0...0x2FFB ~= scalar.value || 0xFFF9...0xFFFD ~= scalar.value
        case .label: scalar.isASCII && !properties.isAlphabetic && !("0"..."9" ~= scalar)
        }
    }

    private static let contextualScalars: Set<UInt32> = [0xB7, 0x375, 0x387, 0x5F3, 0x5F4, 0x30FB, 0xFF65, 0x200C, 0x200D]
    private static let correctedScalars: Set<UInt32> = [0x2F868, 0x2F874, 0x2F91F, 0x2F95F, 0x2F9BF]
    private static let rightToLeft: [ClosedRange<UInt32>] = [0x590...0x8FF, 0xFB1D...0xFDFF, 0xFE70...0xFEFC]
    private static let exceptions: [ClosedRange<UInt32>] = [
        0x640...0x640, 0x1100...0x11FF, 0x20D0...0x20FF, 0x302E...0x302F, 0x3031...0x3035, 0x303B...0x303B, 0x1D100...0x1D24F,
    ]

    private static func compatible(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        String(scalar).precomposedStringWithCompatibilityMapping.codePoints
    }

    private static func isLetterDigitOrMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .modifierLetter, .otherLetter, .decimalNumber, .nonspacingMark,
            .spacingMark: true
        default: false
        }
    }

    private static func hasBothArabicDigits(_ scalars: [Unicode.Scalar]) -> Bool {
        scalars.contains { "\u{660}"..."\u{669}" ~= $0 } && scalars.contains { "\u{6F0}"..."\u{6F9}" ~= $0 }
    }

    private static func isMark(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark: true
        default: false
        }
    }

    private static func isNewer(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.age.map { ($0.major, $0.minor) > (3, 2) } ?? true
    }
}
#endif
