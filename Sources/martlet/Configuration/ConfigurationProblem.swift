/// Where a value of the configuration was found.
package enum ConfigurationOrigin: Sendable, Hashable, CustomStringConvertible {
    /// Nobody set it.
    case standard
    /// Line and column count from one, the column in Unicode scalars.
    case file(String, line: Int, column: Int)
    /// About the file as a whole.
    case wholeFile(String)
    /// The name of the entry.
    case directory(String)
    /// The name of the variable.
    case environment(String)

    package var description: String {
        switch self {
        case .standard: "default"
        case .file(let name, let line, _): "\(name):\(line)"
        case .wholeFile(let name): name
        case .directory(let name): ConfigurationProblem.printable(name)
        case .environment(let name): name
        }
    }
}

/// One thing that is wrong, or doubtful, in a configuration: where, what, and what to do.
package struct ConfigurationProblem: Error, Sendable, Hashable {
    package enum Severity: String, Sendable {
        /// The configuration is not used.
        case error
        /// The configuration is used.
        case warning
    }

    package var severity: Severity
    package var origin: ConfigurationOrigin
    /// Where in the tree, such as `listeners[0].port`; empty when it is about the whole.
    package var path: String
    /// What was found and what is expected.
    package var message: String
    /// What to do about it.
    package var hint: String?
    /// The line of the file that `origin` names.
    package var sourceLine: String?

    package init(
        _ severity: Severity = .error, at origin: ConfigurationOrigin, path: String, _ message: String,
        hint: String? = nil, sourceLine: String? = nil
    ) {
        self.severity = severity
        self.origin = origin
        self.path = path
        self.message = message
        self.hint = hint
        self.sourceLine = sourceLine
    }

    package var file: String? {
        switch origin {
        case .file(let name, _, _), .wholeFile(let name): name
        case .standard, .directory, .environment: nil
        }
    }

    package var line: Int? {
        guard case .file(_, let line, _) = origin else { return nil }
        return line
    }

    package var column: Int? {
        guard case .file(_, _, let column) = origin else { return nil }
        return column
    }
}

extension ConfigurationProblem: CustomStringConvertible {
    /// One line, for logs: place, path, message, hint.
    package var summary: String {
        let place: String? =
            switch origin {
            case .standard: nil
            case .file(let name, let line, let column): "\(name):\(line):\(column)"
            case .wholeFile(let name): name
            case .directory, .environment: origin.description
            }
        let text = ([place, severity.rawValue, path.isEmpty ? nil : path].compactMap { $0 } + [message]).joined(separator: ": ")
        return hint.map { "\(text) (\($0))" } ?? text
    }

    /// Several lines, for a terminal: the summary, the line of the file with a caret below the place, the hint.
    package var description: String {
        var unhinted = self
        unhinted.hint = nil
        return ([unhinted.summary] + excerpt + [hint.map { "  hint: \($0)" }].compactMap { $0 }).joined(separator: "\n")
    }

    /// Longest part of a source line that is shown, in characters.
    private static let excerptCharactersMax = 160

    private var excerpt: [String] {
        guard let sourceLine, let line, let column else { return [] }
        let number = String(line)
        let margin = String(repeating: " ", count: number.count)
        let scalars = sourceLine.unicodeScalars.prefix(max(column - 1, 0))
        // A tab stays a tab before the caret, so that it stands below its place whatever the width of a tab.
        let indent = String(scalars.prefix(Self.excerptCharactersMax).map { $0 == "\t" ? "\t" : " " as Character })
        let shown = Self.printable(sourceLine.prefix(Self.excerptCharactersMax))
        return ["  \(number) | \(shown)", "  \(margin) | \(indent)^"]
    }

    /// The text with control characters replaced, those of the direction of writing included, so that it cannot steer the terminal it is shown on.
    static func printable(_ text: some StringProtocol) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let steers = scalar.properties.generalCategory == .control || scalar.properties.isBidiControl
            shown.append(scalar != "\t" && steers ? "\u{FFFD}" : scalar)
        }
        return String(shown)
    }
}

/// Why a configuration could not be used: every problem that was found, in the order of the file.
package struct ConfigurationFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let problems: [ConfigurationProblem]

    package init(_ problems: [ConfigurationProblem]) { self.problems = problems }

    package var description: String { problems.map(\.description).joined(separator: "\n") }
}
