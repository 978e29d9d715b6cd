/// Texts as they are compared (RFC 4518): all spaces are alike, so are great and small letters where the rule says so, and letters with marks are one
/// however they are composed, as far as scripts from Latin to Kana go.
///
/// That is less than the standard has. What nobody sees stays, variants of width and form are not made alike, and ß is not ss: OpenLDAP, too, leaves
/// most of this out. Two texts are one only where it takes them for one as well, so that names of two entries are never mixed up.
enum PreparedString {
    /// Octets of the longest value that is prepared.
    static let octetsMax = 1 << 20

    /// Without spaces at its ends, and with single ones in it: equal where the forms of RFC 4518 §2.6.1 are equal.
    static func value(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard let characters = characters(octets, isCaseIgnored: isCaseIgnored) else { return nil }
        return isSpacedOnce(characters) ? characters : spaced(characters, [space], trimsStart: true, trimsEnd: true)
    }

    /// As substrings are looked for in it: with two spaces where there are some, so that one substring may end and the next begin there (§2.6.1).
    ///
    /// There are none at the ends, where the standard has one: `foo *` does not find `foo`, as in OpenLDAP.
    static func searched(_ octets: [UInt8], _ preparation: ValuePreparation) -> [UInt8]? {
        substring(octets, preparation, isInitial: true, isFinal: true)
    }

    static func substring(_ octets: [UInt8], _ preparation: ValuePreparation, isInitial: Bool, isFinal: Bool) -> [UInt8]? {
        switch preparation {
        case .caseIgnore, .caseExact:
            characters(octets, isCaseIgnored: preparation == .caseIgnore).map { spaced($0, [space, space], trimsStart: isInitial, trimsEnd: isFinal) }
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

    /// With what stands for any spaces between two characters, and with one at an end that is not trimmed.
    private static func spaced(_ octets: [UInt8], _ inner: [UInt8], trimsStart: Bool, trimsEnd: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        var isAfterSpace = false
        for octet in octets {
            if octet == space {
                isAfterSpace = true
                continue
            }
            if isAfterSpace {
                if !result.isEmpty { result += inner } else if !trimsStart { result.append(space) }
            }
            isAfterSpace = false
            result.append(octet)
        }
        if isAfterSpace, !trimsEnd || (result.isEmpty && !trimsStart) { result.append(space) }
        return result
    }

    private static func isSpacedOnce(_ octets: [UInt8]) -> Bool {
        guard octets.first != space, octets.last != space else { return false }
        return !zip(octets, octets.dropFirst()).contains { $0 == space && $1 == space }
    }

    // MARK: Characters

    /// With spaces, case and marks alike (§2.2-2.3); `nil` if it is not UTF-8.
    private static func characters(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard octets.count <= octetsMax else { return nil }
        guard octets.allSatisfy({ $0 < 0x80 }) else { return scalars(octets, isCaseIgnored: isCaseIgnored) }
        var result: [UInt8] = []
        result.reserveCapacity(octets.count)
        for octet in octets {
            let isGreat = isCaseIgnored && (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(octet)
            result.append(isGreat ? octet | 0x20 : octet)
        }
        return result
    }

    private static func scalars(_ octets: [UInt8], isCaseIgnored: Bool) -> [UInt8]? {
        guard let text = String(validating: octets, as: UTF8.self) else { return nil }
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(octets.count)
        var hasMarks = false
        for scalar in text.unicodeScalars {
            if isSpace(scalar) {
                result.append(" ")
            } else if isCaseIgnored {
                result += scalar.properties.lowercaseMapping.unicodeScalars
            } else {
                result.append(scalar)
            }
            hasMarks = hasMarks || scalar.properties.canonicalCombiningClass != .notReordered
        }
        var whole = String.UnicodeScalarView()
        whole += hasMarks ? Composition.composed(result) : result
        return Array(String(whole).utf8)
    }

    /// Spaces of any width (§2.2).
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x20, 0xA0, 0x2000...0x200A, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }
}

/// Letters and the marks on them as one character each, where there is one (Unicode Standard Annex #15), without tables of our own: the standard
/// library takes texts for equal that are canonically equivalent.
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
