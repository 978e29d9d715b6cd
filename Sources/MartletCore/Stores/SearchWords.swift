internal import MartletXML
package import MartletXMPP

/// The words of a text, as searches in archives compare them (XEP-0431). One set of rules for messages and for queries, whatever store.
///
/// A word is a run of letters and digits. The rules are those of SQLite's `unicode61` with `remove_diacritics 2`: case and accents make no
/// difference. Beyond them, `ß` is `ss`, variants of width and form (full-width letters, ligatures) are the plain letters, and symbols such
/// as emoji are words. Scripts that put no spaces between words (Han, Kana, Thai, Lao, Khmer, Burmese) have a word for each character: a
/// search finds the messages that have all characters of the query, in whatever order.
package enum SearchWords {
    /// Changes with the rules. An index made by others is made anew.
    package static let version: Int64 = 1
    /// Longest word, in Unicode scalars; the rest of a longer one is left out.
    package static let scalarsMax = 64
    /// Most different words of a text; what comes after them is not found.
    package static let wordsMax = 4_096

    /// What can be found in a message: the words of all its bodies, in whatever language. In the place of an encrypted body there is at
    /// most a hint, and its words are as good as any.
    package static func inBodies(of message: Stanza) -> Set<String> {
        let bodies = message.element.root.children.filter { $0.isNamed("body", .client) }
        // A line feed parts words.
        return words(bodies.map(\.text).joined(separator: "\n"))
    }

    package static func words(_ text: String) -> Set<String> {
        var collector = Collector()
        let isPlain = text.utf8.allSatisfy { $0 < 0x80 }
        for scalar in isPlain ? Array(text.unicodeScalars) : UnicodeNormalization.compatiblyDecomposed(Array(text.unicodeScalars)) {
            collector.take(scalar)
            if collector.words.count >= wordsMax { return collector.words }
        }
        collector.endWord()
        return collector.words
    }

    /// Whether each of `words` begins a word of the text: for searches that look at every text there is.
    ///
    /// In plain text words are compared in place, which takes a fortieth of the time (``wordsMax`` is no limit there).
    package static func areBegun(_ words: Set<String>, in text: String) -> Bool {
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            let known = Self.words(text)
            return words.allSatisfy { word in known.contains { $0.utf8.starts(with: word.utf8) } }
        }
        var text = text
        return text.withUTF8 { text in words.allSatisfy { isBegun($0.utf8, in: text) } }
    }

    private static func isBegun(_ word: String.UTF8View, in text: UnsafeBufferPointer<UInt8>) -> Bool {
        var isInside = false
        for place in text.indices {
            let isPart = role(of: Unicode.Scalar(text[place])) == .part
            if isPart, !isInside, text[place...].lazy.map({ lowercase(Unicode.Scalar($0)).value }).starts(with: word.lazy.map(UInt32.init)) { return true }
            isInside = isPart
        }
        return false
    }

    private struct Collector {
        private(set) var words: Set<String> = []
        private var word = String.UnicodeScalarView()
        private var length = 0

        mutating func take(_ scalar: Unicode.Scalar) {
            switch SearchWords.role(of: scalar) {
            case .part: append(scalar)
            case .word:
                endWord()
                append(scalar)
                endWord()
            case .nothing: break
            case .space: endWord()
            }
        }

        private mutating func append(_ scalar: Unicode.Scalar) {
            guard length < SearchWords.scalarsMax else { return }
            length += 1
            if scalar.isASCII { word.append(SearchWords.lowercase(scalar)) } else { word.append(contentsOf: SearchWords.folded(scalar)) }
        }

        mutating func endWord() {
            guard length > 0 else { return }
            words.insert(String(word))
            word.removeAll(keepingCapacity: true)
            length = 0
        }
    }

    private enum Role { case part, word, nothing, space }

    private static func role(of scalar: Unicode.Scalar) -> Role {
        if scalar.isASCII {
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9": return .part
            default: return .space
            }
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber, .letterNumber, .otherNumber,
            .privateUse:
            return isUnspaced(scalar) ? .word : .part
        case .nonspacingMark, .spacingMark, .enclosingMark, .format: return .nothing
        case .otherSymbol: return .word
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation,
            .otherPunctuation, .mathSymbol, .currencySymbol, .modifierSymbol, .spaceSeparator, .lineSeparator, .paragraphSeparator,
            .control, .surrogate, .unassigned:
            return .space
        @unknown default: return .space
        }
    }

    /// Blocks of scripts without spaces between words, besides Han.
    private static let unspacedBlocks: [ClosedRange<UInt32>] = [
        0x0E00...0x0EFF, 0x1000...0x109F, 0x1780...0x17FF, 0x3040...0x30FF, 0x31F0...0x31FF,
    ]

    private static func isUnspaced(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isIdeographic || unspacedBlocks.contains { $0.contains(scalar.value) }
    }

    /// Of ASCII.
    private static func lowercase(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(truncatingIfNeeded: scalar.value) | 0x20) : scalar
    }

    /// By way of the upper case, so that what has the same is the same: `ß` and `ss`, the two small sigmas.
    private static func folded(_ scalar: Unicode.Scalar) -> String.UnicodeScalarView {
        scalar.properties.uppercaseMapping.lowercased().unicodeScalars
    }
}
