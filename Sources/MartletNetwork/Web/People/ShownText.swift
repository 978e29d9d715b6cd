import MartletCore

/// Texts of others, made harmless to what stands around them. Pure.
package enum ShownText {
    /// Longest text, in Unicode scalars; the rest of a longer one is left out.
    package static let scalarsMax = 200

    /// In one line, without characters that nobody sees and that change what stands beside them: controls, and those that turn the direction of writing.
    ///
    /// It is cut by scalars: what counts as one character may be of any length.
    package static func line(_ text: String) -> String {
        var line = String.UnicodeScalarView()
        var isSpaced = false
        for scalar in text.unicodeScalars {
            if scalar.properties.isWhitespace {
                isSpaced = true
                continue
            }
            guard !isHidden(scalar) else { continue }
            let needed = isSpaced && !line.isEmpty ? 2 : 1
            guard line.count + needed <= scalarsMax else {
                line.append("…")
                break
            }
            if needed == 2 { line.append(" ") }
            isSpaced = false
            line.append(scalar)
        }
        return String(line)
    }

    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        // Marks, embeddings, overrides and isolates of direction (UAX #9).
        case "\u{61C}", "\u{200E}", "\u{200F}", "\u{202A}"..."\u{202E}", "\u{2066}"..."\u{2069}": true
        // Invisible operators, the byte order mark, tags.
        case "\u{200B}", "\u{2060}"..."\u{2064}", "\u{FEFF}", "\u{FFF9}"..."\u{FFFB}", "\u{E0000}"..."\u{E007F}": true
        default: scalar.properties.generalCategory == .control
        }
    }

    /// For text of HTML and for values of attributes.
    package static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
