/// Texts as they are compared (RFC 4518): what nobody sees is gone, all spaces are alike, and so are great and small letters where the rule says so.
///
/// Letters with marks are one however they are composed (§2.4), as far as scripts from Latin to Kana go. Variants of width and form are not made alike, and
/// characters that nobody may use (§2.5) stay, except U+FFFD: two values then differ that a server may take for one, never the other way round.
enum PreparedString {
    /// Octets of the longest value that is prepared.
    static let octetsMax = 1 << 20

    /// Without spaces at its ends, and with single ones in it: equal where the forms of RFC 4518 §2.6.1 are equal.
    static func value(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard let characters = characters(octets, isCaseIgnored: isCaseIgnored) else { return nil }
        return spaced(characters, .once, startsAtEdge: true, endsAtEdge: true)
    }

    /// As substrings are looked for in it: a space at each end, two where there are some (§2.6.1).
    static func searched(_ octets: [UInt8], _ preparation: ValuePreparation) -> [UInt8]? {
        substring(octets, preparation, startsAtEdge: true, endsAtEdge: true)
    }

    /// One substring: `startsAtEdge` of the initial one, `endsAtEdge` of the final one.
    static func substring(_ octets: [UInt8], _ preparation: ValuePreparation, startsAtEdge: Bool, endsAtEdge: Bool) -> [UInt8]? {
        switch preparation {
        case .caseIgnore, .caseExact:
            characters(octets, isCaseIgnored: preparation == .caseIgnore).map { characters in
                spaced(characters, .twice, startsAtEdge: startsAtEdge, endsAtEdge: endsAtEdge)
            }
        case .numericString: withoutSpaces(octets, hyphens: false)
        case .telephoneNumber: withoutSpaces(octets, hyphens: true)
        case .boolean, .certificate, .distinguishedName, .generalizedTime, .integer, .nameAndOptionalUID, .objectIdentifier, .octetString, .uuid: nil
        }
    }

    /// §2.6.2 and §2.6.3: without spaces, and of telephone numbers without hyphens.
    static func withoutSpaces(_ octets: [UInt8], hyphens: Bool) -> [UInt8]? {
        characters(octets, isCaseIgnored: true)?.filter { $0 != space && !(hyphens && $0 == UInt8(ascii: "-")) }
    }

    // MARK: Spaces

    private static let space = UInt8(ascii: " ")

    private enum InnerSpaces { case once, twice }

    private static func spaced(_ octets: [UInt8], _ inner: InnerSpaces, startsAtEdge: Bool, endsAtEdge: Bool) -> [UInt8] {
        if inner == .once, isSpacedOnce(octets) { return octets }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count + 2)
        let hasEdges = inner == .twice
        var isAfterSpace = false
        if hasEdges, startsAtEdge { result.append(space) }
        for octet in octets {
            if octet == space {
                isAfterSpace = true
                continue
            }
            if isAfterSpace {
                let isFirst = result.isEmpty || (startsAtEdge && result.count == 1 && hasEdges)
                if !isFirst { result += hasEdges ? [space, space] : [space] } else if hasEdges, !startsAtEdge { result.append(space) }
            }
            isAfterSpace = false
            result.append(octet)
        }
        // Spaces alone are one space (§2.6.1).
        if hasEdges, result.allSatisfy({ $0 == space }) { return isAfterSpace || startsAtEdge || endsAtEdge ? [space] : [] }
        if hasEdges, endsAtEdge || isAfterSpace { result.append(space) }
        return result
    }

    private static func isSpacedOnce(_ octets: [UInt8]) -> Bool {
        guard octets.first != space, octets.last != space else { return false }
        return !zip(octets, octets.dropFirst()).contains { $0 == space && $1 == space }
    }

    // MARK: Characters

    /// Mapped, folded and composed (§2.2-2.4); `nil` if it is not UTF-8.
    private static func characters(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard octets.count <= octetsMax else { return nil }
        guard octets.allSatisfy({ $0 < 0x80 }) else { return scalars(octets, isCaseIgnored: isCaseIgnored) }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        for octet in octets {
            switch octet {
            case 0x09...0x0D: result.append(space)
            case 0x00..<0x20, 0x7F: continue
            case UInt8(ascii: "A")...UInt8(ascii: "Z") where isCaseIgnored: result.append(octet | 0x20)
            default: result.append(octet)
            }
        }
        return result
    }

    private static func scalars(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard let text = String(validating: octets, as: UTF8.self) else { return nil }
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(octets.count)
        var hasMarks = false
        for scalar in text.unicodeScalars {
            if scalar == "\u{FFFD}" { return nil }
            if isInvisible(scalar) { continue }
            if isSpace(scalar) {
                result.append(" ")
                continue
            }
            if isCaseIgnored { result += folded(scalar) } else { result.append(scalar) }
            hasMarks = hasMarks || scalar.properties.canonicalCombiningClass != .notReordered
        }
        var whole = String.UnicodeScalarView()
        whole += hasMarks ? Composition.composed(result) : result
        return Array(String(whole).utf8)
    }

    /// Mapped to SPACE (§2.2): what parts words and lines.
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x20, 0x85: true
        default: [.spaceSeparator, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
        }
    }

    /// Mapped to nothing (§2.2).
    private static func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x85: false
        case 0x00AD, 0x034F, 0x1806, 0x180B...0x180D, 0xFE00...0xFE0F, 0xFFFC: true
        default: [.control, .format].contains(scalar.properties.generalCategory)
        }
    }

    /// Great letters made of it and small ones of those, so that ß is ss and both forms of σ are one (RFC 3454 B.2). The dotless i stays one.
    private static func folded(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        if scalar.value < 0x80 || scalar == "\u{131}" { return Array(scalar.properties.lowercaseMapping.unicodeScalars) }
        return scalar.properties.uppercaseMapping.unicodeScalars.flatMap { $0.properties.lowercaseMapping.unicodeScalars }
    }
}

/// Letters and the marks on them as one character each, where there is one (Unicode Standard Annex #15), without tables of our own: the standard library takes
/// texts for equal that are canonically equivalent.
enum Composition {
    static func composed(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        // Where the last letter stands, and the class of the last mark that stayed behind it.
        var starter: Int?
        var between = Unicode.CanonicalCombiningClass.notReordered
        for scalar in ordered(scalars) {
            let combiningClass = scalar.properties.canonicalCombiningClass
            let isMark = combiningClass != .notReordered
            if isMark, let starter, starter == result.count - 1 || between < combiningClass, let whole = composed(result[starter], scalar) {
                result[starter] = whole
                continue
            }
            if !isMark { starter = result.count }
            between = combiningClass
            result.append(scalar)
        }
        return result
    }

    /// Marks on one letter in the order of their classes. Sorted by class and place: a run may be as long as the text.
    private static func ordered(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result = scalars
        var start = 0
        for place in 0...scalars.count where place == scalars.count || scalars[place].properties.canonicalCombiningClass == .notReordered {
            if place - start > 1 {
                let run = (start..<place).map { (combiningClass: scalars[$0].properties.canonicalCombiningClass.rawValue, place: $0) }
                for (offset, mark) in run.sorted(by: { $0 < $1 }).enumerated() { result[start + offset] = scalars[mark.place] }
            }
            start = place + 1
        }
        return result
    }

    private static func composed(_ letter: Unicode.Scalar, _ mark: Unicode.Scalar) -> Unicode.Scalar? {
        var text = String.UnicodeScalarView()
        text.append(letter)
        text.append(mark)
        return composites[String(text)]
    }

    /// Found by what they are made of: Latin, Greek, Cyrillic and Kana.
    private static let composites: [String: Unicode.Scalar] = {
        var composites: [String: Unicode.Scalar] = [:]
        for range: ClosedRange<UInt32> in [0xC0...0x24F, 0x370...0x4FF, 0x1E00...0x1FFF, 0x3040...0x30FF] {
            for scalar in range.compactMap(Unicode.Scalar.init) where scalar.properties.isAlphabetic {
                composites[String(Character(scalar))] = composites[String(Character(scalar))] ?? scalar
            }
        }
        return composites
    }()
}
