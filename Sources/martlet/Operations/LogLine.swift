package import Logging

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// One line of the log, for people or for machines.
///
/// What comes from the network cannot start a new line, end a quotation or steer the terminal that shows it: control characters are
/// written as their numbers.
package struct LogLine: Sendable {
    package var time: Int64
    package var level: Logger.Level
    package var label: String
    package var message: String
    package var error: String?
    package var metadata: Logger.Metadata

    /// - Parameter time: milliseconds since 1970.
    package init(time: Int64, level: Logger.Level, label: String, message: String, error: String? = nil, metadata: Logger.Metadata = [:]) {
        self.time = time
        self.level = level
        self.label = label
        self.message = message
        self.error = error
        self.metadata = metadata
    }

    /// Longest value that is written, in scalars; the rest is cut off.
    package static let valueScalarsMax = 2_048

    /// `2026-11-23T03:44:55.123Z info martlet: session started address=192.0.2.1:40000`
    package var text: String {
        var line = "\(Timestamp.text(time)) \(level) \(label): \(Self.escaped(message))"
        for (key, value) in values { line += " \(Self.escaped(key))=\(Self.quotedIfNeeded(value))" }
        return line + "\n"
    }

    /// One JSON object. Metadata that would hide one of the line's own keys gets a `_` in front.
    package var json: String {
        let own: KeyValuePairs = ["time": Timestamp.text(time), "level": "\(level)", "label": label, "message": message]
        let names = Set(own.map(\.key))
        let others = values.map { (names.contains($0.key) ? "_\($0.key)" : $0.key, $0.value) }
        let fields = (own.map { ($0.key, $0.value) } + others).map { "\(JSONText.quoted($0.0)):\(JSONText.quoted(Self.cut($0.1)))" }
        return "{\(fields.joined(separator: ","))}\n"
    }

    /// In the order of their keys, so that lines of one kind look alike.
    private var values: [(key: String, value: String)] {
        let values = metadata.map { (key: $0.key, value: $0.value.description) }.sorted { $0.key < $1.key }
        return error.map { values + [(key: "error", value: $0)] } ?? values
    }

    private static func quotedIfNeeded(_ value: String) -> String {
        let isPlain = !value.isEmpty && value.unicodeScalars.allSatisfy { $0.value > 0x20 && $0 != "\"" && $0 != "=" && $0 != "\\" }
        let text = escaped(value)
        return isPlain ? text : "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }

    private static func cut(_ text: String) -> String {
        text.unicodeScalars.count <= valueScalarsMax ? text : String(text.unicodeScalars.prefix(valueScalarsMax)) + "…"
    }

    private static func escaped(_ text: String) -> String {
        let text = cut(text)
        guard text.unicodeScalars.contains(where: isUnsafe) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if isUnsafe(scalar) { result += "<U+\(String(scalar.value, radix: 16, uppercase: true))>" } else { result.unicodeScalars.append(scalar) }
        }
        return result
    }

    /// Control characters, separators of lines, and what changes the direction of text (which can make a line read as another).
    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0x200E, 0x200F, 0x061C, 0xFEFF: true
        default: false
        }
    }
}

/// Strings as JSON writes them (RFC 8259 §7).
package enum JSONText {
    package static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default:
                if scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) || (0x2028...0x2029).contains(scalar.value) {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}

/// Moments as RFC 3339 writes them, in UTC.
package enum Timestamp {
    /// - Parameter milliseconds: since 1970.
    package static func text(_ milliseconds: Int64) -> String {
        let millisecond = Int(((milliseconds % 1000) + 1000) % 1000)
        var seconds = time_t((milliseconds - Int64(millisecond)) / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let date = "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let time = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(padded(millisecond, 3))Z"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(width - digits.utf8.count, 0)) + digits
    }
}
