/// Unicode Standard Annex #15 over the tables of ``UnicodeTables``.
package enum UnicodeNormalization {
    /// Normalisation Form C.
    package static func canonical(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        composed(decomposed(text, compatibility: false))
    }

    /// Normalisation Form KC.
    package static func compatible(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        composed(decomposed(text, compatibility: true))
    }

    // MARK: Decomposition

    /// Normalisation Form KD: letters and their marks apart, variants of width and form gone.
    package static func compatiblyDecomposed(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        decomposed(text, compatibility: true)
    }

    private static func decomposed(_ text: [Unicode.Scalar], compatibility: Bool) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        for scalar in text { append(scalar, to: &result, compatibility: compatibility) }
        reorder(&result)
        return result
    }

    /// Mappings are a few levels deep, and so is the recursion.
    private static func append(_ scalar: Unicode.Scalar, to result: inout [Unicode.Scalar], compatibility: Bool) {
        if scalar.value < 0x80 { return result.append(scalar) }
        if let parts = Hangul.decomposition(of: scalar) { return result.append(contentsOf: parts) }
        guard let mapping = UnicodeMappings.decompositions[scalar], compatibility || mapping.kind.isCanonical else {
            return result.append(scalar)
        }
        for part in mapping.scalars { append(part, to: &result, compatibility: compatibility) }
    }

    /// Puts each run of combining marks in the order of their classes; marks of one class keep theirs.
    ///
    /// The place is part of what is sorted by, because `sort` alone does not promise to keep it. Sorting rather than
    /// inserting: a run may be as long as the text, and strangers write it.
    private static func reorder(_ text: inout [Unicode.Scalar]) {
        var run: [(combiningClass: UInt8, place: Int, scalar: Unicode.Scalar)] = []
        for place in 0...text.count {
            let combiningClass = place < text.count ? UnicodeProperties(text[place]).combiningClass : 0
            if combiningClass > 0 {
                run.append((combiningClass, place, text[place]))
            } else if !run.isEmpty {
                run.sort { ($0.combiningClass, $0.place) < ($1.combiningClass, $1.place) }
                for (offset, mark) in run.enumerated() { text[place - run.count + offset] = mark.scalar }
                run.removeAll(keepingCapacity: true)
            }
        }
    }

    // MARK: Composition

    private static func composed(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        var starter: Int?
        // The combining class of the last mark that stayed behind the starter.
        var between: UInt8 = 0
        for scalar in text {
            let combiningClass = UnicodeProperties(scalar).combiningClass
            if let starter, starter == result.count - 1 || between < combiningClass,
                let whole = composition(of: result[starter], and: scalar)
            {
                result[starter] = whole
                continue
            }
            if combiningClass == 0 { starter = result.count }
            between = combiningClass
            result.append(scalar)
        }
        return result
    }

    private static func composition(of first: Unicode.Scalar, and second: Unicode.Scalar) -> Unicode.Scalar? {
        Hangul.composition(of: first, and: second) ?? compositions[Pair(first: first, second: second)]
    }

    private struct Pair: Hashable {
        var first: Unicode.Scalar
        var second: Unicode.Scalar
    }

    private static let compositions: [Pair: Unicode.Scalar] = {
        var result: [Pair: Unicode.Scalar] = [:]
        for whole in UnicodeMappings.decompositions.keys {
            guard let mapping = UnicodeMappings.decompositions[whole], mapping.kind == .composing,
                let first = mapping.scalars.first, let second = mapping.scalars.last
            else { continue }
            result[Pair(first: first, second: second)] = whole
        }
        return result
    }()
}

extension UnicodeMappings.Kind {
    fileprivate var isCanonical: Bool { self == .composing || self == .excluded }
}

/// Syllables of Hangul are computed (The Unicode Standard §3.12).
private enum Hangul {
    private static let syllables: ClosedRange<UInt32> = 0xAC00...0xD7A3
    private static let leading: ClosedRange<UInt32> = 0x1100...0x1112
    private static let vowels: ClosedRange<UInt32> = 0x1161...0x1175
    private static let trailing: ClosedRange<UInt32> = 0x11A8...0x11C2

    static func decomposition(of scalar: Unicode.Scalar) -> [Unicode.Scalar]? {
        guard syllables ~= scalar.value else { return nil }
        let index = scalar.value - syllables.lowerBound
        var parts = [leading.lowerBound + index / 588, vowels.lowerBound + index % 588 / 28]
        if index % 28 > 0 { parts.append(trailing.lowerBound - 1 + index % 28) }
        return parts.compactMap(Unicode.Scalar.init)
    }

    static func composition(of first: Unicode.Scalar, and second: Unicode.Scalar) -> Unicode.Scalar? {
        if leading ~= first.value, vowels ~= second.value {
            let index = (first.value - leading.lowerBound) * 21 + (second.value - vowels.lowerBound)
            return Unicode.Scalar(syllables.lowerBound + index * 28)
        }
        guard syllables ~= first.value, (first.value - syllables.lowerBound) % 28 == 0, trailing ~= second.value else {
            return nil
        }
        return Unicode.Scalar(first.value + second.value - trailing.lowerBound + 1)
    }
}
